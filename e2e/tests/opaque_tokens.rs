//! Opaque access tokens: good for what they were issued for, from the moment they are given out to the one they are revoked or
//! end, whatever happens to the process; and nothing that only looks like one.

use e2e::{Client, ClientSettings, Engine, Gateway, OnDrop, Settings, Upstream, token_id};
use serde_json::{Value, json};

const READ: &str = "/logs-a/_search";

fn settings() -> Settings {
    Settings::new()
        .client("plain", &["read:logs-*"])
        .client_with(opaque("reader", &["read:logs-*"]))
        .client_with(opaque("slow", &["read:logs-*"]).with("rate_limit", json!({"requests_per_second": 1, "burst": 2})))
}

fn opaque(id: &str, scopes: &[&str]) -> ClientSettings {
    ClientSettings::new(id, scopes).with("access_token_format", json!("opaque"))
}

fn start() -> Gateway {
    Gateway::start(settings().upstream(&Upstream::obliging().url()))
}

fn id_of(client: &Client) -> String {
    client.get("/_oauth4os/v1/whoami").expect(200).json()["token_id"].as_str().expect("an id").to_owned()
}

#[test]
fn an_opaque_token_does_what_a_signed_one_does() {
    let gateway = start();
    let answer = gateway.ask_for_token("reader", &[("scope", "read:logs-a")]).expect_ok().json();
    assert_eq!((&answer["token_type"], &answer["scope"]), (&json!("Bearer"), &json!("read:logs-a")));
    let token = answer["access_token"].as_str().expect("a token");
    assert!(token.starts_with("o4s_at_") && token.len() == 56 && !token.contains('.'), "{}", token.len());
    let client = gateway.http().with_token(token);
    let answer = client.get(READ).expect(200);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["client"], &event["scopes"]), (&json!("reader"), &json!("read:logs-a")));
    assert_eq!(event["token_id"], json!(id_of(&client)));
    client.get("/logs-b/_search").expect(403);
    client.put("/logs-a/_doc/1").json(&json!({})).expect(403);
    // Looked up once.
    let misses = gateway.metric("oauth4os_token_cache_misses_total");
    let mut connection = client.connect();
    for _ in 0..20 {
        connection.write(&client.get(READ).bytes());
        assert_eq!(connection.answer().status, 200);
    }
    assert!(gateway.metric("oauth4os_token_cache_misses_total") <= misses + 1.0);
    // As every token it is listed, without itself, and shows its owner.
    let me = client.get("/_oauth4os/v1/whoami").expect(200).json();
    assert_eq!((&me["client_id"], &me["scopes"]), (&json!("reader"), &json!(["read:logs-a"])), "{me}");
    let list = gateway.administrator().get("/oauth/tokens").expect(200).text();
    assert!(list.contains(me["token_id"].as_str().expect("an id")) && !list.contains("o4s_at_"), "{list}");
    // One rate for all the client's tokens.
    let slow: Vec<Client> = (0..5).map(|_| gateway.with("slow")).collect();
    let statuses: Vec<u16> = (0..10).map(|number| slow[number % 5].get(READ).send().status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    // It is nowhere but with its owner.
    assert!(!gateway.log().contains(token) && !gateway.audit_text().contains(token));
    for entry in std::fs::read_dir(gateway.folder().join("state")).expect("the state") {
        let bytes = std::fs::read(entry.expect("a file").path()).expect("a file");
        assert!(!bytes.windows(token.len()).any(|window| window == token.as_bytes()));
    }
}

#[test]
fn what_only_looks_like_one_is_refused() {
    let gateway = start();
    let token = gateway.token("reader");
    let good = |text: &str| gateway.http().with_token(text).get(READ).send();
    assert_eq!(good(&token).status, 200);
    let swapped = |at: usize| {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'x' { b'y' } else { b'x' };
        String::from_utf8(bytes).expect("text")
    };
    for wrong in [
        token[..token.len() - 1].to_owned(),
        token[..20].to_owned(),
        "o4s_at_".to_owned(),
        "o4s_".to_owned(),
        format!("{token}x"),
        token.replace("o4s_at_", "o4s_rt_"),
        token.replace("o4s_at_", "o4s_cs_"),
        swapped(10),
        swapped(token.len() - 1),
    ] {
        let answer = good(&wrong);
        assert_eq!(answer.status, 401, "{wrong}");
        assert!(answer.text().contains("not an access token, or not the whole of one"), "{}", answer.text());
        assert!(!answer.text().contains(&token[7..]), "{}", answer.text());
    }
    assert_eq!(good(&token.to_uppercase()).status, 401);
    // Well-formed, and nobody's; another kind of secret; one of another gateway.
    let other = start();
    let answer = good(&other.token("reader"));
    assert!(answer.status == 401 && answer.text().contains("not in force"), "{}", answer.text());
    let known =
        oauth4os_tokens::id::Secret::generate(oauth4os_tokens::id::SecretKind::AccessToken).expect("random bytes");
    assert_eq!(good(known.expose()).status, 401);
    assert_eq!(good(&token).status, 200);
}

