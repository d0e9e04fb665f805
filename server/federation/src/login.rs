//! Persons who log in at a provider (OpenID Connect Core section 3.1): where their browser is sent, and what comes of the code
//! it brings back.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use oauth4os_config::{ProviderConfig, ProviderLogin, RightsFrom};
use oauth4os_tokens::clock::{Clock, UnixTime};
use oauth4os_tokens::jose::{ForeignToken, json_object};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::address::Trust;
use crate::fetch::{FetchError, Fetcher};
use crate::provider::Provider;
use crate::verify::{Refused, audiences};

/// How long the provider's word on where its endpoints are is gone by.
const ENDPOINTS_KEPT: Duration = Duration::from_secs(900);

/// How persons log in at one provider.
pub(crate) struct Login {
    issuer: String,
    client_id: String,
    secret: Option<SecretString>,
    title: String,
    scope: String,
    rights_from: RightsFrom,
    fetcher: Fetcher,
    clock: Arc<dyn Clock>,
    endpoints: RwLock<Option<(UnixTime, Arc<Endpoints>)>>,
}

/// Where the provider's endpoints are.
struct Endpoints {
    authorization: Url,
    token: (Url, Trust),
    /// The provider names itself in every answer (RFC 9207).
    says_issuer: bool,
}

/// What was asked of a provider, without which its answer is worth nothing.
#[derive(Clone)]
pub struct Asked {
    /// Comes back with the browser.
    pub state: String,
    /// Comes back in the ID token.
    pub nonce: String,
    /// Proves that who redeems the code is who asked (RFC 7636).
    pub verifier: String,
    /// SHA-256 of the verifier, in base64url.
    pub challenge: String,
    /// Where the browser comes back to.
    pub redirect_uri: String,
}

/// A person who has just logged in.
pub struct LoggedIn {
    /// What the provider says of the person, for [`Provider::person`].
    pub claims: Map<String, Value>,
    /// With which it can be asked again ([`Provider::renew`]), if it gave one.
    pub refresh_token: Option<String>,
    /// The provider's own session, by which it ends the login.
    pub session: Option<String>,
    /// When the person proved who they are, if the provider says so.
    pub authenticated_at: Option<UnixTime>,
}

/// Why nobody is logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Nobody can log in there.
    #[error("nobody can log in at this provider")]
    NotOffered,
    /// The provider cannot be asked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The provider does not take the code.
    #[error("the provider refuses to say who has logged in (`{0}`)")]
    Provider(String),
    /// What the provider answers is no answer.
    #[error("the provider's answer cannot be used: {0}")]
    Content(&'static str),
    /// A token of the provider does not hold.
    #[error(transparent)]
    Token(#[from] Refused),
}

impl Login {
    pub(crate) fn new(
        config: &ProviderConfig,
        login: &ProviderLogin,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FetchError> {
        Ok(Self {
            issuer: config.issuer.clone(),
            client_id: login.client_id.clone(),
            secret: login.secret_value.clone(),
            title: login.title.clone().unwrap_or_else(|| config.name.clone()),
            scope: login.scopes.join(" "),
            rights_from: login.rights_from,
            fetcher: Fetcher::new(config.ca.as_deref())?,
            clock,
            endpoints: RwLock::new(None),
        })
    }

    /// Where the endpoints are: as the provider's discovery document says, of exactly this issuer.
    async fn endpoints(&self) -> Result<Arc<Endpoints>, FetchError> {
        let now = self.clock.now();
        if let Some((until, endpoints)) = &*self.endpoints.read().unwrap_or_else(PoisonError::into_inner)
            && now < *until
        {
            return Ok(Arc::clone(endpoints));
        }
        let endpoints = Arc::new(self.discover().await?);
        let until = self.clock.now() + ENDPOINTS_KEPT;
        *self.endpoints.write().unwrap_or_else(PoisonError::into_inner) = Some((until, Arc::clone(&endpoints)));
        Ok(endpoints)
    }

    /// Asks the token endpoint, as the client that the gateway is there.
    async fn ask<'f>(
        &'f self,
        endpoints: &Endpoints,
        mut form: Vec<(&'static str, &'f str)>,
    ) -> Result<Map<String, Value>, LoginError> {
        let id = encoded(&self.client_id);
        let secret = self.secret.as_ref().map(|secret| encoded(secret.expose_secret()));
        if secret.is_none() {
            form.push(("client_id", self.client_id.as_str()));
        }
        let (url, trust) = &endpoints.token;
        let basic = secret.as_deref().map(|secret| (id.as_str(), secret));
        let answer = self.fetcher.post(url, *trust, &form, basic).await?;
        let content = json_object(&answer.body).ok_or(LoginError::Content("it is not one JSON object"))?;
        if answer.status == 200 {
            return Ok(content);
        }
        if answer.status >= 500 {
            return Err(LoginError::Content("it reports a fault of its own"));
        }
        let plain =
            |code: &&str| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let code = content.get("error").and_then(Value::as_str).filter(plain).unwrap_or("an error");
        Err(LoginError::Provider(code.to_owned()))
    }

    async fn discover(&self) -> Result<Endpoints, FetchError> {
        let text =
            format!("{}/.well-known/openid-configuration", self.issuer.strip_suffix('/').unwrap_or(&self.issuer));
        let refused = |problem| FetchError::Content { url: text.clone(), problem };
        let url = Url::parse(&text).map_err(|_| refused("this is not a URL"))?;
        let fetched = self.fetcher.get(&url, Trust::Configured).await?;
        let document = json_object(&fetched.body).ok_or_else(|| refused("the document is not one JSON object"))?;
        if document.get("issuer").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(refused("the document is of another issuer"));
        }
        let place = |name: &str| document.get(name).and_then(Value::as_str).and_then(|text| Url::parse(text).ok());
        let authorization =
            place("authorization_endpoint").ok_or_else(|| refused("it has no `authorization_endpoint`"))?;
        // The browser is sent there with what only the provider may see.
        if authorization.scheme() != "https" && authorization.origin() != url.origin() {
            return Err(refused("its `authorization_endpoint` is not `https`"));
        }
        let token = place("token_endpoint").ok_or_else(|| refused("it has no `token_endpoint`"))?;
        let trust = if token.origin() == url.origin() { Trust::Configured } else { Trust::Discovered };
        let says_issuer = document.get("authorization_response_iss_parameter_supported") == Some(&Value::Bool(true));
        Ok(Endpoints { authorization, token: (token, trust), says_issuer })
    }
}

