//! The key of the tokens the engine sees: replaced while requests pass, by the engine's configuration or fetched by the
//! engine, with no request refused, whatever ends in between; and good for nothing but that.

use std::ffi::OsStr;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::scope;
use std::time::Duration;

use e2e::{
    Claims, Client, Driver, Engine, Forge, Gateway, ISSUER, OnDrop, Run, Settings, Upstream, json_answer, run_to_end,
    until,
};
use oauth4os_tokens::clock::{Clock, SystemClock};
use oauth4os_tokens::keys::SigningKey;
use serde_json::{Value, json};

const KEYS: &str = "/_oauth4os/v1/engine/keys";
const AUTHINFO: &str = "/_plugins/_security/authinfo";

/// The longest pause between two looks at the engine, and time for the look.
const LOOKED: Duration = Duration::from_secs(60);
/// The least lifetime of a token for the engine, what is added, and the pause.
const ENDED: Duration = Duration::from_secs(180);

/// One test at a time, and the engine set up as the other tests need it afterwards.
fn alone() -> (MutexGuard<'static, ()>, OnDrop<impl FnMut()>) {
    static LOCK: Mutex<()> = Mutex::new(());
    let _ = Engine::get_alone();
    let guard = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    let keeper = Gateway::start(Settings::new().driver(Driver::Jwt));
    (guard, OnDrop(move || succeeds(&keeper.engine_command(&["setup", "--apply"]))))
}

fn settings() -> Settings {
    base().client("reader", &["read:logs-*"])
}

fn base() -> Settings {
    Settings::new().driver(Driver::Jwt).tokens("internal_lifetime", json!("60s"))
}

fn succeeds(run: &Run) {
    assert!(run.succeeded, "{run:?}");
}

/// What the gateway says of its keys, of its only cluster.
fn keys(gateway: &Gateway) -> Value {
    gateway.administrator().get(KEYS).expect(200).json()["clusters"][0].clone()
}

fn signing(gateway: &Gateway) -> String {
    keys(gateway)["signing"].as_str().expect("a key").to_owned()
}

fn rotate(gateway: &Gateway) -> String {
    let made = gateway.administrator().post(KEYS).expect(201).json();
    made["kid"].as_str().expect("a key").to_owned()
}

fn wait_until_signing(gateway: &Gateway, kid: &str) {
    until("the new key to sign", LOOKED, || (signing(gateway) == kid).then_some(()));
}

fn wait_until_retired(gateway: &Gateway) {
    until("the key before to be retired", ENDED, || (keys(gateway)["retiring"] == json!([])).then_some(()));
}

/// `oauth4os engine rotate-key` as this client.
fn command(gateway: &Gateway, client: &str, secret: &str, more: &[&str]) -> Run {
    let file = gateway.folder().join("secret");
    fs::write(&file, format!("{secret}\n")).expect("write a file");
    let (config, ca) = (gateway.folder().join("oauth4os.yaml"), gateway.ca());
    let url = format!("https://localhost:{}", gateway.port());
    let mut arguments: Vec<&OsStr> =
        ["engine", "rotate-key", "--gateway", &url, "--client-id", client].map(OsStr::new).into();
    let files = [("--config", &config), ("--gateway-ca", &ca), ("--client-secret-file", &file)];
    arguments.extend(files.iter().flat_map(|(name, path)| [OsStr::new(*name), path.as_os_str()]));
    arguments.extend(more.iter().map(OsStr::new));
    run_to_end(&arguments, &[])
}

fn administrator(gateway: &Gateway) -> (String, String) {
    let text = fs::read_to_string(gateway.folder().join("state/first-admin.json")).expect("the administrator");
    let credential: Value = serde_json::from_str(&text).expect("JSON");
    let text = |name: &str| credential[name].as_str().expect("a text").to_owned();
    (text("client_id"), text("client_secret"))
}

/// The status of the engine itself for a token that is signed with this key.
fn at_the_engine(key: &SigningKey) -> u16 {
    let now = SystemClock.now().as_secs();
    let claims = json!({
        "iss": ISSUER, "sub": "oauth4os:reader", "aud": "opensearch", "roles": ["oauth4os_read"],
        "iat": now - 1, "exp": now + 60, "jti": "int_e2e", "o4s_read": "/(?:logs-.*)/",
    });
    let token = Claims::new(json!({"alg": "RS256", "typ": "JWT", "kid": key.kid()}), claims).sign(key);
    asks_the_engine(&token)
}

