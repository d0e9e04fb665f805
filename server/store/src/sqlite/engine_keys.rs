//! What clusters have to do with keys of internal tokens.

use oauth4os_tokens::clock::UnixTime;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use super::keys::{insert, select};
use super::{SqliteStore, corrupt, failed, not_found};
use crate::engine_keys::ClusterKey;
use crate::seal::DataKeys;
use crate::{EngineKeys, KeyState, KeyUse, Keyring, Pending, StoreError, StoredKey};

const READ: &str = "read the keys of clusters";
const WRITE: &str = "keep what a key is to a cluster";

impl EngineKeys for SqliteStore {
    fn engine_keys(&self) -> Pending<'_, Keyring> {
        Box::pin(read(&self.readers, &self.data_keys))
    }

    fn add_waiting_key(&self, key: StoredKey) -> Pending<'_, String> {
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            let waiting: Option<String> =
                sqlx::query_scalar("SELECT kid FROM signing_keys WHERE usage = ? AND state = 'waiting'")
                    .bind(key.usage.as_str())
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(failed(WRITE))?;
            if let Some(kid) = waiting {
                return Ok(kid);
            }
            insert(&mut tx, &key, KeyState::Waiting, &self.data_keys).await?;
            tx.commit().await.map_err(failed(WRITE))?;
            Ok(key.kid)
        })
    }

    fn switch_engine_key(&self, cluster: &str, kid: &str) -> Pending<'_, ()> {
        let (cluster, kid) = (cluster.to_owned(), kid.to_owned());
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            match state(&mut tx, &kid).await? {
                KeyState::Waiting | KeyState::Active => {}
                from => return Err(refused(kid, from, KeyState::Active)),
            }
            let before: Option<String> = sqlx::query_scalar(
                "SELECT coalesce( \
                 (SELECT kid FROM engine_keys WHERE cluster = ? AND state = 'active'), \
                 (SELECT kid FROM signing_keys WHERE usage = 'internal' AND state = 'active'))",
            )
            .bind(&cluster)
            .fetch_one(&mut *tx)
            .await
            .map_err(failed(WRITE))?;
            if let Some(before) = before.filter(|before| *before != kid) {
                put(&mut tx, &cluster, &before, KeyState::Retiring).await?;
            }
            put(&mut tx, &cluster, &kid, KeyState::Active).await?;
            tx.commit().await.map_err(failed(WRITE))
        })
    }

    fn set_engine_key_end(&self, cluster: &str, kid: &str, ends_at: UnixTime) -> Pending<'_, ()> {
        let (cluster, kid) = (cluster.to_owned(), kid.to_owned());
        Box::pin(async move {
            let change =
                sqlx::query("UPDATE engine_keys SET ends_at = ? WHERE cluster = ? AND kid = ? AND state = 'retiring'");
            change
                .bind(ends_at.as_millis())
                .bind(cluster)
                .bind(kid)
                .execute(&self.writer)
                .await
                .map(drop)
                .map_err(failed(WRITE))
        })
    }

    fn forget_engine_key(&self, cluster: &str, kid: &str) -> Pending<'_, ()> {
        let (cluster, kid) = (cluster.to_owned(), kid.to_owned());
        Box::pin(async move {
            let change = sqlx::query("DELETE FROM engine_keys WHERE cluster = ? AND kid = ? AND state = 'retiring'");
            change.bind(cluster).bind(kid).execute(&self.writer).await.map(drop).map_err(failed(WRITE))
        })
    }

    fn keep_engine_keys_of(&self, clusters: Vec<String>) -> Pending<'_, ()> {
        Box::pin(async move {
            let names = serde_json::Value::from(clusters).to_string();
            sqlx::query("DELETE FROM engine_keys WHERE cluster NOT IN (SELECT value FROM json_each(?))")
                .bind(names)
                .execute(&self.writer)
                .await
                .map(drop)
                .map_err(failed(WRITE))
        })
    }

    fn promote_waiting_key(&self, kid: &str) -> Pending<'_, ()> {
        let kid = kid.to_owned();
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            match state(&mut tx, &kid).await? {
                KeyState::Active => return Ok(()),
                KeyState::Waiting => {}
                from => return Err(refused(kid, from, KeyState::Active)),
            }
            for (from, to) in [("active", "retiring"), ("waiting", "active")] {
                sqlx::query("UPDATE signing_keys SET state = ? WHERE usage = ? AND state = ?")
                    .bind(to)
                    .bind(KeyUse::Internal.as_str())
                    .bind(from)
                    .execute(&mut *tx)
                    .await
                    .map_err(failed(WRITE))?;
            }
            tx.commit().await.map_err(failed(WRITE))
        })
    }
}

async fn put(connection: &mut SqliteConnection, cluster: &str, kid: &str, state: KeyState) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO engine_keys (cluster, kid, state) VALUES (?, ?, ?) \
         ON CONFLICT (cluster, kid) DO UPDATE SET state = excluded.state, ends_at = NULL",
    )
    .bind(cluster)
    .bind(kid)
    .bind(state.as_str())
    .execute(connection)
    .await
    .map(drop)
    .map_err(failed(WRITE))
}

async fn state(connection: &mut SqliteConnection, kid: &str) -> Result<KeyState, StoreError> {
    let state: Option<String> =
        sqlx::query_scalar("SELECT state FROM signing_keys WHERE kid = ? AND usage = 'internal'")
            .bind(kid)
            .fetch_optional(connection)
            .await
            .map_err(failed(WRITE))?;
    state.ok_or_else(|| not_found("key", kid))?.parse().map_err(|()| corrupt("key", kid))
}

fn refused(kid: String, from: KeyState, to: KeyState) -> StoreError {
    StoreError::KeyState { kid, from: from.as_str(), to: to.as_str() }
}

/// All there is, as one transaction sees it.
pub(super) async fn read(readers: &SqlitePool, data_keys: &DataKeys) -> Result<Keyring, StoreError> {
    let mut tx: sqlx::Transaction<'_, Sqlite> = readers.begin().await.map_err(failed(READ))?;
    let states = [KeyState::Active, KeyState::Waiting, KeyState::Retiring];
    let keys = select(&mut *tx, KeyUse::Internal, &states, data_keys).await?;
    let rows: Vec<(String, String, String, Option<i64>)> =
        sqlx::query_as("SELECT cluster, kid, state, ends_at FROM engine_keys ORDER BY cluster, kid")
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(READ))?;
    let clusters = rows.into_iter().map(|(cluster, kid, state, ends_at)| {
        let state = state.parse().map_err(|()| corrupt("key", &kid))?;
        Ok(ClusterKey { cluster, kid, state, ends_at: ends_at.map(UnixTime::from_millis) })
    });
    let clusters = clusters.collect::<Result<_, StoreError>>()?;
    Ok(Keyring { keys, clusters })
}
