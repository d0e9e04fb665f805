//! A cluster behind the gateway, and which requests are meant for which.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::dashboards::Dashboards;
use crate::identity::Identities;
use crate::names::Names;
use crate::nodes::{Health, Nodes};
use crate::points_in_time::PointsInTime;
use crate::wire::request::RequestHead;

/// What all workers share about a cluster. Nothing of it is another cluster's too, so that none has to wait for another.
pub(crate) struct Cluster {
    /// What scopes call it; the only cluster has no name.
    pub(crate) name: Option<String>,
    /// The host names by which it is asked, those of its Dashboards among them.
    pub(crate) hosts: Vec<String>,
    /// The path below which it is asked.
    pub(crate) path_prefix: Option<String>,
    /// It is asked whatever is meant for no other.
    pub(crate) gets_the_rest: bool,
    pub(crate) response_timeout: Duration,
    /// Whether a search by wildcard may be narrowed by the engine to what is permitted of it.
    pub(crate) may_narrow: bool,
    pub(crate) identities: Identities,
    pub(crate) names: Arc<Names>,
    pub(crate) points_in_time: Arc<PointsInTime>,
    /// What is known of the engine's nodes.
    pub(crate) health: Arc<Health>,
    pub(crate) dashboards: Option<Dashboards>,
    /// Requests that are under way.
    pub(crate) in_flight: AtomicUsize,
}

/// Where a connection came in: what arrives on a listener of its own is meant for whoever has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// The gateway's listener: each request says what it is meant for.
    Main,
    /// The cluster with this number.
    Cluster(usize),
    /// The Dashboards of this cluster.
    Dashboards(usize),
}

/// One worker's ways to a cluster.
pub(crate) struct Ways {
    pub(crate) engine: Nodes,
    /// Where Dashboards is, if there is one.
    pub(crate) dashboards: Option<Rc<Nodes>>,
}

impl Ways {
    /// Closes connections that nobody needs.
    pub(crate) fn sweep(&self) {
        self.engine.sweep();
        self.dashboards.iter().for_each(|nodes| nodes.sweep());
    }
}

/// What a request is meant for.
pub(crate) struct Destination<'a> {
    /// The cluster's place among all.
    pub(crate) number: usize,
    pub(crate) cluster: &'a Cluster,
    /// The target as the cluster knows it.
    pub(crate) target: Cow<'a, str>,
}

/// The cluster a request is meant for: the one whose listener it came in by, else by its host, else by its path, else the one
/// that gets all others.
pub(crate) fn find<'a>(clusters: &'a [Cluster], entrance: Entrance, head: &RequestHead<'a>) -> Option<Destination<'a>> {
    if let Entrance::Cluster(number) | Entrance::Dashboards(number) = entrance {
        let cluster = clusters.get(number)?;
        return Some(Destination { number, cluster, target: Cow::Borrowed(head.target) });
    }
    if let [cluster @ Cluster { name: None, .. }] = clusters {
        return Some(Destination { number: 0, cluster, target: Cow::Borrowed(head.target) });
    }
    let numbered = || clusters.iter().enumerate();
    let whole = |(number, cluster)| Destination { number, cluster, target: Cow::Borrowed(head.target) };
    let by_host = || numbered().find(|(_, cluster)| cluster.hosts.iter().any(|host| is_host(head.host, host)));
    let by_path = || {
        numbered().find_map(|(number, cluster)| {
            let target = below(head.target, cluster.path_prefix.as_deref()?)?;
            Some(Destination { number, cluster, target })
        })
    };
    let rest = || numbered().find(|(_, cluster)| cluster.gets_the_rest);
    by_host().map(whole).or_else(by_path).or_else(|| rest().map(whole))
}

/// The target without a prefix that it begins with.
pub(crate) fn below<'a>(target: &'a str, prefix: &str) -> Option<Cow<'a, str>> {
    let rest = target.strip_prefix(prefix)?;
    match rest.chars().next() {
        Some('/') => Some(Cow::Borrowed(rest)),
        None | Some('?') => Some(Cow::Owned(format!("/{rest}"))),
        Some(_) => None,
    }
}

/// Whether a `Host` names this host, with or without a port.
pub(crate) fn is_host(value: Option<&[u8]>, host: &str) -> bool {
    let value = value.unwrap_or_default();
    let name = value.split(|byte| *byte == b':').next().unwrap_or_default();
    name.eq_ignore_ascii_case(host.as_bytes())
}

/// A request among all for a cluster that are under way.
pub(crate) struct InFlight<'a>(&'a Cluster);

impl Cluster {
    /// Counts a request until the answer is dropped. `None` when there are `most` already.
    pub(crate) fn take_flight(&self, most: usize) -> Option<InFlight<'_>> {
        let in_flight = InFlight(self);
        (self.in_flight.fetch_add(1, Ordering::Relaxed) < most).then_some(in_flight)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
