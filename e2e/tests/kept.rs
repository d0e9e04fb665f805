//! What the gateway keeps, on disk and in memory: for its owner only, and no more with every stranger that comes by.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use e2e::{Gateway, Settings, Upstream};
use serde_json::json;

fn settings() -> Settings {
    Settings::new().client("reader", &["read:logs-*"]).client("writer", &["write:app-logs-*"])
}

#[test]
fn only_the_owner_can_read_what_is_kept() {
    let gateway = Gateway::start(settings());
    gateway.with("reader").get("/").expect(200);
    let folder = gateway.folder();
    let mut files = vec![folder.join("audit.jsonl")];
    files
        .extend(std::fs::read_dir(folder.join("state")).expect("the state").map(|entry| entry.expect("a file").path()));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let mode = std::fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", file.display());
    }
    assert_eq!(std::fs::metadata(folder.join("state")).expect("the state").permissions().mode() & 0o077, 0);
}

#[test]
fn the_store_holds_no_secret_in_the_clear() {
    let gateway = Gateway::start(settings());
    let token = gateway.token("reader");
    gateway.http().with_token(&token).get("/").expect(200);
    let state = gateway.folder().join("state");
    let first_admin = std::fs::read_to_string(state.join("first-admin.json")).expect("the first administrator");
    let first_admin: serde_json::Value = serde_json::from_str(&first_admin).expect("JSON");
    let master = std::fs::read_to_string(state.join("master.key")).expect("the master key");
    let forge = gateway.forge();
    let private = forge.access().to_pkcs8().expect("a key");
    let secrets: [&[u8]; 6] = [
        token.as_bytes(),
        token.rsplit('.').next().expect("a signature").as_bytes(),
        gateway.secret("reader").as_bytes(),
        first_admin["client_secret"].as_str().expect("a secret").as_bytes(),
        master.trim().as_bytes(),
        // The part of an EC key in PKCS#8 that is the number itself.
        &private[36..68],
    ];
    gateway.stop();
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(&state).expect("the state") {
        let path = entry.expect("a file").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("oauth4os.db")) {
            bytes.extend(std::fs::read(path).expect("a file"));
        }
    }
    let holds = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
    assert!(holds(b"read:logs-*"), "the search finds what is there");
    for secret in secrets {
        assert!(!holds(secret), "the store holds `{}`", String::from_utf8_lossy(secret));
    }
}

#[test]
fn metrics_move_and_their_labels_do_not_grow() {
    let gateway = Gateway::start(settings());
    let names = || -> BTreeSet<String> {
        let text = gateway.monitor("/metrics").expect_ok().text();
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let before = names();
    let reader = gateway.with("reader");
    let value = |name: &str| gateway.metric(&format!("oauth4os_{name}"));
    let outcomes = ["allowed", "denied", "unauthenticated", "malformed"];
    let count = |outcome: &str| value(&format!("requests_total{{outcome=\"{outcome}\"}}"));
    let start = outcomes.map(count);
    for number in 0..30 {
        reader.get(&format!("/logs-app-{number}*/_search")).expect(200);
        reader.get(&format!("/other-{number}/_search")).expect(403);
        gateway
            .http()
            .get(&format!("/logs-{number}/_search"))
            .header("Authorization", &format!("Bearer wrong-{number}"))
            .expect(401);
        let last = reader.get(&format!("/logs-{number}/_search?index=a&index=b")).expect(400);
        // A request is counted when it is over, a moment after the answer; its line comes last.
        let _ = gateway.audit_of(last.request_id());
    }
    for (outcome, start) in outcomes.iter().zip(start) {
        assert_eq!(count(outcome) - start, 30.0, "{outcome}");
        assert!(value(&format!("request_duration_seconds_count{{outcome=\"{outcome}\"}}")) >= 30.0);
    }
    assert!(
        value("tokens_issued_total") >= 1.0
            && value("token_cache_hits_total") >= 80.0
            && value("token_cache_misses_total") >= 1.0
    );
    assert!(value("upstream_connections_total") >= 1.0 && value("connections") >= 1.0);
    assert_eq!(value("audit_dropped"), 0.0);
    let _ = gateway.ask_for_token("reader", &[("scope", "read:pii-*")]);
    assert_eq!(value("tokens_refused_total"), 1.0);
    let after = names();
    assert_eq!(after, before, "new series: {:?}", after.difference(&before).collect::<Vec<_>>());
    for name in after {
        assert!(!["reader", "logs-", "127.0.0.1"].iter().any(|word| name.contains(word)), "{name}");
    }
}

#[test]
fn what_is_different_every_time_leaves_nothing_behind() {
    let gateway = Gateway::start(
        Settings::new()
            .client("reader", &["read:logs-*"])
            .limit("unauthenticated", json!({"requests_per_second": 1_000_000, "burst": 1_000_000}))
            .upstream(&Upstream::obliging().url())
            .log_level("error"),
    );
    let reader = gateway.with("reader");
    let guess = |number: usize| {
        let guesser = gateway.http().with_basic(&format!("client-{number}"), "x");
        guesser.post("/oauth/token").form(&[("grant_type", "client_credentials")]).expect(401);
    };
    let round = |from: usize| {
        for number in from..from + 2_500 {
            reader.get(&format!("/other-{number}/_search?q={number}")).expect(403);
            let token = format!("Bearer eyJ.wrong.{number}");
            gateway.http().get("/logs-a/_search").header("Authorization", &token).expect(401);
            guess(number);
        }
        gateway.resident_kib().0
    };
    // What is kept fills up to its bounds first: the wrong secrets that are counted are the most.
    (100_000..117_000).for_each(guess);
    // What a process holds goes up and down by itself before it comes to rest. What leaves something behind every time
    // never does: with fifty bytes a request it grows by more than this in three rounds.
    let mut levels = Vec::new();
    let came_to_rest = (0..16).any(|number| {
        levels.push(round(number * 2_500));
        matches!(levels.as_slice(), [.., earlier, _, _, now] if *now < earlier + 1_024)
    });
    assert!(came_to_rest, "KiB after each round: {levels:?}");
}
