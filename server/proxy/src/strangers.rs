//! How often a place may come without a credential that is valid.
//!
//! Refusals for want of one are counted for each address (an IPv6 network of 64 bits is one place). Over the limit, tokens
//! from there that are not known yet are not looked at, so that guessing is slow and costs the gateway little. Known
//! tokens go on: who shares an address with a guesser keeps working.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use oauth4os_tokens::clock::UnixTime;

use crate::limit::{Rate, Standing, micros};

/// Places in one generation; two are kept.
const CAPACITY: usize = 16_384;

/// The counts of all places: at most some megabytes, whoever comes from wherever.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Generations>);

/// Entries in use move on to the young generation; when that is full it becomes the old one, and the old one is
/// forgotten. To be forgotten a place has to be followed by a whole generation of others.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<IpAddr, i64>,
    old: HashMap<IpAddr, i64>,
}

impl Strangers {
    /// Where the place stands when it is over the limit; nothing is counted.
    pub(crate) fn over(&self, address: IpAddr, rate: Rate, now: UnixTime) -> Option<Standing> {
        let (now, place) = (micros(now), place(address));
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = places.get(place)?;
        if rate.count(due, now).is_ok() {
            return None;
        }
        // Counted while the clock was ahead: from now on it is as after a whole burst, and not until that time comes.
        if due > rate.latest(now) {
            places.put(place, rate.latest(now));
        }
        Some(rate.standing(due, now, false))
    }

    /// Counts a refusal.
    pub(crate) fn refused(&self, address: IpAddr, rate: Rate, now: UnixTime) -> Standing {
        let (now, place) = (micros(now), place(address));
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = places.get(place).unwrap_or(now).min(rate.latest(now));
        let (next, passed) = rate.count(due, now).map_or((due, false), |next| (next, true));
        places.put(place, next);
        rate.standing(next, now, passed)
    }
}

impl Generations {
    fn get(&self, place: IpAddr) -> Option<i64> {
        self.young.get(&place).or_else(|| self.old.get(&place)).copied()
    }

    fn put(&mut self, place: IpAddr, due: i64) {
        if self.young.len() >= CAPACITY && !self.young.contains_key(&place) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(place, due);
    }
}

/// Who has one address of an IPv6 network has all 2^64 of it.
pub(crate) fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use oauth4os_config::RateLimit;
    use proptest::prelude::*;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn rate(requests_per_second: u32, burst: u32) -> Rate {
        Rate::new(RateLimit { requests_per_second, burst })
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn exhaust(strangers: &Strangers, from: IpAddr) {
        for _ in 0..5 {
            assert_eq!(strangers.over(from, rate(1, 5), NOW), None);
            assert!(strangers.refused(from, rate(1, 5), NOW).passed);
        }
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (strangers, here) = (Strangers::default(), address("192.0.2.1"));
        exhaust(&strangers, here);
        let over = strangers.over(here, rate(1, 5), NOW).unwrap();
        assert_eq!((over.remaining, over.wait), (0, Duration::from_secs(1)));
        // What is refused over the limit makes the wait no longer.
        assert!(!strangers.refused(here, rate(1, 5), NOW).passed);
        let later = NOW + Duration::from_secs(1);
        assert_eq!(strangers.over(here, rate(1, 5), later), None);
        assert!(strangers.refused(here, rate(1, 5), later).passed);
        assert!(strangers.over(here, rate(1, 5), later).is_some());
    }

    #[test]
    fn a_network_of_ipv6_is_one_place_and_mapped_ipv4_is_ipv4() {
        let strangers = Strangers::default();
        exhaust(&strangers, address("2001:db8:1:2::1"));
        assert!(strangers.over(address("2001:db8:1:2:ffff::9"), rate(1, 5), NOW).is_some());
        assert!(strangers.over(address("2001:db8:1:3::1"), rate(1, 5), NOW).is_none());
        exhaust(&strangers, address("192.0.2.1"));
        assert!(strangers.over(address("::ffff:192.0.2.1"), rate(1, 5), NOW).is_some());
        assert!(strangers.over(address("192.0.2.2"), rate(1, 5), NOW).is_none());
    }

    #[test]
    fn memory_is_bounded_and_recent_places_outlive_a_flood() {
        let (strangers, here) = (Strangers::default(), address("192.0.2.1"));
        for number in 0..5 * CAPACITY {
            let from = IpAddr::V6(Ipv6Addr::from_bits(u128::try_from(number).unwrap() << 64));
            strangers.refused(from, rate(1, 5), NOW);
            if number == 4 * CAPACITY {
                exhaust(&strangers, here);
            }
        }
        let places = strangers.0.lock().unwrap();
        assert!(places.young.len() <= CAPACITY && places.old.len() <= CAPACITY);
        drop(places);
        assert!(strangers.over(here, rate(1, 5), NOW).is_some());
    }

    proptest! {
        /// However a place comes and the clock moves: no more than a burst and the rate is looked at while the clock goes
        /// forward, and after a whole burst's time it is looked at again wherever the clock was set.
        #[test]
        fn guesses_are_bounded(steps in prop::collection::vec((0..2_000_u64, 1..30_usize), 1..30), set_back in 0..1_000_000_i64) {
            let (strangers, here, rate) = (Strangers::default(), address("192.0.2.1"), rate(10, 20));
            let (mut now, mut looked_at) = (NOW, 0_u64);
            for (millis, tries) in steps {
                now = now + Duration::from_millis(millis);
                for _ in 0..tries {
                    if strangers.over(here, rate, now).is_none() {
                        looked_at += 1;
                        prop_assert!(strangers.refused(here, rate, now).passed);
                    }
                }
                prop_assert!(looked_at <= 20 + u64::try_from(now.since(NOW).as_millis()).unwrap() / 100);
            }
            let earlier = UnixTime::from_secs(set_back);
            // Whoever only asks, as those do who are over the limit, changes that.
            let _ = strangers.over(here, rate, earlier);
            prop_assert!(strangers.over(here, rate, earlier + Duration::from_secs(2)).is_none());
        }
    }
}
