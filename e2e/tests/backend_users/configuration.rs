//! What the configuration may say of users of the cluster, and what `engine setup` and `engine check` say to it.

use e2e::{ClientSettings, Engine, Gateway, OnDrop, Settings, Upstream};
use serde_json::{Value, json};

use super::{API, MASKED, WIDE, WIDE_PASSWORD, alone, client, cluster, settings};

#[test]
fn setup_has_nothing_to_do_and_check_logs_in_as_everybody() {
    let _alone = alone();
    let _cluster = cluster();
    // The environment of this process is not the gateway's.
    let users = json!({MASKED: {"file": "masked.password"}, WIDE: {"file": "wide.password"}});
    let gateway = Gateway::start(
        settings()
            .engine_option("basic", json!({"users": users, "catalog_user": WIDE}))
            .file("wide.password", WIDE_PASSWORD)
            .client_with(client("reader", WIDE, &["read:e2e-bu-a"])),
    );
    for action in ["--print", "--apply", "--remove"] {
        let run = gateway.engine_command(&["setup", action]);
        assert!(run.succeeded && run.stdout.contains("nothing is to be set up"), "{run:?}");
    }
    let admin = "admin.password";
    gateway.write_file(admin, "wrong");
    let with = |users: Value| {
        gateway.change_config(|config| config["upstream"]["engine"]["basic"]["users"] = users);
        gateway.engine_command(&["check"])
    };
    let run = with(users);
    assert!(run.succeeded, "{run:?}");
    for line in [
        "the user `e2e-bu-masked` is taken",
        "the user `e2e-bu-wide` is taken",
        "no alias leads out",
        "0 failures, 0 warnings",
    ] {
        assert!(run.stdout.contains(line), "{line}: {run:?}");
    }
    let run = with(json!({"nobody": {"file": admin}, WIDE: {"file": "wide.password"}}));
    assert!(!run.succeeded && run.stdout.contains("does not take the user `nobody` (status 401"), "{run:?}");
    // Somebody who may do everything.
    let role = json!({"opendistro_security_roles": ["all_access"], "password": "Powerful-3x8-aQzz-1"});
    let user = format!("{API}/internalusers/e2e-bu-powerful");
    let _gone = OnDrop(|| drop(Engine::get().admin().delete(&user).send()));
    Engine::get().admin().put(&user).json(&role).expect(201);
    gateway.write_file(admin, "Powerful-3x8-aQzz-1");
    let run = with(json!({"e2e-bu-powerful": {"file": admin}, WIDE: {"file": "wide.password"}}));
    assert!(run.stdout.contains("the user `e2e-bu-powerful` has `all_access`"), "{run:?}");
    let shown = format!("{}{}", run.stdout, run.stderr);
    assert!(!shown.contains("Powerful-") && !shown.contains(WIDE_PASSWORD), "{shown}");
}

#[test]
fn several_clusters_each_with_users_of_their_own() {
    let (eu, us) = (Upstream::obliging(), Upstream::obliging());
    let gateway = Gateway::start(
        Settings::new()
            .cluster_at(json!({"name": "eu", "path_prefix": "/eu"}), &eu.url())
            .cluster_at(json!({"name": "us"}), &us.url())
            .engine_option("driver", json!("basic"))
            .engine_option("basic", json!({"users": {"a": {"file": "a"}, "b": {"file": "b"}}}))
            .file("a", "pa")
            .file("b", "pb")
            .client_with(
                ClientSettings::new("both", &["read:eu/logs-*", "read:us/logs-*"])
                    .with("backend_user", json!({"eu": "a", "us": "b"})),
            )
            .client_with(client("same", "b", &["read:eu/logs-*", "read:us/logs-*"])),
    );
    for (name, of_eu, of_us) in
        [("both", "Basic YTpwYQ==", "Basic YjpwYg=="), ("same", "Basic YjpwYg==", "Basic YjpwYg==")]
    {
        let client = gateway.with(name);
        client.get(&format!("/eu/logs-{name}/_search")).expect(200);
        client.get(&format!("/logs-{name}/_search")).expect(200);
        let target = format!("/logs-{name}/_search");
        assert_eq!(eu.the_request_for(&target).header("authorization"), [of_eu]);
        assert_eq!(us.the_request_for(&target).header("authorization"), [of_us]);
    }
    for (user, expected) in [
        (json!({"eu": "a"}), "can reach a cluster where requests go as users of its own, and has none"),
        (json!({"eu": "a", "us": "c"}), "`c` is none of `upstream.engine.basic.users`: `a`, `b`"),
        (json!({"eu": "a", "us": "b", "asia": "b"}), "`asia` is no cluster with `driver: basic` or `api_key`"),
    ] {
        gateway.change_config(|config| config["clients"][0]["backend_user"] = user);
        let run = gateway.check_config();
        assert!(!run.succeeded && run.stderr.contains(expected), "{expected}: {run:?}");
    }
}

