//! Where requests come from: whose word is taken for it, who may come, and that nobody can say to be somebody else.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use e2e::{Answer, Client, ClientSettings, Connection, Gateway, Port, Settings, Upstream};
use serde_json::json;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 10));

fn settings() -> Settings {
    Settings::new()
        .client("reader", &["read:logs-*"])
        .client_with(
            ClientSettings::new("bound", &["read:logs-*"])
                .with("addresses", json!({"allow": ["127.0.0.1", "192.0.2.0/24"]})),
        )
        .upstream(&Upstream::obliging().url())
}

/// Trusts 127.0.0.10 and nobody else.
fn behind_proxy(tell_by: &str) -> Settings {
    settings().top("trusted_proxies", json!({"networks": ["127.0.0.10"], "tell_by": tell_by}))
}

/// A PROXY header with this command, family and what follows.
fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

fn of_client(address: [u8; 4]) -> Vec<u8> {
    header(0x21, 0x11, &[&address[..], &[127, 0, 0, 1, 0x12, 0x34, 0x20, 0xfb]].concat())
}

fn through_proxy(client: &Client, header: &[u8]) -> Connection {
    client.from_address(PROXY).connect_after(header)
}

fn ask(connection: &mut Connection, client: &Client) -> Answer {
    connection.write(&client.get("/logs-a/_search").bytes());
    connection.answer()
}

fn refusals(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric(&format!("oauth4os_connections_refused_total{{reason=\"{reason}\"}}"))
}

#[test]
fn a_trusted_proxy_says_whose_connection_it_is() {
    let gateway = Gateway::start(behind_proxy("proxy_protocol"));
    let reader = gateway.with("reader");
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().expect("an address").octets());
    let with_fields = [&[192, 0, 2, 7, 127, 0, 0, 1, 0, 1, 0, 2][..], &[0x04, 0, 3, 1, 2, 3]].concat();
    for (header, address) in [
        (of_client([192, 0, 2, 7]), "192.0.2.7"),
        (header(0x21, 0x21, &v6), "2001:db8::7"),
        (header(0x21, 0x11, &with_fields), "192.0.2.7"),
        // The proxy speaks for itself: it looks whether somebody is there.
        (header(0x20, 0x00, &[]), "127.0.0.10"),
    ] {
        let mut connection = through_proxy(&reader, &header);
        for _ in 0..2 {
            let answer = ask(&mut connection, &reader);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(gateway.audit_of(answer.request_id())["address"], address);
        }
    }
    // Who is no proxy comes as itself, and no header of a request changes that.
    let answer = reader.get("/logs-a/_search").header("X-Forwarded-For", "192.0.2.7").expect(200);
    assert_eq!(gateway.audit_of(answer.request_id())["address"], "127.0.0.1");
    let mut connection = through_proxy(&reader, &of_client([192, 0, 2, 7]));
    connection.write(&reader.get("/logs-a/_search").header("X-Forwarded-For", "198.51.100.1").bytes());
    assert_eq!(gateway.audit_of(connection.answer().request_id())["address"], "192.0.2.7");
}

#[test]
fn own_endpoints_and_limits_see_the_clients_address() {
    let limit = json!({"requests_per_second": 1, "burst": 3});
    let gateway = Gateway::start(behind_proxy("proxy_protocol").limit("unauthenticated", limit));
    let reader = gateway.with("reader");
    let stranger = gateway.http().with_token("eyJ.wrong.token");
    let mut guesser = through_proxy(&stranger, &of_client([192, 0, 2, 66]));
    let last = (0..20).map(|_| ask(&mut guesser, &stranger).status).last();
    assert_eq!(last, Some(429));
    let mut another = through_proxy(&stranger, &of_client([192, 0, 2, 67]));
    assert_eq!(ask(&mut another, &stranger).status, 401, "another client of the same proxy is not the guesser");
    let mut good = through_proxy(&reader, &of_client([192, 0, 2, 68]));
    assert_eq!(ask(&mut good, &reader).status, 200);

    let basic = gateway.http().with_basic("reader", gateway.secret("reader"));
    let mut connection = through_proxy(&basic, &of_client([192, 0, 2, 69]));
    connection.write(&basic.post("/oauth/token").form(&[("grant_type", "client_credentials")]).bytes());
    assert_eq!(connection.answer().status, 200);
    let _ =
        gateway.audit_where("the token", |event| event["event"] == "token.issued" && event["address"] == "192.0.2.69");
}

