//! A part's bytes in sealed chunks: sealed while they come in, opened in any run of chunks.

use super::data_key::PartKey;
use ring::aead::{Aad, Nonce};

/// A chunk is read whole, however little of it is wanted; and each costs a tag.
pub const CHUNK_BYTES: u64 = 64 << 10;
const TAG_BYTES: u64 = 16;
pub const SEALED_CHUNK_BYTES: u64 = CHUNK_BYTES + TAG_BYTES;

/// How many bytes are stored of so many.
pub fn sealed_bytes(plain: u64) -> u64 {
    plain + plain.div_ceil(CHUNK_BYTES) * TAG_BYTES
}

/// The other way round.
pub fn plain_bytes(sealed: u64) -> u64 {
    sealed.saturating_sub(sealed.div_ceil(SEALED_CHUNK_BYTES) * TAG_BYTES)
}

fn nonce(index: u64, is_last: bool) -> Nonce {
    let mut bytes = [0; 12];
    let (kind, number) = bytes.split_at_mut(4);
    kind.copy_from_slice(&u32::from(is_last).to_le_bytes());
    number.copy_from_slice(&index.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// Seals one part, from its begin to its end.
pub struct Sealer {
    key: PartKey,
    index: u64,
    /// Of the chunk that is being filled. A full one waits: it may be the last.
    filling: Vec<u8>,
}

impl Sealer {
    pub fn new(key: PartKey) -> Sealer {
        Sealer { key, index: 0, filling: Vec::new() }
    }

    /// Takes bytes off `rest`. Returns a sealed chunk and wants to be called again, or `None` when all is taken.
    pub fn take(&mut self, rest: &mut &[u8]) -> Option<Vec<u8>> {
        while !rest.is_empty() {
            let room = (CHUNK_BYTES as usize).saturating_sub(self.filling.len());
            if room == 0 {
                return Some(self.seal(false));
            }
            let (now, later) = rest.split_at(room.min(rest.len()));
            self.filling.extend_from_slice(now);
            *rest = later;
        }
        None
    }

    /// The last chunk. A part without bytes has none.
    pub fn finish(mut self) -> Option<Vec<u8>> {
        (!self.filling.is_empty()).then(|| self.seal(true))
    }

    fn seal(&mut self, is_last: bool) -> Vec<u8> {
        let mut chunk = std::mem::take(&mut self.filling);
        let done = self.key.0.seal_in_place_append_tag(nonce(self.index, is_last), Aad::empty(), &mut chunk);
        assert!(done.is_ok(), "a chunk is smaller than what AES-GCM can seal");
        self.index += 1;
        chunk
    }
}

/// Opens consecutive chunks of a part that has `part_bytes`, the first of which has number `first`. `None`: they are not as they were sealed.
pub fn open_chunks(key: &PartKey, first: u64, part_bytes: u64, sealed: &mut [u8]) -> Option<Vec<u8>> {
    let count = part_bytes.div_ceil(CHUNK_BYTES);
    let mut plain = Vec::with_capacity(sealed.len());
    for (index, chunk) in (first..).zip(sealed.chunks_mut(SEALED_CHUNK_BYTES as usize)) {
        let opened = key.0.open_in_place(nonce(index, index + 1 == count), Aad::empty(), chunk).ok()?;
        plain.extend_from_slice(opened);
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::super::data_key::DataKey;
    use super::*;
    use proptest::prelude::*;

    fn key() -> PartKey {
        DataKey::of_test(1).part("tag", 3)
    }

    fn bytes(count: usize) -> Vec<u8> {
        (0..count).map(|index| (index / 7) as u8).collect()
    }

    fn sealed(plain: &[u8], piece: usize) -> Vec<u8> {
        let mut sealer = Sealer::new(key());
        let mut sealed = Vec::new();
        for mut rest in plain.chunks(piece) {
            while let Some(chunk) = sealer.take(&mut rest) {
                sealed.extend(chunk);
            }
        }
        sealed.extend(sealer.finish().unwrap_or_default());
        sealed
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn what_was_sealed_in_any_pieces_opens_from_any_chunk(
            chunks in 0_usize..4, more in 0_usize..70_000, piece in 1_usize..200_000, first in 0_u64..4,
        ) {
            let plain = bytes(chunks * CHUNK_BYTES as usize + more);
            let sealed = sealed(&plain, piece);
            prop_assert_eq!(sealed.len() as u64, sealed_bytes(plain.len() as u64));
            prop_assert_eq!(plain_bytes(sealed.len() as u64), plain.len() as u64);
            let mut rest = sealed.get((first * SEALED_CHUNK_BYTES) as usize..).unwrap_or_default().to_vec();
            let opened = open_chunks(&key(), first, plain.len() as u64, &mut rest).unwrap();
            prop_assert_eq!(&opened[..], plain.get((first * CHUNK_BYTES) as usize..).unwrap_or_default());
        }

        #[test]
        fn sizes_are_told_from_one_another(plain in 0_u64..6 << 30) {
            prop_assert_eq!(plain_bytes(sealed_bytes(plain)), plain);
        }
    }

    /// Computed by another program from the format as it is written down.
    #[test]
    fn the_format_stays() {
        let hex: String = sealed(b"basalt", 6).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bc312878fbde32299e7b24d6131685374039ff36c1c");
    }

    #[test]
    fn what_was_changed_moved_or_cut_off_does_not_open() {
        let plain = bytes(3 * CHUNK_BYTES as usize);
        let whole = sealed(&plain, 1 << 20);
        let opens = |sealed: &[u8], first: u64, part_bytes: u64| {
            open_chunks(&key(), first, part_bytes, &mut sealed.to_vec()).is_some()
        };
        let size = plain.len() as u64;
        assert!(opens(&whole, 0, size));
        for at in [0, 65_536, 65_551, 65_552, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 0x80;
            assert!(!opens(&changed, 0, size), "{at}");
        }
        let chunk = SEALED_CHUNK_BYTES as usize;
        let swapped = [&whole[chunk..2 * chunk], &whole[..chunk], &whole[2 * chunk..]].concat();
        assert!(!opens(&swapped, 0, size));
        // Cut off where a chunk ends, by somebody who says that the part is that much smaller.
        assert!(!opens(&whole[..2 * chunk], 0, size - CHUNK_BYTES));
        assert!(!opens(&whole[..whole.len() - 1], 0, size));
        let other = DataKey::of_test(1).part("tag", 4);
        assert!(open_chunks(&other, 0, size, &mut whole.clone()).is_none());
    }
}
