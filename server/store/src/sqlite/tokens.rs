//! Issued tokens.

use oauth4os_tokens::access::read_actors;
use oauth4os_tokens::clock::UnixTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row as _, SqliteConnection};

use super::{SqliteStore, corrupt, failed};
use crate::{
    Cursor, Descent, IssuedToken, Page, PageRequest, Pending, Revocation, RevokedToken, SecretHash, StoreError,
    TokenFilter, TokenState, Tokens,
};

const READ: &str = "read issued tokens";
const REVOKE: &str = "revoke tokens";

/// A statement about the tokens that `$begin` selects and all that was given out for them, and for that: the `family`.
macro_rules! of_family {
    ($begin:literal, $statement:literal) => {
        concat!(
            "WITH RECURSIVE family (id) AS (SELECT ",
            $begin,
            " UNION SELECT issued_tokens.id FROM issued_tokens JOIN family ON issued_tokens.parent = family.id) ",
            $statement
        )
    };
}

/// Rows deleted in one transaction: a purge never holds the writer for long.
pub(super) const PURGE_BATCH: u32 = 1000;

impl Tokens for SqliteStore {
    fn record_issued(&self, token: IssuedToken) -> Pending<'_, ()> {
        Box::pin(self.issuer.record(token))
    }

    fn token(&self, id: &str) -> Pending<'_, Option<IssuedToken>> {
        let id = id.to_owned();
        Box::pin(async move {
            sqlx::query("SELECT * FROM issued_tokens WHERE id = ?")
                .bind(&id)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed(READ))?
                .map(|row| read(&row))
                .transpose()
        })
    }

    fn opaque_token(&self, hash: &SecretHash) -> Pending<'_, Option<IssuedToken>> {
        let hash = hash.as_bytes().to_vec();
        Box::pin(async move {
            sqlx::query("SELECT * FROM issued_tokens WHERE hash = ?")
                .bind(hash)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed(READ))?
                .map(|row| read(&row))
                .transpose()
        })
    }

    fn opaque_tokens(&self) -> Pending<'_, Vec<IssuedToken>> {
        Box::pin(async move {
            let query = "SELECT * FROM issued_tokens \
                         WHERE hash IS NOT NULL AND revoked_at IS NULL AND expires_at > ?";
            let now = self.clock.now().as_millis();
            let rows = sqlx::query(query).bind(now).fetch_all(&self.readers).await.map_err(failed(READ))?;
            rows.iter().map(read).collect()
        })
    }

    fn tokens(&self, filter: TokenFilter, page: PageRequest) -> Pending<'_, Page<IssuedToken>> {
        Box::pin(async move {
            let now = self.clock.now().as_millis();
            let limit = page.limit();
            let mut query = QueryBuilder::new("SELECT * FROM issued_tokens WHERE TRUE");
            if let Some(client_id) = filter.client_id {
                query.push(" AND client_id = ").push_bind(client_id);
            }
            match filter.state {
                None => {}
                Some(TokenState::Revoked) => {
                    query.push(" AND revoked_at IS NOT NULL");
                }
                Some(TokenState::Active) => {
                    query.push(" AND revoked_at IS NULL AND expires_at > ").push_bind(now);
                }
                Some(TokenState::Expired) => {
                    query.push(" AND revoked_at IS NULL AND expires_at <= ").push_bind(now);
                }
            }
            if let Some(Cursor { time, id }) = page.after {
                query.push(" AND (issued_at, id) < (").push_bind(time.as_millis()).push(", ").push_bind(id).push(")");
            }
            query.push(" ORDER BY issued_at DESC, id DESC LIMIT ").push_bind(i64::from(limit) + 1);
            let rows = query.build().fetch_all(&self.readers).await.map_err(failed(READ))?;
            let mut items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
            let more = items.len() > limit as usize;
            items.truncate(limit as usize);
            let next = items.last().filter(|_| more).map(|last| Cursor { time: last.issued_at, id: last.id.clone() });
            Ok(Page { items, next })
        })
    }

    fn revoke_token(&self, id: &str) -> Pending<'_, Revocation> {
        let id = id.to_owned();
        Box::pin(async move {
            let now = self.clock.now();
            let mut tx = self.write(REVOKE).await?;
            let token = sqlx::query("SELECT * FROM issued_tokens WHERE id = ?")
                .bind(&id)
                .fetch_optional(&mut *tx)
                .await
                .map_err(failed(REVOKE))?
                .map(|row| read(&row))
                .transpose()?;
            let Some(token) = token else {
                return Ok(Revocation::Unknown);
            };
            if now >= token.expires_at {
                return Ok(Revocation::Expired);
            }
            let own = RevokedToken { id, expires_at: token.expires_at };
            let mut revoked = vec![own.clone()];
            if token.revoked_at.is_some() {
                let rows: Vec<(String, i64)> = sqlx::query_as(of_family!(
                    "?2",
                    "SELECT id, expires_at FROM issued_tokens \
                     WHERE id IN family AND revoked_at IS NOT NULL AND expires_at > ?1 AND id <> ?2"
                ))
                .bind(now.as_millis())
                .bind(&own.id)
                .fetch_all(&mut *tx)
                .await
                .map_err(failed(REVOKE))?;
                revoked.extend(rows.into_iter().map(self::revoked));
                return Ok(Revocation::AlreadyRevoked(revoked));
            }
            let rows: Vec<(String, i64)> = sqlx::query_as(of_family!(
                "?2",
                "UPDATE issued_tokens SET revoked_at = ?1 \
                 WHERE id IN family AND revoked_at IS NULL AND expires_at > ?1 RETURNING id, expires_at"
            ))
            .bind(now.as_millis())
            .bind(&own.id)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(REVOKE))?;
            tx.commit().await.map_err(failed(REVOKE))?;
            revoked.extend(rows.into_iter().map(self::revoked).filter(|token| token.id != own.id));
            Ok(Revocation::Revoked(revoked))
        })
    }

    fn revoke_client_tokens(&self, client_id: &str) -> Pending<'_, Vec<RevokedToken>> {
        let client_id = client_id.to_owned();
        Box::pin(async move {
            let mut tx = self.write(REVOKE).await?;
            let revoked = revoke_all_of(&mut tx, &client_id, self.clock.now()).await?;
            tx.commit().await.map_err(failed(REVOKE))?;
            Ok(revoked)
        })
    }

    fn revoked_tokens(&self) -> Pending<'_, Vec<RevokedToken>> {
        Box::pin(async move {
            let rows: Vec<(String, i64)> = sqlx::query_as(
                "SELECT id, expires_at FROM issued_tokens \
                 WHERE revoked_at IS NOT NULL AND expires_at > ?",
            )
            .bind(self.clock.now().as_millis())
            .fetch_all(&self.readers)
            .await
            .map_err(failed(READ))?;
            Ok(rows.into_iter().map(revoked).collect())
        })
    }

    fn purge_expired(&self, before: UnixTime) -> Pending<'_, u64> {
        Box::pin(async move {
            const DOING: &str = "forget expired tokens";
            let mut forgotten = 0;
            loop {
                let mut tx = self.write(DOING).await?;
                let batch = sqlx::query(
                    "DELETE FROM issued_tokens WHERE id IN \
                     (SELECT id FROM issued_tokens WHERE expires_at < ? LIMIT ?)",
                )
                .bind(before.as_millis())
                .bind(PURGE_BATCH)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?
                .rows_affected();
                tx.commit().await.map_err(failed(DOING))?;
                forgotten += batch;
                if batch < u64::from(PURGE_BATCH) {
                    return Ok(forgotten);
                }
            }
        })
    }
}

