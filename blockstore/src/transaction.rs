//! Transactions: staged in order, then *prepared* (partial blocks are read and completed), then *submitted* (one synchronous step that
//! allocates, changes the index, hands the data to the devices and the record to the log).

use crate::allocator::Run;
use crate::checksum::block_checksums;
use crate::commit::Group;
use crate::error::{Error, Result};
use crate::index::{Missing, key};
use crate::limits::*;
use crate::object::{HotChange, ObjectId, ObjectInfo, ObjectKey};
use crate::read::display;
use crate::record::{Extent, ExtentState, ObjectRecord};
use crate::state::{Change, State, blocks_of};
use crate::store::{Inner, Placement};
use crate::wal::{Entry, Side};
use basalt_ring::local::KeyGuard;
use basalt_ring::{BLOCK, Buffer, Slice};
use std::collections::BTreeMap;
use std::rc::Rc;

enum Step {
    Touch,
    Write { offset: u64, data: Slice },
    Append { data: Slice },
    Zero { offset: u64, length: u64 },
    Truncate { size: u64 },
    Remove,
    CloneRange { source: usize, source_offset: u64, offset: u64, length: u64 },
    SetXattr { name: Vec<u8>, value: Vec<u8> },
    RemoveXattr { name: Vec<u8> },
    SetOmap { key: Vec<u8>, value: Vec<u8> },
    RemoveOmap { key: Vec<u8> },
    ClearOmap,
}

/// Changes being gathered, with their objects locked. Reads through it see the state before it. Dropping it changes nothing.
pub struct Transaction {
    inner: Rc<Inner>,
    objects: Vec<ObjectKey>,
    locks: Vec<KeyGuard<ObjectKey>>,
    steps: Vec<(usize, Step)>,
}

impl Transaction {
    pub(crate) async fn begin(inner: Rc<Inner>, objects: &[ObjectKey]) -> Transaction {
        // In one order for all, so that two transactions never wait for each other.
        let mut objects = objects.to_vec();
        objects.sort_unstable();
        objects.dedup();
        let mut locks = Vec::with_capacity(objects.len());
        for object in &objects {
            locks.push(inner.locks.lock(object.clone()).await);
        }
        Transaction { inner, objects, locks, steps: Vec::new() }
    }

    fn index(&self, object: &ObjectKey) -> usize {
        self.objects
            .binary_search(object)
            .unwrap_or_else(|_| panic!("{} is not part of the transaction", display(object)))
    }

    fn push(&mut self, object: &ObjectKey, step: Step) {
        let index = self.index(object);
        self.steps.push((index, step));
    }

    /// Sees the staged state (size after earlier staged steps), and changes of the objects that are not yet durable. A staged creation
    /// has object number 0.
    pub async fn stat(&mut self, object: &ObjectKey) -> Result<Option<ObjectInfo>> {
        let index = self.index(object);
        let record = self.inner.record(object).await?;
        let mut info = record.map(|record| record.info());
        for (_, step) in self.steps.iter().filter(|(at, _)| *at == index) {
            if matches!(step, Step::Remove) {
                info = None;
                continue;
            }
            let info = info.get_or_insert(ObjectInfo { id: ObjectId(0), size: 0, version: 0, mtime_ns: 0 });
            // Sizes beyond all bounds are refused by `prepare`.
            info.size = match step {
                Step::Write { offset, data } if !data.is_empty() => {
                    info.size.max(offset.saturating_add(data.len() as u64))
                }
                Step::Append { data } => info.size.saturating_add(data.len() as u64),
                Step::Zero { offset, length } if *length > 0 => info.size.max(offset.saturating_add(*length)),
                Step::CloneRange { offset, length, .. } if *length > 0 => info.size.max(offset.saturating_add(*length)),
                Step::Truncate { size } => *size,
                _ => info.size,
            };
        }
        Ok(info)
    }

    /// The value before this transaction.
    pub async fn get_xattr(&mut self, object: &ObjectKey, name: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(record) = self.inner.record(object).await? else { return Ok(None) };
        let key = key::xattr(record.id, name);
        self.inner.index(|state| state.tree.get(&key)).await
    }

    pub fn touch(&mut self, object: &ObjectKey) {
        self.push(object, Step::Touch);
    }

    /// The slice is written from where it lies if `offset` is a multiple of 4096 and the slice begins on such an address; else copied.
    pub fn write(&mut self, object: &ObjectKey, offset: u64, data: Slice) {
        self.push(object, Step::Write { offset, data });
    }

