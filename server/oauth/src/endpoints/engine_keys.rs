//! `POST /_oauth4os/v1/engine/keys`: a new key for the tokens that the engine is handed, which comes into use by itself where the
//! engine takes it. `GET`: how far that is. For administrators (`admin:gateway`).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use oauth4os_store::StoreError;
use oauth4os_telemetry::time::Rfc3339;
use serde::Serialize;

use super::access::{AccessError, Requester};
use crate::authority::to_the_end;
use crate::http::{Caller, ErrorCode, Refusal};
use crate::{Authority, ClusterKeys, NewKey};

/// The audit event of a request for a new key.
const MADE: &str = "engine_key.made";

#[derive(Debug, thiserror::Error)]
enum EngineKeysError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("the keys for the engine are the administrator's: that needs the scope `admin:gateway`")]
    NotAdministrator,
    #[error("no cluster goes by a key: every `upstream.engine.driver` is another than `jwt`")]
    NoKeys,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<EngineKeysError> for Refusal {
    fn from(error: EngineKeysError) -> Self {
        match error {
            EngineKeysError::Access(error) => error.into(),
            EngineKeysError::NotAdministrator => {
                Self::new(ErrorCode::InsufficientScope, error).needing("admin:gateway")
            }
            EngineKeysError::NoKeys => Self::new(ErrorCode::InvalidRequest, error),
            EngineKeysError::Store(error) => Self::store(&error),
        }
    }
}

/// How far every cluster is.
#[derive(Serialize)]
struct KeysView {
    /// The key that waits until every cluster has gone over to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    clusters: Vec<ClusterView>,
}

#[derive(Serialize)]
struct ClusterView {
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    signing: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    retiring: Vec<RetiringView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Serialize)]
struct RetiringView {
    kid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Rfc3339>,
}

pub(crate) async fn get(State(authority): State<Arc<Authority>>, caller: Caller, headers: HeaderMap) -> Response {
    let found = async {
        let requester = Requester::of_request(&authority, &caller, &headers).await?;
        if !requester.administrator {
            return Err(EngineKeysError::NotAdministrator);
        }
        view(&authority, None).await
    };
    match found.await {
        Ok(view) => Json(view).into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

/// Answers 201 with a new key, and 200 when one waits already.
pub(crate) async fn post(State(authority): State<Arc<Authority>>, caller: Caller, headers: HeaderMap) -> Response {
    match make(&authority, &caller, &headers).await {
        Ok((status, view)) => (status, Json(view)).into_response(),
        Err(error) => Refusal::from(error).into_response(),
    }
}

async fn make(
    authority: &Arc<Authority>,
    caller: &Caller,
    headers: &HeaderMap,
) -> Result<(StatusCode, KeysView), EngineKeysError> {
    let requester = Requester::of_request(authority, caller, headers).await?;
    if !requester.administrator {
        let reason = EngineKeysError::NotAdministrator.to_string();
        let mut event = caller.event(authority.now(), MADE, "deny");
        event.client = Some(&requester.client_id);
        event.reason = Some(&reason);
        authority.audit.record(&event);
        return Err(EngineKeysError::NotAdministrator);
    }
    let keys = Arc::clone(&authority.engine_keys);
    let made = to_the_end(async move { keys.rotate().await }).await.unwrap_or(Err(StoreError::Closed))?;
    let NewKey { kid, is_made } = made.ok_or(EngineKeysError::NoKeys)?;
    if is_made {
        let mut event = caller.event(authority.now(), MADE, "allow");
        event.client = Some(&requester.client_id);
        event.kid = Some(&kid);
        authority.audit.record(&event);
    }
    let status = if is_made { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, view(authority, Some(kid)).await?))
}

async fn view(authority: &Authority, kid: Option<String>) -> Result<KeysView, EngineKeysError> {
    let clusters = authority.engine_keys.clusters().await?;
    Ok(KeysView { kid, clusters: clusters.into_iter().map(ClusterView::of).collect() })
}

impl ClusterView {
    fn of(keys: ClusterKeys) -> Self {
        let ClusterKeys { cluster, signing, waiting, retiring, problem } = keys;
        let retiring =
            retiring.into_iter().map(|key| RetiringView { kid: key.kid, ends_at: key.ends_at.map(Rfc3339) }).collect();
        Self { cluster, signing, waiting, retiring, problem }
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::json;

    use crate::test_support::{Gateway, with_bearer};

    const PATH: &str = "/_oauth4os/v1/engine/keys";

    #[tokio::test]
    async fn an_administrator_makes_one_key_however_often_it_is_asked_for() {
        let gateway = Gateway::start().await;
        let token = gateway.token("admin").await;
        let post = || gateway.send(with_bearer(gateway.request(Method::POST, PATH), &token));
        let answer = post().await;
        assert_eq!(answer.status, StatusCode::CREATED);
        assert_eq!(answer.json()["kid"], "next");
        assert_eq!(answer.json()["clusters"][0]["waiting"], "next");
        assert_eq!(post().await.status, StatusCode::OK);
        let shown = gateway.bearer(PATH, &token).await;
        assert_eq!(shown.status, StatusCode::OK);
        assert_eq!(
            shown.json(),
            json!({"clusters": [{"signing": "only", "waiting": "next", "retiring": [{"kid": "old"}]}]})
        );
        let events: Vec<_> =
            gateway.into_audit().into_iter().filter(|event| event["event"] == "engine_key.made").collect();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((&events[0]["kid"], &events[0]["decision"]), (&json!("next"), &json!("allow")));
    }

    #[tokio::test]
    async fn nobody_else_may_and_the_attempt_is_recorded() {
        let gateway = Gateway::start().await;
        let agent = gateway.token("agent").await;
        for method in [Method::GET, Method::POST] {
            let refused = gateway.send(with_bearer(gateway.request(method.clone(), PATH), &agent)).await;
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method}");
            assert_eq!(refused.json()["error"], "insufficient_scope");
            let nobody = gateway.send(gateway.request(method.clone(), PATH)).await;
            assert_eq!(nobody.status, StatusCode::UNAUTHORIZED, "{method}");
        }
        let events: Vec<_> =
            gateway.into_audit().into_iter().filter(|event| event["event"] == "engine_key.made").collect();
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((&events[0]["client"], &events[0]["decision"]), (&json!("agent"), &json!("deny")));
    }
}
