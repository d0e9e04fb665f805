//! What each verb of a scope is good for on the real engine, alone and together with others.

use e2e::{Answer, Client, Engine, Gateway, Settings};
use serde_json::{Value, json};

/// Indices of this file; its tests run at once, so each has its own.
const PREFIX: &str = "app-logs-e2e";

fn gateway() -> Gateway {
    Gateway::start(
        Settings::new()
            .client("writer", &["write:app-logs-*"])
            .client("ingester", &["ingest:app-logs-*"])
            .client("searcher", &["search:logs-app-*"])
            .client("both", &["read:logs-*", "write:app-logs-*"])
            .client("manager", &["manage:app-logs-*"])
            .client("monitor", &["monitor:cluster"])
            .client("index-monitor", &["monitor:logs-*"])
            .client("cluster-manager", &["manage:cluster"])
            .client("narrow", &["read:logs-*,-logs-web-*"])
            .client("admin", &["admin:app-logs-*"])
            .client("control", &["admin:gateway"]),
    )
}

struct Index(String);

impl Index {
    fn new(name: &str) -> Self {
        let name = format!("{PREFIX}-{name}");
        Engine::get().delete_index(&name);
        Self(name)
    }

    fn count(&self) -> u64 {
        Engine::get().count(&self.0)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        // A failed test is panicking already.
        let _ = Engine::get().admin().delete(&format!("/{}?ignore_unavailable=true", self.0)).send();
    }
}

#[test]
fn write_writes_in_bulk_and_reads_nothing() {
    let gateway = gateway();
    let writer = gateway.with("writer");
    let index = Index::new("write");
    let name = &index.0;
    let answer = writer
        .post("/_bulk")
        .lines(&[
            json!({"index": {"_index": name, "_id": "1"}}),
            json!({"message": "one"}),
            json!({"create": {"_index": name, "_id": "2"}}),
            json!({"message": "two"}),
            json!({"index": {"_index": name}}),
            json!({"message": "three"}),
            json!({"update": {"_index": name, "_id": "1"}}),
            json!({"doc": {"message": "changed"}}),
            json!({"delete": {"_index": name, "_id": "2"}}),
        ])
        .expect(200)
        .json();
    assert_eq!(answer["errors"], false, "{answer}");
    assert_eq!(statuses(&answer), [201, 201, 201, 200, 200]);
    assert_eq!(index.count(), 2);

    writer.put(&format!("/{name}/_doc/4")).json(&json!({"message": "four"})).expect(201);
    writer.post(&format!("/{name}/_update/4")).json(&json!({"doc": {"message": "4"}})).expect(200);
    writer.delete(&format!("/{name}/_doc/4")).expect(200);
    writer.post(&format!("/{name}/_bulk")).lines(&[json!({"index": {}}), json!({"message": "five"})]).expect(200);
    assert_eq!(index.count(), 3);

    for (target, scope) in [("_search", "search:"), ("_count", "search:"), ("_doc/1", "read:"), ("_mapping", "")] {
        refused(&writer.get(&format!("/{name}/{target}")).send(), scope);
    }
    // Writing that answers with what was there is reading.
    let change = json!({"doc": {"message": "changed"}});
    for answer in [
        writer.post(&format!("/{name}/_update/1?_source=true")).json(&change).send(),
        writer.post(&format!("/{name}/_update/1?_source_includes=message")).json(&change).send(),
        writer
            .post(&format!("/{name}/_update/1"))
            .json(&json!({"doc": {"message": "changed"}, "_source": true}))
            .send(),
        writer
            .post(&format!("/{name}/_bulk?_source=true"))
            .lines(&[json!({"update": {"_id": "1"}}), change.clone()])
            .send(),
        writer
            .post(&format!("/{name}/_bulk"))
            .lines(&[json!({"update": {"_id": "1", "_source": true}}), change.clone()])
            .send(),
        writer
            .post(&format!("/{name}/_bulk"))
            .lines(&[json!({"update": {"_id": "1"}}), json!({"doc": {}, "_source": ["*"]})])
            .send(),
    ] {
        refused(&answer, "");
        assert!(!answer.text().contains("changed"), "{}", answer.text());
    }
    refused(&writer.post("/pii-customers/_doc").json(&json!({})).send(), "ingest:");
    refused(&writer.delete(&format!("/{name}")).send(), "manage:");
    assert_eq!(index.count(), 3);
}

