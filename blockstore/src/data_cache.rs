//! Verified data in memory: runs of blocks as they were read from a device, kept by device and address within a budget of bytes.
//!
//! Which runs stay is decided by S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): new ones pass
//! through a small queue, and only those read again there, or soon after they left it, get into the main one; so a scan washes
//! nothing away, and a hit moves nothing.
//!
//! What a hit returns is right without a look at checksums. A block's content changes only by the store's own writes; each
//! *invalidates* its blocks when it begins and when it has ended, and so ends every *fill* (a read whose result is to be kept) that ran
//! beside it. And a hit must not be younger than the reader's plan: whoever planned before blocks became another object's does not get
//! those. A future that is dropped amid its fill leaves nothing behind.

use crate::allocator::Run;
use crate::limits::{
    DATA_CACHE_ENTRY_BYTES, DATA_CACHE_FREQUENCY_MAX, DATA_CACHE_RUN_BLOCKS_MAX, DATA_CACHE_SMALL_SHARE,
};
use crate::wal::Side;
use basalt_ring::{BLOCK, Slice};
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::rc::Rc;

/// Counts invalidations: what is known of the devices' content at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

/// A read that is under way and whose result is to be kept.
pub(crate) struct Fill {
    state: Rc<FillState>,
}

struct FillState {
    side: Side,
    run: Run,
    began: Moment,
    is_valid: Cell<bool>,
}

type Place = (Side, u64);

struct Entry {
    data: Slice,
    /// Tells it from an earlier one at the same place.
    serial: u64,
    began: Moment,
    frequency: u8,
    in_main: bool,
}

impl Entry {
    fn blocks(&self) -> u32 {
        (self.data.len() / BLOCK) as u32
    }

    fn cost(&self) -> usize {
        cost(self.data.len())
    }
}

/// What keeping so many bytes takes.
fn cost(bytes: usize) -> usize {
    bytes + DATA_CACHE_ENTRY_BYTES
}

/// Entries in the order in which they came; some of them are gone meanwhile.
#[derive(Default)]
struct Queue {
    places: VecDeque<(Place, u64)>,
    live: usize,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, place: Place, entry: &Entry) {
        self.places.push_back((place, entry.serial));
        self.live += 1;
        self.bytes += entry.cost();
    }

    fn forget(&mut self, entry: &Entry) {
        self.live -= 1;
        self.bytes -= entry.cost();
    }
}

/// Places whose entries left the small queue not long ago.
#[derive(Default)]
struct Ghosts {
    order: VecDeque<Place>,
    places: HashSet<Place>,
}

impl Ghosts {
    fn insert(&mut self, place: Place, most: usize) {
        if self.places.insert(place) {
            self.order.push_back(place);
        }
        // Those taken out stay in the order until they come up; at most as many as there are others.
        while self.order.len() > most {
            let Some(oldest) = self.order.pop_front() else { break };
            self.places.remove(&oldest);
        }
    }

