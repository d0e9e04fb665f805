//! `GET /oauth/jwks`: the public keys of access tokens (RFC 7517 section 5).

use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use super::PUBLIC_DOCUMENT;
use crate::Authority;

pub(crate) async fn get(State(authority): State<Arc<Authority>>) -> impl IntoResponse {
    (
        // Not `application/jwk-set+json` (RFC 7517 section 8.5.2): several clients take plain JSON only.
        [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, PUBLIC_DOCUMENT)],
        authority.signing().jwks.clone(),
    )
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use oauth4os_tokens::keys::{Algorithm, KeySet, SigningKey};

    use crate::AuthorityError;
    use crate::test_support::Gateway;

    #[tokio::test]
    async fn both_names_show_the_public_key_and_no_private_member() {
        let gateway = Gateway::start().await;
        let answer = gateway.get("/oauth/jwks").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        assert_eq!(answer.body, gateway.get("/.well-known/jwks.json").await.body);
        let keys = answer.json()["keys"].as_array().unwrap().clone();
        assert_eq!(keys.len(), 1);
        let mut members: Vec<&String> = keys[0].as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(keys[0]["alg"], "ES256");
    }

    #[tokio::test]
    async fn rotation_is_in_force_at_once_and_old_tokens_go_on() {
        let gateway = Gateway::start().await;
        let old = gateway.token("agent").await;
        let before = gateway.authority.verifier();
        let next = SigningKey::generate(Algorithm::Es256).unwrap();
        let kid = next.kid().to_owned();
        let previous = gateway.authority.signing().keys.active().public().clone();
        gateway.authority.replace_keys(KeySet::new(next).also_verifying(previous).unwrap()).unwrap();

        let keys = gateway.get("/oauth/jwks").await.json()["keys"].as_array().unwrap().clone();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0]["kid"], kid);
        let new = gateway.token("agent").await;
        assert!(before.verify(&new, gateway.now()).is_err());
        assert!(gateway.authority.verifier().verify(&new, gateway.now()).is_ok());
        for token in [&old, &new] {
            assert_eq!(gateway.bearer("/_oauth4os/v1/whoami", token).await.status, StatusCode::OK);
        }
    }

    #[tokio::test]
    async fn a_key_of_another_algorithm_changes_nothing() {
        let gateway = Gateway::start().await;
        let before = gateway.get("/oauth/jwks").await.body;
        let rsa = SigningKey::generate(Algorithm::Rs256).unwrap();
        let refused = gateway.authority.replace_keys(KeySet::new(rsa));
        assert!(matches!(refused, Err(AuthorityError::WrongKey { .. })));
        assert_eq!(gateway.get("/oauth/jwks").await.body, before);
    }
}
