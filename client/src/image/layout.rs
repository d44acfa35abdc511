//! Where an image's bytes are: which object of which layer, under which name. Pure.
//!
//! | object                                          | content                                                                |
//! |-------------------------------------------------|------------------------------------------------------------------------|
//! | `image_directory`                               | omap: an image's name → its id                                         |
//! | `image_header.ID`                               | the [header](super::header), JSON                                      |
//! | `image_lock.ID`                                 | xattrs `owner`, `beat`; omap: requests to the owner, and its answers   |
//! | `image_data.FAMILY.INDEX` `\0@` LAYER            | bytes `[INDEX * 4 MiB, (INDEX + 1) * 4 MiB)` as that layer has them    |
//!
//! Ids are 16 hexadecimal digits. A data object is there only if its layer has something to say of that range; one that is shorter than
//! 4 MiB ends in zeros. The layers' objects of one index are siblings (`basalt_cluster::object_hash`): they live in one placement group, so
//! that one is made of another without a byte being copied. An image that is cloned passes its family on.

use super::Id;
use super::limits::OBJECT_BYTES;
use basalt_cluster::object_hash;

pub const DIRECTORY: &[u8] = b"image_directory";

pub fn header_name(image: Id) -> Vec<u8> {
    format!("image_header.{image}").into_bytes()
}

pub fn lock_name(image: Id) -> Vec<u8> {
    format!("image_lock.{image}").into_bytes()
}

/// What the names of all data objects of a family begin with.
pub fn data_prefix(family: Id) -> Vec<u8> {
    format!("image_data.{family}.").into_bytes()
}

pub fn data_name(family: Id, index: u64, layer: Id) -> Vec<u8> {
    object_hash::sibling(format!("image_data.{family}.{index:016x}").as_bytes(), layer.0)
}

/// The index and the layer of a data object of this family.
pub fn parse_data_name(family: Id, name: &[u8]) -> Option<(u64, Id)> {
    let rest = name.strip_prefix(data_prefix(family).as_slice())?;
    let (index, rest) = rest.split_first_chunk::<16>()?;
    let layer = rest.strip_prefix(b"\0@")?;
    let text = |bytes| std::str::from_utf8(bytes).ok();
    Some((Id::parse(text(index)?)?.0, Id::parse(text(layer)?)?))
}

/// How many objects so many bytes have.
pub fn object_count(size: u64) -> u64 {
    size.div_ceil(OBJECT_BYTES)
}

/// A range within one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    pub index: u64,
    pub within: u64,
    pub length: u64,
}

impl Piece {
    /// Of a whole object.
    pub fn is_whole(&self) -> bool {
        self.within == 0 && self.length == OBJECT_BYTES
    }

    pub fn end_within(&self) -> u64 {
        self.within + self.length
    }
}

/// Cuts a range of an image at the bounds of its objects.
pub fn pieces(offset: u64, length: u64) -> impl Iterator<Item = Piece> {
    let mut at = offset;
    let end = offset.saturating_add(length);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let within = at % OBJECT_BYTES;
        let piece = Piece { index: at / OBJECT_BYTES, within, length: (OBJECT_BYTES - within).min(end - at) };
        at += piece.length;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_cover_a_range_without_gap_or_overlap(offset in 0..1u64 << 40, length in 0..64u64 << 20) {
            let mut at = offset;
            for piece in pieces(offset, length) {
                prop_assert_eq!(piece.index * OBJECT_BYTES + piece.within, at);
                prop_assert!(piece.length > 0 && piece.end_within() <= OBJECT_BYTES);
                at += piece.length;
            }
            prop_assert_eq!(at, offset + length);
        }

        #[test]
        fn a_data_objects_name_tells_what_it_is(family: u64, index: u64, layer: u64) {
            let name = data_name(Id(family), index, Id(layer));
            prop_assert_eq!(parse_data_name(Id(family), &name), Some((index, Id(layer))));
            prop_assert_eq!(parse_data_name(Id(family ^ 1), &name), None);
            let sibling = data_name(Id(family), index, Id(!layer));
            prop_assert_eq!(object_hash::placed_by(&name), object_hash::placed_by(&sibling));
        }
    }
}
