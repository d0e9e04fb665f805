//! `POST /oauth/token` (RFC 6749 section 3.2): who asks is established here, and the grant does the rest.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Uri};
use oauth4os_telemetry::audit::Event;

use crate::Authority;
use crate::grants::authorization_code::CodeError;
use crate::grants::issue::{IssueError, SECRET_LENGTH, TokenResponse};
use crate::grants::jwt_bearer::{self, JwtBearerError};
use crate::grants::refresh_token::{self, RefreshError};
use crate::grants::token_exchange::{self, ExchangeError};
use crate::grants::{GRANT_TYPES, authorization_code, client_credentials};
use crate::http::{Caller, ClientAuth, ClientAuthError, ErrorCode, Form, FormError, Refusal};

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error(transparent)]
    Form(#[from] FormError),
    #[error(transparent)]
    Client(#[from] ClientAuthError),
    #[error("the parameter `grant_type` is missing; send `grant_type=client_credentials`")]
    NoGrantType,
    #[error("this gateway does not know this `grant_type`; it takes `{}`", GRANT_TYPES.join("`, `"))]
    GrantType,
    #[error(
        "tokens are issued for this gateway only; leave `resource` out, or send the `resource` of `/.well-known/oauth-protected-resource`"
    )]
    Resource,
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error(transparent)]
    Code(#[from] CodeError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    JwtBearer(#[from] JwtBearerError),
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
}

impl From<TokenError> for Refusal {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Form(error) => error.into(),
            TokenError::Client(error) => error.into(),
            TokenError::NoGrantType => Self::new(ErrorCode::InvalidRequest, error),
            TokenError::GrantType => Self::new(ErrorCode::UnsupportedGrantType, error),
            TokenError::Resource => Self::new(ErrorCode::InvalidTarget, error),
            TokenError::Refresh(error) => error.into(),
            TokenError::Code(error) => error.into(),
            TokenError::Issue(error) => error.into(),
            TokenError::JwtBearer(error) => error.into(),
            TokenError::Exchange(error) => error.into(),
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
    // Here the assertion is all that is shown.
    if form.get("grant_type") == Some(jwt_bearer::GRANT_TYPE) {
        check_resource(authority, &form)?;
        return Ok(jwt_bearer::redeem(authority, caller, headers, &form, claimed).await?);
    }
    let authentication = ClientAuth::of_client(headers, &form, caller)?;
    *claimed = Some(authentication.client_id().to_owned());
    let client = authentication.authenticate(authority, caller).await?;
    let grant_type = form.get("grant_type").ok_or(TokenError::NoGrantType)?;
    match grant_type {
        client_credentials::GRANT_TYPE => {
            check_resource(authority, &form)?;
            Ok(client_credentials::redeem(authority, caller, &client, &form).await?)
        }
        authorization_code::GRANT_TYPE => {
            check_resource(authority, &form)?;
            Ok(authorization_code::redeem(authority, caller, &client, &form).await?)
        }
        refresh_token::GRANT_TYPE => {
            check_resource(authority, &form)?;
            Ok(refresh_token::redeem(authority, caller, &client, &form).await?)
        }
        token_exchange::GRANT_TYPE => Ok(token_exchange::redeem(authority, caller, &client, &form).await?),
        _ => Err(TokenError::GrantType),
    }
}

/// RFC 8707: the address of the gateway is the name its metadata gives itself as a resource.
fn check_resource(authority: &Authority, form: &Form) -> Result<(), TokenError> {
    let settings = &authority.settings;
    if form.all("resource").any(|resource| resource != settings.audience && resource != settings.issuer) {
        return Err(TokenError::Resource);
    }
    Ok(())
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

/// Whether the id of no client may be recorded. It could be a secret sent in the wrong place, or a whole book.
fn is_client_id(id: &str) -> bool {
    (1..SECRET_LENGTH).contains(&id.len())
        && !id.contains("o4s_")
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