fn asks_the_engine(token: &str) -> u16 {
    Client::new(Engine::get().port, &Engine::get().ca).with_token(token).get(AUTHINFO).send().status
}

/// Does something while clients search: some under one identity that is kept, some under ever new ones. All of them are
/// answered.
fn under_load(gateway: &Gateway, work: impl FnOnce()) {
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let refused = Mutex::new(Vec::new());
    scope(|scope| {
        for worker in 0..3 {
            let (is_over, answered, refused) = (&is_over, &answered, &refused);
            scope.spawn(move || {
                let kept = gateway.with("reader");
                let mut number = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let (client, target) = if worker == 0 {
                        number += 1;
                        // Another scope, and so another identity.
                        let scope = format!("read:logs-app-2* read:logs-e2e-{number}");
                        (
                            gateway.http().with_token(&gateway.token_with("reader", &scope)),
                            "/logs-app-2*/_search?size=0",
                        )
                    } else {
                        (kept.clone(), "/logs-*/_search?size=0")
                    };
                    let answer = client.get(target).send();
                    answered.fetch_add(1, Ordering::SeqCst);
                    if answer.status != 200 {
                        refused.lock().expect("the lock").push(format!("{} {}", answer.status, answer.text()));
                    }
                }
            });
        }
        let over = OnDrop(|| is_over.store(true, Ordering::SeqCst));
        work();
        let before = answered.load(Ordering::SeqCst);
        until("searches after it", LOOKED, || (answered.load(Ordering::SeqCst) > before + 20).then_some(()));
        drop(over);
    });
    let refused = refused.into_inner().expect("the lock");
    let answered = answered.into_inner();
    assert!(refused.is_empty(), "{} of {answered}: {:?}", refused.len(), &refused[..refused.len().min(3)]);
    println!("{answered} requests");
}

/// Nothing but what a verifier needs, and every key once.
fn published(gateway: &Gateway, path: &str) -> Vec<String> {
    let document = gateway.http().get(path).expect(200).json();
    let mut kids = Vec::new();
    for key in document["keys"].as_array().expect("keys") {
        let mut members: Vec<&str> = key.as_object().expect("a key").keys().map(String::as_str).collect();
        members.sort_unstable();
        assert!(
            members == ["alg", "e", "kid", "kty", "n", "use"]
                || members == ["alg", "crv", "kid", "kty", "use", "x", "y"],
            "{members:?}"
        );
        kids.push(key["kid"].as_str().expect("an id").to_owned());
    }
    kids
}

