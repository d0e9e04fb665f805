//! Bodies that are read as a whole and name indices of their own: what they add to the targets, and which are refused.

use oauth4os_classify::{Action, Body, BodyError, BodyTarget, Class};

/// Class, action, index.
type Target<'n> = (Class, Action, &'n str);

fn targets(body: &Body, text: &str) -> Result<Vec<(Class, Action, String)>, BodyError> {
    let found = body.inspect(text.as_bytes())?.targets;
    Ok(found.into_iter().map(|BodyTarget { class, action, index, .. }| (class, action, index)).collect())
}

/// `body` reads each text as these targets.
#[track_caller]
fn reads(body: &Body, table: &[(&str, &[Target<'_>])]) {
    for (text, expected) in table {
        let expected: Vec<_> =
            expected.iter().map(|(class, action, name)| (*class, *action, (*name).to_owned())).collect();
        assert_eq!(targets(body, text), Ok(expected), "{text}");
    }
}

#[track_caller]
fn refuses(body: &Body, texts: &[&str]) {
    for text in texts {
        assert!(targets(body, text).is_err(), "{text}: {:?}", targets(body, text));
    }
}

const SEARCH: (Class, Action) = (Class::Search, Action::Search);
const GET: (Class, Action) = (Class::Get, Action::Get);
const WRITE: (Class, Action) = (Class::Write, Action::Update);
const MANAGE: (Class, Action) = (Class::Manage, Action::Manage);
const REMOVE: (Class, Action) = (Class::Manage, Action::Delete);

/// A target.
const fn t(right: (Class, Action), name: &str) -> Target<'_> {
    (right.0, right.1, name)
}

#[test]
fn a_reindex_reads_its_source_and_writes_its_destination() {
    reads(
        &Body::Reindex,
        &[
            (r#"{"source":{"index":"a"},"dest":{"index":"b"}}"#, &[t(SEARCH, "a"), t(WRITE, "b")]),
            (
                r#"{"dest":{"index":"b"},"source":{"index":["a","c-*"]}}"#,
                &[t(WRITE, "b"), t(SEARCH, "a"), t(SEARCH, "c-*")],
            ),
            (r#"{"source":{"index":"a,c"},"dest":{"index":"b"}}"#, &[t(SEARCH, "a"), t(SEARCH, "c"), t(WRITE, "b")]),
            (r#"{"source":{"\u0069ndex":"_all"},"dest":{"index":"b"}}"#, &[t(SEARCH, "*"), t(WRITE, "b")]),
            (
                r#"{"source":{"index":"a"},"dest":{"index":"b","op_type":"create","pipeline":"p","routing":"keep"}}"#,
                &[t(SEARCH, "a"), t((Class::Append, Action::Create), "b")],
            ),
            (r#"{"source":{"index":"a"},"dest":{"index":"b","op_type":"index"}}"#, &[t(SEARCH, "a"), t(WRITE, "b")]),
            (
                r#"{"source":{"index":"a","query":{"terms":{"u":{"index":"pii","id":"1","path":"x"}}}},"dest":{"index":"b"}}"#,
                &[t(SEARCH, "a"), t(GET, "pii"), t(WRITE, "b")],
            ),
            (
                r#"{"source":{"index":"a","size":10,"_source":["x"],"sort":{"d":"asc"},"slice":{"id":0,"max":2}},"dest":{"index":"b"},"max_docs":5,"conflicts":"proceed"}"#,
                &[t(SEARCH, "a"), t(WRITE, "b")],
            ),
        ],
    );
    refuses(
        &Body::Reindex,
        &[
            "{}",
            r#"{"source":{"index":"a"}}"#,
            r#"{"dest":{"index":"b"}}"#,
            r#"{"source":{},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":[]},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":5},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":[["a"]]},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":"a"},"dest":{"index":"b,c"}}"#,
            r#"{"source":{"index":"a"},"dest":{"index":"b-*"}}"#,
            r#"{"source":{"index":"a"},"dest":{"index":["b"]}}"#,
            r#"{"source":{"index":"a"},"dest":{"index":"_all"}}"#,
            r#"{"source":{"index":"a"},"dest":{"op_type":"create"}}"#,
            r#"{"source":{"index":"a","remote":{"host":"http://localhost:9200"}},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":"a"},"dest":{"index":"b"},"script":{"source":"ctx._index = 'pii'"}}"#,
            r#"{"source":{"index":"a","pit":{"id":"x"}},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":"a","index":"pii"},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":"a"},"source":{"index":"pii"},"dest":{"index":"b"}}"#,
            r#"{"source":{"index":"a","query":{"wrapper":{"query":"e30="}}},"dest":{"index":"b"}}"#,
            r#"[{"source":{"index":"a"},"dest":{"index":"b"}}]"#,
        ],
    );
}

#[test]
fn every_step_of_a_change_of_aliases_names_both_sides() {
    reads(
        &Body::Aliases,
        &[
            (r#"{"actions":[{"add":{"index":"a","alias":"x"}}]}"#, &[t(MANAGE, "a"), t(MANAGE, "x")]),
            (
                r#"{"actions":[{"add":{"indices":["a","b-*"],"aliases":["x","y"],"is_write_index":true,"routing":1}}]}"#,
                &[t(MANAGE, "a"), t(MANAGE, "b-*"), t(MANAGE, "x"), t(MANAGE, "y")],
            ),
            (
                r#"{"actions":[{"remove":{"index":"a","alias":"x-*","must_exist":true}}]}"#,
                &[t(REMOVE, "a"), t(REMOVE, "x-*")],
            ),
            (r#"{"actions":[{"remove_index":{"index":"a"}}]}"#, &[t(REMOVE, "a")]),
            (
                r#"{"actions":[{"remove_index":{"indices":["a"]}},{"add":{"index":"b","alias":"a"}}]}"#,
                &[t(REMOVE, "a"), t(MANAGE, "b"), t(MANAGE, "a")],
            ),
            (r#"{"actions":[{"add":{"index":"_all","alias":"x"}}]}"#, &[t(MANAGE, "*"), t(MANAGE, "x")]),
            (
                r#"{"actions":[{"add":{"index":"a","alias":"x","filter":{"terms":{"u":{"index":"pii","id":"1","path":"p"}}}}}]}"#,
                &[t(MANAGE, "a"), t(MANAGE, "x"), t(GET, "pii")],
            ),
            (r#"{"actions":[]}"#, &[]),
        ],
    );
    refuses(
        &Body::Aliases,
        &[
            r#"{"actions":[{}]}"#,
            r#"{"actions":[{"add":{"alias":"x"}}]}"#,
            r#"{"actions":[{"add":{"index":"a"}}]}"#,
            r#"{"actions":[{"remove_index":{}}]}"#,
            r#"{"actions":[{"add":{"index":"","alias":"x"}}]}"#,
            r#"{"actions":[{"add":{"indices":[],"alias":"x"}}]}"#,
            r#"{"actions":[{"add":{"index":{"a":1},"alias":"x"}}]}"#,
            r#"{"actions":[{"add":{"index":"a","alias":"x"},"remove":{"index":"b","alias":"y"}}]}"#,
            r#"{"actions":[{"swap":{"index":"a","alias":"x"}}]}"#,
            r#"{"actions":[{"add":{"index":"a","alias":"x","other":{"index":"pii"}}}]}"#,
            r#"{"actions":{"add":{"index":"a","alias":"x"}}}"#,
            r#"{"actions":[{"add":{"index":"a","index":"pii","alias":"x"}}]}"#,
            r#"{"index":"a"}"#,
        ],
    );
}

#[test]
fn aliases_of_templates_are_managed_with_the_patterns_they_are_for() {
    reads(
        &Body::Template,
        &[
            (r#"{"index_patterns":["a-*"],"template":{"settings":{"index":{"number_of_shards":1}}}}"#, &[]),
            (
                r#"{"index_patterns":["a-*"],"priority":1,"composed_of":["c"],"data_stream":{},"_meta":{"aliases":{"x":{}}}}"#,
                &[],
            ),
            (r#"{"index_patterns":["a-*"],"template":{"aliases":{"x":{}}}}"#, &[t(MANAGE, "x"), t(MANAGE, "a-*")]),
            (r#"{"template":{"aliases":{"x":{}}},"index_patterns":"a-*"}"#, &[t(MANAGE, "x"), t(MANAGE, "a-*")]),
            (
                r#"{"index_patterns":["a-*","b"],"aliases":{"x":{},"y":{}}}"#,
                &[t(MANAGE, "x"), t(MANAGE, "y"), t(MANAGE, "a-*"), t(MANAGE, "b")],
            ),
            (r#"{"index_patterns":["a-*"],"aliases":{"{index}-all":{}}}"#, &[t(MANAGE, "*-all"), t(MANAGE, "a-*")]),
            // A component template is for whatever it is built into.
            (r#"{"template":{"aliases":{"x":{}}}}"#, &[t(MANAGE, "x"), t(MANAGE, "*")]),
            (r#"{"template":{"aliases":{}}}"#, &[]),
            (r#"{"template":{"aliases":null}}"#, &[]),
            (
                r#"{"index_patterns":["a"],"template":{"\u0061liases":{"x":{"filter":{"terms":{"u":{"index":"pii","id":"1","path":"p"}}}}}}}"#,
                &[t(MANAGE, "x"), t(GET, "pii"), t(MANAGE, "a")],
            ),
        ],
    );
    refuses(
        &Body::Template,
        &[
            r#"{"template":{"aliases":["x"]}}"#,
            r#"{"aliases":"x"}"#,
            r#"{"template":{"aliases":{"x":{}}},"template":{}}"#,
            r#"{"index_patterns":{"a":1},"aliases":{"x":{}}}"#,
            r#"{"aliases":{"x y":{}}}"#,
        ],
    );
}

#[test]
fn multiple_term_vectors_read_every_index_they_may_mean() {
    let body = Body::Mtermvectors { default_index: None };
    reads(
        &body,
        &[
            (
                r#"{"docs":[{"_index":"a","_id":"1"},{"_index":"b","doc":{"_index":"data"}}]}"#,
                &[t(GET, "a"), t(GET, "b")],
            ),
            (r#"{"ids":["1"],"parameters":{"_index":"a","fields":["x"]}}"#, &[t(GET, "a")]),
            (
                r#"{"docs":[{"_id":"1"},{"_index":"b","_id":"2"}],"parameters":{"_index":"a"}}"#,
                &[t(GET, "b"), t(GET, "a")],
            ),
            (
                r#"{"docs":[{"_index":"a","_id":"1","filter":{"max_num_terms":3},"per_field_analyzer":{"_index":"x"}}]}"#,
                &[t(GET, "a")],
            ),
        ],
    );
    refuses(
        &body,
        &[
            r#"{"ids":["1"]}"#,
            r#"{"docs":[{"_id":"1"}]}"#,
            r#"{"docs":[{"_index":5,"_id":"1"}]}"#,
            r#"{"docs":[{"_index":"a,b","_id":"1"}]}"#,
            r#"{"docs":[{"_index":"a-*","_id":"1"}]}"#,
            r#"{"docs":[{"_index":"a","routing":{"_index":"pii"}}]}"#,
            r#"{"docs":[{"_index":"a","_index":"pii"}]}"#,
            r#"{"docs":[{"_index":"a"}],"other":[{"_index":"pii"}]}"#,
            r#"{"docs":{"_index":"a"}}"#,
        ],
    );
    let body = Body::Mtermvectors { default_index: Some("d".to_owned()) };
    reads(
        &body,
        &[
            (r#"{"ids":["1"]}"#, &[t(GET, "d")]),
            (r#"{"docs":[{"_index":"a","_id":"1"}]}"#, &[t(GET, "d"), t(GET, "a")]),
            (r#"{"ids":["1"],"parameters":{"_index":"a"}}"#, &[t(GET, "d"), t(GET, "a")]),
        ],
    );
}

/// A pipeline may choose another index: what is done with what comes out of it.
#[test]
fn pipelines_that_a_body_chooses_are_told() {
    let settings = (Class::Write, Action::Update);
    let bulk = |pipeline| Body::Bulk { default_index: Some("a".to_owned()), pipeline, returns_source: false };
    for (body, text, expected) in [
        (Body::Settings, r#"{"index.default_pipeline":"p"}"#, &[settings][..]),
        (Body::Settings, r#"{"settings":{"index":{"final_\u0070ipeline":"p"}}}"#, &[settings]),
        (Body::Settings, r#"{"default_pipeline":["p"]}"#, &[settings]),
        (
            Body::Settings,
            r#"{"index":{"default_pipeline":"_none","final_pipeline":null,"refresh_interval":"1s"}}"#,
            &[],
        ),
        (Body::Settings, r#"{"pipeline":"p","analysis":{"filter":{"default_pipelines":{"type":"x"}}}}"#, &[]),
        (Body::Create, r#"{"settings":{"index":{"default_pipeline":"p"}},"aliases":{}}"#, &[settings]),
        (Body::Create, r#"{"mappings":{"properties":{"default_pipeline":{"type":"text"}}}}"#, &[]),
        (Body::Template, r#"{"index_patterns":"x-*","template":{"settings":{"final_pipeline":"p"}}}"#, &[settings]),
        (Body::Template, r#"{"index_patterns":["x-*"],"settings":{"index.default_pipeline":"p"}}"#, &[settings]),
        (Body::Reindex, r#"{"source":{"index":"a"},"dest":{"index":"b","pipeline":"p"}}"#, &[WRITE]),
        (
            Body::Reindex,
            r#"{"source":{"index":"a"},"dest":{"pipeline":"p","index":"b","op_type":"create"}}"#,
            &[(Class::Append, Action::Create)],
        ),
        (Body::Reindex, r#"{"source":{"index":"a"},"dest":{"index":"b","pipeline":"_none"}}"#, &[]),
        (bulk(false), "{\"create\":{\"pipeline\":\"p\"}}\n{}\n", &[(Class::Append, Action::Create)]),
        (bulk(false), "{\"update\":{\"_id\":\"1\",\"pipeline\":\"p\"}}\n{}\n", &[WRITE]),
        (
            bulk(false),
            "{\"index\":{\"pipeline\":\"_none\"}}\n{}\n{\"delete\":{\"_id\":\"1\",\"pipeline\":\"p\"}}\n",
            &[],
        ),
        (bulk(true), "{\"index\":{\"pipeline\":null}}\n{}\n{\"delete\":{\"_id\":\"1\"}}\n", &[WRITE]),
        (bulk(true), "{\"index\":{\"pipeline\":\"_none\"}}\n{}\n", &[]),
    ] {
        assert_eq!(body.inspect(text.as_bytes()).map(|found| found.pipelines), Ok(expected.to_vec()), "{text}");
    }
    for text in [r#"{"index.default_pipeline":"_none","index.default_pipeline":"p"}"#, "{/**/}", "{", "[]x"] {
        assert!(Body::Settings.inspect(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_rank_evaluation_adds_what_its_queries_look_up() {
    reads(
        &Body::RankEval,
        &[
            (
                r#"{"requests":[{"id":"q","request":{"query":{"match":{"m":"x"}}},"ratings":[{"_index":"a","_id":"1","rating":1}]}],"metric":{"precision":{"k":5}}}"#,
                &[],
            ),
            (
                r#"{"requests":[{"id":"q","request":{"query":{"terms":{"u":{"index":"pii","id":"1","path":"p"}}}},"ratings":[]}],"metric":{}}"#,
                &[t(GET, "pii")],
            ),
            (
                r#"{"requests":[{"id":"q","request":{"indices_boost":[{"pii":1}]},"ratings":[]}],"metric":{}}"#,
                &[t(SEARCH, "pii")],
            ),
        ],
    );
    refuses(
        &Body::RankEval,
        &[
            r#"{"templates":[{"id":"t","template":{"source":"{}"}}],"requests":[]}"#,
            r#"{"requests":[{"id":"q","template_id":"t","ratings":[]}]}"#,
            r#"{"requests":[{"id":"q","params":{"a":1},"ratings":[]}]}"#,
            r#"{"requests":[{"id":"q","request":{"pit":{"id":"x"}},"ratings":[]}]}"#,
            r#"{"requests":[{"id":"q","other":{"query":{}},"ratings":[]}]}"#,
        ],
    );
}

#[test]
fn shards_are_named_to_policies() {
    let monitor = (Class::ClusterMonitor, Action::Monitor);
    let admin = (Class::ClusterAdmin, Action::Admin);
    reads(&Body::Explain, &[("{}", &[]), (r#"{"index":"a","shard":0,"primary":true}"#, &[t(monitor, "a")])]);
    reads(
        &Body::Reroute,
        &[
            ("{}", &[]),
            (
                r#"{"commands":[{"move":{"index":"a","shard":0,"from_node":"x","to_node":"y"}},{"cancel":{"index":"b","shard":0,"node":"x"}}]}"#,
                &[t(admin, "a"), t(admin, "b")],
            ),
        ],
    );
    refuses(
        &Body::Explain,
        &[r#"{"index":["a"]}"#, r#"{"index":"a,b"}"#, r#"{"index":"a","index":"b"}"#, r#"{"a":{"index":"b"}}"#],
    );
    refuses(
        &Body::Reroute,
        &[
            r#"{"commands":{"move":{"index":"a"}}}"#,
            r#"{"commands":[{"move":{"index":{"a":1}}}]}"#,
            r#"{"commands":[{"move":["a"]}]}"#,
        ],
    );
}

#[test]
fn an_update_by_query_adds_what_its_query_looks_up() {
    // The engine refuses a script that changes `_index`: it names no index of its own.
    reads(
        &Body::Query,
        &[
            (r#"{"query":{"match_all":{}},"script":{"source":"ctx._source.n++","params":{"index":"x"}}}"#, &[]),
            (r#"{"query":{"terms":{"u":{"index":"pii","id":"1","path":"p"}}}}"#, &[t(GET, "pii")]),
        ],
    );
}

#[test]
fn hidden_indices_are_told() {
    for (body, text) in [
        (Body::Reindex, r#"{"source":{"index":".a"},"dest":{"index":"b"}}"#),
        (Body::Aliases, r#"{"actions":[{"remove_index":{"index":".a"}}]}"#),
        (Body::Mtermvectors { default_index: None }, r#"{"docs":[{"_index":".a","_id":"1"}]}"#),
    ] {
        assert!(body.inspect(text.as_bytes()).unwrap().hidden, "{text}");
    }
}
