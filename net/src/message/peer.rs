//! What OSDs say to each other on the cluster network. The primary of a placement group asks and the other members answer, on a
//! session that the primary opened; what one session carries for one group is done in the order it was sent.
//!
//! `reign` counts the primaries that a group has had. A member refuses what comes from a reign other than its map's.

use super::object::{ObjectName, Operation};
use rkyv::{Archive, Deserialize, Serialize};

/// A placement group under one primary.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[rkyv(derive(Debug))]
pub struct Reign {
    pub pool: u32,
    pub pg: u32,
    pub reign: u32,
}

/// From a primary to a member, or from any OSD to another that it watches.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum PeerRequest {
    /// A sign of life, and a request for the lease that the answer grants.
    Heartbeat {
        /// By the sender's own clock, nanoseconds.
        sent_ns: u64,
        epoch: u32,
    },
    /// A map that the receiver seems not to have.
    Map { map: Vec<u8> },
    /// The next write of a group; its payload is the request's. Answered by `Written`.
    Write { reign: Reign, write: ReplicaWrite },
    /// An object, or ranges of it, as the primary has them; payload: the segments that are not zero. Answered by `Written`.
    Push { reign: Reign, push: Push },
    /// All others wait for their answer, which has the same tag.
    Ask { tag: u64, reign: Reign, question: Question },
}

/// A write as its primary ordered it: guards and reads are judged already, and what is left is done on the same state everywhere.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct ReplicaWrite {
    pub name: ObjectName,
    pub version: u64,
    pub mtime_ns: u64,
    pub operations: Vec<Operation>,
    /// The entry of the group's log, as it is to be stored.
    pub entry: Vec<u8>,
    /// Entries below this version may go. 0: none.
    pub trim_below: u64,
}

/// Brings one object of a member to the state that the primary has.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub struct Push {
    pub name: Vec<u8>,
    /// Names the answer; counts up from 1 on each session.
    pub number: u64,
    pub state: ObjectState,
    /// Entries of the log that the state is the outcome of: version and entry.
    pub entries: Vec<(u64, Vec<u8>)>,
    /// Versions of the member's log that the state leaves out: nobody but it has them.
    pub forget: Vec<u64>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct ObjectState {
    /// `None`: there is no such object. Without parts, only log entries are meant and the object stays as it is.
    pub object: Option<ObjectParts>,
    /// The object is to be removed if `object` is `None`.
    pub is_absent: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct ObjectParts {
    pub version: u64,
    pub mtime_ns: u64,
    pub size: u64,
    /// Nothing of what was there before stays.
    pub is_whole: bool,
    /// In ascending order, without overlap.
    pub segments: Vec<Segment>,
    /// All of them, replacing those that are there.
    pub xattrs: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub omap: OmapChange,
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[rkyv(derive(Debug))]
pub struct Segment {
    pub offset: u64,
    pub length: u64,
    /// Zeros, which are not sent.
    pub is_zero: bool,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Default)]
#[rkyv(derive(Debug))]
pub struct OmapChange {
    /// Removes all pairs before the others are set.
    pub clear: bool,
    pub set: Vec<(Vec<u8>, Vec<u8>)>,
    pub remove: Vec<Vec<u8>>,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum Question {
    /// What the member has; it ends whatever else was going on in the group for an earlier session.
    Status,
    /// Entries of its log above a version, in ascending order.
    Log { above: u64, max: u32 },
    /// The member is about to be filled: until `Settle` says otherwise, it has no complete copy.
    BeginFill,
    /// The member has all that was committed up to here; `entries` complete its log.
    Settle { committed: u64 },
    /// Its objects after a name, with their versions, in ascending order.
    Objects { after: Vec<u8>, max: u32 },
    /// An object, or ranges of it.
    Object { name: Vec<u8>, ranges: Vec<(u64, u64)>, attributes: bool },
    /// Digests of its objects after a name, data and attributes apart; for scrub. `deep`: all data is read for it.
    Digests { after: Vec<u8>, max: u32, deep: bool },
    /// The digest of one object, or none; answered by `Digests`.
    Digest { name: Vec<u8>, deep: bool },
}

/// From a member to its primary.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum PeerReply {
    Heartbeat {
        /// The asker's own time, returned.
        sent_ns: u64,
        epoch: u32,
        /// It takes nothing any more but what frees space.
        is_full: bool,
    },
    /// A map that the asker seems not to have.
    Map {
        map: Vec<u8>,
    },
    /// A write, by its version, or a push, by its number, is durable.
    Written {
        reign: Reign,
        version: u64,
        number: u64,
    },
    /// What was asked of the group can't be done by this OSD: `errno` and why. ESTALE: it goes by another reign, in this epoch.
    Refused {
        reign: Reign,
        tag: u64,
        errno: i32,
        message: String,
        /// The object that is to be sent as a whole, because what is here of it can't be read.
        damaged: Vec<u8>,
        epoch: u32,
    },
    Answer {
        tag: u64,
        answer: Answer,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[rkyv(derive(Debug))]
pub enum Answer {
    Status(MemberStatus),
    /// And whether there are more.
    Log {
        entries: Vec<(u64, Vec<u8>)>,
        more: bool,
    },
    Done,
    Objects {
        objects: Vec<(Vec<u8>, u64)>,
        more: bool,
    },
    /// Payload: the segments that are not zero.
    Object(ObjectState),
    Digests {
        objects: Vec<ObjectDigest>,
        more: bool,
    },
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
#[rkyv(derive(Debug))]
pub struct MemberStatus {
    /// Whether it ever had all objects: not while it is being filled.
    pub is_complete: bool,
    /// All that was committed up to here it has.
    pub committed: u64,
    /// Of its log; 0: it has none.
    pub newest: u64,
    /// What came before the first entry of its log; 0: the log goes back to the beginning.
    pub before_oldest: u64,
}

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
#[rkyv(derive(Debug))]
pub struct ObjectDigest {
    pub name: Vec<u8>,
    pub version: u64,
    pub size: u64,
    /// crc32c over the crc32c of each 4 KiB of the data, with zeros behind its end.
    pub data: u32,
    /// crc32c of xattrs and omap.
    pub attributes: u32,
    /// The member can't read it: why.
    pub error: String,
}
