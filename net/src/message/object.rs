//! Requests to an OSD about objects. Write data and read data travel as the frame's payload, concatenated in the order of the operations.

use rkyv::{Archive, Deserialize, Serialize};
use smallvec::SmallVec;

/// Of usual length, names are taken over without the heap.
pub type ObjectName = SmallVec<[u8; OBJECT_NAME_INLINE_BYTES]>;

/// Longer names have memory of their own.
pub const OBJECT_NAME_INLINE_BYTES: usize = 48;
/// Most requests are one operation.
pub type Operations = SmallVec<[Operation; 1]>;
pub type Results = SmallVec<[OperationResult; 1]>;

/// Names a request for good: a client that resends after a broken session uses the same one, and it is applied once.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[rkyv(derive(Debug))]
pub struct RequestId {
    /// Random, chosen by the client at its start.
    pub client: u64,
    /// Counts up from 1.
    pub sequence: u64,
}

/// An atomic operation vector on one object: all of it is applied, or nothing.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct ObjectRequest {
    pub request: RequestId,
    /// The map epoch the client placed it by.
    pub epoch: u32,
    pub pool: u32,
    pub pg: u32,
    pub name: ObjectName,
    pub operations: Operations,
    /// The client is done with every request up to this sequence and sends none of them again: what is known of them for duplicate detection
    /// may be forgotten. One of them that still arrives is an old copy from a broken session; it is neither applied nor answered.
    pub completed_up_to: u64,
    /// Which copy of the request this is: the answer repeats it. The client hears the answer to its latest copy only: an older one may have
    /// been refused where the latest is applied.
    pub attempt: u32,
}

/// Sizes and offsets in bytes.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum Operation {
    // Guards: the request fails without effect where one does not hold.
    /// ENOENT otherwise.
    AssertExists,
    /// EEXIST otherwise.
    AssertAbsent,
    /// ERANGE otherwise. Every change of an object gives it a new, greater version.
    AssertVersion(u64),
    /// ECANCELED otherwise. `None`: the xattr must be missing.
    AssertXattr {
        name: Vec<u8>,
        value: Option<Vec<u8>>,
    },
    /// ECANCELED otherwise. `None`: the key must be missing.
    AssertOmap {
        key: Vec<u8>,
        value: Option<Vec<u8>>,
    },

    // Reads: see the object before this request's writes.
    /// Short at the object's end; unwritten ranges read as zeros.
    Read {
        offset: u64,
        length: u64,
    },
    Stat,
    GetXattr {
        name: Vec<u8>,
    },
    ListXattrs,
    /// Missing keys are left out of the result.
    GetOmap {
        keys: Vec<Vec<u8>>,
    },
    /// Pairs with keys after `after` (exclusive) that start with `prefix`, in byte order, at most `max`.
    ListOmap {
        after: Vec<u8>,
        prefix: Vec<u8>,
        max: u32,
        values: bool,
    },

    // Writes, applied in order. All but `Remove` create the object if it is missing.
    Touch,
    /// `length` bytes of payload.
    Write {
        offset: u64,
        length: u64,
    },
    /// Replaces the whole content.
    WriteFull {
        length: u64,
    },
    Append {
        length: u64,
    },
    Zero {
        offset: u64,
        length: u64,
    },
    Truncate {
        size: u64,
    },
    /// ENOENT if missing.
    Remove,
    SetXattr {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    /// ENODATA if missing.
    RemoveXattr {
        name: Vec<u8>,
    },
    SetOmap {
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
    },
    RemoveOmap {
        keys: Vec<Vec<u8>>,
    },
    ClearOmap,
    /// Replaces `[offset, offset+length)` by that range of another object of the same placement group.
    CloneRange {
        source: Vec<u8>,
        source_offset: u64,
        offset: u64,
        length: u64,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct ObjectReply {
    pub request: RequestId,
    pub attempt: u32,
    /// 0, or a positive errno.
    pub errno: i32,
    /// What is wrong, and what would be right; empty on success.
    pub message: String,
    /// Index of the operation that failed.
    pub failed_operation: Option<u32>,
    /// The object's version after the request (0: it does not exist).
    pub version: u64,
    /// The OSD's map epoch; a client behind it fetches a newer map. With ESTALE the request was not applied and is to be placed anew.
    pub epoch: u32,
    /// One an operation.
    pub results: Results,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum OperationResult {
    Done,
    /// So many bytes of the reply's payload.
    Data {
        length: u64,
    },
    Stat {
        size: u64,
        mtime_ns: u64,
        version: u64,
    },
    Value(Vec<u8>),
    Pairs {
        pairs: Vec<(Vec<u8>, Vec<u8>)>,
        more: bool,
    },
}

/// Objects of one placement group after `after` (exclusive) whose names start with `prefix`, in byte order.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct ListRequest {
    pub request: RequestId,
    pub epoch: u32,
    pub pool: u32,
    pub pg: u32,
    pub after: Vec<u8>,
    pub prefix: Vec<u8>,
    pub max: u32,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct ListReply {
    pub request: RequestId,
    pub errno: i32,
    pub message: String,
    pub epoch: u32,
    pub names: Vec<Vec<u8>>,
    pub more: bool,
}

/// Administration of one OSD: asked of it directly.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum OsdCommand {
    /// Flush everything dirty of the pool now; the reply comes at once, `TierStatus` tells how far it is.
    TierDrain { pool: u32 },
    /// JSON of this OSD's tier figures, one entry a pool.
    TierStatus,
    /// JSON of the store's counters.
    StoreStatus,
    /// Compare everything in the store with its checksums, from the beginning and now; the reply comes at once.
    DeepScrub,
    /// Compare the copies of a placement group that this OSD is the primary of; the reply comes at once.
    ScrubGroup {
        pool: u32,
        pg: u32,
        /// All data is read on all members, too.
        deep: bool,
        /// Copies that differ and of which none is known to be the right one are settled as well.
        repair: bool,
    },
    /// JSON of slow requests: those under way, and the last ones that were answered.
    SlowRequests,
    /// JSON of the sessions that have asked for most, with what they asked for.
    Sessions,
    /// JSON of the options that it goes by, with who set each.
    Settings,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct OsdCommandRequest {
    pub request: RequestId,
    pub command: OsdCommand,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct OsdCommandReply {
    pub request: RequestId,
    pub errno: i32,
    pub message: String,
    pub json: String,
}
