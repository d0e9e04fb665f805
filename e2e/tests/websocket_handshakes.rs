//! Requests for WebSockets and answers to them that somebody could read in two ways, byte by byte: nothing of what comes with
//! them is ever a second request behind the gateway, and nothing behind it changes the protocol unasked.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use e2e::{Client, Connection, Gateway, Settings, Turn, Upstream, until};
use serde_json::json;
use tungstenite::handshake::derive_accept_key;

const EVENTS: &str = "/api/events";
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const WITH_KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What must never be seen behind the gateway.
const SMUGGLED: &str = "GET /api/smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n\r\n";

struct Stage {
    dashboards: Upstream,
    _engine: Upstream,
    gateway: Gateway,
    viewer: Client,
}

impl Stage {
    fn new(script: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> Self {
        let (dashboards, engine) = (Upstream::start(script), Upstream::obliging());
        let gateway = Gateway::start(
            Settings::new()
                .client("viewer", &["read:dashboards", "read:logs-*"])
                .client("reader", &["read:logs-*"])
                .upstream(&engine.url())
                .dashboards(json!({
                    "url": dashboards.url(), "hosts": ["d.example.com"],
                    "websockets": [{"path": EVENTS, "verb": "read"}],
                })),
        );
        let viewer = gateway.with("viewer");
        Self { dashboards, _engine: engine, gateway, viewer }
    }

    /// A request with a valid token; `fields` are whole lines with their ends.
    fn request(&self, line: &str, fields: &str) -> String {
        let token = self.viewer.authorization().expect("a token");
        format!("{line}\r\nHost: d.example.com\r\nAuthorization: {token}\r\n{fields}\r\n")
    }

    fn right(&self) -> String {
        self.request(&format!("GET {EVENTS} HTTP/1.1"), &format!("{UPGRADE}{VERSION}{WITH_KEY}"))
    }

    /// A connection on which a WebSocket is open.
    fn open(&self) -> Connection {
        let mut connection = self.viewer.connect();
        connection.write(self.right().as_bytes());
        assert_eq!(connection.head().expect("an answer").0, 101);
        connection
    }

    /// All that has reached Dashboards, as text.
    fn reached(&self) -> String {
        self.dashboards.captured().values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

fn opening() -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(KEY.as_bytes())
    )
}

/// Opens what asks for a WebSocket, sends back what it gets, and answers `{}` to all else.
fn echo(turn: &mut Turn<'_>) {
    if turn.received.header("upgrade").is_empty() {
        return turn.oblige();
    }
    turn.write(opening().as_bytes());
    turn.echo();
}

#[test]
fn a_request_that_two_could_read_differently_opens_nothing() {
    let stage = Stage::new(echo);
    let get = format!("GET {EVENTS} HTTP/1.1");
    let rest = format!("{VERSION}{WITH_KEY}");
    let all = format!("{UPGRADE}{rest}");
    let cases: Vec<(String, String, u16)> = [
        // A body, or what announces one.
        (get.as_str(), format!("{all}Content-Length: {}\r\n", SMUGGLED.len()), 400),
        (&get, format!("{all}Content-Length: 0\r\n"), 400),
        (&get, format!("{all}Transfer-Encoding: chunked\r\n"), 400),
        (&get, format!("{all}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400),
        // Other protocols, beside this one.
        (&get, format!("Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade\r\nUpgrade: websocket/13\r\n{rest}"), 400),
        (
            &get,
            format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: websocket\r\nHTTP2-Settings: AAMAAABk\r\n{rest}"),
            400,
        ),
        (&get, format!("{all}HTTP2-Settings: AAMAAABk\r\n"), 400),
        // `Connection` that says less or more.
        (&get, format!("Upgrade: websocket\r\n{rest}"), 400),
        (&get, format!("Connection: keep-alive\r\nUpgrade: websocket\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade, close\r\nUpgrade: websocket\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade, Sec-WebSocket-Key\r\nUpgrade: websocket\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade\r\nConnection: authorization\r\nUpgrade: websocket\r\n{rest}"), 400),
        (&get, format!("Connection: Upgrade,\r\nUpgrade: websocket\r\n{rest}"), 400),
        // Keys and versions.
        (&get, format!("{UPGRADE}{VERSION}"), 400),
        (&get, format!("{all}{WITH_KEY}"), 400),
        (&get, format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: AAAA\r\n"), 400),
        (&get, format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n"), 400),
        (&get, format!("{UPGRADE}{VERSION}Sec_WebSocket_Key: {KEY}\r\n"), 400),
        (&get, format!("{UPGRADE}{WITH_KEY}"), 426),
        (&get, format!("{UPGRADE}{WITH_KEY}Sec-WebSocket-Version: 8\r\n"), 426),
        (&get, format!("{UPGRADE}{WITH_KEY}Sec-WebSocket-Version: 13, 8\r\n"), 426),
        (&get, format!("{all}{VERSION}"), 426),
        // Other methods, and paths that are not listed.
        (&format!("POST {EVENTS} HTTP/1.1"), all.clone(), 400),
        (&format!("PUT {EVENTS} HTTP/1.1"), format!("{all}Content-Length: 0\r\n"), 400),
        (&format!("HEAD {EVENTS} HTTP/1.1"), all.clone(), 400),
        (&format!("DELETE {EVENTS} HTTP/1.1"), all.clone(), 400),
        ("GET /api/status HTTP/1.1", all.clone(), 403),
        ("GET /api/smuggled HTTP/1.1", all.clone(), 403),
        ("POST /api/console/proxy?path=logs-a/_search&method=GET HTTP/1.1", all.clone(), 403),
    ]
    .into_iter()
    .map(|(line, fields, status)| (line.to_owned(), fields, status))
    .collect();
    let mut wrong = Vec::new();
    for (line, fields, expected) in cases {
        for after in ["", SMUGGLED, "\x01\x7e\x00\x05hello"] {
            let mut connection = stage.viewer.connect();
            let bytes = stage.request(&line, &fields) + after;
            connection.write(bytes.as_bytes());
            let method = line.split(' ').next().expect("a method");
            let answer = connection.answer_to(method).expect("an answer");
            // What is sent ahead is looked at before the version.
            let expected = if expected == 426 && !after.is_empty() { 400 } else { expected };
            let says_close = answer.header("connection").is_some_and(|options| options.ends_with("close"));
            if answer.status != expected || !says_close || !connection.is_closed_next() {
                wrong.push(format!("{line:?} {fields:?} {after:?}: {} {:?}", answer.status, answer.headers));
            }
            if answer.status == 426 {
                assert_eq!(
                    (answer.header("upgrade"), answer.header("sec-websocket-version")),
                    (Some("websocket"), Some("13"))
                );
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(stage.reached(), "", "something has reached Dashboards");
    // Nothing is wrong with the one that says what it has to.
    let mut connection = stage.open();
    connection.write(SMUGGLED.as_bytes());
    assert_eq!(connection.take(SMUGGLED.len()).expect("an echo"), SMUGGLED.as_bytes());
    assert_eq!(stage.dashboards.requests().len(), 1);
}

#[test]
fn what_is_sent_before_the_answer_goes_nowhere() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let stage = Stage::new(move |turn| {
        released.lock().expect("the lock").recv().expect("a word");
        turn.write(opening().as_bytes());
        turn.wait_for_end();
    });
    for ahead in [SMUGGLED, "\u{1}", "\r\n"] {
        // With the head.
        let mut connection = stage.viewer.connect();
        connection.write((stage.right() + ahead).as_bytes());
        assert_eq!(connection.answer().status, 400);
        assert!(connection.is_closed_next());
    }
    assert_eq!(stage.reached(), "");
    for (number, ahead) in [SMUGGLED, "\u{1}", "\r\n"].into_iter().enumerate() {
        // After it, while Dashboards thinks about it.
        let mut connection = stage.viewer.connect();
        connection.write(stage.right().as_bytes());
        until("the request", Duration::from_secs(10), || {
            (stage.dashboards.requests().len() == number + 1).then_some(())
        });
        connection.write(ahead.as_bytes());
        release.send(()).expect("the server listens");
        let answer = connection.answer();
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("before the answer that opens it"), "{}", answer.text());
        assert!(connection.is_closed_next());
        stage.dashboards.wait_for_open_connections(0);
    }
    for bytes in stage.dashboards.captured().values() {
        assert!(bytes.ends_with(b"\r\n\r\n") && bytes.windows(4).filter(|four| four == b"\r\n\r\n").count() == 1);
    }
    assert!(!stage.reached().contains("smuggled"));
}

#[test]
fn an_answer_that_is_not_the_one_asked_for_is_none() {
    let (say, said) = channel::<String>();
    let said = Mutex::new(said);
    let stage = Stage::new(move |turn| {
        let answer = said.lock().expect("the lock").recv().expect("an answer");
        turn.write(answer.as_bytes());
        turn.wait_for_end();
    });
    let right = opening();
    let stray = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsmuggled!";
    let change = |from: &str, to: &str| {
        assert!(right.contains(from), "{from}");
        right.replacen(from, to, 1)
    };
    let accept = format!("Sec-WebSocket-Accept: {}\r\n", derive_accept_key(KEY.as_bytes()));
    for answer in [
        change(&accept, ""),
        change(&accept, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"),
        change(&accept, &format!("{accept}{accept}")),
        change("Upgrade: websocket\r\n", ""),
        change("Upgrade: websocket", "Upgrade: h2c"),
        change("Upgrade: websocket", "Upgrade: websocket, h2c"),
        change("Connection: Upgrade\r\n", ""),
        change("Connection: Upgrade", "Connection: close"),
        change("Connection: Upgrade", "Connection: Upgrade, Sec-WebSocket-Accept"),
        change("Connection", "Content-Length: 9\r\nConnection"),
        change("Connection", "Transfer-Encoding: chunked\r\nConnection"),
        change("Connection", "Sec-WebSocket-Protocol: never-offered\r\nConnection"),
        change("Connection", "Sec-WebSocket-Extensions: permessage-deflate\r\nConnection"),
        change("\r\n", "\n"),
        change("HTTP/1.1", "HTTP/2"),
        change("HTTP/1.1", "HTTP/1.0"),
        change("Connection", "Connection : a\r\nConnection"),
    ] {
        say.send(format!("{answer}{stray}")).expect("the server listens");
        let mut connection = stage.viewer.connect();
        connection.write((stage.right()).as_bytes());
        let refused = connection.answer();
        assert_eq!(refused.status, 502, "{answer:?}: {}", refused.text());
        assert!(refused.text().contains("no usable answer"), "{}", refused.text());
        assert!(connection.is_closed_next(), "{answer:?}");
        stage.dashboards.wait_for_open_connections(0);
        assert_eq!(stage.gateway.audit_of(refused.request_id())["status"], 502);
    }
}

#[test]
fn an_answer_that_opens_nothing_is_passed_on_and_ends_the_connection() {
    let stage = Stage::new(|turn| {
        turn.write(b"HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\nsec-websocket-version: 13\r\nset-cookie: a=b\r\ncontent-length: 10\r\n\r\nnot today!");
        turn.wait_for_end();
    });
    let mut connection = stage.viewer.connect();
    connection.write(stage.right().as_bytes());
    let answer = connection.answer();
    assert_eq!(
        (answer.status, answer.text().as_str(), answer.header("connection")),
        (403, "not today!", Some("close"))
    );
    assert_eq!((answer.header("sec-websocket-version"), answer.header("set-cookie")), (Some("13"), None));
    connection.try_write(SMUGGLED.as_bytes()).expect("it is read over");
    assert!(connection.is_closed_next());
    // Dashboards may think it open: nothing else is sent there.
    stage.dashboards.wait_for_open_connections(0);
    assert!(!stage.reached().contains("smuggled"), "{}", stage.reached());
    assert_eq!(stage.gateway.audit_of(answer.request_id())["status"], 403);
}

#[test]
fn nothing_changes_the_protocol_unasked() {
    let stage = Stage::new(|turn| {
        turn.read_body();
        turn.write(opening().as_bytes());
        turn.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        turn.wait_for_end();
    });
    for fields in ["", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"] {
        let mut connection = stage.viewer.connect();
        connection.write(stage.request("GET /api/status HTTP/1.1", fields).as_bytes());
        assert_eq!(connection.answer().status, 502);
        stage.dashboards.wait_for_open_connections(0);
    }
}

#[test]
fn what_else_could_be_asked_for_is_ignored() {
    let stage = Stage::new(echo);
    let status = "GET /api/status HTTP/1.1";
    for (line, fields, expected) in [
        // As the Java client's first request without TLS.
        (status, "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", 200),
        (status, "Connection: Upgrade\r\nUpgrade: TLS/1.3, HTTP/2.0\r\n", 200),
        (status, "Connection: Upgrade\r\nUpgrade: websockets\r\n", 200),
        // A path for WebSockets is for nothing else.
        ("GET /api/events HTTP/1.1", "", 403),
        ("GET /api/events HTTP/1.1", "Connection: Upgrade\r\nUpgrade: h2c\r\n", 403),
        (
            "GET /api/events HTTP/1.1",
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
            403,
        ),
    ] {
        let mut connection = stage.viewer.connect();
        for _ in 0..2 {
            connection.write(stage.request(line, fields).as_bytes());
            assert_eq!(connection.answer().status, expected, "{line} {fields:?}");
        }
    }
    // In HTTP/1.0 nothing can be asked for.
    let mut connection = stage.viewer.connect();
    let all = format!("{UPGRADE}{VERSION}{WITH_KEY}");
    connection.write(stage.request("GET /api/status HTTP/1.0", &all).as_bytes());
    assert_eq!(connection.answer().status, 200);
    for request in stage.dashboards.requests() {
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(request.header(name).is_empty(), "{:?}", request.headers);
        }
    }
    for line in ["CONNECT d.example.com:443 HTTP/1.1", "CONNECT /api/events HTTP/1.1"] {
        let mut connection = stage.viewer.connect();
        connection.write((stage.request(line, "") + SMUGGLED).as_bytes());
        assert!(matches!(connection.answer().status, 400 | 405), "{line}");
        assert!(connection.is_closed_next(), "{line}");
    }
    assert!(!stage.reached().contains("smuggled"));
}

/// One side says that it sends nothing more; the other goes on until it has said so, too.
#[test]
fn half_of_it_may_end_first() {
    let (ended, has_ended): (Sender<Vec<u8>>, Receiver<Vec<u8>>) = channel();
    let ended = Mutex::new(ended);
    let stage = Stage::new(move |turn| {
        turn.write((opening() + "first").as_bytes());
        let got = turn.rest();
        ended.lock().expect("the lock").send(got).expect("somebody waits");
        turn.write(b"last words");
        turn.close();
    });
    let mut connection = stage.open();
    // What came with the answer is not lost.
    assert_eq!(connection.take(5).expect("bytes"), b"first");
    connection.write(b"all of it");
    connection.end_writing();
    assert_eq!(has_ended.recv_timeout(Duration::from_secs(10)).expect("the end"), b"all of it");
    assert_eq!(connection.rest().expect("the end"), b"last words");
    let closed = stage.gateway.audit_where("the end", |event| event["event"] == "websocket.closed");
    assert_eq!((&closed["bytes_in"], &closed["bytes_out"], &closed["error"]), (&json!(9), &json!(15), &json!(null)));
}
