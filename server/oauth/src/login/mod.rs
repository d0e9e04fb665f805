//! Persons who log in at a provider and let a client act for them.
//!
//! ```text
//! /oauth/authorize ──▶ the provider ──▶ /oauth/callback/{provider} ──▶ /oauth/consent ──▶ the client, with a code
//! ```
//!
//! What has to be known between two steps is kept in the store, sealed, for ten minutes, and found by a random value of which the
//! store has the hash. A login that is under way belongs to one browser (a cookie) and one provider, and is taken up once.

mod cookies;
mod html;
mod pages;
mod renew;
mod requests;
mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue, StatusCode};
use oauth4os_federation::{Asked, LoginError, Outsider, Provider};
use oauth4os_policy::{RestrictionError, Scope, ScopeError, ScopeSet};
use oauth4os_store::{Consent, Family, Login, SecretHash, StoreError, Ticket, TicketKind};
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::{NoRandomness, constant_time_eq, random_id, sha256};
use serde::{Deserialize, Serialize};

pub(crate) use self::cookies::CookieValue;
pub(crate) use self::html::see_other;
pub(crate) use self::pages::{account, ask, choose, failed, logged_out};
pub(crate) use self::renew::{Renewals, Said, can_renew, renew};
pub(crate) use self::requests::{AuthorizationRequest, Fault, Prompt};
pub(crate) use self::words::Words;
use crate::authority::PersonError;
use crate::http::{Caller, ErrorCode};
use crate::{Authority, Client, LoggedInPerson, paths};

/// How long a person has for each step.
const UNDER_WAY: Duration = Duration::from_secs(600);
/// How long a code is good (RFC 6749 section 4.1.2 says ten minutes at most).
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// A browser that was here so lately need not be remembered again.
const SEEN: Duration = Duration::from_secs(30);

/// How far the provider's clock may be from ours, in seconds.
const CLOCKS: u64 = 30;

/// A browser is at a provider.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    provider: String,
    nonce: String,
    verifier: String,
    browser: [u8; 32],
    /// What goes on afterwards; none when the person wants to see the account.
    request: Option<AuthorizationRequest>,
}

/// A person is asked.
#[derive(Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) login: String,
    pub(crate) request: AuthorizationRequest,
    /// What is asked for and can be had.
    pub(crate) scope: String,
    /// What is asked for and the person does not have.
    pub(crate) left_out: String,
}

