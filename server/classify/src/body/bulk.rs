//! `_bulk`: action lines, each but `delete` followed by a source line.
//!
//! Read as the engine reads it: lines end at `\n`, a `\r` before it is white space, a blank line where an action is
//! due is passed over, the last line must end with a newline. Stricter in what it would let pass unseen: nothing may
//! follow the action object, an index name is a string, unknown actions are refused.
//!
//! An update can answer with the document it changes. The source lines of updates are looked at for that; those of
//! other actions are data.

use super::lines::{Lines, is_blank};
use super::settings::is_a_pipeline;
use super::update;
use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::expression;
use crate::json::{Kind, Reader};

/// Longest action line in bytes.
pub const MAX_ACTION_LINE: usize = 64 * 1024;

/// Longest source line of an update in bytes. Those of other actions have no limit: they are not kept.
pub const MAX_UPDATE_LINE: usize = 1024 * 1024;

/// One right that an action of a bulk request needs: to write, and after it, for an update whose answer can tell the
/// document, to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkItem<'a> {
    /// [`Class::Append`] if it can only add a document, [`Class::Get`] if it can tell one, else [`Class::Write`].
    pub class: Class,
    /// The Cedar action.
    pub action: Action,
    /// The name of the one index, alias or data stream it is about; possibly date math. Never a list or a pattern.
    pub index: &'a str,
    /// The line of the action, counted from 1.
    pub line: u64,
    /// The request chooses an ingest pipeline for it, which may choose another index.
    pub pipeline: bool,
}

/// Reads a bulk body chunk by chunk, in constant memory.
///
/// ```
/// use oauth4os_classify::{BodyError, BulkScanner, Class};
///
/// let mut scanner = BulkScanner::new(Some("logs-app"), false, false);
/// let mut seen = Vec::new();
/// for chunk in [&b"{\"create\":"[..], b"{}}\n{\"message\":\"hello\"}\n"] {
///     scanner.feed(chunk, |item| Ok::<(), BodyError>(seen.push((item.class, item.index.to_owned())))).unwrap();
/// }
/// assert_eq!(scanner.finish(), Ok(1));
/// assert_eq!(seen, [(Class::Append, "logs-app".to_owned())]);
/// ```
pub struct BulkScanner {
    default_index: Option<String>,
    pipeline: bool,
    returns_source: bool,
    lines: Lines,
    due: Due,
    /// The index of the update whose source line is due.
    updated: String,
    actions: u64,
    broken: bool,
}

/// What the present line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Action,
    /// A source line that means nothing here.
    Source,
    /// The source line of an update, with the number of its action's line.
    Update(u64),
}

impl BulkScanner {
    /// `default_index`, `pipeline` and `returns_source` as in [`Body::Bulk`](crate::Body::Bulk).
    #[must_use]
    pub fn new(default_index: Option<&str>, pipeline: bool, returns_source: bool) -> Self {
        Self {
            default_index: default_index.map(str::to_owned),
            pipeline,
            returns_source,
            lines: Lines::new(),
            due: Due::Action,
            updated: String::new(),
            actions: 0,
            broken: false,
        }
    }

    /// Reads a chunk; `on_item` gets what each line that ends in it needs.
    ///
    /// # Errors
    /// What `on_item` returns, and what cannot be read. After an error every further call is an error: the bytes of
    /// this chunk and all after it must not be forwarded.
    pub fn feed<E: From<BodyError>>(
        &mut self,
        mut chunk: &[u8],
        mut on_item: impl FnMut(BulkItem<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.broken {
            return Err(BodyError::Form("the request has already been refused").into());
        }
        self.broken = true;
        while !chunk.is_empty() {
            chunk = match self.due {
                Due::Action => self.action(chunk, &mut on_item)?,
                Due::Source => {
                    let (rest, ended) = self.lines.skip(chunk);
                    if ended {
                        self.due = Due::Action;
                    }
                    rest
                }
                Due::Update(line) => self.update(chunk, line, &mut on_item)?,
            };
        }
        self.broken = false;
        Ok(())
    }

    fn action<'c, E: From<BodyError>>(
        &mut self,
        chunk: &'c [u8],
        on_item: &mut impl FnMut(BulkItem<'_>) -> Result<(), E>,
    ) -> Result<&'c [u8], E> {
        let (default_index, pipeline) = (self.default_index.as_deref(), self.pipeline);
        let returns_source = self.returns_source;
        let updated = &mut self.updated;
        let (rest, due) = self.lines.take(chunk, MAX_ACTION_LINE, |line, number| {
            if is_blank(line) {
                return Ok(None);
            }
            let parsed = parse_action(line, number)?;
            let item = parsed.item(default_index, pipeline, number)?;
            on_item(item)?;
            Ok::<_, E>(Some(match parsed.verb {
                Verb::Delete => Due::Action,
                Verb::Index | Verb::Create => Due::Source,
                Verb::Update if returns_source || parsed.returns_source => {
                    on_item(item.read())?;
                    Due::Source
                }
                Verb::Update => {
                    updated.clear();
                    updated.push_str(item.index);
                    Due::Update(number)
                }
            }))
        })?;
        if let Some(Some(due)) = due {
            self.actions += 1;
            self.due = due;
        }
        Ok(rest)
    }

