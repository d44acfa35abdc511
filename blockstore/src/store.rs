//! The store as its callers see it.

use crate::{HotChange, ObjectId, ObjectInfo, ObjectKey, PoolUsage, Result};
use basalt_ring::{Device, Ring, Slice};
use std::marker::PhantomData;
use std::rc::Rc;

/// The devices of one OSD, opened exclusively by the caller.
#[derive(Clone)]
pub struct Devices {
    pub base: Device,
    pub hot: Option<Device>,
}

#[derive(Clone, Debug)]
pub struct FormatOptions {
    pub osd: u32,
    /// Random; names the store in every checksum.
    pub store_id: [u8; 16],
    /// The cluster it belongs to.
    pub fsid: [u8; 16],
    /// `None`: chosen from the device's size.
    pub wal_bytes: Option<u64>,
    /// Format although the device holds a filesystem, a partition table or another store.
    pub force: bool,
}

#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Bytes of index nodes kept in memory beyond the dirty ones.
    pub index_cache_bytes: u64,
    /// Refuse a store of another OSD or cluster.
    pub expect_osd: Option<u32>,
    pub expect_fsid: Option<[u8; 16]>,
    /// Objects larger than this are refused.
    pub object_size_max: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions { index_cache_bytes: 256 << 20, expect_osd: None, expect_fsid: None, object_size_max: 128 << 20 }
    }
}

/// Where a write's data goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// To the hot device, dirty; through to base if there is none or it is full.
    Hot,
    /// Straight to base.
    Base,
}

/// Bytes of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    pub base_total: u64,
    pub base_used: u64,
    pub hot_total: u64,
    pub hot_used: u64,
    /// What data may still be allocated on hot now (freed space counts only once it may be reused).
    pub hot_free: u64,
    pub base_free: u64,
    pub checksum_errors: u64,
}

/// An open store. Cheap to clone, `!Send`.
#[derive(Clone)]
pub struct Store {
    _not_send: PhantomData<Rc<()>>,
}

impl Store {
    pub async fn format(_ring: &Ring, _devices: &Devices, _options: FormatOptions) -> Result<()> {
        unimplemented!()
    }
    /// Opens and replays. Time is bounded by the WAL's size.
    pub async fn open(_ring: &Ring, _devices: Devices, _options: OpenOptions) -> Result<Store> {
        unimplemented!()
    }
    /// Checkpoints and stops. Transactions in flight end first.
    pub async fn close(self) -> Result<()> {
        unimplemented!()
    }
    /// Locks the objects, first come first served each, so that guards can be evaluated and changes staged. Objects that only the
    /// background movers touch (flush, evict) need no lock.
    pub async fn begin(&self, _objects: &[ObjectKey]) -> Transaction {
        unimplemented!()
    }
    /// Like all reads, sees only durable state: waits for a change of the object that is in flight.
    pub async fn stat(&self, _object: &ObjectKey) -> Result<Option<ObjectInfo>> {
        unimplemented!()
    }
    /// Bytes `[offset, offset+length)` cut at the object's end, holes as zeros. `NotFound` if there is no such object.
    pub async fn read(&self, _object: &ObjectKey, _offset: u64, _length: u64) -> Result<ReadData> {
        unimplemented!()
    }
    pub async fn get_xattr(&self, _object: &ObjectKey, _name: &[u8]) -> Result<Option<Vec<u8>>> {
        unimplemented!()
    }
    pub async fn list_xattrs(&self, _object: &ObjectKey) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        unimplemented!()
    }
    pub async fn get_omap(&self, _object: &ObjectKey, _keys: &[Vec<u8>]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        unimplemented!()
    }
    /// Pairs after `after` (exclusive) with keys that start with `prefix`, at most `max`; and whether there are more.
    pub async fn list_omap(&self, _object: &ObjectKey, _after: &[u8], _prefix: &[u8], _max: usize) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, bool)> {
        unimplemented!()
    }
    /// Names after `after` (exclusive) that start with `prefix`, in byte order; and whether there are more.
    pub async fn list(&self, _pool: u32, _pg: u32, _after: &[u8], _prefix: &[u8], _max: usize) -> Result<(Vec<Vec<u8>>, bool)> {
        unimplemented!()
    }
    /// Placement groups of which anything is stored.
    pub async fn list_pgs(&self) -> Result<Vec<(u32, u32)>> {
        unimplemented!()
    }
    /// Log entries from version `from` on, in order.
    pub async fn read_log(&self, _pool: u32, _pg: u32, _from: u64, _max: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        unimplemented!()
    }

    // What the tier's policy asks for.

    /// Copies the dirty hot extents of these objects to base, in address order, and marks them clean. Returns the bytes flushed and what
    /// each object holds now. An object that changed meanwhile keeps its newer dirty extents.
    pub async fn flush(&self, _objects: &[ObjectId], _pool: u32) -> Result<(u64, Vec<HotChange>)> {
        unimplemented!()
    }
    /// Drops the clean hot extents of these objects.
    pub async fn evict(&self, _objects: &[ObjectId], _pool: u32) -> Result<(u64, Vec<HotChange>)> {
        unimplemented!()
    }
    /// Copies a range of an object from base to hot, clean.
    pub async fn promote(&self, _object: &ObjectKey, _offset: u64, _length: u64) -> Result<(u64, HotChange)> {
        unimplemented!()
    }
    /// Objects with anything on the hot device, after `(pool, object)` exclusive: for the tier to learn them after a start.
    pub async fn list_hot(&self, _after: (u32, ObjectId), _max: usize) -> Result<(Vec<HotChange>, bool)> {
        unimplemented!()
    }

    pub fn usage(&self) -> Usage {
        unimplemented!()
    }
    pub fn pool_usage(&self, _pool: u32) -> PoolUsage {
        unimplemented!()
    }
    /// Why the store is fenced, if it is.
    pub fn fenced(&self) -> Option<String> {
        unimplemented!()
    }
    pub fn store_id(&self) -> [u8; 16] {
        unimplemented!()
    }
    pub fn osd(&self) -> u32 {
        unimplemented!()
    }
    pub async fn checkpoint(&self) -> Result<()> {
        unimplemented!()
    }
}

