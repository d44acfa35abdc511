//! One seed: a cluster, clients, and everything that can go wrong, then the verdict.

use super::nemesis::{self, NemesisOptions};
use super::tier::{self, TierCounts};
use super::workload::{self, History, WorkloadOptions};
use super::{Cluster, ClusterOptions, rot, verdict};
use basalt_net::WireMode;
use std::time::Duration;

/// How many entries of a group's log its OSDs are to keep while no member lacks any: with few, whoever was away for a moment catches up
/// from the log, and a new disk is filled.
pub fn log_entries(seed: u64) -> usize {
    if (seed / 3).is_multiple_of(2) { 20 } else { 3000 }
}

/// What a run came to in which nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub trace_hash: u64,
    pub tier: TierCounts,
}

/// The seed's run, or what is wrong.
pub fn run(seed: u64) -> Result<Outcome, String> {
    let (hosts, size) = match seed % 4 {
        0 => (4, 3),
        1 => (3, 2),
        _ => (3, 3),
    };
    let (pg_num, objects) = match seed / 4 % 3 {
        0 => (4, 8),
        // Much in one group.
        1 => (1, 12),
        _ => (2, 20),
    };
    let tier = tier::of_seed(seed);
    let mode = |is_secure| if is_secure { WireMode::Secure } else { WireMode::Crc };
    let (public_mode, cluster_mode) = (mode(seed.is_multiple_of(2)), mode(seed.is_multiple_of(3)));
    let options = ClusterOptions { hosts, size, pg_num, public_mode, cluster_mode, ..ClusterOptions::default() };
    let options = tier.as_ref().map_or(options, |tier| ClusterOptions {
        hot_bytes: tier.hot_bytes,
        is_base_rotational: tier.is_base_rotational,
        ..options
    });
    let cluster = Cluster::new(seed, options);
    if let Some(tier) = &tier {
        cluster.tell(|| format!("{tier:?}"));
        cluster.world.block_on(tier::tune(&cluster, &tier.settings));
    }
    let history = History::default();
    let workload = WorkloadOptions {
        clients: 4,
        objects,
        operations: 130,
        pause_max: Duration::from_millis(500),
        only_reads: false,
    };
    // Few faults that last, or many that hardly do.
    let (rounds, fault_max) = if (seed / 2).is_multiple_of(2) { (4, 9) } else { (8, 3) };
    let pause_max = Duration::from_secs(2);
    let nemesis = NemesisOptions { rounds, pause_max, fault_max: Duration::from_secs(fault_max) };
    cluster.world.block_on(async {
        let ring = cluster.client.ring();
        let attacked = cluster.clone();
        let attacking = ring.spawn(async move {
            nemesis::run(&attacked, nemesis).await;
            attacked.is_over.set(true);
        });
        let (mourned, its_history) = (cluster.clone(), history.clone());
        let dying = ring.spawn(async move { workload::run_mortal(&mourned, 4, workload, &its_history).await });
        let bulk = tier.as_ref().is_some_and(|tier| tier.has_bulk).then(|| {
            let (cluster, history) = (cluster.clone(), history.clone());
            ring.spawn(async move { workload::run_bulk(&cluster, workload, &history).await })
        });
        workload::run(&cluster, workload, &history).await;
        if let Some(bulk) = bulk {
            bulk.await;
        }
        attacking.await;
        dying.await;
        verdict::wait_until_clean(&cluster, Duration::from_secs(120)).await?;
        // Rot in a copy that is left behind nobody can mend; should its group come back, only another scrub would find it.
        verdict::nothing_is_left_over(&cluster).await?;
        rot::scrub_all(&cluster).await?;
        verdict::judge(&cluster, &history).await?;
        if tier.is_some() {
            tier::figures_agree(&cluster).await?;
            // What is read from base alone is the same.
            tier::drain_all(&cluster).await?;
            verdict::judge(&cluster, &history).await?;
        }
        if seed % 8 < 2 {
            for host in &cluster.hosts {
                host.fsck().await?;
            }
        }
        Ok::<(), String>(())
    })?;
    let mut counts = cluster.tier_counts();
    counts.clusters = u64::from(tier.is_some());
    if counts.drains > 0 {
        // What is being drained takes no writes, however much room it has.
        counts.written_through = 0;
    }
    let trace_hash = cluster.world.trace_hash();
    cluster.tell(|| format!("the trace's hash is {trace_hash:016x}; {counts:?}"));
    Ok(Outcome { trace_hash, tier: counts })
}
