//! An object's state, or parts of it, as it goes from one OSD to another: read here, and put in place there.

use super::changes::{Changes, OmapChanges};
use crate::limits;
use crate::osd::Osd;
use crate::refusal::Refusal;
use basalt_blockstore::{ObjectInfo, ObjectKey, Store, Transaction};
use basalt_cluster::PgId;
use basalt_net::message::peer::{ObjectParts, ObjectState, OmapChange, Segment};
use basalt_ring::{Ring, Slice};
use std::ops::Range;

/// One message's worth of an object.
pub struct Part {
    pub state: ObjectState,
    pub payload: Vec<Slice>,
}

/// Reads, piece by piece, what `changes` names of an object that its caller has locked.
pub struct StateReader<'a> {
    osd: &'a Osd,
    key: &'a ObjectKey,
    info: Option<ObjectInfo>,
    changes: &'a Changes,
    /// Of the data, still to be read.
    ranges: Vec<Range<u64>>,
    /// Of the omap: after which key to go on, if all of it is to be read.
    omap_after: Option<Vec<u8>>,
    is_first: bool,
    is_done: bool,
}

impl<'a> StateReader<'a> {
    pub async fn new(osd: &'a Osd, key: &'a ObjectKey, changes: &'a Changes) -> Result<StateReader<'a>, Refusal> {
        let info = osd.store().stat(key).await?;
        let size = info.map_or(0, |info| info.size);
        let mut ranges: Vec<Range<u64>> =
            if changes.is_whole { std::iter::once(0..size).collect() } else { changes.ranges.to_vec() };
        ranges.iter_mut().for_each(|range| range.end = range.end.min(size));
        ranges.retain(|range| range.start < range.end);
        ranges.reverse();
        let omap_after = (changes.is_whole || changes.omap.is_whole()).then(Vec::new);
        Ok(StateReader { osd, key, info, changes, ranges, omap_after, is_first: true, is_done: false })
    }

    /// The next part, and whether it is the last; `None` after that.
    pub async fn next(&mut self) -> Result<Option<(Part, bool)>, Refusal> {
        if self.is_done {
            return Ok(None);
        }
        let Some(info) = self.info else {
            self.is_done = true;
            let state = ObjectState { object: None, is_absent: true };
            return Ok(Some((Part { state, payload: Vec::new() }, true)));
        };
        let is_first = std::mem::take(&mut self.is_first);
        let mut parts = ObjectParts {
            version: info.version,
            mtime_ns: info.mtime_ns,
            size: info.size,
            is_whole: is_first && self.changes.is_whole,
            ..ObjectParts::default()
        };
        let store = self.osd.store();
        if is_first {
            if self.changes.xattrs || self.changes.is_whole {
                parts.xattrs = Some(store.list_xattrs(self.key).await?);
            }
            if let OmapChanges::Keys(keys) = &self.changes.omap
                && !keys.is_empty()
                && !self.changes.is_whole
            {
                parts.omap = omap_of(store, self.key, keys.iter().cloned().collect()).await?;
            }
            parts.omap.clear = self.omap_after.is_some();
        }
        let mut payload = Vec::new();
        let mut room = limits::PUSH_PART_BYTES;
        while room > 0
            && let Some(range) = self.ranges.last_mut()
        {
            let length = (range.end - range.start).min(room);
            let data = store.read(self.key, range.start, length).await?.data;
            segments(range.start, &data, &mut parts.segments, &mut payload);
            room -= length;
            range.start += length;
            if range.is_empty() {
                self.ranges.pop();
            }
        }
        if self.ranges.is_empty()
            && let Some(after) = self.omap_after.take()
        {
            let (pairs, more) = omap_page(store, self.key, &after).await?;
            if more {
                self.omap_after = pairs.last().map(|(key, _)| key.clone());
            }
            parts.omap.set = pairs;
        }
        self.is_done = self.ranges.is_empty() && self.omap_after.is_none();
        if !self.is_done {
            // Half an object must never be taken for the whole of this version.
            parts.version = 0;
        }
        let state = ObjectState { object: Some(parts), is_absent: false };
        Ok(Some((Part { state, payload }, self.is_done)))
    }
}

async fn omap_of(store: &Store, key: &ObjectKey, keys: Vec<Vec<u8>>) -> Result<OmapChange, Refusal> {
    let found = store.get_omap(key, &keys).await?;
    let remove = keys.into_iter().filter(|key| !found.iter().any(|(found, _)| found == key)).collect();
    Ok(OmapChange { clear: false, set: found, remove })
}

async fn omap_page(store: &Store, key: &ObjectKey, after: &[u8]) -> Result<(Vec<(Vec<u8>, Vec<u8>)>, bool), Refusal> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut bytes = 0;
    loop {
        let from = pairs.last().map_or(after, |(key, _)| key.as_slice()).to_vec();
        let (found, more) = store.list_omap(key, &from, &[], limits::LIST_PAIRS_STEP).await?;
        bytes += found.iter().map(|(key, value)| key.len() + value.len() + 32).sum::<usize>();
        pairs.extend(found);
        if !more || bytes > limits::PUSH_OMAP_BYTES {
            return Ok((pairs, more));
        }
    }
}

