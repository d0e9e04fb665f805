//! Scopes as the engine's security plugin is told to enforce them: static roles, and one pattern per role in a claim.

mod java_regex;
mod role;

use std::collections::BTreeMap;

use self::java_regex::{NOTHING, java_regex};
pub use self::role::{EngineRole, RestrictedRole};
use crate::catalog::{Catalog, Rights, Widening};
use crate::containment::Branch;
use crate::forbids::Forbids;
use crate::glob::Glob;
use crate::restriction::{Restriction, Restrictions};
use crate::scope::{ScopeSet, Verb};

/// The rights of one token in the words of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineGrant {
    /// The roles, each once, in the order of their declaration.
    pub roles: Vec<EngineRole>,
    /// The roles for reading under a restriction.
    pub restricted: Vec<RestrictedRole>,
    /// Backend roles of the cluster's own, in place of all others.
    pub backend_roles: Vec<String>,
    /// Claims by name: the `/regex/` of each role that is bound to index names, and row filters.
    pub claims: Vec<(String, String)>,
}

impl EngineGrant {
    /// The right of the gateway itself to read the names of a cluster.
    pub fn catalog() -> Self {
        Self { roles: vec![EngineRole::Catalog], ..Self::default() }
    }

    /// An identity with backend roles that the cluster maps to roles of its own. The engine is told nothing of scopes.
    pub fn own(backend_roles: &[String]) -> Self {
        Self { backend_roles: backend_roles.to_vec(), ..Self::default() }
    }

    /// What the engine is told of `scopes`, of which some are held to `restrictions`: with the names taken out of a role's pattern
    /// on which everything is forbidden that the role is for, and every name of the catalog that would lead out of what is left.
    ///
    /// Scopes of named clusters do not count ([`ScopeSet::for_cluster`]).
    pub fn of(scopes: &ScopeSet, restrictions: &Restrictions, forbids: &Forbids, catalog: &Catalog) -> Self {
        let plain = by_role(scopes, restrictions);
        let held = by_restriction(scopes, restrictions);
        let all_held: Vec<Branch<'_>> = held.values().flat_map(Reading::both).collect();
        let pattern = |role: EngineRole, granted: &[Branch<'_>], apart: &[Branch<'_>]| {
            let mut forbidden = forbids.of(role.actions());
            let widening = catalog.widening(Rights { granted, forbidden: &forbidden, apart });
            let leading: Vec<Glob> = widening.iter().map(|widening| Glob::new(widening.name)).collect();
            forbidden.extend(leading);
            java_regex(granted, &forbidden)
        };
        let mut claims: Vec<(String, String)> = plain
            .iter()
            .filter_map(|(role, granted)| Some((role.claim()?.to_owned(), pattern(*role, granted, &all_held)?)))
            .collect();
        let filters = restrictions.row_filters();
        let mut restricted = Vec::with_capacity(held.len());
        for (restriction, reading) in &held {
            let slot = restriction.rows.as_ref().and_then(|rows| filters.iter().position(|known| *known == rows));
            let role = RestrictedRole { slot: slot.map(|at| at + 1), fields: restriction.fields.clone() };
            let others = held.iter().filter(|(other, _)| *other != restriction);
            let apart: Vec<Branch<'_>> = others.flat_map(|(_, reading)| reading.both()).collect();
            for (as_role, granted, names) in [
                (EngineRole::Read, &reading.read, role.read_claims()),
                (EngineRole::Search, &reading.search, role.search_claims()),
            ] {
                let forbidden = forbids.of(as_role.actions());
                let patterns = restricted_patterns(catalog, Rights { granted, forbidden: &forbidden, apart: &apart });
                // A claim that is not there is no pattern that matches nothing, to every version of the plugin.
                let or_nothing = patterns.map(|pattern| pattern.unwrap_or_else(|| NOTHING.to_owned()));
                claims.extend(names.into_iter().zip(or_nothing));
            }
            if let (Some(claim), Some(rows)) = (role.filter_claim(), &restriction.rows)
                && !claims.iter().any(|(name, _)| *name == claim)
            {
                claims.push((claim, rows.as_str().to_owned()));
            }
            restricted.push(role);
        }
        Self { roles: plain.into_keys().collect(), restricted, backend_roles: Vec::new(), claims }
    }

    /// The `/regex/` of a role, if the token has one.
    pub fn pattern(&self, role: EngineRole) -> Option<&str> {
        self.claim(role.claim()?)
    }

