//! `status`: the cluster at a glance.

use super::{bare, client_io, list, number, real, text};
use basalt_cluster::quantity::{format_age, format_bytes as bytes, format_count as count};
use serde_json::Value;
use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn render(document: &Value) -> String {
    let mut shown = String::new();
    let mut line = |text: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(shown, "{text}");
    };
    line("  cluster:");
    line(&format!("    id:     {}", text(document, "/fsid")));
    line(&format!("    health: {}", text(document, "/health/status")));
    for check in document.pointer("/health/checks").and_then(Value::as_object).into_iter().flatten() {
        line(&format!("            {}", text(check.1, "/summary/message")));
    }
    line(" ");
    line("  services:");
    let quorum: Vec<String> = list(document, "/quorum_names").iter().map(bare).collect();
    let monitors = number(document, "/monmap/num_mons").max(quorum.len() as u64);
    let age = document
        .get("quorum_age")
        .and_then(Value::as_u64)
        .map_or(String::new(), |age| format!(" (age {})", format_age(Duration::from_secs(age))));
    line(&format!("    mon: {monitors} daemons, quorum {}{age}", quorum.join(",")));
    line(&format!("    osd: {}", osds(document.get("osdmap").unwrap_or(&Value::Null))));
    line(" ");
    line("  data:");
    let pgs = document.get("pgmap").unwrap_or(&Value::Null);
    line(&format!("    pools:   {} pools, {} pgs", number(pgs, "/num_pools"), number(pgs, "/num_pgs")));
    line(&format!(
        "    objects: {} objects, {}",
        count(number(pgs, "/num_objects")),
        bytes(number(pgs, "/data_bytes"))
    ));
    let [used, available, total] = ["/bytes_used", "/bytes_avail", "/bytes_total"].map(|path| bytes(number(pgs, path)));
    line(&format!("    usage:   {used} used, {available} / {total} avail"));
    let mut heading = "pgs:    ";
    for word in ["degraded", "misplaced"] {
        let (part, whole) = (number(pgs, &format!("/{word}_objects")), number(pgs, &format!("/{word}_total")));
        if part > 0 {
            let share = 100.0 * part as f64 / whole.max(1) as f64;
            line(&format!("    {heading} {part}/{whole} objects {word} ({share:.3}%)"));
            heading = "        ";
        }
    }
    for state in list(pgs, "/pgs_by_state") {
        line(&format!("    {heading} {} {}", number(state, "/count"), text(state, "/state_name")));
        heading = "        ";
    }
    line(" ");
    let recovery = recovery_io(pgs);
    let client = client_io(pgs);
    let cache = cache_io(pgs);
    if client.is_some() || recovery.is_some() || cache.is_some() {
        line("  io:");
        client.iter().for_each(|io| line(&format!("    client:   {io}")));
        recovery.iter().for_each(|io| line(&format!("    recovery: {io}")));
        cache.iter().for_each(|io| line(&format!("    cache:    {io}")));
        line(" ");
    }
    let events = document.get("progress_events").and_then(Value::as_object);
    if let Some(events) = events.filter(|events| !events.is_empty()) {
        line("  progress:");
        for event in events.values() {
            line(&format!("    {}", text(event, "/message")));
            line(&format!("      {}", bar(real(event, "/progress"))));
            if let Some(remaining) = event.get("remaining_s").and_then(Value::as_u64) {
                line(&format!("      (remaining: {})", format_age(Duration::from_secs(remaining))));
            }
        }
        line(" ");
    }
    shown
}

/// `12 MiB/s, 3 objects/s`
fn recovery_io(pgs: &Value) -> Option<String> {
    let (rate, objects) = (number(pgs, "/recovering_bytes_per_sec"), number(pgs, "/recovering_objects_per_sec"));
    (rate > 0 || objects > 0).then(|| format!("{}/s, {} objects/s", bytes(rate), count(objects)))
}

/// `3 MiB/s flush, 12 MiB/s evict, 1 MiB/s promote`
fn cache_io(pgs: &Value) -> Option<String> {
    let rates = [("flush", "/flush_bytes_sec"), ("evict", "/evict_bytes_sec"), ("promote", "/promote_bytes_sec")];
    let shown: Vec<String> = rates
        .into_iter()
        .map(|(name, path)| (name, number(pgs, path)))
        .filter(|(_, rate)| *rate > 0)
        .map(|(name, rate)| format!("{}/s {name}", bytes(rate)))
        .collect();
    (!shown.is_empty()).then(|| shown.join(", "))
}

