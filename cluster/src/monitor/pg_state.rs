//! In which state a placement group is, in Ceph's words, as far as the map tells.

use crate::Map;
use crate::map::{PgId, PlacementGroup, Pool};
use std::collections::BTreeMap;

pub const CLEAN: &str = "active+clean";

/// `acting` as [`Map::acting`] gives it.
pub fn name(pool: &Pool, group: &PlacementGroup, acting: &[u32]) -> &'static str {
    let live = acting.len() as u32;
    match live {
        0 if group.primary.is_none() => "unknown",
        0 => "down",
        _ if live < pool.min_size => "undersized+degraded+peered",
        _ if live < pool.size => "active+undersized+degraded",
        _ => CLEAN,
    }
}

/// One group as the commands show it.
pub struct PgView<'a> {
    pub id: PgId,
    pub state: &'static str,
    pub acting: Vec<u32>,
    pub in_sync: &'a [u32],
}

pub fn all(map: &Map) -> impl Iterator<Item = PgView<'_>> {
    map.pgs().map(|(id, pool, group)| {
        let acting = map.acting(id).unwrap_or_default();
        PgView { id, state: name(pool, group, &acting), acting, in_sync: &group.in_sync }
    })
}

/// How many groups are in each state, by the state's name.
pub fn counts(map: &Map) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for view in all(map) {
        *counts.entry(view.state).or_insert(0) += 1;
    }
    counts
}

/// The share of a pool's copies that are missing, 0 to `size`: a pool's objects times this are degraded.
pub fn copies_missing(map: &Map, pool: &Pool) -> f64 {
    let missing: u64 = (0..pool.pg_num)
        .map(|seed| map.acting(PgId { pool: pool.id, seed }).map_or(0, |acting| acting.len() as u64))
        .map(|live| u64::from(pool.size).saturating_sub(live))
        .sum();
    missing as f64 / f64::from(pool.pg_num.max(1))
}

/// How many copies of an object the pool has on average: by it, sums over OSDs are divided to get what users stored.
pub fn copies_kept(pool: &Pool) -> f64 {
    let kept: usize = pool.pgs.iter().map(|group| group.in_sync.len()).sum();
    (kept as f64 / f64::from(pool.pg_num.max(1))).max(1.0)
}