    /// Writes at the object's end as it is by then.
    pub fn append(&mut self, object: &ObjectKey, data: Slice) {
        self.push(object, Step::Append { data });
    }

    /// Extends the object if it is shorter.
    pub fn zero(&mut self, object: &ObjectKey, offset: u64, length: u64) {
        self.push(object, Step::Zero { offset, length });
    }

    pub fn truncate(&mut self, object: &ObjectKey, size: u64) {
        self.push(object, Step::Truncate { size });
    }

    /// `NotFound` at [`Transaction::prepare`] if there is no such object by then.
    pub fn remove(&mut self, object: &ObjectKey) {
        self.push(object, Step::Remove);
    }

    /// Bytes beyond the source's end are zeros. `NotFound` at [`Transaction::prepare`] if there is no source.
    pub fn clone_range(
        &mut self,
        source: &ObjectKey,
        source_offset: u64,
        object: &ObjectKey,
        offset: u64,
        length: u64,
    ) {
        let source = self.index(source);
        self.push(object, Step::CloneRange { source, source_offset, offset, length });
    }

    pub fn set_xattr(&mut self, object: &ObjectKey, name: &[u8], value: &[u8]) {
        self.push(object, Step::SetXattr { name: name.to_vec(), value: value.to_vec() });
    }

    /// `NoXattr` at [`Transaction::prepare`] if it is missing.
    pub fn remove_xattr(&mut self, object: &ObjectKey, name: &[u8]) {
        self.push(object, Step::RemoveXattr { name: name.to_vec() });
    }

    pub fn set_omap(&mut self, object: &ObjectKey, key: &[u8], value: &[u8]) {
        self.push(object, Step::SetOmap { key: key.to_vec(), value: value.to_vec() });
    }

    pub fn remove_omap(&mut self, object: &ObjectKey, key: &[u8]) {
        self.push(object, Step::RemoveOmap { key: key.to_vec() });
    }

    pub fn clear_omap(&mut self, object: &ObjectKey) {
        self.push(object, Step::ClearOmap);
    }

    /// Reads what partial blocks need and checks every limit. Nothing is changed yet.
    pub async fn prepare(self, placement: Placement) -> Result<Prepared> {
        let Transaction { inner, objects, locks, steps } = self;
        let mut staged = Vec::with_capacity(objects.len());
        for object in objects {
            if object.name.is_empty() || object.name.len() > NAME_BYTES_MAX {
                return Err(Error::Invalid(format!(
                    "an object's name has 1 to {NAME_BYTES_MAX} bytes; this one has {}",
                    object.name.len()
                )));
            }
            staged.push(Staged::new(inner.record(&object).await?, object));
        }
        for (index, step) in steps {
            stage(&inner, &mut staged, index, step).await?;
        }
        staged.retain(|object| object.changed);
        for object in &mut staged {
            object.checksum();
        }
        Ok(Prepared { inner, placement, staged, version: None, log: Vec::new(), trims: Vec::new(), _locks: locks })
    }
}

/// Some blocks of an object as the transaction leaves them.
enum Content {
    Data { blocks: Slice, checksums: Vec<u32> },
    Hole,
}

