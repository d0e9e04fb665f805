//! What happened can be found, and what must stay secret cannot.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use e2e::{Gateway, Settings};
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("writer", &["write:app-logs-*"])
}

#[test]
fn every_decision_has_one_line_that_the_answer_finds() {
    let gateway = Gateway::start(settings());
    let token = gateway.token("reader");
    let reader = gateway.http().with_token(&token);
    let id = reader.get("/_oauth4os/v1/whoami").expect(200).json()["token_id"].clone();

    let allowed = reader.get("/logs-app-*,logs-web-*/_search?size=3&q=level:ERROR").expect(200);
    let event = gateway.audit_of(allowed.request_id());
    assert_eq!(event["event"], "request");
    assert_eq!(event["decision"], "allow");
    assert_eq!((&event["client"], &event["token_id"], &event["scopes"]), (&json!("reader"), &id, &json!("read:logs-*")));
    assert_eq!((&event["method"], &event["path"]), (&json!("GET"), &json!("/logs-app-*,logs-web-*/_search")));
    assert_eq!((&event["operation"], &event["targets"]), (&json!("search"), &json!(["logs-app-*", "logs-web-*"])));
    assert_eq!((&event["determining"], &event["status"], &event["address"]), (&json!(["read:logs-*"]), &json!(200), &json!("127.0.0.1")));
    assert_eq!(event["bytes_out"], allowed.body.len());
    assert!(event["latency_us"].as_u64().is_some_and(|latency| latency > 0 && latency < 60_000_000), "{event}");
    assert!(event.get("reason").is_none() && event.get("error").is_none(), "{event}");
    let time = event["time"].as_str().expect("a time");
    assert!(time.ends_with('Z') && time.len() == "2026-01-15T00:00:00.000Z".len(), "{time}");

    let denied = reader.post("/_mget").json(&json!({"docs": [{"_index": "logs-stream", "_id": "1"}, {"_index": "pii-customers", "_id": "1"}]})).expect(403);
    let event = gateway.audit_of(denied.request_id());
    assert_eq!((&event["decision"], &event["operation"], &event["status"]), (&json!("deny"), &json!("mget"), &json!(403)));
    assert_eq!(event["targets"], json!(["logs-stream", "pii-customers"]));
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("`read:pii-customers`") && reason.contains("`read:logs-*`")), "{event}");
    assert!(event["bytes_in"].as_u64().is_some_and(|bytes| bytes > 50), "{event}");

    let unknown = gateway.http().with_token("nonsense").get("/logs-a/_search").expect(401);
    let event = gateway.audit_of(unknown.request_id());
    assert_eq!((&event["decision"], &event["status"], event.get("client")), (&json!("deny"), &json!(401), None));
    // The path of somebody unknown is recorded, too; the query never is.
    assert_eq!(event["path"], "/logs-a/_search");

    let ids: Vec<String> = gateway.audit().iter().filter(|event| event["event"] == "request").map(|event| event["request_id"].to_string()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "a request was recorded twice");
}

#[test]
fn the_life_of_a_token_is_recorded() {
    let gateway = Gateway::start(settings());
    let answer = gateway.ask_for_token("reader", &[("scope", "search:logs-app-*")]);
    let issued = gateway.audit_of(answer.request_id());
    assert_eq!((&issued["event"], &issued["decision"], &issued["client"], &issued["scopes"]), (&json!("token.issued"), &json!("allow"), &json!("reader"), &json!("search:logs-app-*")));
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();

    let refused = gateway.ask_for_token("reader", &[("scope", "read:pii-*")]);
    let event = gateway.audit_of(refused.request_id());
    assert_eq!((&event["event"], &event["decision"], &event["status"]), (&json!("token.refused"), &json!("deny"), &json!(400)));
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("read:pii-*")), "{event}");

    let revoked = gateway.http().with_basic("reader", gateway.secret("reader")).post("/oauth/revoke").form(&[("token", &token)]).expect(200);
    let event = gateway.audit_of(revoked.request_id());
    assert_eq!((&event["event"], &event["token_id"], &event["client"]), (&json!("token.revoked"), &issued["token_id"], &json!("reader")));
}

