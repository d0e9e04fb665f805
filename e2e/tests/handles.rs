//! Scroll and point-in-time ids: they are of use to those who opened them, and to nobody else.

use e2e::{Answer, Client, ClientSettings, Engine, Gateway, Settings};
use serde_json::{Value, json};

/// With documents of every level.
fn index() -> String {
    Engine::get().log_index()
}

fn gateway() -> Gateway {
    let rows = json!([{"scope": "read:logs-*", "rows": {"term": {"level": "ERROR"}}}]);
    Gateway::start(
        Settings::new()
            .client("opener", &["read:logs-*"])
            .client("other", &["read:logs-*"])
            .client("elsewhere", &["read:metrics-*"])
            .client_with(ClientSettings::new("errors-only", &[]).with("grants", rows)),
    )
}

fn open_scroll(client: &Client) -> String {
    let first = client.post(&format!("/{}/_search?scroll=1m&size=10", index())).json(&json!({})).expect(200).json();
    first["_scroll_id"].as_str().expect("a scroll id").to_owned()
}

/// Status, and how many documents came.
fn scroll(client: &Client, id: &str) -> (u16, usize) {
    let answer = client.post("/_search/scroll").json(&json!({"scroll": "1m", "scroll_id": id})).send();
    let hits = answer.json()["hits"]["hits"].as_array().map_or(0, Vec::len);
    (answer.status, hits)
}

fn open_pit(client: &Client) -> String {
    let opened = client.post(&format!("/{}/_search/point_in_time?keep_alive=1m", index())).expect(200).json();
    opened["pit_id"].as_str().expect("a point in time").to_owned()
}

/// Status, and how many documents there are.
fn search_pit(client: &Client, id: &str) -> (u16, Value) {
    let body = json!({"size": 0, "track_total_hits": true, "pit": {"id": id, "keep_alive": "1m"}});
    let answer = client.post("/_search").json(&body).send();
    (answer.status, answer.json()["hits"]["total"]["value"].clone())
}

#[test]
fn a_scroll_goes_on_for_its_opener_alone() {
    let gateway = gateway();
    let opener = gateway.with("opener");
    let id = open_scroll(&opener);
    assert_eq!(scroll(&opener, &id), (200, 10));
    for stranger in ["other", "elsewhere", "errors-only"] {
        // The engine knows whose it is, and ends what somebody else tries to go on with.
        let id = open_scroll(&opener);
        let (status, hits) = scroll(&gateway.with(stranger), &id);
        assert!(matches!(status, 403 | 404) && hits == 0, "{stranger}: {status}, {hits} documents");
    }
}

#[test]
fn a_point_in_time_shows_nobody_more_than_he_may_see() {
    let gateway = gateway();
    let opener = gateway.with("opener");
    let id = open_pit(&opener);
    let (status, all) = search_pit(&opener, &id);
    assert_eq!(status, 200);
    let errors = json!({"query": {"term": {"level": "ERROR"}}});
    let errors = opener.post(&format!("/{}/_count", index())).json(&errors).expect(200).json()["count"].clone();
    assert!(errors.as_u64() > Some(0) && errors != all, "{errors} of {all}");
    // To a gateway that was started since, it is not known whose it is.
    let gateway = self::gateway();
    assert_eq!(search_pit(&gateway.with("errors-only"), &id), (200, errors));
    let elsewhere = gateway.with("elsewhere");
    assert_eq!(search_pit(&elsewhere, &id).0, 403);
    elsewhere.delete("/_search/point_in_time").json(&json!({"pit_id": [id]})).expect(403);
    assert_eq!(search_pit(&gateway.with("opener"), &id), (200, all));
}

#[test]
fn a_point_in_time_is_searched_and_ended_by_its_opener_alone() {
    let gateway = gateway();
    let opener = gateway.with("opener");
    let of_another = |answer: &Answer| answer.text().contains("the point in time was opened by another client");
    for (field, value) in [("x-any", "1"), ("accept-encoding", "gzip"), ("accept", "application/yaml")] {
        let opened =
            opener.post(&format!("/{}/_search/point_in_time?keep_alive=1m", index())).header(field, value).expect(200);
        let id = opened.json()["pit_id"].as_str().expect("a point in time").to_owned();
        let own = open_pit(&gateway.with("other"));
        for stranger in ["other", "errors-only", "elsewhere"] {
            let stranger = gateway.with(stranger);
            let body = json!({"size": 0, "pit": {"id": id}});
            assert!(of_another(&stranger.post("/_search").json(&body).expect(403)));
            let lines = format!("{{}}\n{}\n{{}}\n{body}\n", json!({"size": 0, "pit": {"id": own}}));
            stranger.post("/_msearch").body("application/x-ndjson", lines).expect(403);
            for ids in [json!([id]), json!(id), json!([own, id])] {
                stranger.delete("/_search/point_in_time").json(&json!({"pit_id": ids})).expect(403);
            }
        }
        assert_eq!(search_pit(&opener, &id).0, 200);
        assert_eq!(search_pit(&gateway.with("other"), &own).0, 200);
        opener.delete("/_search/point_in_time").json(&json!({"pit_id": [id]})).expect(200);
        assert_eq!(search_pit(&opener, &id).0, 404);
    }
}

#[test]
fn a_point_in_time_whose_id_cannot_be_read_is_not_handed_out() {
    let gateway = gateway();
    let opener = gateway.with("opener");
    let target = format!("/{}/_search/point_in_time?keep_alive=1s", index());
    let refused = opener.post(&format!("{target}&format=yaml")).expect(400);
    assert!(refused.text().contains("leave out `format`"), "{}", refused.text());
    let without = opener.post(&format!("{target}&filter_path=_shards")).expect(200);
    assert!(without.json()["_shards"].is_object(), "{}", without.text());
}
