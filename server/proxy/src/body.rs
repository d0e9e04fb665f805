//! The body of a request as it arrives: taken out of its framing, counted, limited.

use crate::buffers::Buffer;
use crate::wire::chunked::{ChunkedDecoder, Piece};
use crate::wire::{Framing, Malformed};

/// The body of the present request.
#[derive(Debug)]
pub(crate) struct RequestBody {
    framing: BodyFraming,
    received: u64,
    limit: u64,
}

#[derive(Debug)]
enum BodyFraming {
    Done,
    Length { left: u64 },
    Chunked(ChunkedDecoder),
}

/// A body that is not taken further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the body is larger than the limit of {limit} bytes")]
    TooLarge { limit: u64 },
}

impl RequestBody {
    /// The body of a request with this framing, of at most `limit` bytes.
    pub(crate) const fn new(framing: Framing, limit: u64) -> Self {
        Self {
            framing: match framing {
                Framing::None | Framing::UntilClose | Framing::Length(0) => BodyFraming::Done,
                Framing::Length(left) => BodyFraming::Length { left },
                Framing::Chunked => BodyFraming::Chunked(ChunkedDecoder::new()),
            },
            received: 0,
            limit,
        }
    }

    /// Whether all of it has been taken.
    pub(crate) const fn is_done(&self) -> bool {
        matches!(self.framing, BodyFraming::Done)
    }

    /// Bytes taken so far, without framing.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// Makes sure that a length told in advance is within the limit.
    pub(crate) const fn check_announced(&self) -> Result<(), BodyError> {
        match self.framing {
            BodyFraming::Length { left } if left > self.limit => Err(BodyError::TooLarge { limit: self.limit }),
            _ => Ok(()),
        }
    }

    /// Takes what has arrived in `input`, as far as it belongs to this body, and hands its bytes to `each`.
    pub(crate) fn take<E: From<BodyError>>(
        &mut self,
        input: &mut Buffer,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut used = 0;
        let result = loop {
            let rest = input.get(used..).unwrap_or_default();
            match self.step(rest) {
                Ok((count, Some(data))) => {
                    used += count;
                    if let Err(error) = self.count(data.len()).map_err(E::from).and_then(|()| each(data)) {
                        break Err(error);
                    }
                }
                Ok((count, None)) => {
                    used += count;
                    break Ok(());
                }
                Err(error) => break Err(BodyError::from(error).into()),
            }
        };
        input.consume(used);
        result
    }

    /// The next bytes in `rest` and how much they take up with their framing; `None` when more has to arrive or the
    /// body has ended.
    fn step<'a>(&mut self, rest: &'a [u8]) -> Result<(usize, Option<&'a [u8]>), Malformed> {
        match &mut self.framing {
            BodyFraming::Done => Ok((0, None)),
            BodyFraming::Length { .. } if rest.is_empty() => Ok((0, None)),
            BodyFraming::Length { left } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left = left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.framing = BodyFraming::Done;
                }
                Ok((count, rest.get(..count)))
            }
            BodyFraming::Chunked(decoder) => match decoder.next(rest)? {
                (used, Piece::Data(data)) => Ok((used, Some(data))),
                (used, Piece::NeedMore) => Ok((used, None)),
                (used, Piece::End) => {
                    self.framing = BodyFraming::Done;
                    Ok((used, None))
                }
            },
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), BodyError> {
        self.received = self.received.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.received > self.limit {
            return Err(BodyError::TooLarge { limit: self.limit });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::empty();
        buffer.append(bytes);
        buffer
    }

    fn take(body: &mut RequestBody, input: &mut Buffer) -> Result<Vec<u8>, BodyError> {
        let mut taken = Vec::new();
        body.take(input, |data| {
            taken.extend_from_slice(data);
            Ok::<(), BodyError>(())
        })?;
        Ok(taken)
    }

    #[test]
    fn a_body_ends_where_its_framing_says_and_the_rest_stays() {
        let mut body = RequestBody::new(Framing::Length(5), 100);
        let mut input = buffer(b"hel");
        assert_eq!(take(&mut body, &mut input).unwrap(), b"hel");
        assert!(!body.is_done());
        input.append(b"loGET / HTTP/1.1");
        assert_eq!(take(&mut body, &mut input).unwrap(), b"lo");
        assert!(body.is_done());
        assert_eq!(input.as_slice(), b"GET / HTTP/1.1");

        let mut body = RequestBody::new(Framing::Chunked, 100);
        let mut input = buffer(b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\nGET /");
        assert_eq!(take(&mut body, &mut input).unwrap(), b"hello");
        assert!(body.is_done());
        assert_eq!(input.as_slice(), b"GET /");
        assert_eq!(body.received(), 5);
    }

    #[test]
    fn a_body_over_the_limit_is_stopped() {
        let body = RequestBody::new(Framing::Length(101), 100);
        assert_eq!(body.check_announced(), Err(BodyError::TooLarge { limit: 100 }));
        let mut body = RequestBody::new(Framing::Chunked, 4);
        assert_eq!(take(&mut body, &mut buffer(b"3\r\nhel\r\n2\r\nlo\r\n")), Err(BodyError::TooLarge { limit: 4 }));
    }
}
