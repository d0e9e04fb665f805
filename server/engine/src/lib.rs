//! How the engine learns who is asking: identity hand-off, the static roles, setup and check.
//!
//! The gateway gives every grant an identity ([`Identities`]): an internal token that the engine's security plugin verifies
//! in a `jwt` auth domain, or header fields that it believes in an `extended-proxy` auth domain because of where they come
//! from. Its `roles` are mapped to a handful of static roles whose index patterns are attributes of the identity
//! (`${attr.jwt.o4s_read}`), so that any scope is enforced by the engine itself without a role of its own.
//!
//! Where the engine cannot be told, requests go as users it already has ([`backend_users`]) or are signed ([`sigv4`]).
//!
//! - [`hand_over`]: which of these it is.
//! - [`identity`]: what the engine is handed for a grant.
//! - [`security_config`]: the auth domain, the roles and the mappings, as they must be.
//! - [`setup`]: what is different on a cluster, and how to bring it in line or take it away again.
//! - [`check`]: whether a live cluster gives a token exactly what it says.
//! - [`keys`]: whether a cluster takes tokens of a key.
//! - [`guard`]: that the gateway's own certificate opens nothing by itself.
//! - [`api_keys`]: keys of the engine's own, made, kept and sent.
//! - [`catalog`]: what the names of a cluster stand for.
//! - [`client`]: the HTTP client for all of these.

pub mod api_keys;
pub mod backend_users;
pub mod catalog;
pub mod check;
pub mod client;
pub mod guard;
pub mod hand_over;
pub mod identity;
pub mod keys;
pub mod security_config;
pub mod setup;
pub mod sigv4;

pub use backend_users::{BackendUsers, UserKind};
pub use catalog::{CatalogError, CatalogReader};
pub use client::{AdminCredentials, ClientError, EngineClient};
pub use guard::GuardError;
pub use hand_over::HandOver;
pub use identity::{FieldError, HandedIdentity, Identities, IdentityError};
pub use keys::Seen;
pub use security_config::{KeySource, Naming, SecurityConfig};
pub use sigv4::{Signer, SigningError};
