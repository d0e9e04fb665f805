//! The driver `api_key`: requests go as API keys of the engine's own, which an administrator's command makes and replaces.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{ApiKeyEngine, ClientSettings, Gateway, Run, Settings};
use serde_json::{Value, json};

const ADMIN: [&str; 2] = ["--admin-user", "admin"];

fn keys(keys: Value) -> Value {
    json!({"directory": "engine-keys", "keys": keys, "lifetime": "30d"})
}

fn settings(engine: &ApiKeyEngine) -> Settings {
    let client =
        |id: &str, key: &str, scopes: &[&str]| ClientSettings::new(id, scopes).with("backend_user", json!(key));
    Settings::new()
        .client_with(client("reader", "logs", &["read:logs-*"]))
        .client_with(client("narrow", "logs", &["search:logs-app-*"]))
        .client_with(client("writer", "orders", &["write:orders-*"]))
        .upstream(&engine.upstream().url())
        .engine_option("driver", json!("api_key"))
        .engine_option("strict_aliases", json!("enforce"))
        .engine_option(
            "api_key",
            keys(json!({"logs": {"scopes": ["read:logs-*"]}, "orders": {"scopes": ["write:orders-*"]}})),
        )
}

fn setup(gateway: &Gateway, more: &[&str]) -> Run {
    gateway.command(&[&["engine", "setup"], more, &ADMIN].concat(), &[ApiKeyEngine::PASSWORD])
}

/// A gateway whose keys were made before it was started.
fn start(engine: &ApiKeyEngine) -> Gateway {
    Gateway::start_after(settings(engine), |gateway| {
        let run = setup(gateway, &["--apply"]);
        assert!(run.succeeded, "{}{}", run.stdout, run.stderr);
    })
}

