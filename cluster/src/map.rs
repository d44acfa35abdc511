//! The cluster map: one immutable value an epoch, the same bytes for everyone.
//!
//! As bytes: magic `BSLTMAP\0`, format version (u32 LE), crc32c of what follows (u32 LE), then the `rkyv` archive. The header is
//! sixteen bytes so that the archive behind it stays aligned when the whole is. The archive has no room for a field that a later version
//! adds, so each version has a layout of its own, and all of them are read. Written is the oldest that says everything: as long as nothing is
//! required of all daemons that is version 7, which those from before 0.2 read; with it, 8, where the required features (u64 LE, and eight
//! zeros) stand before the archive.

mod auth;
mod central_option;
mod encoding;
mod fenced;
mod flags;
pub mod follower;
mod fullness;
mod host_state;
mod incremental;
mod osd;
mod pg;
mod pool;
mod settings;
mod version_1;
mod version_2;
mod version_3;
mod version_4;
mod version_6;

pub use auth::{AuthTable, Entity};
pub use central_option::{CentralOption, Who};
pub use encoding::MapError;
pub use fenced::FencedClient;
pub use flags::MapFlags;
pub use fullness::{FullRatios, Fullness};
pub use host_state::{HostState, Maintenance};
pub use incremental::{Incremental, IncrementalError};
pub use osd::Osd;
pub use pg::{PgId, PlacementGroup};
pub use pool::{CacheMode, HitSetType, Pool, PoolFlags, Quota, TierSettings, Tiering};
pub use settings::ClusterSettings;

use crate::object_hash;
use basalt_net::Features;
use rkyv::{Archive, Deserialize, Serialize};

/// Which OSDs serve, which pools there are, and who holds each placement group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Map {
    pub(crate) epoch: u32,
    /// The cluster's identity, a UUID's bytes.
    pub fsid: [u8; 16],
    pub created_unix_s: u64,
    pub modified_unix_s: u64,
    pub flags: MapFlags,
    /// In ascending order of `id`.
    pub osds: Vec<Osd>,
    /// In ascending order of `id`.
    pub pools: Vec<Pool>,
    /// The highest pool id ever given away; ids are not used twice.
    pub pool_id_max: u32,
    pub full_ratios: FullRatios,
    /// The CRUSH map as bytes; see [`crate::crush`]. Empty in maps from before there was one.
    pub crush: Vec<u8>,
    pub settings: ClusterSettings,
    /// In ascending order of `client`.
    pub fenced: Vec<FencedClient>,
    /// Those that have anything of their own, in ascending order of their names.
    pub hosts: Vec<HostState>,
    /// Of the cluster as a whole.
    pub maintenance: Option<Maintenance>,
    /// In ascending order of whom they are set for, then of their names.
    pub options: Vec<CentralOption>,
    pub auth: AuthTable,
    /// What all daemons and clients must be able to do. Not in the archive: see above.
    #[rkyv(with = rkyv::with::Skip)]
    pub required_features: Features,
}

/// Where an object belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub pg: PgId,
    /// The OSDs that serve the group now, primary first. Empty while nobody may: the client waits for a newer map.
    pub acting: Vec<u32>,
}

impl Map {
    /// The first map of a new cluster: nothing in it yet.
    pub fn new(fsid: [u8; 16], created_unix_s: u64) -> Map {
        Map {
            epoch: 1,
            fsid,
            created_unix_s,
            modified_unix_s: created_unix_s,
            flags: MapFlags::default(),
            osds: Vec::new(),
            pools: Vec::new(),
            pool_id_max: 0,
            full_ratios: FullRatios::default(),
            crush: Vec::new(),
            settings: ClusterSettings::default(),
            fenced: Vec::new(),
            hosts: Vec::new(),
            maintenance: None,
            options: Vec::new(),
            auth: AuthTable::default(),
            required_features: Features::NONE,
        }
    }

    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The same map as the next epoch: what a change begins from.
    pub fn successor(&self) -> Map {
        Map { epoch: self.epoch + 1, ..self.clone() }
    }

    pub fn osd(&self, id: u32) -> Option<&Osd> {
        self.osds.binary_search_by_key(&id, |osd| osd.id).ok().and_then(|index| self.osds.get(index))
    }

    pub fn osd_mut(&mut self, id: u32) -> Option<&mut Osd> {
        self.osds.binary_search_by_key(&id, |osd| osd.id).ok().and_then(|index| self.osds.get_mut(index))
    }

    pub fn pool(&self, id: u32) -> Option<&Pool> {
        self.pools.binary_search_by_key(&id, |pool| pool.id).ok().and_then(|index| self.pools.get(index))
    }

    pub fn pool_mut(&mut self, id: u32) -> Option<&mut Pool> {
        self.pools.binary_search_by_key(&id, |pool| pool.id).ok().and_then(|index| self.pools.get_mut(index))
    }

    pub fn pool_by_name(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| pool.name == name)
    }

    pub fn pg(&self, pg: PgId) -> Option<&PlacementGroup> {
        self.pool(pg.pool)?.pgs.get(pg.seed as usize)
    }

    /// The group of an object, by its name. `None`: there is no such pool.
    pub fn pg_of(&self, pool_id: u32, name: &[u8]) -> Option<PgId> {
        let pool = self.pool(pool_id)?;
        let hash = object_hash::rjenkins(object_hash::placed_by(name));
        Some(PgId { pool: pool_id, seed: object_hash::stable_modulo(hash, pool.pg_num) })
    }

    /// Where an object belongs. `None`: there is no such pool.
    pub fn place(&self, pool_id: u32, name: &[u8]) -> Option<Placement> {
        let pg = self.pg_of(pool_id, name)?;
        Some(Placement { pg, acting: self.acting(pg)? })
    }

    /// The members of the in-sync set that are up, primary first; empty if the primary is not up. `None`: there is no such group.
    pub fn acting(&self, pg: PgId) -> Option<Vec<u32>> {
        let group = self.pg(pg)?;
        let is_up = |id: u32| self.osd(id).is_some_and(|osd| osd.exists && osd.is_up);
        let Some(primary) = group.primary.filter(|id| is_up(*id)) else { return Some(Vec::new()) };
        let others = group.in_sync.iter().copied().filter(|id| *id != primary && is_up(*id));
        Some(std::iter::once(primary).chain(others).collect())
    }

    /// Every group of every pool, with its record.
    pub fn pgs(&self) -> impl Iterator<Item = (PgId, &Pool, &PlacementGroup)> {
        self.pools.iter().flat_map(|pool| {
            (0u32..).zip(&pool.pgs).map(move |(seed, group)| (PgId { pool: pool.id, seed }, pool, group))
        })
    }

    /// Whether any OSD has a slice of fast storage in front of its base device.
    pub fn has_hot_slices(&self) -> bool {
        self.osds.iter().any(|osd| osd.exists && osd.hot_bytes > 0)
    }
}
