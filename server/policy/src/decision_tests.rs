use super::*;
use crate::cedar::{Policies, PolicyFile};
use crate::scope::Clusters;

fn scopes(text: &str) -> ScopeSet {
    ScopeSet::parse(text, &Clusters::default()).unwrap()
}

fn agent() -> Principal {
    Principal { id: "my-ai-agent".to_owned(), kind: PrincipalKind::Agent, groups: Vec::new() }
}

fn indices(list: &[&str]) -> Targets {
    Targets::Indices(list.iter().map(|text| (*text).to_owned()).collect())
}

fn search(targets: &Targets) -> Access<'_> {
    Access {
        operation: "search",
        class: Class::Search,
        action: Action::Search,
        targets,
        hidden: false,
        catalog: Catalog::none(),
        may_narrow: false,
    }
}

fn by_scopes(held: &str, access: &Access<'_>) -> Decision {
    decide(&agent(), &scopes(held), &PrincipalPolicies::none(), access)
}

fn sentence(decision: &Decision) -> String {
    assert!(!decision.allow);
    decision.refusal.as_ref().unwrap().to_string()
}

#[test]
fn scopes_alone_decide_without_policies() {
    let allowed = by_scopes("read:logs-* write:pii-*", &search(&indices(&["logs-a"])));
    assert_eq!(
        allowed,
        Decision {
            allow: true,
            is_partial: false,
            refusal: None,
            determining: vec![Determining::Scope("read:logs-*".to_owned())]
        }
    );
    let refused = by_scopes("read:logs-* write:pii-*", &search(&indices(&["pii-customers"])));
    assert_eq!(
        sentence(&refused),
        "the operation `search` needs the scope `search:pii-customers`, the token has `read:logs-* write:pii-*`"
    );
    assert_eq!(refused.determining, []);
    let refusal = refused.refusal.unwrap();
    assert_eq!((refusal.code(), refusal.needed_scope()), ("scope", Some("search:pii-customers")));
}

#[test]
fn every_class_has_its_rule() {
    let cluster = Targets::Cluster;
    let access = |class, action| Access {
        operation: "x",
        class,
        action,
        targets: &cluster,
        hidden: false,
        catalog: Catalog::none(),
        may_narrow: false,
    };
    assert!(by_scopes("read:a", &access(Class::Info, Action::Info)).allow);
    assert_eq!(
        sentence(&by_scopes("", &access(Class::Info, Action::Info))),
        "the token carries no scope, ask for one such as `read:logs-*`"
    );
    for held in ["admin:* admin:cluster admin:gateway", ""] {
        assert_eq!(
            sentence(&by_scopes(held, &access(Class::Denied, Action::Denied))),
            "the operation `x` is not available to scoped tokens"
        );
        assert!(!by_scopes(held, &access(Class::DashboardsRead, Action::Get)).allow);
        assert!(!by_scopes(held, &access(Class::Search, Action::Denied)).allow);
    }
    assert!(by_scopes("monitor:cluster", &access(Class::ClusterMonitor, Action::Monitor)).allow);
    assert_eq!(
        sentence(&by_scopes("read:*", &access(Class::ClusterAdmin, Action::Admin))),
        "the operation `x` needs the scope `admin:cluster`, the token has `read:*`"
    );
    assert!(
        !by_scopes("admin:* admin:cluster", &access(Class::Search, Action::Search)).allow,
        "an index class without an index"
    );
}

#[test]
fn handles_and_bodies() {
    let handle = Targets::Handle;
    assert!(by_scopes("search:logs-*", &search(&handle)).allow);
    assert_eq!(
        sentence(&by_scopes("write:logs-*", &search(&handle))),
        "the operation `search` needs the scope `search:<index pattern>`, the token has `write:logs-*`"
    );
    let refusal = by_scopes("write:logs-*", &search(&handle)).refusal.unwrap();
    assert_eq!(refusal.needed_scope(), None, "no scope that could be asked for as it stands");
    let body = Targets::Body;
    assert_eq!(
        sentence(&by_scopes("admin:*", &search(&body))),
        "what the operation `search` touches is not known, so it is refused"
    );
}

#[test]
fn unreadable_expressions_are_refused_with_their_reason() {
    let refused = by_scopes("read:*", &search(&indices(&["remote:logs-*"])));
    assert_eq!(
        sentence(&refused),
        "the index expression `remote:logs-*` names a remote cluster, which is not reached through this gateway"
    );
    let hidden = Access { hidden: true, ..search(&indices(&["*"])) }.hidden;
    let targets = indices(&["*"]);
    assert!(by_scopes("read:*", &search(&targets)).allow);
    assert!(!by_scopes("read:*", &Access { hidden, ..search(&targets) }).allow);
}

