//! Bulk bodies, read to the end.

use oauth4os_classify::{BodyError, BulkScanner, Class};

/// Class, index, line.
pub type Item = (Class, String, u64);

/// What a bulk body needs, fed to the scanner in pieces of these lengths, the rest at once.
pub fn bulk_in_chunks(
    default: Option<&str>,
    pipeline: bool,
    body: &[u8],
    cuts: &[usize],
) -> Result<Vec<Item>, BodyError> {
    let mut scanner = BulkScanner::new(default, pipeline, false);
    let mut items = Vec::new();
    let mut rest = body;
    for cut in cuts {
        let (chunk, tail) = rest.split_at((*cut).min(rest.len()));
        scanner.feed(chunk, |item| {
            items.push((item.class, item.index.to_owned(), item.line));
            Ok::<_, BodyError>(())
        })?;
        rest = tail;
    }
    scanner.feed(rest, |item| {
        items.push((item.class, item.index.to_owned(), item.line));
        Ok::<_, BodyError>(())
    })?;
    // What an update reads is no action of its own.
    let actions = items.iter().filter(|(class, ..)| *class != Class::Get);
    assert_eq!(scanner.finish()?, actions.count() as u64);
    Ok(items)
}

/// What a bulk body needs, fed as a whole.
pub fn bulk(default: Option<&str>, body: &str) -> Result<Vec<Item>, BodyError> {
    bulk_in_chunks(default, false, body.as_bytes(), &[])
}
