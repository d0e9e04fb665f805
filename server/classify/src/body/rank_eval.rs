//! `_rank_eval`: searches over the request's indices, compared with ratings of documents.
//!
//! A rating names an index only to be compared with what was found; nothing is read there. Templates are rendered inside
//! the engine, where no gateway sees the query: they are refused.

use super::inspection::Inspection;
use super::search;
use crate::error::BodyError;
use crate::json::Reader;

const TEMPLATE: BodyError =
    BodyError::Form("templates are rendered inside the engine and cannot be inspected; send each `request` itself");

pub(super) fn inspect(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match key {
        "requests" => reader.array(&mut |reader| request(reader, found)),
        "metric" => reader.skip(),
        "templates" => Err(TEMPLATE),
        _ => reader.scalar().map(drop),
    })?;
    reader.end()
}

fn request(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    reader.object(&mut |reader, key| match key {
        "request" => reader.object(&mut |reader, key| search::inspect_member(reader, key, false, found)),
        "ratings" | "summary_fields" => reader.skip(),
        "template_id" | "params" => Err(TEMPLATE),
        _ => reader.scalar().map(drop),
    })
}
