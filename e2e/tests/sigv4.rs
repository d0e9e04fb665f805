//! The driver `sigv4`: every request leaves with a signature that fits what was sent, and with nothing else that says who asks.
//!
//! The managed service is a double; whether a signature fits is said by the reference implementation, from the bytes that arrived.

#[path = "identity/names.rs"]
mod names;

use std::ffi::OsStr;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::{
    Gateway, Received, Settings, Turn, Upstream, base64url, json_answer, python_with_botocore, report, until, workspace,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use self::names::NAMES;

const ID: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaDGV1LXdlc3QtMSJHMEUCIQD+token/with+signs==";

fn settings(sigv4: &Value) -> Settings {
    Settings::new()
        .engine_option("driver", json!("sigv4"))
        .engine_option("sigv4", sigv4.clone())
        .client("agent", &["read:logs-*", "write:logs-*", "manage:logs-*"])
        .client("other", &["read:logs-*"])
}

fn keys(id: &str, secret: &str, token: Option<&str>, expiration: Option<&str>) -> String {
    let mut keys = json!({"Version": 1, "AccessKeyId": id, "SecretAccessKey": secret});
    for (name, value) in [("SessionToken", token), ("Expiration", expiration)] {
        if let Some(value) = value {
            keys[name] = json!(value);
        }
    }
    keys.to_string()
}

/// A gateway with a temporary key in one file.
fn gateway(upstream: &Upstream) -> Gateway {
    let sigv4 = json!({"region": "eu-central-1", "credentials_file": "aws.json"});
    Gateway::start(settings(&sigv4).file("aws.json", &keys(ID, SECRET, Some(TOKEN), None)).upstream(&upstream.url()))
}

/// Makes sure that every request has the signature the reference gives it, and no other credential.
fn assert_signed(gateway: &Gateway, requests: &[Received], service: &str, token: Option<&str>) {
    let listed: Vec<Value> = requests
        .iter()
        .map(|request| {
            json!({
                "method": request.method, "target": request.target, "headers": request.headers,
                "body": base64url(&request.body.bytes),
                "region": "eu-central-1", "service": service, "keys": {"id": ID, "secret": SECRET, "token": token},
            })
        })
        .collect();
    assert!(!listed.is_empty());
    gateway.write_file("requests.json", &Value::from(listed).to_string());
    let file = gateway.folder().join("requests.json");
    let program = python_with_botocore(&workspace().join("e2e/python/sigv4.py"));
    let expected = report(program, &[("REQUESTS", OsStr::new(&file))]);
    for (request, expected) in requests.iter().zip(expected.as_array().expect("a list")) {
        assert_eq!(
            request.header("authorization"),
            [expected.as_str().expect("a text")],
            "{} {} {:?}",
            request.method,
            request.target,
            request.headers
        );
        assert_eq!(request.header("x-amz-security-token"), Vec::from_iter(token));
        assert_eq!(request.header("transfer-encoding"), Vec::<&str>::new());
    }
}

#[test]
fn every_request_has_the_signature_of_the_reference() {
    let upstream = Upstream::obliging();
    let gateway = gateway(&upstream);
    let agent = gateway.with("agent");
    let mut sent = Vec::new();
    for target in [
        "/logs-a/_search",
        "/logs-a/_search?",
        "/logs-a/_search?pretty",
        "/logs-a/_search?size=1&q=a+b&filter_path=hits.hits,took",
        "/logs-a/_search?q=level:(ERROR%20OR%20WARN)&sort=a:desc&_source_includes=*",
        "/logs-a/_search?q=%C3%A4%E2%98%83&preference=%5Flocal&routing=~",
        "/logs-a/_search?q=1%2B1%3D2&q=%26&q=&a-b=1&a=2&A=3",
        "/logs-a/_search?stored_fields=b&stored_fields=a&stored_fields=a",
        "/logs-a,logs-b*/_search?%73ize=0",
        "/logs-a/_doc/a%2Fb",
        "/logs-a/_doc/a%20b+c~d",
        "/logs-a/_doc/%C3%A4%e2%98%83?realtime=false",
        "/logs-a/_doc/a:b@c!$&'()*,=",
        "/logs-a/_doc/%257E",
    ] {
        agent.get(target).expect(200);
        sent.push(("GET", target));
    }
    agent.request("HEAD", "/logs-a/_doc/1").expect(200);
    agent.post("/logs-a/_search?size=1").json(&json!({"query": {"match_all": {}}, "n": "ä"})).expect(200);
    agent.put("/logs-a/_doc/1?op_type=create&refresh").json(&json!({"a": 1})).expect(200);
    agent.post("/logs-a/_refresh").expect(200);
    agent.delete("/logs-a/_doc/1").expect(200);
    let lines = "{\"index\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n".repeat(500);
    agent.post("/_bulk").body("application/x-ndjson", lines.clone()).expect(200);
    sent.extend([
        ("HEAD", "/logs-a/_doc/1"),
        ("POST", "/logs-a/_search?size=1"),
        ("PUT", "/logs-a/_doc/1?op_type=create&refresh"),
        ("POST", "/logs-a/_refresh"),
        ("DELETE", "/logs-a/_doc/1"),
        ("POST", "/_bulk"),
    ]);
    let received = upstream.requests();
    // Byte for byte as the client sent it.
    let lines_of: Vec<(&str, &str)> =
        received.iter().map(|request| (request.method.as_str(), request.target.as_str())).collect();
    assert_eq!(lines_of, sent);
    assert_signed(&gateway, &received, "es", Some(TOKEN));
    let bulk = received.last().expect("a request");
    assert_eq!(
        (bulk.body.bytes.as_slice(), bulk.header("content-length")),
        (lines.as_bytes(), vec![lines.len().to_string().as_str()])
    );
    assert_eq!(upstream.the_request_for("/logs-a/_refresh").header("content-length"), ["0"]);
    assert_eq!(upstream.the_request_for("/logs-a/_search").header("content-length"), Vec::<&str>::new());
    let secrets = [SECRET, TOKEN];
    let written = format!("{}{}{}", gateway.log(), gateway.audit_text(), gateway.monitor("/metrics").text());
    assert!(secrets.iter().all(|secret| !written.contains(secret)), "a secret was written down");
}

#[test]
fn a_body_that_comes_in_pieces_goes_with_a_length() {
    let upstream = Upstream::obliging();
    let sigv4 = json!({
        "region": "eu-central-1", "service": "aoss", "access_key_id": "${KEY_ID}", "secret_access_key": {"file": "key"},
    });
    let settings = settings(&sigv4).file("key", &format!("{SECRET}\n")).environment("KEY_ID", ID);
    let gateway = Gateway::start(settings.upstream(&upstream.url()));
    let mut connection = gateway.http().connect();
    let token = gateway.token("agent");
    connection.write(format!("POST /_bulk HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes());
    let line = "{\"index\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n";
    for piece in line.as_bytes().chunks(5) {
        connection.write(format!("{:x}\r\n", piece.len()).as_bytes());
        connection.write(piece);
        connection.write(b"\r\n");
    }
    connection.write(b"0\r\n\r\n");
    assert_eq!(connection.answer().status, 200);
    let received = upstream.the_request_for("/_bulk");
    assert_eq!(received.body.bytes, line.as_bytes());
    assert_signed(&gateway, &[received], "aoss", None);
}

#[test]
fn a_packed_body_is_read_and_signed_as_it_came() {
    let upstream = Upstream::obliging();
    let gateway = gateway(&upstream);
    let lines = "{\"index\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n".repeat(100);
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(lines.as_bytes()).expect("memory");
    let packed = packer.finish().expect("memory");
    let agent = gateway.with("agent");
    let request = agent.post("/_bulk?refresh").header("content-encoding", "gzip");
    request.body("application/x-ndjson", packed.clone()).expect(200);
    assert_eq!(upstream.the_request_for("/_bulk?refresh").body.bytes, packed);
    let outside = lines.replace("logs-a", "pii-a");
    agent.post("/_bulk").body("application/x-ndjson", outside).expect(403);
    assert_signed(&gateway, &upstream.requests(), "es", Some(TOKEN));
}

#[test]
fn keys_in_several_files_are_replaced_together() {
    let upstream = Upstream::obliging();
    let file = |name: &str| json!({"file": name});
    let sigv4 = json!({
        "region": "eu-central-1",
        "access_key_id": file("id"), "secret_access_key": file("secret"), "session_token": file("token"),
    });
    let settings = settings(&sigv4).file("id", "AKIDOLD").file("secret", "old-secret").file("token", "old-token");
    let gateway = Gateway::start(settings.upstream(&upstream.url()));
    let agent = gateway.with("agent");
    agent.get("/logs-a/_search").expect(200);
    for (name, value) in [("id", ID), ("secret", SECRET), ("token", TOKEN)] {
        gateway.write_file(name, value);
    }
    until("the new keys to be in use", Duration::from_secs(20), || {
        agent.get("/logs-new/_search").expect(200);
        upstream.requests().pop().filter(|last| last.header("x-amz-security-token") == [TOKEN])
    });
    assert_signed(&gateway, &[upstream.requests().pop().expect("a request")], "es", Some(TOKEN));
}

#[test]
fn setup_has_nothing_to_do_and_check_asks_as_the_principal() {
    let roles = Arc::new(Mutex::new(json!(["readers"])));
    let told = Arc::clone(&roles);
    let upstream = Upstream::start(move |turn| {
        turn.read_body();
        let (status, body) = match turn.received.target.as_str() {
            "/_plugins/_security/authinfo" => {
                let roles = told.lock().expect("the roles").clone();
                (
                    if roles.is_null() { 403 } else { 200 },
                    json!({"roles": roles, "backend_roles": ["arn:aws:iam::1:role/g"]}),
                )
            }
            "/_plugins/_security/api/roles" => (403, json!({})),
            _ => (200, json!({"indices": [], "aliases": [], "data_streams": []})),
        };
        turn.write(&json_answer(status, &body.to_string()));
    });
    let sigv4 = json!({"region": "eu-central-1", "credentials_file": "aws.json"});
    let settings = settings(&sigv4).file("aws.json", &keys(ID, SECRET, Some(TOKEN), None));
    let gateway = Gateway::start(settings.engine_option("strict_aliases", json!("enforce")).upstream(&upstream.url()));
    let run = gateway.engine_command(&["setup", "--print"]);
    assert!(run.succeeded && run.stdout.contains("nothing is to be set up"), "{run:?}");
    for (answer, succeeds, sentence) in [
        (json!(["readers"]), true, "the principal that signs is taken, with the roles readers"),
        (json!(["all_access"]), true, "the principal that signs has `all_access`"),
        (Value::Null, false, "the engine does not take the principal that signs (status 403"),
    ] {
        *roles.lock().expect("the roles") = answer;
        let run = gateway.engine_command(&["check"]);
        assert_eq!((run.succeeded, run.stdout.contains(sentence)), (succeeds, true), "{sentence}: {run:?}");
        assert!(!format!("{run:?}").contains(TOKEN), "{run:?}");
    }
    let asked: Vec<Received> =
        upstream.requests().into_iter().filter(|request| !request.header("x-amz-date").is_empty()).collect();
    assert_signed(&gateway, &asked, "es", Some(TOKEN));
}

#[test]
fn nothing_else_says_who_asks() {
    let upstream = Upstream::obliging();
    let gateway = gateway(&upstream);
    let token = gateway.token("agent");
    let agent = gateway.http().with_token(&token);
    let aws = ["x-amz-date", "X-Amz-Security-Token", "x_amz_content_sha256", "X-AMZ-Target", "x-amzn-trace-id"];
    for (number, name) in NAMES.iter().chain(&aws).enumerate() {
        let target = format!("/logs-{number}/_search");
        agent.get(&target).header(name, "admin").expect(200);
        let received = upstream.the_request_for(&target);
        assert_eq!(
            received.header_names(),
            ["host", "x-opaque-id", "x-amz-date", "x-amz-content-sha256", "authorization", "x-amz-security-token"],
            "{name}"
        );
        assert!(!format!("{received:?}").contains(&token), "the client's token went to the service");
    }
    assert_signed(&gateway, &upstream.requests(), "es", Some(TOKEN));
}

#[test]
fn what_could_be_read_in_two_ways_is_not_signed() {
    let upstream = Upstream::obliging();
    let gateway = gateway(&upstream);
    let agent = gateway.with("agent");
    for (target, sentence) in [
        ("/logs-a/_search?size=1;version=true", "`;`"),
        ("/logs-a/_search?X-Amz-Signature=abc", "X-Amz-"),
        ("/logs-a/_search?x%2damz%2dcredential=abc", "X-Amz-"),
        ("/logs-a//_search", ""),
        ("/logs-a/_search?q=%zz", ""),
    ] {
        let refused = agent.get(target).send();
        assert!(matches!(refused.status, 400 | 403), "{target}: {}", refused.text());
        assert!(refused.text().contains(sentence), "{target}: {}", refused.text());
    }
    assert!(upstream.requests().is_empty());
}

#[test]
fn a_body_larger_than_can_be_held_is_refused_before_anything_is_sent() {
    let upstream = Upstream::obliging();
    let sigv4 = json!({"region": "eu-central-1", "credentials_file": "aws.json"});
    let settings =
        settings(&sigv4).file("aws.json", &keys(ID, SECRET, None, None)).limit("inspected_body", json!("64KiB"));
    let gateway = Gateway::start(settings.upstream(&upstream.url()));
    let agent = gateway.with("agent");
    let line = "{\"index\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n";
    let refused = agent.post("/_bulk").body("application/x-ndjson", line.repeat(5_000)).expect(413);
    assert!(refused.text().contains("signed") && refused.text().contains("smaller parts"), "{}", refused.text());
    let outside = line.replace("logs-a", "pii-a");
    agent.post("/_bulk").body("application/x-ndjson", format!("{line}{outside}")).expect(403);
    assert!(upstream.requests().is_empty());
    agent.post("/_bulk").body("application/x-ndjson", line.repeat(1_000)).expect(200);
    assert_signed(&gateway, &upstream.requests(), "es", None);
}

#[test]
fn keys_are_replaced_while_it_runs() {
    let upstream = Upstream::obliging();
    let gateway = gateway(&upstream);
    let agent = gateway.with("agent");
    let id_of = |request: &Received| {
        let value = request.header("authorization").concat();
        value.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).expect("an id").to_owned()
    };
    let ask = |status: u16| agent.get("/logs-a/_search").expect(status);
    let last = || upstream.requests().last().map(id_of).expect("a request");
    ask(200);
    assert_eq!(last(), ID);
    // What is no key changes nothing.
    gateway.write_file("aws.json", "{\"AccessKeyId\": \"AKIDBROKEN\", \"SecretAccessKey\": ");
    until("the broken file to be seen", Duration::from_secs(20), || {
        gateway.log().contains("those before stay in use").then_some(())
    });
    ask(200);
    assert_eq!(last(), ID);
    gateway.write_file("aws.json", &keys("AKIDNEXT", "another-secret", None, Some("2999-01-01T00:00:00Z")));
    until("the new keys to be in use", Duration::from_secs(20), || {
        ask(200);
        (last() == "AKIDNEXT").then_some(())
    });
    assert_eq!(upstream.requests().last().expect("a request").header("x-amz-security-token"), Vec::<&str>::new());
    // With keys that have ended nothing is sent.
    gateway.write_file("aws.json", &keys("AKIDENDED", "another-secret", None, Some("2020-01-01T00:00:00Z")));
    let refused = until("the keys to have ended", Duration::from_secs(20), || {
        Some(agent.get("/logs-a/_search").send()).filter(|answer| answer.status == 503)
    });
    assert!(refused.text().contains("have expired"), "{}", refused.text());
    let ready = gateway.monitor("/readyz");
    assert_eq!((ready.status, ready.text().contains("have expired")), (503, true), "{}", ready.text());
    let count = upstream.requests().len();
    ask(503);
    assert_eq!(upstream.requests().len(), count);
    gateway.write_file("aws.json", &keys(ID, SECRET, Some(TOKEN), None));
    until("good keys to be in use", Duration::from_secs(20), || {
        (agent.get("/logs-a/_search").send().status == 200).then_some(())
    });
    assert_signed(&gateway, &[upstream.requests().last().expect("a request").clone()], "es", Some(TOKEN));
    let log = gateway.log();
    assert!(!log.contains("another-secret") && !log.contains(TOKEN) && !log.contains("AKIDBROKEN"), "{log}");
}

/// What the service itself says to a request whose signature it does not like.
const OF_SERVICE: &str = r#"{"message":"The request signature we calculated does not match. The Canonical String should have been 'x-amz-security-token:IQoJ'"}"#;
const OF_ENGINE: &str =
    r#"{"error":{"type":"security_exception","reason":"no permissions for [indices:data/read/search]"},"status":403}"#;

#[test]
fn what_the_service_says_of_the_signature_is_not_the_clients() {
    let answer = |turn: &mut Turn<'_>| {
        turn.read_body();
        let (status, body) = match turn.received.target.as_str() {
            "/logs-signature/_search" => (403, OF_SERVICE.to_owned()),
            "/logs-long/_search" => (403, format!("{{\"error\":\"{}\",\"status\":403}}", "x".repeat(100_000))),
            "/logs-engine/_search" => (403, OF_ENGINE.to_owned()),
            "/logs-unknown/_search" => (401, OF_SERVICE.to_owned()),
            _ => (200, "{}".to_owned()),
        };
        turn.write(&json_answer(status, &body));
    };
    let upstream = Upstream::start(answer);
    let gateway = gateway(&upstream);
    let agent = gateway.with("agent");
    for target in ["/logs-signature/_search", "/logs-long/_search", "/logs-unknown/_search"] {
        let refused = agent.get(target).expect(502);
        assert!(refused.text().contains("does not accept the gateway's identity"), "{}", refused.text());
        assert!(!refused.text().contains("IQoJ"), "{}", refused.text());
    }
    assert_eq!(agent.get("/logs-engine/_search").expect(403).text(), OF_ENGINE);
    assert!((gateway.metric("oauth4os_upstream_failures_total{reason=\"identity\"}") - 3.0).abs() < 0.5);
}

#[test]
fn what_one_client_has_opened_is_no_others() {
    let answer = |turn: &mut Turn<'_>| {
        let body = turn.read_body();
        let body = String::from_utf8_lossy(&body.bytes).into_owned();
        let said = match turn.received.target.as_str() {
            "/logs-a/_search?scroll=1m" => json!({"_scroll_id": "first"}).to_string(),
            "/_search/scroll" if body.contains("first") => "{\n  \"_scroll_id\" : \"second\", \"hits\": {}}".to_owned(),
            "/logs-a/_search?scroll=1m&format=yaml" => "---\n_scroll_id: \"third\"\n".to_owned(),
            "/logs-a/_search/point_in_time?keep_alive=1m" => json!({"pit_id": "point"}).to_string(),
            _ => "{}".to_owned(),
        };
        turn.write(&json_answer(200, &said));
    };
    let upstream = Upstream::start(answer);
    let gateway = gateway(&upstream);
    let (agent, other) = (gateway.with("agent"), gateway.with("other"));
    let narrow = gateway.http().with_token(&gateway.token_with("agent", "read:logs-*"));
    let scroll = |id: &str| json!({"scroll": "1m", "scroll_id": id});
    agent.post("/_search/scroll").json(&scroll("first")).expect(403);
    agent.get("/logs-a/_search?scroll=1m").header("accept", "application/yaml").expect(200);
    assert_eq!(upstream.the_request_for("/logs-a/_search?scroll=1m").header("accept"), Vec::<&str>::new());
    for stranger in [&other, &narrow] {
        stranger.post("/_search/scroll").json(&scroll("first")).expect(403);
        stranger.delete("/_search/scroll").json(&json!({"scroll_id": ["first"]})).expect(403);
    }
    agent.post("/_search/scroll").json(&scroll("first")).expect(200);
    agent.post("/_search/scroll").json(&scroll("second")).expect(200);
    other.post("/_search/scroll").json(&scroll("second")).expect(403);
    let refused = agent.get("/logs-a/_search?scroll=1m&format=yaml").expect(400);
    assert!(refused.text().contains("leave out `format`"), "{}", refused.text());
    agent.post("/_search/scroll").json(&scroll("third")).expect(403);
    let search = json!({"pit": {"id": "point"}});
    agent.post("/_search").json(&search).expect(403);
    agent.post("/logs-a/_search/point_in_time?keep_alive=1m").expect(200);
    agent.post("/_search").json(&search).expect(200);
    for stranger in [&other, &narrow] {
        stranger.post("/_search").json(&search).expect(403);
        stranger.delete("/_search/point_in_time").json(&json!({"pit_id": "point"})).expect(403);
    }
}

