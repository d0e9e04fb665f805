//! Refresh tokens.

use std::time::Duration;

use oauth4os_tokens::clock::UnixTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};

use super::{SqliteStore, failed, logins};
use crate::{Family, RefreshToken, Rotated, SecretHash, StoreError};

const READ: &str = "read refresh tokens";
const WRITE: &str = "replace a refresh token";

/// A token with its family, whatever has become of them.
const SELECT: &str = "SELECT f.*, t.family AS token_family, t.ends_at AS token_ends_at, t.used_at AS token_used_at, \
     l.ended_at AS login_ended_at, l.ends_at AS login_ends_at \
     FROM refresh_tokens t JOIN families f ON f.id = t.family JOIN logins l ON l.id = f.login_id WHERE t.hash = ?";

struct Found {
    token: RefreshToken,
    family: Family,
    is_out_of_use: bool,
}

impl SqliteStore {
    pub(super) async fn keep_refresh(&self, token: RefreshToken) -> Result<(), StoreError> {
        let mut tx = self.write(WRITE).await?;
        insert(&mut tx, &token).await?;
        tx.commit().await.map_err(failed(WRITE))
    }

    pub(super) async fn find_refresh(&self, hash: SecretHash) -> Result<Option<(RefreshToken, Family)>, StoreError> {
        let row = sqlx::query(SELECT).bind(hash.as_bytes().to_vec()).fetch_optional(&self.readers).await;
        let found = row.map_err(failed(READ))?.map(|row| read(&row, hash, self.clock.now())).transpose()?;
        Ok(found.filter(|found| !found.is_out_of_use).map(|found| (found.token, found.family)))
    }

    pub(super) async fn rotate(
        &self,
        hash: SecretHash,
        successor: Option<RefreshToken>,
        grace: Duration,
    ) -> Result<Rotated, StoreError> {
        let now = self.clock.now();
        let mut tx = self.write(WRITE).await?;
        let row = sqlx::query(SELECT).bind(hash.as_bytes().to_vec()).fetch_optional(&mut *tx).await;
        let Some(row) = row.map_err(failed(WRITE))? else { return Ok(Rotated::Ended) };
        let Found { token, family, is_out_of_use } = read(&row, hash, now)?;
        if let Some(used_at) = token.used_at {
            if now.since(used_at) <= grace {
                return Ok(if is_out_of_use { Rotated::Ended } else { Rotated::JustUsed });
            }
            let revoked = logins::revoke_family(&mut tx, &family.id, now).await?;
            tx.commit().await.map_err(failed(WRITE))?;
            return Ok(Rotated::Again { family: Box::new(family), revoked });
        }
        let Some(successor) = successor.filter(|_| !is_out_of_use) else { return Ok(Rotated::Ended) };
        sqlx::query("UPDATE refresh_tokens SET used_at = ? WHERE hash = ?")
            .bind(now.as_millis())
            .bind(hash.as_bytes().to_vec())
            .execute(&mut *tx)
            .await
            .map_err(failed(WRITE))?;
        insert(&mut tx, &successor).await?;
        tx.commit().await.map_err(failed(WRITE))?;
        Ok(Rotated::Now)
    }
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, token: &RefreshToken) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO refresh_tokens (hash, family, ends_at) VALUES (?, ?, ?)")
        .bind(token.hash.as_bytes().to_vec())
        .bind(&token.family)
        .bind(token.ends_at.as_millis())
        .execute(&mut **tx)
        .await
        .map_err(failed(WRITE))?;
    Ok(())
}

fn read(row: &SqliteRow, hash: SecretHash, now: UnixTime) -> Result<Found, StoreError> {
    let family = logins::read_family(row)?;
    let time = |column: &str| row.try_get::<i64, _>(column).map(UnixTime::from_millis).map_err(failed(READ));
    let at = |column: &str| row.try_get::<Option<i64>, _>(column).map_err(failed(READ));
    let ends_at = time("token_ends_at")?;
    let is_out_of_use = at("revoked_at")?.is_some()
        || at("login_ended_at")?.is_some()
        || now >= time("login_ends_at")?
        || now >= ends_at;
    let used_at = at("token_used_at")?.map(UnixTime::from_millis);
    let token = RefreshToken { hash, family: family.id.clone(), ends_at, used_at };
    Ok(Found { token, family, is_out_of_use })
}
