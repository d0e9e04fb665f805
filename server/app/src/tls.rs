//! TLS on both sides, by one cryptographic provider (aws-lc).

mod listener;
mod upstream;

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::server::VerifierBuilderError;

pub(crate) use self::listener::ServerTls;
pub(crate) use self::upstream::{EngineTls, OwnCertificate, dashboards};

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
    #[error("`{}` holds no list of revoked certificates", path.display())]
    NoRevocationList { path: PathBuf },
    #[error("certificates of clients cannot be verified with `tls.client_certificates`: {0}")]
    ClientVerifier(VerifierBuilderError),
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

fn trusted(certificates: Vec<CertificateDer<'static>>, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate).map_err(|reason| TlsError::Authority { path: path.to_owned(), reason })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = |error: pem::Error| TlsError::Pem { path: path.to_owned(), reason: error.to_string() };
    let chain = CertificateDer::pem_file_iter(path).map_err(pem)?.collect::<Result<Vec<_>, _>>().map_err(pem)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

/// The certificates of a file as text, and nothing else that may stand in it.
pub(crate) fn certificates_as_text(path: &Path) -> Result<String, TlsError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    trusted(certificates(path)?, path)?;
    let text = std::fs::read_to_string(path)
        .map_err(|error| TlsError::Pem { path: path.to_owned(), reason: error.to_string() })?;
    let mut kept = String::new();
    let mut is_certificate = false;
    for line in text.lines().map(str::trim_end) {
        is_certificate |= line == BEGIN;
        if is_certificate {
            kept.push_str(line);
            kept.push('\n');
        }
        is_certificate &= line != END;
    }
    Ok(kept)
}
