//! What a token `read:logs-*` may and may not: allowed through both walls, refused by the gateway, and refused once more
//! by the engine when the gateway's own decision is switched off.

mod walls;

use std::collections::BTreeMap;

use e2e::{Answer, Client, Engine, Gateway, Settings};
use serde_json::{Value, json};
use walls::{AtEngine, Request, outside};

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"])
}

/// Today's index of applications: it exists, since the data always ends today.
fn an_index() -> String {
    let answer = Engine::get().admin().get("/_cat/indices/logs-app-*?h=index&s=index:desc").expect(200);
    answer.text().lines().next().expect("an index").trim().to_owned()
}

#[test]
fn everything_inside_is_allowed() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let index = an_index();

    assert_eq!(reader.get("/").expect(200).json()["version"]["number"], Engine::get().version);
    reader.request("HEAD", "/").expect(200);

    for target in [
        "/logs-*/_search",
        "/logs-app-*,logs-web-*/_search?size=1",
        "/logs-app-*,-logs-app-2020*/_search",
        "/logs%2Dapp%2D*/_search",
        "/logs-inside/_search",
        "/logs-stream/_search",
        "/%3Clogs-app-%7Bnow%2Fd%7D%3E/_search",
        "/_search?index=logs-*",
        "/logs-*/_search?q=level:ERROR&sort=@timestamp:desc",
    ] {
        assert!(hits(&reader.get(target).expect(200)) > 0, "{target}");
    }
    let query = json!({"query": {"match_all": {}}, "size": 2, "aggs": {"by": {"terms": {"field": "level"}}}});
    assert!(hits(&reader.post("/logs-*/_search").json(&query).expect(200)) > 0);
    assert!(hits(&reader.get("/logs-*/_search").json(&query).expect(200)) > 0, "GET with a body");

    let count = reader.get("/logs-app-*/_count").expect(200).json();
    assert_eq!(count["count"], Engine::get().count("logs-app-*"));

    let searches = [json!({}), json!({"size": 0}), json!({"index": "logs-web-*"}), json!({"size": 1})];
    for target in ["/logs-*/_msearch", "/logs-app-*/_msearch"] {
        let answer = reader.post(target).lines(&searches).expect(200).json();
        let statuses: Vec<&Value> =
            answer["responses"].as_array().expect("responses").iter().map(|response| &response["status"]).collect();
        assert_eq!(statuses, [200, 200], "{target}");
    }
    reader.post("/_msearch").lines(&[json!({"index": ["logs-app-*", "logs-inside"]}), json!({"size": 0})]).expect(200);

    let document = reader.get(&format!("/{index}/_doc/000001")).expect(200).json();
    assert_eq!(document["found"], true);
    reader.request("HEAD", &format!("/{index}/_doc/000001")).expect(200);
    reader.get(&format!("/{index}/_source/000001")).expect(200);
    reader.get(&format!("/{index}/_doc/no-such-document")).expect(404);
    let found = reader.post(&format!("/{index}/_mget")).json(&json!({"ids": ["000001", "000002"]})).expect(200).json();
    assert_eq!((&found["docs"][0]["found"], &found["docs"][1]["found"]), (&json!(true), &json!(true)));
    let found = reader.get("/_mget").json(&json!({"docs": [{"_index": index, "_id": "000003"}]})).expect(200).json();
    assert_eq!(found["docs"][0]["found"], true);
    reader.get(&format!("/{index}/_explain/000001?q=level:INFO")).expect(200);
    reader.get(&format!("/{index}/_termvectors/000001?fields=message")).expect(200);

    let similar = json!({"query": {"more_like_this": {"fields": ["message"], "like": [{"_index": index, "_id": "000001"}], "min_term_freq": 1}}});
    assert!(hits(&reader.post("/logs-app-*/_search").json(&similar).expect(200)) > 0);
    let lookup = json!({"query": {"terms": {"service": {"index": index, "id": "000001", "path": "service"}}}});
    assert!(hits(&reader.post("/logs-app-*/_search").json(&lookup).expect(200)) > 0);

    for target in [
        "/logs-*/_mapping",
        "/logs-*/_mapping/field/level",
        "/logs-*/_field_caps?fields=*",
        "/logs-app-*/_settings",
        "/logs-app-*/_alias",
        "/_resolve/index/logs-*",
        "/logs-*/_validate/query?q=level:INFO",
        "/_data_stream/logs-stream",
        "/_plugins/_security/authinfo",
        "/_plugins/_security/health",
        &format!("/{index}"),
    ] {
        reader.get(target).expect(200);
    }
    reader.request("HEAD", "/logs-app-*").expect(200);
}

