//! The superblock: what a device is, and the checkpoint from which its store starts.
//!
//! Four copies, at both ends of the device. A new one is written to copies 0 and 2, flushed, then to 1 and 3, flushed: a crash at any
//! moment leaves two whole copies of the old or of the new one. Everything that a superblock refers to is durable before its first
//! copy is written. The newest sequence of which two copies are whole is the one; a single whole copy is not believed, since
//! copies from long ago may lie beside damaged new ones, and one that a crash left alone beside another of the same sequence.
//!
//! ```text
//! offset  size  field                      offset  size  field
//!      0     8  magic "BASALTSB"                88     4  osd
//!      8     4  crc32c of bytes 12..4096        92    56  layout: base_blocks, hot_blocks, own_pages_at,
//!     12     4  format version                            base_pages_at, wal_at, wal_blocks, data_at (u64 each)
//!     16     8  features, compatible           148     8  replay_lsn
//!     24     8  features, read-only compatible 156     8  next object id
//!     32     8  features, incompatible         164     8  generation (of the checkpoint)
//!     40     8  sequence                       172    24  root: address u64, blocks u8, pad[3], crc32c u32, generation u64
//!     48    16  store id                       196     1  1: cleanly closed
//!     64    16  fsid                           197     1  role: 0 base alone, 1 base beside hot, 2 hot
//!     80     1  copy number                    198     8  digest of base's allocation pages
//!     81     7  zeros                          206     8  digest of hot's allocation pages
//!                                              214     8  blocks of all index nodes
//!                                              222        zeros to 4096
//! ```
//! The crc is seeded with "SUPR" and the copy's block, but not with the store id, which is not known before it is read.

use crate::checksum::Seed;
use crate::encoding::{Put, Reader};
use crate::error::{Error, Result};
use crate::features::Features;
use crate::index::NodePointer;
use crate::layout::Layout;
use crate::limits::BLOCK_BYTES;
use crate::sabotage::{Sabotage, sabotaged};
use basalt_ring::{BLOCK, Device, Ring};

pub(crate) const MAGIC: &[u8; 8] = b"BASALTSB";
const FORMAT_VERSION: u32 = 1;
const NO_STORE: [u8; 16] = [0; 16];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    BaseAlone,
    BaseBesideHot,
    Hot,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    pub features: Features,
    pub sequence: u64,
    pub store_id: [u8; 16],
    pub fsid: [u8; 16],
    pub osd: u32,
    pub layout: Layout,
    /// The first log position that the checkpoint does not cover.
    pub replay_lsn: u64,
    pub next_object: u64,
    pub generation: u64,
    pub root: NodePointer,
    pub clean: bool,
    pub role: Role,
    /// Which generation each allocation page is of, on base and hot; see `allocator`.
    pub pages_digests: [u64; 2],
    /// Of all nodes of the checkpoint.
    pub index_blocks: u64,
}

impl Superblock {
    pub fn encode(&self, copy: u8, block: u64) -> Vec<u8> {
        let mut body = Vec::with_capacity(BLOCK);
        body.put_u32(FORMAT_VERSION);
        self.features.encode(&mut body);
        body.put_u64(self.sequence);
        body.put(&self.store_id);
        body.put(&self.fsid);
        body.put_u8(copy);
        body.put(&[0; 7]);
        body.put_u32(self.osd);
        let l = &self.layout;
        for field in [l.base_blocks, l.hot_blocks, l.own_pages_at, l.base_pages_at, l.wal_at, l.wal_blocks, l.data_at] {
            body.put_u64(field);
        }
        body.put_u64(self.replay_lsn);
        body.put_u64(self.next_object);
        body.put_u64(self.generation);
        self.root.encode(&mut body);
        body.put_u8(self.clean.into());
        body.put_u8(match self.role {
            Role::BaseAlone => 0,
            Role::BaseBesideHot => 1,
            Role::Hot => 2,
        });
        for digest in self.pages_digests {
            body.put_u64(digest);
        }
        body.put_u64(self.index_blocks);
        body.resize(BLOCK - 12, 0);
        let mut block_bytes = Vec::with_capacity(BLOCK);
        block_bytes.put(MAGIC);
        block_bytes.put_u32(Seed::new(&NO_STORE, b"SUPR", block, 0).checksum(&body));
        block_bytes.put(&body);
        block_bytes
    }

