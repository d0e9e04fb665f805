use std::time::Duration;

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use oauth4os_store::{ClientChange, PageRequest, Store as _, TokenFilter, Tokens as _};
use serde_json::json;
use tower::ServiceExt as _;

use crate::test_support::{AUDIENCE, Answer, Gateway, ISSUER, TRICKY_SECRET, with_basic};

async fn ask(gateway: &Gateway, client_id: &str, more: &str) -> Answer {
    gateway.send(gateway.token_request(client_id, more)).await
}

#[tokio::test]
async fn the_answer_is_that_of_rfc_6749_and_the_token_that_of_rfc_9068() {
    let gateway = Gateway::start().await;
    gateway.clock.advance(Duration::from_millis(789));
    let form = format!(
        "grant_type=client_credentials&client_id=agent&client_secret={}&scope=read%3Alogs-app-*",
        gateway.secret("agent")
    );
    let answer = gateway.send(gateway.form("/oauth/token", &form)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("pragma"), "no-cache");
    let body = answer.json();
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(
        body,
        json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "scope": "read:logs-app-*"})
    );
    let header = gateway.decoded_part(token, 0);
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("ES256")));
    let claims = gateway.decoded_part(token, 1);
    let iat = gateway.now().as_secs();
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "agent", "client_id": "agent", "scope": "read:logs-app-*",
            "iat": iat, "exp": iat + 3600, "jti": gateway.id_of(token),
        })
    );
    let record = gateway.store.token(&gateway.id_of(token)).await.unwrap().unwrap();
    assert_eq!(record.client_id, "agent");
    assert_eq!(record.scope, "read:logs-app-*");
    assert_eq!(record.audience, [AUDIENCE]);
    assert_eq!(record.issued_at, gateway.now());
    assert_eq!(record.expires_at.as_secs(), iat + 3600);
}

#[tokio::test]
async fn scopes_are_all_or_those_asked_for_within_what_is_registered() {
    let gateway = Gateway::start().await;
    for (asked, given) in [
        ("", "read:logs-* search:metrics-*"),
        ("&scope=", "read:logs-* search:metrics-*"),
        ("&scope=search:logs-web-2026*", "search:logs-web-2026*"),
        ("&scope=search:metrics-*+read:logs-a,logs-b++read:logs-a,logs-b", "search:metrics-* read:logs-a,logs-b"),
    ] {
        let answer = ask(&gateway, "agent", asked).await;
        assert_eq!(answer.status, StatusCode::OK, "{asked}: {}", answer.text());
        assert_eq!(answer.json()["scope"], given);
    }
    for (asked, named) in [
        ("&scope=write:logs-*", "`write:logs-*`"),
        ("&scope=read:l*", "`read:l*`"),
        ("&scope=read:*", "`read:*`"),
        ("&scope=read:logs-*+read:metrics-*", "`read:metrics-*`"),
        ("&scope=admin:gateway", "`admin:gateway`"),
        ("&scope=monitor:cluster", "`monitor:cluster`"),
        ("&scope=read:logs-*,pii-*", "`read:logs-*,pii-*`"),
        ("&scope=openid", "`openid`"),
        ("&scope=read:%22logs%22", "scope"),
        ("&scope=read:logs-%C3%A9", "scope"),
        ("&scope=+", "scope"),
    ] {
        let answer = ask(&gateway, "agent", asked).await;
        answer.is_refused(400, "invalid_scope");
        let description = answer.json()["error_description"].as_str().unwrap().to_owned();
        assert!(description.contains(named), "{asked}: {description}");
    }
    let many: String = (0..200).map(|n| format!("read:logs-{n}+")).collect();
    ask(&gateway, "agent", &format!("&scope={many}")).await.is_refused(400, "invalid_scope");
    let long = format!("&scope=read:logs-{}", "x".repeat(20_000));
    ask(&gateway, "agent", &long).await.is_refused(400, "invalid_scope");
}

