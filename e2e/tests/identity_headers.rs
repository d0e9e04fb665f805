//! No header a client can send changes who the engine takes it for.

#[path = "identity/names.rs"]
mod names;

use e2e::{Client, Gateway, Settings, Upstream, base64url_decode};
use serde_json::{Value, json};

use self::names::NAMES;

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("writer", &["write:app-logs-*"])
}

#[test]
fn none_of_them_reaches_the_engine() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let reader = gateway.with("reader");
    for (number, name) in NAMES.iter().enumerate() {
        for (case, spelling) in [(*name).to_owned(), name.to_uppercase()].into_iter().enumerate() {
            let target = format!("/logs-{number}-{case}/_search");
            reader.get(&target).header(&spelling, "admin").expect(200);
            let received = upstream.the_request_for(&target);
            assert_eq!(
                received.header_names(),
                ["host", "x-opaque-id", "authorization"],
                "{spelling}: {:?}",
                received.headers
            );
        }
    }
}

#[test]
fn the_engine_gets_one_identity_and_it_is_the_tokens() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let token = gateway.token("reader");
    let reader = gateway.http().with_token(&token);
    let mut request = reader.get("/logs-all/_search");
    for name in NAMES {
        request = request.header(name, "admin");
    }
    request.expect(200);
    let received = upstream.the_request_for("/logs-all/_search");
    assert_eq!(received.header_names(), ["host", "x-opaque-id", "authorization"]);
    assert_eq!(received.header("host"), [upstream.authority()]);
    let authorization = received.header("authorization")[0];
    assert!(!authorization.contains(&token), "the client's token went to the engine");
    let claims = claims_of(authorization.strip_prefix("Bearer ").expect("a bearer token"));
    assert_eq!(claims["sub"], "oauth4os:reader");
    assert_eq!(claims["roles"], json!(["oauth4os_read"]));
    assert_eq!(claims["aud"], "opensearch");

    // Another client is another identity, also on the same connection to the engine.
    gateway.with("writer").post("/app-logs-x/_doc").json(&json!({})).expect(200);
    let received = upstream.the_request_for("/app-logs-x/_doc");
    let claims = claims_of(received.header("authorization")[0].strip_prefix("Bearer ").expect("a bearer token"));
    assert_eq!((&claims["sub"], &claims["roles"]), (&json!("oauth4os:writer"), &json!(["oauth4os_write"])));
}

#[test]
fn a_connection_option_takes_nothing_of_the_gateways_away() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let reader = gateway.with("reader");
    for (number, options) in [
        "authorization",
        "Authorization, host",
        "close, authorization",
        "host",
        "x-custom",
        "content-length",
        "keep-alive, x-custom",
    ]
    .iter()
    .enumerate()
    {
        let target = format!("/logs-{number}/_search");
        reader
            .post(&target)
            .header("Connection", options)
            .header("X-Custom", "1")
            .json(&json!({"size": 0}))
            .expect(200);
        let received = upstream.the_request_for(&target);
        assert_eq!(received.header("authorization").len(), 1, "{options}: {:?}", received.headers);
        assert_eq!(received.header("host"), [upstream.authority()], "{options}");
        assert_eq!(received.header("connection"), Vec::<&str>::new(), "{options}");
        assert!(received.body.is_complete && received.body.bytes == b"{\"size\":0}", "{options}");
        assert_eq!(received.header("x-custom").is_empty(), options.contains("x-custom"), "{options}");
    }
}

#[test]
fn what_clients_need_passes_byte_for_byte() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()));
    let passing = [
        ("Accept", "application/vnd.opensearch+json; compatible-with=3"),
        ("X-Opaque-Id", "my job: 1/2 (\"three\")"),
        ("User-Agent", "opensearch-py/3.2.0"),
        ("Accept-Encoding", "gzip, deflate"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("Content-Type", "application/json; charset=UTF-8"),
    ];
    let writer = gateway.with("writer");
    let mut request = writer.request("PUT", "/app-logs-1/_doc/a%2Fb+c?routing=x%20y&pretty");
    for (name, value) in passing {
        request = request.header(name, value);
    }
    let mut connection = writer.connect();
    connection.write(&request.header("Content-Length", "2").bytes());
    connection.write(b"{}");
    assert_eq!(connection.answer().status, 200);
    let received = upstream.the_request_for("/app-logs-1/_doc/a%2Fb+c?routing=x%20y&pretty");
    for (name, value) in passing {
        assert_eq!(received.header(name), [value]);
    }
}

#[test]
fn on_the_real_engine_they_change_nothing() {
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let plain = who_is(&reader, &[]);
    assert_eq!(plain["user_name"], "oauth4os:reader");
    assert_eq!(plain["backend_roles"], json!(["oauth4os_read"]));
    for name in NAMES.iter().filter(|name| **name != "te" && **name != "trailer") {
        for value in ["admin", "all_access", "CN=admin,OU=client"] {
            assert_eq!(who_is(&reader, &[(name, value)]), plain, "{name}: {value}");
        }
    }
    let all: Vec<(&str, &str)> = NAMES.iter().map(|name| (*name, "admin")).collect();
    assert_eq!(who_is(&reader, &all), plain);
    let mut request = reader.get("/pii-customers/_search");
    for (name, value) in all {
        request = request.header(name, value);
    }
    request.expect(403);
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

fn claims_of(token: &str) -> Value {
    let claims = token.split('.').nth(1).expect("claims");
    serde_json::from_slice(&base64url_decode(claims)).expect("JSON")
}
