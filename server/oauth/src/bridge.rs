//! Id and secret of a client instead of a token, for shippers that speak only HTTP Basic: verified here, used by the data
//! plane.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::http::{ClientAuthError, Credentials};
use crate::{Authority, Client};

/// Why credentials do not do for the data plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BridgeError {
    /// Not base64 of `client_id:client_secret`.
    #[error("the HTTP Basic credentials are not base64 of `client_id:client_secret`")]
    Malformed,
    /// Unknown client, wrong secret, disabled client: one answer.
    #[error("the client is not known, or its secret is wrong")]
    Wrong,
    /// The secret is right, but it is for the token endpoint only.
    #[error("the client may use its secret at the token endpoint only")]
    NotPermitted,
    /// Too many wrong secrets.
    #[error("there were too many wrong secrets for this client from this address; try again later")]
    TooManyGuesses(Duration),
}

impl Authority {
    /// The client whose id and secret these are (what follows `Basic `), when it may use them on the data plane.
    /// Guesses count together with those at the token endpoint. Answered from memory, without waiting.
    ///
    /// # Errors
    /// [`BridgeError`].
    pub fn bridge(&self, encoded: &str, address: IpAddr) -> Result<Arc<Client>, BridgeError> {
        let credentials = Credentials::of_basic(encoded).map_err(|_| BridgeError::Malformed)?;
        let client = credentials.prove(self, Some(address)).map_err(|error| match error {
            ClientAuthError::TooManyGuesses(wait) => BridgeError::TooManyGuesses(wait),
            _ => BridgeError::Wrong,
        })?;
        // Only who has proven to be the client is told how it is registered.
        if client.basic { Ok(client) } else { Err(BridgeError::NotPermitted) }
    }
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
