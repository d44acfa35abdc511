//! `top` and `report`, and that every command that only shows something has JSON.

use crate::dev_cluster::{DevCluster, noise};
use std::time::{Duration, Instant};

#[test]
fn top_shows_the_pool_the_osd_and_the_client_that_are_busy() {
    let cluster = DevCluster::start();
    let bench =
        ["bench", "--name=t", "--pool=data", "--rw=randwrite", "--bs=4k", "--size=16M", "--runtime=30", "--time_based"];
    let mut load = cluster.command(&bench).stdout(std::process::Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    let picture = loop {
        let picture = cluster.must_json(&["top"]);
        let rate = |row: &serde_json::Value| row["rates"]["write_op_per_sec"].as_u64().unwrap_or(0);
        if rate(&picture["by_client"][0]) > 0 && rate(&picture["by_pool"][0]) > 0 {
            break picture;
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "{picture}");
    };
    assert_eq!((&picture["by_pool"][0]["pool"], &picture["by_osd"][0]["osd"]), (&"data".into(), &0.into()));
    assert!(picture["by_osd"][0]["commit_latency_ns"].as_u64().unwrap() > 0, "{picture}");
    assert_eq!(picture["by_client"][0]["name"], "client.admin");
    let text = String::from_utf8(cluster.must(&["top", "--once"])).unwrap();
    load.kill().unwrap();
    load.wait().unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("HEALTH_WARN   osds: 1 of 1 up"), "{text}");
    for start in ["POOL ", "data ", "OSD ", "osd.0 ", "CLIENT "] {
        assert!(lines.iter().any(|line| line.starts_with(start)), "no {start}: {text}");
    }
    assert!(!text.contains('\u{1b}'), "a pipe is no terminal");
}

/// `script` gives it a terminal, and writes down what comes.
#[test]
fn top_on_a_terminal_draws_until_q_and_puts_the_terminal_back() {
    use std::io::Write;
    let cluster = DevCluster::start();
    let words = format!("{} -c {} top --interval 500ms", env!("CARGO_BIN_EXE_basalt"), cluster.config().display());
    let mut top = std::process::Command::new("script")
        .args(["--quiet", "--flush", "--return", "--command", &format!("stty rows 30 cols 120; {words}"), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert!(top.try_wait().unwrap().is_none(), "it goes on until it is told");
    top.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    let begun = Instant::now();
    while top.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(10) {
            top.kill().unwrap();
            panic!("`q` does not end it");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = top.wait_with_output().unwrap();
    let drawn = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{drawn}");
    assert!(drawn.contains("HEALTH_WARN") && drawn.contains("osd.0"), "{drawn}");
    let [into, out_of] = ["\u{1b}[?1049h", "\u{1b}[?1049l"].map(|switch| drawn.find(switch));
    assert!(into.is_some() && into < out_of, "the screen of before is back: {drawn}");
}

#[test]
fn a_report_has_everything_but_secrets() {
    let cluster = DevCluster::start();
    assert_eq!(cluster.put("object", &noise(1, 10_000)).status, 0);
    let report = cluster.must_json(&["report"]);
    for part in [
        "status",
        "health",
        "versions",
        "df",
        "settings",
        "osd_map",
        "osd_tree",
        "osd_df",
        "osd_perf",
        "pools",
        "tiers",
        "crush_map",
        "pg_map",
        "slow_ops",
        "sessions",
        "stores",
    ] {
        let part_shown = &report[part];
        assert!(!part_shown.is_null() && part_shown.get("error").is_none(), "{part}: {part_shown}");
    }
    assert_eq!(report["configuration"]["key_file"], "key");
    assert_eq!(report["health"]["checks"]["POOL_NO_REDUNDANCY"]["severity"], "HEALTH_WARN");
    assert_eq!(report["stores"][0]["osd"], 0);
    let key = std::fs::read(cluster.dir().join("key")).unwrap();
    let key = String::from_utf8_lossy(&key).trim().to_owned();
    assert!(key.len() > 16 && !report.to_string().contains(&key), "the cluster's key is in the report");
    let file = cluster.scratch("report.json");
    cluster.must(&["report", "-o", file.to_str().unwrap()]);
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(written["status"]["fsid"], report["status"]["fsid"]);
    cluster.run(&["report", "-o", "/nonexistent/x"]).assert_fails(2, "ENOENT");
}

#[test]
fn every_command_that_shows_something_shows_one_json_document() {
    let cluster = DevCluster::start();
    assert_eq!(cluster.put("object", b"bytes").status, 0);
    cluster.must(&["image", "create", "data/disk", "--size", "1G"]);
    for words in [
        "status",
        "-s",
        "health",
        "health detail",
        "df",
        "df detail",
        "iostat",
        "versions",
        "top",
        "report",
        "osd tree",
        "osd df",
        "osd df tree",
        "osd stat",
        "osd dump",
        "osd ls",
        "osd perf",
        "osd slow-ops",
        "osd map data object",
        "osd blocklist ls",
        "osd pool ls",
        "osd pool ls detail",
        "osd pool get data all",
        "osd pool get data size",
        "osd pool get-quota data",
        "osd pool stats",
        "osd pool application get data",
        "osd tier status",
        "pg stat",
        "pg dump",
        "pg ls",
        "pg ls-by-pool data",
        "pg ls-by-osd 0",
        "pg query 1.0",
        "osd crush tree",
        "osd crush dump",
        "osd crush ls default",
        "osd crush rule ls",
        "osd crush rule dump",
        "osd crush class ls",
        "osd crush show-tunables",
        "config dump",
        "config get osd_max_backfills",
        "obj ls data",
        "obj stat data object",
        "obj listxattr data object",
        "obj listomapkeys data object",
        "image ls data",
        "image info data/disk",
        "image snap ls data/disk",
        "user ls",
        "bucket ls",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        let document = cluster.must_json(&words);
        assert!(document.is_object() || document.is_array(), "{words:?}: {document}");
    }
}
