use super::*;

fn keys() -> [SigningKey; 2] {
    [Algorithm::Es256, Algorithm::Rs256].map(|algorithm| SigningKey::generate(algorithm).unwrap())
}

#[test]
fn thumbprint_of_the_example_in_rfc_7638() {
    let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
    assert_eq!(
        thumbprint(&format!(r#"{{"e":"AQAB","kty":"RSA","n":"{n}"}}"#)),
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    );
}

#[test]
fn what_a_key_signs_its_public_half_verifies_and_nothing_else() {
    let [es256, rs256] = keys();
    for (key, other) in [(&es256, &rs256), (&rs256, &es256)] {
        let signature = key.sign(b"message").unwrap();
        assert!(key.public().verify(b"message", &signature));
        assert!(!key.public().verify(b"messagE", &signature));
        assert!(!key.public().verify(b"message", &[]));
        assert!(!other.public().verify(b"message", &signature));
        let again = SigningKey::generate(key.algorithm()).unwrap();
        assert!(!again.public().verify(b"message", &signature));
        assert_ne!(again.kid(), key.kid());
    }
}

#[test]
fn pkcs8_round_trip_keeps_the_key() {
    for key in keys() {
        let der = key.to_pkcs8().unwrap();
        let back = SigningKey::from_pkcs8(key.algorithm(), &der).unwrap();
        assert_eq!(back.kid(), key.kid());
        let signature = back.sign(b"m").unwrap();
        assert!(key.public().verify(b"m", &signature));
    }
}

#[test]
fn a_damaged_or_foreign_private_key_is_refused() {
    let [es256, rs256] = keys();
    let ec = es256.to_pkcs8().unwrap();
    let rsa = rs256.to_pkcs8().unwrap();
    for (algorithm, der) in [
        (Algorithm::Rs256, ec.as_slice()),
        (Algorithm::Es256, rsa.as_slice()),
        (Algorithm::Es256, b"".as_slice()),
        (Algorithm::Es256, ec.get(1..).unwrap()),
        (Algorithm::Rs256, rsa.get(..rsa.len() - 1).unwrap()),
    ] {
        assert_eq!(SigningKey::from_pkcs8(algorithm, der).unwrap_err(), KeyError::Malformed(algorithm));
    }
    let mut inconsistent = ec.to_vec();
    // The private scalar of a P-256 PKCS#8 document begins at byte 36.
    inconsistent[40] ^= 1;
    assert_eq!(
        SigningKey::from_pkcs8(Algorithm::Es256, &inconsistent).unwrap_err(),
        KeyError::Malformed(Algorithm::Es256)
    );
}

#[test]
fn an_ecdsa_signature_with_the_higher_s_is_refused() {
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    for _ in 0..20 {
        let signature = key.sign(b"message").unwrap();
        let mut mirrored = signature.clone();
        let mut borrow = 0_i32;
        for at in (0..32).rev() {
            let difference = i32::from(ORDER[at]) - i32::from(signature[32 + at]) - borrow;
            borrow = i32::from(difference < 0);
            mirrored[32 + at] = difference.rem_euclid(256) as u8;
        }
        assert!(
            key.public().parsed.verify_sig(b"message", &mirrored).is_ok(),
            "the mirrored signature is valid by the standard"
        );
        assert!(!key.public().verify(b"message", &mirrored));
        assert!(key.public().verify(b"message", &signature));
        assert!(!key.public().verify(b"message", &[0; 64]));
    }
}

#[test]
fn pem_is_a_subject_public_key_info_in_lines_of_64() {
    for (key, begin) in keys().iter().zip(["MFkwEwYHKoZIzj0CAQYI", "MIIBIjANBgkqhkiG9w0B"]) {
        let pem = key.public().to_pem();
        let mut lines = pem.lines();
        assert_eq!(lines.next(), Some("-----BEGIN PUBLIC KEY-----"));
        assert!(lines.next().unwrap().starts_with(begin));
        assert_eq!(pem.lines().last(), Some("-----END PUBLIC KEY-----"));
        assert!(pem.lines().all(|line| line.len() <= 64 && !line.is_empty()));
    }
}

fn names(object: &serde_json::Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_jwk_shows_the_public_half_only() {
    let [es256, rs256] = keys();
    let ec = serde_json::to_value(es256.public().jwk()).unwrap();
    assert_eq!(names(&ec), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(ec["alg"], "ES256");
    let rsa = serde_json::to_value(rs256.public().jwk()).unwrap();
    assert_eq!(names(&rsa), ["alg", "e", "kid", "kty", "n", "use"]);
    assert_eq!(rsa["e"], "AQAB");
}

#[test]
fn a_set_publishes_every_verifying_key_once_and_keeps_to_one_algorithm() {
    let [es256, rs256] = keys();
    let next = SigningKey::generate(Algorithm::Es256).unwrap();
    let set = KeySet::new(es256)
        .also_verifying(Arc::clone(next.public()))
        .unwrap()
        .also_verifying(Arc::clone(next.public()))
        .unwrap();
    let jwks = set.jwks();
    let kids: Vec<_> = jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, [set.active().kid(), next.kid()]);
    assert!(set.find(next.kid()).is_some());
    assert!(set.find("").is_none());
    assert!(matches!(set.also_verifying(Arc::clone(rs256.public())), Err(KeyError::MixedAlgorithms { .. })));
}

#[test]
fn debug_shows_no_private_part() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("SigningKey {{ kid: {:?}, algorithm: Es256, .. }}", key.kid()));
}
