//! Bodies with gzip: read as the engine reads them or refused, forwarded as they came; and answers with gzip.

use std::io::Write;

use e2e::{Engine, Gateway, OnDrop, Request, Settings, Upstream};
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use serde_json::json;

const MIB: usize = 1024 * 1024;

fn settings() -> Settings {
    Settings::new()
        .client("both", &["read:logs-*", "write:app-logs-*", "read:app-logs-*"])
        .client("copier", &["read:logs-*", "write:app-logs-*"])
}

fn zipped(plain: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain.as_ref()).expect("memory");
    encoder.finish().expect("memory")
}

/// Documents of these numbers, to be put into `index`.
fn bulk(index: &str, numbers: std::ops::Range<u32>) -> String {
    let document = |number| {
        format!("{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{number}\"}}}}\n{{\"message\":\"hello {number}\"}}\n")
    };
    numbers.map(document).collect()
}

trait Gzip {
    fn gzip(self, body: Vec<u8>) -> Self;
}

impl Gzip for Request<'_> {
    fn gzip(self, body: Vec<u8>) -> Self {
        self.header("Content-Encoding", "gzip").body("application/json", body)
    }
}

/// What the engine makes of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Makes {
    /// It writes so many documents.
    Writes(u64),
    /// It answers with this status.
    Refuses(u16),
    /// It closes the connection without a word.
    Closes,
}