/// An object as the transaction leaves it.
struct Staged {
    object: ObjectKey,
    /// What the index has.
    record: Option<ObjectRecord>,
    exists: bool,
    size: u64,
    /// The object was removed on the way: nothing of its old content counts any more.
    fresh: bool,
    changed: bool,
    /// By first block: length in blocks and content. Never overlapping.
    pieces: BTreeMap<u32, (u32, Content)>,
    xattrs: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    omap_cleared: bool,
    /// What clearing takes in the log.
    cleared_bytes: usize,
    omap: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Staged {
    fn new(record: Option<ObjectRecord>, object: ObjectKey) -> Staged {
        Staged {
            object,
            exists: record.is_some(),
            size: record.map_or(0, |record| record.size),
            record,
            fresh: false,
            changed: false,
            pieces: BTreeMap::new(),
            xattrs: BTreeMap::new(),
            omap_cleared: false,
            cleared_bytes: 0,
            omap: BTreeMap::new(),
        }
    }

    fn insert(&mut self, block: u32, blocks: u32, content: Content) {
        if blocks == 0 {
            return;
        }
        let end = block + blocks;
        let first = self.pieces.range(..block).next_back().map_or(block, |(at, _)| *at);
        let overlapped: Vec<u32> = self.pieces.range(first..end).map(|(at, _)| *at).collect();
        for at in overlapped {
            let Some((length, old)) = self.pieces.remove(&at) else { continue };
            let old_end = at + length;
            if old_end <= block {
                self.pieces.insert(at, (length, old));
                continue;
            }
            if at < block {
                self.pieces.insert(at, (block - at, cut(&old, 0, block - at)));
            }
            if old_end > end {
                self.pieces.insert(end, (old_end - end, cut(&old, end - at, length)));
            }
        }
        self.pieces.insert(block, (blocks, content));
    }

    /// A block's staged content: `None` if the transaction has not touched it.
    fn staged_block(&self, block: u32) -> Option<Option<Slice>> {
        let (at, (length, content)) = self.pieces.range(..=block).next_back()?;
        if at + length <= block {
            return None;
        }
        Some(match content {
            Content::Hole => None,
            Content::Data { blocks, .. } => {
                let from = (block - at) as usize * BLOCK;
                Some(blocks.slice(from..from + BLOCK))
            }
        })
    }

    fn checksum(&mut self) {
        for (_, content) in self.pieces.values_mut() {
            if let Content::Data { blocks, checksums } = content {
                *checksums = block_checksums(blocks).collect();
            }
        }
    }

    fn data_blocks(&self) -> u64 {
        let data = |(length, content): &(u32, Content)| match content {
            Content::Data { .. } => u64::from(*length),
            Content::Hole => 0,
        };
        self.pieces.values().map(data).sum()
    }

    /// An upper bound for the log.
    fn log_bytes(&self) -> usize {
        let name = self.object.name.len() + 128;
        let data = self.data_blocks() as usize * 8
            + self.pieces.len() * 512
            + self.data_blocks() as usize / EXTENT_BLOCKS_MAX as usize * 128;
        // Splitting what lies at the edges rewrites at most two extents a layer and piece.
        let edges = self.pieces.len() * 4 * (EXTENT_BLOCKS_MAX as usize * 4 + 64);
        let pairs = |map: &BTreeMap<Vec<u8>, Option<Vec<u8>>>| -> usize {
            map.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 32).sum()
        };
        name + data + edges + self.cleared_bytes + pairs(&self.xattrs) + pairs(&self.omap)
    }
}

fn cut(content: &Content, from: u32, to: u32) -> Content {
    match content {
        Content::Hole => Content::Hole,
        Content::Data { blocks, .. } => {
            Content::Data { blocks: blocks.slice(from as usize * BLOCK..to as usize * BLOCK), checksums: Vec::new() }
        }
    }
}

async fn stage(inner: &Rc<Inner>, staged: &mut [Staged], index: usize, step: Step) -> Result<()> {
    if let Step::CloneRange { source, source_offset, offset, length } = step {
        if !staged[source].exists {
            return Err(Error::NotFound);
        }
        check_size(inner, offset, length)?;
        if length > 0 {
            let data = read_staged(inner, &staged[source], source_offset, length).await?;
            write(inner, &mut staged[index], offset, data).await?;
        }
        staged[index].exists = true;
        staged[index].changed = true;
        return Ok(());
    }
    let object = &mut staged[index];
    if let Step::Remove = step {
        if !object.exists {
            return Err(Error::NotFound);
        }
        let (record, key) = (object.record, object.object.clone());
        *object = Staged { exists: false, size: 0, fresh: true, changed: true, ..Staged::new(record, key) };
        return Ok(());
    }
    if let Step::RemoveXattr { name } = &step {
        let present = match object.xattrs.get(name) {
            Some(staged) => staged.is_some(),
            None => match object.record {
                Some(record) if !object.fresh => {
                    let key = key::xattr(record.id, name);
                    inner.index(|state| state.tree.contains(&key)).await?
                }
                _ => false,
            },
        };
        if !present {
            return Err(if object.exists { Error::NoXattr } else { Error::NotFound });
        }
    }
    object.exists = true;
    object.changed = true;
    match step {
        Step::Touch => {}
        Step::Write { offset, data } => write(inner, object, offset, data).await?,
        Step::Append { data } => write(inner, object, object.size, data).await?,
        Step::Zero { offset, length } => zero(inner, object, offset, length).await?,
        Step::Truncate { size } => truncate(inner, object, size).await?,
        Step::SetXattr { name, value } => {
            check_pair("an xattr's name", &name, 1, XATTR_NAME_BYTES_MAX)?;
            check_pair("an xattr's value", &value, 0, XATTR_VALUE_BYTES_MAX)?;
            object.xattrs.insert(name, Some(value));
        }
        Step::RemoveXattr { name } => {
            object.xattrs.insert(name, None);
        }
        Step::SetOmap { key, value } => {
            check_pair("an omap key", &key, 1, OMAP_KEY_BYTES_MAX)?;
            check_pair("an omap value", &value, 0, OMAP_VALUE_BYTES_MAX)?;
            object.omap.insert(key, Some(value));
        }
        Step::RemoveOmap { key } => {
            object.omap.insert(key, None);
        }
        Step::ClearOmap => {
            if let Some(record) = object.record.filter(|_| !object.fresh) {
                let keys =
                    inner.index(|state| crate::remove::entries(state, &key::omap(record.id, &[]), usize::MAX)).await?;
                object.cleared_bytes = keys.iter().map(|key| key.len() + 16).sum();
            }
            object.omap.clear();
            object.omap_cleared = true;
        }
        Step::Remove | Step::CloneRange { .. } => unreachable!("handled above"),
    }
    Ok(())
}

