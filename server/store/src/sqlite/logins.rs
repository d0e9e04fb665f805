//! Persons who logged in.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth4os_tokens::clock::UnixTime;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{SqliteStore, corrupt, failed, failed_insert, tokens};
use crate::seal::{DataKeys, Place};
use crate::{
    Consent, Family, Login, Logins, Pending, Redeemed, RefreshToken, RevokedToken, Rotated, SecretHash, StoreError,
    Ticket, TicketKind,
};

const READ: &str = "read logins";
const WRITE: &str = "keep a login";
const END: &str = "end logins";

/// What may be under way at a time: anybody may begin a login.
const MAX_TICKETS: i64 = 100_000;

/// Rows deleted in one transaction.
const PURGE_BATCH: u32 = 1000;

impl Logins for SqliteStore {
    fn keep_ticket(&self, ticket: Ticket) -> Pending<'_, ()> {
        Box::pin(async move {
            const DOING: &str = "keep what is under way";
            let key = name(&ticket.hash);
            let sealed = self.data_keys.seal(place("tickets", &key), &ticket.content)?;
            let mut tx = self.write(DOING).await?;
            sqlx::query("DELETE FROM tickets WHERE hash IN (SELECT hash FROM tickets WHERE ends_at <= ? LIMIT ?)")
                .bind(self.clock.now().as_millis())
                .bind(PURGE_BATCH)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            let kept: i64 =
                sqlx::query_scalar("SELECT count(*) FROM tickets").fetch_one(&mut *tx).await.map_err(failed(DOING))?;
            if kept >= MAX_TICKETS {
                return Err(StoreError::TooManyTickets);
            }
            sqlx::query("INSERT INTO tickets (hash, kind, sealed, ends_at) VALUES (?, ?, ?, ?)")
                .bind(ticket.hash.as_bytes().to_vec())
                .bind(ticket.kind.as_str())
                .bind(sealed)
                .bind(ticket.ends_at.as_millis())
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            tx.commit().await.map_err(failed(DOING))
        })
    }

    fn ticket(&self, kind: TicketKind, hash: &SecretHash) -> Pending<'_, Option<Vec<u8>>> {
        let hash = *hash;
        Box::pin(async move {
            let sealed: Option<String> =
                sqlx::query_scalar("SELECT sealed FROM tickets WHERE hash = ? AND kind = ? AND ends_at > ?")
                    .bind(hash.as_bytes().to_vec())
                    .bind(kind.as_str())
                    .bind(self.clock.now().as_millis())
                    .fetch_optional(&self.readers)
                    .await
                    .map_err(failed("read what is under way"))?;
            self.opened(&hash, sealed)
        })
    }

    fn take_ticket(&self, kind: TicketKind, hash: &SecretHash) -> Pending<'_, Option<Vec<u8>>> {
        let hash = *hash;
        Box::pin(async move {
            const DOING: &str = "take up what is under way";
            let mut tx = self.write(DOING).await?;
            let sealed: Option<String> =
                sqlx::query_scalar("DELETE FROM tickets WHERE hash = ? AND kind = ? AND ends_at > ? RETURNING sealed")
                    .bind(hash.as_bytes().to_vec())
                    .bind(kind.as_str())
                    .bind(self.clock.now().as_millis())
                    .fetch_optional(&mut *tx)
                    .await
                    .map_err(failed(DOING))?;
            tx.commit().await.map_err(failed(DOING))?;
            self.opened(&hash, sealed)
        })
    }

    fn start_login(&self, login: Login) -> Pending<'_, ()> {
        Box::pin(async move {
            let sealed = self.data_keys.seal(place("logins", &login.id), &login.content)?;
            let mut tx = self.write(WRITE).await?;
            sqlx::query(
                "INSERT INTO logins (id, browser, provider, user, provider_session, sealed, authenticated_at, seen_at, ends_at) \
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(&login.id)
            .bind(login.browser.as_bytes().to_vec())
            .bind(&login.provider)
            .bind(&login.user)
            .bind(&login.provider_session)
            .bind(sealed)
            .bind(login.authenticated_at.as_millis())
            .bind(login.seen_at.as_millis())
            .bind(login.ends_at.as_millis())
            .execute(&mut *tx)
            .await
            .map_err(failed_insert(WRITE, "login", &login.id))?;
            tx.commit().await.map_err(failed(WRITE))
        })
    }

    fn login(&self, id: &str) -> Pending<'_, Option<Login>> {
        let id = id.to_owned();
        Box::pin(async move {
            let query = "SELECT * FROM logins WHERE id = ? AND ended_at IS NULL AND ends_at > ?";
            let row = sqlx::query(query).bind(id).bind(self.clock.now().as_millis());
            let row = row.fetch_optional(&self.readers).await.map_err(failed(READ))?;
            row.map(|row| read(&row, &self.data_keys)).transpose()
        })
    }

    fn login_of_browser(&self, browser: &SecretHash) -> Pending<'_, Option<Login>> {
        let browser = browser.as_bytes().to_vec();
        Box::pin(async move {
            let query = "SELECT * FROM logins WHERE browser = ? AND ended_at IS NULL AND ends_at > ?";
            let row = sqlx::query(query).bind(browser).bind(self.clock.now().as_millis());
            let row = row.fetch_optional(&self.readers).await.map_err(failed(READ))?;
            row.map(|row| read(&row, &self.data_keys)).transpose()
        })
    }

    fn renew_login(&self, id: &str, content: Vec<u8>) -> Pending<'_, ()> {
        let id = id.to_owned();
        Box::pin(async move {
            let sealed = self.data_keys.seal(place("logins", &id), &content)?;
            let mut tx = self.write(WRITE).await?;
            sqlx::query("UPDATE logins SET sealed = ? WHERE id = ? AND ended_at IS NULL")
                .bind(sealed)
                .bind(&id)
                .execute(&mut *tx)
                .await
                .map_err(failed(WRITE))?;
            tx.commit().await.map_err(failed(WRITE))
        })
    }

    fn start_refresh(&self, token: RefreshToken) -> Pending<'_, ()> {
        Box::pin(self.keep_refresh(token))
    }

    fn refresh_token(&self, hash: &SecretHash) -> Pending<'_, Option<(RefreshToken, Family)>> {
        Box::pin(self.find_refresh(*hash))
    }

    fn rotate_refresh(
        &self,
        hash: &SecretHash,
        successor: Option<RefreshToken>,
        grace: Duration,
    ) -> Pending<'_, Rotated> {
        Box::pin(self.rotate(*hash, successor, grace))
    }

    fn logins(&self) -> Pending<'_, Vec<Login>> {
        Box::pin(async move {
            let query = "SELECT * FROM logins WHERE ended_at IS NULL AND ends_at > ?";
            let rows = sqlx::query(query).bind(self.clock.now().as_millis());
            let rows = rows.fetch_all(&self.readers).await.map_err(failed(READ))?;
            rows.iter().map(|row| read(row, &self.data_keys)).collect()
        })
    }

    fn login_seen(&self, id: &str, at: UnixTime) -> Pending<'_, ()> {
        let id = id.to_owned();
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            sqlx::query("UPDATE logins SET seen_at = ? WHERE id = ?")
                .bind(at.as_millis())
                .bind(id)
                .execute(&mut *tx)
                .await
                .map_err(failed(WRITE))?;
            tx.commit().await.map_err(failed(WRITE))
        })
    }

    fn end_login(&self, id: &str) -> Pending<'_, Vec<RevokedToken>> {
        let id = id.to_owned();
        Box::pin(async move {
            let now = self.clock.now();
            let mut tx = self.write(END).await?;
            sqlx::query("UPDATE logins SET ended_at = ? WHERE id = ? AND ended_at IS NULL")
                .bind(now.as_millis())
                .bind(&id)
                .execute(&mut *tx)
                .await
                .map_err(failed(END))?;
            let families: Vec<String> = sqlx::query_scalar(
                "UPDATE families SET revoked_at = ? WHERE login_id = ? AND revoked_at IS NULL RETURNING id",
            )
            .bind(now.as_millis())
            .bind(&id)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(END))?;
            let revoked = revoke_families(&mut tx, &families, now).await?;
            tx.commit().await.map_err(failed(END))?;
            Ok(revoked)
        })
    }

    fn start_family(&self, family: Family) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            sqlx::query(
                "INSERT INTO families (id, login_id, client_id, user, scope, code, challenge, redirect_uri, code_ends_at, revoked_at) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, (SELECT ended_at FROM logins WHERE id = ?2))",
            )
            .bind(&family.id)
            .bind(&family.login_id)
            .bind(&family.client_id)
            .bind(&family.user)
            .bind(&family.scope)
            .bind(family.code.as_bytes().to_vec())
            .bind(&family.challenge)
            .bind(&family.redirect_uri)
            .bind(family.code_ends_at.as_millis())
            .execute(&mut *tx)
            .await
            .map_err(failed_insert(WRITE, "family", &family.id))?;
            tx.commit().await.map_err(failed(WRITE))
        })
    }

    fn redeem_code(&self, code: &SecretHash) -> Pending<'_, Redeemed> {
        let code = code.as_bytes().to_vec();
        Box::pin(async move {
            const DOING: &str = "redeem a code";
            let now = self.clock.now();
            let mut tx = self.write(DOING).await?;
            let row = sqlx::query("SELECT * FROM families WHERE code = ?")
                .bind(code)
                .fetch_optional(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            let Some(row) = row else { return Ok(Redeemed::Unknown) };
            let family = read_family(&row)?;
            let at = |column: &str| row.try_get::<Option<i64>, _>(column).map_err(failed(DOING));
            if at("redeemed_at")?.is_some() {
                let revoked = revoke_family(&mut tx, &family.id, now).await?;
                tx.commit().await.map_err(failed(DOING))?;
                return Ok(Redeemed::Again { family, revoked });
            }
            if at("revoked_at")?.is_some() || now >= family.code_ends_at {
                return Ok(Redeemed::Ended);
            }
            sqlx::query("UPDATE families SET redeemed_at = ? WHERE id = ?")
                .bind(now.as_millis())
                .bind(&family.id)
                .execute(&mut *tx)
                .await
                .map_err(failed(DOING))?;
            tx.commit().await.map_err(failed(DOING))?;
            Ok(Redeemed::Now(family))
        })
    }

    fn revoke_family(&self, id: &str) -> Pending<'_, Vec<RevokedToken>> {
        let id = id.to_owned();
        Box::pin(async move {
            let mut tx = self.write(END).await?;
            let revoked = revoke_family(&mut tx, &id, self.clock.now()).await?;
            tx.commit().await.map_err(failed(END))?;
            Ok(revoked)
        })
    }

    fn consent(&self, user: &str, client_id: &str) -> Pending<'_, Option<Consent>> {
        let (user, client_id) = (user.to_owned(), client_id.to_owned());
        Box::pin(async move {
            let query = "SELECT user, client_id, scope, created_at FROM consents WHERE user = ? AND client_id = ?";
            let row: Option<(String, String, String, i64)> = sqlx::query_as(query)
                .bind(user)
                .bind(client_id)
                .fetch_optional(&self.readers)
                .await
                .map_err(failed(READ))?;
            Ok(row.map(consent))
        })
    }

    fn consents(&self, user: &str) -> Pending<'_, Vec<Consent>> {
        let user = user.to_owned();
        Box::pin(async move {
            let query = "SELECT user, client_id, scope, created_at FROM consents WHERE user = ? ORDER BY created_at DESC, client_id";
            let rows: Vec<(String, String, String, i64)> =
                sqlx::query_as(query).bind(user).fetch_all(&self.readers).await.map_err(failed(READ))?;
            Ok(rows.into_iter().map(consent).collect())
        })
    }

    fn keep_consent(&self, consent: Consent) -> Pending<'_, ()> {
        Box::pin(async move {
            let mut tx = self.write(WRITE).await?;
            sqlx::query(
                "INSERT INTO consents (user, client_id, scope, created_at) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (user, client_id) DO UPDATE SET scope = ?3, created_at = ?4",
            )
            .bind(consent.user)
            .bind(consent.client_id)
            .bind(consent.scope)
            .bind(consent.created_at.as_millis())
            .execute(&mut *tx)
            .await
            .map_err(failed(WRITE))?;
            tx.commit().await.map_err(failed(WRITE))
        })
    }

    fn withdraw_consent(&self, user: &str, client_id: &str) -> Pending<'_, Vec<RevokedToken>> {
        let (user, client_id) = (user.to_owned(), client_id.to_owned());
        Box::pin(async move {
            let now = self.clock.now();
            let mut tx = self.write(END).await?;
            sqlx::query("DELETE FROM consents WHERE user = ? AND client_id = ?")
                .bind(&user)
                .bind(&client_id)
                .execute(&mut *tx)
                .await
                .map_err(failed(END))?;
            let families: Vec<String> = sqlx::query_scalar(
                "UPDATE families SET revoked_at = ? WHERE user = ? AND client_id = ? AND revoked_at IS NULL RETURNING id",
            )
            .bind(now.as_millis())
            .bind(&user)
            .bind(&client_id)
            .fetch_all(&mut *tx)
            .await
            .map_err(failed(END))?;
            let revoked = revoke_families(&mut tx, &families, now).await?;
            tx.commit().await.map_err(failed(END))?;
            Ok(revoked)
        })
    }

    fn purge_logins(&self, before: UnixTime) -> Pending<'_, u64> {
        Box::pin(async move {
            const DOING: &str = "forget ended logins";
            let mut forgotten = 0;
            loop {
                let mut tx = self.write(DOING).await?;
                let batch = sqlx::query(
                    "DELETE FROM logins WHERE id IN (SELECT id FROM logins WHERE min(ends_at, coalesce(ended_at, ends_at)) < ? LIMIT ?)",
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

impl SqliteStore {
    fn opened(&self, hash: &SecretHash, sealed: Option<String>) -> Result<Option<Vec<u8>>, StoreError> {
        let key = name(hash);
        let open = |sealed: String| self.data_keys.open(place("tickets", &key), &sealed).map(|bytes| bytes.to_vec());
        Ok(sealed.map(open).transpose()?)
    }
}

/// Revokes a family with its tokens, within the caller's transaction.
pub(super) async fn revoke_family(
    connection: &mut SqliteConnection,
    id: &String,
    now: UnixTime,
) -> Result<Vec<RevokedToken>, StoreError> {
    sqlx::query("UPDATE families SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL")
        .bind(now.as_millis())
        .bind(id)
        .execute(&mut *connection)
        .await
        .map_err(failed(END))?;
    revoke_families(connection, std::slice::from_ref(id), now).await
}

async fn revoke_families(
    connection: &mut SqliteConnection,
    families: &[String],
    now: UnixTime,
) -> Result<Vec<RevokedToken>, StoreError> {
    let mut all = Vec::new();
    for family in families {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "UPDATE issued_tokens SET revoked_at = ?1 WHERE family = ?2 AND revoked_at IS NULL AND expires_at > ?1 \
             RETURNING id, expires_at",
        )
        .bind(now.as_millis())
        .bind(family)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed(END))?;
        all.extend(rows.into_iter().map(tokens::revoked));
    }
    Ok(all)
}

fn consent((user, client_id, scope, created_at): (String, String, String, i64)) -> Consent {
    Consent { user, client_id, scope, created_at: UnixTime::from_millis(created_at) }
}

pub(super) fn read_family(row: &SqliteRow) -> Result<Family, StoreError> {
    let id: String = row.try_get("id").map_err(failed(READ))?;
    let columns = || {
        Ok::<_, sqlx::Error>(Family {
            id: id.clone(),
            login_id: row.try_get("login_id")?,
            client_id: row.try_get("client_id")?,
            user: row.try_get("user")?,
            scope: row.try_get("scope")?,
            code: hash(row.try_get("code")?)?,
            challenge: row.try_get("challenge")?,
            redirect_uri: row.try_get("redirect_uri")?,
            code_ends_at: UnixTime::from_millis(row.try_get("code_ends_at")?),
        })
    };
    columns().map_err(|_| corrupt("family", &id))
}

fn read(row: &SqliteRow, keys: &DataKeys) -> Result<Login, StoreError> {
    let id: String = row.try_get("id").map_err(failed(READ))?;
    let sealed: String = row.try_get("sealed").map_err(failed(READ))?;
    let content = keys.open(place("logins", &id), &sealed)?.to_vec();
    let columns = || {
        Ok::<_, sqlx::Error>(Login {
            id: id.clone(),
            browser: hash(row.try_get("browser")?)?,
            provider: row.try_get("provider")?,
            user: row.try_get("user")?,
            provider_session: row.try_get("provider_session")?,
            content,
            authenticated_at: UnixTime::from_millis(row.try_get("authenticated_at")?),
            seen_at: UnixTime::from_millis(row.try_get("seen_at")?),
            ends_at: UnixTime::from_millis(row.try_get("ends_at")?),
        })
    };
    columns().map_err(|_| corrupt("login", &id))
}

fn hash(bytes: Vec<u8>) -> Result<SecretHash, sqlx::Error> {
    let bytes = <[u8; 32]>::try_from(bytes).map_err(|_| sqlx::Error::Decode("a hash of another length".into()))?;
    Ok(SecretHash::from_bytes(bytes))
}

fn name(hash: &SecretHash) -> String {
    URL_SAFE_NO_PAD.encode(hash.as_bytes())
}

const fn place<'a>(table: &'static str, key: &'a str) -> Place<'a> {
    Place { table, primary_key: key, column: "sealed" }
}
