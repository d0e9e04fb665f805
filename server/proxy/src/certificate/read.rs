//! The names in a certificate, and how long it is valid (RFC 5280 section 4.1).
//!
//! What is read here was signed by an authority that is trusted, and verified. It is read as strictly all the same: DER,
//! each length in its one form, every part to its end.

use oauth4os_config::{CertificateName, DistinguishedName, NameAttribute, UriName};
use oauth4os_tokens::clock::UnixTime;

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const NUMERIC_STRING: u8 = 0x12;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Fields of the certificate with a tag of their own.
const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
const EXTENSIONS: u8 = 0xa3;

/// Kinds of alternative names.
const RFC822_NAME: u8 = 0x81;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;

/// 2.5.29.17
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// From when to when a certificate is valid, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: UnixTime,
    /// The last one.
    pub not_after: UnixTime,
}

/// Reads from when to when a certificate is valid; `None` when it is none.
#[must_use]
pub fn validity(certificate: &[u8]) -> Option<Validity> {
    fields(certificate).map(|(validity, _)| validity)
}

/// What is of interest in a certificate.
#[derive(Debug)]
pub(super) struct Content {
    /// The subject and its alternative names, as far as they can be those of a client.
    pub(super) names: Vec<CertificateName>,
    /// The last moment it is valid.
    pub(super) not_after: UnixTime,
}

/// Reads a certificate; `None` when it is none.
pub(super) fn content(der: &[u8]) -> Option<Content> {
    let (Validity { not_after, .. }, mut fields) = fields(der)?;
    let subject = fields.take(SEQUENCE)?;
    fields.take(SEQUENCE)?;
    fields.take_if(ISSUER_ID);
    fields.take_if(SUBJECT_ID);
    let alternatives = match fields.take_if(EXTENSIONS) {
        Some(extensions) => alternative_names(extensions)?,
        None => None,
    };
    if !fields.is_done() {
        return None;
    }
    let mut names = Vec::new();
    names.extend(distinguished_name(subject)?.map(CertificateName::Subject));
    if let Some(alternatives) = alternatives {
        general_names(alternatives, &mut names)?;
    }
    Some(Content { names, not_after })
}

/// The extension with the alternative names, if there is one.
fn alternative_names(extensions: &[u8]) -> Option<Option<&[u8]>> {
    let mut outer = Reader(extensions);
    let mut list = Reader(outer.take(SEQUENCE)?);
    let mut found = None;
    while !list.is_done() {
        let mut extension = Reader(list.take(SEQUENCE)?);
        let oid = extension.take(OBJECT_IDENTIFIER)?;
        extension.take_if(BOOLEAN);
        let value = extension.take(OCTET_STRING)?;
        if oid == SUBJECT_ALT_NAME && found.replace(value).is_some() {
            return None;
        }
    }
    outer.is_done().then_some(found)
}

/// Adds the alternative names that can be those of a client.
fn general_names(der: &[u8], names: &mut Vec<CertificateName>) -> Option<()> {
    let mut outer = Reader(der);
    let mut list = Reader(outer.take(SEQUENCE)?);
    let mut uris: Vec<UriName> = Vec::new();
    let mut uri_count = 0;
    while !list.is_done() {
        let (tag, value) = list.next()?;
        let text = std::str::from_utf8(value).ok();
        match tag {
            RFC822_NAME => names.extend(text.and_then(|text| text.parse().ok()).map(CertificateName::Email)),
            // A name with a wildcard is no host's, and is left out here.
            DNS_NAME => names.extend(text.and_then(|text| text.parse().ok()).map(CertificateName::Dns)),
            URI => {
                uri_count += 1;
                uris.extend(text.and_then(|text| text.parse().ok()));
            }
            IP_ADDRESS => names.extend(address(value).map(CertificateName::Ip)),
            _ => {}
        }
    }
    // One with a SPIFFE id and another URI is not to be taken for either (X.509-SVID section 2).
    if uri_count == 1 || !uris.iter().any(UriName::is_spiffe) {
        names.extend(uris.into_iter().map(CertificateName::Uri));
    }
    outer.is_done().then_some(())
}

fn address(octets: &[u8]) -> Option<std::net::IpAddr> {
    let v4: Option<[u8; 4]> = octets.try_into().ok();
    let v6: Option<[u8; 16]> = octets.try_into().ok();
    v4.map(Into::into).or_else(|| v6.map(Into::into))
}

