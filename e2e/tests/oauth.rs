//! The authorization server as stock clients find and use it.

use e2e::{Answer, Gateway, ISSUER, Settings, Upstream, base64url_decode};
use serde_json::{Value, json};

fn gateway() -> Gateway {
    let settings = Settings::new()
        .client("reader", &["read:logs-*"])
        .client("writer", &["write:app-logs-*"])
        .tokens("lifetime", json!("15m"));
    Gateway::start(settings.upstream(&Upstream::obliging().url()))
}

#[test]
fn what_the_metadata_names_is_there_and_works() {
    let gateway = gateway();
    let http = gateway.http();
    let metadata = http.get("/.well-known/oauth-authorization-server").expect(200).json();
    assert_eq!(metadata["issuer"], ISSUER);
    let openid = http.get("/.well-known/openid-configuration").expect(200).json();
    for (name, value) in metadata.as_object().expect("an object") {
        assert_eq!(&openid[name], value, "{name}");
    }
    let path = |name: &str| {
        let url = metadata[name].as_str().unwrap_or_else(|| panic!("no `{name}`"));
        url.strip_prefix(ISSUER).unwrap_or_else(|| panic!("`{url}` is not the issuer's")).to_owned()
    };
    assert!(!http.get(&path("jwks_uri")).expect(200).json()["keys"].as_array().expect("keys").is_empty());
    let secret = gateway.secret("reader");
    let mut tokens = Vec::new();
    for grant in metadata["grant_types_supported"].as_array().expect("grants") {
        let grant = grant.as_str().expect("a name");
        for method in metadata["token_endpoint_auth_methods_supported"].as_array().expect("methods") {
            let answer = match method.as_str().expect("a name") {
                "client_secret_basic" => http
                    .with_basic("reader", secret)
                    .post(&path("token_endpoint"))
                    .form(&[("grant_type", grant)])
                    .send(),
                "client_secret_post" => http
                    .post(&path("token_endpoint"))
                    .form(&[("grant_type", grant), ("client_id", "reader"), ("client_secret", secret)])
                    .send(),
                other => panic!("nobody knows `{other}` here"),
            };
            tokens.push(answer.expect_ok().json()["access_token"].as_str().expect("a token").to_owned());
        }
    }
    for token in &tokens {
        http.with_token(token).get("/logs-a/_search").expect(200);
        http.with_basic("reader", secret)
            .post(&path("revocation_endpoint"))
            .form(&[("token", token), ("token_type_hint", "access_token")])
            .expect(200);
        http.with_token(token).get("/logs-a/_search").expect(401);
    }
}

