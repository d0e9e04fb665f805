//! What scopes permit: which classes a verb covers, whether scopes contain a request or another set of scopes.

use std::fmt;

use oauth4os_classify::Class;

use crate::containment::{Branch, Budget, TooComplex, contains, overlaps};
use crate::expression::{Expressions, Requested};
use crate::scope::{Scope, ScopeSet, Target, Verb};

/// Every class that is granted on indices.
pub(crate) const INDEX_CLASSES: [Class; 7] =
    [Class::Search, Class::Get, Class::Metadata, Class::Append, Class::Write, Class::Monitor, Class::Manage];

/// Why scopes do not cover a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncovered {
    /// No scope for the class, or none that contains this pattern.
    Needs {
        /// The weakest scope that would do.
        scope: String,
    },
    /// No scope can grant the class.
    Never,
    /// The patterns cannot be compared.
    TooComplex(TooComplex),
}

impl From<TooComplex> for Uncovered {
    fn from(error: TooComplex) -> Self {
        Self::TooComplex(error)
    }
}

impl Verb {
    /// The classes the verb grants on indices.
    pub const fn index_classes(self) -> &'static [Class] {
        match self {
            Self::Admin => &INDEX_CLASSES,
            Self::Ingest => &[Class::Append],
            Self::Manage => &[Class::Manage, Class::Monitor, Class::Metadata],
            Self::Monitor => &[Class::Monitor, Class::Metadata],
            Self::Read => &[Class::Search, Class::Get, Class::Metadata],
            Self::Search => &[Class::Search],
            Self::Write => &[Class::Append, Class::Write],
        }
    }

    /// The classes the verb grants on Dashboards.
    pub const fn dashboards_classes(self) -> &'static [Class] {
        match self {
            Self::Admin => &[Class::DashboardsRead, Class::DashboardsWrite, Class::DashboardsManage],
            Self::Manage => &[Class::DashboardsManage],
            Self::Read => &[Class::DashboardsRead],
            Self::Write => &[Class::DashboardsWrite],
            Self::Ingest | Self::Monitor | Self::Search => &[],
        }
    }

    /// The classes the verb grants on the cluster.
    pub const fn cluster_classes(self) -> &'static [Class] {
        match self {
            Self::Admin => &[Class::ClusterAdmin, Class::ClusterManage, Class::ClusterMonitor],
            Self::Manage => &[Class::ClusterManage, Class::ClusterMonitor],
            Self::Monitor => &[Class::ClusterMonitor],
            Self::Ingest | Self::Read | Self::Search | Self::Write => &[],
        }
    }
}

impl Scope {
    /// The classes this scope grants on its target.
    pub const fn classes(&self) -> &'static [Class] {
        match self.target() {
            Target::Cluster => self.verb().cluster_classes(),
            Target::Indices(_) => self.verb().index_classes(),
            Target::Dashboards => self.verb().dashboards_classes(),
            Target::Gateway => &[],
        }
    }

    /// Whether the scope grants `class` on some target of the only cluster.
    fn grants(&self, class: Class) -> bool {
        self.cluster().is_none() && self.classes().contains(&class)
    }

    pub(crate) fn branches(&self) -> impl Iterator<Item = Branch<'_>> {
        match self.target() {
            Target::Indices(sequence) => Some(sequence.branches()),
            Target::Cluster | Target::Dashboards | Target::Gateway => None,
        }
        .into_iter()
        .flatten()
    }
}

impl ScopeSet {
    /// The scopes that together permit an operation of `class` on what is `requested`, or why they do not.
    ///
    /// Each expression must be contained in one scope or in the union of several. Scopes of named clusters
    /// ([`ScopeSet::for_cluster`]) do not count.
    ///
    /// # Errors
    /// The scope that would be needed for the first expression that is not covered.
    pub fn covers(&self, class: Class, requested: &Expressions) -> Result<Vec<&Scope>, Uncovered> {
        if !INDEX_CLASSES.contains(&class) {
            return Err(Uncovered::Never);
        }
        let granting: Vec<&Scope> = self.iter().filter(|scope| scope.grants(class)).collect();
        let mut budget = Budget::default();
        let mut determining: Vec<&Scope> = Vec::with_capacity(granting.len());
        for expression in requested.iter() {
            for scope in covering(&granting, expression, &mut budget)?.ok_or_else(|| self.needed(class, expression))? {
                if !determining.contains(&scope) {
                    determining.push(scope);
                }
            }
        }
        Ok(determining)
    }

    /// The scopes that permit an operation of `class` on the cluster, or on no particular index.
    ///
    /// # Errors
    /// The scope that would be needed.
    pub fn covers_cluster(&self, class: Class) -> Result<Vec<&Scope>, Uncovered> {
        let verb = match class {
            Class::ClusterAdmin => Verb::Admin,
            Class::ClusterManage => Verb::Manage,
            Class::ClusterMonitor => Verb::Monitor,
            _ => return Err(Uncovered::Never),
        };
        self.granting(class).ok_or_else(|| self.needs(verb, &"cluster"))
    }

