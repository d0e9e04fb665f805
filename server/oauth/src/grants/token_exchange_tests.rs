use std::time::Duration;

use http::StatusCode;
use oauth4os_store::{ClientChange, Tokens as _};
use serde_json::json;
use tower::ServiceExt as _;

use crate::test_support::{AUDIENCE, Answer, Gateway, ISSUER};

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A request of `client_id` to exchange what the form says.
async fn ask(gateway: &Gateway, client_id: &str, form: &str) -> Answer {
    let form = format!("grant_type=urn:ietf:params:oauth:grant-type:token-exchange&{form}");
    gateway.send(gateway.form_as("/oauth/token", &form, client_id, &gateway.secret(client_id))).await
}

async fn exchange(gateway: &Gateway, client_id: &str, subject: &str, more: &str) -> Answer {
    ask(gateway, client_id, &format!("subject_token={subject}&subject_token_type={ACCESS_TOKEN}{more}")).await
}

#[track_caller]
fn token_of(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

async fn said(gateway: &Gateway, token: &str) -> serde_json::Value {
    let form = format!("token={token}");
    gateway.send(gateway.form_as("/oauth/introspect", &form, "api", &gateway.secret("api"))).await.json()
}

async fn is_active(gateway: &Gateway, token: &str) -> bool {
    let active = said(gateway, token).await["active"] == json!(true);
    let own = gateway.bearer("/_oauth4os/v1/whoami", token).await.status == StatusCode::OK;
    assert_eq!(active, own);
    active
}

#[tokio::test]
async fn a_client_gets_a_token_of_its_own_that_says_for_whom_it_acts() {
    let gateway = Gateway::start().await;
    let subject = gateway.token("agent").await;
    let answer = exchange(&gateway, "runner", &subject, "&scope=read:logs-a").await;
    let token = token_of(&answer);
    let body = answer.json();
    assert_eq!((&body["scope"], &body["token_type"]), (&json!("read:logs-a"), &json!("Bearer")));
    assert_eq!(body["issued_token_type"], ACCESS_TOKEN);
    assert!(body.get("refresh_token").is_none());
    let claims = gateway.decoded_part(&token, 1);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("agent"), &json!("runner")));
    assert_eq!((&claims["act"], &claims["aud"]), (&json!({"sub": "runner"}), &json!(AUDIENCE)));
    let told = said(&gateway, &token).await;
    assert_eq!((&told["sub"], &told["act"]), (&claims["sub"], &claims["act"]));
    // Shown to its owner with where it comes from.
    let id = gateway.id_of(&token);
    let shown = gateway.bearer(&format!("/oauth/token/{id}"), &token).await.json();
    assert_eq!((&shown["subject"], &shown["act"]), (&json!("agent"), &claims["act"]));
    assert_eq!(shown["parent"], json!(gateway.id_of(&subject)));
    // An opaque one says the same by introspection, and can be exchanged as well.
    let opaque = token_of(&exchange(&gateway, "second", &token, "").await);
    let told = said(&gateway, &opaque).await;
    assert_eq!((&told["sub"], &told["client_id"]), (&json!("agent"), &json!("second")));
    assert_eq!(told["act"], json!({"sub": "second", "act": {"sub": "runner"}}));
    let gateway = gateway.restart().await;
    assert_eq!(said(&gateway, &opaque).await["act"], told["act"]);
    let events = gateway.into_audit();
    let issued =
        events.iter().find(|event| event["grant_type"].as_str().is_some_and(|grant| grant.contains("exchange")));
    let issued = issued.unwrap();
    assert_eq!((&issued["client"], &issued["subject"]), (&json!("runner"), &json!("agent")));
    assert_eq!(issued["actors"], json!(["runner"]));
}

