//! How the engine learns who is asking: identity hand-off, the static roles, setup and check.
//!
//! The gateway gives every grant an internal token ([`Identities`]). The engine's security plugin verifies it in one
//! `jwt` auth domain and maps its `roles` to a handful of static roles whose index patterns are claims of the token
//! (`${attr.jwt.o4s_read}`), so that any scope is enforced by the engine itself without a role of its own.
//!
//! - [`identity`]: the token of a grant.
//! - [`security_config`]: the auth domain, the roles and the mappings, as they must be.
//! - [`setup`]: what is different on a cluster, and how to bring it in line or take it away again.
//! - [`check`]: whether a live cluster gives a token exactly what it says.
//! - [`catalog`]: what the names of a cluster stand for.
//! - [`client`]: the HTTP client for all of these.

pub mod catalog;
pub mod check;
pub mod client;
pub mod identity;
pub mod security_config;
pub mod setup;

pub use catalog::{CatalogError, CatalogReader};
pub use client::{AdminCredentials, ClientError, EngineClient};
pub use identity::{HandedIdentity, Identities, IdentityError};
pub use security_config::{Naming, SecurityConfig};