fn check_pair(what: &str, bytes: &[u8], least: usize, most: usize) -> Result<()> {
    if (least..=most).contains(&bytes.len()) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{what} has {least} to {most} bytes; this one has {}", bytes.len())))
}

fn check_size(inner: &Inner, offset: u64, length: u64) -> Result<u64> {
    let most = inner.options.object_size_max.min(OBJECT_SIZE_LIMIT);
    match offset.checked_add(length) {
        Some(end) if end <= most => Ok(end),
        _ => Err(Error::TooLarge(format!(
            "an object of {} bytes is larger than osd_max_object_size, {most}; cut it into smaller objects",
            offset.saturating_add(length)
        ))),
    }
}

/// The bytes of one block as they are before the next step; zeros where there is nothing.
async fn block(inner: &Rc<Inner>, object: &Staged, block: u32) -> Result<Buffer> {
    let mut buffer = inner.ring.buffer(BLOCK);
    match object.staged_block(block) {
        Some(Some(staged)) => buffer.copy_from_slice(&staged),
        Some(None) => buffer.fill(0),
        None => match object.record {
            Some(record) if !object.fresh && block < blocks_of(record.size) => {
                buffer = inner.read_blocks(&object.object, record.id, block, block + 1).await?.0;
            }
            _ => buffer.fill(0),
        },
    }
    Ok(buffer)
}

async fn write(inner: &Rc<Inner>, object: &mut Staged, offset: u64, data: Slice) -> Result<()> {
    if data.is_empty() {
        return Ok(());
    }
    let end = check_size(inner, offset, data.len() as u64)?;
    let first = (offset / BLOCK_BYTES) as u32;
    let head = (offset % BLOCK_BYTES) as usize;
    let tail = (end % BLOCK_BYTES) as usize;
    let whole_from = if head == 0 { first } else { first + 1 };
    let whole_to = (end / BLOCK_BYTES) as u32;
    let old_size = object.size;
    if head != 0 {
        let mut buffer = block(inner, object, first).await?;
        let count = data.len().min(BLOCK - head);
        buffer[head..head + count].copy_from_slice(&data[..count]);
        object.insert(first, 1, Content::Data { blocks: buffer.freeze(), checksums: Vec::new() });
    }
    if whole_from < whole_to {
        let from = (u64::from(whole_from) * BLOCK_BYTES - offset) as usize;
        let middle = data.slice(from..from + (whole_to - whole_from) as usize * BLOCK);
        let blocks = if (middle.as_ptr() as usize).is_multiple_of(BLOCK) {
            middle
        } else {
            let mut copy = inner.ring.buffer(middle.len());
            copy.copy_from_slice(&middle);
            copy.freeze()
        };
        object.insert(whole_from, whole_to - whole_from, Content::Data { blocks, checksums: Vec::new() });
    }
    if tail != 0 && whole_to >= whole_from {
        // What lies behind the write in its last block stays, if there is anything.
        let mut buffer = if old_size > end {
            block(inner, object, whole_to).await?
        } else {
            let mut zeros = inner.ring.buffer(BLOCK);
            zeros.fill(0);
            zeros
        };
        buffer[..tail].copy_from_slice(&data[data.len() - tail..]);
        object.insert(whole_to, 1, Content::Data { blocks: buffer.freeze(), checksums: Vec::new() });
    }
    object.size = object.size.max(end);
    Ok(())
}

