//! The static roles of the gateway in the engine's security configuration.

use oauth4os_classify::Action;

use crate::forbids::Actions;
use crate::restriction::MAX_ROW_FILTERS;
use crate::scope::{Scope, Target, Verb};

/// A static role of the gateway in the engine's security configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EngineRole {
    /// Every index action, on the pattern of `o4s_admin`.
    Admin,
    /// The names of indices, aliases and data streams, and nothing in them: the gateway's own, for its [`Catalog`].
    Catalog,
    /// Cluster settings and tasks.
    ClusterAdmin,
    /// Templates, pipelines, stored scripts, repositories.
    ClusterManage,
    /// State of cluster and nodes.
    ClusterMonitor,
    /// What OpenSearch Dashboards needs to read its saved objects for the user.
    DashboardsRead,
    /// What it needs to change them.
    DashboardsWrite,
    /// The life of indices, on the pattern of `o4s_manage`.
    Manage,
    /// Statistics of indices, on the pattern of `o4s_monitor`.
    Monitor,
    /// Reading documents and mappings, on the pattern of `o4s_read`.
    Read,
    /// Searching, on the pattern of `o4s_search`.
    Search,
    /// Writing documents, on the pattern of `o4s_write`.
    Write,
}

impl EngineRole {
    /// Every role.
    pub const ALL: [Self; 12] = [
        Self::Admin,
        Self::Catalog,
        Self::ClusterAdmin,
        Self::ClusterManage,
        Self::ClusterMonitor,
        Self::DashboardsRead,
        Self::DashboardsWrite,
        Self::Manage,
        Self::Monitor,
        Self::Read,
        Self::Search,
        Self::Write,
    ];

    /// The name of the role, and of the backend role mapped to it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "oauth4os_admin",
            Self::Catalog => "oauth4os_catalog",
            Self::ClusterAdmin => "oauth4os_cluster_admin",
            Self::ClusterManage => "oauth4os_cluster_manage",
            Self::ClusterMonitor => "oauth4os_cluster_monitor",
            Self::DashboardsRead => "oauth4os_dashboards_read",
            Self::DashboardsWrite => "oauth4os_dashboards_write",
            Self::Manage => "oauth4os_manage",
            Self::Monitor => "oauth4os_monitor",
            Self::Read => "oauth4os_read",
            Self::Search => "oauth4os_search",
            Self::Write => "oauth4os_write",
        }
    }

    /// The claim that carries the role's index pattern (`${attr.jwt.o4s_read}`); `None` for cluster roles.
    pub const fn claim(self) -> Option<&'static str> {
        match self {
            Self::Admin => Some("o4s_admin"),
            Self::Manage => Some("o4s_manage"),
            Self::Monitor => Some("o4s_monitor"),
            Self::Read => Some("o4s_read"),
            Self::Search => Some("o4s_search"),
            Self::Write => Some("o4s_write"),
            Self::Catalog
            | Self::ClusterAdmin
            | Self::ClusterManage
            | Self::ClusterMonitor
            | Self::DashboardsRead
            | Self::DashboardsWrite => None,
        }
    }

    /// The actions of everything the role is for: on names where policies forbid all of these, it is for nothing.
    pub const fn actions(self) -> Actions {
        const MANAGEMENT: Actions = Actions::of(&[Action::Manage, Action::Create, Action::Delete]);
        const STATE: Actions = Actions::of(&[Action::Monitor, Action::Describe]);
        match self {
            Self::Read => Actions::READ,
            Self::Search => Actions::of(&[Action::Search]),
            Self::Write => Actions::WRITE,
            Self::Monitor => STATE,
            Self::Manage => MANAGEMENT.and(STATE),
            Self::Admin
            | Self::Catalog
            | Self::ClusterAdmin
            | Self::ClusterManage
            | Self::ClusterMonitor
            | Self::DashboardsRead
            | Self::DashboardsWrite => Actions::ALL,
        }
    }

    /// The role that enforces a scope; `None` where the engine has no part in it.
    ///
    /// Dashboards reads objects before it changes them, so that to the engine `write:dashboards` can do both.
    /// `ingest` has no role of its own: to the engine, adding and changing documents are one action.
    pub fn of(scope: &Scope) -> Option<Self> {
        match (scope.target(), scope.verb()) {
            (Target::Cluster, Verb::Admin) => Some(Self::ClusterAdmin),
            (Target::Cluster, Verb::Manage) => Some(Self::ClusterManage),
            (Target::Cluster, Verb::Monitor) => Some(Self::ClusterMonitor),
            (Target::Dashboards, Verb::Read) => Some(Self::DashboardsRead),
            (Target::Dashboards, Verb::Admin | Verb::Manage | Verb::Write) => Some(Self::DashboardsWrite),
            (Target::Cluster | Target::Dashboards | Target::Gateway, _) => None,
            (Target::Indices(_), Verb::Admin) => Some(Self::Admin),
            (Target::Indices(_), Verb::Manage) => Some(Self::Manage),
            (Target::Indices(_), Verb::Monitor) => Some(Self::Monitor),
            (Target::Indices(_), Verb::Read) => Some(Self::Read),
            (Target::Indices(_), Verb::Search) => Some(Self::Search),
            (Target::Indices(_), Verb::Ingest | Verb::Write) => Some(Self::Write),
        }
    }
}

/// A static role for reading under a restriction: with the row filter of a slot, with the fields of a set, or both.
///
/// Each carries its own actions: nothing depends on how the plugin joins a filtered role with an unfiltered one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RestrictedRole {
    /// The slot of its row filter, from 1.
    pub slot: Option<usize>,
    /// Its field set.
    pub fields: Option<String>,
}

impl RestrictedRole {
    /// Every such role, for the field sets of these names.
    pub fn all<'a>(field_sets: impl Iterator<Item = &'a String>) -> Vec<Self> {
        let slots = || (1..=MAX_ROW_FILTERS).map(Some);
        let mut all: Vec<Self> = slots().map(|slot| Self { slot, fields: None }).collect();
        for name in field_sets {
            let of_set = |slot| Self { slot, fields: Some(name.clone()) };
            all.extend(std::iter::once(None).chain(slots()).map(of_set));
        }
        all
    }

    /// What its name and the names of its claims end with: `rows_1`, `fields_slim`, `rows_1_fields_slim`.
    fn suffix(&self) -> String {
        match (self.slot, &self.fields) {
            (Some(slot), None) => format!("rows_{slot}"),
            (None, Some(set)) => format!("fields_{set}"),
            (Some(slot), Some(set)) => format!("rows_{slot}_fields_{set}"),
            (None, None) => "unrestricted".to_owned(),
        }
    }

    /// The name of the role, and of the backend role mapped to it.
    pub fn name(&self) -> String {
        format!("oauth4os_{}", self.suffix())
    }

    /// The claims with the patterns of the indices and of the data streams that may be read.
    pub fn read_claims(&self) -> [String; 2] {
        ["o4s_read", "o4s_read_streams"].map(|claim| format!("{claim}_{}", self.suffix()))
    }

    /// The claims with the patterns of the indices and of the data streams that may only be searched.
    pub fn search_claims(&self) -> [String; 2] {
        ["o4s_search", "o4s_search_streams"].map(|claim| format!("{claim}_{}", self.suffix()))
    }

    /// The claim with the row filter.
    pub fn filter_claim(&self) -> Option<String> {
        self.slot.map(|slot| format!("o4s_filter_{slot}"))
    }
}
