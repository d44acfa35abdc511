//! Submitting: the one synchronous step in which a transaction becomes part of the index and of the log's next group.

use crate::allocator::{Run, Runs};
use crate::commit::{CommitTimes, DataStage, DataWrite, Group};
use crate::error::{Error, Result};
use crate::index::{Key, Layer, Missing, key};
use crate::inner::{Inner, Loads};
use crate::limits::*;
use crate::object::{HotChange, ObjectId, ObjectKey};
use crate::pieces::StagedPiece;
use crate::record::{Checksums, Extent, ExtentState, ObjectRecord};
use crate::sabotage::{Sabotage, sabotaged};
use crate::staged::{Content, Staged};
use crate::state::{Change, State};
use crate::store::Placement;
use crate::wal::{EntryWriter, Side};
use crate::written::Purpose;
use basalt_ring::local::KeyGuard;
use basalt_ring::{BLOCK, Slice};
use smallvec::SmallVec;
use std::rc::Rc;

type ObjectIds = SmallVec<[ObjectId; 1]>;

/// An entry of a placement group's log, encoded. Those of small writes need no heap.
pub type LogBytes = SmallVec<[u8; 144]>;

/// A transaction that has read all it needs.
pub struct Prepared {
    inner: Rc<Inner>,
    placement: Placement,
    staged: SmallVec<[Staged; 1]>,
    version: Option<(u64, u64)>,
    log: SmallVec<[(u32, u32, u64, LogBytes); 1]>,
    trims: SmallVec<[(u32, u32, u64); 1]>,
    forgotten: Vec<(u32, u32, u64)>,
    _locks: SmallVec<[KeyGuard<ObjectKey>; 1]>,
}

/// Why a transaction was not applied: something must be loaded first, or it cannot be.
pub(crate) enum Refusal {
    Missing(Missing),
    Error(Error),
}

impl From<Missing> for Refusal {
    fn from(missing: Missing) -> Refusal {
        Refusal::Missing(missing)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Error(error)
    }
}

/// A transaction that the index has already; its data and its record are to follow.
pub(crate) struct Applied {
    pub entry: EntryWriter,
    pub hot_changes: Vec<HotChange>,
    /// Device, block and content of each write.
    pub data: SmallVec<[(Side, u64, Slice); 1]>,
}

impl Inner {
    /// Applies a transaction in one step, once the log has room for about `bytes` of it: either nothing has happened, or it is in the group
    /// that gathers. `apply` reaches what it touches before it changes anything; it is called again after what was missing is loaded.
    pub(crate) async fn transact(
        self: &Rc<Self>,
        bytes: usize,
        names: &[ObjectKey],
        mut apply: impl FnMut(&mut State, u64) -> Result<Applied, Refusal>,
    ) -> Result<Commit> {
        let mut loads = Loads::default();
        let mut rounds = 0;
        loop {
            if let Some(error) = self.fence_error() {
                return Err(error);
            }
            let progress = {
                let log = self.log.borrow();
                if bytes > log.body_bytes_max() {
                    return Err(Error::TooLarge(format!(
                        "a transaction with about {bytes} bytes of metadata is larger than this store's log takes, {}; make it smaller",
                        log.body_bytes_max()
                    )));
                }
                if log.is_closing() {
                    return Err(Error::Fenced("the store is closing".to_owned()));
                }
                (!log.has_room(bytes) || self.state.borrow().tree.is_too_dirty()).then(|| log.progress.wait())
            };
            if let Some(progress) = progress {
                self.look_at_checkpoint();
                progress.await;
                continue;
            }
            let applied = {
                let mut state = self.state.borrow_mut();
                match self.check_index_room(&mut state, 1, 0) {
                    Ok(()) => apply(&mut state, self.ring.unix_time().0),
                    // Whoever deletes waits as long as others get on; each checkpoint lets some of them.
                    Err(error) => {
                        rounds = 0;
                        Err(Refusal::Error(error))
                    }
                }
            };
            let applied = match applied {
                Ok(applied) => applied,
                Err(Refusal::Missing(missing)) => {
                    self.load(missing, &mut loads).await?;
                    continue;
                }
                Err(Refusal::Error(Error::NoSpace { .. }))
                    if rounds < SPACE_ROUNDS_MAX && self.state.borrow().will_release() =>
                {
                    rounds += 1;
                    let freed = self.space_freed.wait();
                    self.want_checkpoint();
                    freed.await;
                    continue;
                }
                Err(Refusal::Error(error)) => return Err(error),
            };
            for (side, run) in applied.entry.frees() {
                self.data_cache.borrow_mut().invalidate(*side, *run);
            }
            let held_bytes_max = self.log.borrow().held_bytes_max();
            let writes = applied.data.into_iter().map(|(side, block, slice)| {
                self.written.add(Purpose::Data, slice.len() as u64);
                let run = Run { at: block, blocks: (slice.len() / BLOCK) as u32 };
                self.data_cache.borrow_mut().invalidate(side, run);
                let stage = if slice.len() <= held_bytes_max {
                    DataStage::Held(slice)
                } else {
                    DataStage::Started(self.device(side).start_write(&self.ring, block * BLOCK_BYTES, slice))
                };
                DataWrite { side, run, stage }
            });
            let group = self.log.borrow_mut().gather(|body| applied.entry.encode(body), writes, names);
            self.state.borrow_mut().writer = applied.entry.cleared();
            for name in names {
                self.pending.borrow_mut().insert(name.clone(), group.clone());
            }
            self.look_at_checkpoint();
            return Ok(Commit { group, hot_changes: applied.hot_changes, objects: ObjectIds::new() });
        }
    }

