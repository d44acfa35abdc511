//! All that hunts for mistakes in the store, one after the other, until one of them finds something: to be let loose on stores with a
//! mistake that is known, and on one without.

use crate::crash::{self, Extent, Kind};
use crate::random_work;
use crate::rot;
use crate::simulated_store::Shape;
use crate::slow_disk;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// What found something, in which of its runs, and what it said.
#[derive(Clone, Debug)]
pub struct Find {
    pub hunter: &'static str,
    pub runs: u64,
    pub what: String,
}

struct Hunter {
    name: &'static str,
    runs: u64,
    /// Panics if the store is not what it must be.
    run: fn(u64),
}

/// Crash enumeration goes through the sequences in so many runs.
const PARTS: u64 = 24;

const HUNTERS: [Hunter; 7] = [
    Hunter { name: "random work", runs: 60, run: work },
    Hunter { name: "tight random work", runs: 60, run: tight_work },
    Hunter { name: "rot", runs: 12, run: rot::run },
    Hunter { name: "slow disk", runs: 4, run: slow_disk::run },
    Hunter { name: "known sequence", runs: 1, run: known_sequence },
    Hunter { name: "crash enumeration", runs: PARTS, run: enumerate },
    Hunter { name: "more random work", runs: 400, run: |run| work(60 + run) },
];

fn work(run: u64) {
    let shape = if run.is_multiple_of(2) { Shape::SMALL_TIERED } else { Shape::SMALL_PLAIN };
    random_work::run(run / 2, shape);
}

fn tight_work(run: u64) {
    let shape = if run.is_multiple_of(2) { Shape::TIGHT_TIERED } else { Shape::TIGHT_PLAIN };
    random_work::run(run / 2, shape);
}

fn enumerate(run: u64) {
    let extent = Extent { depth: 2, subsets: 8, one_in: 1, seed: 1, part: (run, PARTS), sequence: None };
    crash::enumerate(&extent);
}

/// What a crash enumeration of depth 3 once found something with: a flush that is under way while base is written, then hot over it.
fn known_sequence(_: u64) {
    let kinds = [Kind::Flush, Kind::WriteBase, Kind::WriteHot];
    let sequence = Some(crash::number(&kinds));
    crash::enumerate(&Extent { depth: 3, subsets: 100, one_in: 1, seed: 1, part: (0, 1), sequence });
}

/// Runs the hunters until one finds something; `None` if none does. `thoroughness`: percent of each one's runs.
pub fn hunt(thoroughness: u64) -> Option<Find> {
    HUNTERS.iter().find_map(|hunter| {
        (0..(hunter.runs * thoroughness).div_ceil(100)).find_map(|run| {
            let what = caught(|| (hunter.run)(run)).err()?;
            Some(Find { hunter: hunter.name, runs: run + 1, what })
        })
    })
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// What a run says is wrong, or panicked with: a daemon or a client that notices by itself has found it as well. The first line of it, as a table
/// shows it.
pub fn problem_of<T>(run: impl FnOnce() -> Result<T, String>) -> Option<String> {
    let problem = caught(run).and_then(|outcome| outcome).err()?;
    Some(problem.lines().next().unwrap_or_default().chars().take(110).collect())
}

/// Runs `f`; an error is what it panicked with, which is not printed.
fn caught<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                print(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(false);
    outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
    })
}
