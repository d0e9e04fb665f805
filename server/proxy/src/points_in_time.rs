//! Whose a point in time is: the engine lets everybody who may read the indices behind one search it and end it.

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

/// The points in time that were opened through this process, by the hashes of their ids.
#[derive(Debug)]
pub(crate) struct PointsInTime {
    openers: Cache<[u8; 32], Arc<str>>,
}

impl Default for PointsInTime {
    fn default() -> Self {
        Self { openers: Cache::new(KNOWN) }
    }
}

impl PointsInTime {
    /// Refuses an id that somebody else opened. One that was not opened here, because the gateway has been started since
    /// or another one stands beside it, is left to the rights the engine finds.
    pub(crate) fn check(&self, id: &str, principal: &str) -> Result<(), Refusal> {
        match self.openers.get(&sha256(id.as_bytes())) {
            Some(opener) if *opener != *principal => Err(Refusal::forbidden(
                "the point in time was opened by another client; open one with this token",
                None,
            )),
            _ => Ok(()),
        }
    }
}

/// The answer of the engine to who opens a point in time, as it comes in.
pub(crate) struct Opening {
    points: Arc<PointsInTime>,
    principal: Arc<str>,
    answer: Vec<u8>,
}

/// The id cannot be found in the answer.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error(
    "the point in time was opened, but its id is not found in the engine's answer and could not be kept from other clients; leave out `format`"
)]
pub(crate) struct Unreadable;

impl Opening {
    /// Whether the operation opens a point in time.
    pub(crate) fn is_by(operation: Option<&Operation>) -> bool {
        operation.is_some_and(|operation| operation.name == "create_pit")
    }

    pub(crate) fn new(points: &Arc<PointsInTime>, principal: &str) -> Self {
        Self { points: Arc::clone(points), principal: principal.into(), answer: Vec::new() }
    }

    /// Takes the next bytes of the answer.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<(), Unreadable> {
        if self.answer.len() + bytes.len() > MAX_ANSWER {
            return Err(Unreadable);
        }
        self.answer.extend_from_slice(bytes);
        Ok(())
    }

    /// The answer is whole: from here on the point in time is its opener's. To be called before he learns the end of its id.
    pub(crate) fn finish(self) -> Result<(), Unreadable> {
        let Ok(Value::Object(opened)) = serde_json::from_slice(&self.answer) else {
            return Err(Unreadable);
        };
        match opened.get("pit_id") {
            Some(Value::String(id)) => self.points.openers.insert(sha256(id.as_bytes()), self.principal),
            Some(_) => return Err(Unreadable),
            // Left out by `filter_path`: nobody learns it.
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(points: &Arc<PointsInTime>, principal: &str, answer: &[u8]) -> Result<(), Unreadable> {
        let mut opening = Opening::new(points, principal);
        answer.chunks(7).try_for_each(|piece| opening.take(piece))?;
        opening.finish()
    }

    #[test]
    fn a_point_in_time_is_its_openers() {
        let points = Arc::new(PointsInTime::default());
        opened(&points, "a", br#"{"pit_id":"p1","_shards":{"total":1},"creation_time":1}"#).unwrap();
        assert!(points.check("p1", "a").is_ok());
        assert_eq!(points.check("p1", "b").unwrap_err().status, 403);
        // Of these nothing is known.
        assert!(points.check("p2", "b").is_ok());
        opened(&points, "a", br#"{"_shards":{"total":1}}"#).unwrap();
    }

    #[test]
    fn an_answer_that_is_no_json_or_too_long_is_not_passed_on() {
        let points = Arc::new(PointsInTime::default());
        for answer in [&b"---\npit_id: \"p1\"\n"[..], b"", b"{\"pit_id\":\"p1\"", b"{\"pit_id\":[\"p1\"]}"] {
            assert!(opened(&points, "a", answer).is_err());
        }
        let long = format!("{{\"pit_id\":\"{}\"}}", "p".repeat(MAX_ANSWER));
        assert!(opened(&points, "a", long.as_bytes()).is_err());
    }
}