#[test]
fn what_this_driver_cannot_hold_to_is_refused_at_the_start() {
    let upstream = Upstream::obliging();
    let gateway = Gateway::start(settings().upstream(&upstream.url()).file("control", "a\u{7}b").client_with(client(
        "reader",
        WIDE,
        &["read:logs-*"],
    )));
    let masked = json!({"file": "masked.password"});
    let rows = json!([{"scope": "read:orders", "rows": {"term": {"a": 1}}}]);
    let provider = |backend_users: Value, given: Value| {
        json!({
            "name": "p", "issuer": "https://p.example.com", "audience": "a", "claims": {"roles": "roles"},
            "scope_mapping": {"roles": {"x": given}}, "backend_users": backend_users,
        })
    };
    let read = json!(["read:logs-*"]);
    let cases: Vec<(&str, Value, &str)> = vec![
        ("engine.basic", Value::Null, "name 1 to 256 users"),
        ("engine.basic", json!({"users": {}}), "name 1 to 256 users"),
        ("engine.basic", json!({"users": {"a": "password"}}), "a secret is not written into the configuration"),
        ("engine.basic", json!({"users": {"a:b": masked}}), "no `:` and no control character"),
        ("engine.basic", json!({"users": {"": masked}}), "a name has 1 to 256 bytes"),
        ("engine.basic", json!({"users": {"a\nb": masked}}), "no `:` and no control character"),
        ("engine.basic", json!({"users": {WIDE: {"file": "control"}}}), "holds a control character"),
        ("engine.basic", json!({"users": {WIDE: {"file": "nowhere"}}}), "cannot read"),
        ("engine.basic", json!({"users": {WIDE: masked}, "catalog_user": "x"}), "`x` is none of `users`"),
        ("engine.basic", json!({"users": {WIDE: masked}}), "or say `strict_aliases: off`"),
        (
            "engine.basic",
            json!({"users": {"other": masked}, "catalog_user": "other"}),
            "is none of `upstream.engine.basic.users`: `other`",
        ),
        ("engine.driver", json!("jwt"), "is for `driver: basic`"),
        ("engine.partial_access", json!("narrow"), "needs an engine that is told the scopes"),
        ("dashboards", json!({"url": "https://localhost:5601", "hosts": ["d.example.com"]}), "needs `driver: jwt`"),
        ("client.backend_user", Value::Null, "and has none; name one of `upstream.engine.basic.users`"),
        ("client.grants", rows.clone(), "rows and fields are enforced by an engine that is told of them"),
        ("client.identity", json!("own"), "none is by its driver; leave them out"),
        ("provider", provider(json!([]), read.clone()), "and has none; name one of `upstream.engine.basic.users`"),
        ("provider", provider(json!([{"user": "x"}]), read.clone()), "`x` is none of"),
        (
            "provider",
            provider(json!([{"user": WIDE}]), rows),
            "rows and fields are enforced by an engine that is told of them",
        ),
        ("provider", provider(json!([{"user": WIDE}, {"role": "x", "user": MASKED}]), read.clone()), "comes last"),
        (
            "provider",
            provider(json!([{"role": "x", "scope": "y", "user": MASKED}]), read.clone()),
            "give one of `role`, `group` and `scope`",
        ),
        ("provider", provider(json!([{"group": "x", "user": MASKED}]), read.clone()), "`claims.groups` does not say"),
        ("provider", provider(json!([{"role": "", "user": MASKED}]), read), "names nothing"),
    ];
    for (key, value, expected) in cases {
        gateway.change_config(|config| {
            config["upstream"] = json!({"engine": {
                "url": upstream.url(), "driver": "basic", "strict_aliases": "enforce",
                "basic": {"users": {MASKED: masked, WIDE: masked}, "catalog_user": WIDE},
            }});
            config["providers"] = json!([]);
            let fields = config["clients"][0].as_object_mut().expect("a client");
            fields.retain(|name, _| !matches!(name.as_str(), "grants" | "identity"));
            fields.insert("backend_user".to_owned(), json!(WIDE));
            match key.split_once('.') {
                Some(("engine", name)) => config["upstream"]["engine"][name] = value.clone(),
                Some((_, name)) => config["clients"][0][name] = value.clone(),
                None if key == "provider" => config["providers"] = json!([value]),
                None => config["upstream"][key] = value.clone(),
            }
        });
        let run = gateway.check_config();
        assert!(!run.succeeded && run.stderr.contains(expected), "{key}: {value}: {run:?}");
    }
}
