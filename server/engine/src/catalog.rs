//! What the names of a cluster stand for, read under an identity of the gateway's own that may do nothing else.

mod narrows;

use oauth4os_policy::catalog::Index;
use oauth4os_policy::{Catalog, EngineGrant};
use oauth4os_tokens::clock::UnixTime;
use reqwest::Method;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::backend_users::UserKind;
use crate::client::{ClientError, EngineClient};
use crate::hand_over::{HandOver, Sender};
use crate::identity::{HandedIdentity, Identities, IdentityError};

/// The name of the gateway itself, behind the prefix of its users.
pub(crate) const SUBJECT: &str = "_gateway";

/// Every index, open or closed, hidden or not, with its aliases and its data stream.
const PATH: &str = "/_resolve/index/*?expand_wildcards=all";

/// Reads the catalog of one cluster.
#[derive(Debug)]
pub struct CatalogReader {
    engine: EngineClient,
    hand_over: HandOver,
    identity: Mutex<Option<HandedIdentity>>,
    /// One of the indices that were read last.
    an_index: Mutex<Option<Box<str>>>,
}

/// The catalog could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The engine was not set up for it.
    #[error("the engine does not let the gateway read the names of its indices ({reason}): {what_to_do}")]
    NotAllowed {
        /// What the engine says.
        reason: String,
        /// What an administrator has to do.
        what_to_do: &'static str,
    },
    /// Not what the API promises.
    #[error("the engine's list of names cannot be read: {0}")]
    Answer(String),
    /// No identity for the gateway.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No answer.
    #[error(transparent)]
    Engine(#[from] ClientError),
}

impl CatalogReader {
    /// A reader of the cluster behind `engine`, which needs no identity of its own.
    #[must_use]
    pub fn new(engine: EngineClient, hand_over: HandOver) -> Self {
        Self { engine, hand_over, identity: Mutex::new(None), an_index: Mutex::new(None) }
    }

    /// Asks the engine.
    ///
    /// # Errors
    /// [`CatalogError`]: what was read before is then as good as it was.
    pub async fn read(&self, now: UnixTime) -> Result<Catalog, CatalogError> {
        let answer = match &self.hand_over {
            HandOver::Told(identities) => {
                let mut kept = self.identity.lock().await;
                let identity = current(identities, &mut kept, now)?;
                self.engine.send_as(identity, Method::GET, PATH, None).await?
            }
            HandOver::Users(users) => {
                let identity = users.of_catalog(now)?;
                self.engine.send_by(Sender::Fields(&identity), Method::GET, PATH).await?
            }
            HandOver::Signed(signer) => self.engine.send_by(Sender::Signed(signer, now), Method::GET, PATH).await?,
        };
        match answer.status.as_u16() {
            200 => {}
            401 | 403 => {
                return Err(CatalogError::NotAllowed { reason: answer.reason(), what_to_do: self.what_to_do() });
            }
            _ => return Err(answer.refused().into()),
        }
        let names = Names::deserialize(&answer.body).map_err(|error| CatalogError::Answer(error.to_string()))?;
        let is_fit = |index: &&NamedIndex| index.data_stream.is_none() && narrows::for_one(&index.name).is_some();
        *self.an_index.lock().await = names.indices.iter().find(is_fit).map(|index| index.name.clone());
        Ok(names.into_catalog())
    }

    fn what_to_do(&self) -> &'static str {
        match &self.hand_over {
            HandOver::Told(_) => "bring it up to date with `oauth4os engine setup --apply`",
            HandOver::Users(users) if matches!(users.kind(), UserKind::ApiKey) => {
                "make the key `names` anew with `oauth4os engine setup --apply`, and reload the gateway"
            }
            HandOver::Users(_) => {
                "`upstream.engine.basic.catalog_user` must be a user with this password who may `indices:admin/resolve/index` on `*`"
            }
            HandOver::Signed(_) => {
                "the principal that signs must be permitted `es:ESHttpGet` or its like, and `indices:admin/resolve/index` on `*`"
            }
        }
    }
}

fn current<'i>(
    identities: &Identities,
    kept: &'i mut Option<HandedIdentity>,
    now: UnixTime,
) -> Result<&'i HandedIdentity, IdentityError> {
    let is_good = kept.as_ref().is_some_and(|identity| !identity.is_due(now));
    if !is_good {
        *kept = None;
    }
    match kept {
        Some(identity) => Ok(identity),
        None => Ok(kept.insert(identities.hand_over(SUBJECT, &EngineGrant::catalog(), None, now)?)),
    }
}

/// The engine's answer to `_resolve/index`.
#[derive(Debug, Deserialize)]
struct Names {
    indices: Vec<NamedIndex>,
    /// Not read, but an answer without it is none of this API.
    #[serde(rename = "aliases")]
    _aliases: Vec<serde::de::IgnoredAny>,
    #[serde(rename = "data_streams")]
    _data_streams: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct NamedIndex {
    name: Box<str>,
    #[serde(default)]
    aliases: Vec<Box<str>>,
    #[serde(default)]
    data_stream: Option<Box<str>>,
}

impl Names {
    fn into_catalog(self) -> Catalog {
        Catalog::new(self.indices.into_iter().map(|index| Index {
            name: index.name,
            data_stream: index.data_stream,
            aliases: index.aliases,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_answer_is_read() {
        let answer = serde_json::json!({
            "indices": [
                {"name": "logs-app-1", "aliases": ["logs-all"], "attributes": ["open"]},
                {"name": ".ds-logs-stream-000001", "attributes": ["hidden", "open"], "data_stream": "logs-stream"},
                {"name": "plain", "attributes": ["open"]},
            ],
            "aliases": [{"name": "logs-all", "indices": ["logs-app-1"]}],
            "data_streams": [{"name": "logs-stream", "backing_indices": [".ds-logs-stream-000001"], "timestamp_field": "@timestamp"}],
        });
        assert_eq!(Names::deserialize(&answer).unwrap().into_catalog().len(), 2);
        for answer in [serde_json::json!({}), serde_json::json!({"indices": []}), serde_json::Value::Null] {
            assert!(Names::deserialize(&answer).is_err(), "{answer}");
        }
    }
}
