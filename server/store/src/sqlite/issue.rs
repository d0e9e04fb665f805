//! Group commit: tokens recorded at the same time share one transaction and one flush to disk.
//!
//! A flush takes milliseconds whatever it carries. While one is under way the next records queue up, and all of them
//! go into the next transaction; a record alone waits for nobody.

use std::sync::{PoisonError, RwLock};

use oauth4os_tokens::access::write_actors;
use sqlx::{Sqlite, SqlitePool, Transaction};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::failed;
use crate::{IssuedToken, StoreError};

/// Most records of one transaction.
const BATCH: usize = 512;
/// Records that may wait; further callers wait until there is room.
const QUEUE: usize = 2048;
const DOING: &str = "record an issued token";

pub(super) struct Issuer {
    queue: RwLock<Option<mpsc::Sender<Record>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Record {
    token: IssuedToken,
    done: oneshot::Sender<Result<(), StoreError>>,
}

impl Issuer {
    pub(super) fn start(writer: SqlitePool) -> Self {
        let (queue, records) = mpsc::channel(QUEUE);
        Self { queue: RwLock::new(Some(queue)), task: Mutex::new(Some(tokio::spawn(run(writer, records)))) }
    }

    /// Returns when the record is on the disk.
    pub(super) async fn record(&self, token: IssuedToken) -> Result<(), StoreError> {
        let queue = self.queue.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::Closed)?;
        let (done, outcome) = oneshot::channel();
        queue.send(Record { token, done }).await.map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    /// Takes no more records, and returns when the accepted ones are on the disk.
    pub(super) async fn close(&self) {
        self.queue.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = self.task.lock().await.take()
            && task.await.is_err()
        {
            tracing::error!("the task that records issued tokens ended early");
        }
    }
}

async fn run(writer: SqlitePool, mut records: mpsc::Receiver<Record>) {
    let mut batch = Vec::with_capacity(BATCH);
    while records.recv_many(&mut batch, BATCH).await > 0 {
        let tokens: Vec<&IssuedToken> = batch.iter().map(|record| &record.token).collect();
        let answers: Vec<Result<(), StoreError>> = match commit(&writer, &tokens).await {
            Ok(recorded) => {
                recorded.into_iter().zip(&batch).map(|(recorded, record)| recorded.answer(&record.token)).collect()
            }
            Err(error) => {
                tracing::error!(records = batch.len(), %error, "issued tokens were not recorded");
                batch.iter().map(|_| Err(same(&error))).collect()
            }
        };
        for (record, answer) in batch.drain(..).zip(answers) {
            // A caller that has gone away does not mind: nobody got the token.
            let _ = record.done.send(answer);
        }
    }
}

/// What became of one token of a transaction.
#[derive(Clone, Copy)]
enum Recorded {
    Yes,
    /// Its id was taken already.
    Exists,
    /// The token it is given out for is not in force.
    ParentEnded,
}

impl Recorded {
    fn answer(self, token: &IssuedToken) -> Result<(), StoreError> {
        match self {
            Self::Yes => Ok(()),
            Self::Exists => Err(exists(&token.id)),
            Self::ParentEnded => Err(StoreError::ParentEnded { id: token.parent.clone().unwrap_or_default() }),
        }
    }
}

async fn commit(writer: &SqlitePool, tokens: &[&IssuedToken]) -> Result<Vec<Recorded>, StoreError> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await.map_err(failed(DOING))?;
    let mut recorded = Vec::with_capacity(tokens.len());
    for token in tokens {
        recorded.push(insert(&mut tx, token).await.map_err(failed(DOING))?);
    }
    tx.commit().await.map_err(failed(DOING))?;
    Ok(recorded)
}

fn exists(id: &str) -> StoreError {
    StoreError::Exists { what: "token", id: id.to_owned() }
}

/// The error of a batch, for one more of its callers.
fn same(error: &StoreError) -> StoreError {
    match error {
        StoreError::Closed => StoreError::Closed,
        StoreError::Database { doing, reason } => StoreError::Database { doing, reason: reason.clone() },
        other => StoreError::Database { doing: DOING, reason: other.to_string() },
    }
}

async fn insert(tx: &mut Transaction<'static, Sqlite>, token: &IssuedToken) -> Result<Recorded, sqlx::Error> {
    // In this transaction: a revocation of the parent comes before, or finds this token.
    if let Some(parent) = &token.parent {
        let in_force: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM issued_tokens WHERE id = ? AND revoked_at IS NULL AND expires_at >= ? AND expires_at > ?",
        )
        .bind(parent)
        .bind(token.expires_at.as_millis())
        .bind(token.issued_at.as_millis())
        .fetch_optional(&mut **tx)
        .await?;
        if in_force.is_none() {
            return Ok(Recorded::ParentEnded);
        }
    }
    let inserted = sqlx::query(
        "INSERT INTO issued_tokens \
         (id, client_id, subject, scope, audience, issued_at, expires_at, revoked_at, hash, parent, act) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(&token.id)
    .bind(&token.client_id)
    .bind(&token.subject)
    .bind(&token.scope)
    .bind(serde_json::json!(token.audience).to_string())
    .bind(token.issued_at.as_millis())
    .bind(token.expires_at.as_millis())
    .bind(token.revoked_at.map(|at| at.as_millis()))
    .bind(token.hash.map(|hash| hash.as_bytes().to_vec()))
    .bind(&token.parent)
    .bind(write_actors(&token.act).map(|act| act.to_string()))
    .execute(&mut **tx)
    .await?;
    Ok(if inserted.rows_affected() == 1 { Recorded::Yes } else { Recorded::Exists })
}