#[test]
fn another_node_gets_a_signature_of_its_own() {
    let (first, second) = (Upstream::obliging(), Upstream::obliging());
    let sigv4 = json!({"region": "eu-central-1", "credentials_file": "aws.json"});
    let settings = settings(&sigv4).file("aws.json", &keys(ID, SECRET, None, None));
    let gateway = Gateway::start(settings.nodes(&[first.url(), second.url()]));
    let agent = gateway.with("agent");
    first.stop();
    for number in 0..12 {
        agent.post(&format!("/logs-a/_search?size={number}")).json(&json!({"size": number})).expect(200);
    }
    assert_eq!(second.requests().len(), 12);
    assert!(second.requests().iter().all(|request| request.header("host") == [second.authority()]));
    assert!(gateway.metric("oauth4os_upstream_failovers_total") > 0.0);
    assert_signed(&gateway, &second.requests(), "es", None);
}

#[test]
fn the_names_of_indices_are_read_by_signed_requests() {
    let names = json!({
        "indices": [
            {"name": "logs-a", "attributes": ["open"]},
            {"name": "pii-a", "aliases": ["logs-alias"], "attributes": ["open"]},
        ],
        "aliases": [], "data_streams": [],
    });
    let upstream = Upstream::start(move |turn| {
        turn.read_body();
        let is_names = turn.received.target.starts_with("/_resolve/");
        turn.write(&json_answer(200, &if is_names { names.to_string() } else { "{}".to_owned() }));
    });
    let sigv4 = json!({"region": "eu-central-1", "credentials_file": "aws.json"});
    let settings = settings(&sigv4).file("aws.json", &keys(ID, SECRET, Some(TOKEN), None));
    let gateway = Gateway::start(settings.engine_option("strict_aliases", json!("enforce")).upstream(&upstream.url()));
    let agent = gateway.with("agent");
    agent.get("/logs-a/_search").expect(200);
    agent.get("/logs-alias/_search").expect(403);
    let asked = upstream.requests_for("/_resolve/index/*?expand_wildcards=all");
    assert_signed(&gateway, &asked, "es", Some(TOKEN));
}

