//! The map's archive as format version 3 had it: pools that know of no others.

use super::pool::{PoolFlags, Quota, Tiering};
use super::version_4::{MapVersion4, TierSettingsVersion4};
use super::{PlacementGroup, Pool};
use rkyv::{Archive, Deserialize, Serialize};

pub(super) type MapVersion3 = MapVersion4<PoolVersion3<PlacementGroup>>;

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
    tier: TierSettingsVersion4,
    quota: Quota,
    applications: Vec<String>,
    created_epoch: u32,
    changed_epoch: u32,
    pgs: Vec<G>,
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
            tier: old.tier.into(),
            quota: old.quota,
            applications: old.applications,
            tiering: Tiering::default(),
            created_epoch: old.created_epoch,
            changed_epoch: old.changed_epoch,
            pgs: old.pgs.into_iter().map(G::into).collect(),
        }
    }
}
