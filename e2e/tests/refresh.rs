//! Tokens of a person renew themselves (RFC 6749 section 6, RFC 9700 section 4.14): once for each refresh token, as long as the
//! person is logged in at the gateway and at a real Keycloak, and within what the person may have by then.

use std::sync::Barrier;
use std::time::Duration;

use e2e::{Answer, Browser, ClientSettings, Gateway, ISSUER, Keycloak, OnDrop, Pkce, Settings, until};
use serde_json::{Value, json};

const READ: &str = "/logs-*/_search?size=0";
const CALLBACK: &str = "http://127.0.0.1:49152/callback";

fn gateway(keycloak: &Keycloak) -> Gateway {
    let provider = json!({
        "name": "keycloak",
        "issuer": keycloak.issuer,
        "audience": "oauth4os",
        "claims": {"subject": "preferred_username", "roles": "realm_access.roles", "groups": "groups"},
        "scope_mapping": {
            "roles": {"logs-reader": ["read:logs-*"]},
            "groups": {"administrators": ["monitor:cluster"]},
        },
        "login": {"client_id": "gateway", "secret": "${GATEWAY_SECRET}", "rights_from": "access_token"},
    });
    let public = |id: &str| {
        ClientSettings::new(id, &["read:logs-*", "monitor:cluster"])
            .without_secret()
            .with("redirect_uris", json!(["http://127.0.0.1/callback"]))
    };
    Gateway::start(
        Settings::new()
            .provider(provider)
            .environment("GATEWAY_SECRET", keycloak.secret("gateway"))
            .client_with(public("terminal"))
            .client_with(public("other")),
    )
}

/// What a person gives the terminal.
fn tokens(gateway: &Gateway, keycloak: &Keycloak, browser: &mut Browser<'_>, person: &str) -> Value {
    let pkce = Pkce::new();
    let url = format!(
        "{ISSUER}/oauth/authorize?response_type=code&client_id=terminal&redirect_uri={CALLBACK}&code_challenge={}&code_challenge_method=S256",
        pkce.challenge
    );
    let (_, page) = browser.log_in(keycloak, person, &url).expect("a question");
    let code = browser.decide(&page, "allow").code();
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "terminal"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", &pkce.verifier),
    ];
    gateway.http().post("/oauth/token").form(&form).expect(200).json()
}

fn refresh(gateway: &Gateway, client: &str, token: &str, scope: &str) -> Answer {
    let form = [("grant_type", "refresh_token"), ("client_id", client), ("refresh_token", token), ("scope", scope)];
    gateway.http().post("/oauth/token").form(&form).send()
}

fn text(answer: &Value, name: &str) -> String {
    answer[name].as_str().unwrap_or_else(|| panic!("no `{name}`: {answer}")).to_owned()
}

fn is_refused(answer: &Answer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{}", answer.text());
}

fn reads(gateway: &Gateway, token: &str, status: u16) {
    gateway.http().with_token(token).get(READ).expect(status);
}

#[test]
fn a_refresh_token_is_replaced_by_each_use_and_a_copy_ends_the_family() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = gateway(keycloak);
    let mut browser = Browser::new(&gateway);
    let first = tokens(&gateway, keycloak, &mut browser, "bo");
    assert_eq!(first["scope"], json!("read:logs-* monitor:cluster"));
    let one = text(&first, "refresh_token");
    assert!(one.starts_with("o4s_rt_"), "{one}");
    // It is no access token, and not good for anybody else.
    reads(&gateway, &one, 401);
    is_refused(&refresh(&gateway, "other", &one, ""), 400, "invalid_grant");

    let second = refresh(&gateway, "terminal", &one, "");
    assert_eq!(second.status, 200, "{}", second.text());
    let second = second.json();
    let two = text(&second, "refresh_token");
    assert_ne!(one, two);
    reads(&gateway, &text(&second, "access_token"), 200);

    // Fewer scopes for one token; the family keeps them all. More never.
    let narrow = refresh(&gateway, "terminal", &two, "read:logs-app-*").json();
    assert_eq!(narrow["scope"], json!("read:logs-app-*"));
    reads(&gateway, &text(&narrow, "access_token"), 403);
    let three = text(&narrow, "refresh_token");
    for more in ["read:*", "write:logs-*", "read:pii-*"] {
        is_refused(&refresh(&gateway, "terminal", &three, more), 400, "invalid_scope");
    }
    let wide = refresh(&gateway, "terminal", &three, "").json();
    assert_eq!(wide["scope"], json!("read:logs-* monitor:cluster"));
    let four = text(&wide, "refresh_token");

    // It holds over a restart.
    gateway.stop();
    gateway.start_again();
    let after = refresh(&gateway, "terminal", &four, "").json();
    let (token, five) = (text(&after, "access_token"), text(&after, "refresh_token"));
    reads(&gateway, &token, 200);

    // Used a moment ago: an honest race, refused and no more. Later it is a copy, and everything ends.
    is_refused(&refresh(&gateway, "terminal", &four, ""), 400, "invalid_grant");
    reads(&gateway, &token, 200);
    is_refused(&refresh(&gateway, "terminal", &one, ""), 400, "invalid_grant");
    until("the end of the grace", Duration::from_secs(60), || {
        is_refused(&refresh(&gateway, "terminal", &four, ""), 400, "invalid_grant");
        gateway.audit().iter().any(|event| event["event"] == "refresh.replayed").then_some(())
    });
    reads(&gateway, &token, 401);
    is_refused(&refresh(&gateway, "terminal", &five, ""), 400, "invalid_grant");
    let written = gateway.audit_text() + &gateway.log();
    for secret in [one, two, three, four, five] {
        assert!(!written.contains(&secret));
    }
}

