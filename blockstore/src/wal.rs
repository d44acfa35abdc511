//! The write-ahead log: a ring of records, each a group of transactions.
//!
//! A log position (LSN) counts blocks since the store was made; the block `lsn % wal_blocks` of the ring holds it. A record never
//! straddles the ring's end: a pad record fills up what is left. Header and body are checksummed apart, both seeded with store id and
//! LSN, so that a record of an old lap, of another store or in the wrong place is none.
//!
//! ```text
//! record header                                       transaction, in the body, one after the other
//! offset  size  field                                 u64  next object id after it
//!      0     4  magic "BWAL"                          u32  n, n × { u8 0 delete | 1 put, u16, key, put: u32, value }
//!      4     4  crc32c of bytes 8..64                 u32  n, n × { u8 device, u64 block, u32 blocks, u32 crc32c each }
//!      8     8  LSN                                        blocks allocated and the data written to them
//!     16     8  durable LSN: everything before        u32  n, n × { u8 device, u64 block, u32 blocks }: blocks freed
//!               it was durable when this was          u32  n, n × { u32 pool, 6 × i64 }: changes of the pools' figures
//!               written
//!     24     4  blocks, header included
//!     28     4  bytes of the body                     device: 0 base, 1 hot
//!     32     4  crc32c of the body
//!     36     4  transactions
//!     40     4  kind: 0 group, 1 pad, 2 seal
//!     44     4  crc32c of the header of the record before;
//!               0: not known
//!     48    16  zeros
//!     64        body, zeros to the block's end
//! ```
//!
//! Why this order: data goes to free blocks in parallel with the record that will refer to it; one flush after both makes the group durable.
//! The next group's record is written only after that, and says so by its durable LSN. So at replay only the last record is in doubt:
//! its data is compared with its checksums, and if anything is missing the record never happened. A *seal* is an empty record,
//! written when the log falls idle or is mounted: it takes the last group out of doubt, so that a damaged record, or rot in its data,
//! is told from a torn one.
//!
//! What replay gives up is overwritten by the seal of that mount. Should this one write be lost, the record that was given up stands
//! in its place, whole, and with the later ones calling it durable. So each record names the one before it.

mod entry_writer;

pub(crate) use entry_writer::EntryWriter;

use crate::allocator::Run;
use crate::checksum::Seed;
use crate::encoding::{Put, Reader};
use crate::index::Key;
use crate::limits::{ADDRESS_LIMIT, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::record::{Checksums, Usage};
use crate::sabotage::{Sabotage, sabotaged};
use basalt_ring::BLOCK;
use smallvec::SmallVec;
use std::collections::BTreeMap;

const MAGIC: u32 = u32::from_le_bytes(*b"BWAL");
pub(crate) const HEADER_BYTES: usize = 64;

/// Which device of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Base,
    Hot,
}

impl Side {
    pub fn encode(self) -> u8 {
        match self {
            Side::Base => 0,
            Side::Hot => 1,
        }
    }

