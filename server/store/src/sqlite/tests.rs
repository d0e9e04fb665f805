mod clients;
mod crash;
mod derived;
mod files;
mod keys;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirBuilderExt as _;
use std::time::Duration;

use oauth4os_tokens::clock::ManualClock;
use oauth4os_tokens::id::{Secret, SecretKind};
use tempfile::TempDir;

use super::*;
use crate::seal::MasterKey;
use crate::{ClientKind, Clients as _, IssuedToken, RateLimit, StoredSecret};

/// A folder with a store in it, which is closed and opened as often as a test likes.
struct Place {
    folder: TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(folder.path().join("data")).unwrap();
        Self { folder, clock: ManualClock::default() }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn path(&self) -> PathBuf {
        self.folder().join("oauth4os.db")
    }

    async fn open(&self) -> SqliteStore {
        self.try_open(1).await.unwrap()
    }

    async fn try_open(&self, master: u8) -> Result<SqliteStore, StoreError> {
        self.open_with(Sealer::new(master_key(master))).await
    }

    async fn open_with(&self, sealer: Sealer) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(self.path(), sealer, Arc::new(self.clock.clone())).await
    }

    /// Closes, and opens again.
    async fn reopen(&self, store: SqliteStore) -> SqliteStore {
        store.close().await.unwrap();
        drop(store);
        self.open().await
    }

    fn now(&self) -> UnixTime {
        self.clock.now()
    }

    fn token(&self, id: &str, client_id: &str) -> IssuedToken {
        token(id, client_id, self.now())
    }

    fn client(&self, id: &str) -> Client {
        Client {
            id: id.to_owned(),
            name: format!("the {id}"),
            kind: ClientKind::Agent,
            groups: BTreeSet::from(["agents".to_owned(), "a \"b\" ü".to_owned()]),
            labels: BTreeMap::from([("team".to_owned(), "search".to_owned())]),
            scopes: "read:logs-* search:metrics-*".to_owned(),
            secrets: vec![],
            enabled: true,
            created_at: self.now(),
            rate_limit: Some(RateLimit { per_second: 10, burst: u32::MAX }),
        }
    }

    fn secret(&self, id: &str) -> (Secret, StoredSecret) {
        let secret = Secret::generate(SecretKind::Client).unwrap();
        let stored = StoredSecret::of(&secret, id, self.now());
        (secret, stored)
    }
}

fn token(id: &str, client_id: &str, issued_at: UnixTime) -> IssuedToken {
    IssuedToken {
        id: id.to_owned(),
        client_id: client_id.to_owned(),
        subject: client_id.to_owned(),
        scope: "read:logs-*".to_owned(),
        audience: vec!["https://gateway.example.com/opensearch".to_owned()],
        issued_at,
        expires_at: issued_at + Duration::from_secs(600),
        revoked_at: None,
        hash: None,
        parent: None,
        act: vec![],
    }
}

fn master_key(first: u8) -> MasterKey {
    let mut bytes = [9_u8; 32];
    bytes[0] = first;
    MasterKey::from_bytes(&bytes).unwrap()
}

#[tokio::test]
async fn the_first_start_happens_once() {
    let place = Place::new();
    let store = place.open().await;
    assert_eq!(store.initialised_at().await.unwrap(), None);
    let first = store.initialise(place.client("admin")).await.unwrap();
    assert_eq!(first, FirstStart::Now);
    let at = place.now();
    place.clock.advance(Duration::from_secs(60));
    let store = place.reopen(store).await;
    assert_eq!(store.initialise(place.client("another")).await.unwrap(), FirstStart::Before(at));
    assert_eq!(store.initialised_at().await.unwrap(), Some(at));
    assert!(store.client("admin").await.unwrap().is_some());
    assert!(store.client("another").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_first_starts_one_wins() {
    let place = Place::new();
    let store = Arc::new(place.open().await);
    let starts: Vec<_> = (0..50)
        .map(|n| {
            let store = Arc::clone(&store);
            let client = place.client(&format!("admin-{n}"));
            tokio::spawn(async move { store.initialise(client).await.unwrap() })
        })
        .collect();
    let mut won = 0;
    for start in starts {
        won += usize::from(start.await.unwrap() == FirstStart::Now);
    }
    assert_eq!(won, 1);
    let clients = store.clients(crate::PageRequest::default()).await.unwrap();
    assert_eq!(clients.items.len(), 1);
}

#[tokio::test]
async fn a_first_start_that_fails_can_be_repeated() {
    let place = Place::new();
    let store = place.open().await;
    let mut wrong = place.client("admin");
    for n in 0..3 {
        wrong.secrets.push(place.secret(&n.to_string()).1);
    }
    assert!(matches!(store.initialise(wrong).await, Err(StoreError::TooManySecrets { .. })));
    assert_eq!(store.initialised_at().await.unwrap(), None);
    assert!(store.client("admin").await.unwrap().is_none());
    let start = store.initialise(place.client("admin")).await.unwrap();
    assert_eq!(start, FirstStart::Now);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let place = Place::new();
    let store = place.open().await;
    store.ping().await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.ping().await, Err(StoreError::Closed)));
    assert!(matches!(store.client("x").await, Err(StoreError::Closed)));
    let recorded = crate::Tokens::record_issued(&store, place.token("tok_1", "a")).await;
    assert!(matches!(recorded, Err(StoreError::Closed)));
}

#[tokio::test]
async fn a_store_is_one_object_for_its_callers() {
    let place = Place::new();
    let store: Arc<dyn Store> = Arc::new(place.open().await);
    store.record_issued(place.token("tok_1", "a")).await.unwrap();
    assert!(store.token("tok_1").await.unwrap().is_some());
    let tokens: Arc<dyn crate::Tokens> = store;
    assert!(tokens.token("tok_1").await.unwrap().is_some());
}

#[tokio::test]
async fn a_store_can_be_opened_in_a_task() {
    let place = Place::new();
    let opening = SqliteStore::open(place.path(), Sealer::new(master_key(1)), Arc::new(place.clock.clone()));
    tokio::spawn(opening).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_connections_that_read_cannot_write() {
    let place = Place::new();
    let store = place.open().await;
    let error = sqlx::query("DELETE FROM meta").execute(&store.readers).await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn debug_shows_a_path_and_nothing_else() {
    let place = Place::new();
    let shown = format!("{:?}", place.open().await);
    assert!(shown.starts_with("SqliteStore { path: "), "{shown}");
}