/// Bodies that some reader takes for more, less or something else than exactly two documents, and what the engine makes of
/// them.
fn unclear(index: &str) -> Vec<(&'static str, Makes, Vec<u8>)> {
    let (one, two) = (bulk(index, 0..1), bulk(index, 1..2));
    let good = zipped(format!("{one}{two}"));
    let cut_off = |count: usize| good[..good.len() - count].to_vec();
    let changed = |from_end: usize| {
        let mut body = good.clone();
        let at = body.len() - from_end;
        body[at] ^= 1;
        body
    };
    let commented = |builder: GzBuilder| {
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(format!("{one}{two}").as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    // Everything of the first document has come out when this is cut behind the flush.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(one.as_bytes()).expect("memory");
    encoder.flush().expect("memory");
    let after_one = encoder.get_ref().len();
    encoder.write_all(two.as_bytes()).expect("memory");
    let in_the_middle = encoder.finish().expect("memory")[..after_one].to_vec();
    vec![
        ("two members", Makes::Writes(2), [zipped(&one), zipped(&two)].concat()),
        ("a zero byte after the end", Makes::Writes(2), [good.as_slice(), b"\0"].concat()),
        ("a line after the end", Makes::Closes, [good.as_slice(), two.as_bytes()].concat()),
        ("no checksum", Makes::Writes(2), cut_off(8)),
        ("half a checksum", Makes::Writes(2), cut_off(6)),
        ("cut off in the middle", Makes::Writes(1), in_the_middle),
        ("another checksum", Makes::Closes, changed(8)),
        ("another length", Makes::Closes, changed(4)),
        ("a comment", Makes::Writes(2), commented(GzBuilder::new().comment("a comment"))),
        ("an extra field", Makes::Closes, commented(GzBuilder::new().extra(b"ab\x02\0cd".to_vec()))),
        ("not gzip at all", Makes::Closes, format!("{one}{two}").into_bytes()),
        ("nothing", Makes::Refuses(400), Vec::new()),
    ]
}

/// Nothing of these is forwarded to its end, whatever the engine would make of it. It writes what comes out of a body that
/// was cut off, so the gateway looks at the end.
#[test]
fn a_body_that_is_not_exactly_one_gzip_stream_is_refused() {
    let engine = Engine::get();
    let gateway = Gateway::start(settings());
    let index = "app-logs-e2e-gzip-unclear";
    let _remove = OnDrop(|| engine.delete_index(index));
    let written =
        || if engine.admin().get(&format!("/{index}")).send().status == 404 { 0 } else { engine.count(index) };
    for (what, expected, body) in unclear(index) {
        engine.delete_index(index);
        let admin = engine.admin();
        let mut connection = admin.connect();
        connection.write(&admin.post("/_bulk").gzip(body.clone()).bytes());
        let makes = match connection.answer_to("POST") {
            Ok(answer) if answer.status == 200 => Makes::Writes(written()),
            Ok(answer) => Makes::Refuses(answer.status),
            Err(_) => Makes::Closes,
        };
        assert_eq!(makes, expected, "{what}");
        if !matches!(makes, Makes::Writes(_)) {
            assert_eq!(written(), 0, "{what}");
        }

        engine.delete_index(index);
        let refused = gateway.with("both").post("/_bulk").gzip(body).send();
        assert_eq!(refused.status, 400, "{what}: {}", refused.text());
        assert_eq!(written(), 0, "{what}");
    }
}

#[test]
fn the_engine_gets_the_bytes_that_the_client_sent() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let both = gateway.with("both");
    let query = zipped(json!({"query": {"match_all": {}}}).to_string());
    let searches = zipped("{}\n{\"query\":{\"match_all\":{}}}\n");
    let named = {
        let mut encoder = GzBuilder::new().filename("bulk.ndjson").write(Vec::new(), Compression::best());
        encoder.write_all(bulk("app-logs-a", 0..100).as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    for (target, body) in [
        ("/_bulk", zipped(bulk("app-logs-a", 0..1_000))),
        ("/_bulk?named", named),
        ("/logs-a/_search", query.clone()),
        ("/logs-a/_count", query),
        ("/logs-a/_msearch", searches),
        ("/logs-a/_mget", zipped("{\"ids\":[\"1\"]}")),
        // Not read here.
        ("/app-logs-a/_doc", zipped("{\"message\":\"hello\"}")),
    ] {
        both.post(target).gzip(body.clone()).expect(200);
        let received = upstream.the_request_for(target);
        assert!(received.body.is_complete && received.body.bytes == body, "{target}");
        assert_eq!(received.header("content-encoding"), ["gzip"], "{target}");
        assert_eq!(received.header("content-length"), [body.len().to_string()], "{target}");
    }
}

#[test]
fn pieces_of_any_size_are_decided_as_the_whole() {
    let upstream = Upstream::start(|turn| {
        if turn.read_body().is_complete {
            turn.write(&e2e::json_answer(200, "{\"errors\":false}"));
        }
    });
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let both = gateway.with("both");
    let inside = zipped(bulk("app-logs-a", 0..2_000));
    let outside = zipped(bulk("app-logs-a", 0..2_000) + &bulk("pii-customers", 0..1) + &bulk("app-logs-a", 0..2_000));
    for size in [1, 3, 100, 4_000] {
        let send = |body: &[u8], target: &str| {
            let mut connection = both.connect();
            let authorization = both.authorization().expect("a token");
            connection.write(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
            let mut frames: Vec<u8> = body
                .chunks(size)
                .flat_map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
                .collect();
            frames.extend_from_slice(b"0\r\n\r\n");
            let _ = connection.try_write(&frames);
            connection.answer()
        };
        let good = format!("/_bulk?inside={size}");
        assert_eq!(send(&inside, &good).status, 200);
        assert_eq!(upstream.the_request_for(&good).body.bytes, inside);
        let bad = format!("/_bulk?outside={size}");
        let refused = send(&outside, &bad);
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(upstream.requests_for(&bad).iter().all(|request| !request.body.is_complete));
    }
}

#[test]
fn every_kind_of_body_is_decided_by_what_comes_out() {
    let engine = Engine::get();
    let gateway = Gateway::start(settings());
    let both = gateway.with("both");
    let index = "app-logs-e2e-gzip";
    engine.delete_index(index);
    let _remove = OnDrop(|| engine.delete_index(index));
    let customers = engine.count("pii-customers");

    let answer = both.post("/_bulk?refresh=true").gzip(zipped(bulk(index, 0..3_000))).expect(200).json();
    assert_eq!((&answer["errors"], engine.count(index)), (&json!(false), 3_000));
    for encoding in ["x-gzip", "GZip"] {
        let body = zipped(json!({"query": {"term": {"_id": "7"}}}).to_string());
        let request = both.post(&format!("/{index}/_count")).header("Content-Encoding", encoding);
        assert_eq!(request.body("application/json", body).expect(200).json()["count"], 1, "{encoding}");
    }
    let ids = zipped(json!({"docs": [{"_index": index, "_id": "1"}, {"_index": index, "_id": "2999"}]}).to_string());
    let found = both.post("/_mget").gzip(ids).expect(200).json();
    assert!(found["docs"].as_array().is_some_and(|docs| docs.iter().all(|doc| doc["found"] == true)), "{found}");
    let searches = format!("{{\"index\":\"{index}\"}}\n{{\"size\":0}}\n{{\"index\":\"logs-app-*\"}}\n{{\"size\":0}}\n");
    let found = both.post("/_msearch").gzip(zipped(searches)).expect(200).json();
    assert!(found["responses"].as_array().is_some_and(|all| all.iter().all(|one| one["status"] == 200)), "{found}");

    let lookup = json!({"query": {"terms": {"email": {"index": "pii-customers", "id": "000001", "path": "email"}}}});
    let copy = json!({"source": {"index": "pii-customers"}, "dest": {"index": index}});
    for (client, target, body) in [
        ("both", "/_bulk", bulk(index, 0..10) + &bulk("pii-customers", 0..1)),
        ("both", "/_msearch", "{}\n{}\n".to_owned()),
        ("both", "/_msearch", "{\"index\":\"logs-*\"}\n{}\n{\"index\":\"pii-*\"}\n{}\n".to_owned()),
        ("both", "/_mget", json!({"docs": [{"_index": "pii-customers", "_id": "000001"}]}).to_string()),
        ("both", "/logs-*/_search", lookup.to_string()),
        ("copier", "/_reindex", copy.to_string()),
    ] {
        let refused = gateway.with(client).post(target).gzip(zipped(&body)).expect(403);
        assert_eq!(refused.json()["error"]["type"], "security_exception", "{target}: {}", refused.text());
        // And by the engine, when the gateway's own decision is switched off.
        walled(client, target, &body);
    }
    assert_eq!((engine.count("pii-customers"), engine.count(index)), (customers, 3_000));
}

/// The engine refuses the same, or the part of it that is outside.
fn walled(client: &str, target: &str, body: &str) {
    thread_local! {
        static BARE: Gateway = Gateway::start(settings().engine_decides());
    }
    let answer = BARE.with(|gateway| gateway.with(client).post(target).gzip(zipped(body)).send());
    assert!(answer.text().contains("security_exception"), "{target}: {} {}", answer.status, answer.text());
}

#[test]
fn other_encodings_are_refused_where_the_body_is_read_and_pass_where_it_is_not() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let both = gateway.with("both");
    let send = |target: &str, encoding: &str| {
        let body = zipped(bulk("app-logs-a", 0..1));
        both.post(target).header("Content-Encoding", encoding).body("application/json", body).send()
    };
    for encoding in
        ["deflate", "br", "zstd", "snappy", "gzip, gzip", "identity, gzip", "gzip;q=1", "unknown", "\"gzip\""]
    {
        let refused = send("/_bulk", encoding);
        assert_eq!(refused.status, 415, "{encoding}: {}", refused.text());
        assert_eq!(send("/app-logs-a/_doc", encoding).status, 200, "{encoding}");
    }
    let body = zipped(bulk("app-logs-a", 0..1));
    let twice = both.post("/_bulk").header("Content-Encoding", "gzip").gzip(body);
    twice.expect(400);
    assert!(upstream.requests_for("/_bulk").is_empty(), "something of it left the gateway");
}

#[test]
fn what_grows_too_large_is_stopped_in_bounded_memory() {
    let upstream = Upstream::start(|turn| {
        if turn.discard_body().is_complete {
            turn.write(&e2e::json_answer(200, "{\"errors\":false}"));
        }
    });
    let gateway = Gateway::start(
        settings()
            .upstream(&upstream.url())
            .limit("decompressed_body", json!("32MiB"))
            .limit("inspected_body", json!("1MiB")),
    );
    let both = gateway.with("both");
    // Once in small, so that what is allocated for good is allocated.
    both.post("/_bulk?small").gzip(zipped(bulk("app-logs-a", 0..10))).expect(200);

    // A line that never ends, and actions without an end.
    let endless_line = bomb(b"{\"index\":{\"_index\":\"app-logs-a\"}}\n{\"a\":\"", &vec![b'a'; MIB], 48);
    let lines = b"{\"index\":{\"_index\":\"app-logs-a\"}}\n{}\n".repeat(MIB / 36);
    let endless_lines = bomb(b"", &lines, 48);
    assert!(endless_line.len() < MIB && endless_lines.len() < MIB);
    gateway.reset_peak();
    let (before, _) = gateway.resident_kib();
    for (what, body) in [("line", endless_line), ("lines", endless_lines)] {
        let target = format!("/_bulk?endless={what}");
        let refused = both.post(&target).gzip(body).send();
        assert_eq!((refused.status, refused.text().contains("decompressed")), (413, true), "{}", refused.text());
        assert!(upstream.requests_for(&target).iter().all(|request| !request.body.is_complete));
    }
    let (_, peak) = gateway.resident_kib();
    assert!(peak < before + 8 * 1024, "{before} KiB before, {peak} KiB at most");
    // Held as a whole, within the limit for that: sent and decompressed.
    let search = both.post("/logs-a/_search").gzip(bomb(b"{\"query\":\"", &vec![b'a'; MIB], 8)).send();
    assert_eq!(search.status, 413, "{}", search.text());
    assert!(upstream.requests_for("/logs-a/_search").is_empty());
    // An action line, of which one is held, is not a way round it.
    let line = both.post("/_bulk?line").gzip(bomb(b"{\"index\":{\"_index\":\"", &vec![b'a'; MIB], 8)).send();
    assert_eq!(line.status, 413, "{}", line.text());

    // At the limit, to the byte.
    let fill = |length: usize| {
        let start = "{\"index\":{\"_index\":\"app-logs-a\"}}\n{\"a\":\"";
        format!("{start}{}\"}}\n", "a".repeat(length - start.len() - 3))
    };
    both.post("/_bulk?at-the-limit").gzip(zipped(fill(32 * MIB))).expect(200);
    both.post("/_bulk?over").gzip(zipped(fill(32 * MIB + 1))).expect(413);
}

/// A start, and then the same so many times.
fn bomb(start: &[u8], piece: &[u8], times: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(start).expect("memory");
    for _ in 0..times {
        encoder.write_all(piece).expect("memory");
    }
    encoder.finish().expect("memory")
}

#[test]
fn an_answer_with_gzip_passes_as_it_is() {
    let document = json!({"took": 1, "hits": {"hits": vec!["hello"; 100]}}).to_string();
    let answer = zipped(&document);
    let sent = answer.clone();
    let upstream = Upstream::start(move |turn| {
        turn.read_body();
        let field = |name: &str| turn.received.header(name).join(", ");
        if field("accept-encoding").contains("gzip") {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\nvary: accept-encoding\r\n";
            if turn.received.target.contains("chunked") {
                let (first, rest) = sent.split_at(20);
                turn.write(format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n", first.len()).as_bytes());
                turn.write(first);
                turn.write(format!("\r\n{:x}\r\n", rest.len()).as_bytes());
                turn.write(rest);
                turn.write(b"\r\n0\r\n\r\n");
            } else {
                turn.write(format!("{head}content-length: {}\r\n\r\n", sent.len()).as_bytes());
                turn.write(&sent);
            }
        } else {
            turn.write(&e2e::json_answer(200, &document));
        }
    });
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let both = gateway.with("both");
    for target in ["/logs-a/_search", "/logs-chunked/_search"] {
        for accepted in ["gzip", "gzip, deflate, br", "gzip;q=0.5"] {
            let got = both.get(target).header("Accept-Encoding", accepted).expect(200);
            assert_eq!((got.body.as_slice(), got.header("content-encoding")), (answer.as_slice(), Some("gzip")));
            assert_eq!(got.header("vary"), Some("accept-encoding"));
            assert_eq!(upstream.requests().last().expect("a request").header("accept-encoding"), [accepted]);
        }
        let got = both.get(target).expect(200);
        assert_eq!((got.json()["took"].clone(), got.header("content-encoding")), (json!(1), None));
        assert!(upstream.requests().last().expect("a request").header("accept-encoding").is_empty());
    }
}
