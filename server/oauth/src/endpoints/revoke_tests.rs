use std::future::Future as _;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use http::StatusCode;
use oauth4os_store::{Store as _, TokenState, Tokens as _};
use serde_json::json;
use tower::ServiceExt as _;

use crate::test_support::{Answer, Gateway, with_basic};

async fn revoke_as(gateway: &Gateway, client_id: &str, token: &str, more: &str) -> Answer {
    let form = format!("token={token}{more}");
    gateway.send(gateway.form_as("/oauth/revoke", &form, client_id, &gateway.secret(client_id))).await
}

async fn is_in_force(gateway: &Gateway, token: &str) -> bool {
    gateway.bearer("/_oauth4os/v1/whoami", token).await.status == StatusCode::OK
}

#[track_caller]
fn is_empty_200(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    assert!(answer.body.is_empty());
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_revoked_token_is_out_of_use_everywhere_and_after_a_restart() {
    let gateway = Gateway::start().await;
    let (token, kept) = (gateway.token("agent").await, gateway.token("agent").await);
    let id = gateway.id_of(&token);
    is_empty_200(&revoke_as(&gateway, "agent", &token, "").await);
    assert_eq!(gateway.sink.ids(), [id.as_str()]);
    for path in ["/_oauth4os/v1/whoami", "/oauth/tokens", &format!("/oauth/token/{id}")] {
        gateway.bearer(path, &token).await.is_refused(401, "invalid_token");
    }
    assert!(is_in_force(&gateway, &kept).await);
    let shown = gateway.bearer(&format!("/oauth/token/{id}"), &kept).await.json();
    assert_eq!((&shown["revoked"], &shown["state"]), (&json!(true), &json!("revoked")));

    let gateway = gateway.restart().await;
    assert!(!is_in_force(&gateway, &token).await);
    assert!(is_in_force(&gateway, &kept).await);
    let revoked = gateway.store.revoked_tokens().await.unwrap();
    assert_eq!(revoked.iter().map(|token| token.id.as_str()).collect::<Vec<_>>(), [id]);
}

#[tokio::test]
async fn revoking_again_is_fine_and_recorded_once() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let id = gateway.id_of(&token);
    for hint in ["", "&token_type_hint=access_token", "&token_type_hint=refresh_token", "&token_type_hint=nonsense"] {
        is_empty_200(&revoke_as(&gateway, "agent", &token, hint).await);
    }
    assert_eq!(gateway.metric("oauth4os_tokens_revoked_total"), 1);
    let events = gateway.into_audit();
    let revoked: Vec<_> = events.iter().filter(|event| event["event"] == "token.revoked").collect();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0]["client"], "agent");
    assert_eq!(revoked[0]["token_id"], id);
    assert_eq!(revoked[0]["address"], "192.0.2.7");
}

#[tokio::test]
async fn only_the_owner_revokes_and_nobody_learns_anything() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    for client in ["other", "shipper", "admin"] {
        is_empty_200(&revoke_as(&gateway, client, &token, "").await);
    }
    assert!(is_in_force(&gateway, &token).await);
    assert!(gateway.sink.ids().is_empty());
    let edited = format!("{token}x");
    let cut = token.get(..token.len() - 3).unwrap();
    for nothing in ["x", "tok_0000000000000000000000", "eyJhbGciOiJub25lIn0.e30.", &edited, cut] {
        is_empty_200(&revoke_as(&gateway, "agent", nothing, "").await);
    }
    assert!(is_in_force(&gateway, &token).await);
    assert_eq!(gateway.metric("oauth4os_tokens_revoked_total"), 0);
}

#[tokio::test]
async fn an_expired_token_is_fine_and_stays_expired() {
    let gateway = Gateway::start().await;
    let token = gateway.token("brief").await;
    gateway.clock.advance(Duration::from_secs(60));
    is_empty_200(&revoke_as(&gateway, "brief", &token, "").await);
    let record = gateway.store.token(&gateway.id_of(&token)).await.unwrap().unwrap();
    assert_eq!(record.state(gateway.now()), TokenState::Expired);
}

#[tokio::test]
async fn the_client_must_authenticate_and_send_a_token() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let form = format!("token={token}");
    gateway.send(gateway.form("/oauth/revoke", &form)).await.is_refused(401, "invalid_client");
    gateway.send(gateway.form_as("/oauth/revoke", &form, "agent", "wrong")).await.is_refused(401, "invalid_client");
    gateway
        .send(gateway.form("/oauth/revoke", &format!("{form}&client_id=agent")))
        .await
        .is_refused(401, "invalid_client");
    let secret = gateway.secret("agent");
    gateway.send(gateway.form_as("/oauth/revoke", "token=", "agent", &secret)).await.is_refused(400, "invalid_request");
    gateway
        .send(gateway.form_as("/oauth/revoke", &format!("{form}&{form}"), "agent", &secret))
        .await
        .is_refused(400, "invalid_request");
    let query = with_basic(gateway.form(&format!("/oauth/revoke?{form}"), ""), "agent", &secret);
    gateway.send(query).await.is_refused(400, "invalid_request");
    assert!(is_in_force(&gateway, &token).await);
    let post = format!("{form}&client_id=agent&client_secret={secret}");
    is_empty_200(&gateway.send(gateway.form("/oauth/revoke", &post)).await);
    assert!(!is_in_force(&gateway, &token).await);
}

#[tokio::test]
async fn a_client_secret_is_no_token() {
    let gateway = Gateway::start().await;
    let secret = gateway.secret("agent");
    let answer = revoke_as(&gateway, "agent", &secret, "").await;
    answer.is_refused(400, "unsupported_token_type");
    assert!(!answer.text().contains(&secret));
}

#[tokio::test]
async fn a_store_that_fails_confirms_nothing() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    gateway.store.close().await.unwrap();
    revoke_as(&gateway, "agent", &token, "").await.is_refused(503, "temporarily_unavailable");
    assert!(gateway.sink.ids().is_empty());
}

#[tokio::test]
async fn a_caller_who_hangs_up_cannot_stop_a_revocation_half_way() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let form = format!("token={token}");
    let request = gateway.form_as("/oauth/revoke", &form, "agent", &gateway.secret("agent"));
    {
        let mut answer = pin!(gateway.service().oneshot(request));
        assert!(answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    gateway.sink.wait_for(&gateway.id_of(&token)).await;
    assert!(!is_in_force(&gateway, &token).await);
}

#[tokio::test]
async fn a_token_that_was_revoked_elsewhere_is_out_of_use_here_before_that_is_confirmed() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let id = gateway.id_of(&token);
    gateway.store.revoke_token(&id).await.unwrap();
    assert!(gateway.sink.ids().is_empty());
    is_empty_200(&revoke_as(&gateway, "agent", &token, "").await);
    assert_eq!(gateway.sink.ids(), [id.as_str()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_revocations_at_once_each_is_in_force_when_confirmed() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let id = gateway.id_of(&token);
    let form = format!("token={token}");
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let request = gateway.form_as("/oauth/revoke", &form, "agent", &gateway.secret("agent"));
            let (service, sink, id) = (gateway.service(), gateway.sink.clone(), id.clone());
            tokio::spawn(async move {
                let answer = service.oneshot(request).await.unwrap();
                (answer.status(), sink.ids().contains(&id))
            })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), (StatusCode::OK, true));
    }
    assert_eq!(gateway.metric("oauth4os_tokens_revoked_total"), 1);
}
