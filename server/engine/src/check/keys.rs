//! Keys beside the one that signs: one that is to come, and those that are over.

use std::sync::Arc;

use oauth4os_tokens::keys::SigningKey;

use super::Check;
use super::report::Report;
use crate::keys::{Seen, seen};

/// The gateway's keys beside the one that signs for a cluster.
#[derive(Clone, Debug, Default)]
pub struct OtherKeys {
    /// Is to sign as soon as the engine takes it.
    pub waiting: Option<Arc<SigningKey>>,
    /// Have signed, and no token of theirs is valid any more.
    pub over: Vec<Arc<SigningKey>>,
}

/// Whether the engine takes the one that is to come, and none of those that are over.
pub(super) async fn examine(check: &Check<'_>, report: &mut Report) {
    if let Some(key) = &check.other_keys.waiting {
        match asked(check, key).await {
            Ok(seen) if seen.is_taken_by_all() => report.ok(
                "keys",
                format!("the engine takes the key `{}` that waits; a gateway that runs goes over to it by itself", key.kid()),
            ),
            Ok(seen) => report.warning(
                "keys",
                format!(
                    "the key `{}` waits until the engine takes it{}: run `oauth4os engine setup --apply`, or see that every node reaches the gateway's `jwks_uri`",
                    key.kid(),
                    nodes(&seen)
                ),
            ),
            Err(sentence) => report.failure("keys", sentence),
        }
    }
    for key in &check.other_keys.over {
        match asked(check, key).await {
            Ok(seen) if seen.is_refused_by_all() => {
                report.ok("keys", format!("401 for a token of the key `{}`, which is over", key.kid()));
            }
            Ok(seen) if seen.takes > 0 => report.failure(
                "keys",
                format!(
                    "the engine still takes tokens of the key `{}`, which is over: run `oauth4os engine setup --apply`",
                    key.kid()
                ),
            ),
            Ok(seen) => report.warning(
                "keys",
                format!(
                    "whether a node takes tokens of the key `{}`, which is over, is not known{}",
                    key.kid(),
                    nodes(&seen)
                ),
            ),
            Err(sentence) => report.failure("keys", sentence),
        }
    }
}

async fn asked(check: &Check<'_>, key: &Arc<SigningKey>) -> Result<Seen, String> {
    let seen = seen(check.engine, check.identities, key, check.clock.now()).await;
    seen.map_err(|error| format!("no token could be made for the check: {error}"))
}

/// Which of them, in brackets.
fn nodes(seen: &Seen) -> String {
    let all: Vec<&str> = seen.refuses.iter().chain(&seen.unknown).map(String::as_str).collect();
    format!(" ({})", all.join("; "))
}
