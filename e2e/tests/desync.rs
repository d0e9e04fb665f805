//! Bodies whose length can be read in two ways, each followed by a whole request on the same connection: the answers,
//! whether the connection goes on, and every byte that reached the engine's place, compared with what was rightly sent.

use std::time::Duration;

use e2e::until;
use stage::Stage;

#[path = "desync/stage.rs"]
mod stage;

const GET: &str = "GET /logs-a/_search HTTP/1.1";
const POST: &str = "POST /logs-a/_search HTTP/1.1";
const WRITE: &str = "POST /app-logs-a/_doc HTTP/1.1";
const CHUNKED: &str = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";

#[test]
fn lengths_that_can_be_read_in_two_ways() {
    let mut stage = Stage::new();
    let smuggled = "GET /pii-customers/_search HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 0\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nContent-Length: 48\r\n",
        "Content-Length: 48\r\ncontent-length: 48\r\n",
        "Content-Length: 48, 48\r\n",
        "Content-Length: 0,48\r\n",
        "Content-Length: 48,\r\n",
        "Content-Length: ,48\r\n",
        "Content-Length: +48\r\n",
        "Content-Length: -0\r\n",
        "Content-Length: 4 8\r\n",
        "Content-Length: 4_8\r\n",
        "Content-Length: 0x30\r\n",
        "Content-Length: 30h\r\n",
        "Content-Length: 48.0\r\n",
        "Content-Length: 4e1\r\n",
        "Content-Length: \"48\"\r\n",
        "Content-Length: \u{664}\u{668}\r\n",
        "Content-Length: \x0b48\r\n",
        "Content-Length: 48\x0c\r\n",
        "Content-Length: 4\t8\r\n",
        "Content-Length:\r\n 48\r\n",
        "Content-Length\t: 48\r\n",
        "Content-Length\x0b: 48\r\n",
        "Content-Length\0: 48\r\n",
        "\tContent-Length: 48\r\n",
        "Content-Length: 4294967344\r\nContent-Length: 48\r\n",
        "Content-Length: 18446744073709551664\r\n",
        "Content-Length: 0000000000000000000048\r\n",
        "Content-Length: 48\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 48\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-Encoding: xchunked\r\nContent-Length: 48\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 48\r\n",
        "Transfer-Encoding:\r\nContent-Length: 48\r\n",
        "Transfer-Encoding : chunked\r\nContent-Length: 48\r\n",
        "Transfer-Encoding\t: chunked\r\nContent-Length: 48\r\n",
        "Transfer-Encoding\x0b: chunked\r\nContent-Length: 48\r\n",
        "X: a\nTransfer-Encoding: chunked\r\nContent-Length: 48\r\n",
        "X: a\rTransfer-Encoding: chunked\r\nContent-Length: 48\r\n",
        "Transfer-Encoding: chunked\n\r\n",
        "Transfer-Encoding: chunked\r\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding: chunked\r\n , identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: , chunked\r\n",
        "Transfer-Encoding: chunked x\r\n",
        "Transfer-Encoding: x chunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunk\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: 'chunked'\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: \x0cchunked\r\n",
        "Transfer-Encoding: chunked\x0b\r\n",
        "Transfer-Encoding: \0chunked\r\n",
        "Transfer-Encoding: \u{a0}chunked\r\n",
        "Transfer-Encoding: chun\u{212a}ed\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: deflate\r\nTransfer-Encoding: chunked\r\n",
    ] {
        for line in [POST, WRITE] {
            let body = if fields.contains("hunked") { format!("0\r\n\r\n{smuggled}") } else { smuggled.to_owned() };
            let bytes = stage.request(line, fields, &body);
            stage.refused(fields, &bytes, 400, true);
        }
    }
    for fields in [CHUNKED, "Transfer-Encoding: identity\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"] {
        let bytes = stage.request("POST /logs-a/_search HTTP/1.0", fields, "0\r\n\r\n");
        stage.refused(&format!("HTTP/1.0 {fields}"), &bytes, 400, true);
    }
    stage.finish();
}

