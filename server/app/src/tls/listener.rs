//! What the listener shows, and whose certificates it takes.

use std::path::PathBuf;
use std::sync::Arc;

use oauth4os_config::Tls;
use oauth4os_proxy::ClientCertificates;
use oauth4os_tokens::id::sha256;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use super::{HTTP_1, TlsError, certificates, trusted};

/// The listener's side: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
#[derive(Clone)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    /// Which certificates of clients are taken, if any are asked for.
    pub(crate) client_certificates: Option<ClientCertificates>,
    /// What is shown, the gateway's own first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// SHA-256 of everything it was made of, to tell whether that is something else now.
    version: [u8; 32],
    with_http2: bool,
}

impl ServerTls {
    /// Reads certificate, key, and whose certificates are taken. HTTP/2 is offered besides HTTP/1.1 when it is wanted.
    pub(crate) fn load(tls: &Tls, with_http2: bool) -> Result<Self, TlsError> {
        Self::of(Files::read(tls)?, with_http2)
    }

    /// Reads them again. Others make everything anew, session tickets too: no connection is resumed under a certificate
    /// that has been replaced. The same ones leave everything as it is.
    pub(crate) fn reload(&self, tls: &Tls) -> Result<Self, TlsError> {
        let files = Files::read(tls)?;
        if files.version() == self.version { Ok(self.clone()) } else { Self::of(files, self.with_http2) }
    }

    fn of(files: Files, with_http2: bool) -> Result<Self, TlsError> {
        let (version, chain) = (files.version(), files.chain.clone());
        let client_certificates = files.clients.map(ClientFiles::verifier).transpose()?;
        let verifier = client_certificates
            .as_ref()
            .map_or_else(WebPkiClientVerifier::no_client_auth, |taken| Arc::clone(&taken.verifier));
        let mut config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(files.chain, files.key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = if with_http2 { vec![b"h2".to_vec(), HTTP_1.to_vec()] } else { vec![HTTP_1.to_vec()] };
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Tickets)?;
        config.send_tls13_tickets = 1;
        Ok(Self { config: Arc::new(config), client_certificates, chain, version, with_http2 })
    }
}

/// What the listener's files hold.
struct Files {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: Option<ClientFiles>,
}

/// What the files about clients' certificates hold.
struct ClientFiles {
    ca: PathBuf,
    authorities: Vec<CertificateDer<'static>>,
    revoked: Vec<CertificateRevocationListDer<'static>>,
    required: bool,
}

impl Files {
    fn read(tls: &Tls) -> Result<Self, TlsError> {
        let chain = certificates(&tls.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&tls.key)
            .map_err(|error| TlsError::Pem { path: tls.key.clone(), reason: error.to_string() })?;
        let clients = tls.client_certificates.as_ref().map(ClientFiles::read).transpose()?;
        Ok(Self { chain, key, clients })
    }

    fn version(&self) -> [u8; 32] {
        let of_clients = self.clients.as_ref().map(ClientFiles::version).unwrap_or_default();
        let parts = self.chain.iter().map(AsRef::as_ref).chain([self.key.secret_der(), of_clients.as_slice()]);
        sha256(&parts.flat_map(|part: &[u8]| sha256(part)).collect::<Vec<u8>>())
    }
}

impl ClientFiles {
    fn read(taken: &oauth4os_config::ClientCertificates) -> Result<Self, TlsError> {
        let mut revoked = Vec::new();
        for path in &taken.revoked {
            let pem = |error: pem::Error| TlsError::Pem { path: path.clone(), reason: error.to_string() };
            let before = revoked.len();
            for list in CertificateRevocationListDer::pem_file_iter(path).map_err(pem)? {
                revoked.push(list.map_err(pem)?);
            }
            if revoked.len() == before {
                return Err(TlsError::NoRevocationList { path: path.clone() });
            }
        }
        let authorities = certificates(&taken.ca)?;
        Ok(Self { ca: taken.ca.clone(), authorities, revoked, required: taken.required })
    }

    fn version(&self) -> [u8; 32] {
        let authorities = self.authorities.iter().map(AsRef::as_ref);
        // Between the two, so that none of the one kind stands for one of the other.
        let kind = [u8::from(self.required)];
        let parts = authorities.chain([kind.as_slice()]).chain(self.revoked.iter().map(AsRef::as_ref));
        sha256(&parts.flat_map(|part: &[u8]| sha256(part)).collect::<Vec<u8>>())
    }

    /// What verifies certificates: they lead to one of the authorities, are for clients, valid now, and on no list. Where there are
    /// lists, one that has run out or is missing says nothing, and who cannot be looked up is refused.
    fn verifier(self) -> Result<ClientCertificates, TlsError> {
        let (version, required) = (self.version(), self.required);
        let roots = trusted(self.authorities, &self.ca)?;
        let mut builder = WebPkiClientVerifier::builder(Arc::new(roots));
        if !self.revoked.is_empty() {
            builder = builder.with_crls(self.revoked).enforce_revocation_expiration();
        }
        if !required {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder.build().map_err(TlsError::ClientVerifier)?;
        Ok(ClientCertificates { verifier, required, version })
    }
}
