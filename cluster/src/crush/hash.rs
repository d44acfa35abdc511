//! `rjenkins1`: Bob Jenkins's 1996 mix (public domain) over two to four words, seeded as Ceph seeds it. The only hash that buckets have.

const SEED: u32 = 1_315_423_911;
/// The two words that fill up the last mixes.
const FILL_X: u32 = 231_232;
const FILL_Y: u32 = 1232;

/// One mix of three words, in each of `N` lanes at once. Written over arrays so that it compiles to vector instructions: a bucket's
/// items are hashed several at a time.
#[inline(always)]
fn mix<const N: usize>(a: &mut [u32; N], b: &mut [u32; N], c: &mut [u32; N]) {
    #[inline(always)]
    fn step<const N: usize>(to: &mut [u32; N], first: &[u32; N], second: &[u32; N], shift: impl Fn(u32) -> u32) {
        for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
            *to = to.wrapping_sub(*first).wrapping_sub(*second) ^ shift(*second);
        }
    }
    step(a, b, c, |word| word >> 13);
    step(b, c, a, |word| word << 8);
    step(c, a, b, |word| word >> 13);
    step(a, b, c, |word| word >> 12);
    step(b, c, a, |word| word << 16);
    step(c, a, b, |word| word >> 5);
    step(a, b, c, |word| word >> 3);
    step(b, c, a, |word| word << 10);
    step(c, a, b, |word| word >> 15);
}

/// Of two words: whether a device with a reweight takes `x`, and a placement group's place.
pub fn hash_2(a: u32, b: u32) -> u32 {
    let mut hash = [SEED ^ a ^ b];
    let (mut a, mut b, mut x, mut y) = ([a], [b], [FILL_X], [FILL_Y]);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut x, &mut a, &mut hash);
    mix(&mut b, &mut y, &mut hash);
    let [hash] = hash;
    hash
}

/// Of three words.
pub fn hash_3(a: u32, b: u32, c: u32) -> u32 {
    let [hash] = hash_3_lanes(a, &[b], c);
    hash
}

/// Of three words, for several middle words at once.
#[inline(always)]
pub(super) fn hash_3_lanes<const N: usize>(a: u32, b: &[u32; N], c: u32) -> [u32; N] {
    let mut hash = b.map(|b| SEED ^ a ^ b ^ c);
    let (mut a, mut b, mut c, mut x, mut y) = ([a; N], *b, [c; N], [FILL_X; N], [FILL_Y; N]);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut a, &mut hash);
    mix(&mut b, &mut x, &mut hash);
    mix(&mut y, &mut c, &mut hash);
    hash
}

/// Of four words: list and tree buckets.
pub fn hash_4(a: u32, b: u32, c: u32, d: u32) -> u32 {
    let mut hash = [SEED ^ a ^ b ^ c ^ d];
    let (mut a, mut b, mut c, mut d, mut x, mut y) = ([a], [b], [c], [d], [FILL_X], [FILL_Y]);
    mix(&mut a, &mut b, &mut hash);
    mix(&mut c, &mut d, &mut hash);
    mix(&mut a, &mut x, &mut hash);
    mix(&mut y, &mut b, &mut hash);
    mix(&mut c, &mut x, &mut hash);
    mix(&mut y, &mut d, &mut hash);
    let [hash] = hash;
    hash
}

/// The input that a placement group is to a rule (`hashpspool`): groups of different pools are scattered independently.
///
/// # Panics
/// If `pgp_num` is 0.
pub fn placement_seed(pool: u32, seed: u32, pgp_num: u32) -> u32 {
    hash_2(crate::object_hash::stable_modulo(seed, pgp_num), pool)
}
