//! What of the configuration may change while the gateway runs.
//!
//! Both files are compared as they are written, key by key, so that a key nobody thought of here is refused and not
//! silently left out.

use serde_json::Value;

use crate::problem::{ConfigError, Problems};

/// Keys that take effect by a reload, with all below them. Everything else is read at the start only.
const RELOADABLE: &[&str] = &[
    "addresses",
    "clients",
    "developer_keys",
    "limits.per_client",
    "limits.rate_headers",
    "limits.rate_mode",
    "limits.unauthenticated",
    "namespaces",
    "policies",
    "rates",
    "tls",
    "trusted_proxies",
    "upstream.dashboards.addresses",
    "upstream.engine.api_key.keys",
    "upstream.engine.api_key.lifetime",
];

/// Compares the files' contents; an error names every key that has changed and cannot while the gateway runs.
pub(crate) fn check(running: &Value, new: &Value) -> Result<(), ConfigError> {
    let mut problems = Problems::default();
    compare("", running, new, &mut problems);
    problems.into_result()
}

fn compare(key: &str, running: &Value, new: &Value, problems: &mut Problems) {
    if running == new || RELOADABLE.contains(&key) {
        return;
    }
    match (running, new) {
        (Value::Object(_) | Value::Null, Value::Object(_) | Value::Null) => {
            let names = |value: &Value| -> Vec<String> {
                value.as_object().into_iter().flat_map(|map| map.keys().cloned()).collect()
            };
            let mut all = names(running);
            all.extend(names(new));
            all.sort_unstable();
            all.dedup();
            for name in &all {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                let value = |of: &Value| of.get(name).cloned().unwrap_or(Value::Null);
                compare(&below, &value(running), &value(new), problems);
            }
        }
        _ => problems.add(key, "cannot change while the gateway runs; put it back, or restart the gateway"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(running: &Value, new: &Value) -> String {
        check(running, new).err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn what_may_change_may_change_in_whole() {
        let running = json!({"listen": "a", "clients": [1], "limits": {"per_client": {"burst": 1}, "body": "1MiB"}});
        let new = json!({
            "listen": "a", "clients": [], "policies": {"files": ["x"]}, "tls": {"key": "k"},
            "limits": {"body": "1MiB", "per_client": {"burst": 2}},
        });
        assert_eq!(refused(&running, &new), "");
        assert_eq!(refused(&new, &running), "");
    }

    #[test]
    fn every_other_key_is_named() {
        let running = json!({"listen": "a", "state": {"directory": "s"}, "limits": {"body": "1MiB"}, "workers": 2});
        let new =
            json!({"listen": "b", "state": {"directory": "t"}, "limits": {"head": "1KiB"}, "audit": {"file": "x"}});
        let sentence = refused(&running, &new);
        for key in ["listen", "state.directory", "limits.body", "limits.head", "workers", "audit.file"] {
            assert!(sentence.contains(&format!("  {key}")), "{key}: {sentence}");
        }
        assert_eq!(sentence.lines().count(), 7, "{sentence}");
    }
}
