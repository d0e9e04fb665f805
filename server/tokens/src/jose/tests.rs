use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::*;

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A new key for the algorithm: its JWK without `alg`, and what signs.
fn key(algorithm: Algorithm) -> (Map<String, Value>, Sign) {
    let random = SystemRandom::new();
    let ec = |signing, curve: &str, size: usize| {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let point = pair.public_key().as_ref();
        let jwk = json!({"kty": "EC", "crv": curve, "x": encode(&point[1..=size]), "y": encode(&point[size + 1..])});
        let random = random.clone();
        let sign = move |message: &[u8]| pair.sign(&random, message).unwrap().as_ref().to_vec();
        (object(jwk), Box::new(sign) as Sign)
    };
    let rsa = |encoding: &'static dyn signature::RsaEncoding| {
        let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
        let n = pair.public_key().modulus().big_endian_without_leading_zero().to_vec();
        let jwk = json!({"kty": "RSA", "n": encode(n), "e": "AQAB"});
        let random = random.clone();
        let sign = move |message: &[u8]| {
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(encoding, &random, message, &mut signature).unwrap();
            signature
        };
        (object(jwk), Box::new(sign) as Sign)
    };
    match algorithm {
        Algorithm::Rs256 => rsa(&signature::RSA_PKCS1_SHA256),
        Algorithm::Rs384 => rsa(&signature::RSA_PKCS1_SHA384),
        Algorithm::Rs512 => rsa(&signature::RSA_PKCS1_SHA512),
        Algorithm::Ps256 => rsa(&signature::RSA_PSS_SHA256),
        Algorithm::Ps384 => rsa(&signature::RSA_PSS_SHA384),
        Algorithm::Ps512 => rsa(&signature::RSA_PSS_SHA512),
        Algorithm::Es256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32),
        Algorithm::Es384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48),
        Algorithm::Es512 => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521", 66),
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().unwrap();
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key())});
            (object(jwk), Box::new(move |message| pair.sign(message).as_ref().to_vec()))
        }
    }
}

#[test]
fn every_algorithm_verifies_its_own_signature_and_no_other() {
    for algorithm in Algorithm::ALL {
        let (jwk, sign) = key(algorithm);
        let parsed = ForeignKey::parse(&jwk, &Algorithm::ALL).unwrap();
        let signature = sign(b"message");
        for other in Algorithm::ALL {
            assert_eq!(parsed.verify(other, b"message", &signature), other == algorithm, "{algorithm} as {other}");
        }
        assert!(!parsed.verify(algorithm, b"messagf", &signature), "{algorithm}");
        assert!(!parsed.verify(algorithm, b"message", &signature[1..]), "{algorithm}");
        assert!(!parsed.verify(algorithm, b"message", &[]), "{algorithm}");
        assert!(!parsed.verify(algorithm, b"message", &vec![0; signature.len()]), "{algorithm}");

        // A key that says what it is for serves that alone; one that nobody takes serves nothing.
        let mut bound = jwk.clone();
        bound.insert("alg".to_owned(), json!(algorithm.as_str()));
        assert_eq!(ForeignKey::parse(&bound, &Algorithm::ALL).unwrap().algorithms().collect::<Vec<_>>(), [algorithm]);
        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        assert_eq!(ForeignKey::parse(&bound, &others).unwrap_err(), UnusableKey::Purpose);
        for foreign in ["none", "HS256", "RSA-OAEP", "ES256K"] {
            bound.insert("alg".to_owned(), json!(foreign));
            assert_eq!(ForeignKey::parse(&bound, &Algorithm::ALL).unwrap_err(), UnusableKey::Purpose);
        }
    }
}

