//! The RFC's Cedar policies, from a file, in front of the real engine.

use std::ffi::OsStr;
use std::fs;

use e2e::{Answer, ClientSettings, Engine, Gateway, Run, Settings, run_to_end};
use serde_json::{Value, json};

/// As printed in the RFC.
const RFC: &str = include_str!("../../server/policy/tests/rfc.cedar");

fn policies() -> String {
    format!("{RFC}\npermit(principal is Client, action, resource);\n")
}

fn settings() -> Settings {
    let agent = |id: &str, scopes: &[&str]| {
        ClientSettings::new(id, scopes).with("kind", json!("agent")).with("groups", json!(["agents"]))
    };
    Settings::new()
        .policies(&policies())
        .client_with(agent("my-ai-agent", &["read:logs-*", "read:metrics-*", "read:pii-*", "monitor:cluster"]))
        .client_with(agent("my-broad-agent", &["read:*"]))
        .client_with(ClientSettings::new("kind-alone", &["read:*"]).with("kind", json!("agent")))
        .client("a-machine", &["read:*", "write:e2e-cedar-*", "manage:e2e-cedar-*"])
}

#[test]
fn the_agent_searches_logs() {
    let gateway = Gateway::start(settings());
    let agent = gateway.with("my-ai-agent");

    let answer = agent.get("/logs-app-*/_search?size=1").expect(200);
    let hit = answer.json()["hits"]["hits"][0].clone();
    let index = hit["_index"].as_str().expect("a hit");
    assert!(index.starts_with("logs-app-"), "{hit}");
    let event = gateway.audit_of(answer.request_id());
    assert_eq!(event["decision"], "allow");
    assert_eq!(event["determining"], json!(["read:logs-*", "policies.cedar#1"]));

    let document = agent.get(&format!("/{index}/_doc/{}", hit["_id"].as_str().expect("an id"))).expect(200);
    assert_eq!(document.json()["_source"], hit["_source"]);
    // A list is permitted when each of its members is.
    agent.get("/logs-app-*,logs-web-*/_search").expect(200);
    agent
        .post("/_msearch")
        .lines(&[json!({"index": "logs-app-*"}), json!({}), json!({"index": "logs-web-*"}), json!({})])
        .expect(200);
}

#[test]
fn what_no_policy_permits_is_refused() {
    let gateway = Gateway::start(settings());
    let agent = gateway.with("my-ai-agent");

    let refused = refusal(&gateway, agent.get("/metrics-cpu/_search").send());
    assert_eq!(refused.reason, "no policy permits the agent `my-ai-agent` to search `metrics-cpu`");
    assert_eq!(refused.event["operation"], "search");
    // The policy permits two actions, and the mapping is neither; the cluster is no index at all.
    let refused = refusal(&gateway, agent.get("/logs-app-*/_mapping").send());
    assert!(refused.reason.starts_with("no policy permits the agent `my-ai-agent`"), "{}", refused.reason);
    refusal(&gateway, agent.get("/_cluster/health").send());
    // One member of a list is enough.
    refusal(&gateway, agent.get("/logs-*,metrics-cpu/_search").send());
    refusal(
        &gateway,
        agent
            .post("/_msearch")
            .lines(&[json!({"index": "logs-*"}), json!({}), json!({"index": "metrics-cpu"}), json!({})])
            .send(),
    );
    let docs = json!({"docs": [{"_index": "metrics-cpu", "_id": "000001"}]});
    refusal(&gateway, agent.post("/_mget").json(&docs).send());
    // A scope the policies are not even asked about.
    let refused = refusal(&gateway, agent.get("/app-logs-2026/_search").send());
    assert!(refused.reason.contains("needs the scope `search:app-logs-2026`"), "{}", refused.reason);
}

#[test]
fn a_forbid_wins_over_the_scope_and_is_named() {
    let gateway = Gateway::start(settings());
    for (client, targets) in [
        (
            "my-ai-agent",
            &["/pii-customers/_search", "/pii-*/_count", "/logs-*,pii-customers/_search", "/pii-customers/_doc/000001"]
                [..],
        ),
        ("my-broad-agent", &["/pii-customers/_search", "/pii-*/_search", "/pii-customers/_mapping"]),
    ] {
        let agent = gateway.with(client);
        for target in targets {
            let refused = refusal(&gateway, agent.get(target).send());
            assert!(
                refused.reason.starts_with(&format!("the policy `policies.cedar#3` forbids the agent `{client}` to ")),
                "{target}: {}",
                refused.reason
            );
            assert_eq!(refused.event["determining"], json!(["policies.cedar#3"]), "{target}");
            assert_eq!(refused.event["client"], client);
        }
    }
}

