//! Scopes of which only some rows and fields may be seen.
//!
//! One law keeps what a token sees plain: an index has one restriction or none. Whoever may read some documents of an
//! index has no other right on it, by no other scope. So a filter cannot be got round by a write, by a second scope or by
//! an alias, and the engine never has to join a filtered right with an unfiltered one, which it does in one way or the
//! other depending on a setting of the cluster.

use std::collections::BTreeSet;

use oauth4os_config::{GrantConfig, Reference};
use serde_json::Value;

use crate::containment::{Branch, Budget, TooComplex, contains, overlaps};
use crate::expression::Quoted;
use crate::glob::Glob;
use crate::rows::{RowFilter, RowFilterError};
use crate::scope::{Clusters, Scope, ScopeError, ScopeSet, Target, Verb};

/// The most different row filters of one token: the engine has a role for each.
pub const MAX_ROW_FILTERS: usize = 4;

/// What a scope is held to; at least one of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Restriction {
    /// The documents.
    pub rows: Option<RowFilter>,
    /// The name of a set of fields.
    pub fields: Option<String>,
}

/// The scopes of a token, or of a client, that are held to something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Restrictions {
    restricted: Vec<(Scope, Restriction)>,
}

/// Everything a client may ask for, or a token may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Grants {
    /// Every scope, those that are held to something among them.
    pub scopes: ScopeSet,
    /// What some of them are held to.
    pub restrictions: Restrictions,
}

/// Scopes that cannot be held to what they are to be held to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestrictionError {
    /// A scope that cannot be read.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// Not about reading documents.
    #[error("the scope {0} cannot be held to rows or fields, only `read` and `search` on index patterns can")]
    Verb(Quoted),
    /// Two rights on one index.
    #[error(
        "the scope {scope} reaches indices of {restricted}, which is held to rows or fields; an index has one such rule for everything, so take its indices out of {scope}, or hold both to the same"
    )]
    Overlap {
        /// One scope.
        scope: Quoted,
        /// The one that is held to something.
        restricted: Quoted,
    },
    /// More than [`MAX_ROW_FILTERS`].
    #[error("there are {0} different row filters, and one token can have {MAX_ROW_FILTERS}; give several tokens")]
    TooManyFilters(usize),
    /// A scope that reaches beyond one restriction.
    #[error(
        "the scope {0} reaches indices that are held to different rows or fields; ask for them by the scopes that are granted"
    )]
    Spans(Quoted),
    /// Two restrictions for one scope.
    #[error(
        "the scope {0} is held to different rows or fields by those it has come through; ask for it where it is held to one"
    )]
    Differ(Quoted),
    /// Patterns that cannot be compared.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
    /// A row filter that cannot be made.
    #[error(transparent)]
    Rows(#[from] RowFilterError),
}

impl Restriction {
    /// What a grant of the configuration is held to, with the values that `values` has for its references.
    ///
    /// # Errors
    /// When its row filter cannot be made.
    pub fn new(grant: &GrantConfig, values: &dyn Fn(&Reference) -> Option<Value>) -> Result<Self, RowFilterError> {
        let rows = grant.rows.as_ref().map(|rows| RowFilter::new(rows, values)).transpose()?;
        Ok(Self { rows, fields: grant.fields.clone() })
    }
}

impl Grants {
    /// These scopes, and further ones that are held to something.
    ///
    /// # Errors
    /// When a scope cannot be read or held to what it is to be held to, or the law is broken.
    pub fn new<'a>(
        scopes: impl IntoIterator<Item = &'a str>,
        restricted: impl IntoIterator<Item = (&'a str, Restriction)>,
        clusters: &Clusters,
    ) -> Result<Self, RestrictionError> {
        let plain = ScopeSet::collect(scopes, clusters)?;
        let mut held = Vec::new();
        for (scope, restriction) in restricted {
            let entry = (Scope::parse(scope, clusters)?, restriction);
            if !held.contains(&entry) {
                held.push(entry);
            }
        }
        let restrictions = Restrictions::new(&plain.iter().collect::<Vec<_>>(), held)?;
        let all = plain.iter().chain(restrictions.restricted.iter().map(|(scope, _)| scope)).map(Scope::as_str);
        let scopes = ScopeSet::collect(all, clusters)?;
        Ok(Self { scopes, restrictions })
    }
}

