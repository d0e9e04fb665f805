//! The thread that writes audit lines.
//!
//! What cannot be written is kept, as far as there is room, and tried again from the byte where it ended: a disk that was
//! full for a while leaves no gap and no torn line.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// What is kept of lines that cannot be written, and how long until they are tried again.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
const RETRY: Duration = Duration::from_millis(200);

/// How long the writer lets lines gather after a write, and the most it writes at once.
const GATHER: Duration = Duration::from_millis(2);
const WRITE_BYTES: usize = 1024 * 1024;

/// What the writer tells.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Lines that are lost.
    pub(super) dropped: AtomicU64,
    /// The last write failed.
    pub(super) is_failing: AtomicBool,
}

/// What is handed to the writer.
#[derive(Debug)]
pub(super) enum Batch {
    Lines { bytes: Vec<u8>, count: u64 },
    Close,
}

/// Writes what was handed over until it is told to stop. After each write it looks away for a moment, so that under load
/// the workers need not wake it for every few lines, and what came meanwhile goes to the sink in one piece.
pub(super) fn write_all(mut sink: impl Write, receiver: &Receiver<Batch>, state: &State) {
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use oauth4os_tokens::clock::UnixTime;

    use super::super::{Audit, Event};
    use super::*;

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
