//! The index: a copy-on-write B+-tree from byte keys to byte values, its nodes cached in memory and written by checkpoints.

mod cache;
mod heads;
pub(crate) mod key;
mod leaf;
#[deny(clippy::unwrap_used, clippy::indexing_slicing)]
mod node;
mod tree;

pub(crate) use key::{Content, Key, Layer};
pub(crate) use node::{Body, Child, Node, NodePointer};
pub(crate) use tree::{Frozen, Missing, Tree};

/// What a pointer must say of its node's bytes.
pub(crate) fn node_checksum(store_id: &[u8; 16], pointer: &NodePointer, bytes: &[u8]) -> u32 {
    node::Node::checksum(store_id, pointer.block, pointer.generation, bytes)
}