#[test]
fn bodies_that_are_read_in_one_way_reach_the_engine_in_one_way() {
    let mut stage = Stage::new();
    let json = "Content-Type: application/json\r\n";
    let two = "content-length: 2\r\n";
    let long = format!("1;{}\r\n{{\r\n1\r\n}}\r\n0\r\n\r\n", "x".repeat(250));
    for (fields, body) in [
        ("Content-Length: 2\r\n", "{}"),
        ("Content-Length:2\r\n", "{}"),
        ("Content-Length: \t 2 \t \r\n", "{}"),
        ("cOnTeNt-LeNgTh: 002\r\n", "{}"),
        ("Content_Length: 48\r\nContent-Length: 2\r\n", "{}"),
        ("Transfer_Encoding: chunked\r\nTransfer.Encoding: chunked\r\nContent-Length: 2\r\n", "{}"),
        ("Connection: content-length\r\nContent-Length: 2\r\n", "{}"),
        ("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding:\tchunked\t\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
        ("tRANSFER-eNCODING: ChUnKeD\r\n", "2;\r\n{}\r\n0;last\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer_Encoding: identity\r\n", "000000000000002\r\n{}\r\n000\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "2;a=\"b;\t c\"\r\n{}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", &long),
        ("Transfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\nContent-Length: 48\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            "Transfer-Encoding: chunked\r\n",
            "2\r\n{}\r\n0\r\nAuthorization: Basic YTpi\r\nHost: b\r\nX-Proxy-User: a\r\n\r\n",
        ),
    ] {
        let bytes = stage.request(POST, &format!("{json}{fields}"), body);
        let expected = stage.forwarded(POST, json, two, "{}");
        stage.check(&format!("{fields} {body}"), &bytes, &[200], false, &expected);
        // A body that is passed on as it comes keeps the coding, and nothing else of it.
        let is_chunked = body.contains('\r');
        let (framing, body_out) = match body.starts_with("1") {
            _ if !is_chunked => (two, "{}"),
            true => ("transfer-encoding: chunked\r\n", "1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
            false => ("transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n"),
        };
        let bytes = stage.request(WRITE, &format!("{json}{fields}"), body);
        let expected = stage.forwarded(WRITE, json, framing, body_out);
        stage.check(&format!("write {fields} {body}"), &bytes, &[200], false, &expected);
    }
    // A length in a name nobody reads is none: what follows is a request of its own.
    let hidden = stage.request("GET /pii-customers/_search HTTP/1.1", "", "");
    for name in ["Content_Length", "Content.Length", "Content-Length-", "_Content-Length"] {
        let fields = format!("{name}: {}\r\n", hidden.len());
        let bytes = [stage.request(GET, &fields, ""), hidden.clone()].concat();
        let expected = stage.forwarded(GET, "", "", "");
        stage.check(name, &bytes, &[200, 403], false, &expected);
    }
    // A request within a body is a body.
    let inner = String::from_utf8(stage.request(GET, "", "")).expect("text");
    let length = format!("Content-Length: {}\r\n", inner.len());
    let bytes = stage.request(WRITE, &length, &inner);
    let expected = stage.forwarded(WRITE, "", &length.to_lowercase(), &inner);
    stage.check("a request in a body", &bytes, &[200], false, &expected);
    for (line, status) in [
        ("POST /pii-customers/_doc HTTP/1.1", 403),
        ("GET /oauth/jwks HTTP/1.1", 200),
        ("GET /logs-a/_no_such HTTP/1.1", 403),
    ] {
        let bytes = stage.request(line, &length, &inner);
        stage.check(line, &bytes, &[status], false, b"");
    }
    let bytes = format!("{WRITE}\r\nHost: a\r\nAuthorization: Bearer x\r\n{length}\r\n{inner}").into_bytes();
    stage.check("a request in a body without a right", &bytes, &[401], false, b"");
    stage.finish();
}

#[test]
fn chunks_that_can_be_read_in_two_ways() {
    let long_extension = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(300));
    let long_trailer = format!("2\r\n{{}}\r\n0\r\nX: {}\r\n\r\n", "x".repeat(9000));
    let many_trailers = format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(2000));
    let cases = [
        "+2\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2h\r\n{}\r\n0\r\n\r\n",
        "\"2\"\r\n{}\r\n0\r\n\r\n",
        "2_\r\n{}\r\n0\r\n\r\n",
        "2,2\r\n{}\r\n0\r\n\r\n",
        " 2\r\n{}\r\n0\r\n\r\n",
        "2 \r\n{}\r\n0\r\n\r\n",
        "2\t\r\n{}\r\n0\r\n\r\n",
        "2 ;a\r\n{}\r\n0\r\n\r\n",
        "\r\n2\r\n{}\r\n0\r\n\r\n",
        ";a\r\n{}\r\n0\r\n\r\n",
        "2\n{}\r\n0\r\n\r\n",
        "2\r{}\r\n0\r\n\r\n",
        "2\r\r\n{}\r\n0\r\n\r\n",
        "2;a\n{}\r\n0\r\n\r\n",
        "2;a\rb\r\n{}\r\n0\r\n\r\n",
        "2;\0\r\n{}\r\n0\r\n\r\n",
        "2;\u{e4}\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}0\r\n\r\n",
        "2\r\n{}\n0\r\n\r\n",
        "2\r\n{}\r0\r\n\r\n",
        "2\r\n{}\r\r\n0\r\n\r\n",
        "2\r\n{}x\r\n0\r\n\r\n",
        "3\r\n{}\r\n0\r\n\r\n",
        "1\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}\r\n0\n\n",
        "2\r\n{}\r\n0\r\n\n",
        "2\r\n{}\r\n0\r\rX",
        "2\r\n{}\r\n0\r\nX: y\nZ: a\r\n\r\n",
        "2\r\n{}\r\n0\r\nX: y\rZ: a\r\n\r\n",
        "2\r\n{}\r\n0\r\nX: \0\r\n\r\n",
        "2\r\n{}\r\n-0\r\n\r\n",
        "0000000000000002\r\n{}\r\n0\r\n\r\n",
        "10000000000000002\r\n{}\r\n0\r\n\r\n",
        "fffffffffffffffe\r\n{}\r\n0\r\n\r\n",
        "8000000000000000\r\n{}\r\n0\r\n\r\n",
        &long_extension,
        &long_trailer,
        &many_trailers,
    ];
    let mut stage = Stage::new();
    for chunks in cases {
        for line in [POST, WRITE] {
            let bytes = stage.request(line, CHUNKED, chunks);
            stage.refused(chunks, &bytes, 400, true);
        }
    }
    stage.finish();
}

