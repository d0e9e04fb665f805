//! WebSockets that are let through to Dashboards.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problems;

/// A path of Dashboards on which WebSockets may be opened, by bearer tokens alone. What they carry is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebSocketPath {
    /// The whole path as Dashboards has it, without a base path: for example `/api/events`.
    pub path: String,

    /// What has to be permitted on all that Dashboards holds: `read` needs `read:dashboards`, and so on. Name the most that can be
    /// done by what is sent.
    pub verb: WebSocketVerb,

    /// The pages that may open one in a browser, as browsers name them in `Origin`: `https://console.example.com`. Default:
    /// none, and whoever sends `Origin` is refused.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// What can be done by a WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WebSocketVerb {
    /// Reading what Dashboards holds.
    Read,
    /// Changing saved objects.
    Write,
    /// Changing settings and workspaces.
    Manage,
}

pub(crate) fn check(paths: &[WebSocketPath], problems: &mut Problems) {
    const KEY: &str = "upstream.dashboards.websockets";
    for (position, WebSocketPath { path, origins, .. }) in paths.iter().enumerate() {
        if !is_path(path) {
            problems.add(KEY, format!("`{}`: give a path such as `/api/events`: of letters, digits, `_`, `-` and `.`, without a slash at the end", path.escape_default()));
        }
        if paths.get(..position).unwrap_or_default().iter().any(|other| other.path == *path) {
            problems.add(KEY, format!("`{path}` stands here twice"));
        }
        for origin in origins.iter().filter(|origin| !is_origin(origin)) {
            problems.add(
                KEY,
                format!("origins: `{}` is not what a browser sends: scheme, host and port in lower case, and nothing after, such as `https://console.example.com`", origin.escape_default()),
            );
        }
    }
}

/// Segments that everybody reads in one way.
fn is_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(is_plain) && segment.bytes().any(|byte| byte != b'.')
    };
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

/// An origin as it is written down (RFC 6454 section 6.2); `null`, which is anybody's, is none.
fn is_origin(origin: &str) -> bool {
    let is_plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']')
    };
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    host.is_some_and(|host| host.starts_with(|first: char| first != ':') && host.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let paths: Vec<WebSocketPath> = serde_saphyr::from_str(text).expect("YAML");
        let mut problems = Problems::default();
        check(&paths, &mut problems);
        problems.into_result().err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn paths_and_origins_are_what_everybody_reads_in_one_way() {
        assert_eq!(problems("[]"), "");
        assert_eq!(problems("[{path: /api/events, verb: read}, {path: /ws.v1/a_b-c, verb: manage}]"), "");
        assert_eq!(
            problems(
                "[{path: /a, verb: write, origins: ['https://a.example.com', 'http://localhost:5601', 'https://[::1]:1']}]"
            ),
            ""
        );
        for path in ["''", "/", "a", "/a/", "//a", "/a/../b", "/.", "/a%2fb", "/a?b", "'/a b'", "/a*"] {
            assert!(problems(&format!("[{{path: {path}, verb: read}}]")).contains("give a path such as"), "{path}");
        }
        assert!(problems("[{path: /a, verb: read}, {path: /a, verb: write}]").contains("stands here twice"));
        for origin in [
            "'null'",
            "'*'",
            "''",
            "https://",
            "https://a/",
            "HTTPS://a",
            "https://A",
            "ftp://a",
            "a",
            "'https://a b'",
            "'https://:1'",
        ] {
            let found = problems(&format!("[{{path: /a, verb: read, origins: [{origin}]}}]"));
            assert!(found.contains("is not what a browser sends"), "{origin}: {found}");
        }
    }

    #[test]
    fn what_is_needed_has_to_be_said() {
        for text in ["[{path: /a}]", "[{path: /a, verb: admin}]", "[{path: /a, verb: read, x: 1}]"] {
            assert!(serde_saphyr::from_str::<Vec<WebSocketPath>>(text).is_err(), "{text}");
        }
    }
}
