//! Token exchange: a client acts for somebody else by a token of its own, which may do nothing that either of them may not, and is
//! over when theirs is.

#[path = "rows/orders.rs"]
#[allow(dead_code, reason = "shared with the tests of rows, which need more of it")]
mod orders;

use std::ffi::OsStr;

use e2e::{
    Answer, Claims, Client, ClientSettings, Engine, Forge, Gateway, Issuer, Keycloak, Settings, Upstream,
    python_with_authlib, report, token_id, workspace,
};
use oauth4os_tokens::keys::Algorithm;
use serde_json::{Value, json};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const READ: &str = "/logs-a/_search";

fn runner(scopes: &[&str], subjects: &[&str]) -> ClientSettings {
    ClientSettings::new("runner", scopes).with("token_exchange", json!({"subjects": subjects, "actors": ["tool"]}))
}

fn settings() -> Settings {
    let second = ClientSettings::new("second", &["read:logs-*"])
        .with("access_token_format", json!("opaque"))
        .with("token_exchange", json!({"subjects": ["runner", "app", "opaque"]}));
    Settings::new()
        .client("app", &["read:logs-*", "write:app-*"])
        .client("tool", &["read:logs-*"])
        .client("stranger", &["read:logs-*"])
        .client_with(ClientSettings::new("opaque", &["read:logs-*"]).with("access_token_format", json!("opaque")))
        .client_with(runner(&["read:logs-*", "read:metrics-*"], &["app", "opaque", "runner", "second"]))
        .client_with(second)
}

fn start() -> Gateway {
    Gateway::start(settings().upstream(&Upstream::obliging().url()))
}

fn exchange(gateway: &Gateway, client: &str, subject: &str, more: &[(&str, &str)]) -> Answer {
    let mut form = vec![("grant_type", GRANT_TYPE), ("subject_token", subject), ("subject_token_type", ACCESS_TOKEN)];
    form.extend_from_slice(more);
    gateway.http().with_basic(client, gateway.secret(client)).post("/oauth/token").form(&form).send()
}

#[track_caller]
fn exchanged(gateway: &Gateway, client: &str, subject: &str, more: &[(&str, &str)]) -> String {
    exchange(gateway, client, subject, more).expect_ok().json()["access_token"].as_str().expect("a token").to_owned()
}

#[track_caller]
fn is_refused(answer: &Answer, code: &str, reason: &str) {
    assert_eq!(answer.status, 400, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"], json!(code), "{body}");
    assert!(body["error_description"].as_str().is_some_and(|text| text.contains(reason)), "`{reason}`: {body}");
}

fn with(gateway: &Gateway, token: &str) -> Client {
    gateway.http().with_token(token)
}

#[test]
fn the_new_token_does_what_both_may_and_the_record_says_who_acts_for_whom() {
    let gateway = start();
    for subject in ["app", "opaque"] {
        let token = exchanged(&gateway, "runner", &gateway.token(subject), &[]);
        let client = with(&gateway, &token);
        let answer = client.get(READ).expect(200);
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&event["client"], &event["subject"]), (&json!("runner"), &json!(subject)));
        assert_eq!((&event["actors"], &event["token_id"]), (&json!(["runner"]), &json!(token_id(&token))));
        // What only one of them may do.
        client.get("/metrics-a/_search").expect(403);
        client.put("/app-a/_doc/1").json(&json!({})).expect(403);
        // Handed on once more, as an opaque one.
        let second = exchanged(&gateway, "second", &token, &[("scope", "read:logs-a")]);
        assert!(second.starts_with("o4s_at_"));
        let answer = with(&gateway, &second).get(READ).expect(200);
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&event["client"], &event["subject"]), (&json!("second"), &json!(subject)));
        assert_eq!((&event["actors"], &event["scopes"]), (&json!(["second", "runner"]), &json!("read:logs-a")));
        with(&gateway, &second).get("/logs-b/_search").expect(403);
        is_refused(&exchange(&gateway, "runner", &second, &[("scope", "read:logs-b")]), "invalid_scope", "beyond");
        gateway.kill();
        gateway.start_again();
        let answer = with(&gateway, &second).get(READ).expect(200);
        assert_eq!(gateway.audit_of(answer.request_id())["actors"], json!(["second", "runner"]));
    }
    let actor = [("actor_token", gateway.token("tool")), ("actor_token_type", ACCESS_TOKEN.to_owned())];
    let actor: Vec<(&str, &str)> = actor.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let token = exchanged(&gateway, "runner", &gateway.token("app"), &actor);
    let answer = with(&gateway, &token).get(READ).expect(200);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["client"], &event["actors"]), (&json!("runner"), &json!(["tool"])));
    assert_eq!(Claims::of(&token).claims["act"], json!({"sub": "tool", "client_id": "runner"}));
    let stranger = [("actor_token", gateway.token("stranger")), ("actor_token_type", ACCESS_TOKEN.to_owned())];
    let stranger: Vec<(&str, &str)> = stranger.iter().map(|(name, value)| (*name, value.as_str())).collect();
    is_refused(&exchange(&gateway, "runner", &gateway.token("app"), &stranger), "invalid_request", "this actor");
    is_refused(&exchange(&gateway, "runner", &gateway.token("stranger"), &[]), "invalid_request", "this subject");
    is_refused(&exchange(&gateway, "tool", &gateway.token("app"), &[]), "unauthorized_client", "may not exchange");
}

