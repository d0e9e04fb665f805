//! Who guesses secrets or opens connections without end is held up, and nobody else is.

use std::time::Duration;

use e2e::{Gateway, Settings, Upstream};
use serde_json::json;

#[test]
fn wrong_secrets_lock_out_who_guesses_and_issue_nothing() {
    let gateway = Gateway::start(
        Settings::new()
            .client("reader", &["read:logs-*"])
            .client("other", &["read:logs-*"])
            .upstream(&Upstream::obliging().url()),
    );
    let form = [("grant_type", "client_credentials")];
    let mut statuses = Vec::new();
    for number in 0..40 {
        let answer = gateway
            .http()
            .with_basic("reader", &format!("a-wrong-secret-{number}"))
            .post("/oauth/token")
            .form(&form)
            .send();
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
fn connections_over_the_limit_are_closed_and_a_free_one_serves_again() {
    let gateway = Gateway::start(
        Settings::new()
            .client("reader", &["read:logs-*"])
            .limit("connections", json!(4))
            .upstream(&Upstream::obliging().url()),
    );
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
    e2e::until("free places", Duration::from_secs(10), || {
        (gateway.metric("oauth4os_connections") <= 1.0).then_some(())
    });
    let mut connection = reader.connect();
    connection.write(&reader.get("/logs-a/_search").bytes());
    assert_eq!(connection.answer().status, 200);
}
