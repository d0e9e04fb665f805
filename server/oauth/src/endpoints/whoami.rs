//! `GET /_oauth4os/v1/whoami`: what the gateway makes of the caller's token.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use oauth4os_telemetry::time::Rfc3339;
use serde::Serialize;

use crate::Authority;
use crate::http::{BearerToken, Caller, Challenge};

#[derive(Serialize)]
struct WhoAmI<'a> {
    client_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    /// `machine` or `agent`.
    kind: &'static str,
    groups: &'a BTreeSet<String>,
    token_id: &'a str,
    scopes: Vec<&'a str>,
    created_at: Rfc3339,
    expires_at: Rfc3339,
}

pub(crate) async fn get(State(authority): State<Arc<Authority>>, caller: Caller, headers: HeaderMap) -> Response {
    match BearerToken::of_request(&authority, &caller, &headers).await {
        Ok(token) => Json(WhoAmI {
            client_id: &token.client.id,
            name: &token.client.name,
            kind: token.client.kind.as_str(),
            groups: &token.client.groups,
            token_id: &token.claims.jti,
            scopes: token.scopes.iter().map(oauth4os_policy::Scope::as_str).collect(),
            created_at: Rfc3339(token.claims.iat),
            expires_at: Rfc3339(token.claims.exp),
        })
        .into_response(),
        Err(error) => error.refusal(Challenge::Bearer).into_response(),
    }
}

#[cfg(test)]
#[path = "whoami_tests.rs"]
mod tests;
