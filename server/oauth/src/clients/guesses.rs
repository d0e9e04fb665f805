//! How often a secret may be guessed.
//!
//! Wrong secrets are counted for each pair of client id and address, so that somebody who is wrong on purpose shuts out
//! only themselves. Right ones cost nothing. A pair may be wrong [`BURST`] times at once, then once each [`INTERVAL`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::sha256;

/// Wrong secrets at once.
pub(super) const BURST: u32 = 10;
/// The time after which one more may be wrong.
pub(super) const INTERVAL: Duration = Duration::from_secs(6);
/// Pairs in one generation; two are kept.
const CAPACITY: usize = 8_192;

/// The limit on wrong secrets. Takes at most some megabytes, whoever asks for whatever.
#[derive(Debug, Default)]
pub(crate) struct GuessLimit(Mutex<Generations>);

/// Entries in use move on to the young generation; when that is full it becomes the old one, and the old one is
/// forgotten. To forget its own entry a guesser has to fill a generation, which takes more requests than it saves.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Pair, UnixTime>,
    old: HashMap<Pair, UnixTime>,
}

/// The id is hashed: it is the caller's, of any length.
type Pair = ([u8; 32], IpAddr);

impl GuessLimit {
    /// How long the pair has to wait before its next secret is looked at; none when it need not.
    pub(crate) fn wait(&self, client_id: &str, address: Option<IpAddr>, now: UnixTime) -> Option<Duration> {
        let pair = pair(client_id, address);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = entries.get(&pair)?;
        let due = bounded(kept, now);
        if due < kept {
            entries.put(pair, due);
        }
        let tolerated = now + INTERVAL * (BURST - 1);
        let wait = due.since(tolerated);
        (!wait.is_zero()).then_some(wait)
    }

    /// Counts a wrong secret.
    pub(crate) fn wrong(&self, client_id: &str, address: Option<IpAddr>, now: UnixTime) {
        let pair = pair(client_id, address);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = entries.get(&pair).map_or(now, |due| bounded(due, now));
        entries.put(pair, due + INTERVAL);
    }
}

/// The generic cell rate algorithm keeps one time for each pair: when it would be even again. A clock that was set back
/// must not lock anybody out for longer than a full burst.
fn bounded(due: UnixTime, now: UnixTime) -> UnixTime {
    due.clamp(now, now + INTERVAL * BURST)
}

impl Generations {
    fn get(&self, pair: &Pair) -> Option<UnixTime> {
        self.young.get(pair).or_else(|| self.old.get(pair)).copied()
    }

    fn put(&mut self, pair: Pair, due: UnixTime) {
        if self.young.len() >= CAPACITY && !self.young.contains_key(&pair) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(pair, due);
    }
}

/// Who has one address of an IPv6 network has all 2^64 of it. A request without address counts as from one place.
fn pair(client_id: &str, address: Option<IpAddr>) -> Pair {
    let place = match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        Some(address) => address,
        None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    };
    (sha256(client_id.as_bytes()), place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn exhaust(limit: &GuessLimit, id: &str, from: Option<IpAddr>) {
        for _ in 0..BURST {
            assert_eq!(limit.wait(id, from, NOW), None);
            limit.wrong(id, from, NOW);
        }
    }

    #[test]
    fn a_burst_then_one_each_interval() {
        let (limit, here) = (GuessLimit::default(), address("192.0.2.1"));
        exhaust(&limit, "x", here);
        assert_eq!(limit.wait("x", here, NOW), Some(INTERVAL));
        let later = NOW + INTERVAL;
        assert_eq!(limit.wait("x", here, later), None);
        limit.wrong("x", here, later);
        assert_eq!(limit.wait("x", here, later), Some(INTERVAL));
        assert_eq!(limit.wait("x", here, NOW + INTERVAL * (BURST + 1)), None);
    }

    #[test]
    fn neither_another_address_nor_another_client_is_shut_out() {
        let limit = GuessLimit::default();
        exhaust(&limit, "x", address("192.0.2.1"));
        assert_eq!(limit.wait("x", address("192.0.2.2"), NOW), None);
        assert_eq!(limit.wait("y", address("192.0.2.1"), NOW), None);
    }

    #[test]
    fn an_ipv6_network_is_one_place_and_mapped_ipv4_is_ipv4() {
        let limit = GuessLimit::default();
        exhaust(&limit, "x", address("2001:db8:1:2::1"));
        assert!(limit.wait("x", address("2001:db8:1:2:ffff::9"), NOW).is_some());
        assert!(limit.wait("x", address("2001:db8:1:3::1"), NOW).is_none());
        exhaust(&limit, "x", address("192.0.2.1"));
        assert!(limit.wait("x", address("::ffff:192.0.2.1"), NOW).is_some());
        assert!(limit.wait("x", address("::ffff:192.0.2.2"), NOW).is_none());
    }

    #[test]
    fn a_clock_set_back_shuts_nobody_out_for_long() {
        let (limit, here) = (GuessLimit::default(), address("192.0.2.1"));
        exhaust(&limit, "x", here);
        let earlier = UnixTime::from_secs(10);
        assert!(limit.wait("x", here, earlier).unwrap() <= INTERVAL * BURST);
        assert_eq!(limit.wait("x", here, earlier + INTERVAL * BURST), None);
    }

    #[test]
    fn memory_is_bounded_and_recent_entries_outlive_a_flood() {
        let (limit, here) = (GuessLimit::default(), address("192.0.2.1"));
        for number in 0..5 * CAPACITY {
            limit.wrong(&number.to_string(), here, NOW);
            if number == 4 * CAPACITY {
                exhaust(&limit, "x", here);
            }
        }
        let entries = limit.0.lock().unwrap();
        assert!(entries.young.len() <= CAPACITY && entries.old.len() <= CAPACITY);
        drop(entries);
        assert!(limit.wait("x", here, NOW).is_some());
    }
}
