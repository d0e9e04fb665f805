//! Requests under the backend roles of the cluster's own: its masking and document rules go on applying, and the gateway
//! narrows to the scopes on top.

use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::{ClientSettings, Engine, Gateway, Issuer, OnDrop, Settings};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::{Value, json};

const API: &str = "/_plugins/_security/api";
const ROLE: &str = "e2e_own_analysts";
const BACKEND_ROLE: &str = "e2e-analysts";

/// One test at a time: they share indices and a role.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Two indices, and a role of the cluster for people in the backend role that sees one tenant with masked addresses.
fn cluster() -> OnDrop<impl FnMut()> {
    let clear = || {
        let admin = Engine::get().admin();
        for index in ["e2e-own-a", "e2e-own-b"] {
            Engine::get().delete_index(index);
        }
        for kind in ["rolesmapping", "roles"] {
            let _ = admin.delete(&format!("{API}/{kind}/{ROLE}")).send();
        }
    };
    clear();
    let admin = Engine::get().admin();
    for index in ["e2e-own-a", "e2e-own-b"] {
        for (id, tenant) in [("1", "acme"), ("2", "acme"), ("3", "globex")] {
            let document = json!({"tenant": tenant, "email": "somebody@example.com", "note": "n"});
            admin.put(&format!("/{index}/_doc/{id}?refresh=true")).json(&document).expect(201);
        }
    }
    let role = json!({
        "cluster_permissions": ["cluster:monitor/main", "indices:data/read/scroll"],
        "index_permissions": [{
            "index_patterns": ["e2e-own-*"],
            "allowed_actions": ["read"],
            "masked_fields": ["email"],
            "dls": "{\"match\": {\"tenant\": \"acme\"}}",
        }],
    });
    admin.put(&format!("{API}/roles/{ROLE}")).json(&role).expect(201);
    admin.put(&format!("{API}/rolesmapping/{ROLE}")).json(&json!({"backend_roles": [BACKEND_ROLE]})).expect(201);
    OnDrop(clear)
}

fn own(id: &str, scopes: &[&str]) -> ClientSettings {
    ClientSettings::new(id, scopes).with("identity", json!("own")).with("backend_roles", json!([BACKEND_ROLE]))
}

fn documents(answer: &Value) -> Vec<(String, String)> {
    let text = |hit: &Value, field: &str| hit["_source"][field].as_str().expect("a text").to_owned();
    answer["hits"]["hits"]
        .as_array()
        .expect("hits")
        .iter()
        .map(|hit| (text(hit, "tenant"), text(hit, "email")))
        .collect()
}

fn is_masked(documents: &[(String, String)]) -> bool {
    documents.len() == 2
        && documents.iter().all(|(tenant, email)| tenant == "acme" && !email.contains('@') && email.len() >= 32)
}

#[test]
fn the_clusters_own_rules_apply_and_the_scopes_narrow_on_top() {
    let _alone = alone();
    let _cluster = cluster();
    let gateway = Gateway::start(
        Settings::new()
            .client_with(own("report", &["read:e2e-own-a"]))
            .client_with(own("wide", &["read:*", "write:e2e-own-*"]))
            .client("scoped", &["read:e2e-own-*"]),
    );
    let report = gateway.with("report");
    let seen = report.get("/e2e-own-a/_search").expect(200);
    assert!(is_masked(&documents(&seen.json())), "{}", seen.text());
    assert!(!report.get("/e2e-own-a/_doc/1").expect(200).text().contains("somebody@"));
    report.get("/e2e-own-a/_doc/3").expect(404);
    // The same under the identity of scopes: everything the scope says.
    let seen = documents(&gateway.with("scoped").get("/e2e-own-a/_search").expect(200).json());
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|(_, email)| email == "somebody@example.com"));

    // The role has more than the scope: the gateway says no.
    for target in ["/e2e-own-b/_search", "/e2e-own-*/_search", "/_search"] {
        let refused = report.get(target).expect(403);
        assert!(refused.text().contains("read:e2e-own-a"), "{}", refused.text());
    }
    // The scope has more than the role: the engine says no.
    let wide = gateway.with("wide");
    // A wildcard in front would reach the engine's own indices, as far as the role does.
    assert!(wide.get("/_search").expect(403).text().contains("write `*,-.*`"));
    assert!(is_masked(&documents(&wide.get("/e2e-own-b/_search").expect(200).json())));
    let document = json!({"tenant": "acme"});
    for answer in [wide.get("/logs-*/_search").send(), wide.put("/e2e-own-a/_doc/9").json(&document).send()] {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert!(answer.text().contains("no permissions for"), "{}", answer.text());
    }
}

