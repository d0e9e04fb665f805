//! Clients that sign an assertion instead of sending a secret (`private_key_jwt`), and developers whose public keys lie in a folder.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::sync::Barrier;

use e2e::{
    Answer, Claims, ClientSettings, Engine, Gateway, ISSUER, Issuer, Settings, Upstream, base64url,
    python_with_authlib, report, workspace,
};
use oauth4os_tokens::clock::{Clock as _, SystemClock};
use oauth4os_tokens::id::random_id;
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};

const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const READ: &str = "/logs-*/_count";

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::Es256).expect("a key")
}

/// A client that proves itself with this key.
fn signer(id: &str, key: &SigningKey) -> ClientSettings {
    ClientSettings::new(id, &["read:logs-*"]).without_secret().with("jwks", json!({"keys": [key.public().jwk()]}))
}

/// A good assertion of a client, to be spoilt.
fn claims(client: &str, key: &SigningKey) -> Claims {
    let now = SystemClock.now().as_secs();
    let jti = random_id("").expect("random bytes");
    Claims::new(
        json!({"alg": key.algorithm().as_str(), "typ": "JWT", "kid": key.kid()}),
        json!({"iss": client, "sub": client, "aud": ISSUER, "jti": jti, "iat": now, "exp": now + 60}),
    )
}

fn ask(gateway: &Gateway, assertion: &str) -> Answer {
    let form = [("grant_type", "client_credentials"), ("client_assertion_type", KIND), ("client_assertion", assertion)];
    gateway.http().post("/oauth/token").form(&form).send()
}

fn token(gateway: &Gateway, client: &str, key: &SigningKey) -> String {
    let answer = ask(gateway, &claims(client, key).sign(key));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

#[track_caller]
fn refused(answer: &Answer, reason: &str) {
    assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{}", answer.text());
    assert!(answer.text().contains(reason), "`{reason}` is not in: {}", answer.text());
}

fn pem(key: &SigningKey) -> String {
    use std::fmt::Write as _;
    let der = key.to_pkcs8().expect("the private half");
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    let encoded = base64url(&*der).replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - encoded.len() % 4) % 4);
    writeln!(text, "{encoded}{padding}\n-----END PRIVATE KEY-----").expect("text");
    text
}

#[test]
fn a_client_that_signs_reads_what_it_may_and_each_assertion_is_good_once() {
    let key = key();
    let gateway = Gateway::start(Settings::new().client_with(signer("job", &key)));
    let metadata = gateway.http().get("/.well-known/oauth-authorization-server").expect(200).json();
    for name in ["token_endpoint_auth_methods_supported", "revocation_endpoint_auth_methods_supported"] {
        assert!(metadata[name].as_array().expect("a list").contains(&json!("private_key_jwt")), "{name}");
    }
    let algorithms = &metadata["token_endpoint_auth_signing_alg_values_supported"];
    assert!(
        algorithms.as_array().expect("a list").iter().all(|name| !name.as_str().expect("a name").starts_with("HS"))
    );

    let assertion = claims("job", &key).sign(&key);
    let answer = ask(&gateway, &assertion).expect_ok().json();
    let token = answer["access_token"].as_str().expect("a token");
    let reader = gateway.http().with_token(token);
    let found = reader.get(READ).expect(200).json();
    assert_eq!(found["count"], json!(Engine::get().count("logs-*")));
    reader.get("/pii-customers/_search").expect(403);
    refused(&ask(&gateway, &assertion), "used before");
    // What was acknowledged survives the death of the process.
    gateway.kill();
    gateway.start_again();
    refused(&ask(&gateway, &assertion), "used before");
    // It is no token, and opens neither the engine nor the gateway.
    let unused = claims("job", &key).sign(&key);
    for target in [READ, "/oauth/tokens", "/_oauth4os/v1/whoami"] {
        gateway.http().with_token(&unused).get(target).expect(401);
    }
    // Revoking takes one more.
    let form = [("token", token), ("client_assertion_type", KIND), ("client_assertion", &unused)];
    gateway.http().post("/oauth/revoke").form(&form).expect(200);
    gateway.http().with_token(token).get(READ).expect(401);
    assert!(!gateway.audit_text().contains(&assertion) && !gateway.log().contains(&assertion));
}

