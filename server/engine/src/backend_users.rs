//! Users of the cluster's own as which requests go: those it already has, by name and password (`driver: basic`, RFC 7617), or
//! API keys that were made for the gateway (`driver: api_key`).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth4os_config::{ApiKeys, Basic, NAMES_KEY};
use oauth4os_tokens::clock::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::api_keys::{Held, HeldError};
use crate::identity::{HandedIdentity, IdentityError};

/// The users of one cluster, each ready to be sent.
pub struct BackendUsers {
    made: ArcSwap<HashMap<String, Arc<HandedIdentity>>>,
    catalog_user: Option<String>,
    kind: UserKind,
}

/// What the users are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKind {
    /// Users with a password.
    Password,
    /// API keys.
    ApiKey,
}

impl BackendUsers {
    /// # Errors
    /// When a name and its password are too long for a request.
    pub fn new(basic: &Basic) -> Result<Self, IdentityError> {
        let made = ArcSwap::from_pointee(make(&basic.passwords)?);
        Ok(Self { made, catalog_user: basic.catalog_user.clone(), kind: UserKind::Password })
    }

    /// Makes other passwords ready; they are in force when what is returned is handed to [`go_on_with`](Self::go_on_with).
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn read_again(basic: &Basic) -> Result<NewPasswords, IdentityError> {
        make(&basic.passwords).map(NewPasswords)
    }

    /// Sends these from the next request on.
    pub fn go_on_with(&self, NewPasswords(made): NewPasswords) {
        self.made.store(Arc::new(made));
    }

    /// The API keys of the configuration, and the one for reading names, from the folder that `engine setup` puts them in.
    ///
    /// # Errors
    /// When one is missing or cannot be used.
    pub fn of_api_keys(keys: &ApiKeys) -> Result<Self, HeldError> {
        let NewPasswords(made) = Self::read_api_keys(keys)?;
        let made = ArcSwap::from_pointee(made);
        Ok(Self { made, catalog_user: Some(NAMES_KEY.to_owned()), kind: UserKind::ApiKey })
    }

    /// Reads them again; they are in force when what is returned is handed to [`go_on_with`](Self::go_on_with).
    ///
    /// # Errors
    /// As [`of_api_keys`](Self::of_api_keys).
    pub fn read_api_keys(keys: &ApiKeys) -> Result<NewPasswords, HeldError> {
        let read = |name: &str| {
            let held = Held::read(&keys.directory, name)?;
            let field = format!("authorization: ApiKey {}\r\n", held.token.expose_secret());
            // It is not renewed here: another one comes by a reload.
            let made = HandedIdentity::new(field, held.expires_at, held.expires_at);
            let made = made.map_err(|_| HeldError::Form { path: Held::path(&keys.directory, name) })?;
            Ok((name.to_owned(), Arc::new(made)))
        };
        let names = keys.keys.keys().map(String::as_str).chain([NAMES_KEY]);
        names.map(read).collect::<Result<_, _>>().map(NewPasswords)
    }

    /// What they are.
    #[must_use]
    pub const fn kind(&self) -> UserKind {
        self.kind
    }

    /// What is sent for a user.
    ///
    /// # Errors
    /// [`IdentityError::UnknownUser`]; [`IdentityError::KeyEnded`].
    pub fn identity(&self, user: &str, now: UnixTime) -> Result<Arc<HandedIdentity>, IdentityError> {
        let made = self.made.load();
        let identity = made.get(user).ok_or_else(|| IdentityError::UnknownUser(user.escape_default().to_string()))?;
        if !identity.is_valid(now) {
            return Err(IdentityError::KeyEnded(user.to_owned()));
        }
        Ok(Arc::clone(identity))
    }

