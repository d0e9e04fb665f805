//! The JWT bearer grant (RFC 7523 section 2.1): a workload shows what an outside issuer says of it, and gets a token of the client that a
//! rule of the configuration names. It needs no secret of ours, and sends none.

use std::sync::Arc;

use http::HeaderMap;
use oauth4os_federation::{AssertionRefused, TrustedIssuer, Workload};
use oauth4os_policy::{ScopeError, ScopeSet};
use oauth4os_store::{SingleUse, StoreError};

use super::issue::{Grant, IssueError, TokenResponse, issue};
use crate::Authority;
use crate::http::{Caller, ClientAuthError, ErrorCode, Form, Refusal, has_authorization};

/// The `grant_type`.
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// Why no token was issued.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JwtBearerError {
    #[error("the parameter `assertion` is missing; send what the workload's issuer has signed for it")]
    NoAssertion,
    #[error(
        "this grant is for workloads that have nothing but their assertion; send no credentials of a client besides"
    )]
    Credentials,
    #[error(transparent)]
    Refused(#[from] AssertionRefused),
    #[error(
        "no rule of the trusted issuer fits this workload; look at the claims of its assertion and at `trusted_issuers`"
    )]
    NoRule,
    #[error("no rule of the trusted issuer makes this workload the client that `client_id` names")]
    OtherClient,
    #[error("the client that this workload is may not be used from this address")]
    Address,
    #[error("the assertion was used before; get a new one for each token")]
    Spent,
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<JwtBearerError> for Refusal {
    fn from(error: JwtBearerError) -> Self {
        match error {
            JwtBearerError::NoAssertion | JwtBearerError::Credentials => Self::new(ErrorCode::InvalidRequest, error),
            JwtBearerError::Refused(AssertionRefused::NoKeys) => Self::new(ErrorCode::TemporarilyUnavailable, error),
            JwtBearerError::Refused(_)
            | JwtBearerError::NoRule
            | JwtBearerError::OtherClient
            | JwtBearerError::Address
            | JwtBearerError::Spent => Self::new(ErrorCode::InvalidGrant, error),
            // The client was removed or disabled just now.
            JwtBearerError::Issue(IssueError::Client(ClientAuthError::Wrong)) => {
                Self::new(ErrorCode::InvalidGrant, JwtBearerError::NoRule)
            }
            JwtBearerError::Scope(error) => IssueError::from(error).into(),
            JwtBearerError::Issue(error) => error.into(),
            JwtBearerError::Store(error) => Self::store(&error),
        }
    }
}

pub(crate) async fn redeem(
    authority: &Arc<Authority>,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
    claimed: &mut Option<String>,
) -> Result<TokenResponse, JwtBearerError> {
    let assertion = form.get("assertion").ok_or(JwtBearerError::NoAssertion)?;
    let secrets = ["client_secret", "client_assertion", "client_assertion_type"];
    if has_authorization(headers) || secrets.into_iter().any(|name| form.get(name).is_some()) {
        return Err(JwtBearerError::Credentials);
    }
    *claimed = form.get("client_id").map(ToOwned::to_owned);
    let issuer = authority.trusted_issuers.of_assertion(assertion).ok_or(AssertionRefused::Issuer)?;
    let workload = verify(authority, issuer, assertion).await?;
    let is_asked_for = |client: &str| form.get("client_id").is_none_or(|asked| asked == client);
    let Some(rule) = workload.rules.iter().find(|rule| is_asked_for(&rule.client)) else {
        return Err(if workload.rules.is_empty() { JwtBearerError::NoRule } else { JwtBearerError::OtherClient });
    };
    *claimed = Some(rule.client.clone());
    let client = authority.clients.get(&rule.client).filter(|client| client.enabled).ok_or(JwtBearerError::NoRule)?;
    if !client.may_come_from(caller.address) {
        return Err(JwtBearerError::Address);
    }
    let scopes = rule.scopes.iter().map(String::as_str);
    let at_most = (!rule.scopes.is_empty()).then(|| ScopeSet::collect(scopes, &authority.settings.clusters));
    let grant = Grant {
        client_id: client.id.clone(),
        subject: Some(workload.subject),
        requested: form.get("scope").map(ToOwned::to_owned),
        at_most: at_most.transpose()?,
        ends_by: Some(authority.now() + issuer.config().token_lifetime.as_duration()),
        audience: None,
        exchanged: None,
        person: None,
        grant_type: GRANT_TYPE,
    };
    // The last step before the token: of many who show it at once, one gets here.
    if let Some(once) = workload.once
        && !authority.store.spend(SingleUse { id: once.id, expires_at: once.until }).await?
    {
        return Err(JwtBearerError::Spent);
    }
    Ok(issue(authority, caller, grant).await?)
}

async fn verify<'a>(
    authority: &Authority,
    issuer: &'a TrustedIssuer,
    assertion: &str,
) -> Result<Workload<'a>, AssertionRefused> {
    match issuer.verify(assertion, authority.now()) {
        Err(AssertionRefused::UnknownKey | AssertionRefused::NoKeys) if issuer.keys().wait().await => {
            issuer.verify(assertion, authority.now())
        }
        verified => verified,
    }
}

#[cfg(test)]
#[path = "jwt_bearer_tests.rs"]
mod tests;
