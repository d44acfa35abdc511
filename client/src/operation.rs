//! Atomic operation vectors on one object.

use crate::error::{E2BIG, EINVAL, Error, Result};
use crate::limits::{OPERATIONS_MAX, TRANSFER_BYTES_MAX};
use basalt_net::message::object::{Operation, Operations};
use basalt_ring::Slice;

/// Builds a vector of operations on one object: all are applied, or nothing. Guards come first by custom; reads see the object before the
/// vector's writes; writes are applied in order.
#[derive(Clone, Default)]
pub struct ObjectOperations {
    pub(crate) operations: Operations,
    pub(crate) payload: Vec<Slice>,
}

impl ObjectOperations {
    pub fn new() -> ObjectOperations {
        ObjectOperations::default()
    }

    /// Any operation without payload. Panics for `Write`, `WriteFull` and `Append`, which have functions that take theirs.
    pub fn operation(mut self, operation: Operation) -> ObjectOperations {
        assert!(
            !matches!(operation, Operation::Write { .. } | Operation::WriteFull { .. } | Operation::Append { .. }),
            "operations with payload have functions of their own"
        );
        self.operations.push(operation);
        self
    }

    /// ENOENT unless the object exists.
    pub fn assert_exists(self) -> ObjectOperations {
        self.operation(Operation::AssertExists)
    }

    /// EEXIST if the object exists.
    pub fn assert_absent(self) -> ObjectOperations {
        self.operation(Operation::AssertAbsent)
    }

    /// ERANGE unless the object has this version.
    pub fn assert_version(self, version: u64) -> ObjectOperations {
        self.operation(Operation::AssertVersion(version))
    }

    pub fn read(self, offset: u64, length: u64) -> ObjectOperations {
        self.operation(Operation::Read { offset, length })
    }

    pub fn stat(self) -> ObjectOperations {
        self.operation(Operation::Stat)
    }

    pub fn list_xattrs(self) -> ObjectOperations {
        self.operation(Operation::ListXattrs)
    }

    pub fn set_xattr(self, name: &[u8], value: &[u8]) -> ObjectOperations {
        self.operation(Operation::SetXattr { name: name.into(), value: value.into() })
    }

    pub fn write(self, offset: u64, data: Slice) -> ObjectOperations {
        let length = data.len() as u64;
        self.with_payload(Operation::Write { offset, length }, data)
    }

    pub fn write_full(self, data: Slice) -> ObjectOperations {
        let length = data.len() as u64;
        self.with_payload(Operation::WriteFull { length }, data)
    }

    /// [`ObjectOperations::write_full`] of several slices, one behind the other.
    pub fn write_full_of(mut self, data: Vec<Slice>) -> ObjectOperations {
        let length = data.iter().map(|slice| slice.len() as u64).sum();
        self.operations.push(Operation::WriteFull { length });
        self.payload.extend(data);
        self
    }

    pub fn append(self, data: Slice) -> ObjectOperations {
        let length = data.len() as u64;
        self.with_payload(Operation::Append { length }, data)
    }

    pub fn truncate(self, size: u64) -> ObjectOperations {
        self.operation(Operation::Truncate { size })
    }

    pub fn remove(self) -> ObjectOperations {
        self.operation(Operation::Remove)
    }

    pub fn len(&self) -> usize {
        self.operations.len()
    }

    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    fn with_payload(mut self, operation: Operation, data: Slice) -> ObjectOperations {
        self.operations.push(operation);
        self.payload.push(data);
        self
    }

    /// Refuses what no frame can carry, or no object can be. Returns the bytes that go either way.
    pub(crate) fn check(&self) -> Result<u64> {
        if self.is_empty() || self.len() > OPERATIONS_MAX {
            let message = format!("{} operations in one request, where 1 to {OPERATIONS_MAX} are allowed", self.len());
            return Err(Error::new(EINVAL, message));
        }
        let too_large = |what: &str, bytes: u64| {
            let message =
                format!("a request that {what} {bytes} bytes, where {TRANSFER_BYTES_MAX} are allowed: divide it");
            Error::new(E2BIG, message)
        };
        let written = self.payload.iter().map(|slice| slice.len() as u64).sum();
        let read = self.operations.iter().fold(0u64, |read, operation| match operation {
            Operation::Read { length, .. } => read.saturating_add(*length),
            _ => read,
        });
        if written > TRANSFER_BYTES_MAX {
            return Err(too_large("writes", written));
        }
        if read > TRANSFER_BYTES_MAX {
            return Err(too_large("reads", read));
        }
        for operation in &self.operations {
            let end = match operation {
                Operation::Read { offset, length }
                | Operation::Write { offset, length }
                | Operation::Zero { offset, length }
                | Operation::CloneRange { offset, length, .. } => offset.checked_add(*length),
                _ => Some(0),
            };
            if end.is_none() {
                return Err(Error::new(EINVAL, "a range that ends beyond 2^64 bytes"));
            }
        }
        Ok(written + read)
    }
}
