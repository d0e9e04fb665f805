//! The keys of the tokens that the engine is handed, as far as the endpoints have to do with them.

use std::fmt;

use axum::body::Bytes;
use oauth4os_store::Pending;
use oauth4os_tokens::clock::UnixTime;

/// Publishes the keys of internal tokens and puts new ones in their place.
pub trait EngineKeys: Send + Sync + fmt::Debug {
    /// The JWK Set that a cluster is to fetch; none where it is not to fetch any. The only cluster has no name.
    fn jwks(&self, cluster: Option<&str>) -> Option<Bytes>;

    /// Makes a key that each cluster goes over to once its engine takes it, unless one waits for that already. `None` where no
    /// cluster goes by a key.
    fn rotate(&self) -> Pending<'_, Option<NewKey>>;

    /// How far each cluster is that goes by a key.
    fn clusters(&self) -> Pending<'_, Vec<ClusterKeys>>;
}

/// The key that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub kid: String,
    /// Whether it was made just now.
    pub is_made: bool,
}

/// The keys of a cluster, by their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterKeys {
    /// Its name; the only cluster has none.
    pub cluster: Option<String>,
    /// The key that signs.
    pub signing: String,
    /// The key that is to sign once the engine takes it.
    pub waiting: Option<String>,
    /// The keys that have signed, and may still be taken by the engine.
    pub retiring: Vec<RetiringKey>,
    /// What keeps the cluster from going on, in a sentence.
    pub problem: Option<String>,
}

/// A key that has signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiringKey {
    /// Its id.
    pub kid: String,
    /// When its last token has ended.
    pub ends_at: Option<UnixTime>,
}

/// Without an engine: one key signs, one has signed, and one can be made.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Pretended(std::sync::atomic::AtomicBool);

#[cfg(test)]
impl EngineKeys for Pretended {
    fn jwks(&self, cluster: Option<&str>) -> Option<Bytes> {
        match cluster {
            None => Some(Bytes::from_static(br#"{"keys":[{"kid":"only"}]}"#)),
            Some("eu") => Some(Bytes::from_static(br#"{"keys":[{"kid":"of-eu"}]}"#)),
            Some(_) => None,
        }
    }

    fn rotate(&self) -> Pending<'_, Option<NewKey>> {
        let is_made = !self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
        Box::pin(async move { Ok(Some(NewKey { kid: "next".to_owned(), is_made })) })
    }

    fn clusters(&self) -> Pending<'_, Vec<ClusterKeys>> {
        let waiting = self.0.load(std::sync::atomic::Ordering::SeqCst).then(|| "next".to_owned());
        let retiring = vec![RetiringKey { kid: "old".to_owned(), ends_at: None }];
        let keys = ClusterKeys { cluster: None, signing: "only".to_owned(), waiting, retiring, problem: None };
        Box::pin(async move { Ok(vec![keys]) })
    }
}
