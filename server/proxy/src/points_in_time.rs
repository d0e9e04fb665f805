//! Whose a point in time is: the engine lets everybody who may read the indices behind one search it and end it.
//!
//! Where the engine is not told the scopes, scrolls are looked after in the same way, since it would show a token of fewer scopes
//! what those of another are for, and may know several clients by one name; and an id that is not known here is nobody's.

use std::sync::Arc;

use oauth4os_classify::Operation;
use oauth4os_tokens::id::sha256;
use quick_cache::sync::Cache;
use serde_json::Value;

use crate::refusal::Refusal;

/// Points in time whose openers are known; a node of the engine has 300 open at once unless it is set up for more. Those
/// that have ended make room.
const KNOWN: usize = 65_536;

/// The longest answer in which an id is looked for. An id grows by some 150 bytes for each shard.
const MAX_ANSWER: usize = 1024 * 1024;

/// The points in time, and scrolls, that were opened through this process, by the hashes of their ids.
#[derive(Debug)]
pub(crate) struct PointsInTime {
    openers: Cache<[u8; 32], Arc<str>>,
}

/// Who opens and uses what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) id: Arc<str>,
    /// Whether the gateway alone keeps others from what this one has opened.
    pub(crate) is_kept_here_alone: bool,
}

impl PointsInTime {
    pub(crate) fn new() -> Self {
        Self { openers: Cache::new(KNOWN) }
    }

    /// Refuses an id that somebody else opened. One that was not opened here, because the gateway has been started since
    /// or another one stands beside it, is left to the rights the engine finds, if it finds any of this client's.
    pub(crate) fn check(&self, id: &str, holder: &Holder) -> Result<(), Refusal> {
        match self.openers.get(&sha256(id.as_bytes())) {
            Some(opener) if opener == holder.id => Ok(()),
            Some(_) if holder.is_kept_here_alone => Err(Refusal::forbidden(
                "the scroll or point in time was opened by another client, or with other scopes; open one with this token",
                None,
            )),
            Some(_) => Err(Refusal::forbidden(
                "the point in time was opened by another client; open one with this token",
                None,
            )),
            None if holder.is_kept_here_alone => Err(Refusal::forbidden(
                "the scroll or point in time was not opened through this gateway since it was started, and to the engine it could be anybody's; open one with this token",
                None,
            )),
            None => Ok(()),
        }
    }

    fn belongs(&self, id: &str, holder: Arc<str>) {
        self.openers.insert(sha256(id.as_bytes()), holder);
    }
}

/// The answer of the engine to who opens a point in time or a scroll, as it comes in.
pub(crate) struct Opening {
    points: Arc<PointsInTime>,
    holder: Arc<str>,
    what: Opened,
    answer: Vec<u8>,
}

/// What is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opened {
    /// A point in time: its id is somewhere in a short answer.
    PointInTime,
    /// A scroll: its id is the first thing in an answer of any length.
    Scroll,
}

/// Whether more of an answer has to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Done,
}

/// The id cannot be found in the answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "the {} was opened, but its id is not found in the engine's answer and could not be kept from other clients; leave out `format`",
    match .0 { Opened::PointInTime => "point in time", Opened::Scroll => "scroll" }
)]
pub(crate) struct Unreadable(Opened);

impl Opening {
    /// What an operation opens that has to be looked after here.
    pub(crate) fn by(operation: Option<&Operation>, holder: &Holder) -> Option<Opened> {
        match operation {
            Some(operation) if operation.name == "create_pit" => Some(Opened::PointInTime),
            Some(operation) if operation.scrolls && holder.is_kept_here_alone => Some(Opened::Scroll),
            _ => None,
        }
    }

    pub(crate) fn new(what: Opened, points: &Arc<PointsInTime>, holder: &Holder) -> Self {
        Self { points: Arc::clone(points), holder: Arc::clone(&holder.id), what, answer: Vec::new() }
    }

    /// Takes the next bytes of the answer. When it is done with them, what was opened is its opener's: to be called before he learns
    /// the end of the id.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Progress, Unreadable> {
        if self.answer.len() + bytes.len() > MAX_ANSWER {
            return Err(Unreadable(self.what));
        }
        self.answer.extend_from_slice(bytes);
        if self.what == Opened::PointInTime {
            return Ok(Progress::More);
        }
        match first_text(&self.answer) {
            First::Text("_scroll_id", id) => self.points.belongs(id, Arc::clone(&self.holder)),
            First::Text(..) | First::Other => {}
            First::Unfinished => return Ok(Progress::More),
            First::NoObject => return Err(Unreadable(self.what)),
        }
        Ok(Progress::Done)
    }

    /// The answer is whole.
    pub(crate) fn finish(self) -> Result<(), Unreadable> {
        if self.what == Opened::Scroll {
            return if self.answer.is_empty() { Ok(()) } else { Err(Unreadable(self.what)) };
        }
        let Ok(Value::Object(opened)) = serde_json::from_slice(&self.answer) else {
            return Err(Unreadable(self.what));
        };
        match opened.get("pit_id") {
            Some(Value::String(id)) => self.points.belongs(id, self.holder),
            Some(_) => return Err(Unreadable(self.what)),
            // Left out by `filter_path`: nobody learns it.
            None => {}
        }
        Ok(())
    }
}

/// How an answer begins.
#[derive(Debug, PartialEq, Eq)]
enum First<'a> {
    /// With this name and this text.
    Text(&'a str, &'a str),
    /// With something else in an object: the engine writes the id of a scroll first, or nowhere.
    Other,
    /// That is not to be seen yet.
    Unfinished,
    /// It is no object in JSON, or the text is written in a way no id is.
    NoObject,
}

