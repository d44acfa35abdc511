//! A whole cluster in one simulated world: the shipped monitor, OSDs and clients, on disks and networks that fail as they are told.

pub mod administrator;
pub mod monitor;
pub mod nemesis;
pub mod rot;
pub mod scenario;
pub mod seed;
pub mod tier;
pub mod verdict;
pub mod workload;

use crate::random::Random;
use basalt_blockstore::fsck::{self, FaultKind, FsckOptions};
use basalt_blockstore::{Devices, FormatOptions, Store};
use basalt_client::{Client, ClientConfig};
use basalt_cluster::Map;
use basalt_cluster::config::{BaseModel, ScrubSettings};
use basalt_cluster::map::MapFlags;
use basalt_cluster::monitor::store::Stored;
use basalt_net::message::monitor::{AdminCommand, AuthCommand};
use basalt_net::{Credentials, EntityName, Features, Fsid, Key, Software, Trust, WireMode};
use basalt_osd::osd::Osd;
use basalt_osd::{HostConfig, Identity, OsdDevices, RingHost, WireModes};
use basalt_ring::local::Event;
use basalt_ring::sim::{Disk, Process, World};
use basalt_ring::{Device, DeviceInfo, DeviceKind, DeviceOptions, Ring};
use monitor::Monitor;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tier::TierCounts;

pub const POOL: &str = "data";
const FSID: Fsid = Fsid([0xb5; 16]);
const MONITOR: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const LONELY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 98));
const START_ATTEMPTS: u32 = 30;
const MORTAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 97));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 99));

#[derive(Clone, Copy, Debug)]
pub struct ClusterOptions {
    /// One OSD each.
    pub hosts: u32,
    pub size: u32,
    pub pg_num: u32,
    pub base_bytes: u64,
    /// 0: none.
    pub hot_bytes: u64,
    /// As slow as a hard disk.
    pub is_base_rotational: bool,
    pub public_mode: WireMode,
    pub cluster_mode: WireMode,
    /// Of all at the beginning; none: they are as daemons from before there were features.
    pub features: Features,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        ClusterOptions {
            hosts: 3,
            size: 3,
            pg_num: 4,
            base_bytes: 64 << 20,
            hot_bytes: 0,
            is_base_rotational: false,
            public_mode: WireMode::Crc,
            cluster_mode: WireMode::Crc,
            features: Features::CURRENT,
        }
    }
}

/// A machine with one OSD.
pub struct SimulatedHost {
    pub id: u32,
    pub public: IpAddr,
    pub cluster: IpAddr,
    pub disks: Vec<Disk>,
    process: Process,
    running: RefCell<Option<RingHost>>,
    /// It runs, or is on its way to.
    is_alive: Cell<bool>,
    had_rot: Cell<bool>,
    /// Counts its starts: one that was overtaken by a kill comes to nothing.
    starts: Cell<u64>,
    stores: Cell<u8>,
    /// Of what its next life runs.
    features: Cell<Features>,
    /// What the tiers of its lives that are over did.
    past_counts: Cell<TierCounts>,
}

pub struct Cluster {
    pub world: World,
    pub options: ClusterOptions,
    pub hosts: Vec<Rc<SimulatedHost>>,
    pub client: Process,
    lonely: Process,
    mortal: Process,
    /// A client asks for a change.
    pub write_began: Event,
    /// Clients need do no more.
    pub is_over: Cell<bool>,
    /// The host whose disks may hold damaged data.
    rotten: Cell<Option<u32>>,
    tells: bool,
    tier_counts: Cell<TierCounts>,
    monitor_process: Process,
    /// Of what the monitor's next life runs, and clients that connect from now on.
    monitor_features: Cell<Features>,
    client_features: Cell<Features>,
    monitor: RefCell<Option<Monitor>>,
    stored: Rc<RefCell<Stored>>,
}

/// Each entity has one of its own.
fn key(name: &str) -> Key {
    let mut bytes = [0x5a; 32];
    bytes.iter_mut().zip(name.bytes()).for_each(|(place, byte)| *place ^= byte);
    Key::from_bytes(bytes)
}

/// By what everybody but the monitor judges.
fn trust() -> Trust {
    Trust::in_monitors([key("mon.a").public()])
}

fn monitors() -> Vec<SocketAddr> {
    vec![SocketAddr::new(MONITOR, 6789)]
}

fn disk(world: &World, path: &str, size: u64, rotational: bool) -> Disk {
    let info = DeviceInfo {
        kind: DeviceKind::Block,
        size,
        sector_size: 512,
        rotational,
        volatile_cache: true,
        discard: false,
    };
    world.add_disk(path, info)
}

async fn open(ring: &Ring, path: &str) -> Device {
    let options = DeviceOptions { write: true, exclusive: true, ..DeviceOptions::default() };
    ring.open_device(Path::new(path), options).await.expect("the disk is there")
}

