//! What a clone reads and writes, behind one face: a flat region of bytes.

use crate::device_target::DeviceTarget;
use crate::image_target::{ImageTarget, Images};
use crate::job::{Job, TargetName};
use crate::null_target::NullTarget;
use crate::pool_target::PoolTarget;
use basalt_client::Client;
use basalt_ring::{Ring, Slice};

/// An operation or an opening that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TargetError {
    /// Positive, as in `errno.h`.
    pub errno: i32,
    pub message: String,
}

impl TargetError {
    pub fn new(errno: i32, message: impl Into<String>) -> TargetError {
        TargetError { errno, message: message.into() }
    }

    pub fn io(what: &str, error: &std::io::Error) -> TargetError {
        TargetError::new(error.raw_os_error().unwrap_or(libc::EIO), format!("{what}: {error}"))
    }
}

/// One clone's target. Cheap to clone.
#[derive(Clone)]
pub enum Target {
    Device(DeviceTarget),
    Pool(PoolTarget),
    Image(ImageTarget),
    Null(NullTarget),
}

impl Target {
    /// Opens what the job names, for the clone of this number. Pools and images need a client.
    pub async fn open(
        ring: &Ring,
        client: Option<&Client>,
        images: &Images,
        job: &Job,
        clone: u32,
    ) -> Result<Target, TargetError> {
        match (&job.target, client) {
            (TargetName::Null, _) => Ok(Target::Null(NullTarget::new(ring, job.read_sizes.max()))),
            (TargetName::Filename(path), _) => {
                DeviceTarget::open(ring, path, job.region(), job.pattern.writes).await.map(Target::Device)
            }
            (TargetName::Pool(pool), Some(client)) => {
                PoolTarget::open(client, pool, job, clone).await.map(Target::Pool)
            }
            (TargetName::Pool(pool), None) => {
                Err(TargetError::new(libc::EINVAL, format!("pool '{pool}' can't be reached without a cluster")))
            }
            (TargetName::Image(image), Some(client)) => {
                ImageTarget::open(client, images, image, job).await.map(Target::Image)
            }
            (TargetName::Image(image), None) => {
                Err(TargetError::new(libc::EINVAL, format!("image '{image}' can't be reached without a cluster")))
            }
        }
    }

    /// Exactly `length` bytes; an error if there are fewer.
    pub async fn read(&self, offset: u64, length: u64) -> Result<Slice, TargetError> {
        match self {
            Target::Device(device) => device.read(offset, length).await,
            Target::Pool(pool) => pool.read(offset, length).await,
            Target::Image(image) => image.read(offset, length).await,
            Target::Null(null) => Ok(null.read(length).await),
        }
    }

    pub async fn write(&self, offset: u64, data: Slice) -> Result<(), TargetError> {
        match self {
            Target::Device(device) => device.write(offset, data).await,
            Target::Pool(pool) => pool.write(offset, data).await,
            Target::Image(image) => image.write(offset, data).await,
            Target::Null(null) => {
                null.write(data).await;
                Ok(())
            }
        }
    }

    /// Makes writes durable. Pools and images do that with every write.
    pub async fn flush(&self) -> Result<(), TargetError> {
        match self {
            Target::Device(device) => device.flush().await,
            Target::Pool(_) | Target::Image(_) | Target::Null(_) => Ok(()),
        }
    }

    /// The size of the pieces the region is stored in.
    pub fn piece(&self) -> u64 {
        match self {
            Target::Device(_) | Target::Null(_) => crate::limits::LAYOUT_WRITE_BYTES,
            Target::Pool(pool) => pool.object_size(),
            Target::Image(image) => image.piece(),
        }
    }

    /// Whether the piece at `offset` is there, `length` bytes of it, to be read.
    pub async fn is_laid_out(&self, offset: u64, length: u64) -> Result<bool, TargetError> {
        match self {
            Target::Device(device) => Ok(!device.is_new()),
            Target::Pool(pool) => pool.is_laid_out(offset, length).await,
            Target::Image(image) => image.is_laid_out(offset, length).await,
            Target::Null(_) => Ok(true),
        }
    }
}
