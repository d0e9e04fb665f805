//! Issued tokens and their revocation.

use super::*;
use crate::{PageRequest, Revocation, RevokedToken, SecretHash, TokenFilter, TokenState, Tokens as _};

fn ids(tokens: &[IssuedToken]) -> Vec<&str> {
    tokens.iter().map(|token| token.id.as_str()).collect()
}

async fn list(store: &SqliteStore, filter: TokenFilter) -> Vec<IssuedToken> {
    store.tokens(filter, PageRequest::default()).await.unwrap().items
}

#[tokio::test]
async fn a_token_comes_back_as_it_was_after_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    let mut token = place.token("tok_1", "agent-7");
    token.audience.push("https://other.example.com".to_owned());
    store.record_issued(token.clone()).await.unwrap();
    assert_eq!(store.token("tok_1").await.unwrap(), Some(token.clone()));
    let store = place.reopen(store).await;
    assert_eq!(store.token("tok_1").await.unwrap(), Some(token));
    assert_eq!(store.token("tok_2").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_tokens_of_a_thousand_tasks_are_all_recorded() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let tasks: Vec<_> = (0..1_000)
        .map(|n| {
            let store = Arc::clone(&store);
            let token = place.token(&format!("tok_{n:04}"), &format!("client-{}", n % 10));
            tokio::spawn(async move {
                let id = token.id.clone();
                store.record_issued(token).await.unwrap();
                // Readable as soon as it is acknowledged.
                assert!(store.token(&id).await.unwrap().is_some());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let page = PageRequest { after: None, limit: 1000 };
    let all = store.tokens(TokenFilter::default(), page).await.unwrap();
    assert_eq!(all.items.len(), 1_000);
    assert_eq!(all.next, None);
}

#[tokio::test]
async fn records_that_arrive_together_share_a_commit() {
    let place = Place::new();
    let store = place.open().await;
    // While this transaction holds the writing connection, the records below can only queue up.
    let held = store.write("hold the writer").await.unwrap();
    let records: Vec<_> = (0..100).map(|n| store.record_issued(place.token(&format!("tok_{n:03}"), "a"))).collect();
    let before = commits(&place);
    let all = async {
        let mut records: Vec<_> = records;
        // Each is sent by being polled once, before the writer is let go.
        std::future::poll_fn(|context| {
            for record in &mut records {
                assert!(record.as_mut().poll(context).is_pending());
            }
            std::task::Poll::Ready(())
        })
        .await;
        drop(held);
        for record in records {
            record.await.unwrap();
        }
    };
    all.await;
    assert_eq!(list(&store, TokenFilter::default()).await.len(), 100);
    assert_eq!(commits(&place) - before, 1);
}

/// Commits in the write-ahead log: a frame that ends a transaction says how many pages the database then has
/// (SQLite file format, section 4.1).
fn commits(place: &Place) -> usize {
    let wal = std::fs::read(place.folder().join("oauth4os.db-wal")).unwrap();
    let page = u32::from_be_bytes(wal[8..12].try_into().unwrap()) as usize;
    wal[32..].chunks_exact(24 + page).filter(|frame| frame[4..8] != [0; 4] && frame[8..16] == wal[16..24]).count()
}

#[tokio::test]
async fn an_id_is_recorded_once_and_its_neighbours_do_not_suffer() {
    let place = Place::new();
    let store = place.open().await;
    let first = place.token("tok_1", "a");
    store.record_issued(first.clone()).await.unwrap();
    let (again, other) = tokio::join!(
        store.record_issued(place.token("tok_1", "thief")),
        store.record_issued(place.token("tok_2", "b")),
    );
    assert!(matches!(again, Err(StoreError::Exists { what: "token", .. })));
    other.unwrap();
    assert_eq!(store.token("tok_1").await.unwrap(), Some(first));
    assert!(store.token("tok_2").await.unwrap().is_some());
}

#[tokio::test]
async fn a_revocation_holds_after_a_restart_until_the_token_ends() {
    let place = Place::new();
    let store = place.open().await;
    let token = place.token("tok_1", "a");
    store.record_issued(token.clone()).await.unwrap();
    store.record_issued(place.token("tok_2", "a")).await.unwrap();
    let revoked = RevokedToken { id: "tok_1".to_owned(), expires_at: token.expires_at };
    let first = store.revoke_token("tok_1").await.unwrap();
    assert_eq!(first, Revocation::Revoked(vec![revoked.clone()]));
    let at = place.now();
    place.clock.advance(Duration::from_secs(1));
    let second = store.revoke_token("tok_1").await.unwrap();
    assert_eq!(second, Revocation::AlreadyRevoked(vec![revoked.clone()]));
    let store = place.reopen(store).await;
    assert_eq!(store.revoked_tokens().await.unwrap(), [revoked]);
    let kept = store.token("tok_1").await.unwrap().unwrap();
    assert_eq!(kept.revoked_at, Some(at), "the first revocation counts");
    assert_eq!(kept.state(place.now()), TokenState::Revoked);

    assert_eq!(store.revoke_token("unknown").await.unwrap(), Revocation::Unknown);
    place.clock.set(token.expires_at);
    assert_eq!(store.revoked_tokens().await.unwrap(), []);
    assert_eq!(store.revoke_token("tok_2").await.unwrap(), Revocation::Expired);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_revocations_one_is_the_first() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    store.record_issued(place.token("tok_1", "a")).await.unwrap();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.revoke_token("tok_1").await.unwrap() })
        })
        .collect();
    let mut first = 0;
    for call in calls {
        match call.await.unwrap() {
            Revocation::Revoked(_) => first += 1,
            other => assert!(matches!(other, Revocation::AlreadyRevoked(_))),
        }
    }
    assert_eq!(first, 1);
}

