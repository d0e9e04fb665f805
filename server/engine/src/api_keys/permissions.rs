//! What a key permits, in the engine's words: the static roles of scopes with the patterns put in.

use std::collections::BTreeSet;

use oauth4os_policy::EngineGrant;
use serde_json::{Value, json};

use crate::security_config::static_role;

/// The permissions of one key. Equal ones are equal whatever order the engine lists them in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    cluster: BTreeSet<String>,
    indices: BTreeSet<(BTreeSet<String>, BTreeSet<String>)>,
}

impl Permissions {
    /// What a grant permits. Rows and fields cannot be said: the engine's keys have neither.
    #[must_use]
    pub fn of(grant: &EngineGrant) -> Self {
        let mut all = Self::default();
        for role in &grant.roles {
            // The names of attributes stand where the patterns go.
            let body = static_role(*role, "attr");
            all.cluster.extend(strings(body.get("cluster_permissions")));
            for permission in body.get("index_permissions").and_then(Value::as_array).into_iter().flatten() {
                let patterns = strings(permission.get("index_patterns"));
                let put_in = patterns.into_iter().filter_map(|pattern| match role.claim() {
                    Some(claim) if pattern == format!("${{attr.{claim}}}") => grant.claim(claim).map(str::to_owned),
                    _ => Some(pattern),
                });
                let patterns: BTreeSet<String> = put_in.collect();
                if !patterns.is_empty() {
                    all.indices.insert((patterns, strings(permission.get("allowed_actions"))));
                }
            }
        }
        all
    }

    /// Whether it permits nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cluster.is_empty() && self.indices.is_empty()
    }

    /// What a key of the engine's list permits.
    pub(super) fn listed(key: &Value) -> Self {
        let indices = key.get("index_permissions").and_then(Value::as_array).into_iter().flatten();
        Self {
            cluster: strings(key.get("cluster_permissions")),
            indices: indices
                .map(|permission| {
                    (strings(permission.get("index_pattern")), strings(permission.get("allowed_actions")))
                })
                .collect(),
        }
    }

    /// As the engine wants them for a new key, with `index_pattern` in the singular.
    pub(super) fn to_json(&self) -> (Value, Value) {
        let indices: Vec<Value> = self
            .indices
            .iter()
            .map(|(patterns, actions)| json!({"index_pattern": patterns, "allowed_actions": actions}))
            .collect();
        (json!(self.cluster), json!(indices))
    }
}

fn strings(list: Option<&Value>) -> BTreeSet<String> {
    let list = list.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use oauth4os_policy::{Catalog, Clusters, Forbids, Restrictions, ScopeSet};

    use super::*;

    fn of(scopes: &str) -> Permissions {
        let scopes = ScopeSet::parse(scopes, &Clusters::default()).expect("scopes");
        Permissions::of(&EngineGrant::of(&scopes, &Restrictions::default(), &Forbids::default(), Catalog::none()))
    }

    #[test]
    fn a_key_permits_what_the_static_roles_would() {
        let read = of("read:logs-* read:metrics");
        assert_eq!(read.indices.len(), 1);
        let (patterns, actions) = read.indices.first().expect("one");
        assert_eq!(patterns.iter().map(String::as_str).collect::<Vec<_>>(), ["/(?:logs-.*|metrics)/"]);
        assert!(actions.contains("indices:data/read/search") && !actions.contains("indices:data/write/index"));
        assert!(read.cluster.contains("indices:data/read/scroll") && read.cluster.contains("cluster:monitor/main"));
        let write = of("write:logs-*");
        // As a permission on the cluster, or the engine refuses the outer request.
        assert!(write.cluster.contains("indices:data/write/bulk"));
        let cluster = of("monitor:cluster");
        assert!(cluster.indices.is_empty() && cluster.cluster.contains("cluster:monitor/*"));
        let names = Permissions::of(&EngineGrant::catalog());
        assert_eq!(
            names.to_json().1,
            json!([{"index_pattern": ["*"], "allowed_actions": ["indices:admin/resolve/index"]}])
        );
        assert!(Permissions::of(&EngineGrant::default()).is_empty());
    }

    #[test]
    fn no_attribute_is_left_in_a_pattern() {
        for scopes in ["read:logs-*", "admin:*", "search:a write:b ingest:c manage:d monitor:e", "read:logs-*,-logs-x*"]
        {
            let (_, indices) = of(scopes).to_json();
            assert!(!indices.to_string().contains("${"), "{scopes}: {indices}");
        }
    }

    #[test]
    fn what_the_engine_lists_is_compared_whatever_its_order() {
        let permissions = of("read:logs-* write:orders");
        let (cluster, indices) = permissions.to_json();
        let reversed = |list: &Value| Value::Array(list.as_array().expect("a list").iter().rev().cloned().collect());
        let listed = json!({"cluster_permissions": reversed(&cluster), "index_permissions": reversed(&indices)});
        assert_eq!(Permissions::listed(&listed), permissions);
        assert_ne!(Permissions::listed(&json!({"cluster_permissions": cluster, "index_permissions": []})), permissions);
    }
}
