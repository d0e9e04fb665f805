//! Whether the engine would read a body as the JSON that we inspect.

use crate::error::BodyError;

/// How the bytes of a body are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentCoding {
    /// As they are.
    Identity,
    /// With a [`GzipReader`](crate::GzipReader).
    Gzip,
}

/// Checks `Content-Type` and `Content-Encoding` of a body that will be inspected. Header values as sent; a header
/// that is there twice must be refused before.
///
/// The engine reads `application/json`, `application/x-ndjson` and `application/vnd.opensearch+json` as JSON, and
/// SMILE, CBOR and YAML by their own types; a body without a type it refuses. It ignores the character set and
/// detects UTF-16 and UTF-32 by itself, so that only UTF-8 can be inspected. It decompresses `gzip`, `deflate` and
/// what else its libraries know, and reads a body with an encoding it does not know as it is.
///
/// # Errors
/// [`BodyError::ContentType`], [`BodyError::ContentEncoding`]. Both fit status 415.
pub fn check_content(content_type: Option<&str>, content_encoding: Option<&str>) -> Result<ContentCoding, BodyError> {
    let coding = match content_encoding.map(|encoding| encoding.trim_matches([' ', '\t'])) {
        None => ContentCoding::Identity,
        Some(encoding) if encoding.eq_ignore_ascii_case("identity") => ContentCoding::Identity,
        Some(encoding) if ["gzip", "x-gzip"].iter().any(|name| encoding.eq_ignore_ascii_case(name)) => {
            ContentCoding::Gzip
        }
        Some(encoding) => return Err(BodyError::ContentEncoding(encoding.to_owned())),
    };
    let value = content_type.unwrap_or_default();
    let mut parts = value.split(';');
    let media_type = parts.next().unwrap_or_default().trim();
    let is_json = ["application/json", "application/x-ndjson", "application/vnd.opensearch+json"]
        .iter()
        .any(|known| media_type.eq_ignore_ascii_case(known));
    let is_utf8 = parts.all(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return parameter.trim().is_empty();
        };
        if !name.trim().eq_ignore_ascii_case("charset") {
            return true;
        }
        let value = value.trim().trim_matches('"');
        value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
    });
    if is_json && is_utf8 { Ok(coding) } else { Err(BodyError::ContentType(value.to_owned())) }
}

/// Whether the engine reads the characters of a JSON text as they are written, so that a word that is not among the
/// bytes, nor could be written with an escape, is not in the text.
///
/// Its reader detects UTF-16 and UTF-32, where every `{` has a zero byte, and takes overlong forms of characters
/// (`0xc1 0x9f` for `_`), which are not UTF-8.
pub(super) fn is_read_as_written(body: &[u8]) -> bool {
    memchr::memchr(0, body).is_none() && std::str::from_utf8(body).is_ok()
}
