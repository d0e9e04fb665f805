//! Namespaces: what holds for several clients together, besides what holds for each, and in all that are around.

use std::time::Instant;

use e2e::{Answer, ClientSettings, Gateway, Settings, Upstream};
use serde_json::{Value, json};

const SEARCH: &str = "/logs-a/_search";

fn client(id: &str, namespace: &str) -> ClientSettings {
    ClientSettings::new(id, &["read:logs-*"]).with("basic", json!(true)).with("namespace", json!(namespace))
}

fn start(namespaces: Value, more: impl FnOnce(Settings) -> Settings) -> Gateway {
    let settings = Settings::new()
        .client_with(client("a1", "acme"))
        .client_with(client("a2", "acme"))
        .client_with(client("b1", "other"))
        .client("free", &["read:logs-*"])
        .top("namespaces", namespaces)
        .upstream(&Upstream::obliging().url());
    Gateway::start(more(settings))
}

fn rate(per_second: u32, burst: u32) -> Value {
    json!({"requests_per_second": per_second, "burst": burst})
}

fn search(gateway: &Gateway, client: &str) -> Answer {
    gateway.http().with_basic(client, gateway.secret(client)).get(SEARCH).send()
}

#[test]
fn the_clients_of_a_namespace_share_its_rate_and_that_of_those_around() {
    let namespaces = json!([
        {"name": "customers", "rate_limit": rate(1, 30)},
        {"name": "acme", "parent": "customers", "rate_limit": rate(1, 10)},
        {"name": "other", "parent": "customers"},
    ]);
    let gateway = start(namespaces, |settings| settings);
    let begun = Instant::now();
    // How many pass before one is refused, and that.
    let drain = |ask: &dyn Fn() -> Answer| {
        let mut passed = 0;
        loop {
            let answer = ask();
            if answer.status != 200 {
                assert_eq!(answer.status, 429, "{}", answer.text());
                break (passed, answer);
            }
            passed += 1;
            assert!(passed < 10_000, "nothing is refused");
        }
    };
    // However slow the machine: a burst, and one more for each second.
    let is_rate = |passed: usize, burst: usize| {
        let most = burst + 2 + usize::try_from(begun.elapsed().as_secs()).expect("a number");
        assert!((burst..=most).contains(&passed), "{passed} of {burst}");
    };
    // Whoever of them asks, and by whatever credential.
    let by_token = gateway.with("a2");
    for _ in 0..6 {
        assert_eq!(search(&gateway, "a1").status, 200);
    }
    let (passed, refused) = drain(&|| by_token.get(SEARCH).send());
    is_rate(6 + passed, 10);
    assert!(refused.text().contains("clients of a namespace have together"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert!(refused.header("ratelimit").is_some_and(|told| told.starts_with("\"namespace\"")), "{refused:?}");
    // What one refuses does not use up the next.
    let (others, _) = drain(&|| search(&gateway, "b1"));
    is_rate(6 + passed + others, 30);
    // Who is in none is held up by none.
    let free = gateway.with("free");
    assert!((0..40).all(|_| free.get(SEARCH).send().status == 200));
    assert!(gateway.metric("oauth4os_over_rate_total{rate=\"namespace\",mode=\"enforce\"}") > 0.0);
    // A reload is no fresh burst, and may take the limit away.
    assert_eq!(gateway.reload(), "applied");
    let (more, _) = drain(&|| search(&gateway, "a1"));
    is_rate(6 + passed + more, 10);
    gateway.change_config(|config| {
        for namespace in config["namespaces"].as_array_mut().expect("namespaces") {
            namespace.as_object_mut().expect("a namespace").remove("rate_limit");
        }
    });
    assert_eq!(gateway.reload(), "applied");
    assert!((0..60).all(|_| search(&gateway, "a1").status == 200));
}

#[test]
fn a_rate_of_a_namespace_may_be_observed() {
    let namespaces = json!([{"name": "acme", "rate_limit": rate(1, 2)}, {"name": "other"}]);
    let gateway = start(namespaces, |settings| settings.limit("rate_mode", json!("observe")));
    let answers: Vec<Answer> = (0..10).map(|_| search(&gateway, "a1")).collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    let event = gateway.audit_of(answers[9].request_id());
    assert_eq!(event["observed"], json!("the clients of a namespace have together sent too many requests"), "{event}");
    assert!(gateway.metric("oauth4os_over_rate_total{rate=\"namespace\",mode=\"observe\"}") > 0.0);
}

#[test]
fn the_addresses_of_a_namespace_narrow_those_of_its_clients_and_never_widen_them() {
    let namespaces = json!([
        {"name": "customers", "addresses": {"deny": ["127.0.0.5"]}},
        {"name": "acme", "parent": "customers", "addresses": {"allow": ["127.0.0.1", "127.0.0.5", "127.0.0.6"]}},
        {"name": "other"},
    ]);
    let narrow = client("narrow", "acme").with("addresses", json!({"allow": ["127.0.0.6", "127.0.0.9"]}));
    let gateway = start(namespaces, |settings| settings.client_with(narrow));
    for (client, from, status) in [
        ("a1", [127, 0, 0, 1], 200),
        ("a1", [127, 0, 0, 6], 200),
        ("a1", [127, 0, 0, 5], 403),
        ("a1", [127, 0, 0, 9], 403),
        ("narrow", [127, 0, 0, 6], 200),
        ("narrow", [127, 0, 0, 1], 403),
        ("narrow", [127, 0, 0, 9], 403),
        ("b1", [127, 0, 0, 5], 200),
        ("free", [127, 0, 0, 9], 200),
    ] {
        let secret = gateway.secret(client);
        let here = gateway.http().from_address(from.into());
        let form = [("grant_type", "client_credentials")];
        // Neither a token is given out there, nor is one good there.
        let answer = here.with_basic(client, secret).post("/oauth/token").form(&form).send();
        assert_eq!(answer.status, if status == 200 { 200 } else { 401 }, "{client} from {from:?}: {}", answer.text());
        if client != "narrow" {
            let answer = here.with_token(&gateway.token(client)).get(SEARCH).send();
            assert_eq!(answer.status, status, "{client} from {from:?}: {}", answer.text());
            assert!(status == 200 || answer.text().contains("of its namespace"), "{}", answer.text());
        }
    }
}
