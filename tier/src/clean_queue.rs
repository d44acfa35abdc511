//! The order in which clean data leaves: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache
//! eviction", SOSP 2023), with regions of objects where the paper has objects.
//!
//! What becomes clean or is promoted enters a small queue that holds a twentieth of the clean bytes. Regions that were accessed twice by the
//! time they reach the head move to the main queue; the rest leave, so one scan through cold data passes through the small queue only. The
//! main queue is of objects: at each pass the regions that were not accessed leave, and the others are let off with one count less. A region
//! that returns soon after it left goes straight to the main queue.

use crate::list::{CLEAN, List, NONE};
use crate::objects::{HotObject, Objects};
use crate::regions::{Mask, folded};
use std::collections::VecDeque;
use std::ops::Range;

/// The small queue's part of the clean bytes. The paper has a tenth; half of that gains half a point with zipfian reads.
const SMALL_SHARE: u64 = 20;
/// Entries of the small queue that can be stale before they are looked for.
const STALE_MIN: usize = 1024;

/// What entered the small queue at once.
#[derive(Clone, Copy, Debug)]
struct Entry {
    index: u32,
    /// The object's, while all of it that was clean then may still be.
    stamp: u32,
    /// In regions of this size.
    mask: Mask,
    shift: u8,
    bytes: u64,
}

pub struct CleanQueue {
    small: VecDeque<Entry>,
    main: List<CLEAN>,
    bytes: u64,
    /// Objects with clean bytes.
    objects: usize,
    /// Of the small queue's entries; some of it may have gone since.
    small_bytes: u64,
    live_regions: usize,
    purge_at: usize,
}

/// Where a victim came from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Small(Entry),
    Main,
}

/// Regions of an object that may leave.
#[derive(Clone, Copy, Debug)]
pub struct Victim {
    pub index: u32,
    pub mask: Mask,
    pub bytes: u64,
    origin: Origin,
}

impl Victim {
    pub fn is_young(&self) -> bool {
        matches!(self.origin, Origin::Small(_))
    }
}

