//! What is due when: entries ordered by time, those of the same time in the order they were made.

use std::collections::BTreeMap;

/// Names an entry; stale once it is due or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerKey {
    pub(crate) due: u64,
    sequence: u64,
}

pub(crate) struct Timers<T> {
    entries: BTreeMap<TimerKey, T>,
    next_sequence: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Timers<T> {
        Timers { entries: BTreeMap::new(), next_sequence: 0 }
    }

    pub(crate) fn insert(&mut self, due: u64, entry: T) -> TimerKey {
        let key = TimerKey { due, sequence: self.next_sequence };
        self.next_sequence += 1;
        self.entries.insert(key, entry);
        key
    }

    pub(crate) fn get_mut(&mut self, key: TimerKey) -> Option<&mut T> {
        self.entries.get_mut(&key)
    }

    pub(crate) fn remove(&mut self, key: TimerKey) -> Option<T> {
        self.entries.remove(&key)
    }

    pub(crate) fn next_due(&self) -> Option<u64> {
        self.entries.first_key_value().map(|(key, _)| key.due)
    }

    /// The first entry, if it is due by `now`.
    pub(crate) fn pop_due(&mut self, now: u64) -> Option<(TimerKey, T)> {
        if self.next_due()? > now {
            return None;
        }
        self.entries.pop_first()
    }

    /// Takes every entry out.
    pub(crate) fn take_all(&mut self) -> Vec<T> {
        std::mem::take(&mut self.entries).into_values().collect()
    }
}
