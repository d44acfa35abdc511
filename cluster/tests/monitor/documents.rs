//! JSON documents: Ceph's keys, and figures that are the sums and rates of what OSDs reported.

use super::harness::{Harness, boot, report, session_of};
use basalt_cluster::Pool;
use basalt_net::message::monitor::*;
use serde_json::{Value, json};
use std::time::Duration;

/// Every key of `ours` must include every key of `ceph`, all the way down, except those at the paths in `except`.
fn assert_has_keys(ceph: &Value, ours: &Value, path: &str, except: &[&str]) {
    match (ceph, ours) {
        (Value::Object(ceph), Value::Object(ours)) => {
            for (key, value) in ceph {
                let path = format!("{path}.{key}");
                if except.contains(&path.as_str()) {
                    continue;
                }
                let here = ours.get(key).unwrap_or_else(|| panic!("{path} is missing"));
                assert_has_keys(value, here, &path, except);
            }
        }
        (Value::Array(ceph), Value::Array(ours)) => {
            if let (Some(ceph), Some(ours)) = (ceph.first(), ours.first()) {
                assert_has_keys(ceph, ours, &format!("{path}[]"), except);
            }
        }
        (Value::Number(_), Value::Number(_))
        | (Value::String(_), Value::String(_))
        | (Value::Bool(_), Value::Bool(_)) => {}
        _ => panic!("{path} is {ours}, and Ceph's is {ceph}"),
    }
}

fn document(oracle: &str) -> Value {
    let json = oracle.split_once('\n').unwrap().1.rsplit_once("(exit").unwrap().0;
    serde_json::from_str(json).unwrap()
}

macro_rules! oracle {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/ceph-cli/", $name))
    };
}

fn pool_report(pool: u32) -> PoolReport {
    PoolReport {
        pool,
        objects: 10,
        data_bytes: 1 << 20,
        target_bytes: 1 << 30,
        hot_bytes: 3 << 20,
        dirty_bytes: 1 << 20,
        clean_bytes: 2 << 20,
        dirty_objects: 4,
        ..PoolReport::default()
    }
}

#[test]
fn status_has_cephs_keys() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("data", 8, 1);
    let ours = harness.json(AdminCommand::Status);
    let ceph = document(oracle!("status-json.txt"));
    let except = [".fsmap", ".mgrmap", ".monmap.min_mon_release_name", ".health.checks"];
    assert_has_keys(&ceph, &ours, "", &except);
    let redundancy = "POOL_NO_REDUNDANCY";
    assert_has_keys(&ceph["health"]["checks"][redundancy], &ours["health"]["checks"][redundancy], "", &[]);
    assert_eq!(ours["health"]["status"], "HEALTH_WARN");
    assert_eq!(ours["pgmap"]["pgs_by_state"], json!([{ "state_name": "active+clean", "count": 8 }]));
    assert_eq!(ours["fsid"], "6120636c-7573-7465-7227-732066736964");
}

#[test]
fn the_tree_has_cephs_keys() {
    let mut harness = Harness::with_osds(3, 0);
    let ours = harness.json(AdminCommand::OsdTree);
    let ceph = document(oracle!("osd-tree-json.txt"));
    for kind in ["root", "host", "osd"] {
        let of = |document: &Value| {
            document["nodes"].as_array().unwrap().iter().find(|node| node["type"] == kind).unwrap().clone()
        };
        assert_has_keys(&of(&ceph), &of(&ours), kind, &[]);
    }
    // The last first, as Ceph lists them.
    let root = ours["nodes"][0]["children"].as_array().unwrap();
    assert_eq!((root.len(), &root[1]), (2, &ours["nodes"][1]["id"]));
    assert_eq!(ours["nodes"][1]["children"], json!([1, 0]));
    assert_eq!((&ours["nodes"][1]["name"], &ours["nodes"][3]["name"]), (&json!("h0"), &json!("osd.1")));
    assert_eq!(ours["stray"], json!([]));
}

