//! The official Python client, unmodified, through the gateway.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use e2e::{Authority, ClientSettings, Engine, Gateway, OnDrop, Settings, dns, python, report, workspace};
use serde_json::{Value, json};

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("shipper", &["write:app-logs-*"]).client_with(
        ClientSettings::new("hasty", &["read:logs-*"])
            .with("rate_limit", json!({"requests_per_second": 1, "burst": 2})),
    )
}

#[test]
fn reading_over_urllib3() {
    read("urllib3");
}

#[test]
fn reading_over_requests() {
    read("requests");
}

fn read(connection: &str) {
    let gateway = Gateway::start(settings());
    let found = run(&gateway, "read.py", &[connection], &[("CLIENT", "reader"), ("SECRET", gateway.secret("reader"))]);
    let engine = Engine::get();
    assert_eq!(found["version"], json!(engine.version));
    let scanned = found["scanned"].as_u64().expect("a number");
    assert!(scanned >= 5_000, "too few for a scan of many pages: {scanned}");
    assert_eq!(scanned, engine.count("logs-app-*"));
    assert_eq!(found["paged"], json!(engine.count("logs-web-*")));
    assert_eq!(found["count"], engine.admin().get("/logs-*/_count").expect(200).json()["count"]);
    let errors = engine.admin().get("/logs-app-*/_count?q=level:ERROR").expect(200).json();
    assert_eq!(found["errors"], errors["count"]);
    assert!(
        found["errors"].as_u64().is_some_and(|errors| errors > 0)
            && found["services"].as_u64().is_some_and(|services| services > 1)
    );
    assert!(
        found["asked"].as_u64().is_some_and(|asked| asked > 30),
        "the client asks for the token before each request: {found}"
    );
    let events = gateway.audit();
    assert!(
        events
            .iter()
            .filter(|event| event["event"] == "request")
            .all(|event| event["decision"] == "allow" && event["client"] == "reader")
    );
    for operation in [
        "info",
        "ping",
        "search",
        "count",
        "scroll",
        "clear_scroll",
        "get",
        "exists",
        "mget",
        "msearch",
        "create_pit",
        "delete_pit",
        "field_caps",
    ] {
        assert!(events.iter().any(|event| event["operation"] == operation), "`{operation}` was not recorded");
    }
}

#[test]
fn writing_in_bulk() {
    let index = "app-logs-e2e-python";
    Engine::get().delete_index(index);
    let _remove = OnDrop(|| Engine::get().delete_index(index));
    let customers = Engine::get().count("pii-customers");
    let gateway = Gateway::start(settings());
    let found = run(&gateway, "write.py", &[], &[("INDEX", index), ("TOKEN", &gateway.token("shipper"))]);

    assert_eq!(json!(Engine::get().count(index)), found["left"]);
    let kept = |id: &str| Engine::get().admin().get(&format!("/{}/_doc/{id}", index)).send().json();
    assert_eq!(kept("2999")["_source"], json!({"message": "line 2999 äöü", "number": 2999}));
    assert_eq!(kept("1")["_source"]["message"], "changed");
    assert_eq!(kept("a%2Fb")["_source"]["message"], "changed");
    assert_eq!(kept("0")["_source"]["message"], "line 0 äöü");
    assert_eq!(
        (&kept("2")["found"], &kept("3")["found"], &kept("inside")["found"]),
        (&json!(false), &json!(false), &json!(false))
    );
    assert_eq!(Engine::get().count("pii-customers"), customers);
    shows(
        &found["outside"],
        403,
        "the operation `bulk` needs the scope `write:pii-customers`, the token has `write:app-logs-*`",
    );
    shows(
        &found["reading"],
        403,
        "the operation `search` needs the scope `search:app-logs-e2e-python`, the token has `write:app-logs-*`",
    );
}

#[test]
fn shipping_with_user_and_password_over_urllib3() {
    ship("urllib3");
}

#[test]
fn shipping_with_user_and_password_over_requests() {
    ship("requests");
}

fn ship(connection: &str) {
    let index = format!("app-logs-e2e-basic-{connection}");
    Engine::get().delete_index(&index);
    let _remove = OnDrop(|| Engine::get().delete_index(&index));
    let shipper = ClientSettings::new("shipper", &["ingest:app-logs-*"]).with("basic", json!(true));
    let gateway = Gateway::start(Settings::new().client_with(shipper));
    let secret = gateway.secret("shipper");
    let variables = [("INDEX", index.as_str()), ("CLIENT", "shipper"), ("SECRET", secret)];
    let found = run(&gateway, "basic.py", &[connection], &variables);
    assert_eq!(json!(Engine::get().count(&index)), found["written"]);
    shows(&found["outside"], 403, "needs the scope `ingest:pii-customers`");
    shows(&found["reading"], 403, "the operation `search` needs the scope");
    shows(&found["wrong"], 401, "the client is not known, or its secret is wrong");
}

