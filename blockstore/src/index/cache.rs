//! Which clean nodes stay in memory: second chance (CLOCK) over all that could be dropped. Dirty ones are not its business, nor those two
//! levels and more above the leaves, which are few. A lookup touches the whole path to its leaf, so a node above leaves outlives them.
//!
//! A node may be dropped while nodes below it are in memory. Those are out of reach then, and go when their turn comes; whoever
//! looks for them loads them anew.

use super::node::Child;
use std::collections::VecDeque;
use std::rc::Rc;

#[derive(Default)]
pub(crate) struct Cache {
    bytes: usize,
    queue: VecDeque<Rc<Child>>,
    /// Of those in the queue: how many were forgotten since they came.
    forgotten: usize,
}

impl Cache {
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A node that has its pointer, and is as it is on disk.
    pub fn insert(&mut self, child: &Rc<Child>) {
        if child.cached_bytes.get() > 0 {
            return;
        }
        let Some(bytes) = child.node.borrow().as_ref().map(|node| node.memory_bytes()) else { return };
        child.cached_bytes.set(bytes);
        self.bytes += bytes;
        self.queue.push_back(child.clone());
    }

    /// The node was replaced by a newer one: its memory is not the cache's any more.
    pub fn forget(&mut self, child: &Child) {
        let bytes = child.cached_bytes.take();
        if bytes > 0 {
            self.bytes -= bytes;
            self.forgotten += 1;
        }
        if self.forgotten > 1024 && self.forgotten > self.queue.len() / 2 {
            self.queue.retain(|child| child.cached_bytes.get() > 0);
            self.forgotten = 0;
        }
    }

    /// Drops nodes until there are no more than `budget` bytes of them.
    pub fn shrink(&mut self, budget: usize) {
        let mut looked = 0;
        while self.bytes > budget && looked < 2 * self.queue.len() + 1 {
            let Some(child) = self.queue.pop_front() else { return };
            if child.cached_bytes.get() == 0 {
                self.forgotten = self.forgotten.saturating_sub(1);
                continue;
            }
            if child.referenced.replace(false) {
                looked += 1;
                self.queue.push_back(child);
                continue;
            }
            self.bytes -= child.cached_bytes.take();
            child.node.borrow_mut().take();
        }
    }
}
