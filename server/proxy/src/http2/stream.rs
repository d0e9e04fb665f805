//! One stream of HTTP/2 as the bytes of one request and one answer of HTTP/1.1.
//!
//! Nothing is read from `h2` before the reader asks for it, and nothing is handed to it before the client has room, so that
//! flow control holds both ends back.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::buffers::Buffer;
use crate::wire::chunked::{self, ChunkedDecoder, Piece};
use crate::wire::request::{Arrived, MAX_HEADERS, find_end};
use crate::wire::response::ResponseHead;
use crate::wire::{Framing, Malformed};

/// A stream of HTTP/2: what is read from it is the request in HTTP/1.1, what is written to it the answer.
pub(super) struct Stream {
    respond: SendResponse<Bytes>,
    /// The answer's body, once its head was sent.
    send: Option<SendStream<Bytes>>,
    receive: RecvStream,
    /// Bytes of the request that were not read yet.
    arrived: Bytes,
    request: RequestState,
    answer: AnswerState,
    /// Bytes of the answer's body the client has had no room for yet.
    waiting: Bytes,
    /// Whether the answer ends after them.
    ends: bool,
    is_head: bool,
    /// Whether the client does not want the answer any more.
    is_given_up: bool,
}

/// What is still to come of a request.
enum RequestState {
    /// So many bytes, which were announced.
    Length(u64),
    Chunked,
    Ended,
}

/// What is still to be written of an answer.
enum AnswerState {
    /// Its head, or an interim one.
    Head(Buffer),
    Length(u64),
    Chunked(ChunkedDecoder),
    Done,
}

impl Stream {
    /// A stream whose request's head is to be read as `head`.
    pub(super) fn new(respond: SendResponse<Bytes>, receive: RecvStream, request: &Parts, head: Vec<u8>) -> Self {
        let length = request.headers.get(CONTENT_LENGTH);
        let state = match length.and_then(|length| length.to_str().ok()?.parse().ok()) {
            _ if receive.is_end_stream() => RequestState::Ended,
            Some(length) => RequestState::Length(length),
            None => RequestState::Chunked,
        };
        Self {
            respond,
            send: None,
            receive,
            arrived: head.into(),
            request: state,
            answer: AnswerState::Head(Buffer::empty()),
            waiting: Bytes::new(),
            ends: false,
            is_head: request.method == Method::HEAD,
            is_given_up: false,
        }
    }

