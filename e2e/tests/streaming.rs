//! What is large passes in pieces: decided line by line, held nowhere.

use std::fmt::Write as _;
use std::time::Duration;

use e2e::{Answer, Client, Connection, Engine, Gateway, Settings, Upstream, json_answer, until};
use oauth4os_tokens::id::sha256;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MIB: usize = 1024 * 1024;

/// What one request may take at most, buffers of both connections included.
const EXTRA_KIB: u64 = 8 * 1024;

fn settings() -> Settings {
    Settings::new().client("both", &["read:logs-*", "write:app-logs-*"])
}

/// A `_bulk` body of at least so many bytes, all for `index`.
fn bulk_body(index: &str, bytes: usize) -> String {
    let message = "0123456789abcdef".repeat(30);
    let mut body = String::with_capacity(bytes + 1024);
    let mut number = 0;
    while body.len() < bytes {
        let _ = write!(
            body,
            "{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{number}\"}}}}\n{{\"message\":\"{message}\",\"number\":{number}}}\n"
        );
        number += 1;
    }
    body
}

fn head(client: &Client, line: &str, fields: &str) -> Vec<u8> {
    let authorization = client.authorization().expect("a token");
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nContent-Type: application/x-ndjson\r\n{fields}\r\n").into_bytes()
}

/// Sends as far as the gateway takes it, and reads the answer.
fn upload(connection: &mut Connection, head: &[u8], body: &[u8]) -> Answer {
    connection.write(head);
    for piece in body.chunks(64 * 1024) {
        if connection.try_write(piece).is_err() {
            break;
        }
    }
    connection.answer()
}

/// A gibibyte, the most that `limits.body` lets through unless it is changed.
#[test]
fn a_gibibyte_of_bulk_arrives_intact_and_is_held_nowhere() {
    const GIB: usize = 1024 * MIB;
    let upstream = Upstream::start(|turn| {
        turn.discard_body();
        turn.write(&json_answer(200, "{\"errors\":false}"));
    });
    // Each worker makes room for itself when it serves its first request; of two the warm one might not get the large one.
    let gateway = Gateway::start(settings().top("workers", json!(1)).upstream(&upstream.url()));
    let client = gateway.with("both");
    let part = bulk_body("app-logs-a", MIB);
    let send = |target: &str, times: usize| {
        let mut hash = Sha256::new();
        let mut connection = client.connect();
        let fields = format!("Content-Length: {}\r\n", part.len() * times);
        connection.write(&head(&client, &format!("POST {target}"), &fields));
        let mut peak = 0;
        for _ in 0..times {
            connection.write(part.as_bytes());
            hash.update(part.as_bytes());
            peak = peak.max(gateway.taken_kib());
        }
        assert_eq!(connection.answer().status, 200);
        (hash.finalize().to_vec(), peak)
    };
    // Once in small, so that what is allocated for good is allocated.
    send("/_bulk", 64);

    let times = GIB / part.len();
    let before = gateway.taken_kib();
    let (sent, peak) = send("/_bulk?refresh=false", times);
    assert!(peak <= before + 2 * 1024, "{before} KiB before, {peak} KiB at most");

    let received = upstream.the_request_for("/_bulk?refresh=false");
    let length = part.len() * times;
    assert_eq!(received.body.length, length as u64);
    assert_eq!(received.body.sha256, sent);
    assert_eq!(received.header("content-length"), [length.to_string()]);
    let event = gateway.audit_where("the bulk request", |event| event["bytes_in"] == length);
    assert_eq!(
        (&event["decision"], &event["operation"], &event["targets"]),
        (&json!("allow"), &json!("bulk"), &json!(["app-logs-a"]))
    );
}

