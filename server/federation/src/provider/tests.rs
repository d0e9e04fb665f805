use oauth4os_tokens::clock::ManualClock;
use oauth4os_tokens::jose::Malformed;
use serde_json::json;

use super::*;
use crate::test_support::{Double, PATIENCE, Signer};

struct Setting {
    double: Double,
    clock: ManualClock,
    key: Signer,
    providers: Providers,
}

impl Setting {
    async fn new(algorithm: Algorithm, yaml: &str) -> Self {
        let (double, clock) = (Double::start().await, ManualClock::default());
        let key = Signer::new(algorithm, "k");
        double.publish(&[&key]);
        let providers = double.providers(yaml, &clock);
        providers.start(PATIENCE).await;
        Self { double, clock, key, providers }
    }

    fn claims(&self) -> Value {
        let now = self.clock.now().as_secs();
        json!({"iss": self.double.url, "aud": "gateway", "sub": "ada", "azp": "app", "iat": now, "exp": now + 300, "jti": "1"})
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    fn without(&self, name: &str) -> Value {
        let mut claims = self.claims();
        claims.as_object_mut().unwrap().remove(name);
        claims
    }

    fn verify(&self, claims: &Value) -> Result<Outsider, Refused> {
        self.verify_token(&self.key.token(claims))
    }

    fn verify_token(&self, token: &str) -> Result<Outsider, Refused> {
        self.providers.find(&self.double.url).unwrap().verify(token, self.clock.now())
    }
}

#[tokio::test]
async fn every_algorithm_is_taken_unless_the_provider_is_held_to_others() {
    for algorithm in Algorithm::ALL {
        let setting = Setting::new(algorithm, "").await;
        let outsider = setting.verify(&setting.claims()).unwrap();
        assert_eq!(outsider.principal.id, "idp/ada", "{algorithm}");
        // The header cannot choose another algorithm for the same key.
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let header = json!({"alg": other.as_str(), "kid": "k"});
            let refused = setting.verify_token(&setting.key.token_with(&header, &setting.claims())).unwrap_err();
            assert!(matches!(refused, Refused::Algorithm | Refused::Signature), "{algorithm} as {other}: {refused}");
        }
    }
    let setting = Setting::new(Algorithm::Rs256, "algorithms: [ES256]").await;
    assert_eq!(setting.verify(&setting.claims()).unwrap_err(), Refused::Algorithm);
}

#[tokio::test]
async fn a_token_must_be_for_us_from_the_provider_and_in_force() {
    let setting = Setting::new(Algorithm::Es256, "leeway: 10s").await;
    let now = setting.clock.now().as_secs();
    let url = setting.double.url.clone();
    for (what, claims, expected) in [
        ("another issuer", setting.with("iss", json!(format!("{url}/"))), Refused::Issuer),
        ("no issuer", setting.without("iss"), Refused::Issuer),
        ("another audience", setting.with("aud", json!("gateway2")), Refused::Audience),
        ("a part of it", setting.with("aud", json!("gate")), Refused::Audience),
        ("in capitals", setting.with("aud", json!("Gateway")), Refused::Audience),
        ("nobody", setting.with("aud", json!([])), Refused::Audience),
        ("no audience", setting.without("aud"), Refused::Missing("aud".to_owned())),
        ("a number", setting.with("aud", json!(["gateway", 1])), Refused::Claim("aud".to_owned())),
        ("no end", setting.without("exp"), Refused::Missing("exp".to_owned())),
        ("ended", setting.with("exp", json!(now - 10)), Refused::Expired),
        ("in the future", setting.with("iat", json!(now + 11)), Refused::NotYetValid),
        ("not yet", setting.with("nbf", json!(now + 11)), Refused::NotYetValid),
        (
            "ends before it begins",
            json!({"iss": url, "aud": "gateway", "sub": "a", "iat": now, "exp": now}),
            Refused::Lifetime,
        ),
        ("for ever", setting.with("exp", json!(253_402_300_799_i64)), Refused::Lifetime),
        ("no subject", setting.without("sub"), Refused::Missing("sub".to_owned())),
        (
            "an ID token",
            setting.with("typ", json!("ID")),
            Refused::NotForBearers("its claim `typ` says that it is something else"),
        ),
        ("a hash of an access token", setting.with("at_hash", json!("x")), Refused::NotForBearers("it is an ID token")),
        ("a logout token", setting.with("events", json!({})), Refused::NotForBearers("it tells of an event")),
    ] {
        assert_eq!(setting.verify(&claims).err(), Some(expected), "{what}");
    }
    for (name, value) in
        [("typ", json!("Refresh")), ("typ", json!(1)), ("token_use", json!("id")), ("cnf", json!({"jkt": "x"}))]
    {
        assert!(matches!(setting.verify(&setting.with(name, value)), Err(Refused::NotForBearers(_))), "{name}");
    }
    for name in ["exp", "iat", "nbf"] {
        for value in [json!("1795305900"), json!(1_795_305_900.5), json!(1e300), json!(-1), json!(null), json!(true)] {
            assert_eq!(setting.verify(&setting.with(name, value)).err(), Some(Refused::Claim(name.to_owned())));
        }
    }
    for value in [json!(""), json!(1), json!("a\nb"), json!("a".repeat(256)), json!(["a"])] {
        assert_eq!(setting.verify(&setting.with("sub", value)).err(), Some(Refused::Claim("sub".to_owned())));
    }
    // Within the leeway, and with several audiences that name a party.
    for claims in [
        json!({"iss": url, "aud": "gateway", "sub": "ada", "iat": now - 60, "exp": now - 9}),
        setting.with("nbf", json!(now + 10)),
        setting.with("iat", json!(now + 10)),
        setting.without("iat"),
        setting.with("aud", json!(["account", "gateway"])),
        setting.with("typ", json!("Bearer")),
    ] {
        assert!(setting.verify(&claims).is_ok(), "{claims}");
    }
    let ending = setting.verify(&setting.with("exp", json!(now + 5))).unwrap();
    assert_eq!(ending.expires_at, UnixTime::from_secs(now + 15));
    let mut nobodys = setting.with("aud", json!(["account", "gateway"]));
    nobodys.as_object_mut().unwrap().remove("azp");
    assert_eq!(setting.verify(&nobodys).err(), Some(Refused::NoParty));
}

