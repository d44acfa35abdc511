//! A monitor, one host with one OSD, and as many clients as a test wants, in one world.

use crate::monitor::Monitor;
use crate::peer::Peer;
use basalt_blockstore::{Devices, FormatOptions, Store};
use basalt_cluster::config::{BaseModel, ScrubSettings};
use basalt_net::message::monitor::{AdminCommand, CommandReply};
use basalt_net::{Credentials, EntityName, Fsid, Key};
use basalt_osd::{HostConfig, Identity, OsdDevices, RingHost};
use basalt_ring::sim::{Disk, Process, World};
use basalt_ring::{DeviceInfo, DeviceKind, DeviceOptions, Ring};
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const OSD: u32 = 0;
/// The first pool of a cluster.
pub const POOL: u32 = 1;

const FSID: Fsid = Fsid([0xb5; 16]);
const MONITOR: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
pub const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
pub const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3));

pub struct SimulatedCluster {
    pub world: World,
    pub base: Disk,
    pub hot: Option<Disk>,
    pub monitor: Monitor,
    pub client: Process,
    host: RefCell<Option<(Process, RingHost)>>,
    options: ClusterOptions,
    clients: Cell<u64>,
}

#[derive(Clone, Copy)]
pub struct ClusterOptions {
    pub base_bytes: u64,
    /// 0: none.
    pub hot_bytes: u64,
    /// Base is a hard disk.
    pub rotational: bool,
    /// And as slow as one.
    pub base_model: BaseModel,
    pub max_object_size: u64,
    pub scrub: ScrubSettings,
}

impl Default for ClusterOptions {
    fn default() -> ClusterOptions {
        ClusterOptions {
            base_bytes: 256 << 20,
            hot_bytes: 0,
            rotational: false,
            base_model: BaseModel::None,
            max_object_size: 16 << 20,
            scrub: ScrubSettings::default(),
        }
    }
}

pub fn credentials(name: &str) -> Credentials {
    Credentials::shared(FSID, Key::from_bytes([0x5a; 32]), EntityName::new(name).expect("a name"))
}

pub fn monitors() -> Vec<SocketAddr> {
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

impl SimulatedCluster {
    /// A formatted host that is up, and a pool of eight groups with one copy.
    pub fn new(seed: u64, options: ClusterOptions) -> SimulatedCluster {
        let world = World::new(seed);
        let base = disk(&world, "base", options.base_bytes, options.rotational);
        let hot = (options.hot_bytes > 0).then(|| disk(&world, "hot", options.hot_bytes, false));
        let monitor_process = world.process("monitor", MONITOR);
        let client = world.process("client", CLIENT);
        let ring = monitor_process.ring();
        let monitor = world.block_on(async {
            let listener = ring.listen(SocketAddr::new(MONITOR, 6789)).await.expect("the port is free");
            Monitor::start(&ring, listener, credentials("mon.a"))
        });
        let cluster = SimulatedCluster {
            world,
            base,
            hot,
            monitor,
            client,
            host: RefCell::default(),
            options,
            clients: Cell::new(100),
        };
        cluster.world.block_on(cluster.format());
        cluster.world.block_on(cluster.start_host());
        let create = AdminCommand::PoolCreate { name: "data".into(), pg_num: Some(8), rule: None, size: Some(1) };
        let reply = cluster.world.block_on(cluster.monitor.command(create));
        assert_eq!(reply.errno, 0, "{}", reply.message);
        cluster.world.block_on(cluster.wait_for_map());
        cluster
    }

    async fn format(&self) {
        let process = self.world.process("mkfs", HOST);
        let ring = process.ring();
        let devices = Devices {
            base: open(&ring, "base").await,
            hot: if self.hot.is_some() { Some(open(&ring, "hot").await) } else { None },
        };
        let options = FormatOptions { osd: OSD, store_id: [7; 16], fsid: FSID.0, wal_bytes: None, force: false };
        Store::format(&ring, &devices, options).await.expect("an empty disk can be formatted");
        drop(devices);
        process.kill();
    }

    pub async fn start_host(&self) {
        let process = self.world.process("host", HOST);
        let config = HostConfig {
            identity: Identity::shared(FSID, Key::from_bytes([0x5a; 32])),
            host: "h0".into(),
            monitors: monitors(),
            public_address: SocketAddr::new(HOST, 6800),
            cluster_address: SocketAddr::new(HOST, 6801),
            memory_target: 64 << 20,
            max_object_size: self.options.max_object_size,
            scrub: self.options.scrub,
            busy_poll: std::time::Duration::ZERO,
            stray_kept: basalt_osd::limits::STRAY_KEPT,
            complaint_time: Duration::from_secs(1),
            in_file: Default::default(),
            osds: vec![OsdDevices {
                id: OSD,
                base: PathBuf::from("base"),
                hot: self.hot.is_some().then(|| PathBuf::from("hot")),
                core: None,
                base_model: self.options.base_model,
                volatile_cache: None,
            }],
        };
        let host = RingHost::start(&process.ring(), config).await.expect("the host starts");
        *self.host.borrow_mut() = Some((process, host));
        self.wait_for_map().await;
    }

    /// Waits until the OSD goes by the monitor's newest map, and that map has it up.
    pub async fn wait_for_map(&self) {
        let ring = self.client.ring();
        loop {
            let map = self.monitor.map();
            let epoch = self.with_osd(|osd| osd.epoch());
            if map.osd(OSD).is_some_and(|osd| osd.is_up) && epoch == map.epoch() {
                return;
            }
            ring.sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn with_osd<T>(&self, look: impl FnOnce(&basalt_osd::osd::Osd) -> T) -> T {
        let host = self.host.borrow();
        let (_, host) = host.as_ref().expect("the host runs");
        look(&host.osd(OSD).expect("it has its OSD"))
    }

    pub async fn stop_host(&self) {
        let host = self.host.borrow_mut().take();
        let (process, host) = host.expect("the host runs");
        host.stop().await.expect("a clean stop");
        process.kill();
    }

    /// Everything at once, and with it the power of the disks.
    pub fn crash_host(&self) {
        let (process, host) = self.host.borrow_mut().take().expect("the host runs");
        drop(host);
        process.kill();
        self.base.power_cut();
        if let Some(hot) = &self.hot {
            hot.power_cut();
        }
    }

    /// A client with a number of its own.
    pub async fn peer(&self) -> Peer {
        self.clients.set(self.clients.get() + 1);
        self.peer_named(self.clients.get()).await
    }

    pub async fn peer_named(&self, client: u64) -> Peer {
        let address = SocketAddr::new(HOST, 6800);
        Peer::connect(&self.client.ring(), address, &credentials("client.test"), OSD, self.monitor.map(), client).await
    }

    pub async fn command(&self, command: AdminCommand) -> CommandReply {
        self.monitor.command(command).await
    }

    pub async fn set(&self, variable: &str, value: &str) {
        let command = AdminCommand::PoolSet { name: "data".into(), variable: variable.into(), value: value.into() };
        let reply = self.command(command).await;
        assert_eq!(reply.errno, 0, "{}", reply.message);
        self.wait_for_map().await;
    }
}

async fn open(ring: &Ring, path: &str) -> basalt_ring::Device {
    let options = DeviceOptions { write: true, exclusive: true, ..DeviceOptions::default() };
    ring.open_device(Path::new(path), options).await.expect("the disk is there")
}
