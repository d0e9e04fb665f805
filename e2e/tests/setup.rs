//! `oauth4os engine setup` and `engine check` on the live cluster.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use e2e::{Engine, Gateway, OnDrop, Run, Settings, run_to_end};
use serde_json::{Value, json};

const API: &str = "/_plugins/_security/api";

/// One test at a time: each changes the cluster, or minds whether it is changed.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    let _ = Engine::get_alone();
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("shipper", &["write:app-logs-*", "read:metrics-*"])
}

#[test]
fn a_second_setup_has_nothing_to_change() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let before = security_configuration();
    for arguments in [&["setup", "--apply"][..], &["setup", "--apply"], &["setup"]] {
        let run = gateway.engine_command(arguments);
        assert!(run.succeeded, "{run:?}");
        assert_eq!(run.stdout, "nothing to change\n", "{run:?}");
        assert_eq!(security_configuration(), before);
    }
    gateway.with("reader").get("/logs-*/_search").expect(200);
}

#[test]
fn setup_puts_right_what_was_changed_and_touches_nothing_else() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let before = security_configuration();
    let _repair = OnDrop(|| set_up(&gateway));

    // One permission more than there must be, in a role no test's token has.
    let role = format!("{API}/roles/oauth4os_cluster_admin");
    let mut spoilt = Engine::get().admin().get(&role).expect(200).json()["oauth4os_cluster_admin"].clone();
    spoilt
        .as_object_mut()
        .expect("a role")
        .retain(|field, _| !matches!(field.as_str(), "reserved" | "hidden" | "static"));
    spoilt["cluster_permissions"].as_array_mut().expect("permissions").push(json!("cluster:admin/e2e-too-much"));
    Engine::get().admin().put(&role).json(&spoilt).expect(200);

    let checked = gateway.engine_command(&["check"]);
    assert!(!checked.succeeded, "{checked:?}");
    let failures = findings(&checked, "failure");
    assert_eq!(failures.len(), 1, "{checked:?}");
    assert!(failures[0].starts_with("setup: the role `oauth4os_cluster_admin` is not as it should be"), "{failures:?}");

    let shown = gateway.engine_command(&["setup"]);
    assert!(shown.succeeded, "{shown:?}");
    assert!(shown.stdout.starts_with("~ role `oauth4os_cluster_admin`\n"), "{shown:?}");
    assert!(shown.stdout.contains("cluster:admin/e2e-too-much"), "{shown:?}");
    assert!(shown.stdout.ends_with("nothing was changed; `--apply` makes these changes\n"), "{shown:?}");
    assert_ne!(security_configuration(), before, "it was changed nevertheless");

    let applied = gateway.engine_command(&["setup", "--apply"]);
    assert!(applied.succeeded && applied.stdout.ends_with("done\n"), "{applied:?}");
    assert_eq!(security_configuration(), before);
    assert!(gateway.engine_command(&["check"]).succeeded);
}

#[test]
fn removed_is_without_a_trace_and_set_up_is_as_before() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    reader.get("/logs-*/_search").expect(200);
    let before = security_configuration();
    let repair = OnDrop(|| set_up(&gateway));

    let removed = gateway.engine_command(&["setup", "--remove"]);
    assert!(removed.succeeded && removed.stdout.starts_with("- auth domain `oauth4os`\n"), "{removed:?}");
    let without = security_configuration();
    let checked = gateway.engine_command(&["check"]);
    let again = gateway.engine_command(&["setup", "--remove"]);
    // The engine does not know the gateway any more. That is no reason to let anybody in, nor is it the client's fault.
    let answer = reader.get("/logs-*/_search").send();
    drop(repair);

    let is_left =
        |part: &Value, at: &str| part.pointer(at).and_then(Value::as_object).is_some_and(|all| all.keys().any(is_ours));
    for (part, at) in [("roles", ""), ("rolesmapping", ""), ("securityconfig", "/config/dynamic/authc")] {
        assert!(!is_left(&without[part], at), "something is left: {without:?}");
    }
    let mut expected = before.clone();
    for (part, at) in [("roles", ""), ("rolesmapping", ""), ("securityconfig", "/config/dynamic/authc")] {
        let members = expected
            .get_mut(part)
            .and_then(|part| part.pointer_mut(at))
            .and_then(Value::as_object_mut)
            .expect("members");
        members.retain(|name, _| !is_ours(name));
    }
    assert_eq!(without, expected, "something of others is gone or changed");
    assert!(!checked.succeeded, "{checked:?}");
    assert!(
        findings(&checked, "failure").iter().any(|failure| failure.contains("run `oauth4os engine setup --apply`")),
        "{checked:?}"
    );
    assert_eq!(again.stdout, "nothing to change\n", "{again:?}");
    assert!(matches!(answer.status, 502 | 503), "{} {}", answer.status, answer.text());

    assert_eq!(security_configuration(), before);
    reader.get("/logs-*/_search").expect(200);
}

