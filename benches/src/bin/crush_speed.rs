//! Mappings a second, on one core, of maps of 1,000 and 10,000 OSDs: replicas on different hosts and on different racks, OSDs of one
//! size and of many.
//!
//! Each figure is the best of several rounds, since a round that something else got in the way of says nothing about the mapper.

use basalt_benches::crush_shape::{CrushShape, WEIGHT_ONE};
use basalt_cluster::crush::{Mapper, Mode, Workspace};
use clap::Parser;
use serde_json::json;
use std::hint::black_box;
use std::time::Instant;

#[derive(Parser)]
#[command(about = "Speed of CRUSH")]
struct Arguments {
    /// Mappings of a round.
    #[arg(long, default_value_t = 200_000)]
    mappings: u32,
    #[arg(long, default_value_t = 7)]
    rounds: u32,
    /// OSDs a placement group.
    #[arg(long, default_value_t = 3)]
    size: usize,
    #[arg(long)]
    json: bool,
}

struct Figure {
    osds: u32,
    weights: &'static str,
    domain: &'static str,
    per_second: f64,
}

fn measure(arguments: &Arguments, mapper: &Mapper, rule: u32, osds: u32) -> f64 {
    let reweights = vec![WEIGHT_ONE; osds as usize];
    let (mut workspace, mut out) = (Workspace::new(), Vec::with_capacity(arguments.size));
    let mut best = 0.0f64;
    for round in 0..arguments.rounds {
        let begun = Instant::now();
        for x in 0..arguments.mappings {
            // As placement seeds are: no two alike, and in no order.
            let x = (round * arguments.mappings + x).wrapping_mul(0x9e37_79b9);
            mapper.do_rule(rule, x, arguments.size, &reweights, &mut workspace, &mut out);
            black_box(&out);
        }
        best = best.max(f64::from(arguments.mappings) / begun.elapsed().as_secs_f64());
    }
    best
}

fn main() {
    let arguments = Arguments::parse();
    let mut figures = Vec::new();
    for racks in [10, 100] {
        // Disks of some years: 0.5 to 8 TB; and some that are drained.
        let mixed = |osd: u32| match osd % 97 {
            0 => 0,
            age => WEIGHT_ONE * (1 + age % 18) * 45 / 100,
        };
        let kinds: [(&'static str, &dyn Fn(u32) -> u32); 2] = [("equal", &|_| WEIGHT_ONE * 4), ("mixed", &mixed)];
        for (weights, weight) in kinds {
            let shape = CrushShape { hosts: racks * 10, osds_per_host: 10, hosts_per_rack: Some(10) };
            let mut map = shape.map(weight);
            for domain in ["host", "rack"] {
                let rule = map.create_replicated_rule(domain, "default", domain, None, Mode::Firstn);
                let rule = rule.unwrap_or_else(|error| panic!("{error}"));
                let osds = racks * 100;
                let per_second = measure(&arguments, &map.mapper(), rule, osds);
                figures.push(Figure { osds, weights, domain, per_second });
            }
        }
    }
    if arguments.json {
        let figures: Vec<_> = figures
            .iter()
            .map(|figure| json!({"osds": figure.osds, "weights": figure.weights, "domain": figure.domain, "mappings_per_second": figure.per_second}))
            .collect();
        println!("{}", json!({ "size": arguments.size, "figures": figures }));
        return;
    }
    println!("size {}, best of {} rounds of {} mappings", arguments.size, arguments.rounds, arguments.mappings);
    for Figure { osds, weights, domain, per_second } in figures {
        println!(
            "{osds:>6} OSDs, {weights} weights, replicas by {domain}: {per_second:>9.0} mappings/s, {:.3} us each",
            1e6 / per_second
        );
    }
}
