//! The first administrator: made once, at the first start on an empty store.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use oauth4os_config::ClientConfig;
use oauth4os_store::{Client, ClientKind, FirstStart, Store, StoreError, StoredSecret};
use oauth4os_tokens::clock::Clock;
use oauth4os_tokens::id::{NoRandomness, Secret, SecretKind, random_id};

/// The id of the first administrator.
const ADMINISTRATOR: &str = "admin";
/// The least that is needed to manage the gateway: no right on the engine at all.
const ADMINISTRATOR_SCOPES: &str = "admin:gateway";

/// The first administrator's credentials, to be shown once: the store keeps the hash only.
#[derive(Clone, Debug)]
pub struct FirstAdmin {
    /// The `client_id`.
    pub client_id: String,
    /// The secret.
    pub client_secret: Secret,
}

/// The first administrator could not be made.
#[derive(Debug, thiserror::Error)]
pub enum FirstAdminError {
    /// A configured client has the administrator's id, and is none.
    #[error(
        "the configured client `{ADMINISTRATOR}` has the id of the first administrator; rename it, or give it the scope `{ADMINISTRATOR_SCOPES}`"
    )]
    IdTaken,
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The credential could not be shown, so the administrator was not made.
    #[error("the first administrator's credential cannot be shown: {0}")]
    NotShown(io::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes the client `admin` with the scope `admin:gateway` when the store is used for the first time. To be called
/// before the clients are loaded.
///
/// `show` is called with the credential before the client is made: were the process to end in between, the next start
/// shows another one, and at no time is there an administrator whose secret nobody has seen. When the result is none
/// although `show` was called, somebody else was first, and what was shown is void.
///
/// None on every later start, and as long as a configured client has `admin:gateway`: then there is an administrator
/// whom the operator has named. Of several replicas that start at once, one gets the credentials.
///
/// # Errors
/// [`FirstAdminError`].
pub async fn ensure_first_admin(
    store: &dyn Store,
    clock: &dyn Clock,
    configured: &[ClientConfig],
    show: impl FnOnce(&FirstAdmin) -> io::Result<()>,
) -> Result<Option<FirstAdmin>, FirstAdminError> {
    let is_administrator = |client: &ClientConfig| client.scopes.iter().any(|scope| scope == ADMINISTRATOR_SCOPES);
    if configured.iter().any(is_administrator) || store.initialised_at().await?.is_some() {
        return Ok(None);
    }
    if configured.iter().any(|client| client.id == ADMINISTRATOR) {
        return Err(FirstAdminError::IdTaken);
    }
    let now = clock.now();
    let secret = Secret::generate(SecretKind::Client)?;
    let client = Client {
        id: ADMINISTRATOR.to_owned(),
        name: "First administrator".to_owned(),
        kind: ClientKind::Machine,
        groups: BTreeSet::new(),
        labels: BTreeMap::new(),
        scopes: ADMINISTRATOR_SCOPES.to_owned(),
        secrets: vec![StoredSecret::of(&secret, random_id("sec_")?, now)],
        enabled: true,
        created_at: now,
        rate_limit: None,
    };
    let admin = FirstAdmin { client_id: ADMINISTRATOR.to_owned(), client_secret: secret };
    show(&admin).map_err(FirstAdminError::NotShown)?;
    Ok(match store.initialise(client).await? {
        FirstStart::Now => Some(admin),
        FirstStart::Before(_) => None,
    })
}

#[cfg(test)]
#[path = "first_admin_tests.rs"]
mod tests;
