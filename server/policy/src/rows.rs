//! Row filters: which documents of an index a token may see, as the engine's document-level security is told.
//!
//! A filter is made of the typed clauses of the configuration and of values that are put in as values, never as text.
//! What comes out is one JSON text in which no `$` is left, since the security plugin would substitute `${…}` in it once
//! more: `$` is written as the JSON escape `\u0024`, which means the same to whoever reads the query.

use std::fmt::{self, Write as _};

use oauth4os_config::{Reference, RowBool, RowField, RowRange, RowValue, RowValues, Rows};
use serde_json::{Map, Value, json};

/// The longest filter, in bytes as the engine is told it. It travels in a header, beside everything else that does.
pub const MAX_ROW_FILTER_BYTES: usize = 3_072;

/// A filter with all its values.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowFilter(String);

/// A filter cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFilterError {
    /// A value is not there.
    #[error("the row filter needs the value of `{0}`, which is not there")]
    Missing(String),
    /// A value cannot be compared with.
    #[error("the row filter needs a text, a number, true or false from `{0}`, which is something else")]
    NotAValue(String),
    /// Longer than [`MAX_ROW_FILTER_BYTES`].
    #[error("the row filter has {bytes} bytes and may have {MAX_ROW_FILTER_BYTES}; compare with fewer values")]
    TooLong {
        /// Its size.
        bytes: usize,
    },
}

impl RowFilter {
    /// The filter of these rows, with the values that `values` has for its references.
    ///
    /// # Errors
    /// When a value is missing or of the wrong kind, or the filter too long: the grant must then be refused as a whole.
    pub fn new(rows: &Rows, values: &dyn Fn(&Reference) -> Option<Value>) -> Result<Self, RowFilterError> {
        let text = written(&query(rows, values)?);
        if text.len() > MAX_ROW_FILTER_BYTES {
            return Err(RowFilterError::TooLong { bytes: text.len() });
        }
        Ok(Self(text))
    }

    /// The query (OpenSearch query language), as JSON without a `$`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The values of a filter may be somebody's data.
impl fmt::Debug for RowFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowFilter({} bytes)", self.0.len())
    }
}

fn query(rows: &Rows, values: &dyn Fn(&Reference) -> Option<Value>) -> Result<Value, RowFilterError> {
    let all = |list: &[Rows]| list.iter().map(|rows| query(rows, values)).collect::<Result<Vec<_>, _>>();
    Ok(match rows {
        Rows::Term(fields) => {
            let field = |(field, value): (&String, &RowValue)| Ok((field.clone(), one(value, values)?));
            json!({ "term": fields.iter().map(field).collect::<Result<Map<_, _>, _>>()? })
        }
        Rows::Terms(fields) => {
            let field = |(field, list): (&String, &RowValues)| Ok((field.clone(), several(list, values)?));
            json!({ "terms": fields.iter().map(field).collect::<Result<Map<_, _>, _>>()? })
        }
        Rows::Range(fields) => {
            let field = |(field, range): (&String, &RowRange)| Ok((field.clone(), bounds(range, values)?));
            json!({ "range": fields.iter().map(field).collect::<Result<Map<_, _>, _>>()? })
        }
        Rows::Exists(RowField { field }) => json!({ "exists": { "field": field } }),
        Rows::Bool(RowBool { filter, should, must_not }) => {
            let mut clauses = Map::new();
            for (name, list) in [("filter", filter), ("should", should), ("must_not", must_not)] {
                if !list.is_empty() {
                    clauses.insert(name.to_owned(), all(list)?.into());
                }
            }
            if !should.is_empty() {
                // Beside `filter`, `should` alone would be only a matter of score.
                clauses.insert("minimum_should_match".to_owned(), 1.into());
            }
            json!({ "bool": clauses })
        }
    })
}

fn bounds(range: &RowRange, values: &dyn Fn(&Reference) -> Option<Value>) -> Result<Value, RowFilterError> {
    let mut bounds = Map::new();
    for (name, bound) in [("gt", &range.gt), ("gte", &range.gte), ("lt", &range.lt), ("lte", &range.lte)] {
        if let Some(bound) = bound {
            bounds.insert(name.to_owned(), one(bound, values)?);
        }
    }
    Ok(bounds.into())
}

