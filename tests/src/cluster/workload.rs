//! Clients that write and read a few objects, and keep a record of what they did and heard.

use super::{Cluster, POOL, tier};
use crate::linearizable::{Event, Object, Operation, Outcome, PAIRS};
use crate::random::Random;
use basalt_client::{ObjectOperations, Pool};
use basalt_net::message::object;
use basalt_ring::{Ring, Slice};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

pub const MARK: &[u8] = b"mark";

/// Not a multiple of the store's blocks, so that neighbours share one.
pub const BLOCK_BYTES: usize = 3000;

const BULK_OBJECTS: u64 = 12;
const BULK_BLOCKS_MAX: u64 = 160;

/// By object.
pub type History = Rc<RefCell<BTreeMap<String, Vec<Event>>>>;

#[derive(Clone, Copy, Debug)]
pub struct WorkloadOptions {
    pub clients: u32,
    pub objects: u32,
    /// Of each client, at most.
    pub operations: u32,
    pub pause_max: Duration,
    pub only_reads: bool,
}

/// The omap key of a pair.
fn pair_key(pair: usize) -> Vec<u8> {
    format!("pair-{pair}").into_bytes()
}

/// What attributes as listed say. `Err`: they are none that a client wrote.
pub fn attributes(xattrs: &[(Vec<u8>, Vec<u8>)], omap: &[(Vec<u8>, Vec<u8>)]) -> Result<(u32, [u32; PAIRS]), String> {
    let value = |bytes: &[u8]| bytes.try_into().map(u32::from_le_bytes).map_err(|_| format!("a value of {bytes:?}"));
    let mut mark = 0;
    let mut pairs = [0; PAIRS];
    for (name, bytes) in xattrs {
        if name != MARK {
            return Err(format!("an xattr '{}'", name.escape_ascii()));
        }
        mark = value(bytes)?;
    }
    for (key, bytes) in omap {
        let pair = (0..PAIRS).find(|pair| pair_key(*pair) == *key);
        pairs[pair.ok_or_else(|| format!("an omap key '{}'", key.escape_ascii()))?] = value(bytes)?;
    }
    Ok((mark, pairs))
}

/// The bytes of a block with this value.
fn block(value: u32) -> Vec<u8> {
    value.to_le_bytes().repeat(BLOCK_BYTES / 4)
}

/// The values of an object's blocks. `Err`: it is not made of whole blocks of one value each.
pub fn values(bytes: &[u8]) -> Result<Vec<u32>, String> {
    bytes
        .chunks(BLOCK_BYTES)
        .enumerate()
        .map(|(index, chunk)| {
            let value = chunk.first_chunk().map_or(0, |first| u32::from_le_bytes(*first));
            let is_whole = chunk.len() == BLOCK_BYTES && chunk.chunks(4).all(|word| word == value.to_le_bytes());
            is_whole.then_some(value).ok_or_else(|| format!("block {index} is torn: it begins with {value}"))
        })
        .collect()
}

/// Runs the clients to their end.
pub async fn run(cluster: &Rc<Cluster>, options: WorkloadOptions, history: &History) {
    run_from(cluster, 0, options, history).await;
}

/// Clients with these numbers and the following; from 7 on until 20 they are those that are to be cut off.
pub async fn run_from(cluster: &Rc<Cluster>, first: u32, options: WorkloadOptions, history: &History) {
    let process = if (7..20).contains(&first) { cluster.lonely_client() } else { cluster.client.clone() };
    let ring = process.ring();
    let mut tasks = Vec::new();
    for number in first..first + options.clients {
        let mut worker = Worker::connect(cluster, &ring, number, options, history).await;
        let over = cluster.clone();
        tasks.push(ring.spawn(async move {
            for step in (0..options.operations).take_while(|_| !over.is_over.get()) {
                worker.step(step).await;
            }
        }));
    }
    for task in tasks {
        task.await;
    }
}

/// A client whose machine dies in the middle of what it does, so many times: nobody asks again for what it had asked for.
pub async fn run_mortal(cluster: &Rc<Cluster>, lives: u32, options: WorkloadOptions, history: &History) {
    let mut random = Random::new(cluster.world.seed() * 4801 + 3);
    for life in (0..lives).take_while(|_| !cluster.is_over.get()) {
        start_mortal(cluster, 60 + life, options, history);
        cluster.client.ring().sleep(random.duration(Duration::from_secs(4))).await;
        cluster.soon_after_a_write(&mut random).await;
        cluster.mortal_client().kill();
    }
}

