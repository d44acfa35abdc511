//! An object as a transaction leaves it: steps applied one after the other to whole blocks, whose missing parts are read.

use crate::checksum::block_checksums;
use crate::error::{Error, Result};
use crate::index::key;
use crate::inner::Inner;
use crate::limits::*;
use crate::object::ObjectKey;
use crate::pieces::{Pieces, StagedPiece};
use crate::record::{Checksums, ObjectRecord};
use crate::sabotage::{Sabotage, sabotaged};
use crate::state::blocks_of;
use basalt_ring::{BLOCK, Buffer, Slice};
use std::collections::BTreeMap;
use std::rc::Rc;

/// One step of a transaction, as it was asked for.
pub(crate) enum Step {
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

/// Some blocks of an object as the transaction leaves them.
pub(crate) enum Content {
    Data {
        blocks: Slice,
        checksums: Checksums,
    },
    Hole,
    /// What another object, or this one, had from `block` on before the transaction.
    Shared {
        source: Rc<Source>,
        block: u32,
    },
}

/// An object as it is before the transaction.
pub(crate) struct Source {
    pub object: ObjectKey,
    pub record: ObjectRecord,
}

/// An object as the transaction leaves it.
pub(crate) struct Staged {
    pub object: ObjectKey,
    /// What the index has.
    pub record: Option<ObjectRecord>,
    pub exists: bool,
    pub size: u64,
    /// The object was removed on the way: nothing of its old content counts any more.
    pub fresh: bool,
    pub changed: bool,
    pub pieces: Pieces,
    pub xattrs: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    pub omap_cleared: bool,
    /// What clearing takes in the log.
    pub cleared_bytes: usize,
    pub omap: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// All bytes of a small object, or that it has none any more. `None`: as it was.
    pub inline: Option<Option<Vec<u8>>>,
    /// What sharing takes in the log.
    shared_bytes: usize,
}

impl Staged {
    pub fn new(record: Option<ObjectRecord>, object: ObjectKey) -> Staged {
        Staged {
            object,
            exists: record.is_some(),
            size: record.map_or(0, |record| record.size),
            record,
            fresh: false,
            changed: false,
            pieces: Pieces::default(),
            xattrs: BTreeMap::new(),
            omap_cleared: false,
            cleared_bytes: 0,
            omap: BTreeMap::new(),
            inline: None,
            shared_bytes: 0,
        }
    }

    /// The object's content before the transaction, if it counts.
    fn old(&self) -> Option<ObjectRecord> {
        self.record.filter(|_| !self.fresh)
    }

    fn insert(&mut self, block: u32, blocks: u32, content: Content) {
        self.pieces.insert(block, blocks, content);
    }

    /// A block's staged content: `None` if the transaction has not touched it.
    fn staged_block(&self, block: u32) -> Option<Content> {
        let piece = self.pieces.at(block)?;
        Some(piece.content.cut(block - piece.block, block - piece.block + 1))
    }

    pub fn checksum(&mut self) {
        for piece in self.pieces.iter_mut() {
            if let Content::Data { blocks, checksums } = &mut piece.content {
                *checksums = block_checksums(blocks).collect();
            }
        }
    }

    pub fn data_blocks(&self) -> u64 {
        let data = |piece: &StagedPiece| match piece.content {
            Content::Data { .. } => u64::from(piece.blocks),
            Content::Hole | Content::Shared { .. } => 0,
        };
        self.pieces.iter().map(data).sum()
    }

    /// An upper bound for the log.
    pub fn log_bytes(&self) -> usize {
        let name = self.object.name.len() + 128;
        let data = self.data_blocks() as usize * 8
            + self.pieces.len() * 512
            + self.data_blocks() as usize / EXTENT_BLOCKS_MAX as usize * 128;
        // Splitting what lies at the edges rewrites at most two extents a layer and piece.
        let edges = self.pieces.len() * 4 * (EXTENT_BLOCKS_MAX as usize * 4 + 64);
        let pairs = |map: &BTreeMap<Vec<u8>, Option<Vec<u8>>>| -> usize {
            map.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len) + 32).sum()
        };
        let inline = self.inline.as_ref().map_or(0, |inline| 32 + inline.as_ref().map_or(0, Vec::len));
        name + data + edges + inline + self.shared_bytes + self.cleared_bytes + pairs(&self.xattrs) + pairs(&self.omap)
    }
}

