//! Why a request is not done, as its client is told.

use basalt_blockstore::Error as StoreError;
use std::fmt;

/// A positive errno, what is wrong and what would be right, and which operation of the vector it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub errno: i32,
    pub message: String,
    pub operation: Option<u32>,
    /// An object's block is damaged here, at this offset: another copy may be whole.
    pub damage: Option<u64>,
}

impl Refusal {
    pub fn new(errno: i32, message: impl Into<String>) -> Refusal {
        Refusal { errno, message: message.into(), operation: None, damage: None }
    }

    /// Names the operation, unless one is named already.
    pub fn at(mut self, operation: usize) -> Refusal {
        self.operation.get_or_insert(u32::try_from(operation).unwrap_or(u32::MAX));
        self
    }

    pub fn no_such_object(name: &[u8]) -> Refusal {
        Refusal::new(libc::ENOENT, format!("there is no object '{}'", name.escape_ascii()))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (errno {})", self.message, self.errno)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        let damage = match &error {
            StoreError::Checksum { offset, .. } | StoreError::Unreadable { offset, .. } => Some(*offset),
            _ => None,
        };
        Refusal { damage, ..Refusal::new(error.errno(), error.to_string()) }
    }
}
