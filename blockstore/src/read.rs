//! Reading: plan synchronously from the index, read all pieces at once into one buffer, verify every block.
//!
//! Nothing is locked while the devices work, so an extent may move or be overwritten under a read. That shows as a wrong checksum, and
//! then the plan is made anew; only a block that is still where the index says, and still wrong, is damaged.

use crate::allocator::Run;
use crate::checksum::block_checksums;
use crate::data_cache::Moment;
use crate::error::{Error, Result};
use crate::index::{Layer, Missing, key};
use crate::inner::Inner;
use crate::limits::{BLOCK_BYTES, DATA_CACHE_RUN_BLOCKS_MAX, INLINE_BYTES_MAX, READ_RETRIES_MAX};
use crate::object::{ObjectId, ObjectKey};
use crate::record::{Checksums, ExtentState, ObjectRecord};
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::{State, blocks_of};
use crate::store::ReadData;
use crate::wal::Side;
use basalt_ring::local::join_all;
use basalt_ring::{BLOCK, Buffer, Slice};
use smallvec::SmallVec;
use std::rc::Rc;

/// Where some blocks of an object are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// First block, within the object.
    pub block: u32,
    pub blocks: u32,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Hole,
    /// A small object's bytes, from the index; zeros behind them.
    Inline(Vec<u8>),
    Device {
        side: Side,
        address: u64,
        checksums: Checksums,
    },
}

/// Which copies a read takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copies {
    Any,
    /// Clean hot copies are passed over: one of them is damaged, and base has the same bytes.
    NoClean,
}

/// Whether a read may be answered from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    Cache,
    Devices,
}

/// Mostly one piece.
pub(crate) type Plan = SmallVec<[Piece; 1]>;

/// The pieces that make up `[from, to)`, in order, without gaps: hot before base, base before nothing.
pub(crate) fn plan(
    state: &State,
    record: &ObjectRecord,
    (from, to): (u32, u32),
    copies: Copies,
) -> Result<Plan, Missing> {
    let object = record.id;
    let mut pieces = Plan::new();
    let mut at = from;
    if record.size <= INLINE_BYTES_MAX
        && from == 0
        && to > 0
        && let Some(bytes) = state.tree.get(&key::inline(object))?
    {
        pieces.push(Piece { block: 0, blocks: 1, source: Source::Inline(bytes) });
        at = 1;
    }
    if state.hot.is_some() {
        for (block, extent) in state.extents(object, Layer::Hot, at, to)? {
            if copies == Copies::NoClean && extent.state == ExtentState::HotClean {
                continue;
            }
            let (start, end) = (block.max(at), (block + extent.blocks()).min(to));
            plan_base(state, object, at, start, &mut pieces)?;
            push_extent(&mut pieces, Side::Hot, block, &extent, start, end);
            at = end;
        }
    }
    plan_base(state, object, at, to, &mut pieces)?;
    Ok(pieces)
}

fn plan_base(state: &State, object: ObjectId, from: u32, to: u32, pieces: &mut Plan) -> Result<(), Missing> {
    if from >= to {
        return Ok(());
    }
    let mut at = from;
    for (block, extent) in state.extents(object, Layer::Base, from, to)? {
        let (start, end) = (block.max(from), (block + extent.blocks()).min(to));
        push_hole(pieces, at, start);
        push_extent(pieces, Side::Base, block, &extent, start, end);
        at = end;
    }
    push_hole(pieces, at, to);
    Ok(())
}

fn push_hole(pieces: &mut Plan, from: u32, to: u32) {
    if from < to {
        pieces.push(Piece { block: from, blocks: to - from, source: Source::Hole });
    }
}