/// A name; `Some(None)` when it is empty, or a value of it is in letters that nobody writes any more.
fn distinguished_name(der: &[u8]) -> Option<Option<DistinguishedName>> {
    let mut list = Reader(der);
    let mut parts = Vec::new();
    let mut is_text = true;
    while !list.is_done() {
        let mut set = Reader(list.take(SET)?);
        let mut part = Vec::new();
        while !set.is_done() {
            let mut attribute = Reader(set.take(SEQUENCE)?);
            let oid = attribute.take(OBJECT_IDENTIFIER)?.to_vec();
            let (tag, value) = attribute.next()?;
            if !attribute.is_done() {
                return None;
            }
            match string(tag, value) {
                Some(value) => part.push(NameAttribute { oid, value }),
                None => is_text = false,
            }
        }
        parts.push(part);
    }
    Some((is_text && !parts.is_empty()).then(|| DistinguishedName::new(parts)))
}

fn string(tag: u8, value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let is_one = match tag {
        UTF8_STRING => true,
        NUMERIC_STRING | PRINTABLE_STRING | IA5_STRING => text.is_ascii(),
        _ => false,
    };
    is_one.then(|| text.to_owned())
}

/// When a certificate is valid, and its fields behind that.
fn fields(der: &[u8]) -> Option<(Validity, Reader<'_>)> {
    let mut input = Reader(der);
    let mut certificate = Reader(input.take(SEQUENCE)?);
    let mut fields = Reader(certificate.take(SEQUENCE)?);
    if !input.is_done() {
        return None;
    }
    fields.take_if(VERSION);
    fields.take(INTEGER)?;
    fields.take(SEQUENCE)?;
    fields.take(SEQUENCE)?;
    let mut times = Reader(fields.take(SEQUENCE)?);
    let validity = Validity { not_before: time(times.next()?)?, not_after: time(times.next()?)? };
    times.is_done().then_some((validity, fields))
}

fn time((tag, text): (u8, &[u8])) -> Option<UnixTime> {
    let digits = text.strip_suffix(b"Z")?;
    let (year, rest) = match tag {
        UTC_TIME if digits.len() == 12 => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2_000 + year } else { 1_900 + year }, rest)
        }
        GENERALIZED_TIME if digits.len() == 14 => {
            let (year, rest) = digits.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut pairs = rest.chunks_exact(2).map(number);
    let mut next = || pairs.next().flatten();
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 60;
    let seconds = ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second;
    in_range.then(|| UnixTime::from_secs(seconds))
}

fn number(digits: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(digits).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Days from 1970-01-01 in the Gregorian calendar, where the year is thought to begin in March, so that the day that
/// sometimes is not there is its last.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_years = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let of_months = (month * 153 + 2) / 5;
    of_years + of_months + day - 1 - 719_468
}

/// What is left of a value.
struct Reader<'d>(&'d [u8]);

impl<'d> Reader<'d> {
    const fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value and its tag.
    fn next(&mut self) -> Option<(u8, &'d [u8])> {
        let (tag, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        // Tags of several bytes do not occur in certificates.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81..=0x83 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = octets.iter().fold(0_usize, |length, octet| (length << 8) | usize::from(*octet));
                let is_shortest = length > 0x7f && octets.first() != Some(&0);
                (is_shortest.then_some(length)?, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, value))
    }

