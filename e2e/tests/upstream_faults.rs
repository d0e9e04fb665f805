//! An engine that misbehaves: no answer of it harms another request, nothing is done twice, and the client is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use e2e::{Answer, Client, Gateway, Settings, Turn, Upstream, json_answer};
use serde_json::json;

fn settings(upstream: &Upstream) -> Settings {
    Settings::new().client("both", &["read:logs-*", "write:app-logs-*"]).upstream(&upstream.url())
}

/// A gateway before a server with this script, and a client.
fn stage(script: impl Fn(&mut Turn<'_>) + Send + Sync + 'static) -> (Upstream, Gateway, Client) {
    let upstream = Upstream::start(script);
    let gateway = Gateway::start(
        settings(&upstream).limit("body_timeout", json!("2s")).engine_option("response_timeout", json!("1s")),
    );
    let client = gateway.with("both");
    (upstream, gateway, client)
}

/// The answer in the gateway's words, and the request recorded as allowed, with what went wrong.
fn gateway_error(gateway: &Gateway, answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.json()["status"], status);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["decision"], &event["status"]), (&json!("allow"), &json!(status)), "{event}");
    assert!(event["error"].as_str().is_some_and(|error| error.len() > 10), "{event}");
}

/// What is no answer of HTTP/1.1, or one that nobody asked for.
const NO_ANSWERS: &[&[u8]] = &[
    b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-folded: a\r\n b\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-bare: a\rb\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx-null: a\0b\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x05hello",
    b"HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Basic realm=\"engine\"\r\ncontent-length: 0\r\n\r\n",
];

#[test]
fn what_is_no_answer_is_502_and_no_part_of_another_answer() {
    let (upstream, gateway, client) = stage(|turn| {
        turn.read_body();
        let number = turn.received.target.trim_start_matches("/logs-").trim_end_matches("/_search").parse::<usize>();
        match number.ok().and_then(|number| NO_ANSWERS.get(number)) {
            Some(bytes) => turn.write(bytes),
            None => turn.write(&json_answer(200, "{\"whole\":true}")),
        }
    });
    for number in 0..NO_ANSWERS.len() {
        let target = format!("/logs-{number}/_search");
        let answer = client.get(&target).send();
        gateway_error(&gateway, &answer, 502);
        assert!(!answer.header("www-authenticate").is_some_and(|challenge| challenge.contains("Basic")), "{answer:?}");
        assert_eq!(client.get("/logs-fine/_search").expect(200).json()["whole"], true);
        assert_eq!(upstream.requests_for(&target).len(), 1, "nothing is asked twice");
    }
    assert!(gateway.metric("oauth4os_upstream_failures_total{reason=\"broken\"}") >= 12.0);
    assert!(gateway.metric("oauth4os_upstream_failures_total{reason=\"identity\"}") >= 1.0);
}

#[test]
fn bytes_after_an_answer_are_nobodys_answer() {
    let (upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        let stray = "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"stray\":true}";
        let answer = match turn.received.target.as_str() {
            "/logs-204/_search" => format!("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n{stray}"),
            "/logs-304/_search" => format!("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n{stray}"),
            "/logs-length/_search" => format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{stray}"),
            "/logs-chunks/_search" => {
                format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n{stray}")
            }
            "/logs-head" => format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}{stray}"),
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"mine\":true} ".trim_end().to_owned(),
        };
        turn.write(answer.as_bytes());
    });
    for (method, target, status) in [
        ("GET", "/logs-204/_search", 204),
        ("GET", "/logs-304/_search", 304),
        ("GET", "/logs-length/_search", 200),
        ("GET", "/logs-chunks/_search", 200),
        ("HEAD", "/logs-head", 200),
    ] {
        let answer = client.request(method, target).expect(status);
        assert!(!answer.text().contains("stray"), "{target}");
        for _ in 0..3 {
            assert_eq!(client.get("/logs-mine/_search").expect(200).json()["mine"], true, "after {target}");
        }
    }
    assert!(upstream.requests().len() >= 20);
}

