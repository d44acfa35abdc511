//! Maps as bytes. Whatever comes in is checked in three steps: the checksum, the archive's structure, then what the code relies on.

use super::version_1::MapVersion1;
use super::version_2::MapVersion2;
use super::version_3::MapVersion3;
use super::version_4::{MapVersion4, PoolVersion4};
use super::version_6::MapVersion6;
use super::{Map, Pool, Tiering};
use crate::limits;
use basalt_net::Features;
use rkyv::rancor;
use rkyv::util::AlignedVec;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

const MAGIC: [u8; 8] = *b"BSLTMAP\0";
pub(super) const VERSION: u32 = 8;
/// The last in which nothing can be required: written as long as nothing is.
const VERSION_WITHOUT_REQUIRED: u32 = 7;
/// Increments are as old as the maps that they lead to, and no older than their own layout.
pub(super) const VERSIONS_OF_INCREMENTS: RangeInclusive<u32> = VERSION_WITHOUT_REQUIRED..=VERSION;
pub(super) const HEADER_BYTES: usize = 16;
/// What stands between the header and the archive from version 8 on; the archive behind it stays aligned.
const REQUIRED_BYTES: usize = 16;

/// Why bytes are not a map.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MapError {
    #[error("{0} bytes are no map: a map has at least 16 bytes and at most {max}", max = limits::MAP_BYTES_MAX)]
    Length(usize),
    #[error("these bytes are no map: they don't start with its magic")]
    Magic,
    #[error("the map has format version {0}, and this program reads versions 1 to {VERSION}: update it")]
    Version(u32),
    #[error("the map is damaged: its checksum is {stored:08x}, and {computed:08x} would be right")]
    Checksum { stored: u32, computed: u32 },
    #[error("the map's archive is malformed: {0}")]
    Archive(String),
    #[error(
        "the map requires {0}, which this program lacks: it takes release {release} or later", release = .0.needed_release()
    )]
    Required(Features),
    #[error("the map contradicts itself: {0}")]
    Contradiction(String),
}

/// What an archive is written behind: room for the header, and what is required if anything is.
pub(super) fn front(required: Features) -> Vec<u8> {
    let mut bytes = vec![0u8; HEADER_BYTES];
    if !required.is_none() {
        bytes.extend(required.0.to_le_bytes());
        bytes.resize(HEADER_BYTES + REQUIRED_BYTES, 0);
    }
    bytes
}

/// Fills in the header that `bytes` begin with room for.
pub(super) fn seal(magic: [u8; 8], required: Features, mut bytes: Vec<u8>) -> Vec<u8> {
    let version = if required.is_none() { VERSION_WITHOUT_REQUIRED } else { VERSION };
    if let Some((header, archive)) = bytes.split_first_chunk_mut::<HEADER_BYTES>() {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = magic;
        let [v0, v1, v2, v3] = version.to_le_bytes();
        let [c0, c1, c2, c3] = crc32c::crc32c(archive).to_le_bytes();
        *header = [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, v2, v3, c0, c1, c2, c3];
    }
    bytes
}

/// The version and the archive behind a header that is right.
pub(super) fn open(magic: [u8; 8], bytes: &[u8]) -> Result<(u32, &[u8]), MapError> {
    if bytes.len() > limits::MAP_BYTES_MAX {
        return Err(MapError::Length(bytes.len()));
    }
    let Some((header, archive)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(MapError::Length(bytes.len()));
    };
    let [m0, m1, m2, m3, m4, m5, m6, m7, v0, v1, v2, v3, c0, c1, c2, c3] = *header;
    if [m0, m1, m2, m3, m4, m5, m6, m7] != magic {
        return Err(MapError::Magic);
    }
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    let computed = crc32c::crc32c(archive);
    let version = u32::from_le_bytes([v0, v1, v2, v3]);
    // Another version may have its checksum elsewhere.
    if stored != computed && (1..=VERSION).contains(&version) {
        return Err(MapError::Checksum { stored, computed });
    }
    Ok((version, archive))
}

/// Takes what is required off the front of an archive of that version.
pub(super) fn required(version: u32, archive: &[u8]) -> Result<(Features, &[u8]), MapError> {
    if version <= VERSION_WITHOUT_REQUIRED {
        return Ok((Features::NONE, archive));
    }
    let Some((front, archive)) = archive.split_first_chunk::<REQUIRED_BYTES>() else {
        return Err(MapError::Length(HEADER_BYTES + archive.len()));
    };
    let [f0, f1, f2, f3, f4, f5, f6, f7, rest @ ..] = *front;
    let required = Features(u64::from_le_bytes([f0, f1, f2, f3, f4, f5, f6, f7]));
    if rest != [0; 8] {
        return Err(MapError::Contradiction("there is something behind the required features".into()));
    }
    // Whoever lacks one may not understand the rest, nor act by it.
    let lacking = required.without(Features::CURRENT);
    if lacking.is_none() { Ok((required, archive)) } else { Err(MapError::Required(lacking)) }
}

/// As in the header of an encoded map; 0 for what has none.
pub(super) fn checksum(encoded: &[u8]) -> u32 {
    match encoded.first_chunk::<HEADER_BYTES>() {
        Some([.., c0, c1, c2, c3]) => u32::from_le_bytes([*c0, *c1, *c2, *c3]),
        None => 0,
    }
}

impl Map {
    pub fn encode(&self) -> Vec<u8> {
        let bytes = front(self.required_features);
        match rkyv::api::high::to_bytes_in::<_, rancor::Error>(self, bytes) {
            Ok(bytes) => seal(MAGIC, self.required_features, bytes),
            // Writing owned values to memory has no failure of its own.
            Err(error) => panic!("the map can't be archived: {error}"),
        }
    }

