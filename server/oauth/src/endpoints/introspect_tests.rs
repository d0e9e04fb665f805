use std::time::Duration;

use http::StatusCode;
use oauth4os_store::{ClientChange, IssuedToken, Store as _, Tokens as _};
use oauth4os_tokens::access::{AccessClaims, sign};
use oauth4os_tokens::jose::ForeignToken;
use serde_json::{Value, json};

use crate::test_support::{AUDIENCE, Answer, Gateway, ISSUER};

async fn ask(gateway: &Gateway, client_id: &str, token: &str) -> Answer {
    let form = format!("token={token}");
    gateway.send(gateway.form_as("/oauth/introspect", &form, client_id, &gateway.secret(client_id))).await
}

async fn is_active(gateway: &Gateway, client_id: &str, token: &str) -> bool {
    let answer = ask(gateway, client_id, token).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let said = answer.json();
    if said["active"] == false {
        assert_eq!(answer.body, r#"{"active":false}"#);
    }
    said["active"].as_bool().unwrap()
}

#[tokio::test]
async fn a_token_in_force_is_told_whole_to_whoever_may_ask() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let expected = json!({
        "active": true, "scope": "read:logs-* search:metrics-*", "client_id": "agent", "token_type": "Bearer",
        "exp": gateway.now().as_secs() + 3600, "iat": gateway.now().as_secs(), "sub": "agent", "aud": AUDIENCE,
        "iss": ISSUER, "jti": gateway.id_of(&token),
    });
    for client in ["agent", "api", "admin"] {
        let answer = ask(&gateway, client, &token).await;
        assert_eq!(answer.json(), expected, "{client}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("vary"), "accept");
    }
    for client in ["other", "shipper", "brief"] {
        assert!(!is_active(&gateway, client, &token).await, "{client}");
    }
    let opaque = gateway.token("opaque").await;
    let said = ask(&gateway, "api", &opaque).await.json();
    assert_eq!((&said["active"], &said["client_id"], &said["aud"]), (&json!(true), &json!("opaque"), &json!(AUDIENCE)));
    assert!(is_active(&gateway, "opaque", &opaque).await && !is_active(&gateway, "other", &opaque).await);
    assert!(!ask(&gateway, "api", &opaque).await.text().contains("o4s_at_"));
}

#[tokio::test]
async fn what_is_no_longer_in_force_is_inactive_at_once() {
    let gateway = Gateway::start().await;
    let change = |id: &'static str, change: ClientChange| {
        let clients = gateway.authority.clients().clone();
        async move { clients.change(id, change).await.unwrap() }
    };
    // Revoked, also after a restart.
    for client in ["agent", "opaque"] {
        let token = gateway.token(client).await;
        assert!(is_active(&gateway, "api", &token).await);
        let form = format!("token={token}");
        gateway.send(gateway.form_as("/oauth/revoke", &form, client, &gateway.secret(client))).await;
        assert!(!is_active(&gateway, "api", &token).await, "{client}");
    }
    // Its client may have less, then more again.
    let scopes = |scopes: &str| ClientChange { scopes: Some(scopes.to_owned()), ..ClientChange::default() };
    let token = gateway.token("other").await;
    assert!(is_active(&gateway, "api", &token).await);
    change("other", scopes("read:logs-a")).await;
    assert!(!is_active(&gateway, "api", &token).await);
    gateway.bearer("/_oauth4os/v1/whoami", &token).await.is_refused(401, "invalid_token");
    change("other", scopes("read:logs-* write:x")).await;
    assert!(is_active(&gateway, "api", &token).await);
    // Its client is disabled.
    change("other", ClientChange { enabled: Some(false), ..ClientChange::default() }).await;
    assert!(!is_active(&gateway, "api", &token).await);
    // Its client is gone.
    let token = gateway.token("shipper").await;
    gateway.authority.delete_client("shipper").await.unwrap();
    assert!(!is_active(&gateway, "api", &token).await);
    // It has ended, to the second.
    let (brief, opaque) = (gateway.token("brief").await, gateway.token("opaque").await);
    gateway.clock.advance(Duration::from_secs(59));
    assert!(is_active(&gateway, "api", &brief).await);
    gateway.clock.advance(Duration::from_secs(1));
    assert!(!is_active(&gateway, "api", &brief).await && is_active(&gateway, "api", &opaque).await);
    gateway.clock.advance(Duration::from_secs(3600 - 60));
    assert!(!is_active(&gateway, "api", &opaque).await);
}

