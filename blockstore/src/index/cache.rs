//! Which clean leaves stay in memory: second chance (CLOCK) over all that are there, within a budget of bytes. Dirty nodes and inner
//! ones are not its business: the former wait for a checkpoint, the latter are few.

use super::node::Child;
use std::collections::VecDeque;
use std::rc::Rc;

pub(crate) struct Cache {
    budget: usize,
    bytes: usize,
    queue: VecDeque<Rc<Child>>,
    /// Of those in the queue: how many were forgotten since they came.
    forgotten: usize,
}

impl Cache {
    pub fn new(budget: usize) -> Cache {
        Cache { budget, bytes: 0, queue: VecDeque::new(), forgotten: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A leaf that has its pointer and its node.
    pub fn insert(&mut self, child: &Rc<Child>) {
        if child.cached_bytes.get() > 0 {
            return;
        }
        let Some(bytes) = child.node.borrow().as_ref().map(|node| node.memory_bytes()) else { return };
        child.cached_bytes.set(bytes);
        self.bytes += bytes;
        self.queue.push_back(child.clone());
    }

    /// The leaf was replaced by a newer one: its memory is not the cache's any more.
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

    /// Drops leaves until the budget is kept.
    pub fn shrink(&mut self) {
        let mut looked = 0;
        while self.bytes > self.budget && looked < 2 * self.queue.len() + 1 {
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
