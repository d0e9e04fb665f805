use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const PLACE: Place<'_> = Place { table: "signing_keys", primary_key: "k1", column: "sealed" };

fn master(first: u8) -> MasterKey {
    let mut bytes = [7_u8; 32];
    bytes[0] = first;
    MasterKey::from_bytes(&bytes).unwrap()
}

fn data_keys() -> DataKeys {
    DataKeys::new(Sealer::new(master(1)).new_data_key().unwrap().0)
}

fn is_tampered<T>(result: Result<T, SealError>) -> bool {
    matches!(result, Err(SealError::Tampered { .. }))
}

#[test]
fn a_value_opens_in_its_place_only() {
    let keys = data_keys();
    let sealed = keys.seal(PLACE, b"private").unwrap();
    assert_eq!(keys.open(PLACE, &sealed).unwrap().as_slice(), b"private");
    for elsewhere in [
        Place { table: "clients", ..PLACE },
        Place { primary_key: "k2", ..PLACE },
        Place { column: "other", ..PLACE },
        // The same bytes, cut elsewhere.
        Place { table: "signing_keysk", primary_key: "1", ..PLACE },
    ] {
        assert!(is_tampered(keys.open(elsewhere, &sealed)));
    }
}

#[test]
fn a_sealed_value_names_version_key_nonce_and_ciphertext() {
    let keys = data_keys();
    let sealed = keys.seal(PLACE, b"private").unwrap();
    let parts: Vec<_> = sealed.split('.').collect();
    assert_eq!(parts.len(), 4);
    assert_eq!(parts[0], "o4s1");
    assert_eq!(parts[1], keys.active);
    assert_eq!(parts[2].len(), 16, "12 bytes");
    assert_eq!(parts[3].len(), 31, "7 bytes and a tag of 16");
    assert_ne!(sealed, keys.seal(PLACE, b"private").unwrap(), "a fresh nonce");
}

#[test]
fn several_data_keys_open_and_one_seals() {
    let sealer = Sealer::new(master(1));
    let (old, wrapped) = sealer.new_data_key().unwrap();
    let old_id = old.id().to_owned();
    let sealed = DataKeys::new(old).seal(PLACE, b"old").unwrap();
    let mut keys = DataKeys::new(sealer.new_data_key().unwrap().0);
    assert!(is_tampered(keys.open(PLACE, &sealed)), "a key unknown here");
    keys.insert(sealer.unwrap(&old_id, &wrapped).unwrap().0);
    assert_eq!(keys.open(PLACE, &sealed).unwrap().as_slice(), b"old");
    let anew = keys.seal(PLACE, b"new").unwrap();
    assert!(!anew.contains(&old_id));
    assert_eq!(keys.open(PLACE, &anew).unwrap().as_slice(), b"new");
}

#[test]
fn another_master_key_is_named_in_the_refusal() {
    let (key, wrapped) = Sealer::new(master(1)).new_data_key().unwrap();
    let error = Sealer::new(master(2)).unwrap(key.id(), &wrapped).err().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the store cannot be decrypted with this master key (`{}`); \
             it needs the one it was sealed with (`{}`)",
            master(2).id(),
            master(1).id()
        )
    );
}

#[test]
fn a_former_master_key_opens_and_the_current_one_wraps_anew() {
    let (key, wrapped) = Sealer::new(master(1)).new_data_key().unwrap();
    let sealed = DataKeys::new(key).seal(PLACE, b"x").unwrap();
    let id = sealed.split('.').nth(1).unwrap().to_owned();
    let rotating = Sealer::new(master(2)).with_previous(master(1));
    let (_, rewrapped) = rotating.unwrap(&id, &wrapped).unwrap();
    let rewrapped = rewrapped.unwrap();
    let (key, again) = Sealer::new(master(2)).unwrap(&id, &rewrapped).unwrap();
    assert_eq!(again, None);
    assert_eq!(DataKeys::new(key).open(PLACE, &sealed).unwrap().as_slice(), b"x");
}

