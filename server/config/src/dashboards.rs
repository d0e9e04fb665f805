//! OpenSearch Dashboards behind the gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::addresses::AddressRules;
use crate::problem::Problems;
use crate::units::Span;
use crate::upstream::{ConnectionPool, Origin};
use crate::websockets::{self, WebSocketPath};

/// OpenSearch Dashboards: which requests are meant for it, and on whose behalf it acts.
///
/// It has to be set up to pass the `Authorization` field on to the engine, as it does by default, and its
/// `opensearch_security.jwt.url_param` is to be left as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dashboards {
    /// Scheme, host and port, for example `https://dashboards.example.com:5601`. Plain `http` only to this machine.
    pub url: String,

    /// Certificates (PEM) of the authority that signed its own. Default: the system's authorities.
    #[serde(default)]
    pub ca: Option<PathBuf>,

    /// An address and port of its own to listen on: what arrives there is meant for it, whatever `Host` says. The gateway's own
    /// endpoints are there, too.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,

    /// Which addresses may come to its `listen`, of those that the gateway's `addresses` let in.
    #[serde(default)]
    pub addresses: AddressRules,

    /// The host names by which it is asked on `listen` of the gateway: requests with one of these in `Host`, with any port, are
    /// meant for it. Not together with `path_prefix`.
    #[serde(default)]
    pub hosts: Vec<String>,

    /// The path below which it is asked, for example `/_dashboards`. Its own `server.basePath` is to say the same.
    #[serde(default)]
    pub path_prefix: Option<String>,

    /// Whether the prefix is taken off the path; for a Dashboards with `server.rewriteBasePath: false`.
    #[serde(default)]
    pub strip_prefix: bool,

    /// The tenants a request may choose by the field `securitytenant`: `global`, or one by its name. The first is that of
    /// requests that choose none. Default: none, and Dashboards is told nothing of tenants. After a change run
    /// `oauth4os engine setup`.
    #[serde(default)]
    pub tenants: Vec<String>,

    /// Paths on which WebSockets may be opened. Default: none.
    #[serde(default)]
    pub websockets: Vec<WebSocketPath>,

    /// How long to wait for a connection, TLS included.
    #[serde(default = "default_connect_timeout")]
    pub connect_timeout: Span,

    /// How long to wait for the first byte of an answer.
    #[serde(default = "default_response_timeout")]
    pub response_timeout: Span,

    /// Connections that are kept open for the next request.
    #[serde(default)]
    pub connections: ConnectionPool,
}

fn default_connect_timeout() -> Span {
    Span::seconds(5)
}

fn default_response_timeout() -> Span {
    Span::seconds(300)
}

impl Dashboards {
    /// The address, taken apart.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn origin(&self) -> Result<Origin, &'static str> {
        Origin::parse(&self.url)
    }

    /// The tenants as the engine names them in its roles.
    pub fn engine_tenants(&self) -> impl Iterator<Item = String> {
        self.tenants.iter().map(|tenant| if tenant == "global" { "global_tenant".to_owned() } else { tenant.clone() })
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        if let Err(sentence) = self.origin() {
            problems.add("upstream.dashboards.url", format!("`{}`: {sentence}", self.url));
        }
        if let Some(ca) = self.ca.as_ref().filter(|ca| !ca.is_file()) {
            problems.add("upstream.dashboards.ca", format!("there is no file `{}`", ca.display()));
        }
        match &self.path_prefix {
            _ if self.listen.is_none() && self.addresses != AddressRules::default() => problems.add(
                "upstream.dashboards.addresses",
                "is for a `listen` of its own; give one, or use `addresses` of the whole gateway",
            ),
            None if self.hosts.is_empty() && self.listen.is_none() => problems.add(
                "upstream.dashboards",
                "give `hosts`, `path_prefix` or `listen`: without them no request is meant for Dashboards",
            ),
            Some(_) if !self.hosts.is_empty() => {
                problems.add("upstream.dashboards", "give `hosts` or `path_prefix`, not both");
            }
            Some(prefix) if !is_prefix(prefix) => problems.add(
                "upstream.dashboards.path_prefix",
                "give a path such as `/_dashboards`: of letters, digits, `_` and `-`, without a slash at the end, and none of the gateway's own",
            ),
            _ => {}
        }
        if self.strip_prefix && self.path_prefix.is_none() {
            problems.add("upstream.dashboards.strip_prefix", "there is no `path_prefix` to take off");
        }
        for host in self.hosts.iter().filter(|host| !is_host(host)) {
            problems
                .add("upstream.dashboards.hosts", format!("`{host}` is not a host name in lower case without a port"));
        }
        for tenant in self.tenants.iter().filter(|tenant| !is_tenant(tenant)) {
            problems.add(
                "upstream.dashboards.tenants",
                format!(
                    "`{tenant}` is not the name of a tenant that can be shared: of up to 128 letters, digits, `_` and `-`, and not `private` or `__user__`"
                ),
            );
        }
        websockets::check(&self.websockets, problems);
        if self.connect_timeout < Span::seconds(1) || self.response_timeout < Span::seconds(1) {
            problems.add("upstream.dashboards", "timeouts are at least `1s`");
        }
    }
}