#[test]
fn a_revocation_is_in_force_on_the_next_request() {
    let gateway = start();
    let owner = gateway.http().with_basic("reader", gateway.secret("reader"));
    let other = gateway.http().with_basic("plain", gateway.secret("plain"));
    let spared = gateway.with("reader");
    for way in 0..3 {
        let token = gateway.token("reader");
        let client = gateway.http().with_token(&token);
        let mut connections: Vec<_> = (0..10).map(|_| client.connect()).collect();
        for connection in &mut connections {
            connection.write(&client.get(READ).bytes());
            assert_eq!(connection.answer().status, 200);
        }
        // Somebody else's revocation is nothing.
        other.post("/oauth/revoke").form(&[("token", &token)]).expect(200);
        client.get(READ).expect(200);
        match way {
            0 => drop(owner.post("/oauth/revoke").form(&[("token", &token)]).expect(200)),
            1 => drop(client.delete(&format!("/oauth/token/{}", id_of(&client))).expect(204)),
            _ => drop(gateway.administrator().delete(&format!("/oauth/token/{}", id_of(&client))).expect(204)),
        }
        for connection in &mut connections {
            connection.write(&client.get(READ).bytes());
            assert_eq!(connection.answer().status, 401);
        }
        client.get("/_oauth4os/v1/whoami").expect(401);
        spared.get(READ).expect(200);
        gateway.kill();
        gateway.start_again();
        client.get(READ).expect(401);
        spared.get(READ).expect(200);
    }
}

#[test]
fn every_token_that_was_given_out_survives_a_power_cut() {
    let gateway = start();
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let ask = || (0..25).map(|_| gateway.token("reader")).collect::<Vec<_>>();
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().flat_map(|thread| thread.join().expect("tokens")).collect()
    });
    gateway.kill();
    gateway.start_again();
    for token in &tokens {
        gateway.http().with_token(token).get(READ).expect(200);
    }
    // A client that is gone takes its tokens along; one with other scopes those that have more.
    gateway.change_config(|config| {
        for client in config["clients"].as_array_mut().expect("clients") {
            if client["id"] == "reader" {
                client["scopes"] = json!(["read:logs-b"]);
            }
        }
    });
    assert_eq!(gateway.reload(), "applied");
    assert!(
        gateway.http().with_token(&tokens[0]).get(READ).expect(401).text().contains("may not have all of its scopes")
    );
    gateway.with("reader").get("/logs-b/_search").expect(200);
    // The form is the client's, and may change; what was given out stays what it is.
    gateway.change_config(|config| {
        for client in config["clients"].as_array_mut().expect("clients") {
            client["access_token_format"] = json!(if client["id"] == "plain" { "opaque" } else { "jwt" });
        }
    });
    let signed = gateway.token("plain");
    assert_eq!(gateway.reload(), "applied");
    assert!(token_id(&signed).starts_with("tok_"));
    gateway.http().with_token(&signed).get(READ).expect(200);
    assert!(gateway.token("plain").starts_with("o4s_at_") && gateway.token("reader").contains('.'));
}

#[test]
fn tokens_that_end_make_room_for_others() {
    let clock = e2e::WrongClock::new();
    let gateway = Gateway::start(clock.of(settings().upstream(&Upstream::obliging().url())));
    let first = gateway.token("reader");
    for _ in 1..1_024 {
        let _ = gateway.token("reader");
    }
    let refused = gateway.ask_for_token("reader", &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("too many tokens in force"), "{}", refused.text());
    gateway.http().with_token(&first).get(READ).expect(200);
    // Nobody else is held up.
    let _ = gateway.token("plain");
    let owner = gateway.http().with_basic("reader", gateway.secret("reader"));
    owner.post("/oauth/revoke").form(&[("token", &first)]).expect(200);
    let last = gateway.token("reader");
    assert_eq!(gateway.ask_for_token("reader", &[]).status, 503);
    clock.set_off(7_200);
    gateway.http().with_token(&last).get(READ).expect(401);
    gateway.http().with_token(&gateway.token("reader")).get(READ).expect(200);
}

#[test]
fn rows_hold_for_opaque_tokens_on_the_real_engine() {
    let index = "shared-orders-opaque";
    Engine::get().delete_index(index);
    let _remove = OnDrop(|| Engine::get().delete_index(index));
    for (id, tenant) in [("1", "acme"), ("2", "other")] {
        let document = json!({"tenant": tenant});
        Engine::get().admin().put(&format!("/{index}/_doc/{id}?refresh=true")).json(&document).expect(201);
    }
    let rows = json!([{"scope": format!("read:{index}"), "rows": {"term": {"tenant.keyword": "acme"}}}]);
    let gateway = Gateway::start(Settings::new().client_with(opaque("acme", &[]).with("grants", rows)));
    let found: Value = gateway.with("acme").get(&format!("/{index}/_search")).expect(200).json();
    assert_eq!(found["hits"]["total"]["value"], json!(1), "{found}");
    assert_eq!(found["hits"]["hits"][0]["_source"]["tenant"], "acme");
}
