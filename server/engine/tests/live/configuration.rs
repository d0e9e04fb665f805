//! `engine setup` and `engine check` on a real cluster.

use std::sync::Arc;

use oauth4os_config::{PartialAccess, StrictAliases};
use oauth4os_engine::check::{Check, ClientScopes, Item, Report, Severity};
use oauth4os_engine::setup::{self, Object};
use oauth4os_engine::{AdminCredentials, EngineClient, SecurityConfig};
use oauth4os_policy::scope::Clusters;
use oauth4os_policy::{Forbids, ScopeSet};
use oauth4os_tokens::clock::SystemClock;
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{CONFIGURING, Gateway, ISSUER, filled, on_gateway};

const CONFIG: &str = "/_plugins/_security/api/securityconfig";

async fn domains(gateway: &Gateway) -> Value {
    let mut config = gateway.as_admin(Method::GET, CONFIG, None).await;
    config.pointer_mut("/config/dynamic/authc").unwrap().take()
}

/// Other tests add and take away domains of their own meanwhile.
fn lasting(domains: &Value) -> Vec<(String, Value)> {
    let lasting = domains.as_object().unwrap().iter().filter(|(name, _)| !name.starts_with("oauth4os-test"));
    lasting.map(|(name, domain)| (name.clone(), domain.clone())).collect()
}

