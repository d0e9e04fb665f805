//! Gateways before Dashboards.

use e2e::{Dashboards, Gateway, Settings};
use serde_json::json;

pub const PREFIX: &str = "/_dashboards";

pub fn settings(url: &str) -> Settings {
    Settings::new()
        .client("viewer", &["read:dashboards"])
        .client("ci", &["write:dashboards"])
        .client("manager", &["manage:dashboards"])
        .client("keeper", &["admin:dashboards"])
        .client("reader", &["read:logs-*"])
        .client("writer", &["write:app-logs-*"])
        .client("both", &["read:logs-*", "read:dashboards", "write:dashboards"])
        .dashboards(json!({"url": url, "path_prefix": PREFIX, "tenants": ["global"]}))
}

/// The double on the real engine, below a path.
pub fn on_the_engine() -> (Dashboards, Gateway) {
    let dashboards = Dashboards::below(PREFIX);
    let gateway = Gateway::start(settings(&dashboards.upstream().url()));
    (dashboards, gateway)
}

pub fn api(path: &str) -> String {
    format!("{PREFIX}/api{path}")
}
