//! Layers of the store by themselves, for micro benchmarks: what one step costs without the rest. Never in a build that is shipped.

use crate::allocator::{Allocator, Run};
use crate::index::{Layer, Tree, key};
use crate::limits::BLOCK_BYTES;
use crate::object::{ObjectId, ObjectKey};
use crate::record::{Checksums, Extent, ExtentState, ObjectRecord};
use crate::wal::{self, EntryWriter, Header, Kind, Side};
use std::collections::VecDeque;

const STORE_ID: [u8; 16] = [0x5e; 16];

fn extent(address: u64) -> Extent {
    Extent { address, state: ExtentState::Base, shared: false, checksums: Checksums::from_slice(&[address as u32]) }
}

/// An index in memory, of objects whose every block is an extent, as random writes leave them.
pub struct IndexLayer {
    tree: Tree,
    objects: u64,
    blocks: u32,
}

impl IndexLayer {
    pub fn new(objects: u64, blocks: u32) -> IndexLayer {
        let mut layer = IndexLayer { tree: Tree::new(1, 1 << 30), objects, blocks };
        for object in 0..objects {
            for block in 0..blocks {
                layer.put(object, block, u64::from(block));
            }
        }
        layer
    }

    /// The extent of one block, any number for each of the two.
    pub fn lookup(&self, object: u64, block: u32) -> bool {
        let key = key::extent(ObjectId(object % self.objects), Layer::Base, block % self.blocks);
        matches!(self.tree.with(&key, |value| Extent::decode(value).is_some()), Ok(Some(true)))
    }

    /// As [`IndexLayer::lookup`], with another address put in its place.
    pub fn overwrite(&mut self, object: u64, block: u32, address: u64) {
        self.put(object % self.objects, block % self.blocks, address);
    }

    /// An object of one block behind the last one.
    pub fn insert(&mut self) {
        self.put(self.objects, 0, 0);
        self.objects += 1;
    }

    fn put(&mut self, object: u64, block: u32, address: u64) {
        let key = key::extent(ObjectId(object), Layer::Base, block);
        let put = self.tree.put(&key, &extent(address).encode());
        assert!(put.is_ok(), "all nodes are in memory");
    }
}

/// A device's blocks, filled to a share, with a checkpoint now and then to make what was freed free.
pub struct AllocatorLayer {
    allocator: Allocator,
    held: VecDeque<Run>,
    steps: u64,
}

/// Steps from one checkpoint to the next.
const STEPS: u64 = 4096;

impl AllocatorLayer {
    /// `used`: percent. What is used is in runs of one block, with as many free ones in between as the share leaves.
    pub fn new(blocks: u64, used: u64) -> AllocatorLayer {
        let mut allocator = Allocator::new(blocks, (8, blocks), 0, false);
        let mut held = VecDeque::new();
        for at in (8..blocks).filter(|block| block * 7919 % 100 < used) {
            let run = Run { at, blocks: 1 };
            assert_eq!(allocator.claim(run), Ok(()));
            held.push_back(run);
        }
        let mut layer = AllocatorLayer { allocator, held, steps: 0 };
        layer.checkpoint();
        layer
    }

    /// Takes as many blocks, and frees as many that were used.
    pub fn step(&mut self, blocks: u64) {
        let runs = self.allocator.allocate(blocks, 64).expect("the share leaves room");
        self.held.extend(runs);
        let mut left = blocks;
        while left > 0 {
            let run = self.held.pop_front().expect("more is held than is freed");
            left = left.saturating_sub(u64::from(run.blocks));
            self.allocator.free(run);
        }
        self.steps += 1;
        if self.steps.is_multiple_of(STEPS) {
            self.checkpoint();
        }
    }

    fn checkpoint(&mut self) {
        let images = self.allocator.freeze();
        self.allocator.images_written(&images, self.steps + 1);
        self.allocator.release();
    }
}

/// A group's record, made in memory.
#[derive(Default)]
pub struct LogLayer {
    writer: EntryWriter,
    body: Vec<u8>,
    lsn: u64,
}

impl LogLayer {
    /// The record of a group of transactions, each of which overwrites 4 KiB and adds a placement group's log entry of 120 bytes: encoded and
    /// checksummed, as it goes to the device. Its bytes.
    pub fn append(&mut self, transactions: u32) -> usize {
        self.body.clear();
        let object = ObjectKey { pool: 1, pg: 7, name: b"object.of.usual.length".as_slice().into() };
        let record = ObjectRecord { id: ObjectId(90), size: 4 << 20, version: 5, mtime_ns: 6 };
        for number in 0..u64::from(transactions) {
            let address = self.lsn + number;
            self.writer.put(&key::object(&object), &record.encode());
            self.writer.put(&key::extent(ObjectId(90), Layer::Base, number as u32), &extent(address).encode());
            self.writer.put(&key::log(1, 7, address), &[0x5a; 120]);
            self.writer.delete(&key::log(1, 7, address.saturating_sub(1000)));
            self.writer.allocated(Side::Base, address, &[7]);
            self.writer.freed(Side::Base, Run { at: address + 1, blocks: 1 });
            self.writer.encode(&mut self.body);
            self.writer = std::mem::take(&mut self.writer).cleared();
        }
        let header = Header {
            lsn: self.lsn,
            durable_lsn: self.lsn,
            blocks: wal::record_blocks(self.body.len()) as u32,
            body_bytes: self.body.len() as u32,
            body_crc: wal::body_checksum(&STORE_ID, self.lsn, &self.body),
            transactions,
            kind: Kind::Group,
            previous: 0,
        };
        self.lsn += u64::from(header.blocks);
        assert_ne!(header.encode(&STORE_ID), [0; wal::HEADER_BYTES]);
        header.blocks as usize * BLOCK_BYTES as usize
    }
}
