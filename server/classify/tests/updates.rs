//! `_bulk`: which updates also read the document.

mod common;

use oauth4os_classify::{BodyError, BulkScanner, Class};
use proptest::prelude::*;

use common::{bulk, bulk_in_chunks};

/// What the update of `metadata` (without its index and id) and `source` needs in the index `u`.
fn update(metadata: &str, source: &str) -> Result<Vec<Class>, BodyError> {
    let body =
        format!("{{\"update\":{{\"_index\":\"u\",\"_id\":\"1\"{metadata}}}}}\n{source}\n{{\"create\":{{}}}}\n{{}}\n");
    let mut items = bulk(Some("d"), &body)?;
    assert_eq!(items.pop(), Some((Class::Append, "d".into(), 3)), "{body}");
    Ok(items
        .into_iter()
        .map(|(class, index, line)| {
            assert_eq!((index.as_str(), line), ("u", 1), "{body}");
            class
        })
        .collect())
}

#[test]
fn an_update_that_can_tell_the_document_also_reads() {
    let writes = Ok(vec![Class::Write]);
    let reads = Ok(vec![Class::Write, Class::Get]);
    for source in [
        "",
        "{}",
        r#"{"doc":{"a":1}}"#,
        r#"{"doc":{"_source":true,"script":"x","fields":[]}}"#,
        r#"{"doc":{"a":[{"_source":true}]},"upsert":{"script":{"source":"x"}}}"#,
        r#"{"doc":{"a":"_source"},"doc_as_upsert":true}"#,
        r#"{"doc":{"a":"\u005fsource\":true"}}"#,
        r#"{"doc":{},"_source":false}"#,
        r#"{"doc":{},"_source" : false }"#,
        "{\"doc\":{\"a\":\"日\"}}",
        "not json",
    ] {
        assert_eq!(update("", source), writes, "{source}");
    }
    for source in [
        r#"{"doc":{},"_source":true}"#,
        r#"{"_source":true,"doc":{}}"#,
        r#"{"doc":{},"_source":"false"}"#,
        r#"{"doc":{},"_source":["a"]}"#,
        r#"{"doc":{},"_source":{"includes":["a"]}}"#,
        r#"{"doc":{},"_source":[]}"#,
        r#"{"doc":{},"_source":null}"#,
        r#"{"doc":{},"\u005fsource":true}"#,
        r#"{"doc":{},"_sourc\u0065":"*"}"#,
        r#"{"doc":{},"\u005F\u0073\u006F\u0075\u0072\u0063\u0065":true}"#,
        r#"{"doc":{},"fields":["a"]}"#,
        r#"{"doc":{},"fields":false}"#,
        r#"{"script":{"source":"throw new Exception(ctx._source.a)"}}"#,
        r#"{"script":{"id":"stored"},"upsert":{}}"#,
        r#"{"\u0073cript":"x"}"#,
    ] {
        assert_eq!(update("", source), reads, "{source}");
    }
    for (metadata, expected) in [
        (r#","_source":true"#, &reads),
        (r#","_source":"a""#, &reads),
        (r#","_source":"false""#, &reads),
        (r#","_source":["a"]"#, &reads),
        (r#","_source":{"excludes":"a"}"#, &reads),
        (r#","\u005fsource":true"#, &reads),
        (r#","_source_includes":"a""#, &reads),
        (r#","fields":"a""#, &reads),
        (r#","_source":false"#, &writes),
        (r#","routing":"_source""#, &writes),
    ] {
        assert_eq!(update(metadata, "{}"), *expected, "{metadata}");
        // Never twice.
        assert_eq!(update(metadata, r#"{"_source":true}"#), reads, "{metadata}");
    }
}

#[test]
fn an_update_line_that_could_be_read_otherwise_is_refused() {
    let action = b"{\"update\":{\"_id\":\"1\"}}\n";
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>();
    for source in [
        &b"{\"doc\":{},\"_source\":false,\"_source\":true}"[..],
        b"{\"doc\":{},\"_source\":false,\"\\u005fsource\":true}",
        b"{/**/\"_source\":true}",
        b"{\"doc\":{}} {\"_source\":true}",
        b"[{\"_source\":true}]",
        b"{\"_source\":true",
        b"{'_source':true}",
        // The engine reads the overlong `_` and detects UTF-16.
        b"{\"doc\":{},\"\xc1\x9fsource\":true}",
        b"{\"doc\":{},\"\xe0\x81\x9fsource\":true}",
        &utf16("{\"doc\":{},\"_source\":true}"),
    ] {
        let body = [action, source, b"\n"].concat();
        assert!(bulk_in_chunks(Some("a"), false, &body, &[]).is_err(), "{source:?}");
    }
    // What other actions write is data.
    let body = b"{\"index\":{}}\n{\"_source\":true,\"_source\":{\"\xc1\x9f\0\n";
    assert_eq!(bulk_in_chunks(Some("a"), false, body, &[]), Ok(vec![(Class::Append, "a".into(), 1)]));
}

#[test]
fn an_update_line_is_kept_up_to_its_limit() {
    let body = |length: usize| {
        let source = format!("{{\"doc\":\"{}\"}}", "x".repeat(length - 10));
        assert_eq!(source.len(), length);
        format!("{{\"update\":{{\"_id\":\"1\"}}}}\n{source}\n")
    };
    let limit = oauth4os_classify::body::bulk::MAX_UPDATE_LINE;
    let (fits, long) = (body(limit), body(limit + 1));
    for cuts in [&[][..], &[5000; 500]] {
        let read = |body: &str| bulk_in_chunks(Some("a"), false, body.as_bytes(), cuts);
        assert_eq!(read(&fits), Ok(vec![(Class::Write, "a".into(), 1)]));
        assert_eq!(read(&long), Err(BodyError::LineTooLong { line: 2, limit }));
    }
    // If the document is asked for anyway, there is nothing to look for.
    let mut scanner = BulkScanner::new(Some("a"), false, true);
    let mut classes = Vec::new();
    let seen = scanner.feed(long.as_bytes(), |item| {
        classes.push((item.class, item.line));
        Ok::<_, BodyError>(())
    });
    assert_eq!(seen, Ok(()));
    assert_eq!(classes, [(Class::Write, 1), (Class::Get, 1)]);
    assert_eq!(scanner.finish(), Ok(1));
}

#[test]
fn a_query_that_asks_for_documents_asks_in_every_update() {
    let mut scanner = BulkScanner::new(Some("a"), false, true);
    let mut items = Vec::new();
    let body = b"{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n{\"index\":{}}\n{}\n{\"delete\":{\"_id\":\"1\"}}\n{\"update\":{\"_index\":\"b\",\"_id\":\"1\",\"_source\":false}}\n{\"_source\":false}\n";
    let seen = scanner.feed(body, |item| {
        items.push((item.class, item.index.to_owned()));
        Ok::<_, BodyError>(())
    });
    assert_eq!(seen, Ok(()));
    let expected = [
        (Class::Write, "a"),
        (Class::Get, "a"),
        (Class::Append, "a"),
        (Class::Write, "a"),
        (Class::Write, "b"),
        (Class::Get, "b"),
    ];
    assert_eq!(items, expected.map(|(class, index)| (class, index.to_owned())));
    assert_eq!(scanner.finish(), Ok(4));
}

proptest! {
    /// Whatever stands around it and however the key is written: at the top it reads, deeper it does not.
    #[test]
    fn a_key_at_the_top_of_an_update_reads(
        key in prop_oneof![Just("_source"), Just("script"), Just("fields")],
        escaped in prop::collection::vec(any::<bool>(), 7),
        before in "[a-z]{0,6}", text in "\\PC{0,20}", depth in 0usize..4,
        cuts in prop::collection::vec(1usize..30, 0..40),
    ) {
        let key: String = key.chars().zip(escaped).map(|(letter, escaped)| {
            if escaped { format!("\\u{:04x}", u32::from(letter)) } else { letter.to_string() }
        }).collect();
        let text: String = text.chars().filter(|letter| !matches!(letter, '"' | '\\')).collect();
        let nested = format!("{}{{\"{key}\":\"{text}\"}}{}", "{\"doc\":".repeat(depth), "}".repeat(depth));
        let source = format!("{{\"x{before}\":\"{text}\",\"y\":{nested}}}");
        let body = |source: &str| format!("{{\"update\":{{\"_id\":\"1\"}}}}\n{source}\n");
        let classes = |source: &str| {
            let items = bulk_in_chunks(Some("a"), false, body(source).as_bytes(), &cuts)?;
            Ok::<_, BodyError>(items.into_iter().map(|(class, ..)| class).collect::<Vec<_>>())
        };
        prop_assert_eq!(classes(&source), Ok(vec![Class::Write]));
        let top = nested.replacen('{', &format!("{{\"{key}\":[],"), usize::from(depth > 0));
        prop_assert_eq!(classes(&top), Ok(vec![Class::Write, Class::Get]));
    }
}