/// Sends bytes as they are and reads until the gateway closes: what it said.
fn raw(gateway: &Gateway, from: IpAddr, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = plain(gateway, from);
    for piece in pieces {
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    // The end of what is sent: whoever waits for more must not wait for ever.
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    said
}

fn plain(gateway: &Gateway, from: IpAddr) -> TcpStream {
    let stream = e2e::connect_from(from, SocketAddr::from(([127, 0, 0, 1], gateway.port())));
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set a timeout");
    stream
}

#[test]
fn hostile_headers_are_refused_without_a_word() {
    let gateway = Gateway::start(behind_proxy("proxy_protocol").limit("head_timeout", json!("2s")));
    let reader = gateway.with("reader");
    let v4: &[u8] = &[192, 0, 2, 7, 127, 0, 0, 1, 0, 1, 0, 2];
    let mut wrong = of_client([192, 0, 2, 7]);
    wrong[3] ^= 1;
    let headers = [
        Vec::new(),
        SIGNATURE.to_vec(),
        of_client([192, 0, 2, 7])[..15].to_vec(),
        of_client([192, 0, 2, 7])[..27].to_vec(),
        wrong,
        b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 8443\r\n".to_vec(),
        header(0x11, 0x11, v4),
        header(0x22, 0x11, v4),
        header(0x21, 0x00, &[]),
        header(0x21, 0x12, v4),
        header(0x21, 0x31, &[b'a'; 216]),
        header(0x21, 0x11, &v4[..8]),
        header(0x21, 0x21, v4),
        header(0x21, 0x11, &[v4, &[4, 255, 255]].concat()),
        header(0x21, 0x11, &[v4, &vec![0; 65_000]].concat()),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        vec![0x16, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9],
    ];
    let before = refusals(&gateway, "proxy_header");
    for bytes in &headers {
        assert_eq!(raw(&gateway, PROXY, &[bytes]), b"", "{bytes:?}");
    }
    let refused = || refusals(&gateway, "proxy_header") - before;
    e2e::until("all refusals to be counted", Duration::from_secs(10), || {
        (refused() as usize == headers.len()).then_some(())
    });
    let event = gateway.audit_where("a refused connection", |event| event["event"] == "connection");
    assert_eq!((&event["decision"], &event["address"]), (&json!("deny"), &json!("127.0.0.10")), "{event}");
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("PROXY")), "{event}");
    // One that says nothing is not waited for longer than for any head.
    let mut silent = plain(&gateway, PROXY);
    silent.write_all(&SIGNATURE[..5]).expect("send");
    assert_eq!(silent.read(&mut [0; 16]).expect("the end"), 0);
    // The header byte by byte, and TLS at once after it: it is read to its end and no further.
    let mut connection = through_proxy(&reader, &of_client([192, 0, 2, 7]));
    assert_eq!(ask(&mut connection, &reader).status, 200);
    assert!(gateway.is_running());
}

#[test]
fn nobody_else_is_believed() {
    let gateway = Gateway::start(behind_proxy("proxy_protocol"));
    let reader = gateway.with("reader");
    // The header is no TLS: all that comes back is TLS's own word for that.
    for from in [[127, 0, 0, 1], [127, 0, 0, 11]] {
        let said = raw(&gateway, from.into(), &[&of_client([192, 0, 2, 7]), b"GET / HTTP/1.1\r\n\r\n"]);
        assert!(said.is_empty() || (said[0] == 0x15 && said.len() < 16), "{said:?}");
    }
    assert_eq!(refusals(&gateway, "proxy_header"), 0.0);
    // Without any trusted proxy it is the same.
    let gateway = Gateway::start(settings());
    let said = raw(&gateway, PROXY, &[&of_client([192, 0, 2, 7])]);
    assert!(said.is_empty() || said[0] == 0x15, "{said:?}");
    let answer = gateway.with("reader").get("/logs-a/_search").header("X-Forwarded-For", "192.0.2.7").expect(200);
    assert_eq!(gateway.audit_of(answer.request_id())["address"], "127.0.0.1");
    drop(reader);
}

#[test]
fn x_forwarded_for_is_read_from_trusted_proxies_only() {
    let gateway = Gateway::start(behind_proxy("x_forwarded_for"));
    let reader = gateway.with("reader");
    let proxied = reader.from_address(PROXY);
    let ask = |client: &Client, values: &[&str]| {
        let mut request = client.get("/logs-a/_search");
        for value in values {
            request = request.header("X-Forwarded-For", value);
        }
        request.send()
    };
    for (values, address) in [
        (&[][..], "127.0.0.10"),
        (&["192.0.2.7"], "192.0.2.7"),
        (&["203.0.113.1, 192.0.2.7"], "192.0.2.7"),
        (&["203.0.113.1", "192.0.2.7, 127.0.0.10"], "192.0.2.7"),
        (&["<script>, 2001:db8::7"], "2001:db8::7"),
    ] {
        let answer = ask(&proxied, values);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(gateway.audit_of(answer.request_id())["address"], address, "{values:?}");
        let answer = ask(&reader, values);
        assert_eq!(gateway.audit_of(answer.request_id())["address"], "127.0.0.1", "{values:?}");
    }
    for values in [&["unknown"][..], &["192.0.2.7,"], &["192.0.2.7", ""]] {
        let answer = ask(&proxied, values);
        assert_eq!(answer.status, 400, "{values:?}");
        assert!(answer.text().contains("X-Forwarded-For"), "{}", answer.text());
    }
}

