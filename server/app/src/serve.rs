//! The life of the serving process: open the state, build the parts, serve, drain, close.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_config::{Audit as AuditConfig, AuditFailure, Config};
use oauth4os_federation::{Providers, TrustedIssuers};
use oauth4os_oauth::{
    Authority, ClientAddress, ClientCertificate, ClientDirectory, FirstAdmin, LoggedInPerson, LoginSink, OpaqueSink,
    Parts, RequestId, RevocationSink, Settings, ensure_first_admin, is_own_path, router,
};
use oauth4os_proxy::{ControlPlane, Gateway, Logins, OpaqueToken, OpaqueTokens, Person, Revocations, Setup};
use oauth4os_store::{IssuedToken, KeyUse, RevokedToken, SecretHash, Store, signing_keys};
use oauth4os_telemetry::audit::{Audit, AuditWriter};
use oauth4os_telemetry::metrics::Metrics;
use oauth4os_tokens::clock::{Clock, SystemClock};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::Running;
use crate::expiry::Expiry;
use crate::monitor::{self, EngineWatch};
use crate::reload::Reloader;
use crate::rotation::Rotation;
use crate::tls::ServerTls;
use crate::{Failure, cluster, first_admin, parts, state};

/// Threads of the control plane: enough that a slow disk or a slow login holds up nobody else.
const CONTROL_THREADS: usize = 2;

/// How long an expired token is listed, and how often those that are older are looked for.
const KEPT_AFTER_EXPIRY: Duration = Duration::from_secs(30 * 86_400);
/// How long a used assertion is remembered once it is refused for its age: a clock that is set back by less than that brings none
/// to life again.
const SPENT_KEPT: Duration = Duration::from_secs(86_400);
const PURGE_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long the start waits for an engine that fetches the keys from this gateway.
const FETCHING_PATIENCE: Duration = Duration::from_secs(2);

/// How long the start waits for the keys of providers. Without them the gateway serves all the same.
const PROVIDERS_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT; SIGHUP reloads the configuration, which is in the file at `path`.
pub(crate) fn run(config: Config, path: &Path) -> Result<(), Failure> {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()?;
    // First, so that none of them ends the process unasked.
    let mut signals = control.block_on(async { Signals::listen() })?;
    let (audit, audit_writer) = open_audit(&config.audit)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let store: Arc<dyn Store> = Arc::new(control.block_on(state::open(&config.state, Arc::clone(&clock)))?);
    let (gateway, mut reloader) = start(config, path, &control, Arc::clone(&store), clock, audit)?;
    let config = &reloader.config;
    let addresses = gateway.addresses().map(|address| address.to_string()).collect::<Vec<_>>().join(", ");
    tracing::info!(addresses, issuer = config.issuer, workers = config.workers, "serving");

    let reason = control.block_on(async {
        loop {
            match signals.next().await {
                Told::Reload => reloader.reload(&gateway).await,
                Told::Stop(reason) => break reason,
            }
        }
    });
    tracing::info!(reason, "stopping: no new connections, requests that are under way go on");
    gateway.stop();
    control.block_on(store.close())?;
    audit_writer.close();
    tracing::info!("stopped");
    Ok(())
}

fn open_audit(config: &AuditConfig) -> Result<(Audit, AuditWriter), Failure> {
    let (audit, writer) = match &config.file {
        Some(path) => Audit::to_file(path)?,
        None => Audit::to_stdout(),
    };
    Ok((if config.on_failure == AuditFailure::Refuse { audit.refusing() } else { audit }, writer))
}

