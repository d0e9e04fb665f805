//! Under which identity a request reaches the engine.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problems;

/// What the names of the gateway's own backend roles begin with: nobody else is given one.
pub const RESERVED_ROLE_PREFIX: &str = "oauth4os_";

/// The longest name of a backend role, and the most of them.
const MAX_ROLE: usize = 128;
const MAX_ROLES: usize = 64;

/// Under which identity requests reach the engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// One that may do exactly what the scopes say; the engine enforces them too.
    #[default]
    Scoped,
    /// One with backend roles that the cluster maps to roles of its own, so that field masking and document rules it already has go
    /// on applying. The gateway narrows to the scopes on top; the engine does not know them.
    Own,
}

pub(crate) fn check_backend_roles(
    key: &str,
    identity: IdentityKind,
    roles: &BTreeSet<String>,
    has_restricted_grants: bool,
    problems: &mut Problems,
) {
    match identity {
        IdentityKind::Scoped if !roles.is_empty() => {
            problems.add(key, "`backend_roles` are for `identity: own`; leave them out, or say so");
        }
        IdentityKind::Own if roles.is_empty() => {
            problems
                .add(key, "`identity: own` needs `backend_roles`: the names that the cluster maps to roles of its own");
        }
        IdentityKind::Own if has_restricted_grants => {
            problems.add(key, "rows and fields are enforced by the scoped identity; with `identity: own` the cluster's own rules hold");
        }
        _ => {}
    }
    if roles.len() > MAX_ROLES {
        problems.add(key, format!("at most {MAX_ROLES} `backend_roles`"));
    }
    for role in roles {
        let is_plain = !role.is_empty()
            && role.len() <= MAX_ROLE
            && role.trim() == role
            && !role.contains([',', '$', '*', '/'])
            && !role.chars().any(char::is_control);
        if !is_plain {
            problems.add(
                key,
                format!(
                    "`{}` cannot be a backend role here: give one name, without comma, `$`, `*` and `/`",
                    role.escape_default()
                ),
            );
        } else if role.starts_with(RESERVED_ROLE_PREFIX) {
            problems.add(
                key,
                format!(
                    "`{role}` is one of the gateway's own backend roles, which stand for scopes; ask for the scope"
                ),
            );
        }
    }
}
