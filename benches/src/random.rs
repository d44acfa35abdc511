//! Pseudo-random numbers and permutations, equal in every run with the same seed.

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"): one addition and a mix a number.
#[derive(Clone, Debug)]
pub struct Random(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A bijection of 64-bit numbers that looks like chance.
pub fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(mix(seed.wrapping_add(GOLDEN)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in `[0, bound)`. The bias is below one in 2^64 / bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// A permutation of `[0, len)` without a table: a Feistel network over the next even number of bits, walked until it lands inside.
#[derive(Clone, Debug)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    key: u64,
}

const ROUNDS: u64 = 4;

impl Permutation {
    pub fn new(len: u64, key: u64) -> Permutation {
        let bits = 64 - len.saturating_sub(1).leading_zeros();
        Permutation { len, half_bits: bits.div_ceil(2).max(1), key }
    }

    pub fn apply(&self, index: u64) -> u64 {
        assert!(index < self.len, "{index} is outside of a permutation of {}", self.len);
        let mask = (1_u64 << self.half_bits) - 1;
        let mut value = index;
        loop {
            let (mut left, mut right) = (value >> self.half_bits, value & mask);
            for round in 0..ROUNDS {
                let mixed = mix(right ^ self.key.wrapping_add(round.wrapping_mul(GOLDEN))) & mask;
                (left, right) = (right, left ^ mixed);
            }
            value = (left << self.half_bits) | right;
            // The network permutes less than four times as many values, so this ends soon.
            if value < self.len {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_hits_everything_once_and_no_two_keys_agree() {
        for len in [1, 2, 3, 5, 64, 1000, 4097] {
            let mut seen: Vec<u64> = (0..len).map(|index| Permutation::new(len, 7).apply(index)).collect();
            if len >= 64 {
                let other: Vec<u64> = (0..len).map(|index| Permutation::new(len, 8).apply(index)).collect();
                assert_ne!(seen, other);
                assert!(
                    seen.windows(2).filter(|pair| pair[1] == pair[0] + 1).count() < len as usize / 8,
                    "not in order"
                );
            }
            seen.sort_unstable();
            assert!(seen.iter().copied().eq(0..len), "{len}");
        }
    }

    #[test]
    fn numbers_below_a_bound_are_uniform() {
        let mut random = Random::new(1);
        let mut counts = [0_u32; 10];
        for _ in 0..100_000 {
            counts[random.below(10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
