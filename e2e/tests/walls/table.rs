use serde_json::{Value, json};

use super::{AtEngine, Request};
use AtEngine::{Permits, Refuses, RefusesItems};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// All requests. `index` is one of `logs-app-*`.
pub fn outside(index: &str) -> Vec<Request> {
    let mut all = Vec::new();
    all.extend(writes(index));
    all.extend(other_indices());
    all.extend(expressions());
    all.extend(spellings());
    all.extend(bodies(index));
    all.extend(handles());
    all.extend(lives_of_indices(index));
    all.extend(cluster());
    all.extend(security());
    all
}

/// Documents inside the pattern, which the token may read and not change.
fn writes(index: &str) -> Vec<Request> {
    let document = json!({"message": "written by a reader"});
    let lines = |action: Value| format!("{action}\n{document}\n");
    vec![
        post(format!("/{index}/_doc"), &document),
        put(format!("/{index}/_doc/forged"), &document),
        put(format!("/{index}/_doc/000001"), &document),
        put(format!("/{index}/_create/forged"), &document),
        post(format!("/{index}/_doc?op_type=create"), &document),
        post(format!("/{index}/_update/000001"), &json!({"doc": {"level": "NONE"}})),
        request("DELETE", format!("/{index}/_doc/000001")),
        request("DELETE", "/logs-*/_doc/000001"),
        post("/logs-*/_delete_by_query?conflicts=proceed", &json!({"query": {"match_all": {}}})),
        post("/logs-*/_update_by_query", &json!({"query": {"match_all": {}}})),
        bulk(format!("/{index}/_bulk"), lines(json!({"index": {"_id": "forged"}}))),
        bulk("/_bulk", lines(json!({"index": {"_index": index}}))),
        bulk("/_bulk", lines(json!({"create": {"_index": "logs-stream"}}))),
        bulk("/_bulk", format!("{}\n", json!({"delete": {"_index": index, "_id": "000001"}}))),
        post("/logs-stream/_doc", &json!({"@timestamp": "2026-01-15T00:00:00Z"})),
        post("/logs-new-index/_doc", &document),
    ]
}

/// What is plainly somebody else's.
fn other_indices() -> Vec<Request> {
    let mut all = Vec::new();
    for target in [
        "/pii-customers/_search",
        "/pii-customers/_count",
        "/pii-customers/_doc/000001",
        "/pii-customers/_source/000001",
        "/pii-customers/_mapping",
        "/pii-customers/_settings",
        "/pii-customers/_alias",
        "/pii-customers/_field_caps?fields=*",
        "/pii-customers/_termvectors/000001",
        "/pii-customers/_explain/000001?q=a",
        "/pii-customers/_validate/query?q=a",
        "/pii-customers",
        "/metrics-cpu/_search",
        "/app-logs-2026/_search",
        "/mixed/_search",
        "/mixed/_count",
        "/mixed/_mapping",
        "/_resolve/index/pii-*",
        "/_data_stream",
        "/_data_stream/*",
        "/logs/_search",
        "/logs_app/_search",
    ] {
        all.push(get(target));
    }
    all.push(request("HEAD", "/pii-customers"));
    all.push(request("HEAD", "/pii-customers/_doc/000001"));
    all.push(get("/pii-customers/_stats"));
    all
}

/// Expressions that reach further than the pattern.
fn expressions() -> Vec<Request> {
    let mut all = Vec::new();
    for target in [
        "/_search",
        "/_count",
        "/_mapping",
        "/_settings",
        "/_alias",
        "/_field_caps?fields=*",
        "/_all/_search",
        "/*/_search",
        "/%2A/_search",
        "/**/_search",
        "/*,-pii-*/_search",
        "/logs-*,*/_search",
        "/logs-*,pii-customers/_search",
        "/logs-*%2Cpii-customers/_search",
        "/logs-*%2cpii-*/_search",
        "/*-app-*,pii-*/_search",
        "/p*/_search",
        "/*i*/_search",
        "/%3Cpii-customers%3E/_search",
        "/%3Cmetrics-%7Bnow%2Fd%7D%3E,pii-customers/_search",
    ] {
        all.push(get(target));
    }
    const EXPANDED: &str = "the engine expands the expression, and every index there is lies inside";
    all.push(get("/-pii-*/_search").permits(200, "an exclusion with nothing before it is nothing"));
    all.push(get("/logs-*,-logs-*/_search").permits(200, "nothing is left"));
    all.push(get("/l*/_search").permits(200, EXPANDED));
    all.push(get("/logs*/_search").permits(200, EXPANDED));
    all.push(get("/%3Cmetrics-%7Bnow%2Fd%7D%3E/_search"));
    const NO_CLUSTER: &str = "the engine knows no remote cluster, so it takes the name for an index";
    all.push(get("/logs-*,other:logs-*/_search").permits(200, NO_CLUSTER));
    all.push(get("/other:logs-*/_search").permits(200, NO_CLUSTER));
    all
}

