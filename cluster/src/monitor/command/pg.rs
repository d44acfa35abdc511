//! `pg stat|dump|ls`: the placement groups.

use super::osd::stamp;
use super::tier::hit_ratio;
use super::{Answer, Outcome, View};
use crate::map::PgId;
use crate::monitor::pg_state::{self, PgState, PgView};
use crate::monitor::reports::{Rates, RecoveryRates, Usage};
use crate::pool_settings::Refusal;
use crate::quantity::{format_bytes, format_count, format_utc};
use basalt_net::message::monitor::PgSelection;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All placement groups and what is in them, with copies taken out: what users stored and do.
pub(super) struct PgSummary {
    by_state: BTreeMap<PgState, u64>,
    pools: usize,
    objects: u64,
    data_bytes: u64,
    copies: CopyCounts,
    usage: Usage,
    rates: Rates,
    recovery: RecoveryRates,
    /// Reads of about the last ten minutes of pools with a tier: hot, and not.
    tiered_reads: (u64, u64),
}

/// Copies of objects, about: OSDs report pools and not groups.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::monitor) struct CopyCounts {
    /// That there should be.
    pub total: u64,
    pub degraded: u64,
    pub misplaced: u64,
}

impl CopyCounts {
    /// `12/90 objects degraded (13.333%)`
    pub fn line(&self, count: u64, word: &str) -> String {
        let share = 100.0 * count as f64 / self.total.max(1) as f64;
        format!("{count}/{} objects {word} ({share:.3}%)", self.total)
    }
}

impl PgSummary {
    fn count(&self) -> u64 {
        self.by_state.values().sum()
    }

    /// By name, the most frequent first.
    fn states(&self) -> Vec<(String, u64)> {
        let mut states: Vec<(String, u64)> =
            self.by_state.iter().map(|(state, count)| (state.to_string(), *count)).collect();
        states.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        states
    }

    pub fn document(&self) -> Value {
        let states = self.states().into_iter();
        let by_state: Vec<Value> =
            states.map(|(state, count)| json!({ "state_name": state, "count": count })).collect();
        json!({
            "pgs_by_state": by_state,
            "num_pgs": self.count(),
            "num_pools": self.pools,
            "num_objects": self.objects,
            "data_bytes": self.data_bytes,
            "bytes_used": self.usage.base_used,
            "bytes_avail": self.usage.base_available(),
            "bytes_total": self.usage.base_total,
            "hot_bytes_used": self.usage.hot_used,
            "hot_bytes_total": self.usage.hot_total,
            "degraded_objects": self.copies.degraded,
            "degraded_total": self.copies.total,
            "misplaced_objects": self.copies.misplaced,
            "misplaced_total": self.copies.total,
            "recovering_bytes_per_sec": self.recovery.bytes.round() as u64,
            "recovering_objects_per_sec": self.recovery.objects.round() as u64,
            "read_bytes_sec": self.rates.read_bytes.round() as u64,
            "write_bytes_sec": self.rates.write_bytes.round() as u64,
            "read_op_per_sec": self.rates.read_operations.round() as u64,
            "write_op_per_sec": self.rates.write_operations.round() as u64,
            "flush_bytes_sec": self.rates.flushed_bytes.round() as u64,
            "evict_bytes_sec": self.rates.evicted_bytes.round() as u64,
            "promote_bytes_sec": self.rates.promoted_bytes.round() as u64,
            "cache_hit_ratio": hit_ratio(self.tiered_reads.0, self.tiered_reads.1),
        })
    }

