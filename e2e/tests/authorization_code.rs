//! A person logs in at a real Keycloak, lets a client act for them, and the client gets a token (RFC 6749 section 4.1, RFC 7636,
//! RFC 9207): what it may do, and everything that must not give one.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use e2e::{
    Answer, Browser, Claims, ClientSettings, Code, Gateway, ISSUER, Issuer, Keycloak, Pkce, Settings, parameter, until,
};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};

const READ: &str = "/logs-*/_search?size=0";
const WEB: &str = "https://app.example.com/callback";

fn provider(keycloak: &Keycloak) -> Value {
    json!({
        "name": "keycloak",
        "issuer": keycloak.issuer,
        "audience": "oauth4os",
        "claims": {"subject": "preferred_username", "roles": "realm_access.roles", "groups": "groups"},
        "scope_mapping": {
            "roles": {"logs-reader": ["read:logs-*"]},
            "groups": {"administrators": ["monitor:cluster"]},
        },
        "login": {"client_id": "gateway", "secret": "${GATEWAY_SECRET}", "rights_from": "access_token"},
    })
}

fn settings(keycloak: &Keycloak) -> Settings {
    Settings::new()
        .provider(provider(keycloak))
        .environment("GATEWAY_SECRET", keycloak.secret("gateway"))
        .client_with(
            ClientSettings::new("console", &["read:logs-*", "monitor:cluster"])
                .with("name", json!("Log console"))
                .with("redirect_uris", json!([WEB])),
        )
        .client_with(
            ClientSettings::new("terminal", &["read:logs-*"])
                .without_secret()
                .with("redirect_uris", json!(["http://127.0.0.1/callback", "com.example.terminal:/callback"])),
        )
        .client_with(
            ClientSettings::new("persons", &["read:logs-*"])
                .with("persons_only", json!(true))
                .with("redirect_uris", json!([WEB])),
        )
        .client("machine", &["read:logs-*"])
}

fn authorize(client: &str, redirect_uri: &str, pkce: &Pkce, more: &str) -> String {
    format!(
        "{ISSUER}/oauth/authorize?response_type=code&client_id={client}&redirect_uri={redirect_uri}&code_challenge={}&code_challenge_method=S256&state=xyz%26%3D{more}",
        pkce.challenge
    )
}

fn consented(browser: &mut Browser<'_>, keycloak: &Keycloak, person: &str, url: &str) -> Code {
    match browser.log_in(keycloak, person, url) {
        Ok((_, page)) => browser.decide(&page, "allow"),
        Err(code) => code,
    }
}

fn redeem(gateway: &Gateway, client: &str, code: &str, redirect_uri: &str, verifier: &str) -> Answer {
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", redirect_uri),
        ("code_verifier", verifier),
    ];
    if client == "terminal" {
        return gateway.http().post("/oauth/token").form(&[&form[..], &[("client_id", client)]].concat()).send();
    }
    gateway.http().with_basic(client, gateway.secret(client)).post("/oauth/token").form(&form).send()
}

fn is_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{}", answer.text());
}

