//! What a transaction does to an object's blocks: pieces that never overlap, in ascending order. Mostly there is one, so one is kept in place.

use crate::staged::Content;
use smallvec::SmallVec;

/// `blocks` blocks from `block` on.
pub(crate) struct StagedPiece {
    pub block: u32,
    pub blocks: u32,
    pub content: Content,
}

impl StagedPiece {
    fn end(&self) -> u32 {
        self.block + self.blocks
    }
}

#[derive(Default)]
pub(crate) struct Pieces {
    pieces: SmallVec<[StagedPiece; 1]>,
}

impl Pieces {
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub fn clear(&mut self) {
        self.pieces.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = &StagedPiece> {
        self.pieces.iter()
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut StagedPiece> {
        self.pieces.iter_mut()
    }

    /// The piece that a block is in.
    pub fn at(&self, block: u32) -> Option<&StagedPiece> {
        let index = self.pieces.partition_point(|piece| piece.end() <= block);
        self.pieces.get(index).filter(|piece| piece.block <= block)
    }

    /// Where the next piece begins, at `block` or behind it.
    pub fn next_from(&self, block: u32) -> Option<u32> {
        let index = self.pieces.partition_point(|piece| piece.block < block);
        self.pieces.get(index).map(|piece| piece.block)
    }

    /// What was there of these blocks goes.
    pub fn insert(&mut self, block: u32, blocks: u32, content: Content) {
        if blocks == 0 {
            return;
        }
        let end = block + blocks;
        let first = self.pieces.partition_point(|piece| piece.end() <= block);
        let behind = self.pieces.partition_point(|piece| piece.block < end);
        let mut before = None;
        let mut after = None;
        for old in self.pieces.drain(first..behind) {
            if old.block < block {
                let blocks = block - old.block;
                before = Some(StagedPiece { block: old.block, blocks, content: old.content.cut(0, blocks) });
            }
            if old.end() > end {
                let content = old.content.cut(end - old.block, old.blocks);
                after = Some(StagedPiece { block: end, blocks: old.end() - end, content });
            }
        }
        let parts = [before, Some(StagedPiece { block, blocks, content }), after];
        for (index, piece) in parts.into_iter().flatten().enumerate() {
            self.pieces.insert(first + index, piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::rc::Rc;

    /// Content that says which block of which piece it is.
    fn content(number: usize) -> Content {
        let object = crate::object::ObjectKey { pool: number as u32, pg: 0, name: b"x".as_slice().into() };
        let record = crate::record::ObjectRecord { id: crate::object::ObjectId(1), size: 0, version: 0, mtime_ns: 0 };
        Content::Shared { source: Rc::new(crate::staged::Source { object, record }), block: 0 }
    }

    fn seen(pieces: &Pieces, block: u32) -> Option<(u32, u32)> {
        let piece = pieces.at(block)?;
        match piece.content.cut(block - piece.block, block - piece.block + 1) {
            Content::Shared { source, block } => Some((source.object.pool, block)),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn each_block_is_what_was_put_there_last(steps in prop::collection::vec((0u32..40, 0u32..20), 1..30)) {
            let mut pieces = Pieces::default();
            let mut model = [None; 60];
            for (number, (block, blocks)) in steps.into_iter().enumerate() {
                pieces.insert(block, blocks, content(number));
                for at in block..block + blocks {
                    model[at as usize] = Some((number as u32, at - block));
                }
            }
            for block in 0..60 {
                prop_assert_eq!(seen(&pieces, block), model[block as usize]);
                let next = pieces.iter().map(|piece| piece.block).find(|at| *at >= block);
                prop_assert_eq!(pieces.next_from(block), next);
            }
            let ends: Vec<(u32, u32)> = pieces.iter().map(|piece| (piece.block, piece.end())).collect();
            prop_assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }
    }
}
