//! Who may see and revoke which issued tokens: what the token endpoints for lists and single tokens share.

use std::sync::Arc;

use http::HeaderMap;
use oauth4os_store::{IssuedToken, Revocation, StoreError, TokenState};
use oauth4os_telemetry::time::Rfc3339;
use oauth4os_tokens::access::write_actors;
use oauth4os_tokens::clock::UnixTime;
use serde::Serialize;
use serde_json::Value;

use crate::Authority;
use crate::http::{
    BearerError, BearerToken, Caller, Challenge, ClientAuthError, Credentials, Refusal, basic_credentials,
};

/// Who asks about tokens.
pub(super) struct Requester {
    pub(super) client_id: String,
    /// Whether the tokens of all clients are theirs to see and revoke: `admin:gateway`.
    pub(super) administrator: bool,
}

/// Nobody who may ask.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error(transparent)]
    Bearer(#[from] BearerError),
    #[error(transparent)]
    Client(#[from] ClientAuthError),
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Bearer(error) => error.refusal(Challenge::BearerOrBasic),
            AccessError::Client(error) => error.into(),
        }
    }
}

impl Requester {
    /// Reads an access token or HTTP Basic client credentials.
    pub(super) async fn of_request(
        authority: &Authority,
        caller: &Caller,
        headers: &HeaderMap,
    ) -> Result<Self, AccessError> {
        if let Some(encoded) = basic_credentials(headers)? {
            let client = Credentials::of_basic(encoded)?.authenticate(authority, caller)?;
            return Ok(Self { administrator: client.scopes.administers_gateway(), client_id: client.id.clone() });
        }
        let token = BearerToken::of_request(authority, caller, headers).await?;
        Ok(Self { administrator: token.administers_gateway(), client_id: token.client.id.clone() })
    }

    /// Whether this token is there for the requester.
    pub(super) fn may_see(&self, token: &IssuedToken) -> bool {
        self.administrator || token.client_id == self.client_id
    }
}

/// An issued token as it is shown; never the token itself.
#[derive(Serialize)]
pub(super) struct TokenView {
    id: String,
    client_id: String,
    scope: String,
    created_at: Rfc3339,
    expires_at: Rfc3339,
    revoked: bool,
    state: &'static str,
    /// Whom an exchanged token is about, who acts, and the token it was exchanged for.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

impl TokenView {
    pub(super) fn of(token: IssuedToken, now: UnixTime) -> Self {
        Self {
            revoked: token.revoked_at.is_some(),
            state: state_name(token.state(now)),
            created_at: Rfc3339(token.issued_at),
            expires_at: Rfc3339(token.expires_at),
            subject: (!token.act.is_empty()).then_some(token.subject),
            act: write_actors(&token.act),
            parent: token.parent,
            id: token.id,
            client_id: token.client_id,
            scope: token.scope,
        }
    }
}

/// The names of the states a token can be in, as shown and as asked for.
pub(super) const STATES: [TokenState; 3] = [TokenState::Active, TokenState::Revoked, TokenState::Expired];

pub(super) const fn state_name(state: TokenState) -> &'static str {
    match state {
        TokenState::Active => "active",
        TokenState::Revoked => "revoked",
        TokenState::Expired => "expired",
    }
}

/// Revokes a token and what was exchanged for it, and records of each that it was in force until now.
pub(super) async fn revoke_and_record(
    authority: &Arc<Authority>,
    caller: &Caller,
    by_client: &str,
    token_id: &str,
) -> Result<(), StoreError> {
    let Revocation::Revoked(tokens) = authority.revoke(token_id).await? else {
        return Ok(());
    };
    for token in tokens {
        let mut event = caller.event(authority.now(), "token.revoked", "allow");
        event.client = Some(by_client);
        event.token_id = Some(&token.id);
        event.reason = (token.id != token_id).then_some("the token it was exchanged for was revoked");
        authority.audit.record(&event);
        authority.metrics.tokens_revoked.inc();
    }
    Ok(())
}
