//! Keys of internal tokens, from one to the next.

use oauth4os_tokens::keys::SigningKey;

use super::*;
use crate::{EngineKeys as _, KeyState, KeyUse, Keys as _, StoredKey, signing_keys};

fn new_key(place: &Place) -> StoredKey {
    let key = SigningKey::generate(KeyUse::Internal.algorithm()).unwrap();
    StoredKey::of(&key, KeyUse::Internal, place.now()).unwrap()
}

/// What a cluster is told: the key that signs, the one that waits, those that retire.
async fn told(store: &SqliteStore, cluster: &str) -> (String, Option<String>, Vec<(String, Option<UnixTime>)>) {
    let keys = store.engine_keys().await.unwrap().of_cluster(cluster).unwrap();
    let retiring = keys.retiring.iter().map(|retiring| (retiring.key.kid().to_owned(), retiring.ends_at)).collect();
    (keys.signing.kid().to_owned(), keys.waiting.map(|key| key.kid().to_owned()), retiring)
}

#[tokio::test]
async fn each_cluster_goes_over_by_itself_and_every_step_survives_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    let old = signing_keys(&store, KeyUse::Internal, place.now()).await.unwrap().active().kid().to_owned();
    let next = new_key(&place);
    let new = next.kid.clone();
    assert_eq!(store.add_waiting_key(next).await.unwrap(), new);
    assert_eq!(store.add_waiting_key(new_key(&place)).await.unwrap(), new, "one waits at a time");

    let store = place.reopen(store).await;
    for cluster in ["eu", "us"] {
        assert_eq!(told(&store, cluster).await, (old.clone(), Some(new.clone()), vec![]));
    }
    store.switch_engine_key("eu", &new).await.unwrap();
    let store = place.reopen(store).await;
    assert_eq!(told(&store, "eu").await, (new.clone(), None, vec![(old.clone(), None)]));
    assert_eq!(told(&store, "us").await, (old.clone(), Some(new.clone()), vec![]), "one that does not answer goes on");
    let keyring = store.engine_keys().await.unwrap();
    assert_eq!(keyring.is_taken_by_all(["eu", "us"].into_iter()), None);
    assert_eq!(keyring.is_taken_by_all(["eu"].into_iter()), Some(new.as_str()));

    // Both halves of the overlap are what the engine must know, until the end.
    let end = place.now() + Duration::from_secs(60);
    store.set_engine_key_end("eu", &old, end).await.unwrap();
    let keys = store.engine_keys().await.unwrap().of_cluster("eu").unwrap();
    let kids = |now| keys.public(now).iter().map(|key| key.kid().to_owned()).collect::<Vec<_>>();
    assert_eq!(kids(place.now()), [new.clone(), old.clone()]);
    assert_eq!(kids(end), std::slice::from_ref(&new));

    store.forget_engine_key("eu", &old).await.unwrap();
    assert_eq!(store.engine_keys().await.unwrap().needed_by_none().count(), 0, "it is active elsewhere");
    store.switch_engine_key("us", &new).await.unwrap();
    store.promote_waiting_key(&new).await.unwrap();
    store.promote_waiting_key(&new).await.unwrap();
    let store = place.reopen(store).await;
    assert_eq!(store.keys(KeyUse::Internal).await.unwrap()[0].kid, new);
    assert_eq!(store.engine_keys().await.unwrap().needed_by_none().count(), 0, "it still retires there");
    store.forget_engine_key("us", &old).await.unwrap();
    let keyring = store.engine_keys().await.unwrap();
    assert_eq!(keyring.needed_by_none().collect::<Vec<_>>(), [old.as_str()]);
    store.retire_key(&old).await.unwrap();
    assert_eq!(told(&store, "us").await, (new.clone(), None, vec![]));
    let left: Option<String> = sqlx::query_scalar("SELECT sealed FROM signing_keys WHERE kid = ?")
        .bind(&old)
        .fetch_one(&store.readers)
        .await
        .unwrap();
    assert_eq!(left, None);
    // A key that has been does not come again.
    assert!(matches!(store.switch_engine_key("us", &old).await, Err(StoreError::KeyState { .. })));
    assert!(matches!(store.promote_waiting_key(&old).await, Err(StoreError::KeyState { .. })));
}

#[tokio::test]
async fn a_waiting_key_is_neither_the_active_one_nor_retired_by_mistake() {
    let place = Place::new();
    let store = place.open().await;
    let old = signing_keys(&store, KeyUse::Internal, place.now()).await.unwrap();
    let new = store.add_waiting_key(new_key(&place)).await.unwrap();
    let again = signing_keys(&store, KeyUse::Internal, place.now()).await.unwrap();
    assert_eq!(again.jwks(), old.jwks(), "nothing else sees it");
    let refused = store.retire_key(&new).await.unwrap_err().to_string();
    assert_eq!(refused, format!("the key `{new}` is waiting and cannot become retired"));
    // A key of access tokens is none for an engine.
    let access = signing_keys(&store, KeyUse::Access, place.now()).await.unwrap();
    let refused = store.switch_engine_key("", access.active().kid()).await;
    assert!(matches!(refused, Err(StoreError::NotFound { what: "key", .. })));
}

#[tokio::test]
async fn clusters_that_are_gone_keep_no_key() {
    let place = Place::new();
    let store = place.open().await;
    let old = signing_keys(&store, KeyUse::Internal, place.now()).await.unwrap().active().kid().to_owned();
    let new = store.add_waiting_key(new_key(&place)).await.unwrap();
    for cluster in ["", "eu"] {
        store.switch_engine_key(cluster, &new).await.unwrap();
    }
    store.keep_engine_keys_of(vec!["eu".to_owned()]).await.unwrap();
    assert_eq!(told(&store, "").await, (old.clone(), Some(new.clone()), vec![]), "as one that is new");
    assert_eq!(told(&store, "eu").await.0, new);
    store.keep_engine_keys_of(vec![]).await.unwrap();
    assert_eq!(told(&store, "eu").await.0, old);
}

#[tokio::test]
async fn keys_of_an_older_store_are_taken_over() {
    let place = Place::new();
    let store = place.open().await;
    let before = signing_keys(&store, KeyUse::Internal, place.now()).await.unwrap();
    // As the migrations before left it.
    for step in [
        "DROP TABLE engine_keys",
        "ALTER TABLE signing_keys RENAME TO newer",
        "DROP INDEX signing_keys_active",
        "DROP INDEX signing_keys_waiting",
        "CREATE TABLE signing_keys (kid TEXT PRIMARY KEY NOT NULL, usage TEXT NOT NULL CHECK (usage IN ('access', 'internal')), \
         algorithm TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'retired')), sealed TEXT, \
         created_at INTEGER NOT NULL, CHECK ((state = 'retired') = (sealed IS NULL))) STRICT",
        "INSERT INTO signing_keys SELECT * FROM newer",
        "DROP TABLE newer",
        "CREATE UNIQUE INDEX signing_keys_active ON signing_keys (usage) WHERE state = 'active'",
        "DELETE FROM _sqlx_migrations WHERE version = 3",
    ] {
        sqlx::query(step).execute(&store.writer).await.unwrap();
    }
    let store = place.reopen(store).await;
    assert_eq!(told(&store, "").await, (before.active().kid().to_owned(), None, vec![]));
    assert_eq!(store.keys(KeyUse::Internal).await.unwrap()[0].state, KeyState::Active);
}
