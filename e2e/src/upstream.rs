//! A server on loopback in the engine's place, for tests that have to see the bytes that leave the gateway, or that
//! need an engine which misbehaves on demand. It speaks plain HTTP/1.1.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::until;

/// How much of what arrives on a connection is kept for [`Upstream::captured`].
const CAPTURED: usize = 1024 * 1024;

/// The server; it ends with the test's process.
pub struct Upstream {
    port: u16,
    shared: Arc<Shared>,
}

/// A request as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Counts connections; requests of one connection have the same number.
    pub connection: usize,
    /// Method and target.
    pub method: String,
    pub target: String,
    /// Names as sent.
    pub headers: Vec<(String, String)>,
    /// What the script has read of the body.
    pub body: Body,
}

/// What arrived of a body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    /// Its bytes, when the script kept them.
    pub bytes: Vec<u8>,
    pub length: u64,
    pub sha256: Vec<u8>,
    /// Whether it arrived to its end.
    pub is_complete: bool,
}

/// The server's turn: a request's head has arrived.
pub struct Turn<'c> {
    pub received: Received,
    stream: &'c mut TcpStream,
    input: &'c mut Input,
    shared: &'c Shared,
    number: usize,
    keep_open: bool,
}

struct Shared {
    script: Box<dyn Fn(&mut Turn<'_>) + Send + Sync>,
    requests: Mutex<BTreeMap<usize, Received>>,
    connections: Mutex<Connections>,
    captures: Mutex<BTreeMap<usize, Capture>>,
    is_stopped: AtomicBool,
}

/// What arrived on a connection, to the first MiB.
type Capture = Arc<Mutex<Vec<u8>>>;

/// What has arrived and is not used yet, and a copy of all that ever arrived.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    capture: Capture,
}

#[derive(Default)]
struct Connections {
    opened: usize,
    open: usize,
}

/// An answer in JSON.
#[must_use]
pub fn json_answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

impl Upstream {
    /// A server that reads every request to its end and answers `{}`.
    #[must_use]
    pub fn obliging() -> Self {
        Self::start(|turn| turn.oblige())
    }

    /// A server that does what the script says with each request. Only requests that carry a credential are the
    /// script's: those of the gateway that looks whether the engine is there are answered here.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn start(script: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> Self {
        Self::start_on(0, script)
    }

    /// The same on a port, where one may have been that was stopped.
    ///
    /// # Panics
    /// When it cannot listen there.
    #[must_use]
    pub fn start_on(port: u16, script: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> Self {
        let limit = Duration::from_secs(20);
        let listener = until("the port to be free", limit, || TcpListener::bind(("127.0.0.1", port)).ok());
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            connections: Mutex::default(),
            captures: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        });
        let accepted = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if accepted.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepted);
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { port, shared }
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What the gateway must write into `Host`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Stops listening and ends the connections at their next request.
    pub fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the listener, so that it sees it.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }

    /// All requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        lock(&self.shared.requests).values().cloned().collect()
    }

    /// The requests for this target.
    #[must_use]
    pub fn requests_for(&self, target: &str) -> Vec<Received> {
        self.requests().into_iter().filter(|request| request.target == target).collect()
    }

    /// The one request for this target.
    ///
    /// # Panics
    /// When there is none or more than one.
    #[must_use]
    pub fn the_request_for(&self, target: &str) -> Received {
        let mut requests = self.requests_for(target);
        assert_eq!(requests.len(), 1, "requests for `{target}`: {requests:?}");
        requests.remove(0)
    }

    /// Every byte that arrived on the connections that were used for a request of a client, to the first MiB of each:
    /// what was sent, whatever this server has made of it. By the number of the connection.
    #[must_use]
    pub fn captured(&self) -> BTreeMap<usize, Vec<u8>> {
        let captures = lock(&self.shared.captures);
        captures.iter().map(|(number, capture)| (*number, lock(capture).clone())).collect()
    }

    /// Connections that were used for a request of a client and are open now.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        lock(&self.shared.connections).open
    }

    /// Waits until so many connections are open.
    pub fn wait_for_open_connections(&self, count: usize) {
        let limit = Duration::from_secs(10);
        until(&format!("{count} open connections"), limit, || (self.open_connections() == count).then_some(()));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let number = {
            let mut connections = lock(&self.connections);
            connections.opened += 1;
            connections.opened
        };
        let mut input = Input::default();
        let mut is_counted = false;
        while let Some(received) = read_head(&mut stream, &mut input, number) {
            if self.is_stopped.load(Ordering::SeqCst) {
                break;
            }
            let has_identity = |(name, _): &(String, String)| {
                name.eq_ignore_ascii_case("authorization") || name.eq_ignore_ascii_case("x-proxy-user")
            };
            if !received.headers.iter().any(has_identity) {
                // Nobody is the administrator by not saying who it is.
                let status = if received.target.starts_with("/_plugins/_security/api/") { 401 } else { 200 };
                if stream.write_all(&json_answer(status, "{}")).is_err() {
                    break;
                }
                continue;
            }
            if !is_counted {
                is_counted = true;
                lock(&self.connections).open += 1;
                lock(&self.captures).insert(number, Arc::clone(&input.capture));
            }
            let request = {
                let mut requests = lock(&self.requests);
                let number = requests.len();
                requests.insert(number, received.clone());
                number
            };
            let mut turn = Turn {
                received,
                stream: &mut stream,
                input: &mut input,
                shared: self,
                number: request,
                keep_open: true,
            };
            (self.script)(&mut turn);
            if !turn.keep_open {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
        if is_counted {
            lock(&self.connections).open -= 1;
        }
    }
}

impl Turn<'_> {
    /// Reads the request to its end and answers `{}`.
    pub fn oblige(&mut self) {
        self.read_body();
        let body = if self.received.method == "HEAD" { "" } else { "{}" };
        self.write(
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{body}").as_bytes(),
        );
    }

    /// Reads the body and keeps it.
    pub fn read_body(&mut self) -> Body {
        self.read(true)
    }

    /// Reads the body and keeps its length and its SHA-256.
    pub fn discard_body(&mut self) -> Body {
        self.read(false)
    }

    /// Takes so many bytes of the request as they arrive; whether they all did.
    pub fn take(&mut self, length: usize) -> bool {
        take(self.stream, self.input, length, |_| {})
    }

    /// Sends bytes; a gateway that has gone away is no concern of the server.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.keep_open = false;
        }
    }

    /// Whether the gateway still takes what is written.
    #[must_use]
    pub const fn keeps_open(&self) -> bool {
        self.keep_open
    }

    /// Ends the connection after this turn.
    pub fn close(&mut self) {
        self.keep_open = false;
    }

    /// Reads until the gateway closes, for at most ten seconds; whether it did.
    pub fn wait_for_end(&mut self) -> bool {
        self.keep_open = false;
        let _ = self.stream.set_read_timeout(Some(Duration::from_secs(10)));
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.input.capture(&buffer[..count]),
                Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            }
        }
    }

    /// Everything until the gateway says that nothing more comes; this side may go on.
    ///
    /// # Panics
    /// When the connection breaks instead.
    pub fn rest(&mut self) -> Vec<u8> {
        while receive(self.stream, self.input).is_some() {}
        std::mem::take(&mut self.input.bytes)
    }

    /// Sends back whatever comes, until the gateway closes.
    pub fn echo(&mut self) {
        loop {
            let bytes = std::mem::take(&mut self.input.bytes);
            self.write(&bytes);
            if !self.keep_open || receive(self.stream, self.input).is_none() {
                return self.close();
            }
        }
    }

    fn read(&mut self, keep: bool) -> Body {
        let mut body = Body::default();
        let mut hash = Sha256::new();
        let mut add = |body: &mut Body, bytes: &[u8]| {
            body.length += bytes.len() as u64;
            hash.update(bytes);
            if keep {
                body.bytes.extend_from_slice(bytes);
            }
        };
        let header = |name: &str| {
            let field = self.received.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            field.map(|(_, value)| value.clone())
        };
        body.is_complete = if header("transfer-encoding").is_some() {
            loop {
                let Some(line) = take_line(self.stream, self.input) else { break false };
                let size = usize::from_str_radix(&line, 16).expect("a chunk's size");
                if !take(self.stream, self.input, size, |bytes| add(&mut body, bytes)) {
                    break false;
                }
                let Some(end) = take_line(self.stream, self.input) else { break false };
                assert!(end.is_empty(), "a chunk ends with `{end}`");
                if size == 0 {
                    break true;
                }
            }
        } else {
            let length = header("content-length").map_or(0, |length| length.parse().expect("a length"));
            take(self.stream, self.input, length, |bytes| add(&mut body, bytes))
        };
        body.sha256 = hash.finalize().to_vec();
        self.keep_open &= body.is_complete;
        self.received.body = body.clone();
        lock(&self.shared.requests).insert(self.number, self.received.clone());
        body
    }
}

