//! Discovery documents and JWK Sets.

use std::time::Duration;

use oauth4os_tokens::id::sha256;
use oauth4os_tokens::jose::{Algorithm, ForeignKey, UnusableKey, json_object};
use reqwest::Url;
use serde_json::Value;

use crate::address::Trust;
use crate::fetch::{FetchError, Fetcher};

/// The most keys of one set, usable or not.
const MAX_KEYS: usize = 100;

/// A provider's keys, and how long they may be kept if the provider says so.
pub(crate) struct KeySet {
    pub(crate) keys: Vec<ForeignKey>,
    /// Changes when the usable keys change, and not with their order.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) max_age: Option<Duration>,
    /// Keys that are left out although they claim to be for signatures.
    pub(crate) refused: Vec<UnusableKey>,
}

/// Where the keys are, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPlace {
    pub(crate) url: Url,
    pub(crate) trust: Trust,
}

/// Asks the provider's discovery document where its keys are (OpenID Connect Discovery 1.0 section 4). The document must
/// name exactly this issuer: else any document found under the address would speak for it.
pub(crate) async fn discover(fetcher: &Fetcher, issuer: &str) -> Result<KeyPlace, FetchError> {
    let text = format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer));
    let refused = |problem| FetchError::Content { url: text.clone(), problem };
    let url = Url::parse(&text).map_err(|_| refused("this is not a URL"))?;
    let fetched = fetcher.get(&url, Trust::Configured).await?;
    let document = json_object(&fetched.body).ok_or_else(|| refused("the document is not one JSON object"))?;
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(refused(
            "the document is of another issuer; write `issuer` exactly as the provider does, final slash included",
        ));
    }
    let place = document.get("jwks_uri").and_then(Value::as_str).ok_or_else(|| refused("it has no `jwks_uri`"))?;
    let place = Url::parse(place).map_err(|_| refused("its `jwks_uri` is not a URL"))?;
    // Scheme, host and port as configured: the provider itself.
    let trust = if place.origin() == url.origin() { Trust::Configured } else { Trust::Discovered };
    Ok(KeyPlace { url: place, trust })
}

/// Fetches a JWK Set. Keys that are of no use here are left out; the others are taken.
pub(crate) async fn keys(fetcher: &Fetcher, place: &KeyPlace, taken: &[Algorithm]) -> Result<KeySet, FetchError> {
    let refused = |problem| FetchError::Content { url: place.url.to_string(), problem };
    let fetched = fetcher.get(&place.url, place.trust).await?;
    let document = json_object(&fetched.body).ok_or_else(|| refused("the document is not one JSON object"))?;
    let Some(Value::Array(members)) = document.get("keys") else {
        return Err(refused("the document is no JWK Set: it has no list `keys`"));
    };
    if members.len() > MAX_KEYS {
        return Err(refused("the document has more than 100 keys"));
    }
    let mut set = KeySet { keys: Vec::new(), fingerprint: [0; 32], max_age: fetched.max_age, refused: Vec::new() };
    let mut texts = Vec::new();
    for member in members {
        let Value::Object(jwk) = member else {
            return Err(refused("one of its keys is not an object"));
        };
        match ForeignKey::parse(jwk, taken) {
            Ok(key) => {
                set.keys.push(key);
                texts.push(member.to_string());
            }
            // Keys for encryption or of other algorithms are nothing to speak of.
            Err(UnusableKey::Purpose) => {}
            Err(problem) => set.refused.push(problem),
        }
    }
    texts.sort_unstable();
    set.fingerprint = sha256(texts.join("\n").as_bytes());
    Ok(set)
}
