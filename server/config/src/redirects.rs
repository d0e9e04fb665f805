//! Redirect URIs: where a person's browser is sent with a code. There is one judgement of them, here.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

const MAX_LENGTH: usize = 512;

/// Where codes for a client may be sent: `https`, `http` to this machine (RFC 8252 section 7.3), or a scheme of the
/// application's own with a dot in it (section 7.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RedirectUri(String);

/// The parts of an address on the person's own machine.
struct Loopback<'a> {
    host: &'a str,
    port: Option<&'a str>,
    rest: &'a str,
}

impl RedirectUri {
    /// Reads a redirect URI as it is registered.
    ///
    /// # Errors
    /// When it is none, or one that could be read in two ways; a sentence that says what to write.
    pub fn parse(uri: &str) -> Result<Self, &'static str> {
        if uri.is_empty() || uri.len() > MAX_LENGTH {
            return Err("a redirect URI has 1 to 512 characters");
        }
        if !uri.bytes().all(|byte| byte.is_ascii_graphic())
            || uri.contains(['\\', '"', '<', '>', '^', '`', '{', '|', '}'])
        {
            return Err("write it in ASCII, everything else percent-encoded");
        }
        if uri.contains('#') {
            return Err("leave out the fragment (RFC 6749 section 3.1.2)");
        }
        if uri.contains('*') {
            return Err("write it in full; there are no wildcards");
        }
        let (scheme, rest) = uri.split_once(':').ok_or("begin with a scheme, for example `https://`")?;
        match scheme {
            "https" | "http" => {
                let rest = rest.strip_prefix("//").ok_or("write `//` and the host after the scheme")?;
                check_authority(rest)?;
                if scheme == "http" && loopback(uri).is_none() {
                    return Err(
                        "use `https`; `http` only to `127.0.0.1`, `[::1]` or `localhost`, where native applications listen",
                    );
                }
            }
            _ if is_private_use(scheme) => {
                if rest.trim_start_matches('/').is_empty() {
                    return Err("name a path after the scheme, for example `com.example.app:/callback`");
                }
            }
            _ => {
                return Err(
                    "use `https`, `http` to this machine, or a scheme of the application's own with a dot in it, such as `com.example.app:/callback`",
                );
            }
        }
        Ok(Self(uri.to_owned()))
    }

    /// Whether this is where a request wants the code sent: character for character, but for the port on the person's
    /// own machine, which a native application gets anew each time.
    #[must_use]
    pub fn admits(&self, presented: &str) -> bool {
        if self.0 == presented {
            return true;
        }
        let (Some(ours), Some(theirs)) = (loopback(&self.0), loopback(presented)) else {
            return false;
        };
        Self::parse(presented).is_ok() && ours.host == theirs.host && ours.rest == theirs.rest && is_port(theirs.port)
    }

    /// Whether anybody on the person's machine could answer there: no certificate says whose it is.
    #[must_use]
    pub fn is_anybodys(&self) -> bool {
        !self.0.starts_with("https://")
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a page's `form-action` has to allow so that a form may end at this redirect URI.
#[must_use]
pub fn form_action(uri: &str) -> String {
    let (scheme, rest) = uri.split_once(':').unwrap_or((uri, ""));
    match (scheme, rest.strip_prefix("//")) {
        // A source cannot be an IPv6 address.
        ("http" | "https", Some(rest)) if !rest.starts_with('[') => {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            format!("{scheme}://{authority}")
        }
        _ => format!("{scheme}:"),
    }
}

fn check_authority(rest: &str) -> Result<(), &'static str> {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("leave out user and password");
    }
    let (host, port) = split_port(authority).ok_or("the port is not a number from 1 to 65535")?;
    let is_name =
        host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let is_v6 = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    if host.is_empty() || !(is_name || is_v6) {
        return Err("name the host, in lower case");
    }
    if is_port(port) { Ok(()) } else { Err("the port is not a number from 1 to 65535") }
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')?;
        let (host, rest) = authority.split_at_checked(end + 1)?;
        return if rest.is_empty() { Some((host, None)) } else { Some((host, Some(rest.strip_prefix(':')?))) };
    }
    Some(authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))))
}

fn is_port(port: Option<&str>) -> bool {
    port.is_none_or(|port| {
        !port.starts_with('0') && port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    })
}

fn loopback(uri: &str) -> Option<Loopback<'_>> {
    let rest = uri.strip_prefix("http://")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end)?;
    let (host, port) = split_port(authority)?;
    matches!(host, "127.0.0.1" | "[::1]" | "localhost").then_some(Loopback { host, port, rest })
}

