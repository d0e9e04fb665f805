//! Rates for some of the requests: the rules of the configuration's `rates`, and what an answer tells of rates.
//!
//! Which rules a request meets is known bit by bit: those of all requests with its credential, the others with each decision
//! on something it touches, so that what stands in a body counts as well. Each rule counts a request once.

use std::borrow::Cow;
use std::hash::Hash;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use oauth4os_classify::{Class, Targets};
use oauth4os_config::{RateHeaders, RateMode, RatePer, RateRule};
use oauth4os_policy::{Catalog, Clusters, Scope, ScopeError};
use oauth4os_tokens::clock::UnixTime;
use quick_cache::sync::Cache;

use crate::limit::{Rate, Standing, whole_seconds};
use crate::strangers::place;

/// Whom a rule keeps counts for at once. Who has not been seen for longest is forgotten first.
const KEPT: usize = 65_536;

/// The rules of a configuration.
#[derive(Debug, Default)]
pub struct Rates {
    rules: Box<[Rule]>,
    /// Those that every request meets.
    of_all: Rules,
}

/// Some of the rules, by their numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rules(u32);

/// One rule, and the counts of all it has met.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: Arc<str>,
    scope: Option<Scope>,
    per: RatePer,
    rate: Rate,
    pub(crate) mode: RateMode,
    counts: Counts,
}

/// Each is the time when the next request would be due at an even rate.
#[derive(Debug, Clone)]
enum Counts {
    One(Arc<AtomicI64>),
    Names(Arc<Cache<String, Arc<AtomicI64>>>),
    Places(Arc<Cache<IpAddr, Arc<AtomicI64>>>),
}

/// Whom a request is counted for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted<'a> {
    pub(crate) client: &'a str,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) address: IpAddr,
}

