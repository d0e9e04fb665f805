//! `GET /oauth/tokens`: the tokens issued to the calling client, or with `admin:gateway` to all.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use oauth4os_store::{Cursor, PageRequest, StoreError, TokenFilter};
use serde::Serialize;

use super::access::{AccessError, Requester, STATES, TokenView, state_name};
use crate::Authority;
use crate::http::{Caller, ErrorCode, Form, FormError, Refusal};

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Why nothing is listed.
#[derive(Debug, thiserror::Error)]
enum ListError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Query(#[from] FormError),
    #[error(
        "an access token in the address ends up in logs, so this one must be revoked; send it as `Authorization: Bearer <token>`"
    )]
    TokenInQuery,
    #[error("the query takes `client_id`, `state`, `limit` and `cursor`")]
    UnknownParameter,
    #[error("`limit` is a whole number from 1 to {MAX_LIMIT}")]
    Limit,
    #[error("`state` is `active`, `revoked` or `expired`")]
    State,
    #[error("the tokens of other clients are listed only to a token with the scope `admin:gateway`")]
    OthersTokens,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ListError> for Refusal {
    fn from(error: ListError) -> Self {
        match error {
            ListError::Access(error) => error.into(),
            ListError::Query(error) => error.into(),
            ListError::OthersTokens => Self::new(ErrorCode::InsufficientScope, error).needing("admin:gateway"),
            ListError::TokenInQuery
            | ListError::UnknownParameter
            | ListError::Limit
            | ListError::State
            | ListError::Store(StoreError::Cursor) => Self::new(ErrorCode::InvalidRequest, error),
            ListError::Store(error) => Self::store(&error),
        }
    }
}

#[derive(Serialize)]
struct TokenList {
    tokens: Vec<TokenView>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(crate) async fn get(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match list(&authority, &caller, &uri, &headers).await {
        Ok(tokens) => Json(tokens).into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

async fn list(authority: &Authority, caller: &Caller, uri: &Uri, headers: &HeaderMap) -> Result<TokenList, ListError> {
    let query = Form::from_query(uri)?;
    if query.get("access_token").is_some() {
        return Err(ListError::TokenInQuery);
    }
    let requester = Requester::of_request(authority, caller, headers).await?;
    let (filter, page) = read(&query)?;
    let client_id = match filter.client_id {
        _ if requester.administrator => filter.client_id,
        Some(other) if other != requester.client_id => return Err(ListError::OthersTokens),
        _ => Some(requester.client_id),
    };
    let found = authority.store.tokens(TokenFilter { client_id, ..filter }, page).await?;
    let now = authority.now();
    Ok(TokenList {
        tokens: found.items.into_iter().map(|token| TokenView::of(token, now)).collect(),
        next_cursor: found.next.map(|cursor| cursor.to_string()),
    })
}

fn read(query: &Form) -> Result<(TokenFilter, PageRequest), ListError> {
    if query.has_other_than(&["client_id", "state", "limit", "cursor"]) {
        return Err(ListError::UnknownParameter);
    }
    let limit = match query.get("limit") {
        None => DEFAULT_LIMIT,
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or(ListError::Limit)?
        }
        Some(_) => return Err(ListError::Limit),
    };
    let state = match query.get("state") {
        None => None,
        Some(name) => Some(STATES.into_iter().find(|state| state_name(*state) == name).ok_or(ListError::State)?),
    };
    let after: Option<Cursor> = query.get("cursor").map(str::parse).transpose()?;
    let filter = TokenFilter { client_id: query.get("client_id").map(ToOwned::to_owned), state };
    Ok((filter, PageRequest { after, limit }))
}

#[cfg(test)]
#[path = "token_list_tests.rs"]
mod tests;