/// `_bulk/stream` acts on what has come before the rest is there, so that nothing could be held back as a whole. The engine
/// as it is delivered does not serve it either.
#[test]
fn the_streaming_endpoint_is_refused_with_a_reason() {
    let gateway = Gateway::start(settings());
    let lines = bulk_body("app-logs-a", 1);
    for target in ["/_bulk/stream", "/app-logs-a/_bulk/stream"] {
        let refused = gateway.with("both").post(target).body("application/x-ndjson", lines.clone()).expect(403);
        assert!(refused.text().contains("the engine cuts the body at its own chunk borders"), "{}", refused.text());
        let answer = Engine::get().admin().post(target).body("application/x-ndjson", lines.clone()).send();
        assert!(
            answer.status == 500 && answer.text().contains("HTTP streaming"),
            "{} {}",
            answer.status,
            answer.text()
        );
    }
}

#[test]
fn chunks_of_any_size_arrive_as_the_same_bytes() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let client = gateway.with("both");
    let body = bulk_body("app-logs-a", 200_000);
    for size in [1, 7, 1_000, 65_536, 150_000] {
        let mut connection = client.connect();
        let target = format!("/_bulk?size={size}");
        connection.write(&head(&client, &format!("POST {target}"), "Transfer-Encoding: chunked\r\n"));
        let mut framed = Vec::new();
        let pieces: Vec<&[u8]> = if size == 1 {
            body.as_bytes()[..3_000].chunks(1).chain(body.as_bytes()[3_000..].chunks(10_000)).collect()
        } else {
            body.as_bytes().chunks(size).collect()
        };
        for piece in pieces {
            framed.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            framed.extend_from_slice(piece);
            framed.extend_from_slice(b"\r\n");
        }
        framed.extend_from_slice(b"0\r\n\r\n");
        connection.write(&framed);
        assert_eq!(connection.answer().status, 200);
        let received = upstream.the_request_for(&target);
        assert!(received.body.is_complete && received.body.bytes == body.as_bytes(), "{size}");
        assert_eq!(received.header("transfer-encoding"), ["chunked"]);
        assert!(received.header("content-length").is_empty());
    }
}

#[test]
fn one_action_outside_at_the_very_end_stops_the_whole_request() {
    let upstream = Upstream::start(|turn| {
        let body = turn.discard_body();
        if body.is_complete {
            turn.write(&json_answer(200, "{\"errors\":false}"));
        }
    });
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let client = gateway.with("both");
    let good = bulk_body("app-logs-a", 20 * MIB);
    let endings = [
        ("{\"index\":{\"_index\":\"pii-customers\"}}\n{\"a\":1}\n", 403),
        ("{\"delete\":{\"_index\":\"pii-customers\",\"_id\":\"1\"}}\n", 403),
        ("{\"index\":{\"\\u005findex\":\"pii-customers\"}}\n{\"a\":1}\n", 403),
        ("{\"index\":{\"_index\":\"app-logs-a\",\"_index\":\"pii-customers\"}}\n{\"a\":1}\n", 400),
        ("{\"index\":{\"_index\":\"app-logs-a\"}}\n", 400),
        ("{\"index\":{\"_index\":\"app-logs-a\"}}\n{\"a\":1}", 400),
        ("{\"index\":{\"_index\":\"app-logs-a\"},\"delete\":{\"_index\":\"pii-customers\"}}\n{\"a\":1}\n", 400),
        ("not json\n", 400),
    ];
    for (number, (ending, status)) in endings.iter().enumerate() {
        let body = format!("{good}{ending}");
        let target = format!("/_bulk?number={number}");
        let fields = format!("Content-Length: {}\r\n", body.len());
        let answer = upload(&mut client.connect(), &head(&client, &format!("POST {target}"), &fields), body.as_bytes());
        assert_eq!(answer.status, *status, "{ending}: {}", answer.text());
        let received = until("the end of the request", Duration::from_secs(10), || {
            upstream.requests_for(&target).into_iter().find(|request| request.body.length > 0)
        });
        assert!(!received.body.is_complete, "{ending}: the engine got a whole request");
        assert!(received.body.length <= good.len() as u64, "{ending}: the engine got what was refused");
        assert_eq!(gateway.audit_of(answer.request_id())["decision"], "deny", "{ending}");
    }
}

