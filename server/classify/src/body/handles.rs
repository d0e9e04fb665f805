//! Scroll and point-in-time ids in a body: `{"scroll_id": ..}`, `{"pit_id": [..]}`.

use super::inspection::Inspection;
use crate::error::BodyError;
use crate::json::{Kind, Reader};

/// What the engine reads as "every scroll" or "every point in time", whoever opened it.
pub(crate) const ALL: &str = "_all";

pub(super) fn inspect(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match (key, reader.kind()?) {
        ("scroll_id" | "pit_id", Kind::Array) => reader.array(&mut |reader| id(reader, found)),
        ("scroll_id" | "pit_id", _) => id(reader, found),
        (_, Kind::Object | Kind::Array) => Err(BodyError::Form("a body of ids has nothing nested but the ids")),
        _ => reader.skip(),
    })?;
    reader.end()
}

fn id(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let id = reader.string()?;
    if id.split(',').any(|id| id == ALL) {
        return Err(BodyError::Form("`_all` would end what other clients opened; name the ids"));
    }
    found.pits.push(id.into_owned());
    Ok(())
}
