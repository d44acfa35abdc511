//! crc32c (Castagnoli), plain for data blocks and seeded for the store's own structures, so that one from another store, another
//! place or another lap of the log never passes.

use basalt_ring::BLOCK;

/// What a structure's checksum is bound to besides its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u32);

impl Seed {
    /// `kind` tells structures apart; `position` and `generation` say where and of when the bytes are.
    pub fn new(store_id: &[u8; 16], kind: &[u8; 4], position: u64, generation: u64) -> Seed {
        let mut bytes = [0u8; 36];
        bytes[..16].copy_from_slice(store_id);
        bytes[16..20].copy_from_slice(kind);
        bytes[20..28].copy_from_slice(&position.to_le_bytes());
        bytes[28..].copy_from_slice(&generation.to_le_bytes());
        Seed(crc32c::crc32c(&bytes))
    }

    pub fn checksum(self, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(self.0, bytes)
    }
}

/// The checksums of whole data blocks, in order.
pub(crate) fn block_checksums(data: &[u8]) -> impl Iterator<Item = u32> + '_ {
    debug_assert!(data.len().is_multiple_of(BLOCK));
    data.chunks_exact(BLOCK).map(crc32c::crc32c)
}
