//! A raw device or a file as a target: the yardstick.

use crate::target::TargetError;
use basalt_ring::{BLOCK, Device, DeviceKind, DeviceOptions, Ring, Slice};
use std::path::Path;

#[derive(Clone)]
pub struct DeviceTarget {
    ring: Ring,
    device: Device,
    is_new: bool,
}

impl DeviceTarget {
    /// Opens the device, or makes a file of `size` bytes if there is none.
    pub async fn open(ring: &Ring, path: &Path, size: u64, write: bool) -> Result<DeviceTarget, TargetError> {
        let failed = |error: std::io::Error| TargetError::io(&format!("{} can't be opened", path.display()), &error);
        let options = DeviceOptions { write, ..DeviceOptions::default() };
        let (device, is_new) = match ring.open_device(path, options.clone()).await {
            Ok(device) => (device, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let size = size.next_multiple_of(BLOCK as u64);
                // A file that is only read has to be written once.
                let options = DeviceOptions { write: true, create_size: Some(size), ..options };
                (ring.open_device(path, options).await.map_err(failed)?, true)
            }
            Err(error) => return Err(failed(error)),
        };
        let info = device.info();
        if info.size < size {
            let kind = if info.kind == DeviceKind::File { "the file" } else { "the device" };
            return Err(TargetError::new(
                libc::ENOSPC,
                format!(
                    "{kind} {} has {} bytes, but the job needs {size}; give a smaller size",
                    path.display(),
                    info.size
                ),
            ));
        }
        Ok(DeviceTarget { ring: ring.clone(), device, is_new })
    }

    /// Whether there was no such file before.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    pub async fn read(&self, offset: u64, length: u64) -> Result<Slice, TargetError> {
        let buffer = self.ring.buffer(length as usize);
        let (result, buffer) = self.device.read(offset, buffer).await;
        result.map_err(|error| TargetError::io(&format!("reading {length} bytes at {offset}"), &error))?;
        Ok(buffer.freeze())
    }

    pub async fn write(&self, offset: u64, data: Slice) -> Result<(), TargetError> {
        let length = data.len();
        let result = self.device.write(offset, data).await;
        result.map_err(|error| TargetError::io(&format!("writing {length} bytes at {offset}"), &error))
    }

    pub async fn flush(&self) -> Result<(), TargetError> {
        self.device.flush().await.map_err(|error| TargetError::io("flushing", &error))
    }
}