#[tokio::test]
async fn nothing_grows_by_an_exchange() {
    let gateway = Gateway::start().await;
    let subject = gateway.token("agent").await;
    // What is left out is what both may have.
    assert_eq!(exchange(&gateway, "runner", &subject, "").await.json()["scope"], "read:logs-*");
    let narrow = gateway.send(gateway.token_request("agent", "&scope=read:logs-a")).await;
    let narrow = token_of(&narrow);
    assert_eq!(exchange(&gateway, "runner", &narrow, "").await.json()["scope"], "read:logs-a");
    // Neither what only the subject may, nor what only the client may, nor what the token may not.
    for scope in
        ["search:metrics-*", "write:app-x", "read:orders-*", "read:*", "admin:gateway", "read:logs-* write:app-*"]
    {
        exchange(&gateway, "runner", &subject, &format!("&scope={scope}")).await.is_refused(400, "invalid_scope");
    }
    exchange(&gateway, "runner", &narrow, "&scope=read:logs-*").await.is_refused(400, "invalid_scope");
    exchange(&gateway, "runner", &gateway.token("admin").await, "").await.is_refused(400, "invalid_scope");
    // A way round: what was narrowed stays so in the next one's hands.
    let first = token_of(&exchange(&gateway, "runner", &subject, "&scope=read:logs-a").await);
    exchange(&gateway, "second", &first, "&scope=read:logs-*").await.is_refused(400, "invalid_scope");
    exchange(&gateway, "runner", &first, "&scope=read:logs-*").await.is_refused(400, "invalid_scope");
    // It ends with the subject's, however long the client's own would live.
    let brief = gateway.token("brief").await;
    gateway.clock.advance(Duration::from_secs(20));
    let answer = exchange(&gateway, "runner", &brief, "").await;
    assert_eq!(answer.json()["expires_in"], 40);
    let again = exchange(&gateway, "runner", &token_of(&answer), "").await;
    assert_eq!(again.json()["expires_in"], 40);
    gateway.clock.advance(Duration::from_secs(40));
    assert!(!is_active(&gateway, &token_of(&again)).await);
}

#[tokio::test]
async fn only_listed_tokens_by_listed_clients() {
    let gateway = Gateway::start().await;
    let (agent, shipper) = (gateway.token("agent").await, gateway.token("shipper").await);
    exchange(&gateway, "agent", &agent, "").await.is_refused(400, "unauthorized_client");
    exchange(&gateway, "other", &agent, "").await.is_refused(400, "unauthorized_client");
    exchange(&gateway, "runner", &shipper, "").await.is_refused(400, "invalid_request");
    // Whose token it is: the one it is about and the one who holds it. `second` may take neither of these.
    let other = token_of(&exchange(&gateway, "runner", &gateway.token("other").await, "").await);
    exchange(&gateway, "second", &other, "").await.is_refused(400, "invalid_request");
    exchange(&gateway, "second", &gateway.token("other").await, "").await.is_refused(400, "invalid_request");
    // Without a secret, with another's, with a token in its place.
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={agent}&subject_token_type={ACCESS_TOKEN}"
    );
    gateway.send(gateway.form("/oauth/token", &form)).await.is_refused(401, "invalid_client");
    gateway
        .send(gateway.form("/oauth/token", &format!("{form}&client_id=runner")))
        .await
        .is_refused(401, "invalid_client");
    let secret = gateway.secret("agent");
    gateway.send(gateway.form_as("/oauth/token", &form, "runner", &secret)).await.is_refused(401, "invalid_client");
    // A client may narrow its own, where it is listed.
    let own = gateway.token("runner").await;
    let narrowed = exchange(&gateway, "runner", &own, "&scope=read:logs-1").await;
    assert_eq!(gateway.decoded_part(&token_of(&narrowed), 1)["act"], json!({"sub": "runner"}));
}

#[tokio::test]
async fn what_is_not_in_force_is_not_exchanged() {
    let gateway = Gateway::start().await;
    let refused = async |token: &str| {
        let answer = exchange(&gateway, "runner", token, "").await;
        answer.is_refused(400, "invalid_request");
        assert!(token.len() < 20 || !answer.text().contains(token), "{}", answer.text());
    };
    for client in ["agent", "opaque"] {
        let token = gateway.token(client).await;
        token_of(&exchange(&gateway, "runner", &token, "").await);
        let form = format!("token={token}");
        gateway.send(gateway.form_as("/oauth/revoke", &form, client, &gateway.secret(client))).await;
        refused(&token).await;
    }
    let token = gateway.token("agent").await;
    let (edited, cut) = (format!("{token}x"), token.get(..token.len() - 1).unwrap());
    let opaque = gateway.token("opaque").await;
    let cut_opaque = opaque.get(..opaque.len() - 1).unwrap();
    let secret = gateway.secret("agent");
    for nothing in ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "o4s_at_", &edited, cut, cut_opaque, &secret] {
        refused(nothing).await;
    }
    let other = gateway.token("other").await;
    let clients = gateway.authority.clients();
    clients.change("other", ClientChange { enabled: Some(false), ..ClientChange::default() }).await.unwrap();
    refused(&other).await;
    let brief = gateway.token("brief").await;
    gateway.clock.advance(Duration::from_secs(60));
    refused(&brief).await;
    // For somebody else.
    let elsewhere = exchange(&gateway, "runner", &token, "&audience=billing").await;
    refused(&token_of(&elsewhere)).await;
}

