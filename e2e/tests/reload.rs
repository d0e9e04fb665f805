//! SIGHUP: a changed configuration is in force on the next request, as a whole or not at all, and nobody's request
//! fails over it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use e2e::{Answer, Authority, Client, ClientSettings, Engine, Gateway, Settings, Upstream, dns};
use rcgen::{CertificateParams, SanType};
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("other", &["read:logs-*"])
}

fn start(settings: Settings) -> Gateway {
    Gateway::start(settings.upstream(&Upstream::obliging().url()))
}

fn client_of<'v>(config: &'v mut Value, id: &str) -> &'v mut Value {
    config["clients"].as_array_mut().expect("clients").iter_mut().find(|client| client["id"] == id).expect("a client")
}

/// A token of a client the harness does not know.
fn token_of(gateway: &Gateway, client: &ClientSettings, id: &str) -> Answer {
    let form = [("grant_type", "client_credentials")];
    gateway.http().with_basic(id, client.secret()).post("/oauth/token").form(&form).send()
}

#[test]
fn clients_come_and_go_and_lose_their_rights_on_the_next_request() {
    let gateway = start(settings());
    let (reader, other) = (gateway.with("reader"), gateway.with("other"));
    let narrow = gateway.http().with_token(&gateway.token_with("reader", "read:logs-app-*"));
    for client in [&reader, &other, &narrow] {
        client.get("/logs-app-1/_search").expect(200);
    }
    let new = ClientSettings::new("new", &["read:metrics-*"]);
    gateway.change_config(|config| {
        client_of(config, "reader")["scopes"] = json!(["read:logs-app-*", "read:metrics-*"]);
        config["clients"].as_array_mut().expect("clients").retain(|client| client["id"] != "other");
        config["clients"].as_array_mut().expect("clients").push(new.to_json());
    });
    other.get("/logs-app-1/_search").expect(200);
    assert_eq!(gateway.reload(), "applied");

    // A removed client, with a token that was known and valid, and with its secret.
    let gone = other.get("/logs-app-1/_search").expect(401);
    assert!(gone.text().contains("does not exist any more"), "{}", gone.text());
    assert_eq!(gateway.ask_for_token("other", &[]).status, 401);
    // One that may do less: a token of more than that is over, one within it goes on.
    let less = reader.get("/logs-app-1/_search").expect(401);
    assert!(less.text().contains("may not have all of its scopes"), "{}", less.text());
    narrow.get("/logs-app-1/_search").expect(200);
    gateway.with("reader").get("/metrics-1/_search").expect(200);
    // A new one.
    let token =
        token_of(&gateway, &new, "new").expect_ok().json()["access_token"].as_str().expect("a token").to_owned();
    gateway.http().with_token(&token).get("/metrics-1/_search").expect(200);
    let event = gateway.audit_where("the reload", |event| event["event"] == "config.reloaded");
    assert_eq!(event["decision"], "allow", "{event}");
}

#[test]
fn policies_and_limits_change_for_tokens_that_are_in_use() {
    let gateway = start(settings().policies("permit(principal, action, resource);"));
    let reader = gateway.with("reader");
    reader.get("/logs-web-1/_search").expect(200);
    gateway.write_file(
        "policies.cedar",
        "permit(principal, action, resource);\nforbid(principal, action, resource in Index::\"logs-web-*\");",
    );
    reader.get("/logs-web-1/_search").expect(200);
    assert_eq!(gateway.reload(), "applied");
    reader.get("/logs-web-1/_search").expect(403);
    reader.get("/logs-app-1/_search").expect(200);

    gateway.change_config(|config| {
        client_of(config, "reader")["rate_limit"] = json!({"requests_per_second": 1, "burst": 1});
    });
    assert_eq!(gateway.reload(), "applied");
    let _ = reader.get("/logs-app-1/_search").send();
    // What was used up stays used up: a reload is no fresh burst.
    assert_eq!(gateway.reload(), "applied");
    let refused =
        (0..50).map(|_| reader.get("/logs-app-1/_search").send()).filter(|answer| answer.status == 429).count();
    assert!(refused >= 40, "{refused} of 50 were refused, with one permitted each second");
    gateway.with("other").get("/logs-app-1/_search").expect(200);
}

#[test]
fn a_new_forbid_reaches_the_engine_with_the_next_request() {
    // The gateway of this build hands over identity and leaves the decision to the engine.
    let engine = Engine::get();
    let gateway = Gateway::start(settings().policies("permit(principal, action, resource);").engine_decides());
    let reader = gateway.with("reader");
    let index = "/logs-web-*/_count";
    reader.get(index).expect(200);
    gateway.write_file(
        "policies.cedar",
        "permit(principal, action, resource);\nforbid(principal, action, resource in Index::\"logs-web-*\");",
    );
    assert_eq!(gateway.reload(), "applied");
    let refused = reader.get(index).send();
    assert!(refused.status == 403 || refused.json()["count"] == 0, "{}: {}", engine.version, refused.text());
}

