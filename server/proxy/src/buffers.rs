//! Memory for what is on its way, lent out for the time it is needed.
//!
//! A connection that waits for its next request holds no buffer: it reads into the worker's scratch space and keeps
//! only what arrived. So ten thousand idle connections cost what their TLS state costs.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// What is read at once: one TLS record.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Buffers that are kept for the next use, and the most that one of them may have grown to.
const KEPT: usize = 256;
const KEPT_BYTES: usize = 4 * CHUNK;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK].into_boxed_slice());
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A growing buffer, lent from this worker's spare ones and given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// An empty buffer that holds no memory yet.
    pub(crate) const fn empty() -> Self {
        Self(Vec::new())
    }

    /// A buffer with memory.
    pub(crate) fn lend() -> Self {
        Self(SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(2 * CHUNK)))
    }

    /// Takes `count` bytes off the front.
    pub(crate) fn consume(&mut self, count: usize) {
        if count >= self.0.len() {
            self.0.clear();
        } else {
            self.0.drain(..count);
        }
    }

    /// Gives the memory back when there is nothing in it.
    pub(crate) fn release_if_empty(&mut self) {
        if self.0.is_empty() && self.0.capacity() > 0 {
            *self = Self::empty();
        }
    }

    /// Appends bytes, lending memory when there is none.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.0.capacity() == 0 {
            *self = Self::lend();
        }
        self.0.extend_from_slice(bytes);
    }
}

impl std::ops::Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut memory = std::mem::take(&mut self.0);
        if memory.capacity() == 0 || memory.capacity() > KEPT_BYTES {
            return;
        }
        memory.clear();
        // A worker that is ending has no spare buffers any more.
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < KEPT
            {
                spare.push(memory);
            }
        });
    }
}

/// Reads what is there and appends it to `buffer`; 0 is the end of the stream.
pub(crate) fn poll_read_into(
    stream: Pin<&mut (impl AsyncRead + ?Sized)>,
    context: &mut Context<'_>,
    buffer: &mut Buffer,
) -> Poll<std::io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut space = ReadBuf::new(scratch);
        ready!(stream.poll_read(context, &mut space))?;
        let filled = space.filled();
        if !filled.is_empty() {
            buffer.append(filled);
        }
        Poll::Ready(Ok(filled.len()))
    })
}

/// As [`poll_read_into`], to be awaited. Nothing is lost when the future is dropped.
pub(crate) async fn read_into(
    stream: &mut (impl AsyncRead + Unpin + ?Sized),
    buffer: &mut Buffer,
) -> std::io::Result<usize> {
    std::future::poll_fn(|context| poll_read_into(Pin::new(stream), context, buffer)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_are_appended_and_taken_off_the_front() {
        let mut buffer = Buffer::empty();
        assert_eq!(buffer.capacity(), 0);
        assert_eq!(read_into(&mut b"hello".as_slice(), &mut buffer).await.unwrap(), 5);
        assert_eq!(read_into(&mut b" world".as_slice(), &mut buffer).await.unwrap(), 6);
        buffer.consume(6);
        assert_eq!(buffer.as_slice(), b"world");
        buffer.consume(99);
        assert!(buffer.is_empty());
        buffer.release_if_empty();
        assert_eq!(buffer.capacity(), 0);
        assert_eq!(read_into(&mut b"".as_slice(), &mut buffer).await.unwrap(), 0);
    }
}
