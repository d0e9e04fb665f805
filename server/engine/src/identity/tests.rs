use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth4os_policy::scope::Clusters;
use oauth4os_policy::{Catalog, Forbids, Restrictions, ScopeSet};
use oauth4os_tokens::keys::Algorithm;
use serde_json::{Value, json};

use super::*;

static KEY: LazyLock<Arc<SigningKey>> = LazyLock::new(|| Arc::new(SigningKey::generate(Algorithm::Rs256).unwrap()));
const NOW: UnixTime = UnixTime::from_secs(1_795_305_600);

fn identities() -> Identities {
    Identities::jwt(
        Naming::default(),
        "https://gateway.example.com".to_owned(),
        Arc::clone(&KEY),
        Duration::from_secs(600),
    )
}

fn grant(scopes: &str) -> EngineGrant {
    EngineGrant::of(
        &ScopeSet::parse(scopes, &Clusters::default()).unwrap(),
        &Restrictions::default(),
        &Forbids::new(),
        Catalog::none(),
    )
}

fn parts(identity: &HandedIdentity) -> (Value, Value) {
    let token = identity.fields().strip_prefix("authorization: Bearer ").unwrap().strip_suffix("\r\n").unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts.as_slice() else { panic!("three parts") };
    let message = format!("{header}.{claims}");
    assert!(KEY.public().verify(message.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()));
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}

#[test]
fn the_token_says_who_and_what() {
    let identity =
        identities().hand_over("agent-7", &grant("read:logs-* write:app-* monitor:cluster"), None, NOW).unwrap();
    let (header, mut claims) = parts(&identity);
    assert_eq!(header["alg"], "RS256");
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert!(id.as_str().unwrap().starts_with("int_"));
    assert_eq!(
        claims,
        json!({
            "iss": "https://gateway.example.com", "aud": "opensearch", "sub": "oauth4os:agent-7",
            "roles": ["oauth4os_cluster_monitor", "oauth4os_read", "oauth4os_write"],
            "o4s_read": grant("read:logs-*").claims[0].1, "o4s_write": grant("write:app-*").claims[0].1,
            "iat": NOW.as_secs(), "exp": NOW.as_secs() + 600,
        })
    );
    assert_eq!(identity.expires_at, NOW + Duration::from_secs(600));
    assert_eq!(identity.renew_at, NOW + Duration::from_secs(480));
    assert!(!identity.is_due(NOW) && identity.is_due(NOW + Duration::from_secs(480)));
    assert!(identity.is_valid(NOW + Duration::from_secs(599)) && !identity.is_valid(NOW + Duration::from_secs(600)));
}

#[test]
fn it_ends_with_its_credential() {
    let soon = NOW + Duration::from_millis(90_500);
    let identity = identities().hand_over("agent-7", &grant("read:logs-*"), Some(soon), NOW).unwrap();
    assert_eq!(identity.expires_at, NOW + Duration::from_secs(90));
    assert_eq!(identity.renew_at, identity.expires_at, "renewing would give the same");
    let later = NOW + Duration::from_secs(3_600);
    let identity = identities().hand_over("agent-7", &grant("read:logs-*"), Some(later), NOW).unwrap();
    assert_eq!(identity.expires_at, NOW + Duration::from_secs(600));
    for ended in [NOW, NOW + Duration::from_millis(900), UnixTime::default()] {
        let error = identities().hand_over("agent-7", &grant("read:logs-*"), Some(ended), NOW).unwrap_err();
        assert_eq!(error, IdentityError::Expired);
    }
}

#[test]
fn names_the_engine_would_read_otherwise_are_refused() {
    let long = "a".repeat(MAX_SUBJECT_BYTES + 1);
    for name in
        ["", "a b", "a:b", "plugin:x", "${attr.jwt.o4s_read}", "a*", "/.*/", "CN=admin,O=x", "a\nb", "ä", "a,b", &long]
    {
        let error = identities().hand_over(name, &grant("read:logs-*"), None, NOW).unwrap_err();
        assert!(matches!(error, IdentityError::Subject(_)), "{name}: {error}");
        assert!(error.to_string().chars().all(|letter| !letter.is_control()));
    }
    for name in ["agent-7", "A.b_c-9", "admin", &"a".repeat(MAX_SUBJECT_BYTES)] {
        identities().hand_over(name, &grant("read:logs-*"), None, NOW).unwrap();
    }
}

