//! An engine that takes a request and gives no whole answer: what may have been done is sent once and answered in such a way that
//! no stock client sends it again.

use std::ffi::{OsStr, OsString};
use std::process::Command;
use std::time::Duration;

use e2e::{
    Answer, Client, Gateway, Settings, Turn, Upstream, javascript, json_answer, python, report, until, workspace,
};
use serde_json::{Value, json};

/// What the server does that has read a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It closes the connection without a word.
    Closes,
    /// It says nothing, until the gateway gives up.
    IsSilent,
    /// It closes the connection within the body of a good answer.
    BreaksOff,
    /// The same, within a chunk.
    BreaksOffInChunk,
    /// It stops within the body of a good answer.
    Stops,
    /// What stands in front of it knows no more.
    GivesUp,
}

const FAULTS: [Fault; 6] =
    [Fault::Closes, Fault::IsSilent, Fault::BreaksOff, Fault::BreaksOffInChunk, Fault::Stops, Fault::GivesUp];

impl Fault {
    fn answer(self, turn: &mut Turn<'_>) {
        turn.read_body();
        match self {
            Self::Closes | Self::IsSilent => {}
            Self::GivesUp => turn.write(&json_answer(504, "{}")),
            Self::BreaksOff | Self::Stops => turn.write(
                b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 200\r\n\r\n{\"result\":\"created\"",
            ),
            Self::BreaksOffInChunk => turn.write(
                b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n80\r\n{\"result\":\"created\"",
            ),
        }
        match self {
            Self::IsSilent | Self::Stops => drop(turn.wait_for_end()),
            _ => turn.close(),
        }
    }
}

fn settings() -> Settings {
    Settings::new()
        .client("both", &["read:logs-*", "read:app-logs-*", "write:app-logs-*", "manage:app-logs-*"])
        .limit("body_timeout", json!("1s"))
        .engine_option("response_timeout", json!("1s"))
}

fn before(upstream: &Upstream) -> (Gateway, Client) {
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let client = gateway.with("both");
    (gateway, client)
}

const LINES: &str = "{\"index\":{\"_index\":\"app-logs-a\"}}\n{}\n";

/// What changes something in the engine, with a word of what is said of it.
const ONCE: [(&str, &str, &str, &str); 12] = [
    ("POST", "/app-logs-a/_doc", "{}", "look before"),
    ("PUT", "/app-logs-a/_doc/1", "{}", "look before"),
    ("DELETE", "/app-logs-a/_doc/1", "", "look before"),
    ("POST", "/app-logs-a/_update/1", "{\"doc\":{}}", "look before"),
    ("POST", "/_bulk", LINES, "look before"),
    ("POST", "/app-logs-a/_delete_by_query", "{\"query\":{\"match_all\":{}}}", "look before"),
    ("PUT", "/app-logs-b", "{}", "look before"),
    ("POST", "/logs-a/_search?scroll=1m", "{}", "open another"),
    ("POST", "/logs-a/_search/point_in_time?keep_alive=1m", "", "open another"),
    ("POST", "/_search/scroll", "{\"scroll_id\":\"a\",\"scroll\":\"1m\"}", "begin it again"),
    ("DELETE", "/_search/scroll", "{\"scroll_id\":[\"a\"]}", "look before"),
    ("DELETE", "/_search/point_in_time", "{\"pit_id\":[\"a\"]}", "look before"),
];

fn send(client: &Client, method: &str, target: &str, body: &str) -> Answer {
    let request = client.request(method, target);
    if body.is_empty() { request.send() } else { request.body("application/json", body).send() }
}

/// An error that a stock client shows and does not send again for, and the record of it.
fn is_unknown(gateway: &Gateway, answer: &Answer, what_to_do: &str, context: &str) {
    assert_eq!(answer.status, 500, "{context}: {}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/json; charset=UTF-8"), "{context}");
    let body = answer.json();
    let cause = &body["error"]["root_cause"][0];
    assert_eq!(
        (&body["status"], &cause["type"]),
        (&json!(500), &json!("unknown_outcome_exception")),
        "{context}: {body}"
    );
    assert_eq!(
        (&cause["reason"], &body["error"]["request_id"]),
        (&body["error"]["reason"], &json!(answer.request_id()))
    );
    let reason = cause["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("it is not known whether") && reason.contains(what_to_do), "{context}: {reason}");
    let event = gateway.audit_of(answer.request_id());
    assert_eq!(
        (&event["decision"], &event["status"], &event["error"]),
        (&json!("allow"), &json!(500), &cause["reason"]),
        "{context}: {event}"
    );
}

#[test]
fn what_may_have_been_done_arrives_once_and_is_answered_500() {
    for fault in FAULTS {
        let upstream = Upstream::start(move |turn| fault.answer(turn));
        let (gateway, client) = before(&upstream);
        for (method, target, body, what_to_do) in ONCE {
            let context = format!("{fault:?}: {method} {target}");
            let already = upstream.requests_for(target).len();
            is_unknown(&gateway, &send(&client, method, target, body), what_to_do, &context);
            assert_eq!(upstream.requests_for(target).len() - already, 1, "{context}");
        }
        // The connection of the client goes on.
        let mut connection = client.connect();
        for _ in 0..2 {
            connection.write(&client.put("/app-logs-a/_doc/2").json(&json!({})).bytes());
            assert_eq!(connection.answer().status, 500, "{fault:?}");
        }
    }
}

#[test]
fn of_two_nodes_one_is_asked_for_what_may_have_been_done_and_both_for_a_search() {
    let forgetful = || Upstream::start(|turn| Fault::Closes.answer(turn));
    let nodes = [forgetful(), forgetful()];
    let gateway = Gateway::start(settings().nodes(&nodes.each_ref().map(Upstream::url)));
    let client = gateway.with("both");
    let arrived = |target: &str| nodes.each_ref().map(|node| node.requests_for(target).len());
    for (method, target, body, what_to_do) in ONCE {
        let already: usize = arrived(target).iter().sum();
        is_unknown(&gateway, &send(&client, method, target, body), what_to_do, target);
        assert_eq!(arrived(target).iter().sum::<usize>() - already, 1, "{method} {target}");
    }
    let searches =
        [("GET", "/logs-b/_search", ""), ("POST", "/logs-c/_search", "{\"size\":0}"), ("GET", "/logs-a/_doc/1", "")];
    for (method, target, body) in searches {
        let answer = send(&client, method, target, body);
        assert_eq!(answer.status, 502, "{}", answer.text());
        let reason = answer.json()["error"]["root_cause"][0]["reason"].to_string();
        assert!(reason.contains("may be sent again"), "{reason}");
        assert_eq!(arrived(target), [1, 1], "{method} {target}");
    }
}

/// An answer that is longer than what is held back, in pieces.
const PIECE: usize = 64 * 1024;
const PIECES: usize = 48;

#[test]
fn the_answer_to_a_write_is_passed_on_whole_however_long_it_is() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        let is_whole = turn.received.target != "/app-logs-cut/_bulk";
        turn.write(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES).as_bytes());
        let sent = if is_whole { PIECES } else { PIECES - 1 };
        for number in 0..sent {
            turn.write(&vec![b'a' + u8::try_from(number % 26).expect("a letter"); PIECE]);
        }
        if !is_whole {
            turn.close();
        }
    });
    let (gateway, client) = before(&upstream);
    let bulk = |index: &str| client.post(&format!("/app-logs-{index}/_bulk")).body("application/json", LINES);
    for _ in 0..3 {
        let answer = bulk("long").expect(200);
        let right = answer.body.chunks(PIECE).enumerate().all(|(number, piece)| {
            piece.len() == PIECE && piece.iter().all(|byte| usize::from(byte - b'a') == number % 26)
        });
        assert!(right && answer.body.len() == PIECE * PIECES);
    }
    // More than can be held back was on its way: nothing is left but to end the connection.
    let mut connection = client.connect();
    connection.write(&bulk("cut").bytes());
    assert!(connection.answer_to("POST").is_err(), "the answer looked whole");
    let event = gateway.audit_where("the bulk", |event| event["path"] == "/app-logs-cut/_bulk");
    assert!(event["error"].as_str().is_some_and(|error| error.contains("broke off")), "{event}");
}

