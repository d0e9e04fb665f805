//! JWS compact serialisation (RFC 7515) as this project writes it, and nothing wider.
//!
//! Our own tokens have exactly the header members `alg`, `typ` and `kid`. Any other member is refused, and with it
//! everything a header could ask a verifier to do: `crit`, `b64`, `zip`, `jku`, `jwk`, `x5u`, `x5c`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::json::{self, NotAnObject};
use crate::keys::{KeyError, SigningKey};

/// Signs `claims` under the header `{"alg","typ","kid"}`.
pub(crate) fn sign(key: &SigningKey, typ: &'static str, claims: &Map<String, Value>) -> Result<String, KeyError> {
    let header = serde_json::json!({
        "alg": key.algorithm().as_str(),
        "typ": typ,
        "kid": key.kid(),
    });
    let claims = serde_json::to_vec(claims).map_err(|_| KeyError::Sign)?;
    let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    Ok(token)
}

/// A token taken apart; nothing in it is believed yet.
pub(crate) struct Compact<'a> {
    pub(crate) alg: String,
    pub(crate) typ: Option<String>,
    pub(crate) kid: Option<String>,
    /// Header, dot, claims: what the signature is over.
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
    claims: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    NotThreeParts,
    Encoding,
    Header,
    DuplicateHeader,
    UnexpectedHeader,
}

impl<'a> Compact<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, Malformed> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Malformed::NotThreeParts)?;
        let (header, claims) = signed.split_once('.').ok_or(Malformed::NotThreeParts)?;
        if claims.contains('.') {
            return Err(Malformed::NotThreeParts);
        }
        let header = json::object(&decode(header)?).map_err(|error| match error {
            NotAnObject::Malformed => Malformed::Header,
            NotAnObject::DuplicateName => Malformed::DuplicateHeader,
        })?;
        let (mut alg, mut typ, mut kid) = (None, None, None);
        for (name, value) in header {
            let into = match name.as_str() {
                "alg" => &mut alg,
                "typ" => &mut typ,
                "kid" => &mut kid,
                _ => return Err(Malformed::UnexpectedHeader),
            };
            let Value::String(value) = value else {
                return Err(Malformed::Header);
            };
            *into = Some(value);
        }
        Ok(Self { alg: alg.ok_or(Malformed::Header)?, typ, kid, signed, signature: decode(signature)?, claims })
    }

    /// The claims; to be called when the signature is verified.
    pub(crate) fn claims(&self) -> Result<Map<String, Value>, NotAnObject> {
        let claims = decode(self.claims).map_err(|_| NotAnObject::Malformed)?;
        json::object(&claims)
    }
}

/// Base64url without padding, every bit accounted for: one byte string has one text (RFC 7515 section 2).
fn decode(part: &str) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Malformed::Encoding)
}
