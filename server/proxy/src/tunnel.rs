//! A WebSocket that was opened: its bytes go both ways unread, for as long as its request would be permitted.
//!
//! What a request is decided on is looked at again whenever something of it may have changed: a token was revoked, another
//! snapshot or other rules for addresses are in force, the token has expired. What tells nobody that it changes (the keys of a
//! provider, the end of a certificate, the clock itself) is looked at every few seconds. All of this is in memory.

use std::borrow::Cow;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use oauth4os_telemetry::audit::Event;
use oauth4os_tokens::clock::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::arrival::check_client;
use crate::authenticate::authenticate;
use crate::buffers::{Buffer, poll_read_into};
use crate::connection::{ByteStream, Connection, Next};
use crate::deadline::Deadline;
use crate::exchange;
use crate::pool::EngineConnection;
use crate::record::Exchange;
use crate::refusal::Refusal;
use crate::session::Session;
use crate::wire::request::RequestHead;
use crate::worker::{Worker, with_audit};

/// How often what tells nobody that it has changed is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// How a WebSocket ended.
#[derive(Debug)]
enum End {
    /// Both sides have said that they send nothing more.
    Both,
    /// A side broke off.
    ClientGone,
    UpstreamGone,
    /// Nobody has sent anything for too long.
    Idle,
    /// A side has taken nothing of what it was sent for too long.
    ClientStuck,
    UpstreamStuck,
    /// The gateway is told to stop, and the time is up.
    Stopped,
    /// It would be refused now.
    Refused(Cow<'static, str>),
}

/// Passes the bytes of a WebSocket on until it ends, and records that.
pub(crate) async fn run<S: ByteStream>(
    connection: &mut Connection<S>,
    head: &RequestHead<'_>,
    exchange: &Exchange,
    upstream: EngineConnection,
) -> Next {
    let worker = Rc::clone(&connection.worker);
    let _open = worker.open_tunnel();
    let opened = Instant::now();
    let mut tunnel = Tunnel::new(upstream);
    let end = keep_open(connection, head, exchange, &mut tunnel, &worker).await;
    record(connection, exchange, &tunnel, &end, opened.elapsed());
    match end {
        End::Both | End::ClientGone | End::ClientStuck => Next::Gone,
        _ => Next::Close,
    }
}

async fn keep_open<S: ByteStream>(
    connection: &mut Connection<S>,
    head: &RequestHead<'_>,
    exchange: &Exchange,
    tunnel: &mut Tunnel,
    worker: &Worker,
) -> End {
    let mut changes = Changes::of(worker);
    loop {
        // Also at first: something may have changed since it was decided.
        let session = match look(connection, head, exchange).await {
            Ok(session) => session,
            Err(refusal) => return End::Refused(refusal.reason),
        };
        tokio::select! {
            biased;
            () = worker.time_is_up() => return End::Stopped,
            () = changes.wait(worker, session.expires_at) => {}
            end = tunnel.pass(&mut connection.stream, &mut connection.deadline, worker) => return end,
        }
    }
}

/// The session under which the request would be permitted now.
async fn look<S>(
    connection: &mut Connection<S>,
    head: &RequestHead<'_>,
    exchange: &Exchange,
) -> Result<Rc<Session>, Refusal> {
    let worker = Rc::clone(&connection.worker);
    exchange::admit(connection, head)?;
    let number = exchange.cluster.unwrap_or_default();
    let Some(cluster) = worker.shared.clusters.get(number) else {
        return Err(Refusal::no_cluster());
    };
    let mut now = worker.shared.clock.now();
    let certificate = connection.certificate.as_deref();
    let place = (number, cluster);
    let authenticated = authenticate(&worker, place, head.fields, certificate, connection.client, &mut now).await;
    let session = authenticated.map_err(|unauthenticated| *unauthenticated.refusal)?;
    check_client(&session.client, connection.client)?;
    if let Some(operation) = &exchange.operation {
        let decided = session.decide(operation);
        if !decided.allow {
            let reason = decided.reason.clone().unwrap_or_else(|| "it is not permitted any more".to_owned());
            return Err(Refusal::forbidden(reason, None));
        }
    }
    Ok(session)
}

fn record<S>(connection: &Connection<S>, exchange: &Exchange, tunnel: &Tunnel, end: &End, elapsed: Duration) {
    let worker = &connection.worker;
    let (decision, reason, error) = match end {
        End::Refused(reason) => ("deny", Some(reason.as_ref()), None),
        End::Both => ("allow", None, None),
        End::ClientGone => ("allow", None, Some("the client broke off")),
        End::UpstreamGone => ("allow", None, Some("Dashboards broke off")),
        End::Idle => ("allow", None, Some("nothing was sent for as long as `limits.idle_timeout`")),
        End::ClientStuck => ("allow", None, Some("the client took nothing for as long as `limits.body_timeout`")),
        End::UpstreamStuck => ("allow", None, Some("Dashboards took nothing for as long as `limits.body_timeout`")),
        End::Stopped => ("allow", None, Some("the gateway was stopped")),
    };
    with_audit(|audit| {
        let mut event = Event::new(worker.shared.clock.now(), "websocket.closed", &exchange.request_id, decision);
        if let Some(session) = &exchange.session {
            session.describe(&mut event);
        }
        let cluster = exchange.cluster.and_then(|number| worker.shared.clusters.get(number));
        event.cluster = cluster.and_then(|cluster| cluster.name.as_deref());
        event.address = Some(connection.client);
        event.upstream = Some("dashboards");
        event.operation = exchange.operation.as_ref().map(|operation| operation.name);
        (event.reason, event.error) = (reason, error);
        event.latency_us = u64::try_from(elapsed.as_micros()).ok();
        (event.bytes_in, event.bytes_out) = (tunnel.up.moved, tunnel.down.moved);
        audit.push(&event);
    });
}

/// What says that something may be decided otherwise.
struct Changes {
    revoked: watch::Receiver<()>,
    published: watch::Receiver<()>,
}

impl Changes {
    fn of(worker: &Worker) -> Self {
        Self { revoked: worker.shared.revocations.subscribe(), published: worker.shared.changed.subscribe() }
    }

