//! The io_uring driver.

mod block_queue;
mod device;
mod driver;
mod file;
mod operation;
mod plug;
mod provided;
mod scatter;
mod setup;
mod socket;
mod wakeup;
mod workers;

pub(crate) use device::{UringDevice, UringWrite, open_device};
pub(crate) use driver::Uring;
pub(crate) use scatter::UringScatter;
pub(crate) use socket::{
    Received, UringListener, UringReceive, UringReceiveOnce, UringSocket, adopt, adopt_listener, connect, listen,
};

pub use workers::spread_workers;

use crate::Ring;
use crate::driver::Driver;
use setup::Use;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

#[derive(Clone, Debug)]
pub struct UringConfig {
    /// Submission queue entries; the completion queue has four times as many.
    pub entries: u32,
    /// Pins the thread to this CPU.
    pub cpu: Option<usize>,
    /// Bytes of buffer memory registered with the kernel; beyond it buffers come from the heap, unregistered.
    pub registered_bytes: usize,
    /// How long to look for completions before the thread sleeps until there is one. It then has no waking up to wait for, and takes a CPU while it
    /// looks. Zero: not at all.
    pub busy_poll: Duration,
}

impl Default for UringConfig {
    fn default() -> Self {
        UringConfig { entries: 512, cpu: None, registered_bytes: 32 << 20, busy_poll: Duration::ZERO }
    }
}

/// Runs `main` and all it spawns on the current thread until `main` ends; what still runs then is dropped, after the kernel let go
/// of its buffers. Handles that outlive the run are dead: their operations fail with `ECANCELED`.
pub fn run<T, F>(config: UringConfig, main: impl FnOnce(Ring) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    run_using(Use::All, &config, main)
}

/// As [`run`], with none of the kernel's optional features and without registered memory: for tests of what happens on older kernels.
#[doc(hidden)]
pub fn run_with_required_features<T, F>(config: UringConfig, main: impl FnOnce(Ring) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    run_using(Use::Required, &UringConfig { registered_bytes: 0, ..config }, main)
}

fn run_using<T, F>(features: Use, config: &UringConfig, main: impl FnOnce(Ring) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let driver = Uring::new(config, features)?;
    // Also when `main` panics, the kernel has to let go before the buffers' memory does.
    let _shutdown = Shutdown { driver: driver.clone() };
    let main = main(Ring::of(Driver::Uring(driver.clone())));
    driver.block_on(main)
}

struct Shutdown {
    driver: Rc<Uring>,
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.driver.shut_down();
    }
}

/// Another descriptor of the same open file, so that a socket accepted elsewhere can be handed to [`Ring::adopt_socket`].
pub fn duplicate(file: impl AsRawFd) -> io::Result<OwnedFd> {
    duplicate_descriptor(file.as_raw_fd())
}

fn duplicate_descriptor(descriptor: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: duplicating reads nothing of ours; a descriptor that is not open gives an error.
    let duplicate = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    if duplicate < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel made this descriptor just now; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(duplicate) })
}
