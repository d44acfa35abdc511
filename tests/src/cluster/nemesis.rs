//! What goes wrong, drawn from a seed: processes, power, networks, disks and clocks; on slow disks and links, and while administrators
//! do their work.

use super::administrator::Administrator;
use super::rot;
use super::{Cluster, SimulatedHost};
use crate::random::Random;
use basalt_ring::Ring;
use basalt_ring::sim::{Disk, PowerFailure};
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    HostDies,
    AllDie,
    TwoDie,
    NetworkCut,
    PairCut,
    ConnectionsBreak,
    MonitorDies,
    MonitorCut,
    SlowDisk,
    HangingDisk,
    NewDisk,
    ClockJumps,
    FailingDisk,
    Rot,
    FailingDevice,
    DeviceGone,
    PowerCutMidway,
}

const FAULTS: [Fault; 14] = [
    Fault::HostDies,
    Fault::AllDie,
    Fault::TwoDie,
    Fault::NetworkCut,
    Fault::PairCut,
    Fault::ConnectionsBreak,
    Fault::MonitorDies,
    Fault::MonitorCut,
    Fault::SlowDisk,
    Fault::HangingDisk,
    Fault::NewDisk,
    Fault::ClockJumps,
    Fault::FailingDisk,
    Fault::Rot,
];

/// What an OSD with two disks has beside them.
const TIER_FAULTS: [Fault; 3] = [Fault::FailingDevice, Fault::DeviceGone, Fault::PowerCutMidway];

