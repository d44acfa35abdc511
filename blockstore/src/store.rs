//! The store as its callers see it.

use crate::commit::{self, CommitFigures};
use crate::error::{Error, Result};
use crate::index::{Key, Missing, key};
use crate::inner::Inner;
use crate::limits::{self, BLOCK_BYTES};
use crate::object::{HotChange, ObjectId, ObjectInfo, ObjectKey, PoolUsage};
use crate::read::record_in;
use crate::record::HotSummary;
use crate::replay::{self, Maps};
use crate::sabotage::{Sabotage, sabotaged};
use crate::scrub::{self, ScrubCursor, ScrubStep};
use crate::state::State;
use crate::superblock;
use crate::transaction::Transaction;
use crate::vacate::{self, VacateCursor, Vacated};
use crate::wal::Side;
use crate::written::Written;
use crate::{checkpoint, evict, flush, format, promote, remove, rewrite};
use basalt_ring::{Device, Ring, Slice};
use std::collections::BTreeSet;
use std::ops::Range;
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
    /// Bytes of index nodes in memory: what is kept of clean ones, and dirty ones until a checkpoint has written them.
    pub index_cache_bytes: u64,
    /// Bytes of data kept in memory after it was read; 0: none.
    pub data_cache_bytes: u64,
    /// Refuse a store of another OSD or cluster.
    pub expect_osd: Option<u32>,
    pub expect_fsid: Option<[u8; 16]>,
    /// Objects larger than this are refused.
    pub object_size_max: u64,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            index_cache_bytes: 256 << 20,
            data_cache_bytes: 0,
            expect_osd: None,
            expect_fsid: None,
            object_size_max: 128 << 20,
        }
    }
}

/// Where a write's data goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// To the hot device, dirty; through to base if there is none or it is full.
    Hot,
    /// Straight to base.
    Base,
    /// To the hot device, where it stays: ENOSPC if that is full. To base if there is no hot device.
    Pinned,
}

/// Bytes of one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    pub base_total: u64,
    pub base_used: u64,
    /// Of `base_used`, what movers have for data that is still counted where it comes from.
    pub base_reserved: u64,
    pub hot_total: u64,
    pub hot_used: u64,
    /// What data may still be allocated on hot now (freed space counts only once it may be reused).
    pub hot_free: u64,
    /// Freed, and free to allocate after the next checkpoints.
    pub hot_coming: u64,
    /// Of `hot_total`, what is not set aside for the index.
    pub hot_data_total: u64,
    pub base_free: u64,
    /// Of all index nodes as the last checkpoint left them, less those replaced since.
    pub index_bytes: u64,
    /// Of the log's ring, beside what data and index share.
    pub log_bytes: u64,
    pub checksum_errors: u64,
}

/// What a read found.
#[derive(Clone)]
pub struct ReadData {
    pub data: Slice,
    /// The object as it was read.
    pub info: ObjectInfo,
    /// Bytes that came from base although the store has a hot device: a miss.
    pub base_bytes: u64,
    pub hot_bytes: u64,
}

/// What a rewrite came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Rewritten {
    /// Blocks moved.
    pub blocks: u64,
    /// Pieces on base of what could be moved, before and after.
    pub fragments_before: u64,
    pub fragments_after: u64,
}

/// An open store. Cheap to clone, `!Send`.
#[derive(Clone)]
pub struct Store {
    inner: Rc<Inner>,
}

impl Store {
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub async fn format(ring: &Ring, devices: &Devices, options: FormatOptions) -> Result<()> {
        format::format(ring, devices, options).await
    }

