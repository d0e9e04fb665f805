//! The token exchange grant (RFC 8693): a client shows the token of somebody else and gets one of its own, to act for them.
//!
//! The new token may do what both may do and ends with the one that was shown. It always says who acts for whom: there is no
//! impersonation. Whatever takes the shown token out of use takes the new one along, when the shown one is ours.

use std::sync::Arc;

use oauth4os_config::TokenExchange;
use oauth4os_federation::{Outsider, Provider, Refused};
use oauth4os_policy::{PrincipalKind, Scope, ScopeSet};
use oauth4os_tokens::access::{Actor, Invalid, MAX_ACTORS};
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::jose::ForeignToken;
use serde_json::Value;

use super::issue::{Exchanged, Grant, IssueError, TokenResponse, issue};
use crate::http::{Caller, ErrorCode, Form, InForce, NotInForce, Refusal};
use crate::{Authority, Client};

/// The `grant_type`.
pub(crate) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// RFC 8693 section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What opaque tokens of ours, and no others, begin with.
const OPAQUE: &str = "o4s_";

/// Why nothing is exchanged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("this client may not exchange tokens; have `token_exchange` set for it")]
    NotPermitted,
    #[error("the parameter `{0}` is missing")]
    Missing(&'static str),
    #[error("`actor_token` and `actor_token_type` go together; send both, or neither")]
    HalfAnActor,
    #[error("only access tokens are issued here; leave `requested_token_type` out, or send `{ACCESS_TOKEN}`")]
    RequestedType,
    #[error("`{0}` must be `{ACCESS_TOKEN}`, or `{JWT}` for an access token that is a JWT")]
    ShownType(&'static str),
    #[error("the `{name}` is not taken: {reason}")]
    Shown { name: &'static str, reason: String },
    #[error("a token that was shown has expired; get a new one")]
    Ended,
    #[error("the keys of the provider of the `{0}` could not be fetched yet; try again later")]
    Keys(&'static str),
    #[error("this client may not exchange tokens of this subject; have it listed in `token_exchange.subjects`")]
    Subject,
    #[error("this client may not show that this actor acts; have it listed in `token_exchange.actors`")]
    Actor,
    #[error("the `actor_token` is about somebody else than its holder; an actor shows a token of its own")]
    ActorForOthers,
    #[error("the `subject_token` says in `may_act` who may act for its subject, and this is somebody else")]
    MayAct,
    #[error(
        "the `subject_token` is of a provider and says that somebody acts for its subject; show one from before that"
    )]
    OutsideActors,
    #[error("a token can be handed on {MAX_ACTORS} times; show one that has come a shorter way")]
    TooManyActors,
    #[error(
        "what the provider's token gives is held to rows or fields, which only the token itself can be; ask for other scopes, or show the token itself"
    )]
    Restricted,
    #[error(
        "the subject reaches the engine under an identity of its own, which cannot be handed on; show the token itself"
    )]
    OwnIdentity,
    #[error("`resource` and `audience` name several targets; a token is for one")]
    SeveralTargets,
    #[error(
        "this client may not have tokens for this target; leave `resource` and `audience` out for this gateway, or have the target listed in `token_exchange.audiences`"
    )]
    Target,
    #[error(transparent)]
    Issue(#[from] IssueError),
}

impl From<ExchangeError> for Refusal {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::NotPermitted => Self::new(ErrorCode::UnauthorizedClient, error),
            ExchangeError::SeveralTargets | ExchangeError::Target => Self::new(ErrorCode::InvalidTarget, error),
            ExchangeError::Restricted => Self::new(ErrorCode::InvalidScope, error),
            ExchangeError::Keys(_) => Self::new(ErrorCode::TemporarilyUnavailable, error),
            ExchangeError::Issue(error) => error.into(),
            // RFC 8693 section 2.2.2: whatever makes the shown tokens unacceptable.
            _ => Self::new(ErrorCode::InvalidRequest, error),
        }
    }
}

/// A pair of parameters.
struct Parameters {
    token: &'static str,
    kind: &'static str,
}

const SUBJECT: Parameters = Parameters { token: "subject_token", kind: "subject_token_type" };
const ACTOR: Parameters = Parameters { token: "actor_token", kind: "actor_token_type" };