#[test]
fn what_breaks_after_it_has_begun_to_pass_is_never_whole() {
    let stage = Stage::new();
    let before = stage.upstream.captured();
    let cases = ["0x0\r\n\r\n", "-0\r\n\r\n", "0\n\n", "0\r\n\n", "0 \r\n\r\n", "2\r\n{}0\r\n\r\n", "\r\n0\r\n\r\n"];
    for (number, chunks) in cases.into_iter().enumerate() {
        let mut connection = stage.client.connect();
        connection.write(&stage.request(WRITE, CHUNKED, "2\r\n{}\r\n"));
        until("the request", Duration::from_secs(10), || {
            (stage.upstream.requests_for("/app-logs-a/_doc").len() == number + 1).then_some(())
        });
        connection.write(&[chunks.as_bytes(), &stage.request(GET, "", "")].concat());
        let answer = connection.answer();
        assert_eq!((answer.status, connection.is_closed_next()), (400, true), "{chunks:?}: {}", answer.text());
    }
    let head =
        stage.forwarded(WRITE, "Content-Type: application/json\r\n", "transfer-encoding: chunked\r\n", "2\r\n{}\r\n");
    drop(stage.gateway);
    stage.upstream.wait_for_open_connections(0);
    for (number, bytes) in stage.upstream.captured() {
        let rest = &bytes[before.get(&number).map_or(0, Vec::len)..];
        assert_eq!(String::from_utf8_lossy(rest), String::from_utf8_lossy(&head), "connection {number}");
    }
    assert_eq!(stage.upstream.requests().len(), 1 + cases.len());
}
