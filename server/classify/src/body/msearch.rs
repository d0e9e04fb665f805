//! `_msearch`: header lines and query lines in turn.
//!
//! Read as the engine reads it: an empty header line means the default targets, a newline at the very beginning is
//! passed over, the last line must end with a newline.

use super::inspection::Inspection;
use super::lines::{Lines, is_blank};
use super::restricted::{Hidden, past_restriction};
use super::search;
use crate::error::BodyError;
use crate::expression;
use crate::json::{Kind, Reader};

/// One search of a multi-search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsearchItem {
    /// What it searches, split at commas. Never empty. Counts only if [`Inspection::pits`] is empty.
    pub targets: Vec<String>,
    /// What its query adds.
    pub body: Inspection,
    /// It reaches hidden indices.
    pub hidden: bool,
    /// The line of its header, counted from 1.
    pub line: u64,
    /// What in it a restriction does not hold for; found only if it is [looked for](MsearchScanner::hiding).
    pub past_restriction: Option<String>,
}

/// Reads a multi-search body chunk by chunk; keeps one line.
pub struct MsearchScanner {
    default: Vec<String>,
    max_line: usize,
    lines: Lines,
    header: Option<Header>,
    items: u64,
    broken: bool,
    hidden: Hidden,
}

struct Header {
    targets: Vec<String>,
    hidden: bool,
    line: u64,
}

impl MsearchScanner {
    /// `default` as in [`Body::Msearch`](crate::Body::Msearch); `max_line` is the longest line in bytes.
    #[must_use]
    pub const fn new(default: Vec<String>, max_line: usize) -> Self {
        Self {
            default,
            max_line,
            lines: Lines::new(),
            header: None,
            items: 0,
            broken: false,
            hidden: Hidden { rows: false, fields: false },
        }
    }

    /// Also looks for what a restriction does not hold for that hides this.
    #[must_use]
    pub const fn hiding(mut self, hidden: Hidden) -> Self {
        self.hidden = hidden;
        self
    }

    /// Reads a chunk; `on_item` gets each search whose query line ends in it.
    ///
    /// # Errors
    /// What `on_item` returns, and what cannot be read. After an error every further call is an error: the bytes of
    /// this chunk and all after it must not be forwarded.
    pub fn feed<E: From<BodyError>>(
        &mut self,
        mut chunk: &[u8],
        mut on_item: impl FnMut(MsearchItem) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.broken {
            return Err(BodyError::Form("the request has already been refused").into());
        }
        self.broken = true;
        let hides = self.hidden;
        while !chunk.is_empty() {
            match self.header.take() {
                None => {
                    let default = &self.default;
                    let (rest, header) = self.lines.take(chunk, self.max_line, |line, number| {
                        if line.is_empty() && number == 1 {
                            Ok(None)
                        } else {
                            parse_header(line, number, default).map(Some)
                        }
                    })?;
                    chunk = rest;
                    self.header = header.flatten();
                }
                Some(header) => {
                    let (rest, body) = self.lines.take(chunk, self.max_line, |line, _| {
                        let mut body = Inspection::default();
                        search::inspect(line, true, &mut body)?;
                        let past = if hides.anything() { past_restriction(line, hides)? } else { None };
                        Ok((body, past))
                    })?;
                    chunk = rest;
                    let Some((body, past_restriction)) = body else {
                        self.header = Some(header);
                        break;
                    };
                    self.items += 1;
                    let Header { targets, hidden, line } = header;
                    let hidden = hidden || body.hidden;
                    on_item(MsearchItem { targets, body, hidden, line, past_restriction })?;
                }
            }
        }
        self.broken = false;
        Ok(())
    }

    /// How many searches have been read so far.
    #[must_use]
    pub const fn items(&self) -> u64 {
        self.items
    }

    /// The body has ended: how many searches it had.
    ///
    /// # Errors
    /// No newline at the end, or no query line after the last header.
    pub fn finish(self) -> Result<u64, BodyError> {
        if self.broken {
            return Err(BodyError::Form("the request has already been refused"));
        }
        if self.lines.is_unfinished() {
            return Err(BodyError::NoFinalNewline);
        }
        match self.header {
            Some(header) => Err(BodyError::MissingLine(header.line)),
            None => Ok(self.items),
        }
    }
}

fn parse_header(line: &[u8], number: u64, default: &[String]) -> Result<Header, BodyError> {
    let mut targets: Option<Vec<String>> = None;
    let mut hidden = false;
    if !is_blank(line) {
        let mut reader = Reader::new(line)?;
        reader.object(&mut |reader, key| {
            match key {
                "index" | "indices" => {
                    if targets.is_some() {
                        // The engine takes whichever its hash map yields last.
                        return Err(BodyError::Line { line: number, what: "both `index` and `indices`" });
                    }
                    targets = Some(parse_targets(reader, number)?);
                }
                "expand_wildcards" | "expandWildcards" => {
                    hidden |= parse_list(reader, number)?.iter().any(|part| expression::expands_to_hidden(part));
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        reader.end()?;
    }
    let targets = targets.unwrap_or_else(|| default.to_vec());
    hidden |= targets.iter().any(|target| expression::is_hidden(target));
    Ok(Header { targets, hidden, line: number })
}

/// A comma-separated string or an array of strings; nothing in it means all indices.
fn parse_targets(reader: &mut Reader<'_>, number: u64) -> Result<Vec<String>, BodyError> {
    let mut targets = Vec::new();
    for list in parse_list(reader, number)? {
        expression::split(&list, &mut targets).map_err(|_| BodyError::IndexName(list.clone()))?;
    }
    if targets.is_empty() {
        targets.push("*".to_owned());
    }
    Ok(targets)
}

fn parse_list(reader: &mut Reader<'_>, number: u64) -> Result<Vec<String>, BodyError> {
    let not_strings = || BodyError::Line { line: number, what: "a list is neither a string nor an array of strings" };
    let mut list = Vec::new();
    match reader.kind()? {
        Kind::String => list.push(reader.string()?.into_owned()),
        Kind::Array => reader.array(&mut |reader| {
            if reader.kind()? != Kind::String {
                return Err(not_strings());
            }
            list.push(reader.string()?.into_owned());
            Ok(())
        })?,
        _ => return Err(not_strings()),
    }
    Ok(list)
}
