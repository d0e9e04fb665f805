//! The decision on one operation, and its explanation.

use oauth4os_classify::{Action, Class, Targets};

use crate::catalog::{self, Catalog};
use crate::cedar::{PrincipalPolicies, Resource, Ruling};
use crate::containment::TooComplex;
use crate::coverage::Uncovered;
use crate::expression::{ExpressionError, Expressions, Quoted};
use crate::narrowing::narrowed;
use crate::principal::{Principal, PrincipalKind};
use crate::scope::{Scope, ScopeSet, is_scope_token_byte};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The operation's name in the OpenSearch API, such as `indices.get_mapping`.
    pub operation: &'a str,
    /// The permission class it needs.
    pub class: Class,
    /// The Cedar action it is.
    pub action: Action,
    /// What it touches; targets in the body must have been read by now.
    pub targets: &'a Targets,
    /// Whether it reaches hidden indices.
    pub hidden: bool,
    /// What the cluster's aliases and data streams stand for, to refuse those that lead elsewhere.
    pub catalog: &'a Catalog,
    /// Whether a search by wildcard may be narrowed by the engine to what is permitted of it.
    pub may_narrow: bool,
}

/// The answer, with what led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the operation may be forwarded.
    pub allow: bool,
    /// Only a part of what is asked for is permitted, and the engine answers for that part.
    pub is_partial: bool,
    /// Why not. `Some` exactly if it is not allowed.
    pub refusal: Option<Refusal>,
    /// The scopes and policies that decided.
    pub determining: Vec<Determining>,
}

/// A scope or policy that decided.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Determining {
    /// A policy, by its id.
    Policy(String),
    /// A scope, as written.
    Scope(String),
}

/// Why an operation is refused: one sentence for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The operation is never granted to scoped tokens.
    #[error("the operation `{operation}` is not available to scoped tokens")]
    Denied {
        /// Its name.
        operation: String,
    },
    /// The token has no scope at all.
    #[error("the token carries no scope, ask for one such as `read:logs-*`")]
    NoScope,
    /// The token has no scope for the cluster it came to.
    #[error("the token carries no scope for the cluster `{0}`, ask for one such as `read:{0}/logs-*`")]
    NoScopeFor(String),
    /// No scope covers it.
    #[error("the operation `{operation}` needs the scope {}, the token has {held}", Quoted::from(needed.as_str()))]
    Scope {
        /// Its name.
        operation: String,
        /// The weakest scope that would do.
        needed: String,
        /// The scopes of the token.
        held: Quoted,
    },
    /// An alias stands for an index that no scope covers.
    #[error(
        "the alias {alias} stands for {index}, which the token's {held} does not cover; ask for names that do not take it in, or have it removed"
    )]
    LeadsOutside {
        /// The alias.
        alias: Quoted,
        /// An index behind it.
        index: Quoted,
        /// The scopes of the token.
        held: Quoted,
    },
    /// A policy forbids it.
    #[error("the policy {policy} forbids the {kind} {principal} to {action} {resource}")]
    Forbidden {
        /// The policy's id.
        policy: Quoted,
        /// What the principal is.
        kind: PrincipalKind,
        /// Its id.
        principal: Quoted,
        /// The action.
        action: &'static str,
        /// What it is about.
        resource: Quoted,
    },
    /// There are policies and none permits it.
    #[error("no policy permits the {kind} {principal} to {action} {resource}")]
    NotPermitted {
        /// What the principal is.
        kind: PrincipalKind,
        /// Its id.
        principal: Quoted,
        /// The action.
        action: &'static str,
        /// What it is about.
        resource: Quoted,
    },
    /// A policy could not be evaluated.
    #[error("the policy {policy} could not be evaluated, so nothing it may forbid is allowed")]
    PolicyError {
        /// The policy's id.
        policy: Quoted,
    },
    /// The engine lets an ingest pipeline write more than is permitted.
    #[error(
        "an ingest pipeline may choose any index that the engine lets this token write, by {held}, and not all of that is permitted: {why}; leave the pipeline out, or use a token with no other right to write"
    )]
    Pipeline {
        /// The scopes of the token.
        held: Quoted,
        /// What is not permitted.
        why: Box<Refusal>,
    },
    /// An index expression without a sure reading.
    #[error(transparent)]
    Expression(#[from] ExpressionError),
    /// Patterns that cannot be compared.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
    /// The body was not read, or the operation's class does not fit what it touches.
    #[error("what the operation `{operation}` touches is not known, so it is refused")]
    UnknownTargets {
        /// Its name.
        operation: String,
    },
}

