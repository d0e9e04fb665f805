//! Operations whose body names what they touch: allowed inside, refused outside by the gateway, and refused once more by
//! the engine when the gateway's own decision is switched off.

use e2e::{Answer, Client, Engine, Gateway, OnDrop, Settings};
use serde_json::{Value, json};

/// What the tests make; each test adds its own word.
const PREFIX: &str = "app-logs-e2e-bodies";

fn settings() -> Settings {
    Settings::new()
        .client("reader", &["read:logs-*"])
        .client("copier", &["read:logs-*", "write:app-logs-*"])
        .client("adder", &["read:logs-*", "ingest:app-logs-*"])
        .client("writer", &["write:app-logs-*", "read:app-logs-*"])
        .client("manager", &["manage:app-logs-*"])
        .client("templates", &["manage:cluster"])
        .client("aliases", &["manage:cluster", "manage:app-logs-*"])
        .client("monitor", &["monitor:cluster"])
        .client("operator", &["admin:cluster"])
}

/// Today's index of applications.
fn an_index() -> String {
    let answer = Engine::get().admin().get("/_cat/indices/logs-app-*?h=index&s=index:desc").expect(200);
    answer.text().lines().next().expect("an index").trim().to_owned()
}

/// Indices and templates of this name are gone before and after.
fn cleared(name: &str) -> (String, OnDrop<impl FnMut()>) {
    let name = format!("{PREFIX}-{name}");
    let clear = move |name: &str| {
        let admin = Engine::get().admin();
        let _ = admin.delete(&format!("/{name}*?ignore_unavailable=true")).send();
        for kind in ["_index_template", "_component_template", "_template"] {
            let _ = admin.delete(&format!("/{kind}/{name}")).send();
        }
    };
    clear(&name);
    let at_the_end = name.clone();
    (name, OnDrop(move || clear(&at_the_end)))
}

#[test]
fn a_reindex_copies_from_what_may_be_read_to_what_may_be_written() {
    let gateway = Gateway::start(settings());
    let (name, _guard) = cleared("copy");
    let source = an_index();
    let body =
        json!({"source": {"index": [source], "_source": ["message", "level"]}, "dest": {"index": name}, "max_docs": 5});
    let answer = gateway.with("copier").post("/_reindex?refresh=true").json(&body).expect(200).json();
    assert_eq!((&answer["created"], &answer["failures"]), (&json!(5), &json!([])), "{answer}");
    assert_eq!(Engine::get().count(&name), 5);

    // What may only be added to takes what is not there. Other indices have documents with the same ids.
    let lookup = json!({"terms": {"service": {"index": source, "id": "000001", "path": "service"}}});
    let query = json!({"bool": {"filter": [lookup, {"term": {"_index": source}}]}});
    let body = json!({"source": {"index": "logs-app-*", "query": query},
        "dest": {"index": format!("{name}-more"), "op_type": "create"}, "max_docs": 3});
    let answer = gateway.with("adder").post("/_reindex?refresh=true").json(&body).expect(200).json();
    assert_eq!(answer["created"], 3, "{answer}");
    let body = json!({"source": {"index": source}, "dest": {"index": name}, "max_docs": 1});
    refused(&gateway.with("adder").post("/_reindex").json(&body).send(), "write:");
    refused(&gateway.with("reader").post("/_reindex").json(&body).send(), "write:");
    refused(&gateway.with("writer").post("/_reindex").json(&body).send(), "search:");
}

