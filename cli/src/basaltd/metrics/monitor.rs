//! The cluster as the monitor sees it, from the same documents that administrators are shown.

use super::exposition::Exposition;
use basalt_cluster::monitor::shell::{Inquirer, Question};
use serde_json::Value;

/// A monitor that does not lead tells that, and nothing of the cluster: what it knew may be long over.
pub async fn describe(exposition: &mut Exposition, monitor: &Inquirer) {
    let help = "1 if this monitor decides, 0 if another one does.";
    exposition.gauge("basalt_monitor_leads", help, &[], f64::from(u8::from(monitor.leads())));
    if let Some(status) = monitor.ask(Question::Status).await {
        of_status(exposition, &status);
    }
    if let Some(df) = monitor.ask(Question::Df).await {
        of_df(exposition, &df);
    }
    if let Some(tiers) = monitor.ask(Question::TierStatus).await {
        of_tiers(exposition, &tiers);
    }
}

fn number(document: &Value, path: &str) -> f64 {
    document.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

fn of_status(exposition: &mut Exposition, status: &Value) {
    let health = match status.pointer("/health/status").and_then(Value::as_str) {
        Some("HEALTH_OK") => 0.0,
        Some("HEALTH_WARN") => 1.0,
        _ => 2.0,
    };
    exposition.gauge("basalt_health_status", "0: HEALTH_OK, 1: HEALTH_WARN, 2: HEALTH_ERR.", &[], health);
    for (code, check) in status.pointer("/health/checks").and_then(Value::as_object).into_iter().flatten() {
        let severity = check.get("severity").and_then(Value::as_str).unwrap_or_default();
        let labels = [("code", code.as_str()), ("severity", severity)];
        let help = "What is wrong: of how much the check tells.";
        exposition.gauge("basalt_health_check", help, &labels, number(check, "/summary/count"));
    }
    for (name, help, path) in [
        ("basalt_cluster_map_epoch", "Epoch of the map.", "/osdmap/epoch"),
        ("basalt_cluster_osds", "OSDs.", "/osdmap/num_osds"),
        ("basalt_cluster_osds_up", "OSDs that are up.", "/osdmap/num_up_osds"),
        ("basalt_cluster_osds_in", "OSDs that are in.", "/osdmap/num_in_osds"),
        ("basalt_cluster_objects", "Objects, each counted once.", "/pgmap/num_objects"),
        ("basalt_cluster_data_bytes", "Bytes of objects, each counted once.", "/pgmap/data_bytes"),
        ("basalt_cluster_base_bytes", "Size of all base devices.", "/pgmap/bytes_total"),
        ("basalt_cluster_base_used_bytes", "Of that, in use.", "/pgmap/bytes_used"),
        ("basalt_cluster_hot_bytes", "Size of all hot slices.", "/pgmap/hot_bytes_total"),
        ("basalt_cluster_hot_used_bytes", "Of that, in use.", "/pgmap/hot_bytes_used"),
        ("basalt_cluster_degraded_objects", "Copies that are missing.", "/pgmap/degraded_objects"),
        ("basalt_cluster_misplaced_objects", "Copies that are elsewhere.", "/pgmap/misplaced_objects"),
        ("basalt_recovery_bytes_per_second", "What OSDs send to recover.", "/pgmap/recovering_bytes_per_sec"),
        ("basalt_recovery_objects_left", "Objects that are still to be brought.", "/progress/objects_left"),
    ] {
        exposition.gauge(name, help, &[], number(status, path));
    }
    for state in status.pointer("/pgmap/pgs_by_state").and_then(Value::as_array).into_iter().flatten() {
        let name = state.get("state_name").and_then(Value::as_str).unwrap_or_default();
        let help = "Placement groups by state.";
        exposition.gauge("basalt_cluster_pgs", help, &[("state", name)], number(state, "/count"));
    }
}

fn of_df(exposition: &mut Exposition, df: &Value) {
    for pool in df.get("pools").and_then(Value::as_array).into_iter().flatten() {
        let name = [("pool", pool.get("name").and_then(Value::as_str).unwrap_or_default())];
        for (metric, help, path) in [
            ("basalt_pool_objects", "Objects of a pool, each counted once.", "/stats/objects"),
            ("basalt_pool_stored_bytes", "Bytes of a pool's objects, each counted once.", "/stats/stored"),
            ("basalt_pool_available_bytes", "What can still be stored in a pool.", "/stats/max_avail"),
            ("basalt_pool_quota_bytes", "A pool's quota; 0: none.", "/stats/quota_bytes"),
        ] {
            exposition.gauge(metric, help, &name, number(pool, path));
        }
    }
}

fn of_tiers(exposition: &mut Exposition, tiers: &Value) {
    for tier in tiers.as_array().into_iter().flatten() {
        let name = [("pool", tier.get("pool_name").and_then(Value::as_str).unwrap_or_default())];
        for (metric, help, path) in [
            ("basalt_pool_tier_target_bytes", "What a pool may have on its hot slices.", "/target_bytes"),
            ("basalt_pool_tier_hot_bytes", "What it has there.", "/hot_bytes"),
            ("basalt_pool_tier_dirty_bytes", "Of that, on hot only.", "/dirty_bytes"),
            ("basalt_pool_tier_dirty_ratio", "Dirty bytes over the target.", "/dirty_ratio"),
            ("basalt_pool_tier_hit_ratio", "Of the reads of about ten minutes, those that hot answered.", "/hit_ratio"),
        ] {
            exposition.gauge(metric, help, &name, number(tier, path));
        }
    }
}
