use oauth4os_classify::Action;
use proptest::prelude::*;

use super::*;
use crate::expression::Expressions;
use crate::forbids::Actions;
use crate::glob::Glob;
use crate::principal::{Principal, PrincipalKind};

fn load(text: &str) -> Result<Policies, PolicyErrors> {
    Policies::load(&[PolicyFile { name: "test.cedar", text }])
}

fn refused(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

fn principal(kind: PrincipalKind, id: &str, groups: &[&str]) -> Principal {
    Principal { id: id.to_owned(), kind, groups: groups.iter().map(|group| (*group).to_owned()).collect() }
}

fn client() -> Principal {
    principal(PrincipalKind::Client, "c", &[])
}

fn rule(policies: &Policies, who: &Principal, action: Action, list: &[&str]) -> Ruling {
    let expressions = Expressions::parse(list, false).unwrap();
    policies.for_principal(who).rule(action, &Resource::Indices(&expressions)).unwrap()
}

fn permits(text: &str, list: &[&str]) -> bool {
    let ruling = rule(&load(text).unwrap(), &client(), Action::Search, list);
    matches!(ruling, Ruling::Permitted { .. })
}

#[test]
fn without_files_nothing_is_ruled_and_with_an_empty_one_nothing_is_permitted() {
    let none = Policies::load(&[]).unwrap();
    assert!(!none.are_configured());
    assert_eq!(rule(&none, &client(), Action::Search, &["a"]), Ruling::Unruled);
    let empty = load("// none yet").unwrap();
    assert!(empty.are_configured());
    assert_eq!(rule(&empty, &client(), Action::Search, &["a"]), Ruling::NotPermitted { resource: "a".to_owned() });
}

#[test]
fn permits_need_containment() {
    let text = r#"permit(principal, action, resource in Index::"logs-*");"#;
    for inside in [&["logs-*"][..], &["logs-a"], &["logs-a*", "logs-b"], &["<logs-{now/d}>"]] {
        assert!(permits(text, inside), "{inside:?}");
    }
    for outside in [&["l*"][..], &["*"], &["logs-a", "pii"], &[]] {
        assert!(!permits(text, outside), "{outside:?}");
    }
}

#[test]
fn forbids_need_overlap() {
    let text = r#"permit(principal, action, resource); forbid(principal, action, resource in Index::"pii-*");"#;
    for touched in [&["pii-a"][..], &["pii-*"], &["p*"], &["*"], &["*-eu"], &["logs", "pii-eu-*"], &["p*", "-pii-eu"]] {
        assert!(!permits(text, touched), "{touched:?}");
    }
    for clear in [&["logs-*"][..], &["pi"], &["*", "-pii-*"], &["p*", "-pi*"]] {
        assert!(permits(text, clear), "{clear:?}");
    }
}

#[test]
fn negation_turns_the_sense() {
    let unless = r#"permit(principal, action, resource) unless { resource in Index::"pii-*" };"#;
    let not = r#"permit(principal, action, resource) when { !(resource in Index::"pii-*") };"#;
    let different = r#"permit(principal, action, resource) when { resource != Index::"pii-a" };"#;
    for text in [unless, not, different] {
        assert!(permits(text, &["logs-*"]), "{text}");
        assert!(!permits(text, &["p*"]), "a request that touches the exception: {text}");
        assert!(!permits(text, &["pii-a"]), "{text}");
    }
    let only_public = r#"permit(principal, action, resource); forbid(principal, action, resource) unless { resource in Index::"public-*" };"#;
    assert!(permits(only_public, &["public-a*"]));
    assert!(!permits(only_public, &["p*"]), "not all of it is public");
    let double = r#"permit(principal, action, resource) when { !(!(resource in Index::"logs-*") || resource in [Index::"logs-s*", Index::"logs-t"]) };"#;
    assert!(permits(double, &["logs-a*"]));
    assert!(!permits(double, &["logs-*"]) && !permits(double, &["logs-t"]) && !permits(double, &["l*"]));
}

#[test]
fn equality_with_a_name_is_that_name() {
    let text = r#"permit(principal, action, resource == Index::"logs-a");"#;
    assert!(permits(text, &["logs-a"]) && !permits(text, &["logs-*"]) && !permits(text, &["logs-b"]));
    let text = r#"permit(principal, action, resource); forbid(principal, action, resource == Index::"pii");"#;
    assert!(!permits(text, &["pii"]) && !permits(text, &["p*"]) && permits(text, &["logs"]));
    let text = r#"permit(principal, action, resource is Index in Index::"logs-*");"#;
    assert!(permits(text, &["logs-a"]) && !permits(text, &["pii"]));
    let text = r#"permit(principal, action, resource) when { resource is Index in Index::"logs-*" };"#;
    assert!(permits(text, &["logs-a"]) && !permits(text, &["pii"]));
    let text = r#"permit(principal, action, resource) when { if principal is Client then resource in Index::"a" else resource in Index::"b" };"#;
    assert!(permits(text, &["a"]) && !permits(text, &["b"]));
}

#[test]
fn dots_are_left_out_of_permits_and_caught_by_forbids() {
    let wide = r#"permit(principal, action, resource in Index::"*");"#;
    assert!(permits(wide, &["*"]) && !permits(wide, &[".kibana"]));
    let hidden = Expressions::parse(&["*"], true).unwrap();
    let ruling =
        load(wide).unwrap().for_principal(&client()).rule(Action::Search, &Resource::Indices(&hidden)).unwrap();
    assert!(matches!(ruling, Ruling::NotPermitted { .. }), "the request's own text is not what it is compared by");
    let forbid = r#"permit(principal, action, resource); forbid(principal, action, resource in Index::"*secret");"#;
    assert!(!permits(forbid, &[".secret"]));
}

#[test]
fn the_cluster_and_handles() {
    let policies = load(
        r#"permit(principal, action == Action::"monitor", resource == Cluster::"cluster");
           permit(principal, action == Action::"search", resource in Index::"logs-*");
           permit(principal, action in Action::"write", resource in ResourceType::"index");"#,
    )
    .unwrap();
    let own = policies.for_principal(&client());
    let rule =
        |action, resource: &Resource<'_>| matches!(own.rule(action, resource).unwrap(), Ruling::Permitted { .. });
    assert!(rule(Action::Monitor, &Resource::Cluster));
    assert!(!rule(Action::Admin, &Resource::Cluster));
    assert!(!rule(Action::Search, &Resource::Cluster), "an action the cluster does not have");
    assert!(rule(Action::Search, &Resource::SomeIndex));
    assert!(!rule(Action::Get, &Resource::SomeIndex));
    assert!(rule(Action::Delete, &Resource::SomeIndex));
    assert!(!rule(Action::Info, &Resource::SomeIndex) && !rule(Action::Denied, &Resource::Cluster));
    let anything = Expressions::parse(&["pii"], false).unwrap();
    assert!(rule(Action::Search, &Resource::Mentioned(&anything)));
}

#[test]
fn ids_from_outside_are_values() {
    let policies = load(
        r#"permit(principal == User::"a\"::b", action, resource);
           permit(principal in Group::"x::y \"z\"", action, resource);"#,
    )
    .unwrap();
    let permitted = |who: &Principal| matches!(rule(&policies, who, Action::Get, &["a"]), Ruling::Permitted { .. });
    assert!(permitted(&principal(PrincipalKind::User, "a\"::b", &[])));
    assert!(permitted(&principal(PrincipalKind::Client, "c", &["x::y \"z\""])));
    assert!(!permitted(&principal(PrincipalKind::Agent, "a\"::b", &[])), "another kind is another principal");
    assert!(!permitted(&principal(PrincipalKind::User, "User::\"a\\\"::b\"", &["Group::\"x\""])));
    assert!(!permitted(&principal(PrincipalKind::User, "", &[""])));
}

#[test]
fn ids_name_file_and_position_or_the_annotation() {
    let policies = load("permit(principal, action, resource);\n@id(\"mine\") permit(principal, action, resource);\nforbid(principal, action, resource is Dashboard);").unwrap();
    assert_eq!(policies.ids().collect::<Vec<_>>(), ["test.cedar#1", "mine", "test.cedar#3"]);
    let twice =
        refused("@id(\"x\") permit(principal, action, resource);@id(\"x\") forbid(principal, action, resource);");
    assert_eq!(
        twice,
        "the policy `x` in `test.cedar` is refused: its id is already taken by a policy in `test.cedar`, ids must be unique"
    );
    let many: String = (0..12).map(|n| format!("permit(principal == Client::\"c{n}\", action, resource);\n")).collect();
    let policies = load(&many).unwrap();
    assert_eq!(
        rule(&policies, &principal(PrincipalKind::Client, "c10", &[]), Action::Get, &["a"]),
        Ruling::Permitted { policies: vec!["test.cedar#11".to_owned()] }
    );
}

#[test]
fn what_could_fail_or_never_apply_is_refused() {
    for (text, part) in [
        (
            "permit(principal, action, resource);\npermit(principal, action resource);",
            "the policy file `test.cedar` cannot be read: line 2: ",
        ),
        (r#"permit(principal, action == Action::"serch", resource);"#, "serch"),
        (r#"permit(principal == Robot::"x", action, resource);"#, "Robot"),
        (r#"permit(principal, action, resource) when { principal.team == "x" };"#, "team"),
        (r#"permit(principal, action, resource) when { context.hour < 5 };"#, "hour"),
        (
            r#"permit(principal, action == Action::"search", resource is Cluster);"#,
            "the policy `test.cedar#1` in `test.cedar` is refused: ",
        ),
        (
            r#"permit(principal, action, resource) when { principal is User && principal is Client };"#,
            "the policy `test.cedar#1` in `test.cedar` is refused: ",
        ),
        (
            r#"permit(principal, action, resource) when { 9223372036854775807 + 1 > 2 };"#,
            "is not available in conditions",
        ),
        (r#"permit(principal == ?principal, action, resource);"#, "template"),
        (
            r#"permit(principal, action, resource in Index::"logs-a,logs-b");"#,
            "it names the index pattern `logs-a,logs-b`, but targets are made of",
        ),
        (r#"permit(principal, action, resource in Index::"-a");"#, "no index name begins with"),
        (r#"permit(principal, action, resource == Index::"logs-*");"#, "write `resource in Index::\"logs-*\"`"),
        (r#"permit(principal, action, resource) when { (resource in Index::"a") == false };"#, "join tests with"),
        (
            r#"permit(principal, action, resource) when { Index::"a" == resource };"#,
            "an index pattern is only understood in",
        ),
        (
            r#"permit(principal, action, resource) when { principal is User || resource == resource };"#,
            "is only compared with entities written out",
        ),
        (r#"permit(principal, action, resource in IndexOverlap::"a");"#, "IndexOverlap"),
    ] {
        let sentence = refused(text);
        assert!(sentence.contains(part), "{text}\n{sentence}");
    }
    let two = load(
        "permit(principal, action == Action::\"x\", resource);\npermit(principal in Team::\"y\", action, resource);",
    )
    .unwrap_err();
    let policies: Vec<_> = two.errors.iter().filter_map(|error| error.policy.as_deref()).collect();
    assert!(
        policies.contains(&"test.cedar#1") && policies.contains(&"test.cedar#2"),
        "every faulty policy is named: {two}"
    );
}

#[test]
fn what_is_forbidden_without_condition_is_known_to_the_engine_pattern() {
    let policies = load(
        r#"forbid(principal in Group::"agents", action, resource in Index::"pii-*");
           forbid(principal, action == Action::"delete", resource in Index::"a");
           forbid(principal, action in [Action::"search", Action::"write"], resource in Index::"d");
           forbid(principal, action in Action::"read", resource in Index::"d");
           forbid(principal, action, resource in Index::"b") when { principal is User };
           forbid(principal is Client, action, resource == Index::"c");"#,
    )
    .unwrap();
    let of = |who: &Principal, actions| {
        policies.for_principal(who).forbids().of(actions).iter().map(Glob::to_string).collect::<Vec<_>>()
    };
    assert_eq!(of(&principal(PrincipalKind::Agent, "x", &[]), Actions::ALL), ["pii-*"]);
    assert_eq!(of(&client(), Actions::ALL), ["c"]);
    assert_eq!(of(&principal(PrincipalKind::User, "u", &["agents"]), Actions::ALL), ["pii-*"]);
    assert_eq!(of(&client(), Actions::READ), ["d", "c"]);
    assert_eq!(of(&client(), Actions::of(&[Action::Delete])), ["a", "d", "c"]);
}

fn any_policy() -> impl Strategy<Value = String> {
    let pattern = "[ab*]{1,3}";
    let head = prop_oneof![
        Just("principal".to_owned()),
        "(Client|Agent|User)::\"[xy]\"".prop_map(|entity| format!("principal == {entity}")),
        "(agents|g|h)".prop_map(|group| format!("principal in Group::\"{group}\"")),
        "(Client|Agent|User)".prop_map(|kind| format!("principal is {kind}")),
        ("(Client|Agent|User)", "(agents|g|h)")
            .prop_map(|(kind, group)| format!("principal is {kind} in Group::\"{group}\"")),
    ];
    let action = prop_oneof![
        Just("action".to_owned()),
        Just("action == Action::\"search\"".to_owned()),
        Just("action in [Action::\"read\", Action::\"create\"]".to_owned()),
    ];
    let resource = prop_oneof![
        Just("resource".to_owned()),
        pattern.prop_map(|pattern| format!("resource in Index::\"{pattern}\"")),
        Just("resource in ResourceType::\"index\"".to_owned()),
    ];
    let condition = prop_oneof![
        3 => Just(String::new()),
        1 => pattern.prop_map(|pattern| format!(" unless {{ resource in Index::\"{pattern}\" }}")),
        1 => pattern.prop_map(|pattern| format!(" when {{ resource in Index::\"{pattern}\" || principal in Group::\"g\" }}")),
    ];
    ("(permit|permit|forbid)", head, action, resource, condition).prop_map(
        |(effect, head, action, resource, condition)| format!("{effect}({head}, {action}, {resource}){condition};\n"),
    )
}

fn any_principal() -> impl Strategy<Value = Principal> {
    let kind = prop_oneof![Just(PrincipalKind::Agent), Just(PrincipalKind::Client), Just(PrincipalKind::User)];
    (kind, "[xyz]", prop::collection::vec("(agents|g|h)", 0..2)).prop_map(|(kind, id, groups)| Principal {
        id,
        kind,
        groups,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The policies that were left out could not have changed the answer.
    #[test]
    fn a_slice_decides_as_the_whole(
        text in prop::collection::vec(any_policy(), 0..8),
        who in any_principal(),
        list in prop::collection::vec("[abc*]{1,3}", 1..3),
    ) {
        let policies = load(&text.concat()).unwrap();
        let Ok(expressions) = Expressions::parse(&list, false) else { return Ok(()) };
        let (slice, whole) = (policies.for_principal(&who), policies.unsliced(&who));
        prop_assert!(slice.len() <= whole.len());
        for action in [Action::Search, Action::Get, Action::Create, Action::Manage] {
            for resource in [Resource::Indices(&expressions), Resource::Cluster, Resource::SomeIndex, Resource::Mentioned(&expressions)] {
                prop_assert_eq!(slice.rule(action, &resource).unwrap(), whole.rule(action, &resource).unwrap());
            }
        }
    }

    /// What is permitted together is permitted name by name: a wildcard is no way around a policy.
    #[test]
    fn a_pattern_gets_no_more_than_each_of_its_names(
        text in prop::collection::vec(any_policy(), 1..8),
        who in any_principal(),
        requested in "[ab*]{1,3}",
        names in prop::collection::vec("[abc]{1,4}", 10),
    ) {
        let policies = load(&text.concat()).unwrap();
        let own = policies.for_principal(&who);
        let rule = |name: &str| {
            let expressions = Expressions::parse(&[name], false).unwrap();
            matches!(own.rule(Action::Search, &Resource::Indices(&expressions)).unwrap(), Ruling::Permitted { .. })
        };
        if rule(&requested) {
            for name in names.iter().filter(|name| Glob::new(&requested).matches(name)) {
                prop_assert!(rule(name), "{} is refused, {} is not", name, requested);
            }
        }
    }
}

#[test]
fn saved_objects_are_ruled_by_their_type_and_any_is_every_one() {
    let rule = |text: &str, types: &[&str]| {
        let types: Vec<String> = types.iter().map(|name| (*name).to_owned()).collect();
        let ruled = load(text).unwrap().for_principal(&client());
        ruled.rule(Action::Update, &Resource::SavedObjects(&types)).unwrap()
    };
    let permits = |text: &str, types: &[&str]| matches!(rule(text, types), Ruling::Permitted { .. });
    let all = r#"permit(principal, action, resource in ResourceType::"dashboard");"#;
    let one = r#"permit(principal, action, resource == Dashboard::"query");"#;
    let without = format!(r#"{all} forbid(principal, action, resource == Dashboard::"config");"#);
    let unless = r#"permit(principal, action, resource in ResourceType::"dashboard") unless { resource == Dashboard::"config" };"#;
    let several =
        r#"permit(principal, action, resource) when { resource in [Dashboard::"query", Dashboard::"dashboard"] };"#;
    for (text, types, permitted) in [
        (all, &["query"][..], true),
        (all, &["*"], true),
        (one, &["query"], true),
        (one, &["query", "config"], false),
        (one, &["*"], false),
        (&without, &["query", "dashboard"], true),
        (&without, &["query", "config"], false),
        (&without, &["*"], false),
        (&without, &["query", "*"], false),
        (unless, &["query"], true),
        (unless, &["config"], false),
        (unless, &["*"], false),
        (several, &["query", "dashboard"], true),
        (several, &["config"], false),
        (several, &["*"], false),
        (r#"permit(principal, action, resource in Index::"*");"#, &["query"], false),
        ("", &["query"], false),
    ] {
        assert_eq!(permits(text, types), permitted, "{text} {types:?}");
    }
    let forbidden =
        rule(&format!(r#"{all} @id("no") forbid(principal, action, resource == Dashboard::"config");"#), &["*"]);
    assert_eq!(forbidden, Ruling::Forbidden { policies: vec!["no".to_owned()], resource: "config".to_owned() });
}
