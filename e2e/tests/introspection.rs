//! Introspection tells what the data plane does: whatever is refused there is inactive here, at once, and the other way round.

use std::time::Duration;

use e2e::{ClientSettings, Gateway, Settings, Upstream, base64url_decode, token_id, until};
use serde_json::{Value, json};

const READ: &str = "/logs-a/_search";

fn settings(scopes: &[&str]) -> Settings {
    let opaque = |id: &str| ClientSettings::new(id, scopes).with("access_token_format", json!("opaque"));
    Settings::new()
        .client("signed", scopes)
        .client_with(opaque("opaque"))
        .client("own", &["read:logs-*"])
        .client_with(ClientSettings::new("api", &["monitor:cluster"]).with("introspect", json!(true)))
        .tokens("lifetime", json!("60s"))
}

fn start() -> Gateway {
    Gateway::start(settings(&["read:logs-*"]).upstream(&Upstream::obliging().url()))
}

fn said(gateway: &Gateway, client: &str, token: &str) -> Value {
    let client = gateway.http().with_basic(client, gateway.secret(client));
    client.post("/oauth/introspect").form(&[("token", token)]).expect(200).json()
}

/// Both planes have the same opinion of a token, and this one.
#[track_caller]
fn assert_in_force(gateway: &Gateway, token: &str, is_in_force: bool, what: &str) {
    let status = gateway.http().with_token(token).get(READ).send().status;
    assert_eq!(status, if is_in_force { 200 } else { 401 }, "{what}: the data plane");
    let said = said(gateway, "api", token);
    assert_eq!(said["active"], json!(is_in_force), "{what}: {said}");
    if !is_in_force {
        assert_eq!(said, json!({"active": false}), "{what}");
    }
}

#[test]
fn what_the_data_plane_refuses_is_inactive() {
    let gateway = start();
    for client in ["signed", "opaque"] {
        let token = gateway.token(client);
        assert_in_force(&gateway, &token, true, client);
        let said = said(&gateway, "api", &token);
        assert_eq!((&said["client_id"], &said["sub"]), (&json!(client), &json!(client)));
        assert_eq!((&said["scope"], &said["iss"]), (&json!("read:logs-*"), &json!(e2e::ISSUER)));
        let shown = gateway.http().with_token(&token).get("/_oauth4os/v1/whoami").expect(200).json();
        assert_eq!(said["jti"], shown["token_id"]);
        gateway.revoke(client, &token);
        assert_in_force(&gateway, &token, false, "revoked");
        let by_id = gateway.token(client);
        let id = self::said(&gateway, "api", &by_id)["jti"].as_str().expect("an id").to_owned();
        gateway.administrator().delete(&format!("/oauth/token/{id}")).expect(204);
        assert_in_force(&gateway, &by_id, false, "revoked by its id");
        for nothing in ["x", "o4s_at_x", "a.b.c", &token[..token.len() - 1], &format!("{token}x")] {
            assert_in_force(&gateway, nothing, false, nothing);
        }
    }
    let forge = gateway.forge();
    let good = gateway.token("signed");
    let claims = e2e::Claims::of(&good);
    assert_in_force(&gateway, &claims.sign(forge.access()), true, "signed again");
    for (name, value) in [
        ("iss", json!("https://elsewhere.example.com")),
        ("client_id", json!("nobody")),
        ("scope", json!("read:*")),
        ("scope", json!("everything")),
        ("exp", json!(1)),
    ] {
        assert_in_force(&gateway, &claims.clone().with(name, value).sign(forge.access()), false, name);
    }
    assert_in_force(&gateway, &claims.clone().with_header("typ", json!("JWT")).sign(forge.access()), false, "typ");
    assert_in_force(&gateway, &claims.sign(forge.internal()), false, "the key for the engine");
    // For somebody else: not for the data plane, and not for the caller to see.
    let elsewhere = claims.clone().with("aud", json!("billing")).sign(forge.access());
    assert_in_force(&gateway, &elsewhere, false, "another audience");
}

