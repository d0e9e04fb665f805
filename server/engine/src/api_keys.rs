//! The driver `api_key`: the engine's own API keys, from security plugin 3.7 on.
//!
//! The engine keeps every key it ever made, revoked ones too, and has room for a thousand at most: a key for each token would
//! lock everybody out after some days. So there is one for each name of the configuration, made by `oauth4os engine setup` with an
//! administrator's credentials, which the gateway itself never has ([`plan`]); what a key permits is what its scopes say
//! ([`Permissions`]). The gateway reads them from a folder of its own ([`Held`]).

mod held;
mod permissions;
mod plan;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use oauth4os_config::NAMES_KEY;
use oauth4os_tokens::clock::UnixTime;
use secrecy::ExposeSecret;

pub use self::held::{Held, HeldError};
pub use self::permissions::Permissions;
pub use self::plan::{ApiKeyChange, ApiKeyPlan, ApiKeySetup, ApiKeySetupError, WantedKey};
use crate::identity::{HandedIdentity, IdentityError};

/// The keys of one cluster, each ready to be sent.
pub struct ApiKeys {
    made: ArcSwap<HashMap<String, Arc<HandedIdentity>>>,
}

/// Keys that were read, and are not in use yet.
pub struct NewApiKeys(HashMap<String, Arc<HandedIdentity>>);

impl ApiKeys {
    /// The keys of these names, from the folder that `engine setup` puts them in.
    ///
    /// # Errors
    /// When one is missing or cannot be used.
    pub fn load<'n>(directory: &Path, names: impl IntoIterator<Item = &'n str>) -> Result<Self, HeldError> {
        let NewApiKeys(made) = Self::read_again(directory, names)?;
        Ok(Self { made: ArcSwap::from_pointee(made) })
    }

    /// Reads them again; they are in force when what is returned is handed to [`go_on_with`](Self::go_on_with).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn read_again<'n>(directory: &Path, names: impl IntoIterator<Item = &'n str>) -> Result<NewApiKeys, HeldError> {
        let read = |name: &str| {
            let held = Held::read(directory, name)?;
            let field = format!("authorization: ApiKey {}\r\n", held.token.expose_secret());
            // It is not renewed here: another one comes by a reload.
            let made = HandedIdentity::new(field, held.expires_at, held.expires_at);
            let made = made.map_err(|_| HeldError::Form { path: Held::path(directory, name) })?;
            Ok((name.to_owned(), Arc::new(made)))
        };
        names.into_iter().map(read).collect::<Result<_, _>>().map(NewApiKeys)
    }

    /// Sends these from the next request on.
    pub fn go_on_with(&self, NewApiKeys(made): NewApiKeys) {
        self.made.store(Arc::new(made));
    }

    /// What is sent as the key of this name.
    ///
    /// # Errors
    /// When there is no such key, or it has ended.
    pub fn identity(&self, name: &str, now: UnixTime) -> Result<Arc<HandedIdentity>, IdentityError> {
        let made = self.made.load();
        let identity = made.get(name).ok_or_else(|| IdentityError::UnknownKey(name.escape_default().to_string()))?;
        if !identity.is_valid(now) {
            return Err(IdentityError::KeyEnded(name.to_owned()));
        }
        Ok(Arc::clone(identity))
    }

    /// What the gateway reads the names of indices with.
    ///
    /// # Errors
    /// As [`identity`](Self::identity).
    pub fn names_identity(&self, now: UnixTime) -> Result<Arc<HandedIdentity>, IdentityError> {
        self.identity(NAMES_KEY, now)
    }
}

impl fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKeys").field("keys", &self.made.load().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn hold(directory: &Path, name: &str, ends: i64) {
        let token = SecretString::from(format!("os_{}", "a".repeat(43)));
        let expires_at = UnixTime::from_secs(ends);
        let held = Held { id: "1".into(), name: "n".into(), token, expires_at, previous: None };
        held.write(directory, name).expect("a folder");
    }

    #[test]
    fn a_key_is_sent_until_it_ends_and_another_one_from_a_reload_on() {
        let folder = tempfile::tempdir().expect("a folder");
        hold(folder.path(), "logs", 2_000);
        let keys = ApiKeys::load(folder.path(), ["logs"]).expect("keys");
        let (before, after) = (UnixTime::from_secs(1_999), UnixTime::from_secs(2_000));
        let sent = keys.identity("logs", before).expect("a key");
        assert_eq!(sent.fields(), format!("authorization: ApiKey os_{}\r\n", "a".repeat(43)));
        assert!(matches!(keys.identity("logs", after), Err(IdentityError::KeyEnded(_))));
        assert!(matches!(keys.identity("other", before), Err(IdentityError::UnknownKey(_))));
        hold(folder.path(), "logs", 3_000);
        assert!(keys.identity("logs", after).is_err());
        keys.go_on_with(ApiKeys::read_again(folder.path(), ["logs"]).expect("keys"));
        assert!(keys.identity("logs", after).is_ok());
        assert!(!format!("{keys:?}").contains("os_"));
    }

    #[test]
    fn a_key_that_is_not_there_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = ApiKeys::load(folder.path(), ["logs"]).unwrap_err().to_string();
        assert!(error.contains("logs.json") && error.contains("engine setup --apply"), "{error}");
    }
}
