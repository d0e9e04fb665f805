//! What is too much is refused in time, with the status that says so, and costs nobody else anything.

use std::time::{Duration, Instant};

use e2e::{ClientSettings, Gateway, Settings, Upstream};
use serde_json::json;

#[test]
fn a_client_over_its_rate_waits_and_others_do_not() {
    let upstream = Upstream::obliging();
    let slow = ClientSettings::new("slow", &["read:logs-*"]).with("rate_limit", json!({"requests_per_second": 1, "burst": 5}));
    let gateway = Gateway::start(Settings::new().client_with(slow).client("quick", &["read:logs-*"]).upstream(&upstream.url()));
    let (one, two, quick) = (gateway.with("slow"), gateway.with("slow"), gateway.with("quick"));
    let begun = Instant::now();
    let mut passed = 0;
    let mut refused = Vec::new();
    for number in 0..40 {
        // A second token and other headers are no second bucket.
        let client = if number % 2 == 0 { &one } else { &two };
        let answer = client.get("/logs-a/_search").header("X-Forwarded-For", &format!("192.0.2.{number}")).send();
        match answer.status {
            200 => passed += 1,
            429 => refused.push(answer),
            status => panic!("{status}: {}", answer.text()),
        }
        quick.get("/logs-a/_search").expect(200);
    }
    let more = begun.elapsed().as_secs() + 1;
    assert!((5..=5 + more).contains(&passed), "{passed} passed");
    for answer in &refused {
        let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("a number");
        assert!((1..=5).contains(&wait), "{wait}");
        assert_eq!(answer.json()["status"], 429);
        assert_eq!(answer.header("connection"), None, "a limit does not end the connection");
    }
    let event = gateway.audit_of(refused[0].request_id());
    assert_eq!((&event["decision"], &event["client"]), (&json!("deny"), &json!("slow")));
    assert!(gateway.metric("oauth4os_requests_total{outcome=\"limited\"}") >= refused.len() as f64);
    assert_eq!(upstream.requests().len(), passed as usize + 40);
}

#[test]
fn wrong_secrets_lock_out_who_guesses_and_issue_nothing() {
    let gateway = Gateway::start(Settings::new().client("reader", &["read:logs-*"]).client("other", &["read:logs-*"]).upstream(&Upstream::obliging().url()));
    let form = [("grant_type", "client_credentials")];
    let mut statuses = Vec::new();
    for number in 0..40 {
        let answer = gateway.http().with_basic("reader", &format!("a-wrong-secret-{number}")).post("/oauth/token").form(&form).send();
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        if answer.status == 401 {
            assert_eq!(answer.json()["error"], "invalid_client");
            assert!(answer.header("www-authenticate").is_some());
        } else {
            assert!(answer.header("retry-after").is_some(), "{} {}", answer.status, answer.text());
        }
        statuses.push(answer.status);
    }
    assert!(statuses.contains(&429) && statuses.iter().all(|status| matches!(status, 401 | 429)), "{statuses:?}");
    // Another client is not locked out, nor is the same one from another address.
    assert_eq!(gateway.ask_for_token("other", &[]).status, 200);
    let elsewhere = gateway.http().from_address([127, 0, 0, 2].into()).with_basic("reader", gateway.secret("reader"));
    elsewhere.post("/oauth/token").form(&form).expect(200);
    for (id, secret) in [("reader", ""), ("nobody", "x"), ("", ""), ("reader", gateway.secret("other"))] {
        let answer = gateway.http().with_basic(id, secret).post("/oauth/token").form(&form).send();
        assert!(matches!(answer.status, 401 | 429), "{id}: {}", answer.text());
    }
}

#[test]
fn heads_and_bodies_have_their_limits() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(
        Settings::new()
            .client("both", &["read:logs-*", "write:app-logs-*"])
            .limit("head", json!("8KiB"))
            .limit("headers", json!(20))
            .limit("request_line", json!("1KiB"))
            .limit("body", json!("64KiB"))
            .limit("inspected_body", json!("16KiB"))
            .upstream(&upstream.url()),
    );
    let both = gateway.with("both");
    let long = |length: usize| "a".repeat(length);
    both.get(&format!("/logs-a/_search?q={}", long(900))).expect(200);
    let before = upstream.requests().len();
    let target = format!("/logs-a/_search?q={}", long(1_100));
    let many = (0..30).fold(both.get("/logs-a/_search"), |request, number| request.header(&format!("X-Number-{number}"), "1"));
    let refused = [
        (both.get(&target).send(), 414),
        (both.get("/logs-a/_search").header("X-Long", &long(8_500)).send(), 431),
        (many.send(), 431),
        (both.post("/logs-a/_search").body("application/json", long(17 * 1024)).send(), 413),
        (both.post("/app-logs-a/_bulk").body("application/json", long(65 * 1024)).send(), 413),
        (both.post("/app-logs-a/_doc").body("application/json", long(65 * 1024)).send(), 413),
    ];
    for (answer, status) in &refused {
        assert_eq!(answer.status, *status, "{}", answer.text());
        assert_eq!(answer.json()["status"], *status);
        assert_eq!(answer.header("connection"), Some("close"));
        assert_eq!(gateway.audit_of(answer.request_id())["decision"], "deny");
    }
    assert_eq!(upstream.requests().len(), before, "something went to the engine");
    both.post("/app-logs-a/_doc").body("application/json", format!("{{\"a\":\"{}\"}}", long(60 * 1024))).expect(200);

    // Without a length the limit is found on the way, and the engine never sees the end.
    let mut connection = both.connect();
    let authorization = both.authorization().expect("a token");
    connection.write(format!("POST /app-logs-a/_doc HTTP/1.1\r\nHost: a\r\nAuthorization: {authorization}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    for _ in 0..9 {
        if connection.try_write(format!("2000\r\n{}\r\n", long(0x2000)).as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(connection.answer().status, 413);
    assert!(upstream.requests().iter().filter(|request| !request.header("transfer-encoding").is_empty()).all(|request| !request.body.is_complete));
    both.get("/logs-a/_search").expect(200);
}

#[test]
fn connections_over_the_limit_are_closed_and_a_free_one_serves_again() {
    let gateway = Gateway::start(Settings::new().client("reader", &["read:logs-*"]).limit("connections", json!(4)).upstream(&Upstream::obliging().url()));
    let token = gateway.token("reader");
    let reader = gateway.http().with_token(&token);
    // One more is kept by this thread for its own requests.
    let mut open: Vec<_> = (0..3).map(|_| reader.connect()).collect();
    let refused = std::net::TcpStream::connect(("127.0.0.1", gateway.port())).expect("a connection");
    refused.set_read_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    assert!(matches!(std::io::Read::read(&mut &refused, &mut [0; 1]), Ok(0) | Err(_)));
    for connection in &mut open {
        connection.write(&reader.get("/logs-a/_search").bytes());
        assert_eq!(connection.answer().status, 200);
    }
    drop(open);
    e2e::until("free places", Duration::from_secs(10), || (gateway.metric("oauth4os_connections") <= 1.0).then_some(()));
    let mut connection = reader.connect();
    connection.write(&reader.get("/logs-a/_search").bytes());
    assert_eq!(connection.answer().status, 200);
}
