//! How many requests a client may send: the generic cell rate algorithm, one atomic number for each client.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use oauth4os_config::{RateHeaders, RateLimit, RateMode};
use oauth4os_tokens::clock::UnixTime;

/// How often something may happen. All times are in microseconds; counts are kept as the time when the next one would be
/// due at an even rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Between two at the permitted rate.
    interval: i64,
    /// How many at once.
    burst: u32,
}

/// Where somebody stands with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether this one was within the limit.
    pub(crate) passed: bool,
    /// How many more may follow at once.
    pub(crate) remaining: u32,
    /// After this one more may follow than now, if none does meanwhile.
    pub(crate) wait: Duration,
    rate: Rate,
}

impl Rate {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { interval: (1_000_000 / i64::from(limit.requests_per_second)).max(1), burst: limit.burst }
    }

    /// The time a whole burst takes to be permitted again.
    const fn refill(self) -> i64 {
        self.interval.saturating_mul(self.burst as i64)
    }

    /// The latest time a count may show at `now`: a clock that was set back must not lock anybody out for longer than a
    /// whole burst takes to refill.
    pub(crate) const fn latest(self, now: i64) -> i64 {
        now.saturating_add(self.refill())
    }

    /// Counts one more. `Ok` is the new count; `Err` says that it would be too many, and the count stays.
    pub(crate) fn count(self, due: i64, now: i64) -> Result<i64, ()> {
        let next = due.clamp(now, self.latest(now)).saturating_add(self.interval);
        if next <= self.latest(now) { Ok(next) } else { Err(()) }
    }

    /// Counts one more on `due`, which many may share. One over the limit counts for nothing.
    pub(crate) fn take(self, due: &AtomicI64, now: UnixTime) -> Standing {
        let now = micros(now);
        let latest = self.latest(now);
        let mut count = due.fetch_min(latest, Ordering::Relaxed).min(latest);
        loop {
            let Ok(next) = self.count(count, now) else {
                return self.standing(count, now, false);
            };
            match due.compare_exchange_weak(count, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return self.standing(next, now, true),
                Err(current) => count = current,
            }
        }
    }

    /// Where one more would stand; nothing is counted.
    pub(crate) fn look(self, due: &AtomicI64, now: UnixTime) -> Standing {
        let (count, now) = (due.load(Ordering::Relaxed), micros(now));
        self.standing(count, now, self.count(count, now).is_ok())
    }

    /// Where somebody with this count stands.
    pub(crate) fn standing(self, due: i64, now: i64, passed: bool) -> Standing {
        let free = self.latest(now) - due.clamp(now, self.latest(now));
        let wait = self.interval - free % self.interval;
        Standing {
            passed,
            remaining: u32::try_from(free / self.interval).unwrap_or(self.burst),
            wait: Duration::from_micros(u64::try_from(wait).unwrap_or(0)),
            rate: self,
        }
    }
}

/// The time as limits count it.
pub(crate) const fn micros(time: UnixTime) -> i64 {
    time.as_millis().saturating_mul(1_000)
}

impl Standing {
    /// Appends the fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11). The window is the
    /// time in which a whole burst is permitted again, so that the quota is the burst.
    pub(crate) fn write(&self, policy: &str, out: &mut Vec<u8>) {
        let seconds = |micros: i64| micros.saturating_add(999_999) / 1_000_000;
        let (quota, window) = (self.rate.burst, seconds(self.rate.refill()).max(1));
        let (remaining, reset) = (self.remaining, whole_seconds(self.wait));
        // Writing to memory does not fail.
        let _ = write!(
            out,
            "ratelimit-policy: \"{policy}\";q={quota};w={window}\r\nratelimit: \"{policy}\";r={remaining};t={reset}\r\n"
        );
    }
}

/// A time in whole seconds, rounded up: who waits as long is not too early.
pub(crate) const fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + if time.subsec_nanos() > 0 { 1 } else { 0 }
}

/// A client's limit, shared by all workers.
#[derive(Debug)]
pub(crate) struct Limiter {
    rate: Rate,
    /// What becomes of a request over the limit.
    pub(crate) mode: RateMode,
    /// Which answers tell of the limit.
    pub(crate) headers: RateHeaders,
    /// When the next request would be due at an even rate, in microseconds since 1970.
    due: Arc<AtomicI64>,
}

impl Limiter {
    pub(crate) fn new(limit: RateLimit, mode: RateMode, headers: RateHeaders) -> Self {
        Self { rate: Rate::new(limit), mode, headers, due: Arc::default() }
    }

    /// Shares the count with an earlier limit of the same client.
    pub(crate) fn go_on_from(&mut self, earlier: &Self) {
        self.due = Arc::clone(&earlier.due);
    }

