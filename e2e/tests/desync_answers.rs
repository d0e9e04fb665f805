//! Engines that answer early, twice or in two ways: no client sees a second answer, and no connection to the engine is
//! used again of which nobody knows where the next request begins.

use std::collections::HashSet;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use e2e::{Client, Gateway, Settings, Turn, Upstream};
use serde_json::json;

const STRAY: &str = "HTTP/1.1 200 OK\r\ncontent-length: 14\r\n\r\n{\"stray\":true}";

fn stage(script: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> (Upstream, Gateway, Client) {
    let upstream = Upstream::start(script);
    let settings = Settings::new().client("both", &["read:logs-*", "write:app-logs-*"]).upstream(&upstream.url());
    let gateway = Gateway::start(settings.limit("body_timeout", json!("5s")));
    let client = gateway.with("both");
    (upstream, gateway, client)
}

fn request(client: &Client, line: &str, fields: &str, body: &str) -> Vec<u8> {
    let token = client.authorization().expect("a token");
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nX-Opaque-Id: d\r\nAuthorization: {token}\r\n{fields}\r\n{body}")
        .into_bytes()
}

/// The answer that names the request it belongs to.
fn own_answer(turn: &mut Turn<'_>) {
    turn.read_body();
    let body = json!({"target": turn.received.target}).to_string();
    turn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
}

/// Status, and the body where it is the engine's; `None` for a refusal in the gateway's words.
type Seen = (u16, Option<&'static str>);

/// What the engine answers, to which method, and what the client sees of it.
fn answers() -> Vec<(String, &'static str, Seen)> {
    let bad = (502, None);
    let ok = (200, Some("{}"));
    let head = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let mut cases: Vec<(String, &str, Seen)> = vec![
        // Two answers, and more than was announced.
        (head("content-length: 2\r\n", &format!("{{}}{STRAY}")), "GET", ok),
        (head("content-length: 2\r\n", "{}{}"), "GET", ok),
        (head("content-length: 2\r\n", "{}\r\n"), "GET", ok),
        (head("content-length: 0\r\n", STRAY), "GET", (200, Some(""))),
        (head("transfer-encoding: chunked\r\n", &format!("2\r\n{{}}\r\n0\r\n\r\n{STRAY}")), "GET", ok),
        (head("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\nx-proxy-user: a\r\n\r\n"), "GET", ok),
        // Without a body, whatever follows.
        (head("content-length: 2\r\n", "{}"), "HEAD", (200, Some(""))),
        (head("content-length: 2\r\n", &format!("{{}}{STRAY}")), "HEAD", (200, Some(""))),
        (head("content-length: 0\r\n", STRAY), "HEAD", (200, Some(""))),
        (head("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"), "HEAD", (200, Some(""))),
        (format!("HTTP/1.1 204 No Content\r\n\r\n{STRAY}"), "GET", (204, Some(""))),
        (format!("HTTP/1.1 204 No Content\r\ncontent-length: 50\r\n\r\n{STRAY}"), "GET", (204, Some(""))),
        (
            "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".into(),
            "GET",
            (204, Some("")),
        ),
        (format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n{STRAY}"), "GET", (304, Some(""))),
        // Interim answers.
        ("HTTP/1.1 102 Processing\r\n\r\n".repeat(10) + &head("content-length: 2\r\n", "{}"), "GET", ok),
        ("HTTP/1.1 102 Processing\r\n\r\n".repeat(100) + &head("content-length: 2\r\n", "{}"), "GET", bad),
        (
            format!("HTTP/1.1 100 Continue\r\ncontent-length: 50\r\n\r\n{}", head("content-length: 2\r\n", "{}")),
            "GET",
            ok,
        ),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: a\r\n\r\n".to_owned() + STRAY, "GET", bad),
        // Heads that are none.
        ("HTTP/1.1 200 OK\ncontent-length: 2\n\n{}".into(), "GET", bad),
        ("HTTP/1.1 200 OK\r\nx: y\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("HTTP/1.1  200 OK\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("HTTP/1.1 099 Low\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("HTTP/1.1 000 None\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("HTTP/1.1 999 High\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("HTTP/1.1 20 OK\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("HTTP/1.2 200 OK\r\ncontent-length: 2\r\n\r\n{}".into(), "GET", bad),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".into(), "GET", bad),
        (format!("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{STRAY}"), "GET", ok),
    ];
    for fields in [
        "content-length: 2\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 2\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 2\r\ncontent-length: 2\r\n",
        "content-length: 2, 2\r\n",
        "content-length: +2\r\n",
        "content-length: 0x2\r\n",
        "content-length:\r\n",
        "content-length: 18446744073709551618\r\n",
        "content-length : 2\r\n",
        " content-length: 2\r\n",
        "content-length: 2\r\n x: y\r\n",
        "content-length: 2\r\nx\r\n",
        "content-length: 2\r\n: y\r\n",
        "content-length: 2\r\nx y: z\r\n",
        "content-length: 2\r\nx: a\0b\r\n",
        "content-length: 2\r\nx: a\rb\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: \x0bchunked\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding : chunked\r\n",
    ] {
        cases.push((head(fields, "2\r\n{}\r\n0\r\n\r\n"), "GET", bad));
    }
    // Over the limits.
    cases.push((head(&format!("x: {}\r\ncontent-length: 2\r\n", "y".repeat(80 * 1024)), "{}"), "GET", bad));
    cases.push((head(&("x: y\r\n".repeat(300) + "content-length: 2\r\n"), "{}"), "GET", bad));
    cases.push((head(&"x: y\r\n".repeat(100_000), ""), "GET", bad));
    cases
}

/// HEAD asks whether an index is there.
fn target(method: &str, number: usize) -> String {
    if method == "HEAD" { format!("/logs-{number}") } else { format!("/logs-{number}/_mapping") }
}

#[test]
fn one_request_has_one_answer_whatever_the_engine_sends() {
    let sent = answers();
    let (upstream, gateway, client) = stage(move |turn| {
        let number = turn.received.target.trim_start_matches("/logs-").trim_end_matches("/_mapping").parse::<usize>();
        match number.ok().and_then(|number| sent.get(number)) {
            Some((bytes, _, _)) => {
                turn.read_body();
                turn.write(bytes.as_bytes());
            }
            None => own_answer(turn),
        }
    });
    let mut wrong = Vec::new();
    let cases = answers();
    for (number, (bytes, method, (status, body))) in cases.iter().enumerate() {
        let shown = &bytes[..bytes.len().min(120)];
        // Both are sent at once: what the client reads as the second answer is the second request's or a fault.
        let mut connection = client.connect();
        let second = format!("/logs-own-{number}/_search");
        let first = request(&client, &format!("{method} {}", target(method, number)), "", "");
        let close = request(&client, &format!("GET {second}"), "Connection: close\r\n", "");
        connection.write(&[first, close].concat());
        let answer = match connection.answer_to(method) {
            Ok(answer) => answer,
            Err(error) => {
                wrong.push(format!("{shown:?}: {error}"));
                continue;
            }
        };
        let is_expected = match body {
            Some(body) => answer.text() == *body,
            None => *method == "HEAD" || answer.json()["status"] == *status,
        };
        let length = answer.header("content-length");
        if answer.status != *status || !is_expected || (*status == 204 && length.is_some()) {
            wrong.push(format!("{shown:?}: {} {:?} {}", answer.status, answer.headers, answer.text()));
        }
        if answer.header("connection") == Some("close") {
            wrong.push(format!("{shown:?}: the client's connection ends"));
            continue;
        }
        match connection.answer_to("GET") {
            Ok(own) if own.status == 200 && own.json()["target"] == second => {}
            other => wrong.push(format!("{shown:?}: the next request got {other:?}")),
        }
        if !connection.is_closed_next() {
            wrong.push(format!("{shown:?}: something follows the last answer"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Each request has reached the engine once, and there was nothing else.
    drop(gateway);
    upstream.wait_for_open_connections(0);
    let identity = upstream.requests()[0].header("authorization")[0].to_owned();
    let host = upstream.authority();
    let mut expected: Vec<String> = Vec::new();
    for (number, (_, method, _)) in cases.iter().enumerate() {
        for line in [format!("{method} {}", target(method, number)), format!("GET /logs-own-{number}/_search")] {
            expected.push(format!(
                "{line} HTTP/1.1\r\nhost: {host}\r\nx-opaque-id: d\r\nauthorization: {identity}\r\n\r\n"
            ));
        }
    }
    let arrived: Vec<u8> = upstream.captured().into_values().flatten().collect();
    let arrived = String::from_utf8(arrived).expect("text");
    let mut arrived: Vec<&str> = arrived.split_inclusive("\r\n\r\n").collect();
    arrived.sort_unstable();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
}

/// Answers requests for an index `early` as soon as the head is there, reads no more of them, and keeps the connection
/// open for as long as the gateway does; others as they should be.
fn early(turn: &mut Turn<'_>) {
    if turn.received.target.contains("early") {
        turn.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        turn.wait_for_end();
    } else {
        own_answer(turn);
    }
}

#[test]
fn what_is_left_of_a_body_after_an_early_answer_is_no_request() {
    let (upstream, gateway, client) = stage(early);
    let inner = String::from_utf8(request(&client, "GET /logs-inner/_search", "", "")).expect("text");
    for (fields, begins, goes_on) in [
        (format!("Content-Length: {}\r\n", inner.len() + 2), "{}".to_owned(), inner.clone()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), "2\r\n{}\r\n".to_owned(), format!("0\r\n\r\n{inner}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), "2\r\n{}\r\n".to_owned(), inner.clone()),
    ] {
        let mut connection = client.connect();
        connection.write(&request(&client, "POST /app-logs-early/_doc", &fields, &begins));
        let answer = connection.answer();
        assert_eq!((answer.status, answer.text().as_str(), answer.header("connection")), (200, "{}", Some("close")));
        // The client may have been about to send it.
        let _ = connection.try_write(goes_on.as_bytes());
        let _ = connection.try_write(inner.as_bytes());
        assert!(connection.is_closed_next(), "{fields}");
        // The connection to the engine has ended with the exchange.
        upstream.wait_for_open_connections(0);
    }
    assert_eq!(upstream.requests().len(), 3);
    let arrived: Vec<u8> = upstream.captured().into_values().flatten().collect();
    assert!(!String::from_utf8_lossy(&arrived).contains("logs-inner"));
    drop(gateway);
}

#[test]
fn a_connection_on_which_a_request_was_not_sent_to_its_end_is_not_used_again() {
    // More than both ends of a socket hold, and less than what may be held to be looked at.
    let size = 15 * 1024 * 1024;
    let (answered, is_answered) = mpsc::channel::<()>();
    let is_answered = Mutex::new(is_answered);
    // It answers before it reads, and then goes on with the body as engines do that mean to keep the connection.
    let upstream = Upstream::start(move |turn| {
        if !turn.received.target.contains("early") {
            return own_answer(turn);
        }
        turn.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
        let _ = is_answered.lock().expect("the lock").recv_timeout(Duration::from_secs(20));
        turn.discard_body();
    });
    let settings = Settings::new().client("both", &["read:logs-*"]).upstream(&upstream.url());
    let gateway = Gateway::start(settings.limit("inspected_body", json!("16MiB")));
    let client = gateway.with("both");
    let query = json!({"query": {"match": {"message": "x".repeat(size)}}}).to_string();
    let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", query.len());
    for number in 0..4 {
        let mut connection = client.connect();
        connection.write(&request(&client, &format!("POST /logs-early-{number}/_search"), &length, &query));
        let answer = connection.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.text());
        assert!(connection.is_closed_next());
        answered.send(()).expect("the engine");
        upstream.wait_for_open_connections(0);
        assert!(!upstream.the_request_for(&format!("/logs-early-{number}/_search")).body.is_complete);
    }
    // Whoever comes next is answered on a connection of its own, from a beginning.
    for number in 0..8 {
        let target = format!("/logs-next-{number}/_search");
        assert_eq!(client.get(&target).expect(200).json()["target"], target);
        let _ = upstream.the_request_for(&target);
    }
}

#[test]
fn what_the_engine_says_unasked_is_no_answer_to_what_is_asked_next() {
    let late = [STRAY, "{}", "\r\n", "0\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "H"];
    let (answered, is_answered) = mpsc::channel::<()>();
    let (said, is_said) = mpsc::channel::<()>();
    let is_answered = Mutex::new(is_answered);
    let (upstream, _gateway, client) = stage(move |turn| {
        let number = turn.received.target.trim_start_matches("/logs-late-").trim_end_matches("/_mapping").to_owned();
        let late = number.parse::<usize>().ok().and_then(|number| late.get(number));
        own_answer(turn);
        if let Some(late) = late {
            let _ = is_answered.lock().expect("the lock").recv_timeout(Duration::from_secs(20));
            turn.write(late.as_bytes());
            let _ = said.send(());
        }
    });
    for number in 0..late.len() {
        let target = format!("/logs-late-{number}/_mapping");
        let mut connection = client.connect();
        for target in [target, format!("/logs-own-{number}/_mapping"), format!("/logs-next-{number}/_mapping")] {
            connection.write(&request(&client, &format!("GET {target}"), "", ""));
            let answer = connection.answer();
            assert_eq!((answer.status, &answer.json()["target"]), (200, &json!(target)));
            assert_eq!(upstream.requests_for(&target).len(), 1);
            if target.contains("late") {
                answered.send(()).expect("the engine");
                is_said.recv_timeout(Duration::from_secs(20)).expect("the engine has spoken");
            }
        }
        assert!(connection.is_open(), "something follows the last answer");
    }
    // Each time it spoke out of turn it lost its connection, and was asked on another.
    let connections = upstream.requests().into_iter().map(|request| request.connection).collect::<HashSet<_>>();
    assert!(connections.len() > late.len(), "{connections:?}");
}
