use oauth4os_classify::{Action, Class, Targets};
use proptest::prelude::*;

use super::*;
use crate::cedar::{Policies, PolicyFile};
use crate::principal::{Principal, PrincipalKind};
use crate::scope::{Clusters, ScopeSet};
use crate::{Access, EngineGrant, Forbids, PrincipalPolicies, Restrictions, decide};

fn index(name: &str, data_stream: Option<&str>, aliases: &[&str]) -> Index {
    Index {
        name: name.into(),
        data_stream: data_stream.map(Into::into),
        aliases: aliases.iter().copied().map(Into::into).collect(),
    }
}

/// Aliases of every kind: inside, across the border, out; and a data stream.
fn cluster() -> Catalog {
    Catalog::new([
        index("logs-app-1", None, &["logs-all", "mixed"]),
        index("logs-app-2", None, &["logs-all", "current"]),
        index("metrics-1", None, &[]),
        index("pii-customers", None, &["logs-sneaky", "mixed", "pii-alias"]),
        index(".ds-logs-stream-000001", Some("logs-stream"), &[]),
        index(".ds-pii-stream-000001", Some("pii-stream"), &["logs-stream-alias"]),
    ])
}

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text, &Clusters::default()).unwrap()
}

fn search(held: &str, policies: &str, names: &[&str]) -> Result<(), String> {
    let principal = Principal { id: "app".to_owned(), kind: PrincipalKind::Client, groups: Vec::new() };
    let ruled = if policies.is_empty() {
        PrincipalPolicies::none()
    } else {
        Policies::load(&[PolicyFile { name: "p", text: policies }]).unwrap().for_principal(&principal)
    };
    let targets = Targets::Indices(names.iter().map(ToString::to_string).collect());
    let access = Access {
        operation: "search",
        class: Class::Search,
        action: Action::Search,
        targets: &targets,
        hidden: false,
        catalog: &cluster(),
        may_narrow: false,
    };
    decide(&principal, &scopes(held), &ruled, &access).refusal.map_or(Ok(()), |refusal| Err(refusal.to_string()))
}

#[test]
fn a_name_that_leads_out_of_the_scope_is_refused_under_every_spelling() {
    for names in [&["logs-all"][..], &["logs-app-1"], &["logs-app-*"], &["logs-stream"], &["logs-*", "-logs-s*"]] {
        assert_eq!(search("read:logs-*", "", names), Ok(()), "{names:?}");
    }
    assert!(search("read:logs-*", "", &["logs-*"]).is_err());
    for names in [&["logs-sneaky"][..], &["logs-sn*"], &["logs-*", "-logs-stream*"], &["logs-app-1", "logs-sneaky"]] {
        let sentence = search("read:logs-*", "", names).unwrap_err();
        assert!(sentence.contains("`logs-sneaky`") && sentence.contains("`pii-customers`"), "{names:?}: {sentence}");
    }
    let sentence = search("read:logs-*", "", &["logs-stream*", "-logs-sneaky"]).unwrap_err();
    assert!(sentence.starts_with("the alias `logs-stream-alias` stands for `.ds-pii-stream-000001`"), "{sentence}");
    assert_eq!(search("read:logs-* read:pii-*", "", &["logs-*"]), Ok(()), "nothing is outside");
    assert_eq!(search("read:logs-* write:pii-*", "", &["logs-sneaky"]).map_err(drop), Err(()), "another right");
}

#[test]
fn an_alias_that_a_scope_names_in_full_is_meant() {
    assert_eq!(search("read:current", "", &["current"]), Ok(()));
    assert_eq!(search("read:mixed", "", &["mixed"]), Ok(()));
    assert!(search("read:mixed", "", &["pii-customers"]).is_err(), "not by its own name");
    assert_eq!(search("read:logs-*,logs-sneaky", "", &["logs-sneaky"]), Ok(()));
    assert!(search("read:logs-*,logs-sneaky,-logs-s*", "", &["logs-sneaky"]).is_err());
}

