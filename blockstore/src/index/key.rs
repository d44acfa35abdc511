//! The index's keys, as bytes whose order is the order of their fields.
//!
//! ```text
//! 10 pool:u32 pg:u32 name…             object record        (name order within a placement group)
//! 20 object:u64 00                     all bytes of a small object
//! 20 object:u64 01 block:u32           base extent
//! 20 object:u64 02 block:u32           hot extent
//! 20 object:u64 03 name…               xattr
//! 20 object:u64 04 key…                omap pair
//! 30 device:u8 address:u64             blocks that several extents refer to
//! 40 pool:u32 object:u64               hot summary of an object
//! 50 pool:u32 pg:u32 version:u64       placement group log entry
//! 60 pool:u32                          usage of a pool
//! 70 object:u64                        removed object with entries left to reap
//! ```
//! Numbers are big-endian here, so that comparing bytes compares numbers. An object's entries stand together under its number; numbers
//! are given in order, so new objects fill the tree's right edge.

use crate::encoding::Put;
use crate::limits::ADDRESS_LIMIT;
use crate::object::{ObjectId, ObjectKey};
use crate::wal::Side;
use smallvec::SmallVec;

/// Most are short: those of a write are made and dropped without the heap.
pub(crate) type Key = SmallVec<[u8; KEY_INLINE_BYTES]>;

/// All fixed keys fit, and objects and attributes with names of common length.
const KEY_INLINE_BYTES: usize = 48;

const OBJECT: u8 = 0x10;
const CONTENT: u8 = 0x20;
const REFERENCES: u8 = 0x30;
const HOT_SUMMARY: u8 = 0x40;
const LOG: u8 = 0x50;
const POOL_USAGE: u8 = 0x60;
const REMOVED: u8 = 0x70;

const INLINE: u8 = 0;
const BASE_EXTENT: u8 = 1;
const HOT_EXTENT: u8 = 2;
const XATTR: u8 = 3;
const OMAP: u8 = 4;

fn key(kind: u8) -> Key {
    Key::from_slice(&[kind])
}

