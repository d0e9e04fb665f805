//! Where requests may come from, and whose word is taken for it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::problem::Problems;

/// A network in CIDR notation, `192.0.2.0/24` or `2001:db8::/32`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether the address is in the network. An IPv4 address in IPv6 clothes (`::ffff:192.0.2.1`) is an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                (network.to_bits() ^ address.to_bits()) & mask_v4(self.prefix) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                (network.to_bits() ^ address.to_bits()) & mask_v6(self.prefix) == 0
            }
            _ => false,
        }
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX.checked_shl(128_u32.saturating_sub(prefix.into())).unwrap_or(0)
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let none = || {
            format!("`{text}` is neither a network nor an address; write for example `192.0.2.0/24` or `2001:db8::1`")
        };
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= longest).ok_or_else(none)?
            }
            Some(_) => return Err(none()),
        };
        if let IpAddr::V6(address) = address
            && address.to_ipv4_mapped().is_some()
        {
            return Err(format!("`{text}` is an IPv4 address written as IPv6; write it as IPv4"));
        }
        let first = match address {
            IpAddr::V4(address) => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask_v4(prefix))),
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask_v6(prefix))),
        };
        if first != address {
            return Err(format!(
                "`{text}` is an address within a network; write `{first}/{prefix}`, or the address alone"
            ));
        }
        Ok(Self { address, prefix })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$",
            "description": "A network in CIDR notation, or one address.",
            "examples": ["192.0.2.0/24", "2001:db8::/32", "192.0.2.7"]
        })
    }
}

/// Which addresses may come. Without lists all may.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AddressRules {
    /// When not empty, only these.
    pub allow: Vec<Network>,
    /// Never these, even when they are allowed.
    pub deny: Vec<Network>,
}

/// Why an address may not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRefusal {
    /// It is in `deny`.
    Denied,
    /// It is not in `allow`.
    NotAllowed,
}

impl AddressRules {
    /// Whether the address may come.
    ///
    /// # Errors
    /// [`AddressRefusal`]: it may not.
    pub fn check(&self, address: IpAddr) -> Result<(), AddressRefusal> {
        let holds = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        if holds(&self.deny) {
            Err(AddressRefusal::Denied)
        } else if self.allow.is_empty() || holds(&self.allow) {
            Ok(())
        } else {
            Err(AddressRefusal::NotAllowed)
        }
    }
}

/// Proxies in front of the gateway whose word on the client's address is taken. There are none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TrustedProxies {
    /// Where they connect from. Whoever else can connect from there can say to be anybody.
    pub networks: Vec<Network>,
    /// How they tell the client's address.
    pub tell_by: ToldBy,
}

/// How a proxy tells the client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ToldBy {
    /// By the PROXY protocol, version 2, before TLS. A connection of a trusted proxy without it is closed.
    #[default]
    ProxyProtocol,
    /// By `X-Forwarded-For`, for a proxy that speaks TLS to the gateway: the last address in it that is not a trusted
    /// proxy's. A request without it comes from the proxy itself.
    XForwardedFor,
}

impl TrustedProxies {
    /// Whether this is the address of a trusted proxy.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        if self.networks.iter().any(|network| network.prefix == 0) {
            problems.add(
                "trusted_proxies.networks",
                "trusts the whole world, so that anybody could say to be anybody; name the proxies' own addresses",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap()
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        for (net, inside, outside) in [
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.7/32", "::ffff:192.0.2.7", "::ffff:192.0.2.8"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/7", "11.255.0.1", "12.0.0.0"),
        ] {
            assert!(network(net).contains(address(inside)), "{net} {inside}");
            assert!(!network(net).contains(address(outside)), "{net} {outside}");
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "/",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+8",
            "192.0.2/24",
            "::/129",
            "localhost",
            "192.0.2.0/24 ",
        ] {
            assert!(text.parse::<Network>().unwrap_err().contains("neither a network nor an address"), "{text}");
        }
        assert!("192.0.2.1/24".parse::<Network>().unwrap_err().contains("write `192.0.2.0/24`"));
        assert!("::ffff:192.0.2.1".parse::<Network>().unwrap_err().contains("write it as IPv4"));
    }

    #[test]
    fn deny_wins_and_an_empty_allow_is_open() {
        let rules = |allow: &[&str], deny: &[&str]| AddressRules {
            allow: allow.iter().map(|text| network(text)).collect(),
            deny: deny.iter().map(|text| network(text)).collect(),
        };
        let here = address("192.0.2.7");
        assert_eq!(rules(&[], &[]).check(here), Ok(()));
        assert_eq!(rules(&["192.0.2.0/24"], &[]).check(here), Ok(()));
        assert_eq!(rules(&["198.51.100.0/24"], &[]).check(here), Err(AddressRefusal::NotAllowed));
        assert_eq!(rules(&["192.0.2.0/24"], &["192.0.2.7"]).check(here), Err(AddressRefusal::Denied));
        assert_eq!(rules(&[], &["192.0.2.8"]).check(here), Ok(()));
    }
}
