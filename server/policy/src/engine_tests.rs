use std::collections::BTreeMap;

use fancy_regex::Regex;
use oauth4os_classify::Action;
use oauth4os_config::{RowValue, Rows};
use proptest::prelude::*;

use super::*;
use crate::forbids::Actions;
use crate::restriction::{Grants, MAX_ROW_FILTERS};
use crate::rows::RowFilter;
use crate::scope::{Clusters, Scope};

fn grant(scopes: &str, forbidden: &[&str]) -> EngineGrant {
    let scopes = ScopeSet::parse(scopes, &Clusters::default()).unwrap();
    let forbidden = forbidden.iter().map(|pattern| Glob::with_dots(pattern)).into();
    EngineGrant::of(&scopes, &Restrictions::default(), &forbidden, &Catalog::default())
}

fn claims(scopes: &str) -> Vec<(String, String)> {
    grant(scopes, &[]).claims
}

fn claim(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[test]
fn patterns_as_the_engine_was_seen_to_enforce_them() {
    assert_eq!(claims("read:logs-*"), [claim("o4s_read", "/(?:logs-.*)/")]);
    assert_eq!(claims("read:logs-* read:metrics-2026.*"), [claim("o4s_read", r"/(?:logs-.*|metrics-2026\..*)/")]);
    assert_eq!(claims("read:*"), [claim("o4s_read", r"/(?:(?!\.).*)/")]);
    assert_eq!(claims("read:*,-pii-*,-mixed"), [claim("o4s_read", r"/(?!(?:pii-.*|mixed)$)(?:(?!\.).*)/")]);
    assert_eq!(
        claims("read:logs-*,-logs-s* read:metrics-?"),
        [claim("o4s_read", "/(?:(?!(?:logs-s.*)$)(?:logs-.*)|(?:metrics-.))/")]
    );
    assert_eq!(grant("read:logs-*", &["logs-pii-*"]).claims, [claim("o4s_read", "/(?!(?:logs-pii-.*)$)(?:logs-.*)/")]);
}

#[test]
fn roles_follow_verbs() {
    let grant = grant("write:a ingest:b search:c monitor:cluster admin:gateway read:dashboards", &[]);
    assert_eq!(
        grant.roles,
        [EngineRole::ClusterMonitor, EngineRole::DashboardsRead, EngineRole::Search, EngineRole::Write]
    );
    assert_eq!(grant.pattern(EngineRole::Write), Some("/(?:a|b)/"));
    assert_eq!(grant.pattern(EngineRole::Search), Some("/(?:c)/"));
    assert_eq!(grant.pattern(EngineRole::Read), None);
    assert_eq!(grant.pattern(EngineRole::ClusterMonitor), None);
    assert_eq!(
        EngineGrant::of(&ScopeSet::default(), &Restrictions::default(), &Forbids::new(), &Catalog::default()),
        EngineGrant::default()
    );
    let clusters = Clusters::from_iter(["prod", "staging"]);
    let scopes = ScopeSet::parse("read:staging/x write:prod/a", &clusters).unwrap();
    let of = |scopes| EngineGrant::of(&scopes, &Restrictions::default(), &Forbids::new(), &Catalog::default()).roles;
    assert_eq!(of(scopes.for_cluster("prod")), [EngineRole::Write]);
    assert_eq!((of(scopes.for_cluster("other")), of(scopes)), (vec![], vec![]));
    let names: std::collections::BTreeSet<&str> = EngineRole::ALL.into_iter().map(EngineRole::name).collect();
    assert_eq!(names.len(), EngineRole::ALL.len());
}

fn rows(tenant: &str) -> Restriction {
    let rows = Rows::Term(BTreeMap::from([("tenant".to_owned(), RowValue::Text(tenant.to_owned()))]));
    Restriction { rows: Some(RowFilter::new(&rows, &|_| None).unwrap()), fields: None }
}

fn fields(name: &str) -> Restriction {
    Restriction { rows: None, fields: Some(name.to_owned()) }
}

fn grants(plain: &[&'static str], restricted: Vec<(&'static str, Restriction)>) -> Grants {
    Grants::new(plain.iter().copied(), restricted, &Clusters::default()).unwrap()
}

#[test]
fn what_is_held_to_something_has_roles_of_its_own() {
    let both = Restriction { fields: Some("slim".to_owned()), ..rows("b") };
    let grants = grants(
        &["read:logs-*"],
        vec![
            ("read:orders-*", rows("a")),
            ("search:bills", both),
            ("search:users", fields("slim")),
            ("read:o-*", rows("a")),
        ],
    );
    let grant = EngineGrant::of(&grants.scopes, &grants.restrictions, &Forbids::new(), Catalog::none());
    assert_eq!(grant.roles, [EngineRole::Read]);
    let names: Vec<String> = grant.restricted.iter().map(RestrictedRole::name).collect();
    assert_eq!(names, ["oauth4os_fields_slim", "oauth4os_rows_1", "oauth4os_rows_2_fields_slim"]);
    assert_eq!(
        grant.claims,
        [
            claim("o4s_read", "/(?:logs-.*)/"),
            claim("o4s_read_fields_slim", "/(?!)/"),
            claim("o4s_read_streams_fields_slim", "/(?!)/"),
            claim("o4s_search_fields_slim", "/(?:users)/"),
            claim("o4s_search_streams_fields_slim", "/(?!)/"),
            claim("o4s_read_rows_1", "/(?:orders-.*|o-.*)/"),
            claim("o4s_read_streams_rows_1", "/(?!)/"),
            claim("o4s_search_rows_1", "/(?!)/"),
            claim("o4s_search_streams_rows_1", "/(?!)/"),
            claim("o4s_filter_1", r#"{"term":{"tenant":"a"}}"#),
            claim("o4s_read_rows_2_fields_slim", "/(?!)/"),
            claim("o4s_read_streams_rows_2_fields_slim", "/(?!)/"),
            claim("o4s_search_rows_2_fields_slim", "/(?:bills)/"),
            claim("o4s_search_streams_rows_2_fields_slim", "/(?!)/"),
            claim("o4s_filter_2", r#"{"term":{"tenant":"b"}}"#),
        ]
    );
    let sets = ["slim".to_owned(), "x".to_owned()];
    let all = RestrictedRole::all(sets.iter());
    assert_eq!(all.len(), MAX_ROW_FILTERS + 2 * (MAX_ROW_FILTERS + 1));
    assert!(grant.restricted.iter().all(|role| all.contains(role)));
    let claims: std::collections::BTreeSet<String> = all
        .iter()
        .flat_map(|role| [vec![role.name()], role.read_claims().into(), role.search_claims().into()].concat())
        .collect();
    assert_eq!(claims.len(), 5 * all.len());
}

#[test]
fn another_name_does_not_lead_past_a_restriction() {
    let index = |name: &str, aliases: &[&str]| crate::catalog::Index {
        name: name.into(),
        data_stream: None,
        aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
    };
    let catalog =
        Catalog::new([index("orders-1", &["logs-orders"]), index("logs-1", &["current"]), index("logs-2", &["all"])]);
    let grants = grants(&["read:logs-*"], vec![("read:orders-*", rows("a")), ("read:current", rows("b"))]);
    let grant = EngineGrant::of(&grants.scopes, &grants.restrictions, &Forbids::new(), &catalog);
    // The alias that leads to filtered rows, and the index that an alias with a filter is meant to stand for.
    assert_eq!(grant.claim("o4s_read"), Some("/(?!(?:logs-1|logs-orders)$)(?:logs-.*)/"));
    assert_eq!(grant.claim("o4s_read_rows_1"), Some("/(?:orders-.*)/"));
    assert_eq!(grant.claim("o4s_read_rows_2"), Some("/(?!(?:current)$)(?:current|logs-1)/"));
}

#[test]
fn a_restriction_goes_by_own_names_alone() {
    let index = |name: &str, data_stream: Option<&str>, aliases: &[&str]| crate::catalog::Index {
        name: name.into(),
        data_stream: data_stream.map(Into::into),
        aliases: aliases.iter().map(|alias| (*alias).into()).collect(),
    };
    let catalog = Catalog::new([
        index(".ds-orders-stream-000001", Some("orders-stream"), &["orders-all"]),
        index("orders-1", None, &["orders-all", "elsewhere"]),
        index("pii-1", None, &["orders-sneaky"]),
    ]);
    let grants = grants(&[], vec![("read:orders-*", rows("a"))]);
    let grant = EngineGrant::of(&grants.scopes, &grants.restrictions, &Forbids::new(), &catalog);
    assert_eq!(grant.claim("o4s_read_rows_1"), Some("/(?!(?:orders-all|orders-sneaky|orders-stream)$)(?:orders-.*)/"));
    assert_eq!(grant.claim("o4s_read_streams_rows_1"), Some("/(?:orders-stream)/"));

    // A data stream of which a part is forbidden.
    let forbids = Forbids::from([Glob::with_dots(".ds-orders-stream-000001")]);
    let catalog = Catalog::new([
        index(".ds-orders-stream-000001", Some("orders-stream"), &[]),
        index(".ds-orders-stream-000002", Some("orders-stream"), &[]),
    ]);
    let grant = EngineGrant::of(&grants.scopes, &grants.restrictions, &forbids, &catalog);
    assert_eq!(grant.claim("o4s_read_streams_rows_1"), Some("/(?!)/"));
    assert_eq!(grant.claim("o4s_search_rows_1"), Some("/(?!)/"));
}

proptest! {
    /// The engine grants exactly the names the scopes do, less what is forbidden.
    #[test]
    fn the_regex_matches_the_names_of_the_scopes(
        list in prop::collection::vec(("[ab.*?+]{1,4}", prop::option::of("[ab.*]{1,3}"), prop::option::of("[ab]{1,2}")), 1..4),
        forbidden in prop::collection::vec("[ab.*]{1,3}", 0..2),
        names in prop::collection::vec("[ab.x+]{1,6}", 40),
    ) {
        let text: Vec<String> = list
            .into_iter()
            .map(|(pattern, excluded, again)| {
                let excluded = excluded.map(|excluded| format!(",-{excluded}")).unwrap_or_default();
                format!("read:{pattern}{excluded}{}", again.map(|again| format!(",{again}")).unwrap_or_default())
            })
            .collect();
        let Ok(scopes) = ScopeSet::parse(&text.join(" "), &Clusters::default()) else { return Ok(()) };
        let forbidden: Vec<Glob> = forbidden.iter().map(|pattern| Glob::with_dots(pattern)).collect();
        let grant = EngineGrant::of(&scopes, &Restrictions::default(), &forbidden.iter().cloned().into(), &Catalog::default());
        let pattern = grant.pattern(EngineRole::Read).unwrap();
        let is_substituted = pattern.contains("${");
        prop_assert!(!is_substituted);
        let regex = Regex::new(&format!("^(?:{})$", pattern.trim_matches('/'))).unwrap();
        for name in names {
            let granted = scopes.iter().any(|scope| scope.branches().any(|branch| branch.matches(&name)));
            let granted = granted && !forbidden.iter().any(|glob| glob.matches(&name));
            prop_assert_eq!(regex.is_match(&name).unwrap(), granted, "{} {}", pattern, name);
        }
    }
}

#[test]
fn a_role_is_for_the_actions_of_its_operations() {
    let roles = [
        ("admin:a", EngineRole::Admin),
        ("manage:a", EngineRole::Manage),
        ("monitor:a", EngineRole::Monitor),
        ("read:a", EngineRole::Read),
        ("search:a", EngineRole::Search),
        ("write:a", EngineRole::Write),
    ];
    for (text, role) in roles {
        let scope = Scope::parse(text, &Clusters::default()).unwrap();
        assert_eq!(EngineRole::of(&scope), Some(role));
        let of_its_operations = oauth4os_classify::rights().filter(|(class, _)| scope.classes().contains(class));
        let actions = of_its_operations.map(|(_, action)| Actions::of(&[action])).reduce(Actions::and).unwrap();
        assert!(
            role.actions() == actions || role == EngineRole::Admin,
            "{text}: {actions:?}, not {:?}",
            role.actions()
        );
        assert!(role.actions().contains(actions), "{text}: {actions:?}");
    }
}

#[test]
fn what_is_forbidden_for_all_that_a_role_is_for_is_taken_out_of_its_pattern() {
    let mut forbids = Forbids::default();
    forbids.add(Glob::with_dots("logs-secret"), Actions::READ);
    forbids.add(Glob::with_dots("logs-kept"), Actions::of(&[Action::Delete]));
    let scopes = ScopeSet::parse("read:logs-* write:logs-*", &Clusters::default()).unwrap();
    let grant = EngineGrant::of(&scopes, &Restrictions::default(), &forbids, &Catalog::default());
    let (read, write) = (grant.pattern(EngineRole::Read).unwrap(), grant.pattern(EngineRole::Write).unwrap());
    assert!(read.contains("logs-secret") && !read.contains("logs-kept"), "{read}");
    assert!(!write.contains("logs-secret") && !write.contains("logs-kept"), "{write}");
}
