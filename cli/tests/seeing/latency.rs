//! `osd perf`, slow requests, and `pg query` in words.

use crate::dev_cluster::{DevCluster, noise};
use std::time::{Duration, Instant};

fn text(cluster: &DevCluster, words: &[&str]) -> String {
    String::from_utf8(cluster.must(words)).unwrap()
}

/// On a disk of 7200 rpm, with no hot slice, whatever takes longer than 10 ms is slow.
fn slow_cluster() -> DevCluster {
    let mut cluster = DevCluster::start_with(&["--base", "1G", "--hot", "0", "--base-model", "hdd"]);
    assert!(cluster.stop().success());
    let file = cluster.config();
    let config = std::fs::read_to_string(&file).unwrap();
    let with_limit = config.replacen("[osd]\n", "[osd]\nosd_op_complaint_time = \"10ms\"\n", 1);
    assert_ne!(config, with_limit);
    std::fs::write(&file, with_limit).unwrap();
    cluster.start_again();
    cluster
}

#[test]
fn a_slow_request_is_logged_counted_and_shown_with_its_slow_stage() {
    let cluster = slow_cluster();
    for number in 0..10 {
        assert_eq!(cluster.put(format!("slow-{number}"), &noise(number, 20_000)).status, 0);
    }
    let document = cluster.must_json(&["osd", "slow-ops", "0"]);
    let osd = &document["osds"][0];
    assert_eq!((&osd["osd"], &osd["complaint_time_ms"]), (&0.into(), &10.into()));
    assert!(osd["num_slow_answered"].as_u64().unwrap() > 0, "{osd}");
    let slow = osd["slow_answered"].as_array().unwrap().iter().find(|request| request["op"] == "write").unwrap();
    assert!(slow["took_ms"].as_f64().unwrap() >= 10.0, "{slow}");
    let stages = slow["stages_ms"].as_object().unwrap();
    let slowest = stages.iter().max_by(|a, b| a.1.as_f64().unwrap().total_cmp(&b.1.as_f64().unwrap())).unwrap();
    assert_eq!(slow["slow_stage"].as_str(), Some(slowest.0.as_str()), "{slow}");
    let total: f64 = stages.values().map(|ms| ms.as_f64().unwrap()).sum();
    assert!((total - slow["took_ms"].as_f64().unwrap()).abs() < 0.01, "{slow}");
    let shown = text(&cluster, &["osd", "slow-ops"]);
    assert!(shown.starts_with("osd.0: ") && shown.contains("most of it "), "{shown}");
    let log = cluster.log();
    assert!(log.contains("slow request") && log.contains("slow_stage"), "{log}");
    // The probe of the start may be among them, too; ours are.
    assert!(shown.contains("write of 'slow-"), "{shown}");
    cluster.run(&["osd", "slow-ops", "7"]).assert_fails(2, "ENOENT");
    cluster.run(&["osd", "slow-ops", "first"]).assert_fails(22, "EINVAL");
}

#[test]
fn latencies_of_each_osd_are_shown_as_ceph_shows_them() {
    let cluster =
        DevCluster::start_with(&["--osds", "2", "--size", "2", "--base", "1G", "--hot", "0", "--base-model", "hdd"]);
    let begun = Instant::now();
    loop {
        assert_eq!(cluster.put("object", &noise(1, 20_000)).status, 0);
        let document = cluster.must_json(&["osd", "perf"]);
        let infos = document["osdstats"]["osd_perf_infos"].as_array().unwrap();
        assert_eq!(infos.iter().map(|info| info["id"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
        // Both copies are committed to a disk that takes milliseconds.
        let commit = |index: usize| infos[index]["perf_stats"]["commit_latency_ns"].as_u64().unwrap();
        if commit(0) > 500_000 && commit(1) > 500_000 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{document}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let shown = text(&cluster, &["osd", "perf"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["osd", "commit_latency(ms)", "apply_latency(ms)"]);
    assert_eq!(lines.len(), 3, "{shown}");
}

#[test]
fn a_group_says_in_words_who_leads_it_what_is_in_sync_and_what_it_waits_for() {
    let mut cluster = DevCluster::start_with(&["--osds", "2", "--hosts", "2", "--base", "1G", "--hot", "0"]);
    let begun = Instant::now();
    let said = loop {
        let said = text(&cluster, &["pg", "query", "1.0"]);
        if said.contains("active+clean") {
            break said;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{said}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(said.starts_with("pg 1.0 of pool 'data' is active+clean.\nIts primary is osd."), "{said}");
    assert!(said.contains(", 2 of the 2 copies that the pool asks for.\nClients are served.\n"), "{said}");
    assert!(said.ends_with("It waits for nothing.\n"), "{said}");
    assert_eq!(cluster.must_json(&["pg", "query", "1.0"])["in_words"][0], "pg 1.0 of pool 'data' is active+clean.");
    let pid = std::fs::read_to_string(cluster.dir().join("run/host.1.pid")).unwrap();
    assert!(std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    let begun = Instant::now();
    let said = loop {
        let said = text(&cluster, &["pg", "query", "1.0"]);
        if said.contains("It waits for:") && said.contains("down for") {
            break said;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{said}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert!(said.contains("osd.1 of host host.1, which is down for "), "{said}");
    assert!(said.contains("By the map it belongs on ") || said.contains("1 of them up"), "{said}");
    let health = text(&cluster, &["health", "detail"]);
    assert!(
        health.contains("[WRN] OSD_DOWN: ") && health.contains("    cause: ") && health.contains("#osd_down)"),
        "{health}"
    );
    let short = cluster.must_json(&["health"]);
    assert_eq!(short["checks"]["OSD_DOWN"].get("remedy"), None);
    cluster.stop();
}
