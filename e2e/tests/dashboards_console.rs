//! The console of Dashboards is the engine: what is asked for by it is decided on as if the engine itself were asked.

use e2e::{Answer, Client, Engine};
use serde_json::json;
use support::{api, on_the_engine};

#[path = "dashboards/support.rs"]
mod support;

fn console(client: &Client, method: &str, path: &str) -> Answer {
    client.post(&api(&format!("/console/proxy?path={}&method={method}", escaped(path)))).send()
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[test]
fn a_console_call_is_answered_by_the_engine_under_the_tokens_identity() {
    let (dashboards, gateway) = on_the_engine();
    let reader = gateway.with("reader");
    let answer = console(&reader, "GET", "logs-*/_search?size=1").expect_ok();
    assert!(answer.json()["hits"]["total"]["value"].as_u64().expect("a number") > 0);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!(
        (&event["upstream"], &event["operation"], &event["targets"]),
        (&json!("dashboards"), &json!("search"), &json!(["logs-*"]))
    );
    let me = console(&reader, "GET", "/_plugins/_security/authinfo").expect_ok().json();
    assert_eq!(me["user_name"], "oauth4os:reader");
    let query = json!({"size": 0, "query": {"match_all": {}}});
    let counted = reader.post(&api("/console/proxy?method=POST&path=%2Flogs-*%2F_search")).json(&query).expect(200);
    assert!(counted.json()["hits"]["total"]["value"].as_u64().expect("a number") > 0);

    let passed_on = dashboards.passed_on().len();
    for (client, method, path) in [
        ("reader", "GET", "pii-customers/_search"),
        ("reader", "GET", "_search"),
        ("reader", "GET", "*/_search"),
        ("reader", "DELETE", "logs-app"),
        ("reader", "POST", "logs-a/_doc"),
        ("reader", "GET", "_cat/indices"),
        ("reader", "GET", "_cluster/settings"),
        ("reader", "GET", "_plugins/_security/api/internalusers"),
        ("reader", "GET", "_nodes/http"),
        ("reader", "POST", "logs-a/_no_such_thing"),
        ("viewer", "GET", "logs-*/_search"),
        ("keeper", "GET", "logs-*/_search"),
        ("keeper", "GET", ".kibana/_search"),
        ("writer", "GET", "app-logs-a/_search"),
    ] {
        let refused = console(&gateway.with(client), method, path);
        assert!(matches!(refused.status, 403 | 405), "{client} {method} {path}: {} {}", refused.status, refused.text());
    }
    assert_eq!(dashboards.passed_on().len(), passed_on, "{:?}", dashboards.passed_on());
}

#[test]
fn the_body_of_a_console_call_is_decided_on_as_the_engine_s() {
    let (dashboards, gateway) = on_the_engine();
    let name = "app-logs-e2e-console";
    Engine::get().delete_index(name);
    let bulk = api("/console/proxy?path=_bulk%3Frefresh%3Dtrue&method=POST");
    let lines = |index: &str| {
        [
            json!({"index": {"_index": name, "_id": "1"}}),
            json!({"a": 1}),
            json!({"index": {"_index": index, "_id": "2"}}),
            json!({"a": 2}),
        ]
    };
    let writer = gateway.with("writer");
    writer.post(&bulk).lines(&lines("pii-customers")).expect(403);
    assert_eq!(Engine::get().admin().get(&format!("/{name}")).send().status, 404, "nothing of a refused request");
    assert_eq!(writer.post(&bulk).lines(&lines(name)).expect(200).json()["errors"], false);
    assert_eq!(Engine::get().count(name), 2);
    Engine::get().delete_index(name);

    let search = api("/console/proxy?path=logs-*%2F_search&method=POST");
    let reader = gateway.with("reader");
    let passed_on = dashboards.passed_on().len();
    let lookup = json!({"query": {"terms": {"user": {"index": "pii-customers", "id": "1", "path": "a"}}}});
    reader.post(&search).json(&lookup).expect(403);
    reader
        .post(&api("/console/proxy?path=_mget&method=POST"))
        .json(&json!({"docs": [{"_index": "pii-customers", "_id": "1"}]}))
        .expect(403);
    reader.post(&search).body("application/cbor", b"\xa0".to_vec()).expect(415);
    // The engine would be told nothing of the encoding.
    reader.post(&search).header("Content-Encoding", "gzip").json(&json!({})).expect(415);
    assert_eq!(dashboards.passed_on().len(), passed_on);
}

/// What the double makes of each is not what stands there, as far as a simple reader goes; none gets so far.
#[test]
fn a_console_call_that_dashboards_reads_in_its_own_way_never_gets_there() {
    let (dashboards, gateway) = on_the_engine();
    let reader = gateway.with("reader");
    for query in [
        "path=logs-a%2F..%2Fpii-customers%2F_search&method=GET",
        "path=logs-a%2F%252e%252e%2Fpii-customers%2F_search&method=GET",
        "path=logs-a%5C..%5C..%5Cpii-customers%2F_search&method=GET",
        "path=%2F%2Fpii-customers%2F_search&method=GET",
        "path=logs-a%2F_sea%09rch&method=GET",
        "path=logs-a%2F_search%23&method=GET",
        "path=logs-a%2F_search&method=GET&path=pii-customers%2F_search",
        "path=logs-a%2F_search&method=GET&method=DELETE",
        "path=logs-a%2F_search&method=GET&dataSourceId=1",
        "path=logs-a%2F_search&method=delete",
        "path=logs-a%2F_count%3Fa%3Db%3Bindex%3Dpii-customers&method=GET",
        "%70ath=pii-customers%2F_search&path=logs-a%2F_search&method=GET",
        "path=logs-a%2F_search&method=GET&authorization=eyJhbGciOiJub25lIn0",
        "path=logs-a%2F_search&method=GET&security_tenant=team",
        "path=logs-a%2F_search&method=GET&access_token=x",
    ] {
        let refused = reader.post(&api(&format!("/console/proxy?{query}"))).send();
        assert_eq!(refused.status, 400, "{query}: {}", refused.text());
    }
    for path in ["/console%2Fproxy", "/c%6fnsole/proxy", "//console/proxy", "/console/proxy/x"] {
        let refused = reader.post(&api(&format!("{path}?path=pii-customers%2F_search&method=GET"))).send();
        assert!(matches!(refused.status, 400 | 403), "{path}: {}", refused.status);
    }
    assert_eq!(dashboards.passed_on(), [""; 0]);
}
