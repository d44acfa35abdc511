//! What has been done so far, for whoever watches a run from another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of the clones of one thread, on cache lines of its own: only that thread adds to it.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    reads: AtomicU64,
    writes: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub fn read(&self, bytes: u64) {
        add(&self.reads, 1);
        add(&self.bytes, bytes);
    }

    pub fn write(&self, bytes: u64) {
        add(&self.writes, 1);
        add(&self.bytes, bytes);
    }
}

/// Without a locked instruction: there is one writer.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    reads: u64,
    writes: u64,
    bytes: u64,
}

impl Done {
    fn of(tallies: &[Arc<Tally>]) -> Done {
        tallies.iter().fold(Done::default(), |done, tally| Done {
            reads: done.reads + tally.reads.load(Ordering::Relaxed),
            writes: done.writes + tally.writes.load(Ordering::Relaxed),
            bytes: done.bytes + tally.bytes.load(Ordering::Relaxed),
        })
    }
}

/// Since the look before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Since the run began.
    pub elapsed: Duration,
    pub reads_per_second: f64,
    pub writes_per_second: f64,
    pub bytes_per_second: f64,
}

/// Looks at the tallies from time to time.
#[derive(Default)]
pub(crate) struct Watcher {
    before: Done,
    looked: Duration,
}

impl Watcher {
    /// `elapsed`: since the run began, and more than at the last look.
    pub fn look(&mut self, tallies: &[Arc<Tally>], elapsed: Duration) -> Progress {
        let done = Done::of(tallies);
        let seconds = elapsed.saturating_sub(self.looked).as_secs_f64().max(1e-9);
        let rate = |now: u64, before: u64| (now - before) as f64 / seconds;
        let progress = Progress {
            elapsed,
            reads_per_second: rate(done.reads, self.before.reads),
            writes_per_second: rate(done.writes, self.before.writes),
            bytes_per_second: rate(done.bytes, self.before.bytes),
        };
        (self.before, self.looked) = (done, elapsed);
        progress
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_tells_of_what_was_done_since_the_last_one() {
        let tallies: [Arc<Tally>; 2] = Default::default();
        let mut watcher = Watcher::default();
        for _ in 0..100 {
            tallies[0].read(4096);
            tallies[1].write(8192);
        }
        let first = watcher.look(&tallies, Duration::from_secs(2));
        assert_eq!((first.reads_per_second, first.writes_per_second), (50.0, 50.0));
        assert_eq!(first.bytes_per_second, 100.0 * 12288.0 / 2.0);
        tallies[1].read(4096);
        let second = watcher.look(&tallies, Duration::from_secs(3));
        assert_eq!((second.reads_per_second, second.writes_per_second), (1.0, 0.0));
    }
}