fn push_extent(pieces: &mut Plan, side: Side, block: u32, extent: &crate::record::Extent, start: u32, end: u32) {
    let part = extent.part(start - block, end - block);
    // Neighbours on the device are one read.
    if let Some(Piece { block: last, blocks, source: Source::Device { side: last_side, address, checksums } }) =
        pieces.last_mut()
        && *last_side == side
        && *last + *blocks == start
        && *address + u64::from(*blocks) == part.address
    {
        *blocks += part.blocks();
        checksums.extend(part.checksums);
        return;
    }
    let source = Source::Device { side, address: part.address, checksums: part.checksums };
    pieces.push(Piece { block: start, blocks: end - start, source });
}

impl Inner {
    /// The object's record as of now, not necessarily durable: for writers.
    pub(crate) async fn record(&self, object: &ObjectKey) -> Result<Option<ObjectRecord>> {
        self.index(|state| record_in(state, object)).await
    }

    /// Looks something up for a reader of `object`, then waits until what it saw is durable: a reader never sees what a crash could undo,
    /// and finds data of writes in flight only once it is there.
    pub(crate) async fn index_durable<T>(
        &self,
        object: &ObjectKey,
        mut f: impl FnMut(&State) -> Result<T, Missing>,
    ) -> Result<T> {
        let seen = self.index(|state| {
            let value = f(state)?;
            Ok((value, self.pending.borrow().get(object).cloned()))
        });
        let (value, group) = seen.await?;
        if let Some(group) = group.filter(|_| !sabotaged(Sabotage::ReadBeforeDurable)) {
            group.durable().await?;
        }
        Ok(value)
    }

    /// One whole block of an object, verified.
    pub(crate) async fn read_block(
        self: &Rc<Self>,
        object: &ObjectKey,
        record: &ObjectRecord,
        block: u32,
    ) -> Result<Buffer> {
        let plan = |state: &State, copies| Ok(Some((*record, plan(state, record, (block, block + 1), copies)?)));
        let (_, data, _) = self.read_verified(object, Through::Cache, plan).await?.ok_or(Error::NotFound)?;
        Ok(data.try_unique().unwrap_or_else(|shared| {
            let mut copy = self.ring.buffer(shared.len());
            copy.put(0, &shared);
            copy
        }))
    }

    /// Reads what `plan` says, and plans anew as long as it changes under the read; `None` if there is nothing to read any more. A damaged
    /// clean copy on hot is passed over, and dropped.
    pub(crate) async fn read_verified(
        self: &Rc<Self>,
        object: &ObjectKey,
        through: Through,
        mut plan: impl FnMut(&State, Copies) -> Result<Option<(ObjectRecord, Plan)>, Missing>,
    ) -> Result<Option<(ObjectRecord, Slice, [u64; 2])>> {
        let mut copies = Copies::Any;
        let mut failed: Option<(Plan, Error)> = None;
        for _ in 0..READ_RETRIES_MAX {
            let planned =
                self.index_durable(object, |state| Ok((plan(state, copies)?, self.data_cache.borrow().now())));
            let (Some((record, pieces)), planned) = planned.await? else { return Ok(None) };
            if let Some((same, error)) = failed.take().filter(|(before, _)| *before == pieces) {
                if matches!(error, Error::Checksum { .. }) {
                    self.count_checksum_error(&error);
                }
                // What base has instead, if it was a clean copy that is damaged.
                let around = self.index_durable(object, |state| plan(state, Copies::NoClean)).await?;
                match around {
                    Some((record, other)) if copies == Copies::Any && other != same => {
                        copies = Copies::NoClean;
                        self.drop_clean(object, record.id);
                        continue;
                    }
                    _ => return Err(error),
                }
            }
            let read = match through {
                Through::Cache => self.read_kept(&pieces, planned, object).await,
                Through::Devices => self.read_from_devices(&pieces, object).await,
            };
            match read {
                Ok(data) => {
                    let bytes = |wanted: Side| {
                        let on = |piece: &&Piece| matches!(piece.source, Source::Device { side, .. } if side == wanted);
                        pieces.iter().filter(on).map(|piece| u64::from(piece.blocks) * BLOCK_BYTES).sum()
                    };
                    return Ok(Some((record, data, [bytes(Side::Base), bytes(Side::Hot)])));
                }
                Err(error) => failed = Some((pieces, error)),
            }
        }
        Err(Error::Busy(format!("object {} changed too often while it was read; read it again", display(object))))
    }

