//! `status`: the cluster at a glance.

use super::{bare, client_io, list, number, text};
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
    let not_whole = [("/degraded_objects", "degraded"), ("/misplaced_objects", "misplaced")];
    for (path, word) in not_whole {
        if number(pgs, path) > 0 {
            line(&format!("             {} objects {word}", count(number(pgs, path))));
        }
    }
    let mut heading = "pgs:    ";
    for state in list(pgs, "/pgs_by_state") {
        line(&format!("    {heading} {} {}", number(state, "/count"), text(state, "/state_name")));
        heading = "        ";
    }
    line(" ");
    if let Some(io) = client_io(pgs) {
        line("  io:");
        line(&format!("    client:   {io}"));
        line(" ");
    }
    shown
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
    fn an_odd_document_is_shown_without_panic() {
        for document in [Value::Null, json!([]), json!({ "osdmap": 3, "health": [], "pgmap": { "pgs_by_state": {} } })]
        {
            assert!(render(&document).starts_with("  cluster:\n"));
        }
    }
}
