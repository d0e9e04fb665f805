use oauth4os_tokens::clock::ManualClock;
use reqwest::Url;
use serde_json::{Value, json};

use super::*;
use crate::address::Trust;
use crate::test_support::{Double, PATIENCE, Reply, Signer, answer, install_tls, ok};
use crate::{Provider, Providers, Refused};

fn claims(double: &Double, clock: &ManualClock) -> Value {
    json!({"iss": double.url, "aud": "gateway", "sub": "ada", "exp": clock.now().as_secs() + 36_000})
}

fn provider<'a>(providers: &'a Providers, double: &Double) -> &'a Arc<Provider> {
    providers.find(&double.url).unwrap()
}

/// Waits for something that happens on another task.
async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let waiting = async {
        while !ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_key_is_fetched_once_however_many_wait() {
    let (double, clock) = (Double::start().await, ManualClock::default());
    let (old, new) = (Signer::new(Algorithm::Es256, "old"), Signer::new(Algorithm::Es256, "new"));
    double.publish(&[&old]);
    let providers = double.providers("", &clock);
    providers.start(PATIENCE).await;
    let provider = provider(&providers, &double);
    let claims = claims(&double, &clock);
    let (of_old, of_new) = (old.token(&claims), new.token(&claims));
    assert!(provider.verify(&of_old, clock.now()).is_ok());
    assert_eq!(double.asked(), 2);
    let generation = provider.generation();

    double.publish(&[&old, &new]);
    assert_eq!(provider.verify(&of_new, clock.now()).unwrap_err(), Refused::UnknownKey);
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let provider = Arc::clone(provider);
            tokio::spawn(async move { provider.wait_for_keys().await })
        })
        .collect();
    let mut came = 0;
    for one in waiting {
        came += usize::from(one.await.unwrap());
    }
    assert!(came >= 1);
    assert_eq!(double.asked(), 3, "the keys alone, once");
    assert_ne!(provider.generation(), generation);
    assert!(provider.verify(&of_new, clock.now()).is_ok() && provider.verify(&of_old, clock.now()).is_ok());

    // Not again before the interval is over, by the clock that was handed in.
    for _ in 0..50 {
        assert!(!provider.wait_for_keys().await);
    }
    clock.advance(FORCED_INTERVAL - Duration::from_secs(1));
    assert!(!provider.wait_for_keys().await);
    assert_eq!(double.asked(), 3);
    clock.advance(Duration::from_secs(1));
    assert!(provider.wait_for_keys().await);
    assert_eq!(double.asked(), 4);
    // A key that is taken away is gone, and what was verified with it is looked at again.
    let generation = provider.generation();
    double.publish(&[&new]);
    clock.advance(FORCED_INTERVAL);
    assert!(provider.wait_for_keys().await);
    assert_ne!(provider.generation(), generation);
    assert_eq!(provider.verify(&of_old, clock.now()).unwrap_err(), Refused::UnknownKey);
    // The same keys in another order are the same keys.
    let generation = provider.generation();
    clock.advance(FORCED_INTERVAL);
    assert!(provider.wait_for_keys().await);
    assert_eq!(provider.generation(), generation);
}