    /// Opens and replays. Time is bounded by the WAL's size.
    pub async fn open(ring: &Ring, devices: Devices, options: OpenOptions) -> Result<Store> {
        let opened = replay::open(ring, &devices, options.index_cache_bytes, Maps::Believed).await?;
        let superblock = &opened.superblock;
        let path = devices.base.path().display();
        if let Some(osd) = options.expect_osd.filter(|osd| *osd != superblock.osd) {
            return Err(Error::Refused(format!("{path} holds the store of osd.{}, not of osd.{osd}", superblock.osd)));
        }
        if options.expect_fsid.is_some_and(|fsid| fsid != superblock.fsid) {
            return Err(Error::Refused(format!("the store on {path} belongs to another cluster (its fsid differs)")));
        }
        if let Err(why) = superblock.features.refuse_writing() {
            return Err(Error::Refused(format!("the store on {path} can be read, but not served: {why}")));
        }
        tracing::info!(osd = superblock.osd, base = %path, opened.replayed, "store opened");
        let is_old = superblock.features != superblock.features.upgraded();
        let next_lsn = opened.next_lsn;
        let inner = Inner::new(ring, devices, options, opened);
        // A process that died without a power cut leaves its writes in the devices' caches. Replay has read them there; what is built on them
        // must not outlive them.
        if !sabotaged(Sabotage::OpenWithoutFlush) {
            inner.flush(Side::Base).await?;
        }
        if inner.devices.hot.is_some() && !sabotaged(Sabotage::OpenWithoutFlush) {
            inner.flush(Side::Hot).await?;
        }
        for device in [Some(&inner.devices.base), inner.devices.hot.as_ref()].into_iter().flatten() {
            superblock::repair(ring, device).await?;
        }
        // A log that is full to its last block has no place for a seal: a checkpoint makes one, and covers what was replayed. And what an
        // older version would misread must not be written before the superblock says so.
        if is_old || next_lsn - inner.superblock.borrow().replay_lsn >= inner.superblock.borrow().layout.wal_blocks / 2
        {
            checkpoint::checkpoint(&inner, false).await?;
        }
        // What replay refused must never come back: its place in the log is overwritten before anything else happens.
        commit::write_seal(&inner).await?;
        inner.flush(inner.index_side()).await?;
        inner.log.borrow_mut().mounted();
        inner.settle_index_room();
        let tasks = vec![
            ring.spawn(commit::run(inner.clone())),
            ring.spawn(checkpoint::run(inner.clone())),
            ring.spawn(remove::run(inner.clone())),
        ];
        *inner.tasks.borrow_mut() = tasks;
        inner.look_at_checkpoint();
        Ok(Store { inner })
    }

    /// Checkpoints and stops. Transactions in flight end first; later ones fail.
    pub async fn close(self) -> Result<()> {
        let outcome = match self.inner.barrier().await {
            Ok(()) => {
                self.inner.log.borrow_mut().close();
                checkpoint::checkpoint(&self.inner, true).await
            }
            Err(error) => Err(error),
        };
        self.inner.log.borrow_mut().close();
        self.inner.removed.notify_all();
        self.inner.want_checkpoint();
        let tasks = std::mem::take(&mut *self.inner.tasks.borrow_mut());
        for task in tasks {
            task.await;
        }
        outcome
    }

    /// Locks the objects, first come first served each, so that guards can be evaluated and changes staged. Name every object that the
    /// transaction reads or changes.
    pub async fn begin(&self, objects: &[ObjectKey]) -> Transaction {
        Transaction::begin(self.inner.clone(), objects).await
    }

    fn check_fence(&self) -> Result<()> {
        self.inner.fence_error().map_or(Ok(()), Err)
    }

    /// Like all reads, sees only durable state: waits for a change of the object that is in flight.
    pub async fn stat(&self, object: &ObjectKey) -> Result<Option<ObjectInfo>> {
        self.check_fence()?;
        let record = self.inner.index_durable(object, |state| record_in(state, object)).await?;
        Ok(record.map(|record| record.info()))
    }

    /// Bytes `[offset, offset+length)` cut at the object's end, holes as zeros. `NotFound` if there is no such object.
    pub async fn read(&self, object: &ObjectKey, offset: u64, length: u64) -> Result<ReadData> {
        self.check_fence()?;
        self.inner.read_object(object, offset, length).await
    }

    /// A digest of the object's bytes that depends on nothing but them and its size, to be compared with another store's. It is made of
    /// the checksums that the index keeps; with `verify`, all data is read from the devices as well, and what does not fit its
    /// checksum is an error. `None` if there is no such object; `Busy` if it was written to meanwhile.
    pub async fn content_digest(&self, object: &ObjectKey, verify: bool) -> Result<Option<(ObjectInfo, u32)>> {
        self.check_fence()?;
        self.inner.content_digest(object, verify).await
    }

    /// Looks something up in an object that exists.
    async fn of_object<T>(&self, object: &ObjectKey, f: impl Fn(&State, ObjectId) -> Result<T, Missing>) -> Result<T> {
        self.check_fence()?;
        let found = self.inner.index_durable(object, |state| match record_in(state, object)? {
            Some(record) => f(state, record.id).map(Some),
            None => Ok(None),
        });
        found.await?.ok_or(Error::NotFound)
    }

