use oauth4os_tokens::jose::Algorithm;
use serde_json::json;

use super::*;
use crate::test_support::Signer;

const ISSUER: &str = "https://gateway.example.com";
const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

struct Setting {
    key: Signer,
    keys: AssertionKeys,
}

impl Setting {
    fn new(algorithm: Algorithm) -> Self {
        let key = Signer::new(algorithm, "k");
        let keys = AssertionKeys::written(&[key.jwk.as_object().unwrap().clone()], &Algorithm::ALL).unwrap();
        Self { key, keys }
    }

    fn verify(&self, claims: &Value) -> Result<Once, AssertionRefused> {
        self.verify_text(&self.key.token(claims))
    }

    fn verify_text(&self, text: &str) -> Result<Once, AssertionRefused> {
        ClientAssertion::parse(text)?.verify(&self.keys, ISSUER, NOW)
    }
}

fn claims() -> Value {
    let now = NOW.as_secs();
    json!({"iss": "ci", "sub": "ci", "aud": ISSUER, "jti": "1", "iat": now, "exp": now + 60})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[test]
fn every_kind_of_key_signs_with_its_algorithm_and_no_other() {
    for algorithm in Algorithm::ALL {
        let setting = Setting::new(algorithm);
        let once = setting.verify(&claims()).unwrap();
        assert_eq!(once.until, NOW + Duration::from_secs(90), "{algorithm}");
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let text = setting.key.token_with(&json!({"alg": other.as_str(), "kid": "k"}), &claims());
            assert_eq!(setting.verify_text(&text), Err(AssertionRefused::NotProven), "{algorithm} as {other}");
        }
        for alg in ["none", "None", "HS256", "HS384", "HS512", "es256", ""] {
            let text = setting.key.token_with(&json!({"alg": alg, "kid": "k"}), &claims());
            assert_eq!(setting.verify_text(&text), Err(AssertionRefused::Malformed(Malformed::Algorithm)), "{alg}");
        }
    }
}

