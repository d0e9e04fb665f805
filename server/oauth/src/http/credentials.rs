//! Client authentication by a secret: `client_secret_basic` and `client_secret_post` (RFC 6749 section 2.3.1).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use oauth4os_federation::AssertionRefused;

use super::form::decode;
use super::{Caller, Challenge, ErrorCode, Form, Refusal};
use crate::{Authority, Client};

/// A client's id and its secret as presented. Has no `Debug`.
pub(crate) struct Credentials {
    pub(crate) client_id: String,
    /// Empty when none was shown: only a public client is known by its id.
    secret: String,
    /// The secret as sent, where decoding changed it. RFC 6749 wants the secret percent-encoded before it goes into a
    /// Basic header; curl and many libraries do not, and secrets with `+` or `%` then read differently.
    undecoded: Option<String>,
}

/// Who asks could not be established.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientAuthError {
    /// No credentials.
    #[error(
        "the client must authenticate: send `client_id` and `client_secret` with HTTP Basic or in the form, or a `client_assertion`"
    )]
    Missing,
    /// An id without secret.
    #[error("the client must prove who it is: send `client_secret` or `client_assertion` as well")]
    NoSecret,
    /// Two methods at once.
    #[error("use one way of client authentication: HTTP Basic, or `client_secret` in the form, or `client_assertion`")]
    TwoMethods,
    /// Two ids.
    #[error("the `client_id` in the form is not the one of the HTTP Basic credentials")]
    TwoIds,
    /// Two `Authorization` fields.
    #[error("there is more than one `Authorization` header")]
    TwoHeaders,
    /// Not Basic.
    #[error("clients authenticate here with HTTP Basic or with `client_secret` in the form")]
    Scheme,
    /// Not a pair of type and assertion, or of another type.
    #[error(
        "send `client_assertion` with `client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer`"
    )]
    AssertionType,
    /// Two ids.
    #[error("the `client_id` in the form is not the one of the assertion")]
    OtherId,
    /// An assertion that proves nothing.
    #[error(transparent)]
    Assertion(#[from] AssertionRefused),
    /// An assertion that has proven something before.
    #[error("the assertion was used before; make a new one, with a `jti` of its own, for each request")]
    Spent,
    /// Not the client of the connection's certificate, or no client at all.
    #[error("the client is not known, or the certificate of this connection is not its own")]
    Certificate,
    /// The store failed; the log says why.
    #[error("the gateway cannot reach its store; nothing was issued, try again")]
    Unavailable,
    /// A Basic header that cannot be read.
    #[error("the HTTP Basic credentials are not base64 of `client_id:client_secret`, each percent-encoded")]
    Malformed,
    /// Unknown client, wrong secret, disabled client: one answer.
    #[error("the client is not known, or its secret is wrong")]
    Wrong,
    /// Not from there.
    #[error("this client may not be used from this address")]
    Address,
    /// Too many wrong secrets.
    #[error("there were too many wrong secrets for this client from this address; try again later")]
    TooManyGuesses(Duration),
}

impl Credentials {
    /// The credentials of a request with a form.
    pub(crate) fn of_form(headers: &HeaderMap, form: &Form) -> Result<Self, ClientAuthError> {
        let (form_id, form_secret) = (form.get("client_id"), form.get("client_secret"));
        if let Some(header) = authorization(headers)? {
            if form_secret.is_some() {
                return Err(ClientAuthError::TwoMethods);
            }
            let credentials = Self::of_basic(basic(header).ok_or(ClientAuthError::Scheme)?)?;
            if form_id.is_some_and(|id| id != credentials.client_id) {
                return Err(ClientAuthError::TwoIds);
            }
            return Ok(credentials);
        }
        match (form_id, form_secret) {
            (Some(id), Some(secret)) => {
                Ok(Self { client_id: id.to_owned(), secret: secret.to_owned(), undecoded: None })
            }
            (Some(_), None) => Err(ClientAuthError::NoSecret),
            (None, _) => Err(ClientAuthError::Missing),
        }
    }

    /// The same, or the id alone, with which a public client says who it is (RFC 6749 section 3.2.1).
    pub(crate) fn of_client(headers: &HeaderMap, form: &Form) -> Result<Self, ClientAuthError> {
        match (Self::of_form(headers, form), form.get("client_id")) {
            (Err(ClientAuthError::NoSecret), Some(id)) if authorization(headers)?.is_none() => {
                Ok(Self { client_id: id.to_owned(), secret: String::new(), undecoded: None })
            }
            (result, _) => result,
        }
    }

    /// The credentials in what follows `Basic `.
    pub(crate) fn of_basic(encoded: &str) -> Result<Self, ClientAuthError> {
        let plain = STANDARD.decode(encoded).map_err(|_| ClientAuthError::Malformed)?;
        let plain = String::from_utf8(plain).map_err(|_| ClientAuthError::Malformed)?;
        let (id, secret) = plain.split_once(':').ok_or(ClientAuthError::Malformed)?;
        let client_id = decode(id.as_bytes()).ok_or(ClientAuthError::Malformed)?;
        if client_id.is_empty() {
            return Err(ClientAuthError::Missing);
        }
        if secret.is_empty() {
            return Err(ClientAuthError::NoSecret);
        }
        let (secret, undecoded) = match decode(secret.as_bytes()) {
            Some(decoded) if decoded == secret => (decoded, None),
            Some(decoded) => (decoded, Some(secret.to_owned())),
            None => (secret.to_owned(), None),
        };
        Ok(Self { client_id, secret, undecoded })
    }

