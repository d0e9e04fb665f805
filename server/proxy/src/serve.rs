//! The life of a worker and of its connections: accept, TLS, one request after the other, drain.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_telemetry::audit::{AuditBuffer, Event};
use oauth4os_telemetry::metrics::ConnectionRefusal;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinSet, LocalSet};
use tokio_rustls::TlsAcceptor;

use crate::arrival::Unwelcome;
use crate::buffers::Buffer;
use crate::certificate::{PeerCertificate, refused_in_handshake};
use crate::cluster::{Cluster, Entrance, Ways};
use crate::connection::{ByteStream, Connection, Next};
use crate::deadline::Deadline;
use crate::nodes::Nodes;
use crate::pool::Pool;
use crate::worker::{ConnectionSlot, Shared, Worker, keep_audit, with_audit};
use crate::{exchange, http2};

/// Connections the kernel may hold before they are accepted.
const BACKLOG: i32 = 4_096;

/// How often connections nobody needs are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// Connections of one worker to a cluster.
pub(crate) struct Pools {
    pub(crate) engine: Vec<Pool>,
    pub(crate) dashboards: Option<Pool>,
}

impl Pools {
    fn ways(self, cluster: &Cluster) -> Ways {
        let dashboards = self.dashboards.zip(cluster.dashboards.as_ref());
        Ways {
            engine: Nodes::new(self.engine, &cluster.health),
            dashboards: dashboards.map(|(pool, shared)| Rc::new(Nodes::new([pool], &shared.health))),
        }
    }
}

/// A listening socket that shares its port with those of the other workers; the kernel spreads connections over them.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Serves connections of `listener` on the calling thread until `stop` becomes true and what is under way has ended.
pub(crate) fn run(
    shared: Arc<Shared>,
    pools: Vec<Pools>,
    request_prefix: String,
    listeners: Vec<(Entrance, std::net::TcpListener)>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    keep_audit(Some(AuditBuffer::new(shared.audit.clone())));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(|| with_audit(AuditBuffer::flush))
        .build()?;
    let drain_timeout = shared.limits.drain_timeout.as_duration();
    let ways = pools.into_iter().zip(&shared.clusters).map(|(pools, cluster)| pools.ways(cluster)).collect();
    let worker = Rc::new(Worker::new(shared, ways, request_prefix));
    let tasks = LocalSet::new();
    tasks.block_on(&runtime, async {
        let mut accepting = JoinSet::new();
        for (entrance, listener) in listeners {
            let listener = TcpListener::from_std(listener)?;
            accepting.spawn_local(accept(Rc::clone(&worker), entrance, listener, stop.clone()));
        }
        sweep(&worker, &mut stop).await;
        // Nothing is accepted any more when they have ended.
        while accepting.join_next().await.is_some() {}
        worker.drain(drain_timeout).await;
        Ok::<(), io::Error>(())
    })?;
    // Idle connections end here, with the tasks that hold them.
    drop(tasks);
    drop(runtime);
    keep_audit(None);
    Ok(())
}

/// Closes connections that nobody needs, until it is time to stop.
async fn sweep(worker: &Worker, stop: &mut watch::Receiver<bool>) {
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            _ = sweep.tick() => worker.ways.iter().for_each(Ways::sweep),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Accepts connections of one listener until it is time to stop.
async fn accept(worker: Rc<Worker>, entrance: Entrance, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    if let Some(slot) = ConnectionSlot::take(&worker) {
                        tokio::task::spawn_local(serve(slot, entrance, stream, peer.ip()));
                    }
                }
                Err(error) => {
                    // Mostly no file descriptor is left; others will be closed meanwhile.
                    tracing::warn!(%error, "a connection could not be accepted; raise the limit of open files if this goes on");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Serves a connection from its first byte to its last.
async fn serve(slot: ConnectionSlot, entrance: Entrance, mut stream: TcpStream, peer: IpAddr) {
    let worker = Rc::clone(&slot.worker);
    let limits = &worker.shared.limits;
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let mut deadline = Deadline::new(limits.head_timeout.as_duration());
    let listener = worker.shared.listener.load_full();
    let peer = match deadline.guard(listener.receive(&mut stream, entrance, peer)).await {
        Ok(Ok(address)) => address,
        Ok(Err(unwelcome)) => return note(&worker, peer, &unwelcome),
        Err(_) => return note(&worker, peer, &Unwelcome::Ended(io::ErrorKind::TimedOut.into())),
    };
    let acceptor = TlsAcceptor::from(Arc::clone(&listener.tls));
    let stream = match deadline.guard(acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            if let Some(reason) = refused_in_handshake(&error) {
                note(&worker, peer, &Unwelcome::Certificate(reason));
            }
            return;
        }
        Err(_) => return,
    };
    let certificate = match PeerCertificate::of(stream.get_ref().1, listener.client_certificates.as_ref()) {
        Ok(certificate) => certificate,
        Err(unreadable) => return note(&worker, peer, &unreadable.into()),
    };
    // While an idle connection waits, it must not keep what has been replaced.
    drop(listener);
    if stream.get_ref().1.alpn_protocol() == Some(http2::ALPN) {
        // Apart, so that no connection of HTTP/1.1 has to have room for it.
        return Box::pin(http2::serve(&worker, entrance, stream, certificate, peer, deadline)).await;
    }
    let mut connection = Connection {
        worker: Rc::clone(&worker),
        stream,
        entrance,
        certificate,
        peer,
        client: peer,
        input: Buffer::empty(),
        deadline,
        is_stream: false,
    };
    loop {
        match next_request(&mut connection).await {
            Next::KeepAlive if worker.is_draining() => break connection.close().await,
            Next::KeepAlive => {}
            Next::Close => break connection.close().await,
            Next::Gone => break,
        }
    }
}

/// Records a connection that is closed before its first request.
fn note(worker: &Worker, peer: IpAddr, unwelcome: &Unwelcome) {
    let (reason, address) = match unwelcome {
        Unwelcome::Address { address, .. } => (ConnectionRefusal::Address, *address),
        Unwelcome::Certificate(_) | Unwelcome::Unreadable(_) => (ConnectionRefusal::Certificate, peer),
        Unwelcome::Ended(_) | Unwelcome::ProxyHeader(_) => (ConnectionRefusal::ProxyHeader, peer),
    };
    worker.shared.metrics.connection_refused(reason);
    let mut request_id = String::new();
    worker.requests.write_next(&mut request_id);
    let sentence = unwelcome.to_string();
    with_audit(|audit| {
        let mut event = Event::new(worker.shared.clock.now(), "connection", &request_id, "deny");
        event.address = Some(address);
        event.reason = Some(&sentence);
        audit.push(&event);
    });
}

/// Serves the next request of a connection.
pub(crate) async fn next_request<S: ByteStream>(connection: &mut Connection<S>) -> Next {
    let mut head = match connection.receive_head().await {
        Ok(Some(head)) => head,
        Ok(None) => return Next::Gone,
        Err(refusal) => return exchange::refuse_unread(connection, &refusal).await,
    };
    let next = exchange::run(connection, &head).await;
    head.clear();
    connection.input.release_if_empty();
    next
}
