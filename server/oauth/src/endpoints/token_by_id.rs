//! `GET` and `DELETE /oauth/token/{id}`: one issued token. Somebody else's is not there.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use oauth4os_store::{IssuedToken, StoreError};

use super::access::{AccessError, Requester, TokenView, revoke_and_record};
use crate::Authority;
use crate::http::{Caller, ErrorCode, Refusal};

/// Why the token is neither shown nor revoked.
#[derive(Debug, thiserror::Error)]
enum TokenByIdError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("there is no such token, or it is not yours")]
    NotThere,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<TokenByIdError> for Refusal {
    fn from(error: TokenByIdError) -> Self {
        match error {
            TokenByIdError::Access(error) => error.into(),
            TokenByIdError::NotThere => Self::new(ErrorCode::NotFound, error),
            TokenByIdError::Store(error) => Self::store(&error),
        }
    }
}

pub(crate) async fn get(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    match find(&authority, &caller, id, &headers).await {
        Ok((_, token)) => Json(TokenView::of(token, authority.now())).into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

/// Answers 204 also when the token was revoked or had expired before: it is out of use.
pub(crate) async fn delete(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Response {
    let revoked = async {
        let (requester, token) = find(&authority, &caller, id, &headers).await?;
        revoke_and_record(&authority, &caller, &requester.client_id, &token.id).await?;
        Ok::<_, TokenByIdError>(())
    };
    match revoked.await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

async fn find(
    authority: &Authority,
    caller: &Caller,
    id: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
) -> Result<(Requester, IssuedToken), TokenByIdError> {
    let requester = Requester::of_request(authority, caller, headers).await?;
    let Path(id) = id.map_err(|_| TokenByIdError::NotThere)?;
    let token =
        authority.store.token(&id).await?.filter(|token| requester.may_see(token)).ok_or(TokenByIdError::NotThere)?;
    Ok((requester, token))
}

#[cfg(test)]
#[path = "token_by_id_tests.rs"]
mod tests;
