//! Ingest pipelines choose the index a document goes to after the gateway has decided: what the engine enforces after them, and
//! which of them the gateway does not let a request choose, since there the engine is told too little.

use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::{Answer, Client, ClientSettings, Engine, Gateway, OnDrop, Settings};
use serde_json::{Value, json};

const API: &str = "/_plugins/_security/api";
const ROLE: &str = "e2e_pipelines";
const BACKEND_ROLE: &str = "e2e-pipelines";

/// What a token may write, and another index of it.
const IN: &str = "e2e-pipe-in";
const IN_TOO: &str = "e2e-pipe-in-2";
/// Every write to it goes through a pipeline that leads outside; to the other one through such a final pipeline.
const DEFAULT: &str = "e2e-pipe-in-default";
const FINAL: &str = "e2e-pipe-in-final";
/// What it may not write, and what is not there.
const OUT: &str = "e2e-pipe-out";
const MISSING: &str = "e2e-pipe-missing";
/// What nobody may write, by a policy.
const SECRET: &str = "e2e-pipe-secret";

const INDICES: [&str; 6] = [IN, IN_TOO, DEFAULT, FINAL, OUT, SECRET];
/// Pipelines, each named after the index it leads to, and one that gives every document the same id.
const LEADING: [&str; 4] = [IN_TOO, OUT, MISSING, SECRET];
const SAME_ID: &str = "e2e-pipe-same-id";

/// One test at a time: they share indices and pipelines.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cluster() -> OnDrop<impl FnMut()> {
    let clear = || {
        let engine = Engine::get();
        INDICES.iter().chain(&[MISSING]).for_each(|index| engine.delete_index(index));
        for pipeline in LEADING.iter().chain(&[SAME_ID]) {
            let _ = engine.admin().delete(&format!("/_ingest/pipeline/{pipeline}")).send();
        }
        for kind in ["rolesmapping", "roles"] {
            let _ = engine.admin().delete(&format!("{API}/{kind}/{ROLE}")).send();
        }
    };
    clear();
    let admin = Engine::get().admin();
    for index in LEADING {
        let to = json!({"processors": [{"set": {"field": "_index", "value": index}}]});
        admin.put(&format!("/_ingest/pipeline/{index}")).json(&to).expect(200);
    }
    let same = json!({"processors": [{"set": {"field": "_id", "value": "same"}}]});
    admin.put(&format!("/_ingest/pipeline/{SAME_ID}")).json(&same).expect(200);
    for index in INDICES {
        admin.put(&format!("/{index}")).json(&json!({"settings": {"number_of_replicas": 0}})).expect(200);
        admin.put(&format!("/{index}/_doc/first?refresh=true")).json(&json!({"message": "first"})).expect(201);
    }
    for (index, setting) in [(DEFAULT, "index.default_pipeline"), (FINAL, "index.final_pipeline")] {
        admin.put(&format!("/{index}/_settings")).json(&json!({setting: OUT})).expect(200);
    }
    OnDrop(clear)
}

/// Every way a request chooses a pipeline that leads to `to`, or comes upon one, under a token that writes and reads `e2e-pipe-in*`.
fn ways(client: &Client, to: &str) -> Vec<(&'static str, Answer)> {
    let document = json!({"message": "led away"});
    let reindex = json!({"source": {"index": IN}, "dest": {"index": IN_TOO, "pipeline": to}});
    let by_itself = [json!({"index": {"_index": IN, "_id": "b", "pipeline": to}}), document.clone()];
    let all = [json!({"create": {"_index": IN}}), document.clone(), json!({"index": {"_index": IN}}), document.clone()];
    vec![
        ("a new document", client.post(&format!("/{IN}/_doc?pipeline={to}")).json(&document).send()),
        ("a document", client.put(&format!("/{IN}/_doc/a?pipeline={to}")).json(&document).send()),
        ("a creation", client.put(&format!("/{IN}/_create/a?pipeline={to}")).json(&document).send()),
        ("a bulk", client.post(&format!("/_bulk?pipeline={to}")).lines(&all).send()),
        ("an item of a bulk", client.post("/_bulk").lines(&by_itself).send()),
        ("a reindex", client.post("/_reindex").json(&reindex).send()),
        ("an update by query", client.post(&format!("/{IN}/_update_by_query?pipeline={to}")).send()),
    ]
}

