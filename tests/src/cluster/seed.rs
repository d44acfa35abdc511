//! One seed: a cluster, clients, and everything that can go wrong, then the verdict.

use super::nemesis::{self, NemesisOptions};
use super::workload::{self, History, WorkloadOptions};
use super::{Cluster, ClusterOptions, verdict};
use std::time::Duration;

/// The seed's run; its trace's hash, or what is wrong.
pub fn run(seed: u64) -> Result<u64, String> {
    let options = match seed % 4 {
        0 => ClusterOptions { hosts: 4, ..ClusterOptions::default() },
        1 => ClusterOptions { size: 2, ..ClusterOptions::default() },
        _ => ClusterOptions::default(),
    };
    let cluster = Cluster::new(seed, options);
    let history = History::default();
    let workload = WorkloadOptions {
        clients: 4,
        objects: 7,
        operations: 90,
        pause_max: Duration::from_millis(500),
        only_reads: false,
    };
    let nemesis = NemesisOptions { rounds: 4, pause_max: Duration::from_secs(2), fault_max: Duration::from_secs(9) };
    cluster.world.block_on(async {
        let ring = cluster.client.ring();
        let attacked = cluster.clone();
        let attacking = ring.spawn(async move { nemesis::run(&attacked, nemesis).await });
        workload::run(&cluster, workload, &history).await;
        attacking.await;
        verdict::wait_until_clean(&cluster, Duration::from_secs(120)).await?;
        verdict::judge(&cluster, &history).await
    })?;
    Ok(cluster.world.trace_hash())
}
