//! Tokens of an outside provider, a real Keycloak: what they may do, when they are refused, and what becomes of them when
//! the provider changes its keys or is down.

use std::time::Duration;

use e2e::{Claims, Engine, Forge, Gateway, Issuer, Keycloak, OnDrop, Settings, base64url, until};
use oauth4os_tokens::keys::Algorithm;
use serde_json::{Value, json};

const READ: &str = "/logs-*/_search?size=0";

fn provider(keycloak: &Keycloak) -> Value {
    json!({
        "name": "keycloak",
        "issuer": keycloak.issuer,
        // The second one is in ID tokens: what refuses those must be something else.
        "audience": ["oauth4os", "terminal"],
        "leeway": "1s",
        "claims": {
            "subject": "preferred_username",
            "roles": ["realm_access.roles", "resource_access.service.roles"],
            "groups": "groups",
        },
        "scope_mapping": {
            "roles": {"logs-reader": ["read:logs-*"], "app-writer": ["write:app-logs-*"]},
            "groups": {"administrators": ["monitor:cluster"]},
        },
        "client_kinds": {"service": "client", "service-es256": "agent", "brief": "client"},
    })
}

fn gateway(keycloak: &Keycloak) -> Gateway {
    Gateway::start(Settings::new().client("reader", &["read:logs-*"]).provider(provider(keycloak)))
}

#[test]
fn roles_of_realm_and_client_give_what_they_are_mapped_to_and_nothing_else() {
    let (keycloak, _up) = Keycloak::get();
    let index = "app-logs-e2e-providers";
    Engine::get().delete_index(index);
    let _remove = OnDrop(|| Engine::get().delete_index(index));
    let gateway = gateway(keycloak);

    // The service account has a realm role that reads and a role of its own client that writes.
    let service = gateway.http().with_token(&keycloak.client_token("service"));
    let answer = service.get(READ).expect(200);
    let hits = |answer: &Value| answer["hits"]["total"]["value"].as_u64().expect("a number");
    assert!(hits(&answer.json()) > 0);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["client"], &event["provider"]), (&json!("keycloak/service"), &json!("keycloak")));
    assert_eq!((&event["scopes"], event.get("user")), (&json!("read:logs-* write:app-logs-*"), None));
    assert_eq!(event["determining"], json!(["read:logs-*"]));
    service.post(&format!("/{index}/_doc")).json(&json!({"message": "from outside"})).expect(201);
    assert_eq!(Engine::get().count(index), 1);
    for target in ["/pii-customers/_search", "/_search", "/*/_search", "/_cluster/health"] {
        let refused = service.get(target).expect(403);
        assert!(refused.header("www-authenticate").expect("a challenge").contains("insufficient_scope"), "{target}");
    }
    service.delete("/logs-app-2026.11.01").expect(403);
    service.get(&format!("/{index}/_search")).expect(403);

    // A person: the realm role alone.
    let ada = gateway.http().with_token(&keycloak.user_token("ada"));
    let answer = ada.get(READ).expect(200);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["user"], &event["client"]), (&json!("keycloak/ada"), &json!("keycloak/terminal")));
    assert_eq!(event["scopes"], json!("read:logs-*"));
    ada.post(&format!("/{index}/_doc")).json(&json!({"message": "no"})).expect(403);
    ada.get("/_cluster/health").expect(403);

    // A person in the group that may also look at the cluster.
    let bo = gateway.http().with_token(&keycloak.user_token("bo"));
    bo.get(READ).expect(200);
    bo.get("/_cluster/health").expect(200);
    bo.get("/pii-customers/_search").expect(403);

    // A token that is good and gives nothing here; it is signed with ES256.
    let none = gateway.http().with_token(&keycloak.client_token("service-es256"));
    none.get(READ).expect(403);
    none.get("/").expect(403);
    // The gateway's own tokens go on as they were.
    gateway.with("reader").get(READ).expect(200);
    // Nothing outside the gateway's own tokens opens its own endpoints.
    service.get("/_oauth4os/v1/whoami").expect(401);
}