impl Cluster {
    /// Formatted hosts that are up, and a pool that takes writes.
    pub fn new(seed: u64, options: ClusterOptions) -> Rc<Cluster> {
        let world = World::new(seed);
        let monitor_process = world.process("monitor", MONITOR);
        let client = world.process("client", CLIENT);
        let lonely = world.process("lonely client", LONELY);
        let mortal = world.process("mortal client", MORTAL);
        let hosts = (0..options.hosts)
            .map(|id| {
                let [public, cluster] = [0, 1].map(|net| IpAddr::V4(Ipv4Addr::new(10, net, 0, 10 + id as u8)));
                let process = world.process(&format!("host-{id}"), public);
                process.add_address(cluster);
                let mut disks =
                    vec![disk(&world, &format!("{id}/base"), options.base_bytes, options.is_base_rotational)];
                if options.hot_bytes > 0 {
                    disks.push(disk(&world, &format!("{id}/hot"), options.hot_bytes, false));
                }
                Rc::new(SimulatedHost {
                    id,
                    public,
                    cluster,
                    disks,
                    process,
                    running: RefCell::default(),
                    is_alive: Cell::new(false),
                    had_rot: Cell::new(false),
                    starts: Cell::new(0),
                    stores: Cell::new(0),
                    features: Cell::new(options.features),
                    past_counts: Cell::default(),
                })
            })
            .collect();
        let cluster = Rc::new(Cluster {
            world,
            options,
            hosts,
            client,
            lonely,
            mortal,
            write_began: Event::new(),
            is_over: Cell::new(false),
            rotten: Cell::new(None),
            tells: std::env::var_os("BASALT_STORY").is_some(),
            tier_counts: Cell::default(),
            monitor_process,
            monitor_features: Cell::new(options.features),
            client_features: Cell::new(options.features),
            monitor: RefCell::default(),
            stored: Rc::default(),
        });
        cluster.world.block_on(cluster.bring_up());
        cluster
    }

    async fn bring_up(&self) {
        self.start_monitor().await;
        for host in &self.hosts {
            host.format().await;
            self.introduce(host).await;
            self.start_host(host);
        }
        let ring = self.client.ring();
        while self.monitor().map().osds.iter().filter(|osd| osd.is_up).count() < self.hosts.len() {
            ring.sleep(Duration::from_millis(10)).await;
        }
        let ClusterOptions { pg_num, size, .. } = self.options;
        let create = AdminCommand::PoolCreate { name: POOL.into(), pg_num: Some(pg_num), rule: None, size: Some(size) };
        let reply = self.monitor().command(create).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
    }

    /// Makes a host's OSD known to the cluster.
    async fn introduce(&self, host: &SimulatedHost) {
        let entity = format!("osd.{}", host.id);
        let (public_key, caps) = (key(&entity).public().0, || "profile osd".to_owned());
        let add = AuthCommand::Add { entity, public_key, mon: caps(), osd: caps() };
        let reply = self.monitor().command(AdminCommand::Auth(add)).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
    }

    pub fn monitor(&self) -> Monitor {
        self.monitor.borrow().clone().expect("the monitor runs")
    }

    pub fn has_monitor(&self) -> bool {
        self.monitor.borrow().is_some()
    }

    /// The newest map that was made durable.
    pub fn map(&self) -> Map {
        let stored = self.stored.borrow();
        let (_, bytes) = stored.newest_map.as_ref().expect("a map was made");
        Map::decode(bytes).expect("a map that was stored")
    }

    pub async fn start_monitor(&self) {
        let ring = self.monitor_process.ring();
        let listener = ring.listen(SocketAddr::new(MONITOR, 6789)).await.expect("the port is free");
        let name = EntityName::new("mon.a").expect("a name");
        let (trust, mode) = (Trust::of_monitor(), self.options.public_mode);
        let software = Software::with_features(self.monitor_features.get());
        let credentials = Credentials { fsid: FSID, key: key("mon.a"), name, trust, mode, software };
        let administrator = key("client.admin").public();
        let monitor = Monitor::start(&ring, listener, credentials, administrator, self.stored.clone());
        *self.monitor.borrow_mut() = Some(monitor);
    }

    pub fn kill_monitor(&self) {
        self.monitor.borrow_mut().take();
        self.monitor_process.kill();
    }