/// The same request written so that two parsers may read it in two ways.
fn spellings() -> Vec<Request> {
    const NO_ROUTE: &str = "the engine has no such route";
    const AT_THE_DOOR: &str = "the gateway's reader of HTTP refuses it, whoever decides";
    const NO_INDEX: &str = "no index has such a name";
    const PATH_WINS: &str = "the path is what the engine takes";
    vec![
        get("/_search?size=1;index=pii-customers").gateway(400),
        get("/_search?index=logs-*&index=pii-customers").gateway(400),
        get("/_search?%69ndex=pii-customers"),
        get("/logs-*/_search?size=1;index=pii-customers").gateway(400).permits(200, PATH_WINS),
        get("/logs-*/_search?index=logs-*&index=pii-customers").gateway(400).permits(200, PATH_WINS),
        get("//_search").gateway(400),
        get("//pii-customers/_search").gateway(400).engine(400, NO_ROUTE),
        get("/logs-*//_search").gateway(400).engine(400, NO_ROUTE),
        get("/logs-*/_SEARCH").engine(400, NO_ROUTE),
        get("/pii-customers/_search/"),
        get("/pii-customers%3B/_search"),
        get("/logs-a%2Cpii-customers/_search"),
        get("/pii-customers/_search?source=%7B%7D&source_content_type=application/json").gateway(400),
        get("/logs-*/_search?source=%7B%7D&source_content_type=application/json")
            .gateway(400)
            .permits(200, "what the body in the address asks for lies inside"),
        get("/logs-*/_search/../../pii-customers/_search").at_the_door(AT_THE_DOOR),
        get("/logs-*/%2e%2e/pii-customers/_search").at_the_door(AT_THE_DOOR),
        get("/_cat/../pii-customers/_search").at_the_door(AT_THE_DOOR),
        get("/logs-*%2F..%2Fpii-customers/_search").permits(200, NO_INDEX),
        get("/logs-*%00/_search").gateway(400).permits(200, NO_INDEX),
        get("/logs-%FF/_search").gateway(400).engine(404, NO_INDEX),
        get("/LOGS-*/_search").permits(200, NO_INDEX),
    ]
}

