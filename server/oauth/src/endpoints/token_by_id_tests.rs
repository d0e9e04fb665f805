use http::{Method, StatusCode};
use serde_json::json;

use crate::test_support::{Answer, Gateway, with_basic, with_bearer};

async fn delete(gateway: &Gateway, id: &str, bearer: &str) -> Answer {
    let request = gateway.request(Method::DELETE, &format!("/oauth/token/{id}"));
    gateway.send(with_bearer(request, bearer)).await
}

#[tokio::test]
async fn the_owner_sees_and_revokes() {
    let gateway = Gateway::start().await;
    let (bearer, token) = (gateway.token("agent").await, gateway.token("agent").await);
    let path = format!("/oauth/token/{}", gateway.id_of(&token));
    let shown = gateway.bearer(&path, &bearer).await;
    assert_eq!(
        shown.json(),
        json!({
            "id": gateway.id_of(&token), "client_id": "agent", "scope": "read:logs-* search:metrics-*",
            "created_at": "2026-11-22T00:00:00.000Z", "expires_at": "2026-11-22T01:00:00.000Z",
            "revoked": false, "state": "active",
        })
    );
    for _ in 0..2 {
        let answer = delete(&gateway, &gateway.id_of(&token), &bearer).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert!(answer.body.is_empty());
    }
    assert_eq!(gateway.bearer(&path, &bearer).await.json()["revoked"], true);
    gateway.bearer(&path, &token).await.is_refused(401, "invalid_token");
    assert_eq!(gateway.sink.ids()[0], gateway.id_of(&token));
    assert_eq!(gateway.metric("oauth4os_tokens_revoked_total"), 1);
}

#[tokio::test]
async fn a_token_may_end_itself_and_basic_works_too() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    assert_eq!(delete(&gateway, &gateway.id_of(&token), &token).await.status, StatusCode::NO_CONTENT);
    delete(&gateway, &gateway.id_of(&token), &token).await.is_refused(401, "invalid_token");
    let token = gateway.token("agent").await;
    let request = gateway.request(Method::DELETE, &format!("/oauth/token/{}", gateway.id_of(&token)));
    let answer = gateway.send(with_basic(request, "agent", &gateway.secret("agent"))).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn somebody_elses_token_is_not_there() {
    let gateway = Gateway::start().await;
    let (token, foreign) = (gateway.token("agent").await, gateway.token("other").await);
    let mut texts = Vec::new();
    for id in
        [gateway.id_of(&foreign).as_str(), "tok_0000000000000000000000", "x", "%ff", "a%2Fb", "%00", &"x".repeat(5000)]
    {
        let get = gateway.bearer(&format!("/oauth/token/{id}"), &token).await;
        let delete = delete(&gateway, id, &token).await;
        get.is_refused(404, "not_found");
        delete.is_refused(404, "not_found");
        texts.extend([get.text(), delete.text()]);
    }
    texts.dedup();
    assert_eq!(texts.len(), 1);
    assert_eq!(gateway.bearer("/_oauth4os/v1/whoami", &foreign).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_administrator_revokes_any_token() {
    let gateway = Gateway::start().await;
    let (admin, token) = (gateway.token("admin").await, gateway.token("agent").await);
    let id = gateway.id_of(&token);
    assert_eq!(gateway.bearer(&format!("/oauth/token/{id}"), &admin).await.json()["client_id"], "agent");
    assert_eq!(delete(&gateway, &id, &admin).await.status, StatusCode::NO_CONTENT);
    gateway.bearer("/oauth/tokens", &token).await.is_refused(401, "invalid_token");
    let events = gateway.into_audit();
    let revoked = events.last().unwrap();
    assert_eq!(
        (&revoked["event"], &revoked["client"], &revoked["token_id"]),
        (&json!("token.revoked"), &json!("admin"), &json!(id))
    );
}

#[tokio::test]
async fn nobody_learns_anything_without_a_credential() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    for id in [gateway.id_of(&token).as_str(), "tok_0000000000000000000000", "%ff"] {
        let path = format!("/oauth/token/{id}");
        gateway.get(&path).await.is_refused(401, "unauthenticated");
        gateway.send(gateway.request(Method::DELETE, &path)).await.is_refused(401, "unauthenticated");
    }
    assert_eq!(gateway.bearer("/_oauth4os/v1/whoami", &token).await.status, StatusCode::OK);
}
