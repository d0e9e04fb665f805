//! Certificates of the tests' gateways, and TLS as a client.

use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use crate::authority::Identity;

/// Certificate and key every gateway of this process shows.
struct ServerCertificate {
    certificate: String,
    key: String,
}

fn server_certificate() -> &'static ServerCertificate {
    static CERTIFICATE: OnceLock<ServerCertificate> = OnceLock::new();
    CERTIFICATE.get_or_init(|| {
        let (certificate, key) = new_pair();
        ServerCertificate { certificate, key }
    })
}

/// A certificate of its own authority for this machine, and its key.
pub(crate) fn new_pair() -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    params.subject_alt_names.push(SanType::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()));
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate.pem(), key.serialize_pem())
}

/// Writes certificate and key of a gateway, and returns the names of the files.
pub(crate) fn write_server_certificate(folder: &Path) {
    let pair = server_certificate();
    std::fs::write(folder.join("gateway.pem"), &pair.certificate).expect("write the certificate");
    write_private(&folder.join("gateway-key.pem"), pair.key.as_bytes());
}

/// Writes a file only its owner can read.
pub(crate) fn write_private(path: &Path, content: &[u8]) {
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(path).expect("make a file");
    file.write_all(content).expect("write a file");
}

/// A client that trusts the certificates in a PEM file and nothing else.
pub(crate) fn client_config(ca: &Path) -> Arc<ClientConfig> {
    client_config_with(ca, None, rustls::DEFAULT_VERSIONS)
}

/// The same, showing a certificate if there is one, in one of these versions of TLS.
pub(crate) fn client_config_with(
    ca: &Path,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    install_provider();
    let mut roots = RootCertStore::empty();
    let file = File::open(ca).unwrap_or_else(|error| panic!("cannot read `{}`: {error}", ca.display()));
    for certificate in CertificateDer::pem_reader_iter(BufReader::new(file)) {
        roots.add(certificate.expect("a certificate")).expect("a certificate that can be trusted");
    }
    let config = ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots);
    let mut config = match identity {
        None => config.with_no_client_auth(),
        // Shown whatever authorities the gateway says it takes.
        Some(identity) => {
            config.with_client_auth_cert(identity.chain.clone(), identity.key()).expect("a certificate and its key")
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn install_provider() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
}
