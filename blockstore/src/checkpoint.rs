//! Checkpoints: the index and the allocators of one moment, written beside the ones before, then referred to by a new superblock.
//!
//! The moment itself (*freeze*) is one synchronous step: the gathering group is closed, the tree's dirty nodes are collected and given
//! their blocks, the allocators' changed pages are copied. Everything after it runs beside new transactions. The order is: nodes and
//! pages; then every transaction in them is durable in the log; flush; superblock; and only then what was freed may be used again.

use crate::allocation_page::PageImage;
use crate::commit::Group;
use crate::encoding::Put;
use crate::error::{Error, Result};
use crate::index::{Frozen, NodePointer, key};
use crate::inner::Inner;
use crate::limits::{BLOCK_BYTES, CHECKPOINT_RUN_BLOCKS_MAX, DISCARD_BLOCKS_MIN, HOLE_BLOCKS_MIN, MOVE_OPERATIONS_MAX};
use crate::record::Usage;
use crate::sabotage::{Sabotage, sabotaged};
use crate::superblock::Superblock;
use crate::wal::Side;
use crate::written::Purpose;
use basalt_ring::local::Semaphore;
use basalt_ring::{BLOCK, DeviceKind, Slice, Task};
use std::rc::Rc;

const SUPERBLOCK_COPIES: u64 = 4;

struct Moment {
    tree: Frozen,
    base_pages: Vec<PageImage>,
    hot_pages: Vec<PageImage>,
    next_object: u64,
    index_blocks: u64,
    last_group: Option<Rc<Group>>,
    /// Where replay begins if no group is in flight.
    next_lsn: u64,
    movers: Rc<()>,
    digests: [u64; 2],
    has_hot: bool,
}

/// The checkpointer's task.
pub(crate) async fn run(inner: Rc<Inner>) {
    loop {
        let wanted = inner.checkpoint_wanted.wait();
        if inner.log.borrow().is_stopped() {
            return;
        }
        if !inner.checkpoint_is_wanted.take() {
            wanted.await;
            continue;
        }
        if let Err(error) = checkpoint(&inner, false).await {
            inner.fence(&error);
            return;
        }
        inner.look_at_checkpoint();
    }
}

/// Writes a checkpoint of this moment. `clean`: nothing follows it.
pub(crate) async fn checkpoint(inner: &Rc<Inner>, clean: bool) -> Result<()> {
    let _one_at_a_time = inner.checkpoints.acquire(1).await;
    if let Some(error) = inner.fence_error() {
        return Err(error);
    }
    let moment = freeze(inner).await?;
    let side = inner.index_side();
    let store_id = inner.superblock.borrow().store_id;

    let root = write_nodes(inner, &moment.tree, &store_id).await?;
    let generation = moment.tree.generation;
    let layout = inner.superblock.borrow().layout;
    let mut writes = Writes::new(inner, side, Purpose::AllocationPages);
    for (pages, at) in match side {
        Side::Hot => vec![(&moment.hot_pages, layout.own_pages_at), (&moment.base_pages, layout.base_pages_at)],
        Side::Base => vec![(&moment.base_pages, layout.own_pages_at)],
    } {
        for image in pages {
            let block = at + 2 * image.page + image.slot;
            writes.add(block, &image.encode(&store_id, block, generation)).await?;
        }
    }
    writes.finish().await?;

    let replay_lsn = match &moment.last_group {
        Some(group) => {
            group.durable().await?;
            if sabotaged(Sabotage::ReplayBeginsTooLate) { inner.log.borrow().next_lsn() } else { group.end_lsn.get() }
        }
        None => moment.next_lsn,
    };
    if !sabotaged(Sabotage::SuperblockBeforeItsNodes) {
        inner.flush(side).await?;
    }
    let superblock = {
        let old = inner.superblock.borrow();
        Superblock {
            sequence: old.sequence + 1,
            replay_lsn,
            next_object: moment.next_object,
            index_blocks: moment.index_blocks,
            generation,
            root,
            clean,
            pages_digests: moment.digests,
            ..old.clone()
        }
    };
    if sabotaged(Sabotage::ReuseFreedSpaceBeforeTheSuperblock) {
        let mut state = inner.state.borrow_mut();
        state.base.release();
        if let Some(hot) = &mut state.hot {
            hot.release();
        }
    }
    superblock.write(&inner.ring, inner.device(side)).await?;
    inner.written.add(Purpose::Superblock, SUPERBLOCK_COPIES * BLOCK_BYTES);
    inner.written.checkpointed();
    *inner.superblock.borrow_mut() = superblock;
    inner.log.borrow_mut().release(replay_lsn);

    {
        let mut state = inner.state.borrow_mut();
        state.base.images_written(&moment.base_pages, generation);
        if let Some(hot) = &mut state.hot {
            hot.images_written(&moment.hot_pages, generation);
        }
        state.tree.thaw(moment.tree);
    }
    // Movers write to base only, so nothing keeps what was freed on hot, and a disk that is slow to take a flush keeps no index waiting for room.
    if moment.has_hot {
        discard_and_release(inner, Side::Hot).await;
        inner.settle_index_room();
        inner.space_freed.notify_all();
    }
    // Those that began before the freeze may still write to blocks freed by it. They may wait for the log, so it was released first.
    if !sabotaged(Sabotage::ReuseFreedSpaceUnderMovers) {
        inner.movers_gone(moment.movers).await;
    }
    discard_and_release(inner, Side::Base).await;
    inner.space_freed.notify_all();
    Ok(())
}

