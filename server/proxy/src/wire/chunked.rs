//! The chunked transfer coding (RFC 9112 section 7.1).
//!
//! Chunk extensions are read over and dropped, up to a limit; trailer fields are dropped: nobody behind the gateway may
//! take one for a header.

use super::Malformed;

/// Longest chunk-size line, extensions included.
const MAX_SIZE_LINE: usize = 256;

/// Largest trailer section.
const MAX_TRAILERS: usize = 8 * 1024;

/// Takes a chunked body apart, piece by piece as it arrives.
#[derive(Debug)]
pub(crate) struct ChunkedDecoder {
    state: State,
}

/// One step of decoding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// The input is used up; more has to arrive.
    NeedMore,
    /// The body has ended.
    End,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// In the line that tells a chunk's size.
    Size {
        size: u64,
        digits: u8,
        line: usize,
        part: SizePart,
    },
    /// In a chunk's bytes.
    Data {
        left: u64,
    },
    /// In the CRLF after a chunk.
    AfterData {
        seen_cr: bool,
    },
    /// In the trailer section; `line` bytes of the present line were seen.
    Trailers {
        line: usize,
        total: usize,
        seen_cr: bool,
    },
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SizePart {
    Digits,
    Extension,
    LineFeed,
}

const SIZE_START: State = State::Size { size: 0, digits: 0, line: 0, part: SizePart::Digits };

impl ChunkedDecoder {
    pub(crate) const fn new() -> Self {
        Self { state: SIZE_START }
    }

    /// Takes the next step: how many bytes of `input` are used up, and what they were.
    pub(crate) fn next<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), Malformed> {
        let mut used = 0;
        loop {
            if let State::Done = self.state {
                return Ok((used, Piece::End));
            }
            let rest = input.get(used..).unwrap_or_default();
            let Some((&byte, _)) = rest.split_first() else {
                return Ok((used, Piece::NeedMore));
            };
            if let State::Data { left } = self.state {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let data = rest.get(..length).unwrap_or_default();
                let left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
                self.state = if left == 0 { State::AfterData { seen_cr: false } } else { State::Data { left } };
                return Ok((used + length, Piece::Data(data)));
            }
            self.state = step(self.state, byte)?;
            used += 1;
        }
    }
}

fn step(state: State, byte: u8) -> Result<State, Malformed> {
    match state {
        State::Size { line, .. } if line >= MAX_SIZE_LINE => Err(Malformed::Chunk),
        State::Size { size, digits, line, part } => size_line(size, digits, line + 1, part, byte),
        State::AfterData { seen_cr: false } if byte == b'\r' => Ok(State::AfterData { seen_cr: true }),
        State::AfterData { seen_cr: true } if byte == b'\n' => Ok(SIZE_START),
        State::Trailers { total, .. } if total >= MAX_TRAILERS => Err(Malformed::Chunk),
        State::Trailers { line, total, seen_cr } => match (seen_cr, byte) {
            (true, b'\n') if line == 0 => Ok(State::Done),
            (true, b'\n') => Ok(State::Trailers { line: 0, total: total + 1, seen_cr: false }),
            (false, b'\r') => Ok(State::Trailers { line, total: total + 1, seen_cr: true }),
            (true, _) | (false, b'\n' | 0) => Err(Malformed::Chunk),
            (false, _) => Ok(State::Trailers { line: line + 1, total: total + 1, seen_cr: false }),
        },
        State::AfterData { .. } | State::Data { .. } | State::Done => Err(Malformed::Chunk),
    }
}

