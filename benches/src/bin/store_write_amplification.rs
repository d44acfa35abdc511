//! Bytes to devices over bytes from clients, of a block store on the real ring: 4 KiB random, 64 KiB random and 4 MiB sequential
//! overwrites of a set of 4 MiB objects, each with the placement group's log entry that an OSD would write with it.
//!
//! The set is written first, then overwritten at random so that it is as fragmented as such work leaves it; what is measured begins and
//! ends with a checkpoint, so that every byte counted belongs to an operation counted. Data that a flush moves to base is counted too.

use basalt_benches::process_figures;
use basalt_benches::scratch_store::{Failure, ScratchStore};
use basalt_blockstore::{HotChange, ObjectId, ObjectKey, OpenOptions, Placement, Store, Written};
use basalt_ring::local::{Semaphore, join_all};
use basalt_ring::uring::{self, UringConfig};
use basalt_ring::{Ring, Slice};
use clap::{Parser, ValueEnum};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

const OBJECT_BYTES: u64 = 4 << 20;
const POOL: u32 = 1;
const PGS: u32 = 32;
/// As many as an OSD keeps.
const LOG_ENTRIES_KEPT: u64 = 3000;
/// What an OSD's log entry has besides the object's name.
const LOG_ENTRY_HEADER_BYTES: usize = 28;
/// Objects that are flushed together.
const FLUSH_OBJECTS: usize = 16;

#[derive(Parser)]
#[command(about = "Write amplification of the block store")]
struct Arguments {
    /// Where the store's files are made; they are removed afterwards.
    #[arg(long)]
    dir: PathBuf,
    /// MiB of objects that are overwritten.
    #[arg(long, default_value_t = 2048)]
    set: u64,
    /// MiB of the base device.
    #[arg(long, default_value_t = 8192)]
    base: u64,
    /// MiB of the hot device of the tiered stores.
    #[arg(long, default_value_t = 4096)]
    hot: u64,
    /// MiB of overwrites before and during the measurement of each pattern.
    #[arg(long, default_value_t = 2048)]
    overwrite: u64,
    /// MiB of index nodes in memory.
    #[arg(long, default_value_t = 256)]
    cache: u64,
    #[arg(long, default_value_t = 16)]
    depth: u64,
    #[arg(long, value_enum)]
    store: Vec<StoreKind>,
    #[arg(long, value_enum)]
    pattern: Vec<Pattern>,
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StoreKind {
    Plain,
    /// Everything to hot; nothing is flushed while it is measured.
    Tiered,
    /// Dirty data is flushed all the time and evicted.
    Flushing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Pattern {
    #[value(name = "4k")]
    Random4K,
    #[value(name = "64k")]
    Random64K,
    #[value(name = "4m")]
    Sequential4M,
}

impl Pattern {
    fn bytes(self) -> u64 {
        match self {
            Pattern::Random4K => 4 << 10,
            Pattern::Random64K => 64 << 10,
            Pattern::Sequential4M => OBJECT_BYTES,
        }
    }
    fn name(self) -> &'static str {
        match self {
            Pattern::Random4K => "4 KiB random",
            Pattern::Random64K => "64 KiB random",
            Pattern::Sequential4M => "4 MiB sequential",
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match uring::run(UringConfig::default(), |ring| measure_all(ring, arguments)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure_all(ring: Ring, arguments: Arguments) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.dir)?;
    let all_kinds = [StoreKind::Plain, StoreKind::Tiered, StoreKind::Flushing];
    let kinds = if arguments.store.is_empty() { all_kinds.to_vec() } else { arguments.store.clone() };
    let all_patterns = [Pattern::Random4K, Pattern::Random64K, Pattern::Sequential4M];
    let patterns = if arguments.pattern.is_empty() { all_patterns.to_vec() } else { arguments.pattern.clone() };
    let mut results = Vec::new();
    if !arguments.json {
        println!(
            "{:<9} {:<17} {:>8} {:>7} | {:>6} {:>6} {:>6} {:>6} {:>6} | {:>6} {:>7} {:>11}",
            "store", "writes", "/s", "MiB", "data", "log", "nodes", "other", "flush", "total", "kernel", "checkpoints"
        );
    }
    for kind in kinds {
        for pattern in &patterns {
            let result = measure(&ring, &arguments, kind, *pattern).await?;
            if !arguments.json {
                result.print();
            }
            results.push(result.json());
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&json!({ "write_amplification": results }))?);
    }
    Ok(())
}

struct Outcome {
    kind: StoreKind,
    pattern: Pattern,
    writes: u64,
    seconds: f64,
    client_bytes: u64,
    written: Written,
    kernel_bytes: u64,
}

impl Outcome {
    fn ratio(&self, bytes: u64) -> f64 {
        bytes as f64 / self.client_bytes as f64
    }
    fn other(&self) -> u64 {
        self.written.allocation_pages + self.written.superblocks
    }

    fn print(&self) {
        println!(
            "{:<9} {:<17} {:>8.0} {:>7} | {:>6.3} {:>6.3} {:>6.3} {:>6.3} {:>6.3} | {:>6.3} {:>7.3} {:>11}",
            format!("{:?}", self.kind).to_lowercase(),
            self.pattern.name(),
            self.writes as f64 / self.seconds,
            self.client_bytes >> 20,
            self.ratio(self.written.data),
            self.ratio(self.written.log),
            self.ratio(self.written.nodes),
            self.ratio(self.other()),
            self.ratio(self.written.flushed),
            self.ratio(self.written.bytes()),
            self.ratio(self.kernel_bytes),
            self.written.checkpoints,
        );
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "store": format!("{:?}", self.kind).to_lowercase(),
            "pattern": self.pattern.name(),
            "writes": self.writes,
            "writes_per_second": self.writes as f64 / self.seconds,
            "client_bytes": self.client_bytes,
            "data_bytes": self.written.data,
            "log_bytes": self.written.log,
            "node_bytes": self.written.nodes,
            "allocation_page_bytes": self.written.allocation_pages,
            "superblock_bytes": self.written.superblocks,
            "flushed_bytes": self.written.flushed,
            "kernel_bytes": self.kernel_bytes,
            "checkpoints": self.written.checkpoints,
            "write_amplification": self.ratio(self.written.bytes()),
        })
    }
}