#[test]
fn term_vectors_and_rank_evaluations_read_inside() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let index = an_index();
    for (target, body) in [
        ("/_mtermvectors".to_owned(), json!({"docs": [{"_index": index, "_id": "000001", "fields": ["message"]}]})),
        (format!("/{index}/_mtermvectors"), json!({"ids": ["000001"], "parameters": {"fields": ["message"]}})),
        (format!("/{index}/_mtermvectors?ids=000001"), json!({"parameters": {"fields": ["message"]}})),
        ("/_mtermvectors".to_owned(), json!({"ids": ["000001"], "parameters": {"_index": index}})),
    ] {
        let answer = reader.post(&target).json(&body).expect(200).json();
        assert_eq!(answer["docs"][0]["found"], true, "{target}: {answer}");
    }
    let body = json!({"requests": [{"id": "errors", "request": {"query": {"term": {"level": "ERROR"}}},
        "ratings": [{"_index": index, "_id": "000001", "rating": 1}]}], "metric": {"precision": {"k": 5}}});
    let answer = reader.post("/logs-app-*/_rank_eval").json(&body).expect(200).json();
    assert_eq!(answer["failures"], json!({}), "{answer}");
    assert!(answer["metric_score"].is_number(), "{answer}");
}

#[test]
fn aliases_are_changed_by_whoever_manages_both_sides() {
    let gateway = Gateway::start(settings());
    let manager = gateway.with("manager");
    let (name, _guard) = cleared("aliases");
    let (one, two, alias) = (format!("{name}-1"), format!("{name}-2"), format!("{name}-all"));
    manager.put(&format!("/{one}")).json(&json!({})).expect(200);
    manager.put(&format!("/{two}")).json(&json!({})).expect(200);
    let change = |steps: Value| manager.post("/_aliases").json(&json!({"actions": steps})).expect(200);
    change(
        json!([{"add": {"index": one, "alias": alias}}, {"add": {"indices": [two], "aliases": [alias], "filter": {"term": {"level": "ERROR"}}}}]),
    );
    let has = |index: &str| Engine::get().admin().get(&format!("/{index}/_alias/{alias}")).send().status == 200;
    assert!(has(&one) && has(&two));
    change(json!([{"remove": {"index": format!("{name}-*"), "alias": alias}}]));
    assert!(!has(&one) && !has(&two));
    change(json!([{"remove_index": {"index": two}}, {"add": {"index": one, "alias": two}}]));
    // The alias has taken the name of the index that is gone.
    assert!(Engine::get().admin().get(&format!("/{two}")).expect(200).json()[&one].is_object());
}

#[test]
fn templates_with_aliases_need_the_right_to_manage_them() {
    let gateway = Gateway::start(settings());
    let (name, _guard) = cleared("templates");
    let pattern = format!("{name}-*");
    let plain = json!({"index_patterns": [pattern], "template": {"settings": {"number_of_replicas": 0}}});
    let with_alias = json!({"index_patterns": [pattern], "template": {"aliases": {format!("{name}-all"): {}}}});
    let legacy = json!({"index_patterns": [pattern], "aliases": {format!("{name}-all"): {}}});
    let target = format!("/_index_template/{name}");
    let templates = gateway.with("templates");
    templates.put(&target).json(&plain).expect(200);
    refused(&templates.put(&target).json(&with_alias).send(), "manage:");
    refused(&templates.put(&format!("/_template/{name}")).json(&legacy).send(), "manage:");

    let both = gateway.with("aliases");
    both.put(&target).json(&with_alias).expect(200);
    both.put(&format!("/_template/{name}")).json(&legacy).expect(200);
    both.put(&format!("/_component_template/{name}")).json(&json!({"template": {"settings": {}}})).expect(200);
    // An alias outside, patterns outside, and a component that can be built into a template for any index.
    for (target, body) in [
        (&target, json!({"index_patterns": [pattern], "template": {"aliases": {"logs-forged": {}}}})),
        (&target, json!({"index_patterns": ["pii-*"], "template": {"aliases": {format!("{name}-all"): {}}}})),
        (&format!("/_component_template/{name}"), json!({"template": {"aliases": {format!("{name}-all"): {}}}})),
        (&format!("/_template/{name}"), json!({"index_patterns": [pattern], "aliases": {"{index}-forged": {}}})),
    ] {
        refused(&both.put(target).json(&body).send(), "manage:");
    }
}

