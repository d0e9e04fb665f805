//! TLS certificates of clients as credentials: whose one is, what is none, and what it is worth beside other credentials, over the
//! life of a connection and over changes of the configuration.

use std::time::Duration;

use e2e::{
    Authority, Client, ClientSettings, Connection, Engine, Gateway, Identity, OnDrop, Settings, Upstream, dns,
    for_client, http2, until, uri,
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use serde_json::{Value, json};

const SEARCH: &str = "/logs-a/_search";

/// Clients with a name each, and what takes the authority's certificates.
fn settings(authority: &Authority, required: bool) -> Settings {
    let client = |id: &str, certificate: Value| {
        ClientSettings::new(id, &["read:logs-*"]).with("certificate", certificate).without_secret()
    };
    Settings::new()
        .file("clients-ca.pem", &authority.pem())
        .top("tls", tls(json!({"ca": "clients-ca.pem", "required": required})))
        .client_with(client("by-subject", json!({"subject": "CN=shipper,OU=logs,O=Example"})))
        .client_with(client("by-dns", json!({"dns": "shipper.example.com"})))
        .client_with(client("by-uri", json!({"uri": "spiffe://example.com/shipper"})))
        .client_with(client("by-ip", json!({"ip": "192.0.2.7"})))
        .client_with(client("by-email", json!({"email": "shipper@example.com"})))
        .client_with(
            ClientSettings::new("both", &["read:logs-*"]).with("certificate", json!({"dns": "both.example.com"})),
        )
        .client("other", &["read:logs-*"])
}

fn tls(client_certificates: Value) -> Value {
    json!({"certificate": "gateway.pem", "key": "gateway-key.pem", "client_certificates": client_certificates})
}

fn start(settings: Settings) -> Gateway {
    Gateway::start(settings.upstream(&Upstream::obliging().url()))
}

fn subject(values: &[(DnType, &str)]) -> CertificateParams {
    for_client(values, Vec::new())
}

fn of_shipper() -> SanType {
    dns("shipper.example.com")
}

/// Why the gateway has refused a connection with this certificate.
fn refused(gateway: &Gateway, client: &Client) -> String {
    let seen = gateway.audit().len();
    let refused = match client.try_connect() {
        Err(_) => true,
        // In TLS 1.3 the client is done before its certificate has arrived.
        Ok(mut connection) => {
            let _ = connection.try_write(&client.get(SEARCH).bytes());
            connection.answer_to("GET").is_err()
        }
    };
    assert!(refused, "the gateway has served the connection");
    let event = until("the record of the refusal", Duration::from_secs(10), || {
        gateway.audit().into_iter().skip(seen).find(|event| event["event"] == "connection")
    });
    assert_eq!((&event["decision"], &event["address"]), (&json!("deny"), &json!("127.0.0.1")), "{event}");
    event["reason"].as_str().expect("a reason").to_owned()
}

fn ask(connection: &mut Connection, client: &Client) -> e2e::Answer {
    connection.write(&client.get(SEARCH).bytes());
    connection.answer()
}

#[test]
fn a_certificate_is_the_client_s_whose_name_is_in_it() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, false));
    let (cn, ou, o) = (DnType::CommonName, DnType::OrganizationalUnitName, DnType::OrganizationName);
    let whole = subject(&[(o, "Example"), (ou, "logs"), (cn, "shipper")]);
    for (params, client) in [
        (whole, "by-subject"),
        (for_client(&[], vec![of_shipper()]), "by-dns"),
        (for_client(&[], vec![dns("Shipper.Example.COM")]), "by-dns"),
        (for_client(&[], vec![dns("a.example.com"), of_shipper(), dns("*.example.com")]), "by-dns"),
        (for_client(&[], vec![uri("spiffe://example.com/shipper")]), "by-uri"),
        (for_client(&[], vec![SanType::IpAddress([192, 0, 2, 7].into())]), "by-ip"),
        (for_client(&[], vec![SanType::Rfc822Name("shipper@EXAMPLE.com".try_into().expect("a name"))]), "by-email"),
    ] {
        let identity = authority.issue(params);
        let http = gateway.http().with_certificate(&identity);
        let answer = http.get(SEARCH).expect(200);
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&event["client"], &event["credential"]), (&json!(client), &json!("certificate")), "{event}");
        assert_eq!(event["certificate"], json!(identity.fingerprint()));
        assert_eq!((&event["scopes"], event.get("token_id")), (&json!("read:logs-*"), None));
        // What the client may not, its certificate does not open.
        let denied = http.get("/pii-customers/_search").expect(403);
        assert_eq!(gateway.audit_of(denied.request_id())["client"], json!(client));
        http.put("/logs-a/_doc/1").json(&json!({})).expect(403);
    }
    // From an authority below, by TLS 1.2, and over and over: verified once.
    let identity = authority.below("below").issue_to(of_shipper());
    for http in [gateway.http().with_certificate(&identity), gateway.http().with_certificate_by_tls12(&identity)] {
        http.get(SEARCH).expect(200);
    }
    let http = gateway.http().with_certificate(&identity);
    let misses = gateway.metric("oauth4os_token_cache_misses_total");
    let mut connection = http.connect();
    for _ in 0..20 {
        assert_eq!(ask(&mut connection, &http).status, 200);
    }
    assert!(gateway.metric("oauth4os_token_cache_misses_total") <= misses + 1.0);
    // Nobody needs one, as long as none is required.
    gateway.with("other").get(SEARCH).expect(200);
    gateway.http().get(SEARCH).expect(401);
}

