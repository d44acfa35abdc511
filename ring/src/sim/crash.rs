//! What a power cut leaves of a write that was not durable.

use super::random::Random;

/// The unit a disk writes whole or not at all.
pub(super) const SECTOR: usize = 512;

/// Keeps the write whole, in part or not at all, by calling `keep` with what survives.
pub(super) fn survive(random: &mut Random, offset: u64, data: &[u8], mut keep: impl FnMut(u64, &[u8])) {
    match random.below(10) {
        0..4 => keep(offset, data),
        4..7 => {}
        _ => {
            let mut fates = 0;
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                if index % 64 == 0 {
                    fates = random.next();
                }
                if fates >> (index % 64) & 1 == 1 {
                    keep(offset + (index * SECTOR) as u64, sector);
                }
            }
        }
    }
}
