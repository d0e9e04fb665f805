//! Whose connection it is, whose request, and whether they may come from there.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use oauth4os_config::{AddressRefusal, AddressRules, ToldBy, TrustedProxies};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::certificate::{ClientCertificates, Unreadable};
use crate::cluster::Entrance;
use crate::refusal::Refusal;
use crate::snapshot::GatewayClient;
use crate::wire::proxy_protocol::{self, HEAD};
use crate::wire::request::Field;
use crate::wire::trim;

/// What a connection meets first: replaced as a whole, read anew for each connection and each request.
#[derive(Debug)]
pub struct Listener {
    /// Certificate and key.
    pub tls: Arc<rustls::ServerConfig>,
    /// Which certificates of clients are taken, if any are asked for.
    pub client_certificates: Option<ClientCertificates>,
    /// Which addresses may come.
    pub addresses: AddressRules,
    /// Which of them may come by the listeners of their own that clusters have, in the order of the clusters.
    pub of_clusters: Vec<OwnListeners>,
    /// Whose word on the client's address is taken.
    pub trusted_proxies: TrustedProxies,
}

/// Which addresses may come by the listeners of one cluster's own.
#[derive(Debug, Clone, Default)]
pub struct OwnListeners {
    /// To the cluster.
    pub cluster: AddressRules,
    /// To its Dashboards.
    pub dashboards: AddressRules,
}