fn held(gateway: &Gateway, name: &str) -> Value {
    let path = gateway.folder().join("engine-keys").join(format!("{name}.json"));
    serde_json::from_str(&fs::read_to_string(path).expect("a key")).expect("JSON")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn one_key_for_each_name_is_made_once_and_permits_what_its_scopes_say() {
    let engine = ApiKeyEngine::start();
    let gateway = Gateway::start_after(settings(&engine), |gateway| {
        let before = gateway.command(&["serve"], &[]);
        assert!(!before.succeeded && before.stderr.contains("oauth4os engine setup --apply"), "{}", before.stderr);
        let plan = setup(gateway, &[]);
        assert!(plan.succeeded && plan.stdout.contains("+ API key `logs`"), "{}{}", plan.stdout, plan.stderr);
        assert!(engine.keys().is_empty(), "a plan has made keys");
        let made = setup(gateway, &["--apply"]);
        assert!(made.succeeded, "{}{}", made.stdout, made.stderr);
        assert!(!format!("{}{}", made.stdout, made.stderr).contains("os_"), "a key is shown");
    });
    let made = engine.keys();
    assert_eq!(made.len(), 3);
    let of = |name: &str| made.iter().find(|key| key.name.contains(&format!("-{name}-"))).expect("a key");
    assert_eq!(of("logs").index_permissions[0]["index_pattern"], json!(["/(?:logs-.*)/"]));
    let can = |name: &str, action: &str| of(name).index_permissions.to_string().contains(&format!("\"{action}\""));
    assert!(can("logs", "indices:data/read/search") && !can("logs", "indices:data/write/index"));
    assert!(can("orders", "indices:data/write/index") && !can("orders", "indices:data/read/search"));
    assert!(of("orders").cluster_permissions.to_string().contains("\"indices:data/write/bulk\""));
    assert_eq!(of("names").index_permissions[0]["allowed_actions"], json!(["indices:admin/resolve/index"]));
    assert!(!format!("{:?}", made.iter().map(|key| &key.index_permissions).collect::<Vec<_>>()).contains("${"));
    // Nothing is left to do, and no other key is made.
    let again = setup(&gateway, &["--apply"]);
    assert!(again.succeeded && again.stdout.contains("nothing to change"), "{}", again.stdout);
    assert_eq!(engine.keys().len(), 3);
    let folder = gateway.folder().join("engine-keys");
    assert_eq!((mode(&folder), mode(&folder.join("logs.json"))), (0o700, 0o600));
    // A file that others may read is refused, when the gateway starts and by a reload.
    fs::set_permissions(folder.join("logs.json"), fs::Permissions::from_mode(0o644)).expect("set permissions");
    assert_eq!(gateway.reload(), "invalid");
    assert!(gateway.log().contains("chmod 600"), "{}", gateway.log());
    gateway.with("reader").get("/logs-a/_search").expect(200);
}

#[test]
fn requests_go_as_the_key_and_the_gateway_narrows() {
    let engine = ApiKeyEngine::start();
    let gateway = start(&engine);
    let [reader, narrow, writer] = ["reader", "narrow", "writer"].map(|id| gateway.with(id));
    for (client, target, key) in [
        (&reader, "/logs-a/_search", "logs"),
        (&narrow, "/logs-app-1/_search", "logs"),
        (&writer, "/orders-1/_doc", "orders"),
    ] {
        let method = if key == "orders" { "POST" } else { "GET" };
        let mut request = client.request(method, target).header("X-Proxy-User", "admin");
        if key == "orders" {
            request = request.json(&json!({}));
        }
        request.expect(200);
        let received = engine.upstream().the_request_for(target);
        let token = held(&gateway, key)["token"].as_str().expect("a token").to_owned();
        assert_eq!(received.header("authorization"), [format!("ApiKey {token}")]);
        assert_eq!(received.header("x-proxy-user"), Vec::<&str>::new());
    }
    // What the key would permit and the token does not.
    narrow.get("/logs-b/_search").expect(403);
    narrow.get("/logs-app-1/_doc/1").expect(403);
    reader.get("/orders-1/_search").expect(403);
    // Who shares a key shares nothing that was opened with it.
    let scroll = reader.get("/logs-pages/_search?scroll=1m").expect(200);
    let id = scroll.json()["_scroll_id"].as_str().expect("a scroll").to_owned();
    let page = |client: &e2e::Client| client.post("/_search/scroll").json(&json!({"scroll_id": id})).send();
    assert_eq!(page(&reader).status, 200);
    assert_eq!(page(&narrow).status, 403);
    let all = gateway.audit_text() + &gateway.log();
    assert!(!all.contains("os_"), "a key was written down");
}

#[test]
fn a_key_is_replaced_without_a_failed_request_and_the_old_one_revoked_later() {
    let engine = ApiKeyEngine::start();
    let gateway = start(&engine);
    let reader = gateway.with("reader");
    let first = held(&gateway, "logs");
    let (is_done, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::SeqCst) {
                reader.get("/logs-a/_search").expect(200);
                sent.fetch_add(1, Ordering::SeqCst);
            }
        });
        let more = |count: usize| {
            let from = sent.load(Ordering::SeqCst);
            e2e::until("requests to pass", Duration::from_secs(30), || {
                (sent.load(Ordering::SeqCst) >= from + count).then_some(())
            });
        };
        more(20);
        // Something else is permitted, so another key is needed.
        gateway.change_config(|config| {
            config["upstream"]["engine"]["api_key"]["keys"]["logs"]["scopes"] =
                json!(["read:logs-*", "monitor:logs-*"]);
        });
        let run = setup(&gateway, &["--apply"]);
        assert!(run.succeeded && run.stdout.contains("~ API key `logs`: it permits something else"), "{}", run.stdout);
        // Until the gateway knows of the new one, the old one is in force, however often somebody asks.
        assert!(setup(&gateway, &["--apply"]).stdout.contains("nothing to change"));
        more(20);
        assert_eq!(gateway.reload(), "applied");
        more(20);
        engine.age(Duration::from_secs(2 * 3_600));
        let run = setup(&gateway, &["--apply"]);
        assert!(run.succeeded && run.stdout.contains("- API key"), "{}{}", run.stdout, run.stderr);
        more(20);
        is_done.store(true, Ordering::SeqCst);
    });
    let second = held(&gateway, "logs");
    assert_ne!(first["token"], second["token"]);
    let revoked: Vec<_> = engine.keys().into_iter().filter(|key| key.is_revoked).map(|key| key.id).collect();
    assert_eq!(revoked, [first["id"].as_str().expect("an id")]);
    let sent = engine.upstream().requests_for("/logs-a/_search");
    let last = sent.last().expect("a request");
    assert_eq!(last.header("authorization"), [format!("ApiKey {}", second["token"].as_str().expect("a token"))]);
    // One that ends soon is replaced, too.
    gateway.change_config(|config| config["upstream"]["engine"]["api_key"]["lifetime"] = json!("90d"));
    let run = setup(&gateway, &[]);
    assert_eq!(run.stdout.matches("it ends soon").count(), 3, "{}", run.stdout);
}

