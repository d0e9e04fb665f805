//! Many at once: nobody gets another's token, no revocation is overtaken, nothing acknowledged is lost.

use std::collections::{BTreeSet, HashSet};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{Client, Connection, Gateway, Settings, base64url_decode, until};
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings::new()
        .client("worker", &["read:logs-*"])
        .client("other", &["read:metrics-*"])
        // Whoever goes on with a revoked token is not to be slowed down here.
        .limit("unauthenticated", json!({"requests_per_second": 100_000, "burst": 1_000_000}))
}

#[test]
fn two_hundred_token_requests_at_once() {
    const COUNT: usize = 200;
    let gateway = Gateway::start(settings());
    let barrier = Barrier::new(COUNT);
    let (gateway, barrier) = (&gateway, &barrier);
    let tokens: Vec<(&str, String)> = std::thread::scope(|scope| {
        let ask = |number: usize| {
            let client = if number.is_multiple_of(2) { "worker" } else { "other" };
            scope.spawn(move || {
                barrier.wait();
                (client, gateway.token(client))
            })
        };
        let threads: Vec<_> = (0..COUNT).map(ask).collect();
        threads.into_iter().map(|thread| thread.join().expect("a token")).collect()
    });

    let mut ids = BTreeSet::new();
    for (client, token) in &tokens {
        let claims = claims(token);
        assert_eq!((&claims["client_id"], &claims["sub"]), (&Value::from(*client), &Value::from(*client)));
        assert_eq!(claims["scope"], if *client == "worker" { "read:logs-*" } else { "read:metrics-*" });
        assert!(ids.insert(claims["jti"].as_str().expect("an id").to_owned()), "an id was given twice: {claims}");
    }
    assert_eq!(ids.len(), COUNT);
    assert_eq!(tokens.iter().map(|(_, token)| token).collect::<HashSet<_>>().len(), COUNT);
    assert_eq!(listed(gateway), ids);
    for event in gateway.audit() {
        assert!(event["event"] != "token.issued" || ids.remove(event["token_id"].as_str().expect("an id")), "{event}");
    }
    assert!(ids.is_empty(), "not recorded: {ids:?}");
}

#[test]
fn no_request_overtakes_a_revocation() {
    const ROUNDS: usize = 5;
    const USERS: usize = 20;
    const AFTER: usize = 10;
    let gateway = Gateway::start(settings());
    for round in 0..ROUNDS {
        let token = gateway.token("worker");
        let id = claims(&token)["jti"].as_str().expect("an id").to_owned();
        let (acknowledged, passed, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let all_are_using_it = Barrier::new(USERS + 3);
        std::thread::scope(|scope| {
            for _ in 0..USERS {
                scope.spawn(|| {
                    let user = gateway.http().with_token(&token);
                    user.get("/").expect(200);
                    all_are_using_it.wait();
                    let mut after = 0;
                    while after < AFTER {
                        // Before the request is sent: the answer to the revocation was there already.
                        let is_over = acknowledged.load(Ordering::SeqCst);
                        let answer = user.get("/").send();
                        match answer.status {
                            200 if is_over => {
                                panic!("round {round}: a request passed after the revocation was acknowledged")
                            }
                            200 => _ = passed.fetch_add(1, Ordering::Relaxed),
                            401 => _ = refused.fetch_add(1, Ordering::Relaxed),
                            other => panic!("{other}: {}", answer.text()),
                        }
                        after += usize::from(is_over);
                    }
                });
            }
            // Three ways to revoke, all at once.
            let by_id = format!("/oauth/token/{id}");
            let worker = gateway.http().with_basic("worker", gateway.secret("worker"));
            let administrator = gateway.administrator();
            let ways = [
                (worker.post("/oauth/revoke").form(&[("token", &token)]).bytes(), 200),
                (worker.delete(&by_id).bytes(), 204),
                (administrator.delete(&by_id).bytes(), 204),
            ];
            for (bytes, status) in ways {
                let (worker, acknowledged, passed, all_are_using_it) =
                    (worker.clone(), &acknowledged, &passed, &all_are_using_it);
                scope.spawn(move || {
                    let mut connection = worker.connect();
                    all_are_using_it.wait();
                    until("some requests", Duration::from_secs(30), || {
                        (passed.load(Ordering::Relaxed) >= USERS).then_some(())
                    });
                    connection.write(&bytes);
                    let answer = connection.answer();
                    assert_eq!(answer.status, status, "{}", answer.text());
                    acknowledged.store(true, Ordering::SeqCst);
                });
            }
        });
        assert!(passed.into_inner() >= USERS);
        assert!(refused.into_inner() >= USERS * AFTER);
        let revoked = |event: &Value| event["event"] == "token.revoked" && event["token_id"] == id.as_str();
        let _ = gateway.audit_where("the revocation", revoked);
        assert_eq!(gateway.audit().iter().filter(|event| revoked(event)).count(), 1, "it was revoked once");
    }
}

#[test]
fn other_tokens_go_on_while_many_are_revoked() {
    let gateway = Gateway::start(settings());
    let lasting = gateway.with("other");
    let tokens: Vec<String> = (0..60).map(|_| gateway.token("worker")).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                lasting.get("/").expect(200);
                count += 1;
            }
            count
        });
        std::thread::scope(|scope| {
            for part in tokens.chunks(10) {
                let gateway = &gateway;
                scope.spawn(move || {
                    for token in part {
                        revoke(gateway, token);
                        gateway.http().with_token(token).get("/").expect(401);
                    }
                });
            }
        });
        done.store(true, Ordering::SeqCst);
        assert!(reader.join().expect("the reader") > 0);
    });
    for token in &tokens {
        gateway.http().with_token(token).get("/").expect(401);
    }
}