#[tokio::test]
async fn what_is_none_of_ours_has_the_same_answer() {
    let gateway = Gateway::start().await;
    let (token, opaque) = (gateway.token("agent").await, gateway.token("opaque").await);
    let claims = |jti: &str| AccessClaims {
        iss: ISSUER.to_owned(),
        sub: "agent".to_owned(),
        aud: vec![AUDIENCE.to_owned()],
        client_id: "agent".to_owned(),
        scope: "read:logs-*".to_owned(),
        iat: gateway.now(),
        nbf: None,
        exp: gateway.now() + Duration::from_secs(60),
        jti: jti.to_owned(),
        act: Vec::new(),
    };
    let key = gateway.authority.signing().keys.active().clone();
    let unrecorded = sign(&key, &claims("tok_forged")).unwrap();
    let of_other = sign(&key, &claims(&gateway.id_of(&gateway.token("other").await))).unwrap();
    let cut = opaque.get(..opaque.len() - 1).unwrap().to_owned();
    let secret = gateway.secret("agent");
    for nothing in ["x", "", "tok_1", "o4s_at_", "a.b.c", &secret, &cut, &format!("{token}x"), &unrecorded, &of_other] {
        let answer = ask(&gateway, "api", nothing).await;
        if nothing.is_empty() {
            answer.is_refused(400, "invalid_request");
        } else {
            assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &br#"{"active":false}"#[..]), "{nothing}");
        }
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_shown_to_that_audience() {
    let gateway = Gateway::start().await;
    let key = gateway.authority.signing().keys.active().clone();
    let claims = |audience: &str, jti: &str| AccessClaims {
        iss: ISSUER.to_owned(),
        sub: "agent".to_owned(),
        aud: vec![audience.to_owned()],
        client_id: "agent".to_owned(),
        scope: "read:logs-*".to_owned(),
        iat: gateway.now(),
        nbf: None,
        exp: gateway.now() + Duration::from_secs(60),
        jti: jti.to_owned(),
        act: Vec::new(),
    };
    let issue = async |audience: &str, jti: &str| {
        let claims = claims(audience, jti);
        let record = IssuedToken {
            id: claims.jti.clone(),
            client_id: claims.client_id.clone(),
            subject: claims.sub.clone(),
            scope: claims.scope.clone(),
            audience: claims.aud.clone(),
            issued_at: claims.iat,
            expires_at: claims.exp,
            revoked_at: None,
            hash: None,
            parent: None,
            act: Vec::new(),
        };
        gateway.store.record_issued(record).await.unwrap();
        sign(&key, &claims).unwrap()
    };
    let (mine, elsewhere) = (issue("api", "tok_mine").await, issue("billing", "tok_elsewhere").await);
    for (client, of_mine, of_elsewhere) in
        [("api", true, false), ("agent", true, true), ("admin", true, true), ("other", false, false)]
    {
        assert_eq!(is_active(&gateway, client, &mine).await, of_mine, "{client}");
        assert_eq!(is_active(&gateway, client, &elsewhere).await, of_elsewhere, "{client}");
    }
    // They open nothing here.
    for token in [mine, elsewhere] {
        gateway.bearer("/_oauth4os/v1/whoami", &token).await.is_refused(401, "invalid_token");
    }
}

#[tokio::test]
async fn the_caller_must_prove_who_it_is() {
    let gateway = Gateway::start().await;
    let form = format!("token={}", gateway.token("agent").await);
    let path = "/oauth/introspect";
    gateway.send(gateway.form(path, &form)).await.is_refused(401, "invalid_client");
    gateway.send(gateway.form_as(path, &form, "api", "wrong")).await.is_refused(401, "invalid_client");
    gateway.send(gateway.form(path, &format!("{form}&client_id=api"))).await.is_refused(401, "invalid_client");
    let secret = gateway.secret("api");
    let twice = format!("{form}&{form}");
    gateway.send(gateway.form_as(path, &twice, "api", &secret)).await.is_refused(400, "invalid_request");
    let query = gateway.form_as(&format!("{path}?{form}"), "", "api", &secret);
    gateway.send(query).await.is_refused(400, "invalid_request");
    let bearer = crate::test_support::with_bearer(gateway.form(path, &form), &gateway.token("admin").await);
    gateway.send(bearer).await.is_refused(401, "invalid_client");
    let post = format!("{form}&client_id=api&client_secret={secret}&token_type_hint=refresh_token");
    assert_eq!(gateway.send(gateway.form(path, &post)).await.json()["active"], true);
}

#[tokio::test]
async fn a_signed_answer_is_for_the_caller_and_is_no_token() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let signed = async |accept: &str, token: &str| {
        let form = format!("token={token}");
        let mut request = gateway.form_as("/oauth/introspect", &form, "api", &gateway.secret("api"));
        request.headers_mut().insert("accept", accept.parse().unwrap());
        gateway.send(request).await
    };
    let plain = ask(&gateway, "api", &token).await.json();
    for accept in [
        "application/token-introspection+jwt",
        "Application/Token-Introspection+JWT",
        "application/json;q=0.5, application/token-introspection+jwt; q=0.9",
    ] {
        let answer = signed(accept, &token).await;
        assert_eq!(answer.header("content-type"), "application/token-introspection+jwt", "{accept}");
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        assert_eq!(gateway.decoded_part(&text, 0)["typ"], "token-introspection+jwt");
        let expected = json!({
            "iss": ISSUER, "aud": "api", "iat": gateway.now().as_secs(), "token_introspection": plain,
        });
        assert_eq!(gateway.decoded_part(&text, 1), expected);
        let parsed = ForeignToken::parse(&text).unwrap();
        let keys = gateway.authority.signing().keys.verifying().to_vec();
        assert!(keys.iter().any(|key| key.verify(parsed.signed.as_bytes(), &parsed.signature)));
        gateway.bearer("/_oauth4os/v1/whoami", &text).await.is_refused(401, "invalid_token");
        assert!(!is_active(&gateway, "api", &text).await);
    }
    let inactive = signed("application/token-introspection+jwt", "x").await;
    let text = String::from_utf8(inactive.body.to_vec()).unwrap();
    assert_eq!(gateway.decoded_part(&text, 1)["token_introspection"], json!({"active": false}));
    for accept in ["*/*", "application/json", "application/token-introspection+jwt;q=0", "application/jwt", ""] {
        let answer = signed(accept, &token).await;
        assert_eq!(answer.header("content-type"), "application/json", "{accept}");
        assert_eq!(answer.json()["active"], Value::Bool(true));
    }
}

#[tokio::test]
async fn guessing_is_bounded_for_those_who_may_ask_about_their_own_only() {
    let gateway = Gateway::start().await;
    let others = gateway.token("agent").await;
    for number in 0..10 {
        assert!(!is_active(&gateway, "other", if number % 2 == 0 { &others } else { "x" }).await);
    }
    let answer = ask(&gateway, "other", "x").await;
    answer.is_refused(429, "rate_limit_exceeded");
    assert_eq!(answer.header("retry-after"), "6");
    // Whether the token is anything makes no difference then, and the client can go on asking for its own tokens.
    ask(&gateway, "other", &others).await.is_refused(429, "rate_limit_exceeded");
    let own = gateway.token("other").await;
    gateway.clock.advance(Duration::from_secs(6));
    assert!(is_active(&gateway, "other", &own).await);
    for _ in 0..30 {
        assert!(!is_active(&gateway, "api", "x").await);
    }
}

#[tokio::test]
async fn a_store_that_fails_says_nothing_of_any_token() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    gateway.store.close().await.unwrap();
    ask(&gateway, "api", &token).await.is_refused(503, "temporarily_unavailable");
}
