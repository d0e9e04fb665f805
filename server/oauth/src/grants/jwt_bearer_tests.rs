use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use crate::test_support::{Answer, Gateway, ISSUER, WORKLOADS, with_basic};

const FORM: &str = "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer";

async fn ask(gateway: &Gateway, claims: &Value, more: &str) -> Answer {
    ask_with(gateway, &gateway.signed(&json!({"alg": "ES256", "typ": "JWT"}), claims), more).await
}

async fn ask_with(gateway: &Gateway, assertion: &str, more: &str) -> Answer {
    gateway.send(gateway.form("/oauth/token", &format!("{FORM}&assertion={assertion}{more}"))).await
}

fn with(gateway: &Gateway, jti: &str, name: &str, value: &str) -> Value {
    let mut claims = gateway.workload_claims(jti);
    claims[name] = json!(value);
    claims
}

#[tokio::test]
async fn a_workload_gets_a_short_token_of_the_client_its_rule_names() {
    let gateway = Gateway::start().await;
    let answer = ask(&gateway, &gateway.workload_claims("1"), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let body = answer.json();
    // The rule's part of the client's scopes, and ten minutes where the client's own tokens have an hour.
    assert_eq!((&body["scope"], &body["expires_in"]), (&json!("write:app-logs-*"), &json!(600)));
    let token = body["access_token"].as_str().unwrap();
    let claims = gateway.decoded_part(token, 1);
    assert_eq!(claims["client_id"], "deploy");
    assert_eq!(claims["sub"], "ci/repo:acme/app:ref:refs/heads/main");
    assert!(body.get("refresh_token").is_none());
    let whoami = gateway.bearer("/_oauth4os/v1/whoami", token).await;
    assert_eq!(whoami.status, StatusCode::OK);
    gateway.clock.advance(Duration::from_secs(600));
    gateway.bearer("/_oauth4os/v1/whoami", token).await.is_refused(401, "invalid_token");

    // Another rule, with all that the client may have.
    let tag = ask(&gateway, &with(&gateway, "2", "ref", "refs/tags/v1.2"), "").await.json();
    assert_eq!(tag["scope"], "write:app-logs-* read:logs-*");
    let events = gateway.into_audit();
    let issued = events.iter().find(|event| event["event"] == "token.issued").unwrap();
    assert_eq!(
        (&issued["client"], &issued["user"]),
        (&json!("deploy"), &json!("ci/repo:acme/app:ref:refs/heads/main"))
    );
    assert_eq!(issued["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
}

#[tokio::test]
async fn scopes_are_within_the_rule_and_within_the_client() {
    let gateway = Gateway::start().await;
    let narrower = ask(&gateway, &gateway.workload_claims("1"), "&scope=write:app-logs-web").await;
    assert_eq!(narrower.json()["scope"], "write:app-logs-web", "{}", narrower.text());
    for (jti, scope) in
        [("2", "read:logs-*"), ("3", "write:app-logs-*+read:logs-*"), ("4", "write:*"), ("5", "admin:gateway")]
    {
        ask(&gateway, &gateway.workload_claims(jti), &format!("&scope={scope}")).await.is_refused(400, "invalid_scope");
    }
}

#[tokio::test]
async fn the_first_rule_decides_or_the_first_of_the_client_that_is_named() {
    let gateway = Gateway::start().await;
    let other = ask(&gateway, &with(&gateway, "1", "ref", "refs/heads/other"), "").await.json();
    let client =
        |answer: &Value| gateway.decoded_part(answer["access_token"].as_str().unwrap(), 1)["client_id"].clone();
    assert_eq!((client(&other), &other["scope"]), (json!("agent"), &json!("read:logs-web-*")));
    let named = ask(&gateway, &gateway.workload_claims("2"), "&client_id=agent").await.json();
    assert_eq!(client(&named), "agent");
    let named = ask(&gateway, &gateway.workload_claims("3"), "&client_id=deploy").await.json();
    assert_eq!(client(&named), "deploy");
    for id in ["shipper", "nobody", "signer", "gone"] {
        ask(&gateway, &gateway.workload_claims("4"), &format!("&client_id={id}"))
            .await
            .is_refused(400, "invalid_grant");
    }
    ask(&gateway, &with(&gateway, "4", "ref", "refs/tags/x"), "&client_id=deploy")
        .await
        .is_refused(400, "invalid_grant");
    // A rule whose client is not there any more gives nothing, and what was refused is not used up.
    ask(&gateway, &with(&gateway, "5", "repository", "acme/gone"), "").await.is_refused(400, "invalid_grant");
    assert_eq!(ask(&gateway, &gateway.workload_claims("4"), "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn workloads_that_no_rule_fits_get_nothing() {
    let gateway = Gateway::start().await;
    for (name, value) in [
        ("repository", "acme/app2"),
        ("repository", "evil/app"),
        ("repository", "acme/App"),
        ("repository", "acme/app "),
        ("repository", "acme/аpp"),
        ("repository", "acme\u{2215}app"),
        ("repository", "evil/acme/app"),
        ("repository", ""),
    ] {
        let answer = ask(&gateway, &with(&gateway, "1", name, value), "").await;
        answer.is_refused(400, "invalid_grant");
        assert!(answer.text().contains("no rule"), "{value}: {}", answer.text());
        assert!(
            value.is_empty() || !answer.text().contains(value),
            "what a stranger says is not repeated: {}",
            answer.text()
        );
    }
    let mut list = gateway.workload_claims("1");
    list["repository"] = json!(["acme/app"]);
    ask(&gateway, &list, "").await.is_refused(400, "invalid_grant");
}

#[tokio::test]
async fn an_assertion_that_does_not_hold_is_refused_with_a_reason() {
    let gateway = Gateway::start().await;
    let now = gateway.now().as_secs();
    for (name, value, reason) in [
        ("iss", json!(format!("{WORKLOADS}/")), "issuer"),
        ("iss", json!(ISSUER), "issuer"),
        ("iss", json!("https://ci.example.com.evil.example"), "issuer"),
        ("aud", json!(format!("{ISSUER}/oauth/token")), "`aud`"),
        ("aud", json!([ISSUER, "https://other.example.com"]), "`aud`"),
        ("exp", json!(now - 31), "expired"),
        ("exp", json!(now + 3_700), "too long"),
        ("iat", json!(now + 60), "not yet valid"),
        ("nbf", json!(now + 60), "not yet valid"),
        ("sub", json!(""), "`sub`"),
        ("sub", json!("a\nb"), "`sub`"),
        ("sub", json!("x".repeat(256)), "`sub`"),
        ("jti", json!({}), "`jti`"),
    ] {
        let mut claims = gateway.workload_claims("1");
        claims[name] = value;
        let answer = ask(&gateway, &claims, "").await;
        answer.is_refused(400, "invalid_grant");
        assert!(answer.text().contains(reason), "{name}: {}", answer.text());
    }
    let stranger = Gateway::start().await;
    ask_with(&gateway, &stranger.signed(&json!({"alg": "ES256"}), &gateway.workload_claims("1")), "")
        .await
        .is_refused(400, "invalid_grant");
    for header in [
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES256", "typ": "at+jwt"}),
        json!({"alg": "ES256", "jku": "https://evil.example.com"}),
    ] {
        ask_with(&gateway, &gateway.signed(&header, &gateway.workload_claims("1")), "")
            .await
            .is_refused(400, "invalid_grant");
    }
    // A token of our own vouches for nobody, and neither does a client's assertion.
    ask_with(&gateway, &gateway.token("agent").await, "").await.is_refused(400, "invalid_grant");
    ask(&gateway, &gateway.client_claims("1"), "").await.is_refused(400, "invalid_grant");
    assert_eq!(ask(&gateway, &gateway.workload_claims("1"), "").await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_at_once_one_wins_also_over_a_restart() {
    let gateway = Gateway::start().await;
    let mut claims = gateway.workload_claims("1");
    for step in 0..2 {
        if step == 1 {
            // Without a name of its own the whole assertion is one.
            claims.as_object_mut().unwrap().remove("jti");
        }
        let assertion = gateway.signed(&json!({"alg": "ES256"}), &claims);
        let asked: Vec<_> = (0..100)
            .map(|_| {
                let request = gateway.form("/oauth/token", &format!("{FORM}&assertion={assertion}"));
                let service = gateway.service();
                tokio::spawn(async move { tower::ServiceExt::oneshot(service, request).await.unwrap().status() })
            })
            .collect();
        let mut given = 0;
        for one in asked {
            let status = one.await.unwrap();
            assert!(status == StatusCode::OK || status == StatusCode::BAD_REQUEST, "{status}");
            given += usize::from(status == StatusCode::OK);
        }
        assert_eq!(given, 1);
    }
    let gateway = gateway.restart().await;
    let again = ask_with(&gateway, &gateway.signed(&json!({"alg": "ES256"}), &claims), "").await;
    again.is_refused(400, "invalid_grant");
    assert!(again.text().contains("used before"), "{}", again.text());
}

#[tokio::test]
async fn the_assertion_is_all_that_is_sent() {
    let gateway = Gateway::start().await;
    let secret = gateway.secret("agent");
    let assertion = gateway.signed(&json!({"alg": "ES256"}), &gateway.workload_claims("1"));
    for more in [
        format!("&client_secret={secret}"),
        format!("&client_id=agent&client_secret={secret}"),
        format!("&{}", gateway.client_assertion("1")),
    ] {
        ask_with(&gateway, &assertion, &more).await.is_refused(400, "invalid_request");
    }
    let basic = gateway.form("/oauth/token", &format!("{FORM}&assertion={assertion}"));
    gateway.send(with_basic(basic, "agent", &secret)).await.is_refused(400, "invalid_request");
    ask_with(&gateway, "", "").await.is_refused(400, "invalid_request");
    ask_with(&gateway, &assertion, &format!("&assertion={assertion}")).await.is_refused(400, "invalid_request");
    ask_with(&gateway, &assertion, "&resource=https://other.example.com").await.is_refused(400, "invalid_target");
    assert_eq!(ask_with(&gateway, &assertion, &format!("&resource={ISSUER}")).await.status, StatusCode::OK);
    // The client it becomes can be used in no other way.
    let form = "grant_type=client_credentials";
    for attempt in ["", &secret, "deploy"] {
        gateway.send(gateway.form_as("/oauth/token", form, "deploy", attempt)).await.is_refused(401, "invalid_client");
    }
}
