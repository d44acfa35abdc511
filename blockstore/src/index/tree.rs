//! The tree. Every function here is synchronous and needs the nodes it passes in memory: what is not there comes back as [`Missing`],
//! to be loaded and tried again, and nothing is changed until all is there.
//!
//! Copy on write by generation: a node belongs to the checkpoint that will write it. Changing one of an older generation first copies it
//! (or moves it, when no checkpoint is writing it) and frees its blocks; so [`Tree::freeze`] costs no more than collecting the nodes of
//! the current generation, and the tree goes on changing while they are written.

use super::cache::Cache;
use super::leaf::Leaf;
use super::node::{Body, Child, Inner, Node, NodePointer, Sibling};
use crate::allocator::Run;
use crate::limits::{DIRTY_NODE_BYTES_MAX, DIRTY_NODE_BYTES_MIN, DIRTY_NODE_SHARE, NODE_BYTES, TREE_LEVELS_MAX};
use smallvec::SmallVec;
use std::cmp::Reverse;
use std::rc::Rc;

/// A node that has to be loaded first.
pub(crate) struct Missing(pub Rc<Child>);

/// The nodes that a checkpoint has to write, children before parents.
pub(crate) struct Frozen {
    pub nodes: Vec<(Rc<Child>, Rc<Node>)>,
    pub root: Rc<Child>,
    pub generation: u64,
}

pub(crate) struct Tree {
    root: Rc<Child>,
    generation: u64,
    dirty_nodes: usize,
    /// Values of dirty nodes that are larger than a usual node, as so many usual nodes. Never too few.
    dirty_large: usize,
    /// Blocks of nodes that were replaced; the owner hands them to the allocator.
    freed: Vec<Run>,
    /// Blocks of the nodes that have a place on disk, less those that were replaced.
    disk_blocks: u64,
    cache: Cache,
    /// Bytes of nodes in memory: clean ones, dirty ones, and those that a checkpoint is writing.
    budget: usize,
    /// Nodes of the usual size that a checkpoint is writing.
    frozen_nodes: usize,
}

impl Tree {
    #[cfg(any(test, feature = "layers"))]
    pub fn new(generation: u64, budget: usize) -> Tree {
        let root = Child::in_memory(Node::empty_leaf(generation));
        Tree { root, dirty_nodes: 1, ..Tree::open(NodePointer::default(), generation, 0, budget) }
    }

    /// The tree whose root the checkpoint of generation `generation - 1` wrote, in so many blocks.
    pub fn open(root: NodePointer, generation: u64, disk_blocks: u64, budget: usize) -> Tree {
        Tree {
            root: Child::on_disk(root),
            generation,
            dirty_nodes: 0,
            dirty_large: 0,
            freed: Vec::new(),
            disk_blocks,
            cache: Cache::default(),
            budget,
            frozen_nodes: 0,
        }
    }

    pub fn root(&self) -> Rc<Child> {
        self.root.clone()
    }

    pub fn take_freed(&mut self) -> Vec<Run> {
        std::mem::take(&mut self.freed)
    }

    /// How many nodes of the usual size a checkpoint would write now.
    pub fn dirty_nodes(&self) -> u64 {
        (self.dirty_nodes + self.dirty_large) as u64
    }

    pub fn set_budget(&mut self, bytes: usize) {
        self.budget = bytes;
        self.shrink_cache();
    }

    /// A checkpoint gives a node a place.
    pub fn place(&mut self, child: &Child, pointer: NodePointer) {
        self.disk_blocks += u64::from(pointer.blocks);
        child.pointer.set(Some(pointer));
    }

    pub fn disk_blocks(&self) -> u64 {
        self.disk_blocks
    }

    /// Whether a checkpoint should write what is dirty, to make it clean. The larger this share of the budget is, the more changes a node
    /// takes before it is written, and the less room there is for clean nodes.
    pub fn is_dirty_enough(&self) -> bool {
        self.dirty_nodes() as usize * NODE_BYTES > self.dirty_bytes_limit()
    }

    /// Whether there is so much that transactions must wait for the checkpoint that is being written.
    pub fn is_too_dirty(&self) -> bool {
        self.dirty_nodes() as usize * NODE_BYTES > 2 * self.dirty_bytes_limit()
    }