    /// Drops an object's clean copies in the background: one of them is damaged.
    fn drop_clean(self: &Rc<Self>, object: &ObjectKey, id: ObjectId) {
        let (inner, pool, name) = (self.clone(), object.pool, display(object));
        self.ring.spawn(async move {
            let dropped = crate::evict::evict(&inner, pool, &[(id, crate::evict::all())], |_, _| true).await;
            inner.report_hot([(pool, id)]);
            if let Err(error) = dropped {
                tracing::warn!(object = %name, %error, "a damaged clean copy stays on hot");
            }
        });
    }

    /// The pieces' bytes, from the data cache where it has them, and kept there. One piece comes and stays without a copy.
    async fn read_kept(&self, pieces: &[Piece], planned: Moment, object: &ObjectKey) -> Result<Slice> {
        let blocks: u32 = pieces.iter().map(|piece| piece.blocks).sum();
        if let [Piece { source: Source::Device { side, address, .. }, .. }] = pieces
            && self.data_cache.borrow().takes(blocks)
        {
            let run = Run { at: *address, blocks };
            let kept = self.data_cache.borrow_mut().get(*side, run, planned);
            if let Some(data) = kept {
                return Ok(data);
            }
            let fill = self.data_cache.borrow_mut().begin_fill(*side, run);
            let data = self.read_pieces(self.ring.buffer(blocks as usize * BLOCK), pieces, object).await?.freeze();
            self.data_cache.borrow_mut().finish_fill(fill, data.clone());
            return Ok(data);
        }
        let planned = (blocks <= DATA_CACHE_RUN_BLOCKS_MAX && pieces.len() > 1).then_some(planned);
        let buffer = self.ring.buffer(blocks as usize * BLOCK);
        Ok(self.read_windows(buffer, pieces, planned, object).await?.freeze())
    }

    async fn read_from_devices(&self, pieces: &[Piece], object: &ObjectKey) -> Result<Slice> {
        let blocks: u32 = pieces.iter().map(|piece| piece.blocks).sum();
        let buffer = self.ring.buffer(blocks as usize * BLOCK);
        Ok(self.read_pieces(buffer, pieces, object).await?.freeze())
    }

    /// From the devices, whatever the data cache has.
    pub(crate) async fn read_pieces(&self, buffer: Buffer, pieces: &[Piece], object: &ObjectKey) -> Result<Buffer> {
        self.read_windows(buffer, pieces, None, object).await
    }