/// The engine knows the client and not its scopes: to it the ids are the client's.
#[test]
fn what_was_opened_with_some_scopes_is_not_for_fewer() {
    let _alone = alone();
    let _cluster = cluster();
    let settings = Settings::new().client_with(own("ada", &["read:e2e-own-a", "read:e2e-own-b"]));
    let gateway = Gateway::start(settings);
    let wide = gateway.with("ada");
    let narrow = gateway.http().with_token(&gateway.token_with("ada", "read:e2e-own-a"));
    let opened = wide.post("/e2e-own-b/_search?scroll=1m&size=1").json(&json!({})).expect(200).json();
    let scroll = json!({"scroll": "1m", "scroll_id": opened["_scroll_id"]});
    let refused = narrow.post("/_search/scroll").json(&scroll).expect(403);
    assert!(refused.text().contains("with other scopes"), "{}", refused.text());
    wide.post("/_search/scroll").json(&scroll).expect(200);
    // An own scroll is of use, and one that is unknown to the gateway is not.
    let own = narrow.post("/e2e-own-a/_search?scroll=1m&size=1").json(&json!({})).expect(200).json();
    narrow.post("/_search/scroll").json(&json!({"scroll": "1m", "scroll_id": own["_scroll_id"]})).expect(200);
    gateway.stop();
    gateway.start_again();
    let refused = wide.post("/_search/scroll").json(&scroll).expect(403);
    assert!(refused.text().contains("open one with this token"), "{}", refused.text());
}

#[test]
fn a_provider_may_bring_along_the_roles_that_are_listed() {
    let _alone = alone();
    let _cluster = cluster();
    let key = SigningKey::generate(Algorithm::Es256).expect("a key");
    let issuer = Issuer::start(&[&key]);
    let mut provider = issuer.settings("outside");
    provider["identity"] = json!("own");
    provider["backend_roles"] = json!([BACKEND_ROLE]);
    provider["claims"] = json!({"backend_roles": "engine.roles"});
    provider["scope_mapping"] = json!({"scopes": {"logs": ["read:*"]}});
    let gateway = Gateway::start(Settings::new().client("x", &["read:x"]).provider(provider));
    let search = |roles: Value| {
        let token = issuer.claims(&key).with("engine", json!({"roles": roles})).sign(&key);
        gateway.http().with_token(&token).get("/e2e-own-a/_search").send()
    };
    assert!(is_masked(&documents(&search(json!([BACKEND_ROLE])).expect_ok().json())));
    // Whoever may bring along more could be anybody: `admin` may do everything in this cluster.
    let seen = search(json!([BACKEND_ROLE, "admin", "oauth4os_read", "oauth4os_admin"])).expect_ok();
    assert!(is_masked(&documents(&seen.json())), "{}", seen.text());
    for roles in [json!([]), json!(["admin"]), json!(["oauth4os_read"])] {
        let refused = search(roles);
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains("backend roles"), "{}", refused.text());
    }
}

#[test]
fn what_would_be_no_identity_of_its_own_is_refused() {
    let gateway = Gateway::start(Settings::new().client("x", &["read:x"]));
    let hash = "sha256:0000000000000000000000000000000000000000000000000000000000000001";
    let rows = json!([{"scope": "read:y", "rows": {"term": {"a": 1}}}]);
    for (fields, expected) in [
        (json!({"identity": "own"}), "needs `backend_roles`"),
        (json!({"backend_roles": ["a"]}), "are for `identity: own`"),
        (json!({"identity": "own", "backend_roles": ["oauth4os_admin"]}), "one of the gateway's own"),
        (json!({"identity": "own", "backend_roles": ["a,b"]}), "cannot be a backend role"),
        (json!({"identity": "own", "backend_roles": ["${user.name}"]}), "cannot be a backend role"),
        (json!({"identity": "own", "backend_roles": ["a"], "grants": rows}), "enforced by the scoped identity"),
    ] {
        let mut client = json!({"id": "x", "secret_hash": hash, "scopes": ["read:x"]});
        client.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        gateway.change_config(|config| config["clients"][0] = client);
        let run = gateway.check_config();
        assert!(!run.succeeded && run.stderr.contains(expected), "{expected}: {run:?}");
    }
}
