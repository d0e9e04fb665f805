//! `GET /_oauth4os/engine/jwks.json`, `GET /_oauth4os/engine/{cluster}/jwks.json`: the public keys of the tokens that the engine is
//! handed, for the engine to fetch. Never a key of access tokens, nor one of these among those.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;

use crate::Authority;
use crate::http::{ErrorCode, Refusal};

pub(crate) async fn get(State(authority): State<Arc<Authority>>) -> Response {
    document(&authority, None)
}

pub(crate) async fn get_of_cluster(
    State(authority): State<Arc<Authority>>,
    cluster: Result<Path<String>, PathRejection>,
) -> Response {
    match cluster {
        Ok(Path(cluster)) => document(&authority, Some(&cluster)),
        Err(_) => not_there(),
    }
}

/// Not to be cached: a key that is over must not be taken for one in force.
fn document(authority: &Authority, cluster: Option<&str>) -> Response {
    match authority.engine_keys.jwks(cluster) {
        Some(jwks) => ([(CONTENT_TYPE, "application/json")], jwks).into_response(),
        None => not_there(),
    }
}

fn not_there() -> Response {
    Refusal::new(ErrorCode::NotFound, "no engine fetches keys here (`upstream.engine.jwt.keys`)").into_response()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use crate::test_support::Gateway;

    #[tokio::test]
    async fn each_cluster_has_its_document_and_nothing_caches_it() {
        let gateway = Gateway::start().await;
        for (path, kid) in [("/_oauth4os/engine/jwks.json", "only"), ("/_oauth4os/engine/eu/jwks.json", "of-eu")] {
            let answer = gateway.get(path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}");
            assert_eq!(answer.header("content-type"), "application/json");
            assert_eq!(answer.header("cache-control"), "no-store");
            assert_eq!(answer.json()["keys"][0]["kid"], kid);
        }
        for path in
            ["/_oauth4os/engine/us/jwks.json", "/_oauth4os/engine/%ff/jwks.json", "/_oauth4os/engine//jwks.json"]
        {
            assert_eq!(gateway.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
        }
    }
}
