//! `osd tier status`: each pool's hot tier, summed over its OSDs.

use super::{Answer, Outcome, View};
use crate::map::{CacheMode, MapFlags, Pool, TierSettings};
use crate::monitor::draining::DrainState;
use crate::monitor::progress::Shown;
use crate::monitor::reports::Rates;
use crate::quantity::{format_bytes, format_count};
use basalt_net::message::monitor::{FlushReason, PoolReport};
use serde_json::{Value, json};
use std::time::Duration;

type Object = serde_json::Map<String, Value>;

/// Of [`PoolReport::dirty_bytes_by_age`].
const AGES: [&str; 4] = ["1m", "10m", "1h", "older"];

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
        // OSDs know how much of their hot slice a pool may have; before they have said so, only what was asked for is known.
        let target_bytes = if figures.is_reported { sum.target_bytes } else { holder.tier.target_max_bytes };
        let drain = self.drain_state(shown);
        let dirty_ratio = if target_bytes == 0 { 0.0 } else { sum.dirty_bytes as f64 / target_bytes as f64 };
        let by_age: Object =
            AGES.iter().zip(sum.dirty_bytes_by_age).map(|(age, bytes)| ((*age).into(), json!(bytes))).collect();
        let doing = if self.map.flags.contains(MapFlags::NOTIERAGENT) {
            "nothing is flushed, evicted or promoted: the flag notieragent is set".to_owned()
        } else {
            doing(&holder.tier, sum, rates, dirty_ratio)
        };
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
            "hit_ratio": hit_ratio(sum.recent_hit_reads, sum.recent_miss_reads),
            "dirty_ratio": thousandths(dirty_ratio),
            "dirty_by_age": by_age,
            "oldest_dirty_s": sum.oldest_dirty_s,
            "flush_reason": reason_name(sum.flush_reason),
            "wanted_flush_rate": sum.wanted_flush_rate,
            "base_rate": sum.base_rate,
            "slowed_write_rate": rates.slowed_writes.round() as u64,
            "written_through_rate": rates.written_through.round() as u64,
            "doing": doing,
            "draining": matches!(drain, DrainState::Draining { .. }),
            "drained": drain == DrainState::Drained,
            "drain": drain_shown(&drain),
        })
    }
}

/// The part of the reads of about the last ten minutes that was served hot. 0 if there were none.
pub(super) fn hit_ratio(hits: u64, misses: u64) -> f64 {
    let reads = hits.saturating_add(misses);
    if reads == 0 { 0.0 } else { thousandths(hits as f64 / reads as f64) }
}

fn thousandths(ratio: f64) -> f64 {
    (ratio * 1000.0).round() / 1000.0
}

fn reason_name(reason: FlushReason) -> &'static str {
    match reason {
        FlushReason::None => "none",
        FlushReason::Idle => "idle",
        FlushReason::Age => "age",
        FlushReason::DirtyRatio => "dirty_ratio",
        FlushReason::Mode => "mode",
        FlushReason::Drain => "drain",
        FlushReason::HighRatio => "high_ratio",
        FlushReason::SliceShort => "slice_short",
    }
}

/// What the tier does with a pool now, and why, for people. Each OSD goes by its own ratios: of several the most urgent reason is told.
fn doing(settings: &TierSettings, sum: &PoolReport, rates: &Rates, dirty_ratio: f64) -> String {
    if settings.cache_mode == CacheMode::None && sum.hot_bytes == 0 {
        return "the pool is not cached".into();
    }
    let seconds = |milliseconds: u64| Duration::from_millis(milliseconds).as_secs_f64();
    let mut said = match sum.flush_reason {
        FlushReason::None if sum.dirty_bytes == 0 => "nothing is dirty".into(),
        FlushReason::None => format!(
            "dirty data rests: {dirty_ratio:.2} of the target, up to cache_target_dirty_ratio {}",
            settings.cache_target_dirty_ratio
        ),
        FlushReason::Idle => format!(
            "flushes while the disks are idle: what was not written to for {} s (cache_idle_flush_age)",
            seconds(settings.cache_idle_flush_age_ms)
        ),
        FlushReason::Age => {
            format!("flushes what is nearly {} s old (cache_max_dirty_age)", seconds(settings.cache_max_dirty_age_ms))
        }
        FlushReason::DirtyRatio => format!(
            "flushes: {dirty_ratio:.2} of the target is dirty, where cache_target_dirty_ratio is {}",
            settings.cache_target_dirty_ratio
        ),
        FlushReason::Mode => format!("flushes everything: the mode is {}", settings.cache_mode.name()),
        FlushReason::Drain => "flushes and evicts everything: the pool is drained".into(),
        FlushReason::HighRatio => format!(
            "flushes as fast as the disks can: {dirty_ratio:.2} of the target is dirty, where cache_target_dirty_high_ratio is {}",
            settings.cache_target_dirty_high_ratio
        ),
        FlushReason::SliceShort => "flushes as fast as the disks can: a slice is short of room".into(),
    };
    if sum.flush_reason != FlushReason::None {
        let (wanted, base) = (format_bytes(sum.wanted_flush_rate), format_bytes(sum.base_rate));
        said.push_str(&format!("; wants {wanted}/s of the {base}/s that the disks sustain"));
    }
    for (rate, what) in [
        (rates.slowed_writes, "writes a second are slowed"),
        (rates.written_through, "writes a second go to the disks, for want of room"),
    ] {
        let rate = rate.round() as u64;
        if rate > 0 {
            said.push_str(&format!("; {} {what}", format_count(rate)));
        }
    }
    said
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
