//! An authority that issues certificates to clients.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::tls::write_private;

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    /// The authorities between this and the one that has to be trusted, this one first.
    between: Vec<CertificateDer<'static>>,
}

/// A certificate, those above it, and its key.
pub struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pem: String,
    key: KeyPair,
    serial: SerialNumber,
}

/// The parameters of a certificate for a client with this subject, as pairs of type and value from the root on, and these further
/// names.
#[must_use]
pub fn for_client(subject: &[(DnType, &str)], names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = names;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// The name of a host.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a name"))
}

/// A URI.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("a URI"))
}

impl Authority {
    /// An authority of its own.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().expect("a key"));
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { issuer: Issuer::new(params, key), certificate, between: Vec::new() }
    }

    /// An authority below this one.
    ///
    /// # Panics
    /// When none can be made.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let (params, key) = (authority(name), KeyPair::generate().expect("a key"));
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let between = [vec![certificate.der().clone()], self.between.clone()].concat();
        Self { issuer: Issuer::new(params, key), certificate, between }
    }

    /// Issues a certificate.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn issue(&self, mut params: CertificateParams) -> Identity {
        static SERIAL: AtomicU64 = AtomicU64::new(1_000);
        let serial = SerialNumber::from(SERIAL.fetch_add(1, Ordering::Relaxed));
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let chain = [vec![certificate.der().clone()], self.between.clone()].concat();
        Identity { chain, pem: certificate.pem(), key, serial }
    }

    /// A certificate for a client, with this name alone.
    #[must_use]
    pub fn issue_to(&self, name: SanType) -> Identity {
        self.issue(for_client(&[], vec![name]))
    }

    /// The authority's certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The list of these certificates as revoked; it runs out on the first day of `until`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn revoked(&self, identities: &[&Identity], until: i32) -> String {
        let of = |identity: &&Identity| RevokedCertParams {
            serial_number: identity.serial.clone(),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: identities.iter().map(of).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|list| list.pem()).expect("a list")
    }
}

impl Identity {
    /// One that was not issued by anybody else.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn self_signed(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let (chain, pem) = (vec![certificate.der().clone()], certificate.pem());
        Self { chain, pem, key, serial: SerialNumber::from(1_u64) }
    }

    /// The key, for TLS.
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    /// Writes certificate and key to files, whose paths come back.
    ///
    /// # Panics
    /// When they cannot be written.
    #[must_use]
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join("client.pem"), folder.join("client-key.pem"));
        fs::write(&certificate, &self.pem).expect("write the certificate");
        write_private(&key, self.key.serialize_pem().as_bytes());
        (certificate, key)
    }

    /// SHA-256 of the certificate, by which records name it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        oauth4os_tokens::id::sha256(&self.chain[0]).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    params
}
