//! Public keys as tools write them: `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7) in PEM (RFC 7468 section 13), read as
//! the JWK that says the same.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::UnusableKey;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_ID: u8 = 0x06;
const NULL: &[u8] = &[5, 0];

/// 1.2.840.113549.1.1.1 (RFC 8017), 1.2.840.10045.2.1 (RFC 5480), 1.3.101.112 (RFC 8410).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// The curves of RFC 5480 section 2.1.1.1, and the bytes of a coordinate.
const CURVES: [(&[u8], &str, usize); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "P-256", 32),
    (&[0x2b, 0x81, 4, 0, 0x22], "P-384", 48),
    (&[0x2b, 0x81, 4, 0, 0x23], "P-521", 66),
];

/// The JWK of the one public key in a PEM text.
pub(super) fn jwk(pem: &str) -> Result<Map<String, Value>, UnusableKey> {
    if pem.contains("PRIVATE KEY-----") {
        return Err(UnusableKey::Private);
    }
    let text = pem.trim();
    let body = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(UnusableKey::Malformed)?;
    let packed: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(packed).map_err(|_| UnusableKey::Malformed)?;
    members(&der).ok_or(UnusableKey::Malformed)
}

fn members(der: &[u8]) -> Option<Map<String, Value>> {
    let mut info = whole(der, SEQUENCE)?;
    let mut algorithm = take(&mut info, SEQUENCE)?;
    let bits = take(&mut info, BIT_STRING)?;
    if !info.is_empty() {
        return None;
    }
    // A key is a whole number of bytes: no bits are unused.
    let key = bits.strip_prefix(&[0])?;
    let kind = take(&mut algorithm, OBJECT_ID)?;
    let members = match kind {
        RSA if algorithm == NULL => {
            let mut numbers = whole(key, SEQUENCE)?;
            let (n, e) = (take(&mut numbers, INTEGER)?, take(&mut numbers, INTEGER)?);
            // DER writes a zero in front of a number whose first bit is set.
            let e = e.strip_prefix(&[0]).unwrap_or(e);
            numbers.is_empty().then(|| vec![("kty", "RSA".to_owned()), ("n", encode(n)), ("e", encode(e))])?
        }
        EC => {
            let curve = whole(algorithm, OBJECT_ID)?;
            let (_, name, size) = CURVES.into_iter().find(|(id, ..)| *id == curve)?;
            let (x, y) = key.strip_prefix(&[4])?.split_at_checked(size)?;
            vec![("kty", "EC".to_owned()), ("crv", name.to_owned()), ("x", encode(x)), ("y", encode(y))]
        }
        ED25519 if algorithm.is_empty() => {
            vec![("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", encode(key))]
        }
        _ => return None,
    };
    Some(members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect())
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The content of the one value that `input` is.
fn whole(mut input: &[u8], tag: u8) -> Option<&[u8]> {
    take(&mut input, tag).filter(|_| input.is_empty())
}

/// The content of the value that `input` begins with, which is taken off it.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (found, rest) = input.split_first()?;
    let (first, mut rest) = rest.split_first()?;
    let length = match usize::from(*first) {
        short @ 0..=0x7f => short,
        // Keys are shorter than 64 KiB. A length that would fit into fewer bytes is not DER.
        0x81 => {
            let (byte, after) = rest.split_first()?;
            rest = after;
            Some(usize::from(*byte)).filter(|length| *length >= 0x80)?
        }
        0x82 => {
            let (bytes, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            Some(usize::from(u16::from_be_bytes(*bytes))).filter(|length| *length > 0xff)?
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    *input = after;
    (*found == tag).then_some(content)
}