/// What a read found.
#[derive(Clone)]
pub struct ReadData {
    pub data: Slice,
    /// Bytes that came from base although the pool has a hot device: a miss.
    pub base_bytes: u64,
    pub hot_bytes: u64,
}

/// Changes being gathered, with their objects locked. Reads through it see the state before it. Dropping it changes nothing.
pub struct Transaction {
    _not_send: PhantomData<Rc<()>>,
}

impl Transaction {
    /// Sees the staged state (size after earlier staged writes), and state of the objects not yet durable.
    pub async fn stat(&mut self, _object: &ObjectKey) -> Result<Option<ObjectInfo>> {
        unimplemented!()
    }
    pub async fn get_xattr(&mut self, _object: &ObjectKey, _name: &[u8]) -> Result<Option<Vec<u8>>> {
        unimplemented!()
    }
    pub fn touch(&mut self, _object: &ObjectKey) {
        unimplemented!()
    }
    /// The slice is written from where it lies if `offset` is a multiple of 4096 and the slice begins on such an address; else copied.
    pub fn write(&mut self, _object: &ObjectKey, _offset: u64, _data: Slice) {
        unimplemented!()
    }
    /// Writes at the object's end as it is by then.
    pub fn append(&mut self, _object: &ObjectKey, _data: Slice) {
        unimplemented!()
    }
    pub fn zero(&mut self, _object: &ObjectKey, _offset: u64, _length: u64) {
        unimplemented!()
    }
    pub fn truncate(&mut self, _object: &ObjectKey, _size: u64) {
        unimplemented!()
    }
    pub fn remove(&mut self, _object: &ObjectKey) {
        unimplemented!()
    }
    pub fn clone_range(&mut self, _source: &ObjectKey, _source_offset: u64, _object: &ObjectKey, _offset: u64, _length: u64) {
        unimplemented!()
    }
    pub fn set_xattr(&mut self, _object: &ObjectKey, _name: &[u8], _value: &[u8]) {
        unimplemented!()
    }
    /// `NoXattr` at [`Transaction::prepare`] if it is missing.
    pub fn remove_xattr(&mut self, _object: &ObjectKey, _name: &[u8]) {
        unimplemented!()
    }
    pub fn set_omap(&mut self, _object: &ObjectKey, _key: &[u8], _value: &[u8]) {
        unimplemented!()
    }
    pub fn remove_omap(&mut self, _object: &ObjectKey, _key: &[u8]) {
        unimplemented!()
    }
    pub fn clear_omap(&mut self, _object: &ObjectKey) {
        unimplemented!()
    }
    /// Reads what partial blocks need and checks every limit. Nothing is changed yet.
    pub async fn prepare(self, _placement: Placement) -> Result<Prepared> {
        unimplemented!()
    }
}

/// A transaction that has read all it needs.
pub struct Prepared {
    _not_send: PhantomData<Rc<()>>,
}

impl Prepared {
    /// The version and mtime that every changed object gets.
    pub fn set_version(&mut self, _version: u64, _mtime_ns: u64) {
        unimplemented!()
    }
    /// An entry of a placement group's log, in the same atomic commit.
    pub fn put_log(&mut self, _pool: u32, _pg: u32, _version: u64, _entry: Vec<u8>) {
        unimplemented!()
    }
    /// Removes log entries with versions below `below`.
    pub fn trim_log(&mut self, _pool: u32, _pg: u32, _below: u64) {
        unimplemented!()
    }
    /// Orders the transaction among all others and starts its writes; the objects are unlocked. Transactions become durable in the order
    /// of the moments at which their `submit` resolved. Data goes on its way at once; the reply must wait for the [`Commit`].
    pub async fn submit(self) -> Result<Commit> {
        unimplemented!()
    }
}

/// Resolves once the transaction and all before it are durable.
pub struct Commit {
    _not_send: PhantomData<Rc<()>>,
}

impl Commit {
    pub async fn durable(self) -> Result<()> {
        unimplemented!()
    }
    /// What the changed objects hold on the hot device now.
    pub fn hot_changes(&self) -> &[HotChange] {
        unimplemented!()
    }
}
