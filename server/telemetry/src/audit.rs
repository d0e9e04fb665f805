//! Audit events: one JSON line for each decision, allowed or denied, and for each change of a token's life.
//!
//! Whoever decides never waits for the sink. Workers collect lines in an [`AuditBuffer`] of their own and hand it over
//! whenever they have nothing else to do; a thread writes. When the sink cannot keep up, lines are dropped and
//! [counted](Audit::dropped), and the log says so: the data plane does not stop for its record, unless it is
//! [told to](Audit::refusing).

mod line;
mod writer;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use oauth4os_tokens::clock::UnixTime;
use serde::Serialize;

use self::writer::{Batch, State, write_all};
use crate::time::Rfc3339;

/// Batches that may wait for the writer.
const QUEUE: usize = 4_096;

/// What a buffer may hold before it is handed over in any case.
const BATCH_BYTES: usize = 64 * 1024;

/// One line of the audit record. Absent fields are left out.
#[derive(Debug, Clone, Serialize)]
pub struct Event<'a> {
    /// When the decision was taken.
    #[serde(serialize_with = "rfc3339")]
    pub time: UnixTime,
    /// What happened: `request`, `token.issued`, `token.refused`, `token.revoked`,
    /// `config.reloaded`, `connection`, `websocket.closed` (with the id of the request that opened it).
    pub event: &'static str,
    /// The id the answer carries in `X-Request-Id`.
    pub request_id: &'a str,
    /// The client's own `X-Opaque-Id`, by which the engine's tasks and logs name the request; without one they name it
    /// by `request_id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opaque_id: Option<&'a str>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<&'a str>,
    /// The person a provider's token speaks for, `provider/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<&'a str>,
    /// Whom an exchanged token is about: the client or the person somebody acts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'a str>,
    /// Who acts for the subject, the present one first.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub actors: &'a [String],
    /// The provider the token is from; absent when it is the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a str>,
    /// The tenant, as the provider says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
    /// How it was proven, when not by a token: `basic`, `certificate`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<&'static str>,
    /// The certificate it was proven by: its SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<&'a str>,
    /// The token, by its id; never the token itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<&'a str>,
    /// The scopes of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<&'a str>,
    /// The cluster it is meant for, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<&'a str>,
    /// The address the connection came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// The method of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// The path of the request as sent; the query is left out, since it may carry what must not be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// `dashboards` for requests to it; absent for those to the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'static str>,
    /// The tenant of Dashboards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboards_tenant: Option<&'a str>,
    /// The `grant_type` a token was issued by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<&'a str>,
    /// The operation, as the OpenSearch API names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'a str>,
    /// The index expressions the operation is aimed at, or the types of saved objects.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub targets: &'a [String],
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// Why, in a sentence, when denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// The scopes and policies that decided.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub determining: &'a [String],
    /// What would have been refused, in a sentence, if it were not only observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed: Option<&'a str>,
    /// Only a part of what was asked for is permitted, and the engine answers for that part.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
    /// The status the client got; absent when the connection ended before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From the end of the request's head to the end of the answer, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_us: Option<u64>,
    /// Body bytes received from the client.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Body bytes sent to the client.
    #[serde(skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// What went wrong after an allowed decision, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// An event with nothing known but what must be.
    #[must_use]
    pub const fn new(time: UnixTime, event: &'static str, request_id: &'a str, decision: &'static str) -> Self {
        Self {
            time,
            event,
            request_id,
            opaque_id: None,
            client: None,
            user: None,
            subject: None,
            actors: &[],
            provider: None,
            tenant: None,
            credential: None,
            certificate: None,
            token_id: None,
            scopes: None,
            address: None,
            method: None,
            path: None,
            cluster: None,
            upstream: None,
            dashboards_tenant: None,
            grant_type: None,
            operation: None,
            targets: &[],
            decision,
            reason: None,
            determining: &[],
            observed: None,
            partial: false,
            status: None,
            latency_us: None,
            bytes_in: 0,
            bytes_out: 0,
            error: None,
        }
    }
}

/// The way to the sink; clones share it.
#[derive(Debug, Clone)]
pub struct Audit {
    sender: SyncSender<Batch>,
    state: Arc<State>,
    is_refusing: bool,
}

/// The thread that writes. Keep it, and [close](AuditWriter::close) it last.
#[derive(Debug)]
pub struct AuditWriter {
    sender: SyncSender<Batch>,
    thread: JoinHandle<()>,
}

/// The audit sink could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the audit file `{}`: {source}", path.display())]
pub struct AuditError {
    path: PathBuf,
    source: io::Error,
}

