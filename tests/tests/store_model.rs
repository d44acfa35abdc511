//! Random transactions, movers, checkpoints and power cuts against the reference model, one run a seed.
//! `BASALT_SEED=n cargo nextest run -p basalt-tests store_model` replays one; `BASALT_SEEDS=n` sets how many are run.

use basalt_tests::random_work;
use basalt_tests::simulated_store::Shape;

fn seeds() -> Vec<u64> {
    if let Some(seed) = std::env::var("BASALT_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return vec![seed];
    }
    let count = std::env::var("BASALT_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(400);
    (0..count).collect()
}

fn run_all(shape: Shape) {
    for seed in seeds() {
        let outcome = std::panic::catch_unwind(|| random_work::run(seed, shape));
        assert!(outcome.is_ok(), "replay with BASALT_SEED={seed} cargo nextest run -p basalt-tests --test store_model");
    }
}

#[test]
fn a_tiered_store_equals_its_model_through_power_cuts() {
    run_all(Shape::SMALL_TIERED);
}

#[test]
fn a_plain_store_equals_its_model_through_power_cuts() {
    run_all(Shape::SMALL_PLAIN);
}
