//! The static roles: for each verb the actions of the engine it stands for, named one by one.
//!
//! Wildcards stand only where the engine appends to a name (`[shard]`, `[s]`) or where a whole family is meant. Each
//! list was tried against the REST endpoints of its permission class on 3.4.0 and 2.19.4.
//!
//! The plugin checks some actions on the cluster as a whole although they are named `indices:` (`PrivilegesEvaluator`,
//! `isClusterPerm`): scroll, and the outer request of `_bulk`, `_mget`, `_msearch`, `_reindex` and `mtv`, whose items are then
//! checked one by one against the index patterns. They stand in `cluster_permissions` and grant nothing without the index actions.

use oauth4os_config::FieldSet;
use oauth4os_policy::{EngineRole, RestrictedRole};
use serde_json::{Value, json};

/// Says in Dashboards and in dumps whose the roles are.
pub(super) const OWNER: &str = "Made by oauth4os engine setup, which puts changes back";

/// `GET /`, which every client asks for when it connects.
const MAIN: &[&str] = &["cluster:monitor/main"];

/// Scroll and the outer request of `_msearch`.
const SEARCH_OUTER: &[&str] =
    &["indices:data/read/msearch", "indices:data/read/scroll", "indices:data/read/scroll/clear"];

/// `mtv` is what a `more_like_this` query asks for by itself when it names documents.
const GET_OUTER: &[&str] = &["indices:data/read/mget", "indices:data/read/mtv"];

/// `reindex` is only the outer request: its search and its writes are checked one by one.
const WRITE_OUTER: &[&str] = &["indices:data/write/bulk", "indices:data/write/reindex"];

/// `_cat/indices/{index}` and `_cat/shards/{index}` read the state of the whole cluster and then show one index; the
/// engine has no narrower right for it. Only the gateway keeps such a token from `_cluster/state`.
const MONITOR_OUTER: &[&str] = &["cluster:monitor/health", "cluster:monitor/shards", "cluster:monitor/state"];

const SEARCH: &[&str] = &[
    "indices:admin/shards/search_shards",
    "indices:admin/validate/query",
    "indices:data/read/field_caps*",
    "indices:data/read/msearch",
    "indices:data/read/point_in_time/create",
    "indices:data/read/point_in_time/delete",
    "indices:data/read/rank_eval",
    "indices:data/read/search",
];

const GET: &[&str] = &[
    "indices:data/read/explain",
    "indices:data/read/get",
    "indices:data/read/mget*",
    "indices:data/read/mtv*",
    "indices:data/read/tv",
];

const METADATA: &[&str] = &[
    "indices:admin/aliases/get",
    "indices:admin/analyze",
    "indices:admin/data_stream/get",
    "indices:admin/exists",
    "indices:admin/get",
    "indices:admin/mappings/fields/get*",
    "indices:admin/mappings/get",
    "indices:admin/resolve/index",
    "indices:monitor/settings/get",
];

/// With `create` and `mapping/put`, without which a first document into a new index or with a new field is refused.
/// They also admit `PUT /{index}` and `PUT /{index}/_mapping`, which the gateway keeps for `manage`.
/// `byquery` searches before it writes and so needs `read` beside `write`; it refreshes when `refresh=true` asks for it, as
/// `_reindex` does.
const WRITE: &[&str] = &[
    "indices:admin/create",
    "indices:admin/mapping/put",
    "indices:admin/refresh*",
    "indices:data/write/bulk*",
    "indices:data/write/delete",
    "indices:data/write/delete/byquery",
    "indices:data/write/index",
    "indices:data/write/update",
    "indices:data/write/update/byquery",
];

const MONITOR: &[&str] = &["indices:admin/shards/search_shards", "indices:monitor/*"];

const MANAGE: &[&str] = &[
    "indices:admin/aliases",
    "indices:admin/block/add*",
    "indices:admin/cache/clear",
    "indices:admin/close*",
    "indices:admin/create",
    "indices:admin/data_stream/create",
    "indices:admin/data_stream/delete",
    "indices:admin/delete",
    "indices:admin/flush*",
    "indices:admin/forcemerge",
    "indices:admin/mapping/put",
    "indices:admin/open",
    "indices:admin/refresh*",
    "indices:admin/resize",
    "indices:admin/rollover",
    "indices:admin/settings/update",
    "indices:admin/upgrade",
];

/// State of cluster and nodes: read only.
const CLUSTER_MONITOR: &[&str] = &["cluster:monitor/*"];

/// Templates, pipelines, stored scripts, repositories, snapshots. Not `snapshot/restore`, which writes indices under
/// names of the caller's choice.
const CLUSTER_MANAGE: &[&str] = &[
    "cluster:admin/component_template/*",
    "cluster:admin/ingest/pipeline/*",
    "cluster:admin/ingest/processor/grok/get",
    "cluster:admin/repository/*",
    "cluster:admin/script/*",
    "cluster:admin/script_context/get",
    "cluster:admin/script_language/get",
    "cluster:admin/scripts/painless/context",
    "cluster:admin/search/pipeline/*",
    "cluster:admin/snapshot/clone",
    "cluster:admin/snapshot/create",
    "cluster:admin/snapshot/delete",
    "cluster:admin/snapshot/get",
    "cluster:admin/snapshot/status*",
    "indices:admin/index_template/*",
    "indices:admin/template/*",
];

/// Running the cluster. Nothing of the security plugin (`restapi:`, `cluster:admin/opendistro_security/*`,
/// `cluster:admin/security/*`).
const CLUSTER_ADMIN: &[&str] = &[
    "cluster:admin/decommission/awareness/*",
    "cluster:admin/indices/dangling/*",
    "cluster:admin/nodes/reload_secure_settings",
    "cluster:admin/reindex/rethrottle",
    "cluster:admin/reroute",
    "cluster:admin/routing/awareness/*",
    "cluster:admin/settings/update",
    "cluster:admin/tasks/cancel",
    "cluster:admin/voting_config/*",
];

