//! Devices by io_uring: opening, reading, writing, flushing and discarding.

use super::block_queue::BlockQueue;
use super::driver::Uring;
use super::file::{File, on_target};
use super::operation::{Abandon, Held, InFlight, is_interrupted, outcome};
use super::plug::{ARENA, Waiting};
use crate::device::{DeviceInfo, DeviceKind, DeviceOptions};
use crate::{Buffer, Slice, mailbox};
use io_uring::{opcode, types};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Bytes the kernel moves at most in one operation.
const TRANSFER_BYTES_MAX: usize = 0x7FFF_F000;

/// ioctl numbers of `linux/fs.h`.
const BLKSSZGET: libc::Ioctl = 0x1268;
const BLKDISCARD: libc::Ioctl = 0x1277;
const BLKGETSIZE64: libc::Ioctl = 0x8008_1272;
/// `BLOCK_URING_CMD_DISCARD` of `linux/blkdev.h`, since 6.12.
const DISCARD_COMMAND: u32 = 0x1200;

pub(crate) struct UringDevice {
    driver: Rc<Uring>,
    file: Rc<File>,
    kind: DeviceKind,
    discard: bool,
}

/// Opens what is at `path`. The few system calls block this thread for a moment; devices are opened at start.
pub(crate) fn open_device(
    driver: &Rc<Uring>,
    path: &Path,
    options: &DeviceOptions,
) -> io::Result<(DeviceInfo, UringDevice)> {
    if let Some(size) = options.create_size {
        create(path, size)?;
    }
    let metadata = fs::metadata(path)?;
    let kind = if metadata.file_type().is_block_device() {
        DeviceKind::Block
    } else if metadata.is_file() {
        DeviceKind::File
    } else {
        let message = format!("{} is neither a block device nor a regular file", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    let claim = if options.exclusive && kind == DeviceKind::Block { libc::O_EXCL } else { 0 };
    let open = |flags| OpenOptions::new().read(true).write(options.write).custom_flags(flags).open(path);
    let file = match open(libc::O_DIRECT | claim) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            tracing::warn!(path = %path.display(), "no O_DIRECT here, so the page cache is between us and the disk");
            open(claim)?
        }
        opened => opened?,
    };
    if options.exclusive && kind == DeviceKind::File {
        lock(&file)?;
    }
    let info = match kind {
        DeviceKind::Block => describe_block_device(&file, metadata.rdev())?,
        DeviceKind::File => {
            let metadata = file.metadata()?;
            DeviceInfo {
                kind,
                size: metadata.len(),
                sector_size: 512,
                rotational: BlockQueue::of(metadata.dev()).is_some_and(|queue| queue.rotational),
                volatile_cache: true,
                discard: has_holes(&metadata),
            }
        }
    };
    let device = UringDevice {
        driver: driver.clone(),
        file: File::new(driver, OwnedFd::from(file)),
        kind,
        discard: info.discard,
    };
    Ok((info, device))
}

/// A file without any was given all its blocks for good, as a device has them: making holes in it would take them away again.
fn has_holes(metadata: &fs::Metadata) -> bool {
    /// Of `st_blocks` (stat(3type)), whatever the filesystem's blocks are.
    const COUNTED_BYTES: u64 = 512;
    metadata.blocks() * COUNTED_BYTES < metadata.len()
}

/// Makes a missing file. One of no bytes is what a crash within left, and is made whole too.
fn create(path: &Path, size: u64) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > 0 => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(path)?.set_len(size)
}

fn lock(file: &fs::File) -> io::Result<()> {
    // SAFETY: locking touches no memory. The lock belongs to the open file, so it ends with its last descriptor, however that comes.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EWOULDBLOCK) => Err(io::Error::from_raw_os_error(libc::EBUSY)),
        _ => Err(error),
    }
}

fn describe_block_device(file: &fs::File, device: libc::dev_t) -> io::Result<DeviceInfo> {
    let mut size = 0u64;
    // SAFETY: this ioctl writes 64 bits to the live local it is given.
    if unsafe { libc::ioctl(file.as_raw_fd(), BLKGETSIZE64, &mut size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut sector_size: libc::c_int = 0;
    // SAFETY: this ioctl writes an int to the live local it is given.
    if unsafe { libc::ioctl(file.as_raw_fd(), BLKSSZGET, &mut sector_size) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let queue = BlockQueue::of(device);
    Ok(DeviceInfo {
        kind: DeviceKind::Block,
        size,
        sector_size: sector_size as u32,
        rotational: queue.as_ref().is_some_and(|queue| queue.rotational),
        volatile_cache: queue.as_ref().is_none_or(|queue| queue.volatile_cache),
        discard: queue.is_some_and(|queue| queue.discard),
    })
}

/// A write that was handed to the kernel, until all of it is done.
pub(crate) struct UringWrite {
    driver: Rc<Uring>,
    file: Rc<File>,
    offset: u64,
    in_flight: Option<InFlight>,
}

fn write_some(driver: &Rc<Uring>, file: &Rc<File>, offset: u64, data: Slice) -> InFlight {
    let len = data.len().min(TRANSFER_BYTES_MAX) as u32;
    let (pointer, registered) = (data.as_ptr(), data.is_registered());
    let (key, in_flight) = driver.begin(file, Held::Slice(data), Abandon::RunOut);
    driver.plug(Waiting { key, file: file.clone(), offset, pointer, len, registered });
    in_flight
}

impl Future for UringWrite {
    type Output = io::Result<()>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(in_flight) = &mut self.in_flight {
            let (result, held) = std::task::ready!(Pin::new(in_flight).poll(context));
            self.in_flight = None;
            let mut data = held.into_slice();
            if !is_interrupted(result) {
                let count = outcome(result)?;
                if count == data.len() {
                    break;
                }
                if count == 0 {
                    let message = format!("nothing was written at {}", self.offset);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::WriteZero, message)));
                }
                data = data.slice(count..data.len());
                self.offset += count as u64;
            }
            self.in_flight = Some(write_some(&self.driver, &self.file, self.offset, data));
        }
        Poll::Ready(Ok(()))
    }
}

