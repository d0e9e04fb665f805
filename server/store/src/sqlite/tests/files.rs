//! Where a store may be, and what its files give away.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use oauth4os_tokens::keys::{Algorithm, SigningKey};

use super::*;
use crate::{KeyUse, Keys as _, StoredKey, Tokens as _};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn every_file_is_private() {
    let place = Place::new();
    let store = place.open().await;
    store.create_client(place.client("a")).await.unwrap();
    let mut names = Vec::new();
    for file in fs::read_dir(place.folder()).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["oauth4os.db", "oauth4os.db-shm", "oauth4os.db-wal", "oauth4os.db.lock"]);
}

#[tokio::test]
async fn a_missing_folder_is_an_error_and_stays_missing() {
    let place = Place::new();
    let folder = place.folder().join("typo");
    let error =
        SqliteStore::open(folder.join("oauth4os.db"), Sealer::new(master_key(1)), Arc::new(place.clock.clone()))
            .await
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the folder `{0}` does not exist; create it (`mkdir -p -m 700 {0}`), \
             or correct the path of the store",
            folder.display()
        )
    );
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_path_that_is_no_file_is_refused() {
    let place = Place::new();
    let folder = place.folder();
    fs::create_dir(folder.join("sub.db")).unwrap();
    fs::write(folder.join("plain"), "").unwrap();
    for path in ["sub.db", "plain/x.db", "..", "sub.db/.."] {
        let opened =
            SqliteStore::open(folder.join(path), Sealer::new(master_key(1)), Arc::new(place.clock.clone())).await;
        assert!(matches!(opened, Err(StoreError::NotAFile { .. } | StoreError::File { .. })), "{path}: {opened:?}");
    }
}

#[tokio::test]
async fn a_name_with_a_meaning_for_sqlite_is_only_a_name() {
    let place = Place::new();
    for name in [":memory:", "file:x?mode=memory", "a b?c#d%20.db"] {
        let path = place.folder().join(name);
        let open = || SqliteStore::open(&path, Sealer::new(master_key(1)), Arc::new(place.clock.clone()));
        let store = open().await.unwrap();
        store.record_issued(place.token("tok_1", "a")).await.unwrap();
        store.close().await.unwrap();
        drop(store);
        assert!(fs::metadata(&path).unwrap().len() > 0, "{name}");
        let store = open().await.unwrap();
        assert!(store.token("tok_1").await.unwrap().is_some(), "{name}");
    }
}

#[tokio::test]
async fn a_folder_or_file_open_to_others_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    store.close().await.unwrap();
    drop(store);
    for (path, private, wide) in
        [(place.folder(), 0o700, [0o750, 0o705, 0o710, 0o777]), (place.path(), 0o600, [0o640, 0o604, 0o620, 0o666])]
    {
        for wide in wide {
            set_mode(&path, wide);
            let error = place.try_open(1).await.unwrap_err().to_string();
            assert_eq!(
                error,
                format!("`{0}` is open to other users (mode {wide:o}); run `chmod {private:o} {0}`", path.display())
            );
        }
        set_mode(&path, private);
    }
    place.open().await;
}

#[tokio::test]
async fn one_process_has_the_store() {
    let place = Place::new();
    let store = place.open().await;
    let error = place.try_open(1).await.unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    // The refused one has not disturbed the first.
    store.record_issued(place.token("tok_1", "a")).await.unwrap();
    // By another name it is the same store.
    let other = place.folder.path().join("other");
    symlink(place.folder(), &other).unwrap();
    let error = SqliteStore::open(other.join("oauth4os.db"), Sealer::new(master_key(1)), Arc::new(place.clock.clone()))
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(store);
    place.open().await;
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_kept() {
    let place = Place::new();
    let content = "not a database, ".repeat(100);
    fs::write(place.path(), &content).unwrap();
    set_mode(&place.path(), 0o600);
    let error = place.try_open(1).await.unwrap_err().to_string();
    assert!(error.contains("not a database"), "{error}");
    assert_eq!(fs::read_to_string(place.path()).unwrap(), content);
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'from the future', TRUE, x'00', 0)",
    )
    .execute(&store.writer)
    .await
    .unwrap();
    store.close().await.unwrap();
    drop(store);
    let error = place.try_open(1).await.unwrap_err();
    assert!(matches!(error, StoreError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("migration 9999"), "{error}");
}

#[tokio::test]
async fn the_files_hold_no_secret_and_no_private_key() {
    let place = Place::new();
    let store = place.open().await;
    let (secret, stored) = place.secret("s1");
    let mut client = place.client("shipper");
    client.secrets.push(stored);
    store.create_client(client).await.unwrap();
    let mut private = Vec::new();
    for (usage, algorithm) in [(KeyUse::Access, Algorithm::Es256), (KeyUse::Internal, Algorithm::Rs256)] {
        let key = SigningKey::generate(algorithm).unwrap();
        let key = StoredKey::of(&key, usage, place.now()).unwrap();
        private.push(key.pkcs8.clone());
        store.ensure_key(key).await.unwrap();
    }
    let scan = |when: &str| {
        let mut bytes = Vec::new();
        for file in fs::read_dir(place.folder()).unwrap() {
            bytes.extend(fs::read(file.unwrap().path()).unwrap());
        }
        let holds = |needle: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
        assert!(holds(b"shipper"), "the scan sees what is written, {when}");
        // The random part alone, and every stretch of 16 bytes of a private key.
        assert!(!holds(&secret.expose().as_bytes()[11..]), "{when}");
        assert!(!holds(&master_bytes()), "{when}");
        for key in &private {
            for stretch in key.chunks_exact(16).skip(2) {
                assert!(!holds(stretch), "{when}");
            }
        }
    };
    scan("while it is open");
    store.close().await.unwrap();
    drop(store);
    scan("when it is closed");
}

fn master_bytes() -> [u8; 32] {
    let mut bytes = [9; 32];
    bytes[0] = 1;
    bytes
}

#[tokio::test]
async fn another_master_key_is_refused_at_open_and_changes_nothing() {
    let place = Place::new();
    let store = place.open().await;
    store.create_client(place.client("a")).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let before = fs::read(place.path()).unwrap();
    let error = place.try_open(2).await.unwrap_err().to_string();
    assert!(error.contains("cannot be decrypted with this master key"), "{error}");
    assert_eq!(fs::read(place.path()).unwrap(), before);
    place.open().await;
}

#[tokio::test]
async fn a_master_key_is_replaced_by_opening_with_both() {
    let place = Place::new();
    let store = place.open().await;
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let stored = StoredKey::of(&key, KeyUse::Access, place.now()).unwrap();
    store.ensure_key(stored).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let both = Sealer::new(master_key(2)).with_previous(master_key(1));
    let store = place.open_with(both).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    assert!(place.try_open(1).await.is_err(), "the former key is of no use");
    let store = place.try_open(2).await.unwrap();
    let keys = store.keys(KeyUse::Access).await.unwrap();
    assert_eq!(keys[0].signing_key().unwrap().kid(), key.kid());
}
