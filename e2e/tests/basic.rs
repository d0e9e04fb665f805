//! HTTP Basic on the data plane, for shippers that speak nothing else.

use e2e::{ClientSettings, Engine, Gateway, OnDrop, Settings, base64url, basic_credentials};
use serde_json::json;

const READ: &str = "/logs-*/_search?size=0";

fn gateway() -> Gateway {
    let basic = |id: &str, scopes: &[&str]| ClientSettings::new(id, scopes).with("basic", json!(true));
    Gateway::start(
        Settings::new()
            .client_with(basic("reader", &["read:logs-*"]))
            .client_with(basic("shipper", &["write:app-logs-*"]))
            .client_with(
                basic("slow", &["read:logs-*"]).with("rate_limit", json!({"requests_per_second": 1, "burst": 2})),
            )
            .client("token-only", &["read:logs-*"]),
    )
}

#[test]
fn a_client_does_with_its_secret_what_it_is_registered_for() {
    let index = "app-logs-e2e-basic";
    Engine::get().delete_index(index);
    let _remove = OnDrop(|| Engine::get().delete_index(index));
    let gateway = gateway();
    let reader = gateway.http().with_basic("reader", gateway.secret("reader"));
    let answer = reader.get(READ).expect(200);
    let event = gateway.audit_of(answer.request_id());
    assert_eq!((&event["client"], &event["credential"]), (&json!("reader"), &json!("basic")));
    assert_eq!((&event["scopes"], event.get("token_id")), (&json!("read:logs-*"), None));
    reader.get("/pii-customers/_search").expect(403);
    reader.post(&format!("/{index}/_doc")).json(&json!({"a": 1})).expect(403);

    let shipper = gateway.http().with_basic("shipper", gateway.secret("shipper"));
    let lines = [json!({"create": {"_index": index}}), json!({"message": "shipped"})];
    let answer = shipper.post("/_bulk").lines(&lines).expect(200).json();
    assert_eq!(answer["errors"], json!(false), "{answer}");
    assert_eq!(Engine::get().count(index), 1);
    shipper.get(&format!("/{index}/_search")).expect(403);

    // Verified once, then found again.
    let misses = gateway.metric("oauth4os_token_cache_misses_total");
    let mut connection = reader.connect();
    for _ in 0..20 {
        connection.write(&reader.get(READ).bytes());
        assert_eq!(connection.answer().status, 200);
    }
    assert!(gateway.metric("oauth4os_token_cache_misses_total") <= misses + 1.0);
    // The same limit as with tokens, whichever way the client comes.
    let slow = gateway.http().with_basic("slow", gateway.secret("slow"));
    let statuses: Vec<u16> = (0..10).map(|_| slow.get(READ).send().status).collect();
    assert!(statuses.contains(&200) && statuses.contains(&429), "{statuses:?}");
}

#[test]
fn whoever_may_not_or_cannot_prove_it_is_refused() {
    let gateway = gateway();
    let secret = gateway.secret("reader").to_owned();
    let refused = |what: &str, value: &str| {
        let answer = gateway.http().get(READ).header("Authorization", value).expect(401);
        assert!(answer.header("www-authenticate").is_some(), "{what}");
        let (text, event) = (answer.text(), gateway.audit_of(answer.request_id()).to_string());
        let credential = value.rsplit(' ').next().unwrap_or_default();
        for shown in [text, event] {
            assert!(credential.len() < 8 || !shown.contains(credential), "{what}: {shown}");
            assert!(!shown.contains(&secret), "{what}: {shown}");
        }
    };
    let encoded = basic_credentials("reader", &secret);
    refused("wrong secret", &format!("Basic {}", basic_credentials("reader", "wrong-secret-of-reader")));
    refused("unknown client", &format!("Basic {}", basic_credentials("nobody", &secret)));
    refused("off for the client", &format!("Basic {}", basic_credentials("token-only", gateway.secret("token-only"))));
    refused("no secret", &format!("Basic {}", basic_credentials("reader", "")));
    refused("a secret and more", &format!("Basic {}", basic_credentials("reader", &format!("{secret}x"))));
    refused("a secret and less", &format!("Basic {}", basic_credentials("reader", &secret[..secret.len() - 1])));
    refused("in other letters", &format!("Basic {}", basic_credentials("Reader", &secret)));
    refused("two spaces", &format!("Basic  {encoded}"));
    refused("a tab", &format!("Basic\t{encoded}"));
    refused("more behind it", &format!("Basic {encoded} x"));
    refused("as a token", &format!("Bearer {encoded}"));
    refused("not encoded", &format!("Basic reader:{secret}"));
    refused("by the other alphabet", &format!("Basic {}", base64url([0xff_u8; 30])));
    refused("a token as credentials", &format!("Basic {}", gateway.token("reader")));
    refused("an unknown scheme", &format!("Digest {encoded}"));
    refused("too long", &format!("Basic {}", "A".repeat(9_000)));
    let both = gateway.http().get(READ).header("Authorization", &format!("Basic {encoded}"));
    both.header("Authorization", &format!("Bearer {}", gateway.token("reader"))).expect(400);
    gateway.http().with_basic("reader", &secret).get(READ).expect(200);
    assert!(!gateway.log().contains(&secret) && !gateway.audit_text().contains(&encoded));
}

#[test]
fn it_is_off_unless_a_client_has_it() {
    let gateway = Gateway::start(Settings::new().client("reader", &["read:logs-*"]));
    let answer = gateway.http().with_basic("reader", gateway.secret("reader")).get(READ).expect(401);
    assert!(answer.text().contains("only `Authorization: Bearer` is accepted here"), "{}", answer.text());
}

#[test]
fn guesses_are_limited() {
    let gateway = gateway();
    let guess = |number: usize| {
        let http = gateway.http().with_basic("reader", &format!("guess-{number}"));
        let answer = http.get(READ).send();
        (answer.status, answer.header("retry-after").map(ToOwned::to_owned))
    };
    let answers: Vec<_> = (0..15).map(guess).collect();
    assert_eq!(answers[0].0, 401);
    let (status, wait) = answers.last().expect("an answer");
    assert!(*status == 429 && wait.is_some(), "{answers:?}");
    // The token endpoint counts together with the data plane.
    assert_eq!(gateway.ask_for_token("reader", &[]).status, 429);
    // Nobody else is shut out.
    gateway.http().with_basic("shipper", gateway.secret("shipper")).get(READ).expect(403);
}
