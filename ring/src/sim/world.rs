//! The clock of a simulated world, what is due when, and the loop that runs it.

use super::disk::DiskState;
use super::network::{EndpointId, Network};
use super::random::Random;
use crate::executor::{Executor, Group};
use crate::pool::Pool;
use crate::timer::{TimerKey, Timers};
use crate::wake::Remote;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Virtual nanoseconds that polling a task takes, so that a task which spins until a deadline gets there.
const POLL_NANOSECONDS: u64 = 50;

/// 2026-01-01 00:00 UTC, when every world begins.
pub(super) const UNIX_START: u64 = 1_767_225_600 * 1_000_000_000;

pub(crate) struct Shared {
    pub(super) seed: u64,
    pub(super) executor: Executor,
    pub(super) pool: Pool,
    pub(super) random: RefCell<Random>,
    pub(super) disks: RefCell<BTreeMap<PathBuf, Rc<DiskState>>>,
    pub(super) network: RefCell<Network>,
    pub(super) groups: Cell<Group>,
    now: Cell<u64>,
    trace: Cell<u64>,
    events: RefCell<Timers<Event>>,
    running: Cell<bool>,
}

pub(super) enum Event {
    Wake(Waker),
    Disk { disk: Rc<DiskState>, operation: u64 },
    Arrival { endpoint: EndpointId },
}

impl Shared {
    pub(super) fn new(seed: u64) -> Rc<Shared> {
        Rc::new(Shared {
            seed,
            executor: Executor::new(Remote::new(|| ())),
            pool: Pool::poisoned(),
            random: RefCell::new(Random::new(seed)),
            disks: RefCell::default(),
            network: RefCell::new(Network::new()),
            groups: Cell::new(0),
            now: Cell::new(0),
            trace: Cell::new(0xCBF2_9CE4_8422_2325),
            events: RefCell::new(Timers::new()),
            running: Cell::new(false),
        })
    }

    pub(super) fn now(&self) -> u64 {
        self.now.get()
    }

    pub(super) fn trace_hash(&self) -> u64 {
        self.trace.get()
    }

    /// Mixes a fact into the trace's hash (FNV-1a over words).
    pub(super) fn trace(&self, words: &[u64]) {
        let mut hash = self.trace.get();
        for word in words {
            hash = (hash ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        }
        self.trace.set(hash);
    }

    pub(super) fn between(&self, low: u64, high: u64) -> u64 {
        self.random.borrow_mut().between(low, high)
    }

    pub(super) fn chance(&self, percent: u64) -> bool {
        self.random.borrow_mut().chance(percent)
    }

    pub(super) fn schedule(&self, due: u64, event: Event) -> TimerKey {
        self.events.borrow_mut().insert(due, event)
    }

    pub(super) fn insert_timer(&self, due: u64, waker: Waker) -> TimerKey {
        self.schedule(due, Event::Wake(waker))
    }

    pub(super) fn update_timer(&self, key: TimerKey, waker: &Waker) -> bool {
        match self.events.borrow_mut().get_mut(key) {
            Some(Event::Wake(known)) => {
                known.clone_from(waker);
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove_timer(&self, key: TimerKey) {
        self.events.borrow_mut().remove(key);
    }

    pub(super) fn block_on<T>(self: &Rc<Self>, future: impl Future<Output = T>) -> T {
        let _running = Running::start(self);
        let mut future = pin!(future);
        let waker = self.executor.main_waker();
        loop {
            if self.executor.take_main_ready()
                && let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return value;
            }
            self.turn();
            if !self.executor.has_ready() {
                let Some(due) = self.next_due() else {
                    panic!(
                        "nothing can happen any more in the simulation of seed {}: every task waits for another",
                        self.seed
                    )
                };
                self.advance(due);
            }
        }
    }

    pub(super) fn run_until(self: &Rc<Self>, end: u64) {
        let _running = Running::start(self);
        loop {
            self.executor.take_main_ready();
            self.turn();
            if self.executor.has_ready() {
                if self.now() > end {
                    return;
                }
                continue;
            }
            match self.next_due() {
                Some(due) if due <= end => self.advance(due),
                _ => return self.advance(end),
            }
        }
    }

    fn turn(self: &Rc<Self>) {
        self.executor.collect_remote();
        self.executor.run_batch(|group| {
            self.now.set(self.now.get() + POLL_NANOSECONDS);
            self.trace(&[1, group, self.now.get()]);
        });
        self.fire_due();
    }

    fn next_due(&self) -> Option<u64> {
        self.events.borrow().next_due()
    }

    fn advance(self: &Rc<Self>, due: u64) {
        self.now.set(self.now.get().max(due));
        self.fire_due();
    }

    fn fire_due(self: &Rc<Self>) {
        loop {
            let Some((key, event)) = self.events.borrow_mut().pop_due(self.now.get()) else { return };
            match event {
                Event::Wake(waker) => {
                    self.trace(&[2, key.due]);
                    waker.wake();
                }
                Event::Disk { disk, operation } => {
                    self.trace(&[3, key.due, operation]);
                    disk.complete(self, operation);
                }
                Event::Arrival { endpoint } => {
                    self.trace(&[4, key.due, endpoint]);
                    Network::arrive(self, endpoint);
                }
            }
        }
    }

    /// Drops everything that runs, so that no cycle of references keeps the world alive.
    pub(super) fn shut_down(&self) {
        self.executor.drop_all();
        let events = self.events.borrow_mut().take_all();
        drop(events);
        let disks = std::mem::take(&mut *self.disks.borrow_mut());
        for disk in disks.values() {
            disk.abandon();
        }
        let listeners = self.network.borrow_mut().take_all();
        drop(listeners);
    }
}

/// Marks the world as running, and names the seed if it ends with a panic.
struct Running<'a> {
    shared: &'a Shared,
}

impl<'a> Running<'a> {
    fn start(shared: &'a Shared) -> Running<'a> {
        assert!(
            !shared.running.replace(true),
            "a simulated world is run by one caller at a time, not from within itself"
        );
        Running { shared }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.running.set(false);
        if std::thread::panicking() {
            eprintln!("simulation of seed {} panicked at {} ns", self.shared.seed, self.shared.now());
        }
    }
}
