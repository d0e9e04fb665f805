//! Partial access: a search by wildcard that reaches beyond what is permitted, narrowed by the engine to what is.
//!
//! The engine does it (`do_not_fail_on_forbidden`) by the same patterns that hold every token to its scopes. Here it is
//! decided whether it may: the part that is left must be permitted as if it alone had been asked for, and whoever names
//! an index in full must have the right to it.

use oauth4os_classify::{Class, Targets};

use crate::cedar::{PrincipalPolicies, Resource};
use crate::containment::{Branch, Budget, overlaps};
use crate::decision::{Access, Decision, Ruled, decide_on};
use crate::engine::EngineRole;
use crate::expression::Expressions;
use crate::glob::Glob;
use crate::principal::Principal;
use crate::scope::{Scope, ScopeSet};

/// The decision on the part of `access` that is permitted; `None` when it cannot be narrowed to one.
pub(crate) fn narrowed(
    principal: &Principal,
    scopes: &ScopeSet,
    policies: &PrincipalPolicies,
    access: &Access<'_>,
) -> Option<Decision> {
    let Targets::Indices(list) = access.targets else { return None };
    if access.class != Class::Search {
        return None;
    }
    let requested = Expressions::parse(list, access.hidden).ok()?;
    let mut determining = Vec::new();
    let named: Vec<&str> =
        requested.iter().filter(|part| part.names.include.is_literal()).map(|part| part.text).collect();
    if !named.is_empty() {
        let targets = Targets::Indices(named.into_iter().map(ToOwned::to_owned).collect());
        let decision = decide_on(principal, scopes, policies, &Access { targets: &targets, ..*access });
        if !decision.allow {
            return None;
        }
        determining.extend(decision.determining);
    }
    let mut ruled = Ruled::new(principal, policies, access.action, &mut determining);
    let mut budget = Budget::default();
    let mut is_reached = false;
    for part in requested.iter().filter(|part| !part.names.include.is_literal()) {
        let mut covering: Vec<&Scope> = Vec::new();
        for scope in scopes.granting(access.class).unwrap_or_default() {
            // What the engine takes out of the pattern of this scope.
            let forbidden = policies.forbids().of(EngineRole::of(scope)?.actions());
            for granted in scope.branches() {
                if !overlaps(granted.include, part.names, &mut budget).ok()? {
                    continue;
                }
                let left = without(granted, part.names.exclusions, &forbidden);
                if left.is_nothing(&mut budget).ok()? {
                    continue;
                }
                ruled.by_policies(&Resource::Indices(&left)).ok()?;
                if !covering.contains(&scope) {
                    covering.push(scope);
                }
            }
        }
        is_reached |= !covering.is_empty();
        ruled.by_scopes(covering);
    }
    is_reached.then_some(Decision { allow: true, is_partial: true, refusal: None, determining })
}

/// What is granted, without what the request excludes and what is forbidden in any case. All that is granted and not only
/// what is asked for of it: more than what is left, and so on the safe side.
fn without(granted: Branch<'_>, excluded: &[Glob], forbidden: &[Glob]) -> Expressions {
    let exclusions = granted.exclusions.iter().chain(excluded).chain(forbidden);
    Expressions::of_branch(granted.include, exclusions.cloned())
}

#[cfg(test)]
mod tests {
    use oauth4os_classify::Action;

    use super::*;
    use crate::catalog::{Catalog, Index};
    use crate::cedar::{Policies, PolicyFile};
    use crate::principal::PrincipalKind;
    use crate::scope::Clusters;

    fn decided(scopes: &str, policies: &str, targets: &str, catalog: &Catalog) -> Decision {
        let principal = Principal { id: "app".to_owned(), kind: PrincipalKind::Client, groups: Vec::new() };
        let policies = match policies {
            "" => Policies::none(),
            text => Policies::load(&[PolicyFile { name: "p", text }]).unwrap(),
        };
        let targets = Targets::Indices(targets.split(',').map(ToOwned::to_owned).collect());
        let access = Access {
            operation: "search",
            class: Class::Search,
            action: Action::Search,
            targets: &targets,
            hidden: false,
            catalog,
            may_narrow: true,
        };
        let scopes = ScopeSet::parse(scopes, &Clusters::default()).unwrap();
        crate::decide(&principal, &scopes, &policies.for_principal(&principal), &access)
    }

    fn partial(scopes: &str, policies: &str, targets: &str) -> Option<bool> {
        let decision = decided(scopes, policies, targets, Catalog::none());
        decision.allow.then_some(decision.is_partial)
    }

    #[test]
    fn a_wildcard_that_reaches_beyond_is_narrowed_and_a_name_is_not() {
        for (targets, expected) in [
            ("logs-*", Some(false)),
            ("*", Some(true)),
            ("l*", Some(true)),
            ("*,-logs-app-*", Some(true)),
            ("logs-*,metrics-*", Some(true)),
            ("metrics-*", None),
            ("*,-logs-*", None),
            ("pii-customers", None),
            ("logs-*,pii-customers", None),
            ("*,pii-customers", None),
            ("*,logs-app-1", Some(true)),
        ] {
            assert_eq!(partial("read:logs-*", "", targets), expected, "{targets}");
        }
        assert_eq!(partial("write:logs-*", "", "*"), None);
        let decision = decided("read:logs-* search:metrics-* write:x", "", "*", Catalog::none());
        let by: Vec<&str> = decision.determining.iter().map(crate::Determining::as_str).collect();
        assert_eq!(by, ["read:logs-*", "search:metrics-*"]);
    }

    #[test]
    fn policies_hold_for_what_is_left() {
        let permit_logs = r#"permit(principal, action, resource in Index::"logs-*");"#;
        assert_eq!(partial("read:logs-*", permit_logs, "*"), Some(true));
        assert_eq!(partial("read:logs-* read:metrics-*", permit_logs, "*"), None, "metrics are permitted by nobody");
        let forbid_secret =
            r#"permit(principal, action, resource); forbid(principal, action, resource in Index::"logs-secret-*");"#;
        // Forbidden in any case, and so taken out by the engine too.
        assert_eq!(partial("read:logs-*", forbid_secret, "*"), Some(true));
        assert_eq!(partial("read:logs-*", forbid_secret, "logs-*"), Some(true));
        assert_eq!(partial("read:logs-secret-*", forbid_secret, "*"), None);
        let forbid_searching = r#"permit(principal, action, resource); forbid(principal, action == Action::"search", resource in Index::"logs-secret-*");"#;
        assert_eq!(partial("read:logs-*", forbid_searching, "*"), None, "the engine does not know of it");
    }

    #[test]
    fn an_alias_that_leads_outside_is_left_out_by_wildcard_and_refused_by_name() {
        let alias = Index { name: "pii-1".into(), data_stream: None, aliases: vec!["logs-sneaky".into()] };
        let catalog = Catalog::new([alias]);
        let allowed = |targets: &str| decided("read:logs-*", "", targets, &catalog).allow;
        assert!(allowed("logs-*") && allowed("*"));
        assert!(!allowed("logs-sneaky") && !allowed("logs-*,logs-sneaky"));
    }
}
