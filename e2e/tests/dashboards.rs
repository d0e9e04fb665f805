//! OpenSearch Dashboards behind the gateway: a double of it on the real engine, and servers in its place that show what
//! reaches it.

use e2e::http2::{self, Http2};
use e2e::{Client, Gateway, Port, Settings, Upstream, base64url_decode, json_answer};
use serde_json::{Value, json};
use support::{PREFIX, api, on_the_engine, settings};

#[path = "dashboards/support.rs"]
mod support;

/// Something in the place of Dashboards that answers `{}`, and something in the engine's.
fn before_doubles() -> (Upstream, Upstream, Gateway) {
    let (dashboards, engine) = (Upstream::obliging(), Upstream::obliging());
    let gateway = Gateway::start(settings(&dashboards.url()).upstream(&engine.url()));
    (dashboards, engine, gateway)
}

/// A form with the file of an import.
fn import(objects: &[Value]) -> (String, String) {
    let lines: Vec<String> = objects.iter().map(ToString::to_string).collect();
    let body = format!(
        "--x1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"export.ndjson\"\r\nContent-Type: application/ndjson\r\n\r\n{}\r\n--x1--\r\n",
        lines.join("\n")
    );
    ("multipart/form-data; boundary=x1".to_owned(), body)
}

fn object(kind: &str, id: &str) -> Value {
    json!({"type": kind, "id": id, "attributes": {"title": id}, "references": []})
}

/// The claims of the token that a server behind the gateway was shown.
fn claims(authorization: &str) -> Value {
    let payload = authorization.strip_prefix("Bearer ").and_then(|token| token.split('.').nth(1)).expect("a token");
    serde_json::from_slice(&base64url_decode(payload)).expect("JSON")
}

#[test]
fn objects_are_imported_with_one_scope_and_read_with_another() {
    let (dashboards, gateway) = on_the_engine();
    let (ci, viewer) = (gateway.with("ci"), gateway.with("viewer"));
    let (content_type, body) = import(&[object("visualization", "e2e-a"), object("dashboard", "e2e-b")]);
    let target = api("/saved_objects/_import?overwrite=true");
    let answer = ci.post(&target).body(&content_type, body.clone()).expect(200);
    assert_eq!(answer.json()["successCount"], 2, "{}", answer.text());
    assert_eq!(answer.header("set-cookie"), None);

    let one = api("/saved_objects/dashboard/e2e-b");
    assert_eq!(viewer.get(&one).expect(200).json()["attributes"]["title"], "e2e-b");
    let found = viewer.get(&api("/saved_objects/_find?type=visualization&type=dashboard")).expect(200).json();
    assert!(found["saved_objects"].as_array().expect("a list").iter().any(|it| it["id"] == "e2e-a"), "{found}");
    let list = json!([{"type": "visualization", "id": "e2e-a"}]);
    let several = viewer.post(&api("/saved_objects/_bulk_get")).json(&list).expect(200).json();
    assert_eq!(several["saved_objects"][0]["attributes"]["title"], "e2e-a");

    for (client, method, path, needed) in [
        ("ci", "GET", "/saved_objects/dashboard/e2e-b", "read:dashboards"),
        ("viewer", "POST", "/saved_objects/_import", "write:dashboards"),
        ("viewer", "DELETE", "/saved_objects/dashboard/e2e-b", "write:dashboards"),
        ("ci", "POST", "/workspaces", "manage:dashboards"),
        ("manager", "DELETE", "/saved_objects/dashboard/e2e-b", "write:dashboards"),
        ("reader", "GET", "/saved_objects/dashboard/e2e-b", "read:dashboards"),
        ("reader", "GET", "/status", "read:dashboards"),
    ] {
        let refused = gateway.with(client).request(method, &api(path)).expect(403);
        let challenge = refused.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains(&format!("scope=\"{needed}\"")), "{client} {path}: {challenge}");
    }
    ci.anonymous().get(&one).expect(401);
    assert_eq!(gateway.with("keeper").delete(&one).expect(200).json(), json!({}));
    viewer.get(&one).expect(404);
    gateway.with("keeper").delete(&api("/saved_objects/visualization/e2e-a")).expect(200);

    let received = dashboards.upstream().the_request_for(&target);
    let shown = received.header("authorization");
    assert_eq!(shown.len(), 1);
    assert_ne!(shown[0], ci.authorization().expect("a token"), "the client's own token stays at the gateway");
    assert_eq!(claims(shown[0])["sub"], "oauth4os:ci");
    assert_eq!(received.header("osd-xsrf"), ["true"]);
    assert_eq!(received.header("securitytenant"), ["global"]);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!(
        (&event["upstream"], &event["operation"], &event["decision"], &event["dashboards_tenant"], &event["client"]),
        (&json!("dashboards"), &json!("saved_objects.import"), &json!("allow"), &json!("global"), &json!("ci"))
    );
}

