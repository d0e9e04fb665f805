//! `POST /oauth/introspect`: whether a token is in force, and what it allows (RFC 7662); on request signed (RFC 9701).
//!
//! In force is what the data plane would let through now. A token that is none, one that is over and one the caller may not ask about
//! have one answer, so that nothing can be learnt here.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, Uri};
use oauth4os_store::StoreError;
use oauth4os_tokens::access::write_actors;
use oauth4os_tokens::introspection::sign;
use oauth4os_tokens::keys::KeyError;
use serde_json::{Map, Value, json};

use crate::http::{Caller, ClientAuth, ClientAuthError, ErrorCode, Form, FormError, InForce, NotInForce, Refusal};
use crate::{Authority, Client};

/// The media type of a signed answer.
const SIGNED: &str = "application/token-introspection+jwt";

/// Why nothing is said.
#[derive(Debug, thiserror::Error)]
enum IntrospectError {
    #[error(transparent)]
    Form(#[from] FormError),
    #[error(transparent)]
    Client(#[from] ClientAuthError),
    #[error("the parameter `token` is missing; send the access token to ask about")]
    NoToken,
    #[error("this client has asked about too many tokens that are not in force or not its own; try again later")]
    TooManyGuesses(Duration),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<IntrospectError> for Refusal {
    fn from(error: IntrospectError) -> Self {
        match error {
            IntrospectError::Form(error) => error.into(),
            IntrospectError::Client(error) => error.into(),
            IntrospectError::NoToken => Self::new(ErrorCode::InvalidRequest, error),
            IntrospectError::TooManyGuesses(wait) => Self::new(ErrorCode::TooManyGuesses, error).after(wait),
            IntrospectError::Store(error) => Self::store(&error),
            IntrospectError::Key(error) => {
                tracing::error!(%error, "an answer could not be signed");
                Self::new(ErrorCode::ServerError, "the gateway could not sign the answer; its log says why")
            }
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
    match introspect(&authority, &caller, &uri, &headers, body).await {
        Ok(response) => response,
        Err(error) => Refusal::from(error).into_response(),
    }
}

async fn introspect(
    authority: &Authority,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, IntrospectError> {
    let form = Form::read(uri, headers, body).await?;
    let client = ClientAuth::of_form(headers, &form, caller)?.authenticate(authority, caller).await?;
    // `token_type_hint` only speeds up a search (section 2.1), and a token says itself what it is.
    let token = form.get("token").ok_or(IntrospectError::NoToken)?;
    let said = said(authority, caller, &client, token).await?;
    let vary = (VARY, "accept");
    if !wants_signed(headers) {
        return Ok(([vary], Json(said)).into_response());
    }
    let signing = authority.signing();
    let signed = sign(signing.keys.active(), &authority.settings.issuer, &client.id, authority.now(), said)?;
    Ok(([vary, (CONTENT_TYPE, SIGNED)], signed).into_response())
}

/// What the client is told of the token.
async fn said(
    authority: &Authority,
    caller: &Caller,
    client: &Client,
    token: &str,
) -> Result<Map<String, Value>, IntrospectError> {
    let asks_for_others = client.introspect || client.scopes.administers_gateway();
    // Apart from the guesses of the client's secret: who asks too often is still who they are.
    let guesser = format!("introspect {}", client.id);
    if !asks_for_others && let Some(wait) = authority.guesses.wait(&guesser, caller.address, authority.now()) {
        return Err(IntrospectError::TooManyGuesses(wait));
    }
    let found = match InForce::of_any_audience(authority, token).await {
        Ok(found) => Some(found).filter(|found| may_ask(authority, client, found)),
        Err(NotInForce::Store(error)) => return Err(error.into()),
        Err(_) => None,
    };
    let Some(found) = found else {
        if !asks_for_others {
            authority.guesses.wrong(&guesser, caller.address, authority.now());
        }
        return Ok(Map::from_iter([("active".to_owned(), Value::Bool(false))]));
    };
    Ok(members(found))
}

/// Whose tokens a client may ask about: its own; with the right to ask, those it may be shown, because they are for the gateway or
/// for itself; an administrator of the gateway about all.
fn may_ask(authority: &Authority, client: &Client, found: &InForce) -> bool {
    let is_shown = |audience: &String| *audience == authority.settings.audience || *audience == client.id;
    found.client.id == client.id
        || client.scopes.administers_gateway()
        || (client.introspect && found.claims.aud.iter().any(is_shown))
}

/// RFC 7662 section 2.2.
fn members(found: InForce) -> Map<String, Value> {
    let claims = found.claims;
    let mut said = Map::new();
    let mut say = |name: &str, value: Value| said.insert(name.to_owned(), value);
    say("active", json!(true));
    say("scope", json!(claims.scope));
    say("client_id", json!(claims.client_id));
    say("token_type", json!("Bearer"));
    say("exp", json!(claims.exp.as_secs()));
    say("iat", json!(claims.iat.as_secs()));
    if let Some(nbf) = claims.nbf {
        say("nbf", json!(nbf.as_secs()));
    }
    say("sub", json!(claims.sub));
    match claims.aud.as_slice() {
        [one] => say("aud", json!(one)),
        several => say("aud", json!(several)),
    };
    say("iss", json!(claims.iss));
    say("jti", json!(claims.jti));
    if let Some(act) = write_actors(&claims.act) {
        say("act", act);
    }
    said
}

/// Whether the caller names the media type of a signed answer (RFC 9701 section 4) and does not say that it is not acceptable.
fn wants_signed(headers: &HeaderMap) -> bool {
    let ranges =
        headers.get_all(ACCEPT).iter().filter_map(|field| field.to_str().ok()).flat_map(|list| list.split(','));
    ranges.into_iter().any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_unacceptable = |parameter: &str| {
            parameter
                .split_once('=')
                .is_some_and(|(name, weight)| name.eq_ignore_ascii_case("q") && weight.parse::<f32>() == Ok(0.0))
        };
        parts.next().is_some_and(|media| media.eq_ignore_ascii_case(SIGNED)) && !parts.any(is_unacceptable)
    })
}

#[cfg(test)]
#[path = "introspect_tests.rs"]
mod tests;
