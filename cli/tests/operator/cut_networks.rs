//! One of a host's two networks is cut. Without the cluster network its OSDs are of no use, and go down until it heals; without the
//! public one they keep their copies, clients go on elsewhere, and health says what is wrong.

use crate::hosts::seconds;
use crate::namespaces::{Namespaces, Network, namespaces_are_here};
use serde_json::Value;
use std::process::Child;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(40);
const POLL: Duration = Duration::from_millis(200);

fn wait_for(cluster: &Namespaces, what: &str, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < TIMEOUT, "no {what}: {}\n{}", cluster.must(&["status"]), cluster.log());
        std::thread::sleep(POLL);
    }
    begun.elapsed()
}

fn stays_for(cluster: &Namespaces, what: &str, time: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        assert!(is_so(), "not {what} after {:?}: {}\n{}", begun.elapsed(), cluster.must(&["status"]), cluster.log());
        std::thread::sleep(POLL);
    }
}

fn up(cluster: &Namespaces) -> u64 {
    cluster.must_json(&["status"])["osdmap"]["num_up_osds"].as_u64().unwrap()
}

fn is_up(cluster: &Namespaces, osd: u32) -> bool {
    let dump = cluster.must_json(&["osd", "dump"]);
    dump["osds"].as_array().unwrap().iter().any(|entry| entry["osd"] == osd && entry["up"] == 1)
}

fn is_clean(cluster: &Namespaces) -> bool {
    let states = cluster.must_json(&["status"])["pgmap"]["pgs_by_state"].clone();
    up(cluster) == 3 && states.as_array().unwrap().iter().all(|state| state["state_name"] == "active+clean")
}

fn health(cluster: &Namespaces) -> Value {
    cluster.must_json(&["health", "detail"])
}

fn bench(cluster: &Namespaces, runtime_s: u32) -> Child {
    let runtime = format!("--runtime={runtime_s}");
    let words = [
        "bench",
        "--pool=data",
        "--name=load",
        "--rw=randwrite",
        "--bs=4k",
        "--iodepth=8",
        "--size=16M",
        "--time_based",
        "--rate_iops=300",
        "--verify=crc32c",
        "--output-format=json",
        &runtime,
    ];
    cluster.command(&words).spawn().unwrap()
}

/// The longest pause, in seconds. Nothing failed, and all that was acknowledged is there.
fn must_end(cluster: &Namespaces, bench: Child) -> f64 {
    let output = bench.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}\n{}", cluster.log()));
    let job = &report["jobs"][0];
    assert_eq!(
        (&job["error"], &job["verify"]["mismatches"]),
        (&0.into(), &0.into()),
        "{said}{job:#}\n{}",
        cluster.log()
    );
    seconds(&job["write"]["clat_ns"]["max"])
}

fn start(dir: &std::path::Path) -> Namespaces {
    let cluster = Namespaces::start(dir, 3);
    wait_for(&cluster, "three OSDs", || cluster.run(&["status"]).status.success() && up(&cluster) == 3);
    cluster.must(&["osd", "pool", "create", "data", "16", "--size", "3"]);
    wait_for(&cluster, "clean cluster", || is_clean(&cluster));
    cluster
}

#[test]
fn a_cut_cluster_network_takes_the_hosts_osds_down_until_it_heals() {
    if !namespaces_are_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path());
    let load = bench(&cluster, 16);
    std::thread::sleep(Duration::from_secs(1));
    cluster.cut(1, Network::Cluster);
    let noticed = wait_for(&cluster, "osd.1 down", || !is_up(&cluster, 1));
    stays_for(&cluster, "down", Duration::from_secs(7), || !is_up(&cluster, 1) && up(&cluster) == 2);
    cluster.heal(1, Network::Cluster);
    let back = wait_for(&cluster, "clean cluster", || is_clean(&cluster));
    let pause = must_end(&cluster, load);
    println!(
        "cluster network cut: down after {noticed:.1?}, clean {back:.1?} after it healed, longest pause {pause:.2} s"
    );
    assert!(!cluster.log().contains("backfill begins"), "{}", cluster.log());
}

#[test]
fn a_cut_public_network_is_a_warning_and_clients_go_on_elsewhere() {
    if !namespaces_are_here() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let cluster = start(dir.path());
    let load = bench(&cluster, 20);
    std::thread::sleep(Duration::from_secs(1));
    cluster.cut(2, Network::Public);
    let named = wait_for(&cluster, "warning", || {
        assert_eq!(up(&cluster), 3, "{}", cluster.log());
        !health(&cluster)["checks"]["OSD_PUBLIC_NETWORK"].is_null()
    });
    let warning = health(&cluster)["checks"]["OSD_PUBLIC_NETWORK"].clone();
    assert!(warning.to_string().contains("osd.2"), "{warning}");
    stays_for(&cluster, "up", Duration::from_secs(8), || up(&cluster) == 3);
    let led = |osd: i64| {
        let dump = cluster.must_json(&["pg", "dump"]);
        let groups = dump["pg_map"]["pg_stats"].as_array().unwrap();
        groups.iter().filter(|group| group["acting_primary"] == osd).count()
    };
    assert_eq!(led(2), 0, "osd.2 still leads groups that clients cannot reach");
    let pause = must_end(&cluster, load);
    println!("public network cut: named after {named:.1?}, longest pause {pause:.2} s; {warning}");
    cluster.heal(2, Network::Public);
    let back = wait_for(&cluster, "end of the warning", || {
        health(&cluster)["checks"]["OSD_PUBLIC_NETWORK"].is_null() && is_clean(&cluster)
    });
    println!("well {back:.1?} after it healed");
}