/// Zeros the bytes `[from, to)` of one block.
async fn zero_within(inner: &Rc<Inner>, object: &mut Staged, at: u32, from: usize, to: usize) -> Result<()> {
    let mut buffer = block(inner, object, at).await?;
    buffer[from..to].fill(0);
    object.insert(at, 1, Content::Data { blocks: buffer.freeze(), checksums: Vec::new() });
    Ok(())
}

async fn zero(inner: &Rc<Inner>, object: &mut Staged, offset: u64, length: u64) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    let end = check_size(inner, offset, length)?;
    // Beyond the object's end all is zero already.
    let visible_end = end.min(object.size);
    if offset < visible_end {
        let first = (offset / BLOCK_BYTES) as u32;
        let last = (visible_end / BLOCK_BYTES) as u32;
        let (head, tail) = ((offset % BLOCK_BYTES) as usize, (visible_end % BLOCK_BYTES) as usize);
        if first == last {
            zero_within(inner, object, first, head, tail).await?;
        } else {
            if head != 0 {
                zero_within(inner, object, first, head, BLOCK).await?;
            }
            let from = if head == 0 { first } else { first + 1 };
            object.insert(from, last - from, Content::Hole);
            if tail != 0 {
                zero_within(inner, object, last, 0, tail).await?;
            }
        }
    }
    object.size = object.size.max(end);
    Ok(())
}

async fn truncate(inner: &Rc<Inner>, object: &mut Staged, size: u64) -> Result<()> {
    check_size(inner, 0, size)?;
    if size < object.size {
        let tail = (size % BLOCK_BYTES) as usize;
        if tail != 0 {
            zero_within(inner, object, (size / BLOCK_BYTES) as u32, tail, BLOCK).await?;
        }
        let from = blocks_of(size);
        object.insert(from, blocks_of(object.size).saturating_sub(from), Content::Hole);
    }
    object.size = size;
    Ok(())
}

/// Bytes of a staged object, zeros beyond its end.
async fn read_staged(inner: &Rc<Inner>, object: &Staged, offset: u64, length: u64) -> Result<Slice> {
    if offset >= object.size {
        let mut zeros = inner.ring.buffer(length as usize);
        zeros.fill(0);
        return Ok(zeros.freeze());
    }
    // Both fit: the object's size is limited, and so was `length`.
    let from = (offset / BLOCK_BYTES) as u32;
    let to = (offset + length).div_ceil(BLOCK_BYTES) as u32;
    let mut buffer = inner.ring.buffer((to - from) as usize * BLOCK);
    buffer.fill(0);
    for at in from..to.min(blocks_of(object.size)) {
        let bytes = block(inner, object, at).await?;
        let start = (at - from) as usize * BLOCK;
        buffer[start..start + BLOCK].copy_from_slice(&bytes);
    }
    let start = (offset - u64::from(from) * BLOCK_BYTES) as usize;
    Ok(buffer.freeze().slice(start..start + length as usize))
}

/// A transaction that has read all it needs.
pub struct Prepared {
    inner: Rc<Inner>,
    placement: Placement,
    staged: Vec<Staged>,
    version: Option<(u64, u64)>,
    log: Vec<(u32, u32, u64, Vec<u8>)>,
    trims: Vec<(u32, u32, u64)>,
    _locks: Vec<KeyGuard<ObjectKey>>,
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
    pub entry: Entry,
    pub hot_changes: Vec<HotChange>,
    /// Device, block and content of each write.
    pub data: Vec<(Side, u64, Slice)>,
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
        let mut loaded = false;
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
                (!log.has_room(bytes)).then(|| log.progress.wait())
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
                    self.load(missing, !loaded).await?;
                    loaded = true;
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
            let writes = applied.data.into_iter().map(|(side, block, slice)| {
                let device = self.device(side).clone();
                (side, self.ring.spawn(async move { device.write(block * BLOCK_BYTES, slice).await }))
            });
            let group = self.log.borrow_mut().gather(|body| applied.entry.encode(body), writes.collect(), names);
            for name in names {
                self.pending.borrow_mut().insert(name.clone(), group.clone());
            }
            self.look_at_checkpoint();
            return Ok(Commit { group, hot_changes: applied.hot_changes });
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
    /// The version and mtime that every changed object gets. Without it the version counts up and the time is now.
    pub fn set_version(&mut self, version: u64, mtime_ns: u64) {
        self.version = Some((version, mtime_ns));
    }

