//! What each fuzz target asks of its input. The laws of `oauth4os-classify` are those of its property tests.

#[path = "../../server/classify/tests/common/laws.rs"]
mod laws;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the gateway's reader of HTTP, of which only the head of a request is asked"
)]
#[path = "../../server/proxy/src/wire/mod.rs"]
mod wire;

use wire::request::{Arrived, MAX_HEADERS, RequestHead, find_end};

/// A method and a target, with a space between them.
pub fn classify(data: &[u8]) {
    laws::a_request_is_read_or_refused(data);
}

/// A body, read in every way a body is read.
pub fn body(data: &[u8]) {
    laws::a_body_is_read_as_it_is_meant(data);
}

/// A bulk body and where it is cut.
pub fn bulk(data: &[u8]) {
    let (body, cuts) = laws::with_cuts(data);
    laws::a_bulk_body_is_the_same_in_any_pieces(body, &cuts);
}

/// A multi-search and where it is cut.
pub fn msearch(data: &[u8]) {
    let (body, cuts) = laws::with_cuts(data);
    laws::a_multi_search_is_the_same_in_any_pieces(body, &cuts);
}

/// A body with gzip and where it is cut; and the same bytes as a bulk body, compressed.
pub fn gzip(data: &[u8]) {
    let (body, cuts) = laws::with_cuts(data);
    laws::a_gzip_body_is_the_same_in_any_pieces(body, &cuts);
    laws::a_gzip_bulk_body_is_decided_as_the_plain_one(body, &cuts);
}

/// The head of a request: whatever is taken is a method, a path and fields that another reader takes for the same.
pub fn request_head(data: &[u8]) {
    let Ok(Arrived::Complete(end)) = find_end(data) else { return };
    let Some(head) = data.get(..end) else { panic!("the head is longer than what has arrived") };
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let Ok(read) = RequestHead::parse(head, &mut slots, 100) else { return };
    assert!(read.target.starts_with('/') && read.target.bytes().all(|byte| matches!(byte, 0x21..=0x7e)));
    assert!(read.fields.len() <= 100);
    let lines = head.split(|byte| *byte == b'\n').count() - 3;
    assert_eq!(lines, read.fields.len(), "another reader counts other fields");
    let lengths = read.fields.iter().filter(|field| field.name.eq_ignore_ascii_case("content-length")).count();
    let codings = read.fields.iter().filter(|field| field.name.eq_ignore_ascii_case("transfer-encoding")).count();
    assert!(lengths + codings <= 1, "two readers may find two ends of the body");
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    /// Every seed passes, on stable and without a fuzzer.
    #[test]
    fn the_corpus_passes() {
        let targets: [(&str, fn(&[u8])); 6] = [
            ("classify", super::classify),
            ("body", super::body),
            ("bulk", super::bulk),
            ("msearch", super::msearch),
            ("gzip", super::gzip),
            ("request_head", super::request_head),
        ];
        for (target, run) in targets {
            let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
            let mut seeds = 0;
            for entry in std::fs::read_dir(&folder).unwrap() {
                run(&std::fs::read(entry.unwrap().path()).unwrap());
                seeds += 1;
            }
            assert!(seeds > 3, "`{}` has hardly a seed", folder.display());
        }
    }
}