impl Refusal {
    /// A short name for metrics and the audit log.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "operation_denied",
            Self::NoScope | Self::NoScopeFor(_) => "no_scope",
            Self::Scope { .. } => "scope",
            Self::LeadsOutside { .. } => "alias",
            Self::Forbidden { .. } => "policy_forbid",
            Self::NotPermitted { .. } => "policy_default",
            Self::PolicyError { .. } => "policy_error",
            Self::Pipeline { .. } => "pipeline",
            Self::Expression(_) => "expression",
            Self::TooComplex(_) => "too_complex",
            Self::UnknownTargets { .. } => "unknown_targets",
        }
    }

    /// The scope to ask for, where one can be named: the `scope` of an `insufficient_scope` challenge (RFC 6750
    /// section 3.1).
    pub fn needed_scope(&self) -> Option<&str> {
        match self {
            Self::Scope { needed, .. } if needed.bytes().all(is_scope_token_byte) => Some(needed),
            _ => None,
        }
    }
}

impl Decision {
    /// Two permissions, both of which were needed.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.allow &= other.allow;
        self.is_partial |= other.is_partial;
        self.refusal = self.refusal.or(other.refusal);
        for by in other.determining {
            if !self.determining.contains(&by) {
                self.determining.push(by);
            }
        }
        self
    }
}

impl Determining {
    /// The scope or the policy id.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Policy(name) | Self::Scope(name) => name,
        }
    }
}

/// Decides whether `principal`, holding `scopes` and subject to `policies`, may do what `access` says.
///
/// The scopes must contain everything it touches; then, if there are policies, they must permit each part of it and
/// forbid none. The answer depends on nothing but the arguments and may be cached until one of them changes.
pub fn decide(principal: &Principal, scopes: &ScopeSet, policies: &PrincipalPolicies, access: &Access<'_>) -> Decision {
    let decision = decide_on(principal, scopes, policies, access);
    if decision.allow || !access.may_narrow {
        return decision;
    }
    narrowed(principal, scopes, policies, access).unwrap_or(decision)
}

/// The decision on all that is asked for.
pub(crate) fn decide_on(
    principal: &Principal,
    scopes: &ScopeSet,
    policies: &PrincipalPolicies,
    access: &Access<'_>,
) -> Decision {
    let mut determining = Vec::new();
    let refusal = judge(principal, scopes, policies, access, &mut determining).err();
    Decision { allow: refusal.is_none(), is_partial: false, refusal, determining }
}

