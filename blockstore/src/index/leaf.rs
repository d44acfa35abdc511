//! A leaf's entries in memory: sorted offsets into a heap of encoded entries. Encoded, an entry is `key length u16, value length u32,
//! key, value`; the same bytes go to disk, in key order.

use super::heads::Heads;
use crate::encoding::{Put, Reader};
use crate::limits::{KEY_BYTES_MAX, NODE_ENTRY_HEADER_BYTES, VALUE_BYTES_MAX};

#[derive(Clone, Default)]
pub(crate) struct Leaf {
    /// Where each entry begins in the heap, in key order.
    slots: Vec<u32>,
    heads: Heads,
    heap: Vec<u8>,
    /// Bytes of the heap that no slot refers to.
    garbage: usize,
}

impl Leaf {
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes of all entries, encoded.
    pub fn bytes(&self) -> usize {
        self.heap.len() - self.garbage
    }

    /// What it takes in memory.
    pub fn memory_bytes(&self) -> usize {
        self.heap.capacity() + self.slots.capacity() * size_of::<u32>() + self.heads.memory_bytes()
    }

    /// Gives back what it does not need until it grows again.
    pub fn shrink_to_fit(&mut self) {
        self.heap.shrink_to_fit();
        self.slots.shrink_to_fit();
        self.heads.shrink_to_fit();
    }

    pub fn entry(&self, index: usize) -> (&[u8], &[u8]) {
        entry_at(&self.heap, self.slots[index])
    }

    fn key(&self, index: usize) -> &[u8] {
        self.entry(index).0
    }

    fn entry_bytes(&self, index: usize) -> usize {
        let (key, value) = self.entry(index);
        NODE_ENTRY_HEADER_BYTES + key.len() + value.len()
    }

    /// Where `key` is, or would be.
    pub fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.heads.find(key, |index| self.key(index))
    }

    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.find(key).ok().map(|index| self.entry(index).1)
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        assert!(key.len() <= KEY_BYTES_MAX && value.len() <= VALUE_BYTES_MAX, "limits are checked before");
        match self.find(key) {
            Ok(index) => {
                let at = self.slots[index] as usize + NODE_ENTRY_HEADER_BYTES + key.len();
                let old = self.entry(index).1.len();
                if old == value.len() {
                    self.heap[at..at + old].copy_from_slice(value);
                    return;
                }
                self.garbage += NODE_ENTRY_HEADER_BYTES + key.len() + old;
                self.slots[index] = self.append(key, value);
            }
            Err(index) => {
                let Leaf { heads, slots, heap, .. } = self;
                heads.insert(index, key, |index| entry_at(heap, slots[index]).0);
                let slot = self.append(key, value);
                self.slots.insert(index, slot);
            }
        }
        self.tidy();
    }

    fn append(&mut self, key: &[u8], value: &[u8]) -> u32 {
        let at = self.heap.len() as u32;
        let length = NODE_ENTRY_HEADER_BYTES + key.len() + value.len();
        if self.heap.capacity() - self.heap.len() < length {
            // Not to double it: thousands of leaves would take twice what is in them.
            self.heap.reserve_exact(length.max(self.heap.len() / 8));
        }
        self.heap.put_u16(key.len() as u16);
        self.heap.put_u32(value.len() as u32);
        self.heap.put(key);
        self.heap.put(value);
        at
    }

    /// Whether there was such a key.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        let Ok(index) = self.find(key) else { return false };
        self.garbage += self.entry_bytes(index);
        self.slots.remove(index);
        self.heads.remove(index);
        self.tidy();
        true
    }

    fn tidy(&mut self) {
        if self.garbage > 4096 && self.garbage > self.heap.len() / 2 {
            *self = self.range(0, self.len());
        }
    }

    fn range(&self, from: usize, to: usize) -> Leaf {
        let bytes = (from..to).map(|index| self.entry_bytes(index)).sum();
        let mut leaf = Leaf {
            slots: Vec::with_capacity(to - from),
            heads: Heads::of((from..to).map(|index| self.key(index))),
            heap: Vec::with_capacity(bytes),
            garbage: 0,
        };
        for index in from..to {
            let (key, value) = self.entry(index);
            let slot = leaf.append(key, value);
            leaf.slots.push(slot);
        }
        leaf
    }

    /// Moves the upper part out. A leaf that grew at its end is cut there, so that ascending keys leave full leaves behind.
    pub fn split(&mut self, grew_at_end: bool) -> Leaf {
        assert!(self.len() >= 2);
        let target = if grew_at_end { self.bytes() * 9 / 10 } else { self.bytes() / 2 };
        let mut bytes = 0;
        let mut at = 0;
        while at < self.len() - 1 && (at == 0 || bytes < target) {
            bytes += self.entry_bytes(at);
            at += 1;
        }
        let upper = self.range(at, self.len());
        *self = self.range(0, at);
        upper
    }

    /// Takes over all entries of the leaf to the right.
    pub fn absorb(&mut self, right: &Leaf) {
        for index in 0..right.len() {
            let (key, value) = right.entry(index);
            let slot = self.append(key, value);
            self.slots.push(slot);
        }
        self.heads = Heads::of((0..self.len()).map(|index| self.key(index)));
    }

    pub fn encode(&self, bytes: &mut Vec<u8>) {
        for index in 0..self.len() {
            let (key, value) = self.entry(index);
            bytes.put_u16(key.len() as u16);
            bytes.put_u32(value.len() as u32);
            bytes.put(key);
            bytes.put(value);
        }
    }

    /// `None` if the bytes are not `count` entries in ascending order.
    pub fn decode(bytes: &[u8], count: usize) -> Option<Leaf> {
        let mut reader = Reader::new(bytes);
        let mut slots = Vec::with_capacity(count.min(bytes.len() / NODE_ENTRY_HEADER_BYTES));
        let mut last: Option<&[u8]> = None;
        for _ in 0..count {
            slots.push((bytes.len() - reader.remaining()) as u32);
            let key_len = usize::from(reader.u16()?);
            let value_len = reader.u32()? as usize;
            if key_len > KEY_BYTES_MAX || value_len > VALUE_BYTES_MAX {
                return None;
            }
            let key = reader.bytes(key_len)?;
            reader.bytes(value_len)?;
            if last.is_some_and(|last| last >= key) {
                return None;
            }
            last = Some(key);
        }
        let heads = Heads::of(slots.iter().map(|slot| entry_at(bytes, *slot).0));
        reader.is_empty().then(|| Leaf { slots, heads, heap: bytes.to_vec(), garbage: 0 })
    }
}

fn entry_at(heap: &[u8], offset: u32) -> (&[u8], &[u8]) {
    let entry = &heap[offset as usize..];
    let key_len = usize::from(u16::from_le_bytes([entry[0], entry[1]]));
    let value_len = u32::from_le_bytes([entry[2], entry[3], entry[4], entry[5]]) as usize;
    let value_at = NODE_ENTRY_HEADER_BYTES + key_len;
    (&entry[NODE_ENTRY_HEADER_BYTES..value_at], &entry[value_at..value_at + value_len])
}
