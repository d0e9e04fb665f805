//! What was acknowledged survives the death of the process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;
use crate::{Assertions as _, Revocation, SingleUse, Tokens as _};

/// In a process that has this set, the test below is the one that is killed.
const VICTIM: &str = "OAUTH4OS_STORE_TEST_VICTIM";
const ROUNDS: usize = 3;

#[test]
fn every_acknowledged_write_survives_kill_9() {
    if let Some(path) = std::env::var_os(VICTIM) {
        return write_until_killed(Path::new(&path));
    }
    let place = Place::new();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        // Not after a whole number of batches, and never at the same place.
        let enough = acknowledged.len() + 150 + 77 * round;
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1"])
            .arg("sqlite::tests::crash::every_acknowledged_write_survives_kill_9")
            .env(VICTIM, place.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        // What is in the pipe when it dies was acknowledged too.
        while let Some(Ok(line)) = lines.next() {
            if let Some((_, write)) = line.split_once("done ") {
                acknowledged.push(write.to_owned());
            }
            if acknowledged.len() == enough {
                victim.kill().unwrap();
            }
        }
        let status = victim.wait().unwrap();
        assert!(!status.success(), "it was killed: {status}");
        assert!(acknowledged.len() >= enough, "it lived long enough");
        tokio::runtime::Runtime::new().unwrap().block_on(check(&place, &acknowledged));
    }
}

async fn check(place: &Place, acknowledged: &[String]) {
    let store = place.open().await;
    let (mut revoked, mut spent) = (0, 0);
    for write in acknowledged {
        let (what, id) = write.split_once(' ').unwrap();
        if what == "spent" {
            spent += 1;
            assert!(!store.spend(once(id)).await.unwrap(), "the use of {id} was lost");
            continue;
        }
        let token = store.token(id).await.unwrap();
        let token = token.unwrap_or_else(|| panic!("{id} was lost"));
        if what == "revoked" {
            revoked += 1;
            assert!(token.revoked_at.is_some(), "the end of {id} was lost");
        }
    }
    assert!(revoked > 0 && spent > 0);
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&store.readers).await.unwrap();
    assert_eq!(sound, "ok");
    store.close().await.unwrap();
}

/// Many tasks record and revoke, and say so when it is acknowledged.
fn write_until_killed(path: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::default());
        let store = SqliteStore::open(path, Sealer::new(master_key(1)), clock).await;
        let store = Arc::new(store.unwrap());
        let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(write(Arc::clone(&store)))).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

async fn write(store: Arc<SqliteStore>) {
    for n in 0_u64.. {
        let id = oauth4os_tokens::id::token_id().unwrap();
        let issued = token(&id, "a", ManualClock::default().now());
        store.record_issued(issued).await.unwrap();
        say(&format!("recorded {id}"));
        if n.is_multiple_of(5) {
            let revocation = store.revoke_token(&id).await.unwrap();
            assert!(matches!(revocation, Revocation::Revoked(_)));
            say(&format!("revoked {id}"));
            assert!(store.spend(once(&id)).await.unwrap());
            say(&format!("spent {id}"));
        }
    }
}

fn once(id: &str) -> SingleUse {
    SingleUse { id: oauth4os_tokens::id::sha256(id.as_bytes()), expires_at: UnixTime::MAX }
}

fn say(write: &str) {
    // One write call for one line; past the test harness, which would keep it back.
    std::io::stdout().write_all(format!("\ndone {write}\n").as_bytes()).unwrap();
}