#[test]
fn a_revocation_is_in_force_on_the_next_request_of_all_that_came_of_the_token() {
    let gateway = start();
    for way in 0..3 {
        let subject = gateway.token(if way == 2 { "opaque" } else { "app" });
        let owner = if way == 2 { "opaque" } else { "app" };
        let first = exchanged(&gateway, "runner", &subject, &[]);
        let second = exchanged(&gateway, "second", &first, &[]);
        let apart = exchanged(&gateway, "runner", &gateway.token(owner), &[]);
        let clients = [&subject, &first, &second].map(|token| with(&gateway, token));
        let mut connections: Vec<_> = clients.iter().map(|client| (client, client.connect())).collect();
        for (client, connection) in &mut connections {
            connection.write(&client.get(READ).bytes());
            assert_eq!(connection.answer().status, 200);
        }
        match way {
            0 | 2 => gateway.revoke(owner, &subject),
            _ => {
                drop(gateway.administrator().delete(&format!("/oauth/token/{}", token_id(&subject))).expect(204));
            }
        }
        for (client, connection) in &mut connections {
            connection.write(&client.get(READ).bytes());
            assert_eq!(connection.answer().status, 401);
        }
        with(&gateway, &apart).get(READ).expect(200);
        is_refused(&exchange(&gateway, "runner", &subject, &[]), "invalid_request", "");
        is_refused(&exchange(&gateway, "runner", &second, &[]), "invalid_request", "");
        gateway.kill();
        gateway.start_again();
        for client in &clients {
            client.get(READ).expect(401);
        }
        with(&gateway, &apart).get(READ).expect(200);
    }
}

#[test]
fn of_a_hundred_exchanges_beside_a_revocation_nothing_is_left() {
    let gateway = start();
    let subject = gateway.token("app");
    let tokens: Vec<String> = std::thread::scope(|scope| {
        let ask = || {
            let answers = (0..10).map(|_| exchange(&gateway, "runner", &subject, &[])).collect::<Vec<_>>();
            answers.into_iter().filter(|answer| answer.status == 200).map(|answer| answer.json()).collect::<Vec<_>>()
        };
        let asking: Vec<_> = (0..10).map(|_| scope.spawn(ask)).collect();
        gateway.revoke("app", &subject);
        let answers = asking.into_iter().flat_map(|thread| thread.join().expect("answers"));
        answers.map(|answer: Value| answer["access_token"].as_str().expect("a token").to_owned()).collect()
    });
    for token in &tokens {
        with(&gateway, token).get(READ).expect(401);
    }
    is_refused(&exchange(&gateway, "runner", &subject, &[]), "invalid_request", "revoked");
}

#[test]
fn whoever_may_do_less_takes_the_tokens_along_that_came_through_it() {
    let gateway = start();
    let first = exchanged(&gateway, "runner", &gateway.token("app"), &[]);
    let second = exchanged(&gateway, "second", &first, &[]);
    let tokens = [first, second];
    let in_force = |status: u16, what: &str| {
        for token in &tokens {
            let answer = with(&gateway, token).get(READ).send();
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
        }
    };
    let change = |id: &str, scopes: Value| {
        gateway.change_config(|config| {
            let clients = config["clients"].as_array_mut().expect("clients");
            clients.iter_mut().find(|client| client["id"] == id).expect("the client")["scopes"] = scopes;
        });
        assert_eq!(gateway.reload(), "applied");
    };
    in_force(200, "before");
    for (id, all) in [("app", json!(["read:logs-*", "write:app-*"])), ("runner", json!(["read:logs-*"]))] {
        change(id, json!(["read:logs-b"]));
        in_force(401, id);
        change(id, all);
        in_force(200, id);
    }
    gateway.change_config(|config| {
        config["clients"].as_array_mut().expect("clients").retain(|client| client["id"] != "app");
    });
    assert_eq!(gateway.reload(), "applied");
    in_force(401, "removed");
}

