//! Three hosts with a copy each: one of them is killed under load, all of them are, one loses its disk. Clients see a pause and no error,
//! what was acknowledged is there, and no more is moved than was written.

use crate::dev_cluster::noise;
use crate::hosts::{Hosts, seconds, write_tree};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The pause that clients may see when a host dies, and what a loaded machine may add to it.
const PAUSE_MAX_S: f64 = 5.0;
const LOADED_S: f64 = 3.0;

#[test]
fn hosts_end_with_whoever_started_them_and_the_folder_needs_no_options_again() {
    let mut hosts = Hosts::start(3);
    let bytes = noise(5, 200_000);
    for by_force in [true, false] {
        assert_eq!(hosts.cluster.put("kept", &bytes).status, 0);
        let pids: Vec<u32> = (0..3).map(|host| hosts.pid(host).unwrap()).collect();
        let lives = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}")).exists();
        assert!(pids.iter().all(lives));
        if by_force {
            hosts.cluster.kill();
        } else {
            assert_eq!(hosts.cluster.stop().code(), Some(0), "{}", hosts.log());
        }
        let begun = Instant::now();
        while pids.iter().any(lives) {
            assert!(begun.elapsed() < Duration::from_secs(10), "a host outlived its cluster\n{}", hosts.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        hosts.cluster.forget_arguments();
        hosts.cluster.start_again();
        assert!(hosts.cluster.get("kept").stdout == bytes);
        // Reports come once a second.
        hosts.wait_clean();
    }
}

#[test]
fn a_host_killed_during_an_import_is_noticed_by_nobody_and_catches_up_by_log() {
    let mut hosts = Hosts::start(3);
    for host in 0..3_u32 {
        let tree = write_tree(&hosts.cluster.scratch(&format!("tree {host}")), u64::from(host), 3000, 12_000);
        let mut import = hosts.begin(&["obj", "import", "data", &tree]);
        std::thread::sleep(Duration::from_millis(500));
        assert!(import.is_running(), "the import was over before the kill: the test tests nothing");
        // It holds its breath until the OSDs have reported what they wrote so far, and is at work again when the host dies.
        import.signal("STOP");
        let before = hosts.figures();
        import.signal("CONT");
        std::thread::sleep(Duration::from_millis(20));
        hosts.kill(&[host]);
        import.must_end(&hosts);
        hosts.cluster.must(&["obj", "verify", "data", &tree]);
        hosts.start_host(host);
        let took = hosts.wait_clean();
        let [recovered, written] = hosts.figures().since(&before);
        println!("host {host}: clean after {took:.1?}, {recovered} bytes moved for {written} written meanwhile");
        assert!(recovered > 4 << 20, "it had next to nothing to catch up with: the test tests nothing");
        assert!(recovered as f64 <= 1.2 * written as f64, "{recovered} bytes moved, {written} written");
        assert_eq!(hosts.backfills(), 0, "{}", hosts.log());
        hosts.cluster.must(&["obj", "verify", "data", &tree]);
    }
    assert_eq!(hosts.cluster.stop().code(), Some(0), "{}", hosts.log());
}

#[test]
fn a_host_killed_during_a_verifying_bench_is_a_pause_and_no_error() {
    let mut hosts = Hosts::start(3);
    for host in 0..3_u32 {
        let seed = format!("--randseed={}", host + 1);
        let mut bench = hosts.begin(&[
            "bench",
            "--pool=data",
            "--name=load",
            "--rw=randwrite",
            "--bs=16k",
            "--iodepth=8",
            "--size=256M",
            "--time_based",
            "--runtime=8",
            "--rate_iops=1000",
            "--verify=crc32c",
            "--output-format=json",
            &seed,
        ]);
        std::thread::sleep(Duration::from_millis(500));
        let before = hosts.figures();
        assert!(bench.is_running());
        hosts.kill(&[host]);
        let job = bench.must_end_bench(&hosts);
        let pause = seconds(&job["write"]["clat_ns"]["max"]);
        hosts.start_host(host);
        let took = hosts.wait_clean();
        let [recovered, written] = hosts.figures().since(&before);
        println!(
            "host {host}: longest pause {pause:.2} s of {} writes, {} blocks verified; clean after {took:.1?}, {recovered} bytes moved for {written} written meanwhile",
            job["write"]["total_ios"], job["verify"]["blocks"]
        );
        assert!(pause <= PAUSE_MAX_S + LOADED_S, "{pause} s\n{}", hosts.log());
        assert!(recovered > 0 && written > 0);
        assert!(recovered as f64 <= 1.2 * written as f64, "{recovered} bytes moved, {written} written");
        assert_eq!(hosts.backfills(), 0, "{}", hosts.log());
    }
    assert_eq!(hosts.cluster.stop().code(), Some(0), "{}", hosts.log());
}

#[test]
fn all_hosts_killed_at_once_and_started_in_any_order_lose_nothing() {
    let mut hosts = Hosts::start(3);
    let rounds: u64 = std::env::var("BASALT_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(3);
    let tree = write_tree(&hosts.cluster.scratch("tree"), 99, 500, 20_000);
    hosts.cluster.must(&["obj", "import", "data", &tree]);
    for round in 0..rounds {
        let before = hosts.figures();
        let seed = format!("--randseed={}", round + 1);
        let mut bench = hosts.begin(&[
            "bench",
            "--pool=data",
            "--name=load",
            "--rw=randwrite",
            "--bs=4k",
            "--iodepth=8",
            "--size=32M",
            "--time_based",
            "--runtime=5",
            "--verify=crc32c",
            "--output-format=json",
            &seed,
        ]);
        // Beside it one object, again and again, whose last acknowledged content is known.
        let begun = Instant::now();
        let (mut acknowledged, mut tried) = (0, 0);
        while begun.elapsed() < Duration::from_millis(1000 + 300 * (round % 4)) {
            tried += 1;
            assert_eq!(hosts.cluster.put("watched", &noise(round << 32 | tried, 30_000)).status, 0);
            acknowledged = tried;
        }
        assert!(bench.is_running());
        hosts.kill(&[0, 1, 2]);
        let mut order = [0, 1, 2];
        // Each order has its round.
        let first = (noise(round + 1, 1)[0] % 3) as usize;
        order.swap(0, first);
        if noise(round + 77, 1)[0] % 2 == 1 {
            order.swap(1, 2);
        }
        for host in order {
            std::thread::sleep(Duration::from_millis(u64::from(noise(round * 3 + u64::from(host), 1)[0]) * 3));
            hosts.start_host(host);
        }
        let took = hosts.wait_clean();
        let job = bench.must_end_bench(&hosts);
        let [recovered, _] = hosts.figures().since(&before);
        println!(
            "round {round}, order {order:?}: clean after {took:.1?}, longest pause {:.2} s, {} blocks verified, {recovered} bytes moved",
            seconds(&job["write"]["clat_ns"]["max"]),
            job["verify"]["blocks"]
        );
        assert!(
            hosts.cluster.get("watched").stdout == noise(round << 32 | acknowledged, 30_000),
            "round {round}: an acknowledged write is lost"
        );
        // What was under way, and what the first two wrote before the third was there.
        assert!(recovered < 32 << 20, "{recovered} bytes moved\n{}", hosts.log());
        assert_eq!(hosts.backfills(), 0, "{}", hosts.log());
        hosts.cluster.must(&["obj", "verify", "data", &tree]);
    }
    assert_eq!(hosts.cluster.stop().code(), Some(0), "{}", hosts.log());
}

#[test]
fn a_wiped_osd_is_filled_while_clients_go_on() {
    let mut hosts = Hosts::start(3);
    // So many objects in so few groups that no log reaches back to the first: what is lost can only be found by comparing.
    hosts.cluster.must(&["osd", "pool", "create", "few", "2", "--size", "3"]);
    let tree = write_tree(&hosts.cluster.scratch("tree"), 7, 8000, 8_000);
    hosts.cluster.must(&["obj", "import", "few", &tree]);
    let bench = |hosts: &Hosts, seconds: u32, seed: u32| {
        let (runtime, seed) = (format!("--runtime={seconds}"), format!("--randseed={seed}"));
        hosts.begin(&[
            "bench",
            "--pool=few",
            "--name=load",
            "--rw=randwrite",
            "--bs=4k",
            "--iodepth=8",
            "--size=32M",
            "--time_based",
            "--verify=crc32c",
            "--output-format=json",
            "--rate_iops=500",
            &runtime,
            &seed,
        ])
    };
    let p99 = |job: &serde_json::Value| seconds(&job["write"]["clat_ns"]["percentile"]["99.000000"]);
    let alone = bench(&hosts, 6, 1).must_end_bench(&hosts);
    let before = hosts.figures();
    hosts.kill(&[1]);
    let wiped = Command::new(env!("CARGO_BIN_EXE_basaltd"))
        .args(["mkfs", "--force", "--osd", "1", "--config", hosts.config(1).to_str().unwrap()])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(wiped.success());
    let load = bench(&hosts, 10, 2);
    hosts.start_host(1);
    let took = hosts.wait_clean();
    let during = load.must_end_bench(&hosts);
    let [recovered, _] = hosts.figures().since(&before);
    println!(
        "filled in {took:.1?}, {recovered} bytes; 99th percentile of writes {:.2} ms alone, {:.2} ms meanwhile",
        1e3 * p99(&alone),
        1e3 * p99(&during)
    );
    assert!(hosts.backfills() > 0 && recovered > 50 << 20, "{recovered} bytes: it was not filled\n{}", hosts.log());
    hosts.cluster.must(&["obj", "verify", "few", &tree]);
    // Each of the others is done without in turn: what is read then comes from the new one too.
    hosts.kill(&[0]);
    hosts.cluster.must(&["obj", "verify", "few", &tree]);
    hosts.start_host(0);
    hosts.wait_clean();
    assert_eq!(hosts.cluster.stop().code(), Some(0), "{}", hosts.log());
}
