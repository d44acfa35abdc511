//! The part of a pass that reads the objects' data, in order of their names, window by window.

use super::cursor::Place;
use super::shape::{Fragmented, Shape};
use super::{ScrubFinding, ScrubKind, ScrubStep, ScrubSubject, repair};
use crate::checksum::block_checksums;
use crate::error::{Error, Result};
use crate::index::{Key, Layer, Missing, key};
use crate::inner::Inner;
use crate::limits::{
    BLOCK_BYTES, MOVE_RUN_BLOCKS_MAX, READ_RETRIES_MAX, SCRUB_STEP_OBJECTS_MAX, SCRUB_WINDOW_BLOCKS_MIN,
};
use crate::object::ObjectKey;
use crate::record::{Checksums, ExtentState, ObjectRecord};
use crate::state::{State, blocks_of};
use crate::wal::Side;
use basalt_ring::BLOCK;
use std::rc::Rc;

/// Some blocks of an object as they lie on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Copy {
    pub side: Side,
    /// First block, within the object.
    pub block: u32,
    pub address: u64,
    pub checksums: Checksums,
}

impl Copy {
    fn end(&self) -> u32 {
        self.block + self.checksums.len() as u32
    }
}

/// A block that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bad {
    pub side: Side,
    pub block: u32,
    pub address: u64,
    pub kind: ScrubKind,
    pub why: String,
}

/// What there is of an object in `[from, to)`: all hot copies, and those base copies that no dirty hot extent hides.
struct Window {
    record: ObjectRecord,
    copies: Vec<Copy>,
    /// Base extents, those below dirty hot ones too, for the object's shape.
    on_base: Vec<(u32, u64, u32)>,
    has_hot: bool,
}

pub(super) async fn objects(
    inner: &Rc<Inner>,
    (mut from, mut block, mut shape): (Key, u32, Shape),
    bytes_max: u64,
    step: &mut ScrubStep,
) -> Result<Option<Place>> {
    let mut seen = 0;
    while step.bytes < bytes_max && seen < SCRUB_STEP_OBJECTS_MAX {
        let found = inner.index(|state| first_object(state, &from)).await;
        let (key, object, record) = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            Err(error @ Error::Corrupt { .. }) => {
                // The leaf with the next records is gone, which its own reading has told. The pass goes on behind it.
                tracing::warn!(%error, "scrub passes over objects that cannot be listed");
                match next_leaf(inner, &from).await? {
                    Some(next) => (from, block, shape) = (next, 0, Shape::default()),
                    None => return Ok(None),
                }
                continue;
            }
            Err(error) => return Err(error),
        };
        if key != from {
            (block, shape) = (0, Shape::default());
        }
        let blocks = blocks_of(record.size);
        let left = (bytes_max.saturating_sub(step.bytes) / BLOCK_BYTES)
            .clamp(SCRUB_WINDOW_BLOCKS_MIN, u64::from(MOVE_RUN_BLOCKS_MAX)) as u32;
        let to = blocks.min(block.saturating_add(left));
        if block < to {
            match window(inner, &object, (block, to), step).await {
                Ok(Some(window)) => {
                    for (at, address, length) in window.on_base {
                        shape.add(at, address, length);
                    }
                    shape.has_hot |= window.has_hot;
                }
                Ok(None) => {}
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%error, "scrub passes over an object whose extents cannot be read");
                    block = blocks;
                }
                Err(error) => return Err(error),
            }
        }
        if to < blocks && block < blocks {
            (from, block) = (key, to);
            continue;
        }
        seen += 1;
        step.objects += 1;
        if shape.is_worth_rewriting() {
            step.fragmented.push(Fragmented { object, fragments: shape.fragments, ideal: shape.ideal });
        }
        from = key;
        from.push(0);
        (block, shape) = (0, Shape::default());
    }
    Ok(Some(Place::Objects { from, block, shape }))
}

fn first_object(state: &State, from: &[u8]) -> Result<Option<(Key, ObjectKey, ObjectRecord)>, Missing> {
    let all = key::objects();
    let low = if from < all.as_slice() { all.as_slice() } else { from };
    let mut found = None;
    state.tree.scan(low, key::prefix_end(&all).as_deref(), |key, value| {
        found = key::parse_object(key)
            .zip(ObjectRecord::decode(value))
            .map(|(object, record)| (Key::from_slice(key), object, record));
        found.is_none()
    })?;
    Ok(found)
}

/// The lowest key of the leaf behind the one that holds `from`, if that may hold object records.
async fn next_leaf(inner: &Rc<Inner>, from: &[u8]) -> Result<Option<Key>> {
    let mut behind = Key::from_slice(from);
    behind.push(0);
    let end = key::prefix_end(&key::objects());
    let mut next = None;
    inner
        .index(|state| {
            next = None;
            state.tree.nodes((&behind, u8::MAX), |low, level, _| {
                if level == 0 && low > from {
                    next = Some(Key::from_slice(low));
                }
                next.is_none()
            })
        })
        .await?;
    Ok(next.filter(|low| end.as_ref().is_none_or(|end| low < end)))
}

