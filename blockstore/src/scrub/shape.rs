//! How an object lies on base: in how many pieces, and in how few it could.

use crate::encoding::{Put, Reader};
use crate::limits::{FRAGMENTS_PER_IDEAL, FRAGMENTS_WORTH_REWRITING};
use crate::object::ObjectKey;

/// An object worth writing anew in fewer pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragmented {
    pub object: ObjectKey,
    /// Runs of neighbouring blocks on base: what a sequential read seeks for.
    pub fragments: u64,
    /// Runs that its holes leave no way around.
    pub ideal: u64,
}

/// Of the part of an object that a pass has seen, from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Shape {
    pub fragments: u64,
    pub ideal: u64,
    /// Behind the last piece: within the object, and on base.
    pub end_block: u32,
    pub end_address: u64,
    /// It is not cold: its flush places it anew.
    pub has_hot: bool,
}

impl Shape {
    /// The next piece in order.
    pub fn add(&mut self, block: u32, address: u64, blocks: u32) {
        let follows = self.fragments > 0 && block == self.end_block;
        self.ideal += u64::from(!follows);
        self.fragments += u64::from(!follows || address != self.end_address);
        self.end_block = block + blocks;
        self.end_address = address + u64::from(blocks);
    }

    pub fn is_worth_rewriting(&self) -> bool {
        !self.has_hot
            && self.fragments >= FRAGMENTS_WORTH_REWRITING
            && self.fragments >= self.ideal.saturating_mul(FRAGMENTS_PER_IDEAL)
    }

    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u64(self.fragments);
        bytes.put_u64(self.ideal);
        bytes.put_u32(self.end_block);
        bytes.put_u64(self.end_address);
        bytes.put_u8(self.has_hot.into());
    }

    pub fn decode(reader: &mut Reader) -> Option<Shape> {
        Some(Shape {
            fragments: reader.u64()?,
            ideal: reader.u64()?,
            end_block: reader.u32()?,
            end_address: reader.u64()?,
            has_hot: reader.u8()? != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_no_fragments_and_neighbours_are_one() {
        let mut shape = Shape::default();
        for (block, address) in [(0, 100), (10, 110), (20, 500), (40, 510)] {
            shape.add(block, address, 10);
        }
        // Blocks 0..20 in one run, 20..30 in another, and 40..50 behind a hole, although on base it follows.
        assert_eq!((shape.fragments, shape.ideal), (3, 2));
    }
}
