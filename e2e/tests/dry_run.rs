//! Every operation of the table, put to the engine's own permission dry run (`perform_permission_check=true`) under the
//! identity of each verb, and compared with the gateway's decision: never wider than the engine, and where it is narrower,
//! `server/classify/narrower.txt` says so and why. What the engine could not be asked is in
//! `server/classify/not_asked.txt`. Both files are held line by line.
//!
//! `OAUTH4OS_WRITE_LISTS=1` writes what was found into the files, with the reasons they already have; a new line has to
//! be given one.
//!
//! The dry run judges the first action that a request leads to and carries out none of it. What it says of a request that
//! leads to several actions (`_bulk`, `_mget`, `_reindex`) is therefore the least the engine asks for; that each item is
//! judged by itself is shown in `two_walls.rs` and `bodies.rs`.

#[path = "dry_run/lists.rs"]
mod lists;
#[path = "dry_run/requests.rs"]
mod requests;

use std::collections::{BTreeMap, BTreeSet};

use e2e::{Answer, Client, Engine, Gateway, Settings};
use lists::{Narrower, NotAsked};
use requests::{Route, routes};
use serde_json::Value;

/// A name for each verb and the scope it stands for. The indices of the data that match are those of the requests.
const VERBS: [(&str, &str); 10] = [
    ("search", "search:logs-*"),
    ("read", "read:logs-*"),
    ("ingest", "ingest:logs-*"),
    ("write", "write:logs-*"),
    ("monitor", "monitor:logs-*"),
    ("manage", "manage:logs-*"),
    ("admin", "admin:logs-*"),
    ("monitor_cluster", "monitor:cluster"),
    ("manage_cluster", "manage:cluster"),
    ("admin_cluster", "admin:cluster"),
];

const DRY_RUN: &str = "perform_permission_check=true";

fn settings() -> Settings {
    VERBS.iter().fold(Settings::new(), |settings, (name, scope)| settings.client(&client(name), &[scope]))
}

/// The id of a verb's client.
fn client(verb: &str) -> String {
    format!("dry-run-{verb}")
}

/// What the engine says of a request.
#[derive(Debug)]
enum AtEngine {
    Permits,
    /// With the privileges that are missing, as far as it names them.
    Refuses(String),
    /// It does not come to a decision; what it answers instead.
    Undecided(String),
}

#[test]
fn the_gateway_is_never_wider_than_the_engine() {
    if Engine::get().is_2() {
        return is_refused_by_2();
    }
    let gateway = Gateway::start(settings());
    let engine = Gateway::start(settings().engine_decides());
    let clients: Vec<(&str, Client, Client)> =
        VERBS.iter().map(|(name, _)| (*name, gateway.with(&client(name)), engine.with(&client(name)))).collect();
    let before = cluster();

    let mut wider = Vec::new();
    let mut narrower = Narrower::default();
    let mut not_asked = NotAsked::default();
    let (mut compared, mut permitted) = (0, 0);
    for route in routes(&an_index()) {
        for (verb, at_gateway, at_engine) in &clients {
            let says = ask(at_engine, &route);
            let allows = is_allowed(&at_gateway_of(at_gateway, &route));
            match says {
                AtEngine::Undecided(answer) => {
                    not_asked.add(&route, &answer);
                    if allows {
                        not_asked.grant(&route, verb);
                    }
                    if answer == lists::NO_HANDLER {
                        break;
                    }
                    continue;
                }
                AtEngine::Refuses(missing) if allows => wider.push(format!("{route} for {verb}: {missing}")),
                AtEngine::Permits if !allows => narrower.add(&route, verb),
                AtEngine::Permits => permitted += 1,
                AtEngine::Refuses(_) => {}
            }
            compared += 1;
        }
    }
    println!("{compared} decisions compared, {permitted} permitted by both");
    assert_eq!(cluster(), before, "something was done");
    let (narrower, not_asked) = (narrower.compare(), not_asked.compare());
    assert!(wider.is_empty(), "{} requests pass the gateway and not the engine:\n{}", wider.len(), wider.join("\n"));
    assert!(narrower.is_empty(), "{narrower}");
    assert!(not_asked.is_empty(), "{not_asked}");
    assert!(compared > 3_000 && permitted > 400, "only {compared} compared and {permitted} permitted");
}

