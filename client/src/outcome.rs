//! What came out of an operation vector.

use crate::error::{Error, Result};
use basalt_net::message::object::{ObjectReply, OperationResult, Results};
use basalt_ring::{Buffer, Ring, Slice};

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);
/// In byte order of the keys.
pub type Pairs = Vec<Pair>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: u64,
    pub version: u64,
}

/// What a request that succeeded brought: one result an operation.
pub struct Outcome {
    version: u64,
    results: Results,
    /// One a `Data` result.
    data: Vec<Slice>,
}

impl Outcome {
    /// `operations`: how many were asked for.
    pub(crate) fn read(ring: &Ring, reply: ObjectReply, payload: Option<Buffer>, operations: usize) -> Result<Outcome> {
        let wrong = |what| Err(Error::protocol("the OSD", what));
        if reply.results.len() != operations {
            return wrong("another number of results than of operations");
        }
        let payload = payload.unwrap_or_else(|| ring.buffer(0)).freeze();
        let payload_len = payload.len() as u64;
        let mut data = Vec::new();
        let mut at = 0u64;
        for result in &reply.results {
            let OperationResult::Data { length } = result else { continue };
            let Some(end) = at.checked_add(*length).filter(|end| *end <= payload_len) else {
                return wrong("fewer bytes than it says");
            };
            data.push(payload.slice(at as usize..end as usize));
            at = end;
        }
        if at != payload_len {
            return wrong("more bytes than it says");
        }
        Ok(Outcome { version: reply.version, results: reply.results, data })
    }

    /// The object's version after the request; 0 if it does not exist.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// In the order of the operations.
    pub fn results(&self) -> &[OperationResult] {
        &self.results
    }

    /// What the operation at `index` read.
    pub fn data(&self, index: usize) -> Result<Slice> {
        let earlier = self.results.iter().take(index).filter(|result| matches!(result, OperationResult::Data { .. }));
        match (self.results.get(index), self.data.get(earlier.count())) {
            (Some(OperationResult::Data { .. }), Some(data)) => Ok(data.clone()),
            _ => Err(self.unexpected(index, "data")),
        }
    }

    pub fn stat(&self, index: usize) -> Result<Stat> {
        match self.results.get(index) {
            Some(OperationResult::Stat { size, mtime_ns, version }) => {
                Ok(Stat { size: *size, mtime_ns: *mtime_ns, version: *version })
            }
            _ => Err(self.unexpected(index, "a stat")),
        }
    }

    pub fn value(&self, index: usize) -> Result<&[u8]> {
        match self.results.get(index) {
            Some(OperationResult::Value(value)) => Ok(value),
            _ => Err(self.unexpected(index, "a value")),
        }
    }

    /// The pairs, and whether there are more behind them.
    pub fn pairs(&self, index: usize) -> Result<(&[Pair], bool)> {
        match self.results.get(index) {
            Some(OperationResult::Pairs { pairs, more }) => Ok((pairs, *more)),
            _ => Err(self.unexpected(index, "pairs")),
        }
    }

    fn unexpected(&self, index: usize, wanted: &str) -> Error {
        let seen = match self.results.get(index) {
            None => "nothing",
            Some(OperationResult::Done) => "no result",
            Some(OperationResult::Data { .. }) => "data",
            Some(OperationResult::Stat { .. }) => "a stat",
            Some(OperationResult::Value(_)) => "a value",
            Some(OperationResult::Pairs { .. }) => "pairs",
        };
        Error::protocol("the OSD", &format!("operation {index} brought {seen} instead of {wanted}"))
    }
}
