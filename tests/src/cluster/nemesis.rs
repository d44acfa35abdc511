//! What goes wrong, drawn from a seed: processes, power, networks, disks and clocks; on slow disks and links, and while administrators
//! do their work.

use super::administrator::Administrator;
use super::rot;
use super::{Cluster, SimulatedHost};
use crate::random::Random;
use basalt_ring::Ring;
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
    let mut nemesis = Nemesis {
        cluster: cluster.clone(),
        ring: cluster.client.ring(),
        random: Random::new(cluster.world.seed() * 7919 + 5),
        options,
    };
    let mut administrator = Administrator::new(cluster);
    for _ in 0..options.rounds {
        nemesis.pause(options.pause_max).await;
        if nemesis.random.chance(30) {
            administrator.act(&mut nemesis.random).await;
        }
        if nemesis.random.chance(30) {
            nemesis.slow_something_down();
        }
        // Most of what can go wrong goes wrong only in the middle of a write.
        if nemesis.random.chance(60) {
            cluster.soon_after_a_write(&mut nemesis.random).await;
        }
        nemesis.strike().await;
        if nemesis.random.chance(50) {
            nemesis.end_slowness();
        }
    }
    nemesis.end_slowness();
    cluster.heal_networks();
    for host in &cluster.hosts {
        host.disks.iter().for_each(|disk| disk.release());
    }
    administrator.undo_all().await;
}

struct Nemesis {
    cluster: Rc<Cluster>,
    ring: Ring,
    random: Random,
    options: NemesisOptions,
}

impl Nemesis {
    async fn pause(&mut self, most: Duration) {
        let pause = self.random.duration(most);
        self.ring.sleep(pause).await;
    }

    /// For as long as a fault lasts.
    async fn last(&mut self) {
        self.pause(self.options.fault_max).await;
    }

    fn host(&mut self) -> Rc<SimulatedHost> {
        self.random.pick(&self.cluster.hosts).clone()
    }

    async fn strike(&mut self) {
        let host = self.host();
        match self.random.below(22) {
            0..4 => {
                host.kill(self.random.chance(50));
                self.last().await;
                self.cluster.start_host(&host);
            }
            4 => self.all_die().await,
            5 | 6 => self.two_die(&host).await,
            7..10 => self.isolate(&host).await,
            10 => {
                // One pair alone.
                let other = self.host();
                self.cluster.cut(host.cluster, other.cluster);
                if self.random.chance(50) {
                    self.cluster.cut(other.cluster, host.cluster);
                }
                self.last().await;
                self.cluster.heal_networks();
            }
            11 => self.connections_break(&host).await,
            12 => {
                self.cluster.kill_monitor();
                self.last().await;
                self.cluster.start_monitor().await;
            }
            13 => {
                // The monitor is cut off from a host, which others reach.
                self.cluster.cut(host.public, self.cluster.monitor_address());
                self.cluster.cut(self.cluster.monitor_address(), host.public);
                self.last().await;
                self.cluster.heal_networks();
            }
            14 => {
                for disk in &host.disks {
                    disk.slow_down(1, Duration::from_millis(1 + self.random.below(200)));
                }
                self.last().await;
                host.disks.iter().for_each(|disk| disk.heal());
            }
            15 => {
                host.disks.iter().for_each(|disk| disk.hang());
                self.last().await;
                host.disks.iter().for_each(|disk| disk.release());
            }
            16 | 17 => self.replace_disk(&host).await,
            18 => {
                let second = 1_000_000_000_i64;
                host.shift_wall_clock((self.random.below(200) as i64 - 100) * second);
            }
            19 => {
                // A disk that fails takes its OSD out of service; another start finds it well again.
                host.disks[0].fail_flushes(libc::EIO);
                self.last().await;
                host.disks[0].heal();
                host.kill(true);
                self.pause(Duration::from_secs(1)).await;
                self.cluster.start_host(&host);
            }
            _ => rot::strike(&self.cluster, &host, &mut self.random).await,
        }
    }

