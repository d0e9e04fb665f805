//! Signing keys.

use oauth4os_tokens::clock::UnixTime;
use sqlx::{Executor, Sqlite, SqliteConnection};

use super::{SqliteStore, corrupt, failed, failed_insert, not_found};
use crate::seal::{DataKeys, Place};
use crate::{KeyState, KeyUse, Keys, Pending, StoreError, StoredKey};

const READ: &str = "read signing keys";
const WRITE: &str = "keep a signing key";

/// The states in which a key verifies.
pub(super) const IN_FORCE: [KeyState; 2] = [KeyState::Active, KeyState::Retiring];

impl Keys for SqliteStore {
    fn keys(&self, usage: KeyUse) -> Pending<'_, Vec<StoredKey>> {
        Box::pin(async move { select(&self.readers, usage, &IN_FORCE, &self.data_keys).await })
    }

    fn ensure_key(&self, candidate: StoredKey) -> Pending<'_, StoredKey> {
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            let present = select(&mut *tx, candidate.usage, &IN_FORCE, &self.data_keys).await?;
            if let Some(active) = present.into_iter().find(|key| key.state == KeyState::Active) {
                return Ok(active);
            }
            insert(&mut tx, &candidate, KeyState::Active, &self.data_keys).await?;
            tx.commit().await.map_err(failed(WRITE))?;
            Ok(StoredKey { state: KeyState::Active, ..candidate })
        })
    }

    fn rotate_key(&self, key: StoredKey) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            sqlx::query("UPDATE signing_keys SET state = 'retiring' WHERE usage = ? AND state = 'active'")
                .bind(key.usage.as_str())
                .execute(&mut *tx)
                .await
                .map_err(failed(WRITE))?;
            insert(&mut tx, &key, KeyState::Active, &self.data_keys).await?;
            tx.commit().await.map_err(failed(WRITE))
        })
    }

    fn retire_key(&self, kid: &str) -> Pending<'_, ()> {
        let kid = kid.to_owned();
        Box::pin(async move {
            const DOING: &str = "retire a signing key";
            let mut tx = self.write(DOING).await?;
            let state: Option<String> = sqlx::query_scalar("SELECT state FROM signing_keys WHERE kid = ?")
                .bind(&kid)
                .fetch_optional(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            let state = state.ok_or_else(|| not_found("key", &kid))?;
            match state.parse() {
                Ok(KeyState::Retired) => return Ok(()),
                Ok(KeyState::Retiring) => {}
                Ok(from @ (KeyState::Waiting | KeyState::Active)) => {
                    return Err(StoreError::KeyState { kid, from: from.as_str(), to: KeyState::Retired.as_str() });
                }
                Err(()) => return Err(corrupt("key", &kid)),
            }
            sqlx::query("UPDATE signing_keys SET state = 'retired', sealed = NULL WHERE kid = ?")
                .bind(&kid)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            tx.commit().await.map_err(failed(DOING))
        })
    }
}

const fn place(kid: &str) -> Place<'_> {
    Place { table: "signing_keys", primary_key: kid, column: "sealed" }
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    key: &StoredKey,
    state: KeyState,
    data_keys: &DataKeys,
) -> Result<(), StoreError> {
    let sealed = data_keys.seal(place(&key.kid), &key.pkcs8)?;
    sqlx::query(
        "INSERT INTO signing_keys (kid, usage, algorithm, state, sealed, created_at) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )
    .bind(&key.kid)
    .bind(key.usage.as_str())
    .bind(key.algorithm.as_str())
    .bind(state.as_str())
    .bind(sealed)
    .bind(key.created_at.as_millis())
    .execute(connection)
    .await
    .map_err(failed_insert(WRITE, "key", &key.kid))?;
    Ok(())
}

pub(super) async fn select(
    executor: impl Executor<'_, Database = Sqlite>,
    usage: KeyUse,
    states: &[KeyState],
    data_keys: &DataKeys,
) -> Result<Vec<StoredKey>, StoreError> {
    let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT kid, algorithm, state, sealed, created_at FROM signing_keys \
         WHERE usage = ? AND state IN (SELECT value FROM json_each(?)) \
         ORDER BY state = 'active' DESC, created_at DESC, kid",
    )
    .bind(usage.as_str())
    .bind(serde_json::Value::from(states).to_string())
    .fetch_all(executor)
    .await
    .map_err(failed(READ))?;
    rows.into_iter()
        .map(|row| {
            let pkcs8 = data_keys.open(place(&row.kid), &row.sealed)?;
            let (Ok(algorithm), Ok(state)) = (row.algorithm.parse(), row.state.parse()) else {
                return Err(corrupt("key", &row.kid));
            };
            Ok(StoredKey {
                usage,
                algorithm,
                state,
                created_at: UnixTime::from_millis(row.created_at),
                pkcs8,
                kid: row.kid,
            })
        })
        .collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    kid: String,
    algorithm: String,
    state: String,
    sealed: String,
    created_at: i64,
}
