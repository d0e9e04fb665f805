//! The ids of tasks: to the engine they are the cluster's, whoever began them, and so they are here.

use std::time::Duration;

use e2e::{Answer, Client, Engine, Gateway, OnDrop, Settings, until};
use serde_json::json;

const COPY: &str = "app-logs-e2e-tasks";

fn settings() -> Settings {
    Settings::new()
        .client("copier", &["read:logs-*", "write:app-logs-*"])
        .client("watcher", &["monitor:cluster"])
        .client("operator", &["admin:cluster"])
}

fn cleared() -> OnDrop<impl FnMut()> {
    let clear = || Engine::get().delete_index(COPY);
    clear();
    OnDrop(clear)
}

/// Begins a copy that takes about a minute and a half, and says by which id.
fn begin(client: &Client) -> String {
    let body =
        json!({"source": {"index": Engine::get().log_index(), "size": 10}, "dest": {"index": COPY}, "max_docs": 100});
    let target = "/_reindex?wait_for_completion=false&requests_per_second=1";
    let task = client.post(target).header("x-opaque-id", "e2e-tasks").json(&body).expect(200).json();
    task["task"].as_str().expect("a task").to_owned()
}

fn is_refused_by_the_engine(answer: &Answer) -> bool {
    answer.status == 403 && answer.text().contains("no permissions for")
}

#[test]
fn a_task_is_the_clusters_and_not_its_beginners() {
    let _cleared = cleared();
    let (gateway, undecided) = (Gateway::start(settings()), Gateway::start(settings().engine_decides()));
    let copier = gateway.with("copier");
    let task = begin(&copier);
    let (own, cancel) = (format!("/_tasks/{task}"), format!("/_tasks/{task}/_cancel"));
    let rethrottle = format!("/_reindex/{task}/_rethrottle?requests_per_second=-1");
    for (method, target) in [
        ("GET", own.as_str()),
        ("GET", "/_tasks?detailed=true"),
        ("POST", cancel.as_str()),
        ("POST", rethrottle.as_str()),
    ] {
        let refused = copier.request(method, target).send();
        let needed =
            if method == "GET" { "needs the scope `monitor:cluster`" } else { "needs the scope `admin:cluster`" };
        assert!(refused.status == 403 && refused.text().contains(needed), "{method} {target}: {}", refused.text());
        // The engine makes no difference for who began it.
        let refused = undecided.with("copier").request(method, target).send();
        assert!(is_refused_by_the_engine(&refused), "{method} {target}: {} {}", refused.status, refused.text());
    }

    // Whoever may see the cluster sees whose it is, and what it does.
    let watcher = gateway.with("watcher");
    let seen = watcher.get(&own).expect(200).json();
    assert_eq!(
        (&seen["completed"], &seen["task"]["headers"]["X-Opaque-Id"]),
        (&json!(false), &json!("e2e-tasks")),
        "{seen}"
    );
    assert!(seen["task"]["description"].as_str().is_some_and(|what| what.contains(COPY)), "{seen}");
    watcher.post(&cancel).expect(403);
    assert!(is_refused_by_the_engine(&undecided.with("watcher").post(&cancel).send()));

    // Ids count up: the next one is known from this one, and is no more of use.
    let other = begin(&copier);
    let number = |id: &str| id.rsplit(':').next().and_then(|number| number.parse::<u64>().ok()).expect("a number");
    assert_eq!(other.rsplit_once(':').map(|(node, _)| node), task.rsplit_once(':').map(|(node, _)| node));
    assert!(number(&other) > number(&task));

    let operator = gateway.with("operator");
    for id in [&task, &other] {
        operator.post(&format!("/_tasks/{id}/_cancel")).expect(200);
        let target = format!("/_tasks/{id}");
        let ended =
            || Some(watcher.get(&target).send()).filter(|it| it.status == 200 && it.json()["completed"] == true);
        let ended = until("the end of the task", Duration::from_secs(20), ended).json();
        assert!(ended["response"]["canceled"].is_string(), "{ended}");
    }
}
