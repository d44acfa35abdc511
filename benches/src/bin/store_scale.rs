//! Memory and mount time of a block store against the number of small objects in it, on the real ring.
//!
//! For each number of objects, in processes of their own: a store is filled with objects whose names are random, as an S3 gateway's are,
//! and the process is killed, so that the next has the log to replay; that one reads objects at random and closes cleanly; the last mounts
//! again. Each reports what the kernel says of its memory beside what the store says of itself.

use basalt_benches::mix;
use basalt_benches::process_figures;
use basalt_benches::scratch_store::{Failure, ScratchStore};
use basalt_blockstore::{Memory, ObjectKey, OpenOptions, Placement, Store};
use basalt_osd::memory::{self, Governor};
use basalt_ring::local::join_all;
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{Ring, Slice};
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;

const POOL: u32 = 1;
const PGS: u64 = 128;
/// Objects made by one transaction, and transactions at once.
const BATCH: u64 = 32;
const DEPTH: u64 = 32;

#[derive(Clone, Debug, Parser)]
#[command(about = "Memory and mount time of the block store by number of objects")]
struct Arguments {
    /// Where the store's files are made; they are removed afterwards.
    #[arg(long)]
    dir: PathBuf,
    /// Numbers of objects; left out, powers of ten from 10,000 to `--max`.
    #[arg(long)]
    objects: Vec<u64>,
    #[arg(long, default_value_t = 10_000_000)]
    max: u64,
    /// What the objects hold; left out, 4 KiB up to a million objects, and beyond that, where the disk would be too small, a hole.
    #[arg(long, value_enum)]
    payload: Option<Payload>,
    /// MiB of index nodes in memory.
    #[arg(long, default_value_t = 256)]
    cache: u64,
    /// MiB that the process should have resident: an OSD's `memory_target`, kept by its governor. Then `--cache` counts for nothing.
    #[arg(long)]
    memory_target: Option<u64>,
    /// GiB of the base device, a sparse file.
    #[arg(long, default_value_t = 64)]
    base: u64,
    /// Objects read after each mount.
    #[arg(long, default_value_t = 20_000)]
    reads: u64,
    #[arg(long)]
    json: bool,
    #[arg(long, value_enum, hide = true)]
    step: Option<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
enum Payload {
    /// One block of data.
    #[value(name = "4k")]
    Block,
    /// 200 bytes.
    #[value(name = "200")]
    Small,
    /// A hole of 4 KiB and an xattr: as many index entries as with a block, and no data.
    Hole,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Fills the store and waits to be killed.
    Fill,
    /// Opens it, reads, closes.
    Mount,
}

/// What one process found.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Finding {
    /// Filling, or opening.
    seconds: f64,
    resident_after: u64,
    resident_peak: u64,
    index_disk_bytes: u64,
    reads_per_second: f64,
    index_clean: u64,
    index_dirty: u64,
    index_pinned: u64,
    allocators: u64,
    nodes_written: u64,
    bytes_written: u64,
    checkpoints: u64,
    resident_after_open: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.step {
        None => measure_all(&arguments),
        Some(step) => {
            let objects = arguments.objects.first().copied().unwrap_or(0);
            match uring::run(UringConfig::default(), |ring| run_step(ring, arguments, objects, step)) {
                Ok(outcome) => outcome,
                Err(error) => Err(error.into()),
            }
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn payload_of(arguments: &Arguments, objects: u64) -> Payload {
    arguments.payload.unwrap_or(if objects <= 1_000_000 { Payload::Block } else { Payload::Hole })
}

fn measure_all(arguments: &Arguments) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.dir)?;
    let numbers = if arguments.objects.is_empty() {
        (4..).map(|power| 10u64.pow(power)).take_while(|number| *number <= arguments.max).collect()
    } else {
        arguments.objects.clone()
    };
    if !arguments.json {
        println!(
            "{:>9} {:>6} | {:>7} {:>9} {:>5} | {:>8} {:>8} {:>7} {:>7} {:>7} | {:>8} {:>8} | {:>8} {:>8} {:>8} {:>8}",
            "objects",
            "hold",
            "fill /s",
            "index MiB",
            "B/obj",
            "peak MiB",
            "now MiB",
            "clean",
            "dirty",
            "pinned",
            "kill: ms",
            "peak MiB",
            "mount ms",
            "MiB",
            "read MiB",
            "reads/s"
        );
    }
    let mut results = Vec::new();
    for objects in numbers {
        let payload = payload_of(arguments, objects);
        let filled = run_child(arguments, objects, Step::Fill)?;
        let killed = run_child(arguments, objects, Step::Mount)?;
        let closed = run_child(arguments, objects, Step::Mount)?;
        ScratchStore::new(&arguments.dir, 0, 0).remove()?;
        if !arguments.json {
            let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
            println!(
                "{:>9} {:>6} | {:>7.0} {:>9.1} {:>5.0} | {:>8.1} {:>8.1} {:>7.1} {:>7.1} {:>7.1} | {:>8.1} {:>8.1} | {:>8.1} {:>8.1} {:>8.1} {:>8.0}",
                objects,
                format!("{payload:?}").to_lowercase(),
                objects as f64 / filled.seconds,
                mib(closed.index_disk_bytes),
                closed.index_disk_bytes as f64 / objects as f64,
                mib(filled.resident_peak),
                mib(filled.resident_after),
                mib(filled.index_clean),
                mib(filled.index_dirty),
                mib(filled.index_pinned + filled.allocators),
                killed.seconds * 1000.0,
                mib(killed.resident_peak),
                closed.seconds * 1000.0,
                mib(closed.resident_after_open),
                mib(closed.resident_after),
                closed.reads_per_second,
            );
        }
        results.push(json!({
            "objects": objects,
            "payload": format!("{payload:?}").to_lowercase(),
            "fill": filled,
            "mount_after_kill": killed,
            "mount_after_close": closed,
        }));
    }
    if arguments.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({ "cache_bytes": arguments.cache << 20, "scale": results }))?
        );
    }
    Ok(())
}

