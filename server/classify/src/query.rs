//! The query string as the engine reads it: `&` and `;` separate, `+` is a space, the last of two wins.
//!
//! Only the parameters a decision depends on are kept; for these, whatever two parsers could read in two ways is
//! refused.

use std::borrow::Cow;

use crate::error::ClassifyError;

/// The parameters a decision may depend on, in the order of [`Query`]'s slots.
const DECIDING: [&str; 14] = [
    "index",
    "name",
    "target",
    "new_index",
    "alias",
    "indices",
    "id",
    "op_type",
    "pipeline",
    "expand_wildcards",
    "source",
    "source_content_type",
    "scroll_id",
    "view_name",
];

/// Parameters with which an update answers with the document it changed; the ones without an `s` and `fields` are
/// those of engines before 2.0. Searches and gets have them too, where they decide nothing.
const RETURNING_SOURCE: [&str; 6] =
    ["_source", "_source_includes", "_source_excludes", "_source_include", "_source_exclude", "fields"];

/// With these, and with those that begin with `suggest_`, the engine tells of documents that the query does not find.
const PAST_ROWS: [&str; 3] = ["all_shards", "rewrite", "term_statistics"];

/// The deciding parameters of a request.
#[derive(Default)]
pub(crate) struct Query<'a> {
    values: [Option<Cow<'a, str>>; DECIDING.len()],
    returns_source: bool,
    past_rows: bool,
    scrolls: bool,
}

impl<'a> Query<'a> {
    pub(crate) fn parse(raw: &'a str) -> Result<Self, ClassifyError> {
        let mut query = Query::default();
        let mut rest = raw;
        let mut after_semicolon = false;
        while !rest.is_empty() {
            let end = memchr::memchr2(b'&', b';', rest.as_bytes());
            let (part, tail, semicolon) = match end {
                Some(end) => {
                    let (part, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
                    let semicolon = tail.starts_with(';');
                    (part, tail.get(1..).unwrap_or(""), semicolon)
                }
                None => (rest, "", false),
            };
            query.take(part, after_semicolon || semicolon)?;
            after_semicolon = semicolon;
            rest = tail;
        }
        Ok(query)
    }

    fn take(&mut self, part: &'a str, semicolon: bool) -> Result<(), ClassifyError> {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if name.is_empty() {
            // The engine skips the sign and reads `=a=b` as `a=b`.
            return if part.is_empty() {
                Ok(())
            } else {
                Err(ClassifyError::MalformedTarget("a query parameter has no name"))
            };
        }
        let name = decode(name)?;
        if RETURNING_SOURCE.contains(&&*name) {
            // `_source=false` asks for nothing. Only if it is written so: in other words it would be a field's name.
            self.returns_source |= name != "_source" || value != "false" || semicolon;
        }
        self.scrolls |= name == "scroll";
        self.past_rows |= name.starts_with("suggest_") || PAST_ROWS.contains(&&*name);
        let Some(slot) = DECIDING.iter().position(|known| *known == name).and_then(|at| self.values.get_mut(at)) else {
            return Ok(());
        };
        if semicolon {
            return Err(ClassifyError::AmbiguousSeparator(name.into_owned()));
        }
        if slot.is_some() {
            return Err(ClassifyError::DuplicateParameter(name.into_owned()));
        }
        *slot = Some(decode(value)?);
        Ok(())
    }

    /// Whether an update with this query answers with the document.
    pub(crate) const fn returns_source(&self) -> bool {
        self.returns_source
    }

    /// Whether a parameter asks for what a row filter does not hold for.
    pub(crate) const fn past_rows(&self) -> bool {
        self.past_rows
    }

    /// Whether a search with this query begins a scroll.
    pub(crate) const fn scrolls(&self) -> bool {
        self.scrolls
    }

    /// The decoded value of a deciding parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let at = DECIDING.iter().position(|known| *known == name)?;
        self.values.get(at)?.as_deref()
    }
}

fn decode(raw: &str) -> Result<Cow<'_, str>, ClassifyError> {
    crate::target::decode(raw, true)
}
