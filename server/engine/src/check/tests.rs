use oauth4os_policy::Glob;
use oauth4os_policy::catalog::Index;
use serde_json::json;

use super::aliases::list;
use super::environment::{mappings, settings};
use super::*;
use oauth4os_tokens::keys::{Algorithm, SigningKey};

use crate::security_config::{Naming, SecurityConfig};

fn desired() -> SecurityConfig {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    SecurityConfig::new(Naming::default(), "https://gateway.example.com", [key.public().as_ref()]).unwrap()
}

fn warnings(look: impl Fn(&mut Report)) -> Vec<String> {
    let mut report = Report::default();
    look(&mut report);
    report
        .items
        .into_iter()
        .filter(|item| item.severity >= Severity::Warning)
        .map(|item| format!("{} {}", item.severity, item.sentence))
        .collect()
}

fn of_mapping(mapping: serde_json::Value) -> usize {
    warnings(|report| mappings(&json!({"foreign": mapping}), &desired(), report)).len()
}

#[test]
fn foreign_mappings_that_reach_the_gateways_names_are_found() {
    for mapping in [
        json!({"users": ["*"]}),
        json!({"users": ["oauth4os:agent-7"]}),
        json!({"users": ["/oauth4os.*/"]}),
        json!({"backend_roles": ["oauth4os_read"]}),
        json!({"backend_roles": ["*"]}),
        json!({"and_backend_roles": ["oauth4os_read", "oauth4os_write"]}),
        json!({"hosts": ["127.0.0.1"]}),
    ] {
        assert_eq!(of_mapping(mapping.clone()), 1, "{mapping}");
    }
    for mapping in [
        json!({"users": ["admin", "oauth4os"], "backend_roles": ["admin"]}),
        json!({"and_backend_roles": ["oauth4os_read", "staff"]}),
        json!({"backend_roles": ["oauth4os_readers"], "hosts": [], "users": []}),
    ] {
        assert_eq!(of_mapping(mapping.clone()), 0, "{mapping}");
    }
}

#[test]
fn own_mappings_are_no_finding() {
    let own = json!({"oauth4os_read": {"backend_roles": ["oauth4os_read"]}});
    assert!(warnings(|report| mappings(&own, &desired(), report)).is_empty());
}

#[test]
fn what_the_key_could_claim_is_said() {
    let mut report = Report::default();
    mappings(&json!({"all_access": {"backend_roles": ["admin"]}}), &desired(), &mut report);
    assert_eq!(report.worst(), Severity::Ok);
    assert!(
        report.items.iter().any(|item| item.subject == "key" && item.sentence.contains("`all_access`")),
        "{report}"
    );
}

#[test]
fn names_from_the_cluster_do_not_reach_the_terminal_raw() {
    let hostile = json!({"a\u{1b}[2Jb": {"users": ["*\n"], "hosts": ["*"]}});
    for line in warnings(|report| mappings(&hostile, &desired(), report)) {
        assert!(line.chars().all(|letter| !letter.is_control()), "{line:?}");
    }
}

