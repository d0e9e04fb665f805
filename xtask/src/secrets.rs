//! Random passwords for the parts, one per node.

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 192 bits, in letters, digits, `-` and `_`.
pub fn password() -> Result<String> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The bcrypt hash of a password, as the security plugin reads it.
pub fn bcrypt_hash(password: &str) -> Result<String> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).context("the system gives no random bytes")?;
    // The password has 192 random bits: a dear hash would only slow the node's first answer.
    Ok(bcrypt::hash_with_salt(password, 8, salt)?.format_for_version(bcrypt::Version::TwoY))
}
