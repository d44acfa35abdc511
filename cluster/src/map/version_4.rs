//! The map's archive as format version 4 had it: no word of what an idle base is given, nor of new objects that pass the tier by.

use super::pool::{PoolFlags, Quota, TierSettings, Tiering};
use super::{AuthTable, CacheMode, ClusterSettings, FullRatios, HitSetType, Map, MapFlags, Osd, PlacementGroup, Pool};
use basalt_net::Features;
use rkyv::{Archive, Deserialize, Serialize};

/// Version 3 differed in its pools only, and so did version 5, which has today's: nobody was fenced off in any of them.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct MapVersion4<P> {
    epoch: u32,
    fsid: [u8; 16],
    created_unix_s: u64,
    modified_unix_s: u64,
    flags: MapFlags,
    osds: Vec<Osd>,
    pools: Vec<P>,
    pool_id_max: u32,
    full_ratios: FullRatios,
    crush: Vec<u8>,
    settings: ClusterSettings,
}

#[derive(Archive, Serialize, Deserialize)]
pub(super) struct PoolVersion4 {
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
    tiering: Tiering,
    created_epoch: u32,
    changed_epoch: u32,
    pgs: Vec<PlacementGroup>,
}

/// Of versions 1 to 4.
#[derive(Archive, Serialize, Deserialize)]
pub(super) struct TierSettingsVersion4 {
    cache_mode: CacheMode,
    target_max_bytes: u64,
    target_max_objects: u64,
    cache_target_dirty_ratio: f64,
    cache_target_dirty_high_ratio: f64,
    cache_target_full_ratio: f64,
    cache_min_flush_age_ms: u64,
    cache_min_evict_age_ms: u64,
    cache_max_dirty_age_ms: u64,
    cache_bypass_sequential_bytes: u64,
    hit_set_type: HitSetType,
    hit_set_count: u32,
    hit_set_period_ms: u64,
    hit_set_fpp: f64,
    hit_set_search_last_n: u32,
    hit_set_grade_decay_rate: u32,
    min_read_recency_for_promote: u32,
    min_write_recency_for_promote: u32,
}

impl<P: Into<Pool>> From<MapVersion4<P>> for Map {
    fn from(old: MapVersion4<P>) -> Map {
        Map {
            epoch: old.epoch,
            fsid: old.fsid,
            created_unix_s: old.created_unix_s,
            modified_unix_s: old.modified_unix_s,
            flags: old.flags,
            osds: old.osds,
            pools: old.pools.into_iter().map(P::into).collect(),
            pool_id_max: old.pool_id_max,
            full_ratios: old.full_ratios,
            crush: old.crush,
            settings: old.settings,
            fenced: Vec::new(),
            hosts: Vec::new(),
            maintenance: None,
            options: Vec::new(),
            auth: AuthTable::default(),
            required_features: Features::NONE,
        }
    }
}

impl From<PoolVersion4> for Pool {
    fn from(old: PoolVersion4) -> Pool {
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
            tiering: old.tiering,
            created_epoch: old.created_epoch,
            changed_epoch: old.changed_epoch,
            pgs: old.pgs,
        }
    }
}

impl From<TierSettingsVersion4> for TierSettings {
    fn from(old: TierSettingsVersion4) -> TierSettings {
        let new = TierSettings::default();
        TierSettings {
            cache_mode: old.cache_mode,
            target_max_bytes: old.target_max_bytes,
            target_max_objects: old.target_max_objects,
            cache_target_dirty_ratio: old.cache_target_dirty_ratio,
            cache_target_dirty_high_ratio: old.cache_target_dirty_high_ratio,
            cache_target_full_ratio: old.cache_target_full_ratio,
            cache_min_flush_age_ms: old.cache_min_flush_age_ms,
            cache_min_evict_age_ms: old.cache_min_evict_age_ms,
            cache_max_dirty_age_ms: old.cache_max_dirty_age_ms,
            cache_idle_flush_age_ms: new.cache_idle_flush_age_ms,
            cache_bypass_sequential_bytes: old.cache_bypass_sequential_bytes,
            cache_bypass_new_bytes: new.cache_bypass_new_bytes,
            hit_set_type: old.hit_set_type,
            hit_set_count: old.hit_set_count,
            hit_set_period_ms: old.hit_set_period_ms,
            hit_set_fpp: old.hit_set_fpp,
            hit_set_search_last_n: old.hit_set_search_last_n,
            hit_set_grade_decay_rate: old.hit_set_grade_decay_rate,
            min_read_recency_for_promote: old.min_read_recency_for_promote,
            min_write_recency_for_promote: old.min_write_recency_for_promote,
        }
    }
}
