//! The internal token: what the gateway sends to the engine in place of the caller's own token.
//!
//! The engine's security plugin takes `roles` as backend roles and puts the other claims into index patterns and
//! document filters of its roles (`${attr.jwt.<claim>}`). A value that itself contains `${` would be substituted
//! again, so that a caller could reach another attribute: such values are never signed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::jws;
use crate::keys::{Algorithm, KeyError, SigningKey};

/// What the engine is told about a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalClaims {
    /// The gateway's issuer name.
    pub iss: String,
    /// The user name in the engine; one per client or user, since the engine tells scroll contexts apart by it.
    pub sub: String,
    /// The engine's `required_audience`.
    pub aud: String,
    /// Backend roles.
    pub roles: Vec<String>,
    /// Further claims, by name: the index patterns per class.
    pub attributes: BTreeMap<String, String>,
    /// When it was minted.
    pub iat: UnixTime,
    /// From this on it is not valid.
    pub exp: UnixTime,
    /// Its id, for the engine's audit log.
    pub jti: String,
}

/// An internal token was not minted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// Internal tokens are signed with RS256 and access tokens with ES256, so that neither passes for the other.
    #[error("internal tokens are signed with RS256, and the key `{kid}` is for {algorithm}")]
    WrongKey {
        /// The key that was given.
        kid: String,
        /// What that key is for.
        algorithm: Algorithm,
    },
    /// A value the engine would substitute again or that would break its log lines.
    #[error("the claim `{claim}` contains `${{` or a control character; no identity is handed to the engine")]
    Unsafe {
        /// The claim's name.
        claim: String,
    },
    /// A role the engine would read as several, as none, or as another one.
    #[error("a role for the engine is empty, contains a comma, or begins or ends with a space")]
    Role,
    /// An attribute that has the name of a claim with a meaning of its own, or no plain name.
    #[error("`{name}` cannot be the name of an attribute for the engine; use letters, digits and `_`")]
    AttributeName {
        /// The name.
        name: String,
    },
    /// A claim that must say something is empty.
    #[error("the claim `{claim}` is empty; no identity is handed to the engine")]
    Empty {
        /// The claim's name.
        claim: &'static str,
    },
    /// `exp` is not after `iat`, or a time cannot be written.
    #[error("the internal token would be expired when it is made")]
    Lifetime,
    /// The key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Names with a meaning of their own in a JWT or in the engine's configuration.
const RESERVED: [&str; 9] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "roles", "typ"];

/// Signs an internal token. Takes most of a millisecond: mint once per grant and keep it until shortly before `exp`.
///
/// # Errors
/// [`MintError`]; without a token no request is forwarded.
pub fn mint(key: &SigningKey, claims: &InternalClaims) -> Result<String, MintError> {
    if key.algorithm() != Algorithm::Rs256 {
        return Err(MintError::WrongKey { kid: key.kid().to_owned(), algorithm: key.algorithm() });
    }
    check(claims)?;
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("iss", Value::from(claims.iss.as_str()));
    put("sub", Value::from(claims.sub.as_str()));
    put("aud", Value::from(claims.aud.as_str()));
    // Always an array: the engine splits a string at commas.
    put("roles", Value::from(claims.roles.as_slice()));
    for (name, value) in &claims.attributes {
        put(name, Value::from(value.as_str()));
    }
    put("iat", Value::from(claims.iat.as_secs()));
    put("exp", Value::from(claims.exp.as_secs()));
    put("jti", Value::from(claims.jti.as_str()));
    Ok(jws::sign(key, "JWT", &object)?)
}

fn check(claims: &InternalClaims) -> Result<(), MintError> {
    for (claim, value) in [("iss", &claims.iss), ("sub", &claims.sub), ("aud", &claims.aud), ("jti", &claims.jti)] {
        if value.is_empty() {
            return Err(MintError::Empty { claim });
        }
        refuse_unsafe(claim, value)?;
    }
    for role in &claims.roles {
        refuse_unsafe("roles", role)?;
        if role.is_empty() || role.contains(',') || role.trim() != role {
            return Err(MintError::Role);
        }
    }
    for (name, value) in &claims.attributes {
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !plain || RESERVED.contains(&name.as_str()) {
            return Err(MintError::AttributeName { name: name.escape_default().to_string() });
        }
        refuse_unsafe(name, value)?;
    }
    let writable = claims.iat >= UnixTime::default() && claims.exp <= UnixTime::MAX;
    if !writable || claims.exp.whole_second() <= claims.iat.whole_second() {
        return Err(MintError::Lifetime);
    }
    Ok(())
}

fn refuse_unsafe(claim: &str, value: &str) -> Result<(), MintError> {
    if value.contains("${") || value.chars().any(char::is_control) {
        return Err(MintError::Unsafe { claim: claim.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