    /// `None`: not a whole superblock copy. `Some(Err)`: whole, but not for this version.
    pub fn decode(bytes: &[u8], block: u64) -> Option<Result<Superblock, String>> {
        let mut reader = Reader::new(bytes);
        if reader.bytes(8)? != MAGIC {
            return None;
        }
        let crc = reader.u32()?;
        if Seed::new(&NO_STORE, b"SUPR", block, 0).checksum(bytes.get(12..BLOCK)?) != crc {
            return None;
        }
        let version = reader.u32()?;
        if version != FORMAT_VERSION {
            return Some(Err(format!(
                "it has format version {version}, and this version of basaltd knows {FORMAT_VERSION}; use the version that made it"
            )));
        }
        let features = Features::decode(&mut reader)?;
        if let Err(why) = features.refuse_reading() {
            return Some(Err(why));
        }
        let sequence = reader.u64()?;
        let store_id = reader.id()?;
        let fsid = reader.id()?;
        let _copy = reader.u8()?;
        reader.bytes(7)?;
        let osd = reader.u32()?;
        let layout = Layout {
            base_blocks: reader.u64()?,
            hot_blocks: reader.u64()?,
            own_pages_at: reader.u64()?,
            base_pages_at: reader.u64()?,
            wal_at: reader.u64()?,
            wal_blocks: reader.u64()?,
            data_at: reader.u64()?,
        };
        let superblock = Superblock {
            features,
            sequence,
            store_id,
            fsid,
            osd,
            layout,
            replay_lsn: reader.u64()?,
            next_object: reader.u64()?,
            generation: reader.u64()?,
            root: NodePointer::decode(&mut reader)?,
            clean: reader.u8()? == 1,
            role: match reader.u8()? {
                0 => Role::BaseAlone,
                1 => Role::BaseBesideHot,
                2 => Role::Hot,
                _ => return None,
            },
            pages_digests: [reader.u64()?, reader.u64()?],
            index_blocks: reader.u64()?,
        };
        if !superblock.layout.is_sound() {
            return Some(Err("its layout contradicts itself".to_owned()));
        }
        Some(Ok(superblock))
    }

    async fn write_copy(&self, ring: &Ring, device: &Device, copy: u8, block: u64) -> Result<()> {
        let mut buffer = ring.buffer(BLOCK);
        buffer.copy_from_slice(&self.encode(copy, block));
        let written = device.write(block * BLOCK_BYTES, buffer.freeze()).await;
        written.map_err(|e| Error::device("superblock write", device, &e))
    }

    /// Writes all copies, so that a crash at any point leaves two whole ones of the old or the new.
    pub async fn write(&self, ring: &Ring, device: &Device) -> Result<()> {
        let blocks = device.info().size / BLOCK_BYTES;
        let [first, second, third, fourth] = Layout::superblock_copies(blocks);
        for phase in [[(0, first), (2, third)], [(1, second), (3, fourth)]] {
            for (copy, block) in phase {
                self.write_copy(ring, device, copy, block).await?;
            }
            device.flush().await.map_err(|e| Error::device("flush", device, &e))?;
        }
        Ok(())
    }
}

/// What the four copies of a device say.
pub(crate) struct Copies {
    /// By copy: what it says, if it is whole.
    found: [Option<Superblock>; 4],
    pub newest: Option<Superblock>,
    pub foreign: Option<String>,
    /// A single whole copy without a second of its sequence exists.
    pub without_quorum: bool,
}

pub(crate) async fn read(ring: &Ring, device: &Device) -> Result<Copies> {
    let blocks = device.info().size / BLOCK_BYTES;
    let mut result = Copies { found: [const { None }; 4], newest: None, foreign: None, without_quorum: false };
    if blocks < 8 {
        return Ok(result);
    }
    for (block, found) in Layout::superblock_copies(blocks).into_iter().zip(&mut result.found) {
        // A copy that cannot be read is a copy that is not whole; the others decide.
        let (outcome, buffer) = device.read(block * BLOCK_BYTES, ring.buffer(BLOCK)).await;
        if outcome.is_err() {
            continue;
        }
        match Superblock::decode(&buffer, block) {
            Some(Ok(superblock)) => *found = Some(superblock),
            Some(Err(why)) => result.foreign = Some(why),
            None => {}
        }
    }
    let least = if sabotaged(Sabotage::BelieveASingleSuperblock) { 1 } else { 2 };
    let found = || result.found.iter().flatten();
    result.newest = found()
        // Equal in everything: the sequence number alone may be that of a superblock that never was, of which a crash left one copy, and
        // that of the one that was being written over it.
        .filter(|one| found().filter(|other| other == one).count() >= least)
        .max_by_key(|one| one.sequence)
        .cloned();
    result.without_quorum = result.newest.is_none() && found().next().is_some();
    Ok(result)
}

