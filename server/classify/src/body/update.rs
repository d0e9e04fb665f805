//! An update, as the body of `_update` and as a source line of `_bulk`: whether it also reads the document.

use memchr::memmem;

use super::content::is_read_as_written;
use crate::error::BodyError;
use crate::json::{Kind, Reader};

/// Keys at the top of an update with which its answer can tell the document: `_source` (before 2.0 `fields` too) puts
/// it there, and a `script` can put any part of it into the message of an error that it raises.
const READING: [&str; 3] = ["_source", "fields", "script"];

/// Whether the answer can tell the document. The body is read only if one of the words is in it.
pub(super) fn reads_document(body: &[u8]) -> Result<bool, BodyError> {
    if !may_read(body) {
        return Ok(false);
    }
    let mut reads = false;
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| {
        reads |= match key {
            "_source" => asks(reader)?,
            _ => READING.contains(&key),
        };
        reader.skip()
    })?;
    reader.end()?;
    Ok(reads)
}

/// Whether the value of `_source` asks for anything. All but `false` do: the engine takes the string `false` as the
/// name of a field. The value is not consumed.
pub(super) fn asks(reader: &mut Reader<'_>) -> Result<bool, BodyError> {
    Ok(reader.kind()? != Kind::Bool || reader.clone().scalar()?.as_deref() != Some("false"))
}

/// Whether one of the keys may be in the body, however it is written.
fn may_read(body: &[u8]) -> bool {
    READING.iter().chain(&["\\u"]).any(|word| memmem::find(body, word.as_bytes()).is_some())
        || !is_read_as_written(body)
}
