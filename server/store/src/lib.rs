//! The data model's repositories, durable in SQLite, encrypted at rest.
//!
//! No SQL and no file of the database is touched outside this crate. The data plane asks nothing here: the control
//! plane reads at start, keeps what the data plane needs in memory, and writes through.
//!
//! # One trait object
//! Which backend holds the state is a line of the configuration, so the callers hold an `Arc<dyn Store>`. A generic
//! parameter would run through every handler of the control plane and buy nothing: each call ends in a disk write or
//! a query beside which one boxed future does not count.
//!
//! # What is kept how
//! - Client secrets: SHA-256 ([`SecretHash`]); they are 256 random bits, so a hash cannot be guessed.
//! - Issued tokens: their id and what they allow, never the token; of opaque ones the SHA-256.
//! - Private keys, what a provider said of a person, what is under way: encrypted ([`seal`]).
//! - Authorization codes and what browsers show: SHA-256.
//!
//! # What an answer means
//! `Ok` means the change is on the disk and survives `kill -9`. Steps that must happen once are one atomic call
//! ([`Store::initialise`], [`Keys::ensure_key`], [`Tokens::revoke_token`], [`Assertions::spend`],
//! [`Logins::take_ticket`], [`Logins::redeem_code`], [`Logins::rotate_refresh`]).

mod assertion;
mod client;
mod engine_keys;
mod error;
mod key;
mod login;
mod page;
pub mod seal;
mod sqlite;
mod token;

use std::future::Future;
use std::pin::Pin;

pub use self::assertion::{Assertions, SingleUse};
pub use self::client::{
    Client, ClientChange, ClientKind, Clients, MAX_LIVE_SECRETS, RateLimit, SecretHash, StoredSecret,
};
pub use self::engine_keys::{ClusterKey, ClusterKeys, EngineKeys, Keyring, RetiringKey};
pub use self::error::StoreError;
pub use self::key::{KeyState, KeyUse, Keys, StoredKey, signing_keys};
pub use self::login::{Consent, Family, Login, Logins, Redeemed, RefreshToken, Rotated, Ticket, TicketKind};
pub use self::page::{Cursor, Page, PageRequest};
pub use self::sqlite::SqliteStore;
pub use self::token::{Descent, IssuedToken, Revocation, RevokedToken, TokenFilter, TokenState, Tokens};
use oauth4os_tokens::clock::UnixTime;

/// A running operation of a store.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Everything the gateway remembers. Object-safe: held as `Arc<dyn Store>`.
pub trait Store: Assertions + Clients + EngineKeys + Keys + Logins + Tokens + Send + Sync + std::fmt::Debug {
    /// When the store was first used; none before [`initialise`](Self::initialise).
    fn initialised_at(&self) -> Pending<'_, Option<UnixTime>>;

    /// Marks the first start and creates the first administrator's client, both or neither.
    ///
    /// Of several callers, on whichever replica, exactly one gets [`FirstStart::Now`] and may show the secret.
    fn initialise(&self, administrator: Client) -> Pending<'_, FirstStart>;

    /// Whether the store answers: one read and the writer's connection.
    fn ping(&self) -> Pending<'_, ()>;

    /// Finishes what was accepted and closes the files. Operations begun later are refused.
    fn close(&self) -> Pending<'_, ()>;
}

/// Whether this start is the first on this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstStart {
    /// Yes, and the administrator given was created.
    Now,
    /// No: the store has been in use since then. Nothing was changed.
    Before(UnixTime),
}