#[test]
fn what_a_policy_forbids_one_of_them_is_forbidden() {
    let policies = r#"
        permit(principal, action, resource);
        forbid(principal == Client::"app", action, resource in Index::"logs-a");
        forbid(principal == Client::"runner", action, resource in Index::"logs-b");
    "#;
    let gateway = Gateway::start(settings().policies(policies).upstream(&Upstream::obliging().url()));
    let token = exchanged(&gateway, "runner", &gateway.token("app"), &[]);
    let client = with(&gateway, &token);
    client.get("/logs-a/_search").expect(403);
    client.get("/logs-b/_search").expect(403);
    client.get("/logs-c/_search").expect(200);
    gateway.with("runner").get("/logs-a/_search").expect(200);
}

#[test]
fn the_engine_enforces_what_is_forbidden_to_one_of_them() {
    let policies = r#"
        permit(principal, action, resource);
        forbid(principal == Client::"app", action, resource in Index::"logs-app-*");
    "#;
    let gateway = Gateway::start(settings().policies(policies).engine_decides());
    let token = exchanged(&gateway, "runner", &gateway.token("app"), &[]);
    let acting = with(&gateway, &token);
    acting.get("/logs-web-*/_search?size=0").expect(200);
    let app_log = format!("/{}/_search?size=0", Engine::get().log_index());
    acting.get(&app_log).expect(403);
    acting.get("/pii-customers/_search?size=0").expect(403);
    gateway.with("runner").get(&app_log).expect(200);
}

#[test]
fn what_is_forged_or_for_others_is_not_exchanged() {
    let gateway = start();
    let good = gateway.token("app");
    let forge = gateway.forge();
    let claims = Claims::of(&good);
    exchanged(&gateway, "runner", &claims.sign(forge.access()), &[]);
    let stranger = Forge::stranger(Algorithm::Es256);
    for (what, token) in [
        ("of a stranger", claims.sign(&stranger)),
        ("more scope", claims.clone().with("scope", json!("read:*")).sign(forge.access())),
        ("unknown actors", claims.clone().with("act", json!({"sub": "nobody"})).sign(forge.access())),
        ("odd actors", claims.clone().with("act", json!("runner")).sign(forge.access())),
        ("another audience", claims.clone().with("aud", json!("billing")).sign(forge.access())),
        ("an ID token", claims.clone().with_header("typ", json!("JWT")).sign(forge.access())),
        ("the engine's", claims.sign(forge.internal())),
        ("not on record", forge.claims("app", "read:logs-*").sign(forge.access())),
        ("cut", good[..good.len() - 1].to_owned()),
        ("a secret", gateway.secret("app").to_owned()),
    ] {
        let answer = exchange(&gateway, "runner", &token, &[]);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{what}");
        assert!(!answer.text().contains(&token) && !gateway.audit_text().contains(&token), "{what}");
    }
    // Who acts is signed: the data plane takes no chain that it cannot follow either.
    for act in [json!({"sub": "nobody"}), json!({"sub": "elsewhere/ada"}), json!([]), json!({"sub": "runner", "x": 1})]
    {
        let token = claims.clone().with("act", act.clone()).sign(forge.access());
        assert_eq!(with(&gateway, &token).get(READ).send().status, 401, "{act}");
    }
}

fn provider_settings(issuer: &Issuer) -> Settings {
    let mut provider = issuer.settings("idp");
    provider["leeway"] = json!("5s");
    provider["scope_mapping"] = json!({"scopes": {
        "logs": ["read:logs-*"], "plain": ["read:logs-*"],
        "held": [{"scope": "read:orders-*", "rows": {"term": {"tenant": "${claim.org}"}}}],
    }});
    Settings::new()
        .provider(provider)
        .client("tool", &["read:logs-*"])
        .client_with(runner(&["read:logs-*", "read:orders-*"], &["idp/ada", "tool"]))
}