    /// The next value, which has this tag.
    fn take(&mut self, tag: u8) -> Option<&'d [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, value)| value)
    }

    /// The next value, if it has this tag.
    fn take_if(&mut self, tag: u8) -> Option<&'d [u8]> {
        if self.0.first() == Some(&tag) { self.take(tag) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::string::{BmpString, PrintableString};
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn names(change: impl FnOnce(&mut CertificateParams)) -> Vec<CertificateName> {
        content(&certificate(change)).unwrap().names
    }

    fn named(kind: &str, text: &str) -> CertificateName {
        match kind {
            "subject" => CertificateName::Subject(text.parse().unwrap()),
            "dns" => CertificateName::Dns(text.parse().unwrap()),
            "uri" => CertificateName::Uri(text.parse().unwrap()),
            "ip" => CertificateName::Ip(text.parse().unwrap()),
            _ => CertificateName::Email(text.parse().unwrap()),
        }
    }

    #[test]
    fn every_kind_of_name_is_read() {
        let found = names(|params| {
            params.distinguished_name.push(DnType::OrganizationName, "Example, Inc.");
            params.distinguished_name.push(DnType::CommonName, "shipper");
            params.subject_alt_names = vec![
                SanType::DnsName("Shipper.Example.com".try_into().unwrap()),
                SanType::DnsName("*.example.com".try_into().unwrap()),
                SanType::URI("spiffe://example.com/shipper".try_into().unwrap()),
                SanType::IpAddress("192.0.2.7".parse().unwrap()),
                SanType::IpAddress("2001:db8::7".parse().unwrap()),
                SanType::Rfc822Name("Ann@EXAMPLE.com".try_into().unwrap()),
            ];
        });
        let mut expected = vec![
            named("subject", r"CN=shipper,O=Example\, Inc."),
            named("dns", "shipper.example.com"),
            named("ip", "192.0.2.7"),
            named("ip", "2001:db8::7"),
            named("email", "Ann@example.com"),
        ];
        expected.push(named("uri", "spiffe://example.com/shipper"));
        assert_eq!(found, expected);
        assert_eq!(names(|_| {}), []);
    }

    #[test]
    fn a_subject_is_its_parts_and_not_their_text() {
        let subject = |of: &[(DnType, DnValue)]| {
            names(|params| {
                for (kind, value) in of {
                    params.distinguished_name.push(kind.clone(), value.clone());
                }
            })
        };
        let plain = || vec![named("subject", "CN=a,O=b")];
        let (cn, o) = (DnType::CommonName, DnType::OrganizationName);
        assert_eq!(subject(&[(o.clone(), "b".into()), (cn.clone(), "a".into())]), plain());
        let printable = |text: &str| DnValue::PrintableString(PrintableString::try_from(text).unwrap());
        assert_eq!(subject(&[(o.clone(), printable("b")), (cn.clone(), printable("a"))]), plain());
        assert_ne!(subject(&[(cn.clone(), "a".into()), (o.clone(), "b".into())]), plain());
        assert_ne!(subject(&[(cn.clone(), "a,O=b".into())]), plain());
        assert_ne!(subject(&[(o.clone(), "b".into()), (cn.clone(), "a\0".into())]), plain());
        assert_ne!(subject(&[(o.clone(), "b".into()), (cn.clone(), "A".into())]), plain());
        // Letters that read the same in no known way.
        let bmp = DnValue::BmpString(BmpString::try_from("a").unwrap());
        assert_eq!(subject(&[(o, "b".into()), (cn, bmp)]), []);
    }

    #[test]
    fn a_spiffe_id_beside_another_uri_is_nobodys() {
        let uris = |texts: &[&str]| {
            names(|params| {
                params.subject_alt_names = texts.iter().map(|text| SanType::URI((*text).try_into().unwrap())).collect();
            })
        };
        assert_eq!(uris(&["spiffe://example.com/a"]).len(), 1);
        assert_eq!(uris(&["spiffe://example.com/a", "urn:b"]), []);
        assert_eq!(uris(&["spiffe://example.com/a", "no uri at all"]), []);
        assert_eq!(uris(&["urn:a", "urn:b"]).len(), 2);
    }

    #[test]
    fn the_end_is_read_to_the_second() {
        for (year, month, day, seconds) in [
            (1970, 1, 1, 0),
            (2000, 2, 29, 951_782_400),
            (2026, 11, 22, 1_795_305_600),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (2100, 3, 1, 4_107_542_400),
        ] {
            let der = certificate(|params| {
                params.not_before = date_time_ymd(1960, 1, 1);
                params.not_after = date_time_ymd(year, month, day);
            });
            assert_eq!(content(&der).unwrap().not_after, UnixTime::from_secs(seconds), "{year}-{month}-{day}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_changed_in_a_certificate_it_is_read_or_refused(
            at in 0_usize..400, byte in any::<u8>(), cut in 0_usize..400,
        ) {
            let mut der = certificate(|params| {
                params.distinguished_name.push(DnType::CommonName, "a");
                params.subject_alt_names = vec![SanType::DnsName("a.example.com".try_into().unwrap())];
            });
            prop_assert!(content(&der).is_some());
            prop_assert!(content(der.get(..cut.min(der.len() - 1)).unwrap()).is_none());
            if let Some(changed) = der.get_mut(at) {
                *changed = byte;
            }
            let _ = content(&der);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = content(&bytes);
        }
    }
}
