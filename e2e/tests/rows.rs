//! Grants that are held to some rows and fields, on the real engine: every operation that reads shows what it may and
//! nothing else.

#[path = "rows/orders.rs"]
mod orders;

use std::time::Duration;

use e2e::{Answer, Engine, Gateway, Issuer, OnDrop, Settings, until};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};

use self::orders::{
    EMAIL, HOSTILE, PREFIX, SECRET, held, orders, orders_in, past_the_filter, reading, run, tenant, total,
};

/// Where tests make aliases and data streams. Until a gateway knows of them, an engine before 3.0 lets go of the filters of scopes
/// that match their names, and so of those of other tests.
const ALIASED: &str = "e2e-aliased";

#[test]
fn every_operation_that_reads_shows_the_rows_of_the_grant_and_no_others() {
    let (index, _remove) = orders("reading");
    let settings = Settings::new()
        .client_with(
            held(
                "acme",
                &[json!({"scope": format!("read:{PREFIX}-*"), "rows": {"term": {"tenant": "${label.tenant}"}}})],
            )
            .with("labels", json!({"tenant": "acme"})),
        )
        .client("all", &[&format!("read:{PREFIX}-*")]);
    let gateway = Gateway::start(settings);
    let (acme, all) = (gateway.with("acme"), gateway.with("all"));
    for (method, target, body, expected) in reading(&index) {
        let answer = run(&acme, method, &target, &body);
        let text = format!("{} {}", answer.status, answer.text());
        assert!(text.contains(expected), "{method} {target} {body}: `{expected}` is not in {text}");
        for others in [SECRET, "\"globex\"", "\"_id\":\"h0\""] {
            // What was asked for may be said again.
            let asked = body.to_string().contains(others) || target.contains(others);
            assert!(asked || !text.contains(others), "{method} {target} {body} shows {others}: {text}");
        }
    }
    // The same index has more for others: otherwise this would show nothing.
    assert_eq!(total(&all.get(&format!("/{index}/_search")).expect(200)), 22);
    assert_eq!(total(&acme.get(&format!("/{index}/_search")).expect(200)), 5);

    // Scroll and point in time.
    let first = acme.post(&format!("/{index}/_search?scroll=1m")).json(&json!({"size": 2})).expect(200).json();
    let mut seen = first["hits"]["hits"].as_array().expect("hits").len();
    let mut id = first["_scroll_id"].clone();
    loop {
        let next = acme.post("/_search/scroll").json(&json!({"scroll": "1m", "scroll_id": id})).expect(200).json();
        let hits = next["hits"]["hits"].as_array().expect("hits").clone();
        if hits.is_empty() {
            break;
        }
        assert!(hits.iter().all(|hit| hit["_source"]["tenant"] == "acme"), "{hits:?}");
        seen += hits.len();
        id = next["_scroll_id"].clone();
    }
    assert_eq!(seen, 5);
    acme.delete("/_search/scroll").json(&json!({"scroll_id": id})).expect(200);
    let pit = acme.post(&format!("/{index}/_search/point_in_time?keep_alive=1m")).expect(200).json();
    let body = json!({"pit": {"id": pit["pit_id"]}, "size": 100});
    assert_eq!(total(&acme.post("/_search").json(&body).expect(200)), 5);
    acme.delete("/_search/point_in_time").json(&json!({"pit_id": [pit["pit_id"]]})).expect(200);
    // Nothing else.
    acme.put(&format!("/{index}/_doc/new")).json(&json!({"tenant": "acme"})).expect(403);
    acme.post(&format!("/{index}/_update/a0")).json(&json!({"doc": {"tenant": "globex"}})).expect(403);
    acme.get("/logs-*/_search").expect(403);
}

