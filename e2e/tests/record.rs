//! The audit record line by line: every kind of decision has its own, whole and readable whatever a stranger sends. The
//! counters say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use e2e::{Answer, ClientSettings, Engine, Gateway, OnDrop, Settings, Upstream, token_id, until};
use serde_json::{Value, json};

const POLICIES: &str = r#"
permit(principal is Client, action, resource);
forbid(principal in Group::"agents", action, resource in Index::"logs-web-*");
permit(principal is Agent, action, resource);
"#;

fn settings() -> Settings {
    Settings::new()
        .policies(POLICIES)
        .client("reader", &["read:logs-*", "read:metrics-*"])
        .client("writer", &["write:app-logs-e2e-*", "manage:app-logs-e2e-*"])
        .client_with(ClientSettings::new("agent", &["read:logs-*"]).with("kind", json!("agent")))
        .client_with(
            ClientSettings::new("hasty", &["read:logs-*"])
                .with("rate_limit", json!({"requests_per_second": 1, "burst": 1})),
        )
}

#[test]
fn an_allowed_request_is_recorded_whole() {
    let gateway = Gateway::start(settings());
    let token = gateway.token_with("reader", "read:logs-*");
    let reader = gateway.http().with_token(&token);
    let query = json!({"size": 1});
    let answer = reader.post("/logs-app-*,logs-web-*/_search?request_cache=false").json(&query).expect(200);

    let event = gateway.audit_of(answer.request_id());
    let latency = event["latency_us"].as_u64().expect("a latency");
    assert!((50..60_000_000).contains(&latency), "{event}");
    let time = event["time"].as_str().expect("a time");
    assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    let expected = json!({
        "time": time,
        "event": "request",
        "request_id": answer.request_id(),
        "client": "reader",
        "token_id": token_id(&token),
        "scopes": "read:logs-*",
        "address": "127.0.0.1",
        "method": "POST",
        "path": "/logs-app-*,logs-web-*/_search",
        "operation": "search",
        "targets": ["logs-app-*", "logs-web-*"],
        "decision": "allow",
        "determining": ["read:logs-*", "policies.cedar#1"],
        "status": 200,
        "latency_us": latency,
        "bytes_in": query.to_string().len(),
        "bytes_out": answer.body.len(),
    });
    assert_eq!(event, expected);
}

