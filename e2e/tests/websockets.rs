//! WebSockets to Dashboards, with a real library on both ends: who gets one, and what goes through it.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::http2::{self, END_HEADERS, END_STREAM, Frames, HEADERS, Http2, RST_STREAM, header_block};
use e2e::websockets::{ClientSocket, WebSockets, assert_echo, echo, open, read_to_end};
use e2e::{ClientSettings, Gateway, Upstream, until};
use serde_json::{Value, json};
use support::{READ, closed, open_as, settings, start};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

#[path = "websockets/support.rs"]
mod support;

const WRITE: &str = "/_dashboards/api/edit";
const MIB: usize = 1024 * 1024;

#[test]
fn messages_go_both_ways_under_the_gateways_identity() {
    let dashboards = WebSockets::echoing();
    let gateway = start(&dashboards);
    let viewer = gateway.with("viewer");
    let fields = [("cookie", "security_authentication=x"), ("sec-websocket-protocol", "events.v2, events.v1")];
    let (mut socket, answer) = open(&viewer, &format!("{READ}?since=7"), &fields).expect("a WebSocket");
    assert_eq!(answer.header("sec-websocket-protocol"), Some("events.v2"));
    assert_eq!(answer.header("set-cookie"), None);
    assert_echo(&mut socket, "hello");
    assert!((gateway.metric("oauth4os_websockets") - 1.0).abs() < 0.1);
    socket.send(Message::binary(vec![0, 255, 13, 10])).expect("send");
    assert_eq!(socket.read().expect("a message"), Message::binary(vec![0, 255, 13, 10]));
    socket.send(Message::Ping(b"are you there".as_slice().into())).expect("send");
    assert_eq!(socket.read().expect("a message"), Message::Pong(b"are you there".as_slice().into()));
    socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).expect("close");
    let Message::Close(Some(goodbye)) = socket.read().expect("a message") else { panic!("no goodbye") };
    assert_eq!(goodbye.code, CloseCode::Normal);
    assert!(matches!(read_to_end(&mut socket), Error::ConnectionClosed));
    drop(socket);
    dashboards.wait_for_open(0);

    let [received] = &dashboards.requests()[..] else { panic!("one request") };
    assert_eq!((received.method.as_str(), received.target.as_str()), ("GET", "/_dashboards/api/events?since=7"));
    assert_eq!(received.header("host"), [dashboards.authority()]);
    assert_eq!(received.header("securitytenant"), ["global"]);
    assert_eq!((received.header("connection"), received.header("upgrade")), (vec!["upgrade"], vec!["websocket"]));
    assert!(received.header("cookie").is_empty(), "{received:?}");
    let shown = received.header("authorization");
    assert_eq!(shown.len(), 1);
    assert_ne!(shown[0], viewer.authorization().expect("a token"));

    let opened = gateway.audit_of(answer.request_id());
    assert_eq!(
        (&opened["event"], &opened["decision"], &opened["status"], &opened["operation"], &opened["upstream"]),
        (&json!("request"), &json!("allow"), &json!(101), &json!("dashboards.websocket"), &json!("dashboards"))
    );
    assert_eq!((&opened["client"], &opened["path"]), (&json!("viewer"), &json!(READ)));
    let closed = closed(&gateway, answer.request_id());
    assert_eq!(
        (&closed["client"], &closed["decision"], &closed["error"]),
        (&json!("viewer"), &json!("allow"), &Value::Null)
    );
    // Frames of a client: 2 bytes, 4 of a mask, and what is in them.
    assert_eq!(closed["bytes_in"], 4 * 6 + 5 + 4 + 13 + 6);
    assert_eq!(closed["bytes_out"], 4 * 2 + 5 + 4 + 13 + 6);
    assert!(closed["latency_us"].as_u64() > Some(0), "{closed}");
    until("no WebSocket", Duration::from_secs(10), || (gateway.metric("oauth4os_websockets") < 0.5).then_some(()));
}