#[test]
fn check_proves_what_it_says_while_the_gateway_runs() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let reader = gateway.with("reader");
    let run = gateway.engine_command(&["check"]);
    assert!(run.succeeded, "{run:?}");
    assert_eq!(findings(&run, "failure"), Vec::<&str>::new());
    assert_eq!(findings(&run, "not checked"), Vec::<&str>::new());
    let proofs = findings(&run, "ok");
    for proof in [
        "token: the auth domain `oauth4os` takes the gateway's token as user `oauth4os:engine-check`",
        &format!("engine: OpenSearch {}", Engine::get().version),
        "forged tokens: 401 for a token for another audience",
        "patterns: a token for `read:` an index searches it",
        "patterns: 403 when it tries to search another index",
        "setup: auth domain, roles and mappings are as `oauth4os engine setup` makes them",
        "role mappings: no role of others is mapped to users or backend roles of the gateway",
        "aliases: no alias leads out of the 3 scopes of 2 configured clients",
    ] {
        assert!(proofs.iter().any(|found| found.starts_with(proof)), "`{proof}` is not among {proofs:#?}");
    }
    no_check_indices();
    assert!(gateway.is_running());
    reader.get("/logs-*/_search").expect(200);
    // The same when it does not run.
    gateway.stop();
    assert!(gateway.engine_command(&["check"]).succeeded);
}

#[test]
fn check_without_an_administrator_says_what_it_did_not_look_at() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let run = engine(&config(&gateway), &["check"], &[]);
    assert!(run.succeeded, "{run:?}");
    let skipped = findings(&run, "not checked");
    assert_eq!(skipped.len(), 1, "{run:?}");
    assert!(skipped[0].contains("role mappings and auth domains"), "{skipped:?}");
    assert!(skipped[0].contains("--admin-cert"), "{skipped:?}");
    let proofs = findings(&run, "ok");
    assert!(
        proofs.iter().any(|proof| proof.starts_with("patterns: 403 when it tries to search another index")),
        "{run:?}"
    );
    assert!(!proofs.iter().any(|proof| proof.starts_with("role mappings")), "{run:?}");
    assert!(proofs.iter().any(|proof| proof.starts_with("aliases: no alias leads out")), "{run:?}");
    no_check_indices();
}

#[test]
fn check_names_a_mapping_that_tokens_get_too() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let admin = Engine::get().admin();
    let remove = || {
        for kind in ["rolesmapping", "roles"] {
            let answer = Engine::get().admin().delete(&format!("{API}/{kind}/e2e_for_everybody")).send();
            assert!(matches!(answer.status, 200 | 404), "{}", answer.text());
        }
    };
    remove();
    let _remove = OnDrop(remove);
    // It permits nothing that a token does not have anyway.
    admin
        .put(&format!("{API}/roles/e2e_for_everybody"))
        .json(&json!({"cluster_permissions": ["cluster:monitor/main"]}))
        .expect(201);

    for (mapping, word) in [
        (json!({"users": ["oauth4os:*"]}), "`users: oauth4os:*`"),
        (json!({"users": ["oauth4os:reader"]}), "`users: oauth4os:reader`"),
        (json!({"backend_roles": ["oauth4os_re*"]}), "`backend_roles: oauth4os_re*`"),
        (json!({"hosts": ["127.0.0.1"]}), "`hosts: 127.0.0.1`"),
    ] {
        let answer = admin.put(&format!("{API}/rolesmapping/e2e_for_everybody")).json(&mapping).send();
        assert!(matches!(answer.status, 200 | 201), "{}", answer.text());
        let run = gateway.engine_command(&["check"]);
        let named = |severity: &str| {
            findings(&run, severity).iter().any(|found| found.contains("`e2e_for_everybody`") && found.contains(word))
        };
        assert!(named("warning"), "{word}: {run:?}");
        // A role the check's own token was given is more than a warning.
        let got_it = findings(&run, "failure")
            .iter()
            .any(|found| found.starts_with("foreign role: ") && found.contains("`e2e_for_everybody`"));
        assert_eq!(run.succeeded, !got_it, "{run:?}");
        assert_eq!(got_it, word != "`users: oauth4os:reader`", "{word}: {run:?}");
    }
    remove();
    let run = gateway.engine_command(&["check"]);
    assert!(run.succeeded && !run.stdout.contains("e2e_for_everybody"), "{run:?}");
}

