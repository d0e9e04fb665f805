//! One sealed value: its text, and what it is bound to.

use aws_lc_rs::aead::{Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::{Zeroize as _, Zeroizing};

use super::SealError;

/// The bytes of an AES-256 key.
pub(super) const KEY_BYTES: usize = 32;

/// The only version there is; a value of another one does not open.
const VERSION: &str = "o4s1";

/// Where a sealed value stands. It opens nowhere else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) primary_key: &'a str,
    pub(crate) column: &'static str,
}

impl<'a> Place<'a> {
    pub(super) const fn data_key(id: &'a str) -> Self {
        Self { table: "data_keys", primary_key: id, column: "wrapped" }
    }

    pub(super) fn tampered(self) -> SealError {
        SealError::Tampered { table: self.table, column: self.column, id: self.primary_key.to_owned() }
    }

    /// Every part with its length before it, so that no two places have the same bytes.
    fn additional_data(self, key_id: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [VERSION, key_id, self.table, self.primary_key, self.column] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes
    }
}

/// The id of the key a sealed value needs.
pub(super) fn key_id(sealed: &str) -> Option<&str> {
    let (version, rest) = sealed.split_once('.')?;
    let (key_id, _) = rest.split_once('.')?;
    (version == VERSION).then_some(key_id)
}

pub(super) fn seal(
    key: &RandomizedNonceKey,
    key_id: &str,
    place: Place<'_>,
    plaintext: &[u8],
) -> Result<String, SealError> {
    // Room for the tag as well: growing would leave a copy of the plaintext behind.
    let mut bytes = Vec::with_capacity(plaintext.len() + key.algorithm().tag_len());
    bytes.extend_from_slice(plaintext);
    let sealed = key.seal_in_place_append_tag(Aad::from(place.additional_data(key_id)), &mut bytes);
    let Ok(nonce) = sealed else {
        bytes.zeroize();
        return Err(SealError::Failed);
    };
    let nonce = URL_SAFE_NO_PAD.encode(nonce.as_ref());
    let bytes = URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("{VERSION}.{key_id}.{nonce}.{bytes}"))
}

pub(super) fn open(
    key: &RandomizedNonceKey,
    key_id: &str,
    place: Place<'_>,
    sealed: &str,
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, mut bytes) = parts(sealed, key_id).ok_or_else(|| place.tampered())?;
    let opened = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(place.additional_data(key_id)), &mut bytes)
        .map_err(|_| place.tampered())?
        .len();
    bytes.truncate(opened);
    Ok(bytes)
}

fn parts(sealed: &str, key_id: &str) -> Option<([u8; NONCE_LEN], Zeroizing<Vec<u8>>)> {
    let rest = sealed.strip_prefix(VERSION)?.strip_prefix('.')?;
    let rest = rest.strip_prefix(key_id)?.strip_prefix('.')?;
    let (nonce, ciphertext) = rest.split_once('.')?;
    let nonce = URL_SAFE_NO_PAD.decode(nonce).ok()?.try_into().ok()?;
    let ciphertext = URL_SAFE_NO_PAD.decode(ciphertext).ok()?;
    Some((nonce, Zeroizing::new(ciphertext)))
}