#[tokio::test]
async fn types_and_keys_are_those_of_the_provider() {
    let setting = Setting::new(Algorithm::Es256, "types: [at_jwt]").await;
    let claims = setting.claims();
    for (typ, taken) in
        [("at+jwt", true), ("application/AT+JWT", true), ("JWT", false), ("dpop+jwt", false), ("", false)]
    {
        let token = setting.key.token_with(&json!({"alg": "ES256", "typ": typ, "kid": "k"}), &claims);
        assert_eq!(setting.verify_token(&token).is_ok(), taken, "{typ}");
    }
    let untyped = setting.key.token_with(&json!({"alg": "ES256", "kid": "k"}), &claims);
    assert_eq!(setting.verify_token(&untyped).err(), Some(Refused::Type));

    let setting = Setting::new(Algorithm::Es256, "").await;
    let claims = setting.claims();
    let stranger = Signer::new(Algorithm::Es256, "k");
    assert_eq!(setting.verify_token(&stranger.token(&claims)).err(), Some(Refused::Signature));
    let unnamed = json!({"alg": "ES256"});
    assert!(setting.verify_token(&setting.key.token_with(&unnamed, &claims)).is_ok());
    assert_eq!(setting.verify_token(&stranger.token_with(&unnamed, &claims)).err(), Some(Refused::Signature));
    let crit = setting.key.token_with(&json!({"alg": "ES256", "kid": "k", "crit": ["exp"]}), &claims);
    assert_eq!(setting.verify_token(&crit).err(), Some(Refused::Malformed(Malformed::RefusedMember)));

    let two = Double::start().await;
    let (one, other) = (Signer::new(Algorithm::Es256, "1"), Signer::new(Algorithm::Es256, "2"));
    two.publish(&[&one, &other]);
    let clock = ManualClock::default();
    let providers = two.providers("", &clock);
    providers.start(PATIENCE).await;
    let claims = json!({"iss": two.url, "aud": "gateway", "sub": "a", "exp": clock.now().as_secs() + 60});
    let verify = |token: &str| providers.find(&two.url).unwrap().verify(token, clock.now());
    assert_eq!(verify(&one.token_with(&unnamed, &claims)).err(), Some(Refused::NoKeyNamed));
    assert!(verify(&one.token(&claims)).is_ok() && verify(&other.token(&claims)).is_ok());
    assert_eq!(verify(&one.token_with(&json!({"alg": "ES256", "kid": "2"}), &claims)).err(), Some(Refused::Signature));
}