fn one(value: &RowValue, values: &dyn Fn(&Reference) -> Option<Value>) -> Result<Value, RowFilterError> {
    match value {
        RowValue::Bool(value) => Ok((*value).into()),
        RowValue::Number(value) => Ok(value.clone().into()),
        RowValue::Text(value) => Ok(value.as_str().into()),
        RowValue::From(reference) => match values(reference) {
            Some(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => Ok(value),
            Some(Value::Null) | None => Err(RowFilterError::Missing(reference.to_string())),
            Some(Value::Array(_) | Value::Object(_)) => Err(RowFilterError::NotAValue(reference.to_string())),
        },
    }
}

fn several(list: &RowValues, values: &dyn Fn(&Reference) -> Option<Value>) -> Result<Value, RowFilterError> {
    match list {
        RowValues::List(list) => {
            list.iter().map(|value| one(value, values)).collect::<Result<Vec<_>, _>>().map(Value::from)
        }
        RowValues::From(reference) => match values(reference) {
            Some(Value::Array(list))
                if list.iter().all(|v| matches!(v, Value::Bool(_) | Value::Number(_) | Value::String(_))) =>
            {
                Ok(list.into())
            }
            Some(value @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => Ok(vec![value].into()),
            Some(Value::Null) | None => Err(RowFilterError::Missing(reference.to_string())),
            Some(_) => Err(RowFilterError::NotAValue(reference.to_string())),
        },
    }
}

/// JSON in printable ASCII without `$`, so that it can travel in any header. Outside of texts JSON has nothing else.
fn written(query: &Value) -> String {
    let json = query.to_string();
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if matches!(letter, ' '..='~') && letter != '$' {
            text.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                // Writing to memory does not fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn none(_: &Reference) -> Option<Value> {
        None
    }

    fn term(value: RowValue) -> Rows {
        Rows::Term(BTreeMap::from([("tenant".to_owned(), value)]))
    }

    #[test]
    fn clauses_become_the_query_they_say() {
        let rows = Rows::Bool(RowBool {
            filter: vec![term(RowValue::Text("acme".to_owned())), Rows::Exists(RowField { field: "a".to_owned() })],
            should: vec![
                Rows::Terms(BTreeMap::from([(
                    "region".to_owned(),
                    RowValues::List(vec![RowValue::Bool(true), RowValue::Number(7.into())]),
                )])),
                Rows::Range(BTreeMap::from([(
                    "year".to_owned(),
                    RowRange { gte: Some(RowValue::Number(2026.into())), ..RowRange::default() },
                )])),
            ],
            must_not: Vec::new(),
        });
        let query: Value = serde_json::from_str(RowFilter::new(&rows, &none).unwrap().as_str()).unwrap();
        assert_eq!(
            query,
            json!({"bool": {
                "filter": [{"term": {"tenant": "acme"}}, {"exists": {"field": "a"}}],
                "should": [{"terms": {"region": [true, 7]}}, {"range": {"year": {"gte": 2026}}}],
                "minimum_should_match": 1,
            }})
        );
    }

    #[test]
    fn values_that_are_not_there_make_no_filter() {
        let one = term(RowValue::From(Reference::ClientId));
        let several = Rows::Terms(BTreeMap::from([("t".to_owned(), RowValues::From(Reference::ClientId))]));
        let filled = |rows: &Rows, value: Value| RowFilter::new(rows, &|_| Some(value.clone())).map(|filter| filter.0);
        assert_eq!(RowFilter::new(&one, &none), Err(RowFilterError::Missing("client.id".to_owned())));
        assert_eq!(filled(&one, json!([1])), Err(RowFilterError::NotAValue("client.id".to_owned())));
        assert_eq!(filled(&one, json!({"a": 1})), Err(RowFilterError::NotAValue("client.id".to_owned())));
        assert_eq!(filled(&one, Value::Null), Err(RowFilterError::Missing("client.id".to_owned())));
        assert_eq!(filled(&one, json!("x")).unwrap(), r#"{"term":{"tenant":"x"}}"#);
        assert_eq!(filled(&several, json!(["x", 2])).unwrap(), r#"{"terms":{"t":["x",2]}}"#);
        assert_eq!(filled(&several, json!("x")).unwrap(), r#"{"terms":{"t":["x"]}}"#);
        assert_eq!(filled(&several, json!([["x"]])), Err(RowFilterError::NotAValue("client.id".to_owned())));
        let long = RowFilter::new(&term(RowValue::Text("x".repeat(4_000))), &none);
        assert!(matches!(long, Err(RowFilterError::TooLong { bytes: 4_000.. })), "{long:?}");
    }

    proptest! {
        /// Whatever a value is, it is compared with as a value, and nothing is left that the plugin would substitute.
        #[test]
        fn a_value_stays_a_value(value in "(\\$\\{[a-z.]{0,9}\\}|[\\PC\"\\\\$]|[\u{0}-\u{1f}\u{7f}-\u{9f}]){0,40}") {
            let filter = RowFilter::new(&term(RowValue::From(Reference::ClientId)), &|_| Some(value.clone().into())).unwrap();
            prop_assert!(!filter.as_str().contains('$'));
            prop_assert!(filter.as_str().bytes().all(|byte| matches!(byte, b' '..=b'~')));
            let read: Value = serde_json::from_str(filter.as_str()).unwrap();
            prop_assert_eq!(read, json!({"term": {"tenant": value}}));
        }
    }
}
