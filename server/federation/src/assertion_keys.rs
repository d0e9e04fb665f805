//! The public keys that assertions are verified with: written down, or published at an address.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::Clock;
use oauth4os_tokens::jose::{Algorithm, ForeignKey, ForeignToken, UnusableKey};
use reqwest::Url;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::address::Trust;
use crate::documents::KeyPlace;
use crate::fetch::{FetchError, Fetcher};
use crate::keys::{KeyCache, Source};
use crate::signature;
use crate::verify::Refused;

/// How long a request waits for a key nobody has seen yet.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keys of one client or issuer. Clones are the same.
#[derive(Clone)]
pub struct AssertionKeys(Arc<Held>);

enum Held {
    Written { keys: Vec<ForeignKey>, taken: Vec<Algorithm> },
    Published(Published),
}

struct Published {
    cache: Arc<KeyCache>,
    taken: Vec<Algorithm>,
    /// The task that fetches; it ends with the last who knows these keys.
    task: Option<AbortHandle>,
}

impl Drop for Published {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// One of those that are written down.
    #[error("the key number {number} is not used: {source}")]
    Unusable {
        /// Its place in the set, from 1 on.
        number: usize,
        /// Why.
        source: UnusableKey,
    },
    /// Not a place.
    #[error("the address of its keys is not a URL")]
    Place,
    /// Certificates or TLS.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// Where keys are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    /// Whose they are, for the log.
    pub(crate) name: String,
    /// Whose discovery document is asked when there is no address.
    pub(crate) issuer: String,
    pub(crate) url: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) taken: Vec<Algorithm>,
}

impl AssertionKeys {
    /// The keys of a JWK Set.
    ///
    /// # Errors
    /// [`KeysError::Unusable`]: a set that somebody wrote down is taken as a whole or not at all.
    pub fn written(jwks: &[Map<String, Value>], taken: &[Algorithm]) -> Result<Self, KeysError> {
        let keys = jwks.iter().enumerate().map(|(place, jwk)| {
            ForeignKey::parse(jwk, taken).map_err(|source| KeysError::Unusable { number: place + 1, source })
        });
        Ok(Self(Arc::new(Held::Written { keys: keys.collect::<Result<_, _>>()?, taken: taken.to_vec() })))
    }

    /// One key in PEM.
    ///
    /// # Errors
    /// [`KeysError::Unusable`].
    pub fn of_pem(pem: &str) -> Result<Self, KeysError> {
        let key = ForeignKey::from_pem(pem).map_err(|source| KeysError::Unusable { number: 1, source })?;
        Ok(Self(Arc::new(Held::Written { keys: vec![key], taken: Algorithm::ALL.to_vec() })))
    }

    /// Keys that are fetched, from now on and in the runtime this is called in; without one nothing is fetched.
    pub(crate) fn published(
        publication: Publication,
        clock: &Arc<dyn Clock>,
        metrics: Option<&Arc<Metrics>>,
    ) -> Result<Self, KeysError> {
        let fetcher = Fetcher::new(publication.ca.as_deref())?;
        let place = |url: &String| Url::parse(url).map(|url| KeyPlace { url, trust: Trust::Configured });
        let source = Source {
            name: publication.name,
            issuer: publication.issuer,
            place: publication.url.as_ref().map(place).transpose().map_err(|_| KeysError::Place)?,
            algorithms: publication.taken.clone(),
            fetcher,
        };
        let cache = Arc::new(KeyCache::new(source, Arc::clone(clock), metrics.cloned()));
        let running = Arc::clone(&cache);
        let task = Handle::try_current().ok().map(|runtime| runtime.spawn(async move { running.run().await }));
        let task = task.map(|task| task.abort_handle());
        Ok(Self(Arc::new(Held::Published(Published { cache, taken: publication.taken, task }))))
    }

    /// Verifies by which key a token is signed.
    pub(crate) fn check(&self, token: &ForeignToken<'_>) -> Result<(), Refused> {
        match &*self.0 {
            Held::Written { taken, .. } if !taken.contains(&token.algorithm) => Err(Refused::Algorithm),
            Held::Written { keys, .. } => signature::by_written(keys, token),
            Held::Published(published) => {
                let (generation, keys) = published.cache.load();
                if generation == 0 {
                    return Err(Refused::NoKeys);
                }
                signature::by_published(&keys, &published.taken, token)
            }
        }
    }

    /// Waits until the keys have been fetched once more, together with all who wait. False when there is nothing to fetch, when
    /// that was done just before, or when it takes too long: then there is nothing new.
    pub async fn wait(&self) -> bool {
        match &*self.0 {
            Held::Written { .. } => false,
            Held::Published(published) => published.cache.wait(PATIENCE).await,
        }
    }
}

impl fmt::Debug for AssertionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Held::Written { keys, .. } => f.debug_tuple("Written").field(keys).finish(),
            Held::Published(_) => f.debug_struct("Published").finish_non_exhaustive(),
        }
    }
}

impl PartialEq for AssertionKeys {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for AssertionKeys {}

/// The published keys of clients. Whoever asks again for what is in use gets the same, with what was fetched.
#[derive(Debug)]
pub struct Keyring {
    clock: Arc<dyn Clock>,
    known: Mutex<Vec<(Publication, Weak<Held>)>>,
}

impl Keyring {
    /// An empty one.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, known: Mutex::default() }
    }

    /// The keys a client publishes at `url`. They are fetched in the runtime this is called in; without one they are not.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn published(&self, client: &str, url: &str, ca: Option<&Path>) -> Result<AssertionKeys, KeysError> {
        let publication = Publication {
            name: format!("client {client}"),
            issuer: client.to_owned(),
            url: Some(url.to_owned()),
            ca: ca.map(Path::to_owned),
            taken: Algorithm::ALL.to_vec(),
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, held)| held.strong_count() > 0);
        let in_use = known.iter().find(|(other, _)| *other == publication).and_then(|(_, held)| held.upgrade());
        if let Some(held) = in_use {
            return Ok(AssertionKeys(held));
        }
        let keys = AssertionKeys::published(publication.clone(), &self.clock, None)?;
        known.push((publication, Arc::downgrade(&keys.0)));
        Ok(keys)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys")
    }
}
