//! `_mget`: `docs`, each with an index and id, or `ids` in the default index.

use super::inspection::Inspection;
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::expression;
use crate::json::{Kind, Reader};

pub(super) fn inspect(body: &[u8], default: Option<&str>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "docs" => reader.array(&mut |reader| document(reader, default, found)),
        "ids" => {
            // Even an empty list: it costs nothing and hides nothing.
            add(default, found)?;
            reader.array(&mut |reader| reader.scalar().map(drop))
        }
        _ => Err(BodyError::Form("a multi-get has only `docs` and `ids`")),
    })?;
    reader.end()
}

/// The engine's reader loses its place in unknown objects and arrays, and takes an `_index` from inside of them: only
/// the known ones are let through, and only with plain values.
fn document(reader: &mut Reader<'_>, default: Option<&str>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut index = None;
    reader.object(&mut |reader, key| match (key, reader.kind()?) {
        ("_index", Kind::String) => {
            index = Some(reader.string()?.into_owned());
            Ok(())
        }
        ("_index", _) => Err(BodyError::Form("`_index` of a document is not a string")),
        ("_source" | "stored_fields" | "fields", Kind::Array) => plain_list(reader),
        ("_source", Kind::Object) => reader.object(&mut |reader, _| match reader.kind()? {
            Kind::Array => plain_list(reader),
            _ => reader.scalar().map(drop),
        }),
        (_, Kind::Object | Kind::Array) => Err(BodyError::Form("a document has an object or array it cannot have")),
        _ => reader.skip(),
    })?;
    add(index.as_deref().or(default), found)
}

fn plain_list(reader: &mut Reader<'_>) -> Result<(), BodyError> {
    reader.array(&mut |reader| reader.scalar().map(drop))
}

fn add(index: Option<&str>, found: &mut Inspection) -> Result<(), BodyError> {
    let Some(index) = index else {
        return Err(BodyError::Form("a document names no index and the request has no default"));
    };
    if !expression::is_single_name(index) {
        return Err(BodyError::IndexName(index.to_owned()));
    }
    found.add(Class::Get, Action::Get, index)
}