/// Indices that only the body names.
fn bodies(index: &str) -> Vec<Request> {
    let lookup = json!({"query": {"terms": {"email": {"index": "pii-customers", "id": "000001", "path": "email"}}}});
    let similar = json!({"query": {"more_like_this": {"fields": ["name"], "like": [{"_index": "pii-customers", "_id": "000001"}], "min_term_freq": 1, "min_doc_freq": 1}}});
    const TWICE: &str = "the engine's reader refuses what is there twice";
    let escaped = "{\"\\u005findex\":\"pii-customers\",\"_id\":\"000001\"}";
    vec![
        post("/logs-*/_msearch", &Value::Null).with_lines(&[json!({"index": "pii-customers"}), json!({})]).items(1),
        post("/_msearch", &Value::Null).with_lines(&[json!({}), json!({})]).items(1),
        post("/_msearch", &Value::Null).with_lines(&[json!({"index": ["logs-*", "pii-*"]}), json!({})]).items(1),
        post("/_msearch", &Value::Null).with_lines(&[json!({"index": "logs-*"}), json!({}), json!({"index": "mixed"}), json!({})]).items(1),
        post("/logs-*/_msearch", &Value::Null).with_lines(&[json!({}), lookup.clone()]).items(1),
        post("/_mget", &json!({"docs": [{"_index": index, "_id": "000001"}, {"_index": "pii-customers", "_id": "000001"}]})).items(1),
        post(format!("/{index}/_mget"), &json!({"docs": [{"_index": "pii-customers", "_id": "000001"}]})).items(1),
        post("/_mget", &Value::Null).with_body(JSON, format!("{{\"docs\":[{escaped}]}}")).items(1),
        post("/_mget", &Value::Null)
            .with_body(JSON, "{\"docs\":[{\"_index\":\"logs-stream\",\"_index\":\"pii-customers\",\"_id\":\"000001\"}]}".to_owned())
            .gateway(400)
            .engine(400, TWICE),
        post("/logs-*/_search", &Value::Null)
            .with_body(JSON, "{\"query\":{\"terms\":{\"a\":{\"index\":\"logs-stream\",\"index\":\"pii-customers\",\"id\":\"1\",\"path\":\"a\"}}}}".to_owned())
            .gateway(400)
            .engine(400, TWICE),
        post("/logs-*/_search", &Value::Null)
            .with_body(JSON, "{\"query\":{\"terms\":{\"a\":{\"\\u0069ndex\":\"pii-customers\",\"id\":\"1\",\"path\":\"a\"}}}}".to_owned()),
        post("/logs-*/_search", &lookup),
        post("/logs-*/_search", &json!({"query": {"bool": {"filter": [lookup["query"]]}}})),
        post("/logs-*/_count", &lookup),
        post("/logs-*/_search", &similar).permits(200, "the engine leaves out what the token may not read, and finds nothing like nothing"),
        post("/logs-*/_search", &json!({"query": {"percolate": {"field": "q", "index": "pii-customers", "id": "000001"}}})),
        post("/logs-*/_search", &json!({"query": {"geo_shape": {"g": {"indexed_shape": {"index": "pii-customers", "id": "1", "path": "s"}}}}})),
        post("/logs-*/_search", &Value::Null)
            .with_body("application/yaml", "query:\n  match_all: {}\n".to_owned())
            .gateway(415)
            .permits(200, "the engine reads YAML, and what is asked for lies inside"),
        post("/logs-*/_search", &json!({"query": {"match_all": {}}}))
            .with_header("Content-Encoding", "gzip")
            .gateway(400)
            .not_asked("the body is not compressed: the engine would close the connection"),
        post("/logs-*/_search", &json!({"query": {"match_all": {}}}))
            .with_header("Content-Encoding", "deflate")
            .gateway(415)
            .not_asked("the body is not compressed: the engine would close the connection"),
        bulk("/_bulk", format!("{}\n", json!({"delete": {"_index": "pii-customers", "_id": "000001"}}))),
        bulk("/logs-stream/_bulk", format!("{}\n{}\n", json!({"update": {"_index": "pii-customers", "_id": "000001"}}), json!({"doc": {}}))),
        post("/_reindex", &json!({"source": {"index": "pii-customers"}, "dest": {"index": "logs-copy"}})),
        post("/_reindex", &json!({"source": {"index": index}, "dest": {"index": "logs-copy"}})),
        post("/_reindex", &json!({"source": {"remote": {"host": "http://127.0.0.1:9"}, "index": "x"}, "dest": {"index": "logs-copy"}}))
            .gateway(400),
        post("/_aliases", &json!({"actions": [{"add": {"index": "pii-customers", "alias": "logs-of-customers"}}]})),
        post("/_aliases", &json!({"actions": [{"remove_index": {"index": "pii-customers"}}]})),
        post("/logs-*/_search/template", &json!({"source": {"query": {"match_all": {}}}})),
        post("/pii-customers/_search/template", &json!({"source": {"query": {"match_all": {}}}})),
        post("/_msearch/template", &Value::Null).with_lines(&[json!({"index": "pii-customers"}), json!({"source": "{}"})]),
        post("/_mtermvectors", &json!({"docs": [{"_index": "pii-customers", "_id": "000001"}]})).items(1),
        post("/_rank_eval", &json!({"requests": [{"id": "a", "request": {"query": {"match_all": {}}}, "ratings": []}], "metric": {"precision": {}}})),
        post("/_scripts/painless/_execute", &json!({"script": {"source": "1"}, "context": "filter", "context_setup": {"index": "pii-customers", "document": {}}})),
    ]
}

