//! What a worker has: a pool and caches of its own, and what all workers share. A worker is one thread; it waits for no
//! other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use oauth4os_classify::Operation;
use oauth4os_config::Limits;
use oauth4os_policy::Clusters;
use oauth4os_telemetry::audit::{Audit, AuditBuffer};
use oauth4os_telemetry::metrics::{ConnectionRefusal, Metrics};
use oauth4os_tokens::clock::Clock;
use quick_cache::unsync::Cache;
use tokio::sync::{Notify, watch};

use crate::arrival::Listener;
use crate::cluster::{Cluster, Ways};
use crate::control::ControlPlane;
use crate::logins::Logins;
use crate::opaque::OpaqueTokens;
use crate::revocation::Revocations;
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::strangers::Strangers;

/// Request targets whose classification is kept, and the longest one.
const CLASSIFICATIONS: usize = 4_096;
pub(crate) const MAX_KEPT_TARGET: usize = 512;

/// How long a drain waits at its end for the records of what it ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) issuer: String,
    pub(crate) limits: Limits,
    pub(crate) listener: ArcSwap<Listener>,
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// Tells that `listener` or `snapshot` is another one.
    pub(crate) changed: watch::Sender<()>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) opaque: Arc<OpaqueTokens>,
    pub(crate) logins: Arc<Logins>,
    pub(crate) strangers: Strangers,
    pub(crate) clusters: Vec<Cluster>,
    /// The names of the clusters, for scopes.
    pub(crate) cluster_names: Clusters,
    pub(crate) control: ControlPlane,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Audit,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) connections: AtomicUsize,
}

/// The number of a cluster, and the hash of a credential.
pub(crate) type SessionKey = (usize, [u8; 32]);

/// One worker's own things.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    /// To each of the clusters, in their order.
    pub(crate) ways: Vec<Ways>,
    pub(crate) sessions: RefCell<Cache<SessionKey, Rc<Session>>>,
    pub(crate) operations: RefCell<Cache<(String, String), Rc<Operation>>>,
    pub(crate) requests: RequestIds,
    active: Cell<usize>,
    draining: Cell<bool>,
    drain_begins: Notify,
    /// Connections that say goodbye before they are closed.
    shared_connections: Cell<usize>,
    quiet: Notify,
    /// WebSockets that are open, and what ends those that are at the end of a drain.
    tunnels: Cell<usize>,
    tunnels_ended: Notify,
    is_time_up: Cell<bool>,
    time_is_up: Notify,
}

thread_local! {
    /// The audit lines of this thread, handed over whenever the worker has nothing else to do.
    static AUDIT: RefCell<Option<AuditBuffer>> = const { RefCell::new(None) };
}

/// Gives this thread a buffer for its lines, or takes it away.
pub(crate) fn keep_audit(buffer: Option<AuditBuffer>) {
    AUDIT.set(buffer);
}

/// Adds an event to this worker's lines.
pub(crate) fn with_audit(record: impl FnOnce(&mut AuditBuffer)) {
    AUDIT.with_borrow_mut(|buffer| {
        if let Some(buffer) = buffer {
            record(buffer);
        }
    });
}

/// One of the connections that may be open at once.
pub(crate) struct ConnectionSlot {
    pub(crate) worker: Rc<Worker>,
}

