//! Only what the gateway has signed, for this gateway and for now, is a token.

use e2e::{Claims, Forge, Gateway, Settings, base64url, base64url_decode};
use oauth4os_tokens::keys::{Algorithm, SigningKey};
use serde_json::json;

const TARGET: &str = "/logs-*/_search?size=0";
const SCOPE: &str = "read:logs-*";

fn gateway() -> Gateway {
    Gateway::start(Settings::new().client("reader", &[SCOPE]))
}

#[test]
fn every_token_but_the_gateways_own_is_refused() {
    let gateway = gateway();
    let forge = gateway.forge();
    let good = forge.claims("reader", SCOPE);
    // If this were refused, everything below would prove nothing.
    gateway.http().with_token(&good.sign(forge.access())).get(TARGET).expect(200);

    let mut tokens = wrong_content(&forge, &good);
    tokens.extend(wrong_keys(&forge, &good));
    tokens.extend(wrong_headers(&forge, &good));
    tokens.extend(wrong_shapes(&good.sign(forge.access())));
    let mut accepted = Vec::new();
    for (what, token) in &tokens {
        let answer = gateway.http().with_token(token).get(TARGET).send();
        let challenge = answer.header("www-authenticate").unwrap_or_default().to_owned();
        if answer.status != 401 || !challenge.contains("Bearer") || !challenge.contains("error=\"invalid_token\"") {
            accepted.push(format!("{what}: {} {challenge}", answer.status));
            continue;
        }
        assert_eq!(answer.json()["error"]["type"], "security_exception", "{what}");
        let event = gateway.audit_of(answer.request_id());
        assert_eq!((&event["decision"], &event["status"]), (&json!("deny"), &json!(401)), "{what}");
    }
    assert!(accepted.is_empty(), "not refused as they should be:\n{}", accepted.join("\n"));
    assert!(tokens.len() > 80, "only {} tokens", tokens.len());
    // The token that was good is so still: nothing of the above has spoilt a cache.
    gateway.http().with_token(&good.sign(forge.access())).get(TARGET).expect(200);
}

#[test]
fn the_control_plane_takes_no_forged_token_either() {
    let gateway = gateway();
    let forge = gateway.forge();
    let good = Claims::of(&gateway.token("reader"));
    gateway.http().with_token(&good.sign(forge.access())).get("/_oauth4os/v1/whoami").expect(200);
    // The control plane also knows which tokens it has issued.
    gateway
        .http()
        .with_token(&forge.claims("reader", SCOPE).sign(forge.access()))
        .get("/_oauth4os/v1/whoami")
        .expect(401);
    let stranger = Forge::stranger(Algorithm::Es256);
    for token in [
        good.clone().moved(-3600).sign(forge.access()),
        good.sign(&stranger),
        good.clone().with("aud", json!("other")).sign(forge.access()),
    ] {
        for target in ["/_oauth4os/v1/whoami", "/oauth/tokens"] {
            let answer = gateway.http().with_token(&token).get(target).expect(401);
            assert!(answer.header("www-authenticate").expect("a challenge").contains("invalid_token"));
        }
    }
}

#[test]
fn a_token_of_a_client_that_is_not_there_is_none() {
    let gateway = gateway();
    let forge = gateway.forge();
    let token = forge.claims("ghost", SCOPE).sign(forge.access());
    gateway.http().with_token(&token).get(TARGET).expect(401);
}

#[test]
fn a_scope_nobody_can_read_is_no_scope() {
    let gateway = gateway();
    let forge = gateway.forge();
    for scope in ["everything", "read:logs-* own:x", "read:", "read:\u{1f4a9}"] {
        gateway.http().with_token(&forge.claims("reader", scope).sign(forge.access())).get(TARGET).expect(401);
    }
    let empty = gateway.http().with_token(&forge.claims("reader", "").sign(forge.access()));
    empty.get(TARGET).expect(403);
    empty.get("/").expect(403);
}

#[test]
fn a_token_comes_in_one_way_only() {
    let gateway = gateway();
    let token = gateway.token("reader");
    let http = gateway.http();
    http.get(TARGET).header("Authorization", &format!("bearer {token}")).expect(200);
    http.get(TARGET).expect(401);
    for value in [
        token.clone(),
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token} {token}"),
        format!("Token {token}"),
        format!("Basic {}", base64url(format!("reader:{}", gateway.secret("reader")))),
        format!("Negotiate {token}"),
        "Bearer".to_owned(),
        String::new(),
    ] {
        let answer = http.get(TARGET).header("Authorization", &value).expect(401);
        assert!(answer.header("www-authenticate").expect("a challenge").starts_with("Bearer"));
    }
    let bearer = format!("Bearer {token}");
    http.get(TARGET).header("Authorization", &bearer).header("Authorization", &bearer).expect(400);
    http.get(TARGET).header("Authorization", &bearer).header("authorization", "Basic YTpi").expect(400);
    for name in ["Cookie", "X-Api-Key", "Proxy-Authorization", "X-Access-Token", "Authorization_", "X-Authorization"] {
        http.get(TARGET).header(name, &bearer).expect(401);
    }
    http.get(&format!("/logs-*/_search?access_token={token}")).expect(401);
    http.with_token(&token).get(&format!("/logs-*/_search?access_token={token}")).expect(400);
    http.post(TARGET).form(&[("access_token", &token)]).expect(401);
}

