//! What the monitor makes of latencies, slow requests and groups that are not settled.

use crate::harness::*;
use basalt_net::message::monitor::*;
use serde_json::{Value, json};
use std::time::Duration;

fn perf(harness: &mut Harness) -> Vec<Value> {
    let document = harness.json(AdminCommand::OsdPerf);
    document["osdstats"]["osd_perf_infos"].as_array().unwrap().clone()
}

#[test]
fn a_latency_is_the_mean_of_what_ended_between_two_reports() {
    let mut harness = Harness::with_osds(2, 0);
    let counted =
        |commits, commit_ns, applies, apply_ns| OsdReport { commits, commit_ns, applies, apply_ns, ..report(0) };
    for (seen, commit_ms, apply_ms) in [
        (counted(10, 20_000_000, 5, 50_000_000), 2, 10),
        (counted(14, 40_000_000, 7, 56_000_000), 5, 3),
        // Nothing has ended since.
        (counted(14, 40_000_000, 7, 56_000_000), 0, 0),
        // It has started again.
        (counted(1, 9_000_000, 0, 0), 0, 0),
    ] {
        harness.pass(Duration::from_secs(1));
        harness.request(session_of(0), MonitorRequest::Report(seen));
        let infos = perf(&mut harness);
        assert_eq!(infos.iter().map(|info| info["id"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
        let stats = &infos[0]["perf_stats"];
        assert_eq!((&stats["commit_latency_ms"], &stats["apply_latency_ms"]), (&json!(commit_ms), &json!(apply_ms)));
        assert_eq!(infos[1]["perf_stats"]["commit_latency_ns"], 0);
    }
    let huge =
        OsdReport { stuck_requests: u64::MAX, stuck_oldest_ms: u64::MAX, ..counted(u64::MAX, u64::MAX, 1, u64::MAX) };
    harness.pass(Duration::from_secs(1));
    harness.request(session_of(0), MonitorRequest::Report(huge.clone()));
    harness.request(session_of(1), MonitorRequest::Report(OsdReport { osd: 1, ..huge }));
    perf(&mut harness);
    assert_eq!(harness.command(AdminCommand::HealthDetail).errno, 0);
}

#[test]
fn requests_that_are_stuck_are_in_the_health_until_they_are_not() {
    let mut harness = Harness::with_osds(2, 0);
    let stuck = OsdReport { stuck_requests: 3, stuck_oldest_ms: 45_000, ..report(1) };
    harness.request(session_of(1), MonitorRequest::Report(stuck));
    let health = harness.json(AdminCommand::HealthDetail);
    let check = &health["checks"]["SLOW_OPS"];
    assert_eq!(check["summary"]["message"], "3 slow ops, oldest one blocked for 45 sec");
    let line = check["detail"][0]["message"].as_str().unwrap();
    assert!(line.starts_with("osd.1 has 3 slow ops, the oldest for 45s"), "{line}");
    assert_eq!(check["chapter"], "docs/HEALTH.md#slow_ops");
    harness.request(session_of(1), MonitorRequest::Report(report(1)));
    assert!(harness.json(AdminCommand::HealthDetail)["checks"].get("SLOW_OPS").is_none());
}

#[test]
fn a_group_says_for_how_long_it_has_not_been_settled() {
    let mut harness = Harness::with_osds(2, 0);
    harness.create_pool("data", 1, 2);
    let (_, _, group) = harness.map().pgs().next().unwrap();
    let (primary, reign) = (group.primary.unwrap(), group.reign);
    let waits = GroupReport { pool: 1, pg: 0, reign, waits_for: "its peers".into(), ..GroupReport::default() };
    let query = |harness: &mut Harness| harness.json(AdminCommand::PgQuery { pg: "1.0".into() });
    assert_eq!(query(&mut harness)["unsettled_s"], Value::Null);
    for second in 0..5_u64 {
        let groups = vec![waits.clone()];
        harness.request(session_of(primary), MonitorRequest::Report(OsdReport { groups, ..report(primary) }));
        assert_eq!(query(&mut harness)["unsettled_s"], second);
        harness.pass(Duration::from_secs(1));
    }
    let text = harness.command(AdminCommand::PgQuery { pg: "1.0".into() }).message;
    assert!(text.contains("Clients are not served: that takes 1 member at least"), "{text}");
    assert!(text.contains("It has not been settled for 5s.\n") && text.contains("- its peers\n"), "{text}");
    harness.request(session_of(primary), MonitorRequest::Report(report(primary)));
    let settled = query(&mut harness);
    assert_eq!((&settled["unsettled_s"], &settled["in_words"][3]), (&Value::Null, &json!("Clients are served.")));
}
