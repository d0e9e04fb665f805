//! Searches and queries: a point in time, and the places where a query reads another index.
//!
//! Those places are: a terms lookup (`terms.<field>.index`), documents to be like (`like[]._index`), an indexed shape
//! (`indexed_shape.index`, by default `shapes`), a stored document to percolate (`percolate.index`). Plugins may add
//! more, so every `index` and `_index` with a plain value counts as one, unless it stands where only field names or
//! free data can stand. What is asked too much costs a refusal; what is asked too little would be a hole.

use memchr::memmem;

use super::content::is_read_as_written;
use super::inspection::Inspection;
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::json::{Kind, Reader};

/// The index an `indexed_shape` reads if it names none.
const DEFAULT_SHAPE_INDEX: &str = "shapes";

/// Whatever stands in these is part of a lookup. So is what stands in a member of `terms`.
const LOOKUP: [&str; 4] = ["indexed_shape", "like", "percolate", "unlike"];

/// Outside of lookups, members of these are field names or free data.
const NO_LOOKUP: [&str; 22] = [
    "doc",
    "document",
    "exists",
    "fuzzy",
    "match",
    "match_bool_prefix",
    "match_phrase",
    "match_phrase_prefix",
    "params",
    "prefix",
    "range",
    "regexp",
    "sort",
    "span_term",
    "term",
    "terms",
    "terms_set",
    "wildcard",
    "geo_distance",
    "geo_bounding_box",
    "_geo_distance",
    "composite",
];

/// `with_pit`: the operation is a search, for which a point in time can replace the index.
pub(super) fn inspect(body: &[u8], with_pit: bool, found: &mut Inspection) -> Result<(), BodyError> {
    if is_plain(body) {
        return Ok(());
    }
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| inspect_member(reader, key, with_pit, found))?;
    reader.end()
}

/// A member of a search, which may stand in another document.
pub(super) fn inspect_member(
    reader: &mut Reader<'_>,
    key: &str,
    with_pit: bool,
    found: &mut Inspection,
) -> Result<(), BodyError> {
    match key {
        "pit" if with_pit => point_in_time(reader, found),
        "pit" => Err(BodyError::Form("this operation takes no point in time")),
        "indices_boost" => indices_boost(reader, found),
        _ => member(reader, key, Place::TOP, found),
    }
}

/// A query inside another document.
pub(super) fn inspect_value(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    value(reader, Place::TOP, false, found)
}

/// Whether none of the words stands in the body that a lookup or a point in time needs, not even with an escape.
/// Such a body names no index, however it is read.
fn is_plain(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"{")
        && memchr::memchr(b'\\', body).is_none()
        && ["index", "\"pit\"", "indices_boost", "wrapper"]
            .iter()
            .all(|word| memmem::find(body, word.as_bytes()).is_none())
        && is_read_as_written(body)
}

/// Where a member stands.
#[derive(Clone, Copy)]
struct Place<'p> {
    /// The key of the object it is in; elements of an array stand where the array stands.
    parent: &'p str,
    /// Inside something that is known to read another index.
    lookup: bool,
}

impl Place<'_> {
    const TOP: Place<'static> = Place { parent: "", lookup: false };

    fn may_look_up(self) -> bool {
        self.lookup || !NO_LOOKUP.contains(&self.parent)
    }

    /// The place of what is inside the member `key`.
    fn below(self, key: &str) -> Place<'_> {
        let lookup = self.lookup || self.parent == "terms" || LOOKUP.contains(&key);
        Place { parent: key, lookup }
    }
}

/// Reads the value of one member.
fn member(reader: &mut Reader<'_>, key: &str, place: Place<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    if key == "wrapper" && reader.kind()? == Kind::Object {
        return Err(BodyError::Form("a `wrapper` query hides its query in base64; send the query itself"));
    }
    let names_index = matches!(key, "index" | "_index") && place.may_look_up();
    value(reader, place.below(key), names_index, found)
}

/// Reads any value. `names_index`: a plain value here, also in an array, is an index.
fn value(
    reader: &mut Reader<'_>,
    place: Place<'_>,
    names_index: bool,
    found: &mut Inspection,
) -> Result<(), BodyError> {
    match reader.kind()? {
        Kind::Object => {
            let mut named = false;
            reader.object(&mut |reader, key| {
                named |= key == "index";
                member(reader, key, place, found)
            })?;
            if place.parent == "indexed_shape" && !named {
                found.add(Class::Get, Action::Get, DEFAULT_SHAPE_INDEX)?;
            }
            Ok(())
        }
        Kind::Array => reader.array(&mut |reader| value(reader, place, names_index, found)),
        _ => match reader.scalar()? {
            Some(index) if names_index => found.add_list(Class::Get, Action::Get, &index),
            _ => Ok(()),
        },
    }
}

fn point_in_time(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut id = None;
    reader.object(&mut |reader, key| match key {
        "id" => {
            id = Some(reader.string()?.into_owned());
            Ok(())
        }
        _ => reader.skip(),
    })?;
    match id {
        Some(id) => {
            found.pits.push(id);
            Ok(())
        }
        None => Err(BodyError::Form("a point in time has no id")),
    }
}

/// `{"name": boost}` or `[{"name": boost}]`. It reads nothing from the index, but an unknown name is an error that
/// tells so.
fn indices_boost(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut names = |reader: &mut Reader<'_>| {
        reader.object(&mut |reader, key| {
            found.add_list(Class::Search, Action::Search, key)?;
            reader.skip()
        })
    };
    match reader.kind()? {
        Kind::Array => reader.array(&mut names),
        _ => names(reader),
    }
}
