//! Access tokens by RFC 9068: JWTs of the type `at+jwt`, signed with ES256.

mod actor;
mod claims;
mod invalid;
mod verify;

pub use self::actor::{Actor, MAX_ACTORS, read_actors, write_actors};
pub use self::claims::AccessClaims;
pub use self::invalid::Invalid;
pub use self::verify::Verifier;
use crate::jws;
use crate::keys::{Algorithm, KeyError, SigningKey};

/// The longest token that is made or looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// An access token could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// Access tokens are signed with ES256 and internal tokens with RS256, so that neither passes for the other.
    #[error("access tokens are signed with ES256, and the key `{kid}` is for {algorithm}")]
    WrongKey {
        /// The key that was given.
        kid: String,
        /// What that key is for.
        algorithm: Algorithm,
    },
    /// The claims contradict themselves or lack something; no verifier would take the token.
    #[error("the access token was not made, since {0}")]
    Claims(Invalid),
    /// The token would be longer than [`MAX_TOKEN_BYTES`].
    #[error("the access token would be {bytes} bytes long and may have {MAX_TOKEN_BYTES}; ask for fewer scopes")]
    TooLong {
        /// The length it would have.
        bytes: usize,
    },
    /// The key failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Makes an access token. Times are written in whole seconds, rounded down.
///
/// # Errors
/// [`SignError`]; a token that a [`Verifier`] with the same issuer and audience would refuse for its content is not made.
pub fn sign(key: &SigningKey, claims: &AccessClaims) -> Result<String, SignError> {
    if key.algorithm() != Algorithm::Es256 {
        return Err(SignError::WrongKey { kid: key.kid().to_owned(), algorithm: key.algorithm() });
    }
    claims.check().map_err(SignError::Claims)?;
    let token = jws::sign(key, "at+jwt", &claims.to_object())?;
    if token.len() > MAX_TOKEN_BYTES {
        return Err(SignError::TooLong { bytes: token.len() });
    }
    Ok(token)
}

#[cfg(test)]
mod tests;
