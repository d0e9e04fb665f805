//! Bodies with gzip: what is read of them, and which are refused.

#[path = "common/laws.rs"]
#[allow(dead_code, reason = "the laws of other bodies are asked elsewhere")]
mod laws;

use std::io::{self, Write};

use flate2::{Compression, Crc, GzBuilder};
use oauth4os_classify::{BodyError, GzipReader, gunzip};
use proptest::prelude::*;

const PLAIN: &[u8] = b"{\"index\":{\"_index\":\"logs-a\"}}\n{\"message\":\"hello hello hello\"}\n";
const LIMIT: u64 = 1024 * 1024;

fn zipped(plain: &[u8]) -> io::Result<Vec<u8>> {
    with(GzBuilder::new(), plain)
}

fn with(builder: GzBuilder, plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = builder.write(Vec::new(), Compression::default());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[test]
fn one_member_is_read() {
    for level in 0..=9 {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(PLAIN).unwrap();
        assert_eq!(gunzip(&encoder.finish().unwrap(), LIMIT).unwrap(), PLAIN, "{level}");
    }
    assert_eq!(gunzip(&zipped(b"").unwrap(), LIMIT).unwrap(), b"");
    // As `gzip bulk.ndjson` writes it.
    let named = with(GzBuilder::new().filename("bulk.ndjson").mtime(1_700_000_000), PLAIN).unwrap();
    assert_eq!((named[3], gunzip(&named, LIMIT).unwrap()), (8, PLAIN.to_vec()));
}

#[test]
fn a_header_with_more_in_it_is_refused() {
    for builder in [
        GzBuilder::new().comment("a comment"),
        GzBuilder::new().extra(b"more".to_vec()),
        GzBuilder::new().filename("a").comment("a comment"),
        GzBuilder::new().filename("a".repeat(2_000)),
    ] {
        refused(&with(builder, PLAIN).unwrap(), "header");
    }
    // Text, a checksum of the header, and what is not defined.
    for flags in [0x01, 0x02, 0x20, 0x40, 0x80] {
        let mut body = zipped(PLAIN).unwrap();
        body[3] = flags;
        refused(&body, "header");
    }
    for (at, byte) in [(0, 0x1e), (1, 0x8c), (2, 7), (2, 9)] {
        let mut body = zipped(PLAIN).unwrap();
        body[at] = byte;
        refused(&body, "does not begin");
    }
    refused(PLAIN, "does not begin");
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(PLAIN).unwrap();
    refused(&encoder.finish().unwrap(), "does not begin");
}

#[test]
fn an_end_that_is_not_exactly_one_is_refused() {
    let body = zipped(PLAIN).unwrap();
    for length in 0..body.len() {
        refused(&body[..length], "ends too early");
    }
    for rest in [b"\0".as_slice(), b"\n", &zipped(PLAIN).unwrap(), &zipped(b"").unwrap()] {
        refused(&[&body, rest].concat(), "something follows");
    }
    for at in body.len() - 8..body.len() {
        let mut wrong = body.clone();
        wrong[at] ^= 1;
        refused(&wrong, "checksum");
    }
    // A stored block in which a letter was changed.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::none());
    encoder.write_all(PLAIN).unwrap();
    let mut changed = encoder.finish().unwrap();
    let at = changed.windows(6).position(|window| window == b"logs-a").unwrap();
    changed[at..at + 6].copy_from_slice(b"pii-cu");
    refused(&changed, "checksum");
    // Block type 3 does not exist.
    let mut damaged = body;
    damaged[10] |= 0b110;
    refused(&damaged, "damaged");
}

#[test]
fn after_a_refusal_nothing_passes() {
    let mut reader = GzipReader::new(LIMIT);
    let feed = |reader: &mut GzipReader, bytes: &[u8]| reader.feed(bytes, |_| Ok::<(), BodyError>(()));
    assert!(feed(&mut reader, b"x").is_err());
    assert!(feed(&mut reader, &zipped(PLAIN).unwrap()).is_err());
    assert!(reader.finish().is_err());

    let mut reader = GzipReader::new(LIMIT);
    let body = zipped(PLAIN).unwrap();
    assert!(reader.feed(&body, |_| Err(BodyError::Form("refused by what reads it"))).is_err());
    assert!(feed(&mut reader, b"").is_err());
    assert!(reader.finish().is_err());
}

#[test]
fn what_grows_over_the_limit_is_stopped_there() {
    let exactly = zipped(&vec![b'a'; 100_000]).unwrap();
    assert_eq!(gunzip(&exactly, 100_000).unwrap().len(), 100_000);
    let error = gunzip(&exactly, 99_999).unwrap_err();
    assert_eq!((error.clone(), error.status()), (BodyError::Inflated { limit: 99_999 }, 413));

    // A hundred kilobytes that would be a hundred megabytes.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..100 {
        encoder.write_all(&zeros).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let mut came_out = 0;
    let mut reader = GzipReader::new(LIMIT);
    let stopped = reader.feed(&bomb, |piece| {
        assert!(piece.len() <= 16 * 1024);
        came_out += piece.len() as u64;
        Ok::<(), BodyError>(())
    });
    assert_eq!(stopped, Err(BodyError::Inflated { limit: LIMIT }));
    assert!(came_out <= LIMIT);
}

#[test]
fn the_length_counts_modulo_four_gigabytes_as_in_every_gzip() {
    // By hand: a stored block of one byte.
    let mut crc = Crc::new();
    crc.update(b"a");
    let mut body = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1, 1, 0, 254, 255, b'a'];
    body.extend_from_slice(&crc.sum().to_le_bytes());
    body.extend_from_slice(&1_u32.to_le_bytes());
    assert_eq!(gunzip(&body, LIMIT).unwrap(), b"a");
}

fn refused(body: &[u8], why: &str) {
    let read = gunzip(body, LIMIT);
    let Err(error) = &read else {
        return assert_eq!(read, Err(BodyError::Gzip("anything")), "it is not about `{why}`");
    };
    assert!(matches!(error, BodyError::Gzip(_)) && error.to_string().contains(why), "{error} is not about `{why}`");
    assert_eq!(error.status(), 400);
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(body in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(0usize..30, 0..30)) {
        laws::a_gzip_body_is_the_same_in_any_pieces(&body, &cuts);
    }

    #[test]
    fn a_changed_byte_in_any_pieces(
        plain in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cuts in prop::collection::vec(0usize..30, 0..30),
    ) {
        let mut body = zipped(&plain).unwrap();
        let at = at.index(body.len());
        body[at] = byte;
        laws::a_gzip_body_is_the_same_in_any_pieces(&body, &cuts);
    }

    #[test]
    fn bulk_bodies(
        lines in prop::collection::vec(prop::sample::select(vec![
            "{\"index\":{}}", "{\"create\":{\"_index\":\"logs-a\"}}", "{\"delete\":{\"_index\":\"pii\",\"_id\":\"1\"}}", "{\"a\":1}", "", "{", "\n",
        ]), 0..40),
        ending in prop::sample::select(vec!["", "\n"]),
        cuts in prop::collection::vec(0usize..30, 0..30),
    ) {
        laws::a_gzip_bulk_body_is_decided_as_the_plain_one((lines.join("\n") + ending).as_bytes(), &cuts);
    }
}
