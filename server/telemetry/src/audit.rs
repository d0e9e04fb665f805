//! Audit events: one JSON line for each decision, allowed or denied, and for each change of a token's life.
//!
//! Whoever decides never waits for the sink. Workers collect lines in an [`AuditBuffer`] of their own and hand it over
//! whenever they have nothing else to do; a thread writes. When the sink cannot keep up, lines are dropped and
//! [counted](Audit::dropped), and the log says so: the data plane does not stop for its record, unless it is
//! [told to](Audit::refusing).
//!
//! What cannot be written is kept, as far as there is room, and tried again from the byte where it ended: a disk that was
//! full for a while leaves no gap and no torn line.

mod line;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use oauth4os_tokens::clock::UnixTime;
use serde::Serialize;

use crate::time::Rfc3339;

/// Batches that may wait for the writer.
const QUEUE: usize = 4_096;

/// What a buffer may hold before it is handed over in any case.
const BATCH_BYTES: usize = 64 * 1024;

/// What is kept of lines that cannot be written, and how long until they are tried again.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
const RETRY: Duration = Duration::from_millis(200);

/// How long the writer lets lines gather after a write, and the most it writes at once.
const GATHER: Duration = Duration::from_millis(2);
const WRITE_BYTES: usize = 1024 * 1024;

/// One line of the audit record. Absent fields are left out.
#[derive(Debug, Clone, Serialize)]
pub struct Event<'a> {
    /// When the decision was taken.
    #[serde(serialize_with = "rfc3339")]
    pub time: UnixTime,
    /// What happened: `request`, `token.issued`, `token.refused`, `token.revoked`,
    /// `config.reloaded`, `connection`.
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
    /// The provider the token is from; absent when it is the gateway's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<&'a str>,
    /// The tenant, as the provider says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<&'a str>,
    /// How it was proven, when not by a token: `basic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<&'static str>,
    /// The token, by its id; never the token itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id: Option<&'a str>,
    /// The scopes of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<&'a str>,
    /// The address the connection came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<std::net::IpAddr>,
    /// The method of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<&'a str>,
    /// The path of the request as sent; the query is left out, since it may carry what must not be recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<&'a str>,
    /// The operation, as the OpenSearch API names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'a str>,
    /// The index expressions the operation is aimed at.
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
            provider: None,
            tenant: None,
            credential: None,
            token_id: None,
            scopes: None,
            address: None,
            method: None,
            path: None,
            operation: None,
            targets: &[],
            decision,
            reason: None,
            determining: &[],
            observed: None,
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

/// What the writer tells.
#[derive(Debug, Default)]
struct State {
    /// Lines that are lost.
    dropped: AtomicU64,
    /// The last write failed.
    is_failing: AtomicBool,
}

/// The thread that writes. Keep it, and [close](AuditWriter::close) it last.
#[derive(Debug)]
pub struct AuditWriter {
    sender: SyncSender<Batch>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Batch {
    Lines { bytes: Vec<u8>, count: u64 },
    Close,
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

/// Writes what was handed over until it is told to stop. After each write it looks away for a moment, so that under load
/// the workers need not wake it for every few lines, and what came meanwhile goes to the sink in one piece.
fn write_all(mut sink: impl Write, receiver: &Receiver<Batch>, state: &State) {
    let mut pending = Vec::new();
    let mut open = true;
    while open {
        let first = if pending.is_empty() {
            receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            receiver.recv_timeout(RETRY)
        };
        open = match first {
            Ok(batch) => take(batch, &mut pending, state),
            Err(RecvTimeoutError::Timeout) => true,
            Err(RecvTimeoutError::Disconnected) => false,
        };
        while open && pending.len() < WRITE_BYTES {
            match receiver.try_recv() {
                Ok(batch) => open = take(batch, &mut pending, state),
                Err(TryRecvError::Disconnected) => open = false,
                Err(TryRecvError::Empty) => break,
            }
        }
        let written = write(&mut sink, &mut pending);
        let was_failing = state.is_failing.swap(written.is_err(), Ordering::Relaxed);
        match written {
            Err(error) if !was_failing => {
                tracing::error!(%error, "audit events cannot be written; free the disk or mend the sink");
            }
            Ok(()) if was_failing => tracing::info!("audit events are written again"),
            _ => {}
        }
        if open {
            std::thread::sleep(GATHER);
        }
    }
    let lost = pending.iter().filter(|byte| **byte == b'\n').count();
    state.dropped.fetch_add(lost as u64, Ordering::Relaxed);
}

/// Takes what was handed over, as far as there is room; false when it was the end.
fn take(batch: Batch, pending: &mut Vec<u8>, state: &State) -> bool {
    match batch {
        Batch::Lines { bytes, .. } if pending.len() < KEPT_BYTES => pending.extend_from_slice(&bytes),
        Batch::Lines { count, .. } => _ = state.dropped.fetch_add(count, Ordering::Relaxed),
        Batch::Close => return false,
    }
    true
}

/// Writes what is pending, as far as the sink takes it.
fn write(sink: &mut impl Write, pending: &mut Vec<u8>) -> io::Result<()> {
    while !pending.is_empty() {
        match sink.write(pending) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => drop(pending.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    sink.flush()
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
    use std::sync::Mutex;

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

    /// A disk with so much room; what is written is what others see.
    #[derive(Clone)]
    struct Disk(Arc<Mutex<(usize, Vec<u8>)>>);

    impl Disk {
        fn with_room(room: usize) -> Self {
            Self(Arc::new(Mutex::new((room, Vec::new()))))
        }

        fn make_room(&self, room: usize) {
            self.0.lock().unwrap().0 += room;
        }

        fn written(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().1.clone()).unwrap()
        }
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (room, written) = &mut *self.0.lock().unwrap();
            let some = bytes.len().min(*room);
            if some == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            written.extend_from_slice(&bytes[..some]);
            *room -= some;
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn event(id: &str) -> Event<'_> {
        Event::new(UnixTime::from_secs(0), "request", id, "allow")
    }

    fn wait_until(is_so: impl Fn() -> bool) {
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(std::time::Instant::now() < end, "it did not become so");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_disk_that_was_full_for_a_while_leaves_no_gap_and_no_torn_line() {
        let disk = Disk::with_room(10);
        let (audit, writer) = Audit::to_writer(disk.clone());
        let audit = audit.refusing();
        assert!(!audit.must_refuse());
        for id in ["r1", "r2", "r3"] {
            audit.record(&event(id));
        }
        wait_until(|| audit.must_refuse());
        assert_eq!(disk.written().len(), 10);
        disk.make_room(1_000);
        wait_until(|| !audit.must_refuse());
        audit.record(&event("r4"));
        writer.close();
        let ids: Vec<String> = disk
            .written()
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(ids, ["r1", "r2", "r3", "r4"]);
        assert_eq!(audit.dropped(), 0);
    }

    #[test]
    fn what_is_lost_in_the_end_is_counted() {
        let (audit, writer) = Audit::to_writer(Disk::with_room(0));
        for id in ["r1", "r2"] {
            audit.record(&event(id));
        }
        wait_until(|| audit.is_failing());
        assert!(!audit.must_refuse(), "nobody wants it to");
        writer.close();
        assert_eq!(audit.dropped(), 2);
    }

    #[test]
    fn only_so_much_is_kept_and_it_still_ends() {
        let (audit, writer) = Audit::to_writer(Disk::with_room(0));
        let long = "x".repeat(60_000);
        for _ in 0..400 {
            audit.record(&event(&long));
        }
        wait_until(|| audit.dropped() > 0);
        writer.close();
        assert_eq!(audit.dropped(), 400);
    }
}
