//! A client's connection: receiving heads and bodies, sending answers, ending.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use oauth4os_config::Limits;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::body::{BodyError, RequestBody};
use crate::buffers::{Buffer, read_into};
use crate::certificate::PeerCertificate;
use crate::cluster::Entrance;
use crate::deadline::Deadline;
use crate::refusal::Refusal;
use crate::wire::request::{Arrived, find_end};
use crate::worker::Worker;

/// How much of a refused body is read over, so that the client gets to see the refusal.
pub(crate) const LINGER_BYTES: usize = 256 * 1024 * 1024;
pub(crate) const LINGER_TIME: Duration = Duration::from_secs(30);

/// How long the rest of a body that nobody reads is waited for before the answer, and how many bytes of it: as many as a client
/// may send by HTTP/2 before it is told how many (RFC 9113 section 6.9.2).
const REST_TIME: Duration = Duration::from_secs(1);
const REST_BYTES: u64 = 65_535;

/// What a client is spoken with: TLS, or one stream of HTTP/2.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> ByteStream for S {}

/// A client's connection, or a stream of one that carries many: HTTP/1.1 on bytes.
pub(crate) struct Connection<S> {
    pub(crate) worker: Rc<Worker>,
    pub(crate) stream: S,
    /// Where it came in.
    pub(crate) entrance: Entrance,
    /// The certificate that was shown in TLS.
    pub(crate) certificate: Option<Rc<PeerCertificate>>,
    /// Whose connection it is: the other end, or whom a trusted proxy there speaks for.
    pub(crate) peer: IpAddr,
    /// Who sent the present request: `peer`, or whom a trusted proxy names in it.
    pub(crate) client: IpAddr,
    /// What has arrived and is not used yet.
    pub(crate) input: Buffer,
    pub(crate) deadline: Deadline,
    /// Whether it is one stream of several, which carries this one request.
    pub(crate) is_stream: bool,
}

/// What happens to the connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another request may come.
    KeepAlive,
    /// The answer was the last; the client may still be sending.
    Close,
    /// Nobody is listening any more.
    Gone,
}

impl<S: ByteStream> Connection<S> {
    /// Waits for a whole head and takes it off the input. `None` when the client is done.
    pub(crate) async fn receive_head(&mut self) -> Result<Option<Buffer>, Refusal> {
        let worker = Rc::clone(&self.worker);
        let limits = &worker.shared.limits;
        let head_timeout = limits.head_timeout.as_duration();
        let mut begun = !self.input.is_empty();
        self.deadline.set(if begun { head_timeout } else { limits.idle_timeout.as_duration() });
        loop {
            if begun && let Some(length) = head_length(&self.input, limits)? {
                let mut head = Buffer::lend();
                head.extend_from_slice(self.input.get(..length).unwrap_or_default());
                self.input.consume(length);
                return Ok(Some(head));
            }
            match self.deadline.guard(read_into(&mut self.stream, &mut self.input)).await {
                Ok(Ok(1..)) if begun => {}
                Ok(Ok(1..)) => {
                    begun = true;
                    self.deadline.set(head_timeout);
                }
                Ok(Ok(0) | Err(_)) => return Ok(None),
                Err(_) if begun => return Err(Refusal::too_slow()),
                Err(_) => return Ok(None),
            }
        }
    }

    /// Sends everything, within the time one piece of a body may take.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), ClientGone> {
        self.deadline.set(self.worker.shared.limits.body_timeout.as_duration());
        let stream = &mut self.stream;
        let sent = self.deadline.guard(async {
            stream.write_all(bytes).await?;
            stream.flush().await
        });
        match sent.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ClientGone),
        }
    }

    /// Receives more of a body; 0 is the end.
    pub(crate) async fn receive(&mut self) -> Result<usize, ClientGone> {
        self.deadline.set(self.worker.shared.limits.body_timeout.as_duration());
        match self.deadline.guard(read_into(&mut self.stream, &mut self.input)).await {
            Ok(Ok(count)) => Ok(count),
            Ok(Err(_)) | Err(_) => Err(ClientGone),
        }
    }

    /// Waits for a small body to come to its end, and throws it away: there are clients that never see an answer that comes
    /// before they have sent the whole request (Apache's HttpClient 5 by HTTP/2, and so the Java client). One that takes
    /// longer, or is larger, is not waited for.
    pub(crate) async fn receive_rest(&mut self, body: &mut RequestBody) {
        self.deadline.set(REST_TIME);
        loop {
            let taken = body.take(&mut self.input, |_| Ok::<(), BodyError>(()));
            if taken.is_err() || body.is_done() || body.received() > REST_BYTES {
                return;
            }
            match self.deadline.guard(read_into(&mut self.stream, &mut self.input)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => return,
            }
        }
    }

    /// Ends the connection after the last answer. What the client is still sending is read over for a while: closing
    /// on unread bytes would reset the connection and take the answer away from the client.
    pub(crate) async fn close(&mut self) {
        self.deadline.set(LINGER_TIME);
        let stream = &mut self.stream;
        let input = &mut self.input;
        let linger = async {
            stream.shutdown().await?;
            let mut read = 0;
            while read < LINGER_BYTES {
                input.clear();
                match read_into(stream, input).await? {
                    0 => break,
                    count => read += count,
                }
            }
            Ok::<(), std::io::Error>(())
        };
        // Whatever goes wrong here, the connection is over.
        let _ = self.deadline.guard(linger).await;
    }
}

/// The client has closed the connection, or takes and sends nothing any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClientGone;

/// The length of the head that has arrived, or `None` while it is incomplete.
fn head_length(input: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
    let line = memchr::memchr(b'\n', input).unwrap_or(input.len());
    if line > limits.request_line.as_usize() {
        return Err(Refusal::head_too_large(true));
    }
    match find_end(input).map_err(Refusal::malformed)? {
        Arrived::Complete(length) if length <= limits.head.as_usize() => Ok(Some(length)),
        Arrived::Incomplete if input.len() <= limits.head.as_usize() => Ok(None),
        Arrived::Complete(_) | Arrived::Incomplete => Err(Refusal::head_too_large(false)),
    }
}