/// The first member of the object that an answer is, if it is a text.
fn first_text(answer: &[u8]) -> First<'_> {
    let Some(rest) = answer.trim_ascii_start().split_first() else { return First::Unfinished };
    let (b'{', rest) = rest else { return First::NoObject };
    let name = match quoted(rest.trim_ascii_start()) {
        Quoted::Whole(name, rest) => (name, rest.trim_ascii_start()),
        Quoted::Unfinished => return First::Unfinished,
        Quoted::Not(Some(b'}')) => return First::Other,
        Quoted::Not(_) => return First::NoObject,
    };
    let (name, rest) = name;
    let Some(rest) = rest.split_first() else { return First::Unfinished };
    let (b':', rest) = rest else { return First::NoObject };
    match quoted(rest.trim_ascii_start()) {
        Quoted::Whole(value, _) => First::Text(name, value),
        Quoted::Unfinished => First::Unfinished,
        Quoted::Not(_) if name == "_scroll_id" => First::NoObject,
        Quoted::Not(_) => First::Other,
    }
}

enum Quoted<'a> {
    /// The text, and what comes behind it.
    Whole(&'a str, &'a [u8]),
    Unfinished,
    /// It begins with this, or could be read as something else than it says.
    Not(Option<u8>),
}

fn quoted(bytes: &[u8]) -> Quoted<'_> {
    let Some((first, rest)) = bytes.split_first() else { return Quoted::Unfinished };
    if *first != b'"' {
        return Quoted::Not(Some(*first));
    }
    let Some(end) = memchr::memchr2(b'"', b'\\', rest) else { return Quoted::Unfinished };
    match (rest.get(..end).map(std::str::from_utf8), rest.get(end..).and_then(<[u8]>::split_first)) {
        (Some(Ok(text)), Some((b'"', rest))) => Quoted::Whole(text, rest),
        _ => Quoted::Not(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(id: &str, is_kept_here_alone: bool) -> Holder {
        Holder { id: Arc::from(id), is_kept_here_alone }
    }

    fn opened(points: &Arc<PointsInTime>, what: Opened, id: &str, answer: &[u8]) -> Result<(), Unreadable> {
        let mut opening = Opening::new(what, points, &holder(id, true));
        for piece in answer.chunks(7) {
            if opening.take(piece)? == Progress::Done {
                return Ok(());
            }
        }
        opening.finish()
    }

    #[test]
    fn a_point_in_time_is_its_openers() {
        let points = Arc::new(PointsInTime::new());
        let open = |answer| opened(&points, Opened::PointInTime, "a", answer).unwrap();
        open(br#"{"pit_id":"p1","_shards":{"total":1},"creation_time":1}"#);
        assert!(points.check("p1", &holder("a", false)).is_ok());
        assert_eq!(points.check("p1", &holder("b", false)).unwrap_err().status, 403);
        // Of these nothing is known.
        assert!(points.check("p2", &holder("b", false)).is_ok());
        open(br#"{"_shards":{"total":1}}"#);
    }

    #[test]
    fn where_the_engine_tells_nobody_apart_an_unknown_id_is_nobodys() {
        let points = Arc::new(PointsInTime::new());
        opened(&points, Opened::PointInTime, "a", br#"{"pit_id":"p1"}"#).unwrap();
        opened(&points, Opened::Scroll, "a", br#"{"_scroll_id":"s1","took":1,"hits":{"hits":[]}}"#).unwrap();
        opened(&points, Opened::Scroll, "a", b"\n {\n  \"_scroll_id\" : \"s2==\",\n  \"took\" : 1").unwrap();
        for id in ["p1", "s1", "s2=="] {
            assert!(points.check(id, &holder("a", true)).is_ok(), "{id}");
            assert_eq!(points.check(id, &holder("b", true)).unwrap_err().status, 403, "{id}");
        }
        for id in ["p2", "s", "s1,s2==", ""] {
            assert_eq!(points.check(id, &holder("a", true)).unwrap_err().status, 403, "{id}");
        }
    }

    #[test]
    fn an_answer_that_is_no_json_or_too_long_is_not_passed_on() {
        let points = Arc::new(PointsInTime::new());
        for answer in [&b"---\npit_id: \"p1\"\n"[..], b"", b"{\"pit_id\":\"p1\"", b"{\"pit_id\":[\"p1\"]}"] {
            assert!(opened(&points, Opened::PointInTime, "a", answer).is_err());
        }
        for answer in [
            &b"---\n_scroll_id: \"s1\"\n"[..],
            b":)\n\xfa\x8a_scroll_id",
            b"{\"_scroll_id\":\"s1",
            b"{\"_scroll_id\":[\"s1\"]}",
            b"{\"_scroll_id\":\"s\\u0031\"}",
            b"{\"_scroll\\u005fid\":\"s1\"}",
            b"[\"_scroll_id\"]",
        ] {
            assert!(opened(&points, Opened::Scroll, "a", answer).is_err(), "{}", String::from_utf8_lossy(answer));
        }
        for answer in [&b"{\"took\":1,\"hits\":{}}"[..], b"{}", b"{\"error\":\"x\"}", b""] {
            assert!(opened(&points, Opened::Scroll, "a", answer).is_ok());
        }
        let long = "p".repeat(MAX_ANSWER);
        let of_point = format!("{{\"pit_id\":\"{long}\"}}");
        assert!(opened(&points, Opened::PointInTime, "a", of_point.as_bytes()).is_err());
        let of_scroll = format!("{{\"_scroll_id\":\"{long}\"}}");
        assert!(opened(&points, Opened::Scroll, "a", of_scroll.as_bytes()).is_err());
    }
}