    /// Starts it beside; it is up when the map says so.
    pub fn start_host(&self, host: &Rc<SimulatedHost>) {
        let config = HostConfig {
            identity: Identity {
                fsid: FSID,
                key: key(&format!("osd.{}", host.id)),
                trust: trust(),
                modes: WireModes { public: self.options.public_mode, cluster: self.options.cluster_mode },
                software: Software::with_features(host.features.get()),
            },
            host: format!("h{}", host.id),
            monitors: monitors(),
            public_address: SocketAddr::new(host.public, 6800),
            cluster_address: SocketAddr::new(host.cluster, 6801),
            memory_target: 64 << 20,
            max_object_size: 16 << 20,
            // Often enough to meet faults; so small a store is read in a moment.
            scrub: ScrubSettings { interval: Duration::from_secs(140), ..ScrubSettings::default() },
            busy_poll: Duration::ZERO,
            // Longer than a dead session is taken for one that lives.
            stray_kept: Duration::from_secs(6),
            complaint_time: Duration::from_secs(1),
            in_file: Default::default(),
            osds: vec![OsdDevices {
                id: host.id,
                base: PathBuf::from(format!("{}/base", host.id)),
                hot: (self.options.hot_bytes > 0).then(|| PathBuf::from(format!("{}/hot", host.id))),
                core: None,
                base_model: BaseModel::None,
                volatile_cache: None,
            }],
        };
        if host.is_alive.replace(true) {
            return;
        }
        self.tell(|| format!("host {} starts", host.id));
        let start = host.starts.get() + 1;
        host.starts.set(start);
        let ring = host.process.ring();
        let (task_ring, starting) = (ring.clone(), host.clone());
        ring.spawn(async move {
            let mut attempts = 0;
            while starting.starts.get() == start {
                match RingHost::start(&task_ring, config.clone()).await {
                    Ok(running) if starting.starts.get() == start => {
                        *starting.running.borrow_mut() = Some(running);
                        return;
                    }
                    Ok(_) => {}
                    // A disk may fail just then; whoever looks after daemons starts them again.
                    Err(error) => {
                        attempts += 1;
                        assert!(attempts < START_ATTEMPTS, "host {} does not start: {error}", starting.id);
                        task_ring.sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        });
    }

    /// For whoever wants to know what happens in a seed: with BASALT_STORY set it is told while it happens.
    pub fn tell(&self, what: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>12.6} s  {}", self.world.elapsed().as_secs_f64(), what());
        }
    }

    pub fn is_tiered(&self) -> bool {
        self.options.hot_bytes > 0
    }

    pub fn count(&self, what: TierCounts) {
        let mut counts = self.tier_counts.get();
        counts += what;
        self.tier_counts.set(counts);
    }

    /// What the tiers have done so far.
    pub fn tier_counts(&self) -> TierCounts {
        let mut counts = self.tier_counts.get();
        self.hosts.iter().for_each(|host| counts += host.tier_counts());
        counts
    }

    /// Whether every group has another member that is up and has all of it.
    pub fn may_wipe(&self, host: &SimulatedHost) -> bool {
        let map = self.map();
        map.pgs().all(|(_, _, group)| {
            let others = group.in_sync.iter().filter(|id| **id != host.id);
            let mut alive = others.filter(|id| map.osd(**id).is_some_and(|osd| osd.is_up));
            alive.any(|id| self.hosts.get(*id as usize).is_some_and(|host| host.is_running() && !self.is_rotten(host)))
        })
    }

    /// Whether what rots on the host can be had elsewhere whatever happens next.
    pub fn may_rot(&self, host: &SimulatedHost) -> bool {
        let map = self.map();
        let is_whole = || map.pgs().all(|(_, pool, group)| group.in_sync.len() >= pool.size as usize);
        let all_up = || map.osds.iter().all(|osd| osd.is_up) && self.hosts.iter().all(|host| host.is_running());
        // An OSD that has just started anew goes down, although the map has it up still.
        let may_come_up = !map.flags.contains(MapFlags::NOUP);
        let rotten = self.rotten.get();
        rotten.is_none_or(|rotten| rotten == host.id) && is_whole() && all_up() && may_come_up
    }

    pub fn note_rotten(&self, host: &SimulatedHost) {
        self.rotten.set(Some(host.id));
        host.had_rot.set(true);
    }

    pub fn is_rotten(&self, host: &SimulatedHost) -> bool {
        self.rotten.get() == Some(host.id)
    }

    /// All that it has now was checked, or is new.
    pub fn note_healthy(&self, host: &SimulatedHost) {
        if self.is_rotten(host) {
            self.rotten.set(None);
        }
    }

    pub fn osd(&self, id: u32) -> Option<Rc<Osd>> {
        let host = self.hosts.get(id as usize)?;
        host.running.borrow().as_ref().and_then(|running| running.osd(id))
    }

    /// A second machine with clients.
    pub fn lonely_client(&self) -> Process {
        self.lonely.clone()
    }

    /// One that is killed now and then.
    pub fn mortal_client(&self) -> Process {
        self.mortal.clone()
    }

    /// A moment in which a change is probably under way, somewhere between its client and the last disk; or, without any, later.
    pub async fn soon_after_a_write(&self, random: &mut Random) {
        let ring = self.client.ring();
        if ring.timeout(Duration::from_secs(2), self.write_began.wait()).await.is_ok() {
            ring.sleep(random.duration(Duration::from_micros(1500))).await;
        }
    }

    pub fn lonely_address(&self) -> IpAddr {
        LONELY
    }

    pub async fn connect_on(&self, ring: &Ring) -> Client {
        let name = EntityName::new("client.admin").expect("a name");
        let shared = ClientConfig::new(FSID, monitors(), key("client.admin"), name);
        let software = Software::with_features(self.client_features.get());
        let config = ClientConfig { trust: trust(), mode: self.options.public_mode, software, ..shared };
        Client::connect(ring, config).await.expect("the monitor answers")
    }

    /// What the monitor runs when it is started next.
    pub fn install_monitor(&self, features: Features) {
        self.monitor_features.set(features);
    }

    /// What clients run that connect from now on.
    pub fn install_clients(&self, features: Features) {
        self.client_features.set(features);
    }

    /// Both ways, or one.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        self.world.cut(from, to);
    }

