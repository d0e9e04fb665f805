//! The driver `extended_proxy`: the engine believes the gateway's word because of where it comes from, and nobody else's.
//!
//! What the engine then enforces is shown by the tests that `cargo xtask test` runs with every driver.

#[path = "identity/names.rs"]
mod names;

use std::path::Path;
use std::time::Duration;

use e2e::{Client, ClientSettings, Driver, Engine, Front, Gateway, OnDrop, Run, Settings, Upstream, until};
use serde_json::{Value, json};

use self::names::NAMES;

/// Values that mean something somewhere on the way: to a list, to the substitution, to a regular expression, to a header.
const HOSTILE: [&str; 8] = [
    "acme,globex",
    "${attr.proxy.username}",
    "$0 \\1 \\$",
    "änderung ☃ \u{1f980}",
    "\"}},{\"match_all\":{}}",
    " x-proxy-roles: all_access",
    "*",
    "line\nfeed",
];

const INDEX: &str = "e2e-proxy-orders";

fn settings() -> Settings {
    Settings::new()
        .driver(Driver::ExtendedProxy)
        .client("reader", &["read:logs-*"])
        .client("writer", &["write:app-logs-*"])
}

/// With the certificate that opens nothing by itself.
fn with_certificate(settings: Settings) -> Settings {
    let engine = Engine::get();
    settings
        .engine_option("client_certificate", json!({"certificate": engine.gateway_cert, "key": engine.gateway_key}))
        .engine_option("extended_proxy", json!({"trusted_by": "certificate"}))
}

#[test]
fn the_engine_gets_the_gateways_word_and_nothing_of_the_clients() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let token = gateway.token("reader");
    let reader = gateway.http().with_token(&token);
    let expected = ["host", "x-opaque-id", "x-forwarded-for", "x-proxy-user", "x-proxy-roles", "x-proxy-ext-o4s_read"];
    for (number, name) in NAMES.iter().enumerate() {
        for (case, spelling) in [(*name).to_owned(), name.to_uppercase()].into_iter().enumerate() {
            let target = format!("/logs-{number}-{case}/_search");
            reader.get(&target).header(&spelling, "admin").expect(200);
            let received = upstream.the_request_for(&target);
            assert_eq!(received.header_names(), expected, "{spelling}: {:?}", received.headers);
        }
    }
    let mut request = reader.get("/logs-all/_search").header("Connection", "x-proxy-user, x-forwarded-for");
    for name in NAMES {
        request = request.header(name, "admin");
    }
    request.expect(200);
    let received = upstream.the_request_for("/logs-all/_search");
    assert_eq!(received.header_names(), expected);
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-proxy-user", "oauth4os:reader"),
        ("x-proxy-roles", "oauth4os_proxy_read"),
        ("x-proxy-ext-o4s_read", "/(?:logs-.*)/"),
    ] {
        assert_eq!(received.header(name), [value]);
    }
    assert!(!format!("{received:?}").contains(&token), "the client's token went to the engine");

    // Another client is another identity, also on the same connection to the engine.
    gateway.with("writer").post("/app-logs-x/_doc").json(&json!({})).expect(200);
    let received = upstream.the_request_for("/app-logs-x/_doc");
    assert_eq!(received.header("x-proxy-user"), ["oauth4os:writer"]);
    assert_eq!(received.header("x-proxy-ext-o4s_read"), Vec::<&str>::new());
}