/// To the engine, the scopes for Dashboards give its own index and nothing beside it.
#[test]
fn the_engine_holds_them_to_the_index_of_dashboards() {
    let gateway = Gateway::start(settings("http://127.0.0.1:9").engine_decides());
    let object = "/.kibana/_doc/query:e2e-wall?refresh=true";
    let body = json!({"type": "query"});
    gateway.with("ci").put(object).json(&body).expect(201);
    gateway.with("viewer").get(object).expect(200);
    gateway.with("viewer").put(object).json(&body).expect(403);
    gateway.with("viewer").delete(object).expect(403);
    for client in ["viewer", "ci", "manager", "keeper"] {
        let client = gateway.with(client);
        for target in [
            "/logs-*/_search",
            "/pii-customers/_search",
            "/.opendistro_security/_search",
            "/_cluster/settings",
            "/*/_search",
        ] {
            client.get(target).expect(403);
        }
        client.put("/app-logs-e2e-wall/_doc/1").json(&body).expect(403);
        client.delete("/.kibana").expect(403);
    }
    gateway.with("reader").get(object).expect(403);
    gateway.with("keeper").delete(object).expect(200);
}

#[test]
fn other_ways_to_the_engine_and_unknown_routes_are_refused() {
    let (dashboards, _engine, gateway) = before_doubles();
    let keeper = gateway.with("keeper");
    for (method, path, reason) in [
        ("POST", "/internal/search/opensearch", "Dashboards has the engine do what stands in the body"),
        ("POST", "/internal/_msearch", "Dashboards has the engine do what stands in the body"),
        ("POST", "/api/enhancements/search/ppl", "Dashboards has the engine do what stands in the body"),
        ("POST", "/api/ppl/search", "Dashboards has the engine do what stands in the body"),
        ("POST", "/api/reporting/generateReport", "Dashboards has the engine do what stands in the body"),
        ("GET", "/api/v1/configuration/roles", "security administration belongs to the cluster's operator"),
        ("POST", "/auth/login", "a token needs no session at Dashboards"),
        ("GET", "/app/home", "not an operation this gateway knows"),
        ("GET", "/api/no/such/thing", "not an operation this gateway knows"),
        ("POST", "/api/saved_objects/_no_such_thing", "not an operation this gateway knows"),
    ] {
        let refused = keeper.request(method, &format!("{PREFIX}{path}")).expect(403);
        assert!(refused.text().contains(reason), "{path}: {}", refused.text());
    }
    let wrong = keeper.put(&api("/status")).expect(405);
    assert_eq!(wrong.header("allow"), Some("GET"));
    assert!(dashboards.requests().is_empty(), "{:?}", dashboards.requests());
}

#[test]
fn requests_without_cookies_get_what_keeps_forgery_away_and_others_do_not() {
    let (dashboards, gateway) = on_the_engine();
    let ci = gateway.with("ci");
    let target = |id: &str| api(&format!("/saved_objects/query/e2e-xsrf-{id}?overwrite=true"));
    ci.post(&target("a")).json(&object("query", "a")).expect(200);
    ci.post(&target("b")).header("osd-xsrf", "mine").json(&object("query", "b")).expect(200);
    ci.post(&target("c")).header("osd-version", "3.4.0").json(&object("query", "c")).expect(200);
    ci.post(&target("d")).header("osd-version", "1.0.0").json(&object("query", "d")).expect(400);
    // A browser adds cookies by itself; such a request has to prove that it is none.
    let forged =
        ci.post(&target("e")).header("Cookie", "security_authentication=x").json(&object("query", "e")).expect(400);
    assert!(forged.text().contains("Request must contain a osd-xsrf header."), "{}", forged.text());
    let sent = |id: &str, name: &str| -> Vec<String> {
        let received = dashboards.upstream().the_request_for(&target(id));
        received.header(name).into_iter().map(ToOwned::to_owned).collect()
    };
    assert_eq!(sent("a", "osd-xsrf"), ["true"]);
    assert_eq!(sent("b", "osd-xsrf"), ["mine"]);
    assert_eq!((sent("c", "osd-xsrf").len(), sent("c", "osd-version").len()), (0, 1));
    assert_eq!(sent("d", "osd-xsrf").len(), 0);
    assert_eq!((sent("e", "osd-xsrf").len(), sent("e", "cookie").len()), (0, 0));
    gateway.with("viewer").get(&api("/status")).expect(200);
    assert!(dashboards.upstream().the_request_for(&api("/status")).header("osd-xsrf").is_empty());
    for id in ["a", "b", "c"] {
        gateway.with("keeper").delete(&api(&format!("/saved_objects/query/e2e-xsrf-{id}"))).expect(200);
    }
}

