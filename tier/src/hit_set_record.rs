//! A hit set as it is kept over a restart.
//!
//! | bytes | what                                                                       |
//! |-------|----------------------------------------------------------------------------|
//! | 4     | magic, `HITS`                                                              |
//! | 1     | version, 1                                                                 |
//! | 1     | kind: 1 Bloom filter, 2 hashes, 3 object numbers                           |
//! | 1     | 1: still open                                                              |
//! | 1     | zero                                                                       |
//! | 4     | pool                                                                       |
//! | 4     | objects inserted                                                           |
//! | 8     | number of the set                                                          |
//! | 8     | how long it was open, in nanoseconds; 0 if it is closed                    |
//! | 8     | Bloom filter: bits; else zero                                              |
//! | 4     | Bloom filter: hashes; else zero                                            |
//! | 4     | entries that follow                                                        |
//! | 8 × n | Bloom filter: its words, none while it is empty; object numbers: ascending |
//! | 4 × n | hashes: ascending                                                          |
//!
//! All numbers are little-endian. Whoever keeps it has a checksum over it; what fits that and is no hit set all the same is refused here,
//! and never allocates more than the record is long.

use crate::PoolId;
use crate::hit_set::{Bloom, HitSet, Members};
use crate::limits::{BLOOM_BITS_EACH_MAX, BLOOM_HASHES_MAX, HIT_SET_OBJECTS_MAX, HIT_SET_RECORD_BYTES_MAX};
use std::collections::BTreeSet;

const MAGIC: [u8; 4] = *b"HITS";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 48;
/// More sets than any pool closes, and far from where numbers end.
const NUMBER_MAX: u64 = 1 << 62;

/// A hit set between a tier and what keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedHitSet {
    pub(crate) set: HitSet,
    /// Nanoseconds. `None`: it was closed.
    pub(crate) open_for: Option<u64>,
}

/// A record that is no hit set of this pool.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DamagedHitSet {
    #[error("{bytes} bytes can't be a hit set, which has {HEADER_BYTES} to {HIT_SET_RECORD_BYTES_MAX}")]
    Size { bytes: usize },
    #[error("it does not begin as a hit set of version {VERSION} does")]
    Foreign,
    #[error("it is of pool {found}, not of pool {expected}")]
    OtherPool { found: PoolId, expected: PoolId },
    #[error("{field} can't be {value}")]
    Field { field: &'static str, value: u64 },
}

/// Takes fixed-width numbers from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DamagedHitSet> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DamagedHitSet::Size { bytes: self.0.len() })?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Result<u8, DamagedHitSet> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, DamagedHitSet> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, DamagedHitSet> {
        self.take().map(u64::from_le_bytes)
    }
}

impl SavedHitSet {
    pub fn number(&self) -> u64 {
        self.set.number
    }

    /// Whether it was still open when it was saved.
    pub fn is_open(&self) -> bool {
        self.open_for.is_some()
    }

    /// How many were inserted.
    pub fn objects(&self) -> u64 {
        self.set.inserted as u64
    }

    pub fn encode(&self, pool: PoolId) -> Vec<u8> {
        let (kind, bits, hashes, entries) = match &self.set.members {
            Members::Bloom(bloom) => (1, bloom.bit_count, bloom.hash_count, bloom.bits.len()),
            Members::Hashes(hashes) => (2, 0, 0, hashes.len()),
            Members::Objects(objects) => (3, 0, 0, objects.len()),
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES + 8 * entries);
        bytes.extend(MAGIC);
        bytes.extend([VERSION, kind, u8::from(self.open_for.is_some()), 0]);
        bytes.extend(pool.to_le_bytes());
        bytes.extend((self.set.inserted as u32).to_le_bytes());
        bytes.extend(self.set.number.to_le_bytes());
        bytes.extend(self.open_for.unwrap_or(0).to_le_bytes());
        bytes.extend(bits.to_le_bytes());
        bytes.extend(hashes.to_le_bytes());
        bytes.extend((entries as u32).to_le_bytes());
        debug_assert_eq!(bytes.len(), HEADER_BYTES);
        match &self.set.members {
            Members::Bloom(bloom) => bytes.extend(bloom.bits.iter().flat_map(|word| word.to_le_bytes())),
            Members::Hashes(hashes) => bytes.extend(hashes.iter().flat_map(|hash| hash.to_le_bytes())),
            Members::Objects(objects) => bytes.extend(objects.iter().flat_map(|object| object.to_le_bytes())),
        }
        bytes
    }

