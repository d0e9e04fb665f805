//! How requests get an identity that the engine takes: by telling it who asks and what the scopes are, or as somebody it
//! already knows.

use std::sync::Arc;

use oauth4os_tokens::clock::UnixTime;

use crate::backend_users::BackendUsers;
use crate::identity::{HandedIdentity, Identities};
use crate::sigv4::{Signer, SigningError};

/// What the driver of a cluster makes identities with.
#[derive(Clone, Debug)]
pub enum HandOver {
    /// The engine is told, grant by grant.
    Told(Identities),
    /// Requests go as users of the cluster's own.
    Users(Arc<BackendUsers>),
    /// Requests are signed as one principal.
    Signed(Arc<Signer>),
}

impl HandOver {
    /// Whether the engine knows each client by a name of its own. Otherwise it cannot tell apart what several clients of one user
    /// have opened.
    #[must_use]
    pub const fn tells_clients_apart(&self) -> bool {
        matches!(self, Self::Told(_))
    }
}

/// What a request of the gateway's own is sent with.
#[derive(Clone, Copy, Debug)]
pub enum Sender<'a> {
    /// These fields.
    Fields(&'a HandedIdentity),
    /// A signature made at this time.
    Signed(&'a Signer, UnixTime),
}

impl From<SigningError> for crate::client::ClientError {
    fn from(error: SigningError) -> Self {
        Self::Signing(error)
    }
}