/// Runs one step in a process of its own. The one that fills is killed as soon as it has reported.
fn run_child(arguments: &Arguments, objects: u64, step: Step) -> Result<Finding, Failure> {
    let payload = payload_of(arguments, objects);
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map(|value| value.get_name().to_owned()).ok_or("an option without a name")
    };
    let mut child = Command::new(std::env::current_exe()?)
        .arg("--dir")
        .arg(&arguments.dir)
        .args(["--objects", &objects.to_string(), "--cache", &arguments.cache.to_string()])
        .args(["--base", &arguments.base.to_string(), "--reads", &arguments.reads.to_string()])
        .args(arguments.memory_target.map(|target| format!("--memory-target={target}")))
        .args(["--payload", &name(&|| payload.to_possible_value())?, "--step", &name(&|| step.to_possible_value())?])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("the child has no output")?;
    BufReader::new(stdout).read_line(&mut line)?;
    if step == Step::Fill {
        child.kill()?;
    }
    let status = child.wait()?;
    serde_json::from_str(&line).map_err(|_| format!("{step:?} with {objects} objects failed: {status}").into())
}

async fn run_step(ring: Ring, arguments: Arguments, objects: u64, step: Step) -> Result<(), Failure> {
    let files = ScratchStore::new(&arguments.dir, arguments.base << 30, 0);
    let governor = match arguments.memory_target {
        Some(target) => Some(Governor::new(target << 20, arguments.base << 30)?),
        None => None,
    };
    let options = match &governor {
        None => OpenOptions { index_cache_bytes: arguments.cache << 20, ..OpenOptions::default() },
        Some(governor) => {
            let budgets = governor.first_budgets();
            OpenOptions { index_cache_bytes: budgets.index, data_cache_bytes: budgets.data, ..OpenOptions::default() }
        }
    };
    let payload = payload_of(&arguments, objects);
    match step {
        Step::Fill => {
            files.format(&ring).await?;
            let store = files.open(&ring, options).await?;
            govern(&ring, &store, governor);
            let start = ring.now();
            fill(&ring, &store, objects, payload).await?;
            let seconds = ring.now().since(start).as_secs_f64();
            println!("{}", serde_json::to_string(&Finding { seconds, ..finding(&store, objects, payload)? })?);
            // Until the parent's signal, which no destructor survives.
            std::io::stdin().lock().read_line(&mut String::new())?;
            Ok(())
        }
        Step::Mount => {
            let devices = files.devices(&ring).await?;
            let start = ring.now();
            let store = Store::open(&ring, devices, options).await?;
            let seconds = ring.now().since(start).as_secs_f64();
            let resident_after_open = process_figures::resident_bytes()?;
            govern(&ring, &store, governor);
            let start = ring.now();
            read(&ring, &store, objects, arguments.reads).await?;
            let reads_per_second = arguments.reads as f64 / ring.now().since(start).as_secs_f64();
            let found = finding(&store, objects, payload)?;
            store.close().await?;
            println!(
                "{}",
                serde_json::to_string(&Finding { seconds, resident_after_open, reads_per_second, ..found })?
            );
            Ok(())
        }
    }
}

