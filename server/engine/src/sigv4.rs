//! The driver `sigv4`: requests signed as one principal of AWS (Signature Version 4), for managed OpenSearch.
//!
//! What is signed is the request line as it is sent, the `Host` it is sent to, the hash of the whole body, and the time. The target
//! is not rewritten: path and query are brought into the form of the standard for the signature only, so that what was decided on
//! is what is sent, and a service that reads it otherwise finds that the signature does not fit.

mod canonical;
mod keys;
mod time;

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use oauth4os_config::Sigv4;
use oauth4os_tokens::clock::UnixTime;
use secrecy::ExposeSecret;

use self::canonical::hex;
use self::keys::Keys;
pub use self::keys::{Look, Looked};
use self::time::Stamp;
use crate::identity::HandedIdentity;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Signs requests.
pub struct Signer {
    settings: Sigv4,
    keys: ArcSwap<Keys>,
}

/// What of a request is signed.
#[derive(Clone, Copy, Debug)]
pub struct Signable<'a> {
    /// The method.
    pub method: &'a str,
    /// Path and query as they are sent.
    pub target: &'a str,
    /// What `Host` says.
    pub authority: &'a str,
    /// [`payload_hash`] of the whole body.
    pub payload: &'a str,
}

/// A request cannot be signed, so it is not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// The keys have ended, and no others are there.
    #[error("the keys that requests to the engine are signed with have expired; nothing was passed on")]
    Expired,
    /// Signer and service could read the target in two ways.
    #[error("{0}")]
    Target(&'static str),
    /// The keys cannot be read.
    #[error("the keys that requests to the engine are signed with cannot be used: {0}")]
    Keys(String),
}

/// What a signature says of a body: its SHA-256.
#[must_use]
pub fn payload_hash(body: &[u8]) -> String {
    hex(digest(&SHA256, body).as_ref())
}

impl Signer {
    /// Reads the keys.
    ///
    /// # Errors
    /// [`SigningError::Keys`].
    pub fn load(settings: &Sigv4) -> Result<Self, SigningError> {
        let keys = Keys::read(settings).map_err(SigningError::Keys)?;
        Ok(Self { settings: settings.clone(), keys: ArcSwap::from_pointee(keys) })
    }

    /// Looks whether the keys have changed. They are taken into use when two looks in a row have found the same: of keys in several
    /// files some may be replaced before others.
    ///
    /// # Errors
    /// [`SigningError::Keys`]; those before stay in use.
    pub fn look(&self, look: &mut Look) -> Result<Looked, SigningError> {
        let found = Keys::read(&self.settings).map_err(SigningError::Keys)?;
        if found.fingerprint == self.keys.load().fingerprint {
            look.seen = None;
            return Ok(Looked::Same);
        }
        if look.seen.replace(found.fingerprint) != Some(found.fingerprint) {
            return Ok(Looked::Unsettled);
        }
        look.seen = None;
        self.keys.store(Arc::new(found));
        Ok(Looked::Replaced)
    }

    /// Whether there is something to sign with.
    ///
    /// # Errors
    /// [`SigningError::Expired`].
    pub fn check(&self, now: UnixTime) -> Result<(), SigningError> {
        if self.keys.load().expires_at.is_some_and(|end| now >= end) { Err(SigningError::Expired) } else { Ok(()) }
    }

    /// The header fields that make the request the principal's, each with its line end. Never log them.
    ///
    /// # Errors
    /// [`SigningError`]; the request must then be refused.
    pub fn sign(&self, request: &Signable<'_>, now: UnixTime) -> Result<HandedIdentity, SigningError> {
        self.check(now)?;
        let made = fields(&self.keys.load(), &self.settings.region, self.settings.service.as_str(), request, now)?;
        HandedIdentity::new(made, now, now).map_err(|error| SigningError::Keys(error.to_string()))
    }
}

fn fields(
    keys: &Keys,
    region: &str,
    service: &str,
    request: &Signable<'_>,
    now: UnixTime,
) -> Result<String, SigningError> {
    let Signable { method, target, authority, payload } = *request;
    let stamp = Stamp::of(now);
    let token = keys.session_token.as_ref().map(|token| token.expose_secret());
    let mut headers = format!("host:{authority}\nx-amz-content-sha256:{payload}\nx-amz-date:{}\n", stamp.time);
    let mut names = "host;x-amz-content-sha256;x-amz-date".to_owned();
    if let Some(token) = token {
        headers.push_str("x-amz-security-token:");
        headers.push_str(token);
        headers.push('\n');
        names.push_str(";x-amz-security-token");
    }
    let (path, query) = canonical::target(target)?;
    let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{payload}");
    let scope = format!("{}/{region}/{service}/aws4_request", stamp.day);
    let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{}", stamp.time, payload_hash(canonical.as_bytes()));
    let key = keys.signing_key(&stamp.day, region, service);
    let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
    let mut fields = format!(
        "x-amz-date: {}\r\nx-amz-content-sha256: {payload}\r\nauthorization: {ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}\r\n",
        stamp.time, keys.access_key_id
    );
    if let Some(token) = token {
        fields.push_str("x-amz-security-token: ");
        fields.push_str(token);
        fields.push_str("\r\n");
    }
    Ok(fields)
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("region", &self.settings.region)
            .field("service", &self.settings.service)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
