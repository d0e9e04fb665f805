//! The identities the engine is handed, one for each grant, kept and renewed before they end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use oauth4os_engine::{
    BackendUsers, HandOver, HandedIdentity, Identities as Told, IdentityError, Signer, SigningError,
};
use oauth4os_policy::EngineGrant;
use oauth4os_tokens::clock::UnixTime;

use crate::session::Session;

/// Identities that are kept before those that have ended are looked for.
const SWEEP_AT: usize = 4_096;

/// Makes identities and keeps them. Tokens of one client with the same scopes share one: it is made once, whatever the
/// number of tokens and workers.
pub(crate) struct Identities {
    hand_over: HandOver,
    made: Mutex<HashMap<(String, String), Arc<HandedIdentity>>>,
}

/// No identity, and so no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoIdentity {
    #[error("the names of the engine's indices and aliases are not known at the moment; try again shortly")]
    NamesUnknown,
    #[error(transparent)]
    Driver(#[from] IdentityError),
    #[error(transparent)]
    Signing(#[from] SigningError),
    #[error(
        "the rows and fields of this token are enforced by an engine that is told of them, and this cluster is not"
    )]
    Restricted,
}

/// What makes a request somebody's to the engine.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// These fields.
    Fields(Arc<HandedIdentity>),
    /// A signature of the request as it is sent.
    Signed(Arc<Signer>),
}

impl Identity {
    pub(crate) const fn is_signed(&self) -> bool {
        matches!(self, Self::Signed(_))
    }
}

impl Identities {
    pub(crate) fn new(hand_over: HandOver) -> Self {
        Self { hand_over, made: Mutex::new(HashMap::new()) }
    }

    /// Whether the engine knows each client by a name of its own.
    pub(crate) const fn tells_clients_apart(&self) -> bool {
        self.hand_over.tells_clients_apart()
    }

    /// The identity for a session. Without one there is no request: the caller must not forward anything on an error.
    pub(crate) fn of(&self, session: &Session, now: UnixTime) -> Result<Identity, NoIdentity> {
        match &self.hand_over {
            HandOver::Told(told) => self.told(told, session, now).map(Identity::Fields),
            HandOver::Users(users) => user(users, session, now).map(Identity::Fields),
            HandOver::Signed(signer) => {
                can_be_untold(session)?;
                signer.check(now)?;
                Ok(Identity::Signed(Arc::clone(signer)))
            }
        }
    }

    fn told(&self, told: &Told, session: &Session, now: UnixTime) -> Result<Arc<HandedIdentity>, NoIdentity> {
        let mut kept = session.identity.borrow_mut();
        if let Some(identity) = kept.as_ref()
            && now < identity.renew_at
        {
            return Ok(Arc::clone(identity));
        }
        let identity = self.shared(told, session, now)?;
        *kept = Some(Arc::clone(&identity));
        Ok(identity)
    }

    fn shared(&self, told: &Told, session: &Session, now: UnixTime) -> Result<Arc<HandedIdentity>, NoIdentity> {
        let client = &session.client;
        let names = session.names();
        let Some(catalog) = &names.catalog else {
            return Err(NoIdentity::NamesUnknown);
        };
        let grant = match &session.backend_roles {
            Some(roles) => EngineGrant::own(roles),
            None => EngineGrant::of(&session.grants.scopes, &session.grants.restrictions, session.forbids(), catalog),
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
        let identity = Arc::new(told.hand_over(&client.engine_name, &grant, None, now)?);
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

/// As whom of the cluster's users the session's requests go.
fn user(users: &BackendUsers, session: &Session, now: UnixTime) -> Result<Arc<HandedIdentity>, NoIdentity> {
    can_be_untold(session)?;
    let user = session.backend_user.as_deref().ok_or(IdentityError::NoUser)?;
    Ok(users.identity(user, now)?)
}

/// Makes sure that the gateway alone can hold the session to all it is held to, and that the cluster's names are known.
fn can_be_untold(session: &Session) -> Result<(), NoIdentity> {
    if session.names().catalog.is_none() {
        return Err(NoIdentity::NamesUnknown);
    }
    if !session.grants.restrictions.is_empty() {
        return Err(NoIdentity::Restricted);
    }
    Ok(())
}
