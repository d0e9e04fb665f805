//! The request on its way to the engine.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use oauth4os_engine::sigv4::{Signable, payload_hash};
use oauth4os_telemetry::metrics::{Ejection, UpstreamFailure};

use crate::body::RequestBody;
use crate::buffers::{Buffer, poll_read_into};
use crate::cluster::Cluster;
use crate::connection::{ByteStream, Connection, Next};
use crate::dashboards::Call;
use crate::fields::{ConnectionOptions, is_about_representation, is_removed_from_request, opaque_id};
use crate::gate::Gate;
use crate::identity::Identity;
use crate::names;
use crate::nodes::{Nodes, Place, Tried};
use crate::outcome::Twice;
use crate::points_in_time::Opening;
use crate::pool::{EngineConnection, Sent};
use crate::record::{Exchange, Stop};
use crate::refusal::Refusal;
use crate::relay::{self, Upload};
use crate::websocket;
use crate::wire::request::RequestHead;
use crate::wire::{Framing, chunked};

/// What stands between the target and the node's name.
const BEFORE_HOST: &str = " HTTP/1.1\r\nhost: ";

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A request that may go, as soon as its body has passed the gate.
pub(crate) struct Forward<'r, 'h, S> {
    pub(crate) exchange: &'r mut Exchange,
    pub(crate) connection: &'r mut Connection<S>,
    /// The cluster, and this worker's way to it.
    pub(crate) to: (&'r Cluster, &'r Nodes),
    pub(crate) head: &'r RequestHead<'h>,
    pub(crate) body: &'r mut RequestBody,
    pub(crate) gate: Gate,
    pub(crate) identity: Identity,
    /// The hash of the whole body, where it is signed.
    pub(crate) payload: Option<Payload>,
    /// When it goes to Dashboards.
    pub(crate) dashboards: Option<&'r Call<'r>>,
    /// What it means to do it twice.
    pub(crate) twice: Twice,
    /// Whether it may be sent a second time when a connection turns out to be closed.
    pub(crate) may_repeat: bool,
}

/// What a signature says of a body that is held, and how its length is told.
pub(crate) struct Payload {
    hash: String,
    framing: Framing,
}

enum Arrived {
    FromClient(usize),
    FromEngine,
}

impl<S: ByteStream> Forward<'_, '_, S> {
    /// Sends the request and passes the answer on.
    pub(crate) async fn run(mut self) -> Result<Next, Stop> {
        if self.dashboards.is_some_and(|call| call.websocket.is_some()) {
            return self.forward_handshake().await;
        }
        self.ask_for_body().await?;
        let is_held = self.identity.is_signed() || matches!(self.gate, Gate::Whole { .. });
        if is_held { self.forward_held().await } else { self.forward_streaming().await }
    }

    /// Forwards a request for a WebSocket, on a connection that no other request was sent on, and once.
    async fn forward_handshake(mut self) -> Result<Next, Stop> {
        // One that is not answered is not open.
        (self.twice, self.may_repeat) = (Twice::Harmless, false);
        let mut place = self.place(&mut Tried::default())?;
        let mut out = Buffer::lend();
        self.write_head(&mut out, place.pool.authority(), Framing::None)?;
        let (engine, upload) = self.send_on_new(&mut place, &mut out).await?;
        self.answer(place, engine, upload, None).await
    }

    /// Tells a client that waits with its body that it may send it.
    async fn ask_for_body(&mut self) -> Result<(), Stop> {
        if self.head.expects_continue && !self.body.is_done() && self.connection.input.is_empty() {
            self.connection.send(CONTINUE).await?;
        }
        Ok(())
    }

