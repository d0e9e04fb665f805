//! The engine's own API keys, from security plugin 3.7 on (`driver: api_key`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problems;
use crate::units::Span;

/// The most keys: the engine keeps at most 1,000, revoked ones included, and each may have to be made anew.
const MAX_KEYS: usize = 64;
const MAX_NAME: usize = 32;

/// The key under which the names of indices are read.
pub const NAMES_KEY: &str = "names";

/// API keys of the engine, as which requests are sent to it.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiKeys {
    /// Where `oauth4os engine setup --apply` puts the keys and the gateway finds them: a folder of its own, which nobody else may read.
    pub directory: PathBuf,

    /// The keys by name, each with what it permits. A client's `backend_user` names one.
    pub keys: BTreeMap<String, ApiKey>,

    /// How long a key is good for (1 to 365 days). `oauth4os engine setup --apply` makes another one when a third of that is left.
    pub lifetime: Option<Span>,
}

/// What one key permits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// In the words of scopes. The scopes of every client that uses the key must be within these.
    pub scopes: Vec<String>,
}

impl ApiKeys {
    pub(crate) fn resolve(&mut self, base: &Path) {
        self.directory = base.join(&self.directory);
    }

    /// How long a key is good for.
    #[must_use]
    pub fn lifetime(&self) -> Span {
        self.lifetime.unwrap_or(Span::seconds(30 * 86_400))
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        let mut add = |key: &str, sentence: String| problems.add(format!("upstream.engine.api_key.{key}"), sentence);
        if self.directory.as_os_str().is_empty() {
            add("directory", "say where the keys are kept".to_owned());
        }
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            add("keys", format!("name 1 to {MAX_KEYS} keys, each with its scopes"));
        }
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        for (name, key) in &self.keys {
            let shown = name.escape_default();
            if !matches!(name.len(), 1..=MAX_NAME) || !name.bytes().all(is_plain) || name == NAMES_KEY {
                add(
                    "keys",
                    format!(
                        "`{shown}`: a name has up to {MAX_NAME} lower-case letters, digits and `-`, and is not `{NAMES_KEY}`, the gateway's own"
                    ),
                );
            }
            if key.scopes.is_empty() {
                add("keys", format!("`{shown}`: give at least one scope; a key without any opens nothing"));
            }
        }
        if !(Span::seconds(86_400)..=Span::seconds(365 * 86_400)).contains(&self.lifetime()) {
            add("lifetime", "give a time from `1d` to `365d`".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> String {
        let keys: ApiKeys = serde_saphyr::from_str(text).expect("YAML");
        let mut problems = Problems::default();
        keys.check(&mut problems);
        problems.into_result().err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn a_key_has_a_name_and_scopes() {
        assert_eq!(problems("{directory: keys, keys: {logs: {scopes: ['read:logs-*']}}, lifetime: 90d}"), "");
        for (text, said) in [
            ("{keys: {logs: {scopes: ['read:logs-*']}}}", "say where the keys are kept"),
            ("{directory: keys}", "name 1 to 64 keys"),
            ("{directory: keys, keys: {Logs: {scopes: ['read:logs-*']}}}", "lower-case"),
            ("{directory: keys, keys: {../x: {scopes: ['read:logs-*']}}}", "lower-case"),
            ("{directory: keys, keys: {names: {scopes: ['read:logs-*']}}}", "the gateway's own"),
            ("{directory: keys, keys: {logs: {scopes: []}}}", "at least one scope"),
            ("{directory: keys, keys: {logs: {scopes: ['read:logs-*']}}, lifetime: 1h}", "`1d` to `365d`"),
        ] {
            assert!(problems(text).contains(said), "{text}: {}", problems(text));
        }
    }
}
