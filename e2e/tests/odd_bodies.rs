//! Bodies made at random, as odd as JSON and lines can be written, in front of the real engine: whatever the gateway lets pass
//! names nothing to the engine but what the gateway has decided on.
//!
//! The engine is told the same scopes and judges for itself what it reads, so a refusal of the engine for want of a right, in an
//! answer to a request that the gateway has let pass, is a body that the two read in two ways. Where the gateway refuses, a gateway
//! whose own decision is switched off shows what the engine would have made of it.
//!
//! `OAUTH4OS_ODD_SEEDS=1000-1999` takes other seeds, for somebody who has time.

#[path = "odd_bodies/generate.rs"]
mod generate;

use std::ops::RangeInclusive;

use e2e::{Answer, Client, Engine, Gateway, OnDrop, Settings};
use generate::{ALIAS_OUTSIDE, Generator, INSIDE, OUTSIDE, Odd};
use serde_json::json;

/// Requests made of one seed.
const REQUESTS: usize = 60;
/// Stands in every document that is outside, and in no request.
const SECRET: &str = "the-document-outside";

fn seeds() -> RangeInclusive<u64> {
    let Ok(seeds) = std::env::var("OAUTH4OS_ODD_SEEDS") else { return 1..=8 };
    let parsed = seeds.split_once('-').and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?));
    parsed.unwrap_or_else(|| panic!("`{seeds}` is no range of seeds: write OAUTH4OS_ODD_SEEDS=1000-1999"))
}

fn cluster() -> OnDrop<impl FnMut()> {
    let clear = || {
        let engine = Engine::get();
        INSIDE
            .iter()
            .chain(&[OUTSIDE, "e2e-odd-in-copy", "e2e-odd-missing"])
            .for_each(|index| engine.delete_index(index));
        // What date math has made.
        let _ = engine.admin().delete("/e2e-odd-in-*?expand_wildcards=all").send();
    };
    clear();
    let admin = Engine::get().admin();
    let mappings = json!({"properties": {
        "message": {"type": "text", "fielddata": true}, "inner": {"type": "nested"},
    }});
    for index in INSIDE.iter().chain(&[OUTSIDE]) {
        let definition = json!({"settings": {"number_of_shards": 1, "number_of_replicas": 0}, "mappings": mappings});
        admin.put(&format!("/{index}")).json(&definition).expect(200);
        for id in ["1", "2"] {
            let message = if *index == OUTSIDE { SECRET } else { "first" };
            let document = json!({"message": message});
            admin.put(&format!("/{index}/_doc/{id}?refresh=true")).json(&document).expect(201);
        }
    }
    let alias = json!({"actions": [{"add": {"index": OUTSIDE, "alias": ALIAS_OUTSIDE}}]});
    admin.post("/_aliases").json(&alias).expect(200);
    OnDrop(clear)
}

fn send(client: &Client, odd: &Odd) -> Answer {
    client.request(odd.method, &odd.target).body(odd.content_type, odd.body.clone()).send()
}

/// Whether the engine has refused it, or a part of it, for want of a right.
fn is_refused_by_the_engine(answer: &Answer) -> bool {
    answer.text().contains("no permissions for")
}

#[derive(Default, Debug)]
struct Seen {
    passed: usize,
    refused: usize,
    /// Of what the gateway refuses: what the engine refuses as well for want of a right, cannot read, and would have taken.
    refused_by_both: usize,
    unread: usize,
    narrower: usize,
}

#[test]
fn what_passes_names_to_the_engine_what_was_decided_on() {
    let _cluster = cluster();
    let settings = || Settings::new().client("odd", &["read:e2e-odd-in-*", "write:e2e-odd-in-*"]);
    let (gateway, undecided) = (Gateway::start(settings()), Gateway::start(settings().engine_decides()));
    let (client, at_engine) = (gateway.with("odd"), undecided.with("odd"));
    let before = Engine::get().count(OUTSIDE);
    let mut seen = Seen::default();
    for seed in seeds() {
        let mut generator = Generator::new(seed);
        for number in 0..REQUESTS {
            let odd = generator.request();
            let answer = send(&client, &odd);
            let told = |problem: &str, answer: &Answer| {
                format!(
                    "{problem}; seed {seed}, request {number}: {}\nis answered {} {}",
                    odd.show(),
                    answer.status,
                    answer.text()
                )
            };
            assert!(
                !is_refused_by_the_engine(&answer),
                "{}",
                told("the engine reads more than was decided on", &answer)
            );
            assert!(!answer.text().contains(SECRET), "{}", told("it tells what is outside", &answer));
            let is_refused = gateway.audit_of(answer.request_id())["decision"] == "deny";
            assert!(!(odd.is_plain && is_refused), "{}", told("nothing is wrong with it", &answer));
            if !is_refused {
                seen.passed += 1;
                continue;
            }
            seen.refused += 1;
            let answer = send(&at_engine, &odd);
            assert!(!answer.text().contains(SECRET), "{}", told("the engine tells what is outside", &answer));
            match answer.status {
                _ if is_refused_by_the_engine(&answer) => seen.refused_by_both += 1,
                200..=299 => seen.narrower += 1,
                _ => seen.unread += 1,
            }
        }
        assert_eq!(Engine::get().count(OUTSIDE), before, "seed {seed}: something was written outside");
        Engine::get().admin().get("/e2e-odd-missing").expect(404);
    }
    println!("{seen:?}");
    // A test in which nothing passes, or nothing is refused, shows nothing.
    let all = seen.passed + seen.refused;
    assert!(seen.passed * 5 > all && seen.refused_by_both * 10 > all, "{seen:?}");
}