    pub fn decode(byte: u8) -> Option<Side> {
        match byte {
            0 => Some(Side::Base),
            1 => Some(Side::Hot),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Group,
    Pad,
    Seal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub lsn: u64,
    pub durable_lsn: u64,
    pub blocks: u32,
    pub body_bytes: u32,
    pub body_crc: u32,
    pub transactions: u32,
    pub kind: Kind,
    /// The [`Header::link`] of the record before; 0 if that is not known. Tells a record that was put in the place of one that a mount gave up
    /// from the one that was given up.
    pub previous: u32,
}

/// Blocks of a record with such a body.
pub(crate) fn record_blocks(body_bytes: usize) -> u64 {
    (HEADER_BYTES + body_bytes).div_ceil(BLOCK) as u64
}

/// What of a position a record is bound to: all of it, unless sabotaged.
fn lap_of(lsn: u64) -> u64 {
    if sabotaged(Sabotage::ReplayAStaleLap) { 0 } else { lsn }
}

fn seed(store_id: &[u8; 16], lsn: u64) -> Seed {
    Seed::new(store_id, b"WALR", lap_of(lsn), 0)
}

impl Header {
    pub fn encode(&self, store_id: &[u8; 16]) -> [u8; HEADER_BYTES] {
        let mut fields = SmallVec::<[u8; HEADER_BYTES]>::new();
        fields.put_u64(self.lsn);
        fields.put_u64(self.durable_lsn);
        fields.put_u32(self.blocks);
        fields.put_u32(self.body_bytes);
        fields.put_u32(self.body_crc);
        fields.put_u32(self.transactions);
        fields.put_u32(match self.kind {
            Kind::Group => 0,
            Kind::Pad => 1,
            Kind::Seal => 2,
        });
        fields.put_u32(self.previous);
        fields.resize(HEADER_BYTES - 8, 0);
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..8].copy_from_slice(&seed(store_id, self.lsn).checksum(&fields).to_le_bytes());
        header[8..].copy_from_slice(&fields);
        header
    }

    /// What the next record says of this one.
    pub fn link(&self, store_id: &[u8; 16]) -> u32 {
        let [_, _, _, _, a, b, c, d, ..] = self.encode(store_id);
        u32::from_le_bytes([a, b, c, d])
    }

    /// The header of whatever record begins in this block, at its own place in the log or at another.
    pub fn decode_any(block: &[u8], store_id: &[u8; 16]) -> Option<Header> {
        let lsn = Reader::new(block.get(8..)?).u64()?;
        Header::decode(block, store_id, lsn)
    }

    /// The header of the record at `lsn`, if there is a whole one in this block.
    pub fn decode(block: &[u8], store_id: &[u8; 16], lsn: u64) -> Option<Header> {
        let mut reader = Reader::new(block);
        if reader.u32()? != MAGIC {
            return None;
        }
        let crc = reader.u32()?;
        if seed(store_id, lsn).checksum(block.get(8..HEADER_BYTES)?) != crc || lap_of(reader.u64()?) != lap_of(lsn) {
            return None;
        }
        let header = Header {
            lsn,
            durable_lsn: reader.u64()?,
            blocks: reader.u32()?,
            body_bytes: reader.u32()?,
            body_crc: reader.u32()?,
            transactions: reader.u32()?,
            kind: match reader.u32()? {
                0 => Kind::Group,
                1 => Kind::Pad,
                2 => Kind::Seal,
                _ => return None,
            },
            previous: reader.u32()?,
        };
        let fits = match header.kind {
            Kind::Pad => header.blocks > 0,
            _ => u64::from(header.blocks) == record_blocks(header.body_bytes as usize),
        };
        fits.then_some(header)
    }
}

pub(crate) fn body_checksum(store_id: &[u8; 16], lsn: u64, body: &[u8]) -> u32 {
    Seed::new(store_id, b"WALB", lap_of(lsn), 0).checksum(body)
}

/// Blocks that a transaction allocated, and what it wrote there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    pub side: Side,
    pub address: u64,
    pub checksums: Checksums,
}

impl Allocation {
    pub fn run(&self) -> Run {
        Run { at: self.address, blocks: self.checksums.len() as u32 }
    }
}

/// One transaction as the log keeps it: what it did to the index and to the allocators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub next_object: u64,
    /// Key and new value; `None` deletes.
    pub mutations: Vec<(Key, Option<Vec<u8>>)>,
    pub allocations: Vec<Allocation>,
    pub frees: Vec<(Side, Run)>,
    pub usage: BTreeMap<u32, Usage>,
}

