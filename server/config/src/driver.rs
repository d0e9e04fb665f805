//! How the engine learns who is asking.

use std::collections::BTreeSet;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problems;

/// The most addresses of one gateway, all its replicas together.
const MAX_ADDRESSES: usize = 32;

/// How the engine learns who is asking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    /// A short-lived RS256 token signed by the gateway; the engine needs one `jwt` auth domain (`oauth4os engine setup`).
    #[default]
    Jwt,
    /// Header fields (`X-Proxy-User` and its like) that the engine believes because of whom they come from; it needs one
    /// `extended-proxy` auth domain (`oauth4os engine setup`) and should let in nobody without a certificate.
    ExtendedProxy,
    /// Names and passwords of users the cluster already has, for clusters that cannot be changed. The engine enforces the roles
    /// of these users; scopes are held by the gateway alone.
    Basic,
    /// API keys of the engine's own, from its security plugin 3.7 on, made by `oauth4os engine setup`. The engine enforces what each
    /// permits; scopes within that are held by the gateway alone.
    ApiKey,
    /// An AWS signature, for managed OpenSearch. The engine knows the gateway as one principal; scopes are held by the gateway
    /// alone.
    Sigv4,
}

impl Driver {
    /// Whether the engine is told what a token may do. Otherwise it enforces the rights of users of its own, whom several clients
    /// may share.
    #[must_use]
    pub const fn tells_scopes(self) -> bool {
        matches!(self, Self::Jwt | Self::ExtendedProxy)
    }
}

/// What makes the engine believe the gateway's word, where no key vouches for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExtendedProxy {
    /// The addresses the gateway's connections come from, as the engine sees them. The engine believes these and no others.
    /// Default, with an engine on this machine: its loopback addresses.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<IpAddr>,

    /// What keeps everybody else who sends from there from being believed too.
    pub trusted_by: TrustedBy,
}

/// What keeps others who send from the gateway's addresses from being believed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrustedBy {
    /// The engine lets in nobody without a certificate (`plugins.security.ssl.http.clientauth_mode: REQUIRE`), and the
    /// gateway shows `client_certificate`.
    #[default]
    Certificate,
    /// Nothing: whoever can send from one of the addresses, every process of the gateway's machine for instance, can be
    /// anybody to the engine. For networks and machines that hold nothing else.
    Address,
}

/// Makes sure that backend roles, by the key they stand at, can be handed over by this driver.
pub(crate) fn check_backend_roles<'r>(
    driver: Driver,
    roles: impl Iterator<Item = (String, &'r BTreeSet<String>)>,
    problems: &mut Problems,
) {
    if driver != Driver::ExtendedProxy {
        return;
    }
    for (key, roles) in roles {
        for role in roles.iter().filter(|role| !role.bytes().all(|byte| matches!(byte, b' '..=b'~'))) {
            let role = role.escape_default();
            problems.add(
                &key,
                format!("`{role}` is not printable ASCII, so it cannot be handed over with `driver: extended_proxy`"),
            );
        }
    }
}

impl ExtendedProxy {
    pub(crate) fn check(&self, has_certificate: bool, engine_is_here: bool, problems: &mut Problems) {
        let mut add = |key: &str, sentence: String| problems.add(format!("upstream.engine.{key}"), sentence);
        if self.trusted_by == TrustedBy::Certificate && !has_certificate {
            add(
                "driver",
                "with `extended_proxy` the engine believes whoever sends from the gateway's address: give `client_certificate` and have the engine require one, or say `extended_proxy: {trusted_by: address}`".to_owned(),
            );
        }
        if self.addresses.is_empty() && !engine_is_here {
            add(
                "extended_proxy.addresses",
                "name the addresses the engine sees the gateway at; it believes no others".to_owned(),
            );
        }
        if self.addresses.len() > MAX_ADDRESSES {
            add("extended_proxy.addresses", format!("at most {MAX_ADDRESSES} addresses"));
        }
        let mut seen = BTreeSet::new();
        for address in &self.addresses {
            let problem = if address.is_unspecified() || address.is_multicast() {
                "nobody sends from it"
            } else if matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some()) {
                "give it as an IPv4 address, as the engine sees it"
            } else if address.is_loopback() && !engine_is_here {
                "to an engine on another machine that is the engine's own address: everybody there would be believed"
            } else if !seen.insert(address) {
                "stands here twice"
            } else {
                continue;
            };
            add("extended_proxy.addresses", format!("`{address}`: {problem}"));
        }
    }
}
