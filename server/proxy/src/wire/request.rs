//! The head of a request.

use super::{Framing, Malformed, check_line_ends, once, parse_length, trim};

/// Most header fields any configuration may allow.
pub(crate) const MAX_HEADERS: usize = 256;

/// A header field as it was sent.
pub(crate) type Field<'a> = httparse::Header<'a>;

/// Where [`RequestHead::parse`] puts the header fields.
pub(crate) type FieldSlots<'a> = [Field<'a>; MAX_HEADERS];

/// The head of a request, readable in exactly one way.
#[derive(Debug)]
pub(crate) struct RequestHead<'a> {
    /// The method as sent; a token, not necessarily one that is supported.
    pub(crate) method: &'a str,
    /// Path and query as sent: printable ASCII that begins with `/`.
    pub(crate) target: &'a str,
    /// HTTP/1.1, not 1.0.
    pub(crate) is_1_1: bool,
    /// What `Host` says; `None` only in HTTP/1.0.
    pub(crate) host: Option<&'a [u8]>,
    /// All header fields in their order.
    pub(crate) fields: &'a [Field<'a>],
    /// How long the body is.
    pub(crate) framing: Framing,
    /// Whether the client means to send another request on the connection.
    pub(crate) keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// Whether the client asked for something other than `100-continue`.
    pub(crate) expects_unknown: bool,
    pub(crate) content_type: Option<&'a [u8]>,
    pub(crate) content_encoding: Option<&'a [u8]>,
}

/// What the bytes received so far are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrived {
    /// A part of a head.
    Incomplete,
    /// A whole head of so many bytes, the empty line included.
    Complete(usize),
}

/// Looks for the end of a head in what has arrived.
pub(crate) fn find_end(bytes: &[u8]) -> Result<Arrived, Malformed> {
    if let Some(position) = memchr::memmem::find(bytes, b"\r\n\r\n") {
        return Ok(Arrived::Complete(position + 4));
    }
    // A head whose lines end otherwise would never be complete.
    let mut line_feeds = memchr::memchr_iter(b'\n', bytes);
    if line_feeds.any(|position| position == 0 || bytes.get(position - 1) != Some(&b'\r')) {
        return Err(Malformed::LineEnd);
    }
    Ok(Arrived::Incomplete)
}

impl<'a> RequestHead<'a> {
    /// Reads a whole head, with at most `max_fields` header fields.
    pub(crate) fn parse(head: &'a [u8], slots: &'a mut FieldSlots<'a>, max_fields: usize) -> Result<Self, Malformed> {
        check_line_ends(head)?;
        if head.first().is_none_or(|byte| !byte.is_ascii_alphabetic()) {
            return Err(Malformed::RequestLine);
        }
        let mut request = httparse::Request::new(slots);
        match request.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Ok(_) => return Err(Malformed::Header),
            Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooManyHeaders),
            Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(Malformed::Header),
            Err(_) => return Err(Malformed::RequestLine),
        }
        let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
            return Err(Malformed::RequestLine);
        };
        let fields: &'a [Field<'a>] = request.headers;
        if fields.len() > max_fields {
            return Err(Malformed::TooManyHeaders);
        }
        check_target(target)?;
        Self {
            method,
            target,
            is_1_1: version == 1,
            host: None,
            fields,
            framing: Framing::None,
            keep_alive: version == 1,
            expects_continue: false,
            expects_unknown: false,
            content_type: None,
            content_encoding: None,
        }
        .read_fields()
    }

    fn read_fields(mut self) -> Result<Self, Malformed> {
        let mut hosts = 0;
        let mut length = None;
        let mut transfer_encoding = None;
        for field in self.fields {
            let value = trim(field.value);
            // Most names are told apart by their length alone.
            match field.name.len() {
                4 if field.name.eq_ignore_ascii_case("host") => {
                    hosts += 1;
                    if !is_host(value) {
                        return Err(Malformed::Host);
                    }
                    self.host = Some(value);
                }
                6 if field.name.eq_ignore_ascii_case("expect") => {
                    if self.expects_continue || self.expects_unknown {
                        return Err(Malformed::Repeated);
                    }
                    self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
                    self.expects_unknown = !self.expects_continue;
                }
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    for option in value.split(|byte| *byte == b',').map(trim) {
                        if option.eq_ignore_ascii_case(b"close") {
                            self.keep_alive = false;
                        }
                    }
                }
                12 if field.name.eq_ignore_ascii_case("content-type") => {
                    once(&mut self.content_type, value, Malformed::Repeated)?;
                }
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    once(&mut length, parse_length(value)?, Malformed::ContentLength)?;
                }
                16 if field.name.eq_ignore_ascii_case("content-encoding") => {
                    once(&mut self.content_encoding, value, Malformed::Repeated)?;
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    once(&mut transfer_encoding, value, Malformed::TransferEncoding)?;
                }
                _ => {}
            }
        }
        if hosts > 1 || (hosts == 0 && self.is_1_1) {
            return Err(Malformed::Host);
        }
        // Nobody waits for an interim answer in HTTP/1.0 (RFC 9110 section 10.1.1).
        self.expects_continue &= self.is_1_1;
        self.framing = match (transfer_encoding, length) {
            (None, None) => Framing::None,
            (None, Some(length)) => Framing::Length(length),
            (Some(coding), None) if self.is_1_1 && coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
            (Some(_), _) => return Err(Malformed::TransferEncoding),
        };
        Ok(self)
    }

    /// Whether the method is one that the engine answers. To others it gives no answer at all, or one that is no use.
    pub(crate) fn method_is_supported(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH")
    }

    /// The path, without the query.
    pub(crate) fn path(&self) -> &'a str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }
}

