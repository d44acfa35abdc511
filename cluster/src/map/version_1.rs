//! The map's archive as format version 1 had it: without the ratios of fullness, which were constants then.

use super::version_2::{MapVersion2, OsdVersion2, PoolVersion2};
use super::{FullRatios, Map, MapFlags};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct MapVersion1 {
    epoch: u32,
    fsid: [u8; 16],
    created_unix_s: u64,
    modified_unix_s: u64,
    flags: MapFlags,
    osds: Vec<OsdVersion2>,
    pools: Vec<PoolVersion2>,
    pool_id_max: u32,
}

impl From<MapVersion1> for Map {
    fn from(old: MapVersion1) -> Map {
        let MapVersion1 { epoch, fsid, created_unix_s, modified_unix_s, flags, osds, pools, pool_id_max } = old;
        Map::from(MapVersion2 {
            epoch,
            fsid,
            created_unix_s,
            modified_unix_s,
            flags,
            osds,
            pools,
            pool_id_max,
            full_ratios: FullRatios::default(),
        })
    }
}
