//! Aliases that lead out of a scope, on the real engine: whoever may add an alias cannot widen a token.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use e2e::{Answer, Engine, Gateway, OnDrop, Settings, until};
use serde_json::json;

/// The index nobody here may read, and the alias that would let them.
const OUTSIDE: &str = "e2e-aliases-outside";
const SNEAKY: &str = "logs-sneaky";

/// One test at a time, and no other beside them: the alias concerns everybody who reads `logs-*`.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _ = Engine::get_alone();
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The index with its secret, as long as the result lives.
fn outside() -> OnDrop<impl FnMut()> {
    let remove = || Engine::get().delete_index(OUTSIDE);
    remove();
    let secret = json!({"secret": "of others"});
    Engine::get().admin().put(&format!("/{OUTSIDE}/_doc/1?refresh=true")).json(&secret).expect(201);
    OnDrop(remove)
}

fn make_alias_behind_the_gateways_back() {
    Engine::get().admin().put(&format!("/{OUTSIDE}/_alias/{SNEAKY}")).expect(200);
}

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("meant", &[&format!("read:{SNEAKY}")])
}

fn refused_for_the_alias(answer: &Answer) {
    refused_for_the_alias_of(OUTSIDE, answer);
}

fn refused_for_the_alias_of(index: &str, answer: &Answer) {
    assert_eq!(answer.status, 403, "{}", answer.text());
    for word in [SNEAKY, index, "read:logs-*"] {
        assert!(answer.text().contains(word), "{word} is not in {}", answer.text());
    }
    assert!(!answer.text().contains("of others"), "{}", answer.text());
}

#[test]
fn an_alias_made_behind_the_gateways_back_is_noticed_and_refused_by_both() {
    let _alone = alone();
    let _outside = outside();
    let gateway = Gateway::start(settings().engine_option("alias_refresh", json!("1s")));
    let reader = gateway.with("reader");
    reader.get("/logs-*/_search").expect(200);
    make_alias_behind_the_gateways_back();
    until("the alias to be noticed", Duration::from_secs(20), || {
        (reader.get(&format!("/{SNEAKY}/_search")).send().status == 403).then_some(())
    });
    for target in [SNEAKY, "logs-*", "logs-s*", "logs-app-*,logs-sneaky", "%3Clogs-sneaky%3E"] {
        refused_for_the_alias(&reader.get(&format!("/{target}/_search")).send());
    }
    refused_for_the_alias(&reader.get(&format!("/{SNEAKY}/_doc/1")).send());
    refused_for_the_alias(&reader.get("/logs-*/_mapping").send());
    let lines = [json!({"index": SNEAKY}), json!({})];
    refused_for_the_alias(&reader.post("/_msearch").lines(&lines).send());
    reader.get(&format!("/{OUTSIDE}/_search")).expect(403);
    for target in ["logs-app-*", "logs-inside", "logs-app-*,logs-web-*"] {
        reader.get(&format!("/{target}/_search")).expect(200);
    }
    // Who was given the alias by its name has it.
    let answer = gateway.with("meant").get(&format!("/{SNEAKY}/_search")).expect(200);
    assert_eq!(answer.json()["hits"]["total"]["value"], 1);

    let engine = Gateway::start(settings().engine_decides());
    let reader = engine.with("reader");
    for target in [SNEAKY, OUTSIDE, "logs-*", "logs-app-*,logs-sneaky"] {
        let answer = reader.get(&format!("/{target}/_search")).send();
        assert_eq!(answer.status, 403, "{target}: {}", answer.text());
        assert!(answer.text().contains("no permissions for [indices:"), "{target}: {}", answer.text());
    }
    for target in ["logs-app-*", "logs-inside", "logs-app-*,logs-web-*"] {
        reader.get(&format!("/{target}/_search")).expect(200);
    }
    engine.with("meant").get(&format!("/{SNEAKY}/_search")).expect(200);

    let run = gateway.engine_command(&["check"]);
    assert!(run.succeeded, "a warning is no failure: {run:?}");
    let is_warned = |line: &&str| line.starts_with("warning") && line.contains(" aliases: ");
    let warnings: Vec<&str> = run.stdout.lines().filter(is_warned).collect();
    assert_eq!(warnings.len(), 1, "{run:?}");
    for word in ["`logs-sneaky`", "`reader`", "`e2e-aliases-outside`", "are refused"] {
        assert!(warnings[0].contains(word), "{word} is not in {}", warnings[0]);
    }
    until("the log to name it", Duration::from_secs(10), || gateway.log().contains("logs-sneaky").then_some(()));
}

#[test]
fn an_alias_made_through_the_gateway_is_known_when_its_maker_is_told() {
    let _alone = alone();
    let _outside = outside();
    let gateway = Gateway::start(
        settings()
            .client("manager", &["manage:e2e-aliases-*", "manage:logs-*"])
            .engine_option("alias_refresh", json!("60s")),
    );
    let (reader, manager) = (gateway.with("reader"), gateway.with("manager"));
    for _ in 0..5 {
        reader.get("/logs-*/_search").expect(200);
        manager.put(&format!("/{OUTSIDE}/_alias/{SNEAKY}")).expect(200);
        refused_for_the_alias(&reader.get(&format!("/{SNEAKY}/_search")).send());
        refused_for_the_alias(&reader.get("/logs-*/_search").send());
        manager.delete(&format!("/{OUTSIDE}/_alias/{SNEAKY}")).expect(200);
    }
    reader.get("/logs-*/_search").expect(200);
}

/// Indices that a template gives the alias.
const MADE: &str = "e2e-aliases-made";

