//! The key of internal tokens is replaced while the gateway runs, cluster by cluster, and no token is refused meanwhile.
//!
//! | step | on the disk | in force |
//! | --- | --- | --- |
//! | a new key is asked for | it waits | it is published, and `engine setup` writes it |
//! | every node of a cluster is seen to take it | it signs for that cluster; the one before is retiring there | identities are made with it |
//! | all clusters have gone over | it is the active key, and the one before is retiring | |
//! | the last token of the one before has ended | | that is not published any more, nor written by `engine setup` |
//! | every node is seen to refuse it | it is nothing to that cluster any more | |
//! | it is nothing to any cluster | its private half is erased | |
//!
//! Each step is on the disk before it is acted on, and is found there after a restart. Each cluster has a task of its own: one
//! that does not answer goes on with its key, and holds up no other.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::body::Bytes;
use oauth4os_engine::security_config::CLOCK_SKEW_SECONDS;
use oauth4os_engine::{EngineClient, Identities, Seen, keys};
use oauth4os_oauth::{ClusterKeys, EngineKeys, NewKey, RetiringKey};
use oauth4os_store::{KeyUse, Pending, Store, StoreError, StoredKey};
use oauth4os_telemetry::audit::{Audit, Event};
use oauth4os_tokens::clock::{Clock, UnixTime};
use oauth4os_tokens::id;
use oauth4os_tokens::keys::{KeyError, PublicKey, SigningKey};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify};

/// How soon the engine is asked again whether it takes a key, or refuses one; each time twice as long, up to the most. A key
/// that it refuses is a failed login to it, so it is not asked more often than need be.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often a cluster with nothing to do is looked at.
const IDLE: Duration = Duration::from_secs(3_600);

/// What is added to the lifetime of a token: the engine takes it a little longer, and a request may be on its way.
const GRACE: Duration = Duration::from_secs(CLOCK_SKEW_SECONDS as u64 + 5);

/// The keys of internal tokens of a running gateway.
pub(crate) struct Rotation {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    audit: Audit,
    /// Of an internal token.
    lifetime: Duration,
    clusters: Vec<Rotating>,
    /// One task at a time looks what has become of a key in all clusters.
    settling: Mutex<()>,
}

/// A cluster whose engine goes by a key.
pub(crate) struct Rotating {
    pub(crate) name: Option<String>,
    pub(crate) engine: EngineClient,
    /// Those of the data plane too.
    pub(crate) identities: Identities,
    /// Whether the engine fetches the keys.
    pub(crate) fetches: bool,
    pub(crate) state: State,
}

/// What is known of a cluster beside what is on the disk.
#[derive(Default)]
pub(crate) struct State {
    jwks: RwLock<Bytes>,
    problem: RwLock<Option<String>>,
    wake: Notify,
    /// A key that no engine knows: a token of it has the engine fetch the keys again.
    stranger: Mutex<Option<Arc<SigningKey>>>,
}

#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Identity(#[from] oauth4os_engine::IdentityError),
}

/// When a cluster has to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Something keeps it from going on.
    Again,
    At(UnixTime),
    Idle,
}

impl Next {
    fn sooner(self, other: Self) -> Self {
        match (self, other) {
            (Self::Again, _) | (_, Self::Again) => Self::Again,
            (Self::At(a), Self::At(b)) => Self::At(a.min(b)),
            (Self::Idle, next) | (next, Self::Idle) => next,
        }
    }
}

