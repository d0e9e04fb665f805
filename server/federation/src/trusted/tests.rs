use std::time::Duration;

use oauth4os_tokens::clock::ManualClock;
use serde_json::json;

use super::*;
use crate::test_support::{Double, Signer, install_tls};

struct Setting {
    double: Double,
    clock: ManualClock,
    key: Signer,
    issuers: TrustedIssuers,
}

impl Setting {
    async fn new(more: &str) -> Self {
        let (double, clock) = (Double::start().await, ManualClock::default());
        let key = Signer::new(Algorithm::Es256, "k");
        double.publish(&[&key]);
        let issuers = issuers(&double, &clock, more);
        let setting = Self { double, clock, key, issuers };
        setting.issuer().keys().wait().await;
        setting
    }

    fn issuer(&self) -> &TrustedIssuer {
        self.issuers.0.get(&self.double.url).unwrap()
    }

    fn claims(&self) -> Value {
        let now = self.clock.now().as_secs();
        json!({
            "iss": self.double.url, "aud": "https://gateway.example.com", "sub": "repo:acme/app:ref:refs/heads/main",
            "repository": "acme/app", "ref": "refs/heads/main", "iat": now, "exp": now + 300, "jti": "1",
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    fn verify(&self, claims: &Value) -> Result<Workload<'_>, AssertionRefused> {
        self.issuer().verify(&self.key.token(claims), self.clock.now())
    }
}

fn issuers(double: &Double, clock: &ManualClock, more: &str) -> TrustedIssuers {
    let yaml = format!(
        "{{name: ci, issuer: '{}', audience: 'https://gateway.example.com', rules: [\
         {{claims: {{repository: acme/app}}, client: app}}, {{claims: {{repository: 'acme/*'}}, client: any}}]{more}}}",
        double.url
    );
    let config: Config = serde_saphyr::from_str(&yaml).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    TrustedIssuers::new(&[config], &clock, &Arc::new(Metrics::new())).unwrap()
}

#[tokio::test]
async fn a_workload_is_named_after_its_issuer_and_fits_rules_in_their_order() {
    let setting = Setting::new("").await;
    let workload = setting.verify(&setting.claims()).unwrap();
    assert_eq!(workload.subject, "ci/repo:acme/app:ref:refs/heads/main");
    assert_eq!(workload.rules.iter().map(|rule| rule.client.as_str()).collect::<Vec<_>>(), ["app", "any"]);
    let other = setting.verify(&setting.with("repository", json!("acme/other"))).unwrap();
    assert_eq!(other.rules.iter().map(|rule| rule.client.as_str()).collect::<Vec<_>>(), ["any"]);
    assert!(setting.verify(&setting.with("repository", json!("evil/app"))).unwrap().rules.is_empty());
}

#[tokio::test]
async fn the_issuer_is_compared_character_for_character() {
    let setting = Setting::new("").await;
    assert!(setting.issuers.of_assertion(&setting.key.token(&setting.claims())).is_some());
    for other in [format!("{}/", setting.double.url), setting.double.url.to_uppercase(), String::new(), "ci".to_owned()]
    {
        let text = setting.key.token(&setting.with("iss", json!(other)));
        assert!(setting.issuers.of_assertion(&text).is_none(), "{other}");
        // And again once it is verified, whoever was asked.
        assert_eq!(setting.issuer().verify(&text, setting.clock.now()).unwrap_err(), AssertionRefused::Issuer);
    }
}

#[tokio::test]
async fn it_is_for_this_gateway_alone() {
    let setting = Setting::new("").await;
    assert!(setting.verify(&setting.with("aud", json!(["https://gateway.example.com"]))).is_ok());
    for aud in [
        json!(["https://gateway.example.com", "https://other.example.com"]),
        json!(["https://gateway.example.com", "https://gateway.example.com"]),
        json!("https://gateway.example.com/oauth/token"),
        json!("https://gateway.example.com/"),
        json!([]),
        json!(null),
        json!([["https://gateway.example.com"]]),
    ] {
        assert!(
            matches!(setting.verify(&setting.with("aud", aud.clone())), Err(AssertionRefused::Audience(_))),
            "{aud}"
        );
    }
}

#[tokio::test]
async fn lifetimes_are_bounded_by_the_configuration() {
    let setting = Setting::new(", max_lifetime: 5m, leeway: 10s").await;
    let now = setting.clock.now().as_secs();
    assert!(setting.verify(&setting.claims()).is_ok());
    for (name, value) in [("exp", now + 301), ("iat", now - 1)] {
        let refused = setting.verify(&setting.with(name, json!(value))).unwrap_err();
        assert_eq!(refused, AssertionRefused::TooLong(Duration::from_secs(300)), "{name}");
    }
    for name in ["iat", "nbf"] {
        assert_eq!(setting.verify(&setting.with(name, json!(now + 11))).unwrap_err(), AssertionRefused::NotYetValid);
    }
    setting.clock.advance(Duration::from_secs(310));
    let old = json!({"iat": now, "exp": now + 300});
    let mut claims = setting.claims();
    claims["iat"] = old["iat"].clone();
    claims["exp"] = old["exp"].clone();
    assert_eq!(setting.verify(&claims).unwrap_err(), AssertionRefused::Expired);
}

#[tokio::test]
async fn without_a_name_the_whole_assertion_is_one_and_a_signature_makes_no_second() {
    let setting = Setting::new("").await;
    let named = setting.verify(&setting.claims()).unwrap().once.unwrap();
    let mut claims = setting.claims();
    claims.as_object_mut().unwrap().remove("jti");
    let (one, other) = (setting.verify(&claims).unwrap().once.unwrap(), setting.verify(&claims).unwrap().once.unwrap());
    // Signed anew each time: ECDSA is not deterministic.
    assert_eq!(one.id, other.id);
    assert_ne!(one.id, named.id);
    claims["ref"] = json!("refs/heads/other");
    assert_ne!(setting.verify(&claims).unwrap().once.unwrap().id, one.id);
    let many = Setting::new(", single_use: false").await;
    assert!(many.verify(&many.claims()).unwrap().once.is_none());
}

#[tokio::test]
async fn keys_are_the_issuers_own_and_rotate() {
    let setting = Setting::new("").await;
    let next = Signer::new(Algorithm::Es256, "next");
    let text = next.token(&setting.claims());
    assert_eq!(setting.issuer().verify(&text, setting.clock.now()).unwrap_err(), AssertionRefused::UnknownKey);
    setting.double.publish(&[&setting.key, &next]);
    assert!(setting.issuer().keys().wait().await);
    assert!(setting.issuer().verify(&text, setting.clock.now()).is_ok());
    // Nobody can have it fetched again and again.
    let asked = setting.double.asked();
    for number in 0..20 {
        let unknown = Signer::new(Algorithm::Es256, &format!("u{number}")).token(&setting.claims());
        assert_eq!(setting.issuer().verify(&unknown, setting.clock.now()).unwrap_err(), AssertionRefused::UnknownKey);
        assert!(!setting.issuer().keys().wait().await);
    }
    assert_eq!(setting.double.asked(), asked);
    let stranger = Signer::new(Algorithm::Es256, "k");
    assert_eq!(
        setting.issuer().verify(&stranger.token(&setting.claims()), setting.clock.now()).unwrap_err(),
        AssertionRefused::NotProven
    );
}

#[tokio::test]
async fn an_issuer_that_never_answered_vouches_for_nobody() {
    install_tls();
    let (double, clock) = (Double::start().await, ManualClock::default());
    let issuers = issuers(&double, &clock, "");
    let issuer = issuers.0.get(&double.url).unwrap();
    let key = Signer::new(Algorithm::Es256, "k");
    let claims = json!({"iss": double.url});
    assert_eq!(issuer.verify(&key.token(&claims), clock.now()).unwrap_err(), AssertionRefused::NoKeys);
}
