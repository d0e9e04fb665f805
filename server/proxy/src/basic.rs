//! HTTP Basic on the data plane: the bridge for shippers that speak nothing else.

use std::net::IpAddr;
use std::time::Duration;

use oauth4os_policy::Grants;

/// Who knows the clients that may send id and secret instead of a token. Answers from memory: the caller is a worker.
pub trait BasicClients: Send + Sync {
    /// Whether there is any such client.
    fn is_offered(&self) -> bool;

    /// Changes whenever a client changes: what was verified before has to be verified again.
    fn generation(&self) -> u64;

    /// The client whose credentials these are: what follows `Basic `. `address` is where they come from, for the limit on
    /// guesses.
    ///
    /// # Errors
    /// [`BasicRefusal`].
    fn verify(&self, encoded: &str, address: IpAddr) -> Result<BasicClient, BasicRefusal>;
}

/// A client that has proven itself.
#[derive(Clone, Debug)]
pub struct BasicClient {
    /// Its id.
    pub id: String,
    /// Everything it is registered for.
    pub grants: Grants,
}

/// Why credentials are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BasicRefusal {
    /// Not base64 of `client_id:client_secret`.
    Malformed,
    /// Unknown client, wrong secret, disabled client: one answer.
    Wrong,
    /// The secret is right, but the client may use it at the token endpoint only.
    NotPermitted,
    /// Too many wrong secrets; how long to wait.
    TooManyGuesses(Duration),
}
