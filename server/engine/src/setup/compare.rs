//! When two states are the same, and how their difference is shown.
//!
//! The engine gives a configuration back with its own defaults filled in and its lists in an order of its own. What means
//! the same is brought to one form first; whatever means something stays, above all what somebody added.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A role, without what the engine fills in.
pub(super) fn role(role: &Value) -> Value {
    normal(role, &["reserved", "hidden", "static"])
}

/// A mapping, without what the engine fills in.
pub(super) fn mapping(mapping: &Value) -> Value {
    normal(mapping, &["reserved", "hidden", "static"])
}

/// An auth domain. `transport_enabled` is of no effect since the transport client is gone, and not in 3.x.
pub(super) fn domain(domain: &Value) -> Value {
    normal(domain, &["transport_enabled"])
}

/// The setting `http.xff`.
pub(super) fn forwarded_for(xff: &Value) -> Value {
    normal(xff, &[])
}

fn normal(value: &Value, filled_in: &[&str]) -> Value {
    let Value::Object(fields) = value else { return value.clone() };
    let kept = fields.iter().filter(|(name, _)| !filled_in.contains(&name.as_str()));
    without_empty(kept)
}

fn without_empty<'a>(fields: impl Iterator<Item = (&'a String, &'a Value)>) -> Value {
    let mut kept = Map::new();
    for (name, value) in fields {
        let value = match value {
            Value::Object(fields) => without_empty(fields.iter()),
            Value::Array(items) => as_set(items),
            other => other.clone(),
        };
        let is_empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::String(text) => text.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if !is_empty {
            kept.insert(name.clone(), value);
        }
    }
    Value::Object(kept)
}

/// Every list in the security configuration is a set.
fn as_set(items: &[Value]) -> Value {
    let mut items: Vec<Value> = items
        .iter()
        .map(|item| match item {
            Value::Object(fields) => without_empty(fields.iter()),
            other => other.clone(),
        })
        .collect();
    items.sort_by_cached_key(ToString::to_string);
    items.dedup();
    Value::Array(items)
}

/// The difference as lines: `- path: value` for what goes, `+ path: value` for what comes.
pub(super) fn lines(from: Option<&Value>, to: Option<&Value>) -> Vec<String> {
    let leaves = |value: Option<&Value>| {
        let mut leaves = BTreeSet::new();
        if let Some(value) = value {
            collect(&normal(value, &[]), "", &mut leaves);
        }
        leaves
    };
    let (from, to) = (leaves(from), leaves(to));
    let goes = from.difference(&to).map(|(path, value)| (path, '-', value));
    let comes = to.difference(&from).map(|(path, value)| (path, '+', value));
    let mut lines: Vec<_> = goes.chain(comes).collect();
    lines.sort();
    lines.into_iter().map(|(path, sign, value)| format!("{sign} {path}: {value}")).collect()
}

fn collect(value: &Value, path: &str, leaves: &mut BTreeSet<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect(value, &path, leaves);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, leaves)),
        leaf => {
            leaves.insert((path.to_owned(), leaf.to_string()));
        }
    }
}
