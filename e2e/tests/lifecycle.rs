//! The process: it goes when it is told to, finishes what it has begun, and comes back as it was.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use e2e::{Gateway, Settings, Upstream, json_answer, until};
use serde_json::json;

fn settings(upstream: &Upstream) -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("writer", &["write:app-logs-*"]).upstream(&upstream.url())
}

#[test]
fn what_is_under_way_is_finished_and_nothing_new_begun() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let upstream = Upstream::start(move |turn| {
        turn.read_body();
        if turn.received.target == "/logs-slow/_search" {
            released.lock().expect("the lock").recv().expect("a word");
        }
        turn.write(&json_answer(200, "{\"finished\":true}"));
    });
    let gateway = Gateway::start(settings(&upstream));
    let reader = gateway.with("reader");
    let mut slow = reader.connect();
    slow.write(&reader.get("/logs-slow/_search").bytes());
    until("the request", Duration::from_secs(10), || {
        (!upstream.requests_for("/logs-slow/_search").is_empty()).then_some(())
    });
    let mut idle = reader.connect();
    idle.write(&reader.get("/logs-a/_search").bytes());
    assert_eq!(idle.answer().status, 200);

    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| gateway.stop());
        until("the listener to be closed", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", gateway.port())).err()
        });
        assert!(!stopping.is_finished(), "the gateway went before it had finished");
        release.send(()).expect("the server listens");
        let answer = slow.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert_eq!(answer.json()["finished"], true);
        stopping.join().expect("the end");
        // Its record is written before the process ends.
        assert!(gateway.audit().iter().any(|event| event["request_id"] == answer.request_id()));
    });
    assert!(idle.is_closed_next());
    assert!(gateway.log().contains("stopped"), "{}", gateway.log());
}

#[test]
fn a_request_that_never_ends_does_not_keep_the_process() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        turn.wait_for_end();
    });
    let gateway = Gateway::start(settings(&upstream).limit("drain_timeout", json!("1s")));
    let reader = gateway.with("reader");
    let mut stuck = reader.connect();
    stuck.write(&reader.get("/logs-a/_search").bytes());
    until("the request", Duration::from_secs(10), || (!upstream.requests().is_empty()).then_some(()));
    gateway.stop();
    assert!(stuck.answer_to("GET").is_err());
}

#[test]
fn many_clients_that_vanish_at_every_step_leave_a_gateway_that_serves() {
    let upstream = Upstream::start(|turn| {
        if turn.received.target.contains("half") {
            turn.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{");
            turn.close();
        } else {
            turn.oblige();
        }
    });
    let gateway = Gateway::start(settings(&upstream));
    let (reader, writer) = (gateway.with("reader"), gateway.with("writer"));
    let requests = [
        reader.get("/logs-a/_search").bytes(),
        reader.post("/logs-a/_search").json(&json!({"query": {"match_all": {}}})).bytes(),
        writer.post("/_bulk").lines(&[json!({"index": {"_index": "app-logs-a"}}), json!({"a": 1})]).bytes(),
        reader.get("/logs-half/_search").bytes(),
        reader.get("/oauth/jwks").bytes(),
        reader.get("/pii-customers/_search").bytes(),
    ];
    for request in &requests {
        for part in 0..=8 {
            let mut connection = reader.connect();
            connection.write(&request[..request.len() * part / 8]);
            drop(connection);
        }
    }
    assert!(gateway.is_running());
    reader.get("/logs-a/_search").expect(200);
    until("no connection left", Duration::from_secs(20), || {
        (gateway.metric("oauth4os_connections") <= 1.0).then_some(())
    });
    assert!(!gateway.log().contains("panicked"), "{}", gateway.log());
}

#[test]
fn a_second_gateway_does_not_take_the_state_of_the_first() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings(&upstream));
    let config = gateway.folder().join("oauth4os.yaml");
    let second = e2e::run_to_end(&["serve".as_ref(), "--config".as_ref(), config.as_os_str()], &[]);
    assert!(!second.succeeded);
    assert!(second.stderr.contains("oauth4os.db") || second.stderr.contains("in use"), "{}", second.stderr);
    gateway.with("reader").get("/logs-a/_search").expect(200);
}
