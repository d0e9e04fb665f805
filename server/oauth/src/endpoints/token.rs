//! `POST /oauth/token`: the client credentials grant (RFC 6749 section 4.4).

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use oauth4os_config::TokenFormat;
use oauth4os_policy::{RestrictionError, Scope, ScopeError, ScopeSet};
use oauth4os_store::{IssuedToken, SecretHash, StoreError};
use oauth4os_telemetry::audit::Event;
use oauth4os_tokens::access::{AccessClaims, SignError, sign};
use oauth4os_tokens::id::{NoRandomness, Secret, SecretKind, token_id};
use serde::Serialize;

use crate::authority::to_the_end;
use crate::http::{Caller, ClientAuthError, Credentials, ErrorCode, Form, FormError, Refusal};
use crate::{Authority, Client};

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error(transparent)]
    Form(#[from] FormError),
    #[error(transparent)]
    Client(#[from] ClientAuthError),
    #[error("the parameter `grant_type` is missing; send `grant_type=client_credentials`")]
    NoGrantType,
    #[error("this gateway does not know this `grant_type`; it takes `client_credentials`")]
    GrantType,
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(
        "the scope `{0}` goes beyond what the client is registered for; ask for less, or have the registration changed"
    )]
    NotWithin(Scope),
    #[error(transparent)]
    Restriction(#[from] RestrictionError),
    #[error("the client is registered without scopes, so there is nothing a token could allow")]
    NothingToGrant,
    #[error("what looks like a token or a secret was sent as a scope")]
    SecretAsScope,
    #[error(
        "tokens are issued for this gateway only; leave `resource` out, or send the `resource` of `/.well-known/oauth-protected-resource`"
    )]
    Resource,
    #[error("the client has too many tokens in force; revoke some, or wait until they end")]
    TooMany,
    #[error("no token is issued while its audit record cannot be written; try again later")]
    Unrecorded,
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Form(error) => error.into(),
            TokenError::Client(error) => error.into(),
            TokenError::NoGrantType => Self::new(ErrorCode::InvalidRequest, error),
            TokenError::GrantType => Self::new(ErrorCode::UnsupportedGrantType, error),
            TokenError::Scope(_)
            | TokenError::NotWithin(_)
            | TokenError::Restriction(_)
            | TokenError::NothingToGrant
            | TokenError::SecretAsScope
            | TokenError::Sign(SignError::TooLong { .. }) => Self::new(ErrorCode::InvalidScope, error),
            TokenError::Resource => Self::new(ErrorCode::InvalidTarget, error),
            TokenError::Unrecorded | TokenError::TooMany => Self::new(ErrorCode::TemporarilyUnavailable, error),
            TokenError::Sign(_) | TokenError::Randomness(_) => {
                tracing::error!(%error, "no token could be made");
                Self::new(ErrorCode::ServerError, "the gateway could not make a token; its log says why")
            }
            TokenError::Store(error) => Self::store(&error),
        }
    }
}

/// RFC 6749 section 5.1.
#[derive(Serialize)]
struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
}

pub(crate) async fn post(
    State(authority): State<Arc<Authority>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let mut claimed = None;
    match answer(&authority, &caller, &uri, &headers, body, &mut claimed).await {
        Ok(response) => Json(response).into_response(),
        Err(error) => {
            let refusal = Refusal::from(error);
            record_refused(&authority, &caller, claimed.as_deref(), &refusal);
            refusal.into_response()
        }
    }
}

async fn answer(
    authority: &Arc<Authority>,
    caller: &Caller,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
    claimed: &mut Option<String>,
) -> Result<TokenResponse, TokenError> {
    let form = Form::read(uri, headers, body).await?;
    let credentials = Credentials::of_form(headers, &form)?;
    *claimed = Some(credentials.client_id.clone());
    let client = credentials.authenticate(authority, caller)?;
    match form.get("grant_type") {
        Some("client_credentials") => {}
        Some(_) => return Err(TokenError::GrantType),
        None => return Err(TokenError::NoGrantType),
    }
    let settings = &authority.settings;
    // RFC 8707: the address of the gateway is the name its metadata gives itself as a resource.
    if form.all("resource").any(|resource| resource != settings.audience && resource != settings.issuer) {
        return Err(TokenError::Resource);
    }
    let requested = form.get("scope").map(ToOwned::to_owned);
    let (authority, caller) = (Arc::clone(authority), caller.clone());
    // To the end, so that there is no recorded token without its event.
    to_the_end(async move { issue(&authority, &caller, &client.id, requested.as_deref()).await })
        .await
        .unwrap_or(Err(TokenError::Store(StoreError::Closed)))
}

