//! The engine's answer on its way to the client.

use std::io::Write as _;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use oauth4os_classify::gunzip;
use oauth4os_telemetry::metrics::{Ejection, UpstreamFailure};
use serde_json::Value;

use crate::buffers::{Buffer, CHUNK, poll_read_into};
use crate::connection::{ByteStream, Connection, Next};
use crate::dashboards::{Call, Dashboards, Location};
use crate::fields::{ConnectionOptions, is_removed_from_response, opaque_id};
use crate::nodes::Place;
use crate::outcome::{Hold, Twice};
use crate::points_in_time::{Opening, Progress};
use crate::pool::{EngineConnection, MAX_HEAD, Sent};
use crate::record::{Exchange, Stop};
use crate::refusal::Refusal;
use crate::websocket;
use crate::wire::chunked::{self, ChunkedDecoder, Piece};
use crate::wire::request::{Arrived, MAX_HEADERS, RequestHead, find_end};
use crate::wire::response::ResponseHead;
use crate::wire::{Framing, Malformed};

/// What a client may send ahead while it waits for an answer.
const MAX_AHEAD: usize = 2 * CHUNK;

/// The longest refusal that is looked at for whose it is.
const MAX_DENIAL: usize = 64 * 1024;
const LONGEST_UNPACKED: u64 = 1024 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];

/// An answer that has begun to arrive.
pub(crate) struct Relay<'r, 'h, S> {
    pub(crate) exchange: &'r mut Exchange,
    pub(crate) connection: &'r mut Connection<S>,
    pub(crate) engine: EngineConnection,
    /// The node the answer comes from.
    pub(crate) place: Place,
    pub(crate) head: &'r RequestHead<'h>,
    /// When the answer is that of Dashboards.
    pub(crate) dashboards: Option<&'r Call<'r>>,
    /// What it means to do the request twice.
    pub(crate) twice: Twice,
    pub(crate) upload: Upload,
    /// When the answer tells the id of a point in time or of a scroll.
    pub(crate) opening: Option<Opening>,
    /// Whether the request was signed: a service in front of the engine then answers too.
    pub(crate) is_signed: bool,
}

/// Whether the engine has got the whole request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upload {
    Complete,
    /// The engine answered before the end; the rest is not sent.
    CutShort,
}

impl From<Sent> for Upload {
    fn from(sent: Sent) -> Self {
        match sent {
            Sent::All => Self::Complete,
            Sent::AnsweredEarly => Self::CutShort,
        }
    }
}

/// There was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The client does not wait any more; dropping the connection makes the engine give up the search.
    ClientGone,
    /// The engine closed the connection without a word.
    Closed,
    /// The time was up.
    TimedOut,
}

/// Waits for the first bytes of the answer.
pub(crate) async fn wait<S: ByteStream>(
    connection: &mut Connection<S>,
    engine: &mut EngineConnection,
    timeout: Duration,
) -> Result<(), NoAnswer> {
    if engine.has_answered() {
        return Ok(());
    }
    connection.deadline.set(timeout);
    let (stream, input) = (&mut connection.stream, &mut connection.input);
    let first = std::future::poll_fn(|context| {
        loop {
            match engine.poll_receive(context) {
                Poll::Ready(Ok(1..)) if engine.has_answered() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(1..)) => {}
                // What came of it is more than nothing, and no answer.
                Poll::Ready(Ok(0) | Err(_)) if !engine.input.is_empty() => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoAnswer::Closed)),
                Poll::Pending => break,
            }
        }
        while input.len() < MAX_AHEAD {
            match poll_read_into(Pin::new(&mut *stream), context, input) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(NoAnswer::ClientGone)),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    });
    connection.deadline.guard(first).await.unwrap_or(Err(NoAnswer::TimedOut))
}

/// What is needed of an answer's head after it was sent.
struct Outline {
    framing: Framing,
    /// How the client is told where the body ends.
    to_client: Framing,
    engine_keep_alive: bool,
    /// The protocol is another from here on.
    switches: bool,
}

