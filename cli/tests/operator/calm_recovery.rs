//! A backfill of a minute beside clients, and what it does to their latencies. Latencies are taken from intervals that lie wholly within the
//! fill, and held against equal intervals just before it, in the same run; two of those against each other say how much is noise.
//!
//! `make calm-recovery` runs it; it takes some minutes, so `make test` does not.

use crate::dev_cluster::basalt;
use crate::hosts::{Hosts, seconds};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const POOL: &str = "few";
const WIPED: u32 = 1;

struct Load {
    name: &'static str,
    direction: &'static str,
    words: &'static [&'static str],
}

const LOADS: [Load; 3] = [
    Load { name: "writes, depth 16", direction: "write", words: &["--rw=randwrite", "--iodepth=16"] },
    Load {
        name: "writes, 400 a second",
        direction: "write",
        words: &["--rw=randwrite", "--iodepth=8", "--rate_iops=400"],
    },
    Load { name: "reads, depth 16", direction: "read", words: &["--rw=randread", "--iodepth=16"] },
];

/// What clients saw of so many seconds.
#[derive(Clone, Copy)]
struct Interval {
    operations_per_second: f64,
    p50: f64,
    p99: f64,
}

fn interval(hosts: &Hosts, load: &Load, seconds_long: u64, seed: u64) -> Interval {
    let mut words: Vec<String> =
        ["bench", "--name=load", "--bs=4k", "--size=64M", "--time_based", "--output-format=json"]
            .map(str::to_owned)
            .to_vec();
    words.push(format!("--pool={POOL}"));
    words.push(format!("--runtime={seconds_long}"));
    words.push(format!("--randseed={seed}"));
    words.extend(load.words.iter().map(|word| (*word).to_owned()));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let job = hosts.begin(&words).must_end_bench(hosts);
    let figures = &job[load.direction];
    let latency = |percentile: &str| seconds(&figures["clat_ns"]["percentile"][percentile]);
    Interval {
        operations_per_second: figures["iops"].as_f64().unwrap(),
        p50: latency("50.000000"),
        p99: latency("99.000000"),
    }
}

/// What `status` said of recovery, as an operator's screen would show it.
#[derive(Clone, Copy, Debug)]
struct Shown {
    at: Duration,
    percent: f64,
    remaining_s: Option<f64>,
}

/// Asks for `status` once a second from a thread of its own.
struct Screen {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Shown>>,
}

impl Screen {
    fn watch(config: PathBuf) -> Screen {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        let begun = Instant::now();
        let thread = std::thread::spawn(move || {
            let mut shown = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let output = basalt().arg("-c").arg(&config).args(["status", "--format", "json"]).output().unwrap();
                let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                let progress = &status["progress"];
                if let Some(percent) = progress["percent"].as_f64() {
                    shown.push(Shown { at: begun.elapsed(), percent, remaining_s: progress["remaining_s"].as_f64() });
                }
                std::thread::sleep(Duration::from_secs(1));
            }
            shown
        });
        Screen { is_over, thread }
    }

    fn end(self) -> Vec<Shown> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn wipe(hosts: &mut Hosts) {
    hosts.kill(&[WIPED]);
    let wiped = Command::new(env!("CARGO_BIN_EXE_basaltd"))
        .args(["mkfs", "--force", "--osd", &WIPED.to_string(), "--config", hosts.config(WIPED).to_str().unwrap()])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(wiped.success());
    hosts.start_host(WIPED);
}

fn fill_pool(hosts: &Hosts, mebibytes: u64, object_kib: u64) {
    let (size, object) = (format!("--size={mebibytes}M"), format!("--object_size={object_kib}k"));
    // Written in pieces, so that no log reaches back to the first.
    hosts.cluster.must(&[
        "bench",
        "--pool=few",
        "--name=filler",
        "--rw=write",
        "--bs=16k",
        "--iodepth=32",
        &size,
        &object,
    ]);
}