#[test]
fn a_key_that_stands_in_the_configuration_is_replaced_without_a_failed_request() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let forge: Forge = gateway.forge();
    let old = forge.internal().kid().to_owned();
    assert_eq!((signing(&gateway), at_the_engine(forge.internal())), (old.clone(), 200));
    under_load(&gateway, || {
        // Whoever is not an administrator gets nowhere, and is on record.
        let refused = gateway.with("reader").post(KEYS).expect(403);
        assert_eq!(refused.json()["error"], "insufficient_scope", "{}", refused.text());
        let event = gateway.audit_of(refused.request_id());
        assert_eq!((&event["event"], &event["decision"]), (&json!("engine_key.made"), &json!("deny")));
        assert_eq!(event["client"], "reader");
        gateway.with("reader").get(KEYS).expect(403);
        gateway.http().post(KEYS).expect(401);
        let refused = command(&gateway, "reader", gateway.secret("reader"), &[]);
        assert!(
            !refused.succeeded && refused.stderr.contains("answers 403: ") && refused.stderr.contains("admin:gateway"),
            "{refused:?}"
        );
        assert!(!refused.stderr.contains(gateway.secret("reader")));
        assert_eq!(keys(&gateway)["waiting"], Value::Null);

        let (id, secret) = administrator(&gateway);
        let made = command(&gateway, &id, &secret, &[]);
        assert!(made.succeeded && made.stdout.starts_with("a new key was made: `"), "{made:?}");
        assert!(
            made.stdout.contains("waits until the engine takes it: run `oauth4os engine setup --apply`"),
            "{made:?}"
        );
        let new = keys(&gateway)["waiting"].as_str().expect("a key that waits").to_owned();
        let again = command(&gateway, &id, &secret, &[]);
        assert!(again.stdout.starts_with(&format!("there is a new key already: `{new}`")), "{again:?}");
        let event = gateway
            .audit_where("the new key", |event| event["event"] == "engine_key.made" && event["decision"] == "allow");
        assert_eq!((&event["kid"], &event["client"]), (&json!(new), &json!(id)));

        // It waits, visibly, as long as the engine does not know it.
        until("the engine to be asked", LOOKED, || keys(&gateway)["problem"].is_string().then_some(()));
        let status = command(&gateway, &id, &secret, &["--status"]);
        assert!(
            status.succeeded && status.stdout.contains(&format!("the engine does not take the key `{new}` yet")),
            "{status:?}"
        );
        let checked = gateway.engine_command(&["check"]);
        assert!(
            checked.stdout.contains(&format!("keys: the key `{new}` waits until the engine takes it")),
            "{checked:?}"
        );
        assert_eq!(signing(&gateway), old);
        let printed = gateway.engine_command(&["setup", "--print"]).stdout;
        assert_eq!(printed.matches("-----BEGIN PUBLIC KEY-----").count(), 2, "{printed}");
        assert!(!printed.contains("PRIVATE"));

        succeeds(&gateway.engine_command(&["setup", "--apply"]));
        wait_until_signing(&gateway, &new);
        let event = gateway.audit_where("the change", |event| event["event"] == "engine_key.active");
        assert_eq!(event["kid"], json!(new));
        until("the store to have it", LOOKED, || (gateway.forge().internal().kid() == new).then_some(()));
        // Tokens that were made before are good until they end.
        assert_eq!(at_the_engine(forge.internal()), 200);
        assert_eq!(keys(&gateway)["retiring"][0]["kid"], json!(old));
        succeeds(&gateway.engine_command(&["check"]));

        // When they have ended, the one before is to go from the engine, which the gateway sees.
        until("the last token to end", ENDED, || {
            keys(&gateway)["problem"]
                .as_str()
                .filter(|problem| problem.contains(&format!("still takes tokens of the key `{old}`")))?;
            Some(())
        });
        let checked = gateway.engine_command(&["check"]);
        assert!(
            !checked.succeeded && checked.stdout.contains(&format!("the engine still takes tokens of the key `{old}`")),
            "{checked:?}"
        );
        succeeds(&gateway.engine_command(&["setup", "--apply"]));
        wait_until_retired(&gateway);
        assert_eq!(at_the_engine(forge.internal()), 401);
        assert_eq!(at_the_engine(gateway.forge().internal()), 200);
        let event = gateway.audit_where("the end", |event| event["event"] == "engine_key.retired");
        assert_eq!(event["kid"], json!(old));
        let checked = gateway.engine_command(&["check"]);
        assert!(checked.succeeded && !checked.stdout.contains("keys: "), "{checked:?}");
    });
    // Access tokens are nothing to the engine, whoever signs them, nor are the engine's to the gateway.
    assert_eq!(asks_the_engine(&gateway.token("reader")), 401);
    let claims = forge.claims("reader", "read:logs-*").with("aud", json!("opensearch"));
    assert_eq!(asks_the_engine(&claims.sign(forge.access())), 401);
    let internal = gateway.forge();
    let claims = forge
        .claims("reader", "read:logs-*")
        .with_header("alg", json!("RS256"))
        .with_header("kid", json!(internal.internal().kid()));
    gateway.http().with_token(&claims.sign(internal.internal())).get("/logs-*/_search").expect(401);
    for path in ["/_oauth4os/engine/jwks.json", "/_oauth4os/engine/main/jwks.json"] {
        gateway.http().get(path).expect(404);
    }
}