#[test]
fn policies_know_outside_principals_by_the_name_of_their_provider() {
    let (keycloak, _up) = Keycloak::get();
    let policies = r#"
        permit(principal in Group::"keycloak/analysts", action, resource in Index::"logs-*");
        forbid(principal == User::"keycloak/bo", action, resource in Index::"logs-web-*");
        permit(principal == Client::"service", action, resource);
        permit(principal in Group::"analysts", action, resource);
        permit(principal == User::"ada", action, resource);
    "#;
    let gateway = Gateway::start(Settings::new().provider(provider(keycloak)).policies(policies));
    let ada = gateway.http().with_token(&keycloak.user_token("ada"));
    let bo = gateway.http().with_token(&keycloak.user_token("bo"));
    let service = gateway.http().with_token(&keycloak.client_token("service"));
    ada.get("/logs-web-*/_search?size=0").expect(200);
    bo.get("/logs-web-*/_search?size=0").expect(403);
    bo.get("/logs-app-*/_search?size=0").expect(200);
    bo.get("/logs-*/_search?size=0").expect(403);
    // Not our client of that name.
    service.get("/logs-app-*/_search?size=0").expect(403);
}

#[test]
fn every_other_token_of_the_provider_is_refused() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = gateway(keycloak);
    let good = keycloak.client_token("service");
    gateway.http().with_token(&good).get(READ).expect(200);
    let ada = keycloak.log_in("ada");
    let of_ada = |name: &str| ada[name].as_str().expect("a token").to_owned();
    let refused = |what: &str, token: &str, reason: &str| {
        let answer = gateway.http().with_token(token).get(READ).send();
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        assert!(answer.header("www-authenticate").expect("a challenge").contains("error=\"invalid_token\""), "{what}");
        assert!(answer.text().contains(reason), "{what}: {}", answer.text());
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&event["decision"], event.get("client")), (&json!("deny"), None), "{what}");
    };
    refused("for another audience", &keycloak.client_token("elsewhere"), "for another audience");
    refused("of another realm", &keycloak.admin_token(), "not an access token");
    refused("an ID token", &of_ada("id_token"), "not an access token");
    refused("a refresh token", &of_ada("refresh_token"), "not signed with an algorithm");

    let claims = Claims::of(&good);
    let (es256, rs256) = (Forge::stranger(Algorithm::Es256), Forge::stranger(Algorithm::Rs256));
    refused("of a stranger with the provider's key id", &claims.sign(&rs256), "signature is wrong");
    let named = claims.clone().with_header("kid", json!("unknown"));
    refused("of a stranger with his own key id", &named.sign(&rs256), "does not publish");
    let es = claims.clone().with_header("alg", json!("ES256"));
    refused("with an algorithm the key is not for", &es.sign(&es256), "algorithm");
    for alg in ["none", "None", "HS256", "HS512", ""] {
        let unsigned = claims.clone().with_header("alg", json!(alg)).signing_input();
        refused(&format!("alg `{alg}`, unsigned"), &format!("{unsigned}."), "");
        refused(&format!("alg `{alg}`, signed with nothing"), &format!("{unsigned}.{}", base64url([0_u8; 32])), "");
    }
    for alg in ["RS384", "PS256", "rs256"] {
        let other = claims.clone().with_header("alg", json!(alg)).signing_input();
        let signature = good.rsplit_once('.').expect("a signature").1;
        refused(&format!("alg `{alg}` over a good signature"), &format!("{other}.{signature}"), "");
    }
    for (name, value) in
        [("crit", json!(["exp"])), ("jku", json!("http://127.0.0.1:1/")), ("jwk", json!({})), ("b64", json!(false))]
    {
        refused(name, &claims.clone().with_header(name, value).sign(&rs256), "never taken from a token");
    }
    // Claims of our own making under the provider's name, signed by our key, and the other way round.
    let forge = gateway.forge();
    refused(
        "ours in the provider's name",
        &forge.claims("reader", "read:*").with("iss", json!(keycloak.issuer)).sign(forge.access()),
        "",
    );
    refused("the provider's in our name", &claims.clone().with("iss", json!(e2e::ISSUER)).sign(&rs256), "");
    for (at, _) in good.match_indices('.') {
        refused("cut off", &good[..at], "");
    }
    refused("with another claim", &edited(&good), "signature is wrong");
    gateway.http().with_token(&good).get(READ).expect(200);
}

