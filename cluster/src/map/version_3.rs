//! The map's archive as format version 3 had it: pools that know of no others.

use super::pool::{PoolFlags, Quota, TierSettings, Tiering};
use super::{ClusterSettings, FullRatios, Map, MapFlags, Osd, PlacementGroup, Pool};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct MapVersion3 {
    epoch: u32,
    fsid: [u8; 16],
    created_unix_s: u64,
    modified_unix_s: u64,
    flags: MapFlags,
    osds: Vec<Osd>,
    pools: Vec<PoolVersion3<PlacementGroup>>,
    pool_id_max: u32,
    full_ratios: FullRatios,
    crush: Vec<u8>,
    settings: ClusterSettings,
}

/// Up to version 3; its groups had another layout in the versions before.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PoolVersion3<G> {
    id: u32,
    name: String,
    size: u32,
    min_size: u32,
    pg_num: u32,
    pgp_num: u32,
    crush_rule: u32,
    flags: PoolFlags,
    tier: TierSettings,
    quota: Quota,
    applications: Vec<String>,
    created_epoch: u32,
    changed_epoch: u32,
    pgs: Vec<G>,
}

impl From<MapVersion3> for Map {
    fn from(old: MapVersion3) -> Map {
        Map {
            epoch: old.epoch,
            fsid: old.fsid,
            created_unix_s: old.created_unix_s,
            modified_unix_s: old.modified_unix_s,
            flags: old.flags,
            osds: old.osds,
            pools: old.pools.into_iter().map(Pool::from).collect(),
            pool_id_max: old.pool_id_max,
            full_ratios: old.full_ratios,
            crush: old.crush,
            settings: old.settings,
            fenced: Vec::new(),
        }
    }
}

impl<G: Into<PlacementGroup>> From<PoolVersion3<G>> for Pool {
    fn from(old: PoolVersion3<G>) -> Pool {
        Pool {
            id: old.id,
            name: old.name,
            size: old.size,
            min_size: old.min_size,
            pg_num: old.pg_num,
            pgp_num: old.pgp_num,
            crush_rule: old.crush_rule,
            flags: old.flags,
            tier: old.tier,
            quota: old.quota,
            applications: old.applications,
            tiering: Tiering::default(),
            created_epoch: old.created_epoch,
            changed_epoch: old.changed_epoch,
            pgs: old.pgs.into_iter().map(G::into).collect(),
        }
    }
}