/// Names that look as if they reached further, but mean nothing or the same to the engine.
#[test]
fn what_only_looks_like_outside_finds_nothing_of_it() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    // The engine takes the index of the path; a second one in the query is nothing to it.
    let answer = reader.get("/logs-*/_search?index=pii-customers&size=500").expect(200);
    assert!(hits(&answer) > 0 && !tells_secrets(&answer));
    // Hidden indices that match the pattern are inside it.
    assert!(!tells_secrets(&reader.get("/logs-*/_search?expand_wildcards=all,hidden&index=*").expect(200)));
    // In a path, `;` is a letter like others: a pattern that no index matches.
    assert_eq!(hits(&reader.get("/logs-*;pii-customers/_search").expect(200)), 0);
    assert_eq!(hits(&reader.get("/logs-no-such-*/_search").expect(200)), 0);
    reader.get("/logs-no-such-index/_search").expect(404);
}

#[test]
fn scrolls_and_points_in_time_work_to_their_end() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");

    let first = reader.post("/logs-app-*/_search?scroll=1m&size=100").expect(200).json();
    let id = first["_scroll_id"].as_str().expect("a scroll id");
    let next = reader.post("/_search/scroll").json(&json!({"scroll": "1m", "scroll_id": id})).expect(200).json();
    assert_eq!(next["hits"]["hits"].as_array().map(Vec::len), Some(100));
    assert_ne!(next["hits"]["hits"][0]["_id"], first["hits"]["hits"][0]["_id"]);
    reader.delete("/_search/scroll").json(&json!({"scroll_id": [next["_scroll_id"]]})).expect(200);

    let opened = reader.post("/logs-app-*/_search/point_in_time?keep_alive=1m").expect(200).json();
    let pit = opened["pit_id"].as_str().expect("a point in time");
    let search = json!({"size": 1, "pit": {"id": pit, "keep_alive": "1m"}, "sort": [{"@timestamp": "asc"}]});
    assert!(hits(&reader.post("/_search").json(&search).expect(200)) > 0);
    reader.delete("/_search/point_in_time").json(&json!({"pit_id": [pit]})).expect(200);
}

#[test]
fn everything_outside_is_refused_by_the_gateway() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let before = cluster();
    let mut wrong = Vec::new();
    for request in outside(&an_index()) {
        let answer = send(&reader, &request);
        if let Err(problem) = check_refusal(&gateway, &request, &answer) {
            wrong.push(format!("{}: {problem}: {}", request.name(), answer.text()));
        }
    }
    assert!(wrong.is_empty(), "{} requests:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cluster(), before, "something was written");
}

