//! What a request needs: the permission class, and the Cedar action.

/// The permission class of an operation: what a scope verb grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The node's greeting. For every authenticated client with at least one scope.
    Info,
    /// Search, count, scroll, point in time, validate, field capabilities.
    Search,
    /// Documents by id.
    Get,
    /// What a reader may know of an index: mappings, settings, aliases, existence.
    Metadata,
    /// Writes that can only add.
    Append,
    /// Writes that can change or delete documents.
    Write,
    /// State of indices: statistics, segments, shards.
    Monitor,
    /// Life of indices: create, delete, mapping, settings, aliases, refresh, data streams.
    Manage,
    /// State of the cluster and its nodes.
    ClusterMonitor,
    /// Templates, pipelines, stored scripts, repositories, snapshots; the whole cluster state, which holds them.
    ClusterManage,
    /// Cluster settings, reroute, ending tasks.
    ClusterAdmin,
    /// What OpenSearch Dashboards holds, read: saved objects, settings, workspaces, state. These three are not produced by the
    /// engine's table.
    DashboardsRead,
    /// Its saved objects, made, changed or deleted.
    DashboardsWrite,
    /// Its settings and workspaces.
    DashboardsManage,
    /// Known by name, never granted to a scoped token.
    Denied,
}

impl Class {
    /// Whether the class is granted on the cluster as a whole, not on indices.
    #[must_use]
    pub const fn is_cluster(self) -> bool {
        matches!(self, Self::Info | Self::ClusterMonitor | Self::ClusterManage | Self::ClusterAdmin)
    }

    /// Whether the class is granted on Dashboards.
    #[must_use]
    pub const fn is_dashboards(self) -> bool {
        matches!(self, Self::DashboardsRead | Self::DashboardsWrite | Self::DashboardsManage)
    }

    /// Name for messages, metrics and the audit log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Search => "search",
            Self::Get => "get",
            Self::Metadata => "metadata",
            Self::Append => "append",
            Self::Write => "write",
            Self::Monitor => "monitor",
            Self::Manage => "manage",
            Self::ClusterMonitor => "cluster_monitor",
            Self::ClusterManage => "cluster_manage",
            Self::ClusterAdmin => "cluster_admin",
            Self::DashboardsRead => "dashboards_read",
            Self::DashboardsWrite => "dashboards_write",
            Self::DashboardsManage => "dashboards_manage",
            Self::Denied => "denied",
        }
    }
}

/// The action of a Cedar request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The node's greeting.
    Info,
    /// Finding documents.
    Search,
    /// Reading documents by id.
    Get,
    /// Reading what an index is: mappings, settings, aliases, existence.
    Describe,
    /// Adding documents or creating an index.
    Create,
    /// Changing documents.
    Update,
    /// Deleting documents, indices or what else has a name.
    Delete,
    /// Reading state.
    Monitor,
    /// Changing indices, templates, pipelines.
    Manage,
    /// Running the cluster.
    Admin,
    /// Operations never granted.
    Denied,
}

impl Action {
    /// Every action, in the order of declaration.
    pub const ALL: [Self; 11] = [
        Self::Info,
        Self::Search,
        Self::Get,
        Self::Describe,
        Self::Create,
        Self::Update,
        Self::Delete,
        Self::Monitor,
        Self::Manage,
        Self::Admin,
        Self::Denied,
    ];

    /// The Cedar entity id: `Action::"search"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Search => "search",
            Self::Get => "get",
            Self::Describe => "describe",
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Monitor => "monitor",
            Self::Manage => "manage",
            Self::Admin => "admin",
            Self::Denied => "denied",
        }
    }
}