#[test]
fn a_person_logs_in_consents_and_the_client_acts_for_them() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = Gateway::start(settings(keycloak));
    let mut browser = Browser::new(&gateway);
    let pkce = Pkce::new();
    let url = authorize("console", WEB, &pkce, "&scope=read:logs-*%20monitor:cluster");

    let (at, page) = browser.log_in(keycloak, "ada", &url).expect("a question");
    assert!(at.starts_with(&format!("{ISSUER}/oauth/consent?id=")), "{at}");
    let text = page.text();
    for said in [
        "Let Log console act for you?",
        "keycloak/ada",
        "read the indices logs-*",
        "at most until:",
        WEB,
        "lang=\"en\"",
    ] {
        assert!(text.contains(said), "`{said}`: {text}");
    }
    // Ada is no administrator: that is said, and not given.
    let left_out = text.split("Left out").nth(1).expect("what is left out");
    assert!(left_out.contains("see state and statistics of the cluster"), "{text}");
    let policy = page.header("content-security-policy").expect("a policy");
    for part in ["default-src 'none'", "form-action 'self' https://app.example.com;", "frame-ancestors 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!text.contains("<script") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    browser.language = "de-DE,en;q=0.5".to_owned();
    let german = browser.get(&at).text();
    assert!(german.contains("lang=\"de\"") && german.contains("für Sie handeln?"), "{german}");

    let sent = browser.decide(&page, "allow");
    assert!(sent.location.starts_with(&format!("{WEB}?code=code_")), "{}", sent.location);
    assert_eq!(sent.parameter("state").as_deref(), Some("xyz&="));
    assert_eq!(sent.parameter("iss").as_deref(), Some(ISSUER));

    let answer = redeem(&gateway, "console", &sent.code(), WEB, &pkce.verifier);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["scope"], &body["token_type"]), (&json!("read:logs-*"), &json!("Bearer")));
    let token = body["access_token"].as_str().expect("a token");
    let claims = Claims::of(token).claims;
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("keycloak/ada"), &json!("console")));

    let ada = gateway.http().with_token(token);
    let found = ada.get(READ).expect(200);
    assert!(found.json()["hits"]["total"]["value"].as_u64().expect("a number") > 0);
    let event = gateway.audit_of(found.request_id());
    assert_eq!((&event["user"], &event["client"]), (&json!("keycloak/ada"), &json!("console")));
    assert_eq!(event["token_id"], claims["jti"]);
    ada.get("/pii-customers/_search").expect(403);
    ada.get("/_cluster/health").expect(403);
    ada.delete("/logs-app-2026.11.01").expect(403);
    // The tokens of the client's other persons are none of hers.
    ada.get("/oauth/tokens").expect(403);
    ada.delete("/oauth/token/tok_1").expect(403);
    let issued = gateway.audit_where("the token", |event| event["event"] == "token.issued");
    assert_eq!((&issued["user"], &issued["grant_type"]), (&json!("keycloak/ada"), &json!("authorization_code")));
    // No secret of the way is in what was written down.
    let written = gateway.audit_text() + &gateway.log();
    for secret in
        [sent.code(), pkce.verifier.clone(), token.to_owned(), browser.gateway_cookies().into_values().collect()]
    {
        assert!(!written.contains(&secret));
    }

    // Asked once for all of it: the second time the client gets its code at once, and `prompt` decides otherwise.
    let again = Pkce::new();
    let url = authorize("console", WEB, &again, "&scope=read:logs-*");
    let first = browser.get(&url);
    let sent = browser.follow(first, &url).expect_err("a code at once");
    let second = redeem(&gateway, "console", &sent.code(), WEB, &again.verifier).json();
    gateway.http().with_token(second["access_token"].as_str().expect("a token")).get(READ).expect(200);
    let first = browser.get(&format!("{url}&prompt=consent"));
    assert!(browser.follow(first, &url).expect("a question").1.text().contains("für Sie handeln?"));
}

#[test]
fn the_metadata_says_what_works_and_no_more() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = Gateway::start(settings(keycloak));
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        let document = gateway.http().get(path).expect(200).json();
        for (name, value) in [
            ("authorization_endpoint", json!(format!("{ISSUER}/oauth/authorize"))),
            (
                "grant_types_supported",
                json!([
                    "authorization_code",
                    "client_credentials",
                    "urn:ietf:params:oauth:grant-type:jwt-bearer",
                    "refresh_token",
                    "urn:ietf:params:oauth:grant-type:token-exchange",
                ]),
            ),
            ("response_types_supported", json!(["code"])),
            ("response_modes_supported", json!(["query"])),
            ("code_challenge_methods_supported", json!(["S256"])),
            ("authorization_response_iss_parameter_supported", json!(true)),
            (
                "token_endpoint_auth_methods_supported",
                json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]),
            ),
        ] {
            assert_eq!(document[name], value, "{path}: {name}");
        }
    }
    // Where nobody can log in there is nothing of it.
    let gateway = Gateway::start(Settings::new().client("machine", &["read:logs-*"]));
    let document = gateway.http().get("/.well-known/oauth-authorization-server").expect(200).json();
    let grants = document["grant_types_supported"].to_string();
    assert!(!grants.contains("authorization_code") && !grants.contains("refresh_token"), "{grants}");
    assert!(
        document.get("authorization_endpoint").is_none() && document.get("code_challenge_methods_supported").is_none()
    );
}

