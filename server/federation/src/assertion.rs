//! What must hold of an assertion: a JWT that is shown to get a token, and not as one (RFC 7521, RFC 7523).

use std::time::Duration;

use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::sha256;
use oauth4os_tokens::jose::{ForeignToken, Malformed};
use serde_json::{Map, Value};

use crate::assertion_keys::AssertionKeys;
use crate::verify::{Refused, time};

/// The longest a client's own assertion may be good for: it is made for one request.
pub const MAX_CLIENT_ASSERTION: Duration = Duration::from_secs(300);
/// How far a client's clock may be from ours.
const LEEWAY: Duration = Duration::from_secs(30);
/// The longest `jti`, in bytes.
const MAX_ID: usize = 256;

/// Why an assertion is refused. No variant carries text out of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionRefused {
    /// Not one that can be looked at.
    #[error("the assertion cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// `iss` and `sub` are not both the client.
    #[error("`iss` and `sub` of the assertion must both be the `client_id`")]
    NotOfClient,
    /// Nobody here trusts `iss`.
    #[error("the assertion is from an issuer that is not trusted here")]
    Issuer,
    /// Unknown client, unknown key, another key's signature, an algorithm the key is not for: one answer.
    #[error("the assertion is not signed with a key of who it claims to be from")]
    NotProven,
    /// Signed with a key that is not known, or not yet: it is worth to [wait](AssertionKeys::wait) and to try once more.
    #[error("the assertion is signed with a key that who it claims to be from does not publish")]
    UnknownKey,
    /// The keys were never fetched.
    #[error("the keys that the assertion is to be verified with could not be fetched yet; try again later")]
    NoKeys,
    /// `typ` says that it is something else.
    #[error("the header of the assertion says that it is something else (`typ`)")]
    Type,
    /// `aud` is not exactly who it must be for, alone.
    #[error("`aud` of the assertion must be `{0}` and nothing besides")]
    Audience(String),
    /// A claim that must be there is not.
    #[error("the assertion lacks the claim `{0}`")]
    Missing(&'static str),
    /// A claim is of the wrong type.
    #[error("the claim `{0}` of the assertion is malformed")]
    Claim(String),
    /// `nbf` or `iat` lies in the future.
    #[error("the assertion is not yet valid; look at the clock of who made it")]
    NotYetValid,
    /// `exp` is reached.
    #[error("the assertion has expired; make a new one")]
    Expired,
    /// `exp` is too far away.
    #[error("the assertion is good for too long; it may be for at most {} seconds", .0.as_secs())]
    TooLong(Duration),
}

/// That an assertion may be used once, and which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// A hash of who it is from and what names it.
    pub id: [u8; 32],
    /// From then on it is refused for its age.
    pub until: UnixTime,
}

/// An assertion by which a client says who it is (RFC 7523 section 2.2), taken apart; nothing is proven yet.
pub struct ClientAssertion<'a> {
    token: ForeignToken<'a>,
    client_id: String,
}

impl<'a> ClientAssertion<'a> {
    /// Takes an assertion apart.
    ///
    /// # Errors
    /// [`AssertionRefused::Malformed`], [`AssertionRefused::NotOfClient`].
    pub fn parse(text: &'a str) -> Result<Self, AssertionRefused> {
        let token = ForeignToken::parse(text)?;
        let named = |name| token.claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        match (named("iss"), named("sub")) {
            (Some(iss), Some(sub)) if iss == sub => Ok(Self { client_id: iss.to_owned(), token }),
            _ => Err(AssertionRefused::NotOfClient),
        }
    }

    /// The client it claims to be from.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Verifies that it is signed by one of these keys, for `issuer` alone, and in force at `now`.
    ///
    /// # Errors
    /// [`AssertionRefused`]; what is wrong with the claims only once the signature is proven.
    pub fn verify(&self, keys: &AssertionKeys, issuer: &str, now: UnixTime) -> Result<Once, AssertionRefused> {
        check_signature(&self.token, keys)?;
        check_type(&self.token, &["client-authentication+jwt"])?;
        let claims = &self.token.claims;
        // A text: what a list of one would mean, others read otherwise.
        if claims.get("aud").and_then(Value::as_str) != Some(issuer) {
            return Err(AssertionRefused::Audience(issuer.to_owned()));
        }
        let until = check_times(claims, now, LEEWAY, MAX_CLIENT_ASSERTION)?;
        let jti = jti(claims)?.ok_or(AssertionRefused::Missing("jti"))?;
        Ok(Once { id: name_of(&["client", &self.client_id, "jti", jti]), until })
    }
}

/// What signature and key say; of what keys there are, nothing.
pub(crate) fn check_signature(token: &ForeignToken<'_>, keys: &AssertionKeys) -> Result<(), AssertionRefused> {
    keys.check(token).map_err(|refused| match refused {
        Refused::NoKeys => AssertionRefused::NoKeys,
        Refused::UnknownKey => AssertionRefused::UnknownKey,
        _ => AssertionRefused::NotProven,
    })
}

/// No `typ`, `JWT`, or one of `others` (RFC 7515 section 4.1.9: without regard to case, `application/` may be left out).
pub(crate) fn check_type(token: &ForeignToken<'_>, others: &[&str]) -> Result<(), AssertionRefused> {
    let Some(typ) = token.typ.as_deref().map(str::to_ascii_lowercase) else { return Ok(()) };
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    if typ == "jwt" || others.contains(&typ) { Ok(()) } else { Err(AssertionRefused::Type) }
}

/// Looks at `exp`, `nbf` and `iat`, and gives the time from which on the assertion is refused for its age.
pub(crate) fn check_times(
    claims: &Map<String, Value>,
    now: UnixTime,
    leeway: Duration,
    longest: Duration,
) -> Result<UnixTime, AssertionRefused> {
    let time = |name: &str| time(claims, name).map_err(|_| AssertionRefused::Claim(name.to_owned()));
    let exp = time("exp")?.ok_or(AssertionRefused::Missing("exp"))?;
    let (iat, nbf) = (time("iat")?, time("nbf")?);
    let end = exp + leeway;
    if now >= end {
        return Err(AssertionRefused::Expired);
    }
    let soon = now + leeway;
    if [iat, nbf].into_iter().flatten().any(|begin| begin > soon) {
        return Err(AssertionRefused::NotYetValid);
    }
    // From when it was made, if it says so, and in any case from now on.
    if exp.since(soon) > longest || iat.is_some_and(|iat| exp.since(iat) > longest) {
        return Err(AssertionRefused::TooLong(longest));
    }
    Ok(end)
}

/// The one name of an assertion, if it has one.
pub(crate) fn jti(claims: &Map<String, Value>) -> Result<Option<&str>, AssertionRefused> {
    match claims.get("jti") {
        None => Ok(None),
        Some(Value::String(jti)) if !jti.is_empty() && jti.len() <= MAX_ID => Ok(Some(jti)),
        Some(_) => Err(AssertionRefused::Claim("jti".to_owned())),
    }
}

/// A hash of parts that tells apart what their texts in a row would not.
pub(crate) fn name_of(parts: &[&str]) -> [u8; 32] {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&part.len().to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    sha256(&text)
}

#[cfg(test)]
mod tests;
