//! What each role lets a token do, and what not.

use std::sync::Arc;

use reqwest::Method;
use serde_json::json;

use crate::support::{Gateway, expect, filled, on_gateway};

/// Two indices and a data stream inside `T-logs-*`, one index outside, an alias inside and one across the border.
pub(crate) async fn furnish(gateway: &Gateway) {
    gateway.set_up().await;
    let path = |text: &str| filled(gateway, text);
    let settings = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0}, "mappings": {"properties": {"m": {"type": "text"}}}});
    for index in ["/T-logs-a", "/T-logs-b", "/T-pii"] {
        gateway.as_admin(Method::PUT, &path(index), Some(settings.clone())).await;
        let document = json!({"m": format!("hello {index}")});
        gateway.as_admin(Method::PUT, &path(&format!("{index}/_doc/1?refresh=true")), Some(document)).await;
    }
    let template = json!({"index_patterns": [path("T-logs-stream*")], "data_stream": {}, "priority": 700, "template": {"settings": {"number_of_replicas": 0}}});
    gateway.as_admin(Method::PUT, &path("/_index_template/T-stream"), Some(template)).await;
    let event = json!({"@timestamp": "2026-01-01T00:00:00Z", "m": "event"});
    gateway.as_admin(Method::POST, &path("/T-logs-stream/_doc?refresh=true"), Some(event)).await;
    for alias in ["/T-logs-a/_alias/T-logs-alias", "/T-logs-a/_alias/T-mixed", "/T-pii/_alias/T-mixed"] {
        gateway.as_admin(Method::PUT, &path(alias), None).await;
    }
}

