//! What a request does: the result of [`classify`](crate::classify).

use crate::body::Body;
use crate::class::{Action, Class};

/// A request, read as the engine will read it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Name in the OpenSearch API, such as `indices.get_mapping`.
    pub name: &'static str,
    /// The permission class it needs.
    pub class: Class,
    /// The Cedar action it is.
    pub action: Action,
    /// A second right it needs on the same targets: its answer or its effect tells or does more than the first one
    /// gives. Both must be permitted.
    pub also: Option<(Class, Action)>,
    /// What it touches, as far as method and URL say.
    pub targets: Targets,
    /// How its body must be inspected before it may pass.
    pub body: Body,
    /// The request reaches hidden indices: `expand_wildcards` includes `hidden` or `all`, or an index expression
    /// begins with a dot.
    pub hidden: bool,
    /// Nothing that exists can be changed: `_create`, `op_type=create`, a document whose id the engine makes.
    pub create_only: bool,
    /// A `pipeline` parameter names an ingest pipeline. It may choose another index, which only the engine sees: it checks the
    /// rights that it has been told of after the pipeline ran.
    pub pipeline: bool,
    /// A parameter asks for what a row filter does not hold for: suggestions, statistics, rewritten queries
    /// ([`past_restriction`](crate::past_restriction) says why).
    pub past_rows: bool,
    /// Scroll ids in path and query. Those in the body come beside them.
    pub handles: Vec<String>,
    /// The answer tells the id of a scroll: it begins one, or goes on with one.
    pub scrolls: bool,
    /// Why scoped tokens never get it. `Some` exactly if `class` is [`Class::Denied`].
    pub denied: Option<&'static str>,
}

impl Operation {
    /// Whether it is the same when it is done twice: it changes nothing, opens nothing, ends nothing, and takes nothing from
    /// what is open, as the next page of a scroll does.
    #[must_use]
    pub fn is_repeatable(&self) -> bool {
        let reads = matches!(
            self.class,
            Class::Info
                | Class::Search
                | Class::Get
                | Class::Metadata
                | Class::Monitor
                | Class::ClusterMonitor
                | Class::DashboardsRead
        );
        reads && !self.scrolls && !matches!(self.name, "clear_scroll" | "create_pit" | "delete_pit")
    }
}

/// What an operation touches, as far as method and URL say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// The cluster as a whole.
    Cluster,
    /// Index expressions, percent-decoded and split at commas. Never empty: no index, `_all` and the empty string
    /// are `*`.
    Indices(Vec<String>),
    /// A scroll or point-in-time id, which carries its own indices.
    Handle,
    /// Saved objects of Dashboards, by their types; `*` for any type. Never empty.
    Dashboards(Vec<String>),
    /// Every target comes from the body: nothing is permitted until the body has been inspected.
    Body,
}
