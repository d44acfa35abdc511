use crate::random_map::random_map;
use basalt_cluster::crush::{CrushMap, DecodeError, text};
use proptest::prelude::*;

fn encoded(map: &CrushMap) -> Vec<u8> {
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    bytes
}

/// With the checksum of what is now in it.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn a_map_is_the_same_after_it_was_encoded(seed in any::<u64>()) {
        let Ok(map) = text::compile(&random_map(seed).0) else { return Ok(()) };
        let bytes = encoded(&map);
        prop_assert!(CrushMap::is_encoded(&bytes));
        let again = CrushMap::decode(&bytes).unwrap();
        prop_assert_eq!(&again, &map);
        prop_assert_eq!(encoded(&again), bytes);
    }

    #[test]
    fn bytes_that_are_no_map_are_refused(seed in any::<u64>(), at in any::<prop::sample::Index>(), value in any::<u32>()) {
        let Ok(map) = text::compile(&random_map(seed % 50).0) else { return Ok(()) };
        let mut bytes = encoded(&map);
        let at = 16 + at.index(bytes.len() - 16);
        for (place, byte) in bytes[at..].iter_mut().zip(value.to_le_bytes()) {
            *place = byte;
        }
        // Whatever is taken is a whole map; the rest is refused in words.
        match CrushMap::decode(&sealed(bytes.clone())) {
            Ok(other) => prop_assert_eq!(encoded(&other), sealed(bytes)),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}

#[test]
fn a_map_that_is_cut_or_damaged_is_refused() {
    let bytes = encoded(&CrushMap::new_default());
    for length in 0..bytes.len() {
        assert!(CrushMap::decode(&bytes[..length]).is_err(), "{length}");
        if length > 16 {
            assert!(matches!(CrushMap::decode(&sealed(bytes[..length].to_vec())), Err(DecodeError::Malformed { .. })));
        }
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(CrushMap::decode(&damaged).is_err(), "{at}");
    }
    assert!(CrushMap::decode(&sealed([bytes.clone(), vec![0]].concat())).is_err());
    let mut newer = bytes;
    newer[8] = 3;
    assert_eq!(CrushMap::decode(&newer), Err(DecodeError::Version(3)));
}
