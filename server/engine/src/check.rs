//! Proof on the live cluster that a token gets exactly what it says, and what else is there that could widen one.
//!
//! The check works with tokens as the gateway mints them and with two throw-away indices, `<gateway>-check-<random>-in`
//! and `-out`, which it deletes again. With an administrator's access it also reads the security configuration.

mod aliases;
mod environment;
mod forgeries;
mod keys;
mod own_users;
mod pattern;
mod probe;
mod report;

use oauth4os_config::{PartialAccess, StrictAliases};
use oauth4os_policy::scope::Clusters;
use oauth4os_policy::{Catalog, EngineGrant, Forbids, Restrictions, ScopeSet};
use oauth4os_tokens::clock::Clock;

use crate::client::EngineClient;
use crate::identity::Identities;
use crate::security_config::SecurityConfig;

pub use keys::OtherKeys;
pub use own_users::OwnUsersCheck;
pub use report::{Item, Report, Severity};

/// What a check works with.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// Speaks to the engine without a credential of its own ([`EngineClient::plain`]).
    pub engine: &'a EngineClient,
    /// The same without the gateway's certificate, where it has one without which the engine must not believe it
    /// ([`EngineClient::without_certificate`]).
    pub stranger: Option<&'a EngineClient>,
    /// Speaks to it as its administrator, if that is possible.
    pub admin: Option<&'a EngineClient>,
    /// As the gateway uses them.
    pub identities: &'a Identities,
    /// The keys beside the one these are signed with.
    pub other_keys: &'a OtherKeys,
    /// As `engine setup` makes it.
    pub desired: &'a SecurityConfig,
    /// The configured clients and their scopes.
    pub clients: &'a [ClientScopes],
    /// What the gateway does about aliases that lead out of scopes.
    pub strict_aliases: StrictAliases,
    /// What it does about searches that reach beyond what is permitted.
    pub partial_access: PartialAccess,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// A client and what it may ask for.
#[derive(Clone, Debug)]
pub struct ClientScopes {
    /// Its id.
    pub client: String,
    /// Its scopes.
    pub scopes: ScopeSet,
    /// What its policies forbid without any condition.
    pub forbids: Forbids,
}

impl Check<'_> {
    /// Runs every check that is possible. What goes wrong is an item of the report.
    pub async fn run(&self) -> Report {
        let mut report = Report::default();
        if probe::answers(self, &mut report).await {
            let accepted = probe::accepts_tokens(self, &mut report).await;
            if accepted {
                forgeries::refused(self, &mut report).await;
                keys::examine(self, &mut report).await;
                probe::enforces_patterns(self, &mut report).await;
            }
            environment::examine(self, &mut report).await;
            if accepted {
                aliases::examine(self, &mut report).await;
            }
        }
        report.ok(
            "append-only",
            "the engine has no right to add without changing: `ingest` scopes are held to new documents by the gateway alone",
        );
        report
    }
}

/// The rights of scopes that are written here.
fn grant(scopes: &str) -> EngineGrant {
    let scopes = ScopeSet::parse(scopes, &Clusters::default()).unwrap_or_default();
    EngineGrant::of(&scopes, &Restrictions::default(), &Forbids::new(), Catalog::none())
}

#[cfg(test)]
mod tests;