#[test]
fn a_bulk_request_with_one_action_outside_writes_nothing() {
    let gateway = gateway();
    let writer = gateway.with("writer");
    let index = Index::new("bulk");
    let customers = Engine::get().count("pii-customers");
    for outside in ["pii-customers", "logs-app-forged", "app-logs-*", "mixed", ".opendistro_security"] {
        let answer = writer
            .post("/_bulk")
            .lines(&[
                json!({"index": {"_index": index.0}}),
                json!({"message": "one"}),
                json!({"index": {"_index": outside}}),
                json!({"message": "two"}),
            ])
            .send();
        assert!(matches!(answer.status, 400 | 403), "{outside}: {} {}", answer.status, answer.text());
        assert_eq!(gateway.audit_of(answer.request_id())["decision"], "deny");
    }
    // Also where the path names an index the action may take another one.
    let lines = [json!({"index": {"_index": "pii-customers"}}), json!({"message": "two"})];
    refused(&writer.post(&format!("/{}/_bulk", index.0)).lines(&lines).send(), "");
    Engine::get().admin().get(&format!("/{}", index.0)).expect(404);
    assert_eq!(Engine::get().count("pii-customers"), customers);
}

#[test]
fn ingest_adds_and_changes_nothing() {
    let gateway = gateway();
    let ingester = gateway.with("ingester");
    let index = Index::new("ingest");
    let name = &index.0;
    ingester.post(&format!("/{name}/_doc")).json(&json!({"message": "one"})).expect(201);
    ingester.put(&format!("/{name}/_create/2")).json(&json!({"message": "two"})).expect(201);
    ingester.put(&format!("/{name}/_doc/3?op_type=create")).json(&json!({"message": "three"})).expect(201);
    let created = ingester
        .post("/_bulk")
        .lines(&[json!({"create": {"_index": name, "_id": "4"}}), json!({"message": "four"})])
        .expect(200);
    assert_eq!(statuses(&created.json()), [201]);
    assert_eq!(index.count(), 4);

    let document = json!({"message": "changed"});
    for answer in [
        ingester.put(&format!("/{name}/_doc/2")).json(&document).send(),
        ingester.post(&format!("/{name}/_update/2")).json(&json!({"doc": document})).send(),
        ingester.delete(&format!("/{name}/_doc/2")).send(),
        ingester.post("/_bulk").lines(&[json!({"index": {"_index": name, "_id": "2"}}), document.clone()]).send(),
        ingester.post("/_bulk").lines(&[json!({"delete": {"_index": name, "_id": "2"}})]).send(),
        ingester
            .post("/_bulk")
            .lines(&[json!({"update": {"_index": name, "_id": "2"}}), json!({"doc": document})])
            .send(),
        ingester.post(&format!("/{name}/_delete_by_query")).json(&json!({"query": {"match_all": {}}})).send(),
    ] {
        refused(&answer, "write:");
    }
    refused(&ingester.get(&format!("/{name}/_search")).send(), "");
    assert_eq!(index.count(), 4);
    let kept = Engine::get().admin().get(&format!("/{name}/_doc/2")).expect(200).json();
    assert_eq!(kept["_source"]["message"], "two");
}

#[test]
fn search_finds_and_does_not_fetch() {
    let gateway = gateway();
    let searcher = gateway.with("searcher");
    let found = searcher.get("/logs-app-*/_search?size=1").expect(200).json();
    let (index, id) = (text(&found["hits"]["hits"][0]["_index"]), text(&found["hits"]["hits"][0]["_id"]));
    searcher.get("/logs-app-*/_count").expect(200);
    for answer in [
        searcher.get(&format!("/{index}/_doc/{id}")).send(),
        searcher.get(&format!("/{index}/_source/{id}")).send(),
        searcher.post(&format!("/{index}/_mget")).json(&json!({"ids": [id]})).send(),
        searcher.get("/logs-app-*/_mapping").send(),
    ] {
        refused(&answer, "read:");
    }
    refused(&searcher.get("/logs-web-*/_search").send(), "search:logs-web-*");
    refused(&searcher.get("/logs-*/_search").send(), "search:logs-*");
}