    /// And back in any order.
    async fn all_die(&mut self) {
        let power = self.random.chance(50);
        self.cluster.hosts.iter().for_each(|host| host.kill(power));
        self.last().await;
        let mut order = self.cluster.hosts.clone();
        while !order.is_empty() {
            let next = order.swap_remove(self.random.below(order.len() as u64) as usize);
            self.cluster.start_host(&next);
            self.pause(Duration::from_millis(500)).await;
        }
    }

    /// The second while the first one's absence is still being dealt with; the first may be back long before the second.
    async fn two_die(&mut self, host: &Rc<SimulatedHost>) {
        let other = self.host();
        host.kill(self.random.chance(50));
        if self.random.chance(50) {
            self.cluster.soon_after_a_write(&mut self.random).await;
        }
        self.pause(Duration::from_millis(300)).await;
        other.kill(self.random.chance(50));
        if self.random.chance(50) {
            self.last().await;
        }
        self.cluster.start_host(host);
        if other.id != host.id {
            self.last().await;
            self.cluster.start_host(&other);
        }
    }

    /// One of its networks, one way or both.
    async fn isolate(&mut self, host: &SimulatedHost) {
        let others: Vec<IpAddr> = self.cluster.addresses();
        let own = if self.random.chance(50) { host.cluster } else { host.public };
        let ways = self.random.below(3);
        for other in others {
            if ways != 1 {
                self.cluster.cut(own, other);
            }
            if ways != 2 {
                self.cluster.cut(other, own);
            }
        }
        self.last().await;
        self.cluster.heal_networks();
    }

    /// Sessions end in the middle of what they carry, and are made anew.
    async fn connections_break(&mut self, host: &SimulatedHost) {
        for _ in 0..1 + self.random.below(5) {
            self.cluster.soon_after_a_write(&mut self.random).await;
            let own = if self.random.chance(70) { host.cluster } else { host.public };
            for other in self.cluster.addresses() {
                self.cluster.world.reset_connections(own, other);
            }
            self.pause(Duration::from_millis(500)).await;
        }
    }

    /// A new disk in place of the old one, as far as others have all that it had.
    async fn replace_disk(&mut self, host: &Rc<SimulatedHost>) {
        if !self.cluster.may_wipe(host) {
            return;
        }
        host.kill(true);
        self.pause(Duration::from_secs(1)).await;
        if self.cluster.may_wipe(host) {
            host.wipe().await;
            self.cluster.note_healthy(host);
        }
        if self.random.chance(60) {
            // So that it takes as long to fill as it takes to write to what was filled already.
            host.disks.iter().for_each(|disk| disk.slow_down(1, Duration::from_millis(1 + self.random.below(60))));
        }
        self.cluster.start_host(host);
        self.pause(Duration::from_secs(3)).await;
        if self.random.chance(30) {
            host.kill(self.random.chance(50));
            self.pause(Duration::from_secs(1)).await;
            self.cluster.start_host(host);
        }
    }

    /// Of what others' faults are then dealt with on.
    fn slow_something_down(&mut self) {
        let host = self.host();
        if self.random.chance(50) {
            host.disks.iter().for_each(|disk| disk.slow_down(1, Duration::from_millis(1 + self.random.below(40))));
            return;
        }
        let other = self.host();
        let added = Duration::from_millis(1 + self.random.below(80));
        let pairs = [(host.cluster, other.cluster), (host.public, self.cluster.client_address())];
        let (one, another) = *self.random.pick(&pairs);
        self.cluster.world.slow_down(one, another, added);
        if self.random.chance(50) {
            self.cluster.world.slow_down(another, one, added);
        }
    }

    fn end_slowness(&self) {
        for host in &self.cluster.hosts {
            host.disks.iter().for_each(|disk| disk.heal());
        }
        for from in self.cluster.addresses() {
            for to in self.cluster.addresses() {
                self.cluster.world.slow_down(from, to, Duration::ZERO);
            }
        }
    }
}
