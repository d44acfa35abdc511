//! The index's values.
//!
//! ```text
//! object record   object u64, size u64, version u64, mtime_ns u64
//! extent          address (block) u64, state u8 (0 base, 1 hot dirty, 2 hot clean; +128: some of its blocks may be another extent's
//!                 too), crc32c u32 for each block
//! references      blocks u32, number of extents that refer to each of them u32 (at least 2)
//! hot summary     dirty blocks u64, clean blocks u64, dirty since (ns since 1970) u64
//! pool usage      objects, data bytes, omap bytes, hot dirty blocks, hot clean blocks, dirty objects (u64 each)
//! removed object  pool u32
//! ```

use crate::allocator::Run;
use crate::encoding::{Put, Reader, Value};
use crate::index::Layer;
use crate::limits::{ADDRESS_LIMIT, BLOCK_BYTES, EXTENT_BLOCKS_MAX, OBJECT_SIZE_LIMIT};
use crate::object::{HotChange, ObjectId, ObjectInfo, PoolUsage};
use smallvec::SmallVec;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectRecord {
    pub id: ObjectId,
    pub size: u64,
    pub version: u64,
    pub mtime_ns: u64,
}

impl ObjectRecord {
    pub fn encode(&self) -> Value {
        let mut bytes = Value::new();
        for field in [self.id.0, self.size, self.version, self.mtime_ns] {
            bytes.put_u64(field);
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<ObjectRecord> {
        let mut reader = Reader::new(bytes);
        let record = ObjectRecord {
            id: ObjectId(reader.u64()?),
            size: reader.u64()?,
            version: reader.u64()?,
            mtime_ns: reader.u64()?,
        };
        (reader.is_empty() && record.size <= OBJECT_SIZE_LIMIT).then_some(record)
    }

    pub fn info(&self) -> ObjectInfo {
        ObjectInfo { id: self.id, size: self.size, version: self.version, mtime_ns: self.mtime_ns }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtentState {
    Base,
    HotDirty,
    HotClean,
}

/// Neighbouring blocks of an object that are neighbours on a device too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub address: u64,
    pub state: ExtentState,
    /// Other extents may refer to some of its blocks: before they are freed or written in place, the index is asked (see `sharing`).
    pub shared: bool,
    /// One a block.
    pub checksums: Checksums,
}

/// One for each of some blocks. Those of a small write are no allocation.
pub(crate) type Checksums = SmallVec<[u32; 8]>;

const SHARED: u8 = 0x80;

impl Extent {
    pub fn blocks(&self) -> u32 {
        self.checksums.len() as u32
    }

    pub fn run(&self) -> Run {
        Run { at: self.address, blocks: self.blocks() }
    }

    pub fn layer(&self) -> Layer {
        match self.state {
            ExtentState::Base => Layer::Base,
            ExtentState::HotDirty | ExtentState::HotClean => Layer::Hot,
        }
    }

    /// Blocks `[from, to)` of it.
    pub fn part(&self, from: u32, to: u32) -> Extent {
        Extent {
            address: self.address + u64::from(from),
            state: self.state,
            shared: self.shared,
            checksums: Checksums::from_slice(
                self.checksums.get(from as usize..to as usize).expect("a part lies within its extent"),
            ),
        }
    }

    pub fn encode(&self) -> Value {
        let mut bytes = Value::with_capacity(9 + 4 * self.checksums.len());
        bytes.put_u64(self.address);
        let state = match self.state {
            ExtentState::Base => 0,
            ExtentState::HotDirty => 1,
            ExtentState::HotClean => 2,
        };
        bytes.put_u8(state | if self.shared { SHARED } else { 0 });
        for crc in &self.checksums {
            bytes.put_u32(*crc);
        }
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<Extent> {
        let mut reader = Reader::new(bytes);
        let address = reader.u64().filter(|address| *address < ADDRESS_LIMIT)?;
        let state = reader.u8()?;
        let shared = state & SHARED != 0;
        let state = match state & !SHARED {
            0 => ExtentState::Base,
            1 => ExtentState::HotDirty,
            2 => ExtentState::HotClean,
            _ => return None,
        };
        let count = reader.remaining() / 4;
        if count == 0 || count > EXTENT_BLOCKS_MAX as usize || !reader.remaining().is_multiple_of(4) {
            return None;
        }
        let checksums = (0..count).map(|_| reader.u32()).collect::<Option<_>>()?;
        Some(Extent { address, state, shared, checksums })
    }
}

/// How many extents refer to each of some neighbouring blocks; blocks without such an entry have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct References {
    pub blocks: u32,
    /// At least 2.
    pub count: u32,
}

impl References {
    pub fn encode(&self) -> Value {
        let mut bytes = Value::new();
        bytes.put_u32(self.blocks);
        bytes.put_u32(self.count);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<References> {
        let mut reader = Reader::new(bytes);
        let references = References { blocks: reader.u32()?, count: reader.u32()? };
        let sound = (1..=EXTENT_BLOCKS_MAX).contains(&references.blocks) && references.count >= 2;
        (reader.is_empty() && sound).then_some(references)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct HotSummary {
    pub dirty_blocks: u64,
    pub clean_blocks: u64,
    pub dirty_since_ns: u64,
}

impl HotSummary {
    pub fn encode(&self) -> Value {
        let mut bytes = Value::new();
        bytes.put_u64(self.dirty_blocks);
        bytes.put_u64(self.clean_blocks);
        bytes.put_u64(self.dirty_since_ns);
        bytes
    }

    pub fn decode(bytes: &[u8]) -> Option<HotSummary> {
        let mut reader = Reader::new(bytes);
        let summary =
            HotSummary { dirty_blocks: reader.u64()?, clean_blocks: reader.u64()?, dirty_since_ns: reader.u64()? };
        reader.is_empty().then_some(summary)
    }

    pub fn is_empty(&self) -> bool {
        self.dirty_blocks == 0 && self.clean_blocks == 0
    }

    pub fn change(&self, pool: u32, object: ObjectId) -> HotChange {
        HotChange {
            pool,
            object,
            dirty_bytes: self.dirty_blocks.saturating_mul(BLOCK_BYTES),
            clean_bytes: self.clean_blocks.saturating_mul(BLOCK_BYTES),
            dirty_since_ns: if self.dirty_blocks > 0 { self.dirty_since_ns } else { 0 },
        }
    }
}

/// How a transaction changes a pool's figures. Also, as a sum of all changes, the figures themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub objects: i64,
    pub data_bytes: i64,
    pub omap_bytes: i64,
    pub hot_dirty_blocks: i64,
    pub hot_clean_blocks: i64,
    pub dirty_objects: i64,
}

impl Usage {
    fn fields(&self) -> [i64; 6] {
        [
            self.objects,
            self.data_bytes,
            self.omap_bytes,
            self.hot_dirty_blocks,
            self.hot_clean_blocks,
            self.dirty_objects,
        ]
    }

    /// Saturates: what a damaged log says is noticed by fsck, not here.
    pub fn add(&mut self, other: &Usage) {
        self.objects = self.objects.saturating_add(other.objects);
        self.data_bytes = self.data_bytes.saturating_add(other.data_bytes);
        self.omap_bytes = self.omap_bytes.saturating_add(other.omap_bytes);
        self.hot_dirty_blocks = self.hot_dirty_blocks.saturating_add(other.hot_dirty_blocks);
        self.hot_clean_blocks = self.hot_clean_blocks.saturating_add(other.hot_clean_blocks);
        self.dirty_objects = self.dirty_objects.saturating_add(other.dirty_objects);
    }

    pub fn is_zero(&self) -> bool {
        *self == Usage::default()
    }

    pub fn encode(&self, bytes: &mut Vec<u8>) {
        for field in self.fields() {
            bytes.put_i64(field);
        }
    }

    pub fn decode(reader: &mut Reader) -> Option<Usage> {
        Some(Usage {
            objects: reader.i64()?,
            data_bytes: reader.i64()?,
            omap_bytes: reader.i64()?,
            hot_dirty_blocks: reader.i64()?,
            hot_clean_blocks: reader.i64()?,
            dirty_objects: reader.i64()?,
        })
    }

    pub fn public(&self) -> PoolUsage {
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        PoolUsage {
            objects: count(self.objects),
            data_bytes: count(self.data_bytes),
            omap_bytes: count(self.omap_bytes),
            hot_dirty_bytes: count(self.hot_dirty_blocks).saturating_mul(BLOCK_BYTES),
            hot_clean_bytes: count(self.hot_clean_blocks).saturating_mul(BLOCK_BYTES),
            dirty_objects: count(self.dirty_objects),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing the replay of a log with right checksums: sums of such numbers overflowed.
    #[test]
    fn what_is_beyond_all_bounds_is_no_entry() {
        let record = ObjectRecord { id: ObjectId(1), size: OBJECT_SIZE_LIMIT, version: 1, mtime_ns: 1 };
        assert_eq!(ObjectRecord::decode(&record.encode()), Some(record));
        let beyond = ObjectRecord { size: OBJECT_SIZE_LIMIT + 1, ..record };
        assert_eq!(ObjectRecord::decode(&beyond.encode()), None);

        let extent = Extent {
            address: ADDRESS_LIMIT - 1,
            state: ExtentState::Base,
            shared: false,
            checksums: Checksums::from_slice(&[1]),
        };
        assert_eq!(Extent::decode(&extent.encode()), Some(extent.clone()));
        let beyond = Extent { address: ADDRESS_LIMIT, ..extent };
        assert_eq!(Extent::decode(&beyond.encode()), None);

        let mut usage = Usage { objects: i64::MAX, ..Usage::default() };
        usage.add(&Usage { objects: 1, ..Usage::default() });
        assert_eq!(usage.objects, i64::MAX);
    }
}
