//! Where in an outside token things stand.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The deepest claim a path reaches, and the longest path.
const MAX_PATH_STEPS: usize = 8;
const MAX_PATH_BYTES: usize = 256;

/// Where in a token things stand, as paths: names of members with dots between, `realm_access.roles`. A dot or backslash
/// that belongs to a name is written with a backslash before it: `https://example\.com/roles`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimPaths {
    /// Who a person is. Take one that is never given to somebody else later.
    pub subject: ClaimPath,
    /// The client the token was issued to. Default: `azp`, else `client_id`.
    pub client: Option<ClaimPath>,
    /// The provider's scopes, as a list or separated by spaces.
    pub scopes: ClaimPath,
    /// The provider's roles, one path or several. Default: none.
    pub roles: OneOrMany<ClaimPath>,
    /// Groups for policies and for the mapping. Default: none.
    pub groups: Option<ClaimPath>,
    /// With `identity: own`: the names that may be backend roles in the engine, one path or several. Default: none.
    pub backend_roles: OneOrMany<ClaimPath>,
    /// The tenant, for audit events. Default: none.
    pub tenant: Option<ClaimPath>,
}

impl Default for ClaimPaths {
    fn default() -> Self {
        let path = |name: &str| ClaimPath(vec![name.to_owned()]);
        Self {
            subject: path("sub"),
            client: None,
            scopes: path("scope"),
            roles: OneOrMany(Vec::new()),
            groups: None,
            backend_roles: OneOrMany(Vec::new()),
            tenant: None,
        }
    }
}

/// The way to a claim, from the outside in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// The names of the members, outermost first; at least one.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.0
    }

    /// The claim of this name, dots and all, outside of any other.
    #[must_use]
    pub fn of_one(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            let shown: String = text.chars().take(64).collect();
            Err(format!("`{shown}` is not the path of a claim: {why}"))
        };
        if text.len() > MAX_PATH_BYTES {
            return refused("it is too long");
        }
        let (mut steps, mut step) = (Vec::new(), String::new());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '.' => steps.push(std::mem::take(&mut step)),
                '\\' => match characters.next() {
                    Some(escaped @ ('.' | '\\')) => step.push(escaped),
                    _ => return refused("a backslash stands before a dot or a backslash only"),
                },
                other => step.push(other),
            }
        }
        steps.push(step);
        if steps.iter().any(String::is_empty) {
            return refused("a name is empty; write names with single dots between, for example `realm_access.roles`");
        }
        if steps.len() > MAX_PATH_STEPS {
            return refused("it is too deep");
        }
        Ok(Self(steps))
    }
}

impl<'de> Deserialize<'de> for ClaimPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

impl JsonSchema for ClaimPath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClaimPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "The path of a claim: names of members with dots between.",
            "examples": ["realm_access.roles"]
        })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneOrMany<T = String>(Vec<T>);

impl<T> OneOrMany<T> {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(serde::de::value::StrDeserializer::new(text)).map(|one| OneOrMany(vec![one]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany(values))
            }
        }

        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({
            "description": "One, or a list of them.",
            "anyOf": [one, {"type": "array", "items": one}]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_dots_that_are_not_escaped() {
        let path = |text| ClaimPath::parse(text).map(|path| path.0.join("|"));
        assert_eq!(path("sub").unwrap(), "sub");
        assert_eq!(path("realm_access.roles").unwrap(), "realm_access|roles");
        assert_eq!(path(r"https://example\.com/roles.x\\y").unwrap(), r"https://example.com/roles|x\y");
        for text in ["", ".", "a.", ".a", "a..b", r"a\", r"a\b", "a.b.c.d.e.f.g.h.i", &"a".repeat(257)] {
            assert!(path(text).unwrap_err().contains("is not the path of a claim"), "{text}");
        }
    }
}
