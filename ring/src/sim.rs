//! The simulated driver: a seeded world of processes, disks and links in virtual time, on one thread.

use crate::{DeviceInfo, Ring};
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

/// A simulated world. Everything that happens in it is a function of its seed and of the code that runs in it.
#[derive(Clone)]
pub struct World {
    _not_send: PhantomData<Rc<()>>,
}

impl World {
    pub fn new(_seed: u64) -> World {
        unimplemented!()
    }
    /// A process with its own tasks and its own view of the world; it can be killed. `address` is its IP.
    pub fn process(&self, _name: &str, _address: std::net::IpAddr) -> Process {
        unimplemented!()
    }
    /// Adds a disk that processes reach by `path`.
    pub fn add_disk(&self, _path: &str, _info: DeviceInfo) -> Disk {
        unimplemented!()
    }
    /// Runs until `future` ends (in the context of no process), advancing virtual time. Panics, naming the seed, when nothing can happen any more.
    pub fn block_on<T>(&self, _future: impl Future<Output = T>) -> T {
        unimplemented!()
    }
    /// Runs everything for this long.
    pub fn run_for(&self, _duration: Duration) {
        unimplemented!()
    }
    pub fn seed(&self) -> u64 {
        unimplemented!()
    }
}

#[derive(Clone)]
pub struct Process {
    _not_send: PhantomData<Rc<()>>,
}

impl Process {
    pub fn ring(&self) -> Ring {
        unimplemented!()
    }
    /// Drops all its tasks, sockets and open devices at once. Disks keep what a power cut of the process alone would leave: everything completed.
    pub fn kill(&self) {
        unimplemented!()
    }
}

/// A simulated disk, seen from outside.
#[derive(Clone)]
pub struct Disk {
    _not_send: PhantomData<Rc<()>>,
}

/// One thing that happened at a disk, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskEvent {
    /// A write was submitted. The driver may have put it on the medium any time from now on.
    WriteSubmitted { write: u64, offset: u64, data: Rc<[u8]> },
    WriteCompleted { write: u64 },
    /// A flush completed: writes completed before its submission are durable; `durable` lists them.
    Flushed { durable: Rc<[u64]> },
    /// Placed by the test, e.g. "transaction 7 was acknowledged".
    Mark(u64),
}

impl Disk {
    /// Power cut: each unflushed write survives whole, in part (any subset of its 512-byte sectors) or not at all, by the seed. All writes
    /// in flight fail. Returns nothing; the disk is ready to be opened again.
    pub fn power_cut(&self) {
        unimplemented!()
    }
    /// The bytes as a read would see them now.
    pub fn image(&self) -> Vec<u8> {
        unimplemented!()
    }
    pub fn set_image(&self, _image: &[u8]) {
        unimplemented!()
    }
    /// Flips the bits of `mask` in the byte at `offset`.
    pub fn flip(&self, _offset: u64, _mask: u8) {
        unimplemented!()
    }
    /// Starts recording events (from an empty log).
    pub fn record(&self) {
        unimplemented!()
    }
    pub fn mark(&self, _mark: u64) {
        unimplemented!()
    }
    pub fn take_events(&self) -> Vec<DiskEvent> {
        unimplemented!()
    }
    /// Makes the next operations that touch `[offset, offset+length)` fail with this errno.
    pub fn fail_range(&self, _offset: u64, _length: u64, _errno: i32) {
        unimplemented!()
    }
    pub fn fail_flushes(&self, _errno: i32) {
        unimplemented!()
    }
    pub fn heal(&self) {
        unimplemented!()
    }
}
