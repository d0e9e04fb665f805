use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::*;

const NOW: UnixTime = UnixTime::from_secs(1_795_305_600);

fn claims() -> InternalClaims {
    InternalClaims {
        iss: "https://gateway.example.com".to_owned(),
        sub: "oauth4os:agent-7".to_owned(),
        aud: "opensearch".to_owned(),
        roles: vec!["oauth4os_read".to_owned(), "oauth4os_search".to_owned()],
        attributes: BTreeMap::from([("o4s_read".to_owned(), "/(?:logs-.*)/".to_owned())]),
        iat: NOW,
        exp: NOW + Duration::from_secs(300),
        jti: "tok_1".to_owned(),
    }
}

fn key() -> &'static SigningKey {
    static KEY: std::sync::LazyLock<SigningKey> =
        std::sync::LazyLock::new(|| SigningKey::generate(Algorithm::Rs256).unwrap());
    &KEY
}

#[test]
fn a_stock_library_verifies_the_token() {
    use jsonwebtoken::{DecodingKey, Validation, decode};
    let token = mint(key(), &claims()).unwrap();
    let jwk = serde_json::from_value(serde_json::to_value(key().public().jwk()).unwrap());
    let public = DecodingKey::from_jwk(&jwk.unwrap()).unwrap();
    let mut validation = Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_audience(&["opensearch"]);
    validation.set_issuer(&["https://gateway.example.com"]);
    validation.validate_exp = false;
    let token = decode::<serde_json::Value>(&token, &public, &validation).unwrap();
    assert_eq!(token.header.typ.as_deref(), Some("JWT"));
    assert_eq!(token.header.kid.as_deref(), Some(key().kid()));
    assert_eq!(
        token.claims,
        json!({
            "iss": "https://gateway.example.com", "sub": "oauth4os:agent-7", "aud": "opensearch",
            "roles": ["oauth4os_read", "oauth4os_search"], "o4s_read": "/(?:logs-.*)/",
            "iat": 1_795_305_600, "exp": 1_795_305_900, "jti": "tok_1",
        })
    );
}

#[test]
fn the_pem_for_the_engine_verifies_the_token() {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    let token = mint(key(), &claims()).unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let pem = key().public().to_pem();
    let spki: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let spki = base64::engine::general_purpose::STANDARD.decode(spki).unwrap();
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, spki)
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap())
        .unwrap();
}

#[test]
fn roles_stay_an_array_whatever_their_number() {
    for roles in [vec![], vec!["one".to_owned()]] {
        let token = mint(key(), &InternalClaims { roles: roles.clone(), ..claims() }).unwrap();
        let payload = token.split('.').nth(1).unwrap();
        let payload: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!(payload["roles"], json!(roles));
    }
}

#[test]
fn nothing_the_engine_would_substitute_or_misread_is_signed() {
    for bad in ["${attr.jwt.o4s_write}", "a${", "${user.name}", "a\nb", "a\0b", "a\u{7f}", "a\u{85}", "\t"] {
        let bad = bad.to_owned();
        let cases = [
            ("iss", InternalClaims { iss: bad.clone(), ..claims() }),
            ("sub", InternalClaims { sub: bad.clone(), ..claims() }),
            ("aud", InternalClaims { aud: bad.clone(), ..claims() }),
            ("jti", InternalClaims { jti: bad.clone(), ..claims() }),
            ("roles", InternalClaims { roles: vec!["ok".to_owned(), bad.clone()], ..claims() }),
            (
                "o4s_read",
                InternalClaims { attributes: BTreeMap::from([("o4s_read".to_owned(), bad.clone())]), ..claims() },
            ),
        ];
        for (claim, claims) in cases {
            let claim = claim.to_owned();
            assert_eq!(mint(key(), &claims), Err(MintError::Unsafe { claim }));
        }
    }
    // A regular expression's own `$` and braces are fine.
    let pattern = "/(?!(?:pii-.*)$)(?:logs-[0-9]{4})/".to_owned();
    let attributes = BTreeMap::from([("o4s_read".to_owned(), pattern)]);
    assert!(mint(key(), &InternalClaims { attributes, ..claims() }).is_ok());
}

#[test]
fn a_role_that_reads_as_several_or_none_is_refused() {
    for role in ["", " ", "a,b", " admin", "admin ", "all_access,"] {
        let claims = InternalClaims { roles: vec![role.to_owned()], ..claims() };
        assert_eq!(mint(key(), &claims), Err(MintError::Role), "{role}");
    }
}

#[test]
fn an_attribute_cannot_stand_in_for_another_claim() {
    for name in ["sub", "roles", "exp", "iss", "", "a.b", "a b", "é", "a\n", "x}"] {
        let attributes = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
        assert!(
            matches!(mint(key(), &InternalClaims { attributes, ..claims() }), Err(MintError::AttributeName { .. })),
            "{name}"
        );
    }
}

#[test]
fn empty_names_and_dead_tokens_are_not_minted() {
    let empty = InternalClaims { sub: String::new(), ..claims() };
    assert_eq!(mint(key(), &empty), Err(MintError::Empty { claim: "sub" }));
    for exp in [NOW, UnixTime::default(), UnixTime::from_secs(i64::MAX)] {
        assert_eq!(mint(key(), &InternalClaims { exp, ..claims() }), Err(MintError::Lifetime));
    }
    let es256 = SigningKey::generate(Algorithm::Es256).unwrap();
    assert!(matches!(mint(&es256, &claims()), Err(MintError::WrongKey { .. })));
}

#[test]
fn the_error_names_the_claim_and_not_its_value() {
    let bad = InternalClaims { sub: "x${secret}".to_owned(), ..claims() };
    assert_eq!(
        mint(key(), &bad).unwrap_err().to_string(),
        "the claim `sub` contains `${` or a control character; no identity is handed to the engine"
    );
}
