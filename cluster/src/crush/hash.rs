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

/// Hashes are computed so many at a time: three vectors of four words. The steps of one hash wait for each other, so a processor has
/// room for those of three.
const VECTOR: usize = 4;
const CHAINS: usize = 3;
/// Of a length that [`hash_3_each`] takes in whole rounds.
pub(super) const BLOCK: usize = 4 * VECTOR * CHAINS;

/// How many words so many items are to be filled up to for [`hash_3_each`].
#[inline]
pub(super) fn filled(count: usize) -> usize {
    if count <= VECTOR { VECTOR * usize::from(count > 0) } else { count.next_multiple_of(VECTOR * CHAINS) }
}

/// The lower halves of [`hash_3`] for many middle words, as many as [`filled`] says.
#[inline]
pub(super) fn hash_3_each(x: u32, items: &[u32], r: u32, hashes: &mut [u32; BLOCK]) {
    let third = items.len() / CHAINS;
    if items.len() <= VECTOR {
        return hash_3_loop(x, items, r, hashes);
    }
    let (items_0, rest) = items.split_at(third);
    let (items_1, items_2) = rest.split_at(third);
    let Some((hashes_0, rest)) = hashes.split_at_mut_checked(third) else { return };
    let Some((hashes_1, hashes_2)) = rest.split_at_mut_checked(third) else { return };
    hash_3_loops(x, r, [items_0, items_1, items_2], hashes_0, hashes_1, hashes_2);
}

/// A loop without branches, out of line and of a length that is not known when it is compiled: so it becomes one of vector instructions.
#[inline(never)]
fn hash_3_loop(x: u32, items: &[u32], r: u32, hashes: &mut [u32]) {
    for (hash, item) in hashes.iter_mut().zip(items) {
        *hash = hash_3(x, *item, r) & 0xffff;
    }
}

/// Likewise, three at a time.
#[inline(never)]
fn hash_3_loops(
    x: u32,
    r: u32,
    [items_0, items_1, items_2]: [&[u32]; CHAINS],
    hashes_0: &mut [u32],
    hashes_1: &mut [u32],
    hashes_2: &mut [u32],
) {
    let items = items_0.iter().zip(items_1).zip(items_2);
    let hashes = hashes_0.iter_mut().zip(hashes_1).zip(hashes_2);
    for (((hash_0, hash_1), hash_2), ((item_0, item_1), item_2)) in hashes.zip(items) {
        let [mut a_0, mut a_1, mut a_2] = [x; CHAINS];
        let [mut b_0, mut b_1, mut b_2] = [*item_0, *item_1, *item_2];
        let [mut c_0, mut c_1, mut c_2] = [r; CHAINS];
        let [mut x_0, mut x_1, mut x_2] = [FILL_X; CHAINS];
        let [mut y_0, mut y_1, mut y_2] = [FILL_Y; CHAINS];
        let [mut h_0, mut h_1, mut h_2] = [*item_0, *item_1, *item_2].map(|item| SEED ^ x ^ item ^ r);
        mix_3([&mut a_0, &mut a_1, &mut a_2], [&mut b_0, &mut b_1, &mut b_2], [&mut h_0, &mut h_1, &mut h_2]);
        mix_3([&mut c_0, &mut c_1, &mut c_2], [&mut x_0, &mut x_1, &mut x_2], [&mut h_0, &mut h_1, &mut h_2]);
        mix_3([&mut y_0, &mut y_1, &mut y_2], [&mut a_0, &mut a_1, &mut a_2], [&mut h_0, &mut h_1, &mut h_2]);
        mix_3([&mut b_0, &mut b_1, &mut b_2], [&mut x_0, &mut x_1, &mut x_2], [&mut h_0, &mut h_1, &mut h_2]);
        mix_3([&mut y_0, &mut y_1, &mut y_2], [&mut c_0, &mut c_1, &mut c_2], [&mut h_0, &mut h_1, &mut h_2]);
        *hash_0 = h_0 & 0xffff;
        *hash_1 = h_1 & 0xffff;
        *hash_2 = h_2 & 0xffff;
    }
}

/// Three mixes, step by step beside each other.
#[inline(always)]
fn mix_3([a_0, a_1, a_2]: [&mut u32; 3], [b_0, b_1, b_2]: [&mut u32; 3], [c_0, c_1, c_2]: [&mut u32; 3]) {
    for [right, left, right_again] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        *a_0 = a_0.wrapping_sub(*b_0).wrapping_sub(*c_0) ^ (*c_0 >> right);
        *a_1 = a_1.wrapping_sub(*b_1).wrapping_sub(*c_1) ^ (*c_1 >> right);
        *a_2 = a_2.wrapping_sub(*b_2).wrapping_sub(*c_2) ^ (*c_2 >> right);
        *b_0 = b_0.wrapping_sub(*c_0).wrapping_sub(*a_0) ^ (*a_0 << left);
        *b_1 = b_1.wrapping_sub(*c_1).wrapping_sub(*a_1) ^ (*a_1 << left);
        *b_2 = b_2.wrapping_sub(*c_2).wrapping_sub(*a_2) ^ (*a_2 << left);
        *c_0 = c_0.wrapping_sub(*a_0).wrapping_sub(*b_0) ^ (*b_0 >> right_again);
        *c_1 = c_1.wrapping_sub(*a_1).wrapping_sub(*b_1) ^ (*b_1 >> right_again);
        *c_2 = c_2.wrapping_sub(*a_2).wrapping_sub(*b_2) ^ (*b_2 >> right_again);
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