    /// Refuses whatever is not exactly a map; never panics, and allocates no more than the bytes justify.
    pub fn decode(bytes: &[u8]) -> Result<Map, MapError> {
        let (version, archive) = open(MAGIC, bytes)?;
        if !(1..=VERSION).contains(&version) {
            return Err(MapError::Version(version));
        }
        let (required, archive) = required(version, archive)?;
        let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        let map = match version {
            1 => rkyv::from_bytes::<MapVersion1, rancor::Error>(&aligned).map(Map::from),
            2 => rkyv::from_bytes::<MapVersion2, rancor::Error>(&aligned).map(Map::from),
            3 => rkyv::from_bytes::<MapVersion3, rancor::Error>(&aligned).map(Map::from),
            4 => rkyv::from_bytes::<MapVersion4<PoolVersion4>, rancor::Error>(&aligned).map(Map::from),
            5 => rkyv::from_bytes::<MapVersion4<Pool>, rancor::Error>(&aligned).map(Map::from),
            6 => rkyv::from_bytes::<MapVersion6, rancor::Error>(&aligned).map(Map::from),
            _ => rkyv::from_bytes::<Map, rancor::Error>(&aligned),
        };
        let map = map.map_err(|error| MapError::Archive(error.to_string()))?;
        let map = Map { required_features: required, ..map };
        map.check().map_err(MapError::Contradiction)?;
        Ok(map)
    }

    /// What everything that reads a map relies on.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.epoch == 0 {
            return Err("its epoch is 0, and epochs start at 1".into());
        }
        if !self.osds.is_sorted_by(|a, b| a.id < b.id) {
            return Err("its OSDs are not in ascending order".into());
        }
        if let Some(osd) = self.osds.iter().find(|osd| osd.id >= limits::OSD_COUNT_MAX) {
            return Err(format!("osd.{} is beyond the last id, {}", osd.id, limits::OSD_COUNT_MAX - 1));
        }
        if self.crush.len() > limits::CRUSH_BYTES_MAX {
            let most = limits::CRUSH_BYTES_MAX;
            return Err(format!("its CRUSH map has {} bytes, and at most {most} are taken", self.crush.len()));
        }
        if self.fenced.len() > limits::FENCED_CLIENTS_MAX || !self.fenced.is_sorted_by(|a, b| a.client < b.client) {
            return Err("its fenced clients are too many or not in ascending order".into());
        }
        self.check_hosts()?;
        self.check_options()?;
        self.auth.check()?;
        self.full_ratios.check()?;
        self.settings.check()?;
        for osd in &self.osds {
            if !(osd.weight.is_finite() && osd.weight >= 0.0 && (0.0..=1.0).contains(&osd.reweight)) {
                return Err(format!("osd.{} has weight {} and reweight {}", osd.id, osd.weight, osd.reweight));
            }
        }
        if self.pools.len() > limits::POOL_COUNT_MAX || !self.pools.is_sorted_by(|a, b| a.id < b.id) {
            return Err("its pools are too many or not in ascending order".into());
        }
        let mut known = vec![false; self.osds.last().map_or(0, |osd| osd.id as usize + 1)];
        for osd in &self.osds {
            if let Some(known) = known.get_mut(osd.id as usize) {
                *known = true;
            }
        }
        let knows = |id: u32| known.get(id as usize).copied().unwrap_or(false);
        let mut names = BTreeSet::new();
        for pool in &self.pools {
            let wrong = |what: String| Err(format!("pool {} '{}' has {what}", pool.id, pool.name.escape_debug()));
            if pool.id > self.pool_id_max {
                return wrong(format!("an id above the highest ever given, {}", self.pool_id_max));
            }
            if pool.pg_num == 0 || pool.pg_num > limits::PG_NUM_MAX || pool.pgs.len() != pool.pg_num as usize {
                return wrong(format!("pg_num {} and {} placement groups", pool.pg_num, pool.pgs.len()));
            }
            if pool.size == 0 || pool.size > limits::POOL_SIZE_MAX || pool.min_size == 0 || pool.min_size > pool.size {
                return wrong(format!("size {} and min_size {}", pool.size, pool.min_size));
            }
            let Tiering { tier_of, tiers, overlay } = &pool.tiering;
            let has_tier = |base: u32| self.pool(base).is_some_and(|base| base.tiering.tiers.contains(&pool.id));
            let is_tier = |id: &u32| self.pool(*id).is_some_and(|tier| tier.tiering.tier_of == Some(pool.id));
            if !tier_of.is_none_or(has_tier)
                || !tiers.is_sorted_by(|a, b| a < b)
                || !tiers.iter().all(is_tier)
                || !overlay.is_none_or(|overlay| tiers.contains(&overlay))
                || (tier_of.is_some() && !tiers.is_empty())
            {
                return wrong(format!("relations to other pools that don't fit: {:?}", pool.tiering));
            }
            if !names.insert(&pool.name) {
                return wrong("another pool's name".into());
            }
            for (seed, group) in pool.pgs.iter().enumerate() {
                // Short enough that comparing each with each is the fastest way, and a large map has millions of these.
                let repeats = |(index, id): (usize, &u32)| group.in_sync.iter().take(index).any(|other| other == id);
                if group.in_sync.len() > limits::POOL_SIZE_MAX as usize
                    || group.in_sync.iter().enumerate().any(repeats)
                    || group.in_sync.iter().any(|id| !knows(*id))
                    || group.primary.is_some_and(|id| !group.in_sync.contains(&id))
                {
                    return wrong(format!("a group {seed:x} whose members don't fit: {group:?}"));
                }
            }
        }
        Ok(())
    }
}