#[test]
fn what_only_looks_like_a_client_s_name_is_nobodys() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, false));
    let (cn, ou, o) = (DnType::CommonName, DnType::OrganizationalUnitName, DnType::OrganizationName);
    let with_alternatives = |names: Vec<SanType>| for_client(&[], names);
    for params in [
        // The text of the whole subject within a part of it, other orders, parts more, less and changed.
        subject(&[(cn.clone(), "shipper,OU=logs,O=Example")]),
        subject(&[(o.clone(), "Example"), (cn.clone(), "shipper,OU=logs")]),
        subject(&[(cn.clone(), "shipper"), (ou.clone(), "logs"), (o.clone(), "Example")]),
        subject(&[(o.clone(), "Example"), (cn.clone(), "shipper")]),
        subject(&[(DnType::CountryName, "EU"), (o.clone(), "Example"), (ou.clone(), "logs"), (cn.clone(), "shipper")]),
        subject(&[(o.clone(), "Example"), (ou.clone(), "logs"), (cn.clone(), "shipper\0")]),
        subject(&[(o.clone(), "Example"), (ou.clone(), "logs"), (cn.clone(), "Shipper")]),
        subject(&[(o.clone(), "Example "), (ou, "logs"), (cn.clone(), "shipper")]),
        // A name in the wrong place.
        subject(&[(cn.clone(), "shipper.example.com")]),
        subject(&[(cn, "spiffe://example.com/shipper")]),
        with_alternatives(vec![uri("urn:shipper.example.com")]),
        with_alternatives(vec![dns("192.0.2.7")]),
        // Names for many, and others.
        with_alternatives(vec![dns("*.example.com")]),
        with_alternatives(vec![dns("shipper.example.com.evil.example")]),
        with_alternatives(vec![dns("xshipper.example.com")]),
        with_alternatives(vec![uri("spiffe://example.com/shipper/")]),
        with_alternatives(vec![uri("spiffe://example.com/Shipper")]),
        with_alternatives(vec![uri("spiffe://example.com/shipper"), uri("spiffe://example.com/other")]),
        with_alternatives(vec![SanType::Rfc822Name("Shipper@example.com".try_into().expect("a name"))]),
    ] {
        let described = format!("{:?} {:?}", params.distinguished_name, params.subject_alt_names);
        let answer = gateway.http().with_certificate(&authority.issue(params)).get(SEARCH).send();
        assert_eq!(answer.status, 401, "{described}: {}", answer.text());
        assert!(answer.text().contains("is no client's"), "{described}: {}", answer.text());
        assert!(answer.header("www-authenticate").is_some());
    }
    // Two clients' names in one: nobody knows who asks, with a token of one of them neither.
    let two = authority.issue(with_alternatives(vec![of_shipper(), uri("spiffe://example.com/shipper")]));
    let two = gateway.http().with_certificate(&two);
    assert!(two.get(SEARCH).expect(400).text().contains("names of several clients"));
    assert!(two.with_token(&gateway.token("both")).get(SEARCH).expect(400).text().contains("names of several clients"));
}

