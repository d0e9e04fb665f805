//! Clients and their secrets.

use super::*;
use crate::{ClientChange, PageRequest, Tokens as _};

#[tokio::test]
async fn a_client_comes_back_as_it_was() {
    let place = Place::new();
    let store = place.open().await;
    let mut client = place.client("shipper");
    client.secrets = vec![place.secret("1").1, place.secret("2").1];
    store.create_client(client.clone()).await.unwrap();
    let plain = Client {
        rate_limit: None,
        groups: BTreeSet::new(),
        labels: BTreeMap::new(),
        kind: ClientKind::Machine,
        enabled: false,
        ..place.client("'; DROP TABLE clients; --")
    };
    store.create_client(plain.clone()).await.unwrap();
    let store = place.reopen(store).await;
    assert_eq!(store.client("shipper").await.unwrap(), Some(client));
    assert_eq!(store.client(&plain.id).await.unwrap(), Some(plain));
    assert_eq!(store.client("").await.unwrap(), None);
}

#[tokio::test]
async fn an_id_is_given_once() {
    let place = Place::new();
    let store = place.open().await;
    store.create_client(place.client("a")).await.unwrap();
    let error = store.create_client(place.client("a")).await.unwrap_err();
    assert_eq!(error.to_string(), "there is a client `a` already");
}

#[tokio::test]
async fn a_change_touches_what_it_names() {
    let place = Place::new();
    let store = place.open().await;
    let mut expected = place.client("a");
    expected.secrets = vec![place.secret("1").1];
    store.create_client(expected.clone()).await.unwrap();
    let same = store.change_client("a", ClientChange::default()).await.unwrap();
    assert_eq!(same, expected);
    let changed = store
        .change_client(
            "a",
            ClientChange {
                scopes: Some("search:logs-*".to_owned()),
                enabled: Some(false),
                rate_limit: Some(None),
                ..ClientChange::default()
            },
        )
        .await
        .unwrap();
    expected.scopes = "search:logs-*".to_owned();
    expected.enabled = false;
    expected.rate_limit = None;
    assert_eq!(changed, expected);
    assert_eq!(store.client("a").await.unwrap(), Some(expected));
    assert!(matches!(
        store.change_client("b", ClientChange::default()).await,
        Err(StoreError::NotFound { what: "client", .. })
    ));
}

#[tokio::test]
async fn a_deleted_client_takes_its_secrets_and_tokens_along() {
    let place = Place::new();
    let store = place.open().await;
    let mut client = place.client("a");
    client.secrets = vec![place.secret("1").1];
    store.create_client(client).await.unwrap();
    store.record_issued(place.token("tok_a", "a")).await.unwrap();
    store.record_issued(place.token("tok_b", "b")).await.unwrap();
    let revoked = store.delete_client("a").await.unwrap();
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].id, "tok_a");
    assert_eq!(store.client("a").await.unwrap(), None);
    assert_eq!(store.revoked_tokens().await.unwrap(), revoked);
    let secrets: i64 =
        sqlx::query_scalar("SELECT count(*) FROM client_secrets").fetch_one(&store.readers).await.unwrap();
    assert_eq!(secrets, 0);
    assert!(matches!(store.delete_client("a").await, Err(StoreError::NotFound { .. })));
}

#[tokio::test]
async fn secrets_rotate_with_two_in_force() {
    let place = Place::new();
    let store = place.open().await;
    let (old, old_stored) = place.secret("old");
    let (new, new_stored) = place.secret("new");
    let mut client = place.client("a");
    client.secrets = vec![old_stored];
    store.create_client(client).await.unwrap();
    store.add_client_secret("a", new_stored).await.unwrap();
    let client = store.client("a").await.unwrap().unwrap();
    assert!(client.verify_secret(old.expose(), place.now()));
    assert!(client.verify_secret(new.expose(), place.now()));

    let error = store.add_client_secret("a", place.secret("third").1).await;
    assert_eq!(error.unwrap_err().to_string(), "the client `a` has two secrets in force already; remove one first");
    let end = place.now() + Duration::from_secs(60);
    store.expire_client_secret("a", "old", end).await.unwrap();
    place.clock.set(end);
    let store = place.reopen(store).await;
    let client = store.client("a").await.unwrap().unwrap();
    assert!(!client.verify_secret(old.expose(), place.now()));
    assert!(client.verify_secret(new.expose(), place.now()));

    // The expired one makes room and goes.
    store.add_client_secret("a", place.secret("third").1).await.unwrap();
    let ids = |client: &Client| -> Vec<String> { client.secrets.iter().map(|secret| secret.id.clone()).collect() };
    let client = store.client("a").await.unwrap().unwrap();
    assert_eq!(ids(&client), ["new", "third"]);
    store.remove_client_secret("a", "new").await.unwrap();
    let client = store.client("a").await.unwrap().unwrap();
    assert_eq!(ids(&client), ["third"]);
    assert!(!client.verify_secret(new.expose(), place.now()));
    for missing in [
        store.remove_client_secret("a", "new").await,
        store.expire_client_secret("a", "new", end).await,
        store.remove_client_secret("b", "third").await,
        store.add_client_secret("b", place.secret("x").1).await,
    ] {
        assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    }
    assert!(matches!(
        store.add_client_secret("a", place.secret("third").1).await,
        Err(StoreError::Exists { what: "secret", .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_added_secrets_two_are_kept() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    store.create_client(place.client("a")).await.unwrap();
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let store = Arc::clone(&store);
            let secret = place.secret(&n.to_string()).1;
            tokio::spawn(async move { store.add_client_secret("a", secret).await.is_ok() })
        })
        .collect();
    let mut added = 0;
    for call in calls {
        added += usize::from(call.await.unwrap());
    }
    assert_eq!(added, 2);
    assert_eq!(store.client("a").await.unwrap().unwrap().secrets.len(), 2);
}

#[tokio::test]
async fn pages_show_every_client_once_in_order() {
    let place = Place::new();
    let store = place.open().await;
    let mut expected = Vec::new();
    for n in 0..25 {
        // Several of the same moment, so that the id must decide.
        if n % 3 == 0 {
            place.clock.advance(Duration::from_millis(1));
        }
        let mut client = place.client(&format!("client-{n:02}"));
        client.secrets = vec![place.secret("1").1];
        store.create_client(client.clone()).await.unwrap();
        expected.push(client);
    }
    for limit in [0, 1, 7, 24, 25, 26, u32::MAX] {
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let page = store.clients(PageRequest { after, limit }).await.unwrap();
            assert!(page.items.len() <= limit.max(1) as usize);
            seen.extend(page.items);
            // Through its text, as a caller sends it.
            after = page.next.map(|next| next.to_string().parse().unwrap());
            if after.is_none() {
                break;
            }
        }
        assert_eq!(seen, expected, "{limit}");
    }
}
