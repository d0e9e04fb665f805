use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<ScopeSet, ScopeError> {
    ScopeSet::parse(text, &Clusters::default())
}

fn sentence(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn every_form_of_a_scope() {
    let set =
        parse("read:logs-*,-logs-secret-*  monitor:cluster read:logs-*,-logs-secret-* write:dashboards admin:gateway")
            .unwrap();
    assert_eq!(set.to_string(), "read:logs-*,-logs-secret-* monitor:cluster write:dashboards admin:gateway");
    assert_eq!(set.len(), 4);
    assert!(set.administers_gateway());
    let targets: Vec<&Target> = set.iter().map(Scope::target).collect();
    let Target::Indices(sequence) = targets[0] else { panic!("an index target") };
    assert!(sequence.matches("logs-app") && !sequence.matches("logs-secret-1") && !sequence.matches("pii"));
    assert_eq!(targets[1..], [&Target::Cluster, &Target::Dashboards, &Target::Gateway]);
    assert!(parse("").unwrap().is_empty());
}

#[test]
fn a_scope_says_what_is_wrong_with_it() {
    assert_eq!(sentence("logs-*"), "the scope `logs-*` is not of the form `verb:target`, such as `read:logs-*`");
    assert_eq!(sentence("read:"), "the scope `read:` is not of the form `verb:target`, such as `read:logs-*`");
    assert_eq!(
        sentence("delete:logs-*"),
        "the scope `delete:logs-*` begins with the unknown verb `delete`, known are read, search, write, ingest, manage, monitor, admin"
    );
    assert_eq!(
        sentence("read:cluster"),
        "the scope `read:cluster` has no meaning, `cluster` takes the verbs monitor, manage and admin"
    );
    assert_eq!(sentence("read:gateway"), "the scope `read:gateway` has no meaning, `gateway` takes the verb admin");
    assert_eq!(
        sentence("read:prod/logs-*"),
        "the scope `read:prod/logs-*` names the cluster `prod`, which is not configured on this gateway"
    );
    assert_eq!(
        sentence("read:-logs-*"),
        "the scope `read:-logs-*` has the target `-logs-*`, an exclusion must come after a pattern with a wildcard"
    );
    for text in [
        "read:${attr.jwt.x}",
        "read:$",
        "read:/logs.*/",
        "read:a:b",
        "read:logs-*,",
        "read:,a",
        "read:_all",
        "read:+a",
        "read:a|b",
        "read:(a)",
        "read:<a>",
        "read:a,-b",
        "read:logs-*,cluster",
        "read:é",
        "read:a\\b",
        "read:a\"b",
        "read:a\tb",
        "read:..",
        "read:logs-*,--a",
        ":a",
        "read",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    assert!(parse(&format!("read:{}", "a".repeat(128))).is_err());
    assert!(parse(&format!("read:{}", vec!["a"; 33].join(","))).is_err());
    let many: Vec<String> = (0..65).map(|n| format!("read:a{n}")).collect();
    assert_eq!(parse(&many.join(" ")), Err(ScopeError::TooMany));
    let long: Vec<String> = (0..40).map(|n| format!("read:{}{n}", "a".repeat(110))).collect();
    assert_eq!(parse(&long.join(" ")), Err(ScopeError::ListTooLong));
    assert_eq!(ScopeSet::collect(&long, &Clusters::default()), Err(ScopeError::ListTooLong));
}

#[test]
fn of_several_clusters_one_is_named() {
    let clusters = Clusters::from_iter(["staging"]);
    let set = ScopeSet::parse("read:staging/logs-* admin:staging/cluster admin:gateway", &clusters).unwrap();
    assert_eq!(set.iter().map(Scope::cluster).collect::<Vec<_>>(), [Some("staging"), Some("staging"), None]);
    assert!(ScopeSet::parse("read:prod/logs-*", &clusters).is_err());
    assert!(ScopeSet::parse("read:staging/a/b", &clusters).is_err());
    let sentence = |text| ScopeSet::parse(text, &clusters).unwrap_err().to_string();
    for unnamed in ["read:logs-app", "admin:cluster", "read:dashboards"] {
        assert!(sentence(unnamed).contains("names no cluster and there are several"), "{unnamed}");
    }
    assert!(sentence("admin:staging/gateway").contains("is about the gateway itself"));
    assert_eq!(set.for_cluster("staging").len(), 2);
    assert!(set.for_cluster("staging").iter().all(|scope| scope.cluster().is_none()));
    assert_eq!(set.for_cluster("staging").of_cluster(), Some("staging"));
    assert!(set.for_cluster("prod").is_empty());
}

proptest! {
    #[test]
    fn text_and_meaning_survive_a_round_trip(list in prop::collection::vec("(read|write|admin|search):[a-z*.?-]{1,8}(,-?[a-z*]{1,5}){0,2}", 0..5)) {
        if let Ok(set) = parse(&list.join(" ")) {
            let again = parse(&set.to_string()).unwrap();
            prop_assert_eq!(set, again);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("read:{text}"));
    }

    #[test]
    fn what_is_read_cannot_be_substituted_by_the_engine(text in "[a-z$\\{\\}*./|(),-]{1,12}") {
        if let Ok(set) = parse(&format!("read:{text}")) {
            let is_clean = !set.to_string().contains(['$', '{', '}', '/', '|', '(', ')']);
            prop_assert!(is_clean);
        }
    }
}
