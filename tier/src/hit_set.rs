//! Hit sets: which objects were accessed in the current period and in the ones before it.
//!
//! Semantics are those of Ceph's pools: a set is closed when its period ends or when it is full; `count` closed sets are kept.

use crate::hit_set_record::SavedHitSet;
use crate::limits::{BLOOM_FOLDS_MAX, HIT_SET_OBJECTS_MAX};
use crate::objects::hash;
use crate::{HitSetType, ObjectId, PoolSettings};
use std::collections::{BTreeSet, VecDeque};

/// A Bloom filter with double hashing (Kirsch and Mitzenmacher, "Less hashing, same performance"). Its bits are allocated with
/// the first object, so that sets of idle pools cost nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bloom {
    pub bits: Vec<u64>,
    pub bit_count: u64,
    pub hash_count: u32,
}

impl Bloom {
    fn new(objects: usize, false_positives: f64) -> Bloom {
        let ln2 = std::f64::consts::LN_2;
        let bits_each = -false_positives.ln() / (ln2 * ln2);
        let bit_count = ((objects as f64 * bits_each).ceil() as u64).next_multiple_of(64 << BLOOM_FOLDS_MAX);
        Bloom { bits: Vec::new(), bit_count, hash_count: ((bits_each * ln2).round() as u32).max(1) }
    }

    fn positions(&self, hash: u64) -> impl Iterator<Item = u64> + use<> {
        let (first, step, bit_count) = (hash & 0xffff_ffff, (hash >> 32) | 1, self.bit_count);
        (0..u64::from(self.hash_count)).map(move |round| (first + round * step) % bit_count)
    }

    /// Whether it was there already.
    fn insert(&mut self, hash: u64) -> bool {
        if self.bits.is_empty() {
            self.bits = vec![0; (self.bit_count / 64) as usize];
        }
        let mut present = true;
        for position in self.positions(hash) {
            let word = &mut self.bits[(position / 64) as usize];
            present &= *word & (1 << (position % 64)) != 0;
            *word |= 1 << (position % 64);
        }
        present
    }

    /// Gives a filter that was made for `capacity` objects, and holds fewer, the size that they need. Where it is folded in half, what was
    /// at a bit is at the same one modulo the new size; there are as many bits for each object as it was made with, or more.
    fn shrink(&mut self, capacity: usize, objects: usize) {
        for fold in 1..=BLOOM_FOLDS_MAX {
            if capacity >> fold < objects || self.bits.is_empty() {
                return;
            }
            let upper = self.bits.split_off(self.bits.len() / 2);
            self.bits.iter_mut().zip(upper).for_each(|(lower, upper)| *lower |= upper);
            self.bits.shrink_to_fit();
            self.bit_count /= 2;
        }
    }

    fn contains(&self, hash: u64) -> bool {
        !self.bits.is_empty()
            && self.positions(hash).all(|position| self.bits[(position / 64) as usize] & (1 << (position % 64)) != 0)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Members {
    Bloom(Bloom),
    Hashes(BTreeSet<u32>),
    Objects(BTreeSet<ObjectId>),
}

/// One period's set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HitSet {
    /// Each set of a pool has one greater than all before it.
    pub number: u64,
    pub members: Members,
    pub inserted: usize,
}

impl HitSet {
    pub fn kind(&self) -> HitSetType {
        match self.members {
            Members::Bloom(_) => HitSetType::Bloom,
            Members::Hashes(_) => HitSetType::ExplicitHash,
            Members::Objects(_) => HitSetType::ExplicitObject,
        }
    }

    fn insert(&mut self, object: ObjectId) {
        let present = match &mut self.members {
            Members::Bloom(bloom) => bloom.insert(hash(0, object)),
            Members::Hashes(hashes) => !hashes.insert(hash(0, object) as u32),
            Members::Objects(objects) => !objects.insert(object),
        };
        self.inserted += usize::from(!present);
    }

    fn contains(&self, object: ObjectId) -> bool {
        match &self.members {
            Members::Bloom(bloom) => bloom.contains(hash(0, object)),
            Members::Hashes(hashes) => hashes.contains(&(hash(0, object) as u32)),
            Members::Objects(objects) => objects.contains(&object),
        }
    }
}

/// Which sets of a pool there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitSetInventory {
    /// Nanoseconds.
    pub period: u64,
    /// Numbers, newest first. What they hold does not change any more.
    pub closed: Vec<u64>,
    /// The number of the current set, and of the objects in it.
    pub current: Option<(u64, u64)>,
}

