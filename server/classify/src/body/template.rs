//! Index templates, component templates and legacy templates: the aliases they give to indices that are made later.
//!
//! A template is the cluster's, whatever indices it is for. But an alias in it does to every index it is applied to what
//! `_aliases` does to one: whoever may read the alias's name reads the index. So each alias needs the right to manage it,
//! and so do the patterns of the indices it is given to; a component template can be built into any template, and so
//! needs it for all indices.

use super::inspection::Inspection;
use super::{list, search, settings};
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::json::{Kind, Reader};

pub(super) fn inspect(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut patterns = Vec::new();
    let mut has_aliases = false;
    let mut reader = Reader::new(body)?;
    reader.object(&mut |reader, key| match (key, reader.kind()?) {
        ("index_patterns", _) => {
            patterns = list::names(reader)?;
            Ok(())
        }
        ("aliases", Kind::Object) => aliases(reader, &mut has_aliases, found),
        ("settings", _) => settings::inspect_value(reader, found),
        ("template", Kind::Object) => reader.object(&mut |reader, key| match (key, reader.kind()?) {
            ("aliases", Kind::Object) => aliases(reader, &mut has_aliases, found),
            ("aliases", _) => no_aliases(reader),
            ("settings", _) => settings::inspect_value(reader, found),
            _ => reader.skip(),
        }),
        ("aliases", _) => no_aliases(reader),
        _ => reader.skip(),
    })?;
    reader.end()?;
    if !has_aliases {
        return Ok(());
    }
    if patterns.is_empty() {
        patterns.push("*".to_owned());
    }
    patterns.iter().try_for_each(|pattern| found.add_list(Class::Manage, Action::Manage, pattern))
}

fn aliases(reader: &mut Reader<'_>, has_aliases: &mut bool, found: &mut Inspection) -> Result<(), BodyError> {
    reader.object(&mut |reader, name| {
        *has_aliases = true;
        // The engine puts the index's name in its place.
        found.add(Class::Manage, Action::Manage, &name.replace("{index}", "*"))?;
        search::inspect_value(reader, found)
    })
}

fn no_aliases(reader: &mut Reader<'_>) -> Result<(), BodyError> {
    match reader.kind()? {
        Kind::Null => reader.skip(),
        _ => Err(BodyError::Form("`aliases` of a template is not an object")),
    }
}
