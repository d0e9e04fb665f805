//! TLS on both sides, by one cryptographic provider (aws-lc).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use oauth4os_config::{Engine, Tls};
use oauth4os_tokens::id::sha256;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme};

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
    #[error("this system has no list of certificate authorities; give `upstream.engine.ca`")]
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

/// The engine's side: trusts `ca`, or the authorities of the system, and shows the gateway's certificate if it has one.
pub(crate) struct EngineTls {
    pub(crate) config: Arc<ClientConfig>,
    shown: Option<Arc<Shown>>,
}

/// The certificate that is shown, which may be another one for the next connection.
#[derive(Debug)]
struct Shown(ArcSwap<OwnCertificate>);

/// A certificate with its key, read and found to fit.
#[derive(Debug)]
pub(crate) struct OwnCertificate {
    key: Arc<CertifiedKey>,
    /// SHA-256 of both, to tell whether they are others.
    pair: [u8; 32],
}

impl EngineTls {
    /// Reads certificates and key.
    pub(crate) fn load(engine: &Engine) -> Result<Self, TlsError> {
        let shown = match &engine.client_certificate {
            Some(pair) => Some(Arc::new(Shown(ArcSwap::from_pointee(OwnCertificate::read(pair)?)))),
            None => None,
        };
        let builder = ClientConfig::builder().with_root_certificates(authorities(engine)?);
        let mut config = match &shown {
            Some(shown) => {
                let mut config = builder.with_client_cert_resolver(Arc::clone(shown) as _);
                // A session that is resumed goes on under the certificate it began with.
                config.resumption = Resumption::disabled();
                config
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![HTTP_1.to_vec()];
        Ok(Self { config: Arc::new(config), shown })
    }

    /// Reads certificate and key again; `None` when they are the same.
    pub(crate) fn read_again(&self, engine: &Engine) -> Result<Option<OwnCertificate>, TlsError> {
        let (Some(shown), Some(pair)) = (&self.shown, &engine.client_certificate) else { return Ok(None) };
        let new = OwnCertificate::read(pair)?;
        Ok((new.pair != shown.0.load().pair).then_some(new))
    }

    /// Shows this one from the next connection on.
    pub(crate) fn show(&self, certificate: OwnCertificate) {
        if let Some(shown) = &self.shown {
            shown.0.store(Arc::new(certificate));
        }
    }
}

impl OwnCertificate {
    fn read(files: &Tls) -> Result<Self, TlsError> {
        let (chain, key, pair) = read(files)?;
        let provider = CryptoProvider::get_default().ok_or(TlsError::Provider)?;
        let key = CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Pair)?;
        Ok(Self { key: Arc::new(key), pair })
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn authorities(engine: &Engine) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = &engine.ca {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|reason| TlsError::Authority { path: path.clone(), reason })?;
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(TlsError::NoSystemAuthorities);
        }
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |error: rustls::pki_types::pem::Error| TlsError::Pem { path: path.to_owned(), reason: error.to_string() };
    let chain = CertificateDer::pem_file_iter(path).map_err(pem)?.collect::<Result<Vec<_>, _>>().map_err(pem)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}
