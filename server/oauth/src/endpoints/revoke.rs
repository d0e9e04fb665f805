//! `POST /oauth/revoke`: a client gives up one of its tokens (RFC 7009).
//!
//! The answer to a revocation that happened, to a token that is none and to one of somebody else is the same empty 200
//! (section 2.2), so that nothing can be learnt here.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, Uri};
use oauth4os_store::{SecretHash, StoreError};
use oauth4os_tokens::id::{SecretKind, verify_checksum};

use super::access::revoke_and_record;
use crate::Authority;
use crate::http::{Caller, ClientAuth, ClientAuthError, ErrorCode, Form, FormError, Refusal};

/// Why a revocation was not even looked at.
#[derive(Debug, thiserror::Error)]
enum RevokeError {
    #[error(transparent)]
    Form(#[from] FormError),
    #[error(transparent)]
    Client(#[from] ClientAuthError),
    #[error("the parameter `token` is missing; send the access token to revoke")]
    NoToken,
    #[error("this is a client secret, not a token; a secret is taken out of use where its client is managed")]
    ClientSecret,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RevokeError> for Refusal {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Form(error) => error.into(),
            RevokeError::Client(error) => error.into(),
            RevokeError::NoToken => Self::new(ErrorCode::InvalidRequest, error),
            RevokeError::ClientSecret => Self::new(ErrorCode::UnsupportedTokenType, error),
            RevokeError::Store(error) => Self::store(&error),
        }
    }
}

pub(crate) async fn post(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match revoke(&authority, &caller, &uri, &headers, body).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

async fn revoke(
    authority: &Arc<Authority>,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), RevokeError> {
    let form = Form::read(uri, headers, body).await?;
    let client = ClientAuth::of_client(headers, &form, caller)?.authenticate(authority, caller).await?;
    let token = form.get("token").ok_or(RevokeError::NoToken)?;
    let (client_id, id) = match verify_checksum(token) {
        Some(SecretKind::Client) => return Err(RevokeError::ClientSecret),
        // Whoever gives up a refresh token gives up all it could renew (section 2.1).
        Some(SecretKind::RefreshToken) => {
            let found = authority.store.refresh_token(&SecretHash::of(token)).await?;
            if let Some((_, family)) = found.filter(|(_, family)| family.client_id == client.id) {
                authority.revoke_family(&family.id).await?;
            }
            return Ok(());
        }
        Some(SecretKind::AccessToken) => match authority.store.opaque_token(&SecretHash::of(token)).await? {
            Some(record) => (record.client_id, record.id),
            None => return Ok(()),
        },
        // `token_type_hint` only speeds up a search (section 2.1), and here is nothing to search: a token that does not verify
        // is none of ours, or has expired and is out of use as it is.
        _ => match authority.signing().verifier.verify(token, authority.now()) {
            Ok(claims) => (claims.client_id, claims.jti),
            Err(_) => return Ok(()),
        },
    };
    if client_id == client.id {
        revoke_and_record(authority, caller, &client.id, &id).await?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "revoke_tests.rs"]
mod tests;