/// A name or an address as names and addresses are written, with a port or without (RFC 9110 section 7.2). What the
/// grammar of URIs permits beyond that, no host is called.
fn is_host(value: &[u8]) -> bool {
    let Ok(value) = std::str::from_utf8(value) else { return false };
    let (is_valid, port) = if let Some(rest) = value.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else { return false };
        (address.parse::<std::net::Ipv6Addr>().is_ok(), after)
    } else {
        let (name, port) = value.split_at(value.find(':').unwrap_or(value.len()));
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        (!name.is_empty() && name.bytes().all(is_plain), port)
    };
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        // The empty port is the default one (RFC 3986 section 3.2.3).
        Some(digits) => {
            digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.is_empty() || digits.parse::<u16>().is_ok())
        }
    };
    is_valid && is_port
}

/// A target in origin form (RFC 9112 section 3.2.1) that means the same to everybody: no fragment, no backslash, no
/// segment `.` or `..` in whatever spelling, no broken or needless escapes of these.
fn check_target(target: &str) -> Result<(), Malformed> {
    let bytes = target.as_bytes();
    let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !matches!(byte, b'#' | b'\\');
    if bytes.first() != Some(&b'/') || !bytes.iter().all(is_plain) {
        return Err(Malformed::Target);
    }
    let path = target.split_once('?').map_or(target, |(path, _)| path);
    let has_escape = memchr::memchr(b'%', path.as_bytes()).is_some();
    if path.split('/').any(|segment| is_dot_segment(segment, has_escape)) {
        return Err(Malformed::Target);
    }
    Ok(())
}

