//! The driver `basic`: users that a cluster already has, by name and password (RFC 7617).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oauth4os_config::Basic;
use oauth4os_tokens::clock::UnixTime;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::identity::{HandedIdentity, IdentityError};

/// The users of one cluster, each ready to be sent.
pub struct BackendUsers {
    made: ArcSwap<HashMap<String, Arc<HandedIdentity>>>,
    catalog_user: Option<String>,
}

impl BackendUsers {
    /// # Errors
    /// When a name and its password are too long for a request.
    pub fn new(basic: &Basic) -> Result<Self, IdentityError> {
        Ok(Self { made: ArcSwap::from_pointee(make(&basic.passwords)?), catalog_user: basic.catalog_user.clone() })
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

    /// What is sent for a user.
    ///
    /// # Errors
    /// [`IdentityError::UnknownUser`].
    pub fn identity(&self, user: &str) -> Result<Arc<HandedIdentity>, IdentityError> {
        let made = self.made.load();
        made.get(user).cloned().ok_or_else(|| IdentityError::UnknownUser(user.escape_default().to_string()))
    }

    /// What the gateway reads the names of indices with.
    ///
    /// # Errors
    /// When no user was named for it.
    pub fn of_catalog(&self) -> Result<Arc<HandedIdentity>, IdentityError> {
        self.identity(self.catalog_user.as_deref().ok_or(IdentityError::NoUser)?)
    }

    /// Their names.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.made.load().keys().cloned().collect();
        names.sort_unstable();
        names
    }
}

/// Passwords that are ready to be sent.
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

    fn users(pairs: &[(&str, &str)]) -> Basic {
        let passwords = pairs.iter().map(|(name, password)| ((*name).to_owned(), SecretString::from(*password)));
        Basic { passwords: passwords.collect(), catalog_user: Some("reader".to_owned()), ..Basic::default() }
    }

    #[test]
    fn name_and_password_are_sent_as_utf_8() {
        let users = BackendUsers::new(&users(&[("reader", "a:b "), ("ünal", "pässwörd ☃")])).unwrap();
        assert_eq!(users.identity("reader").unwrap().fields(), "authorization: Basic cmVhZGVyOmE6YiA=\r\n");
        let sent = users.identity("ünal").unwrap();
        let encoded = sent.fields().strip_prefix("authorization: Basic ").unwrap().trim_end();
        assert_eq!(STANDARD.decode(encoded).unwrap(), "ünal:pässwörd ☃".as_bytes());
        assert_eq!(users.of_catalog().unwrap().fields(), users.identity("reader").unwrap().fields());
        assert_eq!(users.identity("Reader").unwrap_err(), IdentityError::UnknownUser("Reader".to_owned()));
        let shown = format!("{users:?} {sent:?}");
        assert!(!shown.contains("Basic ") && !shown.contains("cmVh"), "{shown}");
    }

    #[test]
    fn other_passwords_are_taken_into_use_as_a_whole() {
        let kept = BackendUsers::new(&users(&[("reader", "old")])).unwrap();
        let before = kept.identity("reader").unwrap();
        kept.go_on_with(BackendUsers::read_again(&users(&[("reader", "new"), ("other", "x")])).unwrap());
        assert_ne!(kept.identity("reader").unwrap().fields(), before.fields());
        assert_eq!(kept.names(), ["other", "reader"]);
        let long = "x".repeat(8_000);
        assert!(BackendUsers::read_again(&users(&[("reader", &long)])).is_err());
    }
}
