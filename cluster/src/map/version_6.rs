//! The map's archive as format version 6 had it: hosts had nothing of their own, and options of daemons stood in their files only.

use super::{ClusterSettings, FencedClient, FullRatios, Map, MapFlags, Osd, Pool};
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct MapVersion6 {
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
    fenced: Vec<FencedClient>,
}

impl From<MapVersion6> for Map {
    fn from(old: MapVersion6) -> Map {
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
            fenced: old.fenced,
            hosts: Vec::new(),
            maintenance: None,
            options: Vec::new(),
        }
    }
}