impl Grants {
    /// These scopes, as they come through several who were each given them: what one of them is held to, they are held to.
    ///
    /// # Errors
    /// When one scope would be held to several things, or as for [`Restrictions::of`].
    pub fn through<'r>(
        scopes: ScopeSet,
        those: impl IntoIterator<Item = &'r Restrictions>,
    ) -> Result<Self, RestrictionError> {
        let mut held: Vec<(Scope, Restriction)> = Vec::new();
        for restrictions in those {
            for (scope, restriction) in restrictions.of(&scopes)?.restricted {
                match held.iter().find(|(known, _)| *known == scope) {
                    None => held.push((scope, restriction)),
                    Some((_, known)) if *known == restriction => {}
                    Some(_) => return Err(RestrictionError::Differ(scope.as_str().into())),
                }
            }
        }
        let plain: Vec<&Scope> = scopes.iter().filter(|scope| held.iter().all(|(other, _)| other != *scope)).collect();
        let restrictions = Restrictions::new(&plain, held)?;
        Ok(Self { scopes, restrictions })
    }
}

impl Grants {
    /// What of it is about the named cluster, as grants of the only cluster.
    #[must_use]
    pub fn for_cluster(&self, name: &str) -> Self {
        let held = self.restrictions.restricted.iter().filter(|(scope, _)| scope.cluster() == Some(name));
        let held = held.map(|(scope, restriction)| (scope.of_the_only_cluster(), restriction.clone()));
        Self { scopes: self.scopes.for_cluster(name), restrictions: Restrictions { restricted: held.collect() } }
    }
}

impl From<ScopeSet> for Grants {
    fn from(scopes: ScopeSet) -> Self {
        Self { scopes, restrictions: Restrictions::default() }
    }
}

impl Restrictions {
    fn new(plain: &[&Scope], restricted: Vec<(Scope, Restriction)>) -> Result<Self, RestrictionError> {
        let mut budget = Budget::default();
        for (at, (scope, restriction)) in restricted.iter().enumerate() {
            if !is_about_reading(scope) {
                return Err(RestrictionError::Verb(scope.as_str().into()));
            }
            let later =
                restricted.iter().skip(at + 1).filter(|(_, other)| other != restriction).map(|(other, _)| other);
            for other in plain.iter().copied().chain(later) {
                if share_an_index(scope, other, &mut budget)? {
                    return Err(RestrictionError::Overlap {
                        scope: other.as_str().into(),
                        restricted: scope.as_str().into(),
                    });
                }
            }
        }
        let restrictions = Self { restricted };
        match restrictions.row_filters().len() {
            filters if filters > MAX_ROW_FILTERS => Err(RestrictionError::TooManyFilters(filters)),
            _ => Ok(restrictions),
        }
    }

    /// What scopes are held to that were given out of these: each to what contains it.
    ///
    /// # Errors
    /// [`RestrictionError::Spans`] when a scope reaches beyond what one restriction is about.
    pub fn of(&self, scopes: &ScopeSet) -> Result<Self, RestrictionError> {
        let mut restricted = Vec::new();
        if self.is_empty() {
            return Ok(Self { restricted });
        }
        let mut budget = Budget::default();
        for scope in scopes.iter() {
            if let Some(restriction) = self.holding(scope, &mut budget)? {
                restricted.push((scope.clone(), restriction.clone()));
            }
        }
        Ok(Self { restricted })
    }

