//! The first bytes in which sorted keys differ, side by side, so that a search reads a few cache lines of numbers and compares one key whole or
//! none. Keys of a node share their beginning (kind, object, pool), which is left out.
//!
//! A search begins where the key would be if all were spread evenly, as blocks of an object and versions of a log are: what costs most is to fetch a
//! node that other nodes have driven out of the processor's caches since, and halving a list fetches five of its cache lines, one after the other.

use smallvec::SmallVec;
use std::cmp::Ordering;

/// Belongs to a list of keys in ascending order, without two alike; every change of the list is a change here.
#[derive(Clone, Default)]
pub(super) struct Heads {
    /// What all keys begin with. Kept here, since a key of the node lies in memory that a search may not need otherwise.
    shared: SmallVec<[u8; 24]>,
    /// The next eight of each, as a number; zeros where the key ends.
    heads: Vec<u64>,
    /// The first and the last of them, where a search has to look in any case.
    ends: (u64, u64),
}

/// Shorter lists are halved.
const GUESSED_FROM: usize = 16;

impl Heads {
    pub fn of<'a>(keys: impl DoubleEndedIterator<Item = &'a [u8]> + Clone) -> Heads {
        // What the first and the last begin with is what all between them do.
        let shared = match (keys.clone().next(), keys.clone().next_back()) {
            (Some(first), Some(last)) => &first[..shared_bytes(first, last)],
            _ => &[],
        };
        let heads = keys.map(|key| head(key, shared.len())).collect();
        let mut heads = Heads { shared: shared.into(), heads, ends: (0, 0) };
        heads.note_ends();
        heads
    }

    /// Where `key` is, or would be.
    pub fn find<'a>(&self, key: &[u8], key_at: impl Fn(usize) -> &'a [u8]) -> Result<usize, usize> {
        if self.heads.is_empty() {
            return Err(0);
        }
        let shared = self.shared.len();
        let common = shared.min(key.len());
        match key[..common].cmp(&self.shared[..common]) {
            Ordering::Less => return Err(0),
            Ordering::Greater => return Err(self.heads.len()),
            // A part of what all begin with comes before them.
            Ordering::Equal if common < shared => return Err(0),
            Ordering::Equal => {}
        }
        let wanted = head(key, shared);
        let mut from = self.first_not_below(wanted);
        // Most often there is one like it at the most.
        let mut to = match &self.heads[from..] {
            [first, second, ..] if *first == wanted && *second == wanted => {
                from + self.heads[from..].partition_point(|head| *head == wanted)
            }
            [first, ..] if *first == wanted => from + 1,
            _ => return Err(from),
        };
        while from < to {
            let middle = from + (to - from) / 2;
            match key_at(middle)[shared..].cmp(&key[shared..]) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return Ok(middle),
                Ordering::Greater => to = middle,
            }
        }
        Err(from)
    }

    /// The index of the first head that is not below `wanted`.
    fn first_not_below(&self, wanted: u64) -> usize {
        let heads = &self.heads[..];
        if heads.len() < GUESSED_FROM {
            return heads.partition_point(|head| *head < wanted);
        }
        let (low, high) = self.ends;
        if wanted <= low {
            return 0;
        }
        if wanted > high {
            return heads.len();
        }
        let last = heads.len() - 1;
        let guess = ((wanted - low) as f64 / (high - low) as f64 * last as f64) as usize;
        let guess = guess.min(last);
        let mut step = 1;
        // The answer is in `from..=to`, and gets closer to the guess by steps that double.
        let (from, to) = if heads[guess] < wanted {
            let mut from = guess + 1;
            while from + step < last && heads[from + step] < wanted {
                from += step + 1;
                step *= 2;
            }
            (from, (from + step).min(last))
        } else {
            let mut to = guess;
            while to > step && heads[to - step] >= wanted {
                to -= step;
                step *= 2;
            }
            (to.saturating_sub(step), to)
        };
        from + heads[from..to].partition_point(|head| *head < wanted)
    }

    fn note_ends(&mut self) {
        self.ends = match &self.heads[..] {
            [] => (0, 0),
            [only] => (*only, *only),
            [first, .., last] => (*first, *last),
        };
    }

    /// `key` comes to stand at `index`; `key_at` has the keys as they were before.
    pub fn insert<'a>(&mut self, index: usize, key: &[u8], key_at: impl Fn(usize) -> &'a [u8]) {
        let shared = match self.heads.len() {
            0 => key.len(),
            _ => shared_bytes(key, &self.shared),
        };
        if self.heads.is_empty() {
            self.shared = key.into();
        } else if shared < self.shared.len() {
            for (index, head_of_it) in self.heads.iter_mut().enumerate() {
                *head_of_it = head(key_at(index), shared);
            }
            self.shared.truncate(shared);
        }
        self.heads.insert(index, head(key, shared));
        self.note_ends();
    }

    pub fn remove(&mut self, index: usize) {
        self.heads.remove(index);
        self.note_ends();
    }

    pub fn memory_bytes(&self) -> usize {
        let spilled = if self.shared.spilled() { self.shared.capacity() } else { 0 };
        self.heads.capacity() * size_of::<u64>() + spilled
    }

    pub fn shrink_to_fit(&mut self) {
        self.heads.shrink_to_fit();
        self.shared.shrink_to_fit();
    }
}

fn shared_bytes(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

fn head(key: &[u8], shared: usize) -> u64 {
    let rest = &key[shared..];
    match rest.first_chunk() {
        Some(head) => u64::from_be_bytes(*head),
        None => {
            let mut head = [0; 8];
            head[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(head)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Few different bytes, zeros among them, so that keys share beginnings, are beginnings of others, and differ in where they end only.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        (proptest::collection::vec(0u8..2, 0..20), 0usize..12).prop_map(|(bytes, same)| [vec![7; same], bytes].concat())
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_comparison_of_whole_keys_finds(
            steps in proptest::collection::vec((key(), any::<bool>()), 1..200),
            wanted in proptest::collection::vec(key(), 20),
        ) {
            let mut keys: Vec<Vec<u8>> = Vec::new();
            let mut heads = Heads::default();
            for (key, inserts) in steps {
                match keys.binary_search(&key) {
                    Err(index) if inserts => {
                        heads.insert(index, &key, |index| &keys[index]);
                        keys.insert(index, key);
                    }
                    Ok(index) if !inserts => {
                        heads.remove(index);
                        keys.remove(index);
                    }
                    _ => {}
                }
                for key in keys.iter().chain(&wanted) {
                    prop_assert_eq!(heads.find(key, |index| &keys[index]), keys.binary_search(key));
                }
            }
            let built = Heads::of(keys.iter().map(Vec::as_slice));
            for key in keys.iter().chain(&wanted) {
                prop_assert_eq!(built.find(key, |index| &keys[index]), keys.binary_search(key));
            }
        }
    }
}
