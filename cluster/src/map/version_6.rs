//! The map's archive as format version 6 had it: no word of who is known by which key, hosts had nothing of their own, and options of daemons
//! stood in their files only.

use super::{AuthTable, ClusterSettings, FencedClient, FullRatios, Map, MapFlags, Osd, Pool};
use basalt_net::Features;
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
            auth: AuthTable::default(),
            required_features: Features::NONE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::encoding::HEADER_BYTES;

    #[test]
    fn a_map_of_version_6_is_read_with_nobody_known() {
        let mut expected = Map::new([7; 16], 3);
        expected.fence(5, 100, 0).unwrap();
        let Map { epoch, fsid, created_unix_s, modified_unix_s, flags, osds, pools, pool_id_max, .. } =
            expected.clone();
        let Map { full_ratios, crush, settings, fenced, .. } = expected.clone();
        let old = MapVersion6 {
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
        };
        let archive = rkyv::to_bytes::<rkyv::rancor::Error>(&old).unwrap();
        let mut image = expected.encode();
        image.truncate(HEADER_BYTES);
        image[8] = 6;
        image[12..].copy_from_slice(&crc32c::crc32c(&archive).to_le_bytes());
        image.extend_from_slice(&archive);
        assert_eq!(Map::decode(&image), Ok(expected));
    }
}