    /// Waits until a look is due.
    async fn wait(&mut self, worker: &Worker, expires_at: UnixTime) {
        let left = expires_at.since(worker.shared.clock.now());
        tokio::select! {
            // Their senders live as long as the worker.
            _ = self.revoked.changed() => {}
            _ = self.published.changed() => {}
            () = tokio::time::sleep(left.min(LOOK)) => {}
        }
    }
}

/// Both ways of a WebSocket.
struct Tunnel {
    upstream: EngineConnection,
    up: Flow,
    down: Flow,
    /// When something was read or written last.
    touched: Instant,
}

/// One way: what was read and is not written yet. No more is read before that is written.
struct Flow {
    waiting: Buffer,
    is_flushed: bool,
    stage: Stage,
    /// Bytes that were read.
    moved: u64,
    /// Since when nothing of what waits could be written.
    stalled: Option<Instant>,
    was_touched: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// The reader has come to the end, and the writer is to be told.
    Ending,
    Ended,
}

/// Which end of a flow broke.
enum Broken {
    From,
    To,
}

impl Tunnel {
    fn new(mut upstream: EngineConnection) -> Self {
        // What has arrived behind the answer's head.
        let arrived = std::mem::take(&mut upstream.input);
        let mut down = Flow::new(arrived);
        if upstream.ended {
            down.stage = Stage::Ending;
        }
        Self { upstream, up: Flow::new(Buffer::empty()), down, touched: Instant::now() }
    }

    /// Passes bytes on, both ways, until there is an end. Nothing is lost when the future is dropped.
    async fn pass<S: ByteStream>(&mut self, client: &mut S, deadline: &mut Deadline, worker: &Worker) -> End {
        let limits = &worker.shared.limits;
        let (idle, stuck) = (limits.idle_timeout.as_duration(), limits.body_timeout.as_duration());
        std::future::poll_fn(|context| {
            let upstream = &mut self.upstream.stream;
            let up = self.up.poll(context, Pin::new(&mut *client), Pin::new(&mut *upstream));
            let down = self.down.poll(context, Pin::new(&mut *upstream), Pin::new(&mut *client));
            match (up, down) {
                // A client that was told the end may just go.
                (Poll::Ready(Err(Broken::From)), _) if self.down.stage == Stage::Ended => {
                    return Poll::Ready(End::Both);
                }
                (Poll::Ready(Err(Broken::From)), _) | (_, Poll::Ready(Err(Broken::To))) => {
                    return Poll::Ready(End::ClientGone);
                }
                (Poll::Ready(Err(Broken::To)), _) | (_, Poll::Ready(Err(Broken::From))) => {
                    return Poll::Ready(End::UpstreamGone);
                }
                (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(End::Both),
                _ => {}
            }
            if std::mem::take(&mut self.up.was_touched) | std::mem::take(&mut self.down.was_touched) {
                self.touched = Instant::now();
            }
            let ends = [
                Some((self.touched + idle, End::Idle)),
                self.up.stalled.map(|since| (since + stuck, End::UpstreamStuck)),
                self.down.stalled.map(|since| (since + stuck, End::ClientStuck)),
            ];
            let Some((at, end)) = ends.into_iter().flatten().min_by_key(|(at, _)| *at) else {
                return Poll::Pending;
            };
            deadline.set_at(at);
            deadline.poll_up(context).map(|()| end)
        })
        .await
    }
}

impl Flow {
    fn new(waiting: Buffer) -> Self {
        let moved = u64::try_from(waiting.len()).unwrap_or(u64::MAX);
        Self { waiting, is_flushed: true, stage: Stage::Open, moved, stalled: None, was_touched: false }
    }

