//! The machine's clock is set wrong while the gateway runs, and right again: tokens are held to the time that is told, nobody
//! gets more than without, and once the clock is right everything goes on by itself.

use std::time::Duration;

use e2e::{Forge, Gateway, Issuer, Settings, Upstream, WrongClock, until};
use oauth4os_tokens::clock::{Clock, SystemClock};
use oauth4os_tokens::keys::Algorithm;
use serde_json::json;

#[test]
fn a_clock_that_jumps_is_believed_and_forgiven() {
    let clock = WrongClock::new();
    let settings = Settings::new().client("reader", &["read:logs-*"]).client("other", &["search:logs-*"]);
    let gateway = Gateway::start(clock.of(settings));
    // What was counted against a rate in the future is forgotten as fast as a burst is permitted again: that takes seconds,
    // not as long as the clock was wrong.
    let search = |token: &str| {
        until("an answer that is not 429", Duration::from_secs(30), || {
            let status = gateway.http().with_token(token).get("/logs-*/_search?size=0").send().status;
            (status != 429).then_some(status)
        })
    };
    let first = gateway.token("reader");
    assert_eq!(search(&first), 200);

    // Two hours ahead: what was issued for one is over, what is issued now is good here.
    clock.set_off(7_200);
    assert_eq!(search(&first), 401);
    let status = search(&gateway.token("reader"));
    assert!(matches!(status, 200 | 502), "{status}");

    // Right again: all is as before.
    clock.set_off(0);
    assert_eq!(search(&first), 200);
    assert_eq!(search(&gateway.token("reader")), 200);
    for _ in 0..200 {
        assert_eq!(search(&first), 200);
    }

    // Two hours behind: what the gateway signs now has run out for the engine already.
    clock.set_off(-7_200);
    let behind = gateway.token("other");
    let status = search(&behind);
    assert!(matches!(status, 200 | 502), "{status}");
    let status = search(&first);
    assert!(matches!(status, 200 | 401), "{status}");

    clock.set_off(0);
    assert_eq!(search(&first), 200);
    assert_eq!(search(&gateway.token("other")), 200);
    // It was issued two hours ago, as far as anybody can tell now.
    assert_eq!(search(&behind), 401);
    assert!(gateway.is_running());
}

#[test]
fn a_provider_that_is_down_for_a_day_costs_nobody_a_token_that_is_good() {
    const HOUR: i64 = 3_600;
    let (old, new) = (Forge::stranger(Algorithm::Es256), Forge::stranger(Algorithm::Es256));
    let issuer = Issuer::start(&[&old]);
    let clock = WrongClock::new();
    let settings = Settings::new().provider(issuer.settings("double")).upstream(&Upstream::obliging().url());
    let gateway = Gateway::start(clock.of(settings));
    let now = SystemClock.now().as_secs();
    let issued = |at: i64, lifetime: i64| {
        let claims = issuer.claims(&old).with("iat", json!(now + at)).with("exp", json!(now + at + lifetime));
        claims.with("jti", json!(format!("of-{at}"))).sign(&old)
    };
    let search = |token: &str| gateway.http().with_token(token).get("/logs-a/_search").send();
    let is_stale = || gateway.metric("oauth4os_provider_keys_stale{provider=\"double\"}") > 0.0;
    let (long, short) = (issued(0, 48 * HOUR), issued(0, HOUR));
    assert_eq!((search(&long).status, search(&short).status, is_stale()), (200, 200, false));

    issuer.set_failing(true);
    let asked = issuer.asked();
    for hour in 1..=24 {
        clock.set_off(hour * HOUR);
        assert_eq!(search(&long).status, 200, "after {hour} hours");
        // Whoever had a token from another place, signed by a key that is known, too.
        assert_eq!(search(&issued(hour * HOUR, HOUR)).status, 200, "after {hour} hours");
        // What has run out has run out, and a key that nobody knows is nobody's.
        assert!(hour < 2 || search(&short).status == 401, "after {hour} hours");
        assert_eq!(search(&issuer.claims(&new).moved(hour * HOUR).sign(&new)).status, 401, "after {hour} hours");
    }
    until("the keys to be called stale", Duration::from_secs(60), || is_stale().then_some(()));
    assert!(issuer.asked() > asked, "nobody has asked the provider");
    assert!(gateway.log().contains("the provider's keys are stale"), "{}", gateway.log());

    // It is back, with another key in place of the one before.
    issuer.publish(&[&new]);
    issuer.set_failing(false);
    let fresh = issuer.claims(&new).moved(24 * HOUR).sign(&new);
    until("the new key to be in force", Duration::from_secs(60), || (search(&fresh).status == 200).then_some(()));
    assert!(!is_stale());
    assert_eq!(search(&long).status, 401, "a token of a key that was withdrawn");
}