#[test]
fn what_the_engine_does_not_hold_to_a_filter_is_refused() {
    let (index, _remove) = orders("past");
    // A line of an order of acme that is another tenant's, as a join makes it possible.
    let line = json!({"tenant": "globex", "note": format!("{SECRET} line"), "rel": {"name": "line", "parent": "a0"}});
    let admin = Engine::get().admin();
    admin.put(&format!("/{index}/_doc/l0?routing=a0&refresh=true")).json(&line).expect(201);
    let order = json!({"tenant": "acme", "note": "acmenote", "rel": "order"});
    let answer = admin.put(&format!("/{index}/_doc/a0?routing=a0&refresh=true")).json(&order).send();
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
    let grant = json!({"scope": format!("read:{PREFIX}-*"), "rows": tenant("acme")});
    let settings = || {
        Settings::new()
            .client_with(held("acme", std::slice::from_ref(&grant)))
            .client("all", &[&format!("read:{PREFIX}-*")])
    };
    let (gateway, engine) = (Gateway::start(settings()), Gateway::start(settings().engine_decides()));
    let mut shown = 0;
    for (method, target, body) in past_the_filter(&index) {
        let refused = run(&gateway.with("acme"), method, &target, &body);
        assert_eq!(refused.status, 403, "{method} {target} {body}: {}", refused.text());
        assert!(refused.text().contains("rows and fields of this token"), "{}", refused.text());
        assert_eq!(gateway.audit_of(refused.request_id())["decision"], "deny");
        // Without a filter there is nothing to get past.
        let allowed = run(&gateway.with("all"), method, &target, &body);
        assert_eq!(allowed.status, 200, "{method} {target} {body}: {}", allowed.text());
        shown += usize::from(run(&engine.with("acme"), method, &target, &body).text().contains(SECRET));
    }
    assert!(shown >= 7, "the engine holds more to the filter than it did: {shown}");
}

#[test]
fn hostile_values_are_values() {
    let (index, _remove) = orders("hostile");
    let mut settings = Settings::new();
    // The file of the configuration is YAML, which takes no control characters; those come in the claims of a provider.
    let writable = || {
        HOSTILE.iter().enumerate().filter(|(_, value)| !value.chars().any(|c| c.is_control() && c != '\n' && c != '\t'))
    };
    for (n, value) in writable() {
        settings = settings.client_with(
            held(
                &format!("h{n}"),
                &[json!({"scope": format!("read:{PREFIX}-*"), "rows": {"term": {"tenant": "${label.tenant}"}}})],
            )
            .with("labels", json!({"tenant": value})),
        );
    }
    let gateway = Gateway::start(settings);
    for (n, _) in writable() {
        let found = gateway.with(&format!("h{n}")).get(&format!("/{index}/_search?size=100")).expect(200);
        let ids: Vec<Value> =
            found.json()["hits"]["hits"].as_array().expect("hits").iter().map(|hit| hit["_id"].clone()).collect();
        assert_eq!(ids, [json!(format!("h{n}"))], "{}", HOSTILE[n]);
    }
}

#[test]
fn every_kind_of_clause_is_enforced() {
    let (index, _remove) = orders("clauses");
    let many: Vec<String> = (0..150).map(|n| format!("tenant-{n}")).chain(["acme".to_owned()]).collect();
    let clauses = [
        (json!({"terms": {"tenant": ["acme", "globex"]}}), 10),
        (json!({"terms": {"tenant": many}}), 5),
        (json!({"range": {"amount": {"gte": 3, "lt": 102}}}), 4),
        (json!({"exists": {"field": "nothing"}}), 0),
        (json!({"exists": {"field": "card.number"}}), 22),
        (json!({"bool": {"must_not": [tenant("acme"), tenant("globex")]}}), 12),
        (
            json!({"bool": {"filter": [{"range": {"amount": {"gte": 1}}}], "should": [tenant("acme"), tenant("globex")]}}),
            9,
        ),
        (json!({"term": {"amount": 4}}), 1),
    ];
    let mut settings = Settings::new();
    for (n, (rows, _)) in clauses.iter().enumerate() {
        settings = settings
            .client_with(held(&format!("c{n}"), &[json!({"scope": format!("search:{PREFIX}-*"), "rows": rows})]));
    }
    let gateway = Gateway::start(settings);
    for (n, (rows, expected)) in clauses.iter().enumerate() {
        let client = gateway.with(&format!("c{n}"));
        assert_eq!(total(&client.get(&format!("/{index}/_search")).expect(200)), *expected, "{rows}");
        // The scope says search, and the engine knows it too.
        client.get(&format!("/{index}/_doc/a0")).expect(403);
    }
    let engine = Gateway::start(
        Settings::new()
            .client_with(held("c", &[json!({"scope": format!("search:{PREFIX}-*"), "rows": tenant("acme")})]))
            .engine_decides(),
    );
    assert_eq!(total(&engine.with("c").get(&format!("/{index}/_search")).expect(200)), 5);
    for target in [format!("/{index}/_doc/a0"), "/logs-*/_search".to_owned(), "/_search".to_owned()] {
        engine.with("c").get(&target).expect(403);
    }
}