#[tokio::test]
async fn setup_is_idempotent_keeps_others_and_leaves_no_trace() {
    on_gateway("oauth4os-test-setup", async |gateway| {
        let _alone = CONFIGURING.lock().await;
        let before = lasting(&domains(&gateway).await);
        let plan = setup::plan(&gateway.admin, &gateway.desired).await.unwrap();
        assert_eq!(plan.changes().len(), 33, "{plan}");
        assert!(plan.changes().iter().all(|change| change.from.is_none() && change.to.is_some()));
        setup::apply(&gateway.admin, &plan).await.unwrap();

        let again = setup::plan(&gateway.admin, &gateway.desired).await.unwrap();
        assert!(again.is_empty(), "{again}");
        assert_eq!(again.to_string(), "nothing to change\n");
        assert_eq!(lasting(&domains(&gateway).await), before);

        let now = domains(&gateway).await;
        let own = now["oauth4os-test-setup"]["order"].as_i64().unwrap();
        for (name, domain) in lasting(&now) {
            assert_ne!(domain["order"].as_i64().unwrap(), own, "{name}");
            if domain["http_authenticator"]["challenge"] == json!(true) {
                assert!(own < domain["order"].as_i64().unwrap(), "{name}");
            }
        }

        let removal = setup::plan_removal(&gateway.admin, &gateway.desired).await.unwrap();
        assert_eq!(removal.changes().len(), 33, "{removal}");
        assert_eq!(removal.changes()[0].object, Object::Domain("oauth4os-test-setup".to_owned()));
        setup::apply(&gateway.admin, &removal).await.unwrap();
        assert_eq!(lasting(&domains(&gateway).await), before);
        assert!(setup::plan_removal(&gateway.admin, &gateway.desired).await.unwrap().is_empty());
        // What is gone already is no failure.
        setup::apply(&gateway.admin, &removal).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn setup_puts_changes_back_with_a_password_too() {
    on_gateway("oauth4os-test-repair", async |gateway| {
        gateway.set_up().await;
        let path = "/_plugins/_security/api/roles/oauth4os-test-repair_read";
        let widened = json!([{"op": "add", "path": "/cluster_permissions/-", "value": "cluster:admin/*"}]);
        gateway.as_admin(Method::PATCH, path, Some(widened)).await;
        let credentials = AdminCredentials::Password {
            user: gateway.state["user"].as_str().unwrap().to_owned(),
            password: gateway.state["password"].as_str().unwrap().into(),
        };
        let admin = EngineClient::admin(&gateway.engine, &credentials).unwrap();
        let plan = setup::plan(&admin, &gateway.desired).await.unwrap();
        assert_eq!(
            plan.to_string(),
            "~ role `oauth4os-test-repair_read`\n    - cluster_permissions: \"cluster:admin/*\"\n"
        );
        setup::apply(&admin, &plan).await.unwrap();
        assert!(setup::plan(&admin, &gateway.desired).await.unwrap().is_empty());

        let wrong = AdminCredentials::Password { user: "admin".to_owned(), password: "wrong".into() };
        let wrong = EngineClient::admin(&gateway.engine, &wrong).unwrap();
        let error = setup::plan(&wrong, &gateway.desired).await.unwrap_err();
        assert!(matches!(error, setup::SetupError::NotAdmin(_)), "{error}");
    })
    .await;
}

#[tokio::test]
async fn keys_rotate_with_an_overlap() {
    on_gateway("oauth4os-test-rotate", async |gateway| {
        gateway.set_up().await;
        let next = SigningKey::generate(Algorithm::Rs256).unwrap();
        let both = [gateway.key.public().as_ref(), next.public().as_ref()];
        let desired = SecurityConfig::new(gateway.naming.clone(), ISSUER, both).unwrap();
        let plan = setup::plan(&gateway.admin, &desired).await.unwrap();
        assert_eq!(plan.changes().len(), 1, "{plan}");
        setup::apply(&gateway.admin, &plan).await.unwrap();
        assert!(setup::plan(&gateway.admin, &desired).await.unwrap().is_empty());
        let token = gateway.token("read:none");
        assert_eq!(gateway.call(&token, "GET", "/", "").await.0, 200);
        let identities = oauth4os_engine::Identities::jwt(
            gateway.naming.clone(),
            ISSUER.to_owned(),
            Arc::new(next),
            std::time::Duration::from_secs(600),
        );
        let other = Gateway { identities, ..Gateway::named("oauth4os-test-rotate") };
        assert_eq!(gateway.call(&other.token("read:none"), "GET", "/", "").await.0, 200);
    })
    .await;
}

async fn check(gateway: &Gateway, admin: bool, scopes: &[&str]) -> Report {
    let clients: Vec<ClientScopes> = scopes
        .iter()
        .map(|scopes| ClientScopes {
            client: "agent".to_owned(),
            scopes: ScopeSet::parse(&filled(gateway, scopes), &Clusters::default()).unwrap(),
            forbids: Forbids::new(),
        })
        .collect();
    let check = Check {
        engine: &gateway.plain,
        stranger: None,
        admin: admin.then_some(&gateway.admin),
        other_keys: &oauth4os_engine::check::OtherKeys::default(),
        identities: &gateway.identities,
        desired: &gateway.desired,
        clients: &clients,
        strict_aliases: StrictAliases::Enforce,
        partial_access: PartialAccess::Refuse,
        clock: &SystemClock,
    };
    check.run().await
}

#[tokio::test]
async fn check_proves_a_good_cluster() {
    on_gateway("oauth4os-test-good", async |gateway| {
        let unknown = check(&gateway, true, &[]).await;
        assert_eq!(unknown.worst(), Severity::Failure);
        assert!(unknown.to_string().contains("run `oauth4os engine setup --apply`"), "{unknown}");

        gateway.set_up().await;
        let report = check(&gateway, true, &["read:T-*"]).await;
        // Another gateway may be set up on the same engine with the other driver, and that is worth a warning.
        let is_fine =
            |item: &Item| item.severity == Severity::Ok || item.sentence.contains("`oauth4os-proxy` believes");
        assert!(report.items.iter().all(is_fine), "{report}");
        let report = check(&gateway, false, &[]).await;
        assert_eq!(report.worst(), Severity::NotChecked, "{report}");

        // The indices of the check are gone.
        let left = gateway.as_admin(Method::GET, "/oauth4os-test-good-*/_settings?expand_wildcards=all", None).await;
        assert_eq!(left, json!({}));
    })
    .await;
}

#[tokio::test]
async fn check_finds_what_would_widen_a_token() {
    on_gateway("oauth4os-test-wide", async |gateway| {
        gateway.set_up().await;
        gateway.as_admin(Method::PUT, "/oauth4os-test-wide-pii", None).await;
        gateway.as_admin(Method::PUT, "/oauth4os-test-wide-pii/_alias/oauth4os-test-wide-logs-sneaky", None).await;
        let role = "/_plugins/_security/api/roles/oauth4os-test-wide-foreign";
        let mapping = "/_plugins/_security/api/rolesmapping/oauth4os-test-wide-foreign";
        gateway.as_admin(Method::PUT, role, Some(json!({"cluster_permissions": ["cluster:monitor/health"]}))).await;
        gateway
            .as_admin(
                Method::PUT,
                mapping,
                Some(json!({"users": ["oauth4os-test-wide:*"], "backend_roles": ["*-wide_read"]})),
            )
            .await;
        let report = check(&gateway, true, &["read:T-logs-*", "read:T-logs-*,-T-logs-sneaky"]).await;

        let sentences = |severity| -> Vec<String> {
            report.items.iter().filter(|item| item.severity == severity).map(|item| item.sentence.clone()).collect()
        };
        let mut warnings = sentences(Severity::Warning);
        warnings.retain(|sentence| !sentence.contains("`oauth4os-proxy` believes"));
        assert_eq!(warnings.len(), 3, "{report}");
        assert!(warnings[0].contains("`users: oauth4os-test-wide:*`"), "{report}");
        assert!(warnings[1].contains("`backend_roles: *-wide_read`"), "{report}");
        assert!(
            warnings[2].starts_with("`oauth4os-test-wide-logs-sneaky` is inside the scopes of the client `agent` and stands for `oauth4os-test-wide-pii`"),
            "{report}"
        );
        let failures = sentences(Severity::Failure);
        assert!(
            failures.iter().any(|sentence| sentence.contains("also the role `oauth4os-test-wide-foreign`")),
            "{report}"
        );
        assert!(failures.iter().any(|sentence| sentence.contains("may read the state of the cluster")), "{report}");
    })
    .await;
}

/// The law behind the warning: the alias really grants its member, and the advice really closes it.
#[tokio::test]
async fn an_alias_that_matches_grants_its_member() {
    on_gateway("oauth4os-test-alias", async |gateway| {
        gateway.set_up().await;
        for path in ["/T-pii", "/T-logs-a", "/T-pii/_alias/T-logs-sneaky"] {
            gateway.as_admin(Method::PUT, &filled(&gateway, path), None).await;
        }
        crate::support::expect(
            &gateway,
            "read:T-logs-*",
            &[(200, "GET", "/T-logs-sneaky/_search", ""), (200, "GET", "/T-pii/_search", "")],
        )
        .await;
        crate::support::expect(
            &gateway,
            "read:T-logs-*,-T-logs-sneaky",
            &[
                (403, "GET", "/T-logs-sneaky/_search", ""),
                (403, "GET", "/T-pii/_search", ""),
                (200, "GET", "/T-logs-a/_search", ""),
            ],
        )
        .await;
    })
    .await;
}

#[tokio::test]
async fn an_engine_of_another_authority_is_not_spoken_to() {
    let gateway = Gateway::named("oauth4os-test-trust");
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pem");
    // A certificate that did not sign the engine's.
    std::fs::copy(gateway.state["admin_cert"].as_str().unwrap(), &other).unwrap();
    let engine: oauth4os_config::Engine =
        serde_json::from_value(json!({"url": gateway.state["url"], "ca": other})).unwrap();
    let plain = EngineClient::plain(&engine).unwrap();
    let error = plain.send(Method::GET, "/", None).await.unwrap_err().to_string();
    assert!(error.contains("give the authority of its certificate in `upstream.engine.ca`"), "{error}");
}
