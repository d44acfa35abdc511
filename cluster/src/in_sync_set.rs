//! Who is in a placement group's in-sync set, and who leads it, as PacificA has it: a member that fails leaves the set through the
//! monitor before a write completes without it, one that was filled joins it, and primaries come from the set only. Pure.
//!
//! Every member of the set has every acknowledged write. So any of them can lead, and none may be taken out lightly: the set never
//! shrinks below what the pool needs for a write, because below that nothing is acknowledged and whoever comes back is still whole.

use crate::map::PlacementGroup;

/// What the decision depends on besides the group itself.
pub struct Surroundings<'a> {
    /// The OSDs that CRUSH chooses for the group and that are up, in its order.
    pub up: &'a [u32],
    pub is_up: &'a dyn Fn(u32) -> bool,
    /// Whether clients reach an OSD, so that it is of use as a primary.
    pub is_reachable: &'a dyn Fn(u32) -> bool,
    pub size: usize,
    pub min_size: usize,
}

/// The group's next configuration, or `None` if it stays as it is. `changed_epoch` is the caller's.
pub fn next(group: &PlacementGroup, around: &Surroundings<'_>) -> Option<PlacementGroup> {
    if is_at_rest(group, around) { None } else { next_by_rule(group, around) }
}

/// Whether the set is what CRUSH wants, all of it up, led by whom CRUSH wants: so are nearly all groups nearly always.
fn is_at_rest(group: &PlacementGroup, around: &Surroundings<'_>) -> bool {
    let lead = around.up.first().copied();
    group.in_sync == around.up && group.primary == lead && lead.is_none_or(around.is_reachable)
}

fn next_by_rule(group: &PlacementGroup, around: &Surroundings<'_>) -> Option<PlacementGroup> {
    let in_sync = next_members(group, around);
    let primary = next_primary(group, &in_sync, around);
    let reign = group.reign + u32::from(primary != group.primary);
    let next = PlacementGroup { in_sync, primary, reign, changed_epoch: group.changed_epoch };
    (next != *group).then_some(next)
}

fn next_members(group: &PlacementGroup, around: &Surroundings<'_>) -> Vec<u32> {
    if group.in_sync.is_empty() {
        // Nobody holds anything yet, so everybody holds all of it.
        return around.up.to_vec();
    }
    let live: Vec<u32> = group.in_sync.iter().copied().filter(|id| (around.is_up)(*id)).collect();
    if live.len() < around.min_size.max(1) {
        return group.in_sync.clone();
    }
    // Those that CRUSH wants first; the others stay as long as they are needed for full redundancy, the primary longest.
    let mut members: Vec<u32> = around.up.iter().copied().filter(|id| live.contains(id)).collect();
    let (lead, rest): (Vec<u32>, Vec<u32>) =
        live.into_iter().filter(|id| !around.up.contains(id)).partition(|id| Some(*id) == group.primary);
    let room = around.size.saturating_sub(members.len());
    members.extend(lead.into_iter().chain(rest).take(room));
    members
}

