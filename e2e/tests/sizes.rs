//! Sizes, to the byte: what is at a limit passes whole, what is one more does not leave the gateway.

use e2e::{Answer, Gateway, Settings, Upstream};
use serde_json::{Value, json};

const KIB: usize = 1024;

#[test]
fn a_body_at_the_limit_passes_and_one_byte_more_does_not() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(
        Settings::new().upstream(&upstream.url()).limit("body", json!("64KiB")).client("writer", &["write:logs-*"]),
    );
    let writer = gateway.with("writer");
    writer.put("/logs-a/_doc/at-the-limit").json(&document(64 * KIB)).expect(200);
    assert_eq!(upstream.the_request_for("/logs-a/_doc/at-the-limit").body.length, 64 * KIB as u64);
    too_large(&gateway, &writer.put("/logs-a/_doc/over").json(&document(64 * KIB + 1)).send());
    assert!(upstream.requests_for("/logs-a/_doc/over").is_empty(), "something of it left the gateway");

    let chunked = |target: &str, size: usize| {
        let mut connection = writer.connect();
        let authorization = writer.authorization().expect("a token");
        let head = format!(
            "PUT {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        connection.write(head.as_bytes());
        for part in document(size).to_string().as_bytes().chunks(10_000) {
            let chunk = [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
            if connection.try_write(&chunk).is_err() {
                break;
            }
        }
        let _ = connection.try_write(b"0\r\n\r\n");
        connection.answer()
    };
    assert_eq!(chunked("/logs-a/_doc/chunked", 64 * KIB).status, 200);
    assert_eq!(upstream.the_request_for("/logs-a/_doc/chunked").body.length, 64 * KIB as u64);
    too_large(&gateway, &chunked("/logs-a/_doc/chunked-over", 64 * KIB + 1));
    assert!(upstream.requests_for("/logs-a/_doc/chunked-over").iter().all(|request| !request.body.is_complete));
    writer.put("/logs-a/_doc/after").json(&json!({})).expect(200);
}

#[test]
fn a_search_that_must_be_read_whole_has_a_limit_of_its_own() {
    let upstream = Upstream::obliging();
    let settings = Settings::new()
        .upstream(&upstream.url())
        .limit("inspected_body", json!("16KiB"))
        .client("both", &["read:logs-*", "write:logs-*"]);
    let gateway = Gateway::start(settings);
    let both = gateway.with("both");

    both.post("/logs-a/_search").json(&query(16 * KIB)).expect(200);
    assert_eq!(upstream.the_request_for("/logs-a/_search").body.length, 16 * KIB as u64);
    for target in ["/logs-b/_search", "/logs-b/_count", "/logs-b/_mget"] {
        too_large(&gateway, &both.post(target).json(&query(16 * KIB + 1)).send());
        assert!(upstream.requests_for(target).is_empty(), "{target}: something of it left the gateway");
    }
    // A document is not inspected, and a bulk request is, line by line, in whatever length.
    both.put("/logs-b/_doc/1").json(&query(32 * KIB)).expect(200);
    both.post("/logs-b/_bulk").lines(&[json!({"index": {}}), query(32 * KIB)]).expect(200);
    // So is a multi search, whose lines are read whole each.
    let line = |size: usize| [json!({}), query(size)];
    both.post("/logs-b/_msearch").lines(&[line(10 * KIB), line(10 * KIB), line(10 * KIB)].concat()).expect(200);
    let answer = both.post("/logs-c/_msearch").lines(&line(32 * KIB)).send();
    assert!(matches!(answer.status, 400 | 413), "{} {}", answer.status, answer.text());
    assert!(upstream.requests_for("/logs-c/_msearch").iter().all(|request| !request.body.is_complete));
}

#[test]
fn a_head_over_the_limits_is_refused_and_the_connection_ends() {
    let upstream = Upstream::obliging();
    let settings = Settings::new()
        .upstream(&upstream.url())
        .limit("head", json!("8KiB"))
        .limit("request_line", json!("2KiB"))
        .limit("headers", json!(32))
        .client("reader", &["read:logs-*"]);
    let gateway = Gateway::start(settings);
    let reader = gateway.with("reader");
    let target = |length: usize| {
        let frame = "GET /logs-*/_search?q= HTTP/1.1\r\n".len();
        format!("/logs-*/_search?q={}", "x".repeat(length - frame))
    };
    reader.get(&target(2 * KIB)).expect(200);
    malformed(&gateway, &reader.get(&target(2 * KIB + 64)).expect(414));
    malformed(&gateway, &reader.get("/logs-*/_search").header("X-Filler", &"x".repeat(9 * KIB)).expect(431));
    let many = (0..33)
        .fold(reader.get("/logs-*/_search"), |request, number| request.header(&format!("X-Field-{number}"), "1"));
    malformed(&gateway, &many.expect(431));
    // A head and a request line without an end.
    for (beginning, status) in [("GET / HTTP/1.1\r\nHost: localhost\r\nX-Filler: ", 431), ("GET /", 414)] {
        let mut connection = reader.connect();
        connection.write(beginning.as_bytes());
        connection.write(&[b'x'; 9 * KIB]);
        let refused = connection.answer();
        assert_eq!(refused.status, status, "{}", refused.text());
        assert!(connection.is_closed_next(), "the connection goes on");
        malformed(&gateway, &refused);
    }
    assert_eq!(upstream.requests().len(), 1, "only the one within the limits");
    reader.get("/logs-*/_search").header("X-Filler", &"x".repeat(6 * KIB)).expect(200);
}

/// A document of so many bytes.
fn document(size: usize) -> Value {
    let frame = json!({"text": ""}).to_string().len();
    json!({"text": "x".repeat(size - frame)})
}

/// A query of so many bytes.
fn query(size: usize) -> Value {
    let frame = json!({"query": {"match": {"message": ""}}}).to_string().len();
    json!({"query": {"match": {"message": "x".repeat(size - frame)}}})
}

fn too_large(gateway: &Gateway, answer: &Answer) {
    assert_eq!(answer.status, 413, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["status"], &body["error"]["type"]), (&json!(413), &json!("content_too_long_exception")));
    assert!(body["error"]["reason"].as_str().is_some_and(|reason| reason.contains("limit of ")), "{body}");
    assert_eq!(answer.header("connection"), Some("close"), "nobody reads the rest");
    assert_eq!(gateway.audit_of(answer.request_id())["status"], 413);
}

fn malformed(gateway: &Gateway, answer: &Answer) {
    assert_eq!(answer.json()["status"], answer.status);
    assert_eq!(answer.header("connection"), Some("close"));
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["decision"], &event["status"]), (&json!("deny"), &json!(answer.status)));
}
