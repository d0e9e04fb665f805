//! Whether the engine answers for the permitted part of what is asked for (`do_not_fail_on_forbidden`), seen by asking it.

use oauth4os_policy::{Catalog, Clusters, EngineGrant, Forbids, Restrictions, ScopeSet};
use oauth4os_tokens::clock::UnixTime;
use reqwest::{Method, StatusCode};
use serde::Deserialize as _;

use super::{CatalogError, CatalogReader, Names, PATH, SUBJECT};
use crate::hand_over::HandOver;

impl CatalogReader {
    /// Asks for the names of everything under an identity that is for one index: an engine that narrows answers with this index, any
    /// other refuses. The security plugin's own index is among everything, so there is always something to leave out. Without an
    /// index to ask for, and where the engine is told no scopes, it has not been seen.
    ///
    /// # Errors
    /// [`CatalogError`]: nothing was seen.
    pub async fn narrows(&self, now: UnixTime) -> Result<bool, CatalogError> {
        let HandOver::Told(identities) = &self.hand_over else { return Ok(false) };
        let index = self.an_index.lock().await.clone();
        let Some(scopes) = index.as_deref().and_then(for_one) else { return Ok(false) };
        let grant = EngineGrant::of(&scopes, &Restrictions::default(), &Forbids::new(), Catalog::none());
        let identity = identities.hand_over(SUBJECT, &grant, None, now)?;
        let answer = self.engine.send_as(&identity, Method::GET, PATH, None).await?;
        match answer.status {
            StatusCode::OK => {
                let names =
                    Names::deserialize(&answer.body).map_err(|error| CatalogError::Answer(error.to_string()))?;
                Ok(matches!(names.indices.as_slice(), [one] if Some(&*one.name) == index.as_deref()))
            }
            StatusCode::FORBIDDEN => Ok(false),
            _ => Err(answer.refused().into()),
        }
    }
}

/// The right to one index. Not for names that are hidden, or that no scope can have.
pub(super) fn for_one(index: &str) -> Option<ScopeSet> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+@~".contains(&byte);
    let is_fit = !index.starts_with('.') && index.bytes().all(is_plain);
    is_fit.then(|| ScopeSet::parse(&format!("read:{index}"), &Clusters::default()).ok())?
}

#[cfg(test)]
mod tests {
    use super::for_one;

    #[test]
    fn only_a_plain_index_is_asked_for() {
        assert!(for_one("logs-app-2026.01.01").is_some_and(|scopes| scopes.len() == 1));
        for index in [".kibana_1", "a b", "a*", "ä", "cluster", "_all", ""] {
            assert!(for_one(index).is_none(), "{index}");
        }
    }
}
