//! Keeps the keys up to date that requests to a managed engine are signed with.

use std::sync::Arc;
use std::time::Duration;

use oauth4os_engine::Signer;
use oauth4os_engine::sigv4::{Look, Looked};
use oauth4os_tokens::clock::{Clock as _, SystemClock};

/// How often the files are looked at. New keys are in use after two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Looks again and again.
pub(crate) async fn watch(cluster: Option<String>, signer: Arc<Signer>) {
    let mut look = Look::default();
    // Said already.
    let mut last_problem = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let looking = Arc::clone(&signer);
        // A disk that is slow holds up nobody.
        let looked = tokio::task::spawn_blocking(move || {
            let found = looking.look(&mut look);
            (look, found)
        });
        let Ok((then, found)) = looked.await else { return };
        look = then;
        if found == Ok(Looked::Replaced) {
            tracing::info!(cluster, "requests to the engine are signed with other keys from here on");
        }
        let problem = match found {
            Err(error) => Some(format!("{error}; those before stay in use")),
            Ok(_) => signer.check(SystemClock.now()).err().map(|expired| expired.to_string()),
        };
        if let Some(problem) = problem.as_ref().filter(|_| problem != last_problem) {
            tracing::warn!(cluster, problem, "requests to the engine may not be signed for long, or are not at all");
        }
        last_problem = problem;
    }
}
