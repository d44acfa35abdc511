//! Why a command ends without having done what it was asked to do.

use crate::errno;
use std::fmt;
use std::path::Path;

pub type Result<T> = std::result::Result<T, Failure>;

/// Shown as `Error ENAME: message`; `errno` is the exit status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    errno: i32,
    message: String,
}

impl Failure {
    /// `errno` is positive, as in `errno.h`; the message says what is wrong and what would be right.
    pub fn new(errno: i32, message: impl Into<String>) -> Failure {
        Failure { errno, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(libc::EINVAL, message)
    }

    /// An I/O error on a file that a person named.
    pub fn file(path: &Path, error: &std::io::Error) -> Failure {
        Failure::new(errno::of_io(error), format!("{}: {error}", path.display()))
    }

    /// The answer's reader has gone away: nothing to complain of, and nobody to tell.
    pub fn reader_left() -> Failure {
        Failure::new(libc::EPIPE, "")
    }

    pub fn is_reader_left(&self) -> bool {
        self.errno == libc::EPIPE && self.message.is_empty()
    }

    pub fn errno(&self) -> i32 {
        self.errno
    }

    pub fn message(&self) -> &str {
        &self.message
    }

    /// Puts what was being done before the message.
    pub fn while_doing(self, what: impl fmt::Display) -> Failure {
        Failure { message: format!("{what}: {}", self.message), ..self }
    }

    /// 1 to 255, never 0: an exit status has eight bits.
    pub fn exit_status(&self) -> u8 {
        match u8::try_from(self.errno) {
            Ok(0) | Err(_) => 255,
            Ok(status) => status,
        }
    }
}

/// One line, whatever the message holds: scripts read it line by line, and a terminal must not obey it.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error {}: ", errno::name(self.errno))?;
        for line in self.message.trim().split('\n').enumerate() {
            if line.0 > 0 {
                f.write_str("; ")?;
            }
            for character in line.1.trim_end().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<basalt_client::Error> for Failure {
    fn from(error: basalt_client::Error) -> Failure {
        Failure::new(error.errno(), error.message())
    }
}

impl From<basalt_blockstore::Error> for Failure {
    fn from(error: basalt_blockstore::Error) -> Failure {
        Failure::new(error.errno(), error.to_string())
    }
}

impl From<basalt_cluster::ConfigError> for Failure {
    fn from(error: basalt_cluster::ConfigError) -> Failure {
        let errno = match &error {
            basalt_cluster::ConfigError::Io { source, .. } => errno::of_io(source),
            _ => libc::EINVAL,
        };
        Failure::new(errno, error.to_string())
    }
}

impl From<basalt_net::key::KeyError> for Failure {
    fn from(error: basalt_net::key::KeyError) -> Failure {
        use basalt_net::key::KeyError;
        let errno = match &error {
            KeyError::Read { source, .. } | KeyError::Create { source, .. } => errno::of_io(source),
            KeyError::Malformed { .. } => libc::EINVAL,
            KeyError::Exposed { .. } => libc::EACCES,
        };
        Failure::new(errno, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_that_no_terminal_obeys() {
        let failure = Failure::invalid("pool 'a\x1b[2J' is odd\nuse letters\n");
        assert_eq!(failure.to_string(), r"Error EINVAL: pool 'a\u{1b}[2J' is odd; use letters");
    }

    #[test]
    fn a_failure_never_exits_with_success() {
        assert_eq!(Failure::new(0, "odd").exit_status(), 255);
        assert_eq!(Failure::new(512, "odd").exit_status(), 255);
        assert_eq!(Failure::new(2, "no such pool").exit_status(), 2);
    }
}
