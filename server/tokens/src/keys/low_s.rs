//! Of the two valid ECDSA signatures (r, s) and (r, n - s), the one with the lower `s`.
//!
//! Without this rule anybody who sees a token can write a second text of it that verifies, and whatever is keyed by
//! the text (a cache entry, a deny list) is then passed by.

/// The order n of P-256 (FIPS 186-5, SP 800-186 section 3.2.1.3), big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// (n - 1) / 2.
const HALF: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// Whether a signature of r and s, 32 bytes each, has the lower `s`.
pub(super) fn is_low(signature: &[u8]) -> bool {
    signature.len() == 64 && signature.split_at_checked(32).is_some_and(|(_, s)| s <= HALF.as_slice())
}

/// The signature with the lower `s`; none when it has not 64 bytes.
pub(super) fn normalised(signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() != 64 {
        return None;
    }
    if is_low(signature) {
        return Some(signature.to_vec());
    }
    let (r, s) = signature.split_at_checked(32)?;
    let mut low = [0_u8; 32];
    let mut borrow = false;
    for ((into, n), s) in low.iter_mut().zip(ORDER).zip(s.iter().copied()).rev() {
        let (difference, first) = n.overflowing_sub(s);
        let (difference, second) = difference.overflowing_sub(u8::from(borrow));
        *into = difference;
        borrow = first || second;
    }
    Some([r, &low].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_and_its_mirror_add_up_to_the_order() {
        let mut high = HALF;
        high[31] += 1;
        let signature = [[7; 32], high].concat();
        assert!(!is_low(&signature));
        let low = normalised(&signature).unwrap();
        assert_eq!(low, [[7; 32], HALF].concat());
        assert_eq!(normalised(&low).unwrap(), low);
    }

    #[test]
    fn borrows_are_carried() {
        let mut s = ORDER;
        s[31] -= 1;
        let mut one = [0; 32];
        one[31] = 1;
        assert_eq!(normalised(&[[1; 32], s].concat()).unwrap(), [[1; 32], one].concat());
    }

    #[test]
    fn other_lengths_are_nothing() {
        assert!(!is_low(&[0; 63]));
        assert!(!is_low(&[]));
        assert_eq!(normalised(&[0; 65]), None);
    }
}