/// Whatever the order in which issuing and revoking happen to run: a token is either among those the revocation
/// returned, or was recorded after it; none is lost, and none is revoked without being returned.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revoking_a_client_while_it_is_given_tokens_loses_none() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let mut tasks = Vec::new();
    for n in 0..300 {
        let (issuing, token) = (Arc::clone(&store), place.token(&format!("tok_{n:03}"), "a"));
        tasks.push(tokio::spawn(async move {
            issuing.record_issued(token).await.unwrap();
            Vec::new()
        }));
        if n % 30 == 15 {
            let revoking = Arc::clone(&store);
            tasks.push(tokio::spawn(async move { revoking.revoke_client_tokens("a").await.unwrap() }));
        }
    }
    let mut returned = Vec::new();
    for task in tasks {
        returned.extend(task.await.unwrap().into_iter().map(|token| token.id));
    }
    returned.sort();
    let page = PageRequest { after: None, limit: 1000 };
    let all = store.tokens(TokenFilter::default(), page).await.unwrap();
    assert_eq!(all.items.len(), 300);
    let mut revoked: Vec<_> =
        all.items.into_iter().filter(|token| token.revoked_at.is_some()).map(|token| token.id).collect();
    revoked.sort();
    assert_eq!(returned, revoked, "each was returned once");
}

#[tokio::test]
async fn a_clients_tokens_are_revoked_together_and_nobody_elses() {
    let place = Place::new();
    let store = place.open().await;
    let mut short = place.token("tok_short", "a");
    short.expires_at = place.now() + Duration::from_secs(1);
    for token in [
        short,
        place.token("tok_a1", "a"),
        place.token("tok_a2", "a"),
        place.token("tok_b", "b"),
        place.token("tok_A", "A"),
        place.token("tok_pattern", "%"),
    ] {
        store.record_issued(token).await.unwrap();
    }
    store.revoke_token("tok_a2").await.unwrap();
    place.clock.advance(Duration::from_secs(1));
    let revoked = store.revoke_client_tokens("a").await.unwrap();
    let revoked: Vec<_> = revoked.into_iter().map(|token| token.id).collect();
    assert_eq!(revoked, ["tok_a1"], "not what had expired or was revoked");
    assert_eq!(store.revoke_client_tokens("a").await.unwrap(), []);
    assert_eq!(store.revoke_client_tokens("none").await.unwrap(), []);
    let mut all: Vec<_> = store.revoked_tokens().await.unwrap();
    all.sort_by(|a, b| a.id.cmp(&b.id));
    let all: Vec<_> = all.into_iter().map(|token| token.id).collect();
    assert_eq!(all, ["tok_a1", "tok_a2"]);
}