/// A pool's current set and its kept ones, newest first.
#[derive(Clone, Debug)]
pub struct HitSets {
    kind: HitSetType,
    count: usize,
    period: u64,
    false_positives: f64,
    /// The weight of the archived set i (0 the newest) in a temperature is `decay` to the power of i + 1.
    decay: f64,
    search_last: usize,
    opened: u64,
    /// Of the next set.
    number: u64,
    current: Option<HitSet>,
    archived: VecDeque<HitSet>,
}

impl HitSets {
    pub fn new(now: u64, settings: &PoolSettings) -> HitSets {
        let mut sets = HitSets {
            kind: settings.hit_set_type,
            count: settings.hit_set_count as usize,
            period: settings.hit_set_period.max(1),
            false_positives: settings.hit_set_fpp,
            decay: 1.0 - f64::from(settings.hit_set_grade_decay_rate) / 100.0,
            search_last: settings.hit_set_search_last_n as usize,
            opened: now,
            number: 1,
            current: None,
            archived: VecDeque::new(),
        };
        sets.current = sets.fresh();
        sets
    }

    /// Takes over changed settings. What is known is kept unless the kind of the sets changed. A current set that was made for another
    /// rate of false positives, or is open for longer than the new period, is closed, so that the change counts from now on.
    pub fn configure(&mut self, now: u64, settings: &PoolSettings) {
        self.advance(now);
        let mut changed = HitSets::new(now, settings);
        changed.number = self.number;
        changed.current = changed.fresh();
        if changed.kind == self.kind {
            changed.archived = std::mem::take(&mut self.archived);
            changed.archived.truncate(changed.count);
            let is_overdue = now.saturating_sub(self.opened) >= changed.period;
            let is_of_another_size =
                changed.kind == HitSetType::Bloom && changed.false_positives != self.false_positives;
            let is_kept = self.current.as_ref().is_some_and(|set| set.inserted > 0);
            if is_kept {
                changed.current = self.current.take();
            }
            if is_kept && (is_overdue || is_of_another_size) {
                changed.close_current();
            } else if !is_overdue {
                changed.opened = self.opened;
            }
        }
        *self = changed;
    }

    fn fresh(&mut self) -> Option<HitSet> {
        let members = match self.kind {
            HitSetType::None => return None,
            // The false positives wanted of all sets together are shared among them.
            HitSetType::Bloom => {
                Members::Bloom(Bloom::new(HIT_SET_OBJECTS_MAX, self.false_positives / (self.count + 1) as f64))
            }
            HitSetType::ExplicitHash => Members::Hashes(BTreeSet::new()),
            HitSetType::ExplicitObject => Members::Objects(BTreeSet::new()),
        };
        self.number += 1;
        Some(HitSet { number: self.number - 1, members, inserted: 0 })
    }

    fn close_current(&mut self) {
        let fresh = self.fresh();
        if let Some(mut closed) = std::mem::replace(&mut self.current, fresh) {
            if let Members::Bloom(bloom) = &mut closed.members {
                bloom.shrink(HIT_SET_OBJECTS_MAX, closed.inserted);
            }
            self.archived.push_front(closed);
            self.archived.truncate(self.count);
        }
    }

    /// Closes the sets whose period has ended by `now`, an empty one for each period nobody came.
    pub fn advance(&mut self, now: u64) {
        let periods = now.saturating_sub(self.opened) / self.period;
        if periods == 0 {
            return;
        }
        for _ in 0..periods.min(self.count as u64 + 1) {
            self.close_current();
        }
        self.opened += periods * self.period;
    }

    pub fn record(&mut self, now: u64, object: ObjectId) {
        self.advance(now);
        if self.current.as_ref().is_some_and(|set| set.inserted >= HIT_SET_OBJECTS_MAX) {
            self.close_current();
            self.opened = now;
        }
        if let Some(set) = &mut self.current {
            set.insert(object);
        }
    }

