//! What a client asks at the authorization endpoint (RFC 6749 section 4.1.1, RFC 7636 section 4.3).

use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::html::see_other;
use crate::Authority;
use crate::http::{ErrorCode, Form, FormError};

/// A request whose client and redirect URI are proven, and that can be answered.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) challenge: String,
    pub(crate) prompt: Option<Prompt>,
    pub(crate) max_age: Option<u64>,
    pub(crate) login_hint: Option<String>,
}

/// OpenID Connect Core section 3.1.2.1.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Prompt {
    None,
    Login,
    Consent,
}

/// Why a request is not answered.
pub(crate) enum Fault {
    /// It is not clear where an answer may go: it stays here.
    Page(String),
    /// The client is told.
    Client(Answer, ErrorCode, String),
}

/// Where an answer goes.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
}

impl From<FormError> for Fault {
    fn from(error: FormError) -> Self {
        Self::Page(error.to_string())
    }
}

impl AuthorizationRequest {
    /// Reads a request. Nothing goes to a redirect URI that is not the client's.
    pub(crate) fn of(authority: &Authority, form: &Form) -> Result<Self, Fault> {
        let page = |sentence: &str| Fault::Page(sentence.to_owned());
        let client_id = form.get("client_id").ok_or_else(|| page("the parameter `client_id` is missing"))?;
        let client = authority
            .clients
            .get(client_id)
            .filter(|client| client.enabled && !client.redirect_uris.is_empty())
            .ok_or_else(|| page("there is no client of this id for which persons can log in"))?;
        let redirect_uri = form.get("redirect_uri").ok_or_else(|| page("the parameter `redirect_uri` is missing"))?;
        if !client.admits_redirect(redirect_uri) {
            return Err(page(
                "the `redirect_uri` is not one that is registered for this client, character for character",
            ));
        }
        let answer = Answer { redirect_uri: redirect_uri.to_owned(), state: form.get("state").map(ToOwned::to_owned) };
        let refuse = |code, sentence: &str| Fault::Client(answer.clone(), code, sentence.to_owned());
        let invalid = |sentence: &str| refuse(ErrorCode::InvalidRequest, sentence);
        if form.get("request").is_some() {
            return Err(refuse(ErrorCode::RequestNotSupported, "request objects are not taken; send plain parameters"));
        }
        if form.get("request_uri").is_some() {
            return Err(refuse(ErrorCode::RequestUriNotSupported, "`request_uri` is not taken; send plain parameters"));
        }
        match form.get("response_type") {
            Some("code") => {}
            Some(_) => return Err(refuse(ErrorCode::UnsupportedResponseType, "`response_type` must be `code`")),
            None => return Err(invalid("the parameter `response_type` is missing; send `response_type=code`")),
        }
        if form.get("response_mode").is_some_and(|mode| mode != "query") {
            return Err(invalid("the only `response_mode` is `query`"));
        }
        let challenge = form
            .get("code_challenge")
            .ok_or_else(|| invalid("the parameter `code_challenge` is missing: PKCE is needed (RFC 7636)"))?;
        if form.get("code_challenge_method") != Some("S256") {
            return Err(invalid("`code_challenge_method` must be `S256`"));
        }
        let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if challenge.len() != 43 || !challenge.bytes().all(is_base64url) {
            return Err(invalid("the `code_challenge` is not the SHA-256 of a verifier in base64url"));
        }
        let settings = &authority.settings;
        if form.all("resource").any(|resource| resource != settings.audience && resource != settings.issuer) {
            return Err(refuse(
                ErrorCode::InvalidTarget,
                "tokens are issued for this gateway only; leave `resource` out",
            ));
        }
        let prompt = match form.get("prompt") {
            None => None,
            Some("none") => Some(Prompt::None),
            Some("login" | "select_account" | "login consent" | "consent login") => Some(Prompt::Login),
            Some("consent") => Some(Prompt::Consent),
            Some(_) => return Err(invalid("`prompt` is one of `none`, `login`, `consent`")),
        };
        let max_age = form
            .get("max_age")
            .map(|age| age.parse().map_err(|_| invalid("`max_age` is a number of seconds")))
            .transpose()?;
        let scope = form.get("scope").map(ToOwned::to_owned);
        if answer.state.as_ref().is_some_and(|state| state.len() > 2_048) {
            return Err(invalid("the `state` is longer than 2048 bytes"));
        }
        Ok(Self {
            client_id: client.id.clone(),
            redirect_uri: answer.redirect_uri,
            state: answer.state,
            scope,
            challenge: challenge.to_owned(),
            prompt,
            max_age,
            login_hint: form.get("login_hint").filter(|hint| hint.len() <= 255).map(ToOwned::to_owned),
        })
    }

    pub(crate) fn answer(&self) -> Answer {
        Answer { redirect_uri: self.redirect_uri.clone(), state: self.state.clone() }
    }

    /// The same, as the query of another request.
    pub(crate) fn to_query(&self) -> String {
        let max_age = self.max_age.map(|age| age.to_string());
        let prompt = self.prompt.map(|prompt| match prompt {
            Prompt::None => "none",
            Prompt::Login => "login",
            Prompt::Consent => "consent",
        });
        let pairs = [
            ("response_type", Some("code")),
            ("client_id", Some(self.client_id.as_str())),
            ("redirect_uri", Some(&self.redirect_uri)),
            ("state", self.state.as_deref()),
            ("scope", self.scope.as_deref()),
            ("code_challenge", Some(&self.challenge)),
            ("code_challenge_method", Some("S256")),
            ("prompt", prompt),
            ("max_age", max_age.as_deref()),
            ("login_hint", self.login_hint.as_deref()),
        ];
        let given =
            pairs.into_iter().filter_map(|(name, value)| value.map(|value| format!("{name}={}", encoded(value))));
        given.collect::<Vec<_>>().join("&")
    }
}

impl Answer {
    /// Sends the browser to the client with these parameters, the issuer among them (RFC 9207).
    pub(crate) fn send(&self, authority: &Authority, parameters: &[(&str, &str)]) -> Response {
        let mut to = self.redirect_uri.clone();
        let mut separator = if to.contains('?') { '&' } else { '?' };
        let state = self.state.as_deref().map(|state| ("state", state));
        let issuer = ("iss", authority.settings.issuer.as_str());
        for (name, value) in parameters.iter().copied().chain(state).chain([issuer]) {
            to.push(separator);
            to.push_str(&format!("{name}={}", encoded(value)));
            separator = '&';
        }
        see_other(&to)
    }
}

/// Percent-encoded for a query.
pub(crate) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}
