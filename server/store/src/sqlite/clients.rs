//! Clients and their secrets.

use std::collections::BTreeMap;

use oauth4os_tokens::clock::UnixTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{Executor, FromRow as _, Row as _, Sqlite, SqliteConnection};

use super::{SqliteStore, corrupt, failed, failed_insert, not_found, tokens};
use crate::{
    Client, ClientChange, Clients, Cursor, MAX_LIVE_SECRETS, Page, PageRequest, Pending, RateLimit, RevokedToken,
    SecretHash, StoreError, StoredSecret,
};

const READ: &str = "read clients";

impl Clients for SqliteStore {
    fn create_client(&self, client: Client) -> Pending<'_, ()> {
        Box::pin(async move {
            const DOING: &str = "create a client";
            let mut tx = self.write(DOING).await?;
            insert(&mut tx, &client, self.clock.now()).await?;
            tx.commit().await.map_err(failed(DOING))
        })
    }

    fn client(&self, id: &str) -> Pending<'_, Option<Client>> {
        let id = id.to_owned();
        Box::pin(async move {
            // One snapshot for both queries, so that a client never appears with the secrets of another moment.
            let mut tx = self.readers.begin().await.map_err(failed(READ))?;
            select(&mut tx, &id).await
        })
    }

    fn clients(&self, page: PageRequest) -> Pending<'_, Page<Client>> {
        Box::pin(async move {
            let limit = page.limit();
            let (time, id) = match page.after {
                Some(cursor) => (cursor.time.as_millis(), cursor.id),
                None => (i64::MIN, String::new()),
            };
            let mut tx = self.readers.begin().await.map_err(failed(READ))?;
            let rows = sqlx::query(
                "SELECT * FROM clients WHERE (created_at, id) > (?, ?) \
                 ORDER BY created_at, id LIMIT ?",
            )
            .bind(time)
            .bind(id)
            .bind(i64::from(limit) + 1)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(READ))?;
            let mut items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let more = items.len() > limit as usize;
            items.truncate(limit as usize);
            let ids: Vec<&str> = items.iter().map(|client| client.id.as_str()).collect();
            let mut secrets = select_secrets(&mut *tx, &ids).await?;
            for client in &mut items {
                client.secrets = secrets.remove(&client.id).unwrap_or_default();
            }
            let next = items.last().filter(|_| more).map(|last| Cursor { time: last.created_at, id: last.id.clone() });
            Ok(Page { items, next })
        })
    }

    fn change_client(&self, id: &str, change: ClientChange) -> Pending<'_, Client> {
        let id = id.to_owned();
        Box::pin(async move {
            const DOING: &str = "change a client";
            let mut tx = self.write(DOING).await?;
            let mut client = select(&mut tx, &id).await?.ok_or_else(|| not_found("client", &id))?;
            apply(&mut client, change);
            sqlx::query(
                "UPDATE clients SET name = ?, groups = ?, labels = ?, scopes = ?, enabled = ?, \
                 rate_limit_per_second = ?, rate_limit_burst = ? WHERE id = ?",
            )
            .bind(&client.name)
            .bind(serde_json::json!(client.groups).to_string())
            .bind(serde_json::json!(client.labels).to_string())
            .bind(&client.scopes)
            .bind(client.enabled)
            .bind(client.rate_limit.map(|limit| limit.per_second))
            .bind(client.rate_limit.map(|limit| limit.burst))
            .bind(&id)
            .execute(&mut *tx)
            .await
            .map_err(failed(DOING))?;
            tx.commit().await.map_err(failed(DOING))?;
            Ok(client)
        })
    }

    fn delete_client(&self, id: &str) -> Pending<'_, Vec<RevokedToken>> {
        let id = id.to_owned();
        Box::pin(async move {
            const DOING: &str = "delete a client";
            let mut tx = self.write(DOING).await?;
            let deleted = sqlx::query("DELETE FROM clients WHERE id = ?")
                .bind(&id)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            if deleted.rows_affected() == 0 {
                return Err(not_found("client", &id));
            }
            let revoked = tokens::revoke_all_of(&mut tx, &id, self.clock.now()).await?;
            tx.commit().await.map_err(failed(DOING))?;
            Ok(revoked)
        })
    }

    fn add_client_secret(&self, client_id: &str, secret: StoredSecret) -> Pending<'_, ()> {
        let client_id = client_id.to_owned();
        Box::pin(async move {
            const DOING: &str = "add a client secret";
            let now = self.clock.now();
            let mut tx = self.write(DOING).await?;
            sqlx::query("DELETE FROM client_secrets WHERE client_id = ? AND expires_at <= ?")
                .bind(&client_id)
                .bind(now.as_millis())
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            let client = select(&mut tx, &client_id).await?.ok_or_else(|| not_found("client", &client_id))?;
            insert_secrets(&mut tx, &client_id, &client.secrets, &[secret], now).await?;
            tx.commit().await.map_err(failed(DOING))
        })
    }

    fn expire_client_secret(&self, client_id: &str, secret_id: &str, expires_at: UnixTime) -> Pending<'_, ()> {
        let (client_id, secret_id) = (client_id.to_owned(), secret_id.to_owned());
        Box::pin(async move {
            const DOING: &str = "let a client secret expire";
            let mut tx = self.write(DOING).await?;
            let changed = sqlx::query("UPDATE client_secrets SET expires_at = ? WHERE client_id = ? AND id = ?")
                .bind(expires_at.as_millis())
                .bind(&client_id)
                .bind(&secret_id)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            if changed.rows_affected() == 0 {
                return Err(not_found("secret", &secret_id));
            }
            tx.commit().await.map_err(failed(DOING))
        })
    }

    fn remove_client_secret(&self, client_id: &str, secret_id: &str) -> Pending<'_, ()> {
        let (client_id, secret_id) = (client_id.to_owned(), secret_id.to_owned());
        Box::pin(async move {
            const DOING: &str = "remove a client secret";
            let mut tx = self.write(DOING).await?;
            let removed = sqlx::query("DELETE FROM client_secrets WHERE client_id = ? AND id = ?")
                .bind(&client_id)
                .bind(&secret_id)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            if removed.rows_affected() == 0 {
                return Err(not_found("secret", &secret_id));
            }
            tx.commit().await.map_err(failed(DOING))
        })
    }
}

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    client: &Client,
    now: UnixTime,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO clients (id, name, kind, groups, labels, scopes, enabled, \
         rate_limit_per_second, rate_limit_burst, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&client.id)
    .bind(&client.name)
    .bind(client.kind.as_str())
    .bind(serde_json::json!(client.groups).to_string())
    .bind(serde_json::json!(client.labels).to_string())
    .bind(&client.scopes)
    .bind(client.enabled)
    .bind(client.rate_limit.map(|limit| limit.per_second))
    .bind(client.rate_limit.map(|limit| limit.burst))
    .bind(client.created_at.as_millis())
    .execute(&mut *connection)
    .await
    .map_err(failed_insert("create a client", "client", &client.id))?;
    insert_secrets(connection, &client.id, &[], &client.secrets, now).await
}

