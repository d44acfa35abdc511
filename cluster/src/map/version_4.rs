//! The map's archive as format version 4 had it: nobody was fenced off.

use super::{ClusterSettings, FullRatios, Map, MapFlags, Osd, Pool};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct MapVersion4 {
    epoch: u32,
    fsid: [u8; 16],
    created_unix_s: u64,
    modified_unix_s: u64,
    flags: MapFlags,
    osds: Vec<Osd>,
    pools: Vec<Pool>,
    pool_id_max: u32,
    full_ratios: FullRatios,
    crush: Vec<u8>,
    settings: ClusterSettings,
}

impl From<MapVersion4> for Map {
    fn from(old: MapVersion4) -> Map {
        Map {
            epoch: old.epoch,
            fsid: old.fsid,
            created_unix_s: old.created_unix_s,
            modified_unix_s: old.modified_unix_s,
            flags: old.flags,
            osds: old.osds,
            pools: old.pools,
            pool_id_max: old.pool_id_max,
            full_ratios: old.full_ratios,
            crush: old.crush,
            settings: old.settings,
            fenced: Vec::new(),
        }
    }
}
