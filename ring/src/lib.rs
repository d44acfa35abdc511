//! One thread's world: an executor for plain `async` code, and the devices, sockets, timers and randomness it reaches.
//!
//! Two drivers stand behind one [`Ring`] handle: io_uring ([`uring`]) and a simulation ([`sim`]) with virtual time. Code above
//! this crate runs unchanged on both, and takes time and randomness from nowhere else.
//! Promises: a buffer that an operation was given comes back with its result, and is never freed while the kernel may still
//! touch it, even when the future is dropped; one `io_uring_enter` a turn under load; a simulated run is a function of its seed.
//! Everything is owned by one thread (`!Send`), except [`mailbox`]es, which carry values from other threads in.

#[cfg(feature = "allocation-count")]
pub mod allocation_count;
pub mod buffer;
pub mod copy_count;
pub mod device;
mod driver;
mod executor;
pub mod heap;
mod limits;
pub mod local;
pub mod mailbox;
mod mapping;
mod pool;
mod rotating;
pub mod sim;
pub mod socket;
pub mod time;
mod timer;
pub mod uring;
mod wake;

pub use buffer::{BLOCK, Buffer, Slice};
pub use device::{Device, DeviceInfo, DeviceKind, DeviceOptions, RotatingModel, StartedWrite};
pub use executor::Task;
pub use socket::{Listener, Socket, StartedReceive, StartedScatter};
pub use time::{Elapsed, Instant, UnixTime};

use driver::Driver;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::task::Poll;
use std::time::Duration;
use time::Sleep;

/// A thread's world. Cheap to clone, `!Send`.
#[derive(Clone)]
pub struct Ring {
    driver: Driver,
}

impl Ring {
    pub(crate) fn of(driver: Driver) -> Ring {
        Ring { driver }
    }
    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }
    /// Starts a task on this thread. Dropping the handle detaches the task; it goes on.
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.driver.spawn(future)
    }
    /// Monotonic time; virtual in the simulator.
    pub fn now(&self) -> Instant {
        self.driver.now()
    }
    /// When the thread began to run the tasks that are ready now: without a look at the clock, for what is only measured. It is behind by what those
    /// before the caller took, so a lease is nothing to hold against it.
    pub fn turn_time(&self) -> Instant {
        self.driver.turn_time()
    }
    /// Wall-clock time; virtual (and able to jump) in the simulator.
    pub fn unix_time(&self) -> UnixTime {
        self.driver.unix_time()
    }
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + use<> {
        self.sleep_until(self.now() + duration)
    }
    pub fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()> + use<> {
        Sleep::new(self.driver.clone(), deadline)
    }
    /// Runs `future` for at most `duration`; on `Elapsed` it has been dropped.
    pub async fn timeout<F: Future>(&self, duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        match local::select(future, self.sleep(duration)).await {
            local::Either::First(output) => Ok(output),
            local::Either::Second(()) => Err(Elapsed),
        }
    }
    /// Lets every other ready task run once.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
    /// From the kernel's generator, or the simulation's seed.
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }
    pub fn fill_random(&self, bytes: &mut [u8]) {
        self.driver.fill_random(bytes);
    }
    /// A buffer of `len` bytes, 4096-aligned, its capacity rounded up to whole blocks. Its content is whatever an earlier user
    /// of this process left there (never another process's), so fill it or zero it.
    pub fn buffer(&self, len: usize) -> Buffer {
        self.driver.pool().buffer(len)
    }
    /// A buffer of `len` bytes that, if it is smaller than a block, shares one with others and is not aligned: not for devices. Its content is as
    /// [`Ring::buffer`] says.
    pub fn piece(&self, len: usize) -> Buffer {
        self.driver.pool().piece(len)
    }
    /// Gives memory that is free, of this ring's buffers and of the process's heap, back to the kernel. Takes milliseconds for each GiB.
    pub fn release_free_memory(&self) {
        self.driver.pool().discard_idle();
        heap::release_free_memory();
    }
    /// Opens a block device or a regular file with O_DIRECT (falling back to buffered where a filesystem has none), exclusively
    /// when asked: `O_EXCL` on block devices, an advisory lock on files. `EBUSY` if another holds it.
    pub async fn open_device(&self, path: &Path, options: DeviceOptions) -> io::Result<Device> {
        Device::open(self, path, options).await
    }
    pub async fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        Listener::bind(self, address).await
    }
    pub async fn connect(&self, address: SocketAddr) -> io::Result<Socket> {
        Socket::connect(self, address).await
    }
    /// Takes over a connected stream socket from elsewhere (io_uring driver only).
    pub fn adopt_socket(&self, socket: OwnedFd) -> io::Result<Socket> {
        Socket::adopt(self, socket)
    }
    /// Takes over a listening stream socket from elsewhere, such as a Unix socket (io_uring driver only).
    pub fn adopt_listener(&self, listener: OwnedFd) -> io::Result<Listener> {
        Listener::adopt(self, listener)
    }
    /// How many times this ring entered the kernel to submit or to wait; 0 in the simulator.
    pub fn enter_count(&self) -> u64 {
        self.driver.enters()
    }
    /// How many writes went to the kernel as parts of larger ones, since they continued each other on a device; 0 in the simulator.
    pub fn gathered_write_count(&self) -> u64 {
        self.driver.gathered_writes()
    }
}
