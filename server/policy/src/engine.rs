//! Scopes as the engine's security plugin is told to enforce them: static roles, and one Java regular expression per role
//! that the plugin matches against whole index names.
//!
//! Only this module writes such expressions. They are made of escaped literals, `.*` and `.`; what is excluded stands in
//! a negative look-ahead; a leading wildcard begins with `(?!\.)`, so that hidden and system indices are left out; they
//! never contain `${`, which the plugin would substitute again.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::catalog::{Catalog, Rights, Widening};
use crate::containment::Branch;
use crate::glob::Glob;
use crate::scope::{Scope, ScopeSet, Target, Verb};

/// A static role of the gateway in the engine's security configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineRole {
    /// Every index action, on the pattern of `o4s_admin`.
    Admin,
    /// The names of indices, aliases and data streams, and nothing in them: the gateway's own, for its [`Catalog`].
    Catalog,
    /// Cluster settings and tasks.
    ClusterAdmin,
    /// Templates, pipelines, stored scripts, repositories.
    ClusterManage,
    /// State of cluster and nodes.
    ClusterMonitor,
    /// The life of indices, on the pattern of `o4s_manage`.
    Manage,
    /// Statistics of indices, on the pattern of `o4s_monitor`.
    Monitor,
    /// Reading documents and mappings, on the pattern of `o4s_read`.
    Read,
    /// Searching, on the pattern of `o4s_search`.
    Search,
    /// Writing documents, on the pattern of `o4s_write`.
    Write,
}

/// The rights of one token in the words of the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineGrant {
    /// The roles, each once, in the order of their declaration.
    pub roles: Vec<EngineRole>,
    /// Claim name and `/regex/` for each role that is bound to index names, in the order of the roles.
    pub claims: Vec<(&'static str, String)>,
}

impl EngineRole {
    /// Every role.
    pub const ALL: [Self; 10] = [
        Self::Admin,
        Self::Catalog,
        Self::ClusterAdmin,
        Self::ClusterManage,
        Self::ClusterMonitor,
        Self::Manage,
        Self::Monitor,
        Self::Read,
        Self::Search,
        Self::Write,
    ];

    /// The name of the role, and of the backend role mapped to it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "oauth4os_admin",
            Self::Catalog => "oauth4os_catalog",
            Self::ClusterAdmin => "oauth4os_cluster_admin",
            Self::ClusterManage => "oauth4os_cluster_manage",
            Self::ClusterMonitor => "oauth4os_cluster_monitor",
            Self::Manage => "oauth4os_manage",
            Self::Monitor => "oauth4os_monitor",
            Self::Read => "oauth4os_read",
            Self::Search => "oauth4os_search",
            Self::Write => "oauth4os_write",
        }
    }

    /// The claim that carries the role's index pattern (`${attr.jwt.o4s_read}`); `None` for cluster roles.
    pub const fn claim(self) -> Option<&'static str> {
        match self {
            Self::Admin => Some("o4s_admin"),
            Self::Manage => Some("o4s_manage"),
            Self::Monitor => Some("o4s_monitor"),
            Self::Read => Some("o4s_read"),
            Self::Search => Some("o4s_search"),
            Self::Write => Some("o4s_write"),
            Self::Catalog | Self::ClusterAdmin | Self::ClusterManage | Self::ClusterMonitor => None,
        }
    }

    /// The role that enforces a scope; `None` where the engine has no part in it.
    ///
    /// `ingest` has no role of its own: to the engine, adding and changing documents are one action.
    pub fn of(scope: &Scope) -> Option<Self> {
        match (scope.target(), scope.verb()) {
            (Target::Cluster, Verb::Admin) => Some(Self::ClusterAdmin),
            (Target::Cluster, Verb::Manage) => Some(Self::ClusterManage),
            (Target::Cluster, Verb::Monitor) => Some(Self::ClusterMonitor),
            (Target::Cluster | Target::Dashboards | Target::Gateway, _) => None,
            (Target::Indices(_), Verb::Admin) => Some(Self::Admin),
            (Target::Indices(_), Verb::Manage) => Some(Self::Manage),
            (Target::Indices(_), Verb::Monitor) => Some(Self::Monitor),
            (Target::Indices(_), Verb::Read) => Some(Self::Read),
            (Target::Indices(_), Verb::Search) => Some(Self::Search),
            (Target::Indices(_), Verb::Ingest | Verb::Write) => Some(Self::Write),
        }
    }
}

impl EngineGrant {
    /// The right of the gateway itself to read the names of a cluster.
    pub fn catalog() -> Self {
        Self { roles: vec![EngineRole::Catalog], claims: Vec::new() }
    }