/// Objects that are written large and whole, until clients need do no more.
pub async fn run_bulk(cluster: &Rc<Cluster>, options: WorkloadOptions, history: &History) {
    let number = 50;
    let ring = cluster.client.ring();
    let mut worker = Worker::connect(cluster, &ring, number, options, history).await;
    for step in (0..options.operations).take_while(|_| !cluster.is_over.get()) {
        ring.sleep(worker.random.duration(options.pause_max / 2)).await;
        let name = format!("bulk-{}", worker.random.below(BULK_OBJECTS));
        let blocks = 20 + worker.random.below(BULK_BLOCKS_MAX - 20) as usize;
        let operation = match worker.random.below(5) {
            0 => Operation::Read,
            _ => Operation::WriteFull(vec![1 + number * 10_000 + step; blocks]),
        };
        worker.record(name, operation).await;
        tier::note_slices(cluster);
    }
}

/// All that there is in the end, as clients see it.
pub async fn read_all(cluster: &Rc<Cluster>, history: &History) {
    let options =
        WorkloadOptions { clients: 1, objects: 0, operations: 0, pause_max: Duration::ZERO, only_reads: true };
    let worker = Worker::connect(cluster, &cluster.client.ring(), 99, options, history).await;
    let names: Vec<String> = history.borrow().keys().cloned().collect();
    for name in names {
        worker.record(name, Operation::Read).await;
    }
}

/// One such life, with this number. It ends with its process.
pub fn start_mortal(cluster: &Rc<Cluster>, number: u32, options: WorkloadOptions, history: &History) {
    let ring = cluster.mortal_client().ring();
    let (in_it, history) = (cluster.clone(), history.clone());
    let task_ring = ring.clone();
    ring.spawn(async move {
        let mut worker = Worker::connect(&in_it, &task_ring, number, options, &history).await;
        for step in 0..options.operations {
            worker.step(step).await;
        }
    });
}

struct Worker {
    cluster: Rc<Cluster>,
    pool: Pool,
    random: Random,
    number: u32,
    options: WorkloadOptions,
    history: History,
}

impl Worker {
    async fn connect(
        cluster: &Rc<Cluster>,
        ring: &Ring,
        number: u32,
        options: WorkloadOptions,
        history: &History,
    ) -> Worker {
        let client = cluster.connect_on(ring).await;
        let pool = client.pool(POOL).await.expect("the pool is there");
        let random = Random::new(cluster.world.seed() * 1009 + u64::from(number) + 1);
        Worker { cluster: cluster.clone(), pool, random, number, options, history: history.clone() }
    }

    async fn step(&mut self, step: u32) {
        let ring = self.pool.ring().clone();
        // In bursts, so that requests meet each other.
        let pause_max = if self.random.below(4) == 0 { 3 * self.options.pause_max } else { Duration::from_millis(5) };
        ring.sleep(self.random.duration(pause_max)).await;
        let name = format!("object-{}", self.random.below(u64::from(self.options.objects)));
        let value = 1 + self.number * 10_000 + step;
        let random = &mut self.random;
        let kinds = if self.options.only_reads { 8 } else { 24 };
        let operation = match random.below(kinds) {
            0..4 => Operation::Read,
            4..8 => Operation::ReadData,
            8 => Operation::WriteFull(vec![value; 1 + random.below(5) as usize]),
            9..13 => Operation::Write { block: random.below(6) as usize, value },
            13..17 => Operation::Append(value),
            17 => Operation::Truncate { blocks: random.below(5) as usize },
            18 => Operation::Zero { block: random.below(6) as usize },
            19 => Operation::Mark(value),
            20 => Operation::SetPair { pair: random.below(PAIRS as u64) as usize, value },
            21 => Operation::RemovePair { pair: random.below(PAIRS as u64) as usize },
            22 => {
                let pair = random.below(PAIRS as u64) as usize;
                Operation::WriteMarked { block: random.below(6) as usize, value, pair }
            }
            _ => Operation::Remove,
        };
        self.record(name, operation).await;
    }

    async fn record(&self, name: String, operation: Operation) {
        let ring = self.pool.ring();
        // Whoever dies has not heard of the outcome.
        let began = ring.now().0;
        let event = Event { began, ended: u64::MAX, operation: operation.clone(), outcome: Outcome::Unknown };
        let index = {
            let mut history = self.history.borrow_mut();
            let events = history.entry(name.clone()).or_default();
            events.push(event);
            events.len() - 1
        };
        if !matches!(operation, Operation::Read | Operation::ReadData) {
            self.cluster.write_began.notify_all();
        }
        let outcome = self.carry_out(&name, &operation).await;
        if let Some(event) = self.history.borrow_mut().get_mut(&name).and_then(|events| events.get_mut(index)) {
            event.ended = ring.now().0;
            event.outcome = outcome;
        }
    }

