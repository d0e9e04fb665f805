//! Signing keys.

use oauth4os_tokens::keys::{Algorithm, SigningKey};

use super::*;
use crate::{KeyState, KeyUse, Keys as _, StoredKey, signing_keys};

fn new_key(place: &Place, usage: KeyUse) -> StoredKey {
    let key = SigningKey::generate(usage.algorithm()).unwrap();
    StoredKey::of(&key, usage, place.now()).unwrap()
}

#[tokio::test]
async fn keys_are_made_at_first_start_and_survive_restarts() {
    let place = Place::new();
    let store = place.open().await;
    let access = signing_keys(&store, KeyUse::Access, place.now()).await.unwrap();
    let internal = signing_keys(&store, KeyUse::Internal, place.now()).await.unwrap();
    assert_eq!(access.active().algorithm(), Algorithm::Es256);
    assert_eq!(internal.active().algorithm(), Algorithm::Rs256);
    let signature = access.active().sign(b"before").unwrap();

    place.clock.advance(Duration::from_secs(3600));
    let store = place.reopen(store).await;
    let again = signing_keys(&store, KeyUse::Access, place.now()).await.unwrap();
    assert_eq!(again.jwks(), access.jwks());
    let key = again.find(access.active().kid()).unwrap();
    assert!(key.verify(b"before", &signature));
    let again = signing_keys(&store, KeyUse::Internal, place.now()).await.unwrap();
    assert_eq!(again.active().kid(), internal.active().kid());
    let [kept] = store.keys(KeyUse::Access).await.unwrap().try_into().unwrap();
    assert_eq!(kept.created_at, place.now() - Duration::from_secs(3600));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_first_keys_one_is_kept() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let starts: Vec<_> = (0..20)
        .map(|_| {
            let store = Arc::clone(&store);
            let candidate = new_key(&place, KeyUse::Access);
            tokio::spawn(async move { store.ensure_key(candidate).await.unwrap().kid })
        })
        .collect();
    let mut kids = BTreeSet::new();
    for start in starts {
        kids.insert(start.await.unwrap());
    }
    assert_eq!(kids.len(), 1);
    assert_eq!(store.keys(KeyUse::Access).await.unwrap().len(), 1);
}

#[tokio::test]
async fn keys_rotate_with_overlap_and_are_erased_at_their_end() {
    let place = Place::new();
    let store = place.open().await;
    let first = new_key(&place, KeyUse::Access);
    let second = new_key(&place, KeyUse::Access);
    store.ensure_key(first.clone()).await.unwrap();
    store.ensure_key(new_key(&place, KeyUse::Internal)).await.unwrap();
    place.clock.advance(Duration::from_secs(1));
    store.rotate_key(second.clone()).await.unwrap();

    let keys = signing_keys(&store, KeyUse::Access, place.now()).await.unwrap();
    assert_eq!(keys.active().kid(), second.kid);
    assert!(keys.find(&first.kid).is_some());
    assert_eq!(keys.verifying().len(), 2);
    let internal = store.keys(KeyUse::Internal).await.unwrap();
    assert_eq!(internal[0].state, KeyState::Active, "another use is not touched");

    let refused = store.retire_key(&second.kid).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("the key `{}` is active and cannot become retired", second.kid));
    store.retire_key(&first.kid).await.unwrap();
    store.retire_key(&first.kid).await.unwrap();
    assert_eq!(store.keys(KeyUse::Access).await.unwrap().len(), 1);
    let left: Option<String> = sqlx::query_scalar("SELECT sealed FROM signing_keys WHERE kid = ?")
        .bind(&first.kid)
        .fetch_one(&store.readers)
        .await
        .unwrap();
    assert_eq!(left, None);
    assert!(matches!(store.retire_key("unknown").await, Err(StoreError::NotFound { what: "key", .. })));
    // A key that has been cannot come again.
    assert!(matches!(store.rotate_key(first).await, Err(StoreError::Exists { what: "key", .. })));
    let keys = store.keys(KeyUse::Access).await.unwrap();
    assert_eq!(keys[0].state, KeyState::Active, "the refused change is undone");
}

#[tokio::test]
async fn a_changed_or_moved_key_does_not_open() {
    let place = Place::new();
    let store = place.open().await;
    let key = new_key(&place, KeyUse::Access);
    store.ensure_key(key.clone()).await.unwrap();
    let sealed: String = sqlx::query_scalar("SELECT sealed FROM signing_keys").fetch_one(&store.readers).await.unwrap();
    let mut flipped = sealed.clone();
    let last = if flipped.pop() == Some('A') { 'E' } else { 'A' };
    flipped.push(last);
    for changed in [flipped, sealed.replace("o4s1", "o4s2"), String::new()] {
        set_sealed(&store, &changed).await;
        let error = store.keys(KeyUse::Access).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "the encrypted `sealed` of `{}` in `signing_keys` is damaged or was changed \
                 from outside; restore a backup",
                key.kid
            )
        );
    }
    set_sealed(&store, &sealed).await;
    assert_eq!(store.keys(KeyUse::Access).await.unwrap().len(), 1);
    sqlx::query("UPDATE signing_keys SET kid = 'other'").execute(&store.writer).await.unwrap();
    assert!(matches!(store.keys(KeyUse::Access).await, Err(StoreError::Seal(_))));
}

async fn set_sealed(store: &SqliteStore, sealed: &str) {
    sqlx::query("UPDATE signing_keys SET sealed = ?").bind(sealed).execute(&store.writer).await.unwrap();
}

#[tokio::test]
async fn a_key_under_a_foreign_id_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    let mut key = new_key(&place, KeyUse::Access);
    key.kid = "mislabelled".to_owned();
    store.ensure_key(key).await.unwrap();
    assert!(matches!(
        signing_keys(&store, KeyUse::Access, place.now()).await,
        Err(StoreError::Corrupt { what: "key", .. })
    ));
}

#[test]
fn debug_shows_no_private_key() {
    let place = Place::new();
    let shown = format!("{:?}", new_key(&place, KeyUse::Access));
    assert!(shown.contains("kid") && !shown.contains("pkcs8"), "{shown}");
}
