//! How many requests a client may send, to the number and to the second.

use std::time::{Duration, Instant};

use e2e::{Answer, Client, ClientSettings, Gateway, Settings, Upstream, until};
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

#[test]
fn the_answer_tells_of_the_rate_when_it_is_over_or_always() {
    let gateway = start(Settings::new().client_with(limited("slow", 1, 3)));
    let slow = gateway.with("slow");
    assert_eq!(slow.get("/").expect(200).header("ratelimit"), None);
    let (_, refused) = until_refused(&slow);
    assert_eq!(refused.header("ratelimit-policy"), Some("\"client\";q=3;w=3"));
    assert_eq!(refused.header("ratelimit"), Some("\"client\";r=0;t=1"));
    assert_eq!(refused.header("retry-after"), Some("1"));

    let settings = Settings::new().client_with(limited("slow", 1, 3)).limit("rate_headers", json!("all"));
    let gateway = start(settings);
    let slow = gateway.with("slow");
    for (target, status, left) in [("/logs-a/_count", 200, 2), ("/pii-a/_count", 403, 1)] {
        let answer = slow.get(target).expect(status);
        assert_eq!(answer.header("ratelimit-policy"), Some("\"client\";q=3;w=3"), "{target}");
        let told = answer.header("ratelimit").expect("a standing").to_owned();
        // A second may have passed on a busy machine.
        assert!((left..3).any(|left| told == format!("\"client\";r={left};t=1")), "{target}: {told}");
    }
}

#[test]
fn observing_refuses_nothing_and_tells_what_would_have_been_refused() {
    let settings = Settings::new()
        .client_with(limited("busy", 1, 2))
        .limit("rate_mode", json!("observe"))
        .limit("unauthenticated", json!({"requests_per_second": 1, "burst": 2}));
    let gateway = start(settings);
    let busy = gateway.with("busy");
    let last = (0..20).map(|_| busy.get("/logs-a/_count").expect(200)).reduce(|_, last| last).expect("an answer");
    let event = gateway.audit_of(last.request_id());
    assert_eq!((&event["decision"], &event["status"]), (&json!("allow"), &json!(200)), "{event}");
    assert_eq!(event["observed"], "the client has sent too many requests");
    let over = |rate: &str, mode: &str| {
        gateway.metric(&format!("oauth4os_over_rate_total{{rate=\"{rate}\",mode=\"{mode}\"}}"))
    };
    assert!(over("client", "observe") >= 15.0 && over("client", "enforce") == 0.0);

    let stranger = gateway.http().with_token("eyJ.wrong.token");
    let last = (0..20).map(|_| stranger.get("/logs-a/_count").expect(401)).reduce(|_, last| last).expect("an answer");
    let event = gateway.audit_of(last.request_id());
    assert!(event["observed"].as_str().is_some_and(|what| what.contains("from the address")), "{event}");
    assert!(over("address", "observe") >= 15.0 && over("address", "enforce") == 0.0);
}

#[test]
fn who_guesses_tokens_is_slowed_and_nobody_else() {
    let settings = Settings::new()
        .client("reader", &["read:logs-*"])
        .limit("unauthenticated", json!({"requests_per_second": 1, "burst": 5}));
    let gateway = start(settings);
    // Sessions belong to workers; a connection stays with one.
    let (known, unknown) = (gateway.token("reader"), gateway.token("reader"));
    let known = gateway.http().with_token(&known);
    let mut neighbour = known.connect();
    let mut ask_neighbour = || {
        neighbour.write(&known.get("/logs-a/_count").bytes());
        neighbour.answer()
    };
    assert_eq!(ask_neighbour().status, 200);
    let guess = |number: usize| gateway.http().with_token(&format!("eyJ.wrong.{number}")).get("/logs-a/_count").send();
    let begin = Instant::now();
    let answers: Vec<Answer> = (0..200).map(guess).collect();
    let looked_at = answers.iter().filter(|answer| answer.status == 401).count() as u64;
    within_the_limit(looked_at, 5, begin);
    let refused = answers.iter().find(|answer| answer.status == 429).expect("a refusal");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"address\";q=5;w=5"));
    assert_eq!((refused.header("ratelimit"), refused.header("retry-after")), (Some("\"address\";r=0;t=1"), Some("1")));
    let event = gateway.audit_of(refused.request_id());
    assert_eq!((&event["decision"], &event["status"]), (&json!("deny"), &json!(429)), "{event}");
    // Without a token it is the same.
    let answers: Vec<Answer> = (0..50).map(|_| gateway.http().get("/").send()).collect();
    assert!(answers.iter().filter(|answer| answer.status == 429).count() > 40);

    // A token that is known goes on; a new one from there has to wait; from elsewhere it need not.
    assert_eq!(ask_neighbour().status, 200);
    let unknown = gateway.http().with_token(&unknown);
    until("a new token to be kept waiting", Duration::from_secs(20), || {
        // Keeps the address over its limit.
        guess(0);
        (gateway.http().with_token(&gateway.token("reader")).get("/logs-a/_count").send().status == 429).then_some(())
    });
    unknown.from_address([127, 0, 0, 9].into()).get("/logs-a/_count").expect(200);
    std::thread::sleep(Duration::from_secs(2));
    unknown.get("/logs-a/_count").expect(200);
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
