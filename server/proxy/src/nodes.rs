//! The nodes of the engine: which of them a request goes to, and which are left alone for a while.
//!
//! A request goes to the less busy of two nodes taken at random. A node to which three connections in a row could not be
//! made, or that broke off or never gave three answers in a row, is left out for a time that grows with each time it
//! happens; then a connection is made to see whether it is back, and no request of a client is risked for that. One that
//! only gave broken answers is still asked when there is no other. When none can be connected to, requests are refused at
//! once, until one can be again.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use oauth4os_telemetry::metrics::{Ejection, Metrics};

use crate::pool::Pool;

/// Failures in a row after which a node is left out.
const FAILURES: u32 = 3;

/// The shortest time a node is left out; each time it happens again within `REMEMBERED`, it is twice as long.
const SHORTEST: Duration = Duration::from_millis(500);
const REMEMBERED: Duration = Duration::from_secs(60);

/// The longest time: one that cannot be connected to is looked at more often, since that costs next to nothing.
const LONGEST_UNCONNECTED: Duration = Duration::from_secs(5);
const LONGEST_BROKEN: Duration = Duration::from_secs(30);

/// How a node stands: in use, left out for its answers, left out since it cannot be connected to.
const IN: u8 = 0;
const BROKEN: u8 = 1;
const UNCONNECTED: u8 = 2;

/// What all workers know of the nodes.
#[derive(Debug)]
pub(crate) struct Health {
    nodes: Vec<NodeHealth>,
    /// What times are counted from; no clock that can be set.
    epoch: Instant,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct NodeHealth {
    /// In a row.
    failures: AtomicU32,
    /// [`IN`], [`BROKEN`] or [`UNCONNECTED`].
    standing: AtomicU8,
    /// How often it was left out of late.
    times: AtomicU32,
    /// When it came back last, and when it is looked at next; milliseconds.
    back: AtomicU64,
    next_look: AtomicU64,
}

/// The nodes as one worker uses them.
pub(crate) struct Nodes {
    nodes: Vec<Rc<Node>>,
    health: Arc<Health>,
    random: Cell<u64>,
}

/// A node: connections to it, and the requests of this worker that are under way there.
pub(crate) struct Node {
    pub(crate) pool: Pool,
    number: usize,
    outstanding: Cell<usize>,
    health: Arc<Health>,
}

/// A request's place at a node.
pub(crate) struct Place(Rc<Node>);

/// The nodes a request has been to.
#[derive(Debug, Default)]
pub(crate) struct Tried(u64);

/// The most nodes there can be.
pub(crate) const MAX_NODES: usize = u64::BITS as usize;

impl Health {
    /// So many nodes, about which nothing bad is known.
    pub(crate) fn new(count: usize, metrics: Arc<Metrics>) -> Self {
        metrics.upstream_nodes.inc_by(i64::try_from(count).unwrap_or(i64::MAX));
        Self { nodes: (0..count).map(|_| NodeHealth::default()).collect(), epoch: Instant::now(), metrics }
    }

    fn standing(&self, number: usize) -> u8 {
        self.nodes.get(number).map_or(UNCONNECTED, |node| node.standing.load(Ordering::Relaxed))
    }

    /// How long until a node is looked at that may be back then.
    pub(crate) fn next_look(&self) -> Duration {
        let next = self.nodes.iter().map(|node| node.next_look.load(Ordering::Relaxed)).min().unwrap_or_default();
        Duration::from_millis(next.saturating_sub(self.now()))
    }

    /// Leaves a node out, if that is due; for how long at first.
    fn leave_out(&self, number: usize, reason: Ejection) -> Option<Duration> {
        let node = self.nodes.get(number)?;
        if node.failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES {
            return None;
        }
        let is_last = (0..self.nodes.len()).all(|other| other == number || self.standing(other) != IN);
        let standing = match reason {
            Ejection::Broken if is_last => return None,
            Ejection::Broken => BROKEN,
            Ejection::Connect => UNCONNECTED,
        };
        if node.standing.fetch_max(standing, Ordering::Relaxed) != IN {
            return None;
        }
        let times = node.times.load(Ordering::Relaxed);
        let is_again = times > 0 && self.now() < node.back.load(Ordering::Relaxed) + millis(REMEMBERED);
        let times = if is_again { times } else { 0 };
        node.times.store(times + 1, Ordering::Relaxed);
        self.metrics.upstream_nodes_out.inc();
        self.metrics.node_left_out(reason);
        let time = grown(SHORTEST, times, longest(reason));
        self.look_in(number, time);
        Some(time)
    }

    fn look_in(&self, number: usize, time: Duration) {
        if let Some(node) = self.nodes.get(number) {
            node.next_look.store(self.now() + millis(time), Ordering::Relaxed);
        }
    }