impl Entry {
    /// What is logged is written by an [`EntryWriter`].
    #[cfg(any(test, feature = "fuzzing"))]
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        EntryWriter::from(self).encode(bytes);
    }

    pub fn decode(reader: &mut Reader) -> Option<Entry> {
        let mut entry = Entry { next_object: reader.u64()?, ..Entry::default() };
        for _ in 0..reader.u32()? {
            let put = reader.u8()?;
            let key_len = usize::from(reader.u16()?);
            if key_len > KEY_BYTES_MAX {
                return None;
            }
            let key = Key::from_slice(reader.bytes(key_len)?);
            let value = match put {
                0 => None,
                1 => {
                    let value_len = reader.u32()? as usize;
                    if value_len > VALUE_BYTES_MAX {
                        return None;
                    }
                    Some(reader.bytes(value_len)?.to_vec())
                }
                _ => return None,
            };
            entry.mutations.push((key, value));
        }
        for _ in 0..reader.u32()? {
            let side = Side::decode(reader.u8()?)?;
            let address = reader.u64().filter(|address| *address < ADDRESS_LIMIT)?;
            let count = reader.u32()? as usize;
            if count > reader.remaining() / 4 {
                return None;
            }
            let checksums = (0..count).map(|_| reader.u32()).collect::<Option<_>>()?;
            entry.allocations.push(Allocation { side, address, checksums });
        }
        for _ in 0..reader.u32()? {
            let side = Side::decode(reader.u8()?)?;
            let at = reader.u64().filter(|at| *at < ADDRESS_LIMIT)?;
            entry.frees.push((side, Run { at, blocks: reader.u32()? }));
        }
        for _ in 0..reader.u32()? {
            let pool = reader.u32()?;
            entry.usage.insert(pool, Usage::decode(reader)?);
        }
        Some(entry)
    }

    /// All transactions of a body, or `None` if it is not exactly `count` of them.
    pub fn decode_all(body: &[u8], count: u32) -> Option<Vec<Entry>> {
        let mut reader = Reader::new(body);
        let entries = (0..count).map(|_| Entry::decode(&mut reader)).collect::<Option<Vec<_>>>()?;
        reader.is_empty().then_some(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_of_another_lap_or_store_is_none() {
        let header = Header {
            lsn: 77,
            durable_lsn: 70,
            blocks: 1,
            body_bytes: 12,
            body_crc: 5,
            transactions: 1,
            kind: Kind::Group,
            previous: 9,
        };
        let bytes = header.encode(&[1; 16]);
        assert_eq!(Header::decode(&bytes, &[1; 16], 77), Some(header));
        assert_eq!(Header::decode(&bytes, &[1; 16], 141), None);
        assert_eq!(Header::decode(&bytes, &[2; 16], 77), None);
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped, &[1; 16], 77), None, "bit {bit}");
        }
    }

    /// Found by fuzzing: a leaf refuses such a key with an assertion.
    #[test]
    fn a_key_longer_than_any_can_be_is_no_transaction() {
        for (length, whole) in [(KEY_BYTES_MAX, true), (KEY_BYTES_MAX + 1, false)] {
            let entry = Entry { mutations: vec![(Key::from_elem(1, length), None)], ..Entry::default() };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            assert_eq!(Entry::decode_all(&bytes, 1).is_some(), whole, "{length} bytes");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_never_a_transaction_that_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400), count in 0u32..4) {
            let _ = Entry::decode_all(&bytes, count);
        }

        #[test]
        fn an_entry_survives_its_encoding(keys in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..20), proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20))), 0..5), at in 0..ADDRESS_LIMIT, crcs in proptest::collection::vec(any::<u32>(), 0..4)) {
            let mut entry = Entry { next_object: at, mutations: keys.into_iter().map(|(key, value)| (key.into(), value)).collect(), ..Entry::default() };
            entry.allocations.push(Allocation { side: Side::Hot, address: at, checksums: Checksums::from_vec(crcs) });
            entry.frees.push((Side::Base, Run { at, blocks: 9 }));
            entry.usage.insert(3, Usage { objects: -1, ..Usage::default() });
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            entry.encode(&mut bytes);
            prop_assert_eq!(Entry::decode_all(&bytes, 2), Some(vec![entry.clone(), entry]));
        }
    }
}
