//! A connection of a client, byte by byte.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, StreamOwned};
use socket2::{Domain, Socket, Type};

use crate::answer::Answer;

/// How long an answer may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// TLS over TCP, as most tests speak to the gateway.
pub type Connection = Http<StreamOwned<ClientConnection, TcpStream>>;

/// Plain TCP, for the listener of metrics.
pub type PlainConnection = Http<TcpStream>;

/// HTTP/1.1 on a byte stream. Nothing is sent that the test did not write.
pub struct Http<S> {
    stream: S,
    /// Read, but not used yet.
    input: Vec<u8>,
}

impl Connection {
    /// Opens a connection; `before` is sent before TLS.
    pub(crate) fn open(from: IpAddr, address: SocketAddr, before: &[u8], tls: Arc<ClientConfig>) -> Self {
        Self::try_open(from, address, before, tls).unwrap_or_else(|error| panic!("no TLS with {address}: {error}"))
    }

    /// As [`open`](Self::open), unless TLS does not come about.
    pub(crate) fn try_open(
        from: IpAddr,
        address: SocketAddr,
        before: &[u8],
        tls: Arc<ClientConfig>,
    ) -> io::Result<Self> {
        let mut socket = connect_from(from, address);
        socket.write_all(before)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let session = ClientConnection::new(tls, name).expect("a TLS session");
        let mut stream = StreamOwned::new(session, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream, input: Vec::new() })
    }

    /// Whether it goes on with the session of an earlier connection.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether the other side has neither closed nor said anything unasked.
    #[must_use]
    pub fn is_open(&self) -> bool {
        is_quiet(&self.stream.sock) && self.input.is_empty()
    }

    /// The certificate the gateway has shown, or the one under which the session that goes on was begun.
    ///
    /// # Panics
    /// When it has shown none.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self.stream.conn.peer_certificates().expect("a certificate");
        chain.first().expect("a leaf").to_vec()
    }

    /// The protocol that was chosen in TLS.
    #[must_use]
    pub fn protocol(&self) -> Option<Vec<u8>> {
        self.stream.conn.alpn_protocol().map(<[u8]>::to_vec)
    }

    /// How long a read or a write may take.
    pub fn set_patience(&self, patience: Duration) {
        self.stream.sock.set_read_timeout(Some(patience)).expect("set a timeout");
        self.stream.sock.set_write_timeout(Some(patience)).expect("set a timeout");
    }

    /// The bare socket, which keeps the connection open and needs next to no memory here.
    #[must_use]
    pub fn into_socket(self) -> TcpStream {
        self.stream.sock
    }

    /// The stream, on which nothing was read ahead.
    ///
    /// # Panics
    /// When something was.
    #[must_use]
    pub fn into_stream(self) -> StreamOwned<ClientConnection, TcpStream> {
        assert!(self.input.is_empty(), "bytes were read that nobody has looked at");
        self.stream
    }

    /// Says that nothing more will be sent, as TLS does, and goes on reading.
    ///
    /// # Panics
    /// When it cannot be said.
    pub fn end_writing(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().expect("send to the gateway");
        let _ = self.stream.sock.shutdown(Shutdown::Write);
    }

    /// Ends the writing side of TCP, without a word of TLS.
    pub fn shut_down_writing(&self) {
        let _ = self.stream.sock.shutdown(Shutdown::Write);
    }

    /// The client's own port, which tells connections apart.
    ///
    /// # Panics
    /// When the socket is gone.
    #[must_use]
    pub fn local_port(&self) -> u16 {
        self.stream.sock.local_addr().expect("an address").port()
    }
}

impl PlainConnection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self { stream: connect_from(Ipv4Addr::UNSPECIFIED.into(), address), input: Vec::new() }
    }
}

