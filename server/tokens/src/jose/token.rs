//! Signed tokens of outside issuers in compact form (RFC 7515 section 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Algorithm, MAX_TOKEN_BYTES, json_object};

/// Header members that would have a verifier take its key from the token, change what is signed, or do something it must
/// understand. None of them has a place in an access token.
const REFUSED_MEMBERS: [&str; 8] = ["crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"];

/// A token taken apart; nothing in it is believed yet.
pub struct ForeignToken<'a> {
    /// What the header says it is signed with.
    pub algorithm: Algorithm,
    /// What the header says it is.
    pub typ: Option<String>,
    /// The key the header names.
    pub kid: Option<String>,
    /// Header, dot, claims: what the signature is over.
    pub signed: &'a str,
    /// The signature.
    pub signature: Vec<u8>,
    /// The claims: to be looked at, but not relied on before the signature is verified.
    pub claims: Map<String, Value>,
}

/// Why something is not a token that can be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("the token is longer than {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not header, claims and signature.
    #[error("the token has not the three parts of a signed JWT")]
    NotThreeParts,
    /// A part is not base64url without padding in its one canonical form.
    #[error("a part of the token is not base64url in canonical form")]
    Encoding,
    /// The header is not a JSON object with texts where texts belong, or names something twice.
    #[error("the token's header is malformed")]
    Header,
    /// The header wants something no access token may want.
    #[error("the token's header asks for something that is never taken from a token")]
    RefusedMember,
    /// `alg` is `none`, an HMAC or unknown.
    #[error("the token is not signed with an algorithm that is taken here")]
    Algorithm,
    /// The claims are not a JSON object, or name something twice.
    #[error("the token's claims are malformed")]
    Claims,
}

impl<'a> ForeignToken<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(token: &'a str) -> Result<Self, Malformed> {
        let parts = Parts::split(token)?;
        let header = json_object(&decode(parts.header)?).ok_or(Malformed::Header)?;
        if REFUSED_MEMBERS.iter().any(|member| header.contains_key(*member)) {
            return Err(Malformed::RefusedMember);
        }
        let text = |name| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(Malformed::Header),
        };
        let algorithm = text("alg")?.ok_or(Malformed::Header)?;
        Ok(Self {
            algorithm: Algorithm::from_name(&algorithm).ok_or(Malformed::Algorithm)?,
            typ: text("typ")?,
            kid: text("kid")?,
            signed: parts.signed,
            signature: decode(parts.signature)?,
            claims: json_object(&decode(parts.claims)?).ok_or(Malformed::Claims)?,
        })
    }

    /// The issuer a token claims to be from, unverified: for finding out who could verify it.
    #[must_use]
    pub fn claimed_issuer(token: &str) -> Option<String> {
        let claims = decode(Parts::split(token).ok()?.claims).ok()?;
        match json_object(&claims)?.remove("iss") {
            Some(Value::String(issuer)) => Some(issuer),
            _ => None,
        }
    }
}

struct Parts<'a> {
    signed: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, Malformed> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Malformed::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Malformed::NotThreeParts)?;
        let (header, claims) = signed.split_once('.').ok_or(Malformed::NotThreeParts)?;
        if claims.contains('.') {
            return Err(Malformed::NotThreeParts);
        }
        Ok(Self { signed, header, claims, signature })
    }
}

fn decode(part: &str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Encoding)
}
