//! The driver `jwt`: a token that the gateway signs and the engine's `jwt` auth domain verifies.

use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::{self, NoRandomness};
use oauth4os_tokens::internal::{self, InternalClaims, MintError};
use oauth4os_tokens::keys::SigningKey;

use super::told::Told;

/// No token was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JwtError {
    /// No random bytes for the token's id.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The token was not signed.
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// What a token says.
pub(crate) fn claims(
    issuer: &str,
    audience: &str,
    told: &Told,
    iat: UnixTime,
    exp: UnixTime,
) -> Result<InternalClaims, JwtError> {
    Ok(InternalClaims {
        iss: issuer.to_owned(),
        sub: told.user.clone(),
        aud: audience.to_owned(),
        roles: told.roles.clone(),
        attributes: told.attributes.clone(),
        iat,
        exp,
        jti: id::random_id("int_")?,
    })
}

/// The header field with a token of these claims.
pub(crate) fn field(key: &SigningKey, claims: &InternalClaims) -> Result<String, JwtError> {
    Ok(with(&internal::mint(key, claims)?))
}

/// The header field with this token.
pub(crate) fn with(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}
