//! Which parts of an object are in the cache for what reason: 64 regions of it, as bits, with a count of accesses each.
//!
//! Regions begin at 4 KiB each, and double until what is accessed lies in one of them; the last reaches to the object's end, however far that
//! is. So small objects are known block by block, and one of 4 MiB by 64 KiB, at 56 bytes an object.

use std::ops::Range;

/// Counts go up to 7: for stationary popularity, better by a point than the 3 of S3-FIFO's paper (`tier/tests/hit_ratio.rs` has the trace).
const PLANES: usize = 3;
const SHIFT_MIN: u8 = 12;
const LAST: u64 = 1 << 63;

/// A set of regions of one object.
pub type Mask = u64;

#[derive(Clone, Debug)]
pub struct Regions {
    /// Of a region's bytes, the logarithm.
    shift: u8,
    /// There may be clean bytes.
    pub live: Mask,
    /// Of those, what stands in the main queue; the rest is in the small one.
    pub settled: Mask,
    /// Written to since all of the object was clean.
    pub written: Mask,
    /// The counts' bits, least significant first.
    counts: [Mask; PLANES],
}

/// A region where each of two neighbours was. What reached to the object's end still does.
fn fold(mask: Mask) -> Mask {
    let pairs = mask | mask >> 1;
    let folded = (0..32).fold(0, |folded, bit| folded | (pairs >> (2 * bit) & 1) << bit);
    if mask & LAST == 0 { folded } else { folded | !0 << 31 }
}

/// A mask taken when regions were of `from`, for regions of `to`, which are no smaller.
pub fn folded(mask: Mask, from: u8, to: u8) -> Mask {
    (from..to).fold(mask, |mask, _| fold(mask))
}

impl Regions {
    pub const fn new() -> Regions {
        Regions { shift: SHIFT_MIN, live: 0, settled: 0, written: 0, counts: [0; PLANES] }
    }

    pub fn shift(&self) -> u8 {
        self.shift
    }

    /// The regions that a range of bytes touches, after making them as large as that takes.
    pub fn of(&mut self, range: &Range<u64>) -> Mask {
        let end = range.end.max(range.start + 1);
        while (end - 1) >> self.shift > 63 && self.shift < 57 {
            self.shift += 1;
            self.live = fold(self.live);
            self.settled = fold(self.settled) & self.live;
            self.written = fold(self.written);
            // The greater of two counts would be right; this is it, or more.
            self.counts = self.counts.map(fold);
        }
        let (first, last) = ((range.start >> self.shift).min(63), ((end - 1) >> self.shift).min(63));
        (!0 << first) & (!0 >> (63 - last))
    }

    /// Counts an access.
    pub fn touch(&mut self, mask: Mask) {
        let mut carry = mask & !self.counts.iter().fold(!0, |all, plane| all & plane);
        for plane in &mut self.counts {
            let both = *plane & carry;
            *plane ^= carry;
            carry = both;
        }
    }

    /// Takes one from each count that is not zero.
    pub fn age(&mut self, mask: Mask) {
        let mut borrow = mask & !self.idle();
        for plane in &mut self.counts {
            let next = borrow & !*plane;
            *plane ^= borrow;
            borrow = next;
        }
    }

    pub fn forget_counts(&mut self, mask: Mask) {
        self.counts.iter_mut().for_each(|plane| *plane &= !mask);
    }

    /// Regions with a count of zero.
    pub fn idle(&self) -> Mask {
        !self.counts.iter().fold(0, |any, plane| any | plane)
    }

    /// Regions with a count of two at least.
    pub fn popular(&self) -> Mask {
        self.counts[1..].iter().fold(0, |any, plane| any | plane)
    }

    /// The bytes of these regions, neighbours together; without end where that is the object's.
    pub fn ranges(&self, mask: Mask) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for region in (0..64u64).filter(|region| mask >> region & 1 == 1) {
            let (from, to) = (region << self.shift, if region == 63 { u64::MAX } else { (region + 1) << self.shift });
            match ranges.last_mut() {
                Some(last) if last.end == from => last.end = to,
                _ => ranges.push(from..to),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_grow_with_the_object_and_keep_what_they_know() {
        let mut regions = Regions::new();
        assert_eq!(regions.of(&(0..4096)), 1);
        assert_eq!(regions.of(&(4095..4097)), 3);
        regions.live = regions.of(&(8192..12288));
        regions.touch(regions.live);
        let whole = regions.of(&(0..4 << 20));
        assert_eq!((whole, regions.shift()), (!0, 16));
        assert_eq!((regions.live, !regions.idle()), (1, 1), "what was known of 4 KiB is known of the 64 around them");
        assert_eq!(regions.of(&(65536..65537)), 2);
    }

    #[test]
    fn what_reached_to_the_end_still_does() {
        let mut regions = Regions::new();
        regions.live = !0;
        regions.of(&(1 << 20..(1 << 20) + 1));
        assert_eq!(regions.live, !0);
        assert_eq!(regions.ranges(!0).first(), Some(&(0..u64::MAX)));
    }

    #[test]
    fn counts_go_from_zero_to_seven_and_back() {
        let mut regions = Regions::new();
        for count in 0..10 {
            assert_eq!(regions.idle() & 1, u64::from(count == 0));
            assert_eq!(regions.popular() & 1, u64::from(count >= 2));
            regions.touch(0b101);
        }
        for _ in 0..7 {
            assert_eq!(regions.idle() & 0b111, 0b010);
            regions.age(!0);
        }
        assert_eq!(regions.idle(), !0);
        regions.age(!0);
        assert_eq!(regions.idle(), !0);
    }

    #[test]
    fn ranges_are_those_of_the_mask() {
        let mut regions = Regions::new();
        regions.of(&(0..512 << 10));
        assert_eq!(regions.ranges(0b1101), [0..8192, 16384..32768]);
        assert_eq!(regions.ranges(1 << 63).first(), Some(&(63 * 8192..u64::MAX)));
    }
}
