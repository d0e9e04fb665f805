//! Starting and stopping the data plane.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use oauth4os_config::{ConnectionPool, Limits, PartialAccess};
use oauth4os_engine::HandOver;
use oauth4os_telemetry::audit::Audit;
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::Clock;
use oauth4os_tokens::id;
use tokio::sync::watch;

use crate::arrival::Listener;
use crate::cluster::{Cluster, Entrance};
use crate::control::ControlPlane;
use crate::dashboards;
use crate::identity::Identities;
use crate::logins::Logins;
use crate::names::Names;
use crate::nodes::Health;
use crate::opaque::OpaqueTokens;
use crate::points_in_time::PointsInTime;
use crate::pool::Pool;
use crate::revocation::Revocations;
use crate::serve::{self, Pools};
use crate::snapshot::Snapshot;
use crate::strangers::Strangers;
use crate::transport::{Dialer, InvalidHost};
use crate::worker::Shared;

/// What the data plane is made of.
pub struct Setup {
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads that serve requests.
    pub workers: usize,
    /// The gateway's issuer name, for challenges.
    pub issuer: String,
    /// Limits.
    pub limits: Limits,
    /// What connections meet first.
    pub listener: Listener,
    /// The clusters.
    pub clusters: Vec<ClusterSetup>,
    /// The first snapshot.
    pub snapshot: Snapshot,
    /// Tokens that are revoked; shared with the control plane.
    pub revocations: Arc<Revocations>,
    /// Opaque tokens in force; shared with the control plane.
    pub opaque: Arc<OpaqueTokens>,
    /// Persons who are logged in.
    pub logins: Arc<Logins>,
    /// The gateway's own endpoints.
    pub control: ControlPlane,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Where decisions are recorded.
    pub audit: Audit,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// What the data plane is told of a cluster.
pub struct ClusterSetup {
    /// Its name, which requests are meant for it, where its servers are.
    pub config: oauth4os_config::Cluster,
    /// Whom to trust when the engine shows its certificate.
    pub engine_tls: Arc<rustls::ClientConfig>,
    /// Whom to trust when Dashboards shows its certificate, if there is one.
    pub dashboards_tls: Option<Arc<rustls::ClientConfig>>,
    /// Makes the identities the engine is handed.
    pub identities: HandOver,
    /// The names of the engine's indices; kept up to date by the control plane.
    pub names: Arc<Names>,
}

/// The data plane could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is taken or not this machine's.
    #[error("cannot listen on `{address}`: {source}; change the `listen` that names it, or stop what has the port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The engine's URL cannot be used.
    #[error("upstream.engine.url: {0}")]
    Engine(String),
    /// The URL of Dashboards cannot be used.
    #[error("upstream.dashboards.url: {0}")]
    Dashboards(String),
    /// The engine's host name cannot be used.
    #[error(transparent)]
    Host(#[from] InvalidHost),
    /// A thread could not be started.
    #[error("cannot start a worker: {0}")]
    Thread(io::Error),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Randomness,
}

/// How each worker's connections to a cluster are made.
struct Lines {
    engine: Vec<Line>,
    dashboards: Option<Line>,
}

struct Line {
    who: &'static str,
    dialer: Dialer,
    connections: ConnectionPool,
    timeout: Duration,
}

impl Lines {
    fn pools(&self) -> Pools {
        Pools {
            engine: self.engine.iter().map(Line::pool).collect(),
            dashboards: self.dashboards.as_ref().map(Line::pool),
        }
    }
}

impl Line {
    fn pool(&self) -> Pool {
        Pool::new(self.who, self.dialer.clone(), self.connections, self.timeout)
    }
}

impl ClusterSetup {
    fn build(self, metrics: &Arc<Metrics>) -> Result<(Cluster, Lines), GatewayError> {
        let Self { config, engine_tls, dashboards_tls, identities, names } = self;
        let gets_the_rest = config.gets_the_rest();
        let engine = config.upstream.engine;
        let origins = engine.origins().map_err(|sentence| GatewayError::Engine(sentence.to_owned()))?;
        let (connections, timeout) = (engine.connections, engine.connect_timeout.as_duration());
        let line = |origin| {
            let dialer = Dialer::new(origin, Arc::clone(&engine_tls))?;
            Ok(Line { who: "the engine", dialer, connections, timeout })
        };
        let to_engine = origins.into_iter().map(line).collect::<Result<Vec<_>, GatewayError>>()?;
        let (mut dashboards, mut to_dashboards, mut hosts) = (None, None, config.hosts);
        if let Some((settings, tls)) = config.upstream.dashboards.zip(dashboards_tls) {
            let origin = settings.origin().map_err(|sentence| GatewayError::Dashboards(sentence.to_owned()))?;
            let (authority, connections) = (origin.authority.clone(), settings.connections);
            let timeout = settings.connect_timeout.as_duration();
            to_dashboards = Some(Line { who: "Dashboards", dialer: Dialer::new(origin, tls)?, connections, timeout });
            hosts.extend(settings.hosts.iter().cloned());
            let health = Arc::new(Health::new(1, Arc::clone(metrics)));
            dashboards = Some(dashboards::Dashboards::new(settings, authority, health));
        }
        let points_in_time = Arc::new(PointsInTime::new());
        let cluster = Cluster {
            gets_the_rest,
            name: config.name,
            hosts,
            path_prefix: config.path_prefix,
            response_timeout: engine.response_timeout.as_duration(),
            may_narrow: engine.partial_access == PartialAccess::Narrow,
            identities: Identities::new(identities),
            names,
            points_in_time,
            health: Arc::new(Health::new(to_engine.len(), Arc::clone(metrics))),
            dashboards,
            in_flight: AtomicUsize::new(0),
        };
        Ok((cluster, Lines { engine: to_engine, dashboards: to_dashboards }))
    }
}

/// Where connections come in. The gateway's own listener is the last, so that whoever finds it open finds all.
fn entrances(setup: &Setup) -> Vec<(Entrance, SocketAddr)> {
    let of_cluster = |(number, cluster): (usize, &ClusterSetup)| {
        let dashboards = cluster.config.upstream.dashboards.as_ref().and_then(|dashboards| dashboards.listen);
        let own = cluster.config.listen.map(|address| (Entrance::Cluster(number), address));
        own.into_iter().chain(dashboards.map(|address| (Entrance::Dashboards(number), address)))
    };
    let own = setup.clusters.iter().enumerate().flat_map(of_cluster);
    own.chain([(Entrance::Main, setup.listen)]).collect()
}

/// A running data plane.
pub struct Gateway {
    shared: Arc<Shared>,
    /// Where connections come in; the gateway's own listener is the last.
    entrances: Vec<(Entrance, SocketAddr)>,
    stop: watch::Sender<bool>,
    /// Held while a snapshot is published, so that one follows the other.
    publishing: Mutex<()>,
    workers: Vec<JoinHandle<io::Result<()>>>,
}

impl Gateway {
    /// Opens the listeners and starts the workers. When this returns, connections are accepted.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the engine's URL cannot be used.
    pub fn start(setup: Setup) -> Result<Self, GatewayError> {
        let cluster_names = setup.clusters.iter().filter_map(|cluster| cluster.config.name.clone()).collect();
        let entrances = entrances(&setup);
        let (mut clusters, mut lines) = (Vec::new(), Vec::new());
        for cluster in setup.clusters {
            let (cluster, to) = cluster.build(&setup.metrics)?;
            clusters.push(cluster);
            lines.push(to);
        }
        let shared = Arc::new(Shared {
            issuer: setup.issuer,
            limits: setup.limits,
            listener: ArcSwap::from_pointee(setup.listener),
            snapshot: ArcSwap::from_pointee(setup.snapshot),
            changed: watch::Sender::new(()),
            revocations: setup.revocations,
            opaque: setup.opaque,
            logins: setup.logins,
            strangers: Strangers::default(),
            clusters,
            cluster_names,
            control: setup.control,
            metrics: setup.metrics,
            audit: setup.audit,
            clock: setup.clock,
            connections: AtomicUsize::new(0),
        });
        let (stop, stopped) = watch::channel(false);
        let mut gateway =
            Self { shared, entrances, stop, publishing: Mutex::default(), workers: Vec::with_capacity(setup.workers) };
        for number in 0..setup.workers.max(1) {
            let pools = lines.iter().map(Lines::pools).collect();
            gateway.start_worker(number, pools, stopped.clone())?;
        }
        Ok(gateway)
    }