    /// The next checkpoint must find places for all nodes that have changed by then, and for those of some more transactions.
    pub(crate) fn check_index_room(&self, state: &mut State, transactions: u64, more_nodes: u64) -> Result<()> {
        let nodes = state.tree.dirty_nodes() + more_nodes + transactions * TRANSACTION_NODES;
        let allocator = state.index_allocator();
        if allocator.has_nodes(nodes) {
            return Ok(());
        }
        let (wanted, free) = (nodes * (NODE_BYTES / BLOCK) as u64, allocator.index_free_blocks());
        Err(self.no_space(state.index_side(), wanted, free))
    }
}

impl Prepared {
    pub(crate) fn new(
        inner: Rc<Inner>,
        placement: Placement,
        staged: SmallVec<[Staged; 1]>,
        locks: SmallVec<[KeyGuard<ObjectKey>; 1]>,
    ) -> Prepared {
        Prepared {
            inner,
            placement,
            staged,
            version: None,
            log: SmallVec::new(),
            trims: SmallVec::new(),
            forgotten: Vec::new(),
            _locks: locks,
        }
    }

    /// The version and mtime that every changed object gets. Without it the version counts up and the time is now.
    pub fn set_version(&mut self, version: u64, mtime_ns: u64) {
        self.version = Some((version, mtime_ns));
    }

    /// An entry of a placement group's log, in the same atomic commit.
    pub fn put_log(&mut self, pool: u32, pg: u32, version: u64, entry: LogBytes) {
        assert!(entry.len() <= LOG_ENTRY_BYTES_MAX, "a log entry of {} bytes", entry.len());
        self.log.push((pool, pg, version, entry));
    }

    /// Removes log entries with versions below `below`, some at a time.
    pub fn trim_log(&mut self, pool: u32, pg: u32, below: u64) {
        self.trims.push((pool, pg, below));
    }

    /// Removes one entry of a placement group's log, if it is there.
    pub fn forget_log(&mut self, pool: u32, pg: u32, version: u64) {
        self.forgotten.push((pool, pg, version));
    }

