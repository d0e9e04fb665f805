//! Cedar: the operator's policies, on top of scopes.
//!
//! `Index::"logs-*"` in a policy is a pattern. A request is `in` it in one of two senses, and which one is meant follows
//! from where it stands: what *permits* needs **containment** (every name asked for is inside the pattern), what *forbids*
//! needs **overlap** (one of them is). Each policy is rewritten at load so that the two senses are two different entities
//! (module `sense`); at decision time the requested expression gets the patterns that contain it and the patterns it overlaps as
//! parents, and one evaluation gives the answer.
//!
//! Cedar looks at every policy of a set on every evaluation, so each principal has a set of its own, of the policies whose
//! principal could be it ([`Policies::for_principal`]).

mod evaluate;
mod load;
mod sense;
mod slice;

use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema};

pub use evaluate::{Resource, Ruling};
pub use load::{PolicyError, PolicyErrors, PolicyFile};
pub use slice::PrincipalPolicies;

/// The schema every policy is validated against.
pub const SCHEMA: &str = include_str!("../../policy.cedarschema");

/// The group every agent is in.
pub const AGENTS: &str = "agents";

/// All policies in force. Immutable and cheap to clone.
#[derive(Clone, Debug)]
pub struct Policies(Option<Arc<load::Loaded>>);

impl Policies {
    /// No policy files: scopes alone decide.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Reads and checks the policies of all files. With a file, even one without a policy, what no policy permits is
    /// refused; without any file scopes alone decide.
    ///
    /// # Errors
    /// Every policy that does not parse, does not fit the schema, could fail when evaluated or can never apply.
    pub fn load(files: &[PolicyFile<'_>]) -> Result<Self, PolicyErrors> {
        if files.is_empty() {
            return Ok(Self::none());
        }
        load::load(files).map(|loaded| Self(Some(Arc::new(loaded))))
    }

    /// Whether there are policy files.
    pub const fn are_configured(&self) -> bool {
        self.0.is_some()
    }

    /// The ids of all policies, in the order of files and positions.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|loaded| loaded.policies.iter().map(|policy| policy.id.as_str()))
    }
}

/// The entity of a type of the schema with an id from anywhere.
///
/// The id is a value and is never parsed.
fn uid(entity_type: &str, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(EntityTypeName::from_str(entity_type).ok()?, EntityId::new(id)))
}

fn schema() -> Result<Schema, String> {
    Schema::from_cedarschema_str(SCHEMA).map(|(schema, _)| schema).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
