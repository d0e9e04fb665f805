//! Several clusters behind one gateway: each is reached by its own way, under scopes of its own, and none depends on another.

use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use e2e::http2::{self, Http2};
use e2e::{Client, Driver, Engine, Gateway, OnDrop, Port, Settings, Upstream, until};
use serde_json::{Value, json};

/// One test at a time: one of them changes how the engine is set up.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _ = Engine::get_alone();
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn main_cluster() -> Value {
    json!({"name": "main", "path_prefix": "/main"})
}

fn other_cluster() -> Value {
    json!({"name": "other", "hosts": ["other.example.com"]})
}

/// The real engine needs nothing for this driver that depends on the cluster's name.
fn settings() -> Settings {
    Settings::new().driver(Driver::ExtendedProxy)
}

fn settings_for(scopes: &[&str], other: &Upstream) -> Settings {
    settings().cluster(main_cluster()).cluster_at(other_cluster(), &other.url()).client("app", scopes)
}

fn targets(upstream: &Upstream) -> Vec<String> {
    upstream.requests().into_iter().map(|request| request.target).collect()
}

#[test]
fn host_and_path_say_which_cluster_and_scopes_are_for_one() {
    let _alone = alone();
    let (other, rest) = (Upstream::obliging(), Upstream::obliging());
    let gateway = Gateway::start(
        settings_for(&["read:main/logs-*", "write:other/app-*", "read:other/app-*"], &other)
            .cluster_at(json!({"name": "rest"}), &rest.url()),
    );
    let app = gateway.with("app");
    // The real engine, below its path.
    for target in ["/main/logs-*/_search", "/main/logs-*/_count?q=level:ERROR"] {
        let answer = app.get(target).expect(200);
        assert!(answer.json()["_shards"]["total"].as_u64() > Some(0), "{target}: {}", answer.text());
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&event["cluster"], &event["decision"]), (&json!("main"), &json!("allow")), "{event}");
        assert_eq!(event["path"], target.split('?').next().expect("a path"));
    }
    for (target, sent) in [("/main", "/"), ("/main?human", "/?human"), ("/main/", "/")] {
        let answer = app.get(target).expect(200);
        assert!(answer.json()["cluster_name"].is_string(), "{target} as {sent}: {}", answer.text());
    }
    // The other, by its host, whatever the path looks like.
    app.put("/app-1/_doc/1").host("other.example.com").json(&json!({"a": 1})).expect(200);
    app.get("/app-1/_search").host("OTHER.example.com:8443").expect(200);
    assert_eq!(targets(&other), ["/app-1/_doc/1", "/app-1/_search"]);
    // What one may be read gives nothing in another, and the refusal says what would.
    for (host, target, needed) in [
        ("localhost", "/main/app-1/_search", "search:main/app-1"),
        ("other.example.com", "/logs-app-2026.11.20/_search", "search:other/logs-app-2026.11.20"),
        ("other.example.com", "/main/logs-app-2026.11.20/_search", ""),
        ("localhost", "/mainx/_search", ""),
        ("localhost", "/logs-app-2026.11.20/_search", ""),
        ("localhost", "/_cluster/health", ""),
    ] {
        let refused = app.get(target).host(host).expect(403);
        let challenge = refused.header("www-authenticate").expect("a challenge");
        assert_eq!(challenge.contains(&format!("scope=\"{needed}\"")), !needed.is_empty(), "{target}: {challenge}");
    }
    let refused = app.get("/logs-a/_search").expect(403).text();
    assert!(refused.contains("no scope for the cluster `rest`") && refused.contains("read:rest/logs-*"), "{refused}");
    // No way from one into another.
    for target in
        ["/main/../app-1/_search", "/main/%2e%2e/app-1/_search", "/%6dain/logs-a/_search", "//main/logs-a/_search"]
    {
        let status = app.get(target).send().status;
        assert!(matches!(status, 400 | 403), "{target}: {status}");
    }
    assert_eq!(targets(&other).len(), 2);
    assert!(targets(&rest).is_empty(), "{:?}", targets(&rest));
    // A token of fewer scopes is one for fewer clusters.
    let part = gateway.http().with_token(&gateway.token_with("app", "read:main/logs-app-*"));
    part.get("/main/logs-app-*/_search").expect(200);
    part.get("/app-1/_search").host("other.example.com").expect(403);
}

