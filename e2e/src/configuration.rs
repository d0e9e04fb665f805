//! The configuration file of a gateway in the tests.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::gateway::ISSUER;
use crate::{ClientSettings, Driver, Engine, Settings};

/// Writes the files that it names, and returns what it says.
pub(crate) fn configuration(settings: &Settings, folder: &Path, port: u16, metrics_port: u16) -> Value {
    let mut config = json!({
        "listen": format!("127.0.0.1:{port}"),
        "issuer": ISSUER,
        "tls": {"certificate": "gateway.pem", "key": "gateway-key.pem"},
        "state": {"directory": "state"},
        "clients": settings.clients.iter().map(ClientSettings::to_json).collect::<Vec<_>>(),
        "providers": settings.providers,
        "limits": settings.limits,
        "tokens": settings.tokens,
        "audit": {"file": "audit.jsonl"},
        "metrics": {"listen": format!("127.0.0.1:{metrics_port}")},
        "log": {"level": settings.log_level.as_deref().unwrap_or("info")},
        // The same for every gateway of the tests: each brings the engine's roles in line with its own.
        "field_sets": {"slim": {"exclude": ["email", "card.*"]}, "bare": {"include": ["tenant"]}},
        "workers": 2,
    });
    if settings.clusters.is_empty() {
        config["upstream"] = json!({"engine": engine(settings, settings.upstream.as_deref())});
        if let Some(dashboards) = &settings.dashboards {
            config["upstream"]["dashboards"] = dashboards.clone();
        }
    } else {
        config["clusters"] = settings
            .clusters
            .iter()
            .map(|cluster| {
                let mut entry = cluster.fields.clone();
                entry["upstream"] = json!({"engine": engine(settings, cluster.url.as_deref())});
                if let Some(dashboards) = &cluster.dashboards {
                    entry["upstream"]["dashboards"] = dashboards.clone();
                }
                entry
            })
            .collect();
    }
    for (key, value) in &settings.top {
        config[key] = value.clone();
    }
    if let Some(text) = &settings.policies {
        fs::write(folder.join("policies.cedar"), text).expect("write the policies");
        config["policies"] = json!({"files": ["policies.cedar"]});
    }
    config
}

/// The engine at this address, or the real one.
fn engine(settings: &Settings, url: Option<&str>) -> Value {
    let mut engine = settings.engine_options.clone();
    if settings.driver_in_use() == Driver::ExtendedProxy {
        engine.entry("driver").or_insert_with(|| json!("extended_proxy"));
        // Nothing keeps the tests themselves from sending from the gateway's address.
        engine.entry("extended_proxy").or_insert_with(|| json!({"trusted_by": "address"}));
    }
    match url {
        Some(url) => {
            // A double knows no aliases, unless the test is about them.
            engine.entry("strict_aliases").or_insert_with(|| json!("off"));
            engine.entry("url").or_insert_with(|| json!(url));
        }
        None => {
            engine.entry("ca").or_insert_with(|| json!(Engine::get().ca));
            engine.entry("url").or_insert_with(|| json!(Engine::get().url));
        }
    }
    Value::Object(engine)
}
