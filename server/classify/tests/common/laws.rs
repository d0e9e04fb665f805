//! What holds for any bytes at all. The property tests and the fuzz targets ask the same questions.

use std::io::{Read, Write};

use oauth4os_classify::{
    Body, BodyError, BulkScanner, Class, GzipReader, Inspection, MsearchScanner, Targets, classify,
};

/// Every way a body is inspected.
pub fn bodies() -> Vec<Body> {
    let index = || Some("d".to_owned());
    let mut bodies = vec![
        Body::Opaque,
        Body::Search,
        Body::Query,
        Body::RankEval,
        Body::Reindex,
        Body::Aliases,
        Body::Alias,
        Body::Create,
        Body::Settings,
        Body::Template,
        Body::Explain,
        Body::Reroute,
        Body::Handles,
        Body::Update { indices: vec!["d".to_owned()] },
        Body::Msearch { default: vec!["d".to_owned()] },
    ];
    for default_index in [None, index()] {
        bodies.push(Body::Mget { default_index: default_index.clone() });
        bodies.push(Body::Mtermvectors { default_index: default_index.clone() });
        bodies.push(Body::Bulk { default_index, pipeline: false, returns_source: false });
    }
    bodies
}

/// A method and a target, with a space between them: what is understood names what it touches.
pub fn a_request_is_read_or_refused(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    let operation = match classify(method, target) {
        Ok(operation) => operation,
        Err(error) => {
            assert!(matches!(error.status(), 400 | 403 | 405), "{error}");
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(operation.denied.is_some(), operation.class == Class::Denied);
    if let Targets::Indices(indices) = &operation.targets {
        assert!(!indices.is_empty(), "no index is all indices");
        for index in indices {
            assert!(!index.is_empty() && !index.contains(',') && !index.contains(char::is_whitespace), "{index:?}");
        }
    }
    if operation.class != Class::Denied {
        assert_eq!(operation.class.is_cluster(), operation.targets == Targets::Cluster);
    }
    // A query that decides nothing changes nothing.
    let more = format!("{target}{}human=true", if target.contains('?') { '&' } else { '?' });
    assert_eq!(classify(method, &more).as_ref().map(|more| &more.targets), Ok(&operation.targets));
}

/// A bulk body in pieces is the bulk body in one piece.
pub fn a_bulk_body_is_the_same_in_any_pieces(body: &[u8], cuts: &[usize]) {
    let run = |cuts: &[usize]| {
        let mut scanner = BulkScanner::new(Some("d"), false, false);
        let mut items = Vec::new();
        in_pieces(body, cuts, |piece| {
            scanner.feed(piece, |item| {
                items.push((item.class, item.index.to_owned(), item.line));
                Ok::<_, BodyError>(())
            })
        })?;
        scanner.finish().map(|count| (items, count))
    };
    let whole = run(&[]);
    if let Ok((items, _)) = &whole {
        assert!(items.iter().all(|(_, index, _)| !index.is_empty() && !index.contains([',', '*'])), "{items:?}");
    }
    assert_eq!(whole.map_err(drop), run(cuts).map_err(drop));
}

/// A multi-search in pieces is the multi-search in one piece.
pub fn a_multi_search_is_the_same_in_any_pieces(body: &[u8], cuts: &[usize]) {
    let run = |cuts: &[usize]| {
        let mut scanner = MsearchScanner::new(vec!["d".to_owned()], body.len());
        let mut items = Vec::new();
        in_pieces(body, cuts, |piece| {
            scanner.feed(piece, |item| {
                items.push(item);
                Ok::<_, BodyError>(())
            })
        })?;
        scanner.finish().map(|count| (items, count))
    };
    let whole = run(&[]);
    if let Ok((items, _)) = &whole {
        assert!(items.iter().all(|item| !item.targets.is_empty()), "{items:?}");
    }
    assert_eq!(whole.map_err(drop), run(cuts).map_err(drop));
}

/// The most that comes out of a body with gzip here.
const MAX_PLAIN: u64 = 1024 * 1024;

/// A body with gzip in pieces is the body in one piece; and what is taken is what another reader finds in it, to the last
/// byte of it.
pub fn a_gzip_body_is_the_same_in_any_pieces(body: &[u8], cuts: &[usize]) {
    let run = |cuts: &[usize]| {
        let mut reader = GzipReader::new(MAX_PLAIN);
        let mut plain = Vec::new();
        in_pieces(body, cuts, |piece| {
            reader.feed(piece, |bytes| {
                plain.extend_from_slice(bytes);
                Ok::<_, BodyError>(())
            })
        })?;
        reader.finish().map(|count| (plain, count))
    };
    let whole = run(&[]);
    if let Ok((plain, count)) = &whole {
        assert_eq!(plain.len() as u64, *count);
        let (mut other, mut rest) = (Vec::new(), body);
        let mut decoder = flate2::bufread::GzDecoder::new(&mut rest);
        assert!(decoder.read_to_end(&mut other).is_ok() && other == *plain, "another reader finds something else");
        assert!(rest.is_empty(), "another reader finds more after the end");
    }
    assert_eq!(whole.map_err(drop), run(cuts).map_err(drop));
}

/// A bulk body with gzip is decided as the same without, wherever its compressed bytes are cut.
pub fn a_gzip_bulk_body_is_decided_as_the_plain_one(body: &[u8], cuts: &[usize]) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Memory takes every byte.
    let Ok(zipped) = encoder.write_all(body).and_then(|()| encoder.finish()) else { return };
    let scanner = || BulkScanner::new(Some("d"), false, false);
    let decide = |scanner: &mut BulkScanner, items: &mut Vec<_>, bytes: &[u8]| {
        scanner.feed(bytes, |item| {
            items.push((item.class, item.index.to_owned(), item.line));
            Ok::<_, BodyError>(())
        })
    };
    let plain = || {
        let (mut scanner, mut items) = (scanner(), Vec::new());
        decide(&mut scanner, &mut items, body)?;
        scanner.finish().map(|count| (items, count))
    };
    let unzipped = || {
        let (mut scanner, mut items) = (scanner(), Vec::new());
        let mut reader = GzipReader::new(MAX_PLAIN);
        in_pieces(&zipped, cuts, |piece| reader.feed(piece, |bytes| decide(&mut scanner, &mut items, bytes)))?;
        reader.finish()?;
        scanner.finish().map(|count| (items, count))
    };
    assert_eq!(plain().map_err(drop), unzipped().map_err(drop));
}

/// Whatever inspects a body does not panic, names clean expressions, and reads letters that are written as escapes as the
/// letters they are.
pub fn a_body_is_read_as_it_is_meant(body: &[u8]) {
    for kind in bodies() {
        let plain = kind.inspect(body);
        if let Ok(Inspection { targets, .. }) = &plain {
            for target in targets {
                let index = &target.index;
                assert!(!index.is_empty() && !index.contains(char::is_whitespace), "{kind:?}: {index:?}");
            }
        }
        let Some(escaped) = escaped(body) else { continue };
        // Escapes make lines longer, and a search without a word that matters is not read to its end: that the escaped
        // one is refused says nothing.
        let Ok(read) = kind.inspect(escaped.as_bytes()) else { continue };
        assert_eq!(plain, Ok(read), "{kind:?} reads the same text with escapes in another way");
    }
}

/// The same text with every ASCII letter in a string as `\u00XX`. `None` if it is not text.
fn escaped(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let mut out = String::with_capacity(text.len() * 6);
    let mut letters = text.chars();
    let mut in_string = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' => in_string = !in_string,
            // A line is read by itself.
            '\n' => in_string = false,
            // An escape stays as it is, with the four digits of `\u`.
            '\\' if in_string => {
                out.push(letter);
                let Some(kind) = letters.next() else { break };
                out.push(kind);
                if kind == 'u' {
                    out.extend(letters.by_ref().take(4));
                }
                continue;
            }
            letter if in_string && letter.is_ascii_alphanumeric() => {
                out.push_str(&format!("\\u{:04x}", u32::from(letter)));
                continue;
            }
            _ => {}
        }
        out.push(letter);
    }
    Some(out)
}

/// Feeds pieces of these lengths, then the rest.
fn in_pieces(
    body: &[u8],
    cuts: &[usize],
    mut feed: impl FnMut(&[u8]) -> Result<(), BodyError>,
) -> Result<(), BodyError> {
    let mut rest = body;
    for cut in cuts {
        let (piece, tail) = rest.split_at((*cut).min(rest.len()));
        feed(piece)?;
        rest = tail;
    }
    feed(rest)
}

/// Input of a fuzzer: its first byte says how many of the next are lengths of pieces, the others are the body.
pub fn with_cuts(data: &[u8]) -> (&[u8], Vec<usize>) {
    let Some((count, rest)) = data.split_first() else { return (data, Vec::new()) };
    let (cuts, body) = rest.split_at((usize::from(*count) % 16).min(rest.len()));
    (body, cuts.iter().map(|cut| usize::from(*cut)).collect())
}