fn judge(
    principal: &Principal,
    scopes: &ScopeSet,
    policies: &PrincipalPolicies,
    access: &Access<'_>,
    determining: &mut Vec<Determining>,
) -> Result<(), Refusal> {
    let operation = || access.operation.to_owned();
    if access.class == Class::Denied || access.action == Action::Denied {
        return Err(Refusal::Denied { operation: operation() });
    }
    if scopes.is_empty() {
        return Err(scopes.of_cluster().map_or(Refusal::NoScope, |name| Refusal::NoScopeFor(name.to_owned())));
    }
    if access.class == Class::Info {
        return Ok(());
    }
    let uncovered = |why| uncovered(why, scopes, access);
    let mut ruled = Ruled::new(principal, policies, access.action, determining);
    match access.targets {
        Targets::Body => Err(Refusal::UnknownTargets { operation: operation() }),
        Targets::Cluster => {
            ruled.by_scopes(scopes.covers_cluster(access.class).map_err(uncovered)?);
            ruled.by_policies(&Resource::Cluster)
        }
        Targets::Handle => {
            ruled.by_scopes(scopes.covers_handle(access.class).map_err(uncovered)?);
            ruled.by_policies(&Resource::SomeIndex)
        }
        Targets::Dashboards(types) => {
            ruled.by_scopes(scopes.covers_dashboards(access.class).map_err(uncovered)?);
            ruled.by_policies(&Resource::SavedObjects(types))
        }
        Targets::Indices(list) => {
            let expressions = Expressions::parse(list, access.hidden)?;
            if access.class.is_cluster() {
                // The state of the cluster, narrowed to some indices: a right on the cluster, but no way around a forbid.
                ruled.by_scopes(scopes.covers_cluster(access.class).map_err(uncovered)?);
                ruled.by_policies(&Resource::Cluster)?;
                return ruled.by_policies(&Resource::Mentioned(&expressions));
            }
            ruled.by_scopes(scopes.covers(access.class, &expressions).map_err(uncovered)?);
            ruled.by_policies(&Resource::Indices(&expressions))?;
            let reached = access.catalog.reached(&expressions);
            if reached.is_empty() {
                return Ok(());
            }
            if let Some(outside) = catalog::outside(&reached, &scopes.granted(access.class)) {
                return Err(Refusal::LeadsOutside {
                    alias: outside.name.into(),
                    index: (&*outside.index.name).into(),
                    held: scopes.to_string().as_str().into(),
                });
            }
            // What a policy forbids, it forbids under every name.
            ruled.by_policies(&Resource::Mentioned(&catalog::behind(&reached)))
        }
    }
}

/// Why scopes do not cover an access, as a refusal of it.
pub(crate) fn uncovered(why: Uncovered, scopes: &ScopeSet, access: &Access<'_>) -> Refusal {
    let operation = access.operation.to_owned();
    match why {
        Uncovered::Needs { scope } => {
            Refusal::Scope { operation, needed: scope, held: scopes.to_string().as_str().into() }
        }
        Uncovered::Never => Refusal::UnknownTargets { operation },
        Uncovered::TooComplex(error) => error.into(),
    }
}

/// Collects what decided, and turns a ruling into a refusal.
pub(crate) struct Ruled<'a> {
    principal: &'a Principal,
    policies: &'a PrincipalPolicies,
    action: Action,
    determining: &'a mut Vec<Determining>,
}

impl<'a> Ruled<'a> {
    pub(crate) const fn new(
        principal: &'a Principal,
        policies: &'a PrincipalPolicies,
        action: Action,
        determining: &'a mut Vec<Determining>,
    ) -> Self {
        Self { principal, policies, action, determining }
    }

    pub(crate) fn by_scopes(&mut self, scopes: Vec<&Scope>) {
        self.determining.extend(scopes.into_iter().map(|scope| Determining::Scope(scope.as_str().to_owned())));
    }

    pub(crate) fn by_policies(&mut self, resource: &Resource<'_>) -> Result<(), Refusal> {
        let (kind, action) = (self.principal.kind, self.action.as_str());
        let principal = || Quoted::from(self.principal.id.as_str());
        let (determining, result) = match self.policies.rule(self.action, resource)? {
            Ruling::Unruled => return Ok(()),
            Ruling::Permitted { policies } => (policies, Ok(())),
            Ruling::NotPermitted { resource } => {
                let refusal =
                    Refusal::NotPermitted { kind, principal: principal(), action, resource: resource.as_str().into() };
                (Vec::new(), Err(refusal))
            }
            Ruling::Forbidden { policies, resource } => {
                let policy = policies.first().map_or("", String::as_str).into();
                let resource = resource.as_str().into();
                (policies, Err(Refusal::Forbidden { policy, kind, principal: principal(), action, resource }))
            }
            Ruling::Failed { policy } => {
                let refusal = Refusal::PolicyError { policy: policy.as_str().into() };
                (vec![policy], Err(refusal))
            }
        };
        if result.is_err() {
            self.determining.clear();
        }
        for policy in determining.into_iter().map(Determining::Policy) {
            if !self.determining.contains(&policy) {
                self.determining.push(policy);
            }
        }
        result
    }
}

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;