#[test]
fn everything_outside_is_refused_by_the_engine_too() {
    let gateway = Gateway::start(settings().engine_decides());
    let reader = gateway.with("reader");
    let before = cluster();
    let mut wrong = Vec::new();
    let mut permitted = 0;
    for request in outside(&an_index()) {
        let Some(expected) = request.at_engine() else { continue };
        permitted += usize::from(matches!(expected, AtEngine::Permits(_)));
        let answer = send(&reader, &request);
        if let Err(problem) = expected.check(&answer) {
            wrong.push(format!(
                "{}: {problem}: {} {}",
                request.name(),
                answer.status,
                answer.text().chars().take(400).collect::<String>()
            ));
        }
        if tells_secrets(&answer) {
            wrong.push(format!(
                "{}: tells of customers or of the security configuration: {}",
                request.name(),
                answer.text()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} requests:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(cluster(), before, "something was written");
    // What only the gateway refuses is a short list, each with its reason.
    assert!(permitted <= 24, "the engine permits {permitted} of the requests");
}

/// A writer's items reach the engine in one request, and each is judged there by itself.
#[test]
fn the_engine_refuses_a_writers_items_one_by_one() {
    let engine = Engine::get();
    let gateway = Gateway::start(Settings::new().client("writer", &["write:app-logs-*"]).engine_decides());
    let writer = gateway.with("writer");
    let index = "app-logs-e2e-walls";
    engine.delete_index(index);
    let outside = [
        "pii-customers",
        "metrics-cpu",
        "not-there-yet",
        ".opendistro_security",
        "logs-stream",
        "logs-app-forged",
        "mixed",
    ];
    let before: Vec<u64> = ["pii-customers", "logs-*", "metrics-cpu"].map(|name| engine.count(name)).to_vec();
    let mut lines = vec![json!({"index": {"_index": index, "_id": "1"}}), json!({"message": "one"})];
    for name in outside {
        for action in ["index", "create", "update", "delete"] {
            lines.push(json!({action: {"_index": name, "_id": "000001"}}));
            match action {
                "update" => lines.push(json!({"doc": {"forged": true}})),
                "delete" => {}
                _ => lines.push(json!({"@timestamp": "2026-01-15T00:00:00Z", "forged": true})),
            }
        }
    }
    let answer = writer.post("/_bulk").lines(&lines).expect(200).json();
    let items = answer["items"].as_array().expect("items");
    let statuses: Vec<u64> =
        items.iter().filter_map(|item| item.as_object()?.values().next()?["status"].as_u64()).collect();
    assert_eq!(statuses.len(), 1 + 4 * outside.len());
    assert_eq!(statuses[0], 201);
    for (item, status) in items.iter().zip(statuses).skip(1) {
        // Of several indices behind an alias none is the one to write to, and a data stream takes nothing but `create`.
        let text = item.to_string();
        let is_misused_stream = text.contains("logs-stream") && item.get("create").is_none();
        let expected = if text.contains("\"_index\":\"mixed\"") || is_misused_stream { 400 } else { 403 };
        assert_eq!(status, expected, "{item}");
    }
    assert_eq!(["pii-customers", "logs-*", "metrics-cpu"].map(|name| engine.count(name)).to_vec(), before);
    engine.admin().get("/not-there-yet").expect(404);
    assert_eq!(engine.count(index), 1);
    for target in [
        format!("/{index}/_search"),
        format!("/{index}/_doc/1"),
        format!("/{index}/_mapping"),
        "/logs-*/_search".to_owned(),
    ] {
        writer.get(&target).expect(403);
    }
    engine.delete_index(index);
}

/// The gateway refuses with the right status, in the engine's form, with an id that finds the event.
fn check_refusal(gateway: &Gateway, request: &Request, answer: &Answer) -> Result<(), String> {
    let expected = request.at_gateway();
    let is_so = |what: &str, is_so: bool| if is_so { Ok(()) } else { Err(what.to_owned()) };
    is_so(&format!("is {}, not {expected}", answer.status), answer.status == expected)?;
    let event = gateway.audit_of(answer.request_id());
    is_so(&format!("recorded as {event}"), event["decision"] == "deny" && event["status"] == expected)?;
    is_so("recorded without the client", request.is_at_the_door() || event["client"] == "reader")?;
    let reason = event["reason"].as_str().unwrap_or_default();
    is_so("recorded without a reason", reason.len() > 10)?;
    if request.method() == "HEAD" {
        return Ok(());
    }
    let body = answer.json();
    let kind = match expected {
        403 => "security_exception",
        415 => "content_type_header_exception",
        _ => "illegal_argument_exception",
    };
    is_so(
        &format!("the type is not {kind}"),
        body["error"]["type"] == kind && body["error"]["root_cause"][0]["type"] == kind,
    )?;
    is_so("the reason is not the recorded one", body["error"]["reason"] == reason && body["status"] == expected)?;
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    is_so("403 without a challenge", expected != 403 || challenge.contains("error=\"insufficient_scope\""))
}

fn send(client: &Client, request: &Request) -> Answer {
    let mut sent = client.request(request.method(), request.target());
    for (name, value) in request.headers() {
        sent = sent.header(name, value);
    }
    if let Some((content_type, body)) = request.body() {
        sent = sent.body(content_type, body);
    }
    sent.send()
}

/// Every index with its documents, and what else a request of the table would change.
fn cluster() -> BTreeMap<String, Value> {
    let admin = Engine::get().admin();
    admin.post("/*,-.*/_refresh").expect(200);
    let mut all = BTreeMap::new();
    let indices =
        admin.get("/_cat/indices/*?h=index,uuid,docs.count,docs.deleted,status&format=json").expect(200).json();
    for index in indices.as_array().expect("indices") {
        let name = index["index"].as_str().expect("a name");
        all.insert(format!("index {name}"), index.clone());
    }
    for target in [
        "/_alias",
        "/_index_template",
        "/_component_template",
        "/_ingest/pipeline",
        "/_snapshot",
        "/_cluster/settings",
        "/logs-*/_mapping",
    ] {
        // 404 where there is none.
        if let Value::Object(members) = admin.get(target).send().json() {
            all.extend(members.into_iter().map(|(name, value)| (format!("{target} {name}"), value)));
        }
    }
    // What tests make for themselves, and what the engine keeps for itself.
    all.retain(|name, _| {
        !name.contains("e2e")
            && !name.contains("oauth4os-check")
            && !name.contains(" .")
            && !name.contains("top_queries")
            && !name.contains("_template index_templates")
    });
    all
}

fn hits(answer: &Answer) -> u64 {
    answer.json()["hits"]["total"]["value"].as_u64().expect("hits")
}

fn tells_secrets(answer: &Answer) -> bool {
    let text = answer.text();
    ["customer_id", "card_last4", "@example.com", "$2y$", "password_hash", "signing_key"]
        .iter()
        .any(|secret| text.contains(secret))
}
