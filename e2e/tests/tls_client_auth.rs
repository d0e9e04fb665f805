//! Clients that get tokens by the certificate of their connection (`tls_client_auth`).

use e2e::{Authority, ClientSettings, Gateway, Identity, Settings, Upstream, dns, for_client};
use serde_json::json;

const SEARCH: &str = "/logs-a/_search";

/// Two clients with a name each, one of which has a secret as well, and one with a secret alone.
fn settings(authority: &Authority) -> Settings {
    let named =
        |id: &str, name: &str| ClientSettings::new(id, &["read:logs-*"]).with("certificate", json!({"dns": name}));
    let taken = json!({"ca": "clients-ca.pem"});
    Settings::new()
        .file("clients-ca.pem", &authority.pem())
        .top("tls", json!({"certificate": "gateway.pem", "key": "gateway-key.pem", "client_certificates": taken}))
        .client_with(named("by-dns", "shipper.example.com").without_secret())
        .client_with(named("both", "both.example.com"))
        .client("other", &["read:logs-*"])
}

#[test]
fn at_the_token_endpoint_a_certificate_stands_for_the_client_that_is_named() {
    let authority = Authority::new("clients");
    let gateway = Gateway::start(settings(&authority).upstream(&Upstream::obliging().url()));
    let shipper = authority.issue_to(dns("shipper.example.com"));
    let stranger = authority.issue_to(dns("stranger.example.com"));
    let two = authority.issue(for_client(&[], vec![dns("shipper.example.com"), dns("both.example.com")]));
    let ask = |identity: Option<&Identity>, form: &[(&str, &str)]| {
        let http =
            identity.map_or_else(|| gateway.http().anonymous(), |identity| gateway.http().with_certificate(identity));
        http.post("/oauth/token").form(&[&[("grant_type", "client_credentials")], form].concat()).send()
    };
    let metadata = gateway.http().get("/.well-known/oauth-authorization-server").expect(200).json();
    for name in ["token_endpoint_auth_methods_supported", "revocation_endpoint_auth_methods_supported"] {
        assert!(metadata[name].as_array().expect("a list").contains(&json!("tls_client_auth")), "{name}");
    }
    let named = [("client_id", "by-dns")];
    let answer = ask(Some(&shipper), &named);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    // The token is its own, on any connection.
    gateway.http().with_token(&token).get(SEARCH).expect(200);
    for (identity, form) in [
        (None, &named[..]),
        (Some(&stranger), &named),
        (Some(&two), &named),
        (Some(&shipper), &[]),
        (Some(&shipper), &[("client_id", "both")]),
        (Some(&shipper), &[("client_id", "other")]),
        (Some(&shipper), &[("client_id", "by-dns"), ("client_secret", "wrong")]),
    ] {
        let answer = ask(identity, form);
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (401, &json!("invalid_client")),
            "{form:?} {}",
            answer.text()
        );
    }
    // A secret beside a certificate is the secret's client.
    let other = [("client_id", "other"), ("client_secret", gateway.secret("other"))];
    assert_eq!(ask(Some(&shipper), &other).status, 200);
    let form = [("token", token.as_str()), ("client_id", "by-dns")];
    gateway.http().with_certificate(&shipper).post("/oauth/revoke").form(&form).expect(200);
    gateway.http().with_token(&token).get(SEARCH).expect(401);

    // A client that has another certificate from now on.
    gateway.change_config(|config| {
        for client in config["clients"].as_array_mut().expect("clients") {
            if client["id"] == "by-dns" {
                client["certificate"] = json!({"dns": "moved.example.com"});
            }
        }
    });
    assert_eq!(gateway.reload(), "applied");
    assert_eq!(ask(Some(&shipper), &named).status, 401);
}
