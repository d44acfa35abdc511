//! Which of an object's copies are right, judged by their digests.
//!
//! What a store can't read is wrong for sure. Of copies that can be read and differ, those of the newest version are right: a write is
//! on all members before it counts, so an older copy has lost it. Copies of one version that differ are settled by a majority of all.
//! That an object is missing proves nothing by itself, as its removal leaves nothing either: it is made anew where a majority has it,
//! and never removed because others lack it, unless an operator asks for it.

use basalt_net::message::peer::ObjectDigest;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copy {
    Absent,
    Whole { version: u64, size: u64, data: u32, attributes: u32 },
    Damaged(String),
}

impl From<Option<ObjectDigest>> for Copy {
    fn from(digest: Option<ObjectDigest>) -> Copy {
        match digest {
            None => Copy::Absent,
            Some(digest) if !digest.error.is_empty() => Copy::Damaged(digest.error),
            Some(ObjectDigest { version, size, data, attributes, .. }) => {
                Copy::Whole { version, size, data, attributes }
            }
        }
    }
}

impl Copy {
    fn version(&self) -> Option<u64> {
        match self {
            Copy::Whole { version, .. } => Some(*version),
            Copy::Absent | Copy::Damaged(_) => None,
        }
    }

    fn is_damaged(&self) -> bool {
        matches!(self, Copy::Damaged(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Agree,
    /// The copies of these OSDs are to be made like the one of `good`.
    Known {
        good: u32,
        bad: Vec<u32>,
    },
    Unknown,
}

/// `copies`: the primary's first. `settle`: an operator wants an end to it, whichever copy it be.
pub fn judge(copies: &[(u32, Copy)], settle: bool) -> Verdict {
    let readable: Vec<&(u32, Copy)> = copies.iter().filter(|(_, copy)| !copy.is_damaged()).collect();
    let Some((_, first)) = readable.first() else { return Verdict::Unknown };
    if readable.iter().all(|(_, copy)| copy == first) {
        return if readable.len() == copies.len() { Verdict::Agree } else { like(copies, first) };
    }
    let votes = |wanted: &Copy| readable.iter().filter(|(_, copy)| copy == wanted).count();
    let newest = readable.iter().filter_map(|(_, copy)| copy.version()).max();
    let of_newest = || readable.iter().map(|(_, copy)| copy).filter(|copy| copy.version() == newest);
    let mut lacking = readable.iter().filter(|(_, copy)| *copy == Copy::Absent);
    if let Some(candidate) = of_newest().next() {
        let is_alone_in_version = of_newest().all(|copy| copy == candidate);
        if is_alone_in_version && lacking.next().is_none() {
            return like(copies, candidate);
        }
    }
    let majority = readable.iter().map(|(_, copy)| copy).find(|copy| 2 * votes(copy) > copies.len());
    match majority {
        Some(copy) if settle || *copy != Copy::Absent && copy.version() == newest => like(copies, copy),
        None if settle => like(copies, first),
        _ => Verdict::Unknown,
    }
}

fn like(copies: &[(u32, Copy)], wanted: &Copy) -> Verdict {
    let good = copies.iter().find(|(_, copy)| copy == wanted).map(|(osd, _)| *osd);
    let bad = copies.iter().filter(|(_, copy)| copy != wanted).map(|(osd, _)| *osd).collect();
    good.map_or(Verdict::Unknown, |good| Verdict::Known { good, bad })
}

/// What the copies are, in one line.
pub fn show(copies: &[(u32, Copy)]) -> String {
    let shown: Vec<String> = copies
        .iter()
        .map(|(osd, copy)| match copy {
            Copy::Absent => format!("osd.{osd} has none"),
            Copy::Whole { version, size, data, attributes } => {
                let version = super::version::show(*version);
                format!("osd.{osd} has version {version} of {size} bytes ({data:08x}, attributes {attributes:08x})")
            }
            Copy::Damaged(why) => format!("osd.{osd} can't read its own ({why})"),
        })
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(version: u64, data: u32) -> Copy {
        Copy::Whole { version, size: 8, data, attributes: 0 }
    }

    fn damaged() -> Copy {
        Copy::Damaged("rot".into())
    }

    fn judged<const N: usize>(copies: [Copy; N], settle: bool) -> Verdict {
        let copies: Vec<(u32, Copy)> = (0..).zip(copies).collect();
        judge(&copies, settle)
    }

    fn known(good: u32, bad: &[u32]) -> Verdict {
        Verdict::Known { good, bad: bad.to_vec() }
    }

    #[test]
    fn copies_that_are_the_same_agree() {
        assert_eq!(judged([whole(5, 1), whole(5, 1), whole(5, 1)], false), Verdict::Agree);
        assert_eq!(judged([Copy::Absent, Copy::Absent], false), Verdict::Agree);
    }

    #[test]
    fn what_cannot_be_read_is_made_like_what_can() {
        assert_eq!(judged([damaged(), whole(5, 1), whole(5, 1)], false), known(1, &[0]));
        assert_eq!(judged([damaged(), whole(5, 1), damaged()], false), known(1, &[0, 2]));
        assert_eq!(judged([damaged(), damaged()], true), Verdict::Unknown);
    }

    #[test]
    fn an_older_copy_has_lost_a_write_however_many_there_are_of_it() {
        assert_eq!(judged([whole(5, 1), whole(6, 2)], false), known(1, &[0]));
        assert_eq!(judged([whole(5, 1), whole(6, 2), whole(5, 1)], false), known(1, &[0, 2]));
    }

    #[test]
    fn copies_of_one_version_are_settled_by_a_majority_only() {
        assert_eq!(judged([whole(5, 2), whole(5, 1), whole(5, 1)], false), known(1, &[0]));
        assert_eq!(judged([whole(5, 2), whole(5, 1)], false), Verdict::Unknown);
        assert_eq!(judged([whole(5, 2), whole(5, 1), damaged()], false), Verdict::Unknown);
    }

    #[test]
    fn a_missing_copy_is_made_anew_where_a_majority_has_it_and_none_is_removed() {
        assert_eq!(judged([Copy::Absent, whole(5, 1), whole(5, 1)], false), known(1, &[0]));
        assert_eq!(judged([whole(5, 1), Copy::Absent, Copy::Absent], false), Verdict::Unknown);
        assert_eq!(judged([whole(5, 1), Copy::Absent], false), Verdict::Unknown);
    }

    #[test]
    fn an_operator_gets_an_end_to_it() {
        assert_eq!(judged([whole(5, 1), Copy::Absent, Copy::Absent], true), known(1, &[0]));
        assert_eq!(judged([whole(5, 1), Copy::Absent], true), known(0, &[1]));
        assert_eq!(judged([whole(5, 2), whole(5, 1)], true), known(0, &[1]));
    }
}