    fn holding(&self, scope: &Scope, budget: &mut Budget) -> Result<Option<&Restriction>, RestrictionError> {
        if let Some(restriction) = self.restriction(scope) {
            return Ok(Some(restriction));
        }
        let mut touched = Vec::new();
        for entry in &self.restricted {
            if share_an_index(scope, &entry.0, budget)? {
                touched.push(entry);
            }
        }
        let Some((_, restriction)) = touched.first() else {
            return Ok(None);
        };
        let spans = || RestrictionError::Spans(scope.as_str().into());
        if !is_about_reading(scope) || touched.iter().any(|(_, other)| other != restriction) {
            return Err(spans());
        }
        for names in scope.branches() {
            if !contains(touched.iter().flat_map(|(scope, _)| scope.branches()), names, budget)? {
                return Err(spans());
            }
        }
        Ok(Some(restriction))
    }

    /// What a scope of these is held to.
    pub fn restriction(&self, scope: &Scope) -> Option<&Restriction> {
        self.restricted.iter().find(|(restricted, _)| restricted == scope).map(|(_, restriction)| restriction)
    }

    /// Each scope that is held to something, with that.
    pub fn iter(&self) -> impl Iterator<Item = &(Scope, Restriction)> {
        self.restricted.iter()
    }

    /// Whether no scope is held to anything.
    pub const fn is_empty(&self) -> bool {
        self.restricted.is_empty()
    }

    /// The different row filters, in one order.
    pub fn row_filters(&self) -> BTreeSet<&RowFilter> {
        self.restricted.iter().filter_map(|(_, restriction)| restriction.rows.as_ref()).collect()
    }
}

fn is_about_reading(scope: &Scope) -> bool {
    matches!(scope.target(), Target::Indices(_)) && matches!(scope.verb(), Verb::Read | Verb::Search)
}

