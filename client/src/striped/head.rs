//! The object that stands for the whole.

use crate::error::{EEXIST, EIO, ENOENT, ERANGE, Error, Result};
use crate::limits::TRANSFER_BYTES_MAX;
use crate::{ObjectOperations, Outcome, Pool, Stat};

const SIZE: &[u8] = b"striped.size";
const UNIT: &[u8] = b"striped.unit";
const GENERATION: &[u8] = b"striped.generation";

/// Of one version of the object.
pub(super) struct Head {
    pub stat: Stat,
    pub stripes: Option<Stripes>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stripes {
    pub size: u64,
    pub unit: u64,
    pub generation: u64,
}

impl Stripes {
    /// How many pieces there are.
    pub fn count(&self) -> u64 {
        self.size.div_ceil(self.unit)
    }

    /// The length of a piece.
    pub fn piece_len(&self, index: u64) -> u64 {
        self.size.saturating_sub(index.saturating_mul(self.unit)).min(self.unit)
    }

    /// What makes an object this one's head.
    pub fn mark(&self, operations: ObjectOperations) -> ObjectOperations {
        operations
            .set_xattr(SIZE, self.size.to_string().as_bytes())
            .set_xattr(UNIT, self.unit.to_string().as_bytes())
            .set_xattr(GENERATION, format!("{:016x}", self.generation).as_bytes())
    }

    fn parse(name: &[u8], xattrs: &[(Vec<u8>, Vec<u8>)]) -> Result<Option<Stripes>> {
        let find = |wanted: &[u8]| {
            let found = xattrs.iter().find(|(xattr, _)| xattr == wanted);
            found.and_then(|(_, value)| std::str::from_utf8(value).ok())
        };
        if !xattrs.iter().any(|(xattr, _)| matches!(xattr.as_slice(), SIZE | UNIT | GENERATION)) {
            return Ok(None);
        }
        let number = |wanted| find(wanted).and_then(|value| value.parse::<u64>().ok());
        let generation = find(GENERATION).and_then(|value| u64::from_str_radix(value, 16).ok());
        match (number(SIZE), number(UNIT), generation) {
            (Some(size), Some(unit @ 1..=TRANSFER_BYTES_MAX), Some(generation)) => {
                Ok(Some(Stripes { size, unit, generation }))
            }
            _ => Err(Error::new(
                EIO,
                format!("the xattrs striped.* of object {} contradict themselves: put it anew", name.escape_ascii()),
            )),
        }
    }
}

impl Head {
    pub async fn read(pool: &Pool, name: &[u8]) -> Result<Head> {
        Head::from(name, pool.execute(name, ObjectOperations::new().stat().list_xattrs()).await?)
    }

    /// With the first bytes of the head itself, which are the whole if it is plain and short.
    pub async fn read_with_data(pool: &Pool, name: &[u8], length: u64) -> Result<Head> {
        let operations = ObjectOperations::new().stat().list_xattrs().read(0, length);
        Head::from(name, pool.execute(name, operations).await?)
    }

    fn from(name: &[u8], outcome: Outcome) -> Result<Head> {
        let stripes = Stripes::parse(name, outcome.pairs(1)?.0)?;
        Ok(Head { stat: outcome.stat(0)?, stripes, outcome })
    }

    /// What [`Head::read_with_data`] read.
    pub fn data(&self) -> Result<basalt_ring::Slice> {
        self.outcome.data(2)
    }

    /// `None` if there is no object.
    pub async fn find(pool: &Pool, name: &[u8]) -> Result<Option<Head>> {
        match Head::read(pool, name).await {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.errno() == ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A change that is refused unless the head is still what it was.
pub(super) fn guard(head: Option<&Head>) -> ObjectOperations {
    match head {
        Some(head) => ObjectOperations::new().assert_version(head.stat.version),
        None => ObjectOperations::new().assert_absent(),
    }
}

/// Whether the [`guard`] for this head refused.
pub(super) fn is_outdated(head: Option<&Head>, error: &Error) -> bool {
    match head {
        Some(_) => matches!(error.errno(), ERANGE | ENOENT),
        None => error.errno() == EEXIST,
    }
}

/// What makes a striped object a plain one.
pub(super) fn unmark(mut operations: ObjectOperations) -> ObjectOperations {
    for xattr in [SIZE, UNIT, GENERATION] {
        operations = operations.operation(basalt_net::message::object::Operation::RemoveXattr { name: xattr.to_vec() });
    }
    operations
}
