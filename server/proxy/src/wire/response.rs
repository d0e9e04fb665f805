//! The head of the engine's answer.

use super::request::{Field, FieldSlots};
use super::{Framing, Malformed, check_line_ends, once, parse_length, trim};

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct ResponseHead<'a> {
    pub(crate) status: u16,
    pub(crate) reason: &'a str,
    pub(crate) fields: &'a [Field<'a>],
    pub(crate) framing: Framing,
    /// Whether the connection can be used again after the body.
    pub(crate) keep_alive: bool,
}

impl<'a> ResponseHead<'a> {
    /// Reads a whole head, as the answer to a request with method HEAD or another.
    pub(crate) fn parse(head: &'a [u8], slots: &'a mut FieldSlots<'a>, to_head: bool) -> Result<Self, Malformed> {
        check_line_ends(head)?;
        // The parser reads over empty lines before an answer.
        if !head.starts_with(b"HTTP/") {
            return Err(Malformed::StatusLine);
        }
        let mut response = httparse::Response::new(slots);
        match response.parse(head) {
            Ok(httparse::Status::Complete(length)) if length == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooManyHeaders),
            Err(httparse::Error::HeaderName | httparse::Error::HeaderValue) => return Err(Malformed::Header),
            Ok(_) | Err(_) => return Err(Malformed::StatusLine),
        }
        let (Some(status), Some(version)) = (response.code, response.version) else {
            return Err(Malformed::StatusLine);
        };
        // RFC 9110 section 15: there are no others.
        if !(100..600).contains(&status) {
            return Err(Malformed::StatusLine);
        }
        let fields: &'a [Field<'a>] = response.headers;
        let mut keep_alive = version == 1;
        let mut length = None;
        let mut transfer_encoding = None;
        for field in fields {
            let value = trim(field.value);
            match field.name.len() {
                10 if field.name.eq_ignore_ascii_case("connection") => {
                    for option in value.split(|byte| *byte == b',').map(trim) {
                        keep_alive &= !option.eq_ignore_ascii_case(b"close");
                    }
                }
                14 if field.name.eq_ignore_ascii_case("content-length") => {
                    once(&mut length, parse_length(value)?, Malformed::ContentLength)?;
                }
                17 if field.name.eq_ignore_ascii_case("transfer-encoding") => {
                    once(&mut transfer_encoding, value, Malformed::TransferEncoding)?;
                }
                _ => {}
            }
        }
        let framing = match (transfer_encoding, length) {
            // RFC 9112 section 6.3: these have no body whatever their fields say.
            _ if to_head || (100..200).contains(&status) || status == 204 || status == 304 => Framing::None,
            (None, Some(length)) => Framing::Length(length),
            (Some(coding), None) if version == 1 && coding.eq_ignore_ascii_case(b"chunked") => Framing::Chunked,
            (Some(_), _) => return Err(Malformed::TransferEncoding),
            (None, None) => Framing::UntilClose,
        };
        keep_alive &= framing != Framing::UntilClose;
        Ok(Self { status, reason: response.reason.unwrap_or_default(), fields, framing, keep_alive })
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::MAX_HEADERS;
    use super::*;

    fn parse(head: &str, to_head: bool) -> Result<(u16, Framing, bool), Malformed> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        ResponseHead::parse(head.as_bytes(), &mut slots, to_head)
            .map(|head| (head.status, head.framing, head.keep_alive))
    }

    #[test]
    fn the_body_is_framed_as_rfc_9112_says() {
        assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", false), Ok((200, Framing::Length(5), true)));
        assert_eq!(parse("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", true), Ok((200, Framing::None, true)));
        assert_eq!(parse("HTTP/1.1 204 No Content\r\n\r\n", false), Ok((204, Framing::None, true)));
        assert_eq!(parse("HTTP/1.1 200 OK\r\n\r\n", false), Ok((200, Framing::UntilClose, false)));
        assert_eq!(
            parse("HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\n", false),
            Ok((200, Framing::Chunked, true))
        );
        assert_eq!(parse("HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", false), Ok((200, Framing::Length(0), false)));
        assert_eq!(
            parse("HTTP/1.1 200 OK\r\nconnection: Close\r\ncontent-length: 0\r\n\r\n", false),
            Ok((200, Framing::Length(0), false))
        );
    }

    #[test]
    fn answers_that_can_be_read_in_two_ways_are_refused() {
        for head in [
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.1 200 OK\ncontent-length: 5\n\n",
            "HTTP/1.1 20x OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 600 OK\r\n\r\n",
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(parse(head, false).is_err(), "{head:?}");
        }
    }
}
