//! Which blocks of a device are referred to, and how often.

use crate::allocator::Run;
use crate::record::References;
use crate::wal::Side;
use std::collections::BTreeMap;

/// A block, how often it is referred to, and how often the index says so.
pub(super) type Miscount = (u64, u32, u32);

pub(super) struct Reached {
    pub side: Side,
    /// A bit a block: referred to.
    words: Vec<u64>,
    /// A bit a block: by an extent that does not say that it shares.
    unshared: Vec<u64>,
    /// By block: how often, where it is more than once.
    often: BTreeMap<u64, u32>,
    /// By first block: what the index counts.
    counted: BTreeMap<u64, References>,
}

fn bit(words: &[u64], block: u64) -> bool {
    words.get((block / 64) as usize).is_some_and(|word| word >> (block % 64) & 1 == 1)
}

fn set(words: &mut [u64], block: u64) {
    if let Some(word) = words.get_mut((block / 64) as usize) {
        *word |= 1 << (block % 64);
    }
}

impl Reached {
    pub fn new(side: Side, blocks: u64) -> Reached {
        let words = vec![0; blocks.div_ceil(64) as usize];
        Reached { side, unshared: words.clone(), words, often: BTreeMap::new(), counted: BTreeMap::new() }
    }

    pub fn add(&mut self, run: Run, shared: bool) {
        for block in run.at..run.end() {
            if bit(&self.words, block) {
                *self.often.entry(block).or_insert(1) += 1;
            }
            set(&mut self.words, block);
            if !shared {
                set(&mut self.unshared, block);
            }
        }
    }

    /// An entry of the index that counts references.
    pub fn count(&mut self, at: u64, references: References) {
        self.counted.insert(at, references);
    }

    pub fn contains(&self, block: u64) -> bool {
        bit(&self.words, block)
    }

    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The blocks that are referred to more often than the index counts; and those less often, or by an extent that does not say so. After everything was added.
    pub fn check(&mut self) -> (Vec<Miscount>, Vec<Miscount>) {
        let mut more = Vec::new();
        let mut other = Vec::new();
        let mut end = 0;
        for (at, references) in std::mem::take(&mut self.counted) {
            for block in at..at + u64::from(references.blocks) {
                let found = self.often.remove(&block).unwrap_or_else(|| u32::from(bit(&self.words, block)));
                let finding = (block, found, references.count);
                if found > references.count {
                    more.push(finding);
                } else if found < references.count || bit(&self.unshared, block) || block < end {
                    other.push(finding);
                }
            }
            end = at + u64::from(references.blocks);
        }
        more.extend(std::mem::take(&mut self.often).into_iter().map(|(block, found)| (block, found, 1)));
        (more, other)
    }
}
