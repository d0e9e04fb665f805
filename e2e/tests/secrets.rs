//! Neither the audit record nor the log, the metrics or an answer keeps a credential, wherever it was sent.

use std::collections::BTreeSet;

use e2e::{ClientSettings, Forge, Gateway, Settings, token_id};
use oauth4os_tokens::keys::Algorithm;
use serde_json::{Value, json};

/// Clients that are allowed, refused by scope, refused by policy, and over their limit.
fn settings() -> Settings {
    let limit = json!({"requests_per_second": 1, "burst": 1});
    Settings::new()
        .policies(r#"permit(principal, action, resource); forbid(principal in Group::"agents", action, resource in Index::"logs-web-*");"#)
        .client("reader", &["read:logs-*", "read:metrics-*"])
        .client("writer", &["write:app-logs-e2e-*", "manage:app-logs-e2e-*"])
        .client_with(ClientSettings::new("agent", &["read:logs-*"]).with("kind", json!("agent")))
        .client_with(ClientSettings::new("hasty", &["read:logs-*"]).with("rate_limit", limit))
}

/// Credentials where they belong and wherever else somebody could paste them.
#[test]
fn no_part_of_a_credential_is_kept_wherever_it_was_sent() {
    // The log says as much as it can.
    let gateway = Gateway::start(settings().log_level("trace"));
    let mut secrets: BTreeSet<String> = BTreeSet::new();
    let mut tokens = Vec::new();
    for client in ["reader", "writer", "agent", "hasty"] {
        let token = gateway.token(client);
        let reader = gateway.http().with_token(&token);
        let _ = reader.get("/logs-*/_count").send();
        let _ = reader.get("/pii-customers/_search").send();
        let basic = gateway.http().with_basic(client, gateway.secret(client));
        secrets.extend([gateway.secret(client).to_owned(), value_of(basic.authorization())]);
        tokens.push(token);
    }
    let token = tokens[0].clone();
    let forge = gateway.forge();
    let forged = forge.claims("reader", "read:*").sign(&Forge::stranger(Algorithm::Es256));
    let own = forge.claims("reader", "read:logs-*").sign(forge.access());
    let internal = forge.claims("reader", "read:logs-*").sign(forge.internal());
    let secret = gateway.secret("reader").to_owned();
    let administrator = gateway.administrator();
    secrets.insert(value_of(administrator.authorization()));
    let first_admin = std::fs::read_to_string(gateway.folder().join("state/first-admin.json")).expect("a file");
    let first_admin: Value = serde_json::from_str(&first_admin).expect("JSON");
    secrets.insert(first_admin["client_secret"].as_str().expect("a secret").to_owned());
    let password = "a-wrong-password-that-is-right-elsewhere";
    secrets.insert(password.to_owned());

    let (http, basic) = (gateway.http(), gateway.http().with_basic("reader", &secret));
    let form = [("grant_type", "client_credentials")];
    let with = |more: &[(&'static str, &str)]| {
        let all: Vec<(&str, &str)> = form.iter().chain(more).copied().collect();
        http.post("/oauth/token").form(&all).send()
    };
    let answers = [
        http.with_token(&forged).get("/logs-*/_search").send(),
        http.with_token(&own).get("/logs-*/_search").send(),
        http.with_token(&internal).get("/logs-*/_search").send(),
        basic.get("/logs-*/_search").send(),
        http.get(&format!("/logs-*/_search?access_token={token}")).send(),
        http.with_token(&token).get(&format!("/logs-*/_search?access_token={token}")).send(),
        http.with_token(&token).get(&format!("/logs-*/_search?q={secret}")).send(),
        http.with_basic("reader", password).post("/oauth/token").form(&form).send(),
        http.with_basic(&secret, "reader").post("/oauth/token").form(&form).send(),
        with(&[("client_id", &secret), ("client_secret", password)]),
        with(&[("client_id", &token), ("client_secret", &secret)]),
        http.post(&format!("/oauth/token?client_id=reader&client_secret={secret}")).form(&form).send(),
        gateway.ask_for_token("reader", &[("scope", &token)]),
        gateway.ask_for_token("reader", &[("scope", &secret)]),
        gateway.ask_for_token("reader", &[("resource", &token)]),
        basic.post("/oauth/token").form(&[("grant_type", &token)]).send(),
        basic.post("/oauth/revoke").form(&[("token", &secret)]).send(),
        basic.get("/oauth/tokens").send(),
        administrator.get("/oauth/tokens").send(),
        basic.get(&format!("/oauth/token/{token}")).send(),
        basic.delete(&format!("/oauth/token/{token}")).send(),
        http.with_token(&token).get("/_oauth4os/v1/whoami").send(),
        http.with_token(&token)
            .get("/logs-*/_count")
            .header("X-Opaque-Id", &token)
            .header("X-Request-Id", &secret)
            .header("Cookie", &secret)
            .send(),
        basic.post("/oauth/revoke").form(&[("token", &token)]).send(),
        http.with_token(&token).get("/").send(),
    ];
    tokens.extend([forged, own, internal]);
    for token in &tokens {
        // The head of a token tells little, but where one is written down the rest is near.
        secrets.extend(token.split('.').map(ToOwned::to_owned));
    }
    let last = answers.last().expect("an answer").request_id().to_owned();
    assert_eq!(gateway.audit_of(&last)["status"], 401);
    let (metrics, ready) = (gateway.monitor("/metrics").expect_ok().text(), gateway.monitor("/readyz").text());
    gateway.stop();

    let (audit, log) = (gateway.audit_text(), gateway.log());
    assert!(audit.lines().count() > 20 && log.lines().count() > 3 && metrics.lines().count() > 50);
    for (place, text) in
        [("the audit file", &audit), ("the log", &log), ("the metrics", &metrics), ("readiness", &ready)]
    {
        for secret in &secrets {
            assert!(secret.len() > 15, "too short to look for: {secret}");
            // The beginning is enough: what was cut off is a leak, too.
            let start: String = secret.chars().take(40).collect();
            assert!(!text.contains(&start), "{place} holds `{start}`:\n{}", lines_with(text, &start));
        }
        for sign in ["Bearer ey", "Basic ", "o4s_cs_", "eyJ", "PRIVATE KEY"] {
            assert!(!text.contains(sign), "{place} holds `{sign}`:\n{}", lines_with(text, sign));
        }
    }
    // The same search finds what is there.
    assert!(audit.contains("\"client\":\"reader\"") && audit.contains(&token_id(&token)));
}

/// What follows the scheme.
fn value_of(authorization: Option<&str>) -> String {
    authorization.and_then(|value| value.split_once(' ')).expect("a credential").1.to_owned()
}

fn lines_with(text: &str, what: &str) -> String {
    text.lines().filter(|line| line.contains(what)).take(3).collect::<Vec<_>>().join("\n")
}