    /// In one line, as `pg stat` prints it.
    fn line(&self) -> String {
        let states: Vec<String> = self.states().into_iter().map(|(state, count)| format!("{count} {state}")).collect();
        let mut parts = vec![format!("{} pgs: {}", self.count(), states.join(", "))];
        parts.push(format!(
            "{} data, {} used, {} / {} avail",
            format_bytes(self.data_bytes),
            format_bytes(self.usage.base_used),
            format_bytes(self.usage.base_available()),
            format_bytes(self.usage.base_total)
        ));
        let mut rates = Vec::new();
        for (rate, what) in [(self.rates.read_bytes, "rd"), (self.rates.write_bytes, "wr")] {
            if rate.round() > 0.0 {
                rates.push(format!("{}/s {what}", format_bytes(rate.round() as u64)));
            }
        }
        let operations = self.operations_per_second();
        if operations > 0 {
            rates.push(format!("{} op/s", format_count(operations)));
        }
        if !rates.is_empty() {
            parts.push(rates.join(", "));
        }
        for (count, word) in [(self.copies.degraded, "degraded"), (self.copies.misplaced, "misplaced")] {
            if count > 0 {
                parts.push(self.copies.line(count, word));
            }
        }
        if self.recovery.bytes.round() > 0.0 {
            let objects = self.recovery.objects.round() as u64;
            parts.push(format!(
                "{}/s, {objects} objects/s recovering",
                format_bytes(self.recovery.bytes.round() as u64)
            ));
        }
        parts.join("; ")
    }

    fn operations_per_second(&self) -> u64 {
        (self.rates.read_operations + self.rates.write_operations).round() as u64
    }
}

