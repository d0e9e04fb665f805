//! The driver `extended_proxy`: header fields that the engine's `extended-proxy` auth domain believes because of the
//! address they come from.
//!
//! The security plugin reads names in lower case, splits the roles at commas, substitutes `${…}` in what it has substituted, and gets
//! every byte as one letter of ISO 8859-1. So everything here is printable ASCII, and what it would read otherwise is
//! refused. It looks at these fields only when there is an `X-Forwarded-For`: ours, with one address of the gateway's own, so that
//! a request counts as coming from there, as with the other drivers, whoever the client is.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::told::Told;

/// The names of the fields, as the auth domain has them.
pub(crate) const USER: &str = "x-proxy-user";
pub(crate) const ROLES: &str = "x-proxy-roles";
pub(crate) const ATTRIBUTE_PREFIX: &str = "x-proxy-ext-";
pub(crate) const FORWARDED_FOR: &str = "x-forwarded-for";

/// Something cannot stand in a header field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A value the engine would read otherwise.
    #[error(
        "what the engine must be told as `{field}` is empty, or holds `${{` or another letter than printable ASCII; no identity is handed to the engine"
    )]
    Value {
        /// The name of the field.
        field: String,
    },
    /// A role the engine would read as several, as none, or as another one.
    #[error(
        "a role for the engine is empty, begins or ends with a space, or holds a comma, `${{` or another letter than printable ASCII"
    )]
    Role,
    /// A name the engine would read otherwise.
    #[error("`{name}` cannot be the name of an attribute for the engine; use `a-z`, digits and `_`")]
    AttributeName {
        /// The name.
        name: String,
    },
}

/// The fields, each with its line end. `address` is one of the gateway's, as the engine sees it.
pub(crate) fn fields(told: &Told, address: IpAddr) -> Result<String, FieldError> {
    let mut out = String::new();
    put(&mut out, FORWARDED_FOR, &as_java_writes(address))?;
    put(&mut out, USER, &told.user)?;
    if told.roles.iter().any(|role| role.contains(',') || !is_plain(role)) {
        return Err(FieldError::Role);
    }
    put(&mut out, ROLES, &told.roles.join(","))?;
    for (name, value) in &told.attributes {
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !is_name {
            return Err(FieldError::AttributeName { name: name.escape_default().to_string() });
        }
        put(&mut out, &format!("{ATTRIBUTE_PREFIX}{name}"), value)?;
    }
    Ok(out)
}

/// An address as the engine's `InetAddress.getHostAddress` writes it: IPv6 with all its eight parts, none left out.
pub(crate) fn as_java_writes(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => address.segments().map(|part| format!("{part:x}")).join(":"),
    }
}

fn put(out: &mut String, name: &str, value: &str) -> Result<(), FieldError> {
    if !is_plain(value) {
        return Err(FieldError::Value { field: name.to_owned() });
    }
    // Writing to memory does not fail.
    let _ = write!(out, "{name}: {value}\r\n");
    Ok(())
}

fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.trim() == value
        && !value.contains("${")
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told {
            user: "oauth4os:agent-7".to_owned(),
            roles: vec!["oauth4os_proxy_read".to_owned(), "analysts of sales".to_owned()],
            attributes: [
                ("o4s_read".to_owned(), r"/(?!(?:logs-x|logs\.y)$)(?:logs-.*)/".to_owned()),
                ("o4s_filter_1".to_owned(), r#"{"terms":{"tenant":["a, b","\u0024{user.name}","\u00e4"]}}"#.to_owned()),
            ]
            .into(),
        }
    }

    fn made(change: impl FnOnce(&mut Told)) -> Result<String, FieldError> {
        let mut told = told();
        change(&mut told);
        fields(&told, "192.0.2.10".parse().unwrap())
    }

    #[test]
    fn every_field_stands_on_a_line_of_its_own() {
        assert_eq!(
            made(|_| {}).unwrap(),
            "x-forwarded-for: 192.0.2.10\r\n\
             x-proxy-user: oauth4os:agent-7\r\n\
             x-proxy-roles: oauth4os_proxy_read,analysts of sales\r\n\
             x-proxy-ext-o4s_filter_1: {\"terms\":{\"tenant\":[\"a, b\",\"\\u0024{user.name}\",\"\\u00e4\"]}}\r\n\
             x-proxy-ext-o4s_read: /(?!(?:logs-x|logs\\.y)$)(?:logs-.*)/\r\n"
        );
    }

    #[test]
    fn what_the_engine_would_read_otherwise_is_refused() {
        for value in
            ["", " a", "a ", "ä", "a\r\nx-proxy-roles: admin", "a\nb", "\0", "\u{7f}", "${attr.proxy.o4s_write}"]
        {
            assert!(matches!(made(|told| told.user = value.to_owned()), Err(FieldError::Value { .. })), "{value:?}");
            assert!(matches!(made(|told| told.roles.push(value.to_owned())), Err(FieldError::Role)), "{value:?}");
            let put = |told: &mut Told| drop(told.attributes.insert("o4s_read".to_owned(), value.to_owned()));
            assert!(matches!(made(put), Err(FieldError::Value { .. })), "{value:?}");
        }
        assert_eq!(made(|told| told.roles.push("a,all_access".to_owned())), Err(FieldError::Role));
        assert!(matches!(made(|told| told.roles.clear()), Err(FieldError::Value { .. })));
        for name in ["", "O4s_read", "a b", "a:b", "a\r\nb", "a-b", "a.b"] {
            let error = made(|told| drop(told.attributes.insert(name.to_owned(), "x".to_owned()))).unwrap_err();
            assert!(matches!(error, FieldError::AttributeName { .. }), "{name:?}");
            assert!(error.to_string().chars().all(|letter| !letter.is_control()));
        }
    }

    #[test]
    fn addresses_are_written_as_the_engine_writes_them() {
        for (address, written) in
            [("127.0.0.1", "127.0.0.1"), ("::1", "0:0:0:0:0:0:0:1"), ("2001:db8::a:0:2", "2001:db8:0:0:0:a:0:2")]
        {
            assert_eq!(as_java_writes(address.parse().unwrap()), written);
        }
    }

    proptest::proptest! {
        /// Whatever is told, it is so many whole fields of printable ASCII, or none.
        #[test]
        fn nothing_breaks_out_of_its_field(user in ".{0,20}", role in ".{0,20}", name in "[a-z_:\r\n]{0,8}", value in "\\PC{0,30}|[\r\n:$a{]{0,9}") {
            let told = Told { user, roles: vec![role], attributes: [(name, value)].into() };
            if let Ok(text) = fields(&told, "::1".parse().unwrap()) {
                proptest::prop_assert_eq!(text.matches("\r\n").count(), 4);
                let lines: Vec<&str> = text.trim_end_matches("\r\n").split("\r\n").collect();
                proptest::prop_assert_eq!(lines.len(), 4);
                for (line, name) in lines.iter().zip([FORWARDED_FOR, USER, ROLES, ATTRIBUTE_PREFIX]) {
                    proptest::prop_assert!(line.starts_with(name) && line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
                }
                let is_substituted = text.contains("${");
                proptest::prop_assert!(!is_substituted);
            }
        }
    }
}
