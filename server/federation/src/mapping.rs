//! What the roles, groups and scopes of a provider give here: what the configuration lists, and nothing else.

use std::collections::{BTreeMap, HashMap};

use oauth4os_config::{GrantOrScope, Reference, ScopeMapping};
use oauth4os_policy::{Clusters, Grants, Restriction, RestrictionError, ScopeError, ScopeSet, Target};
use serde_json::{Map, Value};

use crate::claims;
use crate::verify::Refused;

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
    /// A scope that cannot be held to rows or fields.
    #[error("scope_mapping.{kind} `{from}`: {source}")]
    Restricted {
        /// `roles`, `groups` or `scopes`.
        kind: &'static str,
        /// What is mapped.
        from: String,
        /// Why.
        source: Box<RestrictionError>,
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
    roles: HashMap<String, Vec<GrantOrScope>>,
    groups: HashMap<String, Vec<GrantOrScope>>,
    scopes: HashMap<String, Vec<GrantOrScope>>,
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

    /// What these give together, with values from the token's claims.
    pub(crate) fn apply(
        &self,
        roles: &[String],
        groups: &[String],
        scopes: &[String],
        claims: &Map<String, Value>,
    ) -> Result<Grants, Refused> {
        let maps = [(&self.roles, roles), (&self.groups, groups), (&self.scopes, scopes)];
        let given: Vec<&GrantOrScope> =
            maps.iter().flat_map(|(map, names)| names.iter().filter_map(|name| map.get(name))).flatten().collect();
        // A claim that cannot be read is as good as none: then there is no filter, and no grant.
        let values = |reference: &Reference| match reference {
            Reference::Claim(path) => claims::value(claims, path).ok().flatten(),
            Reference::ClientId | Reference::Label(_) => None,
        };
        let refused = |error: RestrictionError| Refused::Scopes(Box::new(error));
        let (mut plain, mut restricted) = (Vec::new(), Vec::new());
        for given in given {
            match given {
                GrantOrScope::Scope(scope) => plain.push(scope.as_str()),
                GrantOrScope::Grant(grant) => {
                    let restriction = Restriction::new(grant, &values).map_err(|error| refused(error.into()))?;
                    restricted.push((grant.scope.as_str(), restriction));
                }
            }
        }
        // In one order, whatever order the provider writes them in: equal rights are then one identity to the engine.
        plain.sort_unstable();
        restricted.sort_unstable();
        Grants::new(plain, restricted, &self.clusters).map_err(refused)
    }
}

fn read(
    kind: &'static str,
    map: &BTreeMap<String, Vec<GrantOrScope>>,
    clusters: &Clusters,
) -> Result<HashMap<String, Vec<GrantOrScope>>, MappingError> {
    for (from, given) in map {
        let scopes = ScopeSet::collect(given.iter().map(GrantOrScope::scope), clusters)
            .map_err(|source| MappingError::Scope { kind, from: from.clone(), source })?;
        for grant in given {
            // Whether it may be held to anything; to what exactly is known when a token comes.
            if let GrantOrScope::Grant(grant) = grant {
                let any = Restriction { rows: None, fields: Some(String::new()) };
                Grants::new([], [(grant.scope.as_str(), any)], clusters).map_err(|source| {
                    MappingError::Restricted { kind, from: from.clone(), source: Box::new(source) }
                })?;
            }
        }
        if scopes.iter().any(|scope| *scope.target() == Target::Gateway) {
            return Err(MappingError::Gateway { kind, from: from.clone() });
        }
    }
    Ok(map.iter().map(|(from, given)| (from.clone(), given.clone())).collect())
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
            mapping.apply(&names(roles), &names(groups), &names(scopes), &Map::new()).unwrap().scopes.to_string()
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