    /// What the gateway reads the names of indices with.
    ///
    /// # Errors
    /// When no user was named for it.
    pub fn of_catalog(&self, now: UnixTime) -> Result<Arc<HandedIdentity>, IdentityError> {
        self.identity(self.catalog_user.as_deref().ok_or(IdentityError::NoUser)?, now)
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.made.load().keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

/// Passwords or keys that are ready to be sent.
pub struct NewPasswords(HashMap<String, Arc<HandedIdentity>>);

fn make(passwords: &BTreeMap<String, SecretString>) -> Result<HashMap<String, Arc<HandedIdentity>>, IdentityError> {
    let one = |(user, password): (&String, &SecretString)| {
        // The engine reads what comes out of base64 as UTF-8, and everything up to the first colon as the name.
        let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        let encoded = Zeroizing::new(STANDARD.encode(pair.as_bytes()));
        let field = format!("authorization: Basic {}\r\n", encoded.as_str());
        Ok((user.clone(), Arc::new(HandedIdentity::new(field, UnixTime::MAX, UnixTime::MAX)?)))
    };
    passwords.iter().map(one).collect()
}

impl fmt::Debug for BackendUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendUsers").field("names", &self.names()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000);

    fn users(pairs: &[(&str, &str)]) -> Basic {
        let passwords = pairs.iter().map(|(name, password)| ((*name).to_owned(), SecretString::from(*password)));
        Basic { passwords: passwords.collect(), catalog_user: Some("reader".to_owned()), ..Basic::default() }
    }

    #[test]
    fn name_and_password_are_sent_as_utf_8() {
        let users = BackendUsers::new(&users(&[("reader", "a:b "), ("ünal", "pässwörd ☃")])).unwrap();
        assert_eq!(users.identity("reader", NOW).unwrap().fields(), "authorization: Basic cmVhZGVyOmE6YiA=\r\n");
        let sent = users.identity("ünal", NOW).unwrap();
        let encoded = sent.fields().strip_prefix("authorization: Basic ").unwrap().trim_end();
        assert_eq!(STANDARD.decode(encoded).unwrap(), "ünal:pässwörd ☃".as_bytes());
        assert_eq!(users.of_catalog(NOW).unwrap().fields(), users.identity("reader", NOW).unwrap().fields());
        assert_eq!(users.identity("Reader", NOW).unwrap_err(), IdentityError::UnknownUser("Reader".to_owned()));
        let shown = format!("{users:?} {sent:?}");
        assert!(!shown.contains("Basic ") && !shown.contains("cmVh"), "{shown}");
    }

    #[test]
    fn other_passwords_are_taken_into_use_as_a_whole() {
        let kept = BackendUsers::new(&users(&[("reader", "old")])).unwrap();
        let before = kept.identity("reader", NOW).unwrap();
        kept.go_on_with(BackendUsers::read_again(&users(&[("reader", "new"), ("other", "x")])).unwrap());
        assert_ne!(kept.identity("reader", NOW).unwrap().fields(), before.fields());
        assert_eq!(kept.names(), ["other", "reader"]);
        let long = "x".repeat(8_000);
        assert!(BackendUsers::read_again(&users(&[("reader", &long)])).is_err());
    }

    #[test]
    fn an_api_key_is_sent_until_it_ends_and_another_one_from_a_reload_on() {
        let folder = tempfile::tempdir().unwrap();
        let hold = |name: &str, ends: i64| {
            let token = SecretString::from(format!("os_{}", "a".repeat(43)));
            let expires_at = UnixTime::from_secs(ends);
            Held { id: "1".into(), name: "n".into(), token, expires_at, previous: None }
                .write(folder.path(), name)
                .unwrap();
        };
        let keys = ApiKeys {
            directory: folder.path().to_owned(),
            keys: [("logs".to_owned(), oauth4os_config::ApiKey::default())].into(),
            lifetime: None,
        };
        hold("logs", 2_000);
        let error = BackendUsers::of_api_keys(&keys).unwrap_err().to_string();
        assert!(error.contains("names.json") && error.contains("engine setup --apply"), "{error}");
        hold(NAMES_KEY, 9_000);
        let users = BackendUsers::of_api_keys(&keys).unwrap();
        let (before, after) = (UnixTime::from_secs(1_999), UnixTime::from_secs(2_000));
        let sent = users.identity("logs", before).unwrap();
        assert_eq!(sent.fields(), format!("authorization: ApiKey os_{}\r\n", "a".repeat(43)));
        assert_eq!(users.identity("logs", after).unwrap_err(), IdentityError::KeyEnded("logs".to_owned()));
        assert!(users.of_catalog(after).is_ok());
        hold("logs", 3_000);
        assert!(users.identity("logs", after).is_err());
        users.go_on_with(BackendUsers::read_api_keys(&keys).unwrap());
        assert!(users.identity("logs", after).is_ok());
        assert!(!format!("{users:?}").contains("os_"));
    }
}
