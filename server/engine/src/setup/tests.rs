use oauth4os_tokens::keys::{Algorithm, SigningKey};

use super::*;
use crate::security_config::Naming;

fn desired() -> SecurityConfig {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    SecurityConfig::new(Naming::default(), "https://gateway.example.com", [key.public().as_ref()]).unwrap()
}

fn basic(order: i64) -> Value {
    json!({"http_enabled": true, "order": order, "http_authenticator": {"type": "basic", "challenge": true, "config": {}}, "authentication_backend": {"type": "intern", "config": {}}})
}

fn empty(authc: Value) -> Live {
    Live { dynamic: json!({"authc": authc}), roles: json!({}), mappings: json!({}) }
}

/// The documents as the engine gives them back after the changes: with its own defaults, lists in another order.
fn after(mut live: Live, plan: &Plan) -> Live {
    for change in plan.changes() {
        let (documents, name) = match &change.object {
            Object::Domain(name) => (live.dynamic.pointer_mut("/authc").unwrap(), name),
            Object::Mapping(name) => (&mut live.mappings, name),
            Object::Role(name) => (&mut live.roles, name),
            Object::ForwardedFor => {
                live.dynamic["http"]["xff"] = change.to.clone().unwrap();
                continue;
            }
        };
        let documents = documents.as_object_mut().unwrap();
        let Some(mut document) = change.to.clone() else {
            documents.remove(name);
            continue;
        };
        let fields = document.as_object_mut().unwrap();
        if !matches!(change.object, Object::Domain(_)) {
            for (field, default) in [
                ("reserved", json!(false)),
                ("hidden", json!(false)),
                ("static", json!(false)),
                ("users", json!([])),
                ("hosts", json!([])),
            ] {
                fields.entry(field).or_insert(default);
            }
        }
        if let Some(list) = fields.get_mut("cluster_permissions").and_then(Value::as_array_mut) {
            list.reverse();
        }
        if let Some(permission) =
            fields.get_mut("index_permissions").and_then(|list| list.get_mut(0)).and_then(Value::as_object_mut)
        {
            permission.entry("fls").or_insert(json!([]));
            permission.entry("dls").or_insert(Value::Null);
        }
        documents.insert(name.clone(), document);
    }
    live
}

#[test]
fn what_was_applied_needs_no_second_time() {
    let desired = desired();
    let live = empty(json!({"basic": basic(10)}));
    let plan = live.plan(&desired);
    assert_eq!(plan.changes().len(), 33);
    assert!(
        matches!(plan.changes().last().unwrap().object, Object::Domain(_)),
        "no token is taken before the roles are there"
    );
    let live = after(live, &plan);
    assert!(live.plan(&desired).is_empty(), "{}", live.plan(&desired));
    assert_eq!(live.dynamic["authc"]["basic"], basic(10));

    let removal = live.plan_removal(&desired);
    assert!(matches!(removal.changes()[0].object, Object::Domain(_)), "first no token is taken any more");
    let live = after(live, &removal);
    assert_eq!(live.dynamic, json!({"authc": {"basic": basic(10)}}));
    assert_eq!((live.roles.clone(), live.mappings.clone()), (json!({}), json!({})));
    assert!(live.plan_removal(&desired).is_empty());
}

