//! Whether a history of one object can have happened one operation after the other, each at some moment between its beginning and its
//! end: Wing and Gong's search with the memory of Lowe's variant ("Testing for linearizability", 2017).
//!
//! An operation whose outcome its client never heard may have happened at any time after its beginning, or not at all.

use std::collections::HashSet;

/// Omap keys that are used.
pub const PAIRS: usize = 3;

/// Values are not 0, which stands for a block never written, and for an attribute that is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Object {
    pub blocks: Vec<u32>,
    /// An xattr.
    pub mark: u32,
    pub pairs: [u32; PAIRS],
}

pub type State = Option<Object>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Data and attributes, of one moment.
    Read,
    ReadData,
    /// All blocks anew; attributes stay.
    WriteFull(Vec<u32>),
    /// One block; blocks before it that are missing are zeros.
    Write {
        block: usize,
        value: u32,
    },
    /// As `Write`, and with it the mark and a pair.
    WriteMarked {
        block: usize,
        value: u32,
        pair: usize,
    },
    Append(u32),
    Truncate {
        blocks: usize,
    },
    Zero {
        block: usize,
    },
    Mark(u32),
    SetPair {
        pair: usize,
        value: u32,
    },
    RemovePair {
        pair: usize,
    },
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Read(State),
    ReadData(Option<Vec<u32>>),
    /// ENOENT of a removal.
    NotFound,
    /// The client does not know.
    Unknown,
}

/// One operation, as its client saw it. Times are of one clock.
#[derive(Clone, Debug)]
pub struct Event {
    pub began: u64,
    pub ended: u64,
    pub operation: Operation,
    pub outcome: Outcome,
}

/// The state after the operation, if it can have had this outcome on `state`.
fn apply(state: &State, event: &Event) -> Option<State> {
    let unknown = event.outcome == Outcome::Unknown;
    match (&event.operation, &event.outcome) {
        (Operation::Read, Outcome::Read(seen)) => return (seen == state).then(|| state.clone()),
        (Operation::ReadData, Outcome::ReadData(seen)) => {
            return (seen.as_ref() == state.as_ref().map(|object| &object.blocks)).then(|| state.clone());
        }
        (Operation::Read | Operation::ReadData, _) => return Some(state.clone()),
        (Operation::Remove, Outcome::NotFound) => return state.is_none().then_some(None),
        (Operation::Remove, _) => return (unknown || state.is_some()).then_some(None),
        _ => {}
    }
    let mut object = state.clone().unwrap_or_default();
    let blocks = &mut object.blocks;
    let mut write = |block: usize, value: u32| {
        if blocks.len() <= block {
            blocks.resize(block + 1, 0);
        }
        blocks[block] = value;
    };
    match &event.operation {
        Operation::Read | Operation::ReadData | Operation::Remove => unreachable!("dealt with above"),
        Operation::WriteFull(blocks) => object.blocks.clone_from(blocks),
        Operation::Write { block, value } => write(*block, *value),
        Operation::WriteMarked { block, value, pair } => {
            write(*block, *value);
            object.mark = *value;
            object.pairs[*pair] = *value;
        }
        Operation::Append(value) => object.blocks.push(*value),
        Operation::Truncate { blocks } => object.blocks.resize(*blocks, 0),
        Operation::Zero { block } => write(*block, 0),
        Operation::Mark(value) => object.mark = *value,
        Operation::SetPair { pair, value } => object.pairs[*pair] = *value,
        Operation::RemovePair { pair } => object.pairs[*pair] = 0,
    }
    Some(Some(object))
}