/// Segments that everybody reads in one way.
pub(crate) fn is_prefix(prefix: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let own = ["/oauth", "/_oauth4os", "/healthz", "/readyz"];
    prefix
        .strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(is_plain)))
        && !own.iter().any(|own| prefix == *own || prefix.starts_with(&format!("{own}/")))
}

pub(crate) fn is_host(host: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'_');
    !host.is_empty() && host.bytes().all(is_plain)
}

/// A private tenant is that of a user; a machine's would be shared by all its tokens, and `__user__` means it to the engine.
fn is_tenant(tenant: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    matches!(tenant.len(), 1..=128)
        && tenant.bytes().all(is_plain)
        && !["private", "__user__", "global_tenant"].contains(&tenant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let dashboards: Dashboards = serde_saphyr::from_str(text).expect("YAML");
        let mut problems = Problems::default();
        dashboards.check(&mut problems);
        problems.into_result().err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn it_is_asked_by_hosts_or_below_a_path() {
        let url = "url: http://127.0.0.1:5601";
        assert_eq!(problems(&format!("{url}\nhosts: [dashboards.example.com]")), "");
        assert_eq!(problems(&format!("{url}\npath_prefix: /_dashboards\nstrip_prefix: true")), "");
        assert_eq!(problems(&format!("{url}\npath_prefix: /a/b-c\ntenants: [global, team_a]")), "");
        assert_eq!(problems(&format!("{url}\nlisten: 127.0.0.1:5602")), "");
        assert_eq!(problems(&format!("{url}\nlisten: '[::]:5602'\nhosts: [dashboards.example.com]")), "");
        for (wrong, sentence) in [
            ("", "give `hosts`, `path_prefix` or `listen`"),
            ("hosts: [a]\npath_prefix: /b", "not both"),
            ("hosts: [a:1]", "not a host name"),
            ("hosts: [A]", "not a host name"),
            ("hosts: [a]\nstrip_prefix: true", "no `path_prefix`"),
            ("path_prefix: /", "give a path such as"),
            ("path_prefix: a", "give a path such as"),
            ("path_prefix: /a/", "give a path such as"),
            ("path_prefix: /a/../b", "give a path such as"),
            ("path_prefix: /oauth", "give a path such as"),
            ("path_prefix: /_oauth4os/x", "give a path such as"),
            ("hosts: [a]\ntenants: [__user__]", "not the name of a tenant"),
            ("hosts: [a]\ntenants: ['a b']", "not the name of a tenant"),
            ("hosts: [a]\nresponse_timeout: 0s", "at least"),
        ] {
            let found = problems(&format!("{url}\n{wrong}"));
            assert!(found.contains(sentence), "{wrong}: {found}");
        }
        assert!(problems("url: http://192.0.2.1:5601\nhosts: [a]").contains("use `https`"));
    }
}