    /// An entry of a placement group's log, in the same atomic commit.
    pub fn put_log(&mut self, pool: u32, pg: u32, version: u64, entry: Vec<u8>) {
        assert!(entry.len() <= LOG_ENTRY_BYTES_MAX, "a log entry of {} bytes", entry.len());
        self.log.push((pool, pg, version, entry));
    }

    /// Removes log entries with versions below `below`, some at a time.
    pub fn trim_log(&mut self, pool: u32, pg: u32, below: u64) {
        self.trims.push((pool, pg, below));
    }

    /// Orders the transaction among all others and starts its writes; the objects are unlocked. Transactions become durable in the order
    /// of the moments at which their `submit` resolved. Data goes on its way at once; the reply must wait for the [`Commit`].
    pub async fn submit(self) -> Result<Commit> {
        let names: Vec<ObjectKey> = self.staged.iter().map(|object| object.object.clone()).collect();
        let commit = self.inner.transact(self.log_bytes(), &names, |state, now_ns| self.apply(state, now_ns)).await?;
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
            + removed * 2 * REMOVE_BYTES_MAX
    }

    fn apply(&self, state: &mut State, now_ns: u64) -> Result<Applied, Refusal> {
        self.reach(state)?;
        let (side, runs) = self.allocate(state)?;
        let mut runs = runs.into_iter();
        let mut change = Change::new(state, now_ns);
        let mut data = Vec::new();
        for object in &self.staged {
            apply_object(&mut change, object, side, self.version, now_ns, |change, id, block, blocks, checksums| {
                let mut done = 0usize;
                while done < checksums.len() {
                    let run = runs.next().expect("as many blocks were allocated as there are");
                    let count = run.blocks as usize;
                    let part = checksums[done..done + count].to_vec();
                    change.allocated(side, run, part.clone());
                    let state = if side == Side::Hot { ExtentState::HotDirty } else { ExtentState::Base };
                    let extent = Extent { address: run.at, state, checksums: part };
                    change.insert(object.object.pool, id, block + done as u32, &extent);
                    data.push((side, run.at, blocks.slice(done * BLOCK..(done + count) * BLOCK)));
                    done += count;
                }
            });
        }
        assert!(runs.next().is_none(), "blocks were allocated that nothing uses");
        for (pool, pg, version, entry) in &self.log {
            change.put(key::log(*pool, *pg, *version), entry.clone());
        }
        for (pool, pg, below) in &self.trims {
            for key in trimmed(change.state, *pool, *pg, *below).unwrap_or_else(|_| unreachable!("reached before")) {
                change.delete(key);
            }
        }
        let (entry, hot_changes) = change.finish();
        Ok(Applied { entry, hot_changes, data })
    }

    /// Makes sure that everything this transaction touches is in memory.
    fn reach(&self, state: &State) -> Result<(), Missing> {
        for object in &self.staged {
            state.tree.reach(&key::object(&object.object))?;
            // Where a new object's entries will come to lie.
            let ids = [object.record.map(|record| record.id), Some(ObjectId(state.next_object))];
            for id in ids.into_iter().flatten() {
                state.tree.reach(&key::removed(id))?;
                state.tree.reach(&key::hot_summary(object.object.pool, id))?;
                state.tree.reach(&key::content(id))?;
                for (block, (blocks, _)) in &object.pieces {
                    state.reach_extents(id, *block, block + blocks)?;
                    // A long piece becomes several entries.
                    for at in (*block..block + blocks).step_by(EXTENT_BLOCKS_MAX as usize) {
                        state.tree.reach(&key::extent(id, crate::index::Layer::Hot, at))?;
                        state.tree.reach(&key::extent(id, crate::index::Layer::Base, at))?;
                    }
                }
                for name in object.xattrs.keys() {
                    state.tree.reach(&key::xattr(id, name))?;
                }
                for name in object.omap.keys() {
                    state.tree.reach(&key::omap(id, name))?;
                }
                if object.fresh {
                    crate::remove::entries(state, &key::content(id), REMOVE_BYTES_MAX)?;
                } else if object.omap_cleared {
                    crate::remove::entries(state, &key::omap(id, &[]), usize::MAX)?;
                }
            }
        }
        for (pool, pg, version, _) in &self.log {
            state.tree.reach(&key::log(*pool, *pg, *version))?;
        }
        for (pool, pg, below) in &self.trims {
            trimmed(state, *pool, *pg, *below)?;
        }
        Ok(())
    }

