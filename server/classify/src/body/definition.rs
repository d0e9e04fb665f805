//! Definitions of indices and aliases: the alias names in them are targets, and queries in them may read elsewhere.

use super::inspection::Inspection;
use super::{search, settings};
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::json::{Kind, Reader};

/// `PUT /{index}/_alias/{name}`: `index` and `alias` in the body replace those of the path.
///
/// The engine's handler looks for these keys at every depth outside of `filter`, so nothing else may be nested.
pub(super) fn inspect_alias(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "index" | "indices" | "alias" | "aliases" | "name" => match reader.kind()? {
            Kind::String => {
                let list = reader.string()?;
                found.add_list(Class::Manage, Action::Manage, &list)
            }
            _ => Err(BodyError::Form("`index` and `alias` of an alias are strings")),
        },
        "filter" if reader.kind()? == Kind::Object => search::inspect_value(reader, found),
        _ => match reader.kind()? {
            Kind::Object | Kind::Array => Err(BodyError::Form("only `filter` of an alias is an object")),
            _ => reader.skip(),
        },
    })?;
    reader.end()
}

/// `PUT /{index}`, rollover, shrink, split, clone: `aliases` are created with the index.
pub(super) fn inspect_create(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "aliases" => reader.object(&mut |reader, name| {
            found.add(Class::Manage, Action::Manage, name)?;
            search::inspect_value(reader, found)
        }),
        "settings" => settings::inspect_value(reader, found),
        _ => reader.skip(),
    })?;
    reader.end()
}
