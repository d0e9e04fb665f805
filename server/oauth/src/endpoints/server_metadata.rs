//! What the authorization server can do: RFC 8414, and the same under the name OpenID clients look for.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use oauth4os_tokens::jose::Algorithm;
use serde::Serialize;

use super::PUBLIC_DOCUMENT;
use crate::Authority;
use crate::grants::{GRANT_TYPES, authorization_code, refresh_token};
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
    introspection_endpoint: String,
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
    token_endpoint_auth_signing_alg_values_supported: [&'static str; 10],
    revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    revocation_endpoint_auth_signing_alg_values_supported: [&'static str; 10],
    introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    introspection_endpoint_auth_signing_alg_values_supported: [&'static str; 10],
    /// RFC 9701 section 7.
    introspection_signing_alg_values_supported: [&'static str; 1],
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

/// The grants that begin with a person.
const FOR_PERSONS: [&str; 2] = [authorization_code::GRANT_TYPE, refresh_token::GRANT_TYPE];

/// `tls_client_auth` only where a client has a certificate, which the configuration allows where certificates are asked for.
fn auth_methods(authority: &Authority) -> Vec<&'static str> {
    let by_certificate = authority.clients.have_certificates().then_some("tls_client_auth");
    ["client_secret_basic", "client_secret_post", "private_key_jwt"].into_iter().chain(by_certificate).collect()
}

impl ServerMetadata {
    fn of(authority: &Authority) -> Self {
        let for_persons = !authority.providers.for_login().is_empty();
        let where_persons_log_in = |values: &[&'static str]| if for_persons { values.to_vec() } else { Vec::new() };
        let confidential = auth_methods(authority);
        let auth_methods = [confidential.clone(), where_persons_log_in(&["none"])].concat();
        Self {
            authorization_endpoint: for_persons.then(|| authority.url(paths::AUTHORIZE)),
            issuer: authority.settings.issuer.clone(),
            token_endpoint: authority.url(paths::TOKEN),
            revocation_endpoint: authority.url(paths::REVOKE),
            introspection_endpoint: authority.url(paths::INTROSPECT),
            jwks_uri: authority.url(paths::JWKS),
            grant_types_supported: GRANT_TYPES
                .into_iter()
                .filter(|grant| for_persons || !FOR_PERSONS.contains(grant))
                .collect(),
            response_types_supported: where_persons_log_in(&["code"]),
            response_modes_supported: where_persons_log_in(&["query"]),
            code_challenge_methods_supported: where_persons_log_in(&["S256"]),
            prompt_values_supported: where_persons_log_in(&["none", "login", "consent"]),
            authorization_response_iss_parameter_supported: for_persons,
            token_endpoint_auth_methods_supported: auth_methods.clone(),
            token_endpoint_auth_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::as_str),
            revocation_endpoint_auth_methods_supported: auth_methods,
            revocation_endpoint_auth_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::as_str),
            introspection_endpoint_auth_methods_supported: confidential,
            introspection_endpoint_auth_signing_alg_values_supported: Algorithm::ALL.map(Algorithm::as_str),
            introspection_signing_alg_values_supported: [oauth4os_tokens::keys::Algorithm::Es256.as_str()],
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
        let methods = ["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"];
        let algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"];
        let mut expected = json!({
            "issuer": ISSUER,
            "token_endpoint": format!("{ISSUER}/oauth/token"),
            "revocation_endpoint": format!("{ISSUER}/oauth/revoke"),
            "introspection_endpoint": format!("{ISSUER}/oauth/introspect"),
            "jwks_uri": format!("{ISSUER}/oauth/jwks"),
            "grant_types_supported": [
                "client_credentials",
                "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ],
            "response_types_supported": [],
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint_auth_methods_supported": methods,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_signing_alg_values_supported": ["ES256"],
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
        let methods = document["token_endpoint_auth_methods_supported"].as_array().unwrap();
        let own = gateway.token("runner").await;
        let access_token = "urn:ietf:params:oauth:token-type:access_token";
        for (number, method) in methods.iter().enumerate() {
            for grant in document["grant_types_supported"].as_array().unwrap() {
                let grant = grant.as_str().unwrap();
                let mut form = format!("grant_type={grant}");
                if grant.ends_with(":token-exchange") {
                    form.push_str(&format!("&subject_token={own}&subject_token_type={access_token}"));
                }
                let secret = gateway.secret("runner");
                let jti = number.to_string();
                // What clients send to the other endpoint afterwards.
                let as_runner = |path: &str, form: &str| gateway.form_as(path, form, "runner", &secret);
                let as_poster = |path: &str, form: &str| {
                    gateway.form(path, &format!("{form}&client_id=runner&client_secret={secret}"))
                };
                let as_mesh = |path: &str, form: &str| {
                    gateway.form_by_certificate(path, &format!("{form}&client_id=mesh"), &["mesh.example.com"])
                };
                let as_signer = |path: &str, form: &str, jti: &str| {
                    gateway.form(path, &format!("{form}&{}", gateway.client_assertion(jti)))
                };
                let request = match (grant, method.as_str().unwrap()) {
                    ("urn:ietf:params:oauth:grant-type:jwt-bearer", _) => {
                        let mut claims = gateway.workload_claims(&jti);
                        claims["ref"] = json!("refs/heads/other");
                        let assertion = gateway.signed(&json!({"alg": "ES256"}), &claims);
                        gateway.form(&path("token_endpoint"), &format!("{form}&assertion={assertion}"))
                    }
                    // Who has these may not exchange.
                    (grant, "private_key_jwt" | "tls_client_auth") if grant.ends_with(":token-exchange") => continue,
                    (_, "client_secret_basic") => as_runner(&path("token_endpoint"), &form),
                    (_, "client_secret_post") => as_poster(&path("token_endpoint"), &form),
                    (grant, "private_key_jwt") => {
                        as_signer(&path("token_endpoint"), &form, &format!("{jti}{}", grant.len()))
                    }
                    (_, "tls_client_auth") => as_mesh(&path("token_endpoint"), &form),
                    other => panic!("{other:?}"),
                };
                let answer = gateway.send(request).await;
                assert_eq!(answer.status, StatusCode::OK, "{method} {grant}");
                let token = answer.json()["access_token"].as_str().unwrap().to_owned();
                let header = gateway.decoded_part(&token, 0);
                let keys = gateway.get(&path("jwks_uri")).await.json();
                assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]));
                assert_eq!(gateway.decoded_part(&token, 1)["iss"], document["issuer"]);
                let form = format!("token={token}");
                let revoke = match gateway.decoded_part(&token, 1)["client_id"].as_str().unwrap() {
                    "signer" => as_signer(&path("revocation_endpoint"), &form, &format!("{jti}r{}", grant.len())),
                    "mesh" => as_mesh(&path("revocation_endpoint"), &form),
                    "agent" => gateway.form_as(&path("revocation_endpoint"), &form, "agent", &gateway.secret("agent")),
                    _ if method == "client_secret_post" => as_poster(&path("revocation_endpoint"), &form),
                    _ => as_runner(&path("revocation_endpoint"), &form),
                };
                assert_eq!(gateway.send(revoke).await.status, StatusCode::OK);
                gateway.bearer("/_oauth4os/v1/whoami", &token).await.is_refused(401, "invalid_token");
            }
        }
        let resource: Value = gateway.get("/.well-known/oauth-protected-resource").await.json();
        assert_eq!(resource["resource"], document["protected_resources"][0]);
        assert_eq!(resource["authorization_servers"][0], document["issuer"]);
        let post = gateway.send(gateway.request(Method::POST, "/.well-known/openid-configuration")).await;
        assert_eq!(post.status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
