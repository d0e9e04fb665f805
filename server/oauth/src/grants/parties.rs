//! The clients through whom a token came that was exchanged: it may do what all of them may do, as they are registered now.
//!
//! The data plane holds to the same on each request (`proxy/delegation.rs`).

use std::sync::Arc;

use oauth4os_policy::{Grants, RestrictionError, ScopeSet};
use oauth4os_tokens::access::Actor;

use crate::http::may_still_have;
use crate::{Authority, Client};

/// What parts the name of a provider from that of its principal; no id of a client has it.
pub(crate) const QUALIFIED: char = '/';

/// The clients of ours among subject and actors of a token. None when nobody acts for anybody.
#[derive(Debug, Default)]
pub(crate) struct Parties(Vec<Arc<Client>>);

/// Somebody through whom a token came may not have it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PartyError {
    /// One of the clients is gone or disabled.
    #[error("a client that the token is about, or that acts in it, has been removed or disabled")]
    Gone,
    /// One of the providers is.
    #[error("the provider of somebody whom the token is about, or who acts in it, is not configured any more")]
    ProviderGone,
    /// One of the clients may do less.
    #[error("a client that the token is about, or that acts in it, may not have all of its scopes")]
    Narrower,
    /// The engine knows one of the clients by other means than scopes.
    #[error(
        "a client that the token is about, or that acts in it, reaches the engine under an identity of its own, which cannot be handed on"
    )]
    OwnIdentity,
    /// The engine would not hold the client to rows and fields.
    #[error(
        "the client reaches the engine under its own backend roles, which know nothing of the rows and fields the token is held to"
    )]
    Unheld,
    /// They hold a scope to different rows or fields.
    #[error(transparent)]
    Restriction(#[from] RestrictionError),
}

impl Parties {
    pub(crate) fn of(authority: &Authority, subject: &str, act: &[Actor]) -> Result<Self, PartyError> {
        let mut parties = Vec::new();
        if act.is_empty() {
            return Ok(Self(parties));
        }
        let actors = act.iter().flat_map(|actor| [Some(actor.sub.as_str()), actor.client_id.as_deref()]).flatten();
        for name in std::iter::once(subject).chain(actors) {
            match name.split_once(QUALIFIED) {
                Some((provider, _)) if authority.providers.is_known(provider) => {}
                Some(_) => return Err(PartyError::ProviderGone),
                None => {
                    parties.push(authority.clients.get(name).filter(|party| party.enabled).ok_or(PartyError::Gone)?);
                }
            }
        }
        Ok(Self(parties))
    }

    /// Makes sure that a token of `client` with these scopes may do nothing that any of them may not.
    pub(crate) fn check(&self, client: &Client, scopes: &ScopeSet) -> Result<(), PartyError> {
        for party in self.0.iter().filter(|party| party.id != client.id) {
            if !may_still_have(&party.scopes, scopes) {
                return Err(PartyError::Narrower);
            }
            let is_other_to_engine = (party.backend_roles.is_some() && party.backend_roles != client.backend_roles)
                || (party.backend_user.is_some() && party.backend_user != client.backend_user);
            if is_other_to_engine {
                return Err(PartyError::OwnIdentity);
            }
        }
        if self.0.is_empty() {
            return Ok(());
        }
        let own = std::iter::once(&client.restrictions);
        let grants = Grants::through(scopes.clone(), own.chain(self.0.iter().map(|party| &party.restrictions)))?;
        if client.backend_roles.is_some() && !grants.restrictions.is_empty() {
            return Err(PartyError::Unheld);
        }
        Ok(())
    }
}
