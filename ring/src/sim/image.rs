//! A disk's content, shared until written: cloning an image costs a reference for each chunk, so that a test can derive thousands of
//! crash images from one recording.

use std::rc::Rc;

const CHUNK: usize = 16 << 10;

/// The bytes of a simulated disk.
#[derive(Clone)]
pub struct Image {
    size: u64,
    /// None: zeros.
    chunks: Vec<Option<Rc<[u8; CHUNK]>>>,
}

impl Image {
    /// An image of zeros.
    pub fn new(size: u64) -> Image {
        let chunks = usize::try_from(size.div_ceil(CHUNK as u64)).expect("an image fits the address space");
        Image { size, chunks: vec![None; chunks] }
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// `false`: nothing was ever written near this byte, and zeros are there.
    pub fn may_be_written(&self, offset: u64) -> bool {
        self.chunks.get(offset as usize / CHUNK).is_some_and(|chunk| chunk.is_some())
    }

    /// Fills `bytes` from `offset`. Panics beyond the end.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) {
        self.check(offset, bytes.len());
        let mut position = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = position % CHUNK;
            let (piece, tail) = rest.split_at_mut(rest.len().min(CHUNK - within));
            match &self.chunks[position / CHUNK] {
                Some(chunk) => piece.copy_from_slice(&chunk[within..within + piece.len()]),
                None => piece.fill(0),
            }
            position += piece.len();
            rest = tail;
        }
    }

    /// Writes `bytes` at `offset`. Panics beyond the end.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.check(offset, bytes.len());
        let mut position = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = position % CHUNK;
            let (piece, tail) = rest.split_at(rest.len().min(CHUNK - within));
            let chunk = self.chunks[position / CHUNK].get_or_insert_with(|| Rc::new([0; CHUNK]));
            Rc::make_mut(chunk)[within..within + piece.len()].copy_from_slice(piece);
            position += piece.len();
            rest = tail;
        }
    }

    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size as usize];
        for (index, chunk) in self.chunks.iter().enumerate() {
            if let Some(chunk) = chunk {
                let start = index * CHUNK;
                let end = bytes.len().min(start + CHUNK);
                bytes[start..end].copy_from_slice(&chunk[..end - start]);
            }
        }
        bytes
    }

    fn check(&self, offset: u64, len: usize) {
        let fits = offset.checked_add(len as u64).is_some_and(|end| end <= self.size);
        assert!(fits, "{len} bytes at {offset} of an image of {} bytes", self.size);
    }
}

impl From<&[u8]> for Image {
    fn from(bytes: &[u8]) -> Image {
        let mut image = Image::new(bytes.len() as u64);
        for (index, piece) in bytes.chunks(CHUNK).enumerate() {
            if piece.iter().any(|byte| *byte != 0) {
                image.write((index * CHUNK) as u64, piece);
            }
        }
        image
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Image({} bytes)", self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_image_is_a_vector_and_its_clones_are_apart(
            writes in proptest::collection::vec((0usize..90_000, proptest::collection::vec(any::<u8>(), 1..40_000)), 1..8)
        ) {
            const SIZE: usize = 100_000;
            let mut model = vec![0u8; SIZE];
            let mut image = Image::new(SIZE as u64);
            for (offset, bytes) in writes {
                let bytes = &bytes[..bytes.len().min(SIZE - offset)];
                let before = image.clone();
                let model_before = model.clone();
                image.write(offset as u64, bytes);
                model[offset..offset + bytes.len()].copy_from_slice(bytes);
                prop_assert!(before.to_vec() == model_before);
            }
            prop_assert!(image.to_vec() == model);
            let mut middle = vec![1; 30_000];
            image.read(12_345, &mut middle);
            prop_assert!(middle == model[12_345..42_345]);
            prop_assert!(Image::from(&model[..]).to_vec() == model);
        }
    }
}
