//! One path through client, session, placement group and store, the same in each run: a cluster in a simulated world, so many operations of
//! one kind, some at a time. Its work is all in [`measured`], so that `valgrind --tool=callgrind --toggle-collect` counts nothing else; the
//! counts are free of the noise that times have on a shared machine.

use basalt_client::Pool;
use basalt_tests::cluster::{Cluster, ClusterOptions, POOL};
use clap::{Parser, ValueEnum};
use std::rc::Rc;

#[derive(Parser)]
struct Arguments {
    #[arg(long, value_enum)]
    path: Path,
    #[arg(long, default_value_t = 2000)]
    operations: u64,
    /// Operations at a time.
    #[arg(long, default_value_t = 16)]
    depth: u64,
    /// Copies, each on an OSD of its own.
    #[arg(long, default_value_t = 1)]
    size: u32,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Path {
    /// 4 KiB over what is there.
    Write,
    /// 4 KiB of what is there.
    Read,
    /// Whole objects of 4 KiB that are new.
    Create,
}

const OBJECTS: u64 = 2;
const OBJECT_BYTES: u64 = 4 << 20;
const BLOCK_BYTES: u64 = 4096;

fn main() {
    let arguments = Arguments::parse();
    let options = ClusterOptions {
        hosts: arguments.size,
        size: arguments.size,
        pg_num: 8,
        base_bytes: 256 << 20,
        ..ClusterOptions::default()
    };
    let cluster = Cluster::new(1, options);
    let pool = cluster.world.block_on(async {
        let client = cluster.connect_on(&cluster.client.ring()).await;
        let pool = Rc::new(client.pool(POOL).await.expect("the pool"));
        let whole = pool.ring().buffer(OBJECT_BYTES as usize).freeze();
        for object in 0..OBJECTS {
            pool.write_full(&name(object), whole.clone()).await.expect("written");
        }
        pool
    });
    // Pools of buffers, queues and nodes have their size after that; and extents are as small as the writes.
    let warm = (OBJECTS * OBJECT_BYTES / BLOCK_BYTES).max(arguments.operations);
    run(&cluster, &pool, Path::Write, 0..warm, arguments.depth);
    measured(&cluster, &pool, &arguments, warm);
    println!("{} operations", arguments.operations);
}

#[inline(never)]
fn measured(cluster: &Cluster, pool: &Rc<Pool>, arguments: &Arguments, from: u64) {
    run(cluster, pool, arguments.path, from..from + arguments.operations, arguments.depth);
}

fn run(cluster: &Cluster, pool: &Rc<Pool>, path: Path, numbers: std::ops::Range<u64>, depth: u64) {
    cluster.world.block_on(async {
        let ring = pool.ring().clone();
        let data = ring.buffer(BLOCK_BYTES as usize).freeze();
        let lanes: Vec<_> = (0..depth)
            .map(|lane| {
                let (pool, data, numbers) = (pool.clone(), data.clone(), numbers.clone());
                ring.spawn(async move {
                    for number in numbers.skip(lane as usize).step_by(depth as usize) {
                        // All blocks of all objects, in an order without neighbours.
                        let block = number * 2377 % (OBJECTS * OBJECT_BYTES / BLOCK_BYTES);
                        let (object, offset) = (block % OBJECTS, block / OBJECTS * BLOCK_BYTES);
                        match path {
                            Path::Write => {
                                pool.write(&name(object), offset, data.clone()).await.expect("written");
                            }
                            Path::Create => {
                                pool.write_full(&name(number), data.clone()).await.expect("written");
                            }
                            Path::Read => {
                                let read = pool.read(&name(object), offset, BLOCK_BYTES).await.expect("read");
                                assert_eq!(read.len() as u64, BLOCK_BYTES);
                            }
                        }
                    }
                })
            })
            .collect();
        for lane in lanes {
            lane.await;
        }
    });
}

fn name(object: u64) -> Vec<u8> {
    format!("object {object}").into_bytes()
}
