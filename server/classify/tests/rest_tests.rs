//! The engine's own REST tests and descriptions of its API: the laws hold for every body and request of them, and every
//! operation is known.
//!
//! They come from a package (`cargo xtask corpus`) and are not part of this repository. `cargo xtask check` brings them and says by
//! `OAUTH4OS_REST_TESTS` where they are; a run by hand without that asks nothing and says so.

#[path = "common/laws.rs"]
mod laws;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::{env, fs, io};

use laws::{
    a_body_is_read_as_it_is_meant, a_bulk_body_is_the_same_in_any_pieces, a_gzip_body_is_the_same_in_any_pieces,
    a_gzip_bulk_body_is_decided_as_the_plain_one, a_multi_search_is_the_same_in_any_pieces,
    a_request_is_read_or_refused, with_cuts,
};
use oauth4os_classify::{Body, classify};

/// Operations that are named otherwise here, or are not known, with the reason.
const DIFFERENCES: &str = include_str!("../rest_api.txt");

fn folder() -> Option<PathBuf> {
    let folder = env::var_os("OAUTH4OS_REST_TESTS").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("not asked: set OAUTH4OS_REST_TESTS to what `cargo xtask corpus` prints");
    }
    folder
}

fn seeds(target: &str) -> io::Result<Vec<Vec<u8>>> {
    let Some(folder) = folder() else { return Ok(Vec::new()) };
    let files = fs::read_dir(folder.join(target))?.map(|entry| entry.map(|entry| entry.path()));
    let seeds: Vec<Vec<u8>> = files.map(|path| path.and_then(fs::read)).collect::<io::Result<_>>()?;
    assert!(seeds.len() > 5, "`{target}` has hardly a seed");
    Ok(seeds)
}

#[test]
fn the_laws_hold_for_every_request() -> io::Result<()> {
    seeds("classify")?.iter().for_each(|request| a_request_is_read_or_refused(request));
    Ok(())
}

#[test]
fn the_laws_hold_for_every_body() -> io::Result<()> {
    for body in seeds("body")? {
        a_body_is_read_as_it_is_meant(&body);
    }
    for seed in seeds("bulk")?.iter().chain(&seeds("msearch")?) {
        let (body, _) = with_cuts(seed);
        a_body_is_read_as_it_is_meant(body);
        for cuts in [&[][..], &[1; 16], &[3, 1, 4, 1, 5, 9, 2, 6], &[64; 16]] {
            a_bulk_body_is_the_same_in_any_pieces(body, cuts);
            a_multi_search_is_the_same_in_any_pieces(body, cuts);
            a_gzip_bulk_body_is_decided_as_the_plain_one(body, cuts);
            a_gzip_body_is_the_same_in_any_pieces(body, cuts);
        }
    }
    Ok(())
}

/// The engine takes most of the bodies of its own tests: a reader that took none of them would pass every law.
#[test]
fn what_the_engine_takes_is_mostly_read() -> io::Result<()> {
    for (target, body) in [
        ("bulk", Body::Bulk { default_index: Some("d".to_owned()), pipeline: false, returns_source: false }),
        ("msearch", Body::Msearch { default: vec!["d".to_owned()] }),
        ("body", Body::Search),
    ] {
        let seeds = seeds(target)?;
        let read = seeds.iter().filter(|seed| {
            let seed = if target == "body" { seed.as_slice() } else { with_cuts(seed).0 };
            body.inspect(seed).is_ok()
        });
        let read = read.count();
        assert!(read * 10 >= seeds.len() * 7, "`{target}`: {read} of {} are read", seeds.len());
    }
    Ok(())
}

#[test]
fn every_operation_of_the_engine_is_known() {
    let Some(folder) = folder() else { return };
    let apis = fs::read_to_string(folder.join("apis.txt")).unwrap();
    assert!(apis.lines().count() > 150, "hardly an operation");
    let mut found = BTreeSet::new();
    for line in apis.lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(name), Some(method), Some(path)) = (words.next(), words.next(), words.next()) else { continue };
        let difference = match classify(method, &filled(path)) {
            Ok(operation) if operation.name == name => continue,
            Ok(operation) => format!("{method} {path} {name} is {}", operation.name),
            Err(_) => format!("{method} {path} {name} is unknown"),
        };
        found.insert(difference);
    }
    let mut listed = BTreeSet::new();
    for line in DIFFERENCES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (difference, reason) = line.split_once(" : ").unwrap_or_else(|| panic!("`{line}` has no reason"));
        assert!(reason.trim().len() > 10, "`{line}` has no reason");
        listed.insert(difference.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(new.is_empty() && gone.is_empty(), "new differences: {new:#?}\nno longer there: {gone:#?}");
}

/// A path with something in place of each of its parts.
fn filled(path: &str) -> String {
    let mut out = String::new();
    for part in path.split('{') {
        match part.split_once('}') {
            Some((_, rest)) => out.extend(["x", rest]),
            None => out.push_str(part),
        }
    }
    out
}
