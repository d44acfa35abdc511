//! Sequences that a seed seldom comes upon.

use super::workload::{self, History, WorkloadOptions};
use super::{Cluster, ClusterOptions, verdict};
use basalt_net::message::monitor::{AdminCommand, ChangeMode, MapChange, OsdChange};
use std::time::Duration;

/// A primary that is cut off from everybody but one client, who does not hear of the new map either, must neither answer that client with
/// what is old nor with what nobody else has; for as long as its leases last, nobody else may go on.
pub fn cut_off_primary() -> Result<u64, String> {
    for round in 0..12_u64 {
        let cluster = Cluster::new(90 + round, ClusterOptions { pg_num: 1, ..ClusterOptions::default() });
        let history = History::default();
        let options = WorkloadOptions {
            clients: 3,
            objects: 3,
            operations: 30,
            pause_max: Duration::from_millis(60),
            only_reads: false,
        };
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            // The second client knows the map of now, and will know no other.
            let lonely = cluster.lonely_client();
            let only_reads = round % 2 == 0;
            // Where one writes, others look at what it writes while it waits.
            let lonely_options = WorkloadOptions {
                clients: if only_reads { 2 } else { 1 },
                operations: 30,
                only_reads,
                pause_max: Duration::from_millis(700),
                ..options
            };
            let readers = WorkloadOptions { clients: 2, operations: 35, only_reads: true, ..lonely_options };
            let lonely_run = {
                let (cluster, history) = (cluster.clone(), history.clone());
                lonely.ring().spawn(async move { workload::run_from(&cluster, 7, lonely_options, &history).await })
            };
            let readers_run = {
                let (cluster, history) = (cluster.clone(), history.clone());
                lonely.ring().spawn(async move { workload::run_from(&cluster, 10, readers, &history).await })
            };
            workload::run(&cluster, WorkloadOptions { operations: 3, ..options }, &history).await;
            let primary = cluster.map().pgs().next().and_then(|(_, _, group)| group.primary).ok_or("no primary")?;
            let host = cluster.hosts[primary as usize].clone();
            for other in cluster.addresses() {
                for own in [host.public, host.cluster] {
                    cluster.cut(own, other);
                    cluster.cut(other, own);
                }
                if other != host.public {
                    cluster.cut(cluster.lonely_address(), other);
                    cluster.cut(other, cluster.lonely_address());
                }
            }
            cluster.world.heal(host.public, cluster.lonely_address());
            cluster.world.heal(cluster.lonely_address(), host.public);
            // Some rounds wait until the others miss it, others say so at once.
            if round % 4 < 2 {
                let change = MapChange::Osds { osds: vec![primary], what: OsdChange::Down };
                let command = AdminCommand::Change { change, mode: ChangeMode { dry_run: false, sure: true } };
                let reply = cluster.monitor().command(command).await;
                assert_eq!(reply.errno, 0, "{}", reply.message);
            } else {
                ring.sleep(Duration::from_millis(200 * round)).await;
            }
            workload::run_from(&cluster, 20, options, &history).await;
            if round > 7 {
                host.kill(true);
                cluster.start_host(&host);
            }
            ring.sleep(Duration::from_secs(5)).await;
            cluster.heal_networks();
            lonely_run.await;
            readers_run.await;
            verdict::wait_until_clean(&cluster, Duration::from_secs(120)).await?;
            workload::run_from(&cluster, 40, WorkloadOptions { operations: 6, ..options }, &history).await;
            verdict::judge(&cluster, &history).await
        })?;
    }
    Ok(0)
}

/// Of three members two fail at once; the one that is left must not go on alone, because when it fails, too, the other two come back
/// and know nothing of what it did.
pub fn last_survivor() -> Result<u64, String> {
    for survivor in 0..3_usize {
        let cluster = Cluster::new(70 + survivor as u64, ClusterOptions::default());
        let history = History::default();
        let options = WorkloadOptions {
            clients: 3,
            objects: 6,
            operations: 100,
            pause_max: Duration::from_millis(150),
            only_reads: false,
        };
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
            verdict::at_rest(&cluster, &history).await
        })?;
    }
    Ok(0)
}

/// Runs to the hash of its trace, or to what is wrong.
pub type Scenario = fn() -> Result<u64, String>;

/// What is run before any seed, with logs of so many entries.
pub const ALL: [(usize, Scenario); 6] = [
    (3000, last_survivor),
    (3000, cut_off_primary),
    (3000, half_a_write),
    (3000, absent_member),
    (20, slow_fill),
    (3000, interrupted_fill),
];

/// The members of the only group, its primary first.
fn members(cluster: &Cluster) -> Result<Vec<u32>, String> {
    let map = cluster.map();
    let (_, _, group) = map.pgs().next().ok_or("no group")?;
    let primary = group.primary.ok_or("no primary")?;
    let mut members = group.in_sync.clone();
    members.sort_by_key(|id| *id != primary);
    Ok(members)
}

const BUSY: WorkloadOptions =
    WorkloadOptions { clients: 3, objects: 8, operations: 30, pause_max: Duration::from_millis(10), only_reads: false };

