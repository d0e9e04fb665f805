//! `GET /.well-known/oauth-protected-resource`: who issues tokens for the gateway (RFC 9728).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use serde::Serialize;

use super::PUBLIC_DOCUMENT;
use crate::Authority;

/// RFC 9728 section 2.
#[derive(Serialize)]
struct ResourceMetadata {
    /// The gateway's address: what clients compare with the address they asked (section 3.3).
    resource: String,
    authorization_servers: [String; 1],
    bearer_methods_supported: [&'static str; 1],
    resource_name: &'static str,
}

pub(crate) async fn get(State(authority): State<Arc<Authority>>) -> impl IntoResponse {
    let issuer = &authority.settings.issuer;
    let document = ResourceMetadata {
        resource: issuer.clone(),
        authorization_servers: [issuer.clone()],
        bearer_methods_supported: ["header"],
        resource_name: "OpenSearch",
    };
    ([(CACHE_CONTROL, PUBLIC_DOCUMENT)], Json(document))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::test_support::{Gateway, ISSUER};

    #[tokio::test]
    async fn the_document_is_exactly_this_and_its_resource_is_accepted() {
        let gateway = Gateway::start().await;
        let answer = gateway.get("/.well-known/oauth-protected-resource").await;
        let expected = json!({
            "resource": ISSUER,
            "authorization_servers": [ISSUER],
            "bearer_methods_supported": ["header"],
            "resource_name": "OpenSearch",
        });
        assert_eq!(answer.json(), expected);
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        let form = format!("grant_type=client_credentials&resource={ISSUER}");
        let request = gateway.form_as("/oauth/token", &form, "agent", &gateway.secret("agent"));
        assert_eq!(gateway.send(request).await.status, 200);
    }
}
