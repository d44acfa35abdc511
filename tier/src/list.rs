//! Doubly linked lists through the objects themselves, so that an object may leave from the middle without a search.

use crate::objects::Objects;

/// "No object" as an index.
pub const NONE: u32 = u32::MAX;

/// Which of an object's two pairs of links a list uses.
pub const DIRTY: usize = 0;
pub const CLEAN: usize = 1;

#[derive(Clone, Copy, Debug)]
pub struct Links {
    pub previous: u32,
    pub next: u32,
}

impl Links {
    pub const UNLINKED: Links = Links { previous: NONE, next: NONE };
}

/// The ends of a list. The owner knows which objects are on it.
#[derive(Clone, Debug)]
pub struct List<const WHICH: usize> {
    head: u32,
    tail: u32,
    len: usize,
}

impl<const WHICH: usize> List<WHICH> {
    pub const fn new() -> Self {
        List { head: NONE, tail: NONE, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn head(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub fn next(&self, objects: &Objects, index: u32) -> Option<u32> {
        let next = objects[index].links[WHICH].next;
        (next != NONE).then_some(next)
    }

    pub fn push_tail(&mut self, objects: &mut Objects, index: u32) {
        self.insert_before(objects, index, NONE);
    }

    /// Inserts before `next`, or at the tail where that is [`NONE`].
    pub fn insert_before(&mut self, objects: &mut Objects, index: u32, next: u32) {
        let previous = if next == NONE { self.tail } else { objects[next].links[WHICH].previous };
        objects[index].links[WHICH] = Links { previous, next };
        match previous {
            NONE => self.head = index,
            _ => objects[previous].links[WHICH].next = index,
        }
        match next {
            NONE => self.tail = index,
            _ => objects[next].links[WHICH].previous = index,
        }
        self.len += 1;
    }

    pub fn remove(&mut self, objects: &mut Objects, index: u32) {
        let Links { previous, next } = objects[index].links[WHICH];
        match previous {
            NONE => self.head = next,
            _ => objects[previous].links[WHICH].next = next,
        }
        match next {
            NONE => self.tail = previous,
            _ => objects[next].links[WHICH].previous = previous,
        }
        objects[index].links[WHICH] = Links::UNLINKED;
        self.len -= 1;
    }

    pub fn move_to_tail(&mut self, objects: &mut Objects, index: u32) {
        if self.tail != index {
            self.remove(objects, index);
            self.push_tail(objects, index);
        }
    }
}