impl Input {
    fn capture(&self, bytes: &[u8]) {
        let mut capture = lock(&self.capture);
        let room = CAPTURED.saturating_sub(capture.len()).min(bytes.len());
        capture.extend_from_slice(&bytes[..room]);
    }
}

impl Received {
    /// The values of a field, by its name in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The names of all fields, in lower case.
    #[must_use]
    pub fn header_names(&self) -> Vec<String> {
        self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect()
    }
}

fn read_head(stream: &mut TcpStream, input: &mut Input, connection: usize) -> Option<Received> {
    let request_line = take_line(stream, input)?;
    let mut parts = request_line.split(' ');
    let (method, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    assert_eq!(parts.collect::<Vec<_>>(), ["HTTP/1.1"], "the gateway sent the request line `{request_line}`");
    let mut headers = Vec::new();
    loop {
        let line = take_line(stream, input)?;
        if line.is_empty() {
            return Some(Received { connection, method, target, headers, body: Body::default() });
        }
        let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("the gateway sent the field `{line}`"));
        headers.push((name.to_owned(), value.to_owned()));
    }
}

fn take_line(stream: &mut TcpStream, input: &mut Input) -> Option<String> {
    loop {
        if let Some(end) = input.bytes.windows(2).position(|window| window == b"\r\n") {
            let line = String::from_utf8_lossy(&input.bytes[..end]).into_owned();
            input.bytes.drain(..end + 2);
            return Some(line);
        }
        receive(stream, input)?;
    }
}

/// Takes so many bytes piece by piece; whether they all arrived.
fn take(stream: &mut TcpStream, input: &mut Input, mut left: usize, mut each: impl FnMut(&[u8])) -> bool {
    loop {
        let count = left.min(input.bytes.len());
        each(&input.bytes[..count]);
        input.bytes.drain(..count);
        left -= count;
        if left == 0 {
            return true;
        }
        if receive(stream, input).is_none() {
            return false;
        }
    }
}

fn receive(stream: &mut TcpStream, input: &mut Input) -> Option<()> {
    let mut buffer = [0; 64 * 1024];
    match stream.read(&mut buffer) {
        Ok(0) | Err(_) => None,
        Ok(count) => {
            input.bytes.extend_from_slice(&buffer[..count]);
            input.capture(&buffer[..count]);
            Some(())
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