impl Rotation {
    /// Publishes what is to be published. Clusters that are not among these are forgotten.
    pub(crate) async fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        audit: Audit,
        lifetime: Duration,
        clusters: Vec<Rotating>,
    ) -> Result<Self, StoreError> {
        store.keep_engine_keys_of(clusters.iter().map(|cluster| cluster.key().to_owned()).collect()).await?;
        let rotation = Self { store, clock, audit, lifetime, clusters, settling: Mutex::default() };
        rotation.publish().await?;
        Ok(rotation)
    }

    /// Sees to each cluster, in a task of its own.
    pub(crate) fn start(self: &Arc<Self>, control: &Handle) {
        for number in 0..self.clusters.len() {
            let rotation = Arc::clone(self);
            control.spawn(async move { rotation.tend(number).await });
        }
    }

    async fn tend(&self, number: usize) {
        let Some(cluster) = self.clusters.get(number) else { return };
        let mut wait = FIRST_WAIT;
        loop {
            let next = match self.step(cluster).await {
                Ok(next) => next,
                Err(error) => {
                    cluster.say(Some(error.to_string()));
                    Next::Again
                }
            };
            let pause = match next {
                Next::Again => wait,
                Next::At(time) => time.since(self.clock.now()).clamp(FIRST_WAIT, IDLE),
                Next::Idle => IDLE,
            };
            wait = if next == Next::Again { (wait * 2).min(LONGEST_WAIT) } else { FIRST_WAIT };
            if tokio::time::timeout(pause, cluster.state.wake.notified()).await.is_ok() {
                wait = FIRST_WAIT;
            }
        }
    }

    /// Goes on from what is on the disk, as far as the engine lets it.
    async fn step(&self, cluster: &Rotating) -> Result<Next, StepError> {
        let mut keys = self.store.engine_keys().await?.of_cluster(cluster.key())?;
        cluster.publish(&keys.public(self.clock.now()));
        let (mut next, mut problem) = (Next::Idle, None);
        if let Some(waiting) = keys.waiting.clone() {
            let seen = keys::seen(&cluster.engine, &cluster.identities, &waiting, self.clock.now()).await?;
            if seen.is_taken_by_all() {
                self.store.switch_engine_key(cluster.key(), waiting.kid()).await?;
                keys = self.store.engine_keys().await?.of_cluster(cluster.key())?;
            } else {
                problem = Some(cluster.why_not_taken(&waiting, &seen));
                next = Next::Again;
            }
        }
        self.adopt(cluster, &keys.signing).await?;
        for retiring in &keys.retiring {
            let now = self.clock.now();
            match retiring.ends_at {
                // The process that used it last was ended before it could say.
                None => next = next.sooner(Next::At(self.ends(cluster, retiring.key.kid()).await?)),
                Some(end) if end > now => next = next.sooner(Next::At(end)),
                Some(_) => {
                    cluster.publish(&keys.public(now));
                    if let Some(reason) = self.still_takes(cluster, &retiring.key).await? {
                        problem = problem.or(Some(reason));
                        next = Next::Again;
                    } else {
                        self.store.forget_engine_key(cluster.key(), retiring.key.kid()).await?;
                    }
                }
            }
        }
        cluster.say(problem);
        self.settle().await?;
        Ok(next)
    }

    /// Signs with the key that signs according to the disk.
    async fn adopt(&self, cluster: &Rotating, signing: &Arc<SigningKey>) -> Result<(), StoreError> {
        let before = cluster.identities.kid().filter(|kid| kid != signing.kid());
        let Some(before) = before else { return Ok(()) };
        cluster.identities.sign_with(Arc::clone(signing));
        tracing::info!(
            cluster = cluster.name,
            kid = signing.kid(),
            "tokens for the engine are signed with the new key"
        );
        self.record("engine_key.active", cluster.name.as_deref(), signing.kid());
        // Counted from here on: until now the one before may have signed.
        self.ends(cluster, &before).await.map(drop)
    }

    /// Notes when the last token of a key that signs no more has ended.
    async fn ends(&self, cluster: &Rotating, kid: &str) -> Result<UnixTime, StoreError> {
        let end = self.clock.now() + self.lifetime + GRACE;
        self.store.set_engine_key_end(cluster.key(), kid, end).await?;
        Ok(end)
    }

    /// Whether a node takes tokens of a key that is over, or may do so: in a sentence.
    async fn still_takes(&self, cluster: &Rotating, key: &Arc<SigningKey>) -> Result<Option<String>, StepError> {
        let now = self.clock.now();
        if cluster.fetches
            && let Some(stranger) = cluster.stranger().await
        {
            // The engine keeps what it has fetched until it meets a key it does not know.
            keys::seen(&cluster.engine, &cluster.identities, &stranger, now).await?;
        }
        let seen = keys::seen(&cluster.engine, &cluster.identities, key, now).await?;
        if seen.is_refused_by_all() {
            return Ok(None);
        }
        let kid = key.kid();
        Ok(Some(if seen.takes == 0 {
            format!(
                "whether the engine takes tokens of the key `{kid}`, which is over, is not known: {}",
                seen.unknown.join("; ")
            )
        } else {
            format!(
                "the engine still takes tokens of the key `{kid}`, which is over: run `oauth4os engine setup --apply`"
            )
        }))
    }

    /// What follows when all clusters have gone over, or none has to do with a key any more.
    async fn settle(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.settling.lock().await;
        let keyring = self.store.engine_keys().await?;
        if let Some(kid) = keyring.is_taken_by_all(self.clusters.iter().map(Rotating::key)) {
            self.store.promote_waiting_key(kid).await?;
            tracing::info!(kid, "every cluster has gone over to the new key");
        }
        let keyring = self.store.engine_keys().await?;
        for kid in keyring.needed_by_none() {
            self.store.retire_key(kid).await?;
            tracing::info!(kid, "no engine takes the key before any more; it is erased");
            self.record("engine_key.retired", None, kid);
        }
        Ok(())
    }

    async fn publish(&self) -> Result<(), StoreError> {
        let keyring = self.store.engine_keys().await?;
        for cluster in &self.clusters {
            cluster.publish(&keyring.of_cluster(cluster.key())?.public(self.clock.now()));
        }
        Ok(())
    }

    fn record(&self, event: &'static str, cluster: Option<&str>, kid: &str) {
        // The record of it is not worth more than the key itself.
        let request_id = id::request_id().unwrap_or_default();
        let mut event = Event::new(self.clock.now(), event, &request_id, "allow");
        event.cluster = cluster;
        event.kid = Some(kid);
        self.audit.record(&event);
    }

    async fn make(&self) -> Result<Option<NewKey>, StoreError> {
        if self.clusters.is_empty() {
            return Ok(None);
        }
        let waiting = self.store.engine_keys().await?.waiting().map(str::to_owned);
        let made = match waiting {
            Some(kid) => NewKey { kid, is_made: false },
            None => {
                let usage = KeyUse::Internal;
                let candidate = StoredKey::of(&generate().await?, usage, self.clock.now())?;
                let candidate_kid = candidate.kid.clone();
                let kid = self.store.add_waiting_key(candidate).await?;
                NewKey { is_made: kid == candidate_kid, kid }
            }
        };
        // Before an engine is asked: one that fetches the keys finds it.
        self.publish().await?;
        for cluster in &self.clusters {
            cluster.state.wake.notify_one();
        }
        if made.is_made {
            tracing::info!(kid = made.kid, "a new key for the engine waits until the engine takes it");
        }
        Ok(Some(made))
    }

    async fn look(&self) -> Result<Vec<ClusterKeys>, StoreError> {
        let keyring = self.store.engine_keys().await?;
        let of = |cluster: &Rotating| {
            let keys = keyring.of_cluster(cluster.key())?;
            let retiring = keys
                .retiring
                .iter()
                .map(|retiring| RetiringKey { kid: retiring.key.kid().to_owned(), ends_at: retiring.ends_at });
            Ok(ClusterKeys {
                cluster: cluster.name.clone(),
                signing: keys.signing.kid().to_owned(),
                waiting: keys.waiting.as_ref().map(|key| key.kid().to_owned()),
                retiring: retiring.collect(),
                problem: cluster.state.problem.read().unwrap_or_else(PoisonError::into_inner).clone(),
            })
        };
        self.clusters.iter().map(of).collect()
    }
}