async fn insert_secrets(
    connection: &mut SqliteConnection,
    client_id: &str,
    present: &[StoredSecret],
    added: &[StoredSecret],
    now: UnixTime,
) -> Result<(), StoreError> {
    let live = present.iter().chain(added).filter(|s| s.is_live(now));
    if live.count() > MAX_LIVE_SECRETS {
        return Err(StoreError::TooManySecrets { id: client_id.to_owned() });
    }
    for secret in added {
        sqlx::query(
            "INSERT INTO client_secrets (client_id, id, hash, hint, created_at, expires_at) \
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(client_id)
        .bind(&secret.id)
        .bind(secret.hash.as_bytes().as_slice())
        .bind(&secret.hint)
        .bind(secret.created_at.as_millis())
        .bind(secret.expires_at.map(|at| at.as_millis()))
        .execute(&mut *connection)
        .await
        .map_err(failed_insert("add a client secret", "secret", &secret.id))?;
    }
    Ok(())
}

fn apply(client: &mut Client, change: ClientChange) {
    let ClientChange { name, groups, labels, scopes, enabled, rate_limit } = change;
    client.name = name.unwrap_or(std::mem::take(&mut client.name));
    client.groups = groups.unwrap_or(std::mem::take(&mut client.groups));
    client.labels = labels.unwrap_or(std::mem::take(&mut client.labels));
    client.scopes = scopes.unwrap_or(std::mem::take(&mut client.scopes));
    client.enabled = enabled.unwrap_or(client.enabled);
    client.rate_limit = rate_limit.unwrap_or(client.rate_limit);
}

async fn select(connection: &mut SqliteConnection, id: &str) -> Result<Option<Client>, StoreError> {
    let row = sqlx::query("SELECT * FROM clients WHERE id = ?")
        .bind(id)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed(READ))?;
    let Some(row) = row else {
        return Ok(None);
    };
    let mut client = read(&row)?;
    let mut secrets = select_secrets(connection, &[id]).await?;
    client.secrets = secrets.remove(id).unwrap_or_default();
    Ok(Some(client))
}

