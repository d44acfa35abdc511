//! Why a daemon or one of its OSDs does not start or does not stop cleanly. What goes wrong with a request is a
//! [`Refusal`](crate::refusal::Refusal).

use basalt_net::key::KeyError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, Error>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("can't listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("osd.{osd}: can't open {path}: {source}{hint}", path = path.display())]
    Device { osd: u32, path: PathBuf, source: io::Error, hint: &'static str },
    #[error("osd.{osd}: {source}")]
    Store { osd: u32, source: basalt_blockstore::Error },
    #[error("can't start a thread for {what}: {source}")]
    Thread { what: String, source: io::Error },
    #[error("{0} has panicked; its last words are in the log")]
    Panicked(String),
    #[error("not ready after {seconds} s: {missing}")]
    NotReady { seconds: u64, missing: String },
    /// Told by another thread, in its words.
    #[error("{reason}")]
    Osd { errno: i32, reason: String },
    #[error("the ring on CPU {cpu} failed: {source}")]
    Ring { cpu: usize, source: io::Error },
}

impl Error {
    /// The positive errno that a process that fails with it exits with.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Config(_) => libc::EINVAL,
            Error::Key(KeyError::Read { source, .. } | KeyError::Create { source, .. }) => {
                source.raw_os_error().unwrap_or(libc::EIO)
            }
            Error::Key(KeyError::Malformed { .. }) => libc::EINVAL,
            Error::Key(KeyError::Exposed { .. }) => libc::EACCES,
            Error::Listen { source, .. }
            | Error::Device { source, .. }
            | Error::Thread { source, .. }
            | Error::Ring { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
            Error::Store { source, .. } => source.errno(),
            Error::Panicked(_) => libc::EIO,
            Error::Osd { errno, .. } => *errno,
            Error::NotReady { .. } => libc::ETIMEDOUT,
        }
    }
}