    /// Whether the object is in the current set and in the `recency - 1` newest archived ones, in all of them. A recency of 0 is
    /// always met.
    pub fn is_recent(&mut self, now: u64, object: ObjectId, recency: u32) -> bool {
        self.advance(now);
        let mut sets = self.current.iter().chain(&self.archived);
        (0..recency).all(|_| sets.next().is_some_and(|set| set.contains(object)))
    }

    /// Takes back what was saved before a restart, of which nothing is known yet: sets of another kind than the pool's now are of no use.
    /// The time until then did not pass for the sets, in which nobody could come.
    pub fn restore(&mut self, now: u64, saved: Vec<SavedHitSet>) {
        let Some(newest) = saved.iter().map(SavedHitSet::number).max() else { return };
        self.number = self.number.max(newest + 1);
        let mut sets: Vec<SavedHitSet> = saved.into_iter().filter(|saved| saved.set.kind() == self.kind).collect();
        // What was saved of a set that was closed since is older than the closed set.
        sets.sort_by_key(|saved| (std::cmp::Reverse(saved.set.number), saved.open_for.is_some()));
        sets.dedup_by_key(|saved| saved.set.number);
        let is_open = sets.first().is_some_and(SavedHitSet::is_open);
        let mut sets = sets.into_iter();
        if is_open && let Some(current) = sets.next() {
            self.opened = now.saturating_sub(current.open_for.unwrap_or(0).min(self.period - 1));
            self.current = Some(current.set);
        } else {
            self.opened = now;
            self.current = self.fresh();
        }
        self.archived = sets.filter(|saved| saved.open_for.is_none()).map(|saved| saved.set).take(self.count).collect();
    }

    /// What is there to be saved, as of `now`.
    pub fn inventory(&mut self, now: u64) -> HitSetInventory {
        self.advance(now);
        HitSetInventory {
            period: self.period,
            closed: self.archived.iter().map(|set| set.number).collect(),
            current: self.current.as_ref().map(|set| (set.number, set.inserted as u64)),
        }
    }

    /// One of the sets in the [inventory](HitSets::inventory).
    pub fn saved(&self, now: u64, number: u64) -> Option<SavedHitSet> {
        if let Some(current) = self.current.as_ref().filter(|set| set.number == number) {
            return Some(SavedHitSet { set: current.clone(), open_for: Some(now.saturating_sub(self.opened)) });
        }
        let closed = self.archived.iter().find(|set| set.number == number)?;
        Some(SavedHitSet { set: closed.clone(), open_for: None })
    }