#[test]
fn nothing_a_client_sends_changes_who_the_engine_takes_it_for() {
    let gateway = Gateway::start(with_certificate(settings()));
    let reader = gateway.with("reader");
    let plain = who_is(&reader, &[]);
    assert_eq!(plain["user_name"], "oauth4os:reader");
    assert_eq!(plain["backend_roles"], json!(["oauth4os_proxy_read"]));
    let roles: Vec<&str> = plain["roles"].as_array().expect("roles").iter().filter_map(Value::as_str).collect();
    assert!(roles.contains(&"oauth4os_proxy_read"), "{plain}");
    let mut attributes: Vec<&str> =
        plain["custom_attribute_names"].as_array().expect("attributes").iter().filter_map(Value::as_str).collect();
    attributes.sort_unstable();
    assert_eq!(attributes, ["attr.proxy.o4s_read", "attr.proxy.username"]);
    for name in NAMES.iter().filter(|name| **name != "te" && **name != "trailer") {
        for value in ["admin", "all_access", "/.*/"] {
            assert_eq!(who_is(&reader, &[(name, value)]), plain, "{name}: {value}");
        }
    }
    let all: Vec<(&str, &str)> = NAMES.iter().map(|name| (*name, "admin")).collect();
    assert_eq!(who_is(&reader, &all), plain);
    // Whom the engine would believe, if the gateway passed it on.
    let tokens = Gateway::start(Settings::new().driver(Driver::Jwt).client("reader", &["read:logs-*"]));
    let by_token = tokens.with("reader");
    assert_eq!(who_is(&by_token, &all)["backend_roles"], json!(["oauth4os_read"]));
}

#[test]
fn one_engine_serves_both_drivers_with_the_same_rights() {
    let scopes = ["read:logs-*", "write:app-logs-e2e-both*"];
    let answers = [Driver::Jwt, Driver::ExtendedProxy].map(|driver| {
        let gateway = Gateway::start(Settings::new().driver(driver).client("agent", &scopes).engine_decides());
        let agent = gateway.with("agent");
        let asked = [
            ("GET", "/logs-*/_search"),
            ("GET", "/logs-inside/_search"),
            ("GET", "/<logs-app-{now/d}>/_search"),
            ("GET", "/_search"),
            ("GET", "/*/_search"),
            ("GET", "/pii-customers/_search"),
            ("GET", "/logs-*,pii-*/_search"),
            ("GET", "/mixed/_search"),
            ("GET", "/.opendistro_security/_search"),
            ("GET", "/app-logs-e2e-both/_search"),
            ("DELETE", "/logs-e2e-none"),
            ("PUT", "/pii-customers/_doc/1"),
            ("GET", "/_cluster/settings"),
            ("GET", "/_plugins/_security/api/roles"),
        ];
        asked.map(|(method, target)| {
            let target = target.replace('<', "%3C").replace('>', "%3E").replace('{', "%7B").replace('}', "%7D");
            let request = agent.request(method, &target.replace("now/d", "now%2Fd"));
            let request = if method == "PUT" { request.json(&json!({})) } else { request };
            (method, target, request.send().status)
        })
    });
    assert_eq!(answers[0], answers[1]);
    let permitted = answers[0].iter().filter(|(.., status)| *status == 200).count();
    assert_eq!(permitted, 3, "{:?}", answers[0]);
}

#[test]
fn values_arrive_as_they_are_whatever_they_mean_on_the_way() {
    let _remove = orders();
    let mut settings = settings();
    for (n, value) in HOSTILE.iter().enumerate() {
        let grant = json!({"scope": format!("read:{INDEX}*"), "rows": {"terms": {"tenant": ["${label.tenant}", "nobody, nowhere"]}}});
        settings = settings.client_with(
            ClientSettings::new(&format!("h{n}"), &[])
                .with("grants", json!([grant]))
                .with("labels", json!({"tenant": value})),
        );
    }
    let slim = json!([{"scope": format!("read:{INDEX}*"), "fields": "slim"}]);
    settings = settings.client_with(ClientSettings::new("slim", &[]).with("grants", slim));
    let gateway = Gateway::start(settings);
    for (n, value) in HOSTILE.iter().enumerate() {
        let found = gateway.with(&format!("h{n}")).get(&format!("/{INDEX}/_search?size=100")).expect(200).json();
        let ids: Vec<&Value> = found["hits"]["hits"].as_array().expect("hits").iter().map(|hit| &hit["_id"]).collect();
        assert_eq!(ids, [&json!(format!("h{n}"))], "{value:?}");
    }
    let seen = gateway.with("slim").get(&format!("/{INDEX}/_search?size=100")).expect(200);
    assert_eq!(seen.json()["hits"]["total"]["value"], HOSTILE.len());
    assert!(!seen.text().contains("somebody@example.com"), "{}", seen.text());
}

