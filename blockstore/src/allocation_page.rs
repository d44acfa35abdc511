//! The image of an allocator on disk, which is kept in pages of one block, each with two slots. A checkpoint writes the pages that changed, each to the slot that the
//! checkpoint before it does not use; the generation in a page says from which checkpoint it is, and one newer than the superblock is
//! from a checkpoint that never was.
//!
//! ```text
//! offset  size  field
//!      0     4  magic "BALP"
//!      4     4  crc32c of bytes 8..4096, seeded with store id, "ALOC", the slot's block and the generation
//!      8     8  generation
//!     16     8  page number
//!     24    40  zeros
//!     64  4032  bits, least significant first; 1 = used
//! ```

use crate::checksum::Seed;
use crate::encoding::{Put, Reader};
use basalt_ring::BLOCK;

const MAGIC: u32 = u32::from_le_bytes(*b"BALP");
const PAGE_HEADER: usize = 64;
/// Blocks that one page speaks for.
pub(crate) const PAGE_BITS: u64 = ((BLOCK - PAGE_HEADER) * 8) as u64;
pub(crate) const PAGE_WORDS: usize = (BLOCK - PAGE_HEADER) / 8;

/// Pages that a device of so many blocks needs.
pub(crate) fn pages(blocks: u64) -> u64 {
    blocks.div_ceil(PAGE_BITS)
}

/// One page as it is to be written.
pub(crate) struct PageImage {
    pub page: u64,
    /// 0 or 1.
    pub slot: u64,
    pub words: Vec<u64>,
}

impl PageImage {
    pub fn encode(&self, store_id: &[u8; 16], block: u64, generation: u64) -> Vec<u8> {
        let mut body = Vec::with_capacity(BLOCK);
        body.put_u64(generation);
        body.put_u64(self.page);
        body.resize(PAGE_HEADER - 8, 0);
        for word in &self.words {
            body.put_u64(*word);
        }
        let mut bytes = Vec::with_capacity(BLOCK);
        bytes.put_u32(MAGIC);
        bytes.put_u32(Seed::new(store_id, b"ALOC", block, generation).checksum(&body));
        bytes.put(&body);
        bytes
    }
}

/// A slot's content, if it is whole.
pub(crate) struct PageSlot {
    pub generation: u64,
    pub words: Vec<u64>,
}

impl PageSlot {
    pub fn decode(bytes: &[u8], store_id: &[u8; 16], block: u64, page: u64) -> Option<PageSlot> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let crc = reader.u32()?;
        let generation = reader.u64()?;
        if reader.u64()? != page
            || Seed::new(store_id, b"ALOC", block, generation).checksum(bytes.get(8..BLOCK)?) != crc
        {
            return None;
        }
        reader.bytes(PAGE_HEADER - 24)?;
        let words = (0..PAGE_WORDS).map(|_| reader.u64()).collect::<Option<Vec<u64>>>()?;
        Some(PageSlot { generation, words })
    }
}