async fn measure(ring: &Ring, arguments: &Arguments, kind: StoreKind, pattern: Pattern) -> Result<Outcome, Failure> {
    let hot_bytes = if kind == StoreKind::Plain { 0 } else { arguments.hot << 20 };
    let files = ScratchStore::new(&arguments.dir, arguments.base << 20, hot_bytes);
    files.format(ring).await?;
    let options = OpenOptions { index_cache_bytes: arguments.cache << 20, ..OpenOptions::default() };
    let store = files.open(ring, options).await?;
    let clients = Clients::new(ring, store.clone(), arguments, kind);

    clients.fill().await?;
    let overwrites = (arguments.overwrite << 20) / pattern.bytes();
    clients.overwrite(pattern, overwrites).await?;
    store.checkpoint().await?;
    let (before, kernel_before, start) = (store.written(), process_figures::device_bytes_written()?, ring.now());
    clients.overwrite(pattern, overwrites).await?;
    let seconds = ring.now().since(start).as_secs_f64();
    if kind == StoreKind::Flushing {
        clients.flush_all().await?;
    }
    store.checkpoint().await?;
    let outcome = Outcome {
        kind,
        pattern,
        writes: overwrites,
        seconds,
        client_bytes: overwrites * pattern.bytes(),
        written: store.written().since(&before),
        kernel_bytes: process_figures::device_bytes_written()? - kernel_before,
    };
    store.close().await?;
    files.remove()?;
    Ok(outcome)
}

/// What writes, as many as the depth says at once.
#[derive(Clone)]
struct Clients {
    ring: Ring,
    store: Store,
    shared: Rc<Shared>,
}

struct Shared {
    kind: StoreKind,
    depth: u64,
    objects: u64,
    data: Slice,
    /// The version that each placement group's log has come to, and who may add to it.
    logs: Vec<(Semaphore, Cell<u64>)>,
    dirty: RefCell<BTreeMap<ObjectId, u64>>,
}

impl Clients {
    fn new(ring: &Ring, store: Store, arguments: &Arguments, kind: StoreKind) -> Clients {
        let mut data = ring.buffer(OBJECT_BYTES as usize);
        ring.fill_random(&mut data);
        let shared = Shared {
            kind,
            depth: arguments.depth,
            objects: (arguments.set << 20) / OBJECT_BYTES,
            data: data.freeze(),
            logs: (0..PGS).map(|_| (Semaphore::new(1), Cell::new(0))).collect(),
            dirty: RefCell::default(),
        };
        Clients { ring: ring.clone(), store, shared: Rc::new(shared) }
    }

