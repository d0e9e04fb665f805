//! Random identifiers, and secrets that a leak scanner can recognise.
//!
//! A secret reads `o4s_cs_` + 43 characters + 6 characters: a prefix that says what it is, 256 random bits in base 62,
//! and the CRC-32 of all that in base 62. The checksum guards against nothing but false alarms: a scanner that finds
//! the prefix knows offline whether it holds a real credential, and a mistyped one is refused without a look-up.

use std::fmt;

use aws_lc_rs::{constant_time, digest, rand};
use zeroize::Zeroizing;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256.
const SECRET_CHARACTERS: usize = 43;
/// 62^22 > 2^128.
const ID_CHARACTERS: usize = 22;
/// 62^6 > 2^32.
const CHECKSUM_CHARACTERS: usize = 6;

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no random bytes; nothing was issued")]
pub struct NoRandomness;

/// A new token id, `tok_` and 128 random bits: the `jti` of an access token and the name it is listed and revoked by.
///
/// # Errors
/// [`NoRandomness`].
pub fn token_id() -> Result<String, NoRandomness> {
    prefixed("tok_", ID_CHARACTERS)
}

/// A new request id, `req_` and 128 random bits: it joins an answer, its log lines and its audit event.
///
/// # Errors
/// [`NoRandomness`].
pub fn request_id() -> Result<String, NoRandomness> {
    prefixed("req_", ID_CHARACTERS)
}

/// A new identifier with a prefix of the caller's choice and 128 random bits.
///
/// # Errors
/// [`NoRandomness`].
pub fn random_id(prefix: &str) -> Result<String, NoRandomness> {
    prefixed(prefix, ID_CHARACTERS)
}

/// What a secret is for; its prefix says it to people and scanners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A client's secret, `o4s_cs_`.
    Client,
    /// An opaque access token, `o4s_at_`.
    AccessToken,
    /// A refresh token, `o4s_rt_`.
    RefreshToken,
}

impl SecretKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Client, Self::AccessToken, Self::RefreshToken];

    /// The readable beginning of such a secret.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Client => "o4s_cs_",
            Self::AccessToken => "o4s_at_",
            Self::RefreshToken => "o4s_rt_",
        }
    }
}

/// A secret of at least 256 random bits, in memory only while it is shown or compared; wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A new secret.
    ///
    /// # Errors
    /// [`NoRandomness`].
    pub fn generate(kind: SecretKind) -> Result<Self, NoRandomness> {
        let mut text = prefixed(kind.prefix(), SECRET_CHARACTERS).map(Zeroizing::new)?;
        let checksum = checksum(&text);
        text.push_str(&checksum);
        Ok(Self(text))
    }

    /// The secret itself: for the one answer that shows it, and for comparing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the secret, which is what a store keeps. A plain hash is enough, because nobody can try 2^256
    /// secrets; a password hash would only make the token endpoint easy to overload.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.0.as_bytes())
    }

    /// The first characters, enough for a person to tell two secrets apart and of no use to anybody else.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.0.get(..HINT_CHARACTERS).unwrap_or_default()
    }
}

/// Prefix and four characters.
const HINT_CHARACTERS: usize = 11;

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}…)", self.hint())
    }
}

/// What kind of secret `text` is, when it has the form of one of ours and its checksum is right.
///
/// Says nothing about whether the secret is in force.
#[must_use]
pub fn verify_checksum(text: &str) -> Option<SecretKind> {
    let kind = SecretKind::ALL.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
    let body = text.len().checked_sub(CHECKSUM_CHARACTERS)?;
    let (body, found) = text.split_at_checked(body)?;
    let random = body.strip_prefix(kind.prefix())?;
    let well_formed = random.len() == SECRET_CHARACTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (well_formed && constant_time_eq(checksum(body).as_bytes(), found.as_bytes())).then_some(kind)
}

/// Whether two byte strings are equal, in a time that depends on their lengths only.
#[must_use]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// SHA-256: the form in which secrets are kept and tokens are looked up.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (into, from) in hash.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *into = *from;
    }
    hash
}