    /// Reads the whole body, lets the gate look at it, then forwards it with its length, and signed where it has to be.
    async fn forward_held(mut self) -> Result<Next, Stop> {
        let limit = self.connection.worker.shared.limits.inspected_body.as_usize();
        let mut held = Buffer::lend();
        let why = if self.identity.is_signed() {
            "signed, as the engine's service wants it: send it in smaller parts"
        } else {
            "decided"
        };
        let (exchange, gate) = (&mut *self.exchange, &mut self.gate);
        loop {
            self.body.take(&mut self.connection.input, |bytes| {
                if held.len() + bytes.len() > limit {
                    let reason = format!("the body is larger than the limit of {limit} bytes, and has to be read as a whole before it can be {why}");
                    return Err(Stop::Refuse(Refusal::too_large(reason)));
                }
                gate.pass(exchange, bytes)?;
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
        self.renew_identity()?;
        let mut place = self.place(&mut Tried::default())?;
        let mut out = Buffer::lend();
        let length = u64::try_from(held.len()).unwrap_or(u64::MAX);
        // Services in front of an engine want a length wherever there could be a body.
        let framing = match self.head.framing {
            Framing::None if !matches!(self.head.method, "POST" | "PUT" | "PATCH") => Framing::None,
            _ => Framing::Length(length),
        };
        if self.identity.is_signed() {
            self.payload = Some(Payload { hash: payload_hash(&held), framing });
        }
        self.write_head(&mut out, place.pool.authority(), framing)?;
        out.extend_from_slice(&held);
        drop(held);
        let (engine, upload) = self.send_first(&mut place, &mut out).await?;
        self.answer(place, engine, upload, Some(out)).await
    }

    /// Takes another identity when the body has taken its time and the one there was is about to end.
    fn renew_identity(&mut self) -> Result<(), Refusal> {
        let now = self.connection.worker.shared.clock.now();
        if let Identity::Fields(fields) = &self.identity
            && fields.is_due(now)
            && let Some(session) = &self.exchange.session
        {
            self.identity = self.to.0.identities.of(session, now).map_err(Refusal::no_identity)?;
        }
        Ok(())
    }

    /// Forwards the body as it arrives, each piece after it has passed the gate.
    async fn forward_streaming(mut self) -> Result<Next, Stop> {
        let mut place = self.place(&mut Tried::default())?;
        let mut out = Buffer::lend();
        self.write_head(&mut out, place.pool.authority(), self.head.framing)?;
        self.take_arrived(&mut out)?;
        let (mut engine, upload) = self.send_first(&mut place, &mut out).await?;
        if self.body.is_done() || upload == Upload::CutShort {
            return self.answer(place, engine, upload, Some(out)).await;
        }
        // What was sent in pieces is never sent again.
        self.may_repeat = false;
        loop {
            match self.next_arrival(&mut engine).await? {
                Arrived::FromEngine => return self.answer(place, engine, Upload::CutShort, None).await,
                Arrived::FromClient(0) => return Err(Stop::Gone),
                Arrived::FromClient(_) => {}
            }
            out.clear();
            self.take_arrived(&mut out)?;
            let timeout = self.connection.worker.shared.limits.body_timeout.as_duration();
            self.connection.deadline.set(timeout);
            match self.connection.deadline.guard(engine.send(&out)).await {
                Ok(Ok(Sent::All)) if self.body.is_done() => {
                    return self.answer(place, engine, Upload::Complete, None).await;
                }
                Ok(Ok(Sent::All)) => {}
                Ok(Ok(Sent::AnsweredEarly)) => return self.answer(place, engine, Upload::CutShort, None).await,
                Ok(Err(error)) => return Err(self.broken(&place, &error)),
                Err(_) => return Err(self.timed_out(&place)),
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
    async fn send_first(&mut self, place: &mut Place, out: &mut Buffer) -> Result<(EngineConnection, Upload), Stop> {
        let timeout = self.connection.worker.shared.limits.body_timeout.as_duration();
        if let Some(mut engine) = place.pool.take() {
            self.connection.deadline.set(timeout);
            match self.connection.deadline.guard(engine.send(out)).await {
                Ok(Ok(sent)) => return Ok((engine, sent.into())),
                Ok(Err(_)) if self.may_repeat => {}
                // A kept connection says nothing of the node: it may have been closed while nobody looked.
                Ok(Err(error)) => return Err(self.lost(place, &error)),
                Err(_) => return Err(self.timed_out(place)),
            }
        }
        self.send_on_new(place, out).await
    }

    /// Sends the beginning of the request on a new connection, to whichever node takes one: none but that has got any of it.
    async fn send_on_new(&mut self, place: &mut Place, out: &mut Buffer) -> Result<(EngineConnection, Upload), Stop> {
        let worker = Rc::clone(&self.connection.worker);
        let mut tried = Tried::of(place);
        let mut engine = loop {
            match place.pool.dial().await {
                Ok(engine) => break engine,
                Err(error) => {
                    worker.shared.metrics.upstream_failed(UpstreamFailure::Connect);
                    let (node, request_id) = (place.pool.authority(), &self.exchange.request_id);
                    tracing::warn!(%error, node, request_id, "{} cannot be reached", place.pool.who);
                    place.failed(Ejection::Connect);
                    let next = self.place(&mut tried)?;
                    self.readdress(out, place.pool.authority(), next.pool.authority())?;
                    worker.shared.metrics.upstream_failovers.inc();
                    *place = next;
                }
            }
        };
        worker.shared.metrics.upstream_connections.inc();
        self.connection.deadline.set(worker.shared.limits.body_timeout.as_duration());
        match self.connection.deadline.guard(engine.send(out)).await {
            Ok(Ok(sent)) => Ok((engine, sent.into())),
            Ok(Err(error)) => Err(self.broken(place, &error)),
            Err(_) => Err(self.timed_out(place)),
        }
    }

    /// A place at a node the request has not been to.
    fn place(&self, tried: &mut Tried) -> Result<Place, Stop> {
        let nodes = self.nodes();
        nodes.place(tried).ok_or_else(|| {
            self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::NoNode);
            let who = if self.dashboards.is_some() { "Dashboards" } else { "the engine" };
            Refusal::no_node(who, nodes.next_look()).into()
        })
    }

    /// Where it goes.
    fn nodes(&self) -> &Nodes {
        self.dashboards.map_or(self.to.1, |call| call.nodes.as_ref())
    }

    /// The target as it is sent.
    fn target(&self) -> &str {
        self.dashboards.map_or(self.head.target, |call| call.target.as_ref())
    }

    /// Waits for the answer and passes it on. `sent` is the whole request, when there is the whole of it.
    async fn answer(
        mut self,
        mut place: Place,
        mut engine: EngineConnection,
        mut upload: Upload,
        sent: Option<Buffer>,
    ) -> Result<Next, Stop> {
        let timeout = match self.dashboards {
            None => self.to.0.response_timeout,
            Some(call) => call.dashboards.response_timeout(),
        };
        let mut started = relay::wait(self.connection, &mut engine, timeout).await;
        if let Err(relay::NoAnswer::Closed) = started
            && self.may_repeat
            && let Some(mut sent) = sent
        {
            self.may_repeat = false;
            if engine.is_new {
                place.failed(Ejection::Broken);
            }
            let mut tried = Tried::of(&place);
            if let Some(next) = self.nodes().place(&mut tried) {
                self.readdress(&mut sent, place.pool.authority(), next.pool.authority())?;
                place = next;
            }
            (engine, upload) = self.send_on_new(&mut place, &mut sent).await?;
            started = relay::wait(self.connection, &mut engine, timeout).await;
        }
        self.know_names().await;
        started.map_err(|none| self.no_answer(&place, &engine, none))?;
        let is_signed = self.identity.is_signed();
        let Self { exchange, connection, head, dashboards, twice, to: (cluster, _), .. } = self;
        let points = &cluster.points_in_time;
        let opening = exchange.session.as_ref().and_then(|session| {
            let what = Opening::by(exchange.operation.as_deref(), &session.holder)?;
            Some(Opening::new(what, points, &session.holder))
        });
        relay::Relay { exchange, connection, engine, place, head, dashboards, twice, upload, opening, is_signed }
            .run()
            .await
    }

    /// Has the names of the cluster read again when the request may have changed them. Whoever is told that an alias was made or moved,
    /// or that there is a first document, may rely on it that the gateway knows; the change stands when nobody is told, too.
    async fn know_names(&self) {
        let Some(operation) = &self.exchange.operation else { return };
        let names = &self.to.0.names;
        if names::are_changed_by(operation.name) || (names::may_make_an_index(operation) && self.exchange.names_more())
        {
            names.refresh().await;
        } else if names::may_make_an_index(operation) {
            names.refresh_if_new(self.exchange.named()).await;
        }
    }

    /// Waits for more of the body, or for the engine to answer before the end of it.
    async fn next_arrival(&mut self, engine: &mut EngineConnection) -> Result<Arrived, Stop> {
        let (connection, twice) = (&mut *self.connection, self.twice);
        connection.deadline.set(connection.worker.shared.limits.body_timeout.as_duration());
        let (stream, input) = (&mut connection.stream, &mut connection.input);
        let arrival = std::future::poll_fn(|context| {
            if let Poll::Ready(read) = poll_read_into(Pin::new(&mut *stream), context, input) {
                return Poll::Ready(read.map(Arrived::FromClient).map_err(|_| Stop::Gone));
            }
            loop {
                match engine.poll_receive(context) {
                    Poll::Ready(Ok(1..)) if engine.has_answered() => return Poll::Ready(Ok(Arrived::FromEngine)),
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(Ok(0) | Err(_)) => {
                        let happened =
                            "the connection was closed from behind the gateway before the end of the request";
                        return Poll::Ready(Err(twice.broken(happened).into()));
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        });
        match connection.deadline.guard(arrival).await {
            Ok(arrived) => arrived,
            Err(_) => Err(Refusal::too_slow().into()),
        }
    }

    /// The head as the engine gets it: what the client sent, byte for byte, without what is removed, and with the
    /// identity at the end.
    fn write_head(&self, out: &mut Vec<u8>, authority: &str, framing: Framing) -> Result<(), Stop> {
        let head = self.head;
        let identity = self.identity_fields(authority)?;
        for piece in [head.method, " ", self.target(), BEFORE_HOST, authority, "\r\n"] {
            out.extend_from_slice(piece.as_bytes());
        }
        let options = ConnectionOptions::of(head.fields);
        let session = self.exchange.session.as_ref();
        let opened = session.and_then(|it| Opening::by(self.exchange.operation.as_deref(), &it.holder));
        let reads_answer = opened.is_some();
        for field in head.fields {
            let is_for_answer = reads_answer && is_about_representation(field.name);
            if !is_for_answer && !is_removed_from_request(field.name, &options) {
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
        if self.dashboards.is_some_and(|call| call.websocket.is_some()) {
            out.extend_from_slice(websocket::FIELDS);
        }
        if let Some(extra) = self.dashboards.map(|call| call.extra) {
            if let Some(tenant) = extra.tenant {
                for piece in ["securitytenant: ", tenant, "\r\n"] {
                    out.extend_from_slice(piece.as_bytes());
                }
            }
            if extra.xsrf {
                out.extend_from_slice(b"osd-xsrf: true\r\n");
            }
        }
        out.extend_from_slice(identity.as_bytes());
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// What makes the request somebody's to the engine, at the node of this name.
    fn identity_fields(&self, authority: &str) -> Result<Cow<'_, str>, Stop> {
        let signer = match &self.identity {
            Identity::Fields(fields) => return Ok(Cow::Borrowed(fields.fields())),
            Identity::Signed(signer) => signer,
        };
        let payload = self.payload.as_ref().map(|payload| payload.hash.as_str()).unwrap_or_default();
        let request = Signable { method: self.head.method, target: self.target(), authority, payload };
        // The body may have taken its time since the request began.
        let fields = signer.sign(&request, self.connection.worker.shared.clock.now()).map_err(Refusal::unsigned)?;
        Ok(Cow::Owned(fields.fields().to_owned()))
    }

    /// Names another node in a head that was written for one. One that is signed is signed anew.
    fn readdress(&self, out: &mut Vec<u8>, from: &str, to: &str) -> Result<(), Stop> {
        if let Some(payload) = &self.payload {
            let end = memchr::memmem::find(out, b"\r\n\r\n").map_or(out.len(), |at| at + 4);
            let body = out.split_off(end);
            out.clear();
            self.write_head(out, to, payload.framing)?;
            out.extend_from_slice(&body);
            return Ok(());
        }
        let start = self.head.method.len() + 1 + self.target().len() + BEFORE_HOST.len();
        out.splice(start..start + from.len(), to.bytes());
        Ok(())
    }

    fn broken(&self, place: &Place, error: &dyn Display) -> Stop {
        place.failed(Ejection::Broken);
        self.lost(place, error)
    }

    fn lost(&self, place: &Place, error: &dyn Display) -> Stop {
        let who = place.pool.who;
        self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::Broken);
        tracing::warn!(%error, request_id = self.exchange.request_id, "the connection to {who} broke");
        self.twice.broken(format_args!("the connection to {who} broke before an answer")).into()
    }

    fn timed_out(&self, place: &Place) -> Stop {
        place.failed(Ejection::Broken);
        self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::Timeout);
        self.twice.timed_out(place.pool.who).into()
    }

    fn no_answer(&self, place: &Place, engine: &EngineConnection, none: relay::NoAnswer) -> Stop {
        match none {
            relay::NoAnswer::ClientGone => Stop::Gone,
            relay::NoAnswer::Closed if engine.is_new => self.broken(place, &"closed before an answer"),
            relay::NoAnswer::Closed => self.lost(place, &"closed before an answer"),
            relay::NoAnswer::TimedOut => self.timed_out(place),
        }
    }
}
