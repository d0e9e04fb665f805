//! Orders of several tenants in one index, and every way to read them.

use e2e::{Answer, Client, ClientSettings, Engine, OnDrop};
use serde_json::{Value, json};

pub(crate) const PREFIX: &str = "e2e-rows";

/// Values somebody may be called: each is one tenant, and none is more than that.
pub(crate) const HOSTILE: [&str; 12] = [
    "a\"b\\c",
    "\"}},{\"match_all\":{}}",
    "${user.name}",
    "${attr.jwt.sub}",
    "${attr.jwt.o4s_filter_2}",
    "$1 \\1 \\\\ \\$ $",
    "*",
    "glob?x",
    "line\nfeed\ttab",
    "änderung ☃ \u{1f980}",
    "\u{7f}\u{85}\u{2028}",
    "</script> & %7B%7D",
];

/// Nobody but `globex` may see this.
pub(crate) const SECRET: &str = "globexsecret";
/// And this, in the field `email`, nobody with the fields `slim`.
pub(crate) const EMAIL: &str = "somebody@example.com";

/// An index with the documents of several tenants, as long as the result lives.
pub(crate) fn orders(name: &str) -> (String, OnDrop<impl FnMut()>) {
    orders_in(format!("{PREFIX}-{name}"))
}

/// The same in an index of this name.
pub(crate) fn orders_in(index: String) -> (String, OnDrop<impl FnMut()>) {
    let admin = Engine::get().admin();
    Engine::get().delete_index(&index);
    let mapping = json!({
        "settings": {"number_of_shards": 1, "number_of_replicas": 0},
        "mappings": {"properties": {
            "rel": {"type": "join", "relations": {"order": "line"}}, "tenant": {"type": "keyword"}, "note": {"type": "text", "term_vector": "yes"}, "amount": {"type": "integer"},
            "email": {"type": "keyword"}, "tip": {"type": "completion"},
            "card": {"properties": {"number": {"type": "keyword"}, "kind": {"type": "keyword"}}},
        }},
    });
    admin.put(&format!("/{index}")).json(&mapping).expect(200);
    let mut lines = Vec::new();
    let mut add = |id: &str, tenant: &str, note: &str, amount: i64| {
        lines.push(json!({"index": {"_id": id}}));
        lines.push(json!({"tenant": tenant, "note": note, "amount": amount, "email": EMAIL, "tip": note,
            "card": {"number": "4111", "kind": "visa"}}));
    };
    for n in 0..5 {
        add(&format!("a{n}"), "acme", "acmenote common", n);
        add(&format!("g{n}"), "globex", &format!("{SECRET} common"), 100 + n);
    }
    for (n, tenant) in HOSTILE.iter().enumerate() {
        add(&format!("h{n}"), tenant, "hostile", 0);
    }
    let answer = admin.post(&format!("/{index}/_bulk?refresh=true")).lines(&lines).expect(200);
    assert_eq!(answer.json()["errors"], false, "{}", answer.text());
    let at_the_end = index.clone();
    (index, OnDrop(move || Engine::get().delete_index(&at_the_end)))
}

pub(crate) fn tenant(tenant: &str) -> Value {
    json!({"term": {"tenant": tenant}})
}

pub(crate) fn held(id: &str, grants: &[Value]) -> ClientSettings {
    ClientSettings::new(id, &[]).with("grants", json!(grants))
}

pub(crate) fn total(answer: &Answer) -> u64 {
    answer.json()["hits"]["total"]["value"].as_u64().unwrap_or_else(|| panic!("no total: {}", answer.text()))
}

