//! The real engine ends and comes back while it is written to and read from: whoever is told anything is told it cleanly, what
//! was acknowledged is there, nothing was done twice, and all goes on by itself.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use e2e::{Answer, Engine, Gateway, OnDrop, Settings, until};
use serde_json::{Value, json};

const INDEX: &str = "app-logs-e2e-restart";

/// What became of requests, by status.
#[derive(Default)]
struct Seen {
    counts: Mutex<BTreeMap<u16, usize>>,
}

impl Seen {
    fn add(&self, status: u16) {
        *self.counts.lock().expect("the lock").entry(status).or_default() += 1;
    }

    fn of(&self, status: u16) -> usize {
        self.counts.lock().expect("the lock").get(&status).copied().unwrap_or_default()
    }
}

/// Whatever is not done is said in words a client can read. The security plugin speaks plain text while it starts.
fn is_readable(answer: &Answer) {
    let is_starting = answer.status == 503 && answer.text().contains("OpenSearch Security not initialized");
    assert!(answer.status < 300 || is_starting || answer.json()["error"]["reason"].is_string(), "{}", answer.text());
}

#[test]
fn the_real_engine_restarts_under_load_and_no_write_is_done_twice_or_lost() {
    let engine = Engine::get_alone();
    engine.delete_index(INDEX);
    let _remove = OnDrop(|| engine.delete_index(INDEX));
    engine.admin().put(&format!("/{INDEX}")).json(&json!({"settings": {"number_of_replicas": 0}})).expect(200);
    let gateway = Gateway::start(Settings::new().client("both", &["read:logs-*", "write:app-logs-*"]));
    let both = gateway.with("both");
    let written = Mutex::new(BTreeMap::<usize, u16>::new());
    let (writes, reads) = (Seen::default(), Seen::default());
    let (is_over, numbers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (both, written, writes, reads, is_over, numbers) =
                (&both, &written, &writes, &reads, &is_over, &numbers);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    if worker == 0 {
                        let answer = both.get("/logs-*/_search?size=1").send();
                        reads.add(answer.status);
                        is_readable(&answer);
                        continue;
                    }
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    let answer = both.put(&format!("/{INDEX}/_doc/{number}")).json(&json!({"number": number})).send();
                    is_readable(&answer);
                    writes.add(answer.status);
                    written.lock().expect("the lock").insert(number, answer.status);
                }
            });
        }
        let over = OnDrop(|| is_over.store(true, Ordering::SeqCst));
        let wait_for = |what: &str, seen: &Seen, status: u16, more: usize| {
            let before = seen.of(status);
            until(what, Duration::from_secs(120), || (seen.of(status) >= before + more).then_some(()));
        };
        wait_for("writes", &writes, 201, 200);
        wait_for("searches", &reads, 200, 20);
        engine.stop();
        wait_for("refusals", &writes, 503, 20);
        engine.start();
        wait_for("writes to go on", &writes, 201, 200);
        wait_for("searches to go on", &reads, 200, 20);
        drop(over);
    });
    // Stock clients send again for 502: none comes where a write can have got there.
    for (seen, clean) in [(&writes, [201, 429, 500, 503]), (&reads, [200, 429, 502, 503])] {
        let counts = seen.counts.lock().expect("the lock");
        assert!(counts.keys().all(|status| clean.contains(status)), "{counts:?}");
    }

    // What the engine holds, by its own word.
    engine.refresh(INDEX);
    let written = written.into_inner().expect("the lock");
    for chunk in written.iter().collect::<Vec<_>>().chunks(500) {
        let ids: Vec<String> = chunk.iter().map(|(number, _)| number.to_string()).collect();
        let found = engine.admin().post(&format!("/{INDEX}/_mget")).json(&json!({"ids": ids})).expect(200).json();
        let documents = found["docs"].as_array().expect("documents");
        assert_eq!(documents.len(), chunk.len());
        for ((number, status), document) in chunk.iter().zip(documents) {
            let version = if document["found"] == true { document["_version"].clone() } else { Value::Null };
            match **status {
                201 => assert_eq!(version, json!(1), "{number} was acknowledged: {document}"),
                // It may have got there, once.
                500 => assert!(version.is_null() || version == json!(1), "{number}: {document}"),
                // Nothing got there, or the engine itself has said that nothing came of it.
                _ => assert!(version.is_null(), "{number} was refused with {status}: {document}"),
            }
        }
    }
    let there = engine.count(INDEX);
    let acknowledged = u64::try_from(writes.of(201)).expect("a number");
    let unknown = u64::try_from(writes.of(500)).expect("a number");
    assert!((acknowledged..=acknowledged + unknown).contains(&there), "{there}, {acknowledged}, {unknown}");
}
