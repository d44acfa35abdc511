//! Objects' bytes that are sealed: whole chunks are read and opened, and what was not asked for is cut off.

use super::Store;
use super::data::{BodySender, pieces};
use super::entry::Run;
use crate::s3::encryption::{CHUNK_BYTES, DataKey, SEALED_CHUNK_BYTES, open_chunks, plain_bytes};
use crate::s3::fault::{Fault, Result};
use crate::s3::limits::{READ_AHEAD, READ_PIECE_BYTES};
use basalt_ring::Task;
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

const CHUNKS_AT_ONCE: u64 = READ_PIECE_BYTES / CHUNK_BYTES;

impl Store {
    /// As [`Store::read_runs`]; `range` counts the object's own bytes.
    pub async fn read_sealed_runs(self: &Rc<Self>, runs: &[Run], range: Range<u64>, key: DataKey, body: BodySender) {
        let key = Rc::new(key);
        let mut running: VecDeque<Task<Result<Bytes>>> = VecDeque::new();
        let mut groups = chunk_groups(runs, range);
        loop {
            while running.len() < READ_AHEAD
                && let Some(group) = groups.next()
            {
                let (store, key) = (self.clone(), key.clone());
                running.push_back(self.ring.spawn(async move { store.read_chunks(&group, &key).await }));
            }
            let Some(first) = running.pop_front() else { return };
            let piece = first.await;
            let failed = piece.is_err();
            if body.send(piece).await.is_err() || failed {
                return;
            }
        }
    }

    async fn read_chunks(&self, group: &ChunkGroup, key: &DataKey) -> Result<Bytes> {
        let ChunkGroup { part, first, count, wanted } = group;
        let begin = first * SEALED_CHUNK_BYTES;
        let end = part.size.min(begin + count * SEALED_CHUNK_BYTES);
        let mut sealed = Vec::with_capacity((end - begin) as usize);
        for piece in pieces(std::slice::from_ref(part), begin..end) {
            sealed.extend_from_slice(&self.read_piece(piece).await?);
        }
        let part_key = key.part(&part.tag, part.number);
        let plain = open_chunks(&part_key, *first, plain_bytes(part.size), &mut sealed).ok_or_else(|| {
            Fault::damaged(format!("{}.{}", part.tag, part.number), format_args!("bytes {begin} to {end} don't open"))
        })?;
        let plain = Bytes::from(plain);
        let is_there = wanted.end <= plain.len() && wanted.start <= wanted.end;
        assert!(is_there, "chunks that open have the bytes that they were chosen for");
        Ok(plain.slice(wanted.clone()))
    }
}

/// Some chunks of one part, and which of their bytes are wanted.
#[derive(Debug, PartialEq, Eq)]
struct ChunkGroup {
    /// Just this one.
    part: Run,
    first: u64,
    count: u64,
    wanted: Range<usize>,
}

/// The groups of chunks that make up `range` of the object's own bytes, in order.
fn chunk_groups(runs: &[Run], range: Range<u64>) -> impl Iterator<Item = ChunkGroup> {
    let mut found = Vec::new();
    let mut begin = 0;
    for run in runs {
        let end = begin + plain_bytes(run.size) * u64::from(run.count);
        if begin < range.end && end > range.start {
            found.push((run.clone(), begin..end));
        }
        begin = end;
    }
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let (run, place) = found.iter().find(|(_, place)| place.contains(&at))?;
        let part_bytes = plain_bytes(run.size);
        let (index, in_part) = ((at - place.start) / part_bytes, (at - place.start) % part_bytes);
        let first = in_part / CHUNK_BYTES;
        let left = (part_bytes - in_part).min(range.end - at);
        let end = (in_part + left).min((first + CHUNKS_AT_ONCE) * CHUNK_BYTES);
        let count = end.div_ceil(CHUNK_BYTES) - first;
        at += end - in_part;
        let before = first * CHUNK_BYTES;
        let part = Run { number: run.number + index as u32, count: 1, ..run.clone() };
        Some(ChunkGroup { part, first, count, wanted: (in_part - before) as usize..(end - before) as usize })
    })
}

const _: () = {
    assert!(CHUNKS_AT_ONCE > 0);
    assert!(READ_PIECE_BYTES.is_multiple_of(CHUNK_BYTES));
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::encryption::sealed_bytes;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn the_groups_of_a_range_are_its_bytes_in_order(
            sizes in proptest::collection::vec((1_u64..3 * READ_PIECE_BYTES, 1_u32..3), 1..4),
            cut in (0.0_f64..1.0, 0.0_f64..1.0),
        ) {
            let runs: Vec<Run> = sizes
                .iter()
                .enumerate()
                .map(|(tag, (size, count))| {
                    Run { tag: tag.to_string(), number: 5, count: *count, size: sealed_bytes(*size) }
                })
                .collect();
            let size: u64 = sizes.iter().map(|(size, count)| size * u64::from(*count)).sum();
            let start = (size as f64 * cut.0) as u64;
            let end = start + ((size - start) as f64 * cut.1) as u64;
            // Where each part begins in the object.
            let begin = |group: &ChunkGroup| {
                let tag: usize = group.part.tag.parse().unwrap();
                let before: u64 = sizes.iter().take(tag).map(|(size, count)| size * u64::from(*count)).sum();
                before + sizes[tag].0 * u64::from(group.part.number - 5)
            };
            let mut at = start;
            for group in chunk_groups(&runs, start..end) {
                let offset = begin(&group) + group.first * CHUNK_BYTES;
                prop_assert_eq!(offset + group.wanted.start as u64, at);
                prop_assert!(group.wanted.start < group.wanted.end && group.wanted.start < CHUNK_BYTES as usize);
                // No chunk is read that nothing is wanted of.
                prop_assert!(group.wanted.end as u64 > (group.count - 1) * CHUNK_BYTES);
                prop_assert!(group.wanted.end as u64 <= group.count * CHUNK_BYTES && group.count <= CHUNKS_AT_ONCE);
                prop_assert!(offset + group.wanted.end as u64 <= begin(&group) + plain_bytes(group.part.size));
                at = offset + group.wanted.end as u64;
            }
            prop_assert_eq!(at, end);
        }
    }
}