#[test]
fn settings_that_change_what_a_token_gets_are_found() {
    let under = |partial_access, dynamic: serde_json::Value, ttl: Option<&str>| {
        warnings(|report| settings(&dynamic, "oauth4os", partial_access, ttl, report))
    };
    let of = |dynamic, ttl| under(PartialAccess::Refuse, dynamic, ttl);
    let narrows = || json!({"do_not_fail_on_forbidden": true});
    assert!(under(PartialAccess::Narrow, narrows(), None).is_empty());
    assert!(under(PartialAccess::Narrow, json!({}), None)[0].starts_with("failure"));
    let good = json!({"http": {"anonymous_auth_enabled": false}, "authc": {"oauth4os": {"order": 0}, "basic": {"order": 1}}, "authz": {}});
    assert!(of(good, Some("60")).is_empty());
    assert_eq!(of(json!({"do_not_fail_on_forbidden": true}), None).len(), 1);
    assert_eq!(of(json!({"http": {"anonymous_auth_enabled": true}}), None).len(), 1);
    assert!(of(json!({"disable_rest_auth": true}), None)[0].starts_with("failure"));
    let shared = of(json!({"authc": {"oauth4os": {"order": 1}, "basic": {"order": 1}}}), None);
    assert!(shared.len() == 1 && shared[0].starts_with("failure"), "{shared:?}");
    let others = of(json!({"authc": {"a": {}, "b": {"order": 0}, "off": {"order": 0, "http_enabled": false}}}), None);
    assert!(others.len() == 1 && others[0].starts_with("warning"), "{others:?}");
    let believing = json!({
        "http": {"xff": {"enabled": true, "internalProxies": "10\\..*"}},
        "authc": {"elsewhere": {"order": 3, "http_authenticator": {"type": "extended-proxy"}}, "oauth4os": {"order": 0, "http_authenticator": {"type": "proxy"}}},
    });
    let found = of(believing.clone(), None);
    assert!(found.len() == 1 && found[0].contains("`elsewhere` believes whoever sends from `10\\..*`"), "{found:?}");
    let mut dormant = believing;
    dormant["http"]["xff"]["enabled"] = json!(false);
    assert!(of(dormant, None).is_empty());
    let lookup = json!({"authz": {"ldap": {"http_enabled": true}}});
    assert_eq!(of(lookup.clone(), Some("60")).len(), 1);
    assert!(of(lookup, Some("0")).is_empty());
}

#[test]
fn aliases_that_lead_out_of_a_scope_or_around_a_forbid_are_found() {
    let index = |name: &str, aliases: &[&str]| Index {
        name: name.into(),
        data_stream: None,
        aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
    };
    let catalog = Catalog::new([
        index("logs-a", &["logs-inside", "mixed"]),
        index("pii-a", &["logs-sneaky", "mixed", "pii-all"]),
        index("plain", &[]),
    ]);
    let of = |scopes: &str, forbidden: &[&str]| {
        let client = ClientScopes {
            client: "agent".to_owned(),
            scopes: ScopeSet::parse(scopes, &Clusters::default()).unwrap(),
            forbids: forbidden.iter().map(|pattern| Glob::with_dots(pattern)).into(),
        };
        let clients = [client];
        let found = warnings(|report| list(&catalog, &clients, StrictAliases::Enforce, report));
        let open = warnings(|report| list(&catalog, &clients, StrictAliases::Warn, report));
        assert_eq!(open.len(), found.len());
        assert!(open.iter().all(|sentence| sentence.contains("strict_aliases: enforce")), "{open:?}");
        found.iter().filter_map(|sentence| sentence.split('`').nth(1).map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(of("read:logs-*", &[]), ["logs-sneaky"]);
    assert_eq!(of("read:logs-*,-logs-sneaky", &[]), [""; 0]);
    assert_eq!(of("write:mixed", &[]), [""; 0], "an alias that is named in full is meant");
    // The law of grants: an excluded index with an alias that is not excluded stays reachable.
    assert_eq!(of("read:*,-pii*", &[]), ["logs-sneaky", "mixed"]);
    assert_eq!(of("monitor:cluster", &["pii-*"]), [""; 0]);
    assert_eq!(of("read:*", &["pii-*"]), ["logs-sneaky", "mixed"]);
    assert_eq!(of("read:logs-* read:m*", &["pii-*"]), ["logs-sneaky", "mixed"]);
    assert_eq!(of("read:*", &["pii-*", "mixed", "logs-s*"]), [""; 0]);
    assert_eq!(of("read:*", &[]), [""; 0]);
}

#[test]
fn the_report_counts_and_ranks() {
    let mut report = Report::default();
    assert_eq!(report.worst(), Severity::Ok);
    report.ok("a", "fine");
    report.not_checked("b", "no access");
    assert_eq!(report.worst(), Severity::NotChecked);
    report.warning("c", "hm");
    report.failure("d", "no");
    assert_eq!(report.worst(), Severity::Failure);
    assert_eq!(
        report.to_string(),
        "ok           a: fine\nnot checked  b: no access\nwarning      c: hm\nfailure      d: no\n1 failure, 1 warning\n"
    );
}
