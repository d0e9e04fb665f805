//! Outside identity: issuers that are trusted, their keys, and what their tokens mean here.
//!
//! [`Providers`] is made from the configuration. [`Providers::start`] fetches every provider's keys and goes on doing so in
//! the background; from then on a [`Provider`] verifies tokens from memory ([`Provider::verify`]) and never waits. Only for
//! a key it has not seen yet does somebody wait ([`Provider::wait_for_keys`]), for one fetch that all who wait share.
//!
//! | file | what |
//! |---|---|
//! | `address.rs` | where a fetch may go |
//! | `fetch.rs` | one bounded GET for a JSON document |
//! | `documents.rs` | discovery documents and JWK Sets |
//! | `keys.rs` | the keys of one provider: kept, renewed, asked for |
//! | `claims.rs` | reading claims by their paths |
//! | `mapping.rs` | what roles, groups and scopes give here |
//! | `verify.rs` | what must hold of a token |
//! | `login.rs` | persons who log in: where they are sent, what comes back |
//! | `provider.rs` | all of it together |
//! | `signature.rs` | by which key something is signed |
//! | `assertion.rs` | what must hold of an assertion, which is shown to get a token and is none |
//! | `assertion_keys.rs` | the keys of clients and issuers that sign assertions |
//! | `workload.rs`, `trusted.rs` | issuers that vouch for workloads, and for which |

mod address;
mod assertion;
mod assertion_keys;
mod claims;
mod documents;
mod fetch;
mod keys;
mod login;
mod mapping;
mod provider;
mod signature;
mod trusted;
mod verify;
mod workload;

pub use address::Trust;
pub use assertion::{AssertionRefused, ClientAssertion, MAX_CLIENT_ASSERTION, Once};
pub use assertion_keys::{AssertionKeys, Keyring, KeysError};
pub use fetch::FetchError;
pub use login::{Asked, LoggedIn, LoginError};
pub use mapping::MappingError;
pub use provider::{Outsider, Provider, ProviderError, Providers};
pub use trusted::{TrustedIssuer, TrustedIssuerError, TrustedIssuers, Workload};
pub use verify::Refused;

#[cfg(test)]
mod test_support;
