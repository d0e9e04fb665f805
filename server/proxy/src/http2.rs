//! HTTP/2 (RFC 9113): many requests at once on one connection.
//!
//! The connection and its frames are the `h2` library's. Each stream is then a [`Connection`] of its own that carries one
//! request: its head is written down as HTTP/1.1 (`head`), its bytes go both ways through [`Stream`](stream::Stream), and
//! the request goes the one way all requests go, from the strict reader to the record. Nothing about a request is decided
//! here.
//!
//! What is bounded where: the frames of a header block, its compressed and its decoded size, empty and tiny DATA frames,
//! streams that are reset before they were looked at, and streams that are refused for errors of the protocol, by `h2`,
//! which also answers PING and SETTINGS one at a time before it reads on; streams at once and what is buffered for them,
//! by what it is told here; streams that are opened only to be reset, idle time and the time to say goodbye, here; and all
//! that is one request's, where it is for HTTP/1.1.

mod head;
mod stream;

use std::cell::Cell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, SendResponse};
use http::Request;
use oauth4os_config::Limits;
use tokio::sync::Notify;

use crate::buffers::Buffer;
use crate::certificate::{ClientCertificates, PeerCertificate};
use crate::cluster::Entrance;
use crate::connection::{Connection, LINGER_BYTES, LINGER_TIME};
use crate::deadline::Deadline;
use crate::exchange;
use crate::serve::next_request;
use crate::transport::ClientStream;
use crate::worker::Worker;

/// The protocol's name in TLS (RFC 9113 section 3.2).
pub(crate) const ALPN: &[u8] = b"h2";

/// What a client may send ahead: on one stream, and on all of them.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What may wait to be sent on one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// What `h2` counts for a header field beside its bytes (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Streams a client may give up before their answer, beyond those it let come to their end. One that opens streams only
/// to reset them (CVE-2023-44487) is sent away.
const GIVEN_UP: usize = 200;

/// How long a client has to close after it was told to.
const GOODBYE: Duration = Duration::from_secs(5);

/// The streams of a connection, as far as the connection has to know.
#[derive(Default)]
struct Streams {
    open: Cell<usize>,
    given_up: Cell<usize>,
    quiet: Notify,
}

/// Serves a connection on which the client has chosen HTTP/2.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    entrance: Entrance,
    stream: ClientStream,
    certificate: Option<Rc<PeerCertificate>>,
    peer: IpAddr,
    mut deadline: Deadline,
) {
    let limits = &worker.shared.limits;
    let Ok(Ok(mut connection)) = deadline.guard(builder(limits).handshake::<_, Bytes>(stream)).await else {
        return;
    };
    worker.shared.metrics.http2_connections.inc();
    let _open = worker.share_connection();
    let streams = Rc::new(Streams::default());
    let mut is_leaving = false;
    loop {
        let patience = if is_leaving { GOODBYE } else { limits.idle_timeout.as_duration() };
        let (request, respond) = tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok(opened)) => opened,
                Some(Err(_)) | None => return,
            },
            () = worker.drain_begins(), if !is_leaving => {
                connection.graceful_shutdown();
                is_leaving = true;
                continue;
            }
            () = streams.idle_for(patience, &mut deadline) => {
                if is_leaving {
                    return;
                }
                connection.graceful_shutdown();
                is_leaving = true;
                continue;
            }
        };
        if streams.given_up.get() > GIVEN_UP {
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            is_leaving = true;
            continue;
        }
        if !is_leaving && !may_go_on(worker, certificate.as_deref()) {
            // This request and those that came with it are told why.
            connection.graceful_shutdown();
            is_leaving = true;
        }
        let (worker, certificate, open) = (Rc::clone(worker), certificate.clone(), streams.open());
        tokio::task::spawn_local(async move {
            let was_given_up = answer(worker, entrance, certificate, peer, request, respond).await;
            open.close(was_given_up);
        });
    }
}

/// Whether the certificate the connection began with, or none, is still good enough.
fn may_go_on(worker: &Worker, certificate: Option<&PeerCertificate>) -> bool {
    let shared = &worker.shared;
    let listener = shared.listener.load();
    ClientCertificates::check(listener.client_certificates.as_ref(), certificate, || shared.clock.now()).is_ok()
}

fn builder(limits: &Limits) -> Builder {
    let head = limits.head.as_usize() + limits.headers * FIELD_OVERHEAD;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.http2_streams)
        // A little more than the strict reader takes, so that this, and not `h2`, says what is wrong.
        .max_header_list_size(u32::try_from(head).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// Serves the request of a stream; whether the client has given it up before the end of the answer.
async fn answer(
    worker: Rc<Worker>,
    entrance: Entrance,
    certificate: Option<Rc<PeerCertificate>>,
    peer: IpAddr,
    request: Request<h2::RecvStream>,
    respond: SendResponse<Bytes>,
) -> bool {
    let (request, body) = request.into_parts();
    let (head, refusal) = match head::write(&request, body.is_end_stream()) {
        Ok(head) => (head, None),
        Err(refusal) => (Vec::new(), Some(refusal)),
    };
    let stream = stream::Stream::new(respond, body, &request, head);
    let deadline = Deadline::new(worker.shared.limits.head_timeout.as_duration());
    let mut connection = Connection {
        worker,
        stream,
        entrance,
        certificate,
        peer,
        client: peer,
        input: Buffer::empty(),
        deadline,
        is_stream: true,
    };
    // Whether the connection could go on is nobody's question: a stream carries one request.
    let _ = match refusal {
        None => next_request(&mut connection).await,
        Some(refusal) => exchange::refuse_unread(&mut connection, &refusal).await,
    };
    connection.deadline.set(LINGER_TIME);
    // A stream that is still being sent when the time is up is ended by a reset.
    let _ = connection.deadline.guard(connection.stream.read_over(LINGER_BYTES)).await;
    connection.stream.finish()
}

impl Streams {
    /// Counts a stream as open until it is closed or dropped.
    fn open(self: &Rc<Self>) -> OpenStream {
        self.open.set(self.open.get() + 1);
        OpenStream(Rc::clone(self))
    }

    /// Waits until there has been no stream for so long.
    async fn idle_for(&self, patience: Duration, deadline: &mut Deadline) {
        while self.open.get() > 0 {
            self.quiet.notified().await;
        }
        deadline.set(patience);
        // What never comes does not come in time.
        let _ = deadline.guard(std::future::pending::<()>()).await;
    }
}

struct OpenStream(Rc<Streams>);

impl OpenStream {
    fn close(self, was_given_up: bool) {
        let count = &self.0.given_up;
        count.set(if was_given_up { count.get() + 1 } else { count.get().saturating_sub(1) });
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        if self.0.open.get() == 0 {
            self.0.quiet.notify_one();
        }
    }
}