type Change = fn(&mut Value);

#[test]
fn what_cannot_change_is_named_and_nothing_changes() {
    let gateway = start(settings());
    let reader = gateway.with("reader");
    let changes: &[(&str, Change)] = &[
        ("listen", |config| config["listen"] = json!("127.0.0.1:1")),
        ("state.directory", |config| config["state"]["directory"] = json!("elsewhere")),
        ("workers", |config| config["workers"] = json!(3)),
        ("issuer", |config| config["issuer"] = json!("https://other.example.com")),
        ("limits.body", |config| config["limits"]["body"] = json!("1MiB")),
        ("upstream.engine.url", |config| config["upstream"]["engine"]["url"] = json!("http://127.0.0.1:9")),
        ("tokens.lifetime", |config| config["tokens"]["lifetime"] = json!("2h")),
        ("metrics.listen", |config| config["metrics"]["listen"] = json!("127.0.0.1:2")),
    ];
    let file = gateway.folder().join("oauth4os.yaml");
    let before = std::fs::read_to_string(&file).expect("the configuration");
    for (key, change) in changes {
        gateway.change_config(|config| {
            change(config);
            // What could change does not either.
            config["clients"] = json!([]);
        });
        assert_eq!(gateway.reload(), "needs_restart", "{key}");
        let sentence = format!("{key}: cannot change while the gateway runs; put it back, or restart the gateway");
        assert!(gateway.log().contains(&sentence), "{key}: {}", gateway.log());
        let event = gateway.audit_where(key, |event| {
            event["event"] == "config.reloaded" && event["reason"].as_str().is_some_and(|reason| reason.contains(key))
        });
        assert_eq!(event["decision"], "deny", "{event}");
        reader.get("/logs-1/_search").expect(200);
        gateway.with("other").get("/logs-1/_search").expect(200);
        gateway.write_file("oauth4os.yaml", &before);
    }
    assert_eq!(gateway.reload(), "applied");
    reader.get("/logs-1/_search").expect(200);
}

#[test]
fn a_broken_file_changes_nothing_and_says_why() {
    let gateway = start(settings().policies("permit(principal, action, resource);"));
    let reader = gateway.with("reader");
    let file = gateway.folder().join("oauth4os.yaml");
    let before = std::fs::read_to_string(&file).expect("the configuration");
    let with = |change: fn(&mut Value)| {
        let mut config: Value = serde_json::from_str(&before).expect("JSON");
        change(&mut config);
        config.to_string()
    };
    let broken = [
        ("{\"listen\": ".to_owned(), "the configuration is not valid"),
        (String::new(), "the configuration is not valid"),
        (with(|config| config["clinets"] = json!([])), "clinets"),
        (with(|config| config["clients"][0]["scopes"] = json!(["openid"])), "the client `reader` cannot be used"),
        (with(|config| config["clients"][1]["id"] = json!("reader")), "used twice"),
        (with(|config| config["clients"][0]["secret_hash"] = json!("sha256:1")), "64 hexadecimal digits"),
        (with(|config| config["policies"]["files"] = json!(["missing.cedar"])), "there is no file"),
        (with(|config| config["tls"]["key"] = json!("oauth4os.yaml")), "cannot read"),
    ];
    for (text, sentence) in broken {
        gateway.write_file("oauth4os.yaml", &text);
        assert_eq!(gateway.reload(), "invalid", "{sentence}");
        assert!(gateway.log().contains(sentence), "`{sentence}`: {}", gateway.log());
        reader.get("/logs-1/_search").expect(200);
        gateway.with("other").get("/logs-1/_search").expect(200);
    }
    gateway.write_file("oauth4os.yaml", &before);
    gateway.write_file("policies.cedar", "permit(principal, action");
    assert_eq!(gateway.reload(), "invalid");
    assert!(gateway.log().contains("the policies are refused"), "{}", gateway.log());
    reader.get("/logs-1/_search").expect(200);
    std::fs::remove_file(&file).expect("remove the file");
    assert_eq!(gateway.reload(), "invalid");
    reader.get("/logs-1/_search").expect(200);
}

#[test]
fn new_connections_get_the_new_certificate_and_old_ones_go_on() {
    let gateway = start(settings());
    let reader = gateway.with("reader");
    let mut old = reader.connect();
    let shown = old.certificate();
    old.write(&reader.get("/logs-1/_search").bytes());
    assert_eq!(old.answer().status, 200);

    gateway.replace_certificate();
    assert_eq!(reader.connect().certificate(), shown, "nobody has told the gateway yet");
    assert_eq!(gateway.reload(), "applied");
    let new_client = gateway.http_of_present_certificate();
    let new = new_client.connect();
    assert_ne!(new.certificate(), shown);
    // The old connection is none the worse, also after some more reloads.
    for _ in 0..3 {
        old.write(&reader.get("/logs-1/_search").bytes());
        assert_eq!(old.answer().status, 200);
        assert_eq!(gateway.reload(), "applied");
    }
    assert_eq!(new_client.connect().certificate(), new.certificate(), "the same files make the same certificate");

    // A key that does not fit changes nothing.
    let key = std::fs::read_to_string(gateway.folder().join("gateway-key.pem")).expect("the key");
    gateway.replace_certificate();
    gateway.write_file("gateway-key.pem", &key);
    assert_eq!(gateway.reload(), "invalid");
    assert_eq!(new_client.connect().certificate(), new.certificate());
}

