//! What ends a WebSocket: its sides, time, and whatever would have its request refused now.

use std::io::ErrorKind;
use std::time::Duration;

use e2e::websockets::{ClientSocket, WebSockets, assert_echo, echo, open, read_to_end};
use e2e::{Forge, Gateway, Issuer, Upstream, token_id, until};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};
use support::{READ, closed, open_as, settings, start};
use tungstenite::{Error, Message};

#[path = "websockets/support.rs"]
mod support;

const MIB: usize = 1024 * 1024;

/// Makes sure that the gateway has ended it, and that nobody has said goodbye in its name.
fn assert_cut(socket: &mut ClientSocket) {
    let error = read_to_end(socket);
    assert!(
        matches!(&error, Error::Protocol(_))
            || matches!(&error, Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof),
        "{error:?}"
    );
}

#[test]
fn a_revocation_ends_it_and_no_other() {
    let dashboards = WebSockets::echoing();
    let gateway = start(&dashboards);
    let token = gateway.token("viewer");
    let (mut socket, answer) = open(&gateway.http().with_token(&token), READ, &[]).expect("a WebSocket");
    let (mut other, _) = open_as(&gateway, "viewer");
    assert_echo(&mut socket, "before");
    gateway.revoke("viewer", &token);
    assert_cut(&mut socket);
    let closed = closed(&gateway, answer.request_id());
    assert_eq!((&closed["decision"], &closed["token_id"]), (&json!("deny"), &json!(token_id(&token))));
    assert!(closed["reason"].as_str().expect("a reason").contains("revoked"), "{closed}");
    dashboards.wait_for_open(1);
    assert_echo(&mut other, "after");
}

#[test]
fn its_tokens_end_is_its_end() {
    let dashboards = WebSockets::echoing();
    let gateway = start(&dashboards);
    let forge = gateway.forge();
    let claims = forge.claims("viewer", "read:dashboards");
    let end = claims.claims["iat"].as_i64().expect("a time") + 3;
    let token = claims.with("exp", json!(end)).sign(forge.access());
    let (mut socket, answer) = open(&gateway.http().with_token(&token), READ, &[]).expect("a WebSocket");
    assert_echo(&mut socket, "before");
    assert_cut(&mut socket);
    assert!(closed(&gateway, answer.request_id())["reason"].as_str().expect("a reason").contains("expired"));
    dashboards.wait_for_open(0);
}

#[test]
fn it_ends_when_it_would_be_refused_now() {
    let dashboards = WebSockets::echoing();
    let gateway = Gateway::start(
        settings(&dashboards.url(), &Upstream::obliging())
            .client("other", &["read:dashboards"])
            .policies("permit(principal, action, resource);"),
    );
    let change = |change: &dyn Fn(), reason: &str| {
        let (mut socket, request_id) = open_as(&gateway, "viewer");
        let (mut other, _) = open_as(&gateway, "other");
        change();
        assert_eq!(gateway.reload(), "applied");
        assert_cut(&mut socket);
        let closed = closed(&gateway, &request_id);
        assert_eq!(closed["decision"], "deny");
        assert!(closed["reason"].as_str().expect("a reason").contains(reason), "{closed}");
        assert_echo(&mut other, "this one may go on");
    };
    let forbid = r#"permit(principal, action, resource); @id("closed") forbid(principal == Client::"viewer", action == Action::"get", resource == Dashboard::"query");"#;
    change(&|| gateway.write_file("policies.cedar", forbid), "the policy `closed` forbids");
    gateway.write_file("policies.cedar", "permit(principal, action, resource);");
    assert_eq!(gateway.reload(), "applied");
    let client = |key: &'static str, value: Value| {
        let gateway = &gateway;
        move || gateway.change_config(|config| config["clients"][0][key] = value.clone())
    };
    change(&client("addresses", json!({"deny": ["127.0.0.0/8"]})), "may not be used from this address");
    client("addresses", json!({}))();
    assert_eq!(gateway.reload(), "applied");
    change(&client("scopes", json!(["read:logs-*"])), "may not have all of its scopes any more");
    // The rules for all.
    let (mut other, request_id) = open_as(&gateway, "other");
    gateway.change_config(|config| config["addresses"] = json!({"deny": ["127.0.0.0/8"]}));
    assert_eq!(gateway.reload(), "applied");
    assert_cut(&mut other);
    assert_eq!(
        closed(&gateway, &request_id)["reason"],
        "this address is denied by `addresses.deny` of the gateway or of this listener"
    );
}

/// Nobody tells of it: it is looked at every few seconds.
#[test]
fn the_end_of_a_providers_key_ends_it() {
    let dashboards = WebSockets::echoing();
    let (old, new) = (Forge::stranger(Algorithm::Es256), Forge::stranger(Algorithm::Es256));
    let issuer = Issuer::start(&[&old, &new]);
    let mut provider = issuer.settings("double");
    provider["scope_mapping"] = json!({"scopes": {"logs": ["read:dashboards"]}});
    let gateway = Gateway::start(settings(&dashboards.url(), &Upstream::obliging()).provider(provider));
    let with = |key: &SigningKey| gateway.http().with_token(&issuer.claims(key).sign(key));
    let (mut socket, answer) = open(&with(&old), READ, &[]).expect("a WebSocket");
    let (mut other, _) = open(&with(&new), READ, &[]).expect("a WebSocket");
    assert_echo(&mut socket, "before");
    let newest = Forge::stranger(Algorithm::Es256);
    issuer.publish(&[&new, &newest]);
    // A key that nobody has seen is asked for, and the others with it.
    let (mut latest, _) = open(&with(&newest), READ, &[]).expect("a WebSocket");
    assert_cut(&mut socket);
    let closed = closed(&gateway, answer.request_id());
    assert_eq!((&closed["decision"], &closed["provider"]), (&json!("deny"), &json!("double")), "{closed}");
    for socket in [&mut other, &mut latest] {
        assert_echo(socket, "after");
    }
}

