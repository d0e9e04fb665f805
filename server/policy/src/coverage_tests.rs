use proptest::prelude::*;

use super::*;
use crate::scope::Clusters;

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text, &Clusters::default()).unwrap()
}

fn of_clusters(text: &str) -> ScopeSet {
    ScopeSet::parse(text, &Clusters::from_iter(["prod", "staging"])).unwrap()
}

fn ask(held: &str, class: Class, requested: &[&str]) -> Result<Vec<String>, String> {
    let requested = Expressions::parse(requested, false).unwrap();
    match scopes(held).covers(class, &requested) {
        Ok(determining) => Ok(determining.into_iter().map(ToString::to_string).collect()),
        Err(Uncovered::Needs { scope }) => Err(scope),
        Err(other) => Err(format!("{other:?}")),
    }
}

#[test]
fn verbs_grant_their_classes_only() {
    for (verb, granted) in [
        ("read", &[Class::Search, Class::Get, Class::Metadata][..]),
        ("search", &[Class::Search]),
        ("write", &[Class::Append, Class::Write]),
        ("ingest", &[Class::Append]),
        ("manage", &[Class::Manage, Class::Monitor, Class::Metadata]),
        ("monitor", &[Class::Monitor, Class::Metadata]),
        ("admin", &INDEX_CLASSES),
    ] {
        for class in INDEX_CLASSES {
            assert_eq!(
                ask(&format!("{verb}:logs-*"), class, &["logs-a"]).is_ok(),
                granted.contains(&class),
                "{verb} {class:?}"
            );
        }
        for class in
            [Class::ClusterMonitor, Class::ClusterManage, Class::ClusterAdmin, Class::Denied, Class::DashboardsRead]
        {
            assert!(ask(&format!("{verb}:*"), class, &["logs-a"]).is_err());
            assert!(
                scopes(&format!("{verb}:*")).covers_cluster(class).is_err(),
                "an index scope gives no right on the cluster"
            );
        }
    }
}

#[test]
fn cluster_verbs_grant_their_classes_only() {
    for (verb, granted) in [
        ("monitor", &[Class::ClusterMonitor][..]),
        ("manage", &[Class::ClusterMonitor, Class::ClusterManage]),
        ("admin", &[Class::ClusterMonitor, Class::ClusterManage, Class::ClusterAdmin]),
    ] {
        let held = scopes(&format!("{verb}:cluster"));
        for class in [Class::ClusterMonitor, Class::ClusterManage, Class::ClusterAdmin] {
            assert_eq!(held.covers_cluster(class).is_ok(), granted.contains(&class), "{verb} {class:?}");
        }
        for class in INDEX_CLASSES {
            assert!(ask(&format!("{verb}:cluster"), class, &["logs-a"]).is_err());
            assert!(held.covers_handle(class).is_err());
        }
    }
    assert_eq!(
        scopes("read:logs-*").covers_cluster(Class::ClusterManage),
        Err(Uncovered::Needs { scope: "manage:cluster".to_owned() })
    );
    assert!(
        scopes("admin:gateway").covers_cluster(Class::ClusterMonitor).is_err(),
        "the control plane is no right on the engine"
    );
}

#[test]
fn requests_must_be_contained() {
    let held = "read:logs-*";
    for inside in [
        &["logs-*"][..],
        &["logs-app-2026*"],
        &["logs-a", "logs-b*"],
        &["<logs-app-{now/d}>"],
        &["logs-*", "-logs-secret-*"],
    ] {
        assert_eq!(ask(held, Class::Search, inside), Ok(vec![held.to_owned()]), "{inside:?}");
    }
    for (outside, needed) in [
        (&["*"][..], "search:*"),
        (&["_all"], "search:*"),
        (&[""], "search:*"),
        (&["l*"], "search:l*"),
        (&["logs-a", "pii-customers"], "search:pii-customers"),
        (&["logs-*", "-logs-a", "pii-*"], "search:pii-*"),
        (&["<pii-{now/d}>"], "search:pii-*"),
        (&["<logs{now/d}>"], "search:logs*"),
        (&[".opendistro_security"], "search:.opendistro_security"),
        (&["-logs-a"], "search:-logs-a"),
    ] {
        assert_eq!(ask(held, Class::Search, outside), Err(needed.to_owned()), "{outside:?}");
    }
    assert_eq!(ask(held, Class::Write, &["logs-a"]), Err("write:logs-a".to_owned()));
}