#[test]
fn a_providers_token_is_held_to_all_that_holds_on_the_data_plane_and_to_what_it_says_of_actors() {
    let key = Forge::stranger(Algorithm::Es256);
    let issuer = Issuer::start(&[&key]);
    let gateway = Gateway::start(provider_settings(&issuer));
    let good = issuer.claims(&key);
    let token = exchanged(&gateway, "runner", &good.sign(&key), &[]);
    let claims = Claims::of(&token).claims;
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("idp/ada"), &json!("runner")));
    assert_eq!(claims["act"], json!({"sub": "runner", "act": {"sub": "idp/app"}}));
    assert!(claims["exp"].as_i64() <= good.claims["exp"].as_i64(), "{claims:?}");
    let answer = with(&gateway, &token).get("/logs-*/_search?size=0").expect(200);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["subject"], &event["actors"]), (&json!("idp/ada"), &json!(["runner", "idp/app"])));
    with(&gateway, &token).get("/orders-a/_search").expect(403);

    let refused = |what: &str, claims: Claims, code: &str, reason: &str| {
        let answer = exchange(&gateway, "runner", &claims.sign(&key), &[]);
        assert!(answer.status == 400 && answer.json()["error"] == json!(code), "{what}: {}", answer.text());
        assert!(answer.text().contains(reason), "{what}: {}", answer.text());
    };
    let with_claim = |name: &str, value: Value| good.clone().with(name, value);
    refused("somebody else", with_claim("sub", json!("bo")), "invalid_request", "this subject");
    refused("another audience", with_claim("aud", json!("elsewhere")), "invalid_request", "another audience");
    refused("an ID token", with_claim("at_hash", json!("x")), "invalid_request", "ID token");
    refused("a bound token", with_claim("cnf", json!({"jkt": "x"})), "invalid_request", "bound");
    refused("over", good.clone().moved(-310), "invalid_request", "expired");
    refused("over but for the leeway", good.clone().moved(-302), "invalid_request", "expired");
    refused("nothing", with_claim("scope", json!("other")), "invalid_scope", "no scope");
    refused("with an actor", with_claim("act", json!({"sub": "x"})), "invalid_request", "acts for its subject");
    // May act: nobody but who is named, in the namespace it is named in.
    for may_act in [
        json!({"sub": "runner"}),
        json!({"sub": "other", "iss": e2e::ISSUER}),
        json!({"sub": "runner", "iss": issuer.name()}),
        json!({"sub": "runner", "iss": e2e::ISSUER, "aud": "x"}),
        json!({"iss": e2e::ISSUER}),
        json!("runner"),
        json!(null),
    ] {
        refused(&may_act.to_string(), with_claim("may_act", may_act), "invalid_request", "may_act");
    }
    let may_act = with_claim("may_act", json!({"sub": "runner", "iss": e2e::ISSUER})).sign(&key);
    exchanged(&gateway, "runner", &may_act, &[]);
    // Rows come from claims, which stay behind: so do the scopes that are held to them.
    let held = with_claim("scope", json!("held plain")).with("org", json!("acme"));
    let answer = exchange(&gateway, "runner", &held.sign(&key), &[]).expect_ok().json();
    assert_eq!(answer["scope"], json!("read:logs-*"));
    for scope in ["read:orders-a", "read:logs-a read:orders-a"] {
        is_refused(
            &exchange(&gateway, "runner", &held.sign(&key), &[("scope", scope)]),
            "invalid_scope",
            "rows or fields",
        );
    }
    refused("only rows", held.with("scope", json!("held")), "invalid_scope", "rows or fields");
    // Signed by nobody the provider knows.
    let stranger = Forge::stranger(Algorithm::Es256);
    let answer = exchange(&gateway, "runner", &good.sign(&stranger), &[]);
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")));
}

#[test]
fn a_new_key_of_the_provider_is_fetched_for_an_exchange_too() {
    let (old, new) = (Forge::stranger(Algorithm::Es256), Forge::stranger(Algorithm::Es256));
    let issuer = Issuer::start(&[&old]);
    let gateway = Gateway::start(provider_settings(&issuer));
    issuer.publish(&[&old, &new]);
    exchanged(&gateway, "runner", &issuer.claims(&new).sign(&new), &[]);
}