    /// Orders the transaction among all others and starts its writes; the objects are unlocked. Transactions become durable in the order
    /// of the moments at which their `submit` resolved. Data goes on its way at once; the reply must wait for the [`Commit`].
    pub async fn submit(self) -> Result<Commit> {
        let names: SmallVec<[ObjectKey; 1]> = self.staged.iter().map(|object| object.object.clone()).collect();
        let mut objects = ObjectIds::new();
        let apply = |state: &mut State, now_ns| self.apply(state, now_ns, &mut objects);
        let mut commit = self.inner.transact(self.log_bytes(), &names, apply).await?;
        commit.objects = objects;
        if self.staged.iter().any(|object| object.fresh) {
            self.inner.removed.notify_all();
        }
        Ok(commit)
    }

    fn log_bytes(&self) -> usize {
        let removed = self.staged.iter().filter(|object| object.fresh).count();
        let log: usize = self.log.iter().map(|(.., entry)| entry.len() + 64).sum();
        self.staged.iter().map(Staged::log_bytes).sum::<usize>()
            + log
            + self.trims.len() * TRIM_ENTRIES_MAX * 32
            + self.forgotten.len() * 32
            + removed * 2 * REMOVE_BYTES_MAX
    }

    fn apply(&self, state: &mut State, now_ns: u64, objects: &mut ObjectIds) -> Result<Applied, Refusal> {
        let trimmed = self.reach(state)?;
        let (side, runs) = self.allocate(state)?;
        let mut runs = runs.into_iter();
        let mut change = Change::new(state, now_ns);
        // What is shared is taken hold of before anything changes: its source may be overwritten or removed in the same step.
        let shared: SmallVec<[_; 1]> = self.staged.iter().map(|object| take_shares(&mut change, object)).collect();
        let mut shared = shared.into_iter();
        let mut data = SmallVec::new();
        objects.clear();
        for object in &self.staged {
            let shared = shared.next().expect("one for each object");
            let id = apply_object(
                &mut change,
                object,
                shared,
                side,
                self.version,
                now_ns,
                |change, id, block, blocks, checksums| {
                    let mut done = 0usize;
                    while done < checksums.len() {
                        let run = runs.next().expect("as many blocks were allocated as there are");
                        let count = run.blocks as usize;
                        let part = &checksums[done..done + count];
                        change.allocated(side, run, part);
                        let state = if side == Side::Hot { ExtentState::HotDirty } else { ExtentState::Base };
                        let extent =
                            Extent { address: run.at, state, shared: false, checksums: Checksums::from_slice(part) };
                        change.insert(object.object.pool, id, block + done as u32, &extent);
                        data.push((side, run.at, blocks.slice(done * BLOCK..(done + count) * BLOCK)));
                        done += count;
                    }
                },
            );
            objects.extend(id);
        }
        assert!(runs.next().is_none(), "blocks were allocated that nothing uses");
        for (pool, pg, version) in &self.forgotten {
            let key = key::log(*pool, *pg, *version);
            change.delete(&key);
        }
        for (pool, pg, version, entry) in &self.log {
            change.put(&key::log(*pool, *pg, *version), entry);
        }
        for key in trimmed {
            change.delete(&key);
        }
        let (entry, hot_changes) = change.finish();
        Ok(Applied { entry, hot_changes, data })
    }

    /// Makes sure that everything this transaction touches is in memory. Returns the log entries that it trims.
    fn reach(&self, state: &State) -> Result<SmallVec<[Key; 1]>, Missing> {
        for object in &self.staged {
            state.tree.reach(&key::object(&object.object))?;
            let known = object.record.map(|record| record.id);
            // Where a new object's entries will come to lie.
            let new = (object.exists && (known.is_none() || object.fresh)).then_some(ObjectId(state.next_object));
            for id in known.into_iter().chain(new) {
                if object.fresh {
                    state.tree.reach(&key::removed(id))?;
                }
                if state.hot.is_some() {
                    state.tree.reach(&key::hot_summary(object.object.pool, id))?;
                }
                if object.inline.is_some() {
                    state.tree.reach(&key::inline(id))?;
                }
                for StagedPiece { block, blocks, content } in object.pieces.iter() {
                    state.reach_extents(id, *block, block + blocks)?;
                    if let Content::Shared { source, block: from } = content {
                        state.reach_share(source.record.id, *from, from + blocks)?;
                    }
                }
                for name in object.xattrs.keys() {
                    state.tree.reach(&key::xattr(id, name))?;
                }
                for name in object.omap.keys() {
                    state.tree.reach(&key::omap(id, name))?;
                }
                if object.fresh {
                    crate::remove::reach_content(state, id)?;
                } else if object.omap_cleared {
                    crate::remove::entries(state, &key::omap(id, &[]), usize::MAX)?;
                }
            }
        }
        for (pool, pg, version) in &self.forgotten {
            state.tree.reach(&key::log(*pool, *pg, *version))?;
        }
        for (pool, pg, version, _) in &self.log {
            state.tree.reach(&key::log(*pool, *pg, *version))?;
        }
        let mut trimmed = SmallVec::new();
        for (pool, pg, below) in &self.trims {
            log_entries_below(state, *pool, *pg, *below, &mut trimmed)?;
        }
        Ok(trimmed)
    }

