//! A host is taken out of service for work on it, while clients write, and brought back.

use crate::dev_cluster::noise;
use crate::hosts::Hosts;
use std::time::Duration;

#[test]
fn a_host_leaves_for_maintenance_while_clients_write_and_comes_back_without_a_copy_made() {
    let mut hosts = Hosts::start(3);
    hosts.wait_clean();
    let cluster = &hosts.cluster;
    for index in 0..8 {
        assert_eq!(cluster.put(format!("before{index}"), &noise(index, 100_000)).status, 0);
    }
    let mut entering = hosts.begin(&["maintenance", "enter", "host.1"]);
    let mut written = 0;
    while entering.is_running() {
        assert_eq!(cluster.put(format!("during{written}"), &noise(100 + written, 20_000)).status, 0);
        written += 1;
    }
    let said = String::from_utf8(entering.must_end(&hosts)).unwrap();
    assert!(said.starts_with("host host.1 enters maintenance: osd.1 are marked down and stay in\n"), "{said}");
    assert!(said.contains("basalt maintenance exit host.1"), "{said}");
    assert!(written > 1, "only {written} writes while it left");

    // Its process still runs, and serves nobody; it may be stopped now, and another host may not.
    assert_eq!(hosts.osds_up(), 2);
    hosts.cluster.run(&["maintenance", "enter", "host.2"]).assert_fails(16, "EBUSY");
    hosts.kill(&[1]);
    hosts.start_host(1);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(hosts.osds_up(), 2, "a host in maintenance came up");
    let stuck = hosts.cluster.run(&["maintenance", "exit", "host.2"]);
    stuck.assert_fails(2, "ENOENT");

    hosts.cluster.must(&["maintenance", "exit", "host.1"]);
    assert!(hosts.is_clean(), "exit came back before all was clean: {}", hosts.states());
    assert_eq!(hosts.backfills(), 0, "{}", hosts.log());
    for index in 0..8 {
        assert!(hosts.cluster.get(format!("before{index}")).stdout == noise(index, 100_000));
    }
    for index in 0..written {
        assert!(hosts.cluster.get(format!("during{index}")).stdout == noise(100 + index, 20_000));
    }
    let status = String::from_utf8(hosts.cluster.must(&["maintenance", "status"])).unwrap();
    assert_eq!(status, "no host is in maintenance\n");
}

#[test]
fn a_host_whose_leaving_would_stop_clients_stays_and_one_that_does_not_come_back_is_named() {
    let mut hosts = Hosts::start_with(2, &["--size", "1"]);
    hosts.wait_clean();
    hosts.cluster.run(&["maintenance", "enter", "host.0"]).assert_fails(16, "EBUSY");
    assert_eq!(hosts.osds_up(), 2);
    hosts.cluster.must(&["maintenance", "enter", "host.0", "--yes-i-really-mean-it"]);
    hosts.kill(&[0]);
    let waited = hosts.cluster.run(&["maintenance", "exit", "host.0", "--timeout", "3s"]);
    waited.assert_fails(110, "ETIMEDOUT");
    assert!(waited.stderr.contains("osd.0 still down; still in maintenance"), "{}", waited.stderr);
    assert!(!hosts.cluster.must_json(&["maintenance", "status"])["hosts"].as_array().unwrap().is_empty());
    hosts.start_host(0);
    hosts.cluster.must(&["maintenance", "exit", "host.0"]);
    assert!(hosts.is_clean());
}
