//! Opening a WebSocket (RFC 6455 section 4): what a request for one and the answer to it must look like.
//!
//! Whatever two readers could take for different things is refused, since after the answer nobody reads requests any more: one
//! who thinks that the protocol has changed, and one who does not, would no longer agree on where a request begins.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use oauth4os_classify::Class;
use oauth4os_config::{WebSocketPath, WebSocketVerb};

use crate::fields::values;
use crate::refusal::Refusal;
use crate::session::{Credential, Session};
use crate::wire::Framing;
use crate::wire::request::{Field, RequestHead};
use crate::wire::response::ResponseHead;
use crate::wire::trim;

/// What is appended to the key before it is hashed (RFC 6455 section 1.3).
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What the gateway writes to either side in place of the fields that mean one connection.
pub(crate) const FIELDS: &[u8] = b"connection: upgrade\r\nupgrade: websocket\r\n";

/// A request for a WebSocket that may be passed on, when it is permitted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handshake<'a> {
    key: &'a [u8],
    fields: &'a [Field<'a>],
    /// The right it needs.
    pub(crate) class: Class,
}

/// Whether a request asks for a WebSocket, also among other protocols or in a wrong way. In HTTP/1.0 nothing can be asked for
/// (RFC 9110 section 7.8).
pub(crate) fn is_asked_for(head: &RequestHead<'_>) -> bool {
    let is_it = |protocol: &[u8]| {
        let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
        trim(name).eq_ignore_ascii_case(b"websocket")
    };
    head.is_1_1 && values(head.fields, "upgrade").any(|value| value.split(|byte| *byte == b',').any(is_it))
}

impl<'a> Handshake<'a> {
    /// Reads a request for a WebSocket on `route`; `sent_ahead` when more than its head has arrived.
    pub(crate) fn read(
        head: &RequestHead<'a>,
        route: &str,
        paths: &[WebSocketPath],
        session: &Session,
        sent_ahead: bool,
    ) -> Result<Self, Refusal> {
        let path = route.split_once('?').map_or(route, |(path, _)| path);
        let Some(listed) = paths.iter().find(|listed| listed.path == path) else {
            return Err(Refusal::forbidden(
                "no WebSocket is let through on this path: it is not in `upstream.dashboards.websockets`",
                None,
            ));
        };
        // Browsers send other credentials by themselves, whatever page asks for it.
        if !matches!(session.credential, Credential::Own { .. } | Credential::Provider { .. }) {
            return Err(Refusal::forbidden(
                "a WebSocket is opened with `Authorization: Bearer`, and nothing else",
                None,
            ));
        }
        if head.method != "GET" {
            return Err(Refusal::unreadable("a WebSocket is opened with GET"));
        }
        if head.framing != Framing::None || sent_ahead {
            return Err(Refusal::unreadable(
                "nothing may follow the head of a request for a WebSocket before its answer, and nothing may announce it",
            ));
        }
        let asks_for_no_more = one(head.fields, "upgrade").is_some_and(|it| it.eq_ignore_ascii_case(b"websocket"))
            && is_upgrade_alone(head.fields)
            && values(head.fields, "http2-settings").next().is_none();
        if !asks_for_no_more {
            return Err(Refusal::unreadable(
                "a request for a WebSocket has `Connection: upgrade` and `Upgrade: websocket`, once and with nothing else in them",
            ));
        }
        if one(head.fields, "sec-websocket-version") != Some(b"13") {
            return Err(Refusal::websocket_version());
        }
        let Some(key) = one(head.fields, "sec-websocket-key").filter(|key| is_key(key)) else {
            return Err(Refusal::unreadable("give one `Sec-WebSocket-Key`, 16 bytes in base64"));
        };
        let mut origins = values(head.fields, "origin").peekable();
        let is_listed = |origin: &[u8]| listed.origins.iter().any(|listed| listed.as_bytes() == origin);
        if origins.peek().is_some() && !one(head.fields, "origin").is_some_and(is_listed) {
            return Err(Refusal::forbidden(
                "this `Origin` may open no WebSocket on this path: it is not in `origins` of `upstream.dashboards.websockets`",
                None,
            ));
        }
        let class = match listed.verb {
            WebSocketVerb::Read => Class::DashboardsRead,
            WebSocketVerb::Write => Class::DashboardsWrite,
            WebSocketVerb::Manage => Class::DashboardsManage,
        };
        Ok(Self { key, fields: head.fields, class })
    }

