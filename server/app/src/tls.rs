//! TLS on both sides, by one cryptographic provider (aws-lc).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use oauth4os_config::Tls;
use oauth4os_tokens::id::sha256;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// HTTP/1.1 by its name in TLS.
const HTTP_1: &[u8] = b"http/1.1";

/// TLS cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read `{}` as PEM: {reason}", path.display())]
    Pem { path: PathBuf, reason: String },
    #[error("`{}` holds no certificate", path.display())]
    NoCertificate { path: PathBuf },
    #[error("certificate and key do not fit together: {0}")]
    Pair(rustls::Error),
    #[error("a certificate of `{}` cannot be trusted: {reason}", path.display())]
    Authority { path: PathBuf, reason: rustls::Error },
    #[error("this system has no list of certificate authorities; give `ca` beside the `url` in `upstream`")]
    NoSystemAuthorities,
    #[error("the cryptographic library cannot be used")]
    Provider,
    #[error("session tickets cannot be encrypted: {0}")]
    Tickets(rustls::Error),
}

/// Makes aws-lc the one provider of this process.
pub(crate) fn install_provider() -> Result<(), TlsError> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(|_| TlsError::Provider)
}

/// The listener's side: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
#[derive(Clone)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of certificates and key, to tell whether they are others.
    pair: [u8; 32],
    with_http2: bool,
}

impl ServerTls {
    /// Reads certificate and key. HTTP/2 is offered besides HTTP/1.1 when it is wanted.
    pub(crate) fn load(tls: &Tls, with_http2: bool) -> Result<Self, TlsError> {
        let (chain, key, pair) = read(tls)?;
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).map_err(TlsError::Pair)?;
        config.alpn_protocols = if with_http2 { vec![b"h2".to_vec(), HTTP_1.to_vec()] } else { vec![HTTP_1.to_vec()] };
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Tickets)?;
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), pair, with_http2 })
    }

    /// Reads them again. Others make everything anew, session tickets too: no connection is resumed under a certificate
    /// that has been replaced. The same ones leave everything as it is.
    pub(crate) fn reload(&self, tls: &Tls) -> Result<Self, TlsError> {
        let (.., pair) = read(tls)?;
        if pair == self.pair { Ok(self.clone()) } else { Self::load(tls, self.with_http2) }
    }
}

/// A certificate chain, its key, and what tells both from others.
type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>, [u8; 32]);

fn read(tls: &Tls) -> Result<Pair, TlsError> {
    let chain = certificates(&tls.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| TlsError::Pem { path: tls.key.clone(), reason: error.to_string() })?;
    let hashes: Vec<u8> =
        chain.iter().map(AsRef::as_ref).chain([key.secret_der()]).flat_map(|der: &[u8]| sha256(der)).collect();
    Ok((chain, key, sha256(&hashes)))
}

/// The side of the engine and of Dashboards: trusts `ca`, or the authorities of the system.
pub(crate) fn engine(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|reason| TlsError::Authority { path: path.to_owned(), reason })?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoSystemAuthorities);
        }
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |error: rustls::pki_types::pem::Error| TlsError::Pem { path: path.to_owned(), reason: error.to_string() };
    let chain = CertificateDer::pem_file_iter(path).map_err(pem)?.collect::<Result<Vec<_>, _>>().map_err(pem)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}
