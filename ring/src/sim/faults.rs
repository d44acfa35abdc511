//! What is made to go wrong at a simulated disk, and what that makes of each operation.
//!
//! Faults of single operations are chosen by count: `0` is the next one submitted, in the order of submission. Faults of places are ranges
//! of bytes. All of them end with [`Disk::heal`]; what they did to the content stays. A [`super::Recording`] says what was asked for, not
//! what a fault made of it.

use super::Disk;
use super::image::Image;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// Operations submitted to a disk since the world began. Each piece of a discard counts as a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    pub reads: u64,
    pub writes: u64,
    pub flushes: u64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ReadFault {
    Stale,
    Fails(i32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WriteFault {
    Lost,
    /// Some of its sectors reach the medium, and it is called done.
    Torn,
    Shifted(i64),
    Elsewhere(u64),
    Fails(i32),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum FlushFault {
    Lies,
    Fails(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strikes {
    Reads,
    Writes,
    Both,
}

struct BadRange {
    range: Range<u64>,
    strikes: Strikes,
    errno: i32,
}

struct SlowRange {
    range: Range<u64>,
    factor: u32,
    added: u64,
}

#[derive(Default)]
pub(super) struct Faults {
    counts: Operations,
    reads: BTreeMap<u64, ReadFault>,
    writes: BTreeMap<u64, WriteFault>,
    flushes: BTreeMap<u64, FlushFault>,
    bad: Vec<BadRange>,
    /// Unreadable until written.
    latent: Vec<Range<u64>>,
    stale: Vec<Range<u64>>,
    /// What was everywhere before the last write to it, if that is kept.
    overwritten: Option<Image>,
    flushes_fail: Option<i32>,
    flushes_lie: bool,
    slow: Vec<SlowRange>,
    hanging: Vec<Range<u64>>,
    /// Operations whose time came while they hung.
    held: Vec<u64>,
    gone: bool,
}

fn touches(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

impl Faults {
    pub fn next_read(&mut self) -> Option<ReadFault> {
        self.counts.reads += 1;
        self.reads.remove(&(self.counts.reads - 1))
    }

    pub fn next_write(&mut self) -> Option<WriteFault> {
        self.counts.writes += 1;
        self.writes.remove(&(self.counts.writes - 1))
    }

    pub fn next_flush(&mut self) -> Option<FlushFault> {
        self.counts.flushes += 1;
        self.flushes.remove(&(self.counts.flushes - 1))
    }

    /// The error that a read of this range ends with.
    pub fn read_error(&self, fault: Option<ReadFault>, range: &Range<u64>) -> Option<i32> {
        if let Some(ReadFault::Fails(errno)) = fault {
            return Some(errno);
        }
        let bad = self.bad.iter().find(|bad| bad.strikes != Strikes::Writes && touches(&bad.range, range));
        let latent = || self.latent.iter().any(|latent| touches(latent, range)).then_some(libc::EIO);
        bad.map(|bad| bad.errno).or_else(latent)
    }

    pub fn write_error(&self, fault: Option<WriteFault>, range: &Range<u64>) -> Option<i32> {
        if let Some(WriteFault::Fails(errno)) = fault {
            return Some(errno);
        }
        let bad = self.bad.iter().find(|bad| bad.strikes != Strikes::Reads && touches(&bad.range, range));
        bad.map(|bad| bad.errno)
    }

    /// What a flush ends with, if it does not do its work.
    pub fn flush_outcome(&self, fault: Option<FlushFault>) -> Option<Result<(), i32>> {
        match (fault, self.flushes_fail) {
            (Some(FlushFault::Fails(errno)), _) | (_, Some(errno)) => Some(Err(errno)),
            (Some(FlushFault::Lies), _) => Some(Ok(())),
            (None, None) => self.flushes_lie.then_some(Ok(())),
        }
    }

    /// Puts what is stale into the bytes that a read found.
    pub fn make_stale(&self, fault: Option<ReadFault>, offset: u64, bytes: &mut [u8]) {
        let Some(overwritten) = &self.overwritten else { return };
        if matches!(fault, Some(ReadFault::Stale)) {
            overwritten.read(offset, bytes);
            return;
        }
        let end = offset + bytes.len() as u64;
        for stale in self.stale.iter().filter(|stale| touches(stale, &(offset..end))) {
            let (from, to) = (stale.start.max(offset), stale.end.min(end));
            overwritten.read(from, &mut bytes[(from - offset) as usize..(to - offset) as usize]);
        }
    }

    /// A write is about to change `content` there.
    pub fn overwrite(&mut self, content: &Image, offset: u64, length: usize) {
        let written = offset..offset + length as u64;
        let latent = std::mem::take(&mut self.latent).into_iter();
        let left = latent.flat_map(|bad| {
            let before = bad.start..bad.end.min(written.start.max(bad.start));
            let after = bad.start.max(written.end.min(bad.end))..bad.end;
            if touches(&bad, &written) { [before, after] } else { [bad, 0..0] }
        });
        self.latent = left.filter(|bad| bad.start < bad.end).collect();
        if let Some(overwritten) = &mut self.overwritten {
            let mut before = vec![0; length];
            content.read(offset, &mut before);
            overwritten.write(offset, &before);
        }
    }

    /// All content is replaced at once: nothing was there before.
    pub fn replace(&mut self, content: &Image) {
        if let Some(overwritten) = &mut self.overwritten {
            *overwritten = content.clone();
        }
    }

    /// How long an operation takes that usually takes `latency`.
    pub fn delay(&self, latency: u64, range: &Range<u64>) -> u64 {
        let slow = self.slow.iter().filter(|slow| touches(&slow.range, range));
        slow.fold(latency, |latency, slow| latency * u64::from(slow.factor) + slow.added)
    }

    /// Whether this operation does not complete now; then it is held until released.
    pub fn holds(&mut self, operation: u64, range: &Range<u64>) -> bool {
        let hangs = self.hanging.iter().any(|hanging| touches(hanging, range));
        if hangs {
            self.held.push(operation);
        }
        hangs
    }

    /// Ends all hanging; returns what was held.
    pub fn release(&mut self) -> Vec<u64> {
        self.hanging.clear();
        std::mem::take(&mut self.held)
    }

    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Ends everything but hanging, which needs operations to be completed.
    fn end(&mut self) {
        let (counts, overwritten) = (self.counts, self.overwritten.take());
        let (hanging, held) = (std::mem::take(&mut self.hanging), std::mem::take(&mut self.held));
        *self = Faults { counts, overwritten, hanging, held, ..Faults::default() };
    }
}

impl Disk {
    /// The whole disk, and flushes with it: a flush touches every range.
    fn everywhere(&self) -> Range<u64> {
        0..self.info().size
    }

    fn on_read(&self, nth: u64, fault: ReadFault) {
        self.state.with_faults(|faults| faults.reads.insert(faults.counts.reads + nth, fault));
    }

    fn on_write(&self, nth: u64, fault: WriteFault) {
        self.state.with_faults(|faults| faults.writes.insert(faults.counts.writes + nth, fault));
    }

    fn on_flush(&self, nth: u64, fault: FlushFault) {
        self.state.with_faults(|faults| faults.flushes.insert(faults.counts.flushes + nth, fault));
    }

    fn fail(&self, offset: u64, length: u64, strikes: Strikes, errno: i32) {
        let bad = BadRange { range: offset..offset + length, strikes, errno };
        self.state.with_faults(|faults| faults.bad.push(bad));
    }

    /// What was submitted so far: for choosing operations by count.
    pub fn operations(&self) -> Operations {
        self.state.with_faults(|faults| faults.counts)
    }

    /// The `nth` write from now is acknowledged, and never happens.
    pub fn lose_write(&self, nth: u64) {
        self.on_write(nth, WriteFault::Lost);
    }
    pub fn lose_next_write(&self) {
        self.lose_write(0);
    }
    /// Of the `nth` write from now only some sectors reach the medium, and it is acknowledged.
    pub fn tear_write(&self, nth: u64) {
        self.on_write(nth, WriteFault::Torn);
    }
    /// The `nth` write from now lands `shift` bytes away from where it was meant to, and is acknowledged.
    pub fn misdirect_write(&self, nth: u64, shift: i64) {
        self.on_write(nth, WriteFault::Shifted(shift));
    }
    pub fn misdirect_next_write(&self, shift: i64) {
        self.misdirect_write(0, shift);
    }
    /// The `nth` write from now lands at `offset`, and is acknowledged.
    pub fn misdirect_write_to(&self, nth: u64, offset: u64) {
        self.on_write(nth, WriteFault::Elsewhere(offset));
    }
    /// The `nth` write from now fails. It may still reach the medium in part.
    pub fn fail_write(&self, nth: u64, errno: i32) {
        self.on_write(nth, WriteFault::Fails(errno));
    }
    pub fn fail_read(&self, nth: u64, errno: i32) {
        self.on_read(nth, ReadFault::Fails(errno));
    }
    pub fn fail_flush(&self, nth: u64, errno: i32) {
        self.on_flush(nth, FlushFault::Fails(errno));
    }
    /// The `nth` flush from now succeeds without making anything durable.
    pub fn lie_about_flush(&self, nth: u64) {
        self.on_flush(nth, FlushFault::Lies);
    }

    /// Reads and writes that touch `[offset, offset+length)` fail from now on. A write that fails may still reach the medium in part.
    pub fn fail_range(&self, offset: u64, length: u64, errno: i32) {
        self.fail(offset, length, Strikes::Both, errno);
    }
    pub fn fail_reads(&self, offset: u64, length: u64, errno: i32) {
        self.fail(offset, length, Strikes::Reads, errno);
    }
    pub fn fail_writes(&self, offset: u64, length: u64, errno: i32) {
        self.fail(offset, length, Strikes::Writes, errno);
    }
    pub fn fail_flushes(&self, errno: i32) {
        self.state.with_faults(|faults| faults.flushes_fail = Some(errno));
    }
    /// A latent sector error: reads of the range answer `EIO`, until it is written; what was written reads well again.
    pub fn fail_reads_until_written(&self, offset: u64, length: u64) {
        self.state.with_faults(|faults| faults.latent.push(offset..offset + length));
    }
    /// Flushes succeed from now on without making anything durable.
    pub fn lie_about_flushes(&self) {
        self.state.with_faults(|faults| faults.flushes_lie = true);
    }

    /// Keeps from now on what each write overwrites, for stale reads to return.
    pub fn keep_overwritten(&self) {
        let now = self.snapshot();
        self.state.with_faults(|faults| faults.overwritten.get_or_insert(now).size());
    }
    /// The `nth` read from now returns what was there before the last write to it since [`Disk::keep_overwritten`].
    pub fn stale_read(&self, nth: u64) {
        self.keep_overwritten();
        self.on_read(nth, ReadFault::Stale);
    }
    /// As [`Disk::stale_read`], for every read of a range.
    pub fn stale_reads(&self, offset: u64, length: u64) {
        self.keep_overwritten();
        self.state.with_faults(|faults| faults.stale.push(offset..offset + length));
    }

    /// Every operation takes `factor` times as long, and `added` more.
    pub fn slow_down(&self, factor: u32, added: Duration) {
        self.slow_down_range(0, self.info().size, factor, added);
    }
    /// As [`Disk::slow_down`], for what touches a range; flushes do.
    pub fn slow_down_range(&self, offset: u64, length: u64, factor: u32, added: Duration) {
        let added = u64::try_from(added.as_nanos()).unwrap_or(u64::MAX);
        let slow = SlowRange { range: offset..offset + length, factor, added };
        self.state.with_faults(|faults| faults.slow.push(slow));
    }
    /// No operation completes until [`Disk::release`]. A power cut or a kill ends them all the same.
    pub fn hang(&self) {
        let everywhere = self.everywhere();
        self.state.with_faults(|faults| faults.hanging.push(everywhere));
    }
    /// As [`Disk::hang`], for what touches a range; flushes do.
    pub fn hang_range(&self, offset: u64, length: u64) {
        self.state.with_faults(|faults| faults.hanging.push(offset..offset + length));
    }
    /// What hung goes on.
    pub fn release(&self) {
        self.state.release(&self.shared);
    }

    /// The device is gone: operations in flight end with `ENODEV`, writes among them done or not, and so does whatever is asked of it until
    /// [`Disk::come_back`]. Handles of before stay dead. Its cache stays powered; for a device that loses its power with its bus, add a
    /// [`Disk::power_cut`].
    pub fn vanish(&self) {
        self.state.with_faults(|faults| faults.gone = true);
        self.state.vanish(&self.shared);
    }
    pub fn come_back(&self) {
        self.state.with_faults(|faults| faults.gone = false);
    }

    /// Flips the bits of `mask` in the byte at `offset`.
    pub fn flip(&self, offset: u64, mask: u8) {
        self.state.flip(offset, mask);
    }

    /// Ends all injected faults; what they did to the content stays.
    pub fn heal(&self) {
        self.state.with_faults(Faults::end);
        self.release();
    }
}