#[test]
fn print_needs_no_cluster() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let nowhere = another_config(&gateway, "nowhere.yaml", |config| {
        config["upstream"]["engine"]["url"] = json!("https://127.0.0.1:1")
    });
    let printed = engine(&nowhere, &["setup", "--print"], &[]);
    assert!(printed.succeeded, "{printed:?}");
    for word in [
        "oauth4os:",
        "oauth4os_read",
        "${attr.jwt.o4s_read}",
        "-----BEGIN PUBLIC KEY-----",
        e2e::ISSUER,
        "securityadmin.sh",
        "jwt",
    ] {
        assert!(printed.stdout.contains(word), "`{word}` is not in:\n{}", printed.stdout);
    }
    assert!(!printed.stdout.contains("PRIVATE"), "{}", printed.stdout);

    // It is the key the cluster has, and without a state yet the one the gateway will have.
    let key = domain()["http_authenticator"]["config"]["signing_key"].as_str().expect("a key").to_owned();
    let line = key.lines().nth(1).expect("a line of the key");
    assert!(printed.stdout.contains(line), "another key than the cluster's:\n{}", printed.stdout);
    let fresh = another_config(&gateway, "fresh.yaml", |config| config["state"]["directory"] = json!("fresh"));
    let first = engine(&fresh, &["setup", "--print"], &[]);
    assert!(first.succeeded && !first.stdout.contains(line), "{first:?}");
    assert_eq!(engine(&fresh, &["setup", "--print"], &[]).stdout, first.stdout);

    // What needs one says that there is none.
    let (cert, key) = (&Engine::get().admin_cert, &Engine::get().admin_key);
    let admin = [OsStr::new("--admin-cert"), cert.as_os_str(), OsStr::new("--admin-key"), key.as_os_str()];
    let planned = engine_with(&nowhere, &["setup"], &admin, &[]);
    assert!(!planned.succeeded && planned.stderr.contains("127.0.0.1:1"), "{planned:?}");
    a_sentence(&planned);
    let checked = engine_with(&nowhere, &["check"], &admin, &[]);
    assert!(
        !checked.succeeded && findings(&checked, "failure").iter().any(|failure| failure.starts_with("engine: ")),
        "{checked:?}"
    );
}

#[test]
fn without_or_with_a_wrong_credential_it_says_so_and_tells_no_secret() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let config = config(&gateway);
    let before = security_configuration();

    let none = engine(&config, &["setup", "--apply"], &[]);
    assert!(!none.succeeded && none.stderr.contains("--admin-cert") && none.stderr.contains("--print"), "{none:?}");
    let user = ["setup", "--apply", "--admin-user", "admin"];
    let unsaid = engine(&config, &user, &[]);
    assert!(!unsaid.succeeded && unsaid.stderr.contains("OAUTH4OS_ENGINE_PASSWORD"), "{unsaid:?}");
    a_sentence(&unsaid);

    let wrong = "wrong-but-still-a-secret-5f2a";
    let file = gateway.folder().join("password");
    fs::write(&file, format!("{wrong}\n")).expect("write a file");
    let file = file.to_str().expect("a name");
    let encoded = wrong.get(..12).expect("long enough");
    for run in [
        engine(&config, &user, &[("OAUTH4OS_ENGINE_PASSWORD", wrong)]),
        engine(&config, &[&user[..], &["--admin-password-file", file]].concat(), &[]),
        engine(&config, &["check", "--admin-user", "admin"], &[("OAUTH4OS_ENGINE_PASSWORD", wrong)]),
        engine(&config, &["setup", "--admin-user", "nobody-e2e"], &[("OAUTH4OS_ENGINE_PASSWORD", wrong)]),
    ] {
        assert!(!run.succeeded, "{run:?}");
        let output = format!("{}{}", run.stdout, run.stderr);
        assert!(output.contains("401") && output.contains("give the administrator's client certificate"), "{run:?}");
        assert!(!output.contains(encoded) && !output.contains("Basic ") && !output.contains("d3JvbmctYnV0"), "{run:?}");
        assert!(!output.contains("Error {") && !output.contains("panicked"), "{run:?}");
    }

    let missing = engine(&config, &[&user[..], &["--admin-password-file", "/nowhere/password"]].concat(), &[]);
    assert!(!missing.succeeded && missing.stderr.contains("`/nowhere/password`"), "{missing:?}");
    a_sentence(&missing);
    assert_eq!(security_configuration(), before);
}

