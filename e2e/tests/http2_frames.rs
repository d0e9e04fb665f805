//! HTTP/2 as nobody's library sends it: heads that could mean something else behind the gateway, and floods.

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, header_block,
};
use e2e::{Client, Engine, Gateway, Settings, Upstream, until};
use serde_json::{Value, json};

/// Error codes (RFC 9113 section 7).
const CANCEL: u32 = 8;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What a gateway may hold for one connection, whatever comes on it.
const EXTRA_KIB: u64 = 8 * 1024;

type Field<'a> = (&'a [u8], &'a [u8]);

struct Stage {
    upstream: Upstream,
    gateway: Gateway,
    client: Client,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// An answer with this status in its JSON, or 200.
    Answered(u64),
    Reset(u32),
    /// The whole connection is given up.
    GoneAway(u32),
    Closed,
}

impl Stage {
    fn new() -> Self {
        Self::before(Upstream::obliging(), |settings| settings)
    }

    fn before(upstream: Upstream, with: impl FnOnce(Settings) -> Settings) -> Self {
        let settings = Settings::new().client("both", &["read:logs-*", "write:app-logs-*"]).upstream(&upstream.url());
        let gateway = Gateway::start(with(settings));
        let client = gateway.with("both");
        Self { upstream, gateway, client }
    }

    fn authorization(&self) -> Field<'_> {
        (b"authorization", self.client.authorization().expect("a token").as_bytes())
    }

    /// A search's head with further fields.
    fn search(&self, more: &[Field<'_>]) -> Vec<u8> {
        self.search_at(b"/logs-a/_search", more)
    }

    fn search_at(&self, path: &[u8], more: &[Field<'_>]) -> Vec<u8> {
        let mut fields: Vec<Field<'_>> = vec![
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", path),
            (b":authority", b"localhost"),
            self.authorization(),
        ];
        fields.extend_from_slice(more);
        header_block(&fields)
    }

    /// Sends a head, and a body if there is one, on a connection of its own.
    fn ask(&self, block: &[u8], body: &[u8]) -> Outcome {
        let mut frames = Frames::open(&self.client);
        // A frame holds 16 KiB.
        let (first, rest) = block.split_at(block.len().min(16 * 1024));
        let flags = if body.is_empty() { END_STREAM } else { 0 } | if rest.is_empty() { END_HEADERS } else { 0 };
        frames.write(HEADERS, flags, 1, first);
        if !rest.is_empty() {
            frames.write(CONTINUATION, END_HEADERS, 1, rest);
        }
        if !body.is_empty() {
            let _ = frames.try_write(DATA, END_STREAM, 1, body);
        }
        outcome(&mut frames)
    }

    fn serves(&self) {
        assert_eq!(self.ask(&self.search(&[]), b""), Outcome::Answered(200));
    }

    /// What the engine has to get of a search by GET with these fields of the client, and nothing else.
    fn forwarded(&self, kept: &str) -> String {
        let (host, identity) =
            (self.upstream.authority(), self.upstream.requests()[0].header("authorization").concat());
        format!(
            "GET /logs-a/_search HTTP/1.1\r\nhost: {host}\r\n{kept}x-opaque-id: d\r\nauthorization: {identity}\r\n\r\n"
        )
    }

    /// The bytes that reached the engine since then.
    fn reached_since(&self, before: &BTreeMap<usize, Vec<u8>>) -> String {
        let now = self.upstream.captured();
        let new = |(number, bytes): (&usize, &Vec<u8>)| bytes[before.get(number).map_or(0, Vec::len)..].to_vec();
        String::from_utf8(now.iter().flat_map(new).collect()).expect("text")
    }
}

/// Waits for what becomes of the request on stream 1.
fn outcome(frames: &mut Frames) -> Outcome {
    let mut body = Vec::new();
    while let Ok(frame) = frames.receive() {
        match frame.kind {
            DATA => body.extend(frame.payload.clone()),
            RST_STREAM => return Outcome::Reset(frame.error_code()),
            GOAWAY => return Outcome::GoneAway(frame.error_code()),
            _ => {}
        }
        if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
            let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
            return Outcome::Answered(answer["status"].as_u64().unwrap_or(200));
        }
    }
    Outcome::Closed
}