impl<S: ByteStream> Relay<'_, '_, S> {
    /// Passes the answer on, to its end.
    pub(crate) async fn run(mut self) -> Result<Next, Stop> {
        let mut out = Buffer::lend();
        let outline = self.receive_head(&mut out).await?;
        if outline.switches {
            return self.switch(out).await;
        }
        // One who was refused a WebSocket may speak as if it were open.
        let client_keep_alive = self.head.keep_alive
            && !self.exchange.wants_websocket
            && self.upload == Upload::Complete
            && outline.to_client != Framing::UntilClose
            && !self.connection.worker.is_draining();
        if !client_keep_alive {
            out.extend_from_slice(b"connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
        self.pass_body(&outline, out).await?;
        if outline.engine_keep_alive && self.upload == Upload::Complete && !self.exchange.wants_websocket {
            self.engine.is_new = false;
            self.place.pool.put(self.engine);
        }
        Ok(if client_keep_alive { Next::KeepAlive } else { Next::Close })
    }

    /// Tells the client that its WebSocket is open. What it sends from here on goes to Dashboards as it is.
    async fn switch(self, mut out: Buffer) -> Result<Next, Stop> {
        // What has come is looked at once more: it was sent before the client can know the answer.
        let (stream, input) = (&mut self.connection.stream, &mut self.connection.input);
        let read = std::future::poll_fn(|context| {
            Poll::Ready(match poll_read_into(Pin::new(&mut *stream), context, input) {
                Poll::Ready(Ok(0) | Err(_)) => Err(Stop::Gone),
                Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
            })
        });
        read.await?;
        if !self.connection.input.is_empty() {
            return Err(Refusal::unreadable(
                "nothing may be sent on a WebSocket before the answer that opens it has arrived",
            )
            .into());
        }
        out.extend_from_slice(websocket::FIELDS);
        out.extend_from_slice(b"\r\n");
        self.connection.send(&out).await?;
        self.exchange.websocket = Some(Box::new(self.engine));
        Ok(Next::Close)
    }

    /// Receives the head and writes the client's, all but its last line.
    async fn receive_head(&mut self, out: &mut Buffer) -> Result<Outline, Stop> {
        self.connection.deadline.set(self.connection.worker.shared.limits.body_timeout.as_duration());
        loop {
            match find_end(&self.engine.input) {
                Ok(Arrived::Complete(length)) => return self.read_head(length, out),
                Ok(Arrived::Incomplete) if self.engine.input.len() <= MAX_HEAD => {
                    match self.connection.deadline.guard(self.engine.receive()).await {
                        Ok(Ok(1..)) => {}
                        Ok(Ok(0) | Err(_)) => {
                            return Err(self.broken("the engine closed the connection within an answer"));
                        }
                        Err(_) => {
                            self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::Timeout);
                            return Err(self.twice.timed_out(self.place.pool.who).into());
                        }
                    }
                }
                Ok(Arrived::Incomplete) | Err(_) => return Err(self.broken("the engine's answer is not HTTP/1.1")),
            }
        }
    }

    /// Reads a head of so many bytes.
    fn read_head(&mut self, length: usize, out: &mut Buffer) -> Result<Outline, Stop> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let bytes = self.engine.input.get(..length).unwrap_or_default();
        let answer = match ResponseHead::parse(bytes, &mut slots, self.head.method == "HEAD") {
            Ok(answer) => answer,
            Err(problem) => {
                let problem = problem.to_string();
                return Err(self.broken(&problem));
            }
        };
        let outline = match answer.status {
            101 => {
                let Some(asked) = self.dashboards.and_then(|call| call.websocket) else {
                    return Err(self.broken("the engine changed the protocol without being asked"));
                };
                if let Err(problem) = asked.check(&answer) {
                    return Err(self.broken(problem));
                }
                self.place.succeeded();
                self.exchange.status = Some(101);
                let outline = write_head(&answer, self.head, self.exchange, None, out);
                Outline { switches: true, ..outline }
            }
            // Those that may come were read over when they arrived.
            100..=199 => return Err(self.broken("the engine sends one interim answer after the other")),
            401 => return Err(self.not_accepted()),
            300..=399 if self.dashboards.is_some_and(|call| leads_to_login(call.dashboards, &answer)) => {
                return Err(self.not_accepted());
            }
            // Of what stands between, which knows no more than the gateway would.
            status @ (502 | 504) if !self.twice.is_harmless() => {
                let who = self.place.pool.who;
                let happened = format_args!("{who}, or what stands in front of it, answered with {status}");
                return Err(self.twice.broken(happened).into());
            }
            status => {
                self.place.succeeded();
                self.exchange.status = Some(status);
                let dashboards = self.dashboards.map(|call| call.dashboards);
                write_head(&answer, self.head, self.exchange, dashboards, out)
            }
        };
        self.engine.input.consume(length);
        Ok(outline)
    }

