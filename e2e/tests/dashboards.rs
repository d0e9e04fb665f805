//! OpenSearch Dashboards behind the gateway: a double of it on the real engine, and servers in its place that show what
//! reaches it.

use e2e::{Answer, Client, Dashboards, Engine, Gateway, Settings, Upstream, base64url_decode, json_answer};
use serde_json::{Value, json};

const PREFIX: &str = "/_dashboards";

fn settings(url: &str) -> Settings {
    Settings::new()
        .client("viewer", &["read:dashboards"])
        .client("ci", &["write:dashboards"])
        .client("manager", &["manage:dashboards"])
        .client("keeper", &["admin:dashboards"])
        .client("reader", &["read:logs-*"])
        .client("writer", &["write:app-logs-*"])
        .client("both", &["read:logs-*", "read:dashboards", "write:dashboards"])
        .dashboards(json!({"url": url, "path_prefix": PREFIX, "tenants": ["global"]}))
}

/// The double on the real engine, below a path.
fn on_the_engine() -> (Dashboards, Gateway) {
    let dashboards = Dashboards::below(PREFIX);
    let gateway = Gateway::start(settings(&dashboards.upstream().url()));
    (dashboards, gateway)
}

/// Something in the place of Dashboards that answers `{}`, and something in the engine's.
fn before_doubles() -> (Upstream, Upstream, Gateway) {
    let (dashboards, engine) = (Upstream::obliging(), Upstream::obliging());
    let gateway = Gateway::start(settings(&dashboards.url()).upstream(&engine.url()));
    (dashboards, engine, gateway)
}

fn api(path: &str) -> String {
    format!("{PREFIX}/api{path}")
}

