//! Whether a history of one object can have happened one operation after the other, each at some moment between its beginning and its
//! end: Wing and Gong's search with the memory of Lowe's variant ("Testing for linearizability", 2017).
//!
//! An operation whose outcome its client never heard may have happened at any time after its beginning, or not at all.

use std::collections::HashSet;

/// The object: `None` if there is none, else the value of each block.
pub type State = Option<Vec<u32>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    /// All blocks anew.
    WriteFull(Vec<u32>),
    /// One block; blocks before it that are missing are zeros.
    Write {
        block: usize,
        value: u32,
    },
    Append(u32),
    Truncate {
        blocks: usize,
    },
    Remove,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Read(State),
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
        (Operation::Read, Outcome::Read(seen)) => (seen == state).then(|| state.clone()),
        (Operation::Read, _) => Some(state.clone()),
        (Operation::Remove, Outcome::NotFound) => state.is_none().then_some(None),
        (Operation::Remove, _) => (unknown || state.is_some()).then_some(None),
        (Operation::WriteFull(blocks), _) => Some(Some(blocks.clone())),
        (Operation::Write { block, value }, _) => {
            let mut blocks = state.clone().unwrap_or_default();
            if blocks.len() <= *block {
                blocks.resize(block + 1, 0);
            }
            blocks[*block] = *value;
            Some(Some(blocks))
        }
        (Operation::Append(value), _) => {
            let mut blocks = state.clone().unwrap_or_default();
            blocks.push(*value);
            Some(Some(blocks))
        }
        (Operation::Truncate { blocks: count }, _) => {
            let mut blocks = state.clone().unwrap_or_default();
            blocks.resize(*count, 0);
            Some(Some(blocks))
        }
    }
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
        event(began, ended, Operation::Read, Outcome::Read(Some(seen.to_vec())))
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
    fn removing_what_is_not_there_says_so() {
        let remove = |began, outcome| event(began, began + 1, Operation::Remove, outcome);
        assert!(check(&[write(0, 1, 7), remove(2, Outcome::Done), remove(4, Outcome::NotFound)]).is_ok());
        assert!(check(&[write(0, 1, 7), remove(2, Outcome::NotFound)]).is_err());
        assert!(check(&[remove(2, Outcome::Done)]).is_err());
    }
}
