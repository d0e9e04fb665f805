//! What the engine is told, whichever way.

use std::collections::BTreeMap;

/// Who is asking, and with what rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// The user name in the engine; one per client or user, since the engine tells scroll contexts apart by it.
    pub(crate) user: String,
    /// Backend roles.
    pub(crate) roles: Vec<String>,
    /// What index patterns and document filters of the roles are made of, by name.
    pub(crate) attributes: BTreeMap<String, String>,
}