/// A TCP connection from one of this machine's addresses.
///
/// # Panics
/// When nobody listens there.
#[must_use]
pub fn connect_from(from: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("one of this machine's addresses");
    socket.connect(&address.into()).unwrap_or_else(|error| panic!("nobody listens on {address}: {error}"));
    let socket = TcpStream::from(socket);
    socket.set_nodelay(true).expect("set an option");
    socket.set_read_timeout(Some(PATIENCE)).expect("set a timeout");
    socket.set_write_timeout(Some(PATIENCE)).expect("set a timeout");
    socket
}

fn is_quiet(socket: &TcpStream) -> bool {
    socket.set_nonblocking(true).expect("set an option");
    let peeked = socket.peek(&mut [0]);
    socket.set_nonblocking(false).expect("set an option");
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

impl<S: Read + Write> Http<S> {
    /// Sends these bytes.
    ///
    /// # Panics
    /// When they cannot be sent.
    pub fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("send to the gateway");
    }

    /// Sends these bytes, unless the other side has closed.
    ///
    /// # Errors
    /// When they cannot be sent.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// The next answer, to a request that was not HEAD.
    ///
    /// # Panics
    /// When there is none.
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET").unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    /// The next answer to a request with this method; interim answers are answers here, too.
    ///
    /// # Errors
    /// When the connection ends within the answer or before it, or the answer is not HTTP/1.1.
    pub fn answer_to(&mut self, method: &str) -> io::Result<Answer> {
        let (status, headers) = self.head()?;
        let header = |name: &str| {
            headers.iter().find(|(known, _): &&(String, String)| known == name).map(|(_, value)| value.clone())
        };
        let body = if method == "HEAD" || status < 200 || status == 204 || status == 304 {
            Vec::new()
        } else if let Some(coding) = header("transfer-encoding") {
            if coding != "chunked" {
                return Err(invalid("a transfer coding that is not `chunked`"));
            }
            self.chunks()?
        } else if let Some(length) = header("content-length") {
            let length = length.parse().map_err(|_| invalid("a length that is no number"))?;
            self.take(length)?
        } else {
            self.rest()?
        };
        Ok(Answer { status, headers, body })
    }

    /// Everything until the other side closes.
    ///
    /// # Errors
    /// When the connection breaks instead.
    pub fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.receive()? > 0 {}
        Ok(std::mem::take(&mut self.input))
    }

    /// Whether the other side closes now, with no more bytes before.
    pub fn is_closed_next(&mut self) -> bool {
        self.input.is_empty() && matches!(self.receive(), Ok(0))
    }

    /// Status and fields of an answer whose body is left to be read.
    ///
    /// # Errors
    /// When the connection ends before, or the answer is not HTTP/1.1.
    pub fn head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(end) = self.input.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if self.receive()? == 0 {
                return Err(io::Error::new(
                    ErrorKind::UnexpectedEof,
                    format!("closed after {:?}", String::from_utf8_lossy(&self.input)),
                ));
            }
        };
        let head = String::from_utf8_lossy(&self.input[..end]).into_owned();
        self.input.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status =
            status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid("no status line"))?;
        let headers = lines
            .map(|line| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| invalid("a line that is no header field"))?;
        Ok((status, headers))
    }

    /// So many bytes of a body.
    ///
    /// # Errors
    /// When the connection ends before.
    pub fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.input.len() < length {
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.input.drain(..length).collect())
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = usize::from_str_radix(&line, 16).map_err(|_| invalid("a chunk without a size"))?;
            if size == 0 {
                return if self.line()?.is_empty() { Ok(body) } else { Err(invalid("a trailer")) };
            }
            body.extend(self.take(size)?);
            if self.take(2)? != b"\r\n" {
                return Err(invalid("a chunk without an end"));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let end = loop {
            if let Some(end) = self.input.windows(2).position(|window| window == b"\r\n") {
                break end;
            }
            if self.receive()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let line = String::from_utf8_lossy(&self.input[..end]).into_owned();
        self.input.drain(..end + 2);
        Ok(line)
    }

    /// Reads once; 0 is the end, with or without a closing word of TLS.
    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the answer has {what}"))
}
