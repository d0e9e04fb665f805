//! Used assertions.

use oauth4os_tokens::clock::UnixTime;

use super::{SqliteStore, failed, tokens::PURGE_BATCH};
use crate::{Assertions, Pending, SingleUse};

impl Assertions for SqliteStore {
    fn spend(&self, once: SingleUse) -> Pending<'_, bool> {
        Box::pin(async move {
            const DOING: &str = "remember a used assertion";
            let mut tx = self.write(DOING).await?;
            let added =
                sqlx::query("INSERT INTO spent_assertions (id, expires_at) VALUES (?, ?) ON CONFLICT DO NOTHING")
                    .bind(once.id.to_vec())
                    .bind(once.expires_at.as_millis())
                    .execute(&mut *tx)
                    .await
                    .map_err(failed(DOING))?
                    .rows_affected();
            tx.commit().await.map_err(failed(DOING))?;
            Ok(added == 1)
        })
    }

    fn forget_spent(&self, before: UnixTime) -> Pending<'_, u64> {
        Box::pin(async move {
            const DOING: &str = "forget used assertions";
            let mut forgotten = 0;
            loop {
                let mut tx = self.write(DOING).await?;
                let batch = sqlx::query(
                    "DELETE FROM spent_assertions WHERE id IN \
                     (SELECT id FROM spent_assertions WHERE expires_at < ? LIMIT ?)",
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