fn console(client: &Client, method: &str, path: &str) -> Answer {
    client.post(&api(&format!("/console/proxy?path={}&method={method}", escaped(path)))).send()
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
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
fn a_console_call_is_answered_by_the_engine_under_the_tokens_identity() {
    let (dashboards, gateway) = on_the_engine();
    let reader = gateway.with("reader");
    let answer = console(&reader, "GET", "logs-*/_search?size=1").expect_ok();
    assert!(answer.json()["hits"]["total"]["value"].as_u64().expect("a number") > 0);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!(
        (&event["upstream"], &event["operation"], &event["targets"]),
        (&json!("dashboards"), &json!("search"), &json!(["logs-*"]))
    );
    let me = console(&reader, "GET", "/_plugins/_security/authinfo").expect_ok().json();
    assert_eq!(me["user_name"], "oauth4os:reader");
    let query = json!({"size": 0, "query": {"match_all": {}}});
    let counted = reader.post(&api("/console/proxy?method=POST&path=%2Flogs-*%2F_search")).json(&query).expect(200);
    assert!(counted.json()["hits"]["total"]["value"].as_u64().expect("a number") > 0);

    let passed_on = dashboards.passed_on().len();
    for (client, method, path) in [
        ("reader", "GET", "pii-customers/_search"),
        ("reader", "GET", "_search"),
        ("reader", "GET", "*/_search"),
        ("reader", "DELETE", "logs-app"),
        ("reader", "POST", "logs-a/_doc"),
        ("reader", "GET", "_cat/indices"),
        ("reader", "GET", "_cluster/settings"),
        ("reader", "GET", "_plugins/_security/api/internalusers"),
        ("reader", "GET", "_nodes/http"),
        ("reader", "POST", "logs-a/_no_such_thing"),
        ("viewer", "GET", "logs-*/_search"),
        ("keeper", "GET", "logs-*/_search"),
        ("keeper", "GET", ".kibana/_search"),
        ("writer", "GET", "app-logs-a/_search"),
    ] {
        let refused = console(&gateway.with(client), method, path);
        assert!(matches!(refused.status, 403 | 405), "{client} {method} {path}: {} {}", refused.status, refused.text());
    }
    assert_eq!(dashboards.passed_on().len(), passed_on, "{:?}", dashboards.passed_on());
}

#[test]
fn the_body_of_a_console_call_is_decided_on_as_the_engine_s() {
    let (dashboards, gateway) = on_the_engine();
    let name = "app-logs-e2e-console";
    Engine::get().delete_index(name);
    let bulk = api("/console/proxy?path=_bulk%3Frefresh%3Dtrue&method=POST");
    let lines = |index: &str| {
        [
            json!({"index": {"_index": name, "_id": "1"}}),
            json!({"a": 1}),
            json!({"index": {"_index": index, "_id": "2"}}),
            json!({"a": 2}),
        ]
    };
    let writer = gateway.with("writer");
    writer.post(&bulk).lines(&lines("pii-customers")).expect(403);
    assert_eq!(Engine::get().admin().get(&format!("/{name}")).send().status, 404, "nothing of a refused request");
    assert_eq!(writer.post(&bulk).lines(&lines(name)).expect(200).json()["errors"], false);
    assert_eq!(Engine::get().count(name), 2);
    Engine::get().delete_index(name);

    let search = api("/console/proxy?path=logs-*%2F_search&method=POST");
    let reader = gateway.with("reader");
    let passed_on = dashboards.passed_on().len();
    let lookup = json!({"query": {"terms": {"user": {"index": "pii-customers", "id": "1", "path": "a"}}}});
    reader.post(&search).json(&lookup).expect(403);
    reader
        .post(&api("/console/proxy?path=_mget&method=POST"))
        .json(&json!({"docs": [{"_index": "pii-customers", "_id": "1"}]}))
        .expect(403);
    reader.post(&search).body("application/cbor", b"\xa0".to_vec()).expect(415);
    // The engine would be told nothing of the encoding.
    reader.post(&search).header("Content-Encoding", "gzip").json(&json!({})).expect(415);
    assert_eq!(dashboards.passed_on().len(), passed_on);
}

/// What the double makes of each is not what stands there, as far as a simple reader goes; none gets so far.
#[test]
fn a_console_call_that_dashboards_reads_in_its_own_way_never_gets_there() {
    let (dashboards, gateway) = on_the_engine();
    let reader = gateway.with("reader");
    for query in [
        "path=logs-a%2F..%2Fpii-customers%2F_search&method=GET",
        "path=logs-a%2F%252e%252e%2Fpii-customers%2F_search&method=GET",
        "path=logs-a%5C..%5C..%5Cpii-customers%2F_search&method=GET",
        "path=%2F%2Fpii-customers%2F_search&method=GET",
        "path=logs-a%2F_sea%09rch&method=GET",
        "path=logs-a%2F_search%23&method=GET",
        "path=logs-a%2F_search&method=GET&path=pii-customers%2F_search",
        "path=logs-a%2F_search&method=GET&method=DELETE",
        "path=logs-a%2F_search&method=GET&dataSourceId=1",
        "path=logs-a%2F_search&method=delete",
        "path=logs-a%2F_count%3Fa%3Db%3Bindex%3Dpii-customers&method=GET",
        "%70ath=pii-customers%2F_search&path=logs-a%2F_search&method=GET",
        "path=logs-a%2F_search&method=GET&authorization=eyJhbGciOiJub25lIn0",
        "path=logs-a%2F_search&method=GET&security_tenant=team",
        "path=logs-a%2F_search&method=GET&access_token=x",
    ] {
        let refused = reader.post(&api(&format!("/console/proxy?{query}"))).send();
        assert_eq!(refused.status, 400, "{query}: {}", refused.text());
    }
    for path in ["/console%2Fproxy", "/c%6fnsole/proxy", "//console/proxy", "/console/proxy/x"] {
        let refused = reader.post(&api(&format!("{path}?path=pii-customers%2F_search&method=GET"))).send();
        assert!(matches!(refused.status, 400 | 403), "{path}: {}", refused.status);
    }
    assert_eq!(dashboards.passed_on(), [""; 0]);
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
