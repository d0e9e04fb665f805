//! The driver `jwt`: turns a grant into the token the engine trusts.
//!
//! Signing takes most of a millisecond, so the caller keeps a [`HandedIdentity`] with its grant and asks for a new one
//! from [`HandedIdentity::renew_at`] on. Whatever goes wrong here is an error, and without an identity no request is
//! forwarded: there is none to fall back to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_config::RESERVED_ROLE_PREFIX;
use oauth4os_policy::EngineGrant;
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::{self, NoRandomness};
use oauth4os_tokens::internal::{self, InternalClaims, MintError};
use oauth4os_tokens::keys::SigningKey;
use secrecy::{ExposeSecret, SecretString};

use crate::security_config::Naming;

/// The longest `Authorization` value handed to the engine, in bytes: all headers of a request together may have 16 KiB
/// there (`http.max_header_size`), and front ends before it often take 8 KiB for one.
pub const MAX_AUTHORIZATION_BYTES: usize = 7 * 1024;

/// The longest name of a client or user, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 128;

/// Makes the tokens of grants.
#[derive(Clone, Debug)]
pub struct Identities {
    naming: Naming,
    issuer: String,
    key: Arc<SigningKey>,
    lifetime: Duration,
}

/// What is sent to the engine for one grant, and until when.
pub struct HandedIdentity {
    authorization: SecretString,
    /// From here on a new one should be made; it goes on to be valid until [`Self::expires_at`].
    pub renew_at: UnixTime,
    /// From here on the engine refuses it.
    pub expires_at: UnixTime,
}

/// No identity was made, so no request may be forwarded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The engine tells users apart by name, and some names mean something to it.
    #[error(
        "the name `{0}` cannot be handed to the engine: use up to {MAX_SUBJECT_BYTES} letters, digits, `.`, `_`, `-`"
    )]
    Subject(String),
    /// A user without roles would have whatever the cluster gives to everybody.
    #[error("the scopes of this token, or its backend roles, give no right on the engine")]
    NoRight,
    /// The credential the identity stands for has ended.
    #[error("the credential has expired")]
    Expired,
    /// Longer than [`MAX_AUTHORIZATION_BYTES`].
    #[error(
        "the scopes and row filters are too many for one token: what the engine must be told has {bytes} bytes and may have {MAX_AUTHORIZATION_BYTES}; ask for fewer scopes, wider patterns or shorter filters"
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// No random bytes for the token's id.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The token was not signed.
    #[error(transparent)]
    Mint(#[from] MintError),
}

impl Identities {
    /// `issuer` and `naming` as in the engine's auth domain; `key` an RS256 key the domain knows; `lifetime` of each token.
    #[must_use]
    pub const fn new(naming: Naming, issuer: String, key: Arc<SigningKey>, lifetime: Duration) -> Self {
        Self { naming, issuer, key, lifetime }
    }

    /// The identity of `subject` (a client or user id) with the rights of `grant`. It does not outlive the credential
    /// it stands for, which ends at `credential_ends`.
    ///
    /// # Errors
    /// [`IdentityError`]; the request must then be refused.
    pub fn hand_over(
        &self,
        subject: &str,
        grant: &EngineGrant,
        credential_ends: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<HandedIdentity, IdentityError> {
        let claims = self.claims(subject, grant, credential_ends, now)?;
        let authorization = self.sign(&claims)?;
        let expires_at = claims.exp.whole_second();
        let full = (now + self.lifetime).whole_second();
        // One that ends with its credential cannot be renewed; of the others the last fifth is for renewing.
        let renew_at = if expires_at < full { expires_at } else { now + expires_at.since(now).mul_f64(0.8) };
        Ok(HandedIdentity { authorization, renew_at, expires_at })
    }

    pub(crate) fn claims(
        &self,
        subject: &str,
        grant: &EngineGrant,
        credential_ends: Option<UnixTime>,
        now: UnixTime,
    ) -> Result<InternalClaims, IdentityError> {
        if !is_plain_name(subject) {
            return Err(IdentityError::Subject(
                subject.chars().take(MAX_SUBJECT_BYTES).flat_map(char::escape_default).collect(),
            ));
        }
        let roles = self.roles(grant);
        if roles.is_empty() {
            return Err(IdentityError::NoRight);
        }
        let full = now + self.lifetime;
        let exp = credential_ends.map_or(full, |end| end.min(full)).whole_second();
        if exp <= now.whole_second() {
            return Err(IdentityError::Expired);
        }
        Ok(InternalClaims {
            iss: self.issuer.clone(),
            sub: self.naming.user(subject),
            aud: self.naming.audience.clone(),
            roles,
            attributes: grant.claims.iter().cloned().collect(),
            iat: now,
            exp,
            jti: id::random_id("int_")?,
        })
    }

    fn roles(&self, grant: &EngineGrant) -> Vec<String> {
        let restricted = grant.restricted.iter().map(|role| self.naming.restricted_role(role));
        let scoped = grant.roles.iter().map(|role| self.naming.role(*role)).chain(restricted);
        // One of ours would stand for a scope that nobody has given.
        let is_foreign =
            |role: &&String| !role.starts_with(&self.naming.role_prefix) && !role.starts_with(RESERVED_ROLE_PREFIX);
        scoped.chain(grant.backend_roles.iter().filter(is_foreign).cloned()).collect()
    }

    pub(crate) fn sign(&self, claims: &InternalClaims) -> Result<SecretString, IdentityError> {
        authorization(&self.key, claims)
    }

    pub(crate) const fn naming(&self) -> &Naming {
        &self.naming
    }
}

/// The value of the `Authorization` header for a token of these claims.
pub(crate) fn authorization(key: &SigningKey, claims: &InternalClaims) -> Result<SecretString, IdentityError> {
    let authorization = format!("Bearer {}", internal::mint(key, claims)?);
    if authorization.len() > MAX_AUTHORIZATION_BYTES {
        return Err(IdentityError::TooLarge { bytes: authorization.len() });
    }
    Ok(authorization.into())
}

impl HandedIdentity {
    /// The value of the `Authorization` header: `Bearer ` and the token. Never log it.
    #[must_use]
    pub fn authorization(&self) -> &str {
        self.authorization.expose_secret()
    }

    /// Whether a new one should be made.
    #[must_use]
    pub fn is_due(&self, now: UnixTime) -> bool {
        now >= self.renew_at
    }

    /// Whether it may still be sent.
    #[must_use]
    pub fn is_valid(&self, now: UnixTime) -> bool {
        now < self.expires_at
    }
}

impl fmt::Debug for HandedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandedIdentity")
            .field("renew_at", &self.renew_at)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Names that begin with `plugin:` or `token:`, contain `${`, `*` or `/`, or look like a distinguished name mean
/// something of their own to the security plugin; names made of these letters do not.
fn is_plain_name(subject: &str) -> bool {
    !subject.is_empty()
        && subject.len() <= MAX_SUBJECT_BYTES
        && subject.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests;
