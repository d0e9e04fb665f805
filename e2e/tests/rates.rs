//! How many requests a client may send, to the number and to the second.

use std::time::{Duration, Instant};

use e2e::{Answer, Client, ClientSettings, Gateway, Settings, Upstream};
use serde_json::json;

fn limited(id: &str, requests_per_second: u32, burst: u32) -> ClientSettings {
    let limit = json!({"requests_per_second": requests_per_second, "burst": burst});
    ClientSettings::new(id, &["read:logs-*"]).with("rate_limit", limit)
}

fn start(settings: Settings) -> Gateway {
    Gateway::start(settings.upstream(&Upstream::obliging().url()))
}

#[test]
fn after_the_burst_a_client_waits_as_long_as_it_is_told() {
    let gateway = start(Settings::new().client_with(limited("slow", 1, 5)).client_with(limited("other", 1, 5)));
    let slow = gateway.with("slow");
    let begin = Instant::now();
    let (answered, refused) = until_refused(&slow);
    within_the_limit(answered, 5, begin);
    let body = refused.json();
    assert_eq!(refused.header("content-type"), Some("application/json; charset=UTF-8"));
    assert_eq!((&body["status"], &body["error"]["type"]), (&json!(429), &json!("rate_limit_exceeded_exception")));
    assert!(
        body["error"]["root_cause"][0]["reason"].as_str().is_some_and(|reason| reason.contains("Retry-After")),
        "{body}"
    );
    let wait: u64 = refused.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds");
    assert_eq!(wait, 1);
    // Another client has all of its own.
    let other = gateway.with("other");
    for _ in 0..5 {
        other.get("/logs-a/_count").expect(200);
    }
    // What was promised: after that time, one request more.
    std::thread::sleep(Duration::from_secs(wait));
    slow.get("/").expect(200);
}

#[test]
fn refused_requests_do_not_make_the_wait_longer() {
    let gateway = start(Settings::new().client_with(limited("impatient", 1, 1)));
    let client = gateway.with("impatient");
    until_refused(&client);
    let begin = Instant::now();
    let mut refused = 0;
    while client.get("/").send().status == 429 {
        refused += 1;
        assert!(
            begin.elapsed() < Duration::from_millis(1_500),
            "no request in 1.5 s, though one each second is permitted"
        );
    }
    assert!(refused > 10, "only {refused} were refused, which proves nothing");
}

#[test]
fn the_limit_holds_over_connections_workers_and_tokens() {
    let gateway = start(Settings::new().client_with(limited("wide", 1, 40)));
    let tokens: Vec<String> = (0..12).map(|_| gateway.token("wide")).collect();
    let begin = Instant::now();
    let passed: u64 = std::thread::scope(|scope| {
        let gateway = &gateway;
        let send = |token: &str| {
            let client = gateway.http().with_token(token);
            (0..20).filter(|_| client.get("/").send().status == 200).count() as u64
        };
        let threads: Vec<_> = tokens.iter().map(|token| scope.spawn(move || send(token))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a thread")).sum()
    });
    within_the_limit(passed, 40, begin);
}

#[test]
fn clients_without_a_limit_of_their_own_have_the_common_one_each() {
    let settings = Settings::new()
        .limit("per_client", json!({"requests_per_second": 1, "burst": 3}))
        .client("one", &["read:logs-*"])
        .client("two", &["read:logs-*"])
        .client_with(limited("own", 1, 8));
    let gateway = start(settings);
    for (client, burst) in [("one", 3), ("two", 3), ("own", 8)] {
        let client = gateway.with(client);
        let begin = Instant::now();
        let (answered, _) = until_refused(&client);
        within_the_limit(answered, burst, begin);
    }
}

/// The whole burst, and then one for each second that has begun.
fn within_the_limit(answered: u64, burst: u64, begin: Instant) {
    let more = begin.elapsed().as_secs() + 1;
    assert!((burst..=burst + more).contains(&answered), "{answered} passed, with a burst of {burst}");
}

/// Sends until the client is over its limit; how many were answered before, and the refusal.
fn until_refused(client: &Client) -> (u64, Answer) {
    let mut answered = 0;
    loop {
        let answer = client.get("/").send();
        match answer.status {
            200 => answered += 1,
            429 => return (answered, answer),
            other => panic!("{other}: {}", answer.text()),
        }
    }
}