/// What is not named by an index but by an id.
fn handles() -> Vec<Request> {
    vec![
        get("/_search/point_in_time/_all"),
        request("DELETE", "/_search/point_in_time/_all"),
        request("DELETE", "/_search/scroll/_all")
            .gateway(400)
            .not_asked("the engine ends every client's scrolls (seen on 3.4.0 and 2.19.4), also those of other tests"),
        post("/pii-customers/_search/point_in_time?keep_alive=1m", &Value::Null).without_body(),
        post("/_search/point_in_time?keep_alive=1m", &Value::Null)
            .without_body()
            .gateway(405)
            .engine(405, "there is no such method"),
        post("/pii-customers/_search?scroll=1m", &Value::Null).without_body(),
        get("/_cat/pit_segments/_all"),
    ]
}

/// What `manage` and `monitor` are for.
fn lives_of_indices(index: &str) -> Vec<Request> {
    vec![
        request("DELETE", format!("/{index}")),
        request("DELETE", "/logs-*"),
        request("DELETE", "/pii-customers"),
        request("DELETE", "/_all"),
        request("DELETE", "/logs-app-*,pii-customers"),
        put("/logs-new-index", &json!({})),
        post(format!("/{index}/_close"), &Value::Null).without_body(),
        post(format!("/{index}/_open"), &Value::Null).without_body(),
        put(format!("/{index}/_mapping"), &json!({"properties": {"forged": {"type": "keyword"}}})),
        put(format!("/{index}/_settings"), &json!({"index": {"number_of_replicas": 0}})),
        put(format!("/{index}/_alias/logs-forged"), &json!({})),
        put("/pii-customers/_alias/logs-forged", &json!({})),
        request("DELETE", format!("/{index}/_alias/logs-inside")),
        post("/logs-stream/_rollover", &Value::Null).without_body(),
        post("/logs-*/_refresh", &Value::Null).without_body(),
        post("/logs-*/_flush", &Value::Null).without_body(),
        post("/logs-*/_forcemerge", &Value::Null).without_body(),
        post("/logs-*/_cache/clear", &Value::Null).without_body(),
        put(format!("/{index}/_clone/logs-clone"), &json!({})),
        put("/pii-customers/_clone/logs-clone", &json!({})),
        put(format!("/{index}/_block/write"), &json!({})),
        put("/_data_stream/logs-forged", &Value::Null).without_body(),
        request("DELETE", "/_data_stream/logs-stream"),
        get("/logs-*/_stats"),
        get("/_stats"),
        get("/logs-*/_segments"),
        get("/logs-*/_recovery"),
        get("/_cat/indices"),
        get("/_cat/indices/logs-*"),
        get("/_cat/shards"),
        get("/_cat/aliases"),
    ]
}

/// The cluster as a whole.
fn cluster() -> Vec<Request> {
    const NOT_INSTALLED: &str = "the plugin is not installed here";
    vec![
        get("/_cluster/health"),
        get("/_cluster/state"),
        get("/_cluster/settings"),
        put("/_cluster/settings", &json!({"transient": {"action.auto_create_index": "false"}})),
        post("/_cluster/reroute", &json!({})),
        get("/_nodes"),
        get("/_nodes/stats"),
        get("/_nodes/hot_threads"),
        get("/_cat/nodes"),
        get("/_tasks"),
        post("/_tasks/_cancel", &Value::Null).without_body(),
        put("/_index_template/forged", &json!({"index_patterns": ["forged-*"]})),
        put("/_template/forged", &json!({"index_patterns": ["forged-*"]})),
        put("/_component_template/forged", &json!({"template": {}})),
        put("/_ingest/pipeline/forged", &json!({"processors": []})),
        put("/_search/pipeline/forged", &json!({})),
        put("/_scripts/forged", &json!({"script": {"lang": "mustache", "source": "{}"}})),
        put("/_snapshot/forged", &json!({"type": "fs", "settings": {"location": "/tmp"}})),
        post("/_snapshot/forged/one/_restore", &json!({}))
            .engine(404, "the repository is looked up before the right to restore"),
        get("/_snapshot"),
        get("/_remote/info"),
        get("/_index_template"),
        post("/_plugins/_sql", &json!({"query": "select * from `pii-customers`"})).engine(400, NOT_INSTALLED),
        post("/_plugins/_ppl", &json!({"query": "source=pii-customers"})).engine(400, NOT_INSTALLED),
        post("/_plugins/_asynchronous_search?index=pii-customers", &json!({})).engine(400, NOT_INSTALLED),
        post("/_plugins/_ism/add/logs-*", &json!({"policy_id": "x"})).engine(400, NOT_INSTALLED),
        get("/_no_such_endpoint").engine(400, "the engine takes the name for an index"),
        post("/logs-*/_no_such_endpoint", &json!({})).engine(400, "the engine has no such route"),
        request("PATCH", "/logs-*/_search").gateway(405).engine(405, "there is no such method"),
        request("OPTIONS", "/logs-*/_search").gateway(405).permits(200, "the engine names the methods"),
    ]
}

