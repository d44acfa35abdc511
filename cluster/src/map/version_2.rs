//! The map's archive as format version 2 had it: placement groups without reigns, no CRUSH map, constants for settings.

use super::version_3::PoolVersion3;
use super::{AuthTable, ClusterSettings, FullRatios, Map, MapFlags, Osd, PlacementGroup, Pool};
use basalt_net::Features;
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct MapVersion2 {
    pub epoch: u32,
    pub fsid: [u8; 16],
    pub created_unix_s: u64,
    pub modified_unix_s: u64,
    pub flags: MapFlags,
    pub osds: Vec<OsdVersion2>,
    pub pools: Vec<PoolVersion2>,
    pub pool_id_max: u32,
    pub full_ratios: FullRatios,
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct OsdVersion2 {
    id: u32,
    exists: bool,
    is_up: bool,
    is_in: bool,
    weight: f64,
    reweight: f64,
    host: String,
    public_address: String,
    cluster_address: String,
    store_id: [u8; 16],
    base_bytes: u64,
    hot_bytes: u64,
    rotational: bool,
    up_since_epoch: u32,
    down_since_epoch: u32,
    up_since_unix_s: u64,
    down_since_unix_s: u64,
    in_since_unix_s: u64,
}

pub(super) type PoolVersion2 = PoolVersion3<PlacementGroupVersion2>;

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PlacementGroupVersion2 {
    in_sync: Vec<u32>,
    primary: Option<u32>,
    changed_epoch: u32,
}

impl From<MapVersion2> for Map {
    fn from(old: MapVersion2) -> Map {
        let MapVersion2 { epoch, fsid, created_unix_s, modified_unix_s, flags, osds, pools, pool_id_max, full_ratios } =
            old;
        Map {
            epoch,
            fsid,
            created_unix_s,
            modified_unix_s,
            flags,
            osds: osds.into_iter().map(Osd::from).collect(),
            pools: pools.into_iter().map(Pool::from).collect(),
            pool_id_max,
            full_ratios,
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
}

impl From<OsdVersion2> for Osd {
    fn from(old: OsdVersion2) -> Osd {
        let OsdVersion2 {
            id,
            exists,
            is_up,
            is_in,
            weight,
            reweight,
            host,
            public_address,
            cluster_address,
            store_id,
            base_bytes,
            hot_bytes,
            rotational,
            up_since_epoch,
            down_since_epoch,
            up_since_unix_s,
            down_since_unix_s,
            in_since_unix_s,
        } = old;
        Osd {
            id,
            exists,
            is_up,
            is_in,
            auto_out: false,
            weight,
            reweight,
            host,
            public_address,
            cluster_address,
            store_id,
            life: 0,
            base_bytes,
            hot_bytes,
            rotational,
            up_since_epoch,
            down_since_epoch,
            up_since_unix_s,
            down_since_unix_s,
            in_since_unix_s,
        }
    }
}

impl From<PlacementGroupVersion2> for PlacementGroup {
    fn from(old: PlacementGroupVersion2) -> PlacementGroup {
        PlacementGroup {
            reign: u32::from(old.primary.is_some()),
            in_sync: old.in_sync,
            primary: old.primary,
            changed_epoch: old.changed_epoch,
        }
    }
}