#[test]
fn a_certificate_that_does_not_hold_ends_the_connection_and_is_recorded() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, false));
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = for_client(&[], vec![of_shipper()]);
        change(&mut params);
        params
    };
    let is_ca = with(|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained));
    let mut count = 0.0;
    for (identity, expected) in [
        (authority.issue(with(|params| params.not_after = date_time_ymd(2020, 1, 1))), "has expired"),
        (authority.issue(with(|params| params.not_before = date_time_ymd(4000, 1, 1))), "not valid yet"),
        (
            authority.issue(with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])),
            "not one for clients",
        ),
        (authority.issue(is_ca), "does not hold"),
        (Authority::new("clients").issue_to(of_shipper()), "does not hold"),
        (Authority::new("others").issue_to(of_shipper()), "no authority that is taken"),
        (Authority::new("others").below("clients").issue_to(of_shipper()), "the client certificate"),
        (Identity::self_signed(&with(|_| {})), "no authority that is taken"),
    ] {
        for http in [gateway.http().with_certificate(&identity), gateway.http().with_certificate_by_tls12(&identity)] {
            let reason = refused(&gateway, &http);
            assert!(reason.contains(expected), "{expected}: {reason}");
            count += 1.0;
            // No token helps.
            let reason = refused(&gateway, &http.with_token(&gateway.token("other")));
            assert!(reason.contains(expected), "{expected}: {reason}");
            count += 1.0;
        }
    }
    assert!((gateway.metric("oauth4os_connections_refused_total{reason=\"certificate\"}") - count).abs() < 0.5);
    assert!(gateway.is_running());
}

#[test]
fn beside_a_certificate_another_credential_is_the_same_client_s() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, false));
    let of_both = gateway.http().with_certificate(&authority.issue_to(dns("both.example.com")));
    let of_shipper = gateway.http().with_certificate(&authority.issue_to(of_shipper()));
    let of_nobody = gateway.http().with_certificate(&authority.issue_to(dns("mesh.example.com")));
    let (both, other) = (gateway.token_with("both", "read:logs-a"), gateway.token("other"));
    // The token decides, narrower than the certificate would.
    let answer = of_both.with_token(&both).get(SEARCH).expect(200);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["scopes"], event.get("credential")), (&json!("read:logs-a"), None), "{event}");
    of_both.get("/logs-b/_search").expect(200);
    of_both.with_token(&both).get("/logs-b/_search").expect(403);
    // Somebody else's is refused, whoever's the certificate is.
    for (http, token) in [(&of_both, &other), (&of_shipper, &other), (&of_shipper, &both)] {
        let answer = http.with_token(token).get(SEARCH).expect(400);
        assert!(answer.text().contains("of two clients"), "{}", answer.text());
        assert_eq!(gateway.audit_of(answer.request_id())["decision"], "deny");
    }
    // A certificate that is nobody's says nothing.
    of_nobody.with_token(&other).get(SEARCH).expect(200);
    // A credential that does not hold is not made good by a certificate.
    for value in ["Bearer wrong", "Basic YTpi", "Digest x", "Bearer"] {
        of_both.get(SEARCH).header("Authorization", value).expect(401);
    }
    of_both.with_token(&both).get(SEARCH).header("Authorization", &format!("Bearer {both}")).expect(400);
    // What somebody says about a certificate in a header is nothing.
    for name in ["X-Forwarded-Client-Cert", "X-SSL-Client-Cert", "Client-Cert"] {
        gateway.http().get(SEARCH).header(name, "CN=shipper,OU=logs,O=Example").expect(401);
    }
    // Of the gateway's own endpoints those go by it that take clients, for the client that a form names.
    of_both.get("/_oauth4os/v1/whoami").expect(401);
    of_both.post("/oauth/token").form(&[("grant_type", "client_credentials")]).expect(401);
}

#[test]
fn where_one_is_required_there_is_no_connection_without() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, true));
    assert!(refused(&gateway, gateway.http()).contains("no client certificate was shown"));
    let http = gateway.http().with_certificate(&authority.issue_to(of_shipper()));
    http.get(SEARCH).expect(200);
    http.get("/healthz").expect(200);
    let of_nobody = gateway.http().with_certificate(&authority.issue_to(dns("mesh.example.com")));
    of_nobody.get(SEARCH).expect(401);
}

