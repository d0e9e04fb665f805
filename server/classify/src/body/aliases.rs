//! `POST /_aliases`: every step names its indices and aliases, and `remove_index` deletes indices.
//!
//! The engine's reader (`IndicesAliasesRequest`) takes exactly one of `add`, `remove` and `remove_index` in a step, each
//! with `index` or `indices` and, but for the last, `alias` or `aliases`. The engine wants rights on both sides, and so
//! does this.

use super::inspection::Inspection;
use super::{list, search};
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::json::{Kind, Reader};

pub(super) fn inspect(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "actions" => reader.array(&mut |reader| step(reader, found)),
        _ => Err(BodyError::Form("a change of aliases has only `actions`")),
    })?;
    reader.end()
}

fn step(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut seen = false;
    reader.object(&mut |reader, key| {
        let action = match key {
            "add" => Action::Manage,
            "remove" | "remove_index" => Action::Delete,
            _ => return Err(BodyError::Form("a step is none of `add`, `remove` and `remove_index`")),
        };
        if seen {
            return Err(BodyError::Form("more than one change in a step of `actions`"));
        }
        seen = true;
        change(reader, action, key == "remove_index", found)
    })?;
    if seen { Ok(()) } else { Err(BodyError::Form("a step of `actions` without a change")) }
}

fn change(
    reader: &mut Reader<'_>,
    action: Action,
    removes_index: bool,
    found: &mut Inspection,
) -> Result<(), BodyError> {
    let (mut indices, mut aliases) = (false, removes_index);
    reader.object(&mut |reader, key| match key {
        "index" | "indices" | "alias" | "aliases" => {
            if key.starts_with('i') {
                indices = true;
            } else {
                aliases = true;
            }
            let names = list::names(reader)?;
            if names.is_empty() {
                return Err(BodyError::Form("a change of aliases has an empty list"));
            }
            names.iter().try_for_each(|name| match name.is_empty() {
                true => Err(BodyError::IndexName(String::new())),
                false => found.add_list(Class::Manage, action, name),
            })
        }
        "filter" if reader.kind()? == Kind::Object => search::inspect_value(reader, found),
        _ => reader.scalar().map(drop),
    })?;
    if indices && aliases { Ok(()) } else { Err(BodyError::Form("a change of aliases names no index or no alias")) }
}