/// The dry run came with 3.x: here the parameter is unknown, and that is all a 2.19 says of it.
fn is_refused_by_2() {
    let engine = Gateway::start(settings().engine_decides());
    let answer = engine.with(&client("read")).get(&format!("/logs-*/_search?{DRY_RUN}")).expect(400);
    let reason = answer.json()["error"]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("unrecognized parameter: [perform_permission_check]"), "{reason}");
    println!("OpenSearch {} has no permission dry run: nothing was compared", Engine::get().version);
}

fn ask(client: &Client, route: &Route) -> AtEngine {
    let answer = send(client, route, true);
    let text = answer.text();
    // An answer to HEAD says nothing but its status.
    let is_unknown = text.contains("no handler found for uri") || text.is_empty() && answer.status == 400;
    if is_unknown || answer.status == 405 {
        return AtEngine::Undecided(lists::NO_HANDLER.to_owned());
    }
    if let Some(decision) = decision(&answer) {
        return decision;
    }
    // The handler makes something else of the dry run's answer than JSON. Where the request changes nothing, it is sent
    // without the dry run.
    if !route.changes_nothing {
        return AtEngine::Undecided(lists::describe(&answer));
    }
    let answer = send(client, route, false);
    match answer.status {
        200..=299 | 404 => AtEngine::Permits,
        403 => AtEngine::Refuses(answer.text().chars().take(300).collect()),
        _ => AtEngine::Undecided(lists::describe(&answer)),
    }
}

/// What a dry run's answer says. A HEAD has nothing but the status.
fn decision(answer: &Answer) -> Option<AtEngine> {
    let refuses = || AtEngine::Refuses(answer.text().chars().take(300).collect());
    if answer.status == 403 {
        return Some(refuses());
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    // Some handlers answer 200 whatever the decision is.
    body["accessAllowed"].as_bool().map(|allowed| if allowed { AtEngine::Permits } else { refuses() })
}

fn at_gateway_of(client: &Client, route: &Route) -> Answer {
    send(client, route, true)
}

/// Whether the gateway let it through. Its own refusals carry a challenge, or one of the statuses for what it cannot read.
fn is_allowed(answer: &Answer) -> bool {
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    !challenge.contains("insufficient_scope") && !matches!(answer.status, 400 | 401 | 405 | 415 | 429)
}

fn send(client: &Client, route: &Route, dry_run: bool) -> Answer {
    let mut target = route.target.clone();
    if dry_run {
        target.push(if target.contains('?') { '&' } else { '?' });
        target.push_str(DRY_RUN);
    }
    let mut request = client.request(route.method, &target);
    if let Some((content_type, body)) = &route.body {
        request = request.body(content_type, body.as_str());
    }
    request.send()
}

/// Today's index of applications.
fn an_index() -> String {
    let answer = Engine::get().admin().get("/_cat/indices/logs-app-*?h=index&s=index:desc").expect(200);
    answer.text().lines().next().expect("an index").trim().to_owned()
}

/// What the requests would change if they were carried out.
fn cluster() -> BTreeMap<&'static str, Value> {
    let admin = Engine::get().admin();
    admin.post("/*,-.*/_refresh").expect(200);
    let mut all: BTreeMap<&str, Value> = [
        "/_alias",
        "/_index_template",
        "/_component_template",
        "/_ingest/pipeline",
        "/_search/pipeline",
        "/_snapshot",
        "/_cluster/settings",
        "/logs-*/_mapping",
        "/_scripts/dry-run",
    ]
    .into_iter()
    .map(|target| (target, admin.get(target).send().json()))
    .collect();
    let indices = "/_cat/indices/*,-.*,-top_queries*?h=index,uuid,docs.count,docs.deleted,status&s=index&format=json";
    all.insert(indices, admin.get(indices).expect(200).json());
    all
}

/// The files name no operation the table has not.
#[test]
fn the_lists_name_what_the_table_has() {
    let known: BTreeSet<String> = routes("logs-app").into_iter().map(|route| route.operation).collect();
    for name in lists::Narrower::written_operations() {
        assert!(known.contains(&name), "`{name}` of narrower.txt is not in the table");
    }
}
