//! `2^44 · log2(u + 1)` of a 16-bit number, wrong in the very places where Ceph's is: a straw2 draw must come out the same.
//!
//! The number is cut in two factors: the upper eight bits give a reciprocal and a logarithm from one table, what is left gives a small
//! logarithm from another. The tables follow from formulas, made here at compile time, but for the slips that Ceph's tables were
//! published with and can't be rid of any more, as every cluster's data lies by them:
//! - the last entry of the coarse logarithms is 2^48 - 2^32, where 2^48 would be right, so the draw of 65535 is below that of 65534;
//! - the fine logarithms are 0x1_4770_0000 too high from entry 2 on (about one step of a 16-bit number);
//! - 42 fine logarithms are off by other amounts. They are listed.

use std::sync::LazyLock;

/// What the logarithm of the largest 16-bit number stands for: the logarithm of 1.
const ONE: u64 = 1 << 48;
const COARSE_COUNT: usize = 129;
const FINE_COUNT: usize = 256;
const FINE_OFFSET: u64 = 0x1_4770_0000;

/// The fine logarithms that follow no rule.
const FINE_IRREGULAR: [(u8, u64); 42] = [
    (56, 0xa2b07f3458),
    (127, 0x16df6ca19bd),
    (134, 0x182b07f3458),
    (181, 0x209c06e6212),
    (184, 0x212b07f3458),
    (188, 0x21d6a73a78f),
    (193, 0x22c23679b4e),
    (198, 0x23a2c3b0ea4),
    (199, 0x23d13ee805b),
    (200, 0x24035e9221f),
    (203, 0x247ed646bfe),
    (207, 0x25492644d65),
    (210, 0x25d13ee805b),
    (212, 0x26296453882),
    (216, 0x26d32f798a9),
    (222, 0x27e6580aecb),
    (225, 0x287bdbf5255),
    (227, 0x28d13ee805b),
    (228, 0x29035e9221f),
    (229, 0x29296453882),
    (231, 0x29902a37aab),
    (233, 0x29deabd1083),
    (235, 0x2a4c7605d61),
    (236, 0x2a7bdbf5255),
    (237, 0x2a96056dafc),
    (238, 0x2ac3daf14ef),
    (239, 0x2af1b019eca),
    (240, 0x2b296453882),
    (241, 0x2b5d022d80f),
    (243, 0x2ba9012e713),
    (244, 0x2bd6d4901cc),
    (245, 0x2c04a796cf6),
    (246, 0x2c327a428a6),
    (247, 0x2c61a5e8f4c),
    (248, 0x2c8e1e891f6),
    (249, 0x2cbbf023fc2),
    (250, 0x2ce9c163e6e),
    (251, 0x2d179248e13),
    (252, 0x2d4562d2ec6),
    (253, 0x2d73330209d),
    (254, 0x2da102d63b0),
    (255, 0x2dced24f814),
];

/// `(2^48 / (1 + k/128), rounded up; 2^48 · log2(1 + k/128), rounded down)`.
static COARSE: [(u64, u64); COARSE_COUNT] = coarse();
/// `2^48 · log2(1 + k/2^15)`, rounded down, and wrong.
static FINE: [u64; FINE_COUNT] = fine();

/// `2^48 · log2(1 + numerator / 2^bits)`, rounded down. One binary digit a squaring; 63 bits of fraction leave the 48 digits exact.
const fn log2(numerator: u64, bits: u32) -> u64 {
    let mut value = (1u128 << 63) + ((numerator as u128) << (63 - bits));
    let mut digits = 0u64;
    let mut count = 0;
    while count < 48 {
        value = (value * value) >> 63;
        digits <<= 1;
        if value >= 1 << 64 {
            digits |= 1;
            value >>= 1;
        }
        count += 1;
    }
    digits
}

#[allow(clippy::indexing_slicing, reason = "compile time")]
const fn coarse() -> [(u64, u64); COARSE_COUNT] {
    let mut table = [(0, 0); COARSE_COUNT];
    let mut k = 0;
    while k < COARSE_COUNT - 1 {
        table[k] = ((1u64 << 55).div_ceil(128 + k as u64), log2(k as u64, 7));
        k += 1;
    }
    table[k] = (1 << 47, ONE - (1 << 32));
    table
}

#[allow(clippy::indexing_slicing, reason = "compile time")]
const fn fine() -> [u64; FINE_COUNT] {
    let mut table = [0; FINE_COUNT];
    let mut k = 0;
    while k < FINE_COUNT {
        table[k] = log2(k as u64, 15) + if k < 2 { 0 } else { FINE_OFFSET };
        k += 1;
    }
    let mut k = 0;
    while k < FINE_IRREGULAR.len() {
        let (at, value) = FINE_IRREGULAR[k];
        table[at as usize] = value;
        k += 1;
    }
    table
}

/// About `2^44 · log2(u + 1)`.
pub fn crush_ln(u: u16) -> u64 {
    let number = u64::from(u) + 1;
    // To 2^15..=2^16, which keeps 65536 itself unshifted.
    let shift = number.leading_zeros().saturating_sub(48);
    let normal = number << shift;
    let exponent = u64::from(15 - shift);
    let (reciprocal, logarithm) = COARSE.get((normal >> 8) as usize - 128).copied().unwrap_or_default();
    let rest = ((normal * reciprocal) >> 48) & 0xff;
    let fine = FINE.get(rest as usize).copied().unwrap_or_default();
    (exponent << 44) + ((logarithm + fine) >> 4)
}

/// How far below the logarithm of 1 that of `(u + 1) / 65536` is; never 0. The less of it a unit of weight, the better the draw.
pub fn shortfall(u: u16) -> u64 {
    ONE - crush_ln(u)
}

/// Every shortfall, rounded: 256 KiB.
pub(super) type Shortfalls = [f32; 1 << 16];

pub(super) static SHORTFALLS: LazyLock<Box<Shortfalls>> = LazyLock::new(|| {
    let mut all = Box::new([0.0; 1 << 16]);
    for (rounded, u) in all.iter_mut().zip(0..=u16::MAX) {
        *rounded = shortfall(u) as f32;
    }
    all
});

#[cfg(test)]
mod tests {
    use super::*;

    const CRC32C_OF_ALL: u32 = 0xab10_6edc;

    #[test]
    fn the_logarithms_are_those_that_ceph_computes() {
        // What Ceph's own tables give, of all 65536 numbers as little-endian words.
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(|u| crush_ln(u).to_le_bytes()).collect();
        assert_eq!(crc32c::crc32c(&bytes), CRC32C_OF_ALL);
        assert_eq!((crush_ln(0), crush_ln(65534), crush_ln(65535)), (0, 0xffff_fd61_ad10, 0xffff_f000_0000));
    }

    #[test]
    fn only_the_largest_number_falls_out_of_order() {
        let falls: Vec<u16> = (0..u16::MAX).filter(|u| crush_ln(*u) > crush_ln(u + 1)).collect();
        assert_eq!(falls, [65534]);
        assert!((0..=u16::MAX).all(|u| shortfall(u) > 0));
    }
}
