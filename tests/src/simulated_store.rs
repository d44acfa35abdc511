//! A store in a simulated world: one process, a base disk and perhaps a hot one.

use crate::model::{self, Step};
use basalt_blockstore::fsck::{self, FaultKind, FsckOptions, Report};
use basalt_blockstore::{
    Commit, Devices, FormatOptions, ObjectKey, OpenOptions, Placement, Result, Store, store_id_from,
};
use basalt_ring::sim::{Disk, Process, World};
use basalt_ring::{DeviceInfo, DeviceKind, DeviceOptions, Ring};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub base_bytes: u64,
    /// 0: no hot device.
    pub hot_bytes: u64,
    pub wal_bytes: u64,
}

impl Shape {
    pub const SMALL_TIERED: Shape = Shape { base_bytes: 8 << 20, hot_bytes: 4 << 20, wal_bytes: 256 << 10 };
    pub const SMALL_PLAIN: Shape = Shape { base_bytes: 8 << 20, hot_bytes: 0, wal_bytes: 256 << 10 };
    /// The log leaves so little room for data that what is freed is soon written over.
    pub const TIGHT_TIERED: Shape = Shape { base_bytes: 4 << 20, hot_bytes: 4 << 20, wal_bytes: 740 * 4096 };
    pub const TIGHT_PLAIN: Shape = Shape { base_bytes: 4 << 20, hot_bytes: 0, wal_bytes: 740 * 4096 };
}

pub struct SimulatedStore {
    pub world: World,
    pub base: Disk,
    pub hot: Option<Disk>,
    processes: u32,
    pub process: Process,
}

fn info(size: u64, discard: bool) -> DeviceInfo {
    DeviceInfo { kind: DeviceKind::Block, size, sector_size: 512, rotational: false, volatile_cache: true, discard }
}

impl SimulatedStore {
    pub fn new(seed: u64, shape: Shape) -> SimulatedStore {
        SimulatedStore::on_disks(seed, shape, true)
    }

    /// Without discard nothing is left on the disks but what was written there.
    pub fn on_disks(seed: u64, shape: Shape, discard: bool) -> SimulatedStore {
        let world = World::new(seed);
        let base = world.add_disk("/sim/base", info(shape.base_bytes, discard));
        let hot = (shape.hot_bytes > 0).then(|| world.add_disk("/sim/hot", info(shape.hot_bytes, discard)));
        let process = world.process("osd.0-1", IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        SimulatedStore { world, base, hot, processes: 1, process }
    }

    pub fn ring(&self) -> Ring {
        self.process.ring()
    }

    /// Power cut: the process dies, the disks keep what they please of what was not flushed.
    pub fn power_cut(&mut self) {
        self.process.kill();
        self.base.power_cut();
        if let Some(hot) = &self.hot {
            hot.power_cut();
        }
        self.restart();
    }

    /// The disks, base first.
    pub fn disks(&self) -> Vec<&Disk> {
        std::iter::once(&self.base).chain(&self.hot).collect()
    }

    /// A new process, for one that was killed or whose store was dropped.
    pub fn restart(&mut self) {
        self.process.kill();
        self.processes += 1;
        let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 0)) + self.processes);
        self.process = self.world.process(&format!("osd.0-{}", self.processes), IpAddr::V4(address));
    }
}

/// Opens the devices of a simulated store.
pub async fn devices(ring: &Ring, hot: bool) -> Devices {
    let options = DeviceOptions { write: true, exclusive: true, ..DeviceOptions::default() };
    let open =
        async |path: &str| ring.open_device(Path::new(path), options.clone()).await.expect("a simulated disk opens");
    Devices { base: open("/sim/base").await, hot: if hot { Some(open("/sim/hot").await) } else { None } }
}

pub async fn format(ring: &Ring, shape: Shape, seed: u64) -> Result<()> {
    let options = FormatOptions {
        osd: 0,
        store_id: store_id_from(seed),
        fsid: [1; 16],
        wal_bytes: Some(shape.wal_bytes),
        force: false,
    };
    Store::format(ring, &devices(ring, shape.hot_bytes > 0).await, options).await
}

/// What the tests open with unless they are about something else.
pub fn options() -> OpenOptions {
    OpenOptions { index_cache_bytes: 1 << 20, object_size_max: 4 << 20, ..OpenOptions::default() }
}

pub async fn open(ring: &Ring, shape: Shape) -> Result<Store> {
    open_with(ring, shape, options()).await
}

pub async fn open_with(ring: &Ring, shape: Shape, options: OpenOptions) -> Result<Store> {
    Store::open(ring, devices(ring, shape.hot_bytes > 0).await, options).await
}

/// One transaction of one object, durable.
pub async fn transact(
    ring: &Ring,
    store: &Store,
    object: &ObjectKey,
    steps: &[Step],
    placement: Placement,
) -> Result<()> {
    submit(ring, store, object, steps, placement).await?.durable().await
}

/// One transaction of one object, on its way.
pub async fn submit(
    ring: &Ring,
    store: &Store,
    object: &ObjectKey,
    steps: &[Step],
    placement: Placement,
) -> Result<Commit> {
    let mut transaction = store.begin(&model::objects_of(object, steps)).await;
    model::stage(ring, &mut transaction, object, steps);
    transaction.prepare(placement).await?.submit().await
}

/// Checks the store on the disks, data and all.
pub async fn check(ring: &Ring, shape: Shape) -> Report {
    let devices = devices(ring, shape.hot_bytes > 0).await;
    fsck::check(ring, &devices, FsckOptions { deep: true, repair: false }).await.expect("simulated disks can be asked")
}

/// Checks and repairs.
pub async fn repair(ring: &Ring, shape: Shape) -> Result<Report> {
    let devices = devices(ring, shape.hot_bytes > 0).await;
    fsck::check(ring, &devices, FsckOptions { deep: true, repair: true }).await
}

/// The faults that a crash alone must never leave: all but a superblock copy that was being written.
pub fn serious(report: &Report) -> Vec<String> {
    report.faults.iter().filter(|fault| fault.kind != FaultKind::SuperblockCopy).map(ToString::to_string).collect()
}

/// A world with a store on its disks, not open.
pub fn formatted(seed: u64, shape: Shape) -> SimulatedStore {
    let mut sim = SimulatedStore::new(seed, shape);
    let ring = sim.ring();
    sim.world.block_on(async { format(&ring, shape, seed).await.expect("format") });
    sim.restart();
    sim
}

/// Ends what runs and checks the store as it is on the disks.
pub fn assert_sound(sim: &mut SimulatedStore, shape: Shape) {
    sim.restart();
    let ring = sim.ring();
    let report = sim.world.block_on(check(&ring, shape));
    assert_eq!(serious(&report), Vec::<String>::new());
}
