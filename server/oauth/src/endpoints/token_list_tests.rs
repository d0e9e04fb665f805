use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::test_support::{Answer, Gateway, with_basic};

fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let list = answer.json();
    list["tokens"].as_array().unwrap().iter().map(|token| token["id"].as_str().unwrap().to_owned()).collect()
}

async fn issue(gateway: &Gateway, client_id: &str) -> (String, String) {
    gateway.clock.advance(Duration::from_secs(1));
    let token = gateway.token(client_id).await;
    let id = gateway.id_of(&token);
    (token, id)
}

#[tokio::test]
async fn a_client_sees_its_own_tokens_and_never_the_tokens_themselves() {
    let gateway = Gateway::start().await;
    let (token, first) = issue(&gateway, "agent").await;
    let (foreign, _) = issue(&gateway, "other").await;
    let (_, second) = issue(&gateway, "agent").await;
    let answer = gateway.bearer("/oauth/tokens", &token).await;
    assert_eq!(ids(&answer), [second, first.clone()]);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        answer.json()["tokens"][1],
        json!({
            "id": first, "client_id": "agent", "scope": "read:logs-* search:metrics-*",
            "created_at": "2026-11-22T00:00:01.000Z", "expires_at": "2026-11-22T01:00:01.000Z",
            "revoked": false, "state": "active",
        })
    );
    assert!(answer.json().get("next_cursor").is_none());
    let basic = with_basic(gateway.request(Method::GET, "/oauth/tokens"), "agent", &gateway.secret("agent"));
    assert_eq!(gateway.send(basic).await.body, answer.body);
    for token in [&token, &foreign] {
        assert!(!answer.text().contains(token.as_str()));
    }
}

#[tokio::test]
async fn the_tokens_of_others_need_admin_gateway() {
    let gateway = Gateway::start().await;
    let (agent, agents) = issue(&gateway, "agent").await;
    let (_, others) = issue(&gateway, "other").await;
    let (admin, admins) = issue(&gateway, "admin").await;
    assert_eq!(ids(&gateway.bearer("/oauth/tokens", &admin).await), [admins, others.clone(), agents.clone()]);
    assert_eq!(ids(&gateway.bearer("/oauth/tokens?client_id=other", &admin).await), [others]);
    assert_eq!(ids(&gateway.bearer("/oauth/tokens?client_id=nobody", &admin).await), [""; 0]);
    let basic = with_basic(gateway.request(Method::GET, "/oauth/tokens"), "admin", &gateway.secret("admin"));
    assert_eq!(ids(&gateway.send(basic).await).len(), 3);

    assert_eq!(ids(&gateway.bearer("/oauth/tokens?client_id=agent", &agent).await), [agents]);
    for other in ["other", "nobody"] {
        let answer = gateway.bearer(&format!("/oauth/tokens?client_id={other}"), &agent).await;
        answer.is_refused(403, "insufficient_scope");
    }
}

#[tokio::test]
async fn an_administrator_whose_client_lost_the_scope_is_none() {
    let gateway = Gateway::start().await;
    let (admin, _) = issue(&gateway, "admin").await;
    let scopes = Some("read:logs-*".to_owned());
    let change = oauth4os_store::ClientChange { scopes, ..Default::default() };
    gateway.authority.clients().change("admin", change).await.unwrap();
    gateway.bearer("/oauth/tokens", &admin).await.is_refused(401, "invalid_token");
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_while_tokens_come() {
    let gateway = Gateway::start().await;
    let mut expected = Vec::new();
    let mut bearer = String::new();
    for _ in 0..7 {
        let (token, id) = issue(&gateway, "agent").await;
        bearer = token;
        expected.insert(0, id);
    }
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for size in [3, 3, 1] {
        let answer = gateway.bearer(&format!("/oauth/tokens?limit=3{cursor}"), &bearer).await;
        let page = ids(&answer);
        assert_eq!(page.len(), size);
        found.extend(page);
        cursor = match answer.json().get("next_cursor") {
            Some(Value::String(next)) => format!("&cursor={next}"),
            _ => String::new(),
        };
        issue(&gateway, "agent").await;
    }
    assert!(cursor.is_empty());
    assert_eq!(found, expected);
}

#[tokio::test]
async fn states_can_be_asked_for() {
    let gateway = Gateway::start().await;
    let (_, expired) = issue(&gateway, "brief").await;
    gateway.clock.advance(Duration::from_secs(60));
    let (revoked_token, revoked) = issue(&gateway, "brief").await;
    let secret = gateway.secret("brief");
    let form = format!("token={revoked_token}");
    gateway.send(gateway.form_as("/oauth/revoke", &form, "brief", &secret)).await;
    let (bearer, active) = issue(&gateway, "brief").await;
    for (state, id) in [("active", &active), ("revoked", &revoked), ("expired", &expired)] {
        let answer = gateway.bearer(&format!("/oauth/tokens?state={state}"), &bearer).await;
        assert_eq!(ids(&answer), [id.as_str()]);
        assert_eq!(answer.json()["tokens"][0]["state"], state);
        assert_eq!(answer.json()["tokens"][0]["revoked"], state == "revoked");
    }
    assert_eq!(ids(&gateway.bearer("/oauth/tokens", &bearer).await).len(), 3);
}

#[tokio::test]
async fn a_query_that_means_nothing_is_refused() {
    let gateway = Gateway::start().await;
    let (token, _) = issue(&gateway, "agent").await;
    for query in [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=%2B5",
        "limit=x",
        "limit=99999999999",
        "limit=1&limit=2",
        "cursor=x",
        "cursor=!!",
        "state=gone",
        "client=agent",
        "client_id=%ff",
        "offset=1",
        "client_id=agent&client_id=other",
    ] {
        gateway.bearer(&format!("/oauth/tokens?{query}"), &token).await.is_refused(400, "invalid_request");
    }
    assert_eq!(gateway.bearer("/oauth/tokens?limit=200&cursor=&state=", &token).await.status, StatusCode::OK);
    gateway.get(&format!("/oauth/tokens?access_token={token}")).await.is_refused(400, "invalid_request");
}

#[tokio::test]
async fn without_a_credential_both_ways_are_named() {
    let gateway = Gateway::start().await;
    let answer = gateway.get("/oauth/tokens").await;
    answer.is_refused(401, "unauthenticated");
    assert_eq!(
        answer.all("www-authenticate"),
        [
            "Bearer realm=\"oauth4os\", resource_metadata=\"https://gateway.example.com/.well-known/oauth-protected-resource\"",
            "Basic realm=\"oauth4os\", charset=\"UTF-8\"",
        ]
    );
    let wrong = with_basic(gateway.request(Method::GET, "/oauth/tokens"), "agent", "wrong");
    gateway.send(wrong).await.is_refused(401, "invalid_client");
}
