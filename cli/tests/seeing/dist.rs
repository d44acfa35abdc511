//! What is shipped for Grafana and Prometheus speaks of metrics that exist, in a running cluster with every role in it.

use crate::dev_cluster::DevCluster;
use crate::http::{address, get};
use crate::scrape::Scrape;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped(name: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

fn metrics_in(text: &str) -> BTreeSet<&str> {
    let words = text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("basalt_")).collect()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists_in_a_running_cluster() {
    let sockets = tempfile::tempdir().unwrap();
    let nbd = sockets.path().join("nbd.sock");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let s3 = listener.local_addr().unwrap().to_string();
    drop(listener);
    let cluster =
        DevCluster::start_with(&["--base", "1G", "--hot", "256M", "--s3", &s3, "--nbd", nbd.to_str().unwrap()]);
    assert_eq!(cluster.put("object", b"bytes").status, 0);
    // Refused, and counted.
    assert_eq!(get(&s3, "/no-such-bucket").status, 404);
    std::thread::sleep(std::time::Duration::from_secs(2));
    let scrape = Scrape::parse(&get(&address(&cluster.dir(), "dev"), "/metrics").body);
    assert_eq!(scrape.sum("basalt_s3_requests_total", &[("method", "GET"), ("status", "4xx")]), 1.0);
    let dashboard: serde_json::Value = serde_json::from_str(&shipped("dashboard.json").1).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels have numbers of their own");
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 30);
    let alerts = shipped("alerts.yml").1;
    let named: BTreeSet<&str> = queries
        .iter()
        .copied()
        .chain(alerts.lines().filter(|line| line.contains("expr:")))
        .flat_map(metrics_in)
        .collect();
    assert!(named.len() > 30, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|name| !scrape.has(name)).collect();
    assert!(missing.is_empty(), "no such metrics: {missing:?}");
}

#[test]
fn prometheus_takes_the_alert_rules() {
    let checked = Command::new("promtool").args(["check", "rules"]).arg(shipped("alerts.yml").0).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn prometheus_takes_a_scrape() {
    use std::io::Write;
    let cluster = DevCluster::start();
    let text = get(&address(&cluster.dir(), "dev"), "/metrics").body;
    let mut lint = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    lint.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = lint.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&checked.stderr);
    // 1: it can't be read. 3: it can, and the linter would like other names.
    assert!(matches!(checked.status.code(), Some(0 | 3)), "{said}");
    assert!(!said.contains("error while linting"), "{said}");
}
