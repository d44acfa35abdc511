//! A pool: how many copies, how many placement groups, how its tier behaves, what is allowed.

use super::PlacementGroup;
use crate::limits;
use rkyv::{Archive, Deserialize, Serialize};

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Pool {
    pub id: u32,
    pub name: String,
    /// Copies of an object.
    pub size: u32,
    /// Copies that must be there for a write to be taken.
    pub min_size: u32,
    pub pg_num: u32,
    pub pgp_num: u32,
    pub crush_rule: u32,
    pub flags: PoolFlags,
    pub tier: TierSettings,
    pub quota: Quota,
    /// What the pool is used for (`rgw`, `rbd`, …), in ascending order.
    pub applications: Vec<String>,
    pub tiering: Tiering,
    pub created_epoch: u32,
    pub changed_epoch: u32,
    /// `pg_num` entries.
    pub pgs: Vec<PlacementGroup>,
}

/// Which pools belong together as base and cache, in Ceph's terms. A cache pool holds the settings by which the hot slices cache its base
/// pool, and its rule says on which OSDs they do; it stores nothing of it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct Tiering {
    /// The base pool that this one is a cache of.
    pub tier_of: Option<u32>,
    /// The cache pools of this one, in ascending order.
    pub tiers: Vec<u32>,
    /// The one of them whose settings count; without one, the pool's own do.
    pub overlay: Option<u32>,
}

/// 0 means without a bound.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Quota {
    pub bytes_max: u64,
    pub objects_max: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PoolFlags {
    pub nodelete: bool,
    pub nopgchange: bool,
    pub nosizechange: bool,
    pub write_fadvise_dontneed: bool,
    pub noscrub: bool,
    pub nodeep_scrub: bool,
}

/// What the tier does with an access; Ceph's names.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// The hot slice is not used.
    #[default]
    None,
    /// Writes land hot and are flushed later; reads may promote.
    Writeback,
    /// Reads of cold data go to base and never promote.
    ReadProxy,
    /// All misses go to base: the tier drains.
    Proxy,
    /// Reads promote, writes go to base.
    ReadOnly,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HitSetType {
    None,
    #[default]
    Bloom,
    ExplicitHash,
    ExplicitObject,
}

/// A pool's tier variables. They take effect while `cache_mode` is not `None`.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
pub struct TierSettings {
    pub cache_mode: CacheMode,
    /// Of the whole pool, over all OSDs. 0: each hot slice less its reserve.
    pub target_max_bytes: u64,
    /// 0: without a bound.
    pub target_max_objects: u64,
    pub cache_target_dirty_ratio: f64,
    pub cache_target_dirty_high_ratio: f64,
    pub cache_target_full_ratio: f64,
    pub cache_min_flush_age_ms: u64,
    pub cache_min_evict_age_ms: u64,
    /// Dirty data never gets older. 0: without a bound.
    pub cache_max_dirty_age_ms: u64,
    /// What has not been written to for so long is flushed once base is idle. 0: never.
    pub cache_idle_flush_age_ms: u64,
    /// A sequential run of writes goes straight to base once it is this long. 0: never.
    pub cache_bypass_sequential_bytes: u64,
    /// A new object of at least so many bytes that is written whole goes straight to base. 0: never.
    pub cache_bypass_new_bytes: u64,
    pub hit_set_type: HitSetType,
    pub hit_set_count: u32,
    pub hit_set_period_ms: u64,
    pub hit_set_fpp: f64,
    pub hit_set_search_last_n: u32,
    pub hit_set_grade_decay_rate: u32,
    pub min_read_recency_for_promote: u32,
    pub min_write_recency_for_promote: u32,
}

impl Default for TierSettings {
    /// What Ceph's `osd tier add-cache` gives a cache pool, except where this tier's way of writing calls for another.
    fn default() -> TierSettings {
        TierSettings {
            cache_mode: CacheMode::None,
            target_max_bytes: 0,
            target_max_objects: 0,
            cache_target_dirty_ratio: 0.4,
            cache_target_dirty_high_ratio: 0.6,
            cache_target_full_ratio: 0.8,
            cache_min_flush_age_ms: 0,
            cache_min_evict_age_ms: 0,
            cache_max_dirty_age_ms: 600_000,
            cache_idle_flush_age_ms: 30_000,
            cache_bypass_sequential_bytes: 4 << 20,
            cache_bypass_new_bytes: 0,
            hit_set_type: HitSetType::Bloom,
            hit_set_count: 4,
            hit_set_period_ms: 1_200_000,
            hit_set_fpp: 0.05,
            hit_set_search_last_n: 1,
            hit_set_grade_decay_rate: 20,
            min_read_recency_for_promote: 1,
            // Ceph waits for a second write because a first one would promote the whole object. Here a write lands hot by itself.
            min_write_recency_for_promote: 0,
        }
    }
}