    /// The value of a claim.
    pub fn claim(&self, name: &str) -> Option<&str> {
        self.claims.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether it grants nothing.
    pub const fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.restricted.is_empty() && self.backend_roles.is_empty()
    }
}

/// The `/regex/`es of what is under a restriction: of indices by their own names and no other, and of data streams.
///
/// As soon as a `/regex/` of a role matches an alias or a data stream, the plugin up to 2.19 holds nothing but the indices behind
/// these to the role's row filter and fields, and shows all others as they are (`ConfigModelV7`, `getResolvedIndexPattern`): neither
/// may be matched by the pattern that is for indices. A request that names an alias is granted by what is behind it; the
/// plugin from 3.0 on wants a data stream to be granted by its own name.
fn restricted_patterns(catalog: &Catalog, rights: Rights<'_>) -> [Option<String>; 2] {
    let mut own_names = catalog.own_names_alone(rights);
    let mut names: Vec<&str> = catalog.widening(rights).iter().map(|widening| widening.name).collect();
    // One of whose indices is not meant, because it is forbidden or under another restriction, is not granted by its name.
    own_names.streams.retain(|stream| !names.contains(stream));
    let literal = |names: &[&str]| -> Vec<Glob> { names.iter().map(|name| Glob::new(name)).collect() };
    let (missing, streams) = (literal(&own_names.missing), literal(&own_names.streams));
    let in_full = |include| Branch { include, exclusions: &[] };
    let granted: Vec<Branch<'_>> = rights.granted.iter().copied().chain(missing.iter().map(in_full)).collect();
    let streams: Vec<Branch<'_>> = streams.iter().map(in_full).collect();
    names.extend(own_names.others);
    names.sort_unstable();
    names.dedup();
    let forbidden: Vec<Glob> = rights.forbidden.iter().cloned().chain(literal(&names)).collect();
    [java_regex(&granted, &forbidden), java_regex(&streams, rights.forbidden)]
}

/// Every alias that would lead a token of these scopes to an index it is not meant to reach, each name once.
pub fn leading_out<'c>(scopes: &ScopeSet, forbids: &Forbids, catalog: &'c Catalog) -> Vec<Widening<'c>> {
    let mut found: Vec<Widening<'c>> = Vec::new();
    let by_role = by_role(scopes, &Restrictions::default());
    for (role, granted) in by_role.iter().filter(|(_, granted)| !granted.is_empty()) {
        let forbidden = forbids.of(role.actions());
        let widening = catalog.widening(Rights { granted, forbidden: &forbidden, apart: &[] });
        let new = widening.into_iter().filter(|new| !found.iter().any(|known| known.name == new.name));
        found.extend(new.collect::<Vec<_>>());
    }
    found
}

/// The names each role is bound to, without those that are held to something.
fn by_role<'a>(scopes: &'a ScopeSet, restrictions: &Restrictions) -> BTreeMap<EngineRole, Vec<Branch<'a>>> {
    let mut branches: BTreeMap<EngineRole, Vec<Branch<'_>>> = BTreeMap::new();
    let of_this_cluster = scopes.iter().filter(|scope| scope.cluster().is_none());
    for scope in of_this_cluster.filter(|scope| restrictions.restriction(scope).is_none()) {
        if let Some(role) = EngineRole::of(scope) {
            branches.entry(role).or_default().extend(scope.branches());
        }
    }
    branches
}

/// The names that may be read or searched under one restriction.
#[derive(Default)]
struct Reading<'a> {
    read: Vec<Branch<'a>>,
    search: Vec<Branch<'a>>,
}

impl<'a> Reading<'a> {
    fn both(&self) -> impl Iterator<Item = Branch<'a>> {
        self.read.iter().chain(&self.search).copied()
    }
}

fn by_restriction<'a>(scopes: &'a ScopeSet, restrictions: &'a Restrictions) -> BTreeMap<&'a Restriction, Reading<'a>> {
    let mut readings: BTreeMap<&Restriction, Reading<'_>> = BTreeMap::new();
    for scope in scopes.iter().filter(|scope| scope.cluster().is_none()) {
        if let Some(restriction) = restrictions.restriction(scope) {
            let reading = readings.entry(restriction).or_default();
            let names = if scope.verb() == Verb::Search { &mut reading.search } else { &mut reading.read };
            names.extend(scope.branches());
        }
    }
    readings
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
