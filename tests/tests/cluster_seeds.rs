//! Whole clusters under everything that can go wrong, one a seed. `BASALT_SEED=n` runs that one alone; `BASALT_SEEDS=a..b` others, with
//! `BASALT_TIERED` only those of them that have hot slices.

use basalt_osd::sabotage::keep_log_entries;
use basalt_tests::cluster::seed::{self, Outcome};
use basalt_tests::cluster::tier::{self, TierCounts};

fn run(number: u64) -> Result<Outcome, String> {
    keep_log_entries(seed::log_entries(number));
    seed::run(number)
}

fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let number = |text: &str| text.parse::<u64>().expect("a number");
    match (std::env::var("BASALT_SEED"), std::env::var("BASALT_SEEDS")) {
        (Ok(seed), _) => number(&seed)..number(&seed) + 1,
        (_, Ok(range)) => {
            let (first, end) = range.split_once("..").expect("a..b");
            number(first)..number(end)
        }
        _ => default,
    }
}

/// Among so many clusters with hot slices everything happens that a tier does; of seventy, one time there was no idle flush.
const TIERED_CLUSTERS_FOR_ALL: u64 = 100;

fn keep_their_promises(default: std::ops::Range<u64>) {
    if std::env::var_os("BASALT_STORY").is_some() {
        // What the daemons log is a part of the story.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).without_time().with_ansi(false).try_init();
    }
    let seeds = seeds(default);
    let only_tiered = std::env::var_os("BASALT_TIERED").is_some();
    let mut counts = TierCounts::default();
    for seed in seeds.clone().filter(|seed| !only_tiered || tier::of_seed(*seed).is_some()) {
        match run(seed) {
            Ok(outcome) => counts += outcome.tier,
            Err(problem) => panic!("seed {seed}: {problem}"),
        }
    }
    println!("seeds {seeds:?}: {counts:?}");
    if counts.clusters >= TIERED_CLUSTERS_FOR_ALL {
        assert_eq!(counts.missing(), Vec::<&str>::new(), "of all that a tier does, seeds {seeds:?} never saw this");
    }
}

/// In parts, so that all cores have some. The first alone does what the environment names.
#[test]
fn clusters_keep_their_promises() {
    keep_their_promises(0..500);
}

macro_rules! other_clusters {
    ($($part:ident: $seeds:expr,)+) => {
        $(
            #[test]
            fn $part() {
                if std::env::var("BASALT_SEED").is_err() && std::env::var("BASALT_SEEDS").is_err() {
                    keep_their_promises($seeds);
                }
            }
        )+
    };
}

other_clusters! {
    clusters_keep_their_promises_2: 500..1000,
    clusters_keep_their_promises_3: 1000..1500,
    clusters_keep_their_promises_4: 1500..2000,
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 4] {
        assert_eq!(run(seed), run(seed));
    }
}

/// They once showed a bug, of the clusters or of what judges them; docs/RELIABILITY.md tells which.
#[test]
fn seeds_that_found_something_find_it_no_more() {
    for seed in [
        1268, 6149, 7205, 8083, 9160, 10077, 12303, 12847, 15866, 24652, 28729, 43504, 52923, 53867, 61173, 61506,
        62505, 76289,
    ] {
        run(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}
