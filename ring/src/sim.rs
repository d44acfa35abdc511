//! The simulated driver: a seeded world of processes, disks and links in virtual time, on one thread.

mod crash;
mod disk;
mod faults;
mod image;
mod network;
mod power_failure;
mod process;
mod random;
mod world;

pub use faults::Operations;
pub use image::Image;
pub use power_failure::PowerFailure;
pub use process::Process;

pub(crate) use disk::OpenDisk;
pub(crate) use network::{SimulatedListener, SimulatedSocket, connect, listen};
pub(crate) use process::Host;

use crate::DeviceInfo;
use disk::DiskState;
use network::Network;
use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;
use world::Shared;

/// A simulated world. Everything that happens in it is a function of its seed and of the code that runs in it. With its last clone
/// everything in it is dropped.
#[derive(Clone)]
pub struct World {
    owner: Rc<Owner>,
}

/// Tasks hold the world they run in; this is what breaks the cycle.
struct Owner {
    shared: Rc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.shut_down();
    }
}

impl World {
    pub fn new(seed: u64) -> World {
        World { owner: Rc::new(Owner { shared: Shared::new(seed) }) }
    }
    fn shared(&self) -> &Rc<Shared> {
        &self.owner.shared
    }
    /// A process with its own tasks and its own view of the world; it can be killed. `address` is its IP.
    pub fn process(&self, name: &str, address: IpAddr) -> Process {
        Process::new(self.shared(), name, address)
    }
    /// Adds a disk that processes reach by `path`, full of zeros.
    pub fn add_disk(&self, path: &str, info: DeviceInfo) -> Disk {
        let state = Rc::new(DiskState::new(path.into(), info));
        let before = self.shared().disks.borrow_mut().insert(path.into(), state.clone());
        assert!(before.is_none(), "the simulation has a disk {path} already");
        Disk { shared: self.shared().clone(), state }
    }
    /// A disk added before, or made by a process that opened it with a `create_size`.
    pub fn disk(&self, path: &str) -> Option<Disk> {
        let state = self.shared().disks.borrow().get(std::path::Path::new(path)).cloned()?;
        Some(Disk { shared: self.shared().clone(), state })
    }
    /// Runs until `future` ends (in the context of no process), advancing virtual time. Panics, naming the seed, when nothing can happen any more.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.shared().block_on(future)
    }
    /// Runs everything for this long.
    pub fn run_for(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.shared().run_until(self.shared().now().saturating_add(nanoseconds));
    }
    pub fn seed(&self) -> u64 {
        self.shared().seed
    }
    /// Packets from `from` no longer reach `to`; they wait, as TCP would retransmit them. The way back is another link.
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        Network::cut(self.shared(), from, to);
    }
    /// Ends a [`World::cut`]; what waited arrives.
    pub fn heal(&self, from: IpAddr, to: IpAddr) {
        Network::heal(self.shared(), from, to);
    }
    /// From now on packets from `from` to `to` take so much longer; zero ends it.
    pub fn slow_down(&self, from: IpAddr, to: IpAddr, added: Duration) {
        let nanoseconds = u64::try_from(added.as_nanos()).unwrap_or(u64::MAX);
        Network::slow_down(self.shared(), from, to, nanoseconds);
    }
    /// All connections between the two addresses end with `ECONNRESET` on both sides; what was on its way is lost. New ones may be made.
    pub fn reset_connections(&self, one: IpAddr, other: IpAddr) {
        Network::reset(self.shared(), one, other);
    }
    /// A hash of everything that happened so far, equal for equal runs.
    pub fn trace_hash(&self) -> u64 {
        self.shared().trace_hash()
    }
    /// Virtual time since the world's beginning.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.shared().now())
    }
}

/// A simulated disk, seen from outside.
#[derive(Clone)]
pub struct Disk {
    shared: Rc<Shared>,
    state: Rc<DiskState>,
}

/// One thing that happened at a disk, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskEvent {
    /// A write was submitted. The driver may have put it on the medium any time from now on. A discard is recorded as the writes of
    /// zeros or garbage that it amounts to.
    WriteSubmitted {
        write: u64,
        offset: u64,
        data: Rc<[u8]>,
    },
    WriteCompleted {
        write: u64,
    },
    /// A flush completed: writes completed before its submission are durable; `durable` lists those that no earlier event listed. Without
    /// a volatile cache each completed write is followed by one of these.
    Flushed {
        durable: Rc<[u64]>,
    },
    /// Placed by the test, e.g. "transaction 7 was acknowledged".
    Mark(u64),
}

/// What happened at one or several disks, in one order.
#[derive(Clone, Default)]
pub struct Recording {
    events: Rc<RefCell<Vec<(usize, DiskEvent)>>>,
}

impl Recording {
    /// Records all of these disks from now on; each event comes with the disk's place among them.
    pub fn of(disks: &[&Disk]) -> Recording {
        let recording = Recording::default();
        for (index, disk) in disks.iter().enumerate() {
            disk.state.record(index, recording.clone());
        }
        recording
    }
    /// Adds a [`DiskEvent::Mark`].
    pub fn mark(&self, mark: u64) {
        self.push(0, DiskEvent::Mark(mark));
    }
    /// The events since the last call; recording goes on.
    pub fn take(&self) -> Vec<(usize, DiskEvent)> {
        std::mem::take(&mut *self.events.borrow_mut())
    }
    fn push(&self, disk: usize, event: DiskEvent) {
        self.events.borrow_mut().push((disk, event));
    }
}

impl Disk {
    pub fn path(&self) -> &std::path::Path {
        self.state.path()
    }
    pub fn info(&self) -> &DeviceInfo {
        self.state.info()
    }
    /// Power cut: each unflushed write survives whole, in part (any subset of its 512-byte sectors) or not at all, by the seed. All operations
    /// in flight fail, and so do those of handles that were open; recording ends. The disk is ready to be opened again.
    pub fn power_cut(&self) {
        self.state.power_cut(&mut self.shared.random.borrow_mut());
    }
    /// The bytes as a read would see them now.
    pub fn image(&self) -> Vec<u8> {
        self.snapshot().to_vec()
    }
    pub fn set_image(&self, image: &[u8]) {
        self.restore(Image::from(image));
    }
    /// As [`Disk::image`], but shared instead of copied.
    pub fn snapshot(&self) -> Image {
        self.state.snapshot()
    }
    /// As [`Disk::set_image`], but shared instead of copied. All of it is durable.
    pub fn restore(&self, image: Image) {
        self.state.restore(image);
    }
    /// Starts recording events (from an empty log).
    pub fn record(&self) {
        self.state.record(0, Recording::default());
    }
    pub fn mark(&self, mark: u64) {
        self.state.mark(mark);
    }
    /// The events since the last call; recording goes on.
    pub fn take_events(&self) -> Vec<DiskEvent> {
        self.state.take_events()
    }
}
