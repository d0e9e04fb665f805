//! Scopes that are held to some rows and fields: `{scope, rows, fields}`.

mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Number;

pub(crate) use self::check::{Source, check_field_sets};
use crate::claims::ClaimPath;

/// The most values of one `terms`.
const MAX_VALUES: usize = 1_024;

/// A scope of which only some documents, or some fields of them, may be seen.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// A scope with the verb `read` or `search`, for example `read:orders-*`.
    pub scope: String,

    /// Which documents: only those the filter takes. Default: all.
    #[serde(default)]
    pub rows: Option<Rows>,

    /// Which fields: the name of one of the `field_sets`. Default: all.
    #[serde(default)]
    pub fields: Option<String>,
}

/// A scope, or a scope that is held to some rows and fields.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged)]
pub enum GrantOrScope {
    /// Everything the scope says.
    Scope(String),
    /// Some of it.
    Grant(Box<GrantConfig>),
}

/// Which documents are seen. A part of the engine's query language: no scripts, and nothing that looks up other
/// documents.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// The field has this value: `term: {tenant: acme}`.
    Term(BTreeMap<String, RowValue>),
    /// The field has one of these values: `terms: {region: [eu, us]}`.
    Terms(BTreeMap<String, RowValues>),
    /// The field is within bounds: `range: {year: {gte: 2026}}`.
    Range(BTreeMap<String, RowRange>),
    /// The field is there: `exists: {field: tenant}`.
    Exists(RowField),
    /// Several together: `bool: {filter: [...], should: [...], must_not: [...]}`.
    Bool(RowBool),
}

/// A field by its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RowField {
    /// The name, with dots between the names of objects.
    pub field: String,
}

/// Bounds of a range.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RowRange {
    /// Greater than.
    pub gt: Option<RowValue>,
    /// Greater than or equal to.
    pub gte: Option<RowValue>,
    /// Less than.
    pub lt: Option<RowValue>,
    /// Less than or equal to.
    pub lte: Option<RowValue>,
}

/// Filters that are joined.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RowBool {
    /// Each must take the document.
    #[serde(alias = "must")]
    pub filter: Vec<Rows>,
    /// At least one must, if there is any.
    pub should: Vec<Rows>,
    /// None may.
    pub must_not: Vec<Rows>,
}

/// A value to compare with, or where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum RowValue {
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text, as it is.
    Text(String),
    /// What stands there when the grant is made.
    From(Reference),
}

/// Several values, or the claim that lists them.
#[derive(Debug, Clone, PartialEq)]
pub enum RowValues {
    /// These.
    List(Vec<RowValue>),
    /// Those of a claim.
    From(Reference),
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// `${claim.org}`: a claim of the provider's token, by its path.
    Claim(ClaimPath),
    /// `${client.id}`: the id of the client.
    ClientId,
    /// `${label.tenant}`: a label of the client.
    Label(String),
}

/// A named set of fields, enforced by the engine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FieldSet {
    /// All but these fields. A name may hold the wildcard `*`.
    Exclude(BTreeSet<String>),
    /// Only these fields. A name may hold the wildcard `*`.
    Include(BTreeSet<String>),
}

/// The field sets, by name.
pub type FieldSets = BTreeMap<String, FieldSet>;

impl GrantOrScope {
    /// The scope.
    #[must_use]
    pub fn scope(&self) -> &str {
        match self {
            Self::Scope(scope) => scope,
            Self::Grant(grant) => &grant.scope,
        }
    }
}

impl<'de> Deserialize<'de> for GrantOrScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = GrantOrScope;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a scope, or `scope` with `rows` or `fields`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(GrantOrScope::Scope(text.to_owned()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let grant = GrantConfig::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(GrantOrScope::Grant(Box::new(grant)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

impl Reference {
    /// The reference a text is, if it is one.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        if !text.contains("${") {
            return Ok(None);
        }
        let whole =
            text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).filter(|inner| !inner.contains("${"));
        let reference = match whole.map(|inner| (inner, inner.split_once('.'))) {
            Some(("client.id", _)) => Self::ClientId,
            Some((_, Some(("label", name)))) if !name.is_empty() => Self::Label(name.to_owned()),
            Some((_, Some(("claim", path)))) => Self::Claim(ClaimPath::parse(path)?),
            _ => {
                return Err(format!(
                    "`{}` is neither plain text nor one of `${{claim.<path>}}`, `${{client.id}}`, `${{label.<name>}}` as a whole",
                    text.chars().take(64).collect::<String>()
                ));
            }
        };
        Ok(Some(reference))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(path) => write!(f, "claim.{}", path.steps().join(".")),
            Self::ClientId => f.write_str("client.id"),
            Self::Label(name) => write!(f, "label.{name}"),
        }
    }
}

struct OneValue;

impl Visitor<'_> for OneValue {
    type Value = RowValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false")
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<RowValue, E> {
        Ok(RowValue::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<RowValue, E> {
        Ok(RowValue::Number(value.into()))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<RowValue, E> {
        Ok(RowValue::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<RowValue, E> {
        Number::from_f64(value).map(RowValue::Number).ok_or_else(|| E::custom("the number is not finite"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RowValue, E> {
        let reference = Reference::parse(text).map_err(E::custom)?;
        Ok(reference.map_or_else(|| RowValue::Text(text.to_owned()), RowValue::From))
    }
}

impl<'de> Deserialize<'de> for RowValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneValue)
    }
}

impl<'de> Deserialize<'de> for RowValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;

        impl<'de> Visitor<'de> for Values {
            type Value = RowValues;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of values, or a claim that is one")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RowValues, E> {
                match Reference::parse(text).map_err(E::custom)? {
                    Some(reference) => Ok(RowValues::From(reference)),
                    None => Err(E::custom("`terms` takes a list; for one value use `term`")),
                }
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<RowValues, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element::<RowValue>()? {
                    if values.len() >= MAX_VALUES {
                        return Err(A::Error::custom(format!("`terms` takes at most {MAX_VALUES} values")));
                    }
                    values.push(value);
                }
                Ok(RowValues::List(values))
            }
        }

        deserializer.deserialize_any(Values)
    }
}

impl JsonSchema for RowValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RowValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "number", "boolean"],
            "description": "A value; or, as a whole, `${claim.<path>}` (a provider's tokens), `${client.id}` or `${label.<name>}` (clients of the configuration).",
        })
    }
}

impl JsonSchema for RowValues {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RowValues".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<RowValue>();
        json_schema!({
            "anyOf": [
                { "type": "array", "items": value },
                { "type": "string", "description": "A claim that lists the values: `${claim.<path>}`." }
            ],
        })
    }
}