/// Refused to every token that is not about it.
pub(crate) const OUTSIDE: &[(u16, &str, &str, &str)] = &[
    (403, "GET", "/T-pii/_search", ""),
    (403, "GET", "/T-pii/_doc/1", ""),
    (403, "GET", "/T-logs-a,T-pii/_search", ""),
    (403, "GET", "/T-logs-a%2CT-pii/_search", ""),
    (403, "GET", "/T-mixed/_search", ""),
    (403, "GET", "/_search", ""),
    (403, "GET", "/_all/_search", ""),
    (403, "GET", "/*/_search", ""),
    (403, "GET", "//_search", ""),
    (403, "GET", "/%3CT-pii%3E/_search", ""),
    (403, "GET", "/T-pii/_mapping", ""),
    (403, "GET", "/_mapping", ""),
    (403, "GET", "/_cat/indices", ""),
    (403, "GET", "/.opendistro_security/_search", ""),
    (403, "PUT", "/T-pii/_doc/9", "{}"),
    (403, "PUT", "/T-other/_doc/9", "{}"),
    (403, "PUT", "/T-other", ""),
    (403, "DELETE", "/T-pii", ""),
    (403, "DELETE", "/T-*", ""),
    (403, "DELETE", "/_all", ""),
    (403, "POST", "/_reindex", r#"{"source":{"index":"T-pii"},"dest":{"index":"T-logs-b"}}"#),
    (403, "GET", "/_search/point_in_time/_all", ""),
    (403, "DELETE", "/_search/point_in_time/_all", ""),
    (403, "PUT", "/_index_template/T-t", r#"{"index_patterns":["T-q*"]}"#),
    (403, "PUT", "/_cluster/settings", r#"{"transient":{"cluster.routing.allocation.enable":"all"}}"#),
    (403, "GET", "/_nodes", ""),
    (403, "GET", "/_plugins/_security/api/roles", ""),
    (403, "GET", "/_plugins/_security/api/securityconfig", ""),
    (200, "GET", "/", ""),
];

pub(crate) const SEARCHING: &[(u16, &str, &str, &str)] = &[
    (200, "GET", "/T-logs-*/_search", ""),
    (200, "GET", "/T-logs-alias/_search", ""),
    (200, "GET", "/T-logs-stream/_search", ""),
    (200, "GET", "/.ds-T-logs-stream-000001/_search", ""),
    (200, "GET", "/T-logs-a/_count", ""),
    (200, "GET", "/_cat/count/T-logs-a", ""),
    (200, "GET", "/T-logs-a/_field_caps?fields=*", ""),
    (200, "GET", "/T-logs-a/_validate/query?q=m:x", ""),
    (200, "GET", "/T-logs-a/_search_shards", ""),
];

pub(crate) const METADATA: &[(u16, &str, &str, &str)] = &[
    (200, "GET", "/T-logs-a", ""),
    (200, "HEAD", "/T-logs-a", ""),
    (200, "GET", "/T-logs-*/_mapping", ""),
    (200, "GET", "/T-logs-a/_mapping/field/m", ""),
    (200, "GET", "/T-logs-a/_settings", ""),
    (200, "GET", "/T-logs-a/_alias", ""),
    (200, "HEAD", "/T-logs-a/_alias/T-logs-alias", ""),
    (200, "GET", "/_resolve/index/T-logs-*", ""),
    (200, "GET", "/_data_stream/T-logs-stream", ""),
    (200, "POST", "/T-logs-a/_analyze", r#"{"text":"a b"}"#),
];

pub(crate) const BY_ID: &[(u16, &str, &str, &str)] = &[
    (200, "GET", "/T-logs-a/_doc/1", ""),
    (200, "HEAD", "/T-logs-a/_doc/1", ""),
    (200, "GET", "/T-logs-a/_source/1", ""),
    (200, "GET", "/T-logs-a/_explain/1?q=m:hello", ""),
    (200, "GET", "/T-logs-a/_termvectors/1?fields=m", ""),
    (200, "POST", "/T-logs-a/_mget", r#"{"ids":["1"]}"#),
];

pub(crate) const STATE: &[(u16, &str, &str, &str)] = &[
    (200, "GET", "/T-logs-a/_stats", ""),
    (200, "GET", "/T-logs-a/_segments", ""),
    (200, "GET", "/T-logs-a/_recovery", ""),
    (200, "GET", "/T-logs-a/_shard_stores", ""),
    (200, "GET", "/_data_stream/T-logs-stream/_stats", ""),
    (200, "GET", "/_cat/indices/T-logs-a", ""),
    (200, "GET", "/_cat/shards/T-logs-a", ""),
    (200, "GET", "/_cat/segments/T-logs-a", ""),
    (200, "GET", "/_cat/recovery/T-logs-a", ""),
    (403, "GET", "/_stats", ""),
    (403, "GET", "/T-pii/_stats", ""),
];

fn refused(
    requests: &[(u16, &'static str, &'static str, &'static str)],
) -> Vec<(u16, &'static str, &'static str, &'static str)> {
    requests
        .iter()
        .filter(|request| request.0 == 200)
        .map(|(_, method, path, body)| (403, *method, *path, *body))
        .collect()
}

#[tokio::test]
async fn search_and_read() {
    on_gateway("oauth4os-test-read", async |gateway| {
        furnish(&gateway).await;
        expect(&gateway, "search:T-logs-*", OUTSIDE).await;
        expect(&gateway, "search:T-logs-*", SEARCHING).await;
        expect(&gateway, "search:T-logs-*", &refused(METADATA)).await;
        expect(&gateway, "search:T-logs-*", &refused(BY_ID)).await;
        expect(&gateway, "read:T-logs-*", OUTSIDE).await;
        expect(&gateway, "read:T-logs-*", SEARCHING).await;
        expect(&gateway, "read:T-logs-*", METADATA).await;
        expect(&gateway, "read:T-logs-*", BY_ID).await;
        expect(
            &gateway,
            "read:T-logs-*",
            &[
                (403, "PUT", "/T-logs-a/_doc/2", "{}"),
                (403, "POST", "/T-logs-a/_update/1", r#"{"doc":{}}"#),
                (403, "DELETE", "/T-logs-a/_doc/1", ""),
                (403, "POST", "/T-logs-a/_delete_by_query", r#"{"query":{"match_all":{}}}"#),
                (403, "POST", "/T-logs-a/_refresh", ""),
                (403, "PUT", "/T-logs-a/_mapping", r#"{"properties":{"z":{"type":"long"}}}"#),
                (403, "DELETE", "/T-logs-a", ""),
                (403, "GET", "/_cluster/health", ""),
                (403, "GET", "/T-logs-a/_stats", ""),
                (
                    200,
                    "POST",
                    "/T-logs-a/_search",
                    r#"{"query":{"terms":{"m":{"index":"T-logs-b","id":"1","path":"m"}}}}"#,
                ),
                (
                    403,
                    "POST",
                    "/T-logs-a/_search",
                    r#"{"query":{"terms":{"m":{"index":"T-pii","id":"1","path":"m"}}}}"#,
                ),
            ],
        )
        .await;
        items(&gateway).await;
        handles(&gateway, "search:T-logs-*").await;
        handles(&gateway, "read:T-logs-*").await;
    })
    .await;
}

/// `_mget` and `_msearch` answer per item.
async fn items(gateway: &Gateway) {
    let token = gateway.token(&filled(gateway, "read:T-logs-*"));
    let body = filled(gateway, r#"{"docs":[{"_index":"T-logs-a","_id":"1"},{"_index":"T-pii","_id":"1"}]}"#);
    let (status, answer) = gateway.call(&token, "POST", "/_mget", &body).await;
    assert_eq!((status, &answer["docs"][0]["found"]), (200, &json!(true)));
    assert_eq!(answer["docs"][1]["error"]["type"], "security_exception", "{answer}");
    let body = filled(gateway, "{\"index\":\"T-logs-a\"}\n{}\n{\"index\":\"T-pii\"}\n{}\n");
    let (status, answer) = gateway.call(&token, "POST", "/_msearch", &body).await;
    assert_eq!(status, 200);
    assert_eq!((&answer["responses"][0]["status"], &answer["responses"][1]["status"]), (&json!(200), &json!(403)));
}

/// Scroll and point in time, from beginning to end; of another's point in time nothing.
async fn handles(gateway: &Gateway, scopes: &str) {
    let token = gateway.token(&filled(gateway, scopes));
    let (status, answer) =
        gateway.call(&token, "GET", &filled(gateway, "/T-logs-*/_search?scroll=1m&size=1"), "").await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["_scroll_id"].as_str().unwrap().to_owned();
    let next = json!({"scroll_id": id, "scroll": "1m"}).to_string();
    assert_eq!(gateway.call(&token, "POST", "/_search/scroll", &next).await.0, 200);
    assert_eq!(gateway.call(&token, "DELETE", "/_search/scroll", &json!({"scroll_id": [id]}).to_string()).await.0, 200);

    let open = |index: &str| filled(gateway, &format!("/{index}/_search/point_in_time?keep_alive=1m"));
    let (status, answer) = gateway.call(&token, "POST", &open("T-logs-*"), "").await;
    assert_eq!(status, 200, "{answer}");
    let id = answer["pit_id"].as_str().unwrap().to_owned();
    let search = json!({"pit": {"id": id}}).to_string();
    assert_eq!(gateway.call(&token, "POST", "/_search", &search).await.0, 200);
    assert_eq!(
        gateway.call(&token, "DELETE", "/_search/point_in_time", &json!({"pit_id": [id]}).to_string()).await.0,
        200
    );

    assert_eq!(gateway.call(&token, "POST", &open("T-pii"), "").await.0, 403);
    let foreign = gateway.as_admin(Method::POST, &open("T-pii"), None).await["pit_id"].as_str().unwrap().to_owned();
    let search = json!({"pit": {"id": foreign}}).to_string();
    assert_eq!(gateway.call(&token, "POST", "/_search", &search).await.0, 403);
    let end = json!({"pit_id": [foreign]});
    assert_eq!(gateway.call(&token, "DELETE", "/_search/point_in_time", &end.to_string()).await.0, 403);
    gateway.as_admin(Method::DELETE, "/_search/point_in_time", Some(end)).await;
}

#[tokio::test]
async fn write() {
    on_gateway("oauth4os-test-write", async |gateway| {
        furnish(&gateway).await;
        expect(&gateway, "write:T-logs-*", OUTSIDE).await;
        expect(&gateway, "write:T-logs-*", &refused(SEARCHING)).await;
        expect(&gateway, "write:T-logs-*", &refused(METADATA)).await;
        expect(&gateway, "write:T-logs-*", &refused(BY_ID)).await;
        expect(
            &gateway,
            "write:T-logs-*",
            &[
                (201, "PUT", "/T-logs-a/_doc/2?refresh=wait_for", r#"{"m":"x","new field":1}"#),
                (201, "POST", "/T-logs-a/_doc?refresh=true", r#"{"m":"x"}"#),
                (201, "PUT", "/T-logs-a/_create/3", r#"{"m":"x"}"#),
                (200, "POST", "/T-logs-a/_update/2", r#"{"doc":{"m":"y"}}"#),
                (200, "DELETE", "/T-logs-a/_doc/3", ""),
                (201, "PUT", "/T-logs-made/_doc/1", r#"{"made":{"by":"writing"}}"#),
                (201, "POST", "/T-logs-stream/_doc", r#"{"@timestamp":"2026-01-01T00:00:00Z"}"#),
                (201, "POST", "/T-logs-stream-made/_doc", r#"{"@timestamp":"2026-01-01T00:00:00Z"}"#),
                (403, "POST", "/T-logs-a/_update_by_query", ""),
                (403, "POST", "/T-logs-a/_delete_by_query", r#"{"query":{"match_all":{}}}"#),
                (403, "DELETE", "/T-logs-a", ""),
                (200, "POST", "/T-logs-a/_refresh", ""),
                (403, "PUT", "/T-logs-a/_settings", r#"{"index":{"number_of_replicas":0}}"#),
                (403, "PUT", "/T-logs-with", r#"{"aliases":{"T-logs-x":{}}}"#),
                (403, "PUT", "/T-logs-a/_alias/T-logs-y", ""),
                (403, "GET", "/T-logs-a/_stats", ""),
            ],
        )
        .await;
        // Writing by query reads: it takes both scopes.
        expect(
            &gateway,
            "write:T-logs-* read:T-logs-*",
            &[
                (200, "POST", "/T-logs-b/_update_by_query?conflicts=proceed", ""),
                (200, "POST", "/T-logs-b/_delete_by_query?conflicts=proceed", r#"{"query":{"match_none":{}}}"#),
                (403, "POST", "/T-pii/_update_by_query", ""),
            ],
        )
        .await;
        expect(
            &gateway,
            "write:T-logs-a read:T-logs-b",
            &[
                (403, "POST", "/T-logs-a/_update_by_query", ""),
                (403, "POST", "/T-logs-b/_update_by_query", ""),
                (200, "GET", "/T-logs-b/_search", ""),
                (403, "GET", "/T-logs-a/_search", ""),
                (403, "PUT", "/T-logs-b/_doc/7", "{}"),
            ],
        )
        .await;
        bulk(&gateway).await;
    })
    .await;
}

/// `_bulk` answers per item; a new index, a new field, a data stream.
async fn bulk(gateway: &Arc<Gateway>) {
    let token = gateway.token(&filled(gateway, "write:T-logs-*"));
    let body = concat!(
        "{\"index\":{\"_index\":\"T-logs-bulk\",\"_id\":\"1\"}}\n{\"deep\":{\"new\":1}}\n",
        "{\"update\":{\"_index\":\"T-logs-b\",\"_id\":\"1\"}}\n{\"doc\":{\"other\":true}}\n",
        "{\"create\":{\"_index\":\"T-logs-stream\"}}\n{\"@timestamp\":\"2026-01-01T00:00:00Z\"}\n",
        "{\"delete\":{\"_index\":\"T-logs-b\",\"_id\":\"1\"}}\n",
        "{\"index\":{\"_index\":\"T-pii\",\"_id\":\"9\"}}\n{}\n",
        "{\"delete\":{\"_index\":\"T-pii\",\"_id\":\"1\"}}\n",
        "{\"index\":{\"_index\":\"T-new\",\"_id\":\"9\"}}\n{}\n",
    );
    let (status, answer) = gateway.call(&token, "POST", "/_bulk", &filled(gateway, body)).await;
    assert_eq!(status, 200, "{answer}");
    let statuses: Vec<u64> = answer["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item.as_object().unwrap().values().next().unwrap()["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 200, 201, 200, 403, 403, 403], "{answer}");
}

#[tokio::test]
async fn monitor_manage_admin() {
    on_gateway("oauth4os-test-manage", async |gateway| {
        furnish(&gateway).await;
        expect(&gateway, "monitor:T-logs-*", OUTSIDE).await;
        expect(&gateway, "monitor:T-logs-*", STATE).await;
        expect(&gateway, "monitor:T-logs-*", METADATA).await;
        expect(&gateway, "monitor:T-logs-*", &refused(SEARCHING)).await;
        expect(&gateway, "monitor:T-logs-*", &refused(BY_ID)).await;
        expect(
            &gateway,
            "monitor:T-logs-*",
            &[
                (403, "POST", "/T-logs-a/_refresh", ""),
                (403, "PUT", "/T-logs-a/_doc/2", "{}"),
                (403, "DELETE", "/T-logs-a", ""),
            ],
        )
        .await;
        expect(&gateway, "manage:T-logs-*", OUTSIDE).await;
        expect(&gateway, "manage:T-logs-*", STATE).await;
        expect(&gateway, "manage:T-logs-*", METADATA).await;
        expect(&gateway, "manage:T-logs-*", &refused(SEARCHING)).await;
        expect(&gateway, "manage:T-logs-*", &refused(BY_ID)).await;
        expect(
            &gateway,
            "manage:T-logs-*",
            &[(403, "PUT", "/T-logs-a/_doc/2", "{}"), (403, "POST", "/T-logs-a/_bulk", "{\"index\":{}}\n{}\n")],
        )
        .await;
        expect(&gateway, "manage:T-logs-*", LIFE).await;
        expect(&gateway, "admin:T-logs-*", OUTSIDE).await;
        for all in [SEARCHING, METADATA, BY_ID, STATE, LIFE] {
            expect(&gateway, "admin:T-logs-*", all).await;
        }
        expect(
            &gateway,
            "admin:T-logs-*",
            &[(200, "PUT", "/T-logs-a/_doc/1", "{}"), (200, "POST", "/T-logs-a/_bulk", "{\"index\":{}}\n{}\n")],
        )
        .await;
        handles(&gateway, "admin:T-logs-*").await;
    })
    .await;
}

/// The life of an index from creation to deletion.
const LIFE: &[(u16, &str, &str, &str)] = &[
    (200, "PUT", "/T-logs-m", r#"{"settings":{"number_of_shards":2,"number_of_replicas":0}}"#),
    (
        200,
        "PUT",
        "/T-logs-w",
        r#"{"settings":{"number_of_replicas":0},"aliases":{"T-logs-current":{"is_write_index":true}}}"#,
    ),
    (200, "PUT", "/T-logs-m/_mapping", r#"{"properties":{"a":{"type":"long"}}}"#),
    (200, "PUT", "/T-logs-m/_settings", r#"{"index.refresh_interval":"5s"}"#),
    (200, "PUT", "/T-logs-m/_alias/T-logs-al", ""),
    (200, "DELETE", "/T-logs-m/_alias/T-logs-al", ""),
    (403, "PUT", "/T-pii/_alias/T-logs-sneak", ""),
    (403, "POST", "/_aliases", r#"{"actions":[{"add":{"index":"T-pii","alias":"T-logs-sneak"}}]}"#),
    (200, "POST", "/T-logs-m/_refresh", ""),
    (403, "POST", "/_refresh", ""),
    (200, "POST", "/T-logs-m/_flush", ""),
    (200, "POST", "/T-logs-m/_forcemerge", ""),
    (200, "POST", "/T-logs-m/_cache/clear", ""),
    (200, "POST", "/T-logs-m/_close", ""),
    (200, "POST", "/T-logs-m/_open", ""),
    (200, "PUT", "/T-logs-m/_block/write", ""),
    (200, "POST", "/T-logs-m/_shrink/T-logs-m-s", ""),
    (200, "POST", "/T-logs-m/_clone/T-logs-m-c", ""),
    (403, "POST", "/T-logs-m/_clone/T-out", ""),
    (200, "POST", "/T-logs-current/_rollover/T-logs-w2", ""),
    (403, "POST", "/T-logs-current/_rollover/T-out", ""),
    (200, "POST", "/T-logs-stream/_rollover", ""),
    (200, "PUT", "/_data_stream/T-logs-stream9", ""),
    (200, "DELETE", "/_data_stream/T-logs-stream9", ""),
    (403, "PUT", "/_data_stream/T-out", ""),
    (200, "DELETE", "/T-logs-m,T-logs-m-s,T-logs-m-c", ""),
    (200, "DELETE", "/T-logs-w*", ""),
];

pub(crate) const CLUSTER_STATE: &[(u16, &str, &str, &str)] = &[
    (200, "GET", "/_cluster/health", ""),
    (200, "GET", "/_cluster/state/version", ""),
    (200, "GET", "/_cluster/stats", ""),
    (200, "GET", "/_cluster/settings", ""),
    (200, "GET", "/_cluster/pending_tasks", ""),
    (200, "GET", "/_remote/info", ""),
    (200, "GET", "/_nodes", ""),
    (200, "GET", "/_nodes/stats", ""),
    (200, "GET", "/_nodes/usage", ""),
    (200, "GET", "/_nodes/hot_threads", ""),
    (200, "GET", "/_tasks", ""),
    (200, "GET", "/_cat/allocation", ""),
    (200, "GET", "/_cat/health", ""),
    (200, "GET", "/_cat/nodes", ""),
    (200, "GET", "/_cat/plugins", ""),
    (200, "GET", "/_cat/templates", ""),
    (200, "GET", "/_cat/thread_pool", ""),
    (200, "GET", "/", ""),
];

pub(crate) const CLUSTER_MANAGING: &[(u16, &str, &str, &str)] = &[
    (200, "PUT", "/_index_template/T-t", r#"{"index_patterns":["T-q*"]}"#),
    (200, "GET", "/_index_template/T-t", ""),
    (200, "HEAD", "/_index_template/T-t", ""),
    (200, "POST", "/_index_template/_simulate/T-t", ""),
    (200, "DELETE", "/_index_template/T-t", ""),
    (200, "PUT", "/_component_template/T-c", r#"{"template":{}}"#),
    (200, "DELETE", "/_component_template/T-c", ""),
    (200, "PUT", "/_template/T-l", r#"{"index_patterns":["T-q*"]}"#),
    (200, "DELETE", "/_template/T-l", ""),
    (200, "PUT", "/_ingest/pipeline/T-p", r#"{"processors":[]}"#),
    (200, "DELETE", "/_ingest/pipeline/T-p", ""),
    (200, "PUT", "/_search/pipeline/T-p", "{}"),
    (200, "DELETE", "/_search/pipeline/T-p", ""),
    (200, "GET", "/_snapshot", ""),
    (200, "GET", "/_cat/repositories", ""),
];

pub(crate) const CLUSTER_RUNNING: &[(u16, &str, &str, &str)] = &[
    (200, "PUT", "/_cluster/settings", r#"{"transient":{"cluster.routing.allocation.enable":null}}"#),
    (200, "POST", "/_cluster/reroute", "{}"),
    (200, "POST", "/_tasks/_cancel?actions=none-such", ""),
    (200, "POST", "/_nodes/reload_secure_settings", "{}"),
    (200, "GET", "/_dangling", ""),
];

/// Nothing of the indices and nothing of the security plugin, whatever the cluster scope.
pub(crate) const NEVER: &[(u16, &str, &str, &str)] = &[
    (403, "GET", "/T-logs-a/_search", ""),
    (403, "GET", "/T-logs-a/_mapping", ""),
    (403, "GET", "/_stats", ""),
    (403, "PUT", "/T-zz", ""),
    (403, "DELETE", "/T-pii", ""),
    (403, "GET", "/_plugins/_security/api/roles", ""),
    (403, "GET", "/_plugins/_security/api/securityconfig", ""),
    (403, "PUT", "/_plugins/_security/api/roles/T-zz", "{}"),
    (403, "DELETE", "/_plugins/_security/api/cache", ""),
    (403, "GET", "/.opendistro_security/_search", ""),
];

#[tokio::test]
async fn cluster() {
    on_gateway("oauth4os-test-cluster", async |gateway| {
        furnish(&gateway).await;
        for verb in ["monitor", "manage", "admin"] {
            let scope = format!("{verb}:cluster");
            expect(&gateway, &scope, CLUSTER_STATE).await;
            expect(&gateway, &scope, NEVER).await;
        }
        expect(&gateway, "monitor:cluster", &refused(CLUSTER_MANAGING)).await;
        expect(&gateway, "monitor:cluster", &refused(CLUSTER_RUNNING)).await;
        expect(&gateway, "manage:cluster", CLUSTER_MANAGING).await;
        expect(&gateway, "manage:cluster", &refused(CLUSTER_RUNNING)).await;
        expect(&gateway, "admin:cluster", CLUSTER_MANAGING).await;
        expect(&gateway, "admin:cluster", CLUSTER_RUNNING).await;
    })
    .await;
}
