//! Tokens for the engine: one for each grant, whatever the number of requests and workers, a new one before it ends, and none that has
//! ended ever leaves.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{Claims, Driver, Gateway, OnDrop, Settings, Upstream, WrongClock, json_answer, until};
use oauth4os_tokens::clock::{Clock, SystemClock};
use serde_json::json;

/// The shortest life there is, of which the last fifth is for renewing, and a time within that.
const LIFETIME: &str = "60s";
const TO_RENEWAL: i64 = 50;

fn settings(upstream: &Upstream) -> Settings {
    Settings::new()
        .driver(Driver::Jwt)
        .upstream(&upstream.url())
        .top("workers", json!(2))
        .tokens("internal_lifetime", json!(LIFETIME))
        .client("reader", &["read:logs-*"])
}

/// A token as it reached the engine, and the gateway's time then.
type Arrived = (String, i64);

/// A server in the engine's place that writes down the tokens it is shown.
fn engine(offset: &Arc<AtomicI64>) -> (Upstream, Arc<Mutex<Vec<Arrived>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (arrived, offset) = (Arc::clone(&seen), Arc::clone(offset));
    let upstream = Upstream::start(move |turn| {
        turn.read_body();
        let token = turn.received.header("authorization").concat();
        let now = SystemClock.now().as_secs() + offset.load(Ordering::SeqCst);
        arrived.lock().expect("the lock").push((token.trim_start_matches("Bearer ").to_owned(), now));
        turn.write(&json_answer(200, "{}"));
    });
    (upstream, seen)
}

fn expires(token: &str) -> i64 {
    Claims::of(token).claims["exp"].as_i64().expect("a time")
}

#[test]
fn there_is_one_token_for_a_grant_and_one_new_one_for_each_renewal_under_load() {
    const RENEWALS: usize = 5;
    let offset = Arc::new(AtomicI64::new(0));
    let (upstream, seen) = engine(&offset);
    let clock = WrongClock::new();
    let gateway = Gateway::start(clock.of(settings(&upstream)));
    // Tokens of one client with the same scopes are one grant.
    let clients = [gateway.with("reader"), gateway.with("reader")];
    let count = || seen.lock().expect("the lock").len();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = OnDrop(|| is_over.store(true, Ordering::SeqCst));
        for number in 0..8 {
            let (client, is_over) = (&clients[number % 2], &is_over);
            scope.spawn(move || {
                let mut connection = client.connect();
                while !is_over.load(Ordering::SeqCst) {
                    connection.write(&client.get("/logs-a/_search").bytes());
                    let answer = connection.answer();
                    assert_eq!(answer.status, 200, "{}", answer.text());
                }
            });
        }
        for renewal in 0..=RENEWALS {
            let ahead = i64::try_from(renewal).expect("a number") * TO_RENEWAL;
            offset.store(ahead, Ordering::SeqCst);
            clock.set_off(ahead);
            let before = count();
            until("requests at that time", Duration::from_secs(30), || (count() > before + 200).then_some(()));
            let tokens = seen.lock().expect("the lock").iter().map(|(token, _)| token.clone()).collect::<BTreeSet<_>>();
            assert_eq!(tokens.len(), renewal + 1, "one for each renewal");
        }
    });
    for (token, now) in seen.lock().expect("the lock").iter() {
        assert!(expires(token) > *now, "a token that ended at {} arrived at {now}", expires(token));
    }
}

#[test]
fn a_body_that_takes_its_time_goes_with_a_token_that_is_good_when_it_goes() {
    let offset = Arc::new(AtomicI64::new(0));
    let (upstream, seen) = engine(&offset);
    let clock = WrongClock::new();
    let gateway = Gateway::start(clock.of(settings(&upstream)));
    let reader = gateway.with("reader");
    reader.get("/logs-a/_search").expect(200);
    let request = reader.post("/logs-slow/_search").header("Expect", "100-continue");
    let request = request.json(&json!({"query": {"match_all": {}}})).bytes();
    let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the end of the head") + 4;
    let (head, rest) = request.split_at(end);
    let mut connection = reader.connect();
    connection.write(head);
    // Then the gateway has done with the request what it does before the body.
    let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
    assert_eq!(connection.take(go_on.len()).expect("an interim answer"), go_on);
    offset.store(600, Ordering::SeqCst);
    clock.set_off(600);
    connection.write(rest);
    let answer = connection.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (token, now) = seen.lock().expect("the lock").last().cloned().expect("a request");
    assert!(expires(&token) > now, "a token that ended at {} arrived at {now}", expires(&token));
}