#[test]
fn a_public_client_of_the_persons_own_machine_gets_tokens_by_pkce_and_is_asked_about_each_time() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = Gateway::start(settings(keycloak));
    let mut browser = Browser::new(&gateway);
    for _ in 0..2 {
        let pkce = Pkce::new();
        let redirect_uri = "http://127.0.0.1:49152/callback";
        let url = authorize("terminal", redirect_uri, &pkce, "");
        let (_, page) = browser.log_in(keycloak, "bo", &url).expect("a question, each time");
        assert!(page.text().contains("a program on the computer you are using"), "{}", page.text());
        let code = browser.decide(&page, "allow").code();
        let answer = redeem(&gateway, "terminal", &code, redirect_uri, &pkce.verifier);
        assert_eq!(answer.status, 200, "{}", answer.text());
        let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
        gateway.http().with_token(&token).get(READ).expect(200);
        // The client gives its token up without a secret.
        gateway.http().post("/oauth/revoke").form(&[("client_id", "terminal"), ("token", &token)]).expect(200);
        gateway.http().with_token(&token).get(READ).expect(401);
    }
    // Its id opens nothing else, and nobody else's id anything.
    let alone =
        gateway.http().post("/oauth/token").form(&[("grant_type", "client_credentials"), ("client_id", "terminal")]);
    is_refused(&alone.send(), 400, "unauthorized_client");
    for client in ["console", "machine", "nobody"] {
        let form = [("grant_type", "client_credentials"), ("client_id", client)];
        is_refused(&gateway.http().post("/oauth/token").form(&form).send(), 401, "invalid_client");
    }
    let persons = gateway.http().with_basic("persons", gateway.secret("persons"));
    is_refused(
        &persons.post("/oauth/token").form(&[("grant_type", "client_credentials")]).send(),
        400,
        "unauthorized_client",
    );
}

#[test]
fn a_code_is_good_once_for_its_client_its_redirect_uri_and_its_verifier() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = Gateway::start(settings(keycloak));
    let mut browser = Browser::new(&gateway);
    let pkce = Pkce::new();
    let url = authorize("console", WEB, &pkce, "");
    let mut code = || consented(&mut browser, keycloak, "ada", &url).code();

    let other = Pkce::new();
    for (client, redirect_uri, verifier) in [
        ("persons", WEB, &pkce.verifier),
        ("terminal", WEB, &pkce.verifier),
        ("console", "https://app.example.com/callback/", &pkce.verifier),
        ("console", WEB, &other.verifier),
        ("console", WEB, &pkce.challenge),
    ] {
        let code = code();
        is_refused(&redeem(&gateway, client, &code, redirect_uri, verifier), 400, "invalid_grant");
        // Spent by the attempt.
        is_refused(&redeem(&gateway, "console", &code, WEB, &pkce.verifier), 400, "invalid_grant");
    }
    let good = code();
    for missing in ["code", "redirect_uri", "code_verifier"] {
        let all = [
            ("grant_type", "authorization_code"),
            ("code", good.as_str()),
            ("redirect_uri", WEB),
            ("code_verifier", &pkce.verifier),
        ];
        let form: Vec<_> = all.into_iter().filter(|(name, _)| *name != missing).collect();
        let console = gateway.http().with_basic("console", gateway.secret("console"));
        is_refused(&console.post("/oauth/token").form(&form).send(), 400, "invalid_request");
    }
    for broken in [&good[..good.len() - 1], &format!("{good}x"), "code_", "x"] {
        is_refused(&redeem(&gateway, "console", broken, WEB, &pkce.verifier), 400, "invalid_grant");
    }
    is_refused(&redeem(&gateway, "console", &good, WEB, "short"), 400, "invalid_request");

    // Shown a second time it takes back what it gave, on the next request.
    let answer = redeem(&gateway, "console", &good, WEB, &pkce.verifier);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    gateway.http().with_token(&token).get(READ).expect(200);
    is_refused(&redeem(&gateway, "console", &good, WEB, &pkce.verifier), 400, "invalid_grant");
    gateway.http().with_token(&token).get(READ).expect(401);
    let event = gateway.audit_where("the replay", |event| event["event"] == "code.replayed");
    assert_eq!((&event["client"], &event["user"]), (&json!("console"), &json!("keycloak/ada")));
}

