//! Settings of indices: the ingest pipelines they name, through which every later write to the index goes.

use super::inspection::Inspection;
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::json::{Kind, Reader};

/// The settings that name a pipeline, without what stands before them: `index.default_pipeline`.
const PIPELINES: [&str; 2] = ["default_pipeline", "final_pipeline"];

/// Whether it is the name of a pipeline: `_none` is how none is chosen.
pub(crate) fn is_a_pipeline(name: &str) -> bool {
    name != "_none"
}

/// `PUT /{index}/_settings`: the settings, or `settings` with them in it.
pub(super) fn inspect(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    inspect_value(&mut reader, found)?;
    reader.end()
}

/// Settings within a body. Whoever sets a pipeline for an index has every write go where it says.
pub(super) fn inspect_value(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut names_one = false;
    walk(reader, &mut names_one)?;
    let chosen = (Class::Write, Action::Update);
    if names_one && !found.pipelines.contains(&chosen) {
        found.pipelines.push(chosen);
    }
    Ok(())
}

/// A setting's name may be written in one key or in nested ones; what counts is its end.
fn walk(reader: &mut Reader<'_>, names_one: &mut bool) -> Result<(), BodyError> {
    if reader.kind()? != Kind::Object {
        return reader.skip();
    }
    reader.object(&mut |reader, key| {
        let end = key.rsplit('.').next().unwrap_or(key);
        match reader.kind()? {
            Kind::Object => walk(reader, names_one),
            Kind::Array => {
                *names_one |= PIPELINES.contains(&end);
                reader.skip()
            }
            _ => {
                let value = reader.scalar()?;
                *names_one |= PIPELINES.contains(&end) && value.is_some_and(|name| is_a_pipeline(&name));
                Ok(())
            }
        }
    })
}