#[test]
fn one_line_answers_are_worded_as_cephs() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool(".rgw.root", 8, 1);
    harness.pass(Duration::from_secs(185));
    harness.request(session_of(0), MonitorRequest::Report(report(0)));
    let shape = |text: &str| -> String {
        let text = text.split(" (exit").next().unwrap();
        text.chars().filter(|character| !character.is_ascii_digit()).collect()
    };
    let second_line = |oracle: &'static str| oracle.lines().nth(1).unwrap();
    let stat = harness.command(AdminCommand::OsdStat).message;
    assert_eq!(stat, second_line(oracle!("osd-stat.txt")).replace("e23", &format!("e{}", harness.map().epoch())));
    let map = AdminCommand::OsdMap { pool: ".rgw.root".into(), name: b"someobject".to_vec() };
    let map = harness.command(map).message;
    assert_eq!(shape(&map), shape(second_line(oracle!("osd-map.txt"))));
    assert!(map.contains("-> pg 1.da2ea1a4 (1.4) -> up ([0], p0) acting ([0], p0)"), "{map}");
    let ceph = second_line(oracle!("pg-stat.txt"));
    let stat = harness.command(AdminCommand::PgStat).message;
    assert_eq!(stat, "8 pgs: 8 active+clean; 0 B data, 1 GiB used, 1023 GiB / 1 TiB avail");
    assert_eq!(
        shape(&stat).replace(" B data", " KiB data"),
        shape(ceph.split("; ").take(2).collect::<Vec<_>>().join("; ").as_str())
            .replace("MiB used", "GiB used")
            .replace("GiB avail", "TiB avail")
    );
}

#[test]
fn health_in_detail_is_worded_as_cephs() {
    let mut harness = Harness::with_osds(1, 0);
    for name in ["device_health_metrics", ".rgw.root"] {
        harness.create_pool(name, 1, 1);
    }
    let text = harness.command(AdminCommand::HealthDetail).message;
    let ceph: Vec<&str> = oracle!("health-detail.txt").lines().collect();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "HEALTH_WARN 2 pool(s) have no replicas configured");
    assert_eq!(lines[1].replace("2 pool", "7 pool"), ceph[8]);
    assert_eq!(lines[2..4], ceph[9..11]);
    // Beyond Ceph's words.
    assert!(lines[4].starts_with("    cause: ") && lines[5].starts_with("    remedy: "), "{text}");
    assert!(lines[5].ends_with("(docs/HEALTH.md#pool_no_redundancy)") && lines.len() == 6, "{text}");
    let document = harness.json(AdminCommand::HealthDetail);
    assert_eq!(
        document["checks"]["POOL_NO_REDUNDANCY"]["detail"][1]["message"],
        "pool '.rgw.root' has no replicas configured"
    );
}

#[test]
fn figures_are_the_sums_and_rates_of_what_the_osds_report() {
    let mut harness = Harness::with_osds(2, 1 << 30);
    harness.create_pool("data", 8, 1);
    for second in 0..4u64 {
        for osd in 0..2 {
            let mut pool = pool_report(1);
            pool.write_bytes = second * 3_000_000;
            pool.write_operations = second * 100;
            pool.read_bytes = second * 500_000;
            pool.read_operations = second * 40;
            pool.flushed_bytes = second * 200_000;
            pool.evicted_bytes = second * 100_000;
            pool.promoted_bytes = second * 50_000;
            pool.hit_reads = second * 30;
            pool.miss_reads = second * 10;
            (pool.recent_hit_reads, pool.recent_miss_reads) = (second * 30, second * 10);
            pool.slowed_writes = second * 7;
            pool.dirty_bytes_by_age = [1 << 20, 0, 0, 0];
            pool.oldest_dirty_s = 20 + u64::from(osd);
            // Of two OSDs with one reason each, the more urgent is told.
            pool.flush_reason = if osd == 0 { FlushReason::DirtyRatio } else { FlushReason::Age };
            (pool.wanted_flush_rate, pool.base_rate) = (250_000, 50 << 20);
            harness.request(session_of(osd), MonitorRequest::Report(OsdReport { pools: vec![pool], ..report(osd) }));
        }
        harness.pass(Duration::from_secs(1));
    }
    let status = harness.json(AdminCommand::Status);
    let pgmap = &status["pgmap"];
    for (key, value) in [
        ("num_objects", 20u64),
        ("data_bytes", 2 << 20),
        ("bytes_used", 2 << 30),
        ("bytes_total", 2 << 40),
        ("write_bytes_sec", 6_000_000),
        ("read_bytes_sec", 1_000_000),
        ("write_op_per_sec", 200),
        ("read_op_per_sec", 80),
        ("degraded_objects", 0),
        ("misplaced_objects", 0),
    ] {
        assert_eq!(pgmap[key], json!(value), "{key}");
    }
    let tier = harness.json(AdminCommand::TierStatus { pool: Some("data".into()) });
    assert_eq!(
        tier[0],
        json!({
            "pool_name": "data", "pool_id": 1, "mode": "writeback", "target_bytes": 2u64 << 30, "hot_bytes": 6 << 20,
            "dirty_bytes": 2 << 20, "clean_bytes": 4 << 20, "dirty_objects": 8, "flush_rate": 400_000,
            "evict_rate": 200_000, "promote_rate": 100_000, "hit_ratio": 0.75, "cached_pool": "data",
            "settings_pool": "data", "draining": false, "drained": false, "drain": null,
            "dirty_ratio": 0.001, "dirty_by_age": { "1m": 2 << 20, "10m": 0, "1h": 0, "older": 0 },
            "oldest_dirty_s": 21, "flush_reason": "dirty_ratio", "wanted_flush_rate": 500_000,
            "base_rate": 100 << 20, "slowed_write_rate": 14, "written_through_rate": 0,
            "doing": "flushes: 0.00 of the target is dirty, where cache_target_dirty_ratio is 0.4; wants 488 KiB/s of the 100 MiB/s that the disks sustain; 14 writes a second are slowed",
        })
    );
    let stats = harness.json(AdminCommand::PoolStats { name: Some("data".into()) });
    assert_eq!(stats[0]["client_io_rate"]["write_op_per_sec"], 200);
    let df = harness.json(AdminCommand::Df);
    assert_eq!(df["pools"][0]["stats"]["stored"], 2 << 20);
    assert_eq!(df["pools"][0]["stats"]["objects"], 20);
    assert_eq!(df["stats"]["total_bytes"], 2u64 << 40);
    // No newer report: what is not happening any more has no rate.
    harness.pass(Duration::from_secs(10));
    assert_eq!(harness.json(AdminCommand::Status)["pgmap"]["write_bytes_sec"], 0);
}

