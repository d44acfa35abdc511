//! Seed 414 of the clusters with hot slices: an OSD whose slice was so small that its log takes 32 KiB in one transaction was filled with
//! all objects of a group, and then refused the group's own log, which was sent 256 entries at a time: it was filled again and again, and
//! never became a member. Now a log is sent in steps that the smallest store takes.

use basalt_osd::sabotage::keep_log_entries;
use basalt_tests::cluster::{Cluster, ClusterOptions, POOL, verdict};
use std::time::Duration;

#[test]
fn an_osd_with_the_smallest_log_is_filled_with_a_long_one() {
    // All that is written stays in the log, yet a new disk is filled: it has no log that reaches back anywhere.
    keep_log_entries(3000);
    let cluster = Cluster::new(414, ClusterOptions { pg_num: 1, hot_bytes: 4 << 20, ..ClusterOptions::default() });
    cluster.world.block_on(async {
        let client = cluster.connect_on(&cluster.client.ring()).await;
        let pool = client.pool(POOL).await.expect("the pool");
        for change in 0..500_u32 {
            let name = format!("{:0>200}", change % 7);
            pool.set_xattr(name.as_bytes(), b"change", &change.to_le_bytes()).await.expect("a write");
        }
        let primary = cluster.map().pgs().next().and_then(|(_, _, group)| group.primary).expect("a primary");
        let filled = cluster.hosts.iter().find(|host| host.id != primary).cloned().expect("another");
        filled.kill(true);
        filled.wipe().await;
        cluster.client.ring().sleep(Duration::from_secs(1)).await;
        cluster.start_host(&filled);
        verdict::wait_until_clean(&cluster, Duration::from_secs(60)).await.unwrap();
    });
}
