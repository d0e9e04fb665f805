//! The form of the generated table: one [`Spec`] for each operation, and the engine's path trie over them.

use crate::class::{Action, Class};
use crate::generated::OPERATIONS;

/// What the table says of an operation.
pub(crate) struct Spec {
    pub name: &'static str,
    pub class: Class,
    pub action: Action,
    pub also: Option<(Class, Action)>,
    pub targets: TargetRule,
    pub body: BodyRule,
    pub denied: Option<&'static str>,
}

/// Every class of the table with every action it comes with, some of them more than once. What the lines of a bulk need is
/// among them.
pub fn rights() -> impl Iterator<Item = (Class, Action)> {
    let of = |spec: &'static Spec| std::iter::once((spec.class, spec.action)).chain(spec.also);
    OPERATIONS.iter().flat_map(of)
}

/// Where the index expressions of an operation are.
pub(crate) enum TargetRule {
    Cluster,
    Handle,
    /// Captured or query parameters that hold index expressions.
    Params(&'static [Param]),
    /// Only in the body; the parameter is the default, if it has a name.
    Body(&'static str),
}

/// A parameter that holds index expressions.
pub(crate) struct Param {
    pub name: &'static str,
    /// Absent means nothing, not all indices.
    pub optional: bool,
}

/// How a body is inspected.
pub(crate) enum BodyRule {
    Opaque,
    Bulk,
    Msearch,
    Mget,
    Mtermvectors,
    Search,
    Query,
    RankEval,
    Reindex,
    Alias,
    Aliases,
    Create,
    Settings,
    Template,
    Explain,
    Reroute,
    Handles,
    Update,
}

/// A node of the path trie: literal children sorted by name, at most one wildcard, and what is registered here.
pub(crate) struct Node {
    pub literals: &'static [(&'static str, u16)],
    pub wildcard: Option<(&'static str, u16)>,
    pub routes: &'static [(Method, u16)],
}

/// The methods for which the engine has handlers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Patch,
}

impl Method {
    /// Methods are case-sensitive (RFC 9110 section 9.1).
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "PATCH" => Self::Patch,
            _ => return None,
        })
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
        }
    }
}
