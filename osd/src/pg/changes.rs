//! What a write changes of an object: as little as it takes to bring a copy that lacks the write up to date.

use crate::limits;
use basalt_net::message::object::Operation;
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::ops::Range;

/// Mostly there is one.
pub type Ranges = SmallVec<[Range<u64>; 1]>;

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Changes {
    /// All of it: data, attributes, that it exists.
    pub is_whole: bool,
    /// Of the data, in ascending order, apart from each other; they may reach beyond the object's end.
    pub ranges: Ranges,
    pub xattrs: bool,
    pub omap: OmapChanges,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OmapChanges {
    Keys(BTreeSet<Vec<u8>>),
    All,
}

impl Default for OmapChanges {
    fn default() -> OmapChanges {
        OmapChanges::Keys(BTreeSet::new())
    }
}

impl OmapChanges {
    pub fn is_whole(&self) -> bool {
        matches!(self, OmapChanges::All)
    }

    pub fn all(&mut self) {
        *self = OmapChanges::All;
    }

    /// Adds a key; of too many, it is all of them.
    pub fn key(&mut self, key: &[u8]) {
        let OmapChanges::Keys(keys) = self else { return };
        let bytes: usize = keys.iter().map(|key| key.len() + 2).sum();
        if bytes + key.len() + 2 > limits::LOGGED_OMAP_KEY_BYTES_MAX {
            self.all();
        } else {
            keys.insert(key.to_vec());
        }
    }

    /// The keys that are known one by one.
    pub fn listed(&self) -> Vec<&[u8]> {
        match self {
            OmapChanges::Keys(keys) => keys.iter().map(Vec::as_slice).collect(),
            OmapChanges::All => Vec::new(),
        }
    }
}

impl Changes {
    pub fn everything() -> Changes {
        Changes { is_whole: true, xattrs: true, omap: OmapChanges::All, ranges: Ranges::new() }
    }

    /// Of the writes of a vector, on an object of `size` bytes.
    pub fn of(operations: &[Operation], mut size: u64) -> Changes {
        let mut changes = Changes::default();
        for operation in operations {
            let written = match operation {
                Operation::Write { offset, length }
                | Operation::Zero { offset, length }
                | Operation::CloneRange { offset, length, .. } => *offset..offset.saturating_add(*length),
                Operation::Append { length } => size..size.saturating_add(*length),
                Operation::WriteFull { length } => {
                    // Whatever was behind the new end is gone.
                    changes.range(0..u64::MAX);
                    size = *length;
                    continue;
                }
                Operation::Truncate { size: to } => {
                    changes.range(*to..u64::MAX);
                    size = *to;
                    continue;
                }
                Operation::Remove => {
                    changes = Changes::everything();
                    size = 0;
                    continue;
                }
                Operation::SetXattr { .. } | Operation::RemoveXattr { .. } => {
                    changes.xattrs = true;
                    continue;
                }
                Operation::SetOmap { pairs } => {
                    pairs.iter().for_each(|(key, _)| changes.omap.key(key));
                    continue;
                }
                Operation::RemoveOmap { keys } => {
                    keys.iter().for_each(|key| changes.omap.key(key));
                    continue;
                }
                Operation::ClearOmap => {
                    changes.omap.all();
                    continue;
                }
                _ => continue,
            };
            size = size.max(written.end);
            changes.range(written);
        }
        changes
    }

    /// Adds a range; neighbours become one, and of too many the two that are nearest to each other.
    pub fn range(&mut self, range: Range<u64>) {
        self.add_range(range, limits::LOGGED_RANGES_MAX);
    }

    fn add_range(&mut self, range: Range<u64>, ranges_max: usize) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|known| known.end < range.start);
        let end = self.ranges.partition_point(|known| known.start <= range.end);
        let touched = self.ranges.get(first..end).unwrap_or_default();
        let start = touched.first().map_or(range.start, |known| known.start.min(range.start));
        let last = touched.last().map_or(range.end, |known| known.end.max(range.end));
        match self.ranges.get_mut(first..end).unwrap_or_default() {
            [] => self.ranges.insert(first, start..last),
            [one, ..] => {
                *one = start..last;
                self.ranges.drain(first + 1..end);
            }
        }
        while self.ranges.len() > ranges_max {
            let gap = |pair: &[Range<u64>]| match pair {
                [one, other] => other.start - one.end,
                _ => u64::MAX,
            };
            let nearest = self.ranges.windows(2).enumerate().min_by_key(|(_, pair)| gap(pair)).map(|(index, _)| index);
            let Some(index) = nearest else { break };
            let removed = self.ranges.remove(index + 1);
            if let Some(kept) = self.ranges.get_mut(index) {
                kept.end = removed.end;
            }
        }
    }

    /// What both changed. This is not logged, and may list more ranges: a copy that missed a thousand small writes is not sent what
    /// lies between them.
    pub fn merge(&mut self, other: &Changes) {
        self.is_whole |= other.is_whole;
        self.xattrs |= other.xattrs;
        other.ranges.iter().for_each(|range| self.add_range(range.clone(), limits::MISSING_RANGES_MAX));
        match &other.omap {
            OmapChanges::All => self.omap.all(),
            OmapChanges::Keys(keys) => keys.iter().for_each(|key| self.omap.key(key)),
        }
    }

    /// Bytes of data of an object of `size` bytes that changed, if it is at most so large now.
    pub fn bytes(&self, size: u64) -> u64 {
        if self.is_whole {
            return size;
        }
        self.ranges.iter().map(|range| range.end.min(size).saturating_sub(range.start)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_write_changed_is_known_to_the_byte() {
        let operations = [
            Operation::Write { offset: 100, length: 50 },
            Operation::Append { length: 10 },
            Operation::Write { offset: 150, length: 5 },
            Operation::SetXattr { name: b"x".to_vec(), value: b"y".to_vec() },
        ];
        let changes = Changes::of(&operations, 1000);
        assert_eq!(changes.ranges.as_slice(), [100..155, 1000..1010]);
        assert!(changes.xattrs && !changes.is_whole);
        assert_eq!(Changes::of(&[Operation::Truncate { size: 7 }], 1000).ranges.first(), Some(&(7..u64::MAX)));
        assert!(Changes::of(&[Operation::Remove, Operation::Write { offset: 0, length: 1 }], 1000).is_whole);
    }

    #[test]
    fn many_small_writes_together_are_no_more_than_what_they_wrote() {
        let mut missing = Changes::default();
        for block in 0..200 {
            missing.merge(&Changes::of(&[Operation::Write { offset: block * 20_000, length: 4096 }], 4 << 20));
        }
        assert_eq!(missing.bytes(4 << 20), 200 * 4096);
        for block in 0..100_000 {
            missing.merge(&Changes::of(&[Operation::Write { offset: block * 20_000, length: 4096 }], 4 << 30));
        }
        assert_eq!(missing.ranges.len(), limits::MISSING_RANGES_MAX);
    }

    #[test]
    fn so_many_omap_keys_that_they_do_not_fit_are_all_of_them() {
        let mut omap = OmapChanges::default();
        omap.key(b"one");
        assert_eq!(omap.listed(), [b"one"]);
        (0..10_000_u32).for_each(|key| omap.key(&key.to_le_bytes()));
        assert!(omap.is_whole());
    }

    proptest! {
        #[test]
        fn the_ranges_cover_every_byte_written_and_stay_few(writes in prop::collection::vec((0u64..500, 1u64..40), 1..60)) {
            let mut changes = Changes::default();
            for (offset, length) in &writes {
                changes.range(*offset..offset + length);
            }
            for (offset, length) in writes {
                prop_assert!(changes.ranges.iter().any(|range| range.start <= offset && offset + length <= range.end));
            }
            prop_assert!(changes.ranges.len() <= limits::LOGGED_RANGES_MAX);
            prop_assert!(changes.ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }
}