    pub fn decode(bytes: &[u8], pool: PoolId) -> Result<SavedHitSet, DamagedHitSet> {
        if !(HEADER_BYTES..=HIT_SET_RECORD_BYTES_MAX).contains(&bytes.len()) {
            return Err(DamagedHitSet::Size { bytes: bytes.len() });
        }
        let mut reader = Reader(bytes);
        if (reader.take()?, reader.u8()?) != (MAGIC, VERSION) {
            return Err(DamagedHitSet::Foreign);
        }
        let field = |field: &'static str, value: u64| DamagedHitSet::Field { field, value };
        let kind = reader.u8()?;
        let is_open = match reader.u8()? {
            0 => false,
            1 => true,
            other => return Err(field("whether it is open", u64::from(other))),
        };
        match reader.u8()? {
            0 => {}
            other => return Err(field("the zero", u64::from(other))),
        }
        let found = reader.u32()?;
        if found != pool {
            return Err(DamagedHitSet::OtherPool { found, expected: pool });
        }
        let inserted = reader.u32()? as usize;
        if inserted > HIT_SET_OBJECTS_MAX {
            return Err(field("the number of objects", inserted as u64));
        }
        let number = reader.u64()?;
        if number > NUMBER_MAX {
            return Err(field("the set's number", number));
        }
        let open_for = reader.u64()?;
        let (bit_count, hash_count) = (reader.u64()?, reader.u32()?);
        let entries = reader.u32()?;
        let width = if kind == 2 { 4 } else { 8 };
        if reader.0.len() as u64 != u64::from(entries) * width {
            return Err(field("the number of entries", u64::from(entries)));
        }
        let words = || reader.0.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
        let members = match kind {
            1 => {
                let bits_max = HIT_SET_OBJECTS_MAX as u64 * BLOOM_BITS_EACH_MAX;
                if !(64..=bits_max).contains(&bit_count) || !bit_count.is_multiple_of(64) {
                    return Err(field("the number of bits", bit_count));
                }
                if !(1..=BLOOM_HASHES_MAX).contains(&hash_count) {
                    return Err(field("the number of hashes", u64::from(hash_count)));
                }
                // All of them, or none while nothing was inserted.
                if entries > 0 && u64::from(entries) != bit_count / 64 {
                    return Err(field("the number of words", u64::from(entries)));
                }
                Members::Bloom(Bloom { bits: words().collect(), bit_count, hash_count })
            }
            2 => {
                let hashes = reader.0.as_chunks::<4>().0.iter();
                Members::Hashes(hashes.map(|hash| u32::from_le_bytes(*hash)).collect::<BTreeSet<u32>>())
            }
            3 => Members::Objects(words().collect()),
            other => return Err(field("the kind", u64::from(other))),
        };
        if kind != 1 && inserted != entries as usize {
            return Err(field("the number of objects", inserted as u64));
        }
        let open_for = is_open.then_some(open_for);
        Ok(SavedHitSet { set: HitSet { number, members, inserted }, open_for })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hit_set::HitSets;
    use crate::limits::SECOND;
    use crate::{HitSetType, PoolSettings};
    use proptest::prelude::*;

    const POOL: PoolId = 7;

    fn settings(kind: HitSetType) -> PoolSettings {
        PoolSettings { hit_set_type: kind, hit_set_period: 100 * SECOND, ..PoolSettings::default() }
    }

    /// Everything that there is, through its encoding.
    fn save(sets: &mut HitSets, now: u64) -> Vec<SavedHitSet> {
        let inventory = sets.inventory(now);
        let numbers = inventory.closed.into_iter().chain(inventory.current.map(|(number, _)| number));
        let records = numbers.map(|number| sets.saved(now, number).expect("it is in the inventory").encode(POOL));
        records.map(|record| SavedHitSet::decode(&record, POOL).expect("it was just encoded")).collect()
    }

    const KINDS: [HitSetType; 3] = [HitSetType::Bloom, HitSetType::ExplicitHash, HitSetType::ExplicitObject];

    #[test]
    fn what_is_saved_goes_on_where_it_was_and_the_time_between_does_not_count() {
        for kind in KINDS {
            let mut sets = HitSets::new(0, &settings(kind));
            sets.record(SECOND, 1);
            sets.record(101 * SECOND, 1);
            sets.record(190 * SECOND, 2);
            let mut saved = save(&mut sets, 190 * SECOND);
            saved.reverse();
            let now = 5000 * SECOND;
            let mut again = HitSets::new(now, &settings(kind));
            again.restore(now, saved);
            assert!(again.is_recent(now, 1, 2) && again.is_recent(now, 2, 1) && !again.is_recent(now, 2, 2), "{kind}");
            let later = now + 11 * SECOND;
            assert!(!again.is_recent(later, 2, 1), "{kind}: the current set was open for 90 of 100 s");
            assert!(again.temperature(2) > 0.0);
            assert_eq!(again.inventory(later).current.map(|(number, _)| number), Some(3));
        }
    }

    #[test]
    fn a_set_that_was_closed_later_is_not_taken_for_the_current_one() {
        let mut sets = HitSets::new(0, &settings(HitSetType::Bloom));
        sets.record(SECOND, 1);
        let mut saved = save(&mut sets, SECOND);
        sets.record(2 * SECOND, 2);
        saved.push(save(&mut sets, 101 * SECOND).swap_remove(0));
        assert_eq!(saved.iter().map(SavedHitSet::number).collect::<Vec<_>>(), [1, 1]);
        let mut again = HitSets::new(0, &settings(HitSetType::Bloom));
        again.restore(0, saved);
        assert!(!again.is_recent(0, 2, 1));
        assert!((again.temperature(2) - 0.8).abs() < 1e-9 && (again.temperature(1) - 0.8).abs() < 1e-9);
        assert_eq!(again.inventory(0).current, Some((2, 0)));
    }

    #[test]
    fn sets_of_another_kind_are_of_no_use() {
        let mut sets = HitSets::new(0, &settings(HitSetType::Bloom));
        sets.record(SECOND, 1);
        let saved = save(&mut sets, SECOND);
        let mut again = HitSets::new(0, &settings(HitSetType::ExplicitHash));
        again.restore(0, saved);
        assert!(!again.is_recent(0, 1, 1));
        assert_eq!(again.inventory(0).current, Some((2, 0)), "no number is given twice");
    }

    #[test]
    fn the_largest_sets_fit_their_bound() {
        let most = PoolSettings {
            hit_set_fpp: 0.0001,
            hit_set_count: crate::limits::HIT_SET_COUNT_MAX,
            ..settings(HitSetType::Bloom)
        };
        for settings in [most, settings(HitSetType::ExplicitHash), settings(HitSetType::ExplicitObject)] {
            let mut sets = HitSets::new(0, &settings);
            for object in 0..HIT_SET_OBJECTS_MAX as u64 {
                sets.record(0, object);
            }
            for saved in save(&mut sets, 0) {
                assert!(saved.encode(POOL).len() <= HIT_SET_RECORD_BYTES_MAX);
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = SavedHitSet::decode(&bytes, POOL);
        }

        /// What is decoded of a record with some bytes changed is a set that can be used and encoded, or nothing.
        #[test]
        fn no_damage_makes_it_panic(
            kind in 0usize..3,
            objects in proptest::collection::vec(any::<u64>(), 0..50),
            damage in proptest::collection::vec((0usize..HEADER_BYTES + 16, any::<u8>()), 0..4),
            cut in proptest::option::of(0usize..600),
        ) {
            let settings = settings(KINDS[kind]);
            let mut sets = HitSets::new(0, &settings);
            objects.iter().for_each(|object| sets.record(0, *object));
            let mut bytes = sets.saved(0, 1).expect("the current set").encode(POOL);
            for (at, byte) in damage {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            if let Ok(saved) = SavedHitSet::decode(&bytes, POOL) {
                prop_assert_eq!(&SavedHitSet::decode(&saved.encode(POOL), POOL), &Ok(saved.clone()));
                let mut sets = HitSets::new(0, &settings);
                sets.restore(SECOND, vec![saved]);
                sets.record(SECOND, 1);
                sets.advance(u64::MAX);
                sets.inventory(u64::MAX);
            }
        }
    }
}