impl Audit {
    /// Appends to a file, which is made with mode 0600 when missing.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn to_file(path: &Path) -> Result<(Self, AuditWriter), AuditError> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .map_err(|source| AuditError { path: path.to_owned(), source })?;
        Ok(Self::to_writer(file))
    }

    /// Writes to standard output.
    #[must_use]
    pub fn to_stdout() -> (Self, AuditWriter) {
        Self::to_writer(io::stdout())
    }

    fn to_writer(sink: impl Write + Send + 'static) -> (Self, AuditWriter) {
        let (sender, receiver) = sync_channel(QUEUE);
        let state = Arc::new(State::default());
        let told = Arc::clone(&state);
        let thread = std::thread::spawn(move || write_all(sink, &receiver, &told));
        let writer = AuditWriter { sender: sender.clone(), thread };
        (Self { sender, state, is_refusing: false }, writer)
    }

    /// Wants nothing to be done that cannot be recorded.
    #[must_use]
    pub fn refusing(self) -> Self {
        Self { is_refusing: true, ..self }
    }

    /// Whether lines cannot be written at present.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.state.is_failing.load(Ordering::Relaxed)
    }

    /// Whether nothing may be done now, because it could not be recorded.
    #[must_use]
    pub fn must_refuse(&self) -> bool {
        self.is_refusing && self.is_failing()
    }

    /// Records one event at once.
    pub fn record(&self, event: &Event<'_>) {
        let mut buffer = AuditBuffer::new(self.clone());
        buffer.push(event);
    }

    /// Events that could not be written since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }

    fn send(&self, bytes: Vec<u8>, count: u64) {
        if self.sender.try_send(Batch::Lines { bytes, count }).is_err() {
            self.state.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

impl AuditWriter {
    /// Writes what was handed over before and ends the thread.
    pub fn close(self) {
        if self.sender.send(Batch::Close).is_ok() && self.thread.join().is_err() {
            tracing::error!("the audit writer ended unexpectedly; the last events may be missing");
        }
    }
}

/// The lines of one worker that are not handed over yet. Hands them over when dropped.
#[derive(Debug)]
pub struct AuditBuffer {
    audit: Audit,
    bytes: Vec<u8>,
    count: u64,
}

impl AuditBuffer {
    /// An empty buffer on the way to `audit`.
    #[must_use]
    pub const fn new(audit: Audit) -> Self {
        Self { audit, bytes: Vec::new(), count: 0 }
    }

    /// Adds an event.
    pub fn push(&mut self, event: &Event<'_>) {
        let start = self.bytes.len();
        if line::write(event, &mut self.bytes).is_err() {
            self.bytes.truncate(start);
            self.audit.state.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.count += 1;
        if self.bytes.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands the lines over. Costs nothing when there are none.
    pub fn flush(&mut self) {
        if self.count > 0 {
            let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(1024));
            self.audit.send(bytes, std::mem::take(&mut self.count));
        }
    }
}

impl Drop for AuditBuffer {
    fn drop(&mut self) {
        self.flush();
    }
}

fn rfc3339<S: serde::Serializer>(time: &UnixTime, serializer: S) -> Result<S::Ok, S::Error> {
    Rfc3339(*time).serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (audit, writer) = Audit::to_file(&path).unwrap();
        let hostile = "a\nb\"c\u{2028}\u{0}";
        let mut event = Event::new(UnixTime::from_secs(0), "request", "r1", "deny");
        event.path = Some(hostile);
        event.reason = Some(hostile);
        audit.record(&event);
        writer.close();

        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["path"], hostile);
        assert_eq!(value["time"], "1970-01-01T00:00:00.000Z");
        assert!(value.get("client").is_none());
    }

    #[test]
    fn lines_of_many_workers_do_not_mix_and_none_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (audit, writer) = Audit::to_file(&path).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..8 {
                let audit = audit.clone();
                scope.spawn(move || {
                    let mut buffer = AuditBuffer::new(audit);
                    for number in 0..2_000 {
                        let id = format!("{worker}-{number}");
                        buffer.push(&Event::new(UnixTime::from_secs(0), "request", &id, "allow"));
                        if number % 37 == 0 {
                            buffer.flush();
                        }
                    }
                });
            }
        });
        writer.close();
        let text = std::fs::read_to_string(&path).unwrap();
        let ids: std::collections::BTreeSet<String> = text
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(ids.len(), 16_000);
        assert_eq!(audit.dropped(), 0);
    }

    #[test]
    fn the_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let (_, writer) = Audit::to_file(&path).unwrap();
        writer.close();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