    fn dirty_bytes_limit(&self) -> usize {
        (self.budget / DIRTY_NODE_SHARE).clamp(DIRTY_NODE_BYTES_MIN, DIRTY_NODE_BYTES_MAX)
    }

    /// What the nodes take that wait for a checkpoint, or that one is writing.
    pub fn dirty_bytes(&self) -> usize {
        (self.dirty_nodes() as usize + self.frozen_nodes) * NODE_BYTES
    }

    /// What the clean nodes take that stay in memory whatever the budget.
    pub fn pinned_bytes(&self) -> usize {
        let mut bytes = 0;
        let mut waiting = vec![self.root.clone()];
        while let Some(child) = waiting.pop() {
            let node = child.node.borrow();
            let Some(node) = node.as_ref().filter(|node| !node.is_evictable()) else { continue };
            if node.generation != self.generation {
                bytes += node.memory_bytes();
            }
            if let Body::Inner(inner) = &node.body {
                waiting.extend(inner.children().iter().map(|(_, child)| child.clone()));
            }
        }
        bytes
    }

    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// A loaded node takes its place.
    pub fn loaded(&mut self, child: &Rc<Child>, node: Node) {
        if child.node.borrow().is_some() {
            return;
        }
        let is_evictable = node.is_evictable();
        *child.node.borrow_mut() = Some(Rc::new(node));
        child.referenced.set(true);
        if is_evictable {
            self.cache.insert(child);
        }
    }

    /// Drops clean nodes beyond what the dirty ones leave of the budget. Never called between a check for missing nodes and the change it was made for.
    pub fn shrink_cache(&mut self) {
        self.cache.shrink(self.budget.saturating_sub(self.dirty_bytes()).max(self.budget / DIRTY_NODE_SHARE));
    }

    fn node(child: &Rc<Child>) -> Result<Rc<Node>, Missing> {
        child.get().ok_or_else(|| Missing(child.clone()))
    }

    fn leaf_of(&self, key: &[u8]) -> Result<Rc<Node>, Missing> {
        let mut node = Self::node(&self.root)?;
        loop {
            let child = match &node.body {
                Body::Leaf(_) => return Ok(node),
                Body::Inner(inner) => inner.children()[inner.find(key)].1.clone(),
            };
            node = Self::node(&child)?;
        }
    }