impl TierSettings {
    /// As the tier's policy takes them, for the pool as a whole.
    pub fn policy(&self) -> basalt_tier::PoolSettings {
        use basalt_tier::{CacheMode as Mode, HitSetType as HitSets};
        let nanoseconds = |milliseconds: u64| milliseconds.saturating_mul(1_000_000);
        basalt_tier::PoolSettings {
            cache_mode: match self.cache_mode {
                CacheMode::None => Mode::None,
                CacheMode::Writeback => Mode::Writeback,
                CacheMode::ReadProxy => Mode::Readproxy,
                CacheMode::Proxy => Mode::Proxy,
                CacheMode::ReadOnly => Mode::Readonly,
            },
            target_max_bytes: self.target_max_bytes,
            target_max_objects: self.target_max_objects,
            cache_target_dirty_ratio: self.cache_target_dirty_ratio,
            cache_target_dirty_high_ratio: self.cache_target_dirty_high_ratio,
            cache_target_full_ratio: self.cache_target_full_ratio,
            cache_min_flush_age: nanoseconds(self.cache_min_flush_age_ms),
            cache_min_evict_age: nanoseconds(self.cache_min_evict_age_ms),
            cache_max_dirty_age: nanoseconds(self.cache_max_dirty_age_ms),
            cache_idle_flush_age: nanoseconds(self.cache_idle_flush_age_ms),
            cache_bypass_sequential_bytes: self.cache_bypass_sequential_bytes,
            cache_bypass_new_bytes: self.cache_bypass_new_bytes,
            hit_set_type: match self.hit_set_type {
                HitSetType::None => HitSets::None,
                HitSetType::Bloom => HitSets::Bloom,
                HitSetType::ExplicitHash => HitSets::ExplicitHash,
                HitSetType::ExplicitObject => HitSets::ExplicitObject,
            },
            hit_set_count: self.hit_set_count,
            hit_set_period: nanoseconds(self.hit_set_period_ms),
            hit_set_fpp: self.hit_set_fpp,
            hit_set_search_last_n: self.hit_set_search_last_n,
            hit_set_grade_decay_rate: self.hit_set_grade_decay_rate,
            min_read_recency_for_promote: self.min_read_recency_for_promote,
            min_write_recency_for_promote: self.min_write_recency_for_promote,
        }
    }
}

impl Pool {
    /// Everything by default: by rule 0, no tier, no quota, and groups that nobody holds yet.
    pub fn new(id: u32, name: impl Into<String>, size: u32, pg_num: u32, epoch: u32) -> Pool {
        Pool {
            id,
            name: name.into(),
            size,
            min_size: Pool::min_size_default(size),
            pg_num,
            pgp_num: pg_num,
            crush_rule: 0,
            flags: PoolFlags::default(),
            tier: TierSettings::default(),
            quota: Quota::default(),
            applications: Vec::new(),
            tiering: Tiering::default(),
            created_epoch: epoch,
            changed_epoch: epoch,
            pgs: vec![PlacementGroup::default(); pg_num as usize],
        }
    }

    /// Everything but the groups, which are many.
    pub(crate) fn without_groups(&self) -> Pool {
        let Pool {
            id,
            name,
            size,
            min_size,
            pg_num,
            pgp_num,
            crush_rule,
            flags,
            tier,
            quota,
            applications,
            tiering,
            created_epoch,
            changed_epoch,
            pgs: _,
        } = self;
        Pool {
            id: *id,
            name: name.clone(),
            size: *size,
            min_size: *min_size,
            pg_num: *pg_num,
            pgp_num: *pgp_num,
            crush_rule: *crush_rule,
            flags: *flags,
            tier: *tier,
            quota: *quota,
            applications: applications.clone(),
            tiering: tiering.clone(),
            created_epoch: *created_epoch,
            changed_epoch: *changed_epoch,
            pgs: Vec::new(),
        }
    }

    /// Copies below which writes wait, when nobody said otherwise: Ceph's rule, more than half.
    pub fn min_size_default(size: u32) -> u32 {
        size - size / 2
    }

    /// Why a name can't be a pool's, or `Ok`.
    pub fn check_name(name: &str) -> Result<(), String> {
        if name.is_empty() {
            return Err("a pool's name must not be empty".into());
        }
        if name.len() > limits::POOL_NAME_BYTES_MAX {
            return Err(format!(
                "a pool's name has at most {} bytes, and this one has {}",
                limits::POOL_NAME_BYTES_MAX,
                name.len()
            ));
        }
        if let Some(bad) = name.chars().find(|character| *character == '/' || character.is_control()) {
            return Err(format!(
                "a pool's name must not contain {bad:?}: '/' separates a pool from an image, and control characters don't print"
            ));
        }
        Ok(())
    }
}