#[test]
fn what_is_meant_for_no_cluster_is_answered_by_the_gateway() {
    let _alone = alone();
    let other = Upstream::obliging();
    let gateway = Gateway::start(settings_for(&["admin:other/*", "admin:gateway"], &other));
    let app = gateway.with("app");
    let unknown = app.get("/logs-a/_search").expect(404);
    assert!(
        unknown.text().contains("no cluster behind this gateway is reached by this host and path"),
        "{}",
        unknown.text()
    );
    let event = gateway.audit_of(unknown.request_id());
    assert_eq!((&event["decision"], &event["cluster"]), (&json!("deny"), &Value::Null), "{event}");
    // The gateway's own endpoints belong to none.
    for host in ["localhost", "other.example.com"] {
        app.get("/_oauth4os/v1/whoami").host(host).expect(200);
        app.get("/oauth/tokens").host(host).expect(200);
    }
    assert!(targets(&other).is_empty());
}

/// What arrives on a cluster's own port is meant for it, whatever host and path say.
#[test]
fn a_listener_of_its_own_leads_to_its_cluster() {
    let _alone = alone();
    let (other, third) = (Upstream::obliging(), Upstream::obliging());
    let (port, third_port) = (Port::reserve(), Port::reserve());
    let listen = |port: &Port| format!("127.0.0.1:{}", port.number());
    let gateway = Gateway::start(
        settings()
            .cluster(main_cluster())
            .cluster_at(json!({"name": "other", "hosts": ["other.example.com"], "listen": listen(&port)}), &other.url())
            .cluster_at(json!({"name": "third", "listen": listen(&third_port)}), &third.url())
            .client("app", &["read:main/logs-*", "read:other/app-*", "read:third/app-*"]),
    );
    let (token, main) = (gateway.token("app"), gateway.with("app"));
    let (own, of_third) = (gateway.http_on(&port).with_token(&token), gateway.http_on(&third_port).with_token(&token));
    own.get("/app-1/_search").expect(200);
    own.get("/app-2/_search").host("gateway.example.com").expect(200);
    own.get("/main/app-1/_search").expect(403);
    own.get("/logs-app-2026.11.20/_search").expect(403);
    of_third.get("/app-3/_search").host("other.example.com").expect(200);
    // On the gateway's own listener it is as before; a cluster with a listener does not get the rest.
    main.get("/app-4/_search").host("other.example.com").expect(200);
    main.get("/main/logs-*/_count").expect(200);
    main.get("/app-5/_search").expect(404);
    assert_eq!(targets(&other), ["/app-1/_search", "/app-2/_search", "/app-4/_search"]);
    assert_eq!(targets(&third), ["/app-3/_search"]);
    let event = gateway.audit_where("a search", |event| event["path"] == "/app-3/_search");
    assert_eq!((&event["cluster"], &event["decision"]), (&json!("third"), &json!("allow")), "{event}");
    for client in [&own, &of_third] {
        client.get("/oauth/jwks").expect(200);
        client.get("/_oauth4os/v1/whoami").expect(200);
        client.anonymous().get("/app-1/_search").expect(401);
    }
    http2::run(async {
        let connection = Http2::open(&of_third).await;
        assert_eq!(connection.get("/app-6/_search").await.expect("an answer").status, 200);
        assert_eq!(connection.get("/pii/_search").await.expect("an answer").status, 403);
    });
    // Requests are read as strictly there.
    let before = third.captured();
    let mut connection = of_third.connect();
    let smuggled = format!("GET /app-7/_search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.write(
        format!("POST /app-1/_search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n{smuggled}").as_bytes(),
    );
    assert_eq!(connection.answer().status, 400);
    assert!(connection.is_closed_next());
    assert_eq!(third.captured(), before);
    // Connections are counted with all others, and a drain closes every listener.
    let mut idle = of_third.connect();
    idle.write(&of_third.get("/app-8/_search").bytes());
    assert_eq!(idle.answer().status, 200);
    gateway.stop();
    assert!(idle.is_closed_next());
    for port in [gateway.port(), port.number(), third_port.number()] {
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "{port}");
    }
}