#[test]
fn a_token_ends_on_both_planes() {
    let gateway = start();
    let token = gateway.forge().claims("signed", "read:logs-*");
    let ended = token.clone().moved(-300).sign(gateway.forge().access());
    assert_in_force(&gateway, &ended, false, "ended");
    let given = gateway.token("signed");
    let brief = e2e::Claims::of(&given);
    let exp = brief.claims["iat"].as_i64().expect("a time") + 3;
    let brief = brief.with("exp", json!(exp)).sign(gateway.forge().access());
    until("the end of the token", Duration::from_secs(30), || {
        let active = said(&gateway, "api", &brief)["active"] == json!(true);
        (!active).then_some(())
    });
    assert_in_force(&gateway, &brief, false, "ended meanwhile");
}

#[test]
fn a_narrowed_or_removed_client_has_no_token_in_force() {
    let gateway = start();
    let tokens = ["signed", "opaque"].map(|client| gateway.token(client));
    for token in &tokens {
        assert_in_force(&gateway, token, true, "before");
    }
    let scopes = |scopes: Value| {
        gateway.change_config(|config| {
            for client in config["clients"].as_array_mut().expect("clients") {
                if client["id"] == "signed" || client["id"] == "opaque" {
                    client["scopes"] = scopes.clone();
                }
            }
        });
        assert_eq!(gateway.reload(), "applied");
    };
    scopes(json!(["read:logs-b"]));
    for token in &tokens {
        assert_in_force(&gateway, token, false, "narrowed");
    }
    scopes(json!(["read:logs-*", "write:x"]));
    for token in &tokens {
        assert_in_force(&gateway, token, true, "as before, and more");
    }
    gateway.change_config(|config| {
        let clients = config["clients"].as_array_mut().expect("clients");
        clients.retain(|client| client["id"] != "signed" && client["id"] != "opaque");
    });
    assert_eq!(gateway.reload(), "applied");
    for token in &tokens {
        assert_in_force(&gateway, token, false, "removed");
    }
}

#[test]
fn only_who_may_ask_is_told() {
    let gateway = start();
    let token = gateway.token("signed");
    assert_eq!(said(&gateway, "signed", &token)["active"], json!(true));
    assert_eq!(said(&gateway, "own", &token), json!({"active": false}));
    let asked = gateway.administrator().post("/oauth/introspect").form(&[("token", &token)]).expect(200).json();
    assert_eq!(asked["jti"], json!(token_id(&token)));
    gateway.http().post("/oauth/introspect").form(&[("token", &token)]).expect(401);
    let client = gateway.http().with_basic("api", "wrong");
    client.post("/oauth/introspect").form(&[("token", &token)]).expect(401);
    assert!(!gateway.log().contains(&token) && !gateway.audit_text().contains(&token));
}

#[test]
fn a_signed_answer_is_of_the_published_keys_and_opens_nothing() {
    let gateway = start();
    let token = gateway.token("signed");
    let client = gateway.http().with_basic("api", gateway.secret("api"));
    let answer = client
        .post("/oauth/introspect")
        .header("Accept", "application/token-introspection+jwt")
        .form(&[("token", &token)])
        .expect(200);
    assert_eq!(answer.header("content-type"), Some("application/token-introspection+jwt"));
    let text = answer.text();
    let claims = e2e::Claims::of(&text);
    assert_eq!((&claims.claims["aud"], &claims.claims["iss"]), (&json!("api"), &json!(e2e::ISSUER)));
    assert_eq!(claims.claims["token_introspection"]["jti"], json!(token_id(&token)));
    let keys = gateway.http().get("/oauth/jwks").expect(200).json();
    assert!(keys["keys"].as_array().expect("keys").iter().any(|key| key["kid"] == claims.header["kid"]));
    let (signed, signature) = text.rsplit_once('.').expect("a signature");
    let forge = gateway.forge();
    assert!(forge.access().public().verify(signed.as_bytes(), &base64url_decode(signature)));
    assert_in_force(&gateway, &text, false, "the answer itself");
}
