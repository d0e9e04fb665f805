//! The driver `basic`: requests go as users the cluster already has. The engine enforces the roles of these, the gateway narrows
//! to the scopes, and keeps apart what clients of one user have opened.

#[path = "backend_users/configuration.rs"]
mod configuration;
#[path = "identity/names.rs"]
mod names;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use e2e::{Client, ClientSettings, Engine, Gateway, Issuer, OnDrop, Settings, Upstream, until};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};

use self::names::NAMES;

const API: &str = "/_plugins/_security/api";
const MASKED: &str = "e2e-bu-masked";
const WIDE: &str = "e2e-bu-wide";
const MASKED_PASSWORD: &str = "Pässwörd:☃ masked-7b1f";
const WIDE_PASSWORD: &str = "wide-Q8rk2-0zvTnb-7";

/// One test at a time: they share indices, roles and users.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two indices; a user who sees one tenant with masked addresses, and one who may do everything with both.
fn cluster() -> OnDrop<impl FnMut()> {
    let clear = || {
        let admin = Engine::get().admin();
        for index in ["e2e-bu-a", "e2e-bu-b"] {
            Engine::get().delete_index(index);
        }
        for user in [MASKED, WIDE] {
            for kind in ["internalusers", "rolesmapping", "roles"] {
                let _ = admin.delete(&format!("{API}/{kind}/{user}")).send();
            }
        }
    };
    clear();
    let admin = Engine::get().admin();
    for index in ["e2e-bu-a", "e2e-bu-b"] {
        for (id, tenant) in [("1", "acme"), ("2", "acme"), ("3", "globex")] {
            let document = json!({"tenant": tenant, "email": "somebody@example.com"});
            admin.put(&format!("/{index}/_doc/{id}?refresh=true")).json(&document).expect(201);
        }
    }
    let of_wide =
        ["cluster:monitor/main", "indices:data/read/scroll*", "indices:data/write/bulk", "indices:admin/aliases*"];
    let cluster_permissions = ["cluster:monitor/main", "indices:data/read/scroll*", "indices:data/read/msearch*"];
    let masked = json!({
        "cluster_permissions": cluster_permissions,
        "index_permissions": [{
            "index_patterns": ["e2e-bu-*"], "allowed_actions": ["read"],
            "masked_fields": ["email"], "dls": "{\"match\": {\"tenant\": \"acme\"}}",
        }],
    });
    let wide = json!({
        "cluster_permissions": of_wide,
        "index_permissions": [
            {"index_patterns": ["e2e-bu-*"], "allowed_actions": ["indices_all"]},
            {"index_patterns": ["*"], "allowed_actions": ["indices:admin/resolve/index"]},
        ],
    });
    for (name, role, password) in [(MASKED, masked, MASKED_PASSWORD), (WIDE, wide, WIDE_PASSWORD)] {
        admin.put(&format!("{API}/roles/{name}")).json(&role).expect(201);
        admin.put(&format!("{API}/internalusers/{name}")).json(&json!({"password": password})).expect(201);
        admin.put(&format!("{API}/rolesmapping/{name}")).json(&json!({"users": [name]})).expect(201);
    }
    OnDrop(clear)
}

fn settings() -> Settings {
    let users = json!({MASKED: {"file": "masked.password"}, WIDE: "${WIDE_PASSWORD}"});
    Settings::new()
        .engine_option("driver", json!("basic"))
        .engine_option("basic", json!({"users": users, "catalog_user": WIDE}))
        .file("masked.password", MASKED_PASSWORD)
        .environment("WIDE_PASSWORD", WIDE_PASSWORD)
}

fn client(id: &str, user: &str, scopes: &[&str]) -> ClientSettings {
    ClientSettings::new(id, scopes).with("backend_user", json!(user))
}

/// Tenant and address of each document found.
fn documents(answer: &Value) -> Vec<(String, String)> {
    let text = |hit: &Value, field: &str| hit["_source"][field].as_str().expect("a text").to_owned();
    let hits = answer["hits"]["hits"].as_array().expect("hits");
    hits.iter().map(|hit| (text(hit, "tenant"), text(hit, "email"))).collect()
}

fn is_masked(documents: &[(String, String)]) -> bool {
    documents.len() == 2
        && documents.iter().all(|(tenant, email)| tenant == "acme" && !email.contains('@') && email.len() >= 32)
}

