//! Opaque access tokens: 256 random bits that mean nothing by themselves. What one allows is kept here, under its SHA-256, as
//! long as it is in force; the control plane fills this and is the only one that asks a disk.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use oauth4os_tokens::access::Actor;
use oauth4os_tokens::clock::UnixTime;

/// Opaque tokens of one client in force at once: what is issued is kept in memory.
const MAX_OF_CLIENT: usize = 1_024;

/// What an opaque token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpaqueToken {
    /// Its id, by which it is listed and revoked.
    pub id: String,
    /// The client it was issued to.
    pub client_id: String,
    /// Whom it is about.
    pub subject: String,
    /// Who acts for the subject; none of a token that the client has in its own right.
    pub act: Vec<Actor>,
    /// The granted scopes, separated by spaces.
    pub scope: String,
    /// When it ends.
    pub expires_at: UnixTime,
}

/// The opaque tokens in force.
#[derive(Default)]
pub struct OpaqueTokens {
    index: RwLock<Index>,
}

#[derive(Default)]
struct Index {
    /// By the SHA-256 of the token: how long a look-up takes tells nothing about a token.
    tokens: HashMap<[u8; 32], OpaqueToken>,
    hashes: HashMap<String, [u8; 32]>,
    counts: HashMap<String, usize>,
}

impl OpaqueTokens {
    /// Whether a client may have one more. Those that have ended do not count.
    #[must_use]
    pub fn has_room(&self, client_id: &str, now: UnixTime) -> bool {
        let mut index = self.write();
        let is_full = |index: &Index| index.counts.get(client_id).is_some_and(|count| *count >= MAX_OF_CLIENT);
        if is_full(&index) {
            index.forget_ended(now);
        }
        !is_full(&index)
    }

    /// Puts a token in force, by its SHA-256.
    pub fn add(&self, hash: [u8; 32], token: OpaqueToken, now: UnixTime) {
        let mut index = self.write();
        if index.tokens.len() >= 1_024 && index.tokens.len().is_power_of_two() {
            index.forget_ended(now);
        }
        index.add(hash, token);
    }

    /// Takes tokens out of force, by their ids.
    pub fn forget<'i>(&self, ids: impl IntoIterator<Item = &'i str>) {
        let mut index = self.write();
        for id in ids {
            if let Some(hash) = index.hashes.get(id).copied() {
                index.remove(&hash);
            }
        }
    }

    /// What the token with this SHA-256 allows, if it is in force; whether it has ended since is for the caller to see.
    pub(crate) fn find(&self, hash: &[u8; 32]) -> Option<OpaqueToken> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).tokens.get(hash).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn add(&mut self, hash: [u8; 32], token: OpaqueToken) {
        self.remove(&hash);
        *self.counts.entry(token.client_id.clone()).or_default() += 1;
        self.hashes.insert(token.id.clone(), hash);
        self.tokens.insert(hash, token);
    }

    fn remove(&mut self, hash: &[u8; 32]) {
        let Some(token) = self.tokens.remove(hash) else { return };
        self.hashes.remove(&token.id);
        if let Some(count) = self.counts.get_mut(&token.client_id) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&token.client_id);
            }
        }
    }

    fn forget_ended(&mut self, now: UnixTime) {
        let ended: Vec<[u8; 32]> =
            self.tokens.iter().filter(|(_, token)| now >= token.expires_at).map(|(hash, _)| *hash).collect();
        for hash in ended {
            self.remove(&hash);
        }
    }
}

impl fmt::Debug for OpaqueTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpaqueTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(id: &str, client_id: &str, ends: i64) -> OpaqueToken {
        OpaqueToken {
            id: id.to_owned(),
            client_id: client_id.to_owned(),
            subject: client_id.to_owned(),
            act: Vec::new(),
            scope: "read:logs-*".to_owned(),
            expires_at: UnixTime::from_secs(ends),
        }
    }

    fn hash(number: usize) -> [u8; 32] {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&number.to_le_bytes());
        hash
    }

    #[test]
    fn a_token_is_found_until_it_is_forgotten() {
        let (tokens, now) = (OpaqueTokens::default(), UnixTime::from_secs(0));
        tokens.add(hash(1), token("a", "app", 10), now);
        tokens.add(hash(2), token("b", "app", 10), now);
        assert_eq!(tokens.find(&hash(1)).map(|token| token.id).as_deref(), Some("a"));
        tokens.forget(["a", "unknown", "a"]);
        assert_eq!((tokens.find(&hash(1)), tokens.find(&hash(2)).is_some()), (None, true));
        tokens.forget(["b"]);
        assert!(tokens.index.read().unwrap().counts.is_empty());
    }

    #[test]
    fn a_client_has_so_many_at_once_and_ended_ones_make_room() {
        let tokens = OpaqueTokens::default();
        let now = UnixTime::from_secs(5);
        for number in 0..MAX_OF_CLIENT {
            assert!(tokens.has_room("app", now), "{number}");
            tokens.add(hash(number), token(&number.to_string(), "app", 10 + i64::try_from(number % 2).unwrap()), now);
        }
        assert!(!tokens.has_room("app", now) && tokens.has_room("other", now));
        assert!(tokens.has_room("app", UnixTime::from_secs(10)));
        assert_eq!(tokens.index.read().unwrap().tokens.len(), MAX_OF_CLIENT / 2);
        tokens.forget(["1"]);
        assert_eq!(tokens.index.read().unwrap().counts["app"], MAX_OF_CLIENT / 2 - 1);
    }

    #[test]
    fn ended_ones_do_not_pile_up() {
        let tokens = OpaqueTokens::default();
        for number in 0..100_000_usize {
            let at = i64::try_from(number).unwrap();
            tokens.add(
                hash(number),
                token(&number.to_string(), &format!("c{number}"), at + 10),
                UnixTime::from_secs(at),
            );
        }
        assert!(tokens.index.read().unwrap().tokens.len() <= 2_048);
    }
}
