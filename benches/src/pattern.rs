//! What verifying jobs write: a header that says which write of which job a block is from, then bytes that follow from it, all
//! under a crc32c.
//!
//! ```text
//!  0  8  magic            16  8  offset in the region     32  4  length of the block
//!  8  8  job and clone    24  8  sequence of the write    36  4  crc32c of the block without this field
//! ```
//! Little-endian. The offset tells a misplaced block, the sequence a stale one, the checksum a torn or rotten one.

use crate::random::{Random, mix};

pub const HEADER: usize = 40;
const MAGIC: [u8; 8] = *b"basalt\0v";
const CHECKSUM_AT: usize = 36;

/// What a block should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The job's seed and clone, mixed.
    pub owner: u64,
    pub offset: u64,
    pub sequence: u64,
}

/// Fills a block of at least [`HEADER`] bytes.
pub fn fill(stamp: Stamp, block: &mut [u8]) {
    let (header, body) = block.split_at_mut(HEADER);
    Random::new(mix(stamp.owner ^ stamp.offset) ^ stamp.sequence).fill(body);
    header[..8].copy_from_slice(&MAGIC);
    header[8..16].copy_from_slice(&stamp.owner.to_le_bytes());
    header[16..24].copy_from_slice(&stamp.offset.to_le_bytes());
    header[24..32].copy_from_slice(&stamp.sequence.to_le_bytes());
    header[32..36].copy_from_slice(&(body.len() as u32 + HEADER as u32).to_le_bytes());
    let checksum = checksum(block);
    block[CHECKSUM_AT..HEADER].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&block[..CHECKSUM_AT]), &block[HEADER..])
}

fn word(block: &[u8], at: usize) -> u64 {
    block.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Why a block is not what was written; `None` if it is. Without a `sequence` any write of that place will do.
pub fn mismatch(owner: u64, offset: u64, sequence: Option<u64>, block: &[u8]) -> Option<String> {
    if block.len() < HEADER {
        return Some(format!("only {} bytes are there", block.len()));
    }
    if block[..8] != MAGIC {
        let kind = if block.iter().all(|byte| *byte == 0) { "zeros" } else { "no block of a verifying job" };
        return Some(format!("the block is {kind}"));
    }
    let length = u32::from_le_bytes([block[32], block[33], block[34], block[35]]);
    if length as usize != block.len() {
        return Some(format!("its header says {length} bytes, where {} were written", block.len()));
    }
    let stored = u32::from_le_bytes([block[36], block[37], block[38], block[39]]);
    let computed = checksum(block);
    if stored != computed {
        return Some(format!("its crc32c is {computed:#010x}, where {stored:#010x} is right"));
    }
    if word(block, 16) != offset {
        return Some(format!("the block belongs to offset {}", word(block, 16)));
    }
    if word(block, 8) != owner {
        return Some("the block was written by another job or clone".into());
    }
    match sequence {
        Some(sequence) if word(block, 24) != sequence => {
            Some(format!("the block is from write {}, where {sequence} was the last", word(block, 24)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_flipped_bit_is_found(at in 0..4096_usize, bit in 0..8_u32, offset in any::<u64>(), sequence in any::<u64>()) {
            let mut block = vec![0; 4096];
            fill(Stamp { owner: 5, offset, sequence }, &mut block);
            prop_assert_eq!(mismatch(5, offset, Some(sequence), &block), None);
            prop_assert!(mismatch(5, offset, Some(sequence.wrapping_add(1)), &block).is_some());
            prop_assert!(mismatch(5, offset.wrapping_add(4096), Some(sequence), &block).is_some());
            prop_assert!(mismatch(6, offset, None, &block).is_some());
            block[at] ^= 1 << bit;
            prop_assert!(mismatch(5, offset, None, &block).is_some());
        }
    }
}
