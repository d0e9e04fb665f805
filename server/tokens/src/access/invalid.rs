//! Why an access token is refused.

use super::MAX_TOKEN_BYTES;

/// Why an access token is refused: for log and audit, and shortened for the client's `error_description`.
///
/// No variant carries text out of the token but the name of a claim, and that only after the signature was verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not header, claims and signature.
    #[error("the token has not the three parts of a signed JWT")]
    NotThreeParts,
    /// A part is not base64url without padding in its one canonical form.
    #[error("a part of the token is not base64url in canonical form")]
    Encoding,
    /// The header is not a JSON object with an `alg` and with strings only.
    #[error("the token's header is malformed")]
    Header,
    /// The header names something twice.
    #[error("the token's header contains a name twice")]
    DuplicateHeader,
    /// The header contains more than `alg`, `typ` and `kid`.
    #[error("the token's header asks for something this gateway's tokens never ask for")]
    UnexpectedHeader,
    /// `typ` is missing or something other than `at+jwt`: an ID token, for example.
    #[error("the token is not an access token (its type is not `at+jwt`)")]
    Type,
    /// `alg` is not the algorithm of the key.
    #[error("the token is signed with an algorithm this gateway does not use")]
    Algorithm,
    /// `kid` is missing or of no key that is in force.
    #[error("the token is signed with a key this gateway does not know")]
    UnknownKey,
    /// The signature is not of that key over this content.
    #[error("the token's signature is wrong")]
    Signature,
    /// The claims are not a JSON object.
    #[error("the token's claims are malformed")]
    Claims,
    /// The claims name something twice.
    #[error("the token's claims contain a name twice")]
    DuplicateClaim,
    /// A claim RFC 9068 section 2.2 requires is not there, or empty.
    #[error("the token lacks the claim `{0}`")]
    Missing(&'static str),
    /// A claim is of the wrong JSON type; times must be whole, not negative and before the year 10000.
    #[error("the token's claim `{0}` is malformed")]
    Malformed(&'static str),
    /// `iss` is not, character for character, the issuer.
    #[error("the token is from another issuer")]
    Issuer,
    /// `aud` does not contain this resource.
    #[error("the token is for another audience")]
    Audience,
    /// `nbf` or `iat` lies in the future.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// `exp` is reached.
    #[error("the token has expired")]
    Expired,
    /// `exp` is not after `iat`, or too long after it.
    #[error("the token's lifetime is not one this gateway grants")]
    Lifetime,
}