#[test]
fn what_could_be_read_in_two_ways_behind_the_gateway_is_refused() {
    let stage = Stage::new();
    stage.serves();
    let authorization = stage.authorization();
    let (method, scheme, path, authority): (Field<'_>, Field<'_>, Field<'_>, Field<'_>) =
        ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/logs-a/_search"), (b":authority", b"localhost"));
    let fields: &[Field<'_>] = &[
        (b"connection", b"close"),
        (b"connection", b"x-opaque-id"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"websocket"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"keep-alive"),
        (b"te", b"gzip"),
        (b"te", b"trailers, deflate"),
        (b"X-Upper", b"a"),
        (b"x-line", b"a\r\nx-other: b"),
        (b"x-line", b"a\nx-other: b"),
        (b"x-line", b"a\rb"),
        (b"x-null", b"a\0b"),
        (b"x-line\r\nx-other", b"a"),
        (b"x:colon", b"a"),
        (b"x space", b"a"),
        (b"", b"a"),
        (b":unknown", b"a"),
        (b":path", b"/logs-b/_search"),
        (b":method", b"DELETE"),
        (b":status", b"200"),
        (b":protocol", b"websocket"),
        (b"content-length", b"5"),
        (b"content-length", b"-1"),
        (b"content-length", b"0x0"),
        (b"content-length", b"0, 0"),
    ];
    let mut wrong = Vec::new();
    let captured = stage.upstream.captured();
    for field in fields {
        let outcome = stage.ask(&stage.search(&[*field]), b"");
        if !matches!(outcome, Outcome::Reset(_) | Outcome::GoneAway(_)) {
            wrong.push(format!("{:?}: {outcome:?}", String::from_utf8_lossy(field.0)));
        }
    }
    // Pseudo-header fields that are missing, repeated, empty or out of place.
    let heads: &[&[Field<'_>]] = &[
        &[scheme, path, authority],
        &[method, path, authority],
        &[method, scheme, authority],
        &[method, scheme, (b":path", b""), authority],
        &[method, method, scheme, path, authority],
        &[method, scheme, path, path, authority],
        &[method, scheme, path, authority, authority],
        &[method, scheme, path, authority, (b"x", b"y"), (b":authority", b"other")],
        &[(b"x", b"y"), method, scheme, path, authority],
        &[(b":method", b"GET / HTTP/1.1\r\nx: y\r\n\r\nGET"), scheme, path, authority],
        &[(b":method", b"G T"), scheme, path, authority],
        &[method, scheme, (b":path", b"/logs-a/_search HTTP/1.1\r\nx: y\r\n\r\n"), authority],
        &[method, scheme, (b":path", b"/logs a/_search"), authority],
        &[method, scheme, (b":path", b"logs-a/_search"), authority],
        &[method, scheme, (b":path", b"http://other.example.com/logs-a/_search"), authority],
        &[method, scheme, path, (b":authority", b"localhost\r\nx: y")],
        &[method, scheme, path, (b":authority", b"local host")],
        &[(b":method", b"CONNECT"), (b":protocol", b"websocket"), scheme, path, authority],
    ];
    for head in heads {
        let head: Vec<Field<'_>> = head.iter().copied().chain([authorization]).collect();
        let outcome = stage.ask(&header_block(&head), b"");
        if !matches!(outcome, Outcome::Reset(_) | Outcome::GoneAway(_)) {
            let text: Vec<_> = head.iter().map(|(name, value)| (String::from_utf8_lossy(name), value.len())).collect();
            wrong.push(format!("{text:?}: {outcome:?}"));
        }
    }
    // A body that is not as long as was announced.
    for (length, body) in [(b"3", b"{}".as_slice()), (b"1", b"{}")] {
        let json: Field<'_> = (b"content-type", b"application/json");
        let head: Vec<Field<'_>> =
            vec![(b":method", b"POST"), scheme, path, authority, authorization, json, (b"content-length", length)];
        let outcome = stage.ask(&header_block(&head), body);
        if !matches!(outcome, Outcome::Reset(_) | Outcome::GoneAway(_)) {
            wrong.push(format!("{length:?} announced: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "not refused:\n{}", wrong.join("\n"));
    // Not even the head of one whose body is not as long as was announced: it is read whole before it goes on.
    assert_eq!(stage.reached_since(&captured), "", "the engine got something of what was refused");
    stage.serves();
}

#[test]
fn what_the_frames_allow_and_the_gateway_does_not_is_refused_in_its_words() {
    let stage = Stage::new();
    let authorization = stage.authorization();
    let (method, scheme, path, authority): (Field<'_>, Field<'_>, Field<'_>, Field<'_>) =
        ((b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/logs-a/_search"), (b":authority", b"localhost"));
    let long_path = [b"/logs-a/_search?q=".as_slice(), &[b'a'; 5000]].concat();
    let (long_value, many) = (vec![b'a'; 15 * 1024], vec![b'a'; 1500]);
    let cases: &[(&[Field<'_>], u64)] = &[
        (&[method, scheme, path, authority, (b"host", b"other.example.com")], 400),
        (&[method, scheme, path, authority, (b"host", b"localhost"), (b"host", b"localhost")], 400),
        (&[method, scheme, path, (b"host", b"a"), (b"host", b"a")], 400),
        (&[method, scheme, path], 400),
        (&[method, scheme, path, (b":authority", b"user@localhost")], 400),
        (&[method, (b":scheme", b"ftp"), path, authority], 400),
        (&[method, scheme, (b":path", b"?q=a"), authority], 400),
        (&[(b":method", b"OPTIONS"), scheme, (b":path", b"*"), authority], 400),
        (&[method, scheme, (b":path", b"/logs-a/../_cluster/health"), authority], 400),
        (&[method, scheme, (b":path", b"/logs-a/%2e%2e/_cluster/health"), authority], 400),
        (&[method, scheme, (b":path", b"/logs-\xc3\xa9/_search"), authority], 400),
        (&[method, scheme, path, authority, (b"content-length", b"0"), (b"content-length", b"0")], 400),
        (&[method, scheme, path, authority, (b"content-type", b"a/b"), (b"content-type", b"a/b")], 400),
        (&[(b":method", b"CONNECT"), authority], 405),
        (&[(b":method", b"TRACE"), scheme, path, authority], 405),
        (&[method, scheme, (b":path", &long_path), authority], 414),
        (&[method, scheme, path, authority, (b"x-long", &long_value), (b"x-more", &many)], 431),
        // These are in order.
        (&[method, scheme, path, authority, (b"host", b"LOCALHOST")], 200),
        (&[method, scheme, path, (b"host", b"localhost")], 200),
        (&[method, (b":scheme", b"http"), path, authority], 200),
        (&[method, scheme, path, authority, (b"te", b"trailers"), (b"cookie", b"a=1"), (b"cookie", b"b=2")], 200),
        (&[method, scheme, path, authority, (b"x-proxy-user", b"a"), (b"x-kept", b"a b")], 200),
    ];
    let mut wrong = Vec::new();
    stage.serves();
    for (head, status) in cases {
        let opaque_id: Field<'_> = (b"x-opaque-id", b"d");
        let head: Vec<Field<'_>> = head.iter().copied().chain([authorization, opaque_id]).collect();
        let captured = stage.upstream.captured();
        let outcome = stage.ask(&header_block(&head), b"");
        if outcome != Outcome::Answered(*status) {
            let text: Vec<_> = head.iter().map(|(name, value)| (String::from_utf8_lossy(name), value.len())).collect();
            wrong.push(format!("{text:?}: {outcome:?} instead of {status}"));
        }
        // The engine got this, byte for byte, or nothing.
        let kept = if head.iter().any(|(name, _)| *name == b"x-kept") { "x-kept: a b\r\n" } else { "" };
        let to_reach = if *status == 200 { stage.forwarded(kept) } else { String::new() };
        let reached = stage.reached_since(&captured);
        if reached != to_reach {
            wrong.push(format!("the engine got {reached:?}, not {to_reach:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn trailers_go_no_further() {
    let stage = Stage::new();
    let mut frames = Frames::open(&stage.client);
    let head: Vec<Field<'_>> = vec![
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/logs-a/_search"),
        (b":authority", b"localhost"),
        stage.authorization(),
        (b"content-type", b"application/json"),
    ];
    frames.write(HEADERS, END_HEADERS, 1, &header_block(&head));
    frames.write(DATA, 0, 1, b"{\"size\":0}");
    let trailers: &[Field<'_>] = &[(b"x-proxy-user", b"admin"), (b"authorization", b"Basic YTpi")];
    frames.write(HEADERS, END_HEADERS | END_STREAM, 1, &header_block(trailers));
    assert_eq!(outcome(&mut frames), Outcome::Answered(200));
    let received = stage.upstream.the_request_for("/logs-a/_search");
    assert_eq!(received.body.bytes, b"{\"size\":0}");
    assert_eq!(received.header("authorization").len(), 1);
    assert!(received.header("x-proxy-user").is_empty());
}

#[test]
fn more_streams_than_permitted_are_refused_one_by_one() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        if turn.received.target == "/logs-a/_search" {
            turn.wait_for_end();
        } else {
            turn.oblige();
        }
    });
    let stage = Stage::before(upstream, |settings| settings.limit("http2_streams", json!(8)));
    let mut frames = Frames::open(&stage.client);
    for number in 0..10 {
        frames.write(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &stage.search(&[]));
    }
    for _ in 0..2 {
        let reset = frames.find(RST_STREAM).expect("a refusal");
        assert_eq!(reset.error_code(), REFUSED_STREAM);
        assert!(reset.stream > 16, "{reset:?}");
    }
    assert_eq!(stage.upstream.requests().len().min(8), stage.upstream.requests().len());
}

#[test]
fn who_opens_streams_only_to_reset_them_is_sent_away() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        if turn.received.target == "/logs-slow/_search" {
            turn.wait_for_end();
        } else {
            turn.oblige();
        }
    });
    let stage = Stage::before(upstream, |settings| settings);
    // All at once, and one after the other, each after the gateway has begun with it.
    for waits in [false, true] {
        let mut frames = Frames::open(&stage.client);
        // No answer may come before the client gives it up.
        let block = stage.search_at(b"/logs-slow/_search", &[]);
        let mut goaway = None;
        for number in 0..400_u32 {
            let stream = 2 * number + 1;
            let sent = frames
                .try_write(HEADERS, END_HEADERS | END_STREAM, stream, &block)
                .and_then(|()| if waits { frames.try_write(PING, 0, 0, &[7; 8]) } else { Ok(()) });
            if sent.is_err() {
                break;
            }
            while waits && goaway.is_none() {
                match frames.receive() {
                    Ok(frame) if frame.kind == PING && frame.flags == 1 => break,
                    Ok(frame) if frame.kind == GOAWAY => goaway = Some(frame),
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
            if goaway.is_some() || frames.try_write(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).is_err() {
                break;
            }
        }
        // The word may be lost when the connection is closed on what was sent meanwhile.
        if let Some(goaway) = goaway.or_else(|| frames.find(GOAWAY)) {
            assert_eq!(goaway.error_code(), ENHANCE_YOUR_CALM, "waits: {waits}");
        }
    }
    stage.serves();
}

#[test]
fn floods_are_cut_off_or_wait_and_memory_is_bounded() {
    let stage = Stage::new();
    stage.serves();
    // Each flood by itself: the bound is that of one connection, and what the allocator keeps of one is not the next one's.
    let bounded = |what: &str, flood: &dyn Fn()| {
        stage.gateway.reset_peak();
        let (before, _) = stage.gateway.resident_kib();
        flood();
        let (_, peak) = stage.gateway.resident_kib();
        assert!(peak < before + EXTRA_KIB, "{what}: {before} KiB before, {peak} KiB at most");
    };
    // The word may be lost when the connection is closed on what was sent meanwhile.
    let calm = |frames: &mut Frames, what: &str| {
        if let Some(goaway) = frames.find(GOAWAY) {
            assert_eq!(goaway.error_code(), ENHANCE_YOUR_CALM, "{what}");
        }
    };

    // A head that never ends (CVE-2024-27316 and its like).
    bounded("CONTINUATION", &|| {
        let mut frames = Frames::open(&stage.client);
        frames.write(HEADERS, END_STREAM, 1, &stage.search(&[]));
        let piece = header_block(&[(b"x-more", &[b'a'; 1000])]);
        while frames.try_write(CONTINUATION, 0, 1, &piece).is_ok() {}
        calm(&mut frames, "CONTINUATION");
    });

    // A small head that decodes to a large one: a field that is remembered once and named again and again.
    bounded("HPACK", &|| {
        let mut bomb = stage.search(&[]);
        let value = [b'a'; 4000];
        let literal = header_block(&[(b"x-bomb", &value)]);
        bomb.push(0x40);
        bomb.extend_from_slice(&literal[1..]);
        bomb.extend([0x80 | 62; 10_000]);
        let mut frames = Frames::open(&stage.client);
        frames.write(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
        calm(&mut frames, "HPACK");
    });

    // Frames that hold nothing.
    bounded("DATA", &|| {
        let mut frames = Frames::open(&stage.client);
        let head: Vec<Field<'_>> = vec![
            (b":method", b"POST"),
            (b":scheme", b"https"),
            (b":path", b"/_bulk"),
            (b":authority", b"localhost"),
            stage.authorization(),
            (b"content-type", b"application/x-ndjson"),
        ];
        frames.write(HEADERS, END_HEADERS, 1, &header_block(&head));
        for _ in 0..50_000 {
            if frames.try_write(DATA, 0, 1, b"").is_err() {
                break;
            }
        }
        calm(&mut frames, "DATA");
    });

    // Questions whose answers nobody reads: the gateway reads no further until they are.
    for (kind, payload) in [(PING, [7_u8; 8].as_slice()), (SETTINGS, &[])] {
        bounded(&format!("frames of type {kind}"), &|| {
            let mut frames = Frames::open(&stage.client);
            frames.connection().set_patience(Duration::from_secs(2));
            let mut sent = 0;
            while sent < 2_000_000 && frames.try_write(kind, 0, 0, payload).is_ok() {
                sent += 1;
            }
            assert!(sent < 2_000_000, "{kind}: somebody reads all that");
            stage.serves();
        });
    }
}

#[test]
fn who_does_not_begin_or_speaks_something_else_is_cut_off() {
    let stage = Stage::before(Upstream::obliging(), |settings| settings.limit("head_timeout", json!("1s")));
    // The preface alone, and then nothing of a stream: that is an idle connection. Nothing at all is not.
    let mut silent = stage.client.connect_http2();
    silent.set_patience(Duration::from_secs(20));
    let _ = silent.rest();
    let mut other = stage.client.connect_http2();
    other.write(b"GET /logs-a/_search HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let said = other.rest().unwrap_or_default();
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/1.1"), "{said:?}");
    // A body that stops is as slow as by HTTP/1.1.
    let slow = Stage::before(Upstream::obliging(), |settings| settings.limit("body_timeout", json!("1s")));
    let mut frames = Frames::open(&slow.client);
    let head: Vec<Field<'_>> = vec![
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/logs-a/_search"),
        (b":authority", b"localhost"),
        slow.authorization(),
        (b"content-type", b"application/json"),
    ];
    frames.write(HEADERS, END_HEADERS, 1, &header_block(&head));
    frames.write(DATA, 0, 1, b"{\"size\"");
    assert!(matches!(outcome(&mut frames), Outcome::Answered(408) | Outcome::Reset(_)));
    assert!(slow.upstream.requests().is_empty());
    slow.serves();
    stage.serves();
}

/// Searches that take minutes: each document keeps a script busy.
fn endless_search() -> Value {
    let source = "long n = 0; for (int i = 0; i < 100000; i++) { n += i % 7 } return n > 0;";
    json!({"size": 0, "query": {"script": {"script": {"lang": "painless", "source": source}}}})
}

#[test]
fn a_stream_that_is_reset_takes_its_search_in_the_engine_with_it() {
    let engine = Engine::get();
    let gateway = Gateway::start(Settings::new().client("reader", &["read:logs-*"]));
    let client = gateway.with("reader");
    let id = format!("e2e-resets-{}", std::process::id());
    let mut frames = Frames::open(&client);
    let fields: Vec<Field<'_>> = vec![
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/logs-*/_search?request_cache=false"),
        (b":authority", b"localhost"),
        (b"authorization", client.authorization().expect("a token").as_bytes()),
        (b"content-type", b"application/json"),
        (b"x-opaque-id", id.as_bytes()),
    ];
    frames.write(HEADERS, END_HEADERS, 1, &header_block(&fields));
    frames.write(DATA, END_STREAM, 1, endless_search().to_string().as_bytes());
    let tasks = || -> Vec<Value> {
        let answer = engine.admin().get("/_tasks?detailed=true").expect(200).json();
        let nodes = answer["nodes"].as_object().expect("nodes").values();
        let tasks = nodes.flat_map(|node| node["tasks"].as_object().expect("tasks").values());
        tasks.filter(|task| task["headers"]["X-Opaque-Id"] == id.as_str()).cloned().collect()
    };
    until("the search's task", Duration::from_secs(20), || (!tasks().is_empty()).then_some(()));
    frames.write(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
    until("the search to be cancelled", Duration::from_secs(30), || {
        let tasks = tasks();
        (tasks.is_empty() || tasks.iter().any(|task| task["cancelled"] == true)).then_some(())
    });
    until("the search's task to be gone", Duration::from_secs(120), || tasks().is_empty().then_some(()));
    let event = gateway.audit_where("the search that was left", |event| event["opaque_id"] == id.as_str());
    assert_eq!((&event["decision"], &event["status"]), (&json!("allow"), &Value::Null), "{event}");
    // The connection is as good as before.
    let fields: Vec<Field<'_>> = vec![
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/logs-*/_count"),
        (b":authority", b"localhost"),
        (b"authorization", client.authorization().expect("a token").as_bytes()),
    ];
    frames.write(HEADERS, END_HEADERS | END_STREAM, 3, &header_block(&fields));
    assert_eq!(outcome(&mut frames), Outcome::Answered(200));
}