/// `[=======.....................] 25.0%`
fn bar(done: f64) -> String {
    const WIDTH: usize = 28;
    let done = done.clamp(0.0, 1.0);
    let filled = (done * WIDTH as f64) as usize;
    // What is not through is never shown as such.
    let percent = ((done + 1e-9) * 1000.0).floor() / 10.0;
    format!("[{}{}] {percent:.1}%", "=".repeat(filled), ".".repeat(WIDTH - filled))
}

/// `1 osds: 1 up (since 3m), 1 in (since 3m)`
fn osds(map: &Value) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = |path: &str| match number(map, path) {
        0 => String::new(),
        moment => format!(" (since {})", format_age(now.saturating_sub(Duration::from_secs(moment)))),
    };
    format!(
        "{} osds: {} up{}, {} in{}",
        number(map, "/num_osds"),
        number(map, "/num_up_osds"),
        since("/osd_up_since"),
        number(map, "/num_in_osds"),
        since("/osd_in_since")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn status_has_the_shape_of_ceph() {
        let document = json!({
            "fsid": "03fd6dd8-29c5-48f8-926d-3591a3c68114",
            "health": { "status": "HEALTH_WARN", "checks": { "POOL_NO_REDUNDANCY": {
                "severity": "HEALTH_WARN", "summary": { "message": "7 pool(s) have no replicas configured", "count": 7 } } } },
            "quorum_names": ["a"], "quorum_age": 211, "monmap": { "num_mons": 1 },
            "osdmap": { "epoch": 23, "num_osds": 1, "num_up_osds": 1, "num_in_osds": 1 },
            "pgmap": {
                "pgs_by_state": [{ "state_name": "active+clean", "count": 49 }], "num_pgs": 49, "num_pools": 7,
                "num_objects": 248, "data_bytes": 11880, "bytes_used": 304766976u64, "bytes_avail": 12580134912u64,
                "bytes_total": 12884901888u64, "read_bytes_sec": 310272, "write_bytes_sec": 16384,
                "read_op_per_sec": 309, "write_op_per_sec": 126,
            },
        });
        let expected = "  cluster:
    id:     03fd6dd8-29c5-48f8-926d-3591a3c68114
    health: HEALTH_WARN
            7 pool(s) have no replicas configured
 
  services:
    mon: 1 daemons, quorum a (age 3m)
    osd: 1 osds: 1 up, 1 in
 
  data:
    pools:   7 pools, 49 pgs
    objects: 248 objects, 12 KiB
    usage:   291 MiB used, 12 GiB / 12 GiB avail
    pgs:     49 active+clean
 
  io:
    client:   303 KiB/s rd, 16 KiB/s wr, 309 op/s rd, 126 op/s wr
 
";
        assert_eq!(render(&document), expected);
    }

    #[test]
    fn recovery_shows_how_far_it_is_and_when_it_will_be_through() {
        let mut document = json!({
            "pgmap": {
                "degraded_objects": 12, "degraded_total": 90, "misplaced_objects": 0, "misplaced_total": 90,
                "pgs_by_state": [{ "state_name": "active+undersized+degraded+remapped+backfilling", "count": 4 }],
                "recovering_bytes_per_sec": 12 << 20, "recovering_objects_per_sec": 3,
            },
            "progress_events": {
                "recovery": { "message": "Recovery (2m)", "progress": 0.2599, "remaining_s": 300 },
            },
        });
        let shown = render(&document);
        let expected = "    pgs:     12/90 objects degraded (13.333%)
             4 active+undersized+degraded+remapped+backfilling
 
  io:
    recovery: 12 MiB/s, 3 objects/s
 
  progress:
    Recovery (2m)
      [=======.....................] 25.9%
      (remaining: 5m)
 
";
        assert!(shown.ends_with(expected), "{shown}");
        document["progress_events"]["recovery"]["remaining_s"] = Value::Null;
        assert!(!render(&document).contains("remaining"));
    }

    #[test]
    fn what_the_tier_moves_shows_beside_the_clients() {
        let document =
            json!({ "pgmap": { "flush_bytes_sec": 3 << 20, "evict_bytes_sec": 0, "promote_bytes_sec": 1 << 20 } });
        let expected = "  io:\n    cache:    3 MiB/s flush, 1 MiB/s promote\n \n";
        assert!(render(&document).ends_with(expected), "{}", render(&document));
    }

    #[test]
    fn an_odd_document_is_shown_without_panic() {
        for document in [Value::Null, json!([]), json!({ "osdmap": 3, "health": [], "pgmap": { "pgs_by_state": {} } })]
        {
            assert!(render(&document).starts_with("  cluster:\n"));
        }
    }
}
