//! What holds of every token.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static FIXED: LazyLock<(Issuer, String)> = LazyLock::new(|| {
    let issuer = Issuer::new();
    let token = issuer.token();
    (issuer, token)
});

/// All single changes of one token: every bit of every byte, every character left out, doubled, or cut off behind.
#[test]
fn no_single_change_of_a_token_passes() {
    let (issuer, token) = &*FIXED;
    let bytes = token.as_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            // A flipped high bit is no UTF-8, and no token is read from anything else.
            if let Ok(changed) = String::from_utf8(changed) {
                assert!(issuer.verify(&changed).is_err(), "bit {bit} of byte {at}");
            }
        }
        let (start, end) = token.split_at(at);
        assert!(issuer.verify(start).is_err(), "cut at {at}");
        assert!(issuer.verify(end).is_err() || at == 0, "begun at {at}");
        let mut shorter = token.clone();
        let removed = shorter.remove(at);
        assert!(issuer.verify(&shorter).is_err(), "without byte {at}");
        let doubled = format!("{start}{removed}{end}");
        assert!(issuer.verify(&doubled).is_err(), "byte {at} twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_replaced_character_passes(at in any::<prop::sample::Index>(), other in any::<char>()) {
        let (issuer, token) = &*FIXED;
        let at = at.index(token.len());
        let (start, rest) = token.split_at(at);
        let (old, end) = rest.split_at(1);
        prop_assume!(!old.starts_with(other));
        let changed = format!("{start}{other}{end}");
        prop_assert!(issuer.verify(&changed).is_err());
    }

    #[test]
    fn nothing_inserted_passes(at in any::<prop::sample::Index>(), text in "\\PC{1,8}") {
        let (issuer, token) = &*FIXED;
        let (start, end) = token.split_at(at.index(token.len() + 1));
        let changed = format!("{start}{text}{end}");
        prop_assert!(issuer.verify(&changed).is_err());
    }

    #[test]
    fn no_text_passes_or_panics(text in "\\PC{0,200}", parts in "[A-Za-z0-9_.-]{0,400}") {
        let (issuer, _) = &*FIXED;
        prop_assert!(issuer.verify(&text).is_err());
        prop_assert!(issuer.verify(&parts).is_err());
    }

    #[test]
    fn whatever_is_signed_is_verified_as_it_was(
        sub in "\\PC{1,40}", client_id in "[!-~]{1,40}", scope in "[ -~]{0,200}", jti in "\\PC{1,40}",
        others in prop::collection::vec("\\PC{1,40}", 0..4), place in any::<prop::sample::Index>(),
        actors in prop::collection::vec(("\\PC{1,40}", prop::option::of("[!-~]{1,40}")), 0..=MAX_ACTORS),
        iat in 0_i64..=3600, nbf in prop::option::of(0_i64..=3600), lifetime in 1_i64..=86_400,
    ) {
        let (issuer, _) = &*FIXED;
        let mut aud = others;
        aud.insert(place.index(aud.len() + 1), AUDIENCE.to_owned());
        let iat = UnixTime::from_secs(NOW.as_secs() - iat);
        let claims = AccessClaims {
            iss: ISSUER.to_owned(),
            sub, client_id, scope, jti, aud, iat,
            nbf: nbf.map(|nbf| UnixTime::from_secs(NOW.as_secs() - nbf)),
            exp: iat + Duration::from_secs(lifetime as u64),
            act: actors.into_iter().map(|(sub, client_id)| Actor { sub, client_id }).collect(),
        };
        let token = sign(&issuer.key, &claims).unwrap();
        let verdict = issuer.verify(&token);
        if claims.is_expired(NOW) {
            prop_assert_eq!(verdict, Err(Invalid::Expired));
        } else {
            prop_assert_eq!(verdict, Ok(claims));
        }
    }
}
