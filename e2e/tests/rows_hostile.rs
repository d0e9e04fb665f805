//! Tenants with hostile names: each sees its own document by every operation that reads, and nobody else's, whichever way it shows
//! who it is.

#[path = "rows/orders.rs"]
#[allow(dead_code, reason = "what the tests of rows have in common, of which this takes a part")]
mod orders;

use e2e::{Client, Gateway, Settings};
use serde_json::{Value, json};

use self::orders::{HOSTILE, PREFIX, SECRET, held, orders, past_the_filter, reading, run, total};

/// Those that can stand in a file of YAML.
fn writable() -> impl Iterator<Item = (usize, &'static str)> {
    let is_plain = |value: &str| !value.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    HOSTILE.into_iter().enumerate().filter(move |(_, value)| is_plain(value))
}

/// What of an answer belongs to somebody else than the tenant of this number.
fn shown_of_others(text: &str, own: usize) -> Option<String> {
    let documents = (0..HOSTILE.len()).filter(|n| *n != own).map(|n| format!("\"_id\":\"h{n}\""));
    let others = [SECRET, "acmenote", "\"globex\"", "\"acme\""].map(str::to_owned).into_iter().chain(documents);
    others.into_iter().find(|other| text.contains(other))
}

fn sees_its_own_alone(client: &Client, index: &str, own: usize, name: &str) {
    for (method, target, body, _) in reading(index) {
        let answer = run(client, method, &target, &body);
        let text = answer.text();
        assert!(matches!(answer.status, 200 | 404), "{name:?}: {method} {target} {body}: {} {text}", answer.status);
        if let Some(shown) = shown_of_others(&text, own) {
            // What was asked for may be said again.
            let is_asked_for = body.to_string().contains(&shown) || target.contains(&shown);
            assert!(is_asked_for, "{name:?}: {method} {target} {body} shows {shown}: {text}");
        }
    }
    for (method, target, body) in past_the_filter(index) {
        let refused = run(client, method, &target, &body);
        assert_eq!(refused.status, 403, "{name:?}: {method} {target} {body}: {}", refused.text());
    }
    // There is something to see, or this would show nothing.
    let id = format!("h{own}");
    let search = format!("/{index}/_search");
    assert_eq!(total(&client.get(&search).expect(200)), 1, "{name:?}");
    assert_eq!(client.get(&format!("/{index}/_doc/{id}")).expect(200).json()["_source"]["tenant"], name);
    let several = json!({"ids": [id, "a0", "g0"]});
    let found = client.post(&format!("/{index}/_mget")).json(&several).expect(200).json();
    let found: Vec<&Value> = found["docs"].as_array().expect("documents").iter().map(|one| &one["found"]).collect();
    assert_eq!(found, [true, false, false], "{name:?}");
    assert_eq!(client.get(&format!("/{index}/_count")).expect(200).json()["count"], 1, "{name:?}");
    assert_eq!(client.get(&format!("/{index}/_explain/{id}?q=note:hostile")).expect(200).json()["matched"], true);
    let vectors = client.get(&format!("/{index}/_termvectors/{id}?fields=note")).expect(200);
    assert_eq!(vectors.json()["found"], true, "{name:?}");
    let by_tenant = json!({"size": 0, "aggs": {"t": {"terms": {"field": "tenant"}}}});
    let buckets = client.post(&search).json(&by_tenant).expect(200).json()["aggregations"]["t"]["buckets"].clone();
    assert_eq!(buckets, json!([{"key": name, "doc_count": 1}]));

    let scroll = client.post(&format!("{search}?scroll=1m&size=1")).json(&json!({})).expect(200).json();
    assert_eq!(scroll["hits"]["hits"][0]["_id"], json!(id), "{name:?}");
    let next = json!({"scroll": "1m", "scroll_id": scroll["_scroll_id"]});
    let next = client.post("/_search/scroll").json(&next).expect(200).json();
    assert_eq!(next["hits"]["hits"], json!([]), "{name:?}");
    client.delete("/_search/scroll").json(&json!({"scroll_id": [next["_scroll_id"]]})).expect(200);
    let opened = client.post(&format!("{search}/point_in_time?keep_alive=1m")).expect(200).json();
    let body = json!({"pit": {"id": opened["pit_id"]}, "size": 100});
    assert_eq!(total(&client.post("/_search").json(&body).expect(200)), 1, "{name:?}");
    client.delete("/_search/point_in_time").json(&json!({"pit_id": [opened["pit_id"]]})).expect(200);
}

#[test]
fn a_hostile_name_is_a_name_to_every_operation_that_reads() {
    let (index, _remove) = orders("hostile-reading");
    let rows = json!({"scope": format!("read:{PREFIX}-*"), "rows": {"term": {"tenant": "${label.tenant}"}}});
    let clients = writable().map(|(n, value)| {
        held(&format!("h{n}"), std::slice::from_ref(&rows))
            .with("labels", json!({"tenant": value}))
            .with("basic", json!(true))
    });
    let gateway = Gateway::start(clients.fold(Settings::new(), Settings::client_with));
    for (n, name) in writable() {
        let id = format!("h{n}");
        sees_its_own_alone(&gateway.with(&id), &index, n, name);
        // The same with id and secret, as shippers and simple programs come.
        sees_its_own_alone(&gateway.http().with_basic(&id, gateway.secret(&id)), &index, n, name);
    }
}
