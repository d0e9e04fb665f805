//! What a cluster's names stand for, as far as a name is not the index's own: aliases and data streams.
//!
//! The engine grants an index when its own name, its data stream's or *any one* of its aliases matches a pattern. So
//! whoever may add an alias can widen a scope, and a forbid by name leaves the other names of an index open. With a
//! catalog both are closed: names that lead out of what a token may are found here, taken out of the patterns the
//! engine is told ([`crate::EngineGrant::of`]), and refused by the gateway itself ([`crate::decide`]).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use crate::containment::Branch;
use crate::expression::Expressions;
use crate::glob::Glob;

/// The indices of a cluster that have more names than their own.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// In the order of their names.
    indices: Vec<Index>,
    /// Every name, and the indices it stands for.
    by_name: HashMap<Box<str>, Vec<usize>>,
    /// Every name of the cluster, where the engine was asked for them.
    listed: Option<Arc<Listed>>,
}

/// Every name of a cluster: indices, aliases and data streams.
pub type Listed = HashSet<Box<str>>;

/// An index and its other names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index {
    /// Its own name.
    pub name: Box<str>,
    /// The data stream it belongs to.
    pub data_stream: Option<Box<str>>,
    /// Its aliases.
    pub aliases: Vec<Box<str>>,
}

/// The names a token has a right on: those of its scopes without those that are forbidden.
#[derive(Clone, Copy, Debug)]
pub struct Rights<'a> {
    /// What the scopes grant.
    pub granted: &'a [Branch<'a>],
    /// What policies forbid, by index name.
    pub forbidden: &'a [Glob],
    /// What is granted elsewhere, under a restriction of its own ([`crate::Restrictions`]), and so not here.
    pub apart: &'a [Branch<'a>],
}

/// A name that is granted and leads to an index that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widening<'a> {
    /// The alias or data stream; the index's own name where its data stream is forbidden.
    pub name: &'a str,
    /// The index.
    pub index: &'a Index,
}

/// How a pattern differs from one that matches indices by their own names alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnNames<'a> {
    /// The aliases and data streams it matches.
    pub others: Vec<&'a str>,
    /// Those of them that are data streams it is meant for.
    pub streams: Vec<&'a str>,
    /// The own names of indices that are meant by an alias, and that it does not match.
    pub missing: Vec<&'a str>,
}

impl Index {
    /// Each of its names, its own first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.data_stream).chain(&self.aliases).map(AsRef::as_ref)
    }

    /// The names it can be forbidden by: its own and its data stream's.
    pub fn own_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.data_stream).map(AsRef::as_ref)
    }
}

impl Rights<'_> {
    fn grants(&self, name: &str) -> bool {
        self.granted.iter().any(|branch| branch.matches(name)) && !self.forbids(name)
    }

    fn forbids(&self, name: &str) -> bool {
        self.forbidden.iter().any(|glob| glob.matches(name))
    }

    /// Whether the token is meant to reach the index: by its own name or its data stream's, or by an alias that a scope
    /// names in full. Who writes `read:current` grants what `current` stands for; who writes `read:logs-*` does not
    /// grant what somebody calls `logs-x` tomorrow.
    fn is_meant(&self, index: &Index) -> bool {
        if index.own_names().any(|name| self.forbids(name)) {
            return false;
        }
        let names_it = |branches: &[Branch<'_>]| {
            let in_full =
                |alias: &str| branches.iter().any(|branch| branch.include.is_literal() && branch.matches(alias));
            index.own_names().any(|name| branches.iter().any(|branch| branch.matches(name)))
                || index.aliases.iter().any(|alias| in_full(alias))
        };
        names_it(self.granted) && !names_it(self.apart)
    }
}

impl Catalog {
    /// The catalog of these indices; those that have no other name are left out.
    pub fn new(indices: impl IntoIterator<Item = Index>) -> Self {
        let mut listed = Listed::new();
        let mut indices: Vec<Index> = indices
            .into_iter()
            .inspect(|index| listed.extend(index.names().map(Box::from)))
            .filter(|index| index.data_stream.is_some() || !index.aliases.is_empty())
            .map(|mut index| {
                index.aliases.sort_unstable();
                index
            })
            .collect();
        indices.sort_unstable();
        let mut by_name: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        for (at, index) in indices.iter().enumerate() {
            for name in index.names() {
                by_name.entry(name.into()).or_default().push(at);
            }
        }
        Self { indices, by_name, listed: Some(Arc::new(listed)) }
    }

