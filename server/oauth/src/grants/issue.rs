//! Making a token once it is clear for whom and for what: the part that every grant has in common.

use std::sync::Arc;
use std::time::Duration;

use oauth4os_config::TokenFormat;
use oauth4os_policy::{RestrictionError, Restrictions, Scope, ScopeError, ScopeSet};
use oauth4os_store::{Descent, IssuedToken, SecretHash, StoreError};
use oauth4os_tokens::access::{AccessClaims, Actor, SignError, sign};
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::{NoRandomness, Secret, SecretKind, token_id};
use serde::Serialize;

use super::parties::{Parties, PartyError};
use crate::authority::to_the_end;
use crate::http::{Caller, ClientAuthError, ErrorCode, Refusal};
use crate::{Authority, Client};

/// What a grant has established.
pub(crate) struct Grant {
    /// Whom the token is issued to.
    pub(crate) client_id: String,
    /// Whom it is about; the client itself when `None`.
    pub(crate) subject: Option<String>,
    /// The scopes that are asked for; all that may be had when `None`.
    pub(crate) requested: Option<String>,
    /// What may be had at most besides what the client is registered for.
    pub(crate) at_most: Option<ScopeSet>,
    /// When the token ends at the latest, besides by the lifetime of the client's tokens.
    pub(crate) ends_by: Option<UnixTime>,
    /// The audience, when it is not this gateway.
    pub(crate) audience: Option<String>,
    /// What the token is exchanged for.
    pub(crate) exchanged: Option<Exchanged>,
    /// The person it is about, if it is one.
    pub(crate) person: Option<PersonGrant>,
    /// The grant, for the record.
    pub(crate) grant_type: &'static str,
}

/// Where an exchanged token comes from.
pub(crate) struct Exchanged {
    /// Who acts for the subject, the present one first.
    pub(crate) act: Vec<Actor>,
    /// The token that was shown, when it is one of ours.
    pub(crate) parent: Option<String>,
}

/// What is known of the person a token is about.
pub(crate) struct PersonGrant {
    /// What some of the person's scopes are held to.
    pub(crate) restrictions: Restrictions,
    /// The login and the consent it comes from.
    pub(crate) descent: Descent,
}

/// RFC 6749 section 5.1.
#[derive(Serialize)]
pub(crate) struct TokenResponse {
    pub(crate) access_token: String,
    pub(crate) token_type: &'static str,
    pub(crate) expires_in: u64,
    pub(crate) scope: String,
    /// RFC 8693 section 2.2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) issued_token_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refresh_token: Option<String>,
}

/// Why no token was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IssueError {
    #[error(transparent)]
    Client(#[from] ClientAuthError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(
        "the scope `{0}` goes beyond what the client is registered for; ask for less, or have the registration changed"
    )]
    NotWithin(Scope),
    #[error("the scope `{0}` goes beyond what this grant allows; ask for less")]
    Beyond(Scope),
    #[error(transparent)]
    Restriction(#[from] RestrictionError),
    #[error("the client gets tokens for persons who log in only; use `grant_type=authorization_code`")]
    PersonsOnly,
    #[error("the client is registered without scopes, so there is nothing a token could allow")]
    NothingToGrant,
    #[error("there is no scope that both the client may have and this grant allows")]
    NothingInCommon,
    #[error("what looks like a token or a secret was sent as a scope")]
    SecretAsScope,
    #[error("what the token would stand for has ended")]
    Ended,
    #[error("the token that was shown has been revoked, or is over")]
    ParentEnded,
    #[error(transparent)]
    Party(#[from] PartyError),
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

impl From<IssueError> for Refusal {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Client(error) => error.into(),
            IssueError::Scope(_)
            | IssueError::NotWithin(_)
            | IssueError::Beyond(_)
            | IssueError::Restriction(_)
            | IssueError::NothingToGrant
            | IssueError::NothingInCommon
            | IssueError::Party(PartyError::Narrower | PartyError::Restriction(_))
            | IssueError::SecretAsScope
            | IssueError::Sign(SignError::TooLong { .. }) => Self::new(ErrorCode::InvalidScope, error),
            IssueError::PersonsOnly => Self::new(ErrorCode::UnauthorizedClient, error),
            IssueError::Ended => Self::new(ErrorCode::InvalidGrant, error),
            // RFC 8693 section 2.2.2.
            IssueError::ParentEnded | IssueError::Party(_) => Self::new(ErrorCode::InvalidRequest, error),
            IssueError::Unrecorded | IssueError::TooMany => Self::new(ErrorCode::TemporarilyUnavailable, error),
            IssueError::Sign(_) | IssueError::Randomness(_) => {
                tracing::error!(%error, "no token could be made");
                Self::new(ErrorCode::ServerError, "the gateway could not make a token; its log says why")
            }
            IssueError::Store(error) => Self::store(&error),
        }
    }
}

/// Makes the token, also when the caller hangs up meanwhile: there is no recorded token without its event.
///
/// # Errors
/// [`IssueError`].
pub(crate) async fn issue(
    authority: &Arc<Authority>,
    caller: &Caller,
    grant: Grant,
) -> Result<TokenResponse, IssueError> {
    let (authority, caller) = (Arc::clone(authority), caller.clone());
    to_the_end(async move { make(&authority, &caller, grant).await })
        .await
        .unwrap_or(Err(IssueError::Store(StoreError::Closed)))
}

