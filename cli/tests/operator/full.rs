//! A cluster without space: writes are told so, all else goes on, and what is removed can be written again.

use crate::dev_cluster::{DevCluster, noise};
use std::time::{Duration, Instant};

/// Freed space is usable after the checkpoint behind the removal.
const SPACE_TIMEOUT: Duration = Duration::from_secs(20);
const OBJECT_BYTES: usize = 4 << 20;

fn fill_and_free(arguments: &[&str], least: u64) {
    let mut cluster = DevCluster::start_with(arguments);
    assert_eq!(cluster.put("small", b"first").status, 0);
    let mut stored = 0;
    let refused = loop {
        let answer = cluster.put(format!("o{stored}"), &noise(stored, OBJECT_BYTES));
        if answer.status != 0 {
            break answer;
        }
        stored += 1;
        assert!(stored < 1000, "a small cluster takes everything");
    };
    refused.assert_fails(28, "ENOSPC");
    assert!(stored >= least, "full after {stored} objects of 4 MiB");
    for _ in 0..5 {
        cluster.put("another", &noise(9, OBJECT_BYTES)).assert_fails(28, "ENOSPC");
    }
    assert!(cluster.is_alive());
    let holds = |cluster: &DevCluster, object: u64| {
        let got = cluster.get(format!("o{object}"));
        assert!(got.status == 0 && got.stdout == noise(object, OBJECT_BYTES), "o{object}: {}", got.stderr);
    };
    (0..stored).for_each(|object| holds(&cluster, object));
    assert_eq!(cluster.get("small").stdout, b"first");
    cluster.must(&["status"]);
    // It starts again, full as it is.
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
    cluster.start_again();
    cluster.put("another", &noise(9, OBJECT_BYTES)).assert_fails(28, "ENOSPC");

    for object in 0..stored / 2 {
        cluster.must(&["obj", "rm", "data", &format!("o{object}")]);
    }
    let begun = Instant::now();
    while cluster.put("o0", &noise(0, OBJECT_BYTES)).status != 0 {
        assert!(begun.elapsed() < SPACE_TIMEOUT, "half was removed, and still there is no space:\n{}", cluster.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    holds(&cluster, 0);
    (stored / 2..stored).for_each(|object| holds(&cluster, object));
    assert_eq!(cluster.stop().code(), Some(0), "{}", cluster.log());
}

#[test]
fn a_full_device_refuses_writes_only_until_something_is_removed() {
    fill_and_free(&["--base", "128M", "--hot", "0"], 20);
}

#[test]
fn a_full_tiered_device_refuses_writes_only_until_something_is_removed() {
    fill_and_free(&["--base", "96M", "--hot", "64M"], 15);
}
