//! Versions: which change of a placement group. The upper part is the reign it was ordered in, the lower part counts on.
//!
//! No two primaries of a group ever reign by the same number, so no two changes ever have the same version, on whatever OSD: two logs
//! are equal where their versions are.

const SEQUENCE_BITS: u32 = 40;
const SEQUENCE_MAX: u64 = (1 << SEQUENCE_BITS) - 1;

/// The version after `newest` in a reign. `None`: the numbers of the reign are used up.
pub fn next(newest: u64, reign: u32) -> Option<u64> {
    let sequence = (newest & SEQUENCE_MAX) + 1;
    let next = u64::from(reign) << SEQUENCE_BITS | sequence;
    (sequence <= SEQUENCE_MAX && u64::from(reign) < 1 << (64 - SEQUENCE_BITS) && next > newest).then_some(next)
}

/// As people read it: reign and sequence.
pub fn show(version: u64) -> String {
    format!("{}'{}", version >> SEQUENCE_BITS, version & SEQUENCE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_rise_within_a_reign_and_from_one_to_the_next() {
        let first = next(0, 1).unwrap();
        let second = next(first, 1).unwrap();
        let of_next_reign = next(second, 2).unwrap();
        assert!(first < second && second < of_next_reign);
        assert_eq!([first, second, of_next_reign].map(show), ["1'1", "1'2", "2'3"]);
        assert_eq!(next(of_next_reign, 1), None, "a reign that is over gives no versions");
        assert_eq!(next(1 << 40 | SEQUENCE_MAX, 1), None);
    }
}
