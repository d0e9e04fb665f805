//! The PROXY protocol, version 2: what a proxy in front says of the connection before its first byte.
//!
//! Source: "The PROXY protocol, versions 1 & 2", section 2.2. Version 1 is not spoken here: a text that anybody can
//! write, of a length nobody knows in advance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The part of fixed length.
pub(crate) const HEAD: usize = 16;

/// Longest part of announced length. Addresses take 36 bytes; proxies add what they know of TLS.
pub(crate) const MAX_REST: usize = 4 * 1024;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// What the part of fixed length says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    told: Told,
    /// Bytes that follow.
    pub(crate) rest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The proxy speaks for itself, to see whether somebody is there.
    Local,
    Tcp4,
    Tcp6,
}

/// What is not the PROXY protocol, or not what is accepted of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("the connection does not begin with the PROXY protocol, version 2")]
    Signature,
    #[error("the PROXY header has a version or a command that is not known")]
    Command,
    #[error("the PROXY header tells no address of TCP over IPv4 or IPv6")]
    Family,
    #[error("the PROXY header is longer than {MAX_REST} bytes")]
    TooLong,
    #[error("the PROXY header is shorter than what it tells")]
    Truncated,
}

impl Head {
    /// Reads the part of fixed length.
    pub(crate) fn read(head: &[u8; HEAD]) -> Result<Self, Invalid> {
        let [signature @ .., command, family, high, low] = head;
        if *signature != SIGNATURE {
            return Err(Invalid::Signature);
        }
        let told = match (command, family) {
            (0x20, _) => Told::Local,
            (0x21, 0x11) => Told::Tcp4,
            (0x21, 0x21) => Told::Tcp6,
            (0x21, _) => return Err(Invalid::Family),
            _ => return Err(Invalid::Command),
        };
        let rest = usize::from(u16::from_be_bytes([*high, *low]));
        if rest > MAX_REST {
            return Err(Invalid::TooLong);
        }
        Ok(Self { told, rest })
    }

    /// The client's address, from the part of announced length; `None` when the proxy speaks for itself.
    pub(crate) fn client(self, rest: &[u8]) -> Result<Option<IpAddr>, Invalid> {
        // Two addresses and two ports, then type-length-value fields.
        let (address, fields) = match self.told {
            Told::Local => return Ok(None),
            Told::Tcp4 => {
                let (addresses, fields) = rest.split_first_chunk::<12>().ok_or(Invalid::Truncated)?;
                let [a, b, c, d, ..] = *addresses;
                (IpAddr::V4(Ipv4Addr::new(a, b, c, d)), fields)
            }
            Told::Tcp6 => {
                let (addresses, fields) = rest.split_first_chunk::<36>().ok_or(Invalid::Truncated)?;
                let (source, _) = addresses.split_first_chunk::<16>().ok_or(Invalid::Truncated)?;
                (IpAddr::V6(Ipv6Addr::from(*source)), fields)
            }
        };
        check_fields(fields)?;
        Ok(Some(address.to_canonical()))
    }
}

/// The fields mean nothing here, but they have to fill what was announced.
fn check_fields(mut fields: &[u8]) -> Result<(), Invalid> {
    while let Some(([_, high, low], rest)) = fields.split_first_chunk::<3>() {
        fields = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).ok_or(Invalid::Truncated)?;
    }
    if fields.is_empty() { Ok(()) } else { Err(Invalid::Truncated) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(command: u8, family: u8, rest: u16) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..12].copy_from_slice(&SIGNATURE);
        bytes[12..14].copy_from_slice(&[command, family]);
        bytes[14..].copy_from_slice(&rest.to_be_bytes());
        bytes
    }

    fn client(command: u8, family: u8, rest: &[u8]) -> Result<Option<IpAddr>, Invalid> {
        Head::read(&head(command, family, u16::try_from(rest.len()).unwrap()))?.client(rest)
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x20, 0xfb];

    #[test]
    fn addresses_are_read() {
        let v4 = Ok(Some("192.0.2.7".parse().unwrap()));
        assert_eq!(client(0x21, 0x11, &V4), v4);
        let with_fields = [&V4[..], &[0x04, 0, 2, 0, 0], &[0x20, 0, 0]].concat();
        assert_eq!(client(0x21, 0x11, &with_fields), v4);
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(client(0x21, 0x21, &v6), Ok(Some("2001:db8::7".parse().unwrap())));
        v6[..16].copy_from_slice(&"::ffff:192.0.2.7".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(client(0x21, 0x21, &v6), v4);
        // A proxy that looks whether somebody is there; what it adds is nobody's business.
        assert_eq!(client(0x20, 0, &[]), Ok(None));
        assert_eq!(client(0x20, 0x11, &[1, 2, 3]), Ok(None));
    }

    #[test]
    fn everything_else_is_refused() {
        for (command, family, rest, expected) in [
            (0x22, 0x11, &V4[..], Invalid::Command),
            (0x11, 0x11, &V4, Invalid::Command),
            (0x01, 0x11, &V4, Invalid::Command),
            (0x21, 0x00, &[], Invalid::Family),
            (0x21, 0x12, &V4, Invalid::Family),
            (0x21, 0x31, &[0; 216], Invalid::Family),
            (0x21, 0x11, &V4[..11], Invalid::Truncated),
            (0x21, 0x21, &V4, Invalid::Truncated),
            (0x21, 0x11, &[&V4[..], &[4]].concat(), Invalid::Truncated),
            (0x21, 0x11, &[&V4[..], &[4, 0, 9, 1]].concat(), Invalid::Truncated),
            (0x21, 0x11, &[&V4[..], &[0; 4_085]].concat(), Invalid::TooLong),
        ] {
            assert_eq!(client(command, family, rest), Err(expected), "{command:x} {family:x} {rest:?}");
        }
        let mut wrong = head(0x21, 0x11, 12);
        wrong[5] ^= 1;
        assert_eq!(Head::read(&wrong), Err(Invalid::Signature));
        assert_eq!(Head::read(b"PROXY TCP4 192.0"), Err(Invalid::Signature));
        assert_eq!(Head::read(&head(0x21, 0x11, u16::MAX)), Err(Invalid::TooLong));
    }

    proptest! {
        /// Whatever comes: an address is told only by a whole header, and it is the one that stands there.
        #[test]
        fn no_address_is_made_up(command: u8, family: u8, rest in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(Some(address)) = client(command, family, &rest) {
                prop_assert_eq!(command, 0x21);
                match family {
                    0x11 => prop_assert_eq!(&rest[..4], &match address {
                        IpAddr::V4(address) => address.octets(),
                        IpAddr::V6(address) => panic!("{address}"),
                    }[..]),
                    _ => prop_assert_eq!(Ipv6Addr::from(<[u8; 16]>::try_from(&rest[..16]).unwrap()).to_canonical(), address),
                }
            }
        }
    }
}