#[test]
fn a_user_with_the_password_does_as_well_as_the_certificate() {
    let _alone = alone();
    let gateway = Gateway::start(settings());
    let password = engine_password();
    let variables = [("OAUTH4OS_ENGINE_PASSWORD", password.as_str())];
    let checked = engine(&config(&gateway), &["check", "--admin-user", "admin"], &variables);
    assert!(checked.succeeded && findings(&checked, "not checked").is_empty(), "{checked:?}");
    let planned = engine(&config(&gateway), &["setup", "--admin-user", "admin"], &variables);
    assert_eq!(planned.stdout, "nothing to change\n", "{planned:?}");
    for run in [checked, planned] {
        assert!(!run.stdout.contains(&password) && !run.stderr.contains(&password));
    }
}

/// Whether a role, mapping or auth domain of this name is this gateway's. One with another driver may stand beside it.
fn is_ours(name: impl AsRef<str>) -> bool {
    let name = name.as_ref();
    name.starts_with("oauth4os") && name != "oauth4os-proxy" && !name.starts_with("oauth4os_proxy_")
}

fn set_up(gateway: &Gateway) {
    let run = gateway.engine_command(&["setup", "--apply"]);
    assert!(run.succeeded, "{run:?}");
}

/// What the check found of this severity.
fn findings<'r>(run: &'r Run, severity: &str) -> Vec<&'r str> {
    run.stdout.lines().filter_map(|line| Some(line.strip_prefix(severity)?.trim_start())).collect()
}

/// The last line on standard error is a sentence, and there is nothing else.
fn a_sentence(run: &Run) {
    let text = run.stderr.strip_prefix("oauth4os: ").unwrap_or_else(|| panic!("{run:?}"));
    assert!(
        text.lines().count() == 1 && text.contains(' ') && !text.contains("Error") && !text.trim_end().ends_with('.'),
        "{run:?}"
    );
}

fn config(gateway: &Gateway) -> PathBuf {
    gateway.folder().join("oauth4os.yaml")
}

/// The gateway's configuration with a change, in a file beside it.
fn another_config(gateway: &Gateway, name: &str, change: impl Fn(&mut Value)) -> PathBuf {
    let mut content: Value =
        serde_json::from_str(&fs::read_to_string(config(gateway)).expect("read a file")).expect("JSON");
    change(&mut content);
    let path = gateway.folder().join(name);
    fs::write(&path, content.to_string()).expect("write a file");
    path
}

fn engine(config: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Run {
    engine_with(config, arguments, &[], variables)
}

fn engine_with(config: &Path, arguments: &[&str], more: &[&OsStr], variables: &[(&str, &str)]) -> Run {
    let mut all = vec![OsStr::new("engine"), OsStr::new("--config"), config.as_os_str()];
    all.extend(arguments.iter().map(OsStr::new));
    all.extend(more);
    run_to_end(&all, variables)
}

/// Everything `engine setup` could touch.
fn security_configuration() -> BTreeMap<&'static str, Value> {
    let parts = ["roles", "rolesmapping", "securityconfig", "internalusers", "actiongroups"];
    parts
        .into_iter()
        .map(|part| (part, Engine::get().admin().get(&format!("{API}/{part}")).expect(200).json()))
        .collect()
}

fn domain() -> Value {
    security_configuration()["securityconfig"]["config"]["dynamic"]["authc"]["oauth4os"].clone()
}

fn no_check_indices() {
    let left = Engine::get().admin().get("/_cat/indices/oauth4os-check-*?h=index").expect(200);
    assert_eq!(left.text(), "", "the check left indices");
}

/// The password the harness itself shows to the engine.
fn engine_password() -> String {
    let request = String::from_utf8(Engine::get().admin().get("/").bytes()).expect("text");
    let encoded = request.split("Basic ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a credential");
    let text = String::from_utf8(e2e::base64url_decode(
        encoded.trim_end_matches('=').replace('+', "-").replace('/', "_").as_str(),
    ))
    .expect("text");
    text.split_once(':').expect("user and password").1.to_owned()
}
