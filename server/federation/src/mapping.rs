//! What the roles, groups and scopes of a provider give here: what the configuration lists, and nothing else.

use std::collections::{BTreeMap, HashMap};

use oauth4os_config::ScopeMapping;
use oauth4os_policy::{Clusters, ScopeError, ScopeSet, Target};

/// A mapping that means nothing.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// A scope that cannot be read.
    #[error("scope_mapping.{kind} `{from}`: {source}")]
    Scope {
        /// `roles`, `groups` or `scopes`.
        kind: &'static str,
        /// What is mapped.
        from: String,
        /// Why.
        source: ScopeError,
    },
    /// The control plane takes the gateway's own tokens only.
    #[error(
        "scope_mapping.{kind} `{from}`: tokens of providers are not taken by the gateway's own endpoints, so `admin:gateway` would give nothing; take it out"
    )]
    Gateway {
        /// `roles`, `groups` or `scopes`.
        kind: &'static str,
        /// What is mapped.
        from: String,
    },
}

/// A scope mapping whose scopes have all been read.
#[derive(Debug)]
pub(crate) struct Mapping {
    roles: HashMap<String, Vec<String>>,
    groups: HashMap<String, Vec<String>>,
    scopes: HashMap<String, Vec<String>>,
    clusters: Clusters,
}

impl Mapping {
    pub(crate) fn new(config: &ScopeMapping, clusters: Clusters) -> Result<Self, MappingError> {
        Ok(Self {
            roles: read("roles", &config.roles, &clusters)?,
            groups: read("groups", &config.groups, &clusters)?,
            scopes: read("scopes", &config.scopes, &clusters)?,
            clusters,
        })
    }

    /// The scopes that these give together.
    pub(crate) fn apply(&self, roles: &[String], groups: &[String], scopes: &[String]) -> Result<ScopeSet, ScopeError> {
        let given = |map: &HashMap<String, Vec<String>>, names: &[String]| -> Vec<String> {
            names.iter().filter_map(|name| map.get(name)).flatten().cloned().collect()
        };
        let mut all = given(&self.roles, roles);
        all.extend(given(&self.groups, groups));
        all.extend(given(&self.scopes, scopes));
        // In one order, whatever order the provider writes them in: equal rights are then one identity to the engine.
        all.sort_unstable();
        ScopeSet::collect(all, &self.clusters)
    }
}

fn read(
    kind: &'static str,
    map: &BTreeMap<String, Vec<String>>,
    clusters: &Clusters,
) -> Result<HashMap<String, Vec<String>>, MappingError> {
    for (from, scopes) in map {
        let scopes = ScopeSet::collect(scopes, clusters).map_err(|source| MappingError::Scope {
            kind,
            from: from.clone(),
            source,
        })?;
        if scopes.iter().any(|scope| *scope.target() == Target::Gateway) {
            return Err(MappingError::Gateway { kind, from: from.clone() });
        }
    }
    Ok(map.iter().map(|(from, scopes)| (from.clone(), scopes.clone())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(yaml: &str) -> Result<Mapping, MappingError> {
        Mapping::new(&serde_saphyr::from_str(yaml).unwrap(), Clusters::default())
    }

    fn names(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_is_listed_is_given_and_nothing_else() {
        let mapping = mapping(
            "{roles: {reader: ['read:logs-*'], writer: ['write:app-*', 'read:app-*']}, groups: {ops: ['monitor:cluster']}, scopes: {reader: ['read:x']}}",
        )
        .unwrap();
        let given = |roles: &[&str], groups: &[&str], scopes: &[&str]| {
            mapping.apply(&names(roles), &names(groups), &names(scopes)).unwrap().to_string()
        };
        assert_eq!(given(&[], &[], &[]), "");
        assert_eq!(given(&["reader"], &[], &[]), "read:logs-*");
        assert_eq!(given(&[], &["reader"], &[]), "");
        assert_eq!(given(&[], &[], &["reader"]), "read:x");
        assert_eq!(given(&["Reader", "reader ", "admin:*", "read:logs-*"], &["ops/"], &["admin:*"]), "");
        assert_eq!(given(&["writer", "reader"], &["ops"], &[]), given(&["reader", "reader", "writer"], &["ops"], &[]));
        assert_eq!(given(&["writer", "reader"], &["ops"], &[]), "monitor:cluster read:app-* read:logs-* write:app-*");
    }

    #[test]
    fn a_mapping_that_means_nothing_is_refused() {
        for (yaml, expected) in [
            ("{roles: {a: ['everything']}}", "scope_mapping.roles `a`: the scope"),
            ("{groups: {a: ['read:']}}", "scope_mapping.groups `a`: the scope"),
            ("{scopes: {a: ['read:x', 'admin:gateway']}}", "would give nothing"),
        ] {
            let error = mapping(yaml).unwrap_err().to_string();
            assert!(error.contains(expected), "{yaml}: {error}");
        }
    }
}
