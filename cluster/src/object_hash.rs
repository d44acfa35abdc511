//! Object name → placement group, result for result as Ceph's: Bob Jenkins's 1996 hash of the name, then the stable modulo.
//!
//! Siblings are the exception: names that differ only behind a zero byte and an `@`, in 16 lowercase hexadecimal digits. They are placed
//! by what they have in common, so that one can be cloned from another (`CloneRange`) in one request, whatever `pg_num` is.

/// `\0@` and 16 digits.
const SIBLING_SUFFIX_BYTES: usize = 18;

/// The part of a name that its placement goes by.
pub fn placed_by(name: &[u8]) -> &[u8] {
    match name.split_last_chunk::<SIBLING_SUFFIX_BYTES>() {
        Some((common, [0, b'@', digits @ ..])) if !common.is_empty() && digits.iter().all(is_hex_digit) => common,
        _ => name,
    }
}

/// One of the objects that are placed where `common` is.
pub fn sibling(common: &[u8], which: u64) -> Vec<u8> {
    let mut name = common.to_vec();
    name.extend_from_slice(b"\0@");
    name.extend_from_slice(format!("{which:016x}").as_bytes());
    name
}

fn is_hex_digit(byte: &u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Bob Jenkins's "One-at-a-time's predecessor" for strings (`lookup`, 1996, public domain), which Ceph calls `rjenkins`.
pub fn rjenkins(name: &[u8]) -> u32 {
    const GOLDEN_RATIO: u32 = 0x9e37_79b9;
    let mut state = (GOLDEN_RATIO, GOLDEN_RATIO, 0u32);
    let (blocks, tail) = name.as_chunks::<12>();
    for block in blocks {
        state = mix(absorbed(state, block));
    }
    // The third word's lowest byte is the length's, so the tail's last bytes go in one place higher.
    let (low, high) = tail.split_at(tail.len().min(8));
    let mut last = [0u8; 12];
    for (place, byte) in last.iter_mut().zip(low) {
        *place = *byte;
    }
    for (place, byte) in last.iter_mut().skip(9).zip(high) {
        *place = *byte;
    }
    let (a, b, c) = absorbed(state, &last);
    mix((a, b, c.wrapping_add(name.len() as u32))).2
}

/// Three words with twelve bytes added to them, little-endian.
fn absorbed((a, b, c): (u32, u32, u32), block: &[u8; 12]) -> (u32, u32, u32) {
    let [a0, a1, a2, a3, b0, b1, b2, b3, c0, c1, c2, c3] = *block;
    (
        a.wrapping_add(u32::from_le_bytes([a0, a1, a2, a3])),
        b.wrapping_add(u32::from_le_bytes([b0, b1, b2, b3])),
        c.wrapping_add(u32::from_le_bytes([c0, c1, c2, c3])),
    )
}

fn mix((mut a, mut b, mut c): (u32, u32, u32)) -> (u32, u32, u32) {
    for [right, left, right_again] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> right);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << left);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> right_again);
    }
    (a, b, c)
}

/// `hash` modulo `pg_num`, such that growing `pg_num` to the next power of two splits groups and never shuffles them.
///
/// # Panics
/// If `pg_num` is 0.
pub fn stable_modulo(hash: u32, pg_num: u32) -> u32 {
    assert!(pg_num > 0, "a pool has at least one placement group");
    let mask = u32::MAX.checked_shr((pg_num - 1).leading_zeros()).unwrap_or(0);
    if hash & mask < pg_num { hash & mask } else { hash & (mask >> 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn siblings_are_placed_by_what_they_have_in_common_and_all_other_names_by_themselves() {
        for which in [0, 1, u64::MAX] {
            assert_eq!(placed_by(&sibling(b"image.7", which)), b"image.7");
        }
        for name in [
            &b"image.7"[..],
            b"",
            b"\0@0123456789abcdef",
            b"a\0@0123456789ABCDEF",
            b"a\0@0123456789abcde",
            b"a0@0123456789abcdef",
            b"a\0x0123456789abcdef",
        ] {
            assert_eq!(placed_by(name), name, "{}", name.escape_ascii());
        }
    }
}
