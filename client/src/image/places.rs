//! Where an image's objects were found: in which layer of its chain. Remembered as long as the chain is the same.

use std::collections::BTreeMap;

/// Of one object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Unknown,
    /// In the layer so deep in the chain; 0 is the top.
    At(usize),
    /// In none: it is all zeros.
    Nowhere,
}

const UNKNOWN: u8 = 255;
const NOWHERE: u8 = 254;
const PAGE: u64 = 4096;

/// A byte an object, in pages made when first touched.
#[derive(Default)]
pub struct Places {
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Places {
    pub fn get(&self, index: u64) -> Place {
        let byte = self.pages.get(&(index / PAGE)).and_then(|page| page.get((index % PAGE) as usize));
        match byte.copied().unwrap_or(UNKNOWN) {
            UNKNOWN => Place::Unknown,
            NOWHERE => Place::Nowhere,
            depth => Place::At(depth as usize),
        }
    }

    pub fn set(&mut self, index: u64, place: Place) {
        let byte = match place {
            Place::Unknown => UNKNOWN,
            Place::Nowhere => NOWHERE,
            Place::At(depth) => u8::try_from(depth).ok().filter(|depth| *depth < NOWHERE).unwrap_or(UNKNOWN),
        };
        let page = self.pages.entry(index / PAGE).or_insert_with(|| vec![UNKNOWN; PAGE as usize]);
        if let Some(known) = page.get_mut((index % PAGE) as usize) {
            *known = byte;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_object_has_a_place_of_its_own() {
        let mut places = Places::default();
        for (index, place) in
            [(0, Place::At(0)), (4095, Place::Nowhere), (4096, Place::At(253)), (1 << 28, Place::At(7))]
        {
            assert_eq!(places.get(index), Place::Unknown);
            places.set(index, place);
            assert_eq!(places.get(index), place);
        }
        places.set(4095, Place::Unknown);
        assert_eq!(places.get(4095), Place::Unknown);
        places.set(1, Place::At(254));
        assert_eq!(places.get(1), Place::Unknown, "too deep to be remembered");
    }
}