async fn issue(
    authority: &Authority,
    caller: &Caller,
    client_id: &str,
    requested: Option<&str>,
) -> Result<TokenResponse, TokenError> {
    if authority.audit.must_refuse() {
        return Err(TokenError::Unrecorded);
    }
    // From here to the record the client stays as it is; it may have changed since its secret was checked.
    let _unchanged = authority.clients.unchanged().await;
    let client = authority.clients.get(client_id).filter(|client| client.enabled).ok_or(ClientAuthError::Wrong)?;
    let scopes = granted(authority, &client, requested)?;
    let now = authority.now();
    let lifetime = client.token_lifetime.unwrap_or(authority.settings.token_lifetime);
    let lifetime = Duration::from_secs(lifetime.as_secs());
    let iat = now.whole_second();
    let is_opaque = client.token_format == TokenFormat::Opaque;
    if is_opaque && !authority.opaque.has_room(&client.id) {
        return Err(TokenError::TooMany);
    }
    let claims = AccessClaims {
        iss: authority.settings.issuer.clone(),
        sub: client.id.clone(),
        aud: vec![authority.settings.audience.clone()],
        client_id: client.id.clone(),
        scope: scopes.to_string(),
        iat,
        nbf: None,
        exp: iat + lifetime,
        jti: token_id()?,
    };
    let opaque = is_opaque.then(|| Secret::generate(SecretKind::AccessToken)).transpose()?;
    let access_token = match &opaque {
        Some(secret) => secret.expose().to_owned(),
        None => sign(authority.signing().keys.active(), &claims)?,
    };
    let issued = IssuedToken {
        id: claims.jti,
        client_id: claims.client_id,
        subject: claims.sub,
        scope: claims.scope,
        audience: claims.aud,
        issued_at: now,
        expires_at: claims.exp,
        revoked_at: None,
        hash: opaque.map(|secret| SecretHash::from_bytes(secret.sha256())),
    };
    authority.store.record_issued(issued.clone()).await?;
    if let Some(hash) = &issued.hash {
        authority.opaque.issued(hash, &issued);
    }
    let mut event = caller.event(now, "token.issued", "allow");
    event.client = Some(&issued.client_id);
    event.token_id = Some(&issued.id);
    event.scopes = Some(&issued.scope);
    event.status = Some(200);
    authority.audit.record(&event);
    authority.metrics.tokens_issued.inc();
    Ok(TokenResponse { access_token, token_type: "Bearer", expires_in: lifetime.as_secs(), scope: issued.scope })
}

/// The scopes asked for, each within the client's; all the client's when none is asked for.
fn granted(authority: &Authority, client: &Client, requested: Option<&str>) -> Result<ScopeSet, TokenError> {
    let Some(requested) = requested else {
        return if client.scopes.is_empty() { Err(TokenError::NothingToGrant) } else { Ok(client.scopes.clone()) };
    };
    // A refusal names the scope: not when it is something else, pasted into the wrong place.
    if requested.contains("o4s_") || requested.starts_with("eyJ") || requested.split(' ').any(looks_like_a_secret) {
        return Err(TokenError::SecretAsScope);
    }
    let requested = authority.parse_scopes(requested)?;
    if requested.is_empty() {
        return Err(TokenError::NothingToGrant);
    }
    for scope in requested.iter() {
        if !authority.parse_scopes(scope.as_str())?.is_within(&client.scopes) {
            return Err(TokenError::NotWithin(scope.clone()));
        }
    }
    // Rows and fields stay with the client; here it is only made sure that it is clear which.
    client.restrictions.of(&requested)?;
    Ok(requested)
}

fn record_refused(authority: &Authority, caller: &Caller, claimed: Option<&str>, refusal: &Refusal) {
    let reason = format!("{}: {}", refusal.code.as_str(), refusal.description);
    let mut event: Event<'_> = caller.event(authority.now(), "token.refused", "deny");
    event.client = claimed.filter(|id| authority.clients.get(id).is_some() || is_client_id(id));
    event.reason = Some(&reason);
    event.status = Some(refusal.code.status().as_u16());
    authority.audit.record(&event);
    authority.metrics.tokens_refused.inc();
}

/// The length from which a word could be a client's secret.
const SECRET_LENGTH: usize = 24;

/// Whether a word among the scopes is none, and as long as a secret.
fn looks_like_a_secret(word: &str) -> bool {
    word.len() >= SECRET_LENGTH && !word.contains(':')
}

/// Whether the id of no client may be recorded. It could be a secret sent in the wrong place, or a whole book.
fn is_client_id(id: &str) -> bool {
    (1..SECRET_LENGTH).contains(&id.len())
        && !id.contains("o4s_")
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
