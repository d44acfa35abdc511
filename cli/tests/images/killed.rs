//! A server that is killed while images are in use: what was flushed is there, and the images are free again soon after.

use crate::server::{Served, must, ran};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_killed_cluster_comes_back_with_all_that_was_acknowledged_and_lets_its_images_go() {
    let mut served = Served::start();
    served.create("data/disk", "64M");
    let uri = served.uri("data/disk");
    must("qemu-io", &["-f", "raw", "-c", "write -P 3 1M 8M", &uri]);
    let mut writer = Command::new("qemu-io")
        .args(["-f", "raw", "-c", "write -P 4 0 1M", "-c", "sleep 60000", &uri])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    served.cluster.kill();
    let _ = writer.kill();
    writer.wait().unwrap();
    served.cluster.start_again();
    let begun = Instant::now();
    // The one who had the lock is dead: that is found out, and no sooner than can be.
    let said = loop {
        let output = ran(
            "qemu-io",
            &["-f", "raw", "-c", "read -P 4 0 1M", "-c", "read -P 3 1M 8M", "-c", "write -P 5 0 4k", &uri],
        );
        if output.status.success() {
            break String::from_utf8_lossy(&output.stdout).into_owned();
        }
        assert!(begun.elapsed() < Duration::from_secs(40), "{}", String::from_utf8_lossy(&output.stderr));
    };
    assert!(!said.contains("verification failed"), "{said}");
    let listed = served.cluster.must_json(&["osd", "blocklist", "ls"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
}
