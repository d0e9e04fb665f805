use oauth4os_config::FieldSet;
use oauth4os_tokens::keys::SigningKey;

use super::*;

fn config() -> SecurityConfig {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    SecurityConfig::new(Naming::default(), "https://gateway.example.com", [key.public().as_ref()]).unwrap()
}

fn keys(config: &SecurityConfig) -> &[String] {
    let Trust::Jwt { keys, .. } = config.trust() else { panic!("no keys") };
    keys
}

fn actions(role: &Value) -> Vec<&str> {
    let lists = [role.pointer("/cluster_permissions"), role.pointer("/index_permissions/0/allowed_actions")];
    lists
        .into_iter()
        .flatten()
        .flat_map(|list| list.as_array().unwrap())
        .map(|action| action.as_str().unwrap())
        .collect()
}

#[test]
fn every_role_is_bound_to_its_claim_or_to_no_index() {
    for role in EngineRole::ALL {
        let body = &config().roles()[role.name()];
        match role.claim() {
            Some(claim) => {
                assert_eq!(body["index_permissions"].as_array().unwrap().len(), 1);
                assert_eq!(body["index_permissions"][0]["index_patterns"], json!([format!("${{attr.jwt.{claim}}}")]));
            }
            None if role == EngineRole::Catalog => {
                assert_eq!(body["index_permissions"].as_array().unwrap().len(), 1);
                assert_eq!(actions(body), ["indices:admin/resolve/index"; 2]);
                continue;
            }
            None if matches!(role, EngineRole::DashboardsRead | EngineRole::DashboardsWrite) => {
                for pattern in body["index_permissions"][0]["index_patterns"].as_array().unwrap() {
                    let pattern = pattern.as_str().unwrap();
                    assert!(
                        pattern.starts_with(".kibana") || pattern.starts_with(".opensearch_dashboards"),
                        "{pattern}"
                    );
                }
            }
            None => assert_eq!(body["index_permissions"], json!([]), "{role:?}"),
        }
        let main = |action: &&str| *action == "cluster:monitor/main" || *action == "cluster:monitor/*";
        assert!(actions(body).iter().any(main), "{role:?} cannot even greet");
    }
}

#[test]
fn restricted_roles_read_under_their_filter_and_fields_and_do_nothing_else() {
    let sets = oauth4os_config::FieldSets::from([
        ("slim".to_owned(), FieldSet::Exclude(["email".to_owned(), "card.*".to_owned()].into())),
        ("bare".to_owned(), FieldSet::Include(["tenant".to_owned()].into())),
    ]);
    let config = config().with_field_sets(&sets);
    let roles = config.roles();
    assert_eq!(roles.len(), EngineRole::ALL.len() + 4 + 2 * 5);
    assert_eq!(config.mappings().len(), roles.len());
    for (name, role) in roles.iter().filter(|(name, _)| config.naming().is_restricted(name)) {
        assert!(config.naming().is_own(name));
        let permissions = role["index_permissions"].as_array().unwrap();
        assert_eq!(permissions.len(), 2, "{name}");
        let suffix = name.strip_prefix("oauth4os_").unwrap();
        for (permission, verb) in permissions.iter().zip(["read", "search"]) {
            let claims = [format!("o4s_{verb}_{suffix}"), format!("o4s_{verb}_streams_{suffix}")];
            assert_eq!(permission["index_patterns"], json!(claims.map(|claim| format!("${{attr.jwt.{claim}}}"))));
            let filter = suffix
                .strip_prefix("rows_")
                .map(|rest| format!("${{attr.jwt.o4s_filter_{}}}", rest.chars().next().unwrap()));
            assert_eq!(permission.get("dls").and_then(Value::as_str), filter.as_deref(), "{name}");
            let fields = match suffix.rsplit_once("fields_") {
                Some((_, "slim")) => json!(["~card.*", "~email"]),
                Some((_, "bare")) => json!(["tenant"]),
                _ => json!([]),
            };
            assert_eq!(permission["fls"], fields, "{name}");
            for action in permission["allowed_actions"].as_array().unwrap() {
                let action = action.as_str().unwrap();
                let reads = ["indices:data/read/", "indices:admin/shards/search", "indices:admin/validate/query"];
                let looks = ["get", "exists", "resolve/index", "analyze", "get*"];
                assert!(
                    reads.iter().any(|read| action.starts_with(read)) || looks.iter().any(|end| action.ends_with(end)),
                    "{name}: {action}"
                );
            }
        }
    }
    assert!(!config.naming().is_own("oauth4os_other") && !config.naming().is_own("rows_1"));
}

