//! What can go wrong, each with the errno that scripts know it by.

pub type Result<T> = std::result::Result<T, Error>;

/// Shown as `what is wrong, and what would be right`; callers put [`Error::name`] before it.
#[derive(Clone, Debug, thiserror::Error)]
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
}
