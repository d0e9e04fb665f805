//! Used assertions.

use super::*;
use crate::{Assertions as _, SingleUse};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_uses_one_wins_also_after_a_restart() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let once = SingleUse { id: [7; 32], expires_at: place.now() + Duration::from_secs(300) };
    let uses: Vec<_> = (0..100)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.spend(once).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for one in uses {
        won += usize::from(one.await.unwrap());
    }
    assert_eq!(won, 1);
    let store = place.reopen(Arc::into_inner(store).unwrap()).await;
    assert!(!store.spend(once).await.unwrap());
    // The same name with another end is the same.
    assert!(!store.spend(SingleUse { expires_at: place.now(), ..once }).await.unwrap());
    assert!(store.spend(SingleUse { id: [8; 32], ..once }).await.unwrap());
}

#[tokio::test]
async fn only_what_has_ended_is_forgotten() {
    let place = Place::new();
    let store = place.open().await;
    let once =
        |id: u8, seconds: u64| SingleUse { id: [id; 32], expires_at: place.now() + Duration::from_secs(seconds) };
    assert!(store.spend(once(1, 10)).await.unwrap());
    assert!(store.spend(once(2, 20)).await.unwrap());
    assert_eq!(store.forget_spent(place.now() + Duration::from_secs(15)).await.unwrap(), 1);
    assert!(!store.spend(once(2, 20)).await.unwrap());
    assert!(store.spend(once(1, 10)).await.unwrap());
}