/// `Err` says which operations have no place. At most 128 events.
pub fn check(events: &[Event]) -> Result<(), String> {
    assert!(events.len() <= 128, "{} operations on one object are too many to search", events.len());
    let mut events = events.to_vec();
    events.sort_by_key(|event| event.began);
    let mut seen: HashSet<(u128, State)> = HashSet::new();
    let mut stack: Vec<(u128, State)> = vec![(0, None)];
    let wanted: u128 = events
        .iter()
        .enumerate()
        .filter(|(_, event)| event.outcome != Outcome::Unknown)
        .map(|(index, _)| 1 << index)
        .sum();
    let mut furthest = (0, 0_u128, None);
    while let Some((done, state)) = stack.pop() {
        if done & wanted == wanted {
            return Ok(());
        }
        if !seen.insert((done, state.clone())) {
            continue;
        }
        let count = (done & wanted).count_ones();
        if count >= furthest.0 {
            furthest = (count, done, state.clone());
        }
        // An operation may be next only if none that is left had ended before it began.
        let mut first_end = u64::MAX;
        for (index, event) in events.iter().enumerate() {
            if done & (1 << index) == 0 && event.outcome != Outcome::Unknown {
                first_end = first_end.min(event.ended);
            }
        }
        for (index, event) in events.iter().enumerate() {
            if done & (1 << index) != 0 || event.began > first_end {
                continue;
            }
            if let Some(next) = apply(&state, event) {
                stack.push((done | 1 << index, next));
            }
        }
    }
    let (_, done, state) = furthest;
    let left: Vec<String> = events
        .iter()
        .enumerate()
        .filter(|(index, _)| done & (1 << index) == 0)
        .take(8)
        .map(|(_, event)| format!("{event:?}"))
        .collect();
    let before: Vec<String> = events
        .iter()
        .enumerate()
        .filter(|(index, _)| done & (1 << index) != 0)
        .map(|(_, event)| format!("{event:?}"))
        .rev()
        .take(8)
        .collect();
    Err(format!(
        "no order explains it; with {state:?} there is no place for any of:\n  {}\nafter (newest first)\n  {}",
        left.join("\n  "),
        before.join("\n  ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(began: u64, ended: u64, operation: Operation, outcome: Outcome) -> Event {
        Event { began, ended, operation, outcome }
    }

    fn write(began: u64, ended: u64, value: u32) -> Event {
        event(began, ended, Operation::WriteFull(vec![value]), Outcome::Done)
    }

    fn read(began: u64, ended: u64, seen: &[u32]) -> Event {
        event(began, ended, Operation::ReadData, Outcome::ReadData(Some(seen.to_vec())))
    }

    #[test]
    fn what_happened_one_after_the_other_is_linearizable() {
        assert!(check(&[write(0, 1, 7), read(2, 3, &[7]), write(4, 5, 8), read(6, 7, &[8])]).is_ok());
    }

    #[test]
    fn a_stale_read_is_not() {
        assert!(check(&[write(0, 1, 7), write(2, 3, 8), read(4, 5, &[7])]).is_err());
    }

    #[test]
    fn a_read_beside_a_write_may_see_either_but_two_reads_not_first_the_new_then_the_old() {
        assert!(check(&[write(0, 1, 7), write(2, 9, 8), read(3, 4, &[7]), read(5, 6, &[8])]).is_ok());
        assert!(check(&[write(0, 1, 7), write(2, 9, 8), read(3, 4, &[8]), read(5, 6, &[7])]).is_err());
    }

    #[test]
    fn a_lost_write_is_noticed_and_an_unknown_one_excused() {
        let gone = event(4, 5, Operation::Read, Outcome::Read(None));
        assert!(check(&[write(0, 1, 7), gone.clone()]).is_err());
        let unknown = event(0, 1, Operation::WriteFull(vec![7]), Outcome::Unknown);
        assert!(check(&[unknown.clone(), gone]).is_ok());
        assert!(check(&[unknown, read(4, 5, &[7])]).is_ok());
    }

    #[test]
    fn an_append_that_was_done_twice_is_noticed() {
        let append = |began, value| event(began, began + 1, Operation::Append(value), Outcome::Done);
        assert!(check(&[append(0, 1), append(2, 2), read(4, 5, &[1, 2])]).is_ok());
        assert!(check(&[append(0, 1), append(2, 2), read(4, 5, &[1, 2, 2])]).is_err());
    }

    #[test]
    fn half_of_what_was_written_together_is_noticed() {
        let written = event(0, 9, Operation::WriteMarked { block: 0, value: 7, pair: 1 }, Outcome::Done);
        let seen = |mark, pairs| {
            let object = Object { blocks: vec![7], mark, pairs };
            event(1, 2, Operation::Read, Outcome::Read(Some(object)))
        };
        assert!(check(&[written.clone(), seen(7, [0, 7, 0])]).is_ok());
        assert!(check(&[written.clone(), seen(0, [0, 7, 0])]).is_err());
        assert!(check(&[written, seen(7, [0, 0, 0])]).is_err());
    }

    #[test]
    fn removing_what_is_not_there_says_so() {
        let remove = |began, outcome| event(began, began + 1, Operation::Remove, outcome);
        assert!(check(&[write(0, 1, 7), remove(2, Outcome::Done), remove(4, Outcome::NotFound)]).is_ok());
        assert!(check(&[write(0, 1, 7), remove(2, Outcome::NotFound)]).is_err());
        assert!(check(&[remove(2, Outcome::Done)]).is_err());
    }
}
