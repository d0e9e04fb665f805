//! Tokens that were exchanged: for whom they are, who acts, and whose rights they are held to.
//!
//! Such a token may do what all of those may do whose it was on its way, as they are registered now: its client, and every client of ours
//! that is its subject or one of its actors. It is held to all their rows and fields, and what a policy forbids one of them
//! it may not do either.

use std::sync::Arc;

use oauth4os_policy::{Forbids, Grants, RestrictionError, ScopeSet};

use crate::opaque::OpaqueToken;
use crate::refusal::Refusal;
use crate::snapshot::{GatewayClient, Snapshot};

/// What parts the name of a provider from that of its principal; no id of a client has it.
const QUALIFIED: char = '/';

/// For whom a token is used, and by whom.
#[derive(Debug)]
pub(crate) struct Delegation {
    /// Whom it is about.
    pub(crate) subject: String,
    /// Who acts for the subject, the present one first.
    pub(crate) actors: Vec<String>,
    /// The clients of ours among them, without the one the token was issued to.
    pub(crate) parties: Vec<Arc<GatewayClient>>,
    /// What is forbidden to any of them and to the client.
    pub(crate) forbids: Forbids,
}

impl Delegation {
    /// Of an exchanged token of this client; `None` of one that the client has in its own right.
    pub(crate) fn of(
        snapshot: &Snapshot,
        client: &Arc<GatewayClient>,
        token: &OpaqueToken,
    ) -> Result<Option<Self>, Refusal> {
        if token.act.is_empty() {
            return Ok(None);
        }
        let mut parties: Vec<Arc<GatewayClient>> = Vec::new();
        let actors = token.act.iter().flat_map(|actor| [Some(&actor.sub), actor.client_id.as_ref()]).flatten();
        for name in std::iter::once(&token.subject).chain(actors) {
            if let Some((provider, _)) = name.split_once(QUALIFIED) {
                if !snapshot.providers.is_known(provider) {
                    return Err(Refusal::invalid_token(
                        "the provider of somebody whom this token is about is not configured any more; get a new one",
                    ));
                }
                continue;
            }
            let Some(party) = snapshot.clients.get(name) else {
                return Err(Refusal::invalid_token(
                    "a client whose token was exchanged for this one does not exist any more; get a new one",
                ));
            };
            if !Arc::ptr_eq(party, client) && !parties.iter().any(|other| Arc::ptr_eq(other, party)) {
                parties.push(Arc::clone(party));
            }
        }
        let mut forbids = client.policies.forbids().clone();
        parties.iter().for_each(|party| forbids.add_all(party.policies.forbids()));
        let actors = token.act.iter().map(|actor| actor.sub.clone()).collect();
        Ok(Some(Self { subject: token.subject.clone(), actors, parties, forbids }))
    }

    /// Makes sure that the scopes are within what each of them may have, and that the engine can be told to treat the client as it
    /// treats each of them.
    pub(crate) fn check(&self, client: &GatewayClient, scopes: &ScopeSet) -> Result<(), Refusal> {
        for party in &self.parties {
            if !crate::authenticate::may_still_have(&party.grants.scopes, scopes) {
                return Err(Refusal::invalid_token(
                    "a client whose token was exchanged for this one may not have all of its scopes any more; get a new one",
                ));
            }
            let is_other_to_engine = (party.backend_roles.is_some() && party.backend_roles != client.backend_roles)
                || (party.backend_user.is_some() && party.backend_user != client.backend_user);
            if is_other_to_engine {
                return Err(Refusal::invalid_token(
                    "a client whose token was exchanged for this one reaches the engine under an identity of its own, which nobody can hand on",
                ));
            }
        }
        Ok(())
    }

    /// The scopes, held to what the client or any of them is held to.
    pub(crate) fn grants(&self, client: &GatewayClient, scopes: ScopeSet) -> Result<Grants, RestrictionError> {
        let own = std::iter::once(&client.grants.restrictions);
        Grants::through(scopes, own.chain(self.parties.iter().map(|party| &party.grants.restrictions)))
    }
}
