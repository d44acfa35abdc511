//! A rule carried out for one input: which OSDs.
//!
//! Tries are counted as Ceph counts them. `choose_total_tries` was once a count of retries, so one is added to it; the local ones are
//! counts of retries still; a rule's own `set_…_tries` are counts of tries.

use super::hash::hash_2;
use super::limits::{RESULT_COUNT_MAX, WEIGHT_ONE};
use super::prepared::{Mapper, PreparedBucket};
use super::rule::{Choose, Mode, Step};
use super::workspace::Workspace;

/// A place of a mapping that no item was found for.
pub const ITEM_NONE: i32 = 0x7fff_ffff;
/// A place that is still being looked for.
const ITEM_UNDECIDED: i32 = 0x7fff_fffe;

/// A rule that is being carried out.
struct Run<'a> {
    mapper: &'a Mapper,
    x: u32,
    /// Of each device, 16.16: the chance that it takes what falls to it.
    reweights: &'a [u32],
    effort: Effort,
    workspace: &'a mut Workspace,
}

/// How hard and in which way items are looked for; a rule's steps may change it.
#[derive(Clone, Copy)]
struct Effort {
    tries: u32,
    /// 0: as the map's tunables say.
    leaf_tries: u32,
    local_retries: u32,
    local_fallback_retries: u32,
    vary_r: u32,
    stable: bool,
}

/// One search for items of a type in a bucket.
#[derive(Clone, Copy)]
struct Search {
    type_id: u16,
    /// How many are looked for, the ones found before included.
    count: usize,
    /// How many there is room for.
    room: usize,
    tries: u32,
    /// To find a device below each item; none when the items themselves are wanted.
    leaf_tries: Option<u32>,
    /// Added to the number of each try.
    parent_r: u32,
}

/// What became of a descent from a bucket toward a type.
enum Descent {
    Found(i32),
    /// An empty bucket: another try may do.
    Empty,
    /// A device in place of a bucket, or one that is not in the map: no try will do.
    Misfit,
}

impl Mapper {
    /// Where input `x` goes by a rule: up to `count` items, the primary first; places that stay empty are [`ITEM_NONE`] where the rule
    /// keeps places. A device beyond `reweights` is out. Nothing by a rule that does not exist.
    pub fn do_rule(
        &self,
        rule: u32,
        x: u32,
        count: usize,
        reweights: &[u32],
        workspace: &mut Workspace,
        out: &mut Vec<i32>,
    ) {
        out.clear();
        let Some(Some(steps)) = self.rules.get(rule as usize) else { return };
        let count = count.min(RESULT_COUNT_MAX);
        workspace.begin(self, count);
        let effort = Effort {
            tries: self.tunables.choose_total_tries + 1,
            leaf_tries: 0,
            local_retries: self.tunables.choose_local_tries,
            local_fallback_retries: self.tunables.choose_local_fallback_tries,
            vary_r: self.tunables.chooseleaf_vary_r,
            stable: self.tunables.chooseleaf_stable != 0,
        };
        let mut working = std::mem::take(&mut workspace.working);
        let mut chosen = std::mem::take(&mut workspace.chosen);
        let mut leaves = std::mem::take(&mut workspace.leaves);
        let mut run = Run { mapper: self, x, reweights, effort, workspace };
        let mut working_count = 0;
        for step in steps {
            match *step {
                Step::Noop => {}
                Step::Take(item) => {
                    if item < self.device_count
                        && let Some(first) = working.first_mut().filter(|_| count > 0)
                    {
                        *first = item;
                        working_count = 1;
                    }
                }
                Step::Choose(choose) => {
                    let from = working.get(..working_count).unwrap_or_default();
                    if from.is_empty() {
                        continue;
                    }
                    let room =
                        (chosen.get_mut(..count).unwrap_or_default(), leaves.get_mut(..count).unwrap_or_default());
                    working_count = run.choose_from(choose, from, room);
                    if choose.leaf {
                        std::mem::swap(&mut chosen, &mut leaves);
                    }
                    std::mem::swap(&mut working, &mut chosen);
                }
                Step::Emit => {
                    let free = count - out.len();
                    out.extend_from_slice(working.get(..working_count.min(free)).unwrap_or_default());
                    working_count = 0;
                }
                Step::SetChooseTries(tries) if tries > 0 => run.effort.tries = tries,
                Step::SetChooseleafTries(tries) if tries > 0 => run.effort.leaf_tries = tries,
                Step::SetChooseTries(_) | Step::SetChooseleafTries(_) => {}
                Step::SetChooseLocalTries(retries) => run.effort.local_retries = retries,
                Step::SetChooseLocalFallbackTries(retries) => run.effort.local_fallback_retries = retries,
                Step::SetChooseleafVaryR(vary_r) => run.effort.vary_r = vary_r,
                Step::SetChooseleafStable(stable) => run.effort.stable = stable != 0,
            }
        }
        workspace.working = working;
        workspace.chosen = chosen;
        workspace.leaves = leaves;
    }
}

