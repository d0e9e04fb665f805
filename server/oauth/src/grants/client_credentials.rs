//! The client credentials grant (RFC 6749 section 4.4): a client gets a token of its own.

use std::sync::Arc;

use super::issue::{Grant, IssueError, TokenResponse, issue};
use crate::http::{Caller, Form};
use crate::{Authority, Client};

/// The `grant_type`.
pub(crate) const GRANT_TYPE: &str = "client_credentials";

pub(crate) async fn redeem(
    authority: &Arc<Authority>,
    caller: &Caller,
    client: &Client,
    form: &Form,
) -> Result<TokenResponse, IssueError> {
    let grant = Grant {
        client_id: client.id.clone(),
        subject: None,
        requested: form.get("scope").map(ToOwned::to_owned),
        at_most: None,
        ends_by: None,
        audience: None,
        exchanged: None,
        grant_type: GRANT_TYPE,
    };
    issue(authority, caller, grant).await
}
