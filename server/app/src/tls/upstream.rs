//! What the engine and Dashboards are trusted by, and what the engine is shown.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use oauth4os_config::{Dashboards, Engine, KeyPair};
use oauth4os_tokens::id::sha256;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme};

use super::{HTTP_1, TlsError, certificates, trusted};

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
        let builder = ClientConfig::builder().with_root_certificates(authorities(engine.ca.as_deref())?);
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

    /// What the engine is shown, the gateway's own first; nothing when it is shown none.
    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.shown.as_ref().map(|shown| shown.0.load().key.cert.clone()).unwrap_or_default()
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
    fn read(files: &KeyPair) -> Result<Self, TlsError> {
        let chain = certificates(&files.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&files.key)
            .map_err(|error| TlsError::Pem { path: files.key.clone(), reason: error.to_string() })?;
        let hashes: Vec<u8> =
            chain.iter().map(AsRef::as_ref).chain([key.secret_der()]).flat_map(|der: &[u8]| sha256(der)).collect();
        let pair = sha256(&hashes);
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

/// The side of Dashboards: trusts `ca`, or the authorities of the system.
pub(crate) fn dashboards(dashboards: &Dashboards) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = authorities(dashboards.ca.as_deref())?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1.to_vec()];
    Ok(Arc::new(config))
}

fn authorities(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    if let Some(path) = ca {
        return trusted(certificates(path)?, path);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoSystemAuthorities);
    }
    Ok(roots)
}