#[test]
fn field_sets_hide_fields_alone_and_together_with_rows() {
    let (index, _remove) = orders("fields");
    let scope = format!("read:{PREFIX}-*");
    let gateway = Gateway::start(
        Settings::new()
            .client_with(held("slim", &[json!({"scope": scope, "fields": "slim"})]))
            .client_with(held("bare", &[json!({"scope": scope, "fields": "bare"})]))
            .client_with(held("both", &[json!({"scope": scope, "fields": "slim", "rows": tenant("acme")})])),
    );
    for (client, documents, fields) in [
        ("slim", 22, &["amount", "note", "tenant", "tip"][..]),
        ("bare", 22, &["tenant"]),
        ("both", 5, &["amount", "note", "tenant", "tip"]),
    ] {
        let client = gateway.with(client);
        let answer = client.get(&format!("/{index}/_search?size=100")).expect(200);
        assert_eq!(total(&answer), documents);
        for hit in answer.json()["hits"]["hits"].as_array().expect("hits") {
            let mut seen: Vec<&String> = hit["_source"].as_object().expect("a document").keys().collect();
            seen.sort();
            let seen: Vec<&str> = seen
                .into_iter()
                .map(String::as_str)
                .filter(|field| *field != "card" || !hit["_source"]["card"].as_object().expect("an object").is_empty())
                .collect();
            assert_eq!(seen, fields, "{hit}");
        }
        for body in [
            json!({"query": {"term": {"email": EMAIL}}}),
            json!({"query": {"prefix": {"card.number": "4"}}}),
            json!({"query": {"exists": {"field": "email"}}}),
        ] {
            assert_eq!(total(&client.post(&format!("/{index}/_search")).json(&body).expect(200)), 0, "{body}");
        }
        for body in [
            json!({"size": 0, "aggs": {"e": {"terms": {"field": "email"}}}}),
            json!({"docvalue_fields": ["email", "card.number"], "stored_fields": "*"}),
            json!({"sort": [{"email": {"order": "asc", "unmapped_type": "keyword"}}], "fields": ["*"]}),
            json!({"size": 0, "aggs": {"m": {"missing": {"field": "email"}}, "c": {"cardinality": {"field": "card.number"}}}}),
            json!({"suggest": {"s": {"text": "somebody@example.co", "term": {"field": "email", "suggest_mode": "always"}}}}),
            json!({"collapse": {"field": "email"}}),
            json!({"query": {"match": {"note": "common"}}, "highlight": {"fields": {"*": {}}, "require_field_match": false}}),
        ] {
            let answer = client.post(&format!("/{index}/_search")).json(&body).send();
            assert!(!answer.text().contains(EMAIL) && !answer.text().contains("4111"), "{body}: {}", answer.text());
        }
        // Scripts see hidden fields in 2.19.4.
        let value = "doc.containsKey('email') && doc['email'].size() > 0 ? doc['email'].value : 'none'";
        for body in [
            json!({"script_fields": {"e": {"script": value}}}),
            json!({"sort": [{"_script": {"type": "string", "script": value}}]}),
            json!({"size": 0, "aggs": {"e": {"terms": {"script": value}}}}),
            json!({"query": {"script": {"script": "doc['email'].value.length() > 3"}}}),
        ] {
            let refused = client.post(&format!("/{index}/_search")).json(&body).expect(403);
            assert!(refused.text().contains("rows and fields of this token"), "{}", refused.text());
        }
        for target in [
            format!("/{index}/_doc/a0"),
            format!("/{index}/_source/a0"),
            format!("/{index}/_termvectors/a0?fields=email"),
        ] {
            let answer = client.get(&target).send();
            assert!(!answer.text().contains(EMAIL) && !answer.text().contains("4111"), "{target}: {}", answer.text());
        }
        assert!(!client.get(&format!("/{index}/_mapping")).expect(200).text().contains("email"));
        assert!(!client.get(&format!("/{index}/_field_caps?fields=*")).expect(200).text().contains("email"));
    }
}

