//! JOSE as others write it: signed tokens and public keys of outside issuers.
//!
//! Our own tokens are read by [`crate::access`], which takes exactly what this project writes. Foreign ones have other
//! headers, other algorithms and other claims; this module takes them apart strictly and checks signatures, and leaves it to
//! its caller whom to trust, which algorithms to take and what the claims must say. The key, never the token, decides
//! what a signature is checked with.

mod algorithm;
mod jwk;
mod spki;
mod token;

use serde_json::{Map, Value};

pub use self::algorithm::Algorithm;
pub use self::jwk::{ForeignKey, UnusableKey};
pub use self::token::{ForeignToken, Malformed};

/// The longest foreign token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = crate::access::MAX_TOKEN_BYTES;

/// Reads a text that is exactly one JSON object, in which no name comes twice at any depth; `None` when it is not.
#[must_use]
pub fn json_object(text: &[u8]) -> Option<Map<String, Value>> {
    crate::json::object(text).ok()
}

#[cfg(test)]
mod tests;