/// Revokes what a client has in force and what was given out for that, within the caller's transaction.
pub(super) async fn revoke_all_of(
    connection: &mut SqliteConnection,
    client_id: &str,
    now: UnixTime,
) -> Result<Vec<RevokedToken>, StoreError> {
    let rows: Vec<(String, i64)> = sqlx::query_as(of_family!(
        "id FROM issued_tokens WHERE client_id = ?2 AND expires_at > ?1",
        "UPDATE issued_tokens SET revoked_at = ?1 \
         WHERE id IN family AND revoked_at IS NULL AND expires_at > ?1 RETURNING id, expires_at"
    ))
    .bind(now.as_millis())
    .bind(client_id)
    .fetch_all(connection)
    .await
    .map_err(failed(REVOKE))?;
    Ok(rows.into_iter().map(revoked).collect())
}

pub(super) fn revoked((id, expires_at): (String, i64)) -> RevokedToken {
    RevokedToken { id, expires_at: UnixTime::from_millis(expires_at) }
}

fn read(row: &SqliteRow) -> Result<IssuedToken, StoreError> {
    let id: String = row.try_get("id").map_err(failed(READ))?;
    read_columns(row, &id).map_err(|_| corrupt("token", &id))
}

fn read_columns(row: &SqliteRow, id: &str) -> Result<IssuedToken, sqlx::Error> {
    let audience: String = row.try_get("audience")?;
    let revoked_at: Option<i64> = row.try_get("revoked_at")?;
    let hash: Option<Vec<u8>> = row.try_get("hash")?;
    let act: Option<String> = row.try_get("act")?;
    let act = act.map_or(Some(Vec::new()), |act| read_actors(serde_json::from_str(&act).ok()?));
    let (login, family): (Option<String>, Option<String>) = (row.try_get("login")?, row.try_get("family")?);
    let hash = hash
        .map(<[u8; 32]>::try_from)
        .transpose()
        .map_err(|_| sqlx::Error::Decode("a hash of another length".into()))?;
    Ok(IssuedToken {
        id: id.to_owned(),
        client_id: row.try_get("client_id")?,
        subject: row.try_get("subject")?,
        scope: row.try_get("scope")?,
        audience: serde_json::from_str(&audience).map_err(|error| sqlx::Error::Decode(error.into()))?,
        issued_at: UnixTime::from_millis(row.try_get("issued_at")?),
        expires_at: UnixTime::from_millis(row.try_get("expires_at")?),
        revoked_at: revoked_at.map(UnixTime::from_millis),
        hash: hash.map(SecretHash::from_bytes),
        parent: row.try_get("parent")?,
        act: act.ok_or_else(|| sqlx::Error::Decode("actors of another form".into()))?,
        descent: login.zip(family).map(|(login, family)| Descent { login, family }),
    })
}
