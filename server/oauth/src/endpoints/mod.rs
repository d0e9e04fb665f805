//! The endpoints, one file each, and the table of their paths.

mod access;
mod account;
mod authorize;
mod callback;
mod consent;
mod engine_jwks;
mod engine_keys;
mod health;
mod introspect;
mod jwks;
mod resource_metadata;
mod revoke;
mod server_metadata;
mod token;
mod token_by_id;
mod token_list;
mod whoami;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use crate::http::{ErrorCode, Refusal, finish};
use crate::{Authority, paths};

/// Keys and metadata change rarely and with overlap: caches may keep them for five minutes.
const PUBLIC_DOCUMENT: &str = "public, max-age=300";

pub(crate) fn router(authority: Arc<Authority>) -> Router {
    Router::new()
        .route(paths::TOKEN, post(token::post))
        .route(paths::AUTHORIZE, get(authorize::get).post(authorize::post))
        .route(paths::CALLBACK, get(callback::get))
        .route(paths::CONSENT, get(consent::get).post(consent::post))
        .route(paths::ACCOUNT, get(account::get).post(account::post))
        .route(paths::REVOKE, post(revoke::post))
        .route(paths::INTROSPECT, post(introspect::post))
        .route(paths::TOKENS, get(token_list::get))
        .route(paths::TOKEN_BY_ID, get(token_by_id::get).delete(token_by_id::delete))
        .route(paths::JWKS, get(jwks::get))
        .route(paths::WELL_KNOWN_JWKS, get(jwks::get))
        .route(paths::SERVER_METADATA, get(server_metadata::get))
        .route(paths::OPENID_CONFIGURATION, get(server_metadata::get_openid))
        .route(paths::RESOURCE_METADATA, get(resource_metadata::get))
        .route(paths::HEALTH, get(health::alive))
        .route(paths::READINESS, get(health::ready))
        .route(paths::WHOAMI, get(whoami::get))
        .route(paths::ENGINE_KEYS, get(engine_keys::get).post(engine_keys::post))
        .route(paths::ENGINE_JWKS, get(engine_jwks::get))
        .route(paths::ENGINE_JWKS_OF_CLUSTER, get(engine_jwks::get_of_cluster))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .layer(from_fn_with_state(Arc::clone(&authority), finish))
        .with_state(authority)
}

async fn method_not_allowed() -> Refusal {
    Refusal::new(
        ErrorCode::MethodNotAllowed,
        "this endpoint does not take this method; the header `Allow` names those it takes",
    )
}

async fn not_found() -> Refusal {
    Refusal::new(
        ErrorCode::NotFound,
        "there is no such endpoint; `/.well-known/oauth-authorization-server` names those there are",
    )
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use crate::test_support::Gateway;

    #[tokio::test]
    async fn unknown_paths_are_json_with_the_request_id() {
        let gateway = Gateway::start().await;
        for path in [
            "/oauth",
            "/oauth/",
            "/oauth/token/",
            "/oauth/tokens/x",
            "/.well-known/x",
            "/_oauth4os/v1",
            "/oauth/token/a/b",
            "/healthz/",
        ] {
            let answer = gateway.get(path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.json()["error"], "not_found");
            assert_eq!(answer.json()["request_id"], "req_test");
            assert_eq!(answer.header("x-request-id"), "req_test");
            assert_eq!(answer.header("cache-control"), "no-store");
        }
    }

    #[tokio::test]
    async fn wrong_methods_name_the_right_ones() {
        let gateway = Gateway::start().await;
        for (path, allow) in [
            ("/oauth/token", "POST"),
            ("/oauth/revoke", "POST"),
            ("/oauth/introspect", "POST"),
            ("/oauth/tokens", "GET,HEAD"),
            ("/oauth/token/tok_1", "GET,HEAD,DELETE"),
            ("/oauth/jwks", "GET,HEAD"),
            ("/.well-known/oauth-protected-resource", "GET,HEAD"),
            ("/_oauth4os/v1/whoami", "GET,HEAD"),
            ("/_oauth4os/v1/engine/keys", "GET,HEAD,POST"),
            ("/_oauth4os/engine/jwks.json", "GET,HEAD"),
        ] {
            for method in [Method::PATCH, Method::OPTIONS, Method::PUT] {
                let answer = gateway.send(gateway.request(method, path)).await;
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
                assert_eq!(answer.header("allow"), allow, "{path}");
                assert_eq!(answer.json()["error"], "method_not_allowed");
            }
        }
    }

    #[tokio::test]
    async fn a_request_without_id_is_given_one() {
        let gateway = Gateway::start().await;
        let request = http::Request::get("/oauth/x").body(axum::body::Body::empty()).unwrap();
        let answer = gateway.send(request).await;
        let id = answer.header("x-request-id").to_owned();
        assert!(id.starts_with("req_") && id.len() > 20, "{id}");
        assert_eq!(answer.json()["request_id"], id);
    }

    #[tokio::test]
    async fn head_has_the_headers_and_no_body() {
        let gateway = Gateway::start().await;
        for path in ["/oauth/jwks", "/oauth/nothing", "/oauth/tokens"] {
            let get = gateway.get(path).await;
            let head = gateway.send(gateway.request(Method::HEAD, path)).await;
            assert_eq!(head.status, get.status);
            assert!(head.body.is_empty(), "{path}");
            assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
        }
    }
}
