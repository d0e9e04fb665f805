//! The request on its way to the engine.

use std::fmt::Display;
use std::io::Write as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use oauth4os_engine::HandedIdentity;
use oauth4os_telemetry::metrics::UpstreamFailure;

use crate::body::RequestBody;
use crate::buffers::{Buffer, poll_read_into};
use crate::connection::{ByteStream, Connection, Next};
use crate::fields::{ConnectionOptions, is_removed_from_request, opaque_id};
use crate::gate::Gate;
use crate::names;
use crate::pool::{EngineConnection, Sent};
use crate::record::{Exchange, Stop};
use crate::refusal::Refusal;
use crate::relay::{self, Upload};
use crate::wire::request::RequestHead;
use crate::wire::{Framing, chunked};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request that may go, as soon as its body has passed the gate.
pub(crate) struct Forward<'r, 'h, S> {
    pub(crate) exchange: &'r mut Exchange,
    pub(crate) connection: &'r mut Connection<S>,
    pub(crate) head: &'r RequestHead<'h>,
    pub(crate) body: &'r mut RequestBody,
    pub(crate) gate: Gate,
    pub(crate) identity: &'r HandedIdentity,
    /// Whether it may be sent a second time when a kept connection turns out to be closed.
    pub(crate) may_repeat: bool,
}

enum Arrived {
    FromClient(usize),
    FromEngine,
}

impl<S: ByteStream> Forward<'_, '_, S> {
    /// Sends the request and passes the answer on.
    pub(crate) async fn run(mut self) -> Result<Next, Stop> {
        self.ask_for_body().await?;
        if matches!(self.gate, Gate::Whole { .. }) { self.forward_held().await } else { self.forward_streaming().await }
    }

    /// Tells a client that waits with its body that it may send it.
    async fn ask_for_body(&mut self) -> Result<(), Stop> {
        if self.head.expects_continue && !self.body.is_done() && self.connection.input.is_empty() {
            self.connection.send(CONTINUE).await?;
        }
        Ok(())
    }

    /// Reads the whole body, lets the gate look at it, then forwards it with its length.
    async fn forward_held(mut self) -> Result<Next, Stop> {
        let limit = self.connection.worker.shared.limits.inspected_body.as_usize();
        let mut held = Buffer::lend();
        loop {
            self.body.take(&mut self.connection.input, |bytes| {
                if held.len() + bytes.len() > limit {
                    let reason = format!("the body has to be read as a whole before it can be decided, and is larger than the limit of {limit} bytes");
                    return Err(Stop::Refuse(Refusal::too_large(reason)));
                }
                held.extend_from_slice(bytes);
                Ok(())
            })?;
            if self.body.is_done() {
                break;
            }
            if self.connection.receive().await? == 0 {
                return Err(Stop::Gone);
            }
        }
        let gate = std::mem::replace(&mut self.gate, Gate::Open);
        gate.finish(self.exchange, &held)?;
        let mut out = Buffer::lend();
        let length = u64::try_from(held.len()).unwrap_or(u64::MAX);
        self.write_head(&mut out, Framing::Length(length));
        out.extend_from_slice(&held);
        drop(held);
        let engine = self.send_first(&out).await?;
        self.answer(engine, Upload::Complete, &out).await
    }

    /// Forwards the body as it arrives, each piece after it has passed the gate.
    async fn forward_streaming(mut self) -> Result<Next, Stop> {
        let mut out = Buffer::lend();
        self.write_head(&mut out, self.head.framing);
        self.take_arrived(&mut out)?;
        let mut engine = self.send_first(&out).await?;
        if self.body.is_done() {
            return self.answer(engine, Upload::Complete, &out).await;
        }
        // What was sent in pieces is never sent again.
        self.may_repeat = false;
        loop {
            match self.next_arrival(&mut engine).await? {
                Arrived::FromEngine => return self.answer(engine, Upload::CutShort, &[]).await,
                Arrived::FromClient(0) => return Err(Stop::Gone),
                Arrived::FromClient(_) => {}
            }
            out.clear();
            self.take_arrived(&mut out)?;
            let timeout = self.connection.worker.shared.limits.body_timeout.as_duration();
            self.connection.deadline.set(timeout);
            match self.connection.deadline.guard(engine.send(&out)).await {
                Ok(Ok(Sent::All)) if self.body.is_done() => return self.answer(engine, Upload::Complete, &[]).await,
                Ok(Ok(Sent::All)) => {}
                Ok(Ok(Sent::AnsweredEarly)) => return self.answer(engine, Upload::CutShort, &[]).await,
                Ok(Err(error)) => return Err(self.broken(&error)),
                Err(_) => return Err(self.timed_out()),
            }
        }
    }

    /// Moves what has arrived of the body through the gate to `out`; the end of the body only when the gate agrees.
    fn take_arrived(&mut self, out: &mut Buffer) -> Result<(), Stop> {
        let (exchange, gate) = (&mut *self.exchange, &mut self.gate);
        let is_chunked = self.head.framing == Framing::Chunked;
        self.body.take(&mut self.connection.input, |bytes| {
            gate.pass(exchange, bytes)?;
            if is_chunked {
                chunked::encode(bytes, out);
            } else {
                out.extend_from_slice(bytes);
            }
            Ok::<(), Stop>(())
        })?;
        if self.body.is_done() {
            std::mem::replace(&mut self.gate, Gate::Open).finish(self.exchange, &[])?;
            if is_chunked {
                out.extend_from_slice(chunked::END);
            }
        }
        Ok(())
    }