impl EngineKeys for Rotation {
    fn jwks(&self, cluster: Option<&str>) -> Option<Bytes> {
        let found = self.clusters.iter().find(|rotating| rotating.name.as_deref() == cluster && rotating.fetches)?;
        Some(found.state.jwks.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn rotate(&self) -> Pending<'_, Option<NewKey>> {
        Box::pin(self.make())
    }

    fn clusters(&self) -> Pending<'_, Vec<ClusterKeys>> {
        Box::pin(self.look())
    }
}

impl std::fmt::Debug for Rotation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.clusters.iter().map(Rotating::key).collect();
        f.debug_struct("Rotation").field("clusters", &names).finish_non_exhaustive()
    }
}

impl Rotating {
    /// What the store calls the cluster.
    fn key(&self) -> &str {
        key(self.name.as_deref())
    }

    fn publish(&self, keys: &[Arc<PublicKey>]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        let document = Bytes::from(json!({"keys": keys}).to_string());
        *self.state.jwks.write().unwrap_or_else(PoisonError::into_inner) = document;
    }

    /// Says what keeps the cluster from going on, when it is something new.
    fn say(&self, problem: Option<String>) {
        let mut said = self.state.problem.write().unwrap_or_else(PoisonError::into_inner);
        if *said != problem {
            if let Some(problem) = &problem {
                tracing::warn!(cluster = self.name, problem, "a key for the engine is not replaced yet");
            }
            *said = problem;
        }
    }

    fn why_not_taken(&self, key: &SigningKey, seen: &Seen) -> String {
        let kid = key.kid();
        if !seen.unknown.is_empty() {
            return format!("whether the engine takes the key `{kid}` is not known: {}", seen.unknown.join("; "));
        }
        let what = if self.fetches {
            "it has to reach the gateway at the `jwks_uri` of its auth domain, which `oauth4os engine setup` writes"
        } else {
            "run `oauth4os engine setup --apply`"
        };
        format!("the engine does not take the key `{kid}` yet ({}): {what}", seen.refuses.join(", "))
    }

    async fn stranger(&self) -> Option<Arc<SigningKey>> {
        let mut stranger = self.state.stranger.lock().await;
        if stranger.is_none() {
            *stranger = generate().await.ok().map(Arc::new);
        }
        stranger.clone()
    }
}

/// What the store calls a cluster.
pub(crate) fn key(name: Option<&str>) -> &str {
    name.unwrap_or_default()
}

/// Off the runtime's threads: an RSA key takes a tenth of a second and more.
async fn generate() -> Result<SigningKey, StoreError> {
    let key = tokio::task::spawn_blocking(|| SigningKey::generate(KeyUse::Internal.algorithm())).await;
    Ok(key.map_err(|_| StoreError::Key(KeyError::Generate))??)
}
