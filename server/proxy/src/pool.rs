//! Connections to a node of the engine that are kept open, one pool for each worker.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oauth4os_config::ConnectionPool;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::buffers::{Buffer, poll_read_into};
use crate::transport::{Dialer, EngineStream};
use crate::wire::request::{Arrived, MAX_HEADERS, find_end};
use crate::wire::response::ResponseHead;

/// The pool of one worker. The connection used last is used next, so that those nobody needs grow old and are closed.
pub(crate) struct Pool {
    /// Whose connections they are, for messages: `the engine`, `Dashboards`.
    pub(crate) who: &'static str,
    dialer: Dialer,
    limits: ConnectionPool,
    connect_timeout: Duration,
    idle: RefCell<Vec<(EngineConnection, Instant)>>,
}

/// A connection to the engine and what was read from it but not used yet.
#[derive(Debug)]
pub(crate) struct EngineConnection {
    pub(crate) stream: EngineStream,
    /// Bytes of the answer that have arrived.
    pub(crate) input: Buffer,
    /// Whether the engine has ended its side.
    pub(crate) ended: bool,
    /// Whether no request has been sent on it before.
    pub(crate) is_new: bool,
    /// Interim answers to the present request that were read over.
    interim: usize,
}

/// No connection could be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the engine does not accept a connection: {0}")]
    Refused(#[from] io::Error),
    #[error("the engine does not accept a connection in time")]
    TimedOut,
}

impl Pool {
    pub(crate) const fn new(
        who: &'static str,
        dialer: Dialer,
        limits: ConnectionPool,
        connect_timeout: Duration,
    ) -> Self {
        Self { who, dialer, limits, connect_timeout, idle: RefCell::new(Vec::new()) }
    }

    /// What the `Host` field of a request says.
    pub(crate) fn authority(&self) -> &str {
        self.dialer.authority()
    }

    /// A connection that waits for work, if one is still good.
    pub(crate) fn take(&self) -> Option<EngineConnection> {
        loop {
            let (mut connection, since) = self.idle.borrow_mut().pop()?;
            if since.elapsed() < self.limits.idle_timeout.as_duration() && connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// A new connection.
    pub(crate) async fn dial(&self) -> Result<EngineConnection, DialError> {
        match tokio::time::timeout(self.connect_timeout, self.dialer.dial()).await {
            Ok(stream) => Ok(EngineConnection::new(stream?)),
            Err(_) => Err(DialError::TimedOut),
        }
    }

    /// Keeps a connection whose last answer was read to its end.
    pub(crate) fn put(&self, mut connection: EngineConnection) {
        if connection.ended || !connection.input.is_empty() {
            return;
        }
        connection.input.release_if_empty();
        connection.interim = 0;
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.limits.idle {
            idle.push((connection, Instant::now()));
        }
    }

    /// Closes the connections that have waited too long.
    pub(crate) fn sweep(&self) {
        let timeout = self.limits.idle_timeout.as_duration();
        self.idle.borrow_mut().retain(|(_, since)| since.elapsed() < timeout);
    }
}

/// What became of bytes on their way to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    All,
    /// The engine answers, or has ended, before it has got everything: what follows need not be sent.
    AnsweredEarly,
}

/// Largest head of an answer.
pub(crate) const MAX_HEAD: usize = 64 * 1024;

/// Interim answers (1xx) that are read over before an answer. The gateway asks for none; an engine that sends one after the
/// other would keep a worker busy.
const MAX_INTERIM: usize = 16;

/// Where the status of an answer begins.
const STATUS: std::ops::Range<usize> = 9..12;

impl EngineConnection {
    const fn new(stream: EngineStream) -> Self {
        Self { stream, input: Buffer::empty(), ended: false, is_new: true, interim: 0 }
    }

    /// Whether the answer has begun to arrive. Interim answers are none, and are taken off here: the client is told by the gateway
    /// itself whether to go on. `101` is no interim answer: it is the answer to a request for another protocol, or a wrong one.
    pub(crate) fn has_answered(&mut self) -> bool {
        while let Some(status) = self.input.get(STATUS) {
            if !status.starts_with(b"1") || status == b"101" || self.interim == MAX_INTERIM {
                return true;
            }
            match find_end(&self.input) {
                Ok(Arrived::Complete(length)) if is_interim(&self.input, length) => {
                    self.input.consume(length);
                    self.interim += 1;
                }
                Ok(Arrived::Incomplete) if self.input.len() <= MAX_HEAD => return false,
                // Whatever it is, it is looked at as an answer, and refused as one.
                _ => return true,
            }
        }
        false
    }

    /// Whether the engine has neither said anything nor ended since the last answer.
    fn is_quiet(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        poll_read_into(Pin::new(&mut self.stream), &mut context, &mut self.input).is_pending()
    }

    /// Sends bytes, and stops when an answer arrives meanwhile.
    pub(crate) fn poll_send(&mut self, context: &mut Context<'_>, bytes: &mut &[u8]) -> Poll<io::Result<Sent>> {
        while !bytes.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, bytes) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => *bytes = bytes.get(count..).unwrap_or_default(),
                // An answer may have arrived before the connection was reset.
                Poll::Ready(Err(error)) => return self.poll_answer(context, Some(error)),
                Poll::Pending => return self.poll_answer(context, None),
            }
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(Sent::All)),
            Poll::Ready(Err(error)) => self.poll_answer(context, Some(error)),
            Poll::Pending => self.poll_answer(context, None),
        }
    }

    fn poll_answer(&mut self, context: &mut Context<'_>, mut error: Option<io::Error>) -> Poll<io::Result<Sent>> {
        loop {
            match (self.poll_receive(context), error) {
                (Poll::Ready(Ok(1..)), _) if self.has_answered() => return Poll::Ready(Ok(Sent::AnsweredEarly)),
                (Poll::Ready(Ok(1..)), given) => error = given,
                (_, Some(error)) => return Poll::Ready(Err(error)),
                (Poll::Ready(Ok(_)), None) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                (Poll::Ready(Err(error)), None) => return Poll::Ready(Err(error)),
                (Poll::Pending, None) => return Poll::Pending,
            }
        }
    }

    /// Receives what has arrived; 0 is the end.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let received = std::task::ready!(poll_read_into(Pin::new(&mut self.stream), context, &mut self.input))?;
        self.ended |= received == 0;
        Poll::Ready(Ok(received))
    }

    /// As [`poll_send`](Self::poll_send), to be awaited.
    pub(crate) async fn send(&mut self, mut bytes: &[u8]) -> io::Result<Sent> {
        std::future::poll_fn(|context| self.poll_send(context, &mut bytes)).await
    }

    /// As [`poll_receive`](Self::poll_receive), to be awaited.
    pub(crate) async fn receive(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|context| self.poll_receive(context)).await
    }
}

/// Whether this head of an answer is one of an interim answer, and nothing else could be read into it.
fn is_interim(input: &[u8], length: usize) -> bool {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let head = input.get(..length).unwrap_or_default();
    ResponseHead::parse(head, &mut slots, false).is_ok_and(|head| (100..200).contains(&head.status))
}