/// A browser sends HTTP Basic by itself, once it was asked for it.
#[test]
fn a_secret_sent_by_basic_is_no_proof_against_forgery() {
    let (dashboards, engine) = (Upstream::obliging(), Upstream::obliging());
    let client = e2e::ClientSettings::new("bridge", &["write:dashboards"]).with("basic", json!(true));
    let settings = Settings::new().client_with(client).upstream(&engine.url());
    let gateway = Gateway::start(
        settings.dashboards(json!({"url": dashboards.url(), "hosts": ["dashboards.example.com", "localhost"]})),
    );
    let bridge = gateway.with("bridge").with_basic("bridge", gateway.secret("bridge"));
    bridge.post("/api/saved_objects/query").json(&object("query", "a")).expect(200);
    assert!(dashboards.the_request_for("/api/saved_objects/query").header("osd-xsrf").is_empty());
}

#[test]
fn no_cookie_and_no_tenant_passes_but_those_that_may() {
    let (dashboards, engine) = (
        Upstream::start(|turn| {
            turn.read_body();
            turn.write(b"HTTP/1.1 200 OK\r\nset-cookie: security_authentication=sealed\r\nSet-Cookie: security_authentication_jwt1=sealed\r\nset-cookie: security_tenant=x\r\nwww-authenticate: Basic\r\ncontent-length: 2\r\n\r\n{}");
        }),
        Upstream::obliging(),
    );
    let gateway = Gateway::start(settings(&dashboards.url()).upstream(&engine.url()).dashboards(
        json!({"url": dashboards.url(), "path_prefix": PREFIX, "strip_prefix": true, "tenants": ["global", "team_a"]}),
    ));
    let viewer = gateway.with("viewer");
    let get = |number: u32| {
        viewer
            .get(&api(&format!("/saved_objects/dashboard/{number}")))
            .header("Cookie", "security_authentication=a; b=c")
    };
    let answer =
        get(1).header("Cookie2", "x").header("security_tenant", "other").header("securitytenant.", "other").expect(200);
    assert!(
        answer.header("set-cookie").is_none() && answer.header("www-authenticate").is_none(),
        "{:?}",
        answer.headers
    );
    get(2).header("SecurityTenant", "team_a").expect(200);
    get(3).header("securitytenant", "other").expect(403);
    get(4).header("securitytenant", "__user__").expect(403);
    get(5).header("securitytenant", "team_a").header("securitytenant", "global").expect(400);
    let sent = |number: u32| dashboards.the_request_for(&format!("/api/saved_objects/dashboard/{number}"));
    for (number, tenant) in [(1, "global"), (2, "team_a")] {
        let names = sent(number).header_names();
        assert_eq!(sent(number).header("securitytenant"), [tenant]);
        assert_eq!(
            names.iter().filter(|name| name.replace(['_', '.'], "-").contains("tenant")).count(),
            1,
            "{names:?}"
        );
        assert!(!names.iter().any(|name| name.starts_with("cookie")), "{names:?}");
    }
    assert_eq!(dashboards.requests().len(), 2);
    // The engine is told no tenant, whatever a client says.
    gateway.with("reader").get("/logs-a/_search").header("securitytenant", "team_a").expect(200);
    assert!(engine.the_request_for("/logs-a/_search").header("securitytenant").is_empty());
}

