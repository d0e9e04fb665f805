//! Searches that reach beyond what is permitted, narrowed by the engine to what is: only where both sides are told to.

use std::time::Duration;

use e2e::{ClientSettings, Engine, Gateway, OnDrop, Settings, until};
use serde_json::{Value, json};

const SWITCH: &str = "/config/dynamic/do_not_fail_on_forbidden";

/// The engine answers for the permitted part of a search, as long as the result lives. Nobody else is at it.
fn narrowing_engine() -> OnDrop<impl FnMut()> {
    let set = |value: bool| {
        let patch = json!([{"op": "add", "path": SWITCH, "value": value}]);
        let admin = Engine::get_alone().admin();
        admin.request("PATCH", "/_plugins/_security/api/securityconfig").json(&patch).expect(200);
    };
    set(true);
    OnDrop(move || set(false))
}

const POLICIES: &str = r#"
permit(principal, action, resource);
forbid(principal == Client::"held", action, resource in Index::"logs-web-*");
"#;

fn settings(partial_access: &str) -> Settings {
    Settings::new()
        .policies(POLICIES)
        .client("reader", &["read:logs-*"])
        .client("held", &["read:logs-*"])
        .client("writer", &["write:app-logs-*"])
        .client_with(
            ClientSettings::new("own", &["read:logs-*"])
                .with("identity", json!("own"))
                .with("backend_roles", json!(["e2e-nobody"])),
        )
        .engine_option("partial_access", json!(partial_access))
}

fn indices(answer: &Value) -> Vec<String> {
    let buckets = answer["aggregations"]["by"]["buckets"].as_array().expect("buckets");
    buckets.iter().map(|bucket| bucket["key"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn the_engine_answers_for_the_permitted_part_and_the_answer_says_so() {
    let _ = Engine::get_alone();
    let by_index = json!({"size": 0, "aggs": {"by": {"terms": {"field": "_index", "size": 100}}}});

    // Told to one side only, it is refused: by the engine where the gateway does not decide, and by the gateway, which has seen that.
    let undecided = Gateway::start(settings("narrow").engine_decides());
    let refused = undecided.with("reader").post("/_search").json(&by_index).expect(403);
    assert!(refused.text().contains("no permissions for"), "{}", refused.text());
    let gateway = Gateway::start(settings("narrow").engine_option("alias_refresh", json!("1s")));
    let refused = gateway.with("reader").post("/_search").json(&by_index).expect(403);
    assert!(refused.text().contains("needs the scope"), "{}", refused.text());
    assert!(gateway.log().contains("the engine is not seen to do it"), "{}", gateway.log());
    let run = gateway.engine_command(&["check"]);
    assert!(!run.succeeded && run.stdout.contains("needs `do_not_fail_on_forbidden: true`"), "{run:?}");

    let narrowing = narrowing_engine();
    let strict = Gateway::start(settings("refuse"));
    let refused = strict.with("reader").post("/_search").json(&by_index).expect(403);
    assert!(refused.text().contains("read:logs-*"), "{}", refused.text());

    assert!(gateway.engine_command(&["check"]).succeeded);
    let reader = gateway.with("reader");
    // It is seen at the next look.
    until("a narrowed search", Duration::from_secs(20), || {
        Some(reader.get("/_count").send()).filter(|it| it.status == 200)
    });
    let inside = reader.post("/logs-*/_search").json(&by_index).expect(200);
    assert_eq!(inside.header("x-oauth4os-partial"), None);
    let all = indices(&inside.json());
    assert!(all.iter().any(|name| name.starts_with("logs-web-")) && all.iter().all(|name| name.contains("logs-")));
    for target in ["/_search", "/*/_search", "/_all/_search", "/logs-*,metrics-*/_search", "/l*/_search"] {
        let part = reader.post(target).json(&by_index).expect(200);
        assert_eq!(part.header("x-oauth4os-partial"), Some("true"), "{target}");
        assert_eq!(indices(&part.json()), all, "{target}");
        assert_eq!(gateway.audit_of(part.request_id())["partial"], true);
    }
    let count = reader.get("/_count").expect(200);
    assert_eq!(count.json()["count"], reader.get("/logs-*/_count").expect(200).json()["count"]);
    let lines = [json!({"index": "*"}), by_index.clone()];
    let multi = reader.post("/_msearch").lines(&lines).expect(200);
    assert_eq!(indices(&multi.json()["responses"][0]), all);
    assert_eq!(multi.header("x-oauth4os-partial"), Some("true"));
    // What a policy forbids is taken out too.
    let held = gateway.with("held").post("/_search").json(&by_index).expect(200);
    let expected: Vec<&String> = all.iter().filter(|name| !name.starts_with("logs-web-")).collect();
    assert_eq!(indices(&held.json()).iter().collect::<Vec<_>>(), expected);

    // Names stand as they are, and nothing but searching is narrowed.
    for target in ["/pii-customers/_search", "/logs-*,pii-customers/_search", "/metrics-*/_search", "/_mapping"] {
        reader.get(target).expect(403);
    }
    gateway.with("writer").get("/_search").expect(403);
    gateway.with("own").get("/_search").expect(403);

    // Switched off there, it is refused here as soon as that is seen.
    drop(narrowing);
    let refused = until("a refusal by the gateway", Duration::from_secs(20), || {
        Some(reader.get("/_count").send()).filter(|answer| answer.text().contains("needs the scope"))
    });
    assert_eq!(refused.status, 403);
    reader.get("/logs-*/_count").expect(200);
}