#[test]
fn of_what_cannot_have_got_there_clients_may_send_it_again() {
    let gone = Upstream::obliging();
    let (gateway, client) = before(&gone);
    gone.stop();
    until("the engine to be gone", Duration::from_secs(20), || {
        (client.get("/logs-a/_search").send().status == 503).then_some(())
    });
    let arrived = gone.requests().len();
    for (method, target, body, _) in ONCE {
        let answer = send(&client, method, target, body);
        assert_eq!(answer.status, 503, "{method} {target}: {}", answer.text());
        assert!(answer.text().contains("nothing of this request got there"), "{}", answer.text());
    }
    assert_eq!(gone.requests().len(), arrived);
    assert!(gateway.is_running());
}

/// The name of a client, and its program.
type Script = (&'static str, fn() -> Command);

#[test]
fn stock_clients_send_once_what_may_have_been_done_and_show_what_to_do() {
    let scripts: [Script; 3] = [
        ("opensearch-py over urllib3", || with_argument(python(&workspace().join("e2e/python/unknown.py")), "urllib3")),
        ("opensearch-py over requests", || {
            with_argument(python(&workspace().join("e2e/python/unknown.py")), "requests")
        }),
        ("opensearch-js", || javascript(&workspace().join("e2e/clients/js/unknown.cjs"))),
    ];
    for fault in [Fault::Closes, Fault::IsSilent, Fault::BreaksOff] {
        for (name, script) in scripts {
            let upstream = Upstream::start(move |turn| match turn.received.target.split('?').next() {
                Some("/logs-a/_search") => {
                    turn.read_body();
                    turn.write(&json_answer(200, &page().to_string()));
                }
                _ if turn.received.method == "DELETE" => turn.oblige(),
                _ => fault.answer(turn),
            });
            let (gateway, _) = before(&upstream);
            let found = run(script(), &gateway);
            let context = format!("{name}, {fault:?}");
            shows(&found["index"], "look before", &context);
            shows(&found["bulk"], "look before", &context);
            shows(&found["scan"], "begin it again", &context);
            let arrived = |path: &str| {
                let is_meant = |target: &str| target.split('?').next() == Some(path);
                let requests = upstream.requests();
                requests.iter().filter(|it| it.method != "DELETE" && is_meant(&it.target)).count()
            };
            let counts = ["/app-logs-one/_doc", "/_bulk", "/_search/scroll"].map(arrived);
            assert_eq!(counts, [1, 1, 1], "{context}");
        }
    }
}

/// The first page of a scroll that has more.
fn page() -> Value {
    let hits =
        json!({"total": {"value": 2, "relation": "eq"}, "hits": [{"_index": "logs-a", "_id": "1", "_source": {}}]});
    let shards = json!({"total": 1, "successful": 1, "skipped": 0, "failed": 0});
    json!({"_scroll_id": "abc", "took": 1, "timed_out": false, "_shards": shards, "hits": hits})
}

fn with_argument(mut program: Command, argument: &str) -> Command {
    program.arg(argument);
    program
}

/// The client's exception has the status, and its message the sentence.
fn shows(raised: &Value, sentence: &str, context: &str) {
    assert_eq!(raised["status"], json!(500), "{context}: {raised}");
    let text = raised["text"].as_str().unwrap_or_default();
    assert!(text.contains("it is not known whether") && text.contains(sentence), "{context}: {raised}");
}

fn run(program: Command, gateway: &Gateway) -> Value {
    let url = OsString::from(format!("https://localhost:{}", gateway.port()));
    let (ca, token) = (gateway.ca(), gateway.token("both"));
    report(program, &[("URL", url.as_os_str()), ("CA", ca.as_os_str()), ("TOKEN", OsStr::new(&token))])
}
