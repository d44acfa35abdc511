//! An OSD as the map knows it.

use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Osd {
    pub id: u32,
    pub exists: bool,
    /// It serves.
    pub is_up: bool,
    /// Data is placed on it.
    pub is_in: bool,
    /// It is out because it was down for too long, and comes in again when it comes up.
    pub auto_out: bool,
    /// Its share of the data: by default its base device's size in TiB.
    pub weight: f64,
    /// The operator's correction, 0 to 1.
    pub reweight: f64,
    pub host: String,
    /// `address:port` for clients and for the cluster network.
    pub public_address: String,
    pub cluster_address: String,
    /// Identifies the store behind the id, so that another disk under the same number is noticed.
    pub store_id: [u8; 16],
    /// Drawn at each start of its process. 0 in maps from before there were lives.
    pub life: u64,
    pub base_bytes: u64,
    /// 0: no hot slice.
    pub hot_bytes: u64,
    pub rotational: bool,
    /// The epoch it last came up in, went down in, and the wall clock then (0: never).
    pub up_since_epoch: u32,
    pub down_since_epoch: u32,
    pub up_since_unix_s: u64,
    pub down_since_unix_s: u64,
    pub in_since_unix_s: u64,
}

impl Osd {
    /// The store of an OSD whose data was given up.
    pub const NO_STORE: [u8; 16] = [0; 16];

    /// Its number waits for a new device.
    pub fn is_destroyed(&self) -> bool {
        self.store_id == Osd::NO_STORE
    }

    /// Ceph's class names.
    pub fn class(&self) -> &'static str {
        if self.rotational { "hdd" } else { "ssd" }
    }
}