/// Cuts data into runs of zeros, which are only named, and others, which are sent.
fn segments(offset: u64, data: &Slice, segments: &mut Vec<Segment>, payload: &mut Vec<Slice>) {
    let step = limits::ZERO_RUN_BYTES;
    let mut at = 0;
    while at < data.len() {
        let end_of_step = |at: usize| (at + step).min(data.len());
        let is_zero =
            |at: usize| data.get(at..end_of_step(at)).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        let zero = is_zero(at);
        let mut end = end_of_step(at);
        while end < data.len() && is_zero(end) == zero {
            end = end_of_step(end);
        }
        segments.push(Segment { offset: offset + at as u64, length: (end - at) as u64, is_zero: zero });
        if !zero {
            payload.push(data.slice(at..end));
        }
        at = end;
    }
}

/// Stages the state. The object's size is right after each part, its content after the last.
pub async fn stage(
    transaction: &mut Transaction,
    key: &ObjectKey,
    state: ObjectState,
    payload: Option<Slice>,
) -> Result<(), Refusal> {
    let Some(parts) = state.object else {
        if state.is_absent && transaction.stat(key).await?.is_some() {
            transaction.remove(key);
        }
        return Ok(());
    };
    let before = transaction.stat(key).await?;
    if parts.is_whole && before.is_some() {
        transaction.remove(key);
    }
    transaction.touch(key);
    if before.is_none_or(|info| info.size != parts.size) || parts.is_whole {
        transaction.truncate(key, parts.size);
    }
    let mut position = 0_usize;
    for segment in &parts.segments {
        if segment.offset.checked_add(segment.length).is_none_or(|end| end > parts.size) {
            return Err(malformed("a segment ends beyond the object"));
        }
        if segment.is_zero {
            transaction.zero(key, segment.offset, segment.length);
            continue;
        }
        let end = usize::try_from(segment.length).ok().and_then(|length| position.checked_add(length));
        let data = payload.as_ref().zip(end).filter(|(payload, end)| *end <= payload.len());
        let Some((payload, end)) = data else { return Err(malformed("its segments need more bytes than came")) };
        transaction.write(key, segment.offset, payload.slice(position..end));
        position = end;
    }
    if let Some(xattrs) = &parts.xattrs {
        let wanted = |name: &[u8]| xattrs.iter().any(|(wanted, _)| wanted == name);
        if before.is_some() && !parts.is_whole {
            for (name, _) in transaction.list_xattrs(key).await? {
                if !wanted(&name) {
                    transaction.remove_xattr(key, &name);
                }
            }
        }
        for (name, value) in xattrs {
            transaction.set_xattr(key, name, value);
        }
    }
    if parts.omap.clear && !parts.is_whole {
        transaction.clear_omap(key);
    }
    parts.omap.remove.iter().for_each(|omap_key| transaction.remove_omap(key, omap_key));
    parts.omap.set.iter().for_each(|(omap_key, value)| transaction.set_omap(key, omap_key, value));
    Ok(())
}

fn malformed(what: &str) -> Refusal {
    Refusal::new(libc::EPROTO, format!("an object's state contradicts itself: {what}"))
}

/// The objects of a group after a name, with their versions.
pub async fn versions(
    store: &Store,
    pg: PgId,
    after: &[u8],
    max: usize,
) -> Result<(Vec<(Vec<u8>, u64)>, bool), Refusal> {
    let max = max.clamp(1, limits::LIST_NAMES_MAX);
    let (names, more) = store.list(pg.pool, pg.seed, after, &[], max).await?;
    let mut objects = Vec::with_capacity(names.len());
    for name in names {
        let key = ObjectKey { pool: pg.pool, pg: pg.seed, name: name.into() };
        // One that was removed since it was listed is as if it had never been.
        if let Some(info) = store.stat(&key).await? {
            objects.push((key.name.into_vec(), info.version));
        }
    }
    Ok((objects, more))
}

/// Ranges of an object for whoever repairs a copy of it; with its attributes if asked for.
pub async fn read_ranges(
    osd: &Osd,
    key: &ObjectKey,
    ranges: &[(u64, u64)],
    attributes: bool,
) -> Result<(ObjectState, Vec<Slice>), Refusal> {
    let mut changes = Changes { xattrs: attributes, ..Changes::default() };
    if attributes {
        changes.omap.all();
    }
    let wanted: u64 = ranges.iter().map(|(_, length)| *length).sum();
    if wanted > limits::PUSH_PART_BYTES {
        return Err(Refusal::new(
            libc::E2BIG,
            format!("{wanted} bytes at once, and {} are possible", limits::PUSH_PART_BYTES),
        ));
    }
    ranges.iter().for_each(|(offset, length)| changes.range(*offset..offset.saturating_add(*length)));
    // What is read is of one moment.
    let _lock = osd.store().begin(std::slice::from_ref(key)).await;
    let mut reader = StateReader::new(osd, key, &changes).await?;
    match reader.next().await? {
        Some((part, _)) => Ok((part.state, part.payload)),
        None => Ok((ObjectState { object: None, is_absent: true }, Vec::new())),
    }
}

/// A copy of slices in one piece.
pub fn gather(ring: &Ring, slices: &[Slice]) -> Slice {
    match slices {
        [one] => one.clone(),
        _ => {
            let mut buffer = ring.buffer(slices.iter().map(|slice| slice.len()).sum());
            let mut at = 0;
            for slice in slices {
                buffer.put(at, slice);
                at += slice.len();
            }
            buffer.freeze()
        }
    }
}
