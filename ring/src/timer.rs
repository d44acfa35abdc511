//! What is due when: entries ordered by time, those of the same time in the order they were made. A binary heap of places in a slab, each of
//! which knows where in the heap it is: so that what comes and goes all the time allocates nothing.

use slab::Slab;

/// Names an entry; stale once it is due or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    pub(crate) due: u64,
    sequence: u64,
    place: usize,
}

pub(crate) struct Timers<T> {
    /// Places of entries; the earliest first, and none before the one above it.
    heap: Vec<usize>,
    entries: Slab<Entry<T>>,
    next_sequence: u64,
}

struct Entry<T> {
    due: u64,
    sequence: u64,
    /// Index in the heap.
    at: usize,
    value: T,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers { heap: Vec::new(), entries: Slab::new(), next_sequence: 0 }
    }

    pub(crate) fn insert(&mut self, due: u64, value: T) -> TimerKey {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let at = self.heap.len();
        let place = self.entries.insert(Entry { due, sequence, at, value });
        self.heap.push(place);
        self.rise(at);
        TimerKey { due, sequence, place }
    }

    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.place).filter(|entry| entry.sequence == key.sequence);
        entry.map(|entry| &mut entry.value)
    }

    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<T> {
        let at = self.entries.get(key.place).filter(|entry| entry.sequence == key.sequence)?.at;
        Some(self.take(at).1)
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.heap.first().map(|place| self.entries[*place].due)
    }

    /// The first entry, if it is due by `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(TimerKey, T)> {
        if self.next_due()? > now {
            return None;
        }
        Some(self.take(0))
    }

    /// Takes every entry out, the earliest first.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.pop_due(u64::MAX)).map(|(_, value)| value).collect()
    }

    /// Takes out what is at an index of the heap; the last comes to stand there, and goes where it belongs.
    fn take(&mut self, at: usize) -> (TimerKey, T) {
        let place = self.heap.swap_remove(at);
        if at < self.heap.len() {
            self.entries[self.heap[at]].at = at;
            self.rise(at);
            self.sink(at);
        }
        let Entry { due, sequence, value, .. } = self.entries.remove(place);
        (TimerKey { due, sequence, place }, value)
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        let order = |at: usize| {
            let entry = &self.entries[self.heap[at]];
            (entry.due, entry.sequence)
        };
        order(one) < order(other)
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.heap.swap(one, other);
        self.entries[self.heap[one]].at = one;
        self.entries[self.heap[other]].at = other;
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 && self.is_before(at, (at - 1) / 2) {
            self.swap(at, (at - 1) / 2);
            at = (at - 1) / 2;
        }
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let below = [2 * at + 1, 2 * at + 2].into_iter().filter(|below| *below < self.heap.len());
            let first = below.reduce(|left, right| if self.is_before(right, left) { right } else { left });
            match first {
                Some(first) if self.is_before(first, at) => {
                    self.swap(first, at);
                    at = first;
                }
                _ => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn entries_come_in_the_order_of_time_and_of_their_making(
            steps in proptest::collection::vec((0u8..5, 0u64..20, any::<prop::sample::Index>()), 1..300),
        ) {
            let mut timers = Timers::new();
            let mut model = BTreeMap::new();
            let mut keys = Vec::new();
            for (number, (what, due, which)) in steps.into_iter().enumerate() {
                match what {
                    0 | 1 => {
                        let key = timers.insert(due, number);
                        model.insert((due, number), key);
                        keys.push((due, number, key));
                    }
                    2 if !keys.is_empty() => {
                        // It may be gone, and another in its place.
                        let (due, number, key) = keys[which.index(keys.len())];
                        prop_assert_eq!(timers.remove(key), model.remove(&(due, number)).map(|_| number));
                    }
                    3 if !keys.is_empty() => {
                        let (due, number, key) = keys[which.index(keys.len())];
                        let known = model.contains_key(&(due, number)).then_some(number);
                        prop_assert_eq!(timers.get_mut(key).copied(), known);
                    }
                    _ => {
                        let first = model.first_key_value().map(|(order, _)| *order).filter(|(at, _)| *at <= due);
                        let expected = first.and_then(|order| Some((model.remove(&order)?, order.1)));
                        prop_assert_eq!(timers.pop_due(due), expected);
                    }
                }
                prop_assert_eq!(timers.next_due(), model.first_key_value().map(|((due, _), _)| *due));
            }
            let left: Vec<usize> = model.into_keys().map(|(_, number)| number).collect();
            prop_assert_eq!(timers.take_all(), left);
        }
    }
}
