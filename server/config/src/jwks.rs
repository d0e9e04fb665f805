//! Public keys that are written into the configuration.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::problem::Problems;

/// Keys of one set: two for a rotation, and some to spare.
const MAX_KEYS: usize = 10;
/// Members that only a private or shared key has.
const SECRET_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A JWK Set (RFC 7517 section 5) of public keys for signatures: RSA from 2048 bits, P-256, P-384, P-521, Ed25519.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jwks {
    /// The keys, at most 10.
    pub keys: Vec<Map<String, Value>>,
}

impl Jwks {
    /// What can be seen without reading the keys themselves, which is done where they are used.
    pub(crate) fn check(&self, key: &str, problems: &mut Problems) {
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            problems.add(key, format!("give 1 to {MAX_KEYS} keys"));
        }
        if self.keys.iter().any(|jwk| SECRET_MEMBERS.iter().any(|member| jwk.contains_key(*member))) {
            problems.add(
                key,
                "this is the private half of a key, or a shared one; take it out of here, make a new key, and give its public half",
            );
        }
    }
}