#[test]
fn whatever_was_changed_is_put_back_and_shown() {
    let desired = desired();
    let live = empty(json!({"basic": basic(10)}));
    let good = after(live.clone(), &live.plan(&desired));
    type Edit = fn(&mut Live);
    let edits: [(Edit, &str); 7] = [
        (
            |live| live.roles["oauth4os_read"]["index_permissions"][0]["index_patterns"] = json!(["*"]),
            "+ index_permissions.index_patterns: \"${attr.jwt.o4s_read}\"",
        ),
        (
            |live| live.roles["oauth4os_read"]["index_permissions"][0]["dls"] = json!("{\"match_none\":{}}"),
            "- index_permissions.dls",
        ),
        (
            |live| live.roles["oauth4os_search"]["tenant_permissions"] = json!([{"tenant_patterns": ["*"]}]),
            "- tenant_permissions.tenant_patterns: \"*\"",
        ),
        (|live| live.mappings["oauth4os_admin"]["users"] = json!(["bob"]), "- users: \"bob\""),
        (
            |live| live.dynamic["authc"]["oauth4os"]["http_authenticator"]["config"]["jwt_url_parameter"] = json!("t"),
            "- http_authenticator.config.jwt_url_parameter: \"t\"",
        ),
        (|live| live.dynamic["authc"]["oauth4os"]["http_enabled"] = json!(false), "+ http_enabled: true"),
        (|live| live.dynamic["authc"]["basic"]["order"] = json!(0), "+ order: -10"),
    ];
    for (edit, line) in edits {
        let mut live = good.clone();
        edit(&mut live);
        let plan = live.plan(&desired);
        assert_eq!(plan.changes().len(), 1, "{line}: {plan}");
        assert!(plan.to_string().starts_with("~ ") && plan.to_string().contains(line), "{plan}");
        let live = after(live, &plan);
        assert!(live.plan(&desired).is_empty());
    }
}

#[test]
fn what_the_old_line_adds_to_a_domain_is_no_difference() {
    let desired = desired();
    let live = empty(json!({}));
    let mut live = after(live.clone(), &live.plan(&desired));
    live.dynamic["authc"]["oauth4os"]["transport_enabled"] = json!(false);
    assert!(live.plan(&desired).is_empty());
}

#[test]
fn order_numbers_are_free_unique_and_before_the_challenge() {
    let own = "oauth4os";
    let quiet = |order: i64| json!({"order": order, "http_authenticator": {"type": "jwt", "challenge": false}});
    let order = |domains: Value| domains::free_order(&domains, own);
    assert_eq!(order(json!({})), 0);
    assert_eq!(order(json!({"basic": basic(4)})), 0);
    assert_eq!(order(json!({"basic": basic(4), "a": quiet(0), "b": quiet(1)})), 2);
    assert_eq!(order(json!({"basic": basic(0)})), -10);
    assert_eq!(order(json!({"basic": basic(1), "a": quiet(0)})), -10);
    assert_eq!(order(json!({"basic": basic(0), "a": quiet(-10)})), -11);
    assert_eq!(order(json!({"basic": basic(4), own: quiet(3)})), 3, "a good one is kept");
    assert_eq!(order(json!({"basic": basic(4), own: quiet(5)})), 0, "behind the challenge");
    assert_eq!(order(json!({"basic": basic(4), "a": quiet(3), own: quiet(3)})), 0, "shared");
    // The plugin's defaults: order 0, challenging.
    assert_eq!(order(json!({"bare": {}})), -10);
    let disabled = json!({"http_enabled": false, "order": 0, "http_authenticator": {"challenge": false}});
    assert_eq!(order(json!({"basic": basic(4), "off": disabled})), 1, "it may be enabled again");
}

proptest::proptest! {
    #[test]
    fn an_order_number_is_always_found(others in proptest::collection::vec((-20_i64..20, proptest::bool::ANY), 0..30), own in proptest::option::of(-20_i64..20)) {
        let mut domains = serde_json::Map::new();
        for (at, (order, challenge)) in others.iter().enumerate() {
            domains.insert(format!("d{at}"), json!({"order": order, "http_authenticator": {"challenge": challenge}}));
        }
        if let Some(order) = own {
            domains.insert("oauth4os".to_owned(), json!({"order": order}));
        }
        let found = domains::free_order(&Value::Object(domains), "oauth4os");
        proptest::prop_assert!(others.iter().all(|(order, challenge)| *order != found && (!challenge || found < *order)));
    }
}