#[test]
fn of_a_hundred_redemptions_at_once_one_wins_and_none_keeps_a_token() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = Gateway::start(settings(keycloak));
    let mut browser = Browser::new(&gateway);
    let pkce = Pkce::new();
    let code = consented(&mut browser, keycloak, "ada", &authorize("console", WEB, &pkce, "")).code();
    let start = Arc::new(Barrier::new(100));
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let (gateway, code, verifier) = (&gateway, &code, &pkce.verifier);
        let all: Vec<_> = (0..100)
            .map(|_| {
                let start = Arc::clone(&start);
                scope.spawn(move || {
                    start.wait();
                    redeem(gateway, "console", code, WEB, verifier)
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    // The winner's token was taken back by the others, before it was given out or after.
    assert!(answers.iter().filter(|answer| answer.status == 200).count() <= 1);
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 400)));
    for answer in answers.iter().filter(|answer| answer.status == 200) {
        let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
        gateway.http().with_token(&token).get(READ).expect(401);
    }
    until("the record of all others", Duration::from_secs(30), || {
        let replays = gateway.audit().iter().filter(|event| event["event"] == "code.replayed").count();
        (replays == 99).then_some(())
    });
}

#[test]
fn nothing_is_sent_to_an_address_that_is_not_the_clients() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = Gateway::start(settings(keycloak));
    let mut browser = Browser::new(&gateway);
    let pkce = Pkce::new();
    let good = authorize("console", WEB, &pkce, "");
    for url in [
        good.replace(WEB, "https://app.example.com/callback/"),
        good.replace(WEB, "https://app.example.com.evil.example/callback"),
        good.replace(WEB, "https://app.example.com@evil.example/callback"),
        good.replace(WEB, "https%3A%2F%2Fapp.example.com%2Fcallback%2F..%2Fx"),
        good.replace(WEB, "http://app.example.com/callback"),
        good.replace(WEB, "javascript:alert(1)"),
        good.replace(WEB, ""),
        good.replace("client_id=console", "client_id=machine"),
        good.replace("client_id=console", "client_id=nobody"),
        good.replace("client_id=console", "client_id=%3Cscript%3E"),
        format!("{good}&redirect_uri={WEB}"),
        format!("{good}&client_id=console"),
        format!("{good}&state=2"),
        format!("{good}&scope=a&%73cope=b"),
    ] {
        let answer = browser.get(&url);
        assert_eq!((answer.status, answer.header("location")), (400, None), "{url}");
        assert!(answer.header("content-type").expect("a type").starts_with("text/html"), "{url}");
        assert!(!answer.text().contains("<script"), "{url}");
    }
    // What is wrong beside that the client is told.
    for (url, error) in [
        (good.replace("response_type=code", "response_type=token"), "unsupported_response_type"),
        (good.replace("response_type=code&", ""), "invalid_request"),
        (good.replace("code_challenge_method=S256", "code_challenge_method=plain"), "invalid_request"),
        (good.replace("&code_challenge_method=S256", ""), "invalid_request"),
        (good.replace(&pkce.challenge, "short"), "invalid_request"),
        (good.replace(&format!("code_challenge={}&", pkce.challenge), ""), "invalid_request"),
        (format!("{good}&request=eyJ"), "request_not_supported"),
        (format!("{good}&request_uri=https://evil.example/"), "request_uri_not_supported"),
        (format!("{good}&resource=https://other.example.com"), "invalid_target"),
        (format!("{good}&response_mode=fragment"), "invalid_request"),
        (format!("{good}&prompt=none"), "login_required"),
        (format!("{good}&prompt=all"), "invalid_request"),
        (format!("{good}&max_age=x"), "invalid_request"),
    ] {
        let answer = browser.get(&url);
        assert_eq!(answer.status, 303, "{url}: {}", answer.text());
        let sent = answer.header("location").expect("where to");
        assert!(sent.starts_with(&format!("{WEB}?error={error}&")), "{url}: {sent}");
        assert_eq!(parameter(sent, "state").as_deref(), Some("xyz&="), "{url}");
        assert_eq!(parameter(sent, "iss").as_deref(), Some(ISSUER), "{url}");
    }
    // Of a person who is logged in: scopes nobody gives, and those the person has none of.
    let (_, page) = browser.log_in(keycloak, "ada", &good).expect("a question");
    for (more, error) in [
        ("&scope=read:pii-*", "invalid_scope"),
        ("&scope=everything", "invalid_scope"),
        ("&scope=monitor:cluster", "access_denied"),
        ("&prompt=none", "consent_required"),
    ] {
        let answer = browser.get(&format!("{good}{more}"));
        let sent = answer.header("location").expect("where to").to_owned();
        assert!(sent.starts_with(&format!("{WEB}?error={error}&")), "{more}: {sent}");
    }
    let denied = browser.decide(&page, "deny");
    assert_eq!(denied.parameter("error").as_deref(), Some("access_denied"), "{denied:?}");
}

