//! A request for each line of the table: its path filled in with names inside the test data, and the least body that its
//! reader in the engine takes.

use std::fmt;

use e2e::workspace;
use serde_json::{Value, json};

/// A name that nothing has.
const NEW: &str = "logs-dry-run";

/// A method and a path of the table, as a request.
#[derive(Clone)]
pub struct Route {
    pub method: &'static str,
    /// As the table has it.
    pub path: String,
    /// The operation's name.
    pub operation: String,
    pub target: String,
    /// Content type and body.
    pub body: Option<(&'static str, String)>,
    /// It may be sent without the dry run: it only reads, or there is nothing for it to change.
    pub changes_nothing: bool,
}

/// Operations that change nothing as they are sent here: a query that finds nothing, a task that is not there.
const NOTHING_TO_CHANGE: [&str; 8] = [
    "delete_by_query",
    "delete_by_query_rethrottle",
    "indices.flush_synced",
    "indices.refresh",
    "reindex",
    "reindex_rethrottle",
    "update_by_query",
    "update_by_query_rethrottle",
];

const READING: [&str; 6] = ["ClusterMonitor", "Get", "Info", "Metadata", "Monitor", "Search"];

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{} {}` ({})", self.method, self.target, self.operation)
    }
}

/// Every method of every line of `operations.txt`. `index` is an index of the data.
pub fn routes(index: &str) -> Vec<Route> {
    let table = std::fs::read_to_string(workspace().join("server/classify/operations.txt")).expect("the table");
    let mut routes = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap_or_else(|| panic!("too short: `{line}`")).to_owned();
        let (methods, path, operation, class) = (next(), next(), next(), next());
        for method in methods.split(',') {
            routes.push(Route {
                method: method_of(method),
                target: target(&path, &operation, index),
                // A document is named or given, not both.
                body: body(method, &operation, index).filter(|_| path != "/{index}/_termvectors/{id}"),
                changes_nothing: matches!(method, "GET" | "HEAD")
                    || (method == "POST" && READING.contains(&class.as_str()))
                    || NOTHING_TO_CHANGE.contains(&operation.as_str())
                    || path == "/_tasks/{task_id}/_cancel",
                path: path.clone(),
                operation: operation.clone(),
            });
        }
    }
    routes
}

fn method_of(method: &str) -> &'static str {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]
        .into_iter()
        .find(|known| *known == method)
        .unwrap_or_else(|| panic!("no method: `{method}`"))
}

fn target(path: &str, operation: &str, index: &str) -> String {
    let segments: Vec<String> = path
        .split('/')
        .map(|segment| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => value(name, operation, index).to_owned(),
            None => segment.to_owned(),
        })
        .collect();
    let query = if path.contains("{node_name}") { "" } else { query(operation) };
    format!("{}{}{query}", segments.join("/"), if query.is_empty() { "" } else { "?" })
}

fn value<'a>(capture: &str, operation: &str, index: &'a str) -> &'a str {
    match (capture, operation) {
        ("index", "indices.create") | ("target" | "new_index", _) => NEW,
        ("index", "indices.rollover") => "logs-stream",
        ("index", _) => index,
        ("name", "indices.put_alias" | "indices.delete_alias" | "indices.create_data_stream") => NEW,
        ("name", "indices.get_alias" | "indices.exists_alias" | "cat.aliases") => "logs-inside",
        ("name", operation) if operation.contains("data_stream") => "logs-stream",
        ("name", "indices.resolve_index") => "logs-*",
        ("name", "indices.get_settings") => "index.number_of_shards",
        ("name", "indices.simulate_index_template") => NEW,
        ("task_id", _) => "no-such-node:1",
        ("id", "put_script" | "get_script" | "delete_script") => "dry-run",
        ("id", _) => "000001",
        ("block", _) => "write",
        ("context", _) => "score",
        ("fields", _) => "message",
        ("metric", "cluster.state") => "version",
        ("metric", "cluster.stats") => "indices",
        ("metric", "indices.stats") | ("index_metric", "cluster.stats" | "nodes.stats") => "docs",
        ("metric", "nodes.info") => "os",
        ("metric", "nodes.stats") => "indices",
        ("metric", "nodes.usage") => "rest_actions",
        ("thread_pool_patterns", _) => "write",
        ("node_id", _) => "_local",
        ("shard_id", _) => "0",
        _ => "dry-run",
    }
}

/// Parameters without which the engine's reader refuses.
fn query(operation: &str) -> &'static str {
    match operation {
        "create_pit" => "keep_alive=1m",
        "explain" => "q=a",
        "field_caps" => "fields=*",
        "cluster.post_voting_config_exclusions" => "node_names=no-such-node",
        "dangling_indices.import_dangling_index" | "dangling_indices.delete_dangling_index" => "accept_data_loss=true",
        "reindex_rethrottle" | "delete_by_query_rethrottle" | "update_by_query_rethrottle" => "requests_per_second=1",
        _ => "",
    }
}

fn body(method: &str, operation: &str, index: &str) -> Option<(&'static str, String)> {
    if let Some(lines) = lines(operation, index) {
        let text = lines.iter().map(|line| format!("{line}\n")).collect();
        return Some(("application/x-ndjson", text));
    }
    let fits = match operation {
        "clear_scroll" | "delete_pit" | "cluster.delete_weighted_routing" => true,
        _ => !matches!(method, "HEAD" | "DELETE"),
    };
    let body = if fits { document(operation, index)? } else { return None };
    Some(("application/json", body.to_string()))
}

fn lines(operation: &str, index: &str) -> Option<Vec<Value>> {
    Some(match operation {
        "bulk" | "bulk_stream" => vec![json!({"index": {"_index": index}}), json!({"message": "dry run"})],
        "msearch" => vec![json!({"index": index}), json!({})],
        "msearch_template" => vec![json!({"index": index}), json!({"source": "{}"})],
        _ => return None,
    })
}

fn document(operation: &str, index: &str) -> Option<Value> {
    let pattern = format!("{NEW}-*");
    Some(match operation {
        "scroll" | "clear_scroll" => json!({"scroll_id": "dry-run"}),
        "delete_pit" | "cat.pit_segments" => json!({"pit_id": ["dry-run"]}),
        "mget" | "mtermvectors" => json!({"docs": [{"_index": index, "_id": "000001"}]}),
        "index"
        | "create"
        | "indices.create"
        | "indices.rollover"
        | "indices.shrink"
        | "indices.clone"
        | "search_pipeline.put"
        | "snapshot.create"
        | "cluster.reroute"
        | "nodes.reload_secure_settings" => json!({}),
        "update" => json!({"doc": {"message": "dry run"}}),
        "delete_by_query" | "update_by_query" => json!({"query": {"match_none": {}}}),
        "reindex" => json!({"source": {"index": index, "query": {"match_none": {}}}, "dest": {"index": NEW}}),
        "termvectors" => json!({"doc": {"message": "dry run"}}),
        "cluster.allocation_explain" => json!({"index": index, "shard": 0, "primary": true}),
        "indices.put_mapping" => json!({"properties": {}}),
        "indices.put_settings" => json!({"index": {"refresh_interval": "5s"}}),
        "indices.split" => json!({"settings": {"index.number_of_shards": 2}}),
        "indices.scale" => json!({"search_only": true}),
        "indices.analyze" => json!({"text": "dry run"}),
        "indices.put_alias" => json!({"index": index, "alias": NEW}),
        "indices.update_aliases" => json!({"actions": [{"add": {"index": index, "alias": NEW}}]}),
        "indices.put_index_template" => json!({"index_patterns": [pattern]}),
        "indices.simulate_template" => json!({"index_patterns": [pattern]}),
        "indices.put_template" => json!({"index_patterns": [pattern]}),
        "cluster.put_component_template" => json!({"template": {}}),
        "ingest.put_pipeline" => json!({"processors": []}),
        "ingest.simulate" => json!({"pipeline": {"processors": []}, "docs": [{"_source": {}}]}),
        "put_script" => json!({"script": {"lang": "painless", "source": "1"}}),
        "search_template" => json!({"source": {"query": {"match_all": {}}}}),
        "render_search_template" => json!({"source": "{}"}),
        "rank_eval" => {
            json!({"requests": [{"id": "a", "request": {"query": {"match_all": {}}}, "ratings": []}], "metric": {"precision": {}}})
        }
        "scripts_painless_execute" => json!({"script": {"source": "1"}}),
        "cluster.put_settings" => json!({"transient": {"action.auto_create_index": null}}),
        "cluster.put_weighted_routing" => json!({"weights": {"dry-run": "1"}, "_version": -1}),
        "cluster.delete_weighted_routing" => json!({"_version": -1}),
        "snapshot.create_repository" => json!({"type": "fs", "settings": {"location": "/nowhere"}}),
        "snapshot.clone" => json!({"indices": index}),
        "snapshot.restore" => json!({"indices": index, "include_global_state": false, "include_aliases": false}),
        "remote_store.restore" => json!({"indices": [index]}),
        "views.create" => json!({"name": "dry-run", "targets": [{"indexPattern": index}]}),
        "views.update" => json!({"targets": [{"indexPattern": index}]}),
        "views.search" => json!({}),
        _ => return None,
    })
}