#[test]
fn different_indices_have_different_rows_and_a_narrower_token_has_the_same() {
    let (one, _remove) = orders("one");
    let (two, _remove_too) = orders("two");
    let gateway = Gateway::start(
        Settings::new().client_with(
            held(
                "mixed",
                &[
                    json!({"scope": format!("read:{one}*"), "rows": tenant("acme")}),
                    json!({"scope": format!("search:{two}*"), "rows": tenant("globex")}),
                ],
            )
            .with("scopes", json!(["read:logs-*"])),
        ),
    );
    let mixed = gateway.with("mixed");
    assert_eq!(total(&mixed.get(&format!("/{one}/_search")).expect(200)), 5);
    let both = mixed.get(&format!("/{one},{two}/_search?size=100")).expect(200);
    let tenants = |answer: &Answer, index: &str| -> Vec<String> {
        let hits = answer.json()["hits"]["hits"].as_array().expect("hits").clone();
        let mut tenants: Vec<String> = hits
            .iter()
            .filter(|hit| hit["_index"] == index)
            .map(|hit| hit["_source"]["tenant"].as_str().expect("a tenant").to_owned())
            .collect();
        tenants.dedup();
        tenants
    };
    assert_eq!((tenants(&both, &one), tenants(&both, &two)), (vec!["acme".to_owned()], vec!["globex".to_owned()]));
    assert!(total(&mixed.get("/logs-*/_search").expect(200)) > 0);
    let narrow = gateway.http().with_token(&gateway.token_with("mixed", &format!("search:{one}")));
    assert_eq!(total(&narrow.get(&format!("/{one}/_search")).expect(200)), 5);
    narrow.get(&format!("/{two}/_search")).expect(403);
    let refused = gateway.ask_for_token("mixed", &[("scope", &format!("search:{one},{two}"))]);
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_scope")), "{}", refused.text());
    assert!(refused.text().contains("different rows or fields"), "{}", refused.text());
}

#[test]
fn the_other_names_of_an_index_do_not_lead_past_its_rows() {
    let (index, _remove) = orders_in(format!("{ALIASED}-named"));
    let admin = Engine::get().admin();
    let (inside, outside) = (format!("{ALIASED}-named-alias"), "e2e-other-rows-alias");
    for alias in [inside.as_str(), outside] {
        admin.put(&format!("/{index}/_alias/{alias}")).expect(200);
    }
    let grant = json!({"scope": format!("read:{ALIASED}-named*"), "rows": tenant("acme")});
    let gateway = Gateway::start(
        Settings::new()
            .client_with(held("acme", &[grant]).with("scopes", json!(["read:e2e-other-*", "write:e2e-others-*"]))),
    );
    let acme = gateway.with("acme");
    for name in [index.as_str(), inside.as_str()] {
        assert_eq!(total(&acme.get(&format!("/{name}/_search")).expect(200)), 5, "{name}");
    }
    // Inside an unfiltered scope by its name, and still no way round: filtered, or refused.
    for target in [outside, "e2e-other-*"] {
        let answer = acme.get(&format!("/{target}/_search?size=100")).send();
        assert!(matches!(answer.status, 200 | 403) && !answer.text().contains(SECRET), "{target}: {}", answer.text());
        if answer.status == 200 {
            assert_eq!(total(&answer), 5, "{target}");
        }
    }
}