    /// Takes a node back. The next failure leaves it out again.
    fn take_back(&self, number: usize) {
        if let Some(node) = self.nodes.get(number) {
            node.failures.store(FAILURES - 1, Ordering::Relaxed);
            node.back.store(self.now(), Ordering::Relaxed);
            node.standing.store(IN, Ordering::Relaxed);
            self.metrics.upstream_nodes_out.dec();
        }
    }

    fn now(&self) -> u64 {
        millis(self.epoch.elapsed())
    }
}

impl Nodes {
    /// The nodes behind these pools, in the order of `health`.
    pub(crate) fn new(pools: impl IntoIterator<Item = Pool>, health: &Arc<Health>) -> Self {
        let nodes = pools.into_iter().enumerate().map(|(number, pool)| {
            Rc::new(Node { pool, number, outstanding: Cell::new(0), health: Arc::clone(health) })
        });
        // Which node is asked is no secret; that workers do not all ask the same one is enough.
        Self { nodes: nodes.collect(), health: Arc::clone(health), random: Cell::new(RandomState::new().hash_one(0)) }
    }

    /// A place for a request at a node it has not been to, if one can be had.
    pub(crate) fn place(&self, tried: &mut Tried) -> Option<Place> {
        let node = match self.nodes.as_slice() {
            [only] => Some(only).filter(|only| !tried.has(0) && self.health.standing(only.number) != UNCONNECTED)?,
            _ => self.pick(tried, IN).or_else(|| self.pick(tried, BROKEN))?,
        };
        tried.add(node.number);
        node.outstanding.set(node.outstanding.get() + 1);
        Some(Place(Rc::clone(node)))
    }

    /// The less busy of two nodes of this standing.
    fn pick(&self, tried: &Tried, standing: u8) -> Option<&Rc<Node>> {
        let may = |node: &&Rc<Node>| !tried.has(node.number) && self.health.standing(node.number) == standing;
        let count = self.nodes.iter().filter(may).count();
        let first = self.random_below(count)?;
        // Another one than the first, if there is another.
        let second = self.random_below(count - 1).map_or(first, |at| (first + 1 + at) % count);
        let nth = |at: usize| self.nodes.iter().filter(may).nth(at);
        let (first, second) = (nth(first)?, nth(second)?);
        Some(if second.outstanding.get() < first.outstanding.get() { second } else { first })
    }

    /// How long until a node is looked at that may be back then.
    pub(crate) fn next_look(&self) -> Duration {
        self.health.next_look()
    }

    /// Closes connections that have waited too long.
    pub(crate) fn sweep(&self) {
        self.nodes.iter().for_each(|node| node.pool.sweep());
    }

    fn random_below(&self, count: usize) -> Option<usize> {
        // SplitMix64.
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).ok()?.checked_rem(count)
    }
}

impl Place {
    /// An answer has begun.
    pub(crate) fn succeeded(&self) {
        if let Some(health) = self.0.health.nodes.get(self.0.number)
            && health.failures.load(Ordering::Relaxed) > 0
        {
            health.failures.store(0, Ordering::Relaxed);
        }
    }

    /// The node could not be connected to, or gave no usable answer.
    pub(crate) fn failed(&self, reason: Ejection) {
        let node = &self.0;
        if let Some(time) = node.health.leave_out(node.number, reason) {
            tracing::warn!(
                node = node.pool.authority(),
                reason = reason.name(),
                "a node of the engine fails again and again and is left out for a while"
            );
            tokio::task::spawn_local(Rc::clone(node).come_back(time, longest(reason)));
        }
    }
}

impl std::ops::Deref for Place {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.outstanding.set(self.0.outstanding.get() - 1);
    }
}

impl Node {
    /// Looks at a node that is left out until it can be connected to, and takes it back.
    async fn come_back(self: Rc<Self>, mut time: Duration, longest: Duration) {
        loop {
            tokio::time::sleep(time).await;
            match self.pool.dial().await {
                Ok(connection) => {
                    // The first request finds it waiting.
                    self.pool.put(connection);
                    self.health.take_back(self.number);
                    tracing::info!(node = self.pool.authority(), "a node of the engine takes requests again");
                    return;
                }
                Err(error) => {
                    tracing::debug!(node = self.pool.authority(), %error, "a node of the engine is not back");
                    time = grown(time, 1, longest);
                    self.health.look_in(self.number, time);
                }
            }
        }
    }
}

impl Tried {
    /// This one.
    pub(crate) fn of(place: &Place) -> Self {
        let mut tried = Self::default();
        tried.add(place.0.number);
        tried
    }

    const fn has(&self, number: usize) -> bool {
        number < MAX_NODES && self.0 & (1 << number) != 0
    }

    const fn add(&mut self, number: usize) {
        if number < MAX_NODES {
            self.0 |= 1 << number;
        }
    }
}

const fn longest(reason: Ejection) -> Duration {
    match reason {
        Ejection::Connect => LONGEST_UNCONNECTED,
        Ejection::Broken => LONGEST_BROKEN,
    }
}