#[test]
fn who_may_not_gets_none() {
    let dashboards = WebSockets::echoing();
    let gateway = start(&dashboards);
    let refused = |client: &str, target: &str, fields: &[(&str, &str)]| {
        open(&gateway.with(client), target, fields).map(drop).expect_err("no WebSocket")
    };
    for (client, target, needed) in [
        ("viewer", WRITE, "write:dashboards"),
        ("editor", READ, "read:dashboards"),
        ("reader", READ, "read:dashboards"),
    ] {
        let answer = refused(client, target, &[]);
        assert_eq!(answer.status, 403, "{client} {target}");
        let challenge = answer.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains(&format!("scope=\"{needed}\"")), "{challenge}");
        assert_eq!(gateway.audit_of(answer.request_id())["decision"], "deny");
    }
    // Paths that are not listed, and other spellings of one that is.
    for (path, status) in [
        ("/_dashboards/api/status", 403),
        ("/_dashboards/api/events/", 403),
        ("/_dashboards/api/Events", 403),
        ("/_dashboards/api/%65vents", 403),
        ("/_dashboards//api/events", 403),
        ("/_dashboards/w/x/api/events", 403),
        ("/_dashboards/api/events?authorization=x", 400),
        ("/_dashboards/api/events?securitytenant=x", 400),
        ("/_dashboards/api/events?access_token=x", 400),
    ] {
        assert_eq!(refused("viewer", path, &[]).status, status, "{path}");
    }
    // Without Dashboards nothing is upgraded, and the engine answers as ever.
    assert_eq!(refused("reader", "/logs-a/_search", &[]).status, 200);
    // A tenant that is not configured, and no credential or one that browsers send by themselves.
    assert_eq!(refused("viewer", READ, &[("securitytenant", "other")]).status, 403);
    assert_eq!(open(gateway.http(), READ, &[]).map(drop).expect_err("no WebSocket").status, 401);
    let bridge = gateway.http().with_basic("bridge", gateway.secret("bridge"));
    assert_eq!(open(&bridge, READ, &[]).map(drop).expect_err("no WebSocket").status, 403);
    // Pages in browsers, as far as they are listed.
    for origin in [
        "https://evil.example.com",
        "null",
        "https://console.example.com.evil.example.com",
        "http://console.example.com",
        "",
    ] {
        assert_eq!(refused("editor", WRITE, &[("origin", origin)]).status, 403, "{origin}");
    }
    assert_eq!(refused("viewer", READ, &[("origin", "https://console.example.com")]).status, 403);
    let twice = [("origin", "https://console.example.com"), ("origin", "https://console.example.com")];
    assert_eq!(refused("editor", WRITE, &twice).status, 403);
    assert!(dashboards.requests().is_empty(), "{:?}", dashboards.requests());
    let (mut socket, _) =
        open(&gateway.with("editor"), WRITE, &[("origin", "https://console.example.com")]).expect("a WebSocket");
    assert_echo(&mut socket, "from a page");
}

#[test]
fn rates_and_policies_hold_for_them() {
    let dashboards = WebSockets::echoing();
    let policies = r#"
        permit(principal == Client::"viewer", action, resource in ResourceType::"dashboard");
        permit(principal == Client::"slow", action, resource in ResourceType::"dashboard");
        permit(principal == Client::"half", action, resource in ResourceType::"dashboard");
        @id("no-sources") forbid(principal == Client::"half", action == Action::"get", resource == Dashboard::"data-source");
    "#;
    let slow = ClientSettings::new("slow", &["read:dashboards"])
        .with("rate_limit", json!({"requests_per_second": 1, "burst": 2}));
    let gateway = Gateway::start(
        settings(&dashboards.url(), &Upstream::obliging())
            .client("half", &["read:dashboards"])
            .client_with(slow)
            .policies(policies),
    );
    drop(open_as(&gateway, "viewer"));
    let refused = open(&gateway.with("half"), READ, &[]).map(drop).expect_err("no WebSocket");
    assert_eq!(refused.status, 403);
    assert!(gateway.audit_of(refused.request_id())["reason"].as_str().expect("a reason").contains("no-sources"));
    // Each is a request, and only each.
    let slow = gateway.with("slow");
    let mut open_ones: Vec<_> = Vec::new();
    let refused = loop {
        match open(&slow, READ, &[]) {
            Ok((socket, _)) => open_ones.push(socket),
            Err(answer) => break answer,
        }
    };
    assert_eq!(refused.status, 429);
    assert!(open_ones.len() >= 2, "{}", open_ones.len());
    for socket in &mut open_ones {
        for _ in 0..20 {
            assert_echo(socket, "no request");
        }
    }
}

