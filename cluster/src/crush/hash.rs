//! `rjenkins1`: Bob Jenkins's 1996 mix (public domain) over two to four words, seeded as Ceph seeds it. The only hash that buckets have.

const SEED: u32 = 1_315_423_911;
/// The two words that fill up the last mixes.
const FILL_X: u32 = 231_232;
const FILL_Y: u32 = 1232;

#[inline(always)]
fn mix(a: &mut u32, b: &mut u32, c: &mut u32) {
    for [right, left, right_again] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        *a = a.wrapping_sub(*b).wrapping_sub(*c) ^ (*c >> right);
        *b = b.wrapping_sub(*c).wrapping_sub(*a) ^ (*a << left);
        *c = c.wrapping_sub(*a).wrapping_sub(*b) ^ (*b >> right_again);
    }
}

/// Of two words: whether a device with a reweight takes `x`, and a placement group's place.
pub fn hash_2(mut a: u32, mut b: u32) -> u32 {
    let (mut hash, mut x, mut y) = (SEED ^ a ^ b, FILL_X, FILL_Y);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut x, &mut a, &mut hash);
    mix(&mut b, &mut y, &mut hash);
    hash
}

/// Of three words: most draws.
#[inline(always)]
pub fn hash_3(mut a: u32, mut b: u32, mut c: u32) -> u32 {
    let (mut hash, mut x, mut y) = (SEED ^ a ^ b ^ c, FILL_X, FILL_Y);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut a, &mut hash);
    mix(&mut b, &mut x, &mut hash);
    mix(&mut y, &mut c, &mut hash);
    hash
}

/// The lower halves of [`hash_3`] for many middle words: one loop without branches, so that it compiles to vector instructions.
#[inline(never)]
pub(super) fn hash_3_each(x: u32, items: &[u32], r: u32, hashes: &mut [u32]) {
    for (hash, item) in hashes.iter_mut().zip(items) {
        *hash = hash_3(x, *item, r) & 0xffff;
    }
}

/// Of four words: list and tree buckets.
pub fn hash_4(mut a: u32, mut b: u32, mut c: u32, mut d: u32) -> u32 {
    let (mut hash, mut x, mut y) = (SEED ^ a ^ b ^ c ^ d, FILL_X, FILL_Y);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut d, &mut hash);
    mix(&mut a, &mut x, &mut hash);
    mix(&mut y, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut d, &mut hash);
    hash
}

/// The input that a placement group is to a rule (`hashpspool`): groups of different pools are scattered independently.
///
/// # Panics
/// If `pgp_num` is 0.
pub fn placement_seed(pool: u32, seed: u32, pgp_num: u32) -> u32 {
    hash_2(crate::object_hash::stable_modulo(seed, pgp_num), pool)
}