#[test]
fn host_or_path_say_what_is_meant_and_neither_leads_to_the_other() {
    let (dashboards, engine) = (Upstream::obliging(), Upstream::obliging());
    let gateway = Gateway::start(
        settings("http://127.0.0.1:9")
            .upstream(&engine.url())
            .dashboards(json!({"url": dashboards.url(), "hosts": ["dashboards.example.com"]})),
    );
    let both = gateway.with("both");
    let ask = |host: &str, target: &str| {
        let mut connection = both.connect();
        let token = both.authorization().expect("a token");
        connection.write(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\n\r\n").as_bytes());
        connection.answer().status
    };
    assert_eq!(ask("Dashboards.example.com:8443", "/api/status"), 200);
    assert_eq!(ask("gateway.example.com", "/logs-a/_search"), 200);
    // Each by its own table: `/api/status` is a document's address to the engine, and no operation.
    assert_eq!(ask("gateway.example.com", "/api/status"), 403);
    assert_eq!(ask("dashboards.example.com", "/logs-a/_search"), 403);
    assert_eq!(ask("dashboards.example.com", "/oauth/jwks"), 200);
    assert_eq!(dashboards.requests().len(), 1);
    assert_eq!(engine.requests().len(), 1);
    assert_eq!(dashboards.the_request_for("/api/status").header("host"), [dashboards.authority()]);
}

#[test]
fn redirects_lead_back_through_the_gateway_and_never_to_a_login() {
    let (engine, dashboards) = (
        Upstream::obliging(),
        Upstream::start(|turn| {
            turn.read_body();
            let host = turn.received.header("host")[0].to_owned();
            let id = turn.received.target.rsplit('/').next().unwrap_or_default().to_owned();
            let location = match id.as_str() {
                "absolute" => format!("http://{host}/app/x"),
                "login" => "/app/login?nextUrl=%2Fapi".to_owned(),
                "status" => {
                    turn.write(&json_answer(401, "{\"message\":\"Invalid token\"}"));
                    return;
                }
                _ => "/app/x".to_owned(),
            };
            turn.write(format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").as_bytes());
        }),
    );
    let gateway = Gateway::start(settings(&dashboards.url()).upstream(&engine.url()));
    let viewer = gateway.with("viewer");
    for id in ["absolute", "relative"] {
        let answer = viewer.get(&api(&format!("/saved_objects/dashboard/{id}"))).expect(302);
        assert_eq!(answer.header("location"), Some("/_dashboards/app/x"), "{id}");
    }
    for path in ["/saved_objects/dashboard/login", "/status"] {
        let refused = viewer.get(&api(path)).expect(502);
        assert!(refused.text().contains("Dashboards does not accept the gateway's identity"), "{}", refused.text());
        assert!(refused.header("www-authenticate").is_none());
    }
}

#[test]
fn policies_speak_of_saved_objects_by_their_type() {
    let (dashboards, engine) = (Upstream::obliging(), Upstream::obliging());
    let policies = r#"
        permit(principal == Client::"ci", action in [Action::"create", Action::"update"], resource in ResourceType::"dashboard");
        permit(principal == Client::"keeper", action, resource in ResourceType::"dashboard");
        @id("no-sources") forbid(principal == Client::"keeper", action, resource == Dashboard::"data-source");
        permit(principal == Client::"viewer", action == Action::"get", resource == Dashboard::"visualization");
    "#;
    let gateway = Gateway::start(settings(&dashboards.url()).upstream(&engine.url()).policies(policies));
    let (ci, keeper, viewer) = (gateway.with("ci"), gateway.with("keeper"), gateway.with("viewer"));
    let (content_type, body) = import(&[object("query", "a")]);
    let mut expected = Vec::new();
    let mut check = |client: &Client, method: &str, path: &str, body: Option<(&str, String)>, status: u16| {
        let target = api(path);
        let mut request = client.request(method, &target);
        if let Some((content_type, body)) = body {
            request = request.body(content_type, body);
        }
        let answer = request.send();
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        if status == 200 {
            expected.push(target);
        }
        answer
    };
    let form = || Some((content_type.as_str(), body.clone()));
    let list = |text: &str| Some(("application/json", text.to_owned()));
    check(&ci, "POST", "/saved_objects/_import?overwrite=true", form(), 200);
    check(&ci, "DELETE", "/saved_objects/dashboard/1", None, 403);
    check(&keeper, "DELETE", "/saved_objects/dashboard/1", None, 200);
    let refused = check(&keeper, "DELETE", "/saved_objects/data-source/1", None, 403);
    assert!(refused.text().contains("the policy `no-sources` forbids"), "{}", refused.text());
    // What may be about any type may be about that one.
    check(&keeper, "POST", "/saved_objects/_import", form(), 403);
    check(&keeper, "GET", "/saved_objects/_find", None, 403);
    check(&keeper, "GET", "/saved_objects/_find?type=query", None, 200);
    check(&keeper, "POST", "/saved_objects/_bulk_get", list(r#"[{"type":"query","id":"1"}]"#), 200);
    check(&keeper, "POST", "/saved_objects/_bulk_get", list(r#"[{"type":"query"},{"type":"data-source"}]"#), 403);
    check(&keeper, "POST", "/saved_objects/_export", list(r#"{"type":"query"}"#), 200);
    check(&keeper, "POST", "/saved_objects/_export", list(r#"{"type":"query","includeReferencesDeep":true}"#), 403);
    check(&keeper, "POST", "/saved_objects/_bulk_get", list(r#"[{"type":"query","type":"data-source"}]"#), 400);
    check(&viewer, "GET", "/saved_objects/visualization/1", None, 200);
    check(&viewer, "GET", "/saved_objects/dashboard/1", None, 403);
    check(&viewer, "GET", "/saved_objects/_find?type=visualization&type=dashboard", None, 403);
    check(&viewer, "GET", "/saved_objects/_find?type=visualization", None, 200);
    check(&viewer, "GET", "/status", None, 403);
    let received: Vec<String> = dashboards.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(received, expected);
}

#[test]
fn one_being_down_does_not_touch_the_other() {
    let (dashboards, engine, gateway) = before_doubles();
    let (viewer, reader) = (gateway.with("viewer"), gateway.with("reader"));
    viewer.get(&api("/status")).expect(200);
    reader.get("/logs-a/_search").expect(200);
    assert!((gateway.metric("oauth4os_upstream_nodes") - 2.0).abs() < 0.1);
    dashboards.stop();
    let down = e2e::until("Dashboards to be down", std::time::Duration::from_secs(10), || {
        Some(viewer.get(&api("/status")).send()).filter(|answer| answer.status == 503)
    });
    assert!(down.text().contains("Dashboards cannot be reached"), "{}", down.text());
    reader.get("/logs-a/_search").expect(200);
    engine.stop();
}

#[test]
fn large_answers_stream() {
    const PIECES: usize = 1024;
    let (engine, dashboards) = (
        Upstream::obliging(),
        Upstream::start(|turn| {
            turn.read_body();
            turn.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/ndjson\r\ntransfer-encoding: chunked\r\n\r\n");
            let piece = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
            for _ in 0..PIECES {
                turn.write(&piece);
            }
            turn.write(b"0\r\n\r\n");
        }),
    );
    let gateway = Gateway::start(settings(&dashboards.url()).upstream(&engine.url()));
    let viewer = gateway.with("viewer");
    let export = || viewer.post(&api("/saved_objects/_export")).json(&json!({"type": "dashboard"})).expect(200);
    assert_eq!(export().body.len(), PIECES * 0x10000);
    gateway.reset_peak();
    let (before, _) = gateway.resident_kib();
    assert_eq!(export().body.len(), PIECES * 0x10000);
    let (_, peak) = gateway.resident_kib();
    assert!(peak < before + 8 * 1024, "{before} KiB before, {peak} KiB at most");
}

/// What arrives on its own port is meant for Dashboards, whatever its host says.
#[test]
fn a_listener_of_its_own_leads_there_and_nowhere_else() {
    let (dashboards, engine, port) = (Upstream::obliging(), Upstream::obliging(), Port::reserve());
    let listen = format!("127.0.0.1:{}", port.number());
    let gateway = Gateway::start(
        settings("http://127.0.0.1:9")
            .upstream(&engine.url())
            .dashboards(json!({"url": dashboards.url(), "listen": listen})),
    );
    let main = gateway.with("both");
    let own = gateway.http_on(&port).with_token(&gateway.token("both"));
    own.get("/api/status").expect(200);
    own.get("/api/saved_objects/dashboard/1").host("gateway.example.com").expect(200);
    // By its table, whatever the engine would make of it.
    own.get("/logs-a/_search").host("opensearch.example.com").expect(403);
    main.get("/logs-a/_search").expect(200);
    main.get("/api/status").expect(403);
    assert_eq!((dashboards.requests().len(), engine.requests().len()), (2, 1));
    // The gateway's own endpoints are on both.
    for client in [&main, &own] {
        client.get("/oauth/jwks").expect(200);
        client.get("/_oauth4os/v1/whoami").expect(200);
        client.get("/healthz").expect(200);
    }
    own.anonymous().get("/api/status").expect(401);
    http2::run(async {
        let connection = Http2::open(&own).await;
        assert_eq!(connection.get("/api/status").await.expect("an answer").status, 200);
        assert_eq!(connection.get("/logs-a/_search").await.expect("an answer").status, 403);
    });
    let event = gateway.audit_where("a call", |event| event["path"] == "/api/saved_objects/dashboard/1");
    assert_eq!((&event["upstream"], &event["decision"]), (&json!("dashboards"), &json!("allow")));
    // Requests are read as strictly there.
    let before = dashboards.captured();
    let mut connection = own.connect();
    let token = own.authorization().expect("a token");
    let smuggled = format!("GET /api/smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\n\r\n");
    connection.write(
        format!("POST /api/saved_objects/query HTTP/1.1\r\nHost: a\r\nAuthorization: {token}\r\nContent-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}", smuggled.len() + 5).as_bytes(),
    );
    assert_eq!(connection.answer().status, 400);
    assert!(connection.is_closed_next());
    assert_eq!(dashboards.captured(), before);
    // Where it listens is read at the start only.
    gateway.change_config(|config| config["upstream"]["dashboards"]["listen"] = json!("127.0.0.1:1"));
    assert_eq!(gateway.reload(), "needs_restart");
    assert!(gateway.log().contains("upstream.dashboards.listen: cannot change"), "{}", gateway.log());
}

#[test]
fn on_its_own_listener_its_base_path_is_what_it_is_elsewhere() {
    for strip in [false, true] {
        let (dashboards, engine, port) = (Upstream::obliging(), Upstream::obliging(), Port::reserve());
        let listen = format!("127.0.0.1:{}", port.number());
        let gateway = Gateway::start(settings("http://127.0.0.1:9").upstream(&engine.url()).dashboards(
            json!({"url": dashboards.url(), "listen": listen, "path_prefix": PREFIX, "strip_prefix": strip}),
        ));
        let (main, own) = (gateway.with("viewer"), gateway.http_on(&port).with_token(&gateway.token("viewer")));
        main.get(&api("/status?main")).expect(200);
        own.get(&api("/status?own")).expect(200);
        own.get("/api/status?bare").expect(200);
        main.get("/api/status?bare").expect(403);
        let prefix = if strip { "" } else { PREFIX };
        let targets: Vec<String> = dashboards.requests().into_iter().map(|request| request.target).collect();
        assert_eq!(
            targets,
            [format!("{prefix}/api/status?main"), format!("{prefix}/api/status?own"), "/api/status?bare".to_owned()]
        );
    }
}

#[test]
fn each_listener_has_an_address_of_its_own() {
    let (_dashboards, _engine, gateway) = before_doubles();
    let taken = json!(format!("127.0.0.1:{}", gateway.port()));
    for (address, sentence) in [
        (taken, "upstream.dashboards.listen: is the address of `listen`"),
        (json!(format!("0.0.0.0:{}", gateway.port())), "upstream.dashboards.listen: is the address of `listen`"),
        (json!("127.0.0.1"), "the configuration is not valid"),
    ] {
        gateway.change_config(|config| config["upstream"]["dashboards"]["listen"] = address.clone());
        let run = gateway.check_config();
        assert!(!run.succeeded && run.stderr.contains(sentence), "{address}: {run:?}");
    }
    gateway.change_config(|config| config["upstream"]["dashboards"]["listen"] = config["metrics"]["listen"].clone());
    let run = gateway.check_config();
    assert!(
        !run.succeeded && run.stderr.contains("metrics.listen: is the address of `upstream.dashboards.listen`"),
        "{run:?}"
    );
}