#[test]
fn a_certificate_instead_of_a_token_over_urllib3() {
    certificate("urllib3");
}

#[test]
fn a_certificate_instead_of_a_token_over_requests() {
    certificate("requests");
}

fn certificate(connection: &str) {
    let authority = Authority::new("clients");
    let job = ClientSettings::new("job", &["read:logs-*"]).with("certificate", json!({"dns": "job.example.com"}));
    let taken = json!({"ca": "clients-ca.pem", "required": true});
    let tls = json!({"certificate": "gateway.pem", "key": "gateway-key.pem", "client_certificates": taken});
    let settings = Settings::new().file("clients-ca.pem", &authority.pem()).top("tls", tls);
    let gateway = Gateway::start(settings.client_with(job.without_secret()));
    let (certificate, key) = authority.issue_to(dns("job.example.com")).write(gateway.folder());
    let variables = [("CERTIFICATE", certificate.to_str()), ("KEY", key.to_str())];
    let found =
        run(&gateway, "certificate.py", &[connection], &variables.map(|(name, path)| (name, path.expect("text"))));
    let engine = Engine::get();
    assert_eq!(found["scanned"], json!(engine.count("logs-app-*")), "{found}");
    assert_eq!(found["count"], engine.admin().get("/logs-*/_count").expect(200).json()["count"]);
    shows(&found["outside"], 403, "needs the scope `search:pii-customers`");
    shows(&found["writing"], 403, "needs the scope");
    let events = gateway.audit();
    assert!(events.iter().all(|event| event["credential"] == "certificate" && event["client"] == "job"), "{events:?}");
}

#[test]
fn a_refusal_reads_well_in_the_client() {
    let gateway = Gateway::start(settings());
    let revoked = gateway.token("reader");
    gateway.revoke("reader", &revoked);
    let (token, hasty) = (gateway.token("reader"), gateway.token("hasty"));
    let found = run(&gateway, "refused.py", &[], &[("TOKEN", &token), ("REVOKED", &revoked), ("LIMITED", &hasty)]);

    for (what, reason) in [
        ("search", "the operation `search` needs the scope `search:pii-customers`, the token has `read:logs-*`"),
        ("everything", "the operation `search` needs the scope `search:*`, the token has `read:logs-*`"),
        ("scan", "needs the scope `search:pii-*`"),
        ("msearch", "the operation `msearch` needs the scope `search:pii-*`"),
        ("write", "needs the scope `ingest:logs-web-2026.01.01`"),
        ("delete", "the operation `indices.delete` needs the scope `manage:logs-web-*`"),
        ("cluster", "needs the scope `monitor:cluster`"),
    ] {
        shows(&found[what], 403, reason);
        assert_eq!(
            (&found[what]["kind"], &found[what]["error"]),
            (&json!("AuthorizationException"), &json!("security_exception")),
            "{what}"
        );
    }
    shows(&found["unreadable"], 400, "");
    shows(&found["compressed"], 403, "needs the scope `read:pii-customers`");
    assert_eq!(found["dot_segment"]["status"], 400, "{found}");
    shows(&found["revoked"], 401, "the token was revoked; get a new one");
    shows(&found["no_token"], 401, "this request needs a token; get one at `/oauth/token`");
    assert_eq!(found["revoked"]["kind"], "AuthenticationException");
    assert_eq!(found["limited"]["status"], 429, "{found}");

    // Nothing of this is sent again by the client: one line for each that was refused.
    let mut refused: BTreeMap<u64, usize> = BTreeMap::new();
    for event in gateway.audit().iter().filter(|event| event["event"] == "request" && event["decision"] == "deny") {
        *refused.entry(event["status"].as_u64().expect("a status")).or_default() += 1;
    }
    assert_eq!(refused, BTreeMap::from([(400, 2), (401, 2), (403, 8), (429, 1)]));
}

/// The client's exception has the status, and its message the gateway's sentence.
fn shows(raised: &Value, status: u16, reason: &str) {
    assert_eq!(raised["status"], json!(status), "{raised}");
    assert!(raised["text"].as_str().is_some_and(|text| text.contains(reason)), "`{reason}` is not in: {raised}");
    let told = raised["info"]["error"]["reason"].as_str().unwrap_or_else(|| panic!("no reason: {raised}"));
    assert!(raised["text"].as_str().is_some_and(|text| text.contains(told)), "{raised}");
}

/// Runs a script of `e2e/python` and gives what it reports.
fn run(gateway: &Gateway, script: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Value {
    let mut program = python(&workspace().join("e2e/python").join(script));
    program.args(arguments);
    let url = OsString::from(format!("https://localhost:{}", gateway.port()));
    let ca = gateway.ca();
    let mut all: Vec<(&str, &OsStr)> = vec![("URL", &url), ("CA", ca.as_os_str())];
    all.extend(variables.iter().map(|(name, value)| (*name, OsStr::new(*value))));
    report(program, &all)
}
