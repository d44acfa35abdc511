//! What goes wrong, drawn from a seed: processes, power, networks, disks and clocks.

use super::{Cluster, SimulatedHost};
use crate::random::Random;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Copy, Debug)]
pub struct NemesisOptions {
    pub rounds: u32,
    pub pause_max: Duration,
    /// How long a fault lasts at most.
    pub fault_max: Duration,
}

/// Does its worst, then puts everything right.
pub async fn run(cluster: &Rc<Cluster>, options: NemesisOptions) {
    let mut random = Random::new(cluster.world.seed() * 7919 + 5);
    let ring = cluster.client.ring();
    for _ in 0..options.rounds {
        ring.sleep(random.duration(options.pause_max)).await;
        let fault = random.duration(options.fault_max);
        let host = cluster.hosts[random.below(cluster.hosts.len() as u64) as usize].clone();
        match random.below(18) {
            0..4 => {
                host.kill(random.below(2) == 0);
                ring.sleep(fault).await;
                cluster.start_host(&host);
            }
            // All at once, and back in any order.
            4 => {
                let power = random.below(2) == 0;
                cluster.hosts.iter().for_each(|host| host.kill(power));
                ring.sleep(fault).await;
                let mut order: Vec<Rc<SimulatedHost>> = cluster.hosts.clone();
                while !order.is_empty() {
                    let next = order.swap_remove(random.below(order.len() as u64) as usize);
                    cluster.start_host(&next);
                    ring.sleep(random.duration(Duration::from_millis(500))).await;
                }
            }
            5 => {
                // Two in a row: the second while the first one's absence is still being dealt with.
                let other = cluster.hosts[random.below(cluster.hosts.len() as u64) as usize].clone();
                host.kill(random.below(2) == 0);
                ring.sleep(random.duration(Duration::from_millis(300))).await;
                other.kill(random.below(2) == 0);
                ring.sleep(fault).await;
                cluster.start_host(&host);
                if other.id != host.id {
                    ring.sleep(random.duration(Duration::from_secs(1))).await;
                    cluster.start_host(&other);
                }
            }
            6..9 => {
                let others: Vec<IpAddr> = cluster.addresses();
                let own = if random.below(2) == 0 { host.cluster } else { host.public };
                let ways = random.below(3);
                for other in others {
                    if ways != 1 {
                        cluster.cut(own, other);
                    }
                    if ways != 2 {
                        cluster.cut(other, own);
                    }
                }
                ring.sleep(fault).await;
                cluster.heal_networks();
            }
            9 => {
                // One pair alone.
                let other = &cluster.hosts[random.below(cluster.hosts.len() as u64) as usize];
                cluster.cut(host.cluster, other.cluster);
                if random.below(2) == 0 {
                    cluster.cut(other.cluster, host.cluster);
                }
                ring.sleep(fault).await;
                cluster.heal_networks();
            }
            10 => {
                cluster.kill_monitor();
                ring.sleep(fault).await;
                cluster.start_monitor().await;
            }
            11 => {
                // The monitor is cut off from a host, which others reach.
                cluster.cut(host.public, cluster.monitor_address());
                cluster.cut(cluster.monitor_address(), host.public);
                ring.sleep(fault).await;
                cluster.heal_networks();
            }
            12 => {
                for disk in &host.disks {
                    disk.slow_down(1, Duration::from_millis(1 + random.below(200)));
                }
                ring.sleep(fault).await;
                host.disks.iter().for_each(|disk| disk.heal());
            }
            13 => {
                host.disks.iter().for_each(|disk| disk.hang());
                ring.sleep(fault).await;
                host.disks.iter().for_each(|disk| disk.release());
            }
            14 | 15 => {
                // A new disk in place of the old one, as far as others have all that it had.
                if cluster.may_wipe(&host) {
                    host.kill(true);
                    ring.sleep(random.duration(Duration::from_secs(1))).await;
                    if cluster.may_wipe(&host) {
                        host.wipe().await;
                    }
                    cluster.start_host(&host);
                }
            }
            16 => {
                let second = 1_000_000_000_i64;
                host.shift_wall_clock((random.below(200) as i64 - 100) * second);
            }
            _ => {
                // A disk that fails takes its OSD out of service; another start finds it well again.
                host.disks[0].fail_flushes(libc::EIO);
                ring.sleep(fault).await;
                host.disks[0].heal();
                host.kill(true);
                ring.sleep(random.duration(Duration::from_secs(1))).await;
                cluster.start_host(&host);
            }
        }
    }
    cluster.heal_networks();
    for host in &cluster.hosts {
        host.disks.iter().for_each(|disk| disk.release());
        host.disks.iter().for_each(|disk| disk.heal());
    }
}
