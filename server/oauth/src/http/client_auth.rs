//! Client authentication at the endpoints that take forms: by a secret, by an assertion (RFC 7523 section 2.2), or by the certificate of
//! the connection (RFC 8705 section 2.1).
//!
//! A wrong assertion is not counted as a guess: nobody guesses a signature, and a client whose clock is wrong should not be
//! shut out for it.

use std::sync::Arc;

use http::HeaderMap;
use oauth4os_federation::{AssertionRefused, ClientAssertion};
use oauth4os_store::SingleUse;

use super::credentials::authorization;
use super::{Caller, ClientAuthError, Credentials, Form};
use crate::{Authority, Client};

/// The only kind of assertion that is taken.
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How the client of a form says who it is: in exactly one way. Has no `Debug`.
pub(crate) enum ClientAuth {
    /// `client_secret_basic`, `client_secret_post`.
    Secret(Credentials),
    /// `tls_client_auth`: nothing but its id, on a connection with a certificate.
    Certificate {
        /// Whom it claims to be.
        client_id: String,
        /// Whether a public client, whose connection has a certificate for other reasons, would do.
        may_be_public: bool,
    },
    /// `private_key_jwt`.
    Assertion {
        /// Whom it claims to be from.
        client_id: String,
        /// The assertion.
        text: String,
    },
}

impl ClientAuth {
    /// Reads how the client of a form authenticates.
    pub(crate) fn of_form(headers: &HeaderMap, form: &Form, caller: &Caller) -> Result<Self, ClientAuthError> {
        Self::read(headers, form, caller, false)
    }

    /// The same, or the id alone, with which a public client says who it is.
    pub(crate) fn of_client(headers: &HeaderMap, form: &Form, caller: &Caller) -> Result<Self, ClientAuthError> {
        Self::read(headers, form, caller, true)
    }

    fn read(headers: &HeaderMap, form: &Form, caller: &Caller, may_be_public: bool) -> Result<Self, ClientAuthError> {
        let (kind, text) = (form.get("client_assertion_type"), form.get("client_assertion"));
        let has_secret = authorization(headers)?.is_some() || form.get("client_secret").is_some();
        if kind.is_none() && text.is_none() {
            // A certificate may be there for other reasons, as in a mesh: it counts where nothing else is shown.
            return match form.get("client_id") {
                Some(id) if !has_secret && !caller.certificate.is_empty() => {
                    Ok(Self::Certificate { client_id: id.to_owned(), may_be_public })
                }
                _ if may_be_public => Credentials::of_client(headers, form).map(Self::Secret),
                _ => Credentials::of_form(headers, form).map(Self::Secret),
            };
        }
        if has_secret {
            return Err(ClientAuthError::TwoMethods);
        }
        let (Some(ASSERTION_TYPE), Some(text)) = (kind, text) else {
            return Err(ClientAuthError::AssertionType);
        };
        let client_id = ClientAssertion::parse(text)?.client_id().to_owned();
        if form.get("client_id").is_some_and(|id| id != client_id) {
            return Err(ClientAuthError::OtherId);
        }
        Ok(Self::Assertion { client_id, text: text.to_owned() })
    }

    /// Whom it claims to be.
    pub(crate) fn client_id(&self) -> &str {
        match self {
            Self::Secret(credentials) => &credentials.client_id,
            Self::Assertion { client_id, .. } | Self::Certificate { client_id, .. } => client_id,
        }
    }

    /// The client, once it is proven. An assertion is used up by it.
    pub(crate) async fn authenticate(
        &self,
        authority: &Authority,
        caller: &Caller,
    ) -> Result<Arc<Client>, ClientAuthError> {
        match self {
            Self::Secret(credentials) => credentials.authenticate(authority, caller),
            Self::Assertion { client_id, text } => by_assertion(authority, caller, client_id, text).await,
            Self::Certificate { client_id, may_be_public } => {
                by_certificate(authority, caller, client_id, *may_be_public)
            }
        }
    }
}

/// A certificate with the names of two clients is neither's, as on the data plane.
fn by_certificate(
    authority: &Authority,
    caller: &Caller,
    client_id: &str,
    may_be_public: bool,
) -> Result<Arc<Client>, ClientAuthError> {
    let mut owners = authority.clients.of_certificate(&caller.certificate);
    let client = match (owners.pop(), owners.is_empty()) {
        (Some(only), true) if only.id == client_id && only.enabled => only,
        _ => authority
            .clients
            .get(client_id)
            .filter(|client| may_be_public && client.enabled && client.is_public())
            .ok_or(ClientAuthError::Certificate)?,
    };
    if client.may_come_from(caller.address) { Ok(client) } else { Err(ClientAuthError::Address) }
}

async fn by_assertion(
    authority: &Authority,
    caller: &Caller,
    client_id: &str,
    text: &str,
) -> Result<Arc<Client>, ClientAuthError> {
    let client = authority.clients.get(client_id).filter(|client| client.enabled);
    let client = client.ok_or(AssertionRefused::NotProven)?;
    let keys = client.keys.as_ref().ok_or(AssertionRefused::NotProven)?;
    let verify = || ClientAssertion::parse(text)?.verify(keys, &authority.settings.issuer, authority.now());
    let once = match verify() {
        Err(AssertionRefused::UnknownKey | AssertionRefused::NoKeys) if keys.wait().await => verify(),
        verified => verified,
    };
    let once = once.map_err(|refused| match refused {
        // Whether a client has such a key is nobody's business.
        AssertionRefused::UnknownKey => AssertionRefused::NotProven,
        other => other,
    })?;
    if !client.may_come_from(caller.address) {
        return Err(ClientAuthError::Address);
    }
    match authority.store.spend(SingleUse { id: once.id, expires_at: once.until }).await {
        Ok(true) => Ok(client),
        Ok(false) => Err(ClientAuthError::Spent),
        Err(error) => {
            tracing::error!(%error, "the store failed");
            Err(ClientAuthError::Unavailable)
        }
    }
}

#[cfg(test)]
#[path = "client_auth_tests.rs"]
mod tests;
