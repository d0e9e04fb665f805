//! Access tokens presented to the gateway's own endpoints (RFC 6750).

use std::sync::Arc;

use http::HeaderMap;
use oauth4os_policy::ScopeSet;
use oauth4os_store::{SecretHash, StoreError};
use oauth4os_tokens::access::{AccessClaims, Invalid};
use oauth4os_tokens::id::{SecretKind, verify_checksum};

use super::credentials::{authorization, scheme};
use super::{Caller, Challenge, ErrorCode, Refusal};
use crate::{Authority, Client};

/// A token that is in force, and whose it is.
pub(crate) struct BearerToken {
    pub(crate) claims: AccessClaims,
    pub(crate) scopes: ScopeSet,
    pub(crate) client: Arc<Client>,
}

/// A token was not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BearerError {
    /// None was sent.
    #[error("send an access token: `Authorization: Bearer <token>`")]
    Missing,
    /// An `Authorization` header that cannot be read in one way.
    #[error("there must be one `Authorization` header with `Bearer`, one space, and the token")]
    Malformed,
    /// Not one of ours in force.
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
    /// Not from there.
    #[error("the client of this token may not be used from this address")]
    Address,
    /// The scopes mean nothing any more, after a change of configuration.
    #[error("the scopes of this token are no longer valid; ask for a new one")]
    Scopes,
    /// Of a person, whom the tokens of the client's other persons do not concern.
    #[error(
        "the token is about a person, and tokens are listed and revoked by clients; a person does that at `/oauth/account`"
    )]
    OfPerson,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BearerToken {
    /// The token of a request, verified, not revoked, of a client that is there and enabled.
    pub(crate) async fn of_request(
        authority: &Authority,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Result<Self, BearerError> {
        let field = authorization(headers).map_err(|_| BearerError::Malformed)?.ok_or(BearerError::Missing)?;
        let token = scheme(field, "Bearer").ok_or(BearerError::Malformed)?;
        let claims = match verify_checksum(token) {
            Some(SecretKind::AccessToken) => opaque(authority, token).await?,
            _ => authority.signing().verifier.verify(token, authority.now())?,
        };
        let client =
            authority.clients.get(&claims.client_id).filter(|client| client.enabled).ok_or(BearerError::ClientGone)?;
        if !client.may_come_from(caller.address) {
            return Err(BearerError::Address);
        }
        let scopes = authority.parse_scopes(&claims.scope).map_err(|_| BearerError::Scopes)?;
        let record = authority.store.token(&claims.jti).await?.ok_or(BearerError::NotOnRecord)?;
        if record.client_id != claims.client_id {
            return Err(BearerError::NotOnRecord);
        }
        if record.revoked_at.is_some() {
            return Err(BearerError::Revoked);
        }
        Ok(Self { claims, scopes, client })
    }

    /// Whether the bearer may act on everybody's tokens: the token says so, and its client still may.
    pub(crate) fn administers_gateway(&self) -> bool {
        self.scopes.administers_gateway() && self.client.scopes.administers_gateway()
    }
}

/// What an opaque token stands for, unless it has ended.
async fn opaque(authority: &Authority, token: &str) -> Result<AccessClaims, BearerError> {
    let record = authority.store.opaque_token(&SecretHash::of(token)).await?.ok_or(BearerError::NotOnRecord)?;
    if authority.now() >= record.expires_at {
        return Err(BearerError::Invalid(Invalid::Expired));
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
        sid: record.descent.map(|descent| descent.login),
    })
}

impl BearerError {
    /// The answer, with the credentials this endpoint takes.
    pub(crate) fn refusal(self, challenge: Challenge) -> Refusal {
        match self {
            Self::Missing => Refusal::new(ErrorCode::Unauthenticated, self).challenging(challenge),
            Self::Malformed => Refusal::new(ErrorCode::InvalidRequest, self),
            Self::Invalid(_) | Self::Revoked | Self::NotOnRecord | Self::ClientGone | Self::Address | Self::Scopes => {
                Refusal::new(ErrorCode::InvalidToken, self).challenging(challenge)
            }
            Self::OfPerson => Refusal::new(ErrorCode::InsufficientScope, self).challenging(challenge),
            Self::Store(error) => Refusal::store(&error),
        }
    }
}
