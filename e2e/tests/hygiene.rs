//! Requests that could be read in two ways, requests that come slowly, in heaps or in pieces: bytes over TLS on one side,
//! what reaches the engine's place on the other.

use std::time::{Duration, Instant};

use e2e::{Answer, Client, Connection, Gateway, Settings, Upstream};
use serde_json::json;

struct Stage {
    upstream: Upstream,
    gateway: Gateway,
    client: Client,
}

impl Stage {
    fn new() -> Self {
        Self::with(|settings| settings)
    }

    fn with(settings: impl FnOnce(Settings) -> Settings) -> Self {
        let upstream = Upstream::obliging();
        let base = Settings::new().client("both", &["read:logs-*", "write:app-logs-*"]).upstream(&upstream.url());
        let gateway = Gateway::start(settings(base));
        let client = gateway.with("both");
        Self { upstream, gateway, client }
    }

    /// A request with a valid token; `fields` are whole lines with their ends.
    fn request(&self, line: &str, fields: &str, body: &str) -> Vec<u8> {
        let authorization = self.client.authorization().expect("a token");
        format!("{line}\r\nHost: localhost\r\nAuthorization: {authorization}\r\n{fields}\r\n{body}").into_bytes()
    }

    /// Sends the bytes on a connection of their own.
    fn ask(&self, bytes: &[u8]) -> Answer {
        let mut connection = self.client.connect();
        connection.write(bytes);
        connection.answer()
    }

    /// The same with bytes after which the connection cannot go on: the answer, and whether it was closed.
    fn send(&self, bytes: &[u8]) -> (Answer, bool) {
        let mut connection = self.client.connect();
        connection.write(bytes);
        let answer = connection.answer();
        (answer, connection.is_closed_next())
    }
}

const GET: &str = "GET /logs-a/_search HTTP/1.1";
const POST: &str = "POST /logs-a/_search HTTP/1.1";
const JSON: &str = "Content-Type: application/json\r\nContent-Length: 2\r\n";