    pub async fn get_xattr(&self, object: &ObjectKey, name: &[u8]) -> Result<Option<Vec<u8>>> {
        self.of_object(object, |state, id| state.tree.get(&key::xattr(id, name))).await
    }

    pub async fn list_xattrs(&self, object: &ObjectKey) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let listed = self.of_object(object, |state, id| {
            let prefix = key::xattr(id, &[]);
            pairs(state, &prefix, &prefix, &[], usize::MAX)
        });
        Ok(listed.await?.0)
    }

    /// Those of `keys` that exist.
    pub async fn get_omap(&self, object: &ObjectKey, keys: &[Vec<u8>]) -> Result<Pairs> {
        self.of_object(object, |state, id| {
            let mut pairs = Vec::new();
            for name in keys {
                if let Some(value) = state.tree.get(&key::omap(id, name))? {
                    pairs.push((name.clone(), value));
                }
            }
            Ok(pairs)
        })
        .await
    }

    /// Pairs after `after` (exclusive) with keys that start with `prefix`, at most `max`; and whether there are more.
    pub async fn list_omap(
        &self,
        object: &ObjectKey,
        after: &[u8],
        prefix: &[u8],
        max: usize,
    ) -> Result<(Pairs, bool)> {
        self.of_object(object, |state, id| pairs(state, &key::omap(id, &[]), &key::omap(id, after), prefix, max)).await
    }

    /// Names after `after` (exclusive) that start with `prefix`, in byte order; and whether there are more.
    pub async fn list(
        &self,
        pool: u32,
        pg: u32,
        after: &[u8],
        prefix: &[u8],
        max: usize,
    ) -> Result<(Vec<Vec<u8>>, bool)> {
        self.check_fence()?;
        let all = key::objects_of(pool, pg);
        let after = [all.as_slice(), after].concat();
        let (pairs, more) = self.inner.index(|state| pairs(state, &all, &after, prefix, max)).await?;
        self.inner.barrier().await?;
        Ok((pairs.into_iter().map(|(name, _)| name).collect(), more))
    }

    /// Placement groups of which anything is stored, objects or only a log, in order.
    pub async fn list_pgs(&self) -> Result<Vec<(u32, u32)>> {
        self.check_fence()?;
        let mut pgs = BTreeSet::new();
        for (all, of_pg) in [(key::objects(), key::objects_of as fn(u32, u32) -> Key), (key::logs(), key::log_of)] {
            let end = key::prefix_end(&all);
            let mut from = all;
            // From the first key of each group to the first behind it.
            loop {
                let found = self
                    .inner
                    .index(|state| {
                        let mut found = None;
                        state.tree.scan(&from, end.as_deref(), |key, _| {
                            found = key::parse_pg(key);
                            false
                        })?;
                        Ok(found)
                    })
                    .await?;
                let Some((pool, pg)) = found else { break };
                pgs.insert((pool, pg));
                match key::prefix_end(&of_pg(pool, pg)) {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        Ok(pgs.into_iter().collect())
    }

    /// Log entries from version `from` on, in order.
    pub async fn read_log(&self, pool: u32, pg: u32, from: u64, max: usize) -> Result<Vec<(u64, Vec<u8>)>> {
        self.check_fence()?;
        let (first, end) = (key::log(pool, pg, from), key::prefix_end(&key::log_of(pool, pg)));
        self.inner
            .index(|state| {
                let mut entries = Vec::new();
                state.tree.scan(&first, end.as_deref(), |key, value| {
                    if let Some((_, _, version)) = key::parse_log(key) {
                        entries.push((version, value.to_vec()));
                    }
                    entries.len() < max
                })?;
                Ok(entries)
            })
            .await
    }

    // What the tier's policy asks for.

    /// Copies the dirty hot extents of these objects to base, in address order, and marks them clean. Returns the bytes flushed and what
    /// each object holds now. What changed meanwhile stays dirty; an object that another flush is at is left out.
    pub async fn flush(&self, objects: &[ObjectId], pool: u32) -> Result<(u64, Vec<HotChange>)> {
        self.check_fence()?;
        let flushed = flush::flush(&self.inner, pool, objects, false).await;
        self.inner.report_failed(pool, objects.iter().copied(), flushed)
    }

    /// Whether base is a disk, to which each piece costs a seek.
    pub fn is_base_rotational(&self) -> bool {
        self.inner.device(Side::Base).info().rotational
    }

    /// As [`Store::flush`], but where base has room, small pieces go to one place, whatever was there of them before.
    pub async fn flush_gathering(&self, objects: &[ObjectId], pool: u32) -> Result<(u64, Vec<HotChange>)> {
        self.check_fence()?;
        let flushed = flush::flush(&self.inner, pool, objects, true).await;
        self.inner.report_failed(pool, objects.iter().copied(), flushed)
    }

    /// Drops the clean hot extents of these objects.
    pub async fn evict(&self, objects: &[ObjectId], pool: u32) -> Result<(u64, Vec<HotChange>)> {
        let whole: Vec<_> = objects.iter().map(|object| (*object, std::iter::once(0..u64::MAX).collect())).collect();
        self.evict_ranges(&whole, pool).await
    }

    /// As [`Store::evict`], of each object only what lies in its ranges, in bytes; blocks that they touch in part go, too.
    pub async fn evict_ranges(
        &self,
        objects: &[(ObjectId, Vec<Range<u64>>)],
        pool: u32,
    ) -> Result<(u64, Vec<HotChange>)> {
        self.check_fence()?;
        let blocks = |byte: u64| u32::try_from(byte).unwrap_or(u32::MAX);
        let in_blocks = |range: &Range<u64>| blocks(range.start / BLOCK_BYTES)..blocks(range.end.div_ceil(BLOCK_BYTES));
        let objects: Vec<_> =
            objects.iter().map(|(object, ranges)| (*object, ranges.iter().map(in_blocks).collect())).collect();
        let evicted = evict::evict(&self.inner, pool, &objects, |_, _| true).await;
        self.inner.report_failed(pool, objects.iter().map(|(object, _)| *object), evicted)
    }

    /// Whether the index's room on the hot device has grown over data since that was last vacated.
    pub fn wants_vacating(&self) -> bool {
        self.inner.state.borrow().zone_is_mixed
    }

    /// One step of vacating it, over some objects; a pass begins with the default cursor and goes on with the one that it returns.
    pub async fn vacate(&self, cursor: VacateCursor) -> Result<Vacated> {
        self.check_fence()?;
        vacate::vacate(&self.inner, cursor).await
    }

    /// Whether the next transactions may find no room for the index's nodes; not once other things have left the room that it has.
    pub fn is_index_room_short(&self) -> bool {
        let mut state = self.inner.state.borrow_mut();
        self.inner.check_index_room(&mut state, limits::TRANSACTIONS_AHEAD, 0).is_err()
    }

    /// Copies a range of an object from base to hot, clean.
    pub async fn promote(&self, object: &ObjectKey, offset: u64, length: u64) -> Result<(u64, HotChange)> {
        self.check_fence()?;
        promote::promote(&self.inner, object, offset, length).await
    }

    /// Gives an object whose bytes on base are in many pieces fewer and larger ones, as far as there is room for them.
    pub async fn rewrite(&self, object: &ObjectKey) -> Result<Rewritten> {
        self.check_fence()?;
        rewrite::rewrite(&self.inner, object).await
    }

    /// Objects with anything on the hot device, after `(pool, object)` exclusive, in order: for the tier to learn them after a start.
    pub async fn list_hot(&self, after: (u32, ObjectId), max: usize) -> Result<(Vec<HotChange>, bool)> {
        self.check_fence()?;
        let prefix = key::hot_summaries();
        let after = key::hot_summary(after.0, after.1);
        let (pairs, more) = self.inner.index(|state| pairs(state, &prefix, &after, &[], max)).await?;
        let change = |(name, value): (Vec<u8>, Vec<u8>)| {
            let key = [prefix.as_slice(), &name].concat();
            let (pool, object) = key::parse_hot_summary(&key)?;
            Some(HotSummary::decode(&value)?.change(pool, object))
        };
        Ok((pairs.into_iter().filter_map(change).collect(), more))
    }

    /// Up to `max` of the objects whose bytes on the hot device changed, or may have, since they were last told of, with no caller who was told
    /// (removed objects being reaped, damaged copies being dropped, work that failed half-way), and what they hold there at the moment of the
    /// return. When they can't be looked at they are told of by a later call.
    pub async fn take_background_changes(&self, max: usize) -> Result<Vec<HotChange>> {
        let objects: Vec<_> = {
            let mut waiting = self.inner.background_changes.borrow_mut();
            std::iter::from_fn(|| waiting.pop_first()).take(max).collect()
        };
        let changes = self.inner.hot_of(&objects).await;
        if changes.is_err() {
            self.inner.report_hot(objects);
        }
        changes
    }

    pub fn usage(&self) -> Usage {
        let state = self.inner.state.borrow();
        Usage {
            base_total: state.base.total_blocks() * BLOCK_BYTES,
            base_used: state.base.used_blocks() * BLOCK_BYTES,
            base_reserved: state.base.reserved_blocks() * BLOCK_BYTES,
            base_free: state.base.data_free_blocks() * BLOCK_BYTES,
            hot_total: state.hot.as_ref().map_or(0, |hot| hot.total_blocks() * BLOCK_BYTES),
            hot_used: state.hot.as_ref().map_or(0, |hot| hot.used_blocks() * BLOCK_BYTES),
            hot_free: state.hot.as_ref().map_or(0, |hot| hot.data_free_blocks() * BLOCK_BYTES),
            hot_coming: state.hot.as_ref().map_or(0, |hot| hot.data_coming_blocks() * BLOCK_BYTES),
            hot_data_total: state.hot.as_ref().map_or(0, |hot| hot.data_total_blocks() * BLOCK_BYTES),
            index_bytes: state.tree.disk_blocks() * BLOCK_BYTES,
            log_bytes: self.inner.superblock.borrow().layout.wal_blocks * BLOCK_BYTES,
            checksum_errors: self.inner.checksum_errors.get(),
        }
    }

    /// Of all pools: bytes on the hot device that are nowhere else, and will need room on base.
    pub fn hot_dirty_bytes(&self) -> u64 {
        self.inner.state.borrow().usage.values().map(|usage| usage.public().hot_dirty_bytes).sum()
    }

    pub fn pool_usage(&self, pool: u32) -> PoolUsage {
        self.inner.state.borrow().usage.get(&pool).map(|usage| usage.public()).unwrap_or_default()
    }

    /// What was written to the devices since the store was opened.
    pub fn written(&self) -> Written {
        self.inner.written.get()
    }

    /// How long commits took since the store was opened.
    pub fn commits(&self) -> CommitFigures {
        self.inner.commits.get()
    }

    /// Why the store is fenced, if it is.
    pub fn fenced(&self) -> Option<String> {
        self.inner.fenced.borrow().clone()
    }

    pub fn store_id(&self) -> [u8; 16] {
        self.inner.superblock.borrow().store_id
    }

    pub fn osd(&self) -> u32 {
        self.inner.superblock.borrow().osd
    }

    /// Bytes of index nodes in memory that could be dropped.
    pub fn index_cached_bytes(&self) -> usize {
        self.inner.state.borrow().tree.cached_bytes()
    }

    /// One step of a pass that compares everything on the devices with its checksums; see `scrub`. Reads about `bytes_max`.
    pub async fn scrub_step(&self, cursor: ScrubCursor, bytes_max: u64) -> Result<ScrubStep> {
        self.check_fence()?;
        scrub::step(&self.inner, cursor, bytes_max).await
    }

    pub async fn checkpoint(&self) -> Result<()> {
        let outcome = checkpoint::checkpoint(&self.inner, false).await;
        if let Err(error) = &outcome {
            self.inner.fence(error);
        }
        outcome
    }
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Pairs under `prefix` with keys after `after` that start with `prefix` and `within`; the keys come without `prefix`. And whether there are
/// more than `max`.
pub(crate) fn pairs(
    state: &State,
    prefix: &[u8],
    after: &[u8],
    within: &[u8],
    max: usize,
) -> Result<(Pairs, bool), Missing> {
    let low = [prefix, within].concat();
    let end = key::prefix_end(&low);
    let from = if after >= low.as_slice() { after } else { low.as_slice() };
    let mut pairs = Vec::new();
    let mut more = false;
    state.tree.scan(from, end.as_deref(), |key, value| {
        if key == after {
            return true;
        }
        more = pairs.len() == max;
        if !more {
            pairs.push((key[prefix.len()..].to_vec(), value.to_vec()));
        }
        !more
    })?;
    Ok((pairs, more))
}