#[test]
fn interim_answers_are_read_over_and_a_flood_of_them_is_502() {
    let (_upstream, gateway, client) = stage(|turn| {
        turn.read_body();
        let flood = b"HTTP/1.1 102 Processing\r\n\r\n".repeat(100);
        if turn.received.target == "/logs-few/_search" {
            turn.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
            turn.write(&json_answer(200, "{}"));
        } else {
            let begun = Instant::now();
            while turn.keeps_open() && begun.elapsed() < Duration::from_secs(20) {
                turn.write(&flood);
            }
        }
    });
    let answer = client.get("/logs-few/_search").expect(200);
    assert_eq!(answer.header("link"), None);
    let begun = Instant::now();
    gateway_error(&gateway, &client.get("/logs-flood/_search").send(), 502);
    assert!(begun.elapsed() < Duration::from_secs(10), "the flood was read for {:?}", begun.elapsed());
}

#[test]
fn an_interim_answer_within_an_upload_is_no_answer() {
    const PIECE: usize = 100;
    const PIECES: usize = 12;
    let (said, heard) = std::sync::mpsc::channel();
    let said = Mutex::new(said);
    let (upstream, gateway, client) = stage(move |turn| {
        if !turn.received.target.starts_with("/app-logs-") {
            return turn.oblige();
        }
        let interim: &[u8] = match turn.received.target.as_str() {
            "/app-logs-102/_doc" => b"HTTP/1.1 102 Processing\r\n\r\n",
            "/app-logs-100/_doc" => b"HTTP/1.1 100 Continue\r\n\r\n",
            "/app-logs-103/_doc" => b"HTTP/1.1 103 Early Hints\r\nlink: </a>; rel=preload\r\ncontent-length: 9\r\n\r\n",
            "/app-logs-cut/_doc" => b"HTTP/1.1 102 Processing\r\nx-half: ",
            "/app-logs-101/_doc" => {
                b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"
            }
            _ => b"HTTP/1.1 102 Processing\r\nx-a: a\0b\r\n\r\n",
        };
        for piece in 0..PIECES {
            if !turn.take(PIECE) {
                return turn.close();
            }
            match (turn.received.target.as_str(), piece) {
                ("/app-logs-cut/_doc", 0) => turn.write(interim),
                ("/app-logs-cut/_doc", piece) if piece < PIECES - 1 => turn.write(b"a"),
                ("/app-logs-cut/_doc", _) => turn.write(b"\r\n\r\n"),
                _ => turn.write(interim),
            }
            let _ = said.lock().expect("the lock").send(piece);
        }
        turn.write(&json_answer(201, "{\"whole\":true}"));
    });
    let upload = |index: &str| {
        let mut connection = client.connect();
        let document = json!({"text": "x".repeat(PIECE * PIECES - 11)}).to_string();
        let request = client.post(&format!("/app-logs-{index}/_doc")).body("application/json", document).bytes();
        let (head, body) = request.split_at(request.len() - PIECE * PIECES);
        connection.write(head);
        for piece in body.chunks(PIECE) {
            if connection.try_write(piece).is_err() || heard.recv_timeout(Duration::from_secs(5)).is_err() {
                break;
            }
        }
        let answer = connection.answer();
        (connection, answer)
    };
    for index in ["100", "102", "103", "cut"] {
        let (mut connection, answer) = upload(index);
        assert_eq!((answer.status, answer.header("link")), (201, None), "{index}: {}", answer.text());
        // Both connections are in step, and used again.
        connection.write(&client.get("/logs-a/_search").bytes());
        assert_eq!(connection.answer().status, 200, "{index}");
    }
    let connections: std::collections::BTreeSet<usize> =
        upstream.requests().iter().map(|request| request.connection).collect();
    assert!(connections.len() <= 2, "connections to the engine were given up: {connections:?}");
    for index in ["101", "null"] {
        let (mut connection, answer) = upload(index);
        gateway_error(&gateway, &answer, 500);
        assert!(connection.is_closed_next(), "{index}: the rest of the upload would be read as a request");
    }
}

#[test]
fn what_an_engine_means_for_its_connection_alone_stays_there() {
    let (_upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        let (options, rest) = match turn.received.target.as_str() {
            "/logs-named/_search" => ("X-Hop, x-OTHER", "x-hop: secret\r\nX-Other: secret\r\nx-kept: a\r\n"),
            "/logs-twice/_search" => {
                ("x-hop\r\nconnection: keep-alive, x-other", "x-hop: s\r\nx-other: s\r\nx-kept: a\r\n")
            }
            "/logs-length/_search" => ("content-length, transfer-encoding", "x-kept: a\r\n"),
            _ => ("keep-alive", "x-hop: a\r\nx-kept: a\r\n"),
        };
        turn.write(
            format!("HTTP/1.1 200 OK\r\nconnection: {options}\r\n{rest}content-length: 2\r\n\r\n{{}}").as_bytes(),
        );
    });
    let mut connection = client.connect();
    for (index, kept_hop) in [("named", None), ("twice", None), ("length", None), ("plain", Some("a"))] {
        connection.write(&client.get(&format!("/logs-{index}/_search")).bytes());
        let answer = connection.answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{index}");
        let fields = ["x-hop", "x-other", "x-kept", "content-length"].map(|name| answer.header(name));
        assert_eq!(fields, [kept_hop, None, Some("a"), Some("2")], "{index}");
    }
}