impl CleanQueue {
    pub const fn new() -> CleanQueue {
        CleanQueue {
            small: VecDeque::new(),
            main: List::new(),
            bytes: 0,
            objects: 0,
            small_bytes: 0,
            live_regions: 0,
            purge_at: STALE_MIN,
        }
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn objects(&self) -> usize {
        self.objects
    }

    /// Steps that going through all of it once takes, about.
    pub fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// Regions with clean bytes.
    pub fn live_regions(&self) -> usize {
        self.live_regions
    }

    /// The regions that a range of an object of this pool touches.
    pub fn regions_of(&mut self, object: &mut HotObject, range: &Range<u64>) -> Mask {
        let before = object.regions.live.count_ones() as usize;
        let mask = object.regions.of(range);
        // Where they have grown, there are fewer.
        self.live_regions = self.live_regions - before + object.regions.live.count_ones() as usize;
        mask
    }

    /// Sets an object's clean bytes. Of what is new, `entered` says where it is, and `returned`, for such a region, whether it left not long ago.
    pub fn set_bytes(
        &mut self,
        objects: &mut Objects,
        index: u32,
        clean_bytes: u64,
        entered: Mask,
        returned: impl FnMut(Mask) -> bool,
    ) {
        let before = objects[index].clean_bytes;
        self.bytes = self.bytes - before + clean_bytes;
        objects[index].clean_bytes = clean_bytes;
        self.objects = self.objects + usize::from(clean_bytes > 0) - usize::from(before > 0);
        if clean_bytes == 0 {
            self.forget(objects, index);
        } else if clean_bytes > before {
            self.enter(objects, index, entered, clean_bytes - before, returned);
        }
    }

    /// Nothing of the object is clean any more.
    fn forget(&mut self, objects: &mut Objects, index: u32) {
        if std::mem::take(&mut objects[index].regions.settled) != 0 {
            self.main.remove(objects, index);
        }
        let object = &mut objects[index];
        self.live_regions -= std::mem::take(&mut object.regions.live).count_ones() as usize;
        object.stamp = 0;
    }

    fn enter(
        &mut self,
        objects: &mut Objects,
        index: u32,
        entered: Mask,
        bytes: u64,
        mut returned: impl FnMut(Mask) -> bool,
    ) {
        if objects[index].stamp == 0 {
            objects[index].stamp = objects.next_stamp();
        }
        let object = &mut objects[index];
        let new = entered & !object.regions.live;
        if new == 0 {
            return;
        }
        object.regions.live |= new;
        self.live_regions += new.count_ones() as usize;
        let regions = (0..64).map(|bit| 1 << bit).filter(|region| new & region != 0);
        let settled: Mask = regions.filter(|region| returned(*region)).fold(0, |all, region| all | region);
        let young = new & !settled;
        let entry = Entry {
            index,
            stamp: object.stamp,
            mask: young,
            shift: object.regions.shift(),
            bytes: bytes * u64::from(young.count_ones()) / u64::from(new.count_ones()),
        };
        if young != 0 {
            self.small_bytes += entry.bytes;
            self.small.push_back(entry);
        }
        self.settle(objects, index, settled);
        if self.small.len() >= self.purge_at {
            self.purge(objects);
        }
    }

    fn settle(&mut self, objects: &mut Objects, index: u32, mask: Mask) {
        if mask == 0 {
            return;
        }
        let was_settled = objects[index].regions.settled;
        objects[index].regions.settled |= mask;
        if was_settled == 0 {
            self.main.push_tail(objects, index);
        }
    }

    /// Of an entry, what still stands in the small queue.
    fn young(objects: &Objects, entry: &Entry) -> Mask {
        let object = &objects[entry.index];
        let regions = &object.regions;
        let is_same = object.stamp == entry.stamp;
        if is_same { folded(entry.mask, entry.shift, regions.shift()) & regions.live & !regions.settled } else { 0 }
    }

    /// Entries of what was written to, or left, are only found when they reach the head, which they may not for long.
    fn purge(&mut self, objects: &Objects) {
        let small_bytes = &mut self.small_bytes;
        self.small.retain(|entry| {
            let stays = CleanQueue::young(objects, entry) != 0;
            if !stays {
                *small_bytes -= entry.bytes;
            }
            stays
        });
        self.purge_at = 2 * self.small.len() + STALE_MIN;
    }

    /// Takes the next victim from the order, giving what was accessed its further round on the way; `everything`: whatever was accessed. It
    /// is then [taken](CleanQueue::take) or [put back](CleanQueue::put_back). `scan` counts down with every step.
    pub fn next_victim(&mut self, objects: &mut Objects, scan: &mut usize, everything: bool) -> Option<Victim> {
        while *scan > 0 {
            *scan -= 1;
            let from_small = self.main.head().is_none() || self.small_bytes > self.bytes / SMALL_SHARE;
            if let Some(entry) = self.small.front().copied().filter(|_| from_small) {
                self.small.pop_front();
                self.small_bytes -= entry.bytes;
                let young = CleanQueue::young(objects, &entry);
                if young == 0 {
                    continue;
                }
                let kept = if everything { 0 } else { young & objects[entry.index].regions.popular() };
                objects[entry.index].regions.forget_counts(kept);
                self.settle(objects, entry.index, kept);
                let mask = young & !kept;
                if mask == 0 {
                    continue;
                }
                let bytes = entry.bytes * u64::from(mask.count_ones()) / u64::from(young.count_ones());
                let entry = Entry { mask, shift: objects[entry.index].regions.shift(), bytes, ..entry };
                return Some(Victim { index: entry.index, mask, bytes, origin: Origin::Small(entry) });
            }
            let index = self.main.head()?;
            let object = &mut objects[index];
            let settled = object.regions.settled;
            let mask = if everything { settled } else { settled & object.regions.idle() };
            if mask == 0 {
                object.regions.age(settled);
                self.main.move_to_tail(objects, index);
                continue;
            }
            let live = u64::from(object.regions.live.count_ones());
            let bytes = object.clean_bytes * u64::from(mask.count_ones()) / live;
            self.main.remove(objects, index);
            return Some(Victim { index, mask, bytes, origin: Origin::Main });
        }
        None
    }

    /// The victim leaves: what is left of its object goes on.
    pub fn take(&mut self, objects: &mut Objects, victim: &Victim) {
        let regions = &mut objects[victim.index].regions;
        self.live_regions -= (regions.live & victim.mask).count_ones() as usize;
        regions.live &= !victim.mask;
        if let Origin::Main = victim.origin {
            regions.settled &= !victim.mask;
            regions.age(regions.settled);
            if regions.settled != 0 {
                self.main.push_tail(objects, victim.index);
            }
        }
    }

    /// Puts a victim back to where it stood, if it was not wanted after all, or to the tail, if it may not leave yet. In the reverse of the
    /// order in which they were given.
    pub fn put_back(&mut self, objects: &mut Objects, victim: &Victim, at_head: bool) {
        match victim.origin {
            Origin::Small(entry) => {
                self.small_bytes += entry.bytes;
                if at_head { self.small.push_front(entry) } else { self.small.push_back(entry) }
            }
            Origin::Main => {
                let next = if at_head { self.main.head().unwrap_or(NONE) } else { NONE };
                self.main.insert_before(objects, victim.index, next);
            }
        }
    }

    /// What was to leave is still there.
    pub fn restore(&mut self, objects: &mut Objects, index: u32, mask: Mask) {
        let bytes = objects[index].clean_bytes;
        if bytes > 0 {
            self.enter(objects, index, mask, bytes, |_| false);
        }
    }
}
