//! HTTP/2 in: requests go the way they go by HTTP/1.1, many at once, and each ends for itself.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use e2e::http2::{self, Frames, GOAWAY, Http2};
use e2e::{Client, Engine, Gateway, Settings, Turn, Upstream, json_answer, until};
use oauth4os_tokens::id::sha256;
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings::new().client("both", &["read:logs-*", "write:app-logs-*"])
}

/// A gateway before a server with this script, and a client.
fn stage(script: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> (Upstream, Gateway, Client) {
    let upstream = Upstream::start(script);
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let client = gateway.with("both");
    (upstream, gateway, client)
}

fn bulk(index: &str, documents: usize) -> Bytes {
    let message = "0123456789abcdef".repeat(60);
    let mut body = String::new();
    for number in 0..documents {
        body.push_str(&format!("{{\"index\":{{\"_index\":\"{index}\",\"_id\":\"{number}\"}}}}\n"));
        body.push_str(&format!("{{\"message\":\"{message}\",\"number\":{number}}}\n"));
    }
    body.into()
}

#[test]
fn the_engine_is_searched_and_written_to() {
    let gateway = Gateway::start(settings());
    let index = format!("app-logs-http2-{}", std::process::id());
    let client = gateway.with("both");
    http2::run(async {
        let http2 = Http2::open(&client).await;
        let search = http2.request("POST", "/logs-*/_search").header("content-type", "application/json");
        let query = json!({"size": 1, "track_total_hits": true}).to_string();
        let answer = http2.send(search, query.clone()).await.expect("an answer");
        let same = client.post("/logs-*/_search").body("application/json", query).expect(200);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["hits"]["total"], same.json()["hits"]["total"]);
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&event["operation"], &event["decision"]), (&json!("search"), &json!("allow")), "{event}");

        // With its length and without: 8 MiB each.
        let body = bulk(&index, 8_000);
        for length in [None, Some(body.len())] {
            let mut request =
                http2.request("POST", "/_bulk?refresh=true").header("content-type", "application/x-ndjson");
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let answer = http2.send(request, body.clone()).await.expect("an answer");
            assert_eq!((answer.status, &answer.json()["errors"]), (200, &json!(false)), "{length:?}");
            assert_eq!(answer.json()["items"].as_array().map(Vec::len), Some(8_000));
        }
    });
    let admin = Engine::get().admin();
    assert_eq!(admin.get(&format!("/{index}/_count")).expect(200).json()["count"], 8_000);
    admin.delete(&format!("/{index}")).expect(200);
}

#[test]
fn a_body_arrives_byte_for_byte_in_the_framing_it_was_announced_in() {
    let (upstream, _gateway, client) = stage(|turn| {
        let body = turn.discard_body();
        turn.write(&json_answer(200, &format!("{{\"length\":{}}}", body.length)));
    });
    let body = bulk("app-logs-a", 4_000);
    http2::run(async {
        let http2 = Http2::open(&client).await;
        for (target, length) in [("/_bulk?a=length", Some(body.len())), ("/_bulk?a=none", None)] {
            let mut request = http2.request("POST", target).header("content-type", "application/x-ndjson");
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let answer = http2.send(request, body.clone()).await.expect("an answer");
            assert_eq!(answer.json()["length"], body.len());
            let received = upstream.the_request_for(target);
            assert!(received.body.is_complete);
            assert_eq!(received.body.sha256, sha256(&body));
            assert_eq!(received.header("content-length").is_empty(), length.is_none(), "{:?}", received.headers);
            assert_eq!(received.header("transfer-encoding").is_empty(), length.is_some(), "{:?}", received.headers);
            assert_eq!(received.header("host"), [upstream.authority()]);
            assert!(received.header_names().iter().all(|name| !name.starts_with(':')), "{:?}", received.headers);
        }
    });
}

