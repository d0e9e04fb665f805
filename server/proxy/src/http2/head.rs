//! The head of a request of HTTP/2, written down as one of HTTP/1.1 (RFC 9113 section 8).
//!
//! Only what the two versions say differently is looked at here. All the rest is read, and perhaps refused, by the strict
//! reader, which gets what is written.

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Method};

use crate::refusal::Refusal;

/// Writes the head of a request; `is_whole` when it has no body.
///
/// A body whose length is not told in advance is announced as chunked.
pub(super) fn write(request: &Parts, is_whole: bool) -> Result<Vec<u8>, Refusal> {
    // Extended CONNECT (RFC 8441) is not offered, so that `h2` lets none through.
    if request.method == Method::CONNECT {
        return Err(Refusal::method("CONNECT"));
    }
    if request.uri.scheme().is_some_and(|scheme| *scheme != Scheme::HTTPS && *scheme != Scheme::HTTP) {
        return Err(Refusal::unreadable("`:scheme` must be `https`"));
    }
    let Some(target) = request.uri.path_and_query().map(|target| target.as_str()).filter(|it| it.starts_with('/'))
    else {
        return Err(Refusal::unreadable("`:path` must begin with `/`"));
    };
    let mut head = Vec::with_capacity(512);
    line(&mut head, &[request.method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1"])?;
    match request.uri.authority() {
        Some(authority) => {
            check_hosts(authority.as_str(), &request.headers)?;
            line(&mut head, &[b"host: ", authority.as_str().as_bytes()])?;
        }
        // None at all, or more than one, the strict reader refuses.
        None => {
            for host in request.headers.get_all(HOST) {
                line(&mut head, &[b"host: ", host.as_bytes()])?;
            }
        }
    }
    for (name, value) in &request.headers {
        if name != HOST && name != COOKIE {
            line(&mut head, &[name.as_str().as_bytes(), b": ", value.as_bytes()])?;
        }
    }
    // HTTP/2 may send each pair apart (RFC 9113 section 8.2.3).
    let cookies: Vec<&[u8]> = request.headers.get_all(COOKIE).iter().map(|pairs| pairs.as_bytes()).collect();
    if !cookies.is_empty() {
        line(&mut head, &[b"cookie: ", &cookies.join(b"; ".as_slice())])?;
    }
    if !is_whole && !request.headers.contains_key(CONTENT_LENGTH) {
        line(&mut head, &[b"transfer-encoding: chunked"])?;
    }
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

/// A `Host` beside `:authority` says the same, once.
fn check_hosts(authority: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(HOST).iter();
    let is_same = hosts.next().is_none_or(|host| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()));
    if is_same && hosts.next().is_none() {
        Ok(())
    } else {
        Err(Refusal::unreadable("`host` does not say the same as `:authority`; leave it out"))
    }
}

/// Writes a line. `h2` lets nothing through that would end one early or begin another field; that no line does is what
/// the whole translation stands on, so it is looked at here as well.
fn line(head: &mut Vec<u8>, pieces: &[&[u8]]) -> Result<(), Refusal> {
    for piece in pieces {
        if memchr::memchr3(b'\r', b'\n', 0, piece).is_some() {
            return Err(Refusal::unreadable("a header field holds a line end or a null byte"));
        }
        head.extend_from_slice(piece);
    }
    head.extend_from_slice(b"\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::wire::Framing;
    use crate::wire::request::{MAX_HEADERS, RequestHead};

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn written(method: &str, uri: &str, fields: &[(&str, &str)], is_whole: bool) -> Result<String, u16> {
        let head = write(&parts(method, uri, fields), is_whole).map_err(|refusal| refusal.status)?;
        Ok(String::from_utf8(head).unwrap())
    }

    #[test]
    fn a_head_says_the_same_in_http_1() {
        let head = written(
            "POST",
            "https://gateway.example.com/logs-*/_search?q=%2F",
            &[
                ("content-type", "application/json"),
                ("cookie", "a=1"),
                ("cookie", "b=2"),
                ("host", "Gateway.Example.com"),
            ],
            false,
        )
        .unwrap();
        let (line, fields) = head.split_once("\r\n").unwrap();
        assert_eq!(line, "POST /logs-*/_search?q=%2F HTTP/1.1");
        for field in [
            "host: gateway.example.com\r\n",
            "content-type: application/json\r\n",
            "cookie: a=1; b=2\r\n",
            "transfer-encoding: chunked\r\n",
        ] {
            assert_eq!(fields.matches(field).count(), 1, "{field:?} in {head:?}");
        }
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let read = RequestHead::parse(head.as_bytes(), &mut slots, 100).unwrap();
        assert_eq!((read.framing, read.keep_alive), (Framing::Chunked, true));
    }

    #[test]
    fn a_body_is_framed_as_it_was_announced() {
        let uri = "https://g/logs-a/_search";
        assert!(!written("GET", uri, &[], true).unwrap().contains("transfer-encoding"));
        let with_length = written("POST", uri, &[("content-length", "2")], false).unwrap();
        assert!(with_length.contains("content-length: 2\r\n") && !with_length.contains("transfer-encoding"));
    }

    #[test]
    fn what_has_no_equal_in_http_1_is_refused() {
        assert_eq!(written("CONNECT", "g:443", &[], true), Err(405));
        assert_eq!(written("OPTIONS", "*", &[], true), Err(400));
        assert_eq!(written("GET", "ftp://g/", &[], true), Err(400));
        assert_eq!(written("GET", "https://g/", &[("host", "other")], true), Err(400));
        assert_eq!(written("GET", "https://g/", &[("host", "g"), ("host", "g")], true), Err(400));
        // The strict reader refuses these.
        for (uri, fields) in [("/", &[][..]), ("/", &[("host", "a"), ("host", "a")]), ("https://u@g/", &[])] {
            let head = written("GET", uri, fields, true).unwrap();
            let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
            assert!(RequestHead::parse(head.as_bytes(), &mut slots, 100).is_err(), "{head:?}");
        }
    }
}