#[test]
fn what_overlaps_a_forbid_is_refused_whole() {
    // These agents may do everything but what is forbidden, so that nothing but the overlap can refuse.
    let gateway = Gateway::start(settings().policies(&format!("{RFC}\npermit(principal, action, resource);\n")));
    for client in ["my-broad-agent", "kind-alone"] {
        let agent = gateway.with(client);
        for target in [
            "/*/_search",
            "/p*/_search",
            "/_all/_search",
            "/_search",
            "/*-customers/_search",
            "/*,-logs-*/_count",
            "/m*/_search",
        ] {
            let refused = refusal(&gateway, agent.get(target).send());
            assert!(
                refused.reason.starts_with("the policy `policies.cedar#3` forbids"),
                "{client} {target}: {}",
                refused.reason
            );
            assert_eq!(refused.event["determining"], json!(["policies.cedar#3"]), "{client} {target}");
        }
        for target in ["/logs-*/_search", "/me*/_search", "/*,-pii-*,-.*/_search", "/*,-p*,-.*/_count"] {
            let answer = agent.get(target).expect(200);
            assert!(!answer.text().contains("customer"), "{client} {target}");
        }
    }
}

#[test]
fn a_body_does_not_lead_to_what_is_forbidden() {
    let gateway = Gateway::start(settings().policies(&format!("{RFC}\npermit(principal, action, resource);\n")));
    let agent = gateway.with("my-broad-agent");
    let lookup =
        json!({"query": {"terms": {"customer_id": {"index": "pii-customers", "id": "000001", "path": "customer_id"}}}});
    refusal(&gateway, agent.post("/logs-*/_search").json(&lookup).send());
    refusal(&gateway, agent.post("/_msearch").lines(&[json!({"index": "logs-*"}), lookup]).send());
    let docs = json!({"docs": [{"_index": "pii-customers", "_id": "000001"}]});
    refusal(&gateway, agent.post("/logs-web/_mget").json(&docs).send());
}

/// With the gateway's own decision switched off: what is forbidden is cut out of what the engine is told.
#[test]
fn the_engine_enforces_the_forbid_too() {
    let gateway = Gateway::start(settings().engine_decides());
    let agent = gateway.with("my-ai-agent");
    for target in [
        "/pii-customers/_search",
        "/pii-*/_search",
        "/*/_search",
        "/logs-*,pii-customers/_count",
        "/pii-customers/_doc/000001",
        "/pii-customers/_mapping",
    ] {
        let answer = agent.get(target).send();
        assert_eq!(answer.status, 403, "{target}: {}", start(&answer));
        assert!(answer.text().contains("no permissions for [indices:"), "{target}: {}", start(&answer));
    }
    for target in ["/logs-*/_search", "/metrics-cpu/_search"] {
        agent.get(target).expect(200);
    }
    // It is the forbid that does it, not the scope.
    let without =
        Gateway::start(Settings::new().client("my-ai-agent", &["read:logs-*", "read:pii-*"]).engine_decides());
    without.with("my-ai-agent").get("/pii-customers/_search").expect(200);
}

/// To the engine, who may read an alias may read its members.
#[test]
fn an_alias_is_no_way_around_a_forbid() {
    let members = Engine::get().admin().get("/_alias/mixed").expect(200).json();
    assert!(
        members.as_object().is_some_and(|members| members.contains_key("pii-customers")),
        "the data have changed: {members}"
    );
    let all = format!("{RFC}\npermit(principal, action, resource);\n");
    let gateway = Gateway::start(settings().policies(&all));
    let agent = gateway.with("my-broad-agent");
    for target in ["/mixed/_search", "/m*,-.*/_search", "/logs-*,mixed/_search"] {
        let reason = refusal(&gateway, agent.get(target).send()).reason;
        assert!(reason.contains("`pii-customers (mixed)`"), "{target}: {reason}");
    }
    agent.get("/logs-*/_search").expect(200);
    agent.get("/logs-inside/_search").expect(200);

    let engine = Gateway::start(settings().policies(&all).engine_decides());
    for target in ["/mixed/_search", "/pii-customers/_search"] {
        engine.with("my-broad-agent").get(target).expect(403);
    }
    engine.with("my-broad-agent").get("/logs-*/_search").expect(200);

    let run = gateway.engine_command(&["check"]);
    assert!(run.succeeded, "{run:?}");
    let warnings = |client: &str| {
        let is_named = |line: &&str| {
            line.starts_with("warning") && ["`pii-customers`", "`mixed`", client].iter().all(|word| line.contains(word))
        };
        run.stdout.lines().filter(is_named).count()
    };
    assert_eq!((warnings("`my-broad-agent`"), warnings("`kind-alone`"), warnings("`a-machine`")), (1, 1, 0), "{run:?}");
}

