//! Object name → placement group, result for result as Ceph's: Bob Jenkins's 1996 hash of the name, then the stable modulo.

/// Bob Jenkins's "One-at-a-time's predecessor" for strings (`lookup`, 1996, public domain), which Ceph calls `rjenkins`.
pub fn rjenkins(name: &[u8]) -> u32 {
    const GOLDEN_RATIO: u32 = 0x9e37_79b9;
    let mut state = [GOLDEN_RATIO, GOLDEN_RATIO, 0u32];
    let blocks = name.chunks_exact(12);
    let tail = blocks.remainder();
    for block in blocks {
        for (word, bytes) in state.iter_mut().zip(block.chunks_exact(4)) {
            *word = bytes.iter().rev().fold(0u32, |sum, byte| (sum << 8) | u32::from(*byte)).wrapping_add(*word);
        }
        mix(&mut state);
    }
    // The lowest byte of the third word is the length's: the tail's ninth byte goes into the second lowest.
    state[2] = state[2].wrapping_add(name.len() as u32);
    for (position, byte) in tail.iter().enumerate() {
        let (word, byte_of_word) = if position < 8 { (position / 4, position % 4) } else { (2, position - 7) };
        state[word] = state[word].wrapping_add(u32::from(*byte) << (8 * byte_of_word));
    }
    mix(&mut state);
    state[2]
}

fn mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    for [right, left, right_again] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> right);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << left);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> right_again);
    }
    *state = [a, b, c];
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