#[test]
fn instructions_are_yaml_that_says_what_the_api_would_be_told() {
    let desired = desired();
    let text = instructions(&desired);
    assert!(text.contains("securityadmin.sh") && text.contains("allow_securityconfig_modification"));
    let mut parts = text.split("# ---- ").skip(1).map(|part| part.split_once('\n').unwrap());
    let mut next = |file: &str| -> Value {
        let (name, yaml) = parts.next().unwrap();
        assert_eq!(name, file);
        serde_saphyr::from_str(yaml).unwrap()
    };
    let roles: Vec<(String, Value)> = next("roles.yml").as_object().unwrap().clone().into_iter().collect();
    assert_eq!(roles, desired.roles().into_iter().collect::<Vec<_>>());
    let mappings: Vec<(String, Value)> = next("roles_mapping.yml").as_object().unwrap().clone().into_iter().collect();
    assert_eq!(mappings, desired.mappings().into_iter().collect::<Vec<_>>());
    assert_eq!(next("config.yml")["config"]["dynamic"]["authc"]["oauth4os"], desired.domain(0));
}

#[test]
fn a_domain_is_written_alone_and_with_a_number_that_is_free_now() {
    let step = |live: Value| domain_step(&live, "oauth4os", Some(json!({"order": 0, "x": 1})));
    let taken = json!({"basic": basic(10), "other": {"order": 0, "http_authenticator": {"challenge": false}}});
    let expected = json!({"op": "add", "path": "/config/dynamic/authc/oauth4os", "value": {"order": 1, "x": 1}});
    assert_eq!(step(taken), expected);
    let first = json!({"op": "add", "path": "/config/dynamic/authc", "value": {"oauth4os": {"order": 0, "x": 1}}});
    assert_eq!(step(json!({})), first);
    assert_eq!(step(Value::Null), first);
    let removal = json!({"op": "remove", "path": "/config/dynamic/authc/oauth4os"});
    assert_eq!(domain_step(&json!({}), "oauth4os", None), removal);
}

#[test]
fn roles_of_a_field_set_that_is_gone_go_too() {
    let sets = oauth4os_config::FieldSets::from([(
        "slim".to_owned(),
        oauth4os_config::FieldSet::Exclude(["email".to_owned()].into()),
    )]);
    let with = desired().with_field_sets(&sets);
    let live = empty(json!({"basic": basic(10)}));
    let live = after(live.clone(), &live.plan(&with));
    assert!(live.plan(&with).is_empty());
    let mut without = with.clone().with_field_sets(&oauth4os_config::FieldSets::default());
    let plan = live.plan(&without);
    assert_eq!(plan.changes().len(), 10, "{plan}");
    assert!(plan.changes().iter().all(|change| change.to.is_none()));
    let first_role = plan.changes().iter().position(|change| matches!(change.object, Object::Role(_))).unwrap();
    assert!(plan.changes()[first_role..].iter().all(|change| matches!(change.object, Object::Role(_))), "{plan}");
    let live = after(live.clone(), &plan);
    assert!(live.plan(&without).is_empty());
    // Whoever removes the gateway need not know which sets there were.
    without = desired();
    let removal = after(live.clone(), &live.plan(&with)).plan_removal(&without);
    assert_eq!(removal.changes().len(), with.roles().len() * 2 + 1);
}

fn believed(addresses: &[&str]) -> SecurityConfig {
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    SecurityConfig::extended_proxy(Naming::default().for_extended_proxy(), addresses).unwrap()
}

