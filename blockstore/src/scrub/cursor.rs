//! How far a pass is, in memory and as bytes that a caller may keep over a restart.
//!
//! ```text
//! 0                                                            superblocks
//! 1 page u64                                                   allocation pages
//! 2 level u8, low key                                          index nodes
//! 3 block u32, fragments u64, ideal u64, end block u32, end address u64, has hot u8, key     objects
//! ```

use super::shape::Shape;
use crate::encoding::{Put, Reader};
use crate::index::Key;
use crate::limits::KEY_BYTES_MAX;

/// Where a step begins. The default is the beginning of a pass.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ScrubCursor {
    pub(super) place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) enum Place {
    #[default]
    Superblocks,
    /// Pages of the device with the index, then of base where that is another.
    Pages { page: u64 },
    /// The first node to be read is the first whose lowest key and level come not before these; parents come before children.
    Nodes { low: Key, level: u8 },
    /// The object at or after this key; if it is that very object, from this block on.
    Objects { from: Key, block: u32, shape: Shape },
}

impl ScrubCursor {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.place {
            Place::Superblocks => bytes.put_u8(0),
            Place::Pages { page } => {
                bytes.put_u8(1);
                bytes.put_u64(*page);
            }
            Place::Nodes { low, level } => {
                bytes.put_u8(2);
                bytes.put_u8(*level);
                bytes.put(low);
            }
            Place::Objects { from, block, shape } => {
                bytes.put_u8(3);
                bytes.put_u32(*block);
                shape.encode(&mut bytes);
                bytes.put(from);
            }
        }
        bytes
    }

    /// `None`: this is no cursor, and the pass begins anew. One of another store does no harm.
    pub fn decode(bytes: &[u8]) -> Option<ScrubCursor> {
        let mut reader = Reader::new(bytes);
        let place = match reader.u8()? {
            0 => Place::Superblocks,
            1 => Place::Pages { page: reader.u64()? },
            2 => Place::Nodes { level: reader.u8()?, low: key(&mut reader)? },
            3 => {
                let block = reader.u32()?;
                let shape = Shape::decode(&mut reader)?;
                Place::Objects { block, shape, from: key(&mut reader)? }
            }
            _ => return None,
        };
        reader.is_empty().then_some(ScrubCursor { place })
    }
}

/// All that is left.
fn key(reader: &mut Reader) -> Option<Key> {
    let length = reader.remaining();
    // One byte more than the longest: the key behind an object's is its own and a zero.
    (length <= KEY_BYTES_MAX + 1).then(|| reader.bytes(length).map(Key::from_slice)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_cursor_reads_back_as_it_was_written() {
        let shape = Shape { fragments: 1, ideal: 2, end_block: 3, end_address: 4, has_hot: true };
        for place in [
            Place::Superblocks,
            Place::Pages { page: 7 },
            Place::Nodes { low: Key::from_slice(b"low"), level: 3 },
            Place::Objects { from: Key::from_slice(b"from"), block: 9, shape },
        ] {
            let cursor = ScrubCursor { place };
            assert_eq!(ScrubCursor::decode(&cursor.encode()), Some(cursor));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = ScrubCursor::decode(&bytes);
        }
    }
}
