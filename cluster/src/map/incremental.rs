//! What changed from one map to the next: a few hundred bytes where a whole map has millions.
//!
//! As bytes: magic `BSLTINC\0`, the map's format version (u32 LE), crc32c of what follows (u32 LE), then the `rkyv` archive; on the wire only,
//! never in a store. OSDs, settings of pools and groups travel one by one, the CRUSH map as a whole, and what is small and always there each time.
//! The result must have the checksum of the map that the monitor made, so whoever applies increments has that map byte for byte, or
//! knows that it has not and asks for the whole.

use super::encoding;
use super::{
    AuthTable, CentralOption, ClusterSettings, FencedClient, FullRatios, HostState, Maintenance, Map, MapError,
    MapFlags, Osd, PlacementGroup, Pool,
};
use crate::limits;
use basalt_net::Features;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize, rancor};

const MAGIC: [u8; 8] = *b"BSLTINC\0";

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Incremental {
    base_epoch: u32,
    epoch: u32,
    /// Of the new map's archive, as in its header.
    checksum: u32,
    fsid: [u8; 16],
    created_unix_s: u64,
    modified_unix_s: u64,
    flags: MapFlags,
    pool_id_max: u32,
    full_ratios: FullRatios,
    settings: ClusterSettings,
    crush: Option<Vec<u8>>,
    fenced: Option<Vec<FencedClient>>,
    hosts: Option<Vec<HostState>>,
    maintenance: Option<Maintenance>,
    options: Option<Vec<CentralOption>>,
    auth: Option<AuthTable>,
    osds_removed: Vec<u32>,
    /// New or changed, as they are now.
    osds: Vec<Osd>,
    pools_removed: Vec<u32>,
    /// New or changed, as they are now, without their groups.
    pools: Vec<Pool>,
    groups: Vec<GroupsOfPool>,
    /// Of the new map; before the archive, as in a map.
    #[rkyv(with = rkyv::with::Skip)]
    required_features: Features,
}

/// New or changed groups, in ascending order of their seeds.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
struct GroupsOfPool {
    pool: u32,
    groups: Vec<(u32, PlacementGroup)>,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IncrementalError {
    #[error("these bytes are no increment of a map: {0}")]
    Bytes(MapError),
    #[error("the increment leads from map {base} to {to}, and the map at hand is {at_hand}")]
    OtherBase { base: u32, to: u32, at_hand: u32 },
    #[error("the increment to map {to} doesn't fit the map at hand: {what}")]
    DoesNotFit { to: u32, what: String },
    #[error("applied, the increment to map {to} makes checksum {made:08x}, and {wanted:08x} would be right")]
    Checksum { to: u32, made: u32, wanted: u32 },
}

impl Incremental {
    /// `encoded` is the new map as bytes.
    pub fn between(old: &Map, new: &Map, encoded: &[u8]) -> Incremental {
        let Map {
            epoch,
            fsid,
            created_unix_s,
            modified_unix_s,
            flags,
            osds,
            pools,
            pool_id_max,
            full_ratios,
            crush,
            settings,
            fenced,
            hosts,
            maintenance,
            options,
            auth,
            required_features,
        } = new;
        let mut changed_pools = Vec::new();
        let mut groups = Vec::new();
        for pool in pools {
            let before = old.pool(pool.id);
            let own = pool.without_groups();
            if before.is_none_or(|before| before.without_groups() != own) {
                changed_pools.push(own);
            }
            let known = before.map_or(&[][..], |before| before.pgs.as_slice());
            let changed: Vec<(u32, PlacementGroup)> = (0u32..)
                .zip(&pool.pgs)
                .filter(|(seed, group)| known.get(*seed as usize) != Some(*group))
                .map(|(seed, group)| (seed, group.clone()))
                .collect();
            if !changed.is_empty() {
                groups.push(GroupsOfPool { pool: pool.id, groups: changed });
            }
        }
        Incremental {
            base_epoch: old.epoch,
            epoch: *epoch,
            checksum: encoding::checksum(encoded),
            fsid: *fsid,
            created_unix_s: *created_unix_s,
            modified_unix_s: *modified_unix_s,
            flags: *flags,
            pool_id_max: *pool_id_max,
            full_ratios: *full_ratios,
            settings: *settings,
            crush: (old.crush != *crush).then(|| crush.clone()),
            fenced: (old.fenced != *fenced).then(|| fenced.clone()),
            hosts: (old.hosts != *hosts).then(|| hosts.clone()),
            maintenance: *maintenance,
            options: (old.options != *options).then(|| options.clone()),
            auth: (old.auth != *auth).then(|| auth.clone()),
            osds_removed: old.osds.iter().map(|osd| osd.id).filter(|id| new.osd(*id).is_none()).collect(),
            osds: osds.iter().filter(|osd| old.osd(osd.id) != Some(*osd)).cloned().collect(),
            pools_removed: old.pools.iter().map(|pool| pool.id).filter(|id| new.pool(*id).is_none()).collect(),
            pools: changed_pools,
            groups,
            required_features: *required_features,
        }
    }