    /// How often and how lately the object was accessed: 1 for the current period, less for each searched one before it.
    pub fn temperature(&self, object: ObjectId) -> f64 {
        let mut weight = 1.0;
        let mut temperature = 0.0;
        for set in self.current.iter().chain(self.archived.iter().take(self.search_last)) {
            if set.contains(object) {
                temperature += weight;
            }
            weight *= self.decay;
        }
        temperature
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::SECOND;

    fn sets(kind: HitSetType) -> HitSets {
        HitSets::new(0, &PoolSettings { hit_set_type: kind, hit_set_period: 10 * SECOND, ..PoolSettings::default() })
    }

    #[test]
    fn recency_asks_for_an_unbroken_run_of_sets() {
        for kind in [HitSetType::Bloom, HitSetType::ExplicitHash, HitSetType::ExplicitObject] {
            let mut sets = sets(kind);
            assert!(sets.is_recent(0, 7, 0));
            assert!(!sets.is_recent(0, 7, 1));
            sets.record(SECOND, 7);
            assert!(sets.is_recent(SECOND, 7, 1) && !sets.is_recent(SECOND, 7, 2));
            sets.record(11 * SECOND, 7);
            assert!(sets.is_recent(11 * SECOND, 7, 2));
            assert!(!sets.is_recent(21 * SECOND, 7, 1), "the period without an access breaks the run");
            assert!(sets.temperature(7) > 0.7 && sets.temperature(7) < 0.9, "{}", sets.temperature(7));
            assert!(!sets.is_recent(1000 * SECOND, 7, 1));
            assert_eq!(sets.temperature(7), 0.0, "{kind}: forgotten after so many empty periods");
        }
    }

    #[test]
    fn changed_settings_count_at_once_and_what_is_known_stays() {
        let settings = PoolSettings { hit_set_period: 1000 * SECOND, ..PoolSettings::default() };
        let mut sets = HitSets::new(0, &settings);
        sets.record(0, 7);
        sets.configure(900 * SECOND, &settings);
        assert!(sets.is_recent(900 * SECOND, 7, 1), "nothing has changed");
        let shorter = PoolSettings { hit_set_period: 10 * SECOND, ..settings.clone() };
        sets.configure(900 * SECOND, &shorter);
        assert!(!sets.is_recent(900 * SECOND, 7, 1));
        assert!((sets.temperature(7) - 0.8).abs() < 1e-9, "its set was open too long, and is the one before this");
        sets.record(901 * SECOND, 8);
        let other = PoolSettings { hit_set_fpp: 0.5, ..shorter };
        sets.configure(902 * SECOND, &other);
        assert!((sets.temperature(8) - 0.8).abs() < 1e-9, "a filter can't change its size");
        assert!(sets.is_recent(911 * SECOND, 8, 0) && !sets.is_recent(911 * SECOND, 8, 1));
        assert!((sets.temperature(8) - 0.8).abs() < 1e-9, "the period began with the new set");
        let none_kept = PoolSettings { hit_set_count: 0, hit_set_search_last_n: 0, ..other.clone() };
        sets.configure(911 * SECOND, &none_kept);
        sets.configure(911 * SECOND, &other);
        assert_eq!(sets.temperature(8), 0.0);
    }

    #[test]
    fn without_hit_sets_nothing_is_recent() {
        let mut sets = sets(HitSetType::None);
        sets.record(0, 7);
        assert!(!sets.is_recent(0, 7, 1) && sets.is_recent(0, 7, 0));
    }

    #[test]
    fn a_full_bloom_filter_keeps_its_false_positive_rate() {
        let mut sets = sets(HitSetType::Bloom);
        for object in 0..HIT_SET_OBJECTS_MAX as u64 {
            sets.record(0, object);
        }
        assert!((0..HIT_SET_OBJECTS_MAX as u64).all(|object| sets.is_recent(0, object, 1)), "no false negatives");
        let probes = 200_000_u64;
        let wrong = (1_000_000..1_000_000 + probes).filter(|&object| sets.is_recent(0, object, 1)).count();
        assert!((wrong as f64) < 1.3 * 0.01 * probes as f64, "{wrong} of {probes} where 1 % is promised");
    }

    #[test]
    fn a_closed_filter_has_the_size_of_what_is_in_it_and_stays_as_right() {
        let settings = PoolSettings { hit_set_count: 1, hit_set_period: 10 * SECOND, ..PoolSettings::default() };
        for objects in [0, 1, 200, 1000, 40_000] {
            let mut sets = HitSets::new(0, &settings);
            (0..objects).for_each(|object| sets.record(0, object));
            let open = sets.saved(0, 1).expect("the open set").encode(1).len();
            sets.advance(10 * SECOND);
            let closed = sets.saved(0, 1).expect("the closed set").encode(1).len();
            // At 0.025 a set, a bit less than a byte an object; at least for 256, and at most twice as many as there are.
            assert!(closed <= 500 + 2 * objects as usize && closed <= open, "{closed} bytes for {objects} objects");
            assert!((0..objects).all(|object| sets.temperature(object) > 0.7), "no false negatives");
            let probes = 100_000;
            let wrong = (1_000_000..1_000_000 + probes).filter(|&object| sets.temperature(object) > 0.0).count();
            assert!(wrong as f64 <= 1.2 * 0.025 * probes as f64, "{wrong} of {probes} where 2.5 % is promised");
        }
    }

    #[test]
    fn a_full_set_is_closed_before_its_period_ends() {
        let mut sets = sets(HitSetType::ExplicitObject);
        for object in 0..=HIT_SET_OBJECTS_MAX as u64 {
            sets.record(0, object);
        }
        assert!(!sets.is_recent(0, 0, 1));
        assert!(sets.is_recent(0, HIT_SET_OBJECTS_MAX as u64, 1));
        assert!((sets.temperature(0) - 0.8).abs() < 1e-9);
    }
}
