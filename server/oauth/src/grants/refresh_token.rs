//! The refresh token grant (RFC 6749 section 6, RFC 9700 section 4.14): a token of a person renews itself as long as the person is
//! logged in, here and at the provider, which is asked each time.
//!
//! A refresh token is good once and replaced by the next. One that was used is refused; shown later than [`GRACE`] after its use it is
//! a copy in somebody's hands, and the whole family is out of use at once. Within that time it is two threads of one client.

use std::sync::Arc;
use std::time::Duration;

use oauth4os_federation::LoginError;
use oauth4os_policy::{Scope, ScopeSet};
use oauth4os_store::{Descent, RefreshToken, Rotated, SecretHash, StoreError};
use oauth4os_tokens::id::{NoRandomness, Secret, SecretKind, verify_checksum};

use super::issue::{Grant, IssueError, PersonGrant, TokenResponse, issue};
use crate::http::{Caller, ErrorCode, Form, Refusal};
use crate::login::{PersonalError, permitted, renew};
use crate::{Authority, Client};

/// The `grant_type`.
pub(crate) const GRANT_TYPE: &str = "refresh_token";

/// How long after its use a refresh token that is shown again is an honest race.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// Why nothing is renewed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error("the parameter `refresh_token` is missing")]
    Missing,
    #[error("the refresh token is not one that is in force for this client; the person has to log in again")]
    Grant,
    #[error("the refresh token was used a moment ago; use the one that replaced it")]
    JustUsed,
    #[error("the provider does not know the person's login any more; the person has to log in again")]
    LoginEnded,
    #[error("the provider cannot be asked whether the person is still logged in; try again later")]
    ProviderDown,
    #[error("a scope goes beyond what the person has allowed or may have; ask for less, or leave `scope` out")]
    Beyond,
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RefreshError> for Refusal {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Missing => Self::new(ErrorCode::InvalidRequest, error),
            RefreshError::Grant | RefreshError::JustUsed | RefreshError::LoginEnded => {
                Self::new(ErrorCode::InvalidGrant, error)
            }
            RefreshError::Beyond => Self::new(ErrorCode::InvalidScope, error),
            RefreshError::ProviderDown => {
                Self::new(ErrorCode::TemporarilyUnavailable, error).after(Duration::from_secs(5))
            }
            RefreshError::Issue(error) => error.into(),
            RefreshError::Randomness(error) => IssueError::from(error).into(),
            RefreshError::Store(error) => Self::store(&error),
        }
    }
}

pub(crate) async fn redeem(
    authority: &Arc<Authority>,
    caller: &Caller,
    client: &Client,
    form: &Form,
) -> Result<TokenResponse, RefreshError> {
    let shown = form.get("refresh_token").ok_or(RefreshError::Missing)?;
    if verify_checksum(shown) != Some(SecretKind::RefreshToken) {
        return Err(RefreshError::Grant);
    }
    let hash = SecretHash::of(shown);
    let (token, family) = authority.store.refresh_token(&hash).await?.ok_or(RefreshError::Grant)?;
    if family.client_id != client.id {
        return Err(RefreshError::Grant);
    }
    if token.used_at.is_some() {
        return Err(used(authority, caller, &hash, None).await?.err().unwrap_or(RefreshError::Grant));
    }
    // Nothing is spent while the provider cannot be asked.
    let renewed = renew(authority, &family.login_id).await.map_err(|error| match error {
        PersonalError::Store(error) => RefreshError::Store(error),
        PersonalError::Provider(LoginError::Fetch(_) | LoginError::Content(_)) => RefreshError::ProviderDown,
        _ => RefreshError::LoginEnded,
    })?;
    let (login, person) = renewed;
    let rights = person.outsider.grants;
    let consented = authority.parse_scopes(&family.scope).map_err(IssueError::from)?;
    let left = permitted(authority, &consented, &rights.scopes).map_err(IssueError::from)?;
    let scopes = narrowed(authority, &left, form.get("scope"))?;
    if scopes.is_empty() {
        return Err(IssueError::NothingToGrant.into());
    }
    let secret = Secret::generate(SecretKind::RefreshToken)?;
    used(authority, caller, &hash, Some(next(authority, &secret, &family.id))).await??;
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
    response.refresh_token = Some(secret.expose().to_owned());
    Ok(response)
}

/// The first refresh token of a family, where the provider can be asked again.
pub(crate) async fn first(authority: &Authority, family: &str) -> Result<String, RefreshError> {
    let secret = Secret::generate(SecretKind::RefreshToken)?;
    authority.store.start_refresh(next(authority, &secret, family)).await?;
    Ok(secret.expose().to_owned())
}

fn next(authority: &Authority, secret: &Secret, family: &str) -> RefreshToken {
    RefreshToken {
        hash: SecretHash::from_bytes(secret.sha256()),
        family: family.to_owned(),
        ends_at: authority.now() + authority.settings.refresh_idle,
        used_at: None,
    }
}

/// Puts another token in its place, or finds out what it means that one was used.
async fn used(
    authority: &Arc<Authority>,
    caller: &Caller,
    hash: &SecretHash,
    successor: Option<RefreshToken>,
) -> Result<Result<(), RefreshError>, StoreError> {
    Ok(match authority.rotate_refresh(*hash, successor, GRACE).await? {
        Rotated::Now => Ok(()),
        Rotated::JustUsed => Err(RefreshError::JustUsed),
        Rotated::Ended => Err(RefreshError::Grant),
        Rotated::Again { family, .. } => {
            let mut event = caller.event(authority.now(), "refresh.replayed", "deny");
            event.client = Some(&family.client_id);
            event.user = Some(&family.user);
            event.reason = Some("the refresh token was used before; every token of its family is revoked");
            authority.audit.record(&event);
            Err(RefreshError::Grant)
        }
    })
}

/// The scopes asked for, each within what is left; all of these when none is asked for (RFC 6749 section 6).
fn narrowed(authority: &Authority, left: &ScopeSet, asked: Option<&str>) -> Result<ScopeSet, RefreshError> {
    let Some(asked) = asked else { return Ok(left.clone()) };
    let asked = authority.parse_scopes(asked).map_err(IssueError::from)?;
    let is_in = |scope: &Scope| authority.parse_scopes(scope.as_str()).is_ok_and(|scope| scope.is_within(left));
    if asked.iter().all(is_in) { Ok(asked) } else { Err(RefreshError::Beyond) }
}