/// What was freed on a device before the freeze may be used again.
async fn discard_and_release(inner: &Inner, side: Side) {
    let discards = inner.state.borrow_mut().allocator(side).discards();
    let device = inner.device(side);
    let least = if device.info().kind == DeviceKind::File { HOLE_BLOCKS_MIN } else { DISCARD_BLOCKS_MIN };
    for run in discards.into_iter().filter(|run| u64::from(run.blocks) >= least) {
        if let Err(error) = device.discard(run.at * BLOCK_BYTES, u64::from(run.blocks) * BLOCK_BYTES).await {
            tracing::debug!(device = %device.path().display(), %error, "a discard failed; the blocks are free all the same");
        }
    }
    inner.state.borrow_mut().allocator(side).release();
}

async fn freeze(inner: &Rc<Inner>) -> Result<Moment> {
    // The pools' figures are kept in the tree, but only a checkpoint writes them there.
    inner
        .index(|state| {
            for pool in state.usage.keys() {
                state.tree.reach(&key::pool_usage(*pool))?;
            }
            Ok(())
        })
        .await?;
    // No await from here on.
    let mut state = inner.state.borrow_mut();
    let mut log = inner.log.borrow_mut();
    let rows: Vec<(u32, Usage)> = state.usage.iter().map(|(pool, usage)| (*pool, *usage)).collect();
    for (pool, usage) in rows {
        let mut value = Vec::new();
        usage.encode(&mut value);
        let key = key::pool_usage(pool);
        let same = state.tree.with(&key, |old| old == value).ok().flatten().unwrap_or(false);
        if !same && state.tree.put(&key, &value).is_err() {
            return Err(Error::Fenced("a node left memory within one step".to_owned()));
        }
    }
    state.settle();
    let tree = state.tree.freeze();
    // Transactions may have waited for the tree to be clean again.
    log.progress.notify_all();
    // The largest first, while there are long runs.
    let mut by_size: Vec<_> = tree.nodes.iter().collect();
    by_size.sort_by_key(|(_, node)| std::cmp::Reverse(node.blocks()));
    for (child, node) in by_size {
        let Some(run) = state.index_allocator().allocate_node(node.blocks()) else {
            return Err(Error::NoSpace {
                wanted: u64::from(node.blocks()) * BLOCK_BYTES,
                free: state.index_allocator().index_free_blocks() * BLOCK_BYTES,
                device: inner.device(inner.index_side()).path().display().to_string(),
            });
        };
        let pointer = NodePointer { block: run.at, blocks: node.blocks(), crc: 0, generation: tree.generation };
        state.tree.place(child, pointer);
    }
    let base_pages = state.base.freeze();
    let hot_pages = state.hot.as_mut().map(|hot| hot.freeze()).unwrap_or_default();
    let digests = [
        state.base.digest(&base_pages, tree.generation),
        state.hot.as_ref().map_or(0, |hot| hot.digest(&hot_pages, tree.generation)),
    ];
    Ok(Moment {
        base_pages,
        hot_pages,
        digests,
        next_object: state.next_object,
        index_blocks: state.tree.disk_blocks(),
        last_group: log.close_group(),
        next_lsn: log.next_lsn(),
        movers: inner.next_movers(),
        has_hot: state.hot.is_some(),
        tree,
    })
}

/// Writes the nodes, children first, since a parent holds its children's checksums. Returns the pointer to the root.
async fn write_nodes(inner: &Rc<Inner>, frozen: &Frozen, store_id: &[u8; 16]) -> Result<NodePointer> {
    let mut writes = Writes::new(inner, inner.index_side(), Purpose::Nodes);
    for (child, node) in &frozen.nodes {
        let mut pointer = child.pointer.get().expect("frozen nodes have blocks");
        let bytes = node.encode();
        pointer.crc = crate::index::node_checksum(store_id, &pointer, &bytes);
        child.pointer.set(Some(pointer));
        writes.add(pointer.block, &bytes).await?;
    }
    writes.finish().await?;
    Ok(frozen.root.pointer.get().expect("the root was written now or before"))
}

/// Gathers neighbouring blocks into larger writes and keeps a bounded number of them in flight.
struct Writes<'a> {
    inner: &'a Rc<Inner>,
    side: Side,
    purpose: Purpose,
    at: u64,
    bytes: Vec<u8>,
    in_flight: Semaphore,
    tasks: Vec<Task<Result<()>>>,
}

impl<'a> Writes<'a> {
    fn new(inner: &'a Rc<Inner>, side: Side, purpose: Purpose) -> Writes<'a> {
        let in_flight = Semaphore::new(MOVE_OPERATIONS_MAX as u64);
        Writes { inner, side, purpose, at: 0, bytes: Vec::new(), in_flight, tasks: Vec::new() }
    }

    async fn add(&mut self, block: u64, bytes: &[u8]) -> Result<()> {
        let end = self.at + (self.bytes.len() / BLOCK) as u64;
        if !self.bytes.is_empty() && (end != block || self.bytes.len() >= CHECKPOINT_RUN_BLOCKS_MAX as usize * BLOCK) {
            self.send().await;
        }
        if self.bytes.is_empty() {
            self.at = block;
        }
        self.bytes.put(bytes);
        Ok(())
    }

    async fn send(&mut self) {
        let permit = self.in_flight.acquire(1).await;
        let mut buffer = self.inner.ring.buffer(self.bytes.len());
        buffer.copy_from_slice(&self.bytes);
        self.bytes.clear();
        let (inner, side, purpose, block) = (self.inner.clone(), self.side, self.purpose, self.at);
        let data: Slice = buffer.freeze();
        self.tasks.push(self.inner.ring.spawn(async move {
            let _permit = permit;
            inner.write(purpose, side, block, data).await
        }));
    }

    async fn finish(mut self) -> Result<()> {
        if !self.bytes.is_empty() {
            self.send().await;
        }
        for task in self.tasks {
            task.await?;
        }
        Ok(())
    }
}