#[test]
fn it_holds_for_every_stream_of_http2() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, false));
    let http = gateway.http().with_certificate(&authority.issue_to(dns("both.example.com")));
    let other = gateway.token("other");
    http2::run(async {
        let connection = http2::Http2::open(&http).await;
        for _ in 0..3 {
            let answer = connection.get(SEARCH).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
            let event = gateway.audit_of(answer.request_id());
            assert_eq!((&event["client"], &event["credential"]), (&json!("both"), &json!("certificate")));
        }
        assert_eq!(connection.get("/pii-customers/_search").await.expect("an answer").status, 403);
        let request = connection.request("GET", SEARCH).header("authorization", format!("Bearer {other}"));
        assert_eq!(connection.send(request, "").await.expect("an answer").status, 400);
        // Other authorities: the connection says why, and that it is over.
        gateway.write_file("clients-ca.pem", &Authority::new("others").pem());
        assert_eq!(gateway.reload(), "applied");
        let answer = connection.get(SEARCH).await.expect("an answer");
        assert_eq!(answer.status, 401, "{}", answer.text());
        let mut ended = false;
        for _ in 0..50 {
            match connection.get(SEARCH).await {
                Ok(answer) => assert_eq!(answer.status, 401, "{}", answer.text()),
                Err(_) => {
                    ended = true;
                    break;
                }
            }
        }
        assert!(ended, "the connection goes on");
    });
}

#[test]
fn a_proxy_hands_on_the_handshake_and_the_address() {
    let authority = Authority::new("clients");
    let bound = ClientSettings::new("bound", &["read:logs-*"])
        .with("certificate", json!({"dns": "bound.example.com"}))
        .with("addresses", json!({"allow": ["192.0.2.0/24"]}));
    let trusted = json!({"networks": ["127.0.0.10"], "tell_by": "proxy_protocol"});
    let gateway = start(settings(&authority, true).client_with(bound).top("trusted_proxies", trusted));
    let http = gateway.http().with_certificate(&authority.issue_to(dns("bound.example.com")));
    let header = |last: u8| {
        let rest = [192, 0, 2, last, 127, 0, 0, 1, 0x12, 0x34, 0x20, 0xfb];
        [b"\r\n\r\n\0\r\nQUIT\n".as_slice(), &[0x21, 0x11, 0, 12], &rest].concat()
    };
    let through = http.from_address([127, 0, 0, 10].into());
    let answer = ask(&mut through.connect_after(&header(7)), &http);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["client"], &event["address"]), (&json!("bound"), &json!("192.0.2.7")));
    // Not from elsewhere, by its certificate as by anything.
    assert!(http.get(SEARCH).expect(403).text().contains("may not be used from this address"));
}

#[test]
fn a_session_that_goes_on_is_the_same_client_s_as_long_as_the_certificate_holds() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, false));
    let (of_both, of_shipper) = (authority.issue_to(dns("both.example.com")), authority.issue_to(of_shipper()));
    let clients = |identity: &Identity| {
        [gateway.http().with_certificate(identity), gateway.http().with_certificate_by_tls12(identity)]
    };
    let (both, shipper) = (clients(&of_both), clients(&of_shipper));
    for version in 0..2 {
        for (http, id) in [(&both[version], "both"), (&shipper[version], "by-dns")] {
            assert_eq!(ask(&mut http.connect(), http).status, 200);
            let mut resumed = http.connect();
            assert!(resumed.is_resumed(), "the session was not resumed");
            let answer = ask(&mut resumed, http);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(gateway.audit_of(answer.request_id())["client"], id);
        }
    }
    // Its certificate revoked: neither the open connection nor a session that goes on is worth anything.
    let mut open = both[0].connect();
    assert_eq!(ask(&mut open, &both[0]).status, 200);
    let mut untouched = shipper[0].connect();
    gateway.write_file("clients.crl", &authority.revoked(&[&of_both], 4000));
    gateway.change_config(|config| config["tls"]["client_certificates"]["revoked"] = json!(["clients.crl"]));
    assert_eq!(gateway.reload(), "applied");
    let answer = ask(&mut open, &both[0]);
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")), "{}", answer.text());
    assert!(answer.text().contains("was revoked"), "{}", answer.text());
    for http in &both {
        assert!(refused(&gateway, http).contains("was revoked"));
    }
    assert_eq!(ask(&mut untouched, &shipper[0]).status, 200);
    let again = shipper[0].connect();
    assert!(!again.is_resumed(), "a session went on under other rules");
    shipper[1].get(SEARCH).expect(200);
}