#[test]
fn a_large_answer_waits_for_a_client_that_reads_slowly() {
    let pattern: Vec<u8> = (0..16 * 1024 * 1024_u32).map(|at| (at % 251) as u8).collect();
    let expected = sha256(&pattern);
    let (_upstream, gateway, client) = stage(move |turn| {
        turn.read_body();
        if turn.received.target.contains("chunks") {
            turn.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            for piece in pattern.chunks(50_000) {
                turn.write(format!("{:x}\r\n", piece.len()).as_bytes());
                turn.write(piece);
                turn.write(b"\r\n");
            }
            turn.write(b"0\r\n\r\n");
        } else {
            turn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", pattern.len()).as_bytes());
            turn.write(&pattern);
        }
    });
    gateway.reset_peak();
    let (before, _) = gateway.resident_kib();
    http2::run(async {
        let http2 = Http2::open(&client).await;
        for target in ["/logs-length/_search", "/logs-chunks/_search"] {
            let answer = http2.get(target).await.expect("an answer");
            assert_eq!((answer.status, sha256(&answer.body)), (200, expected), "{target}");
        }
        // One that takes nothing holds up nobody else, and the gateway holds little for it.
        let (slow, _stream) = http2.begin(http2.request("GET", "/logs-length/_search"), true).await.expect("a stream");
        let slow = slow.await.expect("an answer's head");
        for _ in 0..5 {
            assert_eq!(http2.get("/logs-chunks/_search").await.expect("an answer").status, 200);
        }
        let answer = http2::answer(slow).await.expect("the rest");
        assert_eq!(sha256(&answer.body), expected);
    });
    let (_, peak) = gateway.resident_kib();
    assert!(peak < before + 8 * 1024, "{before} KiB before, {peak} KiB at most");
}

#[test]
fn a_hundred_requests_go_on_at_once() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let (upstream, gateway, client) = stage(move |turn| {
        turn.read_body();
        let target = turn.received.target.clone();
        // Nobody is answered before all have asked.
        if target == "/logs-99/_search" {
            released.lock().expect("the lock").recv().expect("a word");
        }
        turn.write(&json_answer(200, &json!({"target": target}).to_string()));
    });
    http2::run(async {
        let http2 = Http2::open(&client).await;
        let mut answers = Vec::new();
        for number in (0..100).rev() {
            let target = format!("/logs-{number}/_search");
            let (answer, _) = http2.begin(http2.request("GET", &target), true).await.expect("a stream");
            answers.push((target, answer));
        }
        let mut ids = BTreeSet::new();
        for (target, answer) in answers.into_iter().rev() {
            if target == "/logs-99/_search" {
                // The first to ask is the last to be answered, and all others have been by now.
                assert_eq!(ids.len(), 99);
                release.send(()).expect("the server listens");
            }
            let answer = http2::answer(answer.await.expect("a head")).await.expect("an answer");
            assert_eq!((answer.status, answer.json()["target"].as_str()), (200, Some(target.as_str())));
            ids.insert(answer.request_id().to_owned());
        }
        assert_eq!(ids.len(), 100);
    });
    assert_eq!(upstream.requests().len(), 100);
    for number in 0..100 {
        let path = format!("/logs-{number}/_search");
        let _ = gateway.audit_where(&path, |event| event["path"] == path.as_str() && event["status"] == 200);
    }
    assert_eq!(gateway.metric("oauth4os_requests_total{outcome=\"allowed\"}"), 100.0);
}

#[test]
fn refusals_and_own_endpoints_are_as_by_http_1() {
    let (upstream, gateway, client) = stage(|turn| turn.oblige());
    let refused_bulk = "{\"index\":{\"_index\":\"pii-a\"}}\n{}\n";
    let cases = [
        ("GET", "/pii-customers/_search", "", 403),
        ("GET", "/logs-a/_nothing_like_this", "", 403),
        ("POST", "/_bulk", refused_bulk, 403),
        ("GET", "/logs-a/../_cluster/settings", "", 400),
        ("GET", "/logs-a/_search?access_token=a", "", 400),
        ("PATCH", "/logs-a/_search", "", 405),
        ("GET", "/_oauth4os/v1/whoami", "", 200),
        ("GET", "/healthz", "", 200),
        ("HEAD", "/logs-a", "", 200),
    ];
    http2::run(async {
        let http2 = Http2::open(&client).await;
        for (method, target, body, status) in cases {
            let content_type = "application/x-ndjson";
            let answer = http2
                .send(http2.request(method, target).header("content-type", content_type), body)
                .await
                .unwrap_or_else(|error| panic!("{method} {target}: {error}"));
            let mut same = client.request(method, target).header("Content-Type", content_type);
            if !body.is_empty() {
                same = client.request(method, target).body(content_type, body);
            }
            let same = same.send();
            assert_eq!((answer.status, same.status), (status, status), "{method} {target}: {}", answer.text());
            let error = |answer: &e2e::Answer| -> Value {
                if answer.status == 200 { Value::Null } else { answer.json()["error"]["reason"].clone() }
            };
            assert_eq!(error(&answer), error(&same), "{method} {target}");
            assert_eq!(answer.header("www-authenticate"), same.header("www-authenticate"), "{method} {target}");
            assert_eq!(answer.header("content-length"), same.header("content-length"), "{method} {target}");
            assert_eq!(answer.header("connection"), None);
            if status != 200 {
                let event = gateway.audit_of(answer.request_id());
                assert_eq!((&event["decision"], &event["status"]), (&json!("deny"), &json!(status)), "{event}");
            }
        }
        // Nobody without a credential, and the connection goes on after each refusal.
        let nobody = http2.request("GET", "/logs-a/_search");
        let nobody = nobody.header("authorization", "Bearer x");
        assert_eq!(http2.send(nobody, "").await.expect("an answer").status, 400, "two credentials");
        let anonymous = Http2::open(gateway.http()).await;
        let answer = anonymous.get("/logs-a/_search").await.expect("an answer");
        assert_eq!((answer.status, &answer.json()["status"]), (401, &json!(401)));
        assert_eq!(http2.get("/logs-a/_search").await.expect("an answer").status, 200);
    });
    assert!(upstream.requests().iter().all(|request| !request.target.contains("pii")));
}

