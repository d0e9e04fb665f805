//! Which header fields cross the gateway.
//!
//! Towards the engine everything is removed that could tell it who is asking or where from, in every spelling some
//! server on the way takes for the same name (`X-Proxy-User`, `x_proxy_user`, `x.proxy.user`), and everything that
//! belongs to one connection only (RFC 9110 section 7.6.1). What the gateway has to say is added afterwards, so that no
//! `Connection` option can take it away again.

use crate::wire::request::Field;
use crate::wire::trim;

/// Fields that are written anew, mean one connection, or carry a credential; in canonical spelling.
const REMOVED: &[&[u8]] = &[
    b"authorization",
    b"connection",
    b"content-length",
    b"cookie",
    b"cookie2",
    b"dpop",
    b"expect",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"remote-user",
    b"security-tenant",
    b"securitytenant",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"via",
    b"x-api-key",
    b"x-client-ip",
    b"x-http-method",
    b"x-http-method-override",
    b"x-method-override",
    b"x-opaque-id",
    b"x-real-ip",
    b"x-remote-user",
    b"x-request-id",
    b"x-rewrite-url",
    b"x-user",
];

/// Families of fields that tell identity or origin; in canonical spelling.
const REMOVED_PREFIXES: &[&[u8]] = &[
    b"client-cert",
    b"opendistro-security",
    b"opensearch-security",
    b"ssl-client",
    b"x-amz",
    b"x-auth",
    b"x-client-cert",
    b"x-forwarded",
    b"x-oauth4os",
    b"x-opendistro",
    b"x-original",
    b"x-proxy",
    b"x-ssl",
];

/// Longer names are compared by their beginning, which is all the families need.
const CANONICAL_BYTES: usize = 64;

/// Whether a request's field must not reach the engine. `connection` is the request's `Connection` options.
pub(crate) fn is_removed_from_request(name: &str, connection: &ConnectionOptions<'_>) -> bool {
    let mut buffer = [0_u8; CANONICAL_BYTES];
    let canonical = canonical(name, &mut buffer);
    // Every removed name begins with one of few letters; the commonest fields (`accept`, `user-agent`, `content-type`)
    // are let through on their first letter or after one search.
    let is_candidate = matches!(
        canonical.first(),
        Some(b'a' | b'c' | b'd' | b'e' | b'f' | b'h' | b'k' | b'o' | b'p' | b'r' | b's' | b't' | b'u' | b'v' | b'x')
            | None
    );
    (is_candidate
        && (canonical.is_empty()
            || REMOVED.binary_search(&canonical).is_ok()
            || REMOVED_PREFIXES.iter().any(|prefix| canonical.starts_with(prefix))))
        || connection.names(name)
}

/// Longest `X-Opaque-Id` that is kept. The engine writes it into every line of its slow and deprecation logs.
const MAX_OPAQUE_ID: usize = 256;

/// What tokens and secrets begin with: JSON in base64, and the gateway's own prefix.
const SIGNS_OF_SECRETS: [&[u8]; 2] = [b"eyJ", b"o4s_"];

/// The client's own `X-Opaque-Id`: the name it gives its work in the engine's tasks and logs. `None` when there is
/// none, or it is not one plain value: sent more than once (which the engine answers with 400), named as an option of
/// `Connection`, empty, longer than 256 bytes, with other characters than printable ASCII, or what looks like a token or
/// a secret and must not get into logs. Other spellings of the name are other fields.
pub(crate) fn opaque_id<'a>(fields: &[Field<'a>], connection: &ConnectionOptions<'_>) -> Option<&'a str> {
    const NAME: &str = "x-opaque-id";
    let mut values = fields
        .iter()
        .filter(|field| field.name.len() == NAME.len() && field.name.eq_ignore_ascii_case(NAME))
        .map(|field| trim(field.value));
    let value = values.next()?;
    let is_plain = matches!(value.len(), 1..=MAX_OPAQUE_ID) && value.iter().all(|byte| matches!(byte, b' '..=b'~'));
    let holds = |sign: &[u8]| memchr::memmem::find(value, sign).is_some();
    if !is_plain || values.next().is_some() || connection.names(NAME) || SIGNS_OF_SECRETS.iter().any(|sign| holds(sign))
    {
        return None;
    }
    std::str::from_utf8(value).ok()
}

/// Whether a field asks for the answer in another form than plain JSON; not sent where the gateway has to read the answer.
pub(crate) fn is_about_representation(name: &str) -> bool {
    name.eq_ignore_ascii_case("accept") || name.eq_ignore_ascii_case("accept-encoding")
}

/// Whether an answer's field stays behind: it belongs to one connection, speaks of the engine's own authentication, or
/// would be taken for the gateway's.
pub(crate) fn is_removed_from_response(name: &str) -> bool {
    const NAMES: [&str; 11] = [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
        "x-request-id",
    ];
    NAMES.iter().any(|removed| name.eq_ignore_ascii_case(removed))
}

/// The values of the fields with this name, in whatever case, without the white space around them.
pub(crate) fn values<'a>(fields: &'a [Field<'a>], name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| trim(field.value))
}

/// The options of the `Connection` fields of a request or an answer.
#[derive(Debug, Default)]
pub(crate) struct ConnectionOptions<'a> {
    values: Vec<&'a str>,
}

