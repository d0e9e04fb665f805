//! The authorization code grant (RFC 6749 section 4.1.3, with PKCE by RFC 7636): a client gets a token for the person who let it.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth4os_store::{Descent, Family, Redeemed, SecretHash, StoreError};
use oauth4os_tokens::id::{constant_time_eq, sha256};

use super::issue::{Grant, IssueError, PersonGrant, TokenResponse, issue};
use super::refresh_token::{self, RefreshError};
use crate::http::{Caller, ErrorCode, Form, Refusal};
use crate::login::{can_renew, permitted};
use crate::{Authority, Client};

/// The `grant_type`.
pub(crate) const GRANT_TYPE: &str = "authorization_code";

/// Why a code gives no token. What is wrong with a code is one sentence: whoever found one learns nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeError {
    #[error("the parameter `{0}` is missing")]
    Missing(&'static str),
    #[error("the `code_verifier` is not 43 to 128 letters, digits, `-`, `.`, `_`, `~` (RFC 7636 section 4.1)")]
    Verifier,
    #[error(
        "the code is not one that was given to this client for this `redirect_uri` and `code_verifier`, or it has ended or was used before; begin again at the authorization endpoint"
    )]
    Grant,
    #[error("the login that the code came from has ended; begin again at the authorization endpoint")]
    LoginEnded,
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<CodeError> for Refusal {
    fn from(error: CodeError) -> Self {
        match error {
            CodeError::Missing(_) | CodeError::Verifier => Self::new(ErrorCode::InvalidRequest, error),
            CodeError::Grant | CodeError::LoginEnded => Self::new(ErrorCode::InvalidGrant, error),
            CodeError::Refresh(error) => error.into(),
            CodeError::Issue(error) => error.into(),
            CodeError::Store(error) => Self::store(&error),
        }
    }
}

pub(crate) async fn redeem(
    authority: &Arc<Authority>,
    caller: &Caller,
    client: &Client,
    form: &Form,
) -> Result<TokenResponse, CodeError> {
    let parameter = |name| form.get(name).ok_or(CodeError::Missing(name));
    let (code, redirect_uri, verifier) = (parameter("code")?, parameter("redirect_uri")?, parameter("code_verifier")?);
    let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    if !(43..=128).contains(&verifier.len()) || !verifier.bytes().all(is_unreserved) {
        return Err(CodeError::Verifier);
    }
    // Spent by being shown, right or wrong: nobody tries twice.
    let family = match authority.redeem_code(SecretHash::of(code)).await? {
        Redeemed::Now(family) => family,
        Redeemed::Again { family, .. } => {
            record_replayed(authority, caller, &family);
            return Err(CodeError::Grant);
        }
        Redeemed::Ended | Redeemed::Unknown => return Err(CodeError::Grant),
    };
    let challenge = URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes()));
    let is_proven = constant_time_eq(challenge.as_bytes(), family.challenge.as_bytes());
    if family.client_id != client.id || family.redirect_uri != redirect_uri || !is_proven {
        return Err(CodeError::Grant);
    }
    let login = authority.store.login(&family.login_id).await?.ok_or(CodeError::LoginEnded)?;
    let person = authority.person(&login).map_err(|_| CodeError::LoginEnded)?;
    let can_renew = can_renew(&login);
    let family_id = family.id.clone();
    let rights = person.outsider.grants;
    let consented = authority.parse_scopes(&family.scope).map_err(IssueError::from)?;
    let scopes = permitted(authority, &consented, &rights.scopes).map_err(IssueError::from)?;
    if scopes.is_empty() {
        return Err(IssueError::NothingToGrant.into());
    }
    let grant = Grant {
        client_id: client.id.clone(),
        subject: Some(family.user),
        requested: Some(scopes.to_string()),
        at_most: Some(rights.scopes),
        ends_by: Some(login.ends_at),
        person: Some(PersonGrant {
            restrictions: rights.restrictions,
            descent: Descent { login: login.id, family: family.id },
        }),
        audience: None,
        exchanged: None,
        grant_type: GRANT_TYPE,
    };
    let mut response = issue(authority, caller, grant).await?;
    if can_renew {
        response.refresh_token = Some(refresh_token::first(authority, &family_id).await?);
    }
    Ok(response)
}

fn record_replayed(authority: &Authority, caller: &Caller, family: &Family) {
    let mut event = caller.event(authority.now(), "code.replayed", "deny");
    event.client = Some(&family.client_id);
    event.user = Some(&family.user);
    event.reason = Some("the code was used before; every token that came of it is revoked");
    authority.audit.record(&event);
}