/// Each has its own Dashboards, on a port of its own.
#[test]
fn the_listener_of_dashboards_leads_to_that_of_its_cluster() {
    let engines = [Upstream::obliging(), Upstream::obliging()];
    let dashboards = [Upstream::obliging(), Upstream::obliging()];
    let ports = [Port::reserve(), Port::reserve()];
    let mut settings = Settings::new().driver(Driver::Jwt).client("app", &["read:one/dashboards", "read:two/logs-*"]);
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        let host = format!("{name}.example.com");
        settings = settings
            .cluster_at(json!({"name": name, "hosts": [host]}), &engines[number].url())
            .dashboards_of_cluster(json!({
                "url": dashboards[number].url(), "listen": format!("127.0.0.1:{}", ports[number].number()),
            }));
    }
    let gateway = Gateway::start(settings);
    let token = gateway.token("app");
    let own = ports.each_ref().map(|port| gateway.http_on(port).with_token(&token));
    own[0].get("/api/status").host("two.example.com").expect(200);
    let refused = own[1].get("/api/status").host("one.example.com").expect(403);
    assert!(refused.header("www-authenticate").expect("a challenge").contains("scope=\"read:two/dashboards\""));
    own[1].get("/logs-a/_search").expect(403);
    gateway.with("app").get("/logs-a/_search").host("two.example.com").expect(200);
    assert_eq!((targets(&dashboards[0]), targets(&dashboards[1])), (vec!["/api/status".to_owned()], Vec::new()));
    assert_eq!((targets(&engines[0]).len(), targets(&engines[1]).len()), (0, 1));
    let event = gateway.audit_where("a call", |event| event["path"] == "/api/status" && event["decision"] == "allow");
    assert_eq!((&event["cluster"], &event["upstream"]), (&json!("one"), &json!("dashboards")), "{event}");
}

#[test]
fn where_clusters_listen_is_said_once_and_at_the_start() {
    let _alone = alone();
    let other = Upstream::obliging();
    let gateway = Gateway::start(settings_for(&["read:main/logs-*", "read:other/*"], &other));
    for (listen, sentence) in [
        (["127.0.0.1:PORT", "127.0.0.1:1"], "clusters `main`: listen: is the address of `listen`"),
        (["127.0.0.1:1", "127.0.0.1:1"], "clusters `other`: listen: is the address of `listen` of the cluster `main`"),
        (["0.0.0.0:1", "[::1]:1"], "clusters `other`: listen: is the address of `listen` of the cluster `main`"),
    ] {
        gateway.change_config(|config| {
            for (number, listen) in listen.into_iter().enumerate() {
                config["clusters"][number]["listen"] = json!(listen.replace("PORT", &gateway.port().to_string()));
            }
        });
        let run = gateway.check_config();
        assert!(!run.succeeded && run.stderr.contains(sentence), "{listen:?}: {run:?}");
    }
    gateway.change_config(|config| {
        config["clusters"][0]["listen"] = json!("127.0.0.1:1");
        config["clusters"][1]["listen"] = json!("127.0.0.1:2");
    });
    assert!(gateway.check_config().succeeded);
    assert_eq!(gateway.reload(), "needs_restart");
    assert!(gateway.log().contains("clusters: cannot change while the gateway runs"), "{}", gateway.log());
}

#[test]
fn every_scope_names_its_cluster() {
    let _alone = alone();
    let other = Upstream::obliging();
    let gateway = Gateway::start(settings_for(&["read:main/logs-*", "read:other/*"], &other));
    for scope in ["read:logs-*", "read:logs-*/x", "read:nowhere/logs-*", "admin:main/gateway", "read:Main/logs-*"] {
        let refused = gateway.ask_for_token("app", &[("scope", scope)]);
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (400, &json!("invalid_scope")),
            "{scope}: {}",
            refused.text()
        );
    }
    let unnamed = gateway.ask_for_token("app", &[("scope", "read:logs-*")]).text();
    assert!(unnamed.contains("names no cluster and there are several"), "{unnamed}");
    for (scopes, sentence) in [
        (json!(["read:logs-*"]), "names no cluster and there are several"),
        (json!(["monitor:cluster"]), "names no cluster and there are several"),
        (json!(["read:nowhere/logs-*"]), "which is not configured"),
        (json!(["admin:main/gateway"]), "is about the gateway itself"),
    ] {
        gateway.change_config(|config| config["clients"][0]["scopes"] = scopes.clone());
        let run = gateway.check_config();
        assert!(!run.succeeded && run.stderr.contains(sentence), "{scopes}: {run:?}");
    }
    gateway.change_config(|config| {
        config["clients"][0]["scopes"] = json!(["monitor:main/cluster", "admin:gateway"]);
        config["upstream"] = config["clusters"][0]["upstream"].clone();
    });
    let run = gateway.check_config();
    assert!(!run.succeeded && run.stderr.contains("and not both"), "{run:?}");
    gateway.change_config(|config| config["upstream"] = Value::Null);
    let run = gateway.check_config();
    assert!(run.succeeded && run.stdout.contains("cluster main at https://"), "{run:?}");
    gateway.change_config(|config| config["clusters"][1]["upstream"]["engine"]["url"] = json!("http://192.0.2.1:9200"));
    let run = gateway.check_config();
    assert!(!run.succeeded && run.stderr.contains("clusters `other`: upstream.engine.url"), "{run:?}");
}