/// Reads a window until what was read is what the index says, or is damaged without doubt. `None`: the object is gone, or changed each
/// time; what is new of it was verified when it was written, and comes again in the next pass.
async fn window(
    inner: &Rc<Inner>,
    object: &ObjectKey,
    range: (u32, u32),
    step: &mut ScrubStep,
) -> Result<Option<Window>> {
    let mut failed: Option<(Vec<Copy>, Vec<Bad>)> = None;
    for _ in 0..READ_RETRIES_MAX {
        let Some(window) = inner.index(|state| plan(state, object, range)).await? else { return Ok(None) };
        let mut bad = Vec::new();
        for copy in &window.copies {
            read(inner, copy, &mut bad).await;
            step.bytes += copy.checksums.len() as u64 * BLOCK_BYTES;
        }
        if bad.is_empty() {
            return Ok(Some(window));
        }
        if let Some((copies, before)) = failed.take()
            && copies == window.copies
        {
            // Twice the same: this is damage, not a change.
            bad.retain(|bad| before.iter().any(|other| (other.side, other.block) == (bad.side, bad.block)));
            report(inner, object, &window, bad, step).await?;
            return Ok(Some(window));
        }
        failed = Some((window.copies, bad));
        // What was just written is on its way; and what moved meanwhile is somewhere else in the next plan.
        inner.barrier().await?;
    }
    Ok(None)
}

fn plan(state: &State, object: &ObjectKey, (from, to): (u32, u32)) -> Result<Option<Window>, Missing> {
    let Some(record) = crate::read::record_in(state, object)? else { return Ok(None) };
    let mut window = Window { record, copies: Vec::new(), on_base: Vec::new(), has_hot: false };
    let mut hidden: Vec<(u32, u32)> = Vec::new();
    let mut hot = Vec::new();
    if state.hot.is_some() {
        for (block, extent) in state.extents(record.id, Layer::Hot, from, to)? {
            let (start, end) = (block.max(from), (block + extent.blocks()).min(to));
            let part = extent.part(start - block, end - block);
            if extent.state == ExtentState::HotDirty {
                hidden.push((start, end));
            }
            push(&mut hot, Copy { side: Side::Hot, block: start, address: part.address, checksums: part.checksums });
        }
    }
    window.has_hot = !hot.is_empty();
    for (block, extent) in state.extents(record.id, Layer::Base, from, to)? {
        let (start, end) = (block.max(from), (block + extent.blocks()).min(to));
        window.on_base.push((start, extent.address + u64::from(start - block), end - start));
        let mut at = start;
        let covers = hidden.iter().map(|(from, to)| ((*from).clamp(start, end), (*to).clamp(start, end)));
        for (hidden_from, hidden_to) in covers.chain([(end, end)]) {
            if at < hidden_from {
                let part = extent.part(at - block, hidden_from - block);
                let copy = Copy { side: Side::Base, block: at, address: part.address, checksums: part.checksums };
                push(&mut window.copies, copy);
            }
            at = at.max(hidden_to);
        }
    }
    window.copies.append(&mut hot);
    Ok(Some(window))
}

/// Neighbours on the device are one read.
fn push(copies: &mut Vec<Copy>, copy: Copy) {
    match copies.last_mut() {
        Some(last) if last.end() == copy.block && last.address + last.checksums.len() as u64 == copy.address => {
            last.checksums.extend(copy.checksums);
        }
        _ => copies.push(copy),
    }
}

/// Reads a copy at once, and block by block if that fails: how much a device does not give is to be known.
async fn read(inner: &Rc<Inner>, copy: &Copy, bad: &mut Vec<Bad>) {
    let device = inner.device(copy.side);
    let blocks = copy.checksums.len();
    let (outcome, buffer) = device.read(copy.address * BLOCK_BYTES, inner.ring.buffer(blocks * BLOCK)).await;
    let place = |index: usize| (copy.block + index as u32, copy.address + index as u64);
    if outcome.is_ok() {
        for (index, (found, expected)) in block_checksums(&buffer).zip(&copy.checksums).enumerate() {
            if found != *expected {
                let why = format!("checksum mismatch (found {found:#010x}, expected {expected:#010x})");
                let (block, address) = place(index);
                bad.push(Bad { side: copy.side, block, address, kind: ScrubKind::Checksum, why });
            }
        }
        return;
    }
    drop(buffer);
    for (index, expected) in copy.checksums.iter().enumerate() {
        let (block, address) = place(index);
        let (outcome, buffer) = device.read(address * BLOCK_BYTES, inner.ring.buffer(BLOCK)).await;
        let found = crc32c::crc32c(&buffer);
        let (kind, why) = match outcome {
            Err(error) => (ScrubKind::Unreadable, format!("cannot be read ({error})")),
            Ok(()) if found == *expected => continue,
            Ok(()) => {
                (ScrubKind::Checksum, format!("checksum mismatch (found {found:#010x}, expected {expected:#010x})"))
            }
        };
        bad.push(Bad { side: copy.side, block, address, kind, why });
    }
}

/// Repairs what has a good copy, and tells of all.
async fn report(
    inner: &Rc<Inner>,
    object: &ObjectKey,
    window: &Window,
    bad: Vec<Bad>,
    step: &mut ScrubStep,
) -> Result<()> {
    let has_good = |side: Side, block: u32| {
        let holds = |copy: &Copy| copy.side == side && (copy.block..copy.end()).contains(&block);
        window.copies.iter().any(holds) && !bad.iter().any(|bad| bad.side == side && bad.block == block)
    };
    for found in &bad {
        let repaired = match found.side {
            Side::Hot if has_good(Side::Base, found.block) => {
                repair::drop_hot(inner, object, window.record.id, found).await?
            }
            Side::Base if has_good(Side::Hot, found.block) => {
                repair::dirty_again(inner, object, window.record.id, found).await?
            }
            _ => false,
        };
        step.findings.push(ScrubFinding {
            subject: ScrubSubject::Object { object: object.clone(), offset: u64::from(found.block) * BLOCK_BYTES },
            kind: found.kind,
            side: found.side,
            device: inner.device(found.side).path().display().to_string(),
            address: found.address * BLOCK_BYTES,
            why: found.why.clone(),
            repaired,
        });
    }
    Ok(())
}