    /// Whether an answer with status 101 is the one this request has asked for; the sentence says why not.
    pub(crate) fn check(&self, answer: &ResponseHead<'_>) -> Result<(), &'static str> {
        let is_agreed = one(answer.fields, "upgrade").is_some_and(|it| it.eq_ignore_ascii_case(b"websocket"))
            && is_upgrade_alone(answer.fields)
            // HTTP/1.0 has no such answer.
            && answer.keep_alive;
        if !is_agreed {
            return Err("the answer 101 does not say `Connection: upgrade` and `Upgrade: websocket`, and nothing else");
        }
        // RFC 9110 section 8.6 and RFC 9112 section 6.1: it may not have them, and one who goes by them waits for a body.
        if ["content-length", "transfer-encoding"].iter().any(|name| values(answer.fields, name).next().is_some()) {
            return Err("the answer 101 announces a body");
        }
        if one(answer.fields, "sec-websocket-accept") != Some(accept(self.key).as_slice()) {
            return Err("the answer 101 is not to this request: its `Sec-WebSocket-Accept` is wrong");
        }
        let mut chosen = values(answer.fields, "sec-websocket-protocol").peekable();
        let is_offered = |chosen: &[u8]| offers(self.fields, "sec-websocket-protocol").any(|offered| offered == chosen);
        if chosen.peek().is_some() && !one(answer.fields, "sec-websocket-protocol").is_some_and(is_offered) {
            return Err("the answer 101 chooses a protocol that was not offered");
        }
        if !offers(answer.fields, "sec-websocket-extensions")
            .all(|chosen| offers(self.fields, "sec-websocket-extensions").any(|it| name(it) == name(chosen)))
        {
            return Err("the answer 101 chooses an extension that was not offered");
        }
        Ok(())
    }
}

/// The value of a field that is there once.
fn one<'a>(fields: &'a [Field<'a>], name: &'static str) -> Option<&'a [u8]> {
    let mut found = values(fields, name);
    found.next().filter(|_| found.next().is_none())
}

