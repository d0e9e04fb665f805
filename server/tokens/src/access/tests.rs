//! Every way to make something that is not our token pass for one.

mod content;
mod forged;
mod laws;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::clock::UnixTime;
use crate::keys::KeySet;

const ISSUER: &str = "https://gateway.example.com";
const AUDIENCE: &str = "https://gateway.example.com/opensearch";
const NOW: UnixTime = UnixTime::from_secs(1_795_305_600);

/// An issuer with one key, and the verifier of its tokens.
struct Issuer {
    key: Arc<SigningKey>,
    verifier: Verifier,
}

impl Issuer {
    fn new() -> Self {
        let key = Arc::new(SigningKey::generate(Algorithm::Es256).unwrap());
        let verifier = Verifier::new(ISSUER, AUDIENCE, &KeySet::new(Arc::clone(&key)));
        Self { key, verifier }
    }

    fn token(&self) -> String {
        sign(&self.key, &claims()).unwrap()
    }

    fn verify(&self, token: &str) -> Result<AccessClaims, Invalid> {
        self.verifier.verify(token, NOW)
    }

    /// A header like ours, with some members set or (by null) left out.
    fn header(&self, changes: Value) -> String {
        merged(json!({"alg": "ES256", "typ": "at+jwt", "kid": self.key.kid()}), changes)
    }