    /// Blocks for all data, on one device: hot if that is where it goes and has room, else base, unless it is to be hot or nowhere.
    fn allocate(&self, state: &mut State) -> Result<(Side, Runs), Refusal> {
        let contents = || {
            self.staged.iter().flat_map(|object| object.pieces.iter()).filter_map(|piece| match piece.content {
                Content::Data { .. } => Some(u64::from(piece.blocks)),
                Content::Hole | Content::Shared { .. } => None,
            })
        };
        let wanted: u64 = contents().sum();
        let sides: &[Side] = match self.placement {
            Placement::Pinned if state.hot.is_some() => &[Side::Hot],
            Placement::Hot if state.hot.is_some() => &[Side::Hot, Side::Base],
            _ => &[Side::Base],
        };
        let last = sides[sides.len() - 1];
        for &side in sides {
            let allocator = state.allocator(side);
            if allocator.data_free_blocks() < wanted {
                continue;
            }
            let mut runs = Runs::new();
            for blocks in contents() {
                runs.extend(allocator.allocate(blocks, EXTENT_BLOCKS_MAX).expect("there is room for all of it"));
            }
            if !self.staged.iter().any(|object| object.exists) {
                return Ok((side, runs));
            }
            // What grows the index leaves room for what does not: whoever deletes must never be refused.
            let growth = state.tree.dirty_nodes() / 2 + (self.log_bytes() / NODE_BYTES) as u64;
            match self.inner.check_index_room(state, 2, growth) {
                Ok(()) => return Ok((side, runs)),
                Err(error) => {
                    state.allocator(side).give_back(&runs);
                    if side == last || state.index_side() == Side::Base {
                        return Err(error.into());
                    }
                }
            }
        }
        self.inner.want_checkpoint();
        let free = state.allocator(last).data_free_blocks();
        Err(self.inner.no_space(last, wanted, free).into())
    }
}

/// Log entries that one transaction removes at most.
const TRIM_ENTRIES_MAX: usize = 16;

fn log_entries_below(
    state: &State,
    pool: u32,
    pg: u32,
    below: u64,
    keys: &mut SmallVec<[Key; 1]>,
) -> Result<(), Missing> {
    let most = keys.len() + TRIM_ENTRIES_MAX;
    state.tree.scan(&key::log_of(pool, pg), Some(&key::log(pool, pg, below)), |key, _| {
        keys.push(Key::from_slice(key));
        keys.len() < most
    })
}

/// The extents of what an object shares with others, by its own blocks.
fn take_shares(change: &mut Change, object: &Staged) -> Vec<(u32, Extent)> {
    let mut shared = Vec::new();
    for StagedPiece { block: at, blocks, content } in object.pieces.iter() {
        if let Content::Shared { source, block } = content {
            let extents = change.share_range(source.record.id, *block, block + blocks);
            shared.extend(extents.into_iter().map(|(found, extent)| (found - block + at, extent)));
        }
    }
    shared
}