    /// Passes the body on. `out` is what has to be sent before it. An answer that must not be asked for again is held back until it is
    /// whole, as far as there is room.
    async fn pass_body(&mut self, outline: &Outline, mut out: Buffer) -> Result<(), Stop> {
        let mut left = AnswerBody::new(outline.framing);
        let (mut hold, mut has_begun) = (Hold::new(!self.twice.is_harmless()), false);
        let is_chunked = outline.to_client == Framing::Chunked;
        let mut opening = self.opening.take().filter(|_| matches!(self.exchange.status, Some(200..=299)));
        let mut read = Ok(Progress::More);
        let mut denial =
            (self.is_signed && self.exchange.status == Some(403) && self.head.method != "HEAD").then(Vec::new);
        loop {
            let passed = left.take(&mut self.engine.input, self.engine.ended, |bytes| {
                if let (Some(opening), Ok(Progress::More)) = (&mut opening, &read) {
                    read = opening.take(bytes);
                }
                if let Some(denial) = &mut denial {
                    denial.extend_from_slice(bytes);
                }
                if is_chunked {
                    chunked::encode(bytes, &mut out);
                } else {
                    out.extend_from_slice(bytes);
                }
                bytes.len()
            });
            match passed {
                Ok(count) => self.exchange.bytes_out += u64::try_from(count).unwrap_or(u64::MAX),
                Err(problem) => {
                    return Err(self.broke_off(has_begun, &format!("the engine's answer broke off: {problem}")));
                }
            }
            if read.is_ok_and(|read| read == Progress::Done) {
                opening = None;
            }
            if left.is_done()
                && let Some(opening) = opening.take()
                && read.is_ok()
            {
                read = opening.finish().map(|()| Progress::Done);
            }
            if let Err(unreadable) = read {
                return Err(Refusal::unreadable(unreadable.to_string()).into());
            }
            if denial.as_ref().is_some_and(|denial| denial.len() > MAX_DENIAL) {
                return Err(self.not_accepted());
            }
            if left.is_done()
                && let Some(denial) = denial.take()
                && !is_of_engine(&denial)
            {
                return Err(self.not_accepted());
            }
            if left.is_done() && is_chunked {
                out.extend_from_slice(chunked::END);
            }
            // Whoever opens a point in time learns nothing of its id before it is known to be his.
            let is_held = opening.is_some() || denial.is_some() || (!left.is_done() && hold.has_room_for(out.len()));
            if !out.is_empty() && !is_held {
                has_begun = true;
                self.connection.send(&out).await?;
                out.clear();
            }
            if left.is_done() {
                return Ok(());
            }
            self.connection.deadline.set(self.connection.worker.shared.limits.body_timeout.as_duration());
            match self.connection.deadline.guard(self.engine.receive()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) => {
                    return Err(self.broke_off(has_begun, "the connection to the engine broke within the answer"));
                }
                Err(_) => return Err(self.broke_off(has_begun, "the engine stopped within its answer")),
            }
        }
    }

    /// Nothing that is wrong with the client's token: with what the gateway shows in its place.
    fn not_accepted(&self) -> Stop {
        self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::Identity);
        let who = self.place.pool.who;
        tracing::error!("{who} does not accept the gateway's identity; `oauth4os engine check` says why");
        let reason = format!("{who} does not accept the gateway's identity; `oauth4os engine check` says why");
        Refusal::bad_gateway(reason).into()
    }

    fn broken(&self, reason: &str) -> Stop {
        self.note_broken(reason);
        self.twice.broken(format_args!("{} gave no usable answer", self.place.pool.who)).into()
    }

    fn note_broken(&self, reason: &str) {
        self.connection.worker.shared.metrics.upstream_failed(UpstreamFailure::Broken);
        self.place.failed(Ejection::Broken);
        tracing::warn!(
            reason,
            node = self.place.pool.authority(),
            request_id = self.exchange.request_id,
            "{} gave no usable answer",
            self.place.pool.who
        );
    }

    /// The answer has ended before its end. Where the client has got nothing of it, it is told; else the connection ends.
    fn broke_off(&mut self, has_begun: bool, problem: &str) -> Stop {
        if has_begun {
            self.exchange.error = Some(problem.to_owned());
            return Stop::Gone;
        }
        self.note_broken(problem);
        self.exchange.bytes_out = 0;
        self.twice.broken(problem).into()
    }
}

/// Whether a refusal is the engine's own. That of a service in front of it is about the gateway's signature or principal, and may
/// repeat what was signed.
fn is_of_engine(body: &[u8]) -> bool {
    let unpacked = if body.starts_with(GZIP) { gunzip(body, LONGEST_UNPACKED).ok() } else { None };
    let read = serde_json::from_slice::<Value>(unpacked.as_deref().unwrap_or(body));
    read.is_ok_and(|body| body.get("error").is_some() && body.get("status").is_some())
}