#[test]
fn an_osd_that_starts_again_makes_no_rate_of_its_old_counters() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("data", 8, 1);
    harness.pass(Duration::from_secs(1));
    for (bytes, expected) in [(5_000_000u64, 5_000_000), (6_000_000, 1_000_000), (100, 0), (50_100, 50_000)] {
        let pool = PoolReport { write_bytes: bytes, ..pool_report(1) };
        harness.request(session_of(0), MonitorRequest::Report(OsdReport { pools: vec![pool], ..report(0) }));
        assert_eq!(harness.json(AdminCommand::Status)["pgmap"]["write_bytes_sec"], expected, "{bytes}");
        harness.pass(Duration::from_secs(1));
    }
}

#[test]
fn the_largest_figures_a_report_can_hold_do_no_harm() {
    let mut harness = Harness::with_osds(3, 1 << 30);
    harness.create_pool("data", 8, 2);
    let huge = PoolReport {
        objects: u64::MAX,
        data_bytes: u64::MAX,
        omap_bytes: u64::MAX,
        hit_reads: u64::MAX,
        miss_reads: u64::MAX,
        read_operations: u64::MAX,
        write_operations: u64::MAX,
        read_bytes: u64::MAX,
        ..pool_report(1)
    };
    for round in 0..2 {
        for osd in 0..3 {
            let pools = if round == 0 { vec![pool_report(1)] } else { vec![huge.clone(); 3] };
            let report = OsdReport {
                base_total_bytes: u64::MAX,
                base_used_bytes: u64::MAX,
                base_promised_bytes: u64::MAX,
                hot_total_bytes: u64::MAX,
                checksum_errors: u64::MAX,
                fault: "wrong\n\x1b[31m".repeat(1000),
                pools,
                ..report(osd)
            };
            harness.request(session_of(osd), MonitorRequest::Report(report));
        }
        harness.pass(Duration::from_secs(1));
    }
    for command in [
        AdminCommand::Status,
        AdminCommand::HealthDetail,
        AdminCommand::Df,
        AdminCommand::OsdDf,
        AdminCommand::OsdTree,
        AdminCommand::OsdDump,
        AdminCommand::OsdLs,
        AdminCommand::Versions,
        AdminCommand::PgStat,
        AdminCommand::PgDump,
        AdminCommand::PoolStats { name: None },
        AdminCommand::PoolGetQuota { name: "data".into() },
        AdminCommand::TierStatus { pool: None },
    ] {
        harness.json(command);
    }
}

