//! `osd perf`: how long commits and writes take on each OSD, by its last reports.

use super::{Answer, Outcome, View};
use serde_json::{Value, json};
use std::time::Duration;

impl View<'_> {
    /// 0 where nothing was committed lately, as with Ceph.
    pub(super) fn osd_perf(&self) -> Outcome {
        let infos: Vec<Value> = self
            .map
            .osds
            .iter()
            .filter(|osd| osd.exists && osd.is_up)
            .map(|osd| {
                let latency = self.core.reports.latency(self.now.monotonic, osd.id);
                let milliseconds = |took: Duration| (took.as_secs_f64() * 1e3).round() as u64;
                json!({
                    "id": osd.id,
                    "perf_stats": {
                        "commit_latency_ms": milliseconds(latency.commit),
                        "apply_latency_ms": milliseconds(latency.apply),
                        "commit_latency_ns": latency.commit.as_nanos() as u64,
                        "apply_latency_ns": latency.apply.as_nanos() as u64,
                    },
                })
            })
            .collect();
        Answer::shown("", json!({ "osdstats": { "osd_perf_infos": infos } }))
    }
}