    /// Blocks for all data, on one device: hot if that is where it goes and has room, else base.
    fn allocate(&self, state: &mut State) -> Result<(Side, Vec<Run>), Refusal> {
        let contents = || {
            self.staged.iter().flat_map(|object| object.pieces.values()).filter_map(|(blocks, content)| match content {
                Content::Data { .. } => Some(u64::from(*blocks)),
                Content::Hole => None,
            })
        };
        let wanted: u64 = contents().sum();
        let hot = (self.placement == Placement::Hot && state.hot.is_some()).then_some(Side::Hot);
        for side in hot.into_iter().chain([Side::Base]) {
            let allocator = state.allocator(side);
            if allocator.data_free_blocks() < wanted {
                continue;
            }
            let mut runs = Vec::new();
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
                    if side == Side::Base || state.index_side() == Side::Base {
                        return Err(error.into());
                    }
                }
            }
        }
        self.inner.want_checkpoint();
        Err(self.inner.no_space(Side::Base, wanted, state.base.data_free_blocks()).into())
    }
}

/// Log entries that one transaction removes at most.
const TRIM_ENTRIES_MAX: usize = 16;

fn trimmed(state: &State, pool: u32, pg: u32, below: u64) -> Result<Vec<Vec<u8>>, Missing> {
    let mut keys = Vec::new();
    state.tree.scan(&key::log_of(pool, pg), Some(&key::log(pool, pg, below)), |key, _| {
        keys.push(key.to_vec());
        keys.len() < TRIM_ENTRIES_MAX
    })?;
    Ok(keys)
}

/// Does to the index what was staged for one object. `place` puts data where it was allocated.
fn apply_object(
    change: &mut Change,
    object: &Staged,
    side: Side,
    version: Option<(u64, u64)>,
    now_ns: u64,
    mut place: impl FnMut(&mut Change, ObjectId, u32, &Slice, &[u32]),
) {
    let pool = object.object.pool;
    let record_key = key::object(&object.object);
    let mut old = object.record;
    if object.fresh
        && let Some(record) = old.take()
    {
        let usage = change.usage(pool);
        usage.objects -= 1;
        usage.data_bytes -= record.size as i64;
        crate::remove::remove_content(change, pool, record.id);
        if !object.exists {
            change.delete(record_key);
            return;
        }
    }
    if !object.exists {
        return;
    }
    let id = old.map_or_else(|| change.next_object(), |record| record.id);
    let usage = change.usage(pool);
    usage.objects += i64::from(old.is_none());
    usage.data_bytes += object.size as i64 - old.map_or(0, |record| record.size) as i64;
    let (version, mtime_ns) = version.unwrap_or((old.map_or(0, |record| record.version) + 1, now_ns));
    change.put(record_key, ObjectRecord { id, size: object.size, version, mtime_ns }.encode());
    for (block, (blocks, content)) in &object.pieces {
        change.carve(pool, id, crate::index::Layer::Hot, *block, block + blocks);
        match content {
            Content::Hole => change.carve(pool, id, crate::index::Layer::Base, *block, block + blocks),
            Content::Data { blocks: data, checksums } => {
                // Base blocks under a dirty hot extent stay: the flush will write them in place.
                if side == Side::Base {
                    change.carve(pool, id, crate::index::Layer::Base, *block, block + blocks);
                }
                place(change, id, *block, data, checksums);
            }
        }
    }
    for (name, value) in &object.xattrs {
        match value {
            Some(value) => change.put(key::xattr(id, name), value.clone()),
            None => {
                change.delete(key::xattr(id, name));
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
                change.put(key, value.clone());
            }
            None => {
                change.usage(pool).omap_bytes -= before as i64;
                change.delete(key);
            }
        }
    }
}

/// Resolves once the transaction and all before it are durable.
pub struct Commit {
    group: Rc<Group>,
    hot_changes: Vec<HotChange>,
}

impl Commit {
    pub async fn durable(self) -> Result<()> {
        self.group.durable().await
    }

    /// What the changed objects hold on the hot device now.
    pub fn hot_changes(&self) -> &[HotChange] {
        &self.hot_changes
    }
}
