//! The CRC of a whole, made of its parts' CRCs: appending n bytes multiplies a CRC by x to the power of 8n.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A polynomial with its bits reversed, as the CRCs of S3 have theirs.
struct Field {
    polynomial: u64,
    bits: u32,
}

fn field(algorithm: &str) -> Option<Field> {
    Some(match algorithm {
        "CRC32" => Field { polynomial: 0xedb8_8320, bits: 32 },
        "CRC32C" => Field { polynomial: 0x82f6_3b78, bits: 32 },
        "CRC64NVME" => Field { polynomial: 0x9a6c_9329_ac4b_c9b5, bits: 64 },
        _ => return None,
    })
}

impl Field {
    /// The highest bit is the polynomial 1.
    fn one(&self) -> u64 {
        1 << (self.bits - 1)
    }

    fn multiply(&self, one: u64, mut other: u64) -> u64 {
        let mut product = 0;
        let mut bit = self.one();
        while bit != 0 {
            if one & bit != 0 {
                product ^= other;
            }
            let carry = other & 1 != 0;
            other >>= 1;
            if carry {
                other ^= self.polynomial;
            }
            bit >>= 1;
        }
        product
    }

    /// x to the power of `8 * bytes`.
    fn shift(&self, bytes: u64) -> u64 {
        // x to the power of 8.
        let mut square = self.one() >> 8;
        let mut power = self.one();
        let mut left = bytes;
        while left != 0 {
            if left & 1 != 0 {
                power = self.multiply(power, square);
            }
            square = self.multiply(square, square);
            left >>= 1;
        }
        power
    }
}

/// In base64, of parts' CRCs with the bytes of each part.
pub fn crcs(algorithm: &str, parts: &[(Vec<u8>, u64)]) -> Option<String> {
    let field = field(algorithm)?;
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut whole = 0;
    for (crc, size) in parts {
        if crc.len() as u32 * 8 != field.bits {
            return None;
        }
        whole = field.multiply(whole, field.shift(*size)) ^ number(crc);
    }
    let bytes = whole.to_be_bytes();
    bytes.get(8 - field.bits as usize / 8..).map(|bytes| STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::super::body::{checksum_value, hasher};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn parts_combine_to_the_crc_of_the_whole(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..5)) {
            for algorithm in ["CRC32", "CRC32C", "CRC64NVME"] {
                let value = |bytes: &[u8]| {
                    let mut hasher = hasher(Some(algorithm));
                    hasher.update(bytes);
                    checksum_value(&hasher.finalize()).unwrap()
                };
                let known: Vec<(Vec<u8>, u64)> =
                    parts.iter().map(|part| (STANDARD.decode(value(part)).unwrap(), part.len() as u64)).collect();
                prop_assert_eq!(crcs(algorithm, &known), Some(value(&parts.concat())), "{}", algorithm);
            }
        }
    }
}