/// Does its worst, then puts everything right.
pub async fn run(cluster: &Rc<Cluster>, options: NemesisOptions) {
    let mut random = Random::new(cluster.world.seed() * 7919 + 5);
    // Some seeds have it with a few kinds of faults again and again, which come upon what a mixture of all seldom does.
    let all = if cluster.is_tiered() { [FAULTS.as_slice(), &TIER_FAULTS].concat() } else { FAULTS.to_vec() };
    let faults = match random.chance(60) {
        true => (0..3).map(|_| *random.pick(&all)).collect(),
        false => all,
    };
    let mut nemesis =
        Nemesis { cluster: cluster.clone(), ring: cluster.client.ring(), random, options, faults, beaten: Vec::new() };
    let mut administrator = Administrator::new(cluster);
    for _ in 0..options.rounds {
        nemesis.pause(options.pause_max).await;
        if nemesis.random.chance(25) {
            administrator.act(&mut nemesis.random).await;
        }
        if cluster.is_tiered() && nemesis.random.chance(40) {
            administrator.act_on_tier(&mut nemesis.random).await;
        }
        if nemesis.random.chance(30) {
            nemesis.slow_something_down();
        }
        nemesis.soon_after_a_write(60).await;
        nemesis.strike().await;
        for host in std::mem::take(&mut nemesis.beaten) {
            nemesis.revive(&host).await;
        }
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
    faults: Vec<Fault>,
    /// Hosts that died while something else was amiss, and are still dead.
    beaten: Vec<Rc<SimulatedHost>>,
}

impl Nemesis {
    async fn pause(&mut self, most: Duration) {
        let pause = self.random.duration(most);
        self.ring.sleep(pause).await;
    }

    /// Most of what can go wrong goes wrong only in the middle of a write.
    async fn soon_after_a_write(&mut self, percent: u64) {
        if self.random.chance(percent) {
            self.cluster.soon_after_a_write(&mut self.random).await;
        }
    }

    /// For as long as a fault lasts. It may not be the only one.
    async fn last(&mut self) {
        if self.random.chance(35) {
            self.pause(Duration::from_secs(2)).await;
            self.soon_after_a_write(80).await;
            let host = self.host();
            self.kill(&host);
            self.beaten.push(host.clone());
            if self.random.chance(40) {
                self.pause(self.options.fault_max / 2).await;
                self.beaten.clear();
                self.cluster.start_host(&host);
            }
        }
        self.pause(self.options.fault_max).await;
    }

    fn host(&mut self) -> Rc<SimulatedHost> {
        self.random.pick(&self.cluster.hosts).clone()
    }

    fn kill(&mut self, host: &SimulatedHost) {
        let power = self.random.chance(50);
        self.cluster.tell(|| format!("host {} dies{}", host.id, if power { ", and its power fails" } else { "" }));
        host.kill(power);
    }

    /// It may die again before it has all that it missed.
    async fn revive(&mut self, host: &Rc<SimulatedHost>) {
        if self.random.chance(25) {
            self.slow_disks(host, 60);
        }
        self.cluster.start_host(host);
        if self.random.chance(30) {
            self.pause(Duration::from_millis(1500)).await;
            self.soon_after_a_write(50).await;
            self.kill(host);
            self.pause(Duration::from_secs(1)).await;
            self.cluster.start_host(host);
        }
    }

    async fn strike(&mut self) {
        let host = self.host();
        let fault = *self.random.pick(&self.faults);
        self.cluster.tell(|| format!("{fault:?} at host {}", host.id));
        match fault {
            Fault::HostDies => {
                self.kill(&host);
                self.last().await;
                self.revive(&host).await;
            }
            Fault::AllDie => self.all_die().await,
            Fault::TwoDie => self.two_die(&host).await,
            Fault::NetworkCut => self.cut_network(&host).await,
            Fault::PairCut => {
                let other = self.host();
                self.cut(host.cluster, &[other.cluster], 0);
                self.last().await;
                self.cluster.heal_networks();
            }
            Fault::ConnectionsBreak => self.break_connections(&host).await,
            Fault::MonitorDies => {
                self.cluster.kill_monitor();
                self.last().await;
                self.cluster.start_monitor().await;
            }
            Fault::MonitorCut => {
                // The monitor is cut off from a host, which others reach.
                self.cut(host.public, &[self.cluster.monitor_address()], 0);
                self.last().await;
                self.cluster.heal_networks();
            }
            Fault::SlowDisk => {
                self.slow_disks(&host, 200);
                self.last().await;
                host.disks.iter().for_each(|disk| disk.heal());
            }
            Fault::HangingDisk => {
                self.some_disks(&host).iter().for_each(|disk| disk.hang());
                self.last().await;
                host.disks.iter().for_each(|disk| disk.release());
            }
            Fault::NewDisk => self.replace_disk(&host).await,
            Fault::ClockJumps => {
                let second = 1_000_000_000_i64;
                host.shift_wall_clock((self.random.below(200) as i64 - 100) * second);
            }
            Fault::FailingDisk => {
                // A disk that fails takes its OSD out of service; another start finds it well again.
                let disk = self.disk(&host);
                disk.fail_flushes(libc::EIO);
                self.last().await;
                disk.heal();
                host.kill(true);
                self.pause(Duration::from_secs(1)).await;
                self.cluster.start_host(&host);
            }
            Fault::Rot => rot::strike(&self.cluster, &host, &mut self.random).await,
            Fault::FailingDevice => self.fail_device(&host).await,
            Fault::DeviceGone => {
                let disk = self.disk(&host);
                disk.vanish();
                self.last().await;
                host.kill(self.random.chance(50));
                disk.come_back();
                self.pause(Duration::from_secs(1)).await;
                self.revive(&host).await;
            }
            Fault::PowerCutMidway => self.cut_power_midway(&host).await,
        }
    }

    /// And back in any order.
    async fn all_die(&mut self) {
        let power = self.random.chance(50);
        self.cluster.hosts.iter().for_each(|host| host.kill(power));
        self.pause(self.options.fault_max).await;
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
        self.kill(host);
        self.soon_after_a_write(50).await;
        self.pause(Duration::from_millis(300)).await;
        self.kill(&other);
        if self.random.chance(50) {
            self.pause(self.options.fault_max).await;
        }
        self.revive(host).await;
        if other.id != host.id {
            self.pause(self.options.fault_max).await;
            self.revive(&other).await;
        }
    }

    /// `ways`: 0 both, 1 what comes, 2 what goes. What was connected may hear of it, or wait for what never comes.
    fn cut(&mut self, own: IpAddr, others: &[IpAddr], ways: u64) {
        let breaks = self.random.chance(30);
        for other in others {
            if ways != 1 {
                self.cluster.cut(own, *other);
            }
            if ways != 2 {
                self.cluster.cut(*other, own);
            }
            if breaks {
                self.cluster.world.reset_connections(own, *other);
            }
        }
    }

    /// One of its networks, one way or both.
    async fn cut_network(&mut self, host: &SimulatedHost) {
        let own = if self.random.chance(50) { host.cluster } else { host.public };
        let ways = self.random.below(3);
        self.cut(own, &self.cluster.addresses(), ways);
        self.last().await;
        self.cluster.heal_networks();
    }

    /// Sessions end in the middle of what they carry, and are made anew.
    async fn break_connections(&mut self, host: &Rc<SimulatedHost>) {
        for _ in 0..1 + self.random.below(5) {
            self.soon_after_a_write(80).await;
            let own = if self.random.chance(70) { host.cluster } else { host.public };
            for other in self.cluster.addresses() {
                self.cluster.world.reset_connections(own, other);
            }
            if self.random.chance(20) {
                self.soon_after_a_write(50).await;
                self.kill(host);
                self.pause(Duration::from_secs(1)).await;
                self.revive(host).await;
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
            self.cluster.tell(|| format!("host {} gets a new disk", host.id));
            host.wipe().await;
            self.cluster.note_healthy(host);
        }
        if self.random.chance(60) {
            // It takes so long to fill that what was filled already is written to.
            self.slow_disks(host, 100);
        }
        self.revive(host).await;
        self.pause(Duration::from_secs(3)).await;
    }

    /// One disk of the host, base or hot.
    fn disk(&mut self, host: &SimulatedHost) -> Disk {
        let disks = self.some_disks(host);
        disks[0].clone()
    }

    /// One of its disks or all of them. Without a hot slice there is nothing to choose.
    fn some_disks(&mut self, host: &SimulatedHost) -> Vec<Disk> {
        match host.disks.as_slice() {
            [base, hot] => match self.random.below(3) {
                0 => vec![base.clone()],
                1 => vec![hot.clone()],
                _ => vec![hot.clone(), base.clone()],
            },
            disks => disks.to_vec(),
        }
    }

    /// Everything that is written to it fails, or, as long as others have what it had, what is read as well.
    async fn fail_device(&mut self, host: &Rc<SimulatedHost>) {
        let disk = self.disk(host);
        let all = disk.info().size;
        // Of two copies the other may be away while this one cannot be read, and nobody could wait for that.
        let may_be_read_elsewhere = self.cluster.options.size > 2 && self.cluster.may_rot(host);
        if self.random.chance(50) && may_be_read_elsewhere {
            disk.fail_range(0, all, libc::EIO);
        } else {
            disk.fail_writes(0, all, libc::EIO);
        }
        self.last().await;
        host.kill(self.random.chance(50));
        disk.heal();
        self.pause(Duration::from_secs(1)).await;
        self.revive(host).await;
    }

    /// At some event of its disks, whatever they do just then for clients or for the tier.
    async fn cut_power_midway(&mut self, host: &Rc<SimulatedHost>) {
        for _ in 0..1 + self.random.below(3) {
            let disks: Vec<&Disk> = host.disks.iter().collect();
            let power = PowerFailure::at(&disks, self.random.below(300));
            let _ = self.ring.timeout(Duration::from_secs(3), power.happened()).await;
            host.kill(true);
            self.pause(Duration::from_secs(1)).await;
            self.cluster.start_host(host);
            self.pause(Duration::from_secs(2)).await;
        }
    }

    fn slow_disks(&mut self, host: &SimulatedHost, milliseconds_max: u64) {
        let added = Duration::from_millis(1 + self.random.below(milliseconds_max));
        self.cluster.tell(|| format!("the disks of host {} take {added:?} more", host.id));
        self.some_disks(host).iter().for_each(|disk| disk.slow_down(1, added));
    }

    /// Of what others' faults are then dealt with on.
    fn slow_something_down(&mut self) {
        let host = self.host();
        if self.random.chance(50) {
            self.slow_disks(&host, 40);
            return;
        }
        let other = self.host();
        let added = Duration::from_millis(1 + self.random.below(80));
        self.cluster.tell(|| format!("between hosts {} and {} or clients it takes {added:?} more", host.id, other.id));
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
