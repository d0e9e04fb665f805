use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::test_support::{ASSERTION_TYPE, Answer, Gateway, ISSUER, with_basic};

const FORM: &str = "grant_type=client_credentials";

async fn ask(gateway: &Gateway, claims: &Value) -> Answer {
    ask_with(gateway, &gateway.signed(&json!({"alg": "ES256", "typ": "JWT"}), claims), "").await
}

async fn ask_with(gateway: &Gateway, assertion: &str, more: &str) -> Answer {
    let form = format!("{FORM}&client_assertion_type={ASSERTION_TYPE}&client_assertion={assertion}{more}");
    gateway.send(gateway.form("/oauth/token", &form)).await
}

#[tokio::test]
async fn an_assertion_is_as_good_as_a_secret_and_once() {
    let gateway = Gateway::start().await;
    let claims = gateway.client_claims("1");
    let answer = ask(&gateway, &claims).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let said = gateway.decoded_part(&token, 1);
    assert_eq!((&said["client_id"], &said["sub"]), (&json!("signer"), &json!("signer")));
    let again = ask(&gateway, &claims).await;
    again.is_refused(401, "invalid_client");
    assert!(again.text().contains("used before"), "{}", again.text());
    // Signed anew it has the same name.
    gateway.clock.advance(Duration::from_secs(5));
    let mut later = gateway.client_claims("1");
    ask(&gateway, &later).await.is_refused(401, "invalid_client");
    later["jti"] = json!("2");
    assert_eq!(ask(&gateway, &later).await.status, StatusCode::OK);

    // Also for the other endpoint, and after the process has ended.
    let gateway = gateway.restart().await;
    ask(&gateway, &later).await.is_refused(401, "invalid_client");
    let revoke = |jti: &str| gateway.form("/oauth/revoke", &format!("token={token}&{}", gateway.client_assertion(jti)));
    gateway.send(revoke("2")).await.is_refused(401, "invalid_client");
    assert_eq!(gateway.send(revoke("3")).await.status, StatusCode::OK);
    gateway.bearer("/_oauth4os/v1/whoami", &token).await.is_refused(401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_at_once_one_wins() {
    let gateway = Gateway::start().await;
    let form = format!("{FORM}&{}", gateway.client_assertion("1"));
    let asked: Vec<_> = (0..100)
        .map(|_| {
            let (service, request) = (gateway.service(), gateway.form("/oauth/token", &form));
            tokio::spawn(async move { tower::ServiceExt::oneshot(service, request).await.unwrap().status() })
        })
        .collect();
    let mut given = 0;
    for one in asked {
        let status = one.await.unwrap();
        assert!(status == StatusCode::OK || status == StatusCode::UNAUTHORIZED, "{status}");
        given += usize::from(status == StatusCode::OK);
    }
    assert_eq!(given, 1);
}

#[tokio::test]
async fn what_does_not_hold_says_why_to_who_has_the_key_and_to_nobody_else() {
    let gateway = Gateway::start().await;
    let now = gateway.now().as_secs();
    for (name, value, reason) in [
        ("aud", json!(format!("{ISSUER}/oauth/token")), "`aud`"),
        ("aud", json!([ISSUER, "https://other.example.com"]), "`aud`"),
        ("exp", json!(now + 3600), "too long"),
        ("exp", json!(now - 60), "expired"),
        ("iat", json!(now + 120), "not yet valid"),
        ("jti", json!(1), "`jti`"),
        ("sub", json!("agent"), "`client_id`"),
    ] {
        let mut claims = gateway.client_claims("1");
        claims[name] = value;
        let answer = ask(&gateway, &claims).await;
        answer.is_refused(401, "invalid_client");
        assert!(answer.text().contains(reason), "{name}: {}", answer.text());
    }
    // Nothing of this has used up the name.
    assert_eq!(ask(&gateway, &gateway.client_claims("1")).await.status, StatusCode::OK);

    // A client that is not there, one that has no keys, one that is signed for by another: one answer.
    let mut answers = Vec::new();
    for id in ["nobody", "agent", "deploy", "shipper", "Signer"] {
        let mut claims = gateway.client_claims("2");
        claims["iss"] = json!(id);
        claims["sub"] = json!(id);
        // What else is wrong with it is not said.
        claims["exp"] = json!(now - 60);
        answers.push(ask(&gateway, &claims).await.text());
    }
    let other_key = Gateway::start().await;
    answers.push(
        ask_with(&gateway, &other_key.signed(&json!({"alg": "ES256"}), &gateway.client_claims("2")), "").await.text(),
    );
    let kid = json!({"alg": "ES256", "kid": "unknown"});
    answers.push(ask_with(&gateway, &gateway.signed(&kid, &gateway.client_claims("2")), "").await.text());
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(answers[0].contains("not signed with a key"), "{answers:?}");
}

#[tokio::test]
async fn there_is_one_way_at_a_time() {
    let gateway = Gateway::start().await;
    let secret = gateway.secret("agent");
    let good = gateway.client_assertion("1");
    let both = format!("{FORM}&{good}&client_id=signer&client_secret={secret}");
    gateway.send(gateway.form("/oauth/token", &both)).await.is_refused(400, "invalid_request");
    let basic = with_basic(gateway.form("/oauth/token", &format!("{FORM}&{good}")), "agent", &secret);
    gateway.send(basic).await.is_refused(400, "invalid_request");
    let other = gateway.form("/oauth/token", &format!("{FORM}&{good}&client_id=agent"));
    gateway.send(other).await.is_refused(400, "invalid_request");
    let assertion = gateway.signed(&json!({"alg": "ES256"}), &gateway.client_claims("1"));
    for form in [
        format!("{FORM}&client_assertion={assertion}"),
        format!("{FORM}&client_assertion_type={ASSERTION_TYPE}"),
        format!(
            "{FORM}&client_assertion={assertion}&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
        ),
        format!(
            "{FORM}&client_assertion={assertion}&client_assertion={assertion}&client_assertion_type={ASSERTION_TYPE}"
        ),
    ] {
        gateway.send(gateway.form("/oauth/token", &form)).await.is_refused(400, "invalid_request");
    }
    // None of these has used it up; its own id may stand beside it.
    assert_eq!(ask_with(&gateway, &assertion, "&client_id=signer").await.status, StatusCode::OK);
    // A client that signs has no secret to guess.
    gateway.send(gateway.form_as("/oauth/token", FORM, "signer", &secret)).await.is_refused(401, "invalid_client");
}

#[tokio::test]
async fn an_assertion_is_no_token_and_not_recorded() {
    let gateway = Gateway::start().await;
    let assertion = gateway.signed(&json!({"alg": "ES256"}), &gateway.client_claims("1"));
    gateway.bearer("/_oauth4os/v1/whoami", &assertion).await.is_refused(401, "invalid_token");
    assert_eq!(ask_with(&gateway, &assertion, "").await.status, StatusCode::OK);
    ask_with(&gateway, &assertion, "").await.is_refused(401, "invalid_client");
    let events = gateway.into_audit();
    let (issued, refused) = (&events[events.len() - 2], &events[events.len() - 1]);
    assert_eq!((&issued["event"], &issued["client"]), (&json!("token.issued"), &json!("signer")));
    assert_eq!((&refused["event"], &refused["client"]), (&json!("token.refused"), &json!("signer")));
    let record = serde_json::to_string(&events).unwrap();
    assert!(!record.contains(assertion.split('.').nth(1).unwrap()) && !record.contains(&assertion), "{record}");
}

#[tokio::test]
async fn a_certificate_is_the_clients_that_is_named_and_nobody_elses() {
    let gateway = Gateway::start().await;
    let ask = |form: &str, names: &[&str]| {
        gateway.send(gateway.form_by_certificate("/oauth/token", &format!("{FORM}{form}"), names))
    };
    let answer = ask("&client_id=mesh", &["other.example.com", "mesh.example.com"]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    // Not named, another's, nobody's, two clients'.
    for (form, names) in [
        ("", &["mesh.example.com"][..]),
        ("&client_id=mesh2", &["mesh.example.com"]),
        ("&client_id=agent", &["mesh.example.com"]),
        ("&client_id=nobody", &["mesh.example.com"]),
        ("&client_id=mesh", &["other.example.com"]),
        ("&client_id=mesh", &["mesh.example.com", "mesh2.example.com"]),
        ("&client_id=mesh", &[]),
    ] {
        ask(form, names).await.is_refused(401, "invalid_client");
    }
    // Beside another way it is no way of its own, and does not stand in for one that fails.
    let secret = gateway.secret("agent");
    assert_eq!(
        ask(&format!("&client_id=agent&client_secret={secret}"), &["mesh.example.com"]).await.status,
        StatusCode::OK
    );
    ask("&client_id=mesh&client_secret=wrong", &["mesh.example.com"]).await.is_refused(401, "invalid_client");
    assert_eq!(ask(&format!("&{}", gateway.client_assertion("1")), &["mesh.example.com"]).await.status, StatusCode::OK);
}
