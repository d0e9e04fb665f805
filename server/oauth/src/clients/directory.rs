//! Every client, from the configuration and from the store, in memory.
//!
//! Who looks a client up waits for nothing: the directory is an immutable map that is replaced as a whole. Changes go to
//! the store first and are in force when the call returns.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use oauth4os_config::{CertificateName, ClientConfig, RESERVED_ID_PREFIX};
use oauth4os_federation::{Keyring, KeysError};
use oauth4os_policy::{Clusters, RestrictionError, ScopeError, ScopeSet};
use oauth4os_store::{ClientChange, PageRequest, RevokedToken, SecretHash, Store, StoreError};
use oauth4os_tokens::clock::Clock;
use tokio::sync::{RwLock, RwLockReadGuard};

use super::client::{Client, ClientSource, is_live_secret};
use crate::authority::to_the_end;

type Map = HashMap<Box<str>, Arc<Client>>;

/// The clients of the gateway. Ids are unique over both sources.
#[derive(Debug)]
pub struct ClientDirectory {
    clients: ArcSwap<Map>,
    generation: AtomicU64,
    /// Held for reading while a token is issued, for writing while clients change: a deletion that revokes a client's
    /// tokens must not miss one that is just being recorded.
    changing: RwLock<()>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    clusters: Clusters,
    keyring: Keyring,
}

