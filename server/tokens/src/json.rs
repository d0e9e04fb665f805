//! JSON objects read without leniency: a name that occurs twice, at any depth, refuses the whole text.
//!
//! Two parsers that keep different ones of two equal names see two different tokens.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Reads one JSON object and nothing around it but JSON whitespace.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, NotAnObject> {
    // Checked first, so that the parser below cannot meet a byte order mark or overlong UTF-8.
    let text = std::str::from_utf8(text).map_err(|_| NotAnObject::Malformed)?;
    match serde_json::from_str::<Strict>(text) {
        Ok(Strict(Value::Object(members))) => Ok(members),
        Ok(_) => Err(NotAnObject::Malformed),
        Err(error) if error.to_string().starts_with(DUPLICATE) => Err(NotAnObject::DuplicateName),
        Err(_) => Err(NotAnObject::Malformed),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAnObject {
    Malformed,
    DuplicateName,
}

const DUPLICATE: &str = "duplicate name";

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = access.next_entry::<String, Strict>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_objects_are_read() {
        let members = object(br#" {"a":[1,-2,1.5,true,null,"x"],"b":{"c":"\u00e9"}} "#).unwrap();
        assert_eq!(Value::Object(members), serde_json::json!({"a":[1,-2,1.5,true,null,"x"],"b":{"c":"é"}}));
    }

    #[test]
    fn a_name_that_comes_twice_is_refused_however_it_is_written() {
        for text in
            [r#"{"exp":1,"exp":2}"#, r#"{"exp":1,"\u0065xp":2}"#, r#"{"a":{"b":1,"b":1}}"#, r#"{"a":[{"b":1,"b":1}]}"#]
        {
            assert_eq!(object(text.as_bytes()), Err(NotAnObject::DuplicateName), "{text}");
        }
    }

    #[test]
    fn whatever_is_not_one_object_is_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for text in [
            "",
            "[]",
            "1",
            "null",
            r#"{"a":1}x"#,
            r#"{"a":1}{"b":2}"#,
            "\u{feff}{}",
            r#"{"a":1e400}"#,
            r#"{"a":NaN}"#,
            r#"{"a":01}"#,
            r#"{"a":1,}"#,
            r#"{'a':1}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":"\ud800"}"#,
            &deep,
        ] {
            assert_eq!(object(text.as_bytes()), Err(NotAnObject::Malformed));
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), Err(NotAnObject::Malformed));
    }
}