/// Why a person gets no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PersonalError {
    #[error("nobody can log in at this gateway by that name of a provider")]
    NoProvider,
    #[error(
        "the login has ended, was taken up before, or was begun in another browser; begin again where you came from"
    )]
    NotUnderWay,
    #[error("the provider reports `{0}`")]
    Refused(String),
    #[error("the form is not from a page that this gateway has shown to you; go back and load the page again")]
    ForeignForm,
    #[error(transparent)]
    Provider(#[from] LoginError),
    #[error(transparent)]
    Person(#[from] PersonError),
    #[error(transparent)]
    Restriction(#[from] RestrictionError),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PersonalError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoProvider => StatusCode::NOT_FOUND,
            Self::Provider(LoginError::Fetch(_)) => StatusCode::BAD_GATEWAY,
            Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Randomness(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ForeignForm => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// The scopes of `asked` that are within `rights`, and those of `rights` that are within `asked`: what both have.
pub(crate) fn permitted(authority: &Authority, asked: &ScopeSet, rights: &ScopeSet) -> Result<ScopeSet, ScopeError> {
    let is_in =
        |scope: &Scope, set: &ScopeSet| authority.parse_scopes(scope.as_str()).is_ok_and(|scope| scope.is_within(set));
    let whole = asked.iter().filter(|scope| is_in(scope, rights));
    let parts = rights.iter().filter(|scope| is_in(scope, asked));
    ScopeSet::collect(whole.chain(parts).map(Scope::as_str), &authority.settings.clusters)
}

/// The login of the browser that sends this request, unless it was idle for too long.
pub(crate) async fn of_browser(
    authority: &Authority,
    headers: &HeaderMap,
) -> Result<Option<(CookieValue, Login)>, StoreError> {
    let Some(cookie) = cookies::logged_in(headers) else { return Ok(None) };
    let Some(login) = authority.store.login_of_browser(&cookie.hash()).await? else { return Ok(None) };
    let now = authority.now();
    let idle = now.since(login.seen_at);
    if idle > authority.settings.session_idle {
        return Ok(None);
    }
    if idle > SEEN {
        authority.store.login_seen(&login.id, now).await?;
    }
    Ok(Some((cookie, login)))
}

/// Sends the browser to a provider.
pub(crate) async fn begin(
    authority: &Authority,
    provider: &Provider,
    headers: &HeaderMap,
    request: Option<AuthorizationRequest>,
) -> Result<Response, PersonalError> {
    let cookie = match cookies::under_way(headers) {
        Some(cookie) => cookie,
        None => CookieValue::generate()?,
    };
    let verifier = format!("{}{}", random_id("")?, random_id("")?);
    let asked = Asked {
        state: format!("{}{}", random_id("")?, random_id("")?),
        nonce: random_id("")?,
        challenge: URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())),
        verifier,
        redirect_uri: callback_uri(authority, provider.name()),
    };
    let again =
        request.as_ref().is_some_and(|request| request.prompt == Some(Prompt::Login) || request.max_age.is_some());
    let hint = request.as_ref().and_then(|request| request.login_hint.clone());
    let url = provider.login_url(&asked, again, hint.as_deref()).await?;
    let under_way = UnderWay {
        provider: provider.name().to_owned(),
        nonce: asked.nonce,
        verifier: asked.verifier,
        browser: *cookie.hash().as_bytes(),
        request,
    };
    keep(authority, TicketKind::Login, &asked.state, &under_way).await?;
    Ok(with_cookie(see_other(&url), cookies::set_under_way(&cookie)))
}

/// The person is back from the provider: logged in, and off to what was asked for.
pub(crate) async fn come_back(
    authority: &Arc<Authority>,
    caller: &Caller,
    headers: &HeaderMap,
    provider: &str,
    form: &crate::http::Form,
) -> Result<Response, PersonalError> {
    let provider = authority.providers.named(provider).ok_or(PersonalError::NoProvider)?;
    let state = form.get("state").ok_or(PersonalError::NotUnderWay)?;
    let taken = authority.store.take_ticket(TicketKind::Login, &SecretHash::of(state)).await?;
    let under_way: UnderWay =
        taken.and_then(|content| serde_json::from_slice(&content).ok()).ok_or(PersonalError::NotUnderWay)?;
    let is_this_browser = cookies::under_way(headers)
        .is_some_and(|cookie| constant_time_eq(cookie.hash().as_bytes(), &under_way.browser));
    // A login that was begun at one provider does not end at another (RFC 9700 section 4.4).
    if !is_this_browser || under_way.provider != provider.name() {
        return Err(PersonalError::NotUnderWay);
    }
    provider.check_answer(form.get("iss")).await?;
    if let Some(error) = form.get("error") {
        if let Some(request) = &under_way.request {
            let reason = ("error_description", "the person did not log in at the provider");
            return Ok(request.answer().send(authority, &[("error", ErrorCode::AccessDenied.as_str()), reason]));
        }
        return Err(PersonalError::Refused(error.chars().take(64).collect()));
    }
    let code = form.get("code").ok_or(PersonalError::NotUnderWay)?;
    let asked = Asked {
        state: String::new(),
        nonce: under_way.nonce,
        verifier: under_way.verifier,
        challenge: String::new(),
        redirect_uri: callback_uri(authority, provider.name()),
    };
    let logged_in = provider.redeem(code, &asked).await?;
    // Another value than before: nobody who has put one there is logged in now.
    let cookie = CookieValue::generate()?;
    let now = authority.now();
    let outsider = provider.person(&logged_in.claims).map_err(LoginError::from)?;
    let login = Login {
        id: random_id("ses_")?,
        browser: cookie.hash(),
        provider: provider.name().to_owned(),
        user: outsider.principal.id.clone(),
        provider_session: logged_in.session,
        content: Said { claims: logged_in.claims, refresh_token: logged_in.refresh_token }.to_bytes(),
        // The provider's clock may be ahead of ours.
        authenticated_at: logged_in.authenticated_at.map_or(now, |at| if at > now { now } else { at }),
        seen_at: now,
        ends_at: now + authority.settings.session_lifetime,
    };
    start(authority, caller, provider, login.clone(), outsider).await?;
    if let Some((_, before)) = of_browser(authority, headers).await?
        && before.user != login.user
    {
        authority.end_login(&before.id).await?;
    }
    let next = match under_way.request {
        // The provider was asked to have the person prove it anew, and need not have done so.
        Some(request) if request.max_age.is_some_and(|most| is_older(&login, most.saturating_add(CLOCKS), now)) => {
            let reason = ("error_description", "the person logged in at the provider too long ago");
            request.answer().send(authority, &[("error", ErrorCode::LoginRequired.as_str()), reason])
        }
        Some(request) => go_on(authority, caller, &login, request).await?,
        None => see_other(&authority.url(paths::ACCOUNT)),
    };
    Ok(with_cookie(next, cookies::set_logged_in(&cookie)))
}

fn is_older(login: &Login, seconds: u64, now: UnixTime) -> bool {
    now.since(login.authenticated_at) > Duration::from_secs(seconds)
}

/// Keeps a login, and puts it in force: also when the caller hangs up meanwhile.
async fn start(
    authority: &Arc<Authority>,
    caller: &Caller,
    provider: &Arc<Provider>,
    login: Login,
    outsider: Outsider,
) -> Result<(), StoreError> {
    let (authority, caller, provider) = (Arc::clone(authority), caller.clone(), Arc::clone(provider));
    let work = async move {
        authority.store.start_login(login.clone()).await?;
        let person = LoggedInPerson { provider, outsider, ends_at: login.ends_at };
        authority.logins.logged_in(&login.id, person);
        let mut event = caller.event(authority.now(), "person.logged_in", "allow");
        event.user = Some(&login.user);
        event.provider = Some(&login.provider);
        authority.audit.record(&event);
        Ok(())
    };
    crate::authority::to_the_end(work).await.unwrap_or(Err(StoreError::Closed))
}

/// What a person who is logged in gets for a request: a code, a question, or a refusal that the client is told.
pub(crate) async fn go_on(
    authority: &Arc<Authority>,
    caller: &Caller,
    login: &Login,
    request: AuthorizationRequest,
) -> Result<Response, PersonalError> {
    let answer = request.answer();
    let refuse = |code: ErrorCode, sentence: &str| {
        Ok(answer.send(authority, &[("error", code.as_str()), ("error_description", sentence)]))
    };
    let Some(client) = authority.clients.get(&request.client_id).filter(|client| client.enabled) else {
        return refuse(ErrorCode::UnauthorizedClient, "the client is not there any more");
    };
    let person = authority.person(login)?;
    let asked = match request.scope.as_deref().map(|scope| authority.parse_scopes(scope)) {
        None => client.scopes.clone(),
        Some(Ok(asked)) => asked,
        Some(Err(error)) => {
            let sentence = crate::http::Refusal::new(ErrorCode::InvalidScope, error).description;
            return refuse(ErrorCode::InvalidScope, &sentence);
        }
    };
    let beyond = asked
        .iter()
        .find(|scope| !authority.parse_scopes(scope.as_str()).is_ok_and(|scope| scope.is_within(&client.scopes)));
    if beyond.is_some() {
        return refuse(ErrorCode::InvalidScope, "a scope goes beyond what the client is registered for");
    }
    let rights = &person.outsider.grants;
    let scopes = permitted(authority, &asked, &rights.scopes)?;
    if scopes.is_empty() {
        return refuse(ErrorCode::AccessDenied, "the person has none of the scopes that are asked for");
    }
    if let Err(error) = client.restrictions.of_both(&rights.restrictions, &scopes) {
        let sentence = crate::http::Refusal::new(ErrorCode::InvalidScope, error).description;
        return refuse(ErrorCode::InvalidScope, &sentence);
    }
    if request.prompt != Some(Prompt::Consent) && is_remembered(authority, &client, login, &request, &scopes).await? {
        return give_code(authority, caller, login, &request, &scopes.to_string()).await;
    }
    if request.prompt == Some(Prompt::None) {
        return refuse(ErrorCode::ConsentRequired, "the person has to be asked, and `prompt=none` forbids it");
    }
    let missing = asked
        .iter()
        .filter(|scope| !authority.parse_scopes(scope.as_str()).is_ok_and(|scope| scope.is_within(&rights.scopes)));
    let left_out = missing.map(Scope::as_str).collect::<Vec<_>>().join(" ");
    let id = format!("{}{}", random_id("")?, random_id("")?);
    let question = Question { login: login.id.clone(), request, scope: scopes.to_string(), left_out };
    keep(authority, TicketKind::Consent, &id, &question).await?;
    Ok(see_other(&format!("{}?id={id}", authority.url(paths::CONSENT))))
}

/// Whether the person has allowed all of it before. Where anybody on the person's machine could answer as the client, it is asked
/// each time (RFC 8252 section 8.6).
async fn is_remembered(
    authority: &Authority,
    client: &Client,
    login: &Login,
    request: &AuthorizationRequest,
    scopes: &ScopeSet,
) -> Result<bool, StoreError> {
    if client.is_public() && !request.redirect_uri.starts_with("https://") {
        return Ok(false);
    }
    let consent = authority.store.consent(&login.user, &client.id).await?;
    let Some(allowed) = consent.and_then(|consent| authority.parse_scopes(&consent.scope).ok()) else {
        return Ok(false);
    };
    Ok(scopes.iter().all(|scope| allowed.iter().any(|other| other.as_str() == scope.as_str())))
}

/// The question of a page that this browser was shown.
pub(crate) async fn question(
    authority: &Authority,
    headers: &HeaderMap,
    id: &str,
) -> Result<(CookieValue, Login, Question), PersonalError> {
    let (cookie, login) = of_browser(authority, headers).await?.ok_or(PersonalError::NotUnderWay)?;
    let kept = authority.store.ticket(TicketKind::Consent, &SecretHash::of(id)).await?;
    let question: Question =
        kept.and_then(|content| serde_json::from_slice(&content).ok()).ok_or(PersonalError::NotUnderWay)?;
    if question.login != login.id {
        return Err(PersonalError::NotUnderWay);
    }
    Ok((cookie, login, question))
}

/// The person has answered: the client gets a code, or is told that it gets none.
pub(crate) async fn answered(
    authority: &Arc<Authority>,
    caller: &Caller,
    login: &Login,
    id: &str,
    allow: bool,
) -> Result<Response, PersonalError> {
    let taken = authority.store.take_ticket(TicketKind::Consent, &SecretHash::of(id)).await?;
    let question: Question =
        taken.and_then(|content| serde_json::from_slice(&content).ok()).ok_or(PersonalError::NotUnderWay)?;
    let request = question.request;
    let mut event = caller.event(authority.now(), "consent", if allow { "allow" } else { "deny" });
    event.client = Some(&request.client_id);
    event.user = Some(&login.user);
    event.scopes = Some(&question.scope);
    authority.audit.record(&event);
    if !allow {
        let reason = ("error_description", "the person does not allow it");
        return Ok(request.answer().send(authority, &[("error", ErrorCode::AccessDenied.as_str()), reason]));
    }
    let before = authority.store.consent(&login.user, &request.client_id).await?;
    let before = before.and_then(|consent| authority.parse_scopes(&consent.scope).ok()).unwrap_or_default();
    let both = before.iter().map(Scope::as_str).chain(question.scope.split(' '));
    // More than one list can hold: what was allowed now counts.
    let scope = ScopeSet::collect(both, &authority.settings.clusters)
        .map_or_else(|_| question.scope.clone(), |both| both.to_string());
    let consent =
        Consent { user: login.user.clone(), client_id: request.client_id.clone(), scope, created_at: authority.now() };
    authority.store.keep_consent(consent).await?;
    give_code(authority, caller, login, &request, &question.scope).await
}

async fn give_code(
    authority: &Arc<Authority>,
    caller: &Caller,
    login: &Login,
    request: &AuthorizationRequest,
    scope: &str,
) -> Result<Response, PersonalError> {
    let code = format!("{}{}", random_id("code_")?, random_id("")?);
    let now = authority.now();
    let family = Family {
        id: random_id("fam_")?,
        login_id: login.id.clone(),
        client_id: request.client_id.clone(),
        user: login.user.clone(),
        scope: scope.to_owned(),
        code: SecretHash::of(&code),
        challenge: request.challenge.clone(),
        redirect_uri: request.redirect_uri.clone(),
        code_ends_at: now + CODE_LIFETIME,
    };
    authority.store.start_family(family).await?;
    let mut event = caller.event(now, "code.issued", "allow");
    event.client = Some(&request.client_id);
    event.user = Some(&login.user);
    event.scopes = Some(scope);
    authority.audit.record(&event);
    Ok(request.answer().send(authority, &[("code", &code)]))
}

/// Makes sure that a form comes from a page of ours in this browser: its token is the cookie's, and no other site sent it.
pub(crate) fn check_form(
    authority: &Authority,
    headers: &HeaderMap,
    cookie: &CookieValue,
    form: &crate::http::Form,
) -> Result<(), PersonalError> {
    let token = form.get("form_token").unwrap_or_default();
    let is_ours = constant_time_eq(token.as_bytes(), cookie.form_token().as_bytes());
    // Browsers send `null` from a page whose address is kept secret, as ours are.
    let from = headers.get(http::header::ORIGIN).map(HeaderValue::as_bytes);
    let is_from_here = from.is_none_or(|origin| origin == authority.settings.issuer.as_bytes() || origin == b"null");
    if is_ours && is_from_here { Ok(()) } else { Err(PersonalError::ForeignForm) }
}

/// Forgets the login in this browser.
pub(crate) fn forgetting(response: Response) -> Response {
    with_cookie(response, cookies::forget_logged_in())
}

fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

async fn keep(
    authority: &Authority,
    kind: TicketKind,
    name: &str,
    content: &impl Serialize,
) -> Result<(), PersonalError> {
    // Plain data always has a JSON form.
    let content = serde_json::to_vec(content).map_err(|_| PersonalError::NotUnderWay)?;
    let ticket = Ticket { kind, hash: SecretHash::of(name), content, ends_at: authority.now() + UNDER_WAY };
    Ok(authority.store.keep_ticket(ticket).await?)
}

fn callback_uri(authority: &Authority, provider: &str) -> String {
    authority.url(&paths::CALLBACK.replace("{provider}", provider))
}