#[test]
fn addresses_that_may_not_come_are_closed_before_tls_and_recorded() {
    let settings = settings().top("addresses", json!({"allow": ["127.0.0.0/24"], "deny": ["127.0.0.66"]}));
    let gateway = Gateway::start(settings);
    let reader = gateway.with("reader");
    reader.from_address([127, 0, 0, 7].into()).get("/logs-a/_search").expect(200);
    for (from, why) in [([127, 0, 0, 66], "`addresses.deny`"), ([127, 0, 1, 1], "`addresses.allow`")] {
        assert_eq!(raw(&gateway, from.into(), &[&[0x16, 3, 1, 0, 5]]), b"");
        let address = IpAddr::from(from).to_string();
        let event = gateway.audit_where(&address, |event| event["address"] == address.as_str());
        assert_eq!((&event["event"], &event["decision"]), (&json!("connection"), &json!("deny")), "{event}");
        assert!(event["reason"].as_str().is_some_and(|reason| reason.contains(why)), "{event}");
    }
    assert_eq!(refusals(&gateway, "address"), 2.0);

    // A reload reaches connections that are open.
    let mut open = reader.from_address([127, 0, 0, 7].into()).connect();
    assert_eq!(ask(&mut open, &reader).status, 200);
    gateway.change_config(|config| config["addresses"] = json!({"deny": ["127.0.0.7"]}));
    assert_eq!(gateway.reload(), "applied");
    let refused = ask(&mut open, &reader);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let event = gateway.audit_of(refused.request_id());
    assert_eq!((&event["decision"], &event["address"]), (&json!("deny"), &json!("127.0.0.7")), "{event}");
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("`addresses.deny`")), "{event}");
    reader.from_address([127, 0, 1, 1].into()).get("/logs-a/_search").expect(200);
}

#[test]
fn a_listener_has_rules_of_its_own_within_those_of_all() {
    let (one, two) = (Upstream::obliging(), Upstream::obliging());
    let port = Port::reserve();
    let listen = format!("127.0.0.1:{}", port.number());
    let gateway = Gateway::start(
        Settings::new()
            .top("addresses", json!({"deny": ["127.0.0.66"]}))
            .cluster_at(json!({"name": "one"}), &one.url())
            .cluster_at(
                json!({"name": "two", "listen": listen, "addresses": {"allow": ["127.0.0.64/28"], "deny": ["127.0.0.67"]}}),
                &two.url(),
            )
            .client("reader", &["read:one/logs-*", "read:two/logs-*"]),
    );
    let token = gateway.token("reader");
    let (reader, on_two) = (gateway.http().with_token(&token), gateway.http_on(&port).with_token(&token));
    // By the gateway's listener whoever all let in; by the cluster's own whoever it lets in, too.
    for (last, of_all, of_two) in [(1, true, false), (64, true, true), (66, false, false), (67, true, false)] {
        for (client, may) in [(&reader, of_all), (&on_two, of_two)] {
            let client = client.from_address([127, 0, 0, last].into());
            if may {
                client.get("/logs-a/_search").expect(200);
            } else {
                assert!(client.try_connect().is_err(), "127.0.0.{last}");
            }
        }
    }
    let address = "127.0.0.67";
    let event = gateway.audit_where(address, |event| event["address"] == address && event["event"] == "connection");
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("of this listener")), "{event}");
    gateway.change_config(|config| drop(config["clusters"][1].as_object_mut().expect("a cluster").remove("listen")));
    let run = gateway.check_config();
    assert!(!run.succeeded && run.stderr.contains("is for a `listen` of its own"), "{}", run.stderr);
}

#[test]
fn a_client_is_bound_to_its_addresses_with_secret_and_token() {
    let gateway = Gateway::start(behind_proxy("proxy_protocol"));
    let bound = gateway.with("bound");
    bound.get("/logs-a/_search").expect(200);
    let mut inside = through_proxy(&bound, &of_client([192, 0, 2, 200]));
    assert_eq!(ask(&mut inside, &bound).status, 200);
    let mut outside = through_proxy(&bound, &of_client([198, 51, 100, 1]));
    let refused = ask(&mut outside, &bound);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let event = gateway.audit_of(refused.request_id());
    assert_eq!((&event["client"], &event["address"]), (&json!("bound"), &json!("198.51.100.1")), "{event}");
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("`addresses.allow`")), "{event}");
    // The connection goes on, and the reader's token does from there.
    let reader = gateway.with("reader");
    assert_eq!(ask(&mut outside, &reader).status, 200);

    let basic = gateway.http().with_basic("bound", gateway.secret("bound"));
    for (request, status) in [
        (basic.post("/oauth/token").form(&[("grant_type", "client_credentials")]).bytes(), 401),
        (bound.get("/_oauth4os/v1/whoami").bytes(), 401),
        (basic.get("/oauth/tokens").bytes(), 401),
    ] {
        outside.write(&request);
        let refused = outside.answer();
        assert_eq!(refused.status, status, "{}", refused.text());
        assert!(refused.text().contains("may not be used from this address"), "{}", refused.text());
    }
    let event = gateway.audit_where("the refused token", |event| event["event"] == "token.refused");
    assert_eq!((&event["client"], &event["address"]), (&json!("bound"), &json!("198.51.100.1")), "{event}");
}
