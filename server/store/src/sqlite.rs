//! The embedded backend: one SQLite file, one connection that writes, a few that read.

mod assertions;
mod clients;
mod engine_keys;
mod files;
mod issue;
mod keys;
mod logins;
mod open;
mod peek;
mod refresh;
mod tokens;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oauth4os_tokens::clock::{Clock, UnixTime};
use oauth4os_tokens::keys::KeySet;
use sqlx::{Sqlite, SqlitePool, Transaction};

use self::files::Lock;
use self::issue::Issuer;
use crate::seal::{DataKeys, Sealer};
use crate::{Client, FirstStart, KeyUse, Keyring, Pending, Store, StoreError};

/// A store in a SQLite file.
///
/// Written in WAL mode with `synchronous = FULL`: what was acknowledged is on the disk. One process has the file open
/// at a time. Several gateways need a backend that is made for it.
pub struct SqliteStore {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    issuer: Issuer,
    data_keys: Arc<DataKeys>,
    clock: Arc<dyn Clock>,
    _lock: Lock,
}

impl SqliteStore {
    /// Opens the store, makes the file when there is none, and brings its schema up to date.
    ///
    /// The folder must be there and closed to others (mode 0700); the file is made with mode 0600.
    /// Must be called inside a Tokio runtime that lives as long as the store.
    ///
    /// # Errors
    /// [`StoreError`]: the folder is missing, a mode is too wide, another process has the store open, the master key
    /// is not the one the store was sealed with, or the schema is of a newer release.
    pub async fn open(path: impl AsRef<Path>, sealer: Sealer, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        open::open(path.as_ref(), &sealer, clock).await
    }

    /// The keys of a use, also while a gateway has the store open: for commands beside it. Changes nothing.
    ///
    /// # Errors
    /// [`StoreError`]; also when there is no store yet, or no key of this use in it.
    pub async fn peek_keys(path: impl AsRef<Path>, sealer: &Sealer, usage: KeyUse) -> Result<KeySet, StoreError> {
        peek::peek_keys(path.as_ref(), sealer, usage).await
    }

    /// The keys of internal tokens, in the same way.
    ///
    /// # Errors
    /// As [`Self::peek_keys`].
    pub async fn peek_engine_keys(path: impl AsRef<Path>, sealer: &Sealer) -> Result<Keyring, StoreError> {
        peek::peek_engine_keys(path.as_ref(), sealer).await
    }

    /// The database's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A transaction that writes. It holds the only writing connection; dropped, it is undone.
    async fn write(&self, doing: &'static str) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(doing))
    }
}

impl Store for SqliteStore {
    fn initialised_at(&self) -> Pending<'_, Option<UnixTime>> {
        Box::pin(async move {
            let value: Option<String> = sqlx::query_scalar(SELECT_INITIALISED)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed("read when it was first used"))?;
            value.map(|value| initialised(&value)).transpose()
        })
    }

    fn initialise(&self, administrator: Client) -> Pending<'_, FirstStart> {
        Box::pin(async move {
            const DOING: &str = "create the first administrator";
            let now = self.clock.now();
            let mut tx = self.write(DOING).await?;
            let before: Option<String> =
                sqlx::query_scalar(SELECT_INITIALISED).fetch_optional(&mut *tx).await.map_err(failed(DOING))?;
            if let Some(before) = before {
                return initialised(&before).map(FirstStart::Before);
            }
            sqlx::query("INSERT INTO meta (name, value) VALUES ('initialised_at', ?)")
                .bind(now.as_millis().to_string())
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            clients::insert(&mut tx, &administrator, now).await?;
            tx.commit().await.map_err(failed(DOING))?;
            Ok(FirstStart::Now)
        })
    }

    fn ping(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            const DOING: &str = "answer";
            for pool in [&self.readers, &self.writer] {
                sqlx::query("SELECT 1").execute(pool).await.map_err(failed(DOING))?;
            }
            Ok(())
        })
    }

    fn close(&self) -> Pending<'_, ()> {
        Box::pin(async move {
            self.issuer.close().await;
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        })
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}

const SELECT_INITIALISED: &str = "SELECT value FROM meta WHERE name = 'initialised_at'";

fn initialised(value: &str) -> Result<UnixTime, StoreError> {
    value.parse().map(UnixTime::from_millis).map_err(|_| corrupt("first start", "initialised_at"))
}

/// Turns the database's failures into the operator's words. SQLite's messages name columns, never values.
fn failed(doing: &'static str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match error {
        sqlx::Error::PoolClosed => StoreError::Closed,
        sqlx::Error::PoolTimedOut => {
            StoreError::Database { doing, reason: "every connection was busy for 30 seconds".to_owned() }
        }
        sqlx::Error::Database(error) => StoreError::Database { doing, reason: error.message().to_owned() },
        other => StoreError::Database { doing, reason: other.to_string() },
    }
}

/// As [`failed`], for an insert: a second row of the same id is a conflict.
fn failed_insert(doing: &'static str, what: &'static str, id: &str) -> impl Fn(sqlx::Error) -> StoreError {
    move |error| match &error {
        sqlx::Error::Database(inner) if inner.is_unique_violation() => StoreError::Exists { what, id: id.to_owned() },
        _ => failed(doing)(error),
    }
}

fn not_found(what: &'static str, id: &str) -> StoreError {
    StoreError::NotFound { what, id: id.to_owned() }
}

fn corrupt(what: &'static str, id: &str) -> StoreError {
    StoreError::Corrupt { what, id: id.to_owned() }
}

#[cfg(test)]
mod tests;