/// As soon as a pattern of a role matches an alias or a data stream, 2.19 holds nothing but the indices behind it to the role's filter.
#[test]
fn an_alias_or_a_data_stream_inside_the_scope_takes_nothing_from_the_filter() {
    let (index, _remove) = orders_in(format!("{ALIASED}-beside"));
    let (other, _remove_other) = orders_in(format!("{ALIASED}-beside-other"));
    let admin = Engine::get().admin();
    let stream = format!("{ALIASED}-beside-stream");
    let template = format!("/_index_template/{stream}");
    let clear = || {
        let _ = admin.delete(&format!("/_data_stream/{stream}")).send();
        let _ = admin.delete(&template).send();
    };
    clear();
    let _remove_stream = OnDrop(clear);
    let scope = format!("read:{ALIASED}-beside*");
    let gateway = Gateway::start(
        Settings::new()
            .client_with(held("rows", &[json!({"scope": scope, "rows": tenant("acme")})]))
            .client_with(held("fields", &[json!({"scope": scope, "fields": "slim"})])),
    );
    let (rows, fields) = (gateway.with("rows"), gateway.with("fields"));
    let holds = |name: &str| {
        let answer = rows.get(&format!("/{name}/_search?size=100")).expect(200);
        assert_eq!(total(&answer), 5, "{name}: {}", answer.text());
        let answer = fields.get(&format!("/{name}/_search?size=100")).expect(200);
        assert_eq!(total(&answer), 22, "{name}");
        assert!(!answer.text().contains(EMAIL), "{name}: {}", answer.text());
    };
    holds(&index);
    // To another index inside, to one outside, and a data stream.
    let alias = format!("{ALIASED}-beside-alias");
    admin.put(&format!("/{other}/_alias/{alias}")).expect(200);
    let outside = Engine::get().log_index();
    admin.put(&format!("/{outside}/_alias/{alias}-out")).expect(200);
    let _remove_alias = OnDrop(|| {
        let _ = admin.delete(&format!("/{outside}/_alias/{alias}-out")).send();
    });
    let body = json!({"index_patterns": [stream], "data_stream": {}, "priority": 500,
        "template": {"settings": {"number_of_replicas": 0}, "mappings": {"properties": {"tenant": {"type": "keyword"}}}}});
    admin.put(&template).json(&body).expect(200);
    for tenant in ["acme", "globex"] {
        let event = json!({"@timestamp": "2026-11-22T12:00:00Z", "tenant": tenant, "email": EMAIL});
        admin.post(&format!("/{stream}/_doc?refresh=true")).json(&event).expect(201);
    }
    let known = |name: &str| format!("names of `{name}` to be known");
    until(&known(&stream), Duration::from_secs(20), || {
        (rows.get(&format!("/{stream}/_search")).send().status == 200).then_some(())
    });
    until(&known(&alias), Duration::from_secs(20), || {
        (rows.get(&format!("/{alias}-out/_search")).send().status == 403).then_some(())
    });
    for name in [&index, &other, &alias] {
        holds(name);
    }
    // By wildcard, over indices, alias and data stream at once: not while one of the names leads outside.
    let everything = format!("/{ALIASED}-beside*/_search?size=100");
    for client in [&rows, &fields] {
        client.get(&everything).expect(403);
        client.get(&format!("/{ALIASED}-beside*,-{alias}-out/_search?size=100")).expect(403);
    }
    admin.delete(&format!("/{outside}/_alias/{alias}-out")).expect(200);
    let answer = until("the alias that led outside to be forgotten", Duration::from_secs(20), || {
        let answer = rows.get(&everything).send();
        (answer.status == 200).then_some(answer)
    });
    assert_eq!(total(&answer), 11, "{}", answer.text());
    let answer = fields.get(&everything).expect(200);
    assert!(total(&answer) == 46 && !answer.text().contains(EMAIL), "{}", answer.text());
    let streamed = rows.get(&format!("/{stream}/_search")).expect(200);
    assert_eq!(total(&streamed), 1, "{}", streamed.text());
    let streamed = fields.get(&format!("/{stream}/_search")).expect(200);
    assert!(total(&streamed) == 2 && !streamed.text().contains(EMAIL), "{}", streamed.text());
    // What is behind a data stream changes.
    admin.post(&format!("/{stream}/_rollover")).expect(200);
    let event = json!({"@timestamp": "2026-11-22T12:00:01Z", "tenant": "acme", "email": EMAIL});
    admin.post(&format!("/{stream}/_doc?refresh=true")).json(&event).expect(201);
    until("the new index of the data stream to be known", Duration::from_secs(20), || {
        let answer = rows.get(&format!("/{stream}/_search")).send();
        (answer.status == 200 && total(&answer) == 2).then_some(())
    });
    holds(&index);
}

