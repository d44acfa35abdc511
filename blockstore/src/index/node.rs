//! Nodes: leaves and inner ones, in memory and on disk.
//!
//! ```text
//! offset  size  field
//!      0     4  magic "BNOD"
//!      4     1  level: 0 leaf
//!      5     3  zeros
//!      8     8  generation: of the checkpoint that wrote it
//!     16     4  number of entries
//!     20     4  bytes of all entries
//!     24     8  zeros
//!     32        leaf: entries as in `leaf`; inner: key length u16, key, pointer (24 bytes) each, the first key empty
//!               zeros to the block's end
//! ```
//! A node is as many times four blocks as it needs, so that the space that nodes leave is what other nodes need. Its checksum, seeded with store id, "NODE", its block and generation, is in the pointer to it.

use super::heads::Heads;
use super::leaf::Leaf;
use crate::checksum::Seed;
use crate::encoding::{Put, Reader};
use crate::limits::{ADDRESS_LIMIT, INNER_BYTES, KEY_BYTES_MAX, NODE_BLOCKS_MAX, NODE_BYTES, NODE_HEADER_BYTES};
use crate::sabotage::{Sabotage, sabotaged};
use basalt_ring::BLOCK;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

const MAGIC: u32 = u32::from_le_bytes(*b"BNOD");
const POINTER_BYTES: usize = 24;
/// What the heap adds to an allocation, and reference counts to what is shared.
const ALLOCATION_BYTES: usize = 16;

/// Where a node is on disk, and what it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct NodePointer {
    pub block: u64,
    pub blocks: u8,
    pub crc: u32,
    pub generation: u64,
}

impl NodePointer {
    pub fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.put_u64(self.block);
        bytes.put_u8(self.blocks);
        bytes.put(&[0; 3]);
        bytes.put_u32(self.crc);
        bytes.put_u64(self.generation);
    }

    pub fn decode(reader: &mut Reader) -> Option<NodePointer> {
        let block = reader.u64().filter(|block| *block < ADDRESS_LIMIT)?;
        let blocks = reader.u8()?;
        reader.bytes(3)?;
        Some(NodePointer { block, blocks, crc: reader.u32()?, generation: reader.u64()? })
    }
}

/// A place in the tree: shared between the tree as it is and the one that a checkpoint is writing. Its node is on disk, in memory, or both.
pub(crate) struct Child {
    /// Set when a checkpoint freezes the node (without crc until it is encoded), or when it came from disk.
    pub pointer: Cell<Option<NodePointer>>,
    pub node: RefCell<Option<Rc<Node>>>,
    /// Touched since the cache last looked.
    pub referenced: Cell<bool>,
    /// What the cache counted it as; 0: not in the cache.
    pub cached_bytes: Cell<usize>,
}

impl Child {
    pub fn in_memory(node: Node) -> Rc<Child> {
        Rc::new(Child {
            pointer: Cell::new(None),
            node: RefCell::new(Some(Rc::new(node))),
            referenced: Cell::new(true),
            cached_bytes: Cell::new(0),
        })
    }

    pub fn on_disk(pointer: NodePointer) -> Rc<Child> {
        Rc::new(Child {
            pointer: Cell::new(Some(pointer)),
            node: RefCell::new(None),
            referenced: Cell::new(false),
            cached_bytes: Cell::new(0),
        })
    }

    pub fn get(&self) -> Option<Rc<Node>> {
        self.referenced.set(true);
        self.node.borrow().clone()
    }
}

#[derive(Clone)]
pub(crate) struct Node {
    /// The checkpoint that will write it, or has.
    pub generation: u64,
    pub body: Body,
}

#[derive(Clone)]
pub(crate) enum Body {
    Leaf(Leaf),
    Inner(Inner),
}

#[derive(Clone)]
pub(crate) struct Inner {
    /// Above the leaves; at least 1.
    pub level: u8,
    /// Each child with the lowest key it may hold; the first is empty.
    children: Vec<Sibling>,
    /// Of all keys but the first.
    heads: Heads,
    /// Bytes of the keys.
    key_bytes: usize,
}

/// A child with the lowest key it may hold.
pub(crate) type Sibling = (Box<[u8]>, Rc<Child>);

impl Inner {
    pub fn new(level: u8, children: Vec<Sibling>) -> Inner {
        let heads = Heads::of(children.iter().skip(1).map(|(key, _)| &**key));
        let key_bytes = children.iter().map(|(key, _)| key.len()).sum();
        Inner { level, children, heads, key_bytes }
    }

    pub fn children(&self) -> &[Sibling] {
        &self.children
    }

    #[expect(clippy::indexing_slicing, reason = "an index that find gave")]
    pub fn child_mut(&mut self, index: usize) -> &mut Rc<Child> {
        &mut self.children[index].1
    }

    /// Changes which children there are. That is rare beside searches for them.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Vec<Sibling>) -> T) -> T {
        let result = change(&mut self.children);
        *self = Inner::new(self.level, std::mem::take(&mut self.children));
        result
    }

    /// The child that holds `key` if anything does.
    #[expect(clippy::indexing_slicing, reason = "there is a head for each child but the first")]
    pub fn find(&self, key: &[u8]) -> usize {
        match self.heads.find(key, |index| &*self.children[index + 1].0) {
            Ok(index) => index + 1,
            Err(index) => index,
        }
    }

    pub fn bytes(&self) -> usize {
        self.key_bytes + self.children.len() * (2 + POINTER_BYTES)
    }

    fn memory_bytes(&self) -> usize {
        let child = size_of::<Child>() + 2 * ALLOCATION_BYTES;
        self.children.capacity() * size_of::<Sibling>()
            + self.heads.memory_bytes()
            + self.key_bytes
            + self.children.len() * child
    }
}