impl Provider {
    /// What people call the provider, when they can log in there.
    #[must_use]
    pub fn login_title(&self) -> Option<&str> {
        self.login.as_ref().map(|login| login.title.as_str())
    }

    fn login(&self) -> Result<&Login, LoginError> {
        self.login.as_ref().ok_or(LoginError::NotOffered)
    }

    /// Where a person's browser is sent to log in; `again` when an earlier login at the provider is not to do.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login_url(&self, asked: &Asked, again: bool, hint: Option<&str>) -> Result<String, LoginError> {
        let login = self.login()?;
        let mut url = login.endpoints().await?.authorization.clone();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", &login.client_id)
                .append_pair("redirect_uri", &asked.redirect_uri)
                .append_pair("scope", &login.scope)
                .append_pair("state", &asked.state)
                .append_pair("nonce", &asked.nonce)
                .append_pair("code_challenge", &asked.challenge)
                .append_pair("code_challenge_method", "S256");
            if again {
                query.append_pair("prompt", "login");
            }
            if let Some(hint) = hint {
                query.append_pair("login_hint", hint);
            }
        }
        Ok(url.into())
    }

    /// Makes sure that an answer is this provider's, as far as it says whose it is (RFC 9207 section 2.4).
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn check_answer(&self, issuer: Option<&str>) -> Result<(), LoginError> {
        let login = self.login()?;
        match issuer {
            Some(issuer) if issuer != login.issuer => Err(LoginError::Content("it is another provider's")),
            None if login.endpoints().await?.says_issuer => Err(LoginError::Content("it does not say whose it is")),
            _ => Ok(()),
        }
    }

    /// Who has logged in: redeems the code that the browser has brought back.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn redeem(&self, code: &str, asked: &Asked) -> Result<LoggedIn, LoginError> {
        let login = self.login()?;
        let endpoints = login.endpoints().await?;
        let form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", asked.redirect_uri.as_str()),
            ("code_verifier", asked.verifier.as_str()),
        ];
        let content = login.ask(&endpoints, form).await?;
        let told = self.told(login, &content, Some(&asked.nonce)).await?;
        // Whom it is about must be clear now, and not when the first token is asked for.
        self.person(&told.claims)?;
        Ok(told)
    }

    /// What the provider says now of a person who logged in before.
    ///
    /// # Errors
    /// [`LoginError`]; with [`LoginError::Provider`] and [`LoginError::Token`] the login is over.
    pub async fn renew(&self, refresh_token: &str, before: &Map<String, Value>) -> Result<LoggedIn, LoginError> {
        let login = self.login()?;
        let endpoints = login.endpoints().await?;
        let form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        let content = login.ask(&endpoints, form).await?;
        let told = self.told(login, &content, None).await?;
        if told.claims.get("sub") != before.get("sub") || self.who(&told.claims)? != self.who(before)? {
            return Err(Refused::TwoPersons.into());
        }
        Ok(told)
    }

    /// What an answer of the token endpoint says of a person.
    async fn told(
        &self,
        login: &Login,
        content: &Map<String, Value>,
        nonce: Option<&str>,
    ) -> Result<LoggedIn, LoginError> {
        let text = |name: &str| content.get(name).and_then(Value::as_str);
        let id_token = text("id_token").ok_or(LoginError::Content("there is no ID token in it"))?;
        let identity = self.with_keys(|now| self.id_token(login, id_token, nonce, now)).await?;
        let subject = identity.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject = subject.ok_or_else(|| Refused::Missing("sub".to_owned()))?.to_owned();
        let session = identity.get("sid").and_then(Value::as_str).map(ToOwned::to_owned);
        let authenticated_at = identity.get("auth_time").and_then(Value::as_i64).map(UnixTime::from_secs);
        let refresh_token = text("refresh_token").map(ToOwned::to_owned);
        let claims = match login.rights_from {
            RightsFrom::IdToken => identity,
            RightsFrom::AccessToken => {
                let token = text("access_token").ok_or(LoginError::Content("there is no access token in it"))?;
                self.with_keys(|now| self.verify(token, now).map(drop)).await?;
                let claims = ForeignToken::parse(token).map_err(Refused::from)?.claims;
                if claims.get("sub").and_then(Value::as_str) != Some(subject.as_str()) {
                    return Err(Refused::TwoPersons.into());
                }
                claims
            }
        };
        Ok(LoggedIn { claims, refresh_token, session, authenticated_at })
    }

    /// Looks at a token, and once more when a key was missing that the provider has.
    async fn with_keys<T>(&self, look: impl Fn(UnixTime) -> Result<T, Refused>) -> Result<T, LoginError> {
        let clock = &self.login()?.clock;
        match look(clock.now()) {
            Err(Refused::UnknownKey | Refused::NoKeys) => {
                self.wait_for_keys().await;
                Ok(look(clock.now())?)
            }
            other => Ok(other?),
        }
    }

    /// The claims of an ID token that is the answer to this login (OpenID Connect Core section 3.1.3.7).
    fn id_token(
        &self,
        login: &Login,
        token: &str,
        nonce: Option<&str>,
        now: UnixTime,
    ) -> Result<Map<String, Value>, Refused> {
        let token = ForeignToken::parse(token)?;
        if !matches!(
            token.typ.as_deref().map(str::to_ascii_lowercase).as_deref(),
            None | Some("jwt" | "application/jwt")
        ) {
            return Err(Refused::Type);
        }
        self.check_signature(&token)?;
        let claims = token.claims;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(login.issuer.as_str()) {
            return Err(Refused::Issuer);
        }
        let audiences = audiences(&claims)?;
        if !audiences.contains(&login.client_id.as_str()) {
            return Err(Refused::Audience);
        }
        match claims.get("azp") {
            None if audiences.len() > 1 => return Err(Refused::NoParty),
            Some(party) if party.as_str() != Some(login.client_id.as_str()) => return Err(Refused::Party),
            _ => {}
        }
        if !claims.contains_key("iat") {
            return Err(Refused::Missing("iat".to_owned()));
        }
        // A logout token or another event of the provider is no ID token.
        if claims.contains_key("events") {
            return Err(Refused::Type);
        }
        self.rules.check_times(&claims, now)?;
        if nonce.is_some() && text("nonce") != nonce {
            return Err(Refused::Nonce);
        }
        Ok(claims)
    }
}

/// As RFC 6749 section 2.3.1 wants ids and secrets before they go into HTTP Basic.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("redirect_uri", &self.redirect_uri).finish_non_exhaustive()
    }
}

impl fmt::Debug for LoggedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoggedIn").finish_non_exhaustive()
    }
}
