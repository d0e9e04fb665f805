//! Distinguished names: as people write them (RFC 4514), and as certificates hold them.
//!
//! Names are compared by their parts, never as text: what stands in a value can then not be taken for another part.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// The types that have a name of their own here, and the content of their object identifiers as certificates hold it: those of
/// RFC 4514 section 3, and two more that authorities use.
const TYPES: &[(&str, &[u8])] = &[
    ("CN", &[0x55, 4, 3]),
    ("L", &[0x55, 4, 7]),
    ("ST", &[0x55, 4, 8]),
    ("O", &[0x55, 4, 10]),
    ("OU", &[0x55, 4, 11]),
    ("C", &[0x55, 4, 6]),
    ("STREET", &[0x55, 4, 9]),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25]),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
    ("serialNumber", &[0x55, 4, 5]),
    ("emailAddress", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1]),
];

/// A distinguished name. Two are the same when they have the same parts in the same order; values are compared as they are,
/// capitals and spaces included.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DistinguishedName {
    /// From the root on, as certificates hold them; each a set of attributes, sorted.
    parts: Vec<Vec<NameAttribute>>,
}

/// A type and a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameAttribute {
    /// The content of the type's object identifier, as DER has it.
    pub oid: Vec<u8>,
    /// The value.
    pub value: String,
}

impl DistinguishedName {
    /// A name of these parts, from the root on, as a certificate holds them.
    #[must_use]
    pub fn new(mut parts: Vec<Vec<NameAttribute>>) -> Self {
        for part in &mut parts {
            part.sort_unstable();
        }
        Self { parts }
    }
}

impl FromStr for DistinguishedName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |problem: Problem| {
            format!(
                "`{text}` is not a distinguished name: {problem}; write it as RFC 4514 does, beginning with the most specific part, for example `CN=shipper,O=Example`"
            )
        };
        let mut rest = text;
        let mut parts = vec![Vec::new()];
        loop {
            let (name, after) = rest.split_once('=').ok_or(Problem::NoType).map_err(refused)?;
            let oid = attribute_type(name).map_err(refused)?;
            let (value, separator, after) = value(after).map_err(refused)?;
            if let Some(part) = parts.last_mut() {
                part.push(NameAttribute { oid, value });
            }
            rest = after.trim_start_matches(' ');
            match separator {
                None => break,
                Some('+') => {}
                Some(_) => parts.push(Vec::new()),
            }
        }
        parts.reverse();
        let name = Self::new(parts);
        if name.parts.iter().any(|part| part.windows(2).any(|pair| matches!(pair, [a, b] if a.oid == b.oid))) {
            return Err(refused(Problem::Twice));
        }
        Ok(name)
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("a part has no type and `=`")]
    NoType,
    #[error("`{0}` is not a type that is known here, and no object identifier such as `2.5.4.3`")]
    Type(String),
    #[error("a part has no value")]
    Empty,
    #[error("a value in hexadecimal (`#`) cannot be compared; write the text")]
    Hexadecimal,
    #[error("a `\\` is followed by neither a special character nor two hexadecimal digits")]
    Escape,
    #[error("`{0}` in a value is written `\\{0}`")]
    Special(char),
    #[error("a space at the beginning or end of a value is written `\\ `")]
    Space,
    #[error("a value holds a control character")]
    Control,
    #[error("a value is not UTF-8")]
    Utf8,
    #[error("a part has one type twice")]
    Twice,
}

fn attribute_type(name: &str) -> Result<Vec<u8>, Problem> {
    let known = TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, oid)| oid.to_vec());
    known.or_else(|| dotted(name)).ok_or_else(|| Problem::Type(name.escape_default().to_string()))
}

/// The content of an object identifier that is written with dots (X.690 section 8.19).
fn dotted(text: &str) -> Option<Vec<u8>> {
    let mut numbers = text.split('.').map(|number| {
        let is_plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let has_zero = number.len() > 1 && number.starts_with('0');
        (is_plain && !has_zero).then(|| number.parse::<u32>().ok()).flatten()
    });
    let (root, second) = (numbers.next()??, numbers.next()??);
    if root > 2 || (root < 2 && second > 39) {
        return None;
    }
    let mut content = Vec::new();
    push_base_128(u64::from(root) * 40 + u64::from(second), &mut content);
    for number in numbers {
        push_base_128(number?.into(), &mut content);
    }
    Some(content)
}

fn push_base_128(number: u64, content: &mut Vec<u8>) {
    let groups = (64 - number.leading_zeros()).div_ceil(7).max(1);
    for group in (0..groups).rev() {
        let bits = u8::try_from((number >> (7 * group)) & 0x7f).unwrap_or_default();
        content.push(if group > 0 { bits | 0x80 } else { bits });
    }
}