#[test]
fn two_scopes_in_one_token_are_both_in_force_and_nothing_more() {
    let gateway = gateway();
    let both = gateway.with("both");
    let index = Index::new("both");
    both.get("/logs-*/_search").expect(200);
    both.post(&format!("/{}/_doc", index.0)).json(&json!({"message": "one"})).expect(201);
    refused(&both.get("/app-logs-*/_search").send(), "");
    refused(&both.post("/logs-app-new/_doc").json(&json!({})).send(), "ingest:");
    // One request that needs both patterns for one verb has them from no scope.
    refused(&both.get("/logs-*,app-logs-*/_search").send(), "");
    refused(&both.get("/pii-customers/_search").send(), "");
    assert_eq!(index.count(), 1);
}

#[test]
fn manage_runs_indices_and_touches_no_document() {
    let gateway = gateway();
    let manager = gateway.with("manager");
    let index = Index::new("manage");
    let name = &index.0;
    manager
        .put(&format!("/{name}"))
        .json(&json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0}}))
        .expect(200);
    manager.put(&format!("/{name}/_mapping")).json(&json!({"properties": {"message": {"type": "text"}}})).expect(200);
    manager.put(&format!("/{name}/_settings")).json(&json!({"index": {"refresh_interval": "5s"}})).expect(200);
    manager.post(&format!("/{name}/_refresh")).expect(200);
    manager.post(&format!("/{name}/_close")).expect(200);
    manager.post(&format!("/{name}/_open")).expect(200);
    manager.get(&format!("/{name}/_mapping")).expect(200);
    manager.get(&format!("/{name}/_stats")).expect(200);
    refused(&manager.get(&format!("/{name}/_search")).send(), "");
    refused(&manager.post(&format!("/{name}/_doc")).json(&json!({})).send(), "");
    refused(&manager.put(&format!("/{name}/_alias/logs-forged")).json(&json!({})).send(), "");
    refused(&manager.delete("/logs-app-*").send(), "manage:logs-app-*");
    refused(&manager.delete(&format!("/{name},pii-customers")).send(), "");
    manager.delete(&format!("/{name}")).expect(200);
    Engine::get().admin().get(&format!("/{name}")).expect(404);
}

#[test]
fn monitoring_sees_the_state_and_no_document() {
    let gateway = gateway();
    let monitor = gateway.with("monitor");
    for target in ["/_cluster/health", "/_nodes/stats", "/_cat/nodes", "/_cluster/stats", "/_tasks"] {
        monitor.get(target).expect(200);
    }
    refused(&monitor.get("/logs-*/_search").send(), "");
    refused(&monitor.put("/_cluster/settings").json(&json!({"transient": {}})).send(), "admin:cluster");
    refused(&monitor.get("/_plugins/_security/api/roles").send(), "");

    let of_indices = gateway.with("index-monitor");
    for target in ["/logs-*/_stats", "/logs-*/_segments", "/_cat/indices/logs-*", "/logs-*/_mapping"] {
        of_indices.get(target).expect(200);
    }
    for target in ["/_cat/indices", "/_stats", "/_cluster/health", "/logs-*/_search", "/_cat/indices/pii-*"] {
        refused(&of_indices.get(target).send(), "");
    }
}

#[test]
fn manage_cluster_runs_templates_and_no_index() {
    let gateway = gateway();
    let manager = gateway.with("cluster-manager");
    let template = "/_index_template/app-logs-e2e-template";
    manager.put(template).json(&json!({"index_patterns": ["app-logs-e2e-template-*"]})).expect(200);
    manager.get(template).expect(200);
    manager.delete(template).expect(200);
    manager.put("/_ingest/pipeline/app-logs-e2e").json(&json!({"processors": []})).expect(200);
    manager.delete("/_ingest/pipeline/app-logs-e2e").expect(200);
    manager.get("/_cluster/health").expect(200);
    refused(&manager.delete("/logs-app-*").send(), "");
    refused(&manager.put("/_cluster/settings").json(&json!({"transient": {}})).send(), "admin:cluster");
}