    pub fn addresses(&self) -> Vec<IpAddr> {
        let hosts = self.hosts.iter().flat_map(|host| [host.public, host.cluster]);
        [MONITOR, CLIENT, LONELY, MORTAL].into_iter().chain(hosts).collect()
    }

    pub fn monitor_address(&self) -> IpAddr {
        MONITOR
    }

    pub fn client_address(&self) -> IpAddr {
        CLIENT
    }

    pub fn heal_networks(&self) {
        let addresses = self.addresses();
        for from in &addresses {
            for to in &addresses {
                self.world.heal(*from, *to);
            }
        }
    }
}

impl SimulatedHost {
    /// What is wrong with its store, looked at offline after a clean stop: with every checksum, and all space that is taken.
    pub async fn fsck(&self) -> Result<(), String> {
        self.past_counts.set(self.tier_counts());
        let running = self.running.borrow_mut().take().ok_or_else(|| format!("host {} does not run", self.id))?;
        running.stop().await.map_err(|error| format!("host {} does not stop: {error}", self.id))?;
        self.kill(false);
        self.check().await
    }

    /// What is wrong with the store of a host that does not run.
    pub async fn check(&self) -> Result<(), String> {
        let devices = self.devices().await;
        let options = FsckOptions { deep: true, repair: false };
        let report = fsck::check(&self.process.ring(), &devices, options).await.map_err(|error| error.to_string())?;
        // What rotted in a copy that was left behind is still there.
        let counts = |fault: &&fsck::Fault| fault.kind != FaultKind::Data || !self.had_rot.get();
        let faults: Vec<String> = report.faults.iter().filter(counts).map(|fault| fault.to_string()).collect();
        if faults.is_empty() { Ok(()) } else { Err(format!("fsck of host {}: {}", self.id, faults.join("; "))) }
    }

    /// Of its lives until now.
    fn tier_counts(&self) -> TierCounts {
        let mut counts = self.past_counts.get();
        if let Some(osd) = self.running.borrow().as_ref().and_then(|running| running.osd(self.id))
            && let Some(map) = osd.map()
        {
            map.pools.iter().for_each(|pool| counts += TierCounts::of_life(osd.pool_counters(pool.id)));
        }
        counts
    }

    /// What it runs when it is started next.
    pub fn install(&self, features: Features) {
        self.features.set(features);
    }

    pub fn is_running(&self) -> bool {
        self.running.borrow().is_some()
    }

    async fn devices(&self) -> Devices {
        let ring = self.process.ring();
        Devices {
            base: open(&ring, &format!("{}/base", self.id)).await,
            hot: if self.disks.len() > 1 { Some(open(&ring, &format!("{}/hot", self.id)).await) } else { None },
        }
    }

    async fn format(&self) {
        let ring = self.process.ring();
        let devices = self.devices().await;
        let store_id = [self.id as u8 + 1 + 16 * self.stores.get(); 16];
        self.stores.set(self.stores.get() + 1);
        let options = FormatOptions { osd: self.id, store_id, fsid: FSID.0, wal_bytes: None, force: true };
        Store::format(&ring, &devices, options).await.expect("a disk can be formatted");
    }

    /// Ends the process at once; with `power`, its disks lose what their caches had.
    pub fn kill(&self, power: bool) {
        self.starts.set(self.starts.get() + 1);
        self.is_alive.set(false);
        self.past_counts.set(self.tier_counts());
        self.running.borrow_mut().take();
        self.process.kill();
        if power {
            self.disks.iter().for_each(Disk::power_cut);
        }
    }

    /// A new store on its disks. It must not be running.
    pub async fn wipe(&self) {
        self.format().await;
    }

    pub fn shift_wall_clock(&self, nanoseconds: i64) {
        self.process.shift_wall_clock(nanoseconds);
    }
}