/// The value a text begins with (RFC 4514 section 2.4), the separator after it, and what comes then.
fn value(text: &str) -> Result<(String, Option<char>, &str), Problem> {
    if text.starts_with('#') {
        return Err(Problem::Hexadecimal);
    }
    if text.starts_with(' ') {
        return Err(Problem::Space);
    }
    let mut bytes = Vec::new();
    let mut ends_with_space = false;
    let mut characters = text.chars();
    let separator = loop {
        let Some(character) = characters.next() else { break None };
        match character {
            ',' | '+' => break Some(character),
            '\\' => bytes.push(escaped(&mut characters)?),
            '"' | ';' | '<' | '>' => return Err(Problem::Special(character)),
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        ends_with_space = character == ' ';
    };
    if ends_with_space {
        return Err(Problem::Space);
    }
    let value = String::from_utf8(bytes).map_err(|_| Problem::Utf8)?;
    if value.is_empty() {
        return Err(Problem::Empty);
    }
    if value.chars().any(char::is_control) {
        return Err(Problem::Control);
    }
    Ok((value, separator, characters.as_str()))
}

/// What follows a `\`.
fn escaped(characters: &mut std::str::Chars<'_>) -> Result<u8, Problem> {
    let first = characters.next().ok_or(Problem::Escape)?;
    if matches!(first, '\\' | '"' | '+' | ',' | ';' | '<' | '>' | ' ' | '#' | '=') {
        return u8::try_from(first).map_err(|_| Problem::Escape);
    }
    let digits = first.to_digit(16).zip(characters.next().and_then(|second| second.to_digit(16)));
    let (high, low) = digits.ok_or(Problem::Escape)?;
    u8::try_from(high * 16 + low).map_err(|_| Problem::Escape)
}

impl<'de> Deserialize<'de> for DistinguishedName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for DistinguishedName {
    fn schema_name() -> Cow<'static, str> {
        "DistinguishedName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A distinguished name as RFC 4514 writes it, beginning with the most specific part.",
            "examples": ["CN=shipper,OU=logs,O=Example"]
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> DistinguishedName {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    fn attribute(oid: &[u8], value: &str) -> NameAttribute {
        NameAttribute { oid: oid.to_vec(), value: value.to_owned() }
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    #[test]
    fn a_name_is_read_from_its_end() {
        let expected = DistinguishedName::new(vec![vec![attribute(O, "Example")], vec![attribute(CN, "shipper")]]);
        for text in ["CN=shipper,O=Example", "cn=shipper, o=Example", "2.5.4.3=shipper,2.5.4.10=Example"] {
            assert_eq!(name(text), expected, "{text}");
        }
        assert_ne!(name("O=Example,CN=shipper"), expected);
        assert_ne!(name("CN=shipper,O=example"), expected);
        assert_eq!(name("DC=net").parts[0][0].oid, dotted("0.9.2342.19200300.100.1.25").unwrap());
        assert_eq!(name("emailAddress=a@b").parts[0][0].oid, dotted("1.2.840.113549.1.9.1").unwrap());
        assert_eq!(dotted("2.999.3").unwrap(), [0x88, 0x37, 3]);
    }

    #[test]
    fn what_is_special_is_escaped_and_stays_within_its_value() {
        // The examples of RFC 4514 section 4.
        assert_eq!(name(r#"CN=James \"Jim\" Smith\, III,DC=net"#).parts[1][0].value, r#"James "Jim" Smith, III"#);
        assert_eq!(name(r"CN=Lu\C4\8Di\C4\87").parts[0][0].value, "Lučić");
        let two = name("OU=Sales+CN=J.  Smith,DC=example");
        assert_eq!(two, name("CN=J.  Smith+OU=Sales,DC=example"));
        assert_ne!(two, name("CN=J.  Smith,OU=Sales,DC=example"));
        let forged = name(r"CN=shipper\,O=Example");
        assert_eq!(forged.parts, [[attribute(CN, "shipper,O=Example")]]);
        assert_ne!(forged, name("CN=shipper,O=Example"));
        assert_eq!(name(r"CN=\ a\ ").parts[0][0].value, " a ");
        assert_eq!(name(r"CN=\#a=b").parts[0][0].value, "#a=b");
        assert_eq!(name(r"CN=a\20").parts[0][0].value, "a ");
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_sentence() {
        for (text, expected) in [
            ("", "no type"),
            ("shipper", "no type"),
            ("/CN=shipper/O=Example", "`/CN` is not a type"),
            ("CN=a,", "no type"),
            ("CN=a,,O=b", "`,O` is not a type"),
            ("CN=", "no value"),
            ("CN =a", "`CN ` is not a type"),
            ("CN= a", "beginning or end"),
            ("CN=a ,O=b", "beginning or end"),
            ("CN=a ", "beginning or end"),
            (r"CN=a\\ ", "beginning or end"),
            ("CN=#0c0161", "write the text"),
            ("CN=a;O=b", "`\\;`"),
            ("CN=\"a\"", "`\\\"`"),
            ("CN=a\\", "followed by"),
            ("CN=a\\z1", "followed by"),
            ("CN=a\\4", "followed by"),
            ("CN=a\\00", "control"),
            ("CN=a\\ff", "UTF-8"),
            ("CN=a+CN=b", "one type twice"),
            ("1.40.3=a", "is not a type"),
            ("3.1=a", "is not a type"),
            ("2.05.4=a", "is not a type"),
            ("2=a", "is not a type"),
        ] {
            let error = text.parse::<DistinguishedName>().expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    /// A value as RFC 4514 writes it.
    fn written(value: &str) -> String {
        let last = value.chars().count().saturating_sub(1);
        let mut text = String::new();
        for (at, character) in value.chars().enumerate() {
            let at_the_edge = at == 0 || at == last;
            if matches!(character, '"' | '+' | ',' | ';' | '<' | '>' | '\\')
                || (character == ' ' && at_the_edge)
                || (character == '#' && at == 0)
            {
                text.push('\\');
            }
            text.push(character);
        }
        text
    }

    proptest! {
        #[test]
        fn whatever_a_value_holds_it_is_read_as_it_was_written(
            parts in prop::collection::vec("[^\\p{Cc}]{1,12}", 1..5),
        ) {
            let text: Vec<String> = parts.iter().map(|value| format!("CN={}", written(value))).collect();
            let read = name(&text.join(","));
            let expected = parts.iter().rev().map(|value| vec![attribute(CN, value)]).collect();
            prop_assert_eq!(read, DistinguishedName::new(expected));
        }

        #[test]
        fn any_text_is_a_name_or_an_error(text in "(CN=|O=|[,+=\\\\# a-f0-9]|.){0,12}") {
            let _ = text.parse::<DistinguishedName>();
        }
    }
}
