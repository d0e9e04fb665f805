//! The node's certificates: an own CA, EC P-256 leaf keys in PKCS#8 PEM (what the security plugin takes).

use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use time::{Duration, OffsetDateTime};

use crate::files;

/// The organisation in every subject.
pub const ORGANISATION: &str = "oauth4os development";
/// The common name of the node's certificate.
pub const NODE: &str = "engine";
/// The common name of the administrator's client certificate.
pub const ADMIN: &str = "engine-admin";

/// The common name of the client certificate of a gateway.
pub const GATEWAY: &str = "gateway";

/// How long they are valid, and how long before the end they are made anew.
const VALID: Duration = Duration::days(397);
const RENEW_AFTER: Duration = Duration::days(300);

/// Where the PEM files are.
pub struct Certificates {
    /// The CA's certificate.
    pub ca: PathBuf,
    /// The node's certificate, for `localhost` and `127.0.0.1`.
    pub node: PathBuf,
    /// Its key.
    pub node_key: PathBuf,
    /// The administrator's client certificate.
    pub admin: PathBuf,
    /// Its key.
    pub admin_key: PathBuf,
    /// The client certificate of a gateway, which has no rights by itself.
    pub gateway: PathBuf,
    /// Its key.
    pub gateway_key: PathBuf,
}

impl Certificates {
    /// Those in `folder`, made where they are missing or grow old.
    pub fn ensure(folder: &Path) -> Result<Self> {
        let certificates = Self {
            ca: folder.join("ca.pem"),
            node: folder.join("node.pem"),
            node_key: folder.join("node-key.pem"),
            admin: folder.join("admin.pem"),
            admin_key: folder.join("admin-key.pem"),
            gateway: folder.join("gateway.pem"),
            gateway_key: folder.join("gateway-key.pem"),
        };
        if !certificates.fresh() {
            files::empty_folder(folder)?;
            certificates.make()?;
        }
        Ok(certificates)
    }

    fn fresh(&self) -> bool {
        let all =
            [&self.ca, &self.node, &self.node_key, &self.admin, &self.admin_key, &self.gateway, &self.gateway_key];
        all.iter().all(|path| path.exists())
            && self.ca.metadata().and_then(|found| found.modified()).is_ok_and(|made| {
                let age = OffsetDateTime::now_utc() - OffsetDateTime::from(made);
                age < RENEW_AFTER && !age.is_negative()
            })
    }

    fn make(&self) -> Result<()> {
        let mut params = named("oauth4os development CA", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;

        let (server, client) = (ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth);
        // Nodes are servers and clients of one another.
        let node = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        leaf(&ca, NODE, node, vec![server, client.clone()], &self.node, &self.node_key)?;
        leaf(&ca, ADMIN, Vec::new(), vec![client.clone()], &self.admin, &self.admin_key)?;
        leaf(&ca, GATEWAY, Vec::new(), vec![client], &self.gateway, &self.gateway_key)?;
        // The CA's key is thrown away: a new set is cheaper than a key that signs for every client on the machine.
        files::write(&self.ca, ca.pem().as_bytes(), 0o644)
    }
}

/// A subject as the security plugin may spell it: it wants the RFC 2253 order, which is the reverse of ours.
pub fn both_orders(common_name: &str) -> [String; 2] {
    [format!("CN={common_name},O={ORGANISATION}"), format!("O={ORGANISATION},CN={common_name}")]
}

fn leaf(
    ca: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    hosts: Vec<String>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    certificate: &Path,
    key: &Path,
) -> Result<()> {
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = named(name, hosts)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = usages;
    params.use_authority_key_identifier_extension = true;
    files::write(key, pair.serialize_pem().as_bytes(), 0o600)?;
    files::write(certificate, params.signed_by(&pair, ca)?.pem().as_bytes(), 0o644)
}

fn named(name: &str, hosts: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(hosts)?;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + VALID;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, ORGANISATION);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_made_once_with_private_keys() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("certs");
        let first = Certificates::ensure(&place).unwrap();
        let ca = std::fs::read(&first.ca).unwrap();
        assert!(std::fs::read_to_string(&first.node_key).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
        assert_eq!(first.admin_key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let second = Certificates::ensure(&place).unwrap();
        assert_eq!(std::fs::read(&second.ca).unwrap(), ca);
        std::fs::remove_file(&second.node).unwrap();
        assert_ne!(std::fs::read(Certificates::ensure(&place).unwrap().ca).unwrap(), ca, "a set is never mixed");
    }
}
