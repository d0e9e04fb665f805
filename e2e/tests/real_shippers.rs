//! Shippers themselves, unmodified, through the gateway: the OpenTelemetry Collector with a token by OAuth 2.0, rsyslog with id and
//! secret by HTTP Basic. Each writes its own index, and says in its own log why it may not write another.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use e2e::{ClientSettings, Engine, Gateway, OnDrop, Settings, Shipper, otel_collector, rsyslog, until};
use serde_json::{Value, json};

const OUTSIDE: &str = "pii-customers";
const EVENTS: u64 = 1_000;

fn collector(gateway: &Gateway, index: &str) -> Shipper {
    let shipper = otel_collector(|folder, port| {
        let secret = folder.join("secret");
        fs::write(&secret, gateway.secret("collector")).expect("write the secret");
        let tls = json!({"ca_file": gateway.ca()});
        let address = format!("https://localhost:{}", gateway.port());
        json!({
            "extensions": {"oauth2client": {
                "client_id": "collector",
                "client_secret_file": secret,
                "token_url": format!("{address}/oauth/token"),
                "tls": tls,
            }},
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": format!("127.0.0.1:{port}")}}}},
            "exporters": {"opensearch": {
                "http": {"endpoint": address, "tls": tls, "auth": {"authenticator": "oauth2client"}},
                "logs_index": index,
                "retry_on_failure": {"enabled": false},
            }},
            "service": {
                "extensions": ["oauth2client"],
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"logs": {"receivers": ["otlp"], "exporters": ["opensearch"]}},
            },
        })
    });
    until("the collector to listen", Duration::from_secs(30), || {
        shipper.assert_is_running();
        TcpStream::connect(("127.0.0.1", shipper.port())).ok()
    });
    shipper
}

/// Sends events as an application with OpenTelemetry does, and gives the collector's answer.
fn emit(shipper: &Shipper, count: u64) -> String {
    let record = |number| {
        json!({"timeUnixNano": "1795348800000000000", "severityText": "INFO", "severityNumber": 9,
            "body": {"stringValue": format!("order {number} äöü")}})
    };
    let records: Vec<Value> = (0..count).map(record).collect();
    let service = json!({"attributes": [{"key": "service.name", "value": {"stringValue": "checkout"}}]});
    let body = json!({"resourceLogs": [{"resource": service, "scopeLogs": [{"logRecords": records}]}]}).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", shipper.port())).expect("the collector");
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).expect("send");
    std::io::read_to_string(&mut stream).expect("an answer")
}

#[test]
fn the_collector_fetches_a_token_and_writes_its_own_index_and_no_other() {
    let engine = Engine::get();
    let index = "app-logs-e2e-otel";
    engine.delete_index(index);
    let _remove = OnDrop(|| engine.delete_index(index));
    let customers = engine.count(OUTSIDE);
    let gateway = Gateway::start(Settings::new().client("collector", &[&format!("ingest:{index}")]));

    let shipper = collector(&gateway, index);
    for _ in 0..4 {
        let answer = emit(&shipper, EVENTS / 4);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", shipper.log());
    }
    until("the events", Duration::from_secs(30), || (written(engine, index) == EVENTS).then_some(()));
    let writes = bulks(&gateway);
    assert!(writes.len() <= 4 && writes.iter().all(|event| event["client"] == "collector"), "{writes:?}");
    // One token for all of them.
    let tokens: Vec<Value> = gateway.audit().into_iter().filter(|event| event["event"] == "token.issued").collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    drop(shipper);

    let shipper = collector(&gateway, OUTSIDE);
    let answer = emit(&shipper, 3);
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    refused(&shipper, &gateway, &format!("ingest:{OUTSIDE}"));
    assert_eq!(engine.count(OUTSIDE), customers);
}

fn syslog(gateway: &Gateway, index: &str, events: u64) -> Shipper {
    rsyslog(|folder, _| {
        let lines: String = (0..events).map(|number| format!("order {number} shipped\n")).collect();
        fs::write(folder.join("orders.log"), lines).expect("write the log");
        configuration(gateway, folder, index)
    })
}

fn configuration(gateway: &Gateway, folder: &Path, index: &str) -> String {
    let (folder, port, ca) = (folder.display(), gateway.port(), gateway.ca());
    let (secret, ca) = (gateway.secret("syslog"), ca.display());
    format!(
        r#"
global(workDirectory="{folder}")
module(load="imfile")
module(load="omelasticsearch")
template(name="event" type="list" option.json="on") {{
  constant(value="{{\"@timestamp\":\"") property(name="timereported" dateFormat="rfc3339")
  constant(value="\",\"message\":\"") property(name="msg") constant(value="\"}}")
}}
input(type="imfile" file="{folder}/orders.log" tag="orders" ruleset="ship")
ruleset(name="ship") {{
  action(type="omelasticsearch" server="localhost" serverport="{port}" usehttps="on" tls.cacert="{ca}"
    uid="syslog" pwd="{secret}" searchIndex="{index}" searchType="" bulkmode="on"
    template="event" errorfile="{folder}/errors" action.resumeRetryCount="0"
    queue.type="linkedList" queue.dequeueBatchSize="250")
}}
"#
    )
}

#[test]
fn rsyslog_writes_its_own_index_and_no_other() {
    let engine = Engine::get();
    let index = "app-logs-e2e-rsyslog";
    engine.delete_index(index);
    let _remove = OnDrop(|| engine.delete_index(index));
    let customers = engine.count(OUTSIDE);
    let client = ClientSettings::new("syslog", &[&format!("ingest:{index}")]).with("basic", json!(true));
    let gateway = Gateway::start(Settings::new().client_with(client));

    let shipper = syslog(&gateway, index, EVENTS);
    until("the events", Duration::from_secs(30), || {
        shipper.assert_is_running();
        (written(engine, index) == EVENTS).then_some(())
    });
    let writes = bulks(&gateway);
    assert!(!writes.is_empty() && writes.iter().all(|event| event["credential"] == "basic"), "{writes:?}");
    drop(shipper);

    let shipper = syslog(&gateway, OUTSIDE, 3);
    refused(&shipper, &gateway, &format!("ingest:{OUTSIDE}"));
    assert_eq!(engine.count(OUTSIDE), customers);
}

fn written(engine: &Engine, index: &str) -> u64 {
    let is_there = engine.admin().request("HEAD", &format!("/{index}")).send().status == 200;
    if is_there { engine.count(index) } else { 0 }
}

/// What was written so far: nothing was refused on the way.
fn bulks(gateway: &Gateway) -> Vec<Value> {
    let events = gateway.audit();
    let bulks: Vec<Value> = events.into_iter().filter(|event| event["operation"] == "bulk").collect();
    assert!(bulks.iter().all(|event| event["status"] == 200 && event["decision"] == "allow"), "{bulks:?}");
    bulks
}

/// The gateway's sentence is in the record, and whoever looks after the shipper gets to read it there.
fn refused(shipper: &Shipper, gateway: &Gateway, needed: &str) {
    let event = gateway.audit_where("the refusal", |event| event["decision"] == "deny");
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains(needed)), "{event}");
    until("the shipper to say so", Duration::from_secs(30), || shipper.log().contains(needed).then_some(()));
}