/// `.` and `..`, also percent-encoded, also followed by `;` and parameters, which some servers take off.
fn is_dot_segment(segment: &str, has_escape: bool) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    match name.len() {
        1 | 2 => name.bytes().all(|byte| byte == b'.'),
        3..=6 if has_escape => {
            let decoded = name.replace("%2e", ".").replace("%2E", ".");
            decoded == "." || decoded == ".."
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<(Framing, bool), Malformed> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        RequestHead::parse(head.as_bytes(), &mut slots, 100).map(|head| (head.framing, head.keep_alive))
    }

    fn with(fields: &str) -> Result<(Framing, bool), Malformed> {
        parse(&format!("POST /logs/_search HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    #[test]
    fn ordinary_requests_are_read() {
        assert_eq!(with(""), Ok((Framing::None, true)));
        assert_eq!(with("Content-Length: 12\r\n"), Ok((Framing::Length(12), true)));
        assert_eq!(with("transfer-encoding:  Chunked \r\n"), Ok((Framing::Chunked, true)));
        assert_eq!(with("Connection: keep-alive, Close\r\n"), Ok((Framing::None, false)));
        assert_eq!(parse("GET / HTTP/1.0\r\n\r\n"), Ok((Framing::None, false)));
        for (version, waits) in [("1.0", false), ("1.1", true)] {
            let head = format!("POST / HTTP/{version}\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-Continue\r\n\r\n");
            let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let head = RequestHead::parse(head.as_bytes(), &mut slots, 100).unwrap();
            assert_eq!((head.expects_continue, head.expects_unknown), (waits, false));
        }
    }

    #[test]
    fn framing_that_can_be_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 9999999999999999999\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
            "Transfer-Encoding: identity, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \x0bchunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding : chunked\r\n",
            " Transfer-Encoding: chunked\r\n",
            "X: a\r\n b\r\n",
            "X: a\rb\r\n",
            "X: a\nY: b\r\n",
            "X: a\0b\r\n",
            ": a\r\n",
            "X\r\n",
            "Host: b\r\n",
            "Expect: 100-continue\r\nExpect: 100-continue\r\n",
            "Content-Type: application/json\r\nContent-Type: text/plain\r\n",
        ] {
            assert!(with(fields).is_err(), "{fields:?}");
        }
        assert!(parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse("GET / HTTP/1.1\r\n\r\n").is_err());
        assert!(parse("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n").is_err());
        assert!(parse("GET / HTTP/1.1\r\nHost:\r\n\r\n").is_err());
    }

    #[test]
    fn request_lines_and_targets_that_can_be_read_in_two_ways_are_refused() {
        for line in [
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET\t/ HTTP/1.1",
            " GET / HTTP/1.1",
            "\r\nGET / HTTP/1.1",
            "GET / HTTP/2.0",
            "GET / http/1.1",
            "GET /",
            "GET http://other/ HTTP/1.1",
            "GET * HTTP/1.1",
            "CONNECT other:443 HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "GET /a\\b HTTP/1.1",
            "GET /logs/../_cluster HTTP/1.1",
            "GET /logs/%2e%2E/_cluster HTTP/1.1",
            "GET /logs/.%2e/_cluster HTTP/1.1",
            "GET /logs/..;x=y/_cluster HTTP/1.1",
            "GET /./_cluster HTTP/1.1",
            "GET /.. HTTP/1.1",
            "GET /\u{e9} HTTP/1.1",
            "GET /a b HTTP/1.1",
        ] {
            assert!(parse(&format!("{line}\r\nHost: a\r\n\r\n")).is_err(), "{line:?}");
        }
        for target in ["/", "/a.b/_doc/..x", "/%3Clogs-%7Bnow%2Fd%7D%3E/_search", "/a?b=/../c", "/.kibana/_search"] {
            assert!(parse(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).is_ok(), "{target}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for host in ["a", "A.example.com.", "my_node-1:9200", "a:", "127.0.0.1:1", "[::1]", "[2001:db8::1]:65535"] {
            assert!(parse(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(), "{host}");
        }
        for host in [
            "", "a b", "a/b", "b@a", "a?b", "a#b", "a:b", "a:+1", "a:1:2", "a:65536", ":1", "::1", "[::1", "[a]",
            "[::1]a", "a%2fb", "\u{e4}",
        ] {
            assert_eq!(parse(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Err(Malformed::Host), "{host}");
        }
    }

    #[test]
    fn too_many_fields_are_refused() {
        let fields: String = (0..120).map(|number| format!("X-{number}: a\r\n")).collect();
        assert_eq!(with(&fields), Err(Malformed::TooManyHeaders));
        let fields: String = (0..300).map(|number| format!("X-{number}: a\r\n")).collect();
        assert_eq!(with(&fields), Err(Malformed::TooManyHeaders));
    }

    #[test]
    fn the_end_is_found_or_a_wrong_line_end_reported() {
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody"), Ok(Arrived::Complete(27)));
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nHost: a\r\n"), Ok(Arrived::Incomplete));
        assert_eq!(find_end(b"GET / HTTP/1.1\nHost: a\n\n"), Err(Malformed::LineEnd));
    }
}