impl ConnectionSlot {
    pub(crate) fn take(worker: &Rc<Worker>) -> Option<Self> {
        let shared = &worker.shared;
        if shared.connections.fetch_add(1, Ordering::Relaxed) >= shared.limits.connections {
            shared.connections.fetch_sub(1, Ordering::Relaxed);
            shared.metrics.connection_refused(ConnectionRefusal::Limit);
            return None;
        }
        shared.metrics.connections.inc();
        Some(Self { worker: Rc::clone(worker) })
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.worker.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.worker.shared.metrics.connections.dec();
    }
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, ways: Vec<Ways>, request_prefix: String) -> Self {
        let sessions = shared.limits.token_cache;
        Self {
            shared,
            ways,
            sessions: RefCell::new(Cache::new(sessions)),
            operations: RefCell::new(Cache::new(CLASSIFICATIONS)),
            requests: RequestIds::new(request_prefix),
            active: Cell::new(0),
            draining: Cell::new(false),
            drain_begins: Notify::new(),
            shared_connections: Cell::new(0),
            quiet: Notify::new(),
            tunnels: Cell::new(0),
            tunnels_ended: Notify::new(),
            is_time_up: Cell::new(false),
            time_is_up: Notify::new(),
        }
    }

    /// Whether connections should be closed after the request they are serving.
    pub(crate) const fn is_draining(&self) -> bool {
        self.draining.get()
    }

    /// Counts a request as under way until the answer is dropped.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.active.set(self.active.get() + 1);
        UnderWay(self)
    }

    /// Counts a connection that carries many requests at once as open until the answer is dropped: a drain waits for it to
    /// say goodbye.
    pub(crate) fn share_connection(&self) -> SharedConnection<'_> {
        self.shared_connections.set(self.shared_connections.get() + 1);
        SharedConnection(self)
    }

    /// Counts a WebSocket as open until the answer is dropped.
    pub(crate) fn open_tunnel(&self) -> OpenTunnel<'_> {
        self.tunnels.set(self.tunnels.get() + 1);
        self.shared.metrics.websockets.inc();
        OpenTunnel(self)
    }

    /// Waits until nothing may go on any more.
    pub(crate) async fn time_is_up(&self) {
        let is_up = self.time_is_up.notified();
        if !self.is_time_up.get() {
            is_up.await;
        }
    }

    /// Waits until connections should be closed.
    pub(crate) async fn drain_begins(&self) {
        let begins = self.drain_begins.notified();
        if !self.is_draining() {
            begins.await;
        }
    }

    /// Lets no connection go on after its request, and waits for the requests that are under way.
    pub(crate) async fn drain(&self, timeout: Duration) {
        self.draining.set(true);
        self.drain_begins.notify_waiters();
        let all_done = async {
            while self.active.get() > 0 || self.shared_connections.get() > 0 {
                self.quiet.notified().await;
            }
        };
        if tokio::time::timeout(timeout, all_done).await.is_err() {
            tracing::warn!(requests = self.active.get(), "requests were still under way when the time to stop was up");
            self.is_time_up.set(true);
            self.time_is_up.notify_waiters();
            let recorded = async {
                while self.tunnels.get() > 0 {
                    self.tunnels_ended.notified().await;
                }
            };
            // They wait for nobody to write down how they ended.
            let _ = tokio::time::timeout(LAST_WORDS, recorded).await;
        }
    }
}

/// A request that is under way.
pub(crate) struct UnderWay<'a>(&'a Worker);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get() - 1);
        if self.0.active.get() == 0 {
            self.0.quiet.notify_one();
        }
    }
}

/// A WebSocket that is open.
pub(crate) struct OpenTunnel<'a>(&'a Worker);

impl Drop for OpenTunnel<'_> {
    fn drop(&mut self) {
        self.0.shared.metrics.websockets.dec();
        self.0.tunnels.set(self.0.tunnels.get() - 1);
        if self.0.tunnels.get() == 0 {
            self.0.tunnels_ended.notify_one();
        }
    }
}

/// A connection that carries many requests at once.
pub(crate) struct SharedConnection<'a>(&'a Worker);

impl Drop for SharedConnection<'_> {
    fn drop(&mut self) {
        self.0.shared_connections.set(self.0.shared_connections.get() - 1);
        if self.0.shared_connections.get() == 0 {
            self.0.quiet.notify_one();
        }
    }
}

/// Makes ids for requests: a random prefix for the worker's life, then a number.
pub(crate) struct RequestIds {
    prefix: String,
    next: Cell<u64>,
}

impl RequestIds {
    const fn new(prefix: String) -> Self {
        Self { prefix, next: Cell::new(0) }
    }

    /// Writes the next id to `id`.
    pub(crate) fn write_next(&self, id: &mut String) {
        use std::fmt::Write;
        let number = self.next.get();
        self.next.set(number + 1);
        id.clear();
        // Writing to memory does not fail.
        let _ = write!(id, "{}-{number:x}", self.prefix);
    }
}
