//! Path and query in the form that is signed.

use std::fmt::Write as _;

use super::SigningError;

/// Path and query of a target, each in its canonical form.
///
/// The path is escaped once more as it is, which the standard asks for of every service but S3. Of the query each name and value is
/// read as the engine reads it (`+` is a space) and escaped anew; the pairs are sorted as bytes.
pub(super) fn target(target: &str) -> Result<(String, String), SigningError> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // Services join slashes before they verify, the engine does not; dot segments are refused before.
    if path.contains("//") {
        return Err(SigningError::Target(
            "the path has an empty segment, which a signed request cannot have; take it out",
        ));
    }
    let mut escaped = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if byte == b'/' { escaped.push('/') } else { escape(byte, &mut escaped) }
    }
    // The engine takes it for a separator, the services do not.
    if query.contains(';') {
        return Err(SigningError::Target(
            "the query holds a `;`, which the engine and the service before it read in two ways; write `&` between parameters, and `%3B` in a value",
        ));
    }
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (canonical(name)?, canonical(value)?);
        if name.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("x-amz-")) {
            return Err(SigningError::Target(
                "parameters of the URL that begin with `X-Amz-` are a signature's; leave them out",
            ));
        }
        pairs.push((name, value));
    }
    pairs.sort_unstable();
    let mut joined = String::with_capacity(query.len() + 16);
    for (name, value) in pairs {
        if !joined.is_empty() {
            joined.push('&');
        }
        joined.push_str(&name);
        joined.push('=');
        joined.push_str(&value);
    }
    Ok((escaped, joined))
}

fn canonical(raw: &str) -> Result<String, SigningError> {
    let mut out = String::with_capacity(raw.len() + 8);
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                let (high, low) = (digit(bytes.next()), digit(bytes.next()));
                let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or(SigningError::Target("the query holds a `%` without two hexadecimal digits"))?
            }
            byte => byte,
        };
        escape(byte, &mut out);
    }
    Ok(out)
}

/// Only the unreserved letters of RFC 3986 section 2.3 stand for themselves.
fn escape(byte: u8, out: &mut String) {
    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
        out.push(char::from(byte));
    } else {
        // Writing to memory does not fail.
        let _ = write!(out, "%{byte:02X}");
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_escaped_once_more_and_a_query_anew() {
        for (raw, path, query) in [
            ("/", "/", ""),
            ("/?", "/", ""),
            ("/logs-*,a/_search?pretty", "/logs-%2A%2Ca/_search", "pretty="),
            ("/a%2Fb/_doc/%C3%A4~", "/a%252Fb/_doc/%25C3%25A4~", ""),
            ("/a/?b=2&a=1&b=1", "/a/", "a=1&b=1&b=2"),
            ("/a?q=x+y&r=x%20y&s=x%2By", "/a", "q=x%20y&r=x%20y&s=x%2By"),
            ("/a?filter_path=hits.hits,took&s=a=b", "/a", "filter_path=hits.hits%2Ctook&s=a%3Db"),
            ("/a?%e4=%c3%a4&~=%7e", "/a", "%E4=%C3%A4&~=~"),
            ("/a?a-b=1&a=2", "/a", "a=2&a-b=1"),
            ("/a?a=1&&b=2&", "/a", "a=1&b=2"),
        ] {
            assert_eq!(target(raw).unwrap(), (path.to_owned(), query.to_owned()), "{raw}");
        }
    }

    #[test]
    fn what_two_could_read_in_two_ways_is_not_signed() {
        for raw in [
            "//a",
            "/a//b",
            "/a?b=1;op_type=create",
            "/a?b=%",
            "/a?b=%2",
            "/a?b=%zz",
            "/a?X-Amz-Signature=a",
            "/a?x%2DAMZ%2ddate=a",
        ] {
            assert!(matches!(target(raw), Err(SigningError::Target(_))), "{raw}");
        }
    }
}
