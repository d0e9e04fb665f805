//! Workloads that show what their own issuer says of them, and need no secret (`trusted_issuers`).

use std::sync::Barrier;
use std::time::Duration;

use e2e::{Answer, Claims, ClientSettings, Engine, Gateway, ISSUER, Issuer, OnDrop, Settings, Upstream, until};
use oauth4os_tokens::clock::{Clock as _, SystemClock};
use oauth4os_tokens::id::random_id;
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).expect("a key")
}

/// What an issuer says of a workload, on top of what every assertion has.
fn says(issuer: &Issuer, key: &SigningKey, what: Value) -> Claims {
    let now = SystemClock.now().as_secs();
    let claims = Claims::new(
        json!({"alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid()}),
        json!({
            "iss": issuer.name(), "aud": ISSUER, "iat": now, "nbf": now, "exp": now + 300,
            "jti": random_id("").expect("random bytes"),
        }),
    );
    what.as_object().expect("an object").iter().fold(claims, |claims, (name, value)| claims.with(name, value.clone()))
}

/// As GitHub Actions writes it: ids are texts.
fn github(issuer: &Issuer, key: &SigningKey) -> Claims {
    let what = json!({
        "sub": "repo:acme/app:ref:refs/heads/main", "repository": "acme/app", "repository_id": "74",
        "repository_owner": "acme", "repository_owner_id": "65", "ref": "refs/heads/main", "ref_type": "branch",
        "ref_protected": "true", "actor": "ada", "workflow": "deploy", "event_name": "push", "run_id": "1",
        "job_workflow_ref": "acme/app/.github/workflows/deploy.yml@refs/heads/main", "runner_environment": "github-hosted",
    });
    says(issuer, key, what)
}

fn ask_with(gateway: &Gateway, assertion: &str, more: &[(&str, &str)]) -> Answer {
    let form = [&[("grant_type", GRANT), ("assertion", assertion)], more].concat();
    gateway.http().post("/oauth/token").form(&form).send()
}

fn ask(gateway: &Gateway, assertion: &str) -> Answer {
    ask_with(gateway, assertion, &[])
}

fn token(answer: Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

#[track_caller]
fn refused(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_grant")), "{}", answer.text());
    assert!(answer.text().contains(reason), "`{reason}` is not in: {}", answer.text());
}

/// One issuer like GitHub, whose repository `acme/app` deploys from `main`.
fn settings(issuer: &Issuer) -> Settings {
    let trusted = json!([{
        "name": "github", "issuer": issuer.name(), "audience": ISSUER, "algorithms": ["RS256", "ES256"], "max_lifetime": "10m",
        "rules": [{
            "claims": {"repository": "acme/app", "repository_id": 74, "ref": ["refs/heads/main", "refs/tags/v*"]},
            "client": "deploy", "scopes": ["ingest:app-logs-*"],
        }],
    }]);
    let deploy = ClientSettings::new("deploy", &["ingest:app-logs-*", "read:app-logs-*"]).without_secret();
    Settings::new().client_with(deploy).client("reader", &["read:logs-*"]).top("trusted_issuers", trusted)
}

#[test]
fn a_pipeline_a_job_and_a_pod_reach_the_engine_without_a_secret() {
    let keys = [key(Algorithm::Rs256), key(Algorithm::Rs256), key(Algorithm::Rs256)];
    let [hub, lab, cluster] = [0, 1, 2].map(|number| Issuer::start(&[&keys[number]]));
    let trusted = json!([
        {
            "name": "github", "issuer": hub.name(), "audience": ISSUER,
            "rules": [{
                "claims": {"repository_owner_id": 65, "sub": "repo:acme/app:ref:refs/heads/*"}, "client": "deploy",
                "scopes": ["ingest:app-logs-*"],
            }],
        },
        {
            "name": "gitlab", "issuer": lab.name(), "audience": [ISSUER, "opensearch"],
            "rules": [{"claims": {"project_path": "acme/*", "ref_protected": true}, "client": "report"}],
        },
        {
            "name": "cluster", "issuer": cluster.name(), "audience": ISSUER, "jwks_uri": format!("{}/keys", cluster.name()),
            "single_use": false,
            "rules": [{
                "claims": {r"kubernetes\.io.namespace": "ingest", "sub": "system:serviceaccount:ingest:*"}, "client": "report",
                "scopes": ["search:logs-app-*"],
            }],
        },
    ]);
    let index = "app-logs-e2e-workloads";
    Engine::get().delete_index(index);
    let _remove = OnDrop(|| Engine::get().delete_index(index));
    let gateway = Gateway::start(
        Settings::new()
            .client_with(ClientSettings::new("deploy", &["ingest:app-logs-*", "read:app-logs-*"]).without_secret())
            .client_with(ClientSettings::new("report", &["read:logs-*"]).without_secret())
            .top("trusted_issuers", trusted),
    );
    let metadata = gateway.http().get("/.well-known/oauth-authorization-server").expect(200).json();
    assert!(metadata["grant_types_supported"].as_array().expect("a list").contains(&json!(GRANT)));

    let answer = ask(&gateway, &github(&hub, &keys[0]).sign(&keys[0]));
    let body = answer.json();
    assert_eq!((&body["scope"], &body["expires_in"]), (&json!("ingest:app-logs-*"), &json!(600)), "{body}");
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["client"], &event["grant_type"]), (&json!("deploy"), &json!(GRANT)));
    assert_eq!(event["user"], "github/repo:acme/app:ref:refs/heads/main");
    let pipeline = gateway.http().with_token(&token(answer));
    pipeline.post(&format!("/{index}/_doc")).json(&json!({"message": "deployed"})).expect(201);
    assert_eq!(Engine::get().count(index), 1);
    // The rule gives less than the client has.
    pipeline.get(&format!("/{index}/_search")).expect(403);

    // GitLab writes flags as texts, and gives a job's name in `sub`.
    let what = json!({
        "sub": "project_path:acme/app:ref_type:branch:ref:main", "project_path": "acme/app", "project_id": "20",
        "namespace_id": "72", "namespace_path": "acme", "ref": "main", "ref_type": "branch", "ref_protected": "true",
        "pipeline_id": "574", "job_id": "302", "user_login": "ada",
    });
    let job = says(&lab, &keys[1], what).with("aud", json!("opensearch")).without("nbf");
    let reader = gateway.http().with_token(&token(ask(&gateway, &job.sign(&keys[1]))));
    reader.get("/logs-*/_search?size=0").expect(200);
    refused(&ask(&gateway, &job.clone().with("ref_protected", json!("false")).sign(&keys[1])), "no rule");

    // A pod's mounted token has a list of one audience, no `typ`, and is the same for an hour.
    let what = json!({
        "aud": [ISSUER], "sub": "system:serviceaccount:ingest:collector",
        "kubernetes.io": {
            "namespace": "ingest", "pod": {"name": "collector-0", "uid": "a"},
            "serviceaccount": {"name": "collector", "uid": "b"},
        },
    });
    let now = SystemClock.now().as_secs();
    let pod = says(&cluster, &keys[2], what).without("jti").without_header("typ");
    let pod = pod.with("iat", json!(now - 600)).with("nbf", json!(now - 600)).with("exp", json!(now + 3000));
    let mounted = pod.sign(&keys[2]);
    for _ in 0..3 {
        let reader = gateway.http().with_token(&token(ask(&gateway, &mounted)));
        reader.get("/logs-app-*/_search?size=0").expect(200);
        reader.get("/logs-web-*/_search?size=0").expect(403);
    }
    let other = pod.clone().with("sub", json!("system:serviceaccount:ingest2:collector"));
    refused(&ask(&gateway, &other.sign(&keys[2])), "no rule");
    // Nobody speaks for another's workloads.
    refused(&ask(&gateway, &pod.clone().sign(&keys[0])), "not signed with a key");
    refused(&ask(&gateway, &github(&cluster, &keys[2]).sign(&keys[2])), "no rule");
    refused(&ask(&gateway, &github(&hub, &keys[2]).sign(&keys[2])), "does not publish");
}

#[test]
fn whatever_is_not_exactly_right_is_refused() {
    let key = key(Algorithm::Es256);
    let issuer = Issuer::start(&[&key]);
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings(&issuer).upstream(&upstream.url()));
    let good = || github(&issuer, &key);
    let now = SystemClock.now().as_secs();
    for (name, value, reason) in [
        ("aud", json!(format!("{ISSUER}/oauth/token")), "`aud`"),
        ("aud", json!([ISSUER, "https://other.example.com"]), "`aud`"),
        ("aud", json!("https://github.com/acme"), "`aud`"),
        ("iss", json!(format!("{}/", issuer.name())), "issuer that is not trusted"),
        ("iss", json!(ISSUER), "issuer that is not trusted"),
        ("exp", json!(now + 3600), "too long"),
        ("exp", json!(now - 60), "expired"),
        ("exp", json!(1e300), "`exp`"),
        ("iat", json!(now + 3600), "not yet valid"),
        ("nbf", json!(now + 3600), "not yet valid"),
        ("sub", json!(["a"]), "`sub`"),
        ("jti", json!(""), "`jti`"),
        // Letters that look the same, and names around the right one.
        ("repository", json!("аcme/app"), "no rule"),
        ("repository", json!("acme\u{ff0f}app"), "no rule"),
        ("repository", json!("ACME/app"), "no rule"),
        ("repository", json!("acme/app/"), "no rule"),
        ("repository", json!("acme/app\n"), "no rule"),
        ("repository", json!("evil/acme/app"), "no rule"),
        ("repository", json!(["acme/app"]), "no rule"),
        ("repository", json!({"0": "acme/app"}), "no rule"),
        ("repository_id", json!("740"), "no rule"),
        ("repository_id", json!("074"), "no rule"),
        ("repository_id", json!(74.5), "no rule"),
        ("ref", json!("refs/heads/main2"), "no rule"),
        ("ref", json!("refs/tags/v1/x"), "no rule"),
        ("ref", json!("refs/tags/v"), "no rule"),
    ] {
        refused(&ask(&gateway, &good().with(name, value).sign(&key)), reason);
    }
    for name in ["repository", "repository_id", "ref"] {
        refused(&ask(&gateway, &good().without(name).sign(&key)), "no rule");
    }
    for name in ["sub", "exp"] {
        refused(&ask(&gateway, &good().without(name).sign(&key)), name);
    }
    let stranger = self::key(Algorithm::Es256);
    for (name, value) in [
        ("jwk", serde_json::to_value(stranger.public().jwk()).expect("JSON")),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/chain")),
        ("crit", json!(["exp"])),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("typ", json!("at+jwt")),
        ("typ", json!("client-authentication+jwt")),
    ] {
        refused(&ask(&gateway, &good().with_header(name, value.clone()).sign(&stranger)), "");
        refused(&ask(&gateway, &good().with_header(name, value).sign(&key)), "");
    }
    refused(&ask(&gateway, &good().sign(&stranger)), "not signed with a key");
    refused(&ask(&gateway, &good().with_header("kid", json!("../keys")).sign(&key)), "does not publish");
    refused(&ask(&gateway, &gateway.token("reader")), "issuer that is not trusted");
    refused(&ask(&gateway, &"x".repeat(9_000)), "");
    for (scope, error) in
        [("read:app-logs-*", "invalid_scope"), ("ingest:*", "invalid_scope"), ("admin:gateway", "invalid_scope")]
    {
        let answer = ask_with(&gateway, &good().sign(&key), &[("scope", scope)]);
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{}", answer.text());
    }
    // Credentials besides, another client's name, and the client without its issuer.
    let assertion = good().sign(&key);
    let secret = gateway.secret("reader");
    let form = [("grant_type", GRANT), ("assertion", &assertion)];
    gateway.http().with_basic("reader", secret).post("/oauth/token").form(&form).expect(400);
    assert_eq!(ask_with(&gateway, &assertion, &[("client_id", "reader"), ("client_secret", secret)]).status, 400);
    refused(&ask_with(&gateway, &assertion, &[("client_id", "reader")]), "client_id");
    for secret in ["", "deploy", secret] {
        let form = [("grant_type", "client_credentials")];
        gateway.http().with_basic("deploy", secret).post("/oauth/token").form(&form).expect(401);
    }
    gateway.http().with_token(&assertion).get("/logs-a/_search").expect(401);
    // Nothing of this has used it up.
    token(ask_with(&gateway, &assertion, &[("client_id", "deploy"), ("scope", "ingest:app-logs-web")]));
    refused(&ask(&gateway, &assertion), "used before");
    assert!(!gateway.audit_text().contains(&assertion) && !gateway.log().contains(&assertion));
}