impl Content {
    /// Of its blocks those from `from` on, before `to`.
    pub fn cut(&self, from: u32, to: u32) -> Content {
        match self {
            Content::Hole => Content::Hole,
            Content::Data { blocks, .. } => Content::Data {
                blocks: blocks.slice(from as usize * BLOCK..to as usize * BLOCK),
                checksums: Checksums::new(),
            },
            Content::Shared { source, block } => Content::Shared { source: source.clone(), block: block + from },
        }
    }
}

/// Applies one step to what is staged.
pub(crate) async fn stage(inner: &Rc<Inner>, staged: &mut [Staged], index: usize, step: Step) -> Result<()> {
    if let Step::CloneRange { source, source_offset, offset, length } = step {
        if !staged[source].exists {
            return Err(Error::NotFound);
        }
        let end = check_size(inner, offset, length)?;
        if length > 0 {
            clone_range(inner, staged, (source, source_offset), (index, offset), end).await?;
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
            if let Some(record) = object.old() {
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
        Some(Content::Data { blocks, .. }) => buffer.put(0, &blocks),
        Some(Content::Hole) => buffer.fill(0),
        Some(Content::Shared { source, block }) => {
            return inner.read_block(&source.object, &source.record, block).await;
        }
        None => match object.old() {
            Some(record) if block < blocks_of(record.size) => {
                return inner.read_block(&object.object, &record, block).await;
            }
            _ => buffer.fill(0),
        },
    }
    Ok(buffer)
}

/// Takes over a range of another object: whole blocks that both have at the same place within a block are shared, the rest is copied.
async fn clone_range(
    inner: &Rc<Inner>,
    staged: &mut [Staged],
    (source, source_offset): (usize, u64),
    (index, offset): (usize, u64),
    end: u64,
) -> Result<()> {
    let from = &staged[source];
    let source_end = source_offset.saturating_add(end - offset);
    let fits = source_offset % BLOCK_BYTES == offset % BLOCK_BYTES && source_end <= OBJECT_SIZE_LIMIT;
    // What lives in the index has no blocks to share, be it that the object has grown in this very transaction.
    if !fits || from.size <= INLINE_BYTES_MAX || from.old().is_some_and(|old| old.size <= INLINE_BYTES_MAX) {
        let data = read_staged(inner, from, source_offset, end - offset).await?;
        return write(inner, &mut staged[index], offset, data).await;
    }
    let to = &staged[index];
    let first = offset.div_ceil(BLOCK_BYTES) as u32;
    let source_first = source_offset.div_ceil(BLOCK_BYTES) as u32;
    // The last block may be shared although the range ends within it, when both objects end there: what is behind is zeros.
    let whole_tail = from.size <= source_end && to.size <= end;
    let behind = if whole_tail { blocks_of(end) } else { (end / BLOCK_BYTES) as u32 };
    if behind <= first {
        let data = read_staged(inner, from, source_offset, end - offset).await?;
        return write(inner, &mut staged[index], offset, data).await;
    }
    let old = from.old().map(|record| Rc::new(Source { object: from.object.clone(), record }));
    let old_blocks = old.as_ref().map_or(0, |old| blocks_of(old.record.size));
    let mut shared_bytes = 0;
    let mut pieces: Vec<(u32, u32, Content)> = Vec::new();
    let mut at = first;
    while at < behind {
        let block = at - first + source_first;
        let (blocks, content) = match from.pieces.at(block) {
            Some(piece) => {
                let start = block - piece.block;
                let blocks = (piece.blocks - start).min(behind - at);
                (blocks, piece.content.cut(start, start + blocks))
            }
            None => {
                let next = from.pieces.next_from(block).unwrap_or(u32::MAX);
                match &old {
                    Some(old) if block < old_blocks => {
                        let blocks = (next.min(old_blocks) - block).min(behind - at);
                        let id = old.record.id;
                        shared_bytes += inner.index(|state| state.share_bytes(id, block, block + blocks)).await?;
                        (blocks, Content::Shared { source: old.clone(), block })
                    }
                    _ => ((next - block).min(behind - at), Content::Hole),
                }
            }
        };
        pieces.push((at, blocks, content));
        at += blocks;
    }
    let head = u64::from(first) * BLOCK_BYTES - offset;
    let head_data = if head > 0 { Some(read_staged(inner, from, source_offset, head).await?) } else { None };
    let tail_at = u64::from(behind) * BLOCK_BYTES;
    let tail_data = if tail_at < end {
        Some(read_staged(inner, from, source_offset + (tail_at - offset), end - tail_at).await?)
    } else {
        None
    };
    let to = &mut staged[index];
    if let Some(data) = head_data {
        write(inner, to, offset, data).await?;
    }
    for (at, blocks, content) in pieces {
        to.insert(at, blocks, content);
    }
    to.shared_bytes += shared_bytes;
    if let Some(data) = tail_data {
        write(inner, to, tail_at, data).await?;
    }
    to.size = to.size.max(end);
    Ok(())
}

/// Decides where an object's bytes live, after all steps: small ones in the index, as one value; larger ones in blocks.
pub(crate) async fn choose_home(inner: &Rc<Inner>, object: &mut Staged) -> Result<()> {
    if !object.exists {
        return Ok(());
    }
    let old = object.old();
    let was_inline = match old {
        Some(record) if record.size <= INLINE_BYTES_MAX => {
            let key = key::inline(record.id);
            inner.index(|state| state.tree.contains(&key)).await?
        }
        _ => false,
    };
    if object.size > INLINE_BYTES_MAX {
        if was_inline {
            if object.staged_block(0).is_none() {
                let first = block(inner, object, 0).await?;
                object.insert(0, 1, Content::Data { blocks: first.freeze(), checksums: Checksums::new() });
            }
            object.inline = Some(None);
        }
        return Ok(());
    }
    if object.pieces.is_empty() && old.is_some_and(|record| record.size == object.size) {
        return Ok(());
    }
    object.inline = match object.size {
        0 => was_inline.then_some(None),
        size => Some(Some(block(inner, object, 0).await?[..size as usize].to_vec())),
    };
    // What it had in blocks goes.
    object.pieces.clear();
    if let Some(record) = old.filter(|record| !was_inline && record.size > 0) {
        object.insert(0, blocks_of(record.size), Content::Hole);
    }
    Ok(())
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
    let mut data = data;
    let (mut tail, mut whole_to) = (tail, whole_to);
    // An object that ends with this write has zeros behind: where the memory has the room for them, its last block goes with the others.
    if tail != 0 && head == 0 && old_size <= end && (data.as_ptr() as usize).is_multiple_of(BLOCK) {
        let length = data.len().next_multiple_of(BLOCK);
        data = match data.zero_extended(length) {
            Ok(extended) => {
                tail = 0;
                whole_to += 1;
                extended
            }
            Err(as_it_was) => as_it_was,
        };
    }
    if head != 0 {
        let mut buffer = block(inner, object, first).await?;
        let count = data.len().min(BLOCK - head);
        buffer.put(head, &data[..count]);
        object.insert(first, 1, Content::Data { blocks: buffer.freeze(), checksums: Checksums::new() });
    }
    if whole_from < whole_to {
        let from = (u64::from(whole_from) * BLOCK_BYTES - offset) as usize;
        let middle = data.slice(from..from + (whole_to - whole_from) as usize * BLOCK);
        let blocks = if (middle.as_ptr() as usize).is_multiple_of(BLOCK) {
            middle
        } else {
            let mut copy = inner.ring.buffer(middle.len());
            copy.put(0, &middle);
            copy.freeze()
        };
        object.insert(whole_from, whole_to - whole_from, Content::Data { blocks, checksums: Checksums::new() });
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
        buffer.put(0, &data[data.len() - tail..]);
        object.insert(whole_to, 1, Content::Data { blocks: buffer.freeze(), checksums: Checksums::new() });
    }
    object.size = object.size.max(end);
    Ok(())
}

/// Zeros the bytes `[from, to)` of one block.
async fn zero_within(inner: &Rc<Inner>, object: &mut Staged, at: u32, from: usize, to: usize) -> Result<()> {
    let mut buffer = block(inner, object, at).await?;
    buffer[from..to].fill(0);
    object.insert(at, 1, Content::Data { blocks: buffer.freeze(), checksums: Checksums::new() });
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
        if tail != 0 && !sabotaged(Sabotage::TruncateKeepsTheTail) {
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
        buffer.put(start, &bytes);
    }
    let start = (offset - u64::from(from) * BLOCK_BYTES) as usize;
    Ok(buffer.freeze().slice(start..start + length as usize))
}
