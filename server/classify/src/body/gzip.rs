//! A body with `Content-Encoding: gzip` (RFC 1952), read while it streams.
//!
//! Narrower than any reader behind it, so that none can read more, less or something else: exactly one member, with
//! nothing in its header but perhaps a file name; a checksum and a length that are right; and nothing after it. (The
//! engine takes what it could decompress of a body that ends too early for the whole of it.)

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::error::BodyError;

/// What is decompressed at once, in bytes.
const PIECE: usize = 16 * 1024;

/// Longest file name in a header, in bytes.
const MAX_NAME: usize = 1024;

/// `FNAME` among the flags of a header: a name follows it, which means nothing here.
const HAS_NAME: u8 = 0b0000_1000;

/// Decompresses a body chunk by chunk. Holds the last 32 KiB of it and the tables of the present block, in all less
/// than 64 KiB, however much comes out.
///
/// ```
/// use std::io::Write;
/// use oauth4os_classify::{BodyError, GzipReader};
///
/// let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
/// encoder.write_all(b"{\"create\":{}}\n{}\n").unwrap();
/// let mut plain = Vec::new();
/// let mut reader = GzipReader::new(1024);
/// for chunk in encoder.finish().unwrap().chunks(7) {
///     reader.feed(chunk, |piece| Ok::<(), BodyError>(plain.extend_from_slice(piece))).unwrap();
/// }
/// assert_eq!(reader.finish(), Ok(17));
/// assert_eq!(plain, b"{\"create\":{}}\n{}\n");
/// ```
pub struct GzipReader {
    part: Part,
    inflate: Decompress,
    crc: Crc,
    /// Bytes that have come out.
    plain: u64,
    /// The most that may come out.
    limit: u64,
    broken: bool,
}

/// What is read next.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// A byte of the fixed header, counted from 0.
    Header { at: u8, has_name: bool },
    /// The name, of which so many bytes have come.
    Name(usize),
    /// Compressed data.
    Data,
    /// A byte of checksum and length, counted from 0; what they should be is known by now.
    Trailer { at: usize, expected: [u8; 8] },
    /// Nothing.
    End,
}

impl GzipReader {
    /// A reader that lets at most `limit` bytes come out.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            part: Part::Header { at: 0, has_name: false },
            inflate: Decompress::new(false),
            crc: Crc::new(),
            plain: 0,
            limit,
            broken: false,
        }
    }

    /// Reads a chunk; `on_plain` gets what comes out of it, in pieces.
    ///
    /// # Errors
    /// What `on_plain` returns, and what cannot be read. After an error every further call is an error: the bytes of
    /// this chunk and all after it must not be forwarded.
    pub fn feed<E: From<BodyError>>(
        &mut self,
        mut chunk: &[u8],
        mut on_plain: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.broken {
            return Err(BodyError::Form("the request has already been refused").into());
        }
        self.broken = true;
        while let Some((byte, rest)) = chunk.split_first() {
            chunk = match self.part {
                Part::Data => self.data(chunk, &mut on_plain)?,
                _ => {
                    self.part = self.part.after(*byte)?;
                    rest
                }
            };
        }
        self.broken = false;
        Ok(())
    }

    /// The body has ended: how many bytes came out.
    ///
    /// # Errors
    /// It has ended too early.
    pub fn finish(self) -> Result<u64, BodyError> {
        if self.broken {
            return Err(BodyError::Form("the request has already been refused"));
        }
        match self.part {
            Part::End => Ok(self.plain),
            _ => Err(BodyError::Gzip("it ends too early")),
        }
    }

    /// Decompresses as much of a chunk as belongs to the data, and gives what is left of it.
    fn data<'c, E: From<BodyError>>(
        &mut self,
        mut chunk: &'c [u8],
        on_plain: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<&'c [u8], E> {
        let mut space = [0; PIECE];
        loop {
            let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(chunk, &mut space, FlushDecompress::None)
                .map_err(|_| BodyError::Gzip("its data is damaged"))?;
            let taken = usize::try_from(self.inflate.total_in() - taken).unwrap_or(usize::MAX);
            let made = self.inflate.total_out() - made;
            chunk = chunk.get(taken..).unwrap_or_default();
            self.plain = self.plain.saturating_add(made);
            if self.plain > self.limit {
                return Err(BodyError::Inflated { limit: self.limit }.into());
            }
            let piece = space.get(..usize::try_from(made).unwrap_or(usize::MAX)).unwrap_or_default();
            self.crc.update(piece);
            if !piece.is_empty() {
                on_plain(piece)?;
            }
            if matches!(status, Status::StreamEnd) {
                self.part = Part::Trailer { at: 0, expected: self.trailer() };
                return Ok(chunk);
            }
            // A piece that is full may not be all there is.
            if piece.len() < PIECE {
                if chunk.is_empty() {
                    return Ok(chunk);
                }
                if taken == 0 && piece.is_empty() {
                    return Err(BodyError::Gzip("its data is damaged").into());
                }
            }
        }
    }

    /// What stands behind data like this: CRC-32 and length modulo 2³², both with the low byte first.
    fn trailer(&self) -> [u8; 8] {
        let length = self.plain & u64::from(u32::MAX);
        (u64::from(self.crc.sum()) | length << 32).to_le_bytes()
    }
}

impl Part {
    /// What is read after this byte.
    fn after(self, byte: u8) -> Result<Self, BodyError> {
        match self {
            Self::Header { at, has_name } => {
                let is_right = match at {
                    0 => byte == 0x1f,
                    1 => byte == 0x8b,
                    // Deflate is the only method there is.
                    2 => byte == 8,
                    3 => byte & !HAS_NAME == 0,
                    // Time, level and operating system of whoever compressed it.
                    _ => true,
                };
                match (is_right, at) {
                    (false, 3) => Err(BodyError::Gzip("its header has more in it than a file name")),
                    (false, _) => Err(BodyError::Gzip("it does not begin as gzip does")),
                    (true, 3) => Ok(Self::Header { at: 4, has_name: byte & HAS_NAME != 0 }),
                    (true, 9) if has_name => Ok(Self::Name(0)),
                    (true, 9) => Ok(Self::Data),
                    (true, _) => Ok(Self::Header { at: at + 1, has_name }),
                }
            }
            Self::Name(_) if byte == 0 => Ok(Self::Data),
            Self::Name(length) if length < MAX_NAME => Ok(Self::Name(length + 1)),
            Self::Name(_) => Err(BodyError::Gzip("its header has a very long file name")),
            Self::Trailer { at, expected } => {
                if expected.get(at) != Some(&byte) {
                    return Err(BodyError::Gzip("its checksum or its length is wrong"));
                }
                Ok(if at + 1 < expected.len() { Self::Trailer { at: at + 1, expected } } else { Self::End })
            }
            Self::End => Err(BodyError::Gzip("something follows its end; send one gzip stream")),
            Self::Data => Ok(self),
        }
    }
}

/// Decompresses a whole body, of which at most `limit` bytes may come out.
///
/// # Errors
/// It cannot be read, or not in one way only.
pub fn gunzip(body: &[u8], limit: u64) -> Result<Vec<u8>, BodyError> {
    let mut plain = Vec::new();
    let mut reader = GzipReader::new(limit);
    reader.feed(body, |piece| {
        plain.extend_from_slice(piece);
        Ok::<(), BodyError>(())
    })?;
    reader.finish()?;
    Ok(plain)
}