    /// Counts a request. One over the limit counts for nothing.
    pub(crate) fn check(&self, now: UnixTime) -> Standing {
        self.rate.take(&self.due, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: RateLimit = RateLimit { requests_per_second: 10, burst: 5 };

    fn limiter(limit: RateLimit) -> Limiter {
        Limiter::new(limit, RateMode::Enforce, RateHeaders::Refusals)
    }

    fn passed(limiter: &Limiter, now: UnixTime, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.check(now).passed).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = super::tests::limiter(LIMIT);
        let start = UnixTime::from_secs(1_000);
        assert_eq!(passed(&limiter, start, 100), 5);
        let over = limiter.check(start);
        assert_eq!((over.passed, over.remaining, over.wait), (false, 0, Duration::from_millis(100)));
        assert_eq!(passed(&limiter, start + Duration::from_millis(200), 100), 2);
        assert_eq!(passed(&limiter, start + Duration::from_secs(60), 100), 5);
    }

    #[test]
    fn a_clock_set_back_does_not_lock_a_client_out() {
        let limiter = super::tests::limiter(LIMIT);
        assert_eq!(passed(&limiter, UnixTime::from_secs(1_000_000), 100), 5);
        let earlier = UnixTime::from_secs(1_000);
        let refused = limiter.check(earlier);
        assert!(!refused.passed && refused.wait <= Duration::from_millis(500));
        assert_eq!(passed(&limiter, earlier + Duration::from_millis(500), 1), 1);
    }

    #[test]
    fn another_limit_goes_on_from_the_same_count() {
        let earlier = limiter(LIMIT);
        let now = UnixTime::from_secs(1_000);
        assert_eq!(passed(&earlier, now, 3), 3);
        let mut same = limiter(LIMIT);
        same.go_on_from(&earlier);
        assert_eq!(passed(&same, now, 100), 2);
        assert_eq!(passed(&earlier, now, 100), 0);
        // A client that was let wait for an hour does not wait so long under a wider limit.
        let slow = limiter(RateLimit { requests_per_second: 1, burst: 3_600 });
        assert_eq!(passed(&slow, now, 5_000), 3_600);
        let mut wider = limiter(LIMIT);
        wider.go_on_from(&slow);
        assert_eq!(passed(&wider, now, 100), 0);
        assert_eq!(passed(&wider, now + Duration::from_millis(500), 100), 5);
    }

    #[test]
    fn workers_share_one_limit() {
        let limiter = super::tests::limiter(RateLimit { requests_per_second: 1, burst: 1_000 });
        let now = UnixTime::from_secs(1_000);
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| passed(&limiter, now, 500))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 1_000);
    }

    #[test]
    fn fields_are_as_the_draft_has_them() {
        let limiter = super::tests::limiter(RateLimit { requests_per_second: 3, burst: 10 });
        let mut out = Vec::new();
        limiter.check(UnixTime::from_secs(1_000)).write("client", &mut out);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "ratelimit-policy: \"client\";q=10;w=4\r\nratelimit: \"client\";r=9;t=1\r\n");
    }

    proptest! {
        /// Whatever is sent when, never more passes than a burst and what the time allows; who is told that so many may
        /// follow at once is right; and who waits as long as told gets through.
        #[test]
        fn never_too_many_and_never_a_wrong_word(
            requests_per_second in 1..2_000_u32,
            burst in 1..500_u32,
            steps in prop::collection::vec((0..3_000_u64, 1..50_usize), 1..40),
        ) {
            let limiter = super::tests::limiter(RateLimit { requests_per_second, burst });
            let start = UnixTime::from_secs(1_000_000);
            let (mut now, mut total) = (start, 0_u64);
            for (millis, tries) in steps {
                now = now + Duration::from_millis(millis);
                let mut promised = None;
                for _ in 0..tries {
                    let standing = limiter.check(now);
                    if let Some(promised) = promised {
                        prop_assert_eq!(standing.passed, promised > 0);
                    }
                    prop_assert!(standing.passed || standing.remaining == 0);
                    prop_assert!(standing.remaining < burst || !standing.passed);
                    promised = Some(standing.remaining);
                    total += u64::from(standing.passed);
                }
                let interval = 1_000_000 / u64::from(requests_per_second);
                let elapsed = u64::try_from(now.since(start).as_micros()).unwrap();
                prop_assert!(total <= u64::from(burst) + elapsed / interval, "{} passed in {} us", total, elapsed);
            }
            let over = std::iter::repeat_with(|| limiter.check(now)).find(|standing| !standing.passed).unwrap();
            // The clock shows whole milliseconds.
            let wait = Duration::from_millis(u64::try_from(over.wait.as_micros().div_ceil(1_000)).unwrap());
            prop_assert!(limiter.check(now + wait).passed);
        }

        /// A clock that jumps about locks nobody out for longer than a whole burst takes.
        #[test]
        fn no_jump_of_the_clock_locks_anybody_out(jumps in prop::collection::vec(0..4_000_000_000_i64, 1..20)) {
            let limiter = super::tests::limiter(LIMIT);
            for jump in jumps {
                let now = UnixTime::from_millis(jump * 1_000);
                limiter.check(now);
                prop_assert!(limiter.check(now + Duration::from_millis(500)).passed);
            }
        }
    }
}