#[test]
fn of_a_hundred_at_once_one_gets_a_token_and_none_after_a_crash() {
    let key = key(Algorithm::Es256);
    let issuer = Issuer::start(&[&key]);
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings(&issuer).upstream(&upstream.url()));
    // By its name, and as a whole where it has none.
    for claims in [github(&issuer, &key), github(&issuer, &key).without("jti")] {
        let assertion = claims.sign(&key);
        let start = Barrier::new(100);
        let answers: Vec<u16> = std::thread::scope(|scope| {
            let asked: Vec<_> = (0..100)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        ask(&gateway, &assertion).status
                    })
                })
                .collect();
            asked.into_iter().map(|one| one.join().expect("an answer")).collect()
        });
        assert_eq!(answers.iter().filter(|status| **status == 200).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|status| **status == 400).count(), 99, "{answers:?}");
        gateway.kill();
        gateway.start_again();
        refused(&ask(&gateway, &assertion), "used before");
        // The same words, signed anew, are the same assertion.
        refused(&ask(&gateway, &claims.sign(&key)), "used before");
    }
}

#[test]
fn an_issuer_changes_its_keys_is_down_and_comes_back() {
    let (old, new) = (key(Algorithm::Es256), key(Algorithm::Rs256));
    let issuer = Issuer::start(&[&old]);
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings(&issuer).upstream(&upstream.url()));
    let good = |key: &SigningKey| github(&issuer, key).sign(key);
    token(ask(&gateway, &good(&old)));
    issuer.publish(&[&old, &new]);
    token(ask(&gateway, &good(&new)));
    issuer.set_failing(true);
    token(ask(&gateway, &good(&old)));
    let asked = issuer.asked();
    let stranger = key(Algorithm::Es256);
    for _ in 0..10 {
        refused(&ask(&gateway, &good(&stranger)), "does not publish");
    }
    assert!(issuer.asked() <= asked + 2, "{asked} and {}", issuer.asked());
    gateway.stop();
    gateway.start_again();
    let answer = ask(&gateway, &good(&old));
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("temporarily_unavailable")), "{}", answer.text());
    assert_eq!(gateway.metric("oauth4os_provider_keys_stale{provider=\"github\"}"), 1.0);
    // Others are served meanwhile.
    gateway.with("reader").get("/logs-a/_search").expect(200);
    issuer.set_failing(false);
    until("the keys to be fetched", Duration::from_secs(60), || {
        (ask(&gateway, &good(&old)).status == 200).then_some(())
    });
}

