//! Makes sure that the gateway's own connections open nothing by themselves.
//!
//! The security plugin takes a client certificate of `plugins.security.authcz.admin_dn` for its administrator, before it
//! looks at anything a request says. With such a certificate every request of every client would be the administrator's.

use reqwest::{Method, StatusCode};

use crate::client::{ClientError, EngineClient};
use crate::setup::API;

/// It is not known that all is well; nothing must be forwarded.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// All requests would be the administrator's.
    #[error(
        "the engine takes the gateway's own certificate for its administrator's (`plugins.security.authcz.admin_dn`), so every request would have every right: give another one in `upstream.engine.client_certificate`"
    )]
    Administrator,
    /// No answer that says anything.
    #[error(transparent)]
    Engine(#[from] ClientError),
}

/// Asks for something that only administrators see, without an identity, over connections like those that requests
/// are forwarded on.
///
/// # Errors
/// [`GuardError`].
pub async fn is_no_administrator(engine: &EngineClient) -> Result<(), GuardError> {
    let answer = engine.send(Method::GET, &format!("{API}/roles"), None).await?;
    match answer.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(()),
        status if status.is_success() => Err(GuardError::Administrator),
        _ => Err(answer.refused().into()),
    }
}