#[test]
fn scripts_of_an_update_by_query_stay_in_their_index() {
    let gateway = Gateway::start(settings());
    let writer = gateway.with("writer");
    let (name, _guard) = cleared("script");
    writer.put(&format!("/{name}/_doc/1?refresh=true")).json(&json!({"n": 1})).expect(201);
    let run = |source: &str| {
        let body = json!({"query": {"match_all": {}}, "script": {"source": source}});
        writer.post(&format!("/{name}/_update_by_query?refresh=true")).json(&body).send()
    };
    let changed = run("ctx._source.n++");
    assert_eq!((changed.status, &changed.json()["updated"]), (200, &json!(1)), "{}", changed.text());
    let moved = run(&format!("ctx._index = '{name}-moved'"));
    assert!(moved.status >= 400 && moved.text().contains("_index"), "{} {}", moved.status, moved.text());
    Engine::get().admin().get(&format!("/{name}-moved")).expect(404);
}

#[test]
fn shards_are_explained_and_moved_by_those_who_run_the_cluster() {
    let gateway = Gateway::start(settings());
    let index = an_index();
    let shard = json!({"index": index, "shard": 0, "primary": true});
    assert_eq!(
        gateway.with("monitor").post("/_cluster/allocation/explain").json(&shard).expect(200).json()["index"],
        *index
    );
    gateway
        .with("operator")
        .post("/_cluster/reroute?dry_run=true&metric=none")
        .json(&json!({"commands": []}))
        .expect(200);
    refused(
        &gateway.with("monitor").post("/_cluster/reroute?dry_run=true").json(&json!({"commands": []})).send(),
        "admin:cluster",
    );
    refused(&gateway.with("reader").post("/_cluster/allocation/explain").json(&shard).send(), "monitor:cluster");
}

#[test]
fn a_forbid_on_an_index_holds_where_only_the_body_names_it() {
    let forbid = "permit(principal, action, resource);\nforbid(principal, action, resource in Index::\"pii-*\");\n";
    let gateway = Gateway::start(settings().policies(forbid));
    let shard = |index: &str| json!({"index": index, "shard": 0, "primary": true});
    let step = |index: &str| json!({"commands": [{"cancel": {"index": index, "shard": 0, "node": "no-such-node"}}]});
    let operator = gateway.with("operator");
    for (target, body) in [
        ("/_cluster/allocation/explain", shard("pii-customers")),
        ("/_cluster/reroute?dry_run=true", step("pii-customers")),
    ] {
        let answer = operator.post(target).json(&body).expect(403);
        assert!(answer.text().contains("forbids the client `operator`"), "{}", answer.text());
    }
    operator.post("/_cluster/allocation/explain").json(&shard(&an_index())).expect(200);
    let copy = json!({"source": {"index": "pii-customers"}, "dest": {"index": format!("{PREFIX}-forbidden")}});
    gateway.with("copier").post("/_reindex").json(&copy).expect(403);
}

