//! Writes whose index an ingest pipeline may choose.
//!
//! The engine checks the index that the pipeline has chosen, by what it is told of a token. It is not told everything: to it
//! `ingest` is `write`, a policy that permits only some of the names of a scope is nothing, and neither is one that forbids
//! some of the ways of writing. So a pipeline may run when whatever the engine would let it write is permitted.

use crate::catalog::{self, Rights};
use crate::cedar::{PrincipalPolicies, Resource};
use crate::containment::{Branch, Budget};
use crate::decision::{Access, Decision, Refusal, Ruled, uncovered};
use crate::engine::EngineRole;
use crate::expression::Expressions;
use crate::glob::Glob;
use crate::principal::Principal;
use crate::scope::ScopeSet;

/// Decides whether a document of `access` may go wherever the engine lets the token write. What `access` names is decided by
/// [`decide`](crate::decide).
pub fn decide_pipeline(
    principal: &Principal,
    scopes: &ScopeSet,
    policies: &PrincipalPolicies,
    access: &Access<'_>,
) -> Decision {
    let mut determining = Vec::new();
    let refusal = everywhere(principal, scopes, policies, access, &mut determining).err().map(|why| {
        determining.clear();
        Refusal::Pipeline { held: scopes.to_string().as_str().into(), why: Box::new(why) }
    });
    Decision { allow: refusal.is_none(), is_partial: false, refusal, determining }
}

fn everywhere(
    principal: &Principal,
    scopes: &ScopeSet,
    policies: &PrincipalPolicies,
    access: &Access<'_>,
    determining: &mut Vec<crate::Determining>,
) -> Result<(), Refusal> {
    let mut ruled = Ruled::new(principal, policies, access.action, determining);
    let mut budget = Budget::default();
    for scope in scopes.iter().filter(|scope| scope.cluster().is_none()) {
        let role = match EngineRole::of(scope) {
            Some(role @ (EngineRole::Write | EngineRole::Admin)) => role,
            // The engine lets it write the indices that hold the objects of Dashboards, whatever they are.
            Some(EngineRole::DashboardsWrite) => {
                return Err(Refusal::UnknownTargets { operation: access.operation.to_owned() });
            }
            _ => continue,
        };
        let forbidden = policies.forbids().of(role.actions());
        for granted in scope.branches() {
            let left = without(granted, &forbidden);
            if left.is_nothing(&mut budget)? {
                continue;
            }
            ruled.by_scopes(scopes.covers(access.class, &left).map_err(|why| uncovered(why, scopes, access))?);
            ruled.by_policies(&Resource::Indices(&left))?;
            let rights = Rights { granted: &[granted], forbidden: &forbidden, apart: &[] };
            // Names that lead out are taken out of what the engine is told.
            let out: Vec<&str> = access.catalog.widening(rights).iter().map(|out| out.name).collect();
            let mut reached = access.catalog.reached(&left);
            reached.retain(|reached| !out.contains(&reached.name));
            ruled.by_policies(&Resource::Mentioned(&catalog::behind(&reached)))?;
        }
    }
    Ok(())
}

/// What is granted, without what is forbidden in any case.
fn without(granted: Branch<'_>, forbidden: &[Glob]) -> Expressions {
    Expressions::of_branch(granted.include, granted.exclusions.iter().chain(forbidden).cloned())
}

#[cfg(test)]
mod tests {
    use oauth4os_classify::{Action, Class, Targets};

    use super::*;
    use crate::catalog::{Catalog, Index};
    use crate::cedar::{Policies, PolicyFile};
    use crate::principal::PrincipalKind;
    use crate::scope::Clusters;

    fn decided(scopes: &str, policies: &str, class: Class, catalog: &Catalog) -> Decision {
        let principal = Principal { id: "app".to_owned(), kind: PrincipalKind::Client, groups: Vec::new() };
        let policies = match policies {
            "" => Policies::none(),
            text => Policies::load(&[PolicyFile { name: "p", text }]).unwrap(),
        };
        let action = if class == Class::Append { Action::Create } else { Action::Update };
        let (targets, hidden, may_narrow) = (Targets::Body, false, false);
        let access = Access { operation: "bulk", class, action, targets: &targets, hidden, catalog, may_narrow };
        let scopes = ScopeSet::parse(scopes, &Clusters::default()).unwrap();
        decide_pipeline(&principal, &scopes, &policies.for_principal(&principal), &access)
    }

    fn allowed(scopes: &str, policies: &str, class: Class) -> bool {
        decided(scopes, policies, class, Catalog::none()).allow
    }

    #[test]
    fn what_the_engine_knows_of_is_left_to_it() {
        assert!(allowed("write:logs-* read:pii-*", "", Class::Write));
        assert!(allowed("ingest:logs-*", "", Class::Append));
        assert!(allowed("write:logs-* ingest:logs-a", "", Class::Write));
        assert!(allowed("admin:logs-* write:app", "", Class::Write));
        // Nothing to write: whose pipelines these are, they run with the rights of others.
        assert!(allowed("manage:logs-*", "", Class::Write));
        let forbid = "permit(principal, action, resource); forbid(principal, action, resource in Index::\"pii-*\");";
        assert!(allowed("write:*", forbid, Class::Write));
        let writing = "permit(principal, action, resource); forbid(principal, action in Action::\"write\", resource in Index::\"pii-*\");";
        assert!(allowed("write:*", writing, Class::Append));
    }

    #[test]
    fn what_only_the_gateway_knows_of_is_refused() {
        let refused = decided("write:logs-a ingest:logs-b", "", Class::Write, Catalog::none());
        let sentence = refused.refusal.unwrap().to_string();
        assert!(sentence.contains("needs the scope `write:logs-b`") && sentence.contains("pipeline"), "{sentence}");
        assert!(allowed("write:logs-a ingest:logs-b", "", Class::Append));
        assert!(!allowed("write:logs-a write:dashboards", "", Class::Append));
        let some = "permit(principal, action, resource in Index::\"logs-*\");";
        assert!(allowed("write:logs-*", some, Class::Write));
        assert!(!allowed("write:logs-* write:pii-*", some, Class::Write));
        assert!(!allowed("write:*", some, Class::Write));
        // Adding is forbidden and changing is not: to the engine these are one.
        let adding = "permit(principal, action, resource); forbid(principal, action == Action::\"create\", resource in Index::\"pii-*\");";
        assert!(!allowed("write:*", adding, Class::Append));
        assert!(allowed("write:*", adding, Class::Write));
        assert!(allowed("write:logs-*", adding, Class::Append));
    }

    #[test]
    fn what_is_behind_a_name_counts() {
        let catalog = |alias: &str| {
            Catalog::new([Index { name: "pii-1".into(), data_stream: None, aliases: vec![alias.into()] }])
        };
        let adding = "permit(principal, action, resource); forbid(principal, action == Action::\"create\", resource in Index::\"pii-*\");";
        // Whoever is granted the alias in full is granted what is behind it.
        assert!(!decided("write:orders", adding, Class::Append, &catalog("orders")).allow);
        // Who is granted a pattern is not, and the engine is told so.
        assert!(decided("write:logs-*", adding, Class::Append, &catalog("logs-x")).allow);
    }
}
