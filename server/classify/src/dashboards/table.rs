//! What the API of OpenSearch Dashboards does: one line for each route. The first that fits decides, so that literals stand
//! before captures. To teach the gateway another route, add a line, and a request to the tests.

use crate::class::{Action, Class};
use crate::table::Method;

/// A route of Dashboards.
pub(super) struct Route {
    pub(super) methods: &'static [Method],
    /// `{type}` is a type of saved objects, `{id}` any segment, `**` whatever follows, also nothing.
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) class: Class,
    pub(super) action: Action,
    pub(super) kind: Kind,
}

/// What else there is to a route.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// About the type in the path, or about any.
    Plain,
    /// About any type, and may replace what is there.
    Replacing,
    /// About the types in the query.
    Find,
    /// About the types in the body.
    List,
    Export,
    /// A call to the engine.
    Console,
    Fields,
    /// Never granted to a scoped token.
    Denied(&'static str),
}

const GET: &[Method] = &[Method::Get];
const POST: &[Method] = &[Method::Post];
const PUT: &[Method] = &[Method::Put];
const DELETE: &[Method] = &[Method::Delete];
const ALL: &[Method] = &[Method::Get, Method::Post, Method::Put, Method::Delete, Method::Patch];

const PASSED_ON: &str =
    "Dashboards has the engine do what stands in the body; ask the engine itself, or by `/api/console/proxy`";
const SECURITY: &str = "security administration belongs to the cluster's operator";
const LOGIN: &str = "a token needs no session at Dashboards";

const fn route(
    methods: &'static [Method],
    path: &'static str,
    name: &'static str,
    class: Class,
    action: Action,
    kind: Kind,
) -> Route {
    Route { methods, path, name, class, action, kind }
}

const fn denied(path: &'static str, name: &'static str, why: &'static str) -> Route {
    Route { methods: ALL, path, name, class: Class::Denied, action: Action::Denied, kind: Kind::Denied(why) }
}

use Action::{Create, Delete, Describe, Get, Update};
use Class::{DashboardsManage as MANAGE, DashboardsRead as READ, DashboardsWrite as WRITE};
use Kind::{Export, Find, List, Plain, Replacing};

