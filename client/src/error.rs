//! What can go wrong, each with the errno that scripts know it by.

use basalt_net::FrameError;

pub type Result<T> = std::result::Result<T, Error>;

pub const ENOENT: i32 = 2;
pub const EIO: i32 = 5;
pub const E2BIG: i32 = 7;
pub const EAGAIN: i32 = 11;
pub const EACCES: i32 = 13;
pub const EEXIST: i32 = 17;
pub const EINVAL: i32 = 22;
pub const ERANGE: i32 = 34;
pub const ENAMETOOLONG: i32 = 36;
pub const ENODATA: i32 = 61;
pub const EPROTO: i32 = 71;
pub const EOPNOTSUPP: i32 = 95;
pub const ENOTCONN: i32 = 107;
pub const ETIMEDOUT: i32 = 110;
pub const ESTALE: i32 = 116;

/// Shown as `what is wrong, and what would be right`; a command line puts `Error` and [`Error::name`] before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    errno: i32,
    message: String,
}

impl Error {
    /// `errno` is positive, as in `errno.h`.
    pub fn new(errno: i32, message: impl Into<String>) -> Error {
        Error { errno, message: message.into() }
    }

    /// Positive, as in `errno.h`.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// `EINVAL`, say.
    pub fn name(&self) -> &'static str {
        errno_name(self.errno)
    }

    pub(crate) fn protocol(who: impl std::fmt::Display, what: &str) -> Error {
        Error::new(EPROTO, format!("{who} answers against the protocol: {what}; both ends must be of the same release"))
    }

    pub(crate) fn too_large(error: &FrameError) -> Error {
        Error::new(E2BIG, format!("the request does not fit one frame: {error}; divide it"))
    }
}

/// The names of the errors that requests end with.
pub fn errno_name(errno: i32) -> &'static str {
    match errno {
        1 => "EPERM",
        ENOENT => "ENOENT",
        EIO => "EIO",
        E2BIG => "E2BIG",
        EAGAIN => "EAGAIN",
        12 => "ENOMEM",
        EACCES => "EACCES",
        16 => "EBUSY",
        EEXIST => "EEXIST",
        EINVAL => "EINVAL",
        27 => "EFBIG",
        28 => "ENOSPC",
        30 => "EROFS",
        ERANGE => "ERANGE",
        ENAMETOOLONG => "ENAMETOOLONG",
        39 => "ENOTEMPTY",
        ENODATA => "ENODATA",
        EPROTO => "EPROTO",
        75 => "EOVERFLOW",
        EOPNOTSUPP => "EOPNOTSUPP",
        ENOTCONN => "ENOTCONN",
        108 => "ESHUTDOWN",
        ETIMEDOUT => "ETIMEDOUT",
        ESTALE => "ESTALE",
        122 => "EDQUOT",
        125 => "ECANCELED",
        _ => "EUNKNOWN",
    }
}
