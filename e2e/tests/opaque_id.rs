//! What the engine can see of a request: whose work it is, by `X-Opaque-Id`, and that nobody waits for it any more.

use std::time::Duration;

use e2e::{Client, Engine, Gateway, Received, Settings, Upstream, until};
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"])
}

fn opaque_id(received: &Received) -> String {
    let values = received.header("x-opaque-id");
    assert_eq!(values.len(), 1, "{:?}", received.headers);
    values[0].to_owned()
}

#[test]
fn a_plain_one_is_kept_and_recorded() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let reader = gateway.with("reader");
    let longest = "a".repeat(256);
    for (number, id) in ["job-7", "5ac0f; dashboard: sales", "{\"a\": \"b\"}", &longest].into_iter().enumerate() {
        let target = format!("/logs-{number}/_search");
        let answer = reader.get(&target).header("X-Opaque-Id", id).expect(200);
        assert_eq!(opaque_id(&upstream.the_request_for(&target)), id);
        assert_eq!(gateway.audit_of(answer.request_id())["opaque_id"], id);
    }
}

#[test]
fn without_a_plain_one_the_engine_sees_the_request_id() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        // As the engine does: what came is repeated.
        let id = turn.received.header("x-opaque-id").join(",");
        turn.write(format!("HTTP/1.1 200 OK\r\nX-Opaque-Id: {id}\r\ncontent-length: 2\r\n\r\n{{}}").as_bytes());
    });
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let reader = gateway.with("reader");
    let token = reader.authorization().expect("a token").to_owned();
    let too_long = "a".repeat(257);
    let cases: &[&[(&str, &str)]] = &[
        &[],
        &[("X-Opaque-Id", "")],
        &[("X-Opaque-Id", &too_long)],
        &[("X-Opaque-Id", "one"), ("X-Opaque-Id", "one")],
        &[("X-Opaque-Id", "caf\u{e9}")],
        &[("X-Opaque-Id", "a\tb")],
        &[("X-Opaque-Id", &token)],
        &[("x_opaque_id", "smuggled")],
        &[("X.Opaque.Id", "smuggled")],
        &[("X-Opaque-Id", "hop"), ("Connection", "x-opaque-id")],
    ];
    for (number, headers) in cases.iter().enumerate() {
        let target = format!("/logs-{number}/_search");
        let mut request = reader.get(&target);
        for (name, value) in *headers {
            request = request.header(name, value);
        }
        let answer = request.expect(200);
        let received = upstream.the_request_for(&target);
        assert_eq!(opaque_id(&received), answer.request_id(), "{headers:?}");
        assert!(!received.headers.iter().any(|(_, value)| value == "smuggled"), "{:?}", received.headers);
        // The client gets its own back, or none.
        assert_eq!(answer.header("x-opaque-id"), None, "{headers:?}");
        assert_eq!(gateway.audit_of(answer.request_id())["opaque_id"], Value::Null);
    }
    let answer = reader.get("/logs-own/_search").header("x-opaque-id", "mine").expect(200);
    assert_eq!(answer.header("x-opaque-id"), Some("mine"));
}

/// Searches that take minutes: each document keeps a script busy.
fn endless_search() -> Value {
    let source = "long n = 0; for (int i = 0; i < 100000; i++) { n += i % 7 } return n > 0;";
    json!({"size": 0, "query": {"script": {"script": {"lang": "painless", "source": source}}}})
}

/// The engine's own tasks of this opaque id.
fn tasks(engine: &Engine, id: &str) -> Vec<Value> {
    let answer = engine.admin().get("/_tasks?detailed=true").expect(200).json();
    let nodes = answer["nodes"].as_object().expect("nodes").values();
    let tasks = nodes.flat_map(|node| node["tasks"].as_object().expect("tasks").values());
    tasks.filter(|task| task["headers"]["X-Opaque-Id"] == id).cloned().collect()
}

fn search_and_leave(engine: &Engine, gateway: &Gateway, reader: &Client, own_id: Option<&str>) {
    let before: usize = gateway.audit().len();
    let mut connection = reader.connect();
    let mut request = reader.post("/logs-*/_search?request_cache=false").json(&endless_search());
    if let Some(id) = own_id {
        request = request.header("X-Opaque-Id", id);
    }
    connection.write(&request.bytes());
    // The request id is not known before the answer; the engine's task tells it.
    let is_ours = |task: &Value| match own_id {
        Some(id) => task["headers"]["X-Opaque-Id"] == id,
        None => task["headers"]["X-Opaque-Id"].as_str().is_some_and(|id| id.starts_with("req_")),
    };
    let id = until("the search's task", Duration::from_secs(20), || {
        let answer = engine.admin().get("/_tasks?detailed=true&actions=*search*").expect(200).json();
        let nodes = answer["nodes"].as_object().expect("nodes").values();
        let task = nodes.flat_map(|node| node["tasks"].as_object().expect("tasks").values()).find(|task| is_ours(task));
        task.map(|task| task["headers"]["X-Opaque-Id"].as_str().expect("an id").to_owned())
    });
    assert!(!tasks(engine, &id).is_empty(), "the search is not running");
    drop(connection);
    // The engine looks at this between one part of an index and the next; then the task goes.
    until("the search to be cancelled", Duration::from_secs(30), || {
        tasks(engine, &id).iter().any(|task| task["cancelled"] == true).then_some(())
    });
    until("the search's task to be gone", Duration::from_secs(120), || tasks(engine, &id).is_empty().then_some(()));
    // What the engine called the work leads to the record.
    let event = gateway.audit_where("the search that was left", |event| match own_id {
        Some(id) => event["opaque_id"] == id,
        None => event["request_id"] == id,
    });
    assert_eq!((&event["client"], &event["decision"]), (&json!("reader"), &json!("allow")), "{event}");
    assert_eq!(event["status"], Value::Null, "{event}");
    assert!(gateway.audit().len() > before);
}

#[test]
fn a_client_that_goes_away_takes_its_search_with_it() {
    let engine = Engine::get();
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let own = format!("e2e-leaves-{}", std::process::id());
    search_and_leave(engine, &gateway, &reader, Some(&own));
    search_and_leave(engine, &gateway, &reader, None);
    reader.get("/logs-*/_count").expect(200);
}