#[test]
fn whom_the_engine_believes_is_set_up_beside_the_domain_and_goes_out_of_use() {
    let (desired, other) = (believed(&["192.0.2.10", "::1"]), desired());
    let mut live = empty(json!({"basic": basic(10)}));
    live.dynamic["http"] =
        json!({"anonymous_auth_enabled": false, "xff": {"enabled": false, "internalProxies": "10\\.0\\.0\\.1"}});
    assert_eq!(live.other_proxies(&desired), None);
    let plan = live.plan(&desired);
    let [.., xff, domain] = plan.changes() else { panic!("{plan}") };
    assert_eq!(xff.object, Object::ForwardedFor);
    assert_eq!(domain.object, Object::Domain("oauth4os-proxy".to_owned()));
    assert!(plan.to_string().contains("~ setting `http.xff`\n    + enabled: true\n    - enabled: false\n"), "{plan}");
    let live = after(live, &plan);
    assert_eq!(live.dynamic["http"]["xff"]["internalProxies"], r"192\.0\.2\.10|0:0:0:0:0:0:0:1");
    assert_eq!(live.dynamic["http"]["anonymous_auth_enabled"], false);
    assert!(live.plan(&desired).is_empty());

    // The other driver's domain and roles stand beside them, and neither takes anything of the other's away.
    let both = after(live.clone(), &live.plan(&other));
    assert!(both.plan(&other).is_empty() && both.plan(&desired).is_empty());
    assert_ne!(both.dynamic["authc"]["oauth4os"]["order"], both.dynamic["authc"]["oauth4os-proxy"]["order"]);
    let rest = after(both.clone(), &both.plan_removal(&other));
    assert!(rest.plan(&desired).is_empty(), "{}", rest.plan(&desired));

    let gone = after(both.clone(), &both.plan_removal(&desired));
    assert!(gone.plan(&other).is_empty(), "{}", gone.plan(&other));
    assert_eq!(gone.dynamic["http"], json!({"anonymous_auth_enabled": false, "xff": {"enabled": false}}));
    assert!(gone.plan_removal(&desired).is_empty());
}

#[test]
fn proxies_of_others_are_left_alone_and_named() {
    let desired = believed(&["192.0.2.10"]);
    let mut live = empty(json!({"basic": basic(10)}));
    for (others, named) in [
        (json!({"enabled": true, "internalProxies": "10\\..*"}), Some("10\\..*")),
        (json!({"enabled": true}), Some("every private address")),
        (json!({"enabled": true, "internalProxies": "192\\.0\\.2\\.10", "remoteIpHeader": "X-Forwarded-For"}), None),
        (json!({"enabled": false, "internalProxies": ".*"}), None),
    ] {
        live.dynamic["http"] = json!({"xff": others});
        assert_eq!(live.other_proxies(&desired).as_deref(), named, "{others}");
        assert_eq!(live.other_proxies(&super::tests::desired()), None);
        let removal = live.plan_removal(&desired);
        assert_eq!(removal.is_empty(), named.is_some() || others["enabled"] == false, "{others}: {removal}");
    }
    // Once the gateway is set up, what somebody adds is put right like everything else.
    live.dynamic["http"] = json!({"xff": {"enabled": false}});
    let mut live = after(live.clone(), &live.plan(&desired));
    live.dynamic["http"]["xff"]["internalProxies"] = json!(".*");
    assert_eq!(live.other_proxies(&desired), None);
    let plan = live.plan(&desired);
    assert!(plan.changes().len() == 1 && plan.to_string().contains("- internalProxies: \".*\""), "{plan}");
}

#[test]
fn the_setting_is_written_alone() {
    let step = |live: Value, to: Option<Value>| forwarded_for_step(&live, to);
    let to = json!({"enabled": true});
    assert_eq!(
        step(json!({"http": {"xff": {}}}), Some(to.clone())),
        json!({"op": "add", "path": "/config/dynamic/http/xff", "value": to})
    );
    assert_eq!(
        step(json!({}), Some(to.clone())),
        json!({"op": "add", "path": "/config/dynamic/http", "value": {"xff": to}})
    );
    assert_eq!(step(json!({"http": {}}), None)["value"], json!({"enabled": false}));
}

#[test]
fn instructions_say_what_makes_the_gateways_word_safe() {
    let desired = believed(&["192.0.2.10"]);
    let text = instructions(&desired);
    for word in ["clientauth_mode: REQUIRE", "admin_dn", "client_certificate", "${attr.proxy.o4s_read}"] {
        assert!(text.contains(word), "{word}");
    }
    let yaml = text.split("# ---- config.yml\n").nth(1).unwrap();
    let config: Value = serde_saphyr::from_str(yaml).unwrap();
    assert_eq!(config["config"]["dynamic"]["http"]["xff"], desired.xff().unwrap());
    assert_eq!(config["config"]["dynamic"]["authc"]["oauth4os-proxy"], desired.domain(0));
    assert!(!instructions(&super::tests::desired()).contains("REQUIRE"));
}
