//! The order in which clean objects leave: S3-FIFO (Yang, Zhang, Qiu, Yue, Rashmi: "FIFO queues are all you need for cache
//! eviction", SOSP 2023), with bytes where the paper has objects.
//!
//! New objects enter a small queue that holds a tenth of the clean bytes. One that was accessed again by the time it reaches the
//! head moves to the main queue; the rest leave, so one scan through cold data passes through the small queue only. In the main
//! queue accessed objects get another round. An object that returns soon after it left goes straight to the main queue.

use crate::list::{CLEAN, List, NONE};
use crate::objects::{CleanPlace, Objects};

/// The small queue's part of the clean bytes, from the paper.
const SMALL_SHARE: u64 = 10;

pub struct CleanQueue {
    small: List<CLEAN>,
    main: List<CLEAN>,
    small_bytes: u64,
    main_bytes: u64,
}

impl CleanQueue {
    pub const fn new() -> CleanQueue {
        CleanQueue { small: List::new(), main: List::new(), small_bytes: 0, main_bytes: 0 }
    }

    pub fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    pub fn bytes(&self) -> u64 {
        self.small_bytes + self.main_bytes
    }

    fn queue(&mut self, place: CleanPlace) -> (&mut List<CLEAN>, &mut u64) {
        match place {
            CleanPlace::Small => (&mut self.small, &mut self.small_bytes),
            CleanPlace::Main => (&mut self.main, &mut self.main_bytes),
            CleanPlace::Nowhere => panic!("an object with clean bytes stands in no queue"),
        }
    }

    /// Sets an object's clean bytes, and moves it in or out accordingly.
    pub fn set_bytes(&mut self, objects: &mut Objects, index: u32, clean_bytes: u64, was_ghost: impl FnOnce() -> bool) {
        let before = objects[index].clean_bytes;
        if clean_bytes > 0 && before == 0 {
            objects[index].place = if was_ghost() { CleanPlace::Main } else { CleanPlace::Small };
            let (list, _) = self.queue(objects[index].place);
            list.push_tail(objects, index);
        }
        if clean_bytes != before {
            let (list, bytes) = self.queue(objects[index].place);
            *bytes = *bytes - before + clean_bytes;
            if clean_bytes == 0 {
                list.remove(objects, index);
                objects[index].place = CleanPlace::Nowhere;
            }
        }
        objects[index].clean_bytes = clean_bytes;
    }

    /// Takes the next victim from the order, giving accessed objects their further round on the way. It is then to be
    /// [put back](CleanQueue::put_back). `scan` counts down with every object looked at.
    pub fn next_victim(&mut self, objects: &mut Objects, scan: &mut usize) -> Option<u32> {
        while *scan > 0 {
            *scan -= 1;
            let from_small = self.main.head().is_none() || self.small_bytes > self.bytes() / SMALL_SHARE;
            let place = if from_small && self.small.head().is_some() { CleanPlace::Small } else { CleanPlace::Main };
            let (list, _) = self.queue(place);
            let index = list.head()?;
            match (place, objects[index].frequency) {
                (CleanPlace::Small, 2..) => self.move_to(objects, index, CleanPlace::Main),
                (CleanPlace::Main, 1..) => {
                    objects[index].frequency -= 1;
                    self.main.move_to_tail(objects, index);
                }
                _ => {
                    let (list, bytes) = self.queue(place);
                    list.remove(objects, index);
                    *bytes -= objects[index].clean_bytes;
                    return Some(index);
                }
            }
        }
        None
    }

    /// Puts a victim back to where it stood: at the head if it was not wanted after all, at the tail if it is being evicted or
    /// may not be yet.
    pub fn put_back(&mut self, objects: &mut Objects, index: u32, at_head: bool) {
        let clean_bytes = objects[index].clean_bytes;
        let (list, bytes) = self.queue(objects[index].place);
        *bytes += clean_bytes;
        let next = if at_head { list.head().unwrap_or(NONE) } else { NONE };
        list.insert_before(objects, index, next);
    }

    fn move_to(&mut self, objects: &mut Objects, index: u32, place: CleanPlace) {
        let clean_bytes = objects[index].clean_bytes;
        let (list, bytes) = self.queue(objects[index].place);
        list.remove(objects, index);
        *bytes -= clean_bytes;
        objects[index].place = place;
        objects[index].frequency = 0;
        let (list, bytes) = self.queue(place);
        list.push_tail(objects, index);
        *bytes += clean_bytes;
    }

    /// Every object with clean bytes, oldest first.
    pub fn all(&self, objects: &Objects) -> Vec<u32> {
        let mut all = Vec::with_capacity(self.len());
        for list in [&self.small, &self.main] {
            let mut at = list.head();
            while let Some(index) = at {
                all.push(index);
                at = list.next(objects, index);
            }
        }
        all
    }
}
