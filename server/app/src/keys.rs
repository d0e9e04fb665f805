//! Keeps the keys up to date that requests to a managed engine are signed with.

use std::sync::Arc;
use std::time::Duration;

use oauth4os_engine::Signer;
use oauth4os_engine::sigv4::{Look, Looked};

/// How often the files are looked at. New keys are in use after two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Looks again and again.
pub(crate) async fn watch(cluster: Option<String>, signer: Arc<Signer>) {
    let mut look = Look::default();
    // Said already.
    let mut last_problem = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let signer = Arc::clone(&signer);
        // A disk that is slow holds up nobody.
        let looked = tokio::task::spawn_blocking(move || {
            let found = signer.look(&mut look);
            (look, found)
        });
        let Ok((then, found)) = looked.await else { return };
        look = then;
        match found {
            Ok(Looked::Replaced) => {
                last_problem = None;
                tracing::info!(cluster, "requests to the engine are signed with other keys from here on");
            }
            Ok(Looked::Same | Looked::Unsettled) => last_problem = None,
            Err(error) => {
                let problem = error.to_string();
                if last_problem.as_ref() != Some(&problem) {
                    tracing::warn!(cluster, problem, "the keys before stay in use");
                    last_problem = Some(problem);
                }
            }
        }
    }
}
