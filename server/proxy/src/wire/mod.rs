//! HTTP/1.1 on the wire (RFC 9110, RFC 9112), read so strictly that no second parser can read it another way.
//!
//! The data plane reads and writes HTTP itself, because what the decision is made on must be, byte for byte, what is
//! forwarded, and because whatever could be read in two ways has to be seen before a general parser has made it
//! readable in one. Everything here is about bytes in memory; sockets are the business of [`crate::connection`].

pub(crate) mod chunked;
pub(crate) mod proxy_protocol;
pub(crate) mod request;
pub(crate) mod response;

/// How the length of a body is told (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none.
    None,
    /// `Content-Length`: so many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the connection is closed; answers only.
    UntilClose,
}

/// A message that is not HTTP/1.1, or could be read in more than one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the request line is not `method target HTTP/1.1`")]
    RequestLine,
    #[error("the status line of the answer is not valid")]
    StatusLine,
    #[error("lines must end with CRLF")]
    LineEnd,
    #[error("a header field is not `name: value` in permitted characters")]
    Header,
    #[error("there are too many header fields")]
    TooManyHeaders,
    #[error(
        "the request target must be a path that begins with `/`, in printable ASCII, without `#`, `\\`, spaces or dot segments"
    )]
    Target,
    #[error("give exactly one `Host` header field, a name or an address with or without a port")]
    Host,
    #[error("`Content-Length` must be one decimal number")]
    ContentLength,
    #[error("`Transfer-Encoding` must be `chunked` alone, on HTTP/1.1, and without `Content-Length`")]
    TransferEncoding,
    #[error("a chunk of the body is not valid")]
    Chunk,
    #[error(
        "the header field is repeated or does not make sense: `Content-Type`, `Content-Encoding` and `Expect` may be given once"
    )]
    Repeated,
}

/// Makes sure that every line ends with CRLF and no CR, LF or NUL stands anywhere else.
fn check_line_ends(head: &[u8]) -> Result<(), Malformed> {
    let mut previous = 0;
    for position in memchr::memchr3_iter(b'\r', b'\n', 0, head) {
        let is_pair = match head.get(position) {
            Some(b'\r') => head.get(position + 1) == Some(&b'\n'),
            Some(b'\n') => position > 0 && previous + 1 == position && head.get(previous) == Some(&b'\r'),
            _ => false,
        };
        if !is_pair {
            return Err(Malformed::LineEnd);
        }
        previous = position;
    }
    Ok(())
}

/// A decimal number of at most 18 digits, and nothing else (RFC 9110 section 8.6).
fn parse_length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() || value.len() > 18 {
        return Err(Malformed::ContentLength);
    }
    value.iter().try_fold(0_u64, |number, digit| {
        if digit.is_ascii_digit() { Ok(number * 10 + u64::from(digit - b'0')) } else { Err(Malformed::ContentLength) }
    })
}

/// Keeps the value of a field that may be given once.
fn once<T>(kept: &mut Option<T>, value: T, repeated: Malformed) -> Result<(), Malformed> {
    match kept.replace(value) {
        None => Ok(()),
        Some(_) => Err(repeated),
    }
}

/// Takes the white space around a field's value away (RFC 9110 section 5.5).
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = value.iter().position(|byte| !is_space(byte)) else {
        return &[];
    };
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}