/// Everything on an index; system indices stay closed to it, as the plugin guards them itself.
const ADMIN: &[&str] = &["indices:*"];

/// What every name stands for: one action, on every index.
const CATALOG: &[&str] = &["indices:admin/resolve/index"];

/// Where Dashboards keeps what it holds, by its present and its former name. Where the cluster has tenants, the plugin itself
/// chooses the index, and the tenant's permission is what counts.
const DASHBOARDS_INDICES: &[&str] = &[
    ".kibana",
    ".kibana-6",
    ".kibana_*",
    ".opensearch_dashboards",
    ".opensearch_dashboards-6",
    ".opensearch_dashboards_*",
];

/// What a role for Dashboards may do with the tenants of this configuration.
const TENANT_READ: &[&str] = &["kibana:saved_objects/*/read"];
const TENANT_WRITE: &[&str] = &["kibana:saved_objects/*/write"];

/// The role for Dashboards, which asks the engine for its objects with the user's own rights.
fn dashboards(writes: bool, tenants: &[String]) -> Value {
    let mut cluster = vec![MAIN, SEARCH_OUTER, GET_OUTER];
    let mut index = vec![SEARCH, GET, METADATA];
    let mut tenant = vec![TENANT_READ];
    if writes {
        cluster.push(WRITE_OUTER);
        index.push(WRITE);
        tenant.push(TENANT_WRITE);
    }
    json!({
        "description": OWNER,
        "cluster_permissions": sorted(&cluster),
        "index_permissions": [{"index_patterns": DASHBOARDS_INDICES, "allowed_actions": sorted(&index)}],
        "tenant_permissions": [{"tenant_patterns": tenants, "allowed_actions": sorted(&tenant)}],
    })
}

/// The role as the REST API takes it. `attributes` is the family of attributes its pattern comes from; those for Dashboards
/// may use these tenants.
pub(super) fn body(role: EngineRole, attributes: &str, tenants: &[String]) -> Value {
    let (cluster, index): (&[&[&str]], &[&[&str]]) = match role {
        EngineRole::Search => (&[MAIN, SEARCH_OUTER], &[SEARCH]),
        EngineRole::Read => (&[MAIN, SEARCH_OUTER, GET_OUTER], &[SEARCH, GET, METADATA]),
        EngineRole::Write => (&[MAIN, WRITE_OUTER], &[WRITE]),
        EngineRole::Monitor => (&[MAIN, MONITOR_OUTER], &[MONITOR, METADATA]),
        EngineRole::Manage => (&[MAIN, MONITOR_OUTER], &[MANAGE, MONITOR, METADATA]),
        EngineRole::Admin => (&[MAIN, MONITOR_OUTER, SEARCH_OUTER, GET_OUTER, WRITE_OUTER], &[ADMIN]),
        EngineRole::Catalog => (&[CATALOG], &[CATALOG]),
        EngineRole::DashboardsRead => return dashboards(false, tenants),
        EngineRole::DashboardsWrite => return dashboards(true, tenants),
        EngineRole::ClusterMonitor => (&[CLUSTER_MONITOR], &[]),
        EngineRole::ClusterManage => (&[CLUSTER_MONITOR, CLUSTER_MANAGE], &[]),
        EngineRole::ClusterAdmin => (&[CLUSTER_MONITOR, CLUSTER_MANAGE, CLUSTER_ADMIN], &[]),
    };
    let pattern = match role {
        EngineRole::Catalog => Some("*".to_owned()),
        _ => role.claim().map(|claim| format!("${{{attributes}.{claim}}}")),
    };
    let indices = pattern.map(|pattern| json!({"index_patterns": [pattern], "allowed_actions": sorted(index)}));
    json!({
        "description": OWNER,
        "cluster_permissions": sorted(cluster),
        "index_permissions": indices.into_iter().collect::<Vec<_>>(),
        "tenant_permissions": [],
    })
}

/// A role for reading under a restriction, as the REST API takes it.
pub(super) fn restricted(role: &RestrictedRole, fields: Option<&FieldSet>, attributes: &str) -> Value {
    // An empty filter and an empty list of fields are none to the plugin.
    let filter = role.filter_claim().map(|claim| format!("${{{attributes}.{claim}}}"));
    let fields = fields.map(field_list).unwrap_or_default();
    let permission = |claims: [String; 2], actions: &[&[&str]]| {
        json!({
            "index_patterns": claims.map(|claim| format!("${{{attributes}.{claim}}}")),
            "allowed_actions": sorted(actions),
            "dls": filter,
            "fls": fields,
        })
    };
    json!({
        "description": OWNER,
        "cluster_permissions": sorted(&[MAIN, SEARCH_OUTER, GET_OUTER]),
        "index_permissions": [
            permission(role.read_claims(), &[SEARCH, GET, METADATA]),
            permission(role.search_claims(), &[SEARCH]),
        ],
        "tenant_permissions": [],
    })
}

/// As the plugin writes it: `~` before a field is "all but".
fn field_list(fields: &FieldSet) -> Vec<String> {
    match fields {
        FieldSet::Exclude(fields) => fields.iter().map(|field| format!("~{field}")).collect(),
        FieldSet::Include(fields) => fields.iter().cloned().collect(),
    }
}

fn sorted(lists: &[&[&str]]) -> Vec<String> {
    let mut all: Vec<String> = lists.concat().into_iter().map(ToOwned::to_owned).collect();
    all.sort();
    all.dedup();
    all
}