#[rustfmt::skip]
pub(super) static ROUTES: &[Route] = &[
    // --- Dashboards itself
    route(GET,    "/api/status",                                "dashboards.status",                   READ,   Describe, Plain),
    route(GET,    "/api/v1/auth/authinfo",                      "dashboards.authinfo",                 Class::Info, Action::Info, Plain),

    // --- saved objects
    route(GET,    "/api/saved_objects/_find",                   "saved_objects.find",                  READ,   Get,      Find),
    route(POST,   "/api/saved_objects/_bulk_get",               "saved_objects.bulk_get",              READ,   Get,      List),
    route(POST,   "/api/saved_objects/_export",                 "saved_objects.export",                READ,   Get,      Export),
    route(POST,   "/api/saved_objects/_bulk_create",            "saved_objects.bulk_create",           WRITE,  Create,   List),
    route(PUT,    "/api/saved_objects/_bulk_update",            "saved_objects.bulk_update",           WRITE,  Update,   List),
    route(POST,   "/api/saved_objects/_import",                 "saved_objects.import",                WRITE,  Create,   Plain),
    route(POST,   "/api/saved_objects/_resolve_import_errors",  "saved_objects.resolve_import_errors", WRITE,  Create,   Replacing),
    route(GET,    "/api/saved_objects/{type}/{id}",             "saved_objects.get",                   READ,   Get,      Plain),
    route(POST,   "/api/saved_objects/{type}",                  "saved_objects.create",                WRITE,  Create,   Plain),
    route(POST,   "/api/saved_objects/{type}/{id}",             "saved_objects.create",                WRITE,  Create,   Plain),
    route(PUT,    "/api/saved_objects/{type}/{id}",             "saved_objects.update",                WRITE,  Update,   Plain),
    route(DELETE, "/api/saved_objects/{type}/{id}",             "saved_objects.delete",                WRITE,  Delete,   Plain),
    route(GET,    "/api/opensearch-dashboards/dashboards/export", "saved_objects.export_dashboard",    READ,   Get,      Plain),
    route(POST,   "/api/opensearch-dashboards/dashboards/import", "saved_objects.import_dashboard",    WRITE,  Create,   Replacing),
    denied("/internal/saved_objects/**", "saved_objects.migrate", "it migrates every object of Dashboards"),

    // --- settings and workspaces
    route(GET,    "/api/opensearch-dashboards/settings",        "dashboards.get_settings",             READ,   Describe, Plain),
    route(POST,   "/api/opensearch-dashboards/settings",        "dashboards.put_settings",             MANAGE, Update,   Plain),
    route(POST,   "/api/opensearch-dashboards/settings/{id}",   "dashboards.put_settings",             MANAGE, Update,   Plain),
    route(DELETE, "/api/opensearch-dashboards/settings/{id}",   "dashboards.put_settings",             MANAGE, Update,   Plain),
    route(POST,   "/api/workspaces/_list",                      "workspaces.list",                     READ,   Describe, Plain),
    route(GET,    "/api/workspaces/{id}",                       "workspaces.get",                      READ,   Describe, Plain),
    route(POST,   "/api/workspaces",                            "workspaces.create",                   MANAGE, Create,   Plain),
    route(PUT,    "/api/workspaces/{id}",                       "workspaces.update",                   MANAGE, Update,   Plain),
    route(DELETE, "/api/workspaces/{id}",                       "workspaces.delete",                   MANAGE, Delete,   Plain),
    route(POST,   "/api/workspaces/_duplicate_saved_objects",   "workspaces.duplicate_saved_objects",  MANAGE, Create,   Plain),

    // --- ways to the engine
    route(POST,   "/api/console/proxy",                         "console.proxy",                       Class::Denied, Action::Denied, Kind::Console),
    route(GET,    "/api/index_patterns/_fields_for_wildcard",   "index_patterns.fields",               Class::Denied, Action::Denied, Kind::Fields),
    denied("/api/index_patterns/**",        "index_patterns.other",         PASSED_ON),
    denied("/api/console/**",               "console.other",                PASSED_ON),
    denied("/internal/search/**",           "dashboards.search",            PASSED_ON),
    denied("/internal/_msearch",            "dashboards.msearch",           PASSED_ON),
    denied("/api/enhancements/**",          "dashboards.query_enhancements", PASSED_ON),
    denied("/api/ppl/**",                   "dashboards.ppl",               PASSED_ON),
    denied("/api/sql/**",                   "dashboards.sql",               PASSED_ON),
    denied("/api/sql_console/**",           "dashboards.sql",               PASSED_ON),
    denied("/api/observability/**",         "dashboards.observability",     PASSED_ON),
    denied("/api/alerting/**",              "dashboards.alerting",          PASSED_ON),
    denied("/api/anomaly_detectors/**",     "dashboards.anomaly_detectors", PASSED_ON),
    denied("/api/ism/**",                   "dashboards.index_management",  PASSED_ON),
    denied("/api/notifications/**",         "dashboards.notifications",     PASSED_ON),
    denied("/api/reporting/**",             "dashboards.reporting",         PASSED_ON),
    denied("/api/dataconnections/**",       "dashboards.data_sources",      "another data source has credentials of its own"),
    denied("/internal/data-source-management/**", "dashboards.data_sources", "another data source has credentials of its own"),

    // --- security
    denied("/api/v1/configuration/**",      "dashboards.security",          SECURITY),
    denied("/api/v1/auth/**",               "dashboards.auth",              LOGIN),
    denied("/auth/**",                      "dashboards.login",             LOGIN),
];
