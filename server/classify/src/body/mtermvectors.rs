//! `_mtermvectors`: `docs`, each with an index, or `ids`, with `parameters` that hold for all of them.
//!
//! What a document does not say it takes from `parameters`, and what those do not say from the URL; `ids` may stand in
//! the URL too. So the index of the URL and that of `parameters` are targets whenever they are there.

use super::inspection::Inspection;
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::expression;
use crate::json::{Kind, Reader};

pub(super) fn inspect(body: &[u8], default: Option<&str>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut every_one_named = true;
    if let Some(default) = default {
        add(default, found)?;
    }
    let mut shared = default.is_some();
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "docs" => reader.array(&mut |reader| {
            every_one_named &= document(reader, found)?;
            Ok(())
        }),
        "ids" => {
            every_one_named = false;
            reader.array(&mut |reader| reader.scalar().map(drop))
        }
        "parameters" => {
            shared |= document(reader, found)?;
            Ok(())
        }
        _ => Err(BodyError::Form("multiple term vectors have only `docs`, `ids` and `parameters`")),
    })?;
    reader.end()?;
    if shared || every_one_named {
        Ok(())
    } else {
        Err(BodyError::Form("a document names no index and the request has no default"))
    }
}

/// Whether it names an index. Objects and arrays stand only where the engine reads them as a whole: its reader loses its
/// place in others.
fn document(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<bool, BodyError> {
    let mut named = false;
    reader.object(&mut |reader, key| match (key, reader.kind()?) {
        ("_index", Kind::String) => {
            named = true;
            add(&reader.string()?, found)
        }
        ("_index", _) => Err(BodyError::Form("`_index` of a document is not a string")),
        ("fields", Kind::Array) | ("doc" | "per_field_analyzer" | "filter", Kind::Object) => reader.skip(),
        (_, Kind::Object | Kind::Array) => Err(BodyError::Form("a document has an object or array it cannot have")),
        _ => reader.skip(),
    })?;
    Ok(named)
}

fn add(index: &str, found: &mut Inspection) -> Result<(), BodyError> {
    if !expression::is_single_name(index) {
        return Err(BodyError::IndexName(index.to_owned()));
    }
    found.add(Class::Get, Action::Get, index)
}