    /// Calls `f` with the value, if there is one.
    pub fn with<T>(&self, key: &[u8], f: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Missing> {
        let node = self.leaf_of(key)?;
        let Body::Leaf(leaf) = &node.body else { unreachable!("a path ends in a leaf") };
        Ok(leaf.get(key).map(f))
    }

    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Missing> {
        self.with(key, <[u8]>::to_vec)
    }

    pub fn contains(&self, key: &[u8]) -> Result<bool, Missing> {
        self.with(key, |_| ()).map(|found| found.is_some())
    }

    /// Calls `f` for each entry in `[from, end)`, in order, until it says false. It may have been called before a [`Missing`] comes back.
    pub fn scan(
        &self,
        from: &[u8],
        end: Option<&[u8]>,
        mut f: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Missing> {
        self.scan_below(&self.root, from, end, &mut f).map(drop)
    }

    /// As [`Tree::scan`]; unless there is an entry with the key `from`, `f` has the last one in `[floor, from)` before it, if there is one.
    pub fn scan_over(
        &self,
        floor: &[u8],
        from: &[u8],
        end: &[u8],
        mut f: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), Missing> {
        let node = self.leaf_of(from)?;
        let Body::Leaf(leaf) = &node.body else { unreachable!("a path ends in a leaf") };
        let found = leaf.find(from);
        let first = found.unwrap_or_else(|index| index);
        let goes_on = match (found, first.checked_sub(1)) {
            (Ok(_), _) => true,
            (Err(_), Some(before)) => {
                let (key, value) = leaf.entry(before);
                key < floor || f(key, value)
            }
            (Err(_), None) => Self::last_below(&self.root, floor, from, &mut f)?.unwrap_or(true),
        };
        if !goes_on {
            return Ok(());
        }
        // Where the range ends the list of heads says, which is at hand now; the entry there need not be fetched.
        let behind = leaf.find(end).unwrap_or_else(|index| index);
        for index in first..behind {
            let (key, value) = leaf.entry(index);
            if !f(key, value) {
                return Ok(());
            }
        }
        if behind < leaf.len() {
            return Ok(());
        }
        // Whether the range goes on in the next leaf, this one can't tell.
        match leaf.len().checked_sub(1) {
            Some(last) if first <= last => {
                let mut after = SmallVec::<[u8; 64]>::from_slice(leaf.entry(last).0);
                after.push(0);
                self.scan(&after, Some(end), f)
            }
            _ => self.scan(from, Some(end), f),
        }
    }

    /// Calls `f` with the last entry in `[floor, before)`; what it said, or `None` if there is no such entry.
    fn last_below(
        child: &Rc<Child>,
        floor: &[u8],
        before: &[u8],
        f: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<Option<bool>, Missing> {
        let node = Self::node(child)?;
        match &node.body {
            Body::Leaf(leaf) => {
                let index = leaf.find(before).unwrap_or_else(|index| index);
                let last = index.checked_sub(1).map(|index| leaf.entry(index)).filter(|(key, _)| *key >= floor);
                Ok(last.map(|(key, value)| f(key, value)))
            }
            Body::Inner(inner) => {
                let last = inner.find(before);
                for (index, (low, child)) in inner.children().iter().enumerate().take(last + 1).rev() {
                    if let Some(said) = Self::last_below(child, floor, before, f)? {
                        return Ok(Some(said));
                    }
                    // All that lies to the left of this child comes before its lowest key.
                    if index > 0 && &**low <= floor {
                        break;
                    }
                }
                Ok(None)
            }
        }
    }

    fn scan_below(
        &self,
        child: &Rc<Child>,
        from: &[u8],
        end: Option<&[u8]>,
        f: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<bool, Missing> {
        let node = Self::node(child)?;
        match &node.body {
            Body::Leaf(leaf) => {
                let first = leaf.find(from).unwrap_or_else(|index| index);
                for index in first..leaf.len() {
                    let (key, value) = leaf.entry(index);
                    if end.is_some_and(|end| key >= end) || !f(key, value) {
                        return Ok(false);
                    }
                }
            }
            Body::Inner(inner) => {
                for (index, (low, child)) in inner.children().iter().enumerate().skip(inner.find(from)) {
                    if index > 0 && end.is_some_and(|end| &**low >= end) {
                        return Ok(false);
                    }
                    if !self.scan_below(child, from, end, f)? {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    /// Calls `f` for each node that has a place on disk, with its lowest key, its level and its place: in order of the lowest keys, parents
    /// before children, from the first that does not come before `from`, until it says false. Only inner nodes have to be in memory. It may
    /// have been called before a [`Missing`] comes back.
    pub fn nodes(&self, from: (&[u8], u8), mut f: impl FnMut(&[u8], u8, &NodePointer) -> bool) -> Result<(), Missing> {
        let level = Self::node(&self.root)?.level();
        Self::nodes_below(&self.root, &[], level, from, &mut f).map(drop)
    }

    fn nodes_below(
        child: &Rc<Child>,
        low: &[u8],
        level: u8,
        from: (&[u8], u8),
        f: &mut dyn FnMut(&[u8], u8, &NodePointer) -> bool,
    ) -> Result<bool, Missing> {
        if (low, Reverse(level)) >= (from.0, Reverse(from.1))
            && let Some(pointer) = child.pointer.get()
            && !f(low, level, &pointer)
        {
            return Ok(false);
        }
        if level == 0 {
            return Ok(true);
        }
        let node = Self::node(child)?;
        let Body::Inner(inner) = &node.body else { return Ok(true) };
        let first = inner.children().partition_point(|(low, _)| &**low < from.0).saturating_sub(1);
        for (index, (key, below)) in inner.children().iter().enumerate().skip(first) {
            let low = if index == 0 { low } else { key };
            if !Self::nodes_below(below, low, level - 1, from, f)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes sure that a change of `key` can be made.
    pub fn reach(&self, key: &[u8]) -> Result<(), Missing> {
        self.leaf_of(key).map(drop)
    }

    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Missing> {
        self.reach(key)?;
        self.put_reached(key, value);
        Ok(())
    }

    /// As [`Tree::put`], of a key that was reached before: it stays so whatever has been put and deleted since. Panics if it was not.
    pub fn put_reached(&mut self, key: &[u8], value: &[u8]) {
        if value.len() > NODE_BYTES / 2 {
            self.dirty_large += 1 + value.len() / NODE_BYTES;
        }
        let mut root = self.root.clone();
        self.own(&mut root);
        self.root = root.clone();
        let siblings = self.put_below(&root, key, value);
        if !siblings.is_empty() {
            let level = root.get().map_or(0, |node| node.level()) + 1;
            assert!(usize::from(level) < TREE_LEVELS_MAX);
            let mut children: Vec<Sibling> = vec![(Box::default(), root)];
            children.extend(siblings);
            self.root = self.dirty(Body::Inner(Inner::new(level, children)));
        }
    }

    fn dirty(&mut self, body: Body) -> Rc<Child> {
        self.dirty_nodes += 1;
        Child::in_memory(Node { generation: self.generation, body })
    }

    /// Makes `slot` a child whose node belongs to this generation.
    fn own(&mut self, slot: &mut Rc<Child>) {
        let node = slot.node.borrow().clone().expect("reached before");
        if node.generation == self.generation {
            return;
        }
        drop(node);
        self.discard(slot);
        let node = slot.node.borrow_mut().take().expect("reached before");
        let mut node = Rc::try_unwrap(node).unwrap_or_else(|frozen| (*frozen).clone());
        node.generation = self.generation;
        self.dirty_nodes += 1;
        self.dirty_large += node.entry_bytes() / NODE_BYTES;
        *slot = Child::in_memory(node);
    }

    /// The tree does not refer to this child any more.
    fn discard(&mut self, child: &Rc<Child>) {
        match child.pointer.get() {
            Some(pointer) => {
                self.disk_blocks = self.disk_blocks.saturating_sub(pointer.blocks.into());
                self.freed.push(Run { at: pointer.block, blocks: pointer.blocks.into() });
            }
            None => self.dirty_nodes -= 1,
        }
        self.cache.forget(child);
    }

    /// Returns the new siblings to the right of `child`, whose node belongs to this generation.
    fn put_below(&mut self, child: &Rc<Child>, key: &[u8], value: &[u8]) -> Vec<Sibling> {
        let mut guard = child.node.borrow_mut();
        let node = Rc::make_mut(guard.as_mut().expect("reached before"));
        match &mut node.body {
            Body::Leaf(leaf) => {
                let at_end = leaf.find(key) == Err(leaf.len());
                leaf.put(key, value);
                if !node.is_too_large() {
                    return Vec::new();
                }
                self.split_leaf(node, at_end)
            }
            Body::Inner(inner) => {
                let index = inner.find(key);
                self.own(inner.child_mut(index));
                let below = inner.children()[index].1.clone();
                let siblings = self.put_below(&below, key, value);
                if siblings.is_empty() {
                    return Vec::new();
                }
                inner.change(|children| drop(children.splice(index + 1..index + 1, siblings)));
                self.split_inner(node)
            }
        }
    }

    fn split_leaf(&mut self, node: &mut Node, at_end: bool) -> Vec<Sibling> {
        let mut siblings = Vec::new();
        // The part still to be split stands in `node`; what is cut off is split further on its own.
        while node.is_too_large() {
            let Body::Leaf(leaf) = &mut node.body else { unreachable!("called with a leaf") };
            let upper = leaf.split(at_end);
            let low = separator(leaf, &upper);
            let mut right = Node { generation: self.generation, body: Body::Leaf(upper) };
            let further = self.split_leaf(&mut right, at_end);
            let right = self.dirty(right.body);
            siblings.splice(0..0, std::iter::once((low, right)).chain(further));
        }
        siblings
    }

    fn split_inner(&mut self, node: &mut Node) -> Vec<Sibling> {
        let mut siblings = Vec::new();
        while node.is_too_large() {
            let Body::Inner(inner) = &mut node.body else { unreachable!("called with an inner node") };
            let mut upper = inner.change(|children| children.split_off(children.len() / 2));
            let low = std::mem::take(&mut upper[0].0);
            let level = inner.level;
            let mut right = Node { generation: self.generation, body: Body::Inner(Inner::new(level, upper)) };
            let further = self.split_inner(&mut right);
            let right = self.dirty(right.body);
            siblings.splice(0..0, std::iter::once((low, right)).chain(further));
        }
        siblings
    }

    /// Whether there was such a key.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Missing> {
        let found = self.contains(key)?;
        if found {
            self.delete_reached(key);
        }
        Ok(found)
    }

    /// Deletes a key that is there, as was seen. Panics if its path is not in memory.
    pub fn delete_reached(&mut self, key: &[u8]) {
        let mut root = self.root.clone();
        self.own(&mut root);
        self.root = root.clone();
        self.delete_below(&root, key);
        // A root with one child is one level too many.
        loop {
            let only = match self.root.get().as_deref() {
                Some(Node { body: Body::Inner(inner), .. }) if inner.children().len() == 1 => {
                    inner.children()[0].1.clone()
                }
                _ => return,
            };
            let old = std::mem::replace(&mut self.root, only);
            self.discard(&old);
        }
    }

    fn delete_below(&mut self, child: &Rc<Child>, key: &[u8]) {
        let mut guard = child.node.borrow_mut();
        let node = Rc::make_mut(guard.as_mut().expect("reached before"));
        match &mut node.body {
            Body::Leaf(leaf) => {
                leaf.delete(key);
            }
            Body::Inner(inner) => {
                let index = inner.find(key);
                self.own(inner.child_mut(index));
                let below = inner.children()[index].1.clone();
                self.delete_below(&below, key);
                let sparse = below.node.borrow().as_ref().is_some_and(|node| node.is_sparse());
                if sparse && inner.children().len() > 1 {
                    self.merge(inner, index);
                }
            }
        }
    }

    /// Joins the sparse child at `index` with a neighbour that is in memory and has room; an empty one leaves its keys to a neighbour in memory,
    /// room or not. Without one it stays as it is: where its keys would lie then was not reached.
    fn merge(&mut self, inner: &mut Inner, index: usize) {
        for left in [Some(index), index.checked_sub(1)].into_iter().flatten() {
            if left + 1 >= inner.children().len() {
                continue;
            }
            let (Some(a), Some(b)) = (inner.children()[left].1.get(), inner.children()[left + 1].1.get()) else {
                continue;
            };
            let fits = match (&a.body, &b.body) {
                (Body::Leaf(a), Body::Leaf(b)) => a.bytes() + b.bytes() < NODE_BYTES * 3 / 4,
                (Body::Inner(a), Body::Inner(b)) => {
                    a.bytes() + b.bytes() + inner.children()[left + 1].0.len() < NODE_BYTES * 3 / 4
                }
                _ => unreachable!("neighbours are of one level"),
            };
            if !fits {
                continue;
            }
            drop(a);
            self.own(inner.child_mut(left));
            let (low, right) = inner.change(|children| children.remove(left + 1));
            self.discard(&right);
            let mut guard = inner.children()[left].1.node.borrow_mut();
            let node = Rc::make_mut(guard.as_mut().expect("just owned"));
            match (&mut node.body, &b.body) {
                (Body::Leaf(a), Body::Leaf(b)) => a.absorb(b),
                (Body::Inner(a), Body::Inner(b)) => {
                    let mut children = b.children().to_vec();
                    children[0].0 = low;
                    a.change(|all| all.extend(children));
                }
                _ => unreachable!("neighbours are of one level"),
            }
            return;
        }
        let empty = match inner.children()[index].1.get().as_deref() {
            Some(Node { body: Body::Leaf(leaf), .. }) => leaf.is_empty(),
            _ => false,
        };
        let heir = index.checked_sub(1).unwrap_or(1);
        if empty && inner.children()[heir].1.node.borrow().is_some() {
            let child = inner.change(|children| {
                let (_, child) = children.remove(index);
                children[0].0 = Box::default();
                child
            });
            self.discard(&child);
        }
    }

    /// Everything of this generation, to be written; the tree goes on with the next.
    pub fn freeze(&mut self) -> Frozen {
        let mut nodes = Vec::with_capacity(self.dirty_nodes);
        Self::collect(&self.root, self.generation, &mut nodes);
        assert_eq!(nodes.len(), self.dirty_nodes, "every dirty node is reachable");
        let frozen = Frozen { nodes, root: self.root.clone(), generation: self.generation };
        self.generation += 1;
        self.frozen_nodes = self.dirty_nodes() as usize;
        self.dirty_nodes = 0;
        self.dirty_large = 0;
        frozen
    }

    fn collect(child: &Rc<Child>, generation: u64, nodes: &mut Vec<(Rc<Child>, Rc<Node>)>) {
        let Some(node) = child.node.borrow().clone() else { return };
        if node.generation != generation {
            return;
        }
        if let Body::Inner(inner) = &node.body {
            for (_, child) in inner.children() {
                Self::collect(child, generation, nodes);
            }
        }
        nodes.push((child.clone(), node));
    }

    /// What was frozen is on disk now, and may leave memory.
    pub fn thaw(&mut self, frozen: Frozen) {
        self.frozen_nodes = 0;
        for (child, node) in frozen.nodes {
            drop(node);
            if let Some(node) = child.node.borrow_mut().as_mut().and_then(Rc::get_mut) {
                node.shrink_to_fit();
            }
            let is_evictable = child.node.borrow().as_ref().is_some_and(|node| node.is_evictable());
            if is_evictable {
                self.cache.insert(&child);
            }
        }
        self.shrink_cache();
    }
}

/// The shortest key that is above all of `left` and not above any of `right`.
fn separator(left: &Leaf, right: &Leaf) -> Box<[u8]> {
    let last = left.entry(left.len() - 1).0;
    let first = right.entry(0).0;
    let shared = last.iter().zip(first).take_while(|(a, b)| a == b).count();
    first[..=shared.min(first.len() - 1)].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => (0u16..400).prop_map(|n| n.to_be_bytes().to_vec()),
            1 => proptest::collection::vec(0u8..3, 1..700),
        ]
    }

    fn contents(tree: &Tree) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        assert!(
            tree.scan(&[], None, |k, v| {
                entries.push((k.to_vec(), v.to_vec()));
                true
            })
            .is_ok()
        );
        entries
    }

    /// Gives every frozen node an address, as a checkpoint would, and reads a copy back from the encoded bytes.
    fn round_trip(frozen: &Frozen, next_block: &mut u64) -> usize {
        for (child, node) in &frozen.nodes {
            let block = *next_block;
            *next_block += u64::from(node.blocks());
            child.pointer.set(Some(NodePointer {
                block,
                blocks: node.blocks(),
                crc: 0,
                generation: frozen.generation,
            }));
            let bytes = node.encode();
            let crc = Node::checksum(&[7; 16], block, frozen.generation, &bytes);
            let pointer = NodePointer { block, blocks: node.blocks(), crc, generation: frozen.generation };
            child.pointer.set(Some(pointer));
            assert!(Node::decode(&bytes, &pointer, &[7; 16]).is_ok());
            assert!(Node::decode(&bytes, &NodePointer { block: block + 1, ..pointer }, &[7; 16]).is_err());
        }
        frozen.nodes.len()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_tree_is_a_sorted_map(steps in proptest::collection::vec((key(), 0usize..2000, 0u8..10), 1..800)) {
            let mut tree = Tree::new(1, 1 << 20);
            let mut model = BTreeMap::new();
            let mut next_block = 100;
            for (key, length, what) in steps {
                match what {
                    0..=5 => {
                        let value = vec![what; length];
                        prop_assert!(tree.put(&key, &value).is_ok());
                        model.insert(key, value);
                    }
                    6..=8 => prop_assert!(tree.delete(&key).is_ok_and(|found| found == model.remove(&key).is_some())),
                    _ => {
                        // What was frozen stays as it was while the tree goes on.
                        let frozen = tree.freeze();
                        round_trip(&frozen, &mut next_block);
                    }
                }
                prop_assert_eq!(tree.get(&[1, 2]).ok().flatten(), model.get(&vec![1u8, 2]).cloned());
                let (floor, from, end) = (&[0u8, 200], &[1u8, 2], &[1u8, 60]);
                let mut seen = Vec::new();
                let scanned = tree.scan_over(floor, from, end, |key, _| {
                    seen.push(key.to_vec());
                    true
                });
                let is_there = model.contains_key(from.as_slice());
                let before = model.range(floor.to_vec()..from.to_vec()).next_back().filter(|_| !is_there);
                let expected: Vec<_> = before.into_iter().chain(model.range(from.to_vec()..end.to_vec())).collect();
                prop_assert!(scanned.is_ok() && seen.iter().eq(expected.into_iter().map(|(key, _)| key)));
            }
            let expected: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(contents(&tree), expected);
        }
    }

    /// Takes all leaves out of memory, but those that hold one of `keys`; returns what it took.
    fn forget_leaves_without(tree: &Tree, keys: &[Vec<u8>]) -> Vec<(Rc<Child>, Rc<Node>)> {
        let kept: Vec<Rc<Node>> = keys.iter().filter_map(|key| tree.leaf_of(key).ok()).collect();
        let mut taken = Vec::new();
        let mut waiting = vec![tree.root()];
        while let Some(child) = waiting.pop() {
            let Some(node) = child.get() else { continue };
            match &node.body {
                Body::Inner(inner) => waiting.extend(inner.children().iter().map(|(_, child)| child.clone())),
                Body::Leaf(_) if kept.iter().any(|kept| Rc::ptr_eq(kept, &node)) => {}
                Body::Leaf(_) => taken.extend(child.node.borrow_mut().take().map(|node| (child.clone(), node))),
            }
        }
        taken
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// A transaction deletes and puts what it has reached, in any order: a leaf that is empty on the way must not leave its keys to one
        /// that is not in memory.
        #[test]
        fn what_was_reached_can_be_changed_whatever_else_is(
            rounds in proptest::collection::vec((0u16..2000, 1u16..400, proptest::collection::vec((any::<u16>(), 0u8..4), 1..600)), 1..8),
        ) {
            let mut tree = Tree::new(1, 1 << 20);
            let mut model = BTreeMap::new();
            let mut next_block = 100;
            for n in 0..2400u16 {
                let (key, value) = (n.to_be_bytes().to_vec(), vec![7; 300]);
                prop_assert!(tree.put(&key, &value).is_ok());
                model.insert(key, value);
            }
            for (from, count, steps) in rounds {
                let frozen = tree.freeze();
                round_trip(&frozen, &mut next_block);
                tree.thaw(frozen);
                let keys: Vec<Vec<u8>> = (from..from + count).map(|n| n.to_be_bytes().to_vec()).collect();
                let taken = forget_leaves_without(&tree, &keys);
                // First all at once, so that leaves are emptied.
                let all = keys.iter().map(|key| (key, 0));
                for (key, what) in all.chain(steps.iter().map(|(n, what)| (&keys[usize::from(n % count)], *what))) {
                    if what < 2 {
                        let found = tree.delete(key);
                        prop_assert!(found.is_ok_and(|found| found == model.remove(key).is_some()), "{key:?}");
                    } else {
                        let value = vec![what; usize::from(what) * 100];
                        prop_assert!(tree.put(key, &value).is_ok(), "{key:?}");
                        model.insert(key.clone(), value);
                    }
                }
                for (child, node) in taken {
                    child.node.borrow_mut().get_or_insert(node);
                }
                let expected: Vec<_> = model.clone().into_iter().collect();
                prop_assert_eq!(contents(&tree), expected);
            }
        }
    }

    #[test]
    fn ascending_keys_leave_full_leaves() {
        let mut tree = Tree::new(1, 1 << 20);
        for n in 0..20_000u32 {
            assert!(tree.put(&n.to_be_bytes(), &[0; 40]).is_ok());
        }
        let frozen = tree.freeze();
        let full = frozen.nodes.iter().filter(|(_, node)| node.entry_bytes() > NODE_BYTES * 3 / 4).count();
        assert!(full * 10 > frozen.nodes.len() * 9, "{full} of {}", frozen.nodes.len());
    }

    #[test]
    fn an_unchanged_tree_freezes_to_nothing() {
        let mut tree = Tree::new(1, 1 << 20);
        for n in 0..2_000u32 {
            assert!(tree.put(&n.to_be_bytes(), &[0; 40]).is_ok());
        }
        let mut next_block = 0;
        let all = round_trip(&tree.freeze(), &mut next_block);
        assert!(tree.put(&7u32.to_be_bytes(), &[1; 40]).is_ok());
        let path = round_trip(&tree.freeze(), &mut next_block);
        assert!(all > 5 && path == 2, "{all} {path}");
        assert_eq!(tree.freeze().nodes.len(), 0);
    }
}