#[test]
fn a_wrapped_key_does_not_open_under_another_id() {
    let sealer = Sealer::new(master(1));
    let (_, wrapped) = sealer.new_data_key().unwrap();
    assert!(is_tampered(sealer.unwrap("dk_other", &wrapped)));
    for damaged in ["", "o4s1", "o4s1.", "o4s2.a.b.c", "x"] {
        assert!(is_tampered(sealer.unwrap("dk_other", damaged)), "{damaged}");
    }
}

#[test]
fn a_master_key_is_read_from_every_usual_text() {
    let bytes: Vec<u8> = (200..232).collect();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    let base64 = STANDARD.encode(&bytes);
    let expected = MasterKey::from_bytes(&bytes).unwrap();
    for text in [
        base64.clone(),
        format!("  {base64}\r\n"),
        base64.trim_end_matches('=').to_owned(),
        base64.replace('+', "-").replace('/', "_"),
        hex.clone(),
        hex.to_uppercase(),
    ] {
        assert_eq!(MasterKey::from_text(&text).unwrap().id(), expected.id());
    }
}

#[test]
fn what_is_no_random_key_of_32_bytes_is_refused() {
    for text in [
        String::new(),
        "password".to_owned(),
        STANDARD.encode([1; 31]),
        STANDARD.encode([1; 33]),
        STANDARD.encode([0; 32]),
        "f".repeat(64),
        "é".repeat(32),
        "g".repeat(64),
    ] {
        assert!(matches!(MasterKey::from_text(&text), Err(SealError::MasterKeyText)));
    }
}

#[test]
fn a_master_key_file_is_made_once_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let made = MasterKey::load_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(MasterKey::load_or_create(&path).unwrap().id(), made.id());
    assert_eq!(MasterKey::load(&path).unwrap().id(), made.id());
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "no temporary file is left behind");
}

#[test]
fn processes_that_start_together_get_one_master_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    let ids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..16).map(|_| scope.spawn(|| MasterKey::load_or_create(&path).unwrap().id().to_owned())).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_master_key_file_open_to_others_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    MasterKey::load_or_create(&path).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = MasterKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("(mode {mode:o})")), "{error}");
        assert!(error.contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
    MasterKey::load_or_create(&path).unwrap();
}

#[test]
fn a_file_with_something_else_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("master.key");
    for content in ["", "password\n", "\u{0}"] {
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(MasterKey::load_or_create(&path), Err(SealError::MasterKeyContent { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
    fs::remove_file(&path).unwrap();
    // A link to nowhere is a mistake to report, not a place to write a key to.
    symlink(folder.path().join("nowhere"), &path).unwrap();
    assert!(matches!(MasterKey::load_or_create(&path), Err(SealError::MasterKeyFile { what: "read", .. })));
    let missing = folder.path().join("no/such/folder/master.key");
    let error = MasterKey::load_or_create(&missing).unwrap_err().to_string();
    assert!(error.contains("cannot be created"), "{error}");
}

#[test]
fn debug_shows_ids_only() {
    let shown = format!("{:?} {:?}", master(1), Sealer::new(master(1)));
    assert!(shown.contains(master(1).id()));
    assert!(!shown.contains("7, 7"));
}

proptest! {
    #[test]
    fn every_value_comes_back(plaintext in prop::collection::vec(any::<u8>(), 0..300)) {
        let keys = data_keys();
        let sealed = keys.seal(PLACE, &plaintext).unwrap();
        let opened = keys.open(PLACE, &sealed).unwrap();
        prop_assert_eq!(opened.as_slice(), plaintext.as_slice());
    }

    #[test]
    fn no_changed_value_opens(at in any::<prop::sample::Index>(), other in "[A-Za-z0-9._-]") {
        let keys = data_keys();
        let sealed = keys.seal(PLACE, b"a private key").unwrap();
        let (start, rest) = sealed.split_at(at.index(sealed.len()));
        let (old, end) = rest.split_at(1);
        prop_assume!(old != other);
        let changed = format!("{start}{other}{end}");
        prop_assert!(is_tampered(keys.open(PLACE, &changed)));
        prop_assert!(is_tampered(keys.open(PLACE, start)));
        let inserted = format!("{start}{other}{rest}");
        prop_assert!(is_tampered(keys.open(PLACE, &inserted)));
    }
}
