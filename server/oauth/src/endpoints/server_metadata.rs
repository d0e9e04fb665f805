//! What the authorization server can do: RFC 8414, and the same under the name OpenID clients look for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use serde::Serialize;

use super::PUBLIC_DOCUMENT;
use crate::Authority;
use crate::grants::{GRANT_TYPES, client_credentials};
use crate::paths;

/// RFC 8414 section 2. Only what is true, and only what works at the place named.
#[derive(Serialize)]
struct ServerMetadata {
    issuer: String,
    /// Where persons can log in at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    revocation_endpoint: String,
    jwks_uri: String,
    grant_types_supported: Vec<&'static str>,
    /// Required; empty where there is no authorization endpoint.
    response_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    response_modes_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    code_challenge_methods_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prompt_values_supported: Vec<&'static str>,
    /// RFC 9207 section 3.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    authorization_response_iss_parameter_supported: bool,
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    /// RFC 9728 section 4.
    protected_resources: [String; 1],
}

/// OpenID Connect Discovery 1.0 section 3. The gateway is no OpenID provider: it issues no ID tokens, which the empty
/// lists say. The document is here because many clients look for keys and endpoints under this name only.
#[derive(Serialize)]
struct OpenIdConfiguration {
    #[serde(flatten)]
    server: ServerMetadata,
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: [&'static str; 0],
}

const AUTH_METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

impl ServerMetadata {
    fn of(authority: &Authority) -> Self {
        let for_persons = !authority.providers.for_login().is_empty();
        let where_persons_log_in = |values: &[&'static str]| if for_persons { values.to_vec() } else { Vec::new() };
        let auth_methods = [AUTH_METHODS.to_vec(), where_persons_log_in(&["none"])].concat();
        Self {
            authorization_endpoint: for_persons.then(|| authority.url(paths::AUTHORIZE)),
            issuer: authority.settings.issuer.clone(),
            token_endpoint: authority.url(paths::TOKEN),
            revocation_endpoint: authority.url(paths::REVOKE),
            jwks_uri: authority.url(paths::JWKS),
            grant_types_supported: GRANT_TYPES
                .into_iter()
                .filter(|grant| for_persons || *grant == client_credentials::GRANT_TYPE)
                .collect(),
            response_types_supported: where_persons_log_in(&["code"]),
            response_modes_supported: where_persons_log_in(&["query"]),
            code_challenge_methods_supported: where_persons_log_in(&["S256"]),
            prompt_values_supported: where_persons_log_in(&["none", "login", "consent"]),
            authorization_response_iss_parameter_supported: for_persons,
            token_endpoint_auth_methods_supported: auth_methods.clone(),
            revocation_endpoint_auth_methods_supported: auth_methods,
            protected_resources: [authority.settings.issuer.clone()],
        }
    }
}

pub(crate) async fn get(State(authority): State<Arc<Authority>>) -> impl IntoResponse {
    ([(CACHE_CONTROL, PUBLIC_DOCUMENT)], Json(ServerMetadata::of(&authority)))
}

pub(crate) async fn get_openid(State(authority): State<Arc<Authority>>) -> impl IntoResponse {
    let document = OpenIdConfiguration {
        server: ServerMetadata::of(&authority),
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: [],
    };
    ([(CACHE_CONTROL, PUBLIC_DOCUMENT)], Json(document))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use serde_json::{Value, json};

    use crate::test_support::{Gateway, ISSUER};

    #[tokio::test]
    async fn the_document_is_exactly_this() {
        let gateway = Gateway::start().await;
        let answer = gateway.get("/.well-known/oauth-authorization-server").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("cache-control"), "public, max-age=300");
        let mut expected = json!({
            "issuer": ISSUER,
            "token_endpoint": format!("{ISSUER}/oauth/token"),
            "revocation_endpoint": format!("{ISSUER}/oauth/revoke"),
            "jwks_uri": format!("{ISSUER}/oauth/jwks"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "protected_resources": [ISSUER],
        });
        assert_eq!(answer.json(), expected);
        expected["subject_types_supported"] = json!(["public"]);
        expected["id_token_signing_alg_values_supported"] = json!([]);
        assert_eq!(gateway.get("/.well-known/openid-configuration").await.json(), expected);
    }

    #[tokio::test]
    async fn what_is_advertised_works_where_it_is_advertised() {
        let gateway = Gateway::start().await;
        let document = gateway.get("/.well-known/oauth-authorization-server").await.json();
        let path = |name: &str| -> String { document[name].as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned() };
        for method in document["token_endpoint_auth_methods_supported"].as_array().unwrap() {
            for grant in document["grant_types_supported"].as_array().unwrap() {
                let form = format!("grant_type={}", grant.as_str().unwrap());
                let secret = gateway.secret("agent");
                let request = match method.as_str().unwrap() {
                    "client_secret_basic" => gateway.form_as(&path("token_endpoint"), &form, "agent", &secret),
                    "client_secret_post" => {
                        gateway.form(&path("token_endpoint"), &format!("{form}&client_id=agent&client_secret={secret}"))
                    }
                    other => panic!("{other}"),
                };
                let answer = gateway.send(request).await;
                assert_eq!(answer.status, StatusCode::OK, "{method} {grant}");
                let token = answer.json()["access_token"].as_str().unwrap().to_owned();
                let header = gateway.decoded_part(&token, 0);
                let keys = gateway.get(&path("jwks_uri")).await.json();
                assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]));
                assert_eq!(gateway.decoded_part(&token, 1)["iss"], document["issuer"]);
                let revoke = gateway.form_as(&path("revocation_endpoint"), &format!("token={token}"), "agent", &secret);
                assert_eq!(gateway.send(revoke).await.status, StatusCode::OK);
            }
        }
        let resource: Value = gateway.get("/.well-known/oauth-protected-resource").await.json();
        assert_eq!(resource["resource"], document["protected_resources"][0]);
        assert_eq!(resource["authorization_servers"][0], document["issuer"]);
        let post = gateway.send(gateway.request(Method::POST, "/.well-known/openid-configuration")).await;
        assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
