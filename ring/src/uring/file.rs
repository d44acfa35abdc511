//! Open files, registered with the kernel where its table has room, so that no operation has to look the descriptor up.

use super::driver::Uring;
use io_uring::types;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};

/// Closed with its last user: handles and operations in flight.
pub(super) struct File {
    descriptor: OwnedFd,
    slot: Option<u32>,
    driver: Weak<Uring>,
}

impl File {
    pub(super) fn new(driver: &Rc<Uring>, descriptor: OwnedFd) -> Rc<File> {
        let slot = driver.register_file(descriptor.as_raw_fd());
        Rc::new(File { descriptor, slot, driver: Rc::downgrade(driver) })
    }

    pub(super) fn target(&self) -> Target {
        match self.slot {
            Some(slot) => Target::Registered(types::Fixed(slot)),
            None => Target::Descriptor(types::Fd(self.descriptor.as_raw_fd())),
        }
    }
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let (Some(slot), Some(driver)) = (self.slot, self.driver.upgrade()) {
            driver.unregister_file(slot);
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Target {
    Registered(types::Fixed),
    Descriptor(types::Fd),
}

/// Builds an operation for either kind of target.
macro_rules! on_target {
    ($file:expr, |$target:ident| $build:expr) => {
        match $file.target() {
            $crate::uring::file::Target::Registered($target) => $build,
            $crate::uring::file::Target::Descriptor($target) => $build,
        }
    };
}
pub(super) use on_target;
