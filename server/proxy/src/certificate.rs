//! Certificates that clients show in TLS.
//!
//! A certificate is verified in the handshake, and again when a session is resumed or other authorities are in force: a
//! connection is worth no more than the certificate it began with. Whose it is says the snapshot, by a name in it.

mod read;

pub use read::{Validity, validity};

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_config::CertificateName;
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::id::sha256;
use rustls::pki_types::{self, CertificateDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, HandshakeKind, ServerConnection};

use crate::refusal::Refusal;
use crate::session::Session;
use crate::snapshot::{GatewayClient, Snapshot};

/// Which certificates of clients are taken.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// What a certificate is verified by.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// Whether there is no connection without one.
    pub required: bool,
    /// Tells these from others.
    pub version: [u8; 32],
}

/// The certificate of a connection.
pub(crate) struct PeerCertificate {
    chain: Vec<CertificateDer<'static>>,
    pub(crate) names: Vec<CertificateName>,
    not_after: UnixTime,
    /// SHA-256, by which people and records tell certificates apart.
    fingerprint: String,
    /// What its session is found by.
    key: [u8; 32],
    /// The version of [`ClientCertificates`] it was last verified by.
    verified_by: Cell<Option<[u8; 32]>>,
    /// Whose it is, as of a generation of the snapshot.
    owner: RefCell<Option<(u64, Owner)>>,
}

/// Whose a certificate is.
#[derive(Debug, Clone)]
pub(crate) enum Owner {
    Nobody,
    Client(Arc<GatewayClient>),
    /// Names of several clients are in it.
    Several,
}

/// A certificate that was verified and cannot be read all the same.
#[derive(Debug, thiserror::Error)]
#[error("the client certificate cannot be read")]
pub(crate) struct Unreadable;

impl ClientCertificates {
    /// Whether a connection may be used for requests, with the certificate it began with.
    pub(crate) fn check(
        taken: Option<&Self>,
        shown: Option<&PeerCertificate>,
        now: impl FnOnce() -> UnixTime,
    ) -> Result<(), Refusal> {
        match (taken, shown) {
            (None, None) => Ok(()),
            (Some(taken), None) if taken.required => Err(Refusal::certificate(
                "certificates of clients are required since this connection began; connect again with one",
            )),
            (Some(_), None) => Ok(()),
            (None, Some(_)) => {
                Err(Refusal::certificate("certificates of clients are not taken any more; connect again without one"))
            }
            (Some(taken), Some(shown)) => shown.check(taken, now()),
        }
    }
}

impl PeerCertificate {
    /// The certificate of a connection whose handshake is done, under these rules, if one was shown.
    pub(crate) fn of(
        connection: &ServerConnection,
        taken: Option<&ClientCertificates>,
    ) -> Result<Option<Rc<Self>>, Unreadable> {
        let (Some(taken), Some(chain)) = (taken, connection.peer_certificates()) else { return Ok(None) };
        // A session that goes on was verified when it began, perhaps long ago.
        let is_verified = connection.handshake_kind() != Some(HandshakeKind::Resumed);
        let certificate = Self::new(chain.to_vec())?;
        certificate.verified_by.set(is_verified.then_some(taken.version));
        Ok(Some(Rc::new(certificate)))
    }

    fn new(chain: Vec<CertificateDer<'static>>) -> Result<Self, Unreadable> {
        let leaf = chain.first().ok_or(Unreadable)?;
        let read::Content { names, not_after } = read::content(leaf).ok_or(Unreadable)?;
        let hash = sha256(leaf);
        Ok(Self {
            names,
            not_after,
            fingerprint: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            // A token has no space in it, so none has the key of a certificate.
            key: sha256(&[b"Certificate ".as_slice(), &hash].concat()),
            verified_by: Cell::new(None),
            owner: RefCell::new(None),
            chain,
        })
    }

    fn check(&self, taken: &ClientCertificates, now: UnixTime) -> Result<(), Refusal> {
        if now > self.not_after {
            return Err(Refusal::certificate(EXPIRED));
        }
        if self.verified_by.get() == Some(taken.version) {
            return Ok(());
        }
        let since_1970 = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or_default());
        let time = pki_types::UnixTime::since_unix_epoch(since_1970);
        let (leaf, above) = self.chain.split_first().ok_or_else(|| Refusal::certificate(DOES_NOT_HOLD))?;
        taken.verifier.verify_client_cert(leaf, above, time).map_err(|error| Refusal::certificate(sentence(&error)))?;
        self.verified_by.set(Some(taken.version));
        Ok(())
    }

    /// Whose it is now.
    pub(crate) fn owner(&self, snapshot: &Snapshot) -> Owner {
        let mut known = self.owner.borrow_mut();
        match &*known {
            Some((generation, owner)) if *generation == snapshot.generation => owner.clone(),
            _ => {
                let owner = snapshot.owner_of(&self.names);
                *known = Some((snapshot.generation, owner.clone()));
                owner
            }
        }
    }

    /// Makes sure that another credential on the same connection is not somebody else's.
    pub(crate) fn agree_with(&self, session: &Session, snapshot: &Snapshot) -> Result<(), Refusal> {
        match self.owner(snapshot) {
            Owner::Nobody => Ok(()),
            // No two principals have one engine name, principals of providers included. Who acts for a person shows its own.
            Owner::Client(client)
                if client.engine_name == session.client.through.as_ref().unwrap_or(&session.client).engine_name =>
            {
                Ok(())
            }
            Owner::Client(_) => Err(Refusal::unreadable(
                "the client certificate and the `Authorization` field are those of two clients; send one of them",
            )),
            Owner::Several => Err(Refusal::unreadable(SEVERAL)),
        }
    }

    pub(crate) const fn key(&self) -> [u8; 32] {
        self.key
    }

    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

pub(crate) const SEVERAL: &str =
    "the client certificate has the names of several clients, so that nobody knows who asks; use one for each";
const EXPIRED: &str = "the client certificate has expired; connect again with a new one";
const DOES_NOT_HOLD: &str = "the client certificate does not hold";

/// Why TLS did not come about because of a certificate; `None` when that was not the reason.
pub(crate) fn refused_in_handshake(error: &std::io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    match error {
        rustls::Error::InvalidCertificate(_)
        | rustls::Error::InvalidCertRevocationList(_)
        | rustls::Error::NoCertificatesPresented => Some(sentence(error)),
        _ => None,
    }
}

/// What is wrong with a certificate.
fn sentence(error: &rustls::Error) -> &'static str {
    use CertificateError as Error;
    match error {
        rustls::Error::NoCertificatesPresented => "no client certificate was shown, and one is required",
        rustls::Error::InvalidCertificate(error) => match error {
            Error::Expired | Error::ExpiredContext { .. } => EXPIRED,
            Error::NotValidYet | Error::NotValidYetContext { .. } => "the client certificate is not valid yet",
            Error::Revoked => "the client certificate was revoked",
            Error::UnknownIssuer => "the client certificate is of no authority that is taken here",
            Error::UnknownRevocationStatus => {
                "no list of `tls.client_certificates.revoked` says whether the client certificate was revoked"
            }
            Error::ExpiredRevocationList | Error::ExpiredRevocationListContext { .. } => {
                "the list that would say whether the client certificate was revoked has run out"
            }
            Error::InvalidPurpose | Error::InvalidPurposeContext { .. } => "the certificate is not one for clients",
            _ => DOES_NOT_HOLD,
        },
        _ => DOES_NOT_HOLD,
    }
}