/// What the engine does with a request that the gateway refuses.
enum AtEngine {
    /// Refuses it as a whole.
    Refuses(u16),
    /// Answers 200 and refuses what is outside in it, with this text.
    RefusesItems(&'static str),
    /// Permits it, so that only the gateway stands in the way, for this reason.
    Permits(&'static str),
}

struct Outside {
    client: &'static str,
    method: &'static str,
    target: String,
    body: Value,
    gateway: u16,
    engine: AtEngine,
}

fn outside(index: &str) -> Vec<Outside> {
    use AtEngine::{Permits, Refuses, RefusesItems};
    const ALIAS_NAME: &str = "the engine asks for a right on the index, and for none on a name that nothing has yet";
    let own = format!("{PREFIX}-outside");
    let lookup = json!({"terms": {"email": {"index": "pii-customers", "id": "000001", "path": "email"}}});
    let case = |client, method, target: &str, body, engine| Outside {
        client,
        method,
        target: target.to_owned(),
        body,
        gateway: 403,
        engine,
    };
    let unreadable = |mut case: Outside| {
        case.gateway = 400;
        case
    };
    let reindex = |source: Value, dest: Value, engine| {
        case("copier", "POST", "/_reindex", json!({"source": source, "dest": dest, "max_docs": 1}), engine)
    };
    let aliases = |step: Value, engine| case("manager", "POST", "/_aliases", json!({"actions": [step]}), engine);
    let ranked = |request: Value| json!({"requests": [{"id": "a", "request": request, "ratings": []}], "metric": {"precision": {}}});
    let script = json!({"source": "ctx._index = 'pii-forged'"});
    vec![
        reindex(json!({"index": "pii-customers"}), json!({"index": own}), Refuses(403)),
        reindex(json!({"index": ["logs-app-*", "pii-customers"]}), json!({"index": own}), Refuses(403)),
        reindex(json!({"index": "*"}), json!({"index": own}), Refuses(403)),
        reindex(json!({"index": "mixed"}), json!({"index": own}), Refuses(403)),
        reindex(json!({"index": index, "query": lookup}), json!({"index": own}), Refuses(403)),
        reindex(json!({"index": index}), json!({"index": "pii-forged"}), Refuses(403)),
        reindex(json!({"index": index}), json!({"index": "logs-forged"}), Refuses(403)),
        reindex(json!({"index": index}), json!({"index": ".opendistro_security"}), Refuses(403)),
        unreadable(reindex(
            json!({"index": "x", "remote": {"host": "http://127.0.0.1:9"}}),
            json!({"index": own}),
            Refuses(400),
        )),
        unreadable(case(
            "copier",
            "POST",
            "/_reindex",
            json!({"source": {"index": index}, "dest": {"index": own}, "max_docs": 1, "script": script}),
            Refuses(403),
        )),
        aliases(json!({"add": {"index": "pii-customers", "alias": format!("{PREFIX}-forged")}}), Refuses(403)),
        aliases(json!({"add": {"index": own, "alias": "logs-e2e-forged"}}), Permits(ALIAS_NAME)),
        aliases(
            json!({"add": {"indices": ["app-logs-*", "pii-*"], "alias": format!("{PREFIX}-forged")}}),
            Refuses(403),
        ),
        aliases(json!({"remove": {"index": "*", "alias": "mixed"}}), Refuses(403)),
        aliases(json!({"remove": {"index": "pii-customers", "alias": "mixed"}}), Refuses(403)),
        aliases(json!({"remove_index": {"index": "pii-customers"}}), Refuses(403)),
        case(
            "reader",
            "POST",
            "/_aliases",
            json!({"actions": [{"add": {"index": index, "alias": "logs-forged"}}]}),
            Refuses(403),
        ),
        case(
            "reader",
            "POST",
            "/_mtermvectors",
            json!({"docs": [{"_index": "pii-customers", "_id": "000001"}]}),
            RefusesItems("security_exception"),
        ),
        case(
            "reader",
            "POST",
            "/_mtermvectors",
            json!({"docs": [{"_index": index, "_id": "000001"}, {"_index": "pii-customers", "_id": "000001"}]}),
            RefusesItems("security_exception"),
        ),
        case(
            "reader",
            "POST",
            "/_mtermvectors",
            json!({"ids": ["000001"], "parameters": {"_index": "pii-customers"}}),
            RefusesItems("security_exception"),
        ),
        case(
            "reader",
            "POST",
            "/pii-customers/_mtermvectors",
            json!({"ids": ["000001"]}),
            RefusesItems("security_exception"),
        ),
        case("reader", "POST", "/pii-customers/_rank_eval", ranked(json!({"query": {"match_all": {}}})), Refuses(403)),
        case("reader", "POST", "/_rank_eval", ranked(json!({"query": {"match_all": {}}})), Refuses(403)),
        case(
            "reader",
            "POST",
            "/logs-*/_rank_eval",
            ranked(json!({"query": lookup})),
            RefusesItems("security_exception"),
        ),
        unreadable(case(
            "reader",
            "POST",
            "/logs-*/_rank_eval",
            json!({"templates": [{"id": "t", "template": {"source": {"query": {"match_all": {}}}}}], "requests": [{"id": "a", "template_id": "t", "params": {"x": 1}, "ratings": []}], "metric": {"precision": {}}}),
            Permits("what the template asks for lies inside, and only the gateway cannot read it"),
        )),
        case("writer", "POST", &format!("/{own}/_update_by_query"), json!({"query": lookup}), Refuses(403)),
        case("manager", "POST", &format!("/{own}/_clone/pii-forged"), json!({}), Refuses(403)),
        case(
            "manager",
            "POST",
            &format!("/{own}/_clone/{own}-2"),
            json!({"aliases": {"logs-e2e-forged": {}}}),
            Permits(ALIAS_NAME),
        ),
        case(
            "reader",
            "POST",
            "/_scripts/painless/_execute",
            json!({"script": {"source": "true"}, "context": "filter", "context_setup": {"index": "pii-customers", "document": {}}}),
            Refuses(403),
        ),
        case(
            "operator",
            "POST",
            "/_scripts/painless/_execute",
            json!({"script": {"source": "true"}, "context": "filter", "context_setup": {"index": "pii-customers", "document": {}}}),
            Refuses(403),
        ),
        case("operator", "POST", "/_snapshot/forged/one/_restore", json!({"indices": "pii-*"}), Refuses(404)),
        case("reader", "POST", "/logs-*/_search/template", json!({"source": {"query": lookup}}), Refuses(403)),
    ]
}

#[test]
fn what_is_outside_is_refused_by_the_gateway() {
    let gateway = Gateway::start(settings());
    let mut wrong = Vec::new();
    for case in outside(&an_index()) {
        let answer = send(&gateway.with(case.client), &case);
        let event = gateway.audit_of(answer.request_id());
        if answer.status != case.gateway || event["decision"] != "deny" {
            wrong.push(format!("{} {} {}: {} {}", case.method, case.target, case.body, answer.status, answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{} requests:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_outside_is_refused_by_the_engine_too() {
    let gateway = Gateway::start(settings().engine_decides());
    let engine = Engine::get();
    let (own, _guard) = cleared("outside");
    engine.admin().put(&format!("/{own}")).json(&json!({"settings": {"index.blocks.write": true}})).expect(200);
    let customers = engine.count("pii-customers");
    let aliases = || engine.admin().get("/_alias/mixed").expect(200).json();
    let before = aliases();
    let mut wrong = Vec::new();
    for case in outside(&an_index()) {
        let answer = send(&gateway.with(case.client), &case);
        let text = answer.text();
        let is_so = match case.engine {
            AtEngine::Refuses(status) => answer.status == status,
            AtEngine::RefusesItems(word) => answer.status == 200 && text.contains(word),
            AtEngine::Permits(_) => answer.status == 200,
        };
        if !is_so || text.contains("@example.com") {
            let expected = match case.engine {
                AtEngine::Permits(reason) => format!(" (permitted, since {reason})"),
                _ => String::new(),
            };
            wrong.push(format!("{} {} {}: {} {text}{expected}", case.method, case.target, case.body, answer.status));
        }
    }
    assert!(wrong.is_empty(), "{} requests:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((engine.count("pii-customers"), aliases()), (customers, before));
    for name in ["pii-forged", "logs-forged"] {
        engine.admin().get(&format!("/{name}")).expect(404);
    }
}

fn send(client: &Client, case: &Outside) -> Answer {
    client.request(case.method, &case.target).json(&case.body).send()
}

/// Refused for want of a scope that begins like this.
#[track_caller]
fn refused(answer: &Answer, scope: &str) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains(&format!("scope=\"{scope}")), "{challenge}");
}