#[test]
fn a_challenge_leads_to_the_metadata_of_the_resource() {
    let gateway = gateway();
    let answer = gateway.http().get("/logs-a/_search").expect(401);
    let challenge = answer.header("www-authenticate").expect("a challenge");
    let url = challenge
        .split("resource_metadata=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("resource_metadata");
    let resource = gateway.http().get(url.strip_prefix(ISSUER).expect("the issuer's")).expect(200).json();
    assert_eq!((&resource["resource"], &resource["authorization_servers"]), (&json!(ISSUER), &json!([ISSUER])));
    assert_eq!(gateway.ask_for_token("reader", &[("resource", ISSUER)]).status, 200);
    let other = gateway.ask_for_token("reader", &[("resource", "https://other.example.com")]);
    assert_eq!((other.status, &other.json()["error"]), (400, &json!("invalid_target")));
}

#[test]
fn a_token_says_what_rfc_9068_wants() {
    let gateway = gateway();
    let answer = gateway.ask_for_token("reader", &[]).expect_ok();
    assert_eq!(
        (answer.header("cache-control"), answer.header("content-type")),
        (Some("no-store"), Some("application/json"))
    );
    let body = answer.json();
    assert_eq!(
        (&body["token_type"], &body["expires_in"], &body["scope"]),
        (&json!("Bearer"), &json!(900), &json!("read:logs-*"))
    );
    let token = body["access_token"].as_str().expect("a token");
    let part = |number: usize| -> Value {
        serde_json::from_slice(&base64url_decode(token.split('.').nth(number).expect("a part"))).expect("JSON")
    };
    let (header, claims) = (part(0), part(1));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    let keys = gateway.http().get("/oauth/jwks").expect(200).json();
    assert!(
        keys["keys"].as_array().expect("keys").iter().any(|key| key["kid"] == header["kid"] && key["use"] == "sig")
    );
    for (name, value) in
        [("iss", ISSUER), ("aud", ISSUER), ("sub", "reader"), ("client_id", "reader"), ("scope", "read:logs-*")]
    {
        assert_eq!(claims[name], value, "{name}");
    }
    let number = |name: &str| claims[name].as_i64().unwrap_or_else(|| panic!("no `{name}`"));
    assert_eq!(number("exp") - number("iat"), 900);
    assert!(claims["jti"].as_str().is_some_and(|id| id.len() >= 16));
}

#[test]
fn requests_that_are_not_right_get_the_error_of_rfc_6749() {
    let gateway = gateway();
    let http = gateway.http();
    let secret = gateway.secret("reader");
    let reader = http.with_basic("reader", secret);
    let grant = ("grant_type", "client_credentials");
    let token = "/oauth/token";
    let cases: Vec<(&str, Answer, u16, &str)> = vec![
        ("no grant", reader.post(token).form(&[]).send(), 400, "invalid_request"),
        (
            "a grant nobody knows",
            reader.post(token).form(&[("grant_type", "password"), ("username", "a"), ("password", "b")]).send(),
            400,
            "unsupported_grant_type",
        ),
        (
            "an authorization code",
            reader.post(token).form(&[("grant_type", "authorization_code"), ("code", "x")]).send(),
            400,
            "invalid_request",
        ),
        (
            "a refresh token",
            reader.post(token).form(&[("grant_type", "refresh_token"), ("refresh_token", "x")]).send(),
            400,
            "invalid_grant",
        ),
        ("the grant twice", reader.post(token).form(&[grant, grant]).send(), 400, "invalid_request"),
        (
            "the scope twice",
            reader.post(token).form(&[grant, ("scope", "read:logs-a"), ("scope", "read:logs-b")]).send(),
            400,
            "invalid_request",
        ),
        ("no client", http.post(token).form(&[grant]).send(), 401, "invalid_client"),
        ("no secret", http.post(token).form(&[grant, ("client_id", "reader")]).send(), 401, "invalid_client"),
        (
            "two methods",
            reader.post(token).form(&[grant, ("client_id", "reader"), ("client_secret", secret)]).send(),
            400,
            "invalid_request",
        ),
        ("two ids", reader.post(token).form(&[grant, ("client_id", "writer")]).send(), 400, "invalid_request"),
        (
            "a bearer token",
            http.with_token(&gateway.token("reader")).post(token).form(&[grant]).send(),
            401,
            "invalid_client",
        ),
        (
            "an assertion",
            http.post(token).form(&[grant, ("client_assertion_type", "x"), ("client_assertion", "y")]).send(),
            401,
            "invalid_client",
        ),
        ("JSON", reader.post(token).json(&json!({"grant_type": "client_credentials"})).send(), 400, "invalid_request"),
        (
            "a parameter in the address",
            reader.post("/oauth/token?scope=read:logs-a").form(&[grant]).send(),
            400,
            "invalid_request",
        ),
        (
            "a form as long as a book",
            reader.post(token).form(&[grant, ("padding", &"x".repeat(100_000))]).send(),
            413,
            "invalid_request",
        ),
        (
            "a scope with a quote",
            reader.post(token).form(&[grant, ("scope", "read:\"logs\"")]).send(),
            400,
            "invalid_scope",
        ),
        (
            "a scope with a control character",
            reader.post(token).form(&[grant, ("scope", "read:logs-*\u{1}")]).send(),
            400,
            "invalid_request",
        ),
        (
            "a scope in another script",
            reader.post(token).form(&[grant, ("scope", "read:логи-*")]).send(),
            400,
            "invalid_scope",
        ),
        ("a hundred scopes", reader.post(token).form(&[grant, ("scope", &"read:logs-a ".repeat(100))]).send(), 200, ""),
        (
            "a thousand scopes",
            reader
                .post(token)
                .form(&[grant, ("scope", &(0..1000).map(|number| format!("read:logs-{number} ")).collect::<String>())])
                .send(),
            400,
            "invalid_scope",
        ),
    ];
    let mut wrong = Vec::new();
    for (what, answer, status, error) in cases {
        let body = answer.json();
        let is_right = answer.status == status
            && body["error"].as_str().unwrap_or_default() == error
            && answer.header("cache-control") == Some("no-store");
        let has_challenge = status != 401 || answer.header("www-authenticate").is_some();
        if !is_right || !has_challenge {
            wrong.push(format!("{what}: {} {} {:?}", answer.status, answer.text(), answer.headers));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(gateway.audit_where("refusals", |event| event["event"] == "token.refused")["decision"], "deny");
}

#[test]
fn own_endpoints_are_own_in_every_spelling_and_never_the_engines() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(Settings::new().client("reader", &["read:logs-*"]).upstream(&upstream.url()));
    let reader = gateway.with("reader");
    for target in [
        "/oauth",
        "/oauth/",
        "/oauth/none",
        "/oauth/token/",
        "/oauth/tokens/none",
        "/.well-known/none",
        "/_oauth4os/none",
        "/_oauth4os",
        "/oauth/token/a/b",
    ] {
        reader.get(target).expect(404);
    }
    // A spelling of its own is another path: an index by that name, which the token does not cover.
    for target in ["/oauth%2Ftokens", "/%6Fauth/tokens", "/OAUTH/tokens", "/_oauth4os%2Fv1/whoami", "//oauth/tokens"] {
        let answer = reader.get(target).send();
        assert!(matches!(answer.status, 400 | 403 | 404), "{target}: {}", answer.status);
        assert!(!answer.text().contains("\"tokens\""), "{target}: {}", answer.text());
    }
    for (method, target) in [
        ("GET", "/oauth/token"),
        ("PUT", "/oauth/token"),
        ("POST", "/oauth/tokens"),
        ("DELETE", "/oauth/revoke"),
        ("POST", "/_oauth4os/v1/whoami"),
    ] {
        let answer = reader.request(method, target).expect(405);
        assert!(answer.header("allow").is_some(), "{method} {target}");
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

#[test]
fn a_fresh_gateway_has_no_client_but_the_configured_and_one_administrator() {
    let gateway = gateway();
    for (id, secret) in
        [("admin", "admin"), ("admin", ""), ("", ""), ("demo", "demo"), ("oauth4os", "oauth4os"), ("reader", "reader")]
    {
        let answer = gateway
            .http()
            .with_basic(id, secret)
            .post("/oauth/token")
            .form(&[("grant_type", "client_credentials")])
            .expect(401);
        assert_eq!(answer.json()["error"], "invalid_client");
    }
    let administrator = gateway.administrator();
    let answer = administrator.post("/oauth/token").form(&[("grant_type", "client_credentials")]).expect(200).json();
    assert_eq!(answer["scope"], "admin:gateway");
    // It runs the gateway and reads nothing.
    let token = answer["access_token"].as_str().expect("a token");
    gateway.http().with_token(token).get("/oauth/tokens").expect(200);
    gateway.http().with_token(token).get("/logs-a/_search").expect(403);
    // A second start makes no second one.
    let shown = std::fs::read(gateway.folder().join("state/first-admin.json")).expect("the credential");
    gateway.stop();
    gateway.start_again();
    assert_eq!(std::fs::read(gateway.folder().join("state/first-admin.json")).expect("the credential"), shown);
    gateway.administrator().post("/oauth/token").form(&[("grant_type", "client_credentials")]).expect(200);
}
