//! Something that a pass found damaged.

use crate::object::ObjectKey;
use crate::read::display;
use crate::wal::Side;
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubKind {
    /// Data that is not what its checksum says.
    Checksum,
    /// Data that the device does not give.
    Unreadable,
    /// One of the store's own structures, either way.
    Metadata,
}

/// What is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrubSubject {
    /// The block at this byte offset.
    Object {
        object: ObjectKey,
        offset: u64,
    },
    SuperblockCopy(u8),
    AllocationPage(u64),
    IndexNode,
}

/// Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScrubFinding {
    pub subject: ScrubSubject,
    pub kind: ScrubKind,
    pub side: Side,
    /// The device's path.
    pub device: String,
    /// Byte address on it.
    pub address: u64,
    /// What was seen.
    pub why: String,
    /// The store had the same a second time, and it will be, or has been, written anew.
    pub repaired: bool,
}

impl fmt::Display for ScrubFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            ScrubSubject::Object { object, offset } => write!(f, "object {} at byte {offset}", display(object))?,
            ScrubSubject::SuperblockCopy(copy) => write!(f, "superblock copy {copy}")?,
            ScrubSubject::AllocationPage(page) => write!(f, "allocation page {page}")?,
            ScrubSubject::IndexNode => write!(f, "index node")?,
        }
        let side = match self.side {
            Side::Base => "base",
            Side::Hot => "hot",
        };
        write!(f, ": {} on the {side} device {} at byte {}", self.why, self.device, self.address)?;
        if self.repaired { write!(f, "; repaired") } else { Ok(()) }
    }
}
