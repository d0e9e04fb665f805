//! The policies that concern one principal.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use cedar_policy::{Effect, Entity, EntityUid, PolicySet, PrincipalConstraint};

use super::load::LoadedPolicy;
use super::sense::{CONTAINED, OVERLAP};
use super::{AGENTS, Policies, uid};
use crate::forbids::Forbids;
use crate::glob::Glob;
use crate::principal::{Principal, PrincipalKind};

/// What one principal's requests are held to: made when the snapshot is published, used for every decision. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PrincipalPolicies {
    pub(super) ruled: Ruled,
    forbids: Forbids,
}

#[derive(Clone, Debug)]
pub(super) enum Ruled {
    /// Policies, and the principal cannot be named in them: nothing is permitted.
    ByNothing,
    ByPolicies(Arc<Sliced>),
    /// No policies are configured.
    Not,
}

#[derive(Clone, Debug)]
pub(super) struct Sliced {
    pub(super) principal: Entity,
    pub(super) set: PolicySet,
    /// Patterns tested for containment.
    pub(super) contained: Vec<(Glob, EntityUid)>,
    /// Patterns tested for overlap.
    pub(super) overlapped: Vec<(Glob, EntityUid)>,
    /// The types of saved objects that are named.
    pub(super) saved_objects: Vec<String>,
}

impl PrincipalPolicies {
    /// No policies: scopes alone decide.
    pub const fn none() -> Self {
        Self { ruled: Ruled::Not, forbids: Forbids::new() }
    }

    const fn by_nothing() -> Self {
        Self { ruled: Ruled::ByNothing, forbids: Forbids::new() }
    }

    /// What is forbidden to the principal without any condition: to be taken out of what the engine is told
    /// ([`crate::EngineGrant::of`]).
    pub const fn forbids(&self) -> &Forbids {
        &self.forbids
    }

    /// How many policies concern the principal.
    pub fn len(&self) -> usize {
        match &self.ruled {
            Ruled::ByPolicies(sliced) => sliced.set.policies().count(),
            Ruled::ByNothing | Ruled::Not => 0,
        }
    }

    /// Whether no policy concerns the principal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Policies {
    /// The policies whose principal could be this one.
    pub fn for_principal(&self, principal: &Principal) -> PrincipalPolicies {
        self.slice(principal, true)
    }

    /// Every policy, for the principal. For tests: it must decide as the slice does.
    #[cfg(test)]
    pub(crate) fn unsliced(&self, principal: &Principal) -> PrincipalPolicies {
        self.slice(principal, false)
    }

    fn slice(&self, principal: &Principal, only_relevant: bool) -> PrincipalPolicies {
        let Some(loaded) = &self.0 else {
            return PrincipalPolicies::none();
        };
        let Some(who) = uid(principal.kind.entity_type(), &principal.id) else {
            return PrincipalPolicies::by_nothing();
        };
        let groups: HashSet<EntityUid> = principal
            .groups
            .iter()
            .map(String::as_str)
            .chain((principal.kind == PrincipalKind::Agent).then_some(AGENTS))
            .filter_map(|group| uid("Group", group))
            .collect();
        let relevant: Vec<&LoadedPolicy> =
            loaded.policies.iter().filter(|policy| !only_relevant || could_apply(policy, &who, &groups)).collect();

        let mut set = PolicySet::new();
        for policy in &relevant {
            // Ids are unique among all loaded policies, so adding cannot fail; were it to, denying everything is safe.
            if set.add(policy.policy.clone()).is_err() {
                return PrincipalPolicies::by_nothing();
            }
        }
        let forbidden = relevant
            .iter()
            .filter(|policy| policy.effect == Effect::Forbid && could_apply(policy, &who, &groups))
            .flat_map(|policy| policy.unconditional.iter().map(|pattern| (Glob::with_dots(pattern), policy.actions)));
        let mut forbids = Forbids::default();
        forbidden.for_each(|(names, actions)| forbids.add(names, actions));
        let contained = patterns(&relevant, CONTAINED, |policy| policy.patterns.contained.iter(), Glob::new);
        let overlapped = patterns(&relevant, OVERLAP, |policy| policy.patterns.overlapped.iter(), Glob::with_dots);
        let saved_objects: BTreeSet<&String> =
            relevant.iter().flat_map(|policy| &policy.patterns.saved_objects).collect();
        let saved_objects = saved_objects.into_iter().cloned().collect();
        let principal = Entity::new_no_attrs(who, groups);
        let sliced = Sliced { principal, set, contained, overlapped, saved_objects };
        PrincipalPolicies { ruled: Ruled::ByPolicies(Arc::new(sliced)), forbids }
    }
}

/// Whether the head of the policy leaves room for the principal. Conditions are left to the evaluation.
fn could_apply(policy: &LoadedPolicy, who: &EntityUid, groups: &HashSet<EntityUid>) -> bool {
    let is_in = |entity: &EntityUid| entity == who || groups.contains(entity);
    match policy.policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(entity) => entity == *who,
        PrincipalConstraint::In(entity) => is_in(&entity),
        PrincipalConstraint::Is(entity_type) => entity_type == *who.type_name(),
        PrincipalConstraint::IsIn(entity_type, entity) => entity_type == *who.type_name() && is_in(&entity),
    }
}

fn patterns<'a, I: Iterator<Item = &'a String>>(
    policies: &[&'a LoadedPolicy],
    entity_type: &str,
    of: impl Fn(&'a LoadedPolicy) -> I,
    read: impl Fn(&str) -> Glob,
) -> Vec<(Glob, EntityUid)> {
    let mut texts: Vec<&str> = policies.iter().flat_map(|policy| of(policy)).map(String::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.into_iter().filter_map(|text| Some((read(text), uid(entity_type, text)?))).collect()
}
