//! Tokens that were given out for others.

use oauth4os_tokens::access::Actor;

use super::*;
use crate::{Clients as _, Revocation, RevokedToken, SecretHash, StoreError, Tokens as _};

fn derived(place: &Place, id: &str, client_id: &str, parent: &str) -> IssuedToken {
    IssuedToken {
        parent: Some(parent.to_owned()),
        act: vec![Actor::new(client_id), Actor { sub: "idp/a".to_owned(), client_id: Some("b".to_owned()) }],
        hash: Some(SecretHash::of(id)),
        ..place.token(id, client_id)
    }
}

fn ids(tokens: &[RevokedToken]) -> Vec<&str> {
    let mut ids: Vec<&str> = tokens.iter().map(|token| token.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

/// `a` with `b` and `c` given out for it, `d` for `b`; `x` apart from them.
async fn family(place: &Place) -> SqliteStore {
    let store = place.open().await;
    store.record_issued(place.token("a", "A")).await.unwrap();
    store.record_issued(place.token("x", "A")).await.unwrap();
    for (id, client_id, parent) in [("b", "B", "a"), ("c", "C", "a"), ("d", "D", "b")] {
        store.record_issued(derived(place, id, client_id, parent)).await.unwrap();
    }
    store
}

#[tokio::test]
async fn a_derived_token_comes_back_as_it_was_after_a_restart() {
    let place = Place::new();
    let store = family(&place).await;
    let store = place.reopen(store).await;
    let expected = derived(&place, "d", "D", "b");
    assert_eq!(store.token("d").await.unwrap(), Some(expected.clone()));
    assert_eq!(store.opaque_token(&SecretHash::of("d")).await.unwrap(), Some(expected));
}

#[tokio::test]
async fn a_revocation_takes_along_what_was_given_out_for_the_token_and_nothing_else() {
    let place = Place::new();
    let store = family(&place).await;
    let Revocation::Revoked(revoked) = store.revoke_token("b").await.unwrap() else { panic!("not revoked") };
    assert_eq!((ids(&revoked), revoked[0].id.as_str()), (vec!["b", "d"], "b"));
    let Revocation::Revoked(revoked) = store.revoke_token("a").await.unwrap() else { panic!("not revoked") };
    assert_eq!((ids(&revoked), revoked[0].id.as_str()), (vec!["a", "c"], "a"));
    // Who asks again is told of all, for the first one may not have told anybody yet.
    let Revocation::AlreadyRevoked(all) = store.revoke_token("a").await.unwrap() else { panic!("not revoked") };
    assert_eq!(ids(&all), ["a", "b", "c", "d"]);
    let store = place.reopen(store).await;
    assert_eq!(ids(&store.revoked_tokens().await.unwrap()), ["a", "b", "c", "d"]);
    assert_eq!(store.token("x").await.unwrap().unwrap().revoked_at, None);
}

#[tokio::test]
async fn a_client_that_goes_takes_along_what_others_were_given_for_its_tokens() {
    for delete in [false, true] {
        let place = Place::new();
        let store = family(&place).await;
        let revoked = if delete {
            store.create_client(place.client("A")).await.unwrap();
            store.delete_client("A").await.unwrap()
        } else {
            store.revoke_client_tokens("A").await.unwrap()
        };
        assert_eq!(ids(&revoked), ["a", "b", "c", "d", "x"]);
        assert_eq!(ids(&store.revoked_tokens().await.unwrap()), ["a", "b", "c", "d", "x"]);
    }
    let place = Place::new();
    let store = family(&place).await;
    // Also when it was revoked by itself before.
    store.revoke_token("b").await.unwrap();
    assert_eq!(ids(&store.revoke_client_tokens("B").await.unwrap()), Vec::<&str>::new());
    assert_eq!(store.token("a").await.unwrap().unwrap().revoked_at, None);
}

#[tokio::test]
async fn nothing_is_given_out_for_a_token_that_is_not_in_force() {
    let place = Place::new();
    let store = family(&place).await;
    let refused = async |token: IssuedToken| {
        let error = store.record_issued(token.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::ParentEnded { .. }), "{error}");
        assert_eq!(store.token(&token.id).await.unwrap(), None);
    };
    refused(derived(&place, "e", "B", "unknown")).await;
    store.revoke_token("b").await.unwrap();
    refused(derived(&place, "e", "B", "b")).await;
    refused(derived(&place, "e", "B", "d")).await;
    // Nor one that would outlive it.
    let longer = derived(&place, "e", "B", "a");
    refused(IssuedToken { expires_at: longer.expires_at + Duration::from_secs(1), ..longer.clone() }).await;
    store.record_issued(longer).await.unwrap();
    let again = store.record_issued(derived(&place, "e", "B", "a")).await.unwrap_err();
    assert!(matches!(again, StoreError::Exists { .. }), "{again}");
    place.clock.set(place.token("a", "A").expires_at);
    refused(derived(&place, "f", "B", "a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_record_slips_past_a_revocation() {
    for _ in 0..10 {
        let place = Place::new();
        let store = Arc::new(place.open().await);
        store.record_issued(place.token("a", "A")).await.unwrap();
        let records: Vec<_> = (0..100)
            .map(|number| {
                let (store, token) = (Arc::clone(&store), derived(&place, &format!("d{number}"), "B", "a"));
                tokio::spawn(async move { store.record_issued(token.clone()).await.is_ok().then_some(token.id) })
            })
            .collect();
        let Revocation::Revoked(revoked) = store.revoke_token("a").await.unwrap() else { panic!("not revoked") };
        let mut recorded = vec!["a".to_owned()];
        for record in records {
            recorded.extend(record.await.unwrap());
        }
        recorded.sort_unstable();
        assert_eq!(ids(&revoked), recorded);
    }
}
