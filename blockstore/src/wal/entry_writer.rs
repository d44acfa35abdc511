//! A transaction, written down in the log's encoding while it is applied.

use super::Side;
#[cfg(any(test, feature = "fuzzing"))]
use super::{Allocation, Entry};
use crate::allocator::Run;
use crate::encoding::Put;
use crate::record::Usage;
use smallvec::SmallVec;

/// What becomes an [`Entry`] when it is decoded. Used again and again, it makes no allocation.
#[derive(Default)]
pub(crate) struct EntryWriter {
    pub next_object: u64,
    mutations: Fields,
    allocations: Fields,
    frees: Vec<(Side, Run)>,
    /// Hardly ever of more than one pool.
    usage: SmallVec<[(u32, Usage); 2]>,
}

/// So many, encoded.
#[derive(Default)]
struct Fields {
    count: u32,
    bytes: Vec<u8>,
}

impl Fields {
    fn next(&mut self) -> &mut Vec<u8> {
        self.count += 1;
        &mut self.bytes
    }

    fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u32(self.count);
        bytes.put(&self.bytes);
    }
}

/// What a writer keeps for the next transaction. A usual one is a few hundred bytes.
const KEPT_BYTES_MAX: usize = 64 << 10;

impl EntryWriter {
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let bytes = self.mutations.next();
        bytes.put_u8(1);
        bytes.put_u16(key.len() as u16);
        bytes.put(key);
        bytes.put_u32(value.len() as u32);
        bytes.put(value);
    }

    pub fn delete(&mut self, key: &[u8]) {
        let bytes = self.mutations.next();
        bytes.put_u8(0);
        bytes.put_u16(key.len() as u16);
        bytes.put(key);
    }

    pub fn allocated(&mut self, side: Side, address: u64, checksums: &[u32]) {
        let bytes = self.allocations.next();
        bytes.put_u8(side.encode());
        bytes.put_u64(address);
        bytes.put_u32(checksums.len() as u32);
        for crc in checksums {
            bytes.put_u32(*crc);
        }
    }

    pub fn freed(&mut self, side: Side, run: Run) {
        self.frees.push((side, run));
    }

    pub fn frees(&self) -> &[(Side, Run)] {
        &self.frees
    }

    /// What changes of a pool's figures.
    pub fn usage(&mut self, pool: u32) -> &mut Usage {
        let index = match self.usage.iter().position(|(of, _)| *of == pool) {
            Some(index) => index,
            None => {
                self.usage.push((pool, Usage::default()));
                self.usage.len() - 1
            }
        };
        &mut self.usage[index].1
    }

    /// Those of pools whose figures change; of others nothing is written.
    pub fn settle_usage(&mut self) -> &[(u32, Usage)] {
        self.usage.retain(|(_, usage)| !usage.is_zero());
        &self.usage
    }

    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u64(self.next_object);
        self.mutations.encode(bytes);
        self.allocations.encode(bytes);
        bytes.put_u32(self.frees.len() as u32);
        for (side, run) in &self.frees {
            bytes.put_u8(side.encode());
            bytes.put_u64(run.at);
            bytes.put_u32(run.blocks);
        }
        bytes.put_u32(self.usage.len() as u32);
        for (pool, usage) in &self.usage {
            bytes.put_u32(*pool);
            usage.encode(bytes);
        }
    }

    /// Empty again, with the memory that it has, unless it was for a transaction out of the ordinary.
    pub fn cleared(mut self) -> EntryWriter {
        if self.mutations.bytes.capacity() + self.allocations.bytes.capacity() > KEPT_BYTES_MAX {
            return EntryWriter::default();
        }
        self.mutations.clear();
        self.allocations.clear();
        self.frees.clear();
        self.usage.clear();
        self
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl From<&Entry> for EntryWriter {
    fn from(entry: &Entry) -> EntryWriter {
        let mut writer = EntryWriter { next_object: entry.next_object, ..EntryWriter::default() };
        for (key, value) in &entry.mutations {
            match value {
                Some(value) => writer.put(key, value),
                None => writer.delete(key),
            }
        }
        for Allocation { side, address, checksums } in &entry.allocations {
            writer.allocated(*side, *address, checksums);
        }
        entry.frees.iter().for_each(|(side, run)| writer.freed(*side, *run));
        entry.usage.iter().for_each(|(pool, usage)| *writer.usage(*pool) = *usage);
        writer
    }
}
