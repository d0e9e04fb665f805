//! Attacks on header, signature and encoding, one by one.

use aws_lc_rs::hmac;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

#[test]
fn alg_none_is_refused_in_every_spelling() {
    let issuer = Issuer::new();
    for alg in ["none", "None", "NONE", "NoNe", "nOnE", ""] {
        let header = encode(issuer.header(json!({"alg": alg})));
        let claims = encode(claims_with(json!({})));
        let [_, _, signature] = parts(&issuer.token()).map(str::to_owned);
        for token in [format!("{header}.{claims}."), format!("{header}.{claims}.{signature}")] {
            assert_eq!(issuer.verify(&token), Err(Invalid::Algorithm), "{alg}");
        }
        let two_parts = format!("{header}.{claims}");
        assert_eq!(issuer.verify(&two_parts), Err(Invalid::NotThreeParts));
    }
}

#[test]
fn an_empty_or_null_signature_is_refused() {
    let issuer = Issuer::new();
    let token = issuer.token();
    let [header, claims, _] = parts(&token);
    for signature in [&[][..], &[0; 64], &[0; 63], &[0; 65], &[0; 256], b"null"] {
        let token = format!("{header}.{claims}.{}", encode(signature));
        assert_eq!(issuer.verify(&token), Err(Invalid::Signature));
    }
}

#[test]
fn hs256_with_the_public_key_as_secret_is_refused() {
    let issuer = Issuer::new();
    let public = issuer.key.public();
    let pem = public.to_pem();
    let jwk = serde_json::to_string(public.jwk()).unwrap();
    for secret in [
        pem.as_bytes(),
        pem.trim_end().as_bytes(),
        pem.lines().nth(1).unwrap().as_bytes(),
        jwk.as_bytes(),
        public.kid().as_bytes(),
        b"",
    ] {
        let header = encode(issuer.header(json!({"alg": "HS256"})));
        let signed = format!("{header}.{}", encode(claims_with(json!({}))));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let token = format!("{signed}.{}", encode(tag));
        assert_eq!(issuer.verify(&token), Err(Invalid::Algorithm));
        // The same under the algorithm's true name.
        let header = encode(issuer.header(json!({})));
        let signed = format!("{header}.{}", encode(claims_with(json!({}))));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        let token = format!("{signed}.{}", encode(tag));
        assert_eq!(issuer.verify(&token), Err(Invalid::Signature));
    }
}

#[test]
fn the_header_cannot_choose_another_algorithm() {
    let issuer = Issuer::new();
    for alg in ["ES384", "ES512", "ES256K", "RS256", "PS256", "EdDSA", "es256", "ES256 ", "HS512"] {
        let token = issuer.signed(&issuer.header(json!({"alg": alg})), &claims_with(json!({})));
        assert_eq!(issuer.verify(&token), Err(Invalid::Algorithm), "{alg}");
    }
}

#[test]
fn an_internal_rs256_key_in_the_set_verifies_no_access_token() {
    let key = SigningKey::generate(Algorithm::Rs256).unwrap();
    let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": key.kid()}).to_string();
    let pretending = json!({"alg": "ES256", "typ": "at+jwt", "kid": key.kid()}).to_string();
    let verifier = Verifier::new(ISSUER, AUDIENCE, &KeySet::new(key));
    for (header, why) in [(header, Invalid::Algorithm), (pretending, Invalid::UnknownKey)] {
        let token = format!("{}.{}.{}", encode(header), encode("{}"), encode([1; 256]));
        assert_eq!(verifier.verify(&token, NOW), Err(why));
    }
}

#[test]
fn the_key_id_must_be_one_of_ours_and_must_fit_the_signature() {
    let issuer = Issuer::new();
    let other = Issuer::new();
    assert_eq!(issuer.verify(&other.token()), Err(Invalid::UnknownKey));
    // The other's token under our key's id.
    let swapped = other.signed(&issuer.header(json!({})), &claims_with(json!({})));
    assert_eq!(issuer.verify(&swapped), Err(Invalid::Signature));
    let long = "k".repeat(2_000);
    for kid in [
        "",
        "../../../../dev/null",
        "' OR 1=1 --",
        "|id",
        "http://127.0.0.1/key",
        &issuer.key.kid().to_lowercase(),
        &format!("{} ", issuer.key.kid()),
        &long,
    ] {
        let token = issuer.signed(&issuer.header(json!({"kid": kid})), &claims_with(json!({})));
        assert_eq!(issuer.verify(&token), Err(Invalid::UnknownKey), "{kid}");
    }
    let token = issuer.signed(&issuer.header(json!({"kid": null})), &claims_with(json!({})));
    assert_eq!(issuer.verify(&token), Err(Invalid::UnknownKey));
}

