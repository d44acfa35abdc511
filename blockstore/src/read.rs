//! Reading: plan synchronously from the index, read all pieces at once into one buffer, verify every block.
//!
//! Nothing is locked while the devices work, so an extent may move or be overwritten under a read. That shows as a wrong checksum, and
//! then the plan is made anew; only a block that is still where the index says, and still wrong, is damaged.

use crate::checksum::block_checksums;
use crate::error::{Error, Result};
use crate::index::{Layer, Missing, key};
use crate::limits::{BLOCK_BYTES, READ_RETRIES_MAX};
use crate::object::{ObjectId, ObjectKey};
use crate::record::ObjectRecord;
use crate::state::{State, blocks_of, nonsense};
use crate::store::{Inner, ReadData};
use crate::wal::Side;
use basalt_ring::local::join_all;
use basalt_ring::{BLOCK, Buffer};
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
    Device { side: Side, address: u64, checksums: Vec<u32> },
}

/// The pieces that make up `[from, to)`, in order, without gaps: hot before base, base before nothing.
pub(crate) fn plan(state: &State, object: ObjectId, from: u32, to: u32) -> Result<Vec<Piece>, Missing> {
    let mut pieces = Vec::new();
    let mut at = from;
    if state.hot.is_some() {
        for (block, extent) in state.extents(object, Layer::Hot, from, to)? {
            let (start, end) = (block.max(from), (block + extent.blocks()).min(to));
            plan_base(state, object, at, start, &mut pieces)?;
            push_extent(&mut pieces, Side::Hot, block, &extent, start, end);
            at = end;
        }
    }
    plan_base(state, object, at, to, &mut pieces)?;
    Ok(pieces)
}

fn plan_base(state: &State, object: ObjectId, from: u32, to: u32, pieces: &mut Vec<Piece>) -> Result<(), Missing> {
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

fn push_hole(pieces: &mut Vec<Piece>, from: u32, to: u32) {
    if from < to {
        pieces.push(Piece { block: from, blocks: to - from, source: Source::Hole });
    }
}

fn push_extent(pieces: &mut Vec<Piece>, side: Side, block: u32, extent: &crate::record::Extent, start: u32, end: u32) {
    let part = extent.part(start - block, end - block);
    // Neighbours on the device are one read.
    if let Some(Piece { block: last, blocks, source: Source::Device { side: last_side, address, checksums } }) = pieces.last_mut()
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
    /// The object's record, as of now (not necessarily durable).
    pub(crate) async fn record(&self, object: &ObjectKey) -> Result<Option<ObjectRecord>> {
        let key = key::object(object);
        let found = self.index(|state| state.tree.with(&key, ObjectRecord::decode)).await?;
        match found {
            None => Ok(None),
            Some(Some(record)) => Ok(Some(record)),
            Some(None) => Err(nonsense("object record", &display(object))),
        }
    }

    /// Whole blocks of an object, verified. The caller has waited for writes in flight.
    pub(crate) async fn read_blocks(&self, object: ObjectId, name: &str, from: u32, to: u32) -> Result<(Buffer, [u64; 2])> {
        let mut pieces = self.index(|state| plan(state, object, from, to)).await?;
        for _ in 0..READ_RETRIES_MAX {
            let buffer = self.ring.buffer((to - from) as usize * BLOCK);
            match self.read_pieces(buffer, &pieces, name).await {
                Ok(buffer) => {
                    let bytes = |wanted: Side| {
                        let on = |piece: &&Piece| matches!(piece.source, Source::Device { side, .. } if side == wanted);
                        pieces.iter().filter(on).map(|piece| u64::from(piece.blocks) * BLOCK_BYTES).sum()
                    };
                    return Ok((buffer, [bytes(Side::Base), bytes(Side::Hot)]));
                }
                Err(error) => {
                    let again = self.index(|state| plan(state, object, from, to)).await?;
                    if again == pieces {
                        if matches!(error, Error::Checksum { .. }) {
                            self.count_checksum_error(&error);
                        }
                        return Err(error);
                    }
                    pieces = again;
                }
            }
        }
        Err(Error::Busy(format!("object {name} changed too often while it was read; read it again")))
    }

    async fn read_pieces(&self, mut buffer: Buffer, pieces: &[Piece], name: &str) -> Result<Buffer> {
        if let [piece] = pieces {
            return self.read_piece(buffer, piece, name).await;
        }
        let mut reads = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let rest = buffer.split_off(piece.blocks as usize * BLOCK);
            let window = std::mem::replace(&mut buffer, rest);
            reads.push(self.read_piece(window, piece, name));
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

    async fn read_piece(&self, mut window: Buffer, piece: &Piece, name: &str) -> Result<Buffer> {
        let Source::Device { side, address, checksums } = &piece.source else {
            window.fill(0);
            return Ok(window);
        };
        let device = self.device(*side);
        let (outcome, window) = device.read(address * BLOCK_BYTES, window).await;
        let path = || device.path().display().to_string();
        let offset = |index: usize| (u64::from(piece.block) + index as u64) * BLOCK_BYTES;
        outcome.map_err(|error| Error::Unreadable {
            object: name.to_owned(),
            offset: offset(0),
            device: path(),
            address: address * BLOCK_BYTES,
            reason: error.to_string(),
        })?;
        for (index, (found, expected)) in block_checksums(&window).zip(checksums).enumerate() {
            if found != *expected {
                return Err(Error::Checksum {
                    object: name.to_owned(),
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
        self.wait_for(object).await?;
        let record = self.record(object).await?.ok_or(Error::NotFound)?;
        let end = offset.saturating_add(length).min(record.size);
        if offset >= end {
            let mut empty = self.ring.buffer(0);
            empty.truncate(0);
            return Ok(ReadData { data: empty.freeze(), base_bytes: 0, hot_bytes: 0 });
        }
        let from = (offset / BLOCK_BYTES) as u32;
        let (buffer, [base_bytes, hot_bytes]) = self.read_blocks(record.id, &display(object), from, blocks_of(end)).await?;
        let start = (offset - u64::from(from) * BLOCK_BYTES) as usize;
        let data = buffer.freeze().slice(start..start + (end - offset) as usize);
        Ok(ReadData { data, base_bytes, hot_bytes })
    }
}

/// An object's name for messages.
pub(crate) fn display(object: &ObjectKey) -> String {
    format!("{}.{:x}/{}", object.pool, object.pg, object.name.escape_ascii())
}
