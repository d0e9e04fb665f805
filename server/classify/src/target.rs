//! The raw request target: path segments as the engine splits them, and percent-decoding as it decodes them.

use std::borrow::Cow;

use crate::error::ClassifyError;

/// No path of the table is deeper; a deeper one cannot match.
pub(crate) const MAX_SEGMENTS: usize = 16;

/// A request target, split but not decoded.
pub(crate) struct RawTarget<'a> {
    pub path: &'a str,
    /// Without the `?`. `None` and empty mean the same.
    pub query: &'a str,
}

impl<'a> RawTarget<'a> {
    /// Accepts origin form only (RFC 9112 section 3.2.1).
    pub(crate) fn parse(target: &'a str) -> Result<Self, ClassifyError> {
        if !target.starts_with('/') {
            return Err(ClassifyError::MalformedTarget("it must begin with `/`"));
        }
        for byte in target.bytes() {
            match byte {
                b'#' => return Err(ClassifyError::MalformedTarget("it has a fragment (`#`)")),
                b'\\' => return Err(ClassifyError::MalformedTarget("it has a backslash")),
                0x21..=0x7e => {}
                _ => {
                    return Err(ClassifyError::MalformedTarget("it has a byte outside printable ASCII"));
                }
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Self { path, query })
    }
}

/// The segments of a path. One trailing `/` is dropped, as the engine drops it.
pub(crate) struct Segments<'a> {
    parts: [&'a str; MAX_SEGMENTS],
    len: usize,
}

impl<'a> Segments<'a> {
    /// `None` if the path has more than [`MAX_SEGMENTS`] segments.
    pub(crate) fn split(path: &'a str) -> Result<Option<Self>, ClassifyError> {
        let mut segments = Segments { parts: [""; MAX_SEGMENTS], len: 0 };
        let inner = path.strip_prefix('/').unwrap_or(path);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() {
            // Neither netty nor the router agree with themselves on `//`.
            return if path.len() > 1 { Err(ClassifyError::EmptySegment) } else { Ok(Some(segments)) };
        }
        let mut too_deep = false;
        for part in inner.split('/') {
            if part.is_empty() {
                return Err(ClassifyError::EmptySegment);
            }
            if is_dot_segment(part) {
                return Err(ClassifyError::DotSegment);
            }
            match segments.parts.get_mut(segments.len) {
                Some(slot) => {
                    *slot = part;
                    segments.len += 1;
                }
                None => too_deep = true,
            }
        }
        Ok((!too_deep).then_some(segments))
    }

    pub(crate) fn as_slice(&self) -> &[&'a str] {
        self.parts.get(..self.len).unwrap_or(&[])
    }
}

/// `.` and `..`, also percent-encoded, also with path parameters (`..;x`) that some servers cut off.
fn is_dot_segment(segment: &str) -> bool {
    let bare = segment.split_once(';').map_or(segment, |(bare, _)| bare);
    let mut rest = bare;
    let mut dots = 0;
    while !rest.is_empty() {
        let next = rest.strip_prefix('.').or_else(|| rest.strip_prefix("%2e")).or_else(|| rest.strip_prefix("%2E"));
        let Some(next) = next else { return false };
        rest = next;
        dots += 1;
    }
    dots == 1 || dots == 2
}

/// Decodes a path segment or, with `plus`, a query component. Stricter than the engine, which reads `%%` as `%` and
/// replaces what is not UTF-8: those are refused, and so are control characters.
pub(crate) fn decode(raw: &str, plus: bool) -> Result<Cow<'_, str>, ClassifyError> {
    if !raw.bytes().any(|b| b == b'%' || (plus && b == b'+')) {
        return Ok(Cow::Borrowed(raw));
    }
    let bad = || ClassifyError::BadEscape(raw.to_owned());
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let high = bytes.next().and_then(hex).ok_or_else(bad)?;
                let low = bytes.next().and_then(hex).ok_or_else(bad)?;
                let decoded = high << 4 | low;
                if decoded < 0x20 || decoded == 0x7f {
                    return Err(bad());
                }
                decoded
            }
            b'+' if plus => b' ',
            other => other,
        });
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| bad())
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
