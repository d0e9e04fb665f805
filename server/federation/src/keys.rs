//! The keys of one provider, or of one client that publishes its own: kept in memory, renewed ahead of their time, asked for when one is missing.
//!
//! One task fetches ([`KeyCache::run`]), so there is never more than one fetch at a time, whoever wants one. Everybody
//! else reads what is there. Keys are kept while the provider is down: a provider's outage is not an outage of what it
//! has signed before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, UnixTime};
use oauth4os_tokens::jose::{Algorithm, ForeignKey};
use tokio::sync::{Notify, watch};

use crate::documents::{self, KeyPlace, KeySet};
use crate::fetch::{FetchError, Fetcher};

/// How long keys are taken for fresh: as the provider says, within bounds.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(900);
const MIN_LIFETIME: Duration = Duration::from_secs(60);
const MAX_LIFETIME: Duration = Duration::from_secs(3_600);

/// After a failure the next try is in two seconds, then in twice that, and so on to this.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Unknown keys make for one fetch in this time, however many tokens name however many of them.
pub(crate) const FORCED_INTERVAL: Duration = Duration::from_secs(30);

/// A clock that is moved is noticed after this.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(15);

/// Where a provider's keys come from.
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) issuer: String,
    /// Where the keys are, when the configuration says so.
    pub(crate) place: Option<KeyPlace>,
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) fetcher: Fetcher,
}

/// The keys of one provider.
pub(crate) struct KeyCache {
    source: Source,
    keys: ArcSwap<Vec<ForeignKey>>,
    /// Changes when the keys change; 0 while there never were any.
    generation: AtomicU64,
    flight: Mutex<Flight>,
    wake: Notify,
    /// Counts fetches that have ended.
    ended: watch::Sender<u64>,
    clock: Arc<dyn Clock>,
    /// Where fetches are counted by the name of the source; not for those of which there may be any number.
    metrics: Option<Arc<Metrics>>,
}

#[derive(Default)]
struct Flight {
    /// A fetch is under way or about to begin.
    is_under_way: bool,
    /// When somebody last had a fetch made for a key that was not there.
    last_forced: Option<UnixTime>,
    fingerprint: Option<[u8; 32]>,
    fresh_until: UnixTime,
    is_stale: bool,
    failures: u32,
    /// Where the keys were last time.
    place: Option<KeyPlace>,
}

impl KeyCache {
    pub(crate) fn new(source: Source, clock: Arc<dyn Clock>, metrics: Option<Arc<Metrics>>) -> Self {
        let cache = Self {
            source,
            keys: ArcSwap::default(),
            generation: AtomicU64::new(0),
            // Until the first fetch has ended, whoever needs keys waits for it.
            flight: Mutex::new(Flight { is_under_way: true, ..Flight::default() }),
            wake: Notify::new(),
            ended: watch::Sender::new(0),
            clock,
            metrics,
        };
        cache.count_stale(false);
        cache
    }

    /// The keys, and their generation, which is read first: keys that come in between are then looked at again.
    pub(crate) fn load(&self) -> (u64, Arc<Vec<ForeignKey>>) {
        let generation = self.generation();
        (generation, self.keys.load_full())
    }

    /// Changes when the keys change; 0 while there never were any.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Changes with the end of every fetch from now on.
    pub(crate) fn ended(&self) -> watch::Receiver<u64> {
        self.ended.subscribe()
    }

    /// Waits for the end of a fetch: of the one under way, or of one that is made now if there was none lately. False at
    /// once when there was, and after `patience` when the provider takes too long.
    pub(crate) async fn wait(&self, patience: Duration) -> bool {
        // Before the flight is looked at, so that its end cannot be missed.
        let mut ended = self.ended();
        if !self.is_awaited() {
            return false;
        }
        matches!(tokio::time::timeout(patience, ended.changed()).await, Ok(Ok(())))
    }

    /// Whether a fetch is under way, or may be and was made to begin.
    fn is_awaited(&self) -> bool {
        let now = self.clock.now();
        let mut flight = self.flight();
        if flight.is_under_way {
            return true;
        }
        // A clock that was set back must not forbid fetches until it has caught up.
        let waited = flight.last_forced.is_none_or(|last| now < last || now.since(last) >= FORCED_INTERVAL);
        if waited {
            flight.last_forced = Some(now);
            flight.is_under_way = true;
            self.wake.notify_one();
        }
        waited
    }