#[test]
fn what_two_parsers_could_read_in_two_ways_is_refused_and_the_connection_closed() {
    let stage = Stage::new();
    // The stage itself is in order.
    assert_eq!(stage.ask(&stage.request(POST, JSON, "{}")).status, 200);
    let before = stage.upstream.requests().len();
    let fields: &[(&str, &str)] = &[
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "0\r\n\r\n"),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", "{}"),
        ("Content-Length: 2\r\nContent-Length: 3\r\n", "{}"),
        ("Content-Length: 2, 2\r\n", "{}"),
        ("Content-Length: +2\r\n", "{}"),
        ("Content-Length: -2\r\n", ""),
        ("Content-Length: 0x2\r\n", "{}"),
        ("Content-Length: 2 2\r\n", "{}"),
        ("Content-Length: two\r\n", ""),
        ("Content-Length:\r\n", ""),
        ("Content-Length: 18446744073709551618\r\n", "{}"),
        ("Transfer-Encoding: identity, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: identity\r\n", ""),
        ("Transfer-Encoding:\r\n", ""),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n", "0\r\n\r\n"),
        ("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        ("Content-Length : 2\r\n", "{}"),
        (" X-Leading: space\r\n", ""),
        ("X-Folded: a\r\n b\r\n", ""),
        ("X-Folded: a\r\n\tb\r\n", ""),
        ("X-Bare: a\rb\r\n", ""),
        ("X-Bare: a\nX-Other: b\r\n", ""),
        ("X-Bare: a\r\r\n", ""),
        ("X-Null: a\0b\r\n", ""),
        ("X-Null\0: a\r\n", ""),
        ("X-Control: a\x01b\r\n", ""),
        ("X Space: a\r\n", ""),
        ("X-No-Colon\r\n", ""),
        (": no name\r\n", ""),
        ("X-(Name): a\r\n", ""),
        ("X-N\u{e4}me: a\r\n", ""),
        ("Host: other\r\n", ""),
        ("host: localhost\r\n", ""),
        ("Content-Type: application/json\r\nContent-Type: text/plain\r\n", ""),
        ("Content-Encoding: identity\r\nContent-Encoding: gzip\r\n", ""),
        ("Expect: 100-continue\r\nExpect: 100-continue\r\n", ""),
    ];
    let mut wrong = Vec::new();
    for (fields, body) in fields {
        let (answer, closed) = stage.send(&stage.request(POST, fields, body));
        if answer.status != 400 || !closed || answer.header("connection") != Some("close") {
            wrong.push(format!("{fields:?}: {}, closed: {closed}", answer.status));
        }
    }
    for line in [
        "GET /logs-a/_search",
        "GET /logs-a/_search HTTP/1.2",
        "GET /logs-a/_search HTTP/2.0",
        "GET /logs-a/_search HTTP/0.9",
        "GET /logs-a/_search HTTP/1.1 ",
        "GET /logs-a/_search http/1.1",
        "GET  /logs-a/_search HTTP/1.1",
        "GET /logs-a/_search  HTTP/1.1",
        "GET\t/logs-a/_search HTTP/1.1",
        " GET /logs-a/_search HTTP/1.1",
        "\r\nGET /logs-a/_search HTTP/1.1",
        "G@T /logs-a/_search HTTP/1.1",
        "GET /logs a/_search HTTP/1.1",
        "GET /logs-a/_search#fragment HTTP/1.1",
        "GET /logs-a\\_search HTTP/1.1",
        "GET /logs-a/..\\_search HTTP/1.1",
        "GET /logs-\u{e9}/_search HTTP/1.1",
        "GET /logs-\x7f/_search HTTP/1.1",
        "GET /logs-\0/_search HTTP/1.1",
        "GET logs-a/_search HTTP/1.1",
        "GET https://localhost/logs-a/_search HTTP/1.1",
        "GET http://other.example.com/logs-a/_search HTTP/1.1",
        "GET //other.example.com/logs-a/_search HTTP/1.1 x",
        "GET * HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "CONNECT other.example.com:443 HTTP/1.1",
        "CONNECT * HTTP/1.1",
        "GET /logs-a/../_cluster/health HTTP/1.1",
        "GET /logs-a/%2e%2E/_cluster/health HTTP/1.1",
        "GET /logs-a/.%2e/_cluster/health HTTP/1.1",
        "GET /logs-a/..;/_cluster/health HTTP/1.1",
        "GET /logs-a/..;a=b/_cluster/health HTTP/1.1",
        "GET /./logs-a/_search HTTP/1.1",
        "GET /.. HTTP/1.1",
        "PRI * HTTP/2.0",
    ] {
        let (answer, closed) = stage.send(&stage.request(line, "", ""));
        if answer.status != 400 || !closed {
            wrong.push(format!("{line:?}: {}, closed: {closed}", answer.status));
        }
    }
    let authorization = stage.client.authorization().expect("a token");
    for head in [
        format!("GET /logs-a/_search HTTP/1.1\r\nAuthorization: {authorization}\r\n\r\n"),
        format!("GET /logs-a/_search HTTP/1.1\r\nHost:\r\nAuthorization: {authorization}\r\n\r\n"),
        format!("GET /logs-a/_search HTTP/1.1\r\nHost: a, b\r\nAuthorization: {authorization}\r\n\r\n"),
        format!("GET /logs-a/_search HTTP/1.1\r\nHost: user@a\r\nAuthorization: {authorization}\r\n\r\n"),
        format!("GET /logs-a/_search HTTP/1.1\nHost: a\nAuthorization: {authorization}\n\n"),
        format!("GET /logs-a/_search HTTP/1.1\r\n Host: a\r\nAuthorization: {authorization}\r\n\r\n"),
        format!(
            "POST /logs-a/_search HTTP/1.0\r\nHost: a\r\nAuthorization: {authorization}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".to_owned(),
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
    ] {
        let (answer, closed) = stage.send(head.as_bytes());
        if answer.status != 400 || !closed {
            wrong.push(format!("{head:?}: {}, closed: {closed}", answer.status));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(
        stage.upstream.requests().len(),
        before,
        "something went to the engine: {:?}",
        stage.upstream.requests().last()
    );
    assert!(stage.gateway.metric("oauth4os_requests_total{outcome=\"malformed\"}") >= 80.0);
}

#[test]
fn methods_and_expectations_nobody_meets_are_refused() {
    let stage = Stage::new();
    for (line, fields, status) in [
        ("TRACE /logs-a/_search HTTP/1.1", "", 405),
        ("FOO /logs-a/_search HTTP/1.1", "", 405),
        ("get /logs-a/_search HTTP/1.1", "", 405),
        ("CONNECT /logs-a/_search HTTP/1.1", "", 405),
        ("PROPFIND /oauth/token HTTP/1.1", "", 405),
        (GET, "Expect: 200-ok\r\n", 417),
        (GET, "Expect: 100-continue, x\r\n", 417),
    ] {
        let (answer, closed) = stage.send(&stage.request(line, fields, ""));
        assert_eq!((answer.status, closed), (status, true), "{line} {fields}");
        assert_eq!(answer.header("allow").is_some(), status == 405);
    }
    assert!(stage.upstream.requests().is_empty());
}

#[test]
fn broken_chunks_are_refused_and_the_engine_never_gets_a_whole_request() {
    let stage = Stage::new();
    let long_extension = format!("1;{}\r\n", "a".repeat(300));
    for target in ["/logs-a/_search", "/app-logs-a/_doc"] {
        for chunks in [
            "0x2\r\n{}\r\n0\r\n\r\n",
            "-2\r\n{}\r\n0\r\n\r\n",
            "+2\r\n{}\r\n0\r\n\r\n",
            " 2\r\n{}\r\n0\r\n\r\n",
            "2\n{}\n0\n\n",
            "2\r\n{}0\r\n\r\n",
            "2\r\n{}\n0\r\n\r\n",
            "2\r{}\r\n0\r\n\r\n",
            "g\r\n{}\r\n0\r\n\r\n",
            "\r\n{}\r\n0\r\n\r\n",
            "10000000000000002\r\n{}\r\n0\r\n\r\n",
            "ffffffffffffffff\r\n{}\r\n0\r\n\r\n",
            "2;\x01\r\n{}\r\n0\r\n\r\n",
            "2\r\n{}\r\n0\r\nX-Trailer: a\nb\r\n\r\n",
            &long_extension,
        ] {
            let line = format!("POST {target} HTTP/1.1");
            let (answer, closed) = stage.send(&stage.request(
                &line,
                "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
                chunks,
            ));
            assert_eq!((answer.status, closed), (400, true), "{target} {chunks:?}: {}", answer.text());
        }
    }
    assert!(stage.upstream.requests_for("/logs-a/_search").is_empty());
    assert!(stage.upstream.requests().iter().all(|request| !request.body.is_complete));
}

#[test]
fn whole_chunks_arrive_intact_and_trailers_not_at_all() {
    let stage = Stage::new();
    let chunks = "4;name=\"value\"\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\nX-Proxy-User: admin\r\nAuthorization: Basic YTpi\r\nContent-Length: 9\r\n\r\n";
    for target in ["/logs-a/_search", "/app-logs-a/_doc"] {
        let line = format!("POST {target} HTTP/1.1");
        let fields =
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Proxy-User\r\nTE: trailers\r\n";
        let mut connection = stage.client.connect();
        for byte in stage.request(&line, fields, chunks).chunks(7) {
            connection.write(byte);
        }
        assert_eq!(connection.answer().status, 200);
        let received = stage.upstream.the_request_for(target);
        assert_eq!(received.body.bytes, b"{\"a\":1}");
        assert!(received.body.is_complete);
        assert!(!format!("{:?}", received.headers).contains("admin"));
        assert_eq!(
            (received.header("authorization").len(), received.header("trailer").len(), received.header("te").len()),
            (1, 0, 0)
        );
        // The connection goes on after the trailers.
        connection.write(&stage.request(GET, "", ""));
        assert_eq!(connection.answer().status, 200);
    }
}

#[test]
fn no_protocol_is_changed() {
    let stage = Stage::new();
    for fields in [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.3\r\nContent-Type: application/json\r\nContent-Length: 2\r\n",
    ] {
        let body = if fields.contains("Content-Length") { "{}" } else { "" };
        let mut connection = stage.client.connect();
        connection.write(&stage.request(POST, fields, body));
        // What follows is a request like any other.
        connection.write(&stage.request("GET /pii-customers/_search HTTP/1.1", "", ""));
        assert_eq!(connection.answer().status, 200);
        assert_eq!(connection.answer().status, 403);
    }
    for request in stage.upstream.requests() {
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(request.header(name).is_empty(), "{:?}", request.headers);
        }
    }
}

#[test]
fn each_of_many_pipelined_requests_is_decided_by_itself() {
    let stage = Stage::new();
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for number in 0..100 {
        let target = format!("GET /logs-{number}/_search HTTP/1.1");
        match number {
            20 => bytes.extend(b"GET /logs-20/_search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer wrong\r\n\r\n"),
            40 => bytes.extend(stage.request("GET /pii-customers/_search HTTP/1.1", "", "")),
            60 => bytes.extend(stage.request("GET /oauth/jwks HTTP/1.1", "", "")),
            80 => {
                let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
                let length = format!("Content-Length: {}\r\n", smuggled.len());
                bytes.extend(stage.request("POST /pii-customers/_doc HTTP/1.1", &length, smuggled));
            }
            _ => bytes.extend(stage.request(&target, "", "")),
        }
        expected.push(match number {
            20 => 401,
            40 | 80 => 403,
            _ => 200,
        });
    }
    let mut connection = stage.client.connect();
    connection.write(&bytes);
    let statuses: Vec<u16> = (0..100).map(|_| connection.answer().status).collect();
    assert_eq!(statuses, expected);
    assert_eq!(stage.upstream.requests().len(), 96);

    // After one that cannot be read nobody knows where the next begins.
    let mut connection = stage.client.connect();
    let mut bytes = stage.request("GET /logs-before/_search HTTP/1.1", "", "");
    bytes.extend(stage.request(POST, "Content-Length: 1\r\nContent-Length: 2\r\n", "{}"));
    bytes.extend(stage.request("GET /logs-after/_search HTTP/1.1", "", ""));
    connection.write(&bytes);
    assert_eq!((connection.answer().status, connection.answer().status), (200, 400));
    assert!(connection.is_closed_next());
    assert!(stage.upstream.requests_for("/logs-after/_search").is_empty());
}

#[test]
fn kept_connections_serve_many_requests_over_one_connection_to_the_engine() {
    let stage = Stage::new();
    let mut connection = stage.client.connect();
    for number in 0..50 {
        let line = if number % 2 == 0 { GET } else { "HEAD /logs-a HTTP/1.1" };
        connection.write(&stage.request(line, "", ""));
        let answer = connection.answer_to(if number % 2 == 0 { "GET" } else { "HEAD" }).expect("an answer");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("connection"), None);
    }
    // Refusals do not end a connection either.
    connection.write(&stage.request("GET /pii-customers/_search HTTP/1.1", "", ""));
    assert_eq!(connection.answer().status, 403);
    connection.write(&stage.request(GET, "Connection: close\r\n", ""));
    assert_eq!(connection.answer().header("connection"), Some("close"));
    assert!(connection.is_closed_next());
    let used: std::collections::HashSet<usize> =
        stage.upstream.requests().iter().map(|request| request.connection).collect();
    assert_eq!(used.len(), 1);
}

#[test]
fn http_1_0_is_served_and_closed() {
    let stage = Stage::new();
    let authorization = stage.client.authorization().expect("a token");
    let mut connection = stage.client.connect();
    connection.write(format!("GET /logs-a/_search HTTP/1.0\r\nAuthorization: {authorization}\r\n\r\n").as_bytes());
    let answer = connection.answer();
    assert_eq!((answer.status, answer.header("transfer-encoding")), (200, None));
    assert!(connection.is_closed_next());
}

#[test]
fn a_client_that_waits_is_told_to_go_on_only_when_it_may() {
    let stage = Stage::new();
    let fields = "Content-Type: application/json\r\nContent-Length: 2\r\nExpect: 100-continue\r\n";
    for target in ["/logs-a/_search", "/app-logs-a/_doc", "/oauth/revoke"] {
        let mut connection = stage.client.connect();
        connection.write(&stage.request(&format!("POST {target} HTTP/1.1"), fields, ""));
        assert_eq!(connection.answer().status, 100, "{target}");
        connection.write(b"{}");
        assert!(connection.answer().status >= 200);
    }
    for (line, status) in [("POST /pii-customers/_doc HTTP/1.1", 403), ("POST /app-logs-a/_no_such HTTP/1.1", 403)] {
        let mut connection = stage.client.connect();
        connection.write(&stage.request(line, fields, ""));
        assert_eq!(connection.answer().status, status, "no `100 Continue` before a refusal");
        assert!(connection.is_closed_next(), "the body may come or not");
    }
    // Whoever does not wait is not told.
    assert_eq!(stage.ask(&stage.request(POST, fields, "{}")).status, 200);
    for request in stage.upstream.requests() {
        assert!(request.header("expect").is_empty());
    }
}

#[test]
fn who_is_slow_is_cut_off_and_others_do_not_notice() {
    let stage = Stage::with(|settings| {
        settings
            .limit("head_timeout", json!("1s"))
            .limit("body_timeout", json!("1s"))
            .limit("idle_timeout", json!("2s"))
    });
    let begun = Instant::now();
    // Byte by byte within the head: the time is for the whole of it.
    let mut slow_head = stage.client.connect();
    let request = stage.request(GET, "", "");
    let mut sent = 0;
    while sent < request.len() && slow_head.try_write(&request[sent..=sent]).is_ok() && slow_head.is_open() {
        sent += 1;
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(sent < request.len(), "a slow head was waited for");
    assert_eq!(slow_head.answer().status, 408);

    let mut slow_body = stage.client.connect();
    slow_body.write(&stage.request("POST /app-logs-a/_doc HTTP/1.1", "Content-Length: 10\r\n", "{\"a\""));
    let answer = slow_body.answer_to("POST");
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status == 408));
    assert!(stage.upstream.requests().iter().all(|request| !request.body.is_complete));

    // A connection that does nothing, before and after TLS.
    let silent = std::net::TcpStream::connect(("127.0.0.1", stage.gateway.port())).expect("a connection");
    silent.set_read_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
    assert_eq!(std::io::Read::read(&mut &silent, &mut [0; 1]).expect("an end"), 0);
    let mut idle: Connection = stage.client.connect();
    assert!(idle.is_closed_next());
    assert!(begun.elapsed() < Duration::from_secs(30));

    stage.client.get("/logs-a/_search").expect(200);
}

#[test]
fn a_body_may_come_with_get() {
    let stage = Stage::new();
    let request = stage.request(GET, "Content-Type: application/json\r\nContent-Length: 10\r\n", "{\"size\":1}");
    assert_eq!(stage.ask(&request).status, 200);
    let received = stage.upstream.the_request_for("/logs-a/_search");
    assert_eq!((received.method.as_str(), received.body.bytes.as_slice()), ("GET", b"{\"size\":1}".as_slice()));
}

#[test]
fn bytes_that_are_no_tls_end_the_connection_and_nothing_else() {
    let stage = Stage::new();
    for bytes in [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(), &[0; 4096], &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0]] {
        let mut plain = std::net::TcpStream::connect(("127.0.0.1", stage.gateway.port())).expect("a connection");
        plain.set_read_timeout(Some(Duration::from_secs(20))).expect("set a timeout");
        std::io::Write::write_all(&mut plain, bytes).expect("send");
        let _ = plain.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut plain, &mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"));
    }
    stage.client.get("/logs-a/_search").expect(200);
    assert!(stage.gateway.is_running());
}