    /// What the engine is told of `scopes`: with the `forbidden` names taken out of every pattern, and every name of
    /// the catalog that would lead out of what is left.
    ///
    /// Scopes of named clusters do not count ([`ScopeSet::for_cluster`]).
    pub fn of(scopes: &ScopeSet, forbidden: &[Glob], catalog: &Catalog) -> Self {
        let branches = by_role(scopes);
        let claims = branches
            .iter()
            .filter_map(|(role, branches)| {
                let excluded = catalog.widening(Rights { granted: branches, forbidden });
                let excluded = excluded.iter().map(|widening| Glob::new(widening.name));
                let forbidden: Vec<Glob> = forbidden.iter().cloned().chain(excluded).collect();
                Some((role.claim()?, java_regex(branches, &forbidden)?))
            })
            .collect();
        Self { roles: branches.into_keys().collect(), claims }
    }

    /// The `/regex/` of a role, if the token has one.
    pub fn pattern(&self, role: EngineRole) -> Option<&str> {
        let claim = role.claim()?;
        self.claims.iter().find(|(name, _)| *name == claim).map(|(_, pattern)| pattern.as_str())
    }
}

/// Every alias that would lead a token of these scopes to an index it is not meant to reach, each name once.
pub fn leading_out<'c>(scopes: &ScopeSet, forbidden: &[Glob], catalog: &'c Catalog) -> Vec<Widening<'c>> {
    let mut found: Vec<Widening<'c>> = Vec::new();
    for granted in by_role(scopes).values().filter(|granted| !granted.is_empty()) {
        let widening = catalog.widening(Rights { granted, forbidden });
        let new = widening.into_iter().filter(|new| !found.iter().any(|known| known.name == new.name));
        found.extend(new.collect::<Vec<_>>());
    }
    found
}

/// The names each role is bound to.
fn by_role(scopes: &ScopeSet) -> BTreeMap<EngineRole, Vec<Branch<'_>>> {
    let mut branches: BTreeMap<EngineRole, Vec<Branch<'_>>> = BTreeMap::new();
    for scope in scopes.iter().filter(|scope| scope.cluster().is_none()) {
        if let Some(role) = EngineRole::of(scope) {
            branches.entry(role).or_default().extend(scope.branches());
        }
    }
    branches
}

/// One `/regex/` that matches exactly the names of the branches that are not forbidden.
fn java_regex(branches: &[Branch<'_>], forbidden: &[Glob]) -> Option<String> {
    // Inclusions with the same exclusions share one look-ahead.
    let mut groups: Vec<(&[Glob], Vec<&Glob>)> = Vec::new();
    for branch in branches {
        match groups.iter_mut().find(|(exclusions, _)| *exclusions == branch.exclusions) {
            Some((_, includes)) if includes.contains(&branch.include) => {}
            Some((_, includes)) => includes.push(branch.include),
            None => groups.push((branch.exclusions, vec![branch.include])),
        }
    }
    let (last, others) = groups.split_last()?;
    let mut regex = String::from("/");
    write_look_ahead(&mut regex, forbidden);
    if others.is_empty() {
        write_group(&mut regex, last);
    } else {
        regex.push_str("(?:");
        for group in others {
            write_group(&mut regex, group);
            regex.push('|');
        }
        write_group(&mut regex, last);
        regex.push(')');
    }
    regex.push('/');
    Some(regex)
}

fn write_group(regex: &mut String, (exclusions, includes): &(&[Glob], Vec<&Glob>)) {
    write_look_ahead(regex, exclusions);
    write_alternatives(regex, includes.iter().copied());
}

fn write_look_ahead(regex: &mut String, exclusions: &[Glob]) {
    if !exclusions.is_empty() {
        regex.push_str("(?!");
        write_alternatives(regex, exclusions.iter());
        regex.push_str("$)");
    }
}

fn write_alternatives<'a>(regex: &mut String, globs: impl Iterator<Item = &'a Glob>) {
    regex.push_str("(?:");
    for (at, glob) in globs.enumerate() {
        if at > 0 {
            regex.push('|');
        }
        write_glob(regex, glob);
    }
    regex.push(')');
}

fn write_glob(regex: &mut String, glob: &Glob) {
    if glob.begins_with_wildcard() && !glob.reaches_dots() {
        regex.push_str(r"(?!\.)");
    }
    for letter in glob.as_str().chars() {
        match letter {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            letter if letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '@' | '~') => regex.push(letter),
            letter if letter.is_ascii_punctuation() => {
                regex.push('\\');
                regex.push(letter);
            }
            // Patterns are made of ASCII; should another letter come, it stands for itself and nothing else.
            letter => {
                let _ = write!(regex, "\\x{{{:x}}}", u32::from(letter));
            }
        }
    }
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
