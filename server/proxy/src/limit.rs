//! How many requests a client may send: the generic cell rate algorithm, one atomic number for each client.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use oauth4os_config::RateLimit;
use oauth4os_tokens::clock::UnixTime;

/// A client's limit, shared by all workers.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Microseconds between two requests at the permitted rate.
    interval: i64,
    /// How far ahead of an even rate a client may be, in microseconds.
    tolerance: i64,
    /// When the next request would be due at an even rate, in microseconds since 1970.
    due: Arc<AtomicI64>,
}

/// Over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exceeded {
    /// After this a request will be let through again, if none is sent meanwhile.
    pub(crate) retry_after: Duration,
}

impl Limiter {
    pub(crate) fn new(limit: RateLimit) -> Self {
        let interval = (1_000_000 / i64::from(limit.requests_per_second)).max(1);
        Self { interval, tolerance: interval.saturating_mul(i64::from(limit.burst) - 1), due: Arc::default() }
    }

    /// Shares the count with an earlier limit of the same client.
    pub(crate) fn go_on_from(&mut self, earlier: &Self) {
        self.due = Arc::clone(&earlier.due);
    }

    /// Counts a request, or says when the next one will be let through. A refused request counts for nothing.
    pub(crate) fn check(&self, now: UnixTime) -> Result<(), Exceeded> {
        let now = now.as_millis().saturating_mul(1_000);
        // A clock that was set back must not lock anybody out for longer than a whole burst takes to refill.
        let latest = now.saturating_add(self.tolerance + self.interval);
        let mut due = self.due.fetch_min(latest, Ordering::Relaxed).min(latest);
        loop {
            let ahead = due.max(now);
            if ahead - now > self.tolerance {
                let wait = ahead - now - self.tolerance;
                return Err(Exceeded { retry_after: Duration::from_micros(u64::try_from(wait).unwrap_or(0)) });
            }
            match self.due.compare_exchange_weak(due, ahead + self.interval, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(current) => due = current,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit { requests_per_second: 10, burst: 5 };

    fn passed(limiter: &Limiter, now: UnixTime, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.check(now).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let limiter = Limiter::new(LIMIT);
        let start = UnixTime::from_secs(1_000);
        assert_eq!(passed(&limiter, start, 100), 5);
        assert_eq!(limiter.check(start), Err(Exceeded { retry_after: Duration::from_millis(100) }));
        assert_eq!(passed(&limiter, start + Duration::from_millis(200), 100), 2);
        assert_eq!(passed(&limiter, start + Duration::from_secs(60), 100), 5);
    }

    #[test]
    fn a_clock_set_back_does_not_lock_a_client_out() {
        let limiter = Limiter::new(LIMIT);
        assert_eq!(passed(&limiter, UnixTime::from_secs(1_000_000), 100), 5);
        let earlier = UnixTime::from_secs(1_000);
        let refused = limiter.check(earlier).unwrap_err();
        assert!(refused.retry_after <= Duration::from_millis(500));
        assert_eq!(passed(&limiter, earlier + Duration::from_millis(500), 1), 1);
    }

    #[test]
    fn another_limit_goes_on_from_the_same_count() {
        let earlier = Limiter::new(LIMIT);
        let now = UnixTime::from_secs(1_000);
        assert_eq!(passed(&earlier, now, 3), 3);
        let mut same = Limiter::new(LIMIT);
        same.go_on_from(&earlier);
        assert_eq!(passed(&same, now, 100), 2);
        assert_eq!(passed(&earlier, now, 100), 0);
        // A client that was let wait for an hour does not wait so long under a wider limit.
        let slow = Limiter::new(RateLimit { requests_per_second: 1, burst: 3_600 });
        assert_eq!(passed(&slow, now, 5_000), 3_600);
        let mut wider = Limiter::new(LIMIT);
        wider.go_on_from(&slow);
        assert_eq!(passed(&wider, now + Duration::from_millis(500), 100), 5);
    }

    #[test]
    fn workers_share_one_limit() {
        let limiter = Limiter::new(RateLimit { requests_per_second: 1, burst: 1_000 });
        let now = UnixTime::from_secs(1_000);
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| passed(&limiter, now, 500))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 1_000);
    }
}