#[test]
fn of_a_hundred_refreshes_at_once_one_wins_and_the_family_lives() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = gateway(keycloak);
    let mut browser = Browser::new(&gateway);
    let token = text(&tokens(&gateway, keycloak, &mut browser, "ada"), "refresh_token");
    let start = Barrier::new(100);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let (gateway, token, start) = (&gateway, &token, &start);
        let all: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(move || {
                    start.wait();
                    refresh(gateway, "terminal", token, "")
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let won: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(won.len(), 1);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        is_refused(answer, 400, "invalid_grant");
    }
    let winner = won[0].json();
    reads(&gateway, &text(&winner, "access_token"), 200);
    assert_eq!(refresh(&gateway, "terminal", &text(&winner, "refresh_token"), "").status, 200);
}

#[test]
fn what_the_provider_takes_away_is_gone_at_the_next_refresh() {
    // Nobody else logs in meanwhile: a role of everybody's is taken away.
    let (keycloak, _alone) = Keycloak::alone();
    let gateway = gateway(keycloak);
    let mut browser = Browser::new(&gateway);
    let first = tokens(&gateway, keycloak, &mut browser, "bo");
    let (old, one) = (text(&first, "access_token"), text(&first, "refresh_token"));
    gateway.http().with_token(&old).get("/_cluster/health").expect(200);
    let second = {
        let _back = OnDrop(|| keycloak.set_role("bo", "logs-reader", true));
        keycloak.set_role("bo", "logs-reader", false);
        let second = refresh(&gateway, "terminal", &one, "").json();
        assert_eq!(second["scope"], json!("monitor:cluster"));
        // The token of before has a scope the person does not have any more.
        reads(&gateway, &old, 401);
        gateway.http().with_token(&text(&second, "access_token")).get("/_cluster/health").expect(200);
        second
    };
    // Given back it is there again, within what was allowed.
    let third = refresh(&gateway, "terminal", &text(&second, "refresh_token"), "").json();
    assert_eq!(third["scope"], json!("read:logs-* monitor:cluster"));
    let (token, three) = (text(&third, "access_token"), text(&third, "refresh_token"));

    // While the provider is down nothing is renewed and nothing spent.
    {
        let _start = OnDrop(|| keycloak.start());
        keycloak.stop();
        is_refused(&refresh(&gateway, "terminal", &three, ""), 503, "temporarily_unavailable");
        reads(&gateway, &token, 200);
    }
    let fourth = refresh(&gateway, "terminal", &three, "");
    assert_eq!(fourth.status, 200, "{}", fourth.text());
    let fourth = fourth.json();

    // Logged out there, logged out here: with every token that came of the login.
    keycloak.log_out("bo");
    let four = text(&fourth, "refresh_token");
    is_refused(&refresh(&gateway, "terminal", &four, ""), 400, "invalid_grant");
    reads(&gateway, &text(&fourth, "access_token"), 401);
    reads(&gateway, &token, 401);
}

#[test]
fn a_refresh_token_ends_with_the_consent_the_login_and_when_it_is_given_up() {
    let (keycloak, _up) = Keycloak::get();
    let gateway = gateway(keycloak);
    let mut browser = Browser::new(&gateway);
    let account = format!("{ISSUER}/oauth/account");
    let press = |browser: &mut Browser<'_>, more: &[(&str, &str)]| {
        let page = browser.get(&account).text();
        let token = page.split("name=\"form_token\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
        let token = token.expect("a form").to_owned();
        let _ = browser.post(&account, &[&[("form_token", token.as_str())], more].concat());
    };
    let given = tokens(&gateway, keycloak, &mut browser, "ada");
    let form = [("client_id", "other"), ("token", given["refresh_token"].as_str().expect("a token"))];
    gateway.http().post("/oauth/revoke").form(&form).expect(200);
    reads(&gateway, &text(&given, "access_token"), 200);
    gateway.http().post("/oauth/revoke").form(&[("client_id", "terminal"), form[1]]).expect(200);
    reads(&gateway, &text(&given, "access_token"), 401);
    is_refused(&refresh(&gateway, "terminal", &text(&given, "refresh_token"), ""), 400, "invalid_grant");

    let given = tokens(&gateway, keycloak, &mut browser, "ada");
    press(&mut browser, &[("action", "withdraw"), ("client", "terminal")]);
    is_refused(&refresh(&gateway, "terminal", &text(&given, "refresh_token"), ""), 400, "invalid_grant");

    let given = tokens(&gateway, keycloak, &mut browser, "ada");
    press(&mut browser, &[("action", "log_out")]);
    is_refused(&refresh(&gateway, "terminal", &text(&given, "refresh_token"), ""), 400, "invalid_grant");
    for wrong in ["", "x", "o4s_rt_x", "o4s_at_0000000000000000000000000000000000000000000000000"] {
        let answer = refresh(&gateway, "terminal", wrong, "");
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}