/// The clients contradict each other, or one could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// One id, two clients.
    #[error("there are two clients `{id}`, in the configuration or in the store; rename or remove one of them")]
    Twice {
        /// The id.
        id: String,
    },
    /// A scope that means nothing.
    #[error("the client `{id}` cannot be used: {source}")]
    Scopes {
        /// The client.
        id: String,
        /// Which scope, and why.
        source: ScopeError,
    },
    /// Scopes that cannot be held to the rows and fields they are to be held to.
    #[error("the client `{id}` cannot be used: {source}")]
    Restricted {
        /// The client.
        id: String,
        /// Which scope, and why.
        source: Box<RestrictionError>,
    },
    /// An id that could be taken for the name of a provider's principal.
    #[error("the client `{id}` cannot be used: ids that begin with `idp.` are those of providers' principals")]
    Reserved {
        /// The id.
        id: String,
    },
    /// A configured client without secret.
    #[error(
        "the client `{id}` has no secret and cannot prove who it is; give `secret`, `secret_hash`, `jwks`, `jwks_uri` or `certificate`"
    )]
    NoSecret {
        /// The client.
        id: String,
    },
    /// Public keys that cannot be used.
    #[error("the client `{id}` cannot be used: {source}")]
    Keys {
        /// The client.
        id: String,
        /// Which, and why.
        source: KeysError,
    },
    /// A client of the configuration cannot be changed at run time.
    #[error("the client `{id}` is registered in the configuration file; change it there and reload the gateway")]
    Configured {
        /// The client.
        id: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ClientDirectory {
    /// Reads every client.
    ///
    /// # Errors
    /// [`DirectoryError`]: an id is used twice, a client's scopes mean nothing, or the store failed.
    pub async fn load(
        configured: &[ClientConfig],
        clusters: Clusters,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, DirectoryError> {
        let keyring = Keyring::new(Arc::clone(&clock));
        let mut map = Map::new();
        for config in configured {
            add(&mut map, Client::from_config(config, &clusters, &keyring)?)?;
        }
        let mut page = PageRequest { after: None, limit: PageRequest::MAX_LIMIT };
        loop {
            let found = store.clients(page.clone()).await?;
            for client in found.items {
                add(&mut map, Client::from_store(client, &clusters)?)?;
            }
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
        Ok(Self {
            clients: ArcSwap::from_pointee(map),
            generation: AtomicU64::new(0),
            changing: RwLock::new(()),
            store,
            clock,
            clusters,
            keyring,
        })
    }

    /// The client of this id, also one that is disabled.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Client>> {
        self.clients.load().get(id).cloned()
    }

    /// Every client, in no order.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.clients.load().values().cloned().collect()
    }

    /// The enabled client of this id whose secret this is.
    ///
    /// Unknown, disabled and wrong are one answer and take the same work.
    #[must_use]
    pub fn authenticate(&self, id: &str, secret: &str) -> Option<Arc<Client>> {
        let client = self.get(id);
        let secrets = client.as_deref().map_or(&[][..], Client::secrets);
        let proven = is_live_secret(&SecretHash::of(secret), secrets, self.clock.now());
        client.filter(|client| proven & client.enabled)
    }

    /// The clients whose certificate has one of these names.
    pub(crate) fn of_certificate(&self, names: &[CertificateName]) -> Vec<Arc<Client>> {
        let clients = self.clients.load();
        let owns = |client: &&Arc<Client>| client.certificate.as_ref().is_some_and(|name| names.contains(name));
        clients.values().filter(owns).cloned().collect()
    }

    /// Whether any client has a certificate.
    pub(crate) fn have_certificates(&self) -> bool {
        self.clients.load().values().any(|client| client.certificate.is_some())
    }

    /// Changes whenever a client changes: who keeps something made from a client compares it on each use.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Puts other clients of the configuration in force; those of the store stay as they are. `publish` sees the
    /// directory as it is from now on, before a token is issued from it.
    ///
    /// # Errors
    /// As [`load`](Self::load); nothing has changed then.
    pub async fn reconfigure(
        &self,
        configured: &[ClientConfig],
        publish: impl FnOnce(&Self),
    ) -> Result<(), DirectoryError> {
        let mut map = Map::new();
        for config in configured {
            add(&mut map, Client::from_config(config, &self.clusters, &self.keyring)?)?;
        }
        let _changing = self.changing.write().await;
        for client in self.clients.load().values().filter(|client| client.source == ClientSource::Store) {
            add(&mut map, Client::clone(client))?;
        }
        self.clients.store(Arc::new(map));
        self.generation.fetch_add(1, Ordering::Release);
        publish(self);
        Ok(())
    }

    /// Registers a client in the store.
    ///
    /// # Errors
    /// [`DirectoryError::Twice`], [`DirectoryError::Scopes`], or the store's.
    pub async fn create(self: &Arc<Self>, client: oauth4os_store::Client) -> Result<Arc<Client>, DirectoryError> {
        let directory = Arc::clone(self);
        finish(async move {
            let _changing = directory.changing.write().await;
            check_id(&client.id)?;
            if directory.get(&client.id).is_some() {
                return Err(DirectoryError::Twice { id: client.id });
            }
            let ours = Arc::new(Client::from_store(client.clone(), &directory.clusters)?);
            directory.store.create_client(client).await?;
            directory.publish(|map| map.insert(ours.id.as_str().into(), Arc::clone(&ours)));
            Ok(ours)
        })
        .await
    }

    /// Changes a client of the store, and returns it as it is from now on.
    ///
    /// # Errors
    /// [`DirectoryError::Configured`], [`DirectoryError::Scopes`], or the store's.
    pub async fn change(self: &Arc<Self>, id: &str, change: ClientChange) -> Result<Arc<Client>, DirectoryError> {
        let (directory, id) = (Arc::clone(self), id.to_owned());
        finish(async move {
            let _changing = directory.changing.write().await;
            directory.refuse_configured(&id)?;
            if let Some(scopes) = &change.scopes {
                ScopeSet::parse(scopes, &directory.clusters)
                    .map_err(|source| DirectoryError::Scopes { id: id.clone(), source })?;
            }
            let changed = directory.store.change_client(&id, change).await?;
            let ours = Arc::new(Client::from_store(changed, &directory.clusters)?);
            directory.publish(|map| map.insert(ours.id.as_str().into(), Arc::clone(&ours)));
            Ok(ours)
        })
        .await
    }

    /// Removes a client of the store; its tokens are revoked there and returned.
    pub(crate) async fn delete(&self, id: &str) -> Result<Vec<RevokedToken>, DirectoryError> {
        let _changing = self.changing.write().await;
        self.refuse_configured(id)?;
        let revoked = self.store.delete_client(id).await?;
        self.publish(|map| map.remove(id));
        Ok(revoked)
    }

    /// While this is held no client changes.
    pub(crate) async fn unchanged(&self) -> RwLockReadGuard<'_, ()> {
        self.changing.read().await
    }

    fn refuse_configured(&self, id: &str) -> Result<(), DirectoryError> {
        match self.get(id) {
            Some(client) if client.source == ClientSource::Configuration => {
                Err(DirectoryError::Configured { id: id.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn publish<T>(&self, change: impl FnOnce(&mut Map) -> T) {
        let mut map = Map::clone(&self.clients.load());
        change(&mut map);
        self.clients.store(Arc::new(map));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// The engine knows the principals of providers by names that begin so.
fn check_id(id: &str) -> Result<(), DirectoryError> {
    if id.starts_with(RESERVED_ID_PREFIX) { Err(DirectoryError::Reserved { id: id.to_owned() }) } else { Ok(()) }
}

fn add(map: &mut Map, client: Client) -> Result<(), DirectoryError> {
    let id = client.id.clone();
    check_id(&id)?;
    match map.insert(id.as_str().into(), Arc::new(client)) {
        None => Ok(()),
        Some(_) => Err(DirectoryError::Twice { id }),
    }
}

async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, DirectoryError>> + Send + 'static,
) -> Result<T, DirectoryError> {
    to_the_end(work).await.unwrap_or(Err(DirectoryError::Store(StoreError::Closed)))
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