#[tokio::test]
async fn the_parameters_are_exactly_those() {
    let gateway = Gateway::start().await;
    let token = gateway.token("agent").await;
    let good = format!("subject_token={token}&subject_token_type={ACCESS_TOKEN}");
    token_of(&ask(&gateway, "runner", &good).await);
    token_of(&ask(&gateway, "runner", &format!("{good}&requested_token_type={ACCESS_TOKEN}")).await);
    let jwt = format!("subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:jwt");
    token_of(&ask(&gateway, "runner", &jwt).await);
    let opaque = gateway.token("opaque").await;
    for form in [
        String::new(),
        format!("subject_token={token}"),
        format!("subject_token_type={ACCESS_TOKEN}"),
        format!("subject_token=&subject_token_type={ACCESS_TOKEN}"),
        format!("{good}&subject_token={token}"),
        format!("{good}&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token"),
        format!("{good}&requested_token_type=urn:ietf:params:oauth:token-type:jwt"),
        format!("subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:id_token"),
        format!("subject_token={token}&subject_token_type=urn:ietf:params:oauth:token-type:saml2"),
        format!("subject_token={token}&subject_token_type=access_token"),
        format!("subject_token={opaque}&subject_token_type=urn:ietf:params:oauth:token-type:jwt"),
        format!("{good}&actor_token={token}"),
        format!("{good}&actor_token_type={ACCESS_TOKEN}"),
    ] {
        ask(&gateway, "runner", &form).await.is_refused(400, "invalid_request");
    }
}

#[tokio::test]
async fn an_actor_is_proven_and_listed() {
    let gateway = Gateway::start().await;
    let subject = gateway.token("other").await;
    let with = async |actor: &str| {
        exchange(&gateway, "runner", &subject, &format!("&actor_token={actor}&actor_token_type={ACCESS_TOKEN}")).await
    };
    let act = |answer: &Answer| gateway.decoded_part(&token_of(answer), 1)["act"].clone();
    let (agent, runner) = (gateway.token("agent").await, gateway.token("runner").await);
    assert_eq!(act(&with(&agent).await), json!({"sub": "agent", "client_id": "runner"}));
    assert_eq!(act(&with(&runner).await), json!({"sub": "runner"}));
    // Not listed; about somebody else; nobody's; revoked.
    with(&gateway.token("brief").await).await.is_refused(400, "invalid_request");
    let about_agent = token_of(&exchange(&gateway, "runner", &agent, "").await);
    with(&about_agent).await.is_refused(400, "invalid_request");
    for nothing in ["agent", "x", "eyJhbGciOiJub25lIn0.e30.", &format!("{agent}x")] {
        with(nothing).await.is_refused(400, "invalid_request");
    }
    let form = format!("token={agent}");
    gateway.send(gateway.form_as("/oauth/revoke", &form, "agent", &gateway.secret("agent"))).await;
    with(&agent).await.is_refused(400, "invalid_request");
    // The new one ends with the actor's too.
    gateway.clock.advance(Duration::from_secs(1000));
    let late = gateway.token("other").await;
    let form = format!("&actor_token={runner}&actor_token_type={ACCESS_TOKEN}");
    assert_eq!(exchange(&gateway, "runner", &late, &form).await.json()["expires_in"], 2600);
}