/// A write that reaches one member only, before its primary and its client die: nobody asks for it again, and it must be on all members
/// or on none.
pub fn half_a_write() -> Result<u64, String> {
    for round in 0..8_usize {
        let cluster = Cluster::new(110 + round as u64, ClusterOptions { pg_num: 1, ..ClusterOptions::default() });
        let history = History::default();
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            workload::run(&cluster, WorkloadOptions { operations: 5, ..BUSY }, &history).await;
            let members = members(&cluster)?;
            let primary = cluster.hosts[members[0] as usize].clone();
            let misses_it = &cluster.hosts[members[1 + round % 2] as usize];
            for number in 0..4 {
                workload::start_mortal(&cluster, 60 + number, BUSY, &history);
            }
            ring.sleep(Duration::from_millis(100)).await;
            cluster.cut(primary.cluster, misses_it.cluster);
            ring.sleep(Duration::from_millis(30)).await;
            primary.kill(true);
            cluster.mortal_client().kill();
            // What waited at the cut is lost with its sender.
            cluster.world.reset_connections(primary.cluster, misses_it.cluster);
            cluster.heal_networks();
            let readers = WorkloadOptions { operations: 15, only_reads: true, ..BUSY };
            workload::run_from(&cluster, 20, readers, &history).await;
            ring.sleep(Duration::from_secs(6)).await;
            cluster.start_host(&primary);
            verdict::at_rest(&cluster, &history).await
        })?;
    }
    Ok(0)
}

/// A member of the set without a session to its primary, which dies before the monitor hears of it: the member may be the next primary,
/// and must have all that was answered.
pub fn absent_member() -> Result<u64, String> {
    for round in 0..4_usize {
        let cluster = Cluster::new(130 + round as u64, ClusterOptions { pg_num: 1, ..ClusterOptions::default() });
        let history = History::default();
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            workload::run(&cluster, WorkloadOptions { operations: 5, ..BUSY }, &history).await;
            let members = members(&cluster)?;
            let primary = cluster.hosts[members[0] as usize].clone();
            let absent = &cluster.hosts[members[1 + round % 2] as usize];
            cluster.cut(primary.cluster, absent.cluster);
            cluster.cut(absent.cluster, primary.cluster);
            cluster.world.reset_connections(primary.cluster, absent.cluster);
            let (busy, its_history) = (cluster.clone(), history.clone());
            let writing = ring.spawn(async move { workload::run_from(&busy, 20, BUSY, &its_history).await });
            ring.sleep(Duration::from_millis(100)).await;
            primary.kill(true);
            cluster.heal_networks();
            ring.sleep(Duration::from_secs(8)).await;
            cluster.start_host(&primary);
            writing.await;
            verdict::at_rest(&cluster, &history).await
        })?;
    }
    Ok(0)
}

/// A new disk that is slow: what was copied to it is written to before all is.
pub fn slow_fill() -> Result<u64, String> {
    for round in 0..3_usize {
        let cluster = Cluster::new(150 + round as u64, ClusterOptions { pg_num: 1, ..ClusterOptions::default() });
        let history = History::default();
        let options = WorkloadOptions { objects: 12, ..BUSY };
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            workload::run(&cluster, WorkloadOptions { operations: 20, ..options }, &history).await;
            let filled = cluster.hosts[members(&cluster)?[1 + round % 2] as usize].clone();
            filled.kill(true);
            filled.wipe().await;
            filled.disks[0].slow_down(1, Duration::from_millis(300));
            cluster.start_host(&filled);
            let is_filling = || cluster.map().osd(filled.id).is_some_and(|osd| osd.is_up);
            for _ in 0..600 {
                ring.sleep(Duration::from_millis(100)).await;
                if is_filling() {
                    break;
                }
            }
            let pause_max = Duration::from_millis(400);
            workload::run_from(&cluster, 20, WorkloadOptions { pause_max, ..options }, &history).await;
            filled.disks[0].heal();
            verdict::at_rest(&cluster, &history).await
        })?;
    }
    Ok(0)
}

/// A new disk that is slow, and fails at any moment of its filling or right after: what it had not confirmed it is sent again.
pub fn interrupted_fill() -> Result<u64, String> {
    for round in 0..20_u64 {
        let cluster = Cluster::new(170 + round, ClusterOptions { pg_num: 1, ..ClusterOptions::default() });
        let history = History::default();
        let options = WorkloadOptions { objects: 12, ..BUSY };
        cluster.world.block_on(async {
            let ring = cluster.client.ring();
            workload::run(&cluster, WorkloadOptions { operations: 10, ..options }, &history).await;
            // The one that will be primary again.
            let filled = cluster.hosts[members(&cluster)?[0] as usize].clone();
            filled.kill(true);
            filled.wipe().await;
            filled.disks[0].slow_down(1, Duration::from_millis(40));
            cluster.start_host(&filled);
            let (busy, its_history) = (cluster.clone(), history.clone());
            let pause_max = Duration::from_millis(100);
            let options = WorkloadOptions { pause_max, ..options };
            let writing = ring.spawn(async move { workload::run_from(&busy, 20, options, &its_history).await });
            for _ in 0..600 {
                ring.sleep(Duration::from_millis(10)).await;
                if cluster.map().osd(filled.id).is_some_and(|osd| osd.is_up) {
                    break;
                }
            }
            ring.sleep(Duration::from_millis(60 * round)).await;
            filled.kill(true);
            filled.disks[0].heal();
            ring.sleep(Duration::from_millis(500)).await;
            cluster.start_host(&filled);
            writing.await;
            verdict::at_rest(&cluster, &history).await
        })?;
    }
    Ok(0)
}