#[test]
fn without_a_right_there_is_no_identity() {
    for scopes in ["", "admin:gateway"] {
        let error = identities().hand_over("agent-7", &grant(scopes), None, NOW).unwrap_err();
        assert_eq!(error, IdentityError::NoRight);
    }
}

#[test]
fn too_many_scopes_for_one_token() {
    let scopes = |count: usize| {
        (0..count).map(|n| format!("read:index-with-a-long-name-{n:064}-*")).collect::<Vec<_>>().join(" ")
    };
    identities().hand_over("agent-7", &grant(&scopes(30)), None, NOW).unwrap();
    let mut wide = grant(&scopes(40));
    wide.claims[0].1.push_str(&"x".repeat(2_000));
    let error = identities().hand_over("agent-7", &wide, None, NOW).unwrap_err();
    assert!(matches!(error, IdentityError::TooLarge { bytes } if bytes > MAX_IDENTITY_BYTES), "{error}");
    assert!(error.to_string().starts_with("the scopes and row filters are too many for one token"));
}

#[test]
fn claims_that_would_be_substituted_are_never_signed() {
    let mut hostile = grant("read:logs-*");
    hostile.claims[0].1 = "/${attr.jwt.other}/".to_owned();
    assert!(matches!(identities().hand_over("agent-7", &hostile, None, NOW), Err(IdentityError::Mint(_))));
}

#[test]
fn another_key_than_rs256_is_refused() {
    let key = Arc::new(SigningKey::generate(Algorithm::Es256).unwrap());
    let identities =
        Identities::jwt(Naming::default(), "https://gateway.example.com".to_owned(), key, Duration::from_secs(600));
    assert!(matches!(identities.hand_over("agent-7", &grant("read:logs-*"), None, NOW), Err(IdentityError::Mint(_))));
}

#[test]
fn by_another_driver_the_same_is_said_in_other_fields() {
    let lifetime = Duration::from_secs(600);
    let naming = Naming::default().for_extended_proxy();
    let proxy = Identities::extended_proxy(naming, "192.0.2.10".parse().unwrap(), lifetime);
    let grant = grant("read:logs-* monitor:cluster");
    let identity = proxy.hand_over("agent-7", &grant, None, NOW).unwrap();
    assert_eq!(
        identity.fields(),
        format!(
            "x-forwarded-for: 192.0.2.10\r\nx-proxy-user: oauth4os:agent-7\r\n\
             x-proxy-roles: oauth4os_proxy_cluster_monitor,oauth4os_proxy_read\r\nx-proxy-ext-o4s_read: {}\r\n",
            grant.claims[0].1
        )
    );
    assert_eq!((identity.renew_at, identity.expires_at), (NOW + Duration::from_secs(480), NOW + lifetime));
    // What the cluster would read as one of the gateway's own roles is nobody's to bring along, of either driver.
    let own = ["analysts", "oauth4os_proxy_admin", "oauth4os_admin"].map(str::to_owned);
    let identity = proxy.hand_over("ada", &EngineGrant::own(&own), None, NOW).unwrap();
    assert!(identity.fields().ends_with("\r\nx-proxy-roles: analysts\r\n"), "{}", identity.fields());
    for (claim, value) in [("o4s_read", "/${attr.proxy.o4s_write}/"), ("o4s_read", "/ä/"), ("O4S", "/a/")] {
        let mut hostile = grant.clone();
        hostile.claims[0] = (claim.to_owned(), value.to_owned());
        assert!(matches!(proxy.hand_over("ada", &hostile, None, NOW), Err(IdentityError::Field(_))));
    }
    let mut wide = grant;
    wide.claims[0].1.push_str(&"x".repeat(MAX_IDENTITY_BYTES));
    assert!(matches!(proxy.hand_over("ada", &wide, None, NOW), Err(IdentityError::TooLarge { .. })));
}

#[test]
fn the_token_is_not_in_debug_output() {
    let identity = identities().hand_over("agent-7", &grant("read:logs-*"), None, NOW).unwrap();
    let shown = format!("{identity:?} {:?}", identities());
    assert!(!shown.contains("Bearer") && !shown.contains("eyJ"), "{shown}");
}