/// Each operation that reads, and what of the answer shows that it read something.
pub(crate) fn reading(index: &str) -> Vec<(&'static str, String, Value, &'static str)> {
    let search = format!("/{index}/_search");
    vec![
        ("POST", search.clone(), json!({"query": {"match_all": {}}, "size": 100}), "acmenote"),
        ("POST", search.clone(), json!({"query": {"match": {"note": "common"}}, "size": 100}), "acmenote"),
        ("POST", search.clone(), json!({"query": {"match": {"note": SECRET}}}), "\"value\":0"),
        (
            "POST",
            search.clone(),
            json!({"query": {"match": {"note": "common"}}, "explain": true, "size": 100}),
            "acmenote",
        ),
        ("POST", search.clone(), json!({"size": 0, "aggs": {"t": {"terms": {"field": "tenant", "size": 99}}}}), "acme"),
        ("POST", search.clone(), json!({"size": 0, "aggs": {"m": {"max": {"field": "amount"}}}}), "4.0"),
        (
            "POST",
            search.clone(),
            json!({"size": 0, "aggs": {"f": {"filters": {"filters": {"x": {"match_all": {}}}}, "aggs": {"h": {"top_hits": {"size": 50}}}}}}),
            "acmenote",
        ),
        (
            "POST",
            search.clone(),
            json!({"size": 0, "aggs": {"c": {"composite": {"sources": [{"t": {"terms": {"field": "tenant"}}}]}}}}),
            "acme",
        ),
        (
            "POST",
            search.clone(),
            json!({"collapse": {"field": "tenant", "inner_hits": {"name": "i", "size": 50}}}),
            "acmenote",
        ),
        (
            "POST",
            search.clone(),
            json!({"sort": [{"amount": "desc"}], "docvalue_fields": ["tenant"], "size": 1}),
            "acme",
        ),
        (
            "POST",
            search.clone(),
            json!({"query": {"match": {"note": "common"}}, "highlight": {"fields": {"note": {}}}, "size": 100}),
            "acmenote",
        ),
        (
            "POST",
            search.clone(),
            json!({"query": {"terms": {"tenant": {"index": index, "id": "g0", "path": "tenant"}}}}),
            "\"value\":0",
        ),
        (
            "POST",
            search.clone(),
            json!({"query": {"more_like_this": {"fields": ["note"], "like": [{"_index": index, "_id": "g0"}], "min_term_freq": 1, "min_doc_freq": 1}}}),
            "hits",
        ),
        ("POST", search.clone(), json!({"query": {"ids": {"values": ["g0", "a0"]}}}), "acmenote"),
        ("GET", format!("{search}?q=tenant:*&size=100"), Value::Null, "acmenote"),
        ("GET", format!("/{index}/_count?q=note:{SECRET}"), Value::Null, "\"count\":0"),
        (
            "POST",
            "/_msearch".to_owned(),
            json!([{"index": index}, {"size": 100}, {"index": index}, {"query": {"term": {"tenant": "globex"}}}]),
            "acmenote",
        ),
        (
            "POST",
            "/_mget".to_owned(),
            json!({"docs": [{"_index": index, "_id": "a0"}, {"_index": index, "_id": "g0"}]}),
            "acmenote",
        ),
        ("GET", format!("/{index}/_doc/a0"), Value::Null, "acmenote"),
        ("GET", format!("/{index}/_doc/g0"), Value::Null, "\"found\":false"),
        ("GET", format!("/{index}/_doc/g0?realtime=false"), Value::Null, "\"found\":false"),
        ("GET", format!("/{index}/_source/g0"), Value::Null, "404"),
        ("POST", format!("/{index}/_explain/g0"), json!({"query": {"match": {"note": SECRET}}}), "\"matched\":false"),
        ("GET", format!("/{index}/_termvectors/g0?fields=note"), Value::Null, "\"found\":false"),
        ("GET", format!("/{index}/_termvectors/a0?fields=note"), Value::Null, "acmenote"),
        (
            "POST",
            format!("/{index}/_mtermvectors"),
            json!({"ids": ["g0", "a0"], "parameters": {"fields": ["note"]}}),
            "acmenote",
        ),
        ("GET", format!("/{index}/_field_caps?fields=*"), Value::Null, "tenant"),
        (
            "POST",
            format!("/{index}/_rank_eval"),
            json!({"requests": [{"id": "q", "request": {"query": {"match": {"note": "common"}}}, "ratings": [{"_index": index, "_id": "g0", "rating": 1}]}], "metric": {"precision": {"k": 50}}}),
            "details",
        ),
        (
            "POST",
            format!("/{index}/_validate/query?explain=true"),
            json!({"query": {"prefix": {"note": "globexse"}}}),
            "valid",
        ),
        ("POST", search.clone(), json!({"query": {"prefix": {"note": "globexse"}}}), "\"value\":0"),
    ]
}

/// Runs an operation; a body that is a list goes as lines.
pub(crate) fn run(client: &Client, method: &str, target: &str, body: &Value) -> Answer {
    let request = client.request(method, target);
    match body {
        Value::Null => request.send(),
        Value::Array(lines) => request.lines(lines).send(),
        body => request.json(body).send(),
    }
}

/// What the engine answers without regard to a filter. Each was seen to show what is hidden.
pub(crate) fn past_the_filter(index: &str) -> Vec<(&'static str, String, Value)> {
    let search = format!("/{index}/_search");
    let query = |query: Value| ("POST", search.clone(), json!({"query": query}));
    let aggregation = |body: Value| ("POST", search.clone(), json!({"size": 0, "aggs": {"x": body}}));
    let suggest = |body: Value| ("POST", search.clone(), json!({"suggest": {"s": body}}));
    vec![
        aggregation(json!({"global": {}, "aggs": {"t": {"top_hits": {"size": 50}}}})),
        aggregation(json!({"children": {"type": "line"}, "aggs": {"t": {"top_hits": {"size": 50}}}})),
        aggregation(json!({"significant_terms": {"field": "tenant", "min_doc_count": 1}})),
        query(json!({"has_child": {"type": "line", "query": {"match_all": {}}, "inner_hits": {}}})),
        suggest(json!({"text": "globexsecrex", "term": {"field": "note", "suggest_mode": "always"}})),
        suggest(
            json!({"text": "globexsecrex common", "phrase": {"field": "note", "direct_generator": [{"field": "note", "suggest_mode": "always"}]}}),
        ),
        ("GET", format!("{search}?suggest_field=note&suggest_text=globexsecrex&suggest_mode=always"), Value::Null),
        (
            "POST",
            "/_msearch".to_owned(),
            json!([{"index": index}, {"size": 0, "aggs": {"x": {"global": {}, "aggs": {"t": {"top_hits": {"size": 50}}}}}}]),
        ),
        (
            "POST",
            format!("/{index}/_validate/query?rewrite=true&all_shards=true"),
            json!({"query": {"fuzzy": {"note": "globexsecrex"}}}),
        ),
        ("POST", format!("/{index}/_termvectors"), json!({"doc": {"note": "globexsecrets"}, "term_statistics": true})),
        ("GET", format!("/{index}/_termvectors/a0?fields=note&term_statistics=true"), Value::Null),
    ]
}