    /// Each piece into its window of the buffer. With a moment, each may come from the data cache, and a copy of it is kept there.
    async fn read_windows(
        &self,
        mut buffer: Buffer,
        pieces: &[Piece],
        planned: Option<Moment>,
        object: &ObjectKey,
    ) -> Result<Buffer> {
        if let [piece] = pieces {
            return self.read_piece(buffer, piece, object).await;
        }
        let mut reads = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let rest = buffer.split_off(piece.blocks as usize * BLOCK);
            let window = std::mem::replace(&mut buffer, rest);
            reads.push(self.read_window(window, piece, planned, object));
        }
        let mut whole: Option<Buffer> = None;
        let mut failure = None;
        for outcome in join_all(reads).await {
            match (outcome, &mut whole) {
                (Ok(window), None) => whole = Some(window),
                (Ok(window), Some(whole)) => {
                    if whole.unsplit(window).is_err() && failure.is_none() {
                        failure = Some(Error::Busy("windows of one buffer did not join".to_owned()));
                    }
                }
                (Err(error), _) => failure = failure.or(Some(error)),
            }
        }
        match (failure, whole) {
            (None, Some(whole)) => Ok(whole),
            (Some(error), _) => Err(error),
            (None, None) => Ok(buffer),
        }
    }

    async fn read_window(
        &self,
        mut window: Buffer,
        piece: &Piece,
        planned: Option<Moment>,
        object: &ObjectKey,
    ) -> Result<Buffer> {
        let (Some(planned), Source::Device { side, address, .. }) = (planned, &piece.source) else {
            return self.read_piece(window, piece, object).await;
        };
        if !self.data_cache.borrow().takes(piece.blocks) {
            return self.read_piece(window, piece, object).await;
        }
        let run = Run { at: *address, blocks: piece.blocks };
        let kept = self.data_cache.borrow_mut().get(*side, run, planned);
        if let Some(data) = kept {
            window.put(0, &data);
            return Ok(window);
        }
        let fill = self.data_cache.borrow_mut().begin_fill(*side, run);
        let window = self.read_piece(window, piece, object).await?;
        let mut copy = self.ring.buffer(window.len());
        copy.put(0, &window);
        self.data_cache.borrow_mut().finish_fill(fill, copy.freeze());
        Ok(window)
    }

    async fn read_piece(&self, mut window: Buffer, piece: &Piece, object: &ObjectKey) -> Result<Buffer> {
        let (side, address, checksums) = match &piece.source {
            Source::Hole => {
                window.fill(0);
                return Ok(window);
            }
            Source::Inline(bytes) => {
                let (data, rest) = window.split_at_mut(bytes.len().min(BLOCK));
                data.copy_from_slice(bytes.get(..data.len()).unwrap_or_default());
                rest.fill(0);
                return Ok(window);
            }
            Source::Device { side, address, checksums } => (side, *address, checksums),
        };
        let device = self.device(*side);
        let (outcome, window) = device.read(address * BLOCK_BYTES, window).await;
        if let Err(error) = &outcome {
            self.note_read_failure(*side, error);
        }
        let path = || device.path().display().to_string();
        let offset = |index: usize| (u64::from(piece.block) + index as u64) * BLOCK_BYTES;
        outcome.map_err(|error| Error::Unreadable {
            object: display(object),
            offset: offset(0),
            device: path(),
            address: address * BLOCK_BYTES,
            reason: error.to_string(),
        })?;
        for (index, (found, expected)) in block_checksums(&window).zip(checksums).enumerate() {
            if found != *expected && !sabotaged(Sabotage::SkipChecksumOnRead) {
                return Err(Error::Checksum {
                    object: display(object),
                    offset: offset(index),
                    device: path(),
                    address: (address + index as u64) * BLOCK_BYTES,
                    found,
                    expected: *expected,
                });
            }
        }
        Ok(window)
    }

    pub(crate) async fn read_object(self: &Rc<Self>, object: &ObjectKey, offset: u64, length: u64) -> Result<ReadData> {
        let end_in = |record: &ObjectRecord| offset.saturating_add(length).min(record.size);
        let plan = |state: &State, copies| {
            let Some(record) = record_in(state, object)? else { return Ok(None) };
            let end = end_in(&record);
            let blocks = if offset < end { ((offset / BLOCK_BYTES) as u32, blocks_of(end)) } else { (0, 0) };
            Ok(Some((record, plan(state, &record, blocks, copies)?)))
        };
        let read = self.read_verified(object, Through::Cache, plan).await?;
        let (record, data, [base_bytes, hot_bytes]) = read.ok_or(Error::NotFound)?;
        let length = end_in(&record).saturating_sub(offset) as usize;
        let start = if length == 0 { 0 } else { (offset % BLOCK_BYTES) as usize };
        Ok(ReadData { data: data.slice(start..start + length), info: record.info(), base_bytes, hot_bytes })
    }
}

/// The object's record. One that cannot be decoded, although its node's checksum fits, is none.
pub(crate) fn record_in(state: &State, object: &ObjectKey) -> Result<Option<ObjectRecord>, Missing> {
    state.tree.with(&key::object(object), ObjectRecord::decode).map(Option::flatten)
}

/// An object's name for messages.
pub(crate) fn display(object: &ObjectKey) -> String {
    format!("{}.{:x}/{}", object.pool, object.pg, object.name.escape_ascii())
}
