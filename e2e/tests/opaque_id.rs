//! What the engine can see of a request: whose work it is, by `X-Opaque-Id`, and that nobody waits for it any more.

use std::time::Duration;

use e2e::{Client, Connection, Engine, Gateway, OnDrop, Received, Settings, Upstream, until};
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

/// What the engine writes down of slow searches and of what will go away leads to the record, and so to the token.
#[test]
fn the_engines_own_logs_lead_to_the_record() {
    let engine = Engine::get();
    let index = "app-logs-e2e-slow";
    engine.delete_index(index);
    let _remove = OnDrop(|| Engine::get().delete_index(index));
    let slow = json!({"settings": {
        "number_of_shards": 1, "number_of_replicas": 0,
        "index.search.slowlog.threshold.query.trace": "0ms", "index.search.slowlog.level": "TRACE",
    }});
    engine.admin().put(&format!("/{index}")).json(&slow).expect(200);
    engine.admin().put(&format!("/{index}/_doc/1?refresh=true")).json(&json!({"message": "slow"})).expect(201);
    let gateway =
        Gateway::start(Settings::new().client("reader", &["read:app-logs-*"]).client("keeper", &["manage:app-logs-*"]));
    let lines_of = |log: &str, id: &str| -> Vec<String> {
        let is_of = |line: &&str| line.contains(&format!("\"{id}\""));
        engine.own_log(log).lines().filter(is_of).map(str::to_owned).collect()
    };
    let own = format!("e2e-slow-{}", std::process::id());
    for (client, method, target, log) in [
        ("reader", "GET", format!("/{index}/_search?q=message:slow"), "index_search_slowlog"),
        ("keeper", "POST", format!("/{index}/_flush/synced"), "deprecation"),
    ] {
        let client = gateway.with(client);
        let named = client.request(method, &target).header("X-Opaque-Id", &own).expect(200);
        let unnamed = client.request(method, &target).expect(200);
        for (answer, id) in [(&named, own.as_str()), (&unnamed, unnamed.request_id())] {
            let lines = until(&format!("the line of {id} in {log}"), Duration::from_secs(20), || {
                Some(lines_of(log, id)).filter(|lines| !lines.is_empty())
            });
            assert!(lines.iter().all(|line| !line.contains("Bearer") && !line.contains("eyJ")), "{lines:?}");
            let event = gateway.audit_of(answer.request_id());
            assert!(event["opaque_id"] == id || event["request_id"] == id, "{event}");
            assert!(event["token_id"].is_string() && event["client"].is_string(), "{event}");
        }
    }
}

/// A search of well over half a minute: every one of many documents keeps a script busy for a millisecond. The engine asks
/// whether it is still wanted between one segment and the next, so each of those has to be short.
fn long_search() -> Value {
    let source = "long n = 0; for (int i = 0; i < 300000; i++) { n += i % 7 } return n > 0;";
    json!({"size": 0, "track_total_hits": true, "query": {"script": {"script": {"lang": "painless", "source": source}}}})
}

/// The engine's own searches of this opaque id.
fn searches(engine: &Engine, is_ours: impl Fn(&str) -> bool) -> Vec<Value> {
    let answer = engine.admin().get("/_tasks?detailed=true&actions=*search*").expect(200).json();
    let nodes = answer["nodes"].as_object().expect("nodes").values();
    let tasks = nodes.flat_map(|node| node["tasks"].as_object().expect("tasks").values());
    tasks.filter(|task| task["headers"]["X-Opaque-Id"].as_str().is_some_and(&is_ours)).cloned().collect()
}

/// Begins a long search; gives its connection and the opaque id the engine's task has.
fn begin_search(engine: &Engine, reader: &Client, own_id: Option<&str>) -> (Connection, String) {
    let mut connection = reader.connect();
    let mut request = reader.post("/logs-*/_search?request_cache=false").json(&long_search());
    if let Some(id) = own_id {
        request = request.header("X-Opaque-Id", id);
    }
    connection.write(&request.bytes());
    // The request id is not known before the answer; the engine's task tells it.
    let id = until("the search's task", Duration::from_secs(20), || {
        let tasks = searches(engine, |id| own_id.map_or(id.starts_with("req_"), |own| id == own));
        tasks.first().map(|task| task["headers"]["X-Opaque-Id"].as_str().expect("an id").to_owned())
    });
    (connection, id)
}

/// A search whose client leaves is gone from the engine while one that began before it, and is waited for, goes on.
fn search_and_leave(engine: &Engine, gateway: &Gateway, reader: &Client, own_id: Option<&str>) {
    let waited_for = format!("e2e-stays-{}", std::process::id());
    let (stays, _) = begin_search(engine, reader, Some(&waited_for));
    let (leaves, id) = begin_search(engine, reader, own_id);
    drop(leaves);
    let cancelled = until("the search to be cancelled", Duration::from_secs(60), || {
        let tasks = searches(engine, |task| task == id);
        let cancelled = tasks.iter().any(|task| task["cancelled"] == true);
        (cancelled || tasks.is_empty()).then_some(cancelled)
    });
    let others = searches(engine, |task| task == waited_for);
    assert!(
        !others.is_empty(),
        "both searches are over, the one that was left {}cancelled",
        if cancelled { "" } else { "not seen " }
    );
    assert!(others.iter().all(|task| task["cancelled"] == false), "{others:?}");
    drop(stays);
    let is_either = |task: &str| task == id || task == waited_for;
    until("both tasks to be gone", Duration::from_secs(120), || searches(engine, is_either).is_empty().then_some(()));
    // What the engine called the work leads to the record.
    let event = gateway.audit_where("the search that was left", |event| match own_id {
        Some(id) => event["opaque_id"] == id,
        None => event["request_id"] == id,
    });
    assert_eq!((&event["client"], &event["decision"]), (&json!("reader"), &json!("allow")), "{event}");
    assert_eq!(event["status"], Value::Null, "{event}");
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
