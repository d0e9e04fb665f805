//! Access tokens of this gateway that are in force: what the data plane would let through now.

use std::sync::Arc;

use oauth4os_policy::{RestrictionError, ScopeSet};
use oauth4os_store::{SecretHash, StoreError};
use oauth4os_tokens::access::{AccessClaims, Invalid, Verifier};
use oauth4os_tokens::id::{SecretKind, verify_checksum};

use crate::grants::parties::{Parties, PartyError};
use crate::{Authority, Client};

/// A token that is in force, and whose it is.
pub(crate) struct InForce {
    pub(crate) claims: AccessClaims,
    pub(crate) scopes: ScopeSet,
    pub(crate) client: Arc<Client>,
}

/// A token is not one of ours in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotInForce {
    /// Not one of ours, or over.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// Revoked.
    #[error("the token was revoked")]
    Revoked,
    /// Signed by us and not in the store: from a backup's future, or from a store that was replaced.
    #[error("the gateway has no record of this token; ask for a new one")]
    NotOnRecord,
    /// The client is gone or disabled.
    #[error("the client of this token has been removed or disabled")]
    ClientGone,
    /// The client has been given less since.
    #[error("the client of this token may not have all of its scopes any more; ask for a new one")]
    Narrowed,
    /// The scopes mean nothing any more, after a change of configuration.
    #[error("the scopes of this token are no longer valid; ask for a new one")]
    Scopes,
    /// It is no longer clear which rows and fields they are about.
    #[error(transparent)]
    Restriction(#[from] RestrictionError),
    /// Somebody through whom it came may not have it any more.
    #[error(transparent)]
    Party(#[from] PartyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl InForce {
    /// The token, when it is for this gateway.
    pub(crate) async fn of_token(authority: &Authority, token: &str) -> Result<Self, NotInForce> {
        let verifier = authority.verifier();
        Self::verified(authority, &verifier, token).await
    }

    /// The token, whatever audience it is for.
    pub(crate) async fn of_any_audience(authority: &Authority, token: &str) -> Result<Self, NotInForce> {
        let verifier = authority.verifier().for_any_audience();
        Self::verified(authority, &verifier, token).await
    }

    async fn verified(authority: &Authority, verifier: &Verifier, token: &str) -> Result<Self, NotInForce> {
        let claims = match verify_checksum(token) {
            Some(SecretKind::AccessToken) => opaque(authority, token).await?,
            _ => verifier.verify(token, authority.now())?,
        };
        let client =
            authority.clients.get(&claims.client_id).filter(|client| client.enabled).ok_or(NotInForce::ClientGone)?;
        let scopes = authority.parse_scopes(&claims.scope).map_err(|_| NotInForce::Scopes)?;
        if !may_still_have(&client.scopes, &scopes) {
            return Err(NotInForce::Narrowed);
        }
        client.restrictions.of(&scopes)?;
        Parties::of(authority, &claims.sub, &claims.act)?.check(&client, &scopes)?;
        let record = authority.store.token(&claims.jti).await?.ok_or(NotInForce::NotOnRecord)?;
        if record.client_id != claims.client_id {
            return Err(NotInForce::NotOnRecord);
        }
        if record.revoked_at.is_some() {
            return Err(NotInForce::Revoked);
        }
        Ok(Self { claims, scopes, client })
    }
}

/// Whether scopes that were given out are within those the client may have now. The same scope is, however complex.
pub(crate) fn may_still_have(allowed: &ScopeSet, given: &ScopeSet) -> bool {
    given.iter().all(|scope| allowed.iter().any(|other| other == scope)) || given.is_within(allowed)
}

/// What an opaque token stands for, unless it has ended.
async fn opaque(authority: &Authority, token: &str) -> Result<AccessClaims, NotInForce> {
    let record = authority.store.opaque_token(&SecretHash::of(token)).await?.ok_or(NotInForce::NotOnRecord)?;
    if authority.now() >= record.expires_at {
        return Err(NotInForce::Invalid(Invalid::Expired));
    }
    Ok(AccessClaims {
        iss: authority.settings.issuer.clone(),
        sub: record.subject,
        aud: record.audience,
        client_id: record.client_id,
        scope: record.scope,
        iat: record.issued_at.whole_second(),
        nbf: None,
        exp: record.expires_at,
        jti: record.id,
        act: record.act,
    })
}