/// The same where the index has the pipeline of its own.
fn ways_of_the_index(client: &Client) -> Vec<(&'static str, Answer)> {
    let document = json!({"message": "led away"});
    let lines = [json!({"index": {"_index": DEFAULT}}), document.clone()];
    let reindex = json!({"source": {"index": IN}, "dest": {"index": DEFAULT}});
    vec![
        ("its pipeline", client.post(&format!("/{DEFAULT}/_doc")).json(&document).send()),
        ("its pipeline in a bulk", client.post("/_bulk").lines(&lines).send()),
        ("its pipeline in a reindex", client.post("/_reindex").json(&reindex).send()),
        ("its last pipeline", client.post(&format!("/{FINAL}/_doc")).json(&document).send()),
    ]
}

fn counts() -> Vec<u64> {
    [OUT, SECRET].map(|index| Engine::get().count(index)).to_vec()
}

/// The engine has refused the document, and for the right to the index that the pipeline chose; or, in a final pipeline, that it
/// chose another one at all.
fn refused_by_the_engine(what: &str, answer: &Answer) {
    let text = answer.text();
    let is_final = what == "its last pipeline";
    let told = if is_final { "final pipeline" } else { "no permissions for" };
    assert!(text.to_lowercase().contains(told), "{what}: {} {text}", answer.status);
    let succeeded = ["\"result\":\"created\"", "\"result\":\"updated\""].iter().any(|result| text.contains(result));
    assert!(!succeeded, "{what}: {text}");
}

#[test]
fn the_engine_holds_a_pipeline_to_the_scope() {
    let _alone = alone();
    let _cluster = cluster();
    let scopes = ["write:e2e-pipe-in*", "read:e2e-pipe-in*"];
    for settings in [Settings::new(), Settings::new().engine_decides()] {
        let gateway = Gateway::start(settings.client("writer", &scopes));
        let writer = gateway.with("writer");
        let before = counts();
        for to in [OUT, MISSING, SECRET] {
            for (what, answer) in ways(&writer, to) {
                refused_by_the_engine(what, &answer);
            }
        }
        for (what, answer) in ways_of_the_index(&writer) {
            refused_by_the_engine(what, &answer);
        }
        // What is inserted by an update goes where the update says.
        let upsert = [
            json!({"update": {"_index": IN, "_id": "new", "pipeline": OUT}}),
            json!({"doc": {"message": "led away"}, "upsert": {"message": "led away"}}),
        ];
        writer.post("/_bulk").lines(&upsert).expect(200);
        assert_eq!(counts(), before);
        Engine::get().admin().get(&format!("/{MISSING}")).expect(404);
        // What stays inside goes through.
        let answer = writer.post(&format!("/{IN}/_doc?pipeline={IN_TOO}")).json(&json!({})).expect(201).json();
        assert_eq!(answer["_index"], IN_TOO, "{answer}");
        let lines = [json!({"index": {"_index": DEFAULT, "pipeline": IN_TOO}}), json!({})];
        let answer = writer.post("/_bulk").lines(&lines).expect(200).json();
        assert_eq!((&answer["errors"], &answer["items"][0]["index"]["_index"]), (&json!(false), &json!(IN_TOO)));
        let lines = [json!({"index": {"_index": DEFAULT, "pipeline": "_none"}}), json!({})];
        let answer = writer.post("/_bulk").lines(&lines).expect(200).json();
        assert_eq!(answer["items"][0]["index"]["_index"], DEFAULT, "{answer}");
    }
}

#[test]
fn the_engine_holds_a_pipeline_to_what_is_forbidden() {
    let _alone = alone();
    let _cluster = cluster();
    let forbid =
        format!("permit(principal, action, resource);\nforbid(principal, action, resource in Index::\"{SECRET}*\");\n");
    for settings in [Settings::new(), Settings::new().engine_decides()] {
        let gateway =
            Gateway::start(settings.policies(&forbid).client("wide", &["write:e2e-pipe-*", "read:e2e-pipe-*"]));
        let wide = gateway.with("wide");
        let before = counts();
        for (what, answer) in ways(&wide, SECRET) {
            refused_by_the_engine(what, &answer);
        }
        assert_eq!(counts(), before);
        assert_eq!(wide.post(&format!("/{IN}/_doc?pipeline={OUT}")).json(&json!({})).expect(201).json()["_index"], OUT);
    }
}