fn with_policies(text: &str, held: &str, access: &Access<'_>) -> Decision {
    let policies = Policies::load(&[PolicyFile { name: "own.cedar", text }]).unwrap();
    decide(&agent(), &scopes(held), &policies.for_principal(&agent()), access)
}

#[test]
fn policies_narrow_what_scopes_grant() {
    let text =
        r#"permit(principal, action, resource); @id("no-pii") forbid(principal, action, resource in Index::"pii-*");"#;
    let allowed = with_policies(text, "read:*", &search(&indices(&["logs-*"])));
    assert!(allowed.allow);
    assert_eq!(allowed.determining.iter().map(Determining::as_str).collect::<Vec<_>>(), ["read:*", "own.cedar#1"]);
    let refused = with_policies(text, "read:*", &search(&indices(&["logs-a", "p*"])));
    assert_eq!(sentence(&refused), "the policy `no-pii` forbids the agent `my-ai-agent` to search `p*`");
    assert_eq!(refused.determining, [Determining::Policy("no-pii".to_owned())]);
    let outside = with_policies(text, "read:logs-*", &search(&indices(&["metrics"])));
    assert_eq!(outside.refusal.unwrap().code(), "scope", "a permit does not widen a scope");
    let nothing =
        with_policies(r#"permit(principal is User, action, resource);"#, "read:*", &search(&indices(&["metrics"])));
    assert_eq!(sentence(&nothing), "no policy permits the agent `my-ai-agent` to search `metrics`");
}

#[test]
fn cluster_state_narrowed_to_an_index_is_no_way_around_a_forbid() {
    let text = r#"permit(principal, action, resource == Cluster::"cluster"); forbid(principal, action, resource in Index::"pii-*");"#;
    let ask = |list: &[&str], held| {
        let targets = indices(list);
        let access = Access {
            operation: "cluster.state",
            class: Class::ClusterMonitor,
            action: Action::Monitor,
            targets: &targets,
            hidden: false,
            catalog: Catalog::none(),
            may_narrow: false,
        };
        with_policies(text, held, &access)
    };
    assert!(ask(&["logs-*"], "monitor:cluster").allow);
    assert!(!ask(&["logs-*"], "monitor:*").allow);
    assert_eq!(
        sentence(&ask(&["pii-a"], "monitor:cluster")),
        "the policy `own.cedar#2` forbids the agent `my-ai-agent` to monitor `pii-a`"
    );
    let cluster = Targets::Cluster;
    let info = Access {
        operation: "info",
        class: Class::Info,
        action: Action::Info,
        targets: &cluster,
        hidden: false,
        catalog: Catalog::none(),
        may_narrow: false,
    };
    assert!(with_policies("", "read:a", &info).allow);
}

#[test]
fn dashboards_need_their_own_scopes() {
    let types = Targets::Dashboards(vec!["dashboard".to_owned()]);
    let access = |class, action| Access {
        operation: "x",
        class,
        action,
        targets: &types,
        hidden: false,
        catalog: Catalog::none(),
        may_narrow: false,
    };
    let classes = [
        (Class::DashboardsRead, Action::Get),
        (Class::DashboardsWrite, Action::Create),
        (Class::DashboardsManage, Action::Update),
    ];
    for (held, granted) in [
        ("read:dashboards", [true, false, false]),
        ("write:dashboards", [false, true, false]),
        ("manage:dashboards", [false, false, true]),
        ("admin:dashboards", [true, true, true]),
        ("admin:* admin:cluster admin:gateway", [false, false, false]),
    ] {
        for ((class, action), granted) in classes.into_iter().zip(granted) {
            assert_eq!(by_scopes(held, &access(class, action)).allow, granted, "{held} {class:?}");
        }
    }
    let refused = by_scopes("read:dashboards", &access(Class::DashboardsWrite, Action::Create));
    assert_eq!(refused.refusal.unwrap().needed_scope(), Some("write:dashboards"));
    // A class that does not fit what it touches is never granted.
    for class in [Class::Search, Class::ClusterMonitor] {
        assert!(!by_scopes("admin:* admin:cluster admin:dashboards", &access(class, Action::Get)).allow);
    }
    let logs = indices(&["logs-a"]);
    assert!(!by_scopes("admin:dashboards", &Access { class: Class::DashboardsRead, ..search(&logs) }).allow);
}