    fn update<'c, E: From<BodyError>>(
        &mut self,
        chunk: &'c [u8],
        line: u64,
        on_item: &mut impl FnMut(BulkItem<'_>) -> Result<(), E>,
    ) -> Result<&'c [u8], E> {
        let (rest, reads) = self.lines.take(chunk, MAX_UPDATE_LINE, |source, _| update::reads_document(source))?;
        if let Some(reads) = reads {
            self.due = Due::Action;
            if reads {
                let index = &self.updated;
                on_item(BulkItem { class: Class::Get, action: Action::Get, index, line, pipeline: false })?;
            }
        }
        Ok(rest)
    }

    /// How many actions have been read so far.
    #[must_use]
    pub const fn actions(&self) -> u64 {
        self.actions
    }

    /// The body has ended: how many actions it had.
    ///
    /// # Errors
    /// No newline at the end, or no source line after the last action.
    pub fn finish(self) -> Result<u64, BodyError> {
        if self.broken {
            return Err(BodyError::Form("the request has already been refused"));
        }
        if self.lines.is_unfinished() {
            return Err(BodyError::NoFinalNewline);
        }
        if self.due != Due::Action {
            return Err(BodyError::MissingLine(self.lines.number() - 1));
        }
        Ok(self.actions)
    }
}

impl BulkItem<'_> {
    /// The right to read what the item writes.
    const fn read(self) -> Self {
        Self { class: Class::Get, action: Action::Get, pipeline: false, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Index,
    Create,
    Update,
    Delete,
}

/// An action line.
struct Parsed {
    verb: Verb,
    index: Option<String>,
    /// The document's id is given.
    id: bool,
    /// `op_type` beside an `index` action.
    creates: bool,
    /// Whether the line names a pipeline; `None` leaves it to the request.
    pipeline: Option<bool>,
    /// The metadata asks for the document.
    returns_source: bool,
}

impl Parsed {
    fn item<'a>(&'a self, default: Option<&'a str>, pipeline: bool, line: u64) -> Result<BulkItem<'a>, BodyError> {
        let pipeline = self.pipeline.unwrap_or(pipeline) && self.verb != Verb::Delete;
        let (class, action) = match self.verb {
            Verb::Create => (Class::Append, Action::Create),
            Verb::Index if self.creates => (Class::Append, Action::Create),
            // The engine makes an id that no other document has, unless a pipeline sets one.
            Verb::Index if !self.id && !pipeline => (Class::Append, Action::Create),
            Verb::Index | Verb::Update => (Class::Write, Action::Update),
            Verb::Delete => (Class::Write, Action::Delete),
        };
        let index = self.index.as_deref().or(default);
        let Some(index) = index else {
            return Err(BodyError::Line { line, what: "the action names no index and the request has no default" });
        };
        if !expression::is_single_name(index) {
            return Err(BodyError::IndexName(index.to_owned()));
        }
        Ok(BulkItem { class, action, index, line, pipeline })
    }
}

fn parse_action(line: &[u8], number: u64) -> Result<Parsed, BodyError> {
    let mut reader = Reader::new(line)?;
    let mut parsed = None;
    reader.object(&mut |reader, key| {
        let verb = match key {
            "index" => Verb::Index,
            "create" => Verb::Create,
            "update" => Verb::Update,
            "delete" => Verb::Delete,
            _ => {
                let what = "the action is none of `index`, `create`, `update` and `delete`";
                return Err(BodyError::Line { line: number, what });
            }
        };
        if parsed.is_some() {
            return Err(BodyError::Line { line: number, what: "more than one action in a line" });
        }
        parsed = Some(parse_metadata(reader, verb, number)?);
        Ok(())
    })?;
    reader.end()?;
    parsed.ok_or(BodyError::Line { line: number, what: "a line without an action" })
}

fn parse_metadata(reader: &mut Reader<'_>, verb: Verb, number: u64) -> Result<Parsed, BodyError> {
    let mut parsed = Parsed { verb, index: None, id: false, creates: false, pipeline: None, returns_source: false };
    reader.object(&mut |reader, key| {
        match key {
            "_index" => {
                if reader.kind()? != Kind::String {
                    return Err(BodyError::Line { line: number, what: "`_index` is not a string" });
                }
                parsed.index = Some(reader.string()?.into_owned());
            }
            "_id" => parsed.id = reader.scalar()?.is_some(),
            "op_type" => parsed.creates = reader.scalar()?.is_some_and(|value| value == "create"),
            "pipeline" => parsed.pipeline = reader.scalar()?.map(|name| is_a_pipeline(&name)),
            "_source" => {
                parsed.returns_source |= update::asks(reader)?;
                reader.skip()?;
            }
            _ => {
                parsed.returns_source |= key == "fields" || key.starts_with("_source");
                drop(reader.scalar()?);
            }
        }
        Ok(())
    })?;
    Ok(parsed)
}