pub(crate) async fn redeem(
    authority: &Arc<Authority>,
    caller: &Caller,
    client: &Client,
    form: &Form,
) -> Result<TokenResponse, ExchangeError> {
    let rule = client.token_exchange.as_ref().ok_or(ExchangeError::NotPermitted)?;
    if form.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(ExchangeError::RequestedType);
    }
    let audience = target(authority, rule, form)?;
    if form.get(ACTOR.token).is_some() != form.get(ACTOR.kind).is_some() {
        return Err(ExchangeError::HalfAnActor);
    }
    let subject = Shown::read(authority, caller, form, &SUBJECT).await?;
    if !subject.holders.iter().all(|holder| rule.takes_subject(holder)) {
        return Err(ExchangeError::Subject);
    }
    let mut ends_by = subject.ends;
    let actor = if form.get(ACTOR.token).is_some() {
        let actor = Shown::read(authority, caller, form, &ACTOR).await?;
        ends_by = ends_by.min(actor.ends);
        actor.into_actor(rule, client)?
    } else {
        Actor::new(client.id.as_str())
    };
    // Some are taken for a moment longer than they say; what is given out for them is not.
    if ends_by <= authority.now() {
        return Err(ExchangeError::Ended);
    }
    let at_most = match &subject.outside {
        None => subject.scopes,
        Some(outside) => {
            outside.check(authority, client, &actor)?;
            outside.scopes(authority, form.get("scope"))?
        }
    };
    let mut act = vec![actor];
    act.extend(subject.actors);
    if act.len() > MAX_ACTORS {
        return Err(ExchangeError::TooManyActors);
    }
    let grant = Grant {
        client_id: client.id.clone(),
        subject: Some(subject.name),
        requested: form.get("scope").map(ToOwned::to_owned),
        at_most: Some(at_most),
        ends_by: Some(ends_by),
        audience,
        exchanged: Some(Exchanged { act, parent: subject.parent }),
        grant_type: GRANT_TYPE,
    };
    let response = issue(authority, caller, grant).await?;
    Ok(TokenResponse { issued_token_type: Some(ACCESS_TOKEN), ..response })
}

/// What the token is to be for, when it is not this gateway. `resource` and `audience` mean the same here.
fn target(authority: &Authority, rule: &TokenExchange, form: &Form) -> Result<Option<String>, ExchangeError> {
    let is_here = |name: &str| name == authority.settings.audience || name == authority.settings.issuer;
    let mut named = form.all("resource").chain(form.get("audience"));
    let Some(first) = named.next() else { return Ok(None) };
    if !named.all(|other| other == first || (is_here(other) && is_here(first))) {
        return Err(ExchangeError::SeveralTargets);
    }
    match first {
        here if is_here(here) => Ok(None),
        listed if rule.audiences.contains(listed) => Ok(Some(listed.to_owned())),
        _ => Err(ExchangeError::Target),
    }
}

/// A token that was shown, and is in force as the data plane sees it.
struct Shown {
    /// Whom it is about.
    name: String,
    /// All whose token it is: whom it is about, and the client of ours that holds it.
    holders: Vec<String>,
    /// Who acts already.
    actors: Vec<Actor>,
    scopes: ScopeSet,
    ends: UnixTime,
    /// Its id, when it is ours.
    parent: Option<String>,
    /// Where it is from, when it is not.
    outside: Option<Outside>,
}

/// What a provider said.
struct Outside {
    provider: Arc<Provider>,
    outsider: Outsider,
}

impl Shown {
    async fn read(
        authority: &Authority,
        caller: &Caller,
        form: &Form,
        names: &Parameters,
    ) -> Result<Self, ExchangeError> {
        let token = form.get(names.token).ok_or(ExchangeError::Missing(names.token))?;
        let kind = form.get(names.kind).ok_or(ExchangeError::Missing(names.kind))?;
        let is_opaque = token.starts_with(OPAQUE);
        if kind != ACCESS_TOKEN && (kind != JWT || is_opaque) {
            return Err(ExchangeError::ShownType(names.kind));
        }
        let refused = |reason: String| ExchangeError::Shown { name: names.token, reason };
        match InForce::of_token(authority, token).await {
            Ok(own) if !own.client.may_come_from(caller.address) => {
                Err(refused("its client may not be used from this address".to_owned()))
            }
            Ok(own) => Ok(Self::own(own)),
            Err(NotInForce::Store(error)) => Err(IssueError::Store(error).into()),
            Err(NotInForce::Invalid(invalid)) if !is_opaque => {
                Self::of_provider(authority, token, &invalid, names).await
            }
            Err(error) => Err(refused(error.to_string())),
        }
    }

    fn own(InForce { claims, scopes, .. }: InForce) -> Self {
        let is_about_itself = claims.sub == claims.client_id;
        // Whoever holds a token about somebody else acts for them already.
        let actors = match claims.act {
            none if none.is_empty() && !is_about_itself => vec![Actor::new(claims.client_id.as_str())],
            actors => actors,
        };
        Self {
            holders: vec![claims.sub.clone(), claims.client_id],
            name: claims.sub,
            actors,
            scopes,
            ends: claims.exp,
            parent: Some(claims.jti),
            outside: None,
        }
    }

