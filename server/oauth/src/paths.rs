//! Where the endpoints are, relative to the issuer.

pub(crate) const TOKEN: &str = "/oauth/token";
pub(crate) const AUTHORIZE: &str = "/oauth/authorize";
pub(crate) const CALLBACK: &str = "/oauth/callback/{provider}";
pub(crate) const CONSENT: &str = "/oauth/consent";
pub(crate) const ACCOUNT: &str = "/oauth/account";
pub(crate) const REVOKE: &str = "/oauth/revoke";
pub(crate) const INTROSPECT: &str = "/oauth/introspect";
pub(crate) const TOKENS: &str = "/oauth/tokens";
pub(crate) const TOKEN_BY_ID: &str = "/oauth/token/{id}";
pub(crate) const JWKS: &str = "/oauth/jwks";
pub(crate) const WELL_KNOWN_JWKS: &str = "/.well-known/jwks.json";
pub(crate) const SERVER_METADATA: &str = "/.well-known/oauth-authorization-server";
pub(crate) const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
pub(crate) const RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";
pub(crate) const HEALTH: &str = "/healthz";
pub(crate) const READINESS: &str = "/readyz";
pub(crate) const WHOAMI: &str = "/_oauth4os/v1/whoami";
pub(crate) const ENGINE_KEYS: &str = "/_oauth4os/v1/engine/keys";
pub(crate) const ENGINE_JWKS: &str = "/_oauth4os/engine/jwks.json";
pub(crate) const ENGINE_JWKS_OF_CLUSTER: &str = "/_oauth4os/engine/{cluster}/jwks.json";