impl View<'_> {
    pub(super) fn pg_summary(&self) -> PgSummary {
        let mut summary = PgSummary {
            by_state: pg_state::counts(self),
            pools: self.map.pools.len(),
            objects: 0,
            data_bytes: 0,
            copies: self.copies(),
            usage: self.core.reports.usage(),
            rates: Rates::default(),
            recovery: self.core.reports.recovery(self.now.monotonic),
            tiered_reads: (0, 0),
        };
        for pool in &self.map.pools {
            let stored = self.stored(pool);
            summary.objects = summary.objects.saturating_add(stored.objects);
            summary.data_bytes = summary.data_bytes.saturating_add(stored.data_bytes);
            summary.rates.add(&stored.figures.rates);
            let (hits, misses) = &mut summary.tiered_reads;
            *hits = hits.saturating_add(stored.figures.sum.recent_hit_reads);
            *misses = misses.saturating_add(stored.figures.sum.recent_miss_reads);
        }
        summary
    }

    pub(in crate::monitor) fn copies(&self) -> CopyCounts {
        let (mut total, mut degraded, mut misplaced) = (0.0, 0.0, 0.0);
        for pool in &self.map.pools {
            let objects = self.stored(pool).objects as f64 / f64::from(pool.pg_num.max(1));
            total += objects * f64::from(pool.pg_num) * f64::from(pool.size);
            for seed in 0..pool.pg_num {
                let Some(group) = self.core.pg_view(PgId { pool: pool.id, seed }) else { continue };
                let copies = group.copies(objects);
                degraded += copies.missing * objects;
                misplaced += copies.misplaced * objects;
            }
        }
        // While anything is amiss, that is not rounded away.
        CopyCounts { total: total.round() as u64, degraded: degraded.ceil() as u64, misplaced: misplaced.ceil() as u64 }
    }

    pub(super) fn pg_stat(&self) -> Outcome {
        let summary = self.pg_summary();
        let by_state: Vec<Value> =
            summary.states().into_iter().map(|(state, count)| json!({ "name": state, "num": count })).collect();
        let document = json!({
            "num_pg_by_state": by_state,
            "num_pgs": summary.count(),
            "num_bytes": summary.data_bytes,
            "raw_bytes_used": summary.usage.base_used,
            "raw_bytes_avail": summary.usage.base_available(),
            "raw_bytes": summary.usage.base_total,
            "read_bytes_sec": summary.rates.read_bytes.round() as u64,
            "write_bytes_sec": summary.rates.write_bytes.round() as u64,
            "io_sec": summary.operations_per_second(),
        });
        Answer::shown(summary.line(), json!({ "pg_ready": true, "pg_summary": document }))
    }

    pub(super) fn pg_dump(&self) -> Outcome {
        let groups: Vec<Value> = self.core.pg_views().map(|group| self.pg_document(&group)).collect();
        let osds: Vec<Value> = self
            .map
            .osds
            .iter()
            .filter(|osd| osd.exists)
            .map(|osd| {
                let usage = self.core.reports.usage_of_osd(osd.id);
                let scrub = self.scrub_of(osd.id);
                let report = self.core.reports.of_osd(osd.id);
                let recovered = report.map_or((0, 0), |report| (report.recovered_bytes, report.recovered_objects));
                let written = report.map_or(0, |report| report.pools.iter().map(|pool| pool.write_bytes).sum::<u64>());
                json!({
                    "osd": osd.id,
                    "kb": usage.base_total / 1024,
                    "kb_used": usage.base_used.div_ceil(1024),
                    "kb_avail": usage.base_available() / 1024,
                    "num_scrub_errors": scrub.errors,
                    "num_scrub_repaired": scrub.repaired,
                    "last_deep_scrub_stamp": stamp(&scrub),
                    "scrubbing": scrub.is_running,
                    "scrub_pass_bytes": scrub.pass_bytes,
                    "client_write_bytes": written,
                    "recovered_bytes": recovered.0,
                    "recovered_objects": recovered.1,
                })
            })
            .collect();
        let document = json!({
            "pg_ready": true,
            "pg_map": {
                "version": self.map.epoch,
                "stamp": format_utc(self.now.unix.as_secs()),
                "pg_stats": groups,
                "osd_stats": osds,
            },
        });
        Answer::shown("", document)
    }

    pub(super) fn pg_ls(&self, which: &PgSelection) -> Outcome {
        let pool = match &which.pool {
            None => None,
            Some(word) => Some(match word.parse().ok().and_then(|id| self.map.pool(id)) {
                Some(pool) => pool,
                None => self.pool(word)?,
            }),
        };
        if let Some(osd) = which.osd {
            self.known_osd(osd)?;
        }
        let mut states = Vec::new();
        for word in which.states.iter().flat_map(|words| words.split('+')) {
            let state = PgState::by_name(word).ok_or_else(|| {
                let known: Vec<&str> = PgState::all_names().collect();
                Refusal::invalid(format!(
                    "'{}' is not a valid pg state: one of {}",
                    word.escape_debug(),
                    known.join("|")
                ))
            })?;
            states.push(state);
        }
        let is_chosen = |group: &PgView<'_>| {
            pool.is_none_or(|pool| pool.id == group.id.pool)
                && which.osd.is_none_or(|osd| group.acting.contains(&osd))
                && states.iter().all(|state| group.state.is_said(*state))
        };
        let groups: Vec<Value> = self.core.pg_views().filter(is_chosen).map(|group| self.pg_document(&group)).collect();
        Answer::shown("", json!({ "pg_ready": true, "pg_stats": groups }))
    }

    pub(super) fn pg_document(&self, group: &PgView<'_>) -> Value {
        let first = |ids: &[u32]| ids.first().map_or(-1, |id| i64::from(*id));
        // An OSD scrubs all of its groups in one pass.
        let primary = group.primary().or(group.group.in_sync.first().copied());
        let scrub = primary.map(|osd| self.scrub_of(osd)).unwrap_or_default();
        json!({
            "pgid": group.id.to_string(),
            "state": group.state.to_string(),
            "up": group.up,
            "acting": group.acting,
            "up_primary": first(&group.up),
            "acting_primary": first(&group.acting),
            "in_sync": group.group.in_sync,
            "reported_epoch": group.group.changed_epoch.to_string(),
            "last_scrub_stamp": stamp(&scrub),
            "last_deep_scrub_stamp": stamp(&scrub),
        })
    }
}