#[test]
fn the_header_neither_brings_nor_chooses_a_key() {
    let setting = Setting::new(Algorithm::Es256);
    let stranger = Signer::new(Algorithm::Es256, "k");
    assert_eq!(setting.verify_text(&stranger.token(&claims())), Err(AssertionRefused::NotProven));
    for (name, value) in [
        ("jwk", stranger.jwk.clone()),
        ("jku", json!("https://evil.example.com/keys")),
        ("x5u", json!("https://evil.example.com/chain")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        for signer in [&stranger, &setting.key] {
            let mut header = json!({"alg": "ES256", "kid": "k"});
            header[name] = value.clone();
            let refused = setting.verify_text(&signer.token_with(&header, &claims())).unwrap_err();
            assert_eq!(refused, AssertionRefused::Malformed(Malformed::RefusedMember), "{name}");
        }
    }
    for kid in ["", "other", "../../k", "k' OR '1'='1", "k\u{0}", "K"] {
        let text = setting.key.token_with(&json!({"alg": "ES256", "kid": kid}), &claims());
        assert_eq!(setting.verify_text(&text), Err(AssertionRefused::UnknownKey), "{kid}");
    }
    for kid in [json!(1), json!(["k"]), json!(null)] {
        let text = setting.key.token_with(&json!({"alg": "ES256", "kid": kid}), &claims());
        assert_eq!(setting.verify_text(&text), Err(AssertionRefused::Malformed(Malformed::Header)), "{kid}");
    }
    // Without `kid` the few keys of the client are tried.
    assert!(setting.verify_text(&setting.key.token_with(&json!({"alg": "ES256"}), &claims())).is_ok());
}

#[test]
fn it_is_an_assertion_and_nothing_else() {
    let setting = Setting::new(Algorithm::EdDsa);
    for typ in ["JWT", "jwt", "application/jwt", "client-authentication+jwt", "application/client-authentication+JWT"] {
        let text = setting.key.token_with(&json!({"alg": "EdDSA", "typ": typ}), &claims());
        assert!(setting.verify_text(&text).is_ok(), "{typ}");
    }
    for typ in ["at+jwt", "dpop+jwt", "logout+jwt", "authorization-grant+jwt", "secevent+jwt", ""] {
        let text = setting.key.token_with(&json!({"alg": "EdDSA", "typ": typ}), &claims());
        assert_eq!(setting.verify_text(&text), Err(AssertionRefused::Type), "{typ}");
    }
}

#[test]
fn it_is_for_the_issuer_alone() {
    let setting = Setting::new(Algorithm::Es256);
    for aud in [
        json!("https://gateway.example.com/oauth/token"),
        json!("https://gateway.example.com/"),
        json!("https://Gateway.example.com"),
        json!("https://other.example.com"),
        json!("gateway.example.com"),
        json!([ISSUER]),
        json!([ISSUER, "https://other.example.com"]),
        json!([]),
        json!(""),
        json!(1),
        json!(null),
        json!({"https://gateway.example.com": true}),
    ] {
        let refused = setting.verify(&with("aud", aud.clone())).unwrap_err();
        assert_eq!(refused, AssertionRefused::Audience(ISSUER.to_owned()), "{aud}");
    }
    assert!(matches!(setting.verify(&without("aud")), Err(AssertionRefused::Audience(_))));
}

#[test]
fn issuer_and_subject_are_the_client() {
    let setting = Setting::new(Algorithm::Es256);
    for wrong in [
        with("iss", json!("other")),
        with("sub", json!("other")),
        with("sub", json!("CI")),
        with("iss", json!(["ci"])),
        with("iss", json!("")),
        without("iss"),
        without("sub"),
        json!({"iss": "", "sub": "", "aud": ISSUER, "jti": "1", "exp": NOW.as_secs() + 60}),
    ] {
        assert_eq!(setting.verify(&wrong), Err(AssertionRefused::NotOfClient), "{wrong}");
    }
}

#[test]
fn it_is_short_lived_and_of_now() {
    let setting = Setting::new(Algorithm::Es256);
    let at = |seconds: i64| json!(NOW.as_secs() + seconds);
    for good in [with("exp", at(300)), with("exp", at(-29)), with("iat", at(29)), with("nbf", at(30)), without("iat")] {
        // `exp` before `iat` is a lifetime of nothing; the leeway alone may hold it.
        assert!(setting.verify(&good).is_ok(), "{good}");
    }
    for (wrong, refused) in [
        (with("exp", at(-30)), AssertionRefused::Expired),
        (with("exp", json!(0)), AssertionRefused::Expired),
        (with("exp", at(301)), AssertionRefused::TooLong(MAX_CLIENT_ASSERTION)),
        (with("exp", at(3600)), AssertionRefused::TooLong(MAX_CLIENT_ASSERTION)),
        (with("iat", at(-300)), AssertionRefused::TooLong(MAX_CLIENT_ASSERTION)),
        (with("iat", at(31)), AssertionRefused::NotYetValid),
        (with("nbf", at(31)), AssertionRefused::NotYetValid),
        (without("exp"), AssertionRefused::Missing("exp")),
        (with("exp", json!("1800000060")), AssertionRefused::Claim("exp".to_owned())),
        (with("exp", json!(1_800_000_060.5)), AssertionRefused::Claim("exp".to_owned())),
        (with("exp", json!(-1)), AssertionRefused::Claim("exp".to_owned())),
        (with("exp", json!(u64::MAX)), AssertionRefused::Claim("exp".to_owned())),
        (with("exp", json!(null)), AssertionRefused::Claim("exp".to_owned())),
        (with("iat", json!("now")), AssertionRefused::Claim("iat".to_owned())),
        (with("nbf", json!([])), AssertionRefused::Claim("nbf".to_owned())),
    ] {
        assert_eq!(setting.verify(&wrong), Err(refused), "{wrong}");
    }
    let far = with("exp", at(331));
    let far_without_iat = {
        let mut far = far;
        far.as_object_mut().unwrap().remove("iat");
        far
    };
    assert_eq!(setting.verify(&far_without_iat), Err(AssertionRefused::TooLong(MAX_CLIENT_ASSERTION)));
}

#[test]
fn it_has_a_name_of_its_own() {
    let setting = Setting::new(Algorithm::Es256);
    assert_eq!(setting.verify(&without("jti")), Err(AssertionRefused::Missing("jti")));
    for jti in [json!(""), json!(1), json!(["1"]), json!("x".repeat(257))] {
        assert_eq!(setting.verify(&with("jti", jti.clone())), Err(AssertionRefused::Claim("jti".to_owned())), "{jti}");
    }
    // The name, not the signature, makes it the same one; and it is one client's.
    let first = setting.verify(&claims()).unwrap();
    assert_eq!(setting.verify(&with("exp", json!(NOW.as_secs() + 90))).unwrap().id, first.id);
    assert_ne!(setting.verify(&with("jti", json!("2"))).unwrap().id, first.id);
    let mut of_another = with("iss", json!("other"));
    of_another["sub"] = json!("other");
    assert_ne!(setting.verify(&of_another).unwrap().id, first.id);
    assert_ne!(name_of(&["client", "ab", "c"]), name_of(&["client", "a", "bc"]));
}

#[test]
fn what_two_readers_could_read_in_two_ways_is_not_read() {
    let setting = Setting::new(Algorithm::Es256);
    let good = setting.key.token(&claims());
    for text in [
        String::new(),
        "x".to_owned(),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}."),
        good.replace('.', ".."),
        good.rsplit_once('.').unwrap().0.to_owned(),
        format!("{}.", good.rsplit_once('.').unwrap().0),
        "x".repeat(100_000),
    ] {
        assert!(setting.verify_text(&text).is_err(), "{text}");
    }
    let twice = setting.key.token_text(
        r#"{"alg":"ES256","kid":"k"}"#,
        &format!(r#"{{"iss":"ci","sub":"ci","aud":"{ISSUER}","jti":"1","exp":{0},"exp":{0}}}"#, NOW.as_secs() + 60),
    );
    assert_eq!(setting.verify_text(&twice), Err(AssertionRefused::Malformed(Malformed::Claims)));
}

#[test]
fn keys_that_are_written_down_are_all_good_or_none_is_taken() {
    let good = Signer::new(Algorithm::Es256, "k").jwk.as_object().unwrap().clone();
    let mut private = good.clone();
    private.insert("d".to_owned(), json!("AQAB"));
    let mut weak = Signer::new(Algorithm::Rs256, "r").jwk.as_object().unwrap().clone();
    weak.insert("e".to_owned(), json!("Aw"));
    for bad in [private, weak, json!({"kty": "oct", "k": "c2VjcmV0"}).as_object().unwrap().clone()] {
        let refused = AssertionKeys::written(&[good.clone(), bad], &Algorithm::ALL).unwrap_err();
        assert!(refused.to_string().starts_with("the key number 2 is not used: "), "{refused}");
    }
}