    /// The catalog of a cluster without aliases and data streams.
    pub fn none() -> &'static Self {
        static NONE: LazyLock<Catalog> = LazyLock::new(Catalog::default);
        &NONE
    }

    /// Every name of the cluster, also of indices that have one name; `None` when nobody asked.
    pub fn listed(&self) -> Option<Arc<Listed>> {
        self.listed.clone()
    }

    /// Whether the cluster has neither aliases nor data streams.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }

    /// How many indices have more than one name.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Every name that would widen the rights, with the first index it leads to, each name once.
    pub fn widening(&self, rights: Rights<'_>) -> Vec<Widening<'_>> {
        let mut seen: HashSet<&str> = HashSet::new();
        let unmeant = self.indices.iter().filter(|index| !rights.is_meant(index));
        unmeant
            .flat_map(|index| index.names().map(move |name| Widening { name, index }))
            .filter(|widening| rights.grants(widening.name) && seen.insert(widening.name))
            .collect()
    }

    /// What has to be done to a pattern so that it matches indices by their own names alone.
    pub fn own_names_alone(&self, rights: Rights<'_>) -> OwnNames<'_> {
        let is_matched = |name: &str| rights.granted.iter().any(|branch| branch.matches(name));
        let mut others: Vec<&str> = self
            .indices
            .iter()
            .flat_map(|index| index.data_stream.iter().chain(&index.aliases))
            .map(AsRef::as_ref)
            .filter(|name| is_matched(name))
            .collect();
        others.sort_unstable();
        others.dedup();
        let meant = || self.indices.iter().filter(|index| rights.is_meant(index));
        let mut streams: Vec<&str> =
            meant().filter_map(|index| index.data_stream.as_deref()).filter(|name| is_matched(name)).collect();
        streams.dedup();
        let is_missing = |index: &&Index| !index.own_names().any(is_matched);
        let missing = meant().filter(is_missing).map(|index| &*index.name).collect();
        OwnNames { others, streams, missing }
    }

    /// The indices a request reaches by one of their names, with that name.
    ///
    /// A wildcard is expanded to indices before the exclusions behind it are looked at, so these take out an index by its own
    /// name, whatever name brought it in; a name without wildcard stands as it is (engine, `WildcardExpressionResolver`).
    pub fn reached<'a>(&'a self, requested: &Expressions) -> Vec<Widening<'a>> {
        let branches: Vec<Branch<'_>> = requested.iter().map(|requested| requested.names).collect();
        let with_name = |index: &'a Index| {
            let name = branches.iter().find_map(|branch| name_asked_for(index, branch))?;
            Some(Widening { name, index })
        };
        if branches.iter().all(|branch| branch.include.is_literal()) {
            let mut found: Vec<usize> = branches
                .iter()
                .filter_map(|branch| self.by_name.get(branch.include.as_str()))
                .flatten()
                .copied()
                .collect();
            found.sort_unstable();
            found.dedup();
            return found.into_iter().filter_map(|at| with_name(self.indices.get(at)?)).collect();
        }
        self.indices.iter().filter_map(with_name).collect()
    }
}

/// Indices that have one name decide nothing.
impl PartialEq for Catalog {
    fn eq(&self, other: &Self) -> bool {
        self.indices == other.indices
    }
}

impl Eq for Catalog {}

/// The name by which one expression asks for an index; one that is not its own, if there is one, since that says more.
fn name_asked_for<'a>(index: &'a Index, branch: &Branch<'_>) -> Option<&'a str> {
    if !branch.include.is_literal() && branch.exclusions.iter().any(|exclusion| exclusion.matches(&index.name)) {
        return None;
    }
    let others = index.names().skip(1).find(|name| branch.matches(name));
    others.or_else(|| branch.matches(&index.name).then_some(&*index.name))
}

/// The first of the reached indices that the rights are not meant for.
pub(crate) fn outside<'a>(reached: &[Widening<'a>], granted: &[Branch<'_>]) -> Option<Widening<'a>> {
    let rights = Rights { granted, forbidden: &[], apart: &[] };
    reached.iter().find(|reached| !rights.is_meant(reached.index)).copied()
}

/// What is behind the reached names, by own names and data streams, each shown with the name that leads to it.
pub(crate) fn behind(reached: &[Widening<'_>]) -> Expressions {
    Expressions::of_names(reached.iter().flat_map(|reached| {
        reached.index.own_names().map(|name| {
            let shown = if name == reached.name { name.to_owned() } else { format!("{name} ({})", reached.name) };
            (shown, name)
        })
    }))
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
