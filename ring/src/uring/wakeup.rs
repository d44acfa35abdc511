//! Waking a ring's thread from another thread: by `MSG_RING` from a thread that has a ring of its own, else through an eventfd that
//! every ring reads.

use super::driver::Uring;
use super::operation::{Held, Leftover};
use io_uring::{opcode, types};
use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// User data of completions that only wake.
pub(super) const WAKE: u64 = u64::MAX;
/// User data of the read on the eventfd.
pub(super) const EVENT: u64 = u64::MAX - 1;
/// User data of cancellations, whose results nobody needs.
pub(super) const IGNORED: u64 = u64::MAX - 2;

thread_local! {
    static OWN: RefCell<Weak<Uring>> = const { RefCell::new(Weak::new()) };
}

/// Makes `driver` the one that this thread's messages to other rings go through.
pub(super) fn set_own(driver: &Rc<Uring>) {
    OWN.set(Rc::downgrade(driver));
}

/// The descriptors that reach a ring. They stay open, so never name another file, as long as anyone may use them.
pub(super) struct WakeTarget {
    ring: OwnedFd,
    event: OwnedFd,
    accepts_messages: bool,
}

impl WakeTarget {
    pub(super) fn new(ring: RawFd, accepts_messages: bool) -> io::Result<WakeTarget> {
        // SAFETY: creating an eventfd touches no memory.
        let event = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if event < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel made this descriptor just now; nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(event) };
        Ok(WakeTarget { ring: super::duplicate_descriptor(ring)?, event, accepts_messages })
    }

    pub(super) fn event(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Interrupts the sleep of the ring's thread.
    pub(super) fn wake(self: &Arc<Self>) {
        let own = OWN.try_with(|own| own.borrow().upgrade()).ok().flatten();
        match own {
            Some(driver) if self.accepts_messages && driver.can_submit() => driver.send_wakeup(self),
            _ => self.wake_by_event(),
        }
    }

    pub(super) fn wake_by_event(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: `one` is a live array of the given length. The counter can't overflow in any run's time, so nothing blocks here.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl Uring {
    fn send_wakeup(&self, target: &Arc<WakeTarget>) {
        let entry = opcode::MsgRingData::new(types::Fd(target.ring.as_raw_fd()), 0, WAKE, None).build();
        self.start_detached(entry, Held::Wakeup(target.clone()), Leftover::Wakeup);
    }
}
