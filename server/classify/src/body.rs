//! Bodies that name indices: how each operation's body is read, and what it adds to the targets.
//!
//! A body that is inspected must be JSON in UTF-8, plain or with gzip ([`check_content`](crate::check_content)); what
//! is said here of its bytes is said of those that come out of the [`GzipReader`](crate::GzipReader).

pub mod bulk;
pub mod content;
pub mod gzip;
pub mod msearch;

mod aliases;
mod cluster;
mod definition;
pub(crate) mod handles;
pub(crate) mod inspection;
mod lines;
mod list;
mod mget;
mod mtermvectors;
mod rank_eval;
mod reindex;
pub mod restricted;
mod saved_objects;
mod search;
pub(crate) mod settings;
mod template;
mod update;

use self::inspection::Inspection;
use crate::class::{Action, Class};
use crate::error::BodyError;

/// How the body of an operation must be inspected before it may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// It names no index. It passes unread, or the operation has none.
    Opaque,
    /// Action and source lines: [`BulkScanner`](crate::BulkScanner).
    Bulk {
        /// The index of actions that name none.
        default_index: Option<String>,
        /// A pipeline is named for the whole request; `_none` names none.
        pipeline: bool,
        /// The query asks for the documents that updates change.
        returns_source: bool,
    },
    /// Header and query lines: [`MsearchScanner`](crate::MsearchScanner).
    Msearch {
        /// The targets of headers that name none. Never empty.
        default: Vec<String>,
    },
    /// `docs` or `ids`.
    Mget {
        /// The index of documents that name none.
        default_index: Option<String>,
    },
    /// `docs`, `ids` and what they share.
    Mtermvectors {
        /// The index of documents that name none.
        default_index: Option<String>,
    },
    /// A search: the query, and possibly a point in time instead of an index.
    Search,
    /// A query without a point in time.
    Query,
    /// Searches and ratings.
    RankEval,
    /// A source and a destination.
    Reindex,
    /// Steps that add and remove aliases, or delete indices.
    Aliases,
    /// Definition of an alias, whose body may name other indices and another alias.
    Alias,
    /// Definition of an index, whose body may name aliases.
    Create,
    /// Definition of a template, which may give aliases to indices made later.
    Template,
    /// Settings of indices, which may name pipelines.
    Settings,
    /// A question about a shard.
    Explain,
    /// Commands that move shards.
    Reroute,
    /// Scroll or point-in-time ids.
    Handles,
    /// A list of saved objects of Dashboards, each with its type.
    SavedObjects,
    /// What is to be exported from Dashboards.
    Export,
    /// An update of a document, which also reads it if the body says so.
    Update {
        /// The operation's targets, on which reading needs a right of its own.
        indices: Vec<String>,
    },
}

impl Body {
    /// Whether the body must be inspected at all.
    #[must_use]
    pub const fn is_inspected(&self) -> bool {
        !matches!(self, Self::Opaque)
    }

    /// Whether the body is read line by line with a scanner, in constant memory.
    #[must_use]
    pub const fn is_streamed(&self) -> bool {
        matches!(self, Self::Bulk { .. } | Self::Msearch { .. })
    }

    /// Inspects a whole body. An empty one adds nothing, as long as the operation takes that.
    ///
    /// # Errors
    /// The body cannot be read, or not in one way only. It must not be forwarded.
    pub fn inspect(&self, body: &[u8]) -> Result<Inspection, BodyError> {
        let mut found = Inspection::default();
        match self {
            Self::Opaque => {}
            Self::Bulk { default_index, pipeline, returns_source } => {
                let mut scanner = bulk::BulkScanner::new(default_index.as_deref(), *pipeline, *returns_source);
                scanner.feed(body, |item| {
                    if item.pipeline && !found.pipelines.contains(&(item.class, item.action)) {
                        found.pipelines.push((item.class, item.action));
                    }
                    found.add(item.class, item.action, item.index)
                })?;
                scanner.finish()?;
            }
            Self::Msearch { default } => {
                let mut scanner = msearch::MsearchScanner::new(default.clone(), body.len());
                scanner.feed(body, |item| {
                    found.hidden |= item.hidden;
                    item.targets.iter().try_for_each(|index| found.add(Class::Search, Action::Search, index))?;
                    item.body.targets.iter().try_for_each(|t| found.add(t.class, t.action, &t.index))?;
                    found.pits.extend(item.body.pits.iter().cloned());
                    Ok::<(), BodyError>(())
                })?;
                scanner.finish()?;
            }
            _ if body.is_empty() => {}
            Self::Mget { default_index } => mget::inspect(body, default_index.as_deref(), &mut found)?,
            Self::Mtermvectors { default_index } => {
                mtermvectors::inspect(body, default_index.as_deref(), &mut found)?;
            }
            Self::SavedObjects => saved_objects::inspect_list(body, &mut found)?,
            Self::Export => saved_objects::inspect_export(body, &mut found)?,
            Self::Search => search::inspect(body, true, &mut found)?,
            Self::Query => search::inspect(body, false, &mut found)?,
            Self::RankEval => rank_eval::inspect(body, &mut found)?,
            Self::Reindex => reindex::inspect(body, &mut found)?,
            Self::Aliases => aliases::inspect(body, &mut found)?,
            Self::Template => template::inspect(body, &mut found)?,
            Self::Explain => cluster::inspect_explain(body, &mut found)?,
            Self::Reroute => cluster::inspect_reroute(body, &mut found)?,
            Self::Alias => definition::inspect_alias(body, &mut found)?,
            Self::Handles => handles::inspect(body, &mut found)?,
            Self::Create => definition::inspect_create(body, &mut found)?,
            Self::Settings => settings::inspect(body, &mut found)?,
            Self::Update { indices } => {
                if update::reads_document(body)? {
                    indices.iter().try_for_each(|index| found.add(Class::Get, Action::Get, index))?;
                }
            }
        }
        Ok(found)
    }
}
