//! A string or an array of strings, as many of the engine's readers take them.

use crate::error::BodyError;
use crate::json::{Kind, Reader};

/// The strings, as written. Anything else is refused: other readers would make text of it.
pub(super) fn names(reader: &mut Reader<'_>) -> Result<Vec<String>, BodyError> {
    const WHAT: &str = "a list of names is neither a string nor an array of strings";
    let mut names = Vec::new();
    match reader.kind()? {
        Kind::String => names.push(reader.string()?.into_owned()),
        Kind::Array => reader.array(&mut |reader| {
            if reader.kind()? != Kind::String {
                return Err(BodyError::Form(WHAT));
            }
            names.push(reader.string()?.into_owned());
            Ok(())
        })?,
        _ => return Err(BodyError::Form(WHAT)),
    }
    Ok(names)
}