    /// The client these are the credentials of.
    pub(crate) fn authenticate(&self, authority: &Authority, caller: &Caller) -> Result<Arc<Client>, ClientAuthError> {
        self.prove(authority, caller.address)
    }

    /// As [`authenticate`](Self::authenticate), for credentials that come from this address. Answered from memory.
    pub(crate) fn prove(&self, authority: &Authority, address: Option<IpAddr>) -> Result<Arc<Client>, ClientAuthError> {
        let (id, now) = (self.client_id.as_str(), authority.now());
        if self.secret.is_empty() {
            let public = authority.clients.get(id).filter(|client| client.enabled && client.is_public());
            let client = public.ok_or(ClientAuthError::NoSecret)?;
            return if client.may_come_from(address) { Ok(client) } else { Err(ClientAuthError::Address) };
        }
        if let Some(wait) = authority.guesses.wait(id, address, now) {
            return Err(ClientAuthError::TooManyGuesses(wait));
        }
        let decoded = authority.clients.authenticate(id, &self.secret);
        let undecoded = self.undecoded.as_ref().and_then(|secret| authority.clients.authenticate(id, secret));
        let client = decoded.or(undecoded).ok_or_else(|| {
            authority.guesses.wrong(id, address, now);
            ClientAuthError::Wrong
        })?;
        if client.may_come_from(address) { Ok(client) } else { Err(ClientAuthError::Address) }
    }
}

impl From<ClientAuthError> for Refusal {
    fn from(error: ClientAuthError) -> Self {
        match error {
            ClientAuthError::Unavailable | ClientAuthError::Assertion(AssertionRefused::NoKeys) => {
                Self::new(ErrorCode::TemporarilyUnavailable, error).after(Duration::from_secs(1))
            }
            ClientAuthError::TwoMethods
            | ClientAuthError::TwoIds
            | ClientAuthError::OtherId
            | ClientAuthError::AssertionType
            | ClientAuthError::TwoHeaders
            | ClientAuthError::Malformed => Self::new(ErrorCode::InvalidRequest, error),
            ClientAuthError::Missing
            | ClientAuthError::NoSecret
            | ClientAuthError::Scheme
            | ClientAuthError::Assertion(_)
            | ClientAuthError::Spent
            | ClientAuthError::Certificate
            | ClientAuthError::Address
            | ClientAuthError::Wrong => Self::new(ErrorCode::InvalidClient, error).challenging(Challenge::Basic),
            ClientAuthError::TooManyGuesses(wait) => Self::new(ErrorCode::TooManyGuesses, error).after(wait),
        }
    }
}

/// The one `Authorization` field.
pub(super) fn authorization(headers: &HeaderMap) -> Result<Option<&str>, ClientAuthError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(None),
        (Some(field), None) => field.to_str().map(Some).map_err(|_| ClientAuthError::Malformed),
        (Some(_), Some(_)) => Err(ClientAuthError::TwoHeaders),
    }
}

/// Whether a request has an `Authorization` field, of whatever kind.
pub(crate) fn has_authorization(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION)
}

/// What follows `Basic `, when that is how the request authenticates.
pub(crate) fn basic_credentials(headers: &HeaderMap) -> Result<Option<&str>, ClientAuthError> {
    Ok(authorization(headers)?.and_then(basic))
}

fn basic(field: &str) -> Option<&str> {
    scheme(field, "Basic")
}

/// What follows a scheme and exactly one space. Schemes are compared without regard to case (RFC 9110 section 11.1).
pub(super) fn scheme<'a>(field: &'a str, name: &str) -> Option<&'a str> {
    field.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case(name)).map(|(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_basic(plain: &str) -> Result<(String, String, Option<String>), ClientAuthError> {
        Credentials::of_basic(&STANDARD.encode(plain))
            .map(|credentials| (credentials.client_id, credentials.secret, credentials.undecoded))
    }

    #[test]
    fn basic_credentials_are_decoded_after_splitting() {
        let read = |id: &str, secret: &str, undecoded: Option<&str>| {
            Ok((id.to_owned(), secret.to_owned(), undecoded.map(ToOwned::to_owned)))
        };
        assert_eq!(of_basic("shipper:abc"), read("shipper", "abc", None));
        assert_eq!(of_basic("ship%2Dper:a:b"), read("ship-per", "a:b", None));
        assert_eq!(of_basic("x:a%3Ab"), read("x", "a:b", Some("a%3Ab")));
        assert_eq!(of_basic("x:a+b"), read("x", "a b", Some("a+b")));
        assert_eq!(of_basic("x:100%"), read("x", "100%", None));
        assert_eq!(of_basic("x%3Ay:z"), read("x:y", "z", None));
    }

    #[test]
    fn basic_credentials_that_are_none() {
        assert_eq!(of_basic("x"), Err(ClientAuthError::Malformed));
        assert_eq!(of_basic("%zz:x"), Err(ClientAuthError::Malformed));
        assert_eq!(of_basic(":x"), Err(ClientAuthError::Missing));
        assert_eq!(of_basic("x:"), Err(ClientAuthError::NoSecret));
        for text in ["", "é", "eA", " eDp5", "eDp5 ", "eDp5=", "/w=="] {
            assert_eq!(Credentials::of_basic(text).err(), Some(ClientAuthError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn a_scheme_is_followed_by_one_space() {
        assert_eq!(scheme("basic x", "Basic"), Some("x"));
        assert_eq!(scheme("Basic  x", "Basic"), Some(" x"));
        assert_eq!(scheme("Basic\tx", "Basic"), None);
        assert_eq!(scheme("Basic", "Basic"), None);
        assert_eq!(scheme("Basicx x", "Basic"), None);
    }
}
