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
    made: Mutex<HashMap<Key, Arc<HandedIdentity>>>,
}

/// What an identity is made from: the snapshot with its policies, the client, the scopes.
type Key = (u64, String, String);

impl Identities {
    pub(crate) fn new(driver: Driver) -> Self {
        Self { driver, made: Mutex::new(HashMap::new()) }
    }

    /// The identity for a session. Without one there is no request: the caller must not forward anything on an error.
    pub(crate) fn of(&self, session: &Session, now: UnixTime) -> Result<Arc<HandedIdentity>, IdentityError> {
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

    /// Forgets what was made under earlier snapshots.
    pub(crate) fn forget_before(&self, generation: u64) {
        self.made
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(made_under, ..), _| *made_under >= generation);
    }

    fn shared(&self, session: &Session, now: UnixTime) -> Result<Arc<HandedIdentity>, IdentityError> {
        let client = &session.client;
        let key = (session.snapshot_generation, client.principal.id.clone(), session.scopes.to_string());
        // Held while signing, which takes less than a millisecond: another worker with the same need waits for the
        // result instead of making a second one.
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(identity) = made.get(&key)
            && now < identity.renew_at
        {
            return Ok(Arc::clone(identity));
        }
        let grant = EngineGrant::of(&session.scopes, client.policies.forbidden_everywhere());
        let identity = Arc::new(self.driver.hand_over(&client.principal.id, &grant, None, now)?);
        if made.len() >= SWEEP_AT {
            made.retain(|_, identity| now < identity.renew_at);
        }
        made.insert(key, Arc::clone(&identity));
        Ok(identity)
    }
}
