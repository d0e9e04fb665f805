//! The authorization server: tokens are issued, listed, shown, revoked here, and the gateway says what it is.
//!
//! [`router`] makes one [`axum::Router`] out of an [`Authority`]. The listener in front of it has made sure of HTTP
//! hygiene and puts extensions into every request: [`ClientAddress`], [`RequestId`] and [`ClientCertificate`].
//!
//! | path | file |
//! |---|---|
//! | `POST /oauth/token` | `endpoints/token.rs`, `grants/` |
//! | `GET`, `POST /oauth/authorize` | `endpoints/authorize.rs`, `login/` |
//! | `GET /oauth/callback/{provider}` | `endpoints/callback.rs` |
//! | `GET`, `POST /oauth/consent` | `endpoints/consent.rs` |
//! | `GET`, `POST /oauth/account` | `endpoints/account.rs` |
//! | `POST /oauth/revoke` | `endpoints/revoke.rs` |
//! | `POST /oauth/introspect` | `endpoints/introspect.rs` |
//! | `GET /oauth/tokens` | `endpoints/token_list.rs` |
//! | `GET`, `DELETE /oauth/token/{id}` | `endpoints/token_by_id.rs` |
//! | `GET /oauth/jwks`, `/.well-known/jwks.json` | `endpoints/jwks.rs` |
//! | `GET /.well-known/oauth-authorization-server`, `/.well-known/openid-configuration` | `endpoints/server_metadata.rs` |
//! | `GET /.well-known/oauth-protected-resource` | `endpoints/resource_metadata.rs` |
//! | `GET /healthz`, `/readyz` | `endpoints/health.rs` |
//! | `GET /_oauth4os/v1/whoami` | `endpoints/whoami.rs` |
//! | `GET`, `POST /_oauth4os/v1/engine/keys` | `endpoints/engine_keys.rs` |
//! | `GET /_oauth4os/engine/jwks.json`, `/_oauth4os/engine/{cluster}/jwks.json` | `endpoints/engine_jwks.rs` |
//!
//! # What is certain
//! - A token is on the disk before it is given out, and a revocation is on the disk **and** in force on the data plane
//!   ([`RevocationSink`]) before it is confirmed, also when the caller hangs up meanwhile.
//! - Who asks for the tokens of others learns nothing: what is not the caller's own is not there.
//! - No answer, event or log line contains a token or a secret, but the one answer that gives it out.

mod authority;
mod bridge;
mod clients;
mod endpoints;
mod engine_keys;
mod first_admin;
mod grants;
mod http;
mod login;
mod paths;

use std::sync::Arc;

pub use self::authority::{
    Authority, AuthorityError, LoggedInPerson, LoginSink, OpaqueSink, Parts, Readiness, RevocationSink, Settings,
};
pub use self::bridge::BridgeError;
pub use self::clients::{Client, ClientDirectory, ClientSource, DirectoryError, configured_grants, configured_keys};
pub use self::engine_keys::{ClusterKeys, EngineKeys, NewKey, RetiringKey};
pub use self::first_admin::{FirstAdmin, FirstAdminError, ensure_first_admin};
pub use self::http::{ClientAddress, ClientCertificate, RequestId};

/// Every path the gateway answers itself begins with one of these, at the end of a segment. No index name begins with
/// `_`; indices that are called exactly `oauth`, `.well-known`, `healthz` or `readyz` cannot be named in a path.
pub const OWN_PATHS: [&str; 5] = ["/oauth", "/.well-known", "/_oauth4os", "/healthz", "/readyz"];

/// Whether a request for `path` belongs to this router: an exact, case-sensitive comparison of the raw path.
#[must_use]
pub fn is_own_path(path: &str) -> bool {
    OWN_PATHS.iter().any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The endpoints of an authority.
pub fn router(authority: Arc<Authority>) -> axum::Router {
    endpoints::router(authority)
}

#[cfg(test)]
mod test_support;

#[cfg(test)]
mod tests {
    use super::is_own_path;

    #[test]
    fn own_paths_end_at_a_segment() {
        for path in ["/oauth", "/oauth/", "/oauth/token", "/.well-known/x", "/_oauth4os/v1/whoami", "/healthz"] {
            assert!(is_own_path(path), "{path}");
        }
        for path in [
            "/",
            "/oauth2",
            "/oauth-logs/_search",
            "/OAuth/token",
            "/_oauth4os2",
            "/healthz2",
            "//oauth/token",
            "/%6Fauth/token",
        ] {
            assert!(!is_own_path(path), "{path}");
        }
    }
}