    /// The scopes that permit an operation of `class` on Dashboards.
    ///
    /// # Errors
    /// The scope that would be needed.
    pub fn covers_dashboards(&self, class: Class) -> Result<Vec<&Scope>, Uncovered> {
        let verb = match class {
            Class::DashboardsRead => Verb::Read,
            Class::DashboardsWrite => Verb::Write,
            Class::DashboardsManage => Verb::Manage,
            _ => return Err(Uncovered::Never),
        };
        self.granting(class).ok_or_else(|| self.needs(verb, &"dashboards"))
    }

    /// The scopes that grant `class` on at least one index pattern: what a scroll or point-in-time id needs.
    ///
    /// # Errors
    /// The scope that would be needed.
    pub fn covers_handle(&self, class: Class) -> Result<Vec<&Scope>, Uncovered> {
        let verb = weakest_verb(class).ok_or(Uncovered::Never)?;
        self.granting(class).ok_or_else(|| self.needs(verb, &"<index pattern>"))
    }

    /// Whether every right of this set is also in `allowed`: whether a client registered for `allowed` may ask for it.
    ///
    /// Rights are compared, not words: `search:logs-app-*` is within `read:logs-*`. Patterns that cannot be compared are not
    /// within.
    pub fn is_within(&self, allowed: &Self) -> bool {
        let mut budget = Budget::default();
        self.iter().all(|scope| is_within(scope, allowed, &mut budget).unwrap_or(false))
    }

    /// The names on which the set permits operations of `class`.
    pub(crate) fn granted(&self, class: Class) -> Vec<Branch<'_>> {
        self.iter().filter(|scope| scope.grants(class)).flat_map(Scope::branches).collect()
    }

    pub(crate) fn granting(&self, class: Class) -> Option<Vec<&Scope>> {
        let granting: Vec<&Scope> = self.iter().filter(|scope| scope.grants(class)).collect();
        (!granting.is_empty()).then_some(granting)
    }

    fn needed(&self, class: Class, expression: Requested<'_>) -> Uncovered {
        match weakest_verb(class) {
            Some(verb) => self.needs(verb, &expression.names.include),
            None => Uncovered::Never,
        }
    }

    /// A scope of these is missing, as it would be asked for.
    fn needs(&self, verb: Verb, target: &dyn fmt::Display) -> Uncovered {
        let scope = match self.of_cluster() {
            Some(cluster) => format!("{verb}:{cluster}/{target}"),
            None => format!("{verb}:{target}"),
        };
        Uncovered::Needs { scope }
    }
}

/// One scope that covers the expression, else those that do together.
fn covering<'a>(
    granting: &[&'a Scope],
    expression: Requested<'_>,
    budget: &mut Budget,
) -> Result<Option<Vec<&'a Scope>>, TooComplex> {
    for scope in granting {
        if contains(scope.branches(), expression.names, budget)? {
            return Ok(Some(vec![*scope]));
        }
    }
    if granting.len() < 2 || expression.names.include.is_literal() {
        return Ok(None);
    }
    if !contains(granting.iter().flat_map(|scope| scope.branches()), expression.names, budget)? {
        return Ok(None);
    }
    let mut together = Vec::new();
    for scope in granting {
        for branch in scope.branches() {
            if overlaps(branch.include, expression.names, budget)? {
                together.push(*scope);
                break;
            }
        }
    }
    Ok(Some(together))
}

/// The verb to ask for when an index class is missing.
const fn weakest_verb(class: Class) -> Option<Verb> {
    match class {
        Class::Search => Some(Verb::Search),
        Class::Get | Class::Metadata => Some(Verb::Read),
        Class::Append => Some(Verb::Ingest),
        Class::Write => Some(Verb::Write),
        Class::Monitor => Some(Verb::Monitor),
        Class::Manage => Some(Verb::Manage),
        _ => None,
    }
}

fn is_within(scope: &Scope, allowed: &ScopeSet, budget: &mut Budget) -> Result<bool, TooComplex> {
    let same_cluster = || allowed.iter().filter(|other| other.cluster() == scope.cluster());
    match scope.target() {
        Target::Dashboards | Target::Gateway => Ok(same_cluster().any(|other| {
            other.target() == scope.target() && (other.verb() == scope.verb() || other.verb() == Verb::Admin)
        })),
        Target::Cluster => Ok(scope.classes().iter().all(|class| {
            same_cluster().any(|other| *other.target() == Target::Cluster && other.classes().contains(class))
        })),
        Target::Indices(_) => {
            for class in scope.classes() {
                for names in scope.branches() {
                    let granting = same_cluster().filter(|other| other.classes().contains(class));
                    if !contains(granting.flat_map(Scope::branches), names, budget)? {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        }
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
