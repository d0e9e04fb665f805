//! Turns a grant into what the engine is handed with each of its requests: header fields, ready to be sent.
//!
//! What they are depends on the driver ([`jwt`], [`extended_proxy`]); whom and what they say does not ([`Told`]). Making
//! them may take most of a millisecond, so the caller keeps a [`HandedIdentity`] with its grant and asks for a new one from
//! [`HandedIdentity::renew_at`] on. Whatever goes wrong here is an error, and without an identity no request is forwarded:
//! there is none to fall back to.

pub(crate) mod extended_proxy;
pub(crate) mod jwt;
mod told;

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use oauth4os_config::RESERVED_ROLE_PREFIX;
use oauth4os_policy::EngineGrant;
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::NoRandomness;
use oauth4os_tokens::internal::MintError;
use oauth4os_tokens::keys::SigningKey;
use secrecy::{ExposeSecret, SecretString};

pub use self::extended_proxy::FieldError;
use self::jwt::JwtError;
pub(crate) use self::told::Told;
use crate::security_config::Naming;

/// The most bytes of header fields the engine is handed: all of a request together may have 16 KiB there
/// (`http.max_header_size`), and front ends before it often take 8 KiB.
pub const MAX_IDENTITY_BYTES: usize = 7 * 1024;

/// The longest name of a client or user, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 128;

/// Makes the identities of grants.
#[derive(Clone, Debug)]
pub struct Identities {
    naming: Naming,
    driver: Driver,
    lifetime: Duration,
}

/// What vouches for an identity.
#[derive(Clone, Debug)]
pub(crate) enum Driver {
    /// A signature.
    Jwt { issuer: String, key: Signer },
    /// Where it comes from: the engine believes the gateway's address, which is this one.
    ExtendedProxy { address: IpAddr },
}

/// The key that signs, for all clones of one driver.
#[derive(Clone, Debug)]
pub(crate) struct Signer(Arc<RwLock<Arc<SigningKey>>>);

impl Signer {
    fn new(key: Arc<SigningKey>) -> Self {
        Self(Arc::new(RwLock::new(key)))
    }

    pub(crate) fn key(&self) -> Arc<SigningKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, key: Arc<SigningKey>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = key;
    }
}

