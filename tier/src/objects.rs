//! The table of hot objects: a slab addressed by 32-bit indices, and a hash index that holds nothing but those.

use crate::limits::OBJECTS_MAX;
use crate::list::Links;
use crate::regions::Regions;
use crate::{ObjectId, PoolId};
use hashbrown::HashTable;
use std::ops::{Index, IndexMut};

/// What is known of one object with hot bytes.
#[derive(Clone, Debug)]
pub struct HotObject {
    pub object: ObjectId,
    pub dirty_bytes: u64,
    pub clean_bytes: u64,
    /// Nothing in the object has been dirty for longer than since then. Meaningful while `dirty_bytes > 0`.
    pub dirty_since: u64,
    /// The last write.
    pub modified: u64,
    pub links: [Links; 2],
    /// Not zero while anything is clean, and another each time it becomes so.
    pub stamp: u32,
    pub slot: u16,
    pub flushing: bool,
    pub evicting: bool,
    pub regions: Regions,
}

// The promise of `lib.rs`: with the index about 140 bytes an object.
const _: () = assert!(size_of::<HotObject>() <= 120);

#[derive(Default)]
pub struct Objects {
    slab: Vec<HotObject>,
    free: Vec<u32>,
    index: HashTable<u32>,
    last_stamp: u32,
}

/// Object numbers come from the store's own counter, so nobody can choose colliding ones; this mixes them well (the finalizer of
/// SplitMix64) and, unlike the standard hasher, is the same in every run.
pub fn hash(pool: PoolId, object: ObjectId) -> u64 {
    let mut mixed = object ^ u64::from(pool).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn slot_hash(slot: u16, object: ObjectId) -> u64 {
    hash(PoolId::from(slot), object)
}

impl Objects {
    pub fn find(&self, slot: u16, object: ObjectId) -> Option<u32> {
        let same = |&index: &u32| {
            let candidate = &self[index];
            candidate.object == object && candidate.slot == slot
        };
        self.index.find(slot_hash(slot, object), same).copied()
    }

    /// Adds an object that is not in the table.
    pub fn insert(&mut self, entry: HotObject) -> u32 {
        let hash = slot_hash(entry.slot, entry.object);
        let index = match self.free.pop() {
            Some(index) => {
                self[index] = entry;
                index
            }
            None => {
                assert!(self.slab.len() < OBJECTS_MAX, "more hot objects than 32-bit indices can name");
                self.slab.push(entry);
                (self.slab.len() - 1) as u32
            }
        };
        let slab = &self.slab;
        self.index.insert_unique(hash, index, |&other| {
            let entry = &slab[other as usize];
            slot_hash(entry.slot, entry.object)
        });
        index
    }

    /// Takes an object out; it must stand in no list any more.
    pub fn remove(&mut self, index: u32) {
        let hash = slot_hash(self[index].slot, self[index].object);
        match self.index.find_entry(hash, |&other| other == index) {
            Ok(entry) => entry.remove(),
            Err(_) => unreachable!("object {index} of the slab is not in its index"),
        };
        self.free.push(index);
    }

    /// A stamp that no object has now, but one in four billion.
    pub fn next_stamp(&mut self) -> u32 {
        self.last_stamp = self.last_stamp.wrapping_add(1).max(1);
        self.last_stamp
    }

    /// All of one pool.
    pub fn of_slot(&self, slot: u16) -> Vec<u32> {
        self.index.iter().copied().filter(|&index| self[index].slot == slot).collect()
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }
}

impl Index<u32> for Objects {
    type Output = HotObject;
    fn index(&self, index: u32) -> &HotObject {
        &self.slab[index as usize]
    }
}

impl IndexMut<u32> for Objects {
    fn index_mut(&mut self, index: u32) -> &mut HotObject {
        &mut self.slab[index as usize]
    }
}
