use fancy_regex::Regex;
use proptest::prelude::*;

use super::*;
use crate::scope::Clusters;

fn grant(scopes: &str, forbidden: &[&str]) -> EngineGrant {
    let scopes = ScopeSet::parse(scopes, &Clusters::from_iter(["staging"])).unwrap();
    let forbidden: Vec<Glob> = forbidden.iter().map(|pattern| Glob::with_dots(pattern)).collect();
    EngineGrant::of(&scopes, &forbidden, &Catalog::default())
}

fn claims(scopes: &str) -> Vec<(&'static str, String)> {
    grant(scopes, &[]).claims
}

#[test]
fn patterns_as_the_engine_was_seen_to_enforce_them() {
    assert_eq!(claims("read:logs-*"), [("o4s_read", "/(?:logs-.*)/".to_owned())]);
    assert_eq!(claims("read:logs-* read:metrics-2026.*"), [("o4s_read", r"/(?:logs-.*|metrics-2026\..*)/".to_owned())]);
    assert_eq!(claims("read:*"), [("o4s_read", r"/(?:(?!\.).*)/".to_owned())]);
    assert_eq!(claims("read:*,-pii-*,-mixed"), [("o4s_read", r"/(?!(?:pii-.*|mixed)$)(?:(?!\.).*)/".to_owned())]);
    assert_eq!(
        claims("read:logs-*,-logs-s* read:metrics-?"),
        [("o4s_read", "/(?:(?!(?:logs-s.*)$)(?:logs-.*)|(?:metrics-.))/".to_owned())]
    );
    assert_eq!(
        grant("read:logs-*", &["logs-pii-*"]).claims,
        [("o4s_read", "/(?!(?:logs-pii-.*)$)(?:logs-.*)/".to_owned())]
    );
}

#[test]
fn roles_follow_verbs() {
    let grant = grant("write:a ingest:b search:c monitor:cluster admin:gateway read:dashboards read:staging/x", &[]);
    assert_eq!(grant.roles, [EngineRole::ClusterMonitor, EngineRole::Search, EngineRole::Write]);
    assert_eq!(grant.pattern(EngineRole::Write), Some("/(?:a|b)/"));
    assert_eq!(grant.pattern(EngineRole::Search), Some("/(?:c)/"));
    assert_eq!(grant.pattern(EngineRole::Read), None);
    assert_eq!(grant.pattern(EngineRole::ClusterMonitor), None);
    assert_eq!(EngineGrant::of(&ScopeSet::default(), &[], &Catalog::default()), EngineGrant::default());
    let names: std::collections::BTreeSet<&str> = EngineRole::ALL.into_iter().map(EngineRole::name).collect();
    assert_eq!(names.len(), EngineRole::ALL.len());
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
        let grant = EngineGrant::of(&scopes, &forbidden, &Catalog::default());
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