#[test]
fn a_person_of_keycloak_is_acted_for() {
    let (keycloak, _up) = Keycloak::get();
    let provider = json!({
        "name": "keycloak", "issuer": keycloak.issuer, "audience": "oauth4os",
        "claims": {"subject": "preferred_username", "roles": ["realm_access.roles"]},
        "scope_mapping": {"roles": {"logs-reader": ["read:logs-*"]}},
    });
    let gateway =
        Gateway::start(Settings::new().provider(provider).client_with(runner(&["read:logs-app-*"], &["keycloak/ada"])));
    let token = exchanged(&gateway, "runner", &keycloak.user_token("ada"), &[]);
    let answer = with(&gateway, &token).get("/logs-app-*/_search?size=0").expect(200);
    assert!(answer.json()["hits"]["total"]["value"].as_u64() > Some(0));
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["subject"], &event["scopes"]), (&json!("keycloak/ada"), &json!("read:logs-app-*")));
    assert_eq!(event["actors"], json!(["runner", "keycloak/terminal"]));
    with(&gateway, &token).get("/logs-web-*/_search?size=0").expect(403);
    is_refused(&exchange(&gateway, "runner", &keycloak.user_token("bo"), &[]), "invalid_request", "this subject");
    let id_token = keycloak.log_in("ada")["id_token"].as_str().expect("a token").to_owned();
    is_refused(&exchange(&gateway, "runner", &id_token, &[]), "invalid_request", "");
}

#[test]
fn the_rows_of_the_subject_stay_with_what_is_exchanged_for_it() {
    let (index, _remove) = orders::orders("exchange");
    let scope = format!("read:{}-*", orders::PREFIX);
    let grant = json!({"scope": scope, "rows": {"term": {"tenant": "${client.id}"}}});
    let gateway = Gateway::start(
        Settings::new()
            .client_with(orders::held("acme", std::slice::from_ref(&grant)))
            .client_with(runner(&[&scope], &["acme"]))
            .client_with(
                orders::held("globex", &[grant]).with("token_exchange", json!({"subjects": ["acme", "runner"]})),
            ),
    );
    let search = format!("/{index}/_search");
    let total = |client: &Client| orders::total(&client.get(&search).expect(200));
    assert_eq!((total(&gateway.with("runner")), total(&gateway.with("acme"))), (22, 5));
    let token = exchanged(&gateway, "runner", &gateway.token("acme"), &[]);
    let acting = with(&gateway, &token);
    assert_eq!(total(&acting), 5);
    for (method, target, body, expected) in orders::reading(&index) {
        let answer = orders::run(&acting, method, &target, &body);
        let text = format!("{} {}", answer.status, answer.text());
        assert!(text.contains(expected), "{method} {target} {body}: `{expected}` is not in {text}");
        for others in [orders::SECRET, "\"globex\"", "\"_id\":\"h0\""] {
            let asked = body.to_string().contains(others) || target.contains(others);
            assert!(asked || !text.contains(others), "{method} {target} {body} shows {others}: {text}");
        }
    }
    // The client has its own rows as before, also right after.
    assert_eq!((total(&gateway.with("runner")), total(&acting)), (22, 5));
    // Nobody can be held to two tenants at once.
    is_refused(&exchange(&gateway, "globex", &gateway.token("acme"), &[]), "invalid_scope", "different rows");
}

#[test]
fn authlib_exchanges_asks_and_revokes() {
    let gateway = start();
    let url = format!("https://localhost:{}", gateway.port());
    let ca = gateway.ca();
    let variables: [(&str, &OsStr); 4] = [
        ("URL", url.as_ref()),
        ("CA", ca.as_os_str()),
        ("APP", gateway.secret("app").as_ref()),
        ("RUNNER", gateway.secret("runner").as_ref()),
    ];
    let found = report(python_with_authlib(&workspace().join("e2e/python/exchange.py")), &variables);
    assert_eq!((&found["kind"], &found["scope"]), (&json!(ACCESS_TOKEN), &json!("read:logs-*")), "{found}");
    assert_eq!((&found["status"], &found["after"]), (&json!(200), &json!(401)), "{found}");
    assert_eq!((&found["said"]["active"], &found["said"]["sub"]), (&json!(true), &json!("app")), "{found}");
    assert_eq!(found["said"]["act"], json!({"sub": "runner"}), "{found}");
    assert_eq!(found["of_others"], json!({"active": false}), "{found}");
    assert_eq!(found["said_after"], json!({"active": false}), "{found}");
}