#[test]
fn admin_of_indices_does_everything_there_and_nothing_elsewhere() {
    let gateway = gateway();
    let admin = gateway.with("admin");
    let index = Index::new("admin");
    admin.put(&format!("/{}/_doc/1?refresh=true", index.0)).json(&json!({"message": "one"})).expect(201);
    assert_eq!(admin.get(&format!("/{}/_count", index.0)).expect(200).json()["count"], 1);
    admin.delete(&format!("/{}", index.0)).expect(200);
    refused(&admin.get("/logs-*/_search").send(), "");
    refused(&admin.get("/_cluster/health").send(), "");
}

#[test]
fn the_gateways_own_scope_is_no_right_on_the_engine() {
    let gateway = gateway();
    let control = gateway.with("control");
    for target in ["/logs-*/_search", "/_cluster/health", "/_cat/indices"] {
        refused(&control.get(target).send(), "");
    }
}

#[test]
fn exclusions_in_a_scope_hold() {
    let gateway = gateway();
    let narrow = gateway.with("narrow");
    narrow.get("/logs-app-*/_search").expect(200);
    refused(&narrow.get("/logs-web-*/_search").send(), "");
    refused(&narrow.get("/logs-*/_search").send(), "");
    narrow.get("/logs-*,-logs-web-*/_search").expect(200);
}

#[test]
fn a_client_asks_for_less_and_never_for_more() {
    let gateway = gateway();
    let ask = |client: &str, scope: &str| gateway.ask_for_token(client, &[("scope", scope)]);
    let narrowed = gateway.http().with_token(&gateway.token_with("both", "search:logs-app-*"));
    narrowed.get("/logs-app-*/_search").expect(200);
    refused(&narrowed.get("/logs-web-*/_search").send(), "");
    refused(&narrowed.post("/app-logs-2026/_doc").json(&json!({})).send(), "");
    assert_eq!(
        ask("both", "read:logs-app-* write:app-logs-x").expect_ok().json()["scope"],
        "read:logs-app-* write:app-logs-x"
    );
    for (client, scope) in [
        ("both", "read:*"),
        ("both", "read:l*"),
        ("both", "read:logs-*,pii-*"),
        ("both", "read:logs-* read:pii-*"),
        ("both", "write:logs-*"),
        ("both", "admin:logs-*"),
        ("searcher", "read:logs-app-*"),
        ("ingester", "write:app-logs-*"),
        ("narrow", "read:logs-*"),
        ("monitor", "manage:cluster"),
        ("manager", "admin:gateway"),
        ("both", "everything"),
        ("both", "read:"),
        ("both", "own:logs-*"),
    ] {
        let answer = ask(client, scope);
        assert_eq!(
            (answer.status, text(&answer.json()["error"])),
            (400, "invalid_scope".to_owned()),
            "{client} {scope}: {}",
            answer.text()
        );
    }
}

/// Refused by scope; the challenge and the message name a scope that begins like this.
#[track_caller]
fn refused(answer: &Answer, scope: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"]["type"], "security_exception");
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    if !scope.is_empty() {
        assert!(challenge.contains(&format!("scope=\"{scope}")), "{challenge}");
        assert!(text(&body["error"]["reason"]).contains(&format!("`{scope}")), "{body}");
    }
}

fn statuses(bulk: &Value) -> Vec<u64> {
    let items = bulk["items"].as_array().expect("items");
    items
        .iter()
        .map(|item| {
            item.as_object().and_then(|item| item.values().next()).expect("an action")["status"]
                .as_u64()
                .expect("a status")
        })
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

#[test]
fn a_token_without_right_on_the_engine_still_greets() {
    let gateway = gateway();
    let monitor: Client = gateway.with("monitor");
    monitor.get("/").expect(200);
}