#[test]
fn the_engine_enforces_the_roles_and_the_gateway_the_scopes() {
    let _alone = alone();
    let _cluster = cluster();
    let gateway = Gateway::start(
        settings()
            .client_with(client("report", MASKED, &["read:e2e-bu-a"]))
            .client_with(client("masked-wide", MASKED, &["read:*", "write:e2e-bu-*"]))
            .client_with(client("reader", WIDE, &["read:e2e-bu-a"]))
            .client_with(client("writer", WIDE, &["write:e2e-bu-b"])),
    );
    let report = gateway.with("report");
    let seen = report.get("/e2e-bu-a/_search").expect(200);
    assert!(is_masked(&documents(&seen.json())), "{}", seen.text());
    report.get("/e2e-bu-a/_doc/3").expect(404);
    let _ = gateway.audit_where("the search", |event| {
        event["operation"] == "search" && event["client"] == "report" && event["backend_user"] == MASKED
    });
    // The user has more than the scope: the gateway says no.
    for target in ["/e2e-bu-b/_search", "/e2e-bu-*/_search", "/_search"] {
        let refused = report.get(target).expect(403);
        assert!(refused.text().contains("read:e2e-bu-a"), "{}", refused.text());
    }
    // The scope has more than the user: the engine says no.
    let wide = gateway.with("masked-wide");
    assert!(is_masked(&documents(&wide.get("/e2e-bu-b/_search").expect(200).json())));
    for answer in [wide.get("/logs-*/_search").send(), wide.put("/e2e-bu-a/_doc/9").json(&json!({})).send()] {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("no permissions for"), "{}", answer.text());
    }
    // Two clients of one user, each within its own scopes.
    let (reader, writer) = (gateway.with("reader"), gateway.with("writer"));
    assert_eq!(documents(&reader.get("/e2e-bu-a/_search").expect(200).json()).len(), 3);
    reader.put("/e2e-bu-a/_doc/9").json(&json!({})).expect(403);
    writer.put("/e2e-bu-b/_doc/9").json(&json!({"tenant": "x"})).expect(201);
    writer.get("/e2e-bu-b/_search").expect(403);
    let lines = "{\"index\":{\"_index\":\"e2e-bu-b\"}}\n{}\n{\"index\":{\"_index\":\"e2e-bu-a\"}}\n{}\n";
    writer.post("/_bulk").body("application/x-ndjson", lines).expect(403);
    // Nothing of these passwords is written down.
    let written = format!("{}{}{}", gateway.log(), gateway.audit_text(), gateway.monitor("/metrics").text());
    assert!(!written.contains(WIDE_PASSWORD) && !written.contains(MASKED_PASSWORD), "a password was written down");
}

/// To the engine a wildcard in front stands for its own indices too, whose names begin with a dot; to a scope it does not.
#[test]
fn a_leading_wildcard_does_not_reach_the_engines_own_indices() {
    let _alone = alone();
    let _cluster = cluster();
    let (engine, dot) = (Engine::get(), ".e2e-bu-dot");
    engine.delete_index(dot);
    let _gone = OnDrop(|| Engine::get().delete_index(dot));
    engine.admin().put(&format!("/{dot}/_doc/1?refresh=true")).json(&json!({"secret": true})).expect(201);
    let everything = json!({
        "cluster_permissions": ["cluster:monitor/main", "indices:data/read/msearch*"],
        "index_permissions": [{"index_patterns": ["*"], "allowed_actions": ["read", "indices:admin/resolve/index"]}],
    });
    engine.admin().put(&format!("{API}/roles/{WIDE}")).json(&everything).expect(200);
    let gateway = Gateway::start(settings().client_with(client("all", WIDE, &["read:*"])).client_with(client(
        "dots",
        WIDE,
        &["read:*", "read:.e2e-*"],
    )));
    let all = gateway.with("all");
    for target in [
        "/_search",
        "/*/_search",
        "/_all/_count",
        "/*bu-dot/_search",
        "/.e2e-bu-dot/_search",
        "/e2e-bu-a,.e2e*/_search",
    ] {
        let refused = all.get(target).expect(403);
        let says_so = refused.text().contains("write `*,-.*`");
        assert_eq!(says_so, !target.contains("/.e2e") && !target.contains(",.e2e"), "{target}: {}", refused.text());
    }
    all.post("/_msearch").body("application/x-ndjson", "{}\n{\"query\":{\"match_all\":{}}}\n").expect(403);
    let seen = all.get("/*,-.*/_search?size=100&q=secret:true").expect(200);
    assert!(!seen.text().contains(dot), "{}", seen.text());
    all.get("/e2e-bu-*/_search").expect(200);
    assert!(gateway.with("dots").get("/.e2e-bu-*/_search").expect(200).text().contains(dot));
}