#[test]
fn rights_that_are_taken_away_are_gone_on_the_next_request() {
    let key = key(Algorithm::Es256);
    let issuer = Issuer::start(&[&key]);
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings(&issuer).upstream(&upstream.url()));
    let given = token(ask(&gateway, &github(&issuer, &key).sign(&key)));
    let pipeline = gateway.http().with_token(&given);
    let write = || pipeline.post("/app-logs-a/_doc").json(&json!({"message": "x"})).send().status;
    assert_ne!(write(), 401);
    // A rule that would then give more than its client has stops the reload; a client that has none of it stops the token.
    gateway.change_config(|config| config["clients"][0]["scopes"] = json!(["read:app-logs-*"]));
    assert_eq!(gateway.reload(), "invalid");
    assert!(gateway.log().contains("goes beyond what its client `deploy` is registered for"), "{}", gateway.log());
    assert_ne!(write(), 401);
    gateway.change_config(|config| {
        config["clients"][0]["scopes"] = json!(["ingest:app-logs-*"]);
        config["clients"][0]["addresses"] = json!({"deny": ["127.0.0.1"]});
    });
    assert_eq!(gateway.reload(), "applied");
    assert!(matches!(write(), 401 | 403), "{}", write());
    refused(&ask(&gateway, &github(&issuer, &key).sign(&key)), "may not be used from this address");
    // Whom to trust is read at the start.
    gateway.change_config(|config| {
        config["trusted_issuers"][0]["rules"][0]["claims"] = json!({"repository": "acme/other"})
    });
    assert_eq!(gateway.reload(), "needs_restart");
}