    async fn fill(&self) -> Result<(), Failure> {
        for object in 0..self.shared.objects {
            let placement = if self.shared.kind == StoreKind::Tiered { Placement::Hot } else { Placement::Base };
            self.write(object, 0, self.shared.data.clone(), placement).await?;
        }
        Ok(self.store.checkpoint().await?)
    }

    /// `writes` writes of the pattern; with a flusher beside them where there is to be one.
    async fn overwrite(&self, pattern: Pattern, writes: u64) -> Result<(), Failure> {
        let left = Rc::new(Cell::new(writes));
        let flusher = (self.shared.kind == StoreKind::Flushing).then(|| {
            let (clients, left) = (self.clone(), left.clone());
            self.ring.spawn(async move { clients.flush_while(|| left.get() > 0).await.map_err(|e| e.to_string()) })
        });
        let writers: Vec<_> = (0..self.shared.depth)
            .map(|_| {
                let (clients, left) = (self.clone(), left.clone());
                self.ring
                    .spawn(async move { clients.write_until_done(pattern, &left).await.map_err(|e| e.to_string()) })
            })
            .collect();
        for outcome in join_all(writers).await {
            outcome?;
        }
        if let Some(flusher) = flusher {
            flusher.await?;
        }
        Ok(())
    }

    async fn write_until_done(&self, pattern: Pattern, left: &Cell<u64>) -> Result<(), Failure> {
        let shared = &self.shared;
        let placement = if shared.kind == StoreKind::Plain { Placement::Base } else { Placement::Hot };
        while left.get() > 0 {
            left.set(left.get() - 1);
            let (object, offset) = match pattern {
                Pattern::Sequential4M => (left.get() % shared.objects, 0),
                _ => {
                    let random = self.ring.random_u64();
                    (random % shared.objects, (random >> 32) % (OBJECT_BYTES / pattern.bytes()) * pattern.bytes())
                }
            };
            self.write(object, offset, shared.data.slice(0..pattern.bytes() as usize), placement).await?;
        }
        Ok(())
    }

    async fn write(&self, object: u64, offset: u64, data: Slice, placement: Placement) -> Result<(), Failure> {
        let pg = (object % u64::from(PGS)) as u32;
        let key = ObjectKey { pool: POOL, pg, name: format!("bench.{object:016x}").into_bytes().into() };
        let mut transaction = self.store.begin(std::slice::from_ref(&key)).await;
        transaction.write(&key, offset, data);
        let mut prepared = transaction.prepare(placement).await?;
        let (order, version) = &self.shared.logs[pg as usize];
        let order = order.acquire(1).await;
        version.set(version.get() + 1);
        prepared.set_version(version.get(), self.ring.unix_time().0);
        prepared.put_log(POOL, pg, version.get(), vec![0; LOG_ENTRY_HEADER_BYTES + key.name.len()].into());
        if version.get().is_multiple_of(16) && version.get() > LOG_ENTRIES_KEPT {
            prepared.trim_log(POOL, pg, version.get() - LOG_ENTRIES_KEPT);
        }
        let commit = prepared.submit().await?;
        drop(order);
        self.note(commit.hot_changes());
        Ok(commit.durable().await?)
    }

    fn note(&self, changes: &[HotChange]) {
        let mut dirty = self.shared.dirty.borrow_mut();
        for change in changes {
            if change.dirty_bytes > 0 {
                dirty.insert(change.object, change.dirty_bytes);
            } else {
                dirty.remove(&change.object);
            }
        }
    }

    /// The objects with the most dirty data first, as the tier does.
    async fn flush_some(&self) -> Result<bool, Failure> {
        let objects: Vec<ObjectId> = {
            let dirty = self.shared.dirty.borrow();
            let mut by_bytes: Vec<_> = dirty.iter().map(|(object, bytes)| (*bytes, *object)).collect();
            by_bytes.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
            by_bytes.into_iter().take(FLUSH_OBJECTS).map(|(_, object)| object).collect()
        };
        if objects.is_empty() {
            return Ok(false);
        }
        let (_, changes) = self.store.flush(&objects, POOL).await?;
        self.note(&changes);
        self.store.evict(&objects, POOL).await?;
        Ok(true)
    }

    async fn flush_while(&self, more: impl Fn() -> bool) -> Result<(), Failure> {
        while more() {
            if !self.flush_some().await? {
                self.ring.sleep(Duration::from_millis(1)).await;
            }
        }
        Ok(())
    }

    async fn flush_all(&self) -> Result<(), Failure> {
        while self.flush_some().await? {}
        Ok(())
    }
}
