//! `status`, `health detail`, `df`, `versions`: the cluster as a whole.

use super::osd_tree::crush_weights;
use super::{Answer, Outcome, View};
use crate::crush::{CrushMap, Step, limits::WEIGHT_ONE};
use crate::map::{Osd, PgId, PlacementGroup, Pool};
use crate::monitor::draining::DrainState;
use crate::monitor::progress::Shown;
use crate::monitor::reports::{PoolFigures, Usage};
use crate::monitor::{health, pg_state};
use crate::quantity::{format_age, format_bytes};
use basalt_net::message::monitor::PoolReport;
use serde_json::{Map as Object, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// One pool's figures with copies taken out: what users stored.
pub(in crate::monitor) struct Stored {
    pub figures: PoolFigures,
    pub objects: u64,
    pub data_bytes: u64,
    pub omap_bytes: u64,
    pub copies: f64,
}

impl View<'_> {
    pub(in crate::monitor) fn stored(&self, pool: &Pool) -> Stored {
        let figures = self.core.reports.of_pool(self.now.monotonic, pool.id);
        let copies = pg_state::copies_kept(pool);
        // What OSDs keep from before, or have half of, does not count: where some have whole copies only, they stand for all groups.
        let whole = self.core.whole_copies(pool);
        let reported =
            || whole.iter().filter_map(|(osd, count)| Some((self.core.reports.pool_of(*osd, pool.id)?, *count)));
        let groups: u64 = reported().map(|(_, count)| count).sum();
        let once = |of: fn(&PoolReport) -> u64| {
            let estimate = match groups {
                0 => of(&figures.sum) as f64 / copies,
                _ => {
                    reported().map(|(report, _)| of(report) as f64).sum::<f64>() * f64::from(pool.pg_num)
                        / groups as f64
                }
            };
            estimate.round() as u64
        };
        Stored {
            objects: once(|report| report.objects),
            data_bytes: once(|report| report.data_bytes),
            omap_bytes: once(|report| report.omap_bytes),
            copies,
            figures,
        }
    }

    /// Objects of a pool that are still to be brought to OSDs that are up.
    pub(in crate::monitor) fn objects_left(&self, pool: &Pool) -> f64 {
        let is_filled = |(seed, group): &(u32, &PlacementGroup)| {
            let belongs = self.core.belonging.of_group(PgId { pool: pool.id, seed: *seed });
            belongs.iter().all(|id| group.in_sync.contains(id))
        };
        let mut unfilled = (0u32..).zip(&pool.pgs).filter(|group| !is_filled(group)).peekable();
        if unfilled.peek().is_none() {
            return 0.0;
        }
        let objects = self.stored(pool).objects as f64 / f64::from(pool.pg_num.max(1));
        let views = unfilled.filter_map(|(seed, _)| self.core.pg_view(PgId { pool: pool.id, seed }));
        views.map(|group| group.objects_left(objects)).sum()
    }

    fn progress(&self) -> (Value, Value) {
        let mut events = Object::new();
        for pool in &self.map.pools {
            if let DrainState::Draining { dirty_bytes, shown: Some(shown), .. } = self.drain_state(pool) {
                let (name, left) = (&pool.name, format_bytes(dirty_bytes));
                let message =
                    format!("Pool '{name}' leaves its hot tier: {left} dirty ({})", format_age(shown.elapsed));
                events.insert(format!("drain {name}"), event(&message, &shown));
            }
        }
        let Some(shown) = self.core.progress.shown(self.now.monotonic) else {
            return (Value::Object(events), Value::Null);
        };
        events.insert("recovery".into(), event(&format!("Recovery ({})", format_age(shown.elapsed)), &shown));
        let progress = json!({
            "percent": shown.percent(),
            "objects_left": shown.left.ceil() as u64,
            "elapsed_s": shown.elapsed.as_secs(),
            "remaining_s": shown.remaining_s(),
        });
        (Value::Object(events), progress)
    }

    pub(super) fn status(&self) -> Outcome {
        let (progress_events, progress) = self.progress();
        let fsid = uuid::Uuid::from_bytes(self.map.fsid).to_string();
        let document = json!({
            "fsid": fsid,
            "health": health::document(&health::checks(self), false),
            "election_epoch": 1,
            "quorum": [0],
            "quorum_names": [self.core.name],
            "quorum_age": self.now.monotonic.saturating_sub(self.core.started).as_secs(),
            "monmap": { "epoch": 1, "num_mons": 1 },
            "osdmap": self.osd_summary().document(),
            "pgmap": self.pg_summary().document(),
            "progress_events": progress_events,
            "progress": progress,
        });
        Answer::shown("", document)
    }

    pub(super) fn health_detail(&self) -> Outcome {
        let checks = health::checks(self);
        Answer::shown(health::text(&checks), health::document(&checks, true))
    }

    pub(super) fn df(&self) -> Outcome {
        let usage = self.core.reports.usage();
        let crush = self.map.crush_map();
        let mut by_class: BTreeMap<&str, Usage> = BTreeMap::new();
        for osd in self.map.osds.iter().filter(|osd| osd.exists) {
            let class = crush.device_class(osd.id as i32).unwrap_or(osd.class());
            by_class.entry(class).or_default().add(self.core.reports.usage_of_osd(osd.id));
        }
        let by_class: Object<String, Value> =
            by_class.into_iter().map(|(class, usage)| (class.to_owned(), raw(usage))).collect();
        let mut stats = raw(usage);
        if let Some(stats) = stats.as_object_mut() {
            stats.insert("num_osds".into(), json!(self.map.osds.iter().filter(|osd| osd.exists).count()));
            stats.insert("hot_total_bytes".into(), json!(usage.hot_total));
            stats.insert("hot_used_bytes".into(), json!(usage.hot_used));
        }
        let pools: Vec<Value> = self.map.pools.iter().map(|pool| self.df_of_pool(pool, &crush)).collect();
        Answer::shown("", json!({ "stats": stats, "stats_by_class": by_class, "pools": pools }))
    }

    fn df_of_pool(&self, pool: &Pool, crush: &CrushMap) -> Value {
        let stored = self.stored(pool);
        let sum = &stored.figures.sum;
        let used = sum.data_bytes.saturating_add(sum.omap_bytes);
        let available = self.available_to(pool, crush);
        let used_once = used as f64 / stored.copies;
        let percent_used = if used == 0 { 0.0 } else { used_once / (used_once + available as f64) };
        json!({
            "name": pool.name,
            "id": pool.id,
            "pg_num": pool.pg_num,
            "stats": {
                "stored": stored.data_bytes.saturating_add(stored.omap_bytes),
                "stored_data": stored.data_bytes,
                "stored_omap": stored.omap_bytes,
                "objects": stored.objects,
                "kb_used": used.div_ceil(1024),
                "bytes_used": used,
                "data_bytes_used": sum.data_bytes,
                "omap_bytes_used": sum.omap_bytes,
                "percent_used": percent_used,
                "max_avail": available,
                "quota_objects": pool.quota.objects_max,
                "quota_bytes": pool.quota.bytes_max,
                "dirty": sum.dirty_objects,
                "hot_bytes": sum.hot_bytes,
                "dirty_bytes": sum.dirty_bytes,
                "clean_bytes": sum.clean_bytes,
            },
        })
    }

    /// How much more users can store in a pool until its first OSD is full, if data spreads by weight over what
    /// the pool's rule takes.
    fn available_to(&self, pool: &Pool, crush: &CrushMap) -> u64 {
        let weights = crush_weights(crush);
        let steps = crush.rule(pool.crush_rule).map_or(&[][..], |rule| rule.steps.as_slice());
        let taken: BTreeSet<i32> = steps
            .iter()
            .flat_map(|step| match step {
                Step::Take(root) => crush.devices_below(*root),
                _ => BTreeSet::new(),
            })
            .collect();
        let slice_weight = |osd: &Osd| {
            let slice = crush.slice_taken(pool.crush_rule, osd.id)?;
            Some(f64::from(slice.weight) / f64::from(WEIGHT_ONE))
        };
        let weight = |osd: &Osd| {
            let share = slice_weight(osd).or_else(|| weights.get(&osd.id).copied());
            share.filter(|_| taken.contains(&(osd.id as i32))).unwrap_or(0.0) * osd.reweight
        };
        let placed_on = || self.map.osds.iter().filter(|osd| osd.exists && osd.is_in && weight(osd) > 0.0);
        let total: f64 = placed_on().map(weight).sum();
        let by_osd = placed_on().filter_map(|osd| {
            let report = self.core.reports.of_osd(osd.id)?;
            let usage = Usage::of(report);
            if slice_weight(osd).is_some() {
                let is_pinned = |id: u32| self.map.pool(id).is_some_and(|pool| pool.is_pinned_on(osd.id, crush));
                let pinned = report.pools.iter().filter(|pool| is_pinned(pool.pool)).map(|pool| pool.hot_bytes);
                let left = usage.hot_total.saturating_sub(pinned.sum());
                return Some(left as f64 * total / weight(osd));
            }
            let until_full = (usage.base_total as f64 * self.map.full_ratios.full - usage.base_used as f64).max(0.0);
            Some(until_full * total / weight(osd))
        });
        by_osd.reduce(f64::min).map_or(0, |raw| (raw / f64::from(pool.size)) as u64)
    }
}

fn event(message: &str, shown: &Shown) -> Value {
    json!({
        "message": message,
        "progress": shown.done,
        "remaining_s": shown.remaining_s(),
        "add_to_ceph_s": true,
    })
}

fn raw(usage: Usage) -> Value {
    json!({
        "total_bytes": usage.base_total,
        "total_avail_bytes": usage.base_available(),
        "total_used_bytes": usage.base_used,
        "total_used_raw_bytes": usage.base_used,
        "total_used_raw_ratio": usage.used_ratio(),
    })
}