#[test]
fn a_token_ends_when_it_says_so() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = gateway(keycloak);
    let brief = gateway.http().with_token(&keycloak.client_token("brief"));
    let seen = until("the end of the token", Duration::from_secs(30), || {
        let answer = brief.get(READ).send();
        (answer.status == 401).then_some(answer)
    });
    assert!(seen.text().contains("the token has expired"), "{}", seen.text());
}

#[test]
fn the_provider_may_change_its_keys_at_any_time() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = gateway(keycloak);
    let before = keycloak.client_token("service");
    gateway.http().with_token(&before).get(READ).expect(200);
    let key = keycloak.add_key(
        "rsa-generated",
        "rotated",
        &json!({"priority": ["200"], "keySize": ["2048"], "algorithm": ["RS256"]}),
    );
    let after = {
        let _remove = OnDrop(|| keycloak.remove_key(&key));
        let after = keycloak.client_token("service");
        assert_ne!(Claims::of(&before).header["kid"], Claims::of(&after).header["kid"]);
        // At the very first request: it waits for the keys.
        gateway.http().with_token(&after).get(READ).expect(200);
        gateway.http().with_token(&before).get(READ).expect(200);
        after
    };
    let fetches = gateway.metric("oauth4os_provider_key_fetches_total{provider=\"keycloak\",outcome=\"ok\"}");
    assert_eq!(fetches, 2.0, "one at the start and one for the unknown key");
    // However many unknown keys are named, nobody asks the provider again so soon.
    let stranger = Forge::stranger(Algorithm::Rs256);
    for number in 0..50 {
        let token = Claims::of(&after).with_header("kid", json!(format!("unknown-{number}"))).sign(&stranger);
        gateway.http().with_token(&token).get(READ).expect(401);
    }
    assert_eq!(gateway.metric("oauth4os_provider_key_fetches_total{provider=\"keycloak\",outcome=\"ok\"}"), fetches);
}

#[test]
fn tokens_go_on_working_while_the_provider_is_down() {
    let (keycloak, _alone) = Keycloak::alone();
    let gateway = gateway(keycloak);
    let known = keycloak.client_token("service");
    let not_seen_yet = keycloak.user_token("ada");
    gateway.http().with_token(&known).get(READ).expect(200);
    {
        let _start = OnDrop(|| keycloak.start());
        keycloak.stop();
        gateway.http().with_token(&known).get(READ).expect(200);
        gateway.http().with_token(&not_seen_yet).get(READ).expect(200);
        gateway.http().with_token(&not_seen_yet).get("/pii-customers/_search").expect(403);

        // A gateway that has never seen the keys says whose fault it is, and serves everybody else.
        let late = self::gateway(keycloak);
        late.with("reader").get(READ).expect(200);
        let answer = late.http().with_token(&known).get(READ).expect(503);
        assert!(answer.text().contains("could not be fetched yet"), "{}", answer.text());
        assert_eq!(late.metric("oauth4os_provider_keys_stale{provider=\"keycloak\"}"), 1.0);
        assert!(late.log().contains("keys could not be fetched"), "{}", late.log());
    }
    gateway.http().with_token(&keycloak.client_token("service")).get(READ).expect(200);
}

