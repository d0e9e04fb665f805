//! Claims that are truly signed and still no access token of ours.

use super::*;

#[test]
fn claims_that_are_not_one_object_are_refused() {
    let issuer = Issuer::new();
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(2_000), "]".repeat(2_000));
    for claims in ["", "[]", "null", "\"x\"", "{}{}", "{\"iss\":1e400}", deep.as_str()] {
        let token = issuer.signed(&issuer.header(json!({})), claims);
        assert_eq!(issuer.verify(&token), Err(Invalid::Claims), "{claims}");
    }
    let marked = format!("\u{feff}{}", claims_with(json!({})));
    let token = issuer.signed(&issuer.header(json!({})), &marked);
    assert_eq!(issuer.verify(&token), Err(Invalid::Claims));
}

#[test]
fn a_claim_that_comes_twice_is_refused() {
    let issuer = Issuer::new();
    let once = claims_with(json!({}));
    for extra in [
        r#""scope":"admin:*""#,
        r#""exp":9999999999"#,
        r#""\u0065xp":9999999999"#,
        r#""x":1,"x":1"#,
        r#""x":{"y":1,"y":2}"#,
    ] {
        let twice = once.replacen('{', &format!("{{{extra},"), 1);
        let token = issuer.signed(&issuer.header(json!({})), &twice);
        assert_eq!(issuer.verify(&token), Err(Invalid::DuplicateClaim), "{extra}");
    }
}

#[test]
fn times_are_whole_seconds_within_reason() {
    let issuer = Issuer::new();
    for name in ["iat", "nbf", "exp"] {
        for value in [
            json!("1795305600"),
            json!(1_795_305_600.5),
            json!(1_795_305_600.0),
            json!(1.8e9),
            json!(-1),
            json!(true),
            json!([1_795_305_600]),
            json!({}),
            json!(253_402_300_800_u64),
            json!(u64::MAX),
            json!(i64::MAX),
        ] {
            let verdict = issuer.verdict(json!({name: value}));
            assert_eq!(verdict, Err(Invalid::Malformed(name)), "{name} {value}");
        }
        // What JSON can write and no integer type can hold.
        for value in ["1e400", "99999999999999999999999", "-0", "null"] {
            let mut text = claims_with(json!({name: 0}));
            text = text.replace(&format!("\"{name}\":0"), &format!("\"{name}\":{value}"));
            let token = issuer.signed(&issuer.header(json!({})), &text);
            let why = if value == "1e400" { Invalid::Claims } else { Invalid::Malformed(name) };
            assert_eq!(issuer.verify(&token), Err(why), "{name} {value}");
        }
    }
    let far = NOW.as_secs() + 100 * 366 * 24 * 3600;
    assert_eq!(issuer.verdict(json!({"exp": far})), Err(Invalid::Lifetime));
    assert_eq!(issuer.verdict(json!({"iat": 0})), Err(Invalid::Lifetime));
    assert_eq!(issuer.verdict(json!({"exp": 0})), Err(Invalid::Lifetime));
    let past = json!({"iat": NOW.as_secs() - 20, "exp": NOW.as_secs() - 10});
    assert_eq!(issuer.verdict(past), Err(Invalid::Expired));
    let soon = NOW.as_secs() + 6;
    assert_eq!(issuer.verdict(json!({"iat": soon})), Err(Invalid::NotYetValid));
    assert_eq!(issuer.verdict(json!({"nbf": soon})), Err(Invalid::NotYetValid));
}

#[test]
fn every_required_claim_is_required_and_typed() {
    let issuer = Issuer::new();
    for name in ["iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti"] {
        assert_eq!(issuer.verdict(json!({name: null})), Err(Invalid::Missing(name)));
        for value in [json!({}), json!(true), json!([1]), json!([["x"]])] {
            let verdict = issuer.verdict(json!({name: value}));
            assert_eq!(verdict, Err(Invalid::Malformed(name)), "{name}");
        }
    }
    for name in ["iss", "sub", "client_id", "jti"] {
        assert_eq!(issuer.verdict(json!({name: ""})), Err(Invalid::Missing(name)));
        assert_eq!(issuer.verdict(json!({name: ["x"]})), Err(Invalid::Malformed(name)));
    }
}

#[test]
fn the_audience_is_ours_character_for_character() {
    let issuer = Issuer::new();
    for aud in [
        json!(AUDIENCE.to_uppercase()),
        json!(format!("{AUDIENCE}/")),
        json!(AUDIENCE.strip_suffix("h")),
        json!(format!("{AUDIENCE} https://other.example.com")),
        json!(format!(" {AUDIENCE}")),
        json!("https://gateway.example.com"),
        json!("*"),
        json!(["https://other.example.com", format!("{AUDIENCE}x")]),
    ] {
        assert_eq!(issuer.verdict(json!({"aud": aud})), Err(Invalid::Audience), "{aud}");
    }
    assert_eq!(issuer.verdict(json!({"aud": []})), Err(Invalid::Missing("aud")));
    assert_eq!(issuer.verdict(json!({"aud": ""})), Err(Invalid::Missing("aud")));
    assert!(issuer.verdict(json!({"aud": ["x", AUDIENCE]})).is_ok());
}

#[test]
fn the_issuer_is_ours_character_for_character() {
    let issuer = Issuer::new();
    for iss in [
        "https://gateway.example.com/",
        "https://GATEWAY.example.com",
        "http://gateway.example.com",
        "https://gateway.example.com:443",
        "https://gateway.example.com.attacker.example.com",
        " https://gateway.example.com",
        "gateway.example.com",
    ] {
        assert_eq!(issuer.verdict(json!({"iss": iss})), Err(Invalid::Issuer), "{iss}");
    }
}
