//! The official clients, unmodified, through the gateway with everything on: tokens, TLS, gzip, the engine's aliases known, rows and
//! fields, policies, rates that are told, and partial access.
//! `e2e/clients/README.md` says what each does.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::Duration;

use e2e::{ClientSettings, Engine, Gateway, Language, OnDrop, Relay, Settings, report, until};
use serde_json::{Value, json};

const DOCUMENTS: u64 = 3_000;
const READ: &str = "logs-app-*";
const OUTSIDE: &str = "pii-customers";

/// The rows of what is read: most of them.
fn rows() -> Value {
    json!({"bool": {"must_not": [{"term": {"level": "DEBUG"}}]}})
}

/// What differs between the clients.
struct Client {
    language: Language,
    /// It compresses what it sends.
    compresses: bool,
    /// Its exceptions tell the fields of an answer.
    tells_retry_after: bool,
    /// It chooses HTTP/2 where it is offered.
    speaks_http2: bool,
}

#[test]
fn python_asynchronous() {
    scenario(&Client { language: Language::Python, compresses: true, tells_retry_after: false, speaks_http2: false });
}

#[test]
fn javascript() {
    scenario(&Client {
        language: Language::JavaScript,
        compresses: true,
        tells_retry_after: true,
        speaks_http2: false,
    });
}

#[test]
fn go() {
    scenario(&Client { language: Language::Go, compresses: true, tells_retry_after: false, speaks_http2: true });
}

#[test]
fn java() {
    scenario(&Client { language: Language::Java, compresses: true, tells_retry_after: false, speaks_http2: true });
}

#[test]
fn rust() {
    scenario(&Client { language: Language::Rust, compresses: false, tells_retry_after: true, speaks_http2: false });
}

/// A client that is told to look for nodes is told no, by a sentence, and goes on with the address it was given.
#[test]
fn looking_for_nodes_does_not_lead_round_the_gateway() {
    let engine = Engine::get();
    let gateway = Gateway::start(Settings::new().client("stock", &["read:logs-app-*", "monitor:cluster"]));
    let reason = "a client that looks for nodes would go round the gateway; switch sniffing off in the client";
    for language in [Language::Python, Language::JavaScript, Language::Go] {
        let found = run(language, &gateway, "none", true);
        println!("{language:?}: {found}");
        assert!(found["sniffed"]["text"].as_str().is_some_and(|text| text.contains(reason)), "{language:?}: {found}");
        if language != Language::Python {
            // Python's client gives up where it cannot look for nodes.
            assert_eq!(found["after"], json!(engine.version), "{language:?}: {found}");
        }
    }
    let events = gateway.audit();
    let asked = events.iter().filter(|event| event["operation"] == "nodes.info");
    assert!(asked.clone().count() >= 3 && asked.clone().all(|event| event["decision"] == "deny"), "{events:?}");
    // Whoever may monitor the cluster sees what nodes are, and what they do.
    gateway.with("stock").get("/_nodes").expect(200);
    gateway.with("stock").get("/_nodes/_local/os,jvm").expect(200);
}

fn scenario(client: &Client) {
    let engine = Engine::get();
    let index = format!("app-logs-e2e-stock-{}", format!("{:?}", client.language).to_lowercase());
    engine.delete_index(&index);
    let _remove = OnDrop(|| engine.delete_index(&index));
    let customers = engine.count(OUTSIDE);
    let own = [format!("read:{index}*"), format!("write:{index}*")];
    let held = json!([{"scope": format!("read:{READ}"), "rows": rows(), "fields": "slim"}]);
    let limit = json!({"requests_per_second": 1_000, "burst": 1_000});
    let gateway = Gateway::start(
        Settings::new()
            .policies(
                "permit(principal, action, resource);\nforbid(principal, action, resource in Index::\"secret-*\");\n",
            )
            .client_with(ClientSettings::new("stock", &own.each_ref().map(String::as_str)).with("grants", held))
            .client_with(
                ClientSettings::new("limited", &["read:logs-*"])
                    .with("rate_limit", json!({"requests_per_second": 1, "burst": 2})),
            )
            .engine_option("strict_aliases", json!("enforce"))
            .engine_option("partial_access", json!("narrow"))
            .limit("rate_headers", json!("all"))
            .top("rates", json!([{"name": "reading", "per": "client", "scope": "search:logs-*", "limit": limit}])),
    );
    let found = run(client.language, &gateway, &index, false);

    assert_eq!(found["version"], json!(engine.version));
    assert_eq!(
        (&found["written"], &found["failed"], &found["count"]),
        (&json!(DOCUMENTS), &json!(0), &json!(DOCUMENTS))
    );
    assert_eq!(engine.count(&index), DOCUMENTS);
    let last = engine.admin().get(&format!("/{index}/_doc/{}", DOCUMENTS - 1)).expect(200).json();
    assert_eq!(last["_source"], json!({"message": format!("line {} äöü", DOCUMENTS - 1), "number": DOCUMENTS - 1}));
    let readable = engine.admin().post(&format!("/{READ}/_count")).json(&json!({"query": rows()})).expect(200).json();
    let readable = readable["count"].as_u64().expect("a number");
    assert!(readable < engine.count(READ), "the filter hides nothing");
    assert_eq!((&found["scrolled"], &found["paged"]), (&json!(readable), &json!(DOCUMENTS)));
    let (errors, services) = errors_by_service(engine);
    assert_eq!((&found["errors"], &found["services"]), (&errors, &services));
    assert_eq!((&found["msearch"], &found["mget"]), (&json!([DOCUMENTS, readable]), &json!([true, true, false])));

    shows(&found["missing"], 404, "");
    shows(&found["no_index"], 404, "no such index");
    shows(&found["outside"], 403, &format!("the operation `search` needs the scope `search:{OUTSIDE}`"));
    shows(&found["partly"], 403, &format!("the operation `bulk` needs the scope `write:{OUTSIDE}`"));
    shows(&found["invalid"], 401, "the token has expired");
    shows(&found["limited"], 429, "this client has sent too many requests");
    if client.tells_retry_after {
        assert_eq!(found["limited"]["retry_after"], "1");
    }
    assert_eq!(engine.count(OUTSIDE), customers);
    let http2 = gateway.metric("oauth4os_http2_connections_total");
    assert_eq!(http2 > 0.0, client.speaks_http2, "{http2} connections by HTTP/2");

    recorded(client, &gateway);
}

