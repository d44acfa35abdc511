//! Opening an OSD's devices for mkfs and fsck, with complaints that say what would be right.

use basalt_blockstore::Devices;
use basalt_cli::{Failure, Result, errno};
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{BLOCK, Device, DeviceOptions, Ring};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a killed process's devices may take to be free again.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
const RELEASE_POLL: Duration = Duration::from_millis(10);

/// Opens both exclusively.
pub async fn open(ring: &Ring, base: &Path, hot: Option<&Path>, write: bool) -> Result<Devices> {
    if hot == Some(base) {
        return Err(Failure::invalid(format!(
            "{} is given as base and as hot device: they are two devices",
            base.display()
        )));
    }
    let base = open_one(ring, base, "base", write).await?;
    let hot = match hot {
        Some(hot) => Some(open_one(ring, hot, "hot", write).await?),
        None => None,
    };
    Ok(Devices { base, hot })
}

async fn open_one(ring: &Ring, path: &Path, role: &str, write: bool) -> Result<Device> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::new(
            libc::ENOENT,
            format!("the {role} device {shown} does not exist: name a block device, or make a file with `truncate -s SIZE {shown}`"),
        ),
        _ => Failure::file(path, &error),
    })?;
    if metadata.is_dir() {
        return Err(Failure::new(
            libc::EISDIR,
            format!("the {role} device {shown} is a directory: name a block device or a file"),
        ));
    }
    if metadata.is_file() && metadata.len() < BLOCK as u64 {
        return Err(Failure::invalid(format!(
            "the {role} device {shown} has {} bytes, less than one block: lengthen the file with `truncate -s SIZE {shown}`",
            metadata.len()
        )));
    }
    wait_until_free([path]);
    let options = DeviceOptions { write, exclusive: true, ..DeviceOptions::default() };
    ring.open_device(path, options).await.map_err(|error| match errno::of_io(&error) {
        libc::EBUSY => Failure::new(
            libc::EBUSY,
            format!("the {role} device {shown} is in use: stop the daemon that has it open, or unmount it"),
        ),
        number => Failure::new(number, format!("cannot open the {role} device {shown}: {error}")),
    })
}

/// Waits a while if somebody has one of the devices. The kernel lets go of what a killed process had open in its ring some moments after the
/// process is gone: whoever starts it again at once would find it in use. Whether any is still in use then is for the opening to say.
pub fn wait_until_free<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) {
    let begun = Instant::now();
    for path in paths {
        while is_in_use(path.as_ref()).unwrap_or(false) && begun.elapsed() < RELEASE_TIMEOUT {
            std::thread::sleep(RELEASE_POLL);
        }
    }
}

/// By the marks that the ring uses: O_EXCL on block devices, an advisory lock on files.
fn is_in_use(path: &Path) -> io::Result<bool> {
    if std::fs::metadata(path)?.file_type().is_block_device() {
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(path);
        return Ok(opened.is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)));
    }
    Ok(matches!(File::open(path)?.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Runs `work` on a ring of its own.
pub fn on_ring<T, F>(work: impl FnOnce(Ring) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    uring::run(UringConfig::default(), work).map_err(|error| {
        Failure::new(
            errno::of_io(&error),
            format!(
                "io_uring cannot be set up: {error}; Linux 5.19 or newer is needed, and kernel.io_uring_disabled = 0"
            ),
        )
    })?
}