#[tokio::test]
async fn a_client_without_scopes_gets_nothing() {
    let gateway = Gateway::start().await;
    let none = ClientChange { scopes: Some(String::new()), ..ClientChange::default() };
    gateway.authority.clients().change("shipper", none).await.unwrap();
    ask(&gateway, "shipper", "").await.is_refused(400, "invalid_scope");
    ask(&gateway, "shipper", "&scope=write:app-logs-*").await.is_refused(400, "invalid_scope");
}

#[tokio::test]
async fn lifetimes_are_the_clients_or_the_gateways_and_end_on_the_second() {
    let gateway = Gateway::start().await;
    for (client, lifetime) in [("agent", 3600), ("brief", 60)] {
        let answer = ask(&gateway, client, "").await.json();
        assert_eq!(answer["expires_in"], lifetime);
        let token = answer["access_token"].as_str().unwrap();
        gateway.clock.advance(Duration::from_millis(lifetime * 1000 - 1));
        assert_eq!(gateway.bearer("/_oauth4os/v1/whoami", token).await.status, StatusCode::OK);
        gateway.clock.advance(Duration::from_millis(1));
        gateway.bearer("/_oauth4os/v1/whoami", token).await.is_refused(401, "invalid_token");
    }
}

#[tokio::test]
async fn the_resource_is_this_gateway() {
    let gateway = Gateway::start().await;
    for resource in [ISSUER, AUDIENCE] {
        assert_eq!(ask(&gateway, "agent", &format!("&resource={resource}")).await.status, StatusCode::OK);
    }
    for resource in
        ["https://other.example.com", "https://gateway.example.com/", "https://gateway.example.com.evil.example"]
    {
        ask(&gateway, "agent", &format!("&resource={resource}")).await.is_refused(400, "invalid_target");
        let two = format!("&resource={ISSUER}&resource={resource}");
        ask(&gateway, "agent", &two).await.is_refused(400, "invalid_target");
    }
}