/// Has the engine fetch the keys from this gateway.
fn fetched_from(gateway: &Gateway) {
    let uri = format!("https://localhost:{}/_oauth4os/engine/jwks.json", gateway.port());
    gateway.change_config(|config| {
        config["upstream"]["engine"]["jwt"] = json!({"keys": "jwks", "jwks_uri": uri, "jwks_ca": "gateway.pem"});
    });
    gateway.stop();
    gateway.start_again();
}

#[test]
fn an_engine_that_fetches_the_keys_goes_over_by_itself_whatever_is_killed() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let forge: Forge = gateway.forge();
    let old = forge.internal().kid().to_owned();
    gateway.with("reader").get("/logs-*/_search").expect(200);
    fetched_from(&gateway);
    under_load(&gateway, || {
        succeeds(&gateway.engine_command(&["setup", "--apply"]));
        let domain = &Engine::get().admin().get("/_plugins/_security/api/securityconfig").expect(200).json()["config"]
            ["dynamic"]["authc"]["oauth4os"];
        assert_eq!(domain["http_authenticator"]["type"], "openid", "{domain}");
        assert_eq!(gateway.engine_command(&["setup", "--apply"]).stdout, "nothing to change\n");
        let checked = gateway.engine_command(&["check"]);
        assert!(
            checked.succeeded && checked.stdout.contains("forged tokens: 401 for a token for another audience"),
            "{checked:?}"
        );
    });
    // Two sets of keys that have nothing in common.
    let access = published(&gateway, "/oauth/jwks");
    assert_eq!(published(&gateway, "/_oauth4os/engine/jwks.json"), std::slice::from_ref(&old));
    assert!(!access.contains(&old) && access == [forge.access().kid()]);
    assert_eq!(asks_the_engine(&gateway.token("reader")), 401);
    let claims = forge.claims("reader", "read:logs-*").with("aud", json!("opensearch"));
    assert_eq!(asks_the_engine(&claims.sign(forge.access())), 401);

    let mut new = String::new();
    under_load(&gateway, || {
        new = rotate(&gateway);
        wait_until_signing(&gateway, &new);
    });
    gateway.kill();
    gateway.start_again();
    under_load(&gateway, || {
        assert_eq!(signing(&gateway), new);
        assert_eq!(keys(&gateway)["retiring"][0]["kid"], json!(old));
        assert_eq!(published(&gateway, "/_oauth4os/engine/jwks.json"), [new.clone(), old.clone()]);
        assert_eq!(at_the_engine(forge.internal()), 200);
        // The configuration of the engine is not touched again: it lets go of the key by itself.
        wait_until_retired(&gateway);
        assert_eq!(published(&gateway, "/_oauth4os/engine/jwks.json"), std::slice::from_ref(&new));
        assert_eq!(at_the_engine(forge.internal()), 401);
        assert_eq!(gateway.engine_command(&["setup"]).stdout, "nothing to change\n");
    });
    let removed = gateway.engine_command(&["setup", "--remove"]);
    assert!(removed.succeeded && removed.stdout.starts_with("- auth domain `oauth4os`\n"), "{removed:?}");
    assert_eq!(at_the_engine(gateway.forge().internal()), 401);
}

#[test]
fn a_rotation_goes_on_where_it_was_killed() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let old = signing(&gateway);
    let restart = || {
        gateway.kill();
        gateway.start_again();
        gateway.with("reader").get("/logs-*/_search").expect(200);
    };
    let new = rotate(&gateway);
    restart();
    assert_eq!((signing(&gateway), &keys(&gateway)["waiting"]), (old.clone(), &json!(new)));
    gateway.administrator().post(KEYS).expect(200);
    // The engine takes it while nobody is there to see it.
    gateway.kill();
    succeeds(&gateway.engine_command(&["setup", "--apply"]));
    gateway.start_again();
    wait_until_signing(&gateway, &new);
    restart();
    assert_eq!((signing(&gateway), &keys(&gateway)["waiting"]), (new.clone(), &Value::Null));
    until("the end of the one before", LOOKED, || keys(&gateway)["retiring"][0]["ends_at"].is_string().then_some(()));
    // The next one, while the one before has not ended.
    let next = rotate(&gateway);
    restart();
    let printed = gateway.engine_command(&["setup", "--print"]).stdout;
    assert_eq!(printed.matches("-----BEGIN PUBLIC KEY-----").count(), 3, "{printed}");
    succeeds(&gateway.engine_command(&["setup", "--apply"]));
    wait_until_signing(&gateway, &next);
    restart();
    assert_eq!(signing(&gateway), next);
    let retiring: Vec<Value> =
        keys(&gateway)["retiring"].as_array().expect("keys").iter().map(|key| key["kid"].clone()).collect();
    assert!(retiring.len() == 2 && retiring.contains(&json!(old)) && retiring.contains(&json!(new)), "{retiring:?}");
}

