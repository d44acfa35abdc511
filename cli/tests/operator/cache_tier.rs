//! The cache tier of the usual tutorial, set up word for word as on Ceph, on hard disks with slices of SSDs in front of them.

use crate::dev_cluster::{DevCluster, noise};
use serde_json::Value;
use std::time::{Duration, Instant};

const SET_UP: &[&str] = &[
    "osd crush rule create-replicated on-hdd default osd hdd",
    "osd crush rule create-replicated on-ssd default osd ssd",
    "osd pool create cold-storage 16 --rule on-hdd --size 2",
    "osd pool create hot-storage 16 --rule on-ssd --size 2",
    "osd tier add cold-storage hot-storage",
    "osd tier cache-mode hot-storage writeback",
    "osd tier set-overlay cold-storage hot-storage",
    "osd pool set hot-storage target_max_bytes 200M",
    "osd pool set hot-storage hit_set_count 4",
    "osd pool set hot-storage hit_set_period 1200",
    "osd pool set hot-storage cache_min_flush_age 600",
    "osd pool set hot-storage cache_min_evict_age 1800",
    "osd pool set hot-storage min_read_recency_for_promote 2",
    "osd pool set hot-storage min_write_recency_for_promote 0",
    "osd pool set hot-storage cache_target_dirty_ratio 0.4",
    "osd pool set hot-storage cache_target_dirty_high_ratio 0.6",
    "osd pool set hot-storage cache_target_full_ratio 0.8",
];

fn must(cluster: &DevCluster, line: &str) -> String {
    String::from_utf8(cluster.must(&line.split(' ').collect::<Vec<_>>())).unwrap()
}

fn tier(cluster: &DevCluster, pool: &str) -> Value {
    cluster.must_json(&["osd", "tier", "status", pool])[0].clone()
}

fn put_all(cluster: &DevCluster, pool: &str, indices: std::ops::Range<u64>) {
    for index in indices {
        let name = format!("object {index}");
        let answer = cluster.run_with_stdin(&["obj", "put", pool, &name, "-"], &noise(index, 1 << 20));
        assert_eq!(answer.status, 0, "{}", answer.stderr);
    }
}

fn check_all(cluster: &DevCluster, pool: &str, count: u64) {
    for index in 0..count {
        let bytes = cluster.must(&["obj", "get", pool, &format!("object {index}"), "-"]);
        assert!(bytes == noise(index, 1 << 20), "object {index} of {pool}");
    }
}

fn wait_for(what: &str, limit: Duration, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < limit, "no {what} within {limit:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_usual_tutorial_gives_a_cache_that_is_filled_drained_and_taken_away() {
    let mut cluster = DevCluster::start_with(&["--osds", "3", "--base", "1G", "--hot", "256M", "--base-model", "hdd"]);
    for line in SET_UP {
        must(&cluster, line);
    }
    put_all(&cluster, "cold-storage", 0..24);
    wait_for("dirty bytes in the cache", Duration::from_secs(30), || {
        tier(&cluster, "hot-storage")["dirty_bytes"].as_u64().unwrap() >= 40 << 20
    });
    let status = tier(&cluster, "cold-storage");
    assert_eq!((&status["mode"], &status["settings_pool"]), (&"writeback".into(), &"hot-storage".into()), "{status}");
    assert_eq!(must(&cluster, "obj ls hot-storage"), "", "the cache pool stores nothing of the other");
    must(&cluster, "osd tier drain hot-storage");
    assert_eq!(tier(&cluster, "cold-storage")["hot_bytes"], 0);
    check_all(&cluster, "cold-storage", 24);

    // Taken away as Ceph's documentation has it.
    must(&cluster, "osd tier cache-mode hot-storage proxy");
    must(&cluster, "osd tier rm-overlay cold-storage");
    must(&cluster, "osd tier rm cold-storage hot-storage");
    put_all(&cluster, "cold-storage", 24..28);
    // With the reports that count these objects come the bytes that are dirty by them.
    wait_for("report of the last writes", Duration::from_secs(30), || {
        let df = cluster.must_json(&["df"]);
        let mut pools = df["pools"].as_array().unwrap().iter();
        pools.any(|pool| pool["name"] == "cold-storage" && pool["stats"]["objects"] == 28)
    });
    assert_eq!(tier(&cluster, "cold-storage")["dirty_bytes"], 0, "it is not cached any more");

    // What is left is a pool on SSDs, at home on the slices.
    put_all(&cluster, "hot-storage", 0..8);
    cluster.run(&["osd", "tier", "drain", "hot-storage"]).assert_fails(libc::EINVAL, "EINVAL");
    assert!(cluster.stop().success());
    cluster.start_again();
    check_all(&cluster, "cold-storage", 28);
    check_all(&cluster, "hot-storage", 8);
    wait_for("report of the slices", Duration::from_secs(30), || {
        tier(&cluster, "hot-storage")["hot_bytes"].as_u64().unwrap() == 16 << 20
    });
}

/// The slices of a pool's OSDs do not fill alike: what one OSD orders, another has to take.
#[test]
fn full_slices_refuse_clients_and_leave_all_copies_whole() {
    let cluster = DevCluster::start_with(&["--osds", "3", "--base", "1G", "--hot", "64M", "--base-model", "hdd"]);
    must(&cluster, "osd crush rule create-replicated on-ssd default osd ssd");
    must(&cluster, "osd pool create fast 16 --rule on-ssd --size 2");
    let mut refused = 0;
    for index in 0..120u64 {
        let name = format!("object {index}");
        let answer = cluster.run_with_stdin(&["obj", "put", "fast", &name, "-"], &noise(index, 1 << 20));
        if answer.status != 0 {
            answer.assert_fails(libc::ENOSPC, "ENOSPC");
            refused += 1;
        }
    }
    assert!(
        refused > 20,
        "three slices of 64 MiB hold 96 objects of 1 MiB twice at most: {refused} of 120 were refused"
    );
    wait_for("clean cluster", Duration::from_secs(60), || {
        let status = cluster.must_json(&["status"]);
        let states = status["pgmap"]["pgs_by_state"].as_array().unwrap();
        states.iter().all(|state| state["state_name"] == "active+clean")
    });
    for index in (0..120u64).rev() {
        let name = format!("object {index}");
        let answer = cluster.run(&["obj", "get", "fast", &name, "-"]);
        assert!(answer.status == libc::ENOENT || answer.stdout == noise(index, 1 << 20), "{name}: {}", answer.stderr);
        if answer.status == 0 {
            cluster.must(&["obj", "rm", "fast", &name]);
        }
    }
    put_all(&cluster, "fast", 0..8);
    check_all(&cluster, "fast", 8);
}