/// A policy on some ways of writing, and the difference between adding and changing, are the gateway's alone: a request whose
/// pipeline could pass by them is refused.
#[test]
fn what_the_engine_is_not_told_is_not_left_to_a_pipeline() {
    let _alone = alone();
    let _cluster = cluster();
    let engine = Engine::get();
    let adding = format!(
        "permit(principal, action, resource);\nforbid(principal, action == Action::\"create\", resource in Index::\"{SECRET}*\");\nforbid(principal, action == Action::\"update\", resource in Index::\"{SECRET}*\");\n"
    );
    let some = "permit(principal, action, resource in Index::\"e2e-pipe-in*\");\n";
    let scopes = ["write:e2e-pipe-*", "read:e2e-pipe-*"];
    let before = counts();
    for policies in [adding.as_str(), some] {
        let gateway = Gateway::start(Settings::new().policies(policies).client("wide", &scopes));
        let wide = gateway.with("wide");
        for (what, answer) in ways(&wide, SECRET) {
            assert_eq!(answer.status, 403, "{what}: {}", answer.text());
            assert!(answer.text().contains("an ingest pipeline may choose any index"), "{what}: {}", answer.text());
            let event = gateway.audit_of(answer.request_id());
            assert_eq!(event["decision"], "deny", "{what}: {event}");
        }
        wide.put(&format!("/{SECRET}/_doc/a")).json(&json!({})).expect(403);
        wide.put(&format!("/{IN}/_doc/a?pipeline=_none")).json(&json!({})).expect(201);
        wide.delete(&format!("/{IN}/_doc/a")).expect(200);
        // A token for less is sure.
        let narrow = gateway.http().with_token(&gateway.token_with("wide", "write:e2e-pipe-in*"));
        let inside = narrow.post(&format!("/{IN}/_doc?pipeline={IN_TOO}")).json(&json!({})).expect(201).json();
        assert_eq!(inside["_index"], IN_TOO);
    }
    assert_eq!(counts(), before);
    // Why: the engine knows nothing of it.
    let without = Settings::new().policies(&adding).client("wide", &scopes).engine_decides();
    let gateway = Gateway::start(without);
    let led = gateway.with("wide").post(&format!("/{IN}/_doc?pipeline={SECRET}")).json(&json!({})).expect(201).json();
    assert_eq!(led["_index"], SECRET);

    // One index may be added to, another one changed.
    let mixed = || Settings::new().client("mixed", &[&format!("write:{IN}"), &format!("ingest:{OUT}")]);
    let gateway = Gateway::start(mixed());
    let over = |client: &Client| {
        client.put(&format!("/{IN}/_doc/first?pipeline={OUT}")).json(&json!({"message": "over"})).send()
    };
    let refused = over(&gateway.with("mixed"));
    assert!(
        refused.status == 403 && refused.text().contains("needs the scope `write:e2e-pipe-out`"),
        "{}",
        refused.text()
    );
    let first = || engine.admin().get(&format!("/{OUT}/_doc/first")).expect(200).json()["_source"]["message"].clone();
    assert_eq!(first(), "first");
    // To add by way of a pipeline is to add wherever it leads.
    let lines = [json!({"create": {"_id": "first"}}), json!({"message": "over"}), json!({"create": {}}), json!({})];
    let answer = gateway.with("mixed").post(&format!("/{IN}/_bulk?pipeline={OUT}")).lines(&lines).expect(200).json();
    let statuses = [&answer["items"][0]["create"]["status"], &answer["items"][1]["create"]["status"]];
    assert_eq!(statuses, [409, 201], "{answer}");
    assert_eq!(first(), "first");
    let gateway = Gateway::start(mixed().engine_decides());
    assert_eq!(over(&gateway.with("mixed")).expect_ok().json()["result"], "updated");
    assert_eq!(first(), "over");
}