    /// Ends the stream after its request was served: an answer that has not come to its end must not look as if it had.
    /// Whether the client had given it up.
    pub(super) fn finish(mut self) -> bool {
        if !matches!(self.answer, AnswerState::Done) || self.ends {
            match &mut self.send {
                Some(send) => send.send_reset(Reason::INTERNAL_ERROR),
                None => self.respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
        self.is_given_up
    }

    /// Reads over what the client is still sending after its answer. It could be told to stop (RFC 9113 section 8.1), but
    /// Apache's HttpClient 5, and so the Java client, then waits for ever for the answer that it has.
    pub(super) async fn read_over(&mut self, at_most: usize) {
        let mut read = 0;
        let is_answered = matches!(self.answer, AnswerState::Done) && !self.ends;
        while is_answered && !matches!(self.request, RequestState::Ended) && read < at_most {
            if poll_fn(|context| self.poll_body(context)).await.is_err() {
                return;
            }
            read += self.arrived.len();
            self.arrived.clear();
        }
    }

    /// Receives more of the request's body into `arrived`, in the framing that was announced.
    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(self.receive.poll_data(context)) {
            Some(Ok(data)) => {
                // What was taken is held no longer than until it is read, and no more is taken before.
                let _ = self.receive.flow_control().release_capacity(data.len());
                self.arrived = match &mut self.request {
                    RequestState::Chunked => chunk(&data),
                    RequestState::Length(left) => {
                        // `h2` resets a stream that sends more than it announced. Were it to let more through, that
                        // would be read as another request.
                        *left = left.checked_sub(length(&data)).ok_or_else(|| malformed(Malformed::ContentLength))?;
                        data
                    }
                    RequestState::Ended => Bytes::new(),
                };
            }
            Some(Err(error)) => return Poll::Ready(Err(self.lost(error))),
            // Trailers, if there are any, go no further, as in HTTP/1.1.
            None => match std::mem::replace(&mut self.request, RequestState::Ended) {
                RequestState::Chunked => self.arrived = Bytes::from_static(chunked::END),
                RequestState::Length(0) | RequestState::Ended => {}
                RequestState::Length(_) => return Poll::Ready(Err(malformed(Malformed::ContentLength))),
            },
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the client to give the stream up.
    fn poll_lost(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        let reset = match &mut self.send {
            Some(send) => send.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        match ready!(reset) {
            Ok(reason) => {
                self.is_given_up = true;
                Poll::Ready(io::Error::new(io::ErrorKind::ConnectionReset, reason.description()))
            }
            Err(error) => Poll::Ready(self.lost(error)),
        }
    }

    fn lost(&mut self, error: h2::Error) -> io::Error {
        self.is_given_up |= error.is_reset() && error.is_remote();
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    }

    /// Sends the answer's head, or an interim one.
    fn send_head(&mut self, head: &[u8]) -> io::Result<()> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let head = ResponseHead::parse(head, &mut slots, self.is_head).map_err(malformed)?;
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(head.status).map_err(io::Error::other)?;
        for field in head.fields {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(io::Error::other)?;
            // The others that mean one connection do not get here from the engine.
            if name != CONNECTION && name != TRANSFER_ENCODING {
                response.headers_mut().append(name, HeaderValue::from_bytes(field.value).map_err(io::Error::other)?);
            }
        }
        if response.status().is_informational() {
            return self.respond.send_informational(response).map_err(|error| self.lost(error));
        }
        self.answer = match head.framing {
            Framing::None | Framing::Length(0) => AnswerState::Done,
            Framing::Length(length) => AnswerState::Length(length),
            Framing::Chunked => AnswerState::Chunked(ChunkedDecoder::new()),
            Framing::UntilClose => return Err(malformed(Malformed::TransferEncoding)),
        };
        let is_whole = matches!(self.answer, AnswerState::Done);
        match self.respond.send_response(response, is_whole) {
            Ok(send) => self.send = Some(send),
            Err(error) => return Err(self.lost(error)),
        }
        Ok(())
    }

    /// Sends what waits, as far as the client has room.
    fn poll_waiting(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() || self.ends {
            let Some(send) = &mut self.send else {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            };
            let sent = if self.waiting.is_empty() {
                self.ends = false;
                send.send_data(Bytes::new(), true)
            } else {
                send.reserve_capacity(self.waiting.len());
                if send.capacity() == 0 {
                    match ready!(send.poll_capacity(context)) {
                        Some(Ok(_)) => continue,
                        Some(Err(error)) => return Poll::Ready(Err(self.lost(error))),
                        None => {
                            self.is_given_up = true;
                            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                        }
                    }
                }
                let piece = self.waiting.split_to(send.capacity().min(self.waiting.len()));
                let is_last = self.ends && self.waiting.is_empty();
                self.ends &= !is_last;
                send.send_data(piece, is_last)
            };
            if let Err(error) = sent {
                return Poll::Ready(Err(self.lost(error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes bytes of the answer; how many.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.answer {
            AnswerState::Head(head) => {
                let before = head.len();
                head.append(bytes);
                match find_end(head).map_err(malformed)? {
                    Arrived::Incomplete => Ok(bytes.len()),
                    Arrived::Complete(length) => {
                        let mut head = std::mem::take(head);
                        head.truncate(length);
                        self.send_head(&head)?;
                        Ok(length - before)
                    }
                }
            }
            AnswerState::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                self.waiting = Bytes::copy_from_slice(bytes.get(..count).unwrap_or_default());
                *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.answer = AnswerState::Done;
                    self.ends = true;
                }
                Ok(count)
            }
            AnswerState::Chunked(decoder) => {
                let (used, piece) = decoder.next(bytes).map_err(malformed)?;
                match piece {
                    Piece::Data(data) => self.waiting = Bytes::copy_from_slice(data),
                    Piece::NeedMore => {}
                    Piece::End => {
                        self.answer = AnswerState::Done;
                        self.ends = true;
                    }
                }
                Ok(used)
            }
            // A body nobody announced, such as one after the answer to HEAD.
            AnswerState::Done => Ok(bytes.len()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, space: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        while stream.arrived.is_empty() {
            if matches!(stream.request, RequestState::Ended) {
                // There is no end to be read: the client waits for its answer, until it does not.
                return stream.poll_lost(context).map(Err);
            }
            ready!(stream.poll_body(context))?;
        }
        let count = stream.arrived.len().min(space.remaining());
        space.put_slice(&stream.arrived.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        ready!(stream.poll_waiting(context))?;
        Poll::Ready(stream.take(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_waiting(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

/// Bytes as one chunk; none for no bytes, since an empty chunk would end the body.
fn chunk(data: &Bytes) -> Bytes {
    if data.is_empty() {
        return Bytes::new();
    }
    let mut framed = BytesMut::with_capacity(data.len() + 16);
    framed.put_slice(format!("{:x}\r\n", data.len()).as_bytes());
    framed.put_slice(data);
    framed.put_slice(b"\r\n");
    framed.freeze()
}

fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

fn malformed(problem: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
