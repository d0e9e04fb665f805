//! Certificates that run out while they are in use: the gateway's own are spoken of in time, a client's is worth nothing on its
//! open connections either.

use std::time::Duration;

use e2e::{Authority, ClientSettings, Gateway, Settings, Upstream, WrongClock, dns, for_client};
use oauth4os_tokens::clock::{Clock, SystemClock};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::json;

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

const EXPIRES: &str = "oauth4os_certificate_expires_timestamp_seconds{certificate=\"listener\",cluster=\"\"}";
const SOON: &str = "a certificate of the gateway runs out soon";
const OVER: &str = "a certificate of the gateway has run out";

fn in_seconds(seconds: u64) -> u64 {
    u64::try_from(SystemClock.now().as_secs()).expect("a time") + seconds
}

/// A certificate for this machine that ends then, and its key.
fn ending(at: u64) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(at);
    let key = KeyPair::generate().expect("a key");
    (params.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
}

#[test]
fn the_gateways_own_certificate_is_spoken_of_before_it_ends_and_after() {
    let clock = WrongClock::new();
    let settings = Settings::new().client("reader", &["read:logs-*"]);
    let gateway = Gateway::start(clock.of(settings.upstream(&Upstream::obliging().url())));
    let expires = || gateway.metric(EXPIRES);
    let said = |what: &str| gateway.log().matches(what).count();
    let is = |seen: f64, wanted: u64| seen.to_string() == wanted.to_string();
    assert!(expires() > 4e9, "the tests' own certificate is one for ever");

    // One of the chain is enough, also when the gateway's own goes on.
    let (near, far) = (in_seconds(10 * DAY), in_seconds(300 * DAY));
    let (certificate, key) = ending(far);
    gateway.write_file("gateway-key.pem", &key);
    gateway.write_file("gateway.pem", &certificate);
    assert_eq!(gateway.reload(), "applied");
    assert!(is(expires(), far), "{}", expires());
    assert_eq!((said(SOON), said(OVER)), (0, 0), "{}", gateway.log());
    gateway.write_file("gateway.pem", &format!("{certificate}{}", ending(near).0));
    assert_eq!(gateway.reload(), "applied");
    assert!(is(expires(), near), "{}", expires());
    assert_eq!((said(SOON), said(OVER)), (1, 0), "{}", gateway.log());
    assert_eq!(gateway.reload(), "applied");
    assert_eq!(said(SOON), 1, "it was said already");

    clock.set_off(i64::try_from(11 * DAY).expect("a number"));
    assert_eq!(gateway.reload(), "applied");
    assert_eq!((said(SOON), said(OVER)), (1, 1), "{}", gateway.log());
    gateway.write_file("gateway.pem", &certificate);
    assert_eq!(gateway.reload(), "applied");
    assert!(is(expires(), far), "{}", expires());
    clock.set_off(i64::try_from(13 * DAY).expect("a number"));
    assert_eq!(gateway.reload(), "applied");
    assert_eq!((said(SOON), said(OVER)), (1, 1), "{}", gateway.log());
}

#[test]
fn a_clients_certificate_that_runs_out_is_worth_nothing_on_an_open_connection() {
    const SEARCH: &str = "/logs-a/_search";
    let clock = WrongClock::new();
    let authority = Authority::new("clients");
    let settings = Settings::new()
        .file("clients-ca.pem", &authority.pem())
        .top(
            "tls",
            json!({"certificate": "gateway.pem", "key": "gateway-key.pem",
                "client_certificates": {"ca": "clients-ca.pem", "required": false}}),
        )
        .client_with(
            ClientSettings::new("shipper", &["read:logs-*"])
                .with("certificate", json!({"dns": "shipper.example.com"}))
                .without_secret(),
        );
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(clock.of(settings.upstream(&upstream.url())));
    let mut params = for_client(&[], vec![dns("shipper.example.com")]);
    params.not_after = date_time_ymd(1970, 1, 1) + Duration::from_secs(in_seconds(HOUR));
    let identity = authority.issue(params);
    let shipper = gateway.http().with_certificate(&identity);
    let ask = |connection: &mut e2e::Connection| {
        connection.write(&shipper.get(SEARCH).bytes());
        connection.answer()
    };
    let mut open = [shipper.connect(), shipper.connect()];
    for connection in &mut open {
        assert_eq!(ask(connection).status, 200);
    }
    let served = upstream.requests().len();
    clock.set_off(i64::try_from(2 * HOUR).expect("a number"));
    let [first, second] = &mut open;
    let answer = ask(first);
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")), "{}", answer.text());
    assert!(answer.text().contains("the client certificate has expired"), "{}", answer.text());
    assert!(first.is_closed_next());
    let event = gateway.audit_of(answer.request_id());
    assert_eq!(event["decision"], "deny", "{event}");
    // Nor is a session that goes on, and a new connection is not made at all.
    let answer = ask(&mut shipper.connect());
    assert_eq!(answer.status, 401, "{}", answer.text());
    let anew = gateway.http().with_certificate(&identity);
    if let Ok(mut connection) = anew.try_connect() {
        let _ = connection.try_write(&anew.get(SEARCH).bytes());
        assert!(connection.answer_to("GET").is_err());
    }
    let event = gateway.audit_where("the handshake", |event| event["event"] == "connection");
    assert_eq!(event["reason"], "the client certificate has expired; connect again with a new one", "{event}");
    assert_eq!(upstream.requests().len(), served);
    // The clock was wrong: who was not asked meanwhile goes on.
    clock.set_off(0);
    assert_eq!(ask(second).status, 200);
    assert_eq!(ask(&mut shipper.connect()).status, 200);
}