/// Each value in a document of its own.
fn orders() -> OnDrop<impl FnMut()> {
    let remove = || Engine::get().delete_index(INDEX);
    remove();
    let admin = Engine::get().admin();
    let mapping = json!({"mappings": {"properties": {"tenant": {"type": "keyword"}, "email": {"type": "keyword"}}}});
    admin.put(&format!("/{INDEX}")).json(&mapping).expect(200);
    let mut lines = Vec::new();
    for (n, value) in HOSTILE.iter().enumerate() {
        lines.push(json!({"index": {"_id": format!("h{n}")}}));
        lines.push(json!({"tenant": value, "email": "somebody@example.com"}));
    }
    let answer = admin.post(&format!("/{INDEX}/_bulk?refresh=true")).lines(&lines).expect(200);
    assert_eq!(answer.json()["errors"], false, "{}", answer.text());
    OnDrop(remove)
}

#[test]
fn an_engine_that_lets_in_nobody_without_a_certificate_is_reached_with_the_gateways() {
    let front = Front::of_the_engine();
    let behind =
        |settings: Settings| settings.engine_option("url", json!(front.url())).engine_option("ca", json!(front.ca()));
    let gateway = Gateway::start(behind(with_certificate(settings())));
    gateway.with("reader").get("/logs-*/_search").expect(200);
    gateway.with("reader").get("/pii-customers/_search").expect(403);
    // Without an administrator, whose certificate would end at the front.
    let config = gateway.folder().join("oauth4os.yaml");
    let run = e2e::run_to_end(&["engine".as_ref(), "--config".as_ref(), config.as_os_str(), "check".as_ref()], &[]);
    assert!(run.succeeded, "{run:?}");
    for proof in [
        "identity: the auth domain `oauth4os-proxy` takes the gateway's word as user `oauth4os:engine-check`",
        "forged identities: 401 for an identity without `X-Forwarded-For`, without a user, ",
        "administrator: the gateway's own connections have no administrator's rights",
        "certificate: without the gateway's certificate there is no connection to the engine",
        "patterns: 403 when it tries to search another index",
    ] {
        assert!(findings(&run, "ok").iter().any(|found| found.starts_with(proof)), "{proof}: {run:?}");
    }

    // A token vouches for itself, and the certificate is shown all the same.
    let tokens = behind(Settings::new().driver(Driver::Jwt).client("reader", &["read:logs-*"]));
    let pair = json!({"certificate": Engine::get().gateway_cert, "key": Engine::get().gateway_key});
    let gateway = Gateway::start(tokens.engine_option("client_certificate", pair));
    gateway.with("reader").get("/logs-*/_search").expect(200);
    let expires = "oauth4os_certificate_expires_timestamp_seconds{certificate=\"engine\",cluster=\"\"}";
    assert!(gateway.metric(expires) > 1.7e9, "{}", gateway.metric(expires));

    // Without it there is no engine.
    gateway.stop();
    gateway.change_config(|config| {
        drop(config["upstream"]["engine"].as_object_mut().map(|engine| engine.remove("client_certificate")))
    });
    gateway.start_unready();
    assert_eq!(gateway.monitor("/readyz").status, 503);
    let answer = gateway.with("reader").get("/logs-*/_search").send();
    assert!(matches!(answer.status, 502 | 503), "{} {}", answer.status, answer.text());
}

