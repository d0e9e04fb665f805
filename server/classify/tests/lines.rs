//! `_bulk` and `_msearch`: what each line says, in any chunking.

mod common;

use oauth4os_classify::{BodyError, BulkScanner, Class, MsearchScanner};
use proptest::prelude::*;

use common::{bulk, bulk_in_chunks};

#[test]
fn every_action_names_class_and_index() {
    for (action, class) in [
        (r#"{"index":{"_index":"a"}}"#, Class::Append),
        (r#"{"index":{"_index":"a","_id":null}}"#, Class::Append),
        (r#"{"index":{"_index":"a","_id":"1"}}"#, Class::Write),
        (r#"{"index":{"_index":"a","_id":1}}"#, Class::Write),
        (r#"{"index":{"_index":"a","_id":""}}"#, Class::Write),
        (r#"{"index":{"_index":"a","_id":"1","op_type":"create"}}"#, Class::Append),
        (r#"{"index":{"_index":"a","op_type":"index"}}"#, Class::Append),
        (r#"{"index":{"_index":"a","pipeline":"p"}}"#, Class::Write),
        (r#"{"create":{"_index":"a","_id":"1"}}"#, Class::Append),
        (r#"{"create":{"_index":"a","pipeline":"p","routing":"r","require_alias":true}}"#, Class::Append),
        (r#"{"update":{"_index":"a","_id":"1","retry_on_conflict":3,"_source":false}}"#, Class::Write),
        (r#"{"\u0069ndex":{"\u005findex":"\u0061","_id":"1"}}"#, Class::Write),
        ("\t {\"index\" : {\"_index\":\"a\"} } \r", Class::Append),
    ] {
        assert_eq!(bulk(None, &format!("{action}\n{{}}\n")), Ok(vec![(class, "a".into(), 1)]), "{action}");
    }
    assert_eq!(bulk(None, "{\"delete\":{\"_index\":\"a\",\"_id\":\"1\"}}\n"), Ok(vec![(Class::Write, "a".into(), 1)]));
    let no_id = b"{\"index\":{\"_index\":\"a\"}}\n{}\n";
    assert_eq!(bulk_in_chunks(None, true, no_id, &[]), Ok(vec![(Class::Write, "a".into(), 1)]));
}

#[test]
fn lines_follow_each_other_as_in_the_engine() {
    let body = "\n  \r\n{\"delete\":{\"_id\":\"1\"}}\n{\"index\":{\"_index\":\"b\"}}\r\n{\"x\":\"{\\\"delete\\\":{\\\"_index\\\":\\\"no\\\"}}\"}\r\n\n{\"create\":{}}\n\n{\"update\":{\"_id\":\"1\",\"_index\":\"<d-{now/d}>\"}}\n{}\n";
    assert_eq!(
        bulk(Some("logs-a"), body),
        Ok(vec![
            (Class::Write, "logs-a".into(), 3),
            (Class::Append, "b".into(), 4),
            (Class::Append, "logs-a".into(), 7),
            (Class::Write, "<d-{now/d}>".into(), 9),
        ])
    );
    assert_eq!(bulk(None, ""), Ok(vec![]));
}

#[test]
fn unclear_bulk_bodies_are_refused() {
    for body in [
        "{\"delete\":{\"_index\":\"a\"}}",
        "{\"index\":{\"_index\":\"a\"}}\n{}",
        "{\"index\":{\"_index\":\"a\"}}\n",
        "{\"index\":{}}\n{}\n",
        "{\"index\":null}\n{}\n",
        "{\"index\":\"a\"}\n{}\n",
        "{}\n{}\n",
        "[]\n",
        "{\"Index\":{\"_index\":\"a\"}}\n{}\n",
        "{\"upsert\":{\"_index\":\"a\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a\"},\"delete\":{\"_index\":\"b\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a\"},\"index\":{\"_index\":\"b\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a\",\"_index\":\"b\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a\",\"\\u005findex\":\"b\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a\"}} {\"index\":{\"_index\":\"b\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a\"}} // c\n{}\n",
        "{/**/\"index\":{\"_index\":\"a\"}}\n{}\n",
        "{\"index\":{\"_index\":5}}\n{}\n",
        "{\"index\":{\"_index\":null}}\n{}\n",
        "{\"index\":{\"_index\":[\"a\"]}}\n{}\n",
        "{\"index\":{\"_index\":\"\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a,b\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a*\"}}\n{}\n",
        "{\"index\":{\"_index\":\"_all\"}}\n{}\n",
        "{\"index\":{\"_index\":\"-a\"}}\n{}\n",
        "{\"index\":{\"_index\":\"a\",\"x\":{\"_index\":\"b\"}}}\n{}\n",
        "{\"index\":{\"_index\":\"a\",\"x\":[\"b\"]}}\n{}\n",
        "\u{feff}{\"index\":{\"_index\":\"a\"}}\n{}\n",
        ":)\n\u{1}",
    ] {
        assert!(bulk(None, body).is_err(), "{body}");
    }
    let smile = b":)\n\x05\xfa\x84index\xfa\x85_index@a\xfb\xfb\xff";
    assert!(bulk_in_chunks(Some("a"), false, smile, &[]).is_err());
    let long = format!("{{\"index\":{{\"_index\":\"a\",\"routing\":\"{}\"}}}}\n{{}}\n", "x".repeat(70_000));
    assert!(matches!(bulk(None, &long), Err(BodyError::LineTooLong { line: 1, .. })));
}

#[test]
fn after_a_refusal_nothing_passes() {
    let mut scanner = BulkScanner::new(Some("a"), false, false);
    let refuse = |_: oauth4os_classify::BulkItem<'_>| Err(BodyError::Form("not permitted"));
    assert_eq!(scanner.feed(b"{\"delete\":{\"_id\":\"1\"}}\n", refuse), Err(BodyError::Form("not permitted")));
    assert!(scanner.feed(b"{\"delete\":{\"_id\":\"1\"}}\n", |_| Ok::<_, BodyError>(())).is_err());
    assert!(scanner.finish().is_err());
}

#[test]
fn a_source_line_of_any_length_is_not_kept() {
    let mut scanner = BulkScanner::new(Some("a"), false, false);
    let nothing = |_: oauth4os_classify::BulkItem<'_>| Ok::<_, BodyError>(());
    scanner.feed(b"{\"index\":{}}\n", nothing).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        scanner.feed(&chunk, nothing).unwrap();
    }
    scanner.feed(b"\n", nothing).unwrap();
    assert_eq!(scanner.finish(), Ok(1));
}

type Search = (Vec<String>, Vec<String>, Vec<String>, bool, u64);

fn msearch_in_chunks(default: &[&str], body: &[u8], cuts: &[usize]) -> Result<Vec<Search>, BodyError> {
    let mut scanner = MsearchScanner::new(default.iter().map(|s| (*s).to_owned()).collect(), 4096);
    let mut items = Vec::new();
    let mut rest = body;
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (chunk, tail) = rest.split_at(cut.min(rest.len()));
        scanner.feed(chunk, |item| {
            let lookups = item.body.targets.into_iter().map(|target| target.index).collect();
            items.push((item.targets, lookups, item.body.pits, item.hidden, item.line));
            Ok::<_, BodyError>(())
        })?;
        rest = tail;
    }
    assert_eq!(scanner.finish()?, items.len() as u64);
    Ok(items)
}

#[test]
fn every_search_names_its_targets() {
    for (header, expected, hidden) in [
        ("", vec!["logs-a"], false),
        (" \r", vec!["logs-a"], false),
        ("{}", vec!["logs-a"], false),
        (r#"{"preference":"_local"}"#, vec!["logs-a"], false),
        (r#"{"index":"pii"}"#, vec!["pii"], false),
        (r#"{"index":"a,b"}"#, vec!["a", "b"], false),
        (r#"{"indices":["a","b*"]}"#, vec!["a", "b*"], false),
        (r#"{"\u0069ndex":["a","b,c"]}"#, vec!["a", "b", "c"], false),
        (r#"{"index":""}"#, vec!["*"], false),
        (r#"{"index":[]}"#, vec!["*"], false),
        (r#"{"index":"_all"}"#, vec!["*"], false),
        (r#"{"index":".kibana"}"#, vec![".kibana"], true),
        (r#"{"index":"a","expand_wildcards":"all"}"#, vec!["a"], true),
        (r#"{"index":"a","expandWildcards":["open","hidden"]}"#, vec!["a"], true),
    ] {
        let body = format!("{{}}\n{{}}\n{header}\n{{\"size\":1}}\n");
        let items = msearch_in_chunks(&["logs-a"], body.as_bytes(), &[]).unwrap();
        assert_eq!(
            items[1],
            (expected.into_iter().map(str::to_owned).collect(), vec![], vec![], hidden, 3),
            "{header}"
        );
    }
    let body = "\n{\"index\":\"a\"}\n{\"query\":{\"terms\":{\"u\":{\"index\":\"users\",\"id\":1}}}}\n{}\n{\"pit\":{\"id\":\"p\"}}\n";
    let items = msearch_in_chunks(&["*"], body.as_bytes(), &[]).unwrap();
    assert_eq!(items[0], (vec!["a".to_owned()], vec!["users".to_owned()], vec![], false, 2));
    assert_eq!(items[1], (vec!["*".to_owned()], vec![], vec!["p".to_owned()], false, 4));
}

#[test]
fn unclear_multi_searches_are_refused() {
    for body in [
        "{}\n{}",
        "{}\n",
        "{}",
        "[]\n{}\n",
        "\"a\"\n{}\n",
        "{\"index\":\"a\",\"indices\":\"b\"}\n{}\n",
        "{\"index\":\"a\",\"index\":\"b\"}\n{}\n",
        "{\"index\":5}\n{}\n",
        "{\"index\":null}\n{}\n",
        "{\"index\":[5]}\n{}\n",
        "{\"index\":[[\"a\"]]}\n{}\n",
        "{\"index\":\"a,\"}\n{}\n",
        "{\"index\":\"a\"} {\"index\":\"b\"}\n{}\n",
        "{\"index\":\"a\"} //\n{}\n",
        "{}\n{\"query\":{\"wrapper\":{\"query\":\"e30=\"}}}\n",
    ] {
        assert!(msearch_in_chunks(&["*"], body.as_bytes(), &[]).is_err(), "{body}");
    }
    let long = format!("{{}}\n{{\"q\":\"{}\"}}\n", "x".repeat(5000));
    assert!(matches!(msearch_in_chunks(&["*"], long.as_bytes(), &[]), Err(BodyError::LineTooLong { line: 2, .. })));
}

/// A reader of the simplest kind: the whole body, line by line, which knows how the lines below are written.
fn reference_items(body: &str) -> usize {
    let mut items = 0;
    let mut lines = body.split('\n');
    while let Some(line) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        items += 1;
        let source = if line.contains("\"delete\"") { None } else { lines.next() };
        if line.contains("\"update\"") {
            let asks = |text: &str| {
                text.starts_with("{\"script\"") || text.contains("source\":[") || text.contains("source\":true")
            };
            items += usize::from(asks(line) || source.is_some_and(asks));
        }
    }
    items
}

fn bulk_body() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just("{\"index\":{\"_index\":\"a\"}}\n{\"m\":\"x\"}\n".to_owned()),
        Just("{\"create\":{\"_index\":\"b-1\",\"_id\":\"1\"}}\r\n{\"delete\":{\"_index\":\"no\"}}\r\n".to_owned()),
        Just("{\"delete\":{\"_index\":\"c\",\"_id\":\"1\"}}\n".to_owned()),
        Just("{\"update\":{\"_id\":\"\\n\\\"{\"}}\n\n".to_owned()),
        Just("{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{\"_source\":1},\"_source\":[\"m\"]}\r\n".to_owned()),
        Just("{\"update\":{\"_index\":\"e\"}}\r\n{\"doc\":{},\"\\u005fsource\":true}\n".to_owned()),
        Just("{\"update\":{\"_id\":\"2\",\"_source\":true}}\n{\"script\":\"x\"}\n".to_owned()),
        Just("{\"update\":{\"_id\":\"3\"}}\n{\"doc\":{\"script\":{}},\"_source\":false}\n".to_owned()),
        Just("\n".to_owned()),
        Just(" \r\n".to_owned()),
        "[a-z ]{0,200}".prop_map(|text| format!("{{\"index\":{{}}}}\n{{\"text\":\"{text}\"}}\n")),
    ];
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.concat())
}

proptest! {
    #[test]
    fn a_bulk_reads_the_same_in_any_chunks(body in bulk_body(), cuts in prop::collection::vec(0usize..40, 0..60)) {
        let whole = bulk_in_chunks(Some("d"), false, body.as_bytes(), &[]);
        prop_assert_eq!(&whole, &bulk_in_chunks(Some("d"), false, body.as_bytes(), &cuts));
        let single = vec![1; body.len()];
        prop_assert_eq!(&whole, &bulk_in_chunks(Some("d"), false, body.as_bytes(), &single));
        prop_assert_eq!(whole.map(|items| items.len()), Ok(reference_items(&body)));
    }

    #[test]
    fn a_multi_search_reads_the_same_in_any_chunks(
        lines in prop::collection::vec(prop_oneof![
            Just("{\"index\":\"a\"}\n{\"size\":0}\n"), Just("\n{}\n"), Just("{}\n{\"pit\":{\"id\":\"x\"}}\n"),
            Just("{\"index\":[\"b\",\"c\"]}\r\n{\"query\":{\"terms\":{\"u\":{\"index\":\"l\"}}}}\r\n"), Just("{\"index\":5}\n{}\n"),
        ], 0..10),
        cuts in prop::collection::vec(0usize..30, 0..30),
    ) {
        let body = lines.concat();
        let whole = msearch_in_chunks(&["d"], body.as_bytes(), &[]);
        let chunked = msearch_in_chunks(&["d"], body.as_bytes(), &cuts);
        prop_assert_eq!(whole, chunked);
    }

    #[test]
    fn any_bytes_in_any_chunks_give_one_answer(
        body in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'{'), Just(b'"')], 0..200),
        cuts in prop::collection::vec(0usize..20, 0..20),
    ) {
        let whole = bulk_in_chunks(Some("d"), false, &body, &[]).map_err(drop);
        prop_assert_eq!(whole, bulk_in_chunks(Some("d"), false, &body, &cuts).map_err(drop));
        let _ = msearch_in_chunks(&["d"], &body, &cuts);
    }
}
