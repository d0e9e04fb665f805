//! Clients: who may ask for tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::{Secret, constant_time_eq, sha256};

use crate::{Page, PageRequest, Pending, RevokedToken};

/// Most secrets a client has in force at a time: the one in use and the one that replaces it.
pub const MAX_LIVE_SECRETS: usize = 2;

/// A registered client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// A name for people.
    pub name: String,
    /// What it is.
    pub kind: ClientKind,
    /// Groups, as policies name them.
    pub groups: BTreeSet<String>,
    /// Labels, for selecting clients in bulk.
    pub labels: BTreeMap<String, String>,
    /// The scopes it may ask for, separated by spaces.
    pub scopes: String,
    /// Its secrets, expired ones included until they are removed.
    pub secrets: Vec<StoredSecret>,
    /// Whether it may be given tokens and use those it has.
    pub enabled: bool,
    /// When it was registered.
    pub created_at: UnixTime,
    /// Its own limit in place of the configured one.
    pub rate_limit: Option<RateLimit>,
}

impl Client {
    /// Whether `secret` is one of this client's secrets in force. Takes the same time whichever it is, or none.
    #[must_use]
    pub fn verify_secret(&self, secret: &str, now: UnixTime) -> bool {
        let hash = SecretHash::of(secret);
        self.secrets.iter().fold(false, |found, stored| found | (hash.matches(&stored.hash) & stored.is_live(now)))
    }
}

/// What a client is; agents are what policies on `Agent::` speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClientKind {
    /// A service, a pipeline, a job.
    Machine,
    /// An AI agent.
    Agent,
}

impl ClientKind {
    /// `machine` or `agent`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Machine => "machine",
            Self::Agent => "agent",
        }
    }
}

impl FromStr for ClientKind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "machine" => Ok(Self::Machine),
            "agent" => Ok(Self::Agent),
            _ => Err(()),
        }
    }
}

/// How often a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests per second in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

/// A client secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSecret {
    /// Its id, unique within the client.
    pub id: String,
    /// Its hash.
    pub hash: SecretHash,
    /// Its first characters, for people.
    pub hint: String,
    /// When it was made.
    pub created_at: UnixTime,
    /// From this on it is not in force.
    pub expires_at: Option<UnixTime>,
}

impl StoredSecret {
    /// What is kept of `secret`.
    #[must_use]
    pub fn of(secret: &Secret, id: impl Into<String>, created_at: UnixTime) -> Self {
        Self {
            id: id.into(),
            hash: SecretHash(secret.sha256()),
            hint: secret.hint().to_owned(),
            created_at,
            expires_at: None,
        }
    }

    /// Whether the secret is in force at `now`.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// SHA-256 of a secret of at least 256 random bits.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(sha256(secret.as_bytes()))
    }

    /// A hash read from where it was kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash, for keeping.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are of the same secret, compared in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        constant_time_eq(&self.0, &other.0)
    }
}

impl PartialEq for SecretHash {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other)
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// New values for some of a client's properties; what is `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientChange {
    /// See [`Client::name`].
    pub name: Option<String>,
    /// See [`Client::groups`].
    pub groups: Option<BTreeSet<String>>,
    /// See [`Client::labels`].
    pub labels: Option<BTreeMap<String, String>>,
    /// See [`Client::scopes`].
    pub scopes: Option<String>,
    /// See [`Client::enabled`].
    pub enabled: Option<bool>,
    /// See [`Client::rate_limit`]; `Some(None)` goes back to the configured limit.
    pub rate_limit: Option<Option<RateLimit>>,
}

/// The repository of clients.
pub trait Clients {
    /// Registers a client with its secrets.
    ///
    /// # Errors
    /// [`Exists`](crate::StoreError::Exists), [`TooManySecrets`](crate::StoreError::TooManySecrets).
    fn create_client(&self, client: Client) -> Pending<'_, ()>;

    /// One client, with its secrets.
    fn client(&self, id: &str) -> Pending<'_, Option<Client>>;

    /// Clients in the order of their registration.
    fn clients(&self, page: PageRequest) -> Pending<'_, Page<Client>>;

    /// Changes a client and returns it as it is now.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound).
    fn change_client(&self, id: &str, change: ClientChange) -> Pending<'_, Client>;

    /// Removes a client and its secrets and revokes its tokens, all or nothing; returns the tokens that were in force.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound).
    fn delete_client(&self, id: &str) -> Pending<'_, Vec<RevokedToken>>;

    /// Gives a client one more secret and removes its expired ones. Of two callers at the limit one wins.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound), [`Exists`](crate::StoreError::Exists),
    /// [`TooManySecrets`](crate::StoreError::TooManySecrets).
    fn add_client_secret(&self, client_id: &str, secret: StoredSecret) -> Pending<'_, ()>;

    /// Lets a secret end at a time, so that the one replacing it can be rolled out meanwhile.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound).
    fn expire_client_secret(&self, client_id: &str, secret_id: &str, expires_at: UnixTime) -> Pending<'_, ()>;

    /// Removes a secret at once.
    ///
    /// # Errors
    /// [`NotFound`](crate::StoreError::NotFound).
    fn remove_client_secret(&self, client_id: &str, secret_id: &str) -> Pending<'_, ()>;
}

#[cfg(test)]
mod tests {
    use oauth4os_tokens::id::SecretKind;

    use super::*;

    fn secret() -> Secret {
        Secret::generate(SecretKind::Client).unwrap()
    }

    #[test]
    fn only_a_live_secret_of_the_client_is_taken() {
        let now = UnixTime::from_secs(100);
        let (old, new, foreign) = (secret(), secret(), secret());
        let mut ending = StoredSecret::of(&old, "1", now);
        ending.expires_at = Some(UnixTime::from_secs(200));
        let client = Client {
            id: "shipper".to_owned(),
            name: String::new(),
            kind: ClientKind::Machine,
            groups: BTreeSet::new(),
            labels: BTreeMap::new(),
            scopes: String::new(),
            secrets: vec![ending, StoredSecret::of(&new, "2", now)],
            enabled: true,
            created_at: now,
            rate_limit: None,
        };
        assert!(client.verify_secret(old.expose(), now));
        assert!(client.verify_secret(new.expose(), now));
        assert!(!client.verify_secret(foreign.expose(), now));
        assert!(!client.verify_secret("", now));
        assert!(!client.verify_secret(&new.expose().to_lowercase(), now));
        assert!(!client.verify_secret(old.expose(), UnixTime::from_secs(200)));
        assert!(client.verify_secret(new.expose(), UnixTime::from_secs(200)));
        let none = Client { secrets: Vec::new(), ..client };
        assert!(!none.verify_secret("", now));
    }

    #[test]
    fn debug_shows_no_hash() {
        let stored = StoredSecret::of(&secret(), "1", UnixTime::from_secs(1));
        assert!(format!("{stored:?}").contains("SecretHash(…)"));
    }
}
