//! Signing keys, access tokens, their verification, and the clock.
//!
//! Nothing here does I/O. Randomness comes from the operating system through aws-lc; time comes from the
//! [`clock::Clock`] the caller hands in.
//!
//! - [`keys`]: the key that signs access tokens (ES256) and the key that signs internal tokens for the engine (RS256).
//! - [`access`]: RFC 9068 access tokens, made and verified.
//! - [`internal`]: the token that tells the engine who is asking.
//! - [`introspection`]: what is said of a token, signed.
//! - [`jose`]: tokens and keys of outside issuers, taken apart and checked; whom to trust is the caller's.
//! - [`id`]: random identifiers and secrets with a readable prefix and a checksum.

pub mod access;
pub mod clock;
pub mod id;
pub mod internal;
pub mod introspection;
pub mod jose;
mod json;
mod jws;
pub mod keys;