/// Some requests of each kind: what is answered, recorded and counted fit together.
#[test]
fn every_kind_of_decision_has_its_line_and_its_count() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let agent = gateway.with("agent");
    let hasty = gateway.with("hasty");
    let revoked = gateway.token("reader");
    gateway.revoke("reader", &revoked);
    let ended = gateway.forge().claims("reader", "read:logs-*").moved(-3_600).sign(gateway.forge().access());
    let first = hasty.get("/logs-*/_count").expect(200);
    // A request is counted when it is over, a moment after the answer; its line comes last.
    let _ = gateway.audit_of(first.request_id());

    let _remove = OnDrop(|| Engine::get().delete_index("app-logs-e2e-record"));
    let before = outcomes(&gateway);
    let cut_off = "{\"query\":{\"terms\":{\"a\":{\"index\":";
    let kinds: Vec<(&str, &str, Answer, Value)> = vec![
        (
            "allowed",
            "allow",
            reader.get("/logs-*/_count").send(),
            json!({"status": 200, "client": "reader", "operation": "count", "targets": ["logs-*"]}),
        ),
        (
            "allowed",
            "allow",
            reader.get("/logs-*/_search?q=a:(").send(),
            json!({"status": 400, "client": "reader", "operation": "search"}),
        ),
        (
            "allowed",
            "allow",
            reader.request("HEAD", "/logs-app-*").send(),
            json!({"status": 200, "method": "HEAD", "operation": "indices.exists"}),
        ),
        (
            "denied",
            "deny",
            reader.get("/pii-customers/_search").send(),
            json!({"status": 403, "client": "reader", "operation": "search", "targets": ["pii-customers"]}),
        ),
        (
            "denied",
            "deny",
            reader.delete("/logs-web-2026.01.01").send(),
            json!({"status": 403, "operation": "indices.delete", "method": "DELETE"}),
        ),
        (
            "denied",
            "deny",
            agent.get("/logs-web-*/_search").send(),
            json!({"status": 403, "client": "agent", "determining": ["policies.cedar#2"]}),
        ),
        (
            "denied",
            "deny",
            reader.get("/_no_such_endpoint").send(),
            json!({"status": 403, "client": "reader", "path": "/_no_such_endpoint"}),
        ),
        (
            "denied",
            "deny",
            bulk_outside(&gateway),
            json!({"status": 403, "client": "writer", "operation": "bulk", "targets": ["app-logs-e2e-record", "pii-customers"]}),
        ),
        (
            "unauthenticated",
            "deny",
            gateway.http().get("/logs-*/_search").send(),
            json!({"status": 401, "path": "/logs-*/_search", "method": "GET"}),
        ),
        ("unauthenticated", "deny", gateway.http().with_token("nonsense").get("/").send(), json!({"status": 401})),
        (
            "unauthenticated",
            "deny",
            gateway.http().with_token(&revoked).get("/").send(),
            json!({"status": 401, "client": "reader", "token_id": token_id(&revoked)}),
        ),
        ("unauthenticated", "deny", gateway.http().with_token(&ended).get("/").send(), json!({"status": 401})),
        ("malformed", "deny", reader.get("/logs-*/../pii-customers/_search").send(), json!({"status": 400})),
        (
            "malformed",
            "deny",
            reader.post("/logs-*/_search").body("application/json", cut_off).send(),
            json!({"status": 400, "client": "reader", "operation": "search"}),
        ),
        (
            "malformed",
            "deny",
            reader.post("/logs-*/_search").body("application/cbor", "x").send(),
            json!({"status": 415, "client": "reader"}),
        ),
        ("malformed", "deny", raw(&gateway, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), json!({"status": 400})),
        ("malformed", "deny", raw(&gateway, b"nonsense\r\n\r\n"), json!({"status": 400})),
        ("limited", "deny", hasty.get("/logs-*/_count").send(), json!({"status": 429, "client": "hasty"})),
    ];
    let mut counts: BTreeMap<&str, f64> = BTreeMap::new();
    for (outcome, decision, answer, expected) in &kinds {
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&json!(answer.status), &event["decision"]), (&expected["status"], &json!(decision)), "{event}");
        for (field, value) in expected.as_object().expect("fields") {
            assert_eq!(&event[field], value, "{field} of {event}");
        }
        assert_eq!((&event["event"], &event["address"]), (&json!("request"), &json!("127.0.0.1")), "{event}");
        // The reason is the one the client was told.
        let told = if *decision == "deny" { answer.json()["error"]["reason"].clone() } else { Value::Null };
        assert_eq!(event["reason"], told);
        if event["client"].is_string() {
            assert!(event["token_id"].is_string() && event["scopes"].is_string(), "{event}");
        }
        *counts.entry(outcome).or_default() += 1.0;
    }
    let after = outcomes(&gateway);
    for (outcome, count) in &after {
        let moved = count - before.get(outcome).copied().unwrap_or_default();
        assert_eq!(moved, counts.get(outcome.as_str()).copied().unwrap_or_default(), "{outcome}");
        assert_eq!(
            gateway.metric(&format!("oauth4os_request_duration_seconds_count{{outcome=\"{outcome}\"}}")),
            *count
        );
    }
    one_line_each(&gateway);
}

#[test]
fn an_engine_that_is_gone_is_an_error_of_an_allowed_request() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        turn.close();
    });
    let gateway = Gateway::start(Settings::new().upstream(&upstream.url()).client("writer", &["write:logs-*"]));
    let answer = gateway.with("writer").put("/logs-a/_doc/1").json(&json!({})).send();
    assert_eq!(answer.status, 500, "{}", answer.text());
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["decision"], &event["status"], &event["reason"]), (&json!("allow"), &json!(500), &Value::Null));
    assert_eq!(event["error"], answer.json()["error"]["reason"]);
    assert_eq!(gateway.metric("oauth4os_requests_total{outcome=\"failed\"}"), 1.0);
    assert_eq!(gateway.metric("oauth4os_upstream_failures_total{reason=\"broken\"}"), 1.0);
}