impl<'a> ConnectionOptions<'a> {
    /// Collects them. The usual `keep-alive` and `close` name no field and are left out.
    pub(crate) fn of(fields: &[Field<'a>]) -> Self {
        let values = fields
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case("connection"))
            .filter_map(|field| std::str::from_utf8(field.value).ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|option| !option.eq_ignore_ascii_case("keep-alive") && !option.eq_ignore_ascii_case("close"))
            .collect();
        Self { values }
    }

    /// Whether one of them is the name of this field.
    pub(crate) fn names(&self, field: &str) -> bool {
        self.values.iter().any(|option| option.eq_ignore_ascii_case(field))
    }
}

/// Lower case, with `-` for `_` and `.`, and without any of these at the ends.
fn canonical<'b>(name: &str, buffer: &'b mut [u8; CANONICAL_BYTES]) -> &'b [u8] {
    let name = name.as_bytes();
    let start = name.iter().position(|byte| !is_separator(*byte)).unwrap_or(name.len());
    let name = name.get(start..).unwrap_or_default();
    let mut length = 0;
    for (to, from) in buffer.iter_mut().zip(name) {
        *to = if is_separator(*from) { b'-' } else { from.to_ascii_lowercase() };
        length += 1;
    }
    let kept = buffer.get(..length).unwrap_or_default();
    let end = kept.iter().rposition(|byte| *byte != b'-').map_or(0, |last| last + 1);
    kept.get(..end).unwrap_or_default()
}

const fn is_separator(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_removed(name: &str) -> bool {
        is_removed_from_request(name, &ConnectionOptions::default())
    }

    #[test]
    fn the_list_is_sorted_and_every_entry_is_found_in_every_spelling() {
        assert!(REMOVED.is_sorted());
        for name in REMOVED.iter().chain(REMOVED_PREFIXES) {
            let name = std::str::from_utf8(name).unwrap();
            for spelling in [
                name.to_owned(),
                name.to_uppercase(),
                name.replace('-', "_"),
                name.replace('-', "."),
                format!("_{name}"),
                format!("{name}."),
            ] {
                assert!(is_removed(&spelling), "{spelling}");
            }
        }
    }

    #[test]
    fn identity_cannot_be_smuggled() {
        for name in [
            "X-Proxy-User",
            "x_proxy_roles",
            "x.proxy.user",
            "X-Proxy-Ext-Gw_Read",
            "opendistro_security_impersonate_as",
            "_opendistro_security_user_header",
            "opendistro.security.impersonate-as",
            "SecurityTenant",
            "security_tenant",
            "X_Forwarded_For",
            "X.Forwarded.For",
            "Forwarded",
            "X-Original-URL",
            "X-Authenticated-User",
            "Cookie",
            "___",
        ] {
            assert!(is_removed(name), "{name}");
        }
        let long = format!("x-proxy-{}", "a".repeat(200));
        assert!(is_removed(&long));
    }

    #[test]
    fn what_the_engine_needs_passes() {
        for name in [
            "Accept",
            "Content-Type",
            "Content-Encoding",
            "User-Agent",
            "traceparent",
            "Accept-Encoding",
            "X-Elastic-Client-Meta",
        ] {
            assert!(!is_removed(name), "{name}");
        }
    }

    #[test]
    fn an_opaque_id_is_kept_when_it_is_one_and_plain() {
        let kept = |values: &[&'static [u8]], options: &'static [u8]| {
            let mut fields: Vec<Field<'_>> =
                values.iter().map(|value| httparse::Header { name: "X-Opaque-ID", value }).collect();
            fields.push(httparse::Header { name: "x_opaque_id", value: b"another" });
            fields.push(httparse::Header { name: "Connection", value: options });
            let options = ConnectionOptions::of(&fields);
            opaque_id(&fields, &options).map(ToOwned::to_owned)
        };
        assert_eq!(kept(&[b"job-7"], b"keep-alive").as_deref(), Some("job-7"));
        assert_eq!(kept(&[b" 5ac; dashboard: sales \t"], b"close").as_deref(), Some("5ac; dashboard: sales"));
        const LONGEST: &[u8] = &[b'a'; MAX_OPAQUE_ID];
        const LONGER: &[u8] = &[b'a'; MAX_OPAQUE_ID + 1];
        assert!(kept(&[LONGEST], b"close").is_some());
        let refused: &[&[&'static [u8]]] = &[
            &[],
            &[b""],
            &[b" "],
            &[LONGER],
            &[b"a", b"a"],
            &[b"a\tb"],
            &[b"a\xffb"],
            &[b"\xc3\xa4"],
            &[b"eyJhbGciOiJub25lIn0"],
            &[b"id o4s_cs_1"],
        ];
        for values in refused {
            assert_eq!(kept(values, b"close"), None, "{values:?}");
        }
        assert_eq!(kept(&[b"a"], b"x-opaque-id"), None);
    }

    #[test]
    fn connection_options_take_the_fields_they_name() {
        let fields = [httparse::Header { name: "Connection", value: b"close, X-Secret , accept" }];
        let options = ConnectionOptions::of(&fields);
        assert!(is_removed_from_request("x-secret", &options));
        assert!(is_removed_from_request("Accept", &options));
        assert!(!is_removed_from_request("User-Agent", &options));
    }

    #[test]
    fn answers_keep_the_engine_s_authentication_to_themselves() {
        for name in ["WWW-Authenticate", "Set-Cookie", "Transfer-Encoding", "Connection"] {
            assert!(is_removed_from_response(name), "{name}");
        }
        for name in ["Content-Type", "X-Opaque-Id", "Warning", "Location"] {
            assert!(!is_removed_from_response(name), "{name}");
        }
    }
}