/// A kind, then fields of fixed length: copied once.
fn fixed<const N: usize>(kind: u8, fields: &[&[u8]]) -> Key {
    let mut bytes = [0; N];
    let mut at = 1;
    bytes[0] = kind;
    for field in fields {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    assert_eq!(at, N, "the fields fill the key");
    Key::from_slice(&bytes)
}

pub(crate) fn object(object: &ObjectKey) -> Key {
    let mut key = objects_of(object.pool, object.pg);
    key.put(&object.name);
    key
}

pub(crate) fn objects_of(pool: u32, pg: u32) -> Key {
    fixed::<9>(OBJECT, &[&pool.to_be_bytes(), &pg.to_be_bytes()])
}

pub(crate) fn objects() -> Key {
    key(OBJECT)
}

/// The fields of an object record's key.
pub(crate) fn parse_object(key: &[u8]) -> Option<ObjectKey> {
    let (&kind, rest) = key.split_first()?;
    let (pool, rest) = rest.split_first_chunk::<4>()?;
    let (pg, name) = rest.split_first_chunk::<4>()?;
    (kind == OBJECT).then(|| ObjectKey {
        pool: u32::from_be_bytes(*pool),
        pg: u32::from_be_bytes(*pg),
        name: name.into(),
    })
}

/// Everything of an object but its record.
pub(crate) fn content(object: ObjectId) -> Key {
    fixed::<9>(CONTENT, &[&object.0.to_be_bytes()])
}

fn of_object(object: ObjectId, subkind: u8) -> Key {
    fixed::<10>(CONTENT, &[&object.0.to_be_bytes(), &[subkind]])
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layer {
    Base,
    Hot,
}

impl Layer {
    fn subkind(self) -> u8 {
        match self {
            Layer::Base => BASE_EXTENT,
            Layer::Hot => HOT_EXTENT,
        }
    }

    /// The device that its extents lie on.
    pub fn side(self) -> Side {
        match self {
            Layer::Base => Side::Base,
            Layer::Hot => Side::Hot,
        }
    }
}

pub(crate) fn extent(object: ObjectId, layer: Layer, block: u32) -> Key {
    fixed::<14>(CONTENT, &[&object.0.to_be_bytes(), &[layer.subkind()], &block.to_be_bytes()])
}

pub(crate) fn inline(object: ObjectId) -> Key {
    of_object(object, INLINE)
}

pub(crate) fn xattr(object: ObjectId, name: &[u8]) -> Key {
    let mut key = of_object(object, XATTR);
    key.put(name);
    key
}

pub(crate) fn omap(object: ObjectId, name: &[u8]) -> Key {
    let mut key = of_object(object, OMAP);
    key.put(name);
    key
}

/// What an entry under an object's number is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Inline,
    Extent(Layer, u32),
    Xattr(Vec<u8>),
    Omap(Vec<u8>),
}

pub(crate) fn parse_content(key: &[u8]) -> Option<(ObjectId, Content)> {
    let (&kind, rest) = key.split_first()?;
    let (object, rest) = rest.split_first_chunk::<8>()?;
    let (&subkind, rest) = rest.split_first()?;
    if kind != CONTENT {
        return None;
    }
    let block = || rest.try_into().ok().map(u32::from_be_bytes);
    let content = match subkind {
        INLINE if rest.is_empty() => Content::Inline,
        BASE_EXTENT => Content::Extent(Layer::Base, block()?),
        HOT_EXTENT => Content::Extent(Layer::Hot, block()?),
        XATTR => Content::Xattr(rest.to_vec()),
        OMAP => Content::Omap(rest.to_vec()),
        _ => return None,
    };
    Some((ObjectId(u64::from_be_bytes(*object)), content))
}

pub(crate) fn references(side: Side, address: u64) -> Key {
    fixed::<10>(REFERENCES, &[&[side.encode()], &address.to_be_bytes()])
}

pub(crate) fn parse_references(key: &[u8]) -> Option<(Side, u64)> {
    let (&kind, rest) = key.split_first()?;
    let (&side, address) = rest.split_first()?;
    let address = u64::from_be_bytes(address.try_into().ok()?);
    if kind != REFERENCES || address >= ADDRESS_LIMIT {
        return None;
    }
    Some((Side::decode(side)?, address))
}

pub(crate) fn hot_summary(pool: u32, object: ObjectId) -> Key {
    fixed::<13>(HOT_SUMMARY, &[&pool.to_be_bytes(), &object.0.to_be_bytes()])
}

pub(crate) fn hot_summaries() -> Key {
    key(HOT_SUMMARY)
}

pub(crate) fn parse_hot_summary(key: &[u8]) -> Option<(u32, ObjectId)> {
    let (&kind, rest) = key.split_first()?;
    let (pool, object) = rest.split_first_chunk::<4>()?;
    let object = ObjectId(u64::from_be_bytes(object.try_into().ok()?));
    (kind == HOT_SUMMARY).then_some((u32::from_be_bytes(*pool), object))
}

pub(crate) fn log(pool: u32, pg: u32, version: u64) -> Key {
    fixed::<17>(LOG, &[&pool.to_be_bytes(), &pg.to_be_bytes(), &version.to_be_bytes()])
}

pub(crate) fn log_of(pool: u32, pg: u32) -> Key {
    fixed::<9>(LOG, &[&pool.to_be_bytes(), &pg.to_be_bytes()])
}

pub(crate) fn logs() -> Key {
    key(LOG)
}

/// The placement group of an object record's or a log entry's key.
pub(crate) fn parse_pg(key: &[u8]) -> Option<(u32, u32)> {
    let (&kind, rest) = key.split_first()?;
    let (pool, rest) = rest.split_first_chunk::<4>()?;
    let pg = rest.first_chunk::<4>()?;
    matches!(kind, OBJECT | LOG).then_some((u32::from_be_bytes(*pool), u32::from_be_bytes(*pg)))
}

pub(crate) fn parse_log(key: &[u8]) -> Option<(u32, u32, u64)> {
    let (&kind, rest) = key.split_first()?;
    let (pool, rest) = rest.split_first_chunk::<4>()?;
    let (pg, version) = rest.split_first_chunk::<4>()?;
    let version = u64::from_be_bytes(version.try_into().ok()?);
    (kind == LOG).then_some((u32::from_be_bytes(*pool), u32::from_be_bytes(*pg), version))
}

pub(crate) fn pool_usage(pool: u32) -> Key {
    fixed::<5>(POOL_USAGE, &[&pool.to_be_bytes()])
}

pub(crate) fn pool_usages() -> Key {
    key(POOL_USAGE)
}

pub(crate) fn parse_pool_usage(key: &[u8]) -> Option<u32> {
    let (&kind, pool) = key.split_first()?;
    (kind == POOL_USAGE).then_some(u32::from_be_bytes(pool.try_into().ok()?))
}

pub(crate) fn removed(object: ObjectId) -> Key {
    fixed::<9>(REMOVED, &[&object.0.to_be_bytes()])
}

pub(crate) fn removed_objects() -> Key {
    key(REMOVED)
}

pub(crate) fn parse_removed(key: &[u8]) -> Option<ObjectId> {
    let (&kind, object) = key.split_first()?;
    (kind == REMOVED).then_some(ObjectId(u64::from_be_bytes(object.try_into().ok()?)))
}

/// The first key that does not start with `prefix`; `None` if there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Key> {
    let mut end = Key::from_slice(prefix);
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}