/// Whether there could be an index that both scopes are about.
fn share_an_index(one: &Scope, other: &Scope, budget: &mut Budget) -> Result<bool, TooComplex> {
    if one.cluster() != other.cluster() {
        return Ok(false);
    }
    for one in one.branches() {
        for other in other.branches() {
            let exclusions: Vec<Glob> = one.exclusions.iter().chain(other.exclusions).cloned().collect();
            if overlaps(one.include, Branch { include: other.include, exclusions: &exclusions }, budget)? {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use oauth4os_config::{RowValue, Rows};

    use super::*;

    fn rows(tenant: &str) -> Restriction {
        let rows = Rows::Term(BTreeMap::from([("tenant".to_owned(), RowValue::Text(tenant.to_owned()))]));
        Restriction { rows: Some(RowFilter::new(&rows, &|_| None).unwrap()), fields: None }
    }

    fn fields(name: &str) -> Restriction {
        Restriction { rows: None, fields: Some(name.to_owned()) }
    }

    fn grants(plain: &str, restricted: &[(&'static str, Restriction)]) -> Result<Grants, RestrictionError> {
        Grants::new(plain.split_whitespace(), restricted.iter().cloned(), &Clusters::default())
    }

    fn scopes(list: &str) -> ScopeSet {
        ScopeSet::parse(list, &Clusters::default()).unwrap()
    }

    #[test]
    fn an_index_has_one_restriction_or_none() {
        let held = ("read:orders-*", rows("a"));
        assert!(grants("read:logs-* write:logs-* monitor:cluster", std::slice::from_ref(&held)).is_ok());
        assert!(grants("read:*,-orders-*", std::slice::from_ref(&held)).is_ok());
        assert!(grants("", &[held.clone(), ("search:orders-x", rows("a"))]).is_ok());
        assert!(grants("", &[held.clone(), ("read:invoices-*", rows("b"))]).is_ok());
        for plain in
            ["write:orders-*", "read:orders-1", "read:*", "monitor:o*", "ingest:orders-new", "manage:*,-orders-1*"]
        {
            let refused = grants(plain, std::slice::from_ref(&held)).unwrap_err();
            assert!(matches!(refused, RestrictionError::Overlap { .. }), "{plain}: {refused}");
        }
        for other in [("read:orders-1", rows("b")), ("search:*", fields("slim"))] {
            let refused = grants("", &[held.clone(), other]).unwrap_err();
            assert!(matches!(refused, RestrictionError::Overlap { .. }), "{refused}");
        }
    }

    #[test]
    fn what_cannot_be_held_to_anything() {
        for scope in ["write:orders-*", "admin:orders-*", "monitor:cluster", "read:dashboards", "admin:gateway"] {
            let refused = grants("", &[(scope, rows("a"))]).unwrap_err();
            assert!(matches!(refused, RestrictionError::Verb(_)), "{scope}: {refused}");
        }
        let five = ["read:a", "read:b", "read:c", "read:d", "read:e"].map(|scope| (scope, rows(scope)));
        assert_eq!(grants("", &five).unwrap_err(), RestrictionError::TooManyFilters(5));
        assert!(grants("", &five[..4]).is_ok());
        let same = five.map(|(scope, _)| (scope, rows("same")));
        assert!(grants("", &same).is_ok());
    }

    #[test]
    fn what_comes_through_several_is_held_to_what_any_of_them_is_held_to() {
        let free = grants("read:orders-* read:logs-*", &[]).unwrap().restrictions;
        let held = |to| grants("read:logs-*", &[("read:orders-*", to)]).unwrap().restrictions;
        let (a, b) = (held(rows("a")), held(rows("b")));
        let through = |list: &str, those: &[&Restrictions]| Grants::through(scopes(list), those.iter().copied());
        for those in [&[&a, &free][..], &[&free, &a], &[&a, &a.clone()], &[&free, &a, &free]] {
            let grants = through("read:orders-eu-* read:logs-a", those).unwrap();
            let held: Vec<_> = grants.restrictions.iter().cloned().collect();
            assert_eq!(held, [(Scope::parse("read:orders-eu-*", &Clusters::default()).unwrap(), rows("a"))]);
        }
        assert!(through("read:logs-a", &[&a, &b]).unwrap().restrictions.is_empty());
        assert!(matches!(through("read:orders-1", &[&a, &b]), Err(RestrictionError::Differ(_))));
        assert!(matches!(through("read:*", &[&free, &a]), Err(RestrictionError::Spans(_))));
        assert!(matches!(through("write:orders-1", &[&free, &a]), Err(RestrictionError::Spans(_))));
        let other = grants("", &[("search:orders-x", rows("b"))]).unwrap().restrictions;
        let refused = through("read:orders-* search:orders-x", &[&a, &other]);
        assert!(refused.is_err(), "{refused:?}");
    }

    #[test]
    fn narrower_scopes_are_held_to_the_same() {
        let all = grants(
            "read:logs-* read:*,-orders-*,-invoices-*",
            &[("read:orders-*", rows("a")), ("read:invoices-*", rows("a")), ("search:bills-*", fields("slim"))],
        );
        assert!(all.is_err(), "`read:*` reaches the bills");
        let all = grants(
            "read:logs-* write:logs-*",
            &[("read:orders-*", rows("a")), ("read:invoices-*", rows("a")), ("search:bills-*", fields("slim"))],
        )
        .unwrap();
        let of = |list: &str| all.restrictions.of(&scopes(list));
        let restriction = |list: &str| {
            let of = of(list).unwrap();
            of.restriction(scopes(list).iter().next().unwrap()).cloned()
        };
        assert_eq!(restriction("read:logs-a"), None);
        assert_eq!(restriction("read:orders-*"), Some(rows("a")));
        assert_eq!(restriction("search:orders-eu-*"), Some(rows("a")));
        assert_eq!(restriction("read:orders-1,invoices-1"), Some(rows("a")));
        assert_eq!(restriction("search:bills-*,-bills-x"), Some(fields("slim")));
        for list in ["read:*", "read:o*", "search:orders-*,bills-*", "write:orders-1", "read:logs-*,orders-*"] {
            let refused = of(list).unwrap_err();
            assert!(matches!(refused, RestrictionError::Spans(_)), "{list}: {refused}");
        }
    }
}
