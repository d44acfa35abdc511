//! One thread's world: an executor for plain `async` code, and the devices, sockets, timers and randomness it reaches.
//!
//! Two drivers stand behind one [`Ring`] handle: io_uring ([`uring`]) and a simulation ([`sim`]) with virtual time. Code above
//! this crate runs unchanged on both, and takes time and randomness from nowhere else.
//! Promises: a buffer that an operation was given comes back with its result, and is never freed while the kernel may still
//! touch it, even when the future is dropped; one `io_uring_enter` a turn under load; a simulated run is a function of its seed.
//! Everything is owned by one thread (`!Send`), except [`mailbox`]es, which carry values from other threads in.

pub mod buffer;
pub mod device;
pub mod local;
pub mod mailbox;
pub mod sim;
pub mod socket;
pub mod time;
pub mod uring;

pub use buffer::{BLOCK, Buffer, Slice};
pub use device::{Device, DeviceInfo, DeviceKind, DeviceOptions, RotatingModel};
pub use socket::{Listener, Socket};
pub use time::{Elapsed, Instant, UnixTime};

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// A thread's world. Cheap to clone, `!Send`.
#[derive(Clone)]
pub struct Ring {
    _not_send: std::marker::PhantomData<std::rc::Rc<()>>,
}

impl Ring {
    /// Starts a task on this thread. Dropping the handle detaches the task; it goes on.
    pub fn spawn<F>(&self, _future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        unimplemented!()
    }
    /// Monotonic time; virtual in the simulator.
    pub fn now(&self) -> Instant {
        unimplemented!()
    }
    /// Wall-clock time; virtual (and able to jump) in the simulator.
    pub fn unix_time(&self) -> UnixTime {
        unimplemented!()
    }
    pub async fn sleep(&self, _duration: Duration) {
        unimplemented!()
    }
    pub async fn sleep_until(&self, _deadline: Instant) {
        unimplemented!()
    }
    /// Runs `future` for at most `duration`; on `Elapsed` it has been dropped.
    pub async fn timeout<F: Future>(&self, _duration: Duration, _future: F) -> Result<F::Output, Elapsed> {
        unimplemented!()
    }
    /// Lets every other ready task run once.
    pub async fn yield_now(&self) {
        unimplemented!()
    }
    /// From the kernel's generator, or the simulation's seed.
    pub fn random_u64(&self) -> u64 {
        unimplemented!()
    }
    pub fn fill_random(&self, _bytes: &mut [u8]) {
        unimplemented!()
    }
    /// A buffer of `len` bytes, 4096-aligned, its capacity rounded up to whole blocks. Its content is whatever an earlier user
    /// of this process left there (never another process's), so fill it or zero it.
    pub fn buffer(&self, _len: usize) -> Buffer {
        unimplemented!()
    }
    /// Opens a block device or a regular file with O_DIRECT (falling back to buffered where a filesystem has none), exclusively
    /// when asked: `O_EXCL` on block devices, an advisory lock on files. `EBUSY` if another holds it.
    pub async fn open_device(&self, _path: &Path, _options: DeviceOptions) -> io::Result<Device> {
        unimplemented!()
    }
    pub async fn listen(&self, _address: SocketAddr) -> io::Result<Listener> {
        unimplemented!()
    }
    pub async fn connect(&self, _address: SocketAddr) -> io::Result<Socket> {
        unimplemented!()
    }
    /// Takes over a connected stream socket from elsewhere (io_uring driver only).
    pub fn adopt_socket(&self, _socket: OwnedFd) -> io::Result<Socket> {
        unimplemented!()
    }
}

/// A spawned task's handle: awaiting it yields the task's output. If the task panicked, awaiting it panics too.
pub struct Task<T> {
    _output: std::marker::PhantomData<T>,
}

impl<T> Task<T> {
    /// Drops the task's future at the next turn. Operations in flight keep their buffers until the kernel is done.
    pub fn abort(&self) {
        unimplemented!()
    }
    pub fn is_finished(&self) -> bool {
        unimplemented!()
    }
}

impl<T> Future for Task<T> {
    type Output = T;
    fn poll(self: std::pin::Pin<&mut Self>, _cx: &mut std::task::Context<'_>) -> std::task::Poll<T> {
        unimplemented!()
    }
}
