//! Bodies of Dashboards' saved objects API: which types of objects they are about.
//!
//! Dashboards reads them with a parser that takes the last of two equal keys; the strict reader refuses these, so that both
//! see the same.

use super::inspection::Inspection;
use crate::dashboards::is_type;
use crate::error::BodyError;
use crate::json::{Kind, Reader};

const NOT_A_TYPE: BodyError = BodyError::Form("the `type` of a saved object is not a plain name");

/// `_bulk_get`, `_bulk_create`, `_bulk_update`: a list of objects, each with a type.
pub(super) fn inspect_list(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    reader.array(&mut |reader| object(reader, found))?;
    reader.end()
}

/// `_export`: types, or a list of objects. What an object refers to can be of any type.
pub(super) fn inspect_export(body: &[u8], found: &mut Inspection) -> Result<(), BodyError> {
    let mut reader = Reader::new(body)?;
    let mut with_references = false;
    reader.object(&mut |reader, key| match (key, reader.kind()?) {
        ("type", Kind::Array) => reader.array(&mut |reader| {
            let name = reader.string()?.into_owned();
            add(name, found)
        }),
        ("type", _) => {
            let name = reader.string()?.into_owned();
            add(name, found)
        }
        ("objects", _) => reader.array(&mut |reader| object(reader, found)),
        ("includeReferencesDeep", Kind::Bool) => {
            with_references |= reader.scalar()?.as_deref() != Some("false");
            Ok(())
        }
        ("includeReferencesDeep", _) => Err(BodyError::Form("`includeReferencesDeep` is not true or false")),
        _ => reader.skip(),
    })?;
    reader.end()?;
    if with_references {
        found.saved_objects = vec!["*".to_owned()];
    }
    Ok(())
}

fn object(reader: &mut Reader<'_>, found: &mut Inspection) -> Result<(), BodyError> {
    let mut named = None;
    reader.object(&mut |reader, key| match key {
        "type" => {
            named = Some(reader.string()?.into_owned());
            Ok(())
        }
        _ => reader.skip(),
    })?;
    add(named.unwrap_or_default(), found)
}

fn add(name: String, found: &mut Inspection) -> Result<(), BodyError> {
    if !is_type(&name) {
        return Err(NOT_A_TYPE);
    }
    if !found.saved_objects.contains(&name) {
        found.saved_objects.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::body::Body;

    fn types(body: &Body, text: &str) -> Result<Vec<String>, String> {
        body.inspect(text.as_bytes()).map(|found| found.saved_objects).map_err(|error| error.to_string())
    }

    #[test]
    fn every_type_in_a_list_is_found_once() {
        let list = r#"[{"type":"dashboard","id":"a","attributes":{"type":"x"}},{"id":"b","type":"index-pattern"},{"type":"dashboard"}]"#;
        assert_eq!(types(&Body::SavedObjects, list).unwrap(), ["dashboard", "index-pattern"]);
        assert_eq!(types(&Body::SavedObjects, "[]").unwrap(), [""; 0]);
        for refused in [
            "{}",
            r#"[{"id":"a"}]"#,
            r#"[{"type":["dashboard"]}]"#,
            r#"[{"type":"*"}]"#,
            r#"[{"type":"dashboard","type":"config"}]"#,
            r#"[{"type":"dashboard"}] [{"type":"config"}]"#,
        ] {
            assert!(types(&Body::SavedObjects, refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn an_export_names_types_or_objects_and_references_may_be_anything() {
        for (text, expected) in [
            (r#"{"type":"dashboard"}"#, vec!["dashboard"]),
            (r#"{"type":["dashboard","query"],"includeReferencesDeep":false}"#, vec!["dashboard", "query"]),
            (r#"{"objects":[{"type":"config","id":"1"}],"excludeExportDetails":true}"#, vec!["config"]),
            (r#"{"includeReferencesDeep":true,"objects":[{"type":"dashboard","id":"1"}]}"#, vec!["*"]),
        ] {
            assert_eq!(types(&Body::Export, text).unwrap(), expected, "{text}");
        }
        assert!(types(&Body::Export, r#"{"type":"dashboard","includeReferencesDeep":"true"}"#).is_err());
    }
}