/// What an answer tells of rates.
#[derive(Debug, Default)]
pub(crate) struct Told {
    standings: Vec<(Cow<'static, str>, Standing)>,
    /// The rate for which the request would have been refused.
    would_limit: Option<(Cow<'static, str>, Standing)>,
}

impl Rates {
    /// The rules of a configuration; scopes are those of `clusters`.
    ///
    /// # Errors
    /// The name of a rule whose scope cannot be read, and why.
    pub fn new(rules: &[RateRule], clusters: &Clusters) -> Result<Self, (String, ScopeError)> {
        let made: Result<Box<[Rule]>, _> = rules.iter().map(|rule| Rule::new(rule, clusters)).collect();
        let rules = made?;
        let of_all = Rules::of(rules.iter().map(|rule| rule.scope.is_none()));
        Ok(Self { rules, of_all })
    }

    /// Goes on from the counts of earlier rules of the same names.
    pub(crate) fn follow(&mut self, earlier: &Self) {
        for rule in &mut self.rules {
            let known = earlier.rules.iter().find(|known| known.name == rule.name && known.per == rule.per);
            if let Some(known) = known {
                rule.counts = known.counts.clone();
            }
        }
    }

    /// Those that every request meets.
    pub(crate) const fn of_all(&self) -> Rules {
        self.of_all
    }

    /// Those whose scope an operation touches.
    pub(crate) fn touched(
        &self,
        cluster: Option<&str>,
        class: Class,
        targets: &Targets,
        hidden: bool,
        catalog: &Catalog,
    ) -> Rules {
        Rules::of(self.rules.iter().map(|rule| {
            rule.scope.as_ref().is_some_and(|scope| scope.is_touched_by(cluster, class, targets, hidden, catalog))
        }))
    }

    pub(crate) fn iter(&self, rules: Rules) -> impl Iterator<Item = &Rule> {
        self.rules.iter().enumerate().filter(move |(number, _)| rules.has(*number)).map(|(_, rule)| rule)
    }
}

impl Rules {
    fn of(met: impl Iterator<Item = bool>) -> Self {
        Self(met.zip(0..u32::BITS).fold(0, |rules, (met, number)| rules | u32::from(met) << number))
    }

    const fn has(self, number: usize) -> bool {
        number < 32 && self.0 >> number & 1 == 1
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    pub(crate) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl Rule {
    fn new(rule: &RateRule, clusters: &Clusters) -> Result<Self, (String, ScopeError)> {
        let scope = rule.scope.as_deref().map(|scope| Scope::parse(scope, clusters)).transpose();
        Ok(Self {
            name: rule.name.as_str().into(),
            scope: scope.map_err(|error| (rule.name.clone(), error))?,
            per: rule.per,
            rate: Rate::new(rule.limit),
            mode: rule.mode,
            counts: match rule.per {
                RatePer::Gateway => Counts::One(Arc::default()),
                RatePer::Client | RatePer::Tenant => Counts::Names(Arc::new(Cache::new(KEPT))),
                RatePer::Address => Counts::Places(Arc::new(Cache::new(KEPT))),
            },
        })
    }

    /// The count of whoever it is; `None` where the rule is not about them.
    fn count_of(&self, who: Counted<'_>) -> Option<Arc<AtomicI64>> {
        match &self.counts {
            Counts::One(count) => Some(Arc::clone(count)),
            Counts::Names(counts) => {
                let name = if self.per == RatePer::Tenant { who.tenant? } else { who.client };
                Some(kept(counts, name))
            }
            Counts::Places(counts) => Some(kept(counts, &place(who.address))),
        }
    }

    /// Where the next request would stand; nothing is counted.
    pub(crate) fn look(&self, who: Counted<'_>, now: UnixTime) -> Option<Standing> {
        Some(self.rate.look(&*self.count_of(who)?, now))
    }

    /// Counts a request. One over the rate counts for nothing.
    pub(crate) fn take(&self, who: Counted<'_>, now: UnixTime) -> Option<Standing> {
        Some(self.rate.take(&*self.count_of(who)?, now))
    }

    /// Why a request over it is refused.
    pub(crate) fn reason(&self) -> String {
        format!("{}; wait as long as `Retry-After` says", self.exceeded())
    }

    /// What happened when one is over it.
    pub(crate) fn exceeded(&self) -> String {
        format!("there are more requests than the rate `{}` permits", self.name)
    }
}

fn kept<K, Q>(counts: &Cache<K, Arc<AtomicI64>>, key: &Q) -> Arc<AtomicI64>
where
    K: Eq + Hash,
    Q: Hash + quick_cache::Equivalent<K> + ToOwned<Owned = K> + ?Sized,
{
    let made: Result<_, std::convert::Infallible> = counts.get_or_insert_with(key, || Ok(Arc::default()));
    let Ok(count) = made;
    count
}

impl Told {
    /// Tells where somebody stands with a rate.
    pub(crate) fn standing(&mut self, rate: impl Into<Cow<'static, str>>, standing: Standing) {
        self.standings.push((rate.into(), standing));
    }

    /// Tells that the request would have been refused for a rate; of several the one with the longest wait.
    pub(crate) fn would_limit(&mut self, rate: impl Into<Cow<'static, str>>, standing: Standing) {
        if self.would_limit.as_ref().is_none_or(|(_, known)| known.wait < standing.wait) {
            self.would_limit = Some((rate.into(), standing));
        }
    }

    /// Adds what another tells; a rate that both tell of stands as it does here.
    pub(crate) fn with(&mut self, other: Self) {
        for (rate, standing) in other.standings {
            if self.standings.iter().all(|(known, _)| *known != rate) {
                self.standings.push((rate, standing));
            }
        }
        self.would_limit = self.would_limit.take().or(other.would_limit);
    }

    /// Appends the fields.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for (rate, standing) in &self.standings {
            standing.write(rate, out);
        }
        if let Some((rate, standing)) = &self.would_limit {
            // Writing to memory does not fail.
            let _ = write!(out, "x-oauth4os-would-limit: \"{rate}\";t={}\r\n", whole_seconds(standing.wait));
        }
    }
}

/// Whether answers tell where a client stands with a rate of this mode, before it is refused.
pub(crate) fn is_told(mode: RateMode, headers: RateHeaders) -> bool {
    mode == RateMode::DryRun || headers == RateHeaders::All
}

#[cfg(test)]
mod tests {
    use oauth4os_config::RateLimit;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn rule(name: &str, per: RatePer, scope: Option<&str>) -> RateRule {
        RateRule {
            name: name.to_owned(),
            per,
            scope: scope.map(str::to_owned),
            limit: RateLimit { requests_per_second: 1, burst: 2 },
            mode: RateMode::Enforce,
        }
    }

    fn rates(rules: &[RateRule]) -> Rates {
        Rates::new(rules, &Clusters::default()).expect("rules")
    }

    fn who<'a>(client: &'a str, tenant: Option<&'a str>, address: &str) -> Counted<'a> {
        Counted { client, tenant, address: address.parse().expect("an address") }
    }

    fn passes(rates: &Rates, who: Counted<'_>) -> usize {
        let rule = rates.iter(rates.of_all()).next().expect("a rule");
        (0..10).filter(|_| rule.take(who, NOW).is_some_and(|standing| standing.passed)).count()
    }

    #[test]
    fn each_is_counted_for_what_the_rule_says() {
        let of = |per| rates(&[rule("a", per, None)]);
        let (ada, bob) = (who("ada", Some("x"), "192.0.2.1"), who("bob", Some("x"), "192.0.2.1"));
        let per_client = of(RatePer::Client);
        assert_eq!((passes(&per_client, ada), passes(&per_client, bob)), (2, 2));
        for shared in [RatePer::Tenant, RatePer::Address, RatePer::Gateway] {
            let shared = of(shared);
            assert_eq!((passes(&shared, ada), passes(&shared, bob)), (2, 0));
        }
        let per_tenant = of(RatePer::Tenant);
        assert_eq!(per_tenant.iter(per_tenant.of_all()).next().unwrap().take(who("eve", None, "::1"), NOW), None);
        let per_address = of(RatePer::Address);
        assert_eq!(passes(&per_address, who("ada", None, "2001:db8::1")), 2);
        assert_eq!(passes(&per_address, who("ada", None, "2001:db8::2")), 0);
        assert_eq!(passes(&per_address, who("ada", None, "::ffff:192.0.2.1")), 2);
        assert_eq!(passes(&per_address, who("ada", None, "192.0.2.1")), 0);
    }

    #[test]
    fn a_look_counts_nothing() {
        let rates = rates(&[rule("a", RatePer::Client, None)]);
        let rule = rates.iter(rates.of_all()).next().unwrap();
        let ada = who("ada", None, "::1");
        assert!((0..5).all(|_| rule.look(ada, NOW).is_some_and(|standing| standing.passed)));
        assert_eq!(passes(&rates, ada), 2);
        assert!(rule.look(ada, NOW).is_some_and(|standing| !standing.passed));
    }

    #[test]
    fn rules_are_met_by_what_is_touched() {
        let rates = rates(&[
            rule("all", RatePer::Client, None),
            rule("logs", RatePer::Client, Some("search:logs-*")),
            rule("orders", RatePer::Client, Some("search:orders")),
        ]);
        let touched = |name: &str| {
            let targets = Targets::Indices(vec![name.to_owned()]);
            let rules = rates.touched(None, Class::Search, &targets, false, Catalog::none());
            rates.iter(rules).map(|rule| rule.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(touched("logs-a"), ["logs"]);
        assert_eq!(touched("*"), ["logs", "orders"]);
        assert_eq!(touched("x"), Vec::<String>::new());
        assert_eq!(rates.iter(rates.of_all()).count(), 1);
        let both = rates.of_all().and(Rules::of([false, true].into_iter()));
        assert_eq!(rates.iter(both.without(rates.of_all())).map(|rule| &*rule.name).collect::<Vec<_>>(), ["logs"]);
    }

    #[test]
    fn a_reload_gives_nobody_a_burst() {
        let earlier = rates(&[rule("a", RatePer::Client, None), rule("b", RatePer::Gateway, None)]);
        let ada = who("ada", None, "::1");
        assert_eq!(passes(&earlier, ada), 2);
        let mut later = rates(&[rule("b", RatePer::Client, None), rule("a", RatePer::Client, None)]);
        later.follow(&earlier);
        let passed: Vec<bool> =
            later.iter(later.of_all()).map(|rule| rule.take(ada, NOW).is_some_and(|it| it.passed)).collect();
        // The rule `b` counts for another now.
        assert_eq!(passed, [true, false]);
    }

    #[test]
    fn a_scope_that_cannot_be_read_is_named_with_its_rule() {
        let error = Rates::new(&[rule("a", RatePer::Client, Some("logs-*"))], &Clusters::default()).unwrap_err();
        assert_eq!(error.0, "a");
    }

    #[test]
    fn an_answer_tells_of_each_rate_once() {
        let standing = |due| Rate::new(RateLimit { requests_per_second: 1, burst: 2 }).standing(due, 0, false);
        let mut told = Told::default();
        told.standing("client", standing(1_000_000));
        told.would_limit("searches", standing(2_000_000));
        let mut first = Told::default();
        first.standing("client", standing(2_000_000));
        first.with(told);
        let mut out = Vec::new();
        first.write(&mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "ratelimit-policy: \"client\";q=2;w=2\r\nratelimit: \"client\";r=0;t=1\r\nx-oauth4os-would-limit: \"searches\";t=1\r\n"
        );
    }
}
