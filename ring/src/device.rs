//! Block devices and the files that stand in for them: positioned reads and writes, flush and discard.

use crate::driver::Driver;
use crate::rotating::{Access, Actuator, Turn};
use crate::uring::{self, UringDevice, UringWrite};
use crate::{BLOCK, Buffer, Ring, Slice, Task, sim};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    File,
    Block,
}

/// What the kernel (or the simulation) says of a device.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    pub kind: DeviceKind,
    /// Bytes.
    pub size: u64,
    /// Logical sector in bytes; 512 or 4096.
    pub sector_size: u32,
    pub rotational: bool,
    /// Whether completed writes may be lost in a power cut before a flush (`/sys/block/*/queue/write_cache`; files: true).
    pub volatile_cache: bool,
    pub discard: bool,
}

/// Delays operations as one actuator would: a seek that grows with the distance, half a turn on average, then the transfer.
/// One operation at a time, in elevator order among those waiting.
#[derive(Clone, Copy, Debug)]
pub struct RotatingModel {
    pub rpm: u32,
    pub seek_min: Duration,
    pub seek_max: Duration,
    pub bytes_per_second: u64,
}

impl RotatingModel {
    /// A 7200 rpm disk with 180 MB/s.
    pub const HDD_7200: RotatingModel = RotatingModel {
        rpm: 7200,
        seek_min: Duration::from_micros(800),
        seek_max: Duration::from_millis(14),
        bytes_per_second: 180_000_000,
    };
}

#[derive(Clone, Debug, Default)]
pub struct DeviceOptions {
    pub write: bool,
    /// Refuse (`EBUSY`) if anyone else has it open for Basalt, mounted or otherwise claimed.
    pub exclusive: bool,
    /// For a file: create it (sparse) with this size if it is missing.
    pub create_size: Option<u64>,
    /// Overrides what the kernel says of the volatile cache.
    pub volatile_cache: Option<bool>,
    /// Makes the device as slow as this disk, and calls it rotational.
    pub model: Option<RotatingModel>,
}

/// An open device. Cheap to clone; closed with its last clone and last operation.
#[derive(Clone)]
pub struct Device {
    inner: Rc<Inner>,
}

struct Inner {
    info: DeviceInfo,
    actuator: Option<Rc<Actuator>>,
    path: PathBuf,
    open: Open,
}

enum Open {
    Sim(Rc<sim::OpenDisk>),
    Uring(UringDevice),
}

/// A write on its way, and its outcome.
pub struct StartedWrite {
    started: Started,
}

enum Started {
    Task(Task<io::Result<()>>),
    Uring(UringWrite),
    Refused(Option<io::Error>),
}

impl Future for StartedWrite {
    type Output = io::Result<()>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.started {
            Started::Task(task) => Pin::new(task).poll(context),
            Started::Uring(write) => Pin::new(write).poll(context),
            Started::Refused(error) => Poll::Ready(error.take().map_or(Ok(()), Err)),
        }
    }
}

impl Device {
    pub(crate) async fn open(ring: &Ring, path: &Path, options: DeviceOptions) -> io::Result<Device> {
        let (mut info, open) = match ring.driver() {
            Driver::Sim(host) => {
                let (info, open) = host.open_device(path, &options)?;
                (info, Open::Sim(open))
            }
            Driver::Uring(driver) => {
                let (info, open) = uring::open_device(driver, path, &options)?;
                (info, Open::Uring(open))
            }
        };
        info.volatile_cache = options.volatile_cache.unwrap_or(info.volatile_cache);
        let actuator = options.model.map(|model| Actuator::new(ring, model, info.size));
        info.rotational |= actuator.is_some();
        Ok(Device { inner: Rc::new(Inner { info, actuator, path: path.into(), open }) })
    }
    pub fn info(&self) -> &DeviceInfo {
        &self.inner.info
    }
    /// For messages: the path it was opened by.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }
    /// Fills the whole buffer from `offset`. `offset` and length are multiples of [`crate::BLOCK`]. A short read is an error.
    pub async fn read(&self, offset: u64, buffer: Buffer) -> (io::Result<()>, Buffer) {
        if let Err(error) = self.check(offset, buffer.len() as u64) {
            return (Err(error), buffer);
        }
        let _turn = self.turn(|| Access::Read { offset, length: buffer.len() as u64 }).await;
        match &self.inner.open {
            Open::Sim(disk) => disk.read(offset, buffer).await,
            Open::Uring(device) => device.read(offset, buffer).await,
        }
    }
    /// Writes the whole slice at `offset`; alignment as for [`Device::read`]. Durable only after a [`Device::flush`] begun after it completed
    /// (or at once without a volatile cache).
    pub async fn write(&self, offset: u64, data: Slice) -> io::Result<()> {
        self.check(offset, data.len() as u64)?;
        let _turn = self.turn(|| Access::Write { offset, length: data.len() as u64 }).await;
        match &self.inner.open {
            Open::Sim(disk) => disk.write(offset, data).await,
            Open::Uring(device) => device.write(offset, data).await,
        }
    }
    /// As [`Device::write`], on its way at once: it goes on while nobody waits for it, and without a task of its own on a device that is just what
    /// the kernel has.
    pub fn start_write(&self, ring: &Ring, offset: u64, data: Slice) -> StartedWrite {
        let started = match &self.inner.open {
            Open::Uring(device) if self.inner.actuator.is_none() => match self.check(offset, data.len() as u64) {
                Ok(()) => Started::Uring(device.write(offset, data)),
                Err(error) => Started::Refused(Some(error)),
            },
            _ => {
                let device = self.clone();
                Started::Task(ring.spawn(async move { device.write(offset, data).await }))
            }
        };
        StartedWrite { started }
    }
    /// Makes every write that completed before this call durable.
    pub async fn flush(&self) -> io::Result<()> {
        let _turn = self.turn(|| Access::Flush).await;
        match &self.inner.open {
            Open::Sim(disk) => disk.flush().await,
            Open::Uring(device) => device.flush().await,
        }
    }
    /// Tells the device that a range's content is no longer wanted; what it reads as afterwards is undefined. A no-op without support.
    pub async fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        self.check(offset, length)?;
        match &self.inner.open {
            Open::Sim(disk) => disk.discard(offset, length).await,
            Open::Uring(device) => device.discard(offset, length).await,
        }
    }

    /// Waits as long as the modelled disk takes, if one is modelled.
    async fn turn(&self, access: impl FnOnce() -> Access) -> Option<Turn> {
        match &self.inner.actuator {
            Some(actuator) => Some(actuator.turn(access()).await),
            None => None,
        }
    }

    /// The caller's alignment is its programmer's business; an address beyond the end may come from a damaged disk, so it is an error.
    fn check(&self, offset: u64, length: u64) -> io::Result<()> {
        let aligned = offset.is_multiple_of(BLOCK as u64) && length.is_multiple_of(BLOCK as u64);
        assert!(aligned, "{length} bytes at {offset} of {} are not whole blocks of {BLOCK}", self.path().display());
        if offset.checked_add(length).is_some_and(|end| end <= self.info().size) {
            return Ok(());
        }
        let message = format!(
            "{length} bytes at {offset} of {} reach beyond its end at {}",
            self.path().display(),
            self.info().size
        );
        Err(io::Error::new(io::ErrorKind::InvalidInput, message))
    }
}
