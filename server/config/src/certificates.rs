//! Certificates of clients: which are taken, and whose they are.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::distinguished_name::DistinguishedName;
use crate::problem::Problems;

/// Which certificates clients may show in TLS. One that is shown and does not hold ends the connection.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificates {
    /// The authorities whose certificates are taken (PEM).
    pub ca: PathBuf,

    /// Whether a connection without a certificate is refused, whatever its requests would bring along.
    #[serde(default)]
    pub required: bool,

    /// Lists of certificates that were revoked (CRL, in PEM). With any, every authority from a certificate up to `ca` needs one that
    /// has not run out: what cannot be looked up is refused.
    #[serde(default)]
    pub revoked: Vec<PathBuf>,
}

impl ClientCertificates {
    pub(crate) fn resolve(&mut self, base: &Path) {
        self.ca = base.join(&self.ca);
        for path in &mut self.revoked {
            *path = base.join(&*path);
        }
    }

    pub(crate) fn check(&self, problems: &mut Problems) {
        let lists = self.revoked.iter().map(|path| ("tls.client_certificates.revoked", path));
        for (key, path) in [("tls.client_certificates.ca", &self.ca)].into_iter().chain(lists) {
            if !path.is_file() {
                problems.add(key, format!("there is no file `{}`", path.display()));
            }
        }
    }
}

/// The name in a certificate that makes it a client's (RFC 8705 section 2.1.2): the subject, or one of the subject's alternative
/// names, compared exactly and without wildcards.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateName {
    /// The whole subject: `subject: "CN=shipper,OU=logs,O=Example"`.
    Subject(DistinguishedName),
    /// A name of a host: `dns: shipper.example.com`.
    Dns(DnsName),
    /// A URI: `uri: spiffe://example.com/shipper`.
    Uri(UriName),
    /// An address: `ip: 192.0.2.7`.
    Ip(#[schemars(with = "String")] IpAddr),
    /// A mailbox: `email: shipper@example.com`.
    Email(EmailName),
}

/// A host's name, in small letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsName(String);

/// A URI, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UriName(String);

/// A mailbox; the part after the `@` in small letters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EmailName(String);

/// The scheme of SPIFFE ids.
const SPIFFE: &str = "spiffe://";

impl FromStr for DnsName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains('*') {
            return Err(format!("`{text}`: a certificate for many names is nobody's; name one host"));
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if text.len() > 253 || !text.split('.').all(is_label) || text.parse::<IpAddr>().is_ok() {
            return Err(format!("`{text}` is not the name of a host; for an address use `ip`"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl FromStr for UriName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        };
        let has_scheme = text.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
        if !has_scheme || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("`{text}` is not a URI such as `spiffe://example.com/shipper`"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl UriName {
    /// Whether it is a SPIFFE id: a certificate with one has no other URI (X.509-SVID section 2).
    #[must_use]
    pub fn is_spiffe(&self) -> bool {
        self.0.get(..SPIFFE.len()).is_some_and(|start| start.eq_ignore_ascii_case(SPIFFE))
    }
}

impl FromStr for EmailName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('@') {
            Some((local, host))
                if !local.is_empty()
                    && !host.is_empty()
                    && !host.contains('@')
                    && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
            {
                Ok(Self(format!("{local}@{}", host.to_ascii_lowercase())))
            }
            _ => Err(format!("`{text}` is not a mailbox such as `shipper@example.com`")),
        }
    }
}

/// A text that is parsed, and what the schema says of it.
macro_rules! written_as_text {
    ($name:ident, $title:literal, $description:literal, $example:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "description": $description, "examples": [$example]})
            }
        }
    };
}

written_as_text!(DnsName, "DnsName", "The name of a host, without wildcards.", "shipper.example.com");
written_as_text!(UriName, "UriName", "A URI.", "spiffe://example.com/shipper");
written_as_text!(EmailName, "EmailName", "A mailbox.", "shipper@example.com");

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, text: &str) -> Result<CertificateName, String> {
        serde_json::from_value(serde_json::json!({kind: text})).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_read_as_they_are_compared() {
        assert_eq!(read("dns", "Shipper.Example.COM"), read("dns", "shipper.example.com"));
        assert_eq!(read("email", "Ann@EXAMPLE.com"), read("email", "Ann@example.com"));
        assert_ne!(read("email", "ann@example.com"), read("email", "Ann@example.com"));
        assert_ne!(read("uri", "urn:A"), read("uri", "urn:a"));
        assert_eq!(read("ip", "2001:db8:0::7"), read("ip", "2001:db8::7"));
        assert!(read("subject", "CN=a").is_ok());
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_sentence() {
        for (kind, text, expected) in [
            ("dns", "*.example.com", "name one host"),
            ("dns", "192.0.2.7", "use `ip`"),
            ("dns", "example.com.", "not the name of a host"),
            ("dns", "ex ample", "not the name of a host"),
            ("dns", "", "not the name of a host"),
            ("uri", "example.com", "not a URI"),
            ("uri", "urn:a b", "not a URI"),
            ("uri", "spiffe:", "not a URI"),
            ("ip", "192.0.2.0/24", "IP address"),
            ("email", "ann", "not a mailbox"),
            ("email", "ann@", "not a mailbox"),
            ("email", "a@b@c", "not a mailbox"),
            ("subject", "shipper", "not a distinguished name"),
            ("cn", "shipper", "unknown variant"),
        ] {
            let error = read(kind, text).expect_err(text);
            assert!(error.contains(expected), "{kind} {text}: {error}");
        }
    }
}
