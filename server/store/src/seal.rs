//! Encryption at rest: envelopes of AES-256-GCM.
//!
//! The operator holds one **master key** outside the store. It encrypts ("wraps") **data keys**, which are kept in the
//! store and encrypt values. A sealed value names the data key it needs:
//!
//! ```text
//! o4s1.<key id>.<nonce>.<ciphertext and tag>        nonce and ciphertext in base64url
//! ```
//!
//! and is bound to its place (table, primary key, column) as additional data, so that a value moved to another row
//! does not open. Because values describe themselves, keys can change one value at a time:
//! - a new master key re-wraps the data keys, which happens when a store is opened with
//!   [`Sealer::with_previous`]; no value is touched;
//! - a new data key becomes active, old ones go on opening; whatever does not begin with the active key's id is still
//!   to be encrypted anew, which is all that a job must know to go on after an interruption.

mod envelope;
mod master;

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, RandomizedNonceKey};
use aws_lc_rs::rand;
use oauth4os_tokens::id::random_id;
use zeroize::Zeroizing;

pub(crate) use self::envelope::Place;
use self::envelope::{KEY_BYTES, open, seal};
pub use self::master::{MasterKey, SealError};

/// The master key in force, and those before it that data keys may still be wrapped with.
pub struct Sealer {
    current: MasterKey,
    previous: Vec<MasterKey>,
}

impl Sealer {
    /// A sealer with one master key.
    #[must_use]
    pub const fn new(current: MasterKey) -> Self {
        Self { current, previous: Vec::new() }
    }

    /// Also accepts a former master key, for opening a store that is then wrapped with the current one.
    #[must_use]
    pub fn with_previous(mut self, previous: MasterKey) -> Self {
        self.previous.push(previous);
        self
    }

    /// A new data key and its wrapped form.
    pub(crate) fn new_data_key(&self) -> Result<(DataKey, String), SealError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| SealError::Failed)?;
        let id = random_id("dk_").map_err(|_| SealError::Failed)?;
        let wrapped = self.wrap(&id, bytes.as_slice())?;
        Ok((DataKey::new(id, bytes.as_slice())?, wrapped))
    }

    /// Opens a data key; with its newly wrapped form when it was wrapped with a former master key.
    pub(crate) fn unwrap(&self, id: &str, wrapped: &str) -> Result<(DataKey, Option<String>), SealError> {
        let needed = envelope::key_id(wrapped).ok_or_else(|| Place::data_key(id).tampered())?;
        let master =
            std::iter::once(&self.current).chain(&self.previous).find(|master| master.id() == needed).ok_or_else(
                || SealError::WrongMasterKey { given: self.current.id().to_owned(), needed: needed.to_owned() },
            )?;
        let bytes = open(master.aead(), master.id(), Place::data_key(id), wrapped)?;
        let key = DataKey::new(id.to_owned(), &bytes)?;
        let rewrapped = if master.id() == self.current.id() { None } else { Some(self.wrap(id, &bytes)?) };
        Ok((key, rewrapped))
    }

    fn wrap(&self, id: &str, bytes: &[u8]) -> Result<String, SealError> {
        seal(self.current.aead(), self.current.id(), Place::data_key(id), bytes)
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("master_key", &self.current.id()).finish_non_exhaustive()
    }
}

/// A data key, unwrapped; its bytes are in the cryptographic library's key schedule only.
pub(crate) struct DataKey {
    id: String,
    aead: RandomizedNonceKey,
}

impl DataKey {
    fn new(id: String, bytes: &[u8]) -> Result<Self, SealError> {
        let aead = RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| SealError::Failed)?;
        Ok(Self { id, aead })
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

/// The data keys of a store: one that seals, and all that open.
pub(crate) struct DataKeys {
    active: String,
    keys: BTreeMap<String, DataKey>,
}

impl DataKeys {
    pub(crate) fn new(active: DataKey) -> Self {
        Self { active: active.id.clone(), keys: BTreeMap::from([(active.id.clone(), active)]) }
    }

    /// Adds a key that only opens.
    pub(crate) fn insert(&mut self, key: DataKey) {
        self.keys.entry(key.id.clone()).or_insert(key);
    }

    pub(crate) fn seal(&self, place: Place<'_>, plaintext: &[u8]) -> Result<String, SealError> {
        let key = self.keys.get(&self.active).ok_or(SealError::Failed)?;
        seal(&key.aead, &key.id, place, plaintext)
    }

    pub(crate) fn open(&self, place: Place<'_>, sealed: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let key = envelope::key_id(sealed).and_then(|id| self.keys.get(id)).ok_or_else(|| place.tampered())?;
        open(&key.aead, &key.id, place, sealed)
    }
}

#[cfg(test)]
mod tests;