    /// A token that is not ours: a provider's, or nobody's.
    async fn of_provider(
        authority: &Authority,
        token: &str,
        invalid: &Invalid,
        names: &Parameters,
    ) -> Result<Self, ExchangeError> {
        let refused = |reason: String| ExchangeError::Shown { name: names.token, reason };
        let claimed = ForeignToken::claimed_issuer(token);
        let Some(provider) = claimed.and_then(|issuer| authority.providers.find(&issuer).cloned()) else {
            return Err(refused(invalid.to_string()));
        };
        let mut verified = provider.verify(token, authority.now());
        if matches!(verified, Err(Refused::UnknownKey | Refused::NoKeys)) {
            provider.wait_for_keys().await;
            verified = provider.verify(token, authority.now());
        }
        let outsider = verified.map_err(|error| match error {
            Refused::NoKeys => ExchangeError::Keys(names.token),
            other => refused(other.to_string()),
        })?;
        let name = outsider.principal.id.clone();
        let holder = outsider.client.clone().filter(|_| outsider.principal.kind == PrincipalKind::User);
        Ok(Self {
            holders: vec![name.clone()],
            name,
            actors: holder.map(Actor::new).into_iter().collect(),
            scopes: outsider.grants.scopes.clone(),
            ends: outsider.expires_at - provider.leeway(),
            parent: None,
            outside: Some(Outside { provider, outsider }),
        })
    }

    /// Who acts, by a token that was shown as the actor's.
    fn into_actor(self, rule: &TokenExchange, client: &Client) -> Result<Actor, ExchangeError> {
        if !self.actors.is_empty() || self.outside.as_ref().is_some_and(|outside| outside.outsider.is_acted_for) {
            return Err(ExchangeError::ActorForOthers);
        }
        if self.name == client.id {
            return Ok(Actor::new(self.name));
        }
        if !rule.takes_actor(&self.name) {
            return Err(ExchangeError::Actor);
        }
        Ok(Actor { sub: self.name, client_id: Some(client.id.clone()) })
    }
}

impl Outside {
    /// Makes sure that this may be handed on to this client for this actor.
    fn check(&self, authority: &Authority, client: &Client, actor: &Actor) -> Result<(), ExchangeError> {
        let outsider = &self.outsider;
        if outsider.is_acted_for {
            return Err(ExchangeError::OutsideActors);
        }
        if outsider.may_act.as_ref().is_some_and(|claim| !self.lets_act(claim, authority, actor)) {
            return Err(ExchangeError::MayAct);
        }
        let is_another_user = |user| Some(user) != client.backend_user.as_ref();
        if outsider.backend_roles.is_some() || outsider.backend_users.iter().any(is_another_user) {
            return Err(ExchangeError::OwnIdentity);
        }
        Ok(())
    }

    /// Whether `may_act` means this actor. A name is one of the provider's, unless the claim says that it is ours; a claim that says
    /// more than is understood here means nobody.
    fn lets_act(&self, claim: &Value, authority: &Authority, actor: &Actor) -> bool {
        let Some(claim) = claim.as_object() else { return false };
        if claim.keys().any(|member| member != "sub" && member != "iss") {
            return false;
        }
        let Some(sub) = claim.get("sub").and_then(Value::as_str) else { return false };
        match claim.get("iss") {
            None => actor.sub == format!("{}/{sub}", self.provider.name()),
            Some(issuer) if issuer == self.provider.issuer() => actor.sub == format!("{}/{sub}", self.provider.name()),
            Some(issuer) => issuer == authority.settings.issuer.as_str() && actor.sub == sub,
        }
    }

    /// What of the scopes can be handed on: those that are held to nothing. Rows and fields come from the claims of this token,
    /// which the new one does not have.
    fn scopes(&self, authority: &Authority, requested: Option<&str>) -> Result<ScopeSet, ExchangeError> {
        let grants = &self.outsider.grants;
        if grants.restrictions.is_empty() {
            return Ok(grants.scopes.clone());
        }
        if let Some(requested) = requested
            && let Ok(requested) = authority.parse_scopes(requested)
            && grants.restrictions.of(&requested).map_or(true, |held| !held.is_empty())
        {
            return Err(ExchangeError::Restricted);
        }
        let free = grants.scopes.iter().filter(|scope| grants.restrictions.restriction(scope).is_none());
        let free =
            ScopeSet::collect(free.map(Scope::as_str), &authority.settings.clusters).map_err(IssueError::Scope)?;
        if free.is_empty() { Err(ExchangeError::Restricted) } else { Ok(free) }
    }
}

#[cfg(test)]
#[path = "token_exchange_tests.rs"]
mod tests;
