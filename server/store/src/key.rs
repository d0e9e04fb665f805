//! Signing keys, kept encrypted.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::keys::{Algorithm, KeyError, KeySet, SigningKey};
use zeroize::Zeroizing;

use crate::{Pending, Store, StoreError};

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// Access tokens; its public half is published.
    Access,
    /// Internal tokens for the engine; its public half is in the engine's configuration.
    Internal,
}

impl KeyUse {
    /// `access` or `internal`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Internal => "internal",
        }
    }

    /// The algorithm of every key of this use.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Access => Algorithm::Es256,
            Self::Internal => Algorithm::Rs256,
        }
    }
}

impl FromStr for KeyUse {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "access" => Ok(Self::Access),
            "internal" => Ok(Self::Internal),
            _ => Err(()),
        }
    }
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Is to sign next, once whoever verifies knows it. One per use at most.
    Waiting,
    /// Signs and verifies. One per use.
    Active,
    /// Has signed; verifies until its last token has expired.
    Retiring,
    /// Over. Its private half is erased.
    Retired,
}

impl KeyState {
    /// `waiting`, `active`, `retiring` or `retired`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Retiring => "retiring",
            Self::Retired => "retired",
        }
    }
}

impl FromStr for KeyState {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "waiting" => Ok(Self::Waiting),
            "active" => Ok(Self::Active),
            "retiring" => Ok(Self::Retiring),
            "retired" => Ok(Self::Retired),
            _ => Err(()),
        }
    }
}

/// A signing key as it is kept; the private half is in the clear only here, in memory.
#[derive(Clone)]
pub struct StoredKey {
    /// Its id.
    pub kid: String,
    /// What it signs.
    pub usage: KeyUse,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made.
    pub created_at: UnixTime,
    /// The private key, PKCS#8 DER.
    pub pkcs8: Zeroizing<Vec<u8>>,
}

impl StoredKey {
    /// What is kept of a new key, which is to be the active one.
    ///
    /// # Errors
    /// [`KeyError`] when the key cannot be encoded.
    pub fn of(key: &SigningKey, usage: KeyUse, created_at: UnixTime) -> Result<Self, KeyError> {
        Ok(Self {
            kid: key.kid().to_owned(),
            usage,
            algorithm: key.algorithm(),
            state: KeyState::Active,
            created_at,
            pkcs8: key.to_pkcs8()?,
        })
    }

    /// The key, ready to sign.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the row's id is not that of the key, [`StoreError::Key`] when it is no key.
    pub fn signing_key(&self) -> Result<SigningKey, StoreError> {
        let key = SigningKey::from_pkcs8(self.algorithm, &self.pkcs8)?;
        if key.kid() != self.kid {
            return Err(StoreError::Corrupt { what: "key", id: self.kid.clone() });
        }
        Ok(key)
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey")
            .field("kid", &self.kid)
            .field("usage", &self.usage)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// The repository of signing keys.
pub trait Keys {
    /// The keys of a use that are active or retiring, the active one first.
    fn keys(&self, usage: KeyUse) -> Pending<'_, Vec<StoredKey>>;

    /// The active key of the candidate's use: the one there is, or else the candidate, which is kept.
    ///
    /// Of several callers at first start one wins, and all get its key.
    fn ensure_key(&self, candidate: StoredKey) -> Pending<'_, StoredKey>;

    /// Makes a new key the active one; the one before is retiring from then on.
    ///
    /// # Errors
    /// [`Exists`](StoreError::Exists).
    fn rotate_key(&self, key: StoredKey) -> Pending<'_, ()>;

    /// Ends a retiring key and erases its private half.
    ///
    /// # Errors
    /// [`NotFound`](StoreError::NotFound); [`KeyState`](StoreError::KeyState) for a waiting or active key.
    fn retire_key(&self, kid: &str) -> Pending<'_, ()>;
}

/// The key set of a use: what the store holds, or at first start a new key that is kept before it is returned.
///
/// # Errors
/// [`StoreError`].
pub async fn signing_keys(store: &dyn Store, usage: KeyUse, now: UnixTime) -> Result<KeySet, StoreError> {
    let mut stored = store.keys(usage).await?;
    if !stored.iter().any(|key| key.state == KeyState::Active) {
        // Off the runtime's threads: an RSA key takes a tenth of a second and more.
        let candidate = tokio::task::spawn_blocking(move || {
            SigningKey::generate(usage.algorithm()).and_then(|key| StoredKey::of(&key, usage, now))
        })
        .await
        .map_err(|_| StoreError::Key(KeyError::Generate))??;
        store.ensure_key(candidate).await?;
        stored = store.keys(usage).await?;
    }
    key_set(stored, usage)
}

/// The key set of keys as [`Keys::keys`] returns them: the active one first.
pub(crate) fn key_set(stored: Vec<StoredKey>, usage: KeyUse) -> Result<KeySet, StoreError> {
    let mut stored = stored.into_iter();
    let active = stored.next().ok_or(StoreError::NotFound { what: "active key for", id: usage.as_str().to_owned() })?;
    let mut keys = KeySet::new(Arc::new(active.signing_key()?));
    for retiring in stored {
        keys = keys.also_verifying(Arc::clone(retiring.signing_key()?.public()))?;
    }
    Ok(keys)
}