    /// Sends the beginning of the request on a kept connection or a new one.
    async fn send_first(&mut self, out: &[u8]) -> Result<EngineConnection, Stop> {
        let worker = Rc::clone(&self.connection.worker);
        let timeout = worker.shared.limits.body_timeout.as_duration();
        if let Some(mut engine) = worker.pool.take() {
            self.connection.deadline.set(timeout);
            match self.connection.deadline.guard(engine.send(out)).await {
                Ok(Ok(_)) => return Ok(engine),
                Ok(Err(_)) if self.may_repeat => {}
                Ok(Err(error)) => return Err(self.broken(&error)),
                Err(_) => return Err(self.timed_out()),
            }
        }
        self.send_on_new(out).await
    }

    async fn send_on_new(&mut self, out: &[u8]) -> Result<EngineConnection, Stop> {
        let worker = Rc::clone(&self.connection.worker);
        let mut engine = match worker.pool.dial().await {
            Ok(engine) => engine,
            Err(error) => {
                worker.shared.metrics.upstream_failed(UpstreamFailure::Connect);
                tracing::warn!(%error, request_id = self.exchange.request_id, "the engine cannot be reached");
                return Err(
                    Refusal::unavailable("the engine cannot be reached; nothing of this request got there").into()
                );
            }
        };
        worker.shared.metrics.upstream_connections.inc();
        self.connection.deadline.set(worker.shared.limits.body_timeout.as_duration());
        match self.connection.deadline.guard(engine.send(out)).await {
            Ok(Ok(_)) => Ok(engine),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// Waits for the answer and passes it on. `sent` is the whole request, when it may be sent a second time.
    async fn answer(mut self, mut engine: EngineConnection, upload: Upload, sent: &[u8]) -> Result<Next, Stop> {
        let started = relay::wait(self.connection, &mut engine).await;
        if let Err(relay::NoAnswer::Closed) = started
            && self.may_repeat
            && !sent.is_empty()
        {
            self.may_repeat = false;
            engine = self.send_on_new(sent).await?;
            relay::wait(self.connection, &mut engine).await.map_err(|none| self.no_answer(none))?;
        } else {
            started.map_err(|none| self.no_answer(none))?;
        }
        // Whoever is told that an alias was made or moved may rely on it that the gateway knows.
        if self.exchange.operation.as_ref().is_some_and(|operation| names::are_changed_by(operation.name)) {
            self.connection.worker.shared.names.refresh().await;
        }
        relay::Relay { exchange: self.exchange, connection: self.connection, engine, head: self.head, upload }
            .run()
            .await
    }

    /// Waits for more of the body, or for the engine to answer before the end of it.
    async fn next_arrival(&mut self, engine: &mut EngineConnection) -> Result<Arrived, Stop> {
        let connection = &mut *self.connection;
        connection.deadline.set(connection.worker.shared.limits.body_timeout.as_duration());
        let (stream, input) = (&mut connection.stream, &mut connection.input);
        let arrival = std::future::poll_fn(|context| {
            if let Poll::Ready(read) = poll_read_into(Pin::new(&mut *stream), context, input) {
                return Poll::Ready(read.map(Arrived::FromClient).map_err(|_| Stop::Gone));
            }
            match engine.poll_receive(context) {
                Poll::Ready(Ok(1..)) => Poll::Ready(Ok(Arrived::FromEngine)),
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Refusal::bad_gateway(
                    "the engine closed the connection before the end of the request",
                )
                .into())),
                Poll::Pending => Poll::Pending,
            }
        });
        match connection.deadline.guard(arrival).await {
            Ok(arrived) => arrived,
            Err(_) => Err(Refusal::too_slow().into()),
        }
    }

    /// The head as the engine gets it: what the client sent, byte for byte, without what is removed, and with the
    /// identity at the end.
    fn write_head(&self, out: &mut Vec<u8>, framing: Framing) {
        let head = self.head;
        let authority = self.connection.worker.pool.authority();
        for piece in [head.method, " ", head.target, " HTTP/1.1\r\nhost: ", authority, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
        let options = ConnectionOptions::of(head.fields);
        for field in head.fields {
            if !is_removed_from_request(field.name, &options) {
                out.extend_from_slice(field.name.as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(field.value);
                out.extend_from_slice(b"\r\n");
            }
        }
        // So that the engine's tasks and logs lead back to the request's record, whatever the client says.
        let opaque_id = opaque_id(head.fields, &options).unwrap_or(&self.exchange.request_id);
        for piece in ["x-opaque-id: ", opaque_id, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
        match framing {
            Framing::None | Framing::UntilClose => {}
            Framing::Length(length) => {
                // Writing to memory does not fail.
                let _ = write!(out, "content-length: {length}\r\n");
            }
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
        out.extend_from_slice(b"authorization: ");
        out.extend_from_slice(self.identity.authorization().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
    }

    fn broken(&self, error: &dyn Display) -> Stop {
        self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::Broken);
        tracing::warn!(%error, request_id = self.exchange.request_id, "the connection to the engine broke");
        Refusal::bad_gateway("the connection to the engine broke; the request may have got there").into()
    }

    fn timed_out(&self) -> Stop {
        self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::Timeout);
        Refusal::timeout().into()
    }

    fn no_answer(&self, none: relay::NoAnswer) -> Stop {
        match none {
            relay::NoAnswer::ClientGone => Stop::Gone,
            relay::NoAnswer::Closed => self.broken(&"closed before an answer"),
            relay::NoAnswer::TimedOut => self.timed_out(),
        }
    }
}
