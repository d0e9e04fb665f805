//! What method and target say: `requests.txt` line by line, and laws that hold for any of them.

use oauth4os_classify::{Action, Body, Class, ClassifyError, Operation, Targets, classify};
use proptest::prelude::*;

fn describe(result: &Result<Operation, ClassifyError>) -> String {
    let operation = match result {
        Ok(operation) => operation,
        Err(error) => {
            let name = format!("{error:?}");
            return format!("refused {}", name.split([' ', '(', '{']).next().unwrap_or_default());
        }
    };
    let targets = match &operation.targets {
        Targets::Cluster => "cluster".to_owned(),
        Targets::Handle => "handle".to_owned(),
        Targets::Body => "body".to_owned(),
        Targets::Indices(named) | Targets::Dashboards(named) => named.join(","),
    };
    let returns_source = matches!(operation.body, Body::Bulk { returns_source: true, .. });
    let flags: Vec<String> = [
        (operation.hidden, "hidden"),
        (operation.create_only, "create_only"),
        (operation.pipeline, "pipeline"),
        (returns_source, "returns_source"),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .map(|(_, name)| name.to_owned())
    .chain(operation.also.map(|(class, _)| format!("also={}", class.as_str())))
    .collect();
    format!("{} {:?} {targets} {}", operation.name, operation.class, flags.join(",")).trim_end().to_owned()
}

#[test]
fn every_request_of_the_table_is_read_as_it_says() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in include_str!("requests.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (request, expected) = line.split_once("=>").unwrap_or_else(|| panic!("no `=>` in `{line}`"));
        let (method, target) = request.trim().split_once(' ').unwrap_or_else(|| panic!("no target in `{line}`"));
        let expected = expected.split_whitespace().collect::<Vec<_>>().join(" ");
        let seen = describe(&classify(method, target.trim()));
        if seen != expected {
            wrong.push(format!("{}: expected `{expected}`, is `{seen}`", request.trim()));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 200, "only {count} requests");
}

type Line = (Vec<&'static str>, &'static str, &'static str, &'static str, &'static str);

/// The lines of `operations.txt`: methods, path, operation, class, and the whole line.
fn table() -> Vec<Line> {
    include_str!("../operations.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let mut next = || words.next().unwrap_or_default();
            (next().split(',').collect(), next(), next(), next(), line)
        })
        .collect()
}

#[test]
fn every_line_of_the_operations_routes_to_itself() {
    let mut count = 0;
    for (methods, path, name, class, line) in table() {
        // A value no literal has.
        let target: Vec<&str> = path.split('/').map(|s| if s.starts_with('{') { "some-value" } else { s }).collect();
        for method in &methods {
            let operation = classify(method, &target.join("/")).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
            assert_eq!(operation.name, name, "{method} {path}");
            assert_eq!(format!("{:?}", operation.class), class, "{method} {path}");
            let also = operation.also.map(|(class, _)| class.as_str());
            let written = line.split_whitespace().find_map(|word| word.strip_prefix("also="));
            assert_eq!(also, written, "{method} {path}");
            // What the engine does not answer to GET changes something.
            let reads = methods.contains(&"GET") || methods.contains(&"HEAD");
            assert!(reads || !operation.is_repeatable(), "{method} {path}");
            assert_eq!(operation.denied.is_some(), operation.class == Class::Denied, "{method} {path}");
            assert_eq!(operation.class == Class::Denied, operation.action == Action::Denied, "{method} {path}");
            if operation.class != Class::Denied {
                let on_cluster = operation.targets == Targets::Cluster;
                assert_eq!(operation.class.is_cluster(), on_cluster, "{method} {path}");
            }
            if let Targets::Indices(indices) = &operation.targets {
                assert!(!indices.is_empty(), "{method} {path}");
            }
            count += 1;
        }
    }
    assert!(count > 1000, "only {count} operations");
}

#[test]
fn an_index_path_without_an_index_means_all() {
    for (methods, path, ..) in table() {
        let Some(bare) = path.strip_prefix("/{index}/") else {
            continue;
        };
        for method in methods {
            let Ok(operation) = classify(method, &format!("/{bare}").replace(['{', '}'], "")) else {
                continue;
            };
            if let Targets::Indices(indices) = operation.targets {
                // `/_settings/{name}` and the like: only those that are about an index at all.
                assert!(
                    indices.iter().any(|index| index == "*") || bare.contains('{'),
                    "{method} /{bare}: {indices:?}"
                );
            }
        }
    }
}

#[test]
fn errors_say_what_to_do_and_have_a_status() {
    let unknown = classify("GET", "/logs-a/_unknown").unwrap_err();
    assert_eq!(unknown.status(), 403);
    assert!(unknown.to_string().contains("`GET /logs-a/_unknown`"), "{unknown}");
    let method = classify("PATCH", "/logs-a/_search").unwrap_err();
    assert_eq!(method.status(), 405);
    assert!(method.to_string().contains("GET, POST"), "{method}");
    assert_eq!(classify("GET", "//").unwrap_err().status(), 400);
}

#[test]
fn scroll_ids_in_path_and_query_are_told_and_so_is_what_opens_a_scroll() {
    for (method, target, handles, scrolls) in [
        ("POST", "/_search/scroll", &[][..], true),
        ("POST", "/_search/scroll/a%2Fb", &["a/b"], true),
        ("GET", "/_search/scroll?scroll=1m&scroll_id=a", &["a"], true),
        ("GET", "/_search/scroll?%73croll_id=a%2Cb", &["a", "b"], true),
        // A captured parameter hides one of the query.
        ("GET", "/_search/scroll/a?scroll_id=b", &["a"], true),
        ("DELETE", "/_search/scroll/a,,b", &["a", "b"], false),
        ("GET", "/logs/_search?scroll=1m", &[], true),
        ("GET", "/logs/_search?%73croll=1m", &[], true),
        ("GET", "/logs/_search?scroll_size=1", &[], false),
        ("POST", "/logs/_update_by_query?scroll=1m", &[], false),
    ] {
        let operation = classify(method, target).unwrap();
        assert_eq!(
            (operation.handles, operation.scrolls),
            (handles.iter().map(ToString::to_string).collect(), scrolls),
            "{target}"
        );
    }
}

fn percent_encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

proptest! {
    #[test]
    fn nothing_panics(method in "[A-Z]{3,7}", target in r"/[ -~]{0,60}") {
        let _ = classify(&method, &target);
    }

    #[test]
    fn nothing_panics_on_any_text(target in any::<String>()) {
        let _ = classify("GET", &target);
    }

    #[test]
    fn nothing_panics_near_the_api(parts in prop::collection::vec(prop_oneof![
        Just("_search"), Just("*"), Just("_all"), Just("logs-a"), Just("_doc"), Just("_cat"), Just("indices"),
        Just("_cluster"), Just("state"), Just("%2C"), Just(""), Just(".."), Just("_nodes"), Just("stats"), Just("views"),
    ], 0..6)) {
        let target = format!("/{}", parts.join("/"));
        if let Ok(Operation { targets: Targets::Indices(indices), .. }) = classify("GET", &target) {
            prop_assert!(!indices.is_empty());
            for index in indices {
                prop_assert!(!index.is_empty() && !index.contains(','));
            }
        }
    }

    /// However a target is encoded, the same expressions come out, in path and query.
    #[test]
    fn encoded_targets_round_trip(names in prop::collection::vec(r"[a-z0-9.<{][a-zA-Z0-9.*?<>{}/é日:+-]{0,12}", 1..4)) {
        let mut expected: Vec<String> = Vec::new();
        for name in &names {
            if !expected.contains(name) {
                expected.push(name.clone());
            }
        }
        prop_assume!(!names.iter().any(|name| name == "." || name == ".."));
        let list = percent_encode(&names.join(","));
        prop_assume!(!list.is_empty());
        for target in [format!("/{list}/_search"), format!("/_search?index={list}")] {
            let operation = classify("POST", &target).unwrap();
            prop_assert_eq!(operation.targets, Targets::Indices(expected.clone()));
        }
    }

    /// A query adds nothing to what the path says.
    #[test]
    fn the_path_decides(query in r"[a-z0-9=&%+;_]{0,40}") {
        if let Ok(operation) = classify("GET", &format!("/logs-a/_search?{query}")) {
            prop_assert_eq!(operation.targets, Targets::Indices(vec!["logs-a".to_owned()]));
        }
    }
}
