//! Which key signs the internal tokens for which cluster, while they go over from one key to the next.
//!
//! A new key waits. Each cluster goes over to it when its engine takes it ([`EngineKeys::switch_engine_key`]), and keeps
//! the one before until the last token signed with that has ended. When all have gone over, the new key is the active one
//! ([`EngineKeys::promote_waiting_key`]).

use std::sync::Arc;

use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::keys::{PublicKey, SigningKey};

use crate::{KeyState, KeyUse, Pending, StoreError, StoredKey};

/// The keys of internal tokens that are not over, and how far each cluster is. The only cluster has the empty name.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    pub(crate) keys: Vec<StoredKey>,
    pub(crate) clusters: Vec<ClusterKey>,
}

/// What a key is to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterKey {
    /// The cluster's name.
    pub cluster: String,
    /// The key.
    pub kid: String,
    /// Active or retiring.
    pub state: KeyState,
    /// When the last token that was signed with a retiring key has ended; none while that is not known.
    pub ends_at: Option<UnixTime>,
}

/// The keys of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterKeys {
    /// Signs.
    pub signing: Arc<SigningKey>,
    /// Is to sign as soon as the engine takes it.
    pub waiting: Option<Arc<SigningKey>>,
    /// Have signed, and are not known to be refused by the engine yet.
    pub retiring: Vec<RetiringKey>,
}

/// A key that has signed for a cluster.
#[derive(Clone, Debug)]
pub struct RetiringKey {
    /// The key.
    pub key: Arc<SigningKey>,
    /// When the last token that was signed with it has ended; none while that is not known.
    pub ends_at: Option<UnixTime>,
}

impl RetiringKey {
    /// Whether no token that was signed with it is valid any more.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}

impl ClusterKeys {
    /// The public halves the engine must know, the one that signs first.
    #[must_use]
    pub fn public(&self, now: UnixTime) -> Vec<Arc<PublicKey>> {
        let retiring = self.retiring.iter().filter(|retiring| !retiring.is_over(now)).map(|retiring| &retiring.key);
        let all = std::iter::once(&self.signing).chain(&self.waiting).chain(retiring);
        all.map(|key| Arc::clone(key.public())).collect()
    }
}

impl Keyring {
    /// The keys of a cluster.
    ///
    /// # Errors
    /// When there is no key, or one is damaged.
    pub fn of_cluster(&self, cluster: &str) -> Result<ClusterKeys, StoreError> {
        let signing = self.signing_kid(cluster)?;
        let retiring = self.clusters.iter().filter(|key| key.cluster == cluster && key.state == KeyState::Retiring);
        Ok(ClusterKeys {
            signing: self.key(signing)?,
            waiting: self.waiting().filter(|kid| *kid != signing).map(|kid| self.key(kid)).transpose()?,
            retiring: retiring
                .map(|key| Ok(RetiringKey { key: self.key(&key.kid)?, ends_at: key.ends_at }))
                .collect::<Result<_, StoreError>>()?,
        })
    }

    /// The key that waits.
    #[must_use]
    pub fn waiting(&self) -> Option<&str> {
        self.in_state(KeyState::Waiting).next()
    }

    /// The key that waits, when it is the one that signs for all of these.
    #[must_use]
    pub fn is_taken_by_all<'c>(&self, mut clusters: impl Iterator<Item = &'c str>) -> Option<&str> {
        let waiting = self.waiting()?;
        clusters.all(|cluster| self.signing_kid(cluster).is_ok_and(|kid| kid == waiting)).then_some(waiting)
    }

    /// Retiring keys that are nothing to any cluster any more.
    pub fn needed_by_none(&self) -> impl Iterator<Item = &str> {
        self.in_state(KeyState::Retiring).filter(|kid| self.clusters.iter().all(|key| key.kid != *kid))
    }

    fn signing_kid(&self, cluster: &str) -> Result<&str, StoreError> {
        let own = self.clusters.iter().find(|key| key.cluster == cluster && key.state == KeyState::Active);
        let kid = own.map(|key| key.kid.as_str()).or_else(|| self.in_state(KeyState::Active).next());
        kid.ok_or_else(|| StoreError::NotFound { what: "active key for", id: KeyUse::Internal.as_str().to_owned() })
    }

    fn in_state(&self, state: KeyState) -> impl Iterator<Item = &str> {
        self.keys.iter().filter(move |key| key.state == state).map(|key| key.kid.as_str())
    }

    fn key(&self, kid: &str) -> Result<Arc<SigningKey>, StoreError> {
        let stored = self.keys.iter().find(|key| key.kid == kid);
        let stored = stored.ok_or_else(|| StoreError::NotFound { what: "key", id: kid.to_owned() })?;
        Ok(Arc::new(stored.signing_key()?))
    }
}

/// The repository of what clusters have to do with keys of internal tokens. Each call is one change on the disk; one that is
/// repeated changes nothing.
pub trait EngineKeys {
    /// All there is.
    fn engine_keys(&self) -> Pending<'_, Keyring>;

    /// Keeps a key that waits, unless there is one; returns the id of the one that waits then.
    fn add_waiting_key(&self, key: StoredKey) -> Pending<'_, String>;

    /// From here on the waiting key signs for a cluster; the one before is retiring there.
    ///
    /// # Errors
    /// [`KeyState`](StoreError::KeyState) when it neither waits nor is active.
    fn switch_engine_key(&self, cluster: &str, kid: &str) -> Pending<'_, ()>;

    /// When the last token that was signed with a retiring key for a cluster has ended.
    fn set_engine_key_end(&self, cluster: &str, kid: &str, ends_at: UnixTime) -> Pending<'_, ()>;

    /// A retiring key is nothing to a cluster any more.
    fn forget_engine_key(&self, cluster: &str, kid: &str) -> Pending<'_, ()>;

    /// Forgets all clusters but these.
    fn keep_engine_keys_of(&self, clusters: Vec<String>) -> Pending<'_, ()>;

    /// Makes the waiting key the active one; the one before is retiring from then on.
    ///
    /// # Errors
    /// [`KeyState`](StoreError::KeyState) when it is not waiting.
    fn promote_waiting_key(&self, kid: &str) -> Pending<'_, ()>;
}