#[test]
fn other_kinds_of_token_are_no_access_tokens() {
    let issuer = Issuer::new();
    for typ in [
        "JWT",
        "jwt",
        "",
        "logout+jwt",
        "dpop+jwt",
        "id+jwt",
        "at+jwt ",
        "at jwt",
        "at+jwt\0",
        "text/at+jwt",
        "application/application/at+jwt",
        "secevent+jwt",
    ] {
        let token = issuer.signed(&issuer.header(json!({"typ": typ})), &claims_with(json!({})));
        assert_eq!(issuer.verify(&token), Err(Invalid::Type), "{typ}");
    }
    let untyped = issuer.signed(&issuer.header(json!({"typ": null})), &claims_with(json!({})));
    assert_eq!(issuer.verify(&untyped), Err(Invalid::Type));
    // An ID token of the same issuer, under the right type even: it lacks what makes an access token.
    let id_token = claims_with(json!({
        "aud": "agent-7", "nonce": "n", "client_id": null, "scope": null, "jti": null
    }));
    let token = issuer.signed(&issuer.header(json!({})), &id_token);
    assert_eq!(issuer.verify(&token), Err(Invalid::Missing("client_id")));
    // An internal token for the engine.
    let internal = issuer.signed(&issuer.header(json!({"typ": "JWT"})), &claims_with(json!({"aud": "opensearch"})));
    assert_eq!(issuer.verify(&internal), Err(Invalid::Type));
}

#[test]
fn header_parameters_that_ask_a_verifier_to_do_something_are_refused() {
    let issuer = Issuer::new();
    let jwk = serde_json::to_value(issuer.key.public().jwk()).unwrap();
    for extra in [
        json!({"crit": ["exp"], "exp": 1}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"b64": false}),
        json!({"jwk": jwk}),
        json!({"jku": "https://attacker.example.com/jwks"}),
        json!({"x5u": "https://attacker.example.com/cert"}),
        json!({"x5c": ["MIIB"]}),
        json!({"x5t#S256": "x"}),
        json!({"zip": "DEF"}),
        json!({"cty": "JWT"}),
        json!({"enc": "A256GCM"}),
        json!({"ALG": "none"}),
    ] {
        let token = issuer.signed(&issuer.header(extra.clone()), &claims_with(json!({})));
        assert_eq!(issuer.verify(&token), Err(Invalid::UnexpectedHeader), "{extra}");
    }
}

