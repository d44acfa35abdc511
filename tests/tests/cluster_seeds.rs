//! Whole clusters under everything that can go wrong, one a seed. `BASALT_SEED=n` runs that one alone; `BASALT_SEEDS=a..b` others.

use basalt_tests::cluster::nemesis::{self, NemesisOptions};
use basalt_tests::cluster::workload::{self, History, WorkloadOptions};
use basalt_tests::cluster::{Cluster, ClusterOptions, verdict};
use std::time::Duration;

/// The seed's run; its trace's hash, or what is wrong.
fn run(seed: u64) -> Result<u64, String> {
    let options = match seed % 4 {
        0 => ClusterOptions { hosts: 4, ..ClusterOptions::default() },
        1 => ClusterOptions { size: 2, ..ClusterOptions::default() },
        _ => ClusterOptions::default(),
    };
    let cluster = Cluster::new(seed, options);
    let history = History::default();
    let workload =
        WorkloadOptions { clients: 4, objects: 5, operations: 40, pause_max: Duration::from_millis(700) };
    let nemesis =
        NemesisOptions { rounds: 4, pause_max: Duration::from_secs(2), fault_max: Duration::from_secs(9) };
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

fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match (std::env::var("BASALT_SEED"), std::env::var("BASALT_SEEDS")) {
        (Ok(seed), _) => number(&seed)..number(&seed) + 1,
        (_, Ok(range)) => {
            let (first, end) = range.split_once("..").expect("a..b");
            number(first)..number(end)
        }
        _ => default,
    }
}

#[test]
fn clusters_keep_their_promises() {
    for seed in seeds(1..40) {
        if let Err(problem) = run(seed) {
            panic!("seed {seed}: {problem}");
        }
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 4] {
        assert_eq!(run(seed), run(seed));
    }
}
