//! What an object is called and what is known of it without reading it.

use smallvec::SmallVec;

/// Names of usual length are copied without the heap: one operation does so often.
pub type ObjectName = SmallVec<[u8; 48]>;

/// An object's name within the store.
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    pub pool: u32,
    pub pg: u32,
    /// 1 to [`NAME_BYTES_MAX`] bytes of anything.
    pub name: ObjectName,
}

impl Clone for ObjectKey {
    fn clone(&self) -> ObjectKey {
        // The derived one would copy the name byte by byte.
        ObjectKey { pool: self.pool, pg: self.pg, name: ObjectName::from_slice(&self.name) }
    }
}

/// An object's number within the store: given at its creation, never used again after its removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    pub id: ObjectId,
    /// Bytes.
    pub size: u64,
    /// Set by whoever changes the object; greater with every change.
    pub version: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: u64,
}

/// One object's share of the hot device after a change; absolute bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotChange {
    pub pool: u32,
    pub object: ObjectId,
    pub dirty_bytes: u64,
    pub clean_bytes: u64,
    /// Nanoseconds since 1970; since when the oldest dirty byte is dirty. 0 if none is.
    pub dirty_since_ns: u64,
}

/// One pool's exact figures in this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PoolUsage {
    pub objects: u64,
    /// Sum of object sizes.
    pub data_bytes: u64,
    pub omap_bytes: u64,
    pub hot_dirty_bytes: u64,
    pub hot_clean_bytes: u64,
    pub dirty_objects: u64,
}