#[test]
fn claims_of_a_provider_fill_the_filter() {
    let (index, _remove) = orders("claims");
    let key = SigningKey::generate(Algorithm::Es256).expect("a key");
    let issuer = Issuer::start(&[&key]);
    let mut provider = issuer.settings("outside");
    provider["claims"] = json!({"roles": "roles", "subject": "sub"});
    provider["scope_mapping"] = json!({"roles": {
        "tenant": [{"scope": format!("read:{PREFIX}-*"), "rows": {"terms": {"tenant": "${claim.org.names}"}}}],
        "everything": [format!("read:{PREFIX}-*")],
    }});
    let gateway = Gateway::start(Settings::new().client("x", &["read:x"]).provider(provider));
    let with = |roles: Value, org: Value| {
        let token = issuer.claims(&key).with("roles", roles).with("org", org).sign(&key);
        gateway.http().with_token(&token).get(&format!("/{index}/_search")).send()
    };
    assert_eq!(total(&with(json!(["tenant"]), json!({"names": ["acme"]}))), 5);
    assert_eq!(total(&with(json!(["tenant"]), json!({"names": "globex"}))), 5);
    assert_eq!(total(&with(json!(["tenant"]), json!({"names": ["acme", "globex", HOSTILE[1]]}))), 11);
    assert_eq!(total(&with(json!(["tenant"]), json!({"names": [HOSTILE[2], "*"]}))), 2);
    for value in HOSTILE {
        assert_eq!(total(&with(json!(["tenant"]), json!({"names": [value]}))), 1, "{value:?}");
    }
    assert_eq!(total(&with(json!(["everything"]), json!({}))), 22);
    for (roles, org, expected) in [
        (json!(["tenant"]), json!({}), "claim.org.names"),
        (json!(["tenant"]), json!({"names": null}), "claim.org.names"),
        (json!(["tenant"]), json!({"names": [["acme"]]}), "claim.org.names"),
        (json!(["tenant"]), json!({"names": vec!["x".repeat(100); 40]}), "row filter has"),
        (json!(["tenant", "everything"]), json!({"names": ["acme"]}), "held to rows or fields"),
    ] {
        let refused = with(roles, org);
        assert_eq!(refused.status, 401, "{}", refused.text());
        assert!(refused.text().contains(expected), "{expected}: {}", refused.text());
    }
}

#[test]
fn what_cannot_be_enforced_is_refused_when_the_configuration_is_read() {
    let gateway = Gateway::start(Settings::new().client("x", &["read:x"]));
    let problem = |client: Value| {
        gateway.change_config(|config| config["clients"][0] = client);
        let run = gateway.check_config();
        assert!(!run.succeeded, "{run:?}");
        format!("{}{}", run.stdout, run.stderr)
    };
    let secret_hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
    let five: Vec<Value> =
        (0..5).map(|n| json!({"scope": format!("read:o-{n}"), "rows": tenant(&n.to_string())})).collect();
    let wide: Vec<Value> =
        (0..4).map(|n| json!({"scope": format!("read:o-{n}"), "rows": tenant(&"y".repeat(2_000 + n))})).collect();
    for (scopes, grants, expected) in [
        (json!(["write:orders-*"]), json!([{"scope": "read:orders-*", "rows": tenant("a")}]), "write:orders-*"),
        (json!([]), json!([{"scope": "write:orders-*", "rows": tenant("a")}]), "only `read` and `search`"),
        (json!([]), json!([{"scope": "read:orders-*", "fields": "unknown"}]), "there is no `unknown`"),
        (json!([]), json!([{"scope": "read:orders-*", "rows": {"script": {"source": "true"}}}]), "script"),
        (json!([]), json!(five), "5 different row filters"),
        (json!([]), json!([{"scope": "read:o", "rows": tenant(&"x".repeat(4_000))}]), "row filter has"),
        (json!([]), json!(wide), "row filters are too many"),
    ] {
        let shown = problem(json!({"id": "x", "secret_hash": secret_hash, "scopes": scopes, "grants": grants}));
        assert!(shown.contains(expected), "{expected} is not in {shown}");
    }
}