#[tokio::test]
async fn a_token_is_for_the_gateway_or_for_a_listed_audience() {
    let gateway = Gateway::start().await;
    let subject = gateway.token("agent").await;
    let for_target = async |client: &str, more: &str| exchange(&gateway, client, &subject, more).await;
    for here in [
        format!("&audience={AUDIENCE}"),
        format!("&resource={ISSUER}"),
        format!("&resource={ISSUER}&audience={AUDIENCE}"),
        format!("&resource={ISSUER}&resource={AUDIENCE}"),
    ] {
        assert!(is_active(&gateway, &token_of(&for_target("runner", &here).await)).await, "{here}");
    }
    for client in ["runner", "second"] {
        let token = token_of(&for_target(client, "&audience=billing&resource=billing").await);
        // Also of a client with opaque tokens: whom it is for has to be able to read it.
        assert_eq!(gateway.decoded_part(&token, 1)["aud"], "billing");
        gateway.bearer("/_oauth4os/v1/whoami", &token).await.is_refused(401, "invalid_token");
        assert_eq!(said(&gateway, &token).await, json!({"active": false}));
    }
    for more in [
        "&audience=elsewhere".to_owned(),
        "&resource=https://elsewhere.example.com".to_owned(),
        "&audience=Billing".to_owned(),
        format!("&audience=billing&resource={ISSUER}"),
        format!("&audience={AUDIENCE}&resource=billing"),
        "&resource=billing&resource=elsewhere".to_owned(),
    ] {
        for_target("runner", &more).await.is_refused(400, "invalid_target");
    }
    for_target("runner", "&audience=billing&audience=billing").await.is_refused(400, "invalid_request");
}

#[tokio::test]
async fn a_chain_has_an_end() {
    let gateway = Gateway::start().await;
    let mut token = gateway.token("agent").await;
    for number in 0..oauth4os_tokens::access::MAX_ACTORS {
        let client = if number % 2 == 0 { "runner" } else { "second" };
        token = token_of(&exchange(&gateway, client, &token, "").await);
    }
    let act = said(&gateway, &token).await["act"].clone();
    assert_eq!(act["act"]["act"]["act"]["sub"], "runner");
    exchange(&gateway, "runner", &token, "").await.is_refused(400, "invalid_request");
    exchange(&gateway, "second", &token, "").await.is_refused(400, "invalid_request");
}

#[tokio::test]
async fn rows_stay_and_an_identity_of_ones_own_cannot_be_handed_on() {
    let gateway = Gateway::start().await;
    let held = gateway.token("held").await;
    // The scope is handed on: the data plane holds it to the rows of the client it is about.
    let token = token_of(&exchange(&gateway, "runner", &held, "&scope=read:orders-1").await);
    assert!(is_active(&gateway, &token).await);
    // Two clients with other rows each.
    exchange(&gateway, "held-too", &held, "&scope=read:orders-1").await.is_refused(400, "invalid_scope");
    let own = gateway.token("held-too").await;
    token_of(&exchange(&gateway, "held-too", &own, "&scope=read:orders-1").await);
    // The engine does not know of rows with backend roles.
    exchange(&gateway, "own", &held, "&scope=read:orders-1").await.is_refused(400, "invalid_request");
    token_of(&exchange(&gateway, "own", &held, "&scope=read:logs-1").await);
    // Nor would it know whose roles these are.
    exchange(&gateway, "runner", &gateway.token("own").await, "").await.is_refused(400, "invalid_request");
    token_of(&exchange(&gateway, "own", &gateway.token("own").await, "&scope=read:logs-1").await);
}