/// The id of the key that a request to a double was signed with.
fn kid_of(authorization: &str) -> String {
    let token = authorization.strip_prefix("Bearer ").expect("a token");
    let header = e2e::base64url_decode(token.split('.').next().expect("a header"));
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("an id").to_owned()
}

#[test]
fn each_cluster_goes_over_when_its_engine_does_and_holds_up_no_other() {
    static IS_READY: AtomicBool = AtomicBool::new(false);
    let _alone = alone();
    let other = Upstream::start(|turn| {
        if turn.received.target != AUTHINFO {
            return turn.oblige();
        }
        turn.discard_body();
        turn.write(&if IS_READY.load(Ordering::SeqCst) {
            json_answer(200, r#"{"user_name":"oauth4os:_gateway"}"#)
        } else {
            json_answer(401, "{}")
        });
    });
    let gateway = Gateway::start(
        base()
            .cluster(json!({"name": "main", "path_prefix": "/main"}))
            .cluster_at(json!({"name": "other", "path_prefix": "/other"}), &other.url())
            .cluster_at(json!({"name": "down", "path_prefix": "/down"}), "http://127.0.0.1:1")
            .client("both", &["read:main/logs-*", "read:other/logs-*"]),
    );
    succeeds(&gateway.engine_command(&["setup", "--apply", "--cluster", "main"]));
    let both = gateway.with("both");
    let of = |name: &str| {
        let all = gateway.administrator().get(KEYS).expect(200).json();
        let all = all["clusters"].as_array().expect("clusters").clone();
        all.into_iter().find(|cluster| cluster["cluster"] == name).expect("the cluster")
    };
    let sent = || {
        both.get("/other/logs-1/_search").expect(200);
        let requests = other.requests_for("/logs-1/_search");
        kid_of(requests.last().expect("a request").header("authorization")[0])
    };
    let old = of("main")["signing"].as_str().expect("a key").to_owned();
    // Before it was set up the gateway was nobody to this cluster.
    until("the engine to be set up", LOOKED, || (both.get("/main/logs-*/_search").send().status == 200).then_some(()));
    assert_eq!(sent(), old);

    let new = rotate(&gateway);
    succeeds(&gateway.engine_command(&["setup", "--apply", "--cluster", "main"]));
    until("the first to go over", LOOKED, || (of("main")["signing"] == json!(new)).then_some(()));
    both.get("/main/logs-*/_search").expect(200);
    until("the others to be asked", LOOKED, || {
        (of("other")["problem"].is_string() && of("down")["problem"].is_string()).then_some(())
    });
    assert!(of("down")["problem"].as_str().expect("a sentence").contains("127.0.0.1:1"), "{}", of("down"));
    for name in ["other", "down"] {
        assert_eq!((&of(name)["signing"], &of(name)["waiting"]), (&json!(old), &json!(new)), "{}", of(name));
    }
    assert_eq!(sent(), old);
    gateway.kill();
    gateway.start_again();
    assert_eq!((&of("main")["signing"], sent()), (&json!(new), old));
    both.get("/main/logs-*/_search").expect(200);

    IS_READY.store(true, Ordering::SeqCst);
    gateway.administrator().post(KEYS).expect(200);
    until("the second to go over", LOOKED, || (of("other")["signing"] == json!(new)).then_some(()));
    // An identity that was made before is used until it ends; a new one is not made with the old key.
    let fresh = gateway.http().with_token(&gateway.token_with("both", "read:other/logs-2*"));
    fresh.get("/other/logs-2/_search").expect(200);
    assert_eq!(kid_of(other.the_request_for("/logs-2/_search").header("authorization")[0]), new);
    assert_eq!(of("down")["waiting"], json!(new));
}