/// Whether Dashboards sends the client to where a session begins. Nobody who holds a token follows: a stock client would take
/// the page for an answer.
fn leads_to_login(dashboards: &Dashboards, answer: &ResponseHead<'_>) -> bool {
    let mut locations = answer.fields.iter().filter(|field| field.name.eq_ignore_ascii_case("location"));
    locations.any(|field| dashboards.location(field.value) == Location::Login)
}

/// Writes the head the client gets, all but what says whether the connection goes on.
fn write_head(
    answer: &ResponseHead<'_>,
    request: &RequestHead<'_>,
    exchange: &Exchange,
    dashboards: Option<&Dashboards>,
    out: &mut Buffer,
) -> Outline {
    // What the engine means for this connection alone (RFC 9110 section 7.6.1); what says where the body ends is not such a thing.
    let options = ConnectionOptions::of(answer.fields);
    let is_for_connection = |name: &str| !name.eq_ignore_ascii_case("content-length") && options.names(name);
    // The engine repeats an `X-Opaque-Id`: the client gets its own back, not the one it was given here.
    let repeats_opaque_id = opaque_id(request.fields, &ConnectionOptions::of(request.fields)).is_some();
    // Writing to memory does not fail.
    let _ = write!(out, "HTTP/1.1 {} ", answer.status);
    out.extend_from_slice(answer.reason.as_bytes());
    out.extend_from_slice(b"\r\n");
    for field in answer.fields {
        let is_ours = !repeats_opaque_id && field.name.eq_ignore_ascii_case("x-opaque-id");
        // RFC 9110 section 8.6: it has none, and a client that goes by one would take the next answer for a body.
        let is_wrong = answer.status == 204 && field.name.eq_ignore_ascii_case("content-length");
        if !is_ours && !is_wrong && !is_removed_from_response(field.name) && !is_for_connection(field.name) {
            out.extend_from_slice(field.name.as_bytes());
            out.extend_from_slice(b": ");
            match dashboards.filter(|_| field.name.eq_ignore_ascii_case("location")).map(|it| it.location(field.value))
            {
                Some(Location::Sent(value)) => out.extend_from_slice(&value),
                Some(Location::Login) | None => out.extend_from_slice(field.value),
            }
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"x-request-id: ");
    out.extend_from_slice(exchange.request_id.as_bytes());
    out.extend_from_slice(b"\r\n");
    if exchange.is_partial {
        out.extend_from_slice(b"x-oauth4os-partial: true\r\n");
    }
    if let Some(told) = &exchange.told {
        told.write(out);
    }
    let to_client = match answer.framing {
        Framing::None => Framing::None,
        Framing::Length(length) => Framing::Length(length),
        Framing::Chunked | Framing::UntilClose if request.is_1_1 => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n");
            Framing::Chunked
        }
        Framing::Chunked | Framing::UntilClose => Framing::UntilClose,
    };
    Outline { framing: answer.framing, to_client, engine_keep_alive: answer.keep_alive, switches: false }
}

/// What is still to come of an answer's body.
enum AnswerBody {
    Done,
    Length(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl AnswerBody {
    const fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkedDecoder::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Takes what has arrived and hands it to `each`, which says how much it took; the sum is the result.
    fn take(
        &mut self,
        input: &mut Buffer,
        ended: bool,
        mut each: impl FnMut(&[u8]) -> usize,
    ) -> Result<usize, Malformed> {
        let mut used = 0;
        let mut passed = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            match self {
                Self::Done => break,
                Self::Length(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    passed += each(rest.get(..count).unwrap_or_default());
                    used += count;
                    *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                    if *left == 0 {
                        *self = Self::Done;
                    } else if ended {
                        return Err(Malformed::ContentLength);
                    }
                    break;
                }
                Self::UntilClose => {
                    passed += each(rest);
                    used += rest.len();
                    if ended {
                        *self = Self::Done;
                    }
                    break;
                }
                Self::Chunked(decoder) => {
                    let (count, piece) = decoder.next(rest)?;
                    used += count;
                    match piece {
                        Piece::Data(bytes) => passed += each(bytes),
                        Piece::End => *self = Self::Done,
                        Piece::NeedMore if ended => return Err(Malformed::Chunk),
                        Piece::NeedMore => break,
                    }
                }
            }
        }
        input.consume(used);
        Ok(passed)
    }
}