#[test]
fn a_refused_upload_is_answered_before_its_end() {
    let (upstream, gateway, client) = stage(|turn| turn.oblige());
    http2::run(async {
        let http2 = Http2::open(&client).await;
        let request = http2.request("POST", "/_bulk").header("content-type", "application/x-ndjson");
        let (answer, mut stream) = http2.begin(request, false).await.expect("a stream");
        let piece = Bytes::from_static(b"{\"index\":{\"_index\":\"pii-a\"}}\n{}\n");
        stream.send_data(piece, false).expect("room");
        let answer = http2::answer(answer.await.expect("a head")).await.expect("an answer");
        assert_eq!(answer.status, 403, "{}", answer.text());
        // What is left of the upload is not wanted, which is no error (RFC 9113 section 8.1).
        let reason = std::future::poll_fn(|context| stream.poll_reset(context)).await.expect("a reset");
        assert_eq!(reason, h2::Reason::NO_ERROR);
        assert_eq!(http2.get("/logs-a/_search").await.expect("an answer").status, 200);
        assert_eq!(gateway.audit_of(answer.request_id())["decision"], "deny");
    });
    until("the half request to be dropped", Duration::from_secs(10), || {
        upstream.requests_for("/_bulk").iter().all(|request| !request.body.is_complete).then_some(())
    });
}

#[test]
fn a_client_that_waits_with_its_body_is_asked_for_it() {
    let (upstream, _gateway, client) = stage(|turn| turn.oblige());
    http2::run(async {
        let http2 = Http2::open(&client).await;
        let request = |target| {
            http2.request("POST", target).header("content-type", "application/json").header("expect", "100-continue")
        };
        let (mut answer, mut stream) = http2.begin(request("/logs-a/_search"), false).await.expect("a stream");
        let interim = std::future::poll_fn(|context| answer.poll_informational(context)).await;
        assert_eq!(interim.expect("an interim answer").expect("whole").status().as_u16(), 100);
        stream.send_data(Bytes::from_static(b"{\"size\":0}"), true).expect("room");
        assert_eq!(answer.await.expect("a head").status(), 200);
        assert_eq!(upstream.the_request_for("/logs-a/_search").body.bytes, b"{\"size\":0}");
        // A refusal comes instead.
        let (answer, _stream) = http2.begin(request("/pii-a/_doc"), false).await.expect("a stream");
        assert_eq!(answer.await.expect("a head").status(), 403);
    });
}

#[test]
fn an_answer_that_breaks_off_ends_with_a_reset() {
    let (_upstream, gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(match turn.received.target.as_str() {
            "/logs-length/_search" => b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"a\":".as_slice(),
            _ => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n",
        });
        turn.close();
    });
    http2::run(async {
        let http2 = Http2::open(&client).await;
        for target in ["/logs-length/_search", "/logs-chunks/_search"] {
            let error = http2.get(target).await.expect_err("the answer looked whole");
            assert!(error.is_reset() && error.is_remote(), "{error}");
            assert_eq!(error.reason(), Some(h2::Reason::INTERNAL_ERROR), "{error}");
            let event = gateway.audit_where(target, |event| event["path"] == target);
            assert!(event["error"].as_str().is_some_and(|error| error.contains("engine")), "{event}");
        }
        assert_eq!(http2.get("/_oauth4os/v1/whoami").await.expect("an answer").status, 200);
    });
}

