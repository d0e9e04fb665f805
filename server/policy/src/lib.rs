//! Scopes, index-pattern containment, Cedar, the decision and its explanation: pure, without I/O.
//!
//! The way of a decision: the request's index expressions are read into the set of names they stand for
//! ([`expression`]), the token's scopes must contain that set ([`scope`], [`containment`]), and the operator's Cedar
//! policies, if there are any, must permit it ([`cedar`]). Aliases and data streams must not lead elsewhere ([`catalog`]). [`decide`] does all of it. [`engine`] turns the same scopes
//! into what the engine is told to enforce.

pub mod catalog;
pub mod cedar;
pub mod containment;
mod coverage;
pub mod decision;
pub mod engine;
pub mod expression;
pub mod forbids;
pub mod glob;
mod narrowing;
mod pipeline;
pub mod principal;
pub mod restriction;
pub mod rows;
pub mod scope;
mod touching;

pub use catalog::Catalog;
pub use cedar::{Policies, PolicyError, PolicyErrors, PolicyFile, PrincipalPolicies};
pub use coverage::Uncovered;
pub use decision::{Access, Decision, Determining, Refusal, decide};
pub use engine::{EngineGrant, EngineRole, RestrictedRole};
pub use expression::{ExpressionError, Expressions};
pub use forbids::{Actions, Forbids};
pub use glob::Glob;
pub use pipeline::decide_pipeline;
pub use principal::{Principal, PrincipalKind};
pub use restriction::{Grants, Restriction, RestrictionError, Restrictions};
pub use rows::{RowFilter, RowFilterError};
pub use scope::{Clusters, Scope, ScopeError, ScopeSet, Target, Verb};