    fn remove(&mut self, place: Place) -> bool {
        self.places.remove(&place)
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataCacheFigures {
    pub hits: u64,
    pub misses: u64,
    pub bytes: u64,
    pub budget: u64,
}

pub(crate) struct DataCache {
    budget: usize,
    /// Never overlapping.
    entries: BTreeMap<Place, Entry>,
    small: Queue,
    main: Queue,
    ghosts: Ghosts,
    fills: Vec<Rc<FillState>>,
    now: Moment,
    next_serial: u64,
    hits: u64,
    misses: u64,
}

impl DataCache {
    pub fn new(budget: usize) -> DataCache {
        DataCache {
            budget,
            entries: BTreeMap::new(),
            small: Queue::default(),
            main: Queue::default(),
            ghosts: Ghosts::default(),
            fills: Vec::new(),
            now: Moment(0),
            next_serial: 0,
            hits: 0,
            misses: 0,
        }
    }

    pub fn set_budget(&mut self, bytes: usize) {
        self.budget = bytes;
        self.make_room(0);
    }

    pub fn bytes(&self) -> usize {
        self.small.bytes + self.main.bytes
    }

    pub fn figures(&self) -> DataCacheFigures {
        DataCacheFigures {
            hits: self.hits,
            misses: self.misses,
            bytes: self.bytes() as u64,
            budget: self.budget as u64,
        }
    }

    /// For whoever plans a read.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Whether a read of so many blocks is looked up and kept at all.
    pub fn takes(&self, blocks: u32) -> bool {
        blocks <= DATA_CACHE_RUN_BLOCKS_MAX && cost(blocks as usize * BLOCK) <= self.budget
    }

    /// The run's content, if one entry has all of it, and is what a reader that planned at `planned` means.
    pub fn get(&mut self, side: Side, run: Run, planned: Moment) -> Option<Slice> {
        let found = self.entries.range_mut(..=(side, run.at)).next_back().filter(|((entry_side, at), entry)| {
            *entry_side == side && at + u64::from(entry.blocks()) >= run.end() && entry.began <= planned
        });
        let Some(((_, at), entry)) = found else {
            self.misses += 1;
            return None;
        };
        entry.frequency = (entry.frequency + 1).min(DATA_CACHE_FREQUENCY_MAX);
        self.hits += 1;
        let from = (run.at - at) as usize * BLOCK;
        Some(entry.data.slice(from..from + run.blocks as usize * BLOCK))
    }

    /// Before the read of a run that is to be kept. Everything that is invalidated from now on is not.
    pub fn begin_fill(&mut self, side: Side, run: Run) -> Fill {
        self.fills.retain(|fill| Rc::strong_count(fill) > 1);
        let state = Rc::new(FillState { side, run, began: self.now, is_valid: Cell::new(true) });
        self.fills.push(state.clone());
        Fill { state }
    }

    /// After the read, and after its checksums were found right. `data` is a whole buffer, so that what is kept is what it takes.
    pub fn finish_fill(&mut self, fill: Fill, data: Slice) {
        let FillState { side, run, began, .. } = *fill.state;
        assert_eq!(data.len(), run.blocks as usize * BLOCK, "a fill of {run:?}");
        let is_valid = fill.state.is_valid.get();
        drop(fill);
        self.fills.retain(|fill| Rc::strong_count(fill) > 1);
        if !is_valid || !self.takes(run.blocks) || self.covers(side, run) {
            return;
        }
        // Parts of it that came in shorter reads.
        self.drop_overlapping(side, run);
        self.make_room(cost(data.len()));
        let place = (side, run.at);
        self.next_serial += 1;
        let in_main = self.ghosts.remove(place);
        let entry = Entry { data, serial: self.next_serial, began, frequency: 0, in_main };
        if in_main { &mut self.main } else { &mut self.small }.push(place, &entry);
        self.entries.insert(place, entry);
    }

    fn covers(&self, side: Side, run: Run) -> bool {
        self.entries
            .range(..=(side, run.at))
            .next_back()
            .is_some_and(|((entry_side, at), entry)| *entry_side == side && at + u64::from(entry.blocks()) >= run.end())
    }

    /// What the run holds changes, begins to change or has changed, or nobody wants it any more.
    pub fn invalidate(&mut self, side: Side, run: Run) {
        self.now.0 += 1;
        for fill in &self.fills {
            if fill.side == side && fill.run.at < run.end() && run.at < fill.run.end() {
                fill.is_valid.set(false);
            }
        }
        self.drop_overlapping(side, run);
    }

    fn drop_overlapping(&mut self, side: Side, run: Run) {
        if self.entries.is_empty() {
            return;
        }
        let first = run.at.saturating_sub(u64::from(DATA_CACHE_RUN_BLOCKS_MAX));
        let overlapping: Vec<Place> = self
            .entries
            .range((side, first)..(side, run.end()))
            .filter(|((_, at), entry)| at + u64::from(entry.blocks()) > run.at)
            .map(|(place, _)| *place)
            .collect();
        for place in overlapping {
            self.remove(place);
        }
    }

    fn remove(&mut self, place: Place) {
        let Some(entry) = self.entries.remove(&place) else { return };
        let entries = &self.entries;
        let queue = if entry.in_main { &mut self.main } else { &mut self.small };
        queue.forget(&entry);
        if queue.places.len() > 2 * queue.live + 1024 {
            let in_main = entry.in_main;
            let is_live = |place: &Place, serial: u64| {
                entries.get(place).is_some_and(|entry| entry.serial == serial && entry.in_main == in_main)
            };
            queue.places.retain(|(place, serial)| is_live(place, *serial));
        }
    }

    /// Evicts until so many bytes more are within the budget.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes() + bytes > self.budget && !self.entries.is_empty() {
            if self.small.bytes > self.budget / DATA_CACHE_SMALL_SHARE || self.main.live == 0 {
                self.evict_small();
            } else {
                self.evict_main();
            }
        }
    }

