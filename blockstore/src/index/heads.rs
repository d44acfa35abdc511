//! The first bytes in which sorted keys differ, side by side, so that a search reads a few cache lines of numbers and compares one key whole or
//! none. Keys of a node share their beginning (kind, object, pool), which is left out.

use smallvec::SmallVec;
use std::cmp::Ordering;

/// Belongs to a list of keys in ascending order, without two alike; every change of the list is a change here.
#[derive(Clone, Default)]
pub(super) struct Heads {
    /// What all keys begin with. Kept here, since a key of the node lies in memory that a search may not need otherwise.
    shared: SmallVec<[u8; 24]>,
    /// The next eight of each, as a number; zeros where the key ends.
    heads: Vec<u64>,
}

impl Heads {
    pub fn of<'a>(keys: impl DoubleEndedIterator<Item = &'a [u8]> + Clone) -> Heads {
        // What the first and the last begin with is what all between them do.
        let shared = match (keys.clone().next(), keys.clone().next_back()) {
            (Some(first), Some(last)) => &first[..shared_bytes(first, last)],
            _ => &[],
        };
        Heads { shared: shared.into(), heads: keys.map(|key| head(key, shared.len())).collect() }
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
        let mut from = self.heads.partition_point(|head| *head < wanted);
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
    }

    pub fn remove(&mut self, index: usize) {
        self.heads.remove(index);
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