fn wrong_content(forge: &Forge, good: &Claims) -> Vec<(String, String)> {
    let now = good.claims["iat"].as_i64().expect("a number");
    let mut all = vec![
        ("expired a second ago", good.clone().moved(-301)),
        ("expired an hour ago", good.clone().moved(-3_900)),
        ("expires now", good.clone().with("iat", json!(now - 10)).with("exp", json!(now))),
        ("issued in an hour", good.clone().moved(3_600)),
        ("not valid before an hour", good.clone().with("nbf", json!(now + 3_600)).with("exp", json!(now + 7_200))),
        ("ends before it begins", good.clone().with("exp", json!(now - 1))),
        ("of another issuer", good.clone().with("iss", json!("https://other.example.com"))),
        ("of an issuer with a slash", good.clone().with("iss", json!("https://gateway.example.com/"))),
        ("of an issuer in capitals", good.clone().with("iss", json!("https://GATEWAY.example.com"))),
        ("for another audience", good.clone().with("aud", json!("https://other.example.com"))),
        ("for the engine", good.clone().with("aud", json!("opensearch"))),
        ("for a part of the audience", good.clone().with("aud", json!("https://gateway.example.co"))),
        ("for nobody", good.clone().with("aud", json!([]))),
        ("for a number", good.clone().with("aud", json!(1))),
    ];
    for name in ["iss", "sub", "aud", "client_id", "scope", "iat", "exp", "jti"] {
        all.push(("without a claim", good.clone().without(name)));
    }
    for name in ["iat", "nbf", "exp"] {
        for value in [
            json!(format!("{}", now + 200)),
            json!(now as f64 + 200.5),
            json!(1e300),
            json!(-1),
            json!(true),
            json!(null),
            json!([now + 200]),
        ] {
            all.push(("with a time that is none", good.clone().with(name, value)));
        }
    }
    for name in ["iss", "sub", "client_id", "scope", "jti"] {
        for value in [json!(1), json!(null), json!(["reader"]), json!({"a": 1})] {
            all.push(("with a text that is none", good.clone().with(name, value)));
        }
    }
    let described =
        |(what, claims): (&str, Claims)| (format!("{what}: {:?}", claims.claims), claims.sign(forge.access()));
    all.into_iter().map(described).collect()
}

fn wrong_keys(forge: &Forge, good: &Claims) -> Vec<(String, String)> {
    let stranger = Forge::stranger(Algorithm::Es256);
    let stranger_rsa = Forge::stranger(Algorithm::Rs256);
    let unsigned = |alg: &str| {
        let input = good.clone().with_header("alg", json!(alg)).signing_input();
        [format!("{input}."), format!("{input}.AA"), input]
    };
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| all.push((what.to_owned(), token));
    add("signed by a stranger", good.sign(&stranger));
    add("signed by a stranger who says so", with_kid(good, &stranger).sign(&stranger));
    add("signed by the key for the engine", good.sign(forge.internal()));
    add(
        "signed by the key for the engine, which says so",
        with_kid(good, forge.internal()).with_header("alg", json!("RS256")).sign(forge.internal()),
    );
    add("signed by a stranger with RSA", good.clone().with_header("alg", json!("RS256")).sign(&stranger_rsa));
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "ES256"] {
        for token in unsigned(alg) {
            add(&format!("unsigned, alg `{alg}`"), token);
        }
    }
    // A verifier that lets the token choose takes the public key for a shared secret.
    for secret in
        [forge.access().public().to_pem(), forge.access().public().to_pem().trim_end().to_owned(), String::new()]
    {
        let input = good.clone().with_header("alg", json!("HS256")).signing_input();
        let signature = hmac_sha256(secret.as_bytes(), input.as_bytes());
        add("signed by HS256 with the public key", format!("{input}.{}", base64url(signature)));
    }
    for alg in ["ES384", "ES512", "ES256K", "PS256", "RS256", "EdDSA", "es256", "HS512"] {
        add("signed well, but says otherwise", good.clone().with_header("alg", json!(alg)).sign(forge.access()));
    }
    let zero = base64url([0_u8; 64]);
    add("with a signature of zeros", format!("{}.{zero}", good.signing_input()));
    all
}