impl Node {
    pub fn empty_leaf(generation: u64) -> Node {
        Node { generation, body: Body::Leaf(Leaf::default()) }
    }

    pub fn level(&self) -> u8 {
        match &self.body {
            Body::Leaf(_) => 0,
            Body::Inner(inner) => inner.level,
        }
    }

    pub fn entry_bytes(&self) -> usize {
        match &self.body {
            Body::Leaf(leaf) => leaf.bytes(),
            Body::Inner(inner) => inner.bytes(),
        }
    }

    /// What it takes in memory, with the places of its children, which come and go with it.
    pub fn memory_bytes(&self) -> usize {
        let body = match &self.body {
            Body::Leaf(leaf) => leaf.memory_bytes(),
            Body::Inner(inner) => inner.memory_bytes(),
        };
        size_of::<Node>() + 2 * ALLOCATION_BYTES + body
    }

    /// Whether it may be dropped while it is clean. The few nodes above are always needed.
    pub fn is_evictable(&self) -> bool {
        self.level() < 2
    }

    pub fn shrink_to_fit(&mut self) {
        if let Body::Leaf(leaf) = &mut self.body {
            leaf.shrink_to_fit();
        }
    }

    /// What it takes on disk.
    pub fn blocks(&self) -> u8 {
        let blocks = (NODE_HEADER_BYTES + self.entry_bytes()).div_ceil(NODE_BYTES) * (NODE_BYTES / BLOCK);
        assert!(blocks <= NODE_BLOCKS_MAX, "a node of {blocks} blocks");
        blocks as u8
    }

    pub fn is_too_large(&self) -> bool {
        match &self.body {
            Body::Leaf(leaf) => leaf.len() > 1 && NODE_HEADER_BYTES + leaf.bytes() > NODE_BYTES,
            Body::Inner(inner) => inner.children.len() > 3 && NODE_HEADER_BYTES + inner.bytes() > INNER_BYTES,
        }
    }

    /// So little in it that a neighbour should take it.
    pub fn is_sparse(&self) -> bool {
        self.entry_bytes() < NODE_BYTES / 4
    }

    /// Whole blocks. Children of an inner node must have their pointers.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::from(self.blocks()) * BLOCK);
        bytes.put_u32(MAGIC);
        bytes.put_u8(self.level());
        bytes.put(&[0; 3]);
        bytes.put_u64(self.generation);
        let count = match &self.body {
            Body::Leaf(leaf) => leaf.len(),
            Body::Inner(inner) => inner.children.len(),
        };
        bytes.put_u32(count as u32);
        bytes.put_u32(self.entry_bytes() as u32);
        bytes.put_u64(0);
        match &self.body {
            Body::Leaf(leaf) => leaf.encode(&mut bytes),
            Body::Inner(inner) => {
                for (key, child) in &inner.children {
                    bytes.put_u16(key.len() as u16);
                    bytes.put(key);
                    child.pointer.get().expect("children are written before their parent").encode(&mut bytes);
                }
            }
        }
        bytes.resize(usize::from(self.blocks()) * BLOCK, 0);
        bytes
    }

    pub fn checksum(store_id: &[u8; 16], block: u64, generation: u64, bytes: &[u8]) -> u32 {
        Seed::new(store_id, b"NODE", block, generation).checksum(bytes)
    }

    /// Checks the bytes against the pointer and takes them apart; the error says what does not fit.
    pub fn decode(bytes: &[u8], pointer: &NodePointer, store_id: &[u8; 16]) -> Result<Node, String> {
        let found = Node::checksum(store_id, pointer.block, pointer.generation, bytes);
        if found != pointer.crc && !sabotaged(Sabotage::SkipNodeChecksum) {
            return Err(format!("checksum {found:#010x} where its parent expects {:#010x}", pointer.crc));
        }
        Node::parse(bytes, pointer.generation)
            .ok_or_else(|| "its entries do not make a node although the checksum fits".to_owned())
    }

    fn parse(bytes: &[u8], generation: u64) -> Option<Node> {
        let mut reader = Reader::new(bytes);
        if reader.u32()? != MAGIC {
            return None;
        }
        let level = reader.u8()?;
        reader.bytes(3)?;
        if reader.u64()? != generation {
            return None;
        }
        let count = reader.u32()? as usize;
        let length = reader.u32()? as usize;
        reader.u64()?;
        let mut entries = Reader::new(reader.bytes(length)?);
        if level == 0 {
            let leaf = Leaf::decode(entries.bytes(length)?, count)?;
            return Some(Node { generation, body: Body::Leaf(leaf) });
        }
        let mut children: Vec<Sibling> = Vec::with_capacity(count.min(length / POINTER_BYTES));
        for index in 0..count {
            let key_len = usize::from(entries.u16()?);
            if key_len > KEY_BYTES_MAX {
                return None;
            }
            let key: Box<[u8]> = entries.bytes(key_len)?.into();
            let pointer = NodePointer::decode(&mut entries)?;
            let in_order = match children.last() {
                None => index == 0 && key.is_empty(),
                Some((last, _)) => **last < *key,
            };
            if !in_order || pointer.blocks == 0 || usize::from(pointer.blocks) > NODE_BLOCKS_MAX {
                return None;
            }
            children.push((key, Child::on_disk(pointer)));
        }
        (entries.is_empty() && !children.is_empty())
            .then(|| Node { generation, body: Body::Inner(Inner::new(level, children)) })
    }
}