#[test]
fn a_stream_that_is_given_up_leaves_the_engine_and_nobody_else() {
    let (upstream, gateway, client) = stage(|turn| {
        turn.read_body();
        match turn.received.target.as_str() {
            "/logs-slow/_search" => assert!(turn.wait_for_end(), "the gateway kept its connection"),
            "/logs-half/_search" => {
                turn.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n");
                while turn.keeps_open() {
                    turn.write(&[b' '; 50_000]);
                }
            }
            _ => turn.write(&json_answer(200, "{}")),
        }
    });
    http2::run(async {
        let http2 = Http2::open(&client).await;
        for target in ["/logs-slow/_search", "/logs-half/_search"] {
            let (answer, mut stream) = http2.begin(http2.request("GET", target), true).await.expect("a stream");
            if target.contains("half") {
                assert_eq!(answer.await.expect("a head").status(), 200);
            } else {
                let asked = || (!upstream.requests_for(target).is_empty()).then_some(());
                http2.get("/logs-a/_search").await.expect("an answer");
                until("the request", Duration::from_secs(10), asked);
            }
            stream.send_reset(h2::Reason::CANCEL);
            // The same connection goes on.
            assert_eq!(http2.get("/logs-a/_search").await.expect("an answer").status, 200);
            upstream.wait_for_open_connections(1);
            let event = gateway.audit_where(target, |event| event["path"] == target);
            assert_eq!(event["decision"], "allow", "{event}");
        }
    });
}

#[test]
fn a_drain_says_goodbye_and_finishes_what_runs() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let (upstream, gateway, client) = stage(move |turn| {
        turn.read_body();
        if turn.received.target == "/logs-slow/_search" {
            released.lock().expect("the lock").recv().expect("a word");
        }
        turn.write(&json_answer(200, &format!("{{\"finished\":\"{}\"}}", "x".repeat(300_000))));
    });
    let mut idle = Frames::open(&client);
    std::thread::scope(|scope| {
        let answered = scope.spawn(|| {
            http2::run(async {
                let busy = Http2::open(&client).await;
                assert_eq!(busy.get("/logs-a/_search").await.expect("an answer").status, 200);
                busy.get("/logs-slow/_search").await.expect("the answer, to its end")
            })
        });
        until("the request", Duration::from_secs(10), || {
            (!upstream.requests_for("/logs-slow/_search").is_empty()).then_some(())
        });
        let stopping = scope.spawn(|| gateway.stop());
        says_goodbye(&mut idle);
        assert!(!stopping.is_finished(), "the gateway went before it had finished");
        release.send(()).expect("the server listens");
        let answer = answered.join().expect("an answer");
        assert_eq!((answer.status, answer.body.len() > 300_000), (200, true));
        stopping.join().expect("the end");
    });
    assert!(gateway.audit().iter().any(|event| event["path"] == "/logs-slow/_search" && event["status"] == 200));
    assert!(gateway.log().contains("stopped"), "{}", gateway.log());
}

#[test]
fn an_idle_connection_is_told_to_go() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        if turn.received.target == "/logs-slow/_search" {
            // Longer than a connection may be idle.
            std::thread::sleep(Duration::from_millis(1_500));
        }
        turn.write(&json_answer(200, "{}"));
    });
    let gateway = Gateway::start(settings().upstream(&upstream.url()).limit("idle_timeout", json!("1s")));
    let client = gateway.with("both");
    let mut idle = Frames::open(&client);
    says_goodbye(&mut idle);
    // One that is busy is not idle, however long that takes.
    http2::run(async {
        let http2 = Http2::open(&client).await;
        for _ in 0..3 {
            assert_eq!(http2.get("/logs-slow/_search").await.expect("an answer").status, 200);
        }
    });
}

/// Waits for the gateway to end a connection on which nothing is asked: without an error, then for good.
fn says_goodbye(idle: &mut Frames) {
    let goaway = idle.find(GOAWAY).expect("a goodbye");
    assert_eq!(goaway.error_code(), 0);
    while idle.find(GOAWAY).is_some() {}
}

#[test]
fn it_is_offered_beside_http_1_and_can_be_switched_off() {
    let upstream = Upstream::obliging();
    let both: [&[u8]; 2] = [b"http/1.1", b"h2"];
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    assert_eq!(gateway.http().chosen_protocol(&both).as_deref(), Some(b"h2".as_slice()));
    assert_eq!(gateway.http().chosen_protocol(&both[..1]).as_deref(), Some(b"http/1.1".as_slice()));
    assert_eq!(gateway.http().chosen_protocol(&[]), None);
    let without = Gateway::start(settings().upstream(&upstream.url()).limit("http2_streams", json!(0)));
    assert_eq!(without.http().chosen_protocol(&both).as_deref(), Some(b"http/1.1".as_slice()));
    without.replace_certificate();
    assert_eq!(without.reload(), "applied");
    let client = without.http_of_present_certificate();
    assert_eq!(client.chosen_protocol(&both).as_deref(), Some(b"http/1.1".as_slice()));
}