#[test]
fn every_event_of_a_token_is_recorded_whole() {
    let gateway = Gateway::start(settings());
    let issued = gateway.ask_for_token("reader", &[("scope", "read:logs-*")]).expect_ok();
    let id = token_id(issued.json()["access_token"].as_str().expect("a token"));
    let event = gateway.audit_of(issued.request_id());
    let expected = json!({
        "time": event["time"], "event": "token.issued", "request_id": issued.request_id(), "client": "reader", "token_id": id, "scopes": "read:logs-*",
        "address": "127.0.0.1", "method": "POST", "path": "/oauth/token", "grant_type": "client_credentials", "decision": "allow",
        "status": 200,
    });
    assert_eq!(event, expected);

    let form = [("grant_type", "client_credentials")];
    let basic = gateway.http().with_basic("reader", gateway.secret("reader"));
    let refused = [
        (gateway.ask_for_token("reader", &[("scope", "write:logs-*")]), Some("reader"), 400, "invalid_scope"),
        (
            gateway.http().with_basic("reader", "wrong").post("/oauth/token").form(&form).send(),
            Some("reader"),
            401,
            "invalid_client",
        ),
        (
            gateway.http().with_basic("nobody", "wrong").post("/oauth/token").form(&form).send(),
            Some("nobody"),
            401,
            "invalid_client",
        ),
        (gateway.http().post("/oauth/token").form(&form).send(), None, 401, "invalid_client"),
        (
            basic.post("/oauth/token").form(&[("grant_type", "password")]).send(),
            Some("reader"),
            400,
            "unsupported_grant_type",
        ),
    ];
    for (answer, client, status, code) in &refused {
        let event = gateway.audit_of(answer.request_id());
        assert_eq!(
            (answer.status, &event["event"], &event["decision"]),
            (*status, &json!("token.refused"), &json!("deny")),
            "{event}"
        );
        assert_eq!((event["client"].as_str(), &event["status"]), (*client, &json!(status)), "{event}");
        assert!(event["reason"].as_str().is_some_and(|reason| reason.starts_with(code)), "{event}");
    }

    let revoked = basic.delete(&format!("/oauth/token/{id}")).expect(204);
    let event = gateway.audit_of(revoked.request_id());
    assert_eq!(
        (&event["event"], &event["token_id"], &event["client"]),
        (&json!("token.revoked"), &json!(id), &json!("reader"))
    );
    // Again changes nothing, so there is nothing to record.
    basic.delete(&format!("/oauth/token/{id}")).expect(204);
    let other = token_id(&gateway.token("reader"));
    let revoked = gateway.administrator().delete(&format!("/oauth/token/{other}")).expect(204);
    let event = gateway.audit_of(revoked.request_id());
    assert_eq!(event["token_id"], json!(other));
    assert!(event["client"].is_string() && event["client"] != "reader", "it is said who did it: {event}");
    assert_eq!(gateway.audit().iter().filter(|event| event["event"] == "token.revoked").count(), 2);

    for (name, count) in [("issued", 2.0), ("refused", 5.0), ("revoked", 2.0)] {
        assert_eq!(gateway.metric(&format!("oauth4os_tokens_{name}_total")), count, "{name}");
    }
    one_line_each(&gateway);
}

#[test]
fn nothing_a_stranger_sends_breaks_a_line() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let forged = r#"{"event":"request","decision":"allow","request_id":"forged","client":"admin"}"#;
    let encoded = "%0A%7B%22event%22%3A%22request%22%2C%22request_id%22%3A%22forged%22%7D%0A";
    let mut ids = Vec::new();
    for target in [
        format!("/logs-*{encoded}/_search"),
        format!("/{encoded}"),
        "/logs-%22%2C%22decision%22%3A%22allow%22/_search".to_owned(),
        "/logs-\",\"decision\":\"allow\",\"x\":\"/_search".to_owned(),
        "/logs-%00%1b%5B31m/_search".to_owned(),
        "/logs-%E2%80%A8%E2%80%A9%C2%85/_search".to_owned(),
        "/logs-%ff%fe/_search".to_owned(),
        "/logs-\\u000a/_search".to_owned(),
        format!("/logs-{}/_search", "%5C".repeat(900)),
        format!("/{}", "a/".repeat(1_900)),
    ] {
        for client in [&reader, gateway.http()] {
            let answer = client
                .get(&target)
                .header("X-Opaque-Id", forged)
                .header("User-Agent", forged)
                .header("X-Request-Id", "forged")
                .send();
            assert!(answer.status >= 400, "{target}: {}", answer.status);
            assert_ne!(answer.request_id(), "forged");
            ids.push((answer.request_id().to_owned(), Some(target.clone())));
        }
    }
    for bytes in [
        format!("GET /logs-*/_search\n{forged} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\n{forged}\r\n\r\n").into_bytes(),
        b"GET /\x00\x01\xff HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /\xe2\x80\xa8 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"\"}\n{\"x\":\" / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x00\x00\r\n\r\n".to_vec(),
    ] {
        let answer = raw(&gateway, &bytes);
        assert!((400..500).contains(&answer.status), "{}", answer.text());
        ids.push((answer.request_id().to_owned(), None));
    }
    let action = json!({"index": {"_index": "app-logs-\n{\"request_id\":\"forged\"}\n"}});
    let answer = gateway.with("writer").post("/_bulk").lines(&[action, json!({})]).send();
    assert!(matches!(answer.status, 400 | 403), "{}", answer.text());
    ids.push((answer.request_id().to_owned(), None));
    let fields = [
        ("grant_type", forged),
        ("client_id", "x\n{\"request_id\":\"forged\"}"),
        ("client_secret", "y"),
        ("scope", "\n\r\u{2028}"),
    ];
    let answer = gateway.http().post("/oauth/token").form(&fields).send();
    assert!(matches!(answer.status, 400 | 401), "{}", answer.text());
    ids.push((answer.request_id().to_owned(), None));

    for (id, target) in &ids {
        let event = gateway.audit_of(id);
        assert_eq!(event["decision"] == "deny", event["reason"].is_string(), "{event}");
        if let (Some(target), Some(path)) = (target, event["path"].as_str()) {
            assert_eq!(path, target, "byte for byte as sent");
        }
    }
    one_line_each(&gateway);
    let text = gateway.audit_text();
    assert!(text.bytes().all(|byte| byte == b'\n' || byte >= b' '), "a control character is in the file");
    assert!(gateway.audit().iter().all(|event| event["request_id"] != "forged" && event["client"] != "admin"));
    // The log is read by people and terminals.
    assert!(
        gateway.log().bytes().all(|byte| byte == b'\n' || byte >= b' '),
        "a control character is in the log:\n{}",
        gateway.log()
    );
    assert_eq!(gateway.metric("oauth4os_audit_dropped"), 0.0);
}

