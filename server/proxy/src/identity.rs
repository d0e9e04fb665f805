//! The identities the engine is handed, one for each grant, kept and renewed before they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oauth4os_engine::{HandedIdentity, Identities as Driver, IdentityError};
use oauth4os_policy::EngineGrant;
use oauth4os_tokens::clock::UnixTime;

use crate::session::Session;

/// Identities that are kept before those that have ended are looked for.
const SWEEP_AT: usize = 4_096;

/// Makes identities and keeps them. Tokens of one client with the same scopes share one: it is made once, whatever the
/// number of tokens and workers.
pub(crate) struct Identities {
    driver: Driver,
    made: Mutex<HashMap<(String, String), Arc<HandedIdentity>>>,
}

/// No identity, and so no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoIdentity {
    #[error("the names of the engine's indices and aliases are not known at the moment; try again shortly")]
    NamesUnknown,
    #[error(transparent)]
    Driver(#[from] IdentityError),
}

impl Identities {
    pub(crate) fn new(driver: Driver) -> Self {
        Self { driver, made: Mutex::new(HashMap::new()) }
    }

    /// The identity for a session. Without one there is no request: the caller must not forward anything on an error.
    pub(crate) fn of(&self, session: &Session, now: UnixTime) -> Result<Arc<HandedIdentity>, NoIdentity> {
        let mut kept = session.identity.borrow_mut();
        if let Some(identity) = kept.as_ref()
            && now < identity.renew_at
        {
            return Ok(Arc::clone(identity));
        }
        let identity = self.shared(session, now)?;
        *kept = Some(Arc::clone(&identity));
        Ok(identity)
    }

    fn shared(&self, session: &Session, now: UnixTime) -> Result<Arc<HandedIdentity>, NoIdentity> {
        let client = &session.client;
        let names = session.names();
        let Some(catalog) = &names.catalog else {
            return Err(NoIdentity::NamesUnknown);
        };
        let grant = match &session.backend_roles {
            Some(roles) => EngineGrant::own(roles),
            None => EngineGrant::of(
                &session.grants.scopes,
                &session.grants.restrictions,
                client.policies.forbids(),
                catalog,
            ),
        };
        // With all that the engine is told: the names of the cluster change, and the groups of a provider's principal,
        // with what is forbidden to it, from token to token.
        let key = (client.engine_name.clone(), format!("{grant:?}"));
        // Held while signing, which takes less than a millisecond: another worker with the same need waits for the
        // result instead of making a second one.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = made.get(&key)
            && now < identity.renew_at
        {
            return Ok(Arc::clone(identity));
        }
        let identity = Arc::new(self.driver.hand_over(&client.engine_name, &grant, None, now)?);
        if made.len() >= SWEEP_AT {
            made.retain(|_, identity| now < identity.renew_at);
            // Sessions keep their own; those that come are made again.
            if made.len() >= SWEEP_AT {
                made.clear();
            }
        }
        made.insert(key, Arc::clone(&identity));
        Ok(identity)
    }
}