#[test]
fn what_came_of_a_login_ends_with_it_and_with_the_consent() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = Gateway::start(settings(keycloak));
    let mut browser = Browser::new(&gateway);
    let token = |browser: &mut Browser<'_>| {
        let pkce = Pkce::new();
        let code = consented(browser, keycloak, "ada", &authorize("console", WEB, &pkce, "")).code();
        let answer = redeem(&gateway, "console", &code, WEB, &pkce.verifier);
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    };
    let account = format!("{ISSUER}/oauth/account");
    let form_token = |page: &Answer| {
        let text = page.text();
        text.split("name=\"form_token\" value=\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .expect("a token")
            .to_owned()
    };
    let first = token(&mut browser);
    gateway.http().with_token(&first).get(READ).expect(200);

    // It holds over a restart.
    gateway.stop();
    gateway.start_again();
    gateway.http().with_token(&first).get(READ).expect(200);

    let page = browser.get(&account);
    assert!(page.text().contains("Log console") && page.text().contains("read the indices logs-*"), "{}", page.text());
    let secret = form_token(&page);
    // No other site takes it back, and nobody who does not know the page.
    for (token, origin) in [("", ISSUER), ("x", ISSUER), (secret.as_str(), "https://evil.example")] {
        let form = [("form_token", token), ("action", "withdraw"), ("client", "console")];
        assert_eq!(browser.send("POST", &account, Some(&form), &[("Origin", origin)]).status, 403);
    }
    gateway.http().with_token(&first).get(READ).expect(200);
    let form = [("form_token", secret.as_str()), ("action", "withdraw"), ("client", "console")];
    assert_eq!(browser.post(&account, &form).status, 303);
    gateway.http().with_token(&first).get(READ).expect(401);
    assert!(browser.get(&account).text().contains("You have allowed nothing"));

    // Asked again, since nothing is remembered.
    let pkce = Pkce::new();
    let url = authorize("console", WEB, &pkce, "");
    let asked = browser.get(&url);
    let (_, page) = browser.follow(asked, &url).expect("a question");
    let code = browser.decide(&page, "allow").code();
    let unredeemed_pkce = Pkce::new();
    let unredeemed = consented(&mut browser, keycloak, "ada", &authorize("console", WEB, &unredeemed_pkce, "")).code();
    let second = redeem(&gateway, "console", &code, WEB, &pkce.verifier).json()["access_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    gateway.http().with_token(&second).get(READ).expect(200);
    let form = [("form_token", secret.as_str()), ("action", "log_out")];
    let page = browser.post(&account, &form);
    assert!(page.text().contains("You are logged out"), "{}", page.text());
    gateway.http().with_token(&second).get(READ).expect(401);
    is_refused(&redeem(&gateway, "console", &unredeemed, WEB, &unredeemed_pkce.verifier), 400, "invalid_grant");
    assert!(browser.gateway_cookies().keys().all(|name| !name.contains("session")));
}

#[test]
fn policies_know_the_person_and_the_client() {
    let (keycloak, _up) = Keycloak::get();
    let policies = r#"
        permit(principal in Group::"keycloak/analysts", action, resource in Index::"logs-*");
        permit(principal == Client::"console", action, resource);
        forbid(principal == Client::"console", action, resource in Index::"logs-web-*");
        forbid(principal == User::"keycloak/bo", action, resource in Index::"logs-app-*");
    "#;
    let gateway = Gateway::start(settings(keycloak).policies(policies));
    let token = |person: &str, client: &str| {
        let mut browser = Browser::new(&gateway);
        let pkce = Pkce::new();
        let code =
            consented(&mut browser, keycloak, person, &authorize(client, WEB, &pkce, "&scope=read:logs-*")).code();
        let answer = redeem(&gateway, client, &code, WEB, &pkce.verifier);
        answer.json()["access_token"].as_str().expect("a token").to_owned()
    };
    let get = |token: &str, index: &str, status| {
        gateway.http().with_token(token).get(&format!("/{index}/_search?size=0")).expect(status);
    };
    let ada = token("ada", "console");
    get(&ada, "logs-app-*", 200);
    // What is forbidden to the client stays forbidden, whomever it acts for.
    get(&ada, "logs-web-*", 403);
    let bo = token("bo", "console");
    get(&bo, "logs-app-*", 403);
    // No policy permits the other client anything.
    get(&token("ada", "persons"), "logs-app-*", 403);
}

#[test]
fn rows_that_a_claim_of_the_person_names_hold() {
    let (keycloak, _up) = Keycloak::get();
    let mut provider = provider(keycloak);
    provider["scope_mapping"]["roles"] = json!({
        "logs-reader": [{"scope": "read:orders-*", "rows": {"term": {"tenant": "${claim.preferred_username}"}}}],
    });
    let client = ClientSettings::new("console", &["read:orders-*"]).with("redirect_uris", json!([WEB]));
    let gateway = Gateway::start(
        Settings::new()
            .provider(provider)
            .environment("GATEWAY_SECRET", keycloak.secret("gateway"))
            .engine_option("strict_aliases", json!("enforce"))
            .client_with(client),
    );
    let engine = e2e::Engine::get();
    let index = "orders-e2e-persons";
    engine.delete_index(index);
    let _remove = e2e::OnDrop(|| e2e::Engine::get().delete_index(index));
    let mapping = json!({"mappings": {"properties": {"tenant": {"type": "keyword"}}}});
    engine.admin().put(&format!("/{index}")).json(&mapping).expect(200);
    for tenant in ["ada", "bo", "bo"] {
        engine.admin().post(&format!("/{index}/_doc?refresh=true")).json(&json!({"tenant": tenant})).expect(201);
    }
    for (person, count) in [("ada", 1), ("bo", 2)] {
        let mut browser = Browser::new(&gateway);
        let pkce = Pkce::new();
        let code = consented(&mut browser, keycloak, person, &authorize("console", WEB, &pkce, "")).code();
        let answer = redeem(&gateway, "console", &code, WEB, &pkce.verifier).json();
        let person = gateway.http().with_token(answer["access_token"].as_str().expect("a token"));
        let found = person.get(&format!("/{index}/_search?size=0")).expect(200).json();
        assert_eq!(found["hits"]["total"]["value"], json!(count));
    }
}

/// A provider that answers what the test wants.
struct Double {
    issuer: Issuer,
    key: SigningKey,
    gateway: Gateway,
}

impl Double {
    fn start() -> Self {
        let key = SigningKey::generate(Algorithm::Rs256).expect("a key");
        let issuer = Issuer::start(&[&key]);
        let mut provider = issuer.settings("idp");
        provider["login"] = json!({"client_id": "gateway"});
        let mut other = Issuer::start(&[&key]).settings("other");
        other["login"] = json!({"client_id": "gateway", "title": "The other one"});
        let gateway = Gateway::start(
            Settings::new()
                .provider(provider)
                .provider(other)
                .client_with(ClientSettings::new("console", &["read:logs-*"]).with("redirect_uris", json!([WEB]))),
        );
        Self { issuer, key, gateway }
    }

    /// Sends a browser to the provider; what it was sent with.
    fn begin(&self, browser: &mut Browser<'_>) -> (String, String) {
        let url = authorize("console", WEB, &Pkce::new(), "&provider=idp");
        let answer = browser.get(&url);
        assert_eq!(answer.status, 303, "{}", answer.text());
        let sent = answer.header("location").expect("where to").to_owned();
        assert!(sent.starts_with(&format!("{}/authorize?", self.issuer.name())), "{sent}");
        assert_eq!(parameter(&sent, "code_challenge_method").as_deref(), Some("S256"));
        assert_eq!(parameter(&sent, "redirect_uri"), Some(format!("{ISSUER}/oauth/callback/idp")));
        (parameter(&sent, "state").expect("a state"), parameter(&sent, "nonce").expect("a nonce"))
    }

    fn claims(&self, nonce: &str) -> Claims {
        self.issuer
            .claims(&self.key)
            .with("aud", json!("gateway"))
            .with("azp", json!("gateway"))
            .with("nonce", json!(nonce))
    }

    fn back(&self, state: &str, more: &str) -> String {
        format!("{ISSUER}/oauth/callback/idp?state={state}&code=any{more}")
    }
}

#[test]
fn only_the_answer_to_this_login_in_this_browser_logs_anybody_in() {
    let double = Double::start();
    let browser = || Browser::new(&double.gateway);

    // Two providers: the person chooses.
    let mut person = browser();
    let page = person.get(&authorize("console", WEB, &Pkce::new(), ""));
    assert!(page.text().contains("The other one") && page.text().contains("provider=idp"), "{}", page.text());

    // The good answer, once.
    let (state, nonce) = double.begin(&mut person);
    double.issuer.set_login(&double.claims(&nonce).sign(&double.key), "x");
    let answer = person.get(&double.back(&state, ""));
    assert_eq!(answer.status, 303, "{}", answer.text());
    assert!(double.issuer.forms()[0].contains("code_verifier="), "{:?}", double.issuer.forms());
    assert_eq!(person.get(&double.back(&state, "")).status, 400, "taken up twice");

    // Somebody else's browser: login CSRF (RFC 6749 section 10.12).
    let mut attacker = browser();
    let (state, nonce) = double.begin(&mut attacker);
    double.issuer.set_login(&double.claims(&nonce).sign(&double.key), "x");
    let mut victim = browser();
    assert_eq!(victim.get(&double.back(&state, "")).status, 400);
    let (state, nonce) = double.begin(&mut attacker);
    double.issuer.set_login(&double.claims(&nonce).sign(&double.key), "x");
    let _ = double.begin(&mut victim);
    assert_eq!(victim.get(&double.back(&state, "")).status, 400);
    assert!(victim.gateway_cookies().keys().all(|name| !name.contains("session")));

    // Another provider's answer: mix-up (RFC 9700 section 4.4).
    let (state, _) = double.begin(&mut victim);
    let mixed = double.back(&state, "").replace("/callback/idp", "/callback/other");
    assert_eq!(victim.get(&mixed).status, 400);
    let (state, nonce) = double.begin(&mut victim);
    double.issuer.set_login(&double.claims(&nonce).sign(&double.key), "x");
    assert_eq!(victim.get(&double.back(&state, "&iss=https://evil.example")).status, 400);
    for url in [
        format!("{ISSUER}/oauth/callback/idp"),
        format!("{ISSUER}/oauth/callback/idp?code=x"),
        format!("{ISSUER}/oauth/callback/idp?state=&code=x"),
        double.back("unknown", ""),
        double.back("a&state=b", ""),
    ] {
        assert_eq!(victim.get(&url).status, 400, "{url}");
    }
    assert_eq!(victim.get(&double.back("x", "").replace("/idp", "/nobody")).status, 404);

    // The provider has not asked again, although it was to.
    let answer = victim.get(&authorize("console", WEB, &Pkce::new(), "&provider=idp&max_age=60"));
    let sent = answer.header("location").expect("where to").to_owned();
    assert_eq!(parameter(&sent, "prompt").as_deref(), Some("login"));
    let (state, nonce) = (parameter(&sent, "state").expect("a state"), parameter(&sent, "nonce").expect("a nonce"));
    let old = Claims::of(&double.claims(&nonce).sign(&double.key)).claims["iat"].as_i64().expect("a time") - 600;
    double.issuer.set_login(&double.claims(&nonce).with("auth_time", json!(old)).sign(&double.key), "x");
    let sent = victim.get(&double.back(&state, ""));
    assert!(sent.header("location").expect("where to").starts_with(&format!("{WEB}?error=login_required")));

    // A provider that says whose its answers are is held to it.
    double.issuer.set_says("authorization_response_iss_parameter_supported", json!(true));
    let fresh = Double { gateway: Gateway::start(settings_of(&double.issuer)), ..double };
    let mut other = Browser::new(&fresh.gateway);
    let (state, nonce) = fresh.begin(&mut other);
    fresh.issuer.set_login(&fresh.claims(&nonce).sign(&fresh.key), "x");
    assert_eq!(other.get(&fresh.back(&state, "")).status, 400);
    let (state, nonce) = fresh.begin(&mut other);
    fresh.issuer.set_login(&fresh.claims(&nonce).sign(&fresh.key), "x");
    let back = fresh.back(&state, &format!("&iss={}", fresh.issuer.name()));
    assert_eq!(other.get(&back).status, 303);
}

fn settings_of(issuer: &Issuer) -> Settings {
    let mut provider = issuer.settings("idp");
    provider["login"] = json!({"client_id": "gateway"});
    let client = ClientSettings::new("console", &["read:logs-*"]).with("redirect_uris", json!([WEB]));
    Settings::new().provider(provider).client_with(client)
}

#[test]
fn a_person_who_does_not_log_in_gives_nothing() {
    let double = Double::start();
    let mut victim = Browser::new(&double.gateway);
    let (state, _) = double.begin(&mut victim);
    let refused = victim.get(&format!("{ISSUER}/oauth/callback/idp?state={state}&error=access_denied"));
    assert!(refused.header("location").expect("where to").starts_with(&format!("{WEB}?error=access_denied")));
}

#[test]
fn an_id_token_that_is_not_the_answer_logs_nobody_in() {
    let double = Double::start();
    let stranger = SigningKey::generate(Algorithm::Rs256).expect("a key");
    let mut browser = Browser::new(&double.gateway);
    let mut refused = |what: &str, token: &dyn Fn(&str) -> String| {
        let (state, nonce) = double.begin(&mut browser);
        double.issuer.set_login(&token(&nonce), "x");
        let answer = browser.get(&double.back(&state, ""));
        assert_eq!((answer.status, answer.header("location")), (400, None), "{what}: {}", answer.text());
        assert!(browser.gateway_cookies().keys().all(|name| !name.contains("session")), "{what}");
    };
    let good = |nonce: &str| double.claims(nonce);
    let key = &double.key;
    refused("another nonce", &|_| good("another").sign(key));
    refused("no nonce", &|nonce| good(nonce).without("nonce").sign(key));
    refused("another audience", &|nonce| good(nonce).with("aud", json!("oauth4os")).sign(key));
    refused("several audiences, no party", &|nonce| {
        good(nonce).with("aud", json!(["gateway", "x"])).without("azp").sign(key)
    });
    refused("another party", &|nonce| good(nonce).with("azp", json!("x")).sign(key));
    refused("another issuer", &|nonce| good(nonce).with("iss", json!("https://evil.example")).sign(key));
    refused("expired", &|nonce| good(nonce).moved(-4_000).sign(key));
    refused("from the future", &|nonce| good(nonce).moved(4_000).sign(key));
    refused("no subject", &|nonce| good(nonce).without("sub").sign(key));
    refused("no iat", &|nonce| good(nonce).without("iat").sign(key));
    refused("an event", &|nonce| good(nonce).with("events", json!({})).sign(key));
    refused("a stranger's key", &|nonce| good(nonce).sign(&stranger));
    refused("an access token", &|nonce| good(nonce).with_header("typ", json!("at+jwt")).sign(key));
    refused("no signature", &|nonce| format!("{}.", good(nonce).with_header("alg", json!("none")).signing_input()));
    refused("no token", &|_| String::new());
    refused("no name that can be used", &|nonce| good(nonce).with("sub", json!("a\nb")).sign(key));
}

#[test]
fn a_configuration_that_could_not_be_safe_is_refused() {
    let (keycloak, _up) = Keycloak::get();
    let with = |client: ClientSettings| {
        let gateway = Gateway::start(settings(keycloak));
        let client = client.to_json();
        gateway.change_config(|config| config["clients"].as_array_mut().expect("clients").push(client));
        gateway.check_config()
    };
    for (uri, sentence) in [
        ("http://app.example.com/callback", "use `https`"),
        ("https://app.example.com/*", "no wildcards"),
        ("https://app.example.com/#x", "fragment"),
        ("myapp:/callback", "with a dot"),
        ("javascript:alert(1)", "with a dot"),
    ] {
        let run = with(ClientSettings::new("bad", &["read:logs-*"]).with("redirect_uris", json!([uri])));
        assert!(run.stderr.contains(sentence), "{uri}: {}", run.stderr);
    }
    let run = with(ClientSettings::new("bad", &["read:logs-*"]).with("persons_only", json!(true)));
    assert!(run.stderr.contains("needs `redirect_uris`"), "{}", run.stderr);
}