#[tokio::test]
async fn what_takes_the_subject_out_of_use_takes_along_what_was_exchanged_for_it() {
    for way in ["revoke", "by id", "by the administrator"] {
        let gateway = Gateway::start().await;
        let subject = gateway.token("agent").await;
        let first = token_of(&exchange(&gateway, "runner", &subject, "").await);
        let second = token_of(&exchange(&gateway, "second", &first, "").await);
        let apart = token_of(&exchange(&gateway, "runner", &gateway.token("agent").await, "").await);
        let id = gateway.id_of(&subject);
        let delete = |token: &str| {
            let request = gateway.request(http::Method::DELETE, &format!("/oauth/token/{id}"));
            gateway.send(crate::test_support::with_bearer(request, token))
        };
        match way {
            "revoke" => {
                let form = format!("token={subject}");
                drop(gateway.send(gateway.form_as("/oauth/revoke", &form, "agent", &gateway.secret("agent"))).await);
            }
            "by id" => drop(delete(&subject).await),
            _ => drop(delete(&gateway.token("admin").await).await),
        }
        // The data plane was told of all before the answer.
        let told = gateway.sink.ids();
        let ids = [id.clone(), gateway.id_of(&first)];
        assert!(ids.iter().all(|id| told.contains(id)), "{way}: {told:?}");
        for token in [&subject, &first, &second] {
            assert!(!is_active(&gateway, token).await, "{way}");
        }
        assert!(is_active(&gateway, &apart).await, "{way}");
        assert_eq!(gateway.metric("oauth4os_tokens_revoked_total"), 3);
        let gateway = gateway.restart().await;
        assert!(!is_active(&gateway, &second).await && is_active(&gateway, &apart).await, "{way}");
        assert_eq!(gateway.store.revoked_tokens().await.unwrap().len(), 3);
        let events = gateway.into_audit();
        let derived = events.iter().filter(|event| event["reason"] == "the token it was exchanged for was revoked");
        assert_eq!(derived.count(), 2);
    }
    // One's own end is not the subject's.
    let gateway = Gateway::start().await;
    let subject = gateway.token("agent").await;
    let token = token_of(&exchange(&gateway, "runner", &subject, "").await);
    let form = format!("token={token}");
    gateway.send(gateway.form_as("/oauth/revoke", &form, "runner", &gateway.secret("runner"))).await;
    assert!(!is_active(&gateway, &token).await && is_active(&gateway, &subject).await);
}

#[tokio::test]
async fn a_subject_that_may_do_less_takes_its_exchanged_tokens_along() {
    let gateway = Gateway::start().await;
    let clients = gateway.authority.clients().clone();
    let change = async |change: ClientChange| drop(clients.change("other", change).await.unwrap());
    let scopes = |scopes: &str| ClientChange { scopes: Some(scopes.to_owned()), ..ClientChange::default() };
    let token = token_of(&exchange(&gateway, "runner", &gateway.token("other").await, "").await);
    assert!(is_active(&gateway, &token).await);
    change(scopes("read:logs-a")).await;
    assert!(!is_active(&gateway, &token).await);
    change(scopes("read:logs-*")).await;
    assert!(is_active(&gateway, &token).await);
    change(ClientChange { enabled: Some(false), ..ClientChange::default() }).await;
    assert!(!is_active(&gateway, &token).await);
    change(ClientChange { enabled: Some(true), ..ClientChange::default() }).await;
    let revoked = gateway.authority.delete_client("other").await.unwrap();
    assert_eq!(revoked.len(), 2, "its own and the exchanged one");
    assert!(!is_active(&gateway, &token).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_is_exchanged_survives_the_revocation_of_its_subject() {
    for client in ["agent", "opaque"] {
        let gateway = Gateway::start().await;
        let subject = gateway.token(client).await;
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={subject}&subject_token_type={ACCESS_TOKEN}"
        );
        let secret = gateway.secret("runner");
        let exchanges: Vec<_> = (0..100)
            .map(|_| {
                let request = gateway.form_as("/oauth/token", &form, "runner", &secret);
                tokio::spawn(gateway.service().oneshot(request))
            })
            .collect();
        let revoke = gateway.form_as("/oauth/revoke", &format!("token={subject}"), client, &gateway.secret(client));
        let revoked = tokio::spawn(gateway.service().oneshot(revoke));
        assert_eq!(revoked.await.unwrap().unwrap().status(), StatusCode::OK);
        // Whatever the exchanges had got by then or get now, none of it is good.
        let told_at_once = gateway.sink.ids();
        let mut given = 0;
        for exchange in exchanges {
            let answer = exchange.await.unwrap().unwrap();
            if answer.status() != StatusCode::OK {
                assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
                continue;
            }
            given += 1;
            let body = axum::body::to_bytes(answer.into_body(), 16 * 1024).await.unwrap();
            let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let token = body["access_token"].as_str().unwrap();
            assert!(told_at_once.contains(&gateway.id_of(token)));
            assert!(!is_active(&gateway, token).await);
        }
        assert_eq!(gateway.store.revoked_tokens().await.unwrap().len(), given + 1);
        exchange(&gateway, "runner", &subject, "").await.is_refused(400, "invalid_request");
    }
}
