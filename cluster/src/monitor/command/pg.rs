//! `pg stat|dump`: the placement groups.

use super::osd::stamp;
use super::{Answer, Outcome, View};
use crate::monitor::pg_state;
use crate::monitor::reports::{Rates, Usage};
use crate::quantity::{format_bytes, format_count, format_utc};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// All placement groups and what is in them, with copies taken out: what users stored and do.
pub(super) struct PgSummary {
    by_state: BTreeMap<&'static str, u64>,
    pools: usize,
    objects: u64,
    data_bytes: u64,
    degraded_copies: u64,
    copies: u64,
    usage: Usage,
    rates: Rates,
}

impl PgSummary {
    fn count(&self) -> u64 {
        self.by_state.values().sum()
    }

    pub fn document(&self) -> Value {
        let by_state: Vec<Value> =
            self.by_state.iter().map(|(state, count)| json!({ "state_name": state, "count": count })).collect();
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
            "degraded_objects": self.degraded_copies,
            "degraded_total": self.copies,
            "misplaced_objects": 0,
            "misplaced_total": self.copies,
            "read_bytes_sec": self.rates.read_bytes.round() as u64,
            "write_bytes_sec": self.rates.write_bytes.round() as u64,
            "read_op_per_sec": self.rates.read_operations.round() as u64,
            "write_op_per_sec": self.rates.write_operations.round() as u64,
        })
    }

    /// In one line, as `pg stat` prints it.
    fn line(&self) -> String {
        let states: Vec<String> = self.by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
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
        if self.degraded_copies > 0 {
            let share = 100.0 * self.degraded_copies as f64 / self.copies.max(1) as f64;
            parts.push(format!("{}/{} objects degraded ({share:.3}%)", self.degraded_copies, self.copies));
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
            by_state: pg_state::counts(self.map),
            pools: self.map.pools.len(),
            objects: 0,
            data_bytes: 0,
            degraded_copies: 0,
            copies: 0,
            usage: self.core.reports.usage(),
            rates: Rates::default(),
        };
        for pool in &self.map.pools {
            let stored = self.stored(pool);
            let degraded = stored.objects as f64 * pg_state::copies_missing(self.map, pool);
            let copies = stored.objects.saturating_mul(u64::from(pool.size));
            summary.objects = summary.objects.saturating_add(stored.objects);
            summary.data_bytes = summary.data_bytes.saturating_add(stored.data_bytes);
            summary.degraded_copies = summary.degraded_copies.saturating_add(degraded.round() as u64);
            summary.copies = summary.copies.saturating_add(copies);
            summary.rates.add(&stored.figures.rates);
        }
        summary
    }

    pub(super) fn pg_stat(&self) -> Outcome {
        let summary = self.pg_summary();
        let by_state: Vec<Value> =
            summary.by_state.iter().map(|(state, count)| json!({ "name": state, "num": count })).collect();
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
        let primary = |acting: &[u32]| acting.first().map_or(-1, |id| i64::from(*id));
        let groups: Vec<Value> = pg_state::all(self.map)
            .map(|view| {
                // An OSD scrubs all of its groups in one pass.
                let primary_osd = view.acting.first().or(view.in_sync.first());
                let scrub = primary_osd.map(|osd| self.scrub_of(*osd)).unwrap_or_default();
                json!({
                    "pgid": view.id.to_string(),
                    "state": view.state,
                    "up": view.acting,
                    "acting": view.acting,
                    "up_primary": primary(&view.acting),
                    "acting_primary": primary(&view.acting),
                    "in_sync": view.in_sync,
                    "last_scrub_stamp": stamp(&scrub),
                    "last_deep_scrub_stamp": stamp(&scrub),
                })
            })
            .collect();
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
}