impl Copies {
    /// By copy: whether it is the superblock that counts. One that is not is damaged, or what a crash left between the two steps.
    pub fn current(&self) -> [bool; 4] {
        [0, 1, 2, 3].map(|copy: usize| self.newest.is_some() && self.found.get(copy) == Some(&self.newest))
    }
}

/// Writes anew the copies that are not the one that counts. Before another superblock may be written: that one begins with copies 0 and
/// 2, and if these are all there is, a crash would leave nothing but the one before, whose allocation pages are gone.
pub(crate) async fn repair(ring: &Ring, device: &Device) -> Result<()> {
    let copies = read(ring, device).await?;
    let Some(superblock) = &copies.newest else { return Ok(()) };
    if copies.current() == [true; 4] {
        return Ok(());
    }
    let blocks = Layout::superblock_copies(device.info().size / BLOCK_BYTES);
    for (copy, (block, current)) in blocks.into_iter().zip(copies.current()).enumerate() {
        if !current {
            superblock.write_copy(ring, device, copy as u8, block).await?;
        }
    }
    device.flush().await.map_err(|e| Error::device("flush", device, &e))
}

/// The superblock of a device, or why there is none.
pub(crate) async fn load(ring: &Ring, device: &Device) -> Result<Superblock> {
    let copies = read(ring, device).await?;
    let path = device.path().display();
    if let Some(superblock) = copies.newest.clone() {
        if copies.current() != [true; 4] {
            tracing::warn!(device = %path, current = ?copies.current(), "a superblock copy is damaged or old; the others agree");
        }
        return Ok(superblock);
    }
    Err(match copies.foreign {
        Some(why) => Error::Refused(format!("the superblock on {path} cannot be used: {why}")),
        None if copies.without_quorum => Error::Corrupt {
            what: "superblock",
            device: path.to_string(),
            address: 0,
            why: "fewer than two of its four copies are whole and agree; replace the OSD, or restore a copy".to_owned(),
        },
        None => Error::Refused(format!("{path} holds no Basalt store; make one with `basaltd mkfs`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn superblock(features: Features) -> Superblock {
        Superblock {
            features,
            sequence: 7,
            store_id: [1; 16],
            fsid: [2; 16],
            osd: 3,
            layout: Layout::new(64 << 20, None, None).expect("large enough"),
            replay_lsn: 4,
            next_object: 5,
            generation: 6,
            root: NodePointer { block: 99, blocks: 4, crc: 1, generation: 6 },
            clean: false,
            role: Role::BaseAlone,
            pages_digests: [8, 9],
            index_blocks: 4,
        }
    }

    #[test]
    fn a_superblock_survives_its_encoding_with_features_that_may_be_ignored() {
        let features = Features { compatible: 1 << 40, read_only: 1 << 41, ..Features::CURRENT };
        let superblock = superblock(features);
        let decoded = Superblock::decode(&superblock.encode(2, 11), 11);
        assert_eq!(decoded, Some(Ok(superblock)));
        assert_eq!(features.upgraded(), features);
        assert!(features.refuse_writing().is_err_and(|why| why.contains("0x20000000000")));
    }

    #[test]
    fn an_unknown_incompatible_feature_is_refused_by_name() {
        let features = Features { incompatible: 1 << 50 | Features::CURRENT.incompatible, ..Features::default() };
        let decoded = Superblock::decode(&superblock(features).encode(0, 0), 0);
        let refused = decoded.and_then(Result::err).expect("refused");
        assert!(refused.contains("0x4000000000000") && refused.contains("shared-extents"), "{refused}");
    }

    #[test]
    fn every_flipped_bit_of_a_superblock_shows() {
        let bytes = superblock(Features::CURRENT).encode(0, 0);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&flipped, 0).is_none(), "bit {bit}");
        }
    }
}