#[test]
fn no_role_reaches_everything_or_the_security_plugin() {
    let families = ["cluster:monitor/*", "indices:*", "indices:monitor/*"];
    for (name, role) in config().roles() {
        for action in actions(&role) {
            assert!(!action.starts_with("restapi:") && !action.contains("security"), "{name}: {action}");
            let (stem, has_wildcard) =
                action.split_once('*').map_or((action, false), |(stem, rest)| (stem, rest.is_empty()));
            assert!(!action.contains('*') || has_wildcard, "{name}: {action}: a wildcard only at the end");
            // At least area and kind are named: `cluster:admin/script/*` or `indices:admin/flush*`, not `cluster:admin/*`.
            let named = stem.matches('/').count() > usize::from(stem.ends_with('/'));
            assert!(!has_wildcard || families.contains(&action) || named, "{name}: {action}");
            assert!(name == "oauth4os_admin" || action != "indices:*", "{name}");
        }
    }
}

#[test]
fn roles_keep_reading_writing_and_managing_apart() {
    let roles = config().roles();
    let has = |role: &str, part: &str| actions(&roles[role]).iter().any(|action| action.starts_with(part));
    for role in ["oauth4os_search", "oauth4os_read", "oauth4os_monitor"] {
        assert!(
            !has(role, "indices:data/write")
                && !has(role, "indices:admin/create")
                && !has(role, "indices:admin/delete"),
            "{role}"
        );
    }
    for role in ["oauth4os_write", "oauth4os_manage", "oauth4os_monitor"] {
        assert!(!has(role, "indices:data/read"), "{role}");
    }
    assert!(!has("oauth4os_search", "indices:data/read/get") && !has("oauth4os_search", "indices:data/read/mget"));
    assert!(!has("oauth4os_write", "indices:admin/delete") && !has("oauth4os_manage", "indices:data/write/reindex"));
    assert!(!has("oauth4os_cluster_manage", "cluster:admin/snapshot/restore"));
    for role in ["oauth4os_cluster_monitor", "oauth4os_cluster_manage", "oauth4os_cluster_admin"] {
        assert!(!has(role, "indices:data"), "{role}");
    }
}

#[test]
fn mappings_name_backend_roles_only() {
    for (name, mapping) in config().mappings() {
        assert_eq!(mapping["backend_roles"], json!([name]));
        assert!(["users", "hosts", "and_backend_roles"].iter().all(|field| mapping.get(field).is_none()));
    }
    assert_eq!(config().mappings().len(), EngineRole::ALL.len() + 4);
}

#[test]
fn the_domain_holds_tokens_to_issuer_audience_and_key() {
    let config = config();
    let domain = config.domain(3);
    assert_eq!((&domain["order"], &domain["http_authenticator"]["challenge"]), (&json!(3), &json!(false)));
    let settings = &domain["http_authenticator"]["config"];
    assert_eq!(settings["required_issuer"], "https://gateway.example.com");
    assert_eq!(settings["required_audience"], "opensearch");
    assert_eq!(settings["signing_key"], json!(keys(&config)[0]));
    assert_eq!(domain["authentication_backend"]["type"], "noop");
}

#[test]
fn keys_rotate_and_must_be_rs256() {
    let (old, new) = (SigningKey::generate(Algorithm::Rs256).unwrap(), SigningKey::generate(Algorithm::Rs256).unwrap());
    let both =
        SecurityConfig::new(Naming::default(), "https://x", [old.public().as_ref(), new.public().as_ref()]).unwrap();
    let domain = both.domain(0);
    assert_eq!(domain.pointer("/http_authenticator/config/signing_key").unwrap().as_array().unwrap().len(), 2);
    let access = SigningKey::generate(Algorithm::Es256).unwrap();
    let error = SecurityConfig::new(Naming::default(), "https://x", [access.public().as_ref()]).unwrap_err();
    assert_eq!(error, ConfigurationError::Key(access.kid().to_owned()));
    assert_eq!(SecurityConfig::new(Naming::default(), "https://x", []).unwrap_err(), ConfigurationError::NoKey);
}