    /// Fetches now, then ahead of expiry, and whenever somebody asks; for ever.
    pub(crate) async fn run(&self) {
        let mut forced = false;
        loop {
            self.flight().is_under_way = true;
            let outcome = self.fetch(forced).await;
            let due = self.settle(outcome);
            self.ended.send_modify(|ended| *ended = ended.wrapping_add(1));
            forced = self.until(due).await;
        }
    }

    /// Waits until `due`, or until somebody asks, which is when it gives true.
    async fn until(&self, due: UnixTime) -> bool {
        loop {
            let left = due.since(self.clock.now());
            if left.is_zero() {
                return false;
            }
            tokio::select! {
                () = self.wake.notified() => return true,
                () = tokio::time::sleep(left.min(LOOK_AT_CLOCK)) => {}
            }
        }
    }

    async fn fetch(&self, forced: bool) -> Result<(KeyPlace, KeySet), FetchError> {
        let source = &self.source;
        // For a key that is missing the place of last time will do; discovery has its turn when the keys expire.
        let known = source.place.clone().or_else(|| self.flight().place.clone().filter(|_| forced));
        let place = match known {
            Some(place) => place,
            None => documents::discover(&source.fetcher, &source.issuer).await?,
        };
        let set = documents::keys(&source.fetcher, &place, &source.algorithms).await?;
        Ok((place, set))
    }

    /// Takes what a fetch has brought, and says when the next one is due.
    fn settle(&self, outcome: Result<(KeyPlace, KeySet), FetchError>) -> UnixTime {
        let now = self.clock.now();
        let provider = self.source.name.as_str();
        let mut flight = self.flight();
        flight.is_under_way = false;
        if let Some(metrics) = &self.metrics {
            metrics.provider_keys_fetched(provider, outcome.is_ok());
        }
        match outcome {
            Ok((place, set)) => {
                let lifetime = set.max_age.unwrap_or(DEFAULT_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME);
                if flight.is_stale || flight.failures > 0 {
                    tracing::info!(provider, "the provider's keys can be fetched again");
                }
                flight.place = Some(place);
                flight.failures = 0;
                flight.is_stale = false;
                flight.fresh_until = now + lifetime;
                self.count_stale(false);
                if flight.fingerprint != Some(set.fingerprint) {
                    flight.fingerprint = Some(set.fingerprint);
                    for problem in &set.refused {
                        tracing::warn!(provider, %problem, "a key of the provider is not used");
                    }
                    if set.keys.is_empty() {
                        tracing::warn!(provider, "the provider has no key that can be used; its tokens are refused");
                    } else {
                        tracing::info!(provider, keys = set.keys.len(), "the provider's keys are in force");
                    }
                    // The keys first: whoever sees the new generation sees them.
                    self.keys.store(Arc::new(set.keys));
                    self.generation.fetch_add(1, Ordering::Release);
                }
                now + lifetime.mul_f64(0.8)
            }
            Err(error) => {
                let retry = FIRST_RETRY.saturating_mul(1 << flight.failures.min(8)).min(LAST_RETRY);
                flight.failures = flight.failures.saturating_add(1);
                let had_keys = flight.fingerprint.is_some();
                if flight.failures == 1 {
                    tracing::warn!(provider, %error, had_keys, "the provider's keys could not be fetched; those that are there stay in force");
                }
                if had_keys && !flight.is_stale && now >= flight.fresh_until {
                    flight.is_stale = true;
                    self.count_stale(true);
                    tracing::warn!(
                        provider,
                        "the provider's keys are stale; they stay in force until it answers again"
                    );
                }
                if !had_keys {
                    self.count_stale(true);
                }
                now + retry
            }
        }
    }

    fn count_stale(&self, is_stale: bool) {
        if let Some(metrics) = &self.metrics {
            metrics.provider_keys_stale(&self.source.name, is_stale);
        }
    }

    fn flight(&self) -> std::sync::MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