    /// The epoch of the map that it is applied to.
    pub fn base_epoch(&self) -> u32 {
        self.base_epoch
    }

    /// The epoch of the map that it makes.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    pub fn encode(&self) -> Vec<u8> {
        let bytes = encoding::front(self.required_features);
        match rkyv::api::high::to_bytes_in::<_, rancor::Error>(self, bytes) {
            Ok(bytes) => encoding::seal(MAGIC, self.required_features, bytes),
            // Writing owned values to memory has no failure of its own.
            Err(error) => panic!("the increment can't be archived: {error}"),
        }
    }

    /// Refuses whatever is not exactly an increment of this program's format; never panics, and allocates no more than the bytes justify.
    pub fn decode(bytes: &[u8]) -> Result<Incremental, IncrementalError> {
        let wrong = IncrementalError::Bytes;
        let (version, archive) = encoding::open(MAGIC, bytes).map_err(wrong)?;
        if !encoding::VERSIONS_OF_INCREMENTS.contains(&version) {
            return Err(wrong(MapError::Version(version)));
        }
        let (required_features, archive) = encoding::required(version, archive).map_err(wrong)?;
        let mut aligned = AlignedVec::<16>::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        let increment = rkyv::from_bytes::<Incremental, rancor::Error>(&aligned)
            .map_err(|error| wrong(MapError::Archive(error.to_string())))?;
        Ok(Incremental { required_features, ..increment })
    }

    /// The new map, checked as one that came as a whole.
    pub fn apply(&self, base: &Map) -> Result<Map, IncrementalError> {
        let to = self.epoch;
        if base.epoch != self.base_epoch || base.fsid != self.fsid {
            return Err(IncrementalError::OtherBase { base: self.base_epoch, to, at_hand: base.epoch });
        }
        let misfit = |what: String| IncrementalError::DoesNotFit { to, what };
        let mut map = base.clone();
        map.epoch = to;
        map.created_unix_s = self.created_unix_s;
        map.modified_unix_s = self.modified_unix_s;
        map.flags = self.flags;
        map.pool_id_max = self.pool_id_max;
        map.full_ratios = self.full_ratios;
        map.settings = self.settings;
        map.required_features = self.required_features;
        if let Some(crush) = &self.crush {
            map.crush.clone_from(crush);
        }
        if let Some(fenced) = &self.fenced {
            map.fenced.clone_from(fenced);
        }
        if let Some(hosts) = &self.hosts {
            map.hosts.clone_from(hosts);
        }
        map.maintenance = self.maintenance;
        if let Some(options) = &self.options {
            map.options.clone_from(options);
        }
        if let Some(auth) = &self.auth {
            map.auth.clone_from(auth);
        }
        replace(&mut map.osds, &self.osds_removed, &self.osds, |osd| osd.id);
        map.pools.retain(|pool| self.pools_removed.binary_search(&pool.id).is_err());
        for changed in &self.pools {
            match map.pools.binary_search_by_key(&changed.id, |pool| pool.id) {
                Ok(index) => {
                    let Some(pool) = map.pools.get_mut(index) else { continue };
                    let mut groups = std::mem::take(&mut pool.pgs);
                    groups.truncate(changed.pg_num as usize);
                    *pool = Pool { pgs: groups, ..changed.clone() };
                }
                Err(index) => map.pools.insert(index, changed.clone()),
            }
        }
        for changed in &self.groups {
            let pool = map.pool_mut(changed.pool);
            let pool = pool.ok_or_else(|| misfit(format!("there is no pool {}", changed.pool)))?;
            for (seed, group) in &changed.groups {
                let there = pool.pgs.len();
                match pool.pgs.get_mut(*seed as usize) {
                    Some(known) => known.clone_from(group),
                    // Only ever one more than there are: no more is allocated than has come.
                    None if *seed as usize == there => pool.pgs.push(group.clone()),
                    None => {
                        return Err(misfit(format!("group {}.{seed:x} comes after {there} groups", changed.pool)));
                    }
                }
            }
        }
        map.check().map_err(misfit)?;
        let made = encoding::checksum(&map.encode());
        if made != self.checksum {
            return Err(IncrementalError::Checksum { to, made, wanted: self.checksum });
        }
        Ok(map)
    }
}

/// Takes out, and puts in place or in between, what has changed; `all` stays in ascending order.
fn replace<T: Clone>(all: &mut Vec<T>, removed: &[u32], changed: &[T], id: impl Fn(&T) -> u32) {
    if !removed.is_empty() {
        all.retain(|item| removed.binary_search(&id(item)).is_err());
    }
    for item in changed {
        match all.binary_search_by_key(&id(item), &id) {
            Ok(index) => {
                if let Some(known) = all.get_mut(index) {
                    known.clone_from(item);
                }
            }
            Err(index) => all.insert(index, item.clone()),
        }
    }
}

const _: () = assert!(limits::INCREMENTS_KEPT >= 1);

#[cfg(test)]
#[path = "incremental_tests.rs"]
mod tests;
