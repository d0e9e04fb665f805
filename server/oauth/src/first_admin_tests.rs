use std::sync::Arc;

use oauth4os_policy::Clusters;
use oauth4os_store::{Clients as _, PageRequest};
use oauth4os_tokens::clock::ManualClock;
use serde_json::json;

use super::*;
use crate::ClientDirectory;
use crate::test_support::{folder, open};

fn configured(id: &str, scope: &str) -> Vec<ClientConfig> {
    let hash = format!("sha256:{}", "0".repeat(64));
    serde_json::from_value(json!([{"id": id, "secret_hash": hash, "scopes": [scope]}])).unwrap()
}

#[tokio::test]
async fn the_first_start_makes_one_administrator_and_later_ones_none() {
    let folder = folder();
    let clock = ManualClock::default();
    let store = open(folder.path(), &clock).await;
    let admin = ensure_first_admin(&*store, &clock, &[], |_| Ok(())).await.unwrap().unwrap();
    assert_eq!(admin.client_id, "admin");
    assert!(!format!("{admin:?}").contains(admin.client_secret.expose()));
    assert!(ensure_first_admin(&*store, &clock, &[], |_| Ok(())).await.unwrap().is_none());

    let directory =
        ClientDirectory::load(&[], Clusters::default(), store.clone(), Arc::new(clock.clone())).await.unwrap();
    let client = directory.authenticate("admin", admin.client_secret.expose()).unwrap();
    assert_eq!(client.scopes.to_string(), "admin:gateway");

    // Not even when the administrator was removed: the store was in use before.
    store.delete_client("admin").await.unwrap();
    drop((directory, store));
    let store = open(folder.path(), &clock).await;
    assert!(ensure_first_admin(&*store, &clock, &[], |_| Ok(())).await.unwrap().is_none());
    assert!(store.clients(PageRequest::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn of_many_starts_at_once_one_gets_the_credentials() {
    let folder = folder();
    let clock = ManualClock::default();
    let store = open(folder.path(), &clock).await;
    let starts: Vec<_> = (0..20)
        .map(|_| {
            let (store, clock) = (store.clone(), clock.clone());
            tokio::spawn(async move { ensure_first_admin(&*store, &clock, &[], |_| Ok(())).await.unwrap() })
        })
        .collect();
    let mut given = Vec::new();
    for start in starts {
        given.extend(start.await.unwrap());
    }
    assert_eq!(given.len(), 1);
    let directory = ClientDirectory::load(&[], Clusters::default(), store, Arc::new(clock)).await.unwrap();
    assert!(directory.authenticate("admin", given[0].client_secret.expose()).is_some());
}

#[tokio::test]
async fn a_configured_administrator_is_enough() {
    let folder = folder();
    let clock = ManualClock::default();
    let store = open(folder.path(), &clock).await;
    for id in ["operator", "admin"] {
        assert!(
            ensure_first_admin(&*store, &clock, &configured(id, "admin:gateway"), |_| Ok(())).await.unwrap().is_none()
        );
    }
    let taken = ensure_first_admin(&*store, &clock, &configured("admin", "read:logs-*"), |_| Ok(())).await;
    assert!(matches!(taken, Err(FirstAdminError::IdTaken)));
    assert!(store.clients(PageRequest::default()).await.unwrap().items.is_empty());
    assert!(
        ensure_first_admin(&*store, &clock, &configured("reader", "read:logs-*"), |_| Ok(())).await.unwrap().is_some()
    );
}

#[tokio::test]
async fn an_administrator_who_cannot_be_shown_is_not_made() {
    let folder = folder();
    let clock = ManualClock::default();
    let store = open(folder.path(), &clock).await;
    let refused = ensure_first_admin(&*store, &clock, &[], |_| Err(std::io::Error::other("no room"))).await;
    assert!(matches!(refused, Err(FirstAdminError::NotShown(_))), "{refused:?}");
    assert!(store.initialised_at().await.unwrap().is_none());
    assert!(ensure_first_admin(&*store, &clock, &[], |_| Ok(())).await.unwrap().is_some());
}