fn with_kid(claims: &Claims, key: &SigningKey) -> Claims {
    claims.clone().with_header("kid", json!(key.kid()))
}

fn wrong_headers(forge: &Forge, good: &Claims) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for typ in ["JWT", "jwt", "logout+jwt", "dpop+jwt", "id_token", ""] {
        all.push((format!("of the type `{typ}`"), good.clone().with_header("typ", json!(typ))));
    }
    all.push(("of no type".to_owned(), good.clone().without_header("typ")));
    all.push(("without a key".to_owned(), good.clone().without_header("kid")));
    for kid in [
        json!("unknown"),
        json!("../../etc/passwd"),
        json!("' or 1=1 --"),
        json!(""),
        json!(1),
        json!("k".repeat(5_000)),
    ] {
        all.push((
            format!("with the key {}", kid.to_string().chars().take(40).collect::<String>()),
            good.clone().with_header("kid", kid),
        ));
    }
    let jwk = serde_json::to_value(forge.access().public().jwk()).expect("JSON");
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("https://other.example.com/jwks")),
        ("x5u", json!("https://other.example.com/x5u")),
        ("x5c", json!(["MIIB"])),
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("cty", json!("JWT")),
        ("extra", json!(1)),
    ] {
        all.push((format!("with `{name}`"), good.clone().with_header(name, value)));
    }
    all.into_iter().map(|(what, claims)| (what, claims.sign(forge.access()))).collect()
}

/// What becomes of a good token when bytes of it change.
fn wrong_shapes(token: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("three parts") };
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| all.push((what.to_owned(), token));
    let edited = String::from_utf8(base64url_decode(claims)).expect("text").replace("read:logs-*", "read:pii-*");
    add("with another scope", format!("{header}.{}.{signature}", base64url(edited)));
    let again =
        String::from_utf8(base64url_decode(claims)).expect("text").replacen('{', "{\"scope\":\"admin:cluster\",", 1);
    add("with a claim twice", format!("{header}.{}.{signature}", base64url(again)));
    for cut in [1, 2, 10, signature.len(), signature.len() + 1, token.len() - 1, token.len() - 10] {
        add("cut off", token[..token.len() - cut].to_owned());
    }
    for end in ["A", "=", "==", ".", ".AA", "~", "/"] {
        add(&format!("with `{end}` at its end"), format!("{token}{end}"));
    }
    add("with five parts", format!("{token}.AA.BB"));
    add("with parts in another order", format!("{claims}.{header}.{signature}"));
    add("without claims", format!("{header}..{signature}"));
    add("without a header", format!(".{claims}.{signature}"));
    add("of dots", "..".to_owned());
    add("a word", "secret".to_owned());
    // The last character of a signature has bits that count for nothing: another spelling is another token.
    let last = signature.chars().last().expect("a signature");
    let twin = char::from(last as u8 + 1);
    add("with other last bits", format!("{header}.{claims}.{}{twin}", &signature[..signature.len() - 1]));
    add("as long as a book", "A".repeat(8_193));
    let mut bytes = base64url_decode(signature);
    for position in [0, 31, 32, 63] {
        bytes[position] ^= 1;
        add("with another signature", format!("{header}.{claims}.{}", base64url(&bytes)));
    }
    // (r, n - s) verifies just as well; one token has one signature here.
    add(
        "with the other half of the signature",
        format!("{header}.{claims}.{}", base64url(negated(&base64url_decode(signature)))),
    );
    all
}

/// The signature with `n - s` for `s`, on P-256.
fn negated(signature: &[u8]) -> Vec<u8> {
    const N: [u8; 32] = [
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6,
        0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
    ];
    let mut result = signature.to_vec();
    let mut borrow = 0_i16;
    for at in (0..32).rev() {
        let difference = i16::from(N[at]) - i16::from(signature[32 + at]) - borrow;
        borrow = i16::from(difference < 0);
        result[32 + at] = u8::try_from(difference.rem_euclid(256)).expect("a byte");
    }
    result
}

/// RFC 2104.
fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    use oauth4os_tokens::id::sha256;
    let mut block = [0_u8; 64];
    if key.len() > 64 {
        block[..32].copy_from_slice(&sha256(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner: Vec<u8> = block.iter().map(|byte| byte ^ 0x36).chain(message.iter().copied()).collect();
    let outer: Vec<u8> = block.iter().map(|byte| byte ^ 0x5c).chain(sha256(&inner)).collect();
    sha256(&outer)
}