#[test]
fn a_drain_waits_for_it_and_then_ends_it() {
    let dashboards = WebSockets::echoing();
    let gateway =
        Gateway::start(settings(&dashboards.url(), &Upstream::obliging()).limit("drain_timeout", json!("2s")));
    let (mut one, first) = open_as(&gateway, "viewer");
    let (mut two, second) = open_as(&gateway, "viewer");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| gateway.stop());
        until("the listener to be closed", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", gateway.port())).err()
        });
        assert_echo(&mut one, "during the drain");
        one.close(None).expect("close");
        read_to_end(&mut one);
        drop(one);
        assert_cut(&mut two);
        stopping.join().expect("the end");
    });
    dashboards.wait_for_open(0);
    // What became of them is written before the process ends.
    let events = gateway.audit();
    let end = |id: &str| events.iter().find(|event| event["event"] == "websocket.closed" && event["request_id"] == id);
    assert_eq!(end(&first).expect("an end")["error"], Value::Null);
    assert_eq!(end(&second).expect("an end")["error"], "the gateway was stopped");
}

#[test]
fn a_drain_goes_on_at_once_when_it_has_ended() {
    let dashboards = WebSockets::echoing();
    let gateway =
        Gateway::start(settings(&dashboards.url(), &Upstream::obliging()).limit("drain_timeout", json!("1h")));
    let (mut socket, _) = open_as(&gateway, "viewer");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| gateway.stop());
        until("the listener to be closed", Duration::from_secs(10), || {
            std::net::TcpStream::connect(("127.0.0.1", gateway.port())).err()
        });
        assert_echo(&mut socket, "during the drain");
        assert!(!stopping.is_finished());
        socket.close(None).expect("close");
        read_to_end(&mut socket);
        drop(socket);
        stopping.join().expect("the end");
    });
}

#[test]
fn whoever_breaks_off_ends_it_for_both() {
    let dashboards = WebSockets::start(|socket| {
        if socket.read().is_ok_and(|message| message.to_text().is_ok_and(|text| text == "go away")) {
            // With what it has not read, so that the connection is reset.
            return;
        }
        echo(socket);
    });
    let gateway = start(&dashboards);
    let (mut socket, request_id) = open_as(&gateway, "viewer");
    socket.send(Message::text("stay")).expect("send");
    assert_echo(&mut socket, "there");
    dashboards.wait_for_open(1);
    // Without a word of TLS, as when a process is killed.
    let tcp = socket.get_ref().sock.try_clone().expect("a socket");
    tcp.shutdown(std::net::Shutdown::Both).expect("shut down");
    dashboards.wait_for_open(0);
    assert_eq!(closed(&gateway, &request_id)["error"], "the client broke off");

    let (mut socket, request_id) = open_as(&gateway, "viewer");
    socket.send(Message::text("go away")).expect("send");
    assert_cut(&mut socket);
    drop(socket);
    assert_eq!(closed(&gateway, &request_id)["decision"], "allow");
    dashboards.wait_for_open(0);
    gateway.with("reader").get("/logs-a/_search").expect(200);
}

#[test]
fn it_ends_when_nothing_is_said_for_too_long() {
    let dashboards = WebSockets::echoing();
    let gateway = Gateway::start(settings(&dashboards.url(), &Upstream::obliging()).limit("idle_timeout", json!("1s")));
    let (mut socket, request_id) = open_as(&gateway, "viewer");
    assert_echo(&mut socket, "something");
    assert_cut(&mut socket);
    let closed = closed(&gateway, &request_id);
    assert_eq!(closed["error"], "nothing was sent for as long as `limits.idle_timeout`");
    dashboards.wait_for_open(0);
}

#[test]
fn whoever_takes_nothing_is_sent_away() {
    let dashboards = WebSockets::start(|socket| while socket.send(Message::binary(vec![1; MIB])).is_ok() {});
    let gateway = Gateway::start(settings(&dashboards.url(), &Upstream::obliging()).limit("body_timeout", json!("1s")));
    // It sends all the time, and reads nothing.
    let (mut socket, request_id) = open_as(&gateway, "viewer");
    socket.get_ref().sock.set_write_timeout(Some(Duration::from_secs(10))).expect("set a timeout");
    while socket.send(Message::Ping(Vec::new().into())).is_ok() && !gateway.audit_text().contains("websocket.closed") {}
    assert_eq!(closed(&gateway, &request_id)["error"], "the client took nothing for as long as `limits.body_timeout`");
    dashboards.wait_for_open(0);
}
