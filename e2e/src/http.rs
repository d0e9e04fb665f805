//! Requests as clients send them. A target goes out byte for byte as the test wrote it: no library here
//! makes a path prettier than it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;
use serde_json::Value;

use crate::answer::Answer;
use crate::authority::Identity;
use crate::connection::Connection;
use crate::tls;

/// Somebody who sends requests to one address, one connection for each thread.
#[derive(Clone)]
pub struct Client {
    address: SocketAddr,
    /// The address it comes from; any, when it is unspecified.
    from: IpAddr,
    /// Whom it trusts.
    ca: PathBuf,
    tls: Arc<ClientConfig>,
    authorization: Option<String>,
}

/// A request in the making.
#[must_use]
pub struct Request<'c> {
    client: &'c Client,
    method: String,
    target: String,
    /// When it is another than the one that is connected to.
    host: Option<String>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

/// Both ends of a connection, and where the settings of TLS are in memory.
type Ends = (IpAddr, SocketAddr, usize);

/// A connection, and the settings, so that no others take their place in memory.
type Kept = (Connection, Arc<ClientConfig>);

thread_local! {
    static KEPT: RefCell<HashMap<Ends, Kept>> = RefCell::default();
}

impl Client {
    /// A client of `localhost:port` that trusts `ca`.
    #[must_use]
    pub fn new(port: u16, ca: &Path) -> Self {
        Self {
            address: ([127, 0, 0, 1], port).into(),
            from: Ipv4Addr::UNSPECIFIED.into(),
            ca: ca.to_owned(),
            tls: tls::client_config(ca),
            authorization: None,
        }
    }

    /// The same, showing this token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        Self { authorization: Some(format!("Bearer {token}")), ..self.clone() }
    }

    /// The same, showing user and password, or client and secret.
    #[must_use]
    pub fn with_basic(&self, user: &str, password: &str) -> Self {
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        Self { authorization: Some(format!("Basic {encoded}")), ..self.clone() }
    }

    /// The same, showing this certificate. It resumes its own sessions, and those of clones made of it.
    #[must_use]
    pub fn with_certificate(&self, identity: &Identity) -> Self {
        let tls = tls::client_config_with(&self.ca, Some(identity), rustls::DEFAULT_VERSIONS);
        Self { tls, ..self.clone() }
    }

    /// The same by TLS 1.2.
    #[must_use]
    pub fn with_certificate_by_tls12(&self, identity: &Identity) -> Self {
        let tls = tls::client_config_with(&self.ca, Some(identity), &[&rustls::version::TLS12]);
        Self { tls, ..self.clone() }
    }

    /// The same without a credential in its requests.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { authorization: None, ..self.clone() }
    }

    /// The same from another of this machine's addresses.
    #[must_use]
    pub fn from_address(&self, from: IpAddr) -> Self {
        Self { from, ..self.clone() }
    }

    /// A new connection.
    #[must_use]
    pub fn connect(&self) -> Connection {
        Connection::open(self.from, self.address, &[], Arc::clone(&self.tls))
    }

    /// A new connection, if there is one to be had.
    ///
    /// # Errors
    /// When the gateway ends it within the handshake.
    pub fn try_connect(&self) -> io::Result<Connection> {
        Connection::try_open(self.from, self.address, &[], Arc::clone(&self.tls))
    }

    /// A new connection on which these bytes are sent before TLS.
    #[must_use]
    pub fn connect_after(&self, bytes: &[u8]) -> Connection {
        Connection::open(self.from, self.address, bytes, Arc::clone(&self.tls))
    }

    /// A new connection with other settings of TLS.
    #[must_use]
    pub(crate) fn connect_with(&self, tls: Arc<ClientConfig>) -> Connection {
        Connection::open(self.from, self.address, &[], tls)
    }

    /// The client's settings of TLS, offering these protocols.
    pub(crate) fn tls_for(&self, protocols: &[&[u8]]) -> Arc<ClientConfig> {
        let mut tls = ClientConfig::clone(&self.tls);
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(tls)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A new connection on which HTTP/2 is to be spoken, and nothing was said yet.
    #[must_use]
    pub fn connect_http2(&self) -> Connection {
        self.connect_with(self.tls_for(&[b"h2"]))
    }

    /// A new connection that offers these protocols in TLS; which one was chosen.
    #[must_use]
    pub fn chosen_protocol(&self, offered: &[&[u8]]) -> Option<Vec<u8>> {
        self.connect_with(self.tls_for(offered)).protocol()
    }

    /// The value of the `Authorization` field this client sends, if any.
    #[must_use]
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    pub fn request(&self, method: &str, target: &str) -> Request<'_> {
        let mut headers = Vec::new();
        if let Some(authorization) = &self.authorization {
            headers.push(("Authorization".to_owned(), authorization.clone()));
        }
        Request { client: self, method: method.to_owned(), target: target.to_owned(), host: None, headers, body: None }
    }

    pub fn get(&self, target: &str) -> Request<'_> {
        self.request("GET", target)
    }

    pub fn post(&self, target: &str) -> Request<'_> {
        self.request("POST", target)
    }

    pub fn put(&self, target: &str) -> Request<'_> {
        self.request("PUT", target)
    }

    pub fn delete(&self, target: &str) -> Request<'_> {
        self.request("DELETE", target)
    }
}

impl Request<'_> {
    /// Another host than the one that is connected to.
    pub fn host(mut self, host: &str) -> Self {
        self.host = Some(host.to_owned());
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Lines of JSON, each with its line feed.
    pub fn lines(self, lines: &[Value]) -> Self {
        let mut body = String::new();
        for line in lines {
            let _ = writeln!(body, "{line}");
        }
        self.body("application/x-ndjson", body)
    }

    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", percent_encode(value))).collect();
        self.body("application/x-www-form-urlencoded", pairs.join("&"))
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.push(("Content-Type".to_owned(), content_type.to_owned()));
        self.body = Some(body.into());
        self
    }

    /// The bytes of the request.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let host = self.host.clone().unwrap_or_else(|| format!("localhost:{}", self.client.address.port()));
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends it on this thread's connection and reads the answer.
    ///
    /// # Panics
    /// When there is no whole answer.
    #[must_use = "look at the answer, or call `expect`"]
    pub fn send(self) -> Answer {
        let bytes = self.bytes();
        let tls = &self.client.tls;
        let ends = (self.client.from, self.client.address, Arc::as_ptr(tls).addr());
        let kept = KEPT.with_borrow_mut(|kept| kept.remove(&ends)).map(|(connection, _)| connection);
        let kept = kept.filter(Connection::is_open);
        let mut connection = kept.unwrap_or_else(|| self.client.connect());
        connection.write(&bytes);
        let answer = connection
            .answer_to(&self.method)
            .unwrap_or_else(|error| panic!("no answer to `{} {}`: {error}", self.method, self.target));
        if answer.header("connection") != Some("close") {
            KEPT.with_borrow_mut(|kept| kept.insert(ends, (connection, Arc::clone(tls))));
        }
        answer
    }

    /// As [`send`](Self::send), when the answer has this status.
    ///
    /// # Panics
    /// When it has another one.
    pub fn expect(self, status: u16) -> Answer {
        let what = format!("{} {}", self.method, self.target);
        let answer = self.send();
        assert_eq!(answer.status, status, "`{what}`: {}", answer.text());
        answer
    }
}

/// Everything but letters and digits escaped.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