#[test]
fn lists_of_revoked_certificates_are_asked_for_every_authority() {
    let authority = Authority::new("clients");
    let below = authority.below("below");
    let (good, bad) = (authority.issue_to(of_shipper()), authority.issue_to(of_shipper()));
    let far = below.issue_to(of_shipper());
    let lists = authority.revoked(&[&bad], 4000);
    let taken = json!({"ca": "clients-ca.pem", "revoked": ["clients.crl"]});
    let gateway = start(settings(&authority, false).file("clients.crl", &lists).top("tls", tls(taken)));
    gateway.http().with_certificate(&good).get(SEARCH).expect(200);
    assert!(refused(&gateway, &gateway.http().with_certificate(&bad)).contains("was revoked"));
    // Nobody knows about the authority in between.
    let far = gateway.http().with_certificate(&far);
    assert!(refused(&gateway, &far).contains("no list of"));
    gateway.write_file("clients.crl", &format!("{lists}{}", below.revoked(&[], 4000)));
    assert_eq!(gateway.reload(), "applied");
    far.get(SEARCH).expect(200);
    // A list that has run out says nothing.
    gateway.write_file("clients.crl", &authority.revoked(&[&bad], 2021));
    assert_eq!(gateway.reload(), "applied");
    assert!(refused(&gateway, &gateway.http().with_certificate(&good)).contains("has run out"));
    // What is no list changes nothing.
    gateway.write_file("clients.crl", &authority.pem());
    assert_eq!(gateway.reload(), "invalid");
    assert!(gateway.log().contains("holds no list of revoked certificates"), "{}", gateway.log());
}

#[test]
fn a_reload_takes_other_authorities_names_and_the_need_for_one() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let gateway = start(settings(&old, false));
    let by_old = gateway.http().with_certificate(&old.issue_to(of_shipper()));
    let by_new = gateway.http().with_certificate(&new.issue_to(of_shipper()));
    let token = gateway.with("other");
    let mut open = by_old.connect();
    let mut without = token.connect();
    assert_eq!((ask(&mut open, &by_old).status, ask(&mut without, &token).status), (200, 200));
    assert!(refused(&gateway, &by_new).contains("no authority"));
    // Both, as when one follows the other: open connections go on.
    gateway.write_file("clients-ca.pem", &format!("{}{}", old.pem(), new.pem()));
    assert_eq!(gateway.reload(), "applied");
    assert_eq!(ask(&mut open, &by_old).status, 200);
    by_new.get(SEARCH).expect(200);
    // The new one alone.
    gateway.write_file("clients-ca.pem", &new.pem());
    assert_eq!(gateway.reload(), "applied");
    let answer = ask(&mut open, &by_old);
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert!(answer.text().contains("no authority") && open.is_closed_next(), "{}", answer.text());
    assert!(refused(&gateway, &by_old).contains("no authority"));
    by_new.get(SEARCH).expect(200);
    // Another client's name, on an open connection.
    let mut open = by_new.connect();
    assert_eq!(ask(&mut open, &by_new).status, 200);
    gateway.change_config(|config| {
        let clients = config["clients"].as_array_mut().expect("clients");
        for client in clients.iter_mut().filter(|client| client["id"] == "by-dns" || client["id"] == "both") {
            let is_dns = client["id"] == "by-dns";
            client["certificate"] = json!({"dns": if is_dns { "gone.example.com" } else { "shipper.example.com" }});
        }
    });
    assert_eq!(gateway.reload(), "applied");
    let answer = ask(&mut open, &by_new);
    assert_eq!(gateway.audit_of(answer.request_id())["client"], "both");
    // From now on nobody without: a connection that began before is over with its next request.
    assert_eq!(ask(&mut without, &token).status, 200);
    gateway.change_config(|config| config["tls"]["client_certificates"]["required"] = json!(true));
    assert_eq!(gateway.reload(), "applied");
    let answer = ask(&mut without, &token);
    assert_eq!((answer.status, answer.header("connection")), (401, Some("close")), "{}", answer.text());
    assert!(refused(&gateway, &token).contains("no client certificate was shown"));
    assert_eq!(ask(&mut open, &by_new).status, 200);
    // None at all: what was shown is worth nothing.
    gateway.change_config(|config| {
        config["tls"].as_object_mut().expect("tls").remove("client_certificates");
        let clients = config["clients"].as_array_mut().expect("clients");
        clients.retain(|client| client.get("certificate").is_none());
    });
    assert_eq!(gateway.reload(), "applied");
    assert_eq!(ask(&mut open, &by_new).status, 401);
    by_new.get(SEARCH).expect(401);
    token.get(SEARCH).expect(200);
}