#[test]
fn an_answer_that_breaks_off_does_not_look_whole() {
    let (_upstream, gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(match turn.received.target.as_str() {
            "/logs-length/_search" => b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"a\":".as_slice(),
            "/logs-chunk/_search" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n100\r\n{\"a\":",
            "/logs-chunks/_search" => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n",
            _ => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        });
        turn.close();
    });
    for target in ["/logs-length/_search", "/logs-chunk/_search", "/logs-chunks/_search", "/logs-wrong/_search"] {
        let mut connection = client.connect();
        connection.write(&client.get(target).bytes());
        // What was wrong before anything of it was passed on is said.
        let answer = connection.answer_to("GET");
        assert!(
            answer.is_err() || answer.is_ok_and(|answer| answer.status == 502),
            "{target}: the answer looked whole"
        );
        let event = gateway.audit_where(target, |event| event["path"] == target);
        assert!(event["error"].as_str().is_some_and(|error| error.contains("engine")), "{event}");
    }
    // One that ends with the connection is whole.
    let (_upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":1}");
        turn.close();
    });
    assert_eq!(client.get("/logs-a/_search").expect(200).json()["a"], 1);
}

#[test]
fn an_engine_that_is_not_there_is_503_and_one_that_says_nothing_504_to_readers() {
    let (upstream, gateway, client) = stage(|turn| {
        turn.read_body();
        turn.wait_for_end();
    });
    gateway_error(&gateway, &client.get("/logs-a/_search").send(), 504);
    gateway_error(&gateway, &client.post("/app-logs-a/_doc").json(&json!({})).send(), 500);
    assert_eq!(upstream.requests().len(), 2, "what was not answered in time is not asked again");
    assert!(gateway.metric("oauth4os_upstream_failures_total{reason=\"timeout\"}") >= 2.0);

    // A port nobody listens on, once the gateway has started.
    let gone = Upstream::obliging();
    let gateway = Gateway::start(settings(&gone));
    let client = gateway.with("both");
    gone.stop();
    e2e::until("the engine to be gone", Duration::from_secs(20), || {
        let answer = client.get("/logs-a/_search").send();
        (answer.status == 503).then_some(())
    });
    let answer = client.get("/logs-a/_search").send();
    gateway_error(&gateway, &answer, 503);
    assert!(answer.json()["error"]["reason"].as_str().expect("a reason").contains("cannot be reached"));
    e2e::until("the gateway not to be ready", Duration::from_secs(20), || {
        (gateway.monitor("/readyz").status == 503).then_some(())
    });
    assert_eq!(gateway.monitor("/healthz").status, 200);
    // Refusals and own endpoints need no engine.
    client.get("/pii-customers/_search").expect(403);
    client.get("/_oauth4os/v1/whoami").expect(200);
}

/// A server that closes a connection at its second request without a word, as one does whose keep-alive is over.
fn forgetful() -> (Upstream, Gateway, Client) {
    let seen = Mutex::new(HashMap::<usize, usize>::new());
    stage(move |turn| {
        turn.read_body();
        let number = {
            let mut seen = seen.lock().expect("the lock");
            let number = seen.entry(turn.received.connection).or_default();
            *number += 1;
            *number
        };
        if number == 2 {
            turn.close();
        } else {
            turn.write(&json_answer(200, "{}"));
        }
    })
}

#[test]
fn a_kept_connection_that_has_ended_costs_a_reader_nothing() {
    let (upstream, _gateway, client) = forgetful();
    client.get("/logs-first/_search").expect(200);
    client.get("/logs-second/_search").expect(200);
    assert_eq!(upstream.requests_for("/logs-second/_search").len(), 2);
    // A search is a search, also by POST.
    client.post("/logs-third/_search").json(&json!({"size": 0})).expect(200);
    assert_eq!(upstream.requests_for("/logs-third/_search").len(), 2);
    assert!(upstream.requests_for("/logs-third/_search").iter().all(|request| request.body.bytes == b"{\"size\":0}"));
}