#[test]
fn whatever_is_not_exactly_right_is_refused() {
    let key = key();
    let upstream = Upstream::obliging();
    let settings = Settings::new().client_with(signer("job", &key)).client("reader", &["read:logs-*"]);
    let gateway = Gateway::start(settings.upstream(&upstream.url()));
    let good = || claims("job", &key);
    let now = SystemClock.now().as_secs();
    for (name, value, reason) in [
        ("aud", json!(format!("{ISSUER}/oauth/token")), "`aud`"),
        ("aud", json!([ISSUER]), "`aud`"),
        ("aud", json!([ISSUER, "https://other.example.com"]), "`aud`"),
        ("aud", json!("https://other.example.com"), "`aud`"),
        ("aud", json!(format!("{ISSUER}/")), "`aud`"),
        ("exp", json!(now + 3600), "too long"),
        ("exp", json!(now - 60), "expired"),
        ("exp", json!((now + 60).to_string()), "`exp`"),
        ("iat", json!(now + 3600), "not yet valid"),
        ("nbf", json!(now + 3600), "not yet valid"),
        ("jti", json!(7), "`jti`"),
        ("sub", json!("reader"), "`client_id`"),
        ("iss", json!("https://ci.example.com"), "`client_id`"),
    ] {
        refused(&ask(&gateway, &good().with(name, value).sign(&key)), reason);
    }
    for name in ["aud", "exp", "jti", "sub", "iss"] {
        refused(&ask(&gateway, &good().without(name).sign(&key)), name);
    }
    let stranger = self::key();
    for (name, value) in [
        ("jwk", serde_json::to_value(stranger.public().jwk()).expect("JSON")),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/chain")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("alg", json!("none")),
        ("alg", json!("HS256")),
        ("alg", json!("RS256")),
        ("kid", json!("../../../dev/null")),
        ("kid", json!("x' OR '1'='1")),
        ("kid", json!("k".repeat(4_000))),
        ("typ", json!("at+jwt")),
    ] {
        refused(&ask(&gateway, &good().with_header(name, value.clone()).sign(&stranger)), "");
        refused(&ask(&gateway, &good().with_header(name, value).sign(&key)), "");
    }
    refused(&ask(&gateway, &good().sign(&stranger)), "not signed with a key");
    // The secret of an HMAC could be the public key.
    let unsigned = good().with_header("alg", json!("none")).signing_input();
    refused(&ask(&gateway, &format!("{unsigned}.")), "");
    for text in ["", "x", "a.b.c", &"x".repeat(20_000)] {
        let answer = ask(&gateway, text);
        assert!(matches!(answer.status, 400 | 401), "{} {}", answer.status, answer.text());
    }
    // Two ways at once, another client's name, another kind.
    let secret = gateway.secret("reader");
    let assertion = good().sign(&key);
    let form =
        [("grant_type", "client_credentials"), ("client_assertion_type", KIND), ("client_assertion", &assertion)];
    let post = || gateway.http().post("/oauth/token");
    gateway.http().with_basic("reader", secret).post("/oauth/token").form(&form).expect(400);
    post().form(&[&form[..], &[("client_secret", secret)]].concat()).expect(400);
    post().form(&[&form[..], &[("client_id", "reader")]].concat()).expect(400);
    post().form(&[form[0], form[2]]).expect(400);
    // Nothing of this has used it up, and the ordinary ways go on.
    post().form(&[&form[..], &[("client_id", "job")]].concat()).expect(200);
    gateway.with("reader").get("/logs-a/_search").expect(200);
    assert_eq!(gateway.http().with_basic("job", "").post("/oauth/token").form(&form[..1]).send().status, 401);
}

#[test]
fn of_a_hundred_at_once_one_gets_a_token() {
    let key = key();
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(Settings::new().client_with(signer("job", &key)).upstream(&upstream.url()));
    let assertion = claims("job", &key).sign(&key);
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
    assert_eq!(answers.iter().filter(|status| **status == 401).count(), 99, "{answers:?}");
}

#[test]
fn keys_that_a_client_publishes_are_fetched_kept_and_rotated() {
    let (old, new) = (key(), key());
    let published = Issuer::start(&[&old]);
    let job = ClientSettings::new("job", &["read:logs-*"]).without_secret();
    let job = job.with("jwks_uri", json!(format!("{}/keys", published.name())));
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(Settings::new().client_with(job).upstream(&upstream.url()));
    token(&gateway, "job", &old);
    // A key that is published while the gateway runs is looked for, once.
    published.publish(&[&old, &new]);
    token(&gateway, "job", &new);
    let asked = published.asked();
    let stranger = key();
    for _ in 0..10 {
        refused(&ask(&gateway, &claims("job", &stranger).sign(&stranger)), "not signed with a key");
    }
    assert!(published.asked() <= asked + 1, "{asked} and {}", published.asked());
    // While nobody answers the keys stay, over a reload as well.
    published.set_failing(true);
    token(&gateway, "job", &old);
    gateway.change_config(|config| config["clients"][0]["name"] = json!("renamed"));
    assert_eq!(gateway.reload(), "applied");
    token(&gateway, "job", &new);
    // A client whose keys were never there is told that it is not its fault.
    gateway.stop();
    gateway.start_again();
    let answer = ask(&gateway, &claims("job", &old).sign(&old));
    assert_eq!((answer.status, &answer.json()["error"]), (503, &json!("temporarily_unavailable")), "{}", answer.text());
    published.set_failing(false);
    e2e::until("the keys to be fetched", std::time::Duration::from_secs(60), || {
        (ask(&gateway, &claims("job", &old).sign(&old)).status == 200).then_some(())
    });
}

