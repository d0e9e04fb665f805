//! The clusters behind the gateway: one, or several with a name each.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::addresses::AddressRules;
use crate::dashboards::{is_host, is_prefix};
use crate::problem::Problems;
use crate::upstream::Upstream;

/// The most clusters of one gateway, and the longest name.
const MAX_CLUSTERS: usize = 64;
const MAX_NAME: usize = 32;

/// One of several clusters, and which requests are meant for it: those with one of `hosts`, else those below `path_prefix`, and
/// all that arrive on a `listen` of its own. One cluster may have none of these; it gets all others.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamedCluster {
    /// What scopes call it: `read:eu/logs-*`. Up to 32 lower-case letters, digits and `-`.
    pub name: String,

    /// An address and port of its own to listen on: what arrives there is meant for it, whatever `Host` says. The gateway's own
    /// endpoints are there, too.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,

    /// Which addresses may come to its `listen`, of those that the gateway's `addresses` let in.
    #[serde(default)]
    pub addresses: AddressRules,

    /// The host names by which it is asked on `listen` of the gateway: requests with one of these in `Host`, with any port.
    #[serde(default)]
    pub hosts: Vec<String>,

    /// The path below which it is asked, for example `/eu`. It is taken off.
    #[serde(default)]
    pub path_prefix: Option<String>,

    /// The servers requests are forwarded to.
    pub upstream: Upstream,
}

/// A cluster behind the gateway.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// What scopes call it; the only cluster has no name.
    pub name: Option<String>,
    /// The address of its own to listen on.
    pub listen: Option<SocketAddr>,
    /// Which addresses may come there.
    pub addresses: AddressRules,
    /// The host names by which it is asked.
    pub hosts: Vec<String>,
    /// The path below which it is asked.
    pub path_prefix: Option<String>,
    /// Its servers.
    pub upstream: Upstream,
}

impl Cluster {
    /// The only cluster.
    pub(crate) fn only(upstream: Upstream) -> Self {
        Self {
            name: None,
            listen: None,
            addresses: AddressRules::default(),
            hosts: Vec::new(),
            path_prefix: None,
            upstream,
        }
    }

    /// Whether it is asked whatever is meant for no other.
    #[must_use]
    pub const fn gets_the_rest(&self) -> bool {
        self.listen.is_none() && self.hosts.is_empty() && self.path_prefix.is_none()
    }
}

impl From<NamedCluster> for Cluster {
    fn from(named: NamedCluster) -> Self {
        let NamedCluster { name, listen, addresses, hosts, path_prefix, upstream } = named;
        Self { name: Some(name), listen, addresses, hosts, path_prefix, upstream }
    }
}

