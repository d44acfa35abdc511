//! A simulated process and the incarnations it has between kills.

use super::disk::{DiskState, OpenDisk};
use super::network::Network;
use super::world::{Shared, UNIX_START};
use crate::device::{DeviceInfo, DeviceKind, DeviceOptions};
use crate::driver::Driver;
use crate::executor::{Group, Task};
use crate::pool::Pool;
use crate::timer::TimerKey;
use crate::{Ring, UnixTime};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::rc::Rc;
use std::task::Waker;

/// A simulated process. It can be killed and then has a new life: [`Process::ring`] gives the ring of the current one.
#[derive(Clone)]
pub struct Process {
    state: Rc<State>,
}

struct State {
    name: String,
    shared: Rc<Shared>,
    addresses: Rc<RefCell<Vec<IpAddr>>>,
    wall_clock_shift: Rc<Cell<i64>>,
    host: RefCell<Rc<Host>>,
}

/// One life of a process.
pub(crate) struct Host {
    shared: Rc<Shared>,
    group: Group,
    alive: Cell<bool>,
    addresses: Rc<RefCell<Vec<IpAddr>>>,
    wall_clock_shift: Rc<Cell<i64>>,
}

impl Process {
    pub(super) fn new(shared: &Rc<Shared>, name: &str, address: IpAddr) -> Process {
        let addresses = Rc::new(RefCell::new(vec![address]));
        let wall_clock_shift = Rc::new(Cell::new(0));
        let host = Host::new(shared, &addresses, &wall_clock_shift);
        shared.network.borrow_mut().add_address(address);
        let state =
            State { name: name.into(), shared: shared.clone(), addresses, wall_clock_shift, host: RefCell::new(host) };
        Process { state: Rc::new(state) }
    }

    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Another address, e.g. on the cluster network. Connections leave from the address that shares the longest prefix with their target.
    pub fn add_address(&self, address: IpAddr) {
        self.state.addresses.borrow_mut().push(address);
        self.state.shared.network.borrow_mut().add_address(address);
    }

    /// The ring of the current life.
    pub fn ring(&self) -> Ring {
        Ring::of(Driver::Sim(self.state.host.borrow().clone()))
    }

    /// Drops all its tasks, sockets and open devices at once. Disks keep what a power cut of the process alone would leave: everything
    /// completed, and of the writes in flight some. Its peers see `ECONNRESET`. Rings of the old life are dead: what is spawned on them
    /// never runs, and their operations fail with `ECANCELED`.
    pub fn kill(&self) {
        let shared = &self.state.shared;
        let next = Host::new(shared, &self.state.addresses, &self.state.wall_clock_shift);
        let old = self.state.host.replace(next);
        old.alive.set(false);
        shared.trace(&[5, old.group]);
        // Before its tasks, so that the peers of their sockets see a reset rather than an orderly end.
        Network::reset_all(shared, old.group);
        shared.executor.drop_group(old.group);
        let disks: Vec<Rc<DiskState>> = shared.disks.borrow().values().cloned().collect();
        for disk in disks {
            disk.end_operations(shared, &old);
        }
    }

    /// Moves this process's wall clock by so many nanoseconds, for this life and the next ones.
    pub fn shift_wall_clock(&self, nanoseconds: i64) {
        let shift = &self.state.wall_clock_shift;
        shift.set(shift.get().saturating_add(nanoseconds));
    }
}

impl Host {
    fn new(shared: &Rc<Shared>, addresses: &Rc<RefCell<Vec<IpAddr>>>, wall_clock_shift: &Rc<Cell<i64>>) -> Rc<Host> {
        let group = shared.groups.get() + 1;
        shared.groups.set(group);
        Rc::new(Host {
            shared: shared.clone(),
            group,
            alive: Cell::new(true),
            addresses: addresses.clone(),
            wall_clock_shift: wall_clock_shift.clone(),
        })
    }

    pub(super) fn shared(&self) -> &Rc<Shared> {
        &self.shared
    }

    pub(super) fn group(&self) -> Group {
        self.group
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.get()
    }

    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.borrow().contains(&address)
    }

    /// The address that connections to `target` leave from.
    pub(super) fn source_address(&self, target: IpAddr) -> IpAddr {
        let addresses = self.addresses.borrow();
        let best = addresses.iter().rev().max_by_key(|address| common_prefix(**address, target));
        *best.expect("a process has at least one address")
    }

    pub(crate) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if !self.is_alive() {
            return self.shared.executor.stillborn();
        }
        self.shared.executor.spawn(self.group, future)
    }

    pub(crate) fn now(&self) -> u64 {
        self.shared.now()
    }

    pub(crate) fn unix_time(&self) -> UnixTime {
        UnixTime(UNIX_START.saturating_add(self.shared.now()).saturating_add_signed(self.wall_clock_shift.get()))
    }

    pub(crate) fn insert_timer(&self, due: u64, waker: Waker) -> TimerKey {
        self.shared.insert_timer(due, waker)
    }

    pub(crate) fn update_timer(&self, key: TimerKey, waker: &Waker) -> bool {
        self.shared.update_timer(key, waker)
    }

    pub(crate) fn remove_timer(&self, key: TimerKey) {
        self.shared.remove_timer(key);
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        self.shared.random.borrow_mut().fill(bytes);
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    pub(crate) fn open_device(
        self: &Rc<Self>,
        path: &Path,
        options: &DeviceOptions,
    ) -> io::Result<(DeviceInfo, Rc<OpenDisk>)> {
        if !self.is_alive() {
            return Err(io::Error::from_raw_os_error(libc::ECANCELED));
        }
        let known = self.shared.disks.borrow().get(path).cloned();
        let disk = match (known, options.create_size) {
            (Some(disk), _) => disk,
            (None, Some(size)) => {
                let info = DeviceInfo {
                    kind: DeviceKind::File,
                    size,
                    sector_size: 512,
                    rotational: false,
                    volatile_cache: true,
                    discard: true,
                };
                let disk = Rc::new(DiskState::new(path.into(), info));
                self.shared.disks.borrow_mut().insert(path.into(), disk.clone());
                disk
            }
            (None, None) => return Err(io::Error::from_raw_os_error(libc::ENOENT)),
        };
        let open = disk.open(self, options)?;
        Ok((disk.info().clone(), open))
    }
}

fn common_prefix(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u32::from(one) ^ u32::from(other)).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (u128::from(one) ^ u128::from(other)).leading_zeros(),
        _ => 0,
    }
}