/// Whether `Connection` says `upgrade` and names no field beside.
fn is_upgrade_alone(fields: &[Field<'_>]) -> bool {
    let mut options = offers(fields, "connection").filter(|it| !it.eq_ignore_ascii_case(b"keep-alive")).peekable();
    options.peek().is_some() && options.all(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// The elements of a list.
fn offers<'a>(fields: &'a [Field<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    values(fields, name).flat_map(|value| value.split(|byte| *byte == b',')).map(trim)
}

/// The name of an extension, without its parameters.
fn name(extension: &[u8]) -> &[u8] {
    trim(extension.split(|byte| *byte == b';').next().unwrap_or_default())
}

/// 16 bytes in base64, as an encoder writes them: what is over in the last character is zero.
fn is_key(key: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24
        && key.strip_suffix(b"==").is_some_and(|digits| {
            digits.iter().all(is_base64) && matches!(digits.last(), Some(b'A' | b'Q' | b'g' | b'w'))
        })
}

/// What `Sec-WebSocket-Accept` has to say to a key: its SHA-1, with what is appended, in base64.
fn accept(key: &[u8]) -> Vec<u8> {
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, SUFFIX].concat()).as_ref())
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |value: u32| DIGITS.get(usize::try_from(value & 63).unwrap_or_default()).copied().unwrap_or_default();
    let mut text = Vec::new();
    for group in bytes.chunks(3) {
        let at = |place: usize| u32::from(group.get(place).copied().unwrap_or_default());
        let value = at(0) << 16 | at(1) << 8 | at(2);
        let digits = [digit(value >> 18), digit(value >> 12), digit(value >> 6), digit(value)];
        text.extend(
            digits.into_iter().enumerate().map(|(place, digit)| if place <= group.len() { digit } else { b'=' }),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::MAX_HEADERS;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_accept_is_that_of_rfc_6455() {
        assert_eq!(accept(KEY.as_bytes()), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (bytes, text) in
            [(&b""[..], &b""[..]), (b"f", b"Zg=="), (b"fo", b"Zm8="), (b"foo", b"Zm9v"), (b"\xff\xfe\xfd", b"//79")]
        {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_key_is_16_bytes() {
        assert!(is_key(KEY.as_bytes()));
        for key in [
            "",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25j-Q==",
            "dGhlIHNhbXBsZSBub25jZWE=",
        ] {
            assert!(!is_key(key.as_bytes()), "{key}");
        }
    }

    fn asked(fields: &str, version: &str) -> bool {
        let head = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        is_asked_for(&RequestHead::parse(head.as_bytes(), &mut slots, 20).unwrap())
    }

    #[test]
    fn a_websocket_is_asked_for_in_any_spelling() {
        for fields in
            ["Upgrade: websocket\r\n", "upgrade: h2c, WebSocket\r\n", "Upgrade: h2c\r\nUPGRADE:\twebsocket/13\r\n"]
        {
            assert!(asked(fields, "1.1"), "{fields}");
            assert!(!asked(fields, "1.0"), "{fields}");
        }
        for fields in
            ["", "Upgrade: h2c\r\n", "Upgrade: websockets\r\n", "X-Upgrade: websocket\r\n", "Connection: websocket\r\n"]
        {
            assert!(!asked(fields, "1.1"), "{fields}");
        }
    }

    fn check(asked: &str, answer: &str) -> Result<(), &'static str> {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{asked}\r\n");
        let (mut slots, mut of_answer) = ([httparse::EMPTY_HEADER; MAX_HEADERS], [httparse::EMPTY_HEADER; MAX_HEADERS]);
        let head = RequestHead::parse(request.as_bytes(), &mut slots, 20).unwrap();
        let answer = format!("HTTP/1.1 101 Switching Protocols\r\n{answer}\r\n");
        let answer = ResponseHead::parse(answer.as_bytes(), &mut of_answer, false).unwrap();
        Handshake { key: KEY.as_bytes(), fields: head.fields, class: Class::DashboardsRead }.check(&answer)
    }

    #[test]
    fn only_the_answer_that_was_asked_for_is_one() {
        const RIGHT: &str =
            "Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
        const OFFER: &str = "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate; x=1, y\r\n";
        assert_eq!(check("", RIGHT), Ok(()));
        assert_eq!(check("", &RIGHT.replace("Connection: Upgrade", "Connection: keep-alive, upgrade")), Ok(()));
        for chosen in ["Sec-WebSocket-Protocol: b\r\n", "Sec-WebSocket-Extensions: permessage-deflate;z\r\n"] {
            assert_eq!(check(OFFER, &format!("{RIGHT}{chosen}")), Ok(()), "{chosen}");
            assert!(check("", &format!("{RIGHT}{chosen}")).is_err(), "{chosen}");
        }
        for (from, to) in [
            ("Upgrade: WebSocket\r\n", ""),
            ("Upgrade: WebSocket", "Upgrade: h2c"),
            ("Upgrade: WebSocket", "Upgrade: websocket, h2c"),
            ("Upgrade: WebSocket", "Upgrade: websocket\r\nUpgrade: websocket"),
            ("Connection: Upgrade\r\n", ""),
            ("Connection: Upgrade", "Connection: close"),
            ("Connection: Upgrade", "Connection: upgrade, close"),
            ("Connection: Upgrade", "Connection: upgrade, sec-websocket-accept"),
            ("Sec-WebSocket-Accept: s", "Sec-WebSocket-Accept: S"),
            ("Sec-WebSocket-Accept: s", "Sec-WebSocket-Accept: a\r\nSec-WebSocket-Accept: s"),
            ("Sec-WebSocket-Accept", "Sec_WebSocket_Accept"),
            ("Connection", "Content-Length: 0\r\nConnection"),
            ("Connection", "Transfer-Encoding: chunked\r\nConnection"),
            ("Connection", "Sec-WebSocket-Protocol: c\r\nConnection"),
            ("Connection", "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\nConnection"),
            ("Connection", "Sec-WebSocket-Extensions: other\r\nConnection"),
        ] {
            assert!(RIGHT.contains(from));
            assert!(check(OFFER, &RIGHT.replacen(from, to, 1)).is_err(), "{to}");
        }
    }
}