#[test]
fn a_cluster_that_hangs_or_is_gone_does_not_touch_another() {
    let _alone = alone();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let other = Upstream::start(move |turn| {
        turn.read_body();
        released.lock().expect("the lock").recv().expect("a word");
        turn.oblige();
    });
    let gateway = Gateway::start(
        settings_for(&["read:main/logs-*", "read:other/*"], &other).limit("requests_in_flight", json!(2)),
    );
    let app = gateway.with("app");
    let slow = |client: &Client| client.get("/a/_search").host("other.example.com").bytes();
    let mut hanging: Vec<_> = (0..2).map(|_| app.connect()).collect();
    for connection in &mut hanging {
        connection.write(&slow(&app));
    }
    until("both requests", Duration::from_secs(10), || (other.requests().len() == 2).then_some(()));
    // All that may be under way there is; here there is room.
    for _ in 0..20 {
        app.get("/main/logs-*/_count").expect(200);
        app.get("/a/_search").host("other.example.com").expect(429);
    }
    for _ in 0..2 {
        release.send(()).expect("the server listens");
    }
    for connection in &mut hanging {
        assert_eq!(connection.answer().status, 200);
    }
    other.stop();
    until("the other cluster to be gone", Duration::from_secs(20), || {
        (app.get("/a/_search").host("other.example.com").send().status == 503).then_some(())
    });
    for _ in 0..20 {
        app.get("/main/logs-*/_count").expect(200);
    }
    // The gateway goes on to be worth asking, also when it is started now.
    assert_eq!(gateway.monitor("/readyz").status, 200);
    gateway.stop();
    gateway.start_again();
    gateway.with("app").get("/main/logs-*/_count").expect(200);
    let text = gateway.monitor("/readyz").expect_ok().text();
    assert!(!text.contains("other"), "{text}");
}

#[test]
fn an_identity_for_one_cluster_is_none_for_another() {
    let _alone = alone();
    let other = Upstream::obliging();
    let gateway = Gateway::start(
        Settings::new()
            .driver(Driver::Jwt)
            .cluster(main_cluster())
            .cluster_at(other_cluster(), &other.url())
            .client("app", &["read:main/logs-*", "read:other/logs-*"]),
    );
    // Without a name it is not known which is meant.
    let unsaid = gateway.engine_command(&["setup"]);
    assert!(!unsaid.succeeded && unsaid.stderr.contains("say which cluster by `--cluster`: main, other"), "{unsaid:?}");
    let usual = Gateway::start(Settings::new().driver(Driver::Jwt));
    let _restore = OnDrop(|| {
        let restored = usual.engine_command(&["setup", "--apply"]);
        assert!(restored.succeeded, "{restored:?}");
    });
    let applied = gateway.engine_command(&["setup", "--apply", "--cluster", "main"]);
    assert!(applied.succeeded, "{applied:?}");
    let checked = gateway.engine_command(&["check", "--cluster", "main"]);
    assert!(checked.succeeded, "{checked:?}");
    let app = gateway.with("app");
    until("the engine to take the tokens", Duration::from_secs(20), || {
        (app.get("/main/logs-*/_count").send().status == 200).then_some(())
    });
    app.get("/logs-a/_search").host("other.example.com").expect(200);
    let handed = other.the_request_for("/logs-a/_search").header("authorization")[0].to_owned();
    let token = handed.strip_prefix("Bearer ").expect("a token");
    let stolen = Client::new(Engine::get().port, &Engine::get().ca).with_token(token);
    stolen.get("/logs-*/_count").expect(401);
}
