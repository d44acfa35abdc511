//! The seam between the two drivers: an enumeration rather than a trait, so that nothing above is generic or dynamic.

use crate::executor::Task;
use crate::pool::Pool;
use crate::sim;
use crate::timer::TimerKey;
use crate::uring::Uring;
use crate::{Instant, UnixTime};
use std::rc::Rc;
use std::task::Waker;

#[derive(Clone)]
pub(crate) enum Driver {
    Sim(Rc<sim::Host>),
    Uring(Rc<Uring>),
}

impl Driver {
    pub(crate) fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        match self {
            Driver::Sim(host) => host.spawn(future),
            Driver::Uring(uring) => uring.spawn(future),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        match self {
            Driver::Sim(host) => Instant(host.now()),
            Driver::Uring(uring) => Instant(uring.now()),
        }
    }

    pub(crate) fn turn_time(&self) -> Instant {
        match self {
            Driver::Sim(host) => Instant(host.now()),
            Driver::Uring(uring) => Instant(uring.turn_time()),
        }
    }

    pub(crate) fn unix_time(&self) -> UnixTime {
        match self {
            Driver::Sim(host) => host.unix_time(),
            Driver::Uring(uring) => uring.unix_time(),
        }
    }

    pub(crate) fn insert_timer(&self, due: Instant, waker: Waker) -> TimerKey {
        match self {
            Driver::Sim(host) => host.insert_timer(due.0, waker),
            Driver::Uring(uring) => uring.insert_timer(due.0, waker),
        }
    }

    /// False if the timer is no longer there.
    pub(crate) fn update_timer(&self, key: TimerKey, waker: &Waker) -> bool {
        match self {
            Driver::Sim(host) => host.update_timer(key, waker),
            Driver::Uring(uring) => uring.update_timer(key, waker),
        }
    }

    pub(crate) fn remove_timer(&self, key: TimerKey) {
        match self {
            Driver::Sim(host) => host.remove_timer(key),
            Driver::Uring(uring) => uring.remove_timer(key),
        }
    }

    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        match self {
            Driver::Sim(host) => host.fill_random(bytes),
            Driver::Uring(uring) => uring.fill_random(bytes),
        }
    }

    pub(crate) fn pool(&self) -> &Pool {
        match self {
            Driver::Sim(host) => host.pool(),
            Driver::Uring(uring) => uring.pool(),
        }
    }

    /// System calls that entered the kernel's ring so far.
    pub(crate) fn enters(&self) -> u64 {
        match self {
            Driver::Sim(_) => 0,
            Driver::Uring(uring) => uring.enters(),
        }
    }

    pub(crate) fn gathered_writes(&self) -> u64 {
        match self {
            Driver::Sim(_) => 0,
            Driver::Uring(uring) => uring.gathered_writes.get(),
        }
    }
}
