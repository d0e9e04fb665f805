//! WebSockets by a library that many use, on both ends: a server in the place of Dashboards, and clients of a gateway.

use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::{ClientConnection, StreamOwned};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::answer::Answer;
use crate::http::Client;
use crate::until;
use crate::upstream::Received;

/// The end of a WebSocket behind the gateway.
pub type ServerSocket = WebSocket<TcpStream>;

/// The end of a WebSocket before the gateway.
pub type ClientSocket = WebSocket<StreamOwned<ClientConnection, TcpStream>>;

/// A server that opens every WebSocket it is asked for; it ends with the test's process.
pub struct WebSockets {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<dyn Fn(&mut ServerSocket) + Send + Sync>,
    requests: Mutex<Vec<Received>>,
    open: AtomicUsize,
}

impl WebSockets {
    /// A server that sends every message back.
    #[must_use]
    pub fn echoing() -> Self {
        Self::start(echo)
    }

    /// A server that does with each WebSocket what the script says, and ends the connection after it.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(script: impl Fn(&mut ServerSocket) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared =
            Arc::new(Shared { script: Box::new(script), requests: Mutex::default(), open: AtomicUsize::default() });
        let accepted = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&accepted);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { port, shared }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// What the gateway must write into `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The requests by which WebSockets were opened.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.shared.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many WebSockets are open.
    pub fn wait_for_open(&self, count: usize) {
        until(&format!("{count} open WebSockets"), Duration::from_secs(10), || {
            (self.shared.open.load(Ordering::SeqCst) == count).then_some(())
        });
    }
}

impl Shared {
    #[allow(clippy::result_large_err, reason = "the library's own type")]
    fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let Ok(mut socket) =
            tungstenite::accept_hdr(stream, |request: &Request, answer: Response| self.note(request, answer))
        else {
            return;
        };
        self.open.fetch_add(1, Ordering::SeqCst);
        (self.script)(&mut socket);
        drop(socket);
        self.open.fetch_sub(1, Ordering::SeqCst);
    }

    /// Keeps the request, and chooses the first of the protocols it offers.
    #[allow(clippy::result_large_err, reason = "the library's own type")]
    fn note(&self, request: &Request, mut answer: Response) -> Result<Response, ErrorResponse> {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let received = Received {
            method: request.method().to_string(),
            target: request.uri().to_string(),
            headers: request.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            ..Received::default()
        };
        if let Some(offered) = received.header("sec-websocket-protocol").first() {
            let first = offered.split(',').next().unwrap_or_default().trim();
            answer.headers_mut().insert("sec-websocket-protocol", first.parse().expect("a value"));
        }
        // A session in a cookie, as Dashboards makes one.
        answer.headers_mut().insert("set-cookie", http::HeaderValue::from_static("security_authentication=sealed"));
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(received);
        Ok(answer)
    }
}

/// Sends every message back until the other side ends it.
pub fn echo(socket: &mut ServerSocket) {
    while let Ok(message) = socket.read() {
        if (message.is_text() || message.is_binary()) && socket.send(message).is_err() {
            return;
        }
    }
}

/// Asks for a WebSocket with the client's credential and these further fields.
///
/// # Errors
/// The answer, when it opens none; as much of its body as came with the head.
///
/// # Panics
/// When there is no answer that the library can read.
pub fn open(client: &Client, target: &str, fields: &[(&str, &str)]) -> Result<(ClientSocket, Answer), Answer> {
    let uri = format!("wss://localhost:{}{target}", client.address().port());
    let mut request = uri.into_client_request().expect("a request");
    let credential = client.authorization().map(|authorization| ("authorization", authorization));
    for (name, value) in credential.into_iter().chain(fields.iter().copied()) {
        let name: http::HeaderName = name.parse().expect("a name");
        request.headers_mut().append(name, value.parse().expect("a value"));
    }
    match tungstenite::client(request, client.connect().into_stream()) {
        Ok((socket, answer)) => Ok((socket, read(&answer.map(|_| None)))),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(read(&answer)),
        Err(error) => panic!("no answer: {error}"),
    }
}

fn read(answer: &http::Response<Option<Vec<u8>>>) -> Answer {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: answer.body().clone().unwrap_or_default(),
    }
}

/// Sends a text and makes sure that it comes back.
///
/// # Panics
/// When it does not.
pub fn assert_echo(socket: &mut ClientSocket, text: &str) {
    socket.send(Message::text(text)).expect("send");
    assert_eq!(socket.read().expect("an echo").to_text().expect("a text"), text);
}

/// Reads until the WebSocket is over: with a word of the other side, which is an answer to ours or its own, or without any.
pub fn read_to_end(socket: &mut ClientSocket) -> Error {
    loop {
        if let Err(error) = socket.read() {
            return error;
        }
    }
}