#[test]
fn what_is_forbidden_is_forbidden_under_every_name() {
    let policies = r#"permit(principal, action, resource); forbid(principal, action == Action::"search", resource in Index::"pii-*");"#;
    for names in [&["mixed"][..], &["m*"], &["logs-sneaky"], &["logs-stream-alias"]] {
        let sentence = search("read:*", policies, names).unwrap_err();
        assert!(sentence.contains("forbids the client `app` to search `pii-"), "{sentence}");
    }
    assert_eq!(search("read:*", policies, &["*", "-pii-*", "-.ds-pii-*"]), Ok(()), "taken out by its own name");
    assert!(search("read:*", policies, &["logs-*", "mixed", "-pii-*"]).is_err(), "a name stands as it is");
    let sentence = search("read:mixed", policies, &["mixed"]).unwrap_err();
    assert_eq!(sentence, "the policy `p#2` forbids the client `app` to search `pii-customers (mixed)`");
    assert_eq!(search("read:*", policies, &["logs-all", "metrics-1"]), Ok(()));
}

#[test]
fn the_engine_is_told_of_the_names_that_lead_out() {
    let pattern = |held: &str, forbidden: &[&str]| {
        let forbidden = forbidden.iter().map(|text| Glob::with_dots(text)).into();
        EngineGrant::of(&scopes(held), &Restrictions::default(), &forbidden, &cluster()).claims.remove(0).1
    };
    assert_eq!(
        pattern("read:logs-*", &[]),
        r"/(?!(?:logs-stream-alias|logs-sneaky)$)(?:logs-.*)/",
        "in the order of the indices"
    );
    assert_eq!(pattern("read:current", &[]), "/(?:current)/");
    assert_eq!(pattern("read:*", &["pii-*"]), r"/(?!(?:pii-.*|logs-stream-alias|logs-sneaky|mixed)$)(?:(?!\.).*)/");
    assert_eq!(
        EngineGrant::of(&scopes("read:logs-*"), &Restrictions::default(), &Forbids::new(), Catalog::none()).claims[0].1,
        "/(?:logs-.*)/"
    );
}

/// The law of the engine's security plugin: any of an index's names grants it.
fn engine_grants(index: &Index, matches: impl Fn(&str) -> bool) -> bool {
    index.names().any(matches)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// With every widening name taken out, the engine grants no index that is not meant, and every one that is meant
    /// and has a name left.
    #[test]
    fn the_engine_grants_what_is_meant(
        indices in proptest::collection::vec(("[ab]{1,3}", proptest::option::of("[ab]{1,2}s"), proptest::collection::vec("[ab]{1,3}", 0..3)), 1..6),
        granted in proptest::collection::vec("[ab*]{1,3}", 1..3),
        forbidden in proptest::collection::vec("[ab*]{1,3}", 0..2),
    ) {
        let catalog = Catalog::new(indices.into_iter().map(|(name, stream, aliases)| Index {
            name: name.into(),
            data_stream: stream.map(Into::into),
            aliases: aliases.into_iter().map(Into::into).collect(),
        }));
        let globs: Vec<Glob> = granted.iter().map(|text| Glob::new(text)).collect();
        let granted: Vec<Branch<'_>> = globs.iter().map(|include| Branch { include, exclusions: &[] }).collect();
        let forbidden: Vec<Glob> = forbidden.iter().map(|text| Glob::with_dots(text)).collect();
        let rights = Rights { granted: &granted, forbidden: &forbidden, apart: &[] };
        let excluded: Vec<&str> = catalog.widening(rights).iter().map(|widening| widening.name).collect();
        for index in &catalog.indices {
            let by_engine = engine_grants(index, |name| rights.grants(name) && !excluded.contains(&name));
            prop_assert!(!by_engine || rights.is_meant(index), "{index:?} is granted");
        }
    }
}