#[test]
fn on_the_real_engine_a_bulk_refused_in_the_middle_writes_nothing() {
    let engine = Engine::get();
    let gateway = Gateway::start(settings());
    let client = gateway.with("both");
    let index = "app-logs-e2e-streaming";
    engine.delete_index(index);
    let good = bulk_body(index, 2 * MIB);
    let lines = good.lines().count();
    let half: String = good.lines().take(lines / 2 / 2 * 2).flat_map(|line| [line, "\n"]).collect();
    let rest: String = good.lines().skip(lines / 2 / 2 * 2).flat_map(|line| [line, "\n"]).collect();
    let body = format!("{half}{{\"index\":{{\"_index\":\"pii-customers\"}}}}\n{{\"forged\":true}}\n{rest}");
    let customers = engine.count("pii-customers");
    let fields = format!("Content-Length: {}\r\n", body.len());
    assert_eq!(upload(&mut client.connect(), &head(&client, "POST /_bulk", &fields), body.as_bytes()).status, 403);
    engine.admin().get(&format!("/{index}")).expect(404);
    assert_eq!(engine.count("pii-customers"), customers);

    // The same without the line in the middle is written to the last document.
    let answer = client.post("/_bulk").body("application/x-ndjson", good.clone()).expect(200).json();
    assert_eq!(answer["errors"], false);
    assert_eq!(engine.count(index), lines as u64 / 2);
    engine.delete_index(index);
}

#[test]
fn large_answers_pass_in_pieces() {
    const PIECES: usize = 800;
    let piece: Vec<u8> =
        (0..64 * 1024_u32).map(|number| b"0123456789abcdefghijklmnopqrstuv"[number as usize % 31]).collect();
    let whole = piece.repeat(PIECES);
    let (sent, hash) = (piece.clone(), sha256(&whole));
    let upstream = Upstream::start(move |turn| {
        turn.read_body();
        let is_chunked = turn.received.target.contains("chunked");
        if is_chunked {
            turn.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
        } else {
            turn.write(
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                    sent.len() * PIECES
                )
                .as_bytes(),
            );
        }
        for _ in 0..PIECES {
            if is_chunked {
                turn.write(format!("{:x}\r\n", sent.len()).as_bytes());
            }
            turn.write(&sent);
            if is_chunked {
                turn.write(b"\r\n");
            }
        }
        if is_chunked {
            turn.write(b"0\r\n\r\n");
        }
    });
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let client = gateway.with("both");
    client.get("/logs-chunked/_search").expect(200);
    for target in ["/logs-chunked/_search", "/logs-length/_search"] {
        gateway.reset_peak();
        let (before, _) = gateway.resident_kib();
        let answer = client.get(target).expect(200);
        let (_, peak) = gateway.resident_kib();
        assert_eq!((answer.body.len(), sha256(&answer.body)), (whole.len(), hash), "{target}");
        assert!(peak < before + EXTRA_KIB, "{target}: {before} KiB before, {peak} KiB at most");
        assert_eq!(gateway.audit_of(answer.request_id())["bytes_out"], whole.len());
    }
    // A client that reads slowly slows the engine down; nothing piles up in between.
    let mut slow = client.connect();
    slow.write(&client.get("/logs-length/_search").bytes());
    assert_eq!(slow.head().expect("a head").0, 200);
    gateway.reset_peak();
    let (before, _) = gateway.resident_kib();
    let others: Vec<Value> = (0..20).map(|_| client.get("/_oauth4os/v1/whoami").expect(200).json()).collect();
    assert_eq!(others.len(), 20);
    let (_, peak) = gateway.resident_kib();
    assert!(peak < before + EXTRA_KIB, "{before} KiB before, {peak} KiB at most");
    assert_eq!(sha256(&slow.take(whole.len()).expect("the rest")), hash);
}