fn next_primary(group: &PlacementGroup, in_sync: &[u32], around: &Surroundings<'_>) -> Option<u32> {
    let can_lead = |id: &u32| in_sync.contains(id) && (around.is_up)(*id);
    let wanted = around.up.first().copied().filter(|id| can_lead(id) && (around.is_reachable)(*id));
    let is_whole = around.up.len() >= around.min_size && around.up.iter().all(|id| in_sync.contains(id));
    match group.primary.filter(can_lead) {
        // A change of the primary costs its clients a moment: it waits until all members that CRUSH wants are there.
        Some(primary) if (around.is_reachable)(primary) => match wanted {
            Some(wanted) if is_whole => Some(wanted),
            _ => Some(primary),
        },
        stays => {
            let reachable = in_sync.iter().copied().find(|id| can_lead(id) && (around.is_reachable)(*id));
            let any = || stays.or_else(|| in_sync.iter().copied().find(can_lead));
            // While none of them is up, the last primary is kept: it says where the data is.
            reachable.or_else(any).or(group.primary.filter(|id| in_sync.contains(id)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn group(in_sync: &[u32], primary: Option<u32>) -> PlacementGroup {
        PlacementGroup { in_sync: in_sync.to_vec(), primary, reign: 5, changed_epoch: 9 }
    }

    fn after(group: &PlacementGroup, up: &[u32], down: &[u32], size: usize, min_size: usize) -> PlacementGroup {
        let is_up = |id| !down.contains(&id);
        let around = Surroundings { up, is_up: &is_up, is_reachable: &|_| true, size, min_size };
        next(group, &around).unwrap_or_else(|| group.clone())
    }

    #[test]
    fn a_new_group_is_held_by_whom_crush_chooses() {
        let made = after(&PlacementGroup::default(), &[4, 2, 7], &[], 3, 2);
        assert_eq!((made.in_sync, made.primary, made.reign), (vec![4, 2, 7], Some(4), 1));
    }

    #[test]
    fn a_member_that_is_down_leaves_but_never_below_min_size() {
        let full = group(&[1, 2, 3], Some(1));
        let one_down = after(&full, &[2, 3], &[1], 3, 2);
        assert_eq!((one_down.in_sync.as_slice(), one_down.primary, one_down.reign), (&[2, 3][..], Some(2), 6));
        let two_down = after(&one_down, &[3], &[1, 2], 3, 2);
        assert_eq!((two_down.in_sync.as_slice(), two_down.primary), (&[2, 3][..], Some(3)));
        let at_once = after(&full, &[3], &[1, 2], 3, 2);
        assert_eq!((at_once.in_sync.as_slice(), at_once.primary), (&[1, 2, 3][..], Some(3)));
        let all_down = after(&full, &[], &[1, 2, 3], 3, 2);
        assert_eq!(all_down, full);
    }

    #[test]
    fn what_is_drained_leaves_only_when_others_have_taken_its_place() {
        // osd.1 is out: CRUSH wants 2, 3 and 4.
        let draining = after(&group(&[1, 2, 3], Some(1)), &[2, 3, 4], &[], 3, 2);
        assert_eq!((draining.in_sync.clone(), draining.primary), (vec![2, 3, 1], Some(1)));
        let joined = PlacementGroup { in_sync: vec![2, 3, 1, 4], ..draining };
        let drained = after(&joined, &[2, 3, 4], &[], 3, 2);
        assert_eq!((drained.in_sync, drained.primary), (vec![2, 3, 4], Some(2)));
    }

    #[test]
    fn a_primary_that_clients_do_not_reach_gives_way_to_one_they_do() {
        let around = |reachable: &'static [u32]| Surroundings {
            up: &[1, 2, 3],
            is_up: &|_| true,
            is_reachable: Box::leak(Box::new(move |id| reachable.contains(&id))),
            size: 3,
            min_size: 2,
        };
        let moved = next(&group(&[1, 2, 3], Some(1)), &around(&[2, 3])).unwrap();
        assert_eq!((moved.primary, moved.in_sync.len()), (Some(2), 3));
        assert_eq!(next(&moved, &around(&[2, 3])), None);
        assert_eq!(next(&moved, &around(&[1, 2, 3])).unwrap().primary, Some(1));
        assert_eq!(next(&moved, &around(&[])), None);
    }

    proptest! {
        /// Whatever goes down, comes back and moves: a member of the set is never lost unless enough others have all it has.
        #[test]
        fn the_set_keeps_who_has_everything(
            size in 1usize..5,
            less in 0usize..3,
            steps in prop::collection::vec((prop::collection::btree_set(0u32..8, 0..6), prop::sample::subsequence((0u32..8).collect::<Vec<_>>(), 0..5), any::<bool>()), 1..40),
        ) {
            let min_size = size.saturating_sub(less).max(1);
            let mut now = PlacementGroup::default();
            for (down, wanted, joins) in steps {
                let up: Vec<u32> = wanted.into_iter().filter(|id| !down.contains(id)).take(size).collect();
                let is_up = |id| !down.contains(&id);
                let around = Surroundings { up: &up, is_up: &is_up, is_reachable: &|_| true, size, min_size };
                if joins && !now.in_sync.is_empty() && let Some(joining) = up.iter().find(|id| !now.in_sync.contains(id)) {
                    now.in_sync.push(*joining);
                }
                let Some(then) = next(&now, &around) else { continue };
                let lost: BTreeSet<u32> = now.in_sync.iter().copied().filter(|id| !then.in_sync.contains(id)).collect();
                let live = then.in_sync.iter().filter(|id| is_up(**id)).count();
                prop_assert!(lost.is_empty() || live >= min_size, "{now:?} became {then:?} with {down:?} down");
                if !now.in_sync.is_empty() {
                    prop_assert!(then.in_sync.iter().all(|id| now.in_sync.contains(id)), "{now:?} became {then:?}");
                }
                prop_assert!(then.primary.is_none_or(|id| then.in_sync.contains(&id)));
                prop_assert!(then.in_sync.len() <= size.max(now.in_sync.len()));
                prop_assert_eq!(then.reign > now.reign, then.primary != now.primary);
                // It is at rest: the same surroundings bring no other decision.
                prop_assert_eq!(next(&then, &around), None);
                prop_assert!(!is_at_rest(&then, &around) || next_by_rule(&then, &around).is_none());
                now = then;
            }
        }
    }
}