#[test]
fn the_record_is_whole_after_the_gateway_was_asked_to_end() {
    let gateway = Gateway::start(settings());
    let token = gateway.token("reader");
    let ids: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6)
            .map(|_| {
                scope.spawn(|| {
                    let reader = gateway.http().with_token(&token);
                    (0..50)
                        .map(|_| reader.get("/pii-customers/_count").expect(403).request_id().to_owned())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a thread")).collect()
    });
    gateway.stop();
    // Nothing to wait for: it has ended, so all is written.
    let recorded: BTreeSet<String> =
        gateway.audit().iter().filter_map(|event| event["request_id"].as_str().map(ToOwned::to_owned)).collect();
    assert!(ids.iter().all(|id| recorded.contains(id)));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 300);
    // A second life appends.
    let lines = gateway.audit().len();
    gateway.start_again();
    let answer = gateway.with("reader").get("/").expect(200);
    let _ = gateway.audit_of(answer.request_id());
    assert_eq!(gateway.audit().len(), lines + 2);
    one_line_each(&gateway);
}

/// No id twice, and none without.
fn one_line_each(gateway: &Gateway) {
    let mut seen = BTreeSet::new();
    for event in gateway.audit() {
        let id = event["request_id"].as_str().expect("an id").to_owned();
        assert!(!id.is_empty() && seen.insert(id), "an id twice or none: {event}");
    }
}

/// The counters of requests by outcome.
fn outcomes(gateway: &Gateway) -> BTreeMap<String, f64> {
    let text = gateway.monitor("/metrics").expect_ok().text();
    let values =
        text.lines().filter_map(|line| line.strip_prefix("oauth4os_requests_total{outcome=\"")?.split_once("\"} "));
    values.map(|(outcome, value)| (outcome.to_owned(), value.parse().expect("a number"))).collect()
}

/// A bulk request whose second action is outside: nothing of it is forwarded.
fn bulk_outside(gateway: &Gateway) -> Answer {
    let lines = [
        json!({"index": {"_index": "app-logs-e2e-record"}}),
        json!({}),
        json!({"index": {"_index": "pii-customers"}}),
        json!({}),
    ];
    gateway.with("writer").post("/_bulk").lines(&lines).send()
}

fn raw(gateway: &Gateway, bytes: &[u8]) -> Answer {
    let mut connection = gateway.http().connect();
    connection.write(bytes);
    connection.answer()
}

#[test]
fn a_full_disk_stops_what_is_to_be_recorded_only_if_it_is_told_to() {
    let upstream = Upstream::obliging();
    let start = |on_failure: &str| {
        let audit = json!({"file": "/dev/full", "on_failure": on_failure});
        Gateway::start(Settings::new().client("reader", &["read:logs-*"]).upstream(&upstream.url()).top("audit", audit))
    };
    let careless = start("continue");
    let reader = careless.with("reader");
    for _ in 0..20 {
        reader.get("/logs-a/_search").expect(200);
    }
    until("the log to say it", Duration::from_secs(10), || careless.log().contains("cannot be written").then_some(()));

    let careful = start("refuse");
    let token = careful.token("reader");
    let reader = careful.http().with_token(&token);
    // The first line shows that there is no room; from then on nothing passes.
    let refused = until("a refusal", Duration::from_secs(10), || {
        Some(reader.get("/logs-a/_search").send()).filter(|answer| answer.status != 200)
    });
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("audit record"), "{}", refused.text());
    let seen = upstream.requests_for("/logs-a/_search").len();
    for _ in 0..20 {
        reader.get("/logs-a/_search").expect(503);
    }
    assert_eq!(upstream.requests_for("/logs-a/_search").len(), seen, "nothing gets to the engine");
    let no_token = careful.ask_for_token("reader", &[]);
    assert_eq!((no_token.status, &no_token.json()["error"]), (503, &json!("temporarily_unavailable")));
    assert!(careful.monitor("/readyz").text().contains("audit events cannot be written"));
    // What takes rights away still works.
    careful.revoke("reader", &token);
    reader.get("/logs-a/_search").expect(401);
}