#[test]
fn what_was_acknowledged_before_a_crash_holds_after_it() {
    const ROUNDS: usize = 3;
    const THREADS: usize = 8;
    const ENOUGH: usize = 40;
    let gateway = Gateway::start(settings());
    let (mut in_force, mut revoked) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let enough = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|number| {
                    scope.spawn({
                        let (gateway, enough) = (&gateway, &enough);
                        // Connected before any can be killed. Every second one revokes what it gets.
                        let connection = gateway.http().connect();
                        move || issue_until_the_end(gateway, connection, enough, number % 2 == 1)
                    })
                })
                .collect();
            until("enough tokens", Duration::from_secs(60), || (enough.load(Ordering::SeqCst) >= ENOUGH).then_some(()));
            gateway.kill();
            for thread in threads {
                let acknowledged = thread.join().expect("a thread");
                in_force.extend(acknowledged.in_force);
                revoked.extend(acknowledged.revoked);
            }
        });
        assert!(!gateway.is_running());
        gateway.start_again();

        let listed = listed(&gateway);
        for token in &in_force {
            gateway.http().with_token(token).get("/logs-*/_count").expect(200);
            assert!(listed.contains(claims(token)["jti"].as_str().expect("an id")), "a token is not listed");
        }
        for token in &revoked {
            gateway.http().with_token(token).get("/").expect(401);
        }
    }
    assert!(
        in_force.len() >= ROUNDS && revoked.len() >= ROUNDS,
        "{} tokens, {} revoked",
        in_force.len(),
        revoked.len()
    );
    assert!(in_force.len() + revoked.len() >= ROUNDS * ENOUGH);
}

struct Acknowledged {
    in_force: Vec<String>,
    revoked: Vec<String>,
}

/// Gets tokens until the gateway is gone.
fn issue_until_the_end(
    gateway: &Gateway,
    mut connection: Connection,
    count: &AtomicUsize,
    revoke: bool,
) -> Acknowledged {
    let mut acknowledged = Acknowledged { in_force: Vec::new(), revoked: Vec::new() };
    let client: Client = gateway.http().with_basic("worker", gateway.secret("worker"));
    let mut ask = |bytes: Vec<u8>| {
        connection.try_write(&bytes).ok()?;
        connection.answer_to("POST").ok()
    };
    loop {
        let Some(answer) = ask(client.post("/oauth/token").form(&[("grant_type", "client_credentials")]).bytes())
        else {
            return acknowledged;
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
        if revoke {
            // Cut off before the answer, it may be revoked or not.
            let Some(answer) = ask(client.post("/oauth/revoke").form(&[("token", &token)]).bytes()) else {
                return acknowledged;
            };
            assert_eq!(answer.status, 200, "{}", answer.text());
            acknowledged.revoked.push(token);
        } else {
            acknowledged.in_force.push(token);
        }
        count.fetch_add(1, Ordering::SeqCst);
    }
}

fn revoke(gateway: &Gateway, token: &str) {
    let client = gateway.http().with_basic("worker", gateway.secret("worker"));
    client.post("/oauth/revoke").form(&[("token", token)]).expect(200);
}

/// The ids of all tokens there are, page by page.
fn listed(gateway: &Gateway) -> BTreeSet<String> {
    let administrator = gateway.administrator();
    let mut ids = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = administrator.get(&format!("/oauth/tokens?limit=50{cursor}")).expect(200).json();
        for token in page["tokens"].as_array().expect("tokens") {
            assert!(ids.insert(token["id"].as_str().expect("an id").to_owned()), "listed twice: {token}");
        }
        let Some(next) = page["next_cursor"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&base64url_decode(claims)).expect("claims")
}