#[test]
fn nothing_secret_is_written_down_anywhere() {
    let gateway = Gateway::start(settings().log_level("debug"));
    let token = gateway.token("reader");
    let reader = gateway.http().with_token(&token);
    let signature = token.rsplit('.').next().expect("a signature").to_owned();
    let claims = token.split('.').nth(1).expect("claims").to_owned();
    let mut secrets = vec![token.clone(), signature, claims, gateway.secret("reader").to_owned(), gateway.secret("writer").to_owned()];

    reader.get("/logs-*/_search?q=secret-in-the-query").expect(200);
    reader.post("/logs-*/_search").json(&json!({"query": {"match": {"message": "secret-in-the-body"}}})).expect(200);
    let _ = reader.get(&format!("/logs-*/_search?access_token={token}")).send();
    let _ = gateway.http().with_token(&format!("{token}x")).get("/logs-*/_search").send();
    let _ = gateway.http().get("/logs-*/_search").header("Authorization", &format!("Basic {token}")).send();
    let _ = gateway.http().get("/logs-*/_search").header("Cookie", &format!("token={token}")).send();
    let _ = gateway.http().post("/oauth/token").form(&[("grant_type", "client_credentials"), ("client_id", "reader"), ("client_secret", "a-secret-that-is-wrong")]).send();
    // Pasted into the wrong field.
    let _ = gateway.http().post("/oauth/token").form(&[("grant_type", "client_credentials"), ("client_id", gateway.secret("writer")), ("client_secret", "x")]).send();
    let _ = gateway.ask_for_token("reader", &[("scope", &token)]);
    let _ = gateway.http().with_basic("reader", gateway.secret("reader")).post("/oauth/revoke").form(&[("token", gateway.secret("writer"))]).send();
    let _ = gateway.http().with_basic("reader", gateway.secret("reader")).post("/oauth/revoke").form(&[("token", &token)]).send();
    let _ = reader.get("/logs-*/_search").send();
    let last = gateway.http().get("/oauth/tokens").expect(401);
    let _ = gateway.with("writer").post("/app-logs-2026/_search").json(&json!({})).send();
    let last_denied = gateway.with("writer").get("/pii-customers/_doc/1").expect(403);
    let _ = (gateway.audit_of(last_denied.request_id()), last);

    let state = gateway.folder().join("state");
    let master = std::fs::read_to_string(state.join("master.key")).expect("the master key");
    secrets.push(master.trim().to_owned());
    let admin: Value = serde_json::from_str(&std::fs::read_to_string(state.join("first-admin.json")).expect("the first administrator")).expect("JSON");
    secrets.push(admin["client_secret"].as_str().expect("a secret").to_owned());
    secrets.extend(["a-secret-that-is-wrong", "secret-in-the-query", "secret-in-the-body", "PRIVATE KEY"].map(str::to_owned));

    let metrics = gateway.monitor("/metrics").expect_ok().text();
    let database: String = String::from_utf8_lossy(&std::fs::read(state.join("oauth4os.db")).expect("the store")).into_owned();
    let written = [("the audit record", gateway.audit_text()), ("the log", gateway.log()), ("the metrics", metrics), ("the store", database)];
    for (place, text) in &written {
        assert!(!text.is_empty() || *place == "the log", "{place} is empty");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} holds `{secret}`");
        }
        // Nor any other token: the one the engine gets, for instance.
        assert!(!text.contains("eyJ"), "{place} holds a token");
    }
}

#[test]
fn only_the_owner_can_read_what_is_kept() {
    let gateway = Gateway::start(settings());
    gateway.with("reader").get("/").expect(200);
    let folder = gateway.folder();
    let mut files = vec![folder.join("audit.jsonl")];
    files.extend(std::fs::read_dir(folder.join("state")).expect("the state").map(|entry| entry.expect("a file").path()));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.display());
    }
    assert_eq!(std::fs::metadata(folder.join("state")).expect("the state").permissions().mode() & 0o077, 0);
}

#[test]
fn metrics_move_and_their_labels_do_not_grow() {
    let gateway = Gateway::start(settings());
    let names = || -> BTreeSet<String> {
        let text = gateway.monitor("/metrics").expect_ok().text();
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name.to_owned()).collect()
    };
    let before = names();
    let reader = gateway.with("reader");
    let value = |name: &str| gateway.metric(&format!("oauth4os_{name}"));
    let outcomes = ["allowed", "denied", "unauthenticated", "malformed"];
    let count = |outcome: &str| value(&format!("requests_total{{outcome=\"{outcome}\"}}"));
    let start = outcomes.map(count);
    for number in 0..30 {
        reader.get(&format!("/logs-app-{number}*/_search")).expect(200);
        reader.get(&format!("/other-{number}/_search")).expect(403);
        gateway.http().get(&format!("/logs-{number}/_search")).header("Authorization", &format!("Bearer wrong-{number}")).expect(401);
        reader.get(&format!("/logs-{number}/_search?index=a&index=b")).expect(400);
    }
    for (outcome, start) in outcomes.iter().zip(start) {
        assert_eq!(count(outcome) - start, 30.0, "{outcome}");
        assert!(value(&format!("request_duration_seconds_count{{outcome=\"{outcome}\"}}")) >= 30.0);
    }
    assert!(value("tokens_issued_total") >= 1.0 && value("token_cache_hits_total") >= 80.0 && value("token_cache_misses_total") >= 1.0);
    assert!(value("upstream_connections_total") >= 1.0 && value("connections") >= 1.0);
    assert_eq!(value("audit_dropped"), 0.0);
    let _ = gateway.ask_for_token("reader", &[("scope", "read:pii-*")]);
    assert_eq!(value("tokens_refused_total"), 1.0);
    let after = names();
    assert_eq!(after, before, "new series: {:?}", after.difference(&before).collect::<Vec<_>>());
    for name in after {
        assert!(!["reader", "logs-", "127.0.0.1"].iter().any(|word| name.contains(word)), "{name}");
    }
}