#[test]
fn scopes_of_a_cluster_give_nothing_in_another() {
    let held = of_clusters("read:staging/logs-* monitor:prod/cluster admin:gateway");
    let requested = Expressions::parse(&["logs-a"], false).unwrap();
    let needs = |scope: &str| Err(Uncovered::Needs { scope: scope.to_owned() });
    assert_eq!(held.covers(Class::Search, &requested), needs("search:logs-a"));
    let (staging, prod) = (held.for_cluster("staging"), held.for_cluster("prod"));
    let determining = staging.covers(Class::Search, &requested).unwrap();
    assert_eq!(determining.iter().map(|scope| scope.as_str()).collect::<Vec<_>>(), ["read:staging/logs-*"]);
    assert_eq!(staging.covers(Class::Write, &requested), needs("write:staging/logs-a"));
    assert_eq!(staging.covers_cluster(Class::ClusterMonitor), needs("monitor:staging/cluster"));
    assert_eq!(prod.covers(Class::Search, &requested), needs("search:prod/logs-a"));
    assert_eq!(prod.covers_handle(Class::Search), needs("search:prod/<index pattern>"));
    assert_eq!(prod.covers_dashboards(Class::DashboardsRead), needs("read:prod/dashboards"));
    assert!(prod.covers_cluster(Class::ClusterMonitor).is_ok());
    for (requested, allowed, is_within) in [
        ("read:staging/logs-a", "read:staging/logs-*", true),
        ("read:staging/logs-a", "read:prod/logs-* admin:prod/*", false),
        ("monitor:prod/cluster", "admin:prod/cluster", true),
        ("monitor:prod/cluster", "admin:staging/cluster", false),
        ("read:prod/dashboards", "read:staging/dashboards", false),
        ("admin:gateway", "read:prod/a admin:gateway", true),
    ] {
        assert_eq!(of_clusters(requested).is_within(&of_clusters(allowed)), is_within, "{requested} within {allowed}");
    }
}

#[test]
fn scope_exclusions_hold_against_wildcards_and_names() {
    let held = "read:logs-*,-logs-secret-*";
    assert!(ask(held, Class::Get, &["logs-app"]).is_ok());
    assert!(ask(held, Class::Get, &["logs-secret-1"]).is_err());
    assert!(ask(held, Class::Get, &["logs-*"]).is_err());
    assert!(ask(held, Class::Get, &["logs-s*"]).is_err());
    assert!(ask(held, Class::Get, &["logs-*", "-logs-secret-*"]).is_ok(), "the same exclusion in the request");
    assert!(ask(held, Class::Get, &["logs-*", "-logs-sec*"]).is_ok());
    assert!(ask(held, Class::Get, &["logs-*", "-logs-secret-a*"]).is_err());
    assert!(ask("read:*,-pii-*", Class::Get, &["logs-*", "metrics"]).is_ok());
    assert!(ask("read:*,-pii-*", Class::Get, &["*"]).is_err());
    assert!(ask("read:.*,-*secret", Class::Get, &[".secret"]).is_err(), "a scope's exclusions reach dots");
}

#[test]
fn hidden_indices_are_asked_for_by_name_or_flag() {
    assert!(ask("read:*", Class::Search, &["*"]).is_ok());
    let hidden = Expressions::parse(&["*"], true).unwrap();
    assert!(scopes("read:*").covers(Class::Search, &hidden).is_err());
    assert!(scopes("read:* read:.*").covers(Class::Search, &hidden).is_ok());
    assert!(ask("read:*", Class::Search, &[".kibana"]).is_err());
    assert!(ask("read:.kib*", Class::Search, &[".kibana"]).is_ok());
}

#[test]
fn several_scopes_cover_together() {
    let held = "read:logs-* search:metrics-* write:pii-*";
    assert_eq!(ask(held, Class::Search, &["logs-a", "metrics-b"]).unwrap(), ["read:logs-*", "search:metrics-*"]);
    assert_eq!(ask(held, Class::Get, &["metrics-b"]), Err("read:metrics-b".to_owned()));
    assert_eq!(ask("read:? read:??*", Class::Search, &["*"]).unwrap(), ["read:?", "read:??*"]);
    assert_eq!(ask("read:logs-*,-logs-secret-* search:logs-secret-*", Class::Search, &["logs-*"]).unwrap().len(), 2);
    assert!(ask("read:logs-*,-logs-secret-* search:logs-secret-*", Class::Get, &["logs-*"]).is_err());
}

