//! Who asks.

use std::fmt;

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The client's or user's id, as issued; never parsed.
    pub id: String,
    /// What it is.
    pub kind: PrincipalKind,
    /// Groups from the client's registration or a provider's claim; every agent is also in the group `agents`.
    pub groups: Vec<String>,
}

/// What a principal is: the entity type Cedar policies name it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// `Agent::"id"`: a client that acts on its own judgement.
    Agent,
    /// `Client::"id"`: a machine.
    Client,
    /// `User::"id"`: a person.
    User,
}

impl PrincipalKind {
    /// The Cedar entity type.
    pub const fn entity_type(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::Client => "Client",
            Self::User => "User",
        }
    }

    /// The word for it in a sentence.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Client => "client",
            Self::User => "user",
        }
    }
}

impl fmt::Display for PrincipalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
