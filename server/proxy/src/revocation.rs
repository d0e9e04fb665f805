//! Which tokens are revoked. A revocation is in force on the next request, on every worker.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use oauth4os_tokens::clock::UnixTime;
use tokio::sync::watch;

/// The ids of revoked tokens that have not expired yet.
///
/// Sessions remember the [generation](Self::generation) under which they were checked last: on the warm path a
/// revocation costs one atomic load, and every session is checked again after each revocation.
#[derive(Debug, Default)]
pub struct Revocations {
    generation: AtomicU64,
    ids: RwLock<HashMap<Box<str>, UnixTime>>,
    /// For those who wait for the next revocation.
    changed: watch::Sender<()>,
}

impl Revocations {
    /// Takes tokens out of use: id, and when the token would have expired.
    pub fn revoke(&self, tokens: impl IntoIterator<Item = (String, UnixTime)>, now: UnixTime) {
        let mut ids = self.ids.write().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= 1024 && ids.len().is_power_of_two() {
            ids.retain(|_, expires_at| *expires_at >= now);
        }
        ids.extend(tokens.into_iter().map(|(id, expires_at)| (id.into_boxed_str(), expires_at)));
        // Whoever sees the new generation finds the ids: they are written before it, under the lock.
        self.generation.fetch_add(1, Ordering::Release);
        self.changed.send_replace(());
    }

    /// Changes with every revocation.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Tells of every revocation from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether the token with this id is revoked.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.ids.read().unwrap_or_else(PoisonError::into_inner).contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_moves_the_generation_and_is_found() {
        let revocations = Revocations::default();
        let before = revocations.generation();
        assert!(!revocations.contains("tok_1"));
        revocations.revoke([("tok_1".to_owned(), UnixTime::from_secs(10))], UnixTime::from_secs(1));
        assert_ne!(revocations.generation(), before);
        assert!(revocations.contains("tok_1"));
    }

    #[test]
    fn expired_ids_do_not_pile_up() {
        let revocations = Revocations::default();
        for number in 0..100_000_i64 {
            revocations
                .revoke([(format!("tok_{number}"), UnixTime::from_secs(number + 10))], UnixTime::from_secs(number));
        }
        assert!(revocations.ids.read().unwrap().len() <= 2_048);
        assert!(revocations.contains("tok_99999"));
    }
}