impl UringDevice {
    pub(crate) async fn read(&self, mut offset: u64, buffer: Buffer) -> (io::Result<()>, Buffer) {
        let mut filled = None;
        let mut rest = buffer;
        while !rest.is_empty() {
            let (result, mut part) = self.read_some(offset, rest).await;
            let count = match result {
                Ok(0) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("the device ends at {offset}"))),
                result => result,
            };
            match count {
                Ok(count) => {
                    rest = part.split_off(count);
                    filled = Some(Buffer::joined(filled, part));
                    offset += count as u64;
                }
                Err(error) => return (Err(error), Buffer::joined(filled, part)),
            }
        }
        (Ok(()), Buffer::joined(filled, rest))
    }

    async fn read_some(&self, offset: u64, mut buffer: Buffer) -> (io::Result<usize>, Buffer) {
        loop {
            let pointer = buffer.as_kernel_pointer();
            let len = buffer.len().min(TRANSFER_BYTES_MAX) as u32;
            let entry = if buffer.is_registered() {
                on_target!(self.file, |target| opcode::ReadFixed::new(target, pointer, len, ARENA)
                    .offset(offset)
                    .build())
            } else {
                on_target!(self.file, |target| opcode::Read::new(target, pointer, len).offset(offset).build())
            };
            self.driver.count_storage_entry();
            let (result, held) = self.driver.start(entry, &self.file, Held::Buffer(buffer), Abandon::RunOut).await;
            buffer = held.into_buffer();
            if !is_interrupted(result) {
                return (outcome(result), buffer);
            }
        }
    }

    /// The write is handed to the kernel with the next turn's submissions, whether the future is polled or not. Dropped, it is not continued
    /// where the kernel writes only a part.
    pub(crate) fn write(&self, offset: u64, data: Slice) -> UringWrite {
        let (driver, file) = (self.driver.clone(), self.file.clone());
        let in_flight = (!data.is_empty()).then(|| write_some(&driver, &file, offset, data));
        UringWrite { driver, file, offset, in_flight }
    }

    pub(crate) async fn flush(&self) -> io::Result<()> {
        loop {
            let flags = types::FsyncFlags::DATASYNC;
            let entry = on_target!(self.file, |target| opcode::Fsync::new(target).flags(flags).build());
            let (result, _) = self.driver.start(entry, &self.file, Held::Nothing, Abandon::RunOut).await;
            // Only an interruption is tried again: after a failed flush nobody knows what is durable.
            if result != -libc::EINTR {
                return outcome(result).map(drop);
            }
        }
    }

    pub(crate) async fn discard(&self, offset: u64, length: u64) -> io::Result<()> {
        if !self.discard || length == 0 {
            return Ok(());
        }
        let result = match self.kind {
            DeviceKind::File => self.punch_hole(offset, length).await,
            DeviceKind::Block => self.discard_blocks(offset, length).await,
        };
        match result {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
            result => result,
        }
    }

    async fn punch_hole(&self, offset: u64, length: u64) -> io::Result<()> {
        loop {
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            let entry = on_target!(self.file, |target| {
                opcode::Fallocate::new(target, length).offset(offset).mode(mode).build()
            });
            let (result, _) = self.driver.start(entry, &self.file, Held::Nothing, Abandon::RunOut).await;
            if !is_interrupted(result) {
                return outcome(result).map(drop);
            }
        }
    }

    async fn discard_blocks(&self, offset: u64, length: u64) -> io::Result<()> {
        while self.driver.features.discard_command.get() {
            let mut command = [0; 16];
            command[..8].copy_from_slice(&length.to_ne_bytes());
            let entry = on_target!(self.file, |target| {
                opcode::UringCmd16::new(target, DISCARD_COMMAND).addr(Some(offset)).cmd(command).build()
            });
            let (result, _) = self.driver.start(entry, &self.file, Held::Nothing, Abandon::RunOut).await;
            match -result {
                libc::EINTR | libc::EAGAIN => continue,
                libc::EOPNOTSUPP | libc::ENOTTY | libc::ENOSYS | libc::EINVAL => {
                    self.driver.features.discard_command.set(false);
                }
                _ => return outcome(result).map(drop),
            }
        }
        // Older kernels have only the ioctl, which blocks for as long as the device takes.
        let file = super::duplicate_descriptor(self.file.as_raw_fd())?;
        let (done, mut wait) = mailbox::channel(1);
        std::thread::Builder::new().name("discard".into()).spawn(move || {
            let range = [offset, length];
            // SAFETY: this ioctl reads two 64-bit numbers from the live local it is given.
            let result = match unsafe { libc::ioctl(file.as_raw_fd(), BLKDISCARD, range.as_ptr()) } {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            };
            // If nobody waits any more, nobody needs the result.
            let _unneeded = done.try_send(result);
        })?;
        wait.receive().await.unwrap_or_else(|| Err(io::Error::other("the discarding thread ended without a result")))
    }
}