#[test]
fn a_name_that_two_clients_have_is_refused_when_it_can_be_seen() {
    let authority = Authority::new("clients");
    let gateway = start(settings(&authority, false));
    gateway.change_config(|config| {
        let clients = config["clients"].as_array_mut().expect("clients");
        clients.push(json!({"id": "twin", "scopes": ["read:pii-*"], "certificate": {"dns": "SHIPPER.example.com"}}));
    });
    assert_eq!(gateway.reload(), "invalid");
    let run = gateway.check_config();
    assert!(!run.succeeded && run.stderr.contains("the client `by-dns` has the same one"), "{}", run.stderr);
}

#[test]
fn rates_rows_fields_and_own_identity_hold_for_certificates() {
    let index = "shared-orders-certificates";
    let authority = Authority::new("clients");
    Engine::get().delete_index(index);
    let _remove = OnDrop(|| Engine::get().delete_index(index));
    let documents = [("1", "acme"), ("2", "other")];
    for (id, tenant) in documents {
        let document = json!({"tenant": tenant, "email": "a@example.com", "total": 1});
        Engine::get().admin().put(&format!("/{index}/_doc/{id}?refresh=true")).json(&document).expect(201);
    }
    let taken = json!({"ca": "clients-ca.pem"});
    let named = |id: &str| json!({"dns": format!("{id}.example.com")});
    let rows = json!([{
        "scope": format!("read:{index}"), "rows": {"term": {"tenant.keyword": "${label.tenant}"}}, "fields": "slim",
    }]);
    let acme = ClientSettings::new("acme", &[])
        .with("grants", rows)
        .with("labels", json!({"tenant": "acme"}))
        .with("certificate", named("acme"))
        .without_secret();
    let slow = ClientSettings::new("slow", &["read:logs-*"])
        .with("rate_limit", json!({"requests_per_second": 1, "burst": 2}))
        .with("certificate", named("slow"));
    let own = ClientSettings::new("own", &["read:logs-*"])
        .with("identity", json!("own"))
        .with("backend_roles", json!(["nobody-knows-this-role"]))
        .with("certificate", named("own"));
    let settings = Settings::new().file("clients-ca.pem", &authority.pem()).top("tls", tls(taken));
    let gateway = Gateway::start(settings.client_with(acme).client_with(slow).client_with(own));
    let of = |id: &str| gateway.http().with_certificate(&authority.issue_to(dns(&format!("{id}.example.com"))));

    let found = of("acme").get(&format!("/{index}/_search")).expect(200).json();
    assert_eq!(found["hits"]["total"]["value"], json!(1), "{found}");
    assert_eq!(found["hits"]["hits"][0]["_source"], json!({"tenant": "acme", "total": 1}), "{found}");
    of("acme").get(&format!("/{index}/_doc/2")).expect(404);
    // The engine knows the role it is told, which opens nothing there, and not the scope.
    let refused = of("own").get("/logs-*/_search?size=0").expect(403);
    assert!(refused.text().contains("nobody-knows-this-role"), "{}", refused.text());
    let slow = of("slow");
    let statuses: Vec<u16> = (0..10).map(|_| slow.get("/logs-*/_search?size=0").send().status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
    // One rate for the client, by whatever credential it comes.
    assert_eq!(gateway.with("slow").get("/logs-*/_search?size=0").send().status, 429);
}
