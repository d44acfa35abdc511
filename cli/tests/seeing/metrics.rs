//! The endpoint of each daemon: what it tells, and that nobody who talks to it does harm.

use crate::dev_cluster::{DevCluster, noise};
use crate::http::{self, address, get};
use crate::scrape::Scrape;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

const STAGES: [&str; 6] = ["queue", "wal", "data", "flush", "replica", "reply"];

fn scrape(address: &str) -> Scrape {
    let response = get(address, "/metrics");
    assert_eq!(response.status, 200);
    assert!(response.head.contains("content-type: text/plain; version=0.0.4"), "{}", response.head);
    Scrape::parse(&response.body)
}

#[test]
fn every_stage_of_every_request_is_counted_once_on_the_primary() {
    let cluster = DevCluster::start_with(&["--osds", "3", "--base", "1G", "--hot", "256M"]);
    let address = address(&cluster.dir(), "dev");
    let before = scrape(&address);
    for number in 0..20 {
        assert_eq!(cluster.put(format!("object-{number}"), &noise(number, 5000)).status, 0);
        assert_eq!(cluster.get(format!("object-{number}")).status, 0);
    }
    // A scrape of just now is given out again.
    std::thread::sleep(Duration::from_millis(600));
    let after = scrape(&address);
    let grown = |name: &str, labels: &[(&str, &str)]| after.sum(name, labels) - before.sum(name, labels);
    let writes = grown("basalt_osd_request_seconds_count", &[("op", "write")]);
    let reads = grown("basalt_osd_request_seconds_count", &[("op", "read")]);
    assert!((20.0..=60.0).contains(&writes), "{writes}");
    assert!((20.0..=80.0).contains(&reads), "{reads}");
    for stage in STAGES {
        let of = |op: &str| grown("basalt_osd_request_stage_seconds_count", &[("op", op), ("stage", stage)]);
        assert_eq!(of("write"), writes, "{stage}");
        assert_eq!(of("read"), if matches!(stage, "wal" | "flush") { 0.0 } else { reads }, "{stage}");
    }
    let stages: f64 = grown("basalt_osd_request_stage_seconds_sum", &[]);
    let whole: f64 = grown("basalt_osd_request_seconds_sum", &[]);
    assert!((stages - whole).abs() < 1e-6 && whole > 0.0, "{stages} s in stages, {whole} s in all");
    assert_eq!(grown("basalt_pool_write_bytes_total", &[("pool", "data")]), 100_000.0);
    assert!(grown("basalt_pool_read_bytes_total", &[("pool", "data")]) >= 100_000.0);
    // Three copies, each committed by its own OSD.
    for osd in ["0", "1", "2"] {
        assert!(grown("basalt_osd_commit_seconds_count", &[("osd", osd)]) > 0.0, "osd.{osd}");
        assert!(grown("basalt_osd_device_written_bytes_total", &[("osd", osd), ("purpose", "data")]) >= 100_000.0);
    }
    assert_eq!(after.sum("basalt_cluster_osds_up", &[]), 3.0);
    assert_eq!(after.sum("basalt_monitor_leads", &[]), 1.0);
    assert!(after.sum("basalt_process_resident_bytes", &[]) > 1e6);
    names_and_labels_keep_to_the_rules(&after);
}

fn names_and_labels_keep_to_the_rules(scrape: &Scrape) {
    for (name, kind) in &scrape.kinds {
        assert!(name.starts_with("basalt_"), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(kind != "histogram" || name.ends_with("_seconds"), "{name}");
        for unit in ["_ms", "_us", "_ns", "_kb", "_percent"] {
            assert!(
                !name.ends_with(unit) && !name.contains(&format!("{unit}_")),
                "{name}: units are bytes and seconds"
            );
        }
    }
    for sample in &scrape.samples {
        assert!(!sample.labels.values().any(|value| value.contains("object-")), "{sample:?} names an object");
        assert!(sample.value.is_finite(), "{sample:?}");
    }
}

#[test]
fn each_host_that_is_a_process_has_an_endpoint_of_its_own() {
    let mut cluster = DevCluster::start_with(&["--osds", "2", "--hosts", "2", "--base", "1G", "--hot", "0"]);
    for (host, osd) in [("host.0", "0"), ("host.1", "1")] {
        let seen = scrape(&address(&cluster.dir(), host));
        // Of a GiB, less what the store keeps for its log.
        let bytes = seen.sum("basalt_osd_device_bytes", &[("device", "base")]);
        assert!((0.8..=1.0).contains(&(bytes / (1_u64 << 30) as f64)), "{host}: {bytes}");
        assert!(seen.samples.iter().filter_map(|sample| sample.labels.get("osd")).all(|label| label == osd), "{host}");
        assert!(!seen.has("basalt_monitor_leads"), "{host}");
    }
    let seen = scrape(&address(&cluster.dir(), "dev"));
    assert_eq!(seen.sum("basalt_cluster_osds", &[]), 2.0);
    assert!(!seen.has("basalt_osd_sessions"));
    assert!(cluster.stop().success());
    let left = std::fs::read_dir(cluster.dir().join("run")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".metrics")), "{left:?}");
}

#[test]
fn nobody_who_talks_to_the_endpoint_keeps_others_from_it() {
    let mut cluster = DevCluster::start();
    let address = address(&cluster.dir(), "dev");
    let mut crowd: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&address).unwrap()).collect();
    // Half of them begin a request, a byte of it, and never go on.
    for stream in crowd.iter_mut().step_by(2) {
        let _ = stream.write_all(b"G");
    }
    let begun = Instant::now();
    assert_eq!(get(&address, "/metrics").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let endless_head = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let many_headers = format!("GET /metrics HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(10_000));
    for request in [
        endless_head.as_slice(),
        many_headers.as_bytes(),
        &noise(7, 100_000),
        b"\r\n\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ] {
        let answer = http::send(&address, request);
        assert!(answer.is_none_or(|answer| answer.status >= 400), "{:?}", &request[..request.len().min(40)]);
    }
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 405),
        ("DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        ("GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        ("HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 200),
    ] {
        assert_eq!(http::send(&address, request.as_bytes()).map(|answer| answer.status), Some(status), "{request}");
    }
    assert_eq!(cluster.put("object", b"still here").status, 0);
    assert!(cluster.is_alive());
    assert!(!cluster.log().contains("panic"), "{}", cluster.log());
    drop(crowd);
}

#[test]
fn scrapes_in_a_loop_ask_the_osds_twice_a_second_only() {
    let cluster = DevCluster::start();
    let address = address(&cluster.dir(), "dev");
    let begun = Instant::now();
    let mut texts = std::collections::BTreeSet::new();
    let mut scrapes = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        texts.insert(get(&address, "/metrics").body);
        scrapes += 1;
    }
    assert!(texts.len() <= 6 && scrapes > 20, "{} different texts in {scrapes} scrapes", texts.len());
}