/// Keeps the process at its target until it ends, if it has one.
fn govern(ring: &Ring, store: &Store, governor: Option<Governor>) {
    if let Some(governor) = governor {
        let (own, store, target) = (ring.clone(), store.clone(), governor.target());
        ring.spawn(
            async move { memory::govern(&own, &store, governor, 1, || target, || store.fenced().is_some()).await },
        );
    }
}

fn finding(store: &Store, objects: u64, payload: Payload) -> Result<Finding, Failure> {
    let Memory { index_clean, index_dirty, index_pinned, allocators, .. } = store.memory();
    let data = if payload == Payload::Block { objects * 4096 } else { 0 };
    let written = store.written();
    Ok(Finding {
        resident_after: process_figures::resident_bytes()?,
        resident_peak: process_figures::resident_bytes_peak()?,
        index_disk_bytes: store.usage().base_used.saturating_sub(data),
        index_clean,
        index_dirty,
        index_pinned,
        allocators,
        nodes_written: written.nodes,
        bytes_written: written.bytes(),
        checkpoints: written.checkpoints,
        ..Finding::default()
    })
}

/// A name of the length and the randomness that a gateway gives its objects, in the placement group that its hash says.
fn key(object: u64) -> ObjectKey {
    let hash = mix(object + 1);
    let name = format!("7c1f0e2b-8a.4127.3_photos/{hash:016x}{:016x}.jpg", mix(hash)).into_bytes();
    ObjectKey { pool: POOL, pg: (mix(!hash) % PGS) as u32, name: name.into() }
}

async fn fill(ring: &Ring, store: &Store, objects: u64, payload: Payload) -> Result<(), Failure> {
    let mut data = ring.buffer(4096);
    ring.fill_random(&mut data);
    let data = data.freeze();
    let next = Rc::new(Cell::new(0));
    let writers: Vec<_> = (0..DEPTH)
        .map(|_| {
            let (store, data, next) = (store.clone(), data.clone(), next.clone());
            ring.spawn(
                async move { fill_some(&store, objects, payload, &data, &next).await.map_err(|e| e.to_string()) },
            )
        })
        .collect();
    for outcome in join_all(writers).await {
        outcome?;
    }
    Ok(())
}

async fn fill_some(
    store: &Store,
    objects: u64,
    payload: Payload,
    data: &Slice,
    next: &Cell<u64>,
) -> Result<(), Failure> {
    loop {
        let first = next.get();
        if first >= objects {
            return Ok(());
        }
        next.set(first + BATCH);
        let keys: Vec<ObjectKey> = (first..objects.min(first + BATCH)).map(key).collect();
        let mut transaction = store.begin(&keys).await;
        for key in &keys {
            match payload {
                Payload::Block => transaction.write(key, 0, data.clone()),
                Payload::Small => transaction.write(key, 0, data.slice(0..200)),
                Payload::Hole => {
                    transaction.truncate(key, 4096);
                    transaction.set_xattr(key, b"e", &[0; 13]);
                }
            }
        }
        transaction.prepare(Placement::Base).await?.submit().await?.durable().await?;
    }
}

async fn read(ring: &Ring, store: &Store, objects: u64, reads: u64) -> Result<(), Failure> {
    let left = Rc::new(Cell::new(reads));
    let readers: Vec<_> = (0..DEPTH)
        .map(|_| {
            let (ring, store, left) = (ring.clone(), store.clone(), left.clone());
            ring.clone().spawn(async move {
                while left.get() > 0 {
                    left.set(left.get() - 1);
                    store.read(&key(ring.random_u64() % objects), 0, 4096).await?;
                }
                Ok::<(), basalt_blockstore::Error>(())
            })
        })
        .collect();
    for outcome in join_all(readers).await {
        outcome?;
    }
    Ok(())
}