/// Keys are good for as long as the provider says, within bounds, and the last fifth of that is for fetching them again.
#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_ahead_of_their_end() {
    install_tls();
    let (clock, metrics) = (ManualClock::default(), Arc::new(Metrics::new()));
    let url = Url::parse("https://idp.example.com/keys").unwrap();
    let place = KeyPlace { url, trust: Trust::Configured };
    let source = Source {
        name: "idp".to_owned(),
        issuer: "https://idp.example.com".to_owned(),
        place: Some(place.clone()),
        algorithms: Vec::new(),
        fetcher: Fetcher::new(None).unwrap(),
    };
    let cache = Arc::new(KeyCache::new(source, Arc::new(clock.clone()), Some(Arc::clone(&metrics))));
    let is_stale = || {
        let text = metrics.render().unwrap();
        text.lines().any(|line| line == "oauth4os_provider_keys_stale{provider=\"idp\"} 1")
    };
    let seconds = Duration::from_secs;
    for (said, lifetime) in [(None, 900), (Some(3), 60), (Some(100), 100), (Some(1_000_000), 3_600)] {
        let set = KeySet { keys: Vec::new(), fingerprint: [1; 32], max_age: said.map(seconds), refused: Vec::new() };
        let due = cache.settle(Ok((place.clone(), set)));
        let ahead = seconds(lifetime * 4 / 5);
        assert_eq!(due.since(clock.now()), ahead, "{said:?}");
        let waiting = tokio::spawn({
            let cache = Arc::clone(&cache);
            async move { cache.until(due).await }
        });
        clock.advance(ahead - seconds(1));
        // This time goes by itself, and says nothing of the other.
        tokio::time::sleep(3 * LOOK_AT_CLOCK).await;
        assert!(!waiting.is_finished(), "{said:?}");
        clock.advance(seconds(1));
        assert!(!waiting.await.unwrap(), "nobody has asked for it");
        // Ahead: when the provider is down just then, there is time for another try before the keys are stale.
        let failed = || Err(FetchError::Prepare("down".to_owned()));
        assert_eq!(cache.settle(failed()).since(clock.now()), FIRST_RETRY);
        assert!(!is_stale(), "{said:?}");
        clock.advance(seconds(lifetime / 5));
        let _ = cache.settle(failed());
        assert!(is_stale(), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_stay_in_force_while_the_provider_is_down() {
    let (double, clock) = (Double::start().await, ManualClock::default());
    let key = Signer::new(Algorithm::Rs256, "k");
    double.publish(&[&key]);
    let (providers, metrics) = double.providers_counted("", &clock);
    providers.start(PATIENCE).await;
    let provider = provider(&providers, &double);
    let token = key.token(&claims(&double, &clock));
    assert!(provider.verify(&token, clock.now()).is_ok());
    let shows = |line: &str| metrics.render().unwrap().lines().any(|shown| shown == line);
    assert!(shows("oauth4os_provider_keys_stale{provider=\"idp\"} 0"));

    double.reply("/.well-known/openid-configuration", answer("500 Error", ""));
    double.reply("/keys", answer("500 Error", ""));
    clock.advance(DEFAULT_LIFETIME);
    assert!(provider.wait_for_keys().await);
    assert!(shows("oauth4os_provider_keys_stale{provider=\"idp\"} 1"), "{}", metrics.render().unwrap());
    assert!(provider.verify(&token, clock.now()).is_ok());
    // For a day, tokens that are issued meanwhile too, and the provider is asked now and then.
    for _ in 0..24 {
        clock.advance(Duration::from_secs(3_600));
        let token = key.token(&claims(&double, &clock));
        assert!(provider.wait_for_keys().await);
        assert!(provider.verify(&token, clock.now()).is_ok());
        assert!(shows("oauth4os_provider_keys_stale{provider=\"idp\"} 1"));
    }
    let token = key.token(&claims(&double, &clock));
    // What is hostile changes nothing either.
    for reply in [
        ok(&json!({})),
        ok(&json!({"keys": 1})),
        ok(&json!({"keys": [1]})),
        ok(&json!({"keys": vec![json!({}); 101]})),
        answer("200 OK\r\ncontent-type: application/json", "{\"keys\":[],\"keys\":[]}"),
    ] {
        double.reply("/keys", reply);
        clock.advance(FORCED_INTERVAL);
        assert!(provider.wait_for_keys().await);
        assert!(provider.verify(&token, clock.now()).is_ok());
    }
    double.publish(&[&key]);
    clock.advance(FORCED_INTERVAL);
    assert!(provider.wait_for_keys().await);
    assert!(shows("oauth4os_provider_keys_stale{provider=\"idp\"} 0"));
    // An empty set is a set: the provider has withdrawn its keys.
    double.publish(&[]);
    clock.advance(FORCED_INTERVAL);
    assert!(provider.wait_for_keys().await);
    assert_eq!(provider.verify(&token, clock.now()).unwrap_err(), Refused::UnknownKey);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_a_silent_provider_is_not_kept_for_long() {
    let (double, clock) = (Double::start().await, ManualClock::default());
    double.reply("/.well-known/openid-configuration", Reply::Silence);
    let providers = double.providers("", &clock);
    providers.start(Duration::from_millis(1)).await;
    let provider = provider(&providers, &double);
    let token = Signer::new(Algorithm::EdDsa, "k").token(&claims(&double, &clock));
    assert_eq!(provider.verify(&token, clock.now()).unwrap_err(), Refused::NoKeys);
    assert!(!provider.keys.wait(Duration::from_millis(1)).await);
    until("the fetch to begin", || double.asked() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_discovery_document_speaks_for_its_own_issuer_and_leads_nowhere_inside() {
    let clock = ManualClock::default();
    let key = Signer::new(Algorithm::Es256, "k");
    let inner = Double::start().await;
    inner.publish(&[&key]);
    for hostile in [
        |url: &str, inner: &str| json!({"issuer": format!("{url}/"), "jwks_uri": format!("{url}/keys"), "x": inner}),
        |url: &str, inner: &str| json!({"issuer": inner, "jwks_uri": format!("{url}/keys")}),
        |url: &str, _: &str| json!({"jwks_uri": format!("{url}/keys")}),
        |url: &str, _: &str| json!({"issuer": url}),
        |url: &str, inner: &str| json!({"issuer": url, "jwks_uri": format!("{inner}/keys")}),
        |url: &str, _: &str| json!({"issuer": url, "jwks_uri": "https://169.254.169.254/keys"}),
        |url: &str, _: &str| json!({"issuer": url, "jwks_uri": "file:///etc/passwd"}),
        |url: &str, _: &str| json!({"issuer": url, "jwks_uri": 1}),
    ] {
        let double = Double::start().await;
        double.publish(&[&key]);
        let document = hostile(&double.url, &inner.url);
        double.reply("/.well-known/openid-configuration", ok(&document));
        let providers = double.providers("", &clock);
        providers.start(PATIENCE).await;
        let token = key.token(&claims(&double, &clock));
        let refused = provider(&providers, &double).verify(&token, clock.now());
        assert_eq!(refused.unwrap_err(), Refused::NoKeys, "{document}");
        assert_eq!(double.asked(), 1, "{document}");
    }
    assert_eq!(inner.asked(), 0);
}