fn open_scroll(client: &Client) -> String {
    let first = client.post("/e2e-bu-a/_search?scroll=1m&size=1&pretty").json(&json!({})).expect(200).json();
    first["_scroll_id"].as_str().expect("a scroll id").to_owned()
}

fn open_point(client: &Client) -> String {
    let opened = client.post("/e2e-bu-a/_search/point_in_time?keep_alive=1m").expect(200).json();
    opened["pit_id"].as_str().expect("a point in time").to_owned()
}

/// Makes sure that none of this is of any use to a stranger.
fn assert_useless(stranger: &Client, scroll: &str, point: &str) {
    let is_refusal = |status: u16| assert!(matches!(status, 400 | 403), "{status}");
    let body = json!({"scroll": "1m", "scroll_id": scroll});
    is_refusal(stranger.post("/_search/scroll").json(&body).send().status);
    is_refusal(stranger.get(&format!("/_search/scroll/{scroll}?scroll=1m")).send().status);
    is_refusal(stranger.get(&format!("/_search/scroll?scroll=1m&scroll_id={scroll}")).send().status);
    is_refusal(stranger.post(&format!("/_search/scroll/{scroll}")).json(&json!({"scroll": "1m"})).send().status);
    is_refusal(stranger.get(&format!("/_search/scroll?scroll=1m&%73croll_id={scroll}")).send().status);
    is_refusal(stranger.delete(&format!("/_search/scroll/{scroll}")).send().status);
    is_refusal(stranger.delete(&format!("/_search/scroll/a,{scroll}")).send().status);
    is_refusal(stranger.delete("/_search/scroll").json(&json!({"scroll_id": [scroll]})).send().status);
    is_refusal(stranger.delete("/_search/scroll/_all").send().status);
    let search = json!({"pit": {"id": point}});
    is_refusal(stranger.post("/_search").json(&search).send().status);
    is_refusal(stranger.post("/_msearch").body("application/x-ndjson", format!("{{}}\n{search}\n")).send().status);
    is_refusal(stranger.delete("/_search/point_in_time").json(&json!({"pit_id": [point]})).send().status);
    is_refusal(stranger.delete("/_search/point_in_time/_all").send().status);
    is_refusal(stranger.get("/_search/point_in_time/_all").send().status);
}

#[test]
fn what_one_client_has_opened_is_no_others_of_the_same_user() {
    let _alone = alone();
    let _cluster = cluster();
    let gateway = Gateway::start(
        settings().client_with(client("opener", WIDE, &["read:e2e-bu-a", "read:e2e-bu-b"])).client_with(client(
            "other",
            WIDE,
            &["read:e2e-bu-b", "read:e2e-bu-a"],
        )),
    );
    let opener = gateway.with("opener");
    let (scroll, point) = (open_scroll(&opener), open_point(&opener));
    assert_useless(&gateway.with("other"), &scroll, &point);
    // Not even for the same client with fewer scopes: the engine would show what the others are for.
    let narrow = gateway.http().with_token(&gateway.token_with("opener", "read:e2e-bu-b"));
    assert_useless(&narrow, &scroll, &point);
    // It goes on for its opener, with another token of the same scopes too, to the end.
    let again = gateway.with("opener");
    let mut next = scroll.clone();
    for found in [1, 1, 0] {
        let page = again.post("/_search/scroll").json(&json!({"scroll": "1m", "scroll_id": next})).expect(200).json();
        assert_eq!(page["hits"]["hits"].as_array().map(Vec::len), Some(found));
        next = page["_scroll_id"].as_str().expect("a scroll id").to_owned();
    }
    assert_eq!(documents(&again.post("/_search").json(&json!({"pit": {"id": point}})).expect(200).json()).len(), 3);
    again.delete("/_search/point_in_time").json(&json!({"pit_id": [point]})).expect(200);
    again.delete(&format!("/_search/scroll/{next}")).expect(200);
    // In no other form than the gateway reads.
    let target = "/e2e-bu-a/_search?scroll=1m&size=1";
    let refused = opener.post(&format!("{target}&format=yaml")).json(&json!({})).expect(400);
    assert!(refused.text().contains("leave out `format`"), "{}", refused.text());
    for (name, value) in [("accept", "application/yaml"), ("accept", "application/cbor"), ("accept-encoding", "gzip")] {
        let opened = opener.post(target).header(name, value).json(&json!({})).expect(200).json();
        let body = json!({"scroll": "1m", "scroll_id": opened["_scroll_id"]});
        opener.post("/_search/scroll").json(&body).expect(200);
    }
    let hidden = opener.post(&format!("{target}&filter_path=hits.hits._id")).json(&json!({})).expect(200).json();
    assert!(hidden["_scroll_id"].is_null() && hidden["hits"]["hits"][0]["_id"].is_string(), "{hidden}");
    // A gateway that was started since knows nothing of whose it is.
    let (scroll, point) = (open_scroll(&opener), open_point(&opener));
    gateway.stop();
    gateway.start_again();
    assert_useless(&gateway.with("opener"), &scroll, &point);
}