#[tokio::test]
async fn only_grants_that_are_known_and_shown() {
    let gateway = Gateway::start().await;
    let secret = gateway.secret("agent");
    for (form, code) in [
        ("scope=read:logs-*", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=password&username=x&password=y", "unsupported_grant_type"),
        ("grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=x", "unsupported_grant_type"),
        ("grant_type=refresh_token", "invalid_request"),
        ("grant_type=refresh_token&refresh_token=x", "invalid_grant"),
        ("grant_type=authorization_code&code=x", "invalid_request"),
        ("grant_type=Client_Credentials", "unsupported_grant_type"),
    ] {
        gateway.send(gateway.form_as("/oauth/token", form, "agent", &secret)).await.is_refused(400, code);
    }
}

#[tokio::test]
async fn wrong_credentials_of_every_kind_are_one_answer() {
    let gateway = Gateway::start().await;
    let form = "grant_type=client_credentials";
    let secret = gateway.secret("agent");
    let disabled = ClientChange { enabled: Some(false), ..ClientChange::default() };
    gateway.authority.clients().change("other", disabled).await.unwrap();
    let mut answers = Vec::new();
    for (id, secret) in [
        ("agent", "wrong"),
        ("nobody", "wrong"),
        ("nobody", &secret),
        ("Agent", &secret),
        ("agent", &secret.to_lowercase()),
        ("agent", &gateway.secret("shipper")),
        ("other", &gateway.secret("other")),
    ] {
        let basic = gateway.send(gateway.form_as("/oauth/token", form, id, secret)).await;
        basic.is_refused(401, "invalid_client");
        assert_eq!(basic.header("www-authenticate"), "Basic realm=\"oauth4os\", charset=\"UTF-8\"");
        let post = format!("{form}&client_id={id}&client_secret={secret}");
        let post = gateway.send(gateway.form("/oauth/token", &post)).await;
        post.is_refused(401, "invalid_client");
        answers.extend([basic.text(), post.text()]);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
}

#[tokio::test]
async fn missing_or_ambiguous_credentials() {
    let gateway = Gateway::start().await;
    let secret = gateway.secret("agent");
    let form = |more: &str| gateway.form("/oauth/token", &format!("grant_type=client_credentials{more}"));
    for more in ["", "&client_id=agent", "&client_id=agent&client_secret=", "&client_secret=x"] {
        gateway.send(form(more)).await.is_refused(401, "invalid_client");
    }
    let assertion =
        "&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=x.y.z";
    gateway.send(form(assertion)).await.is_refused(401, "invalid_client");
    let secret_beside = format!("&client_id=agent&client_secret={secret}{assertion}");
    gateway.send(form(&secret_beside)).await.is_refused(400, "invalid_request");
    for header in ["Bearer abc", "Negotiate abc", "Basic", "Digest username=x"] {
        let mut request = form("");
        request.headers_mut().insert("authorization", header.parse().unwrap());
        gateway.send(request).await.is_refused(401, "invalid_client");
    }
    let both = with_basic(form(&format!("&client_id=agent&client_secret={secret}")), "agent", &secret);
    gateway.send(both).await.is_refused(400, "invalid_request");
    let two_ids = with_basic(form("&client_id=shipper"), "agent", &secret);
    gateway.send(two_ids).await.is_refused(400, "invalid_request");
    let same_id = with_basic(form("&client_id=agent"), "agent", &secret);
    assert_eq!(gateway.send(same_id).await.status, StatusCode::OK);
    let mut twice = with_basic(form(""), "agent", &secret);
    let value = twice.headers()["authorization"].clone();
    twice.headers_mut().append("authorization", value);
    gateway.send(twice).await.is_refused(400, "invalid_request");
    for credentials in ["", "!!!", "YWdlbnQ", &STANDARD.encode("agent"), &STANDARD.encode(b"agent:\xff")] {
        let mut request = form("");
        request.headers_mut().insert("authorization", format!("Basic {credentials}").parse().unwrap());
        gateway.send(request).await.is_refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn secrets_with_special_characters_work_in_every_way_they_are_sent() {
    let gateway = Gateway::start().await;
    let encoded: String = TRICKY_SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let form = "grant_type=client_credentials";
    // As RFC 6749 says; as curl does it; in the form.
    for request in [
        gateway.form_as("/oauth/token", form, "tricky", &encoded),
        gateway.form_as("/oauth/token", form, "tri%63ky", TRICKY_SECRET),
        gateway.form("/oauth/token", &format!("{form}&client_id=tricky&client_secret={encoded}")),
    ] {
        assert_eq!(gateway.send(request).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn only_one_form_in_the_body() {
    let gateway = Gateway::start().await;
    let secret = gateway.secret("agent");
    let good = format!("grant_type=client_credentials&client_id=agent&client_secret={secret}");

    for path in
        [format!("/oauth/token?{good}"), format!("/oauth/token?client_secret={secret}"), "/oauth/token?x".to_owned()]
    {
        gateway.send(gateway.form(&path, &good)).await.is_refused(400, "invalid_request");
    }
    for repeated in
        ["scope=read:logs-*&scope=read:logs-*", "grant_type=client_credentials", "client_id=agent", "x=1&x=2"]
    {
        gateway
            .send(gateway.form("/oauth/token", &format!("{good}&{repeated}")))
            .await
            .is_refused(400, "invalid_request");
    }
    for broken in ["scope=%", "scope=%ff", "scope=%00", "scope=read:logs-*%0a"] {
        gateway
            .send(gateway.form("/oauth/token", &format!("{good}&{broken}")))
            .await
            .is_refused(400, "invalid_request");
    }
    for media_type in ["application/json", "text/plain", "multipart/form-data; boundary=x", ""] {
        let mut request = gateway.form("/oauth/token", &good);
        request.headers_mut().insert("content-type", media_type.parse().unwrap());
        gateway.send(request).await.is_refused(400, "invalid_request");
    }
    let mut untyped = gateway.form("/oauth/token", &good);
    untyped.headers_mut().remove("content-type");
    gateway.send(untyped).await.is_refused(400, "invalid_request");
    let mut compressed = gateway.form("/oauth/token", &good);
    compressed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    gateway.send(compressed).await.is_refused(400, "invalid_request");
    let long = format!("{good}&x={}", "y".repeat(64 * 1024));
    gateway.send(gateway.form("/oauth/token", &long)).await.is_refused(413, "invalid_request");
    // Parameters nobody knows are ignored (RFC 6749 section 3.2).
    assert_eq!(gateway.send(gateway.form("/oauth/token", &format!("{good}&x=1&y="))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn wrong_secrets_shut_out_only_whoever_sends_them() {
    let gateway = Gateway::start().await;
    let from = |address: &str, id: &str, secret: &str| {
        let mut request = gateway.request_from(address, Method::POST, "/oauth/token");
        request.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        *request.body_mut() = Body::from("grant_type=client_credentials");
        with_basic(request, id, secret)
    };
    let secret = gateway.secret("agent");
    for _ in 0..10 {
        gateway.send(from("192.0.2.66", "agent", "wrong")).await.is_refused(401, "invalid_client");
    }
    for guess in ["wrong", &secret] {
        let answer = gateway.send(from("192.0.2.66", "agent", guess)).await;
        answer.is_refused(429, "rate_limit_exceeded");
        assert_eq!(answer.header("retry-after"), "6");
    }
    assert_eq!(gateway.send(from("192.0.2.7", "agent", &secret)).await.status, StatusCode::OK);
    assert_eq!(gateway.send(from("192.0.2.66", "shipper", &gateway.secret("shipper"))).await.status, StatusCode::OK);
    // The same limit stands at the other endpoints that take secrets.
    let list = with_basic(gateway.request_from("192.0.2.66", Method::GET, "/oauth/tokens"), "agent", &secret);
    gateway.send(list).await.is_refused(429, "rate_limit_exceeded");
    gateway.clock.advance(Duration::from_secs(6));
    assert_eq!(gateway.send(from("192.0.2.66", "agent", &secret)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn right_secrets_are_not_limited() {
    let gateway = Gateway::start().await;
    for _ in 0..50 {
        assert_eq!(ask(&gateway, "agent", "").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_changed_a_disabled_and_a_deleted_client_at_the_next_request() {
    let gateway = Gateway::start().await;
    let before = gateway.token("other").await;
    let clients = gateway.authority.clients();
    let change = |change: ClientChange| clients.change("other", change);
    change(ClientChange { scopes: Some("read:logs-web-*".to_owned()), ..ClientChange::default() }).await.unwrap();
    ask(&gateway, "other", "&scope=read:logs-*").await.is_refused(400, "invalid_scope");
    assert_eq!(ask(&gateway, "other", "").await.json()["scope"], "read:logs-web-*");

    change(ClientChange { enabled: Some(false), ..ClientChange::default() }).await.unwrap();
    ask(&gateway, "other", "").await.is_refused(401, "invalid_client");
    gateway.bearer("/oauth/tokens", &before).await.is_refused(401, "invalid_token");
    change(ClientChange { enabled: Some(true), ..ClientChange::default() }).await.unwrap();
    gateway.bearer("/oauth/tokens", &before).await.is_refused(401, "invalid_token");
    change(ClientChange { scopes: Some("read:logs-*".to_owned()), ..ClientChange::default() }).await.unwrap();
    assert_eq!(gateway.bearer("/oauth/tokens", &before).await.status, StatusCode::OK);

    let revoked = gateway.authority.delete_client("other").await.unwrap();
    assert_eq!(revoked.len(), 2);
    assert!(gateway.sink.ids().contains(&gateway.id_of(&before)));
    ask(&gateway, "other", "").await.is_refused(401, "invalid_client");
    gateway.bearer("/oauth/tokens", &before).await.is_refused(401, "invalid_token");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_parallel_requests_get_a_hundred_recorded_tokens() {
    let gateway = Gateway::start().await;
    let requests: Vec<_> =
        (0..100).map(|_| tokio::spawn(gateway.service().oneshot(gateway.token_request("agent", "")))).collect();
    let mut ids = std::collections::BTreeSet::new();
    for request in requests {
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body = axum::body::to_bytes(answer.into_body(), 16 * 1024).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        ids.insert(gateway.id_of(body["access_token"].as_str().unwrap()));
    }
    assert_eq!(ids.len(), 100);
    let gateway = gateway.restart().await;
    let page = PageRequest { after: None, limit: 200 };
    let recorded = gateway.store.tokens(TokenFilter::default(), page).await.unwrap().items;
    assert_eq!(recorded.iter().map(|token| token.id.clone()).collect::<std::collections::BTreeSet<_>>(), ids);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_token_survives_the_deletion_of_its_client() {
    let gateway = Gateway::start().await;
    for _ in 0..10 {
        let secret = crate::test_support::new_secret();
        let client = crate::test_support::stored_client("racer", "read:logs-*", &secret, gateway.now());
        gateway.authority.clients().create(client).await.unwrap();
        let form = "grant_type=client_credentials";
        let requests: Vec<_> = (0..10)
            .map(|_| {
                let request = gateway.form_as("/oauth/token", form, "racer", secret.expose());
                tokio::spawn(gateway.service().oneshot(request))
            })
            .collect();
        gateway.authority.delete_client("racer").await.unwrap();
        for request in requests {
            request.await.unwrap().unwrap();
        }
        let filter =
            TokenFilter { client_id: Some("racer".to_owned()), state: Some(oauth4os_store::TokenState::Active) };
        let alive = gateway.store.tokens(filter, PageRequest::default()).await.unwrap().items;
        assert_eq!(alive, []);
        gateway.clock.advance(Duration::from_secs(60));
    }
}

#[tokio::test]
async fn a_store_that_fails_issues_nothing() {
    let gateway = Gateway::start().await;
    let request = gateway.token_request("agent", "");
    gateway.store.close().await.unwrap();
    let answer = gateway.send(request).await;
    answer.is_refused(503, "temporarily_unavailable");
    assert_eq!(answer.header("retry-after"), "1");
    assert!(!answer.text().contains("eyJ"));
    assert_eq!(gateway.metric("oauth4os_tokens_issued_total"), 0);
    assert_eq!(gateway.metric("oauth4os_tokens_refused_total"), 1);
}

#[tokio::test]
async fn tokens_and_keys_outlive_a_restart() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let keys = gateway.get("/oauth/jwks").await.body;
    let gateway = gateway.restart().await;
    assert_eq!(gateway.get("/oauth/jwks").await.body, keys);
    assert_eq!(gateway.bearer("/_oauth4os/v1/whoami", &token).await.status, StatusCode::OK);
    assert_eq!(ask(&gateway, "shipper", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_decision_is_recorded_and_counted() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    ask(&gateway, "agent", "&scope=read:pii-*").await.is_refused(400, "invalid_scope");
    let wrong = gateway.form_as("/oauth/token", "grant_type=client_credentials", "agent", "wrong");
    gateway.send(wrong).await.is_refused(401, "invalid_client");
    assert_eq!(gateway.metric("oauth4os_tokens_issued_total"), 1);
    assert_eq!(gateway.metric("oauth4os_tokens_refused_total"), 2);
    let id = gateway.id_of(&token);
    let events = gateway.into_audit();
    assert_eq!(events.len(), 3);
    let expected = json!({
        "time": "2026-11-22T00:00:00.000Z", "event": "token.issued", "request_id": "req_test", "client": "agent",
        "token_id": id, "scopes": "read:logs-* search:metrics-*", "address": "192.0.2.7", "method": "POST",
        "path": "/oauth/token", "grant_type": "client_credentials", "decision": "allow", "status": 200,
    });
    assert_eq!(events[0], expected);
    for (event, code, status) in [(&events[1], "invalid_scope", 400), (&events[2], "invalid_client", 401)] {
        assert_eq!(event["event"], "token.refused");
        assert_eq!(event["decision"], "deny");
        assert_eq!(event["client"], "agent");
        assert_eq!(event["status"], status);
        assert!(event["reason"].as_str().unwrap().starts_with(code), "{event}");
    }
}

/// Secrets and tokens in every place where somebody may put them by mistake.
#[tokio::test]
async fn nothing_sent_in_secret_comes_back_or_is_recorded() {
    let gateway = Gateway::start().await;
    let secret = gateway.secret("agent");
    let wrong = crate::test_support::new_secret().expose().to_owned();
    let token = gateway.token("agent").await;
    let grant = "grant_type=client_credentials";
    let good = format!("{grant}&client_id=agent&client_secret={secret}");
    let mut requests = Vec::new();
    for kept in [&secret, &wrong, &token] {
        for form in [
            format!("{grant}&client_id={kept}&client_secret=x"),
            format!("{grant}&client_id=agent&client_secret={kept}x"),
            format!("{good}&scope={kept}"),
            format!("{good}&scope=read:{kept}"),
            format!("{good}&resource={kept}"),
            format!("{good}&{kept}={kept}&{kept}={kept}"),
            format!("grant_type={kept}&client_id=agent&client_secret={secret}"),
            format!("{good}&client_secret={kept}"),
            format!("{good}&client_assertion={kept}"),
        ] {
            requests.push(gateway.form("/oauth/token", &form));
            requests.push(gateway.form("/oauth/revoke", &form));
            requests.push(gateway.form(&format!("/oauth/token?{form}"), &good));
        }
        requests.push(gateway.form_as("/oauth/token", grant, kept, kept));
        requests.push(gateway.form_as("/oauth/revoke", &format!("token={kept}x&client_id=z"), "agent", &secret));
        for path in ["/oauth/tokens", "/oauth/token/x", "/_oauth4os/v1/whoami"] {
            let mut request = gateway.request(Method::GET, path);
            request.headers_mut().insert("authorization", format!("Bearer {kept}x").parse().unwrap());
            requests.push(request);
            requests.push(gateway.request(Method::GET, &format!("{path}?access_token={kept}&cursor={kept}")));
            let query = format!("{path}?limit={kept}&{kept}={kept}&state={kept}");
            requests.push(with_basic(gateway.request(Method::GET, &query), "agent", &secret));
        }
        let by_id = gateway.request(Method::DELETE, &format!("/oauth/token/{kept}"));
        requests.push(with_basic(by_id, "agent", &secret));
    }
    for request in requests {
        let what = format!("{} {}", request.method(), request.uri().path());
        let answer = gateway.send(request).await;
        assert!(!answer.status.is_success(), "{what} {}", answer.text());
        for kept in [&secret, &wrong, &token] {
            assert!(!answer.text().contains(kept.as_str()), "{what} {}", answer.text());
        }
        gateway.clock.advance(Duration::from_secs(6));
    }
    let record = serde_json::to_string(&gateway.into_audit()).unwrap();
    for kept in [&secret, &wrong, &token] {
        assert!(!record.contains(kept.as_str()), "{record}");
    }
}

/// A secret somebody made by himself has no prefix to know it by.
#[tokio::test]
async fn a_plain_secret_in_the_wrong_place_is_not_recorded() {
    let gateway = Gateway::start().await;
    let plain = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b";
    let swapped = gateway.form_as("/oauth/token", "grant_type=client_credentials", plain, "agent");
    gateway.send(swapped).await.is_refused(401, "invalid_client");
    ask(&gateway, "agent", &format!("&scope={plain}")).await.is_refused(400, "invalid_scope");
    ask(&gateway, "agent", &format!("&scope=read:logs-*+{plain}")).await.is_refused(400, "invalid_scope");
    let short = gateway.form_as("/oauth/token", "grant_type=client_credentials", "mistyped-agent", "wrong");
    gateway.send(short).await.is_refused(401, "invalid_client");
    let events = gateway.into_audit();
    assert!(!serde_json::to_string(&events).unwrap().contains(plain), "{events:?}");
    assert_eq!(events[3]["client"], "mistyped-agent");
}
