//! Whether a cluster takes tokens that a key has signed: asked of every node, since each knows the keys by itself.

use std::sync::Arc;

use oauth4os_policy::EngineGrant;
use oauth4os_tokens::clock::UnixTime;
use oauth4os_tokens::keys::SigningKey;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::catalog::SUBJECT;
use crate::client::EngineClient;
use crate::identity::{HandedIdentity, Identities, IdentityError};

/// Where the security plugin says for whom it takes somebody.
pub(crate) const AUTHINFO: &str = "/_plugins/_security/authinfo";

/// What the nodes of a cluster make of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Nodes that take a token of it.
    pub takes: usize,
    /// Nodes that do not, by their addresses.
    pub refuses: Vec<String>,
    /// Nodes that gave no answer that says it, with what they said.
    pub unknown: Vec<String>,
}

impl Seen {
    /// Whether no node would refuse a token.
    #[must_use]
    pub fn is_taken_by_all(&self) -> bool {
        self.takes > 0 && self.refuses.is_empty() && self.unknown.is_empty()
    }

    /// Whether no node would take one.
    #[must_use]
    pub fn is_refused_by_all(&self) -> bool {
        self.takes == 0 && self.unknown.is_empty()
    }
}

/// Shows each node a token of the gateway's own that is signed with `key`.
///
/// # Errors
/// When no such token can be made.
pub async fn seen(
    engine: &EngineClient,
    identities: &Identities,
    key: &Arc<SigningKey>,
    now: UnixTime,
) -> Result<Seen, IdentityError> {
    let identities = identities.signed_with(Arc::clone(key));
    let identity = identities.hand_over(SUBJECT, &EngineGrant::catalog(), None, now)?;
    let user = identities.naming().user(SUBJECT);
    let mut seen = Seen::default();
    for (url, node) in engine.each_node() {
        match is_taken_by(&node, &identity, &user).await {
            Ok(true) => seen.takes += 1,
            Ok(false) => seen.refuses.push(url.to_owned()),
            Err(sentence) => seen.unknown.push(sentence),
        }
    }
    Ok(seen)
}

async fn is_taken_by(node: &EngineClient, identity: &HandedIdentity, user: &str) -> Result<bool, String> {
    let answer = node.send_as(identity, Method::GET, AUTHINFO, None).await.map_err(|error| error.to_string())?;
    match answer.status {
        // Whoever else it is taken for, it is not for the key's sake.
        StatusCode::OK => Ok(answer.body.get("user_name").and_then(Value::as_str) == Some(user)),
        StatusCode::UNAUTHORIZED => Ok(false),
        _ => Err(answer.refused().to_string()),
    }
}