async fn make(authority: &Authority, caller: &Caller, grant: Grant) -> Result<TokenResponse, IssueError> {
    if authority.audit.must_refuse() {
        return Err(IssueError::Unrecorded);
    }
    // From here to the record the client stays as it is; it may have changed since it was authenticated.
    let _unchanged = authority.clients.unchanged().await;
    let client =
        authority.clients.get(&grant.client_id).filter(|client| client.enabled).ok_or(ClientAuthError::Wrong)?;
    let scopes = granted(authority, &client, &grant)?;
    let now = authority.now();
    let iat = now.whole_second();
    let lifetime = client.token_lifetime.unwrap_or(authority.settings.token_lifetime);
    let full = iat + Duration::from_secs(lifetime.as_secs());
    let exp = grant.ends_by.map_or(full, |end| end.whole_second().min(full));
    if exp <= iat {
        return Err(IssueError::Ended);
    }
    // What an opaque token stands for only this gateway knows.
    let is_opaque = client.token_format == TokenFormat::Opaque && grant.audience.is_none();
    if is_opaque && !authority.opaque.has_room(&client.id) {
        return Err(IssueError::TooMany);
    }
    let user = grant.subject.clone();
    let subject = grant.subject.unwrap_or_else(|| client.id.clone());
    let (act, parent) = grant.exchanged.map_or_else(Default::default, |exchanged| (exchanged.act, exchanged.parent));
    Parties::of(authority, &subject, &act)?.check(&client, &scopes)?;
    let claims = AccessClaims {
        iss: authority.settings.issuer.clone(),
        sub: subject,
        aud: vec![grant.audience.unwrap_or_else(|| authority.settings.audience.clone())],
        client_id: client.id.clone(),
        scope: scopes.to_string(),
        iat,
        nbf: None,
        exp,
        jti: token_id()?,
        act,
        sid: grant.person.as_ref().map(|person| person.descent.login.clone()),
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
        parent,
        act: claims.act,
        descent: grant.person.map(|person| person.descent),
    };
    authority.store.record_issued(issued.clone()).await.map_err(|error| match error {
        StoreError::ParentEnded { .. } => IssueError::ParentEnded,
        StoreError::NotFound { .. } => IssueError::Ended,
        other => IssueError::Store(other),
    })?;
    if let Some(hash) = &issued.hash {
        authority.opaque.issued(hash, &issued);
    }
    let mut event = caller.event(now, "token.issued", "allow");
    event.client = Some(&issued.client_id);
    event.user = user.as_deref();
    event.token_id = Some(&issued.id);
    event.scopes = Some(&issued.scope);
    let actors: Vec<String> = issued.act.iter().map(|actor| actor.sub.clone()).collect();
    event.subject = (!actors.is_empty()).then_some(issued.subject.as_str());
    event.actors = &actors;
    event.grant_type = Some(grant.grant_type);
    event.status = Some(200);
    authority.audit.record(&event);
    authority.metrics.tokens_issued.inc();
    let expires_in = exp.since(iat).as_secs();
    Ok(TokenResponse {
        access_token,
        token_type: "Bearer",
        expires_in,
        scope: issued.scope,
        issued_token_type: None,
        refresh_token: None,
    })
}

/// The scopes asked for, each within the client's and within what the grant allows; all of these when none is asked for.
fn granted(authority: &Authority, client: &Client, grant: &Grant) -> Result<ScopeSet, IssueError> {
    let Some(requested) = grant.requested.as_deref() else {
        let Some(at_most) = &grant.at_most else {
            let all = client.scopes.clone();
            client.restrictions.of(&all)?;
            return if all.is_empty() { Err(IssueError::NothingToGrant) } else { Ok(all) };
        };
        // Whichever of the two is the narrower one.
        let allowed = at_most.iter().filter(|scope| is_within(authority, scope, &client.scopes));
        let own = client.scopes.iter().filter(|scope| is_within(authority, scope, at_most));
        let both = ScopeSet::collect(allowed.chain(own).map(Scope::as_str), &authority.settings.clusters)?;
        held(client, grant, &both)?;
        return if both.is_empty() { Err(IssueError::NothingInCommon) } else { Ok(both) };
    };
    // A refusal names the scope: not when it is something else, pasted into the wrong place.
    if requested.contains("o4s_") || requested.starts_with("eyJ") || requested.split(' ').any(looks_like_a_secret) {
        return Err(IssueError::SecretAsScope);
    }
    let requested = authority.parse_scopes(requested)?;
    if requested.is_empty() {
        return Err(IssueError::NothingToGrant);
    }
    for scope in requested.iter() {
        if !is_within(authority, scope, &client.scopes) {
            return Err(IssueError::NotWithin(scope.clone()));
        }
        if grant.at_most.as_ref().is_some_and(|at_most| !is_within(authority, scope, at_most)) {
            return Err(IssueError::Beyond(scope.clone()));
        }
    }
    // Rows and fields stay with the client; here it is only made sure that it is clear which.
    held(client, grant, &requested)?;
    Ok(requested)
}

fn held(client: &Client, grant: &Grant, scopes: &ScopeSet) -> Result<(), RestrictionError> {
    match &grant.person {
        Some(person) => client.restrictions.of_both(&person.restrictions, scopes).map(drop),
        None => client.restrictions.of(scopes).map(drop),
    }
}

fn is_within(authority: &Authority, scope: &Scope, allowed: &ScopeSet) -> bool {
    authority.parse_scopes(scope.as_str()).is_ok_and(|scope| scope.is_within(allowed))
}

/// The length from which a word could be a client's secret.
pub(crate) const SECRET_LENGTH: usize = 24;

/// Whether a word among the scopes is none, and as long as a secret.
fn looks_like_a_secret(word: &str) -> bool {
    word.len() >= SECRET_LENGTH && !word.contains(':')
}
