//! Sequences that a seed seldom comes upon.

use super::workload::{self, History, WorkloadOptions};
use super::{Cluster, ClusterOptions, verdict};
use std::time::Duration;

/// Of three members two fail at once; the one that is left must not go on alone, because when it fails, too, the other two come back
/// and know nothing of what it did.
pub fn last_survivor() -> Result<u64, String> {
    for survivor in 0..3_usize {
        let cluster = Cluster::new(70 + survivor as u64, ClusterOptions::default());
        let history = History::default();
        let options =
            WorkloadOptions { clients: 3, objects: 6, operations: 100, pause_max: Duration::from_millis(150) };
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            let attacked = cluster.clone();
            let attacking = ring.spawn(async move {
                let ring = attacked.client.ring();
                ring.sleep(Duration::from_secs(3)).await;
                let others = || attacked.hosts.iter().filter(|host| host.id as usize != survivor);
                others().for_each(|host| host.kill(true));
                ring.sleep(Duration::from_secs(8)).await;
                attacked.hosts[survivor].kill(true);
                ring.sleep(Duration::from_millis(500)).await;
                others().for_each(|host| attacked.start_host(host));
                ring.sleep(Duration::from_secs(6)).await;
                attacked.start_host(&attacked.hosts[survivor]);
            });
            workload::run(&cluster, options, &history).await;
            attacking.await;
            verdict::wait_until_clean(&cluster, Duration::from_secs(120)).await?;
            verdict::judge(&cluster, &history).await
        })?;
    }
    Ok(0)
}
