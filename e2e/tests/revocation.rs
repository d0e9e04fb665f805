//! A revoked token is refused on the next request, everywhere and for ever; all others survive whatever happens.

use e2e::{Answer, Client, Connection, Gateway, Settings};
use serde_json::{Value, json};

const TARGET: &str = "/logs-*/_search?size=0";

fn gateway() -> Gateway {
    Gateway::start(Settings::new().client("reader", &["read:logs-*"]).client("other", &["read:logs-*"]))
}

/// The id of the token, as the gateway tells its owner.
fn id_of(client: &Client) -> String {
    client.get("/_oauth4os/v1/whoami").expect(200).json()["token_id"].as_str().expect("an id").to_owned()
}

/// Connections that have all used the token, spread over both workers.
fn warm(client: &Client, count: usize) -> Vec<Connection> {
    (0..count)
        .map(|_| {
            let mut connection = client.connect();
            assert_eq!(ask(client, &mut connection).status, 200);
            connection
        })
        .collect()
}

fn ask(client: &Client, connection: &mut Connection) -> Answer {
    connection.write(&client.get(TARGET).bytes());
    connection.answer()
}

#[test]
fn a_revocation_is_in_force_on_the_next_request_of_every_connection() {
    let gateway = gateway();
    let owner = gateway.http().with_basic("reader", gateway.secret("reader"));
    /// Revokes the token that the client shows.
    type Way<'a> = &'a dyn Fn(&Client, &str);
    let ways: [Way<'_>; 3] = [
        &|_, token| {
            owner.post("/oauth/revoke").form(&[("token", token)]).expect(200);
        },
        &|client, _| {
            client.delete(&format!("/oauth/token/{}", id_of(client))).expect(204);
        },
        &|client, _| {
            gateway.administrator().delete(&format!("/oauth/token/{}", id_of(client))).expect(204);
        },
    ];
    for revoke in ways {
        let (token, spared) = (gateway.token("reader"), gateway.with("reader"));
        let client = gateway.http().with_token(&token);
        let mut connections = warm(&client, 20);
        revoke(&client, &token);
        for connection in &mut connections {
            let answer = ask(&client, connection);
            assert_eq!(answer.status, 401, "{}", answer.text());
            assert!(answer.header("www-authenticate").expect("a challenge").contains("invalid_token"));
            assert_eq!(gateway.audit_of(answer.request_id())["decision"], "deny");
        }
        client.get("/_oauth4os/v1/whoami").expect(401);
        client.get("/oauth/tokens").expect(401);
        spared.get(TARGET).expect(200);
        // Revoking once more changes nothing and is no error (RFC 7009 section 2.2).
        owner.post("/oauth/revoke").form(&[("token", &token)]).expect(200);
    }
}

#[test]
fn after_kill_9_and_restart_keys_tokens_and_revocations_are_the_same() {
    let gateway = gateway();
    let (kept, revoked) = (gateway.token("reader"), gateway.token("reader"));
    let keys = jwks(&gateway);
    for token in [&kept, &revoked] {
        gateway.http().with_token(token).get(TARGET).expect(200);
    }
    gateway.revoke("reader", &revoked);
    // Right after the answer: what was acknowledged is on the disk.
    gateway.kill();
    gateway.start_again();
    assert_eq!(jwks(&gateway), keys);
    gateway.http().with_token(&kept).get(TARGET).expect(200);
    gateway.http().with_token(&revoked).get(TARGET).expect(401);
    let listed = gateway.http().with_token(&kept).get("/oauth/tokens").expect(200).json();
    let states: Vec<&str> = listed["tokens"]
        .as_array()
        .expect("tokens")
        .iter()
        .map(|token| token["state"].as_str().expect("a state"))
        .collect();
    assert_eq!(states.iter().filter(|state| **state == "revoked").count(), 1, "{listed}");
    assert_eq!(states.iter().filter(|state| **state == "active").count(), 1, "{listed}");

    gateway.stop();
    gateway.start_again();
    assert_eq!(jwks(&gateway), keys);
    gateway.http().with_token(&kept).get(TARGET).expect(200);
    gateway.http().with_token(&revoked).get(TARGET).expect(401);
}

#[test]
fn a_token_that_was_answered_is_recorded_whatever_happens_next() {
    let gateway = gateway();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let client = gateway.with("reader");
        gateway.kill();
        gateway.start_again();
        client.get(TARGET).expect(200);
        ids.push(id_of(&client));
    }
    let listed = gateway.with("reader").get("/oauth/tokens").expect(200).text();
    for id in ids {
        assert!(listed.contains(&id), "{id} is not in {listed}");
    }
}

#[test]
fn only_the_owner_and_the_administrator_see_and_revoke_a_token() {
    let gateway = gateway();
    let token = gateway.token("reader");
    let (reader, other) = (gateway.http().with_token(&token), gateway.with("other"));
    let (id, foreign) = (id_of(&reader), id_of(&other));

    let own = reader.get("/oauth/tokens").expect(200).json();
    assert_eq!(ids(&own), [id.as_str()]);
    let shown = reader.get(&format!("/oauth/token/{id}")).expect(200).json();
    assert_eq!(
        (&shown["client_id"], &shown["scope"], &shown["revoked"]),
        (&json!("reader"), &json!("read:logs-*"), &json!(false))
    );
    reader.get(&format!("/oauth/token/{foreign}")).expect(404);
    reader.delete(&format!("/oauth/token/{foreign}")).expect(404);
    reader.get("/oauth/tokens?client_id=other").expect(403);

    // RFC 7009 section 2.1: somebody else's token is no business of the caller, who learns nothing.
    let stranger = gateway.http().with_basic("other", gateway.secret("other"));
    stranger.post("/oauth/revoke").form(&[("token", &token)]).expect(200);
    stranger.post("/oauth/revoke").form(&[("token", "o4s_at_nothing")]).expect(200);
    reader.get(TARGET).expect(200);

    let everything = gateway.administrator().get("/oauth/tokens").expect(200).json();
    assert!(ids(&everything).contains(&id) && ids(&everything).contains(&foreign), "{everything}");
    for anonymous in ["/oauth/tokens", &format!("/oauth/token/{id}"), "/_oauth4os/v1/whoami"] {
        let answer = gateway.http().get(anonymous).expect(401);
        assert!(answer.header("www-authenticate").is_some());
    }
    gateway.http().post("/oauth/revoke").form(&[("token", &token)]).expect(401);
    gateway.http().delete(&format!("/oauth/token/{id}")).expect(401);
    reader.get(TARGET).expect(200);

    // No answer shows a token or a secret.
    for answer in [
        reader.get("/oauth/tokens").send(),
        reader.get(&format!("/oauth/token/{id}")).send(),
        gateway.administrator().get("/oauth/tokens").send(),
    ] {
        assert!(!answer.text().contains(&token) && !answer.text().contains(gateway.secret("reader")));
        assert!(!answer.text().contains("eyJ"), "{}", answer.text());
    }
}

fn ids(list: &Value) -> Vec<String> {
    list["tokens"]
        .as_array()
        .expect("tokens")
        .iter()
        .map(|token| token["id"].as_str().expect("an id").to_owned())
        .collect()
}

fn jwks(gateway: &Gateway) -> Value {
    let keys = gateway.http().get("/oauth/jwks").expect(200).json();
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    assert!(keys["keys"][0].get("d").is_none(), "the private key is published");
    assert_eq!(gateway.http().get("/.well-known/jwks.json").expect(200).json(), keys);
    keys
}