async fn select_secrets(
    executor: impl Executor<'_, Database = Sqlite>,
    client_ids: &[&str],
) -> Result<BTreeMap<String, Vec<StoredSecret>>, StoreError> {
    let rows = sqlx::query(
        "SELECT * FROM client_secrets WHERE client_id IN (SELECT value FROM json_each(?)) \
         ORDER BY created_at, id",
    )
    .bind(serde_json::json!(client_ids).to_string())
    .fetch_all(executor)
    .await
    .map_err(failed(READ))?;
    let mut secrets: BTreeMap<String, Vec<StoredSecret>> = BTreeMap::new();
    for row in rows {
        let client_id: String = row.try_get("client_id").map_err(failed(READ))?;
        let secret = read_secret(&row).map_err(|_| corrupt("secret of the client", &client_id))?;
        secrets.entry(client_id).or_default().push(secret);
    }
    Ok(secrets)
}

fn read(row: &SqliteRow) -> Result<Client, StoreError> {
    let id: String = row.try_get("id").map_err(failed(READ))?;
    let row = Row::from_row(row).map_err(|_| corrupt("client", &id))?;
    row.into_client(id.clone()).ok_or_else(|| corrupt("client", &id))
}

#[derive(sqlx::FromRow)]
struct Row {
    name: String,
    kind: String,
    groups: String,
    labels: String,
    scopes: String,
    enabled: bool,
    rate_limit_per_second: Option<u32>,
    rate_limit_burst: Option<u32>,
    created_at: i64,
}

impl Row {
    fn into_client(self, id: String) -> Option<Client> {
        Some(Client {
            id,
            name: self.name,
            kind: self.kind.parse().ok()?,
            groups: serde_json::from_str(&self.groups).ok()?,
            labels: serde_json::from_str(&self.labels).ok()?,
            scopes: self.scopes,
            secrets: Vec::new(),
            enabled: self.enabled,
            created_at: UnixTime::from_millis(self.created_at),
            rate_limit: self
                .rate_limit_per_second
                .zip(self.rate_limit_burst)
                .map(|(per_second, burst)| RateLimit { per_second, burst }),
        })
    }
}

fn read_secret(row: &SqliteRow) -> Result<StoredSecret, sqlx::Error> {
    let hash: Vec<u8> = row.try_get("hash")?;
    let hash = hash.try_into().map_err(|_| sqlx::Error::Decode("a hash has 32 bytes".into()))?;
    let expires_at: Option<i64> = row.try_get("expires_at")?;
    Ok(StoredSecret {
        id: row.try_get("id")?,
        hash: SecretHash::from_bytes(hash),
        hint: row.try_get("hint")?,
        created_at: UnixTime::from_millis(row.try_get("created_at")?),
        expires_at: expires_at.map(UnixTime::from_millis),
    })
}