#[test]
fn a_long_answer_to_a_scroll_streams() {
    let upstream = Upstream::start(|turn| {
        turn.read_body();
        let body = format!("{{\"_scroll_id\":\"long\",\"hits\":\"{}\"}}", "x".repeat(8 * 1024 * 1024));
        turn.write(&e2e::json_answer(200, &body));
    });
    let settings = settings().upstream(&upstream.url()).client_with(client("reader", WIDE, &["read:logs-*"]));
    let gateway = Gateway::start(settings);
    let reader = gateway.with("reader");
    assert_eq!(reader.get("/logs-a/_search?scroll=1m").expect(200).text().len(), 8 * 1024 * 1024 + 31);
    reader.post("/_search/scroll").json(&json!({"scroll_id": "long"})).expect(200);
}

#[test]
fn a_wrong_password_is_nobodys_identity() {
    let _alone = alone();
    let _cluster = cluster();
    let gateway = Gateway::start(
        settings()
            .file("masked.password", "not-the-password")
            .client_with(client("report", MASKED, &["read:e2e-bu-a"]))
            .client_with(client("reader", WIDE, &["read:e2e-bu-a"])),
    );
    let report = gateway.with("report");
    let failures = || gateway.metric("oauth4os_upstream_failures_total{reason=\"identity\"}");
    let before = failures();
    let refused = report.get("/e2e-bu-a/_search").expect(502);
    assert!(refused.text().contains("does not accept the gateway's identity"), "{}", refused.text());
    assert!(refused.header("www-authenticate").is_none(), "the client would take it for its own");
    assert!(failures() > before);
    // Others are served, and the gateway is ready.
    gateway.with("reader").get("/e2e-bu-a/_search").expect(200);
    assert_eq!(gateway.monitor("/readyz").status, 200);
    // The right password is taken into use by a reload.
    gateway.write_file("masked.password", &format!("{MASKED_PASSWORD}\n"));
    report.get("/e2e-bu-a/_search").expect(502);
    assert_eq!(gateway.reload(), "applied");
    assert!(is_masked(&documents(&report.get("/e2e-bu-a/_search").expect(200).json())));
    // One that cannot be read changes nothing.
    gateway.write_file("masked.password", "");
    assert_eq!(gateway.reload(), "invalid");
    report.get("/e2e-bu-a/_search").expect(200);
}

#[test]
fn a_client_changes_its_user_by_a_reload() {
    let _alone = alone();
    let _cluster = cluster();
    let gateway = Gateway::start(settings().client_with(client("report", MASKED, &["read:e2e-bu-a"])));
    let report = gateway.with("report");
    assert!(is_masked(&documents(&report.get("/e2e-bu-a/_search").expect(200).json())));
    gateway.change_config(|config| config["clients"][0]["backend_user"] = json!(WIDE));
    assert_eq!(gateway.reload(), "applied");
    assert_eq!(documents(&report.get("/e2e-bu-a/_search").expect(200).json()).len(), 3);
    gateway.change_config(|config| config["clients"][0]["backend_user"] = json!("nobody"));
    assert_eq!(gateway.reload(), "invalid");
    assert_eq!(documents(&report.get("/e2e-bu-a/_search").expect(200).json()).len(), 3);
}

