//! Gateways before Dashboards with WebSockets, and what is seen of one.

use e2e::websockets::{ClientSocket, WebSockets, open};
use e2e::{ClientSettings, Gateway, Settings, Upstream};
use serde_json::{Value, json};

pub const READ: &str = "/_dashboards/api/events";

pub fn settings(dashboards: &str, engine: &Upstream) -> Settings {
    Settings::new()
        .client("viewer", &["read:dashboards"])
        .client("editor", &["write:dashboards"])
        .client("reader", &["read:logs-*"])
        .client_with(ClientSettings::new("bridge", &["read:dashboards"]).with("basic", json!(true)))
        .upstream(&engine.url())
        .dashboards(json!({
            "url": dashboards, "path_prefix": "/_dashboards", "tenants": ["global"],
            "websockets": [
                {"path": "/api/events", "verb": "read"},
                {"path": "/api/edit", "verb": "write", "origins": ["https://console.example.com"]},
            ],
        }))
}

pub fn start(dashboards: &WebSockets) -> Gateway {
    Gateway::start(settings(&dashboards.url(), &Upstream::obliging()))
}

pub fn open_as(gateway: &Gateway, client: &str) -> (ClientSocket, String) {
    let (socket, answer) = open(&gateway.with(client), READ, &[]).expect("a WebSocket");
    (socket, answer.request_id().to_owned())
}

/// The record of the end of a WebSocket.
pub fn closed(gateway: &Gateway, request_id: &str) -> Value {
    gateway.audit_where("the end", |event| event["event"] == "websocket.closed" && event["request_id"] == request_id)
}