#[test]
fn a_malformed_header_is_refused() {
    let issuer = Issuer::new();
    let kid = issuer.key.kid();
    for (header, why) in [
        (String::new(), Invalid::Header),
        ("{}".to_owned(), Invalid::Header),
        ("null".to_owned(), Invalid::Header),
        ("[]".to_owned(), Invalid::Header),
        (format!("\u{feff}{}", issuer.header(json!({}))), Invalid::Header),
        (issuer.header(json!({"alg": ["ES256"]})), Invalid::Header),
        (issuer.header(json!({"alg": 1})), Invalid::Header),
        (issuer.header(json!({"kid": {}})), Invalid::Header),
        (issuer.header(json!({"typ": ["at+jwt"]})), Invalid::Header),
        (format!(r#"{{"alg":"none","alg":"ES256","typ":"at+jwt","kid":"{kid}"}}"#), Invalid::DuplicateHeader),
        (format!(r#"{{"alg":"ES256","\u0061lg":"none","typ":"at+jwt","kid":"{kid}"}}"#), Invalid::DuplicateHeader),
    ] {
        let token = issuer.signed(&header, &claims_with(json!({})));
        assert_eq!(issuer.verify(&token), Err(why), "{header}");
    }
}

#[test]
fn edited_claims_break_the_signature() {
    let issuer = Issuer::new();
    let token = issuer.token();
    let [header, _, signature] = parts(&token);
    for changes in [
        json!({"scope": "admin:*"}),
        json!({"client_id": "root"}),
        json!({"exp": 9_999_999_999_u64}),
        json!({"extra": 1}),
    ] {
        let edited = format!("{header}.{}.{signature}", encode(claims_with(changes)));
        assert_eq!(issuer.verify(&edited), Err(Invalid::Signature));
    }
    // The same claims, in another text.
    let spaced = claims_with(json!({})).replace(':', ": ");
    let edited = format!("{header}.{}.{signature}", encode(spaced));
    assert_eq!(issuer.verify(&edited), Err(Invalid::Signature));
}

#[test]
fn only_the_one_canonical_encoding_is_read() {
    let issuer = Issuer::new();
    // Parts of a length that leaves padding and unused bits in base64.
    let token = (0..)
        .map(|n| issuer.signed(&issuer.header(json!({})), &claims_with(json!({"jti": "j".repeat(n + 1)}))))
        .find(|token| parts(token).iter().all(|part| part.len() % 4 != 0))
        .unwrap();
    assert!(issuer.verify(&token).is_ok());
    let mut noncanonical = 0;
    for at in 0..3 {
        let part = parts(&token)[at];
        let with = |changed: String| {
            let mut changed_parts = parts(&token).map(str::to_owned);
            changed_parts[at] = changed;
            changed_parts.join(".")
        };
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap();
        let mut refused = vec![
            URL_SAFE.encode(&bytes),
            STANDARD.encode(&bytes),
            format!("{part}="),
            format!("={part}"),
            format!(" {part}"),
            format!("{part}\n"),
            format!("{part}%3D"),
            format!("\u{feff}{part}"),
        ];
        let (start, last) = part.split_at(part.len() - 1);
        for other in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
            let candidate = format!("{start}{other}");
            let lenient = base64::engine::GeneralPurpose::new(
                &base64::alphabet::URL_SAFE,
                base64::engine::general_purpose::NO_PAD.with_decode_allow_trailing_bits(true),
            );
            if !last.contains(other) && lenient.decode(&candidate).as_ref() == Ok(&bytes) {
                noncanonical += 1;
                refused.push(candidate);
            }
        }
        for changed in refused {
            let token = with(changed);
            // Claims are not decoded before the signature over their text is verified.
            let why = if at == 1 { Invalid::Signature } else { Invalid::Encoding };
            assert_eq!(issuer.verify(&token), Err(why), "{token}");
        }
    }
    assert!(noncanonical >= 9, "texts that differ in unused bits only");
}

#[test]
fn other_numbers_of_parts_are_refused() {
    let issuer = Issuer::new();
    let token = issuer.token();
    for token in [
        String::new(),
        ".".to_owned(),
        "abc".to_owned(),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{token}"),
        format!("{token}.AAAA.AAAA"),
        format!("Bearer.{token}"),
    ] {
        assert_eq!(issuer.verify(&token), Err(Invalid::NotThreeParts), "{token}");
    }
    assert_eq!(issuer.verify(".."), Err(Invalid::Header));
    for around in [
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\r\n"),
        format!("\u{feff}{token}"),
        format!("Bearer {token}"),
        format!("\"{token}\""),
        token.replace('.', " ."),
    ] {
        assert_eq!(issuer.verify(&around), Err(Invalid::Encoding), "{around}");
    }
}

#[test]
fn a_token_of_more_than_8_kib_is_not_looked_at() {
    let issuer = Issuer::new();
    let scope = |length: usize| claims_with(json!({"scope": "s".repeat(length)}));
    let token = |length| issuer.signed(&issuer.header(json!({})), &scope(length));
    let fits = (5_000..7_000).rev().map(token).find(|token| token.len() <= MAX_TOKEN_BYTES).unwrap();
    assert!(issuer.verify(&fits).is_ok());
    assert_eq!(issuer.verify(&token(7_000)), Err(Invalid::TooLong));
    assert_eq!(issuer.verify(&"a".repeat(1 << 20)), Err(Invalid::TooLong));
}

#[test]
fn the_other_valid_signature_of_the_same_token_is_refused() {
    // n - s for the order n of P-256.
    const ORDER: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
        0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let issuer = Issuer::new();
    let token = issuer.token();
    let [header, claims, signature] = parts(&token);
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for at in (0..32).rev() {
        let difference = i32::from(ORDER[at]) - i32::from(signature[32 + at]) - borrow;
        borrow = i32::from(difference < 0);
        signature[32 + at] = difference.rem_euclid(256) as u8;
    }
    let mirrored = format!("{header}.{claims}.{}", encode(signature));
    assert_eq!(issuer.verify(&mirrored), Err(Invalid::Signature));
}
