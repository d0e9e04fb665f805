//! Access tokens presented to the gateway's own endpoints (RFC 6750).

use std::sync::Arc;

use http::HeaderMap;
use oauth4os_policy::ScopeSet;
use oauth4os_tokens::access::AccessClaims;

use super::credentials::{authorization, scheme};
use super::{Caller, Challenge, ErrorCode, InForce, NotInForce, Refusal};
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
    #[error(transparent)]
    NotInForce(#[from] NotInForce),
    /// Not from there.
    #[error("the client of this token may not be used from this address")]
    Address,
    /// Of a person, whom the tokens of the client's other persons do not concern.
    #[error(
        "the token is about a person, and tokens are listed and revoked by clients; a person does that at `/oauth/account`"
    )]
    OfPerson,
}

impl BearerToken {
    /// The token of a request, in force, of a client that may be used from where the request comes from.
    pub(crate) async fn of_request(
        authority: &Authority,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Result<Self, BearerError> {
        let field = authorization(headers).map_err(|_| BearerError::Malformed)?.ok_or(BearerError::Missing)?;
        let token = scheme(field, "Bearer").ok_or(BearerError::Malformed)?;
        let InForce { claims, scopes, client } = InForce::of_token(authority, token).await?;
        if !client.may_come_from(caller.address) {
            return Err(BearerError::Address);
        }
        Ok(Self { claims, scopes, client })
    }

    /// Whether the bearer may act on everybody's tokens: the token says so, and its client still may.
    pub(crate) fn administers_gateway(&self) -> bool {
        self.scopes.administers_gateway() && self.client.scopes.administers_gateway()
    }
}

impl BearerError {
    /// The answer, with the credentials this endpoint takes.
    pub(crate) fn refusal(self, challenge: Challenge) -> Refusal {
        match self {
            Self::Missing => Refusal::new(ErrorCode::Unauthenticated, self).challenging(challenge),
            Self::Malformed => Refusal::new(ErrorCode::InvalidRequest, self),
            Self::NotInForce(NotInForce::Store(error)) => Refusal::store(&error),
            Self::NotInForce(_) | Self::Address => Refusal::new(ErrorCode::InvalidToken, self).challenging(challenge),
            Self::OfPerson => Refusal::new(ErrorCode::InsufficientScope, self).challenging(challenge),
        }
    }
}