#[test]
fn a_public_key_in_a_folder_makes_its_owner_a_client() {
    let (ada, bo) = (key(), key());
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("write a key");
    write("ada.pem", &ada.public().to_pem());
    write("notes.txt", "not a key");
    let upstream = Upstream::obliging();
    let keys = json!({"directory": folder.path(), "scopes": ["read:logs-*"], "groups": ["developers"]});
    let settings = Settings::new().client("reader", &["read:logs-*"]).top("developer_keys", keys);
    let gateway = Gateway::start(settings.upstream(&upstream.url()));
    let of_ada = gateway.http().with_token(&token(&gateway, "ada", &ada));
    let answer = of_ada.get("/logs-a/_search").expect(200);
    assert_eq!(gateway.audit_of(answer.request_id())["client"], "ada");
    of_ada.get("/pii-a/_search").expect(403);
    refused(&ask(&gateway, &claims("ada", &bo).sign(&bo)), "not signed with a key");
    refused(&ask(&gateway, &claims("bo", &bo).sign(&bo)), "not signed with a key");
    refused(&ask(&gateway, &claims("reader", &ada).sign(&ada)), "not signed with a key");

    // One comes, one goes: with the next request.
    write("bo.pem", &bo.public().to_pem());
    fs::remove_file(folder.path().join("ada.pem")).expect("remove a key");
    of_ada.get("/logs-a/_search").expect(200);
    assert_eq!(gateway.reload(), "applied");
    gateway.http().with_token(&token(&gateway, "bo", &bo)).get("/logs-a/_search").expect(200);
    of_ada.get("/logs-a/_search").expect(401);
    refused(&ask(&gateway, &claims("ada", &ada).sign(&ada)), "not signed with a key");

    // What is no public key, and what others could have put there, changes nothing.
    for (name, text, reason) in [
        ("eve.pem", "x".to_owned(), "the key number 1 is not used: it is malformed"),
        ("eve.pem", pem(&bo), "its private half is published"),
        ("reader.pem", bo.public().to_pem(), "used twice"),
    ] {
        write(name, &text);
        assert_eq!(gateway.reload(), "invalid", "{name}");
        assert!(gateway.log().contains(reason), "{reason}: {}", gateway.log());
        let checked = gateway.check_config();
        assert!(!checked.succeeded && checked.stderr.contains(reason), "{reason}: {}", checked.stderr);
        fs::remove_file(folder.path().join(name)).expect("remove a key");
    }
    assert!(!gateway.log().contains(pem(&bo).lines().nth(1).expect("a line")), "a private key is in the log");
    gateway.http().with_token(&token(&gateway, "bo", &bo)).get("/logs-a/_search").expect(200);
}

#[test]
fn authlib_signs_for_a_client_a_developer_and_a_workload() {
    let (job, ada, ci) = (key(), key(), key());
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("ada.pem"), ada.public().to_pem()).expect("write a key");
    let workloads = Issuer::start(&[&ci]);
    let trusted = json!([{
        "name": "ci", "issuer": workloads.name(), "audience": ISSUER,
        "rules": [{"claims": {"repository": "acme/*", "ref": "refs/heads/main"}, "client": "deploy"}],
    }]);
    let settings = Settings::new()
        .client_with(signer("job", &job))
        .client_with(ClientSettings::new("deploy", &["read:logs-*"]).without_secret())
        .top("developer_keys", json!({"directory": folder.path(), "scopes": ["read:logs-*"]}))
        .top("trusted_issuers", trusted);
    let gateway = Gateway::start(settings);
    let url = OsString::from(format!("https://localhost:{}", gateway.port()));
    let ca = gateway.ca();
    let (job_pem, ada_pem, ci_pem, issuer) = (pem(&job), pem(&ada), pem(&ci), workloads.name());
    let mut variables: Vec<(&str, &OsStr)> = vec![("URL", &url), ("CA", ca.as_os_str())];
    for (name, value) in [
        ("ISSUER", ISSUER),
        ("CLIENT_KEY", &job_pem),
        ("DEVELOPER_KEY", &ada_pem),
        ("WORKLOADS", &issuer),
        ("WORKLOADS_KEY", &ci_pem),
        ("WORKLOADS_KID", ci.kid()),
    ] {
        variables.push((name, OsStr::new(value)));
    }
    let found: Value = report(python_with_authlib(&workspace().join("e2e/python/assertions.py")), &variables);
    let logs = json!(Engine::get().count("logs-*"));
    for who in ["client", "developer", "workload"] {
        assert_eq!(found[who]["hits"], logs, "{who}: {found}");
    }
    assert_eq!(found["workload"]["lifetime"], 600, "{found}");
    // What it does when it is not told otherwise is refused, in words that help.
    let too_long = found["too_long"].as_str().expect("a text");
    assert!(too_long.contains("invalid_client") && too_long.contains("at most 300 seconds"), "{too_long}");
    assert!(found["other_key"].as_str().expect("a text").contains("not signed with a key"), "{found}");
}
