//! What can go wrong in a store: the data is wrong, the device is wrong, or the request is wrong.

use std::io;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A block of an object does not match its checksum: data lost on this device, to be repaired from another replica.
    #[error(
        "object {object} at byte {offset}: checksum mismatch on {device} at byte {address} (found {found:#010x}, expected {expected:#010x})"
    )]
    Checksum { object: String, offset: u64, device: String, address: u64, found: u32, expected: u32 },
    /// The store's own structures are damaged.
    #[error("{what} on {device} at byte {address} is damaged: {why}")]
    Corrupt { what: &'static str, device: String, address: u64, why: String },
    /// The device cannot be read where the object's data lies.
    #[error("object {object} at byte {offset}: cannot read {device} at byte {address}: {reason}")]
    Unreadable { object: String, offset: u64, device: String, address: u64, reason: String },
    #[error("{operation} on {device} failed: {reason}")]
    Device { operation: &'static str, device: String, reason: String, errno: i32 },
    /// An earlier failed write or flush took the store out of service; nothing is acknowledged any more.
    #[error("the store is fenced: {0}; replace the device, or restart the OSD if the cause is gone")]
    Fenced(String),
    #[error("no space left: {wanted} bytes wanted, {free} bytes free on {device}; delete objects or add devices")]
    NoSpace { wanted: u64, free: u64, device: String },
    #[error("no such object")]
    NotFound,
    #[error("no such xattr")]
    NoXattr,
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    TooLarge(String),
    /// The device or its content is not what this store needs (too small, another store's, a filesystem, in use).
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Busy(String),
}

impl Error {
    /// The positive errno that a client is told.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Checksum { .. } | Error::Corrupt { .. } | Error::Unreadable { .. } | Error::Fenced(_) => 5, // EIO
            Error::Device { errno, .. } => *errno,
            Error::NoSpace { .. } => 28, // ENOSPC
            Error::NotFound => 2,        // ENOENT
            Error::NoXattr => 61,        // ENODATA
            Error::Invalid(_) => 22,     // EINVAL
            Error::TooLarge(_) => 27,    // EFBIG
            Error::Refused(_) => 22,     // EINVAL
            Error::Busy(_) => 16,        // EBUSY
        }
    }

    pub(crate) fn device(operation: &'static str, device: &basalt_ring::Device, error: &io::Error) -> Error {
        Error::Device {
            operation,
            device: device.path().display().to_string(),
            reason: error.to_string(),
            errno: error.raw_os_error().unwrap_or(5),
        }
    }
}