#[test]
fn a_provider_says_by_roles_groups_and_scopes_who_goes_as_whom() {
    let _alone = alone();
    let _cluster = cluster();
    let key = SigningKey::generate(Algorithm::Es256).expect("a key");
    let issuer = Issuer::start(&[&key]);
    let mut provider = issuer.settings("outside");
    provider["claims"] = json!({"roles": "roles", "groups": "groups"});
    provider["scope_mapping"] = json!({"scopes": {"logs": ["read:e2e-bu-a"]}});
    provider["backend_users"] = json!([
        {"group": "/auditors", "user": WIDE},
        {"role": "analyst", "user": MASKED},
        {"scope": "all", "user": WIDE},
    ]);
    let gateway = Gateway::start(settings().client_with(client("x", WIDE, &["read:x"])).provider(provider));
    let search = |claims: Value| {
        let mut token = issuer.claims(&key);
        for (name, value) in claims.as_object().expect("claims") {
            token = token.with(name, value.clone());
        }
        gateway.http().with_token(&token.sign(&key)).get("/e2e-bu-a/_search").send()
    };
    for claims in [json!({"roles": ["analyst"]}), json!({"roles": ["analyst", "x"], "scope": "logs all"})] {
        assert!(is_masked(&documents(&search(claims).expect_ok().json())));
    }
    for claims in [json!({"groups": ["/auditors"], "roles": ["analyst"]}), json!({"scope": "logs all"})] {
        assert_eq!(documents(&search(claims).expect_ok().json()).len(), 3);
    }
    for claims in [json!({}), json!({"roles": ["Analyst", "/auditors", "all", WIDE], "groups": ["analyst"]})] {
        let refused = search(claims);
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains("none is configured for this client"), "{}", refused.text());
    }
}

#[test]
fn aliases_that_lead_out_are_refused_by_the_gateway() {
    let _alone = alone();
    let _cluster = cluster();
    let gateway = Gateway::start(
        settings()
            .engine_option("alias_refresh", json!("1s"))
            .client_with(client("reader", WIDE, &["read:e2e-bu-a*"]))
            .client_with(client("owner", WIDE, &["manage:e2e-bu-*"])),
    );
    let reader = gateway.with("reader");
    let body = json!({"actions": [{"add": {"index": "e2e-bu-b", "alias": "e2e-bu-a-more"}}]});
    gateway.with("owner").post("/_aliases").json(&body).expect(200);
    for target in ["/e2e-bu-a-more/_search", "/e2e-bu-a*/_search"] {
        reader.get(target).expect(403);
    }
    reader.get("/e2e-bu-a/_search").expect(200);
}

#[test]
fn without_the_names_of_indices_nothing_is_sent() {
    let _alone = alone();
    let _cluster = cluster();
    let users = json!({MASKED: {"file": "masked.password"}, WIDE: "${WIDE_PASSWORD}"});
    let gateway = Gateway::start(settings().client_with(client("reader", WIDE, &["read:e2e-bu-a"])));
    // This user may not see them.
    gateway.change_config(|config| {
        config["upstream"]["engine"]["basic"] = json!({"users": users, "catalog_user": MASKED});
    });
    gateway.stop();
    gateway.start_unready();
    let refused = gateway.with("reader").get("/e2e-bu-a/_search").expect(503);
    assert!(refused.text().contains("names"), "{}", refused.text());
    until("the log to say why", Duration::from_secs(10), || gateway.log().contains("catalog_user").then_some(()));
}

#[test]
fn the_engine_gets_the_users_credentials_and_nothing_of_the_clients() {
    let upstream = Upstream::obliging();
    let settings = settings()
        .upstream(&upstream.url())
        .client_with(client("reader", WIDE, &["read:logs-*"]).with("basic", json!(true)))
        .client_with(client("masked", MASKED, &["read:logs-*"]));
    let gateway = Gateway::start(settings);
    let token = gateway.token("reader");
    let reader = gateway.http().with_token(&token);
    let wide = "Basic ZTJlLWJ1LXdpZGU6d2lkZS1ROHJrMi0wenZUbmItNw==";
    for (number, name) in NAMES.iter().enumerate() {
        let target = format!("/logs-{number}/_search");
        reader.get(&target).header(name, "admin").expect(200);
        let received = upstream.the_request_for(&target);
        assert_eq!(received.header_names(), ["host", "x-opaque-id", "authorization"], "{name}");
        assert_eq!(received.header("authorization"), [wide]);
    }
    // A client's own Basic stays here.
    gateway.http().with_basic("reader", gateway.secret("reader")).get("/logs-basic/_search").expect(200);
    assert_eq!(upstream.the_request_for("/logs-basic/_search").header("authorization"), [wide]);
    // On the same connection another client is another user.
    gateway.with("masked").get("/logs-masked/_search").expect(200);
    let sent = upstream.the_request_for("/logs-masked/_search").header("authorization").concat();
    assert_eq!(sent, "Basic ZTJlLWJ1LW1hc2tlZDpQw6Rzc3fDtnJkOuKYgyBtYXNrZWQtN2IxZg==");
    assert!(!format!("{:?}", upstream.requests()).contains(&token), "the client's token went to the engine");
}