#[test]
fn check_says_who_else_is_believed() {
    // The tests' engine asks for no certificate.
    let gateway = Gateway::start(with_certificate(settings()));
    let run = gateway.engine_command(&["check"]);
    assert!(!run.succeeded, "{run:?}");
    let failures = findings(&run, "failure");
    assert_eq!(failures.len(), 1, "{run:?}");
    assert!(failures[0].contains("believes a connection without a certificate too"), "{run:?}");
    assert!(failures[0].contains("clientauth_mode: REQUIRE"), "{run:?}");

    let gateway = Gateway::start(settings());
    let run = gateway.engine_command(&["check"]);
    assert!(run.succeeded, "{run:?}");
    let warned = findings(&run, "warning");
    assert!(
        warned.iter().any(|found| found.contains("whoever can send from 127.0.0.1, ::1 can be anybody")),
        "{run:?}"
    );
    assert!(findings(&run, "ok").iter().any(|found| found.starts_with("setup: ")), "{run:?}");
    let again = gateway.engine_command(&["setup"]);
    assert_eq!(again.stdout, "nothing to change\n", "{again:?}");

    // The other driver is told that there is somebody who is believed.
    let tokens = Gateway::start(Settings::new().driver(Driver::Jwt).client("reader", &["read:logs-*"]));
    let run = tokens.engine_command(&["check"]);
    assert!(run.succeeded, "{run:?}");
    let warned = findings(&run, "warning");
    assert!(
        warned.iter().any(|found| found.contains("the auth domain `oauth4os-proxy` believes whoever sends")),
        "{run:?}"
    );
}

#[test]
fn with_an_administrators_certificate_nothing_is_forwarded() {
    let engine = Engine::get();
    for strict in ["enforce", "off"] {
        let settings = settings().client("all", &["admin:*"]).engine_option("strict_aliases", json!(strict));
        let gateway = Gateway::start(with_certificate(settings));
        let reader = gateway.with("reader");
        reader.get("/logs-*/_search").expect(200);
        gateway.stop();
        gateway.change_config(|config| {
            config["upstream"]["engine"]["client_certificate"] =
                json!({"certificate": engine.admin_cert, "key": engine.admin_key});
        });
        gateway.start_unready();
        until("the certificate to be looked at", Duration::from_secs(20), || {
            gateway.log().contains("certificate for its administrator's").then_some(())
        });
        for target in ["/logs-*/_search", "/", "/_plugins/_security/authinfo"] {
            let refused = reader.get(target).expect(503);
            assert!(!refused.text().contains("engine-admin"), "{}", refused.text());
        }
        assert_eq!(gateway.monitor("/readyz").status, 503);
        let run = gateway.engine_command(&["check"]);
        assert!(!run.succeeded && run.stdout.contains("an administrator's certificate"), "{run:?}");
    }
}

#[test]
fn the_certificate_for_the_engine_is_replaced_without_a_restart() {
    let (engine, front) = (Engine::get(), Front::of_the_engine());
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["client.pem", "client-key.pem"].map(|name| folder.path().join(name));
    let put = |pair: [&Path; 2]| {
        for (from, to) in pair.iter().zip(&files) {
            std::fs::copy(from, to).expect("copy a file");
        }
    };
    let settings = |url: &str, ca: &Path| {
        settings()
            .engine_option("url", json!(url))
            .engine_option("ca", json!(ca))
            .engine_option("client_certificate", json!({"certificate": files[0], "key": files[1]}))
            .engine_option("extended_proxy", json!({"trusted_by": "certificate"}))
            .engine_option("alias_refresh", json!("1s"))
            // Each request on a connection of its own.
            .engine_option("connections", json!({"idle": 0, "idle_timeout": "45s"}))
    };
    let own = [engine.gateway_cert.as_path(), engine.gateway_key.as_path()];
    // To this front it is one like any other.
    let other = [engine.admin_cert.as_path(), engine.admin_key.as_path()];
    put(own);
    let gateway = Gateway::start(settings(&front.url(), &front.ca()));
    let reader = gateway.with("reader");
    reader.get("/logs-*/_search").expect(200);
    assert!(front.connections_with(own[0]) > 0 && front.connections_with(other[0]) == 0);
    put([other[0], own[1]]);
    assert_eq!(gateway.reload(), "invalid", "{}", gateway.log());
    reader.get("/logs-*/_search").expect(200);
    assert_eq!(front.connections_with(other[0]), 0);
    put(other);
    assert_eq!(gateway.reload(), "applied", "{}", gateway.log());
    let before = front.connections_with(own[0]);
    for _ in 0..4 {
        reader.get("/logs-*/_search").expect(200);
    }
    assert_eq!(front.connections_with(own[0]), before);
    assert!(front.connections_with(other[0]) >= 4);
    gateway.stop();

    // To the engine it is its administrator's.
    put(own);
    let gateway = Gateway::start(settings(&engine.url, &engine.ca));
    let reader = gateway.with("reader");
    put(other);
    assert_eq!(gateway.reload(), "invalid", "{}", gateway.log());
    assert!(gateway.log().contains("certificate for its administrator's"), "{}", gateway.log());
    reader.get("/logs-*/_search").expect(200);
    reader.get("/pii-customers/_search").expect(403);
}