#[test]
fn who_waits_for_a_key_holds_up_nobody_else() {
    let (old, new) = (Forge::stranger(Algorithm::Es256), Forge::stranger(Algorithm::Es256));
    let issuer = Issuer::start(&[&old]);
    let gateway =
        Gateway::start(Settings::new().client("reader", &["read:logs-*"]).provider(issuer.settings("double")));
    let known = gateway.http().with_token(&issuer.claims(&old).sign(&old));
    known.get(READ).expect(200);
    issuer.publish(&[&old, &new]);
    issuer.set_silent(true);
    let asked = issuer.asked();
    let waiting = gateway.http().with_token(&issuer.claims(&new).sign(&new));
    let mut connections: Vec<_> = (0..8).map(|_| waiting.connect()).collect();
    for connection in &mut connections {
        connection.write(&waiting.get(READ).bytes());
    }
    until("the gateway to ask", Duration::from_secs(10), || (issuer.asked() > asked).then_some(()));
    // Both workers have connections that wait, and serve these all the same.
    let reader = gateway.with("reader");
    for _ in 0..8 {
        for client in [&known, &reader] {
            let mut connection = client.connect();
            connection.write(&client.get(READ).bytes());
            assert_eq!(connection.answer().status, 200);
        }
    }
    issuer.set_silent(false);
    for mut connection in connections {
        assert_eq!(connection.answer().status, 200);
    }
    assert_eq!(issuer.asked(), asked + 1, "one fetch for all who waited");
}

#[test]
fn two_providers_with_one_key_id_are_not_mixed_up() {
    let (one_key, other_key) = (Forge::stranger(Algorithm::Es256), Forge::stranger(Algorithm::Rs256));
    let (one, other) = (Issuer::start(&[&one_key]), Issuer::start(&[&other_key]));
    let policies = r#"permit(principal == User::"one/ada", action, resource in Index::"logs-*");"#;
    let settings = Settings::new().provider(one.settings("one")).provider(other.settings("other")).policies(policies);
    let gateway = Gateway::start(settings);
    let status = |token: &str| gateway.http().with_token(token).get(READ).send().status;
    assert_eq!(status(&one.claims(&one_key).sign(&one_key)), 200);
    // The same subject of another provider is somebody else.
    assert_eq!(status(&other.claims(&other_key).sign(&other_key)), 403);
    // Each signs for itself only.
    assert_eq!(status(&one.claims(&other_key).sign(&other_key)), 401);
    assert_eq!(status(&other.claims(&other_key).with("iss", json!(one.name())).sign(&other_key)), 401);
    assert_eq!(status(&one.claims(&one_key).with("iss", json!(other.name())).sign(&one_key)), 401);
    assert_eq!(status(&one.claims(&one_key).with("iss", json!("http://127.0.0.1:1")).sign(&one_key)), 401);
    // A name with other characters than the engine's works, and stays readable in the record.
    let odd = one.claims(&one_key).with("sub", json!("ada+x@example.com ${attr.jwt.o4s_read}")).sign(&one_key);
    let answer = gateway.http().with_token(&odd).get(READ).expect(403);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!(event["user"], json!("one/ada+x@example.com ${attr.jwt.o4s_read}"));
}

#[test]
fn each_principal_has_a_limit_of_its_own() {
    let key = Forge::stranger(Algorithm::Es256);
    let issuer = Issuer::start(&[&key]);
    let mut provider = issuer.settings("double");
    provider["rate_limit"] = json!({"requests_per_second": 1, "burst": 3});
    let gateway = Gateway::start(Settings::new().provider(provider));
    let claims = issuer.claims(&key);
    let statuses = |subject: &str| -> Vec<u16> {
        // Every request with a token of its own: the limit is the principal's, not the token's.
        (0..12)
            .map(|number| {
                let token = claims.clone().with("sub", json!(subject)).with("jti", json!(number)).sign(&key);
                gateway.http().with_token(&token).get(READ).send().status
            })
            .collect()
    };
    for subject in ["ada", "bo+x@example.com"] {
        let statuses = statuses(subject);
        assert_eq!(statuses[0], 200, "{subject}: {statuses:?}");
        assert!(statuses.contains(&429), "{subject}: {statuses:?}");
    }
}

/// The token with a claim more.
fn edited(token: &str) -> String {
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let header = signed.split_once('.').expect("a header").0;
    let claims = Value::Object(Claims::of(token).with("admin", json!(true)).claims);
    format!("{header}.{}.{signature}", base64url(claims.to_string()))
}