/// Why a connection is closed before its first request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unwelcome {
    /// It ended before it had said whose it is, in time.
    #[error("the connection of a trusted proxy ended before the PROXY header did")]
    Ended(#[from] io::Error),
    #[error(transparent)]
    ProxyHeader(#[from] proxy_protocol::Invalid),
    #[error("{}", sentence(.refusal))]
    Address { address: IpAddr, refusal: AddressRefusal },
    /// The client's certificate does not hold, or there is none where one is required.
    #[error("{0}")]
    Certificate(&'static str),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Listener {
    /// Whose connection this is: the peer's own, or that of the client the peer, a trusted proxy, speaks for. What the
    /// proxy says is taken off the stream, and nothing more.
    pub(crate) async fn receive(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        entrance: Entrance,
        peer: IpAddr,
    ) -> Result<IpAddr, Unwelcome> {
        let peer = peer.to_canonical();
        let is_proxy = self.trusted_proxies.contains(peer);
        let address = if is_proxy && self.trusted_proxies.tell_by == ToldBy::ProxyProtocol {
            proxied(stream).await?.unwrap_or(peer)
        } else {
            peer
        };
        // What a proxy says of each request comes later.
        if !(is_proxy && self.trusted_proxies.tell_by == ToldBy::XForwardedFor) {
            self.check(entrance, address).map_err(|refusal| Unwelcome::Address { address, refusal })?;
        }
        Ok(address)
    }

    /// Whose request this is, of a connection that is `peer`'s, and whether it may come from there.
    pub(crate) fn admit(
        &self,
        entrance: Entrance,
        peer: IpAddr,
        fields: &[Field<'_>],
    ) -> (IpAddr, Result<(), Refusal>) {
        let trusted = &self.trusted_proxies;
        let told = if trusted.tell_by == ToldBy::XForwardedFor && trusted.contains(peer) {
            forwarded_for(fields, trusted, peer)
        } else {
            Some(peer)
        };
        let Some(address) = told else {
            let reason = "the proxy's `X-Forwarded-For` is not a list of addresses, so nobody knows who asks";
            return (peer, Err(Refusal::unreadable(reason)));
        };
        (address, self.check(entrance, address).map_err(|refusal| Refusal::address(sentence(&refusal))))
    }

    /// Whether somebody may come from there by this listener: by the rules for all, and by its own.
    fn check(&self, entrance: Entrance, address: IpAddr) -> Result<(), AddressRefusal> {
        self.addresses.check(address)?;
        let own = match entrance {
            Entrance::Main => None,
            Entrance::Cluster(number) => self.of_clusters.get(number).map(|own| &own.cluster),
            Entrance::Dashboards(number) => self.of_clusters.get(number).map(|own| &own.dashboards),
        };
        own.map_or(Ok(()), |own| own.check(address))
    }
}

const fn sentence(refusal: &AddressRefusal) -> &'static str {
    match refusal {
        AddressRefusal::Denied => "this address is denied by `addresses.deny` of the gateway or of this listener",
        AddressRefusal::NotAllowed => "this address is not in `addresses.allow` of the gateway or of this listener",
    }
}

/// Whether a client may be used from there, with the sentence that says why not.
pub(crate) fn check_client(client: &GatewayClient, address: IpAddr) -> Result<(), Refusal> {
    client.addresses.check(address).map_err(|refusal| {
        Refusal::address(match refusal {
            AddressRefusal::Denied => "the client may not be used from this address: its `addresses.deny` has it",
            AddressRefusal::NotAllowed => {
                "the client may not be used from this address: its `addresses.allow` has it not"
            }
        })
    })?;
    client.within.iter().try_for_each(|namespace| {
        namespace.addresses.check(address).map_err(|refusal| {
            Refusal::address(match refusal {
                AddressRefusal::Denied => {
                    "the client may not be used from this address: the `addresses.deny` of its namespace has it"
                }
                AddressRefusal::NotAllowed => {
                    "the client may not be used from this address: the `addresses.allow` of its namespace has it not"
                }
            })
        })
    })
}

async fn proxied(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<IpAddr>, Unwelcome> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let head = proxy_protocol::Head::read(&head)?;
    let mut rest = vec![0; head.rest];
    stream.read_exact(&mut rest).await?;
    Ok(head.client(&rest)?)
}

/// The last address of `X-Forwarded-For` that is not a trusted proxy's: every proxy appends whom it was asked by, so that
/// what stands before that is the client's own word. Without the field, and when all are proxies, the proxy itself or
/// the first of them asks. `None` when what a proxy appended is no address.
fn forwarded_for(fields: &[Field<'_>], trusted: &TrustedProxies, peer: IpAddr) -> Option<IpAddr> {
    let mut last = peer;
    let values = fields.iter().rev().filter(|field| field.name.eq_ignore_ascii_case("x-forwarded-for"));
    for value in values.flat_map(|field| field.value.rsplit(|byte| *byte == b',')) {
        last = node(std::str::from_utf8(trim(value)).ok()?)?;
        if !trusted.contains(last) {
            break;
        }
    }
    Some(last)
}

/// An address, perhaps with a port: `192.0.2.7`, `192.0.2.7:4711`, `2001:db8::7`, `[2001:db8::7]`, `[2001:db8::7]:4711`.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if port.is_empty() || port.strip_prefix(':').is_some_and(is_port) => {
            IpAddr::V6(address.parse().ok()?)
        }
        Some(_) => return None,
        None => match text.split_once(':') {
            Some((address, port)) if is_port(port) => IpAddr::V4(address.parse().ok()?),
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn trusted() -> TrustedProxies {
        let networks = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()];
        TrustedProxies { networks, tell_by: ToldBy::XForwardedFor }
    }

    fn asked_by(values: &[&'static str]) -> Option<IpAddr> {
        let fields: Vec<Field<'_>> = values
            .iter()
            .map(|value| httparse::Header { name: "X-Forwarded-For", value: value.as_bytes() })
            .chain([httparse::Header { name: "X_Forwarded_For", value: b"198.51.100.1" }])
            .collect();
        forwarded_for(&fields, &trusted(), address("10.0.0.1"))
    }

    #[test]
    fn the_last_address_that_is_no_proxys_asks() {
        for (values, expected) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.7"], "192.0.2.7"),
            (&["203.0.113.9, 192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7, 10.1.1.1,10.2.2.2"], "192.0.2.7"),
            (&["192.0.2.7", "10.1.1.1"], "192.0.2.7"),
            (&["127.0.0.1", "192.0.2.7"], "192.0.2.7"),
            (&["10.9.9.9, 10.1.1.1"], "10.9.9.9"),
            (&["'; drop, 192.0.2.7"], "192.0.2.7"),
            (&["192.0.2.7:4711"], "192.0.2.7"),
            (&["[2001:db8::7]:4711, [2001:db8:ffff::1]"], "2001:db8::7"),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["::ffff:192.0.2.7"], "192.0.2.7"),
            (&["::ffff:10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ] {
            assert_eq!(asked_by(values), Some(address(expected)), "{values:?}");
        }
    }

    #[test]
    fn what_is_no_list_of_addresses_is_nobody() {
        for values in [
            &[""][..],
            &["unknown"],
            &["192.0.2.7,"],
            &["192.0.2.7, ,10.0.0.2"],
            &["192.0.2.7 10.0.0.2"],
            &["192.0.2.7:"],
            &["192.0.2.7:+80"],
            &["[192.0.2.7]"],
            &["[2001:db8::7"],
            &["[2001:db8::7]x"],
            &["192.0.2.7", "caf\u{e9}"],
        ] {
            assert_eq!(asked_by(values), None, "{values:?}");
        }
    }
}
