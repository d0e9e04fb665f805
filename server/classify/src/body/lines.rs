//! Cuts a stream of chunks into lines; keeps at most one unfinished line, and only of those that are wanted.

use crate::error::BodyError;

/// Collects lines across chunks.
pub(super) struct Lines {
    /// The beginning of a wanted line whose end has not come yet.
    pending: Vec<u8>,
    /// Whether any byte of the present line has come.
    begun: bool,
    /// The present line, counted from 1.
    number: u64,
}

impl Lines {
    pub(super) const fn new() -> Self {
        Self { pending: Vec::new(), begun: false, number: 1 }
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Whether a line has begun that has no end yet.
    pub(super) const fn is_unfinished(&self) -> bool {
        self.begun
    }

    /// Passes over the present line without keeping it. The rest of the chunk, and whether the line has ended.
    pub(super) fn skip<'c>(&mut self, chunk: &'c [u8]) -> (&'c [u8], bool) {
        match memchr::memchr(b'\n', chunk) {
            Some(end) => {
                self.begun = false;
                self.number += 1;
                (chunk.get(end + 1..).unwrap_or(&[]), true)
            }
            None => {
                self.begun |= !chunk.is_empty();
                (&[], false)
            }
        }
    }

    /// Takes the present line, without its newline, to `use_line`. The rest of the chunk, and what `use_line` said
    /// if the line has ended. `limit`: longest line in bytes, without its newline.
    pub(super) fn take<'c, T, E: From<BodyError>>(
        &mut self,
        chunk: &'c [u8],
        limit: usize,
        use_line: impl FnOnce(&[u8], u64) -> Result<T, E>,
    ) -> Result<(&'c [u8], Option<T>), E> {
        let too_long = BodyError::LineTooLong { line: self.number, limit };
        let Some(end) = memchr::memchr(b'\n', chunk) else {
            if self.pending.len() + chunk.len() > limit {
                return Err(too_long.into());
            }
            self.begun |= !chunk.is_empty();
            self.pending.extend_from_slice(chunk);
            return Ok((&[], None));
        };
        let (line, rest) = chunk.split_at_checked(end).unwrap_or((chunk, &[]));
        if self.pending.len() + line.len() > limit {
            return Err(too_long.into());
        }
        let made = if self.pending.is_empty() {
            use_line(line, self.number)?
        } else {
            self.pending.extend_from_slice(line);
            use_line(&self.pending, self.number)?
        };
        self.pending.clear();
        self.begun = false;
        self.number += 1;
        Ok((rest.get(1..).unwrap_or(&[]), Some(made)))
    }
}

/// A line the engine takes as empty.
pub(super) fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}