#[test]
fn what_the_engine_does_not_permit_is_said_before_anything_is_made() {
    let engine = ApiKeyEngine::start();
    let gateway = start(&engine);
    let rename = |gateway: &Gateway, lifetime: &str| {
        gateway.change_config(|config| {
            let driver = &mut config["upstream"]["engine"]["api_key"];
            driver["keys"]["metrics"] = json!({"scopes": ["read:metrics-*"]});
            driver["lifetime"] = json!(lifetime);
        });
    };
    rename(&gateway, "30d");
    for (rule, value, said) in [
        ("enabled", json!(false), "api_tokens.enabled: true"),
        ("max_tokens", json!(3), "raise `config.dynamic.api_tokens.max_tokens`"),
        ("max_duration_seconds", json!(86_400), "lower `upstream.engine.api_key.lifetime`"),
    ] {
        let usual = match rule {
            "enabled" => json!(true),
            "max_tokens" => json!(20),
            _ => json!(7_776_000),
        };
        engine.set_rule(rule, value);
        let run = setup(&gateway, &["--apply"]);
        assert!(!run.succeeded && run.stderr.contains(said), "{rule}: {}{}", run.stdout, run.stderr);
        assert_eq!(engine.keys().len(), 3, "{rule}");
        engine.set_rule(rule, usual);
    }
    let wrong = gateway
        .command(&["engine", "setup", "--apply", "--admin-user", "admin"], &[("OAUTH4OS_ENGINE_PASSWORD", "wrong")]);
    assert!(!wrong.succeeded && wrong.stderr.contains("restapi.roles_enabled"), "{}", wrong.stderr);
    assert!(setup(&gateway, &["--apply"]).succeeded);
    assert_eq!(engine.live().len(), 4);
    // All of it is taken away again, and of no other gateway.
    let other = Gateway::start_after(settings(&engine).top("issuer", json!("https://other.example.com")), |other| {
        assert!(setup(other, &["--apply"]).succeeded);
    });
    let run = setup(&gateway, &["--remove"]);
    assert!(run.succeeded, "{}{}", run.stdout, run.stderr);
    assert_eq!(fs::read_dir(gateway.folder().join("engine-keys")).expect("a folder").count(), 0);
    assert_eq!(engine.live().len(), 3);
    other.with("reader").get("/logs-a/_search").expect(200);
}

#[test]
fn a_key_the_engine_does_not_take_any_more_lets_nothing_through() {
    let engine = ApiKeyEngine::start();
    let gateway = start(&engine);
    let (reader, writer) = (gateway.with("reader"), gateway.with("writer"));
    reader.get("/logs-a/_search").expect(200);
    engine.revoke(held(&gateway, "logs")["id"].as_str().expect("an id"));
    let refused = reader.get("/logs-a/_search").expect(502);
    let text = refused.text();
    assert!(text.contains("identity") && !text.contains("os_"), "{text}");
    writer.post("/orders-1/_doc").json(&json!({})).expect(200);
    let check = gateway.command(&[&["engine", "check"][..], &ADMIN].concat(), &[ApiKeyEngine::PASSWORD]);
    assert!(!check.succeeded && check.stdout.contains("`logs`"), "{}{}", check.stdout, check.stderr);
    let run = setup(&gateway, &["--apply"]);
    assert!(run.succeeded && run.stdout.contains("~ API key `logs`: it was revoked"), "{}", run.stdout);
    assert_eq!(gateway.reload(), "applied");
    reader.get("/logs-a/_search").expect(200);
    let check = gateway.command(&[&["engine", "check"][..], &ADMIN].concat(), &[ApiKeyEngine::PASSWORD]);
    assert!(check.succeeded, "{}{}", check.stdout, check.stderr);
    // One that has ended is not even sent.
    let mut ended = held(&gateway, "logs");
    ended["expires_at"] = json!(1_000);
    gateway.write_file("engine-keys/logs.json", &ended.to_string());
    assert_eq!(gateway.reload(), "applied");
    let before = engine.upstream().requests_for("/logs-b/_search").len();
    let refused = reader.get("/logs-b/_search").expect(503);
    assert!(refused.text().contains("engine setup --apply"), "{}", refused.text());
    assert_eq!(engine.upstream().requests_for("/logs-b/_search").len(), before);
}

#[test]
fn clients_stay_within_their_key() {
    let engine = ApiKeyEngine::start();
    let gateway = start(&engine);
    let said = |change: &dyn Fn(&mut Value)| {
        gateway.change_config(change);
        let run = gateway.check_config();
        assert!(!run.succeeded, "{}", run.stdout);
        run.stderr
    };
    let with_scopes = |scopes: Value| {
        said(&|config| {
            config["clients"][0]["backend_user"] = json!("logs");
            config["clients"][0]["scopes"] = scopes.clone();
        })
    };
    let wider = with_scopes(json!(["read:logs-*", "read:orders-*"]));
    assert!(wider.contains("`reader`") && wider.contains("`logs`"), "{wider}");
    let unknown = said(&|config| {
        config["clients"][0]["scopes"] = json!(["read:logs-*"]);
        config["clients"][0]["backend_user"] = json!("nobody");
    });
    assert!(unknown.contains("`nobody`"), "{unknown}");
    let rows = said(&|config| {
        config["clients"][0]["backend_user"] = json!("logs");
        config["clients"][0]["grants"] = json!([{"scope": "read:logs-x", "rows": {"term": {"tenant": "acme"}}}]);
    });
    assert!(rows.contains("rows"), "{rows}");
}