#[test]
fn what_is_wrong_with_osds_is_in_the_health() {
    let mut harness = Harness::with_osds(4, 1 << 30);
    harness.create_pool("data", 8, 1);
    let fenced = OsdReport { fault: "write of 4096 bytes failed: EIO".into(), ..report(2) };
    let tier = PoolReport { hot_bytes: 95, target_bytes: 100, ..pool_report(1) };
    let rotten = OsdReport { checksum_errors: 3, pools: vec![tier], ..report(3) };
    for report in [fenced, rotten] {
        harness.request(session_of(report.osd), MonitorRequest::Report(report));
    }
    let health = harness.json(AdminCommand::HealthDetail);
    assert_eq!(health["status"], "HEALTH_ERR");
    for (code, detail) in [
        ("OSD_STORE_FAULT", "osd.2: write of 4096 bytes failed: EIO"),
        ("OSD_CHECKSUM_ERRORS", "osd.3 had 3 checksum errors since its start"),
        ("CACHE_POOL_NEAR_FULL", "cache pool 'data' with 95 B at/near target max 100 B"),
    ] {
        assert_eq!(health["checks"][code]["detail"][0]["message"], detail, "{code}");
    }
}

#[test]
fn a_pool_with_more_copies_than_in_sync_members_says_so() {
    let mut harness = Harness::with_osds(6, 0);
    harness.create_pool("three", 4, 3);
    let states = |harness: &mut Harness, reporting: &[u32]| {
        for _ in 0..25 {
            for osd in reporting {
                harness.request(session_of(*osd), MonitorRequest::Report(report(*osd)));
            }
            harness.tick_for(1);
        }
        harness.json(AdminCommand::Status)
    };
    let status = states(&mut harness, &[0, 1, 2, 3]);
    let expected = json!([{ "state_name": "active+undersized+degraded", "count": 4 }]);
    assert_eq!(status["pgmap"]["pgs_by_state"], expected);
    let status = states(&mut harness, &[0, 1]);
    let expected = json!([{ "state_name": "undersized+degraded+peered", "count": 4 }]);
    assert_eq!(status["pgmap"]["pgs_by_state"], expected);
    let checks = &status["health"]["checks"];
    assert_eq!(checks["PG_DEGRADED"]["summary"]["count"], 4);
    assert_eq!(checks["PG_AVAILABILITY"]["summary"]["count"], 4);
}

#[test]
fn an_answer_too_long_to_send_is_refused_with_its_size() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("wide", 65_536, 1);
    let reply = harness.command(AdminCommand::PgDump);
    if reply.errno != 0 {
        assert_eq!(reply.errno, libc::EOVERFLOW);
    }
    assert!(reply.json.len() + reply.message.len() <= basalt_cluster::limits::REPLY_BYTES_MAX);
    // Every member is down: the health names some groups, and counts the others.
    harness.tick_for(60);
    let health = harness.json(AdminCommand::HealthDetail);
    let detail = health["checks"]["PG_AVAILABILITY"]["detail"].as_array().unwrap();
    assert_eq!(detail.len(), 51);
    assert_eq!(detail[50]["message"], "... and 65486 more");
}

#[test]
fn more_groups_than_a_map_may_have_are_refused() {
    use basalt_cluster::limits::{PG_COUNT_MAX, PG_NUM_MAX};
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("wide", PG_NUM_MAX, 1);
    let mut map = harness.core.map().clone();
    let wide = map.pools[0].clone();
    for id in 2..=(PG_COUNT_MAX / u64::from(PG_NUM_MAX)) as u32 {
        map.pools.push(Pool { id, name: format!("wide-{id}"), ..wide.clone() });
        map.pool_id_max = id;
    }
    harness.stored.newest_map = Some((map.epoch(), map.encode()));
    let mut harness = Harness::restored(harness.stored);
    let refused =
        harness.command(AdminCommand::PoolCreate { name: "one more".into(), pg_num: Some(1), rule: None, size: None });
    assert_eq!(refused.errno, libc::ERANGE, "{}", refused.message);
}

