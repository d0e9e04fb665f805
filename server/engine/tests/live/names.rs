//! What the identity can do under which the gateway itself reads the names of a cluster, and what it cannot.

use oauth4os_policy::EngineGrant;

use crate::roles::{
    BY_ID, CLUSTER_MANAGING, CLUSTER_RUNNING, CLUSTER_STATE, METADATA, NEVER, OUTSIDE, SEARCHING, STATE, furnish,
};
use crate::support::{filled, on_gateway};

#[tokio::test]
async fn the_gateway_reads_names_and_nothing_else() {
    on_gateway("oauth4os-test-names", async |gateway| {
        furnish(&gateway).await;
        let token = gateway.token_of(&EngineGrant::catalog());
        let (status, names) = gateway.call(&token, "GET", "/_resolve/index/*?expand_wildcards=all", "").await;
        let of = |kind: &str| -> Vec<&str> {
            names[kind].as_array().unwrap().iter().filter_map(|one| one["name"].as_str()).collect()
        };
        assert_eq!(status, 200, "{names}");
        for (kind, name) in [("indices", "T-pii"), ("aliases", "T-mixed"), ("data_streams", "T-logs-stream")] {
            assert!(of(kind).contains(&filled(&gateway, name).as_str()), "{kind}: {names}");
        }

        let everything_else = [
            OUTSIDE,
            SEARCHING,
            METADATA,
            BY_ID,
            STATE,
            CLUSTER_STATE,
            CLUSTER_MANAGING,
            CLUSTER_RUNNING,
            NEVER,
            &[
                (403, "POST", "/_msearch", "{\"index\":\"T-logs-a\"}\n{}\n"),
                (403, "POST", "/_mget", r#"{"docs":[{"_index":"T-logs-a","_id":"1"}]}"#),
                (403, "POST", "/_bulk", "{\"index\":{\"_index\":\"T-logs-a\"}}\n{}\n"),
                (403, "PUT", "/T-logs-a/_doc/2", "{}"),
                (403, "POST", "/T-logs-a/_update/1", r#"{"doc":{}}"#),
                (403, "POST", "/T-logs-a/_search/point_in_time?keep_alive=1m", ""),
                (403, "PUT", "/T-logs-a/_alias/T-logs-sneaky", ""),
                (403, "DELETE", "/T-logs-a", ""),
                (403, "GET", "/_tasks", ""),
            ],
        ];
        let mut wrong = Vec::new();
        for (_, method, path, body) in everything_else.into_iter().flatten() {
            let (path, body) = (filled(&gateway, path), filled(&gateway, body));
            let (status, answer) = gateway.call(&token, method, &path, &body).await;
            let expected = if path.starts_with("/_resolve/index/") { 200 } else { 403 };
            if status != expected {
                wrong.push(format!("{method} {path}: {status} instead of {expected}: {answer:.300}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}
