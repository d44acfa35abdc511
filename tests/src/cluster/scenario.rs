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
            verdict::wait_until_clean(&cluster, Duration::from_secs(120)).await?;
            verdict::judge(&cluster, &history).await
        })?;
    }
    Ok(0)
}
