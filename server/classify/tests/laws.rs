//! What holds for any bytes: asked here of the corpus of the fuzz targets and of what proptest makes up.

#[path = "common/laws.rs"]
mod laws;

use std::path::PathBuf;
use std::{fs, io};

use proptest::prelude::*;

use laws::{
    a_body_is_read_as_it_is_meant, a_bulk_body_is_the_same_in_any_pieces, a_gzip_body_is_the_same_in_any_pieces,
    a_gzip_bulk_body_is_decided_as_the_plain_one, a_multi_search_is_the_same_in_any_pieces,
    a_request_is_read_or_refused, with_cuts,
};

/// The checked-in seeds of a fuzz target.
fn corpus(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<PathBuf> =
        fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    assert!(files.len() > 3, "`{}` has hardly a seed", folder.display());
    files.into_iter().map(fs::read).collect()
}

#[test]
fn the_laws_hold_for_the_corpus() -> io::Result<()> {
    corpus("classify")?.iter().for_each(|data| a_request_is_read_or_refused(data));
    corpus("body")?.iter().for_each(|data| a_body_is_read_as_it_is_meant(data));
    for data in corpus("bulk")? {
        let (body, cuts) = with_cuts(&data);
        a_bulk_body_is_the_same_in_any_pieces(body, &cuts);
    }
    for data in corpus("msearch")? {
        let (body, cuts) = with_cuts(&data);
        a_multi_search_is_the_same_in_any_pieces(body, &cuts);
    }
    for data in corpus("gzip")? {
        let (body, cuts) = with_cuts(&data);
        a_gzip_body_is_the_same_in_any_pieces(body, &cuts);
        a_gzip_bulk_body_is_decided_as_the_plain_one(body, &cuts);
    }
    Ok(())
}

/// The words that scanners look for, and what they stand between.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        prop::sample::select(vec![
            "\"index\"",
            "\"_index\"",
            "\"indices\"",
            "\"source\"",
            "\"dest\"",
            "\"actions\"",
            "\"add\"",
            "\"remove_index\"",
            "\"alias\"",
            "\"aliases\"",
            "\"template\"",
            "\"index_patterns\"",
            "\"docs\"",
            "\"ids\"",
            "\"parameters\"",
            "\"requests\"",
            "\"request\"",
            "\"query\"",
            "\"terms\"",
            "\"pit\"",
            "\"id\"",
            "\"script\"",
            "\"remote\"",
            "\"commands\"",
            "\"move\"",
            "\"create\"",
            "\"delete\"",
            "\"update\"",
            "\"filter\"",
            "\"like\"",
            "\"indexed_shape\"",
        ]),
        prop::sample::select(vec![
            "\"a\"",
            "\"b-*\"",
            "\"a,b\"",
            "\"\\u0061\"",
            "\"_all\"",
            "1",
            "true",
            "null",
            "\"\"",
            "\"{index}\""
        ]),
        prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\n", " ", "\\", "\"", "\u{e9}"]),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes())
}

/// Well-formed JSON of the same words.
fn documents() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop::sample::select(vec!["\"a\"", "\"b-*\"", "\"a,b\"", "\"\\u0061\"", "1", "true", "null", "\"\""])
        .prop_map(str::to_owned);
    let key = prop::sample::select(vec![
        "index",
        "_index",
        "indices",
        "source",
        "dest",
        "actions",
        "add",
        "remove",
        "remove_index",
        "alias",
        "aliases",
        "template",
        "index_patterns",
        "docs",
        "ids",
        "parameters",
        "requests",
        "request",
        "query",
        "terms",
        "filter",
        "op_type",
        "commands",
        "move",
        "doc",
        "script",
        "x",
    ]);
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::btree_map(key.clone(), inner, 0..5).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
    .prop_map(String::into_bytes)
}

proptest! {
    #[test]
    fn requests(text in prop_oneof![
        any::<String>(),
        r"(GET|POST|PUT|DELETE|HEAD) /[a-z_*,%0-9A-F/.<>{}-]{0,40}(\?[a-z_=&;%0-9A-F,]{0,40})?",
    ]) {
        a_request_is_read_or_refused(text.as_bytes());
    }

    #[test]
    fn bodies_of_words(body in pieces()) {
        a_body_is_read_as_it_is_meant(&body);
    }

    #[test]
    fn bodies_of_json(body in documents()) {
        a_body_is_read_as_it_is_meant(&body);
    }

    #[test]
    fn bodies_of_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        a_body_is_read_as_it_is_meant(&body);
    }

    #[test]
    fn lines(body in prop_oneof![pieces(), prop::collection::vec(any::<u8>(), 0..200)], cuts in prop::collection::vec(0usize..30, 0..30)) {
        a_bulk_body_is_the_same_in_any_pieces(&body, &cuts);
        a_multi_search_is_the_same_in_any_pieces(&body, &cuts);
    }
}