#[test]
fn what_cannot_be_held_with_a_signature_is_refused_at_the_start() {
    let upstream = Upstream::obliging();
    let gateway = gateway(&upstream);
    let grants = json!([{"scope": "read:orders", "rows": {"term": {"a": 1}}}]);
    let good = json!({"region": "eu-central-1", "credentials_file": "aws.json"});
    let cases: [(&str, Value, &str); 12] = [
        ("sigv4", Value::Null, "say in which region"),
        ("sigv4", json!({"region": "EU!", "credentials_file": "aws.json"}), "give a region"),
        ("sigv4", json!({"region": "eu-central-1"}), "or `access_key_id` and `secret_access_key`"),
        (
            "sigv4",
            json!({"region": "eu-central-1", "access_key_id": "AKID", "secret_access_key": "x"}),
            "a secret is not written into the configuration",
        ),
        ("sigv4", json!({"region": "eu-central-1", "credentials_file": "nowhere.json"}), "cannot read"),
        ("sigv4", json!({"region": "eu-central-1", "credentials_file": "oauth4os.yaml"}), "is no JSON object with"),
        ("sigv4", json!({"region": "eu-central-1", "service": "s3", "credentials_file": "aws.json"}), "s3"),
        ("partial_access", json!("narrow"), "needs an engine that is told the scopes"),
        ("basic", json!({"users": {}}), "is for `driver: basic`"),
        ("clients.grants", grants, "rows and fields are enforced by an engine that is told of them"),
        ("clients.backend_user", json!("reader"), "there is none; leave it out"),
        ("dashboards", json!({"url": "https://localhost:5601", "hosts": ["d.example.com"]}), "needs `driver: jwt`"),
    ];
    for (key, value, expected) in cases {
        gateway.change_config(|config| {
            config["upstream"] =
                json!({"engine": {"url": upstream.url(), "driver": "sigv4", "strict_aliases": "off", "sigv4": good}});
            config["clients"][0]
                .as_object_mut()
                .expect("a client")
                .retain(|name, _| !matches!(name.as_str(), "grants" | "backend_user"));
            match key.strip_prefix("clients.") {
                Some(name) => config["clients"][0][name] = value.clone(),
                None if key == "dashboards" => config["upstream"]["dashboards"] = value.clone(),
                None => config["upstream"]["engine"][key] = value.clone(),
            }
        });
        let run = gateway.check_config();
        assert!(!run.succeeded && run.stderr.contains(expected), "{key}: {value}: {run:?}");
    }
}
