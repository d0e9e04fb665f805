//! Reading claims by their paths. A claim that is there but not what it should be is an error, never an absence: a list
//! of groups that cannot be read may be what a policy forbids by.

use oauth4os_config::ClaimPath;
use serde_json::{Map, Value};

use crate::verify::Refused;

/// The longest name of a subject, client or tenant, in bytes (OpenID Connect Core section 2).
const MAX_NAME_BYTES: usize = 255;

type Claims = Map<String, Value>;

/// The value at a path; `None` when a step of it is not there.
fn at<'a>(claims: &'a Claims, path: &ClaimPath) -> Result<Option<&'a Value>, Refused> {
    let mut steps = path.steps().iter();
    let Some(mut value) = steps.next().and_then(|first| claims.get(first)) else {
        return Ok(None);
    };
    for step in steps {
        match value {
            Value::Object(members) => match members.get(step) {
                Some(member) => value = member,
                None => return Ok(None),
            },
            _ => return Err(malformed(path)),
        }
    }
    Ok(Some(value))
}

/// A name: a text that is not empty, not overlong and without control characters.
pub(crate) fn name(claims: &Claims, path: &ClaimPath) -> Result<Option<String>, Refused> {
    match at(claims, path)? {
        None => Ok(None),
        Some(Value::String(text))
            if !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control) =>
        {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(malformed(path)),
    }
}

/// Texts: a list of them, or one that stands alone.
pub(crate) fn list(claims: &Claims, path: &ClaimPath) -> Result<Vec<String>, Refused> {
    match at(claims, path)? {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(several)) => {
            several.iter().map(|entry| entry.as_str().map(ToOwned::to_owned).ok_or_else(|| malformed(path))).collect()
        }
        Some(_) => Err(malformed(path)),
    }
}

/// Whatever stands there.
pub(crate) fn value(claims: &Claims, path: &ClaimPath) -> Result<Option<Value>, Refused> {
    at(claims, path).map(|value| value.cloned())
}

/// Scopes: as a list, or in one text separated by spaces (RFC 8693 section 4.2).
pub(crate) fn scopes(claims: &Claims, path: &ClaimPath) -> Result<Vec<String>, Refused> {
    let list = list(claims, path)?;
    Ok(list.iter().flat_map(|text| text.split(' ')).filter(|scope| !scope.is_empty()).map(ToOwned::to_owned).collect())
}

/// Whether the claim stands elsewhere, because the token has no room for it (OpenID Connect Core section 5.6.2).
pub(crate) fn is_elsewhere(claims: &Claims, path: &ClaimPath) -> bool {
    let names = claims.get("_claim_names").and_then(Value::as_object);
    names.is_some_and(|names| path.steps().first().is_some_and(|first| names.contains_key(first)))
}

fn malformed(path: &ClaimPath) -> Refused {
    Refused::Claim(path.steps().join("."))
}