fn is_private_use(scheme: &str) -> bool {
    scheme.contains('.')
        && scheme.split('.').all(|part| !part.is_empty())
        && scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'))
}

impl<'de> Deserialize<'de> for RedirectUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|sentence| {
            let shown: String = text.chars().take(128).collect();
            D::Error::custom(format!("`{shown}`: {sentence}"))
        })
    }
}

impl JsonSchema for RedirectUri {
    fn schema_name() -> Cow<'static, str> {
        "RedirectUri".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Where codes are sent: `https`, `http` to `127.0.0.1`, `[::1]` or `localhost` (any port), or a scheme of the application's own with a dot in it.",
            "examples": ["https://console.example.com/callback", "http://127.0.0.1/callback", "com.example.app:/callback"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_registered() {
        for uri in [
            "https://app.example.com/callback",
            "https://app.example.com:8443/callback?tenant=a",
            "https://app.example.com",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:33418/",
            "http://[::1]/callback",
            "http://localhost:8080/callback",
            "com.example.app:/callback",
            "com.example.app://callback",
        ] {
            assert!(RedirectUri::parse(uri).is_ok(), "{uri}: {:?}", RedirectUri::parse(uri));
        }
        for uri in [
            "",
            "callback",
            "/callback",
            "//app.example.com/callback",
            "http://app.example.com/callback",
            "http://127.0.0.1.example.com/",
            "http://127.0.0.1@example.com/",
            "http://localhost.example.com/",
            "http://127.1/",
            "https:app.example.com",
            "https:///callback",
            "https://app.example.com/#x",
            "https://app.example.com/*",
            "https://*.example.com/callback",
            "https://user@app.example.com/",
            "https://app.example.com\\@evil.example/",
            "https://App.example.com/",
            "https://app.example.com:0/",
            "https://app.example.com:99999/",
            "https://app.example.com:/",
            "https://app.example.com/ x",
            "https://äpp.example.com/",
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vscode:/callback",
            "com.example.app:",
            "com.example.app://",
            ".example:/x",
            "com..app:/x",
        ] {
            assert!(RedirectUri::parse(uri).is_err(), "{uri}");
        }
    }

    #[test]
    fn a_request_names_it_exactly_but_for_the_port_of_a_native_application() {
        let admits = |registered: &str, presented: &str| RedirectUri::parse(registered).unwrap().admits(presented);
        let web = "https://app.example.com/callback";
        assert!(admits(web, web));
        for presented in [
            "https://app.example.com/callback/",
            "https://app.example.com/callback?x=1",
            "https://app.example.com:443/callback",
            "https://APP.example.com/callback",
            "https://app.example.com/callback/../x",
            "https://app.example.com/%63allback",
            "https://app.example.com.evil.example/callback",
            "https://app.example.com@evil.example/callback",
            "https://app.example.com:8443/callback",
            "http://app.example.com/callback",
        ] {
            assert!(!admits(web, presented), "{presented}");
        }
        let native = "http://127.0.0.1/callback";
        for presented in [native, "http://127.0.0.1:1024/callback", "http://127.0.0.1:65535/callback"] {
            assert!(admits(native, presented), "{presented}");
        }
        assert!(admits("http://127.0.0.1:9/callback", "http://127.0.0.1:10/callback"));
        assert!(admits("http://[::1]:9/callback", "http://[::1]:10/callback"));
        for presented in [
            "http://127.0.0.1:1024/other",
            "http://127.0.0.1:1024@evil.example/callback",
            "http://127.0.0.1:x/callback",
            "http://127.0.0.1:99999/callback",
            "http://127.0.0.1:/callback",
            "http://127.0.0.1:01/callback",
            "http://localhost:1024/callback",
            "http://[::1]:1024/callback",
            "https://127.0.0.1:1024/callback",
            "http://127.0.0.1.evil.example:1024/callback",
            "http://127.0.0.1:1024/callback#x",
        ] {
            assert!(!admits(native, presented), "{presented}");
        }
        assert!(!admits("com.example.app:/callback", "com.example.app:/callback2"));
    }

    #[test]
    fn a_form_may_end_there_and_nowhere_else() {
        assert_eq!(form_action("https://app.example.com:8443/callback?x"), "https://app.example.com:8443");
        assert_eq!(form_action("http://127.0.0.1:9/callback"), "http://127.0.0.1:9");
        assert_eq!(form_action("http://[::1]:9/callback"), "http:");
        assert_eq!(form_action("com.example.app:/callback"), "com.example.app:");
    }
}