/// A gateway that looks of itself once a minute only.
fn seldom() -> Gateway {
    Gateway::start(
        settings()
            .client("manager", &["manage:cluster", "manage:e2e-aliases-*", "manage:logs-*"])
            .client("writer", &["write:e2e-aliases-*", "read:e2e-aliases-*"])
            .engine_option("alias_refresh", json!("60s")),
    )
}

#[test]
fn an_alias_made_by_a_list_of_changes_or_with_its_index_is_known_on_the_next_request() {
    let _alone = alone();
    let _outside = outside();
    let made = format!("{MADE}-with");
    let _remove = OnDrop(|| Engine::get().delete_index(&made));
    let gateway = seldom();
    let (reader, manager) = (gateway.with("reader"), gateway.with("manager"));
    let change = |what: &str| {
        let step = json!({"index": OUTSIDE, "alias": SNEAKY});
        manager.post("/_aliases").json(&json!({"actions": [{what: step}]})).expect(200);
    };
    for _ in 0..3 {
        reader.get("/logs-*/_search").expect(200);
        change("add");
        refused_for_the_alias(&reader.get(&format!("/{SNEAKY}/_search")).send());
        change("remove");
        reader.get("/logs-*/_search").expect(200);
        manager.put(&format!("/{made}")).json(&json!({"aliases": {SNEAKY: {}}})).expect(200);
        refused_for_the_alias_of(&made, &reader.get("/logs-*/_search").send());
        manager.delete(&format!("/{made}")).expect(200);
    }
}

#[test]
fn an_alias_that_a_template_gives_to_what_a_write_makes_is_known_on_the_next_request() {
    let _alone = alone();
    let _outside = outside();
    let admin = Engine::get().admin();
    let clear = || {
        let _ = admin.delete(&format!("/{MADE}*?ignore_unavailable=true")).send();
        for kind in ["_index_template", "_template"] {
            let _ = admin.delete(&format!("/{kind}/{MADE}")).send();
        }
    };
    clear();
    let _clear = OnDrop(clear);
    let gateway = seldom();
    let (reader, manager, writer) = (gateway.with("reader"), gateway.with("manager"), gateway.with("writer"));
    let gives = json!({"settings": {"number_of_replicas": 0}, "aliases": {SNEAKY: {}}});
    let patterns = json!([format!("{MADE}-*")]);
    let mut legacy = gives.clone();
    legacy["index_patterns"] = patterns.clone();
    let ways = [
        (&manager, "_index_template", json!({"index_patterns": patterns, "template": gives})),
        (&manager, "_template", legacy.clone()),
        // Behind the gateway's back.
        (admin, "_template", legacy),
    ];
    for (number, (by, kind, template)) in ways.into_iter().enumerate() {
        // What is asked for by date math is not looked for twice within a second.
        let dated = format!("dated{number}");
        let template_path = format!("/{kind}/{MADE}");
        by.put(&template_path).json(&template).expect(200);
        // A template alone leads nowhere.
        reader.get("/logs-*/_search").expect(200);
        let document = json!({"a": 1});
        let target = |end: &str| format!("/{MADE}-{end}");
        let copy = json!({"source": {"index": OUTSIDE}, "dest": {"index": format!("{MADE}-copy")}});
        let lines = [
            json!({"index": {"_index": OUTSIDE}}),
            document.clone(),
            json!({"create": {"_index": format!("{MADE}-bulk")}}),
            document.clone(),
        ];
        let writes: [(&str, &dyn Fn() -> Answer); 6] = [
            ("doc", &|| writer.post(&target("doc/_doc")).json(&document).expect(201)),
            ("create", &|| writer.put(&target("create/_create/1")).json(&document).expect(201)),
            ("update", &|| {
                let upsert = json!({"doc": document, "doc_as_upsert": true});
                writer.post(&target("update/_update/1")).json(&upsert).expect(201)
            }),
            ("bulk", &|| writer.post("/_bulk").lines(&lines).expect(200)),
            ("copy", &|| writer.post("/_reindex").json(&copy).expect(200)),
            (&dated, &|| writer.post(&format!("/%3C{MADE}-{dated}-%7Bnow%2Fd%7D%3E/_doc")).json(&document).expect(201)),
        ];
        for (name, write) in writes {
            write();
            let index = format!("{MADE}-{name}");
            for reached in [SNEAKY, "logs-*"] {
                refused_for_the_alias_of(&index, &reader.get(&format!("/{reached}/_search")).send());
            }
            // What is gone is forgotten.
            manager.delete(&format!("/{index}*")).expect(200);
            reader.get("/logs-*/_search").expect(200);
        }
        by.delete(&template_path).expect(200);
    }
}

#[test]
fn strictness_is_a_choice() {
    let _alone = alone();
    let _outside = outside();
    make_alias_behind_the_gateways_back();
    let hits = |gateway: &Gateway| {
        let answer = gateway.with("reader").get(&format!("/{SNEAKY}/_search")).expect(200);
        answer.json()["hits"]["total"]["value"].clone()
    };
    let warning = Gateway::start(settings().engine_option("strict_aliases", json!("warn")));
    assert_eq!(hits(&warning), 1);
    assert!(warning.log().contains("logs-sneaky"), "{}", warning.log());
    let run = warning.engine_command(&["check"]);
    assert!(run.stdout.contains("strict_aliases: enforce"), "{run:?}");
    let off = Gateway::start(settings().engine_option("strict_aliases", json!("off")));
    assert_eq!(hits(&off), 1);
    assert!(off.log().contains("nobody looks at aliases"), "{}", off.log());
}