#[test]
fn what_would_let_others_be_believed_is_refused_when_the_configuration_is_read() {
    let gateway = Gateway::start(settings());
    let engine = Engine::get();
    let pair = json!({"certificate": engine.gateway_cert, "key": engine.gateway_key});
    let mut original = Value::Null;
    gateway.change_config(|config| original = config.clone());
    let far = json!("https://opensearch.example.com:9200");
    for (change, expected) in [
        (json!({"extended_proxy": {}}), "have the engine require one"),
        (json!({"extended_proxy": {"trusted_by": "nobody"}}), "expected one of certificate, address"),
        (json!({"url": far, "extended_proxy": {"trusted_by": "address"}}), "name the addresses"),
        (
            json!({"url": far, "extended_proxy": {"addresses": ["127.0.0.1"], "trusted_by": "address"}}),
            "the engine's own address",
        ),
        (json!({"extended_proxy": {"addresses": ["0.0.0.0"], "trusted_by": "address"}}), "nobody sends from it"),
        (json!({"extended_proxy": {"addresses": ["192.0.2.0/24"], "trusted_by": "address"}}), "invalid IP address"),
        (json!({"extended_proxy": {"addresses": ["192.0.2.1", "192.0.2.1"], "trusted_by": "address"}}), "twice"),
        (json!({"extended_proxy": {"addresses": ["::ffff:192.0.2.1"], "trusted_by": "address"}}), "IPv4 address"),
        (json!({"url": "http://127.0.0.1:9200", "client_certificate": pair}), "over `https` only"),
        (json!({"client_certificate": {"certificate": "missing.pem", "key": "gateway-key.pem"}}), "there is no file"),
        (json!({"driver": "jwt"}), "is for `driver: extended_proxy`"),
    ] {
        let mut config = original.clone();
        let fields = config["upstream"]["engine"].as_object_mut().expect("an object");
        fields.extend(change.as_object().expect("an object").clone());
        gateway.write_file("changed.yaml", &config.to_string());
        let refused = check(&gateway);
        assert!(refused.contains(expected), "{expected} is not in {refused}");
    }
    let hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
    gateway.change_config(|config| {
        config["clients"][0] = json!({"id": "x", "secret_hash": hash, "scopes": ["read:x"], "identity": "own", "backend_roles": ["prüfer"]});
    });
    let run = gateway.check_config();
    assert!(!run.succeeded && run.stderr.contains("printable ASCII"), "{run:?}");
}

fn check(gateway: &Gateway) -> String {
    let file = gateway.folder().join("changed.yaml");
    let run = e2e::run_to_end(&["check-config".as_ref(), "--config".as_ref(), file.as_os_str()], &[]);
    assert!(!run.succeeded, "{run:?}");
    run.stderr
}

/// The engine's own word on the caller, without what differs from connection to connection.
fn who_is(client: &Client, headers: &[(&str, &str)]) -> Value {
    let mut request = client.get("/_plugins/_security/authinfo");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let mut info = request.expect(200).json();
    info.as_object_mut().expect("an object").remove("remote_address");
    info
}

fn findings(run: &Run, severity: &str) -> Vec<String> {
    run.stdout.lines().filter_map(|line| Some(line.strip_prefix(severity)?.trim_start().to_owned())).collect()
}
