//! Whole clusters under everything that can go wrong, one a seed. `BASALT_SEED=n` runs that one alone; `BASALT_SEEDS=a..b` others.

use basalt_tests::cluster::seed::run;

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

#[test]
fn clusters_keep_their_promises() {
    for seed in seeds(1..40) {
        if let Err(problem) = run(seed) {
            panic!("seed {seed}: {problem}");
        }
    }
}

#[test]
fn a_seed_replays_exactly() {
    for seed in [3, 4] {
        assert_eq!(run(seed), run(seed));
    }
}
