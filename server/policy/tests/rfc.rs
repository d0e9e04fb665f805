//! The three policies printed in the RFC load unchanged and decide as described there.

#![expect(clippy::unwrap_used, reason = "a test ends where what it expects is missing")]

use oauth4os_classify::{Action, Class, Targets};
use oauth4os_policy::{
    Access, Catalog, Clusters, Decision, Determining, Policies, PolicyFile, Principal, PrincipalKind, ScopeSet, decide,
};

const RFC: &str = include_str!("rfc.cedar");

fn ask(kind: PrincipalKind, id: &str, groups: &[&str], class: Class, action: Action, indices: &[&str]) -> Decision {
    let targets = Targets::Indices(indices.iter().map(ToString::to_string).collect());
    ask_about(kind, id, groups, class, action, &targets)
}

fn ask_about(
    kind: PrincipalKind,
    id: &str,
    groups: &[&str],
    class: Class,
    action: Action,
    targets: &Targets,
) -> Decision {
    let policies = Policies::load(&[PolicyFile { name: "rfc.cedar", text: RFC }]).unwrap();
    let principal = Principal { id: id.to_owned(), kind, groups: groups.iter().map(ToString::to_string).collect() };
    let scopes = ScopeSet::parse("admin:* admin:cluster admin:dashboards", &Clusters::default()).unwrap();
    let access =
        Access { operation: "op", class, action, targets, hidden: false, catalog: Catalog::none(), may_narrow: false };
    decide(&principal, &scopes, &policies.for_principal(&principal), &access)
}

fn agent_searches(indices: &[&str]) -> Decision {
    ask(PrincipalKind::Agent, "my-ai-agent", &[], Class::Search, Action::Search, indices)
}

fn why(decision: Decision) -> String {
    decision.refusal.unwrap().to_string()
}

#[test]
fn the_agent_reads_logs_and_nothing_else() {
    let allowed = agent_searches(&["logs-app-2026.11.22", "logs-a*", "logs-*"]);
    assert!(allowed.allow);
    assert!(allowed.determining.contains(&Determining::Policy("rfc.cedar#1".to_owned())));
    assert!(ask(PrincipalKind::Agent, "my-ai-agent", &[], Class::Get, Action::Get, &["logs-a"]).allow);
    for outside in [&["metrics-1"][..], &["l*"], &["logs-a", "metrics-1"]] {
        assert!(why(agent_searches(outside)).starts_with("no policy permits the agent `my-ai-agent` to search "));
    }
    let delete = ask(PrincipalKind::Agent, "my-ai-agent", &[], Class::Manage, Action::Delete, &["logs-a"]);
    assert_eq!(why(delete), "no policy permits the agent `my-ai-agent` to delete `logs-a`");
    assert!(!ask(PrincipalKind::Agent, "another", &[], Class::Search, Action::Search, &["logs-a"]).allow);
    assert!(!ask(PrincipalKind::Client, "my-ai-agent", &[], Class::Search, Action::Search, &["logs-a"]).allow);
}

#[test]
fn no_agent_touches_pii() {
    for touched in [&["pii-customers"][..], &["pii-eu-*"], &["p*"], &["*"], &[], &["logs-a", "*-eu"]] {
        assert!(
            why(agent_searches(touched))
                .starts_with("the policy `rfc.cedar#3` forbids the agent `my-ai-agent` to search "),
            "{touched:?}"
        );
    }
    let labelled = ask(PrincipalKind::User, "u", &["agents"], Class::Search, Action::Search, &["pii-customers"]);
    assert_eq!(why(labelled), "the policy `rfc.cedar#3` forbids the user `u` to search `pii-customers`");
}

#[test]
fn ci_has_dashboards_and_no_index() {
    for types in [&["visualization"][..], &["dashboard", "index-pattern"], &["*"]] {
        let types = Targets::Dashboards(types.iter().map(ToString::to_string).collect());
        let ci =
            |class, action| ask_about(PrincipalKind::Client, "ci", &["cicd-service-accounts"], class, action, &types);
        for action in [Action::Create, Action::Update] {
            let allowed = ci(Class::DashboardsWrite, action);
            assert!(allowed.allow, "{types:?}");
            assert!(allowed.determining.contains(&Determining::Policy("rfc.cedar#2".to_owned())));
        }
        assert!(
            why(ci(Class::DashboardsWrite, Action::Delete)).starts_with("no policy permits the client `ci` to delete")
        );
        assert!(why(ci(Class::DashboardsRead, Action::Get)).starts_with("no policy permits the client `ci` to get"));
    }
    for action in [Action::Create, Action::Update, Action::Delete] {
        let decision = ask(PrincipalKind::Client, "ci", &["cicd-service-accounts"], Class::Manage, action, &["logs-a"]);
        assert!(why(decision).starts_with("no policy permits the client `ci` to "));
    }
}