    /// Reads and writes as far as both ends go along; ready when it has come to its end, which the writer was told.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut from: Pin<&mut impl AsyncRead>,
        mut to: Pin<&mut impl AsyncWrite>,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if !self.waiting.is_empty() {
                match to.as_mut().poll_write(context, &self.waiting) {
                    Poll::Ready(Ok(count @ 1..)) => {
                        self.waiting.consume(count);
                        (self.is_flushed, self.stalled, self.was_touched) = (false, None, true);
                    }
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Broken::To)),
                    Poll::Pending => return self.stall(),
                }
                continue;
            }
            if !self.is_flushed {
                match to.as_mut().poll_flush(context) {
                    Poll::Ready(Ok(())) => (self.is_flushed, self.stalled) = (true, None),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::To)),
                    Poll::Pending => return self.stall(),
                }
            }
            match self.stage {
                Stage::Open => match poll_read_into(from.as_mut(), context, &mut self.waiting) {
                    Poll::Ready(Ok(0)) => self.stage = Stage::Ending,
                    Poll::Ready(Ok(count)) => {
                        self.moved = self.moved.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
                        self.was_touched = true;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::From)),
                    Poll::Pending => {
                        self.waiting.release_if_empty();
                        return Poll::Pending;
                    }
                },
                Stage::Ending => match to.as_mut().poll_shutdown(context) {
                    Poll::Ready(Ok(())) => (self.stage, self.stalled) = (Stage::Ended, None),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Broken::To)),
                    Poll::Pending => return self.stall(),
                },
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn stall(&mut self) -> Poll<Result<(), Broken>> {
        self.stalled.get_or_insert_with(Instant::now);
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn poll(flow: &mut Flow, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> Poll<bool> {
        let mut context = Context::from_waker(Waker::noop());
        flow.poll(&mut context, Pin::new(from), Pin::new(to)).map(|ended| ended.is_ok())
    }

    #[tokio::test]
    async fn no_more_is_read_than_is_taken() {
        let (mut sender, mut from) = duplex(1024 * 1024);
        let (mut to, mut receiver) = duplex(1000);
        let mut flow = Flow::new(Buffer::empty());
        sender.write_all(&vec![7; 500_000]).await.unwrap();
        drop(sender);
        let mut got = Vec::new();
        loop {
            // Otherwise the runtime would now and then have the flow wait, which nobody wakes here.
            let ended = tokio::task::unconstrained(async { poll(&mut flow, &mut from, &mut to) }).await;
            assert!(flow.waiting.len() <= crate::buffers::CHUNK, "{}", flow.waiting.len());
            if ended == Poll::Ready(true) {
                break;
            }
            assert!(flow.stalled.is_some());
            let mut piece = [0; 1000];
            let count = receiver.read(&mut piece).await.unwrap();
            got.extend_from_slice(&piece[..count]);
        }
        receiver.read_to_end(&mut got).await.unwrap();
        assert_eq!((got.len(), flow.moved), (500_000, 500_000));
        assert!(got.iter().all(|byte| *byte == 7));
    }

    #[tokio::test]
    async fn one_end_is_passed_on_and_the_other_way_goes_on() {
        let (mut sender, mut from) = duplex(64);
        let (mut to, mut receiver) = duplex(64);
        let mut flow = Flow::new(Buffer::empty());
        sender.write_all(b"last").await.unwrap();
        sender.shutdown().await.unwrap();
        assert_eq!(poll(&mut flow, &mut from, &mut to), Poll::Ready(true));
        let mut got = Vec::new();
        receiver.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last");
        drop(receiver);
        let mut flow = Flow::new(Buffer::empty());
        let (mut sender, mut from) = duplex(64);
        sender.write_all(b"x").await.unwrap();
        assert_eq!(poll(&mut flow, &mut from, &mut to), Poll::Ready(false), "who is gone takes nothing");
    }
}
