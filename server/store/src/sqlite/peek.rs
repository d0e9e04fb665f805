//! Reading keys of a store that a running gateway has open.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::{engine_keys, failed, files, keys};
use crate::key::key_set;
use crate::seal::{DataKeys, Sealer};
use crate::{KeyUse, Keyring, StoreError};
use oauth4os_tokens::keys::KeySet;

const DOING: &str = "read its keys";

/// See [`SqliteStore::peek_keys`](super::SqliteStore::peek_keys).
pub(super) async fn peek_keys(path: &Path, sealer: &Sealer, usage: KeyUse) -> Result<KeySet, StoreError> {
    let (reader, data_keys) = open(path, sealer).await?;
    let stored = match &data_keys {
        Some(data_keys) => keys::select(&reader, usage, &keys::IN_FORCE, data_keys).await?,
        None => Vec::new(),
    };
    reader.close().await;
    key_set(stored, usage)
}

/// See [`SqliteStore::peek_engine_keys`](super::SqliteStore::peek_engine_keys).
pub(super) async fn peek_engine_keys(path: &Path, sealer: &Sealer) -> Result<Keyring, StoreError> {
    let (reader, data_keys) = open(path, sealer).await?;
    let keyring = match &data_keys {
        Some(data_keys) => engine_keys::read(&reader, data_keys).await?,
        None => Keyring::default(),
    };
    reader.close().await;
    Ok(keyring)
}

async fn open(path: &Path, sealer: &Sealer) -> Result<(SqlitePool, Option<DataKeys>), StoreError> {
    let path = files::check(path)?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(false)
        .busy_timeout(Duration::from_secs(5))
        .pragma("trusted_schema", "OFF")
        .pragma("query_only", "ON");
    let reader = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.map_err(failed(DOING))?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT id, wrapped FROM data_keys ORDER BY active DESC, created_at DESC")
            .fetch_all(&reader)
            .await
            .map_err(failed(DOING))?;
    let mut data_keys: Option<DataKeys> = None;
    for (id, wrapped) in rows {
        let (key, _) = sealer.unwrap(&id, &wrapped)?;
        match &mut data_keys {
            Some(keys) => keys.insert(key),
            None => data_keys = Some(DataKeys::new(key)),
        }
    }
    Ok((reader, data_keys))
}