#[test]
fn large_messages_go_both_ways_at_once() {
    let dashboards = WebSockets::echoing();
    let gateway = start(&dashboards);
    let (mut socket, request_id) = open_as(&gateway, "viewer");
    let message: Vec<u8> = (0..8 * MIB).map(|at| u8::try_from(at * 7 % 251).expect("small")).collect();
    let echo = |socket: &mut ClientSocket| {
        socket.send(Message::binary(message.clone())).expect("send");
        assert!(socket.read().expect("an echo").into_data() == message, "another message came back");
    };
    echo(&mut socket);
    gateway.reset_peak();
    let (before, _) = gateway.resident_kib();
    for _ in 0..4 {
        echo(&mut socket);
    }
    let (_, peak) = gateway.resident_kib();
    // Less than one message.
    assert!(peak < before + 7 * 1024, "{before} KiB before, {peak} KiB at most");
    socket.close(None).expect("close");
    read_to_end(&mut socket);
    drop(socket);
    let closed = closed(&gateway, &request_id);
    for name in ["bytes_in", "bytes_out"] {
        assert!(closed[name].as_u64().expect("a number") > 40 * MIB as u64, "{closed}");
    }
}

/// Whoever does not read holds back who writes, and the gateway keeps next to nothing.
#[test]
fn a_slow_reader_holds_back_the_writer() {
    const MESSAGES: usize = 64;
    let (held_back, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (is_held_back, count) = (Arc::clone(&held_back), Arc::clone(&sent));
    let dashboards = WebSockets::start(move |socket| {
        socket.get_ref().set_write_timeout(Some(Duration::from_millis(300))).expect("set a timeout");
        for number in 0..MESSAGES {
            let message = Message::binary(vec![u8::try_from(number).expect("small"); MIB]);
            let mut written = socket.send(message);
            while let Err(Error::Io(error)) = &written
                && matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
            {
                is_held_back.store(true, Ordering::SeqCst);
                written = socket.flush();
            }
            written.expect("send");
            count.store(number + 1, Ordering::SeqCst);
        }
        echo(socket);
    });
    let gateway = start(&dashboards);
    gateway.with("reader").get("/logs-a/_search").expect(200);
    let before = gateway.taken_kib();
    let (mut socket, _) = open_as(&gateway, "viewer");
    until("the writer to be held back", Duration::from_secs(30), || held_back.load(Ordering::SeqCst).then_some(()));
    assert!(sent.load(Ordering::SeqCst) < MESSAGES);
    let now = gateway.taken_kib();
    assert!(now < before + 8 * 1024, "{before} KiB before, {now} KiB now");
    for number in 0..MESSAGES {
        let message = socket.read().expect("a message").into_data();
        assert!(message.len() == MIB && message.iter().all(|byte| usize::from(*byte) == number), "message {number}");
    }
    assert_echo(&mut socket, "still there");
}

/// It is not offered there, and asking for it does no harm to other streams.
#[test]
fn http2_opens_none() {
    let dashboards = WebSockets::echoing();
    let gateway = start(&dashboards);
    let viewer = gateway.with("viewer");
    let token = viewer.authorization().expect("a token").as_bytes();
    let mut frames = Frames::open(&viewer);
    let common: [(&[u8], &[u8]); 4] =
        [(b":scheme", b"https"), (b":path", READ.as_bytes()), (b":authority", b"localhost"), (b"authorization", token)];
    let of_rfc_8441: [(&[u8], &[u8]); 2] = [(b":method", b"CONNECT"), (b":protocol", b"websocket")];
    let of_http_1: [(&[u8], &[u8]); 2] = [(b":method", b"GET"), (b"upgrade", b"websocket")];
    for (stream, fields) in [
        (1, [&of_rfc_8441[..], &common[..], &[(b"sec-websocket-version".as_slice(), b"13".as_slice())]].concat()),
        (3, [&of_http_1[..1], &common[..], &of_http_1[1..]].concat()),
    ] {
        frames.write(HEADERS, END_HEADERS | if stream == 1 { 0 } else { END_STREAM }, stream, &header_block(&fields));
        let refused = loop {
            let frame = frames.receive().expect("a frame");
            if frame.stream == stream {
                break frame;
            }
        };
        assert_eq!(refused.kind, RST_STREAM, "{refused:?}");
    }
    http2::run(async {
        let connection = Http2::open(&gateway.with("reader")).await;
        assert_eq!(connection.get("/logs-a/_search").await.expect("an answer").status, 200);
    });
    let mut settings = Vec::new();
    let mut frames = Frames::open(&viewer);
    while settings.is_empty() {
        let frame = frames.receive().expect("a frame");
        if frame.kind == http2::SETTINGS && frame.flags == 0 {
            settings = frame.payload;
        }
    }
    // SETTINGS_ENABLE_CONNECT_PROTOCOL is 8.
    assert!(settings.chunks(6).all(|setting| setting[..2] != [0, 8]), "{settings:?}");
    assert!(dashboards.requests().is_empty());
}
