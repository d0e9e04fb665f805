use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use oauth4os_tokens::access::{AccessClaims, sign};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::json;

use crate::test_support::{AUDIENCE, Gateway, ISSUER, with_basic};

const PATH: &str = "/_oauth4os/v1/whoami";

fn claims(gateway: &Gateway) -> AccessClaims {
    AccessClaims {
        iss: ISSUER.to_owned(),
        sub: "agent".to_owned(),
        aud: vec![AUDIENCE.to_owned()],
        client_id: "agent".to_owned(),
        scope: "read:logs-*".to_owned(),
        iat: gateway.now(),
        nbf: None,
        exp: gateway.now() + Duration::from_secs(60),
        jti: "tok_forged".to_owned(),
        act: Vec::new(),
    }
}

#[tokio::test]
async fn a_token_is_shown_as_the_gateway_sees_it() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let answer = gateway.bearer(PATH, &token).await;
    assert_eq!(
        answer.json(),
        json!({
            "client_id": "agent", "name": "Log agent", "kind": "agent", "groups": ["agents", "eu"],
            "token_id": gateway.id_of(&token), "scopes": ["read:logs-*", "search:metrics-*"],
            "created_at": "2026-11-22T00:00:00.000Z", "expires_at": "2026-11-22T01:00:00.000Z",
        })
    );
    assert_eq!(answer.header("cache-control"), "no-store");
    let stored = gateway.bearer(PATH, &gateway.token("shipper").await).await.json();
    assert_eq!((&stored["kind"], &stored["groups"]), (&json!("machine"), &json!([])));
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_refused() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let parts: Vec<&str> = token.split('.').collect();
    let admin = gateway.decoded_part(&token, 1).to_string().replace("read:logs-*", "admin:gateway");
    let edited = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(admin), parts[2]);
    let none = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#), parts[1]);
    let foreign_key = sign(&SigningKey::generate(Algorithm::Es256).unwrap(), &claims(&gateway)).unwrap();
    let ours = gateway.authority.signing().keys.active().clone();
    let signed = |change: &dyn Fn(&mut AccessClaims)| {
        let mut claims = claims(&gateway);
        change(&mut claims);
        sign(&ours, &claims).unwrap()
    };
    let later = gateway.now() + Duration::from_secs(600);
    for (token, why) in [
        (edited, "signature"),
        (none, "asks for something"),
        (foreign_key, "key"),
        (signed(&|_| {}), "no record"),
        (signed(&|claims| claims.iss.push('/')), "issuer"),
        (signed(&|claims| claims.aud = vec!["opensearch".to_owned()]), "audience"),
        (signed(&|claims| (claims.iat, claims.exp) = (later, later + Duration::from_secs(60))), "not yet"),
        (signed(&|claims| claims.client_id = "nobody".to_owned()), "removed"),
        (gateway.secret("agent"), "three parts"),
        ("x".repeat(10_000), "longer"),
    ] {
        let answer = gateway.bearer(PATH, &token).await;
        answer.is_refused(401, "invalid_token");
        let challenge = answer.header("www-authenticate").to_owned();
        assert!(
            challenge.starts_with("Bearer realm=\"oauth4os\", error=\"invalid_token\", error_description=\""),
            "{challenge}"
        );
        assert!(challenge.ends_with("/.well-known/oauth-protected-resource\""), "{challenge}");
        let description = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(!why.is_empty() && (description.contains(why) || why == "asks for something"), "{why}: {description}");
    }
    // A record under the same id does not make somebody else's token of it.
    let id = gateway.id_of(&gateway.token("other").await);
    let taken = signed(&|claims| claims.jti.clone_from(&id));
    gateway.bearer(PATH, &taken).await.is_refused(401, "invalid_token");
}

#[tokio::test]
async fn the_header_is_read_in_one_way() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let with = |values: &[String]| {
        let mut request = gateway.request(Method::GET, PATH);
        for value in values {
            request.headers_mut().append("authorization", value.parse().unwrap());
        }
        request
    };
    assert_eq!(gateway.send(with(&[format!("bearer {token}")])).await.status, StatusCode::OK);
    gateway.send(with(&[])).await.is_refused(401, "unauthenticated");
    gateway
        .send(with(&[format!("Bearer {token}"), format!("Bearer {token}")]))
        .await
        .is_refused(400, "invalid_request");
    for value in ["Bearer".to_owned(), format!("Bearer\t{token}"), token.clone(), format!("Token {token}")] {
        gateway.send(with(&[value])).await.is_refused(400, "invalid_request");
    }
    for value in [
        format!("Bearer  {token}"),
        format!("Bearer {token} "),
        format!("Bearer {token}, Bearer {token}"),
        format!("Bearer {token},"),
    ] {
        gateway.send(with(&[value])).await.is_refused(401, "invalid_token");
    }
    let basic = with_basic(gateway.request(Method::GET, PATH), "agent", &gateway.secret("agent"));
    gateway.send(basic).await.is_refused(400, "invalid_request");
}