fn is_filling(hosts: &Hosts) -> bool {
    !hosts.cluster.must_json(&["status"])["progress"].is_null() && hosts.osds_up() == 3
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// At a pace that does not change, `status` says how far it is, and when it will be through.
#[test]
fn status_tells_how_far_a_backfill_is_and_when_it_will_be_through() {
    let mut hosts = Hosts::start(3);
    hosts.cluster.must(&["osd", "pool", "create", POOL, "8", "--size", "3"]);
    fill_pool(&hosts, 96, 64);
    // Two primaries, 96 MiB and 16 KiB for each of 1536 objects: some 20 s.
    hosts.cluster.must(&["config", "set", "osd_recovery_bytes_per_second", "3000000"]);
    let screen = Screen::watch(hosts.cluster.config());
    let before = hosts.figures();
    wipe(&mut hosts);
    hosts.wait_for("beginning of the backfill", || is_filling(&hosts));
    hosts.wait_clean();
    let shown = screen.end();
    let [recovered, _] = hosts.figures().since(&before);
    assert!(recovered > 90 << 20, "{recovered} bytes\n{}", hosts.log());
    assert!(hosts.cluster.must_json(&["status"])["progress"].is_null());
    let (first, last) = (shown.first().unwrap(), shown.last().unwrap());
    println!("{recovered} bytes in {:.1?}: {shown:?}", last.at - first.at);
    assert!(last.at - first.at > Duration::from_secs(10), "too fast to tell: {shown:?}");
    assert!(first.percent < 20.0 && last.percent > 80.0 && last.percent < 100.0, "{shown:?}");
    assert!(shown.windows(2).all(|pair| pair[0].percent <= pair[1].percent), "it went backwards: {shown:?}");
    let half = shown.iter().find(|one| one.percent >= 50.0).unwrap();
    let told = half.remaining_s.expect("half-way it is known when it will be through");
    let truth = (last.at - half.at).as_secs_f64();
    assert!(
        (truth / 2.0 - 1.5..=truth * 2.0 + 1.5).contains(&told),
        "{told} s were told, {truth:.1} it took: {shown:?}"
    );
    assert_eq!(hosts.cluster.stop().code(), Some(0), "{}", hosts.log());
}

#[test]
#[ignore = "takes some minutes: `make calm-recovery`"]
fn a_long_backfill_at_most_doubles_what_clients_wait() {
    let rounds = from_environment("CALM_ROUNDS", 3);
    let mebibytes = from_environment("CALM_MIB", 1280);
    let object_kib = from_environment("CALM_OBJECT_KIB", 64);
    let seconds_long = from_environment("CALM_INTERVAL_S", 5);
    let only = std::env::var("CALM_LOAD").unwrap_or_default();
    let mut hosts = Hosts::start(3);
    hosts.cluster.must(&["osd", "pool", "create", POOL, "8", "--size", "3"]);
    fill_pool(&hosts, mebibytes, object_kib);
    let mut seed = 0;
    let mut ratios_of_all = Vec::new();
    for load in LOADS.iter().filter(|load| load.name.contains(&only)) {
        interval(&hosts, load, 2, 1000);
        let (mut noise, mut ratios, mut pooled) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            let screen = Screen::watch(hosts.cluster.config());
            let mut next = |hosts: &Hosts| {
                seed += 1;
                interval(hosts, load, seconds_long, seed)
            };
            let calm = [next(&hosts), next(&hosts), next(&hosts)];
            let before = hosts.figures();
            wipe(&mut hosts);
            let begun = Instant::now();
            hosts.wait_for("beginning of the backfill", || is_filling(&hosts));
            let mut during = Vec::new();
            loop {
                let one = next(&hosts);
                if !is_filling(&hosts) {
                    break;
                }
                during.push(one);
            }
            hosts.wait_clean();
            let took = begun.elapsed();
            let [recovered, _] = hosts.figures().since(&before);
            let shown = screen.end();
            let calm_p99 = median(calm.iter().map(|one| one.p99).collect());
            noise.extend([calm[1].p99 / calm[0].p99, calm[2].p99 / calm[1].p99]);
            let these: Vec<f64> = during.iter().map(|one| one.p99 / calm_p99).collect();
            let line = |all: &[Interval], of: fn(&Interval) -> f64| {
                all.iter().map(|one| format!("{:.1}", of(one))).collect::<Vec<_>>().join(" ")
            };
            println!("{}, round {round}: {recovered} bytes in {took:.1?}", load.name);
            for (what, all) in [("calm", &calm[..]), ("fill", &during[..])] {
                println!(
                    "  {what}: p99 ms {}; p50 ms {}; a second {}",
                    line(all, |one| 1e3 * one.p99),
                    line(all, |one| 1e3 * one.p50),
                    line(all, |one| one.operations_per_second.round())
                );
            }
            let as_told = shown.iter().step_by(5).map(|one| {
                let left = one.remaining_s.map_or_else(String::new, |left| format!(" {left:.0} s left"));
                format!("{:.0} s {:.1} %{left}", one.at.as_secs_f64(), one.percent)
            });
            println!("  status: {}", as_told.collect::<Vec<_>>().join(", "));
            pooled.push(median(these.clone()));
            ratios.extend(these);
        }
        println!(
            "{}: p99 in the fill over p99 before it: median {:.2}, worst interval {:.2}, of rounds {:?}; of two calm intervals: median {:.2}, worst {:.2}",
            load.name,
            median(ratios.clone()),
            ratios.iter().copied().fold(0.0, f64::max),
            pooled.iter().map(|ratio| (ratio * 100.0).round() / 100.0).collect::<Vec<_>>(),
            median(noise.clone()),
            noise.iter().copied().fold(0.0, f64::max),
        );
        ratios_of_all.push((load.name, median(ratios)));
    }
    assert_eq!(hosts.cluster.stop().code(), Some(0), "{}", hosts.log());
    for (load, ratio) in ratios_of_all {
        assert!(ratio <= 2.0, "{load}: the 99th percentile is {ratio:.2} times what it was");
    }
}