/// Does to the index what was staged for one object. `place` puts data where it was allocated.
fn apply_object(
    change: &mut Change,
    object: &Staged,
    shared: Vec<(u32, Extent)>,
    side: Side,
    version: Option<(u64, u64)>,
    now_ns: u64,
    mut place: impl FnMut(&mut Change, ObjectId, u32, &Slice, &[u32]),
) -> Option<ObjectId> {
    let pool = object.object.pool;
    let record_key = key::object(&object.object);
    let mut old = object.record;
    if object.fresh
        && let Some(record) = old.take()
    {
        let usage = change.usage(pool);
        usage.objects -= 1;
        usage.data_bytes -= if sabotaged(Sabotage::RemoveForgetsTheFigures) { 0 } else { record.size as i64 };
        crate::remove::remove_content(change, pool, record.id);
        if !object.exists {
            change.delete(&record_key);
            return None;
        }
    }
    if !object.exists {
        return None;
    }
    let id = old.map_or_else(|| change.next_object(), |record| record.id);
    let usage = change.usage(pool);
    usage.objects += i64::from(old.is_none());
    usage.data_bytes += object.size as i64 - old.map_or(0, |record| record.size) as i64;
    let (version, mtime_ns) = version.unwrap_or((old.map_or(0, |record| record.version) + 1, now_ns));
    change.put(&record_key, &ObjectRecord { id, size: object.size, version, mtime_ns }.encode());
    for StagedPiece { block, blocks, content } in object.pieces.iter() {
        let end = block + blocks;
        match content {
            Content::Hole | Content::Shared { .. } => {
                change.carve(pool, id, Layer::Hot, *block, end);
                change.carve(pool, id, Layer::Base, *block, end);
            }
            Content::Data { blocks: data, checksums } => {
                // Base blocks under a dirty hot extent stay: the flush will write them in place.
                match side {
                    Side::Hot => change.carve_for(pool, id, Layer::Hot, *block, end),
                    Side::Base => {
                        change.carve(pool, id, Layer::Hot, *block, end);
                        change.carve_for(pool, id, Layer::Base, *block, end);
                    }
                }
                place(change, id, *block, data, checksums);
            }
        }
    }
    for (block, extent) in shared {
        change.insert(pool, id, block, &extent);
    }
    match &object.inline {
        Some(Some(bytes)) => change.put(&key::inline(id), bytes),
        Some(None) if sabotaged(Sabotage::KeepInlineBytesOfALargeObject) => {}
        Some(None) => {
            change.delete(&key::inline(id));
        }
        None => {}
    }
    for (name, value) in &object.xattrs {
        match value {
            Some(value) => change.put(&key::xattr(id, name), value),
            None => {
                change.delete(&key::xattr(id, name));
            }
        }
    }
    if object.omap_cleared && old.is_some() {
        crate::remove::clear_omap(change, pool, id);
    }
    for (name, value) in &object.omap {
        let key = key::omap(id, name);
        let before = change.state.tree.with(&key, |value| name.len() + value.len()).ok().flatten().unwrap_or(0);
        match value {
            Some(value) => {
                change.usage(pool).omap_bytes += (name.len() + value.len()) as i64 - before as i64;
                change.put(&key, value);
            }
            None => {
                change.usage(pool).omap_bytes -= before as i64;
                change.delete(&key);
            }
        }
    }
    Some(id)
}

/// Resolves once the transaction and all before it are durable.
pub struct Commit {
    group: Rc<Group>,
    hot_changes: Vec<HotChange>,
    objects: ObjectIds,
}

impl Commit {
    pub async fn durable(self) -> Result<()> {
        self.group.durable().await
    }

    /// As [`Commit::durable`], and says when it got how far.
    pub async fn durable_times(self) -> Result<CommitTimes> {
        self.group.durable().await?;
        Ok(self.group.times())
    }

    /// What the changed objects hold on the hot device now.
    pub fn hot_changes(&self) -> &[HotChange] {
        &self.hot_changes
    }

    /// The objects that it changed and that exist now.
    pub fn objects(&self) -> &[ObjectId] {
        &self.objects
    }
}
