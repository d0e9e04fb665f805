//! What bodies add to the targets, and which are refused.

use oauth4os_classify::{Body, BodyError, Class, ContentCoding, Inspection, check_content};

fn targets(body: &Body, text: &str) -> Result<Vec<(Class, String)>, BodyError> {
    body.inspect(text.as_bytes()).map(|found| found.targets.into_iter().map(|t| (t.class, t.index)).collect())
}

fn get(names: &[&str]) -> Vec<(Class, String)> {
    names.iter().map(|name| (Class::Get, (*name).to_owned())).collect()
}

#[test]
fn queries_name_the_indices_they_look_up() {
    for (text, expected) in [
        (r#""#, vec![]),
        (r#"{"query":{"match_all":{}}}"#, vec![]),
        (r#"{"query":{"terms":{"user":{"index":"users","id":"1","path":"ids"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"user":{"id":"1","path":"ids","index":"users"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"term":{"index":"users","id":"1","path":"ids"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"doc":{"index":"users","id":"1","path":"ids"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"index":{"index":"users","id":"1","path":"ids"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"user":{"in\u0064ex":"users","id":"1"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"user":{"\u0069\u006e\u0064\u0065\u0078":"users","id":"1"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"user":{"index":"us\u0065rs","id":"1"}}}}"#, get(&["users"])),
        (r#"{"query":{"terms":{"user":{"index":5,"id":"1"}}}}"#, get(&["5"])),
        (r#"{"query":{"bool":{"filter":[{"bool":{"must":{"terms":{"u":{"index":"a","id":1}}}}}]}}}"#, get(&["a"])),
        (r#"{"post_filter":{"terms":{"u":{"index":"a","id":1}}}}"#, get(&["a"])),
        (r#"{"aggs":{"doc":{"filter":{"terms":{"u":{"index":"a","id":1}}}}}}"#, get(&["a"])),
        (
            r#"{"query":{"more_like_this":{"like":[{"_index":"a","_id":"1"},"text",{"_index":"b","_id":"2"}]}}}"#,
            get(&["a", "b"]),
        ),
        (r#"{"query":{"more_like_this":{"like":{"_index":"a","_id":"1"}}}}"#, get(&["a"])),
        (r#"{"query":{"more_like_this":{"like":"x","unlike":[{"_index":"a","_id":"1"}]}}}"#, get(&["a"])),
        (r#"{"query":{"geo_shape":{"at":{"indexed_shape":{"index":"maps","id":"de"}}}}}"#, get(&["maps"])),
        (r#"{"query":{"geo_shape":{"at":{"indexed_shape":{"id":"de"}}}}}"#, get(&["shapes"])),
        (r#"{"query":{"shape":{"at":{"indexed_shape":{"term":{"index":"maps"}}}}}}"#, get(&["maps", "shapes"])),
        (r#"{"query":{"percolate":{"field":"q","index":"alerts","id":"1"}}}"#, get(&["alerts"])),
        (r#"{"query":{"percolate":{"field":"q","index":["alerts","more"],"id":"1"}}}"#, get(&["alerts", "more"])),
        (r#"{"query":{"new_plugin_query":{"index":"a,b"}}}"#, get(&["a", "b"])),
        (r#"{"rescore":{"query":{"rescore_query":{"terms":{"u":{"index":"_all"}}}}}}"#, get(&["*"])),
        (
            r#"{"indices_boost":[{"logs-a":2.0},{"pii":1}]}"#,
            vec![(Class::Search, "logs-a".into()), (Class::Search, "pii".into())],
        ),
        (r#"{"indices_boost":{"pii":1}}"#, vec![(Class::Search, "pii".into())]),
        // Fields and data of that name are no lookups.
        (r#"{"query":{"term":{"index":"x"}}}"#, vec![]),
        (r#"{"query":{"term":{"_index":"logs-a"}}}"#, vec![]),
        (r#"{"query":{"terms":{"_index":["logs-a","logs-b"]}}}"#, vec![]),
        (r#"{"query":{"match":{"index":{"query":"x"}}}}"#, vec![]),
        (r#"{"sort":[{"_index":"asc"},{"index":{"order":"desc"}}]}"#, vec![]),
        (r#"{"aggs":{"index":{"terms":{"field":"_index"}}}}"#, vec![]),
        (r#"{"script_fields":{"a":{"script":{"source":"1","params":{"index":"x"}}}}}"#, vec![]),
        (r#"{"query":{"query_string":{"query":"index:pii AND _index:x"}}}"#, vec![]),
        (r#"{"_source":["index","_index"],"fields":["index"]}"#, vec![]),
    ] {
        assert_eq!(targets(&Body::Search, text), Ok(expected), "{text}");
    }
}

#[test]
fn a_point_in_time_is_found_at_the_top_only() {
    let found = Body::Search.inspect(br#"{"pit":{"id":"abc","keep_alive":"1m"},"size":1}"#).unwrap();
    assert_eq!(found.pits, ["abc"]);
    let found = Body::Search.inspect(br#"{"p\u0069t":{"id":"abc"}}"#).unwrap();
    assert_eq!(found.pits, ["abc"]);
    let found = Body::Search.inspect(br#"{"query":{"term":{"pit":{"value":"abc"}}}}"#).unwrap();
    assert_eq!(found, Inspection::default());
    assert!(Body::Search.inspect(br#"{"pit":{"keep_alive":"1m"}}"#).is_err());
    assert!(Body::Search.inspect(br#"{"pit":{"id":5}}"#).is_err());
    assert!(Body::Query.inspect(br#"{"pit":{"id":"abc"}}"#).is_err());
}

#[test]
fn what_is_not_strict_json_is_refused() {
    for text in [
        r#"{"index":"a","index":"b"}"#,
        r#"{"index":"a","in\u0064ex":"b"}"#,
        r#"{"query":{"terms":{"a":{"index":"x","id":1,"index":"y"}}}}"#,
        r#"{/*c*/"index":"a"}"#,
        "{//c\n\"index\":\"a\"}",
        r#"{"index":"a"} {"index":"b"}"#,
        r#"{"index":"a"}x"#,
        r#"{"index":"a",}"#,
        r#"{index:"a"}"#,
        r#"{'index':"a"}"#,
        r#"{"index":"a"#,
        r#"{"index"}"#,
        r#"{"index":}"#,
        r#"{"index":01}"#,
        r#"{"index":+1}"#,
        r#"{"index":NaN}"#,
        r#"{"index":tru}"#,
        r#"["index"]"#,
        r#""index""#,
        r#"{"index":"\ud800"}"#,
        r#"{"index":"\udc00\ud800"}"#,
        r#"{"index":"\x"}"#,
        r#"{"index":"\u12"}"#,
        "{\"index\":\"a\u{1}\"}",
        "\u{feff}{\"index\":\"a\"}",
        r#"{"query":{"wrapper":{"query":"e30="}}}"#,
        r#"{"query":{"wr\u0061pper":{"query":"e30="}}}"#,
        r#"{"query":{"terms":{"a":{"index":"x y"}}}}"#,
        r#"{"query":{"terms":{"a":{"index":"x,,y"}}}}"#,
    ] {
        assert!(Body::Search.inspect(text.as_bytes()).is_err(), "{text}");
    }
    for bytes in [
        &b"{\"index\":\"\xff\"}"[..],
        b"{\0\"\0i\0}\0",
        b"\0{\0\"\0i",
        b":)\n\x01",
        b"\xff\xfe{\0",
        // The engine reads an overlong `i` and an overlong `p`.
        b"{\"query\":{\"terms\":{\"a\":{\"\xc1\xa9ndex\":\"x\",\"id\":1}}}}",
        b"{\"\xc1\xb0it\":{\"id\":\"abc\"}}",
        b"{\"a\":\"\xe0\x81\xa9\"}",
    ] {
        assert!(Body::Search.inspect(bytes).is_err(), "{bytes:?}");
    }
    let deep = format!("{}\"index\":1{}", "{\"a\":".repeat(200), "}".repeat(200));
    assert!(matches!(Body::Search.inspect(deep.as_bytes()), Err(BodyError::TooDeep(_))));
}

#[test]
fn a_multi_get_names_the_index_of_each_document() {
    let with = Body::Mget { default_index: Some("logs-a".into()) };
    let without = Body::Mget { default_index: None };
    assert_eq!(
        targets(&without, r#"{"docs":[{"_index":"a","_id":"1"},{"_id":"2","_index":"b"}]}"#),
        Ok(get(&["a", "b"]))
    );
    assert_eq!(targets(&with, r#"{"docs":[{"_index":"a","_id":"1"},{"_id":"2"}]}"#), Ok(get(&["a", "logs-a"])));
    assert_eq!(targets(&with, r#"{"ids":["1",2]}"#), Ok(get(&["logs-a"])));
    assert_eq!(targets(&with, r#"{"ids":["1"],"docs":[{"_index":"a","_id":"1"}]}"#), Ok(get(&["logs-a", "a"])));
    let full = r#"{"docs":[{"_index":"a","_id":"1","routing":"r","_source":{"includes":["x"],"excludes":"y"},"stored_fields":["z"]}]}"#;
    assert_eq!(targets(&without, full), Ok(get(&["a"])));
    for (body, text) in [
        (&without, r#"{"docs":[{"_id":"1"}]}"#),
        (&without, r#"{"ids":["1"]}"#),
        (&with, r#"{"docs":[{"_id":"1","_index":null}]}"#),
        (&with, r#"{"docs":[{"_id":"1","_index":5}]}"#),
        (&with, r#"{"docs":[{"_id":"1","_index":["pii"]}]}"#),
        (&with, r#"{"docs":[{"_id":"1","_index":"a,b"}]}"#),
        (&with, r#"{"docs":[{"_id":"1","_index":"a*"}]}"#),
        (&with, r#"{"docs":[{"_id":"1","_index":"_all"}]}"#),
        (&with, r#"{"docs":[{"_id":"1","x":[{"_index":"pii"}]}]}"#),
        (&with, r#"{"docs":[{"_id":"1","x":{"_index":"pii"}}]}"#),
        (&with, r#"{"docs":[{"_id":"1","_source":{"x":[{"_index":"pii"}]}}]}"#),
        (&with, r#"{"docs":[{"_id":"1","_source":[{"_index":"pii"}]}]}"#),
        (&with, r#"{"docs":[{"_id":"1"}],"docs":[{"_index":"pii","_id":"1"}]}"#),
        (&with, r#"{"docs":[{"_id":"1"}],"d\u006fcs":[{"_index":"pii","_id":"1"}]}"#),
        (&with, r#"{"docs":[{"_index":"a","_index":"pii","_id":"1"}]}"#),
        (&with, r#"{"docs":{"_index":"pii"}}"#),
        (&with, r#"{"documents":[{"_index":"pii"}]}"#),
        (&with, r#"{"ids":["1"]}{"docs":[{"_index":"pii","_id":"1"}]}"#),
    ] {
        assert!(body.inspect(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn ids_are_named_one_by_one() {
    for (text, expected) in [
        (r#"{"scroll_id":"a","scroll":"1m"}"#, vec!["a"]),
        (r#"{"scroll_id":["a","b"]}"#, vec!["a", "b"]),
        (r#"{"pit_id":["a"]}"#, vec!["a"]),
        ("", vec![]),
    ] {
        assert_eq!(Body::Handles.inspect(text.as_bytes()).unwrap().pits, expected, "{text}");
    }
    for text in [
        r#"{"scroll_id":"_all"}"#,
        r#"{"pit_id":["_all"]}"#,
        r#"{"pit_id":"\u005fall"}"#,
        r#"{"pit_id":["a"],"p\u0069t_id":["_all"]}"#,
        r#"{"pit_id":{"a":1}}"#,
        r#"{"x":{"pit_id":"_all"}}"#,
        r#"{"pit_id":[5]}"#,
    ] {
        assert!(Body::Handles.inspect(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn an_alias_body_replaces_index_and_name() {
    let manage = |names: &[&str]| Ok(names.iter().map(|name| (Class::Manage, (*name).to_owned())).collect::<Vec<_>>());
    assert_eq!(targets(&Body::Alias, ""), manage(&[]));
    assert_eq!(targets(&Body::Alias, r#"{"routing":"1","is_write_index":true}"#), manage(&[]));
    assert_eq!(targets(&Body::Alias, r#"{"index":"pii,x","alias":"logs-y"}"#), manage(&["pii", "x", "logs-y"]));
    assert_eq!(targets(&Body::Alias, r#"{"filter":{"terms":{"u":{"index":"users","id":"1"}}}}"#), Ok(get(&["users"])));
    for text in [
        r#"{"foo":{"index":"pii"}}"#,
        r#"{"foo":[{"index":"pii"}]}"#,
        r#"{"index":["pii"]}"#,
        r#"{"filter":[{"index":"pii"}]}"#,
        r#"{} {"index":"pii"}"#,
        r#"{"index":"a","index":"pii"}"#,
    ] {
        assert!(Body::Alias.inspect(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn an_index_definition_names_its_aliases() {
    let text = r#"{"settings":{"index":{"number_of_shards":1}},"mappings":{"properties":{"index":{"type":"keyword"}}},
                   "aliases":{"logs":{},"pii":{"filter":{"term":{"index":"a"}}},".h":{}}}"#;
    let found = Body::Create.inspect(text.as_bytes()).unwrap();
    let names: Vec<&str> = found.targets.iter().map(|t| t.index.as_str()).collect();
    assert_eq!(names, ["logs", "pii", ".h"]);
    assert!(found.hidden && found.targets.iter().all(|t| t.class == Class::Manage));
    assert_eq!(Body::Create.inspect(b""), Ok(Inspection::default()));
    assert!(Body::Create.inspect(br#"{"aliases":["pii"]}"#).is_err());
    assert!(Body::Create.inspect(br#"{"aliases":{},"aliases":{"pii":{}}}"#).is_err());
}

#[test]
fn an_update_that_can_tell_the_document_also_reads() {
    let body = Body::Update { indices: vec!["logs-a".into()] };
    for (text, expected) in [
        ("", vec![]),
        (r#"{"doc":{"_source":true,"script":1}}"#, vec![]),
        (r#"{"doc":{},"_source":false}"#, vec![]),
        (r#"{"doc":{},"_source":"false"}"#, get(&["logs-a"])),
        (r#"{"doc":{},"_source":true}"#, get(&["logs-a"])),
        (r#"{"doc":{},"\u005fsource":["a"]}"#, get(&["logs-a"])),
        (r#"{"fields":["a"],"doc":{}}"#, get(&["logs-a"])),
        (r#"{"script":{"source":"x"}}"#, get(&["logs-a"])),
    ] {
        assert_eq!(targets(&body, text), Ok(expected), "{text}");
    }
    for bytes in [
        &b"{\"_source\":false,\"_source\":true}"[..],
        b"{/**/\"_source\":true}",
        b"{\"\xc1\x9fsource\":true}",
        b"\0{\0}",
        b"[{\"script\":1}]",
    ] {
        assert!(body.inspect(bytes).is_err(), "{bytes:?}");
    }
    let hidden = Body::Update { indices: vec![".h".into()] };
    assert!(hidden.inspect(br#"{"_source":true}"#).unwrap().hidden);
}

#[test]
fn content_that_the_engine_reads_otherwise_is_refused() {
    for (content_type, encoding) in [
        (Some("application/json"), None),
        (Some("Application/JSON; charset=UTF-8"), None),
        (Some("application/x-ndjson"), Some("identity")),
        (Some("application/vnd.opensearch+json; compatible-with=2; charset=\"utf-8\""), None),
    ] {
        assert_eq!(check_content(content_type, encoding), Ok(ContentCoding::Identity), "{content_type:?}");
    }
    for encoding in ["gzip", "GZIP", "x-gzip", " gzip\t"] {
        assert_eq!(check_content(Some("application/json"), Some(encoding)), Ok(ContentCoding::Gzip), "{encoding:?}");
    }
    for (content_type, encoding) in [
        (None, None),
        (Some(""), None),
        (Some("text/plain"), None),
        (Some("application/smile"), None),
        (Some("application/cbor"), None),
        (Some("application/yaml"), None),
        (Some("application/json; charset=utf-16"), None),
        (Some("application/json; charset"), None),
        (Some("application/json, application/smile"), None),
        (Some("text/plain"), Some("gzip")),
        (Some("application/json"), Some("identity, gzip")),
        (Some("application/json"), Some("gzip, gzip")),
        (Some("application/json"), Some("gzip;q=1")),
        (Some("application/json"), Some("\u{a0}gzip")),
        (Some("application/json"), Some("deflate")),
        (Some("application/json"), Some("br")),
        (Some("application/json"), Some("zstd")),
        (Some("application/json"), Some("snappy")),
        (Some("application/json"), Some("")),
    ] {
        let refused = check_content(content_type, encoding).unwrap_err();
        assert_eq!(refused.status(), 415, "{content_type:?} {encoding:?}");
    }
}