impl Run<'_> {
    /// One `choose` step from each item that the steps before came to. Returns how many items it came to.
    fn choose_from(&mut self, choose: Choose, from: &[i32], (chosen, leaves): (&mut [i32], &mut [i32])) -> usize {
        let count = if choose.count > 0 {
            choose.count as usize
        } else {
            chosen.len().saturating_sub(choose.count.unsigned_abs() as usize)
        };
        let mut found = 0;
        if count == 0 {
            return 0;
        }
        for item in from {
            // A device, or a hole that an earlier step left.
            let Some(bucket) = self.mapper.bucket(*item) else { continue };
            let (Some(chosen), Some(leaves)) = (chosen.get_mut(found..), leaves.get_mut(found..)) else { break };
            let room = chosen.len();
            let search = |room, leaf_tries| Search {
                type_id: choose.type_id,
                count,
                room,
                tries: self.effort.tries,
                leaf_tries: choose.leaf.then_some(leaf_tries),
                parent_r: 0,
            };
            found += match choose.mode {
                Mode::Firstn => {
                    let leaf_tries = match (self.effort.leaf_tries, self.mapper.tunables.chooseleaf_descend_once) {
                        (0, 0) => self.effort.tries,
                        (0, _) => 1,
                        (tries, _) => tries,
                    };
                    let search = search(room, leaf_tries);
                    self.firstn(search, bucket, chosen, 0, Some(leaves))
                }
                Mode::Indep => {
                    let search = search(room.min(count), self.effort.leaf_tries.max(1));
                    self.indep(search, bucket, chosen, 0, Some(leaves));
                    search.room
                }
            };
        }
        found
    }

    /// Down from a bucket, by one choice a level, until an item of the type comes.
    #[inline]
    fn descend(
        &mut self,
        bucket: &mut PreparedBucket,
        type_id: u16,
        r: impl Fn(&PreparedBucket) -> u32,
        position: usize,
    ) -> Descent {
        loop {
            let Some(item) = self.mapper.choose_item(bucket, self.x, r(bucket), position, self.workspace) else {
                return Descent::Empty;
            };
            match self.arrive(item, bucket, type_id) {
                Some(descent) => return descent,
                None => continue,
            }
        }
    }

    /// Whether the descent ends with this item; if it does not, `bucket` is the next one.
    #[inline]
    fn arrive(&self, item: i32, bucket: &mut PreparedBucket, type_id: u16) -> Option<Descent> {
        if item >= 0 {
            let fits = type_id == 0 && item < self.mapper.device_count;
            return Some(if fits { Descent::Found(item) } else { Descent::Misfit });
        }
        match self.mapper.bucket(item) {
            Some(child) if child.type_id == type_id => Some(Descent::Found(item)),
            Some(child) => {
                *bucket = *child;
                None
            }
            None => Some(Descent::Misfit),
        }
    }

    /// Items one after the other, each different from those before: `chosen[found..]`, and devices below them in `leaves[found..]`.
    /// Returns how many there are then.
    fn firstn(
        &mut self,
        search: Search,
        top: &PreparedBucket,
        chosen: &mut [i32],
        mut found: usize,
        mut leaves: Option<&mut [i32]>,
    ) -> usize {
        let mut room = search.room;
        let first = if self.effort.stable { 0 } else { found };
        for replica in first..search.count {
            if room == 0 {
                break;
            }
            let item = self.firstn_one(Search { room, ..search }, top, chosen, found, leaves.as_deref_mut(), replica);
            if let (Some(item), Some(place)) = (item, chosen.get_mut(found)) {
                *place = item;
                found += 1;
                room -= 1;
            }
        }
        found
    }

    fn firstn_one(
        &mut self,
        search: Search,
        top: &PreparedBucket,
        chosen: &[i32],
        found: usize,
        mut leaves: Option<&mut [i32]>,
        replica: usize,
    ) -> Option<i32> {
        let mut failures = 0u32;
        loop {
            let mut bucket = *top;
            let mut local_failures = 0u32;
            loop {
                let r = (replica as u32).wrapping_add(search.parent_r).wrapping_add(failures);
                // The old fallback searches a bucket exhaustively, by permutation, once half of it has failed.
                let descent = if self.effort.local_fallback_retries > 0
                    && bucket.size > 0
                    && local_failures >= bucket.size >> 1
                    && local_failures > self.effort.local_fallback_retries
                {
                    match self.mapper.choose_permuted(&bucket, self.x, r, self.workspace) {
                        Some(item) => match self.arrive(item, &mut bucket, search.type_id) {
                            Some(descent) => descent,
                            None => continue,
                        },
                        None => Descent::Empty,
                    }
                } else if self.effort.local_fallback_retries > 0 {
                    // One level at a time, since the next bucket may be one to search exhaustively.
                    match self.mapper.choose_item(&bucket, self.x, r, found, self.workspace) {
                        Some(item) => match self.arrive(item, &mut bucket, search.type_id) {
                            Some(descent) => descent,
                            None => continue,
                        },
                        None => Descent::Empty,
                    }
                } else {
                    self.descend(&mut bucket, search.type_id, |_| r, found)
                };
                let (is_taken, is_rejected) = match descent {
                    Descent::Misfit => return None,
                    Descent::Empty => (false, true),
                    Descent::Found(item) => {
                        let is_taken = chosen.get(..found).unwrap_or_default().contains(&item);
                        let is_rejected = !is_taken
                            && (!self.has_leaf(search, item, found, leaves.as_deref_mut(), r)
                                || (search.type_id == 0 && self.is_out(item)));
                        if !is_taken && !is_rejected {
                            return Some(item);
                        }
                        (is_taken, is_rejected)
                    }
                };
                debug_assert!(is_taken || is_rejected);
                failures += 1;
                local_failures += 1;
                let again_here = (is_taken && local_failures <= self.effort.local_retries)
                    || (self.effort.local_fallback_retries > 0
                        && local_failures <= bucket.size.saturating_add(self.effort.local_fallback_retries));
                if again_here {
                    continue;
                }
                if failures < search.tries {
                    break;
                }
                return None;
            }
        }
    }

    /// Whether a device below the item was found, if one is wanted.
    #[inline]
    fn has_leaf(&mut self, search: Search, item: i32, found: usize, leaves: Option<&mut [i32]>, r: u32) -> bool {
        let (Some(leaf_tries), Some(leaves)) = (search.leaf_tries, leaves) else { return true };
        match self.mapper.bucket(item) {
            Some(bucket) => {
                let below = Search {
                    type_id: 0,
                    count: if self.effort.stable { 1 } else { found + 1 },
                    room: search.room,
                    tries: leaf_tries,
                    leaf_tries: None,
                    parent_r: match self.effort.vary_r {
                        0 => 0,
                        vary_r => r.checked_shr(vary_r - 1).unwrap_or(0),
                    },
                };
                self.firstn(below, bucket, leaves, found, None) > found
            }
            None => {
                if let Some(leaf) = leaves.get_mut(found) {
                    *leaf = item;
                }
                true
            }
        }
    }

    /// Items for the places `chosen[at..at + room]`, each tried for by itself, round after round; what stays empty is a hole.
    fn indep(
        &mut self,
        search: Search,
        top: &PreparedBucket,
        chosen: &mut [i32],
        at: usize,
        mut leaves: Option<&mut [i32]>,
    ) {
        let end = at + search.room;
        let mut left = search.room;
        fill(chosen, at..end, |_| true, ITEM_UNDECIDED);
        if let Some(leaves) = leaves.as_deref_mut() {
            fill(leaves, at..end, |_| true, ITEM_UNDECIDED);
        }
        let count = search.count as u32;
        let mut round = 0;
        while left > 0 && round < search.tries {
            for place in at..end {
                if chosen.get(place) != Some(&ITEM_UNDECIDED) {
                    continue;
                }
                let mut bucket = *top;
                let try_in = |bucket: &PreparedBucket| {
                    // A uniform bucket whose size is a multiple of the count would be asked for the same items in every round.
                    let is_periodic = bucket.algorithm == super::bucket::Algorithm::Uniform
                        && bucket.size.checked_rem(count).unwrap_or(0) == 0;
                    let stride = if is_periodic { count + 1 } else { count };
                    (place as u32).wrapping_add(search.parent_r).wrapping_add(stride.wrapping_mul(round))
                };
                let decided = match self.descend(&mut bucket, search.type_id, try_in, at) {
                    Descent::Empty => continue,
                    Descent::Misfit => {
                        if let Some(leaf) = leaves.as_deref_mut().and_then(|leaves| leaves.get_mut(place)) {
                            *leaf = ITEM_NONE;
                        }
                        ITEM_NONE
                    }
                    Descent::Found(item) => {
                        if chosen.get(at..end).unwrap_or_default().contains(&item) {
                            continue;
                        }
                        let r = try_in(&bucket);
                        if !self.has_leaf_indep(search, item, place, leaves.as_deref_mut(), r)
                            || (search.type_id == 0 && self.is_out(item))
                        {
                            continue;
                        }
                        item
                    }
                };
                if let Some(place) = chosen.get_mut(place) {
                    *place = decided;
                }
                left -= 1;
            }
            round += 1;
        }
        fill(chosen, at..end, |item| item == ITEM_UNDECIDED, ITEM_NONE);
        if let Some(leaves) = leaves {
            fill(leaves, at..end, |item| item == ITEM_UNDECIDED, ITEM_NONE);
        }
    }

    fn has_leaf_indep(&mut self, search: Search, item: i32, place: usize, leaves: Option<&mut [i32]>, r: u32) -> bool {
        let (Some(leaf_tries), Some(leaves)) = (search.leaf_tries, leaves) else { return true };
        match self.mapper.bucket(item) {
            Some(bucket) => {
                let below = Search {
                    type_id: 0,
                    count: search.count,
                    room: 1,
                    tries: leaf_tries,
                    leaf_tries: None,
                    parent_r: r,
                };
                self.indep(below, bucket, leaves, place, None);
                leaves.get(place) != Some(&ITEM_NONE)
            }
            None => {
                if let Some(leaf) = leaves.get_mut(place) {
                    *leaf = item;
                }
                true
            }
        }
    }

    /// Whether a device turns this input away, by its reweight.
    fn is_out(&mut self, device: i32) -> bool {
        self.workspace.asked.push(device);
        match self.reweights.get(device as usize) {
            None | Some(0) => true,
            Some(reweight) if *reweight >= WEIGHT_ONE => false,
            Some(reweight) => hash_2(self.x, device as u32) & 0xffff >= *reweight,
        }
    }
}

fn fill(items: &mut [i32], range: std::ops::Range<usize>, which: impl Fn(i32) -> bool, with: i32) {
    for item in items.get_mut(range).unwrap_or_default() {
        if which(*item) {
            *item = with;
        }
    }
}