/// Whoever may only add cannot choose an id by a pipeline either.
#[test]
fn adding_stays_adding() {
    let _alone = alone();
    let _cluster = cluster();
    let gateway = Gateway::start(Settings::new().client("adder", &[&format!("ingest:{IN}")]));
    let adder = gateway.with("adder");
    let add = || adder.post(&format!("/{IN}/_doc?pipeline={SAME_ID}")).json(&json!({})).send();
    assert_eq!((add().status, add().status), (201, 409));
    let lines = [json!({"index": {"_index": IN}}), json!({})];
    let refused = adder.post(&format!("/_bulk?pipeline={SAME_ID}")).lines(&lines).expect(403);
    assert!(refused.text().contains("needs the scope `write:e2e-pipe-in`"), "{}", refused.text());
    let by_itself = [json!({"index": {"_index": IN, "pipeline": SAME_ID}}), json!({})];
    adder.post("/_bulk").lines(&by_itself).expect(403);
}

/// Where the engine is told nothing of scopes it holds a pipeline to none of them.
#[test]
fn with_an_identity_of_its_own_no_pipeline_is_chosen() {
    let _alone = alone();
    let _cluster = cluster();
    let admin = Engine::get().admin();
    let role = json!({
        "cluster_permissions": ["cluster:monitor/main", "indices:data/write/*", "indices:data/read/scroll*"],
        "index_permissions": [{"index_patterns": ["e2e-pipe-*"], "allowed_actions": ["indices_all"]}],
    });
    admin.put(&format!("{API}/roles/{ROLE}")).json(&role).expect(201);
    admin.put(&format!("{API}/rolesmapping/{ROLE}")).json(&json!({"backend_roles": [BACKEND_ROLE]})).expect(201);
    let scopes = ["write:e2e-pipe-in*", "read:e2e-pipe-in*", "manage:e2e-pipe-in*"];
    let own =
        ClientSettings::new("own", &scopes).with("identity", json!("own")).with("backend_roles", json!([BACKEND_ROLE]));
    let gateway = Gateway::start(Settings::new().client_with(own.clone()));
    let client = gateway.with("own");
    let before = counts();
    for (what, answer) in ways(&client, OUT) {
        assert_eq!(answer.status, 403, "{what}: {}", answer.text());
        assert!(answer.text().contains("not told the scopes"), "{what}: {}", answer.text());
    }
    // Nor for all that is written later.
    for settings in [
        json!({"index.default_pipeline": OUT}),
        json!({"settings": {"index": {"final_pipeline": OUT}}}),
        json!({"index": {"default_\u{70}ipeline": OUT, "refresh_interval": "1s"}}),
    ] {
        let refused = client.put(&format!("/{IN}/_settings")).json(&settings).expect(403);
        assert!(refused.text().contains("not told the scopes"), "{}", refused.text());
    }
    let settings = json!({"settings": {"default_pipeline": OUT}});
    client.put(&format!("/{IN}-3")).json(&settings).expect(403);
    client.post(&format!("/{IN}/_clone/{IN}-3")).json(&settings).expect(403);
    admin.get(&format!("/{IN}-3")).expect(404);
    assert_eq!(counts(), before);
    client.put(&format!("/{IN}/_settings")).json(&json!({"index.default_pipeline": "_none"})).expect(200);
    client.put(&format!("/{IN}/_settings")).json(&json!({"index": {"refresh_interval": null}})).expect(200);
    client.post(&format!("/{IN}/_doc?pipeline=_none")).json(&json!({})).expect(201);
    // What an administrator has set for an index is the cluster's own doing.
    let led: Value = client.post(&format!("/{DEFAULT}/_doc")).json(&json!({})).expect(201).json();
    assert_eq!(led["_index"], OUT);

    // Why: the role may, and the engine knows no more.
    let gateway = Gateway::start(Settings::new().client_with(own).engine_decides());
    let led = gateway.with("own").post(&format!("/{IN}/_doc?pipeline={OUT}")).json(&json!({})).expect(201).json();
    assert_eq!(led["_index"], OUT);
}