/// Doubled so often, but no longer than this.
fn grown(time: Duration, times: u32, longest: Duration) -> Duration {
    time.saturating_mul(2_u32.saturating_pow(times)).min(longest)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use oauth4os_config::{ConnectionPool, Origin};
    use tokio::task::LocalSet;

    use super::*;
    use crate::transport::Dialer;

    fn nodes(ports: &[u16]) -> Nodes {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let tls = Arc::new(tls);
        let pools = ports.iter().map(|port| {
            let authority = format!("127.0.0.1:{port}");
            let origin = Origin { tls: false, host: "127.0.0.1".to_owned(), port: *port, authority };
            let dialer = Dialer::new(origin, Arc::clone(&tls)).unwrap();
            Pool::new("the engine", dialer, ConnectionPool::default(), Duration::from_secs(1))
        });
        Nodes::new(pools, &Arc::new(Health::new(ports.len(), Arc::new(Metrics::new()))))
    }

    fn place(nodes: &Nodes) -> Option<Place> {
        nodes.place(&mut Tried::default())
    }

    fn fail(nodes: &Nodes, number: usize, reason: Ejection) {
        for _ in 0..FAILURES {
            let node = &nodes.nodes[number];
            node.outstanding.set(node.outstanding.get() + 1);
            Place(Rc::clone(node)).failed(reason);
        }
    }

    fn asked(nodes: &Nodes) -> std::collections::BTreeSet<usize> {
        (0..100).filter_map(|_| place(nodes)).map(|place| place.number).collect()
    }

    #[test]
    fn the_less_busy_of_two_is_asked_and_none_twice() {
        let nodes = nodes(&[1, 2, 3]);
        let places: Vec<Place> = (0..300).filter_map(|_| place(&nodes)).collect();
        assert_eq!(places.len(), 300);
        for node in &nodes.nodes {
            assert!((80..=120).contains(&node.outstanding.get()), "{}", node.outstanding.get());
        }
        drop(places);
        assert!(nodes.nodes.iter().all(|node| node.outstanding.get() == 0));
        let mut tried = Tried::default();
        let mut numbers: Vec<usize> =
            std::iter::from_fn(|| nodes.place(&mut tried)).map(|place| place.number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1, 2]);
    }

    #[tokio::test]
    async fn what_fails_is_left_out_and_a_broken_one_is_the_last_resort() {
        let tasks = LocalSet::new();
        let _inside = tasks.enter();
        let nodes = nodes(&[1, 2]);
        fail(&nodes, 0, Ejection::Broken);
        assert_eq!(asked(&nodes), [1].into());
        // The last one is not left out for what it answers.
        fail(&nodes, 1, Ejection::Broken);
        assert_eq!(asked(&nodes), [1].into());
        // When it cannot be connected to, the broken one is asked again.
        fail(&nodes, 1, Ejection::Connect);
        assert_eq!(asked(&nodes), [0].into());
        fail(&nodes, 0, Ejection::Connect);
        assert_eq!(asked(&nodes), [].into());
        assert!(nodes.health.next_look() <= Duration::from_secs(5));
    }

    #[tokio::test]
    async fn an_answer_between_failures_keeps_a_node() {
        let tasks = LocalSet::new();
        let _inside = tasks.enter();
        let nodes = nodes(&[1]);
        for _ in 0..20 {
            let place = place(&nodes).unwrap();
            place.failed(Ejection::Connect);
            place.failed(Ejection::Connect);
            place.succeeded();
        }
        assert!(place(&nodes).is_some());
        fail(&nodes, 0, Ejection::Broken);
        assert!(place(&nodes).is_some(), "there is no other");
        fail(&nodes, 0, Ejection::Connect);
        assert!(place(&nodes).is_none());
    }

    #[tokio::test]
    async fn a_node_that_can_be_connected_to_again_is_asked_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nodes = nodes(&[listener.local_addr().unwrap().port()]);
        LocalSet::new()
            .run_until(async {
                fail(&nodes, 0, Ejection::Connect);
                assert!(place(&nodes).is_none());
                let back = async {
                    while place(&nodes).is_none() {
                        tokio::task::yield_now().await;
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(10), back).await.unwrap();
                // It has to prove itself: the next failure is enough.
                let place = place(&nodes).unwrap();
                assert!(place.pool.take().is_some(), "the connection that was made is kept");
                place.failed(Ejection::Connect);
                assert!(super::tests::place(&nodes).is_none());
            })
            .await;
    }

    #[test]
    fn the_time_a_node_is_left_out_grows_up_to_a_bound() {
        let times: Vec<u64> = (0..8).map(|times| millis(grown(SHORTEST, times, LONGEST_UNCONNECTED))).collect();
        assert_eq!(times, [500, 1000, 2000, 4000, 5000, 5000, 5000, 5000]);
        assert_eq!(grown(SHORTEST, u32::MAX, LONGEST_BROKEN), LONGEST_BROKEN);
    }
}
