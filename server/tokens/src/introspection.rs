//! What the gateway says of a token, signed (RFC 9701): for resource servers that have to prove what they were told.

use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::jws;
use crate::keys::{KeyError, SigningKey};

/// Signs what is said of a token, for the one who asked.
///
/// What is said stands in a claim of its own, and neither `sub` nor `exp` beside it, so that nobody takes the answer for a
/// token (RFC 9701 section 5); its type is none that a [`Verifier`](crate::access::Verifier) accepts.
///
/// # Errors
/// [`KeyError`].
pub fn sign(
    key: &SigningKey,
    issuer: &str,
    asked_by: &str,
    now: UnixTime,
    said: Map<String, Value>,
) -> Result<String, KeyError> {
    let mut claims = Map::new();
    claims.insert("iss".to_owned(), issuer.into());
    claims.insert("aud".to_owned(), asked_by.into());
    claims.insert("iat".to_owned(), now.as_secs().into());
    claims.insert("token_introspection".to_owned(), Value::Object(said));
    jws::sign(key, "token-introspection+jwt", &claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Invalid, Verifier};
    use crate::keys::{Algorithm, KeySet};

    #[test]
    fn an_answer_is_no_access_token() {
        let key = std::sync::Arc::new(SigningKey::generate(Algorithm::Es256).unwrap());
        let said = Map::from_iter([("active".to_owned(), Value::Bool(true))]);
        let now = UnixTime::from_secs(1_795_305_600);
        let answer = sign(&key, "https://gateway.example.com", "api", now, said).unwrap();
        let verifier = Verifier::new("https://gateway.example.com", "api", &KeySet::new(key));
        assert_eq!(verifier.verify(&answer, now), Err(Invalid::Type));
        assert_eq!(verifier.for_any_audience().verify(&answer, now), Err(Invalid::Type));
    }
}
