//! Where the space goes: `osd df` by OSD, in Ceph's columns, and how much is used for each byte that users stored.

use super::harness::{Harness, report, session_of};
use basalt_net::message::monitor::*;
use serde_json::Value;

const MIB: u64 = 1 << 20;

fn df(harness: &mut Harness) -> Value {
    harness.json(AdminCommand::OsdDf)
}

#[test]
fn data_omap_and_what_the_store_itself_needs_are_told_apart() {
    let mut harness = Harness::with_osds(2, 1 << 34);
    harness.create_pool("data", 8, 1);
    for osd in 0..2 {
        let pool = PoolReport { pool: 1, data_bytes: 100 * MIB, omap_bytes: 20 * MIB, ..PoolReport::default() };
        let report = OsdReport {
            base_used_bytes: 110 * MIB,
            hot_used_bytes: 70 * MIB,
            index_bytes: 30 * MIB,
            log_bytes: 64 * MIB,
            pools: vec![pool],
            ..report(osd)
        };
        harness.request(session_of(osd), MonitorRequest::Report(report));
    }
    let df = df(&mut harness);
    for node in df["nodes"].as_array().unwrap() {
        assert_eq!(node["kb_used"], 110 << 10);
        assert_eq!(node["kb_used_data"], 100 << 10);
        assert_eq!(node["kb_used_omap"], 20 << 10);
        assert_eq!(node["kb_used_meta"], (30 - 20 + 64) << 10, "the index without omap, and the log");
        assert_eq!(node["space_amplification"], 1.5, "180 MiB on both devices for 120 MiB");
    }
    let summary = &df["summary"];
    assert_eq!(summary["total_kb_used_data"], 200 << 10);
    assert_eq!(summary["total_kb_used_omap"], 40 << 10);
    assert_eq!(summary["total_kb_used_meta"], 148 << 10);
    assert_eq!(summary["space_amplification"], 1.5);
}

#[test]
fn what_is_used_for_nothing_stored_has_no_ratio() {
    let mut harness = Harness::with_osds(1, 0);
    let df = df(&mut harness);
    assert_eq!(df["nodes"][0]["space_amplification"], Value::Null);
    assert_eq!(df["summary"]["space_amplification"], Value::Null);
}
