//! Opening a store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oauth4os_tokens::clock::Clock;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqlitePool};

use super::{SqliteStore, failed, files, issue::Issuer};
use crate::StoreError;
use crate::seal::{DataKeys, Sealer};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

const READERS: u32 = 4;

pub(super) async fn open(path: &Path, sealer: &Sealer, clock: Arc<dyn Clock>) -> Result<SqliteStore, StoreError> {
    let (path, lock) = files::prepare(path)?;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Nobody else writes; a person with a SQLite shell may.
        .busy_timeout(Duration::from_secs(5))
        // What is erased is overwritten.
        .pragma("secure_delete", "ON")
        .pragma("trusted_schema", "OFF");
    let writer = pool(1, options.clone(), "be opened").await?;
    migrate(&writer, &path).await?;
    let data_keys = data_keys(&writer, sealer, clock.as_ref()).await?;
    let readers = pool(READERS, options.pragma("query_only", "ON"), "be opened").await?;
    Ok(SqliteStore {
        issuer: Issuer::start(writer.clone()),
        path,
        writer,
        readers,
        data_keys: Arc::new(data_keys),
        clock,
        _lock: lock,
    })
}

async fn pool(connections: u32, options: SqliteConnectOptions, doing: &'static str) -> Result<SqlitePool, StoreError> {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
        .map_err(failed(doing))
}

async fn migrate(writer: &SqlitePool, path: &Path) -> Result<(), StoreError> {
    let schema = |reason: String| StoreError::Schema { path: path.to_owned(), reason };
    MIGRATIONS.run(writer).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) => schema(format!("it has migration {version}, which is unknown here")),
        MigrateError::VersionMismatch(version) => schema(format!("its migration {version} is not the one known here")),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            failed("bring its schema up to date")(error)
        }
        other => schema(other.to_string()),
    })
}

/// Unwraps the data keys; makes the first one in a new store; wraps anew what a former master key has wrapped.
async fn data_keys(writer: &SqlitePool, sealer: &Sealer, clock: &dyn Clock) -> Result<DataKeys, StoreError> {
    const DOING: &str = "read its data keys";
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(DOING))?;
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT id, wrapped FROM data_keys ORDER BY active DESC, created_at DESC")
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(DOING))?;
    let mut keys: Option<DataKeys> = None;
    for (id, wrapped) in rows {
        let (key, rewrapped) = sealer.unwrap(&id, &wrapped)?;
        if let Some(rewrapped) = rewrapped {
            sqlx::query("UPDATE data_keys SET wrapped = ? WHERE id = ?")
                .bind(rewrapped)
                .bind(&id)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
        }
        match &mut keys {
            Some(keys) => keys.insert(key),
            None => keys = Some(DataKeys::new(key)),
        }
    }
    let keys = match keys {
        Some(keys) => keys,
        None => first_data_key(&mut tx, sealer, clock).await?,
    };
    tx.commit().await.map_err(failed(DOING))?;
    Ok(keys)
}

async fn first_data_key(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    clock: &dyn Clock,
) -> Result<DataKeys, StoreError> {
    let (key, wrapped) = sealer.new_data_key()?;
    sqlx::query("INSERT INTO data_keys (id, wrapped, active, created_at) VALUES (?, ?, 1, ?)")
        .bind(key.id())
        .bind(wrapped)
        .bind(clock.now().as_millis())
        .execute(connection)
        .await
        .map_err(failed("keep its first data key"))?;
    Ok(DataKeys::new(key))
}