#[test]
fn a_machine_is_unaffected() {
    let gateway = Gateway::start(settings());
    let machine = gateway.with("a-machine");
    for target in
        ["/logs-*/_search", "/metrics-cpu/_search", "/pii-customers/_search", "/*,-.*/_search", "/logs-*/_mapping"]
    {
        machine.get(target).expect(200);
    }
    let answer = machine.get("/pii-customers/_search").expect(200);
    assert_eq!(gateway.audit_of(answer.request_id())["determining"], json!(["read:*", "policies.cedar#4"]));
    // Policies take away, they never add.
    let refused = refusal(&gateway, machine.put("/pii-customers/_doc/e2e-cedar").json(&json!({})).send());
    assert!(refused.reason.contains("needs the scope `write:pii-customers`"), "{}", refused.reason);
}

#[test]
fn an_invalid_policy_file_is_refused_with_file_and_reason() {
    let gateway = Gateway::start(settings());
    let config = gateway.folder().join("oauth4os.yaml");
    let check = || run_to_end(&[OsStr::new("check-config"), OsStr::new("--config"), config.as_os_str()], &[]);
    let valid = check();
    assert!(valid.succeeded && valid.stdout.contains("4 Cedar policies"), "{valid:?}");
    gateway.stop();

    for (text, reason) in [
        ("permit(principal, action, resource) when { true ;", "policies.cedar"),
        ("permit(principal == Robot::\"r2\", action, resource);", "Robot"),
        ("permit(principal, action == Action::\"serach\", resource);", "serach"),
        ("permit(principal, action, resource) when { principal.nickname == \"x\" };", "nickname"),
    ] {
        fs::write(gateway.folder().join("policies.cedar"), format!("{RFC}\n{text}\n")).expect("write the policies");
        let checked = check();
        let started = run_to_end(&[OsStr::new("serve"), OsStr::new("--config"), config.as_os_str()], &[]);
        for (command, run) in [("check-config", &checked), ("serve", &started)] {
            assert!(!run.succeeded, "`{command}` takes `{text}`: {run:?}");
            assert!(says(run, "policies.cedar") && says(run, reason), "`{command}` on `{text}`: {run:?}");
        }
    }

    fs::remove_file(gateway.folder().join("policies.cedar")).expect("remove the policies");
    let checked = check();
    assert!(!checked.succeeded && says(&checked, "policies.cedar"), "{checked:?}");

    fs::write(gateway.folder().join("policies.cedar"), policies()).expect("write the policies");
    gateway.start_again();
    gateway.with("my-ai-agent").get("/logs-*/_search").expect(200);
}

/// A file without a policy: nothing is permitted, which is what is meant by an empty list of what is.
#[test]
fn without_a_permit_nothing_is_permitted() {
    let gateway = Gateway::start(
        settings().policies("// Nobody may do anything.\nforbid(principal in Group::\"nobody\", action, resource);\n"),
    );
    for client in ["my-ai-agent", "a-machine"] {
        let client = gateway.with(client);
        let refused = refusal(&gateway, client.get("/logs-*/_search").send());
        assert!(refused.reason.starts_with("no policy permits the "), "{}", refused.reason);
    }
}

struct Refused {
    reason: String,
    event: Value,
}

/// A 403 in the engine's form, with the reason that is recorded too.
fn refusal(gateway: &Gateway, answer: Answer) -> Refused {
    assert_eq!(answer.status, 403, "{}", start(&answer));
    let body = answer.json();
    assert_eq!(body["error"]["type"], "security_exception");
    let reason = body["error"]["reason"].as_str().expect("a reason").to_owned();
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["decision"], &event["reason"], &event["status"]), (&json!("deny"), &json!(reason), &json!(403)));
    Refused { reason, event }
}

fn says(run: &Run, what: &str) -> bool {
    run.stderr.contains(what)
}

fn start(answer: &Answer) -> String {
    answer.text().chars().take(600).collect()
}