const MAPPED: &str = "
claims: {roles: [realm_access.roles, 'https://example\\.com/roles'], groups: groups, tenant: org.id}
scope_mapping:
  roles: {reader: ['read:logs-*'], writer: ['write:app-*']}
  groups: {/ops: ['monitor:cluster']}
  scopes: {search: ['search:x']}
client_kinds: {ci: client, bot: agent}
authorized_parties: [app, ci, bot]
";

#[tokio::test]
async fn what_a_token_says_becomes_a_principal_and_its_scopes() {
    let setting = Setting::new(Algorithm::EdDsa, MAPPED).await;
    let mut claims = setting.claims();
    claims["realm_access"] = json!({"roles": ["reader", "nothing"]});
    claims["https://example.com/roles"] = json!("writer");
    claims["groups"] = json!(["/ops", "/dev"]);
    claims["scope"] = json!("openid  search read:*");
    claims["org"] = json!({"id": "acme"});
    let outsider = setting.verify(&claims).unwrap();
    assert_eq!(outsider.grants.scopes.to_string(), "monitor:cluster read:logs-* search:x write:app-*");
    assert_eq!(outsider.principal.groups, ["idp//ops", "idp//dev"]);
    assert_eq!((outsider.principal.kind, outsider.principal.id.as_str()), (PrincipalKind::User, "idp/ada"));
    assert_eq!((outsider.client.as_deref(), outsider.tenant.as_deref()), (Some("idp/app"), Some("acme")));
    assert_eq!((outsider.engine_name.as_str(), outsider.token_id.as_deref()), ("idp.idp.user.ada", Some("1")));

    for (client, kind, name) in
        [("ci", PrincipalKind::Client, "idp.idp.client.ci"), ("bot", PrincipalKind::Agent, "idp.idp.agent.bot")]
    {
        let outsider = setting.verify(&setting.with("azp", json!(client))).unwrap();
        assert_eq!((outsider.principal.kind, outsider.principal.id), (kind, format!("idp/{client}")));
        assert_eq!((outsider.engine_name.as_str(), outsider.grants.scopes.is_empty()), (name, true));
    }
    assert_eq!(setting.verify(&setting.with("azp", json!("other"))).err(), Some(Refused::Party));
    assert_eq!(setting.verify(&setting.without("azp")).err(), Some(Refused::Party));
    // What cannot be read is refused, never overlooked: a policy may forbid by it.
    for (name, value, path) in [
        ("groups", json!({"a": 1}), "groups"),
        ("groups", json!(["a", 1]), "groups"),
        ("realm_access", json!("reader"), "realm_access.roles"),
        ("realm_access", json!({"roles": {"reader": true}}), "realm_access.roles"),
        ("scope", json!(1), "scope"),
        ("org", json!({"id": 1}), "org.id"),
    ] {
        assert_eq!(setting.verify(&setting.with(name, value)).err(), Some(Refused::Claim(path.to_owned())));
    }
    let elsewhere = setting.with("_claim_names", json!({"groups": "src1"}));
    assert_eq!(setting.verify(&elsewhere).err(), Some(Refused::GroupsElsewhere));
}

#[test]
fn names_for_the_engine_are_plain_and_nobody_shares_one() {
    let user = |id: &str| engine_name("p", PrincipalKind::User, id);
    assert_eq!(user("ada.b-c_d"), "idp.p.user.ada.b-c_d");
    let odd: Vec<String> = ["ada@example.com", "a b", "", "ä", "${attr.jwt.x}", "a*", "plugin:x", "CN=a,O=b"]
        .into_iter()
        .map(ToOwned::to_owned)
        .chain(["x".repeat(129), "x".repeat(255)])
        .collect();
    let mut names: Vec<String> = odd.iter().map(|id| user(id)).collect();
    for name in &names {
        assert!(name.len() <= MAX_ENGINE_NAME, "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)), "{name}");
    }
    // Called like another's hash, and like another kind or provider.
    names.push(user(names[0].rsplit_once('.').unwrap().1));
    names.push(engine_name("p", PrincipalKind::Client, "ada@example.com"));
    names.push(engine_name("q", PrincipalKind::User, "ada@example.com"));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(engine_name(&"p".repeat(32), PrincipalKind::Client, &"x".repeat(255)).len() <= MAX_ENGINE_NAME);
}
