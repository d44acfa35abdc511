//! Runs the crash enumeration and prints its counts.

use basalt_tests::crash::{Counts, Extent, enumerate, sequences};
use clap::Parser;
use std::time::Instant;

#[derive(Parser)]
struct Arguments {
    /// Longest sequence of operations.
    #[arg(long, default_value_t = 3)]
    depth: usize,
    /// Survivor subsets a crash point, at most.
    #[arg(long, default_value_t = 200)]
    subsets: usize,
    /// Only one sequence in so many.
    #[arg(long, default_value_t = 1)]
    one_in: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 2)]
    jobs: u64,
    /// Only this sequence, to replay a failure.
    #[arg(long)]
    sequence: Option<u64>,
}

fn main() {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let workers: Vec<_> = (0..arguments.jobs)
        .map(|part| {
            let extent = Extent {
                depth: arguments.depth,
                subsets: arguments.subsets,
                one_in: arguments.one_in,
                seed: arguments.seed,
                part: (part, arguments.jobs),
                sequence: arguments.sequence,
            };
            std::thread::spawn(move || enumerate(&extent))
        })
        .collect();
    let mut counts = Counts::default();
    for worker in workers {
        match worker.join() {
            Ok(part) => counts.add(part),
            Err(_) => std::process::exit(1),
        }
    }
    println!(
        "crash enumeration: depth {}, {} of {} sequences in {} runs, {} crash points, {} images, {} distinct, {:.0} s, all as the model allows",
        arguments.depth,
        if arguments.one_in == 1 { "all".to_owned() } else { format!("1 in {}", arguments.one_in) },
        sequences(arguments.depth),
        counts.sequences,
        counts.crash_points,
        counts.images,
        counts.distinct,
        started.elapsed().as_secs_f64(),
    );
}