/// Builds all parts and starts the data plane.
fn start(
    config: Config,
    path: &Path,
    control: &Runtime,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    audit: Audit,
) -> Result<(Gateway, Reloader), Failure> {
    let policies = parts::policies(&config)?;
    let rates = parts::rates(&config)?;
    let server_tls = ServerTls::load(&config.tls, config.limits.http2_streams > 0)?;
    let clusters = config.clusters().iter().map(Running::new).collect::<Result<Vec<_>, _>>()?;
    let cluster_names = parts::cluster_names(&config);
    let metrics = Arc::new(Metrics::new());
    let engine_watch = Arc::new(EngineWatch::new(&clusters, audit.clone()));
    let revocations = Arc::new(Revocations::default());
    let opaque = Arc::new(OpaqueTokens::default());
    let logins = Arc::new(Logins::default());
    let providers = Arc::new(Providers::new(&config.providers, &cluster_names, &clock, &metrics)?);

    let scopes = cluster::client_scopes(&config, &policies)?;
    let internal_keys = control.block_on(async {
        // The first start makes one.
        signing_keys(store.as_ref(), KeyUse::Internal, clock.now()).await?;
        store.engine_keys().await
    })?;
    let (mut setups, mut rotating) = (Vec::new(), Vec::new());
    for (running, cluster) in clusters.iter().zip(config.clusters()) {
        let setup = running.setup(&config, cluster, &internal_keys)?;
        rotating.extend(running.rotating(cluster, &setup));
        setups.push(setup);
    }

    let (authority, rotation) = control.block_on(async {
        let shown = first_admin::path(&config.state.directory);
        let show = |admin: &FirstAdmin| first_admin::show(admin, &shown);
        if ensure_first_admin(store.as_ref(), clock.as_ref(), &config.clients, show).await?.is_some() {
            tracing::info!(path = %shown.display(), "first start: the administrator's credential is in this file; keep it safe and delete the file");
        }
        let now = clock.now();
        let lifetime = config.tokens.internal_lifetime.as_duration();
        let rotation = Rotation::new(Arc::clone(&store), Arc::clone(&clock), audit.clone(), lifetime, rotating).await?;
        let rotation = Arc::new(rotation);
        let clients = ClientDirectory::load(&config.clients, cluster_names.clone(), Arc::clone(&store), Arc::clone(&clock)).await?;
        // Before the first request: a token that was revoked stays revoked over a restart.
        revocations.revoke(revoked(&store.revoked_tokens().await?), now);
        let sink = Arc::new(Sink { revocations: Arc::clone(&revocations), opaque: Arc::clone(&opaque), logins: Arc::clone(&logins), clock: Arc::clone(&clock) });
        // And one that was given out stays good.
        for token in store.opaque_tokens().await? {
            if let Some(hash) = token.hash {
                sink.issued(&hash, &token);
            }
        }
        let authority = Authority::new(Parts {
            settings: Settings {
                issuer: config.issuer.clone(),
                audience: config.audience().to_owned(),
                token_lifetime: config.tokens.lifetime.as_duration(),
                clusters: cluster_names.clone(),
                session_lifetime: config.sessions.lifetime.as_duration(),
                session_idle: config.sessions.idle.as_duration(),
                refresh_idle: config.sessions.refresh_idle.as_duration(),
            },
            keys: signing_keys(store.as_ref(), KeyUse::Access, now).await?,
            store: Arc::clone(&store),
            clients: Arc::new(clients),
            trusted_issuers: TrustedIssuers::new(&config.trusted_issuers, &clock, &metrics)?,
            clock: Arc::clone(&clock),
            audit: audit.clone(),
            metrics: Arc::clone(&metrics),
            revocations: Arc::clone(&sink) as _,
            opaque: Arc::clone(&sink) as _,
            providers: Arc::clone(&providers),
            logins: sink,
            readiness: Arc::clone(&engine_watch) as _,
            engine_keys: Arc::clone(&rotation) as _,
        })?;
        // Persons stay logged in over a restart.
        authority.restore_logins().await?;
        Ok::<_, Failure>((Arc::new(authority), rotation))
    })?;

    parts::check_workloads(&config)?;
    let mut looks = Vec::new();
    for (((running, cluster), setup), scopes) in clusters.iter().zip(config.clusters()).zip(&setups).zip(scopes) {
        looks.push(running.watch_names(cluster, setup, scopes, Arc::clone(&clock), control));
        running.watch_keys(control);
    }
    // One that gives no answer holds nobody up who does not need it; nor does one that first has to fetch the keys, which it
    // can only when the gateway listens.
    control.block_on(async {
        for (look, cluster) in looks.into_iter().zip(config.clusters()) {
            let patience = if cluster::fetches_keys(cluster) { FETCHING_PATIENCE } else { Duration::MAX };
            let _ = tokio::time::timeout(patience, look).await;
        }
    });
    control.spawn(purge(Arc::clone(&store), Arc::clone(&clock)));
    for (number, cluster) in clusters.iter().enumerate() {
        let (watch, engine) = (Arc::clone(&engine_watch), cluster.engine.clone());
        control.spawn(async move { watch.run(number, engine).await });
    }
    if let Some(address) = config.metrics.listen {
        control
            .block_on(monitor::listen(address, Arc::clone(&metrics), audit.clone(), engine_watch))
            .map_err(|error| format!("cannot listen on `{address}` for metrics: {error}; change `metrics.listen`"))?;
    }

    control.block_on(providers.start(PROVIDERS_PATIENCE));
    let snapshot = parts::snapshot(&config, &authority, Arc::clone(&providers), &policies, rates);
    let expiry = Arc::new(Expiry::new(Arc::clone(&metrics), Arc::clone(&clock)));
    expiry.note(&server_tls, &clusters);
    let gateway = Gateway::start(Setup {
        listen: config.listen,
        workers: config.workers,
        issuer: config.issuer.clone(),
        limits: config.limits.clone(),
        listener: parts::listener(&config, &server_tls),
        clusters: setups,
        snapshot,
        revocations,
        opaque,
        logins,
        control: ControlPlane::new(
            router(Arc::clone(&authority)),
            control.handle().clone(),
            is_own_path,
            Box::new(|extensions, origin| {
                extensions.insert(ClientAddress(origin.address));
                extensions.insert(RequestId(origin.request_id));
                extensions.insert(ClientCertificate(origin.certificate));
            }),
        ),
        metrics: Arc::clone(&metrics),
        audit: audit.clone(),
        clock: Arc::clone(&clock),
    })?;
    // Last: an engine that is shown a new key may ask for it here.
    rotation.start(control.handle());
    let path = path.to_owned();
    let reloader = Reloader { path, config, server_tls, clusters, authority, providers, metrics, expiry, audit, clock };
    control.spawn(Arc::clone(&reloader.expiry).watch());
    Ok((gateway, reloader))
}