#[test]
fn what_may_have_been_written_is_never_written_twice() {
    let writes: [(&str, &str); 6] = [
        ("POST", "/app-logs-a/_doc"),
        ("POST", "/app-logs-a/_bulk"),
        ("PUT", "/app-logs-a/_doc/1"),
        ("DELETE", "/app-logs-a/_doc/1"),
        ("GET", "/logs-a/_search?scroll=1m"),
        ("GET", "/_search/scroll?scroll_id=a"),
    ];
    for (method, target) in writes {
        let (upstream, gateway, client) = forgetful();
        client.get("/logs-first/_search").expect(200);
        let mut request = client.request(method, target);
        if matches!(method, "POST" | "PUT") {
            request = request.body("application/json", "{\"index\":{\"_index\":\"app-logs-a\"}}\n{}\n");
        }
        gateway_error(&gateway, &request.send(), 500);
        assert_eq!(upstream.requests_for(target).len(), 1);
    }
}

#[test]
fn an_answer_before_the_end_of_the_request_is_passed_on_and_the_rest_is_not_sent() {
    let (upstream, _gateway, client) = stage(|turn| {
        if turn.received.target == "/app-logs-early/_doc" {
            turn.write(b"HTTP/1.1 413 Too Large\r\ncontent-type: application/json\r\ncontent-length: 14\r\n\r\n{\"status\":413}");
            turn.discard_body();
        } else {
            turn.read_body();
            turn.write(&json_answer(200, "{\"mine\":true}"));
        }
    });
    let mut connection = client.connect();
    let authorization = client.authorization().expect("a token");
    let head = format!(
        "POST /app-logs-early/_doc HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n{{"
    );
    connection.write(head.as_bytes());
    let answer = connection.answer();
    assert_eq!((answer.status, answer.header("connection")), (413, Some("close")));
    for _ in 0..5 {
        assert_eq!(client.get("/logs-mine/_search").expect(200).json()["mine"], true);
    }
    let early = upstream.the_request_for("/app-logs-early/_doc");
    assert!(upstream.requests_for("/logs-mine/_search").iter().all(|request| request.connection != early.connection));
}

#[test]
fn a_client_that_goes_away_takes_its_search_with_it() {
    let ended = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&ended);
    let upstream = Upstream::start(move |turn| {
        turn.read_body();
        if turn.wait_for_end() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let gateway = Gateway::start(settings(&upstream));
    let client = gateway.with("both");
    for target in ["/logs-a/_search", "/logs-b/_search"] {
        let mut connection = client.connect();
        connection.write(&client.get(target).bytes());
        e2e::until("the request", Duration::from_secs(10), || {
            (!upstream.requests_for(target).is_empty()).then_some(())
        });
        drop(connection);
    }
    // In the middle of a body, too.
    let mut connection = client.connect();
    let authorization = client.authorization().expect("a token");
    connection.write(format!("POST /app-logs-a/_doc HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nContent-Length: 10\r\n\r\n{{").as_bytes());
    e2e::until("the request", Duration::from_secs(10), || {
        (!upstream.requests_for("/app-logs-a/_doc").is_empty()).then_some(())
    });
    drop(connection);
    upstream.wait_for_open_connections(0);
    assert_eq!(ended.load(Ordering::SeqCst), 3);
    assert!(gateway.is_running());
}

#[test]
fn the_engines_own_authentication_stays_behind() {
    let (_upstream, _gateway, client) = stage(|turn| {
        turn.read_body();
        turn.write(
            b"HTTP/1.1 403 Forbidden\r\nset-cookie: security_authentication=1\r\nwww-authenticate: Basic realm=\"engine\"\r\nx-request-id: engine\r\nx-opaque-id: mine\r\n\
              warning: 299 OpenSearch \"deprecated\"\r\nkeep-alive: timeout=5\r\nproxy-connection: close\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        );
    });
    let answer = client.get("/logs-a/_search").header("X-Opaque-Id", "mine").expect(403);
    for name in ["set-cookie", "www-authenticate", "keep-alive", "proxy-connection"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    let ids: Vec<_> = answer.headers.iter().filter(|(name, _)| name == "x-request-id").collect();
    assert!(ids.len() == 1 && ids[0].1.starts_with("req_"), "{ids:?}");
    assert_eq!(
        (answer.header("x-opaque-id"), answer.header("warning")),
        (Some("mine"), Some("299 OpenSearch \"deprecated\""))
    );
}