/// Whether what the gateway has seen is what the program did: everything, once, compressed, on few connections.
fn recorded(client: &Client, gateway: &Gateway) {
    let events = || gateway.audit().into_iter().filter(|event| event["event"] == "request").collect::<Vec<Value>>();
    // Go's client asks now and then how the node is, and lives with a refusal.
    let is_about_nodes = |event: &Value| {
        let operation = event["operation"].as_str().unwrap_or_default();
        operation.starts_with("nodes.") || operation.starts_with("cluster.")
    };
    let is_refused = |event: &&Value| event["decision"] == "deny" && !is_about_nodes(event);
    // Lines come a moment after the answers.
    let events = until("the refusals to be recorded", Duration::from_secs(10), || {
        Some(events()).filter(|events| events.iter().filter(is_refused).count() >= 4)
    });
    for operation in [
        "info",
        "bulk",
        "search",
        "scroll",
        "clear_scroll",
        "create_pit",
        "delete_pit",
        "msearch",
        "mget",
        "get",
        "count",
    ] {
        assert!(events.iter().any(|event| event["operation"] == operation), "`{operation}` was not recorded");
    }
    let mut refused: BTreeMap<u64, usize> = BTreeMap::new();
    for event in events.iter().filter(is_refused) {
        *refused.entry(event["status"].as_u64().expect("a status")).or_default() += 1;
    }
    // What was refused is not sent again.
    assert_eq!(
        refused,
        BTreeMap::from([(401, 1), (403, 2), (429, 1)]),
        "{:?}",
        events.iter().filter(is_refused).collect::<Vec<_>>()
    );
    let bulk = events.iter().filter(|event| event["operation"] == "bulk" && event["decision"] == "allow");
    let sent: Vec<u64> = bulk.map(|event| event["bytes_in"].as_u64().expect("a number")).collect();
    let bytes: u64 = sent.iter().sum();
    assert!(sent.len() > 1, "the documents came in one request");
    // A document and its action line have more than 60 bytes.
    assert_eq!(bytes < DOCUMENTS * 30, client.compresses, "{bytes} bytes for {DOCUMENTS} documents");
}

/// What the engine says itself.
fn errors_by_service(engine: &Engine) -> (Value, Value) {
    let query = json!({"query": {"term": {"level": "ERROR"}}, "size": 0, "track_total_hits": true,
        "aggs": {"services": {"terms": {"field": "service", "size": 100}}}});
    let answer = engine.admin().post(&format!("/{READ}/_search")).json(&query).expect(200).json();
    let buckets = answer["aggregations"]["services"]["buckets"].as_array().expect("buckets");
    assert!(buckets.len() > 1, "one service is no aggregation");
    let services = buckets.iter().map(|one| (one["key"].as_str().expect("a key").to_owned(), one["doc_count"].clone()));
    (answer["hits"]["total"]["value"].clone(), Value::Object(services.collect()))
}

/// The client's exception has the status, and its message the sentence.
fn shows(raised: &Value, status: u16, sentence: &str) {
    assert_eq!(raised["status"], json!(status), "{raised}");
    assert!(raised["text"].as_str().is_some_and(|text| text.contains(sentence)), "`{sentence}` is not in: {raised}");
}

/// Runs the program, with a counted wire between it and the gateway.
fn run(language: Language, gateway: &Gateway, index: &str, sniff: bool) -> Value {
    let program = language.program();
    let forge = gateway.forge();
    let expired = forge.claims("stock", &format!("read:{READ}")).moved(-3_600).sign(forge.access());
    let limited = if sniff { String::new() } else { gateway.token("limited") };
    let relay = Relay::to(gateway.port());
    let (url, documents) = (format!("https://localhost:{}", relay.port()), DOCUMENTS.to_string());
    let ca = OsString::from(gateway.ca());
    let mut variables: Vec<(&str, &OsStr)> = vec![("CA", &ca)];
    for (name, value) in [
        ("URL", url.as_str()),
        ("CLIENT", "stock"),
        ("SECRET", gateway.secret("stock")),
        ("INDEX", index),
        ("DOCUMENTS", &documents),
        ("READ", READ),
        ("OUTSIDE", OUTSIDE),
        ("INVALID", &expired),
        ("LIMITED", &limited),
    ] {
        variables.push((name, OsStr::new(value)));
    }
    if sniff {
        variables.push(("SNIFF", OsStr::new("1")));
    }
    let found = report(program, &variables);
    // Sixty requests: connections are kept open, by errors too.
    assert!(relay.connections() <= 16, "{language:?}: {} connections", relay.connections());
    found
}
