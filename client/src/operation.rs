//! Atomic operation vectors on one object, and what came out of them.

use basalt_net::message::object::{Operation, OperationResult};
use basalt_ring::Slice;

/// Builds a vector of operations on one object: all are applied, or nothing. Reads see the object before the vector's writes.
#[derive(Clone, Default)]
pub struct ObjectOperations {
    operations: Vec<Operation>,
    payload: Vec<Slice>,
}

impl ObjectOperations {
    pub fn new() -> ObjectOperations {
        ObjectOperations::default()
    }
    /// Any operation without payload. Panics for `Write`, `WriteFull` and `Append`, which take theirs below.
    pub fn operation(mut self, operation: Operation) -> ObjectOperations {
        assert!(
            !matches!(operation, Operation::Write { .. } | Operation::WriteFull { .. } | Operation::Append { .. }),
            "operations with payload have functions of their own"
        );
        self.operations.push(operation);
        self
    }
    pub fn read(self, offset: u64, length: u64) -> ObjectOperations {
        self.operation(Operation::Read { offset, length })
    }
    pub fn stat(self) -> ObjectOperations {
        self.operation(Operation::Stat)
    }
    pub fn write(mut self, offset: u64, data: Slice) -> ObjectOperations {
        self.operations.push(Operation::Write { offset, length: data.len() as u64 });
        self.payload.push(data);
        self
    }
    pub fn write_full(mut self, data: Slice) -> ObjectOperations {
        self.operations.push(Operation::WriteFull { length: data.len() as u64 });
        self.payload.push(data);
        self
    }
    pub fn append(mut self, data: Slice) -> ObjectOperations {
        self.operations.push(Operation::Append { length: data.len() as u64 });
        self.payload.push(data);
        self
    }
}

/// What a request that succeeded brought, one result an operation.
pub struct Outcome {
    /// The object's version after the request; 0 if it does not exist.
    pub version: u64,
    pub results: Vec<OperationResult>,
    /// What each `Read` brought, in their order.
    pub data: Vec<Slice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: u64,
    pub version: u64,
}
