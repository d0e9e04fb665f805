use super::*;

fn read(line: &str) -> Result<Operation, ClassifyError> {
    let (method, target) = line.split_once(' ').unwrap();
    classify_dashboards(method, target)
}

fn types(line: &str) -> Vec<String> {
    match read(line).unwrap().targets {
        Targets::Dashboards(types) => types,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn every_route_is_what_its_line_says() {
    for (line, name, class, action) in [
        ("GET /api/status", "dashboards.status", Class::DashboardsRead, Action::Describe),
        ("HEAD /api/status", "dashboards.status", Class::DashboardsRead, Action::Describe),
        ("GET /api/v1/auth/authinfo", "dashboards.authinfo", Class::Info, Action::Info),
        ("GET /api/saved_objects/_find?type=dashboard", "saved_objects.find", Class::DashboardsRead, Action::Get),
        ("POST /api/saved_objects/_bulk_get", "saved_objects.bulk_get", Class::DashboardsRead, Action::Get),
        ("POST /api/saved_objects/_export", "saved_objects.export", Class::DashboardsRead, Action::Get),
        ("POST /api/saved_objects/_bulk_create", "saved_objects.bulk_create", Class::DashboardsWrite, Action::Create),
        ("PUT /api/saved_objects/_bulk_update", "saved_objects.bulk_update", Class::DashboardsWrite, Action::Update),
        ("POST /api/saved_objects/_import", "saved_objects.import", Class::DashboardsWrite, Action::Create),
        ("GET /api/saved_objects/dashboard/_x", "saved_objects.get", Class::DashboardsRead, Action::Get),
        ("POST /api/saved_objects/dashboard", "saved_objects.create", Class::DashboardsWrite, Action::Create),
        ("POST /api/saved_objects/dashboard/7/", "saved_objects.create", Class::DashboardsWrite, Action::Create),
        ("PUT /w/ws-1/api/saved_objects/dashboard/7", "saved_objects.update", Class::DashboardsWrite, Action::Update),
        ("DELETE /api/saved_objects/query/a%2Fb", "saved_objects.delete", Class::DashboardsWrite, Action::Delete),
        ("POST /api/workspaces/_list", "workspaces.list", Class::DashboardsRead, Action::Describe),
        ("GET /api/workspaces/abc", "workspaces.get", Class::DashboardsRead, Action::Describe),
        ("PUT /api/workspaces/abc", "workspaces.update", Class::DashboardsManage, Action::Update),
        (
            "POST /api/opensearch-dashboards/settings",
            "dashboards.put_settings",
            Class::DashboardsManage,
            Action::Update,
        ),
    ] {
        let operation = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!((operation.name, operation.class, operation.action), (name, class, action), "{line}");
    }
}

#[test]
fn types_come_from_path_query_or_body_and_else_may_be_any() {
    assert_eq!(types("GET /api/saved_objects/index-pattern/7"), ["index-pattern"]);
    assert_eq!(types("GET /api/saved_objects/_find?type=dashboard&type=query&per_page=5"), ["dashboard", "query"]);
    for any in [
        "GET /api/saved_objects/_find",
        "GET /api/saved_objects/_find?type=%5B%22config%22%5D",
        "GET /api/saved_objects/_find?type=dashboard&type=",
        "POST /api/saved_objects/_import",
        "GET /api/status",
    ] {
        assert_eq!(types(any), ["*"], "{any}");
    }
    for line in ["POST /api/saved_objects/_bulk_get", "POST /api/saved_objects/_export"] {
        let operation = read(line).unwrap();
        assert_eq!(operation.targets, Targets::Body);
        assert!(operation.body.is_inspected());
    }
}

#[test]
fn what_replaces_needs_a_second_right() {
    let also = |line: &str| read(line).unwrap().also.map(|(_, action)| action);
    assert_eq!(also("POST /api/saved_objects/dashboard/7"), None);
    assert_eq!(also("POST /api/saved_objects/_import?overwrite=false"), None);
    for line in [
        "POST /api/saved_objects/dashboard/7?overwrite=true",
        "POST /api/saved_objects/_import?overwrite=true",
        "POST /api/saved_objects/_import?overwrite=false&%6fverwrite=true",
        "POST /api/saved_objects/_bulk_create?overwrite",
        "POST /api/saved_objects/_resolve_import_errors",
    ] {
        assert_eq!(also(line), Some(Action::Update), "{line}");
    }
}

#[test]
fn what_another_reader_could_take_for_something_else_is_refused() {
    for line in [
        "POST /api/saved_objects/%5fexport",
        "POST /api/saved_objects/%5Fexport",
        "GET /api/%73tatus",
        "GET /%61pi/status",
        "POST /api/console%2Fproxy?method=GET&path=_search",
        "GET /api//status",
        "GET /api/./status",
        "GET /api/saved_objects/..%2f/x",
        "GET /API/status",
        "GET /api/saved_objects/_FIND",
        "GET /api/saved_objects/a*b/1",
        "GET /api/saved_objects/dashboard",
        "GET /w/a/w/b/api/status",
        "GET /w/api/status",
        "GET /app/home",
        "GET /",
        "GET /api/status?security_tenant=admin",
        "GET /api/status?securitytenant=admin",
        "GET /api/status?securityTenant_=admin",
        "GET /api/status?security%5Ftenant=admin",
        "GET /api/status?authorization=eyJ",
        "GET /api/status?dataSourceId=1",
        "GET /api/status?a=%zz",
        "POST /api/saved_objects/_find",
        "TRACE /api/status",
    ] {
        assert!(read(line).is_err(), "{line}");
    }
    assert_eq!(read("PUT /api/status").unwrap_err().status(), 405);
}

#[test]
fn other_ways_to_the_engine_are_denied_with_a_reason() {
    for line in [
        "POST /internal/search/opensearch",
        "POST /internal/search/opensearch-with-long-numerals/1",
        "POST /internal/_msearch",
        "POST /api/enhancements/search/sql",
        "POST /api/ppl/search",
        "POST /api/ppl",
        "POST /api/sql/query",
        "GET /api/index_patterns/_fields_for_time_pattern?pattern=a",
        "POST /api/console/api_server",
        "PUT /api/console/proxy?method=GET&path=_search",
        "POST /api/reporting/generateReport",
        "POST /api/alerting/monitors/_execute",
        "GET /api/v1/configuration/roles",
        "POST /auth/login",
        "POST /internal/saved_objects/_migrate",
        "GET /w/ws-1/api/ism/policies",
    ] {
        let operation = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!((operation.class, operation.denied.is_some()), (Class::Denied, true), "{line}");
    }
}

#[test]
fn a_console_call_is_the_engine_s_operation() {
    for (path, inner) in [
        ("_search", "/_search"),
        ("/logs-a/_search", "/logs-a/_search"),
        ("logs-*%2Cpii%2F_search%3Fq%3D1%26expand_wildcards%3Dall", "/logs-*,pii/_search?q=1&expand_wildcards=all"),
        ("%2Flogs-a%2Fb%252Fc", "/logs-a/b%2Fc"),
        ("_cat/indices?v=true", "/_cat/indices?v=true"),
        ("%3Clogs-%7Bnow%252Fd%7D%3E/_search", "/<logs-{now%2Fd}>/_search"),
    ] {
        for method in ["GET", "POST", "DELETE"] {
            let expected = crate::classify(method, inner).map_err(|error| error.to_string());
            let line = format!("POST /api/console/proxy?path={path}&method={method}");
            assert_eq!(read(&line).map_err(|error| error.to_string()), expected, "{line}");
        }
    }
    let other_order = read("POST /w/ws-1/api/console/proxy?method=GET&path=logs-a/_search").unwrap();
    assert_eq!((other_order.name, other_order.class), ("search", Class::Search));
}

#[test]
fn a_console_call_that_can_be_read_in_two_ways_is_refused() {
    for query in [
        "",
        "path=_search",
        "method=GET",
        "path=&method=GET",
        "path=_search&method=get",
        "path=_search&method=GET&method=DELETE",
        "path=_search&path=pii/_search&method=GET",
        "path=_search&method=GET&dataSourceId=1",
        "path=_search&method=GET&x=1",
        "path=_search&method=CONNECT",
        "path=_search&method=GET%20",
        "path=//logs-a/_search&method=GET",
        "path=%2F%2Flogs-a/_search&method=GET",
        "path=logs-a/../pii/_search&method=GET",
        "path=logs-a/%252e%252e/pii/_search&method=GET",
        "path=logs-a/.%252E/pii/_search&method=GET",
        "path=logs-a%5C..%5Cpii/_search&method=GET",
        "path=logs-a/_search%23x&method=GET",
        "path=logs-a%09/_search&method=GET",
        "path=logs-a%0A/_search&method=GET",
        "path=logs-a+/_search&method=GET",
        "path=logs-a/_search%20&method=GET",
        "path=pii%C3%A4/_search&method=GET",
        "path=http://pii/_search&method=GET",
        "path=logs-a/_count%3Fa%3D1%3Bindex%3Dpii&method=GET",
        "path=logs-a/_count%3Fa%3D%25zz&method=GET",
        "path=logs-a/_count%3Fa%3D%25ff&method=GET",
        "path=logs-a/_search%3Fsource%3D%7B%7D%26source_content_type%3Dapplication/json&method=GET",
    ] {
        let line = format!("POST /api/console/proxy?{query}");
        assert!(read(&line).is_err(), "{line}: {:?}", read(&line));
    }
}

#[test]
fn fields_of_a_pattern_need_the_right_to_search_it() {
    let operation = read("GET /api/index_patterns/_fields_for_wildcard?pattern=logs-*,pii&meta_fields=_id").unwrap();
    assert_eq!((operation.name, operation.class), ("field_caps", Class::Search));
    assert_eq!(operation.targets, Targets::Indices(vec!["logs-*".to_owned(), "pii".to_owned()]));
    for query in ["", "pattern=", "pattern=a&pattern=b", "pattern=a%2Fb", "pattern=a%3Fb", "pattern=%25"] {
        let line = format!("GET /api/index_patterns/_fields_for_wildcard?{query}");
        assert!(read(&line).is_err(), "{line}");
    }
}

#[test]
fn a_websocket_is_about_objects_of_any_type() {
    for (class, action) in [
        (Class::DashboardsRead, Action::Get),
        (Class::DashboardsWrite, Action::Update),
        (Class::DashboardsManage, Action::Update),
    ] {
        let operation = classify_dashboards_websocket("/api/events?a=b", class).unwrap();
        assert_eq!((operation.name, operation.class, operation.action), ("dashboards.websocket", class, action));
        assert_eq!((operation.targets, operation.body), (Targets::Dashboards(vec!["*".to_owned()]), Body::Opaque));
    }
    for target in
        ["/api/events?authorization=x", "/api/events?security_tenant=x", "/api/events?dataSourceId=1", "/api/%65vents"]
    {
        assert!(classify_dashboards_websocket(target, Class::DashboardsRead).is_err(), "{target}");
    }
}
