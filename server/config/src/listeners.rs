//! Addresses that are listened on: each by one listener alone.

use std::net::SocketAddr;

use crate::Config;
use crate::problem::Problems;

/// An address, and where it stands.
struct Listen<'c> {
    cluster: Option<&'c str>,
    key: &'static str,
    address: SocketAddr,
}

/// Every address, in the order of the file.
fn all(config: &Config) -> Vec<Listen<'_>> {
    let mut found = vec![Listen { cluster: None, key: "listen", address: config.listen }];
    for cluster in config.clusters() {
        let listen = |(key, address)| Listen { cluster: cluster.name.as_deref(), key, address };
        let of_dashboards = cluster.upstream.dashboards.as_ref().and_then(|dashboards| dashboards.listen);
        let addresses = [("listen", cluster.listen), ("upstream.dashboards.listen", of_dashboards)];
        found.extend(addresses.into_iter().filter_map(|(key, address)| Some(listen((key, address?)))));
    }
    found.extend(config.metrics.listen.map(|address| Listen { cluster: None, key: "metrics.listen", address }));
    found
}

/// Workers share a port, so that the operating system would let two listeners have the same one, and spread connections over both.
pub(crate) fn check(config: &Config, problems: &mut Problems) {
    let all = all(config);
    for (position, Listen { cluster, key, address }) in all.iter().enumerate() {
        let before = all.get(..position).unwrap_or_default();
        if let Some(other) = before.iter().find(|other| overlap(*address, other.address)) {
            let key = cluster
                .map_or_else(|| (*key).to_owned(), |name| format!("clusters `{}`: {key}", name.escape_default()));
            let of_cluster =
                other.cluster.map_or_else(String::new, |name| format!(" of the cluster `{}`", name.escape_default()));
            problems.add(
                key,
                format!("is the address of `{}`{of_cluster}; give each listener a port of its own", other.key),
            );
        }
    }
}

/// Whether a connection could arrive at both. Port 0 is a free one each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && one.port() != 0 && (a == b || a.is_unspecified() || b.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_where_a_connection_could_arrive_at_both() {
        let overlap = |one: &str, other: &str| overlap(one.parse().unwrap(), other.parse().unwrap());
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("0.0.0.0:1", "192.0.2.1:1"),
            ("192.0.2.1:1", "0.0.0.0:1"),
            ("[::]:1", "192.0.2.1:1"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.1:1"),
            ("[::]:1", "0.0.0.0:1"),
        ] {
            assert!(overlap(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("127.0.0.1:1", "127.0.0.2:1"),
            ("0.0.0.0:1", "0.0.0.0:2"),
            ("127.0.0.1:0", "127.0.0.1:0"),
        ] {
            assert!(!overlap(one, other), "{one} {other}");
        }
    }
}
