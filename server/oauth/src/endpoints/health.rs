//! `GET /healthz`: the process answers. `GET /readyz`: it can serve. Both without authentication.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use crate::Authority;

/// A disk that hangs is not one that answers.
const PATIENCE: Duration = Duration::from_secs(2);

pub(crate) async fn alive() -> impl IntoResponse {
    Json(json!({"status": "ok"}))
}

/// 503 with the reasons while the store does not answer or the gateway as a whole is not ready.
pub(crate) async fn ready(State(authority): State<Arc<Authority>>) -> Response {
    let mut reasons = authority.readiness.problems();
    match tokio::time::timeout(PATIENCE, authority.store.ping()).await {
        Ok(Ok(())) => {}
        // Why is for the log: it names files.
        Ok(Err(error)) => {
            tracing::error!(%error, "the store does not answer");
            reasons.push("the store does not answer".to_owned());
        }
        Err(_) => reasons.push(format!("the store has not answered within {} seconds", PATIENCE.as_secs())),
    }
    if reasons.is_empty() {
        Json(json!({"status": "ready"})).into_response()
    } else {
        let body = Json(json!({"status": "not ready", "reasons": reasons}));
        (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use oauth4os_store::Store as _;
    use serde_json::json;

    use crate::test_support::Gateway;

    #[tokio::test]
    async fn alive_and_ready() {
        let gateway = Gateway::start().await;
        let answer = gateway.get("/healthz").await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"status": "ok"})));
        assert_eq!(answer.header("cache-control"), "no-store");
        let answer = gateway.get("/readyz").await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"status": "ready"})));
    }

    #[tokio::test]
    async fn not_ready_says_why_and_is_alive_all_the_same() {
        let gateway = Gateway::start().await;
        gateway.readiness.set(&["the engine cannot be reached"]);
        let answer = gateway.get("/readyz").await;
        assert_eq!(answer.status.as_u16(), 503);
        assert_eq!(answer.json(), json!({"status": "not ready", "reasons": ["the engine cannot be reached"]}));
        gateway.readiness.set(&[]);
        assert_eq!(gateway.get("/readyz").await.status.as_u16(), 200);

        gateway.store.close().await.unwrap();
        let answer = gateway.get("/readyz").await;
        assert_eq!(answer.status.as_u16(), 503);
        assert_eq!(answer.json()["reasons"], json!(["the store does not answer"]));
        assert_eq!(gateway.get("/healthz").await.status.as_u16(), 200);
    }
}