fn prefixed(prefix: &str, characters: usize) -> Result<String, NoRandomness> {
    // Capacity for a checksum too: a secret must not leave a copy behind by growing.
    let mut text = String::with_capacity(prefix.len() + characters + CHECKSUM_CHARACTERS);
    text.push_str(prefix);
    let mut random = Zeroizing::new([0_u8; 64]);
    let mut missing = characters;
    while missing > 0 {
        rand::fill(random.as_mut_slice()).map_err(|_| NoRandomness)?;
        // 248 = 4 * 62: what is above would make the first characters of the alphabet likelier.
        for byte in random.iter().filter(|byte| **byte < 248).take(missing) {
            text.push(base62_digit(u32::from(*byte)));
            missing -= 1;
        }
    }
    Ok(text)
}

fn checksum(text: &str) -> String {
    let mut rest = crc32(text.as_bytes());
    let mut digits = [0_u8; CHECKSUM_CHARACTERS];
    for digit in digits.iter_mut().rev() {
        *digit = base62_digit(rest) as u8;
        rest /= 62;
    }
    digits.into_iter().map(char::from).collect()
}

fn base62_digit(value: u32) -> char {
    BASE62.get(value as usize % 62).map_or('0', |digit| char::from(*digit))
}

/// CRC-32 as in gzip (ISO-HDLC): reflected, polynomial 0x04C11DB7.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = (crc & 1).wrapping_neg();
            crc = (crc >> 1) ^ (0xEDB8_8320 & carry);
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn crc32_of_the_check_string() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn sha256_of_abc() {
        let hex: String = sha256(b"abc").iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn ids_differ_and_have_their_prefix() {
        let ids: HashSet<String> = (0..1_000).map(|_| token_id().unwrap()).collect();
        assert_eq!(ids.len(), 1_000);
        for id in ids {
            let random = id.strip_prefix("tok_").unwrap();
            assert_eq!(random.len(), 22);
            assert!(random.bytes().all(|b| b.is_ascii_alphanumeric()));
        }
        assert!(request_id().unwrap().starts_with("req_"));
    }

    #[test]
    fn every_character_of_the_alphabet_is_drawn_evenly() {
        let text: String = (0..2_000).map(|_| random_id("").unwrap()).collect::<Vec<_>>().concat();
        let expected = text.len() / 62;
        for digit in BASE62 {
            let count = text.bytes().filter(|b| b == digit).count();
            assert!(
                count > expected / 2 && count < expected * 2,
                "{} came {count} times of {expected}",
                char::from(*digit)
            );
        }
    }

    #[test]
    fn a_secret_has_prefix_length_and_checksum() {
        for kind in SecretKind::ALL {
            let secret = Secret::generate(kind).unwrap();
            assert_eq!(secret.expose().len(), 7 + 43 + 6);
            assert_eq!(verify_checksum(secret.expose()), Some(kind));
        }
    }

    #[test]
    fn any_changed_character_breaks_the_checksum() {
        let secret = Secret::generate(SecretKind::Client).unwrap();
        for at in 0..secret.expose().len() {
            let mut changed = secret.expose().as_bytes().to_vec();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(verify_checksum(&changed), None, "{at}");
        }
        for end in 0..secret.expose().len() {
            assert_eq!(verify_checksum(secret.expose().get(..end).unwrap()), None);
        }
        for text in ["", "o4s_cs_", "o4s_cs_é", "é", "o4s_xx_1"] {
            assert_eq!(verify_checksum(text), None);
        }
        let longer = format!("{}0", secret.expose());
        assert_eq!(verify_checksum(&longer), None);
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Secret::generate(SecretKind::Client).unwrap();
        let shown = format!("{secret:?}");
        assert!(shown.starts_with("Secret(o4s_cs_"));
        assert!(shown.len() < 30);
    }

    #[test]
    fn equality_is_by_whole_content() {
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"ab"));
        assert!(constant_time_eq(b"", b""));
    }
}
