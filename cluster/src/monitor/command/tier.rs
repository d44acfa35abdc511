//! `osd tier status`: each pool's hot tier, summed over its OSDs.

use super::{Answer, Outcome, View};
use crate::map::Pool;
use crate::monitor::draining::DrainState;
use crate::monitor::progress::Shown;
use serde_json::{Value, json};

impl View<'_> {
    pub(super) fn tier_status(&self, name: Option<&str>) -> Outcome {
        let pools: Vec<Value> = match name {
            Some(name) => vec![self.tier_of(self.pool(name)?)],
            None => self.map.pools.iter().map(|pool| self.tier_of(pool)).collect(),
        };
        Answer::shown("", json!(pools))
    }

    fn tier_of(&self, pool: &Pool) -> Value {
        // A cache pool is asked for what it caches.
        let covered = pool.tiering.tier_of.and_then(|base| self.map.pool(base));
        let shown = covered.filter(|base| base.tiering.overlay == Some(pool.id)).unwrap_or(pool);
        let holder = self.map.tier_holder(pool);
        let figures = self.core.reports.of_pool(self.now.monotonic, shown.id);
        let (sum, rates) = (&figures.sum, &figures.rates);
        let reads = sum.hit_reads.saturating_add(sum.miss_reads);
        let hit_ratio = if reads == 0 { 0.0 } else { sum.hit_reads as f64 / reads as f64 };
        // OSDs know how much of their hot slice a pool may have; before they have said so, only what was asked for is known.
        let target_bytes = if figures.is_reported { sum.target_bytes } else { holder.tier.target_max_bytes };
        let drain = self.drain_state(shown);
        json!({
            "pool_name": pool.name,
            "pool_id": pool.id,
            "mode": holder.tier.cache_mode.name(),
            "cached_pool": shown.name,
            "settings_pool": holder.name,
            "target_bytes": target_bytes,
            "hot_bytes": sum.hot_bytes,
            "dirty_bytes": sum.dirty_bytes,
            "clean_bytes": sum.clean_bytes,
            "dirty_objects": sum.dirty_objects,
            "flush_rate": rates.flushed_bytes.round() as u64,
            "evict_rate": rates.evicted_bytes.round() as u64,
            "promote_rate": rates.promoted_bytes.round() as u64,
            "hit_ratio": hit_ratio,
            "draining": matches!(drain, DrainState::Draining { .. }),
            "drained": drain == DrainState::Drained,
            "drain": drain_shown(&drain),
        })
    }
}

/// `null` unless the pool is leaving its tier.
fn drain_shown(state: &DrainState) -> Value {
    let DrainState::Draining { dirty_bytes, shown, .. } = state else { return Value::Null };
    json!({
        "dirty_bytes_left": dirty_bytes,
        "percent": shown.as_ref().map_or(0.0, Shown::percent),
        "elapsed_s": shown.as_ref().map_or(0, |shown| shown.elapsed.as_secs()),
        "remaining_s": shown.as_ref().and_then(Shown::remaining_s),
    })
}