/// Makes sure that every request is meant for one cluster at most, and that every cluster has a name of its own.
pub(crate) fn check(clusters: &[Cluster], problems: &mut Problems) {
    let named: Vec<(&str, &Cluster)> =
        clusters.iter().filter_map(|cluster| Some((cluster.name.as_deref()?, cluster))).collect();
    if named.len() > MAX_CLUSTERS {
        problems.add("clusters", format!("at most {MAX_CLUSTERS} clusters"));
    }
    let mut hosts: Vec<&String> = Vec::new();
    let mut catch_all: Option<&str> = None;
    for (position, (name, cluster)) in named.iter().enumerate() {
        let key = format!("clusters `{}`", name.escape_default());
        if !is_name(name) {
            problems.add(&key, format!("a name has up to {MAX_NAME} lower-case letters, digits and `-`"));
        }
        let before = named.get(..position).unwrap_or_default();
        if before.iter().any(|(other, _)| other == name) {
            problems.add(&key, "there is another cluster of this name");
        }
        if cluster.listen.is_none() && cluster.addresses != AddressRules::default() {
            problems.add(
                &key,
                "addresses: is for a `listen` of its own; give one, or use `addresses` of the whole gateway",
            );
        }
        for host in cluster.hosts.iter().filter(|host| !is_host(host)) {
            problems.add(&key, format!("hosts: `{host}` is not a host name in lower case without a port"));
        }
        if let Some(prefix) = &cluster.path_prefix {
            if cluster.upstream.dashboards.as_ref().is_some_and(|dashboards| dashboards.path_prefix.is_some()) {
                problems
                    .add(&key, "upstream.dashboards: give `hosts`; one path below another is not known to Dashboards");
            }
            if !is_prefix(prefix) {
                problems.add(&key, "path_prefix: give a path such as `/eu`: of letters, digits, `_` and `-`, without a slash at the end, and none of the gateway's own");
            }
            let others = before.iter().filter_map(|(other, cluster)| Some((other, cluster.path_prefix.as_ref()?)));
            for (other, of_other) in
                others.filter(|(_, of_other)| is_below(prefix, of_other) || is_below(of_other, prefix))
            {
                problems.add(
                    &key,
                    format!("path_prefix: `{of_other}` of the cluster `{other}` and `{prefix}` cannot be told apart"),
                );
            }
        }
        let of_dashboards = cluster.upstream.dashboards.iter().flat_map(|dashboards| &dashboards.hosts);
        for host in cluster.hosts.iter().chain(of_dashboards) {
            if hosts.contains(&host) {
                problems.add(&key, format!("hosts: `{host}` stands here twice, or at another cluster"));
            }
            hosts.push(host);
        }
        if cluster.gets_the_rest() {
            if let Some(other) = catch_all {
                problems.add(&key, format!("give `hosts`, `path_prefix` or `listen`; the cluster `{other}` has none of them already, and gets all that is meant for no other"));
            }
            catch_all = Some(name);
        }
    }
}

/// Whether everything below `path` is below `other`.
fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    matches!(name.len(), 1..=MAX_NAME) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(clusters: &[&str]) -> String {
        let upstream = "upstream: {engine: {url: 'https://localhost:9200'}}";
        let read = |text: &&str| {
            serde_saphyr::from_str::<NamedCluster>(&format!("{text}\n{upstream}")).map(Cluster::from).expect("YAML")
        };
        let clusters: Vec<Cluster> = clusters.iter().map(read).collect();
        let mut problems = Problems::default();
        check(&clusters, &mut problems);
        problems.into_result().err().map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn every_request_is_meant_for_one() {
        for good in [
            &["name: a", "name: b\npath_prefix: /b"][..],
            &["name: a\nhosts: [a.example.com]", "name: b\nhosts: [b.example.com]", "name: c"],
            &["name: a\nlisten: 127.0.0.1:1", "name: b\nlisten: 127.0.0.1:2", "name: c"],
            &["name: a\npath_prefix: /a", "name: ab\npath_prefix: /ab", "name: c\npath_prefix: /x/a"],
        ] {
            assert_eq!(problems(good), "");
        }
        for (wrong, sentence) in [
            (&["name: a", "name: b"][..], "`a` has none of them already"),
            (&["name: a", "name: a\npath_prefix: /a"], "another cluster of this name"),
            (&["name: A"], "a name has up to"),
            (&["name: a/b"], "a name has up to"),
            (&["name: ''"], "a name has up to"),
            (&["name: a\nhosts: ['a:1']"], "not a host name"),
            (&["name: a\nhosts: [a]", "name: b\nhosts: [a]"], "or at another cluster"),
            (&["name: a\npath_prefix: /oauth"], "give a path such as"),
            (&["name: a\npath_prefix: /"], "give a path such as"),
            (&["name: a\npath_prefix: /a", "name: b\npath_prefix: /a/b"], "cannot be told apart"),
            (&["name: a\npath_prefix: /a/b", "name: b\npath_prefix: /a"], "cannot be told apart"),
            (&["name: a\npath_prefix: /a", "name: b\npath_prefix: /a"], "cannot be told apart"),
        ] {
            let found = problems(wrong);
            assert!(found.contains(sentence), "{wrong:?}: {found}");
        }
    }
}
