//! Where a fetch may go.
//!
//! What the operator wrote may be anywhere but where no provider can be. What a provider's document says is a stranger's
//! wish: it leads to public addresses only, so that nobody can have the gateway look at its own network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Who says that a document is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The operator, in the configuration.
    Configured,
    /// A document of the provider.
    Discovered,
}

/// Why a place is not gone to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Neither `https` nor `http` to this machine as configured.
    #[error("it is not `https`")]
    Scheme,
    /// Not scheme, host, port, path and query only.
    #[error("it is not a plain URL")]
    Form,
    /// Loopback, link-local, multicast and the like; for discovered places also private networks.
    #[error("its address is one that a provider's keys are not fetched from")]
    Address,
}

/// Checks everything that can be seen without asking for addresses.
pub(crate) fn check(url: &Url, trust: Trust) -> Result<(), Forbidden> {
    let host = url.host_str().unwrap_or_default();
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() || host.is_empty() {
        return Err(Forbidden::Form);
    }
    let is_local = trust == Trust::Configured && is_literally_loopback(host);
    match url.scheme() {
        "https" => {}
        "http" if is_local => {}
        _ => return Err(Forbidden::Scheme),
    }
    // A host that is an address is never asked for; a name is looked at by the resolver below.
    match literal(host) {
        Some(ip) if !may_dial(ip, trust, is_local) => Err(Forbidden::Address),
        None if is_localhost(host) && !is_local => Err(Forbidden::Address),
        _ => Ok(()),
    }
}

/// Resolves names to addresses that may be dialled. What is checked here is what is dialled: a name that changes its
/// address in between changes nothing.
pub(crate) struct GuardedResolver(pub(crate) Trust);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let trust = self.0;
        Box::pin(async move {
            let is_local = trust == Trust::Configured && is_literally_loopback(name.as_str());
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| may_dial(address.ip(), trust, is_local)).collect();
            if allowed.is_empty() {
                return Err(Forbidden::Address.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

fn may_dial(ip: IpAddr, trust: Trust, loopback: bool) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => may_dial_v4(ip, trust, loopback),
        IpAddr::V6(ip) => may_dial_v6(ip, trust, loopback),
    }
}

fn may_dial_v4(ip: Ipv4Addr, trust: Trust, loopback: bool) -> bool {
    if ip.is_loopback() {
        return loopback;
    }
    let [a, b, c, _] = ip.octets();
    let nowhere = a == 0 || ip.is_link_local() || ip.is_multicast() || a >= 240;
    // RFC 1918, RFC 6598, RFC 6890, RFC 2544, RFC 5737.
    let private = ip.is_private()
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || ip.is_documentation();
    !nowhere && (trust == Trust::Configured || !private)
}

fn may_dial_v6(ip: Ipv6Addr, trust: Trust, loopback: bool) -> bool {
    if ip.is_loopback() {
        return loopback;
    }
    let first = ip.segments().first().copied().unwrap_or_default();
    let nowhere = ip.is_unspecified() || ip.is_multicast() || first & 0xffc0 == 0xfe80;
    // Global unicast is 2000::/3 (RFC 4291). Addresses that carry an IPv4 address (6to4, Teredo) and those for
    // documentation lead elsewhere or nowhere.
    let second = ip.segments().get(1).copied().unwrap_or_default();
    let global = first & 0xe000 == 0x2000 && first != 0x2002 && !(first == 0x2001 && matches!(second, 0 | 0xdb8));
    !nowhere && (trust == Trust::Configured || global)
}

fn literal(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse().ok()
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost")
}

/// Only what says so itself: no name that happens to resolve to loopback.
fn is_literally_loopback(host: &str) -> bool {
    host == "localhost" || literal(host).is_some_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str, trust: Trust) -> Result<(), Forbidden> {
        check(&Url::parse(url).unwrap(), trust)
    }

    #[test]
    fn what_the_operator_wrote_may_be_private_or_literally_loopback() {
        for url in [
            "https://idp.example.com/x",
            "https://10.1.2.3/x",
            "https://[fd00::1]:8443/x",
            "http://127.0.0.1:8180/x",
            "http://localhost:8180/x",
            "https://localhost/x",
            "http://[::1]/x",
        ] {
            assert_eq!(checked(url, Trust::Configured), Ok(()), "{url}");
        }
        for url in ["http://idp.example.com/x", "http://10.1.2.3/x", "ftp://idp.example.com/x", "http://a.localhost/x"]
        {
            assert_eq!(checked(url, Trust::Configured), Err(Forbidden::Scheme), "{url}");
        }
        for url in [
            "https://169.254.169.254/x",
            "https://[fe80::1]/x",
            "https://0.0.0.0/x",
            "https://[::]/x",
            "https://224.0.0.1/x",
            "https://[::ffff:169.254.169.254]/x",
        ] {
            assert_eq!(checked(url, Trust::Configured), Err(Forbidden::Address), "{url}");
        }
        for url in ["https://a@idp.example.com/x", "https://a:b@idp.example.com/x", "https://idp.example.com/#x"] {
            assert_eq!(checked(url, Trust::Configured), Err(Forbidden::Form), "{url}");
        }
    }

    #[test]
    fn what_a_document_says_leads_to_public_addresses_only() {
        for url in ["https://keys.example.com/x", "https://93.184.216.34/x", "https://[2606:2800::1]/x"] {
            assert_eq!(checked(url, Trust::Discovered), Ok(()), "{url}");
        }
        for url in [
            "https://127.0.0.1/x",
            "https://127.1/x",
            "https://2130706433/x",
            "https://0x7f.0.0.1/x",
            "https://localhost/x",
            "https://LOCALHOST./x",
            "https://a.localhost/x",
            "https://[::1]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://10.0.0.1/x",
            "https://172.16.0.1/x",
            "https://192.168.0.1/x",
            "https://100.64.0.1/x",
            "https://198.18.0.1/x",
            "https://169.254.169.254/x",
            "https://255.255.255.255/x",
            "https://[fd00::1]/x",
            "https://[fe80::1]/x",
            "https://[2002:7f00:1::]/x",
            "https://[64:ff9b::7f00:1]/x",
            "https://[2001:db8::1]/x",
        ] {
            assert_eq!(checked(url, Trust::Discovered), Err(Forbidden::Address), "{url}");
        }
        for url in ["http://keys.example.com/x", "http://127.0.0.1/x", "file:///etc/passwd"] {
            assert!(matches!(checked(url, Trust::Discovered), Err(Forbidden::Scheme | Forbidden::Form)), "{url}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_to_loopback_is_not_followed() {
        let resolve = |trust| GuardedResolver(trust).resolve("localhost".parse().unwrap());
        assert!(resolve(Trust::Discovered).await.is_err());
        assert!(resolve(Trust::Configured).await.unwrap().all(|address| address.ip().is_loopback()));
    }
}
