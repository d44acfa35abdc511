//! Which writes go on where the last one to their object ended: long runs of them bypass the hot tier.

use std::ops::Range;

/// Direct-mapped by object: what is overwritten counts as the beginning of a new run.
pub struct SequentialRuns {
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Default)]
struct Run {
    pool: u32,
    object: u64,
    end: u64,
    bytes: u64,
}

const RUNS_REMEMBERED: usize = 256;

impl Default for SequentialRuns {
    fn default() -> SequentialRuns {
        SequentialRuns { runs: vec![Run::default(); RUNS_REMEMBERED] }
    }
}

impl SequentialRuns {
    /// Notes a write; the bytes of the run that it continues, 0 if it continues none.
    pub fn note(&mut self, pool: u32, object: u64, written: &Range<u64>) -> u64 {
        let mixed = (object ^ u64::from(pool) << 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let index = (mixed >> 32) as usize % RUNS_REMEMBERED;
        let Some(run) = self.runs.get_mut(index) else { return 0 };
        let continues = run.pool == pool && run.object == object && run.end == written.start && run.bytes > 0;
        let before = if continues { run.bytes } else { 0 };
        *run = Run { pool, object, end: written.end, bytes: before + (written.end - written.start) };
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_grows_while_each_write_begins_where_the_last_ended() {
        let mut runs = SequentialRuns::default();
        assert_eq!(runs.note(1, 5, &(0..100)), 0);
        assert_eq!(runs.note(1, 5, &(100..300)), 100);
        assert_eq!(runs.note(1, 5, &(300..400)), 300);
        assert_eq!(runs.note(1, 5, &(0..100)), 0);
        assert_eq!(runs.note(2, 5, &(100..200)), 0);
    }
}