    /// A token with this header and these claims, truly signed by our key.
    fn signed(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.key.sign(signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }

    /// The verdict on a truly signed token with other claims.
    fn verdict(&self, changes: Value) -> Result<AccessClaims, Invalid> {
        self.verify(&self.signed(&self.header(json!({})), &claims_with(changes)))
    }
}

fn claims() -> AccessClaims {
    AccessClaims {
        iss: ISSUER.to_owned(),
        sub: "agent-7".to_owned(),
        aud: vec![AUDIENCE.to_owned()],
        client_id: "agent-7".to_owned(),
        scope: "read:logs-* search:metrics-*".to_owned(),
        iat: NOW,
        nbf: None,
        exp: NOW + Duration::from_secs(600),
        jti: "tok_1".to_owned(),
        act: Vec::new(),
    }
}

fn claims_with(changes: Value) -> String {
    merged(Value::Object(claims().to_object()), changes)
}

fn merged(mut into: Value, changes: Value) -> String {
    let members = into.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    into.to_string()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn what_is_signed_is_verified() {
    let issuer = Issuer::new();
    assert_eq!(issuer.verify(&issuer.token()), Ok(claims()));
}

#[test]
fn the_token_looks_as_rfc_9068_says() {
    let issuer = Issuer::new();
    let token = issuer.token();
    let [header, payload, _] = parts(&token);
    let read = |part| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    assert_eq!(read(header), json!({"alg": "ES256", "typ": "at+jwt", "kid": issuer.key.kid()}));
    assert_eq!(
        read(payload),
        json!({
            "iss": ISSUER, "sub": "agent-7", "aud": AUDIENCE, "client_id": "agent-7",
            "scope": "read:logs-* search:metrics-*",
            "iat": 1_795_305_600, "exp": 1_795_306_200, "jti": "tok_1",
        })
    );
}

/// Another implementation, so that the two halves here are not only right about each other.
#[test]
fn a_stock_library_verifies_the_token_with_the_published_key() {
    use jsonwebtoken::{DecodingKey, Validation, decode, jwk::JwkSet};
    let issuer = Issuer::new();
    let keys: JwkSet = serde_json::from_value(KeySet::new(Arc::clone(&issuer.key)).jwks()).unwrap();
    let key = DecodingKey::from_jwk(keys.find(issuer.key.kid()).unwrap()).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.validate_exp = false;
    let token = decode::<Value>(&issuer.token(), &key, &validation).unwrap();
    assert_eq!(token.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(token.claims["jti"], "tok_1");
}

#[test]
fn the_type_may_be_written_in_its_long_form_and_in_any_case() {
    let issuer = Issuer::new();
    for typ in ["AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        let token = issuer.signed(&issuer.header(json!({"typ": typ})), &claims_with(json!({})));
        assert!(issuer.verify(&token).is_ok(), "{typ}");
    }
}

#[test]
fn time_is_watched_to_the_second() {
    let issuer = Issuer::new();
    let token = issuer.token();
    let at = |seconds: i64| {
        let now = UnixTime::from_secs(NOW.as_secs() + seconds);
        issuer.verifier.verify(&token, now).map(|_| ())
    };
    assert_eq!(at(-6), Err(Invalid::NotYetValid));
    assert_eq!(at(-5), Ok(()), "the issuer's clock may be five seconds ahead");
    assert_eq!(at(599), Ok(()));
    assert_eq!(at(600), Err(Invalid::Expired), "the end has no leeway");
    let just_before = UnixTime::from_millis(NOW.as_millis() + 599_999);
    assert!(issuer.verifier.verify(&token, just_before).is_ok());

    let strict = issuer.verifier.clone().with_skew(Duration::ZERO);
    let early = NOW - Duration::from_millis(1);
    assert_eq!(strict.verify(&token, early), Err(Invalid::NotYetValid));
}

#[test]
fn nbf_is_respected() {
    let issuer = Issuer::new();
    let later = AccessClaims { nbf: Some(NOW + Duration::from_secs(60)), ..claims() };
    let token = sign(&issuer.key, &later).unwrap();
    assert_eq!(issuer.verify(&token), Err(Invalid::NotYetValid));
    let then = NOW + Duration::from_secs(60);
    assert_eq!(issuer.verifier.verify(&token, then), Ok(later));
}

#[test]
fn tokens_of_a_retiring_key_pass_until_the_key_is_dropped() {
    let issuer = Issuer::new();
    let token = issuer.token();
    let next = SigningKey::generate(Algorithm::Es256).unwrap();
    let overlapping = KeySet::new(next).also_verifying(Arc::clone(issuer.key.public())).unwrap();
    let during = Verifier::new(ISSUER, AUDIENCE, &overlapping);
    assert!(during.verify(&token, NOW).is_ok());
    let after = Verifier::new(ISSUER, AUDIENCE, &KeySet::new(Arc::clone(overlapping.active())));
    assert_eq!(after.verify(&token, NOW), Err(Invalid::UnknownKey));
}

#[test]
fn an_audience_among_several_is_enough() {
    let issuer = Issuer::new();
    let several = AccessClaims { aud: vec!["https://other.example.com".to_owned(), AUDIENCE.to_owned()], ..claims() };
    let token = sign(&issuer.key, &several).unwrap();
    assert_eq!(issuer.verify(&token), Ok(several));
}

#[test]
fn claims_that_no_verifier_would_take_are_not_signed() {
    let issuer = Issuer::new();
    let refused = |claims: AccessClaims| sign(&issuer.key, &claims).unwrap_err();
    let empty = String::new;
    for (claims, why) in [
        (AccessClaims { iss: empty(), ..claims() }, Invalid::Missing("iss")),
        (AccessClaims { sub: empty(), ..claims() }, Invalid::Missing("sub")),
        (AccessClaims { client_id: empty(), ..claims() }, Invalid::Missing("client_id")),
        (AccessClaims { jti: empty(), ..claims() }, Invalid::Missing("jti")),
        (AccessClaims { aud: vec![], ..claims() }, Invalid::Missing("aud")),
        (AccessClaims { exp: NOW, ..claims() }, Invalid::Lifetime),
        (AccessClaims { exp: UnixTime::from_secs(i64::MAX), ..claims() }, Invalid::Malformed("exp")),
        (AccessClaims { iat: UnixTime::from_secs(-1), ..claims() }, Invalid::Malformed("iat")),
    ] {
        assert_eq!(refused(claims), SignError::Claims(why));
    }
    let long = AccessClaims { scope: "read:logs-* ".repeat(600), ..claims() };
    assert!(matches!(refused(long), SignError::TooLong { bytes } if bytes > MAX_TOKEN_BYTES));
    let rs256 = SigningKey::generate(Algorithm::Rs256).unwrap();
    assert!(matches!(sign(&rs256, &claims()), Err(SignError::WrongKey { .. })));
}

#[test]
fn errors_are_sentences_without_the_token() {
    let issuer = Issuer::new();
    let error = issuer.verdict(json!({"exp": "secret"})).unwrap_err();
    assert_eq!(error.to_string(), "the token's claim `exp` is malformed");
}
