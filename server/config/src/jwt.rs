//! Where the engine has the keys from that vouch for the gateway's tokens.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problems;

/// Below this path are the keys of internal tokens, and no others.
const FOLDER: &str = "/_oauth4os/engine/";
const DOCUMENT: &str = "jwks.json";

/// What `driver: jwt` may say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// Where the engine has the gateway's public keys from.
    pub keys: KeySource,

    /// With `keys: jwks`, where the engine finds the gateway's keys: an address it reaches the gateway at, with the path
    /// `/_oauth4os/engine/jwks.json`, or `/_oauth4os/engine/<cluster>/jwks.json` where there are several clusters. Default: that
    /// path below `issuer`.
    pub jwks_uri: Option<String>,

    /// With `keys: jwks`, certificates (PEM) of the authority that signed the one the engine finds there. They are written
    /// into its security configuration. Default: the authorities that the engine's Java trusts.
    pub jwks_ca: Option<PathBuf>,
}

/// Where the engine has the gateway's public keys from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// They stand in its security configuration, which `oauth4os engine setup` changes when the key does. The engine has to
    /// reach nobody.
    #[default]
    Static,
    /// It fetches them from the gateway, and again when it meets a key it does not know: the key changes without a change of
    /// the security configuration.
    Jwks,
}

impl Jwt {
    /// The path of the keys for a cluster, on the gateway.
    #[must_use]
    pub fn jwks_path(cluster: Option<&str>) -> String {
        cluster.map_or_else(|| format!("{FOLDER}{DOCUMENT}"), |name| format!("{FOLDER}{name}/{DOCUMENT}"))
    }

    pub(crate) fn resolve(&mut self, base: &Path) {
        if let Some(ca) = &mut self.jwks_ca {
            *ca = base.join(&*ca);
        }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        if self.keys == KeySource::Static {
            for (key, is_given) in [("jwks_uri", self.jwks_uri.is_some()), ("jwks_ca", self.jwks_ca.is_some())] {
                if is_given {
                    problems.add(format!("upstream.engine.jwt.{key}"), "is for `keys: jwks`; leave it out, or say so");
                }
            }
            return;
        }
        if let Some(uri) = &self.jwks_uri
            && let Err(sentence) = check_uri(uri)
        {
            problems.add("upstream.engine.jwt.jwks_uri", format!("`{}`: {sentence}", uri.escape_default()));
        }
        if let Some(ca) = &self.jwks_ca
            && !ca.is_file()
        {
            problems.add("upstream.engine.jwt.jwks_ca", format!("there is no file `{}`", ca.display()));
        }
    }
}

/// The keys of access tokens are published too: with these the engine would take every access token's word.
fn check_uri(uri: &str) -> Result<(), &'static str> {
    let rest = uri.strip_prefix("https://").ok_or("begin with `https://`")?;
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['?', '#', '@', '\\', '"', '$']) {
        return Err("give host, port and path only");
    }
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if host.is_empty() {
        return Err("name a host");
    }
    let below = path.find(FOLDER).and_then(|at| path.get(at + FOLDER.len()..)).unwrap_or_default();
    let is_document = below == DOCUMENT
        || below.strip_suffix(DOCUMENT).and_then(|rest| rest.strip_suffix('/')).is_some_and(|name| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        });
    if is_document {
        return Ok(());
    }
    Err(
        "end with `/_oauth4os/engine/jwks.json`, or `/_oauth4os/engine/<cluster>/jwks.json`: no other keys may vouch for tokens to the engine",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_keys_than_those_of_internal_tokens_can_be_named() {
        for uri in [
            "https://gateway.example.com/_oauth4os/engine/jwks.json",
            "https://gateway.internal:8443/_oauth4os/engine/eu-1/jwks.json",
            "https://front.example.com/below/_oauth4os/engine/jwks.json",
        ] {
            assert_eq!(check_uri(uri), Ok(()), "{uri}");
        }
        for uri in [
            "",
            "http://localhost:8443/_oauth4os/engine/jwks.json",
            "https:///_oauth4os/engine/jwks.json",
            "https://gateway.example.com/oauth/jwks",
            "https://gateway.example.com/.well-known/jwks.json",
            "https://gateway.example.com/oauth/jwks?/_oauth4os/engine/jwks.json",
            "https://gateway.example.com/oauth/jwks#/_oauth4os/engine/jwks.json",
            "https://user@gateway.example.com/_oauth4os/engine/jwks.json",
            "https://gateway.example.com/_oauth4os/engine//jwks.json",
            "https://gateway.example.com/_oauth4os/engine/../jwks.json",
            "https://gateway.example.com/_oauth4os/engine/a/b/jwks.json",
            "https://gateway.example.com/_oauth4os/engine/xjwks.json",
            "https://gateway.example.com/_oauth4os/engine/${x}/jwks.json",
            "https://gateway.example.com/_oauth4os/engine/jwks.json\r\n",
        ] {
            assert!(check_uri(uri).is_err(), "{uri:?}");
        }
    }

    #[test]
    fn settings_of_the_other_source_are_refused() {
        let check = |jwt: Jwt| {
            let mut problems = Problems::default();
            jwt.check(&mut problems);
            problems.into_result().err().map(|error| error.to_string()).unwrap_or_default()
        };
        let uri = Some("https://gateway.example.com/_oauth4os/engine/jwks.json".to_owned());
        assert_eq!(check(Jwt::default()), "");
        assert_eq!(check(Jwt { keys: KeySource::Jwks, jwks_uri: uri.clone(), jwks_ca: None }), "");
        let refused = check(Jwt { keys: KeySource::Static, jwks_uri: uri, jwks_ca: Some("ca.pem".into()) });
        assert!(refused.contains("jwt.jwks_uri") && refused.contains("jwt.jwks_ca"), "{refused}");
        let missing = Jwt { keys: KeySource::Jwks, jwks_uri: None, jwks_ca: Some("/nowhere/ca.pem".into()) };
        assert!(check(missing).contains("there is no file `/nowhere/ca.pem`"));
    }
}