#[tokio::test]
async fn lists_are_filtered_by_client_and_state() {
    let place = Place::new();
    let store = place.open().await;
    let mut expired = place.token("tok_expired", "a");
    expired.expires_at = place.now() + Duration::from_secs(1);
    store.record_issued(expired).await.unwrap();
    for (id, client) in [("tok_live", "a"), ("tok_revoked", "a"), ("tok_other", "b")] {
        place.clock.advance(Duration::from_secs(1));
        store.record_issued(place.token(id, client)).await.unwrap();
    }
    store.revoke_token("tok_revoked").await.unwrap();
    let of = |client: Option<&str>, state| TokenFilter { client_id: client.map(str::to_owned), state };
    for (filter, expected) in [
        (of(None, None), vec!["tok_other", "tok_revoked", "tok_live", "tok_expired"]),
        (of(Some("a"), None), vec!["tok_revoked", "tok_live", "tok_expired"]),
        (of(Some("a"), Some(TokenState::Active)), vec!["tok_live"]),
        (of(None, Some(TokenState::Active)), vec!["tok_other", "tok_live"]),
        (of(Some("a"), Some(TokenState::Revoked)), vec!["tok_revoked"]),
        (of(Some("a"), Some(TokenState::Expired)), vec!["tok_expired"]),
        (of(Some("b"), Some(TokenState::Revoked)), vec![]),
        (of(Some("' OR 1=1 --"), None), vec![]),
    ] {
        let found = list(&store, filter.clone()).await;
        assert_eq!(ids(&found), expected, "{filter:?}");
        for token in found {
            assert!(filter.state.is_none_or(|state| token.state(place.now()) == state));
        }
    }
}

#[tokio::test]
async fn pages_go_on_where_they_ended_although_tokens_come_and_go() {
    let place = Place::new();
    let store = place.open().await;
    let mut expected = Vec::new();
    for n in 0..50 {
        if n % 4 == 0 {
            place.clock.advance(Duration::from_millis(1));
        }
        let token = place.token(&format!("tok_{n:02}"), "a");
        expected.insert(0, token.id.clone());
        store.record_issued(token).await.unwrap();
    }
    let filter = TokenFilter { client_id: Some("a".to_owned()), ..TokenFilter::default() };
    let mut seen = Vec::new();
    let mut after = None;
    for page_number in 0.. {
        let page = store.tokens(filter.clone(), PageRequest { after, limit: 7 }).await.unwrap();
        seen.extend(page.items.into_iter().map(|token| token.id));
        let Some(next) = page.next else { break };
        after = Some(next.to_string().parse().unwrap());
        place.clock.advance(Duration::from_secs(1));
        let late = place.token(&format!("late_{page_number}"), "a");
        store.record_issued(late).await.unwrap();
        // The very token the cursor names may be gone.
        sqlx::query("DELETE FROM issued_tokens WHERE id = ?")
            .bind(seen.last().unwrap())
            .execute(&store.writer)
            .await
            .unwrap();
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn expired_tokens_are_forgotten_and_no_others() {
    let place = Place::new();
    let store = place.open().await;
    let start = place.now();
    let mut tokens: Vec<_> = (0..2_500_i64)
        .map(|n| {
            let mut token = place.token(&format!("tok_{n:04}"), "a");
            token.expires_at = UnixTime::from_millis(start.as_millis() + n);
            token
        })
        .collect();
    tokens.push(place.token("tok_live", "a"));
    let recorded = tokens.into_iter().map(|token| store.record_issued(token));
    for record in recorded.collect::<Vec<_>>() {
        record.await.unwrap();
    }
    let before = UnixTime::from_millis(start.as_millis() + 2_400);
    assert_eq!(store.purge_expired(before).await.unwrap(), 2_400);
    assert_eq!(store.purge_expired(before).await.unwrap(), 0);
    assert_eq!(store.token("tok_2399").await.unwrap(), None);
    assert!(store.token("tok_2400").await.unwrap().is_some());
    assert!(store.token("tok_live").await.unwrap().is_some());
}

#[tokio::test]
async fn an_opaque_token_is_found_by_its_hash_and_those_in_force_are_told_after_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    let opaque = |id: &str, secret: &str| {
        let mut token = place.token(id, "app");
        token.hash = Some(SecretHash::of(secret));
        token
    };
    let (first, second, mut ended) = (opaque("tok_1", "one"), opaque("tok_2", "two"), opaque("tok_3", "three"));
    ended.expires_at = place.now();
    for token in [&first, &second, &ended, &place.token("tok_4", "app")] {
        store.record_issued(token.clone()).await.unwrap();
    }
    // One hash, one token.
    assert!(matches!(store.record_issued(opaque("tok_5", "one")).await, Err(StoreError::Exists { .. })));
    assert_eq!(store.opaque_token(&SecretHash::of("one")).await.unwrap(), Some(first.clone()));
    assert_eq!(store.opaque_token(&SecretHash::of("four")).await.unwrap(), None);
    store.revoke_token("tok_2").await.unwrap();
    let store = place.reopen(store).await;
    assert_eq!(store.opaque_tokens().await.unwrap(), [first]);
    let revoked = store.opaque_token(&SecretHash::of("two")).await.unwrap().unwrap();
    assert!(revoked.revoked_at.is_some() && revoked.hash == second.hash);
}