    fn slice(&self, values: &[u32]) -> Slice {
        let bytes: Vec<u8> = values.iter().flat_map(|value| block(*value)).collect();
        let mut buffer = self.pool.ring().buffer(bytes.len());
        buffer.copy_from_slice(&bytes);
        buffer.freeze()
    }

    async fn carry_out(&self, name: &str, operation: &Operation) -> Outcome {
        let name = name.as_bytes();
        let at = |block: usize| (block * BLOCK_BYTES) as u64;
        let pair = |pair: usize, value: u32| vec![(pair_key(pair), value.to_le_bytes().to_vec())];
        let result = match operation {
            Operation::Read => {
                return match self.read(name).await {
                    Ok(object) => Outcome::Read(Some(object)),
                    Err(error) if error.errno() == libc::ENOENT => Outcome::Read(None),
                    Err(error) => unknown(&error),
                };
            }
            Operation::ReadData => {
                return match self.pool.read(name, 0, 1 << 20).await {
                    Ok(bytes) => Outcome::ReadData(Some(whole(name, values(&bytes)))),
                    Err(error) if error.errno() == libc::ENOENT => Outcome::ReadData(None),
                    Err(error) => unknown(&error),
                };
            }
            Operation::WriteFull(values) => self.pool.write_full(name, self.slice(values)).await.map(drop),
            Operation::Write { block, value } => {
                self.pool.write(name, at(*block), self.slice(&[*value])).await.map(drop)
            }
            Operation::WriteMarked { block, value, pair: number } => {
                let vector = ObjectOperations::new()
                    .write(at(*block), self.slice(&[*value]))
                    .set_xattr(MARK, &value.to_le_bytes())
                    .operation(object::Operation::SetOmap { pairs: pair(*number, *value) });
                self.pool.execute(name, vector).await.map(drop)
            }
            Operation::Append(value) => self.pool.append(name, self.slice(&[*value])).await.map(drop),
            Operation::Truncate { blocks } => self.pool.truncate(name, at(*blocks)).await.map(drop),
            Operation::Zero { block } => self.pool.zero(name, at(*block), BLOCK_BYTES as u64).await.map(drop),
            Operation::Mark(value) => self.pool.set_xattr(name, MARK, &value.to_le_bytes()).await.map(drop),
            Operation::SetPair { pair: number, value } => {
                self.pool.set_omap(name, pair(*number, *value)).await.map(drop)
            }
            Operation::RemovePair { pair } => self.pool.remove_omap(name, &[&pair_key(*pair)]).await.map(drop),
            Operation::Remove => match self.pool.remove(name).await {
                Err(error) if error.errno() == libc::ENOENT => return Outcome::NotFound,
                result => result,
            },
        };
        match result {
            Ok(()) => Outcome::Done,
            Err(error) => unknown(&error),
        }
    }

    /// Data and attributes with one request.
    async fn read(&self, name: &[u8]) -> basalt_client::Result<Object> {
        let listing = object::Operation::ListOmap { after: Vec::new(), prefix: Vec::new(), max: 100, values: true };
        let vector = ObjectOperations::new().read(0, 1 << 20).list_xattrs().operation(listing);
        let outcome = self.pool.execute(name, vector).await?;
        let has_data =
            matches!(outcome.results().first(), Some(object::OperationResult::Data { length }) if *length > 0);
        let blocks = if has_data { whole(name, values(&outcome.data(0)?)) } else { Vec::new() };
        let ((xattrs, _), (omap, _)) = (outcome.pairs(1)?, outcome.pairs(2)?);
        let (mark, pairs) = whole(name, attributes(xattrs, omap));
        Ok(Object { blocks, mark, pairs })
    }
}

fn whole<T>(name: &[u8], read: Result<T, String>) -> T {
    read.unwrap_or_else(|problem| panic!("{}: {problem}", name.escape_ascii()))
}

/// Only time may run out: whatever fails in between, the client tries again.
fn unknown(error: &basalt_client::Error) -> Outcome {
    assert!(
        matches!(error.errno(), libc::ETIMEDOUT),
        "a client was told of what should be hidden from it: {} ({})",
        error.message(),
        error.errno()
    );
    Outcome::Unknown
}