/// The security plugin and its index.
fn security() -> Vec<Request> {
    let api = "/_plugins/_security/api";
    vec![
        get(".opendistro_security/_search"),
        get("/%2Eopendistro_security/_search"),
        get("/.o*/_search"),
        get("/logs-*,.opendistro_security/_search"),
        request("DELETE", "/.opendistro_security"),
        put("/.opendistro_security/_doc/roles", &json!({})),
        get("/.opendistro_security/_doc/internalusers"),
        get(format!("{api}/internalusers")),
        get(format!("{api}/roles")),
        get(format!("{api}/rolesmapping/all_access")),
        get(format!("{api}/securityconfig")),
        put(format!("{api}/rolesmapping/all_access"), &json!({"users": ["oauth4os:reader"]})),
        put(format!("{api}/internalusers/forged"), &json!({"password": "a-long-password-1"})),
        request("PATCH", format!("{api}/roles")),
        request("DELETE", format!("{api}/cache")),
        get("/_opendistro/_security/api/roles"),
        get("/_plugins/_security/whoami")
            .permits(200, "it tells of the certificate of the connection, and the gateway shows none"),
        get("/_plugins/_security/tenantinfo"),
        post("/_plugins/_security/api/obo/token", &json!({"description": "x", "service": "y"}))
            .engine(400, "on-behalf-of tokens are not switched on here"),
        post("/_plugins/_security/configupdate", &json!({})).engine(405, "there is no such method"),
    ]
}

/// Refused by both with 403, unless said otherwise.
fn request(method: &'static str, target: impl Into<String>) -> Request {
    let target = target.into();
    let target = if target.starts_with('/') { target } else { format!("/{target}") };
    Request { method, target, headers: Vec::new(), body: None, gateway: 403, engine: Refuses(403), not_asked: None }
}

fn get(target: impl Into<String>) -> Request {
    request("GET", target)
}

fn post(target: impl Into<String>, body: &Value) -> Request {
    request("POST", target).with_body(JSON, body.to_string())
}

fn put(target: impl Into<String>, body: &Value) -> Request {
    request("PUT", target).with_body(JSON, body.to_string())
}

fn bulk(target: impl Into<String>, lines: String) -> Request {
    request("POST", target).with_body(LINES, lines)
}

impl Request {
    fn with_body(mut self, content_type: &'static str, body: String) -> Self {
        self.body = Some((content_type, body));
        self
    }

    fn with_lines(self, lines: &[Value]) -> Self {
        let body = lines.iter().map(|line| format!("{line}\n")).collect();
        self.with_body(LINES, body)
    }

    fn without_body(mut self) -> Self {
        self.body = None;
        self
    }

    fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The gateway answers this instead of 403.
    const fn gateway(mut self, status: u16) -> Self {
        self.gateway = status;
        self
    }

    /// The engine answers 200 and refuses so many of the items.
    const fn items(mut self, refused: usize) -> Self {
        self.engine = RefusesItems(refused);
        self
    }

    /// Never gets past the reader of HTTP, in whatever build.
    const fn at_the_door(self, reason: &'static str) -> Self {
        self.gateway(400).engine(400, reason)
    }

    /// The engine refuses with another status than 403, for this reason.
    const fn engine(mut self, status: u16, _reason: &'static str) -> Self {
        self.engine = Refuses(status);
        self
    }

    /// The engine lets it pass, for this reason.
    const fn permits(mut self, status: u16, _reason: &'static str) -> Self {
        self.engine = Permits(status);
        self
    }

    /// The engine is not asked, for this reason.
    const fn not_asked(mut self, reason: &'static str) -> Self {
        self.not_asked = Some(reason);
        self
    }
}