    /// The oldest live entry of a queue leaves the queue, and is still among the entries.
    fn oldest(&mut self, in_main: bool) -> Option<Place> {
        let queue = if in_main { &mut self.main } else { &mut self.small };
        while let Some((place, serial)) = queue.places.pop_front() {
            if let Some(entry) = self.entries.get(&place)
                && entry.serial == serial
                && entry.in_main == in_main
            {
                queue.forget(entry);
                return Some(place);
            }
        }
        None
    }

    fn evict_small(&mut self) {
        let Some(place) = self.oldest(false) else { return };
        let Some(entry) = self.entries.get_mut(&place) else { return };
        if entry.frequency > 1 {
            entry.frequency = 0;
            entry.in_main = true;
            self.main.push(place, entry);
            return;
        }
        self.entries.remove(&place);
        self.ghosts.insert(place, self.entries.len().max(DATA_CACHE_SMALL_SHARE));
    }

    fn evict_main(&mut self) {
        let Some(place) = self.oldest(true) else { return };
        let Some(entry) = self.entries.get_mut(&place) else { return };
        if entry.frequency > 0 {
            entry.frequency -= 1;
            self.main.push(place, entry);
            return;
        }
        self.entries.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use basalt_ring::{Ring, sim::World};
    use proptest::prelude::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn with_ring(test: impl FnOnce(Ring)) {
        let world = World::new(1);
        test(world.process("cache", IpAddr::V4(Ipv4Addr::LOCALHOST)).ring());
    }

    fn content(ring: &Ring, stamps: &[u64]) -> Slice {
        let mut buffer = ring.buffer(stamps.len() * BLOCK);
        for (block, stamp) in buffer.chunks_exact_mut(BLOCK).zip(stamps) {
            block.fill(0);
            block[..8].copy_from_slice(&stamp.to_le_bytes());
        }
        buffer.freeze()
    }

    fn stamps(slice: &Slice) -> Vec<u64> {
        slice.chunks_exact(BLOCK).map(|block| u64::from_le_bytes(block[..8].try_into().expect("eight bytes"))).collect()
    }

    const BLOCKS: usize = 40;

    #[derive(Clone, Debug)]
    enum Step {
        Plan { at: usize, blocks: usize },
        Begin(usize),
        Finish { fill: usize, reads_now: bool },
        Abandon(usize),
        Get(usize),
        WriteBegins { at: usize, blocks: usize, lands_at_once: bool },
        WriteEnds(usize),
        Budget(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let run = || (0..BLOCKS - 1, 1..6usize).prop_map(|(at, blocks)| (at, blocks.min(BLOCKS - at)));
        prop_oneof![
            3 => run().prop_map(|(at, blocks)| Step::Plan { at, blocks }),
            3 => any::<usize>().prop_map(Step::Begin),
            3 => (any::<usize>(), any::<bool>()).prop_map(|(fill, reads_now)| Step::Finish { fill, reads_now }),
            1 => any::<usize>().prop_map(Step::Abandon),
            4 => any::<usize>().prop_map(Step::Get),
            1 => (run(), any::<bool>())
                .prop_map(|((at, blocks), lands_at_once)| Step::WriteBegins { at, blocks, lands_at_once }),
            1 => any::<usize>().prop_map(Step::WriteEnds),
            1 => (0..30usize).prop_map(Step::Budget),
        ]
    }

    struct Plan {
        side: Side,
        run: Run,
        planned: Moment,
        expected: Vec<u64>,
    }

    fn run_of(at: usize, blocks: usize) -> Run {
        Run { at: at as u64, blocks: blocks as u32 }
    }

    /// Readers that plan, wait and read, beside writes that land at any time while they last. Whatever the cache returns must be what the
    /// device had when the reader planned.
    fn check(ring: &Ring, steps: Vec<Step>) -> Result<usize, TestCaseError> {
        let mut cache = DataCache::new(10 * cost(BLOCK));
        let mut device: Vec<u64> = (0..BLOCKS as u64).collect();
        let mut next_stamp = 1000;
        let mut plans: Vec<Plan> = Vec::new();
        let mut fills: Vec<(usize, Fill, Vec<u64>)> = Vec::new();
        let mut writes: Vec<(Run, bool)> = Vec::new();
        let mut hits = 0;
        let range = |run: Run| run.at as usize..run.end() as usize;
        for step in steps {
            match step {
                Step::Plan { at, blocks } => {
                    let run = run_of(at, blocks);
                    // The index never leads to blocks that are being written.
                    if writes.iter().all(|(write, _)| write.end() <= run.at || run.end() <= write.at) {
                        let expected = device[range(run)].to_vec();
                        plans.push(Plan { side: Side::Base, run, planned: cache.now(), expected });
                    }
                }
                Step::Begin(plan) if !plans.is_empty() => {
                    let plan = plan % plans.len();
                    let fill = cache.begin_fill(plans[plan].side, plans[plan].run);
                    fills.push((plan, fill, device[range(plans[plan].run)].to_vec()));
                }
                Step::Finish { fill, reads_now } if !fills.is_empty() => {
                    let (plan, fill, read_before) = fills.swap_remove(fill % fills.len());
                    let plan = &plans[plan];
                    let read = if reads_now { device[range(plan.run)].to_vec() } else { read_before };
                    // As the reader does, with a checksum that cannot collide.
                    if read == plan.expected {
                        cache.finish_fill(fill, content(ring, &read));
                    }
                }
                Step::Abandon(fill) if !fills.is_empty() => drop(fills.swap_remove(fill % fills.len())),
                Step::Get(plan) if !plans.is_empty() => {
                    let plan = &plans[plan % plans.len()];
                    if let Some(found) = cache.get(plan.side, plan.run, plan.planned) {
                        hits += 1;
                        prop_assert_eq!(stamps(&found), plan.expected.clone());
                    }
                    prop_assert!(cache.get(Side::Hot, plan.run, plan.planned).is_none());
                }
                Step::WriteBegins { at, blocks, lands_at_once } => {
                    let run = run_of(at, blocks);
                    if writes.iter().any(|(write, _)| write.at < run.end() && run.at < write.end()) {
                        continue;
                    }
                    cache.invalidate(Side::Base, run);
                    if lands_at_once {
                        device[range(run)].fill_with(|| {
                            next_stamp += 1;
                            next_stamp
                        });
                    }
                    writes.push((run, lands_at_once));
                }
                Step::WriteEnds(write) if !writes.is_empty() => {
                    let (run, landed) = writes.swap_remove(write % writes.len());
                    if !landed {
                        device[range(run)].fill_with(|| {
                            next_stamp += 1;
                            next_stamp
                        });
                    }
                    cache.invalidate(Side::Base, run);
                }
                Step::Budget(blocks) => cache.set_budget(blocks * cost(BLOCK)),
                _ => {}
            }
            prop_assert!(cache.bytes() <= cache.budget);
            let kept: usize = cache.entries.values().map(Entry::cost).sum();
            prop_assert_eq!(kept, cache.bytes());
            prop_assert_eq!(cache.entries.len(), cache.small.live + cache.main.live);
        }
        Ok(hits)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn a_hit_is_what_the_device_had_when_the_reader_planned(steps in proptest::collection::vec(step(), 1..300)) {
            let mut outcome = Ok(0);
            with_ring(|ring| outcome = check(&ring, steps));
            outcome?;
        }
    }

    fn read_through(ring: &Ring, cache: &mut DataCache, at: u64) -> bool {
        let run = Run { at, blocks: 1 };
        if cache.get(Side::Base, run, cache.now()).is_some() {
            return true;
        }
        let fill = cache.begin_fill(Side::Base, run);
        cache.finish_fill(fill, content(ring, &[at]));
        false
    }

    #[test]
    fn a_scan_does_not_wash_away_what_is_read_often() {
        with_ring(|ring| {
            let mut cache = DataCache::new(200 * cost(BLOCK));
            for _ in 0..5 {
                (0..100).for_each(|at| {
                    read_through(&ring, &mut cache, at);
                });
            }
            // A scan of fifty times the cache, with the hot blocks read now and then.
            for at in 0..10_000 {
                read_through(&ring, &mut cache, 1000 + at);
                if at % 10 == 0 {
                    read_through(&ring, &mut cache, at / 10 % 100);
                }
            }
            let kept = (0..100).filter(|at| read_through(&ring, &mut cache, *at)).count();
            assert!(kept >= 95, "{kept} of 100 hot blocks are left after a scan");
        });
    }

    #[test]
    fn a_part_of_an_entry_is_handed_out_without_a_copy() {
        with_ring(|ring| {
            let mut cache = DataCache::new(1 << 20);
            let fill = cache.begin_fill(Side::Hot, Run { at: 8, blocks: 4 });
            let data = content(&ring, &[1, 2, 3, 4]);
            cache.finish_fill(fill, data.clone());
            let part = cache.get(Side::Hot, Run { at: 9, blocks: 2 }, cache.now()).expect("it lies within the entry");
            assert_eq!(stamps(&part), [2, 3]);
            assert_eq!(part.as_ptr(), data[BLOCK..].as_ptr());
            assert!(cache.get(Side::Hot, Run { at: 11, blocks: 2 }, cache.now()).is_none());
        });
    }
}