#[test]
fn words_that_name_nothing_are_refused() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("there", 8, 1);
    let name = || "nopool".to_string();
    for command in [
        AdminCommand::PoolSet { name: name(), variable: "size".into(), value: "2".into() },
        AdminCommand::PoolGet { name: name(), variable: "size".into() },
        AdminCommand::PoolRename { name: name(), to: "other".into() },
        AdminCommand::PoolStats { name: Some(name()) },
        AdminCommand::TierStatus { pool: Some(name()) },
        AdminCommand::PoolGetQuota { name: name() },
        AdminCommand::PoolApplication { name: name(), action: "get".into(), application: String::new() },
        AdminCommand::OsdMap { pool: name(), name: b"x".to_vec() },
    ] {
        let reply = harness.command(command);
        assert_eq!((reply.errno, reply.message.as_str()), (libc::ENOENT, "unrecognized pool 'nopool'"));
        assert_eq!(reply.json, "null");
    }
    for wrong in ["", "a/b", "a\nb", &"x".repeat(257)] {
        let create = AdminCommand::PoolCreate { name: wrong.into(), pg_num: None, rule: None, size: None };
        assert_eq!(harness.command(create).errno, libc::EINVAL);
        let rename = AdminCommand::PoolRename { name: "there".into(), to: wrong.into() };
        assert_eq!(harness.command(rename).errno, libc::EINVAL);
    }
    let create = |size| AdminCommand::PoolCreate { name: "new".into(), pg_num: None, rule: None, size: Some(size) };
    let reply = harness.command(create(2));
    assert_eq!(
        reply.message,
        "pool size 2 needs 2 OSDs to keep the copies apart, and this cluster has 1: choose at most 1, or add OSDs"
    );
    assert_eq!(harness.command(create(0)).message, "pool size must be between 1 and 10");
    let long = AdminCommand::PoolGet { name: "there".into(), variable: "v".repeat(5000) };
    assert_eq!(harness.command(long).errno, libc::E2BIG);
}

#[test]
fn a_pool_lives_as_its_administrator_says() {
    let mut harness = Harness::with_osds(2, 1 << 30);
    harness.create_pool("a", 8, 1);
    let get = |harness: &mut Harness, variable: &str| {
        let command = AdminCommand::PoolGet { name: "b".into(), variable: variable.into() };
        harness.json(command)[variable].clone()
    };
    let reply = harness.command(AdminCommand::PoolRename { name: "a".into(), to: "b".into() });
    assert_eq!(reply.message, "pool 'a' renamed to 'b'");
    assert_eq!(get(&mut harness, "cache_mode"), "writeback");
    let application = |action: &str| AdminCommand::PoolApplication {
        name: "b".into(),
        action: action.into(),
        application: "rbd".into(),
    };
    assert_eq!(harness.command(application("enable")).message, "enabled application 'rbd' on pool 'b'");
    assert_eq!(harness.json(application("get")), json!({ "rbd": {} }));
    assert_eq!(harness.command(application("disable")).errno, 0);
    assert_eq!(harness.json(application("get")), json!({}));
    let rm = |again: &str, sure| AdminCommand::PoolRm { name: "b".into(), again: again.into(), sure };
    for (again, sure) in [("b", false), ("a", true), ("", true)] {
        assert_eq!(harness.command(rm(again, sure)).errno, libc::EPERM);
    }
    let nodelete =
        |value: &str| AdminCommand::PoolSet { name: "b".into(), variable: "nodelete".into(), value: value.into() };
    harness.command(nodelete("true"));
    assert!(harness.command(rm("b", true)).message.contains("you must unset nodelete flag"));
    harness.command(nodelete("false"));
    assert_eq!(harness.command(rm("b", true)).message, "pool 'b' removed");
    assert_eq!(harness.json(AdminCommand::PoolLs { detail: false }), json!([]));
    // An id is not used again: an OSD that missed the removal must not take the new pool's objects for the old one's.
    harness.create_pool("b", 8, 1);
    assert_eq!(harness.map().pool_by_name("b").unwrap().id, 2);
}

#[test]
fn a_pool_that_is_made_without_hot_slices_has_no_tier() {
    let mut harness = Harness::with_osds(1, 0);
    harness.create_pool("plain", 8, 1);
    assert_eq!(harness.json(AdminCommand::TierStatus { pool: None })[0]["mode"], "none");
    harness.request(session_of(1), MonitorRequest::Boot(OsdBoot { hot_bytes: 1 << 30, ..boot(1) }));
    harness.create_pool("tiered", 8, 1);
    assert_eq!(harness.json(AdminCommand::TierStatus { pool: None })[1]["mode"], "writeback");
}