/// What is sent to the engine for one grant, and until when.
pub struct HandedIdentity {
    fields: SecretString,
    /// From here on a new one should be made; it goes on to be valid until [`Self::expires_at`].
    pub renew_at: UnixTime,
    /// From here on it must not be sent.
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
    /// Nobody has said as whom of the cluster's users requests go.
    #[error(
        "in this cluster requests go as users it already has, and none is configured for this client; name one in `backend_user`, for a provider in `backend_users`"
    )]
    NoUser,
    /// A user without a password, or a key that there is none of.
    #[error("`{0}` is none of the users or API keys that are configured for the cluster")]
    UnknownUser(String),
    /// A key of the engine that has ended.
    #[error(
        "the engine's API key `{0}` has ended; `oauth4os engine setup --apply` makes another one, and a reload takes it into use"
    )]
    KeyEnded(String),
    /// The credential the identity stands for has ended.
    #[error("the credential has expired")]
    Expired,
    /// Longer than [`MAX_IDENTITY_BYTES`].
    #[error(
        "the scopes and row filters are too many for one token: what the engine must be told has {bytes} bytes and may have {MAX_IDENTITY_BYTES}; ask for fewer scopes, wider patterns or shorter filters"
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
    /// Something that cannot stand in a header field.
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Identities {
    /// Identities that a signature vouches for. `issuer` and `naming` as in the engine's auth domain; `key` an RS256 key the
    /// domain knows; `lifetime` of each token.
    #[must_use]
    pub fn jwt(naming: Naming, issuer: String, key: Arc<SigningKey>, lifetime: Duration) -> Self {
        Self { naming, driver: Driver::Jwt { issuer, key: Signer::new(key) }, lifetime }
    }

    /// Signs with another key from here on, with all clones. Identities that were made before are as good as they were.
    pub fn sign_with(&self, key: Arc<SigningKey>) {
        match &self.driver {
            Driver::Jwt { key: signer, .. } => signer.replace(key),
            Driver::ExtendedProxy { .. } => {}
        }
    }

    /// The id of the key that signs, where one does.
    #[must_use]
    pub fn kid(&self) -> Option<String> {
        match &self.driver {
            Driver::Jwt { key, .. } => Some(key.key().kid().to_owned()),
            Driver::ExtendedProxy { .. } => None,
        }
    }

    /// The same, signed with another key, while these go on with theirs.
    #[must_use]
    pub fn signed_with(&self, key: Arc<SigningKey>) -> Self {
        let driver = match &self.driver {
            Driver::Jwt { issuer, .. } => Driver::Jwt { issuer: issuer.clone(), key: Signer::new(key) },
            driver @ Driver::ExtendedProxy { .. } => driver.clone(),
        };
        Self { naming: self.naming.clone(), driver, lifetime: self.lifetime }
    }

    /// Identities that the engine believes because of where they come from: `address` is one of those of the gateway, and
    /// `lifetime` says how long one is used before it is made anew.
    #[must_use]
    pub const fn extended_proxy(naming: Naming, address: IpAddr, lifetime: Duration) -> Self {
        Self { naming, driver: Driver::ExtendedProxy { address }, lifetime }
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
        let told = self.told(subject, grant)?;
        let full = now + self.lifetime;
        let end = credential_ends.map_or(full, |end| end.min(full)).whole_second();
        if end <= now.whole_second() {
            return Err(IdentityError::Expired);
        }
        self.hand(&told, now, end)
    }

    /// What the engine is told of a grant.
    pub(crate) fn told(&self, subject: &str, grant: &EngineGrant) -> Result<Told, IdentityError> {
        if !is_plain_name(subject) {
            return Err(IdentityError::Subject(
                subject.chars().take(MAX_SUBJECT_BYTES).flat_map(char::escape_default).collect(),
            ));
        }
        let roles = self.roles(grant);
        if roles.is_empty() {
            return Err(IdentityError::NoRight);
        }
        Ok(Told { user: self.naming.user(subject), roles, attributes: grant.claims.iter().cloned().collect() })
    }

    /// The identity that says this, from `now` until `end`.
    pub(crate) fn hand(&self, told: &Told, now: UnixTime, end: UnixTime) -> Result<HandedIdentity, IdentityError> {
        let fields = match &self.driver {
            Driver::Jwt { issuer, key } => {
                let claims = jwt::claims(issuer, &self.naming.audience, told, now, end)?;
                jwt::field(&key.key(), &claims)?
            }
            Driver::ExtendedProxy { address } => extended_proxy::fields(told, *address)?,
        };
        let full = (now + self.lifetime).whole_second();
        // One that ends with its credential cannot be renewed; of the others the last fifth is for renewing.
        let renew_at = if end < full { end } else { now + end.since(now).mul_f64(0.8) };
        HandedIdentity::new(fields, renew_at, end)
    }

    /// One that is good for one request, for a check.
    pub(crate) fn hand_once(&self, told: &Told, now: UnixTime) -> Result<HandedIdentity, IdentityError> {
        self.hand(told, now, (now + self.lifetime).whole_second())
    }

    fn roles(&self, grant: &EngineGrant) -> Vec<String> {
        let restricted = grant.restricted.iter().map(|role| self.naming.restricted_role(role));
        let scoped = grant.roles.iter().map(|role| self.naming.role(*role)).chain(restricted);
        // One of ours would stand for a scope that nobody has given.
        let is_foreign =
            |role: &&String| !role.starts_with(&self.naming.role_prefix) && !role.starts_with(RESERVED_ROLE_PREFIX);
        scoped.chain(grant.backend_roles.iter().filter(is_foreign).cloned()).collect()
    }

    pub(crate) const fn naming(&self) -> &Naming {
        &self.naming
    }

    pub(crate) const fn driver(&self) -> &Driver {
        &self.driver
    }
}

impl HandedIdentity {
    /// Of whole header fields, each with its line end.
    pub(crate) fn new(fields: String, renew_at: UnixTime, expires_at: UnixTime) -> Result<Self, IdentityError> {
        if fields.len() > MAX_IDENTITY_BYTES {
            return Err(IdentityError::TooLarge { bytes: fields.len() });
        }
        Ok(Self { fields: fields.into(), renew_at, expires_at })
    }

    /// Header fields as they are sent, each with its line end. Never log them.
    #[must_use]
    pub fn fields(&self) -> &str {
        self.fields.expose_secret()
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

impl From<JwtError> for IdentityError {
    fn from(error: JwtError) -> Self {
        match error {
            JwtError::NoRandomness(error) => error.into(),
            JwtError::Mint(error) => error.into(),
        }
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