#[test]
fn a_second_gateway_has_names_of_its_own() {
    assert_eq!(Naming::of("oauth4os").unwrap(), Naming::default());
    let staging = Naming::of("staging").unwrap();
    assert_eq!(staging.role(EngineRole::ClusterAdmin), "staging_cluster_admin");
    assert_eq!(staging.user("agent"), "staging:agent");
    for name in ["", "a b", "Staging", "a/b", "a*", "a~1b", "a_b", "${x}", &"a".repeat(65)] {
        assert!(Naming::of(name).is_err(), "{name}");
    }
}

#[test]
fn with_another_driver_the_roles_are_the_same_under_other_names_and_attributes() {
    let naming = Naming::default().for_extended_proxy();
    let proxy = SecurityConfig::extended_proxy(naming.clone(), vec!["192.0.2.10".parse().unwrap()]).unwrap();
    let (of_jwt, of_proxy) = (config().roles(), proxy.roles());
    assert_eq!(of_jwt.len(), of_proxy.len());
    for (name, role) in of_jwt {
        let other = name.replace("oauth4os_", "oauth4os_proxy_");
        assert_eq!(of_proxy[&other].to_string(), role.to_string().replace("attr.jwt.", "attr.proxy."), "{name}");
        assert!(naming.is_own(&other) && !naming.is_own(&name), "{name}");
        assert!(Naming::default().is_own(&name) && !Naming::default().is_own(&other), "{other}");
        assert!(other.starts_with(oauth4os_config::RESERVED_ROLE_PREFIX));
    }
    assert_eq!(naming.user("agent"), Naming::default().user("agent"));
    let authenticator = &proxy.domain(3)["http_authenticator"];
    assert_eq!((&authenticator["type"], &authenticator["challenge"]), (&json!("extended-proxy"), &json!(false)));
    assert_eq!(SecurityConfig::extended_proxy(naming, Vec::new()).unwrap_err(), ConfigurationError::NoAddress);
    assert_eq!((config().xff(), proxy.xff().unwrap()["internalProxies"].as_str()), (None, Some(r"192\.0\.2\.10")));
}

#[test]
fn keys_stand_in_the_domain_or_are_fetched_and_the_rest_is_the_same() {
    let authenticator = |config: &SecurityConfig| config.domain(0)["http_authenticator"].clone();
    let (first, second) =
        (SigningKey::generate(Algorithm::Rs256).unwrap(), SigningKey::generate(Algorithm::Rs256).unwrap());
    let two = [first.public().as_ref(), second.public().as_ref()];
    let standing = SecurityConfig::new(Naming::default(), "https://gateway.example.com", two).unwrap();
    assert_eq!(authenticator(&standing)["config"]["signing_key"].as_array().unwrap().len(), 2);

    let jwks_uri = "https://gateway.example.com/_oauth4os/engine/jwks.json".to_owned();
    let from = |ca: Option<&str>| KeySource::Fetched { jwks_uri: jwks_uri.clone(), ca: ca.map(str::to_owned) };
    let fetched = authenticator(&standing.clone().with_keys_from(from(Some("PEM"))));
    assert_eq!((&fetched["type"], &fetched["challenge"]), (&json!("openid"), &json!(false)));
    let tls = json!({"enable_ssl": true, "verify_hostnames": true, "pemtrustedcas_content": "PEM"});
    assert_eq!(fetched["config"]["openid_connect_idp"], tls);
    assert_eq!(fetched["config"]["jwks_uri"], jwks_uri);
    assert_eq!(fetched["config"].get("signing_key"), None, "no key stands there that is not asked for");
    for claim in
        ["subject_key", "roles_key", "required_audience", "required_issuer", "jwt_clock_skew_tolerance_seconds"]
    {
        assert_eq!(fetched["config"][claim], authenticator(&standing)["config"][claim], "{claim}");
    }
    let trusting_java = authenticator(&standing.with_keys_from(from(None)));
    assert_eq!(trusting_java["config"].get("openid_connect_idp"), None);
}