fn size_line(size: u64, digits: u8, line: usize, part: SizePart, byte: u8) -> Result<State, Malformed> {
    let at = |part| State::Size { size, digits, line, part };
    match (part, byte) {
        (SizePart::Digits, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 15 => Ok(State::Size {
            size: size * 16 + u64::from(char::from(byte).to_digit(16).unwrap_or(0)),
            digits: digits + 1,
            line,
            part,
        }),
        (SizePart::Digits, b';') if digits > 0 => Ok(at(SizePart::Extension)),
        (SizePart::Digits, b'\r') if digits > 0 => Ok(at(SizePart::LineFeed)),
        (SizePart::Extension, b'\r') => Ok(at(SizePart::LineFeed)),
        (SizePart::Extension, b'\t' | b' '..=b'~') => Ok(at(SizePart::Extension)),
        (SizePart::LineFeed, b'\n') if size == 0 => Ok(State::Trailers { line: 0, total: 0, seen_cr: false }),
        (SizePart::LineFeed, b'\n') => Ok(State::Data { left: size }),
        _ => Err(Malformed::Chunk),
    }
}

/// Writes `data` as one chunk; nothing for no data, since an empty chunk would end the body.
pub(crate) fn encode(data: &[u8], out: &mut Vec<u8>) {
    if !data.is_empty() {
        use std::io::Write;
        // Writing to memory does not fail.
        let _ = write!(out, "{:x}\r\n", data.len());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
}

/// What ends a chunked body.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes input that arrives in pieces; `Ok(None)` when the body does not end.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Option<Vec<u8>>, Malformed> {
        let mut decoder = ChunkedDecoder::new();
        let mut body = Vec::new();
        for piece in pieces {
            let mut rest = piece;
            loop {
                let (used, step) = decoder.next(rest)?;
                rest = &rest[used..];
                match step {
                    Piece::Data(data) => body.extend_from_slice(data),
                    Piece::NeedMore => break,
                    Piece::End => return Ok(Some(body)),
                }
            }
        }
        Ok(None)
    }

    fn whole(input: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
        decode([input])
    }

    #[test]
    fn bodies_are_decoded_and_extensions_and_trailers_dropped() {
        assert_eq!(whole(b"3\r\nabc\r\n0\r\n\r\n"), Ok(Some(b"abc".to_vec())));
        assert_eq!(whole(b"3;a=b\r\nabc\r\n00\r\nX-Proxy-User: admin\r\n\r\n"), Ok(Some(b"abc".to_vec())));
        assert_eq!(whole(b"A\r\n0123456789\r\n0\r\n\r\n"), Ok(Some(b"0123456789".to_vec())));
        assert_eq!(whole(b"3\r\nabc\r\n0\r\n"), Ok(None));
    }

    #[test]
    fn what_parsers_disagree_about_is_refused() {
        let long_extension = [b"3;".as_slice(), &[b'x'; 300], b"\r\nabc\r\n0\r\n\r\n"].concat();
        let many_trailers = [b"0\r\n".as_slice(), &[b'x'; 9000], b"\r\n\r\n"].concat();
        let cases: [&[u8]; 18] = [
            b"0x3\r\nabc\r\n0\r\n\r\n",
            b"+3\r\nabc\r\n0\r\n\r\n",
            b"-3\r\nabc\r\n0\r\n\r\n",
            b" 3\r\nabc\r\n0\r\n\r\n",
            b"3 \r\nabc\r\n0\r\n\r\n",
            b"3\nabc\r\n0\r\n\r\n",
            b"3\r\nabc\n0\r\n\r\n",
            b"3\r\nabcd\r\n0\r\n\r\n",
            b"3\rabc\r\n0\r\n\r\n",
            b"\r\nabc\r\n0\r\n\r\n",
            b";x\r\nabc\r\n0\r\n\r\n",
            b"3;\n\r\nabc\r\n0\r\n\r\n",
            b"fffffffffffffffff\r\n",
            b"0\r\n\n",
            b"0\r\nX: y\n\r\n",
            b"0\r\nX: \0\r\n\r\n",
            &long_extension,
            &many_trailers,
        ];
        for case in cases {
            assert_eq!(whole(case), Err(Malformed::Chunk), "{}", String::from_utf8_lossy(case));
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded_however_it_arrives(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cut in 1_usize..9,
        ) {
            let mut wire = Vec::new();
            for part in &parts {
                encode(part, &mut wire);
            }
            wire.extend_from_slice(END);
            prop_assert_eq!(decode(wire.chunks(cut)), Ok(Some(parts.concat())));
        }

        #[test]
        fn any_bytes_are_decoded_the_same_however_they_arrive(wire in prop::collection::vec(prop::sample::select(b"0123af;\r\n xX".to_vec()), 0..60), cut in 1_usize..9) {
            prop_assert_eq!(decode(wire.chunks(cut)), whole(&wire));
        }
    }
}