#[test]
fn a_key_that_cannot_be_used_safely_is_left_out() {
    let (rsa, _) = key(Algorithm::Rs256);
    let (ec, _) = key(Algorithm::Es256);
    let with = |jwk: &Map<String, Value>, name: &str, value: Value| {
        let mut changed = jwk.clone();
        changed.insert(name.to_owned(), value);
        changed
    };
    let short = encode([0xff; 128]);
    let zeros_only = encode([0; 256]);
    let mut seven = vec![0; 128];
    seven.extend([0xff; 128]);
    let y_of_another = key(Algorithm::Es256).0["y"].clone();
    for (jwk, expected) in [
        (with(&rsa, "n", json!(short)), UnusableKey::WeakRsa),
        (with(&rsa, "n", json!(encode(seven))), UnusableKey::WeakRsa),
        (with(&rsa, "n", json!(encode([0xff; 1025]))), UnusableKey::WeakRsa),
        (with(&rsa, "n", json!(zeros_only)), UnusableKey::Malformed),
        (with(&rsa, "n", json!("")), UnusableKey::Malformed),
        (with(&rsa, "n", json!(1)), UnusableKey::Malformed),
        (with(&rsa, "e", json!("AQ")), UnusableKey::WeakRsa),
        (with(&rsa, "e", json!("Aw")), UnusableKey::WeakRsa),
        (with(&rsa, "e", json!("AQAB=")), UnusableKey::Malformed),
        (with(&rsa, "use", json!("enc")), UnusableKey::Purpose),
        (with(&rsa, "use", json!(1)), UnusableKey::Malformed),
        (with(&rsa, "key_ops", json!(["sign"])), UnusableKey::Purpose),
        (with(&rsa, "key_ops", json!("verify")), UnusableKey::Malformed),
        (with(&rsa, "kid", json!("")), UnusableKey::Malformed),
        (with(&rsa, "kid", json!("k".repeat(513))), UnusableKey::Malformed),
        (with(&rsa, "kty", json!("EC")), UnusableKey::Purpose),
        (with(&rsa, "d", json!("AQAB")), UnusableKey::Private),
        (with(&ec, "crv", json!("P-384")), UnusableKey::Malformed),
        (with(&ec, "crv", json!("secp256k1")), UnusableKey::Purpose),
        (with(&ec, "x", json!(encode([1; 31]))), UnusableKey::Malformed),
        (with(&ec, "y", y_of_another), UnusableKey::Malformed),
        (object(json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"})), UnusableKey::Purpose),
        (object(json!({"kty": "OKP", "crv": "X25519", "x": encode([9; 32])})), UnusableKey::Purpose),
        (object(json!({})), UnusableKey::Malformed),
    ] {
        assert_eq!(ForeignKey::parse(&jwk, &Algorithm::ALL).err(), Some(expected), "{jwk:?}");
    }
    let zeros_in_front = [vec![0], URL_SAFE_NO_PAD.decode(rsa["n"].as_str().unwrap()).unwrap()].concat();
    assert!(ForeignKey::parse(&with(&rsa, "n", json!(encode(zeros_in_front))), &Algorithm::ALL).is_ok());
}

fn pem(der: &[u8]) -> String {
    use base64::engine::general_purpose::STANDARD;
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// `SubjectPublicKeyInfo` of a new key, as the library writes it, and what signs.
fn written(algorithm: Algorithm) -> (Vec<u8>, Sign) {
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    let random = SystemRandom::new();
    match algorithm {
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => {
            let signing = match algorithm {
                Algorithm::Es256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                Algorithm::Es384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                _ => &signature::ECDSA_P521_SHA512_FIXED_SIGNING,
            };
            let pair = EcdsaKeyPair::generate(signing).unwrap();
            let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            let der = der.as_ref().to_vec();
            (der, Box::new(move |message| pair.sign(&random, message).unwrap().as_ref().to_vec()))
        }
        Algorithm::EdDsa => {
            let pair = Ed25519KeyPair::generate().unwrap();
            let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            let der = der.as_ref().to_vec();
            (der, Box::new(move |message| pair.sign(message).as_ref().to_vec()))
        }
        _ => {
            let pair = rsa::KeyPair::generate(rsa::KeySize::Rsa3072).unwrap();
            let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            let der = der.as_ref().to_vec();
            let sign = move |message: &[u8]| {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PSS_SHA256, &random, message, &mut signature).unwrap();
                signature
            };
            (der, Box::new(sign))
        }
    }
}

#[test]
fn a_public_key_in_pem_is_the_key_it_says() {
    for algorithm in [Algorithm::Ps256, Algorithm::Es256, Algorithm::Es384, Algorithm::Es512, Algorithm::EdDsa] {
        let (der, sign) = written(algorithm);
        let read = ForeignKey::from_pem(&pem(&der)).unwrap();
        assert!(read.verify(algorithm, b"message", &sign(b"message")), "{algorithm}");
        assert!(!read.verify(algorithm, b"messagf", &sign(b"message")), "{algorithm}");
        assert_eq!(read.kid(), None);
        // Line breaks do not matter, everything else does.
        assert!(ForeignKey::from_pem(&pem(&der).replace('\n', "\r\n")).is_ok());
        for cut in 0..der.len() {
            assert!(ForeignKey::from_pem(&pem(&der[..cut])).is_err(), "{algorithm} cut at {cut}");
        }
        let longer = [der.as_slice(), &[0]].concat();
        assert!(ForeignKey::from_pem(&pem(&longer)).is_err(), "{algorithm}");
        assert!(ForeignKey::from_pem(&format!("{0}{0}", pem(&der))).is_err(), "two keys");
    }
}

#[test]
fn what_is_no_public_key_in_pem_is_refused() {
    let private = "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----\n";
    assert_eq!(ForeignKey::from_pem(private).err(), Some(UnusableKey::Private));
    let both = format!("{private}{}", pem(&written(Algorithm::EdDsa).0));
    assert_eq!(ForeignKey::from_pem(&both).err(), Some(UnusableKey::Private));
    for text in [
        "",
        "ssh-ed25519 AAAA",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nMC4=\n-----END CERTIFICATE-----",
    ] {
        assert_eq!(ForeignKey::from_pem(text).err(), Some(UnusableKey::Malformed), "{text}");
    }
    // X25519, secp256k1, and an RSA key of 1024 bits.
    let x25519 = [&[0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 3, 0x21, 0][..], &[9; 32]].concat();
    assert_eq!(ForeignKey::from_pem(&pem(&x25519)).err(), Some(UnusableKey::Malformed));
    let mut small = vec![0x30, 0x81, 0x9f, 0x30, 0x0d, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];
    small.extend([3, 0x81, 0x8d, 0, 0x30, 0x81, 0x89, 2, 0x81, 0x81, 0]);
    small.extend([0xff; 128]);
    small.extend([2, 3, 1, 0, 1]);
    assert_eq!(ForeignKey::from_pem(&pem(&small)).err(), Some(UnusableKey::WeakRsa));
}

fn token(header: &str, claims: &str) -> String {
    format!("{}.{}.{}", encode(header), encode(claims), encode("signature"))
}

#[test]
fn a_token_is_taken_apart() {
    let text = token(r#"{"alg":"PS384","typ":"JWT","kid":"k","x5t":"a"}"#, r#"{"iss":"https://a","n":{"x":1}}"#);
    let parsed = ForeignToken::parse(&text).unwrap();
    assert_eq!(
        (parsed.algorithm, parsed.typ.as_deref(), parsed.kid.as_deref()),
        (Algorithm::Ps384, Some("JWT"), Some("k"))
    );
    assert_eq!((parsed.signature.as_slice(), &parsed.claims["iss"]), (&b"signature"[..], &json!("https://a")));
    assert_eq!(ForeignToken::claimed_issuer(&text).as_deref(), Some("https://a"));
}

#[test]
fn what_could_be_read_in_two_ways_is_no_token() {
    let claims = r#"{"iss":"https://a"}"#;
    for (text, expected) in [
        (String::new(), Malformed::NotThreeParts),
        ("a.b".to_owned(), Malformed::NotThreeParts),
        ("a.b.c.d.e".to_owned(), Malformed::NotThreeParts),
        ("=.e30.AA".to_owned(), Malformed::Encoding),
        ("x".repeat(MAX_TOKEN_BYTES + 1), Malformed::TooLong),
        (token("[]", claims), Malformed::Header),
        (token("{}", claims), Malformed::Header),
        (token(r#"{"alg":1}"#, claims), Malformed::Header),
        (token(r#"{"alg":"RS256","alg":"none"}"#, claims), Malformed::Header),
        (token(r#"{"alg":"RS256","kid":["k"]}"#, claims), Malformed::Header),
        (token(r#"{"alg":"RS256","typ":null}"#, claims), Malformed::Header),
        (token(r#"{"alg":"none"}"#, claims), Malformed::Algorithm),
        (token(r#"{"alg":"None"}"#, claims), Malformed::Algorithm),
        (token(r#"{"alg":"HS256"}"#, claims), Malformed::Algorithm),
        (token(r#"{"alg":"rs256"}"#, claims), Malformed::Algorithm),
        (token(r#"{"alg":"RS256","crit":["exp"]}"#, claims), Malformed::RefusedMember),
        (token(r#"{"alg":"RS256","b64":false}"#, claims), Malformed::RefusedMember),
        (token(r#"{"alg":"RS256","jwk":{}}"#, claims), Malformed::RefusedMember),
        (token(r#"{"alg":"RS256","jku":"https://b"}"#, claims), Malformed::RefusedMember),
        (token(r#"{"alg":"RS256"}"#, "[]"), Malformed::Claims),
        (token(r#"{"alg":"RS256"}"#, r#"{"a":1,"a":2}"#), Malformed::Claims),
        (token(r#"{"alg":"RS256"}"#, "\u{feff}{}"), Malformed::Claims),
    ] {
        assert_eq!(ForeignToken::parse(&text).err(), Some(expected), "{}", text.chars().take(100).collect::<String>());
    }
    assert_eq!(ForeignToken::claimed_issuer(&token("{}", r#"{"iss":"a","iss":"b"}"#)), None);
    assert_eq!(ForeignToken::claimed_issuer(&token("{}", r#"{"iss":["a"]}"#)), None);
}
