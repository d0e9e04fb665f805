//! `POST /_reindex`: reads the indices of `source` and writes to that of `dest`.
//!
//! A remote source is refused, since it makes the engine call an address of the sender's choice with credentials of the
//! sender's choice. A script is refused, since it may set `ctx._index`: where it writes is known when it has run.

use super::inspection::Inspection;
use super::settings::is_a_pipeline;
use super::{list, search};
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::expression;
use crate::json::{Kind, Reader};

pub(super) fn inspect(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let (mut reads, mut writes) = (false, false);
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "source" => {
            source(reader, found)?;
            reads = true;
            Ok(())
        }
        "dest" => {
            destination(reader, found)?;
            writes = true;
            Ok(())
        }
        "script" => Err(BodyError::Form(
            "a `script` in a reindex can choose the index it writes to; use an ingest pipeline in `dest`, or reindex without it",
        )),
        _ => reader.scalar().map(drop),
    })?;
    reader.end()?;
    if reads && writes { Ok(()) } else { Err(BodyError::Form("a reindex has `source` and `dest`")) }
}

fn source(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut named = false;
    reader.object(&mut |reader, key| match key {
        "index" => {
            for list in list::names(reader)? {
                named = true;
                found.add_list(Class::Search, Action::Search, &list)?;
            }
            Ok(())
        }
        "remote" => Err(BodyError::Form("a reindex from a `remote` cluster is not available to scoped tokens")),
        _ => search::inspect_member(reader, key, false, found),
    })?;
    if named { Ok(()) } else { Err(BodyError::Form("the `source` of a reindex names no index")) }
}

fn destination(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let (mut index, mut creates, mut pipeline) = (None, false, false);
    reader.object(&mut |reader, key| match (key, reader.kind()?) {
        ("index", Kind::String) => {
            index = Some(reader.string()?.into_owned());
            Ok(())
        }
        ("index", _) => Err(BodyError::Form("the `index` of `dest` is not a string")),
        ("op_type", _) => {
            creates = reader.scalar()?.is_some_and(|value| value.eq_ignore_ascii_case("create"));
            Ok(())
        }
        ("pipeline", _) => {
            pipeline = reader.scalar()?.is_some_and(|name| is_a_pipeline(&name));
            Ok(())
        }
        _ => reader.scalar().map(drop),
    })?;
    let Some(index) = index else {
        return Err(BodyError::Form("the `dest` of a reindex names no index"));
    };
    if !expression::is_single_name(&index) {
        return Err(BodyError::IndexName(index));
    }
    let (class, action) = if creates { (Class::Append, Action::Create) } else { (Class::Write, Action::Update) };
    if pipeline {
        found.pipelines.push((class, action));
    }
    found.add(class, action, &index)
}
