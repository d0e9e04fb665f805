//! `_bulk`: action lines, each but `delete` followed by a source line.
//!
//! Read as the engine reads it: lines end at `\n`, a `\r` before it is white space, a blank line where an action is
//! due is passed over, the last line must end with a newline. Stricter in what it would let pass unseen: nothing may
//! follow the action object, an index name is a string, unknown actions are refused.

use crate::body::lines::{Lines, is_blank};
use crate::error::BodyError;
use crate::expression;
use crate::json::{Kind, Reader};
use crate::operation::{Action, Class};

/// Longest action line in bytes. Source lines have no limit: they are not kept.
pub const MAX_ACTION_LINE: usize = 64 * 1024;

/// One action of a bulk request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkItem<'a> {
    /// [`Class::Append`] if it can only add a document, else [`Class::Write`].
    pub class: Class,
    /// The Cedar action.
    pub action: Action,
    /// The name of the one index, alias or data stream it writes to; possibly date math. Never a list or a pattern.
    pub index: &'a str,
    /// The line of the action, counted from 1.
    pub line: u64,
}

/// Reads a bulk body chunk by chunk, in constant memory.
///
/// ```
/// use oauth4os_classify::{BodyError, BulkScanner, Class};
///
/// let mut scanner = BulkScanner::new(Some("logs-app"), false);
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
    lines: Lines,
    in_source: bool,
    items: u64,
    broken: bool,
}

impl BulkScanner {
    /// `default_index` and `pipeline` as in [`Body::Bulk`](crate::Body::Bulk).
    #[must_use]
    pub fn new(default_index: Option<&str>, pipeline: bool) -> Self {
        Self {
            default_index: default_index.map(str::to_owned),
            pipeline,
            lines: Lines::new(MAX_ACTION_LINE),
            in_source: false,
            items: 0,
            broken: false,
        }
    }

    /// Reads a chunk; `on_item` gets each action whose line ends in it.
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
            if self.in_source {
                let (rest, ended) = self.lines.skip(chunk);
                chunk = rest;
                self.in_source = !ended;
                continue;
            }
            let (default_index, pipeline) = (self.default_index.as_deref(), self.pipeline);
            let (rest, action) = self.lines.take(chunk, |line, number| {
                if is_blank(line) {
                    return Ok(None);
                }
                let parsed = parse_action(line, number)?;
                on_item(parsed.item(default_index, pipeline, number)?)?;
                Ok::<_, E>(Some(parsed.verb))
            })?;
            chunk = rest;
            if let Some(Some(verb)) = action {
                self.items += 1;
                self.in_source = verb != Verb::Delete;
            }
        }
        self.broken = false;
        Ok(())
    }

    /// How many actions have been read so far.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.items
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
        if self.in_source {
            return Err(BodyError::MissingLine(self.lines.number() - 1));
        }
        Ok(self.items)
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
    pipeline: bool,
}

impl Parsed {
    fn item<'a>(
        &'a self,
        default: Option<&'a str>,
        pipeline: bool,
        line: u64,
    ) -> Result<BulkItem<'a>, BodyError> {
        let (class, action) = match self.verb {
            Verb::Create => (Class::Append, Action::Create),
            Verb::Index if self.creates => (Class::Append, Action::Create),
            // The engine makes an id that no other document has, unless a pipeline sets one.
            Verb::Index if !self.id && !self.pipeline && !pipeline => {
                (Class::Append, Action::Create)
            }
            Verb::Index | Verb::Update => (Class::Write, Action::Update),
            Verb::Delete => (Class::Write, Action::Delete),
        };
        let index = self.index.as_deref().or(default);
        let Some(index) = index else {
            return Err(BodyError::Line {
                line,
                what: "the action names no index and the request has no default",
            });
        };
        if !expression::is_single_name(index) {
            return Err(BodyError::IndexName(index.to_owned()));
        }
        Ok(BulkItem {
            class,
            action,
            index,
            line,
        })
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
            return Err(BodyError::Line {
                line: number,
                what: "more than one action in a line",
            });
        }
        parsed = Some(parse_metadata(reader, verb, number)?);
        Ok(())
    })?;
    reader.end()?;
    parsed.ok_or(BodyError::Line {
        line: number,
        what: "a line without an action",
    })
}

fn parse_metadata(reader: &mut Reader<'_>, verb: Verb, number: u64) -> Result<Parsed, BodyError> {
    let mut parsed = Parsed {
        verb,
        index: None,
        id: false,
        creates: false,
        pipeline: false,
    };
    reader.object(&mut |reader, key| {
        match key {
            "_index" => {
                if reader.kind()? != Kind::String {
                    return Err(BodyError::Line {
                        line: number,
                        what: "`_index` is not a string",
                    });
                }
                parsed.index = Some(reader.string()?.into_owned());
            }
            "_id" => parsed.id = reader.scalar()?.is_some(),
            "op_type" => parsed.creates = reader.scalar()?.is_some_and(|value| value == "create"),
            "pipeline" => parsed.pipeline = reader.scalar()?.is_some(),
            "_source" => reader.skip()?,
            _ => drop(reader.scalar()?),
        }
        Ok(())
    })?;
    Ok(parsed)
}