    fn start_worker(
        &mut self,
        number: usize,
        pools: Vec<Pools>,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), GatewayError> {
        let mut listeners = Vec::with_capacity(self.entrances.len());
        for (entrance, address) in &mut self.entrances {
            let wanted = *address;
            let refused = |source| GatewayError::Listen { address: wanted, source };
            let listener = serve::listen(wanted).map_err(refused)?;
            // The first worker's may have been given a free port; the others share it.
            *address = listener.local_addr().map_err(refused)?;
            listeners.push((*entrance, listener));
        }
        let shared = Arc::clone(&self.shared);
        let prefix = id::request_id().map_err(|_| GatewayError::Randomness)?;
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || serve::run(shared, pools, prefix, listeners, stopped))
            .map_err(GatewayError::Thread)?;
        self.workers.push(thread);
        Ok(())
    }

    /// The addresses that are listened on; the gateway's own is the last.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.entrances.iter().map(|(_, address)| *address)
    }

    /// Replaces the snapshot; the next request is decided by the new one.
    pub fn publish(&self, mut snapshot: Snapshot) {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        snapshot.follow(&self.shared.snapshot.load());
        self.shared.snapshot.store(Arc::new(snapshot));
        self.shared.changed.send_replace(());
    }

    /// Replaces certificate, key and the rules for addresses: new connections get the new certificate, open ones go on,
    /// and every request is held to the new rules.
    pub fn replace_listener(&self, listener: Listener) {
        self.shared.listener.store(Arc::new(listener));
        self.shared.changed.send_replace(());
    }

    /// Stops accepting, waits for what is under way as long as `limits.drain_timeout` allows, and ends the workers.
    pub fn stop(self) {
        // Without receivers every worker has ended already.
        let _ = self.stop.send(true);
        for worker in self.workers {
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a worker could not serve"),
                Err(_) => tracing::error!("a worker ended unexpectedly"),
            }
        }
    }
}