#[test]
fn narrowing_compares_rights_not_words() {
    for (requested, allowed) in [
        ("search:logs-app-*", "read:logs-*"),
        ("read:logs-app-*", "read:logs-*"),
        ("ingest:a", "write:a*"),
        ("monitor:a", "manage:a"),
        ("read:a write:a manage:a monitor:a", "admin:a"),
        ("monitor:cluster", "admin:cluster"),
        ("read:logs-*,-logs-secret-*", "read:logs-*"),
        ("read:logs-*", "read:logs-*,-logs-secret-* read:logs-s*"),
        ("read:*", "read:? read:??*"),
        ("write:dashboards", "admin:dashboards"),
        ("admin:gateway", "admin:gateway"),
        ("write:a", "ingest:a write:a"),
        ("", "read:a"),
    ] {
        assert!(scopes(requested).is_within(&scopes(allowed)), "{requested} within {allowed}");
    }
    for (requested, allowed) in [
        ("read:logs-*", "search:logs-*"),
        ("read:logs-*", "read:logs-app-*"),
        ("read:logs-*", "read:logs-*,-logs-secret-*"),
        ("read:logs-a read:pii", "read:logs-*"),
        ("write:a", "read:a"),
        ("write:a", "ingest:a"),
        ("admin:cluster", "admin:*"),
        ("admin:*", "admin:cluster"),
        ("admin:gateway", "admin:* admin:cluster admin:dashboards"),
        ("read:dashboards", "write:dashboards"),
        ("read:.kibana", "read:*"),
        ("read:a", ""),
    ] {
        assert!(!scopes(requested).is_within(&scopes(allowed)), "{requested} within {allowed}");
    }
}

fn any_scopes() -> impl Strategy<Value = String> {
    let pattern = "[ab.*]{1,4}";
    prop::collection::vec(("(read|search|write|ingest|manage|monitor|admin)", pattern, prop::option::of(pattern)), 0..4)
        .prop_map(|list| {
            let scopes: Vec<String> = list
                .into_iter()
                .map(|(verb, pattern, excluded)| match excluded {
                    Some(excluded) if pattern.contains('*') => format!("{verb}:{pattern},-{excluded}"),
                    _ => format!("{verb}:{pattern}"),
                })
                .collect();
            scopes.join(" ")
        })
}

proptest! {
    /// What a client may not do with all it is allowed, it cannot do with what it asked for.
    #[test]
    fn narrowing_never_widens(requested in any_scopes(), allowed in any_scopes(), name in "[ab.x]{1,6}") {
        let clusters = Clusters::default();
        let (Ok(requested), Ok(allowed)) = (ScopeSet::parse(&requested, &clusters), ScopeSet::parse(&allowed, &clusters)) else {
            return Ok(());
        };
        let access = Expressions::parse(&[name.as_str()], false).unwrap();
        if requested.is_within(&allowed) {
            for class in INDEX_CLASSES {
                prop_assert!(requested.covers(class, &access).is_err() || allowed.covers(class, &access).is_ok());
            }
        }
        prop_assert!(requested.is_within(&requested));
    }

    /// A request is covered exactly if each single name in it is.
    #[test]
    fn covering_is_covering_every_name(held in any_scopes(), requested in prop::collection::vec("-?[ab.*]{1,4}", 1..3), hidden: bool) {
        let (Ok(held), Ok(requested)) = (ScopeSet::parse(&held, &Clusters::default()), Expressions::parse(&requested, hidden)) else {
            return Ok(());
        };
        for class in [Class::Search, Class::Append] {
            let covered = held.covers(class, &requested).is_ok();
            let letters = ["a", "b", ".", "x", "-"];
            let mut names: Vec<String> = letters.map(String::from).to_vec();
            let mut uncovered = false;
            for _ in 0..5 {
                uncovered |= names.iter().any(|name| {
                    requested.matches(name) && !held.iter().any(|scope| scope.grants(class) && scope.branches().any(|branch| branch.matches(name)))
                });
                names = names.iter().flat_map(|name| letters.map(|letter| format!("{name}{letter}"))).collect();
            }
            prop_assert_eq!(covered, !uncovered);
        }
    }
}
