//! What is found in a body.

use crate::class::{Action, Class};
use crate::error::BodyError;
use crate::expression;

/// What a body adds to what method and URL say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Each must be permitted, beside the operation's own targets.
    pub targets: Vec<BodyTarget>,
    /// Point-in-time ids, or scroll ids. If there is one, the operation's own targets are replaced by
    /// [`Targets::Handle`](crate::Targets::Handle): the engine refuses an index beside it.
    pub pits: Vec<String>,
    /// Types of saved objects of Dashboards, each once; `*` for any. They are the operation's targets.
    pub saved_objects: Vec<String>,
    /// For each ingest pipeline that the body chooses, what is done with the documents that come out of it: it may choose
    /// another index.
    pub pipelines: Vec<(Class, Action)>,
    /// The body reaches hidden indices: a target begins with a dot, or a header expands wildcards to hidden ones.
    pub hidden: bool,
}

/// An index expression in a body, with the right it needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyTarget {
    /// The permission class.
    pub class: Class,
    /// The Cedar action.
    pub action: Action,
    /// The index expression, decoded.
    pub index: String,
}

impl Inspection {
    /// Adds a target once.
    pub(super) fn add(&mut self, class: Class, action: Action, index: &str) -> Result<(), BodyError> {
        if !expression::is_clean(index) {
            return Err(BodyError::IndexName(index.to_owned()));
        }
        let index = if index == "_all" { "*" } else { index };
        self.hidden |= expression::is_hidden(index);
        if !self.targets.iter().any(|known| known.class == class && known.action == action && known.index == index) {
            self.targets.push(BodyTarget { class, action, index: index.to_owned() });
        }
        Ok(())
    }

    /// Adds a comma-separated list, as the engine splits it. Empty means all indices.
    pub(super) fn add_list(&mut self, class: Class, action: Action, list: &str) -> Result<(), BodyError> {
        if list.is_empty() {
            return self.add(class, action, "*");
        }
        list.split(',').try_for_each(|index| self.add(class, action, index))
    }
}
