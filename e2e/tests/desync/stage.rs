//! A gateway before a server that keeps every byte, and what both saw of the bytes of a client.

use std::collections::BTreeMap;

use e2e::{Client, Gateway, Settings, Upstream};

/// What follows the bytes of every case.
const AFTER: &str = "GET /logs-after/_search HTTP/1.1";

pub struct Stage {
    pub upstream: Upstream,
    pub gateway: Gateway,
    pub client: Client,
    /// What the engine is told of the client.
    identity: String,
    /// Bytes that have rightly reached the engine.
    reached: usize,
    wrong: Vec<String>,
}

impl Stage {
    pub fn new() -> Self {
        let upstream = Upstream::obliging();
        let settings = Settings::new().client("both", &["read:logs-*", "write:app-logs-*"]).upstream(&upstream.url());
        let gateway = Gateway::start(settings);
        let client = gateway.with("both");
        let mut stage = Self { upstream, gateway, client, identity: String::new(), reached: 0, wrong: Vec::new() };
        // The gateway makes an identity once for a token: it is known from here on.
        stage.client.get("/logs-first/_search").expect(200);
        stage.identity = stage.upstream.the_request_for("/logs-first/_search").header("authorization")[0].to_owned();
        stage.reached = stage.upstream.captured().values().map(Vec::len).sum();
        stage
    }

    /// A request with a valid token; `fields` are whole lines with their ends.
    pub fn request(&self, line: &str, fields: &str, body: &str) -> Vec<u8> {
        self.request_to("localhost", line, fields, body)
    }

    pub fn request_to(&self, host: &str, line: &str, fields: &str, body: &str) -> Vec<u8> {
        let token = self.client.authorization().expect("a token");
        format!("{line}\r\nHost: {host}\r\nX-Opaque-Id: d\r\nAuthorization: {token}\r\n{fields}\r\n{body}").into_bytes()
    }

    /// What the engine has to get of a request: `kept` are the client's fields that pass, `framing` the gateway's own.
    pub fn forwarded(&self, line: &str, kept: &str, framing: &str, body: &str) -> Vec<u8> {
        let (host, identity) = (self.upstream.authority(), &self.identity);
        format!("{line}\r\nhost: {host}\r\n{kept}x-opaque-id: d\r\n{framing}authorization: {identity}\r\n\r\n{body}")
            .into_bytes()
    }

    /// Sends these bytes and a whole request after them. The bytes get these statuses, and the engine gets `forwarded`
    /// of them. When the last status ends the connection, the request after them is not read.
    pub fn check(&mut self, what: &str, bytes: &[u8], statuses: &[u16], ends: bool, forwarded: &[u8]) {
        let before = self.upstream.captured();
        let mut connection = self.client.connect();
        connection.write(&[bytes, &self.request(AFTER, "", "")].concat());
        let mut seen = Vec::new();
        let (mut expected, mut to_reach) = (statuses.to_vec(), forwarded.to_vec());
        if !ends {
            expected.push(200);
            to_reach.extend(self.forwarded(AFTER, "", "", ""));
        }
        let mut says_close = false;
        while seen.len() < expected.len()
            && let Ok(answer) = connection.answer_to("GET")
        {
            says_close = answer.header("connection") == Some("close");
            seen.push(answer.status);
            if says_close {
                break;
            }
        }
        let is_as_expected = seen == expected && says_close == ends && (!ends || connection.is_closed_next());
        if !is_as_expected {
            self.wrong.push(format!("{what:?}: answered {seen:?}, ended: {says_close}; expected {expected:?}, {ends}"));
        }
        let reached = since(&before, &self.upstream.captured());
        self.reached += reached.len();
        if reached != to_reach {
            let [reached, to_reach] = [reached, to_reach].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            self.wrong.push(format!("{what:?}: the engine got {reached:?}, not {to_reach:?}"));
        }
    }

    /// The same for bytes of which nothing reaches the engine.
    pub fn refused(&mut self, what: &str, bytes: &[u8], status: u16, ends: bool) {
        self.check(what, bytes, &[status], ends, b"");
    }

    /// Nothing has gone wrong, and nothing more has reached the engine when every connection is over.
    pub fn finish(self) {
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
        drop(self.gateway);
        self.upstream.wait_for_open_connections(0);
        let reached: usize = self.upstream.captured().values().map(Vec::len).sum();
        assert_eq!(reached, self.reached, "bytes reached the engine afterwards");
    }
}

/// What arrived between two looks.
pub fn since(before: &BTreeMap<usize, Vec<u8>>, now: &BTreeMap<usize, Vec<u8>>) -> Vec<u8> {
    let new = |(number, bytes): (&usize, &Vec<u8>)| bytes[before.get(number).map_or(0, Vec::len)..].to_vec();
    now.iter().flat_map(new).collect()
}