/// A token of the reader, by a way of one's own.
fn token_by(gateway: &Gateway, http: &Client) -> String {
    let asking = http.with_basic("reader", gateway.secret("reader"));
    let answer = asking.post("/oauth/token").form(&[("grant_type", "client_credentials")]).expect(200);
    answer.json()["access_token"].as_str().expect("a token").to_owned()
}

/// Gives the gateway a certificate of this authority, which it shows with it, and its key.
fn rotate_certificate(gateway: &Gateway, servers: &Authority) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    let (certificate, key) = servers.issue(params).write(gateway.folder());
    let read = |path| std::fs::read_to_string(path).expect("what was written");
    gateway.write_file("gateway-key.pem", &read(key));
    gateway.write_file("gateway.pem", &(read(certificate) + &servers.pem()));
}

#[test]
fn a_hundred_reloads_under_load_fail_no_request() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let shipper =
        ClientSettings::new("shipper", &["read:logs-*"]).with("certificate", json!({"dns": "shipper.example.com"}));
    let taken = json!({"ca": "clients-ca.pem", "revoked": ["clients.crl"]});
    let gateway = start(
        settings()
            .client_with(shipper.without_secret())
            .policies("permit(principal, action, resource);")
            .file("clients-ca.pem", &clients.pem())
            .file("clients.crl", &clients.revoked(&[], 4000))
            .top("tls", json!({"certificate": "gateway.pem", "key": "gateway-key.pem", "client_certificates": taken})),
    );
    rotate_certificate(&gateway, &servers);
    assert_eq!(gateway.reload(), "applied");
    // They trust the authority, and so each of its certificates.
    let http = gateway.http_of_present_certificate();
    let reader = http.with_token(&token_by(&gateway, &http));
    let shipper = http.with_certificate(&clients.issue_to(dns("shipper.example.com")));
    let (stop, served, shown) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        let load = |reader, fresh: bool| {
            let (http, gateway, stop, served, shown) = (&http, &gateway, &stop, &served, &shown);
            let reader: &Client = reader;
            scope.spawn(move || {
                let mut kept = reader.connect();
                let mut number = 0_usize;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    if fresh {
                        kept = reader.connect();
                        shown.lock().expect("the lock").insert(kept.certificate());
                    }
                    let request = match number % 4 {
                        0 => reader.post("/logs-1/_search").json(&json!({"query": {"match_all": {}}})).bytes(),
                        1 => reader.get("/oauth/jwks").bytes(),
                        _ => reader.get("/logs-1/_search").bytes(),
                    };
                    kept.write(&request);
                    assert_eq!(kept.answer().status, 200);
                    if number.is_multiple_of(16) {
                        let _ = token_by(gateway, http);
                    }
                    served.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let threads = [(&reader, false), (&shipper, false), (&reader, true), (&shipper, true)];
        let threads: Vec<_> = threads.into_iter().map(|(client, fresh)| load(client, fresh)).collect();
        let new_client = |number: usize| ClientSettings::new(&format!("new-{number}"), &["read:logs-*"]);
        let before = served.load(Ordering::Relaxed);
        for number in 0..100 {
            gateway.change_config(|config| {
                config["clients"].as_array_mut().expect("clients").truncate(3);
                config["clients"].as_array_mut().expect("clients").push(new_client(number).to_json());
                client_of(config, "other")["scopes"] = json!([format!("read:logs-{number}-*")]);
            });
            gateway.write_file("policies.cedar", &format!("// {number}\npermit(principal, action, resource);"));
            rotate_certificate(&gateway, &servers);
            let revoked = clients.issue_to(dns("gone.example.com"));
            gateway.write_file("clients.crl", &clients.revoked(&[&revoked], 4000));
            assert_eq!(gateway.reload(), "applied");
            assert!(threads.iter().all(|thread| !thread.is_finished()), "a request failed at reload {number}");
        }
        stop.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("no request failed");
        }
        let during = served.load(Ordering::Relaxed) - before;
        assert!(during > 200, "only {during} requests, which proves little");
    });
    let applied = gateway.metric("oauth4os_config_reloads_total{result=\"applied\"}");
    assert_eq!(applied, 101.0);
    let shown = shown.into_inner().expect("the lock").len();
    assert!(shown > 10, "only {shown} certificates were seen");
    assert!(!gateway.audit().iter().any(|event| event["event"] == "request" && event["decision"] == "deny"));
    let client: &Client = &reader;
    client.get("/logs-1/_search").expect(200);
}