/// Forgets tokens and used assertions that have expired long ago.
async fn purge(store: Arc<dyn Store>, clock: Arc<dyn Clock>) {
    let mut every = tokio::time::interval(PURGE_INTERVAL);
    loop {
        every.tick().await;
        if let Err(error) = store.purge_expired(clock.now() - KEPT_AFTER_EXPIRY).await {
            tracing::warn!(%error, "expired tokens could not be forgotten; the next try is in an hour");
        }
        if let Err(error) = store.forget_spent(clock.now() - SPENT_KEPT).await {
            tracing::warn!(%error, "used assertions could not be forgotten; the next try is in an hour");
        }
        if let Err(error) = store.purge_logins(clock.now() - KEPT_AFTER_EXPIRY).await {
            tracing::warn!(%error, "ended logins could not be forgotten; the next try is in an hour");
        }
    }
}

/// What the process can be told from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

enum Told {
    Stop(&'static str),
    Reload,
}

impl Signals {
    /// To be called in a runtime.
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Told::Stop("SIGINT"),
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}

/// Puts what the control plane issues, and who has logged in, in force on the data plane, and takes what it revokes out of use.
#[derive(Debug)]
struct Sink {
    revocations: Arc<Revocations>,
    opaque: Arc<OpaqueTokens>,
    logins: Arc<Logins>,
    clock: Arc<dyn Clock>,
}

impl OpaqueSink for Sink {
    fn has_room(&self, client_id: &str) -> bool {
        self.opaque.has_room(client_id, self.clock.now())
    }

    fn issued(&self, hash: &SecretHash, token: &IssuedToken) {
        let IssuedToken { id, client_id, subject, act, scope, expires_at, descent, .. } = token.clone();
        let login = descent.map(|descent| descent.login);
        let token = OpaqueToken { id, client_id, subject, act, scope, expires_at, login };
        self.opaque.add(*hash.as_bytes(), token, self.clock.now());
    }
}

impl LoginSink for Sink {
    fn logged_in(&self, id: &str, person: LoggedInPerson) {
        let LoggedInPerson { provider, outsider, ends_at } = person;
        self.logins.put(id, Person { provider, outsider, ends_at }, self.clock.now());
    }

    fn logged_out(&self, id: &str) {
        self.logins.remove(id);
    }
}

impl RevocationSink for Sink {
    fn revoked(&self, tokens: &[RevokedToken]) {
        self.revocations.revoke(revoked(tokens), self.clock.now());
        self.opaque.forget(tokens.iter().map(|token| token.id.as_str()));
    }
}

fn revoked(tokens: &[RevokedToken]) -> Vec<(String, oauth4os_tokens::clock::UnixTime)> {
    tokens.iter().map(|token| (token.id.clone(), token.expires_at)).collect()
}
