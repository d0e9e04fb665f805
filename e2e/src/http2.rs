//! HTTP/2 as clients speak it, by the library most Rust clients use, and frame by frame for what no library sends.

use std::future::Future;
use std::io::{self, ErrorKind};

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::answer::Answer;
use crate::connection::Connection;
use crate::http::Client;

/// A connection of HTTP/2 that carries many requests.
pub struct Http2 {
    send: SendRequest<Bytes>,
    authority: String,
    authorization: Option<String>,
}

/// Runs what waits for answers of HTTP/2 on this thread.
///
/// # Panics
/// When the operating system gives no means to wait.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

impl Http2 {
    /// Opens a connection as `client`.
    ///
    /// # Panics
    /// When nobody listens, or HTTP/2 is not spoken there.
    pub async fn open(client: &Client) -> Self {
        let connector = TlsConnector::from(client.tls_for(&[b"h2", b"http/1.1"]));
        let tcp = TcpStream::connect(client.address()).await.expect("a connection");
        tcp.set_nodelay(true).expect("set an option");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = connector.connect(name, tcp).await.expect("TLS");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()), "HTTP/2 is not spoken");
        let (send, connection) = h2::client::Builder::new()
            // So that one stream that is not read does not hold up the others.
            .initial_connection_window_size(16 * 1024 * 1024)
            .handshake(stream)
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        Self {
            send,
            authority: format!("localhost:{}", client.address().port()),
            authorization: client.authorization().map(str::to_owned),
        }
    }

    /// A request in the making, with the client's credential.
    #[must_use]
    pub fn request(&self, method: &str, target: &str) -> http::request::Builder {
        let request = Request::builder().method(method).uri(format!("https://{}{target}", self.authority));
        match &self.authorization {
            Some(authorization) => request.header("authorization", authorization),
            None => request,
        }
    }

    /// Begins a request: its answer to come, and where its body goes.
    ///
    /// # Errors
    /// When the connection takes no more requests.
    ///
    /// # Panics
    /// When the request is none.
    pub async fn begin(
        &self,
        request: http::request::Builder,
        ends: bool,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut send = self.send.clone().ready().await?;
        send.send_request(request.body(()).expect("a request"), ends)
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Result<Answer, h2::Error> {
        let body = body.into();
        let (response, stream) = self.begin(request, body.is_empty()).await?;
        // An answer may come before the end of the request.
        let (answer, ()) = tokio::join!(async { answer(response.await?).await }, upload(stream, body));
        answer
    }

    /// As [`send`](Self::send), by method and target alone.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn get(&self, target: &str) -> Result<Answer, h2::Error> {
        self.send(self.request("GET", target), Bytes::new()).await
    }
}

/// Sends a body as far as it is taken.
pub async fn upload(mut stream: SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(Ok(room)) = std::future::poll_fn(|context| stream.poll_capacity(context)).await else { return };
        let piece = body.split_to(room.min(body.len()));
        if stream.send_data(piece, body.is_empty()).is_err() {
            return;
        }
    }
}

/// Reads an answer to its end.
///
/// # Errors
/// When it has none.
pub async fn answer(response: Response<RecvStream>) -> Result<Answer, h2::Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        body.extend_from_slice(&data);
        stream.flow_control().release_capacity(data.len())?;
    }
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    Ok(Answer { status: head.status.as_u16(), headers, body })
}

/// Types of frames (RFC 9113 section 6).
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

/// Flags of frames.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// A frame as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A connection of HTTP/2 on which the test writes the frames.
pub struct Frames {
    connection: Connection,
}

impl Frames {
    /// Opens a connection and sends the preface with empty settings.
    #[must_use]
    pub fn open(client: &Client) -> Self {
        let mut connection = client.connect_http2();
        connection.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut frames = Self { connection };
        frames.write(SETTINGS, 0, 0, &[]);
        frames
    }

    /// Sends a frame.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_write(kind, flags, stream, payload).expect("send a frame");
    }

    /// Sends a frame, unless the other side has closed.
    ///
    /// # Errors
    /// When it cannot be sent.
    ///
    /// # Panics
    /// When the payload is too long for a frame.
    pub fn try_write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len()).expect("short");
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.connection.try_write(&frame)
    }

    /// The next frame.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn receive(&mut self) -> io::Result<Frame> {
        let head = self.connection.take(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Frame { kind: head[3], flags: head[4], stream, payload: self.connection.take(length)? })
    }

    /// Reads until there is a frame of this kind; `None` when the connection ends before.
    pub fn find(&mut self, kind: u8) -> Option<Frame> {
        loop {
            match self.receive() {
                Ok(frame) if frame.kind == kind => return Some(frame),
                Ok(frame) => {
                    // What asks for an answer gets one, as long as somebody listens.
                    if matches!(frame.kind, SETTINGS | PING) && frame.flags == 0 {
                        let payload = if frame.kind == PING { frame.payload.as_slice() } else { &[] };
                        let _ = self.try_write(frame.kind, 1, 0, payload);
                    }
                }
                Err(error) => {
                    assert!(
                        !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                        "waited too long for a frame of type {kind}"
                    );
                    return None;
                }
            }
        }
    }

    /// The connection under the frames.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Frame {
    /// The error code of RST_STREAM and GOAWAY.
    ///
    /// # Panics
    /// When the frame is another one.
    #[must_use]
    pub fn error_code(&self) -> u32 {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            kind => panic!("a frame of type {kind} has no error code"),
        };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// A block of header fields as literals, none of them remembered (RFC 7541 section 6.2.2), byte for byte as they are given.
#[must_use]
pub fn header_block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            string_length(text.len(), &mut block);
            block.extend_from_slice(text);
        }
    }
    block
}

/// The length of a string that is not compressed: an integer with a prefix of seven bits (RFC 7541 section 5.1).
fn string_length(length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        block.push(u8::try_from(length).expect("small"));
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("small") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("small"));
}
