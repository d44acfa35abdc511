//! A cluster is upgraded host by host while clients write: daemons from before there were features and those of today, in one cluster, in
//! every order, and back again; until the new release is required, and the old one refused.

use basalt_net::message::monitor::{AdminCommand, CommandReply};
use basalt_net::{Features, WireMode};
use basalt_tests::cluster::workload::{self, History, WorkloadOptions};
use basalt_tests::cluster::{Cluster, ClusterOptions, verdict};
use std::rc::Rc;
use std::time::Duration;

const OLD: Features = Features::NONE;
const NEW: Features = Features::CURRENT;
const EPERM: i32 = 1;

#[derive(Clone, Copy)]
enum Step {
    Monitor(Features),
    Host(usize, Features),
}
use Step::{Host, Monitor};

async fn require(cluster: &Cluster) -> CommandReply {
    let command = AdminCommand::OsdRequireRelease { release: "0.2".into(), sure: false };
    cluster.monitor().command(command).await
}

async fn take(cluster: &Rc<Cluster>, step: Step, power: bool) {
    let ring = cluster.client.ring();
    match step {
        Monitor(features) => {
            cluster.install_monitor(features);
            cluster.kill_monitor();
            ring.sleep(Duration::from_millis(700)).await;
            cluster.start_monitor().await;
        }
        Host(host, features) => {
            let host = &cluster.hosts[host];
            host.kill(power);
            host.install(features);
            ring.sleep(Duration::from_millis(700)).await;
            cluster.start_host(host);
        }
    }
    // As an operator would: the next one when all is well.
    verdict::wait_until_clean(cluster, Duration::from_secs(120)).await.expect("it comes to rest between the steps");
}

fn rolled(seed: u64, steps: &[Step]) -> Result<(), String> {
    let mode = |is_secure| if is_secure { WireMode::Secure } else { WireMode::Crc };
    let (public_mode, cluster_mode) = (mode(seed.is_multiple_of(2)), mode(seed.is_multiple_of(3)));
    let options = ClusterOptions { features: OLD, public_mode, cluster_mode, ..ClusterOptions::default() };
    let cluster = Cluster::new(300 + seed, options);
    let history = History::default();
    let busy = WorkloadOptions {
        clients: 3,
        objects: 40,
        operations: 400,
        pause_max: Duration::from_millis(100),
        only_reads: false,
    };
    cluster.world.block_on(async {
        let ring = cluster.client.ring();
        let start = |first: u32| {
            let (cluster, history) = (cluster.clone(), history.clone());
            ring.spawn(async move { workload::run_from(&cluster, first, busy, &history).await })
        };
        let old_clients = start(0);
        cluster.install_clients(NEW);
        let new_clients = start(20);
        for (number, step) in steps.iter().enumerate() {
            assert_eq!(cluster.map().required_features, OLD, "nothing is required while somebody lacks it");
            let refused = require(&cluster).await;
            assert_eq!(refused.errno, EPERM, "before step {number}: {}", refused.message);
            take(&cluster, *step, number % 2 == 0).await;
        }
        cluster.is_over.set(true);
        old_clients.await;
        new_clients.await;
        cluster.is_over.set(false);
        // Their sessions have ended, and the hosts have told the monitor what they run.
        ring.sleep(Duration::from_secs(5)).await;
        let required = require(&cluster).await;
        assert_eq!(required.errno, 0, "{}", required.message);
        assert_eq!(cluster.map().required_features, NEW);
        verdict::wait_until_clean(&cluster, Duration::from_secs(120)).await?;
        // The way back is refused now.
        let back = &cluster.hosts[1];
        back.kill(false);
        back.install(OLD);
        cluster.start_host(back);
        ring.sleep(Duration::from_secs(40)).await;
        assert!(!cluster.map().osd(1).is_some_and(|osd| osd.is_up), "an old daemon was let in again");
        back.kill(false);
        back.install(NEW);
        cluster.start_host(back);
        verdict::wait_until_clean(&cluster, Duration::from_secs(120)).await?;
        workload::run_from(&cluster, 40, WorkloadOptions { operations: 20, ..busy }, &history).await;
        verdict::at_rest(&cluster, &history).await
    })
}

/// The monitor first, as docs/OPERATIONS.md has it.
#[test]
fn hosts_follow_the_monitor_one_by_one() {
    for seed in 0..4 {
        rolled(seed, &[Monitor(NEW), Host(0, NEW), Host(1, NEW), Host(2, NEW)]).unwrap();
    }
}

/// Any other order keeps what was written, too.
#[test]
fn the_monitor_may_come_last_or_in_between() {
    rolled(4, &[Host(2, NEW), Host(1, NEW), Host(0, NEW), Monitor(NEW)]).unwrap();
    rolled(5, &[Host(1, NEW), Monitor(NEW), Host(0, NEW), Host(2, NEW)]).unwrap();
}

/// Until the new release is required, everything can be taken back.
#[test]
fn a_half_done_upgrade_is_taken_back_and_done_again() {
    let back_and_forth = [
        Monitor(NEW),
        Host(0, NEW),
        Host(1, NEW),
        Host(0, OLD),
        Monitor(OLD),
        Host(1, OLD),
        Host(0, NEW),
        Monitor(NEW),
        Host(2, NEW),
        Host(1, NEW),
    ];
    for seed in 6..8 {
        rolled(seed, &back_and_forth).unwrap();
    }
}
