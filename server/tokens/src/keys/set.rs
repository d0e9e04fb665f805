//! A key that signs and the keys that verify: what lets keys change without a token failing.

use std::sync::Arc;

use serde::Serialize;

use super::{Jwk, KeyError, PublicKey, SigningKey};

/// One active key and every key that verifies, all of one algorithm.
///
/// Keys rotate with overlap: the next key is published ([`also_verifying`](Self::also_verifying)) before it signs, so
/// that caches of the published document know it in time; the one before goes on verifying until the last token it
/// signed has expired.
#[derive(Clone, Debug)]
pub struct KeySet {
    active: Arc<SigningKey>,
    verifying: Vec<Arc<PublicKey>>,
}

/// A JWK Set document (RFC 7517 section 5).
#[derive(Debug, Serialize)]
struct Jwks<'a> {
    keys: Vec<&'a Jwk>,
}

impl KeySet {
    /// A set of one key that signs and verifies.
    #[must_use]
    pub fn new(active: impl Into<Arc<SigningKey>>) -> Self {
        let active = active.into();
        Self { verifying: vec![Arc::clone(active.public())], active }
    }

    /// Adds a key that only verifies: one that comes next or one that has signed before.
    ///
    /// # Errors
    /// [`KeyError::MixedAlgorithms`].
    pub fn also_verifying(mut self, key: Arc<PublicKey>) -> Result<Self, KeyError> {
        if key.algorithm() != self.active.algorithm() {
            return Err(KeyError::MixedAlgorithms {
                kid: key.kid().to_owned(),
                found: key.algorithm(),
                expected: self.active.algorithm(),
            });
        }
        if self.find(key.kid()).is_none() {
            self.verifying.push(key);
        }
        Ok(self)
    }

    /// The key that signs.
    #[must_use]
    pub fn active(&self) -> &Arc<SigningKey> {
        &self.active
    }

    /// Every key that verifies, the active one first.
    #[must_use]
    pub fn verifying(&self) -> &[Arc<PublicKey>] {
        &self.verifying
    }

    /// The verifying key of this id.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&Arc<PublicKey>> {
        self.verifying.iter().find(|key| key.kid() == kid)
    }

    /// The JWK Set document to publish. Public halves only.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let keys = self.verifying.iter().map(|key| key.jwk()).collect();
        serde_json::to_value(Jwks { keys }).unwrap_or_default()
    }
}
